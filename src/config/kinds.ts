import { z } from 'zod'
import { reasonAgainstCron } from './cron.ts'
import { parseServerUrl, type ServerUrl, sslFilesOf } from './server-url.ts'
import { durationPattern, formatDuration, formatSize, parseDuration, parseSize, sizePattern } from './units.ts'

/** What a value of a key looks like: its schema, the words for it, and how a text from the environment becomes one. */
export type Kind<S extends z.ZodType = z.ZodType> = {
  readonly schema: S
  /** Continues "expected …". */
  readonly expects: string
  readonly hint?: string
  /** False where a wrong value may hold a secret: faults then never quote it. */
  readonly isShown: boolean
  /** True where a right value is a secret: it is never printed. */
  readonly isSecret?: true
  /** A path: `secret` and `hash` are read once at load, `key` and `file` must be readable, `path` is only made absolute. */
  readonly reads?: 'secret' | 'hash' | 'key' | 'file' | 'path'
  readonly fromText: (text: string) => unknown
  /** The paths inside a value that is no path itself. */
  readonly filesIn?: (text: string) => readonly string[]
  /** What is too heavy to check for every start: why a value of the right shape is wrong after all. */
  readonly check?: (text: string) => Promise<string | undefined>
}

export const text = (expects = 'text'): Kind<z.ZodString> => kind(z.string().min(1), expects)

/** A name of a server, database, token or check. */
export const name = (): Kind<z.ZodString> =>
  kind(z.string().regex(/^(?! )[^\p{C}\p{Zl}\p{Zp}]{1,63}(?<! )$/u), 'a name of 1 to 63 printable characters')

/** A name that stands in metrics and keys. */
export const label = (): Kind<z.ZodString> =>
  kind(z.string().regex(/^[A-Za-z0-9_-]{1,63}$/), 'a name of 1 to 63 letters, digits, - and _')

/** An identifier of PostgreSQL that needs no quotes. */
export const schemaName = (): Kind<z.ZodString> =>
  kind(z.string().regex(/^(?!pg_)[a-z_][a-z0-9_]{0,49}$/), 'a name of lower-case letters, digits and _')

export const uuid = (): Kind<z.ZodString> => kind(z.string().regex(uuidPattern), 'a UUID')

export const choice = <const T extends readonly [string, ...string[]]>(...values: T) =>
  kind(z.enum(values), values.length === 2 ? values.join(' or ') : `one of ${values.join(', ')}`)

export const whole = (least: number, most?: number): Kind<z.ZodInt> => ({
  ...kind(
    most === undefined ? z.int().min(least) : z.int().min(least).max(most),
    most === undefined ? `a whole number ≥ ${least}` : `a whole number from ${least} to ${most}`,
  ),
  fromText: (value) => (/^-?\d{1,15}$/.test(value) ? Number(value) : value),
})

export const flag = (): Kind<z.ZodBoolean> => ({
  ...kind(z.boolean(), 'true or false'),
  fromText: (value) => (value === 'true' ? true : value === 'false' ? false : value),
})

/** Milliseconds. */
export const duration = (leastMs = 1000) => ({
  ...kind(
    z
      .string()
      .regex(durationPattern)
      .transform(checked(parseDuration, (durationMs) => durationMs >= leastMs)),
    `a duration of at least ${formatDuration(leastMs)}`,
  ),
  hint: 'write a whole number and its unit: s, m, h, d or w, such as 30s, 15m, 26h or 14d',
})

/** Bytes. */
export const size = (least: number, most: number) => ({
  ...kind(
    z
      .string()
      .regex(sizePattern)
      .transform(checked(parseSize, (bytes) => bytes >= least && bytes <= most)),
    `a size from ${formatSize(least)} to ${formatSize(most)}`,
  ),
  hint: 'write a whole number and its unit: B, kB, MB, GB, KiB, MiB or GiB, such as 8MiB',
})

/** From 1% to 100%, as a number from 0.01 to 1. */
export const percentage = () => ({
  ...kind(
    z
      .string()
      .regex(/^([1-9]\d?|100)%$/)
      .transform((value) => Number.parseInt(value, 10) / 100),
    'a percentage from 1% to 100%',
  ),
  hint: 'write a whole number and a percent sign, such as 50%',
})

export const timezone = () => ({
  ...kind(
    z
      .string()
      .regex(/^[A-Za-z]/)
      .refine(isTimeZone),
    'an IANA time zone',
  ),
  hint: 'such as UTC or Europe/Berlin',
})

