/**
 * Ends the process with that exit code. A call that a mount never answers keeps its thread, and Node waits at its end for each
 * thread, for ever: then the process becomes another one that ends at once, which takes the threads away. That is Node again:
 * an image need not have a shell, and to become what is not there is an abort that dumps core.
 */
export async function endProcess(code: number | undefined): Promise<never> {
  for (let round = 0; round < rounds && isWaitingForFiles(); round += 1)
    await new Promise((resume) => setTimeout(resume, roundMs))
  if (!isWaitingForFiles() || process.execve === undefined || process.platform === 'win32') process.exit(code)
  process.emit('exit', code ?? 0)
  // Node looks around in the folder that it starts in, which may be on that mount.
  process.chdir('/')
  return process.execve(process.execPath, ['node', '-e', `process.exit(${code ?? 0})`], {})
}

/** What ends by itself gets as long as this, in milliseconds. */
const rounds = 20
const roundMs = 25

/** Also worker threads look at files, and nothing else has one at the end. */
function isWaitingForFiles(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq') || name === 'MessagePort')
}
