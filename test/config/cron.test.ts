import { describe, expect, it } from 'vitest'
import { reasonAgainstCron } from '../../src/config/cron.ts'

describe('reasonAgainstCron', () => {
  it.each(['0 2 * * *', '*/15 0-6 1,15 * *', '0 3 * * SUN', '0 3 * JAN thu', '0 0 29 2 *', '0 0 * * 7', '0 0 L * *'])(
    '%s - usable',
    async (expression) => {
      expect(await reasonAgainstCron(expression)).toBeUndefined()
    },
  )

  it.each([
    ['61 2 * * *', 'minute'],
    ['0 25 * * *', 'hour'],
    ['0 2 32 * *', 'day of month'],
    ['0 2 * 13 *', 'month'],
    ['0 2 * * 8', 'day of week'],
    ['0 2 * * someday', 'day of week'],
    ['5-1 2 * * *', 'minute'],
    ['H 2 * * *', 'minute'],
    ['0 2 ? * *', 'day of month'],
  ])('%s - the field is named', async (expression, field) => {
    expect(await reasonAgainstCron(expression)).toBe(`the field ${field} is wrong`)
  })

  it.each(['0 2 31 2 *', '0 2 30 2 *', '0 2 31 4,6 *'])('%s - no such day', async (expression) => {
    expect(await reasonAgainstCron(expression)).toBe('it names no day that exists')
  })
})
