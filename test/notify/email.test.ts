import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NotifyConfig } from '../../src/config/config.ts'
import { Secret } from '../../src/config/secret.ts'
import { emailChannel } from '../../src/notify/email.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { type Certificates, testCertificates } from '../http/certificates.ts'
import { type MailServer, startMailServer } from './mail-server.ts'
import { noticeOf } from './notices.ts'
import { startWorld } from './world.ts'

type Email = Extract<NotifyConfig, { kind: 'email' }>

let certificates: Certificates
const usual = getCACertificates('default')
beforeAll(async () => {
  certificates = await testCertificates()
  await certificates.issue('mail')
})
afterAll(() => certificates[Symbol.asyncDispose]())

const pem = (name: string): string => readFileSync(certificates.at(name), 'utf8')
const tls = (): { key: string; cert: string } => ({ key: pem('mail.key'), cert: pem('mail.crt') })

function emailBy({ port }: Pick<MailServer, 'port'>, changes: Partial<Email> = {}): Email {
  return {
    kind: 'email',
    to: ['ops@example.com', 'dba@example.com'],
    from: 'pgproof@example.com',
    smtp: `smtp://127.0.0.1:${port}`,
    password: undefined,
    on: ['failure', 'recovery'],
    jobs: null,
    servers: null,
    ...changes,
  }
}

const withPassword = (server: Pick<MailServer, 'port'>, password = 'mail-secret'): Email =>
  emailBy(server, { smtp: `smtp://pgproof@127.0.0.1:${server.port}`, password: new Secret(password) })

const deliver = (entry: Email, notice = noticeOf(), withinMs = 10_000) =>
  emailChannel(entry).deliver(notice, AbortSignal.timeout(withinMs))

async function trusting<T>(work: () => Promise<T>): Promise<T> {
  setDefaultCACertificates([...usual, pem('ca.crt')])
  try {
    return await work()
  } finally {
    setDefaultCACertificates(usual)
  }
}

describe('an e-mail', () => {
  it('a failure, its reminder and its recovery - plain text to all, one thread', async () => {
    await using server = await startMailServer({ disabledCommands: ['AUTH', 'STARTTLS'] })
    const failure = noticeOf()
    const reminder = noticeOf({ id: 'aaaa', isReminder: true, title: 'STILL FAILING backup of main/shop' })
    const recovery = noticeOf({ id: 'bbbb', event: 'recovery', title: 'RECOVERED backup of main/shop' })
    for (const notice of [failure, reminder, recovery])
      expect(await deliver(emailBy(server), notice)).toEqual({ isDelivered: true })
    const [first, second, third] = server.mails
    const id = `<${failure.incident}@example.com>`
    expect(first).toMatchObject({ from: 'pgproof@example.com', to: ['ops@example.com', 'dba@example.com'] })
    expect(first?.text).toBe('Backup of main/shop failed.\nWhat to do: look.\n\n-- \npgproof on backup-1\n')
    const headers = (index: number, ...names: string[]) => names.map((name) => server.mails[index]?.headers.get(name))
    expect(headers(0, 'subject', 'message-id', 'in-reply-to', 'references')).toEqual([
      '[pgproof] FAILED backup of main/shop',
      `<${failure.id}@example.com>`,
      id,
      id,
    ])
    expect(headers(0, 'auto-submitted', 'from', 'to')).toEqual([
      'auto-generated',
      'pgproof <pgproof@example.com>',
      'ops@example.com, dba@example.com',
    ])
    expect(headers(0, 'content-type')[0]).toMatch(/^text\/plain; charset=utf-8/)
    expect(headers(1, 'message-id', 'in-reply-to', 'references')).toEqual(['<aaaa@example.com>', id, id])
    expect(headers(2, 'message-id', 'in-reply-to', 'references')).toEqual(['<bbbb@example.com>', id, id])
    expect([second, third].map((mail) => mail?.isEncrypted)).toEqual([false, false])
  })

  it('two drills in a row show bad backups - two messages of their own, and their end, in one thread', async () => {
    await using server = await startMailServer({ disabledCommands: ['AUTH', 'STARTTLS'] })
    const manifest = manifestAt('2026-11-20T02:00:00Z')
    const reports = ['05', '06'].map((hour) => reportOf(manifest, `2026-11-20T${hour}:00:00Z`, { verdict: 'failed' }))
    await using world = await startWorld([emailBy(server)], { manifests: [manifest], reports })
    for (const { label } of reports) world.run('drill', 'app', 'failed', { label })
    world.run('drill', 'app', 'succeeded')
    const mails = await server.until(3)
    const all = (name: string) => mails.map(({ headers }) => headers.get(name))
    expect(all('subject').map((subject) => subject?.split(' ')[1])).toEqual(['FAILED', 'FAILED', 'RECOVERED'])
    expect(new Set([...all('message-id'), all('references')[0]]).size).toBe(4)
    expect(new Set([...all('references'), ...all('in-reply-to')]).size).toBe(1)
  })

  it('one without an incident - in no thread', async () => {
    await using server = await startMailServer({ disabledCommands: ['AUTH', 'STARTTLS'] })
    await deliver(emailBy(server), noticeOf({ event: 'test', incident: null }))
    expect(server.mails.map(({ headers }) => [headers.get('references'), headers.get('in-reply-to')])).toEqual([
      [undefined, undefined],
    ])
  })

  it('a database named like headers - one subject, no other header', async () => {
    await using server = await startMailServer({ disabledCommands: ['STARTTLS'] })
    const title = 'FAILED backup of main/x\r\nBcc: thief@example.com\r\n\r\nbody ✉ é'
    expect(await deliver(emailBy(server), noticeOf({ title, host: 'a\r\nb' }))).toEqual({ isDelivered: true })
    expect(server.mails[0]?.to).toEqual(['ops@example.com', 'dba@example.com'])
    expect(server.mails[0]?.headers.has('bcc')).toBe(false)
    expect(server.mails[0]?.headers.get('subject')).toBe(
      '[pgproof] FAILED backup of main/x\u{fffd}Bcc: thief@example.com\u{fffd}body ✉ é',
    )
  })

  it('an SMTP end within the text - it is text', async () => {
    await using server = await startMailServer({ disabledCommands: ['STARTTLS'] })
    await deliver(emailBy(server), noticeOf({ text: 'before\n.\nMAIL FROM:<thief@example.com>\n.after' }))
    expect(server.mails).toHaveLength(1)
    expect(server.mails[0]?.text).toContain('before\n.\nMAIL FROM:<thief@example.com>\n.after')
  })
})

