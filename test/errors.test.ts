import { describe, expect, it } from 'vitest'
import { PgproofError, reasonOf, rethrowUnless, toPgproofError } from '../src/errors.ts'

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

  it('a wait that was ended for a reason of the register - that reason, not CANCELLED', () => {
    const cause = new PgproofError('DEADLINE_EXCEEDED', { what: 'drill of main/shop', deadline: '1 h' })
    const thrown = Object.assign(new Error('The operation was aborted', { cause }), { code: 'ABORT_ERR' })
    expect(toPgproofError(thrown)).toBe(cause)
  })

  it('several failures in one, as of a host with several addresses - the words of the first', () => {
    const each = ['connect ECONNREFUSED ::1:5432', 'connect ECONNREFUSED 127.0.0.1:5432'].map((text) => new Error(text))
    expect(reasonOf(new AggregateError(each))).toBe('connect ECONNREFUSED ::1:5432')
    expect(reasonOf(new AggregateError([], 'nothing to connect to'))).toBe('nothing to connect to')
  })
})

it('who deals with one kind of failure - hands every other on as it is', () => {
  const fault = new TypeError('x is not a function')
  expect(() => rethrowUnless(fault, PgproofError)).toThrow(fault)
  expect(() => rethrowUnless('no error at all', PgproofError)).toThrow('no error at all')
  expect(() => rethrowUnless(new PgproofError('DUMP_FAILED'), PgproofError)).not.toThrow()
})
