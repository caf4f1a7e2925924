import { takeCoverage } from 'node:v8'
import { afterAll } from 'vitest'

// For `scripts/coverage.ts`: Vitest ends its processes by a signal, which would lose what they counted.
afterAll(() => takeCoverage())
