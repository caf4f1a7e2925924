import { type Clock, systemClock } from '../../src/clock.ts'
import type { NotifyConfig } from '../../src/config/config.ts'
import { Secret } from '../../src/config/secret.ts'
import type { QueueLimits } from '../../src/notify/delivery-queue.ts'
import type { Notice } from '../../src/notify/notice.ts'

/** A notice of a failed backup. */
export function noticeOf(changes: Partial<Notice> = {}): Notice {
  return {
    version: 1,
    id: '11111111-1111-4111-8111-111111111111',
    event: 'failure',
    title: 'FAILED backup of main/shop',
    text: 'Backup of main/shop failed.\nWhat to do: look.',
    server: 'main',
    database: 'shop',
    databases: null,
    job: 'backup',
    condition: null,
    label: null,
    verdict: null,
    code: 'CONNECTION_FAILED',
    message: 'cannot connect',
    hint: 'Look.',
    since: '2026-11-20T02:00:00.000Z',
    at: '2026-11-20T02:00:00.000Z',
    runId: '22222222-2222-4222-8222-222222222222',
    incident: '33333333-3333-4333-8333-333333333333',
    isReminder: false,
    isTest: false,
    objectives: null,
    newestBackup: null,
    newestVerifiedBackup: null,
    host: 'backup-1',
    ...changes,
  }
}

type Filter = Partial<Pick<NotifyConfig, 'on' | 'jobs' | 'servers'>>

const everything = { on: ['failure', 'recovery'], jobs: null, servers: null } as const

export function webhookTo(
  url: string,
  { format = 'json', token, ...filter }: Filter & { format?: 'json' | 'slack'; token?: string } = {},
): Extract<NotifyConfig, { kind: 'webhook' }> {
  const secret = token === undefined ? undefined : new Secret(token)
  return { kind: 'webhook', url: new Secret(url), format, token: secret, ...everything, ...filter }
}

export function pingTo(url: string, filter: Filter = {}): Extract<NotifyConfig, { kind: 'ping' }> {
  return { kind: 'ping', url: new Secret(url), ...everything, ...filter, on: [] }
}

/** As the shipped limits, without the waiting. */
export const quick: QueueLimits = {
  capacity: 100,
  attemptMs: 2_000,
  patienceMs: 30_000,
  firstDelayMs: 10,
  longestDelayMs: 50,
}

/** A clock whose sleeps are over at once and remembered; its time goes on by them. */
export function sleeplessClock(): Clock & { readonly slept: number[] } {
  const slept: number[] = []
  let aheadMs = 0
  return {
    slept,
    now: () => new Date(systemClock.now().getTime() + aheadMs),
    monotonicMs: () => systemClock.monotonicMs() + aheadMs,
    async sleep(ms, signal) {
      signal?.throwIfAborted()
      slept.push(ms)
      aheadMs += ms
      // Others get their turn, as they would.
      await new Promise((done) => setImmediate(done))
    },
  }
}
