import { mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { parseDuration } from '../config/units.ts'
import { recoveryKit } from '../domain/recovery-kit.ts'
import { generateKeyPair, type KeyPair } from '../encryption/generate.ts'
import { readKeyFile } from '../encryption/key-files.ts'
import { readRecipients } from '../encryption/keys.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { version } from '../version.ts'
import type { Answer, CommandContext } from './context.ts'
import { backupKeyPage, type EscrowKey, type KeyFiles, signingKeyPage } from './keygen-page.ts'

export type KeygenFlags = {
  readonly name?: string
  readonly out: string
  readonly kind: 'ecc' | 'rsa'
  readonly signing?: boolean
  readonly passphraseFile?: string
  readonly expires: string
  /** A public key; false for `--no-escrow`. */
  readonly escrow?: string | false
  readonly withEscrow?: boolean
  readonly kit?: string
}

/** Makes a key pair and its revocation certificate as three files, and what belongs to them; overwrites nothing. */
export async function keygenCommand(context: CommandContext, flags: KeygenFlags): Promise<Answer> {
  const use = flags.signing === true ? 'signing' : 'backup'
  assertMeaningful(flags)
  const name = flags.name ?? use
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,55}$/.test(name))
    throw usage('--name must be of letters, digits, dots, dashes and underscores, because files are named after it')
  const expiresAfterMs = validity(flags.expires)
  const folder = resolve(context.cwd, flags.out)
  const files = filesOf(folder, name)
  const escrowFiles = flags.withEscrow === true ? filesOf(folder, `${name}-escrow`) : null
  const kitFile = flags.kit === undefined ? join(folder, `${name}.kit.md`) : resolve(context.cwd, flags.kit)
  await assertFree([
    ...Object.values(files),
    ...Object.values(escrowFiles ?? {}),
    ...(use === 'backup' ? [kitFile] : []),
  ])
  const passphrase = await readPassphrase(context.cwd, flags.passphraseFile)
  const now = context.clock.now()
  const given = typeof flags.escrow === 'string' ? await readEscrow(resolve(context.cwd, flags.escrow), now) : null

  const request = { kind: flags.kind, use, expiresAfterMs, passphrase, now } as const
  const pair = await generate({ name, ...request }, context)
  const escrowPair = escrowFiles === null ? null : await generate({ name: `${name}-escrow`, ...request }, context)
  const escrow =
    escrowPair === null || escrowFiles === null
      ? given
      : {
          fingerprint: escrowPair.fingerprint,
          name: `${name}-escrow`,
          publicKey: escrowFiles.publicKey,
          files: escrowFiles,
        }
  const recipients = [{ fingerprint: pair.fingerprint, name }, ...(escrow === null ? [] : [escrow])]
  const kit = {
    madeAt: now,
    version,
    store: null,
    trustedSigners: [],
    servers: [],
    keyFile: basename(files.privateKey),
  }
  await writeAll([
    ...contentsOf(files, pair),
    ...(escrowFiles === null || escrowPair === null ? [] : contentsOf(escrowFiles, escrowPair)),
    ...(use === 'backup' ? [[kitFile, recoveryKit({ ...kit, recipients }), 0o644] as const] : []),
  ])

  const isProtected = passphrase !== undefined
  if (!isProtected)
    context.warn(
      `no passphrase was given: whoever reads ${[files, ...(escrowFiles === null ? [] : [escrowFiles])].map(({ privateKey }) => privateKey).join(' or ')} ${use === 'signing' ? 'can sign backups as you' : 'opens every backup'} (--passphrase-file FILE makes keys with one)`,
    )
  if (flags.escrow === false)
    context.warn(
      `without an escrow key, whoever loses ${files.privateKey} or its passphrase loses every backup for ever: nobody can open them, and no drill warns of it`,
    )
  const expiresAt = expiresAfterMs === undefined ? null : new Date(now.getTime() + expiresAfterMs).toISOString()
  const { fingerprint } = pair
  const document = { fingerprint, use, kind: flags.kind, expiresAt, isProtected, files }
  const made = { fingerprint, files, expiresAt, passphraseFile: flags.passphraseFile }
  if (use === 'signing') return { document, text: signingKeyPage(made) }
  return { document: { ...document, escrow, kitFile }, text: backupKeyPage(made, escrow, kitFile) }
}

/** A key for backups comes with a second recipient, or with the word of whoever does without. */
function assertMeaningful({ signing, escrow, withEscrow, kit }: KeygenFlags): void {
  const given = [
    ...(escrow === undefined ? [] : [escrow === false ? '--no-escrow' : '--escrow']),
    ...(withEscrow === true ? ['--with-escrow'] : []),
  ]
  if (signing === true && given.length > 0)
    throw usage(`${given[0]} has no meaning with --signing: nothing is encrypted to a signing key`)
  if (signing === true && kit !== undefined) throw usage('--kit has no meaning with --signing')
  if (given.length > 1) throw usage(`${given.join(' and ')} have no meaning together`)
  if (signing === true || given.length === 1) return
  throw usage(
    'backups need a second key in escrow, or all are lost with the first one; give --with-escrow (makes a second pair, to be kept elsewhere), --escrow FILE (the public key of one there is) or --no-escrow (do without)',
  )
}

/** A public key that backups can be encrypted to. */
async function readEscrow(path: string, now: Date): Promise<EscrowKey & { readonly name: string }> {
  const [first, ...others] = (await readRecipients([path], now)).keys
  if (first === undefined || others.length > 0) throw usage(`--escrow must name one key; ${path} holds several`)
  if ((await readKeyFile(path)).some((key) => key.isPrivate()))
    throw usage(`${path} is a private key, which has no place here; give --escrow its public key`)
  return { fingerprint: first.fingerprint, name: first.key.getUserIDs()[0] ?? '', publicKey: path, files: null }
}

function filesOf(folder: string, name: string): KeyFiles {
  const file = (ending: string): string => join(folder, `${name}.${ending}.asc`)
  return { publicKey: file('pub'), privateKey: file('key'), revocationCertificate: file('rev') }
}

type NewFile = readonly [path: string, text: string, mode: number]

function contentsOf(files: KeyFiles, pair: KeyPair): NewFile[] {
  return [
    [files.publicKey, pair.publicKey, 0o644],
    [files.privateKey, pair.privateKey, 0o600],
    [files.revocationCertificate, pair.revocationCertificate, 0o600],
  ]
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
    if (isTaken)
      throw usage(
        `${file} exists already, and neither a key nor its kit is ever overwritten; choose another --name or --out`,
      )
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
async function writeAll(files: readonly NewFile[]): Promise<void> {
  const made: string[] = []
  try {
    for (const [file, text, mode] of files) {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      // A file that is there is somebody else's; one that was made is ours, even where the disk is too full to fill it.
      await using handle = await open(file, 'wx', mode)
      made.push(file)
      await handle.writeFile(text)
      await handle.sync()
    }
  } catch (error) {
    for (const file of made) await rm(file, { force: true })
    throw usage(`cannot write the keys: ${reasonOf(error)}`, error)
  }
}

function usage(reason: string, cause?: unknown): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason }, { cause })
}
