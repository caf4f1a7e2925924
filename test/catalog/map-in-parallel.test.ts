import { describe, expect, it } from 'vitest'
import { mapInParallel } from '../../src/catalog/map-in-parallel.ts'
import { signal } from './stored.ts'

describe('several at once', () => {
  it('one fails while another goes on - that one is waited for, nothing more is begun, the failure is told', async () => {
    const begun: string[] = []
    const slow = Promise.withResolvers<void>()
    const ended: string[] = []
    const mapped = mapInParallel(['fails', 'slow', 'never'], 2, signal, async (item) => {
      begun.push(item)
      if (item === 'fails') {
        setImmediate(slow.resolve)
        throw new Error('it fails')
      }
      await slow.promise
      ended.push(item)
    })
    await expect(mapped).rejects.toThrow('it fails')
    expect({ begun, ended }).toEqual({ begun: ['fails', 'slow'], ended: ['slow'] })
  })
})
