import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { eventually, fleetFolder } from './fleet-folder.ts'

const hook = join(import.meta.dirname, 'loaded-modules.child.ts')

it('a daemon without fleet - neither pg-boss nor the code of fleets is loaded; with it, both are', async () => {
  await using fleet = await fleetFolder(1)
  const [database = ''] = fleet.databases
  const loadedBy = async (name: string): Promise<string[]> => {
    const file = join(fleet.folder.path, name)
    const env = { NODE_OPTIONS: `--import=${hook}`, LOADED_MODULES: file }
    const daemon = fleet.folder.start(['serve'], { env })
    try {
      await eventually('the daemon', async () => daemon.stderr().includes('"msg":"ready"'))
      await eventually('a backup', async () => fleet.manifests(database).length > 0)
    } finally {
      daemon.child.kill('SIGTERM')
      await daemon.result
    }
    return readFileSync(file, 'utf8').split('\n')
  }
  const isOfFleets = (url: string): boolean => /\/src\/fleet\/|\/node_modules\/pg-boss\//.test(url)
  const section = { url: fleet.control, heartbeat: '10s' }
  await fleet.configure({ fleet: undefined })
  const alone = await loadedBy('alone')
  await fleet.configure({ fleet: section })
  const shared = await loadedBy('shared')
  expect(alone.filter(isOfFleets)).toEqual([])
  expect(alone.some((url) => url.endsWith('/src/daemon/run-queue.ts'))).toBe(true)
  expect(shared.filter(isOfFleets)).toEqual(
    expect.arrayContaining([expect.stringContaining('/src/fleet/'), expect.stringContaining('/pg-boss/')]),
  )
})
