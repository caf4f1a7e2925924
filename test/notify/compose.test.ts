import { describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import { noticeOfRun, testNotice } from '../../src/notify/compose.ts'
import { described, spelled } from '../../src/notify/wording.ts'
import { manifestAt, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { clockAt, madeUpCatalog, serverConfig } from '../metrics/made-up-catalog.ts'
import { noticeOf } from './notices.ts'
import { connectionFailed, plannedAt } from './world.ts'

const clock = clockAt('2026-11-20T12:00:00Z')
const at = new Date('2026-11-20T11:59:00Z')

function runOf(changes: Partial<Run> = {}): Run {
  return {
    ...{ id: 'r', job: 'backup', server: 'main', database: 'app', trigger: 'schedule', attempt: 1, state: 'failed' },
    ...{ queuedAt: at, startedAt: at, finishedAt: at, label: null, error: connectionFailed, progress: null },
    ...changes,
  }
}

async function composed(run: Run, contents: Parameters<typeof madeUpCatalog>[1] = {}) {
  const { catalog } = await madeUpCatalog(clock, contents)
  return noticeOfRun({ event: 'failure', isReminder: false, incident: { id: 'i', since: at, toldAt: at } }, run, {
    catalog,
    config: { servers: [serverConfig('main', { objectives: { rpoMs: 93_600_000 } })] },
    planned: [plannedAt('backup', 'app')],
    now: clock.now(),
    host: 'backup-1',
    retryAt: () => null,
    newId: () => 'n',
  })
}

describe('a notice', () => {
  it('a backup that failed at a worker of a fleet - says at which one', async () => {
    const { text } = await composed(runOf({ worker: 'bk-2' }))
    expect(text).toMatch(/^Backup of main\/app failed on bk-2 at 2026-11-20 11:59 UTC: cannot connect/)
  })

  it('a failed backup, with older ones - every field, and a text that says what is left and what to do', async () => {
    const verified = manifestAt('2026-11-17T02:00:00Z')
    const newest = manifestAt('2026-11-19T02:00:00Z')
    const reports = [reportOf(verified, '2026-11-18T05:00:00Z')]
    expect(await composed(runOf(), { manifests: [verified, newest], reports })).toEqual({
      version: 1,
      id: 'n',
      event: 'failure',
      title: 'FAILED backup of main/app',
      text: [
        'Backup of main/app failed at 2026-11-20 11:59 UTC: cannot connect to the server',
        'The next one is due at 2026-11-21 02:00 UTC.',
        `The newest backup is from 2026-11-19 02:00 UTC (34 h old): ${newest.label}.`,
        `The newest that has passed a drill is from 2026-11-17 02:00 UTC (3 d 10 h old): ${verified.label}.`,
        'What to do: Start it.',
        'Look with: pgproof check',
      ].join('\n'),
      server: 'main',
      database: 'app',
      databases: null,
      job: 'backup',
      condition: null,
      label: null,
      verdict: null,
      code: 'CONNECTION_FAILED',
      message: 'cannot connect to the server',
      hint: 'Start it.',
      since: '2026-11-20T11:59:00.000Z',
      at: '2026-11-20T12:00:00.000Z',
      runId: 'r',
      incident: 'i',
      isReminder: false,
      isTest: false,
      objectives: { rpoSeconds: 93_600, rtoSeconds: null },
      newestBackup: { label: newest.label, snapshotTime: '2026-11-19T02:00:00.000Z' },
      newestVerifiedBackup: { label: verified.label, snapshotTime: '2026-11-17T02:00:00.000Z' },
      host: 'backup-1',
    })
  })

  it.each([
    ['EVIDENCE_MISMATCH', '2 differences between evidence and restored data: public.secret, public.other'],
    ['QUERY_FAILED', 'a query failed: duplicate key value (id)=(secret)'],
    ['ROLES_FAILED', 'the roles could not be replayed: CREATE ROLE secret'],
    ['INTERNAL', 'unexpected fault: secret is not a function'],
  ])('%s - nothing of rows, tables or the program leaves the house', async (code, message) => {
    const notice = await composed(runOf({ error: { code, message, hint: 'Look.' } }))
    expect(JSON.stringify(notice)).not.toContain('secret')
    expect(notice.message).toBe(message.slice(0, message.indexOf(':')))
  })

  it('names and messages of several lines - one line each, the names as they are in their own fields', async () => {
    const database = 'a\r\nBcc: x\u2028\u202eb'
    const notice = await composed(runOf({ database, error: { ...connectionFailed, message: 'one\ntwo' } }))
    expect(notice.title).toBe('FAILED backup of main/a\u{fffd}Bcc: x\u{fffd}b')
    expect(notice.text.split('\n')[0]).toMatch(/: one\u{fffd}two$/u)
    expect(notice.database).toBe(database)
  })

  it('nothing was ever backed up - says so', async () => {
    expect((await composed(runOf())).text).toContain('There is no backup of main/app.')
    const roles = runOf({ job: 'roles', database: null })
    expect((await composed(roles)).text).toContain('There is no roles backup of main.')
    const manifest = rolesManifestAt('2026-11-15T03:00:00Z')
    expect((await composed(roles, { manifests: [manifest] })).newestBackup?.label).toBe(manifest.label)
  })

  it('a prune of everything - belongs to no server', async () => {
    const notice = await composed(runOf({ job: 'prune', server: '', database: null }))
    expect(notice).toMatchObject({ title: 'FAILED prune of everything', server: null, database: null, job: 'prune' })
    expect(described({ job: 'sync', server: '', database: null })).toBe('sync of the stores')
  })

  it('a test - has the same fields', () => {
    const test = testNotice('test', null, { now: at, host: 'h', newId: () => 'n' })
    expect(Object.keys(test).sort()).toEqual(Object.keys(noticeOf()).sort())
    expect(test).toMatchObject({ event: 'test', isTest: true, incident: null })
  })
})

it.each([
  [0, '0 s'],
  [59_400, '59 s'],
  [60_000, '1 min'],
  [3_600_000, '1 h'],
  [5_400_000, '1 h 30 min'],
  [93_600_000, '26 h'],
  [172_800_000, '2 d'],
  [190_800_000, '2 d 5 h'],
])('%i ms is spelled %s', (ms, text) => {
  expect(spelled(ms)).toBe(text)
})
