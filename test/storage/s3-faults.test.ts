import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testClient } from '../support/s3-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { type FaultOutcome, runSchedule } from './fault-run.ts'

/** How many schedules, and the seed of the first; a failure names its seed, and that seed alone repeats it. */
const isByHand = process.env['PGPROOF_FAULT_RUNS'] !== undefined
const runs = Number(process.env['PGPROOF_FAULT_RUNS'] ?? 40)
const firstSeed = Number(process.env['PGPROOF_FAULT_SEED'] ?? 0)

describe('S3 in any weather', () => {
  let bucket: TestBucket
  beforeAll(async () => {
    bucket = await makeTestBucket()
  })
  afterAll(async () => {
    await bucket.remove()
  })

  it(
    `${runs} random fault schedules from seed ${firstSeed} on - each object whole or absent, no upload after the sweep`,
    async () => {
      const client = testClient(bucket.server)
      const outcomes: FaultOutcome[] = []
      for (let seed = firstSeed; seed < firstSeed + runs; seed += 1) {
        outcomes.push(await runSchedule(bucket, client, seed))
        if (isByHand && outcomes.length % 50 === 0) console.log(summary(outcomes))
      }
      client.destroy()
      if (isByHand) console.log(summary(outcomes))
      const wrong = outcomes.filter(({ violations }) => violations.length > 0)
      expect(wrong.map(({ schedule, violations, faults }) => ({ seed: schedule.seed, violations, faults }))).toEqual([])
      // Else nothing was tried; one seed that is repeated may well be of calm weather.
      if (runs >= 40) expect(outcomes.flatMap(({ faults }) => faults).length).toBeGreaterThan(runs)
    },
    runs * 30_000,
  )
})

/** How the calls ended and which faults they met. */
function summary(outcomes: readonly FaultOutcome[]): string {
  const count = (names: readonly string[]) =>
    [...Map.groupBy(names, (name) => name)]
      .map(([name, { length }]) => `${name} ${length}`)
      .sort()
      .join(', ')
  const calls = (['write', 'read', 'list', 'delete', 'sweep'] as const).map(
    (call) => `${call}: ${count(outcomes.map((outcome) => outcome.calls[call]))}`,
  )
  const faults = outcomes.flatMap((outcome) => outcome.faults.map((fault) => fault.split(': ')[1] ?? ''))
  const leftovers = outcomes.reduce((sum, { leftUploads }) => sum + leftUploads, 0)
  const wrong = outcomes.filter(({ violations }) => violations.length > 0).length
  const seconds = Math.round(outcomes.reduce((sum, { ms }) => sum + ms, 0) / 1000)
  return [
    `${outcomes.length} schedules in ${seconds} s, ${faults.length} faults, with violations: ${wrong}`,
    ...calls,
    `faults: ${count(faults)}`,
    `uploads left for the sweep: ${leftovers}`,
  ].join('\n')
}
