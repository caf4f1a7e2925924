import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseDuration } from '../config/units.ts'
import { generateKeyPair, type KeyPair } from '../encryption/generate.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Answer, CommandContext } from './context.ts'
import { printable } from './print.ts'

export type KeygenFlags = {
  readonly name?: string
  readonly out: string
  readonly kind: 'ecc' | 'rsa'
  readonly signing?: boolean
  readonly passphraseFile?: string
  readonly expires: string
}

/** Makes a key pair and its revocation certificate as three files; overwrites nothing. */
export async function keygenCommand(context: CommandContext, flags: KeygenFlags): Promise<Answer> {
  const use = flags.signing === true ? 'signing' : 'backup'
  const name = flags.name ?? use
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    throw usage('--name must be of letters, digits, dots, dashes and underscores, because files are named after it')
  const expiresAfterMs = validity(flags.expires)
  const folder = resolve(context.cwd, flags.out)
  const files = filesOf(folder, name)
  await assertFree(Object.values(files))
  const passphrase = await readPassphrase(context.cwd, flags.passphraseFile)

  const now = context.clock.now()
  const pair = await generate({ name, kind: flags.kind, use, expiresAfterMs, passphrase, now }, context)
  await writeAll(folder, [
    [files.publicKey, pair.publicKey, 0o644],
    [files.privateKey, pair.privateKey, 0o600],
    [files.revocationCertificate, pair.revocationCertificate, 0o600],
  ])
  const isProtected = passphrase !== undefined
  if (!isProtected)
    context.warn(
      `${files.privateKey} is not protected by a passphrase: whoever reads it holds the key (--passphrase-file protects it)`,
    )
  const expiresAt = expiresAfterMs === undefined ? null : new Date(now.getTime() + expiresAfterMs).toISOString()
  const { fingerprint } = pair
  const document = { fingerprint, use, kind: flags.kind, expiresAt, isProtected, files }
  return {
    document,
    text: (use === 'backup' ? backupText : signingText)({ fingerprint, expiresAt, files, flags, isProtected }),
  }
}

type Files = { readonly publicKey: string; readonly privateKey: string; readonly revocationCertificate: string }

function filesOf(folder: string, name: string): Files {
  const file = (ending: string): string => join(folder, `${name}.${ending}.asc`)
  return { publicKey: file('pub'), privateKey: file('key'), revocationCertificate: file('rev') }
}

/** Milliseconds; undefined for ever. A year is 365 days. */
function validity(text: string): number | undefined {
  if (text === 'never') return undefined
  const years = /^(\d{1,2})y$/.exec(text)?.[1]
  const milliseconds = parseDuration(years === undefined ? text : `${Number(years) * 365}d`)
  if (milliseconds === undefined || milliseconds < 86_400_000)
    throw usage(
      `--expires must be a time such as 2y or 400d, of at least a day, or never; it is ${JSON.stringify(text)}`,
    )
  return milliseconds
}

async function assertFree(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const isTaken = await stat(file).then(
      () => true,
      () => false,
    )
    if (isTaken) throw usage(`${file} exists already, and a key is never overwritten; choose another --name or --out`)
  }
}

async function readPassphrase(cwd: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  const text = await readFile(resolve(cwd, file), 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw usage(`cannot read the passphrase file ${file}: ${error.code ?? reasonOf(error)}`)
  })
  const passphrase = text.replace(/\r?\n$/, '')
  if (passphrase === '') throw usage(`the passphrase file ${file} is empty`)
  return passphrase
}

async function generate(request: Parameters<typeof generateKeyPair>[0], context: CommandContext): Promise<KeyPair> {
  using _generating = context.progress.begin('making the key')
  return await generateKeyPair(request)
}

/** All of them or none. */
async function writeAll(folder: string, files: readonly (readonly [string, string, number])[]): Promise<void> {
  const written: string[] = []
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    for (const [file, text, mode] of files) {
      await writeFile(file, text, { flag: 'wx', mode, flush: true })
      written.push(file)
    }
  } catch (error) {
    for (const file of written) await rm(file, { force: true })
    throw usage(`cannot write the keys: ${reasonOf(error)}`, error)
  }
}

type Made = {
  readonly fingerprint: string
  readonly expiresAt: string | null
  readonly files: Files
  readonly flags: KeygenFlags
  readonly isProtected: boolean
}

function backupText({ fingerprint, expiresAt, files, flags, isProtected }: Made): string {
  return printableLines([
    `Fingerprint ${fingerprint}, ${validityText(expiresAt)}`,
    '',
    `  ${files.publicKey}   every machine that makes backups needs it; it is no secret`,
    `  ${files.privateKey}   opens every backup: only where drills and restores run, and a copy off-line`,
    `  ${files.revocationCertificate}   declares the key invalid, should it be stolen: keep it apart from the key`,
    '',
    'Configuration where backups are made:',
    '',
    '  encryption:',
    `    recipients: [${files.publicKey}]`,
    '',
    'and where drills and restores run:',
    '',
    `    privateKeyFile: ${files.privateKey}`,
    ...(isProtected ? [`    passphraseFile: ${flags.passphraseFile ?? ''}`] : []),
    '',
    'Without the private key (and its passphrase) no backup can be opened, by nobody. Keep a copy where a fire, a thief and a',
    'deleted account do not take it together with the backups, and add a second recipient whose private key lies in escrow.',
    ...(expiresAt === null ? [] : ['Backups stop when the key expires: extend it or replace it before.']),
  ])
}

function signingText({ fingerprint, expiresAt, files, flags, isProtected }: Made): string {
  return printableLines([
    `Fingerprint ${fingerprint}, ${validityText(expiresAt)}`,
    '',
    `  ${files.privateKey}   signs manifests: only where backups are made`,
    `  ${files.publicKey}   tells whether a manifest is genuine: where drills and restores run; it is no secret`,
    `  ${files.revocationCertificate}   declares the key invalid, should it be stolen: keep it apart from the key`,
    '',
    'Configuration where backups are made:',
    '',
    '  encryption:',
    `    signingKeyFile: ${files.privateKey}`,
    ...(isProtected ? [`    signingPassphraseFile: ${flags.passphraseFile ?? ''}`] : []),
    '',
    'and where drills and restores run:',
    '',
    `    trustedSigners: [${files.publicKey}]`,
    '',
    'From then on backups without a valid signature are refused there, those from before included.',
  ])
}

function validityText(expiresAt: string | null): string {
  return expiresAt === null ? 'never expires' : `expires ${expiresAt.slice(0, 10)}`
}

function printableLines(lines: readonly string[]): string {
  return lines.map(printable).join('\n')
}

function usage(reason: string, cause?: unknown): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason }, { cause })
}
