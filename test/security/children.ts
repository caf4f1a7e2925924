import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serverBinDir } from '../support/postgres-server.ts'

/** A process as every user of the machine, or whoever has its user, can look at it. */
export type Seen = { readonly command: string; readonly environment: readonly string[] }

/** Everything that this process starts, and what those start, from the first look to the last. */
export type Watch = Disposable & { seen(): readonly Seen[] }

/**
 * Looks at all descendants again and again. A program that lives shorter than that is missed, so PostgreSQL's programs
 * note themselves down: see `recordingPrograms`.
 */
export function watchChildren(recorded: () => readonly Seen[]): Watch {
  const found = new Map<string, Seen>()
  const look = (): void => {
    for (const pid of descendants(process.pid)) {
      const command = textOf(`/proc/${pid}/cmdline`)
      const environment = textOf(`/proc/${pid}/environ`)
      if (command !== '') found.set(`${pid} ${command} ${environment}`, seenAs(command, environment))
    }
  }
  const timer = setInterval(look, 3)
  return {
    seen: () => [...found.values(), ...recorded()],
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

/** A folder of PostgreSQL's client programs for `postgres.binDirs`: each notes its arguments and environment first. */
export function recordingPrograms(folder: string): { readonly binDir: string; recorded(): readonly Seen[] } {
  const binDir = join(folder, 'recording')
  const notes = join(folder, 'recorded')
  mkdirSync(binDir)
  mkdirSync(notes)
  // initdb runs as another user.
  for (const place of [binDir, notes]) chmodSync(place, 0o777)
  const real = serverBinDir()
  symlinkSync(join(real, 'postgres'), join(binDir, 'postgres'))
  for (const name of ['pg_dump', 'pg_dumpall', 'pg_restore', 'initdb']) {
    const note = `cat /proc/$$/cmdline >${notes}/$$.command; cat /proc/$$/environ >${notes}/$$.environment`
    writeFileSync(join(binDir, name), `#!/bin/sh\n${note}\nexec ${join(real, name)} "$@"\n`, { mode: 0o755 })
  }
  const recorded = (): readonly Seen[] =>
    readdirSync(notes)
      .filter((name) => name.endsWith('.command'))
      .map((name) => {
        const pid = name.replace('.command', '')
        return seenAs(textOf(join(notes, name)), textOf(join(notes, `${pid}.environment`)))
      })
  return { binDir, recorded }
}

function seenAs(command: string, environment: string): Seen {
  return { command: command.split('\0').join(' '), environment: environment.split('\0').filter((one) => one !== '') }
}

function descendants(pid: number): number[] {
  const found = [pid]
  for (const one of found)
    for (const task of list(`/proc/${one}/task`))
      found.push(...textOf(`/proc/${one}/task/${task}/children`).split(' ').filter(Boolean).map(Number))
  return found.slice(1)
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
