import { assert, integer, option, property, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type PartPlan,
  partBytesAt,
  partsInFlightOf,
  planParts,
  smallestPartBytes,
} from '../../src/storage/part-plan.ts'
import { s3Profiles } from '../../src/storage/s3-profiles.ts'

const mebibyte = 2 ** 20
const gibibyte = 2 ** 30
const tebibyte = 2 ** 40

describe('plan of the parts', () => {
  it('nothing expected - parts of 8 MiB, three in flight', () => {
    expect(planParts({}, s3Profiles.aws)).toMatchObject({ partBytes: 8 * mebibyte, inFlight: 3 })
  })

  it('1 TB expected - parts large enough, all equal, memory bounded by two of them', () => {
    const plan = planParts({ expectedBytes: 1e12, partsInFlight: 3 }, s3Profiles.aws)
    expect(plan.partBytes * 9_000).toBeGreaterThanOrEqual(1e12)
    expect(plan).toMatchObject({ partBytes: 106 * mebibyte, inFlight: 1 })
  })

  it('10 TB expected - two buffers of 1.04 GiB in every store of 10,000 parts that holds as much', () => {
    for (const provider of ['aws', 'minio', 'b2', 'ceph'] as const)
      expect(planParts({ expectedBytes: 1e13, partsInFlight: 3 }, s3Profiles[provider])).toMatchObject({
        partBytes: 1_060 * mebibyte,
        inFlight: 1,
      })
  })

  it('part size below what S3 allows - raised to 5 MiB; above it - lowered to the largest', () => {
    expect(planParts({ partSizeBytes: 1 }, s3Profiles.aws).partBytes).toBe(smallestPartBytes)
    expect(planParts({ partSizeBytes: 5 * gibibyte }, s3Profiles.generic).partBytes).toBe(5e9)
  })

  it('store of 1,000 parts - parts ten times as large for the same stream', () => {
    expect(planParts({ expectedBytes: 90 * gibibyte }, s3Profiles.generic).partBytes).toBe(103 * mebibyte)
    expect(planParts({ expectedBytes: 90 * gibibyte }, s3Profiles.aws).partBytes).toBe(11 * mebibyte)
  })

  it('parts in flight asked for - kept within the memory that they and the part size ask for', () => {
    const inFlight = (expectedBytes: number, partSizeBytes: number) =>
      planParts({ expectedBytes, partSizeBytes, partsInFlight: 6 }, s3Profiles.aws).inFlight
    expect(inFlight(1e9, 8 * mebibyte)).toBe(6)
    expect(inFlight(1e12, 8 * mebibyte)).toBe(1)
    expect(inFlight(1e12, 128 * mebibyte)).toBe(6)
  })

  it('exactly so much expected, more than the largest plan holds - STORE_TOO_LARGE with both sizes; just as much - planned', () => {
    const most = {
      aws: 10_000 * 5 * gibibyte,
      minio: 10_000 * 5 * gibibyte,
      r2: 5 * tebibyte - 5 * gibibyte,
      b2: 10e12,
      ceph: 10_000 * 5 * gibibyte,
      generic: 5e12,
    }
    for (const [provider, bytes] of Object.entries(most)) {
      const limits = s3Profiles[provider as keyof typeof most]
      const plan = planParts({ expectedBytes: bytes }, limits)
      expect(plan.partBytes * plan.maxParts).toBeGreaterThanOrEqual(bytes)
      expect(() => planParts({ expectedBytes: bytes + 1, isExact: true }, limits)).toThrow(
        expect.objectContaining({ code: 'STORE_TOO_LARGE' }),
      )
    }
    expect(() => planParts({ expectedBytes: 60 * tebibyte, isExact: true }, s3Profiles.aws)).toThrow(
      'the object is too large for the store: 60 TiB are expected, and one object holds 48.8 TiB at most, in 10,000 parts of up to 5 GiB',
    )
  })

  it('a bound beyond the largest plan, as the size of a database whose dump is far smaller - planned as large as can be', () => {
    for (const limits of Object.values(s3Profiles)) {
      const most = Math.min(limits.maxParts * limits.largestPartBytes, limits.largestObjectBytes)
      expect(planParts({ expectedBytes: 3 * most }, limits)).toEqual(planParts({ expectedBytes: most }, limits))
    }
  })

  it('any expected size in any store - the plan holds it in equal parts, within memory, or it is refused', () => {
    assert(
      property(anyLimits, anySettings, (limits, settings) => {
        const { partSizeBytes = 8 * mebibyte, partsInFlight = 3 } = settings
        const most = Math.min(limits.maxParts * limits.largestPartBytes, limits.largestObjectBytes)
        const expectedBytes = Math.min(settings.expectedBytes, most)
        if (settings.isExact && settings.expectedBytes > most) {
          expect(() => planParts(settings, limits)).toThrow(expect.objectContaining({ code: 'STORE_TOO_LARGE' }))
          return
        }
        const plan = planParts(settings, limits)
        const needed = Math.max(1, Math.ceil(expectedBytes / plan.partBytes))
        expect(needed).toBeLessThanOrEqual(limits.maxParts)
        expect(plan.partBytes).toBeGreaterThanOrEqual(smallestPartBytes)
        expect(plan.partBytes).toBeLessThanOrEqual(limits.largestPartBytes)
        // A reserve of a tenth, unless the expected size is too near to what the store can do at all.
        if (plan.partBytes < limits.largestPartBytes && limits.maxParts > 1)
          expect(needed).toBeLessThanOrEqual(Math.max(1, Math.floor(limits.maxParts * 0.9)))
        const last = partBytesAt(plan, needed, (needed - 1) * plan.partBytes)
        expect(last).toBeLessThanOrEqual(plan.partBytes)
        expect((needed - 1) * plan.partBytes + last).toBeGreaterThanOrEqual(expectedBytes)
        const asked = Math.min(partSizeBytes, limits.largestPartBytes) * (partsInFlight + 1)
        expect(plan.inFlight).toBeLessThanOrEqual(partsInFlight)
        expect(plan.partBytes * (plan.inFlight + 1)).toBeLessThanOrEqual(
          Math.max(128 * mebibyte, asked, 5 * mebibyte * (partsInFlight + 1), 2 * plan.partBytes),
        )
      }),
      { numRuns: 2_000 },
    )
  })

  it('any stream that outgrows its plan - parts never shrink, never beyond the limits, STORE_TOO_LARGE at the end', () => {
    assert(
      property(anyLimits, anySettings, (limits, settings) => {
        const most = Math.min(limits.maxParts * limits.largestPartBytes, limits.largestObjectBytes)
        const plan = planParts({ ...settings, expectedBytes: Math.min(settings.expectedBytes, most) }, limits)
        const sizes = allParts(plan)
        const total = sum(sizes)
        expect(sizes.length).toBeLessThanOrEqual(limits.maxParts)
        expect(total).toBeLessThanOrEqual(limits.largestObjectBytes)
        expect(total).toBeGreaterThanOrEqual(Math.min(settings.expectedBytes, most))
        const grown = Math.max(plan.partBytes, 512 * mebibyte)
        const isCut = total === limits.largestObjectBytes
        const whole = isCut ? sizes.slice(0, -1) : sizes
        expect(whole.every((bytes, index) => bytes >= (whole[index - 1] ?? plan.partBytes))).toBe(true)
        expect(Math.max(...sizes)).toBeLessThanOrEqual(Math.min(grown, limits.largestPartBytes))
        if (limits.equalParts) expect(whole.every((bytes) => bytes === plan.partBytes)).toBe(true)
        for (const bytes of new Set(sizes))
          expect(bytes * (partsInFlightOf(plan, bytes) + 1)).toBeLessThanOrEqual(Math.max(plan.memoryBytes, 2 * grown))
      }),
      { numRuns: 200 },
    )
  })

  it('a hundred times as much as expected - fits by growth, in every store that takes unequal parts', () => {
    for (const profile of Object.values(s3Profiles).filter(({ equalParts }) => !equalParts))
      for (const expectedBytes of [1e6, 1e8, 1e9])
        expect(sum(allParts(planParts({ expectedBytes }, profile)))).toBeGreaterThan(100 * expectedBytes)
  })

  it('size not known - equal up to 39 GiB, then growing by steps; more than 1 TiB in all', () => {
    const sizes = allParts(planParts({}, s3Profiles.aws))
    expect(new Set(sizes.slice(0, 5_000))).toEqual(new Set([8 * mebibyte]))
    expect([...new Set(sizes)].map((bytes) => bytes / mebibyte)).toEqual([8, 16, 32, 64, 128, 256, 512])
    expect(sum(sizes)).toBeGreaterThan(tebibyte)
  })

  it('stream outgrows the plan where parts must be equal - STORE_TOO_LARGE after the last part, saying how far it came', () => {
    const plan = planParts({}, s3Profiles.r2)
    expect(partBytesAt(plan, 10_000, 9_999 * 8 * mebibyte)).toBe(8 * mebibyte)
    expect(() => partBytesAt(plan, 10_001, 10_000 * 8 * mebibyte)).toThrow(
      'the object is too large for the store: its 10,000 parts, the first of 8 MiB, are used up after 78.1 GiB',
    )
  })

  it('stream reaches the largest object of the store - the last part is cut to it, more is STORE_TOO_LARGE', () => {
    const limits = { ...s3Profiles.aws, largestObjectBytes: 21 * mebibyte }
    const plan = planParts({}, limits)
    expect(allParts(plan).map((bytes) => bytes / mebibyte)).toEqual([8, 8, 5])
    expect(() => partBytesAt(plan, 4, 21 * mebibyte)).toThrow(expect.objectContaining({ code: 'STORE_TOO_LARGE' }))
  })

  it('grown parts - fewer in flight, at least one', () => {
    const plan = planParts({}, s3Profiles.aws)
    expect([8, 16, 32, 64, 512].map((size) => partsInFlightOf(plan, size * mebibyte))).toEqual([3, 3, 3, 1, 1])
  })
})

