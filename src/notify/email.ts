import { createTransport } from 'nodemailer'
import type { NotifyTarget } from '../config/config.ts'
import { reasonOf } from '../errors.ts'
import { type Attempt, delivered, type NoticeChannel, refused } from './channel.ts'
import type { Notice } from './notice.ts'
import { oneLine } from './wording.ts'

type EmailTarget = Extract<NotifyTarget, { kind: 'email' }>

/** Plain text by SMTP. With a password the connection is encrypted, or nothing is said at all. */
export function emailChannel(target: EmailTarget): NoticeChannel {
  return {
    kind: 'email',
    name: `e-mail to ${target.to.join(', ')}`,
    deliver: (notice, signal) => deliver(target, notice, signal),
  }
}

/** Shorter than what an attempt may take: the connection is closed by the one who opened it. */
const connectionMs = 8_000

async function deliver(target: EmailTarget, notice: Notice, signal: AbortSignal): Promise<Attempt> {
  const { hostname, port, protocol, username } = new URL(target.smtp)
  const isSecure = protocol === 'smtps:'
  const transport = createTransport({
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (isSecure ? 465 : 587) : Number(port),
    secure: isSecure,
    requireTLS: !isSecure && target.password !== undefined,
    ...(target.password === undefined
      ? {}
      : { auth: { user: decodeURIComponent(username), pass: target.password.reveal() } }),
    connectionTimeout: connectionMs,
    greetingTimeout: connectionMs,
    socketTimeout: connectionMs,
    // Without a password TLS is taken if it is offered, and is no worse than the plain text that it replaces: a mail
    // server of the same machine often has a certificate of its own making.
    tls: { rejectUnauthorized: isSecure || target.password !== undefined },
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  try {
    const { rejected } = await transport.sendMail({ ...message(target, notice), signal })
    const refusedBy = (rejected ?? []).map(String)
    if (refusedBy.length === 0) return delivered
    // Also after a 4yz: while one full mailbox was tried again, later notices to the others would wait behind it.
    return refused(`the mail server took it, but not for ${oneLine(refusedBy.join(', '))}`, false)
  } catch (thrown) {
    return signal.aborted ? refused('the mail server did not answer in time', true) : judge(thrown, target)
  } finally {
    transport.close()
  }
}

function message(
  { to, from }: EmailTarget,
  notice: Notice,
): Parameters<ReturnType<typeof createTransport>['sendMail']>[0] {
  const { id, incident, event, title, text, host, at } = notice
  const domain = from.slice(from.lastIndexOf('@') + 1)
  // Mail servers drop a second message of one id, and an incident may be told of anew. So all of them answer one that was
  // never sent, and mail programs show them together.
  const thread = incident === null ? null : `<${incident}@${domain}>`
  return {
    from: { name: 'pgproof', address: from },
    to: to.map((address) => ({ name: '', address })),
    subject: oneLine(`[pgproof] ${title}`),
    date: new Date(at),
    messageId: `<${id}@${domain}>`,
    ...(thread === null ? {} : { inReplyTo: thread, references: [thread] }),
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Pgproof-Event': event },
    text: `${text}\n\n-- \npgproof on ${oneLine(host)}\n`,
  }
}

/** By SMTP a 4yz is "not now" and a 5yz is "no"; whatever never came to an answer may work later. */
function judge(thrown: unknown, { password }: EmailTarget): Attempt {
  const { code, responseCode } = thrown as { code?: unknown; responseCode?: unknown }
  const words = oneLine(reasonOf(thrown))
  const secret = password?.reveal() ?? ''
  const reason = secret !== '' && words.includes(secret) ? String(code ?? 'it failed') : words
  if (typeof responseCode === 'number') return refused(reason, responseCode < 500)
  return refused(reason, !isHopeless.has(String(code)))
}

/** Not ETLS: a server that refuses STARTTLS says so by a code; without one the connection broke in the midst of it. */
const isHopeless = new Set(['EAUTH', 'ENOAUTH', 'ECONFIG', 'EENVELOPE', 'EMESSAGE'])
