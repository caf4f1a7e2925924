/**
 * The questions that dashboards ask of Prometheus. Answers are per server and database and not per process: a restart
 * under another address, or two processes that know the same database, change nothing.
 *
 * The label `job` of pgproof's metrics is `exported_job` in Prometheus, which keeps `job` for the job that scrapes.
 */

/** `where` selects the databases, such as `server="main"`. What is allowed is what config/prometheus/rules.yml allows. */
export function questions(where: string) {
  const newest = (metric: string, more = ''): string => `max by (server, database) (${select(metric, where, more)})`
  const interval = (job: string): string => newest('pgproof_schedule_interval_seconds', `exported_job="${job}"`)
  const point = (proof: 'any' | 'verified'): string =>
    newest('pgproof_recovery_point_timestamp_seconds', `proof="${proof}"`)
  const verdict = (name: string): string => `${newest('pgproof_drill_verdict', `verdict="${name}"`)} == 1`

  const configured = `(${newest('pgproof_database_configured')} == 1)`
  const rpo = newest('pgproof_rpo_objective_seconds')
  const rto = newest('pgproof_rto_objective_seconds')
  const allowedAge = `(${rpo} or 1.5 * ${interval('backup')})`
  const restoreTime = newest('pgproof_restore_time_seconds')
  const forecast = newest('pgproof_restore_time_forecast_seconds')
  const lastPassed = newest('pgproof_drill_last_passed_timestamp_seconds')
  const unproven = newest('pgproof_oldest_unverified_backup_timestamp_seconds')
  const isProtected = `((time() - ${point('any')} <= ${allowedAge}) or (${point('any')} unless ${allowedAge}))`
  return {
    newest,
    point,
    configured,
    rpo,
    rto,
    restoreTime,
    forecast,
    lastPassed,
    unproven,
    age: (instant: string): string => `time() - ${instant}`,
    /** The age of the recovery point as a part of what is allowed. */
    ofAllowedAge: `(time() - ${point('any')}) / ${allowedAge}`,
    isProtected: `(${isProtected} and ${configured})`,
    isProven: `((${verdict('passed')}) and ${configured})`,
    isDrillOverdue:
      `(time() - ${lastPassed} > 2 * ${interval('drill')})` +
      ` or ((time() - ${unproven} > 2 * ${interval('drill')}) unless ${lastPassed})`,
    isRestoreOverObjective: `(${restoreTime} > ${rto}) or (${forecast} > ${rto})`,
    /** 1 passed, 2 inconclusive, 3 failed; the worst, where two processes differ. */
    verdict: `3 * (${verdict('failed')}) or 2 * (${verdict('inconclusive')}) or (${verdict('passed')})`,
    /** 2 gone from its server, 1 configured, 0 only its backups are left. */
    state: `2 * (${newest('pgproof_database_missing')} == 1) or ${newest('pgproof_database_configured')}`,
    /** By server, database and job. */
    perJob: (metric: string): string => `max by (server, database, exported_job) (${select(metric, where)})`,
    /** By the given labels, within a time such as `$__range`. */
    runs: (by: string, window: string, more = ''): string =>
      `sum by (${by}) (increase(${select('pgproof_runs_total', where, more)}[${window}]))`,
    /** By the given labels, each run in one bar. */
    runsPerBar: (by: string): string => perBar(by, select('pgproof_runs_total', where)),
    /** Mean since the process started, by job; a job that did not run has none. */
    meanRunSeconds: ['sum', 'count']
      .map((part) => `sum by (exported_job) (${select(`pgproof_run_duration_seconds_${part}`, where)})`)
      .join(' / '),
  }
}

/**
 * What a counter of each process has grown by from one bar to the next. `increase` would lose what happens between two windows, or
 * count it twice where they overlap. After a restart it begins anew: that is no decrease.
 */
export function perBar(by: string, counter: string): string {
  return `clamp_min(sum by (${by}) (${counter}) - sum by (${by}) (${counter} offset $__interval), 0)`
}

/** The same of a counter that every process reads in the store: each place counts once. */
export function perBarOfStore(by: string, counter: string): string {
  const once = (vector: string): string => `sum by (${by}) (max by (server, database) (${vector}))`
  return `clamp_min(${once(counter)} - ${once(`${counter} offset $__interval`)}, 0)`
}

/** How many there are, and 0 rather than nothing. */
export function count(vector: string): string {
  return `count(${vector}) or vector(0)`
}

export function select(metric: string, ...matchers: readonly string[]): string {
  const given = matchers.filter((matcher) => matcher !== '')
  return given.length === 0 ? metric : `${metric}{${given.join(',')}}`
}
