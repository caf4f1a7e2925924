import { execSync } from 'node:child_process'
import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RestorePhase } from '../../src/domain/restore-result.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { PgproofError } from '../../src/errors.ts'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { discardUnfinished } from '../../src/restore/discard-unfinished.ts'
import { errorOf } from '../postgres/sandbox.ts'
import { fitEvidence, forgeDump, rewriteEvidence, rewriteManifest } from '../support/forge.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { startPostgresProxy } from '../support/postgres-proxy.ts'
import { query } from '../support/postgres-server.ts'
import { databasesOf, downloadsLeft, restoreTo, targetName } from '../support/restoring.ts'
import { standIn } from '../support/stand-ins.ts'

type Source = Awaited<ReturnType<typeof testDatabase>>

let source: Source
beforeAll(async () => {
  source = await testDatabase()
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
})

/** An installation with one backup, and the folder of it. */
async function backedUp(settings: Record<string, string> = {}): Promise<TestInstallation & { backup: string }> {
  const test = await testInstallation(settings)
  const { label } = await test.run('backup', source.name)
  return { ...test, backup: `backups/main/${source.name}/${label}/` }
}

function expectNothingRuns(test: TestInstallation): void {
  expect(test.spoolLeft().filter((name) => name !== 'downloads')).toEqual([])
  expect(execSync('ps -eo args').toString()).not.toContain(test.folder)
}

describe('what is wrong with the backup', () => {
  it.each([
    ['a flipped bit in the dump', 'dump.zst.pgp', 'OBJECT_MISMATCH'],
    ['a flipped bit in the evidence', 'evidence.json.pgp', 'OBJECT_MISMATCH'],
  ])('%s - %s %s, no database made, nothing kept of the download', async (_, name, code) => {
    await using test = await backedUp()
    await using target = targetName(testUrl())
    test.store.damage(`${test.backup}${name}`)
    expect(await errorOf(restoreTo(test, target.url))).toMatchObject({ code })
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
    expect(downloadsLeft(test)).toEqual([])
    expectNothingRuns(test)
  })

  it('planted: another dump whose digests all fit, but not the evidence - refused before anything is fetched', async () => {
    await using test = await backedUp()
    await using copy = await testDatabase()
    await using target = targetName(testUrl())
    await query(copy.url, 'DELETE FROM shop.event')
    await forgeDump(test, test.backup, copy.url)
    const phases: string[] = []
    const error = await errorOf(restoreTo(test, target.url, { onPhase: (phase) => phases.push(phase) }))
    expect(error).toMatchObject({ code: 'STORE_FORMAT_INVALID' })
    expect(phases).toEqual([])
  })

  it('unsigned where a signature is demanded - SIGNATURE_MISSING', async () => {
    await using test = await testInstallation()
    const signer = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
    writeFileSync(join(test.folder, 'signer.pub.asc'), signer.publicKey)
    await test.run('backup', source.name)
    const trusting = { PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(test.folder, 'signer.pub.asc') }
    await using demanding = await testInstallation(trusting, { store: test.store })
    await using target = targetName(testUrl())
    expect(await errorOf(restoreTo(demanding, target.url))).toMatchObject({ code: 'SIGNATURE_MISSING' })
  })

  it('for another key - KEY_NO_MATCH says for which', async () => {
    await using test = await backedUp()
    const other = await generateKeyPair({ name: 'other', kind: 'ecc', use: 'backup', now: new Date() })
    writeFileSync(join(test.folder, 'backup.key.asc'), other.privateKey)
    await using target = targetName(testUrl())
    const error = await errorOf(restoreTo(test, target.url))
    expect(error).toMatchObject({ code: 'KEY_NO_MATCH', exitCode: 13 })
    expect((error as PgproofError).hint).toMatch(/[0-9A-F]{40}/)
  })

  it('it holds other rows than the evidence says, and --verify was asked for - kept beside, not put in place', async () => {
    await using test = await backedUp()
    await using copy = await testDatabase()
    await using target = targetName(testUrl())
    await query(copy.url, 'DELETE FROM shop.event WHERE id = 7')
    await forgeDump(test, test.backup, copy.url, { fitEvidence: true })
    const result = await restoreTo(test, target.url, { verify: true })
    expect(result.error).toMatchObject({ code: 'RESTORED_DIFFERS', exitCode: 3 })
    expect(result).toMatchObject({ outcome: 'kept apart', aside: null, undo: [] })
    expect(result.error?.message).toContain('shop.event')
    const left = await databasesOf(testUrl(), target.name)
    expect(left).toHaveLength(1)
    expect(left).not.toContain(target.name)
    expect(result.error?.hint).toContain(left[0])
    expect(result.error?.hint).toContain('or --discard removes it')
    const to = parseConnectionUrl('main', target.url)
    const removed = await discardUnfinished(to, join(test.folder, 'spool'), new AbortController().signal)
    expect(removed.join()).toContain(left[0])
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
  })
})

