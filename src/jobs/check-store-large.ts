import { createHash, type Hash, randomBytes } from 'node:crypto'
import { PgproofError } from '../errors.ts'
import { freeVersions, isBucket, type StoreProbe, tryStep, writeRights } from './store-probe.ts'

const mebibyte = 2 ** 20

/**
 * A stream of more than one part, read from the middle on, and one that is given up. Where the first could not be removed
 * (`isRemovable`), only the second is tried: it leaves nothing.
 */
export async function checkLargeObjects(probe: StoreProbe, isRemovable: boolean): Promise<void> {
  // A directory has no parts, and may be on a small disk.
  const bytes = isBucket(probe.store.writer) ? probe.settings.partSizeBytes + mebibyte : 2 * mebibyte
  if (isRemovable) await checkWhole(probe, bytes)
  else if (isBucket(probe.store.writer))
    probe.findings.ok(
      'no large probe is written, because it could not be removed; a multipart upload is begun and given up',
    )
  await checkGivenUp(probe, bytes)
}

async function checkWhole(probe: StoreProbe, bytes: number): Promise<void> {
  const { store, findings, clock, signal, folder, written } = probe
  const key = `${folder}dump.zst.pgp`
  const noise = makeNoise()
  const kind = isBucket(store.writer) ? 'a multipart upload' : 'a stream'
  let wroteMs = 0
  const put = { what: `${kind} of ${mebibytes(bytes)}`, by: 'writer', rights: writeRights(probe) } as const
  const isWritten = await tryStep(probe, put, async () => {
    written.add(key)
    const start = clock.monotonicMs()
    const stored = await store.writer.write(key, noise.stream(bytes), { signal, expectedBytes: bytes })
    wroteMs = clock.monotonicMs() - start
    if (stored.bytes !== bytes) throw new Error(`the store holds ${stored.bytes} bytes of ${bytes}`)
    return kind
  })
  if (!isWritten) return

  // No round number, so that a store that rounds is noticed.
  const offset = Math.floor(bytes / 3) + 1
  const isRead = await tryStep(probe, { what: 'a ranged read', by: 'reader', rights: 's3:GetObject' }, async () => {
    const head = await store.reader.head(key, { signal })
    if (head?.bytes !== bytes) throw new Error(`the store tells ${head?.bytes ?? 'no'} bytes of ${bytes}`)
    const start = clock.monotonicMs()
    const hash = createHash('sha256')
    for await (const chunk of await store.reader.read(key, { signal, offset })) hash.update(chunk as Uint8Array)
    const readMs = clock.monotonicMs() - start
    if (!hash.digest().equals(noise.digest(bytes, offset)))
      throw new Error(`what was written came back changed from byte ${offset} on`)
    const rates = `written at ${rate(bytes, wroteMs)}, read at ${rate(bytes - offset, readMs)}`
    findings.ok(`a probe of ${mebibytes(bytes)}: ${rates}`)
    return 'a ranged read'
  })
  if (!isRead) return
  await tryStep(probe, { what: 'a delete', by: 'pruner', rights: 's3:DeleteObject' }, async () => {
    await store.pruner.delete(key, { signal })
    await freeVersions(probe, key)
    written.delete(key)
    return 'removing it'
  })
}

/** What a backup that fails or is cancelled must be able to do: take back what it had begun. */
async function checkGivenUp(probe: StoreProbe, bytes: number): Promise<void> {
  const { store, signal, folder, written } = probe
  const key = `${folder}given-up/dump.zst.pgp`
  const givenUp = new Error('given up on purpose')
  const put = { what: 'the start of a large write', by: 'writer', rights: writeRights(probe) } as const
  const isGivenUp = await tryStep(probe, put, async () => {
    try {
      await store.writer.write(key, makeNoise().stream(bytes, givenUp), { signal, expectedBytes: bytes })
    } catch (error) {
      // Whoever may not take back what was begun learns below what is left of it.
      if (error !== givenUp && !isUncertain(error)) throw error
      return 'giving up a write'
    }
    written.add(key)
    throw new Error('the store took a stream that broke off as if it were whole')
  })
  if (!isGivenUp) return
  const bucket = store.writer.probe
  if (bucket === undefined) return
  const look = { what: 'listing unfinished uploads', by: 'writer', rights: 's3:ListBucketMultipartUploads' } as const
  let left = 0
  const isKnown = await tryStep(probe, look, async () => {
    left = await bucket.unfinished(folder, { signal })
    return 'listing unfinished uploads'
  })
  if (!isKnown || left === 0) return
  const rights = 's3:AbortMultipartUpload, s3:ListMultipartUploadParts'
  await tryStep(probe, { what: 'giving up a multipart upload', by: 'writer', rights }, async () => {
    await bucket.abortUnfinished(folder, { signal })
    throw new Error('its parts had to be removed afterwards')
  })
  // By other credentials, if these may not: the probe is not to stay.
  await store.pruner.probe?.abortUnfinished(folder, { signal }).catch(() => undefined)
}

function isUncertain(error: unknown): boolean {
  return error instanceof PgproofError && error.code === 'STORE_UNCERTAIN'
}

/** Bytes that no compression or cache shortens, always the same ones. */
function makeNoise(): {
  /** Throws `failure` at the end, if there is one. */
  stream(bytes: number, failure?: Error): AsyncGenerator<Uint8Array>
  /** SHA-256 of what comes from `offset` on. */
  digest(bytes: number, offset: number): Buffer
} {
  const block = randomBytes(mebibyte)
  function* chunks(bytes: number): Generator<Uint8Array> {
    for (let at = 0; at < bytes; at += block.length) {
      const chunk = Buffer.from(block.subarray(0, Math.min(block.length, bytes - at)))
      // Else all blocks would be one and the same, and a part in the wrong place would go unnoticed.
      chunk.writeUInt32BE(at / block.length)
      yield chunk
    }
  }
  return {
    async *stream(bytes, failure) {
      yield* chunks(bytes)
      if (failure !== undefined) throw failure
    },
    digest(bytes, offset) {
      const hash: Hash = createHash('sha256')
      let at = 0
      for (const chunk of chunks(bytes)) {
        hash.update(chunk.subarray(Math.min(chunk.length, Math.max(0, offset - at))))
        at += chunk.length
      }
      return hash.digest()
    },
  }
}

function mebibytes(bytes: number): string {
  return `${Math.round((bytes / mebibyte) * 10) / 10} MiB`
}

function rate(bytes: number, ms: number): string {
  const perSecond = (bytes / mebibyte / Math.max(1, ms)) * 1000
  return `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString('en')} MiB/s`
}
