import { printable } from './print.ts'

export type KeyFiles = {
  readonly publicKey: string
  readonly privateKey: string
  readonly revocationCertificate: string
}

/** A pair that was made. */
export type MadeKey = { readonly fingerprint: string; readonly files: KeyFiles }

/** Another key to which backups are encrypted; `files` where it was made along. */
export type EscrowKey = { readonly fingerprint: string; readonly publicKey: string; readonly files: KeyFiles | null }

type Made = MadeKey & {
  readonly expiresAt: string | null
  /** As it was given; undefined for keys without a passphrase. */
  readonly passphraseFile: string | undefined
}

/** What was made, what belongs where, and the lines to configure. */
export function backupKeyPage(
  { fingerprint, files, expiresAt, passphraseFile }: Made,
  escrow: EscrowKey | null,
  kitFile: string,
): string {
  const recipients = [files.publicKey, ...(escrow === null ? [] : [escrow.publicKey])]
  return printableLines([
    `Fingerprint ${fingerprint}, ${validityText(expiresAt)}, ${passphraseText(passphraseFile)}`,
    '',
    `  ${files.publicKey}   every machine that makes backups needs it; it is no secret`,
    `  ${files.privateKey}   opens every backup: only where drills and restores run, and a copy off-line`,
    `  ${files.revocationCertificate}   declares the key invalid, should it be stolen: keep it apart from the key`,
    ...(escrow === null ? [] : ['', ...escrowLines(escrow)]),
    '',
    'Configuration where backups are made:',
    '',
    '  encryption:',
    `    recipients: [${recipients.join(', ')}]`,
    '',
    'and where drills and restores run:',
    '',
    `    privateKeyFile: ${files.privateKey}`,
    ...(passphraseFile === undefined ? [] : [`    passphraseFile: ${passphraseFile}`]),
    '',
    escrow === null
      ? 'Without the private key (and its passphrase) no backup can be opened, by nobody. Keep a copy where a fire, a thief and a'
      : 'Without one of the private keys (and its passphrase) no backup can be opened, by nobody. Keep them where a fire, a thief and a',
    'deleted account do not take them together with the backups.',
    ...(expiresAt === null ? [] : ['Backups stop when the key expires: extend it or replace it before.']),
    '',
    `  ${kitFile}   the recovery kit: print it, fill it in by hand, keep it apart from the machines`,
    '',
    'Once pgproof is configured, `pgproof kit` prints it anew, with the address of the store in it.',
  ])
}

export function signingKeyPage({ fingerprint, files, expiresAt, passphraseFile }: Made): string {
  return printableLines([
    `Fingerprint ${fingerprint}, ${validityText(expiresAt)}, ${passphraseText(passphraseFile)}`,
    '',
    `  ${files.privateKey}   signs manifests: only where backups are made`,
    `  ${files.publicKey}   tells whether a manifest is genuine: where drills and restores run; it is no secret`,
    `  ${files.revocationCertificate}   declares the key invalid, should it be stolen: keep it apart from the key`,
    '',
    'Configuration where backups are made:',
    '',
    '  encryption:',
    `    signingKeyFile: ${files.privateKey}`,
    ...(passphraseFile === undefined ? [] : [`    signingPassphraseFile: ${passphraseFile}`]),
    '',
    'and where drills and restores run:',
    '',
    `    trustedSigners: [${files.publicKey}]`,
    '',
    'From then on backups without a valid signature are refused there, those from before included.',
  ])
}

function escrowLines({ fingerprint, publicKey, files }: EscrowKey): string[] {
  if (files === null) return [`Escrow ${fingerprint}`, '', `  ${publicKey}   beside the other public key`]
  return [
    `Escrow ${fingerprint}`,
    '',
    `  ${files.publicKey}   beside the other public key`,
    `  ${files.privateKey}   opens every backup as well: move it off this machine now, into a safe, and delete it here`,
    `  ${files.revocationCertificate}   keep it apart from the key`,
  ]
}

function validityText(expiresAt: string | null): string {
  return expiresAt === null ? 'never expires' : `expires ${expiresAt.slice(0, 10)}`
}

function passphraseText(file: string | undefined): string {
  return file === undefined ? 'NO PASSPHRASE' : 'with a passphrase'
}

function printableLines(lines: readonly string[]): string {
  return lines.map(printable).join('\n')
}
