import { operatorOf, procedureOf, qualified, settingOf, signatureOf, typeOf } from './names.ts'
import {
  comesWithAnother,
  commentOf,
  dumpedSchema,
  facets,
  grantsOf,
  notOwnedByExtension,
  ownerOf,
  type StructureQuery,
  securityLabels,
} from './query.ts'

/** Everything that is called: functions, aggregates, operators with their classes and families, casts, conversions. */
export function functionQueries(): readonly StructureQuery[] {
  return [
    { kind: 'function', sql: functionsOf('f') },
    { kind: 'procedure', sql: functionsOf('p') },
    { kind: 'window function', sql: functionsOf('w') },
    { kind: 'aggregate', sql: aggregates },
    { kind: 'operator', sql: operators },
    { kind: 'operator class', sql: operatorClasses },
    { kind: 'operator family', sql: operatorFamilies },
    { kind: 'cast', sql: casts },
    { kind: 'conversion', sql: conversions },
    { kind: 'procedural language', sql: languages },
    { kind: 'transform', sql: transforms },
    { kind: 'access method', sql: accessMethods },
  ]
}

/** pg_dump tells built-in objects without a schema by their OID: `g_last_builtin_oid`. */
const lastBuiltinOid = 16383

/** Every column of pg_proc, each as a facet of its own. */
function functionsOf(prokind: 'f' | 'p' | 'w'): string {
  const settings = `(SELECT pg_catalog.string_agg(${settingOf('s')}, ', ' ORDER BY s COLLATE "C") FROM pg_catalog.unnest(p.proconfig) s)`
  return `
    SELECT ${signatureOf('n', 'p')} AS name, ${facets({
      arguments: 'pg_catalog.pg_get_function_identity_arguments(p.oid)',
      default: 'pg_catalog.pg_get_expr(p.proargdefaults, 0)',
      result: 'pg_catalog.pg_get_function_result(p.oid)',
      language: 'l.lanname',
      volatility: "CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END",
      strict: 'p.proisstrict',
      'security definer': 'p.prosecdef',
      leakproof: 'p.proleakproof',
      parallel: "CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END",
      cost: 'p.procost',
      rows: 'p.prorows',
      support: procedureOf('p.prosupport'),
      settings,
      transforms: `(SELECT pg_catalog.string_agg(pg_catalog.format_type(t.type, NULL), ', ' ORDER BY t.place)
                      FROM pg_catalog.unnest(p.protrftypes) WITH ORDINALITY t(type, place))`,
      source: 'CASE WHEN p.prosqlbody IS NULL THEN p.prosrc END',
      library: 'p.probin',
      definition: 'pg_catalog.pg_get_function_sqlbody(p.oid)',
      'depends on extension': `(SELECT pg_catalog.string_agg(e.extname, ', ' ORDER BY e.extname COLLATE "C")
                                  FROM pg_catalog.pg_depend x JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
                                 WHERE x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND x.objid = p.oid
                                   AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND x.deptype = 'x')`,
      owner: ownerOf('p.proowner'),
      grants: grantsOf('p.proacl', 'f', 'p.proowner'),
      comment: commentOf('p.oid', 'pg_proc'),
      'security labels': securityLabels('p.oid', 'pg_proc'),
    })}
      FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
     WHERE p.prokind = '${prokind}' AND ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_proc', 'p.oid')} AND NOT ${comesWithAnother('p.oid')}`
}

