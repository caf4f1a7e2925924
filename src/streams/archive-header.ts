import { PgproofError } from '../errors.ts'

const magic = Buffer.from('PGDMP')

/** Passes a custom-format archive through; anything that does not begin like one is not stored as a dump. */
export async function* archiveOnly(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let head = Buffer.alloc(0)
  let isChecked = false
  for await (const chunk of source) {
    if (isChecked) {
      yield chunk
      continue
    }
    head = Buffer.concat([head, chunk])
    if (head.length < magic.length) continue
    assertMagic(head)
    isChecked = true
    yield head
  }
  if (!isChecked) assertMagic(head)
}

function assertMagic(head: Uint8Array): void {
  if (Buffer.compare(Buffer.from(head.subarray(0, magic.length)), magic) === 0) return
  throw new PgproofError('DUMP_FAILED', { program: 'pg_dump', outcome: 'its output is no custom-format archive' })
}
