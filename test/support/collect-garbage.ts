import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Frees everything that nothing leads to; twice, since what a first collection lets go of may have kept something else. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
  gc()
}
