import { z } from 'zod'

const count = z.int().nonnegative()

/** How far a run is, in documents: whatever its job can tell. */
export const progressKeys = {
  phase: z.string().optional(),
  doneBytes: count.optional(),
  totalBytes: count.optional(),
  dumpBytes: count.optional(),
  tablesDone: count.optional(),
  tablesTotal: count.optional(),
}
