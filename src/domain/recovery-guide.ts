import type { Evidence } from './evidence.ts'
import type { Manifest, StoredObject } from './manifest.ts'

/** What a recovery guide is made from. No secret can get in: there is no field for one. */
export type GuideInput = Pick<
  Manifest,
  'kind' | 'label' | 'server' | 'database' | 'snapshotTime' | 'source' | 'dump'
> & {
  /** Address of the store, and the backup's folder in it. */
  readonly storeUrl: string
  readonly folder: string
  readonly object: StoredObject
  readonly recipients: readonly string[]
  readonly properties: Evidence['properties'] | null
}

/** RECOVERY.md: how to restore this backup on a machine that has never seen pgproof. */
export function recoveryGuide(input: GuideInput): string {
  return input.kind === 'roles' ? rolesGuide(input) : databaseGuide(input)
}

function databaseGuide(input: GuideInput): string {
  const file = input.object.name
  const opened =
    input.dump.compression === 'zstd'
      ? `set -o pipefail
gpg --decrypt ${file} | zstd -d > dump`
      : `gpg --decrypt ${file} > dump`
  return `# Restore ${shown(input.database ?? '')} as of ${input.snapshotTime}

${opening(input)}
## 2. Open it

\`\`\`sh
${opened}
\`\`\`

This must end with exit code 0 (in bash, where \`pipefail\` counts gpg's too); a message that was cut or changed ends with an
error, and what came out is then worthless.

## 3. Restore the roles first

Owners and grants need the roles. Take the newest roles backup of server ${shown(input.server)} under \`roles/\` in the same store; its own
RECOVERY.md says how. Without them add \`--no-owner --no-privileges\` in the next step.

## 4. Restore

${toolLine(input, 'pg_restore')}

\`\`\`sh
${createDatabase(input)}
pg_restore --exit-on-error --jobs=4 --section=pre-data --section=data --dbname=restored dump
pg_restore --exit-on-error --jobs=4 --section=post-data --dbname=restored dump
psql --dbname=restored --command='ANALYZE'
\`\`\`

Two steps, because parallel jobs may otherwise make triggers while rows are still coming in. With \`deadlock detected\` drop the
database and begin again with \`--jobs=1\`.

## 5. Compare

\`evidence.json.pgp\` beside the dump in the store (fetch it likewise, \`gpg --decrypt evidence.json.pgp\`) lists each table with the exact number of rows that it
held at ${input.snapshotTime}. Subscriptions are restored disabled; sequences and large objects are inside the dump.
`
}

function rolesGuide(input: GuideInput): string {
  return `# Restore the roles of server ${shown(input.server)} as of ${input.snapshotTime}

${opening(input)}
## 2. Open it

\`\`\`sh
gpg --decrypt ${input.object.name} > roles.sql
\`\`\`

The file holds password verifiers: keep it private, delete it afterwards. An error for a role that exists already is normal.

## 3. Replay

${toolLine(input, 'psql')} Use a psql with the fix for CVE-2026-18408 (18.6, 17.11, 16.15, 15.19, 14.24 or later).

\`\`\`sh
psql -X --dbname=postgres --file=roles.sql
rm roles.sql
\`\`\`
`
}

function opening(input: GuideInput): string {
  const { object } = input
  return `Backup \`${input.label}\`, taken by pgproof from PostgreSQL ${input.source.version}. Nothing here needs pgproof: \`gpg\`, \`zstd\` and PostgreSQL's own
programs are enough. The private key is not in this store; it belongs to one of these OpenPGP fingerprints:

${input.recipients.map((fingerprint) => `- \`${fingerprint}\``).join('\n')}

## 1. Fetch and check

${fetching(input)}

\`\`\`sh
echo '${object.sha256}  ${object.name}' | sha256sum --check
\`\`\`

The private key must be in gpg's keyring once: \`gpg --import backup.key.asc\` (or whatever its file is called).
`
}

function fetching(input: GuideInput): string {
  const address = `${input.storeUrl.replace(/\/$/, '')}/${input.folder}${input.object.name}`
  if (input.storeUrl.startsWith('file:')) return `\`\`\`sh\ncp '${address.replace(/^file:\/\//, '')}' .\n\`\`\``
  return `With any S3 client, for example (add \`--endpoint-url\` for a store that is not AWS):

\`\`\`sh
aws s3 cp '${address}' .
\`\`\``
}

function createDatabase({ properties }: GuideInput): string {
  if (properties === null) return 'createdb --template=template0 restored'
  const locale = [
    `--encoding=${quoted(properties.encoding)}`,
    `--lc-collate=${quoted(properties.collate)}`,
    `--lc-ctype=${quoted(properties.ctype)}`,
  ]
  if (properties.localeProvider === 'i')
    locale.push('--locale-provider=icu', `--icu-locale=${quoted(properties.locale ?? 'und')}`)
  if (properties.localeProvider === 'b')
    locale.push('--locale-provider=builtin', `--builtin-locale=${quoted(properties.locale ?? 'C')}`)
  return `createdb --template=template0 ${locale.join(' ')} restored`
}

function toolLine({ source }: GuideInput, program: string): string {
  return `Use \`${program}\` of PostgreSQL ${source.major} or newer, into a server of major ${source.major} or newer.`
}

/** A name inside Markdown text: no line break or back-tick can leave its place. */
function shown(name: string): string {
  return `\`${name.replaceAll(/[`\p{Cc}]/gu, '?')}\``
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`
}
