import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { query, startPostgres, type TestServer, unprivileged } from '../support/postgres-server.ts'

/** What a hostile dump would be after on a machine: a server of the same user, its key, its store, a service. */
export type Prey = AsyncDisposable & {
  readonly production: TestServer
  readonly folder: string
  /** What was got at so far; empty as long as everything held. */
  touched(): Promise<string[]>
}

export async function openPrey(): Promise<Prey> {
  const production = await startPostgres()
  await query(production.url(), 'CREATE TABLE canary (by text)')
  const folder = mkdtempSync(join(tmpdir(), 'prey-'))
  chmodSync(folder, 0o755)
  // Open to every user of the machine: nothing but the isolation keeps anybody from it.
  writeFileSync(join(folder, 'key.asc'), 'PRIVATE KEY')
  mkdirSync(join(folder, 'store'))
  for (const open of ['', 'store']) chmodSync(join(folder, open), 0o777)
  writeFileSync(join(folder, 'store', 'manifest.json'), '{}')
  chmodSync(join(folder, 'store', 'manifest.json'), 0o666)
  const reached = { count: 0 }
  const service = createServer((socket) => {
    reached.count += 1
    socket.destroy()
  })
  await new Promise<void>((done) => service.listen(join(folder, 'service.sock'), done))
  chmodSync(join(folder, 'service.sock'), 0o777)
  return {
    production,
    folder,
    touched: async () => [
      ...(await query(production.url(), 'SELECT by FROM canary ORDER BY by')).map(({ by }) => String(by)),
      ...(reached.count > 0 ? ['unix socket of a service'] : []),
      ...(existsSync(join(folder, 'planted')) ? ['a file of this machine'] : []),
      ...(readFileSync(join(folder, 'store', 'manifest.json'), 'utf8') === '{}' ? [] : ['the store']),
    ],
    [Symbol.asyncDispose]: async () => {
      await new Promise((done) => service.close(done))
      await production.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A statement of a superuser, as code in a dump can run it; it fails where it is shut off. */
export type Attempt = { readonly title: string; readonly sql: string }

export function attempts({ production, folder }: Pick<Prey, 'production' | 'folder'>): Attempt[] {
  const socket = `host=${production.folder} port=${production.port} user=postgres dbname=postgres`
  const tcp = `host=127.0.0.1 port=${production.port} user=postgres dbname=postgres connect_timeout=5`
  const insert = (by: string): string => `'INSERT INTO canary VALUES (''${by}'')'`
  const program = (title: string, command: string): Attempt => ({
    title,
    // Without a row: a program that ends before it has read one fails with a broken pipe, whatever it could do.
    sql: `COPY (SELECT WHERE false) TO PROGRAM '${command.replaceAll("'", "''")}'`,
  })
  const pid = readFileSync(join(production.folder, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]
  return [
    {
      title: 'dblink by Unix socket',
      sql: `SELECT public.dblink_exec('${socket}', ${insert('dblink by Unix socket')})`,
    },
    { title: 'dblink by TCP', sql: `SELECT public.dblink_exec('${tcp}', ${insert('dblink by TCP')})` },
    {
      title: 'postgres_fdw by Unix socket',
      sql: `INSERT INTO public.far_canary VALUES ('postgres_fdw by Unix socket')`,
    },
    program('psql by Unix socket', `psql -X "${socket}" -c "INSERT INTO canary VALUES ('psql by Unix socket')"`),
    program('a connection by TCP', `timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/${production.port}"`),
    program(
      'unix socket of a service',
      `perl -MIO::Socket::UNIX -e "IO::Socket::UNIX->new('${folder}/service.sock') or exit 1"`,
    ),
    program('a signal to a server of the same user', `kill -0 ${pid}`),
    program('the environment of other processes', `test $(wc -c </proc/${pid}/environ) -gt 0`),
    program('more privileges', 'grep -q "^NoNewPrivs:.*0$" /proc/self/status'),
    { title: 'pg_read_file of a key', sql: `SELECT pg_read_file('${folder}/key.asc')` },
    { title: 'lo_import of a key', sql: `SELECT lo_import('${folder}/key.asc')` },
    program('cat of a key', `cat ${folder}/key.asc`),
    { title: 'pg_ls_dir of the store', sql: `SELECT pg_ls_dir('${folder}/store')` },
    { title: 'COPY TO into the store', sql: `COPY (SELECT 1) TO '${folder}/store/manifest.json'` },
    {
      title: 'lo_export to a file',
      sql: `DO $do$ DECLARE made oid := lo_from_bytea(0, 'x'); BEGIN PERFORM lo_export(made, '${folder}/planted'); END $do$`,
    },
    { title: 'the data folder of a server of the same user', sql: `SELECT pg_ls_dir('${production.folder}/data')` },
    {
      title: 'a C function of a library that it brings along',
      sql: `CREATE FUNCTION brought() RETURNS int LANGUAGE c AS '${folder}/key.asc', 'x'`,
    },
  ]
}

/** What the attempts need. */
export function preparation({ production }: Pick<Prey, 'production'>): string {
  return `CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;
    CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '${production.folder}', port '${production.port}', dbname 'postgres');
    CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'postgres', password_required 'false');
    CREATE FOREIGN TABLE far_canary (by text) SERVER far OPTIONS (table_name 'canary')`
}

/** The operating system's user as whom both that server and a scratch server are to run. */
export const sameUser = unprivileged() === undefined ? '' : 'postgres'
