import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { structureQuestion } from '../../src/compare/compare-structure.ts'
import type { Evidence } from '../../src/domain/evidence.ts'
import {
  compareStructure,
  deparsedFacets,
  type StructureDifference,
  type StructureObject,
} from '../../src/domain/structure.ts'
import { type Client, connect } from '../../src/postgres/connect.ts'
import { normaliseDeparsed } from '../../src/structure/deparsed-text.ts'
import { objectQueries } from '../../src/structure/objects.ts'
import { dumpAndRestore, openSandbox, type Sandbox, signal } from '../postgres/sandbox.ts'
import { major } from '../postgres/spool-root.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'

async function readObjects(client: Client, only?: string): Promise<StructureObject[]> {
  const objects: StructureObject[] = []
  for (const { kind, sql } of objectQueries(major)) {
    if (only !== undefined && kind !== only) continue
    const { rows } = await client.query<Omit<StructureObject, 'kind'>>(sql)
    expect(new Set(rows.map(({ name }) => name)).size, `names of kind ${kind}`).toBe(rows.length)
    // As structure.ts writes them.
    const written = ([facet, text]: [string, string]): [string, string] => [
      facet,
      deparsedFacets.has(facet) ? normaliseDeparsed(text) : text,
    ]
    objects.push(
      ...rows.map(({ name, facets }) => ({
        kind,
        name,
        facets: Object.fromEntries(Object.entries(facets).map(written)),
      })),
    )
  }
  return objects
}

function differencesOf(expected: StructureObject[], restored: StructureObject[]): StructureDifference[] {
  const evidence = { structure: expected, omissions: [] } as unknown as Evidence
  const majors = { source: major, scratch: major }
  return [...compareStructure(structureQuestion(restored, { evidence, majors, notes: [] })).differences]
}

/** `kind name: facet, facet` or `kind name missing`. */
function shortly({ kind, name, result, facets }: StructureDifference): string {
  const what = result === 'differs' ? `: ${facets.map(({ facet }) => facet).join(', ')}` : ` ${result}`
  return `${kind} ${name}`.trim() + what
}

const roles = ['pgproof_objects_app', 'pgproof_objects "odd"', 'pgproof_objects_owner'] as const
const [app, odd, owner] = ['pgproof_objects_app', '"pgproof_objects ""odd"""', 'pgproof_objects_owner'] as const

