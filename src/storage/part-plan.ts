import { PgproofError } from '../errors.ts'

const mebibyte = 2 ** 20

/** S3's own floor for every part but the last; every provider in the table shares it. */
export const smallestPartBytes = 5 * mebibyte

/** What one write may hold in memory unless the operator asks for more parts in flight. */
const memoryBytes = 64 * mebibyte
const largestPartBytes = 512 * mebibyte

/** Where the parts of an unforeseen size begin to grow, and how many parts each size serves, as shares of all parts. */
const growthStart = 0.9
const growthStep = 0.01

export type PartLimits = { readonly maxParts: number; readonly equalParts: boolean }

export type PartPlan = PartLimits & { readonly partBytes: number; readonly inFlight: number }

/**
 * The size of the parts and how many are on their way at once. All parts are equal as long as the stream keeps to
 * `expectedBytes`; a tenth of the allowed parts stays in reserve for a stream that does not.
 */
export function planParts(
  settings: {
    readonly expectedBytes?: number | undefined
    readonly partSizeBytes?: number | undefined
    readonly partsInFlight?: number | undefined
  },
  limits: PartLimits,
): PartPlan {
  const least = Math.max(smallestPartBytes, settings.partSizeBytes ?? 8 * mebibyte)
  const needed = (settings.expectedBytes ?? 0) / Math.floor(limits.maxParts * growthStart)
  const partBytes = needed <= least ? least : Math.ceil(needed / mebibyte) * mebibyte
  return { ...limits, partBytes, inFlight: settings.partsInFlight ?? partsWithinMemory(partBytes, 3) }
}

/**
 * The size of part `partNumber` (from 1). Grows only in the last tenth, and only where the store takes unequal parts.
 * Throws `STORE_TOO_LARGE` when no part is left.
 */
export function partBytesAt(plan: PartPlan, partNumber: number): number {
  if (partNumber > plan.maxParts)
    throw new PgproofError('STORE_TOO_LARGE', { limit: plan.maxParts, part: plan.partBytes })
  const beyond = partNumber - 1 - Math.floor(plan.maxParts * growthStart)
  if (beyond < 0 || plan.equalParts) return plan.partBytes
  const doublings = Math.floor(beyond / Math.max(1, Math.floor(plan.maxParts * growthStep))) + 1
  return Math.min(plan.partBytes * 2 ** doublings, Math.max(plan.partBytes, largestPartBytes))
}

/** How many parts of this size go at once, with one more being filled; at least one, at most `wanted`. */
export function partsWithinMemory(partBytes: number, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor(memoryBytes / partBytes) - 1))
}
