import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Answer } from '../../src/commands/context.ts'
import { createContext } from '../../src/commands/context.ts'
import { readDrillTables } from '../../src/commands/read-drill-tables.ts'
import { showFullDrill } from '../../src/commands/show-full-drill.ts'
import { encodeDrillTables } from '../../src/domain/drill-tables.ts'
import { encodeFullDrillReport, type FullDrillReport } from '../../src/domain/full-drill-report.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { generateKeyPair, type KeyPair } from '../../src/encryption/generate.ts'
import { readRecipients, readSigningKey, type SigningKey } from '../../src/encryption/keys.ts'
import { signDetached } from '../../src/encryption/sign.ts'
import { drillTablesKey, fullDrillReportKey } from '../../src/storage/object-keys.ts'
import { manifestAt, reportOf, signal } from '../catalog/stored.ts'
import { testInstallation } from '../support/installation.ts'
import { bareSurroundings } from './in-process.ts'

const drill = reportOf(manifestAt('2026-11-20T02:00:00Z'), '2026-11-20T05:00:00Z')
const now = new Date()
const keys = mkdtempSync(join(tmpdir(), 'signer-'))
let pair: KeyPair
let signer: SigningKey

beforeAll(async () => {
  pair = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now })
  writeFileSync(join(keys, 'signer.pub.asc'), pair.publicKey)
  writeFileSync(join(keys, 'signer.key.asc'), pair.privateKey, { mode: 0o600 })
  signer = await readSigningKey(join(keys, 'signer.key.asc'), undefined, now)
})
afterAll(() => rmSync(keys, { recursive: true }))

describe('the stored report of a full drill', () => {
  /** As somebody left it in the store under this label: with that signer's name, signed or not. */
  async function shown(changes: Partial<FullDrillReport>, isSigned: boolean): Promise<Answer> {
    await using test = await testInstallation({ PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: join(keys, 'signer.pub.asc') })
    const { label } = drill
    const report: FullDrillReport = {
      ...{ format: 1, label, server: 'main', storeId: test.installation.storeId, pgproofVersion: '0.1.0' },
      ...{ startedAt: drill.startedAt, finishedAt: drill.finishedAt, verdict: 'passed', reason: null },
      ...{ rolesBackup: null, databases: [], recoveryPoints: null, environment: drill.environment },
      seconds: { roles: 0, restore: 20, verification: 1, whole: 25 },
      ...{ rtoSeconds: null, objective: 'none', signer: pair.fingerprint },
      ...changes,
    }
    const key = fullDrillReportKey('main', label)
    const bytes = encodeFullDrillReport(report)
    await test.store.put(key, bytes, { signal })
    if (isSigned) await test.store.put(`${key}.sig`, await signDetached(bytes, signer, now), { signal })
    return await showFullDrill({ server: 'main', label }, test.installation, createContext(bareSurroundings, {}))
  }

  it('signed by a trusted signer - the page says so, and there is no error', async () => {
    const { error, text } = await shown({}, true)
    expect(error).toBeNull()
    expect(text).toMatch(/^ {2}signed by +[0-9A-F]{40}, valid and trusted$/m)
  })

  it.each<[string, Partial<FullDrillReport>, boolean, string]>([
    ['without a signature', {}, false, 'not signed by a trusted signer: it carries no signature'],
    ['that names another signer', { signer: 'A'.repeat(40) }, true, 'it names another signer than '],
    ['that nobody signed, by its own account', { signer: null }, true, 'it names another signer than '],
    ['of another store', { storeId: 'elsewhere' }, true, 'it is of another store (elsewhere)'],
  ])('%s - REPORT_UNTRUSTED with the reason, and the page all the same', async (_what, changes, isSigned, reason) => {
    const { error, text, document } = await shown(changes, isSigned)
    expect(error).toMatchObject({ code: 'REPORT_UNTRUSTED', message: expect.stringContaining(reason) })
    expect(text).toMatch(/^PASSED {2}full drill /)
    expect(text).not.toContain('valid and trusted')
    expect(document).toMatchObject({ isSignatureChecked: false })
  })

  it.each([{ server: 'other' }, { label: '20261120T050000Z-bbbb' }])(
    'that was copied from another place (%j) - STORE_FORMAT_INVALID, and nothing of it is shown',
    async (changes) => {
      await expect(shown(changes, true)).rejects.toMatchObject({
        code: 'STORE_FORMAT_INVALID',
        message: expect.stringContaining('it describes another full drill'),
      })
    },
  )
})

describe('the tables of a drill', () => {
  it('of one that did not come so far - none', async () => {
    await using test = await testInstallation()
    expect(await readDrillTables(drill, test.installation, signal)).toBeNull()
  })

  it('of another drill, with the right digest - STORE_FORMAT_INVALID; another digest - OBJECT_MISMATCH', async () => {
    await using test = await testInstallation()
    const tables = {
      ...{ format: 1 as const, label: '20261120T050000Z-bbbb', errorDetails: null, notes: [], structure: null },
      ...{ tables: [], sequences: [], largeObjects: null },
    }
    const recipients = await readRecipients([join(test.folder, 'backup.pub.asc')], new Date())
    const encrypted = await encryptBytes(encodeDrillTables(tables), recipients, new Date())
    await test.store.put(drillTablesKey('main', 'app', drill.label), encrypted, { signal })
    const tablesSha256 = createHash('sha256').update(encrypted).digest('hex')
    await expect(readDrillTables({ ...drill, tablesSha256 }, test.installation, signal)).rejects.toMatchObject({
      code: 'STORE_FORMAT_INVALID',
      message: expect.stringContaining('it belongs to another drill'),
    })
    const other = { ...drill, tablesSha256: 'a'.repeat(64) }
    await expect(readDrillTables(other, test.installation, signal)).rejects.toMatchObject({ code: 'OBJECT_MISMATCH' })
  })
})
