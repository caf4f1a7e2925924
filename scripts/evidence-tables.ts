import { awkwardDatabases } from '../test/verification/awkward-databases.ts'
import { defectsTable } from '../test/verification/defects-table.ts'

/** docs/verification.md with its two tables between their marks: what the tests in test/verification run. */
export function withEvidenceTables(page: string): string {
  return between(between(page, 'defects', defectsTable()), 'awkward', awkwardTable())
}

function awkwardTable(): string {
  const rows = awkwardDatabases.map(({ title, source }) => `| ${cell(title)} | ${cell(source)} |`)
  return `${awkwardDatabases.length} databases:\n\n| database | page of the documentation |\n| --- | --- |\n${rows.join('\n')}`
}

function between(page: string, mark: string, text: string): string {
  const [start, end] = [`<!-- ${mark} -->`, `<!-- /${mark} -->`]
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  if (from === -1 || to === -1) throw new Error(`docs/verification.md lacks ${start} and ${end}`)
  return `${page.slice(0, from + start.length)}\n\n${text}\n\n${page.slice(to)}`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
