import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { shopRolesSql, shopSql } from '../../scripts/shop-data.ts'
import { errorOf } from '../postgres/sandbox.ts'
import { bareMachine } from '../support/bare-machine.ts'
import {
  blocksOf,
  bringKeys,
  clearServer,
  databaseOf,
  differences,
  expectDone,
  keep,
  wholeDatabase,
} from '../support/by-hand.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { useNewerPostgres } from '../support/newer-postgres.ts'
import { query } from '../support/postgres-server.ts'
import { databasesOf, restoreTo, targetName } from '../support/restoring.ts'

describe('across majors', () => {
  const serverFor = useNewerPostgres()

  it('into a newer one, roles first - every table, owner, grant and setting as it was', async (context) => {
    const newer = serverFor(context)
    await using test = await testInstallation()
    await using source = await testDatabase()
    await query(
      source.url,
      `CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE TABLE shop.tag (pairs hstore); INSERT INTO shop.tag VALUES ('a=>1');
       CREATE INDEX ON shop.tag USING gin (pairs); CREATE INDEX ON shop.note USING gin (body gin_trgm_ops);
       CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
       CREATE EVENT TRIGGER on_ddl ON ddl_command_end EXECUTE FUNCTION shop.on_ddl(); CREATE PUBLICATION all_of_it FOR ALL TABLES;
       CREATE COLLATION shop.phonebook (provider = icu, locale = 'de_DE@collation=phonebook'); CREATE COLLATION shop.number (provider = icu, locale = 'en-US-u-kn-true');
       ALTER DATABASE ${source.name} SET work_mem = '7MB'; GRANT CONNECT ON DATABASE ${source.name} TO shop_reader`,
    )
    await test.run('roles')
    await test.run('backup', source.name)
    await using target = targetName(newer.url())
    const result = await restoreTo(test, target.url, { roles: true, verify: true })
    expect(result.error).toBeNull()
    expect(result.target.version).toMatch(new RegExp(`^${newer.major}\\.`))
    expect(result.checks.filter((check) => check.result !== 'passed').map(({ name }) => name)).toEqual(['signature'])
    const tables = result.tables?.tables ?? []
    expect(tables.filter((table) => table.result !== 'equal' || table.compared !== 'rows and digest')).toEqual([])
    expect(tables).toHaveLength(13)
    expect(result.roles?.created).toEqual(expect.arrayContaining(['shop_app', 'shop_owner', 'shop_reader']))
    const settings =
      'SELECT setconfig AS settings FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = $1'
    expect(await query(newer.url(), settings, [target.name])).toEqual([{ settings: ['work_mem=7MB'] }])
  })

  it('into a newer one by hand, by the commands of RECOVERY.md - equal in every digest', async (context) => {
    const newer = serverFor(context)
    await using machine = bareMachine()
    const directory = join(machine.folder, 'store')
    mkdirSync(directory)
    await using kept = await keep('shop_by_hand', { directory }, 'unsigned')
    bringKeys(machine.folder, kept.keys)
    for (const folder of [kept.folders.roles, kept.folders.database]) {
      const guide = readFileSync(join(directory, folder, 'RECOVERY.md'), 'utf8')
      expectDone(await machine.run(blocksOf(guide, newer), { PGPASSWORD: new URL(newer.url()).password }))
    }
    expect(await differences(newer, kept)).toBe('')
    expect(await databaseOf(newer, 'shop_by_hand')).toEqual(wholeDatabase)
    await clearServer(newer, ['shop_by_hand'])
  })

  it('into an older one - TARGET_TOO_OLD says which majors, nothing made', async (context) => {
    const newer = serverFor(context)
    await query(newer.url(), shopRolesSql)
    await query(newer.url(), 'DROP DATABASE IF EXISTS newer_shop')
    await query(newer.url(), 'CREATE DATABASE newer_shop')
    await query(newer.url('newer_shop'), shopSql(0.005))
    await using test = await testInstallation({
      PGPROOF_SERVERS__0__URL: newer.url(),
      PGPROOF_POSTGRES__BIN_DIRS: newer.binDir,
    })
    await test.run('backup', 'newer_shop')
    await using target = targetName(testUrl())
    const error = await errorOf(restoreTo(test, target.url))
    expect(error).toMatchObject({ code: 'TARGET_TOO_OLD', exitCode: 12 })
    expect(String(error)).toContain(String(newer.major))
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
  })
})
