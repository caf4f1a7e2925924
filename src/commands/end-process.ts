/**
 * Ends the process with that exit code. A call that a mount never answers keeps its thread, and Node waits at its end for each
 * thread, for ever: then the process becomes a shell that ends at once, which takes the threads away.
 */
export async function endProcess(code: number | undefined): Promise<never> {
  for (let round = 0; round < rounds && isWaitingForFiles(); round += 1)
    await new Promise((resume) => setTimeout(resume, roundMs))
  const isReplaceable = typeof process.execve === 'function' && process.platform !== 'win32'
  if (!isWaitingForFiles() || !isReplaceable) process.exit(code)
  process.emit('exit', code ?? 0)
  try {
    process.execve?.('/bin/sh', ['sh', '-c', `exit ${code ?? 0}`], {})
  } catch {
    // No shell there: without the code, but at once.
  }
  process.kill(process.pid, 'SIGKILL')
  return await new Promise<never>(() => {})
}

/** What ends by itself gets as long as this, in milliseconds. */
const rounds = 20
const roundMs = 25

/** Also worker threads look at files, and nothing else has one at the end. */
function isWaitingForFiles(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq') || name === 'MessagePort')
}
