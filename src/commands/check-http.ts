import { BlockList, isIP, isIPv6 } from 'node:net'
import type { HttpConfig } from '../config/config.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { type Certificate, invalidityOf, readCertificate } from '../http/certificate.ts'
import type { Finding } from '../jobs/findings.ts'

const monthMs = 30 * 24 * 3_600_000

/** What `serve` would listen with, read as it reads it. Nothing where it does not listen. */
export async function checkHttp({ listen, tls, tokens }: HttpConfig, now: Date): Promise<Finding[]> {
  if (listen === null) return []
  if (tls !== undefined) return [await checkCertificate(tls, now)]
  if (tokens.length === 0 || isLocal(listen.host)) return []
  return [
    warning(
      'tokens cross the network in the clear: it listens beyond this machine without TLS',
      'Set `http.tls`, or put a proxy with TLS in front.',
    ),
  ]
}

async function checkCertificate(files: NonNullable<HttpConfig['tls']>, now: Date): Promise<Finding> {
  const path = files.certificateFile
  let certificate: Certificate
  try {
    certificate = await readCertificate(files)
  } catch (error) {
    return problem(toPgproofError(error))
  }
  const reason = invalidityOf(certificate, now)
  // It would serve, but nobody who checks certificates would be answered.
  if (reason !== null) {
    const error = new PgproofError('TLS_INVALID', { path, reason: `${reason}, so clients refuse it` })
    return { ...problem(error), hint: 'Renew it; is the clock of this machine right?' }
  }
  const { expiresAt } = certificate
  if (expiresAt.getTime() < now.getTime() + monthMs)
    return warning(
      `the certificate ${path} expires at ${expiresAt.toISOString()}`,
      'Renew it before: from then on clients refuse it. Renewed files are taken without a restart.',
    )
  const message = `serves HTTPS with ${path}, valid until ${expiresAt.toISOString()}`
  return { subject: 'http', result: 'ok', message, hint: null, code: null }
}

function warning(message: string, hint: string): Finding {
  return { subject: 'http', result: 'warning', message, hint, code: null }
}

function problem({ message, hint, code }: PgproofError): Finding {
  return { subject: 'http', result: 'problem', message, hint, code }
}

function isLocal(host: string): boolean {
  if (isIP(host) === 0) return host.toLowerCase() === 'localhost'
  return loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4')
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')
