import {
  decideRetention,
  describeKeepReason,
  type RetentionPolicy,
  type RetentionQuestion,
} from '../../src/domain/retention.ts'
import { rolesNeeded } from '../../src/domain/roles-needed.ts'

/**
 * A case of retention as text that people read, in test/domain/retention/ and in docs/retention.md: what is asked, an empty
 * line, what comes out. All times are UTC to the minute, and are the labels, too.
 *
 *     now        2026-11-20 12:00, Europe/Berlin
 *     policy     last 2, verified 1
 *     backups    365, one every 24 h, the newest 2026-11-20 02:00        (or a list of times)
 *     verified   2026-11-18 02:00                                        (those that passed a drill)
 *     bad        2026-11-19 02:00                                        (objects missing, or the last drill failed)
 *     held       2026-11-17 02:00 locked until 2026-12-02 02:00 UTC
 *     needed by  2026-11-20 02:00                                        (database backups; the others are of roles)
 *     objective  26 h
 *     forced     yes
 *
 *     keep       2026-11-20 02:00  newest, last 1 of 2
 *     remove     363 others
 */
export function answerCase(text: string): string {
  const asked = text.split('\n\n')[0] as string
  const plan = decideRetention(questionOf(asked))
  const removed = plan.filter(({ keep }) => !keep).length
  const lines = plan.flatMap(({ label, isGood, keep, reasons }) => {
    const what = isGood ? label : `${label} bad`
    if (keep) return [`keep       ${what}  ${reasons.map(describeKeepReason).join(', ')}`]
    return removed <= 8 ? [`remove     ${what}`] : []
  })
  if (removed > 8) lines.push(`remove     ${removed} others`)
  return `${asked.trimEnd()}\n\n${lines.join('\n')}\n`
}

export const ruleNames = ['last', 'daily', 'weekly', 'monthly', 'yearly', 'verified'] as const

export function policyOf(some: Partial<RetentionPolicy>): RetentionPolicy {
  return { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0, ...some }
}

function questionOf(asked: string): RetentionQuestion {
  const values = valuesOf(asked)
  const given = (key: string): string => values.get(key) ?? ''
  const [now = '', timezone = ''] = given('now').split(', ')
  const needy = timesIn(given('needed by')).map((label) => ({ label, snapshotTime: timeOf(label) }))
  const verified = new Set(timesIn(given('verified')))
  const bad = new Set(timesIn(given('bad')))
  const backups = backupTimes(given('backups')).map((label) => ({
    label,
    snapshotTime: timeOf(label),
    verified: verified.has(label),
    isGood: !bad.has(label),
    kind: needy.length > 0 ? ('roles' as const) : ('database' as const),
  }))
  const known = new Set(backups.map(({ label }) => label))
  const held = given('held').match(/^(\d{4}-\d\d-\d\d \d\d:\d\d) (.+)$/)
  for (const label of [...verified, ...bad, ...(held === null ? [] : [held[1] as string])])
    if (!known.has(label)) throw new Error(`there is no backup ${label}`)
  return {
    backups,
    policy: policyOf(Object.fromEntries(given('policy').split(', ').map(ruleOf))),
    now: timeOf(now),
    timezone,
    objectiveMs: values.has('objective') ? durationOf(given('objective')) : null,
    isForced: given('forced') === 'yes',
    held: new Map(held === null ? [] : [[held[1] as string, held[2] as string]]),
    needed: rolesNeeded(needy, backups),
  }
}

const keys = ['now', 'policy', 'backups', 'verified', 'bad', 'held', 'needed by', 'objective', 'forced']

/** A line that begins with spaces goes on with the value before. */
function valuesOf(asked: string): Map<string, string> {
  const values = new Map<string, string>()
  let last = ''
  for (const line of asked.split('\n').filter((one) => one !== '')) {
    const key = line.slice(0, 11).trim()
    if (key !== '' && (!keys.includes(key) || values.has(key))) throw new Error(`a case cannot say: ${line}`)
    values.set(key || last, `${key === '' ? `${values.get(last)} ` : ''}${line.slice(11).trim()}`)
    last = key || last
  }
  return values
}

function backupTimes(value: string): string[] {
  const rhythm = value.match(/^(\d+), one every (\d+) h, the newest (.+)$/)
  if (rhythm === null) return timesIn(value)
  const [, count, hours, newest] = rhythm
  return Array.from({ length: Number(count) }, (_, index) =>
    new Date(timeOf(newest ?? '').getTime() - index * Number(hours) * 3_600_000)
      .toISOString()
      .slice(0, 16)
      .replace('T', ' '),
  )
}

function timesIn(value: string): string[] {
  return value.split(/,\s*/).filter((time) => time !== '')
}

function timeOf(label: string): Date {
  const time = new Date(`${label.replace(' ', 'T')}:00Z`)
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d$/.test(label) || Number.isNaN(time.getTime())) throw new Error(`no time: "${label}"`)
  return time
}

function ruleOf(text: string): [string, number] {
  const [rule = '', count] = text.split(' ')
  if (!(ruleNames as readonly string[]).includes(rule)) throw new Error(`no rule: "${text}"`)
  return [rule, Number(count)]
}

function durationOf(text: string): number {
  const [count, unit = ''] = text.split(' ')
  const ms = { min: 60_000, h: 3_600_000, d: 86_400_000 }[unit]
  if (ms === undefined) throw new Error(`no duration: "${text}"`)
  return Number(count) * ms
}
