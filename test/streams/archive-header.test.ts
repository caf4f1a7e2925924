import { describe, expect, it } from 'vitest'
import { archiveOnly } from '../../src/streams/archive-header.ts'
import { programOutput } from '../../src/streams/child-process.ts'
import { collect, failureOf, fixture } from './processes.ts'

async function* pieces(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

describe('archive header', () => {
  it('an archive, whole or in single bytes - passed on unchanged', async () => {
    for (const texts of [
      ['PGDMP\x01\x0e and more', 'and more'],
      [...'PGDMP and more'],
      ['', 'PG', '', 'DMPX'],
      ['PGDMP'],
    ])
      expect((await collect(archiveOnly(pieces(...texts)))).toString()).toBe(texts.join(''))
  })

  it('anything else - DUMP_FAILED before a byte is passed on', async () => {
    const others = [[], [''], ['PGDM'], ['PGDMX and more'], ['-- PostgreSQL database dump'], ['P', 'G', 'D', 'M', 'Q']]
    for (const texts of others) {
      const passed: Uint8Array[] = []
      const run = async (): Promise<void> => {
        for await (const chunk of archiveOnly(pieces(...texts))) passed.push(chunk)
      }
      expect(await failureOf(run()), texts.join('')).toMatchObject({ code: 'DUMP_FAILED' })
      expect(passed).toEqual([])
    }
  })

  it('a program that fails after the header - its own failure, and no end', async () => {
    const { signal } = new AbortController()
    const source = programOutput({ path: fixture('fails-late'), args: [], env: { PATH: '/usr/bin:/bin' } }, { signal })
    let bytes = 0
    const run = async (): Promise<void> => {
      for await (const chunk of archiveOnly(source)) bytes += chunk.length
    }
    expect(await failureOf(run())).toMatchObject({ name: 'ProgramError', exitCode: 1 })
    expect(bytes).toBe(300_000)
  })
})
