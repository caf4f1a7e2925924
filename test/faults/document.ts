// Writes the table of docs/faults.md anew: `node test/faults/document.ts`. A test compares the two.
import { readFileSync, writeFileSync } from 'node:fs'
import { matrixTable } from './matrix.ts'

const page = 'docs/faults.md'
const text = readFileSync(page, 'utf8')
const begin = '<!-- matrix: written by test/faults/document.ts -->\n'
const end = '\n<!-- end of matrix -->'
const [before = '', rest = ''] = text.split(begin)
writeFileSync(page, before + begin + matrixTable() + rest.slice(rest.indexOf(end)))
