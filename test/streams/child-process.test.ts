import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import {
  type Program,
  type ProgramOptions,
  programOutput,
  runProgram,
  startProgram,
} from '../../src/streams/child-process.ts'
import { createMeasure } from '../../src/streams/measure.ts'
import { isRunning } from '../support/processes.ts'
import { collect, eventually, failureOf, fixture } from './processes.ts'

const { signal } = new AbortController()
const env = { PATH: '/usr/bin:/bin' }

function program(name: string, ...args: string[]): Program {
  return { path: fixture(name), args, env }
}

/** Gathers the process ids that a program says on its standard error. */
function pidsOf(): { pids: number[]; onStderrLine: (line: string) => void } {
  const pids: number[] = []
  return { pids, onStderrLine: (line) => void pids.push(...line.split(' ').map(Number)) }
}

/** A consumer that says whether it was told that the stream is complete. */
function sink(): { stream: Writable; state: { bytes: number; hasFinished: boolean } } {
  const state = { bytes: 0, hasFinished: false }
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      state.bytes += chunk.length
      done()
    },
    final(done) {
      state.hasFinished = true
      done()
    },
  })
  return { stream, state }
}

describe('the end of the output', () => {
  it('exit 0 - every byte, then the end', async () => {
    const { stream, state } = sink()
    await pipeline(programOutput(program('succeeds', '3000000'), { signal }), stream)
    expect(state).toEqual({ bytes: 3_000_000, hasFinished: true })
  })

  it('exit 1 after 300,000 bytes - rejects with the exit code and the last words, the consumer never sees an end', async () => {
    const { stream, state } = sink()
    const failure = await failureOf(pipeline(programOutput(program('fails-late'), { signal }), stream))
    expect(failure).toMatchObject({
      name: 'ProgramError',
      program: 'fails-late',
      exitCode: 1,
      signalName: null,
      outcome: 'exit code 1',
      stderrTail: 'pg_dump: error: query failed: connection to server was lost',
    })
    expect(state).toEqual({ bytes: 300_000, hasFinished: false })
  })

  it('killed by SIGKILL after 300,000 bytes - rejects naming the signal, the consumer never sees an end', async () => {
    const { stream, state } = sink()
    const failure = await failureOf(pipeline(programOutput(program('killed-late'), { signal }), stream))
    expect(failure).toMatchObject({ exitCode: null, signalName: 'SIGKILL', outcome: 'killed by SIGKILL' })
    expect(state.hasFinished).toBe(false)
  })

  it('exit 1 without any output - rejects', async () => {
    const failure = await failureOf(collect(programOutput({ path: '/bin/false', args: [], env }, { signal })))
    expect(failure).toMatchObject({ exitCode: 1 })
  })

  it('a reader that is slower than the program - nothing is lost', async () => {
    let bytes = 0
    for await (const chunk of programOutput(program('succeeds', '2000000'), { signal })) {
      bytes += chunk.length
      await new Promise((done) => setImmediate(done))
    }
    expect(bytes).toBe(2_000_000)
  })
})

describe('a program that cannot be started', () => {
  it('no such file - rejects with ENOENT, as output and as a whole', async () => {
    const missing = { path: '/nonexistent/pg_dump', args: [], env }
    for (const run of [collect(programOutput(missing, { signal })), runProgram(missing, { signal })])
      expect(await failureOf(run)).toMatchObject({
        name: 'ProgramError',
        startCode: 'ENOENT',
        outcome: 'cannot be started (ENOENT)',
      })
  })

  it('not executable - rejects with EACCES', async () => {
    const failure = await failureOf(runProgram({ path: '/etc/passwd', args: [], env }, { signal }))
    expect(failure).toMatchObject({ startCode: 'EACCES' })
  })

  it('a folder that does not exist to run in - rejects', async () => {
    const failure = await failureOf(runProgram({ path: '/bin/true', args: [], env, cwd: '/nonexistent' }, { signal }))
    expect(failure).toMatchObject({ name: 'ProgramError', startCode: 'ENOENT' })
  })

  it('as a server - its end is known and stopping it is no error', async () => {
    await using running = startProgram({ path: '/nonexistent/postgres', args: [], env }, { signal })
    expect(await running.ended).toMatchObject({ startCode: 'ENOENT' })
    await running.stop()
  })
})

