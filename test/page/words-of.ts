import type { TestServer } from '../http/test-server.ts'

/** The words of the page as they are read, one space between them. */
export async function wordsOf(server: TestServer, path = '/'): Promise<string> {
  const { text } = await server.call('GET', path)
  const body = text.replace(/^.*<body>/s, '').replace(/<dialog.*/s, '')
  return body
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .replaceAll('&#34;', '"')
}
