import { type PgproofError, reasonOf } from '../errors.ts'

/** What a connection to the control database is called, in the place of a server's name. */
export const controlName = 'control'

/** The reason of a fault of the control database: no server of the configuration has its connection's name. */
export function controlReason(error: unknown): string {
  return reasonOf(error).replaceAll(`server "${controlName}"`, 'its server')
}

type Words = Pick<PgproofError, 'code' | 'message' | 'hint' | 'details'>

/** The same for a finding, which says by itself what it is about, and with hints that name the keys of `fleet`. */
export function controlWords({ code, message, hint, details }: PgproofError): Words {
  const hints: Readonly<Record<string, string>> = {
    AUTHENTICATION_FAILED:
      'Check the user and the password (`fleet.passwordFile`, PGPASSWORD, ~/.pgpass or the URL, the first that there is).',
    DATABASE_UNKNOWN: 'Create it, or mend `fleet.url`: docs/fleet.md says how it is made, and with which rights.',
    POOLER_DETECTED: 'Give `fleet.url` a direct connection: who has the turn holds a lock of a session.',
  }
  const text = message.replaceAll(`server "${controlName}"`, 'the server of the control database')
  return { code, message: text, hint: hints[code] ?? hint, details }
}
