import type { Browser } from 'playwright-core'
import { beforeAll, describe, expect, it } from 'vitest'
import type { TestServer } from '../http/test-server.ts'
import { launchChromium, seriousViolations, visit } from './browser.ts'
import { fleetServer, manyStories } from './many.ts'

const phone = { width: 360, height: 740 }
const desktop = { width: 1280, height: 900 }
/** A page of 300 databases is a second's work for a browser that shares two processors with other tests. */
const eventually = { timeout: 30_000 }
const bad = '/?server=pg-01&database=tenant_200'

describe('the page in Chromium, with a fleet and 300 databases of 30 backups each', () => {
  let browser: Browser
  let server: TestServer

  beforeAll(async () => {
    browser = await launchChromium()
    server = await fleetServer(manyStories)
    expect(server.catalog.backups()).toHaveLength(9001)
    return async () => {
      await browser.close()
      await server.close()
    }
  }, 120_000)

  it('is light: no calendar of each database, a few runs of those that wait', async () => {
    const { text } = await server.call('GET', '/')
    expect(text.length).toBeLessThan(450_000)
    expect(text.match(/<table class="calendar"/g)).toBeNull()
    const part = (await server.call('GET', '/?part=runs')).text
    expect(part.length).toBeLessThan(10_000)
    expect(part).toContain('And 54 more runs: 48 backups, 6 drills.')
    await using visited = await visit(browser, server.url, { viewport: desktop })
    expect(await visited.page.locator('*').count()).toBeLessThan(8_000)
    expect(visited.complaints).toEqual([])
  })

  it('each server is a line; one with worries comes first, is open, and shows those that have them alone', async () => {
    await using visited = await visit(browser, server.url, { viewport: desktop })
    const { page } = visited
    expect(await page.locator('details.server').count()).toBe(10)
    const first = page.locator('details.server').first()
    expect(await page.locator('details.server[open]').count()).toBe(1)
    expect(await first.locator('> summary').innerText()).toMatch(/pg-01 30 databases.*1 needs you now.*29 well/s)
    expect(await first.locator('> .rows > li').count()).toBe(1)
    expect(await first.locator('> .rows > li').innerText()).toContain('tenant_200')
    expect(await page.locator('.rows > li:visible').count()).toBe(1)
  })

  it('by the keyboard - to a server, unfolded by Enter, and on to the page of a database and back', async () => {
    await using visited = await visit(browser, server.url, { viewport: desktop })
    const { page, complaints } = visited
    const second = page.locator('details.server').nth(1)
    await second.locator('> summary').focus()
    await page.keyboard.press('Enter')
    await expect.poll(() => second.getAttribute('open')).toBe('')
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.textContent')).toBe('tenant_001')
    await page.keyboard.press('Enter')
    await page.waitForURL(/database=tenant_001/)
    await expect.poll(() => page.locator('.banner').innerText(), eventually).toContain('pg-02/tenant_001')
    expect(await page.locator('table.calendar').count()).toBe(1)
    await page.locator('nav a').focus()
    await page.keyboard.press('Enter')
    await expect.poll(() => page.locator('details.server').count(), eventually).toBe(10)
    expect(complaints).toEqual([])
  })

  it('without JavaScript - a worry leads to the page of its database, which has its calendar and restore times', async () => {
    await using visited = await visit(browser, server.url, { javaScriptEnabled: false, viewport: phone })
    const { page, complaints } = visited
    await page.locator('.worries a').first().click()
    const shown = await page.locator('body').innerText()
    for (const words of ['1 thing needs you now', 'pg-01/tenant_200', 'Backups by day and verdict', 'Restore time'])
      expect(shown).toContain(words)
    expect(shown).not.toContain('tenant_201')
    expect(complaints).toEqual([])
  })

  it('the page of a database is kept fresh as itself, not by the page of all', async () => {
    await using own = await fleetServer(manyStories.slice(0, 70))
    const path = '/?server=pg-03&database=tenant_002'
    await using visited = await visit(browser, own.url + path, {}, async (page) => page.clock.install())
    const { page } = visited
    const run = own.catalog.runs().find(({ database }) => database === 'tenant_002')
    own.catalog.updateRun(run?.id ?? '', {
      state: 'running',
      worker: 'eu-1',
      startedAt: new Date('2026-11-20T12:00:00Z'),
    })
    await page.clock.runFor(3_500)
    await expect.poll(() => page.locator('#runs').innerText(), eventually).toContain('on eu-1')
    await expect.poll(() => page.locator('.banner').innerText()).toContain('pg-03/tenant_002')
    expect(await page.locator('#runs li').count()).toBe(1)
  })

  it.each([
    ['phone', 'light', phone],
    ['phone', 'dark', phone],
    ['desktop', 'light', desktop],
    ['desktop', 'dark', desktop],
  ] as const)(
    'on a %s, %s - axe finds nothing serious, and nothing is beside the screen',
    async (_, colorScheme, viewport) => {
      for (const path of ['/', bad]) {
        await using visited = await visit(browser, server.url + path, { colorScheme, viewport, bypassCSP: true })
        const { page } = visited
        await page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(viewport.width)
        const violations = await seriousViolations(page)
        expect(await violations()).toEqual([])
      }
    },
    120_000,
  )
})
