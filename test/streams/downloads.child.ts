// Run by downloads.test.ts: claims the download that SPEC describes below ROOT, prints its path or the code of the
// failure, and waits to be killed.
import { PgproofError } from '../../src/errors.ts'
import { type DownloadOf, openDownload } from '../../src/streams/downloads.ts'

const [, , root = '', spec = ''] = process.argv
try {
  const download = await openDownload(root, JSON.parse(spec) as DownloadOf)
  process.stdout.write(`${download.path}\n`)
} catch (error) {
  process.stdout.write(`${error instanceof PgproofError ? error.code : String(error)}\n`)
}
setInterval(() => {}, 60_000)
