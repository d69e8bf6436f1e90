-- Proves what the extension consists of and who may use it, how its settings are bounded, and that DROP EXTENSION leaves the tables as they were and nothing cached.

\pset format unaligned
\pset tuples_only
SET client_min_messages = warning;
CREATE SCHEMA regress_extension;
CREATE SCHEMA regress_extension2;
SET search_path = regress_extension;
CREATE EXTENSION summary_cache;

--
-- Its objects: a change of these lists is a change of the interface
--
CREATE FUNCTION grants(acl aclitem[], kind "char", owner oid) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END || ' ' || privilege_type, ', '), 'owner only')
    FROM aclexplode(coalesce(acl, acldefault(kind, owner))) WHERE grantee <> owner
$$;
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') ' || pg_get_function_result(p.oid) AS function,
    CASE WHEN provolatile = 'v' THEN 'volatile' ELSE provolatile::text END,
    CASE proparallel WHEN 'u' THEN 'parallel unsafe' WHEN 'r' THEN 'parallel restricted' ELSE proparallel::text END,
    CASE WHEN proisstrict THEN 'strict' ELSE '' END,
    CASE WHEN prosecdef THEN 'security definer' ELSE '' END, grants(proacl, 'f', proowner)
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache') AND deptype = 'e'
ORDER BY p.proname COLLATE "C";
SELECT c.relname, c.relkind, grants(relacl, 'r', relowner)
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache') AND deptype = 'e'
ORDER BY c.relname COLLATE "C";
SELECT count(*) FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache') AND deptype = 'e'
    AND classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass);
SELECT attrelid::regclass, string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid IN ('summary_cache.definition'::regclass, 'summary_cache.option'::regclass, 'summary_cache.reader'::regclass, 'summary_cache_stats'::regclass,
    'summary_cache_sections'::regclass, 'summary_cache_parts'::regclass, 'summary_cache_tables'::regclass) AND attnum > 0 AND NOT attisdropped
GROUP BY attrelid ORDER BY attrelid::regclass::text COLLATE "C";
-- what pg_dump carries
SELECT c::regclass, condition FROM pg_extension, unnest(extconfig, extcondition) AS u (c, condition)
WHERE extname = 'summary_cache' ORDER BY c::regclass::text COLLATE "C";
-- all that is there to be used has a comment
SELECT proname FROM pg_proc WHERE pronamespace IN ('regress_extension'::regnamespace, 'summary_cache'::regnamespace) AND proname <> 'grants'
    AND proname NOT LIKE 'summary\_cache\_stat\_%' AND obj_description(oid, 'pg_proc') IS NULL;
SELECT relname FROM pg_class WHERE relnamespace IN ('regress_extension'::regnamespace, 'summary_cache'::regnamespace) AND relkind IN ('r', 'v')
    AND obj_description(oid, 'pg_class') IS NULL;

--
-- Its settings
--
SELECT name, vartype, coalesce(unit, '-'), boot_val, coalesce(min_val, '-'), coalesce(max_val, '-'), context
FROM pg_settings WHERE name LIKE 'summary\_cache.%' AND name NOT LIKE '%.debug\_%' ORDER BY name COLLATE "C";
SELECT name FROM pg_settings WHERE name LIKE 'summary\_cache.%' AND (short_desc IS NULL OR short_desc = '');
-- refused by PostgreSQL's own bounds (in words that depend on its version)
\set VERBOSITY sqlstate
SET summary_cache.max_stale_age = -2;
SET summary_cache.max_stale_age = 'long';
SET summary_cache.max_stale_age = '1 byte';
SET summary_cache.stale_if_error = -1;
SET summary_cache.build_timeout = -1;
SET summary_cache.local_memory_limit = -1;
SET summary_cache.enabled = 'perhaps';
SET summary_cache.read_your_writes = 2;
ALTER SYSTEM SET summary_cache.memory_limit = '1MB - 1';
ALTER SYSTEM SET summary_cache.memory_limit = 1;
ALTER SYSTEM SET summary_cache.max_tables = 1;
ALTER SYSTEM SET summary_cache.max_sections = 0;
ALTER SYSTEM SET summary_cache.worker_idle_timeout = -1;
\set VERBOSITY default
-- not to be changed here
SET summary_cache.memory_limit = '128MB';
SET summary_cache.max_tables = 2000;
SET summary_cache.max_sections = 2000;
SET summary_cache.worker_idle_timeout = 0;
-- and no others
SET summary_cache.max_stale_agee = 1;
SELECT set_config('summary_cache.nonsense', '1', false);
SELECT current_setting('summary_cache.nonsense');
-- in their units
SET summary_cache.max_stale_age = '10 min';
SHOW summary_cache.max_stale_age;
SET summary_cache.build_timeout = '1 h';
SHOW summary_cache.build_timeout;
SET summary_cache.local_memory_limit = '1 GB';
SHOW summary_cache.local_memory_limit;
RESET ALL;
SET client_min_messages = warning;
SET search_path = regress_extension;

-- under its name in PostgreSQL's own views
SELECT name, size > 0 AS used FROM pg_shmem_allocations WHERE name LIKE 'summary\_cache%' ORDER BY name COLLATE "C";

