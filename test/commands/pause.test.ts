import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { chown } from 'node:fs/promises'
import { hostname, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder } from './cli.ts'

const me = `${userInfo().username}@${hostname()}`
const reason = ['--reason', 'move to the new rack']

/** What lies in `pauses/`, in the order in which it came. */
function stored(folder: CliFolder): Record<string, unknown>[] {
  const path = join(folder.path, 'store', 'pauses')
  const texts = readdirSync(path).map((name) => readFileSync(join(path, name), 'utf8'))
  const documents = texts.map((text) => JSON.parse(text) as Record<string, unknown>)
  return documents.toSorted((one, other) => String(one['kind']).localeCompare(String(other['kind'])))
}

describe('pause and resume', () => {
  it.skipIf(process.getuid?.() !== 0)(
    'by a user without a name, as in some containers - noted by the number',
    async () => {
      await using folder = await cliFolder(['app'])
      for (const name of ['pgproof.yaml', 'pub.asc', 'key.asc', 'store', 'store/pgproof.json', 'tmp'])
        await chown(join(folder.path, name), 54321, 54321)
      const command = [process.execPath, resolve('src/main.ts'), '--config', join(folder.path, 'pgproof.yaml')]
      const args = ['--reuid=54321', '--clear-groups', ...command, 'pause', '--for', '4h', ...reason]
      const { stdout } = await promisify(execFile)('setpriv', args, {
        cwd: folder.path,
        env: { PATH: '/usr/bin:/bin' },
      })
      expect(stdout).toContain(` by uid 54321@${hostname()}: move to the new rack`)
      expect(stored(folder)).toMatchObject([{ by: `uid 54321@${hostname()}` }])
    },
  )

  it('a database for a while - an object says so, status tells it, and a resume is another object', async () => {
    await using folder = await cliFolder(['app'])
    const paused = await folder.run(['pause', 'main/app', '--for', '4h', ...reason])
    expect(paused).toMatchObject({ code: 0, stderr: '' })
    expect(paused.stdout).toMatch(
      /^main\/app: backup, drill paused until \d{4}-\d\d-\d\d \d\d:\d\d UTC by .+: move to the new rack\. What runs goes on.*`pgproof resume main\/app`/,
    )
    const [document] = stored(folder)
    expect(document).toMatchObject({
      format: 1,
      kind: 'pause',
      server: 'main',
      database: 'app',
      jobs: ['backup', 'drill'],
      reason: 'move to the new rack',
      by: me,
    })
    expect(Date.parse(String(document?.['until'])) - Date.parse(String(document?.['since']))).toBe(4 * 3_600_000)
    const status = await folder.run(['status'])
    expect(status.stdout).toMatch(
      /What worries[\s\S]*main\/app: backup, drill paused until .* by .+: move to the new rack/,
    )
    expect((await folder.json(['status'])).document['pauses']).toMatchObject([{ database: 'app', by: me }])

    const resumed = await folder.run(['resume', 'main/app'])
    expect(resumed).toMatchObject({ code: 0, stderr: '' })
    expect(resumed.stdout).toMatch(/^Ended: main\/app: backup, drill paused until/)
    expect(stored(folder)).toMatchObject([document ?? {}, { kind: 'resume', ends: [document?.['label']], by: me }])
    expect((await folder.run(['status'])).stdout).not.toContain('paused')
    expect((await folder.run(['resume'])).stdout).toBe('Nothing of every server is paused.\n')
    expect(stored(folder)).toHaveLength(2)
  })

  it('everything, and one of the jobs only - as asked', async () => {
    await using folder = await cliFolder(['app'])
    const all = await folder.json(['pause', '--for', '1h', ...reason])
    expect(all.document['pause']).toMatchObject({ server: null, database: null, jobs: ['backup', 'roles', 'drill'] })
    const some = await folder.json(['pause', 'main', '--for', '1h', '--job', 'drill', '--job', 'roles', ...reason])
    expect(some.document['pause']).toMatchObject({ server: 'main', database: null, jobs: ['roles', 'drill'] })
  })

  it('a part of what is paused as a whole - not resumed: exit 2, and what to run instead', async () => {
    await using folder = await cliFolder(['app'])
    await folder.run(['pause', '--for', '1h', ...reason])
    const { code, stderr } = await folder.run(['resume', 'main/app'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/main\/app is still paused, with every server: .*\(`pgproof resume` ends that\)/)
    expect(stored(folder)).toHaveLength(1)
    expect((await folder.run(['resume'])).code).toBe(0)
  })

  it.each([
    ['no end', ['pause', ...reason], '--for'],
    ['no reason', ['pause', '--for', '1h'], '--reason'],
    ['more than 30 days', ['pause', '--for', '31d', ...reason], '30 days'],
    ['no time at all', ['pause', '--for', '0h', ...reason], '30 days'],
    ['no duration', ['pause', '--for', 'long', ...reason], '4h'],
    ['an empty reason', ['pause', '--for', '1h', '--reason', ' '], 'reason'],
    ['an unknown server', ['pause', 'nope', '--for', '1h', ...reason], 'nope'],
    ['a database that is not configured', ['pause', 'main/nope', '--for', '1h', ...reason], 'nope'],
    ['an unknown job', ['pause', '--for', '1h', '--job', 'prune', ...reason], 'prune'],
    ['the roles of a database', ['pause', 'main/app', '--for', '1h', '--job', 'roles', ...reason], 'roles'],
  ])('%s - exit 2, nothing is written', async (_, args, text) => {
    await using folder = await cliFolder(['app'])
    const { code, stderr } = await folder.run(args)
    expect(code).toBe(2)
    expect(stderr).toContain(text)
    expect(folder.objects()).toHaveLength(1)
  })
})
