/*
 * A fleet of 10,000 databases and 50 workers over a week of fake time, with faults: the real scheduler and the real queue
 * over a simulated control database. Prints what was missed, what was done twice, and what the control database was asked.
 *
 *   node bench/fleet-simulation.ts [servers databasesEach workers days stepMinutes seed]
 */
import { simulate } from '../test/fleet/simulation.ts'

const [servers = 100, databasesEach = 100, workers = 50, days = 8, stepMinutes = 10, seed = 1] = process.argv
  .slice(2)
  .map(Number)
const began = performance.now()
const found = await simulate({ servers, databasesEach, workers, places: 4, days, stepMinutes, seed })
const asked = [...found.calls].sort(([, one], [, other]) => other - one)
const write = (line: string): void => void process.stdout.write(`${line}\n`)
write(
  `${servers * databasesEach} databases, ${workers} workers, ${days} days in steps of ${stepMinutes} minutes, seed ${seed}`,
)
write(
  `due ${found.due}, done ${found.done}, missed ${found.missed.length}, twice ${found.twice.length}, dead ${found.dead}`,
)
write(`faults: ${JSON.stringify(found.faults)}`)
write(`most backups of one server at once: ${found.most.ofServer}; longest wait: ${found.most.waitMinutes} minutes`)
for (const [what, count] of asked) write(`asked ${what}: ${count}, ${(count / found.done).toFixed(2)} per backup`)
for (const line of [...found.missed.slice(0, 5), ...found.twice.slice(0, 5)]) write(line)
write(`took ${Math.round((performance.now() - began) / 1000)} s`)
process.exitCode = found.missed.length + found.twice.length === 0 ? 0 : 1
