import { join } from 'node:path'
import { readDrillTables } from '../../src/commands/read-drill-tables.ts'
import { readSigningKey } from '../../src/encryption/keys.ts'
import { signDetached } from '../../src/encryption/sign.ts'
import { toPgproofError } from '../../src/errors.ts'
import { readDrillKeys } from '../../src/jobs/installation.ts'
import { runVerify } from '../../src/jobs/verify.ts'
import { replaceObject } from '../support/forge.ts'
import type { TestInstallation } from '../support/installation.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { type Backups, outcomeOf, type Scene } from './scene.ts'
import type { StoredDefect } from './stored-defects.ts'

/** Where a defect of the store is planted: an installation of its own, and the folders of its backups. */
export type Stage = Backups & { readonly scene: Scene; readonly test: TestInstallation; readonly labels: Backups }

export type Outcome = { readonly rung: string; readonly verdict: string; readonly said: string }

const never = new AbortController().signal

export async function openStage(
  scene: Scene,
  { baseline = 'plain', settings = {} }: Pick<StoredDefect, 'baseline' | 'settings'>,
): Promise<Stage & AsyncDisposable> {
  const test = await scene.installation({ ...settings }, baseline)
  const { roles, older, newer } = baseline === 'plain' ? scene : await scene.signed()
  return {
    scene,
    test,
    labels: { roles, older, newer },
    roles: `roles/main/${roles}/`,
    older: scene.folder(older),
    newer: scene.folder(newer),
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  }
}

/** What pgproof says of the backup, with labels as `<older>`, `<newer>` and `<roles>`. */
export async function judge(
  { judged, of = 'newer' }: Pick<StoredDefect, 'judged' | 'of'>,
  stage: Stage,
): Promise<Outcome> {
  const { test, labels } = stage
  const outcome =
    judged === 'history'
      ? await readHistory(test)
      : await (judged === 'drill' ? drill : verify)(test, labels[of]).catch(refusedBy)
  let { said } = outcome
  for (const [name, label] of Object.entries(labels)) said = said.replaceAll(label, `<${name}>`)
  return { ...outcome, said }
}

/** By a drill of the newer backup, so that a report of it is in the store. */
export async function drillNewer({ test, labels }: Stage): Promise<void> {
  const { error } = await test.run('drill', 'gallery', { backup: labels.newer })
  if (error) throw error
}

/** Signs an object with one of the scene's keys, as a manifest or a report is signed. */
export async function signAs({ scene, test }: Stage, name: string, object: string): Promise<void> {
  const signer = await readSigningKey(scene.key(`${name}.key.asc`), undefined, new Date())
  const bytes = Buffer.from(test.store.text(object))
  replaceObject(test, `${object}.sig`, await signDetached(bytes, signer, new Date()))
}

export function flipBit(bytes: Uint8Array, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}

async function drill(test: TestInstallation, backup: string): Promise<Outcome> {
  const { drill: result } = await test.run('drill', 'gallery', { backup })
  if (result === undefined) throw new Error('a drill without a result')
  return outcomeOf(result)
}

async function verify(test: TestInstallation, label: string): Promise<Outcome> {
  const { installation, store, folder } = test
  await installation.catalog.refresh(storeSetOf(store), never)
  const backup = installation.catalog.find(label)
  if (backup === undefined) throw installation.catalog.damageOf(label)
  const keys = await readDrillKeys(installation, 'a test')
  const request = { ...keys, spoolRoot: join(folder, 'spool'), binDirs: [] }
  const { checks, verdict, error } = await runVerify(backup, request, installation, never)
  const rung = checks.find(({ result }) => result === 'failed' || result === 'inconclusive')?.name ?? 'none'
  return { rung, verdict, said: [error?.message, error?.details].join('\n') }
}

function refusedBy(thrown: unknown): Outcome {
  return { rung: 'manifest', verdict: 'refused', said: toPgproofError(thrown).message }
}

/** What `list --history`, `list` and `show` of each drill say: gaps, what does not count, tables; and what is verified. */
async function readHistory({ installation, store }: TestInstallation): Promise<Outcome> {
  const { catalog } = installation
  await catalog.refresh(storeSetOf(store), never)
  const gaps = catalog.historyGaps().map(({ label, found, witnesses }) => {
    const by = witnesses.map((witness) => `${witness.by} ${witness.label}`).join(', ')
    return `${label} ${found}, by ${by}`
  })
  const damaged = catalog.damaged().map(({ error }) => error.message)
  const unreadable: string[] = []
  for (const report of catalog.drills())
    await readDrillTables(report, installation, never).catch((error: unknown) => {
      unreadable.push(toPgproofError(error).message)
    })
  const verified = catalog.backups({ kind: 'database' }).filter(({ verifiedAt }) => verifiedAt !== null)
  const said = [
    ...gaps,
    ...damaged,
    ...unreadable,
    `verified: ${verified.map(({ manifest }) => manifest.label).join(', ')}.`,
  ]
  const rung =
    gaps.length > 0 ? 'list --history' : damaged.length > 0 ? 'list' : unreadable.length > 0 ? 'show' : 'none'
  return { rung, verdict: rung === 'none' ? 'passed' : 'failed', said: said.join('\n') }
}
