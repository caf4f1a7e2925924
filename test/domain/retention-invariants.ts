import type {
  KeepRule,
  RetentionBackup,
  RetentionDecision,
  RetentionPlan,
  RetentionQuestion,
} from '../../src/domain/retention.ts'
import { pickRolesBackup, rolesNeeded } from '../../src/domain/roles-needed.ts'
import type { History } from './retention-histories.ts'

export type Decide = (question: RetentionQuestion) => RetentionPlan

type Scene = History & {
  readonly decide: Decide
  readonly plan: RetentionPlan
  readonly kept: ReadonlySet<string>
  /** Newest first and not from the future. */
  readonly past: readonly RetentionBackup[]
  readonly good: readonly RetentionBackup[]
}

/** The invariants that do not hold for a history, each with what is wrong. */
export function brokenInvariants(history: History, decide: Decide): string[] {
  const { question } = history
  const plan = decide(question)
  const past = question.backups.filter(({ snapshotTime }) => snapshotTime <= question.now).toSorted(newestFirst)
  const good = past.filter(({ isGood }) => isGood)
  const scene: Scene = { ...history, decide, plan, kept: keptOf(plan), past, good }
  return Object.entries(invariants).flatMap(([title, faultOf]) => {
    const fault = faultOf(scene)
    return fault === null ? [] : [`${title}: ${fault}`]
  })
}

