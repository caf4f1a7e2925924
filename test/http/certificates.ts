import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A folder with a CA of its own, `ca.crt`. Needs `openssl`. */
export type Certificates = AsyncDisposable & {
  at(name: string): string
  /** Makes `NAME.crt` and `NAME.key` for 127.0.0.1 and localhost. */
  issue(name: string, options?: Issue): Promise<void>
}

export type Issue = {
  readonly passphrase?: string
  /** As openssl writes times, `YYYYMMDDHHMMSSZ`; from 2020 to 2098 unless said. */
  readonly from?: string
  readonly until?: string
}

export async function testCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'pgproof-tls-'))
  const at = (name: string): string => join(folder, name)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
  const ca = ['req', '-x509', ...key, '-nodes', '-days', '2', '-subj', '/CN=Our CA']
  await run('openssl', [...ca, '-keyout', at('ca.key'), '-out', at('ca.crt')])
  return {
    at,
    issue: async (name, { passphrase, from = '20200101000000Z', until = '20980101000000Z' } = {}) => {
      await run('openssl', [
        ...['req', ...key, '-subj', `/CN=${name}`],
        ...(passphrase === undefined ? ['-nodes'] : ['-passout', `pass:${passphrase}`]),
        ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
        ...['-addext', 'basicConstraints=critical,CA:FALSE'],
        ...['-keyout', at(`${name}.key`), '-out', at(`${name}.csr`)],
      ])
      // `openssl ca` alone takes dates, and it keeps books: one for each certificate.
      await writeFile(at(`${name}.index`), '')
      await writeFile(
        at(`${name}.cnf`),
        [
          ...['[ca]', 'default_ca = ours', '[names]', 'commonName = supplied', '[ours]'],
          ...[`new_certs_dir = ${folder}`, `database = ${at(`${name}.index`)}`, 'rand_serial = yes'],
          ...['default_md = sha256', 'policy = names', 'copy_extensions = copyall', ''],
        ].join('\n'),
      )
      await run('openssl', [
        ...['ca', '-batch', '-notext', '-config', at(`${name}.cnf`), '-cert', at('ca.crt'), '-keyfile', at('ca.key')],
        ...['-startdate', from, '-enddate', until, '-in', at(`${name}.csr`), '-out', at(`${name}.crt`)],
      ])
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}
