/** Bytes cut into chunks of the given sizes, over and over; zero gives an empty chunk. */
export async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array, void, void> {
  for (let from = 0, turn = 0; from < bytes.length || turn === 0; turn += 1) {
    const size = sizes[turn % sizes.length] ?? bytes.length
    yield bytes.subarray(from, from + size)
    from += size
    if (turn >= sizes.length && sizes.every((each) => each === 0)) return
  }
}

export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** A source that tells whether it was closed and how far it was read. */
export function watched(chunks: Iterable<Uint8Array>): {
  source: AsyncGenerator<Uint8Array, void, void>
  state: { bytes: number; isClosed: boolean }
} {
  const state = { bytes: 0, isClosed: false }
  async function* read(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for (const chunk of chunks) {
        state.bytes += chunk.length
        yield chunk
      }
    } finally {
      state.isClosed = true
    }
  }
  return { source: read(), state }
}