/** Everything that can hang in a database besides relations, awkward names and all. */
const rich = `
  CREATE SCHEMA s AUTHORIZATION ${owner}; CREATE SCHEMA "s.""x"; GRANT USAGE ON SCHEMA s TO ${app} WITH GRANT OPTION;
  SET SESSION AUTHORIZATION ${app}; GRANT USAGE ON SCHEMA s TO ${odd}; RESET SESSION AUTHORIZATION;
  COMMENT ON SCHEMA s IS 'the schema'; REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON SCHEMA public TO ${app}; COMMENT ON SCHEMA public IS NULL;
  CREATE TYPE s.mood AS ENUM ('sad', 'it''s', 'glad'); ALTER TYPE s.mood ADD VALUE 'first' BEFORE 'sad'; COMMENT ON TYPE s.mood IS 'mood';
  GRANT USAGE ON TYPE s.mood TO ${app}; REVOKE USAGE ON TYPE s.mood FROM PUBLIC; ALTER TYPE s.mood OWNER TO ${owner};
  CREATE DOMAIN s.short AS varchar(5) COLLATE "C" DEFAULT 'x' || 'y' NOT NULL CHECK (VALUE IN ('a', 'b', 'xy')); CREATE DOMAIN s.plain AS s.short[];
  CREATE FUNCTION s.diff(text, text) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 1::float8';
  CREATE TYPE s.words AS RANGE (subtype = text, collation = "POSIX", subtype_opclass = text_pattern_ops, subtype_diff = s.diff, multirange_type_name = s.many_words);
  CREATE TYPE s.whole AS RANGE (subtype = int8);
  CREATE TYPE s.base;
  CREATE FUNCTION s.base_in(cstring) RETURNS s.base LANGUAGE internal IMMUTABLE STRICT AS 'textin'; CREATE FUNCTION s.base_out(s.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
  CREATE FUNCTION s.base_recv(internal) RETURNS s.base LANGUAGE internal STABLE STRICT AS 'textrecv'; CREATE FUNCTION s.base_send(s.base) RETURNS bytea LANGUAGE internal STABLE STRICT AS 'textsend';
  CREATE FUNCTION s.base_modin(cstring[]) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodin'; CREATE FUNCTION s.base_modout(int) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodout';
  CREATE FUNCTION s.base_analyze(internal) RETURNS bool LANGUAGE internal STRICT AS 'ts_typanalyze';
  CREATE TYPE s.base (INPUT = s.base_in, OUTPUT = s.base_out, RECEIVE = s.base_recv, SEND = s.base_send, TYPMOD_IN = s.base_modin, TYPMOD_OUT = s.base_modout, ANALYZE = s.base_analyze,
    STORAGE = extended, CATEGORY = 'X', PREFERRED = true, DELIMITER = ';', COLLATABLE = true, DEFAULT = 'it''s', ALIGNMENT = int4);
  CREATE TYPE s.pair AS (a int, b text); CREATE TYPE s."empty" AS (); CREATE TYPE s.shell; COMMENT ON TYPE s.shell IS 'a shell';
  CREATE COLLATION s.german (provider = icu, locale = 'de-u-co-phonebk', deterministic = false); CREATE COLLATION s.c (lc_collate = 'C', lc_ctype = 'C.UTF-8');
  COMMENT ON COLLATION s.c IS 'c'; CREATE CONVERSION s.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8; CREATE DEFAULT CONVERSION s.conv2 FOR 'LATIN2' TO 'UTF8' FROM iso8859_to_utf8;

  CREATE FUNCTION s.f(a int, VARIADIC b text[] DEFAULT '{}') RETURNS SETOF text LANGUAGE sql STABLE STRICT SECURITY DEFINER LEAKPROOF PARALLEL SAFE COST 7 ROWS 77
    SET search_path = "$user", 'a b', s SET work_mem = '8MB' AS $$ SELECT 'it''s $a$ \\n' $$;
  CREATE FUNCTION s.f(a s.mood) RETURNS s.mood LANGUAGE plpgsql AS $$BEGIN\r\n RETURN a; END$$; COMMENT ON FUNCTION s.f(s.mood) IS 'overloaded';
  CREATE FUNCTION s.atomic(v varchar, OUT x bool, OUT y int) RETURNS record BEGIN ATOMIC SELECT v IN ('a', 'it''s', 'c'), CASE WHEN v = ANY (ARRAY['q', 'r']) THEN 1 ELSE 2 END; END;
  CREATE FUNCTION s.defaults(a int DEFAULT 1 + 2, b varchar DEFAULT 'x', c bool DEFAULT 'a'::varchar IN ('a', 'b')) RETURNS int LANGUAGE sql RETURN 1;
  CREATE FUNCTION s.listed(a int) RETURNS TABLE (x int, "y z" text) LANGUAGE sql AS 'SELECT 1, ''y''';
  CREATE FUNCTION s."odd (name"("a b" int, INOUT "c,d" text) LANGUAGE sql AS 'SELECT ''x''::text';
  CREATE PROCEDURE s.p(IN a int, OUT b int) LANGUAGE plpgsql AS 'BEGIN b := a; COMMIT; END'; GRANT EXECUTE ON PROCEDURE s.p(int) TO ${app}; REVOKE EXECUTE ON PROCEDURE s.p(int) FROM PUBLIC;
  CREATE FUNCTION s.win() RETURNS int8 LANGUAGE internal WINDOW IMMUTABLE STRICT AS 'window_row_number';
  CREATE FUNCTION s.current_path() RETURNS int LANGUAGE sql SET search_path FROM CURRENT AS 'SELECT 1';
  CREATE FUNCTION s.on_hstore() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE EXTENSION hstore SCHEMA s; ALTER FUNCTION s.on_hstore() DEPENDS ON EXTENSION hstore;
  CREATE FUNCTION s.c_function(text) RETURNS text LANGUAGE c STRICT AS '$libdir/citext', 'citext_hash';
  CREATE FUNCTION s.supported(int) RETURNS int LANGUAGE internal IMMUTABLE STRICT SUPPORT pg_catalog.generate_series_int4_support AS 'int4abs';
  ALTER FUNCTION s.f(s.mood) OWNER TO ${owner}; GRANT EXECUTE ON FUNCTION s.f(s.mood) TO ${odd};

  CREATE AGGREGATE s.total(int) (SFUNC = int4_sum, STYPE = int8, SSPACE = 100, INITCOND = '0', FINALFUNC = int8abs, FINALFUNC_MODIFY = SHAREABLE, COMBINEFUNC = int8pl, PARALLEL = SAFE,
    MSFUNC = int4_avg_accum, MINVFUNC = int4_avg_accum_inv, MSTYPE = int8[], MSSPACE = 5, MINITCOND = '{0,0}', MFINALFUNC = int2int4_sum, MFINALFUNC_MODIFY = SHAREABLE);
  CREATE AGGREGATE s.parallel(numeric) (SFUNC = numeric_avg_accum, STYPE = internal, FINALFUNC = numeric_avg, COMBINEFUNC = numeric_avg_combine, SERIALFUNC = numeric_avg_serialize, DESERIALFUNC = numeric_avg_deserialize);
  CREATE AGGREGATE s.largest(int) (SFUNC = int4larger, STYPE = int, SORTOP = >); CREATE AGGREGATE s.all_of(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
  CREATE AGGREGATE s.share(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
  CREATE AGGREGATE s.place(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
  COMMENT ON AGGREGATE s.total(int) IS 'sums'; GRANT EXECUTE ON FUNCTION s.total(int) TO ${app};

  CREATE FUNCTION s.same(s.pair, s.pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; CREATE FUNCTION s.other(s.pair, s.pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
  CREATE OPERATOR s.=== (FUNCTION = s.same, LEFTARG = s.pair, RIGHTARG = s.pair, COMMUTATOR = OPERATOR(s.===), NEGATOR = OPERATOR(s.!==), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
  CREATE OPERATOR s.!== (FUNCTION = s.other, LEFTARG = s.pair, RIGHTARG = s.pair, COMMUTATOR = OPERATOR(s.!==), NEGATOR = OPERATOR(s.===));
  CREATE OPERATOR s.@@@ (FUNCTION = int4abs, RIGHTARG = int); COMMENT ON OPERATOR s.@@@ (NONE, int) IS 'absolute'; CREATE OPERATOR s.<<< (FUNCTION = int4lt, LEFTARG = int, RIGHTARG = int, COMMUTATOR = OPERATOR(s.>>>));
  CREATE OPERATOR FAMILY s.fam USING btree; ALTER OPERATOR FAMILY s.fam USING btree ADD OPERATOR 1 < (int4, int8), OPERATOR 3 = (int4, int8), FUNCTION 1 (int4, int8) btint48cmp(int4, int8);
  CREATE OPERATOR CLASS s.ints FOR TYPE int4 USING btree FAMILY s.fam AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int4, int4);
  CREATE OPERATOR CLASS s.points DEFAULT FOR TYPE s.pair USING hash AS OPERATOR 1 s.===, FUNCTION 1 hash_record(record); CREATE OPERATOR CLASS s.near FOR TYPE point USING gist AS OPERATOR 15 <-> FOR ORDER BY float_ops, STORAGE box;
  COMMENT ON OPERATOR CLASS s.ints USING btree IS 'ints'; COMMENT ON OPERATOR FAMILY s.fam USING btree IS 'family';
  CREATE FUNCTION s.to_text(s.pair) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''x'''; CREATE CAST (s.pair AS text) WITH FUNCTION s.to_text(s.pair) AS ASSIGNMENT; CREATE CAST (s.base AS text) WITHOUT FUNCTION AS IMPLICIT;
  CREATE CAST (s.mood AS int8) WITH INOUT; CREATE CAST (int8 AS timestamptz) WITH INOUT; COMMENT ON CAST (s.mood AS int8) IS 'odd';
  CREATE FUNCTION s.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'; CREATE FUNCTION s.inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
  CREATE FUNCTION s.validator(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator'; CREATE TRUSTED LANGUAGE other HANDLER s.handler INLINE s.inline VALIDATOR s.validator;
  COMMENT ON LANGUAGE other IS 'another'; GRANT USAGE ON LANGUAGE other TO ${app}; REVOKE USAGE ON LANGUAGE other FROM PUBLIC;
  CREATE FUNCTION s.from_sql(internal) RETURNS internal LANGUAGE internal IMMUTABLE STRICT AS 'prsd_lextype'; CREATE TRANSFORM FOR s.pair LANGUAGE other (FROM SQL WITH FUNCTION s.from_sql(internal)); COMMENT ON TRANSFORM FOR s.pair LANGUAGE other IS 'transform';
  CREATE FUNCTION s.transformed(s.pair) RETURNS int TRANSFORM FOR TYPE s.pair LANGUAGE other AS 'BEGIN RETURN 1; END';
  CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; COMMENT ON ACCESS METHOD heap2 IS 'heap';

  CREATE TEXT SEARCH PARSER s.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline); CREATE TEXT SEARCH TEMPLATE s.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
  CREATE TEXT SEARCH DICTIONARY s.dictionary (TEMPLATE = s.template, Accept = false, StopWords = 'english'); CREATE TEXT SEARCH DICTIONARY s.plain (TEMPLATE = simple);
  CREATE TEXT SEARCH CONFIGURATION s.config (PARSER = s.parser); ALTER TEXT SEARCH CONFIGURATION s.config ADD MAPPING FOR asciiword, word WITH s.dictionary, english_stem, simple; ALTER TEXT SEARCH CONFIGURATION s.config ADD MAPPING FOR url WITH simple;
  COMMENT ON TEXT SEARCH PARSER s.parser IS 'parser'; COMMENT ON TEXT SEARCH TEMPLATE s.template IS 'template'; COMMENT ON TEXT SEARCH DICTIONARY s.dictionary IS 'dictionary'; COMMENT ON TEXT SEARCH CONFIGURATION s.config IS 'config';

  CREATE FOREIGN DATA WRAPPER wrapper VALIDATOR postgresql_fdw_validator; CREATE FOREIGN DATA WRAPPER bare OPTIONS (z '1', a 'b'); COMMENT ON FOREIGN DATA WRAPPER wrapper IS 'wrapper'; GRANT USAGE ON FOREIGN DATA WRAPPER wrapper TO ${app};
  CREATE SERVER far TYPE 'kind' VERSION '1.0' FOREIGN DATA WRAPPER wrapper OPTIONS (port '1', host 'a'); CREATE SERVER "far ""2" TYPE '' FOREIGN DATA WRAPPER wrapper; COMMENT ON SERVER far IS 'server'; GRANT USAGE ON FOREIGN SERVER far TO ${app}; ALTER SERVER far OWNER TO ${owner};
  CREATE USER MAPPING FOR ${odd} SERVER "far ""2" OPTIONS (user 'u', password 'secret'); CREATE USER MAPPING FOR PUBLIC SERVER far;
  CREATE EXTENSION pg_trgm SCHEMA public; COMMENT ON EXTENSION pg_trgm IS NULL; COMMENT ON EXTENSION hstore IS 'other words'; CREATE EXTENSION lo; CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
  GRANT EXECUTE ON FUNCTION public.similarity(text, text) TO ${app}; REVOKE EXECUTE ON FUNCTION public.set_limit(real) FROM PUBLIC; REVOKE USAGE ON TYPE s.hstore FROM PUBLIC; GRANT USAGE ON FOREIGN DATA WRAPPER file_fdw TO ${odd}; GRANT USAGE ON LANGUAGE plpgsql TO ${app};
  GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO ${app}; GRANT SELECT (rolname), SELECT (rolpassword) ON pg_catalog.pg_authid TO ${app}; REVOKE SELECT ON pg_catalog.pg_settings FROM PUBLIC; GRANT SELECT ON information_schema.tables TO ${app};
  CREATE FUNCTION s.on_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION s.on_event();
  ALTER EVENT TRIGGER watch ENABLE ALWAYS; COMMENT ON EVENT TRIGGER watch IS 'watches'; CREATE EVENT TRIGGER asleep ON sql_drop EXECUTE FUNCTION s.on_event(); ALTER EVENT TRIGGER asleep DISABLE;
  ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} GRANT SELECT ON TABLES TO ${app} WITH GRANT OPTION; ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA s GRANT ALL ON SEQUENCES TO ${odd}; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
  ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} REVOKE ALL ON TYPES FROM PUBLIC, ${owner}; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO ${app};
  SELECT lo_from_bytea(g, 'x') FROM generate_series(1001, 1010) g; ALTER LARGE OBJECT 1001 OWNER TO ${owner}; GRANT SELECT ON LARGE OBJECT 1002 TO ${app}; REVOKE ALL ON LARGE OBJECT 1003 FROM postgres; COMMENT ON LARGE OBJECT 1004 IS 'four'`

