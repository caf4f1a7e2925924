import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { ReplayedRoles } from '../postgres/replay-roles.ts'
import type { ScratchDatabase } from '../postgres/scratch-database.ts'
import {
  assertTakes,
  type OpenedScratch,
  openScratchServer,
  type ScratchServer,
  type ScratchSettings,
  type ScratchSource,
  scratchKind,
} from './scratch.ts'

/**
 * Opens a scratch server for several drills: the databases that they make stay until the scope ends, and the roles are
 * replayed once, so that each drill compares the same replay. Throws what `openScratchServer` throws.
 */
export async function openForSeveral(
  settings: Exclude<ScratchSettings, { readonly kind: 'opened' }>,
  source: ScratchSource,
  bootstrapRole: string,
  folder: string,
  parts: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<OpenedScratch> {
  const open = (one: typeof settings) => openScratchServer(one, source, bootstrapRole, folder, parts, signal)
  const server = await open(settings).catch((error: unknown) => {
    // Without pg_cron's package only the database that has it cannot be restored; its own drill says so.
    const isCron = error instanceof PgproofError && error.code === 'EXTENSION_MISSING'
    if (!isCron || settings.cronDatabase === undefined) throw error
    return open({ ...settings, cronDatabase: undefined })
  })
  const databases = new Map<string, ScratchDatabase>()
  let replayed: Promise<ReplayedRoles> | undefined
  const lent: ScratchServer = {
    ...server,
    // One that breaks off is remembered, too: what it left would look as if it had been there before.
    replayRoles: (script, replaySignal) => {
      replayed ??= server.replayRoles(script, replaySignal)
      return replayed
    },
    createDatabase: async (name, properties, createSignal) => {
      // A restore that is repeated by one job starts over.
      await databases.get(name)?.[Symbol.asyncDispose]()
      databases.delete(name)
      const database = await server.createDatabase(name, properties, createSignal)
      databases.set(name, database)
      return { connection: database.connection, [Symbol.asyncDispose]: async () => {} }
    },
    [Symbol.asyncDispose]: async () => {},
  }
  return {
    kind: scratchKind(settings),
    version: server.version,
    reach: server.reach,
    lend: (lentFor) => {
      assertTakes(server, lentFor)
      return lent
    },
    [Symbol.asyncDispose]: async () => {
      // The databases first: the roles own them. Whatever happens to one, the server does not stay.
      await using _server = server
      for (const database of databases.values()) await database[Symbol.asyncDispose]()
    },
  }
}
