import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import {
  bytesOf,
  decryptObject,
  replaceEvidence,
  replaceObject,
  rewriteManifest,
  rewriteRoles,
} from '../support/forge.ts'
import { serverBinDir } from '../support/postgres-server.ts'
import { flipBit, type Stage } from './stage.ts'
import type { StoredDefect } from './stored-defects.ts'

type More = Partial<Pick<StoredDefect, 'judged' | 'of' | 'baseline' | 'verdict'>>

const defect = (
  title: string,
  rung: string,
  names: string,
  plant: StoredDefect['plant'],
  more: More = {},
): StoredDefect => ({ group: 'roles', title, rung, names, judged: 'drill', plant, ...more })

/** A change of the script, with manifest and evidence made to fit. */
const script = (title: string, names: string, change: (text: string) => string): StoredDefect =>
  defect(title, 'roles', names, async ({ test, roles }) => {
    await rewriteRoles(test, roles, (text) => {
      const changed = change(text)
      if (changed === text) throw new Error('the script is as it was')
      return changed
    })
  })

const without = (pattern: RegExp) => (text: string) => text.replaceAll(pattern, '')
const withMore = (statement: string) => (text: string) => text.replace(/^(?=CREATE ROLE)/m, `${statement}\n`)
const object = ({ roles }: Stage): string => `${roles}roles.sql.pgp`
const flip = (stage: Stage, name: string, at: number): void =>
  replaceObject(stage.test, name, flipBit(bytesOf(stage.test, name), at))

