import type { Fault, FaultPlan, ProxiedRequest } from '../support/fault-proxy.ts'

/** What the caller does with the store, and how the way to it fails; all of it follows from the seed. */
export type FaultSchedule = FaultPlan & {
  readonly seed: number
  readonly weather: Weather
  readonly kinds: readonly FaultKind[]
  readonly act: 'put' | 'put-if-absent' | 'write'
  readonly bytes: number
  readonly partsInFlight: number
  /** Where the reading begins. */
  readonly readFrom: number
  /** After how much of the source the caller gives up, or the source itself fails. */
  readonly interruption: { readonly by: 'caller' | 'source'; readonly afterBytes: number } | undefined
}

/** How many of the requests fail; in `one dead` every request of one operation does. */
export type Weather = 'calm' | 'rough' | 'storm' | 'dead' | 'one dead'

export type FaultKind = (typeof faultKinds)[number]

const faultKinds = [
  'reset-request',
  'reset-answer',
  'end-answer',
  'stall-request',
  'stall-answer',
  'answer',
  'error-in-200',
  'lose-answer',
  'forward-twice',
  'trickle',
  'short-body',
  'refused',
  'outage',
] as const

const rates: Readonly<Record<Weather, number>> = { calm: 0.05, rough: 0.2, storm: 0.5, dead: 1, 'one dead': 0.05 }
const mebibyte = 2 ** 20

/** The schedule of a seed. */
export function faultSchedule(seed: number): FaultSchedule {
  const random = generator(`${seed}`)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const weather = pick<Weather>([
    'calm',
    'calm',
    'rough',
    'rough',
    'rough',
    'rough',
    'storm',
    'storm',
    'dead',
    'one dead',
  ])
  const kinds = Array.from({ length: 1 + Math.floor(random() * 5) }, () => pick(faultKinds))
  const act = pick(['put', 'put-if-absent', 'write', 'write', 'write', 'write', 'write'] as const)
  const isLarge = act === 'write' && random() < 0.7
  const bytes = Math.floor(isLarge ? (5 + random() * 20) * mebibyte : random() ** 3 * 3 * mebibyte)
  const interrupted = act === 'write' && random() < 0.15
  const deadOperation = pick(
    isLarge
      ? ['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload', 'AbortMultipartUpload', 'HeadObject']
      : ['PutObject', 'HeadObject', 'GetObject', 'ListObjectsV2', 'DeleteObject'],
  )
  const outageAt = kinds.includes('outage') ? Math.floor(random() * 12) : -1
  const outageFor = 50 + random() * 500
  const refused = kinds.includes('refused') ? rates[weather] : 0
  return {
    ...{ seed, weather, kinds, act, bytes },
    partsInFlight: 1 + Math.floor(random() * 3),
    readFrom: random() < 0.5 ? 0 : Math.floor(random() * bytes),
    interruption: interrupted ? { by: pick(['caller', 'source']), afterBytes: random() * bytes } : undefined,
    outageMs: (request) => (request === outageAt ? outageFor : 0),
    refuses: (connection) => generator(`${seed} connection ${connection}`)() < refused,
    faultOf: (request) => {
      // By request and not in turn: the order in which parts arrive differs from run to run.
      const draw = generator(`${seed} ${request.operation} ${request.path.split('/').at(-1)} ${request.nth}`)
      const rate = weather === 'one dead' && request.operation === deadOperation ? 1 : rates[weather]
      return draw() < rate ? faultFor(kinds[Math.floor(draw() * kinds.length)] as FaultKind, request, draw) : undefined
    },
  }
}

function faultFor(kind: FaultKind, { operation }: ProxiedRequest, draw: () => number): Fault | undefined {
  // Any byte: of the head, of the first kilobyte, or of all there is.
  const somewhere = () => Math.floor(draw() ** 4 * 6 * mebibyte)
  switch (kind) {
    case 'reset-request':
    case 'stall-request':
    case 'reset-answer':
    case 'end-answer':
    case 'stall-answer':
      return { kind, afterBytes: somewhere() }
    case 'answer': {
      const [status, code] = [
        [500, 'InternalError'],
        [503, 'SlowDown'],
        [503, 'ServiceUnavailable'],
        [429, 'TooManyRequests'],
      ][Math.floor(draw() * 4)] as [number, string]
      const hint = draw() < 0.5 ? { retryAfterSeconds: Math.floor(draw() * 20) } : {}
      return { kind, status, code, isEarly: draw() < 0.5, ...hint }
    }
    case 'error-in-200':
      return { kind: 'answer', status: 200, code: draw() < 0.5 ? 'InternalError' : 'SlowDown', isEarly: false }
    case 'lose-answer':
      return { kind, instead: (['reset', 'silence', 'status'] as const)[Math.floor(draw() * 3)] as 'reset' }
    case 'forward-twice':
      return { kind }
    case 'trickle':
      return { kind, pieces: 5 + Math.floor(draw() * 20), everyMs: Math.floor(draw() * 15) }
    case 'short-body':
      // An object that is cut and declared whole is found by its SHA-256 only, not by the store.
      return operation === 'GetObject' || operation === 'HeadObject' ? undefined : { kind, share: draw() }
    case 'refused':
    case 'outage':
      return undefined
  }
}

/** Random numbers in [0, 1) that follow from a text (FNV-1a, then mulberry32). */
export function generator(text: string): () => number {
  let state = 0x811c9dc5
  for (const character of text) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
