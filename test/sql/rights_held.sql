-- Nothing is held for ever, nor by who has no right to: what a definition may take, the locks of a drop, sections that a superuser is given, event triggers, the types.
SET client_min_messages = warning;
CREATE EXTENSION summary_cache;
CREATE ROLE regress_held_owner;
CREATE ROLE regress_held_definer;
CREATE ROLE regress_held_super SUPERUSER;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop, summary_cache_get TO regress_held_owner, regress_held_definer;
CREATE SCHEMA regress_held;
GRANT ALL ON SCHEMA regress_held TO regress_held_owner, regress_held_definer;
SET search_path = regress_held, public;
SET client_min_messages = notice;

--
-- What a definition may take
--
\set VERBOSITY default
SELECT summary_cache_define('large', 'core', 'SELECT 1 AS n -- ' || repeat('x', 1024 * 1024));
-- the time does not grow by the square of what is given: it would be some minutes
SET statement_timeout = '60s';
SELECT summary_cache_define('large', 'core', 'SELECT 1 AS n', (SELECT array_agg((16777216 + i)::oid::regclass) FROM generate_series(1, 1500000) i));
RESET statement_timeout;
\set VERBOSITY terse
-- what is stored beside the query counts as well
SELECT summary_cache_define('large', 'core', 'SELECT 1 AS n -- ' || repeat('x', 1024 * 1024 - 17));
SELECT summary_cache_define('large', 'core', 'SELECT 1 AS n -- ' || repeat('x', 1024 * 1024 - 1000));
SELECT summary_cache_get('large');
-- and what the server takes apart in a time that grows by its square, without heeding a cancel
\set VERBOSITY default
SELECT summary_cache_configure('large', 'readers', '"' || repeat('""', 33 * 1024) || '"');
SELECT summary_cache_configure('large', 'max_stale_age', repeat(' ', 64 * 1024) || '1');
\set VERBOSITY terse
DO $$
BEGIN
    FOR i IN 1 .. 540 LOOP
        EXECUTE format('CREATE SCHEMA %I', repeat('"', 59) || i);
    END LOOP;
END $$;
\set VERBOSITY default
\set SHOW_CONTEXT never
-- in one statement: from 18 on clients are told of the setting after each, and psql does not bear one of this length
DO $$
BEGIN
    PERFORM set_config('search_path', 'public, ' || string_agg(quote_ident(nspname), ', '), true) FROM pg_namespace WHERE nspname LIKE '"%';
    PERFORM summary_cache_define('large', 'path', 'SELECT 1 AS m');
END $$;
\set SHOW_CONTEXT errors
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname LIKE '"%' LOOP
        EXECUTE 'DROP SCHEMA ' || name;
    END LOOP;
END $$;
-- what may be given takes some ms to take apart, and then a cancel is heeded before the first role is looked for
\set VERBOSITY terse
SET statement_timeout = '3ms';
SELECT summary_cache_configure('large', 'readers', '"' || repeat('""', 32 * 1024 - 1) || '"');
RESET statement_timeout;
SELECT summary_cache_drop('large');
--
-- The locks of a drop
--
SET ROLE regress_held_owner;
CREATE TABLE lent (n int);
CREATE TABLE lent_tree (n int) PARTITION BY LIST (n);
CREATE TABLE lent_part PARTITION OF lent_tree FOR VALUES IN (1);
GRANT SELECT, TRIGGER ON lent, lent_tree TO regress_held_definer;
SET ROLE regress_held_definer;
SELECT summary_cache_define('lent', 'core', 'SELECT (SELECT count(*) FROM lent) + (SELECT count(*) FROM lent_tree) AS n');
CREATE VIEW triggers AS SELECT tgrelid::regclass AS "table", tgname FROM pg_trigger WHERE tgname = 'summary_cache_statement' AND tgrelid::regclass::text LIKE 'lent%' ORDER BY 1;
CREATE VIEW locks AS SELECT relation::regclass AS "table", mode FROM pg_locks WHERE relation::regclass::text LIKE 'lent%' AND mode <> 'AccessShareLock' ORDER BY 1, 2;
BEGIN;
SELECT summary_cache_drop('lent');
SELECT * FROM locks;
ROLLBACK;
-- with the right to lock one, that one
RESET ROLE;
GRANT TRUNCATE ON lent_tree TO regress_held_definer;
SET ROLE regress_held_definer;
BEGIN;
SELECT summary_cache_drop('lent');
SELECT * FROM locks;
SELECT * FROM triggers;
ROLLBACK;
RESET ROLE;
REVOKE TRUNCATE ON lent_tree FROM regress_held_definer;
SET ROLE regress_held_definer;
SELECT summary_cache_drop('lent');
SELECT * FROM triggers;
-- they do no harm, and the next one who may removes them
GRANT SELECT ON triggers, locks TO regress_held_owner;
SET ROLE regress_held_owner;
INSERT INTO lent VALUES (1);
SELECT summary_cache_define('own', 'core', 'SELECT 1 AS n', '{lent}');
SELECT summary_cache_drop('own');
SELECT * FROM triggers;
SELECT * FROM locks;
RESET ROLE;

