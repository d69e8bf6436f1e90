-- Proves that bad input is refused with an SQLSTATE, a message that names the object and a hint, and that nothing of it remains.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_errors;
SET search_path = regress_errors, public;
\pset format unaligned
\pset tuples_only
SET client_min_messages = notice;

CREATE TABLE task (id int PRIMARY KEY, n int);
CREATE TABLE "Odd Name" (id int);
INSERT INTO task VALUES (1, 1), (2, 2);
CREATE TABLE one AS SELECT 1 AS n;
CREATE VIEW v AS SELECT * FROM task;
CREATE VIEW locking AS SELECT * FROM task FOR UPDATE;
CREATE SEQUENCE seq;
CREATE INDEX ind ON task (n);
CREATE TYPE pair AS (a int, b int);
CREATE TEMP TABLE temporary (id int);
CREATE FOREIGN DATA WRAPPER regress_errors_fdw;
CREATE SERVER regress_errors_server FOREIGN DATA WRAPPER regress_errors_fdw;
CREATE FOREIGN TABLE far (id int) SERVER regress_errors_server;

-- each error must have a hint of ours, and PostgreSQL's own errors their position
\getenv test PG_ABS_SRCDIR
\set helpers :test '/sql/include/helpers.sql'
\i :helpers
-- try() for the query of a section
CREATE FUNCTION define(query text, sources regclass[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT try(format('SELECT summary_cache_define(''bad'', ''core'', %L, %L)', query, sources))
$$;
-- the same without executing it: it is seen when it is built
CREATE FUNCTION define_only(query text, sources regclass[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT try(format('SELECT summary_cache_define(''bad'', ''core'', %L, %L, run_query => false)', query, sources))
$$;

--
-- Names of summaries
--
SELECT try($$SELECT summary_cache_get('none')$$);
SELECT try($$SELECT summary_cache_get('none', true)$$);
SELECT try($$SELECT summary_cache_fetch('none')$$);
SELECT try($$SELECT summary_cache_drop('none')$$);
SELECT try($$SELECT summary_cache_drop('none', 'core')$$);
SELECT try($$SELECT summary_cache_invalidate('none')$$);
SELECT try($$SELECT summary_cache_invalidate('none', 'nonsense')$$);
SELECT try($$SELECT state_summary()$$);
SELECT try($$SELECT summary_cache_fetch()$$);
SELECT try($$SELECT summary_cache_invalidate()$$);
SELECT try($$SELECT summary_cache_drop('state')$$);
-- also where the cache is not asked
SET summary_cache.enabled = off;
SELECT try($$SELECT summary_cache_get('none')$$);
RESET summary_cache.enabled;
SELECT try($$INSERT INTO task VALUES (3); SELECT summary_cache_get('none')$$);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT try($$SELECT summary_cache_get('none')$$);
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT try($$SELECT summary_cache_get('none')$$);
COMMIT;
-- empty, longest, too long; a name is not cut to the longest
SELECT try($$SELECT summary_cache_get('')$$);
SELECT try($$SELECT summary_cache_define('', 'core', 'SELECT 1 AS a')$$);
SELECT try($$SELECT summary_cache_define('s', '', 'SELECT 1 AS a')$$);
SELECT try($$SELECT summary_cache_define(repeat('s', 64), 'core', 'SELECT 1 AS a')$$);
SELECT try($$SELECT summary_cache_define('s', repeat('c', 64), 'SELECT 1 AS a')$$);
SELECT try($$SELECT summary_cache_define('s', repeat('ä', 32), 'SELECT 1 AS a')$$);
SELECT summary_cache_define(repeat('s', 63), repeat('c', 63), 'SELECT 1 AS a');
SELECT summary_cache_get(repeat('s', 63));
SELECT try($$SELECT summary_cache_get(repeat('s', 64))$$);
SELECT try($$SELECT summary_cache_fetch(repeat('s', 100))$$);
SELECT try($$SELECT summary_cache_drop(repeat('s', 64))$$);
SELECT try($$SELECT summary_cache_invalidate(repeat('s', 64))$$);
SELECT try($$SELECT summary_cache_drop(repeat('s', 63), repeat('c', 64))$$);
SELECT try($$SELECT summary_cache_invalidate(repeat('s', 63), repeat('c', 64))$$);
SELECT summary_cache_invalidate(repeat('s', 63), repeat('c', 63));
SELECT summary_cache_drop(repeat('s', 63), repeat('c', 63));
SELECT try($$SELECT summary_cache_get(repeat('s', 63))$$);
SELECT try($$SELECT summary_cache_define('s', 'all', 'SELECT 1 AS a')$$);

--
-- NULLs
--
SELECT try($$SELECT summary_cache_get(NULL)$$);
SELECT try($$SELECT summary_cache_fetch(NULL)$$);
SELECT try($$SELECT summary_cache_define(NULL, 'core', 'SELECT 1 AS a')$$);
SELECT try($$SELECT summary_cache_define('s', NULL, 'SELECT 1 AS a')$$);
SELECT try($$SELECT summary_cache_define('s', 'core', NULL)$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', NULL, NULL)$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', run_query => NULL)$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', ARRAY['task', NULL]::regclass[])$$);
SELECT try($$SELECT summary_cache_drop(NULL)$$);
SELECT try($$SELECT summary_cache_drop(NULL, 'core')$$);
SELECT try($$SELECT summary_cache_invalidate(NULL)$$);
SELECT try($$SELECT summary_cache_invalidate('s', NULL)$$);

--
-- Queries
--
SELECT define('');
SELECT define('  ');
SELECT define('-- only a comment');
SELECT define(';');
SELECT define('SELECT 1 AS a; SELECT 2 AS b');
SELECT define('SELECT 1 AS a; DROP TABLE task');
SELECT define('INSERT INTO task VALUES (9)');
SELECT define('UPDATE task SET n = 9 RETURNING n');
SELECT define('DELETE FROM task RETURNING n');
SELECT define('MERGE INTO task USING task t ON false WHEN MATCHED THEN DELETE');
SELECT define('WITH w AS (DELETE FROM task RETURNING n) SELECT sum(n) FROM w');
SELECT define('SELECT * FROM task FOR UPDATE');
SELECT define('SELECT sum(n) FROM (SELECT n FROM task FOR SHARE) s');
SELECT define('WITH w AS (SELECT n FROM task FOR UPDATE) SELECT sum(n) FROM w');
SELECT define('SELECT sum(n) FROM locking');
SELECT define('SELECT 1 AS a INTO TABLE new_table');
SELECT define('CREATE TABLE new_table (a int)');
SELECT define('CREATE TABLE new_table AS SELECT 1 AS a');
SELECT define('EXPLAIN SELECT 1 AS a');
SELECT define('SHOW work_mem');
SELECT define('BEGIN');
SELECT define('COMMIT');
SELECT define('SET work_mem = 64');
SELECT define('DO $x$ BEGIN END $x$');
SELECT define('COPY task TO STDOUT');
SELECT define('DECLARE c CURSOR FOR SELECT 1');
SELECT define('SELECT $1 AS a');
SELECT define('SELECT');
SELECT define('SELECT FROM task');
SELECT define('SELECT 1 AS a, 2 AS a');
SELECT define('SELECT 1');
SELECT define('SELECT 1 AS a, 2');
SELECT define('SELECT 1, 2');
SELECT define_only('SELECT 1 AS a, 2');
SELECT define('SELECT * FROM (SELECT 1 AS a, 2) s');
SELECT define('SELECT a.n, b.n FROM task a, task b');
SELECT define('SELECT no_such_column FROM task');
SELECT define('SELECT * FROM no_such_table');
-- of the kinds that are good: VALUES, TABLE, a trailing semicolon, comments, UNION, brackets
SELECT define('VALUES (1)');
SELECT define('TABLE one', '{one}');
SELECT define(E'/* a */ SELECT 1 AS a -- b\n;  ');
SELECT define('(SELECT 1 AS a UNION SELECT 1)');
SELECT define('WITH w AS (SELECT 1 AS a) SELECT * FROM w');
SELECT define('SELECT 1 AS last');
SELECT summary_cache_get('bad');
SELECT summary_cache_drop('bad');
-- syntax errors come at definition, with their position in the query
\set SHOW_CONTEXT never
SELECT summary_cache_define('bad', 'core', 'SELECT count(* FROM task');
SELECT summary_cache_define('bad', 'core', 'SELECT nn FROM task');
\set SHOW_CONTEXT errors

-- what is wrong with the result is told to who defines: several rows, no row, an error of the query
CREATE TABLE zero AS SELECT 0 AS n;
SELECT define('SELECT id FROM task WHERE n > 100', '{task}');
SELECT define('SELECT id FROM task', '{task}');
SELECT define('SELECT generate_series(1, 1000000) AS g');
SELECT define('SELECT 1 / n AS q FROM zero');
SELECT define('SELECT (SELECT id FROM task) AS id', '{task}');
CREATE FUNCTION hints() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'fails' USING HINT = 'A hint.', ERRCODE = '22023'; END$$;
SELECT define('SELECT hints() AS a');
-- the cure of the hint
SELECT define('SELECT (SELECT json_agg(t) FROM (SELECT id FROM task ORDER BY id) t) AS key', '{task}');
SELECT summary_cache_get('bad');
SELECT define('SELECT (SELECT json_agg(t) FROM (SELECT id FROM task WHERE n > 100) t) AS key', '{task}');
SELECT summary_cache_get('bad');
-- nothing of what failed was defined, also in the place of one that was
SELECT define('SELECT 1 / n AS q FROM zero');
SELECT query FROM summary_cache.definition;
SELECT summary_cache_drop('bad');
-- what it would do is not done
CREATE FUNCTION leaves() RETURNS text LANGUAGE sql AS $$SELECT set_config('work_mem', '77kB', false)$$;
SELECT define('SELECT leaves() AS a');
SELECT current_setting('work_mem') <> '77kB' AS nothing_remains;
SELECT summary_cache_drop('bad');
-- it sees what the transaction has written
BEGIN;
INSERT INTO one VALUES (2);
SELECT define('SELECT n FROM one', '{one}');
DELETE FROM one WHERE n = 2;
SELECT define('SELECT n FROM one', '{one}');
ROLLBACK;
-- in a read-only transaction it is not executed, nor is anything else that changes definitions
BEGIN READ ONLY;
SELECT define('SELECT 1 / n AS q FROM zero');
SELECT define_only('SELECT 1 / n AS q FROM zero');
SELECT try($$SELECT summary_cache_drop('bad')$$);
SELECT try($$SELECT summary_cache_configure('bad', 'max_stale_age', '1h')$$);
SELECT try($$SELECT summary_cache_attach_state_hub()$$);
ROLLBACK;
-- for not longer than build_timeout
SET summary_cache.build_timeout = '20 ms';
SELECT define('SELECT pg_sleep(10) AS a');
RESET summary_cache.build_timeout;
-- with the option off all of them are defined
SELECT define_only('SELECT id FROM task WHERE n > 100', '{task}');
SELECT try($$SELECT summary_cache_get('bad')$$);
SELECT try($$SELECT summary_cache_get('bad', true)$$);
SELECT define_only('SELECT id FROM task', '{task}');
SELECT try($$SELECT summary_cache_get('bad')$$);
SELECT define_only('SELECT generate_series(1, 1000000) AS g');
SELECT try($$SELECT summary_cache_get('bad')$$);
-- a private read says the same
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT try($$SELECT summary_cache_get('bad')$$);
COMMIT;
SELECT define_only('SELECT 1 / n AS q FROM zero');
SELECT try($$SELECT summary_cache_get('bad')$$);
-- (were it executed, it would fail soon)
SET summary_cache.build_timeout = '20 ms';
SELECT define_only('SELECT pg_sleep(600) AS a');
RESET summary_cache.build_timeout;
SELECT define('SELECT id FROM task LIMIT 1', '{task}');
SELECT summary_cache_get('bad') IS NOT NULL AS healed;
SELECT summary_cache_drop('bad');
-- what a failed read says is short: who reads is not sent the query, which the log has
SELECT define_only('SELECT 1 AS a, ''long'' AS b, (SELECT n FROM zero) AS c', '{zero}');
ALTER TABLE zero DROP n;
\set SHOW_CONTEXT never
SELECT summary_cache_get('bad', true);
\set SHOW_CONTEXT errors
SELECT summary_cache_drop('bad');
-- code of others is not executed by a superuser who defines for them; what is PostgreSQL's own is
CREATE ROLE regress_errors_super SUPERUSER;
CREATE ROLE regress_errors_owner;
GRANT USAGE ON SCHEMA regress_errors TO regress_errors_owner;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_get TO regress_errors_owner;
SET ROLE regress_errors_owner;
SELECT summary_cache_define('others', 'core', 'SELECT 1 AS a', '{}');
RESET ROLE;
CREATE FUNCTION theirs() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'executed'; END$$;
SET ROLE regress_errors_super;
SELECT summary_cache_define('others', 'core', 'SELECT theirs() AS a', '{}');
RESET ROLE;
SELECT try($$SELECT summary_cache_define('others', 'core', 'SELECT 1 / count(*) FILTER (WHERE false) AS a', '{}')$$);
SELECT summary_cache_define('others', 'core', 'SELECT 2 AS a', '{}');
SET ROLE regress_errors_owner;
SELECT try($$SELECT summary_cache_define('others', 'core', 'SELECT theirs() AS a', '{}')$$);
RESET ROLE;
SELECT summary_cache_drop('others');
DROP OWNED BY regress_errors_owner;
DROP ROLE regress_errors_owner, regress_errors_super;

-- keys
SELECT summary_cache_define('keys', 'one', 'SELECT 1 AS a, 2 AS b');
SELECT try($$SELECT summary_cache_define('keys', 'two', 'SELECT 3 AS c, 4 AS a')$$);
SELECT summary_cache_define('keys', 'two', 'SELECT 3 AS c, 4 AS "A"');
SELECT try($$SELECT summary_cache_define('keys', 'one', 'SELECT 5 AS "A"')$$);
SELECT summary_cache_get('keys');
-- a key that a section has only since its table has another column
SELECT summary_cache_define('keys', 'two', 'SELECT * FROM "Odd Name" LIMIT 1', run_query => false);
INSERT INTO "Odd Name" VALUES (1);
SELECT summary_cache_get('keys');
ALTER TABLE "Odd Name" ADD b int;
SELECT try($$SELECT summary_cache_get('keys', true)$$);
ALTER TABLE "Odd Name" DROP b;
SELECT summary_cache_get('keys', true);
SELECT summary_cache_drop('keys');

-- what is given in the place of the sources
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', 'inline')$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', 'background', 'inline')$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', 'task')$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', 'task'::regclass)$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', 1)$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', '{task')$$);
-- arrays of whatever type
CREATE FUNCTION sources_of(sources text) RETURNS regclass[] LANGUAGE plpgsql AS $$BEGIN
    EXECUTE format('SELECT summary_cache_define(''s'', ''core'', ''SELECT 1 AS a'', %s)', sources);
    RETURN (SELECT d.sources FROM summary_cache.definition d);
