import { describe, expect, it } from 'vitest'
import { type KitInput, recoveryKit } from '../../src/domain/recovery-kit.ts'

const first = '0123456789ABCDEF0123456789ABCDEF01234567'
const second = '89ABCDEF0123456789ABCDEF0123456789ABCDEF'
const bucket: KitInput = {
  madeAt: new Date('2026-11-21T02:00:00Z'),
  version: '1.2.3',
  store: {
    url: 's3://backups/prod',
    endpoint: 'https://s3.example.com',
    region: 'eu-central-1',
    provider: 'minio',
  },
  recipients: [
    { fingerprint: first, name: 'backup' },
    { fingerprint: second, name: 'escrow' },
  ],
  trustedSigners: [{ fingerprint: '00FF'.repeat(10), name: 'signing' }],
  servers: ['main'],
  keyFile: 'backup.key.asc',
}

const inputs: readonly (readonly [string, KitInput])[] = [
  ['a bucket with two recipients and a signer', bucket],
  ['a store that nobody has named yet', { ...bucket, store: null, trustedSigners: [], servers: [] }],
  [
    'a directory',
    {
      ...bucket,
      store: { url: 'file:///var/backups/pg%20proof', endpoint: undefined, region: undefined, provider: undefined },
    },
  ],
]

describe('recoveryKit', () => {
  it.each(inputs)('%s - one page: at most 60 lines of 80 columns', (_what, input) => {
    const lines = recoveryKit(input).split('\n')
    expect(lines.length).toBeLessThanOrEqual(60)
    expect(lines.filter((line) => line.length > 80)).toEqual([])
  })

  it('a bucket - address, fingerprints, version and date, and each command as it is typed', () => {
    const kit = recoveryKit(bucket)
    for (const part of ['2026-11-21', '1.2.3', first, second, '00FF'.repeat(10)]) expect(kit).toContain(part)
    expect(commandsOf(kit)).toEqual([
      'export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...',
      'set -- --store s3://backups/prod --endpoint https://s3.example.com --region eu-central-1 --provider minio --trusted-signer signing.pub.asc',
      'pgproof list "$@"',
      'pgproof verify LABEL "$@" --key backup.key.asc',
      'pgproof restore latest main/DATABASE "$@" --key backup.key.asc --create --roles --to postgres://postgres@HOST:5432/DATABASE',
      'aws s3 ls --recursive --endpoint-url https://s3.example.com --region eu-central-1 s3://backups/prod/ | grep RECOVERY.md',
      'aws s3 cp --endpoint-url https://s3.example.com --region eu-central-1 s3://backups/KEY .',
      'gpg --batch --import backup.key.asc',
    ])
  })

  it('a directory - no credentials, and its path as the shell takes it', () => {
    const commands = commandsOf(recoveryKit((inputs[2] as (typeof inputs)[number])[1]))
    expect(commands[0]).toBe('set -- --store file:///var/backups/pg%20proof --trusted-signer signing.pub.asc')
    expect(commands).toContain("find '/var/backups/pg proof' -name RECOVERY.md | sort")
    expect(commands.join('\n')).not.toMatch(/AWS|aws/)
  })

  it('a key and an address that hold what a shell or Markdown would obey - neither leaves its place', () => {
    const kit = recoveryKit({
      ...bucket,
      store: { url: "s3://backups/$(reboot)';id", endpoint: undefined, region: undefined, provider: undefined },
      recipients: [{ fingerprint: first, name: 'x`\n# pgproof restore\u202e' }],
      servers: ['my server'],
    })
    expect(kit).toContain(`--store 's3://backups/$(reboot)'\\'';id'`)
    expect(kit).toContain(`${first}  x??# pgproof restore?`)
    expect(kit).toContain("restore latest 'my server/DATABASE'")
  })
})

function commandsOf(kit: string): string[] {
  const lines = kit.replaceAll(/ \\\n +/g, ' ').split('\n')
  return lines.filter((line) => /^ {4}(export|set|pgproof|aws|gpg|find) /.test(line)).map((line) => line.trim())
}
