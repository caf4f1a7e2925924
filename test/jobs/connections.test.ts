import { expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { scratchSettings } from '../../src/jobs/execute.ts'
import { targetOf } from '../../src/jobs/order-restore.ts'
import { configFolder, least } from '../config/folder.ts'

it('certificates of the target of a restore - relative to the working directory, the word system as it is', () => {
  const { tls } = targetOf('postgres://u@h/app?sslmode=verify-full&sslrootcert=ca.pem', { servers: [] }, '/home/ops')
  expect(tls).toMatchObject({ mode: 'verify-full', rootCertFile: '/home/ops/ca.pem' })
  expect(targetOf('postgres://u@h/app?sslrootcert=system', { servers: [] }, '/home/ops').tls.rootCertFile).toBe(
    'system',
  )
})

it('a server kept for drills - its password is the one in the file, without the end of its line', async () => {
  await using folder = await configFolder()
  const drill = 'drill: { scratch: "postgres://drill@other/scratch", scratchPasswordFile: secret }\n'
  const file = await folder.write('pgproof.yaml', `${least}${drill}`)
  const { config } = await loadConfig({ file, env: {}, cwd: folder.path, isTerminal: false })
  const settings = scratchSettings(config)
  expect(settings).toMatchObject({ kind: 'server', connection: { host: 'other', user: 'drill', database: 'scratch' } })
  expect(settings.kind === 'server' && settings.connection.password?.()).toBe('hunter2')
})
