-- Proves that a function which got into a section's query runs as the section's owner and can do nothing but read, whoever builds; and that nothing of it remains in the session that reads.

SET client_min_messages = warning;
-- a worker may take its time on a busy machine
SET deadlock_timeout = '1min';
CREATE EXTENSION summary_cache SCHEMA public;
\pset format unaligned
\pset tuples_only
\getenv test PG_ABS_SRCDIR
\set rights :test '/sql/include/rights.sql'
\i :rights
\set helpers :test '/sql/include/helpers.sql'
\i :helpers
\set attack :test '/sql/include/attack.sql'
\i :attack

-- it does work: a superuser who calls the function by hand is lost
BEGIN;
SELECT regress_attack.try();
SELECT count(*) > 20 AS much FROM log();
ROLLBACK;
SELECT setval('regress_attack.seq', 1, false);

--
-- A definition by a role without rights: its query is executed in the session of who defines, as that role
--
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('trap', 'core', 'SELECT regress_attack.try() AS x, current_user AS "user"', '{}');
RESET ROLE;
SELECT log();
-- not by a superuser who defines it for that role
SELECT summary_cache_define('trap', 'core', 'SELECT regress_attack.try() AS x, current_user AS "user", 1 AS one', '{}');
SELECT log();
SELECT summary_cache_drop('trap');

--
-- The same, read by a superuser
--
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('trap', 'core', 'SELECT regress_attack.try() AS x, current_user AS "user"', '{}', run_query => false);
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('trap');
SELECT log();
SELECT status, document FROM summary_cache_fetch('trap', NULL, true);
SELECT log();
-- privately
SET summary_cache.enabled = off;
SELECT status, document FROM summary_cache_fetch('trap');
SELECT log();
RESET summary_cache.enabled;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document FROM summary_cache_fetch('trap');
COMMIT;
SELECT log();
SET ROLE regress_rights_attacker;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document FROM summary_cache_fetch('trap');
RESET ROLE;
SELECT log();
COMMIT;
-- by the worker
CREATE TABLE regress_attack.tick (n int);
GRANT SELECT, TRIGGER ON regress_attack.tick TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('trap', 'core', 'SELECT regress_attack.try() AS x, current_user AS "user", (SELECT count(*) FROM regress_attack.tick) AS n', '{regress_attack.tick}', run_query => false);
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('trap');
SELECT log();
SET summary_cache.read_your_writes = off;
INSERT INTO regress_attack.tick VALUES (1);
SELECT status, document FROM summary_cache_fetch('trap');
CALL wait_until($$status = 'hit-revision' FROM summary_cache_fetch('trap')$$);
SELECT status, document FROM summary_cache_fetch('trap');
RESET summary_cache.read_your_writes;
SELECT builds_background > 0 AS by_worker FROM summary_cache_stats WHERE summary = 'trap';
-- in a session that became another's
SET SESSION AUTHORIZATION regress_rights_super;
SET ROLE regress_rights_owner;
SELECT status, document FROM summary_cache_fetch('trap', NULL, true);
SELECT log();
SELECT current_user, session_user;
RESET SESSION AUTHORIZATION;
-- within a section of someone else, which then goes on as its own owner
SET ROLE regress_rights_owner;
SELECT summary_cache_define('outer', 'core', $$SELECT summary_cache_get('trap') AS trap, current_user AS "user"$$, '{}');
RESET ROLE;
-- (what is in it is made in another process, before)
SELECT status FROM summary_cache_fetch('trap');
SELECT status, document FROM summary_cache_fetch('outer');
SELECT log();
-- the reader's transaction is as it was
BEGIN;
SELECT summary_cache_get('trap', true);
SHOW transaction_read_only;
CREATE TEMP TABLE mine (x int);
SELECT current_user = session_user AS same;
ROLLBACK;
-- also after a build that fails
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.fail() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM regress_attack.try(), set_config('search_path', 'regress_attack', false), set_config('row_security', 'off', false);
    RETURN 1 / 0;
END $$;
SELECT summary_cache_define('failing', 'core', 'SELECT regress_attack.fail() AS x', '{}', run_query => false);
RESET ROLE;
BEGIN;
SAVEPOINT x;
\set VERBOSITY terse
SELECT summary_cache_get('failing');
\set VERBOSITY default
ROLLBACK TO x;
SHOW transaction_read_only;
SHOW search_path;
SHOW row_security;
SELECT current_user = session_user AS same;
ROLLBACK;
SELECT log();