const aggregates = `
  SELECT ${signatureOf('n', 'p')} AS name, ${facets({
    kind: "CASE a.aggkind WHEN 'o' THEN 'ordered-set' WHEN 'h' THEN 'hypothetical-set' ELSE 'normal' END",
    arguments: 'pg_catalog.pg_get_function_arguments(p.oid)',
    result: 'pg_catalog.format_type(p.prorettype, NULL)',
    'direct arguments': 'a.aggnumdirectargs',
    'transition function': procedureOf('a.aggtransfn'),
    'transition type': typeOf('a.aggtranstype'),
    'transition space': 'a.aggtransspace',
    'initial value': 'a.agginitval',
    'final function': procedureOf('a.aggfinalfn'),
    'final function extra': 'a.aggfinalextra',
    'final function modify': 'a.aggfinalmodify',
    'combine function': procedureOf('a.aggcombinefn'),
    'serial function': procedureOf('a.aggserialfn'),
    'deserial function': procedureOf('a.aggdeserialfn'),
    'moving transition function': procedureOf('a.aggmtransfn'),
    'moving inverse function': procedureOf('a.aggminvtransfn'),
    'moving transition type': typeOf('a.aggmtranstype'),
    'moving transition space': 'a.aggmtransspace',
    'moving initial value': 'a.aggminitval',
    'moving final function': procedureOf('a.aggmfinalfn'),
    'moving final function extra': 'a.aggmfinalextra',
    'moving final function modify': 'a.aggmfinalmodify',
    'sort operator': operatorOf('a.aggsortop'),
    parallel: "CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END",
    owner: ownerOf('p.proowner'),
    grants: grantsOf('p.proacl', 'f', 'p.proowner'),
    comment: commentOf('p.oid', 'pg_proc'),
    'security labels': securityLabels('p.oid', 'pg_proc'),
  })}
    FROM pg_catalog.pg_aggregate a
    JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_proc', 'p.oid')}`

/** An operator that is only named as another's commutator has no function yet, and no definition: see `dumpOpr`. */
const operators = `
  SELECT pg_catalog.format('%I.%s(%s, %s)', n.nspname, o.oprname,
           COALESCE(${typeOf('o.oprleft')}, 'NONE'), COALESCE(${typeOf('o.oprright')}, 'NONE')) AS name, ${facets({
             function: procedureOf('o.oprcode'),
             result: typeOf('o.oprresult'),
             commutator: operatorOf('o.oprcom'),
             negator: operatorOf('o.oprnegate'),
             restrict: procedureOf('o.oprrest'),
             join: procedureOf('o.oprjoin'),
             merges: 'o.oprcanmerge',
             hashes: 'o.oprcanhash',
             owner: ownerOf('o.oprowner'),
             comment: commentOf('o.oid', 'pg_operator'),
           })}
    FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
   WHERE o.oprcode <> 0 AND ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_operator', 'o.oid')}`

/** Members that hang on `oid` of `catalog` by a dependency, which is how pg_dump divides them; in a stable order. */
function membersOf(catalog: 'pg_opclass' | 'pg_opfamily', oid: string): { operators: string; functions: string } {
  const hangsOn = (member: string): string => `EXISTS (SELECT FROM pg_catalog.pg_depend x
    WHERE x.classid = 'pg_catalog.${member}'::pg_catalog.regclass AND x.objid = m.oid
      AND x.refclassid = 'pg_catalog.${catalog}'::pg_catalog.regclass AND x.refobjid = ${oid})`
  return {
    operators: `(SELECT pg_catalog.string_agg(s.text, ', ' ORDER BY s.text COLLATE "C") FROM (
      SELECT pg_catalog.format('%s %s', m.amopstrategy, m.amopopr::pg_catalog.regoperator) ||
             CASE WHEN sf.oid IS NULL THEN '' ELSE ' FOR ORDER BY ' || ${qualified('sn', 'sf.opfname')} END AS text
        FROM pg_catalog.pg_amop m
        LEFT JOIN pg_catalog.pg_opfamily sf ON sf.oid = m.amopsortfamily
        LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = sf.opfnamespace
       WHERE m.amopfamily = f.oid AND ${hangsOn('pg_amop')}) s)`,
    functions: `(SELECT pg_catalog.string_agg(s.text, ', ' ORDER BY s.text COLLATE "C") FROM (
      SELECT pg_catalog.format('%s (%s, %s) %s', m.amprocnum, pg_catalog.format_type(m.amproclefttype, NULL),
               pg_catalog.format_type(m.amprocrighttype, NULL), m.amproc::pg_catalog.oid::pg_catalog.regprocedure) AS text
        FROM pg_catalog.pg_amproc m WHERE m.amprocfamily = f.oid AND ${hangsOn('pg_amproc')}) s)`,
  }
}

