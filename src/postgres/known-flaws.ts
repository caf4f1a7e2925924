/**
 * The first minor of each major in which a line break in a name cannot become a line of SQL or of psql while a dump is
 * made or restored (CVE-2025-8714, CVE-2025-8715). Majors after these never had it.
 */
const fixedIn: Readonly<Record<number, number>> = { 14: 19, 15: 14, 16: 10, 17: 6 }

/** What a client program of PostgreSQL is known to get wrong and its newest minor does right; null for none. */
export function knownFlaw(version: string): string | null {
  const [, major, minor] = /^(\d+)(?:\.(\d+))?/.exec(version) ?? []
  const fixed = fixedIn[Number(major)]
  if (fixed === undefined || minor === undefined || Number(minor) >= fixed) return null
  return `CVE-2025-8714 and CVE-2025-8715, fixed in ${major}.${fixed}`
}
