import type { S3Client } from '@aws-sdk/client-s3'
import { reasonOf } from '../errors.ts'
import { abortError, whenAborted } from './abortable.ts'

/** The name by which `toStoreError` and `isTransient` know this failure; the SDK's own chain uses it as well. */
const errorName = 'CredentialsProviderError'

/**
 * Waits until the client has credentials, asking the default chain of the AWS SDK if it must; that chain remembers what
 * it found and asks again before it expires. Its failures are told apart from the store's: what comes from a token
 * service or a metadata server is not the store's word.
 */
export async function awaitCredentials(client: S3Client, what: string, signal: AbortSignal): Promise<void> {
  let release = (): void => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    release = whenAborted(signal, () => reject(abortError(signal, what)))
  })
  const found = client.config.credentials().catch((error: unknown) => {
    throw Object.assign(new Error(`${reasonOf(error)} (${hereSet()})`, { cause: error }), { name: errorName })
  })
  try {
    // The chain knows no abort signal; it goes on alone until its own time-outs end it.
    await Promise.race([found, aborted])
  } finally {
    release()
  }
}

/** The chain's own message tells nothing of what it looked at. */
function hereSet(): string {
  const set = chainVariables.filter((name) => process.env[name] !== undefined)
  return set.length === 0 ? 'no variable of the chain is set' : `set here: ${set.join(', ')}`
}

const chainVariables = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_PROFILE',
  'AWS_SHARED_CREDENTIALS_FILE',
  'AWS_CONFIG_FILE',
  'AWS_ROLE_ARN',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
  'AWS_EC2_METADATA_SERVICE_ENDPOINT',
  'AWS_EC2_METADATA_DISABLED',
]
