import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { feedProgram, ProgramError } from '../../src/streams/child-process.ts'

const signal = new AbortController().signal
const env = { PATH: '/usr/bin:/bin' }
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgproof-feed-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const shell = (script: string): { path: string; args: string[]; env: typeof env } => ({
  path: '/bin/sh',
  args: ['-c', script],
  env,
})

async function* chunks(count: number, end?: () => void): AsyncGenerator<Uint8Array, void, void> {
  for (let index = 0; index < count; index += 1) yield Buffer.alloc(65_536, 'x')
  end?.()
}

describe('a program that reads', () => {
  it('takes all of its input - has read every byte', async () => {
    await feedProgram(shell(`wc -c > ${folder}/count`), chunks(100), { signal })
    expect(Number(readFileSync(join(folder, 'count'), 'utf8'))).toBe(6_553_600)
  })

  it('input that fails - the program is killed before it sees an end, and the input’s error is thrown', async () => {
    const fail = (): never => {
      throw new Error('the input broke')
    }
    const run = feedProgram(shell(`cat > /dev/null; echo whole > ${folder}/whole`), chunks(10, fail), { signal })
    await expect(run).rejects.toThrow('the input broke')
    expect(() => readFileSync(join(folder, 'whole'))).toThrow()
  })

  it('a program that ends early with 3 - ProgramError with its words, whatever of the input is left', async () => {
    const run = feedProgram(shell('echo sorry >&2; exit 3'), chunks(1000), { signal })
    await expect(run).rejects.toMatchObject({ exitCode: 3, stderrTail: 'sorry' })
    await expect(run).rejects.toBeInstanceOf(ProgramError)
  })

  it('an abort - ends the program and is thrown', async () => {
    const controller = new AbortController()
    const endless = async function* (): AsyncGenerator<Uint8Array, void, void> {
      for (let index = 0; ; index += 1) {
        yield Buffer.alloc(65_536)
        if (index === 20) controller.abort(new Error('enough'))
      }
    }
    await expect(feedProgram(shell('cat > /dev/null'), endless(), { signal: controller.signal })).rejects.toThrow(
      'enough',
    )
  })
})
