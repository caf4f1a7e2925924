/** Why a cron expression of five fields cannot be used, naming the field if one is to blame; undefined if it can. */
export async function reasonAgainstCron(expression: string): Promise<string | undefined> {
  const { CronExpressionParser } = await import('cron-parser')
  const fields = expression.trim().split(/\s+/)
  const isUsable = (text: string): boolean => {
    try {
      // Any instant will do: what does not fire within the years after it never fires.
      return CronExpressionParser.parse(text, { tz: 'UTC', currentDate: new Date(0) }).next() !== undefined
    } catch {
      return false
    }
  }
  const foreign = fields.findIndex(isForeign)
  if (foreign < 0 && isUsable(fields.join(' '))) return undefined
  const wrong = fields.findIndex(
    (_, index) => !isUsable(fields.map((field, other) => (other === index ? field : '*')).join(' ')),
  )
  const name = fieldNames[foreign < 0 ? wrong : foreign]
  return name === undefined ? 'it names no day that exists' : `the field ${name} is wrong`
}

const fieldNames = ['minute', 'hour', 'day of month', 'month', 'day of week']

/** `H` and `?` are the parser's own: the first means a random moment, another one after each start. */
function isForeign(field: string): boolean {
  return /[?H]/.test(field.replaceAll(/thu/gi, ''))
}
