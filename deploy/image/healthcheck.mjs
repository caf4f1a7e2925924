// The image's health check: whether the process answers. Any answer counts, a demand for a token too; whether the store
// can be read is /readyz's matter, and no reason to restart anything.
import { readFileSync } from 'node:fs'
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'

const listen = process.env.PGPROOF_HTTP__LISTEN || '127.0.0.1:9432'
const isDaemon = readFileSync('/proc/1/cmdline', 'utf8').split('\0').includes('serve')
// Of a fleet; if the configuration says it instead, the image must be told: PGPROOF_HTTP__LISTEN=off.
const may = process.env.PGPROOF_FLEET__MAY || 'serve'
// Neither a single backup nor a daemon that listens nowhere can be asked.
if (!isDaemon || listen === 'off' || !may.split(/[,\s]+/).includes('serve')) process.exit(0)

const host = listen.slice(0, listen.lastIndexOf(':')).replace(/^\[|\]$/g, '')
const address = {
  host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host,
  port: listen.slice(listen.lastIndexOf(':') + 1),
  path: '/healthz',
  timeout: 4000,
  agent: false,
}
// Whether it speaks TLS stands in a configuration that is not read here. The certificate is that of another name.
const answers = (request, options) =>
  new Promise((resolve) => {
    const asked = request({ ...address, ...options }, ({ statusCode }) => resolve(statusCode < 500))
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(false))
    asked.end()
  })
const isHealthy = (await answers(requestHttp)) || (await answers(requestHttps, { rejectUnauthorized: false }))
process.exit(isHealthy ? 0 : 1)
