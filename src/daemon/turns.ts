/** What waits for its turn. */
export type Waiting = { readonly server: string; readonly takesLong: boolean }

/**
 * In which order they go: what takes long after everything else, and among equals one server after the other, the one that
 * was served longest ago first, so that a server with a hundred databases keeps nobody waiting. `waiting` is as it came;
 * `served` are the servers that got a turn, the latest last.
 */
export function inTurns<T extends Waiting>(waiting: readonly T[], served: readonly string[]): readonly T[] {
  const classes = [waiting.filter(({ takesLong }) => !takesLong), waiting.filter(({ takesLong }) => takesLong)]
  return classes.flatMap((equals) => {
    const queues = [...Map.groupBy(equals, ({ server }) => server)].sort(
      ([one], [other]) => served.lastIndexOf(one) - served.lastIndexOf(other),
    )
    const longest = Math.max(0, ...queues.map(([, queue]) => queue.length))
    return Array.from({ length: longest }, (_, round) => queues.flatMap(([, queue]) => queue[round] ?? [])).flat()
  })
}
