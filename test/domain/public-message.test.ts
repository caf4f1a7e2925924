import { describe, expect, it } from 'vitest'
import { publicMessage } from '../../src/domain/public-message.ts'

describe('a message that leaves the house', () => {
  it.each([
    'EVIDENCE_MISMATCH',
    'INTERNAL',
    'PRIVILEGE_MISSING',
    'QUERY_FAILED',
    'ROLES_FAILED',
    'SCRATCH_FAILED',
    'SNAPSHOT_FAILED',
  ])('%s - what failed, cut before what PostgreSQL says of it, on every line', (code) => {
    expect(publicMessage(code, 'census of app failed: relation "patients"\nDETAIL: more')).toBe('census of app failed')
    expect(publicMessage(code, 'at 10:20 it failed')).toBe('at 10:20 it failed')
  })

  it('any other - whole', () => {
    expect(publicMessage('STORE_FAILED', 'store "main": answered 500')).toBe('store "main": answered 500')
  })
})
