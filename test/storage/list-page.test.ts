import { Readable } from 'node:stream'
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { type ListPage, parseListPage } from '../../src/storage/s3-list-page.ts'

/** How the SDK reads an answer: what counts as right. */
let answer = ''
const client = new S3Client({
  region: 'us-east-1',
  credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
  maxAttempts: 1,
  requestHandler: {
    handle: async () => ({ response: { statusCode: 200, headers: {}, body: Readable.from([Buffer.from(answer)]) } }),
  },
})
afterAll(() => client.destroy())

async function bySdk(xml: string): Promise<ListPage> {
  answer = xml
  const page = await client.send(new ListObjectsV2Command({ Bucket: 'bucket', EncodingType: 'url' }))
  const objects = (page.Contents ?? []).map(({ Key, Size, LastModified, ETag }) => ({
    key: page.EncodingType === 'url' ? decodeURIComponent((Key ?? '').replaceAll('+', ' ')) : Key,
    bytes: Size,
    modifiedAt: LastModified,
    etag: ETag,
  }))
  return { objects, next: page.IsTruncated === true ? page.NextContinuationToken : undefined } as ListPage
}

function parsed(xml: string): ListPage | undefined {
  try {
    return parseListPage(xml)
  } catch {
    return undefined
  }
}

const ceph = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType><Name>many</Name><Prefix>some/prefix/</Prefix><MaxKeys>2</MaxKeys><IsTruncated>true</IsTruncated><Contents><Key>some%2Fprefix%2Fa%20b%2BRECOVERY.md</Key><LastModified>2026-11-21T17:24:22.425Z</LastModified><ETag>&quot;a63c90cc3684ad8b0a2176a6a8fe9005&quot;</ETag><Size>10</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><Contents><Key>some%2Fprefix%2F%F0%9F%98%80</Key><LastModified>2026-11-21T17:24:22.421Z</LastModified><ETag>&quot;fd4b38e94292e00251b9f39c47ee5710-3&quot;</ETag><Size>123456789012</Size><StorageClass>STANDARD</StorageClass><Type>Normal</Type></Contents><NextContinuationToken>some/prefix/a &amp; b</NextContinuationToken><KeyCount>2</KeyCount></ListBucketResult>`

const aws = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>p/</Prefix><StartAfter>p/a</StartAfter><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>p/b+c</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>434234</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>`

const minio = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>bucket</Name>
  <Prefix></Prefix>
  <KeyCount>1</KeyCount>
  <MaxKeys>1000</MaxKeys>
  <Delimiter/>
  <IsTruncated>false</IsTruncated>
  <Contents>
    <Key>one</Key>
    <LastModified>2026-01-02T03:04:05.678Z</LastModified>
    <ETag>&#34;fba9dede5f27731c9771645a39863328&#34;</ETag>
    <Size>0</Size>
    <Owner>
      <ID>02d6176db174dc93cb1b899f7c6078f08654445fe8cf1b6ce98d8855f66bdbf4</ID>
      <DisplayName></DisplayName>
    </Owner>
    <StorageClass>STANDARD</StorageClass>
  </Contents>
  <EncodingType>url</EncodingType>
