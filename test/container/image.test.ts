import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { shippedEnvironment } from '../../bench/shipped.ts'
import { version } from '../../src/version.ts'

const lines = readFileSync('Dockerfile', 'utf8').split('\n')
const instructions = lines.filter((line) => /^[A-Z]+ /.test(line))
const last = instructions.slice(instructions.findLastIndex((line) => line.startsWith('FROM ')))
const one = (name: string): string => last.filter((line) => line.startsWith(`${name} `)).join('\n')

describe('Dockerfile', () => {
  it('two stages of one base; the second has the compiler’s output and no compiler', () => {
    expect(instructions.filter((line) => line.startsWith('FROM '))).toEqual([
      'FROM node:24-trixie-slim AS build',
      'FROM node:24-trixie-slim',
    ])
    expect(last.join('\n')).not.toMatch(/npm (ci|install)|COPY .*\bsrc\b/)
    expect(lines.join('\n')).toMatch(/rm -rf .*\/usr\/local\/bin\/npm/)
  })

  it('nothing that only BuildKit can do: it builds where nothing but a Docker engine is', () => {
    expect(lines.filter((line) => /^# syntax=|--mount=|COPY .*--(link|chmod|parents)|<<[A-Z]/.test(line))).toEqual([])
  })

  it('a user that is a number and not root, tini as process 1, a health check, labels with the version', () => {
    expect(one('USER')).toBe('USER 1000:1000')
    expect(one('ENTRYPOINT')).toBe('ENTRYPOINT ["tini", "--", "pgproof"]')
    expect(one('HEALTHCHECK')).toContain('healthcheck.mjs')
    expect(one('LABEL')).toContain('org.opencontainers.image.title')
    expect(lines).toContain(`ARG VERSION=${version}`)
  })

  it('the allocator that it runs with is installed, and the measurements set what it sets', () => {
    const settings = Object.fromEntries(
      [...lines.join('\n').matchAll(/^ +([A-Z_]+)=(\S+)/gm)].map(([, name, value]) => [name, value]),
    )
    const { LD_PRELOAD, ...others } = shippedEnvironment()
    expect(settings).toMatchObject({ ...others, LD_PRELOAD: basename(LD_PRELOAD ?? '') })
    expect(lines.join('\n')).toMatch(/apt-get install .*\blibjemalloc2\b/)
  })

  it('every file that is copied is in the repository and not left out by .dockerignore', () => {
    const copied = instructions
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(' ').slice(1, -1))
    expect(copied.length).toBeGreaterThan(7)
    const taken = readFileSync('.dockerignore', 'utf8')
      .split('\n')
      .flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []))
    for (const path of copied) {
      expect(existsSync(path), path).toBe(true)
      expect(
        taken.some((name) => path === name || path.startsWith(`${name}/`)),
        path,
      ).toBe(true)
    }
    for (const line of taken) expect(existsSync(line), line).toBe(true)
  })
})

describe('deploy/image/healthcheck.mjs', () => {
  /** What it exits with in a container whose process 1 is `command`. */
  const check = async (listen: string, command = 'serve', more: Record<string, string> = {}): Promise<number> => {
    const script = readFileSync('deploy/image/healthcheck.mjs', 'utf8').replace(
      "readFileSync('/proc/1/cmdline', 'utf8')",
      `'tini\\0--\\0pgproof\\0${command}\\0'`,
    )
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
      env: { PGPROOF_HTTP__LISTEN: listen, ...more },
    })
    return await run.then(
      () => 0,
      (error: { code: number }) => error.code,
    )
  }
  const serving = async (status: number, use: (port: number) => Promise<void>): Promise<void> => {
    await listening(
      createServer((_, answer) => answer.writeHead(status).end()),
      use,
    )
  }
  const listening = async (server: Server, use: (port: number) => Promise<void>): Promise<void> => {
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    try {
      await use((server.address() as AddressInfo).port)
    } finally {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    }
  }

  it.each([
    ['200', 200, 0],
    ['401, because a token is demanded', 401, 0],
    ['500', 500, 1],
  ])('the daemon answers %s - exit code as it should be', async (_, status, code) => {
    await serving(status, async (port) => expect(await check(`0.0.0.0:${port}`)).toBe(code))
  })

  it('the daemon answers by TLS, with a certificate of another name - healthy', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgproof-health-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    execFileSync('openssl', [...request, '-subj', '/CN=backup.example', '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    })
    const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, answer) => answer.end())
    rmSync(folder, { recursive: true, force: true })
    await listening(server, async (port) => expect(await check(`0.0.0.0:${port}`)).toBe(0))
  })

  it('nothing listens - unhealthy; a single backup, or a daemon without HTTP, or a worker that does not serve - healthy', async () => {
    let free = 0
    await serving(200, async (port) => {
      free = port
    })
    expect(await check(`127.0.0.1:${free}`)).toBe(1)
    expect(await check(`127.0.0.1:${free}`, 'backup')).toBe(0)
    expect(await check('off')).toBe(0)
    expect(await check(`127.0.0.1:${free}`, 'serve', { PGPROOF_FLEET__MAY: 'backup, drill' })).toBe(0)
    expect(await check(`127.0.0.1:${free}`, 'serve', { PGPROOF_FLEET__MAY: 'drill,serve' })).toBe(1)
  })
})

describe('deploy/seccomp/pgproof.json', () => {
  const { defaultAction, syscalls } = JSON.parse(readFileSync(join('deploy', 'seccomp', 'pgproof.json'), 'utf8')) as {
    defaultAction: string
    syscalls: { action: string; names: string[] }[]
  }

  it('allows what is named and nothing else: what the isolation of drills takes, nothing that gets at other processes or the kernel', () => {
    expect(defaultAction).toBe('SCMP_ACT_ERRNO')
    const [{ action, names }, ...others] = syscalls as [{ action: string; names: string[] }]
    expect(action).toBe('SCMP_ACT_ALLOW')
    // Its flags cannot be seen here: the C library then takes clone, as under the profile of Docker.
    expect(others).toEqual([{ action: 'SCMP_ACT_ERRNO', errnoRet: 38, names: ['clone3'] }])
    expect(names).toEqual([...new Set(names)].sort())
    expect(names).toEqual(expect.arrayContaining(['unshare', 'mount', 'umount2', 'pivot_root', 'prlimit64', 'capset']))
    const dangerous = /^(setns|ptrace|process_vm_.*|process_madvise|kcmp|pidfd_getfd|bpf|perf_event_open|userfaultfd)$/
    const kernel =
      /^(.*_module|kexec_.*|reboot|swapo.*|acct|quotactl.*|io_uring_.*|keyctl|.*_key|clock_(adj|set).*|settimeofday)$/
    expect(names.filter((name) => dangerous.test(name) || kernel.test(name))).toEqual([])
  })

  it('docker-compose.yml gives it to pgproof', () => {
    expect(readFileSync('docker-compose.yml', 'utf8')).toContain("'seccomp=deploy/seccomp/pgproof.json'")
  })
})
