// Run by spool.test.ts. `hold ROOT`: opens a spool, prints its folder and waits to be killed. `full ROOT`: tries to open
// one where no further file can be written, prints the code of the failure and what is left.
import { readdirSync } from 'node:fs'
import { PgproofError } from '../../src/errors.ts'
import { openSpool } from '../../src/streams/spool.ts'

const [, , word, root = ''] = process.argv
if (word === 'hold') {
  const spool = await openSpool(root, 0)
  process.stdout.write(`${spool.folder}\n`)
  setInterval(() => {}, 60_000)
} else {
  const left = (): string => readdirSync(root).join(' ')
  await openSpool(root, 0).then(
    () => console.log('opened', left()),
    (error) => console.log(error instanceof PgproofError ? error.code : String(error), left()),
  )
}