</ListBucketResult>
`

const empty =
  '<ListBucketResult><Name>b</Name><Prefix>p</Prefix><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated></ListBucketResult>'

describe('a page of a listing, read without the SDK', () => {
  it.each([
    ['Ceph', ceph, 2],
    ['AWS', aws, 1],
    ['MinIO', minio, 1],
    ['nothing under the prefix', empty, 0],
  ])('%s - just what the SDK reads', async (_whose, xml, count) => {
    const page = parseListPage(xml)
    expect(page.objects).toHaveLength(count)
    expect(page).toEqual(await bySdk(xml))
  })

  it('objects that are not all written alike - just what the SDK reads', async () => {
    const [whole = ''] = /<Contents>.*?<\/Contents>/.exec(ceph) ?? []
    const others = [
      whole.replace('10<', '11<'),
      whole.replace(/<ETag>.*<\/ETag>/, ''),
      whole.replace('<Type>Normal</Type>', '<Owner><ID>x</ID></Owner>'),
      whole.replace('&quot;', '&#34;').replace('&quot;', '&#34;'),
      whole.replace('<Size>', '\n<Size>'),
      whole,
    ]
    const xml = ceph.replace('<KeyCount>2', `${others.join('')}<KeyCount>${others.length + 2}`)
    const page = parseListPage(xml)
    expect(page.objects).toHaveLength(others.length + 2)
    expect(page).toEqual(await bySdk(xml))
  })

  it.each<[string, string]>([
    ['cut', ceph.slice(0, -20)],
    ['cut within an object', ceph.slice(0, ceph.indexOf('<Size>'))],
    ['an error in its place', '<Error><Code>InternalError</Code></Error>'],
    ['nothing', ''],
    ['a word behind it', `${ceph}x`],
    ['a word between two elements', ceph.replace('<Contents>', 'x<Contents>')],
    ['an object without a key', ceph.replace(/<Key>.*?<\/Key>/, '')],
    ['an object with two keys', ceph.replace('<Size>', '<Key>other</Key><Size>')],
    ['an object without a size', ceph.replace('<Size>10</Size>', '')],
    ['a negative size', ceph.replace('<Size>10</Size>', '<Size>-10</Size>')],
    ['a time that is none', ceph.replace('17:24:22.425Z', '27:24:22.425Z')],
    ['an element that nobody knows', ceph.replace('<Type>Normal</Type>', '<Restore>no</Restore>')],
    ['folded keys', ceph.replace('<Contents>', '<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes><Contents>')],
    ['keys as they are', ceph.replace('<EncodingType>url</EncodingType>', '')],
    ['a key that is badly encoded', ceph.replace('%F0%9F%98%80', '%F0%9F%98')],
    ['another number of keys than it says', ceph.replace('<KeyCount>2', '<KeyCount>3')],
    ['no word on whether it is all', ceph.replace('<IsTruncated>true</IsTruncated>', '')],
    ['more to come, and no token', ceph.replace(/<NextContinuationToken>.*<\/NextContinuationToken>/, '')],
    ['an entity that is not known', ceph.replace('&amp;', '&copy;')],
    ['a character that is no entity', ceph.replace('&amp;', '&')],
    ['a comment', ceph.replace('<Contents>', '<!-- <Contents> --><Contents>')],
    ['text in CDATA', ceph.replace('STANDARD', '<![CDATA[STANDARD]]>')],
    ['an attribute', ceph.replace('<Size>', '<Size unit="B">')],
  ])('%s - left to the SDK', (_what, xml) => {
    expect(() => parseListPage(xml)).toThrow()
  })

  it('2,000 pages with random harm - what it reads, the SDK reads in the same way', async () => {
    const harm = fc.record({
      page: fc.constantFrom(ceph, aws, minio),
      at: fc.nat(2000),
      length: fc.oneof(fc.constant(0), fc.constant(1), fc.nat(12)),
      text: fc.oneof(
        fc.constantFrom(
          '',
          '<',
          '>',
          '&',
          '</Contents>',
          '<Contents>',
          '<Size>1</Size>',
          ' ',
          '\r\n',
          '%',
          '+',
          '&amp;',
        ),
        fc.stringMatching(/^[\w ./%+-]{0,2}$/),
        fc.string({ unit: 'grapheme', maxLength: 3 }),
      ),
    })
    let accepted = 0
    await fc.assert(
      fc.asyncProperty(harm, async ({ page, at, length, text }) => {
        const from = at % page.length
        const xml = page.slice(0, from) + text + page.slice(from + length)
        const own = parsed(xml)
        if (own === undefined) return
        accepted += 1
        expect(own).toEqual(await bySdk(xml))
      }),
      { numRuns: 2000 },
    )
    // Else nothing was tried: much harm is within a name or a token.
    expect(accepted).toBeGreaterThan(100)
  })
})
