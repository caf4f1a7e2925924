import { describe, expect, it } from 'vitest'
import { webhookTo } from './notices.ts'
import { startReceiver } from './receiver.ts'
import { startWorld } from './world.ts'

const minute = 60_000
const hour = 60 * minute

describe('the test by daemon.notifyTest', () => {
  it('it is due - a failure marked as a test to everybody, and its end after five minutes; not again before the next', async () => {
    await using receiver = await startReceiver()
    await using quiet = await startReceiver()
    await using world = await startWorld([
      webhookTo(receiver.origin),
      webhookTo(quiet.origin, { on: ['failure'], jobs: ['drill'] }),
    ])
    world.now.servers = []
    world.now.planned = []
    world.now.notifyTest = '0 13 * * *'
    await world.pass(0)
    await world.pass(59 * minute)
    expect(receiver.received).toEqual([])
    // The event loop was blocked meanwhile.
    await world.pass(2 * hour)
    await receiver.until(1)
    await world.pass(4 * minute)
    await world.pass(minute)
    await world.pass(hour)
    await world.notifier.close(1_000)
    const [failure, recovery] = receiver.documents()
    expect(receiver.received).toHaveLength(2)
    expect(failure).toMatchObject({ event: 'failure', isTest: true, title: expect.stringMatching(/^TEST: /) })
    expect(recovery).toMatchObject({ event: 'recovery', isTest: true, incident: failure?.['incident'] })
    expect(quiet.documents()).toMatchObject([{ event: 'failure', isTest: true }])
  })

  it('it was due before the start, or before it was configured - nothing', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.servers = []
    world.now.planned = []
    await world.pass(2 * hour)
    world.now.notifyTest = '0 13 * * *'
    await world.pass(minute)
    await world.notifier.close(1_000)
    expect(receiver.received).toEqual([])
  })

  it('the process ends in the middle - the test is ended first', async () => {
    await using receiver = await startReceiver()
    await using world = await startWorld([webhookTo(receiver.origin)])
    world.now.notifyTest = '0 13 * * *'
    await world.pass(0)
    await world.pass(61 * minute)
    await world.notifier.close(1_000)
    expect(receiver.documents().map(({ event }) => event)).toEqual(['failure', 'recovery'])
  })
})
