import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair, type KeyPair, type KeyPairRequest } from '../../src/encryption/generate.ts'
import { type PrivateKeys, type Recipients, readPrivateKeys, readRecipients } from '../../src/encryption/keys.ts'

/** In the past of every machine that runs the tests, so that gpg takes the keys as well. */
export const keysMadeAt = new Date('2025-03-01T00:00:00Z')
export const now = new Date('2025-06-01T02:00:00Z')

export type MadeKeys = KeyPair & {
  readonly publicPath: string
  readonly privatePath: string
  readonly recipients: Recipients
  readonly privateKeys: PrivateKeys
}

/** A folder of key files, gone when the scope ends. */
export type KeyFolder = AsyncDisposable & {
  readonly folder: string
  /** Writes a file into the folder and returns its path. */
  file(name: string, contents: string | Uint8Array): Promise<string>
  /** Makes a pair for backups, valid at `now`, writes it into files and reads it from there. */
  make(name: string, request?: Partial<KeyPairRequest>): Promise<MadeKeys>
}

export async function openKeyFolder(): Promise<KeyFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'pgproof-keys-'))
  const file = async (name: string, contents: string | Uint8Array): Promise<string> => {
    const path = join(folder, name)
    await writeFile(path, contents)
    return path
  }
  return {
    folder,
    file,
    async make(name, request = {}) {
      const pair = await generateKeyPair({ name, kind: 'ecc', use: 'backup', now: keysMadeAt, ...request })
      const publicPath = await file(`${name}.pub.asc`, pair.publicKey)
      const privatePath = await file(`${name}.key.asc`, pair.privateKey)
      const passphrase = request.passphrase === undefined ? undefined : () => request.passphrase as string
      const recipients = await readRecipients([publicPath], now)
      const privateKeys = await readPrivateKeys([privatePath], passphrase, now)
      return { ...pair, publicPath, privatePath, recipients, privateKeys }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

/** The register's code of what was thrown, with its message. */
export async function failureOf(promise: Promise<unknown>): Promise<{ code: unknown; message: string; hint: unknown }> {
  try {
    await promise
  } catch (error) {
    const { code, message, hint } = error as Error & { code: unknown; hint: unknown }
    return { code, message, hint }
  }
  return { code: 'none', message: 'it did not fail', hint: '' }
}
