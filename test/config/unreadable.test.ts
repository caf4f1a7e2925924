import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { configFolder, least, leastVariables } from './folder.ts'

describe('a file that cannot be read', () => {
  it('missing, a directory, or not text - CONFIG_UNREADABLE with its path', async () => {
    await using folder = await configFolder()
    await folder.write('latin1.yaml', new Uint8Array([0x61, 0xe4, 0x3a]))
    const load = (file: string): Promise<unknown> => loadConfig({ file, env: {}, cwd: folder.path })
    for (const [file, reason] of [
      ['missing.yaml', 'it does not exist'],
      ['.', 'it is a directory'],
      ['latin1.yaml', 'it is not UTF-8 text'],
    ] as const)
      await expect(load(file)).rejects.toMatchObject({
        code: 'CONFIG_UNREADABLE',
        message: `cannot read the configuration file ${join(folder.path, file)}: ${reason}`,
        exitCode: 2,
      })
  })

  it('not readable for this user - says so, for the file and for a secret that it names', async () => {
    await using folder = await configFolder()
    const file = await folder.write('pgproof.yaml', least, 0o000)
    const secret = join(folder.path, 'secret')
    await folder.write('secret', 'hunter2', 0o000)
    const variables = { ...leastVariables, PGPROOF_SERVERS__0__PASSWORD_FILE: secret }
    await asOrdinaryUser(async () => {
      await expect(loadConfig({ file, env: {}, cwd: folder.path })).rejects.toThrow('this user may not read it')
      const withSecret = loadConfig({ file: undefined, env: variables, cwd: folder.path })
      await expect(withSecret).rejects.toMatchObject({
        details: expect.stringMatching(
          /PASSWORD_FILE {2}servers\.0\.passwordFile: cannot read the file: this user may not/,
        ),
      })
    })
  })
})

/** The superuser reads every file, so that as root somebody else must try. */
async function asOrdinaryUser(action: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  try {
    await action()
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
}
