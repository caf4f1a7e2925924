import type { S3Client } from '@aws-sdk/client-s3'

/**
 * Makes the client take an answer of 200 that no S3 store gives for a failure that may be tried again: an error or a
 * page in the place of an object, an empty body in the place of a list. Else the one would be read as the object, and
 * the other as the whole list. (The SDK itself looks into some answers only, and only at their end.)
 */
export function checkAnswers(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const result = await next(args)
      const field = fields[context.commandName ?? '']
      const output = result.output as Output
      if (field === undefined || output[field] !== undefined) return result
      // Nobody will read it, and it would keep its socket.
      output.Body?.destroy?.()
      throw Object.assign(new Error(`the answer is not that of an S3 store: it has no ${field}`), {
        $metadata: output.$metadata,
      })
    },
    { step: 'initialize', name: 'pgproofAnswers' },
  )
}

/** What every S3 store answers to these calls. */
const fields: Readonly<Record<string, keyof Output>> = {
  GetObjectCommand: 'ETag',
  HeadObjectCommand: 'ETag',
  PutObjectCommand: 'ETag',
  UploadPartCommand: 'ETag',
  CreateMultipartUploadCommand: 'UploadId',
  ListObjectsV2Command: 'IsTruncated',
  ListObjectVersionsCommand: 'IsTruncated',
  ListMultipartUploadsCommand: 'IsTruncated',
  ListPartsCommand: 'IsTruncated',
}

type Output = {
  readonly $metadata?: object
  readonly Body?: { destroy?(): unknown }
  readonly ETag?: string
  readonly UploadId?: string
  readonly IsTruncated?: boolean
}
