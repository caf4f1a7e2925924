import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { testDatabase } from '../support/installation.ts'
import { type CliFolder, cliFolder, waitFor } from './cli.ts'

const passphrase = 'correct horsé'
let database: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder
let label = ''

beforeAll(async () => {
  database = await testDatabase('template1')
  folder = await cliFolder([database.name])
  const locked = await generateKeyPair({ name: 'locked', kind: 'ecc', use: 'backup', passphrase, now: new Date() })
  await folder.write('locked.pub.asc', locked.publicKey)
  await folder.write('locked.key.asc', locked.privateKey)
  await folder.configure({ encryption: { recipients: ['locked.pub.asc'], privateKeyFile: 'locked.key.asc' } })
  label = String((await folder.json(['backup'])).document['runs']?.[0]?.['label'])
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** Somebody at a terminal (`script` of util-linux): what it showed so far, what is typed, and the exit code. */
function atTerminal(args: readonly string[]): {
  shown(): string
  type(text: string): void
  ended: Promise<number | null>
} {
  const command = [process.execPath, 'src/main.ts', ...args].join(' ')
  const child = spawn('script', ['-qefc', `stty cols 200; ${command}`, '/dev/null'], {
    env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', HOME: folder.path },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  let shown = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
  })
  const ended = once(child, 'close').then(([code]) => {
    child.stdin.destroy()
    return code as number | null
  })
  return { shown: () => shown, type: (text) => child.stdin.write(text), ended }
}

const question = 'Passphrase for '
const asked = (shown: string): number => shown.split(question).length - 1
const configured = (): string[] => ['--config', `${folder.path}/pgproof.yaml`]

describe('a locked key, no passphrase file, and a terminal', () => {
  it('the right passphrase - asked once by path, nothing of it shown, the job done', async () => {
    const { shown, type, ended } = atTerminal([...configured(), 'verify', label])
    await waitFor('the question', () => asked(shown()) === 1)
    expect(shown()).toContain(`${question}${folder.path}/locked.key.asc: `)
    // A slip of the keyboard, an arrow key, and a line taken back.
    type(`wrong\u0015xy\u007f\u007f\u001b[D${passphrase}\r`)
    expect(await ended).toBe(0)
    expect(shown()).toContain('PASSED')
    expect(asked(shown())).toBe(1)
    for (const piece of ['wrong', 'xy', 'horse', 'hors']) expect(shown()).not.toContain(piece)
  })

  it('a locked signing key and backups of two databases - asked once for both', async () => {
    await using other = await testDatabase('template1')
    await using signing = await cliFolder([database.name, other.name])
    const key = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', passphrase, now: new Date() })
    await signing.write('signer.key.asc', key.privateKey)
    await signing.configure({ encryption: { recipients: ['pub.asc'], signingKeyFile: 'signer.key.asc' } })
    const { shown, type, ended } = atTerminal(['--config', `${signing.path}/pgproof.yaml`, 'backup'])
    await waitFor('the question', () => asked(shown()) === 1)
    type(`${passphrase}\r`)
    expect(await ended).toBe(0)
    expect(asked(shown())).toBe(1)
    expect(signing.objects().filter((name) => name.endsWith('/manifest.json.sig'))).toHaveLength(2)
  })

  it('with --store and --key, wrong once - asked again, then right', async () => {
    const args = ['show', label, '--store', `${folder.path}/store`, '--key', `${folder.path}/locked.key.asc`]
    const { shown, type, ended } = atTerminal(args)
    await waitFor('the question', () => asked(shown()) === 1)
    type('wrong\n')
    await waitFor('the second question', () => asked(shown()) === 2)
    type(`${passphrase}\n`)
    expect(await ended).toBe(0)
    expect(shown()).toContain('That is not its passphrase.')
    expect(shown()).not.toContain('can be shown with --key')
  })

  it('wrong three times - exit 13', async () => {
    const { shown, type, ended } = atTerminal([...configured(), 'verify', label])
    for (const count of [1, 2, 3]) {
      await waitFor(`question ${count}`, () => asked(shown()) === count)
      type('wrong\r')
    }
    expect(await ended).toBe(13)
    expect(asked(shown())).toBe(3)
    expect(shown()).toContain('the passphrase does not open the key')
  })

  it('during a drill, whose progress would be redrawn - the question stays, the drill goes on', async () => {
    const { shown, type, ended } = atTerminal([...configured(), 'drill'])
    await waitFor('the question', () => asked(shown()) === 1)
    type(`${passphrase}\r`)
    expect(await ended).toBe(0)
    expect(shown()).toContain('PASSED')
  })

  it.each([
    ['Ctrl-C', '\u0003'],
    ['Ctrl-D', '\u0004'],
  ])('%s - exit 130, and the terminal shows what is typed again', async (_what, key) => {
    const { shown, type, ended } = atTerminal([...configured(), 'verify', label, '; code=$?; stty -a; exit $code'])
    await waitFor('the question', () => asked(shown()) === 1)
    type(`nothing seen${key}`)
    expect(await ended).toBe(130)
    expect(shown()).not.toContain('seen')
    expect(shown()).toMatch(/ echo /)
    expect(shown()).toMatch(/ icanon /)
  })

  it('stdin is no terminal - not asked, exit 13 that names the flag', async () => {
    const { code, stderr } = await folder.run(['verify', label])
    expect(code).toBe(13)
    expect(stderr).toContain('encryption.passphraseFile, which is not given')
    expect(stderr).toContain('--passphrase-file')
  })
})
