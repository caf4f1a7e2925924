import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { noticeOf } from './notices.ts'

it('docs/notifications.md - names every field of a notice, every condition and the metrics', () => {
  const page = readFileSync('docs/notifications.md', 'utf8')
  const conditions = [...readFileSync('src/notify/notice.ts', 'utf8').matchAll(/^ {2}\| '([a-z-]+)'$/gm)]
  expect(conditions.length).toBeGreaterThan(5)
  const names = [...Object.keys(noticeOf()), ...conditions.map(([, name]) => name ?? '')]
  expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([])
  const metrics = readFileSync('src/metrics/notice-metrics.ts', 'utf8').match(/\bpgproof_\w+/g) ?? []
  expect(metrics).toHaveLength(3)
  expect(metrics.filter((name) => !page.includes(name))).toEqual([])
})