--
-- What remains of a build in the reader's session
--
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.change_settings() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    SET search_path = regress_attack;
    SET row_security = off;
    SET LOCAL datestyle = 'SQL, DMY';
    SET summary_cache.enabled = off;
    SET statement_timeout = '1h';
    PERFORM set_config('regress.new', 'x', false), set_config('timezone', 'Asia/Tokyo', true), set_config('lock_timeout', '77', false);
    RETURN current_setting('search_path');
END $$;
SELECT summary_cache_define('settings', 'core', 'SELECT regress_attack.change_settings() AS x', '{}', run_query => false);
RESET ROLE;
CREATE TEMP TABLE before AS SELECT name, setting FROM pg_settings;
BEGIN;
SELECT summary_cache_get('settings', true);
SELECT name, a.setting, b.setting FROM pg_settings a FULL JOIN before b USING (name) WHERE a.setting IS DISTINCT FROM b.setting;
SELECT nullif(current_setting('regress.new', true), '') IS NULL AS none;
COMMIT;
SELECT name, a.setting, b.setting FROM pg_settings a FULL JOIN before b USING (name) WHERE a.setting IS DISTINCT FROM b.setting;
SELECT nullif(current_setting('regress.new', true), '') IS NULL AS none;
DROP TABLE before;
-- what needs no right is undone with the rest; but for an advisory lock of the session
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.allowed() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock(4713), pg_advisory_xact_lock(4714), pg_notify('regress_rights', 'notified'), setseed(0.5);
    RETURN 'done';
END $$;
-- before version 16 also in a read-only transaction
CREATE FUNCTION regress_attack.large_object() RETURNS oid LANGUAGE sql AS 'SELECT lo_create(0)';
SELECT summary_cache_define('large', 'core', 'SELECT regress_attack.large_object() IS NOT NULL AS x', '{}', run_query => false);
SELECT summary_cache_define('allowed', 'core', 'SELECT regress_attack.allowed() AS x', '{}', run_query => false);
RESET ROLE;
LISTEN regress_rights;
BEGIN;
SELECT status, document FROM summary_cache_fetch('allowed');
SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND objid IN (4713, 4714) AND pid = pg_backend_pid();
COMMIT;
SELECT FROM try($$SELECT summary_cache_get('large')$$);
SELECT count(*) FROM pg_largeobject_metadata;
UNLISTEN regress_rights;
SELECT log();
-- a cursor of the reader's is replaced by one of its name: it would run with the reader's rights
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.replace_cursor() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c refcursor := 'mine';
BEGIN
    BEGIN
        CLOSE c;
    EXCEPTION WHEN invalid_cursor_name THEN
        NULL;
    END;
    c := 'mine';
    OPEN c FOR SELECT regress_attack.try();
    c := 'another';
    OPEN c FOR SELECT regress_attack.try();
    RETURN 'done';
