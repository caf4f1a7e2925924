import type { Browser, Page } from 'playwright-core'
import { beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from '../http/test-server.ts'
import { launchChromium, type Visit, visit } from './browser.ts'
import { healthy, keysUntil, scheduleOf, storeOf } from './store.ts'

describe('the page that stays open, in Chromium with a clock that the test moves', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launchChromium()
    return () => browser.close()
  })

  it('a run begins, goes on and fails - is on the page without being loaded anew, and the headline changes', async () => {
    await using server = await wellServer()
    await using visited = await open(browser, server)
    const { page, complaints } = visited
    const { id } = server.orders.order({ job: 'backup', server: 'main', database: 'crm', trigger: 'schedule' })
    const shown = (): Promise<string> => page.locator(`#run-${id}`).innerText()
    await page.clock.runFor(31_000)
    await expect.poll(shown).toContain('the next to start')
    const startedAt = server.clock.now()
    const progress = { dumpBytes: 5_000_000, tablesDone: 3, tablesTotal: 12 }
    server.catalog.updateRun(id, { state: 'running', startedAt, progress })
    await asTimePasses(page, shown).toContain('4.8 MiB dumped, 3 of 12 tables counted')
    expect(await page.locator(`#run-${id} progress`).getAttribute('value')).toBe('0.25')
    const error = { code: 'DUMP_FAILED', message: 'pg_dump failed', hint: 'Read its output in the log.' }
    server.catalog.updateRun(id, { state: 'failed', finishedAt: server.clock.now(), error })
    await asTimePasses(page, () => page.title()).toBe('1 thing needs you soon · pgproof')
    expect(await page.locator('.worries').innerText()).toContain('pg_dump failed')
    expect(await page.locator('#said').innerText()).toBe('1 thing needs you soon.')
    expect(complaints).toEqual([])
  })

  it('while it is renewed - what has the focus keeps it, what was unfolded stays so, what was folded does, too', async () => {
    await using server = await wellServer()
    await using visited = await open(browser, server)
    const { page } = visited
    const crm = page.locator('details.database', { hasText: 'main/crm' })
    const shop = page.locator('details.database', { hasText: 'main/shop' })
    await crm.locator('> summary').click()
    await shop.locator('summary', { hasText: 'as a table' }).click()
    await shop.locator('button[data-drill]').focus()
    const error = { code: 'DUMP_FAILED', message: 'pg_dump failed', hint: 'Read its output in the log.' }
    // It puts shop before crm, and a list of worries above both.
    const { id } = server.orders.order({ job: 'backup', server: 'main', database: 'shop', trigger: 'schedule' })
    server.catalog.updateRun(id, { state: 'failed', finishedAt: server.clock.now(), error })
    await page.clock.runFor(31_000)
    await expect.poll(() => page.locator('.worries').count()).toBe(1)
    expect(await page.locator('details.database h3').first().innerText()).toContain('main/shop')
    expect(await crm.getAttribute('open')).toBe(null)
    expect(await shop.getAttribute('open')).toBe('')
    expect(await shop.locator('details.table').getAttribute('open')).toBe('')
    expect(await page.evaluate('document.activeElement.textContent')).toContain('Drill a backup of main/shop')
  })

  it('the server no longer answers - says how old the page is, until it answers again', async () => {
    const server = await wellServer()
    await using visited = await open(browser, server)
    const { page } = visited
    await page.route('**/*', (route) => route.abort())
    await page.clock.runFor(200_000)
    await expect.poll(() => page.locator('#stale').innerText()).toMatch(/does not answer.* 3 minutes old/)
    await page.unroute('**/*')
    await asTimePasses(page, () => page.isVisible('#stale')).toBe(false)
    await server.close()
  })
})

/**
 * What is shown while the page's clock goes on, three seconds at a time. Until the answer that is on its way has come, the
 * page waits for no clock, so one step may be too early.
 */
function asTimePasses<Shown>(page: Page, shown: () => Promise<Shown>): ReturnType<typeof expect.poll<Shown>> {
  const look = async (): Promise<Shown> => {
    await page.clock.runFor(3100)
    return await shown()
  }
  return expect.poll(look, { timeout: 20_000 })
}

async function open(browser: Browser, server: TestServer): Promise<Visit> {
  return await visit(browser, server.url, {}, (page) => page.clock.install())
}

async function wellServer(): Promise<TestServer> {
  const parts = { planned: () => scheduleOf(healthy), ...keysUntil('2028-01-01T00:00:00Z') }
  return await startTestServer({ ...storeOf(healthy), parts })
}
