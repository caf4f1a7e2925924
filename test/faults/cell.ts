import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { register } from '../../src/errors.ts'
import { type CliResult, type Json, type Started, waitFor } from '../commands/cli.ts'
import { query } from '../support/postgres-server.ts'
import { descendantsOf, isRunning } from '../support/processes.ts'
import { type Expected, expected, type Fault, type Stage } from './matrix.ts'
import { limitAddressSpace, type MemoryGroup, makeMemoryGroup } from './memory-limit.ts'
import { openPlace, type Place, type PlaceParts, untilMoment } from './place.ts'
import { contentsQuery, type Source, sourceDatabase } from './source.ts'
import { withChangedTime } from './with-changed-time.ts'

const restored = 'restored'

/** What the fault leaves running or lying about until the next start, which nobody can hold against pgproof. */
const leavesUntilNext: readonly Fault[] = [
  ...['pgproof killed', 'memory limit', 'out of memory', 'SIGTERM twice', 'server restarted', 'sessions terminated'],
] as Fault[]
/** The store was gone when it would have been tidied up. */
const leavesInStore: readonly Fault[] = [
  ...['pgproof killed', 'memory limit', 'SIGTERM twice', 'network cut', 'network stalled', 'store answers 500'],
  'disk full',
] as Fault[]

/**
 * One fault in one stage, on the real command line: brings it to a known moment, causes the fault, waits for the end and
 * checks what must hold after any fault. Throws where it does not hold.
 */
export async function runCell(stage: Stage, fault: Fault, parts: PlaceParts): Promise<void> {
  const { source } = parts
  const outcome = expected(stage, fault)
  if (outcome === undefined) throw new Error(`there is no cell ${stage} × ${fault}`)
  await using place = await openPlace(stage, fault, parts)
  const { folder } = place
  const args = argumentsOf(stage, source)
  const compiled = { NODE_COMPILE_CACHE: parts.compiled }
  const run = (words: readonly string[]): Promise<CliResult> => folder.run(words, { env: compiled })
  const group = fault === 'memory limit' ? makeMemoryGroup() : null
  try {
    // 1. What counts before: each cell begins with a copy of the same store.
    const objects = await place.objects()
    const before: Listed = { labels: labelsAmong(objects), backups: [], verdicts: [] }

    // 2. The stage comes to its moment, and is hit.
    if (stage === 'prune' || stage === 'sync') place.fill()
    const started = folder.start(args, { env: { ...compiled, ...surroundings(fault, place) } })
    group?.take(started.child.pid ?? 0)
    let end: string | undefined
    void started.result.then(({ stderr, stdout }) => {
      end = stderr + stdout
    })
    await untilMoment(place, () => end)
    const processes = descendantsOf(started.child.pid ?? 0)
    await cause(fault, { stage, started, place, processes, source, group })
    const hit = await started.result
    place.go()
    place.heal()

    // 3. It ended as documented, and nothing of it runs on.
    assertEnd(hit, outcome)
    await nothingLeft(hit.code === null && stage === 'drill' ? [] : processes, source)
    if (!leavesUntilNext.includes(fault)) {
      expect(await source.unfinished()).toEqual([])
      expect(folder.leftovers().filter(isUnwanted)).toEqual([])
    }
    if (!leavesInStore.includes(fault)) expect(await place.unfinished()).toEqual([])

    // 4. What counted still counts, byte for byte, and whatever counts now can be restored.
    const after = await listed(stage, run)
    const isPruned = stage === 'prune'
    if (!isPruned) {
      expect([...after.labels]).toEqual(expect.arrayContaining([...before.labels]))
      expect(await place.objects()).toEqual(new Map([...(await place.objects()), ...objects]))
    }
    const fresh = [...after.labels].filter((label) => !before.labels.has(label))
    await verified(isPruned ? [...after.labels] : fresh, run)
    if (hit.code === 0) await assertRight(stage, hit, { before, after, place, source, run })
    else assertTold(stage, { hit, before, after })

    // 5. The same once more succeeds, and its result is right.
    if (stage === 'restore') await query(source.url(), `DROP DATABASE IF EXISTS ${restored}`)
    const again = await run(args)
    expect({ code: again.code, stderr: again.code === 0 ? '' : again.stderr + again.stdout }).toEqual({
      code: 0,
      stderr: '',
    })
    const last = stage === 'sync' ? after : await listed(stage, run)
    await assertRight(stage, again, { before: after, after: last, place, source, run })
    if (stage === 'backup' || stage === 'roles') await verified(labelsOf(again), run)

    // 6. Nothing at all is left after that; in the store after the first prune that takes it for nobody's.
    expect(folder.leftovers().filter(isUnwanted)).toEqual([])
    expect(await source.unfinished()).toEqual([])
    await nothingLeft(processes, source)
    expect(processesOf(folder.path)).toEqual([])
    if (await hasOrphans(place, last)) {
      const swept = await folder.run(['prune', '--force'], {
        env: { ...compiled, ...withChangedTime({ FAULT_CLOCK: '49' }) },
      })
      expect({ code: swept.code, stderr: swept.code === 0 ? '' : swept.stderr }).toEqual({ code: 0, stderr: '' })
      expect([...(await orphansOf(place, last)), ...(await place.unfinished())]).toEqual([])
    }
  } finally {
    place.go()
    await group?.remove()
    await query(source.url(), `DROP DATABASE IF EXISTS ${restored} WITH (FORCE)`)
  }
}

