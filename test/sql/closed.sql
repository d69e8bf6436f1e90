-- Proves that a reader builds for others what runs PostgreSQL's own code only, whatever of it a query uses, and nothing else.
SET client_min_messages = warning;
-- a worker may take its time on a busy machine
SET deadlock_timeout = '1min';
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_closed;
SET search_path = regress_closed, public;
\pset format unaligned
\pset tuples_only
\getenv test PG_ABS_SRCDIR
\set helpers :test '/sql/include/helpers.sql'
\i :helpers

-- what a reader may not build for others, it waits for
CREATE PROCEDURE build(query text) LANGUAGE plpgsql AS $$
DECLARE
    status text;
    waits int;
BEGIN
    PERFORM summary_cache_define('q', 'core', query, run_query => false);
    COMMIT;
    SELECT f.status INTO status FROM summary_cache_fetch('q') f;
    SELECT s.waits INTO waits FROM summary_cache_stats s WHERE summary = 'q';
    RAISE WARNING '%, %: %', status, CASE waits WHEN 0 THEN 'closed' WHEN 1 THEN 'open' ELSE waits::text END, query;
    PERFORM summary_cache_drop('q');
    COMMIT;
END $$;

CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN label AS text;
CREATE TYPE pair AS (a int, m mood);
CREATE TABLE t (id int PRIMARY KEY, n int, name text, m mood, l label, p pair, at timestamptz, j jsonb, tags text[]);
INSERT INTO t VALUES (1, 1, 'one', 'good', 'x', (1, 'good'), '2026-01-01', '{"a": 1}', '{a}');
CREATE VIEW v AS SELECT id, name FROM t WHERE n > 0;
CREATE TABLE parted (id int, n int) PARTITION BY RANGE (id);
CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE MATERIALIZED VIEW mat AS SELECT id FROM t;
CREATE TABLE guarded (id int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (id > 0 AND CURRENT_USER <> 'x');

--
-- Closed
--
\set VERBOSITY terse
CALL build('SELECT count(*) AS n FROM t');
CALL build('SELECT json_agg(t ORDER BY id) AS rows, json_object_agg(id, name) AS o, sum(n) FILTER (WHERE n > 0) AS s FROM t');
CALL build('SELECT max(m) AS m, array_agg(m) AS a, max(l) AS l, json_agg(p) AS p FROM t');
CALL build('SELECT json_agg(x) AS x FROM (SELECT id, row_number() OVER (PARTITION BY n ORDER BY id) AS r, name FROM t ORDER BY 1 LIMIT 5) x');
CALL build('SELECT json_agg(x) AS x FROM (SELECT n, count(*) FROM t GROUP BY ROLLUP (n) HAVING count(*) > 0) x');
CALL build('WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT count(*) AS n, (SELECT count(DISTINCT name) FROM t) AS d FROM r');
CALL build('WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3) SEARCH DEPTH FIRST BY i SET s CYCLE i SET c USING q SELECT count(*) AS n FROM r');
CALL build('SELECT json_agg(x) AS x FROM (SELECT id FROM t UNION SELECT n FROM t EXCEPT SELECT 7 INTERSECT SELECT 8) x');
CALL build('SELECT count(*) AS n FROM v');
CALL build('SELECT count(*) AS n FROM parted JOIN mat USING (id)');
CALL build('SELECT count(*) AS n FROM guarded');
CALL build($$SELECT j -> 'a' AS a, j['a'] AS b, tags[1] AS c, tags || '{b}' AS d, (p).a AS e, at::date AS f, at AT TIME ZONE 'Europe/Berlin' AS g, coalesce(n, 0) AS h, CASE n WHEN 1 THEN 'x' END AS i, n IN (1, 2) AS k, greatest(n, 2) AS l, nullif(n, 2) AS o, name COLLATE "C" AS q, row(1, name) AS s, n::text::int AS u, (id, n) < (2, 3) AS w, n IS DISTINCT FROM 2 AS y, name LIKE 'o%' AS z FROM t WHERE id = 1$$);
CALL build('SELECT xmlelement(name x, xmlattributes(1 AS y), n) AS x, xmlforest(n) AS f FROM t');
CALL build($$SELECT count(*) AS n FROM t, generate_series(1, n) g, unnest(tags) u, jsonb_each(j) e, LATERAL (SELECT 1) l, json_to_recordset('[{"a": 1}]') AS r (a int), ROWS FROM (generate_series(1, 2), generate_series(1, 3)) WITH ORDINALITY$$);
CALL build($$SELECT count(*) AS n FROM xmltable('/x' PASSING xml '<x/>' COLUMNS y int)$$);
CALL build('SELECT count(*) AS n FROM t TABLESAMPLE system (100) REPEATABLE (1)');
CALL build('SELECT CURRENT_USER AS u, CURRENT_SCHEMA AS s, current_database() AS d');
CALL build('SELECT pg_advisory_xact_lock(4711)::text AS x');

--
-- Open
--
CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CREATE FUNCTION one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION yes(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
CREATE FUNCTION yes(int, int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = 0);
CREATE OPERATOR === (FUNCTION = yes, LEFTARG = int, RIGHTARG = int);
CREATE DOMAIN checked AS int CHECK (yes(VALUE));
CREATE TYPE span AS RANGE (SUBTYPE = int);
CREATE TYPE cast_mood AS ENUM ('good');
CREATE FUNCTION to_json(cast_mood) RETURNS json LANGUAGE sql IMMUTABLE AS $$SELECT '1'::json$$;
CREATE CAST (cast_mood AS json) WITH FUNCTION to_json(cast_mood);
CREATE TYPE with_cast AS (m cast_mood);
CREATE TABLE u (id int, c checked, s span, m cast_mood, w with_cast, cs checked[]);
CREATE VIEW vf AS SELECT f(id) AS id FROM t;
CREATE TABLE guarded_by_f (id int);
ALTER TABLE guarded_by_f ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded_by_f USING (yes(id));
CREATE TABLE indexed (id int);
CREATE INDEX ON indexed (f(id));
CREATE TABLE partly (id int);
CREATE INDEX ON partly (id) WHERE yes(id);
CREATE TABLE constrained (id int CHECK (yes(id)));
CREATE TABLE tree (id int) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF tree (CHECK (yes(id))) FOR VALUES FROM (0) TO (10);

CALL build('SELECT f(1) AS x');
CALL build('SELECT one(1) AS x');
CALL build('SELECT total(id) AS x FROM t');
CALL build('SELECT total(id) OVER () AS x FROM t WHERE id = 1');
CALL build('SELECT count(*) AS x FROM t WHERE id === n');
CALL build('SELECT count(*) AS x FROM t WHERE id === ANY (ARRAY[1])');
CALL build('SELECT count(*) AS x FROM t ORDER BY f(1)');
CALL build('SELECT count(*) AS x FROM (SELECT FROM t LIMIT f(1)) x');
CALL build('SELECT count(*) AS x FROM t, LATERAL (SELECT f(id) AS y) z WHERE y > 0');
CALL build('WITH c AS MATERIALIZED (SELECT f(1) AS y) SELECT count(*) AS x FROM c');
CALL build('SELECT count(*) AS x FROM t TABLESAMPLE system (f(100)) REPEATABLE (1)');
CALL build('SELECT count(*) AS x FROM f(1)');
CALL build('SELECT 1::checked AS x');
CALL build('SELECT max(c) AS x FROM u');
CALL build('SELECT json_agg(cs) AS x FROM u');
CALL build($$SELECT '[1,2]'::span AS x$$);
CALL build('SELECT json_agg(s) AS x FROM u');
CALL build('SELECT max(m) AS x FROM u');
CALL build('SELECT json_agg(w) AS x FROM u');
CALL build('SELECT json_agg(u) AS x FROM u');
CALL build('SELECT json_agg(x) AS x FROM (SELECT m FROM u) x');
CALL build('SELECT count(*) AS x FROM vf');
CALL build('SELECT sum(id) AS x FROM vf');
CALL build('SELECT count(*) AS x FROM indexed');
CALL build('SELECT count(*) AS x FROM partly');
CALL build('SELECT count(*) AS x FROM constrained');
CALL build('SELECT count(*) AS x FROM tree');
-- in a column definition, by an input function, in a constant, by name
CALL build($$SELECT count(*) AS x FROM json_to_recordset('[{"a": 1}]') AS r (a checked)$$);
CALL build($$SELECT count(*) AS x FROM ROWS FROM (json_to_recordset('[{"a": 1}]') AS (a checked))$$);
CALL build($$SELECT count(*) AS x FROM xmltable('/x' PASSING xml '<x>1</x>' COLUMNS y checked PATH '.')$$);
CALL build($$SELECT domain_in('1'::cstring, 'regress_closed.checked'::regtype, -1) IS NOT NULL AS x$$);
CALL build($$SELECT '{1, 2}'::checked[] AS x$$);
CALL build('SELECT json_agg(id::oid::regclass) AS x FROM t');
CALL build('SELECT format_type(23, NULL) AS x');
-- what the planner evaluates by itself
CREATE TABLE folded_index (id int);
CREATE INDEX ON folded_index ((id + f(1)));
CREATE TABLE statistics (id int);
CREATE STATISTICS stat ON (id + f(1)), (id * 2) FROM statistics;
CREATE TABLE by_f (id int) PARTITION BY RANGE ((id + f(1)));
CREATE TABLE by_f1 PARTITION OF by_f FOR VALUES FROM (0) TO (10);
CREATE TABLE leafy (id int) PARTITION BY RANGE (id);
CREATE TABLE leafy1 PARTITION OF leafy FOR VALUES FROM (0) TO (10);
CREATE INDEX ON leafy1 ((id + f(1)));
CREATE TABLE mother (id int);
CREATE TABLE child (CHECK (yes(1) OR id > 0)) INHERITS (mother);
CALL build('SELECT count(*) AS x FROM folded_index');
CALL build('SELECT count(*) AS x FROM statistics');
CALL build('SELECT count(*) AS x FROM by_f');
CALL build('SELECT count(*) AS x FROM leafy');
CALL build('SELECT count(*) AS x FROM mother');
-- what depends on the session, the clock or chance
CALL build('SELECT now() AS x');
CALL build('SELECT CURRENT_DATE AS x');
CALL build('SELECT random() AS x');
CALL build('SELECT SESSION_USER AS x');
CALL build($$SELECT current_setting('work_mem') AS x$$);
CALL build('SELECT pg_backend_pid() AS x');
CALL build('SELECT count(*) AS x FROM pg_prepared_statements');
CALL build('SELECT setseed(0.5)::text AS x');
CALL build('SELECT pg_advisory_lock(4711)::text AS x');
CALL build('SELECT count(*) AS x FROM t TABLESAMPLE system (100)');
-- what reads tables by itself
CALL build($$SELECT query_to_xml('SELECT 1', true, true, '') AS x$$);
CALL build($$SELECT table_to_xml('t', true, true, '') AS x$$);
\set VERBOSITY default
SELECT pg_advisory_unlock_all();

--
-- Policies, of which a superuser knows nothing; and what was closed when it was built last
--
CREATE ROLE regress_closed;
CREATE ROLE regress_closed_reader;
GRANT ALL ON SCHEMA regress_closed TO regress_closed;
GRANT EXECUTE ON FUNCTION summary_cache_fetch TO regress_closed_reader;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop, summary_cache_fetch, summary_cache_configure TO regress_closed;
GRANT SELECT ON summary_cache_stats TO regress_closed;
ALTER TABLE guarded OWNER TO regress_closed;
ALTER TABLE guarded_by_f OWNER TO regress_closed;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
ALTER TABLE guarded_by_f FORCE ROW LEVEL SECURITY;
SET ROLE regress_closed;
\set VERBOSITY terse
CALL build('SELECT count(*) AS n FROM guarded');
CALL build('SELECT count(*) AS x FROM guarded_by_f');
\set VERBOSITY default
SELECT summary_cache_define('q', 'core', 'SELECT count(*) AS x FROM guarded');
CREATE FUNCTION read() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before int := (SELECT waits FROM summary_cache_stats WHERE summary = 'q');
    status text := (SELECT f.status FROM summary_cache_fetch('q', NULL, true) f);
BEGIN
    RETURN status || CASE (SELECT waits FROM summary_cache_stats WHERE summary = 'q') - coalesce(before, 0) WHEN 0 THEN ', closed' ELSE ', open' END;
END $$;
SELECT read();
CREATE POLICY f ON guarded USING (yes(id));
SELECT read();
SELECT read();
DROP POLICY f ON guarded;
SELECT read();
CREATE INDEX ON guarded (f(id));
SELECT read();
DROP INDEX guarded_f_idx;
SELECT read();
-- one open section is enough, if that one is to be built
SELECT summary_cache_define('q', 'open', 'SELECT f(1) AS y');
CREATE TABLE fast (n int);
SELECT summary_cache_define('q', 'fast', 'SELECT count(*) AS n FROM fast', refresh => 'inline');
SELECT read();
SELECT waits AS before FROM summary_cache_stats WHERE summary = 'q' \gset
INSERT INTO fast VALUES (1);
SELECT status, document FROM summary_cache_fetch('q');
SELECT waits - :before AS waits FROM summary_cache_stats WHERE summary = 'q';
-- an open inline section, alone, and in a document that is stale
SELECT summary_cache_define('q', 'fast', 'SELECT f(count(*)::int) AS n FROM fast', refresh => 'inline');
SELECT read();
SELECT waits AS before FROM summary_cache_stats WHERE summary = 'q' \gset
INSERT INTO fast VALUES (2);
SELECT status, document FROM summary_cache_fetch('q');
SELECT waits - :before AS waits FROM summary_cache_stats WHERE summary = 'q';
SET summary_cache.read_your_writes = off;
INSERT INTO guarded VALUES (1);
INSERT INTO fast VALUES (3);
SELECT status, document -> 'n' AS n FROM summary_cache_fetch('q');
-- who may not publish builds it for itself, if it may run it
SELECT summary_cache_configure('q', 'min_refresh_interval', '1h');
CREATE TABLE elsewhere (n int);
SELECT read();
INSERT INTO guarded VALUES (2);
INSERT INTO fast VALUES (4);
BEGIN;
INSERT INTO elsewhere VALUES (1);
SELECT status, document -> 'n' AS n FROM summary_cache_fetch('q');
RESET ROLE;
SET ROLE regress_closed_reader;
SELECT status, document -> 'n' AS n FROM summary_cache_fetch('q');
COMMIT;
RESET ROLE;

DROP EXTENSION summary_cache;
DROP SCHEMA regress_closed CASCADE;
DROP ROLE regress_closed, regress_closed_reader;
