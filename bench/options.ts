/** `--name 3` of the command line, or `standard`; throws unless it is a whole number from 1 on. */
export function numberOption(name: string, standard: number): number {
  const index = process.argv.indexOf(name)
  const value = index === -1 ? standard : Number(process.argv[index + 1])
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} takes a whole number`)
  return value
}
