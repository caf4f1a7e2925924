import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { type KeyFolder, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

const mebibyte = 1 << 20
let keys: KeyFolder
let backup: MadeKeys

beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup')
})
afterAll(async () => keys[Symbol.asyncDispose]())

describe('a large dump', () => {
  it('100 and 500 MiB through both stages - the same bytes, in memory that does not grow with them', async () => {
    const program = join(import.meta.dirname, 'round-trip-child.ts')
    const passed = async (mebibytes: number) => {
      const args = ['--disable-warning=ExperimentalWarning', program, backup.publicPath, backup.privatePath]
      const { stdout } = await promisify(execFile)(process.execPath, [...args, String(mebibytes)])
      const result = JSON.parse(stdout) as { isSame: boolean; bytes: number; grownBytes: number }
      expect(result).toMatchObject({ isSame: true, bytes: mebibytes * mebibyte })
      return result.grownBytes
    }
    const [little, much] = [await passed(100), await passed(500)]
    // How many buffers V8 lets pile up before it collects them depends on the moment: some tens of megabytes.
    expect(much - little).toBeLessThan(50 * mebibyte)
    expect(much).toBeLessThan(200 * mebibyte)
  })

  it('all in memory, so that the source never waits - the event loop still gets its turns', async () => {
    const data = Buffer.alloc(100 * mebibyte, 'rows')
    const delay = monitorEventLoopDelay({ resolution: 5 })
    delay.enable()
    const encrypted = await encryptBytes(data, backup.recipients, now)
    const decrypted = await decryptBytes(encrypted, backup.privateKeys, 'it')
    delay.disable()
    expect(decrypted).toHaveLength(data.length)
    expect(delay.count).toBeGreaterThan(10)
    // In nanoseconds; the machine may be busy with other tests.
    expect(delay.percentile(50)).toBeLessThan(100e6)
  })
})