const anyLimits = record({
  maxParts: integer({ min: 1, max: 12_000 }),
  equalParts: integer({ min: 0, max: 1 }).map((bit) => bit === 1),
  largestPartBytes: integer({ min: smallestPartBytes, max: 5 * gibibyte }),
  largestObjectBytes: integer({ min: 100 * mebibyte, max: 50 * tebibyte }),
})

const anySettings = record({
  // Small and large sizes alike: a uniform one would be tebibytes nearly always.
  expectedBytes: integer({ min: 0, max: 46_000 }).map((power) => Math.floor(2 ** (power / 1000))),
  isExact: integer({ min: 0, max: 1 }).map((bit) => bit === 1),
  partSizeBytes: option(integer({ min: smallestPartBytes, max: gibibyte }), { nil: undefined }),
  partsInFlight: option(integer({ min: 1, max: 64 }), { nil: undefined }),
})

/** The sizes of all parts that an endless stream would get. */
function allParts(plan: PartPlan): number[] {
  const sizes: number[] = []
  for (let sent = 0; sizes.length < plan.maxParts && sent < plan.largestObjectBytes; ) {
    const bytes = partBytesAt(plan, sizes.length + 1, sent)
    sizes.push(bytes)
    sent += bytes
  }
  return sizes
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, bytes) => total + bytes, 0)
}
