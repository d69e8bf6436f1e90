-- Proves that with option readers a summary is there only for the roles of the option and the sections' owners, in every way of reading it, also after grants, memberships, names, roles and options change.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
\pset format unaligned
\pset tuples_only
\getenv test PG_ABS_SRCDIR
\set helpers :test '/sql/include/helpers.sql'
\i :helpers
CREATE ROLE regress_readers_owner;
CREATE ROLE regress_readers_app;
CREATE ROLE regress_readers_reporting;
CREATE ROLE regress_readers_member IN ROLE regress_readers_app;
CREATE ROLE regress_readers_noinherit NOINHERIT IN ROLE regress_readers_app;
CREATE ROLE regress_readers_manager IN ROLE regress_readers_owner;
CREATE ROLE regress_readers_other;
CREATE ROLE regress_readers_monitor IN ROLE pg_monitor;
CREATE ROLE regress_readers_super SUPERUSER;
CREATE SCHEMA regress_readers AUTHORIZATION regress_readers_owner;
GRANT USAGE ON SCHEMA regress_readers TO PUBLIC;
GRANT EXECUTE ON FUNCTION state_summary, summary_cache_get, summary_cache_fetch, summary_cache_unchanged, summary_cache_invalidate,
    summary_cache_define, summary_cache_notices, summary_cache_drop, summary_cache_configure TO PUBLIC;
SET ROLE regress_readers_owner;
CREATE TABLE regress_readers.orders (id int PRIMARY KEY);
INSERT INTO regress_readers.orders SELECT g FROM generate_series(1, 10) g;
SELECT summary_cache_define('shop', 'core', 'SELECT count(*) AS n FROM regress_readers.orders');
SELECT summary_cache_define('open', 'core', 'SELECT max(id) AS n FROM regress_readers.orders');
RESET ROLE;

-- What a role gets.
CREATE FUNCTION reads(reader regrole, command text DEFAULT $$SELECT summary_cache_get('shop')->>'n'$$) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %s', reader);
    BEGIN
        EXECUTE command INTO answer;
    EXCEPTION WHEN OTHERS THEN
        answer := SQLSTATE || ' ' || SQLERRM;
    END;
    RESET ROLE;
    RETURN answer;
END $$;
CREATE VIEW readers AS
    SELECT r AS role, reads(r) AS answer FROM unnest('{regress_readers_owner, regress_readers_manager, regress_readers_app, regress_readers_member,
        regress_readers_noinherit, regress_readers_reporting, regress_readers_other, regress_readers_monitor, regress_readers_super}'::regrole[]) r;

-- without the option, EXECUTE is enough
SELECT DISTINCT answer FROM readers;

--
-- The option
--
SET ROLE regress_readers_owner;
SELECT summary_cache_configure('shop', 'readers', 'regress_readers_app, regress_readers_reporting , "regress_readers_app"');
RESET ROLE;
SELECT * FROM readers;
SELECT summary, option, value FROM summary_cache.option;
SELECT * FROM summary_cache.reader ORDER BY role::text;
-- every way of reading it, and what else would tell that it exists, says what it says of a summary that is not there
SET ROLE regress_readers_other;
SELECT summary_cache_get('shop');
SELECT summary_cache_get('none');
SELECT command FROM unnest(ARRAY[$$SELECT summary_cache_get('%s')$$, $$SELECT summary_cache_get('%s', true)$$, $$SELECT summary_cache_fetch('%s')$$,
        $$SELECT summary_cache_fetch('%s', 'etag', true)$$, $$SELECT summary_cache_unchanged('%s', 'etag')$$, $$SELECT summary_cache_unchanged('%s', NULL)$$,
        $$SELECT summary_cache_invalidate('%s')$$, $$SELECT summary_cache_invalidate('%s', 'none')$$, $$SELECT summary_cache_drop('%s')$$,
        $$SELECT summary_cache_drop('%s', 'none')$$, $$SELECT summary_cache_configure('%s', 'readers', NULL)$$, $$SELECT summary_cache_notices('%s')$$]) command
    WHERE replace(public.try(format(command, 'shop')), 'shop', 'none') IS DISTINCT FROM public.try(format(command, 'none')) OR public.try(format(command, 'none')) NOT LIKE '42704%';
