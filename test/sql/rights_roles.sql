-- Proves who may read, define, replace and drop a summary, also when rights, members and owners change: a reader sees the document and nothing else.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
\pset format unaligned
\pset tuples_only
\getenv test PG_ABS_SRCDIR
\set rights :test '/sql/include/rights.sql'
\i :rights
SELECT summary_cache_attach_state_hub('regress_rights');
SET ROLE regress_rights_owner;
SELECT summary_cache_define('names', 'core', 'SELECT count(*) AS n FROM regress_rights.tasks');
RESET ROLE;

--
-- A reader with EXECUTE on state_summary alone
--
SELECT proname FROM pg_proc WHERE (proname LIKE 'summary\_cache%' OR proname = 'state_summary') AND has_function_privilege('regress_rights_reader', oid, 'EXECUTE') ORDER BY proname;
SELECT relname FROM pg_class WHERE (relname LIKE 'summary\_cache%' OR relnamespace = 'summary_cache'::regnamespace) AND relkind IN ('r', 'v') AND
    (has_table_privilege('regress_rights_reader', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR
     has_any_column_privilege('regress_rights_reader', oid, 'SELECT, INSERT, UPDATE, REFERENCES'));
SET ROLE regress_rights_reader;
SELECT (state_summary(true) -> 'tasks')::text;
SELECT count(*) FROM summary_cache_stat_summaries();
SELECT count(*) FROM summary_cache_stat_sections();
SELECT count(*) FROM summary_cache_stat_tables();
SELECT count(*) FROM regress_rights.tasks;
SELECT count(*) FROM summary_cache.definition;
RESET ROLE;
-- an error of a failing section does not show the reader a value.  Who does not force a read is served the old document, without an error
SET ROLE regress_rights_owner;
SELECT summary_cache_define('state', 'numbers', $$SELECT max(note::int) AS numbers FROM regress_rights.progress_events WHERE id > 1$$);
SELECT summary_cache_get('state') ->> 'numbers' IS NULL AS none;
INSERT INTO regress_rights.progress_events VALUES (2, 'of the owner''s', '2026-01-02 00:00+00');
SET ROLE regress_rights_reader;
SELECT state_summary(true);
SELECT state_summary() ->> 'numbers' IS NULL AS none;
RESET ROLE;
SET ROLE regress_rights_owner;
SELECT summary_cache_drop('state', 'numbers');
RESET ROLE;
-- a view over the function shows no more than it
CREATE VIEW regress_rights_view AS SELECT state_summary() AS s;
GRANT SELECT ON regress_rights_view TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT * FROM regress_rights_view;
RESET ROLE;
DROP VIEW regress_rights_view;
-- one summary of several, by a function that has the name in it
CREATE FUNCTION regress_rights.only_names() RETURNS json LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$SELECT public.summary_cache_get('names')$$;
SET ROLE regress_rights_reader;
SELECT regress_rights.only_names() ->> 'n' AS n;
SELECT summary_cache_get('names');
RESET ROLE;

--
-- Rights that change after the definition
--
SET ROLE regress_rights_owner;
CREATE TABLE regress_rights.lent (n int);
INSERT INTO regress_rights.lent VALUES (1);
GRANT SELECT, TRIGGER ON regress_rights.lent TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('borrowed', 'core', 'SELECT sum(n) AS n FROM regress_rights.lent');
SELECT summary_cache_get('borrowed');
SET ROLE regress_rights_owner;
REVOKE ALL ON regress_rights.lent FROM regress_rights_attacker;
INSERT INTO regress_rights.lent VALUES (2);
-- nothing that is new
SET ROLE regress_rights_attacker;
SELECT summary_cache_get('borrowed', true);
SELECT summary_cache_define('borrowed', 'core', 'SELECT sum(n) AS m FROM regress_rights.lent');
-- what was cached is served until it is too old, or dropped
SELECT status, document FROM summary_cache_fetch('borrowed');
RESET ROLE;
SELECT summary_cache_invalidate('borrowed');
SET ROLE regress_rights_attacker;
\set VERBOSITY terse
SELECT summary_cache_get('borrowed');
\set VERBOSITY default
-- the right to read the summary is asked for at each read, whatever is cached
SELECT summary_cache_get('names') ->> 'n' AS n;
PREPARE get AS SELECT summary_cache_get('names') ->> 'n' AS n;
EXECUTE get;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION summary_cache_get FROM regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_get('names');
EXECUTE get;
RESET ROLE;
GRANT EXECUTE ON FUNCTION summary_cache_get TO regress_rights_attacker;
-- a role with row security of its own
SET ROLE regress_rights_owner;
ALTER TABLE regress_rights.lent ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON regress_rights.lent USING (n = 1);
GRANT SELECT, TRIGGER ON regress_rights.lent TO regress_rights_attacker;
RESET ROLE;
SELECT summary_cache_get('borrowed', true);
ALTER ROLE regress_rights_attacker BYPASSRLS;
SELECT summary_cache_get('borrowed', true);
ALTER ROLE regress_rights_attacker NOBYPASSRLS;
SELECT summary_cache_get('borrowed', true);
-- a policy that goes by a setting is said to do so: the setting is that of who builds
SET ROLE regress_rights_owner;
CREATE POLICY tenant ON regress_rights.lent AS RESTRICTIVE USING (n = current_setting('regress.tenant', true)::int);
SET ROLE regress_rights_attacker;
SET client_min_messages = notice;
SELECT summary_cache_define('borrowed', 'core', 'SELECT sum(n) AS n FROM regress_rights.lent');
SET client_min_messages = warning;
RESET ROLE;

--
-- Whose a definition is
--
-- membership without inheritance is none until the role is set
SET ROLE regress_rights_noinherit;
SELECT summary_cache_define('names', 'core', 'SELECT 1 AS one');
SELECT summary_cache_drop('names');
RESET ROLE;
SET SESSION AUTHORIZATION regress_rights_noinherit;
SET ROLE regress_rights_owner;
SELECT summary_cache_define('names', 'more', 'SELECT 1 AS one');
SELECT summary_cache_drop('names', 'more');
RESET SESSION AUTHORIZATION;
-- in a SECURITY DEFINER function it is the function's owner's
SET ROLE regress_rights_owner;
CREATE FUNCTION regress_rights.define(query text) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$SELECT public.summary_cache_define('wrapped', 'core', query)$$;
SET ROLE regress_rights_attacker;
SELECT regress_rights.define('SELECT current_user AS "user"');
SELECT summary_cache_get('wrapped');
SELECT summary_cache_define('wrapped', 'core', 'SELECT 1 AS x');
RESET ROLE;
SELECT DISTINCT summary, owner FROM summary_cache.definition ORDER BY summary;

--
-- Tables of others are neither locked nor given triggers
--
CREATE TABLE regress_others (id int);
CREATE TABLE regress_tracked (id int);
SELECT summary_cache_define('tracked', 'core', 'SELECT count(*) AS n FROM regress_tracked');
SET ROLE regress_rights_attacker;
BEGIN;
CREATE TABLE IF NOT EXISTS public.regress_others () INHERITS (public.regress_tracked);
SELECT mode FROM pg_locks WHERE relation = 'regress_others'::regclass AND pid = pg_backend_pid();
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_others'::regclass;
ROLLBACK;
RESET ROLE;
-- nor one that the role itself has locked, as it may
BEGIN;
GRANT UPDATE ON regress_others TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
LOCK TABLE public.regress_others IN SHARE ROW EXCLUSIVE MODE;
CREATE TABLE IF NOT EXISTS public.regress_others () INHERITS (public.regress_tracked);
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_others'::regclass;
ROLLBACK;
BEGIN;
CREATE TABLE IF NOT EXISTS regress_child () INHERITS (regress_tracked);
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_child'::regclass ORDER BY tgname;
ROLLBACK;
SELECT summary_cache_drop('tracked');
DROP TABLE regress_others, regress_tracked;

--
-- REASSIGN OWNED, DROP OWNED, DROP ROLE
--
SET ROLE regress_rights_attacker;
CREATE TABLE regress_attack.own (n int);
INSERT INTO regress_attack.own VALUES (1);
SELECT summary_cache_define('own', 'core', 'SELECT sum(n) AS n, current_user AS "user" FROM regress_attack.own');
SELECT status, document FROM summary_cache_fetch('own');
RESET ROLE;
BEGIN;
REASSIGN OWNED BY regress_rights_attacker TO regress_rights_owner;
SELECT DISTINCT owner FROM summary_cache.definition;
SELECT document FROM summary_cache_fetch('own');
ROLLBACK;
-- who may not, may not
SET ROLE regress_rights_owner;
\set VERBOSITY sqlstate
REASSIGN OWNED BY regress_rights_attacker TO regress_rights_owner;
DROP OWNED BY regress_rights_attacker;
\set VERBOSITY default
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('own');
REASSIGN OWNED BY regress_rights_attacker TO regress_rights_owner;
SELECT status, document FROM summary_cache_fetch('own', NULL, true);
INSERT INTO regress_attack.own VALUES (10);
SELECT status, document FROM summary_cache_fetch('own');
SELECT string_agg(summary, ' ' ORDER BY summary) FROM summary_cache.definition WHERE owner = 'regress_rights_attacker'::regrole;
-- with the sections go options, and the triggers on tables of others; but these not from a transaction block, which would keep the tables locked
SET ROLE regress_rights_owner;
SELECT summary_cache_drop(s) FROM unnest(ARRAY['borrowed', 'own']) s;
GRANT SELECT, TRIGGER ON regress_rights.lent TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('going', 'core', 'SELECT count(*) AS n FROM regress_rights.lent');
RESET ROLE;
SELECT summary_cache_configure('going', 'max_stale_age', '1h');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_rights.lent'::regclass ORDER BY tgname;
BEGIN;
DROP OWNED BY regress_rights_attacker;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_rights.lent'::regclass ORDER BY tgname;
SELECT count(*) FROM summary_cache.option;
SELECT count(*) FROM summary_cache.definition WHERE owner = 'regress_rights_attacker'::regrole;
ROLLBACK;
-- DROP ROLE is refused for rights and objects, as ever, but not for sections: the document is served, its error says what to do, and the superuser can do it
CREATE ROLE regress_rights_gone;
SELECT format('INSERT INTO summary_cache.definition (summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
    VALUES (''orphan'', ''core'', 1, ''background'', ''regress_rights_gone'', ''SELECT 1 AS one'', ''{}'', ''{}'', ''{}'', ''{one}'', ''{}'')') \gexec
SELECT summary_cache_get('orphan');
DROP ROLE regress_rights_gone;
SELECT status, document FROM summary_cache_fetch('orphan');
SELECT summary_cache_get('orphan', true);
-- nobody else can take it over
SET ROLE regress_rights_owner;
SELECT summary_cache_define('orphan', 'core', 'SELECT 2 AS two');
SELECT summary_cache_drop('orphan');
RESET ROLE;
-- pg_dump leaves it out: elsewhere its number is another role
SELECT 'SELECT summary FROM summary_cache.definition ' || extcondition[1] || ' AND summary = ''orphan''' FROM pg_extension WHERE extname = 'summary_cache' \gexec
SELECT summary_cache_drop('orphan');

DROP EXTENSION summary_cache CASCADE;
DROP OWNED BY regress_rights_attacker, regress_rights_owner, regress_rights_reader, regress_rights_noinherit, regress_rights_super CASCADE;
DROP SCHEMA IF EXISTS regress_rights, regress_attack CASCADE;
DROP ROLE regress_rights_attacker, regress_rights_noinherit, regress_rights_owner, regress_rights_reader, regress_rights_super;
