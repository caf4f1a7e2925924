import { assert, integer, option, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { partBytesAt, partsWithinMemory, planParts, smallestPartBytes } from '../../src/storage/part-plan.ts'
import { s3Profiles } from '../../src/storage/s3-profiles.ts'

const mebibyte = 2 ** 20
const gibibyte = 2 ** 30

describe('plan of the parts', () => {
  it('nothing expected - parts of 8 MiB, three in flight', () => {
    expect(planParts({}, s3Profiles.aws)).toMatchObject({ partBytes: 8 * mebibyte, inFlight: 3 })
  })

  it('1 TB expected - parts large enough, all equal, memory bounded by two of them', () => {
    const plan = planParts({ expectedBytes: 1e12 }, s3Profiles.aws)
    expect(plan.partBytes * 9_000).toBeGreaterThanOrEqual(1e12)
    expect(plan).toMatchObject({ partBytes: 106 * mebibyte, inFlight: 1 })
  })

  it('part size below what S3 allows - raised to 5 MiB', () => {
    expect(planParts({ partSizeBytes: 1 }, s3Profiles.aws).partBytes).toBe(smallestPartBytes)
  })

  it('store of 1,000 parts - parts ten times as large for the same stream', () => {
    expect(planParts({ expectedBytes: 90 * gibibyte }, s3Profiles.generic).partBytes).toBe(103 * mebibyte)
    expect(planParts({ expectedBytes: 90 * gibibyte }, s3Profiles.aws).partBytes).toBe(11 * mebibyte)
  })

  it('parts in flight asked for - kept, whatever the size', () => {
    expect(planParts({ expectedBytes: 1e12, partsInFlight: 6 }, s3Profiles.aws).inFlight).toBe(6)
  })

  it('any expected size - the plan holds it in equal parts, in every profile', () => {
    assert(
      property(integer({ min: 0, max: 4e12 }), option(integer({ min: 1, max: 200 * mebibyte })), (bytes, size) => {
        for (const profile of Object.values(s3Profiles)) {
          const plan = planParts({ expectedBytes: bytes, partSizeBytes: size ?? undefined }, profile)
          const count = Math.max(1, Math.ceil(bytes / plan.partBytes))
          expect(count).toBeLessThanOrEqual(profile.maxParts * 0.9)
          expect(partBytesAt(plan, count)).toBe(plan.partBytes)
          expect(plan.inFlight === 1 || plan.partBytes * (plan.inFlight + 1) <= 64 * mebibyte).toBe(true)
        }
      }),
    )
  })

  it('stream outgrows the plan - parts grow in the last tenth, never shrink, and hold 40 times the plan or more', () => {
    const plan = planParts({}, s3Profiles.aws)
    let total = 0
    let last = 0
    for (let number = 1; number <= plan.maxParts; number += 1) {
      const bytes = partBytesAt(plan, number)
      expect(bytes).toBeGreaterThanOrEqual(last)
      if (number <= 9_000) expect(bytes).toBe(plan.partBytes)
      last = bytes
      total += bytes
    }
    expect(last).toBe(512 * mebibyte)
    expect(total).toBeGreaterThan(300 * gibibyte)
  })

  it('stream outgrows the plan where parts must be equal - STORE_TOO_LARGE after the last part', () => {
    const plan = planParts({}, s3Profiles.r2)
    expect(partBytesAt(plan, 10_000)).toBe(8 * mebibyte)
    expect(() => partBytesAt(plan, 10_001)).toThrow(expect.objectContaining({ code: 'STORE_TOO_LARGE' }))
  })

  it('grown parts - fewer in flight, at least one', () => {
    expect([8, 16, 32, 512].map((size) => partsWithinMemory(size * mebibyte, 3))).toEqual([3, 3, 1, 1])
  })
})
