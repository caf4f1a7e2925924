/** Runs a stream stage over bytes that are all there. */
export async function throughStage(
  stage: (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stage(wholeBytes(bytes))) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Bytes that are all there, as a stream of one chunk. */
export async function* wholeBytes(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes
}
