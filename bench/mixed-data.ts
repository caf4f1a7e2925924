/** SQL for a database of about `size` megabytes: narrow integers, wide text, jsonb, incompressible bytea and many small tables, about a quarter of the bytes each. */
export function mixedSql(size: number): string {
  const rows = (perMegabyte: number): number => Math.round(size * perMegabyte)
  return `
CREATE TABLE narrow AS SELECT g AS id, (g::bigint * 7919) % 1000003 AS a, g % 97 AS b, timestamptz '2025-01-01' + g * interval '1 s' AS at
  FROM generate_series(1, ${rows(4500)}) g;
CREATE TABLE wide AS SELECT g AS id, repeat(md5(g::text), 10) || md5((g * 3)::text) AS body, md5((g * 7)::text) AS title, (g * 1.37)::numeric(12,2) AS amount
  FROM generate_series(1, ${rows(600)}) g;
CREATE TABLE document AS SELECT g AS id, jsonb_build_object('id', g, 'name', md5(g::text), 'tags', ARRAY[g % 10, g % 7], 'x', g * 1.5) AS body
  FROM generate_series(1, ${rows(1300)}) g;
CREATE TABLE picture AS SELECT g AS id, (SELECT string_agg(sha512((g || '.' || i)::bytea), '') FROM generate_series(1, 128) i) AS data
  FROM generate_series(1, ${rows(28)}) g;
ALTER TABLE narrow ADD PRIMARY KEY (id);
ALTER TABLE wide ADD PRIMARY KEY (id);
CREATE INDEX ON document ((body ->> 'name'));
DO $$ BEGIN FOR i IN 1..100 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 100) g', i); END LOOP; END $$;`
}
