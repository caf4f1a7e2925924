import { describe, expect, it } from 'vitest'
import { eachOf } from '../../src/storage/each-of.ts'

function pagesOf(pages: readonly (readonly number[])[], ended: string[], failure?: Error) {
  return (async function* () {
    try {
      yield* pages
      if (failure !== undefined) throw failure
    } finally {
      ended.push('ended')
    }
  })()
}

describe('one after the other of what comes some at a time', () => {
  it('empty pages among them - every item once, in order, then the end', async () => {
    const ended: string[] = []
    const items: number[] = []
    for await (const item of eachOf(pagesOf([[], [1, 2], [], [], [3], []], ended))) items.push(item)
    expect([items, ended]).toEqual([[1, 2, 3], ['ended']])
    const none = eachOf(pagesOf([], ended))
    expect(await none.next()).toEqual({ done: true, value: undefined })
    expect(await none.next()).toEqual({ done: true, value: undefined })
  })

  it('left early, within a page - the pages are ended, and nothing of them comes any more', async () => {
    const ended: string[] = []
    const each = eachOf(pagesOf([[1, 2], [3]], ended))
    for await (const item of each) {
      expect(item).toBe(1)
      break
    }
    expect(ended).toEqual(['ended'])
    expect(await each.next()).toEqual({ done: true, value: undefined })
  })

  it('the pages fail - what came before is told, then the failure', async () => {
    const items: number[] = []
    const listing = async (): Promise<void> => {
      for await (const item of eachOf(pagesOf([[1, 2]], [], new Error('no more')))) items.push(item)
    }
    await expect(listing()).rejects.toThrow('no more')
    expect(items).toEqual([1, 2])
  })
})