export const cron = () => ({
  ...kind(z.string().regex(/^\s*(\S+\s+){4}\S+\s*$/), 'a cron expression of five fields'),
  check: reasonAgainstCron,
  hint: 'minute, hour, day of month, month, day of week, such as "0 2 * * *"',
})

export const path = (reads: NonNullable<Kind['reads']> = 'path'): Kind<z.ZodString> => ({
  ...kind(
    z
      .string()
      .min(1)
      .refine((value) => !value.includes('\0')),
    'a path',
  ),
  reads,
})

/** A secret in the configuration itself. */
export const secret = (): Kind<z.ZodString> => ({
  ...kind(z.string().min(1), 'text'),
  isShown: false,
  isSecret: true,
})

export const sha256 = (): Kind<z.ZodString> => ({
  ...kind(z.string().regex(/^[0-9a-fA-F]{64}$/), 'a SHA-256 as 64 hexadecimal digits'),
  isShown: false,
  isSecret: true,
  hint: 'printf %s "$TOKEN" | sha256sum',
})

export const list = <S extends z.ZodType>(of: Kind<S>, what: string, least = 0) => ({
  ...kind(
    z.array(of.schema).min(least).refine(areDistinct, 'it names one twice'),
    `a list of ${what}${least > 0 ? ', at least one' : ''}`,
  ),
  isShown: of.isShown,
  ...(of.reads === undefined ? {} : { reads: of.reads }),
  fromText: splitText,
})

/** `all`, or a list of names. */
export const namesOrAll = () => ({
  ...kind(
    z.union([z.literal('all'), z.array(name().schema).min(1).refine(areDistinct, 'it names one twice')]),
    'all, or a list of names',
  ),
  fromText: (value: string) => (value.trim() === 'all' ? 'all' : splitText(value)),
})

/** One path or several. */
export const paths = (reads: NonNullable<Kind['reads']>) => ({
  ...kind(
    z.union([path().schema, z.array(path().schema).min(1).refine(areDistinct, 'it names one twice')]),
    'a path, or a list of paths',
  ),
  reads,
  fromText: splitText,
})

/** A level for each of some tables, `schema.table: level`. */
export const levels = <const T extends readonly [string, ...string[]]>(...values: T) => ({
  ...kind(
    z.record(z.string().regex(/^[^.]+\../), z.enum(values)),
    `a level (${values.join(', ')}) for each "schema.table"`,
  ),
  fromText: (value: string) =>
    Object.fromEntries(splitText(value).map((pair) => pair.split('=', 2).map((part) => part.trim()))),
})

/** Parameters of PostgreSQL by name; `refused` are those that may not be given. */
export const parameters = (refused: RegExp) => ({
  ...kind(
    z.record(
      z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$/)
        .refine((parameter) => !refused.test(parameter.toLowerCase()), 'the scratch server’s isolation depends on it'),
      z.string().regex(/^[^\0\r\n]*$/),
    ),
    'a text of one line for each parameter of PostgreSQL',
  ),
  hint: 'such as { max_wal_size: 16GB, timezone_abbreviations: Australia }, numbers and on or off in quotes',
  fromText: (value: string) => pairs(value.split(';').filter((pair) => pair.trim() !== '')),
})

export const serverUrl = () => ({
  ...kind(z.string().transform(toServerUrl), 'a URL like postgres://user@host:5432/postgres'),
  isShown: false,
  filesIn: sslFilesOf,
})

export const scratch = () => ({
  ...kind(
    z.string().transform((value, ctx) => (value === 'embedded' ? ('embedded' as const) : toServerUrl(value, ctx))),
    'embedded, or a URL like postgres://user@host:5432/postgres',
  ),
  isShown: false,
  filesIn: sslFilesOf,
})

export const storeUrl = (): Kind<z.ZodString> => ({
  ...kind(z.string().refine(isStoreUrl), 's3://bucket/prefix, or file:///directory'),
  isShown: false,
  hint: 'without user, password, query or "..", and a directory from the root on',
})

export const endpoint = (): Kind<z.ZodString> => ({
  ...kind(z.string().refine(isEndpoint), 'a URL like https://s3.example.com'),
  isShown: false,
  hint: 'scheme, host and port only; bucket and prefix belong to store.url',
})

/** S3's names, and those that other servers made up. */
export const storageClass = (): Kind<z.ZodString> => ({
  ...kind(
    z
      .string()
      .regex(/^[\x21-\x7e]+$/)
      .refine((value) => !/^(GLACIER|DEEP_ARCHIVE)$/i.test(value), 'a drill or a restore could not read it'),
    'the name of a storage class',
  ),
  hint: 'such as STANDARD_IA or GLACIER_IR',
})

