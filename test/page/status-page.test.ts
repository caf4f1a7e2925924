import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { PlannedJob } from '../../src/catalog/runs.ts'
import { manifestAt, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { now, startTestServer } from '../http/test-server.ts'
import { healthy, keysUntil, scheduleOf, storeOf } from './store.ts'
import { wordsOf } from './words-of.ts'

const newest = manifestAt('2026-11-20T02:00:00Z')
const roles = rolesManifestAt('2026-11-20T01:00:00Z')
const passed = reportOf(newest, '2026-11-20T05:00:00Z', { restoreTimeSeconds: 200 })
const hostile = `<img src=x onerror=alert(1)>"'&`

function planned(changes: Partial<PlannedJob> = {}): () => readonly PlannedJob[] {
  const nextAt = new Date('2026-11-21T02:00:00Z')
  const job = {
    job: 'backup',
    server: 'main',
    database: 'app',
    nextAt,
    intervalSeconds: 86_400,
    pausedUntil: null,
  } as const
  return () => [{ ...job, ...changes }]
}

describe('the page for people', () => {
  it('a database with backups and drills - says how old, how proven, how fast, and what comes next', async () => {
    await using server = await startTestServer({
      manifests: [newest, roles],
      reports: [passed],
      parts: { planned: planned() },
    })
    const { text, headers } = await server.call('GET', '/')
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(text).toContain('<title>All is well · pgproof</title>')
    const words = await wordsOf(server)
    for (const shown of [
      'Last backup 10 h ago RPO 1 d 2 h met',
      'Last passed drill 7 h ago',
      'Restore time 3 min 20 s RTO 30 min met',
    ])
      expect(words).toContain(shown)
    for (const shown of [
      'backup in 14 h , no drill is scheduled',
      'With a backup: 1 of 1 database, 10 h old',
      'Proven by a drill: 1 of 1',
    ])
      expect(words).toContain(shown)
    expect(words).toContain('Restore time of the only drill that measured it: 3 min 20 s; the objective is 30 min')
  })

  it('nothing was ever backed up or proven, and it is not ready - says so before anything else', async () => {
    const isReady = () => ({ ready: false, reasons: ['the store is away'], awaited: '' })
    await using server = await startTestServer({ parts: { planned: planned(), isReady } })
    const words = await wordsOf(server)
    expect(words).toContain('2 things need you now')
    expect(words).toContain('pgproof : it is not ready. Reason: the store is away')
    expect(words).toContain('main/app : it has no backup at all.')
    expect(words).toContain('Order one: pgproof backup main/app .')
    // None is scheduled: that may be meant.
    expect(words).not.toContain('Roles of main :')
    expect(words).toContain('main never backed up , no backup is scheduled')
  })

  it('a drill that failed - is a worry with its reason, and the page says what to do', async () => {
    const reason = { code: 'RESTORE_FAILED', message: 'pg_restore failed (exit 1)', hint: 'Read the details.' }
    const failed = reportOf(newest, '2026-11-20T06:00:00Z', { verdict: 'failed', reason })
    await using server = await startTestServer({ manifests: [newest, roles], reports: [passed, failed] })
    const words = await wordsOf(server)
    expect(words).toContain('1 thing needs you now')
    expect(words).toContain(
      'its last drill failed: this backup may not bring the data back. Reason: pg_restore failed (exit 1)',
    )
    expect(words).toContain('RESTORE_FAILED Read the details.')
  })

  it.each([
    [
      'a backup older than its RPO',
      { manifests: [manifestAt('2026-11-18T00:00:00Z')] },
      'its last backup is 2 d 12 h old; the objective is 1 d 2 h',
    ],
    [
      'a restore longer than its RTO',
      { reports: [{ ...passed, restoreTimeSeconds: 2000 }] },
      'its restore takes 33 min 20 s; the objective is 30 min',
    ],
    [
      'a drill that passed long ago',
      {
        reports: [reportOf(newest, '2026-10-20T05:00:00Z')],
        parts: { planned: planned({ job: 'drill', intervalSeconds: 604_800 }) },
      },
      'its last passed drill is 31 d 7 h old; one is due every 7 d',
    ],
    ['a key that expires soon', { parts: keysUntil('2026-12-02T00:00:00Z') ?? {} }, 'it expires in 11 d 12 h'],
    ['a key that has expired', { parts: keysUntil('2026-11-19T12:00:00Z') ?? {} }, 'it expired 1 d ago'],
  ])('%s - is a worry', async (_, settings, title) => {
    await using server = await startTestServer({ manifests: [newest, roles], reports: [passed], ...settings })
    expect(await wordsOf(server)).toContain(title)
  })

  it('schedules that are paused - are a worry, with who paused them and why', async () => {
    const pausedUntil = new Date('2026-11-20T16:00:00Z')
    await using server = await startTestServer({
      manifests: [newest, roles],
      reports: [passed],
      parts: { planned: planned({ pausedUntil }) },
    })
    const body = { server: 'main', for: '4h', reason: 'the upgrade to 18', jobs: ['backup'] }
    await server.call('POST', '/v1/pauses', { as: 'backup', body })
    const words = await wordsOf(server)
    expect(words).toContain(
      'Schedules of main : paused for another 4 h (backup). Reason: the upgrade to 18, says token backuper',
    )
    expect(words).toContain('sooner by pgproof resume main .')
    expect(words).toContain('main/app needs you soon')
    expect(words).toContain('backups are paused for another 4 h')
  })

  it('runs that go on, wait, and failed - are on it, and a failure after which it succeeded is no worry', async () => {
    await using server = await startTestServer({ manifests: [newest, roles], reports: [passed] })
    const order = { server: 'main', trigger: 'http' } as const
    const running = server.orders.order({ ...order, job: 'drill', database: 'app' })
    const progress = { phase: 'fetch', doneBytes: 1_500_000, totalBytes: 3_000_000 }
    server.catalog.updateRun(running.id, { state: 'running', startedAt: new Date('2026-11-20T11:59:00Z'), progress })
    const error = { code: 'LOCKED', message: 'the roles are locked', hint: 'Wait for the `other` one.' }
    const failed = server.orders.order({ ...order, job: 'roles', database: null })
    server.catalog.updateRun(failed.id, { state: 'failed', finishedAt: new Date(now), error })
    const settled = server.orders.order({ ...order, job: 'backup', database: 'app' })
    server.catalog.updateRun(settled.id, { state: 'failed', finishedAt: new Date('2026-11-20T01:00:00Z'), error })
    server.orders.order({ ...order, job: 'backup', database: 'other' })
    const words = await wordsOf(server)
    expect(words).toContain('drill of main/app since 1 min ago')
    expect(words).toContain('step 2 of 8: fetching the backup from the store, 1.4 MiB of 2.9 MiB')
    expect(words).toContain('backup of main/other ordered now , the next to start')
    expect(words).toContain(
      'Roles of main : their last backup failed. Reason: the roles are locked LOCKED Wait for the other one.',
    )
    expect(words).toContain('backup of main/app failed, succeeded since')
    expect(words).not.toContain('main/app : its last backup failed')
    const part = await wordsOf(server, '/?part=runs')
    expect(part).toContain('step 2 of 8')
    expect(part).not.toContain('Databases')
  })

  it('names and messages that are HTML or turn the text around - are shown, not obeyed', async () => {
    const database = `${hostile}\u202Etxt`
    await using server = await startTestServer({
      manifests: [manifestAt('2026-11-20T02:00:00Z', { database })],
      parts: { isReady: () => ({ ready: false, reasons: [hostile], awaited: hostile }), version: hostile },
    })
    const { text } = await server.call('GET', '/')
    expect(text).not.toContain('<img')
    expect(text).not.toContain('\u202E')
    expect(text).toContain('<bdi>main/&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;⟨U+202E⟩txt</bdi>')
  })

  it('its policy - allows nothing but the one style sheet and the one script that are in it', async () => {
    await using server = await startTestServer({ ...storeOf(healthy), parts: { planned: () => scheduleOf(healthy) } })
    const { text, headers } = await server.call('GET', '/')
    const hashOf = (name: string): string => {
      const parts = [...text.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, 'gs'))].map(([, part = '']) => part)
      expect(parts).toHaveLength(1)
      return `'sha256-${createHash('sha256')
        .update(parts[0] ?? '')
        .digest('base64')}'`
    }
    expect(headers.get('content-security-policy')).toBe(
      `default-src 'none'; style-src ${hashOf('style')}; script-src ${hashOf('script')}; connect-src 'self'; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    const rest = text.replace(/<style>.*?<\/style>|<script>.*?<\/script>/gs, '')
    expect(rest).not.toMatch(/<script|\son\w+=|\sstyle=|https?:/)
  })

  it('ids - are there once each, and every link to one leads somewhere', async () => {
    await using server = await startTestServer({ ...storeOf(healthy), parts: { planned: () => scheduleOf(healthy) } })
    const { text } = await server.call('GET', '/')
    const ids = [...text.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [, id] of text.matchAll(/(?:href="#|aria-labelledby=")([^"]+)"/g)) expect(ids).toContain(id)
  })
})