let source: Sandbox
let copy: Sandbox
let expected: StructureObject[]
beforeAll(async () => {
  for (const role of roles) await query(testUrl(), `CREATE ROLE "${role.replaceAll('"', '""')}"`)
  source = await openSandbox(rich)
  copy = await openSandbox()
  await dumpAndRestore(source.connection, copy.connection)
  expected = await readObjects(source.client)
})
afterAll(async () => {
  await source?.[Symbol.asyncDispose]()
  await copy?.[Symbol.asyncDispose]()
  for (const role of roles) await query(testUrl(), `DROP ROLE IF EXISTS "${role.replaceAll('"', '""')}"`)
})

describe('a healthy copy', () => {
  it('every kind of object with awkward names, rights and texts - no difference', async () => {
    expect(differencesOf(expected, await readObjects(copy.client))).toEqual([])
    const kinds = new Set(expected.map(({ kind }) => kind))
    const absent = objectQueries(major).filter(({ kind }) => !kinds.has(kind))
    expect(absent.map(({ kind }) => kind)).toEqual(['publication', 'subscription', 'database setting'])
  })

  it('restored once more - no difference either', async () => {
    await using second = await openSandbox()
    await dumpAndRestore(copy.connection, second.connection)
    expect(differencesOf(expected, await readObjects(second.client))).toEqual([])
  })

  it('a role with pg_read_all_data alone - reads the same', async () => {
    const role = `reader_${source.database}`
    await source.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'x' IN ROLE pg_read_all_data`)
    try {
      await using held = await connect({ ...source.connection, user: role, password: () => 'x' }, signal)
      const differences = differencesOf(expected, await readObjects(held.client))
      // pg_dump as this role would not have these options either.
      expect(differences.map(shortly)).toEqual(['user mapping "pgproof_objects ""odd""" SERVER "far ""2": options'])
    } finally {
      await query(testUrl(), `DROP ROLE ${role}`)
    }
  })

  it('public and plpgsql dropped, which no dump says - no difference; anything else unexpected is one', async () => {
    await using bare = await openSandbox('DROP SCHEMA public; DROP EXTENSION plpgsql')
    await using restored = await openSandbox()
    await dumpAndRestore(bare.connection, restored.connection)
    const before = await readObjects(bare.client)
    expect(differencesOf(before, await readObjects(restored.client))).toEqual([])
    await restored.sql('CREATE SCHEMA other')
    expect(differencesOf(before, await readObjects(restored.client)).map(shortly)).toEqual(['schema other unexpected'])
  })

  it('plpgsql made anew, public made anew by another - no difference', async () => {
    await using anew = await openSandbox(
      `DROP EXTENSION plpgsql; CREATE EXTENSION plpgsql; COMMENT ON EXTENSION plpgsql IS 'mine'; DROP SCHEMA public; CREATE SCHEMA public AUTHORIZATION ${owner}; GRANT ALL ON SCHEMA public TO PUBLIC`,
    )
    await using restored = await openSandbox()
    await dumpAndRestore(anew.connection, restored.connection)
    expect(differencesOf(await readObjects(anew.client), await readObjects(restored.client))).toEqual([])
  })
})

it('extensions and rights of another superuser, restored by this one - no difference', async () => {
  const role = 'pgproof_objects_super'
  await query(testUrl(), `CREATE ROLE ${role} SUPERUSER`)
  try {
    await using made =
      await openSandbox(`SET SESSION AUTHORIZATION ${role}; CREATE EXTENSION pg_trgm; CREATE EXTENSION lo; CREATE EXTENSION ltree;
      GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO postgres, ${app}; REVOKE EXECUTE ON FUNCTION public.set_limit(real) FROM PUBLIC, ${role};
      GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO ${app}, ${role}; GRANT USAGE ON LANGUAGE plpgsql TO ${app} WITH GRANT OPTION; RESET SESSION AUTHORIZATION;
      SET SESSION AUTHORIZATION ${app}; GRANT USAGE ON LANGUAGE plpgsql TO ${odd}; RESET SESSION AUTHORIZATION; REASSIGN OWNED BY ${app} TO ${owner}`)
    await using restored = await openSandbox()
    await dumpAndRestore(made.connection, restored.connection)
    const before = await readObjects(made.client)
    expect(differencesOf(before, await readObjects(restored.client))).toEqual([])
    expect(before.filter(({ kind }) => kind === 'extension member grants').length).toBeGreaterThan(20)
    await restored.sql(`REVOKE EXECUTE ON FUNCTION public.similarity(text, text) FROM ${app}`)
    expect(differencesOf(before, await readObjects(restored.client)).map(shortly)).toEqual([
      'extension member grants FUNCTION public.similarity(text,text) missing',
    ])
  } finally {
    await query(testUrl(), `DROP ROLE ${role}`)
  }
})

it('an extension that one superuser made and gave to another - no difference; rights of others are seen as before', async () => {
  const role = 'pgproof_objects_maker'
  await query(testUrl(), `CREATE ROLE ${role} SUPERUSER`)
  try {
    await using made =
      await openSandbox(`SET SESSION AUTHORIZATION ${role}; CREATE EXTENSION pgstattuple; CREATE EXTENSION pg_stat_statements; RESET SESSION AUTHORIZATION;
      REASSIGN OWNED BY ${role} TO postgres; GRANT EXECUTE ON FUNCTION public.pgstatindex(text) TO ${app}`)
    await using restored = await openSandbox()
    await dumpAndRestore(made.connection, restored.connection)
    const before = await readObjects(made.client)
    expect(differencesOf(before, await readObjects(restored.client))).toEqual([])
    expect(before.filter(({ kind }) => kind === 'extension member grants')).toEqual([
      {
        kind: 'extension member grants',
        name: 'FUNCTION public.pgstatindex(text)',
        facets: { granted: `${app}=EXECUTE` },
      },
    ])
    await restored.sql(
      `GRANT EXECUTE ON FUNCTION public.pgstatindex(text) TO PUBLIC; GRANT EXECUTE ON FUNCTION public.pg_relpages(text) TO ${role}`,
    )
    expect(differencesOf(before, await readObjects(restored.client)).map(shortly)).toEqual([
      'extension member grants FUNCTION public.pg_relpages(text) unexpected',
      'extension member grants FUNCTION public.pgstatindex(text): granted',
    ])
  } finally {
    await query(testUrl(), `DROP ROLE ${role}`)
  }
})

/** One thing changed in the copy, and what is said of it. */
const changes: Record<string, string> = {
  'schema s: comment': "COMMENT ON SCHEMA s IS 'x'",
  'schema s: grants': `REVOKE GRANT OPTION FOR USAGE ON SCHEMA s FROM ${app} CASCADE; GRANT USAGE ON SCHEMA s TO ${odd}`,
  'schema public: grants': 'GRANT CREATE ON SCHEMA public TO PUBLIC',
  'schema public: comment': "COMMENT ON SCHEMA public IS 'x'",
  'schema "s.""x" missing': 'DROP SCHEMA "s.""x"',
  'enum type s.mood: labels': "UPDATE pg_enum SET enumsortorder = -enumsortorder WHERE enumlabel = 'glad'",
  'enum type s.mood: owner':
    "UPDATE pg_type SET typowner = 10 WHERE typname = 'mood'; UPDATE pg_type SET typacl = NULL WHERE typname = 'none'",
  'enum type s.mood: grants': `REVOKE USAGE ON TYPE s.mood FROM ${app}`,
  'enum type s.mood: comment': 'COMMENT ON TYPE s.mood IS NULL',
  'domain s.short: default': "ALTER DOMAIN s.short SET DEFAULT 'a'",
  'domain s.short: not null': 'ALTER DOMAIN s.short DROP NOT NULL',
  'domain s.short: collation': `UPDATE pg_type SET typcollation = '"POSIX"'::regcollation WHERE typname = 'short'`,
  'domain s.short: type': "UPDATE pg_type SET typtypmod = 10 WHERE typname = 'short'",
  'range type s.words: collation': `UPDATE pg_range SET rngcollation = '"C"'::regcollation WHERE rngtypid = 's.words'::regtype`,
  'range type s.words: operator class': `UPDATE pg_range SET rngsubopc = (SELECT oid FROM pg_opclass WHERE opcname = 'text_ops' AND opcmethod = 403) WHERE rngtypid = 's.words'::regtype`,
  'range type s.words: difference': "UPDATE pg_range SET rngsubdiff = 0 WHERE rngtypid = 's.words'::regtype",
  'range type s.words: canonical':
    "UPDATE pg_range SET rngcanonical = 'int8range_canonical'::regproc WHERE rngtypid = 's.words'::regtype",
  'range type s.words: subtype':
    "UPDATE pg_range SET rngsubtype = 'varchar'::regtype WHERE rngtypid = 's.words'::regtype",
  'range type s.words: multirange': 'ALTER TYPE s.many_words RENAME TO few_words',
  ...Object.fromEntries(
    Object.entries({
      length: 'typlen = 8',
      'by value': 'typbyval = true',
      alignment: "typalign = 'd'",
      storage: "typstorage = 'm'",
      category: "typcategory = 'U'",
      preferred: 'typispreferred = false',
      delimiter: "typdelim = ','",
      element: "typelem = 'int4'::regtype",
      collatable: 'typcollation = 0',
      default: "typdefault = 'x'",
      input: "typinput = 'textin'::regproc",
      output: "typoutput = 'textout'::regproc",
      receive: 'typreceive = 0',
      send: 'typsend = 0',
      'modifier input': 'typmodin = 0',
      'modifier output': 'typmodout = 0',
      analyze: 'typanalyze = 0',
      subscript: "typsubscript = 'raw_array_subscript_handler'::regproc",
    }).map(([facet, change]) => [
      `base type s.base: ${facet}`,
      `UPDATE pg_type SET ${change} WHERE oid = 's.base'::regtype`,
    ]),
  ),
  'composite type s.pair: grants, owner': `ALTER TYPE s.pair OWNER TO ${owner}`,
  'composite type s.pair: grants': 'REVOKE USAGE ON TYPE s.pair FROM PUBLIC',
  'composite type s.empty missing': 'DROP TYPE s."empty"',
  'shell type s.shell: comment': 'COMMENT ON TYPE s.shell IS NULL',
  'collation s.german: deterministic': "UPDATE pg_collation SET collisdeterministic = true WHERE collname = 'german'",
  'collation s.german: locale': `UPDATE pg_collation SET ${major >= 17 ? 'colllocale' : 'colliculocale'} = 'de' WHERE collname = 'german'`,
  'collation s.c: collate':
    "UPDATE pg_collation SET collcollate = 'POSIX' WHERE collname = 'c' AND collowner >= 10 AND collnamespace = 's'::regnamespace",
  'collation s.c: ctype':
    "UPDATE pg_collation SET collctype = 'C' WHERE collnamespace = 's'::regnamespace AND collname = 'c'",
  'collation s.c: owner': `ALTER COLLATION s.c OWNER TO ${owner}`,
  'collation s.c: comment': 'COMMENT ON COLLATION s.c IS NULL',
  'conversion s.conv: function': "UPDATE pg_conversion SET conproc = 'iso8859_to_utf8'::regproc WHERE conname = 'conv'",
  'conversion s.conv: from': "UPDATE pg_conversion SET conforencoding = 9 WHERE conname = 'conv'",
  'conversion s.conv: to': "UPDATE pg_conversion SET contoencoding = 9 WHERE conname = 'conv'",
  'conversion s.conv2: is default': "UPDATE pg_conversion SET condefault = false WHERE conname = 'conv2'",

  ...Object.fromEntries(
    Object.entries({
      arguments: "proargnames = '{x,b}'",
      default: 'pronargdefaults = 0, proargdefaults = NULL',
      result: "prorettype = 'varchar'::regtype",
      language: "prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')",
      volatility: "provolatile = 'v'",
      strict: 'proisstrict = false',
      'security definer': 'prosecdef = false',
      leakproof: 'proleakproof = false',
      parallel: "proparallel = 'r'",
      cost: 'procost = 8',
      rows: 'prorows = 78',
      support: "prosupport = 'generate_series_int4_support'::regproc",
      settings: 'proconfig = ARRAY[\'work_mem=8MB\', \'search_path="$user", "b a", s\']',
      transforms: "protrftypes = '{23}'",
      source: "prosrc = prosrc || ' '",
      library: "probin = 'x'",
      owner: `proowner = '${owner}'::regrole, proacl = NULL`,
      grants: "proacl = '{=X/postgres}'",
    }).map(([facet, change]) => [
      `function s.f(integer, text[]): ${facet === 'owner' ? 'grants, owner' : facet}`,
      `UPDATE pg_proc SET ${change} WHERE oid = 's.f(int, text[])'::regprocedure`,
    ]),
  ),
  'function s.f(s.mood): comment': 'COMMENT ON FUNCTION s.f(s.mood) IS NULL',
  'function s.f(s.mood): source':
    'CREATE OR REPLACE FUNCTION s.f(a s.mood) RETURNS s.mood LANGUAGE plpgsql AS $$BEGIN\n RETURN a; END$$',
  'function s.atomic(character varying): definition':
    "CREATE OR REPLACE FUNCTION s.atomic(v varchar, OUT x bool, OUT y int) RETURNS record BEGIN ATOMIC SELECT v IN ('a', 'its', 'c'), CASE WHEN v = ANY (ARRAY['q', 'r']) THEN 1 ELSE 2 END; END",
  'function s.on_hstore(): depends on extension': 'ALTER FUNCTION s.on_hstore() NO DEPENDS ON EXTENSION hstore',
  'function s."odd (name"(integer, text) missing': 'DROP FUNCTION s."odd (name"',
  'procedure s.p(integer): grants': 'GRANT EXECUTE ON PROCEDURE s.p(int) TO PUBLIC',
  'window function s.win(): volatility': 'ALTER FUNCTION s.win() VOLATILE',
  ...Object.fromEntries(
    Object.entries({
      'transition function': "aggtransfn = 'int8pl'::regproc",
      'transition type': "aggtranstype = 'int4'::regtype",
      'transition space': 'aggtransspace = 1',
      'initial value': "agginitval = '1'",
      'final function': 'aggfinalfn = 0',
      'final function extra': 'aggfinalextra = true',
      'final function modify': "aggfinalmodify = 'r'",
      'combine function': 'aggcombinefn = 0',
      'serial function': "aggserialfn = 'numeric_avg_serialize'::regproc",
      'deserial function': "aggdeserialfn = 'numeric_avg_deserialize'::regproc",
      'moving transition function': "aggmtransfn = 'int2_avg_accum'::regproc",
      'moving inverse function': "aggminvtransfn = 'int2_avg_accum_inv'::regproc",
      'moving transition type': "aggmtranstype = 'int4[]'::regtype",
      'moving transition space': 'aggmtransspace = 6',
      'moving initial value': "aggminitval = '{1,0}'",
      'moving final function': 'aggmfinalfn = 0',
      'moving final function extra': 'aggmfinalextra = true',
      'moving final function modify': "aggmfinalmodify = 'r'",
      'sort operator': 'aggsortop = 521',
    }).map(([facet, change]) => [
      `aggregate s.total(integer): ${facet}`,
      `UPDATE pg_aggregate SET ${change} WHERE aggfnoid = 's.total(int)'::regprocedure`,
    ]),
  ),
  'aggregate s.place("any"): kind': "UPDATE pg_aggregate SET aggkind = 'o' WHERE aggfnoid = 's.place'::regproc",
  'aggregate s.share(double precision, anyelement): arguments, direct arguments':
    "UPDATE pg_aggregate SET aggnumdirectargs = 0 WHERE aggfnoid = 's.share(float8, anyelement)'::regprocedure",
  'aggregate s.total(integer): parallel':
    "UPDATE pg_proc SET proparallel = 'u' WHERE oid = 's.total(int)'::regprocedure",
  'aggregate s.total(integer): comment': 'COMMENT ON AGGREGATE s.total(int) IS NULL',
  'aggregate s.total(integer): grants': `REVOKE EXECUTE ON FUNCTION s.total(int) FROM ${app}`,
  ...Object.fromEntries(
    Object.entries({
      function: "oprcode = 's.other'::regproc",
      commutator: 'oprcom = 0',
      negator: 'oprnegate = 0',
      restrict: 'oprrest = 0',
      join: 'oprjoin = 0',
      merges: 'oprcanmerge = false',
      hashes: 'oprcanhash = false',
      result: "oprresult = 'int4'::regtype",
      owner: `oprowner = '${owner}'::regrole`,
    }).map(([facet, change]) => [
      `operator s.===(s.pair, s.pair): ${facet}`,
      `UPDATE pg_operator SET ${change} WHERE oid = 's.===(s.pair, s.pair)'::regoperator`,
    ]),
  ),
  'operator s.@@@(NONE, integer): comment': 'COMMENT ON OPERATOR s.@@@ (NONE, int) IS NULL',
  'operator s.<<<(integer, integer) missing': 'DROP OPERATOR s.<<< (int, int)',
  'operator class s.ints USING btree: operators':
    "DELETE FROM pg_amop WHERE amopopr = '<=(int4,int4)'::regoperator AND amopfamily = (SELECT oid FROM pg_opfamily WHERE opfname = 'fam')",
  'operator class s.ints USING btree: functions':
    "UPDATE pg_amproc SET amprocnum = 2 WHERE amproc = 'btint4cmp'::regproc AND amprocfamily = (SELECT oid FROM pg_opfamily WHERE opfname = 'fam')",
  'operator class s.points USING hash: is default': "UPDATE pg_opclass SET opcdefault = false WHERE opcname = 'points'",
  'operator class s.near USING gist: storage': "UPDATE pg_opclass SET opckeytype = 0 WHERE opcname = 'near'",
  'operator class s.ints USING btree: comment': 'COMMENT ON OPERATOR CLASS s.ints USING btree IS NULL',
  'operator class s.ints USING btree: owner': `ALTER OPERATOR CLASS s.ints USING btree OWNER TO ${owner}`,
  'operator family s.fam USING btree: operators':
    'ALTER OPERATOR FAMILY s.fam USING btree DROP OPERATOR 1 (int4, int8)',
  'operator family s.fam USING btree: functions':
    'ALTER OPERATOR FAMILY s.fam USING btree DROP FUNCTION 1 (int4, int8)',
  'operator family s.fam USING btree: comment': 'COMMENT ON OPERATOR FAMILY s.fam USING btree IS NULL',
  'cast (s.pair AS text): context': "UPDATE pg_cast SET castcontext = 'i' WHERE castsource = 's.pair'::regtype",
  'cast (s.pair AS text): function':
    "UPDATE pg_cast SET castfunc = 's.base_send'::regproc WHERE castsource = 's.pair'::regtype",
  'cast (s.mood AS bigint): method': "UPDATE pg_cast SET castmethod = 'b' WHERE castsource = 's.mood'::regtype",
  'cast (s.mood AS bigint): comment': 'COMMENT ON CAST (s.mood AS int8) IS NULL',
  'cast (bigint AS timestamp with time zone) missing': 'DROP CAST (int8 AS timestamptz)',
  'procedural language other: trusted, grants': "UPDATE pg_language SET lanpltrusted = false WHERE lanname = 'other'",
  'procedural language other: handler':
    "UPDATE pg_language SET lanplcallfoid = 'plpgsql_call_handler'::regproc WHERE lanname = 'other'",
  'procedural language other: inline': "UPDATE pg_language SET laninline = 0 WHERE lanname = 'other'",
  'procedural language other: validator': "UPDATE pg_language SET lanvalidator = 0 WHERE lanname = 'other'",
  'procedural language other: comment': 'COMMENT ON LANGUAGE other IS NULL',
  'procedural language other: grants': 'GRANT USAGE ON LANGUAGE other TO PUBLIC',
  'transform FOR s.pair LANGUAGE other: from sql': 'UPDATE pg_transform SET trffromsql = 0',
  'transform FOR s.pair LANGUAGE other: to sql': "UPDATE pg_transform SET trftosql = 's.from_sql'::regproc",
  'transform FOR s.pair LANGUAGE other: comment': 'COMMENT ON TRANSFORM FOR s.pair LANGUAGE other IS NULL',
  'access method heap2: comment': 'COMMENT ON ACCESS METHOD heap2 IS NULL',
  'access method heap2: type': "UPDATE pg_am SET amtype = 'i' WHERE amname = 'heap2'",
  'access method heap2: handler': "UPDATE pg_am SET amhandler = 'bthandler'::regproc WHERE amname = 'heap2'",
  'text search parser s.parser: headline': "UPDATE pg_ts_parser SET prsheadline = 0 WHERE prsname = 'parser'",
  'text search parser s.parser: comment': 'COMMENT ON TEXT SEARCH PARSER s.parser IS NULL',
  'text search template s.template: init': "UPDATE pg_ts_template SET tmplinit = 0 WHERE tmplname = 'template'",
  'text search template s.template: lexize':
    "UPDATE pg_ts_template SET tmpllexize = 'dispell_lexize'::regproc WHERE tmplname = 'template'",
  'text search dictionary s.dictionary: options': 'ALTER TEXT SEARCH DICTIONARY s.dictionary (Accept = true)',
  'text search dictionary s.plain: template':
    "UPDATE pg_ts_dict SET dicttemplate = (SELECT oid FROM pg_ts_template WHERE tmplname = 'template') WHERE dictname = 'plain'",
  'text search dictionary s.dictionary: owner': `ALTER TEXT SEARCH DICTIONARY s.dictionary OWNER TO ${owner}`,
  'text search configuration s.config: mappings':
    'ALTER TEXT SEARCH CONFIGURATION s.config ALTER MAPPING FOR word WITH english_stem, s.dictionary, simple',
  'text search configuration s.config: parser':
    "UPDATE pg_ts_config SET cfgparser = (SELECT oid FROM pg_ts_parser WHERE prsname = 'default') WHERE cfgname = 'config'",
  'text search configuration s.config: comment': 'COMMENT ON TEXT SEARCH CONFIGURATION s.config IS NULL',

  'foreign data wrapper bare: options': "ALTER FOREIGN DATA WRAPPER bare OPTIONS (SET a 'c')",
  'foreign data wrapper wrapper: validator': 'ALTER FOREIGN DATA WRAPPER wrapper NO VALIDATOR',
  'foreign data wrapper wrapper: grants': `REVOKE USAGE ON FOREIGN DATA WRAPPER wrapper FROM ${app}`,
  'foreign server far: version': "ALTER SERVER far VERSION '2.0'",
  'foreign server far: type': "UPDATE pg_foreign_server SET srvtype = 'other' WHERE srvname = 'far'",
  'foreign server far: options': 'ALTER SERVER far OPTIONS (DROP host)',
  'foreign server far: foreign data wrapper':
    "UPDATE pg_foreign_server SET srvfdw = (SELECT oid FROM pg_foreign_data_wrapper WHERE fdwname = 'file_fdw') WHERE srvname = 'far'",
  'foreign server far: grants': `GRANT USAGE ON FOREIGN SERVER far TO ${odd}`,
  'foreign server files: grants, owner': `ALTER SERVER files OWNER TO ${owner}`,
  'user mapping "pgproof_objects ""odd""" SERVER "far ""2": options': `ALTER USER MAPPING FOR ${odd} SERVER "far ""2" OPTIONS (SET password 'other')`,
  'user mapping PUBLIC SERVER far missing': 'DROP USER MAPPING FOR PUBLIC SERVER far',
  'extension hstore: comment': "COMMENT ON EXTENSION hstore IS 'x'",
  'extension lo: schema': 'CREATE SCHEMA IF NOT EXISTS s; ALTER EXTENSION lo SET SCHEMA s',
  'extension lo: version': "UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'lo'",
  'extension lo missing': 'DROP EXTENSION lo',
  'extension member grants FUNCTION public.similarity(text,text) missing': `REVOKE EXECUTE ON FUNCTION public.similarity(text, text) FROM ${app}`,
  'extension member grants FUNCTION public.set_limit(real): granted': `GRANT EXECUTE ON FUNCTION public.set_limit(real) TO ${app}`,
  'extension member grants LANGUAGE plpgsql missing': `REVOKE USAGE ON LANGUAGE plpgsql FROM ${app}`,
  'extension member grants FOREIGN DATA WRAPPER file_fdw missing': `REVOKE USAGE ON FOREIGN DATA WRAPPER file_fdw FROM ${odd}`,
  'system object grants FUNCTION pg_read_file(text) missing': `REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM ${app}`,
  'system object grants COLUMN pg_catalog.pg_authid.rolpassword missing': `REVOKE SELECT (rolpassword) ON pg_authid FROM ${app}`,
  'system object grants TABLE pg_catalog.pg_settings missing': 'GRANT SELECT ON pg_settings TO PUBLIC',
  'system object grants SCHEMA pg_catalog unexpected': `GRANT CREATE ON SCHEMA pg_catalog TO ${app}`,
  'event trigger watch: enabled': 'ALTER EVENT TRIGGER watch ENABLE',
  'event trigger watch: tags': "UPDATE pg_event_trigger SET evttags = '{CREATE TABLE}' WHERE evtname = 'watch'",
  'event trigger watch: event': "UPDATE pg_event_trigger SET evtevent = 'ddl_command_start' WHERE evtname = 'watch'",
  'event trigger watch: comment': 'COMMENT ON EVENT TRIGGER watch IS NULL',
  'event trigger asleep missing': 'DROP EVENT TRIGGER asleep',
  'default privileges FOR pgproof_objects_owner ON TABLES missing': `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} REVOKE SELECT ON TABLES FROM ${app}`,
  'default privileges FOR pgproof_objects_owner IN s ON SEQUENCES: grants': `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA s REVOKE UPDATE ON SEQUENCES FROM ${odd}`,
  'default privileges FOR postgres ON FUNCTIONS: grants': `ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO ${app}`,
  'default privileges FOR postgres ON SCHEMAS missing': `ALTER DEFAULT PRIVILEGES REVOKE USAGE ON SCHEMAS FROM ${app}`,
  'large objects: owners and grants': `ALTER LARGE OBJECT 1005 OWNER TO ${owner}`,
  'large objects: comments': "COMMENT ON LARGE OBJECT 1004 IS 'five'",
  'database: connection limit': 'ALTER DATABASE {database} CONNECTION LIMIT 5',
  'database: grants': 'REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC',
  'database setting work_mem unexpected': "ALTER DATABASE {database} SET work_mem = '9MB'",
  'database setting search_path FOR pgproof_objects_app unexpected': `ALTER ROLE ${app} IN DATABASE {database} SET search_path = s`,
  'publication p unexpected': 'CREATE PUBLICATION p FOR ALL TABLES',
}

describe('one thing changed in the copy', () => {
  it.each(Object.entries(changes))('%s', async (said, change) => {
    const { client } = copy
    await client.query('BEGIN')
    try {
      await client.query(
        `SET LOCAL session_replication_role = origin; ${change.replaceAll('{database}', copy.database)}`,
      )
      // A row of a catalog changed by hand is one object's; anything else must be seen to change nothing but that.
      const only = change.startsWith('UPDATE') ? kindOf(said) : undefined
      const before = expected.filter(({ kind }) => only === undefined || kind === only)
      const restored = await readObjects(client, only)
      // Another version of an extension is no defect, but recorded.
      const differences =
        said === 'extension lo: version'
          ? compareStructure({ expected: before, restored, isSameMajor: true }).differences.filter(
              ({ name }) => name === 'lo',
            )
          : differencesOf(before, restored)
      const found = differences.map(shortly)
      expect(found.map(sortFacets)).toContain(sortFacets(said))
      expect(found.filter((one) => sortFacets(one) !== sortFacets(said) && !/^role /.test(one))).toEqual([])
    } finally {
      await client.query('ROLLBACK')
    }
  })

  it('large objects: each right, owner and comment of one alone changes the digest; their order does not', async () => {
    const { client } = copy
    for (const change of [
      `GRANT UPDATE ON LARGE OBJECT 1002 TO ${app}`,
      `GRANT SELECT ON LARGE OBJECT 1002 TO ${app} WITH GRANT OPTION`,
      'GRANT ALL ON LARGE OBJECT 1003 TO postgres',
      `REVOKE SELECT ON LARGE OBJECT 1002 FROM ${app}; GRANT SELECT ON LARGE OBJECT 1006 TO ${app}`,
      'SELECT lo_unlink(1010)',
      `COMMENT ON LARGE OBJECT 1004 IS NULL; COMMENT ON LARGE OBJECT 1005 IS 'four'`,
    ]) {
      await client.query('BEGIN')
      await client.query(change)
      const found = differencesOf(expected, await readObjects(client)).map(shortly)
      await client.query('ROLLBACK')
      expect(
        found.filter((one) => one.startsWith('large objects')),
        change,
      ).toHaveLength(1)
    }
  })

  it('options and settings that may hold secrets - only as digests', async () => {
    await source.sql(`ALTER DATABASE "${source.database}" SET my.key = 'hush-hush'`)
    const text = JSON.stringify(await readObjects(source.client))
    await source.sql(`ALTER DATABASE "${source.database}" RESET my.key`)
    expect(text).toContain('my.key')
    expect(text).not.toMatch(/hush-hush|secret/)
  })
})

/** The kind at the beginning of `kind name: facet`: the longest that fits. */
function kindOf(said: string): string {
  const kinds = objectQueries(major).map(({ kind }) => kind)
  const [longest = ''] = kinds.filter((kind) => said.startsWith(kind)).toSorted((a, b) => b.length - a.length)
  return longest
}

/** `kind name: b, a` as `kind name: a, b`. */
function sortFacets(said: string): string {
  const at = said.lastIndexOf(': ')
  return at < 0
    ? said
    : `${said.slice(0, at)}: ${said
        .slice(at + 2)
        .split(', ')
        .toSorted()
        .join(', ')}`
}
