import type { StructureObject } from '../domain/structure.ts'
import type { RestoreRequest } from './restore-request.ts'

type Comparable = {
  readonly of: (objects: readonly StructureObject[]) => readonly StructureObject[]
  readonly without: string
}

/**
 * What can be compared of a restore that left owners or grants out; undefined: everything. Who granted a right follows
 * from who owns, so without owners no grants are compared either.
 */
export function comparableWith({
  owners,
  privileges,
}: Pick<RestoreRequest, 'owners' | 'privileges'>): Comparable | undefined {
  if (owners && privileges) return undefined
  const left = new Set(['grants', 'owners and grants', ...(owners ? [] : ['owner'])])
  return {
    without: owners ? 'grants' : 'owners and grants',
    of: (objects) =>
      objects
        .filter(({ kind }) => !/^(?:role|default privileges|.* grants)$/.test(kind))
        .map((object) => ({
          ...object,
          facets: Object.fromEntries(Object.entries(object.facets).filter(([facet]) => !left.has(facet))),
        })),
  }
}
