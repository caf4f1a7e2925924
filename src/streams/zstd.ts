import type { Transform, TransformOptions } from 'node:stream'
import { constants, createZstdCompress, createZstdDecompress, type ZstdOptions } from 'node:zlib'

const chunkSize = 256 << 10
/** So much may wait on either side, so that the thread pool works while the event loop does something else. */
const highWaterMark = 1 << 20

// Node's types know only the options of zlib itself; those of its Transform are passed on as well.
type StageOptions = ZstdOptions & Pick<TransformOptions, 'highWaterMark'>

/** zstd as a stream stage; works on the thread pool, not on the event loop. Level as in `zstd -1` to `-19`. */
export function zstdCompress(level: number): Transform {
  const options: StageOptions = {
    chunkSize,
    highWaterMark,
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
  }
  return createZstdCompress(options)
}

/**
 * Fails on truncated or damaged input rather than ending early. Its pieces are larger, since each is a turn of the event loop:
 * with them a dump of 1.6 GB takes 0.8 of the time (docs/performance.md).
 */
export function zstdDecompress(): Transform {
  const options: StageOptions = { chunkSize: 2 << 20, highWaterMark: 4 << 20 }
  return createZstdDecompress(options)
}
