import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { ServerConfig } from '../../src/config/config.ts'
import { payloadOf } from '../../src/fleet/payload.ts'
import { Refusals } from '../../src/fleet/refusals.ts'
import { serverHash } from '../../src/fleet/server-hash.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import { silentLog } from '../../src/log.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { dueBackup } from './in-process.ts'

const theirs = serverConfig('main', { databases: ['a', 'b'] })
const entry = {
  ...{ id: 'id', queue: 'backup', retries: 0, queuedAt: new Date() },
  data: payloadOf(dueBackup('a'), 1, { storeId: 'store', serverHash: serverHash(theirs), by: 'x', version: '1' }),
}

/** What refuses, by a configuration that can be changed and a clock that can be turned. */
function refusing(servers: ServerConfig[]): {
  refusals: Refusals
  config: { servers: ServerConfig[] }
  pass(ms: number): void
} {
  const config = { servers }
  let passed = 0
  const clock = { ...systemClock, now: () => new Date(Date.now() + passed) }
  const refusals = new Refusals({ config, clock, storeId: 'store', log: silentLog } as unknown as Installation)
  return { refusals, config, pass: (ms) => (passed += ms) }
}

describe('a server that two workers know differently', () => {
  it.each([
    ['otherwise', [serverConfig('main', { databases: ['a'] })], 'FLEET_CONFIG_DIFFERS'],
    ['not at all', [], 'SERVER_UNKNOWN'],
  ])('known %s - left alone until a reload says something else', (_, servers, code) => {
    const { refusals, config } = refusing(servers)
    expect(refusals.judge(entry)).toMatchObject({ error: { code }, isPoisoned: false })
    expect(refusals.servers()).toEqual(['main'])
    expect(refusals.list()).toMatchObject([{ server: 'main', code }])
    config.servers = [...servers, serverConfig('other', {})]
    expect(refusals.servers()).toEqual(['main'])
    config.servers = [theirs]
    expect(refusals.servers()).toEqual([])
    expect(refusals.judge(entry)).toHaveProperty('payload')
  })

  it('nothing changes here - looked at again after a while, for the other one may have changed', () => {
    const { refusals, pass } = refusing([])
    refusals.judge(entry)
    pass(299_000)
    expect(refusals.servers()).toEqual(['main'])
    pass(2_000)
    expect(refusals.servers()).toEqual([])
  })

  it('users, passwords and the order of names - no difference; databases, host and what is recorded - one', () => {
    const base = serverConfig('main', { databases: ['a', 'b'] })
    const same = [
      { ...base, databases: ['b', 'a'] },
      { ...base, lockTimeoutMs: 1 },
    ]
    const other = [
      { ...base, databases: ['a'] },
      { ...base, url: 'postgres://u@elsewhere:5432/postgres' },
    ]
    expect(same.map(serverHash)).toEqual(same.map(() => serverHash(base)))
    expect(other.map(serverHash)).not.toContain(serverHash(base))
  })
})
