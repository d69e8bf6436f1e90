-- Proves that a command that breaks the query of a section names that section in a WARNING, whatever it drops or changes, and no other section.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_breaks;
CREATE SCHEMA regress_breaks2;
CREATE ROLE regress_breaks_owner;
GRANT ALL ON SCHEMA regress_breaks TO regress_breaks_owner;
GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_breaks_owner;
SET search_path = regress_breaks, public;
\pset format unaligned
\pset tuples_only

CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE t (a int, b int, c text, m mood, unused int);
CREATE TABLE u (x int);
CREATE TABLE keyed (id serial CONSTRAINT keyed_key PRIMARY KEY, c text, j json);
CREATE TABLE parent (i int);
CREATE TABLE child () INHERITS (parent);
CREATE VIEW v AS SELECT sum(b) AS total FROM t;
CREATE VIEW v2 AS SELECT total FROM v;
CREATE VIEW of_nothing AS SELECT 1 AS one;
CREATE VIEW of_nothing2 AS SELECT one FROM of_nothing;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION f(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION g() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION all_t() RETURNS SETOF t LANGUAGE plpgsql STABLE AS 'BEGIN RETURN QUERY SELECT * FROM t; END';
CREATE OPERATOR ~~~ (FUNCTION = int4mul, LEFTARG = int, RIGHTARG = int);
CREATE COLLATION coll FROM "C";
CREATE TEXT SEARCH CONFIGURATION conf (COPY = pg_catalog.english);
-- so many names that they are not looked for one by one
SELECT format('CREATE FUNCTION regress_breaks2.f%s() RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 1''', i) FROM generate_series(1, 20) i \gexec
SET ROLE regress_breaks_owner;
CREATE TABLE theirs (n int, o int);
SELECT summary_cache_define('their own', 'core', 'SELECT count(n) AS n FROM theirs');
RESET ROLE;
CREATE PROCEDURE define(summary text, query text) LANGUAGE sql AS $$SELECT public.summary_cache_define(summary, 'core', query, '{}')$$;
CALL define('a', 'SELECT sum(a) AS n FROM t');
CALL define('b', 'SELECT sum(b) AS n FROM t');
CALL define('c', $$SELECT max(a) AS n FROM t WHERE c ~ '\d'$$);
CALL define('c is x', $$SELECT count(*) AS n FROM t WHERE c = 'x'$$);
CALL define('x', 'SELECT count(x) AS n FROM t, u');
-- what is wrong with a join of columns of different types, servers say in different ways; that json has no equality, in one
CALL define('natural', 'SELECT count(*) AS n FROM t NATURAL JOIN (SELECT id, j FROM keyed) k');
CALL define('keyed', 'SELECT json_agg(s) AS n FROM (SELECT id, c FROM keyed GROUP BY id) s');
CALL define('sequence', 'SELECT last_value > 0 AS n FROM keyed_id_seq');
CALL define('child', 'SELECT sum(i) AS n FROM child');
CALL define('v', 'SELECT total AS n FROM v');
CALL define('v2', 'SELECT total AS n FROM v2');
CALL define('of_nothing', 'SELECT one AS n FROM U&"of\005Fnothing"');
CALL define('of_nothing2', 'SELECT one AS n FROM of_nothing2');
CALL define('f of int', 'SELECT f(1) AS n');
CALL define('f of text', $$SELECT f('x'::text) AS n$$);
CALL define('g', 'SELECT g() AS n');
CALL define('f7', 'SELECT regress_breaks2.f7() AS n');
CALL define('f8', 'SELECT REGRESS_BREAKS2.U&"f\0038"() AS n');
CALL define('mood', $$SELECT 'bad'::mood AS n$$);
CALL define('m', 'SELECT max(m) AS n FROM t');
CALL define('row', 'SELECT max(s.b) AS n FROM all_t() s');
CALL define('operator', 'SELECT 1 ~~~ 2 AS n');
CALL define('collation', $$SELECT 'x' < 'y' COLLATE coll AS n$$);
CALL define('search', $$SELECT to_tsvector('conf', 'x')::text AS n$$);
CALL define('theirs', 'SELECT sum(n) AS n FROM theirs');
CALL define('comment', 'SELECT 1 AS of_nothing /* f7 of theirs, keyed by mood */');

-- the truth
CREATE FUNCTION broken() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    summary name;
    broken text := '';
BEGIN
    FOR summary IN SELECT d.summary FROM summary_cache.definition d ORDER BY d.summary COLLATE "C" LOOP
        BEGIN
            PERFORM summary_cache_get(summary, true);
        EXCEPTION WHEN others THEN
            broken := concat_ws(', ', nullif(broken, ''), summary);
        END;
    END LOOP;
    RETURN 'broken: ' || broken;
END $$;
SELECT broken();
\set then 'SELECT broken(); ROLLBACK;'
\set VERBOSITY terse

--
-- Columns
--
BEGIN;
\set VERBOSITY default
ALTER TABLE u DROP x;
\set VERBOSITY terse
:then
BEGIN;
ALTER TABLE t DROP unused;
:then
BEGIN;
ALTER TABLE t DROP b CASCADE;
-- what is broken already is not reported again
ALTER TABLE t DROP unused;
:then
BEGIN;
ALTER TABLE t ALTER c TYPE int USING 1;
:then
BEGIN;
ALTER TABLE t ALTER unused TYPE text;
:then
BEGIN;
ALTER TABLE t ADD x int, ADD y int;
:then
BEGIN;
ALTER TABLE t ADD y int;
ALTER TABLE t ADD j json;
:then
BEGIN;
ALTER TABLE parent DROP i;
:then
BEGIN;
ALTER TABLE keyed DROP CONSTRAINT keyed_key;
:then

--
-- Tables, views and what else a query names
--
BEGIN;
DROP TABLE IF EXISTS keyed, no_such_table;
:then
BEGIN;
DROP TABLE t CASCADE;
:then
BEGIN;
DROP VIEW v2;
:then
BEGIN;
DROP VIEW v CASCADE;
:then
BEGIN;
DROP VIEW of_nothing CASCADE;
:then
BEGIN;
DROP FUNCTION f(int);
:then
BEGIN;
DROP FUNCTION all_t;
:then
BEGIN;
DROP TYPE mood CASCADE;
:then
BEGIN;
DROP OPERATOR ~~~ (int, int);
:then
BEGIN;
-- (the message has the encoding)
\set VERBOSITY sqlstate
DROP COLLATION coll;
\set VERBOSITY terse
:then
BEGIN;
DROP TEXT SEARCH CONFIGURATION conf;
:then
BEGIN;
DROP SCHEMA regress_breaks2 CASCADE;
:then
-- (with broken())
BEGIN;
DROP EXTENSION plpgsql CASCADE;
ROLLBACK;
-- a section that goes as well is not reported
BEGIN;
DROP OWNED BY regress_breaks_owner;
:then
-- nor is one that is another one by then
BEGIN;
ALTER TABLE t RENAME a TO a2;
ALTER TABLE t DROP a2;
:then
BEGIN;
DROP INDEX IF EXISTS no_such_index;
CREATE INDEX unused ON t (a);
DROP INDEX unused;
:then

--
-- By a role that has nothing to do with the section
--
BEGIN;
SET LOCAL ROLE regress_breaks_owner;
ALTER TABLE theirs DROP n;
RESET ROLE;
:then

--
-- No function of a user's runs for that
--
CREATE FUNCTION says(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_lock(4711); RETURN true; END$$;
CREATE DOMAIN says AS text CHECK (says(VALUE));
CALL define('checked', $$SELECT '{x}'::says[] AS x, count(x) AS n FROM u$$);
SELECT count(*) > 0 AS it_ran FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid();
SELECT pg_advisory_unlock_all();
ALTER TABLE u ADD x2 int;
ALTER TABLE u DROP x2;
ALTER TABLE u DROP x;
SELECT count(*) > 0 AS it_ran FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid();

--
-- What many objects depend on (with assertions: a list that moves when it grows)
--
CREATE TABLE wide (n int);
DO $$ BEGIN FOR i IN 1 .. 200 LOOP EXECUTE format('ALTER TABLE wide ADD CHECK (n > %s)', i); END LOOP; END $$;
DROP TABLE wide;

DROP EXTENSION summary_cache;
DROP SCHEMA regress_breaks, regress_breaks2 CASCADE;
DROP OWNED BY regress_breaks_owner;
DROP ROLE regress_breaks_owner;
