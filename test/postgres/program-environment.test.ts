import { expect, it } from 'vitest'
import { programEnvironment } from '../../src/postgres/program-environment.ts'
import { connectionTo } from './sandbox.ts'

it('a certificate and key for the login are configured - client programs show them to the server, too', async () => {
  const tls = {
    mode: 'verify-full',
    rootCertFile: '/tls/ca.pem',
    certFile: '/tls/me.pem',
    keyFile: '/tls/me.key',
  } as const
  await using environment = await programEnvironment(connectionTo('shop', { tls }), 'pgproof pg_dump')
  expect(environment.env).toMatchObject({
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: '/tls/ca.pem',
    PGSSLCERT: '/tls/me.pem',
    PGSSLKEY: '/tls/me.key',
  })
})
