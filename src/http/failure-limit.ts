import { isIPv6 } from 'node:net'
import type { Clock } from '../clock.ts'

const windowMs = 60_000
/** With so many, an address is blocked. */
export const failuresPerWindow = 20
/** Addresses are remembered up to this many; the oldest is forgotten first. */
const addressCapacity = 10_000

/** Counts wrong tokens by address: after so many within a minute, nothing from there is looked at until it is over. */
export class FailureLimit {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #windows = new Map<string, { readonly startedMs: number; failures: number }>()

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
  }

  /** How long the address has to wait, in whole seconds; null when it need not. */
  blockedSeconds(address: string): number | null {
    const window = this.#windows.get(networkOf(address))
    if (window === undefined || window.failures < failuresPerWindow) return null
    const leftMs = window.startedMs + windowMs - this.#clock.monotonicMs()
    return leftMs > 0 ? Math.ceil(leftMs / 1000) : null
  }

  /** How many there were from the address within this minute, this one included. */
  add(address: string): number {
    const network = networkOf(address)
    const now = this.#clock.monotonicMs()
    const window = this.#windows.get(network)
    if (window !== undefined && now < window.startedMs + windowMs) {
      window.failures += 1
      return window.failures
    }
    this.#windows.delete(network)
    this.#windows.set(network, { startedMs: now, failures: 1 })
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= addressCapacity) break
      this.#windows.delete(oldest)
    }
    return 1
  }
}

/** The address, or the /64 of it: whoever has one IPv6 address has all of those. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address
  const [head = [], tail = []] = address.split('::').map((part) => (part === '' ? [] : part.split(':')))
  const zeros = Array<string>(8 - head.length - tail.length).fill('0')
  return [...head, ...zeros, ...tail].slice(0, 4).join(':')
}
