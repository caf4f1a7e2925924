// The demo and the tests start the same kind of server.
export {
  freePort,
  query,
  serverBinDir,
  startPostgres,
  type ThrowAwayServer as TestServer,
  unprivileged,
} from '../../scripts/throw-away-postgres.ts'
