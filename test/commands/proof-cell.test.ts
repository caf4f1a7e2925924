import { describe, expect, it } from 'vitest'
import { daemonBackup } from '../../src/commands/daemon-answers.ts'
import { backupDocument } from '../../src/commands/documents.ts'
import { proofCell } from '../../src/commands/wording.ts'
import { manifestAt, present, reportOf } from '../catalog/stored.ts'
import { clockAt, madeUpCatalog } from '../metrics/made-up-catalog.ts'

const manifest = manifestAt('2026-11-19T12:00:00Z')

/** The newest backup after drills with these verdicts, one an hour. */
async function backupAfter(...verdicts: readonly ('passed' | 'failed' | 'inconclusive')[]) {
  const reports = verdicts.map((verdict, hour) => reportOf(manifest, `2026-11-20T0${hour + 1}:00:00Z`, { verdict }))
  const { catalog } = await madeUpCatalog(clockAt(present.toISOString()), { manifests: [manifest], reports })
  return catalog.backups()[0] ?? expect.unreachable()
}

describe('what a list says of the drills of a backup', () => {
  it.each([
    [['failed'], 'drill failed 11 h ago', 'bad'],
    [['failed', 'inconclusive'], 'drill failed, then inconclusive 10 h ago', 'bad'],
    [['inconclusive'], 'drill inconclusive 11 h ago', 'doubtful'],
    [['failed', 'inconclusive', 'passed'], 'verified 9 h ago', 'good'],
  ] as const)('%j - %s', async (verdicts, text, tone) => {
    expect(proofCell(await backupAfter(...verdicts), present)).toEqual({ text, tone })
  })

  it('from a daemon that says it, and from one that does not - as far as it is known', async () => {
    const told = JSON.parse(JSON.stringify(backupDocument(await backupAfter('failed', 'inconclusive'), present)))
    expect(daemonBackup.parse(told).isKnownBad).toBe(true)
    const { isKnownBad: _, ...older } = told
    expect(daemonBackup.parse(older).isKnownBad).toBe(false)
    expect(daemonBackup.parse({ ...older, lastVerdict: 'failed' }).isKnownBad).toBe(true)
  })
})
