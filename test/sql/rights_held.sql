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

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_held CASCADE;
DROP ROLE regress_held_owner, regress_held_definer, regress_held_super;
