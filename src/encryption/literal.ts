import { ByteReader, MalformedPacket, packetTags, readPacketBody, readPacketHeader } from './packets.ts'

/** The contents of the one literal packet that the encrypted data must consist of. Throws `MalformedPacket`. */
export async function* literalContents(reader: ByteReader): AsyncGenerator<Uint8Array, void, void> {
  const header = await readPacketHeader(reader)
  if (header?.tag === packetTags.compressed)
    throw new MalformedPacket('its contents are compressed by OpenPGP, which pgproof never does')
  if (header?.tag !== packetTags.literal) throw new MalformedPacket('it holds no data, or signed data')
  const body = new ByteReader(readPacketBody(reader, header))
  await skip(body, 1)
  await skip(body, (await skip(body, 1)) + 4)
  for (let bytes = await body.take(Infinity); bytes !== undefined; bytes = await body.take(Infinity)) yield bytes
  // Reading on is what makes the modification detection code be checked.
  if ((await reader.byte()) !== undefined) throw new MalformedPacket('something follows its data')
}

/** Passes over `count` bytes and returns the last of them. */
async function skip(reader: ByteReader, count: number): Promise<number> {
  let last: number | undefined
  for (let done = 0; done < count; done += 1) {
    last = await reader.byte()
    if (last === undefined) throw new MalformedPacket('it is cut short')
  }
  return last ?? 0
}
