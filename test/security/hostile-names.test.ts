import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { formatTable, printable } from '../../src/commands/print.ts'
import { createLog } from '../../src/log.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { slackMessage } from '../../src/notify/webhook.ts'
import { drillReportKey, escapeName, unescapeName } from '../../src/storage/object-keys.ts'
import { manifestAt } from '../catalog/stored.ts'
import { clockAt, madeUpCatalog } from '../metrics/made-up-catalog.ts'
import { noticeOf } from '../notify/notices.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { idleQueue } from '../support/queue-views.ts'

/** Names that break out of whatever takes a name for a part of its own language. */
const hostile: readonly (readonly [language: string, name: string])[] = [
  ['SQL', `x'; DROP TABLE kept; --`],
  ['a quoted identifier', `x"; DROP TABLE kept; --`],
  ['conninfo', `x host=evil.example user='postgres'`],
  ['a connection URL', 'postgres://evil.example/x'],
  ['shell', '$(touch pwned)`touch pwned`;touch pwned|touch pwned&'],
  ['an option', '--file=pwned'],
  ['a path', '../../pwned'],
  ['psql', "\\! touch pwned\n\\copy x to program 'touch pwned'"],
  ['HTML', `<img src=x onerror=alert(1)>"'&`],
  ['a line of a log', 'x\n{"level":"info","msg":"all is well"}'],
  ['a terminal', '\u001b]0;pwned\u0007\u001b[2J\u009b31mx\u202e\u2028'],
  ['Prometheus', 'x"} 1\npgproof_up{a="\\'],
  ['Slack', '<!channel> <https://evil.example|click> @here'],
  ['a template', `\${HOME}%s%n{{snapshotTime}}`],
]

/** What a terminal would obey, and what hides or turns what follows. */
const active = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

describe.each(hostile)('a name in the language of %s', (_language, name) => {
  it('as a part of an object key - one segment, from which it is read again', () => {
    expect(escapeName(name)).toMatch(/^[a-z0-9_=A-F-]+$/)
    expect(unescapeName(escapeName(name))).toBe(name)
    expect(drillReportKey(name, name, '20261120T020000Z-aaaa').split('/')).toHaveLength(4)
  })

  it('in the log - one line of nothing active, for people and for collectors', () => {
    for (const format of ['text', 'json'] as const) {
      const lines: string[] = []
      const log = createLog({ level: 'debug', format }, (line) => lines.push(line))
      log.error({ database: name, details: name, roles: [name] }, `cannot open ${name}`)
      expect(lines).toHaveLength(1)
      const [line = ''] = lines
      expect(line.endsWith('\n')).toBe(true)
      expect(line.slice(0, -1)).not.toMatch(active)
      if (format === 'json')
        expect(JSON.parse(line)).toMatchObject({ database: name, roles: [name], msg: `cannot open ${name}` })
    }
  })

  it('on a page of a terminal - one line of nothing active', () => {
    expect(printable(name)).not.toMatch(active)
    const table = formatTable([{ title: 'DATABASE' }, { title: 'STATE' }], [[name, 'x']], (text) => text)
    expect(table.split('\n')).toHaveLength(2)
    expect(table.replace('\n', '')).not.toMatch(active)
  })

  it('as the value of a label of a metric - the same samples as of any name, and the name read back from it', async () => {
    const now = '2026-11-20T12:00:00.000Z'
    const samplesOf = async (database: string): Promise<string[]> => {
      const clock = clockAt(now)
      const { catalog } = await madeUpCatalog(clock, { manifests: [manifestAt('2026-11-20T02:00:00Z', { database })] })
      const metrics = createMetrics({
        ...{ catalog, clock, stores: { named: [] }, planned: () => [], keyExpiries: () => [], version: '1' },
        config: { servers: [], stores: [] as never, timezone: 'UTC', drill: { pick: 'random' } },
        queueView: () => idleQueue(clock.now()),
        configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(0), needsRestart: [] }),
      })
      return (await metrics.text()).split('\n').filter((line) => line.startsWith('pgproof_'))
    }
    const samples = await samplesOf(name)
    expect(samples).toHaveLength((await samplesOf('app')).length)
    const sample = /^pgproof_\w+(?:\{(?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? [\d.e+-]+(?:Inf|NaN)?$/
    for (const line of samples) expect(line).toMatch(sample)
    const values = samples.flatMap((line) => /database="((?:[^"\\]|\\.)+)"/.exec(line)?.[1] ?? [])
    expect(new Set(values.map((value) => value.replaceAll(/\\(.)/g, (_, one) => (one === 'n' ? '\n' : one))))).toEqual(
      new Set([name]),
    )
  })

  it('in a message to Slack - calls nobody and links nowhere', () => {
    expect(JSON.stringify(slackMessage(noticeOf({ title: name, text: name })))).not.toMatch(/<|@\w/)
  })
})

it('databases, schemas, tables, columns and roles of those names - backed up, drilled and pruned; nothing is run', async () => {
  const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
  const suffix = Math.random().toString(36).slice(2, 8)
  // At most 63 bytes.
  const nasty = `p'"\\! $(touch pwned)\n\u001b[2J<b>../host=evil ${suffix}`
  await using source = await testDatabase('template1')
  const roles = hostile.map(([, name]) => `${name.slice(0, 40)} ${suffix}`)
  try {
    for (const role of roles) await query(testUrl(), `CREATE ROLE ${quoted(role)}`)
    for (const [index, [, name]] of hostile.entries()) {
      const schema = quoted(name)
      const table = `${schema}.${schema}`
      await query(
        source.url,
        `CREATE SCHEMA ${schema} AUTHORIZATION ${quoted(roles[index] ?? '')}; CREATE TABLE ${table} (${schema} text);
         INSERT INTO ${table} VALUES ('kept'); GRANT SELECT ON ${table} TO ${quoted(roles[index] ?? '')}`,
      )
    }
    await query(testUrl(), `ALTER DATABASE ${source.name} RENAME TO ${quoted(nasty)}`)
    await using test = await testInstallation()
    expect((await test.run('roles')).error ?? null).toBeNull()
    expect((await test.run('backup', nasty)).error ?? null).toBeNull()
    const { drill } = await test.run('drill', nasty)
    expect(drill?.report).toMatchObject({ verdict: 'passed', database: nasty })
    expect(drill?.tables?.tables.filter(({ result }) => result === 'equal')).toHaveLength(hostile.length)
    expect((await test.run('prune')).error ?? null).toBeNull()
    expect(test.spoolLeft()).toEqual([])
    for (const folder of ['/', process.cwd(), test.folder, join(test.folder, 'store')]) {
      expect([folder, existsSync(join(folder, 'pwned'))]).toEqual([folder, false])
      expect(readdirSync(folder).filter((name) => /pwned|evil/.test(name))).toEqual([])
    }
  } finally {
    for (const name of [nasty, source.name])
      await query(testUrl(), `DROP DATABASE IF EXISTS ${quoted(name)} WITH (FORCE)`)
    for (const role of roles) await query(testUrl(), `DROP ROLE ${quoted(role)}`)
  }
})
