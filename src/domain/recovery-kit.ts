import { shellWord } from './shell-word.ts'

/** What a recovery kit is made from. No secret can get in: there is no field for one. */
export type KitInput = {
  readonly madeAt: Date
  /** Of pgproof. */
  readonly version: string
  /** Null where nobody has said yet where the backups will be: then there are lines to fill in. */
  readonly store: KitStore | null
  /** Whose private keys open the backups. */
  readonly recipients: readonly KitKey[]
  /** Whose signatures count; may be none. */
  readonly trustedSigners: readonly KitKey[]
  /** Names of the servers that are backed up, as far as they are known. */
  readonly servers: readonly string[]
  /** What the file with the private key is called, without its folder. */
  readonly keyFile: string
}

export type KitStore = {
  /** `s3://bucket/prefix` or `file:///directory`. */
  readonly url: string
  readonly endpoint: string | undefined
  readonly region: string | undefined
  /** Undefined where it follows from the endpoint. */
  readonly provider: string | undefined
}

/** `name` is the user id, as its owner wrote it. */
export type KitKey = { readonly fingerprint: string; readonly name: string }

/** One page of 80 columns in Markdown, to be printed and filled in by hand. */
export function recoveryKit(input: KitInput): string {
  const { madeAt, version, recipients, trustedSigners } = input
  return `# Recovery kit: PostgreSQL backups made by pgproof

Made ${madeAt.toISOString().slice(0, 10)} by pgproof ${version}, for the day when the machine that makes
the backups is gone. Print it, fill it in, keep it apart from servers and
backups. It holds no secret: of what is secret it says where it is kept.

## Where the backups are

${storeLines(input.store).join('\n')}

${isDirectory(input.store) ? blank('Where that disk stands, who has access:') : blank('Access key and its secret are kept at:')}

## What opens them: any one of these private keys

${recipients.map(recipientLines).join('\n')}
${trustedSigners.length === 0 ? '' : `\nOnly what one of these has signed is genuine:\n${trustedSigners.map(({ fingerprint, name }) => `   ${fingerprint}  ${shownName(name)}`).join('\n')}\n${blank('   public key (signing.pub.asc) kept at:')}\n`}
## With pgproof (Node 22.15 or newer, PostgreSQL's programs)

${ownCommands(input).join('\n')}

## Without pgproof (gpg, sha256sum, zstd, PostgreSQL's programs)

${otherCommands(input).join('\n')}

## Tried out with nothing but this page, once a quarter

${tests.join('\n')}
`
}

const columns = 80

function storeLines(store: KitStore | null): string[] {
  if (store === null) return [blank('    store (s3://bucket/prefix)'), blank('    endpoint, region, provider')]
  const { url, endpoint, region, provider } = store
  const lines = [
    ['store', url],
    ['endpoint', endpoint ?? (isDirectory(store) ? undefined : 'AWS')],
    ['region', region],
    ['provider', provider],
  ]
  return lines.flatMap(([name = '', value]) => (value === undefined ? [] : [`    ${name.padEnd(9)} ${value}`]))
}

function recipientLines({ fingerprint, name }: KitKey, index: number): string {
  return `${index + 1}. ${fingerprint}  ${shownName(name)}
${blank('   private key kept at:', 'held by:')}
${blank('   passphrase kept at: ', 'held by:')}`
}

/** The flags are set once, as the arguments of the shell, so that they need to be typed once. */
function ownCommands({ store, servers, keyFile, trustedSigners }: KitInput): string[] {
  const { url, endpoint, region, provider } = store ?? { ...toFillIn, endpoint: 'URL' }
  const flags = [
    `--store ${shellWord(url)}`,
    ...(endpoint === undefined ? [] : [`--endpoint ${shellWord(endpoint)}`]),
    ...(region === undefined ? [] : [`--region ${shellWord(region)}`]),
    ...(provider === undefined ? [] : [`--provider ${shellWord(provider)}`]),
    ...(trustedSigners.length === 0 ? [] : ['--trusted-signer signing.pub.asc']),
  ]
  const server = servers.length === 1 ? (servers[0] ?? '') : 'SERVER'
  return [
    ...credentials(store),
    ...wrapped(['set --', ...flags]),
    '    pgproof list "$@"',
    `    pgproof verify LABEL "$@" --key ${shellWord(keyFile)}`,
    ...wrapped([
      `pgproof restore latest ${/^[\w.-]+$/.test(server) ? `${server}/DATABASE` : shellWord(`${server}/DATABASE`)} "$@"`,
      `--key ${shellWord(keyFile)}`,
      '--create --roles',
      '--to postgres://postgres@HOST:5432/DATABASE',
    ]),
  ]
}

function otherCommands({ store, keyFile }: KitInput): string[] {
  const { url, endpoint, region } = store ?? { ...toFillIn, endpoint: 'URL' }
  const root = url.replace(/\/$/, '')
  const finish = [
    `    gpg --batch --import ${shellWord(keyFile)}`,
    '',
    'Of each server the newest under roles/ first, then of each database the newest',
    'under backups/ (the last in order): its RECOVERY.md has every command, in order.',
  ]
  if (isDirectory(store)) {
    const folder = shellWord(decodeURIComponent(root.replace(/^file:\/\//, '')))
    return [...wrapped([`find ${folder}`, '-name RECOVERY.md', '| sort']), ...finish]
  }
  const at = [
    ...(endpoint === undefined ? [] : [`--endpoint-url ${shellWord(endpoint)}`]),
    ...(region === undefined ? [] : [`--region ${shellWord(region)}`]),
  ]
  // The keys that are listed begin with the prefix already.
  const bucket = /^s3:\/\/[^/]+/.exec(root)?.[0] ?? root
  return [
    ...wrapped(['aws s3 ls --recursive', ...at, shellWord(`${root}/`), '| grep RECOVERY.md']),
    ...wrapped(['aws s3 cp', ...at, `${shellWord(`${bucket}/`)}KEY`, '.']),
    ...finish,
  ]
}

const toFillIn: KitStore = { url: 's3://BUCKET/PREFIX', endpoint: undefined, region: undefined, provider: undefined }

function credentials(store: KitStore | null): string[] {
  return isDirectory(store) ? [] : ['    export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...']
}

function isDirectory(store: KitStore | null): boolean {
  return store?.url.startsWith('file:') ?? false
}

const tests = Array.from(
  { length: 4 },
  () => '    when ____________ who __________________ what ________________ minutes ____',
)

/** A text and a line to write on behind it, up to the edge of the page; `second` has one in the last third. */
function blank(text: string, second?: string): string {
  const end = second === undefined ? columns : 56
  const first = `${text} ${'_'.repeat(Math.max(0, end - text.length - 1))}`
  return second === undefined ? first : `${first}  ${second} ${'_'.repeat(columns - first.length - second.length - 3)}`
}

/** One command as code, on as many lines as it needs; a part that is longer than a line is not broken. */
function wrapped(parts: readonly string[]): string[] {
  const lines: string[] = []
  let line = '   '
  for (const part of parts) {
    if (line.trim() !== '' && line.length + part.length + 3 > columns) {
      lines.push(`${line} \\`)
      line = '     '
    }
    line += ` ${part}`
  }
  return [...lines, line]
}

/** On one line, whatever the owner of the key called it. */
function shownName(name: string): string {
  return name.replaceAll(/[`\p{C}\p{Zl}\p{Zp}]/gu, '?').slice(0, 30)
}
