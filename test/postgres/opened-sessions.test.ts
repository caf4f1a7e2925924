import { expect, it } from 'vitest'
import { OpenedSessions } from '../../src/postgres/opened-sessions.ts'

it('more sessions than are kept - the last ones are known, in the order in which they were opened', () => {
  const opened = new OpenedSessions(2)
  for (const pid of [1, 2, 3, 4]) opened.add({ database: 'shop', pid })
  expect(opened.all().map(({ pid }) => pid)).toEqual([3, 4])
})
