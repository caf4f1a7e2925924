import type { Evidence } from './evidence.ts'
import type { Manifest, StoredObject } from './manifest.ts'
import { compareSql } from './recovery-sql.ts'

/** What a recovery guide is made from. No secret can get in: there is no field for one. */
export type GuideInput = Pick<
  Manifest,
  | 'kind'
  | 'label'
  | 'server'
  | 'database'
  | 'snapshotTime'
  | 'source'
  | 'dump'
  | 'evidence'
  | 'omissions'
  | 'rolePasswords'
> & {
  /** Addresses of the stores that hold it, and the backup's folder in each. */
  readonly storeUrls: readonly string[]
  readonly folder: string
  readonly object: StoredObject
  readonly recipients: readonly string[]
  /** Fingerprint of the key that signs the manifest; null if none does. */
  readonly signer: string | null
  readonly properties: Evidence['properties'] | null
}

/** RECOVERY.md: how to restore this backup on a machine that has never seen pgproof. */
export function recoveryGuide(input: GuideInput): string {
  return input.kind === 'roles' ? rolesGuide(input) : databaseGuide(input)
}

function databaseGuide(input: GuideInput): string {
  const name = input.database ?? ''
  return `# Restore ${shown(name)} as of ${input.snapshotTime}

${opening(input)}
## 3. Open it

${block(`${opened(input)} &&\n  gpg --decrypt evidence.json.pgp > evidence.json`)}

## 4. Roles first

Owners and grants need the roles: take the newest backup of roles in \`roles/\` beside \`backups/\`, of server ${shown(input.server)}; its
own RECOVERY.md says how. There is none, or you do not want them? Then say \`owners=(--no-owner --no-privileges)\` here; roles that
policies (row security) or user mappings name are needed all the same, \`CREATE ROLE\` makes them:

${block('owners=()')}

## 5. Restore

Into a new database called \`restored\`, so nothing that exists is touched. Change the address to that of your server; a password
belongs in \`~/.pgpass\` or \`PGPASSWORD\`.

${block(`export PGHOST=127.0.0.1 PGPORT=5432 PGUSER=postgres\n${createDatabase(input)}`)}

All rows come first, then the indexes, then constraints and triggers one after the other, because parallel jobs would lock each
other out; materialized views are filled after that, and event triggers come last: they would write down what the restore does.
\`--no-tablespaces\` puts everything into the default one; leave it out if this server has the tablespaces.

${block(`${money(input)}restore() { pg_restore "\${owners[@]}" --no-tablespaces --dbname=restored "$@" dump; }
index='^[0-9]+; (1259 [0-9]+ INDEX|2606 [0-9]+ CONSTRAINT) '
refresh='^[0-9]+; 0 [0-9]+ MATERIALIZED VIEW DATA '
event='^[0-9]+; (3466 [0-9]+ |0 0 (COMMENT|SECURITY LABEL) - EVENT TRIGGER )'
pg_restore --list dump > all.list &&
  sed -nE "/$index/p" all.list > index.list &&
  sed -E "/$index|$refresh|$event/d" all.list > other.list &&
  sed -nE "/$refresh/p" all.list > refresh.list &&
  sed -nE "/$event/p" all.list > last.list &&
  restore --exit-on-error --jobs=4 --section=pre-data --section=data --use-list=other.list &&
  restore --exit-on-error --jobs=4 --use-list=index.list &&
  restore --exit-on-error --section=post-data --use-list=other.list`)}

${block('restore --use-list=refresh.list')}

An error of this one block is no reason to stop: a view that reads another server stays empty until \`REFRESH MATERIALIZED VIEW\`.

${block(`restore --exit-on-error --use-list=last.list && psql -X --dbname=restored --command='ANALYZE'`)}

## 6. Compare

The evidence lists every table with the exact number of rows that it held at ${input.snapshotTime}. This counts them all again and
prints what differs. ${notCounted(input)}(pgproof would compare the contents of each table, too.)

${block(`PGCLIENTENCODING=UTF8 psql -X --quiet --dbname=restored --set=ON_ERROR_STOP=on <<'SQL'\n${compareSql}SQL`)}

## 7. Give it its name

If there is a database of that name already, rename that one first (nobody may be connected to it); do not drop it tonight.

${block(`psql -X --dbname=postgres --command=${quoted(`ALTER DATABASE restored RENAME TO ${identifier(name)}`)}`)}

${databaseSettings(name)}
## 8. Before the applications come back

- Subscriptions are restored disabled. \`ALTER SUBSCRIPTION … ENABLE\` makes one take changes from its publisher again, from a
  replication slot that may be in use elsewhere: think first.
- Sequences stand where they stood, and large objects are in the dump. ${omitted(input)}
- Delete the plaintext:

${block('rm -f dump evidence.json *.list database.sql')}

${trouble}- pg_restore, \`role "…" does not exist\`: step 4; with \`--no-owner --no-privileges\` a policy or a user mapping names it.
  \`extension "…" is not available\`: install its package on the server.
- createdb, \`invalid locale name\`: make that locale known to the server's system and restart the server, or choose another one;
  texts then sort differently.
- pg_restore, \`invalid value for parameter "lc_monetary"\`: likewise, or \`unset PGOPTIONS\` if no column is of type money.
- pg_restore, \`permission denied\` or \`must be superuser\`, on a managed service: \`owners=(--no-owner --no-privileges)\`, step 5 without
  \`--exit-on-error\`, and read what it complains of; step 6 says whether all rows came.
- pg_restore, \`deadlock detected\`: \`dropdb restored\` and step 5 again, without \`--jobs=4\`.
- pg_restore, \`unrecognized configuration parameter\`: it is newer than the server; take that of the server's own major.
`
}

