import { describe, expect, it } from 'vitest'
import { waitFor } from '../commands/cli.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { eventually, fleetFolder, lockedTable } from './fleet-folder.ts'

describe('several workers over one queue', () => {
  it('started together with everything due - one backup of each database, and each worker did some', async () => {
    await using fleet = await fleetFolder(8)
    await fleet.configure({}, { lockTimeout: '10m' })
    // Nobody's first backup ends before everybody has begun one: one that starts late finds work, too.
    for (const database of fleet.databases) await query(testUrl(database), 'CREATE TABLE held (id int)')
    const held = await Promise.all(fleet.databases.map((database) => lockedTable(testUrl(database), 'held')))
    const workers = ['a', 'b', 'c'].map((name) => fleet.worker(name))
    const started = ({ stderr }: { stderr: () => string }) => stderr().includes('"msg":"run started"')
    await eventually('each to have begun one', async () => workers.every(started))
    for (const lock of held) await lock[Symbol.asyncDispose]()
    await waitFor('every backup', () => fleet.databases.every((name) => fleet.manifests(name).length > 0))
    // A second one would begin with the next looks.
    const enough = Date.now() + 8_000
    await waitFor('everybody to have looked again', () => Date.now() > enough)
    const entries = await fleet.entries()
    for (const { child } of workers) child.kill('SIGTERM')
    const results = await Promise.all(workers.map(({ result }) => result))
    expect(results.map(({ code }) => code)).toEqual([0, 0, 0])
    expect(fleet.databases.map((name) => fleet.manifests(name).length)).toEqual(fleet.databases.map(() => 1))
    expect(entries.map(({ state }) => state)).toEqual(entries.map(() => 'completed'))
    const outcomes = entries.map(({ output }) => (output as { state: string; error: unknown } | null) ?? null)
    expect(outcomes).toEqual(fleet.databases.map(() => expect.objectContaining({ state: 'succeeded', error: null })))
    expect(results.filter(({ stderr }) => stderr.includes('has the turn'))).toHaveLength(1)
    expect(fleet.folder.leftovers()).toEqual([])
  })
})
