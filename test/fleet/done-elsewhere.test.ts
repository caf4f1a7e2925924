import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { addressOf, eventually, fleetFolder } from './fleet-folder.ts'

const token = 'token-of-the-test'
/** Nobody's catalog is read anew while the test runs. */
const daemon = { maxConcurrent: 1, catalogRefresh: '1h', grace: '5s' }

describe('what another worker has done', () => {
  it('a backup and a drill ordered from an instance that does neither - succeed there, and are found there at once', async () => {
    await using fleet = await fleetFolder(1)
    const [database = ''] = fleet.databases
    const place = `main/${database}`
    const hash = createHash('sha256').update(token).digest('hex')
    const http = { listen: '127.0.0.1:0', tokens: [{ name: 'test', scope: 'backup', hash }] }
    await fleet.configure({ daemon, http })
    const asked = fleet.worker('asked', { PGPROOF_FLEET__MAY: 'serve' })
    fleet.worker('driller', { PGPROOF_FLEET__MAY: 'drill' })
    const url = await addressOf(asked)
    await eventually('their signs', async () => (await fleet.entries("name = 'workers'").catch(() => [])).length === 2)
    // Both have read the store while there was nothing in it.
    fleet.worker('maker', { PGPROOF_FLEET__MAY: 'backup' })
    await eventually('the due one', async () => (await fleet.entries("state = 'completed'")).length === 1)
    const asCaller = { headers: { authorization: `Bearer ${token}` } }
    const itemsOf = async (path: string) =>
      ((await (await fetch(`${url}${path}`, asCaller)).json()) as { items: unknown[] }).items
    // By the time that it is shown as succeeded, its backup is there.
    await eventually('its end', async () => (await itemsOf('/v1/runs?state=succeeded')).length === 1)
    expect(await itemsOf('/v1/backups')).toHaveLength(1)

    const by = { config: null, env: { PGPROOF_TOKEN: token } }
    const ordered = await fleet.folder.json(['backup', place, '--url', url], by)
    expect([ordered.code, ordered.document]).toEqual([0, expect.anything()])
    const listed = await fleet.folder.json(['list', '--url', url], by)
    expect([...(listed.document['backups'] ?? [])]).toHaveLength(2)
    const [newest] = [...(listed.document['backups'] ?? [])]
    const label = String(newest?.['label'])
    const drilled = await fleet.folder.json(['drill', place, '--backup', label, '--url', url], by)
    expect(drilled).toMatchObject({ code: 0 })
    expect(drilled.document).toMatchObject({ drill: { backup: { label }, verdict: 'passed' } })
  })
})