-- only a name that is taken cannot be had
SELECT summary_cache_define('shop', 'mine', 'SELECT 1 AS x');
-- however it is answered
SET summary_cache.enabled = off;
SELECT summary_cache_get('shop');
RESET summary_cache.enabled;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT summary_cache_get('shop');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT summary_cache_get('shop');
ROLLBACK;
SELECT summary_cache_get('open');
RESET ROLE;

--
-- In one session, that has a copy of the document
--
SET ROLE regress_readers_app;
SELECT status FROM summary_cache_fetch('shop');
SELECT status FROM summary_cache_fetch('shop');
SET ROLE regress_readers_other;
SELECT status FROM summary_cache_fetch('shop');
SET ROLE regress_readers_reporting;
SELECT status FROM summary_cache_fetch('shop');
PREPARE get AS SELECT summary_cache_get('shop');
EXECUTE get;
SET ROLE regress_readers_other;
EXECUTE get;
RESET ROLE;
-- memberships, inside a transaction as well, and what is rolled back
GRANT regress_readers_app TO regress_readers_other;
SELECT reads('regress_readers_other'), reads('regress_readers_other');
REVOKE regress_readers_app FROM regress_readers_other;
SELECT reads('regress_readers_other');
BEGIN;
GRANT regress_readers_app TO regress_readers_other;
SELECT reads('regress_readers_other');
SAVEPOINT s;
REVOKE regress_readers_app FROM regress_readers_other;
SELECT reads('regress_readers_other');
ROLLBACK TO s;
SELECT reads('regress_readers_other');
ROLLBACK;
SELECT reads('regress_readers_other');
ALTER ROLE regress_readers_other SUPERUSER;
SELECT reads('regress_readers_other');
ALTER ROLE regress_readers_other NOSUPERUSER;
SELECT reads('regress_readers_other');
SET SESSION AUTHORIZATION regress_readers_noinherit;
SELECT summary_cache_get('shop');
SET ROLE regress_readers_app;
SELECT summary_cache_get('shop');
RESET SESSION AUTHORIZATION;
-- the option, likewise
SET ROLE regress_readers_other;
SELECT summary_cache_get('open');
SELECT summary_cache_get('open');
RESET ROLE;
SELECT summary_cache_configure('open', 'readers', 'regress_readers_app');
SELECT reads('regress_readers_other', $$SELECT summary_cache_get('open')$$);
-- (its document is current again, and this session has it)
SELECT reads('regress_readers_app', $$SELECT summary_cache_get('open')$$), reads('regress_readers_app', $$SELECT summary_cache_get('open')$$);
BEGIN;
SELECT summary_cache_configure('open', 'readers', NULL);
SELECT reads('regress_readers_other', $$SELECT summary_cache_get('open')$$);
ROLLBACK;
SELECT reads('regress_readers_other', $$SELECT summary_cache_get('open')$$);
BEGIN;
SELECT summary_cache_configure('open', 'readers', 'regress_readers_app, regress_readers_other');
SELECT reads('regress_readers_other', $$SELECT summary_cache_get('open')$$);
ROLLBACK;
SELECT reads('regress_readers_other', $$SELECT summary_cache_get('open')$$);
SELECT summary_cache_configure('open', 'readers', NULL);
SELECT reads('regress_readers_other', $$SELECT summary_cache_get('open')$$);
-- nobody but the owners
SELECT summary_cache_configure('shop', 'readers', '');
SELECT role FROM readers WHERE answer NOT LIKE '42704%';
-- the owner of the database
BEGIN;
SELECT summary_cache_configure('shop', 'readers', 'pg_database_owner');
COMMIT;
SELECT datdba::regrole::text AS datdba FROM pg_database WHERE datname = current_database() \gset
SELECT reads('regress_readers_other');
SELECT format('ALTER DATABASE %I OWNER TO regress_readers_other', current_database()) \gexec
SELECT reads('regress_readers_other');
ALTER DATABASE :"DBNAME" OWNER TO :datdba;
SELECT reads('regress_readers_other');

--
-- Values that are none
--
SELECT try(format($$SELECT summary_cache_configure('shop', 'readers', %L)$$, value)) FROM unnest(ARRAY['regress_readers_none', 'public', 'a,,b', '"a', 'regress_readers_app,']) value;
SELECT try($$SELECT summary_cache_configure('shop', 'reader', 'x')$$);
SELECT reads('regress_readers_app', $$SELECT summary_cache_configure('shop', 'readers', NULL)$$);
SELECT summary_cache_configure('shop', 'readers', 'regress_readers_app');
SELECT reads('regress_readers_app', $$SELECT summary_cache_configure('shop', 'readers', NULL)$$);

