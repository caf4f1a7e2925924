import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DrillResult } from '../../src/drill/drill-request.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { gallery, galleryRoles, gallerySettings } from './gallery.ts'

export type Backups = { readonly roles: string; readonly older: string; readonly newer: string }

/**
 * What a store was filled with, and what reads it: `plain` backups without signatures; `signed` ones for two recipients,
 * the newer drilled, read where only their signer is trusted; the same `unchecked` and never drilled, where nobody asks who signed.
 */
export type Baseline = 'plain' | 'signed' | 'unchecked'

/** A server that holds the gallery, a server kept for drills, and a store with the gallery's roles and two backups. */
export type Scene = AsyncDisposable &
  Backups & {
    readonly source: TestServer
    readonly scratch: TestServer
    /** Another server, with the gallery under the name `original`. */
    readonly mirror: TestServer
    /** Key files: escrow.pub.asc, signer.key.asc and signer.pub.asc, and a stranger's two pairs. */
    key(file: string): string
    /** The folder of a backup of the gallery in the store, ending in a slash. */
    folder(label: string): string
    /** A copy of the gallery with a change, dropped with its scope. */
    copy(sql: string): Promise<AsyncDisposable & { readonly url: string }>
    /** The signed backups; made when first asked for. */
    signed(): Promise<Backups>
    /** An installation of its own on a copy of the store: whatever is done to it, the next one starts afresh. */
    installation(settings?: Record<string, string>, baseline?: Baseline): Promise<TestInstallation>
  }

export async function openScene(): Promise<Scene> {
  const [source, scratch, mirror] = await Promise.all([startPostgres(), startPostgres(), startPostgres()])
  const keys = mkdtempSync(join(tmpdir(), 'pgproof-keys-'))
  const key = (file: string): string => join(keys, file)
  const stop = async (): Promise<void> => {
    rmSync(keys, { recursive: true, force: true })
    await Promise.all([source.stop(), scratch.stop(), mirror.stop()])
  }
  try {
    for (const [server, name] of [
      [source, 'gallery'],
      [mirror, 'original'],
    ] as const) {
      await query(server.url(), galleryRoles)
      // Owns nothing and may nothing: no restore would miss it.
      await query(server.url(), 'CREATE ROLE idle')
      await createGallery(server, name)
      await query(server.url(name), gallery)
    }
    const settings = { PGPROOF_SERVERS__0__URL: source.url(), PGPROOF_DRILL__SCRATCH: scratch.url() }
    const recipients = { PGPROOF_ENCRYPTION__RECIPIENTS: `backup.pub.asc,${key('escrow.pub.asc')}` }
    const signing = {
      PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: key('signer.key.asc'),
      PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: key('signer.pub.asc'),
    }
    const settingsOf: Record<Baseline, Record<string, string>> = {
      plain: settings,
      signed: { ...settings, ...recipients, ...signing },
      unchecked: { ...settings, ...recipients },
    }

    const plain = await fill(settingsOf.plain)
    let making: ReturnType<typeof fill> | undefined
    const signed = (): ReturnType<typeof fill> => {
      making ??= makeKeys(key).then(() => fill(settingsOf.signed, 'and drill'))
      return making
    }
    return {
      ...plain.backups,
      source,
      scratch,
      mirror,
      key,
      folder: (label) => `backups/main/gallery/${label}/`,
      async copy(sql) {
        // Under the same name, as its dump names the database, and so on another server.
        await createGallery(mirror, 'gallery', 'original')
        await query(mirror.url('gallery'), sql)
        return {
          url: mirror.url('gallery'),
          [Symbol.asyncDispose]: async () => {
            await query(mirror.url(), 'DROP DATABASE gallery WITH (FORCE)')
          },
        }
      },
      signed: async () => (await signed()).backups,
      async installation(more = {}, baseline = 'plain') {
        const { objects } = baseline === 'plain' ? plain : await signed()
        const store = new MemoryStore()
        for (const [name, { body, modifiedAt }] of objects)
          if (baseline !== 'unchecked' || !name.startsWith('drills/'))
            store.objects.set(name, { body: Buffer.from(body), modifiedAt })
        return await testInstallation({ ...settingsOf[baseline], ...more }, { store })
      },
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function fill(
  settings: Record<string, string>,
  drills?: 'and drill',
): Promise<{ readonly backups: Backups; readonly objects: MemoryStore['objects'] }> {
  await using first = await testInstallation(settings)
  const roles = await first.run('roles')
  const older = await first.run('backup', 'gallery')
  const newer = await first.run('backup', 'gallery')
  const backups = { roles: roles.label ?? '', older: older.label ?? '', newer: newer.label ?? '' }
  if (drills !== undefined) await first.run('drill', 'gallery', { backup: backups.newer })
  return { backups, objects: first.store.objects }
}

async function makeKeys(key: (file: string) => string): Promise<void> {
  const make = async (name: string, use: 'backup' | 'signing'): Promise<void> => {
    const pair = await generateKeyPair({ name, kind: 'ecc', use, now: new Date() })
    writeFileSync(key(`${name}.pub.asc`), pair.publicKey)
    writeFileSync(key(`${name}.key.asc`), pair.privateKey, { mode: 0o600 })
  }
  await make('escrow', 'backup')
  await make('signer', 'signing')
  await make('stranger', 'backup')
  await make('strange-signer', 'signing')
}

async function createGallery(server: TestServer, name: string, template = 'template0'): Promise<void> {
  await query(server.url(), `CREATE DATABASE ${name} TEMPLATE ${template}`)
  await query(server.url(), gallerySettings(name))
}

/** The lowest rung that did not pass, and all that the drill has to say about it. */
export function outcomeOf({ report, tables, error }: DrillResult): { rung: string; verdict: string; said: string } {
  const rung = report.checks.find(({ result }) => result === 'failed' || result === 'inconclusive')?.name ?? 'none'
  const said = [error?.message, error?.details, ...(tables?.notes ?? [])].join('\n')
  return { rung, verdict: report.verdict, said }
}
