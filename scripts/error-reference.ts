import { type RegisterEntry, register } from '../src/errors.ts'

/** docs/errors.md, from the register. */
export function errorReference(): string {
  const rows = Object.entries<RegisterEntry>(register).map(
    ([code, { exit, http, retryable, message, hint }]) =>
      `| \`${code}\` | ${exit} | ${http} | ${retryable ? 'yes' : 'no'} | ${cell(message)} | ${cell(hint)} |`,
  )
  return `# Errors and exit codes

<!-- Generated from src/errors.ts by \`npm run reference\`; do not edit. -->

| exit code | means |
| --- | --- |
| 0 | done |
| 1 | a fault in pgproof |
| 2 | usage or configuration |
| 3 | the job ran and its answer is bad |
| 10 | locked by another run |
| 11 | store |
| 12 | database |
| 13 | keys |
| 14 | inconclusive: the drill could not be carried out |
| 130 | cancelled |

Scripts should treat any other code as a failure. The command line prints \`error:\` and \`hint:\`, the API answers
\`application/problem+json\` with the same code and hint. \`{…}\` stands for what differs. *Again* tells whether trying again can help
without anybody changing anything.

| code | exit | HTTP | again | message | hint |
| --- | --- | --- | --- | --- | --- |
${rows.join('\n')}
`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
}
