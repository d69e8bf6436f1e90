-- Proves that a section's query finds what its definer meant, and nothing that somebody else has given the same name: in the reader's search path, in public, or in the temporary schema.

SET client_min_messages = warning;
-- a worker may take its time on a busy machine
SET deadlock_timeout = '1min';
CREATE EXTENSION summary_cache SCHEMA public;
\pset format unaligned
\pset tuples_only
\getenv test PG_ABS_SRCDIR
\set rights :test '/sql/include/rights.sql'
\i :rights
-- who may see the errors
GRANT pg_monitor TO regress_rights_attacker;
\set attack :test '/sql/include/attack.sql'
\i :attack

--
-- Names: what is planted in the reader's search path, or in public, is not found
--
SELECT summary_cache_attach_state_hub('regress_rights');
SET search_path = regress_rights, public;
SET ROLE regress_rights_owner;
SELECT summary_cache_define('names', 'core', 'SELECT count(*) AS n, max(updated_at) AS latest, lower(max(status::text)) AS low FROM tasks WHERE id + 1 > 0');
RESET ROLE;
RESET search_path;
CREATE TABLE truth AS SELECT state_summary()::text AS state, summary_cache_get('names')::text AS names;
SET ROLE regress_rights_attacker;
SET search_path = regress_attack;
DO $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY ARRAY['regress_attack', 'public'] LOOP
        EXECUTE format($f$
            CREATE FUNCTION %1$s.lower(text) RETURNS text LANGUAGE sql AS 'SELECT regress_attack.try()::text';
            CREATE FUNCTION %1$s.json_build_object(text, numeric, text, json, text, timestamptz) RETURNS json LANGUAGE sql AS 'SELECT to_json(regress_attack.try())';
            CREATE FUNCTION %1$s.row_to_json(regress_rights.progress_events) RETURNS json LANGUAGE sql AS 'SELECT to_json(regress_attack.try())';
            CREATE FUNCTION %1$s.step(timestamptz, timestamptz) RETURNS timestamptz LANGUAGE sql AS 'SELECT $1 FROM regress_attack.try()';
            CREATE AGGREGATE %1$s.max(timestamptz) (SFUNC = %1$s.step, STYPE = timestamptz);
            CREATE FUNCTION %1$s.op(int, int) RETURNS int LANGUAGE sql AS 'SELECT regress_attack.try()';
            CREATE OPERATOR %1$s.+ (FUNCTION = %1$s.op, LEFTARG = int, RIGHTARG = int);
            CREATE FUNCTION %1$s.op(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT regress_attack.try() = 1';
            CREATE OPERATOR %1$s.> (FUNCTION = %1$s.op, LEFTARG = timestamptz, RIGHTARG = timestamptz);
            CREATE COLLATION %1$s."C" (LOCALE = 'C');
            CREATE DOMAIN %1$s.text AS pg_catalog.text CHECK (regress_attack.try() = 1);
            CREATE VIEW %1$s.tasks AS SELECT regress_attack.try() AS id, 'x' AS status, now() AS updated_at;
            GRANT ALL ON %1$s.tasks TO PUBLIC;
            $f$, s);
    END LOOP;
END $$;
-- what would need to be a superuser
CREATE FUNCTION regress_attack.cmp(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT regress_attack.try()';
\set VERBOSITY sqlstate
CREATE OPERATOR CLASS public.ops DEFAULT FOR TYPE pg_catalog.text USING btree AS OPERATOR 1 <, FUNCTION 1 regress_attack.cmp(text, text);
CREATE CAST (varchar AS json) WITH INOUT AS IMPLICIT;
CREATE FUNCTION pg_catalog.max(regress_attack.loot) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE EVENT TRIGGER regress_rights ON ddl_command_start EXECUTE FUNCTION regress_attack.try();
\set VERBOSITY default
RESET ROLE;
SET search_path = regress_attack, public, pg_catalog;
SELECT public.state_summary(true)::pg_catalog.text OPERATOR(pg_catalog.=) state AS same,
    public.summary_cache_get('names', true)::pg_catalog.text OPERATOR(pg_catalog.=) names AS same FROM public.truth;
SELECT public.log();
RESET search_path;
-- the path of the definer, on the other hand, is the definer's: who lets others create in it has their operators.  They run as the owner
SET ROLE regress_rights_attacker;
CREATE FUNCTION public.op(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT regress_attack.try() = 1';
CREATE OPERATOR public.= (FUNCTION = public.op, LEFTARG = varchar, RIGHTARG = varchar);
SET ROLE regress_rights_owner;
SET search_path = regress_rights, public;
SELECT summary_cache_define('careless', 'core', $$SELECT count(*) AS n FROM tasks WHERE status = 'open'::varchar$$, '{tasks}', run_query => false);
SELECT summary_cache_define('careful', 'core', $$SELECT count(*) AS n FROM tasks WHERE status OPERATOR(pg_catalog.=) 'open'::varchar$$);
RESET ROLE;
RESET search_path;
SELECT summary_cache_get('careless');
SELECT log();
SELECT summary_cache_get('careful');
SELECT log();
SET client_min_messages = warning;
DROP OPERATOR public.= (varchar, varchar);
DROP FUNCTION public.op(varchar, varchar);

--
-- Temporary objects of the reader's, when what the query names is gone
--
SET ROLE regress_rights_owner;
SET search_path = regress_rights;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE moods (m mood);
CREATE VIEW moody AS SELECT m FROM moods;
SELECT public.summary_cache_define('table', 'core', 'SELECT count(*) AS n FROM moods', '{moods}');
SELECT public.summary_cache_define('view', 'core', 'SELECT count(*) AS n FROM moody', '{moods}');
SELECT public.summary_cache_define('type', 'core', $$SELECT 'good'::mood AS m, '{bad}'::mood[] AS a$$);
SELECT public.summary_cache_define('column', 'core', $$SELECT count(*) AS n FROM json_to_recordset('[{"x": "good"}]') AS r (x mood)$$);
-- constants of a column's type; one that names a relation; a WITH query's name is not a relation's, but where it is not in scope
CREATE TABLE lists (m mood[]);
SELECT public.summary_cache_define('list', 'core', $$SELECT count(*) AS n FROM lists WHERE m = '{good}'$$);
CREATE FUNCTION rows_of(regclass) RETURNS bigint LANGUAGE plpgsql STABLE
    AS $$DECLARE n bigint; BEGIN EXECUTE 'SELECT count(*) FROM ' || $1 INTO n; RETURN n; END$$;
SELECT public.summary_cache_define('constant', 'core', $$SELECT rows_of('moods') AS n$$, '{moods}');
SELECT public.summary_cache_define('with', 'core', $$WITH moods AS (SELECT 1), a AS (SELECT * FROM moods) SELECT (SELECT count(*) FROM a, moods) AS n$$);
SELECT public.summary_cache_define('scope', 'core', $$SELECT (WITH lists AS (SELECT 1) SELECT count(*) FROM lists) + (SELECT count(*) FROM lists WHERE m = '{good}') AS n$$);
SELECT public.summary_cache_define('itself', 'core', $$WITH lists AS (SELECT * FROM lists WHERE m = '{good}') SELECT count(*) AS n FROM lists$$);
-- (with a temporary schema, and without the function)
CREATE TEMP TABLE first_of_all ();
SELECT public.summary_cache_define('qualified', 'core', $$SELECT pg_temp.planted() AS n$$);
CREATE FUNCTION pg_temp.planted() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT public.summary_cache_define('qualified', 'core', $$SELECT pg_temp.planted() AS n$$);
SELECT public.summary_cache_define('qualified', 'core', format('SELECT %I.pg_temp.planted() AS n', current_database()));
SELECT public.summary_cache_define('qualified', 'core', $$SELECT 1 OPERATOR(pg_temp.+) 1 AS n$$);
DROP FUNCTION pg_temp.planted();
SELECT public.summary_cache_define('cycle', 'core', $$WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL SELECT 1 FROM r) CYCLE id SET c TO _mood '{good}' DEFAULT _mood '{bad}' USING p SELECT count(*) AS n FROM r$$);
-- this one the session that attacks has never built
SELECT public.summary_cache_define('new', 'core', 'SELECT count(*) AS n FROM moods', '{moods}');
RESET search_path;
RESET ROLE;
\c -
SET ROLE regress_rights_attacker;
-- built before there is a temporary schema, and after
SELECT summary_cache_get(s) FROM unnest(ARRAY['table', 'view', 'type', 'column', 'list', 'constant', 'with', 'scope', 'itself', 'cycle']) s;
CREATE TEMP VIEW moods AS SELECT regress_attack.try() AS m WHERE regress_attack.try_immutable(1) = 1;
CREATE TEMP VIEW moody AS SELECT * FROM moods;
CREATE DOMAIN pg_temp.mood AS text CHECK (regress_attack.try() = 1 AND regress_attack.try_immutable(1) = 1);
CREATE TEMP TABLE lists (m pg_temp.mood[]);
GRANT SELECT ON moods, moody, lists TO PUBLIC;
BEGIN;
SELECT summary_cache_get(s, true) FROM unnest(ARRAY['table', 'view', 'type', 'column', 'list', 'constant', 'with', 'scope', 'itself', 'cycle']) s;
RESET ROLE;
SELECT log();
COMMIT;
-- the queries would follow: name what is gone, as if that had been dropped
CREATE TABLE regress_attack.texts AS SELECT summary, section, query FROM summary_cache.definition;
SET client_min_messages = warning;
ALTER TABLE regress_rights.moods RENAME TO moods_old;
ALTER TABLE regress_rights.lists RENAME TO lists_old;
ALTER VIEW regress_rights.moody RENAME TO moody_old;
ALTER TYPE regress_rights.mood RENAME TO mood_old;
RESET client_min_messages;
UPDATE summary_cache.definition d SET query = t.query FROM regress_attack.texts t WHERE (t.summary, t.section) = (d.summary, d.section) AND t.query <> d.query;
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.get_all() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY ARRAY['table', 'view', 'type', 'column', 'list', 'constant', 'with', 'scope', 'itself', 'cycle', 'new'] LOOP
        BEGIN
            RETURN NEXT summary_cache_get(s, true);
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT SQLERRM;
        END;
        RETURN QUERY SELECT '  ' || log();
    END LOOP;
END $$;
BEGIN;
SELECT regress_attack.get_all();
RESET ROLE;
SELECT log();
COMMIT;
-- the same without rights on the schema: its names are not found either
SET client_min_messages = warning;
ALTER TABLE regress_rights.moods_old RENAME TO moods;
ALTER TABLE regress_rights.lists_old RENAME TO lists;
ALTER VIEW regress_rights.moody_old RENAME TO moody;
ALTER TYPE regress_rights.mood_old RENAME TO mood;
RESET client_min_messages;
ALTER SCHEMA regress_rights OWNER TO regress_rights_super;
REVOKE USAGE ON SCHEMA regress_rights FROM PUBLIC;
SET ROLE regress_rights_attacker;
BEGIN;
SELECT regress_attack.get_all();
RESET ROLE;
SELECT log();
COMMIT;
ALTER SCHEMA regress_rights OWNER TO regress_rights_owner;
GRANT USAGE ON SCHEMA regress_rights TO PUBLIC;
SET ROLE regress_rights_attacker;
SELECT regress_attack.get_all();
\c -
SET client_min_messages = warning;

--
-- A section finds the functions that it calls, however who renames one of the same name has names printed
--
SET ROLE regress_rights_owner;
CREATE FUNCTION regress_rights.same_name(int) RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
SET quote_all_identifiers = on;
SELECT summary_cache_define('called', 'one', 'SELECT regress_rights.same_name(1) AS one');
RESET quote_all_identifiers;
SELECT summary_cache_define('called', 'two', 'SELECT regress_rights.same_name(2) AS two');
SELECT status FROM summary_cache_fetch('called', NULL, true);
SELECT status, document FROM summary_cache_fetch('called');
RESET ROLE;
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.same_name(int) RETURNS bigint LANGUAGE sql AS 'SELECT 3::bigint';
SET quote_all_identifiers = on;
ALTER FUNCTION regress_attack.same_name(int) RENAME TO another_name;
RESET quote_all_identifiers;
RESET ROLE;
SELECT section, calls FROM summary_cache.definition WHERE summary = 'called' ORDER BY 1;
SELECT status FROM summary_cache_fetch('called', NULL, true);
SELECT status, document FROM summary_cache_fetch('called');

--
-- The views ask who may read also where a plan is parallel
--
GRANT SELECT ON summary_cache_stats, summary_cache_sections, summary_cache_tables TO regress_rights_noinherit;
GRANT EXECUTE ON FUNCTION summary_cache_configure TO regress_rights_owner;
SET ROLE regress_rights_owner;
SELECT summary_cache_configure('called', 'readers', 'regress_rights_noinherit');
RESET ROLE;
SET ROLE regress_rights_noinherit;
SELECT FROM pg_settings, set_config(name, 'on', false) WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT count(*) FROM summary_cache_stats WHERE summary = 'called';
SELECT count(*) FROM summary_cache_sections WHERE summary = 'called';
SELECT count(*) FROM summary_cache_tables WHERE 'called/one' = ANY (sections);
SELECT FROM pg_settings, set_config(name, 'off', false) WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
RESET ROLE;

--
-- Nothing came of it
--
SELECT harm();

DROP EXTENSION summary_cache CASCADE;
DROP OWNED BY regress_rights_attacker, regress_rights_owner, regress_rights_reader, regress_rights_noinherit, regress_rights_super CASCADE;
DROP SCHEMA IF EXISTS regress_rights, regress_attack CASCADE;
DROP FUNCTION log(), harm();
DROP TABLE truth;
DROP ROLE regress_rights_attacker, regress_rights_noinherit, regress_rights_owner, regress_rights_reader, regress_rights_super;
