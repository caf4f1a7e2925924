import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PgproofError } from '../errors.ts'
import type { Path } from './keys.ts'

/** What the commands that need only the store take in place of a configuration, as the command line has it. */
export type StoreFlags = {
  /** `s3://bucket/prefix`, `file:///directory`, or the path of a directory. With it no configuration file is read. */
  readonly store?: string | undefined
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  readonly provider?: string | undefined
  /** Paths of private keys, relative to the working directory as all paths here. */
  readonly key?: readonly string[] | undefined
  readonly passphraseFile?: string | undefined
  /** Paths of public keys. */
  readonly trustedSigner?: readonly string[] | undefined
}

/** One flag that was given: its name, the key that it stands for, and its value in terms of that key. */
export type GivenFlag = { readonly flag: string; readonly path: Path; readonly value: unknown }

/** The flags that were given. Throws USAGE_INVALID for those that have no meaning together. */
export function givenFlags(flags: StoreFlags, cwd: string, hasConfigFlag: boolean): GivenFlag[] {
  const refuse = (reason: string): never => {
    throw new PgproofError('USAGE_INVALID', { reason })
  }
  if (flags.store !== undefined && hasConfigFlag)
    refuse('--config has no meaning with --store, which takes the place of a configuration')
  const alone = (['endpoint', 'region', 'provider'] as const).find((name) => flags[name] !== undefined)
  if (flags.store === undefined && alone !== undefined)
    refuse(`--${alone} goes with --store; without it the configuration says where the store is`)
  // An empty one is a fault of its own, and not the working directory.
  const absolute = (file: string): string => (file === '' ? '' : resolve(cwd, file))
  const all: Record<keyof StoreFlags, unknown> = {
    store: flags.store === undefined ? undefined : storeUrl(flags.store, cwd),
    endpoint: flags.endpoint,
    region: flags.region,
    provider: flags.provider,
    key: flags.key?.map(absolute),
    passphraseFile: flags.passphraseFile === undefined ? undefined : absolute(flags.passphraseFile),
    trustedSigner: flags.trustedSigner?.map(absolute),
  }
  return flagKeys
    .map(([name, flag, section, key]) => ({
      flag,
      path: section === 'store' ? [section, 0, key] : [section, key],
      value: all[name],
    }))
    .filter(({ value }) => value !== undefined)
}

/** The text with flags in place of the keys that they stand for. */
export function inFlagWords(text: string): string {
  return flagKeys.reduce(
    (said, [, flag, ...path]) => said.replaceAll(new RegExp(`\\b${path.join('\\.')}\\b`, 'g'), flag),
    text,
  )
}

const flagKeys = [
  ['store', '--store', 'store', 'url'],
  ['endpoint', '--endpoint', 'store', 'endpoint'],
  ['region', '--region', 'store', 'region'],
  ['provider', '--provider', 'store', 'provider'],
  ['key', '--key', 'encryption', 'privateKeyFile'],
  ['passphraseFile', '--passphrase-file', 'encryption', 'passphraseFile'],
  ['trustedSigner', '--trusted-signer', 'encryption', 'trustedSigners'],
] as const satisfies readonly (readonly [keyof StoreFlags, string, string, string])[]

/** Whatever names no scheme is the path of a directory. */
function storeUrl(text: string, cwd: string): string {
  return text === '' || /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
    ? text
    : pathToFileURL(resolve(cwd, text)).href.replace(/\/$/, '')
}
