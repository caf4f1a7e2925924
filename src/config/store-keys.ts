import { optional, optionalPolicy, optionalSection, required, withDefault } from './declare.ts'
import * as kinds from './kinds.ts'
import { retentionKeys } from './retention-keys.ts'

/** The keys of one store. */
export const storeKeys = {
  url: required(kinds.storeUrl(), {
    description: 'Bucket and prefix, or a directory. Each installation needs a prefix of its own.',
    example: 's3://backups/prod',
  }),
  endpoint: optional(kinds.endpoint(), {
    description: 'The address of the S3 server. Absent: AWS.',
    example: 'https://s3.example.com',
  }),
  region: optional(kinds.text(), {
    description: 'The region of the bucket. Absent: what the AWS SDK finds, or what goes with the provider.',
    example: 'eu-central-1',
  }),
  provider: optional(kinds.choice('aws', 'minio', 'r2', 'b2', 'ceph', 'generic'), {
    description: 'Whose S3 it is: decides about checksums and how buckets are addressed.',
    example: 'minio',
    default: 'aws without an endpoint, generic with one',
  }),
  ...credentialKeys(
    'The access key. Absent: the credential chain of the AWS SDK (environment, profile, role).',
    's3',
    'S3',
  ),
  caFile: optional(kinds.path('file'), {
    description: 'Certificates (PEM) to trust for the endpoint, beside those of the system.',
    example: '/etc/ssl/private-ca.pem',
  }),
  partSize: withDefault(kinds.size(5 * 2 ** 20, 5 * 2 ** 30), '8MiB', {
    description:
      'The size of one part of an upload, raised by itself where the size of the database demands larger ones (docs/operations.md tells the memory that takes).',
    example: '16MiB',
  }),
  partsInFlight: withDefault(kinds.whole(1, 64), 3, {
    description:
      'How many parts of one upload are on their way at the same time, at most: fewer where parts are large.',
    example: '4',
  }),
  objectLock: optionalSection(
    'Asks the bucket to refuse the removal of each object for a while. The bucket must have been created with object lock.',
    {
      mode: required(kinds.choice('governance', 'compliance'), {
        description: 'Whether privileged users may lift the lock (governance) or nobody (compliance).',
        example: 'governance',
      }),
      for: required(kinds.duration(), {
        description: 'How long each object is locked. Retention cannot prune it before.',
        example: '14d',
      }),
    },
  ),
  name: optional(kinds.label(), {
    description: 'The name of the store in metrics, messages and manifests; each has its own. Do not change it later.',
    example: 'offsite',
    default: 'store for the first, store2, store3 and so on for further ones',
  }),
  required: withDefault(kinds.flag(), true, {
    description:
      'Whether a backup that cannot be written here has failed. What an optional store lacks, `pgproof sync` brings later. At least one store is required.',
    example: 'false',
  }),
  id: optional(kinds.uuid(), {
    description:
      'The id of this store, as its marker has it: what else is found at the address is refused, such as the empty folder of a disk that is not mounted.',
    example: '0b5f2c3e-8d0f-4c57-9a53-2f8f1c0c9d11',
    default: 'any',
  }),
  reader: optionalSection(
    'Other credentials for all that only reads: drills, restores, lists. They need no right to write or to remove.',
    credentialKeys('The access key that reads.', 's3_reader', 'S3_READER'),
  ),
  pruner: optionalSection(
    'Other credentials for all that removes. Then those of the store itself need no right to remove anything.',
    credentialKeys('The access key that removes.', 's3_pruner', 'S3_PRUNER'),
  ),
  appendOnly: withDefault(kinds.flag(), false, {
    description:
      'Whether the credentials that write must be unable to remove and to overwrite. `pgproof check` tries both, and fails where it succeeds.',
    example: 'true',
  }),
  retention: optionalPolicy(
    'Which backups of each database this store keeps, in place of the retention of the servers. Absent: that of each server.',
    retentionKeys,
  ),
  rolesRetention: optionalPolicy(
    'Which roles backups this store keeps, in place of the rolesRetention of the servers. Absent: that of each server.',
    retentionKeys,
  ),
  serverSideEncryption: optional(kinds.choice('AES256', 'aws:kms'), {
    description:
      'Asks the S3 server to encrypt once more: AES256 with its own keys (SSE-S3), aws:kms with those of its key management (SSE-KMS).',
    example: 'aws:kms',
    default: 'what the bucket says',
  }),
  kmsKeyId: optional(kinds.text(), {
    description: 'The id or ARN of the key, with aws:kms only. Absent: the standard key of the account.',
    example: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab',
  }),
  storageClass: optional(kinds.storageClass(), {
    description:
      'The storage class of each object, in S3’s own words. None that cannot be read at once, as GLACIER and DEEP_ARCHIVE.',
    example: 'STANDARD_IA',
    default: 'that of the bucket',
  }),
  tags: withDefault(kinds.tags(), {}, { description: 'Tags of each object.', example: '{ team: databases }' }),
  versions: withDefault(kinds.choice('keep', 'remove'), 'keep', {
    description:
      'What a prune does in a versioned bucket: keep leaves the old versions to the rules of the bucket, so that nothing is freed before; remove removes them as well.',
    example: 'remove',
  }),
}

/** The name of a store that is given none, by its place in the list. */
export function defaultStoreName(index: number): string {
  return index === 0 ? 'store' : `store${index + 1}`
}

/** One key pair. `file` and `variable` are what the names in the examples start with. */
function credentialKeys(description: string, file: string, variable: string) {
  return {
    accessKeyId: optional(kinds.text(), { description, example: `$\{${variable}_ACCESS_KEY_ID}` }),
    secretAccessKey: optional(kinds.secret(), {
      description: 'The secret of the access key. Better given as a file.',
      example: `$\{${variable}_SECRET_ACCESS_KEY}`,
    }),
    secretAccessKeyFile: optional(kinds.path('secret'), {
      description: 'A file that holds the secret of the access key.',
      example: `/run/secrets/${file}_secret`,
    }),
    sessionToken: optional(kinds.secret(), {
      description: 'The session token of temporary credentials.',
      example: `$\{${variable}_SESSION_TOKEN}`,
    }),
    sessionTokenFile: optional(kinds.path('secret'), {
      description: 'A file that holds the session token.',
      example: `/run/secrets/${file}_session_token`,
    }),
  }
}
