import type { Rest, Stretch } from './sample.ts'

/** Megabytes that the middle memory of a stretch, or the JS heap kept at rest, may grow by with each hundred backups. */
export const mostMegabytes = 1

/** Sockets and threads that may be kept at rest beyond what was there at the first look. */
const mostKept = 4

export type Judged = { readonly what: string; readonly figure: string; readonly isFlat: boolean }

/**
 * Whether what a daemon holds grows. Looked at is the second half of the time, of which one process must have seen all:
 * memory and heap by the least-squares slope over backups made; what is held at rest by being the same each time, but for what
 * comes and goes by itself: sockets that are kept for a while, and threads.
 */
export function judgeGrowth(stretches: readonly Stretch[], rests: readonly Rest[]): readonly Judged[] {
  const last = stretches.at(-1)
  if (last === undefined) throw new Error('nothing was measured')
  const isLate = ({ minutes, daemon }: Stretch | Rest): boolean => minutes > last.minutes / 2 && daemon === last.daemon
  const late = stretches.filter(isLate)
  const lateRests = rests.filter(isLate)
  const slope = (what: string, of: readonly { readonly cycles: number }[], values: readonly number[]): Judged => {
    const cycles = of.map((one) => one.cycles)
    const perHundred = 100 * slopeOf(cycles, values)
    return { what, figure: `${signed(perHundred)} MB per 100 backups`, isFlat: perHundred <= mostMegabytes }
  }
  const same = (what: string, values: readonly number[], wanted?: number): Judged => {
    const found = [...new Set(values)]
    const isFlat = found.length === 1 && (wanted === undefined || found[0] === wanted)
    return { what: `${what}, at rest`, figure: values.join(', '), isFlat }
  }
  /** None is much above the first: some are kept for a while in case they are needed again. */
  const notMore = (what: string, values: readonly number[]): Judged => {
    const isFlat = values.every((value) => value <= (values[0] ?? 0) + mostKept)
    return { what: `${what}, at rest`, figure: values.join(', '), isFlat }
  }
  const of = (name: Exclude<keyof Rest, 'daemon'>): number[] => lateRests.map((rest) => rest[name])
  return [
    slope(
      'resident memory',
      late,
      late.map(({ rss }) => rss.middle),
    ),
    slope('resident memory, at rest and collected', lateRests, of('keptRss')),
    slope('JS heap, at rest and collected', lateRests, of('keptHeap')),
    same('open files', of('files')),
    notMore('sockets', of('sockets')),
    notMore('threads', of('threads')),
    same('child processes', of('children'), 0),
    same('sessions on the server', of('sessions'), 0),
    same('transactions held back from vacuum', of('heldBack'), 0),
    same('advisory locks', of('advisoryLocks'), 0),
    same('files in the spool', of('spoolFiles'), 0),
  ]
}

/** Of the least-squares line; 0 for fewer than two points. */
export function slopeOf(xs: readonly number[], ys: readonly number[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length
  const [x, y] = [mean(xs), mean(ys)]
  const spread = xs.reduce((sum, one) => sum + (one - x) ** 2, 0)
  return spread === 0 ? 0 : xs.reduce((sum, one, index) => sum + (one - x) * ((ys[index] ?? y) - y), 0) / spread
}

export function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`
}
