import type { SoakResult } from './run.ts'
import { judgeGrowth } from './verdict.ts'

/** The tables of a soak, and whether all is flat and whole. */
export function reportSoak(result: SoakResult): { readonly text: string; readonly isWell: boolean } {
  const { backups, stretches, leftovers, untrueMetrics, exitCode } = result
  const last = stretches.at(-1)
  const growth = judgeGrowth(stretches, result.rests)
  const whole = judgeWhole(result)
  const isWell = [...growth, ...whole].every(({ isFlat }) => isFlat)
  const counts = (map: ReadonlyMap<string, number>): string =>
    [...map].map(([key, number]) => `${key} ${number}`).join(', ') || 'none'
  const text = [
    `${last?.minutes.toFixed(0)} minutes, ${last?.cycles} backups, ${result.changes} changes by the writer, ${result.reloads} reloads`,
    `runs: ${counts(result.ended)}`,
    `ended with: ${counts(result.codes)}`,
    `other complaints: ${counts(result.complaints)}`,
    `faults: ${counts(result.faults)}`,
    '',
    '| minute | backups | resident MB: least, middle, most | heap MB: least, taken by V8, of it young, external | files | sockets | threads | children | sessions | spool |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...stretches.map(
      (one) =>
        `| ${one.minutes.toFixed(0)} | ${one.cycles} | ${[one.rss.least, one.rss.middle, one.rss.most].map((mb) => mb.toFixed(0)).join(', ')} | ` +
        `${one.heap.toFixed(1)}, ${one.heapSpace.toFixed(0)}, ${one.young.toFixed(0)}, ${one.external.toFixed(0)} | ${one.files} | ${one.sockets} | ${one.threads} | ${one.children} | ${one.sessions} | ${one.spoolFiles} |`,
    ),
    '',
    '| at rest, minute | backups | resident MB | collected: resident, heap MB | files | sockets | threads | children | sessions | held back | spool |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...result.rests.map(
      (one) =>
        `| ${one.minutes.toFixed(0)} | ${one.cycles} | ${one.rss.toFixed(0)} | ${one.keptRss.toFixed(0)}, ${one.keptHeap.toFixed(1)} | ${one.files} | ${one.sockets} | ` +
        `${one.threads} | ${one.children} | ${one.sessions} | ${one.heldBack} | ${one.spoolFiles} |`,
    ),
    '',
    '| second half | figure | verdict |',
    '| --- | --- | --- |',
    ...growth.map(({ what, figure, isFlat }) => `| ${what} | ${figure} | ${isFlat ? 'flat' : '**grows**'} |`),
    '',
    '| at the end | figure | verdict |',
    '| --- | --- | --- |',
    ...whole.map(
      ({ what, figure, isFlat }) => `| ${what} | ${figure} | ${isFlat ? 'as it should be' : '**not so**'} |`,
    ),
    ...[...leftovers, ...untrueMetrics, ...backups.lost, ...backups.troubles].map((one) => `  ${one}`),
    ...(exitCode === 0 ? [] : [`  the daemon ended with ${exitCode}`]),
  ].join('\n')
  return { text, isWell }
}

/** What must hold at the end, however short the soak was. */
export function judgeWhole(result: SoakResult): readonly { what: string; figure: string; isFlat: boolean }[] {
  const { backups, ended } = result
  const number = (key: string): number => ended.get(key) ?? 0
  return [
    {
      what: 'backups that the daemons made: in the list or in the record of a prune',
      figure: `${backups.made - backups.lost.length} of ${backups.made}`,
      isFlat: backups.lost.length === 0 && backups.made > 0,
    },
    {
      what: 'backups in the stores that `pgproof verify` passes',
      figure: `${backups.verified} of ${backups.listed}`,
      isFlat: backups.verified === backups.listed && backups.listed > 0 && backups.troubles.length === 0,
    },
    {
      what: 'drills that passed / were hit and say nothing / failed',
      figure: `${number('drill succeeded')} / ${number('drill inconclusive')} / ${number('drill failed')}`,
      isFlat: number('drill failed') === 0 && number('drill succeeded') > 0,
    },
    {
      what: 'numbers of runs by the metrics that are not those of the log',
      figure: String(result.untrueMetrics.length),
      isFlat: result.untrueMetrics.length === 0,
    },
    {
      what: 'processes, sessions, databases, files and uploads left behind',
      figure: String(result.leftovers.length),
      isFlat: result.leftovers.length === 0 && result.exitCode === 0,
    },
  ]
}
