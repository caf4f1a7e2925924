import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type HttpAnswer, type HttpRequest, startScriptedServer } from '../support/scripted-http.ts'

const run = promisify(execFile)
const secret = 'a-secret-that-must-not-be-seen'
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()

describe('credentials that nobody configured', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pgproof-credentials-'))
  })
  afterAll(async () => {
    await rm(folder, { recursive: true })
  })

  /** Asks a scripted store `times` times in a process with this environment; tells who it said it was each time. */
  const ask = async (environment: Record<string, string>, times = 1) => {
    await using s3 = await startScriptedServer(() => ({ status: 200, headers: { etag: '"e"' } }))
    const { stdout } = await run(
      process.execPath,
      [join(import.meta.dirname, 'aws-credentials.child.ts'), s3.endpoint, String(times)],
      { env: { HOME: folder, ...environment } },
    )
    const outcome = JSON.parse(stdout) as { code?: string; message?: string; hint?: string; all: string; ms: number }
    expect(outcome.all).not.toContain(secret)
    return {
      ...outcome,
      asked: s3.requests.map(({ headers }) => ({
        key: /Credential=([^/]+)/.exec(headers.authorization ?? '')?.[1],
        token: headers['x-amz-security-token'],
      })),
    }
  }
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }
  const json = (content: object): HttpAnswer => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(content),
  })
  const temporary = (key: string, expiration = inAnHour()): HttpAnswer =>
    json({
      Code: 'Success',
      AccessKeyId: key,
      SecretAccessKey: secret,
      Token: `token of ${key}`,
      Expiration: expiration,
    })

  it('environment variables with a session token - used', async () => {
    const { asked } = await ask({
      AWS_ACCESS_KEY_ID: 'env-key',
      AWS_SECRET_ACCESS_KEY: secret,
      AWS_SESSION_TOKEN: 'env-token',
    })
    expect(asked).toEqual([{ key: 'env-key', token: 'env-token' }])
  })

  it('shared credentials file - the named profile is used, before keys of the environment; else the default one', async () => {
    const credentials = await file(
      'credentials',
      `[default]\naws_access_key_id = default-key\naws_secret_access_key = ${secret}\n` +
        `[backups]\naws_access_key_id = backups-key\naws_secret_access_key = ${secret}\n`,
    )
    const environment = { AWS_SHARED_CREDENTIALS_FILE: credentials }
    expect((await ask(environment)).asked).toEqual([{ key: 'default-key' }])
    const named = { ...environment, AWS_PROFILE: 'backups' }
    expect((await ask(named)).asked).toEqual([{ key: 'backups-key' }])
    const withKeys = { ...named, AWS_ACCESS_KEY_ID: 'env-key', AWS_SECRET_ACCESS_KEY: secret }
    expect((await ask(withKeys)).asked).toEqual([{ key: 'backups-key' }])
  })

  it('web identity, as of a service account of Kubernetes - the token is traded for a role', async () => {
    await using sts = await startScriptedServer(() => ({
      status: 200,
      body:
        '<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>' +
        `<AccessKeyId>role-key</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey>` +
        `<SessionToken>role-token</SessionToken><Expiration>${inAnHour()}</Expiration>` +
        '</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>',
    }))
    const { asked } = await ask({ ...(await webIdentity()), AWS_ENDPOINT_URL_STS: sts.endpoint }, 3)
    expect(asked).toEqual(Array(3).fill({ key: 'role-key', token: 'role-token' }))
    expect(sts.requests).toHaveLength(1)
    const asking = new URLSearchParams(String(sts.requests[0]?.body))
    expect(asking.get('RoleArn')).toBe('arn:aws:iam::123456789012:role/backup')
    expect(asking.get('WebIdentityToken')).toBe(secret)
  })

  it('web identity that the token service refuses - STORE_CREDENTIALS_MISSING with its reason', async () => {
    await using sts = await startScriptedServer(() => ({
      status: 403,
      body: '<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to assume</Message></Error></ErrorResponse>',
    }))
    expect(await ask({ ...(await webIdentity()), AWS_ENDPOINT_URL_STS: sts.endpoint })).toMatchObject({
      code: 'STORE_CREDENTIALS_MISSING',
      message: expect.stringMatching(/Not authorized to assume .*AWS_WEB_IDENTITY_TOKEN_FILE/),
      asked: [],
    })
  })

  it('container with an authorization token, as of EKS Pod Identity - asked once, with that token', async () => {
    await using agent = await startScriptedServer(() => temporary('pod-key'))
    const { asked } = await ask(await container(agent.endpoint), 3)
    expect(asked).toEqual(Array(3).fill({ key: 'pod-key', token: 'token of pod-key' }))
    expect(agent.requests.map(({ headers }) => headers.authorization)).toEqual([secret])
  })

  it('instance role by IMDSv2 - the session token is fetched first', async () => {
    await using metadata = await startScriptedServer(instanceMetadata)
    const { asked } = await ask({ AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.endpoint })
    expect(asked).toEqual([{ key: 'instance-key', token: 'token of instance-key' }])
    expect(metadata.requests[0]).toMatchObject({ method: 'PUT', path: '/latest/api/token' })
    for (const { headers } of metadata.requests.slice(1))
      expect(headers['x-aws-ec2-metadata-token']).toBe('metadata-session')
  })

  it('credentials that expire in a minute - asked for again while they still serve', async () => {
    let times = 0
    await using agent = await startScriptedServer(() => {
      times += 1
      return times === 1 ? temporary('first-key', new Date(Date.now() + 60_000).toISOString()) : temporary('second-key')
    })
    const { asked } = await ask(await container(agent.endpoint), 50)
    expect(asked[0]?.key).toBe('first-key')
    expect(asked.at(-1)?.key).toBe('second-key')
    expect(times).toBe(2)
  })

  it('credentials that have expired - asked for anew before the next call', async () => {
    let times = 0
    await using agent = await startScriptedServer(() => {
      times += 1
      return temporary(`key-${times}`, times === 1 ? new Date(Date.now() - 1_000).toISOString() : inAnHour())
    })
    const { asked } = await ask(await container(agent.endpoint), 3)
    expect(asked.slice(1).map(({ key }) => key)).toEqual(['key-2', 'key-2'])
  })

  it('token service that is down for a moment - asked again, the store call succeeds', async () => {
    let times = 0
    await using sts = await startScriptedServer(() => {
      times += 1
      // More than the SDK's own retries would bear.
      if (times <= 3) return { status: 503, body: '<ErrorResponse><Error><Code>Busy</Code></Error></ErrorResponse>' }
      return {
        status: 200,
        body:
          '<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>' +
          `<AccessKeyId>late-key</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey>` +
          `<SessionToken>t</SessionToken><Expiration>${inAnHour()}</Expiration>` +
          '</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>',
      }
    })
    const { asked } = await ask({ ...(await webIdentity()), AWS_ENDPOINT_URL_STS: sts.endpoint })
    expect(asked).toEqual([{ key: 'late-key', token: 't' }])
  })

  it('nothing anywhere - STORE_CREDENTIALS_MISSING with what to set, and nobody is asked', async () => {
    expect(await ask({ AWS_EC2_METADATA_DISABLED: 'true' })).toMatchObject({
      code: 'STORE_CREDENTIALS_MISSING',
      hint: expect.stringContaining('AWS_ACCESS_KEY_ID'),
      asked: [],
    })
  })

  it('a profile that does not exist - STORE_CREDENTIALS_MISSING that names the variable', async () => {
    const { code, message } = await ask({ AWS_PROFILE: 'nobody', AWS_EC2_METADATA_DISABLED: 'true' })
    expect(code).toBe('STORE_CREDENTIALS_MISSING')
    expect(message).toContain('AWS_PROFILE')
  })

  it('metadata server that never answers - STORE_CREDENTIALS_MISSING within seconds', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const { code, ms } = await ask({ AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint })
    silent.close()
    expect(code).toBe('STORE_CREDENTIALS_MISSING')
    expect(ms).toBeLessThan(15_000)
  })

  it('a program of the profile that hangs when the credentials end - a get is cancelled at once, with the reason', async () => {
    await using s3 = await startScriptedServer(() => ({ status: 200, headers: { etag: '"e"' }, body: 'x' }))
    const at = (name: string): string => join(folder, name)
    const answer = `{"Version":1,"AccessKeyId":"process-key","SecretAccessKey":"${secret}","Expiration":"'$(date -u -d '+4 seconds' +%FT%TZ)'"}`
    // The SDK asks for the next ones in the background first, and waits for an answer when the old ones have ended.
    const program = await file(
      'program.sh',
      `if mkdir ${at('first')}; then echo '${answer}'; elif mkdir ${at('second')}; then cat; else mkdir ${at('third')}; cat; fi`,
    )
    const config = await file('hanging-config', `[profile hanging]\ncredential_process = sh ${program}\n`)
    const { stdout } = await run(
      process.execPath,
      [join(import.meta.dirname, 'hung-credentials.child.ts'), s3.endpoint, at('third')],
      {
        env: { HOME: folder, AWS_CONFIG_FILE: config, AWS_PROFILE: 'hanging', PATH: '/usr/bin:/bin' },
        timeout: 40_000,
      },
    )
    const { ms, reads, ...how } = JSON.parse(stdout) as { ms: number; reads: number; code: string; message: string }
    expect(how).toEqual({ code: 'CANCELLED', message: expect.stringContaining('the reading') })
    expect(reads).toBeGreaterThan(0)
    expect(ms).toBeLessThan(5_000)
  })

  async function webIdentity(): Promise<Record<string, string>> {
    return {
      AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/backup',
      AWS_WEB_IDENTITY_TOKEN_FILE: await file('web-identity', secret),
    }
  }

  async function container(endpoint: string): Promise<Record<string, string>> {
    return {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${endpoint}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: await file('pod-identity', secret),
    }
  }

  function instanceMetadata({ path }: HttpRequest): HttpAnswer {
    if (path === '/latest/api/token') return { status: 200, body: 'metadata-session' }
    if (path.endsWith('/security-credentials/')) return { status: 200, body: 'backup-role' }
    return path.endsWith('/security-credentials/backup-role') ? temporary('instance-key') : { status: 404 }
  }
})
