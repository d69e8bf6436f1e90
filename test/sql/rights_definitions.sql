-- Nobody writes definitions but who may act for their owners: rights on all tables, default privileges, triggers of others, sections and keys put into another's summary, damaged rows; and what an application's owner is given with one command.
SET client_min_messages = warning;
CREATE ROLE regress_defs_owner;
CREATE ROLE regress_defs_attacker;
CREATE ROLE regress_defs_web;
CREATE ROLE regress_defs_super SUPERUSER;
CREATE ROLE "regress_defs odd ""role""";
CREATE SCHEMA regress_defs;
CREATE SCHEMA regress_defs_attacker AUTHORIZATION regress_defs_attacker;
GRANT ALL ON SCHEMA regress_defs TO regress_defs_owner;
GRANT USAGE ON SCHEMA regress_defs TO PUBLIC;
SET search_path = regress_defs, public;
\pset format unaligned
\pset tuples_only

--
-- Default privileges
--
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_defs_attacker, "regress_defs odd ""role""", PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_defs_attacker, "regress_defs odd ""role""", PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO regress_defs_attacker;
CREATE EXTENSION summary_cache SCHEMA public;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_defs_attacker, "regress_defs odd ""role""", PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM regress_defs_attacker, "regress_defs odd ""role""", PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM regress_defs_attacker;
CREATE FUNCTION others(acl aclitem[], owner oid) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(grantee::regrole || ' ' || privilege_type, ', ') FROM aclexplode(acl) WHERE grantee <> owner
$$;
SELECT relname, others(relacl, relowner) FROM pg_class WHERE relnamespace = 'summary_cache'::regnamespace AND relkind = 'r' ORDER BY relname;
SELECT others(nspacl, nspowner) FROM pg_namespace WHERE nspname = 'summary_cache';
DROP FUNCTION others;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM regress_defs_attacker;
SELECT summary_cache_define('shop', 'core', 'SELECT 1 AS n', '{}');
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_get TO regress_defs_owner, regress_defs_attacker;
SET ROLE regress_defs_owner;
CREATE TABLE orders (id int PRIMARY KEY, total int);
SELECT summary_cache_define('orders', 'core', 'SELECT count(*) AS n FROM orders');
RESET ROLE;