/** Each says what is wrong, or null. */
export const invariants: Readonly<Record<string, (scene: Scene) => string | null>> = {
  'each backup is decided once, newest first, with reasons exactly if it is kept': ({ question, plan }) => {
    const expected = question.backups.toSorted(newestFirst)
    const isInOrder =
      plan.length === expected.length && plan.every(({ label }, index) => label === expected[index]?.label)
    if (!isInOrder) return 'another order or other backups'
    return first(plan.filter(({ keep, reasons }) => keep !== reasons.length > 0))
  },

  'the newest, the newest good and the newest of all are kept': ({ question, kept, past, good }) =>
    first(missing([past[0], good[0], question.backups.toSorted(newestFirst)[0]], kept)),

  'the newest good verified one is kept, and as many as the policy says': ({ question, kept, good }) => {
    const verified = good.filter((one) => one.verified)
    return first(missing(verified.slice(0, Math.max(1, question.policy.verified)), kept))
  },

  'held ones and those from the future are kept, forced or not': ({ question, kept }) => {
    const stay = question.backups.filter(
      ({ label, snapshotTime }) => question.held?.has(label) || snapshotTime > question.now,
    )
    return first(missing(stay, kept))
  },

  'nothing goes while no good backup is within the objective, unless forced; then exactly what was held back': ({
    question,
    decide,
    plan,
    good,
  }) => {
    const { objectiveMs, isForced, now } = question
    const newestMs = good[0]?.snapshotTime.getTime() ?? Number.NEGATIVE_INFINITY
    const isStale = objectiveMs !== null && now.getTime() - newestMs > objectiveMs
    const heldBack = plan.filter(({ reasons }) => reasons.some(({ rule }) => rule === 'held back'))
    if (!isStale || isForced) return first(heldBack)
    const gone = plan.filter(({ keep }) => !keep)
    if (gone.length > 0) return first(gone)
    const forced = decide({ ...question, isForced: true })
    return sameLabels(
      heldBack,
      forced.filter(({ keep }) => !keep),
    )
  },

  'what was kept is all kept when it is planned again': ({ question, decide, kept }) => {
    const left = question.backups.filter(({ label }) => kept.has(label))
    return first(decide({ ...question, backups: left }).filter(({ keep }) => !keep))
  },

  'pruned now and later, or only later: the same stays; so nothing goes that a later prune would keep': (scene) => {
    const question = { ...scene.question, objectiveMs: null }
    const now = keptOf(scene.decide(question))
    const left = question.backups.filter(({ label }) => now.has(label))
    const twice = scene.decide({ ...question, now: scene.later, backups: [...left, ...scene.newer] })
    const once = scene.decide({ ...question, now: scene.later, backups: [...question.backups, ...scene.newer] })
    return sameLabels(
      twice.filter(({ keep }) => keep),
      once.filter(({ keep }) => keep),
    )
  },

  'a newer backup that no drill has seen never makes it keep fewer good ones, and a bad one changes none of them': (
    scene,
  ) => {
    const [newer] = scene.newer
    if (newer === undefined) return null
    const question = { ...scene.question, objectiveMs: null, now: newer.snapshotTime }
    const goodIn = (added: RetentionBackup[]): RetentionPlan => {
      const plan = scene.decide({ ...question, backups: [...question.backups, ...added] })
      return plan.filter(({ keep, isGood }) => keep && isGood)
    }
    const before = goodIn([])
    const after = goodIn([{ ...newer, verified: false }])
    if (!newer.isGood) return sameLabels(before, after)
    if (!after.some(({ label }) => label === newer.label)) return `${newer.label} is not kept`
    return after.length < before.length ? `${before.length} good ones before, ${after.length} after` : null
  },

  'good ones are decided as if there were no bad ones, bad ones as if all were good': (scene) => {
    const question = { ...scene.question, objectiveMs: null }
    const plan = scene.decide(question)
    const all = question.backups
    const amongGood = scene.decide({ ...question, backups: all.filter(({ isGood }) => isGood) })
    const ifAllGood = scene.decide({ ...question, backups: all.map((one) => ({ ...one, isGood: true })) })
    const bad = new Set(all.filter(({ isGood }) => !isGood).map(({ label }) => label))
    return (
      sameReasons(
        plan.filter(({ isGood }) => isGood),
        amongGood,
      ) ??
      sameReasons(
        plan.filter(({ isGood }) => !isGood),
        ifAllGood.filter(({ label }) => bad.has(label)),
      )
    )
  },

  'the order of the input and the spelling of labels do not matter': (scene) => {
    const { question, decide, plan, shuffled } = scene
    const inOrder = sameReasons(plan, decide({ ...question, backups: shuffled }))
    const times = new Set(question.backups.map(({ snapshotTime }) => snapshotTime.getTime()))
    // Between backups of one instant the label decides.
    if (inOrder !== null || times.size < question.backups.length) return inOrder
    const respelled = (label: string): string => `z${999 - Number(label.slice(1))}`
    const held = new Map(Array.from(question.held ?? [], ([label, reason]) => [respelled(label), reason]))
    const backups = question.backups.map((one) => ({ ...one, label: respelled(one.label) }))
    return sameReasons(
      plan.map((one) => ({ ...one, label: respelled(one.label) })),
      decide({ ...question, backups, held }),
    )
  },

  'each tier keeps its number, or the newest of every day, week, month and year': ({ question, decide, good }) => {
    const plan = decide({ ...question, objectiveMs: null, backups: question.backups.filter(({ isGood }) => isGood) })
    const kept = keptOf(plan)
    const calendar = calendarOf(good, question.timezone)
    for (const rule of ['last', 'daily', 'weekly', 'monthly', 'yearly'] as const) {
      const count = question.policy[rule]
      const taken = reasonsOf(plan, rule)
      if (taken.length > count) return `${taken.length} ${rule}, not ${count}`
      const buckets = Map.groupBy(good, ({ label }) => calendar.get(label)?.[rule])
      const newest = [...buckets.values()].map((bucket) => bucket[0] as RetentionBackup)
      // restic's rule, too: the newest of each of the N most recent.
      const left = missing(taken.length < count ? newest : newest.slice(0, count), kept)
      if (left.length > 0) return `${rule}: ${first(left)}`
      const misnamed = taken.find(({ label, detail }) => rule !== 'last' && calendar.get(label)?.[rule] !== detail)
      if (misnamed !== undefined && rule !== 'weekly') return `${rule}: ${misnamed.label} is called ${misnamed.detail}`
    }
    return null
  },

  'roles backups that kept backups need stay, and a restore takes the same as before': (scene) => {
    const { question, dependants, decide } = scene
    const roles = question.backups.map((one) => ({ ...one, kind: 'roles' as const })).toSorted(newestFirst)
    const needed = rolesNeeded(dependants, question.backups)
    const kept = keptOf(decide({ ...question, backups: roles, objectiveMs: null, needed }))
    // A restore takes of all; if that one is bad, somebody will take of the good ones.
    for (const before of [roles, roles.filter(({ isGood }) => isGood)]) {
      const after = before.filter(({ label }) => kept.has(label))
      for (const { label, snapshotTime } of dependants) {
        const latest = snapshotTime.getTime() + 8 * 86_400_000
        const wanted = before.find((one) => one.snapshotTime.getTime() <= latest) ?? before[0]
        const found = pickRolesBackup(snapshotTime, after)
        if (wanted?.label !== found?.label) return `${label} needs ${wanted?.label} and would get ${found?.label}`
      }
    }
    return null
  },
}

