import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forgeDump } from '../support/forge.ts'
import { databaseDefects } from './defects.ts'
import { openScene, outcomeOf, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene()
})
afterAll(async () => {
  await scene[Symbol.asyncDispose]()
})

describe('the gallery as it was backed up', () => {
  it('passes every rung, and nothing is left out', async () => {
    await using test = await scene.installation()
    const { drill } = await test.run('drill', 'gallery', { backup: scene.newer })
    expect(drill?.error).toBeNull()
    expect(drill?.report.checks.filter(({ result }) => result !== 'passed').map(({ name }) => name)).toEqual([
      'signature',
    ])
    expect(drill?.tables?.structure?.differences).toEqual([])
  })
})

describe('a defect of the dump, with every digest made to fit', () => {
  it.each(databaseDefects)('$group: $title - failed at “$rung”', async ({ sql, rung, names }) => {
    await using copy = await scene.copy(sql)
    await using test = await scene.installation()
    await forgeDump(test, scene.folder(scene.newer), copy.url, { fitEvidence: true })
    const { drill } = await test.run('drill', 'gallery', { backup: scene.newer })
    const outcome = outcomeOf(drill as NonNullable<typeof drill>)
    expect(outcome).toMatchObject({ verdict: 'failed', rung })
    expect(outcome.said).toContain(names)
  })
})