describe('which backup', () => {
  it('by time: the newest that is not later; none is - NO_BACKUP_BEFORE names the oldest', async () => {
    await using test = await testInstallation()
    const first = await test.run('backup', source.name)
    const between = new Date()
    const second = await test.run('backup', source.name)
    await using target = targetName(testUrl())
    const at = async (instant: Date): Promise<string> =>
      (await restoreTo(test, target.url, { mode: 'replace', choice: { by: 'time', at: instant } })).backup.label
    expect(await at(between)).toBe(first.label)
    expect(await at(new Date())).toBe(second.label)
    const early = restoreTo(test, target.url, { choice: { by: 'time', at: new Date(0) } })
    expect(await errorOf(early)).toMatchObject({ code: 'NO_BACKUP_BEFORE', exitCode: 3 })
  })

  it('the latest lacks its dump - the one before it, and the result says so', async () => {
    await using test = await testInstallation()
    const first = await test.run('backup', source.name)
    const second = await test.run('backup', source.name)
    test.store.objects.delete(`backups/main/${source.name}/${second.label}/dump.zst.pgp`)
    await using target = targetName(testUrl())
    const result = await restoreTo(test, target.url)
    expect(result.backup.label).toBe(first.label)
    expect(result.notes.join('\n')).toContain(`passed over ${second.label}`)
  })

  it('several databases in the store - USAGE_INVALID names them', async () => {
    await using test = await backedUp()
    await using other = await testDatabase('template1')
    await test.run('backup', other.name)
    const error = await errorOf(restoreTo(test, testUrl('anywhere')))
    expect(error).toMatchObject({ code: 'USAGE_INVALID', exitCode: 2 })
    expect(String(error)).toContain(`main/${other.name}`)
  })
})

describe('what the target lacks', () => {
  it('it is older - TARGET_TOO_OLD before anything is made', async () => {
    await using test = await backedUp()
    rewriteManifest(test, test.backup, (manifest) => ({ ...manifest, source: { ...manifest.source, major: 99 } }))
    await fitEvidence(test, test.backup)
    await using target = targetName(testUrl())
    expect(await errorOf(restoreTo(test, target.url))).toMatchObject({ code: 'TARGET_TOO_OLD', exitCode: 12 })
  })

  it('an extension - TARGET_LACKS before anything is fetched, no database left', async () => {
    await using test = await backedUp()
    await rewriteEvidence(test, test.backup, (evidence) => ({
      ...evidence,
      extensions: [...evidence.extensions, { name: 'nowhere', version: '1' }],
    }))
    await using target = targetName(testUrl())
    const phases: string[] = []
    const error = await errorOf(restoreTo(test, target.url, { onPhase: (phase) => phases.push(phase) }))
    expect(error).toMatchObject({ code: 'TARGET_LACKS', message: expect.stringContaining('nowhere') })
    expect(phases).toEqual([])
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
  })

  it('disk, as far as can be told beforehand - TARGET_FULL before anything is made or fetched', async () => {
    await using test = await backedUp()
    const databaseBytes = 2 ** 52
    rewriteManifest(test, test.backup, (manifest) => ({ ...manifest, source: { ...manifest.source, databaseBytes } }))
    await fitEvidence(test, test.backup)
    await using target = targetName(testUrl())
    const phases: string[] = []
    const error = await errorOf(restoreTo(test, target.url, { onPhase: (phase) => phases.push(phase) }))
    expect(error).toMatchObject({ code: 'TARGET_FULL', exitCode: 12, message: expect.stringContaining('are free in') })
    expect(phases).toEqual([])
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
  })

  it('disk, at the end of the restore - TARGET_FULL, the database that was there as it was', async () => {
    await using test = await backedUp()
    const binDirs = standIn(
      test.folder,
      'pg_restore',
      `case "$*" in *--section=post-data*) echo 'pg_restore: error: could not execute query: ERROR:  could not extend file "base/5/6": No space left on device' >&2; exit 1;; esac; exec "$REAL" "$@"`,
    )
    await using poor = await testInstallation({ PGPROOF_POSTGRES__BIN_DIRS: binDirs }, { store: test.store })
    await using target = targetName(testUrl())
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    await query(target.url, 'CREATE TABLE precious (v int)')
    const error = await errorOf(restoreTo(poor, target.url, { mode: 'replace' }))
    expect(error).toMatchObject({ code: 'TARGET_FULL', exitCode: 12 })
    expect(await databasesOf(testUrl(), target.name)).toEqual([target.name])
    expect(await query(target.url, 'SELECT v FROM precious')).toEqual([])
  })
})

