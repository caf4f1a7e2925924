/** What was measured, by name, in the order in which it was first measured. */
export type Outcome = { readonly seconds: number; readonly peakMegabytes: number }

/** A row of the table: what it is held against, and the goal for that ratio, if there is one. */
export type Row = {
  readonly name: string
  readonly over?: string
  readonly goal?: string
  /** Why it was not measured. */
  readonly absent?: string
}

export class Results {
  readonly #outcomes = new Map<string, Outcome[]>()
  readonly #rows = new Map<string, Row>()

  /** Measures once, and says so. */
  async measure(row: Row, work: () => Promise<Outcome>): Promise<void> {
    this.#rows.set(row.name, row)
    const outcome = await work()
    this.#outcomes.set(row.name, [...(this.#outcomes.get(row.name) ?? []), outcome])
    process.stdout.write(`  ${row.name.replaceAll('\\|', '|')}: ${outcome.seconds.toFixed(2)} s\n`)
  }

  /** Stands in the table as absent. */
  absent(row: Row, why: string): void {
    this.#rows.set(row.name, { ...row, absent: why })
  }

  /** Markdown: medians, ratios of medians, and the highest peak. */
  table(): string {
    const lines = ['| what | seconds | ratio | over | goal | peak MB |', '| --- | --- | --- | --- | --- | --- |']
    for (const { name, over, goal, absent } of this.#rows.values()) {
      if (absent !== undefined) {
        lines.push(`| ${name} | absent: ${absent} | | ${over ?? ''} | ${goal ?? ''} | |`)
        continue
      }
      const peak = Math.max(...(this.#outcomes.get(name) ?? []).map((outcome) => outcome.peakMegabytes))
      const base = over === undefined ? Number.NaN : this.#median(over)
      const ratio = Number.isNaN(base) ? '' : (this.#median(name) / base).toFixed(2)
      const cells = [name, this.#median(name).toFixed(2), ratio, over ?? '', goal ?? '', peak > 0 ? String(peak) : '']
      lines.push(`| ${cells.join(' | ')} |`)
    }
    return lines.join('\n')
  }

  /** Not a number for what was not measured. */
  #median(name: string): number {
    const sorted = (this.#outcomes.get(name) ?? []).map(({ seconds }) => seconds).toSorted((one, two) => one - two)
    const middle = Math.floor(sorted.length / 2)
    if (sorted.length % 2 === 1) return sorted[middle] ?? Number.NaN
    return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
  }
}
