import { existsSync, readFileSync } from 'node:fs'
import type pg from 'pg'

/** As libpq's `sslmode`, `sslrootcert`, `sslcert` and `sslkey`. */
export type TlsSettings = {
  readonly mode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'
  readonly rootCertFile?: string | undefined
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
}

/** What node-postgres is told, so that it does as libpq would; a Unix socket knows no TLS. Throws what reading a file throws. */
export function tlsOptions(host: string, tls: TlsSettings): pg.ClientConfig['ssl'] {
  const { mode, certFile, keyFile } = tls
  if (mode === 'disable' || host.startsWith('/')) return false
  const rootCertFile = rootCertFileOf(tls)
  const files = {
    ...(rootCertFile === undefined ? {} : { ca: readFileSync(rootCertFile, 'utf8') }),
    ...(certFile === undefined ? {} : { cert: readFileSync(certFile, 'utf8') }),
    ...(keyFile === undefined ? {} : { key: readFileSync(keyFile, 'utf8') }),
  }
  if (mode === 'verify-full') return { ...files, rejectUnauthorized: true }
  // As in libpq: verify-ca checks the chain but not the name, and so does `require` once it has a root certificate.
  if (mode === 'verify-ca' || (mode === 'require' && rootCertFile !== undefined))
    return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
  return { ...files, rejectUnauthorized: false }
}

/**
 * The file of root certificates, the same for our own connections and for client programs. libpq knows the word
 * `system` from 16 on only, and without a file `verify-full` would make it look for one in the home directory. With one,
 * `prefer` would make it go on unencrypted where the certificate does not fit, so there is none for that.
 */
export function rootCertFileOf({ mode, rootCertFile }: TlsSettings): string | undefined {
  if (mode === 'disable' || mode === 'prefer') return undefined
  const isVerified = mode === 'verify-ca' || mode === 'verify-full'
  if (rootCertFile === 'system' || (rootCertFile === undefined && isVerified))
    return systemCertificates.find((path) => existsSync(path)) ?? rootCertFile
  return rootCertFile
}

/** Where the certificates of the operating system are: Debian and Alpine, Red Hat, macOS and BSD. */
const systemCertificates = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
]
