import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { compareWithEvidence } from '../../src/compare/compare-restored.ts'
import { Checklist } from '../../src/domain/checklist.ts'
import type { Evidence } from '../../src/domain/evidence.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { executeRun, type Finished } from '../../src/jobs/execute.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { silentLog } from '../../src/log.ts'
import { connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { quoteIdentifier } from '../../src/postgres/tables.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { commandBlocks, type Outcome } from './bare-machine.ts'
import { testDatabase, testInstallation, testUrl } from './installation.ts'
import { query } from './postgres-server.ts'
import { storeSetOf } from './store-sets.ts'
import type { TestBucket } from './test-bucket.ts'

// What tests share that restore by the commands of a RECOVERY.md.

const signal = new AbortController().signal
type Server = { url(database?: string): string }

/** What is easily lost by hand: what hangs on the database itself, and an event trigger that writes into a table. */
const extrasSql = (name: string): string => `
  CREATE TABLE shop.ddl_log (tag text); CREATE TABLE shop.price (amount money); INSERT INTO shop.price VALUES ('1234.5');
  CREATE FUNCTION shop.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO shop.ddl_log VALUES (tg_tag); END $$;
  CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION shop.log_ddl();
  COMMENT ON EVENT TRIGGER log_ddl IS 'writes';
  CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = NONE);
  ALTER DATABASE ${name} SET work_mem = '7MB'; ALTER DATABASE ${name} OWNER TO shop_owner; GRANT CONNECT ON DATABASE ${name} TO shop_reader;
  COMMENT ON DATABASE ${name} IS 'the shop'`

export type Kept = AsyncDisposable & {
  readonly database: string
  readonly evidence: Evidence
  /** In the store. */
  readonly folders: { readonly database: string; readonly roles: string }
  readonly keys: { readonly privateKey: string; readonly signer: string | undefined }
  /** The fingerprint of the key that signed; empty without one. */
  readonly signer: string
  fetch(folder: string, to: string): Promise<void>
}

/** Backs up a database of that name and the roles into a real store, whose address the guides then hold. */
export async function keep(
  database: string,
  where: { readonly directory: string } | { readonly bucket: TestBucket },
  signed: 'signed' | 'unsigned',
  settings: Record<string, string> = {},
): Promise<Kept> {
  await using source = await testDatabase()
  const name = quoteIdentifier(database)
  await query(testUrl(), `ALTER DATABASE ${source.name} RENAME TO ${name}`)
  try {
    await query(testUrl(database), extrasSql(name))
    const pair =
      signed === 'signed'
        ? await generateKeyPair({ name: 's', kind: 'ecc', use: 'signing', now: new Date() })
        : undefined
    await using folder = await testInstallation()
    const signing = join(folder.folder, 'signing.key.asc')
    writeFileSync(signing, pair?.privateKey ?? '')
    await using test = await testInstallation({
      ...settings,
      ...(pair !== undefined ? { PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: signing } : {}),
    })
    const parts = { clock: systemClock, log: silentLog }
    const settingsOfStore =
      'bucket' in where ? where.bucket.settings() : { url: `file://${encodeURI(where.directory)}` }
    const store = await openStore(settingsOfStore as Parameters<typeof openStore>[0], parts)
    const installation = { ...test.installation, store, stores: storeSetOf(store) }
    const run = async (job: 'backup' | 'roles'): Promise<Finished> => {
      const ordered = { job, server: 'main', database: job === 'roles' ? null : database, trigger: 'cli' } as const
      return await executeRun(newRun(ordered, installation), {}, installation, signal)
    }
    const { label, backup } = await run('backup')
    const roles = await run('roles')
    return {
      database,
      evidence: backup?.evidence as Evidence,
      folders: {
        database: backupFolder({ kind: 'database', server: 'main', database, label: String(label) }),
        roles: backupFolder({ kind: 'roles', server: 'main', database: null, label: String(roles.label) }),
      },
      keys: { privateKey: readFileSync(join(test.folder, 'backup.key.asc'), 'utf8'), signer: pair?.publicKey },
      signer: pair?.fingerprint ?? '',
      async fetch(folder, to) {
        for await (const { key } of store.list(folder, { signal }))
          writeFileSync(join(to, key.slice(folder.length)), await store.get(key, { signal }))
      },
      [Symbol.asyncDispose]: async () => await store.close(),
    }
  } finally {
    await query(testUrl(database), 'DROP SUBSCRIPTION IF EXISTS feed')
    await query(testUrl(), `DROP DATABASE ${name} WITH (FORCE)`)
  }
}

/** The keys as files in the folder, named as the texts name them. */
export function bringKeys(folder: string, { privateKey, signer }: Kept['keys']): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'backup.key.asc'), privateKey)
  if (signer !== undefined) writeFileSync(join(folder, 'signing.pub.asc'), signer)
}