/** Defects of the newest roles backup, seen by a drill of a database; by `verify` of the roles backup where said. */
export const rolesDefects: readonly StoredDefect[] = [
  script('a role that owns something is missing', 'role keeper missing', without(/^.*ROLE keeper.*\n/gm)),
  script('a role that nothing needs is missing', 'role idle missing', without(/^.*ROLE idle.*\n/gm)),
  script('a role too many that is a superuser', 'role evil unexpected', (text) =>
    withMore('CREATE ROLE evil; ALTER ROLE evil WITH SUPERUSER;')(text),
  ),
  script('a membership is missing', 'membership clerk in visitor missing', without(/^GRANT visitor TO clerk.*\n/gm)),
  script(
    'a membership too many',
    'membership clerk in keeper unexpected',
    (text) => `${text}\nGRANT keeper TO clerk;\n`,
  ),
  script(
    'a membership without its admin option',
    'membership clerk in visitor differs in admin option',
    without(/ WITH ADMIN OPTION/g),
  ),
  script('a role may log in no longer', 'role clerk differs in login', (text) =>
    text.replace(/(ALTER ROLE clerk WITH .*)\bLOGIN/, '$1NOLOGIN'),
  ),
  script('a role is a superuser', 'role clerk differs in superuser', (text) =>
    text.replace('ALTER ROLE clerk WITH NOSUPERUSER', 'ALTER ROLE clerk WITH SUPERUSER'),
  ),
  script('a role has another connection limit', 'role clerk differs in connection limit', (text) =>
    text.replace('CONNECTION LIMIT 7', 'CONNECTION LIMIT 8'),
  ),
  script('a password verifier changed', 'role clerk differs in password', (text) =>
    text.replace(/SCRAM-SHA-256\$4096:../, 'SCRAM-SHA-256$$4096:AA'),
  ),
  script('a password verifier is missing', 'role clerk differs in password', without(/ PASSWORD '[^']*'/g)),
  script(
    'a setting of a role is missing',
    'role setting clerk statement_timeout missing',
    without(/^ALTER ROLE clerk SET.*\n/gm),
  ),
  script('a setting of a role changed', 'role setting clerk statement_timeout differs in value', (text) =>
    text.replace("'1min'", "'2min'"),
  ),
  script('a comment on a role is missing', 'role keeper differs in comment', without(/^COMMENT ON ROLE keeper.*\n/gm)),
  script('the script is cut in its middle', 'missing', (text) => text.slice(0, text.indexOf('CREATE ROLE keeper'))),
  script('the script is cut within a statement', '', (text) => text.slice(0, text.indexOf('SCRAM-SHA-256') + 20)),
  script('the script is empty', 'missing', () => ''),
  defect('the script of another server, everything fitting', 'roles', 'missing', async ({ scene, test, roles }) => {
    await rewriteRoles(test, roles, () => rolesOf(scene.scratch.url()))
  }),
  defect('the script of another server, manifest adapted', 'roles', 'is not what the evidence says', async (stage) => {
    const { scene, test, roles } = stage
    await rewriteRoles(test, roles, () => rolesOf(scene.scratch.url()), { isToFit: false })
  }),
  defect('a bit of the script’s object flipped', 'roles', 'its SHA-256', (stage) => flip(stage, object(stage), 300)),
  defect('the script’s object is missing', 'roles', 'roles.sql.pgp is not in the store', (stage) => {
    stage.test.store.objects.delete(object(stage))
  }),
  defect(
    'the evidence of the roles is missing',
    'roles',
    'evidence.json.pgp is not in the store',
    ({ test, roles }) => {
      test.store.objects.delete(`${roles}evidence.json.pgp`)
    },
  ),
  defect('a bit of the roles’ evidence flipped', 'roles', 'its SHA-256', (stage) =>
    flip(stage, `${stage.roles}evidence.json.pgp`, 300),
  ),
  defect('the roles’ manifest was edited', 'roles', 'its rolePasswords ', ({ test, roles }) =>
    rewriteManifest(test, roles, (manifest) => ({ ...manifest, rolePasswords: 'absent' })),
  ),
  defect(
    'the roles’ signature is missing',
    'roles',
    'carries no signature',
    ({ test, roles }) => void test.store.objects.delete(`${roles}manifest.json.sig`),
    { baseline: 'signed' },
  ),
  script(
    'another password for the superuser',
    'a second time',
    (text) => `${text}\nALTER ROLE postgres WITH PASSWORD 'x';\n`,
  ),
  script('another password for the superuser in its own statement', 'role postgres differs in password', (text) =>
    text.replace(/^(ALTER ROLE postgres WITH [^;]*?)(?: PASSWORD '[^']*')?;/m, "$1 PASSWORD 'x';"),
  ),
  script(
    'a statement that pg_dumpall does not write',
    'not a statement that pg_dumpall writes',
    withMore('DROP ROLE IF EXISTS clerk;'),
  ),
  script(
    'a program run by the server',
    'not a statement that pg_dumpall writes',
    withMore("COPY t FROM PROGRAM 'id';"),
  ),
  script('two statements in one', 'not a statement that pg_dumpall writes', withMore('DO $$ BEGIN END $$;')),
  script('a backslash command of psql', 'backslash', withMore('\\! id')),
  defect(
    'the script cut short, seen by `verify` of the roles',
    'objects',
    'bytes expected',
    (stage) => stage.test.store.truncate(object(stage), 500),
    { judged: 'verify', of: 'roles' },
  ),
  defect(
    'a bit of the script flipped, seen by `verify`',
    'SHA-256',
    'its SHA-256',
    (stage) => flip(stage, object(stage), 300),
    {
      judged: 'verify',
      of: 'roles',
    },
  ),
  defect(
    'the script is encrypted to one of two recipients only, seen by `verify`',
    'recipients',
    'roles.sql.pgp is not encrypted to',
    async ({ scene, test, roles }) => {
      await rewriteRoles(test, roles, (text) => text)
      const evidence = (await decryptObject(test, `${roles}evidence.json.pgp`)).toString()
      await replaceEvidence(test, roles, evidence, ['backup.pub.asc', scene.key('escrow.pub.asc')])
    },
    { judged: 'verify', of: 'roles', baseline: 'unchecked' },
  ),
]

function rolesOf(url: string): string {
  return execFileSync(join(serverBinDir(), 'pg_dumpall'), ['--roles-only', '-d', url]).toString()
}
