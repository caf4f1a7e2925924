import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { assertRestorable } from '../../src/guard/check-guard.ts'
import { type Connection, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { failureOf } from '../restore/tables-fixture.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'

const { signal } = new AbortController()

let test: TestInstallation
let own: TestServer
beforeAll(async () => {
  test = await testInstallation()
  own = await startPostgres('max_prepared_transactions = 2')
  await query(own.url(), 'CREATE DATABASE shop')
})
afterAll(async () => {
  await test?.[Symbol.asyncDispose]()
  await own?.stop()
})

/** What is said before anything is done; the same server for both, unless `target` is another one. */
async function refused(source: string, target: string | Connection = source, installation = test.installation) {
  const guarded = {
    source: parseConnectionUrl('main', source),
    target: typeof target === 'string' ? parseConnectionUrl('the target', target) : target,
  }
  const { code, text } = await failureOf(assertRestorable(guarded, installation, signal))
  return `${code} ${text}`
}

describe('a restore afterwards would not be possible', () => {
  it('the database is not there for the login that restores - DATABASE_UNKNOWN', async () => {
    const gone = `gone_${randomBytes(4).toString('hex')}`
    await using database = await testDatabase('template1')
    expect(await refused(database.url, testUrl(gone))).toMatch(new RegExp(`^DATABASE_UNKNOWN .*"${gone}"`))
  })

  it('the private key opens nothing that is encrypted now - KEY_NO_MATCH names the recipients', async () => {
    await using database = await testDatabase('template1')
    await using other = await testInstallation()
    const { privateKey } = await generateKeyPair({ name: 'other', kind: 'ecc', use: 'backup', now: new Date() })
    writeFileSync(join(other.folder, 'backup.key.asc'), privateKey)
    expect(await refused(database.url, database.url, other.installation)).toMatch(
      /^KEY_NO_MATCH .*the backup that would be taken now.*[0-9A-F]{40}/s,
    )
  })

  it.each([
    ['nothing is signed', false],
    ['it is signed by another', true],
  ])('signatures are demanded, and %s - KEY_NEEDED names the setting', async (_, isSigned) => {
    await using database = await testDatabase('template1')
    await using other = await testInstallation()
    const make = () => generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
    const [trusted, stranger] = await Promise.all([make(), make()])
    writeFileSync(join(other.folder, 'signer.pub.asc'), trusted.publicKey)
    writeFileSync(join(other.folder, 'stranger.key.asc'), stranger.privateKey, { mode: 0o600 })
    await using demanding = await testInstallation({
      PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(other.folder, 'signer.pub.asc'),
      ...(isSigned && { PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: join(other.folder, 'stranger.key.asc') }),
    })
    expect(await refused(database.url, database.url, demanding.installation)).toMatch(
      /^KEY_NEEDED .*signatures.*`encryption\.signingKeyFile`/,
    )
  })

  it('its login may not see what others do - GUARD_IMPOSSIBLE with the statement that lets it', async () => {
    const low = `low_${randomBytes(4).toString('hex')}`
    await query(own.url(), `CREATE ROLE ${low} LOGIN CREATEDB PASSWORD 'x'`)
    await query(own.url(), `CREATE DATABASE ${low} OWNER ${low}`)
    const target = { ...parseConnectionUrl('the target', own.url(low)), user: low, password: () => 'x' }
    expect(await refused(own.url(low), target)).toMatch(
      new RegExp(
        `^GUARD_IMPOSSIBLE .*${low} may not see what other sessions do.*GRANT pg_read_all_stats TO ${low}, or .*--to`,
      ),
    )
  })

  it('a prepared transaction waits in the database - GUARD_IMPOSSIBLE names it', async () => {
    await query(own.url('shop'), "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'order 7'")
    try {
      expect(await refused(own.url('shop'))).toMatch(
        /^GUARD_IMPOSSIBLE .*a prepared transaction waits in shop \(order 7\).*ROLLBACK PREPARED it first/,
      )
    } finally {
      await query(own.url('shop'), "ROLLBACK PREPARED 'order 7'")
    }
  })

  it('the login that restores is of another server - GUARD_IMPOSSIBLE', async () => {
    await using database = await testDatabase('template1')
    expect(await refused(database.url, own.url('shop'))).toMatch(
      new RegExp(`^GUARD_IMPOSSIBLE .*127\\.0\\.0\\.1:${own.port} is not the server that is backed up.*--to`),
    )
  })

  it('pg_cron works in the database - GUARD_IMPOSSIBLE says what to leave out', async () => {
    await using database = await testDatabase('template1')
    // An extension of that name, whatever this machine has installed.
    await query(
      database.url,
      `CREATE EXTENSION hstore; SET allow_system_table_mods = on; UPDATE pg_extension SET extname = 'pg_cron' WHERE extname = 'hstore'`,
    )
    expect(await refused(database.url)).toMatch(/^GUARD_IMPOSSIBLE .*pg_cron .*Leave out --restore-on-failure/)
  })
})

describe('a restore afterwards would be possible', () => {
  it('by the same login - the server is returned, and nothing is left in the spool', async () => {
    const { admin } = await assertRestorable(
      { source: parseConnectionUrl('main', own.url('shop')), target: parseConnectionUrl('main', own.url('shop')) },
      test.installation,
      signal,
    )
    expect(admin.database).toBe('postgres')
    expect(test.spoolLeft()).toEqual([])
  })
})
