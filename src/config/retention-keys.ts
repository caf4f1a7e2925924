import { z } from 'zod'
import { withDefault } from './declare.ts'
import * as kinds from './kinds.ts'

const kept = (what: string) => withDefault(kinds.whole(0), 0, { description: `How many ${what}.`, example: '7' })

/** A retention policy: of the databases or the roles of a server, or of a store. */
export const retentionKeys = z
  .strictObject({
    last: kept('of the newest backups are kept'),
    daily: kept('days keep their newest backup'),
    weekly: kept('ISO weeks keep their newest backup'),
    monthly: kept('months keep their newest backup'),
    yearly: kept('years keep their newest backup'),
    verified: kept('of the newest backups that passed a drill are kept'),
  })
  .refine((counts) => Object.values(counts).some((count) => count > 0), 'it would keep nothing')