function argumentsOf(stage: Stage, source: Source): readonly string[] {
  switch (stage) {
    case 'roles':
      return ['backup', '--roles', '--json']
    case 'prune':
      return ['prune', '--force', '--json']
    case 'restore':
      return [
        'restore',
        'latest',
        `main/${sourceDatabase}`,
        '--to',
        source.url(restored),
        '--create',
        '-j',
        '1',
        '--json',
      ]
    default:
      return [stage, '--json']
  }
}

/** Retries that would last minutes are hurried; the clock jumps where that is the fault. */
function surroundings(fault: Fault, { clockFile }: Place): Record<string, string> {
  switch (fault) {
    case 'network cut':
    case 'network stalled':
    case 'store answers 500':
      return withChangedTime({ FAULT_HURRY: '1' })
    case 'clock ahead':
      return withChangedTime({ FAULT_CLOCK: `24 ${clockFile}` })
    case 'clock back':
      return withChangedTime({ FAULT_CLOCK: `-24 ${clockFile}` })
    default:
      return {}
  }
}

type Hit = {
  readonly stage: Stage
  readonly started: Started
  readonly place: Place
  readonly processes: readonly number[]
  readonly source: Source
  readonly group: MemoryGroup | null
}

/** Whatever the network or the disk does has begun by itself at the moment. */
async function cause(fault: Fault, { stage, started, place, processes, source, group }: Hit): Promise<void> {
  switch (fault) {
    case 'pgproof killed':
      started.child.kill('SIGKILL')
      await started.result
      break
    case 'SIGTERM once':
      started.child.kill('SIGTERM')
      return
    case 'SIGTERM twice':
      started.child.kill('SIGTERM')
      // Two at once would arrive as one.
      setTimeout(() => started.child.kill('SIGTERM'), 10)
      return
    case 'program killed':
      process.kill(place.waiting(), 'SIGKILL')
      break
    case 'scratch server killed':
      process.kill(postmastersAmong(processes)[0] ?? Number.NaN, 'SIGKILL')
      break
    case 'sessions terminated':
      await source.endSessions()
      break
    case 'server restarted':
      await source.restart()
      break
    case 'memory limit':
      await group?.press()
      break
    case 'out of memory': {
      const restoresInto = stage === 'restore' ? source.postmaster() : postmastersAmong(processes)[0]
      if (restoresInto === undefined) break
      const goOn = limitAddressSpace(restoresInto)
      place.go()
      await started.result
      if (stage === 'restore') goOn()
      break
    }
    case 'disk full':
      place.fill()
      break
    case 'clock ahead':
    case 'clock back':
      await place.folder.write('clock', '')
      break
    default:
  }
  place.go()
}