--
-- Roles that are renamed, dropped, made again
--
CREATE ROLE "regress_Readers, odd";
SELECT summary_cache_configure('shop', 'readers', '"regress_Readers, odd", REGRESS_READERS_APP');
SELECT reads('"regress_Readers, odd"');
ALTER ROLE "regress_Readers, odd" RENAME TO regress_readers_even;
SELECT reads('regress_readers_even');
CREATE ROLE "regress_Readers, odd";
SELECT reads('"regress_Readers, odd"');
DROP ROLE regress_readers_even;
CREATE ROLE regress_readers_even;
SELECT reads('regress_readers_even'), reads('regress_readers_app');
-- DROP OWNED takes a role off the lists, which stay
SELECT summary_cache_configure('shop', 'readers', 'regress_readers_even');
DROP OWNED BY regress_readers_even, "regress_Readers, odd";
SELECT count(*) FROM summary_cache.reader;
SELECT reads('regress_readers_even'), reads('regress_readers_owner');
DROP ROLE regress_readers_even, "regress_Readers, odd";
SELECT summary_cache_configure('shop', 'readers', 'regress_readers_app');

--
-- Views
--
GRANT SELECT ON summary_cache_stats, summary_cache_sections, summary_cache_tables TO regress_readers_app, regress_readers_other, regress_readers_manager;
CREATE TABLE regress_readers.secret (id int);
SELECT summary_cache_define('hidden', 'core', 'SELECT count(*) AS n FROM regress_readers.secret');
SELECT summary_cache_configure('hidden', 'readers', '');
SELECT r, reads(r, $$SELECT string_agg(summary, ' ' ORDER BY summary) FROM summary_cache_stats$$) AS stats,
        reads(r, $$SELECT string_agg(summary || '.' || section, ' ' ORDER BY summary) FROM summary_cache_sections$$) AS sections,
        reads(r, $$SELECT string_agg(source || ' ' || sections::text, ' ' ORDER BY source::text) FROM summary_cache_tables$$) AS tables
    FROM unnest('{regress_readers_app, regress_readers_other, regress_readers_manager, regress_readers_monitor, regress_readers_super}'::regrole[]) r;
SELECT summary_cache_drop('hidden');

--
-- A function that reads for others, and a section that reads another summary: as their owner
--
GRANT CREATE ON SCHEMA regress_readers TO regress_readers_app;
SET ROLE regress_readers_app;
CREATE FUNCTION regress_readers.shop() RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$SELECT public.summary_cache_get('shop')$$;
SET ROLE regress_readers_other;
SELECT regress_readers.shop()->>'n';
SELECT summary_cache_define('nested', 'core', $$SELECT public.summary_cache_get('shop')->>'n' AS of_shop$$, '{}', run_query => false);
SELECT summary_cache_get('nested');
SET ROLE regress_readers_app;
SELECT summary_cache_define('nested app', 'core', $$SELECT public.summary_cache_get('shop')->>'n' AS of_shop$$, '{}');
SELECT summary_cache_get('nested app');
SET ROLE regress_readers_other;
SELECT summary_cache_get('nested app');
RESET ROLE;

--
-- The list goes with the summary; that of the State Hub's is like others
--
SELECT summary_cache_drop(s) FROM unnest('{shop, nested, nested app}'::text[]) s;
SELECT count(*) FROM summary_cache.reader;
SET ROLE regress_readers_owner;
SELECT summary_cache_define('state', 'core', 'SELECT count(*) AS n FROM regress_readers.orders');
SELECT summary_cache_configure('state', 'readers', 'regress_readers_app');
RESET ROLE;
SELECT reads(r, 'SELECT state_summary()') FROM unnest('{regress_readers_app, regress_readers_other, regress_readers_owner}'::regrole[]) r;
SELECT reads('regress_readers_other', 'SELECT state_summary(true)');

DROP EXTENSION summary_cache CASCADE;
DROP SCHEMA regress_readers CASCADE;
DROP VIEW readers;
DROP FUNCTION reads, try;
DROP PROCEDURE wait_until;
DROP ROLE regress_readers_owner, regress_readers_app, regress_readers_reporting, regress_readers_member, regress_readers_noinherit,
    regress_readers_manager, regress_readers_other, regress_readers_monitor, regress_readers_super;
