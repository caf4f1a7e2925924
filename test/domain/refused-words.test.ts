import { expect, it } from 'vitest'
import { type RefusedPart, refusedWords } from '../../src/domain/refused-words.ts'

const differs = 'FLEET_RETENTION_DIFFERS'
const lacks = 'KEY_UNREADABLE'

it.each<[string, RefusedPart]>([
  ['leaves server main alone', { server: 'main', code: lacks }],
  ['leaves server main alone', { server: 'main', job: null, code: lacks }],
  ['leaves a queue alone', { server: null, code: lacks }],
  ['leaves backups to other workers', { server: null, job: 'backup', code: lacks }],
  ['leaves drills of server main to other workers', { server: 'main', job: 'drill', code: lacks }],
  ['leaves prunes of server main to other workers', { server: 'main', job: 'prune', code: lacks }],
  ['leaves syncs to other workers', { server: null, job: 'sync', code: lacks }],
  // Roles are many already; a job of a newer version is called what it is called.
  ['leaves roles of server main to other workers', { server: 'main', job: 'roles', code: lacks }],
  ['prunes nothing of server main', { server: 'main', job: 'prune', code: differs }],
  ['prunes nothing of server main', { server: 'main', code: differs }],
  ['prunes nothing of several servers', { server: null, job: 'prune', code: differs }],
  ['removes no old drill reports', { server: null, job: 'drill', code: differs }],
  ['removes no old drill reports', { server: null, code: differs }],
])('%s - %j', (words, part) => {
  expect(refusedWords(part)).toBe(words)
})
