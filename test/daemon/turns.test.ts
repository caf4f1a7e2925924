import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inTurns, type Waiting } from '../../src/daemon/turns.ts'

const waits = (...names: string[]) =>
  names.map((name) => ({ name, server: name[0] as string, takesLong: name.endsWith('!') }))
const namesOf = (order: readonly { name: string }[]): string[] => order.map(({ name }) => name)

describe('turns', () => {
  it('one server has many and another one - it gets the second place', () => {
    expect(namesOf(inTurns(waits('a1', 'a2', 'a3', 'b1'), []))).toEqual(['a1', 'b1', 'a2', 'a3'])
  })

  it('the server that was served last - comes last', () => {
    expect(namesOf(inTurns(waits('a1', 'a2', 'b1', 'c1'), ['c', 'b', 'a']))).toEqual(['c1', 'b1', 'a1', 'a2'])
  })

  it('what takes long - after everything else', () => {
    expect(namesOf(inTurns(waits('a1!', 'a2', 'b1!', 'a3', 'b2'), []))).toEqual(['a2', 'b2', 'a3', 'a1!', 'b1!'])
  })

  it('whatever waits - all of it, each once; no server twice before another that waits as long', () => {
    const waiting: fc.Arbitrary<Waiting[]> = fc.array(
      fc.record({ server: fc.constantFrom('a', 'b', 'c', 'd'), takesLong: fc.boolean() }),
    )
    fc.assert(
      fc.property(waiting, fc.shuffledSubarray(['a', 'b', 'c', 'd']), (all, served) => {
        const order = inTurns(all, served)
        expect(new Set(order)).toEqual(new Set(all))
        expect(order).toHaveLength(all.length)
        for (const takesLong of [false, true]) {
          const equals = order.filter((one) => one.takesLong === takesLong)
          for (const [index, { server }] of equals.entries()) {
            const before = equals.slice(0, index).filter((one) => one.server === server).length
            for (const other of new Set(equals.slice(index).map((one) => one.server)))
              expect(equals.slice(0, index).filter((one) => one.server === other).length).toBeGreaterThanOrEqual(
                Math.min(before, equals.filter((one) => one.server === other).length),
              )
          }
        }
      }),
    )
  })
})
