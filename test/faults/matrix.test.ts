import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { expected, faultNames, faultsOf, matrixTable, stages } from './matrix.ts'

describe('the fault matrix', () => {
  it('docs/faults.md - has the table as the tests have it', () => {
    expect(readFileSync('docs/faults.md', 'utf8')).toContain(`-->\n${matrixTable()}\n<!-- end`)
  })

  it('its reduced form - has each stage, each fault and no cell that does not exist', () => {
    const cells = stages.flatMap((stage) => faultsOf(stage, '').map((fault) => ({ stage, fault })))
    expect(new Set(cells.map(({ stage }) => stage)).size).toBe(stages.length)
    expect(faultNames.filter((fault) => !cells.some((cell) => cell.fault === fault))).toEqual([])
    expect(cells.filter(({ stage, fault }) => expected(stage, fault) === undefined)).toEqual([])
    expect(cells.length).toBeGreaterThanOrEqual(20)
  })
})
