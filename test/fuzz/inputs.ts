import fc from 'fast-check'
import { PgproofError } from '../../src/errors.ts'

/** How many inputs each parser gets: few in every test run, as many as PGPROOF_FUZZ_RUNS says on demand. */
export const fuzzRuns = Number(process.env['PGPROOF_FUZZ_RUNS'] ?? 200)
/** Longer than any parser may take for one input; more is a hang. */
const longestMs = 10_000

export const fuzzOptions: fc.Parameters<unknown> = {
  numRuns: fuzzRuns,
  ...(process.env['PGPROOF_FUZZ_SEED'] === undefined ? {} : { seed: Number(process.env['PGPROOF_FUZZ_SEED']) }),
}

/** Bytes near those of real inputs: cut, spliced, with flipped bits, with foreign bytes put in; or anything at all. */
export function near(...real: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  const changes = fc.array(
    fc.record({
      kind: fc.constantFrom('flip', 'cut', 'insert', 'copy', 'drop'),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      to: fc.double({ min: 0, max: 1, noNaN: true }),
      length: fc.integer({ min: 1, max: 64 }),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 24 }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  const changed = fc.tuple(fc.constantFrom(...real), changes).map(([bytes, all]) => {
    let body = Buffer.from(bytes)
    for (const { kind, at, to, length, bytes: given } of all) {
      const from = Math.floor(at * body.length)
      const run = body.subarray(from, from + length)
      if (kind === 'flip' && body.length > 0)
        body[from % body.length] = (body[from % body.length] ?? 0) ^ (given[0] ?? 1)
      if (kind === 'cut') body = body.subarray(0, from)
      if (kind === 'insert') body = Buffer.concat([body.subarray(0, from), given, body.subarray(from)])
      if (kind === 'drop') body = Buffer.concat([body.subarray(0, from), body.subarray(from + length)])
      const target = Math.floor(to * body.length)
      if (kind === 'copy') body = Buffer.concat([body.subarray(0, target), run, body.subarray(target)])
    }
    return body
  })
  const anything = fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes))
  return fc.oneof({ weight: 8, arbitrary: changed }, { weight: 1, arbitrary: anything })
}

/** A JSON document near a real one: a value somewhere in it is replaced, removed or doubled. */
export function nearDocument(real: object): fc.Arbitrary<Buffer> {
  const paths = pathsIn(real)
  const replacement = fc.oneof(
    fc.jsonValue(),
    fc.constant(undefined),
    fc.constant(Number.MAX_VALUE),
    fc.string({ unit: 'binary' }),
  )
  return fc.array(fc.tuple(fc.constantFrom(...paths), replacement), { minLength: 1, maxLength: 3 }).map((changes) => {
    const copy = structuredClone(real) as Record<string, unknown>
    for (const [path, value] of changes) {
      const [last, ...parents] = path.toReversed()
      let at: unknown = copy
      for (const step of parents.toReversed()) at = (at as Record<string, unknown> | null)?.[step]
      if (typeof at === 'object' && at !== null && last !== undefined) (at as Record<string, unknown>)[last] = value
    }
    return Buffer.from(JSON.stringify(copy))
  })
}

function pathsIn(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  const inner = Object.entries(value).flatMap(([key, one]) => pathsIn(one, [...path, key]))
  return path.length === 0 ? inner : [path, ...inner]
}

/** A parser answers, or refuses with an error of the register that is no fault of ours; and does so in time. */
export async function answersOrRefuses(parse: () => unknown): Promise<void> {
  const begun = performance.now()
  try {
    await parse()
  } catch (error) {
    if (!(error instanceof PgproofError) || error.code === 'INTERNAL') throw error
    if (error.message.length > 5000)
      throw new Error(`a message of ${error.message.length} characters`, { cause: error })
  }
  const took = performance.now() - begun
  if (took > longestMs) throw new Error(`it took ${Math.round(took)} ms`)
}
