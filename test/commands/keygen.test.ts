import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readPrivateKeys, readSigningKey } from '../../src/encryption/keys.ts'
import { canMount, inOwnMounts } from '../storage/own-mounts.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let folder: CliFolder
beforeAll(async () => {
  folder = await cliFolder(['shop'])
  const other = await generateKeyPair({ name: 'other', kind: 'ecc', use: 'backup', now: new Date() })
  await folder.write('two.asc', `${await readFile(file('pub.asc'), 'utf8')}\n${other.publicKey}`)
})
afterAll(() => folder[Symbol.asyncDispose]())

const file = (name: string): string => join(folder.path, name)

describe('keygen', () => {
  it('--with-escrow - an unprotected pair with a warning, private files for the owner only, lines to configure', async () => {
    const { code, stdout, stderr } = await folder.run(['keygen', '--out', 'plain', '--with-escrow'], { config: null })
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /^warning: no passphrase was given: whoever reads \S+backup\.key\.asc or \S+escrow\.key\.asc opens every backup \(--passphrase-file FILE /,
    )
    const modes = await Promise.all(
      ['pub', 'key', 'rev'].map(async (kind) =>
        ((await stat(file(`plain/backup.${kind}.asc`))).mode & 0o777).toString(8),
      ),
    )
    expect(modes).toEqual(['644', '600', '600'])
    const { fingerprints } = await readPrivateKeys([file('plain/backup.key.asc')], undefined, new Date())
    expect(stdout).toContain(`Fingerprint ${fingerprints[0]}, never expires, NO PASSPHRASE`)
    const recipients = ['plain/backup.pub.asc', 'plain/backup-escrow.pub.asc'].map(file)
    expect(stdout).toContain(`    recipients: [${recipients.join(', ')}]`)
    const escrow = await readPrivateKeys([file('plain/backup-escrow.key.asc')], undefined, new Date())
    expect(escrow.fingerprints).not.toEqual(fingerprints)
    const kit = await readFile(file('plain/backup.kit.md'), 'utf8')
    for (const fingerprint of [...fingerprints, ...escrow.fingerprints]) expect(kit).toContain(fingerprint)
    expect(kit).not.toContain('BEGIN PGP')
    expect(stdout).toContain(`    privateKeyFile: ${file('plain/backup.key.asc')}`)
  })

  it('a backup with that key - can be drilled with it', async () => {
    const { code, document } = await folder.json(['keygen', '--out', 'used', '--no-escrow', '--expires', '2y'], {
      config: null,
    })
    expect(code).toBe(0)
    expect(document).toMatchObject({ use: 'backup', kind: 'ecc', isProtected: false })
    const years = (Date.parse(String(document['expiresAt'])) - Date.now()) / (365 * 86_400_000)
    expect(years).toBeCloseTo(2, 1)
  })

  it('with a passphrase file - gpg demands the passphrase, which opens it', async () => {
    await folder.write('passphrase', 'correct horse\n')
    const args = ['keygen', '--name', 'locked', '--with-escrow', '--passphrase-file', 'passphrase']
    const { code, stdout, stderr } = await folder.run(args, { config: null })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('    passphraseFile: passphrase')
    expect(stdout).toMatch(/^Fingerprint \w+, never expires, with a passphrase$/m)
    await readPrivateKeys([file('locked-escrow.key.asc')], () => 'correct horse', new Date())
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

  it('no word about escrow - exit 2 that explains the three ways, no key made', async () => {
    const { code, stderr } = await folder.run(['keygen', '--out', 'undecided'], { config: null })
    expect(code).toBe(2)
    expect(stderr).toMatch(/--with-escrow \(.+\), --escrow FILE \(.+\) or --no-escrow \(.+\)$/m)
    expect(existsSync(file('undecided'))).toBe(false)
  })

  it('--no-escrow - made, with a plain warning of what it means', async () => {
    const { code, stdout, stderr } = await folder.run(['keygen', '--out', 'alone', '--no-escrow'], { config: null })
    expect(code).toBe(0)
    expect(stderr).toMatch(/^warning: without an escrow key, whoever loses \S+ or its passphrase loses every backup/m)
    expect(stdout).toContain(`    recipients: [${file('alone/backup.pub.asc')}]`)
  })

  it('--escrow with a public key - the second recipient; --kit says where the kit goes', async () => {
    const args = ['keygen', '--out', 'second', '--escrow', 'pub.asc', '--kit', 'second/page.md', '--json']
    const { code, stdout } = await folder.run(args, { config: null })
    expect(code).toBe(0)
    const { fingerprints } = await readPrivateKeys([file('key.asc')], undefined, new Date())
    expect(JSON.parse(stdout)).toMatchObject({
      escrow: { fingerprint: fingerprints[0], publicKey: file('pub.asc'), files: null },
      kitFile: file('second/page.md'),
    })
    expect(await readFile(file('second/page.md'), 'utf8')).toContain(fingerprints[0])
    expect((await readdir(file('second'))).toSorted()).toEqual([
      ...['backup.key.asc', 'backup.pub.asc', 'backup.rev.asc', 'page.md'],
    ])
  })

  it.each<[string, string[], number, string]>([
    ['a private key', ['--escrow', 'key.asc'], 2, 'is a private key, which has no place here'],
    ['a signing key', ['--escrow', 'signer/signing.pub.asc'], 13, 'it can only sign'],
    ['a file that is not there', ['--escrow', 'absent.asc'], 13, 'cannot read the key'],
    ['two ways at once', ['--with-escrow', '--escrow', 'pub.asc'], 2, 'have no meaning together'],
    ['a signing key’s own', ['--signing', '--with-escrow'], 2, '--with-escrow has no meaning with --signing'],
    ['two keys in one file', ['--escrow', 'two.asc'], 2, '--escrow must name one key; '],
    ['a kit of a signing key', ['--signing', '--kit', 'kit.md'], 2, '--kit has no meaning with --signing'],
    ['a kit below a file', ['--no-escrow', '--kit', 'pub.asc/kit.md'], 2, 'cannot write the keys: '],
    ['a kit that exists', ['--no-escrow', '--kit', 'pub.asc'], 2, 'pub.asc exists already'],
  ])('escrow: %s - refused, no key made', async (_what, args, exit, message) => {
    const { code, stderr } = await folder.run(['keygen', '--name', 'refused', ...args], { config: null })
    expect(code).toBe(exit)
    expect(stderr).toContain(message)
    for (const kind of ['pub', 'key', 'rev']) expect(existsSync(file(`refused.${kind}.asc`))).toBe(false)
  })

  it('a file that exists - exit 2, nothing overwritten, nothing added', async () => {
    await mkdir(file('taken'))
    await folder.write('taken/backup.rev.asc', 'precious')
    const { code, stderr } = await folder.run(['keygen', '--no-escrow', '--out', 'taken'], { config: null })
    expect(code).toBe(2)
    expect(stderr).toMatch(
      /^error: \S+backup\.rev\.asc exists already, and neither a key nor its kit is ever overwritten/,
    )
    expect(await readdir(file('taken'))).toEqual(['backup.rev.asc'])
    expect(await readFile(file('taken/backup.rev.asc'), 'utf8')).toBe('precious')
  })

  // Each file of a pair takes up a page of 4 KiB, so another one is the first for which there is no room.
  it.for([1, 2, 3])('a disk that is full after %i files - exit 2, none of them is left', async (files, { skip }) => {
    if (!(await canMount())) skip('this process may mount nothing')
    const home = file(`full-${files}`)
    await mkdir(join(home, 'disk'), { recursive: true })
    const told = await inOwnMounts(home, [
      `mount -t tmpfs -o size=${4 * files}k tmpfs disk`,
      `node '${resolve('src/main.ts')}' keygen --no-escrow --out disk 2>&1 || echo "exit $?"`,
      'ls -A disk',
    ])
    expect(told).toMatch(/^error: cannot write the keys: ENOSPC.*\n(?:hint: .*\n)?exit 2$/)
  })

  it('a file that comes in between - exit 2, it stays and nothing is added', async () => {
    await mkdir(file('between'))
    await symlink('nowhere', file('between/backup.rev.asc'))
    const { code, stderr } = await folder.run(['keygen', '--no-escrow', '--out', 'between'], { config: null })
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining('cannot write the keys: EEXIST'),
    })
    expect(await readdir(file('between'))).toEqual(['backup.rev.asc'])
  })

  it.each([
    ['a name that leaves the directory', ['--name', '../x'], '--name must be'],
    ['a validity without unit', ['--expires', '2'], '--expires must be'],
    ['a passphrase file that is not there', ['--passphrase-file', 'absent'], 'cannot read the passphrase file absent'],
    ['an empty passphrase file', ['--passphrase-file', 'empty'], 'is empty'],
    ['a directory below a file', ['--out', 'empty/below'], 'cannot write the keys'],
  ])('%s - exit 2, no key made', async (_what, args, message) => {
    await folder.write('empty', '')
    const { code, stdout, stderr } = await folder.run(['keygen', '--name', 'none', '--no-escrow', ...args], {
      config: null,
    })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
    expect(existsSync(file('none.key.asc'))).toBe(false)
  })
})
