import { decodeFullDrillReport, type FullDrillReport } from '../domain/full-drill-report.ts'
import { verifyDetached } from '../encryption/sign.ts'
import { assertNotAborted, PgproofError, toPgproofError } from '../errors.ts'
import { type Installation, readSigners } from '../jobs/installation.ts'
import { fullDrillReportKey } from '../storage/object-keys.ts'
import type { Answer, CommandContext } from './context.ts'
import { fullDrillPage } from './full-drill-page.ts'

/** The report of a full drill; its signature is checked where trusted signers are configured. */
export async function showFullDrill(
  { server, label }: { readonly server: string; readonly label: string },
  installation: Installation,
  context: CommandContext,
): Promise<Answer> {
  const { store, config } = installation
  const key = fullDrillReportKey(server, label)
  const bytes = await store.get(key, { signal: context.signal })
  const report = decodeFullDrillReport(bytes, key)
  if (report.server !== server || report.label !== label)
    throw new PgproofError('STORE_FORMAT_INVALID', { what: key, reason: 'it describes another full drill' })
  const { signer, error } = await checkSigner(bytes, report, installation, context)
  const text = fullDrillPage({ report, storeUrl: config.stores[0].url, checkedSigner: signer ?? null }, context.paint)
  return { document: { fullDrill: report, isSignatureChecked: signer !== undefined }, text, error }
}

/** A bad signature does not hide the page. */
async function checkSigner(
  bytes: Uint8Array,
  report: FullDrillReport,
  { config, store, storeId, clock }: Installation,
  { signal }: CommandContext,
): Promise<{ readonly signer: string | undefined; readonly error: PgproofError | null }> {
  const key = fullDrillReportKey(report.server, report.label)
  try {
    const signers = await readSigners(config, clock.now())
    if (signers === null) return { signer: undefined, error: null }
    if ((await store.head(`${key}.sig`, { signal })) === undefined) throw unproven(key, 'it carries no signature')
    const signature = await store.get(`${key}.sig`, { signal })
    const { fingerprint } = await verifyDetached(bytes, signature, signers, key)
    if (fingerprint !== report.signer) throw unproven(key, `it names another signer than ${fingerprint}, who signed it`)
    if (report.storeId !== storeId) throw unproven(key, `it is of another store (${report.storeId})`)
    return { signer: fingerprint, error: null }
  } catch (thrown) {
    assertNotAborted(signal, 'the command')
    return { signer: undefined, error: toPgproofError(thrown) }
  }
}

function unproven(key: string, reason: string): PgproofError {
  return new PgproofError('REPORT_UNTRUSTED', { key, reason: `not signed by a trusted signer: ${reason}` })
}
