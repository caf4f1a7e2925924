import {
  query,
  serverBinDir,
  startPostgres,
  type ThrowAwayServer,
  untilConnectable,
} from '../../scripts/throw-away-postgres.ts'

// The demo and the tests start the same kind of server.
export { freePort, query, serverBinDir, startPostgres, unprivileged } from '../../scripts/throw-away-postgres.ts'
export type TestServer = ThrowAwayServer

/**
 * The server that most tests back up: a throw-away one of the system's programs, or a container if PGPROOF_TEST_PG_IMAGE
 * names an image, such as `postgres:17`. The system's own programs must not be older.
 */
export async function startSourceServer(): Promise<Pick<TestServer, 'url' | 'binDir' | 'stop'>> {
  const image = process.env['PGPROOF_TEST_PG_IMAGE']
  if (image === undefined) return await startPostgres()
  const binDir = serverBinDir()
  const { GenericContainer } = await import('testcontainers')
  const container = await new GenericContainer(image)
    .withEnvironment({ POSTGRES_PASSWORD: 'postgres', POSTGRES_INITDB_ARGS: '--encoding=UTF8 --locale=C.UTF-8' })
    .withCopyContentToContainer([{ content: accessRules, target: '/etc/pgproof-hba.conf', mode: 0o644 }])
    .withCommand([
      ...['postgres', '-c', 'hba_file=/etc/pgproof-hba.conf', '-c', 'fsync=off', '-c', 'full_page_writes=off'],
      ...['-c', 'max_connections=60'],
    ])
    .withExposedPorts(5432)
    .start()
  const stop = async (): Promise<void> => {
    await container.stop({ remove: true, removeVolumes: true })
  }
  const urlAt = (host: string, database: string): string =>
    `postgres://postgres@${host}:${container.getMappedPort(5432)}/${encodeURIComponent(database)}`
  try {
    // The image starts the server twice, the first time for itself alone, without a port.
    await untilConnectable(urlAt(container.getHost(), 'postgres'))
    // Some tests reach the same server by its other name, `localhost`: where it can be, it is called as a throw-away one.
    const host = await query(urlAt('127.0.0.1', 'postgres'), 'SELECT 1').then(
      () => '127.0.0.1',
      () => container.getHost(),
    )
    return { url: (database = 'postgres') => urlAt(host, database), binDir, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** As those of a throw-away server; connections come from Docker's gateway. */
const accessRules = 'local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n'
