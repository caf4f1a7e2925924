import { Catalog } from '../catalog/catalog.ts'
import type { Config } from '../config/config.ts'
import { PgproofError } from '../errors.ts'
import { runCheck } from '../jobs/check.ts'
import type { Finding } from '../jobs/findings.ts'
import { wire } from '../wire.ts'
import { checkHttp } from './check-http.ts'
import type { Answer, CommandContext } from './context.ts'
import { commandLog, openConfig } from './open.ts'
import { printable } from './print.ts'

/** Preflight of everything: goes on after each problem, so that one run shows all of them. */
export async function checkCommand(context: CommandContext): Promise<Answer> {
  const config = await openConfig(context)
  const log = commandLog(context, config.log)
  // Neither a marker nor an index: a store that does not answer is a finding, not a failure of the command.
  await using wired = await wire(
    config,
    { writes: false, needsCatalog: false, needsMarker: false, log },
    context.signal,
  )
  const findings = await (async () => {
    using _looking = context.progress.begin('looking')
    const ofBackups = await runCheck({ ...wired.installation, catalog: new Catalog(context) }, context.signal)
    return [...ofBackups, ...(await ofFleet(config, context)), ...(await checkHttp(config.http, context.clock.now()))]
  })()
  const problems = findings.filter(({ result }) => result === 'problem').length
  const count = problems === 1 ? '1 problem' : `${problems} problems`
  return {
    document: { findings },
    text: findingsPage(findings, context),
    error: problems === 0 ? null : new PgproofError('CHECK_FAILED', { count, what: whatFails(findings, config) }),
  }
}

async function ofFleet(config: Config, { clock, signal }: CommandContext): Promise<Finding[]> {
  const { fleet } = config
  if (fleet === undefined) return []
  // Without a fleet not even its code is loaded.
  const { checkFleet } = await import('../fleet/check-fleet.ts')
  return await checkFleet(fleet, { config, clock }, signal)
}

/** What will not work until the problems are mended. */
export function whatFails(findings: readonly Finding[], { stores }: Pick<Config, 'stores'>): string {
  const optional = new Set(stores.filter(({ isRequired }) => !isRequired).map(({ name }) => `store ${name}`))
  const failing = ({ subject, code }: Finding): string => {
    if (code === 'STORE_UNPROTECTED') return 'the protection of a store'
    if (subject === 'fleet') return 'the work of the fleet'
    if (subject === 'http') return '`pgproof serve` or its clients'
    if (subject === 'drills' || subject === 'private keys') return 'drills and restores'
    return optional.has(subject) ? 'the copies in a store that is not required' : 'tonight’s backup'
  }
  const all = new Set(findings.filter(({ result }) => result === 'problem').map(failing))
  return all.size === 1 ? [...all].join('') : `${[...all].join(', or ')},`
}

/** By subject, with a hint for whatever is not well. */
export function findingsPage(findings: readonly Finding[], { paint }: Pick<CommandContext, 'paint'>): string {
  const lines: string[] = []
  let subject = ''
  for (const finding of findings) {
    if (finding.subject !== subject) lines.push(...(subject === '' ? [] : ['']), printable(finding.subject))
    subject = finding.subject
    const mark = { ok: paint('ok', 'good'), warning: paint('warning', 'doubtful'), problem: paint('problem', 'bad') }[
      finding.result
    ]
    const [first = '', ...rest] = finding.message.split('\n')
    lines.push(`  ${mark}  ${printable(first)}`)
    for (const line of rest.slice(0, 30)) lines.push(`      ${printable(line)}`)
    if (rest.length > 30) lines.push(`      and ${rest.length - 30} more (--json shows all)`)
    if (finding.hint !== null) lines.push(`      hint: ${printable(finding.hint)}`)
  }
  return lines.join('\n')
}