END$$;
SELECT of, sources_of(of) FROM unnest(ARRAY[$$'{task, "\"Odd Name\""}'$$, $$E' \n{task}'$$, $$'[0:1]={task,one}'$$, $$'{}'$$, $$sources => '{task}'$$,
    $$ARRAY['task'::regclass, 'one']$$, $$ARRAY['task', '"Odd Name"']$$, $$ARRAY['task', '"Odd Name"']::text[]$$, $$'{one}'::regclass[]$$, $$'{one}'::name[]$$, $$'{one}'::varchar$$,
    $$ARRAY['one'::regclass::oid]$$, $$ARRAY[]::regclass[]$$, $$ARRAY(SELECT c.oid::regclass FROM pg_class c WHERE c.oid = 'task'::regclass)$$,
    $$NULL$$, $$NULL::text$$]) of;
PREPARE untyped AS SELECT summary_cache_define('s', 'core', 'SELECT 2 AS a', $1);
EXECUTE untyped('{task}');
SELECT sources FROM summary_cache.definition;
SELECT summary_cache_drop('s');

-- other arguments
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', NULL, 'sometimes')$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', NULL, '')$$);
SELECT try($$SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a', NULL, 'INLINE')$$);
SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a');
SELECT summary_cache_define('s', 'progress', 'SELECT 2 AS b', NULL, 'inline');
SELECT try($$SELECT summary_cache_invalidate('s', '')$$);
SELECT try($$SELECT summary_cache_invalidate('s', 'CORE')$$);
SELECT try($$SELECT summary_cache_invalidate('s', 'nonsense')$$);
SELECT try($$SELECT summary_cache_drop('s', 'nonsense')$$);
SELECT try($$SELECT summary_cache_drop('s', 'all')$$);
SELECT summary_cache_drop('s');

--
-- Sources
--
SELECT define('SELECT 1 AS a', '{v}');
SELECT define('SELECT 1 AS a', '{task, far}');
SELECT define('SELECT 1 AS a', '{temporary}');
SELECT define('SELECT 1 AS a', '{pg_class}');
SELECT define('SELECT 1 AS a', '{seq}');
SELECT define('SELECT 1 AS a', '{ind}');
SELECT define('SELECT 1 AS a', '{pair}');
SELECT define('SELECT 1 AS a', '{summary_cache.definition}');
SELECT define('SELECT 1 AS a', ARRAY[4294967295::oid::regclass]);
SELECT try($$SELECT summary_cache_define('bad', 'core', 'SELECT 1 AS a', '{no_such_table}')$$);
-- derived ones
SELECT try($$SELECT summary_cache_define('bad', 'core', 'SELECT count(*) AS a FROM far')$$);
SELECT try($$SELECT summary_cache_define('bad', 'core', 'SELECT count(*) AS a FROM temporary')$$);
SELECT try($$SELECT summary_cache_define('bad', 'core', 'SELECT count(*) AS a FROM pg_class')$$);
SELECT try($$SELECT summary_cache_define('bad', 'core', 'SELECT last_value FROM seq')$$);
-- a temporary relation is refused also when it is not a source, since another session would not find it
SELECT define('SELECT count(*) AS a FROM temporary');
-- a catalog may be read by a section that does not follow it
SELECT define('SELECT count(*) > 0 AS a FROM pg_class');
SELECT summary_cache_get('bad');
SELECT summary_cache_drop('bad');

-- what is not ours on a table
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER summary_cache_statement AFTER INSERT ON "Odd Name" EXECUTE FUNCTION nothing();
SELECT define('SELECT 1 AS a', ARRAY['"Odd Name"'::regclass]);
DROP TRIGGER summary_cache_statement ON "Odd Name";
-- the trigger function elsewhere
SELECT try($$SELECT summary_cache_touch()$$);

--
-- Queries that cannot be built
--
-- a function that writes: a build is read-only
CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO task VALUES (100); RETURN 1; END';
CREATE FUNCTION writes_catalog() RETURNS int LANGUAGE plpgsql AS 'BEGIN CREATE TABLE new_table (a int); RETURN 1; END';
CREATE FUNCTION writes_sequence() RETURNS bigint LANGUAGE sql AS $$SELECT nextval('seq')$$;
SELECT try($$SELECT summary_cache_define('fails', 'core', 'SELECT writes() AS a', '{task}')$$);
SELECT summary_cache_define('fails', 'core', 'SELECT writes() AS a', '{task}', run_query => false);
SELECT try($$SELECT summary_cache_get('fails')$$);
BEGIN;
INSERT INTO task VALUES (3);
SELECT try($$SELECT summary_cache_get('fails')$$);
ROLLBACK;
SELECT summary_cache_define('fails', 'core', 'SELECT writes_catalog() AS a', '{task}', run_query => false);
SELECT try($$SELECT summary_cache_get('fails')$$);
SELECT summary_cache_define('fails', 'core', 'SELECT writes_sequence() AS a', '{task}', run_query => false);
SELECT try($$SELECT summary_cache_get('fails')$$);
-- the caller's transaction is not made read-only for it
BEGIN;
SELECT try($$SELECT summary_cache_get('fails')$$);
SHOW transaction_read_only;
INSERT INTO task VALUES (3, 3);
ROLLBACK;

-- it reads itself, directly or by another
SELECT try($q$SELECT summary_cache_define('fails', 'core', $$SELECT summary_cache_get('fails', true) AS a$$, '{}')$q$);
SELECT summary_cache_define('fails', 'core', $$SELECT summary_cache_get('fails') AS a$$, '{}', run_query => false);
SELECT try($$SELECT summary_cache_get('fails')$$);
SELECT summary_cache_define('fails', 'core', $$SELECT summary_cache_get('fails2') AS a$$, '{}', run_query => false);
SELECT try($q$SELECT summary_cache_define('fails2', 'core', $$SELECT summary_cache_get('fails', true) AS a$$, '{}')$q$);
SELECT summary_cache_define('fails2', 'core', $$SELECT summary_cache_get('fails', true) AS a$$, '{}', run_query => false);
SELECT try($$SELECT summary_cache_get('fails')$$);
SELECT try($$SELECT summary_cache_get('fails2')$$);
SELECT summary_cache_drop('fails2');

-- it takes too long
SELECT summary_cache_define('long', 'core', 'SELECT count(*) AS a FROM generate_series(1, 50000000)', '{}', run_query => false);
SET summary_cache.build_timeout = '20 ms';
SELECT summary_cache_get('long');
RESET summary_cache.build_timeout;
SELECT 'the session goes on' FROM pg_sleep(0.05);
SET statement_timeout = '20 ms';
SELECT summary_cache_get('long');
RESET statement_timeout;
SELECT summary_cache_drop('long');
-- the same where a worker builds
SELECT summary_cache_define('sleeps', 'core', 'SELECT pg_sleep(3) AS a', '{}', run_query => false);
SET summary_cache.build_timeout = '20 ms';
SELECT summary_cache_get('sleeps');
RESET summary_cache.build_timeout;
SET statement_timeout = '20 ms';
SELECT summary_cache_get('sleeps');
RESET statement_timeout;
SET lock_timeout = '20 ms';
SELECT try($$SELECT summary_cache_get('sleeps')$$);
RESET lock_timeout;
SELECT summary_cache_drop('sleeps');

-- any error of its own: it says which section of which summary
-- also at its definition, where the planner meets it, and nothing is executed
SELECT summary_cache_define('fails', 'core', 'SELECT 1 / 0 AS a', run_query => false);
SELECT summary_cache_define('fails', 'core', 'SELECT 1 / n AS a FROM task WHERE n = 0', '{task}', run_query => false);
INSERT INTO task VALUES (10, 0);
SELECT summary_cache_get('fails');
CALL wait_until($$last_error_sqlstate = '22012' FROM summary_cache_stats WHERE summary = 'fails'$$);
SELECT last_error, last_error_sqlstate, last_error_at IS NOT NULL, consecutive_failures > 0 FROM summary_cache_stats WHERE summary = 'fails';
UPDATE task SET n = 1 WHERE n = 0;
SELECT try($$SELECT summary_cache_get('fails')$$);
SELECT summary_cache_drop('fails');

--
-- A table or column that goes away: reads go on stale, with the error to be seen, until it is back
--
CREATE TABLE soon (id int, c int);
INSERT INTO soon VALUES (1, 11);
SELECT summary_cache_define('heals', 'core', 'SELECT sum(c) AS c FROM soon');
SELECT status, document FROM summary_cache_fetch('heals');
SET summary_cache.read_your_writes = off;
ALTER TABLE soon DROP COLUMN c;
SELECT status, document FROM summary_cache_fetch('heals');
CALL wait_until('consecutive_failures > 0 FROM summary_cache_stats');
SELECT status, document FROM summary_cache_fetch('heals');
SELECT last_error, last_error_sqlstate, last_error_at IS NOT NULL FROM summary_cache_stats;
-- who insists gets the error
SELECT try($$SELECT summary_cache_get('heals', true)$$);
SELECT try($$SELECT summary_cache_define('other', 'core', 'SELECT sum(c) AS c FROM soon')$$);
ALTER TABLE soon ADD COLUMN c int DEFAULT 12;
CALL wait_until($$status = 'hit-revision' FROM summary_cache_fetch('heals')$$);
SELECT status, document FROM summary_cache_fetch('heals');
SELECT last_error, last_error_sqlstate, last_error_at IS NOT NULL, consecutive_failures FROM summary_cache_stats;
-- the table itself: a new one of its name is another table, which the triggers are not on
DROP TABLE soon;
SELECT status, document FROM summary_cache_fetch('heals');
CALL wait_until('consecutive_failures > 0 FROM summary_cache_stats');
SELECT last_error, last_error_sqlstate FROM summary_cache_stats;
SELECT provable, reason FROM summary_cache_tables;
-- a session that has dropped it itself has its document all the same
RESET summary_cache.read_your_writes;
SELECT status, document FROM summary_cache_fetch('heals');
CREATE TABLE soon (id int, c int);
INSERT INTO soon VALUES (1, 13);
SELECT status, document FROM summary_cache_fetch('heals', NULL, true);
SELECT status = 'hit-revision' AS must_not_be_proven FROM summary_cache_fetch('heals');
SELECT summary_cache_define('heals', 'core', 'SELECT sum(c) AS c FROM soon');
SELECT status, document FROM summary_cache_fetch('heals', NULL, true);
SELECT status, document FROM summary_cache_fetch('heals');
UPDATE soon SET c = 14;
SELECT document FROM summary_cache_fetch('heals');
SELECT summary_cache_drop('heals');

--
-- Every argument of every function: whatever the extension has, so that none is forgotten
--
CREATE SCHEMA regress_errors_hub;
CREATE TABLE regress_errors_hub.topics (id int PRIMARY KEY, updated_at timestamptz);
CREATE TABLE regress_errors_hub.progress_events (id int PRIMARY KEY, created_at timestamptz);
CREATE INDEX ON regress_errors_hub.topics (updated_at);
CREATE INDEX ON regress_errors_hub.progress_events (created_at);
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub('regress_errors_hub');
SELECT summary_cache_define('s', 'core', 'SELECT count(*) AS a FROM task');

-- A call that is good, of which one argument will be made bad.
CREATE TABLE good (argument text PRIMARY KEY, value text);
INSERT INTO good VALUES
    ('summary', $$'s'$$), ('section', $$'core'$$), ('query', $$'SELECT count(*) AS a FROM task'$$),
    ('sources', $$'{task}'$$), ('refresh', $$'background'$$), ('run_query', 'true'), ('option', $$'max_stale_age'$$),
    ('value', $$'10'$$), ('scope', $$'all'$$), ('hub_schema', $$'regress_errors_hub'$$),
    ('force_refresh', 'false'), ('encodings', $$'zstd, gzip'$$), ('if_none_match', $$'etag'$$), ('role', $$'pg_monitor'$$), ('parameters', $$'{}'$$), ('keys', 'NULL');
-- What may be wrong with an argument of a type.
CREATE TABLE wrong (type regtype, description text, value text);
INSERT INTO wrong VALUES
    ('text', 'NULL', 'NULL'), ('text', 'empty', $$''$$), ('text', 'blank', $$' '$$),
    ('text', '63 bytes', $$repeat('x', 63)$$), ('text', '64 bytes', $$repeat('x', 64)$$),
    ('text', '1 MB', $$repeat('x', 1024 * 1024)$$), ('text', 'control character', $$E'a\nb'$$),
    ('text', 'integer', '1'), ('text', 'array', $$'{a}'::text[]$$),
    ('name', 'NULL', 'NULL'), ('name', 'empty', $$''$$), ('name', '64 bytes', $$repeat('x', 64)$$),
    ('name', 'no such', $$'no_such_schema'$$), ('name', 'integer', '1'),
    ('boolean', 'NULL', 'NULL'), ('boolean', 'empty', $$''$$), ('boolean', 'no boolean', $$'perhaps'$$),
    ('boolean', 'integer', '1'),
    ('anycompatible', 'NULL', 'NULL'), ('anycompatible', 'empty', $$'{}'$$), ('anycompatible', 'no array', $$''$$),
    ('anycompatible', 'with NULL', $$'{task,NULL}'$$), ('anycompatible', 'twice', $$'{task,task}'$$),
    ('anycompatible', 'two dimensions', $$'{{task},{task}}'$$), ('anycompatible', 'no such', $$'{no_such_table}'$$),
    ('anycompatible', 'no such oid', $$'{4294967295}'$$), ('anycompatible', 'oid 0', $$'{0}'$$),
    ('anycompatible', 'long name', $$ARRAY[repeat('x', 64)]::regclass[]$$), ('anycompatible', 'a view', $$'{v}'$$),
    ('anycompatible', 'a catalog', $$'{pg_class}'$$), ('anycompatible', 'one regclass', $$'task'::regclass$$),
    ('anycompatible', 'text[]', $$'{task}'::text[]$$),
    ('text[]', 'NULL', 'NULL'), ('text[]', 'no array', $$''$$), ('text[]', 'integer', '1'), ('text[]', 'with NULL', $$'{NULL}'$$),
    ('text[]', 'empty string', $$'{""}'$$), ('text[]', 'two dimensions', $$'{{a int},{b int}}'$$), ('text[]', 'of integers', $$'{1}'::int[]$$),
    ('text[]', '1 MB', $$ARRAY[repeat('x', 1024 * 1024)]$$), ('text[]', 'many', $$ARRAY(SELECT 'p' || i || ' int' FROM generate_series(1, 10000) i)$$),
    ('regrole', 'NULL', 'NULL'), ('regrole', 'none', $$'-'$$), ('regrole', 'empty', $$''$$), ('regrole', 'no such', $$'regress_no_such_role'$$),
    ('regrole', 'no such oid', '4294967295'), ('regrole', 'PUBLIC', $$'public'$$);

CREATE VIEW functions AS
    SELECT p.oid AS function, p.proname AS name, a.n, p.proargnames[a.n] AS argument, a.type
    FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        LEFT JOIN LATERAL unnest(p.proargtypes::oid[]::regtype[]) WITH ORDINALITY a (type, n) ON true
    WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
        AND d.refclassid = 'pg_extension'::regclass
        AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache');
-- An argument without a good value, or of a type of which nothing is known to be wrong, is to be added above.
SELECT name, argument, type FROM functions f
WHERE n IS NOT NULL AND (NOT EXISTS (SELECT FROM good g WHERE g.argument = f.argument)
    OR NOT EXISTS (SELECT FROM wrong w WHERE w.type = f.type));

-- A call in which one argument, or none, has another value.
CREATE FUNCTION call_of(f oid, bad text DEFAULT NULL, bad_value text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT %I.%I(%s)', (SELECT pronamespace::regnamespace FROM pg_proc WHERE oid = f), min(name),
        string_agg(format('%I => %s', fs.argument, CASE WHEN fs.argument = bad THEN bad_value ELSE g.value END), ', ' ORDER BY n)
            FILTER (WHERE n IS NOT NULL))
    FROM functions fs LEFT JOIN good g USING (argument) WHERE function = f
$$;
-- All that there is of the extension.
CREATE FUNCTION everything() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(E'\n',
        (SELECT string_agg(d::text, E'\n' ORDER BY d::text) FROM summary_cache.definition d),
        (SELECT string_agg(o::text, E'\n' ORDER BY o::text) FROM summary_cache.option o),
        (SELECT string_agg(r::text, E'\n' ORDER BY r::text) FROM summary_cache.reader r),
        (SELECT string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled), E'\n' ORDER BY tgrelid, tgname) FROM pg_trigger),
        (SELECT string_agg(concat_ws(' ', source, sections, provable), E'\n' ORDER BY source) FROM summary_cache_tables),
        (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_depend))
