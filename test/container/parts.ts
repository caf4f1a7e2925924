import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

/** What YAML and JSON are made of. */
export type Tree = { readonly [key: string]: Value }
export type Value = string | number | boolean | null | readonly Value[] | Tree

export type Service = {
  readonly image: string
  readonly user?: string
  readonly volumes?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean }
  readonly ports?: readonly string[]
  readonly read_only?: boolean
  readonly privileged?: boolean
  readonly network_mode?: string
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
}

export function composeServices(): ReadonlyMap<string, Service> {
  const file = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true }) as {
    services: Record<string, Service>
  }
  return new Map(Object.entries(file.services))
}

export type Manifest = Tree & {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> }
}

/** Every manifest below deploy/kubernetes with the file it stands in, kustomizations left out. */
export function manifests(): { file: string; manifest: Manifest }[] {
  return kubernetesFiles()
    .filter((file) => !file.endsWith('kustomization.yaml') && !file.endsWith('pgproof.yaml'))
    .flatMap((file) =>
      parseAllDocuments(readFileSync(file, 'utf8')).map((document) => {
        if (document.errors.length > 0) throw new Error(`${file}: ${document.errors[0]?.message}`)
        return { file, manifest: document.toJS() as Manifest }
      }),
    )
}

/** What starts pods, each with the pod it starts. */
export function podsOf(all: readonly Manifest[]): { name: string; manifest: Manifest; pod: Tree }[] {
  const kinds = ['Deployment', 'StatefulSet', 'CronJob']
  return kinds
    .flatMap((kind) => all.filter((manifest) => manifest.kind === kind))
    .map((manifest) => {
      const path = manifest.kind === 'CronJob' ? 'spec.jobTemplate.spec.template.spec' : 'spec.template.spec'
      return { name: manifest.metadata.name, manifest, pod: at(manifest, path) }
    })
}

/** The tree at a path of keys. */
export function at(manifest: Tree, path: string): Tree {
  return path.split('.').reduce<Tree>((tree, key) => tree[key] as Tree, manifest)
}

export function kubernetesFiles(folder = join('deploy', 'kubernetes')): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? kubernetesFiles(join(folder, entry.name)) : [join(folder, entry.name)]))
    .filter((file) => file.endsWith('.yaml'))
}
