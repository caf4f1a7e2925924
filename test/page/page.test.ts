import type { Browser, Page } from 'playwright-core'
import { beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from '../http/test-server.ts'
import { launchChromium, seriousViolations, visit } from './browser.ts'
import { healthy, hostileName, keysUntil, scheduleOf, storeOf, troubled } from './store.ts'

const phone = { width: 390, height: 844 }
const narrow = { width: 360, height: 740 }
const desktop = { width: 1280, height: 900 }

describe('the page in Chromium, with a store of 300 backups', () => {
  let browser: Browser
  let server: TestServer

  beforeAll(async () => {
    browser = await launchChromium()
    server = await busyServer()
    expect(server.catalog.backups()).toHaveLength(300)
    return async () => {
      await browser.close()
      await server.close()
    }
  })

  it.each([
    ['phone', 'light', phone],
    ['phone', 'dark', phone],
    ['desktop', 'light', desktop],
    ['desktop', 'dark', desktop],
  ] as const)(
    'on a %s, %s - axe finds nothing serious, folded, unfolded, or with the form open',
    async (_, colorScheme, viewport) => {
      await using visited = await visit(browser, server.url, { colorScheme, viewport, bypassCSP: true })
      const { page } = visited
      const violations = await seriousViolations(page)
      expect(await violations()).toEqual([])
      await unfold(page)
      expect(await violations()).toEqual([])
      await page.locator('button[data-drill]').first().click()
      expect(await violations()).toEqual([])
    },
  )

  it.each([narrow, phone, desktop])(
    '$width pixels wide - nothing is beside the screen, nothing complains',
    async (viewport) => {
      await using visited = await visit(browser, server.url, { viewport })
      const { page, complaints } = visited
      const width = (): Promise<number> => page.evaluate('document.documentElement.scrollWidth')
      expect(await width()).toBeLessThanOrEqual(viewport.width)
      await unfold(page)
      expect(await width()).toBeLessThanOrEqual(viewport.width)
      expect(complaints).toEqual([])
    },
  )

  it('the sign in the tab, the style and the script - are let through by the policy', async () => {
    await using visited = await visit(browser, server.url)
    const { page, complaints } = visited
    await expect.poll(() => page.evaluate('document.documentElement.className')).toBe('js')
    expect(await page.evaluate("getComputedStyle(document.querySelector('.banner')).borderRadius")).toBe('12px')
    expect(await page.title()).toBe('5 things need you now · pgproof')
    expect(complaints).toEqual([])
  })

  it('a database that is named to do harm - is shown, does nothing, and can be drilled by its button', async () => {
    await using own = await busyServer()
    await using visited = await visit(browser, own.url)
    const { page, complaints } = visited
    const row = page.locator('details.database', { hasText: '<script>alert(1)</script>"\'&⟨U+202E⟩gpj.⟨U+000D⟩xxx' })
    await row.locator('summary').first().click()
    await row.locator('button[data-drill]').click()
    await page.fill('#order-token', 'token-of-driller')
    await page.click('#order-submit')
    await expect.poll(() => own.orders.taken.at(-1)?.database).toBe(hostileName)
    await expect.poll(() => page.textContent('#notice')).toContain('is ordered')
    expect(await page.locator('main script, main img').count()).toBe(0)
    expect(complaints).toEqual([])
  })

  it('without JavaScript - everything can be read and unfolded, and nothing is offered that would not work', async () => {
    await using visited = await visit(browser, server.url, { javaScriptEnabled: false, viewport: phone })
    const { page, complaints } = visited
    await unfold(page)
    const shown = await page.locator('body').innerText()
    for (const words of ['5 things need you now', 'main/billing', 'Backups by day and verdict', 'Restore time', 'Keys'])
      expect(shown).toContain(words)
    expect(await page.locator('button:visible').count()).toBe(0)
    expect(await page.locator('progress:visible').count()).toBe(2)
    expect(complaints).toEqual([])
  })

  it('fifty databases - a line each, those with worries first, and the rest folded away', async () => {
    const stories = Array.from({ length: 50 }, (_, index) => ({
      ...{ database: `tenant${index}`, backups: 14, drillEvery: 7 },
      ageHours: index === 41 ? 50 : 5,
    }))
    await using many = await startTestServer({ ...storeOf(stories), parts: { planned: () => scheduleOf(stories) } })
    await using visited = await visit(browser, many.url, { viewport: desktop })
    const { page } = visited
    expect(await page.locator('details.database').count()).toBe(50)
    expect(await page.locator('details.database[open]').count()).toBe(0)
    expect(await page.locator('details.database h3').first().innerText()).toContain('main/tenant41')
    await page.locator('.worries a').first().click()
    await expect.poll(() => page.locator('details.database[open] h3').innerText()).toContain('main/tenant41')
  })

  it('everything is as it should be - says that all is well', async () => {
    const parts = { planned: () => scheduleOf(healthy), ...keysUntil('2028-01-01T00:00:00Z') }
    await using well = await startTestServer({ ...storeOf(healthy), parts })
    await using visited = await visit(browser, well.url, { viewport: phone })
    expect(await visited.page.locator('h1').innerText()).toBe('All is well')
    expect(await visited.page.locator('.worries').count()).toBe(0)
  })
})

/** From the outside to the inside, as a person does it. */
async function unfold(page: Page): Promise<void> {
  const folded = page.locator('main details:not([open]) > summary:visible')
  while ((await folded.count()) > 0) await folded.first().click()
}

/** With trouble of every kind, and with runs that go on and wait. */
async function busyServer(): Promise<TestServer> {
  const planned = scheduleOf(troubled, new Date('2026-11-22T12:00:00Z'))
  const server = await startTestServer({
    ...storeOf(troubled),
    parts: { planned: () => planned, ...keysUntil('2026-12-02T00:00:00Z') },
  })
  const { orders, catalog } = server
  const order = (job: 'backup' | 'drill', database: string) =>
    orders.order({ job, server: 'main', database, trigger: 'schedule' }).id
  const startedAt = new Date('2026-11-20T11:56:00Z')
  const progress = { phase: 'fetch', doneBytes: 1_500_000_000, totalBytes: 3_000_000_000 }
  catalog.updateRun(order('drill', 'shop'), { state: 'running', startedAt, progress })
  catalog.updateRun(order('backup', 'crm'), { state: 'running', startedAt, progress: { dumpBytes: 812_000_000 } })
  order('drill', 'wiki')
  const error = {
    code: 'CONNECTION_FAILED',
    message: 'the server refused the connection',
    hint: 'Look at `pg_hba.conf`.',
  }
  const finishedAt = new Date('2026-11-20T03:10:00Z')
  catalog.updateRun(order('backup', 'analytics'), { state: 'failed', finishedAt, error })
  return server
}
