import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { now, startTestServer } from './test-server.ts'

const newest = manifestAt('2026-11-20T02:00:00Z')
const hostile = `<img src=x onerror=alert(1)>"'&`

describe('the page for people', () => {
  it('a database with backups and drills - says how old, how proven, how fast, and what comes next', async () => {
    const nextAt = new Date('2026-11-21T02:00:00Z')
    await using server = await startTestServer({
      manifests: [newest],
      reports: [reportOf(newest, '2026-11-20T05:00:00Z', { restoreTimeSeconds: 200 })],
      parts: {
        planned: () => [{ job: 'backup', server: 'main', database: 'app', nextAt, intervalSeconds: 86_400 }],
      },
    })
    const { text, headers } = await server.call('GET', '/')
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
    const shown = ['main/app', '10 h ago', 'RPO 1 d 2 h met', '7 h ago', '3 min 20 s', 'RTO 30 min met', 'in 14 h']
    for (const words of shown) expect(text).toContain(words)
    expect(text).toContain('1 of 1 database has a backup, 1 of 1 database one that passed a drill')
  })

  it('nothing was ever backed up or proven - says so', async () => {
    const nextAt = new Date(now)
    await using server = await startTestServer({
      parts: {
        planned: () => [{ job: 'backup', server: 'main', database: 'app', nextAt, intervalSeconds: 1 }],
        isReady: () => ({ ready: false, reasons: ['the store is away'] }),
      },
    })
    const { text } = await server.call('GET', '/')
    for (const words of ['0 of 1 database have a backup', 'never', 'not measured', 'Not ready: the store is away'])
      expect(text).toContain(words)
  })

  it('what goes on, what went wrong and what to do about it - are on it', async () => {
    await using server = await startTestServer({
      manifests: [newest],
      reports: [
        reportOf(newest, '2026-11-20T05:00:00Z', {
          verdict: 'failed',
          reason: { code: 'RESTORE_FAILED', message: 'pg_restore failed (exit 1)', hint: 'Read the details.' },
        }),
      ],
    })
    const order = { server: 'main', trigger: 'schedule' } as const
    const running = server.orders.order({ ...order, job: 'drill', database: 'app' })
    const progress = { phase: 'fetch', doneBytes: 1_500_000, totalBytes: 3_000_000 }
    server.catalog.updateRun(running.id, { state: 'running', startedAt: new Date('2026-11-20T11:59:00Z'), progress })
    server.orders.order({ ...order, job: 'backup', database: 'other' })
    const failed = server.orders.order({ ...order, job: 'roles', database: null })
    const error = { code: 'LOCKED', message: 'the roles are locked', hint: 'Wait for the other.' }
    server.catalog.updateRun(failed.id, { state: 'failed', finishedAt: new Date(now), error })
    const { text } = await server.call('GET', '/')
    const shown = ['pg_restore failed (exit 1)', 'Read the details.', 'the roles are locked', 'Wait for the other.']
    for (const words of [...shown, 'drill of main/app', '1 min ago', 'fetch, 1.5 MB of 3.0 MB', '0 runs before it'])
      expect(text).toContain(words)
  })

  it('names and messages that are HTML - are shown, not obeyed', async () => {
    await using server = await startTestServer({
      manifests: [manifestAt('2026-11-20T02:00:00Z', { database: hostile })],
      parts: { isReady: () => ({ ready: false, reasons: [hostile] }), version: hostile },
    })
    const { text } = await server.call('GET', '/')
    expect(text).not.toContain('<img')
    expect(text).toContain('main/&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;')
  })

  it('its policy - allows nothing but the one style sheet that is in it', async () => {
    await using server = await startTestServer()
    const { text, headers } = await server.call('GET', '/')
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(text) ?? []
    const hash = createHash('sha256').update(style).digest('base64')
    expect(headers.get('content-security-policy')).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    expect(text).not.toMatch(/<script|\son\w+=|\sstyle=|https?:/)
  })
})
