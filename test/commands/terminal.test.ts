import { spawn } from 'node:child_process'
import { once } from 'node:events'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase } from '../support/installation.ts'
import { type CliFolder, cliFolder, waitFor } from './cli.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder

beforeAll(async () => {
  database = await testDatabase('template1')
  folder = await cliFolder([database.name])
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** Runs the command line on a real terminal (`script` of util-linux); what it showed so far, and its end. */
function onTerminal(
  args: readonly string[],
  env: Record<string, string> = {},
): { shown(): string; type(text: string): void; ended: Promise<unknown> } {
  const command = [process.execPath, 'src/main.ts', '--config', `${folder.path}/pgproof.yaml`, ...args].join(' ')
  const child = spawn('script', ['-qefc', `stty cols 100; exec ${command}`, '/dev/null'], {
    env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', HOME: folder.path, ...env },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  let shown = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
  })
  const ended = once(child, 'close').finally(() => child.stdin.destroy())
  return { shown: () => shown, type: (text) => child.stdin.write(text), ended }
}

describe('on a terminal', () => {
  it('a backup that waits for a lock - a line redrawn in place, gone when the backup is done', async () => {
    const holder = new pg.Client(database.url)
    await holder.connect()
    await holder.query('CREATE TABLE held (a int)')
    await holder.query('BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE')
    const { shown, ended } = onTerminal(['backup'])
    const line = `\r\u001b[2Kbackup of main/${database.name}: `
    await waitFor('three redrawn lines', () => shown().split(line).length > 3)
    await holder.end()
    await ended
    expect(shown()).toMatch(new RegExp(`${line.replaceAll(/[[\]]/g, '\\$&')}\\d+ s`))
    const end = shown().slice(shown().lastIndexOf('\u001b[2K') + 4)
    expect(end).toMatch(new RegExp(`^main/${database.name}  \\S+ .+\r\n$`))
  })

  it('Ctrl-C while a backup waits - said to be cancelling, with what a second one does; exit 130', async () => {
    const holder = new pg.Client(database.url)
    await holder.connect()
    await holder.query('CREATE TABLE locked (a int)')
    await holder.query('BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE')
    const { shown, type, ended } = onTerminal(['backup'])
    await waitFor('the progress', () => shown().includes(`backup of main/${database.name}: `))
    type('\u0003')
    expect(await ended).toEqual([130, null])
    await holder.end()
    expect(shown()).toContain('\r\ncancelling; once more ends at once\r\n')
    expect(folder.leftovers()).toEqual([])
  })

  it('colours for verdicts and errors - none with NO_COLOR, none with TERM=dumb', async () => {
    for (const [env, isColoured] of [
      [{}, true],
      [{ NO_COLOR: '1' }, false],
      [{ TERM: 'dumb' }, false],
    ] as const) {
      const { shown, ended } = onTerminal(['show', 'nothing'], env)
      await ended
      expect(shown()).toContain(isColoured ? '\u001b[31merror:\u001b[0m' : 'error: ')
      // Erasing a line is no colour.
      expect(shown().replaceAll('\u001b[2K', '').includes('\u001b[')).toBe(isColoured)
    }
  })
})
