import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { generateKeyPair, type KeyPair } from '../../src/encryption/generate.ts'
import { cliFolder } from '../commands/cli.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { runCell } from './cell.ts'
import { faultsOf, type Stage } from './matrix.ts'
import { writeKeys } from './place.ts'
import { type Source, sourceDatabase, startSource } from './source.ts'

/** The tests of one stage: a server and a bucket of its own, and each fault of the matrix in turn. */
export function testStage(stage: Stage): void {
  const template = mkdtempSync(join(tmpdir(), 'pgproof-faults-'))
  const compiled = mkdtempSync(join(tmpdir(), 'pgproof-faults-compiled-'))
  let source: Source
  let bucket: TestBucket
  let keys: KeyPair
  beforeAll(async () => {
    source = await startSource()
    bucket = await makeTestBucket()
    // Older than a clock jumps back: nobody encrypts to a key that is not valid yet.
    const made = new Date(Date.now() - 7 * 86_400_000)
    keys = await generateKeyPair({ name: 'test', kind: 'ecc', use: 'backup', now: made })
    await makeTemplate(template, { source, keys }, stage === 'prune' ? 3 : 1)
  })
  afterAll(async () => {
    await source.stop()
    await bucket.remove()
    for (const folder of [template, compiled]) rmSync(folder, { recursive: true, force: true })
  })
  describe(`${stage}, hit by a fault`, () => {
    // Each takes seconds on an idle machine, but starts half a dozen processes one after the other.
    const timeout = 600_000
    it.for(faultsOf(stage))(
      '%s - nothing that counts is lost or broken, nothing leaks, the next run succeeds',
      { timeout },
      async (fault) => {
        await runCell(stage, fault, { source, template, compiled, bucket, keys })
      },
    )
  })
}

/** A store with roles and a few backups, of which each cell gets a copy. */
async function makeTemplate(
  template: string,
  { source, keys }: { readonly source: Source; readonly keys: KeyPair },
  backups: number,
): Promise<void> {
  await using folder = await cliFolder([sourceDatabase])
  await writeKeys(folder, keys)
  await folder.configure({
    servers: [{ name: 'main', url: source.url(), databases: [sourceDatabase], retention: { last: 9 } }],
  })
  for (const args of [['backup', '--roles'], ...Array.from({ length: backups }, () => ['backup'])]) {
    const { code, stderr } = await folder.run(args)
    if (code !== 0) throw new Error(stderr)
  }
  cpSync(join(folder.path, 'store'), template, { recursive: true })
}
