import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { waitFor } from '../commands/cli.ts'

export type Mail = {
  readonly from: string
  readonly to: readonly string[]
  readonly user: string | undefined
  readonly isEncrypted: boolean
  /** Each header once, by its lower-case name, unfolded. */
  readonly headers: ReadonlyMap<string, string>
  /** As a mail program shows it. */
  readonly text: string
}

/** A real mail server that keeps what it takes. */
export type MailServer = AsyncDisposable & {
  readonly port: number
  readonly mails: Mail[]
  /** The passwords that were offered. */
  readonly passwords: string[]
  until(count: number): Promise<readonly Mail[]>
}

/** It lets in `pgproof` with the password `mail-secret`; anybody without a name unless `authOptional` is false. */
export async function startMailServer(options: SMTPServerOptions = {}): Promise<MailServer> {
  const mails: Mail[] = []
  const passwords: string[] = []
  const server = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    closeTimeout: 100,
    onAuth({ username, password }, _session, done) {
      passwords.push(password ?? '')
      const isRight = username === 'pgproof' && password === 'mail-secret'
      if (isRight) done(null, { user: username })
      else done(Object.assign(new Error('wrong user or password'), { responseCode: 535 }))
    },
    onData(stream, { envelope, user, secure }, done) {
      let raw = ''
      stream.setEncoding('utf8')
      stream.on('data', (chunk: string) => {
        raw += chunk
      })
      stream.on('end', () => {
        const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address
        const to = envelope.rcptTo.map(({ address }) => address)
        mails.push({ from, to, user: user as string | undefined, isEncrypted: secure, ...parsed(raw) })
        done()
      })
    },
    ...options,
  })
  // A client that does not like the certificate hangs up.
  server.on('error', () => {})
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  return {
    port: (server.server.address() as AddressInfo).port,
    mails,
    passwords,
    async until(count) {
      await waitFor(`${count} mails, there are ${mails.length}`, () => mails.length >= count)
      return mails
    },
    [Symbol.asyncDispose]: () => new Promise<void>((closed) => void server.close(() => closed())),
  }
}

function parsed(raw: string): Pick<Mail, 'headers' | 'text'> {
  const end = raw.indexOf('\r\n\r\n')
  const lines = raw
    .slice(0, end)
    .replaceAll(/\r\n[ \t]+/g, ' ')
    .split('\r\n')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const name = line.slice(0, line.indexOf(':')).toLowerCase()
    if (headers.has(name)) throw new Error(`two headers ${name}`)
    headers.set(name, unquoted(line.slice(line.indexOf(':') + 1).trim()))
  }
  const body = raw.slice(end + 4).replaceAll('\r\n', '\n')
  const encoding = headers.get('content-transfer-encoding')
  if (encoding === 'base64') return { headers, text: Buffer.from(body, 'base64').toString('utf8') }
  return { headers, text: encoding === 'quoted-printable' ? fromQuotedPrintable(body.replaceAll('=\n', '')) : body }
}

/** `=?UTF-8?Q?…?=` and `=?UTF-8?B?…?=`. */
function unquoted(value: string): string {
  return value
    .replaceAll(/\?= =\?/g, '?==?')
    .replaceAll(/=\?UTF-8\?(Q|B)\?([^?]*)\?=/gi, (_, kind: string, text: string) =>
      kind.toUpperCase() === 'B'
        ? Buffer.from(text, 'base64').toString('utf8')
        : fromQuotedPrintable(text.replaceAll('_', ' ')),
    )
}

function fromQuotedPrintable(text: string): string {
  const bytes = text.replaceAll(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
