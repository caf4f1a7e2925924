import { decodeDrillReport, encodeDrillReport } from '../../src/domain/drill-report.ts'
import { drillReportKey, drillSignatureKey, drillTablesKey } from '../../src/storage/object-keys.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { bytesOf, replaceObject, rewriteManifest } from '../support/forge.ts'
import { drillNewer, flipBit, type Stage, signAs } from './stage.ts'
import type { StoredDefect } from './stored-defects.ts'

type More = Partial<Pick<StoredDefect, 'judged' | 'of' | 'baseline' | 'settings'>>

const defect = (
  title: string,
  rung: string,
  names: string,
  plant: StoredDefect['plant'],
  more: More = {},
): StoredDefect => ({ group: 'history', title, rung, names, judged: 'history', plant, ...more })

const gap = (title: string, names: string, plant: StoredDefect['plant'], more: More = {}): StoredDefect =>
  defect(title, 'list --history', names, plant, more)

const later = '2030-01-01T00:00:00.000Z'
const remove = ({ test }: Stage, folder: string): void => {
  for (const name of test.store.keys()) if (name.startsWith(folder)) test.store.objects.delete(name)
}
/** Another backup under the same label: the manifest is another one, all else as it was. */
const replace = ({ test }: Stage, folder: string): void =>
  rewriteManifest(test, folder, (manifest) => ({ ...manifest, finishedAt: later }))

/** The report of the drill that the store holds. */
const reportKey = ({ test }: Stage): string => {
  const found = test.store.keys().find((name) => /^drills\/.*-[a-z0-9]{4}\.json$/.test(name))
  if (found === undefined) throw new Error('no report of a drill')
  return found
}

/** A report that the older backup has passed, made of that of the newer one. Returns its key. */
const strangersReport = (stage: Stage): string => {
  const { test, labels, older } = stage
  const { backup, ...report } = decodeDrillReport(bytesOf(test, reportKey(stage)), 'report')
  const label = labels.older
  const { sha256: manifestSha256 } = measureBytes(bytesOf(test, `${older}manifest.json`))
  const forged = { ...report, label, backup: { ...backup, label, manifestSha256 }, tablesSha256: null }
  const key = drillReportKey('main', 'gallery', label)
  replaceObject(test, key, encodeDrillReport(forged))
  return key
}

const signed: More = { baseline: 'signed' }
const lastOnly = { PGPROOF_SERVERS__0__RETENTION__LAST: '1' }

export const historyDefects: readonly StoredDefect[] = [
  gap('a predecessor was removed', '<older> removed, by manifest <newer>', (stage) => remove(stage, stage.older)),
  gap('a predecessor was replaced', '<older> replaced, by manifest <newer>', (stage) => replace(stage, stage.older)),
  defect(
    'a predecessor was replaced, seen by its drill',
    'history',
    'backup <newer> followed upon another one of that label',
    (stage) => replace(stage, stage.older),
    { judged: 'drill', of: 'older' },
  ),
  defect(
    'a predecessor was replaced, seen by `verify`',
    'history',
    'backup <newer> followed upon another one of that label',
    (stage) => replace(stage, stage.older),
    { judged: 'verify', of: 'older' },
  ),
  gap('the newest was removed after a drill of it', '<newer> removed, by drill report', async (stage) => {
    await drillNewer(stage)
    remove(stage, stage.newer)
  }),
  gap('the newest was replaced after a drill of it', '<newer> replaced, by drill report', async (stage) => {
    await drillNewer(stage)
    replace(stage, stage.newer)
  }),
  defect(
    'the newest was replaced after a drill of it, seen by the next drill',
    'history',
    '<newer>',
    async (stage) => {
      await drillNewer(stage)
      replace(stage, stage.newer)
    },
    { judged: 'drill' },
  ),
  gap('the roles were removed after a drill with them', '<roles> removed, by drill report', async (stage) => {
    await drillNewer(stage)
    remove(stage, stage.roles)
  }),
  gap('the roles were replaced after a drill with them', '<roles> replaced, by drill report', async (stage) => {
    await drillNewer(stage)
    replace(stage, stage.roles)
  }),
  gap(
    'a backup that a prune removed was put back',
    '<older> returned, by prune record',
    async ({ test, older }) => {
      const objects = [...test.store.objects].filter(([name]) => name.startsWith(older))
      await test.run('prune')
      if (test.store.keys().some((name) => name.startsWith(older))) throw new Error('the prune has removed nothing')
      for (const [name, { body }] of objects) replaceObject(test, name, body)
    },
    { settings: lastOnly },
  ),
  gap(
    'another backup was put in the place of a pruned one',
    '<older> returned, by prune record',
    async (stage) => {
      const objects = [...stage.test.store.objects].filter(([name]) => name.startsWith(stage.older))
      await stage.test.run('prune')
      for (const [name, { body }] of objects) replaceObject(stage.test, name, body)
      replace(stage, stage.older)
    },
    { settings: lastOnly },
  ),
  defect(
    'a report that a stranger wrote',
    'list',
    'it carries no signature\nverified: <newer>.',
    (stage) => {
      strangersReport(stage)
    },
    signed,
  ),
  defect(
    'a report that a stranger signed',
    'list',
    '\nverified: <newer>.',
    async (stage) => {
      await signAs(stage, 'strange-signer', strangersReport(stage))
    },
    signed,
  ),
  defect(
    'a report with the signature of another',
    'list',
    '\nverified: <newer>.',
    (stage) => {
      const { label } = decodeDrillReport(bytesOf(stage.test, reportKey(stage)), 'report')
      const signature = bytesOf(stage.test, drillSignatureKey('main', 'gallery', label))
      replaceObject(stage.test, `${strangersReport(stage)}.sig`, signature)
    },
    signed,
  ),
  defect(
    'a report altered after it was signed',
    'list',
    'not signed by a trusted signer',
    (stage) => {
      const key = reportKey(stage)
      const report = decodeDrillReport(bytesOf(stage.test, key), key)
      replaceObject(stage.test, key, encodeDrillReport({ ...report, finishedAt: later }))
    },
    signed,
  ),
  defect(
    'a report without its signature',
    'list',
    'it carries no signature\nverified: .',
    (stage) => {
      stage.test.store.objects.delete(`${reportKey(stage)}.sig`)
    },
    signed,
  ),
  defect(
    'the tables of a report are missing',
    'list',
    'it is missing, and drill report',
    (stage) => {
      stage.test.store.objects.delete(tablesKey(stage))
    },
    signed,
  ),
  defect(
    'the tables of a report were replaced',
    'show',
    'its SHA-256 is not the one in the drill report',
    (stage) => {
      const key = tablesKey(stage)
      replaceObject(stage.test, key, flipBit(bytesOf(stage.test, key), 300))
    },
    signed,
  ),
]

function tablesKey(stage: Stage): string {
  const { label } = decodeDrillReport(bytesOf(stage.test, reportKey(stage)), 'report')
  return drillTablesKey('main', 'gallery', label)
}
