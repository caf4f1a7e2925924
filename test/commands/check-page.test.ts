import { describe, expect, it } from 'vitest'
import { findingsPage, whatFails } from '../../src/commands/check.ts'
import { createPainter } from '../../src/commands/print.ts'
import type { Finding } from '../../src/jobs/findings.ts'
import { storeConfig } from '../jobs/store-config.ts'

const paint = createPainter(false)

function problem(subject: string, code = 'STORE_DENIED'): Finding {
  return { subject, result: 'problem', message: 'it is refused', hint: 'Look.', code }
}

describe('what a check says will fail', () => {
  const config = {
    stores: [storeConfig({ name: 'main' }), storeConfig({ name: 'copy', isRequired: false })] as const,
  }

  it.each<[string, Finding[], string]>([
    ['a store that is required', [problem('store main')], 'tonight’s backup'],
    ['one that is not', [problem('store copy')], 'the copies in a store that is not required'],
    ['a login that may remove backups', [problem('store main', 'STORE_UNPROTECTED')], 'the protection of a store'],
    ['the control database', [problem('fleet')], 'the work of the fleet'],
    ['the certificate', [problem('http')], '`pgproof serve` or its clients'],
    ['a private key', [problem('private keys')], 'drills and restores'],
    ['the programs of a drill', [problem('drills')], 'drills and restores'],
    ['two of a kind', [problem('drills'), problem('private keys')], 'drills and restores'],
    [
      'several',
      [problem('server main'), problem('drills'), { ...problem('http'), result: 'warning' }],
      'tonight’s backup, or drills and restores,',
    ],
  ])('%s - that, and nothing else', (_what, findings, expected) => {
    expect(whatFails(findings, config)).toBe(expected)
  })
})

describe('the page of a check', () => {
  it('a finding of several lines - thirty of them, and how many more; its hint last', () => {
    const rest = Array.from({ length: 32 }, (_, index) => `table ${index}\u001b[2J`)
    const long: Finding = {
      ...{ subject: 'database main/app', result: 'warning', code: null },
      ...{ message: ['no index for:', ...rest].join('\n'), hint: 'Make one.' },
    }
    const lines = findingsPage([{ ...problem('store'), hint: null }, long], { paint }).split('\n')
    expect(lines.slice(0, 6)).toEqual([
      'store',
      '  problem  it is refused',
      '',
      'database main/app',
      '  warning  no index for:',
      '      table 0\\x1b[2J',
    ])
    expect(lines.slice(-3)).toEqual([
      '      table 29\\x1b[2J',
      '      and 2 more (--json shows all)',
      '      hint: Make one.',
    ])
  })
})
