import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { moduleOf, typed } from './kubernetes-types.ts'
import { at, kubernetesFiles, type Manifest, manifests, podsOf, type Tree } from './parts.ts'

const all = manifests()
// What a fleet has besides: kubernetes-fleet.test.ts.
const ofKind = (kind: string): Manifest[] =>
  all
    .filter(({ file }) => !file.startsWith(join('deploy', 'kubernetes', 'fleet')))
    .map(({ manifest }) => manifest)
    .filter((manifest) => manifest.kind === kind)
const pods = podsOf(all.map(({ manifest }) => manifest))

describe('deploy/kubernetes', () => {
  it('every manifest is what the Kubernetes API takes: types, required fields, no field that it does not know', async () => {
    const classes = all.map(({ file, manifest }) => ({ file, manifest, from: moduleOf(manifest) }))
    const faults: string[] = []
    for (const { file, manifest, from } of classes) {
      const Model = (await import(from))[manifest.kind] as new (data: Manifest) => { validate(): void }
      try {
        new Model(manifest).validate()
      } catch (error) {
        faults.push(`${file}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    expect(faults).toEqual([])
    expect(typed(classes.map(({ manifest }) => manifest))).toBe('')
  })

  it('a misspelt field and a wrong type - are found', () => {
    const deployment = ofKind('Deployment')[0] as Manifest
    const wrong = JSON.parse(JSON.stringify(deployment).replace('"readOnlyRootFilesystem"', '"readOnlyRootFileSystem"'))
    expect(typed([wrong])).toContain('readOnlyRootFileSystem')
    const one = JSON.parse(JSON.stringify(deployment).replace('"replicas":1', '"replicas":"1"'))
    expect(typed([one])).toContain('not assignable to type')
  })

  it('kustomizations name files that are there, and every file but the examples is named', () => {
    const named = kubernetesFiles()
      .filter((file) => file.endsWith('kustomization.yaml'))
      .flatMap((file) => {
        const { resources = [], configMapGenerator } = parse(readFileSync(file, 'utf8')) as {
          resources?: string[]
          configMapGenerator?: { files: string[] }[]
        }
        const files = [...resources, ...(configMapGenerator ?? []).flatMap((generator) => generator.files)]
        return [file, ...files.map((name) => join(dirname(file), name))]
      })
    expect(named.filter((file) => !existsSync(file))).toEqual([])
    expect(kubernetesFiles().filter((file) => !named.includes(file))).toEqual([
      join('deploy', 'kubernetes', 'fleet', 'secret.example.yaml'),
      join('deploy', 'kubernetes', 'secret.example.yaml'),
    ])
  })

  it('every pod keeps to the restricted profile, and has no token of the API', () => {
    expect(pods.map(({ name }) => name).sort()).toEqual([
      'pgproof',
      'pgproof-backup',
      'pgproof-backup',
      'pgproof-control',
      'pgproof-drill',
      'pgproof-drill',
      'pgproof-prune',
      'pgproof-roles',
      'pgproof-serve',
    ])
    const accounts = all.flatMap(({ manifest: { kind, metadata } }) =>
      kind === 'ServiceAccount' ? [metadata.name] : [],
    )
    for (const { name, pod } of pods) {
      expect(pod, name).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: name === 'pgproof-control' ? 999 : 1000,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        containers: [
          {
            resources: { requests: { memory: expect.anything() }, limits: { memory: expect.anything() } },
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ['ALL'] },
            },
          },
        ],
      })
      expect(JSON.stringify(pod), name).not.toContain('hostPath')
      if (name !== 'pgproof-control') expect(accounts, name).toContain(pod['serviceAccountName'])
    }
  })

  it('every volume that a pod mounts is there, with a place to write for the spool and /tmp', () => {
    for (const { name, pod, manifest } of pods) {
      const [container] = pod['containers'] as [{ volumeMounts: { name: string; mountPath: string }[] }]
      const claims = (at(manifest, 'spec')['volumeClaimTemplates'] ?? []) as readonly { metadata: { name: string } }[]
      const volumes = [...(pod['volumes'] as { name: string }[]), ...claims.map(({ metadata }) => metadata)]
      expect(container.volumeMounts.map((mount) => mount.name).sort(), name).toEqual(
        volumes.map((volume) => volume.name).sort(),
      )
      const paths = container.volumeMounts.map((mount) => mount.mountPath)
      const needed = name === 'pgproof-control' ? ['/var/lib/postgresql/data'] : ['/var/lib/pgproof', '/etc/pgproof']
      expect(paths, name).toEqual(expect.arrayContaining(['/tmp', ...needed]))
    }
  })

  it('the daemon: one at a time, probes, and more time to end than its grace', () => {
    const [deployment] = ofKind('Deployment')
    expect(deployment).toMatchObject({ spec: { replicas: 1, strategy: { type: 'Recreate' } } })
    const pod = podsOf([deployment as Manifest])[0]?.pod as Tree
    expect(pod['terminationGracePeriodSeconds']).toBeGreaterThan(25 + 10)
    expect(pod['containers']).toMatchObject([
      {
        startupProbe: { httpGet: { path: '/healthz' } },
        livenessProbe: { httpGet: { path: '/healthz' } },
        readinessProbe: { httpGet: { path: '/readyz' } },
      },
    ])
    expect(ofKind('Service')).toMatchObject([{ spec: { publishNotReadyAddresses: true } }])
    expect(ofKind('NetworkPolicy')).toMatchObject([{ spec: { policyTypes: ['Ingress', 'Egress'] } }])
  })

  it('CronJobs: never two of one, a late start is caught up, what a retry cannot mend is not retried', () => {
    for (const { manifest } of pods.filter(({ manifest }) => manifest.kind === 'CronJob'))
      expect(manifest).toMatchObject({
        spec: {
          concurrencyPolicy: 'Forbid',
          timeZone: 'Etc/UTC',
          startingDeadlineSeconds: 21_600,
          jobTemplate: {
            spec: {
              podFailurePolicy: { rules: [{ action: 'FailJob', onExitCodes: { values: [2, 3, 13] } }] },
              template: { spec: { restartPolicy: 'Never' } },
            },
          },
        },
      })
  })

  it('the configuration loads with the secrets that the example names, and the example holds none', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgproof-kubernetes-'))
    try {
      const [secret] = ofKind('Secret')
      const names = Object.keys(at(secret as Manifest, 'stringData'))
      for (const name of names) writeFileSync(join(folder, name), name.endsWith('.sha256') ? '0'.repeat(64) : 'x')
      const text = readFileSync(join('deploy', 'kubernetes', 'shared', 'pgproof.yaml'), 'utf8')
      writeFileSync(join(folder, 'pgproof.yaml'), text.replaceAll('/run/secrets/pgproof', folder))
      const { config } = await loadConfig({ file: 'pgproof.yaml', env: {}, cwd: folder })
      expect(config.http.tokens[0]?.scope).toBe('drill')
      for (const name of names) expect(text).toContain(`/run/secrets/pgproof/${name}`)
      expect(JSON.stringify(secret)).not.toMatch(/BEGIN PGP/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
