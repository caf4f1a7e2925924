// Run by directory.test.ts where a file of 5 MB does not fit: writes a small object, then a large one; prints the code
// of the failure and what is left. With `nobody`, root gives up its rights first.
import { readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'

const root = resolve(process.argv[2] as string)
const store = new DirectoryStore(`file://${root}`, { clock: systemClock })
if (process.argv[3] === 'nobody' && process.getuid?.() === 0) process.setuid?.(65_534)

const { signal } = new AbortController()

async function* tooMuch() {
  for (let megabytes = 0; megabytes < 5; megabytes += 1) yield Buffer.alloc(1_000_000)
}

try {
  await store.put('small', Buffer.from('x'), { signal })
  await store.write('folder/large', tooMuch(), { signal })
} catch (error) {
  const code = error instanceof PgproofError ? error.code : String(error)
  console.log(code, readdirSync(root, { recursive: true }).join(' '))
}
