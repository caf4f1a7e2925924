import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { at, type Manifest, manifests, podsOf, type Tree } from './parts.ts'

const folder = join('deploy', 'kubernetes', 'fleet')
const fleet = manifests().flatMap(({ file, manifest }) => (file.startsWith(folder) ? [manifest] : []))
const ofKind = (kind: string): Manifest[] => fleet.filter((manifest) => manifest.kind === kind)
const workers = podsOf(fleet).filter(({ name }) => name !== 'pgproof-control')

type Container = { readonly env: readonly Variable[] }
type Variable = {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } }
}
type Selector = {
  readonly matchLabels?: Readonly<Record<string, string>>
  readonly matchExpressions?: readonly { readonly key: string; readonly values: readonly string[] }[]
}

describe('deploy/kubernetes/fleet', () => {
  it('every kind of worker - its configuration loads without a warning, and each has what its work needs and no more', async () => {
    const said = Object.fromEntries(
      await Promise.all(
        workers.map(async ({ name, pod }) => {
          const { config, warnings } = await load(pod)
          expect(warnings, name).toEqual([])
          return [name, standing(config)] as const
        }),
      ),
    )
    expect(said).toEqual({
      'pgproof-backup': {
        may: ['backup', 'serve'],
        places: 4,
        login: 'backup',
        opens: false,
        signs: true,
        prunes: false,
      },
      'pgproof-drill': { may: ['drill', 'serve'], places: 1, login: null, opens: true, signs: true, prunes: false },
      'pgproof-serve': {
        ...{ may: ['serve', 'prune', 'sync'], places: 2, login: 'watch', opens: false, signs: false, prunes: true },
      },
    })
  })

  it('secrets - the private key is in those of drill workers alone, passwords of servers are in the others', () => {
    const seen = new Map(workers.map(({ name, pod }) => [name, [...secretsOf(pod).keys()]]))
    const who = (secret: string): string[] => [...seen].flatMap(([name, all]) => (all.includes(secret) ? [name] : []))
    expect(who('backup.key.asc')).toEqual(['pgproof-drill'])
    expect(who('pg_password')).toEqual(['pgproof-backup'])
    expect(who('s3_pruner_secret')).toEqual(['pgproof-serve'])
    expect(JSON.stringify(ofKind('Secret'))).not.toMatch(/BEGIN PGP|-escrow\.key/)
  })

  it('a worker that is stopped - has more time than its grace', async () => {
    for (const { name, pod } of workers) {
      const { config } = await load(pod)
      expect(Number(pod['terminationGracePeriodSeconds']), name).toBeGreaterThanOrEqual(
        config.daemon.graceMs / 1000 + 15,
      )
    }
  })

  it('the control database is the one that the configuration names, and no server protects it', async () => {
    const control = ofKind('StatefulSet').find(({ metadata }) => metadata.name === 'pgproof-control') as Manifest
    const pod = podsOf([control])[0]?.pod as Tree
    const [{ env }] = pod['containers'] as unknown as [Container]
    const value = (key: string): string | undefined => env.find(({ name }) => name === key)?.value
    const { config } = await load(workers[0]?.pod as Tree)
    const url = new URL(config.fleet?.url ?? '')
    expect([url.username, url.hostname, url.port, url.pathname]).toEqual([
      ...['pgproof', control.metadata.name, '5432', `/${value('POSTGRES_DB')}`],
    ])
    // No superuser's: test/fleet/example-control.test.ts tries what makes it.
    expect(value('POSTGRES_USER')).toBeUndefined()
    expect(JSON.stringify(pod['volumes'])).toContain('"configMap":{"name":"pgproof-control"}')
    expect(ofKind('Service').map(({ metadata }) => metadata.name)).toContain(url.hostname)
    expect(config.servers.map((server) => new URL(server.url).hostname)).not.toContain(url.hostname)
  })

  it('policies - drill workers reach no server but the control database; only Prometheus and workers come in', () => {
    const servers = ofKind('NetworkPolicy').filter((policy) => JSON.stringify(policy).includes('0.0.0.0/0'))
    const open = servers.flatMap((policy) =>
      workers
        .filter(({ manifest }) => selects(at(policy, 'spec.podSelector') as Selector, labelsOf(manifest)))
        .map(({ name }) => `${name} → ${portsOf(policy).join()}`),
    )
    expect(open.filter((line) => line.includes('pgproof-drill'))).toEqual(['pgproof-drill → 53,53,5432,443'])
    const everywhere = portsTo(ofKind('NetworkPolicy').find(({ metadata }) => metadata.name === 'pgproof-workers'))
    expect(everywhere).toEqual([443])
    expect(open).toContain('pgproof-backup → 5432')
    for (const policy of ofKind('NetworkPolicy'))
      for (const rule of (at(policy, 'spec')['ingress'] ?? []) as Tree[]) expect(rule['from']).toHaveLength(1)
  })

  it('disruption budgets and services select the pods that they are for', () => {
    const selected = (selector: Selector): string[] =>
      podsOf(fleet).flatMap(({ name, manifest }) => (selects(selector, labelsOf(manifest)) ? [name] : []))
    for (const budget of ofKind('PodDisruptionBudget'))
      expect(selected(at(budget, 'spec.selector') as Selector)).toEqual([budget.metadata.name])
    const services = ofKind('Service').map((service) => [
      service.metadata.name,
      selected({ matchLabels: at(service, 'spec.selector') as Readonly<Record<string, string>> }).sort(),
    ])
    expect(Object.fromEntries(services)).toEqual({
      pgproof: ['pgproof-serve'],
      'pgproof-control': ['pgproof-control'],
      'pgproof-workers': ['pgproof-backup', 'pgproof-drill', 'pgproof-serve'],
    })
  })
})

