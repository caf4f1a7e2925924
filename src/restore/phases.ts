import type { Clock } from '../clock.ts'

/** Wall time of each phase; some run side by side, so their sum may exceed the whole. */
export type Phases<Name extends string> = {
  time<T>(name: Name, work: () => Promise<T>): Promise<T>
  results(): { name: Name; seconds: number }[]
}

export function createPhases<Name extends string>(clock: Clock, onStart: (name: Name) => void): Phases<Name> {
  const phases: { name: Name; seconds: number }[] = []
  return {
    async time(name, work) {
      onStart(name)
      const started = clock.monotonicMs()
      try {
        return await work()
      } finally {
        phases.push({ name, seconds: Math.round(clock.monotonicMs() - started) / 1000 })
      }
    },
    results: () => phases,
  }
}
