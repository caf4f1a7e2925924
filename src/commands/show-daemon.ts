import type { DrillReport } from '../domain/drill-report.ts'
import { PgproofError } from '../errors.ts'
import { backupPage } from './backup-page.ts'
import type { Answer } from './context.ts'
import { daemonBackupDetails, daemonDrill, daemonDrillDetails, daemonStatus } from './daemon-answers.ts'
import { askDaemon, type Daemon } from './daemon-client.ts'
import { drillSummary } from './documents.ts'
import { drillPage } from './drill-page.ts'
import type { PlaceFlags } from './list.ts'
import { allOf } from './list-daemon.ts'

/** One backup or drill as a daemon knows it: nothing of what is encrypted, and not by which rule a backup is kept. */
export async function showOfDaemon(daemon: Daemon, label: string, flags: PlaceFlags): Promise<Answer> {
  try {
    return await showBackup(daemon, label, flags)
  } catch (error) {
    if (!(error instanceof PgproofError) || error.code !== 'LABEL_UNKNOWN') throw error
    return await showDrill(daemon, label, error)
  }
}

/** The report of a drill, as it is there for those who may not read what is encrypted. */
export async function reportAtDaemon(daemon: Daemon, label: string): Promise<DrillReport> {
  const details = await askDaemon(daemon, `v1/drills/${encodeURIComponent(label)}`, daemonDrillDetails)
  return { format: 1, storeId: '', store: '', ...details }
}

async function showBackup(daemon: Daemon, label: string, { server, database }: PlaceFlags): Promise<Answer> {
  const { paint } = daemon.context
  const query = new URLSearchParams({
    ...(server === undefined ? {} : { server }),
    ...(database === undefined ? {} : { database }),
  })
  const path = `v1/backups/${encodeURIComponent(label)}?${query}`
  const { isSigned, manifest, ...answer } = await askDaemon(daemon, path, daemonBackupDetails)
  const { time } = await askDaemon(daemon, 'v1/status', daemonStatus)
  const place = { server: manifest.server, ...(manifest.database === null ? {} : { database: manifest.database }) }
  const drills = (await allOf(daemon, 'v1/drills', place, daemonDrill)).filter((drill) => {
    const drilled = manifest.kind === 'roles' ? drill.rolesBackup : drill.backup
    return drilled?.label === label && drilled.manifestSha256 === answer.manifestSha256
  })
  const backup = {
    ...answer,
    isKnownBad: answer.isKnownBad ?? answer.lastVerdict === 'failed',
    manifest,
    hasSignature: isSigned,
    snapshotTime: new Date(manifest.snapshotTime),
  }
  const page = backupPage({ backup, drills, keepReasons: undefined, signature: null, evidence: null }, time, paint)
  const hidden =
    manifest.kind === 'roles'
      ? ''
      : '\n\nThe tables, and what exactly is not inside, are encrypted; a daemon does not tell them.'
  return {
    document: { backup: { manifest, ...answer }, isSigned, drills: drills.map(drillSummary) },
    text: `${page}${hidden}`,
  }
}

async function showDrill(daemon: Daemon, label: string, unknown: PgproofError): Promise<Answer> {
  try {
    const report = await reportAtDaemon(daemon, label)
    const text = drillPage({ report, tables: null, isFull: true, isSignatureChecked: false }, daemon.context.paint)
    const { format: _format, storeId: _storeId, store: _store, ...drill } = report
    const hidden =
      report.tablesSha256 === null ? '' : '\n\nThe result table by table is encrypted; a daemon does not tell it.'
    return { document: { drill, isSignatureChecked: false }, text: `${text}${hidden}` }
  } catch (error) {
    throw error instanceof PgproofError && error.code === 'LABEL_UNKNOWN' ? unknown : error
  }
}
