/**
 * `compute`, once for each list. The catalog makes its lists anew when anything in the stores has changed, and only then:
 * what was made of the same list need not be made again.
 */
export function onceForEach<K extends object, V>(compute: (list: K) => V): (list: K) => V {
  const known = new WeakMap<K, { readonly value: V }>()
  return (list) => {
    const before = known.get(list)
    if (before !== undefined) return before.value
    const value = compute(list)
    known.set(list, { value })
    return value
  }
}