describe('what goes wrong around it', () => {
  it('the connection to the target breaks between two of its questions - TARGET_FAILED, no fault in pgproof', async () => {
    await using test = await backedUp()
    await using target = targetName(testUrl())
    await using proxy = await startPostgresProxy(testUrl(), ({ text }) =>
      text.includes('pg_try_advisory_lock') ? 'cut' : undefined,
    )
    const url = new URL(target.url)
    url.host = `127.0.0.1:${proxy.port}`
    expect(await errorOf(restoreTo(test, url.href))).toMatchObject({ code: 'TARGET_FAILED', exitCode: 12 })
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
  })

  it('what was downloaded cannot be removed in the end - the restore is done, and a note says what is left', async () => {
    await using test = await backedUp()
    await using target = targetName(testUrl())
    const downloads = join(test.folder, 'spool', 'downloads')
    // In the place of the file there is a folder of somebody.
    const onPhase = (phase: RestorePhase): void => {
      const [part] = downloadsLeft(test).filter((name) => name.endsWith('.part'))
      if (phase !== 'restore' || part === undefined) return
      rmSync(join(downloads, part))
      mkdirSync(join(downloads, part))
    }
    const { outcome, notes } = await restoreTo(test, target.url, { onPhase })
    expect(outcome).toBe('created')
    expect(notes).toEqual([expect.stringMatching(/^what was downloaded is left in the spool and can be removed: /)])
    const [left = ''] = downloadsLeft(test)
    rmdirSync(join(downloads, left))
    expect(downloadsLeft(test)).toEqual([])
  })
})

describe('a restore that is cancelled', () => {
  it.each(['fetch', 'restore', 'analyze', 'verify', 'swap'] as const satisfies readonly RestorePhase[])(
    'at %s - CANCELLED, the database that was there as it was, nothing else left',
    async (phase) => {
      await using test = await backedUp()
      await using target = targetName(testUrl())
      await query(testUrl(), `CREATE DATABASE ${target.name}`)
      await query(target.url, 'CREATE TABLE precious (v int); INSERT INTO precious VALUES (1)')
      const canceller = new AbortController()
      const onPhase = (begun: RestorePhase): void => {
        if (begun === phase) canceller.abort(new PgproofError('CANCELLED', { what: 'the command' }))
      }
      const restoring = restoreTo(test, target.url, {
        mode: 'replace',
        verify: true,
        signal: canceller.signal,
        onPhase,
      })
      expect(await errorOf(restoring)).toMatchObject({ code: 'CANCELLED', exitCode: 130 })
      expect(await databasesOf(testUrl(), target.name)).toEqual([target.name])
      expect(await query(target.url, 'SELECT v FROM precious')).toEqual([{ v: 1 }])
      expectNothingRuns(test)
    },
  )

  it('after the download - the next one does not download again', async () => {
    await using test = await backedUp()
    await using target = targetName(testUrl())
    const canceller = new AbortController()
    const onPhase = (phase: RestorePhase): void => {
      if (phase === 'restore') canceller.abort(new PgproofError('CANCELLED', { what: 'the command' }))
    }
    await errorOf(restoreTo(test, target.url, { signal: canceller.signal, onPhase }))
    expect(downloadsLeft(test)).not.toEqual([])
    const bytes = test.store.objects.get(`${test.backup}dump.zst.pgp`)?.body.length ?? 0
    let downloaded = 0
    test.store.before = (operation, key) => {
      if (operation === 'read' && key.endsWith('dump.zst.pgp')) downloaded += 1
    }
    await restoreTo(test, target.url)
    // The head of the message is read once, for whom it is; nothing more.
    expect(downloaded).toBeLessThanOrEqual(2)
    expect(bytes).toBeGreaterThan(0)
    expect(downloadsLeft(test)).toEqual([])
  })
})
