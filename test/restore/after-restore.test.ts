import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Evidence } from '../../src/domain/evidence.ts'
import { analyzeAndAsk, assertExtensions, assertMonetary } from '../../src/restore/after-restore.ts'
import { createPhases } from '../../src/restore/phases.ts'
import { codeOf, errorOf, openSandbox, signal } from '../postgres/sandbox.ts'
import { testUrl } from '../support/installation.ts'
import { startPostgresProxy } from '../support/postgres-proxy.ts'

const phases = () => createPhases(systemClock, () => {})

describe('statistics and the first query', () => {
  it('foreign tables below others - no other server is asked; what is local has statistics', async () => {
    let isAsked = false
    const stranger = createServer((socket) => {
      isAsked = true
      socket.destroy()
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    stranger.listen(0, '127.0.0.1', resolve)
    await promise
    const { port } = stranger.address() as { port: number }
    try {
      await using sandbox = await openSandbox(`CREATE EXTENSION postgres_fdw;
        CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '${port}'); CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'x', password 'y');
        CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE FOREIGN TABLE p1 PARTITION OF p FOR VALUES IN (1) SERVER far; CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); INSERT INTO p2 VALUES (2);
        CREATE TABLE parent (a int); CREATE FOREIGN TABLE child () INHERITS (parent) SERVER far; INSERT INTO parent VALUES (1); CREATE TABLE "o""k" (a int); INSERT INTO "o""k" VALUES (1)`)
      const tables = ['parent', 'p2'].map((name) => ({ schema: 'public', name, rows: 5 }))
      const notes = await analyzeAndAsk(
        { connection: sandbox.connection, tables: tables as never, jobs: 2 },
        phases(),
        signal,
      )
      expect(notes).toEqual([])
      expect(isAsked).toBe(false)
      const analyzed = "SELECT DISTINCT tablename::text FROM pg_stats WHERE schemaname = 'public' ORDER BY 1"
      expect(await sandbox.sql(analyzed)).toEqual([{ tablename: 'o"k' }, { tablename: 'p2' }])
    } finally {
      stranger.close()
    }
  })

  it('an index whose function refuses, as it does at the source - a note; the other tables are analyzed', async () => {
    await using sandbox =
      await openSandbox(`CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1; END $$;
      CREATE TABLE a (a int); CREATE TABLE b (a int); CREATE TABLE c (a int); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1); CREATE INDEX ON b (f(a));
      CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`)
    expect(await analyzeAndAsk({ connection: sandbox.connection, tables: [], jobs: 2 }, phases(), signal)).toEqual([
      'ANALYZE public.b: no',
    ])
    const analyzed = "SELECT DISTINCT tablename::text FROM pg_stats WHERE schemaname = 'public' ORDER BY 1"
    expect(await sandbox.sql(analyzed)).toEqual([{ tablename: 'a' }, { tablename: 'c' }])
  })
})

it('the connection breaks in the middle of ANALYZE - SCRATCH_FAILED, and what was analyzed in the details', async () => {
  await using sandbox = await openSandbox('CREATE TABLE a (a int)')
  await using proxy = await startPostgresProxy(testUrl(), ({ text }) =>
    text.startsWith('ANALYZE') ? 'lose the answer' : undefined,
  )
  const connection = { ...sandbox.connection, host: '127.0.0.1', port: proxy.port }
  expect(await errorOf(analyzeAndAsk({ connection, tables: [], jobs: 1 }, phases(), signal))).toMatchObject({
    code: 'SCRATCH_FAILED',
    message: expect.stringMatching(/: the connection broke: [^,]*$/),
    details: expect.stringMatching(/^ANALYZE .*\bpublic\.a$/),
  })
})

describe('the largest table', () => {
  it('is missing - a note, so that the comparison can name it', async () => {
    await using sandbox = await openSandbox()
    const notes = await analyzeAndAsk(
      { connection: sandbox.connection, tables: [{ schema: 'public', name: 'gone', rows: 1 }] as never, jobs: 1 },
      phases(),
      signal,
    )
    expect(notes).toEqual([expect.stringContaining('relation "public.gone" does not exist')])
  })
})

describe('what the server lacks', () => {
  it('an extension that is not installed - EXTENSION_MISSING; pg_cron on a server that was not started for it - LIBRARY_NOT_LOADED', async () => {
    await using sandbox = await openSandbox()
    const missing = await errorOf(assertExtensions(sandbox.connection, [{ name: 'tardis', version: '1' }], signal))
    expect(missing).toMatchObject({ code: 'EXTENSION_MISSING' })
    expect(String(missing)).toContain('tardis')
    const cron = [{ name: 'pg_cron', version: '1.4' }]
    expect(await codeOf(assertExtensions(sandbox.connection, cron, signal))).toBe('LIBRARY_NOT_LOADED')
    await assertExtensions(sandbox.connection, [{ name: 'hstore', version: '1' }], signal)
  })

  it('money under a locale that is not there - LOCALE_MISSING; the locale does not matter without money', async () => {
    await using sandbox = await openSandbox()
    const evidence = (type: string, lcMonetary = 'de_DE.UTF-8') =>
      ({
        properties: { lcMonetary },
        structure: [{ kind: 'column', name: 'public.t.a', facets: { type } }],
      }) as unknown as Evidence
    expect(await codeOf(assertMonetary(sandbox.connection, evidence('money[]'), signal))).toBe('LOCALE_MISSING')
    await assertMonetary(sandbox.connection, evidence('integer'), signal)
    const parameters = { lc_monetary: 'de_DE.UTF-8' }
    const other = (facet: string, text: string) =>
      ({
        properties: { lcMonetary: 'de_DE.UTF-8' },
        structure: [{ kind: 'x', name: 'public.x', facets: { [facet]: text } }],
      }) as unknown as Evidence
    for (const facet of ['type', 'subtype', 'element', 'transition type'])
      expect(await codeOf(assertMonetary(sandbox.connection, other(facet, 'money'), signal))).toBe('LOCALE_MISSING')
    for (const [facet, text] of [
      ['comment', 'amount of money'],
      ['source', 'SELECT money'],
      ['definition', 'CHECK (money > 0)'],
      ['type', 'public.money'],
      ['type', '"my money"'],
    ] as const)
      await assertMonetary(sandbox.connection, other(facet, text), signal)
    await assertMonetary({ ...sandbox.connection, parameters }, evidence('money'), signal)
  })
})
