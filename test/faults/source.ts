import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { untilConnectable } from '../../scripts/throw-away-postgres.ts'
import { query, startPostgres, unprivileged } from '../support/postgres-server.ts'

/** A server of its own with a database to back up: faults on it hit nobody else. */
export type Source = {
  url(database?: string): string
  /** Ends every session of pgproof and of the programs that it has started. */
  endSessions(): Promise<void>
  /** The process id of its postmaster. */
  postmaster(): number
  /** Immediate shutdown, as in a power cut, and a new start. */
  restart(): Promise<void>
  /** What of pgproof is left on it, in words; empty if nothing. */
  leftovers(): Promise<string[]>
  /** Databases that pgproof has made and not put in place. */
  unfinished(): Promise<string[]>
  stop(): Promise<void>
}

export const sourceDatabase = 'shop'
export const sourceRole = 'clerk'

/** About 7 MB that cannot be compressed away: an upload of several parts. */
const tables = `
  CREATE TABLE parcel AS SELECT g AS id, (SELECT string_agg(decode(md5(g::text || part), 'hex'), '') FROM generate_series(1, 64) part) AS body
    FROM generate_series(1, 7000) g;
  ALTER TABLE parcel ADD PRIMARY KEY (id);
  CREATE TABLE label (id int PRIMARY KEY REFERENCES parcel, text text);
  INSERT INTO label SELECT g, 'parcel ' || g FROM generate_series(1, 1000) g;
  ALTER TABLE label OWNER TO ${sourceRole}`

/** What says that a restored database is the one that was backed up. */
export const contentsQuery = `SELECT (SELECT count(*) FROM parcel)::int AS parcels, (SELECT count(*) FROM label)::int AS labels,
  (SELECT md5(string_agg(md5(body), '' ORDER BY id)) FROM parcel) AS bodies`

export async function startSource(): Promise<Source> {
  const server = await startPostgres()
  const data = join(server.folder, 'data')
  const control = async (...words: string[]): Promise<void> => {
    await promisify(execFile)(join(server.binDir, 'pg_ctl'), ['-D', data, '-w', ...words], {
      cwd: '/',
      ...unprivileged(),
    })
  }
  const ended = "application_name LIKE 'pgproof%' AND pid <> pg_backend_pid()"
  await query(server.url(), `CREATE ROLE ${sourceRole}`)
  await query(server.url(), `CREATE DATABASE ${sourceDatabase}`)
  await query(server.url(sourceDatabase), tables)
  return {
    url: server.url,
    endSessions: async () => {
      await query(server.url(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${ended}`)
    },
    postmaster: () => Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]),
    restart: async () => {
      // What the new server says goes to a file: a pipe of ours would hold up whoever waits for its end.
      await control('-m', 'immediate', '-l', join(server.folder, 'log'), 'restart')
      await untilConnectable(server.url())
    },
    leftovers: async () => {
      const rows = await query(
        server.url(),
        `SELECT 'session ' || application_name || COALESCE(', snapshot ' || backend_xmin, '') AS what
             FROM pg_stat_activity WHERE ${ended}
         UNION ALL SELECT 'lock ' || classid || '/' || objid FROM pg_locks WHERE locktype = 'advisory'
         UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts
         UNION ALL SELECT 'replication slot ' || slot_name FROM pg_replication_slots`,
      )
      return rows.map(({ what }) => String(what))
    },
    unfinished: async () => {
      const rows = await query(
        server.url(),
        `SELECT datname FROM pg_database WHERE datname LIKE 'pgproof%'
            OR starts_with(COALESCE(shobj_description(oid, 'pg_database'), ''), 'pgproof')`,
      )
      return rows.map(({ datname }) => String(datname))
    },
    stop: async () => {
      // After a restart it is nobody's child any more.
      if (existsSync(join(data, 'postmaster.pid')) && readFileSync(join(data, 'postmaster.pid'), 'utf8') !== '')
        await control('-m', 'immediate', 'stop').catch(() => {})
      await server.stop()
    },
  }
}