describe('abort', () => {
  it('before the start - rejects with the reason, nothing runs', async () => {
    const reason = new Error('stop')
    const failure = await failureOf(collect(programOutput(program('silent'), { signal: AbortSignal.abort(reason) })))
    expect(failure).toBe(reason)
  })

  it('of a silent program - rejects with the reason at once, the process is gone', async () => {
    const { failure, elapsedMs, pids } = await abortWhenSeen(program('silent'), {})
    expect(failure).toMatchObject({ message: 'stop' })
    expect(elapsedMs).toBeLessThan(3_000)
    expect(pids.map(isRunning)).toEqual([false])
  })

  it('of a program that ignores SIGTERM - SIGKILL after the grace, to its child as well', async () => {
    const { failure, elapsedMs, pids } = await abortWhenSeen(program('ignores-sigterm'), { graceMs: 300 })
    expect(failure).toMatchObject({ message: 'stop' })
    expect(elapsedMs).toBeGreaterThan(250)
    expect(elapsedMs).toBeLessThan(5_000)
    expect(pids.map(isRunning)).toEqual([false])
  })

  it('of a program that exits 0 on SIGTERM - an abort all the same, never a success', async () => {
    const { failure } = await abortWhenSeen(program('exits-zero-on-sigterm'), {})
    expect(failure).toMatchObject({ message: 'stop' })
  })

  it('of a program with children of its own - all of them are gone', async () => {
    const { pids } = await abortWhenSeen(program('has-grandchildren'), {})
    expect(pids).toHaveLength(2)
    await eventually(() => pids.filter(isRunning)).toEqual([])
  })

  it('while output is flowing into a consumer - the consumer never sees an end', async () => {
    const controller = new AbortController()
    const { stream, state } = sink()
    const running = pipeline(programOutput(program('endless'), { signal: controller.signal }), stream)
    await eventually(() => state.bytes).toBeGreaterThan(1_000_000)
    controller.abort(new Error('stop'))
    expect(await failureOf(running)).toMatchObject({ message: 'stop' })
    expect(state.hasFinished).toBe(false)
  })

  it('leaves no listener on a signal that many programs shared', async () => {
    const controller = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = controller.signal
    controller.signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners += 1
      addEventListener.apply(controller.signal, args)
    }
    controller.signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners -= 1
      removeEventListener.apply(controller.signal, args)
    }
    for (let count = 0; count < 5; count += 1) await runProgram(program('succeeds', '1'), { signal: controller.signal })
    expect(listeners).toBeLessThanOrEqual(0)
  })
})

describe('a consumer that stops early', () => {
  it('takes one chunk of an endless output - the program is ended before the loop is left', async () => {
    const before = new Set(await pidsByName('endless', 'cat'))
    for await (const _ of programOutput(program('endless'), { signal })) break
    const after = (await pidsByName('endless', 'cat')).filter((pid) => !before.has(pid))
    expect(after.filter(isRunning)).toEqual([])
  })

  it('fails while the program is silent - with the signal of the pipeline, the program is ended at once', async () => {
    const { pids, onStderrLine } = pidsOf()
    const failure = await failureOf(
      pipeline(
        (ofPipeline?: { signal: AbortSignal }) =>
          programOutput(program('has-grandchildren'), { signal, ...ofPipeline, onStderrLine }),
        createMeasure().stage,
        async (source: AsyncIterable<Uint8Array>): Promise<void> => {
          void collect(source).catch(() => {})
          await eventually(() => pids.length).toBe(2)
          throw new Error('bucket full')
        },
      ),
    )
    expect(failure).toMatchObject({ message: 'bucket full' })
    await eventually(() => pids.filter(isRunning)).toEqual([])
  })
})

