import type { NotifyConfig } from '../config/config.ts'
import type { Notice } from './notice.ts'

/** What became of one attempt to deliver. */
export type Attempt =
  | { readonly isDelivered: true }
  | {
      readonly isDelivered: false
      /** Without any secret. */
      readonly reason: string
      readonly isRetryable: boolean
      /** What the receiver asked for; null if it did not. */
      readonly retryAfterMs: number | null
    }

export type ChannelKind = NotifyConfig['kind']

/** One receiver. `P` is what it takes. */
export type Channel<P> = {
  readonly kind: ChannelKind
  /** For people and logs, without any secret: `webhook hooks.example.com`; with its place once it is opened. */
  readonly name: string
  /** Tries once; never throws. */
  deliver(parcel: P, signal: AbortSignal): Promise<Attempt>
}

export type NoticeChannel = Channel<Notice>

export const delivered: Attempt = { isDelivered: true }

export function refused(reason: string, isRetryable: boolean, retryAfterMs: number | null = null): Attempt {
  return { isDelivered: false, reason, isRetryable, retryAfterMs }
}
