import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const run = promisify(execFile)

/** How often V8 collects the whole heap while buffers pass beside an index of some 60 MB, which has so many backups. */
async function fullCollections(backups: number): Promise<number> {
  const module = resolve('src/daemon/full-collections.ts')
  const script = `
    import { constants, PerformanceObserver } from 'node:perf_hooks'
    import { spareFullCollections } from ${JSON.stringify(module)}
    spareFullCollections(${backups})
    spareFullCollections(${backups})
    const index = Array.from({ length: 400_000 }, (_, at) => ({ key: 'backups/main/app/' + at, at: new Date(at) }))
    let collections = 0
    new PerformanceObserver((list) => {
      for (const { detail } of list.getEntries()) if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) collections += 1
    }).observe({ entryTypes: ['gc'] })
    let last
    for (let block = 0; block < 12_000; block += 1) {
      last = Buffer.allocUnsafeSlow(512 << 10)
      if (block % 50 === 0) await new Promise(setImmediate)
    }
    for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate)
    console.log(JSON.stringify({ collections, kept: index.length + last.length > 0 }))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script])
  return (JSON.parse(stdout) as { collections: number }).collections
}

// Other versions of V8 do not have the flag.
it.runIf(process.versions.v8.startsWith('13.'))(
  'buffers that pass beside a large index - V8 collects the whole heap far less often than beside a small one',
  async () => {
    const [few, many] = [await fullCollections(10), await fullCollections(10_000)]
    expect(few).toBeGreaterThan(10)
    expect(many).toBeLessThan(few / 2)
  },
)
