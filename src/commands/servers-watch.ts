import { folderState } from '../config/servers-folder.ts'

/** Tells when a file in the folder of servers has come, changed or gone; which folder that is may change. */
export class ServersWatch {
  #folder: string | undefined
  #state = ''

  /** What the folder holds now is known from now on. */
  async begin(folder: string | undefined): Promise<void> {
    this.#state = await stateOf(folder)
    this.#folder = folder
  }

  /** Whether this is the folder that is watched. */
  isOf(folder: string | undefined): boolean {
    return folder === this.#folder
  }

  /** Whether it holds something else than at the last look. True of another folder: what was known of it is not known here. */
  async hasChanged(folder: string | undefined): Promise<boolean> {
    const before = this.isOf(folder) ? this.#state : undefined
    await this.begin(folder)
    return this.#state !== before
  }
}

async function stateOf(folder: string | undefined): Promise<string> {
  return folder === undefined ? '' : await folderState(folder)
}