function newestFirst(a: RetentionBackup, b: RetentionBackup): number {
  return b.snapshotTime.getTime() - a.snapshotTime.getTime() || (a.label < b.label ? 1 : -1)
}

function keptOf(plan: RetentionPlan): Set<string> {
  return new Set(plan.flatMap(({ label, keep }) => (keep ? [label] : [])))
}

function reasonsOf(plan: RetentionPlan, rule: KeepRule): { label: string; detail: string | null }[] {
  return plan.flatMap(({ label, reasons }) =>
    reasons.filter((reason) => reason.rule === rule).map(({ detail }) => ({ label, detail })),
  )
}

function missing(wanted: readonly (RetentionBackup | undefined)[], kept: ReadonlySet<string>): RetentionBackup[] {
  return wanted.filter((one) => one !== undefined).filter(({ label }) => !kept.has(label))
}

function first(found: readonly { readonly label: string }[]): string | null {
  return found[0]?.label ?? null
}

function sameLabels(a: RetentionPlan, b: RetentionPlan): string | null {
  const [one, other] = [a, b].map((plan) => plan.map(({ label }) => label).join(' '))
  return one === other ? null : `[${one}] and [${other}]`
}

function sameReasons(a: RetentionPlan, b: RetentionPlan): string | null {
  const [one, other] = [a, b].map((plan) => plan.map(lineOf).join('\n'))
  return one === other ? null : `\n${one}\nand\n${other}`
}

function lineOf({ label, reasons }: RetentionDecision): string {
  return `${label} ${reasons.map(({ rule, detail }) => `${rule} ${detail}`).join(', ')}`
}

type Calendar = Record<'last' | 'daily' | 'weekly' | 'monthly' | 'yearly', string>

/** What `Intl` says of each time, which is not how retention asks. A week is named by its Monday. */
function calendarOf(backups: readonly RetentionBackup[], timezone: string): ReadonlyMap<string, Calendar> {
  const formatter = formatterOf(timezone)
  return new Map(
    backups.map(({ label, snapshotTime }) => {
      const daily = formatter.format(snapshotTime)
      const monday = new Date(`${daily}T00:00:00Z`)
      monday.setUTCDate(monday.getUTCDate() - ((monday.getUTCDay() + 6) % 7))
      const weekly = monday.toISOString().slice(0, 10)
      return [label, { last: label, daily, weekly, monthly: daily.slice(0, 7), yearly: daily.slice(0, 4) }]
    }),
  )
}

const formatters = new Map<string, Intl.DateTimeFormat>()

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const formatter =
    formatters.get(timeZone) ??
    new Intl.DateTimeFormat('sv', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
  formatters.set(timeZone, formatter)
  return formatter
}
