import { createHash } from 'node:crypto'

export type Measured = { readonly bytes: number; readonly sha256: string }

/** Passes bytes through and afterwards tells how many they were and their SHA-256, so nothing is read twice. */
export type Measure = {
  stage(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void>
  /** What has passed so far, for progress. */
  bytesSoFar(): number
  /** Only after the stage has ended. */
  result(): Measured
}

export function createMeasure(onBytes?: (total: number) => void): Measure {
  const hash = createHash('sha256')
  let bytes = 0
  let sha256: string | undefined
  return {
    async *stage(source) {
      for await (const chunk of source) {
        hash.update(chunk)
        bytes += chunk.length
        onBytes?.(bytes)
        yield chunk
      }
      sha256 = hash.digest('hex')
    },
    bytesSoFar: () => bytes,
    result: () => {
      if (sha256 === undefined) throw new Error('measured before the end of the stream')
      return { bytes, sha256 }
    },
  }
}

export function measureBytes(bytes: Uint8Array): Measured {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}
