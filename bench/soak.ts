/**
 * Whether a daemon that works for long grows: `npm run soak -- [--minutes 40] [--figure docs/soak.svg]`. A real
 * `pgproof serve` on a schedule of minutes and with orders in between, databases that change, a directory and a bucket, faults in between; then
 * every backup is verified. pgproof is built first, and tried as it is shipped. Everything is made in a temporary folder and removed. Exit code 1
 * unless all is flat and whole.
 */
import { writeFileSync } from 'node:fs'
import { buildPgproof } from './shipped.ts'
import { soakFigure } from './soak/figure.ts'
import { openSoakPlace } from './soak/place.ts'
import { reportSoak } from './soak/report.ts'
import { runSoak } from './soak/run.ts'

const minutes = Number(option('--minutes') ?? 40)
if (!(minutes >= 1)) throw new Error('--minutes takes a number from 1 on')
const figure = option('--figure')
const say = (text: string): void => void process.stdout.write(`${text}\n`)

await using place = await openSoakPlace(4, buildPgproof())
const result = await runSoak(place, {
  seconds: minutes * 60,
  least: {},
  stretchSeconds: 60,
  // The more looks, the surer their slope.
  restEverySeconds: Math.min(180, Math.max(60, (minutes * 60) / 14)),
  faultEverySeconds: 15,
  outageSeconds: [3, 15, 60],
  orderEverySeconds: 2,
  // Early: the last daemon has a thousand runs, which is how many it remembers, before the half that counts.
  kills: [0.05, 0.12],
  say,
})
const { text, isWell } = reportSoak(result)
say(`\n${text}`)
if (figure !== undefined) writeFileSync(figure, soakFigure(result))
process.exitCode = isWell ? 0 : 1

function option(name: string): string | undefined {
  const index = process.argv.indexOf(name)
  return index === -1 ? undefined : process.argv[index + 1]
}