$$;
-- How a call ends.  What it does is undone, in order that the next one finds the same.
CREATE FUNCTION outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; hint text;
BEGIN
    EXECUTE command;
    RAISE SQLSTATE 'GOOD0';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN CASE WHEN state = 'GOOD0' THEN 'good' WHEN state = '42883' THEN '42883 no such function' ELSE
        concat_ws(' ', state, left(replace(regexp_replace(message, 'x{20,}', '...', 'g'), E'\n', '\n'), 90), CASE WHEN hint = '' THEN '(no hint)' END) END;
END $$;
CREATE TABLE outcomes (name text, argument text, n int, description text, outcome text);
SELECT everything() AS before \gset

-- all good: who has changed the table of good values knows it
SELECT name, outcome(call_of(function)) FROM (SELECT DISTINCT name, function FROM functions) f ORDER BY name;
-- each wrong value
INSERT INTO outcomes
    SELECT name, argument, n, description, outcome(call_of(function, argument, value))
    FROM functions JOIN wrong USING (type);
SELECT name || '(' || argument || ' ' || description || '): ' || outcome
FROM outcomes ORDER BY name, n, description COLLATE "C";
-- no internal error among them, and no message without words
SELECT * FROM outcomes WHERE outcome ~ '^XX' OR outcome !~ '^(good$|\w{5} \S)';
SELECT everything() = :'before' AS nothing_remains;
SELECT summary_cache_get('s'), state_summary() IS NOT NULL AS state;

