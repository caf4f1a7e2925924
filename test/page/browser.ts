import { accessSync, constants } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { delimiter, join } from 'node:path'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** A real Chromium from PATH. Throws, with what to install, where there is none: a page nobody looked at is not tested. */
export async function launchChromium(): Promise<Browser> {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const executablePath = names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable)
  if (executablePath === undefined)
    throw new Error(`the tests of the page need Chromium on PATH (${names.join(', ')}): apt-get install chromium`)
  // Chromium refuses its sandbox to root, as which containers run.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return await chromium.launch({ executablePath, args })
}

export type Visit = AsyncDisposable & {
  readonly page: Page
  readonly context: BrowserContext
  /** Errors on the console, thrown errors, violations of the policy, dialogs, and requests to anybody else. */
  readonly complaints: string[]
}

/** Opens the page in a browser without memory, and notes all that should never happen. */
export async function visit(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
  prepare: (page: Page) => Promise<void> = async () => {},
): Promise<Visit> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => complaints.push(`thrown: ${error.message}`))
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    const other = new URL(request.url())
    if (other.protocol !== 'data:' && other.origin !== new URL(url).origin)
      complaints.push(`request to ${other.origin}`)
  })
  await prepare(page)
  await page.goto(url)
  return { page, context, complaints, [Symbol.asyncDispose]: () => context.close() }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * What axe finds on the page as it is at each call, of what is serious. It is a script of its own, which the policy of the
 * page rightly refuses: visit with `bypassCSP`.
 */
export async function seriousViolations(page: Page): Promise<() => Promise<string[]>> {
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8'))
  return async () =>
    await page.evaluate(async () => {
      const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } }
      type Violation = { id: string; impact: string; nodes: { html: string }[] }
      const found = (await axe.run()).violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
      return found.map(({ id, nodes }) => {
        const places = nodes.slice(0, 5).map(({ html }) => html.slice(0, 200))
        return `${id}: ${places.join(' | ')}`
      })
    })
}