function rolesGuide(input: GuideInput): string {
  const passwords =
    input.rolePasswords === 'absent'
      ? '\nThe passwords are not inside, because the login of the backup may not read them: set them anew with `\\password ROLE` in psql.\n'
      : ''
  return `# Restore the roles of server ${shown(input.server)} as of ${input.snapshotTime}

${opening(input)}
## 3. Open it

${block(`gpg --decrypt ${input.object.name} > roles.sql`)}

The file holds password verifiers: keep it private.
${passwords}
## 4. Replay

Roles that exist already, \`postgres\` among them, get the attributes and the password that they had. This takes out the lines
of the role that you log in as; take out others likewise. Change the address to that of your server.

${block(`export PGHOST=127.0.0.1 PGPORT=5432 PGUSER=postgres
sed -i -E "/^(CREATE|ALTER) ROLE $PGUSER(;| WITH )/d" roles.sql`)}

Use a psql with the fix for CVE-2026-18408 (18.6, 17.11, 16.15, 15.19, 14.24 or later): the file may have been written by somebody else.

${block('psql -X --dbname=postgres --file=roles.sql')}

Errors for roles that exist are normal, and so is the exit code 0 in spite of them. These are missing, if any:

${block(`sed -nE 's/^CREATE ROLE (.*);$/\\1/p' roles.sql | sort > wanted &&
  psql -X -At --dbname=postgres --command='SELECT pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles' | sort > there &&
  comm -23 wanted there`)}

${block('rm -f roles.sql wanted there')}

${trouble}`
}

function opening(input: GuideInput): string {
  const { source, object, dump, kind } = input
  const programs =
    kind === 'roles'
      ? `\`gpg\` and \`psql\`, a PostgreSQL server of major ${source.major} or newer`
      : `\`gpg\`, ${dump.compression === 'zstd' ? '`zstd`, ' : ''}PostgreSQL's \`psql\`, \`createdb\` and \`pg_restore\` of the server's own major, which must be ${source.major} or newer,
${sizeOf(object.bytes + dump.bytes)} of disk here and about ${sizeOf(source.databaseBytes ?? dump.bytes)} on the server`
  const quicker =
    kind === 'roles'
      ? '`pgproof restore` with `--roles`'
      : `\`pgproof restore ${input.label} --store … --key backup.key.asc --to postgres://… --create\``
  return `Backup \`${input.label}\` of server ${shown(input.server)}, taken by pgproof from PostgreSQL ${shown(source.version)}. Quicker, where pgproof is:
${quicker}.

Nothing here needs pgproof. You need bash, ${programs}, and the private key of one of these OpenPGP
fingerprints; it is not in this store:

${input.recipients.map((fingerprint) => `- \`${fingerprint}\``).join('\n')}

Run the blocks in bash, in order, in an empty folder. One that ends with another exit code than 0 (\`echo $?\`) has failed: stop there
and look below.

${block('umask 077; set -o pipefail')}

## 1. Fetch

${fetching(input)}

## 2. Check

The private key, in whatever file you keep it, goes into gpg's key ring; then the digests of what was fetched must be right.

${block('gpg --batch --import backup.key.asc')}
${signature(input)}
${block(
  `sed -n '/"objects": {/,/^  }/{/"name"/{s/.*: "\\(.*\\)",/\\1/;h;};/"sha256"/{s/.*: "\\(.*\\)".*/\\1/;G;s/\\n/  /p;};}' manifest.json |
  sha256sum --check --strict`,
)}
`
}

/** In S3 two clients are named, because no system has all of them. */
function fetching({ storeUrls, folder }: GuideInput): string {
  const [first = '', ...others] = storeUrls
  if (others.length === 0) return fetchingFrom(first, folder)
  return `${fetchingFrom(first, folder)}

The same files should be in ${others.length === 1 ? 'another store' : `${others.length} other stores`}, should that one be lost or lack them:

${others.map((url) => fetchingFrom(url, folder)).join('\n\nor\n\n')}`
}