/** The scratch server of a drill, if there is one. */
function postmastersAmong(processes: readonly number[]): readonly number[] {
  return processes.filter((pid) => /^[^\0]*\/postgres\0-D\0/.test(commandOf(pid)))
}

/** Documented exit code, and an error of the register with a hint. */
function assertEnd({ code, stdout, stderr }: CliResult, { exits, codes }: Expected): void {
  const error = documentOf(stdout)?.['error']
  const said = error?.['code'] as unknown
  const ended = { code, error: typeof said === 'string' ? said : null }
  const isExpected = exits.includes(code) && (codes.length === 0 || codes.includes(String(said)))
  expect(isExpected ? 'as documented' : `${JSON.stringify(ended)}\n${stdout}${stderr}`).toBe('as documented')
  if (codes.length === 0) return
  expect(Object.keys(register)).toContain(said)
  expect(String(error?.['hint'])).toMatch(/[.!]$/)
}

/** No process of the run, no session, lock, snapshot or prepared transaction on the server. */
async function nothingLeft(processes: readonly number[], source: Source): Promise<void> {
  await waitFor('the processes to end', () => !processes.some(isRunning))
  await expect.poll(() => source.leftovers(), { timeout: 30_000, interval: 50 }).toEqual([])
}

type Listed = {
  readonly labels: ReadonlySet<string>
  readonly backups: readonly Json[]
  /** Verdicts of drills. */
  readonly verdicts: readonly string[]
}

async function listed(stage: Stage, run: (words: readonly string[]) => Promise<CliResult>): Promise<Listed> {
  const none: CliResult = { code: 0, stdout: '{"drills":[]}', stderr: '' }
  const [backups, drills] = await Promise.all([
    run(['list', '--json']),
    stage === 'drill' ? run(['list', '--drills', '--json']) : none,
  ])
  expect([backups.code, drills.code, backups.stderr]).toEqual([0, 0, ''])
  const all = [...(documentOf(backups.stdout)?.['backups'] ?? [])] as Json[]
  return {
    backups: all,
    labels: new Set(all.map(({ label }) => String(label))),
    verdicts: ([...(documentOf(drills.stdout)?.['drills'] ?? [])] as Json[]).map(({ verdict }) => String(verdict)),
  }
}

/** A backup counts from its manifest on. */
function labelsAmong(objects: ReadonlyMap<string, string>): ReadonlySet<string> {
  const manifests = [...objects.keys()].filter((name) => name.endsWith('/manifest.json'))
  return new Set(manifests.map((name) => name.split('/').at(-2) ?? ''))
}

async function verified(
  labels: readonly string[],
  run: (words: readonly string[]) => Promise<CliResult>,
): Promise<void> {
  for (const label of labels) {
    const { code, stderr } = await run(['verify', label])
    expect({ label, code, stderr: code === 0 ? '' : stderr }).toEqual({ label, code: 0, stderr: '' })
  }
}

type Result = {
  readonly before: Listed
  readonly after: Listed
  readonly place: Place
  readonly source: Source
  readonly run: (words: readonly string[]) => Promise<CliResult>
}

