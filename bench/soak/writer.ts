import pg from 'pg'

export type Writer = { stop(): Promise<number> }

/** Rows that come, go and change, about as many as before. */
const change = `
  WITH hit AS (SELECT 1001 + floor(random() * 6000)::int AS id)
  UPDATE parcel SET body = decode(md5(random()::text), 'hex') || substr(body, 17) FROM hit WHERE parcel.id = hit.id;
  UPDATE label SET text = 'parcel of ' || clock_timestamp() WHERE id = 1 + floor(random() * 1000)::int;
  WITH gone AS (DELETE FROM label WHERE id = (SELECT min(id) FROM label) RETURNING id)
  INSERT INTO label SELECT (SELECT max(id) FROM label) % 7000 + 1, 'new' FROM gone ON CONFLICT DO NOTHING`

/** Changes each database about five times a second until it is stopped; answers how many changes there were. */
export function startWriter(urls: readonly string[]): Writer {
  const stopping = new AbortController()
  const all = urls.map((url) => changeUntil(url, stopping.signal))
  return {
    async stop() {
      stopping.abort()
      return (await Promise.all(all)).reduce((sum, one) => sum + one, 0)
    },
  }
}

async function changeUntil(url: string, signal: AbortSignal): Promise<number> {
  let changes = 0
  while (!signal.aborted) {
    const client = new pg.Client({ connectionString: url, application_name: 'writer' })
    // A server that is restarted ends the session; the next one goes on.
    client.on('error', () => {})
    try {
      await client.connect()
      while (!signal.aborted) {
        await client.query(change)
        changes += 1
        await new Promise((done) => setTimeout(done, 200))
      }
    } catch {
      await new Promise((done) => setTimeout(done, 200))
    } finally {
      await client.end().catch(() => {})
    }
  }
  return changes
}