--
-- Rights on the tables: what a row with another's name would run
--
SET ROLE regress_defs_attacker;
CREATE FUNCTION regress_defs_attacker.pwn() RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN current_user || ' reads ' || (SELECT count(*) > 0 FROM pg_authid); END $$;
GRANT USAGE ON SCHEMA regress_defs_attacker TO PUBLIC;
RESET ROLE;
-- each of these is an attack; what it says, and whether anything of it is there
CREATE PROCEDURE attack() LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    hint text;
BEGIN
    FOREACH statement IN ARRAY ARRAY[
        $q$INSERT INTO summary_cache.definition (summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
            VALUES ('x', 'c', 1, 'background', 'regress_defs_super', 'SELECT regress_defs_attacker.pwn() AS p', '{}', '{}', '{}', '{p}', '{}')$q$,
        $q$INSERT INTO summary_cache.definition (summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
            VALUES ('x', 'c', 1, 'background', 0::oid, 'SELECT 1 AS p', '{}', '{}', '{}', '{p}', '{}')$q$,
        $q$INSERT INTO summary_cache.definition (summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
            VALUES ('orders', 'c', 1, 'background', 'regress_defs_attacker', 'SELECT 1 AS p', '{}', '{}', '{}', '{p}', '{}')$q$,
        $q$UPDATE summary_cache.definition SET query = 'SELECT 0 AS n, regress_defs_attacker.pwn() AS who'$q$,
        $q$DELETE FROM summary_cache.definition WHERE summary = 'orders'$q$,
        $q$TRUNCATE summary_cache.definition$q$,
        $q$INSERT INTO summary_cache.option VALUES ('orders', 'memory_limit', '1kB')$q$,
        $q$INSERT INTO summary_cache.option VALUES ('not there yet', 'memory_limit', '1kB')$q$,
        $q$INSERT INTO summary_cache.reader VALUES ('orders', 'regress_defs_attacker')$q$]
    LOOP
        BEGIN
            EXECUTE statement;
            RAISE WARNING 'DONE: %', statement;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            RAISE WARNING '% %; %', SQLSTATE, SQLERRM, left(hint, 30);
        END;
    END LOOP;
END $$;
\set VERBOSITY terse
SET ROLE regress_defs_attacker;
CALL attack();
RESET ROLE;
GRANT pg_write_all_data TO regress_defs_attacker;
SET ROLE regress_defs_attacker;
CALL attack();
RESET ROLE;
REVOKE pg_write_all_data FROM regress_defs_attacker;
GRANT USAGE ON SCHEMA summary_cache TO regress_defs_attacker;
GRANT ALL ON ALL TABLES IN SCHEMA summary_cache TO regress_defs_attacker;
GRANT pg_execute_server_program TO regress_defs_attacker;
SET ROLE regress_defs_attacker;
CALL attack();
-- as a replica
RESET ROLE;
SET session_replication_role = replica;
SET ROLE regress_defs_attacker;
CALL attack();
RESET ROLE;
RESET session_replication_role;
REVOKE pg_execute_server_program FROM regress_defs_attacker;
SELECT summary_cache_get('shop'), summary_cache_get('orders');
SELECT summary, section, CASE WHEN owner = current_user::regrole THEN 'superuser' ELSE owner::text END AS owner FROM summary_cache.definition ORDER BY 1, 2;
-- one's own rows can be written by whoever has a right on the table, and so can those of roles that one may act for
GRANT INSERT, UPDATE, DELETE, SELECT ON ALL TABLES IN SCHEMA summary_cache TO regress_defs_owner;
GRANT USAGE ON SCHEMA summary_cache TO regress_defs_owner;
SET ROLE regress_defs_owner;
UPDATE summary_cache.definition SET query = 'SELECT sum(total) AS n FROM orders' WHERE summary = 'orders';
UPDATE summary_cache.definition SET owner = 'regress_defs_super' WHERE summary = 'orders';
INSERT INTO summary_cache.option VALUES ('orders', 'max_stale_age', '1h');
INSERT INTO summary_cache.reader VALUES ('orders', 'regress_defs_web');
DELETE FROM summary_cache.reader;
DELETE FROM summary_cache.option;
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA summary_cache FROM regress_defs_owner;
REVOKE USAGE ON SCHEMA summary_cache FROM regress_defs_owner;

--
-- Triggers of others: our own statements run none, and by hand nothing is written beside one
--
\set VERBOSITY default
SET ROLE regress_defs_attacker;
CREATE FUNCTION regress_defs_attacker.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING '% on % as %', TG_NAME, TG_TABLE_NAME, current_user;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON summary_cache.definition FOR EACH ROW EXECUTE FUNCTION regress_defs_attacker.note();
CREATE TRIGGER z AFTER INSERT OR UPDATE OR DELETE ON summary_cache.definition FOR EACH ROW EXECUTE FUNCTION regress_defs_attacker.note();
CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE OR DELETE ON summary_cache.definition DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION regress_defs_attacker.note();
CREATE TRIGGER options BEFORE INSERT OR UPDATE OR DELETE ON summary_cache.option FOR EACH ROW EXECUTE FUNCTION regress_defs_attacker.note();
CREATE TABLE regress_defs_attacker.referring (summary name, section name,
    FOREIGN KEY (summary, section) REFERENCES summary_cache.definition ON DELETE CASCADE);
INSERT INTO regress_defs_attacker.referring VALUES ('orders', 'core');
CREATE TRIGGER gone AFTER DELETE ON regress_defs_attacker.referring FOR EACH ROW EXECUTE FUNCTION regress_defs_attacker.note();
SELECT summary_cache_define('mine', 'core', 'SELECT 1 AS a', '{}');
RESET ROLE;
SELECT summary_cache_configure('orders', 'max_stale_age', '1h');
SELECT summary_cache_configure('orders', 'max_stale_age', NULL);
SELECT summary_cache_define('orders', 'core', 'SELECT count(*) AS n FROM orders');
ALTER TABLE orders RENAME TO orders_2;
SELECT summary_cache_drop('orders');
-- the setting is the caller's again, also after an error
SHOW session_replication_role;
BEGIN;
SET LOCAL statement_timeout = '1min';
SAVEPOINT a;
SET LOCAL default_transaction_read_only = on;
SET LOCAL transaction_read_only = on;
SELECT summary_cache_drop('mine');
ROLLBACK TO a;
CREATE TABLE fires (n int);
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'ordinary triggers fire'; RETURN NEW; END$$;
CREATE TRIGGER ordinary BEFORE INSERT ON fires FOR EACH ROW EXECUTE FUNCTION fired();
INSERT INTO fires VALUES (1);
ROLLBACK;
-- by hand
DELETE FROM summary_cache.definition WHERE summary = 'mine';
INSERT INTO summary_cache.option VALUES ('mine', 'max_stale_age', '1h');
SET ROLE regress_defs_attacker;
UPDATE summary_cache.definition SET query = 'SELECT 2 AS a' WHERE summary = 'mine';
DROP TRIGGER a ON summary_cache.definition;
RESET ROLE;
DROP TRIGGER a ON summary_cache.definition;
DROP TRIGGER z ON summary_cache.definition;
DROP TRIGGER later ON summary_cache.definition;
DROP TRIGGER options ON summary_cache.option;
INSERT INTO summary_cache.option VALUES ('mine', 'max_stale_age', '1h');
DROP TABLE regress_defs_attacker.referring;
DELETE FROM summary_cache.definition WHERE summary = 'mine';
-- ENABLE TRIGGER ALL, with which a restore ends, leaves the guards as they were
ALTER TABLE summary_cache.definition ENABLE TRIGGER ALL;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'summary_cache.definition'::regclass ORDER BY tgname;
REVOKE ALL ON ALL TABLES IN SCHEMA summary_cache FROM regress_defs_attacker;
REVOKE USAGE ON SCHEMA summary_cache FROM regress_defs_attacker;
-- a schema of that name which is not the extension's is not believed
BEGIN;
ALTER SCHEMA summary_cache RENAME TO renamed;
CREATE SCHEMA summary_cache AUTHORIZATION regress_defs_attacker;
CREATE TABLE summary_cache.definition (LIKE renamed.definition INCLUDING ALL);
INSERT INTO summary_cache.definition (summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
    VALUES ('x', 'c', 1, 'background', 'regress_defs_super', 'SELECT regress_defs_attacker.pwn() AS p', '{}', '{}', '{}', '{p}', '{}');
SELECT summary_cache_get('x');
ROLLBACK;
-- nor is the schema taken if it is there
DROP EXTENSION summary_cache;
CREATE SCHEMA summary_cache AUTHORIZATION regress_defs_attacker;
\set VERBOSITY terse
CREATE EXTENSION summary_cache SCHEMA public;
\set VERBOSITY default
DROP SCHEMA summary_cache;
CREATE EXTENSION summary_cache SCHEMA public;

--
-- Sections of others in a summary
--
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop, summary_cache_get, state_summary, summary_cache_attach_state_hub
    TO regress_defs_owner, regress_defs_attacker;
SET ROLE regress_defs_owner;
SELECT summary_cache_define('shop', 'a', 'SELECT 1 AS a', '{}');
SET ROLE regress_defs_attacker;
SELECT summary_cache_define('shop', 'b', 'SELECT 1 AS b', '{}');
SELECT summary_cache_define('shop', 'a', 'SELECT 1 AS b', '{}');
-- a member may, and the section is the summary's owner's
RESET ROLE;
GRANT regress_defs_owner TO regress_defs_web;
GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_defs_web;
SET ROLE regress_defs_web;
SELECT summary_cache_define('shop', 'b', 'SELECT 1 AS b', '{}');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION summary_cache_define FROM regress_defs_web;
REVOKE regress_defs_owner FROM regress_defs_web;
-- one owner is not enough where there are several, whoever is the first
UPDATE summary_cache.definition SET owner = 'regress_defs_web' WHERE section = 'b';
SET ROLE regress_defs_owner;
SELECT summary_cache_define('shop', 'c', 'SELECT 1 AS c', '{}');
SELECT summary_cache_define('shop', 'a', 'SELECT 2 AS a', '{}');
RESET ROLE;
-- with an owner gone, a superuser alone may; and what it adds is its own
UPDATE summary_cache.definition SET owner = 0::oid WHERE summary = 'shop';
SET ROLE regress_defs_owner;
SELECT summary_cache_define('shop', 'c', 'SELECT 1 AS c', '{}');
SET ROLE regress_defs_super;
SELECT summary_cache_define('shop', 'c', 'SELECT 1 AS c', '{}');
RESET ROLE;
SELECT section, owner FROM summary_cache.definition ORDER BY section;
SELECT summary_cache_drop('shop');

-- Attaching the hub where others have put sections into its summary, or have its keys
SET ROLE regress_defs_attacker;
SELECT summary_cache_define('state', 'a_first', $$SELECT 'all is well' AS alerts, 1 AS tasks$$, '{}');
SELECT summary_cache_define('state', 'core', 'SELECT 1 AS topics', '{}');
SET ROLE regress_defs_owner;
CREATE TABLE tasks (id int PRIMARY KEY, updated_at timestamptz);
CREATE TABLE progress_events (id int PRIMARY KEY, created_at timestamptz);
SELECT summary_cache_attach_state_hub('regress_defs');
RESET ROLE;
SELECT summary_cache_attach_state_hub('regress_defs');
SELECT summary_cache_drop('state', 'core');
SELECT summary_cache_attach_state_hub('regress_defs');
-- nor is it attached if the hub is a superuser's
ALTER TABLE tasks OWNER TO regress_defs_super;
ALTER TABLE progress_events OWNER TO regress_defs_super;
\set VERBOSITY terse
SELECT summary_cache_attach_state_hub('regress_defs');
\set VERBOSITY default
ALTER TABLE tasks OWNER TO regress_defs_owner;
ALTER TABLE progress_events OWNER TO regress_defs_owner;
-- generated is only what attaching generates
UPDATE summary_cache.definition SET generated = true;
SELECT summary_cache_attach_state_hub('regress_defs');
SELECT summary_cache_drop('state', 'a_first');
SELECT summary_cache_attach_state_hub('regress_defs');
SELECT section, owner FROM summary_cache.definition ORDER BY section;
SET ROLE regress_defs_owner;
SELECT summary_cache_define('state', 'extra', 'SELECT 1 AS one', '{}');
SELECT summary_cache_attach_state_hub('regress_defs');
SET ROLE regress_defs_attacker;
SELECT summary_cache_define('state', 'a_first', 'SELECT 1 AS alerts', '{}');
RESET ROLE;
-- the generated sections follow the hub's tables to another owner
SELECT summary_cache_drop('state', 'extra');
ALTER TABLE tasks OWNER TO regress_defs_web;
ALTER TABLE progress_events OWNER TO regress_defs_web;
SELECT summary_cache_attach_state_hub('regress_defs');
SELECT section, owner FROM summary_cache.definition ORDER BY section;
-- a damaged one does not follow them, and is defined anew
UPDATE summary_cache.definition SET settings = '{NULL}' WHERE section = 'core';
ALTER SCHEMA regress_defs RENAME TO regress_defs_moved;
SELECT section, settings, query LIKE '%regress\_defs\_moved%' AS follows FROM summary_cache.definition ORDER BY section;
ALTER SCHEMA regress_defs_moved RENAME TO regress_defs;
UPDATE summary_cache.definition SET reads = reads || NULL::regclass, settings = '{"search_path=pg_catalog, pg_temp"}' WHERE section = 'core';
SELECT summary_cache_attach_state_hub('regress_defs');
SELECT section, settings, state = 'disabled' AS disabled FROM summary_cache_sections JOIN summary_cache.definition USING (summary, section) ORDER BY section;
SELECT summary_cache_drop('state');
DROP TABLE tasks, progress_events;

--
-- Damaged rows
--
SET ROLE regress_defs_owner;
CREATE TABLE items (id int PRIMARY KEY);
SELECT summary_cache_define('one', 'good', 'SELECT count(*) AS n FROM items');
SELECT summary_cache_define('one', 'bad', 'SELECT count(*) AS m FROM items');
SELECT summary_cache_define('two', 'good', 'SELECT count(*) AS n FROM items');
RESET ROLE;
SELECT summary_cache_get('one'), summary_cache_get('two');
ALTER TABLE summary_cache.definition ALTER query DROP NOT NULL, ALTER settings DROP NOT NULL, ALTER owner DROP NOT NULL,
    ALTER sources DROP NOT NULL, ALTER incarnation DROP NOT NULL;
-- what is done to the row of section "bad", and what comes of it
CREATE TABLE damages (id int GENERATED ALWAYS AS IDENTITY, change text);
INSERT INTO damages (change) VALUES
    ($$sources = '{items,NULL}'$$), ($$reads = '{NULL}'$$), ($$calls = '{NULL}'$$), ($$calls = '{"x(,","f(items)"}'$$), ($$calls = '{regress_defs.counted(),NULL}'$$),
    ($$keys = '{m,NULL}'$$), ($$keys = '{}'$$),
    ($$settings = '{NULL}'$$), ($$settings = '{}'$$), ($$settings = '{{search_path=regress_defs,lc_monetary=C}}'$$),
    ($$settings = '[5:5]={search_path=regress_defs}'$$), ($$settings = '{items}'$$), ($$settings = '{=x}'$$),
    ($$settings = '{no_such_parameter=items}'$$), ($$settings = '{work_mem=items}'$$), ($$settings = '{"search_path=\"items"}'$$),
    ($$owner = 4000000000$$), ($$owner = 0::oid$$), ($$owner = NULL$$),
    ($$query = 'items items'$$), ($$query = ''$$), ($$query = NULL$$),
    ($$settings = NULL$$), ($$sources = NULL$$), ($$incarnation = NULL$$),
    ($$sources = '{0,4000000000}'$$), ($$sources = '{{items,items},{items,items}}'$$);
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE statement INTO result;
    RETURN coalesce(nullif(result, ''), 'done');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION counted() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION bad_row() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', query, settings, calls, keys) FROM summary_cache.definition WHERE section = 'bad'
$$;
CREATE FUNCTION damaged(damage text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    before text;
BEGIN
    RETURN NEXT damage;
    EXECUTE 'UPDATE summary_cache.definition SET ' || damage || ' WHERE section = ''bad''';
    RETURN NEXT '  read: ' || try('SELECT summary_cache_get(''one'', true)');
    RETURN NEXT '  others: ' || try('SELECT summary_cache_get(''two'', true)');
    RETURN NEXT '  views: ' || (SELECT string_agg(CASE state WHEN 'disabled' THEN 'disabled: ' || reason ELSE 'not disabled' END, '')
        FROM summary_cache_sections WHERE section = 'bad') || '; ' || (SELECT count(*) FROM summary_cache_sections WHERE state = 'disabled')
        || ' ' || (SELECT count(*) FROM summary_cache_stats) || ' ' || (SELECT count(*) FROM summary_cache_tables WHERE source = 'items'::regclass);
    -- what goes through all definitions
    before := bad_row();
    ALTER TABLE items RENAME TO things;
    ALTER FUNCTION counted() RENAME TO counted_2;
    RETURN NEXT '  followed: ' || (SELECT string_agg(regexp_replace(query, '\s+', ' ', 'g'), '; ') FROM summary_cache.definition WHERE section = 'good')
        || '; itself ' || CASE WHEN bad_row() = before THEN 'as it was' ELSE 'followed' END;
    RETURN NEXT '  others defined: ' || try('SELECT summary_cache_define(''three'', ''a'', ''SELECT count(*) AS n FROM things'')')
        || ' ' || try('SELECT summary_cache_drop(''three'')');
    RETURN NEXT '  dropped: ' || try('SELECT summary_cache_drop(''one'', ''bad'')') || ', ' || try('SELECT summary_cache_get(''one'', true)');
END $$;
SET client_min_messages = warning;
DO $$
DECLARE
    d record;
    line text;
BEGIN
    FOR d IN SELECT * FROM damages ORDER BY id LOOP
        BEGIN
            FOR line IN SELECT * FROM damaged(d.change) LOOP
                RAISE INFO '%', line;
            END LOOP;
            RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
            NULL;
        END;
    END LOOP;
END $$;
-- it is said what to do, and that helps
UPDATE summary_cache.definition SET keys = '{NULL}' WHERE section = 'bad';
SELECT summary_cache_get('one', true);
SELECT summary, section, state, reason FROM summary_cache_sections ORDER BY 1, 2;
SET ROLE regress_defs_owner;
SELECT summary_cache_define('one', 'bad', 'SELECT count(*) AS m FROM items');
RESET ROLE;
SELECT summary_cache_get('one', true);
DROP OWNED BY regress_defs_owner;
SELECT count(*) FROM summary_cache.definition;

--
-- What an application's owner needs, and what it costs others
--
DROP EXTENSION summary_cache;
CREATE EXTENSION summary_cache SCHEMA public;
SET client_min_messages = notice;
GRANT CREATE ON SCHEMA public TO regress_defs_owner;
GRANT ALL ON SCHEMA regress_defs TO regress_defs_owner;
SET ROLE regress_defs_owner;
CREATE TABLE public.regress_defs_t (n int);
CREATE FUNCTION public.regress_defs_f() RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE ALL ON FUNCTION public.regress_defs_f FROM PUBLIC;
-- the lines of a provisioning script (but for the warnings, which come in the catalog's order)
SET client_min_messages = error;
\set VERBOSITY sqlstate
GRANT SELECT ON ALL TABLES IN SCHEMA public TO regress_defs_web;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_defs_web;
\set VERBOSITY default
SET client_min_messages = notice;
SELECT summary_cache_allow('regress_defs_owner');
RESET ROLE;
SELECT summary_cache_allow('regress_defs_owner');
SET ROLE regress_defs_owner;
SET client_min_messages = error;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO regress_defs_web;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_defs_web;
SELECT has_table_privilege('regress_defs_web', 'regress_defs_t', 'SELECT'), has_function_privilege('regress_defs_web', 'regress_defs_f()', 'EXECUTE');
SELECT count(*) FILTER (WHERE has_function_privilege('regress_defs_web', oid, 'EXECUTE')), count(*) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'summary\_cache\_%' AND proname NOT LIKE 'summary\_cache\_stat\_%';
-- it can define, read, watch, and attach
SELECT summary_cache_define('t', 'core', 'SELECT count(*) AS n FROM regress_defs_t');
SELECT summary_cache_get('t'), (SELECT count(*) FROM summary_cache_stats);
CREATE TABLE tasks (id int PRIMARY KEY, updated_at timestamptz);
CREATE TABLE progress_events (id int PRIMARY KEY, created_at timestamptz);
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub('regress_defs');
SELECT state_summary();
-- and no more
SELECT summary_cache_allow('regress_defs_web');
SELECT summary_cache_disallow('regress_defs_owner');
SELECT count(*) FROM summary_cache.definition;
RESET ROLE;
SELECT summary_cache_disallow('regress_defs_owner');
SELECT count(*) FROM pg_proc, aclexplode(proacl) WHERE grantee = 'regress_defs_owner'::regrole AND proname LIKE 'summary\_cache%';
SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE grantee = 'regress_defs_owner'::regrole AND relname LIKE 'summary\_cache%';
-- in a schema of its own, for a role of any name
DROP EXTENSION summary_cache;
CREATE SCHEMA "regress_defs odd schema";
CREATE EXTENSION summary_cache SCHEMA "regress_defs odd schema";
SET search_path = "regress_defs odd schema";
SET client_min_messages = notice;
SELECT summary_cache_allow('"regress_defs odd ""role"""');
SET client_min_messages = warning;
SET ROLE "regress_defs odd ""role""";
SELECT summary_cache_define('t', 'core', 'SELECT 1 AS n', '{}');
SELECT summary_cache_get('t');
RESET ROLE;
SELECT summary_cache_disallow('"regress_defs odd ""role"""');
SET ROLE "regress_defs odd ""role""";
SELECT summary_cache_get('t');
RESET ROLE;
SET search_path = public;
DROP TABLE public.regress_defs_t;
DROP FUNCTION public.regress_defs_f;
REVOKE CREATE ON SCHEMA public FROM regress_defs_owner;
REVOKE USAGE ON SCHEMA "regress_defs odd schema" FROM "regress_defs odd ""role""";

DROP EXTENSION summary_cache;
DROP SCHEMA regress_defs, regress_defs_attacker, "regress_defs odd schema" CASCADE;
REVOKE ALL ON SCHEMA public FROM regress_defs_owner;
DROP ROLE regress_defs_owner, regress_defs_attacker, regress_defs_web, regress_defs_super, "regress_defs odd ""role""";
