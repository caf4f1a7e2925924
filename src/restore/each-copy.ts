import { Checklist } from '../domain/checklist.ts'
import { PgproofError } from '../errors.ts'

/**
 * Tries the stores of these names one after the other until one gives what it should: where one fails to answer, reading
 * falls over by itself, but a copy that is damaged or was replaced is noticed only when it has been read. `notes` gets why
 * a copy was passed over, `checklist` what the copy that served has passed. Throws what the last one throws.
 */
export async function eachCopy<T>(
  names: readonly string[],
  work: (names: readonly string[], checklist: Checklist) => Promise<T>,
  checklist: Checklist,
  notes: string[],
): Promise<T> {
  for (let index = 0; ; index += 1) {
    const attempt = new Checklist()
    const results = (): void => {
      for (const { name, result, detail } of attempt.results([])) checklist.add(name, result, detail)
    }
    try {
      const value = await work(names.slice(index), attempt)
      results()
      return value
    } catch (error) {
      const next = names[index + 1]
      if (next === undefined || !(error instanceof PgproofError) || !isOfTheCopy.has(error.code)) {
        results()
        throw error
      }
      notes.push(`the copy in store ${names[index]} was passed over: ${error.message}`)
    }
  }
}

/** What speaks against one copy, and not against the backup. */
const isOfTheCopy = new Set([
  'STORE_NOT_FOUND',
  'STORE_FORMAT_INVALID',
  'OBJECT_MISMATCH',
  'SIGNATURE_MISSING',
  'SIGNATURE_INVALID',
  'DECRYPTION_FAILED',
  'HISTORY_BROKEN',
])
