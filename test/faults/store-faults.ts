import {
  type Fault,
  type FaultPlan,
  type FaultProxy,
  type ProxiedRequest,
  startFaultProxy,
} from '../support/fault-proxy.ts'

/** What the proxy does at the moment, and from then on. `hold` never answers that one request. */
export type StoreFault = 'pass' | 'hold' | 'reset once' | 'cut' | 'stall' | '500'

export type FaultyStore = {
  readonly endpoint: string
  hasHappened(): boolean
  /** From now on everything comes through. */
  heal(): void
  stop(): Promise<void>
}

/** An S3 server at which something goes wrong from the first request on for which `isMoment` says so. */
export async function startFaultyStore(
  endpoint: string,
  kind: StoreFault,
  isMoment: (request: ProxiedRequest) => boolean,
  onMoment: () => void = () => {},
): Promise<FaultyStore> {
  const state = { hasHappened: false, isHealed: false }
  const isGone = (): boolean => state.hasHappened && !state.isHealed
  const plan: FaultPlan = {
    faultOf: (request) => {
      if (state.isHealed) return undefined
      if (state.hasHappened) return lasting[kind]
      if (!isMoment(request)) return undefined
      state.hasHappened = true
      onMoment()
      return first(kind, request)
    },
    refuses: () => kind === 'cut' && isGone(),
    outageMs: () => 0,
  }
  const proxy: FaultProxy = await startFaultProxy(endpoint, plan)
  return {
    endpoint: proxy.endpoint,
    hasHappened: () => state.hasHappened,
    heal: () => {
      state.isHealed = true
      proxy.release()
    },
    stop: async () => {
      proxy.release()
      await proxy.stop()
    },
  }
}

const failure: Fault = { kind: 'answer', status: 500, code: 'InternalError', isEarly: false }

const lasting: Partial<Record<StoreFault, Fault>> = {
  cut: { kind: 'reset-request', afterBytes: 0 },
  stall: { kind: 'stall-request', afterBytes: 0 },
  '500': failure,
}

/** In the middle of the body, whichever way that goes. */
function first(kind: StoreFault, { operation }: ProxiedRequest): Fault | undefined {
  const isRead = operation === 'GetObject'
  switch (kind) {
    case 'pass':
      return undefined
    case '500':
      return failure
    case 'hold':
    case 'stall':
      return { kind: isRead ? 'stall-answer' : 'stall-request', afterBytes: 1_000 }
    case 'reset once':
    case 'cut':
      return { kind: isRead ? 'reset-answer' : 'reset-request', afterBytes: 1_000 }
  }
}
