/**
 * For psql, in the restored database, with the decrypted evidence beside it: prints tables, sequences and large objects
 * that are not as the evidence says, and ends with an error if there are any. It makes no object, so that no event
 * trigger fires. Partitions between which a restore moves rows (`root`) are counted together, as at a drill.
 */
export const compareSql = `\\set evidence \`cat evidence.json\`
\\set VERBOSITY terse
SET search_path = pg_catalog;
SET row_security = off;
WITH evidence AS (SELECT :'evidence'::json AS said),
expected AS (
  SELECT format('table %I.%I', coalesce(root->>'schema', schema), coalesce(root->>'name', name)) AS object,
         rows AS number, 0 AS direction, to_regclass(format('%I.%I', schema, name)) IS NOT NULL AS is_there,
         format('SELECT count(*) FROM ONLY %I.%I %s', schema, name, condition) AS question
    FROM evidence, json_to_recordset(said->'tables') AS t (schema text, name text, rows bigint, condition text, root json)
   WHERE rows IS NOT NULL
  UNION ALL
  SELECT format('sequence %I.%I', schema, name), "lastValue", sign(increment), to_regclass(format('%I.%I', schema, name)) IS NOT NULL,
         format('SELECT last_value FROM %I.%I', schema, name)
    FROM evidence, json_to_recordset(said->'sequences') AS s (schema text, name text, "lastValue" bigint, increment bigint, "isCycling" boolean)
   WHERE NOT "isCycling"
  UNION ALL
  SELECT 'large objects', (said->'largeObjects'->>'count')::bigint, 0, true, 'SELECT count(*) FROM pg_largeobject_metadata'
    FROM evidence),
answered AS (
  SELECT *, CASE WHEN is_there THEN (xpath('/row/*/text()', query_to_xml(question, false, true, '')))[1]::text::bigint END AS answer
    FROM expected),
compared AS (
  SELECT object, sum(number) AS number, CASE WHEN bool_and(is_there) THEN sum(answer) END AS answer, min(direction) AS direction
    FROM answered GROUP BY object)
SELECT count(*) AS compared,
       coalesce(string_agg(format('%s: expected %s, restored %s', object, number, coalesce(answer::text, 'missing')), E'\\n' ORDER BY object)
         FILTER (WHERE answer IS NULL OR answer * direction < number * direction OR (direction = 0 AND answer <> number)), '') AS differences
  FROM compared \\gset
SELECT :'differences' = '' AS same \\gset
\\if :same
  \\echo :compared 'counts compared: all as expected'
\\else
  \\echo :differences
  DO $$ BEGIN RAISE EXCEPTION 'restored is not what was backed up'; END $$;
\\endif
`
