/**
 * What the tests run of src/, with every program and thread that they start: `node scripts/coverage.ts`. Other arguments go
 * to Vitest, `--keep FOLDER` keeps what was counted, and `--from FOLDER[,FOLDER]` reports on that without running anything.
 * `--write` writes the figures into docs/testing.md. Without it the command ends with 1 where they are below those on the
 * page, where a line without a test has no reason there, and where a reason speaks of no such line.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type FileCounts, whatRan } from './what-ran.ts'

const root = join(import.meta.dirname, '..')
const page = join(root, 'docs/testing.md')
const measures = ['lines', 'functions', 'branches'] as const
const all = '**all**'
const figuresOnPage = /(<!-- coverage -->\n)(.*?)(<!-- \/coverage -->)/s
/** In per cent: some tests draw at random, and what depends on the moment is not run every time. */
const tolerance = 0.2
const options = { keep: { type: 'string' }, from: { type: 'string' }, write: { type: 'boolean' } } as const
const { values, positionals } = parseArgs({ options, allowPositionals: true })
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'pgproof-coverage-'))
try {
  if (values.from === undefined) runTests()
  report(await whatRan(join(root, 'src'), values.from?.split(',') ?? [folder]))
} finally {
  if (values.keep === undefined) rmSync(folder, { recursive: true, force: true })
}

/** A test that fails has counted what it ran all the same; that it failed is for `npm test` to say. */
function runTests(): void {
  mkdirSync(folder, { recursive: true })
  // Some tests start programs as another user.
  chmodSync(folder, 0o1777)
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  spawnSync(process.execPath, [vitest, 'run', '--reporter=dot', ...positionals], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, NODE_V8_COVERAGE: folder },
  })
}

function report(files: readonly FileCounts[]): void {
  const parts = Map.groupBy(files, ({ path }) => path.split('/').at(-2) ?? '.')
  const rows = [...parts].map(([name, members]) => [name, ...shares(members)])
  const figures = table([['src/', ...measures], ...rows, [all, ...shares(files)]])
  console.log(figures)
  mkdirSync(join(root, 'coverage'), { recursive: true })
  writeFileSync(join(root, 'coverage/branches.txt'), `${untaken(files).join('\n')}\n`)
  console.log('\nbranches that no test takes: coverage/branches.txt')
  if (values.write)
    writeFileSync(
      page,
      readFileSync(page, 'utf8').replace(
        figuresOnPage,
        (_block, begin: string, _old, end: string) => `${begin}${figures}\n${end}`,
      ),
    )
  const faults = [...unexplained(files), ...belowFloor(files)]
  if (positionals.length > 0) return
  for (const fault of faults) console.error(fault)
  if (faults.length > 0) process.exitCode = 1
}

function shares(files: readonly FileCounts[]): string[] {
  const { lines, functions, branches } = counts(files)
  return [lines, functions, branches].map(({ ran, of }) => `${percent(ran, of)} % of ${of}`)
}

function counts(files: readonly FileCounts[]): Record<(typeof measures)[number], { ran: number; of: number }> {
  const count = (all: readonly boolean[]) => ({ ran: all.filter((hasRun) => hasRun).length, of: all.length })
  return {
    lines: count(files.flatMap(({ lines }) => [...lines.values()])),
    functions: count(files.flatMap(({ functions }) => functions.map(({ hasRun }) => hasRun))),
    branches: count(files.flatMap(({ branches }) => branches.map(({ hasRun }) => hasRun))),
  }
}

/** Rounded down, so that 100 means all of them. */
function percent(ran: number, of: number): string {
  return of === 0 ? '100' : String(Math.floor((ran / of) * 1000) / 10)
}

function belowFloor(files: readonly FileCounts[]): string[] {
  const [, block = ''] = figuresOnPage.exec(readFileSync(page, 'utf8'))?.slice(1) ?? []
  const floors = block
    .split('\n')
    .find((line) => line.includes(all))
    ?.match(/[\d.]+(?= %)/g)
  const counted = counts(files)
  return measures.flatMap((name, index) => {
    const [share, floor] = [Number(percent(counted[name].ran, counted[name].of)), Number(floors?.[index] ?? 0)]
    return share >= floor - tolerance ? [] : [`${name}: ${share} %, and docs/testing.md says ${floor} %`]
  })
}

/** Lines that follow one another are one place; docs/testing.md names it by how its first line begins. */
function unexplained(files: readonly FileCounts[]): string[] {
  const reasons = [...readFileSync(page, 'utf8').matchAll(/^\| `src\/(.+?)` \| `(.+?)` \|/gm)].map(
    ([, path, start]) => ({ path, start }),
  )
  const places = files.flatMap((file) => placesOf(file))
  const names = ({ path, start }: (typeof reasons)[number], place: Place) =>
    path === place.path && place.text.startsWith(start ?? '')
  return [
    ...places
      .filter((place) => !reasons.some((reason) => names(reason, place)))
      .map(({ path, line, text }) => `no test runs src/${path}:${line}: ${text}`),
    ...reasons
      .filter((reason) => !places.some((place) => names(reason, place)))
      .map(
        ({ path, start }) =>
          `docs/testing.md gives a reason for a line that a test runs, or that is gone: src/${path}: ${start}`,
      ),
  ]
}

type Place = { readonly path: string; readonly line: number; readonly text: string }

function placesOf({ path, lines }: FileCounts): Place[] {
  const text = readFileSync(join(root, 'src', path), 'utf8').split('\n')
  const ordered = [...lines].toSorted(([a], [b]) => a - b)
  return ordered
    .filter(([, hasRun], index) => !hasRun && (ordered[index - 1]?.[1] ?? true))
    .map(([line]) => ({ path, line, text: text[line - 1]?.trim() ?? '' }))
}

function untaken(files: readonly FileCounts[]): string[] {
  return files.flatMap(({ path, branches }) =>
    branches
      .filter(({ hasRun }) => !hasRun)
      .map(({ line, column, kind }) => `src/${path}:${line}:${column + 1} ${kind}`),
  )
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const lines = rows.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`)
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}
