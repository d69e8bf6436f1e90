-- Proves that a reader is told of a failing section's values and code only if it may see them, and that the message of a failure is stored whole up to a character.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
\pset format unaligned
\pset tuples_only
CREATE ROLE regress_errors_owner;
CREATE ROLE regress_errors_manager IN ROLE regress_errors_owner;
CREATE ROLE regress_errors_reader;
CREATE ROLE regress_errors_monitor IN ROLE pg_monitor;
CREATE SCHEMA regress_errors AUTHORIZATION regress_errors_owner;
GRANT USAGE ON SCHEMA regress_errors TO PUBLIC;
GRANT EXECUTE ON FUNCTION summary_cache_get, summary_cache_fetch, summary_cache_unchanged, summary_cache_define, summary_cache_drop TO PUBLIC;
GRANT SELECT ON summary_cache_stats, summary_cache_sections TO regress_errors_owner, regress_errors_reader, regress_errors_manager;
SET ROLE regress_errors_owner;
CREATE TABLE regress_errors.orders (id int, note text, CONSTRAINT secret_constraint CHECK (id > 0));
INSERT INTO regress_errors.orders VALUES (1, 'value');
-- an error with all that an error can have
CREATE FUNCTION regress_errors.fail() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'secret %', (SELECT max(note) FROM regress_errors.orders) USING DETAIL = 'secret detail', HINT = 'secret hint', ERRCODE = '22023',
        SCHEMA = 'secret', TABLE = 'secret', COLUMN = 'secret', CONSTRAINT = 'secret', DATATYPE = 'secret';
END $$;
CREATE FUNCTION regress_errors.sleep() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3), 'secret'; RETURN 1; END $$;
CREATE FUNCTION regress_errors.pretend() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'secret' USING ERRCODE = '57014'; END $$;
CREATE FUNCTION regress_errors.locked() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'secret' USING ERRCODE = '55P03'; END $$;
SELECT summary_cache_define(s, 'core', format('SELECT regress_errors.%s() AS n', s), '{regress_errors.orders}', run_query => false) FROM unnest('{fail, sleep, pretend, locked}'::text[]) s;
SELECT summary_cache_define('query', 'core', $$SELECT max(note::int) AS secret FROM regress_errors.orders$$, run_query => false);
RESET ROLE;