describe('encryption and passwords', () => {
  it('STARTTLS by a CA that is trusted - logged in, encrypted', async () => {
    await using server = await startMailServer({ ...tls(), authOptional: false })
    expect(await trusting(() => deliver(withPassword(server)))).toEqual({ isDelivered: true })
    expect(server.mails[0]).toMatchObject({ user: 'pgproof', isEncrypted: true })
  })

  it('TLS from the start (smtps) - logged in, encrypted', async () => {
    await using server = await startMailServer({ ...tls(), secure: true, authOptional: false })
    const entry = { ...withPassword(server), smtp: `smtps://pgproof@127.0.0.1:${server.port}` }
    expect(await trusting(() => deliver(entry))).toEqual({ isDelivered: true })
    expect(server.mails[0]).toMatchObject({ user: 'pgproof', isEncrypted: true })
  })

  it('a certificate that is not trusted, and no password - encrypted all the same', async () => {
    await using server = await startMailServer(tls())
    expect(await deliver(emailBy(server))).toEqual({ isDelivered: true })
    expect(server.mails[0]).toMatchObject({ isEncrypted: true })
  })

  it('smtps by a certificate that is not trusted - nothing sent', async () => {
    await using server = await startMailServer({ ...tls(), secure: true })
    const attempt = await deliver(emailBy(server, { smtp: `smtps://127.0.0.1:${server.port}` }))
    expect(attempt).toMatchObject({ isDelivered: false, reason: expect.stringMatching(/certificate/) })
    expect(server.mails).toEqual([])
  })

  it('a certificate that is not trusted, and a password - nothing sent, no password said', async () => {
    await using server = await startMailServer(tls())
    const attempt = await deliver(withPassword(server))
    expect(attempt).toMatchObject({ isDelivered: false, reason: expect.stringMatching(/certificate/) })
    expect([server.mails, server.passwords]).toEqual([[], []])
  })

  it('a server without STARTTLS - no password is said to it', async () => {
    await using server = await startMailServer({ disabledCommands: ['STARTTLS'], allowInsecureAuth: true })
    const attempt = await deliver(withPassword(server))
    expect(attempt).toMatchObject({ isDelivered: false, isRetryable: false })
    expect([server.mails, server.passwords]).toEqual([[], []])
  })

  it('a wrong password - not tried again, and not repeated in the reason', async () => {
    await using server = await startMailServer({ ...tls(), authOptional: false })
    const attempt = await trusting(() => deliver(withPassword(server, 'wrong-secret')))
    expect(attempt).toMatchObject({ isDelivered: false, isRetryable: false, reason: expect.stringMatching(/535/) })
    expect(JSON.stringify(attempt)).not.toContain('wrong-secret')
    expect(server.passwords).toEqual(['wrong-secret'])
  })
})

