import { defineConfig } from 'vitest/config'

/**
 * The tests that mutants are tried with (`npm run mutants`): those that need no server, in any folder. With
 * PGPROOF_MUTANTS=services also a PostgreSQL and an S3 server, for what docs/testing.md says.
 */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // They take long, or measure time, of which there is less while everything else is tried.
    exclude: ['test/**/*-{properties,speed,zones}.test.ts'],
    globalSetup: process.env['PGPROOF_MUTANTS'] === 'services' ? 'test/support/global-setup.ts' : [],
    testTimeout: 60_000,
  },
})
