import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runCheck } from '../../src/jobs/check.ts'
import { knownFlaw } from '../../src/postgres/known-flaws.ts'
import { major } from '../postgres/spool-root.ts'
import { testInstallation } from '../support/installation.ts'
import { serverBinDir } from '../support/postgres-server.ts'

it.each([
  ['17.5', 'fixed in 17.6'],
  ['17.6', null],
  ['16.9 (Debian 16.9-1.pgdg120+1)', 'fixed in 16.10'],
  ['16.10', null],
  ['15.13', 'fixed in 15.14'],
  ['15.20 (Debian 15.20-0+deb12u1)', null],
  ['14.18', 'fixed in 14.19'],
  ['14.19', null],
  ['18.0', null],
  ['18beta2', null],
  ['17beta3', null],
])('a program of version %s - %s', (version, expected) => {
  expect(knownFlaw(version)).toEqual(expected === null ? null : expect.stringContaining(expected))
})

it('a pg_restore older than the fix - check warns of it and says what to do, and it is used all the same', async () => {
  if (knownFlaw(`${major}.0`) === null) return
  await using test = await testInstallation({ PGPROOF_SERVERS__0__DATABASES: 'shop_template' })
  const binDir = join(test.folder, 'bin')
  mkdirSync(binDir)
  for (const name of ['pg_dump', 'pg_dumpall', 'initdb', 'postgres'])
    symlinkSync(join(serverBinDir(), name), join(binDir, name))
  writeFileSync(join(binDir, 'pg_restore'), `#!/bin/sh\necho "pg_restore (PostgreSQL) ${major}.0"\n`)
  chmodSync(join(binDir, 'pg_restore'), 0o755)
  const { config } = test.installation
  const installation = { ...test.installation, config: { ...config, postgres: { binDirs: [binDir] } } }
  const findings = await runCheck(installation, new AbortController().signal)
  expect(findings.filter(({ subject, result }) => subject === 'drills' && result === 'warning')).toEqual([
    expect.objectContaining({
      message: expect.stringContaining(`pg_restore ${major}.0 has CVE-2025-8714`),
      hint: expect.stringContaining('newest minor'),
    }),
  ])
})