END $$;
SELECT summary_cache_define('cursor', 'core', 'SELECT regress_attack.replace_cursor() AS x', '{}', run_query => false);
RESET ROLE;
BEGIN;
DECLARE mine CURSOR FOR SELECT 'my own row';
FETCH mine;
SELECT status, document FROM summary_cache_fetch('cursor');
SELECT count(*) FROM pg_cursors WHERE statement LIKE '%regress_attack%' AND statement NOT LIKE '%pg_cursors%';
FETCH mine;
ROLLBACK;
SELECT log();
-- also while it is planned, by a superuser who attaches or defines
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.replace_immutable(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    'BEGIN PERFORM regress_attack.replace_cursor(); RETURN 1; END';
RESET ROLE;
BEGIN;
DECLARE mine CURSOR FOR SELECT 'my own row';
SELECT summary_cache_define('cursor', 'core', 'SELECT regress_attack.replace_immutable(1) AS x', '{}');
FETCH mine;
ROLLBACK;
SELECT log();

--
-- Functions of the attacker's in what the owner's query reads.  They run as the owner, as in any query of the owner's, and can no more than read
--
SET regress.disarmed = on;
SET ROLE regress_rights_owner;
SET search_path = regress_rights;
CREATE TABLE moods (m text);
CREATE TABLE infected (id int, n int);
INSERT INTO infected VALUES (1, 1);
CREATE INDEX ON infected ((n + regress_attack.try_immutable(1)));
CREATE TABLE policed (id int);
INSERT INTO policed VALUES (1);
ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
ALTER TABLE policed FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON policed USING (regress_attack.try() = id);
CREATE VIEW viewed AS SELECT id, regress_attack.try() AS x FROM moods RIGHT JOIN infected ON true;
CREATE VIEW invoking WITH (security_invoker) AS SELECT * FROM viewed;
CREATE DOMAIN checked AS int CHECK (regress_attack.try() = 1);
RESET regress.disarmed;
SELECT public.summary_cache_define('infected', 'index', 'SELECT count(*) AS i FROM infected WHERE n + 1 > 0');
SELECT public.summary_cache_define('infected', 'policy', 'SELECT count(*) AS p FROM policed', '{policed}');
SELECT public.summary_cache_define('infected', 'view', 'SELECT max(x) AS v FROM viewed', '{moods, infected}');
SELECT public.summary_cache_define('infected', 'invoker', 'SELECT max(x) AS s FROM invoking', '{moods, infected}');
SELECT public.summary_cache_define('infected', 'domain', 'SELECT 1::checked AS d');
-- a cast to json of the attacker's type, which to_json() looks for
RESET ROLE;
SET ROLE regress_rights_attacker;
CREATE TYPE regress_attack.castable AS ENUM ('a');
CREATE FUNCTION regress_attack.to_json(regress_attack.castable) RETURNS json LANGUAGE sql
    AS $$SELECT json_build_object('cast', regress_attack.try())$$;
CREATE CAST (regress_attack.castable AS json) WITH FUNCTION regress_attack.to_json(regress_attack.castable);
RESET ROLE;
SET ROLE regress_rights_owner;
CREATE TABLE cast_to_json (c regress_attack.castable);
INSERT INTO cast_to_json VALUES ('a');
SELECT public.summary_cache_define('infected', 'cast', 'SELECT c FROM cast_to_json');
RESET search_path;
RESET ROLE;
-- (that they were defined has executed them)
SELECT log();
SELECT summary_cache_get('infected', true);
SELECT log();
SET row_security = off;
SET session_replication_role = replica;
SELECT summary_cache_get('infected', true);
SELECT log();
RESET row_security;
RESET session_replication_role;

--
-- A hub table swapped for a hostile view after a superuser has attached it; and CREATE EXTENSION by a superuser over such tables
--
SELECT summary_cache_attach_state_hub('regress_rights');
-- the query would follow: let it name what is gone, as if that had been dropped
CREATE TABLE regress_attack.texts AS SELECT summary, section, query FROM summary_cache.definition;
ALTER TABLE regress_rights.tasks RENAME TO tasks_old;
UPDATE summary_cache.definition d SET query = t.query FROM regress_attack.texts t WHERE (t.summary, t.section) = (d.summary, d.section) AND d.summary = 'state';
SET ROLE regress_rights_owner;
CREATE VIEW regress_rights.tasks AS SELECT regress_attack.try() AS id, 'x' AS status, now() AS updated_at;
RESET ROLE;
SELECT state_summary(true) -> 'tasks' ->> 'count' AS count;
SELECT log();
DROP VIEW regress_rights.tasks;
ALTER TABLE regress_rights.tasks_old RENAME TO tasks;
SET regress.disarmed = on;
ALTER TABLE regress_rights.tasks ADD x int GENERATED ALWAYS AS (id + 1) STORED;
CREATE INDEX ON regress_rights.tasks ((id + regress_attack.try_immutable(1)));
ALTER TABLE regress_rights.tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE regress_rights.tasks FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON regress_rights.tasks USING (regress_attack.try() = 1 AND regress_attack.try_immutable(1) = 1);
\c -
SET client_min_messages = warning;
BEGIN;
DROP EXTENSION summary_cache CASCADE;
SET search_path = regress_rights, public;
CREATE EXTENSION summary_cache SCHEMA public;
GRANT EXECUTE ON FUNCTION state_summary TO regress_rights_owner;
SELECT section, owner FROM summary_cache.definition ORDER BY section;
SELECT log();
SAVEPOINT s;
SELECT state_summary() -> 'tasks' ->> 'count' AS count;
ROLLBACK TO s;
SELECT log();
SET ROLE regress_rights_owner;
SELECT state_summary() -> 'tasks' ->> 'count' AS count;
RESET ROLE;
SELECT log();
ROLLBACK;
DROP POLICY p ON regress_rights.tasks;
ALTER TABLE regress_rights.tasks NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
-- whoever names the table in a query of his own runs it when that is planned
DROP INDEX regress_rights.tasks_expr_idx;

--
-- Nothing came of it
--
SELECT harm();

DROP EXTENSION summary_cache CASCADE;
DROP OWNED BY regress_rights_attacker, regress_rights_owner, regress_rights_reader, regress_rights_noinherit, regress_rights_super CASCADE;
DROP SCHEMA IF EXISTS regress_rights, regress_attack CASCADE;
DROP FUNCTION log(), harm();
DROP PROCEDURE wait_until;
DROP FUNCTION try;
DROP ROLE regress_rights_attacker, regress_rights_noinherit, regress_rights_owner, regress_rights_reader, regress_rights_super;
