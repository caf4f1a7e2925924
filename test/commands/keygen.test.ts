import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readPrivateKeys, readSigningKey } from '../../src/encryption/keys.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let folder: CliFolder
beforeAll(async () => {
  folder = await cliFolder(['shop'])
})
afterAll(() => folder[Symbol.asyncDispose]())

const file = (name: string): string => join(folder.path, name)

describe('keygen', () => {
  it('without anything - an unprotected pair with a warning, private files for the owner only, lines to configure', async () => {
    const { code, stdout, stderr } = await folder.run(['keygen', '--out', 'plain'], { config: null })
    expect(code).toBe(0)
    expect(stderr).toMatch(/^warning: \S+backup\.key\.asc is not protected by a passphrase/)
    const modes = await Promise.all(
      ['pub', 'key', 'rev'].map(async (kind) =>
        ((await stat(file(`plain/backup.${kind}.asc`))).mode & 0o777).toString(8),
      ),
    )
    expect(modes).toEqual(['644', '600', '600'])
    const { fingerprints } = await readPrivateKeys([file('plain/backup.key.asc')], undefined, new Date())
    expect(stdout).toContain(`Fingerprint ${fingerprints[0]}, never expires`)
    expect(stdout).toContain(`    recipients: [${file('plain/backup.pub.asc')}]`)
    expect(stdout).toContain(`    privateKeyFile: ${file('plain/backup.key.asc')}`)
  })

  it('a backup with that key - can be drilled with it', async () => {
    const { code, document } = await folder.json(['keygen', '--out', 'used', '--expires', '2y'], { config: null })
    expect(code).toBe(0)
    expect(document).toMatchObject({ use: 'backup', kind: 'ecc', isProtected: false })
    const years = (Date.parse(String(document['expiresAt'])) - Date.now()) / (365 * 86_400_000)
    expect(years).toBeCloseTo(2, 1)
  })

  it('with a passphrase file - gpg demands the passphrase, which opens it', async () => {
    await folder.write('passphrase', 'correct horse\n')
    const args = ['keygen', '--name', 'locked', '--passphrase-file', 'passphrase']
    const { code, stdout, stderr } = await folder.run(args, { config: null })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('    passphraseFile: passphrase')
    const key = file('locked.key.asc')
    await expect(readPrivateKeys([key], undefined, new Date())).rejects.toMatchObject({ code: 'KEY_NEEDED' })
    await expect(readPrivateKeys([key], () => 'wrong', new Date())).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' })
    await readPrivateKeys([key], () => 'correct horse\n', new Date())
    await mkdir(file('gnupg'), { mode: 0o700 })
    const gpg = ['--homedir', file('gnupg'), '--batch', '--show-keys', '--with-colons', file('locked.pub.asc')]
    const { stdout: shown } = await promisify(execFile)('gpg', gpg)
    expect(shown).toContain('locked')
  })

  it('--signing - a key that signs, and the lines for it', async () => {
    const { code, stdout } = await folder.run(['keygen', '--signing', '--out', 'signer'], { config: null })
    expect(code).toBe(0)
    expect(stdout).toContain(`    signingKeyFile: ${file('signer/signing.key.asc')}`)
    expect(stdout).toContain(`    trustedSigners: [${file('signer/signing.pub.asc')}]`)
    await readSigningKey(file('signer/signing.key.asc'), undefined, new Date())
  })

  it('a file that exists - exit 2, nothing overwritten, nothing added', async () => {
    await mkdir(file('taken'))
    await folder.write('taken/backup.rev.asc', 'precious')
    const { code, stderr } = await folder.run(['keygen', '--out', 'taken'], { config: null })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: \S+backup\.rev\.asc exists already, and a key is never overwritten/)
    expect(await readdir(file('taken'))).toEqual(['backup.rev.asc'])
    expect(await readFile(file('taken/backup.rev.asc'), 'utf8')).toBe('precious')
  })

  it.each([
    ['a name that leaves the directory', ['--name', '../x'], '--name must be'],
    ['a validity without unit', ['--expires', '2'], '--expires must be'],
    ['a passphrase file that is not there', ['--passphrase-file', 'absent'], 'cannot read the passphrase file absent'],
    ['an empty passphrase file', ['--passphrase-file', 'empty'], 'is empty'],
    ['a directory below a file', ['--out', 'empty/below'], 'cannot write the keys'],
  ])('%s - exit 2, no key made', async (_what, args, message) => {
    await folder.write('empty', '')
    const { code, stdout, stderr } = await folder.run(['keygen', '--name', 'none', ...args], { config: null })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
    expect(existsSync(file('none.key.asc'))).toBe(false)
  })
})
