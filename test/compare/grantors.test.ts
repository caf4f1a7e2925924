import { describe, expect, it } from 'vitest'
import { isGrantedByOwner } from '../../src/compare/grantors.ts'

describe('grants by a superuser, restored as those of the owner', () => {
  const superusers = new Set(['bob', 'Bob, "B"=/x'])
  it.each<[what: string, granted: string, restored: string, expected: boolean]>([
    ['one', 'alice=ALL/alice, carol=SELECT/bob', 'alice=ALL/alice, carol=SELECT/alice', true],
    ['by a name with every sign in it', 'carol=SELECT/"Bob, ""B""=/x"', 'carol=SELECT/alice', true],
    ['one beside the owner’s own', 'carol=INSERT/alice, carol=SELECT/bob', 'carol=INSERT+SELECT/alice', true],
    ['the same right twice', 'carol=SELECT/alice, carol=SELECT/bob', 'carol=SELECT/alice', true],
    ['once with grant option', 'carol=SELECT/alice, carol=SELECT*/bob', 'carol=SELECT*/alice', true],
    ['every right', 'carol=ALL/alice, carol=SELECT/bob', 'carol=ALL/alice', true],
    ['to the owner', 'alice=ALL/alice, alice=SELECT/bob', 'alice=ALL/alice', true],
    ['one that is lost', 'carol=SELECT/bob', '', false],
    ['another right', 'carol=SELECT/bob', 'carol=INSERT/alice', false],
    ['one more', 'carol=SELECT/bob', 'carol=INSERT+SELECT/alice', false],
    ['with grant option now', 'carol=SELECT/bob', 'carol=SELECT*/alice', false],
    ['without grant option now', 'carol=SELECT*/bob', 'carol=SELECT/alice', false],
    ['to another', 'carol=SELECT/bob', 'dave=SELECT/alice', false],
    ['to the role "PUBLIC" instead of everybody', 'PUBLIC=SELECT/bob', '"PUBLIC"=SELECT/alice', false],
    ['by another, who is no owner', 'carol=SELECT/bob', 'carol=SELECT/dave', false],
    ['by one who is no superuser', 'carol=SELECT/dave', 'carol=SELECT/alice', false],
    ['by a superuser instead of the owner', 'carol=SELECT/alice', 'carol=SELECT/bob', false],
    ['a list of which the SHA-256 was kept', 'sha256:ab', 'sha256:cd', false],
    ['one of two such lists', 'sha256:ab', 'carol=SELECT/alice', false],
  ])('%s - %j restored as %j: %s', (_, granted, restored, expected) => {
    expect(isGrantedByOwner('alice', superusers, { granted, restored })).toBe(expected)
  })
})
