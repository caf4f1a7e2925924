import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { OneAtATime } from '../../src/catalog/one-at-a-time.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { signal } from './stored.ts'

it('what failed before - is not kept by what comes after it', async () => {
  const queue = new OneAtATime()
  const failed = await failing(queue, 20)
  await queue.run(async () => {}, signal)
  // What a WeakRef was made for in this turn of the event loop is kept until its end.
  await setImmediate()
  collectGarbage()
  expect(failed.filter((error) => error.deref() !== undefined)).toHaveLength(0)
  await queue.run(async () => {}, signal)
})

async function failing(queue: OneAtATime, times: number): Promise<WeakRef<Error>[]> {
  const errors: WeakRef<Error>[] = []
  for (let time = 0; time < times; time += 1) {
    const work = async (): Promise<void> => {
      throw new Error('the store is away')
    }
    await queue.run(work, signal).catch((error: Error) => errors.push(new WeakRef(error)))
  }
  expect(errors).toHaveLength(times)
  return errors
}
