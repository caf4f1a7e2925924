import type { CopiedTable, LiveTable, TableColumn } from '../../src/domain/merge.ts'

/** Tables as a merge finds them, plain but for what a test says. */
export const column = (name: string, more: Partial<TableColumn> = {}): TableColumn => ({
  name,
  type: 'integer',
  isGenerated: false,
  isIdentityAlways: false,
  ...more,
})

export const shape = { columns: [column('id'), column('a')], key: ['id'] }

export const live = (more: Partial<LiveTable> = {}): LiveTable => ({
  isPartitioned: false,
  shape,
  triggers: [],
  hasRules: false,
  hasRowSecurity: false,
  sequences: [],
  ...more,
})

/** `name` with its schema; the copy is of the same name in schema `copy`. */
export const copiedTable = (name: string, more: Partial<CopiedTable> = {}): CopiedTable => ({
  name,
  copy: name.replace(/^[^.]*/, 'copy'),
  isPartitioned: false,
  owner: 'ann',
  shape,
  live: live(),
  partitions: [],
  attach: null,
  inherit: [],
  defaults: [],
  definitions: [],
  refersTo: [],
  ...more,
})
