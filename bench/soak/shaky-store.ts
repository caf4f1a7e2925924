import { type Fault, type FaultPlan, startFaultProxy } from '../../test/support/fault-proxy.ts'

/** What the store does at the moment: nobody can reach it, nothing comes through, each request fails, or all is well. */
export type StoreMode = 'well' | 'cut' | 'stalled' | 'failing'

/** A proxy in front of an S3 server. */
export type ShakyStore = {
  readonly endpoint: string
  setMode(mode: StoreMode): void
  stop(): Promise<void>
}

const faults: Partial<Record<StoreMode, Fault>> = {
  cut: { kind: 'reset-request', afterBytes: 0 },
  stalled: { kind: 'stall-request', afterBytes: 0 },
  failing: { kind: 'answer', status: 500, code: 'InternalError', isEarly: false },
}

export async function startShakyStore(endpoint: string): Promise<ShakyStore> {
  let mode: StoreMode = 'well'
  const plan: FaultPlan = {
    faultOf: () => faults[mode],
    refuses: () => mode === 'cut',
    outageMs: () => 0,
  }
  const proxy = await startFaultProxy(endpoint, plan)
  return {
    endpoint: proxy.endpoint,
    setMode: (next) => {
      mode = next
      if (next === 'well') proxy.release()
    },
    stop: async () => {
      proxy.release()
      await proxy.stop()
    },
  }
}