describe('refusals', () => {
  const refusing = (responseCode: number): Promise<MailServer> =>
    startMailServer({
      disabledCommands: ['STARTTLS'],
      onRcptTo: (_, __, done) => done(Object.assign(new Error('not now'), { responseCode })),
    })

  it.each([
    [450, true],
    [550, false],
  ])('%i for the recipient - may be tried again: %s', async (responseCode, isRetryable) => {
    await using server = await refusing(responseCode)
    expect(await deliver(emailBy(server))).toMatchObject({ isDelivered: false, isRetryable })
  })

  it.each([450, 550])(
    'one of two recipients is refused by %i - the other gets it, and it is said',
    async (responseCode) => {
      await using server = await startMailServer({
        disabledCommands: ['STARTTLS'],
        onRcptTo: ({ address }, _, done) =>
          address.startsWith('dba') ? done(Object.assign(new Error('unknown'), { responseCode })) : done(),
      })
      expect(await deliver(emailBy(server))).toEqual({
        isDelivered: false,
        reason: 'the mail server took it, but not for dba@example.com',
        isRetryable: false,
        retryAfterMs: null,
      })
      expect(server.mails.map(({ to }) => to)).toEqual([['ops@example.com']])
    },
  )

  it('nobody listens - may be tried again', async () => {
    const server = await startMailServer({ disabledCommands: ['STARTTLS'] })
    await server[Symbol.asyncDispose]()
    expect(await deliver(emailBy(server))).toMatchObject({
      isDelivered: false,
      isRetryable: true,
      reason: expect.stringContaining('ECONNREFUSED'),
    })
  })

  it.each([
    ['closed', (socket: Socket) => socket.end()],
    ['reset', (socket: Socket) => socket.resetAndDestroy()],
  ])('the connection is %s in the midst of STARTTLS - may be tried again', async (_, hangUp) => {
    const answers = ['250-mail\r\n250 STARTTLS\r\n', '220 go on\r\n']
    const restarting = createServer((socket) => {
      socket.on('error', () => {})
      socket.write('220 mail\r\n')
      socket.on('data', () => {
        const answer = answers.shift()
        if (answer === undefined) hangUp(socket)
        else socket.write(answer)
      })
    }).listen(0, '127.0.0.1')
    await new Promise((listening) => restarting.once('listening', listening))
    const { port } = restarting.address() as { port: number }
    expect(await deliver(withPassword({ port }))).toMatchObject({ isDelivered: false, isRetryable: true })
    expect(answers).toEqual([])
    restarting.close()
  })

  it.each([
    ['454 not now', true],
    ['502 no such thing', false],
  ])('STARTTLS is answered by %s - may be tried again: %s', async (answer, isRetryable) => {
    const answers = ['250-mail\r\n250 STARTTLS\r\n', `${answer}\r\n`]
    const refusing = createServer((socket) => {
      socket.write('220 mail\r\n')
      socket.on('data', () => socket.write(answers.shift() ?? '221 bye\r\n'))
    }).listen(0, '127.0.0.1')
    await new Promise((listening) => refusing.once('listening', listening))
    const { port } = refusing.address() as { port: number }
    expect(await deliver(withPassword({ port }))).toMatchObject({ isDelivered: false, isRetryable })
    refusing.close()
  })

  it('a server that says nothing - over in time, may be tried again', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((listening) => silent.once('listening', listening))
    const { port } = silent.address() as { port: number }
    expect(await deliver(emailBy({ port }), noticeOf(), 200)).toEqual({
      isDelivered: false,
      reason: 'the mail server did not answer in time',
      isRetryable: true,
      retryAfterMs: null,
    })
    silent.close()
  })
})
