import { shopRolesSql, shopSql } from '../../scripts/shop-data.ts'
import { query, startSourceServer } from './postgres-server.ts'
import { putIntoEnvironment, startS3Server } from './s3-server.ts'

/**
 * Starts what the `services` tests need, once for all of them: a PostgreSQL server with a template database, and an S3
 * server unless PGPROOF_TEST_S3_ENDPOINT names one. Their addresses go to the tests by environment.
 */
export default async function setup(): Promise<() => Promise<void>> {
  const postgres = await startSourceServer()
  process.env['PGPROOF_TEST_PG_URL'] = postgres.url()
  process.env['PGPROOF_TEST_PG_BIN'] = postgres.binDir
  await query(postgres.url(), shopRolesSql)
  await query(postgres.url(), 'CREATE DATABASE shop_template')
  await query(postgres.url('shop_template'), shopSql(0.02))
  const s3 = await startS3Server()
  putIntoEnvironment(s3)
  return async () => {
    await s3.stop()
    await postgres.stop()
  }
}
