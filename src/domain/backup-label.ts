/** The sortable name of a backup or drill: UTC time to the second and four random characters, `20261120T020000Z-4f7k`. */

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const pattern = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-([0-9a-hjkmnp-tv-z]{4})$/

/** `random` yields numbers in [0, 1), as `Math.random`. */
export function makeLabel(now: Date, random: () => number): string {
  const time = labelPrefix(now)
  let suffix = ''
  for (let count = 0; count < 4; count += 1) suffix += alphabet[Math.floor(random() * alphabet.length)]
  return `${time}-${suffix}`
}

/** What every label of that second begins with, and what sorts before the labels of all later ones. */
export function labelPrefix(now: Date): string {
  return now.toISOString().replaceAll(/[-:]|\.\d+/g, '')
}

export function isLabel(text: string): boolean {
  return labelTime(text) !== undefined
}

/** The instant that a label names; undefined if the text is no label. */
export function labelTime(text: string): Date | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second] = match
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(time.getTime()) ? undefined : time
}
