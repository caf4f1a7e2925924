import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { type GuideInput, recoveryGuide } from '../../src/domain/recovery-guide.ts'
import { commandBlocks } from '../support/bare-machine.ts'

const object = { name: 'dump.zst.pgp', bytes: 1000, sha256: 'a'.repeat(64) }
const input: GuideInput = {
  kind: 'database',
  label: '20261120T020000Z-4f7k',
  server: 'main',
  database: 'shop',
  snapshotTime: '2026-11-20T02:00:00.000Z',
  source: { version: '15.18', major: 15, systemIdentifier: '1', isStandby: false, databaseBytes: 5e9 },
  dump: { bytes: 2000, sha256: 'b'.repeat(64), compression: 'zstd' },
  evidence: { level: 'digest', tables: 1, rows: 1 },
  omissions: [],
  rolePasswords: null,
  storeUrls: ['s3://backups/prod'],
  folder: 'backups/main/shop/20261120T020000Z-4f7k/',
  object,
  recipients: ['A'.repeat(40)],
  signer: null,
  properties: null,
}
const properties = {
  ...({ owner: 'o', encoding: 'UTF8', localeProvider: 'c', collate: 'C', ctype: 'C', locale: null } as const),
  ...{ icuRules: null, lcMonetary: 'C', bootstrapRole: 'postgres' },
}

/** Names that would break out of text, of a block, of a word or of an identifier. */
const awkward = [
  `it's "quoted"`,
  '$(touch pwned) `touch pwned` $HOME \\',
  'line\nbreak\n```\n# Heading\n```sh\ntouch pwned',
  '```',
  '-rf *; touch pwned #',
  'turned \u202e round\u2028',
  'naïve ☕',
]

describe('recovery guide', () => {
  it.each(awkward)(
    'a database and a server named %j - as many blocks as ever, each valid in bash, nothing run',
    (name) => {
      const plain = recoveryGuide({ ...input, properties })
      const guide = recoveryGuide({
        ...{ ...input, database: name, server: name, storeUrls: [`s3://backups/${name}`] },
        properties: { ...properties, collate: name, ctype: name, lcMonetary: name },
      })
      const blocks = commandBlocks(guide)
      // pg_restore cannot write down the settings of a database whose name has a line break.
      expect(blocks).toHaveLength(commandBlocks(plain).length - (name.includes('\n') ? 2 : 0))
      for (const block of blocks) execFileSync('bash', ['-n', '-c', block])
      expect(guide.split('\n').filter((line) => line.startsWith('#'))).toHaveLength(
        plain.split('\n').filter((line) => line.startsWith('#')).length,
      )
      expect(guide).not.toMatch(/[\u202e\u2028]/)
      const said = blocks.find((block) => block.includes('RENAME')) ?? ''
      const command = execFileSync('bash', ['-c', `psql() { printf %s "$3"; }; ${said}`]).toString()
      expect(command).toBe(`--command=ALTER DATABASE restored RENAME TO "${name.replaceAll('"', '""')}"`)
      const create = blocks.find((block) => block.includes('createdb')) ?? ''
      const words = execFileSync('bash', ['-c', `createdb() { printf '%s\\0' "$@"; }; ${create}`])
        .toString()
        .split('\0')
      expect(words).toContain(`--lc-collate=${name}`)
    },
  )

  it('signed, of an ICU database with rules, things left out - each said', () => {
    const guide = recoveryGuide({
      ...input,
      signer: 'B'.repeat(40),
      omissions: [{ kind: 'foreign data', objects: 2 }],
      properties: { ...properties, localeProvider: 'i', locale: 'de', icuRules: "& a < 'b'" },
    })
    expect(guide).toContain(
      `gpg --status-fd 1 --verify manifest.json.sig manifest.json | grep -E 'VALIDSIG .*${'B'.repeat(40)}'`,
    )
    expect(guide).toContain(`--locale-provider=icu --icu-locale='de' --icu-rules='& a < '\\''b'\\'''`)
    expect(guide).toContain('foreign data (2)')
    expect(recoveryGuide(input)).not.toContain('--verify')
  })

  it.each([
    ['C.UTF-8', "'C.UTF-8'"],
    [null, "'C'"],
  ])('of a database with the builtin provider, locale %j - made with it again', (locale, quoted) => {
    const guide = recoveryGuide({ ...input, properties: { ...properties, localeProvider: 'b', locale } })
    expect(guide).toContain(`--lc-ctype='C' --locale-provider=builtin --builtin-locale=${quoted} restored`)
  })

  it('a store in a directory, compressed by pg_dump - copied, and no zstd', () => {
    const guide = recoveryGuide({
      ...input,
      storeUrls: ['file:///mnt/my%20backups/'],
      dump: { ...input.dump, compression: 'gzip' },
    })
    expect(guide).toContain(`cp '/mnt/my backups/${input.folder}'* .`)
    expect(guide).not.toContain('zstd -d')
    expect(guide).not.toContain('aws')
  })

  it('roles whose passwords could not be read - it says so', () => {
    const roles = { ...input, kind: 'roles', database: null, rolePasswords: 'absent' } as const
    expect(recoveryGuide(roles)).toContain('set them anew')
    expect(recoveryGuide({ ...roles, rolePasswords: 'present' })).not.toContain('set them anew')
  })
})
