import { html } from './html.ts'

/**
 * The script of the page, sent as it stands here: it keeps the page fresh, and orders and cancels for those who hold a
 * token. All HTML comes from the server and is parsed by the browser as a document, so nothing here makes HTML of text. No
 * template of this file may hold a backtick or a backslash.
 */
export const pageScript = html`
(() => {
'use strict'
const runningMs = 3000, restMs = 30000, wholeMs = 120000, patienceMs = 20000
const find = (id) => document.getElementById(id)
const main = document.querySelector('main')
const dialog = find('order'), form = find('order-form'), tokenField = find('order-token'), keepBox = find('order-keep')
const keptName = 'pgproof-token'
let lastAnswer = performance.now(), lastWhole = performance.now(), timer, asking = false, wantsWhole = false
let wish = null, token = '', followed = null

document.documentElement.classList.add('js')
try { token = sessionStorage.getItem(keptName) || '' } catch { /* It may be forbidden; then the token is asked for. */ }

// Fresh contents.

/** A document by the server, or null. Parsed by the browser without running anything in it. */
function read(query) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest()
    const own = location.search.replace(/^[?]/, '')
    request.open('GET', location.pathname + (own === '' ? query : '?' + own + query.replace('?', '&')))
    request.responseType = 'document'
    request.timeout = 15000
    request.onload = () => resolve(request.status === 200 ? request.response : null)
    request.onerror = request.ontimeout = () => resolve(null)
    request.send()
  })
}

/** Makes the old node look like the fresh one, touching only what differs: focus, selection and what is unfolded stay. */
function renew(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data
    return
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return
  const isDetails = old.nodeName === 'DETAILS'
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && !(isDetails && name === 'open')) old.removeAttribute(name)
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value && !(isDetails && name === 'open')) old.setAttribute(name, value)
  const byId = new Map([...old.children].filter(({ id }) => id !== '').map((child) => [child.id, child]))
  const wanted = [...fresh.childNodes]
  for (const [index, node] of wanted.entries()) {
    const here = old.childNodes[index]
    const named = node.id ? byId.get(node.id) : undefined
    if (named !== undefined && named !== here) old.insertBefore(named, here || null)
    const match = old.childNodes[index]
    if (match !== undefined && match.nodeName === node.nodeName && (match.id || '') === (node.id || '')) renew(match, node)
    else if (match === undefined || match.id) old.insertBefore(node, match || null)
    else match.replaceWith(node)
  }
  while (old.childNodes.length > wanted.length) old.lastChild.remove()
}

function renewKeepingFocus(old, fresh) {
  const focused = document.activeElement && document.activeElement.id
  renew(old, fresh)
  const again = focused && find(focused)
  if (again && again !== document.activeElement) again.focus({ preventScroll: true })
}

async function refresh() {
  clearTimeout(timer)
  if (asking) { wantsWhole = true; return }
  asking = true
  const isWhole = wantsWhole || performance.now() - lastWhole >= wholeMs
  wantsWhole = false
  const fresh = await read(isWhole ? '' : '?part=runs')
  asking = false
  const runs = fresh && fresh.getElementById('runs')
  if (runs) {
    lastAnswer = performance.now()
    const hasChanged = runs.dataset.runs !== find('runs').dataset.runs || fresh.title !== document.title
    if (isWhole) showWhole(fresh)
    else renewKeepingFocus(find('runs'), runs)
    if (!isWhole && hasChanged) wantsWhole = true
  }
  showAge()
  if (wantsWhole) refresh()
  else wait()
}

function showWhole(fresh) {
  lastWhole = performance.now()
  const before = find('headline').textContent
  renewKeepingFocus(main, fresh.querySelector('main'))
  renew(find('age'), fresh.getElementById('age'))
  find('icon').href = fresh.getElementById('icon').getAttribute('href')
  document.title = fresh.title
  const after = find('headline').textContent
  if (after !== before) find('said').textContent = after + '.'
}

/** A page that has not heard from the server for long must not look as if all were well. */
function showAge() {
  const silentMs = performance.now() - lastAnswer
  const stale = find('stale')
  stale.hidden = silentMs < patienceMs + restMs
  const minutes = Math.round(silentMs / 60000)
  const words = 'pgproof does not answer. What this page shows is ' + (minutes < 2 ? 'over a minute' : minutes + ' minutes') + ' old.'
  if (!stale.hidden && stale.textContent !== words) stale.textContent = words
}

function isBusy() { return find('runs').dataset.runs !== '' }
function wait() {
  clearTimeout(timer)
  if (!document.hidden) timer = setTimeout(refresh, isBusy() ? runningMs : restMs)
}
document.addEventListener('visibilitychange', () => { if (!document.hidden) { wantsWhole = true; refresh() } })

// A link to a database unfolds it.
function unfold() {
  const target = location.hash ? find(location.hash.slice(1)) : null
  for (let one = target; one; one = one.parentElement) if (one.nodeName === 'DETAILS') one.open = true
}
addEventListener('hashchange', unfold)
unfold()

// Orders.

function notify(words, level) {
  const notice = find('notice')
  notice.className = 'notice ' + level
  notice.textContent = words
}

document.addEventListener('click', ({ target }) => {
  const button = target.closest ? target.closest('button[data-drill], button[data-cancel]') : null
  if (button === null) return
  const { drill, cancel, scope, what } = button.dataset
  wish = drill === undefined ? { cancel, scope, what } : { drill: JSON.parse(drill), scope: 'drill', what, key: randomKey() }
  find('order-title').textContent = drill === undefined ? 'Cancel the ' + what + '?' : 'Drill a backup of ' + what
  find('order-note').textContent = drill === undefined
    ? 'What it has done so far is dropped; nothing that was stored before is touched.'
    : 'It is restored into a scratch server, compared with its evidence and dropped. The database itself is not touched.'
  find('order-submit').textContent = drill === undefined ? 'Cancel the run' : 'Order the drill'
  find('order-scope').textContent = wish.scope
  find('order-pick').hidden = drill === undefined
  showProblem(null)
  tokenField.value = token
  dialog.showModal()
  if (token === '') tokenField.focus()
  else find('order-submit').focus()
})
find('order-close').addEventListener('click', () => dialog.close())
dialog.addEventListener('close', () => { tokenField.value = '' })

form.addEventListener('change', ({ target }) => { if (target.name === 'pick') wish.key = randomKey() })
form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const submit = find('order-submit')
  if (submit.disabled) return
  token = tokenField.value.trim()
  submit.disabled = true
  showProblem(null)
  const { response, body } = await send(wish)
  submit.disabled = false
  if (response === null || !response.ok) {
    if (response !== null && response.status === 401) forget()
    showProblem(body)
    tokenField.focus()
    return
  }
  if (keepBox.checked) try { sessionStorage.setItem(keptName, token) } catch { /* Then it is kept by this page only. */ }
  dialog.close()
  if (wish.cancel) notify('The ' + wish.what + ' is cancelled; it ends soon.', 'none')
  else follow(body)
  wantsWhole = true
  refresh()
})

/** The same key again orders nothing again, should the answer to the first have been lost. */
async function send({ drill, cancel, key }) {
  const headers = { authorization: 'Bearer ' + token }
  const pick = new FormData(form).get('pick')
  const base = location.pathname.endsWith('/') ? '' : location.pathname + '/'
  try {
    const response = cancel
      ? await fetch(base + 'v1/runs/' + encodeURIComponent(cancel), { method: 'DELETE', headers })
      : await fetch(base + 'v1/drills', {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json', 'idempotency-key': key },
          body: JSON.stringify(pick ? { ...drill, pick } : drill),
        })
    return { response, body: await response.json() }
  } catch {
    return { response: null, body: {
      detail: 'no answer came, so it is not known whether the order arrived',
      hint: 'Try again: the same order is not taken twice.',
    } }
  }
}

function forget() {
  token = ''
  try { sessionStorage.removeItem(keptName) } catch { /* It was not kept. */ }
}

function showProblem(problem) {
  const place = find('order-problem')
  place.replaceChildren()
  if (problem === null) return
  const strong = document.createElement('strong')
  strong.textContent = problem.detail || 'it was refused'
  const hint = document.createElement('span')
  hint.className = 'block'
  hint.textContent = problem.hint || ''
  place.append(strong, hint)
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Says where the run stands when that changes, not with each byte: somebody may be listening. */
function follow(run) {
  if (followed !== null) followed.close()
  const what = wish.what
  const base = location.pathname.endsWith('/') ? '' : location.pathname + '/'
  const stream = new EventSource(base + 'v1/runs/' + encodeURIComponent(run.id) + '/events')
  followed = stream
  let said = ''
  const tell = ({ state, position, error }) => {
    if (state === said) return
    said = state
    const waits = position > 0 ? ' It waits: ' + position + (position === 1 ? ' run' : ' runs') + ' before it.' : ''
    if (state === 'queued') notify('The drill of ' + what + ' is ordered.' + waits, 'none')
    else if (state === 'running') notify('The drill of ' + what + ' goes on; its progress is below.', 'none')
    else if (state === 'succeeded') notify('The drill of ' + what + ' passed.', 'good')
    else if (state === 'cancelled') notify('The drill of ' + what + ' was cancelled.', 'warn')
    else notify('The drill of ' + what + ' ' + (state === 'failed' ? 'failed' : 'was inconclusive') + (error ? ': ' + error.message + '. ' + error.hint : '.'), state === 'failed' ? 'bad' : 'warn')
  }
  tell(run)
  stream.addEventListener('progress', ({ data }) => tell(JSON.parse(data)))
  stream.addEventListener('end', ({ data }) => {
    tell(JSON.parse(data))
    stream.close()
    wantsWhole = true
    refresh()
  })
}

wait()
})()
`
