import { databaseDefects } from './defects.ts'
import { storedDefects } from './stored-defects.ts'

const groups = [
  ['data', 'Data of the dump, every digest made to fit'],
  ['structure', 'Structure of the dump, every digest made to fit'],
  ['object', 'Objects in the store'],
  ['key', 'Recipients, signatures, keys'],
  ['roles', 'The roles backup'],
  ['history', 'History and drill reports'],
] as const

/** Every defect that the tests plant and where it is found, in Markdown, for docs/verification.md. */
export function defectsTable(): string {
  const defects = [...databaseDefects, ...storedDefects.map(({ rung, ...rest }) => ({ ...rest, rung: foundAt(rung) }))]
  const tables = groups.map(([group, heading]) => {
    const rows = defects.filter((defect) => defect.group === group)
    const lines = rows.map(({ title, rung }) => `| ${cell(title)} | ${cell(rung)} |`)
    return `**${heading}** (${rows.length})\n\n| defect | found at |\n| --- | --- |\n${lines.join('\n')}`
  })
  return [`${defects.length} defects:`, ...tables].join('\n\n')
}

/** A command, where it is no rung. */
function foundAt(rung: string): string {
  return rung.startsWith('list') || rung === 'show' ? `\`${rung}\`` : rung
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
