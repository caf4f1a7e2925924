import type { NotifyConfig } from '../config/config.ts'
import type { Channel, NoticeChannel } from './channel.ts'
import { emailChannel } from './email.ts'
import { type PingChannel, pingChannel } from './ping.ts'
import { webhookChannel } from './webhook.ts'

/** The receiver of an entry of `notify`; its name begins with the entry's place: `notify.0 (webhook hooks.example.com)`. */
export type OpenChannel =
  | { readonly takes: 'notices'; readonly channel: NoticeChannel }
  | { readonly takes: 'pings'; readonly channel: PingChannel }

export function openChannel(entry: NotifyConfig, index: number, now: () => Date): OpenChannel {
  switch (entry.kind) {
    case 'webhook':
      return { takes: 'notices', channel: placed(webhookChannel(entry, now), index) }
    case 'email':
      return { takes: 'notices', channel: placed(emailChannel(entry), index) }
    case 'ping':
      return { takes: 'pings', channel: placed(pingChannel(entry, now), index) }
  }
}

/** Where an entry is in the configuration, as its errors name it: `notify.0`. */
export function placeOf(index: number): string {
  return `notify.${index}`
}

/** Two entries may lead to one host, and only their places tell them apart. */
function placed<P>(channel: Channel<P>, index: number): Channel<P> {
  return { ...channel, name: `${placeOf(index)} (${channel.name})` }
}
