import { createHash } from 'node:crypto'
import { PgproofError } from '../errors.ts'
import type { Client } from './connect.ts'

/** The key of an advisory lock: what it keeps others from, in words, or two numbers. */
export type LockKey = string | { readonly classId: number; readonly objectId: number }

/** Takes an advisory lock that lasts as long as the session. Throws LOCKED, naming `what`, and in the details who has it. */
export async function takeLock(client: Client, key: LockKey, what: string): Promise<void> {
  const { rows } = await client.query<{ taken: boolean }>(
    typeof key === 'string'
      ? { text: 'SELECT pg_catalog.pg_try_advisory_lock($1::int8) AS taken', values: [hashOf(key)] }
      : {
          text: 'SELECT pg_catalog.pg_try_advisory_lock($1::int4, $2::int4) AS taken',
          values: [key.classId, key.objectId],
        },
  )
  if (rows[0]?.taken === true) return
  const details = await holderText(client, key).catch(() => undefined)
  throw new PgproofError('LOCKED', { what }, { details })
}

/** Whether any session of the current database has that lock. */
export async function isLocked(client: Client, key: LockKey): Promise<boolean> {
  const { rowCount } = await client.query(`SELECT ${ofLock}`, lockValues(key))
  return (rowCount ?? 0) > 0
}

/** Who has a lock, as far as this login may see it; undefined if nobody has it any more. */
async function holderText(client: Client, key: LockKey): Promise<string | undefined> {
  const { rows } = await client.query<{ pid: number; client: string | null; since: string | null }>(
    `SELECT held.pid, a.since,
            COALESCE(pg_catalog.host(a.client_addr), CASE WHEN a.client_port = -1 THEN 'a Unix socket' END) AS client
       FROM (SELECT l.pid ${ofLock}) held
       LEFT JOIN (SELECT s.pid, s.client_addr, s.client_port,
                         pg_catalog.to_char(s.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
                    FROM pg_catalog.pg_stat_activity s) a ON a.pid = held.pid`,
    lockValues(key),
  )
  const [row] = rows
  if (row === undefined) return undefined
  const from = row.client === null ? '' : ` from ${row.client}`
  const since = row.since === null ? '' : `, connected since ${row.since}`
  return `held by process ${row.pid}${from}${since}`
}

/** `objsubid` is 1 for a key of 64 bits, and 2 for one of two numbers, which is another lock though the bits be the same. */
const ofLock = `
  FROM pg_catalog.pg_locks l
 WHERE l.locktype = 'advisory' AND l.objsubid = $2::int2 AND l.granted
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND (l.classid::int8 << 32 | l.objid::int8) = $1::int8`

function lockValues(key: LockKey): [string, number] {
  if (typeof key === 'string') return [hashOf(key), 1]
  const bits = (BigInt(key.classId) << 32n) | BigInt.asUintN(32, BigInt(key.objectId))
  return [BigInt.asIntN(64, bits).toString(), 2]
}

/** 64 bits, signed: what an advisory lock has for a key. */
function hashOf(subject: string): string {
  return createHash('sha256').update(`pgproof ${subject}`).digest().readBigInt64BE().toString()
}
