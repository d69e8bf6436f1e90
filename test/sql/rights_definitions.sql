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
        $q$INSERT INTO summary_cache.reader VALUES ('orders', 'regress_defs_attacker')$q$,
        $q$COPY summary_cache.reader FROM PROGRAM 'echo orders,regress_defs_attacker' WITH (FORMAT csv)$q$]
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
SELECT summary, section, owner FROM summary_cache.definition ORDER BY 1, 2;
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
CREATE EXTENSION summary_cache SCHEMA public;
DROP SCHEMA summary_cache;
CREATE EXTENSION summary_cache SCHEMA public;

DROP EXTENSION summary_cache;
DROP SCHEMA regress_defs, regress_defs_attacker CASCADE;
DROP ROLE regress_defs_owner, regress_defs_attacker, regress_defs_web, regress_defs_super, "regress_defs odd ""role""";
