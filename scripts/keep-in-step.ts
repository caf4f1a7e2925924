import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..')

/** Writes what a script generates; with `--check` among the arguments it only tells what is stale, by exit code 1. */
export async function keepInStep(documents: Readonly<Record<string, string>>, command: string): Promise<void> {
  for (const [name, text] of Object.entries(documents)) {
    const path = join(root, name)
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) continue
    if (process.argv.includes('--check')) {
      console.error(`${name} is stale; run: ${command}`)
      process.exitCode = 1
    } else {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, text)
    }
  }
}
