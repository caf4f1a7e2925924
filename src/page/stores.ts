import type { Status } from '../http/status.ts'
import { type Html, html } from './html.ts'
import { duration, plural, quoted, sign, when } from './words.ts'

/** Where backups are, and what they cannot be restored without. */
export function storesSection({ store, time }: Status): Html {
  const now = new Date(time)
  return html`<section id="stores" aria-labelledby="stores-title"><h2 id="stores-title">Stores</h2>
<ul class="plain">${store.places.map(
    ({ name, isRequired, url, readAt, isComplete, problem, clockSkewSeconds, backups, lackingBackups }) => html`<li>
<span><strong>${quoted(name)}</strong>${isRequired ? null : ' (not required)'} ${
      problem !== null
        ? sign(isRequired ? 'bad' : 'warn', 'cannot be read')
        : isComplete
          ? sign('good', 'can be read')
          : sign('warn', readAt === null ? 'not read yet' : 'read in part')
    }<span class="block note">${quoted(url)}</span>${problem === null ? null : html`<span class="block">${quoted(problem)}</span>`}</span>
<span class="note">${plural(backups, 'backup')}${lackingBackups === 0 || problem !== null ? null : `, lacks ${lackingBackups}`}${
      readAt === null ? null : html`, read ${when(readAt, now)}`
    }${clockSkewSeconds === null || Math.abs(clockSkewSeconds) < 1 ? null : `, its clock differs by ${duration(Math.abs(clockSkewSeconds))}`}</span></li>`,
  )}</ul>
${store.orphanObjects === 0 ? null : html`<p class="note">${plural(store.orphanObjects, 'object')} of backups without a manifest: what was interrupted; a prune removes them.</p>`}
</section>`
}

export function rolesSection({ roles, time }: Status): Html | null {
  if (roles.length === 0) return null
  const now = new Date(time)
  return html`<section id="roles" aria-labelledby="roles-title"><h2 id="roles-title">Roles</h2>
<ul class="plain">${roles.map(
    ({ server, newestBackup, next }) => html`<li><strong>${quoted(server)}</strong>
<span class="note">${newestBackup === null ? sign(next === null ? 'none' : 'warn', 'never backed up') : html`backed up ${when(newestBackup.snapshotTime, now)}`}${
      next === null ? ', no backup is scheduled' : html`, next ${when(next, now)}`
    }</span></li>`,
  )}</ul></section>`
}

const useWords = { recipient: 'encrypts backups', signer: 'signs', private: 'decrypts in drills' } as const
const noticeSeconds = 30 * 86_400

export function keysSection({ keys, time }: Status): Html | null {
  if (keys.length === 0) return null
  const now = new Date(time)
  return html`<section id="keys" aria-labelledby="keys-title"><h2 id="keys-title">Keys</h2>
<ul class="plain">${keys.map(({ fingerprint, use, expiresAt }) => {
    const seconds = expiresAt === null ? null : (Date.parse(expiresAt) - now.getTime()) / 1000
    return html`<li><code class="fingerprint">${fingerprint.replaceAll(/(.{4})(?=.)/g, '$1 ')}</code>
<span class="note">${useWords[use]}, ${
      expiresAt === null || seconds === null
        ? 'never expires'
        : seconds <= 0
          ? sign('bad', html`expired ${when(expiresAt, now)}`)
          : seconds < noticeSeconds
            ? sign('warn', html`expires ${when(expiresAt, now)}`)
            : html`expires ${when(expiresAt, now)}`
    }</span></li>`
  })}</ul></section>`
}
