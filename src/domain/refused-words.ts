/** What a worker of a fleet does not do for a while. */
export type RefusedPart = {
  readonly server: string | null
  readonly job?: string | null | undefined
  readonly code: string
}

/** `leaves server main alone`; the server as it is, not yet made visible. */
export function refusedWords({ server, job, code }: RefusedPart): string {
  if (code === 'FLEET_RETENTION_DIFFERS') {
    if (server !== null) return `prunes nothing of server ${server}`
    return job === 'prune' ? 'prunes nothing of several servers' : 'removes no old drill reports'
  }
  if (job == null) return server === null ? 'leaves a queue alone' : `leaves server ${server} alone`
  const many = plurals[job] ?? job
  return `leaves ${many}${server === null ? '' : ` of server ${server}`} to other workers`
}

const plurals: Readonly<Record<string, string>> = {
  backup: 'backups',
  drill: 'drills',
  prune: 'prunes',
  sync: 'syncs',
}
