import { describe, expect, it } from 'vitest'
import { PgproofError, reasonOf, toPgproofError } from '../src/errors.ts'

describe('what was thrown, as an error of the register', () => {
  it('the work fails, and then the cleaning up after it - the failure of the work', async () => {
    const work = async (): Promise<void> => {
      await using _held = {
        [Symbol.asyncDispose]: async () => {
          throw new Error('cannot close')
        },
      }
      await using _also = {
        [Symbol.asyncDispose]: async () => {
          throw new Error('cannot remove')
        },
      }
      throw new PgproofError('DUMP_FAILED')
    }
    const thrown = await work().catch((error: unknown) => error)
    expect(thrown).toMatchObject({ name: 'SuppressedError' })
    expect(toPgproofError(thrown)).toMatchObject({ code: 'DUMP_FAILED' })
  })

  it('cancelled while something cannot be closed - cancelled', () => {
    const abort = new DOMException('aborted', 'AbortError')
    const thrown = Object.assign(new Error('x'), { name: 'SuppressedError', error: new Error('y'), suppressed: abort })
    expect(toPgproofError(thrown, 'it')).toMatchObject({ code: 'CANCELLED', message: 'it was cancelled' })
    expect(reasonOf(thrown)).toBe('aborted')
  })
})
