import { randomUUID } from 'node:crypto'
import type { Config, ServerConfig } from '../config/config.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { checkDrills } from './check-drills.ts'
import { checkKeys, checkPrivateKeys } from './check-keys.ts'
import { checkDatabase, checkServer } from './check-server.ts'
import { type Finding, type Findings, goOn } from './findings.ts'
import { databasesOf, type Installation } from './installation.ts'

/**
 * Looks at everything that tonight's backups, drills and prunes will need, and goes on after each problem. Changes
 * nothing but a probe object that it removes again.
 */
export async function runCheck(
  installation: Omit<Installation, 'storeId' | 'storeCreatedAt'>,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { config, store } = installation
  const all: Finding[] = []
  const look = async (subject: string, work: (findings: Findings) => Promise<void>): Promise<void> => {
    const findings = collect(subject, all)
    await goOn(findings, signal, () => work(findings))
  }
  await look('store', (findings) => checkStore(store, findings, signal))
  await look('keys', (findings) => checkKeys(installation, findings, signal))
  await look('private keys', (findings) => checkPrivateKeys(installation, findings, signal))
  for (const server of config.servers) {
    let databases: string[] = []
    await look(`server ${server.name}`, async (findings) => {
      await checkServer(server, config, findings, signal)
      databases = await databasesOf(server, signal)
      if (databases.length === 0)
        findings.warn('no database is covered', 'Check `databases` and `exclude` of this server.')
    })
    for (const database of databases)
      await look(`database ${server.name}/${database}`, (findings) => checkDatabase(server, database, findings, signal))
  }
  if (runsDrills(config)) await look('drills', (findings) => checkDrills(installation, findings, signal))
  return all
}

function collect(subject: string, all: Finding[]): Findings {
  return {
    subject,
    ok: (message) => all.push({ subject, result: 'ok', message, hint: null }),
    warn: (message, hint) => all.push({ subject, result: 'warning', message, hint }),
    problem: ({ message, hint, details }) =>
      all.push({
        subject,
        result: 'problem',
        message: details === undefined ? message : `${message}\n${details}`,
        hint,
      }),
  }
}

/** A real write, read, list and delete: rights are known only by using them. */
async function checkStore(store: ObjectStore, findings: Findings, signal: AbortSignal): Promise<void> {
  const key = `checks/${randomUUID()}`
  const body = Buffer.from('pgproof check\n')
  await store.put(key, body, { signal })
  try {
    const read = await store.get(key, { signal })
    if (Buffer.compare(Buffer.from(read), body) !== 0)
      findings.warn('a probe object came back changed', 'Look at the store.')
    let isListed = false
    for await (const info of store.list('checks/', { signal })) isListed ||= info.key === key
    if (!isListed) findings.warn('a probe object is missing in the listing', 'The store must list what it holds.')
  } finally {
    // Whoever cancels the check does not want the probe to stay.
    await store.delete(key, { signal: new AbortController().signal })
  }
  findings.ok(`${store.url}: write, read, list and delete work`)
  const skew = store.clockSkewSeconds() ?? 0
  if (Math.abs(skew) > 60)
    findings.warn(
      `the store's clock differs by ${Math.round(skew)} s`,
      'Set the clock of this machine (NTP); S3 refuses requests beyond 15 minutes.',
    )
}

function runsDrills({ encryption, servers }: Config): boolean {
  return (
    encryption.privateKeyFiles.length > 0 || servers.some(({ schedule }: ServerConfig) => schedule.drill !== undefined)
  )
}
