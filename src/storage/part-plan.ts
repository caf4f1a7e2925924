import { PgproofError } from '../errors.ts'

const mebibyte = 2 ** 20

/** S3's own floor for every part but the last; every provider in the table shares it. */
export const smallestPartBytes = 5 * mebibyte

/** What the buffers of one write may take in any case, so that a fast link is kept full by several parts at once. */
const leastMemoryBytes = 128 * mebibyte
/** No part grows beyond this: a stream that nobody foresaw must not take the machine's memory. */
const largestGrownBytes = 512 * mebibyte

/** The share of all parts that a plan fills; the rest is for a stream that is larger than was said. */
const plannedShare = 0.9
/** Where the parts of a stream of unknown size begin to grow, and by how many steps they double after that. */
const growthStart = 0.5
const growthSteps = 10

export type PartLimits = {
  readonly maxParts: number
  /** All parts but the last must have one size. */
  readonly equalParts: boolean
  readonly largestPartBytes: number
  readonly largestObjectBytes: number
}

export type PartPlan = PartLimits & {
  readonly partBytes: number
  readonly inFlight: number
  /** What all buffers of the write take together, unless two parts alone take more. */
  readonly memoryBytes: number
  /** The number of the last part that surely has the planned size. */
  readonly growthAfter: number
}

/**
 * The size of the parts and how many are on their way at once. All parts are equal as long as the stream keeps to
 * `expectedBytes`; a tenth of the allowed parts stays in reserve for a stream that does not. The buffers take what the
 * operator's own numbers give, `partSizeBytes` × (`partsInFlight` + 1), or 128 MiB if that is more; where the expected
 * size demands larger parts, fewer are on their way, down to one and one that is being filled.
 * Throws `STORE_TOO_LARGE` when not even the largest parts could hold `expectedBytes` and it is exact. Where it is only what
 * may come, as the size of a database is of its compressed dump, the stream may fit all the same.
 */
export function planParts(
  settings: {
    readonly expectedBytes?: number | undefined
    readonly isExact?: boolean | undefined
    readonly partSizeBytes?: number | undefined
    readonly partsInFlight?: number | undefined
  },
  limits: PartLimits,
): PartPlan {
  const { partSizeBytes = 8 * mebibyte, partsInFlight = 3 } = settings
  const { maxParts, largestPartBytes } = limits
  const mostBytes = Math.min(maxParts * largestPartBytes, limits.largestObjectBytes)
  const saidBytes = settings.expectedBytes ?? 0
  const expectedBytes = Math.min(saidBytes, mostBytes)
  if (saidBytes > mostBytes && settings.isExact === true)
    throw tooLarge(
      `${readable(saidBytes)} are expected, and one object holds ${readable(mostBytes)} at most, ` +
        `in ${count(maxParts)} parts of up to ${readable(largestPartBytes)}`,
    )
  const plannedParts = Math.max(1, Math.floor(maxParts * plannedShare))
  const least = Math.min(Math.max(smallestPartBytes, partSizeBytes), largestPartBytes)
  const needed = Math.ceil(expectedBytes / plannedParts / mebibyte) * mebibyte
  const partBytes = Math.min(Math.max(least, needed), largestPartBytes)
  const memoryBytes = Math.max(leastMemoryBytes, least * (partsInFlight + 1))
  const growthStartsAt = Math.floor(maxParts * growthStart)
  return {
    ...limits,
    partBytes,
    inFlight: partsWithinMemory(partBytes, partsInFlight, memoryBytes),
    memoryBytes,
    growthAfter: Math.max(1, growthStartsAt, Math.ceil(expectedBytes / partBytes)),
  }
}

/**
 * The size of part `partNumber` (from 1) when `sentBytes` went before it. The parts grow only beyond what was expected
 * and half of all parts, and only where the store takes unequal ones. Throws `STORE_TOO_LARGE` when no part is left.
 */
export function partBytesAt(plan: PartPlan, partNumber: number, sentBytes: number): number {
  const left = plan.largestObjectBytes - sentBytes
  if (left <= 0) throw tooLarge(`one object holds ${readable(sentBytes)} at most, and more came`)
  if (partNumber > plan.maxParts)
    throw tooLarge(
      `its ${count(plan.maxParts)} parts, the first of ${readable(plan.partBytes)}, are used up after ${readable(sentBytes)}`,
    )
  const beyond = partNumber - 1 - plan.growthAfter
  if (beyond < 0 || plan.equalParts) return Math.min(plan.partBytes, left)
  const partsPerStep = Math.max(1, Math.floor((plan.maxParts - plan.growthAfter) / growthSteps))
  const grown = plan.partBytes * 2 ** (Math.floor(beyond / partsPerStep) + 1)
  const most = Math.min(Math.max(plan.partBytes, largestGrownBytes), plan.largestPartBytes)
  return Math.min(grown, most, left)
}

/** How many parts of this size go at once, with one more being filled; at least one. */
export function partsInFlightOf(plan: PartPlan, partBytes: number): number {
  return partsWithinMemory(partBytes, plan.inFlight, plan.memoryBytes)
}

function partsWithinMemory(partBytes: number, wanted: number, memoryBytes: number): number {
  return Math.max(1, Math.min(wanted, Math.floor(memoryBytes / partBytes) - 1))
}

function tooLarge(reason: string): PgproofError {
  return new PgproofError('STORE_TOO_LARGE', { reason })
}

function count(parts: number): string {
  return parts.toLocaleString('en')
}

/** `8 MiB`, `4.7 GiB`, `48.8 TiB`. */
function readable(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)))
  return `${Number((bytes / 2 ** (10 * power)).toFixed(1))} ${units[power] ?? 'B'}`
}
