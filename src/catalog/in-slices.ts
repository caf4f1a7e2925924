import { setImmediate } from 'node:timers/promises'

/** So many of what a refresh looks at take one or two milliseconds. */
export const itemsInSlice = 1000

/** The same as a loop, but whoever else waits has a turn every now and then: a store may hold a hundred thousand objects. */
export async function forEachInSlices<T>(
  items: Iterable<T>,
  each: (item: T) => void,
  size: number = itemsInSlice,
): Promise<void> {
  let left = size
  for (const item of items) {
    each(item)
    left -= 1
    if (left > 0) continue
    left = size
    await setImmediate()
  }
}
