import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PgproofError } from '../../src/errors.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'

/** Ends the session as soon as it was seen in `statements` different ones; false if it was gone before that. */
async function endSession(database: string, statements: number, isOver: () => boolean): Promise<boolean> {
  const seen = new Set<string>()
  while (!isOver()) {
    const [session] = await query(
      testUrl(),
      `SELECT pid, query FROM pg_stat_activity WHERE datname = '${database}' AND application_name IN ('pgproof snapshot', 'pgproof')`,
    )
    if (session === undefined) continue
    seen.add(String(session['query']))
    if (seen.size < statements) continue
    await query(testUrl(), `SELECT pg_terminate_backend(${Number(session['pid'])})`)
    return true
  }
  return false
}

describe('the server ends the session of a backup', () => {
  let database: Awaited<ReturnType<typeof testDatabase>>
  beforeAll(async () => {
    database = await testDatabase()
  })
  afterAll(async () => {
    await database[Symbol.asyncDispose]()
  })

  it.each([
    ['backup', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
    ['roles', [1, 2, 3]],
  ] as const)(
    '%s, at one moment after another - an error of the register that is no fault of pgproof',
    async (job, moments) => {
      const codes: string[] = []
      for (const statements of moments) {
        await using test = await testInstallation()
        let isOver = false
        const run = test
          .run(job, job === 'roles' ? null : database.name)
          .then(
            () => 'succeeded',
            (error: unknown) => (error instanceof PgproofError ? error.code : `not of the register: ${String(error)}`),
          )
          .finally(() => {
            isOver = true
          })
        const [code, hasEnded] = await Promise.all([
          run,
          endSession(job === 'roles' ? 'postgres' : database.name, statements, () => isOver),
        ])
        if (hasEnded) codes.push(code)
        if (code !== 'succeeded') expect(test.store.keys()).toEqual([])
      }
      expect(codes.length).toBeGreaterThan(0)
      expect(
        codes.filter(
          (code) =>
            !['SNAPSHOT_FAILED', 'SERVER_UNREACHABLE', 'QUERY_FAILED', 'DUMP_FAILED', 'succeeded'].includes(code),
        ),
      ).toEqual([])
    },
  )
})