--
-- Dropped and created again
--
CREATE TABLE task (id int PRIMARY KEY, n int);
CREATE TABLE part (id int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER users AFTER INSERT ON task EXECUTE FUNCTION nothing();
INSERT INTO task VALUES (1, 1);
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS n, (SELECT count(*) FROM part) AS p FROM task');
SELECT status, document FROM summary_cache_fetch('s');
SELECT status, document FROM summary_cache_fetch('s');
CREATE VIEW triggers AS SELECT tgrelid::regclass, tgname FROM pg_trigger
    WHERE tgrelid IN ('task'::regclass, 'part'::regclass, 'part1'::regclass) ORDER BY tgrelid::regclass::text, tgname;
SELECT * FROM triggers;
-- not dropped after all
BEGIN;
DROP EXTENSION summary_cache;
SELECT * FROM triggers;
INSERT INTO task VALUES (2, 2);
\set VERBOSITY terse
SELECT summary_cache_get('s');
\set VERBOSITY default
ROLLBACK;
SELECT * FROM triggers;
SELECT document FROM summary_cache_fetch('s');
SELECT status, document FROM summary_cache_fetch('s');
INSERT INTO part VALUES (1);
SELECT status, document FROM summary_cache_fetch('s');
-- dropped: the tables are as they were
DROP EXTENSION summary_cache;
SELECT * FROM triggers;
SELECT to_regproc('summary_cache_get'), to_regclass('summary_cache.definition');
INSERT INTO task VALUES (2, 2);
UPDATE task SET n = 10 * n;
DELETE FROM task WHERE id = 1;
COPY part FROM STDIN;
2
\.
INSERT INTO part1 VALUES (3);
TRUNCATE part;
SELECT * FROM task;
SELECT count(*) FROM part;
-- created again, in the same server: nothing is there, and nothing comes back
CREATE EXTENSION summary_cache;
SELECT summary_cache_get('s');
SELECT count(*) FROM summary_cache_stats;
SELECT count(*) FROM summary_cache_sections;
SELECT count(*) FROM summary_cache_tables;
SELECT * FROM triggers;
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS n, (SELECT count(*) FROM part) AS p FROM task');
SELECT hits, misses, builds_miss FROM summary_cache_stats;
SELECT status, document FROM summary_cache_fetch('s');
SELECT status, document FROM summary_cache_fetch('s');
INSERT INTO task VALUES (3, 3);
SELECT status, document FROM summary_cache_fetch('s');
-- in one transaction
BEGIN;
DROP EXTENSION summary_cache;
CREATE EXTENSION summary_cache;
SELECT summary_cache_get('s');
ROLLBACK;
SELECT document FROM summary_cache_fetch('s');
BEGIN;
DROP EXTENSION summary_cache;
CREATE EXTENSION summary_cache;
SELECT summary_cache_define('s', 'core', 'SELECT max(n) AS n FROM task');
SELECT status, document FROM summary_cache_fetch('s');
COMMIT;
SELECT status, document FROM summary_cache_fetch('s');
INSERT INTO task VALUES (4, 400);
SELECT status, document FROM summary_cache_fetch('s');
-- dropped with its schema
CREATE SCHEMA regress_extension3;
DROP EXTENSION summary_cache;
CREATE EXTENSION summary_cache SCHEMA regress_extension3;
SELECT regress_extension3.summary_cache_define('s', 'core', 'SELECT count(*) AS c FROM task');
SELECT regress_extension3.summary_cache_get('s');
DROP SCHEMA regress_extension3 CASCADE;
SELECT * FROM triggers;
INSERT INTO task VALUES (5, 5);

--
-- In another schema, which is in nobody's search path
--
CREATE EXTENSION summary_cache SCHEMA regress_extension2;
SELECT regress_extension2.summary_cache_define('s', 'core', 'SELECT count(*) AS c FROM task');
SELECT status, document FROM regress_extension2.summary_cache_fetch('s');
INSERT INTO task VALUES (6, 6);
SELECT status, document FROM regress_extension2.summary_cache_fetch('s');
SELECT status, document FROM regress_extension2.summary_cache_fetch('s');
SELECT source, provable FROM regress_extension2.summary_cache_tables;
SELECT regress_extension2.summary_cache_define('s', 'core', 'SELECT count(*) AS c FROM task', NULL, 'inline');
SELECT status, document FROM regress_extension2.summary_cache_fetch('s');
SELECT regress_extension2.summary_cache_invalidate('s');
SELECT status, document FROM regress_extension2.summary_cache_fetch('s');
SELECT regress_extension2.summary_cache_drop('s');
SELECT count(*) FROM summary_cache.definition;
ALTER EXTENSION summary_cache SET SCHEMA regress_extension;

--
-- Who may not
--
CREATE ROLE regress_extension_other;
GRANT USAGE ON SCHEMA regress_extension2 TO regress_extension_other;
GRANT USAGE, CREATE ON SCHEMA regress_extension TO regress_extension_other;
SET ROLE regress_extension_other;
CREATE TABLE regress_extension.own (id int);
CREATE TRIGGER t AFTER INSERT ON regress_extension.own EXECUTE FUNCTION regress_extension2.summary_cache_touch();
DROP EXTENSION summary_cache;
RESET ROLE;
DROP EXTENSION summary_cache;
SET ROLE regress_extension_other;
CREATE EXTENSION summary_cache SCHEMA regress_extension;
RESET ROLE;

DROP SCHEMA regress_extension, regress_extension2 CASCADE;
DROP ROLE regress_extension_other;
