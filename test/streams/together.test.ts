import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { together } from '../../src/streams/together.ts'
import { failureOf } from './processes.ts'

/** A branch that runs until it is aborted and then takes a moment to clean up. */
async function untilAborted(signal: AbortSignal, onEnd: () => void): Promise<never> {
  await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  await delay(20)
  onEnd()
  throw signal.reason
}

describe('together', () => {
  it('all succeed - their results, in order', async () => {
    const { signal } = new AbortController()
    const work = async <T>(value: T): Promise<T> => value
    expect(await together<[number, string]>(signal, () => [work(1), work('two')])).toEqual([1, 'two'])
  })

  it('one fails - the others are aborted with its error and waited for, and its error is thrown', async () => {
    const { signal } = new AbortController()
    const first = new Error('first')
    let hasCleanedUp = false
    let reason: unknown
    const failure = await failureOf(
      together<[never, never]>(signal, (branch) => [
        Promise.reject(first),
        untilAborted(branch, () => {
          hasCleanedUp = true
          reason = branch.reason
        }),
      ]),
    )
    expect({ failure, hasCleanedUp, reason }).toEqual({ failure: first, hasCleanedUp: true, reason: first })
  })

  it('several fail - the first failure is thrown, not what follows from it', async () => {
    const { signal } = new AbortController()
    const later = async (branch: AbortSignal): Promise<never> => {
      await untilAborted(branch, () => {}).catch(() => {})
      throw new Error('a consequence')
    }
    const failure = await failureOf(
      together<[never, never]>(signal, (branch) => [later(branch), Promise.reject(new Error('the cause'))]),
    )
    expect(failure).toMatchObject({ message: 'the cause' })
  })

  it('aborted from outside - every branch has ended before the reason is thrown', async () => {
    const controller = new AbortController()
    const reason = new Error('cancelled by the operator')
    let ended = 0
    const end = (): void => {
      ended += 1
    }
    const running = failureOf(
      together<[never, never]>(controller.signal, (branch) => [untilAborted(branch, end), untilAborted(branch, end)]),
    )
    controller.abort(reason)
    expect(await running).toBe(reason)
    expect(ended).toBe(2)
  })

  it('what all depend on is lost - the branches are aborted and the loss is thrown, even if they succeed', async () => {
    const { signal } = new AbortController()
    const loss = Promise.reject(new Error('connection lost'))
    const patient = async (branch: AbortSignal): Promise<string> => {
      await untilAborted(branch, () => {}).catch(() => {})
      return 'done all the same'
    }
    const failure = await failureOf(together<[string]>(signal, (branch) => [patient(branch)], loss))
    expect(failure).toMatchObject({ message: 'connection lost' })
  })

  it('lost after all have succeeded - no matter', async () => {
    const { signal } = new AbortController()
    let lose: (error: Error) => void = () => {}
    const lost = new Promise<never>((_, reject) => {
      lose = reject
    })
    expect(await together<[number]>(signal, () => [Promise.resolve(1)], lost)).toEqual([1])
    lose(new Error('closed'))
    await delay(1)
  })

  it('an abort from outside is not mistaken for the loss that it causes - the reason is thrown', async () => {
    const controller = new AbortController()
    const reason = new Error('cancelled by the operator')
    let lose: (error: Error) => void = () => {}
    const lost = new Promise<never>((_, reject) => {
      lose = reject
    })
    const running = failureOf(together<[never]>(controller.signal, (branch) => [untilAborted(branch, () => {})], lost))
    controller.signal.addEventListener('abort', () => lose(new Error('connection ended')), { once: true })
    controller.abort(reason)
    expect(await running).toBe(reason)
  })
})
