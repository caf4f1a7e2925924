import { describe, expect, it } from 'vitest'
import { PgproofError } from '../../src/errors.ts'
import { rethrowUnlessSqlState, sqlStateOf } from '../../src/postgres/sql-state.ts'

const withCode = (code: string): Error => Object.assign(new Error('it failed'), { code })

describe('the SQLSTATE of what was thrown', () => {
  it.each(['42501', '57014', '3D000', '22P02', 'P0001', 'HV000', 'F0000', 'XX001'])('%s - that', (state) => {
    expect(sqlStateOf(withCode(state))).toBe(state)
    expect(sqlStateOf(new PgproofError('TARGET_FAILED', { reason: 'x' }, { cause: withCode(state) }))).toBe(state)
  })

  it.each([
    ['a connection that was reset', withCode('ECONNRESET')],
    ['a broken pipe, whose code has five letters', withCode('EPIPE')],
    ['a connection that ended without a word', new Error('Connection terminated unexpectedly')],
    ['an error of the register with no cause', new PgproofError('TARGET_FAILED', { reason: 'x' })],
    ['no error at all', null],
  ])('%s - none', (_case, thrown) => {
    expect(sqlStateOf(thrown)).toBe('')
    const tryIt = (): unknown => {
      try {
        rethrowUnlessSqlState(thrown)
      } catch (error) {
        return { error }
      }
      return 'kept'
    }
    expect(tryIt()).toEqual({ error: thrown })
  })

  it('one of those that are dealt with - kept; another one - handed on', () => {
    const denied = withCode('42501')
    expect(() => rethrowUnlessSqlState(denied)).not.toThrow()
    expect(() => rethrowUnlessSqlState(denied, '28000', '42501')).not.toThrow()
    expect(() => rethrowUnlessSqlState(denied, '28000')).toThrow(denied)
  })
})