describe('standard error', () => {
  it('millions of bytes - do not block the program; first and last lines are kept, and not much more', async () => {
    const output = await failureOf(runProgram(program('noisy', '400000', '1'), { signal }))
    const { stderrTail } = output as { stderrTail: string }
    const lines = stderrTail.split('\n')
    expect(lines[0]).toBe('line 1 of a long complaint that goes on and on')
    expect(lines.at(-1)).toBe('line 400000 of a long complaint that goes on and on')
    expect(lines.length).toBeLessThanOrEqual(40)
  })

  it('a complaining program that exits 0 - a success', async () => {
    expect(await runProgram(program('noisy', '100'), { signal })).toBe('x')
  })

  it('64 MiB without a line break - cut, and memory does not grow by it', async () => {
    const before = process.memoryUsage().rss
    const failure = await failureOf(runProgram(program('one-long-line', '64'), { signal }))
    expect((failure as { stderrTail: string }).stderrTail).toMatch(/^x{2000}…\nthe end$/)
    expect(process.memoryUsage().rss - before).toBeLessThan(60 << 20)
  })

  it('bytes that are not UTF-8, and a last line without a break - shown as well as can be', async () => {
    const script = { path: '/bin/sh', args: ['-c', `printf 'd\\351j\\303\\240\\nlast' >&2; exit 1`], env }
    expect(await failureOf(runProgram(script, { signal }))).toMatchObject({ stderrTail: 'd\uFFFDjà\nlast' })
  })
})

describe('what a program is given', () => {
  it('exactly the environment it was given, nothing of ours; arguments without a shell', async () => {
    process.env['PGPROOF_TEST_SECRET'] = 'sesame'
    try {
      const args = ['$(id)', '; rm -rf /', "quote'", '']
      const output = await runProgram(
        { path: fixture('shows-environment'), args, env: { ...env, A: 'b=c' } },
        { signal },
      )
      const [environment, shown] = output.split('---\n')
      const names = environment?.trim().split('\n').sort()
      expect(names).toEqual(['A=b=c', 'PATH=/usr/bin:/bin'])
      expect(shown).toBe(`${args.join('\n')}\n`)
    } finally {
      delete process.env['PGPROOF_TEST_SECRET']
    }
  })

  it('an empty standard input', async () => {
    expect(await runProgram({ path: '/bin/cat', args: [], env }, { signal })).toBe('')
  })
})

/** Starts a program, aborts once it has said a process id, and tells how that went. */
async function abortWhenSeen(
  target: Program,
  options: Partial<ProgramOptions>,
): Promise<{ failure: unknown; elapsedMs: number; pids: number[] }> {
  const controller = new AbortController()
  const { pids, onStderrLine } = pidsOf()
  const running = failureOf(collect(programOutput(target, { ...options, signal: controller.signal, onStderrLine })))
  await eventually(() => pids.length).toBeGreaterThan(0)
  const start = performance.now()
  controller.abort(new Error('stop'))
  const failure = await running
  return { failure, elapsedMs: performance.now() - start, pids }
}

async function pidsByName(...names: string[]): Promise<number[]> {
  const output = await runProgram({ path: '/bin/ps', args: ['-eo', 'pid=,comm='], env }, { signal })
  return output
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, name]) => name !== undefined && names.includes(name))
    .map(([pid]) => Number(pid))
}

it('this process ends at once, as at a second Ctrl-C - its programs are gone with their children', async () => {
  const child = spawn(process.execPath, [
    join(import.meta.dirname, 'child-process.child.ts'),
    fixture('has-grandchildren'),
  ])
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  const pids = said.toString().trim().split(' ').map(Number)
  expect(pids.map(isRunning)).not.toContain(false)
  child.stdin.end()
  await once(child, 'close')
  await eventually(() => pids.filter(isRunning)).toEqual([])
})
