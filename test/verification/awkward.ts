/** A database that is in perfect health and that a naive backup, restore or comparison stumbles over. */
export type AwkwardDatabase = {
  /** Also the name of the database, after `awkward_`, unless `database` gives one. */
  readonly id: string
  readonly title: string
  /** The page of PostgreSQL's documentation (its name under /docs/current/) that describes what is used here. */
  readonly source: string
  /** Several texts run one after the other, each in a transaction of its own. */
  readonly sql: string | readonly string[] | ((place: Place) => string | readonly string[])
  /** Ends in an error and leaves something behind all the same. */
  readonly failing?: string
  readonly database?: string
  /** What follows `CREATE DATABASE name`. */
  readonly create?: string
  /** Run in the database `postgres` before; roles, which belong to the whole server. */
  readonly roles?: string
  readonly extensions?: readonly string[]
  /** Configuration of pgproof over the usual one. */
  readonly settings?: Readonly<Record<string, string>>
  /** As whom the backup is taken. */
  readonly user?: string
  /** Runs after the drill, so that the database can be dropped. */
  readonly last?: string
  /** Runs again and again while the backup is taken. */
  readonly meanwhile?: string
}

/** Where the server runs that the database is made on. */
export type Place = {
  /** A folder in which the server may write. */
  readonly folder: string
  readonly port: number
}