describe('deploy/kubernetes/isolation', () => {
  it('gives the profile to whatever drills, and to nothing else', () => {
    const { patches } = parse(
      readFileSync(join('deploy', 'kubernetes', 'isolation', 'kustomization.yaml'), 'utf8'),
    ) as {
      patches: { target: { kind: string; name: string }; patch: string }[]
    }
    const patched = patches.flatMap(({ target, patch }) => {
      const [{ path }] = parse(patch) as [{ path: string }]
      // kustomize takes both for regular expressions of the whole.
      const isMeant = ({ kind, metadata }: Manifest): boolean =>
        new RegExp(`^(?:${target.kind})$`).test(kind) && new RegExp(`^(?:${target.name})$`).test(metadata.name)
      return manifests().flatMap(({ manifest }) => {
        if (!isMeant(manifest)) return []
        expect(at(manifest, path.slice(1).replaceAll('/', '.')), manifest.metadata.name).toEqual({
          type: 'RuntimeDefault',
        })
        return [`${manifest.kind} ${manifest.metadata.name}`]
      })
    })
    expect(patched.sort()).toEqual(['CronJob pgproof-drill', 'Deployment pgproof', 'StatefulSet pgproof-drill'])
  })
})

/** As in the pod: its environment, its files, its configuration. */
async function load(pod: Tree): Promise<{ config: Config; warnings: readonly string[] }> {
  const place = mkdtempSync(join(tmpdir(), 'pgproof-fleet-'))
  try {
    for (const [name, text] of secretsOf(pod))
      writeFileSync(join(place, name), name.endsWith('.sha256') ? '0'.repeat(64) : text, { mode: 0o600 })
    const moved = (text: string): string => text.replaceAll('/run/secrets/pgproof', place)
    writeFileSync(join(place, 'pgproof.yaml'), moved(readFileSync(join(folder, 'pgproof.yaml'), 'utf8')))
    const [{ env }] = pod['containers'] as unknown as [Container]
    const secrets = new Map(
      ofKind('Secret').map(({ metadata, stringData }) => [
        metadata.name,
        stringData as Readonly<Record<string, string>>,
      ]),
    )
    const variables = env.map(({ name, value, valueFrom }) => {
      const { name: secret, key } = valueFrom?.secretKeyRef ?? { name: '', key: '' }
      const text = value ?? secrets.get(secret)?.[key]
      expect(text, `${name} of ${secret}`).toBeDefined()
      return [name, moved(text ?? '')] as const
    })
    const { PGPROOF_CONFIG: file, ...others } = Object.fromEntries(variables)
    expect(file).toBe('/etc/pgproof/pgproof.yaml')
    return await loadConfig({ file: 'pgproof.yaml', env: others, cwd: place })
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

/** The files in /run/secrets/pgproof of a pod. */
function secretsOf(pod: Tree): Map<string, string> {
  const volumes = pod['volumes'] as unknown as readonly {
    name: string
    projected?: { sources: readonly { secret: { name: string } }[] }
  }[]
  const names = volumes.flatMap(({ projected }) => projected?.sources.map(({ secret }) => secret.name) ?? [])
  expect(names.length).toBeGreaterThan(0)
  return new Map(
    names.flatMap((name) => {
      const secret = ofKind('Secret').find(({ metadata }) => metadata.name === name)
      return Object.entries(secret?.['stringData'] as Readonly<Record<string, string>>)
    }),
  )
}

function standing({ fleet: part, daemon, encryption, servers, stores }: Config): unknown {
  const [server] = servers
  return {
    may: part?.may,
    places: daemon.maxConcurrent,
    login: server?.password === undefined ? null : new URL(server.url).username,
    opens: encryption.privateKeyFiles.length > 0,
    signs: encryption.signingKeyFile !== undefined,
    prunes: stores[0]?.pruner !== undefined,
  }
}

function labelsOf(manifest: Manifest): Readonly<Record<string, string>> {
  return at(manifest, 'spec.template.metadata.labels') as Readonly<Record<string, string>>
}

function selects(
  { matchLabels = {}, matchExpressions = [] }: Selector,
  labels: Readonly<Record<string, string>>,
): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, values }) => values.includes(labels[key] ?? ''))
  )
}

type Egress = { readonly to: readonly Tree[]; readonly ports: readonly { readonly port: number }[] }

function egressOf(policy: Manifest | undefined): readonly Egress[] {
  return (policy === undefined ? [] : (at(policy, 'spec')['egress'] ?? [])) as unknown as readonly Egress[]
}

function portsOf(policy: Manifest): number[] {
  return egressOf(policy).flatMap(({ ports }) => ports.map(({ port }) => port))
}

/** The ports that a policy opens to any address. */
function portsTo(policy: Manifest | undefined): number[] {
  return egressOf(policy)
    .filter(({ to }) => to.some((peer) => 'ipBlock' in peer))
    .flatMap(({ ports }) => ports.map(({ port }) => port))
}
