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
