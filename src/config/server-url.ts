/**
 * Which PostgreSQL server a URL means. libpq and node-postgres read some URLs differently (several hosts, `host=` in the
 * query, no user), and a backup must not be taken from another server than the one that was checked: such URLs are refused.
 */
export type ServerUrl = {
  /** Without the password; a missing database is `postgres`. */
  readonly url: string
  readonly password: string | undefined
  /** `host:port`, to compare two servers. */
  readonly address: string
}

/** Reasons never quote the URL: whatever part went wrong may be a piece of its password. */
export function parseServerUrl(text: string): ServerUrl | { readonly reason: string } {
  const url = /^postgres(ql)?:\/\//.test(text) ? parseUrl(text) : undefined
  if (url === undefined) return { reason: encodingReason }
  if (url.hash !== '' || text.includes('#')) return { reason: encodingReason }
  if (url.hostname === '') return { reason: 'it names no host' }
  if (/,|%2c/i.test(url.hostname)) return { reason: 'it names several hosts, and a backup comes from one server' }
  if (url.username === '') return { reason: 'it names no user' }
  const password = decode(url.password)
  const parts = [password, decode(url.username), decode(url.hostname), decode(url.pathname)]
  if (password === undefined || parts.includes(undefined)) return { reason: encodingReason }
  if (url.pathname.slice(1).includes('/')) return { reason: 'it names no single database' }
  // A plus is itself to libpq and a space to URLSearchParams; escaped, it is the same to both.
  url.search = url.search.replaceAll('+', '%2B')
  const reason = reasonAgainst(url.searchParams)
  if (reason !== undefined) return { reason }

  url.password = ''
  if (url.pathname === '' || url.pathname === '/') url.pathname = '/postgres'
  const address = `${decode(url.hostname)?.toLowerCase()}:${url.port === '' ? 5432 : url.port}`
  return { url: url.href, password: password === '' ? undefined : password, address }
}

/** The paths in the query of a URL; none if it is no URL. */
export function sslFilesOf(text: string): readonly string[] {
  const query = parseUrl(text)?.searchParams
  return sslFileParameters.map((name) => query?.get(name) ?? '').filter(isPath)
}

/** The URL with the paths in its query made absolute by `absolute`. */
export function resolveSslFiles(text: string, absolute: (path: string) => string): string {
  const url = new URL(text)
  for (const name of sslFileParameters) {
    const path = url.searchParams.get(name)
    if (path !== null && isPath(path)) url.searchParams.set(name, absolute(path))
  }
  url.search = url.search.replaceAll('+', '%20')
  return url.href
}

const sslFileParameters = ['sslrootcert', 'sslcert', 'sslkey'] as const
const encodingReason = 'it is not a well-formed URL (percent-encode special characters in user and password)'
const sslModes = new Set(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'])

/** What may stand in the query, and what each must look like. Everything else could point to another server. */
const parameters: Readonly<Record<string, (value: string) => boolean>> = {
  sslmode: (value) => sslModes.has(value),
  sslrootcert: (value) => value !== '',
  sslcert: (value) => value !== '',
  sslkey: (value) => value !== '',
  connect_timeout: (value) => /^\d{1,5}$/.test(value),
  application_name: (value) => value !== '',
}

function reasonAgainst(query: URLSearchParams): string | undefined {
  for (const [name, value] of query) {
    const isGood = Object.hasOwn(parameters, name) ? parameters[name] : undefined
    if (isGood === undefined) return `its query may hold only ${Object.keys(parameters).join(', ')}`
    if (query.getAll(name).length > 1) return `its query holds ${name} twice`
    if (!isGood(value)) return `${name} in its query has no meaning`
  }
  return undefined
}

/** `system` is libpq's word for the certificates of the operating system. */
function isPath(value: string): boolean {
  return value !== '' && value !== 'system'
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