-- without rights: not even with good arguments, and nothing can be read
CREATE ROLE regress_errors_nobody;
GRANT USAGE ON SCHEMA regress_errors TO regress_errors_nobody;
GRANT SELECT ON good, functions TO regress_errors_nobody;
SET ROLE regress_errors_nobody;
SELECT name, outcome(call_of(function)) FROM (SELECT DISTINCT name, function FROM functions) f ORDER BY name;
SELECT relname, outcome(format('SELECT * FROM %s', c.oid::regclass)),
    CASE WHEN relkind = 'r' THEN outcome(format('DELETE FROM %s', c.oid::regclass)) END
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'v')
    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache') ORDER BY relname;
RESET ROLE;
-- with EXECUTE and nothing else: what is another's cannot be changed
DO $$
DECLARE
    f oid;
BEGIN
    FOR f IN SELECT function FROM functions LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO regress_errors_nobody', f::regprocedure);
    END LOOP;
END $$;
SET ROLE regress_errors_nobody;
SELECT name, outcome(call_of(function)) FROM (SELECT DISTINCT name, function FROM functions) f ORDER BY name;
SELECT outcome($$SELECT summary_cache_define('mine', 'core', 'SELECT count(*) AS a FROM task')$$);
SELECT outcome($$SELECT summary_cache_define('mine', 'core', 'SELECT 1 AS a', '{task}')$$);
SELECT outcome($$SELECT summary_cache_define('s', 'mine', 'SELECT 1 AS b', '{}')$$);
RESET ROLE;
DROP OWNED BY regress_errors_nobody;
DROP ROLE regress_errors_nobody;
SELECT everything() = :'before' AS nothing_remains;
SELECT summary_cache_drop('s');
SELECT summary_cache_drop('state');
SET client_min_messages = notice;

--
-- Nothing remains
--
SELECT count(*) FROM summary_cache.definition;
SELECT count(*) FROM summary_cache_stats;
SELECT count(*) FROM summary_cache_tables;
-- but for the triggers of the definitions themselves
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgname LIKE 'summary_cache%' ORDER BY 1, 2;
SELECT id, n FROM task ORDER BY id;
SELECT to_regclass('new_table');

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP FOREIGN DATA WRAPPER regress_errors_fdw CASCADE;
DROP SCHEMA regress_errors, regress_errors_hub CASCADE;