-- All that a caller can know of an error.
CREATE FUNCTION told(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a text; b text; c text; d text; e text; f text; g text; h text; i text; j text;
BEGIN
    EXECUTE command;
    RETURN 'no error';
EXCEPTION WHEN OTHERS OR query_canceled THEN
    GET STACKED DIAGNOSTICS a = RETURNED_SQLSTATE, b = MESSAGE_TEXT, c = PG_EXCEPTION_DETAIL, d = PG_EXCEPTION_HINT,
        e = COLUMN_NAME, f = CONSTRAINT_NAME, g = PG_DATATYPE_NAME, h = TABLE_NAME, i = SCHEMA_NAME, j = PG_EXCEPTION_CONTEXT;
    RETURN array_to_string(array_remove(ARRAY[a, b, c, d, e, f, g, h, i, j], ''), E'\n    ');
END $$;

-- who may see it
SET ROLE regress_errors_manager;
SELECT told($$SELECT summary_cache_get('fail', true)$$);
SET ROLE regress_errors_monitor;
SELECT told($$SELECT summary_cache_get('fail', true)$$);
-- and who may not, however it comes to build
SET ROLE regress_errors_reader;
SELECT told($$SELECT summary_cache_get('fail', true)$$);
SELECT s, told(format('SELECT summary_cache_get(%L)', s)) FROM unnest('{fail, query, pretend, locked}'::text[]) s;
SELECT told($$SELECT summary_cache_unchanged('query', NULL)$$);
SET summary_cache.enabled = off;
SELECT told($$SELECT summary_cache_get('fail')$$);
RESET summary_cache.enabled;
SELECT summary_cache_get('query', true);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT summary_cache_get('query');
ROLLBACK;
-- at a COMMIT
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT summary_cache_get('query', true);
COMMIT;
-- nor of a summary with a section of another owner's, not even by an error that has the SQLSTATE of a cancel or a lock
SET ROLE regress_errors_owner;
SELECT summary_cache_define('with_' || s, 'core', format('SELECT regress_errors.%s() AS n', s), '{}', run_query => false) FROM unnest('{pretend, locked}'::text[]) s;
SELECT summary_cache_define('with_' || s, 'other', 'SELECT 1 AS m', '{}') FROM unnest('{pretend, locked}'::text[]) s;
RESET ROLE;
UPDATE summary_cache.definition SET owner = 'regress_errors_manager' WHERE section = 'other';
SET summary_cache.enabled = off;
SET ROLE regress_errors_owner;
SELECT s, told(format('SELECT summary_cache_get(%L)', 'with_' || s)) FROM unnest('{pretend, locked}'::text[]) s;
-- (who may act for both)
SET ROLE regress_errors_manager;
SELECT s, told(format('SELECT summary_cache_get(%L)', 'with_' || s)) FROM unnest('{pretend, locked}'::text[]) s;
RESET summary_cache.enabled;
-- what ends the reader's own command is told, but not where
RESET ROLE;
SET summary_cache.build_timeout = '100ms';
SET ROLE regress_errors_reader;
SELECT summary_cache_get('sleep');
RESET ROLE;
RESET summary_cache.build_timeout;
SET ROLE regress_errors_reader;
SET statement_timeout = '100ms';
SELECT summary_cache_get('sleep');
RESET statement_timeout;
RESET ROLE;
-- a section that reads a failing summary is told no more than its owner
-- (a worker may take its time on a busy machine)
SET deadlock_timeout = '1min';
SET ROLE regress_errors_reader;
SELECT summary_cache_define('nested', 'core', $$SELECT summary_cache_get('fail') AS n$$, '{}', run_query => false);
SELECT told($$SELECT summary_cache_get('nested', true)$$);
SELECT summary_cache_drop('nested');

--
-- Views
--
SELECT summary, last_error, last_error_sqlstate FROM summary_cache_stats WHERE summary IN ('fail', 'query') ORDER BY 1;
SET ROLE regress_errors_manager;
SELECT summary, last_error, last_error_sqlstate FROM summary_cache_stats WHERE summary IN ('fail', 'query') ORDER BY 1;
SET ROLE regress_errors_monitor;
SELECT summary, last_error, last_error_sqlstate FROM summary_cache_stats WHERE summary IN ('fail', 'query') ORDER BY 1;
SET ROLE regress_errors_owner;
SELECT summary_cache_define('query', 'core', $$SELECT count(*) AS n FROM regress_errors.orders$$);
SELECT summary_cache_get('query');
SELECT summary_cache_define('query', 'core', $$SELECT max(note::int) AS secret FROM regress_errors.orders$$, run_query => false);
SELECT status FROM summary_cache_fetch('query');
SELECT told($$SELECT summary_cache_get('query', true)$$);
SELECT reason FROM summary_cache_sections WHERE summary = 'query';
SET ROLE regress_errors_reader;
SELECT reason FROM summary_cache_sections WHERE summary = 'query';
RESET ROLE;

--
-- A long message is cut off between two characters
--
SET ROLE regress_errors_owner;
CREATE FUNCTION regress_errors.long() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE '%', repeat(chr(233), 600); END $$;
SELECT summary_cache_define('long', 'core', 'SELECT regress_errors.long() AS x', '{}', run_query => false);
\set VERBOSITY sqlstate
SELECT summary_cache_get('long', true);
\set VERBOSITY default
RESET ROLE;
SELECT last_error = repeat(chr(233), length(last_error)) AS whole, octet_length(last_error) BETWEEN 510 AND 511 AS "long" FROM summary_cache_stats WHERE summary = 'long';
SELECT getdatabaseencoding() = 'UTF8' AS utf8 \gset
\if :utf8
SET client_encoding = 'LATIN1';
SELECT count(*) > 0 FROM (SELECT last_error FROM summary_cache_stats WHERE convert_to(last_error, 'LATIN1') IS NOT NULL OFFSET 0) s;
RESET client_encoding;
\else
\echo t
\endif

DROP EXTENSION summary_cache CASCADE;
DROP SCHEMA regress_errors CASCADE;
DROP FUNCTION told;
DROP ROLE regress_errors_owner, regress_errors_manager, regress_errors_reader, regress_errors_monitor;
