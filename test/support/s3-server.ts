import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import type { StoreProvider } from '../../src/storage/store-settings.ts'

export type S3Server = {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly provider: StoreProvider
  stop(): Promise<void>
}

/** The variables by which tests learn of the server; set by the global set-up, or by hand for a server of one's own. */
export const s3Variables = {
  endpoint: 'PGPROOF_TEST_S3_ENDPOINT',
  region: 'PGPROOF_TEST_S3_REGION',
  accessKeyId: 'PGPROOF_TEST_S3_ACCESS_KEY_ID',
  secretAccessKey: 'PGPROOF_TEST_S3_SECRET_ACCESS_KEY',
  provider: 'PGPROOF_TEST_S3_PROVIDER',
} as const

const defaultMinioImage = 'minio/minio:RELEASE.2025-09-07T16-13-09Z'

/** The server that the environment names; else MinIO in a container; else Ceph's gateway from Debian packages. */
export async function startS3Server(): Promise<S3Server> {
  if (process.env[s3Variables.endpoint] !== undefined) return { ...s3ServerOfEnvironment(), stop: async () => {} }
  return (await startMinio()) ?? (await startCeph())
}

/** The server that the environment names; throws with what to do if it names none. */
export function s3ServerOfEnvironment(): Omit<S3Server, 'stop'> {
  const value = (name: string) => process.env[name]
  const endpoint = value(s3Variables.endpoint)
  const accessKeyId = value(s3Variables.accessKeyId)
  const secretAccessKey = value(s3Variables.secretAccessKey)
  if (endpoint === undefined || accessKeyId === undefined || secretAccessKey === undefined)
    throw new Error(
      `no S3 server for tests: set ${s3Variables.endpoint}, ${s3Variables.accessKeyId} and ` +
        `${s3Variables.secretAccessKey}, or run the tests through \`vitest run --project services\``,
    )
  return {
    endpoint,
    region: value(s3Variables.region) ?? 'us-east-1',
    accessKeyId,
    secretAccessKey,
    provider: (value(s3Variables.provider) ?? 'ceph') as StoreProvider,
  }
}

/** Hands the server to the tests, which run in other processes. */
export function putIntoEnvironment(server: Omit<S3Server, 'stop'>): void {
  for (const [field, name] of Object.entries(s3Variables)) process.env[name] = server[field as keyof typeof s3Variables]
}

export function testClient(server: Omit<S3Server, 'stop'>): S3Client {
  return new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    forcePathStyle: true,
    credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}

export async function createBucket(
  server: Omit<S3Server, 'stop'>,
  name: string,
  options: { readonly objectLock?: boolean } = {},
): Promise<void> {
  const client = testClient(server)
  await client.send(
    new CreateBucketCommand({
      Bucket: name,
      ...(options.objectLock === true ? { ObjectLockEnabledForBucket: true } : {}),
    }),
  )
  client.destroy()
}

/** Removes the bucket with every version of every object, past any governance lock. */
export async function removeBucket(server: Omit<S3Server, 'stop'>, name: string): Promise<void> {
  const client = testClient(server)
  for (;;) {
    const page = await client.send(new ListObjectVersionsCommand({ Bucket: name }))
    const versions = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])]
    if (versions.length === 0) break
    await Promise.all(
      versions.map(({ Key, VersionId }) =>
        client.send(new DeleteObjectCommand({ Bucket: name, Key, VersionId, BypassGovernanceRetention: true })),
      ),
    )
  }
  await client.send(new DeleteBucketCommand({ Bucket: name }))
  client.destroy()
}

/**
 * Undefined when no container engine answers, or it has no such image and cannot get it. PGPROOF_TEST_MINIO_IMAGE names
 * another one with the same command line, and then PGPROOF_TEST_S3_PROVIDER what is in it.
 */
async function startMinio(): Promise<S3Server | undefined> {
  const { GenericContainer, getContainerRuntimeClient, Wait } = await import('testcontainers')
  try {
    await getContainerRuntimeClient()
  } catch {
    return undefined
  }
  const accessKeyId = 'pgproof'
  const secretAccessKey = 'pgproof-secret'
  try {
    const container = await new GenericContainer(process.env['PGPROOF_TEST_MINIO_IMAGE'] ?? defaultMinioImage)
      .withEnvironment({ MINIO_ROOT_USER: accessKeyId, MINIO_ROOT_PASSWORD: secretAccessKey })
      .withCommand(['server', '/data'])
      .withExposedPorts(9000)
      .withWaitStrategy(Wait.forHttp('/minio/health/ready', 9000))
      .withStartupTimeout(180_000)
      .start()
    return {
      endpoint: `http://${container.getHost()}:${container.getMappedPort(9000)}`,
      region: 'us-east-1',
      accessKeyId,
      secretAccessKey,
      provider: (process.env[s3Variables.provider] ?? 'minio') as StoreProvider,
      stop: async () => {
        await container.stop()
      },
    }
  } catch (error) {
    console.error(
      `no MinIO container (${error instanceof Error ? error.message : String(error)}); starting Ceph instead`,
    )
    return undefined
  }
}

/** Ceph's gateway on a port of its own; throws what to install. */
export async function startCeph(): Promise<S3Server> {
  const login = { accessKeyId: 'pgproof', secretAccessKey: 'pgproof-secret', provider: 'ceph' as const }
  return await startByScript('ceph-rgw.sh', await freePort(), login).catch((error: unknown) => {
    throw new Error(
      `no S3 server for tests: ${error instanceof Error ? error.message : String(error)}\n` +
        'Start a container engine, or install Ceph: sudo apt-get install --no-install-recommends ' +
        'radosgw ceph-mon ceph-osd ceph-common',
      { cause: error },
    )
  })
}

/** A server that one of our scripts starts in a folder of its own; throws what the script says. */
export async function startByScript(
  name: string,
  port: number,
  login: Pick<S3Server, 'accessKeyId' | 'secretAccessKey' | 'provider'>,
): Promise<S3Server> {
  const run = promisify(execFile)
  const script = fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url))
  const folder = await mkdtemp(join(tmpdir(), 'pgproof-s3-'))
  const stop = async () => {
    await run('bash', [script, 'stop', folder])
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const { stdout } = await run('bash', [script, 'start', folder, String(port)])
    return { ...login, endpoint: stdout.trim(), region: 'us-east-1', stop }
  } catch (error) {
    await stop()
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error)
    throw new Error(said, { cause: error })
  }
}

/** A port whose successor is free as well: the script's monitor takes that. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    if ((await isFree(port)) && (await isFree(port + 1))) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
