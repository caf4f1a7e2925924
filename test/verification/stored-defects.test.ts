import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../support/postgres-server.ts'
import { openScene, type Scene } from './scene.ts'
import { judge, openStage } from './stage.ts'
import { storedDefects } from './stored-defects.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene()
})
afterAll(async () => {
  await scene[Symbol.asyncDispose]()
})

describe('backups as they were stored', () => {
  it.each(['plain', 'signed', 'unchecked'] as const)(
    '%s - drilled, verified, and no gap in their history',
    async (baseline) => {
      await using stage = await openStage(scene, { baseline })
      for (const judged of ['drill', 'verify', 'history'] as const)
        expect(await judge({ judged }, stage)).toMatchObject({ verdict: 'passed', rung: 'none' })
      expect(await judge({ judged: 'verify', of: 'roles' }, stage)).toMatchObject({ verdict: 'passed' })
    },
  )

  it('a prune of the older one - is no gap', async () => {
    await using stage = await openStage(scene, { settings: { PGPROOF_SERVERS__0__RETENTION__LAST: '1' } })
    await stage.test.run('prune')
    expect(stage.test.store.keys().filter((key) => key.startsWith(stage.older))).toEqual([])
    expect(await judge({ judged: 'history' }, stage)).toMatchObject({ verdict: 'passed', rung: 'none' })
  })
})

describe('a role changed by others while pg_dumpall reads', () => {
  it.each([
    ['altered', 'ALTER ROLE idle CREATEDB', 'ALTER ROLE idle NOCREATEDB'],
    ['created', 'CREATE ROLE newcomer', 'DROP ROLE newcomer'],
    ['given a membership', 'GRANT keeper TO idle', 'REVOKE keeper FROM idle'],
    ['given a setting', "ALTER ROLE idle SET work_mem = '7MB'", 'ALTER ROLE idle RESET work_mem'],
  ])('%s - is no defect of the roles backup, with whichever of both it came', async (_, change, undo) => {
    await using stage = await openStage(scene, {})
    const { store } = stage.test
    store.before = async (operation, key) => {
      if (operation !== 'write' || !key.endsWith('roles.sql.pgp')) return
      store.before = () => {}
      await query(scene.source.url(), change)
    }
    const { backup } = await stage.test.run('roles')
    await query(scene.source.url(), undo)
    expect(backup?.manifest.omissions).toEqual([{ kind: 'changed during the dump', objects: expect.any(Number) }])
    expect(await judge({ judged: 'drill' }, stage)).toMatchObject({ verdict: 'passed', rung: 'none' })
  })
})

describe('a defect of what is stored', () => {
  it.each(storedDefects)('$group: $title - found at “$rung”', async (defect) => {
    await using stage = await openStage(scene, defect)
    await defect.plant(stage)
    const outcome = await judge(defect, stage)
    expect(outcome).toMatchObject({ verdict: defect.verdict ?? 'failed', rung: defect.rung })
    expect(outcome.said).toContain(defect.names)
  })
})
