import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type LoadedConfig, loadConfig } from '../../src/config/load.ts'
import { PgproofError } from '../../src/errors.ts'

/** A folder with a configuration and the files that it names; removed with its scope. */
export type ConfigFolder = AsyncDisposable & {
  readonly path: string
  /** Writes a file, readable for its owner only unless `mode` says otherwise. */
  write(name: string, text: string | Uint8Array, mode?: number): Promise<string>
  /** Loads `pgproof.yaml` with this text, or no file at all. */
  load(yaml: string | undefined, env?: NodeJS.ProcessEnv): Promise<LoadedConfig>
  /** The fault lines of a configuration that must not load. */
  faults(yaml: string | undefined, env?: NodeJS.ProcessEnv): Promise<string[]>
}

/** Holds `key.asc` and `escrow.asc`, which can be read, and `secret`, whose text is `hunter2`. */
export async function configFolder(): Promise<ConfigFolder> {
  const path = await mkdtemp(join(tmpdir(), 'pgproof-config-'))
  const folder: ConfigFolder = {
    path,
    async write(name, text, mode = 0o600) {
      const file = join(path, name)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, text)
      await chmod(file, mode)
      return file
    },
    async load(yaml, env = {}) {
      if (yaml !== undefined) await folder.write('pgproof.yaml', yaml)
      return loadConfig({ file: yaml === undefined ? undefined : 'pgproof.yaml', env, cwd: path, isTerminal: false })
    },
    async faults(yaml, env = {}) {
      const error = await folder.load(yaml, env).then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      if (!(error instanceof PgproofError) || error.code !== 'CONFIG_INVALID')
        throw new Error('expected CONFIG_INVALID', { cause: error })
      return (error.details ?? '').split('\n')
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
  await folder.write('key.asc', 'a key')
  await folder.write('escrow.asc', 'a key')
  await folder.write('secret', 'hunter2\n')
  return folder
}

/** The least that loads. More lines may follow. */
export const least = `store: { url: s3://backups/prod }
encryption: { recipients: [key.asc] }
servers:
  - name: main
    url: postgres://backup@db:5432/postgres
`

/** The same from the environment alone. */
export const leastVariables: NodeJS.ProcessEnv = {
  PGPROOF_STORE__URL: 's3://backups/prod',
  PGPROOF_ENCRYPTION__RECIPIENTS: 'key.asc',
  PGPROOF_SERVERS__0__NAME: 'main',
  PGPROOF_SERVERS__0__URL: 'postgres://backup@db:5432/postgres',
}

/** `${NAME}`, which a linter would take for a forgotten template. */
export function variable(name: string): string {
  return `\${${name}}`
}
