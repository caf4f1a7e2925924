import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openPasswordFolder } from '../streams/spool.ts'
import type { Connection } from './connect.ts'
import { passwordFilePath } from './password-file.ts'
import { rootCertFileOf } from './tls.ts'

/** The whole environment of a client program; a password is in a private file that is gone when the scope ends. */
export type ProgramEnvironment = AsyncDisposable & { readonly env: Readonly<Record<string, string>> }

/**
 * Connection settings go by PG* variables and a password file (mode 0600), never by arguments: every user of the
 * machine can read those. libpq does not expand PGDATABASE, so a database called `host=evil` stays a name.
 */
export async function programEnvironment(connection: Connection, applicationName: string): Promise<ProgramEnvironment> {
  const { tls } = connection
  const env: Record<string, string> = {
    PATH: process.env['PATH'] ?? '/usr/bin:/bin',
    LC_ALL: 'C.UTF-8',
    LC_MESSAGES: 'C',
    HOME: '/nonexistent',
    PGHOST: connection.host,
    PGPORT: String(connection.port),
    PGUSER: connection.user,
    PGDATABASE: connection.database,
    PGAPPNAME: applicationName,
    PGCONNECT_TIMEOUT: '15',
    PGSSLMODE: tls.mode,
    // Our own connections know TLS only; and no client encoding: a dump is in the encoding of its database, since not
    // every byte of a SQL_ASCII or WIN1252 database has a place in another one.
    PGGSSENCMODE: 'disable',
  }
  if (connection.parameters !== undefined) env['PGOPTIONS'] = optionsOf(connection.parameters)
  const rootCertFile = rootCertFileOf(tls)
  if (rootCertFile !== undefined) env['PGSSLROOTCERT'] = rootCertFile
  if (tls.certFile !== undefined) env['PGSSLCERT'] = tls.certFile
  if (tls.keyFile !== undefined) env['PGSSLKEY'] = tls.keyFile
  // Where no password is configured, our own connections take it from the same places.
  const password = connection.password?.() ?? process.env['PGPASSWORD']
  if (password === undefined) {
    env['PGPASSFILE'] = passwordFilePath()
    return { env, [Symbol.asyncDispose]: async () => {} }
  }
  const folder = await openPasswordFolder()
  try {
    const file = join(folder.folder, 'pgpass')
    await writeFile(file, `*:*:*:*:${password.replaceAll(/[\\:]/g, '\\$&')}\n`, { mode: 0o600 })
    env['PGPASSFILE'] = file
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
  return { env, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

/** As the server takes them apart again: at spaces, with backslashes before what is none. */
function optionsOf(parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `-c ${name}=${value.replaceAll(/[\s\\]/g, '\\$&')}`)
    .join(' ')
}
