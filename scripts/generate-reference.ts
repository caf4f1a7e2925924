/** Writes docs/configuration.md, docs/errors.md, config/pgproof.schema.json, docs/schemas and the tables of docs/verification.md; with `--check` it only tells whether they are up to date. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { configurationReference, jsonSchema } from '../src/config/reference.ts'
import { documentSchemas } from './document-schemas.ts'
import { errorReference } from './error-reference.ts'
import { withEvidenceTables } from './evidence-tables.ts'

const root = join(import.meta.dirname, '..')
const documents = {
  'docs/configuration.md': configurationReference(),
  'docs/errors.md': errorReference(),
  'config/pgproof.schema.json': jsonSchema(),
  ...documentSchemas(),
  'docs/verification.md': withEvidenceTables(await readFile(join(root, 'docs/verification.md'), 'utf8')),
}
const isCheck = process.argv.includes('--check')

for (const [name, text] of Object.entries(documents)) {
  const path = join(root, name)
  const current = await readFile(path, 'utf8').catch(() => undefined)
  if (current === text) continue
  if (isCheck) {
    console.error(`${name} is stale; run: node scripts/generate-reference.ts`)
    process.exitCode = 1
  } else {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
  }
}
