import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { isolate } from '../../src/postgres/isolate.ts'
import { signal } from './sandbox.ts'
import { openSpoolRoot } from './spool-root.ts'

it('a program that does not even say its version - as it is, shut off from nothing: why comes out when it is started', async () => {
  await using root = await openSpoolRoot()
  const program = { path: '/nonexistent/postgres', args: ['-D', '/nonexistent'], env: { PATH: '/usr/bin:/bin' } }
  expect(await isolate(program, { root: root.path, writable: [], readable: [] }, signal)).toEqual({
    program,
    notIsolated: ['network', 'files', 'processes', 'privileges'],
  })
})

it.each([
  ['neither settings nor processes can be listed', []],
  [
    'a list of libraries cannot be read, and a process ends while it is looked at',
    ['etc/ld.so.conf.d/a.conf', 'proc/7'],
  ],
])('a machine where %s - shut off as well as any, with a limit of processes', async (_, folders) => {
  await using root = await openSpoolRoot()
  for (const folder of folders) mkdirSync(join(root.path, folder), { recursive: true })
  const program = { path: '/bin/true', args: [], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } }
  const sight = { root: root.path, writable: [], readable: [] }
  const system = { settings: join(root.path, 'etc'), processes: join(root.path, 'proc') }
  const elsewhere = await isolate(program, sight, signal)
  const { program: isolated, notIsolated } = await isolate(program, sight, signal, system)
  expect(notIsolated).toEqual(elsewhere.notIsolated)
  expect(isolated.args.filter((one) => one.startsWith('--nproc='))).toEqual(['--nproc=1024'])
})
