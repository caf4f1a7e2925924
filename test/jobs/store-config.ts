import type { StoreConfig } from '../../src/config/config.ts'
import type { Finding, Findings } from '../../src/jobs/findings.ts'

/** A store's configuration as it is by default. */
export function storeConfig(over: Partial<StoreConfig> = {}): StoreConfig {
  return {
    name: 'store',
    isRequired: true,
    id: undefined,
    accessKeyId: undefined,
    secretAccessKey: undefined,
    sessionToken: undefined,
    reader: undefined,
    pruner: undefined,
    isAppendOnly: false,
    retention: undefined,
    rolesRetention: undefined,
    url: 'memory://store',
    endpoint: undefined,
    region: undefined,
    provider: 'ceph',
    caFile: undefined,
    partSizeBytes: 5 * 2 ** 20,
    partsInFlight: 4,
    objectLock: undefined,
    serverSideEncryption: undefined,
    kmsKeyId: undefined,
    storageClass: undefined,
    tags: {},
    versions: 'keep',
    ...over,
  }
}

export function findingsInto(all: Finding[]): Findings {
  const subject = 'store'
  return {
    subject,
    ok: (message) => all.push({ subject, result: 'ok', message, hint: null, code: null }),
    warn: (message, hint) => all.push({ subject, result: 'warning', message, hint, code: null }),
    problem: ({ message, hint, code }) => all.push({ subject, result: 'problem', message, hint, code }),
  }
}
