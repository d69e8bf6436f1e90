-- Proves that a section is found, and follows, however its text names what is renamed or moved, and where a name comes to mean something else.

SET client_min_messages = warning;
-- a worker may take its time on a busy machine
SET deadlock_timeout = '1min';
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_names;
CREATE SCHEMA regress_names1;
CREATE SCHEMA regress_names2;
SET search_path = regress_names, regress_names2, public;
\pset format unaligned
\pset tuples_only

CREATE TABLE people (id serial, name text);
INSERT INTO people (name) VALUES ('Ann');
CREATE TABLE "Odd ""people""" (n int);
CREATE TABLE a_name_of_sixty_three_bytes_which_is_the_longest_that_there_can_be (n int);
CREATE TABLE parent (a int);
CREATE TABLE child () INHERITS (parent);
CREATE TABLE x1 (k int, v int);
CREATE TABLE x2 (k int, w int);
CREATE TYPE mood AS ENUM ('in a good mood', 'bad', '');
CREATE FUNCTION all_people() RETURNS SETOF people LANGUAGE sql STABLE AS $$SELECT 1, 'Ann'$$;
CREATE FUNCTION all_opaque() RETURNS SETOF people LANGUAGE plpgsql STABLE AS $$BEGIN RETURN QUERY SELECT 1, 'Ann'; END$$;
CREATE PROCEDURE define(summary text, query text) LANGUAGE sql AS $$
    SELECT public.summary_cache_define(summary, 'core', query);
    SELECT public.summary_cache_get(summary);
$$;
CALL define('quoted', 'SELECT count(*) AS n FROM "people"');
CALL define('upper', 'SELECT count(*) AS n FROM PEOPLE');
CALL define('escaped', 'SELECT count(*) AS n FROM U&"peop\006Ce"');
CALL define('comment', 'SELECT count(*) AS n FROM/* the */people');
CALL define('constant', $$SELECT 'people'::regclass::oid IS NOT NULL AS n$$);
CALL define('lines', E'SELECT \'peo\'\n\'ple\'::regclass::oid IS NOT NULL AS n');
CALL define('escape', $$SELECT E'peop\154e'::regclass::oid IS NOT NULL AS n$$);
CALL define('odd', 'SELECT count(*) AS n FROM "Odd ""people"""');
SELECT summary_cache_define('sequence', 'core', 'SELECT last_value > 0 AS n FROM people_id_seq', '{people}');
CALL define('row', 'SELECT NULL::people IS NULL AS n');
CALL define('array', $$SELECT '{bad}'::_mood AS n$$);
CALL define('label', $$SELECT '{in a good mood}'::mood[] AS n$$);
CALL define('none', $$SELECT ''::mood AS n$$);
CALL define('child', 'SELECT sum(a) AS n FROM child');
CALL define('natural', 'SELECT count(*) AS n FROM x1 NATURAL JOIN x2');
CALL define('star', 'SELECT json_agg(s) AS n FROM (SELECT * FROM all_people()) s');
CALL define('star_of_none', 'SELECT json_agg(s) AS n FROM (SELECT * FROM x1) s');
SELECT summary_cache_define('opaque', 'core', 'SELECT json_agg(s) AS n FROM (SELECT * FROM all_opaque()) s', '{people}');
SELECT summary_cache_get('opaque');

CREATE TABLE document AS SELECT summary, summary_cache_get(summary)::text AS was FROM summary_cache.definition;
SET client_min_messages = notice;
-- what follows, and what is not as it was
\set check 'SELECT summary, now FROM document, LATERAL (SELECT summary_cache_get(summary, true)::text AS now) n WHERE now IS DISTINCT FROM was ORDER BY 1;'
\set VERBOSITY terse
ALTER TABLE people RENAME TO persons;
:check
ALTER TABLE "Odd ""people""" RENAME TO odd_people;
:check
ALTER TABLE persons SET SCHEMA regress_names2;
ALTER TABLE persons SET SCHEMA regress_names1;
:check
ALTER TABLE regress_names1.persons SET SCHEMA regress_names;
:check
ALTER TYPE mood RENAME TO feeling;
CALL define('array_escape', $$SELECT '{b\ad}'::feeling[] AS n$$);
ALTER TYPE feeling RENAME VALUE 'bad' TO 'mean';
ALTER TYPE feeling RENAME VALUE 'in a good mood' TO 'fine';
ALTER TYPE feeling RENAME VALUE '' TO 'no';
:check
SELECT summary_cache_get('array_escape', true);
UPDATE document SET was = summary_cache_get(summary, true)::text WHERE summary IN ('array', 'label', 'none');
ALTER TABLE parent RENAME a TO b;
ALTER TABLE x1 RENAME k TO key;
ALTER TABLE persons RENAME name TO full_name;
:check
-- a name that comes to mean something else
CREATE TABLE regress_names2.taken (n int);
INSERT INTO regress_names2.taken VALUES (1);
CALL define('taken', 'SELECT count(*) AS n FROM taken');
CREATE TABLE regress_names.other (n int);
ALTER TABLE other RENAME TO taken;
SELECT query LIKE '%FROM regress\_names2.taken%', summary_cache_get('taken', true) FROM summary_cache.definition WHERE summary = 'taken';
-- so does one in a schema that was in the path and is gone
CREATE SCHEMA regress_names0;
SET search_path = regress_names0, regress_names, public;
CALL define('schema', 'SELECT count(*) AS n FROM odd_people');
DROP SCHEMA regress_names0;
CREATE SCHEMA regress_names3;
CREATE TABLE regress_names3.odd_people (n int);
INSERT INTO regress_names3.odd_people VALUES (1);
ALTER SCHEMA regress_names3 RENAME TO regress_names0;
SELECT query LIKE '%FROM regress\_names.odd\_people%', summary_cache_get('schema', true) FROM summary_cache.definition WHERE summary = 'schema';

-- a function that is named by an escape
CREATE FUNCTION regress_names.length(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.length($1)';
CALL define('escaped_call', $$SELECT U&"len\0067th"(E'\\d') AS n$$);
ALTER FUNCTION length(text) RENAME TO size;
SELECT query LIKE '%size(%', summary_cache_get('escaped_call', true) FROM summary_cache.definition WHERE summary = 'escaped_call';

-- a name that is too long means what it is cut to
SET client_min_messages = warning;
CALL define('long', 'SELECT count(*) AS n FROM a_name_of_sixty_three_bytes_which_is_the_longest_that_there_can_be_and_more');
ALTER TABLE a_name_of_sixty_three_bytes_which_is_the_longest_that_there_can_be RENAME TO short;
SELECT query LIKE '%FROM short%' FROM summary_cache.definition WHERE summary = 'long';

-- the CHECK of a domain runs when a constant is converted, but not for a rename
CREATE TABLE checked (n int);
CREATE FUNCTION says(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_lock(4710); RETURN true; END$$;
CREATE DOMAIN says AS text CHECK (says(VALUE));
SELECT summary_cache_define('checked', 'core', $$SELECT '{x}'::says[] AS x, count(*) AS n FROM checked$$);
SELECT count(*) AS it_ran, bool_and(pg_advisory_unlock(4710)) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4710 AND pid = pg_backend_pid();
ALTER TABLE checked RENAME TO unchecked;
ALTER TABLE unchecked RENAME TO checked;

DROP EXTENSION summary_cache;
DROP SCHEMA regress_names, regress_names0, regress_names1, regress_names2 CASCADE;
