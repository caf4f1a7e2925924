import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Manifest } from './parts.ts'

/** Where the types of a manifest are. */
export function moduleOf({ apiVersion }: Manifest): string {
  return `kubernetes-models/${apiVersion}`
}

/** What the compiler says of the manifests as literals of their types: it alone knows a field that does not exist. */
export function typed(checked: readonly Manifest[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-manifests-'))
  try {
    symlinkSync(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'))
    mkdirSync(join(folder, 'src'))
    const lines = checked.flatMap((manifest, index) => [
      `import type { I${manifest.kind} as Type${index} } from '${moduleOf(manifest)}'`,
      `export const manifest${index}: Type${index} = ${JSON.stringify(manifest, null, 2)}`,
    ])
    writeFileSync(join(folder, 'src', 'manifests.ts'), lines.join('\n'))
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', '']
    execFileSync(
      join(process.cwd(), 'node_modules', '.bin', 'tsc'),
      [...options, join(folder, 'src', 'manifests.ts')],
      {
        encoding: 'utf8',
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    return ''
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? error)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