/** Of a run that succeeded. */
async function assertRight(
  stage: Stage,
  ended: CliResult,
  { before, after, place, source, run }: Result,
): Promise<void> {
  const fresh = after.backups.filter(({ label }) => !before.labels.has(String(label)))
  switch (stage) {
    case 'backup':
    case 'roles':
      expect(fresh).toHaveLength(1)
      expect(fresh[0]).toMatchObject(
        stage === 'backup' ? { database: sourceDatabase, evidence: { tables: 2, rows: 8_000 } } : { kind: 'roles' },
      )
      return
    case 'prune':
      expect(after.backups.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['database', 'roles']))
      expect(after.backups).toHaveLength(2)
      expect(await orphansOf(place, after)).toEqual([])
      return
    case 'drill':
      expect(documentOf(ended.stdout)?.['drill']?.['verdict']).toBe('passed')
      expect(countOf(after, 'passed')).toBe(countOf(before, 'passed') + 1)
      return
    case 'restore': {
      const [was] = await query(source.url(sourceDatabase), contentsQuery)
      expect(await query(source.url(restored), contentsQuery)).toEqual([was])
      return
    }
    case 'sync': {
      const held = await place.objects()
      const near = readdirSync(join(place.folder.path, 'near'), { recursive: true, withFileTypes: true })
      const names = near
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name).slice(join(place.folder.path, 'near').length + 1))
      expect([...held.keys()]).toEqual(expect.arrayContaining(names))
      await verified([...after.labels], (words) => run([...words, '--from', 'far']))
    }
  }
}

/** Of a run that did not succeed: nothing says that it did. */
function assertTold(
  stage: Stage,
  { hit, before, after }: { readonly hit: CliResult; readonly before: Listed; readonly after: Listed },
): void {
  if (stage === 'drill') {
    // A drill that was hit has proven nothing, and says nothing against the backup either.
    expect(after.verdicts.filter((verdict) => verdict !== 'inconclusive')).toEqual(
      before.verdicts.filter((verdict) => verdict !== 'inconclusive'),
    )
    const reports = after.verdicts.length - before.verdicts.length
    if (hit.code === 14 || hit.code === 130) expect(reports).toBeLessThanOrEqual(1)
    if (hit.code === 14) expect(reports).toBe(1)
    expect(documentOf(hit.stdout)?.['drill']?.['verdict'] ?? 'inconclusive').toBe('inconclusive')
  }
  if (stage === 'backup' || stage === 'roles') {
    const told = labelsOf(hit)
    expect(told).toEqual([])
  }
}

function countOf({ verdicts }: Listed, verdict: string): number {
  return verdicts.filter((one) => one === verdict).length
}

/** The labels of the backups that a run says it has made. */
function labelsOf({ stdout }: CliResult): string[] {
  const runs = [...(documentOf(stdout)?.['runs'] ?? [])] as Json[]
  return runs.flatMap(({ label }) => (label == null ? [] : [String(label)]))
}

async function hasOrphans(place: Place, after: Listed): Promise<boolean> {
  return (await orphansOf(place, after)).length > 0 || (await place.unfinished()).length > 0
}

/** Objects of no backup that counts, and holds of nobody. */
async function orphansOf(place: Place, { labels }: Listed): Promise<string[]> {
  const names = [...(await place.objects()).keys()]
  return names.filter((name) => {
    if (/^(?:pgproof\.json$|drills\/|prunes\/)/.test(name)) return false
    // Whether a hold has run out is judged by the clock of the bucket, which nobody lets jump here.
    if (place.isBucket && name.startsWith('holds/')) return false
    return !name.split('/').some((part) => labels.has(part))
  })
}

function documentOf(stdout: string): Json | undefined {
  try {
    return JSON.parse(stdout) as Json
  } catch {
    return undefined
  }
}

/** What must not lie about: all but what a restore that was cut off may go on with. The store is looked at apart. */
function isUnwanted(file: string): boolean {
  return (
    !file.endsWith('.part') &&
    !file.includes('/spool/downloads/') &&
    !file.endsWith('/filler') &&
    !/\/spool\/known/.test(file)
  )
}

function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isRunning(Number(name)))
    .map((name) => commandOf(Number(name)))
    .filter((command) => command.includes(folder))
}

function commandOf(pid: number): string {
  try {
    return existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : ''
  } catch {
    return ''
  }
}