/** The tags of S3 objects, within S3's own limits. */
export const tags = () => ({
  ...kind(
    z
      .record(z.string().regex(/^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/u), z.string().regex(tagValuePattern))
      .refine((all) => Object.keys(all).length <= mostTags, `an object has ${mostTags} at most`),
    'a text for each tag, of letters, digits, spaces and _ . : / = + - @, key up to 128 characters, value up to 256',
  ),
  hint: 'such as { team: databases, year: "2030" }',
  fromText: (value: string) => pairs(splitText(value)),
})

/** Host and port to listen on; null for `off`. */
export const listen = () => ({
  ...kind(z.string().transform(toListen), 'host:port, or off'),
  hint: 'such as 127.0.0.1:9432, 0.0.0.0:9432 or [::1]:9432',
})

/** The address of a program that is told something; whoever knows it may use it. */
export const hookUrl = (): Kind<z.ZodString> => ({
  ...kind(z.string().refine(isHookUrl), 'a URL like https://hooks.example.com/…'),
  isShown: false,
  isSecret: true,
})

/** The address of a mail server. */
export const smtpUrl = (): Kind<z.ZodString> => ({
  ...kind(z.string().refine(isSmtpUrl), 'a URL like smtp://user@mail.example.com:587'),
  isShown: false,
  hint: 'smtp:// (port 587 and 25; TLS if the server offers it) or smtps:// (port 465); the password belongs in smtpPasswordFile',
})

export const emailAddress = (): Kind<z.ZodString> =>
  kind(z.string().regex(/^[^\s@<>,;"\p{C}]+@[^\s@<>,;"\p{C}]+$/u), 'an e-mail address')

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const tagValuePattern = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u
const mostTags = 10

function kind<S extends z.ZodType>(schema: S, expects: string): Kind<S> {
  return { schema, expects, isShown: true, fromText: (value) => value }
}

function splitText(value: string): string[] {
  return value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

/** `key=value` texts; only the first = of each parts. */
function pairs(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((pair) => {
      const [name = '', ...rest] = pair.split('=')
      return [name.trim(), rest.join('=').trim()]
    }),
  )
}

function areDistinct(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length
}

function checked(parse: (text: string) => number | undefined, isGood: (value: number) => boolean) {
  return (value: string, ctx: z.RefinementCtx): number => {
    const parsed = parse(value)
    if (parsed !== undefined && isGood(parsed)) return parsed
    ctx.addIssue({ code: 'custom' })
    return z.NEVER
  }
}

function isTimeZone(value: string): boolean {
  // The usual one is known without ICU, whose first use costs a command a tenth of its start.
  if (value === 'UTC') return true
  try {
    return new Intl.DateTimeFormat('en', { timeZone: value }) !== undefined
  } catch {
    return false
  }
}

function toServerUrl(value: string, ctx: z.RefinementCtx): ServerUrl {
  const parsed = parseServerUrl(value)
  if ('url' in parsed) return parsed
  ctx.addIssue({ code: 'custom', message: parsed.reason })
  return z.NEVER
}

function isStoreUrl(value: string): boolean {
  if (!URL.canParse(value) || /[?#\\\s]|\/\.\.(\/|$)/.test(value)) return false
  const url = new URL(value)
  if (url.username !== '' || url.password !== '' || url.port !== '') return false
  if (value.startsWith('s3://')) return /^[A-Za-z0-9._-]{3,255}$/.test(url.hostname)
  return value.startsWith('file:///') && url.pathname.length > 1
}

function isEndpoint(value: string): boolean {
  if (!/^https?:\/\//.test(value) || !URL.canParse(value)) return false
  const url = new URL(value)
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '' && url.pathname === '/'
}

function isHookUrl(value: string): boolean {
  return /^https?:\/\/[^\s]+$/.test(value) && URL.canParse(value) && new URL(value).hash === ''
}

function isSmtpUrl(value: string): boolean {
  if (!/^smtps?:\/\/[^\s]+$/.test(value) || !URL.canParse(value)) return false
  const { hostname, password, pathname, search, hash } = new URL(value)
  return hostname !== '' && password === '' && (pathname === '' || pathname === '/') && search === '' && hash === ''
}

function toListen(value: string, ctx: z.RefinementCtx): { host: string; port: number } | null {
  if (value === 'off') return null
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(value)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host !== undefined && port <= 65_535) return { host, port }
  ctx.addIssue({ code: 'custom' })
  return z.NEVER
}
