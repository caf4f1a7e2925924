import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { isFinished } from '../../src/catalog/runs.ts'
import { Scheduler } from '../../src/daemon/scheduler.ts'
import type { Orders } from '../../src/jobs/orders.ts'
import { newRun, runJob } from '../../src/jobs/run-job.ts'
import { runSync } from '../../src/jobs/sync.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { signal, storeBackup } from '../catalog/stored.ts'
import { fail, heal, manifestsIn, soundManifestAt, twoStores } from '../jobs/two-stores.ts'
import { asleep } from '../support/asleep.ts'

const backup = soundManifestAt('2026-11-18T02:00:00Z')

/** A daemon's scheduler over two stores, of which only the first holds a backup. */
async function scheduled() {
  let now = Date.parse('2026-11-18T12:00:00Z')
  const clock = { now: () => new Date(now), monotonicMs: () => now, sleep: asleep }
  const test = await twoStores({ clock, isRequired: false })
  const { installation } = test
  const { catalog } = installation
  await storeBackup(test.a, backup)
  const ordered: string[] = []
  const pending: Promise<unknown>[] = []
  const sync = { hangs: false }
  const orders = {
    order: (order: Parameters<Orders['order']>[0]) => {
      const run = newRun(order, installation)
      ordered.push(order.job)
      const work = async (abort: AbortSignal) => {
        if (sync.hangs) await once(abort, 'abort')
        return { label: null, sync: await runSync({ isDryRun: false }, installation, abort) }
      }
      const limits = { deadlineMs: sync.hangs ? 10 : 60_000 }
      pending.push(runJob(run, limits, work, installation, signal).catch(() => undefined))
      return run
    },
  } as unknown as Orders
  const scheduler = new Scheduler(installation, orders, async () => true)
  return {
    ...test,
    sync,
    states: () => catalog.runs().map(({ state }) => state),
    wait: (minutes: number) => {
      now += minutes * 60_000
    },
    /** A look around; what it ordered, carried out. */
    async look(): Promise<string[]> {
      ordered.length = 0
      await catalog.refresh(installation.stores, signal)
      scheduler.orderSync()
      scheduler.orderSync()
      await Promise.all(pending.splice(0))
      expect(catalog.runs().every(isFinished)).toBe(true)
      return [...ordered]
    },
    [Symbol.asyncDispose]: test[Symbol.asyncDispose],
  }
}

/** A sync by the daemon fails, and what it could not copy is copied all the same. */
async function failAndCopyByHand(test: Awaited<ReturnType<typeof scheduled>>): Promise<void> {
  test.a.damage(`${backupFolder(backup)}dump.zst.pgp`)
  await test.look()
  await storeBackup(test.a, backup)
  await runSync({ isDryRun: false }, test.installation, signal)
}

describe('the daemon and a store that lacks something', () => {
  it('lacks a backup - one sync is ordered, and none when it has it', async () => {
    await using test = await scheduled()
    expect(await test.look()).toEqual(['sync'])
    expect(manifestsIn(test.b)).toHaveLength(1)
    expect(await test.look()).toEqual([])
  })

  it('cannot be read - nothing is ordered until it can', async () => {
    await using test = await scheduled()
    fail(test.b)
    expect(await test.look()).toEqual([])
    heal(test.b)
    expect(await test.look()).toEqual(['sync'])
  })

  it('a sync fails - the next is ordered an hour later, not at each look', async () => {
    await using test = await scheduled()
    test.a.damage(`${backupFolder(backup)}dump.zst.pgp`)
    expect(await test.look()).toEqual(['sync'])
    expect(await test.look()).toEqual([])
    test.wait(59)
    expect(await test.look()).toEqual([])
    test.wait(1)
    expect(await test.look()).toEqual(['sync'])
  })

  it('a sync fails, and the backup is copied another way - one more an hour later, which ends the failure', async () => {
    await using test = await scheduled()
    await failAndCopyByHand(test)
    test.wait(59)
    expect(await test.look()).toEqual([])
    test.wait(1)
    expect(await test.look()).toEqual(['sync'])
    expect(test.states()).toEqual(['succeeded', 'failed'])
    test.wait(60)
    expect(await test.look()).toEqual([])
  })

  it('a sync fails, nothing is lacking any more, and a store cannot be read - none until it can', async () => {
    await using test = await scheduled()
    await failAndCopyByHand(test)
    test.wait(60)
    fail(test.b)
    expect(await test.look()).toEqual([])
    heal(test.b)
    expect(await test.look()).toEqual(['sync'])
  })

  it('a sync is not done by its deadline - the next is ordered an hour later, not at each look', async () => {
    await using test = await scheduled()
    test.sync.hangs = true
    expect(await test.look()).toEqual(['sync'])
    expect(test.states()).toEqual(['inconclusive'])
    test.sync.hangs = false
    expect(await test.look()).toEqual([])
    test.wait(60)
    expect(await test.look()).toEqual(['sync'])
  })
})
