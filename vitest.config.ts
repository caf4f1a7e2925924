import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'
import { SlowestFirst } from './test/support/slowest-first.ts'
import { keepTemporaryFilesInMemory } from './test/support/temporary-files.ts'

keepTemporaryFilesInMemory()

// The command line is started a thousand times: Node strips and compiles its files once. Coverage is less exact with that.
if (process.env['NODE_V8_COVERAGE'] === undefined)
  process.env['NODE_COMPILE_CACHE'] ??= resolve('node_modules/.cache/node-compile-cache')

// Two speeds, by what a test needs: `plain` needs nothing but files, gpg and child processes; `services` needs
// PostgreSQL and an S3 server, which its global set-up finds or starts. `plain` begins first: it fails sooner.
const services = [
  ...[
    ...[
      'backup',
      'commands',
      'compare',
      'daemon',
      'drill',
      'faults',
      'fleet',
      'guard',
      'http',
      'jobs',
      'library',
      'postgres',
      'restore',
    ],
    ...['security', 'stored', 'structure', 'verification'],
  ].map((folder) => `test/${folder}/**/*.test.ts`),
  'test/grafana/queries.test.ts',
  'test/soak/soak.test.ts',
  'test/storage/s3*.test.ts',
]

// Under `scripts/coverage.ts` what waits for an answer is given more time: it is slower.
const isCounting = process.env['NODE_V8_COVERAGE'] !== undefined
const patience = isCounting ? 5 : 1

export default defineConfig({
  test: {
    // Three more than most machines of a CI have cores: a test waits for other programs more than half of the time.
    maxWorkers: 5,
    sequence: { sequencer: SlowestFirst },
    // Node itself runs the tests and keeps the modules of one file for the next: a fifth of the processor time of `plain` is
    // saved. They and the programs that they start run the very same text of src/, so what ran of it adds up.
    isolate: isCounting,
    experimental: { viteModuleRunner: false, nodeLoader: false },
    ...(isCounting && { setupFiles: 'test/support/take-coverage.ts' }),
    // A second is soon over where three files at a time have two cores; what never comes is still noticed.
    expect: { poll: { timeout: 15_000 * patience } },
    projects: [
      {
        extends: true,
        test: {
          name: 'plain',
          include: ['test/**/*.test.ts'],
          exclude: services,
          testTimeout: 60_000 * patience,
        },
      },
      {
        extends: true,
        test: {
          name: 'services',
          include: services,
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 180_000 * patience,
          hookTimeout: 180_000 * patience,
        },
      },
    ],
  },
})
