/** What has been restored beside live tables, and what these are now. Names are texts as SQL writes them, qualified and quoted. */

export type TableShape = {
  readonly columns: readonly TableColumn[]
  /** The columns of the primary key; null if there is none. */
  readonly key: readonly string[] | null
}

export type TableColumn = {
  readonly name: string
  readonly type: string
  readonly isGenerated: boolean
  /** GENERATED ALWAYS AS IDENTITY: takes values only with OVERRIDING SYSTEM VALUE, and no UPDATE. */
  readonly isIdentityAlways: boolean
}

export type LiveTrigger = {
  readonly table: string
  readonly name: string
  readonly isAlways: boolean
  /** How it is on each partition (`DISABLE`, `ENABLE ALWAYS`), from the top; empty where it is the same everywhere. */
  readonly onPartitions: readonly { readonly table: string; readonly state: string }[]
}
export type LiveSequence = {
  readonly name: string
  /** Decimal; negative for one that counts down. */
  readonly increment: string
  /** The sequence of the same column in the copy, with its state at the backup. */
  readonly copy: string
}

export type LiveTable = {
  readonly isPartitioned: boolean
  readonly shape: TableShape
  readonly triggers: readonly LiveTrigger[]
  readonly hasRules: boolean
  readonly hasRowSecurity: boolean
  readonly sequences: readonly LiveSequence[]
}

/** A partition below a copied table, at any depth; a parent comes before its own. */
export type CopiedPartition = {
  readonly name: string
  readonly copy: string
  readonly owner: string | null
  readonly parent: string
  /** `FOR VALUES FROM …`, or `DEFAULT`. */
  readonly bound: string
  readonly partitionKey: string | null
  readonly isLive: boolean
}

export type CopiedTable = {
  /** Its name as it was. */
  readonly name: string
  /** Where its rows are now. */
  readonly copy: string
  readonly isPartitioned: boolean
  /** Null if that role is not there. */
  readonly owner: string | null
  readonly shape: TableShape
  /** Null if it is gone; a word if something else has its name: `view`. */
  readonly live: LiveTable | string | null
  readonly partitions: readonly CopiedPartition[]
  /** Of a partition that was restored without its table, if that is there. */
  readonly attach: { readonly parent: string; readonly bound: string } | null
  /** Tables that it inherited from, where they are there. */
  readonly inherit: readonly string[]
  /** Defaults of its columns that take from a sequence of a table that is there, and in the copy from another one. */
  readonly defaults: readonly { readonly column: string; readonly expression: string }[]
  /** What a table that is gone had, and its copy has not: triggers, rules, policies, statistics, grants. */
  readonly definitions: readonly string[]
  /** Live tables among the copied ones to which its rows refer. */
  readonly refersTo: readonly string[]
}

export type Merge = {
  /** The schema of the copies. */
  readonly schema: string
  /** What makes the schemas that tables and views were in and that are gone. */
  readonly schemas: readonly string[]
  readonly tables: readonly CopiedTable[]
  /** What makes those that are to be made once the tables are back. */
  readonly foreignKeys: readonly string[]
  /** What makes functions that take or give rows of a table that is gone, and went with it. */
  readonly functions: readonly string[]
  /** Views that are gone, in an order in which they can be made, with what makes each. */
  readonly views: readonly { readonly statements: readonly string[] }[]
}