/** The blocks with the addresses of the example put right, each of which must be there. */
export function addressed(blocks: readonly string[], server: Server, more: Record<string, string> = {}): string[] {
  const { hostname, port, username } = new URL(server.url())
  const address = `PGHOST=${hostname} PGPORT=${port} PGUSER=${username}`
  const changes = { 'PGHOST=127.0.0.1 PGPORT=5432 PGUSER=postgres': address, ...more }
  const text = blocks.join('\0')
  for (const from of Object.keys(changes)) expect(text).toContain(from)
  return Object.entries(changes)
    .reduce((all, [from, to]) => all.replaceAll(from, to), text)
    .split('\0')
}

/** Compares by the census what was restored, object by object and digest by digest. */
export async function differences(server: Server, { database, evidence }: Kept): Promise<string> {
  const url = server.url(database)
  await using held = await connect(parseConnectionUrl('target', url), signal, 'test')
  const { rows } = await held.client.query("SELECT current_setting('server_version_num')::int / 10000 AS major")
  const majors = { source: evidence.manifest.source.major, scratch: rows[0].major as number }
  const question = { clients: [held.client], evidence, drillLabel: 'x', majors }
  return await compareWithEvidence({ ...question, notes: [], onTables: () => {} }, new Checklist(), signal).then(
    () => '',
    (error: { details?: string }) => String(error.details ?? error),
  )
}

export async function databaseOf(server: Server, name: string): Promise<unknown> {
  const [row] = await query(
    server.url(),
    `SELECT pg_get_userbyid(datdba) AS owner, shobj_description(d.oid, 'pg_database') AS comment,
            has_database_privilege('shop_reader', d.oid, 'CONNECT') AS reader, setconfig AS settings
       FROM pg_database d LEFT JOIN pg_db_role_setting ON setdatabase = d.oid WHERE datname = $1`,
    [name],
  )
  return row
}

export const wholeDatabase = { owner: 'shop_owner', comment: 'the shop', reader: true, settings: ['work_mem=7MB'] }

/** Drops these databases, else all that were made. */
export async function clearServer(server: Server, only?: readonly string[]): Promise<void> {
  const all = "SELECT datname AS name FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')"
  const rows = only?.map((name) => ({ name })) ?? (await query(server.url(), all))
  for (const { name } of rows) {
    // Before a database is dropped its subscriptions must be.
    await query(server.url(String(name)), 'DROP SUBSCRIPTION IF EXISTS feed')
    await query(server.url(), `DROP DATABASE ${quoteIdentifier(String(name))} WITH (FORCE)`)
  }
}

export function expectDone({ failed, output }: Outcome): void {
  expect(failed, output).toBeUndefined()
}

/** The blocks of a guide; of the clients of S3 only rclone, which Debian has in a version that reads the environment. */
export function blocksOf(guide: string, server: Server): string[] {
  return addressed(commandBlocks(guide), server).filter((block) => !block.startsWith('aws '))
}

/** After these the files are there. */
export const fromStep = (guide: string, step: number): string => guide.slice(guide.indexOf(`\n## ${step}. `))

export const strict = 'umask 077; set -o pipefail'
