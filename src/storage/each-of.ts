/**
 * One item after the other of what comes some at a time. An async generator would wait several times for each of them, which
 * of a hundred thousand objects takes longer than all else. Ask for the next one only when the last has come.
 */
export function eachOf<T>(pages: AsyncGenerator<readonly T[], void>): AsyncIterableIterator<T, void> {
  let page: readonly T[] = []
  let index = 0
  const nextPage = async (): Promise<IteratorResult<T, void>> => {
    for (;;) {
      const next = await pages.next()
      if (next.done === true) return { done: true, value: undefined }
      const [first] = next.value
      if (next.value.length === 0) continue
      page = next.value
      index = 1
      return { done: false, value: first as T }
    }
  }
  return {
    [Symbol.asyncIterator]() {
      return this
    },
    next() {
      if (index >= page.length) return nextPage()
      index += 1
      return Promise.resolve({ done: false, value: page[index - 1] as T })
    },
    async return() {
      page = []
      await pages.return()
      return { done: true, value: undefined }
    },
  }
}
