import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

/** What everything that works on backups stands on. */
const ground = [
  'domain',
  'postgres',
  'structure',
  'encryption',
  'storage/object-store',
  'storage/object-keys',
  'storage/store-set',
  'catalog',
  'streams',
  'parts',
]

// Which part may import which; docs/architecture.md gives the reasons. `errors`, `log` and `clock` are open to all.
// A value is a list of folders, or of single files as `folder/file`.
const allowed: Record<string, readonly string[]> = {
  main: ['commands'],
  // What the package exports, and nothing besides.
  index: ['library', 'domain'],
  library: ['wire', 'jobs', 'restore', 'drill', 'catalog', 'domain', 'config', 'commands/target'],
  wire: ['config', 'storage', 'catalog', 'encryption', 'jobs', 'streams'],
  commands: [
    ...['wire', 'guard', 'jobs', 'notify', 'restore', 'catalog', 'domain', 'config', 'encryption'],
    ...['stored/read-backup', 'storage/object-keys', 'storage/store-set', 'storage/directory-errors'],
    ...['postgres/programs', 'http/certificate'],
  ],
  'commands/check': ['wire', 'fleet/check-fleet', 'jobs', 'catalog', 'config'],
  'commands/reload': ['wire', 'metrics', 'config'],
  'commands/serve': [
    'wire',
    'fleet/open-fleet',
    'daemon',
    'http',
    'metrics',
    'notify',
    'jobs',
    'catalog',
    'domain',
    'config',
  ],
  notify: ['jobs/installation', 'jobs/queue-view', 'catalog', 'domain', 'config'],
  daemon: ['jobs', 'drill/pick-for-drill', 'catalog', 'domain', 'config'],
  // The queue that several daemons share; jobs do not know of it.
  fleet: ['jobs', 'catalog', 'config', 'domain/workers-own', 'postgres/connect'],
  'fleet/check-fleet': ['jobs', 'config', 'postgres/connect', 'postgres/facts'],
  http: ['page', 'jobs', 'metrics', 'catalog', 'domain', 'config'],
  // What a person sees of what the API answers.
  page: ['http/status', 'http/answers', 'http/queue-answer', 'http/http-parts', 'catalog', 'domain'],
  metrics: ['jobs/installation', 'jobs/queue-view', 'catalog', 'domain', 'config', 'storage/store-set'],
  guard: [...ground, 'jobs', 'restore'],
  jobs: [...ground, 'backup', 'drill', 'restore', 'stored', 'config'],
  // A drill is a restore into a scratch server, and a comparison.
  drill: [...ground, 'restore', 'compare', 'stored'],
  restore: [...ground, 'compare', 'stored'],
  compare: ['domain', 'postgres', 'structure'],
  stored: ground,
  backup: ground,
  parts: ['catalog', 'domain', 'storage/store-set'],
  catalog: ['domain', 'storage/object-store', 'storage/object-keys', 'storage/store-set', 'streams/process-alive'],
  storage: ['domain', 'config'],
  structure: ['postgres/connect', 'postgres/give-way', 'domain'],
  postgres: ['streams', 'domain', 'config'],
  encryption: ['streams', 'domain'],
  streams: [],
  config: ['domain'],
  domain: [],
}
const openToAll = new Set(['errors', 'log', 'clock', 'version'])

const root = resolve('src')

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) return sources(path)
    return path.endsWith('.ts') ? [path] : []
  })
}

function importsOf(path: string): string[] {
  const found = readFileSync(path, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)
  return [...found].map(([, target]) => relative(root, resolve(dirname(path), target as string)).replace(/\.ts$/, ''))
}

describe('layers', () => {
  const files = sources(root).map((path) => ({ path, module: relative(root, path).replace(/\.ts$/, '') }))

  it('every import follows the table', () => {
    const wrong: string[] = []
    for (const { path, module } of files) {
      const folder = module.split('/')[0] as string
      const rules = allowed[module] ?? allowed[folder]
      if (openToAll.has(module)) continue
      if (rules === undefined) {
        wrong.push(`${module} is in no layer`)
        continue
      }
      for (const target of importsOf(path)) {
        const targetFolder = target.split('/')[0] as string
        if (openToAll.has(target) || (target.includes('/') && targetFolder === folder && module.includes('/'))) continue
        if (!rules.some((rule) => rule === target || rule === targetFolder)) wrong.push(`${module} imports ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('no import ring', () => {
    const graph = new Map(files.map(({ path, module }) => [module, importsOf(path)]))
    const state = new Map<string, 'open' | 'done'>()
    const rings: string[] = []
    const visit = (module: string, trail: readonly string[]): void => {
      if (state.get(module) === 'done') return
      if (state.get(module) === 'open') {
        rings.push([...trail.slice(trail.indexOf(module)), module].join(' → '))
        return
      }
      state.set(module, 'open')
      for (const target of graph.get(module) ?? []) visit(target, [...trail, module])
      state.set(module, 'done')
    }
    for (const module of graph.keys()) visit(module, [])
    expect(rings).toEqual([])
  })

  it('two levels at most, and no file longer than 400 lines but the tables', () => {
    const tables = new Set(['errors', 'config/schema'])
    const deep = files.filter(({ module }) => module.split('/').length > 2).map(({ module }) => module)
    const long = files
      .filter(({ module, path }) => !tables.has(module) && readFileSync(path, 'utf8').split('\n').length > 400)
      .map(({ module }) => module)
    expect({ deep, long }).toEqual({ deep: [], long: [] })
  })
})
