import { join } from 'node:path'
import type { ThrowAwayServer } from '../scripts/throw-away-postgres.ts'
import { shippedEnvironment } from './shipped.ts'
import { type Timed, timed } from './timed.ts'

/** Variables that name a store and how it is reached. */
export type PgproofStore = Readonly<Record<string, string>>

/** The command line `main`, as it was built, with keys in `folder` and one server named `main`. */
export class Pgproof {
  readonly #main: string
  readonly #folder: string
  readonly #source: ThrowAwayServer

  constructor(main: string, folder: string, source: ThrowAwayServer) {
    this.#main = main
    this.#folder = folder
    this.#source = source
  }

  /** Makes the keys; comes first. */
  async makeKeys(): Promise<void> {
    await timed(process.execPath, [this.#main, 'keygen', '--out', this.#folder, '--no-escrow'])
  }

  get publicKey(): string {
    return join(this.#folder, 'backup.pub.asc')
  }

  /** `evidence` as the configuration takes it. */
  async run(args: readonly string[], evidence: 'off' | 'digest', store: PgproofStore): Promise<Timed> {
    const env = {
      ...shippedEnvironment(),
      ...store,
      PGPROOF_ENCRYPTION__RECIPIENTS: this.publicKey,
      PGPROOF_ENCRYPTION__PRIVATE_KEY_FILE: join(this.#folder, 'backup.key.asc'),
      PGPROOF_SERVERS__0__NAME: 'main',
      PGPROOF_SERVERS__0__URL: this.#source.url(),
      PGPROOF_SERVERS__0__EVIDENCE: evidence,
      PGPROOF_SERVERS__0__RETENTION__LAST: '1',
      PGPROOF_DRILL__SPOOL: join(this.#folder, 'spool'),
    }
    return await timed(process.execPath, [this.#main, ...args], { env })
  }
}
