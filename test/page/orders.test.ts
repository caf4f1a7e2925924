import type { Browser, Page } from 'playwright-core'
import { beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer, tokens } from '../http/test-server.ts'
import { launchChromium, visit } from './browser.ts'
import { healthy, keysUntil, scheduleOf, storeOf } from './store.ts'

const shopDrill = { job: 'drill', server: 'main', database: 'shop', trigger: 'http' }
const notice = (page: Page): Promise<string | null> => page.textContent('#notice')
const problem = (page: Page): Promise<string | null> => page.textContent('#order-problem')

describe('orders by the page in Chromium', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launchChromium()
    return () => browser.close()
  })

  it('the drill button with a token - orders that drill, follows it to its verdict, and keeps the token nowhere', async () => {
    await using server = await wellServer()
    await using visited = await visit(browser, server.url)
    const { page, complaints } = visited
    await order(page, tokens.drill)
    await expect.poll(() => notice(page)).toBe('The drill of main/shop is ordered.')
    expect(server.orders.taken).toEqual([{ ...shopDrill, wish: {} }])
    const [run] = server.catalog.runs()
    const id = run?.id ?? ''
    server.catalog.updateRun(id, { state: 'running', startedAt: server.clock.now(), progress: { phase: 'restore' } })
    await expect.poll(() => notice(page)).toContain('goes on')
    await expect
      .poll(() => page.textContent(`#run-${id}`), { timeout: 10_000 })
      .toContain('step 5 of 8: restoring the dump')
    server.catalog.updateRun(id, { state: 'succeeded', finishedAt: server.clock.now() })
    await expect.poll(() => notice(page)).toBe('The drill of main/shop passed.')
    await expect.poll(() => page.textContent('#runs')).toContain('No run goes on')
    expect(await page.evaluate('[sessionStorage.length, localStorage.length, document.cookie]')).toEqual([0, 0, ''])
    expect(await page.inputValue('#order-token')).toBe('')
    expect(complaints).toEqual([])
  })

  it('a drill that fails - says why and what to do', async () => {
    await using server = await wellServer()
    await using visited = await visit(browser, server.url)
    const { page } = visited
    await page.locator('details.database', { hasText: 'main/shop' }).locator('button[data-drill]').click()
    await page.check('input[name=pick][value=latest]')
    await page.fill('#order-token', tokens.drill)
    await page.keyboard.press('Enter')
    await expect.poll(() => server.orders.taken).toEqual([{ ...shopDrill, wish: { pick: 'latest' } }])
    const [run] = server.catalog.runs()
    const error = { code: 'RESTORE_FAILED', message: 'pg_restore failed', hint: 'Read the details.' }
    server.catalog.updateRun(run?.id ?? '', { state: 'failed', finishedAt: server.clock.now(), error })
    await expect.poll(() => notice(page)).toBe('The drill of main/shop failed: pg_restore failed. Read the details.')
    await expect.poll(() => page.textContent('h1')).toBe('1 thing needs you soon')
  })

  it.each([
    ['a wrong token', 'nonsense', 'a valid bearer token is required'],
    ['a token that may only read', tokens.read, 'the token lacks the scope "drill"'],
  ])('%s - shows the problem and its hint, orders nothing, and forgets what is wrong', async (_, token, detail) => {
    await using server = await wellServer()
    await using visited = await visit(browser, server.url)
    const { page } = visited
    await order(page, token)
    await expect.poll(() => problem(page)).toContain(detail)
    expect(await page.locator('#order-problem .block').innerText()).not.toBe('')
    expect(await page.isVisible('#order')).toBe(true)
    expect(server.orders.taken).toEqual([])
    // The right one works without anything being filled in again.
    await page.fill('#order-token', tokens.drill)
    await page.click('#order-submit')
    await expect.poll(() => server.orders.taken).toEqual([{ ...shopDrill, wish: {} }])
  })

  it('the same drill while one waits - says that it is locked, and by what', async () => {
    await using server = await wellServer()
    server.orders.order({ job: 'drill', server: 'main', database: 'shop', trigger: 'schedule' })
    await using visited = await visit(browser, server.url)
    await order(visited.page, tokens.drill)
    await expect.poll(() => problem(visited.page)).toContain('locked by another run')
  })

  it('the answer is lost and the order sent again - is taken once', async () => {
    await using server = await wellServer()
    await using visited = await visit(browser, server.url)
    const { page } = visited
    let attempts = 0
    await page.route('**/v1/drills', async (route) => {
      attempts += 1
      if (attempts > 1) return await route.continue()
      // It arrives, and the answer does not come back.
      await route.fetch()
      await route.abort()
    })
    await order(page, tokens.drill)
    await expect.poll(() => problem(page)).toContain('no answer came')
    await page.click('#order-submit')
    await expect.poll(() => notice(page)).toBe('The drill of main/shop is ordered.')
    expect([attempts, server.orders.taken.length]).toEqual([2, 1])
  })

  it('asked to keep the token - keeps it for this tab alone, and forgets it when it is refused', async () => {
    await using server = await wellServer()
    await using visited = await visit(browser, server.url)
    const { page, context } = visited
    await page.locator('button[data-drill]').first().click()
    await page.check('#order-keep')
    await page.fill('#order-token', tokens.drill)
    await page.click('#order-submit')
    await expect.poll(() => notice(page)).toContain('is ordered')
    await page.reload()
    await page.locator('button[data-drill]').first().click()
    expect(await page.inputValue('#order-token')).toBe(tokens.drill)
    const other = await context.newPage()
    await other.goto(server.url)
    expect(await other.evaluate('sessionStorage.length')).toBe(0)
    await page.fill('#order-token', 'nonsense')
    await page.click('#order-submit')
    await expect.poll(() => problem(page)).not.toBe('')
    expect(await page.evaluate('sessionStorage.length')).toBe(0)
  })

  it('the cancel button of a run that goes on - cancels it, with a token of the right scope only', async () => {
    await using server = await wellServer()
    const { id } = server.orders.order({ job: 'backup', server: 'main', database: 'crm', trigger: 'schedule' })
    server.catalog.updateRun(id, { state: 'running', startedAt: server.clock.now() })
    await using visited = await visit(browser, server.url)
    const { page } = visited
    await page.click(`#cancel-${id}`)
    expect(await page.innerText('#order-title')).toBe('Cancel the backup of main/crm?')
    expect(await page.innerText('#order-scope')).toBe('backup')
    expect(await page.isVisible('#order-pick')).toBe(false)
    await page.fill('#order-token', tokens.drill)
    await page.click('#order-submit')
    await expect.poll(() => problem(page)).toContain('lacks the scope "backup"')
    expect(server.catalog.findRun(id)?.state).toBe('running')
    await page.fill('#order-token', tokens.backup)
    await page.click('#order-submit')
    await expect.poll(() => server.catalog.findRun(id)?.state).toBe('cancelled')
    await expect.poll(() => notice(page)).toContain('is cancelled')
  })

  it('read from elsewhere with a password - shows the page, and orders with a token of its own scope only', async () => {
    await using server = await wellServer()
    // As a proxy passes it on: nothing is open to it because it comes from this machine.
    const elsewhere = { extraHTTPHeaders: { 'x-forwarded-for': '203.0.113.7' } }
    const httpCredentials = { username: 'anybody', password: tokens.read }
    await using visited = await visit(browser, server.url, { ...elsewhere, httpCredentials })
    const { page } = visited
    expect(await page.innerText('h1')).toBe('All is well')
    await order(page, tokens.read)
    await expect.poll(() => problem(page)).toContain('lacks the scope "drill"')
    await page.fill('#order-token', tokens.drill)
    await page.click('#order-submit')
    await expect.poll(() => notice(page)).toBe('The drill of main/shop is ordered.')
    await expect.poll(() => page.textContent('#runs')).toContain('drill of main/shop')
  })

  it('keys alone - reach the drill button, order by it, and Escape leaves the form', async () => {
    await using server = await wellServer()
    await using visited = await visit(browser, server.url)
    const { page } = visited
    const focused = (): Promise<string> =>
      page.evaluate(
        'document.activeElement === document.body ? "" : document.activeElement.textContent + document.activeElement.id',
      )
    for (let count = 0; count < 60 && !(await focused()).includes('Drill a backup of main/shop'); count += 1)
      await page.keyboard.press('Tab')
    expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid')
    await page.keyboard.press('Enter')
    expect(await focused()).toBe('order-token')
    await page.keyboard.press('Escape')
    expect(await page.isVisible('#order')).toBe(false)
    expect(await focused()).toContain('Drill a backup of main/shop')
    await page.keyboard.press('Space')
    await page.keyboard.type(tokens.drill)
    await page.keyboard.press('Enter')
    await expect.poll(() => server.orders.taken).toEqual([{ ...shopDrill, wish: {} }])
  })
})

async function order(page: Page, token: string): Promise<void> {
  await page.locator('details.database', { hasText: 'main/shop' }).locator('button[data-drill]').click()
  await page.fill('#order-token', token)
  await page.click('#order-submit')
}

async function wellServer(): Promise<TestServer> {
  const parts = { planned: () => scheduleOf(healthy), ...keysUntil('2028-01-01T00:00:00Z') }
  return await startTestServer({ ...storeOf(healthy), parts })
}
