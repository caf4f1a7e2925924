import type { CatalogBackup } from '../catalog/catalog.ts'
import type { Config } from '../config/config.ts'
import type { StoreFlags } from '../config/store-flags.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Evidence } from '../domain/evidence.ts'
import { describeKeepReason } from '../domain/retention.ts'
import { assertNotAborted, type PgproofError, toPgproofError } from '../errors.ts'
import { type Installation, readDrillKeys, readSigners } from '../jobs/installation.ts'
import { planPrune } from '../jobs/plan-prune.ts'
import { checkSignature, readEvidence, readManifest } from '../stored/read-backup.ts'
import { backupPage } from './backup-page.ts'
import type { Answer, CommandContext } from './context.ts'
import type { DaemonFlags } from './daemon-client.ts'
import { drillSummary } from './documents.ts'
import { drillPage } from './drill-page.ts'
import type { PlaceFlags } from './list.ts'
import { openConfig, openInstallation } from './open.ts'
import { readDrillTables } from './read-drill-tables.ts'
import { showFullDrill } from './show-full-drill.ts'

export type ShowFlags = PlaceFlags & StoreFlags & DaemonFlags

/** One backup, drill or full drill. What is encrypted is shown where a private key is configured. */
export async function showCommand(context: CommandContext, label: string, flags: ShowFlags): Promise<Answer> {
  const config = await openConfig(context, flags, { drillsNothing: true })
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true })
  const { installation } = wired
  const backup = installation.catalog.find(label, flags)
  if (backup !== undefined) return await showBackup(backup, installation, context)
  const drill = installation.catalog.drills(flags).find((report) => report.label === label)
  if (drill !== undefined) return await showDrill(drill, installation, context)
  const full = installation.catalog.fullDrills(flags.server).find((place) => place.label === label)
  if (full !== undefined) return await showFullDrill(full, installation, context)
  throw installation.catalog.absenceOf(label)
}

async function showBackup(backup: CatalogBackup, installation: Installation, context: CommandContext): Promise<Answer> {
  const { manifest } = backup
  const { store, config, clock } = installation
  const read = await readManifest(backup, store, context.signal)
  const signature = await attempt(context, async () => {
    const signers = await readSigners(config, clock.now())
    return await checkSignature(read, signers, store, context.signal)
  })
  const reading = await whereKeyIs(installation, context, async (): Promise<Evidence | null> => {
    if (manifest.kind === 'roles') return null
    const { keys } = await readDrillKeys(installation, 'reading the evidence')
    return await readEvidence(read, keys, store, context.signal)
  })
  const drills = drillsOf(backup, installation)
  const keepReasons = keepReasonsOf(backup, installation)
  const isDemanded = config.encryption.trustedSigners.length > 0
  const signatureText = !isDemanded ? null : signature.error === null ? 'valid' : signature.error.message
  const facts = { backup, drills, keepReasons, signature: signatureText, evidence: reading.value }
  const page = backupPage(facts, clock.now(), context.paint)
  const isHidden = manifest.kind === 'database' && !reading.hasKey
  const { storedBytes, folder, manifestSha256, faults, verifiedAt, lastDrilledAt, lastVerdict, isKnownBad } = backup
  const document = {
    backup: {
      manifest,
      manifestSha256,
      folder,
      storedBytes,
      faults,
      verifiedAt,
      lastDrilledAt,
      lastVerdict,
      isKnownBad,
    },
    signature: { isDemanded, fingerprint: signature.value?.fingerprint ?? null },
    keepReasons,
    drills: drills.map(drillSummary),
    evidence: reading.value,
  }
  return {
    document,
    text: isHidden ? `${page}\n\n${hidden('The tables, and what exactly is not inside,', config)}` : page,
    error: signature.error ?? reading.error,
  }
}

async function showDrill(report: DrillReport, installation: Installation, context: CommandContext): Promise<Answer> {
  const reading = await whereKeyIs(installation, context, () => readDrillTables(report, installation, context.signal))
  const isSignatureChecked = installation.config.encryption.trustedSigners.length > 0
  const page = drillPage({ report, tables: reading.value, isFull: true, isSignatureChecked }, context.paint)
  const isHidden = report.tablesSha256 !== null && !reading.hasKey
  const text = isHidden ? `${page}\n\n${hidden('The result table by table', installation.config)}` : page
  return { document: { drill: report, isSignatureChecked, tables: reading.value }, text, error: reading.error }
}

type Attempted<T> = { readonly value: T | null; readonly error: PgproofError | null }

/** A failure does not hide the rest of the page. */
async function attempt<T>(context: CommandContext, work: () => Promise<T | null>): Promise<Attempted<T>> {
  try {
    return { value: await work(), error: null }
  } catch (thrown) {
    assertNotAborted(context.signal, 'the command')
    return { value: null, error: toPgproofError(thrown) }
  }
}

/** Without a private key there is nothing to read. */
async function whereKeyIs<T>(
  { config }: Installation,
  context: CommandContext,
  read: () => Promise<T | null>,
): Promise<Attempted<T> & { readonly hasKey: boolean }> {
  if (config.encryption.privateKeyFiles.length === 0) return { value: null, hasKey: false, error: null }
  return { ...(await attempt(context, read)), hasKey: true }
}

function hidden(what: string, { isStoreOnly }: Config): string {
  return `${what} can be shown ${isStoreOnly ? 'with --key' : 'where encryption.privateKeyFile is configured'}.`
}

/** Of this very manifest: another one under the same label is another backup. */
function drillsOf({ manifest, manifestSha256 }: CatalogBackup, { catalog }: Installation): DrillReport[] {
  const { kind, server, database, label } = manifest
  return catalog
    .drills(kind === 'roles' ? { server } : { server, database: database ?? '' })
    .map((report) => ({ report, drilled: kind === 'roles' ? report.rolesBackup : report.backup }))
    .filter(({ drilled }) => drilled?.label === label && drilled.manifestSha256 === manifestSha256)
    .map(({ report }) => report)
}

/** Null for a server that is not configured: no policy decides about its backups. */
function keepReasonsOf({ manifest }: CatalogBackup, installation: Installation): string[] | null {
  const { kind, server, database, label } = manifest
  const only = { server, database }
  const decisions = installation.stores.named.flatMap(({ name }) =>
    planPrune({ only, isDryRun: true }, name, installation)
      .groups.filter((one) => one.kind === kind)
      .flatMap((group) => group.decisions.filter((one) => one.label === label).map((one) => ({ ...one, store: name }))),
  )
  if (decisions.length === 0) return null
  const isAlone = installation.stores.named.length === 1
  return decisions.flatMap(({ store, reasons }) =>
    reasons.map((reason) => `${describeKeepReason(reason)}${isAlone ? '' : ` (${store})`}`),
  )
}
