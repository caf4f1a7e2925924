import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

it('docs/security.md - every test that it names is there, and every test of security is named', () => {
  const named = new Set(readFileSync('docs/security.md', 'utf8').match(/\btest\/[\w/-]+\.test\.ts\b/g))
  expect(named.size).toBeGreaterThan(30)
  expect([...named].filter((path) => !existsSync(path))).toEqual([])
  for (const name of ['hostile-drill', 'hostile-names', 'isolation', 'old-programs', 'secrets', 'timing'])
    expect(named).toContain(`test/security/${name}.test.ts`)
})
