import { describe, expect, it } from 'vitest'
import { withoutRightsOf } from '../../src/compare/bootstrap-roles.ts'
import type { StructureObject } from '../../src/domain/structure.ts'

const roles = { source: 'admin', scratch: '"The ""one"""' }

function grants(facets: Record<string, string>, kind = 'extension member grants'): StructureObject {
  return { kind, name: 'FUNCTION public.f()', facets }
}

describe('rights of members of extensions and of system objects', () => {
  it.each([
    ['of others, granted by others', 'clerk=SELECT/owner, PUBLIC=USAGE*', 'clerk=SELECT/owner, PUBLIC=USAGE*'],
    [
      'of the bootstrap superuser of either server',
      'admin=SELECT/owner, clerk=SELECT, "The ""one"""=UPDATE',
      'clerk=SELECT',
    ],
    ['granted by one of them', 'clerk=SELECT/admin, audit=SELECT*/"The ""one"""', 'clerk=SELECT, audit=SELECT*'],
    ['of one whose name begins or ends like theirs', 'admins=SELECT/badmin', 'admins=SELECT/badmin'],
    [
      'of names with every sign in them',
      '"a=b, c/d ""e"""=SELECT/"x, y=z/""w""", admin=INSERT/"x, y=z/""w""", f=UPDATE/o',
      '"a=b, c/d ""e"""=SELECT/"x, y=z/""w""", f=UPDATE/o',
    ],
    ['so many that only their SHA-256 is kept', 'sha256:0123, admin=SELECT', 'sha256:0123, admin=SELECT'],
  ])('%s - what is left', (_, granted, left) => {
    for (const kind of ['extension member grants', 'system object grants'])
      expect(withoutRightsOf(roles, [grants({ granted }, kind)])).toEqual([grants({ granted: left }, kind)])
  })

  it('nothing left of one list - the other stays; nothing left of both - the object is none', () => {
    const one = grants({ granted: 'admin=SELECT', revoked: 'PUBLIC=EXECUTE' })
    const none = grants({ granted: 'admin=SELECT', revoked: 'admin=EXECUTE/clerk' })
    expect(withoutRightsOf(roles, [one, none])).toEqual([grants({ revoked: 'PUBLIC=EXECUTE' })])
  })

  it('the same superuser on both servers, or rights of another kind of object - all as they were', () => {
    const object = grants({ granted: 'admin=SELECT' })
    expect(withoutRightsOf({ source: 'admin', scratch: 'admin' }, [object])).toEqual([object])
    const table = grants({ granted: 'admin=SELECT', owner: '' }, 'table')
    expect(withoutRightsOf(roles, [table])).toEqual([table])
  })
})
