import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { Clock } from '../clock.ts'
import type { HttpConfig } from '../config/config.ts'
import { PgproofError, reasonOf, toPgproofError } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'

export type Certificate = {
  /** What a TLS server is made with. */
  readonly options: Pick<SecureContextOptions, 'cert' | 'key' | 'minVersion'>
  readonly validFrom: Date
  readonly expiresAt: Date
  /** Of both files; another one means that they were renewed. */
  readonly sha256: string
}

type Files = NonNullable<HttpConfig['tls']>

/** Reads certificate and key, both PEM, and looks whether they belong together. Throws TLS_INVALID. */
export async function readCertificate(files: Files): Promise<Certificate> {
  const [cert, key] = await Promise.all([readPem(files.certificateFile), readPem(files.keyFile)])
  const certificate = parseCertificate(cert, files.certificateFile)
  if (!certificate.checkPrivateKey(parseKey(key, files.keyFile)))
    throw invalid(files.certificateFile, `it does not belong to the key ${files.keyFile}`)
  const options = { cert, key, minVersion: 'TLSv1.2' } as const
  try {
    // What OpenSSL finds too weak, or wrong in the rest of the chain.
    createSecureContext(options)
  } catch (error) {
    throw invalid(files.certificateFile, reasonOf(error), error)
  }
  const sha256 = createHash('sha256').update(cert).update('\0').update(key).digest('hex')
  return { options, validFrom: new Date(certificate.validFrom), expiresAt: new Date(certificate.validTo), sha256 }
}

/** Why clients refuse the certificate at that time; null when its dates are no reason. */
export function invalidityOf({ validFrom, expiresAt }: Certificate, now: Date): string | null {
  if (expiresAt.getTime() <= now.getTime()) return `it expired at ${expiresAt.toISOString()}`
  return validFrom.getTime() > now.getTime() ? `it is not valid before ${validFrom.toISOString()}` : null
}

export type CertificateWatch = AsyncDisposable & {
  expiresAt(): Date
  /** Looks now; otherwise it is done every `lookMs`. Never throws. */
  look(): Promise<void>
}

/**
 * Hands certificates that were renewed to `take`. One that is broken, or that clients would refuse by its dates while
 * they take the one before, is logged, once, and the one before stays in use. One in use that they refuse is logged too.
 */
export function watchCertificate(
  first: Certificate,
  { files, clock, log, lookMs }: { files: () => Files | undefined; clock: Clock; log: Log; lookMs: number },
  take: (certificate: Certificate) => void,
): CertificateWatch {
  let current = first
  let complaint = ''
  const complain = (text: string, say: () => void): void => {
    if (text !== complaint) say()
    complaint = text
  }
  const lookOnce = async (): Promise<void> => {
    const named = files()
    if (named === undefined) return
    try {
      const found = await readCertificate(named)
      const now = clock.now()
      if (found.sha256 !== current.sha256) {
        const reason = invalidityOf(found, now)
        if (reason !== null && invalidityOf(current, now) === null) throw invalid(named.certificateFile, reason)
        take(found)
        current = found
        complaint = ''
        log.info({ certificateExpiresAt: found.expiresAt }, 'the renewed TLS certificate is in use')
      }
      const reason = invalidityOf(current, now)
      if (reason !== null)
        complain(`${current.sha256} ${reason}`, () =>
          log.warn(
            { certificateExpiresAt: current.expiresAt, reason },
            current.expiresAt.getTime() <= now.getTime()
              ? 'the TLS certificate has expired: clients refuse it'
              : 'the TLS certificate is not valid yet: clients refuse it',
          ),
        )
    } catch (thrown) {
      const { code, message, hint } = toPgproofError(thrown)
      complain(message, () =>
        log.error(
          { [logKeys.code]: code, reason: message, [logKeys.hint]: hint },
          'the renewed TLS certificate cannot be used, the one before stays in use',
        ),
      )
    }
  }
  let looking = lookOnce()
  const look = (): Promise<void> => {
    looking = looking.then(lookOnce)
    return looking
  }
  const timer = setInterval(() => void look(), lookMs)
  timer.unref()
  return {
    expiresAt: () => current.expiresAt,
    look,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      await looking
    },
  }
}

async function readPem(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw invalid(path, reasonOf(error), error)
  }
}

function parseCertificate(pem: Buffer, path: string): X509Certificate {
  try {
    if (!pem.includes('-----BEGIN')) throw new Error('it is not PEM')
    return new X509Certificate(pem)
  } catch (error) {
    throw invalid(path, `there is no certificate in it (${reasonOf(error)})`, error)
  }
}

function parseKey(pem: Buffer, path: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    const reason = pem.includes('ENCRYPTED') ? 'the key has a passphrase' : 'there is no private key in it'
    throw invalid(path, reason, error)
  }
}

function invalid(path: string, reason: string, cause?: unknown): PgproofError {
  return new PgproofError('TLS_INVALID', { path, reason }, { cause })
}
