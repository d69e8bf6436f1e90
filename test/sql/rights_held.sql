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
SELECT summary_cache_drop('large');

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_held CASCADE;
DROP ROLE regress_held_owner, regress_held_definer, regress_held_super;