--
-- Sections that a superuser is given
--
SET ROLE regress_held_definer;
CREATE FUNCTION whose() RETURNS name LANGUAGE plpgsql AS $$BEGIN RETURN current_user; END$$;
SET client_min_messages = warning;
SELECT summary_cache_define('given', 'core', 'SELECT whose() AS whose', '{}');
SET client_min_messages = notice;
SELECT summary_cache_get('given');
RESET ROLE;
GRANT regress_held_definer TO regress_held_owner;
REASSIGN OWNED BY regress_held_definer TO regress_held_super;
SELECT owner, state, reason FROM summary_cache_sections WHERE summary = 'given';
SELECT summary_cache_get('given');
SELECT summary_cache_get('given', true);
-- nobody may define it as its owner
SET ROLE regress_held_owner;
SELECT summary_cache_define('given', 'core', 'SELECT 1 AS n', '{}');
RESET ROLE;
SELECT summary_cache_drop('given');
-- one that was a superuser's anyway, and one that goes to another role
ALTER FUNCTION whose() OWNER TO regress_held_definer;
SET ROLE regress_held_super;
SELECT summary_cache_define('given', 'core', 'SELECT whose() AS whose', '{}');
RESET ROLE;
SELECT current_user AS me \gset
REASSIGN OWNED BY regress_held_super TO :"me";
SELECT owner = :'me'::regrole FROM summary_cache_sections WHERE summary = 'given';
SELECT summary_cache_drop('given');
SET client_min_messages = warning;
SET ROLE regress_held_definer;
SELECT summary_cache_define('given', 'core', 'SELECT whose() AS whose', '{}');
RESET ROLE;
REASSIGN OWNED BY regress_held_definer TO regress_held_owner;
SELECT owner, summary_cache_get('given') FROM summary_cache_sections WHERE summary = 'given';
SELECT summary_cache_drop('given');
SET client_min_messages = notice;

--
-- Defining as a superuser what others can change
--
SELECT summary_cache_define('told', 'core', 'SELECT 1 AS n');
CREATE TABLE ours (n int);
SELECT summary_cache_define('told', 'core', 'SELECT count(*) AS n FROM ours');
SELECT summary_cache_define('told', 'core', 'SELECT count(*) AS n FROM lent');
CREATE FUNCTION theirs() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
ALTER FUNCTION theirs() OWNER TO regress_held_owner;
SELECT summary_cache_define('told', 'core', 'SELECT theirs() AS n');
SELECT * FROM summary_cache_notices('told');
CREATE VIEW theirs AS SELECT 1 AS n;
ALTER VIEW theirs OWNER TO regress_held_owner;
SELECT summary_cache_define('told', 'core', 'SELECT n FROM theirs');
-- of another role's section it is not
SET ROLE regress_held_owner;
SELECT summary_cache_define('told_not', 'core', 'SELECT n FROM theirs', '{}');
RESET ROLE;
SELECT summary_cache_drop('told_not');
-- what others get later, the next definition tells
SELECT summary_cache_define('told', 'core', 'SELECT count(*) AS n FROM ours');
ALTER TABLE ours OWNER TO regress_held_owner;
SELECT summary_cache_define('told', 'core', 'SELECT count(*) AS n FROM ours');
SELECT summary_cache_drop('told');

--
-- Event triggers see our triggers come and go, with the rights of who calls
--
CREATE FUNCTION say() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('regress.refuse', true) = tg_tag THEN
        RAISE EXCEPTION '% is refused', tg_tag;
    END IF;
    RAISE NOTICE '% % by %', tg_event, tg_tag, current_user;
    IF tg_event = 'ddl_command_end' THEN
        RAISE NOTICE 'commands: %', (SELECT string_agg(object_identity, ', ') FROM pg_event_trigger_ddl_commands());
    ELSIF tg_event = 'sql_drop' THEN
        RAISE NOTICE 'dropped: %', (SELECT string_agg(object_identity, ', ') FROM pg_event_trigger_dropped_objects());
    END IF;
END$$;
CREATE EVENT TRIGGER regress_held_start ON ddl_command_start EXECUTE FUNCTION say();
CREATE EVENT TRIGGER regress_held_drop ON sql_drop EXECUTE FUNCTION say();
CREATE EVENT TRIGGER regress_held_end ON ddl_command_end EXECUTE FUNCTION say();
SET ROLE regress_held_owner;
SELECT summary_cache_define('seen', 'core', 'SELECT count(*) AS n FROM lent');
SELECT summary_cache_drop('seen');
SET regress.refuse = 'CREATE TRIGGER';
SELECT summary_cache_define('seen', 'core', 'SELECT count(*) AS n FROM lent');
RESET regress.refuse;
RESET ROLE;
SET client_min_messages = warning;
DROP EVENT TRIGGER regress_held_start;
DROP EVENT TRIGGER regress_held_drop;
DROP EVENT TRIGGER regress_held_end;
SET client_min_messages = notice;

--
-- Nobody else's table keeps the extension
--
SET ROLE regress_held_definer;
CREATE TABLE keeps (a public.summary_cache_answer);
CREATE TABLE keeps (a public.summary_cache_answer[]);
-- but for the rows of views, as doc/security.md has it: what is found, and what CASCADE takes
CREATE TABLE keeps (n int, a public.summary_cache_stats, b public.summary_cache_tables[]);
INSERT INTO keeps VALUES (1);
RESET ROLE;
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object
FROM pg_depend m
JOIN pg_type t ON t.typrelid = m.objid
JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
WHERE m.classid = 'pg_class'::regclass AND m.deptype = 'e' AND m.refclassid = 'pg_extension'::regclass
    AND m.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache') AND d.deptype = 'n'
ORDER BY 1;
\set VERBOSITY terse
DROP EXTENSION summary_cache;
BEGIN;
DROP EXTENSION summary_cache CASCADE;
TABLE keeps;
ROLLBACK;
\set VERBOSITY default
DROP TABLE keeps;

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_held CASCADE;
DROP ROLE regress_held_owner, regress_held_definer, regress_held_super;