const operatorClasses = `
  SELECT ${qualified('n', 'c.opcname')} || ' USING ' || pg_catalog.quote_ident(a.amname) AS name, ${facets({
    type: typeOf('c.opcintype'),
    storage: typeOf('c.opckeytype'),
    'is default': 'c.opcdefault',
    family: qualified('fn', 'f.opfname'),
    ...membersOf('pg_opclass', 'c.oid'),
    owner: ownerOf('c.opcowner'),
    comment: commentOf('c.oid', 'pg_opclass'),
  })}
    FROM pg_catalog.pg_opclass c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace
    JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod
    JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily
    JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_opclass', 'c.oid')}`

const operatorFamilies = `
  SELECT ${qualified('n', 'f.opfname')} || ' USING ' || pg_catalog.quote_ident(a.amname) AS name, ${facets({
    ...membersOf('pg_opfamily', 'f.oid'),
    owner: ownerOf('f.opfowner'),
    comment: commentOf('f.oid', 'pg_opfamily'),
  })}
    FROM pg_catalog.pg_opfamily f
    JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
    JOIN pg_catalog.pg_am a ON a.oid = f.opfmethod
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_opfamily', 'f.oid')}`

/** Casts from a range to its multirange come with the range. */
const casts = `
  SELECT pg_catalog.format('(%s AS %s)', ${typeOf('c.castsource')}, ${typeOf('c.casttarget')}) AS name, ${facets({
    method: "CASE c.castmethod WHEN 'f' THEN 'function' WHEN 'i' THEN 'inout' ELSE 'binary' END",
    function: procedureOf('c.castfunc'),
    context: "CASE c.castcontext WHEN 'i' THEN 'implicit' WHEN 'a' THEN 'assignment' ELSE 'explicit' END",
    comment: commentOf('c.oid', 'pg_cast'),
  })}
    FROM pg_catalog.pg_cast c
   WHERE c.oid > ${lastBuiltinOid} AND ${notOwnedByExtension('pg_cast', 'c.oid')}
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_range r WHERE r.rngtypid = c.castsource AND r.rngmultitypid = c.casttarget)`

const conversions = `
  SELECT ${qualified('n', 'c.conname')} AS name, ${facets({
    from: 'pg_catalog.pg_encoding_to_char(c.conforencoding)',
    to: 'pg_catalog.pg_encoding_to_char(c.contoencoding)',
    function: procedureOf('c.conproc'),
    'is default': 'c.condefault',
    owner: ownerOf('c.conowner'),
    comment: commentOf('c.oid', 'pg_conversion'),
  })}
    FROM pg_catalog.pg_conversion c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
   WHERE ${dumpedSchema('n')} AND ${notOwnedByExtension('pg_conversion', 'c.oid')}`

/** Rights on untrusted languages cannot be granted and are not dumped. */
const languages = `
  SELECT pg_catalog.quote_ident(l.lanname) AS name, ${facets({
    trusted: 'l.lanpltrusted',
    handler: procedureOf('l.lanplcallfoid'),
    inline: procedureOf('l.laninline'),
    validator: procedureOf('l.lanvalidator'),
    owner: ownerOf('l.lanowner'),
    grants: `CASE WHEN l.lanpltrusted THEN ${grantsOf('l.lanacl', 'l', 'l.lanowner')} END`,
    comment: commentOf('l.oid', 'pg_language'),
    'security labels': securityLabels('l.oid', 'pg_language'),
  })}
    FROM pg_catalog.pg_language l
   WHERE l.lanispl AND l.oid > ${lastBuiltinOid} AND ${notOwnedByExtension('pg_language', 'l.oid')}`

const transforms = `
  SELECT pg_catalog.format('FOR %s LANGUAGE %I', ${typeOf('t.trftype')}, l.lanname) AS name, ${facets({
    'from sql': procedureOf('t.trffromsql'),
    'to sql': procedureOf('t.trftosql'),
    comment: commentOf('t.oid', 'pg_transform'),
  })}
    FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang
   WHERE ${notOwnedByExtension('pg_transform', 't.oid')}`

const accessMethods = `
  SELECT pg_catalog.quote_ident(a.amname) AS name, ${facets({
    type: "CASE a.amtype WHEN 'i' THEN 'index' ELSE 'table' END",
    handler: procedureOf('a.amhandler'),
    comment: commentOf('a.oid', 'pg_am'),
  })}
    FROM pg_catalog.pg_am a
   WHERE a.oid > ${lastBuiltinOid} AND ${notOwnedByExtension('pg_am', 'a.oid')}`