function fetchingFrom(storeUrl: string, folder: string): string {
  const address = `${storeUrl.replace(/\/$/, '')}/${folder}`
  if (storeUrl.startsWith('file:')) return block(`cp ${quoted(decodeURIComponent(new URL(address).pathname))}* .`)
  const place = address.replace(/^s3:\/\//, '')
  return `With any S3 client. Two of them, which read \`AWS_ACCESS_KEY_ID\`, \`AWS_SECRET_ACCESS_KEY\`, \`AWS_REGION\` and, for a store that is not
AWS, \`AWS_ENDPOINT_URL\` from the environment (aws before 2.13 takes \`--endpoint-url\` instead):

${block(`aws s3 cp --recursive ${quoted(`s3://${place}`)} .`)}

${block(`rclone copy --s3-provider=Other --s3-env-auth --s3-region="\${AWS_REGION:-us-east-1}" \\
  --s3-endpoint="\${AWS_ENDPOINT_URL:-https://s3.\${AWS_REGION:-us-east-1}.amazonaws.com}" ${quoted(`:s3:${place}`)} .`)}`
}

function signature({ signer }: GuideInput): string {
  if (signer === null) return ''
  return `
The manifest is signed. This must name the fingerprint of your signing key, whose public half you have from somewhere else than this
store. Without it you know that nothing was damaged, but not who wrote it.

${block(`gpg --batch --import signing.pub.asc &&
  gpg --status-fd 1 --verify manifest.json.sig manifest.json | grep -E 'VALIDSIG .*${signer}'`)}
`
}

function opened({ object, dump }: GuideInput): string {
  const decrypted = `gpg --decrypt ${object.name}`
  return dump.compression === 'zstd' ? `${decrypted} | zstd -d > dump` : `${decrypted} > dump`
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
  if (properties.localeProvider === 'i' && properties.icuRules !== null)
    locale.push(`--icu-rules=${quoted(properties.icuRules)}`)
  if (properties.localeProvider === 'b')
    locale.push('--locale-provider=builtin', `--builtin-locale=${quoted(properties.locale ?? 'C')}`)
  return `createdb --template=template0 ${locale.join(' ')} restored`
}

/** `money` is read back under the setting that it was written under only. */
function money({ properties }: GuideInput): string {
  const locale = properties?.lcMonetary ?? ''
  return /^[\w.@-]+$/.test(locale) ? `export PGOPTIONS='--lc_monetary=${locale}' # of columns of type money\n` : ''
}

/** What hangs on the database itself comes with `--create` only. */
function databaseSettings(name: string): string {
  if (/[\r\n]/.test(name))
    return 'Its name holds a line break, so pg_restore cannot write down its settings and rights.\n'
  return `Its owner, settings (\`ALTER DATABASE … SET\`), rights and comment; read \`database.sql\` first. Without the roles leave this out.

${block(`pg_restore --create --list dump |
  sed -nE '/^[0-9]+; [0-9]+ [0-9]+ (DATABASE |DATABASE PROPERTIES |(ACL|COMMENT|SECURITY LABEL) - DATABASE )/p' > database.list &&
  pg_restore --create --use-list=database.list --file=- dump | sed '/^CREATE DATABASE /d' > database.sql`)}

${block('psql -X --dbname=postgres --set=ON_ERROR_STOP=on --file=database.sql')}
`
}

function omitted({ omissions }: GuideInput): string {
  if (omissions.length === 0) return 'Nothing else was left out.'
  return `Not in this backup: ${omissions.map(({ kind, objects }) => `${kind} (${objects})`).join(', ')}; the evidence names them.`
}

/** Of some tables no evidence may be taken. */
function notCounted({ evidence }: GuideInput): string {
  return evidence.level === 'off' ? 'Tables whose evidence is switched off are not among them. ' : ''
}

const trouble = `## When it goes wrong

- gpg, \`No secret key\`: it is another key. \`gpg --list-secret-keys\` must show one of the fingerprints above.
- gpg, \`Inappropriate ioctl for device\`: \`export GPG_TTY=$(tty)\`, so that it can ask for the passphrase.
- sha256sum, \`FAILED\`, or gpg, \`encrypted message has been manipulated\`: fetch again. If it stays, the object is damaged and what came
  out is worthless: take another backup.
- gpg, \`BAD signature\`, or the line of the signature is missing: somebody else wrote or changed this. Do not restore it.
`

function block(commands: string): string {
  return `\`\`\`sh\n${commands}\n\`\`\``
}

function sizeOf(bytes: number): string {
  const [divisor, unit] = bytes >= 1e9 ? [1e9, 'GB'] : [1e6, 'MB']
  return `${(bytes / divisor).toFixed(1)} ${unit}`
}

/** Breaks lines, or turns the direction of what is read. */
const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/** A name inside Markdown text: no line break or back-tick can leave its place. */
function shown(name: string): string {
  return `\`${name.replaceAll(new RegExp(`\`|${hidden.source}`, 'gu'), '?')}\``
}

/** A word of bash, on one line and unable to end a block. */
function quoted(value: string): string {
  if (!value.includes('`') && !hidden.test(value)) return `'${value.replaceAll("'", `'\\''`)}'`
  const bytes = (text: string): string =>
    [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
  return `$'${value.replaceAll(new RegExp(`[\`'\\\\]|${hidden.source}`, 'gu'), bytes)}'`
}

/** An identifier of SQL. */
function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
