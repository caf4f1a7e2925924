const blockBytes = 512 << 10

/**
 * Joins small chunks to blocks. A pipe gives 64 KiB at a time, and every stage costs something per chunk; with blocks a
 * backup takes two thirds of the time (10.9 s against 7.5 s for 1 GiB through zstd and encryption, in one run).
 */
export async function* inBlocks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of source) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes < blockBytes) continue
    yield Buffer.concat(chunks)
    chunks = []
    bytes = 0
  }
  if (bytes > 0) yield Buffer.concat(chunks)
}
