import { type Command, InvalidArgumentError } from 'commander'
import type { Answer, CommandContext } from './context.ts'
import type { Daemon, DaemonFlags } from './daemon-client.ts'

/** Which server and database are meant. */
export function placeOptions(command: Command, prefix = ''): Command {
  return command
    .option('--server <name>', `${prefix}only of this server`)
    .option('--database <name>', `${prefix}only of this database`)
}

/** What takes the place of a configuration; the keys also go with one. */
export function storeOptions(command: Command, what: 'store' | 'store and keys'): Command {
  command
    .option('--store <url>', 'this store, without a configuration: s3://bucket/prefix or a directory')
    .option('--endpoint <url>', 'address of the S3 server of --store (default: AWS)')
    .option('--region <name>', 'region of the bucket of --store')
    .option('--provider <name>', 'whose S3 it is: aws, minio, r2, b2, ceph or generic')
    .option('--trusted-signer <file>', 'public key whose signatures are demanded; may be repeated', oneMore)
  if (what === 'store') return command
  return command
    .option('--key <file>', 'private key that opens backups, also beside a configuration; may be repeated', oneMore)
    .option('--passphrase-file <file>', 'passphrase of the private keys (default: asked on a terminal)')
}

/** Carries a command out at the daemon that is named, or else here. */
export async function hereOrAt(
  atDaemon: (daemon: Daemon) => Promise<Answer>,
  here: () => Promise<Answer>,
  { context, flags }: { readonly context: CommandContext; readonly flags: DaemonFlags },
): Promise<Answer> {
  const { namedDaemon } = await import('./daemon-client.ts')
  const daemon = await namedDaemon(flags, context)
  return daemon === undefined ? await here() : await atDaemon(daemon)
}

/** A daemon in the place of a configuration. */
export function daemonOptions(command: Command): Command {
  return command
    .option('--url <url>', 'at a daemon, such as https://host:9432; needs no configuration (default: PGPROOF_URL)')
    .option('--token-file <file>', 'its token (default: what PGPROOF_TOKEN holds)')
    .option('--ca-file <file>', 'the CA of its certificate (default: those that Node knows)')
}

/** For flags that may be repeated. */
export function oneMore(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value]
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0xffff_ffff)
    throw new InvalidArgumentError('It must be a whole number below 4294967296.')
  return Number(text)
}
