import { describe, expect, it } from 'vitest'
import { foreignKeysIn, splitStatements } from '../../src/postgres/archive-definitions.ts'

describe('statements of a dump', () => {
  it('semicolons in strings, names, comments, brackets and bodies - cut at none of them', () => {
    const script = `-- a; b
SET x = 1;
COMMENT ON TABLE t IS 'it''s; --here';
CREATE RULE r AS ON DELETE TO public."a;b" DO ( DELETE FROM x; DELETE FROM y; );
CREATE FUNCTION f() AS $body$ a; $$ b; $body$;
SELECT 1 - 2 -- the end; of it
;`
    expect(splitStatements(script)).toEqual([
      'SET x = 1',
      "COMMENT ON TABLE t IS 'it''s; --here'",
      'CREATE RULE r AS ON DELETE TO public."a;b" DO ( DELETE FROM x; DELETE FROM y; )',
      'CREATE FUNCTION f() AS $body$ a; $$ b; $body$',
      'SELECT 1 - 2',
    ])
  })

  it('foreign keys - both tables and the name, as SQL writes them; nothing else', () => {
    const key =
      'ALTER TABLE ONLY public."REFERENCES x.y("\n    ADD CONSTRAINT "k FOREIGN KEY" FOREIGN KEY (a, "b)") REFERENCES "S"."t.u"(c, d) ON DELETE CASCADE'
    expect(foreignKeysIn([key, 'ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a)'])).toEqual([
      { table: 'public."REFERENCES x.y("', name: '"k FOREIGN KEY"', references: '"S"."t.u"', statement: key },
    ])
  })
})
