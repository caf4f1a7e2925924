import { type Program, runProgram } from '../streams/child-process.ts'
import { findOnPath } from './programs.ts'

/** A program as it is started, and whether it has a network of its own without any way out. */
export type Isolated = { readonly program: Program; readonly hasNetwork: boolean }

/**
 * The same program in a network namespace with nothing but an unconfigured loopback device (network_namespaces(7)); sockets
 * in the file system work across it. By `unshare` of util-linux and a user namespace, so that no rights are needed. Where
 * the system does not allow that (other systems than Linux, many containers), the program as it is.
 */
export async function withoutNetwork(program: Program, signal: AbortSignal): Promise<Isolated> {
  const path = await findOnPath('unshare')
  if (path === undefined) return { program, hasNetwork: true }
  const flags = ['--user', '--map-current-user', '--net', '--']
  const probe = { path, args: [...flags, 'true'], env: program.env, user: program.user, cwd: '/' }
  try {
    await runProgram(probe, { signal })
  } catch {
    signal.throwIfAborted()
    return { program, hasNetwork: true }
  }
  return { program: { ...program, path, args: [...flags, program.path, ...program.args] }, hasNetwork: false }
}
