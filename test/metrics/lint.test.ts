import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { registerCertificateMetric } from '../../src/metrics/certificate-metric.ts'
import { everyMetric } from './every-metric.ts'

it('every metric with a sample - promtool check metrics has nothing to say', async () => {
  const metrics = await everyMetric()
  registerCertificateMetric(metrics.registry, () => new Date('2027-01-01T00:00:00Z'))
  const text = await metrics.text()
  const [types, samples] = [/^# TYPE (pgproof_\w+)/gm, /^(pgproof_\w+?)(?:_bucket|_sum|_count)?[{ ]/gm].map(
    (pattern) => new Set([...text.matchAll(pattern)].map(([, name]) => name)),
  )
  expect([...(types ?? [])].filter((name) => samples?.has(name) !== true)).toEqual([])
  const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  })
  if (error !== undefined) throw new Error('no promtool: apt-get install prometheus', { cause: error })
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
})
