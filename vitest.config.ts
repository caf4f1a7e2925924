import { defineConfig } from 'vitest/config'

// Two speeds, by what a test needs: `plain` needs nothing but files, gpg and child processes; `services` needs
// PostgreSQL and an S3 server, which its global set-up finds or starts. `plain` runs first: it fails sooner.
const services = [
  ...[
    ...[
      'backup',
      'commands',
      'compare',
      'daemon',
      'drill',
      'faults',
      'guard',
      'http',
      'jobs',
      'library',
      'postgres',
      'restore',
    ],
    ...['stored', 'structure', 'verification'],
  ].map((folder) => `test/${folder}/**/*.test.ts`),
  'test/grafana/queries.test.ts',
  'test/storage/s3*.test.ts',
]

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'plain',
          include: ['test/**/*.test.ts'],
          exclude: services,
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'services',
          include: services,
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 180_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
