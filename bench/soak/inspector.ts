import { once } from 'node:events'

/**
 * Bytes of JS heap in use after a full collection, by the inspector of a Node process at this address (`ws://…`).
 * What a process reports of itself contains garbage that nobody has needed to collect.
 */
export async function keptHeapBytes(address: string): Promise<number> {
  const socket = new WebSocket(address)
  const signal = AbortSignal.timeout(60_000)
  await once(socket, 'open', { signal })
  const closed = once(socket, 'close')
  try {
    let last = 0
    const ask = async (method: string): Promise<Record<string, unknown>> => {
      last += 1
      const id = last
      socket.send(JSON.stringify({ id, method }))
      for (;;) {
        const [message] = (await once(socket, 'message', { signal })) as [MessageEvent]
        const answer = JSON.parse(String(message.data)) as { id?: number; result?: Record<string, unknown> }
        if (answer.id !== id) continue
        if (answer.result === undefined) throw new Error(`${method}: ${String(message.data)}`)
        return answer.result
      }
    }
    // What a first collection lets go of may be what kept something else, by a finalizer.
    await ask('HeapProfiler.collectGarbage')
    await ask('HeapProfiler.collectGarbage')
    return Number((await ask('Runtime.getHeapUsage'))['usedSize'])
  } finally {
    socket.close()
    await closed
  }
}
