-- Proves that a section's query follows what it names when that is renamed or moved: same document, same keys, still proven, and a text that is as good as before stays as it was written.

SET client_min_messages = warning;
-- a worker may take its time on a busy machine
SET deadlock_timeout = '1min';
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_follow;
CREATE SCHEMA regress_follow2;
CREATE ROLE regress_follow_owner;
GRANT ALL ON SCHEMA regress_follow, regress_follow2 TO regress_follow_owner;
GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_follow_owner;
SET search_path = regress_follow, public;
\pset format unaligned
\pset tuples_only

SET ROLE regress_follow_owner;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE people (id int PRIMARY KEY, name text, m mood, address text);
INSERT INTO people VALUES (1, 'Ann', 'good', 'here'), (2, 'Bob', 'bad', 'there');
CREATE TABLE parts (id int, n int) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts VALUES (1, 10), (2, 20);
CREATE VIEW good_people AS SELECT id, name FROM people WHERE m = 'good';
CREATE FUNCTION greeting(who text) RETURNS text LANGUAGE plpgsql STABLE AS $$BEGIN RETURN 'hello ' || who; END$$;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
SELECT summary_cache_define('f', 'names', 'SELECT json_agg(name ORDER BY id) AS names   -- as it was written
FROM people');
SELECT summary_cache_define('f', 'rows', $$SELECT json_agg(p ORDER BY p.id) AS rows, (SELECT json_agg(s) FROM (SELECT * FROM people WHERE m = 'bad'::mood) s) AS bad FROM people p$$);
SELECT summary_cache_define('f', 'view', $$WITH people AS (SELECT * FROM good_people) SELECT count(*) AS good, max(greeting(name)) AS greeting FROM people$$, '{people}');
SELECT summary_cache_define('f', 'parts', 'SELECT sum(twice(n)) AS total, (SELECT n FROM parts1 ORDER BY id LIMIT 1) AS first FROM parts', NULL, 'inline');
SELECT summary_cache_define('f', 'count', 'SELECT count(*) AS id FROM people');
RESET ROLE;

-- what is in the document, and how a read is answered when all is as before
SELECT status FROM summary_cache_fetch('f');
CREATE TEMP TABLE document AS SELECT summary_cache_get('f')::text AS was;
SELECT was FROM document;
SELECT section FROM summary_cache.definition WHERE query LIKE '%as it was written%';
CREATE PROCEDURE check_document() LANGUAGE plpgsql AS $$
DECLARE
    status text;
    is_now text;
    wrong text;
BEGIN
    FOR i IN 1 .. 2 LOOP
        SELECT f.status, f.document INTO status, is_now FROM summary_cache_fetch('f', NULL, i = 1) f;
        COMMIT;
    END LOOP;
    SELECT string_agg(section || ': ' || state || coalesce(' ' || reason, ''), ', ') INTO wrong
        FROM summary_cache_sections WHERE state <> 'current';
    RAISE NOTICE '%, %', status, CASE WHEN is_now = (SELECT was FROM document) AND wrong IS NULL THEN 'the same' ELSE coalesce(wrong, is_now) END;
END $$;
SET client_min_messages = notice;
CALL check_document();

--
-- One after the other, by a superuser and by the owner
--
-- (what exactly is printed depends on the server's version)
\set check 'CALL check_document(); SELECT section, string_agg(m[1], '' '') FROM summary_cache.definition, regexp_matches(query, ''FROM ((?:"[^"]*"|[[:word:].])+)'', ''g'') m WHERE summary = ''f'' GROUP BY section, position ORDER BY position;'
ALTER TABLE people RENAME TO persons;
:check
SELECT section FROM summary_cache.definition WHERE query LIKE '%as it was written%';
ALTER TABLE persons RENAME name TO full_name;
ALTER TABLE persons RENAME id TO number;
-- rows of the table have keys by its columns, as they would have in a view; nothing else changes
:check
UPDATE document SET was = replace(replace(was, '{"id":', '{"number":'), ',"name":"', ',"full_name":"');
UPDATE document SET was = regexp_replace(was, '"bad":.*?\]', '"bad":[{"id":2,"name":"Bob","m":"bad","address":"there"}]');
CALL check_document();
SET ROLE regress_follow_owner;
ALTER VIEW good_people RENAME TO "Good ones";
ALTER VIEW "Good ones" RENAME COLUMN name TO called;
ALTER TYPE mood RENAME TO "Mood";
ALTER FUNCTION greeting RENAME TO salute;
ALTER TABLE parts1 RENAME TO "first part";
ALTER TABLE parts RENAME COLUMN n TO quantity;
RESET ROLE;
:check
SELECT calls FROM summary_cache.definition WHERE section = 'view';
-- what nobody names, or what comes back
ALTER TABLE persons RENAME address TO residence;
ALTER TABLE persons RENAME residence TO address;
ALTER INDEX people_pkey RENAME TO persons_pkey;
CREATE TABLE other (x int);
ALTER TABLE other RENAME TO others;
ALTER TABLE others SET SCHEMA regress_follow2;
:check

--
-- Schemas: moved there, and renamed, in the search path and not
--
ALTER TABLE persons SET SCHEMA regress_follow2;
ALTER FUNCTION salute SET SCHEMA regress_follow2;
ALTER TYPE "Mood" SET SCHEMA regress_follow2;
:check
ALTER SCHEMA regress_follow2 RENAME TO "Regress Follow 3";
:check
ALTER SCHEMA regress_follow RENAME TO regress_follow4;
SET search_path = regress_follow4, public;
:check
SELECT section, settings[1], calls FROM summary_cache.definition WHERE section IN ('names', 'view') ORDER BY 1;
-- whatever is written is noticed
INSERT INTO "Regress Follow 3".persons VALUES (3, 'Cid', 'good', 'nowhere');
INSERT INTO parts VALUES (3, 30);
SELECT status <> 'hit-revision' AS noticed FROM summary_cache_fetch('f');
SELECT summary_cache_get('f', true);
DELETE FROM "Regress Follow 3".persons WHERE number = 3;
DELETE FROM parts WHERE id = 3;
CALL check_document();

--
-- Rolled back; and a name that is taken by something else
--
BEGIN;
SAVEPOINT s;
ALTER TABLE "Regress Follow 3".persons RENAME TO gone;
SELECT count(*) FROM summary_cache.definition WHERE query LIKE '%gone%';
ROLLBACK TO s;
SELECT count(*) FROM summary_cache.definition WHERE query LIKE '%gone%';
ALTER TABLE "Regress Follow 3".persons RENAME full_name TO gone;
ROLLBACK;
SELECT count(*) FROM summary_cache.definition WHERE query LIKE '%gone%';
CALL check_document();
-- like a view, a section goes on reading the table and not the name
CREATE TABLE parts_new (LIKE parts);
BEGIN;
ALTER TABLE parts RENAME TO parts_old;
ALTER TABLE parts_new RENAME TO parts;
COMMIT;
CALL check_document();
SELECT source, provable FROM summary_cache_tables WHERE 'f.parts' = ANY (sections) ORDER BY 1;
-- a command that fails has changed nothing
ALTER TABLE parts RENAME TO parts_old;
ALTER TABLE nothing RENAME TO parts_new;
CALL check_document();

--
-- A section that is broken is not said to follow
--
SET client_min_messages = warning;
CREATE TABLE dropped (x int);
SELECT summary_cache_define('broken', 'core', 'SELECT count(*) AS n FROM dropped');
DROP TABLE dropped;
SET client_min_messages = notice;
ALTER TABLE "Regress Follow 3".others RENAME TO other;
SELECT query FROM summary_cache.definition WHERE summary = 'broken';
SELECT summary_cache_drop('broken');
-- what a function reads inside is its own matter: here it fails
CREATE FUNCTION inside() RETURNS bigint LANGUAGE plpgsql STABLE AS $$BEGIN RETURN (SELECT count(*) FROM "Regress Follow 3".other); END$$;
SET client_min_messages = warning;
SELECT summary_cache_define('inside', 'core', 'SELECT inside() AS n', ARRAY['"Regress Follow 3".other'::regclass]);
SET client_min_messages = notice;
SELECT summary_cache_get('inside');
ALTER TABLE "Regress Follow 3".other RENAME TO others;
\set VERBOSITY terse
SELECT summary_cache_get('inside', true);
\set VERBOSITY default
-- a stranger stays one: nothing that decides about what is proven is looked at anew
SET client_min_messages = warning;
CREATE TABLE stranger (x int);
CREATE VIEW window_of AS SELECT count(*) AS n FROM "Regress Follow 3".others;
SELECT summary_cache_define('strange', 'core', 'SELECT n FROM window_of');
CREATE OR REPLACE VIEW window_of AS SELECT count(*) AS n FROM stranger;
SET client_min_messages = notice;
ALTER VIEW window_of RENAME TO window_on;
SELECT query FROM summary_cache.definition WHERE summary = 'strange';
SELECT summary_cache_get('strange', true);
SELECT state, reason FROM summary_cache_sections WHERE summary = 'strange';

--
-- A role that has nothing to do with the section renames its own table; what it plants is not run
--
SET client_min_messages = warning;
CREATE TABLE mine (id int);
ALTER TABLE mine OWNER TO regress_follow_owner;
SELECT summary_cache_define('super', 'core', 'SELECT count(*) AS n FROM mine');
SET client_min_messages = notice;
SET ROLE regress_follow_owner;
CREATE FUNCTION planted(int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'ran as %', current_user; RETURN true; END$$;
ALTER TABLE mine RENAME TO yours;
ALTER TABLE yours ADD CHECK (planted(id));
ALTER TABLE yours RENAME id TO identity;
RESET ROLE;
SELECT owner = current_user::regrole AS own, query FROM summary_cache.definition WHERE summary = 'super';
SELECT summary_cache_get('super');

--
-- What is not in the text
--
SET client_min_messages = warning;
CREATE SCHEMA regress_follow_ops;
CREATE TYPE regress_follow_ops.ci AS (t text);
CREATE FUNCTION regress_follow_ops.ci_eq(regress_follow_ops.ci, regress_follow_ops.ci) RETURNS boolean
    LANGUAGE sql IMMUTABLE AS 'SELECT lower($1.t) = lower($2.t)';
CREATE OPERATOR regress_follow_ops.= (FUNCTION = regress_follow_ops.ci_eq, LEFTARG = regress_follow_ops.ci, RIGHTARG = regress_follow_ops.ci);
CREATE TABLE ci1 (c regress_follow_ops.ci);
CREATE TABLE ci2 (c regress_follow_ops.ci);
INSERT INTO ci1 VALUES (ROW('A')), (ROW('b'));
INSERT INTO ci2 VALUES (ROW('a')), (ROW('B'));
SET search_path = regress_follow4, regress_follow_ops, public;
SELECT summary_cache_define('using', 'core', 'SELECT count(*) AS n FROM ci1 JOIN ci2 USING (c)');
SELECT summary_cache_define('case', 'core', $$SELECT CASE x.c WHEN y.c THEN 'the same' ELSE 'another' END AS n FROM ci1 x, ci2 y WHERE (x.c).t = 'A' AND (y.c).t = 'a'$$);
SELECT summary_cache_define('named', 'core', 'SELECT count(*) AS n FROM ci1 x, ci2 y WHERE x.c = y.c');
SET search_path = regress_follow4, public;
SET client_min_messages = notice;
SELECT summary_cache_get(s) FROM unnest('{using,case,named}'::text[]) s;
-- operators that are found without being named: no text says so, but the section does
CREATE SCHEMA regress_follow_ops2;
ALTER OPERATOR regress_follow_ops.= (regress_follow_ops.ci, regress_follow_ops.ci) SET SCHEMA regress_follow_ops2;
SELECT summary_cache_get('named', true);
ALTER OPERATOR regress_follow_ops2.= (regress_follow_ops.ci, regress_follow_ops.ci) SET SCHEMA regress_follow_ops;
SELECT summary_cache_get(s, true) FROM unnest('{using,case,named}'::text[]) s;
-- a label, a configuration, an index that is none
ALTER TYPE "Regress Follow 3"."Mood" RENAME VALUE 'bad' TO 'mean';
SELECT summary_cache_get('f', true) -> 'bad' AS bad;
CREATE TEXT SEARCH CONFIGURATION config (COPY = pg_catalog.english);
SET default_text_search_config = 'regress_follow4.config';
SELECT summary_cache_define('search', 'core', $$SELECT to_tsvector('running')::text AS running, count(*) FROM ci1$$);
RESET default_text_search_config;
ALTER TEXT SEARCH CONFIGURATION config RENAME TO "Config";
ALTER INDEX ci1 RENAME TO ci3;
SELECT summary_cache_get('search', true);
SELECT settings[2] FROM summary_cache.definition WHERE summary = 'search';
-- what a function of the same name is called with may be gone
CREATE TYPE gone AS (x int);
CREATE FUNCTION of_gone(gone) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
SELECT summary_cache_define('gone', 'core', 'SELECT of_gone(NULL) AS n');
DROP TYPE gone CASCADE;
-- (a name that its stored call has)
CREATE TABLE went (x int);
ALTER TABLE went RENAME TO gone;
ALTER TABLE ci3 RENAME TO ci1;

--
-- Functions of a section's that would run while it is analysed, in somebody else's command: they do not
--
CREATE FUNCTION nasty(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
    IF current_setting('regress.nasty', true) = 'fail' THEN
        RAISE SQLSTATE '57014' USING MESSAGE = 'as if cancelled';
    ELSIF current_setting('regress.nasty', true) = 'rename' THEN
        EXECUTE 'ALTER TABLE ci1 RENAME TO ci4';
    END IF;
    RETURN true;
END$$;
CREATE DOMAIN nasty_domain AS text CHECK (nasty(VALUE));
SELECT summary_cache_define('nasty', 'core', $$SELECT '{x}'::nasty_domain[] AS n, count(*) AS m FROM ci2$$);
SET regress.nasty = 'fail';
ALTER TABLE ci2 RENAME TO ci5;
SET regress.nasty = 'rename';
ALTER TABLE ci5 RENAME TO ci2;
RESET regress.nasty;
SELECT summary_cache_get(s, true) FROM unnest('{nasty,named}'::text[]) s;
-- defined after the snapshot of a transaction that renames
CREATE TABLE late (x int);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM late;
\setenv PGDATABASE :DBNAME
\! psql -X -q -At -c "SET search_path = regress_follow4, public; SET client_min_messages = warning; SELECT summary_cache_define('late', 'core', 'SELECT count(*) AS n FROM late')"
ALTER TABLE late RENAME TO later;
COMMIT;
ALTER TABLE later RENAME TO late;
SELECT summary_cache_get('late', true);

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_follow4, "Regress Follow 3", regress_follow_ops, regress_follow_ops2 CASCADE;
DROP OWNED BY regress_follow_owner;
DROP ROLE regress_follow_owner;
