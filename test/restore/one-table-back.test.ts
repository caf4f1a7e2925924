import { readFileSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import type { TablesRequest, TablesResult } from '../../src/restore/tables-request.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { psql, restoreTables } from './tables-fixture.ts'

const page = 'docs/one-table-back.md'
const created: string[] = []

afterAll(async () => {
  for (const name of created) await query(testUrl(), `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`)
})

type Step = { readonly kind: 'sql' | 'sh' | 'mark'; readonly text: string }

/** Code blocks and marks of the page, in order; a block that a list indents is taken out of it. */
function stepsOf(text: string): Step[] {
  return [...text.matchAll(/^( *)```(sql|sh)\n([\s\S]*?)^ *```$|^<!-- (.*) -->$/gm)].map(
    ([, indent = '', kind, code, mark]) =>
      mark === undefined
        ? { kind: kind as 'sql' | 'sh', text: (code ?? '').replaceAll(new RegExp(`^${indent}`, 'gm'), '').trim() }
        : { kind: 'mark', text: mark },
  )
}

/** The command line as the CLI reads it. */
function requestOf(command: string, database: string): Partial<TablesRequest> {
  const words = command.split(/\s+/)
  expect(words.slice(0, 3)).toEqual(['pgproof', 'restore', 'latest'])
  const valuesOf = (flag: string): string[] =>
    words.flatMap((word, index) => (word === flag ? [words[index + 1] ?? ''] : []))
  const named = new URL(valuesOf('--to')[0] ?? '').pathname.slice(1).replace('shop', database)
  if (named !== database) created.push(named)
  return {
    choice: { by: 'latest' },
    target: parseConnectionUrl('the target', testUrl(named)),
    tables: valuesOf('--table'),
    place: words.includes('--create')
      ? { into: 'database' }
      : { into: 'schema', schema: valuesOf('--into-schema')[0] ?? null },
  }
}

it('docs/one-table-back.md, read from top to bottom - every command and statement does what the page says', async () => {
  await using test = await testInstallation()
  await using live = await testDatabase('template0')
  const text = readFileSync(page, 'utf8')
  const steps = stepsOf(text)
  const printed: string[] = []
  const answers: string[] = []
  let result: TablesResult | undefined
  for (const [index, step] of steps.entries()) {
    if (step.kind === 'sh') result = await restoreTables(test, live.name, requestOf(step.text, live.name))
    else if (step.text === 'backup') await test.run('backup', live.name)
    else if (step.kind === 'sql') {
      const before = steps[index - 1]
      const purpose = before?.kind === 'mark' && before.text !== 'backup' ? before.text : null
      const script = result?.statements.find((one) => one.purpose === purpose)?.sql
      if (purpose !== null) {
        printed.push(script ?? '')
        expect(step.text, `the page shows what pgproof prints: ${purpose}`).toBe(script)
      }
      answers.push(psql(live.url, step.text.replace(/^\\connect shop/, `\\connect ${live.name}`)))
    }
  }
  expect(printed).toHaveLength(5)
  expect(answers.filter((answer) => answer !== '')).toEqual([
    '1000|1000\n',
    '1000\n1000\n',
    'public.users|0|100|1\npublic.orders|1500|0|0\n',
    '1001\n5000\n',
    '1000\n',
  ])
  expect(
    await query(
      live.url,
      'SELECT count(*)::int AS n FROM users WHERE id <= 100 AND seen IS NULL AND email IS NOT NULL',
    ),
  ).toEqual([{ n: 100 }])
})
