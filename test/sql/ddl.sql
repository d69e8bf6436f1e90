-- Proves that a change of a table, view, function, policy, right or tree of tables that a document depends on is noticed, and that maintenance is not taken for one.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_ddl;
SET search_path = regress_ddl, public;
\pset format unaligned
\pset tuples_only
SET client_min_messages = notice;

\set look 'SELECT status, document FROM summary_cache_fetch(''d'');'
\set force 'SELECT status, document FROM summary_cache_fetch(''d'', NULL, true);'
\getenv test PG_ABS_SRCDIR
\set helpers :test '/sql/include/helpers.sql'
\i :helpers
ALTER SYSTEM SET summary_cache.worker_idle_timeout = 0;
SELECT pg_reload_conf();

--
-- The shape of a table
--
CREATE TABLE task (id int PRIMARY KEY, n int);
INSERT INTO task VALUES (1, 10);
SELECT summary_cache_define('d', 'core', 'SELECT json_agg(t) AS t FROM task t');
:look
ALTER TABLE task ADD COLUMN added text DEFAULT 'x';
:look
:look
ALTER TABLE task RENAME COLUMN added TO renamed;
:look
ALTER TABLE task ALTER COLUMN n TYPE numeric(6, 2);
:look
ALTER TABLE task ALTER COLUMN n TYPE text USING 'n=' || n;
:look
ALTER TABLE task DROP COLUMN renamed;
:look
BEGIN;
ALTER TABLE task ADD COLUMN again int;
:look
ROLLBACK;
:look
DO $$ BEGIN EXECUTE 'ALTER TABLE task ADD COLUMN again int DEFAULT 7'; END $$;
:look
UPDATE task SET again = 8;
:look

--
-- Names: sections follow (follow.sql)
--
SET client_min_messages = warning;
ALTER TABLE task RENAME TO job;
:look
:look
ALTER TABLE job RENAME TO task;
CALL wait_until($$status = 'hit-revision' FROM summary_cache_fetch('d')$$);
:look
:quiet
SELECT last_error FROM summary_cache_stats;
ALTER SCHEMA regress_ddl RENAME TO regress_ddl_other;
SET search_path = regress_ddl_other, public;
:force
ALTER SCHEMA regress_ddl_other RENAME TO regress_ddl;
SET search_path = regress_ddl, public;
:force
:look
-- another table takes the name, in an earlier schema of the path: it is the one that is read, but not the one that is followed
CREATE TABLE public.shadowed AS SELECT 1 AS id;
SELECT summary_cache_define('d', 'core', 'SELECT json_agg(s) AS s FROM shadowed s');
:look
CREATE TABLE shadowed AS SELECT 'another' AS x;
:force
SELECT status = 'hit-revision' AS must_not_be_proven FROM summary_cache_fetch('d');
SELECT state, reason FROM summary_cache_sections;
:quiet
DROP TABLE shadowed;
:force
:look
DROP TABLE public.shadowed;
:force
SELECT last_error, last_error_sqlstate FROM summary_cache_stats;
SELECT summary_cache_define('d', 'core', 'SELECT json_agg(t) AS t FROM task t');
:look
CREATE SCHEMA regress_ddl2;
ALTER TABLE task SET SCHEMA regress_ddl2;
:force
ALTER TABLE regress_ddl2.task SET SCHEMA regress_ddl;
:force
:look
SET client_min_messages = notice;

--
-- What a query uses
--
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE used (m mood);
INSERT INTO used VALUES ('good');
CREATE VIEW v AS SELECT count(*) AS n FROM task;
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION inlined(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x + 1';
SELECT summary_cache_define('d', 'core', 'SELECT n, f(), inlined(1), m FROM v, used', '{task, used}');
:look
:look
CREATE OR REPLACE VIEW v AS SELECT count(*) + 100 AS n FROM task;
:look
CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 2; END';
:look
CREATE OR REPLACE FUNCTION inlined(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x + 2';
:look
-- of another name, it is the one that is called
ALTER FUNCTION f() RENAME TO f_old;
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 3';
:look
ALTER TYPE mood RENAME VALUE 'good' TO 'fine';
:look
:look
-- a view that comes to read another table, which is not followed
CREATE TABLE another (n int);
SELECT summary_cache_define('d', 'core', 'SELECT n FROM v');
:look
CREATE OR REPLACE VIEW v AS SELECT count(*) AS n FROM another;
:force
SELECT status = 'hit-revision' AS must_not_be_proven FROM summary_cache_fetch('d');
SELECT state, reason FROM summary_cache_sections;
INSERT INTO another VALUES (1);
SELECT status = 'hit-revision' AS must_not_be_proven FROM summary_cache_fetch('d');
:force
-- defined again, it is
SELECT summary_cache_define('d', 'core', 'SELECT n FROM v');
:force
:look
:quiet
INSERT INTO another VALUES (2);
:look
-- or to call a function that cannot be seen into
CREATE FUNCTION opaque() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT sum(n) FROM another); END';
CREATE OR REPLACE VIEW v AS SELECT opaque() AS n;
:force
SELECT status = 'hit-revision' AS must_not_be_proven FROM summary_cache_fetch('d');
SELECT state, reason FROM summary_cache_sections;
UPDATE another SET n = n + 10;
SELECT status = 'hit-revision' AS must_not_be_proven FROM summary_cache_fetch('d');
:force
SELECT summary_cache_define('d', 'core', 'SELECT n FROM v', '{another}');
:force
:look
SELECT state, reason FROM summary_cache_sections;
DROP VIEW v;
DROP FUNCTION opaque;
CREATE VIEW v AS SELECT count(*) AS n FROM another;
-- by another session
SELECT summary_cache_define('d', 'core', 'SELECT f()', '{}');
:force
\c -
SET search_path = regress_ddl, public;
CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 4';
\c -
SET search_path = regress_ddl, public;
SELECT status FROM summary_cache_fetch('d');
CALL wait_until($$status = 'hit-revision' FROM summary_cache_fetch('d')$$);
:look
:quiet

--
-- What its owner may see
--
SET client_min_messages = warning;
CREATE ROLE regress_ddl_owner;
SET client_min_messages = notice;
CREATE TABLE secret (id int);
INSERT INTO secret VALUES (1), (2), (3), (4);
GRANT USAGE ON SCHEMA regress_ddl TO regress_ddl_owner;
GRANT SELECT, TRIGGER ON secret TO regress_ddl_owner;
GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_ddl_owner;
SELECT summary_cache_drop('d');
SET ROLE regress_ddl_owner;
SELECT summary_cache_define('d', 'core', 'SELECT json_agg(id ORDER BY id) AS ids FROM secret');
RESET ROLE;
:look
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
:look
CREATE POLICY p ON secret USING (id <= 2);
:look
ALTER POLICY p ON secret USING (id >= 2);
:look
ALTER ROLE regress_ddl_owner PASSWORD NULL BYPASSRLS VALID UNTIL 'infinity';
:look
ALTER ROLE regress_ddl_owner NOBYPASSRLS;
:look
DROP POLICY p ON secret;
:look
ALTER TABLE secret DISABLE ROW LEVEL SECURITY;
:look
REVOKE SELECT ON secret FROM regress_ddl_owner;
:force
GRANT SELECT ON secret TO PUBLIC;
:force
:look
REVOKE SELECT ON secret FROM PUBLIC;
:force
SELECT summary_cache_drop('d');

--
-- Triggers
--
CREATE FUNCTION triggers(tab regclass) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = tab
$$;
-- Reads a few times; a document that cannot be proven is never a hit.
CREATE FUNCTION hits() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    n int := 0;
BEGIN
    FOR i IN 1 .. 3 LOOP
        IF status = 'hit-revision' FROM summary_cache_fetch('d') THEN n := n + 1; END IF;
    END LOOP;
    RETURN n;
END $$;
CREATE TABLE t (n int);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER users AFTER INSERT ON t EXECUTE FUNCTION nothing();
SELECT summary_cache_define('d', 'core', 'SELECT count(*) AS n FROM t');
:look
SELECT hits();
:quiet
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
ALTER TABLE t DISABLE TRIGGER users;
:look
SELECT hits();
:quiet
ALTER TABLE t DISABLE TRIGGER ALL;
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
SELECT hits();
:quiet
INSERT INTO t VALUES (1);
:force
-- served stale and refreshed in the background, not built at each read
SELECT status FROM summary_cache_fetch('d');
:quiet
SELECT hits();
:quiet
SELECT state FROM summary_cache_sections;
-- an application's fixtures and pg_restore --disable-triggers end with this
ALTER TABLE t ENABLE TRIGGER ALL;
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
:force
SELECT hits();
:quiet
INSERT INTO t VALUES (2);
:look
ALTER TABLE t DISABLE TRIGGER USER;
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
SELECT hits();
:quiet
ALTER TABLE t ENABLE TRIGGER USER;
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
:force
SELECT hits();
:quiet
-- by name
ALTER TABLE t DISABLE TRIGGER summary_cache_statement;
SELECT provable, reason FROM summary_cache_tables;
SELECT hits();
:quiet
ALTER TABLE t ENABLE TRIGGER summary_cache_statement;
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
ALTER TABLE t ENABLE REPLICA TRIGGER summary_cache_statement;
SELECT provable, reason FROM summary_cache_tables;
SELECT hits();
:quiet
ALTER TABLE t ENABLE ALWAYS TRIGGER summary_cache_statement;
SELECT provable, reason FROM summary_cache_tables;
:force
SELECT hits();
:quiet
ALTER TRIGGER summary_cache_statement ON t RENAME TO renamed;
SELECT provable, reason FROM summary_cache_tables;
SELECT hits();
:quiet
ALTER TRIGGER renamed ON t RENAME TO summary_cache_statement;
SELECT provable, reason FROM summary_cache_tables;
-- with no worker that might put it there again
SELECT summary_cache_configure('d', 'min_refresh_interval', '1h');
DROP TRIGGER summary_cache_statement ON t;
SELECT provable, reason FROM summary_cache_tables;
INSERT INTO t VALUES (3);
:force
SELECT hits();
-- as one does
SELECT summary_cache_configure('d', 'min_refresh_interval', NULL);
:force
CALL wait_until($$ EXISTS (SELECT FROM summary_cache_fetch('d') WHERE status = 'hit-revision') $$);
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
:quiet
DROP TRIGGER summary_cache_statement ON t;
-- defined again, they are back
SELECT summary_cache_define('d', 'core', 'SELECT count(*) AS n FROM t');
SELECT provable, reason, triggers('t') FROM summary_cache_tables;
:force
SELECT hits();
:quiet
INSERT INTO t VALUES (4);
:look
-- a trigger of the same name that does less
CREATE OR REPLACE TRIGGER summary_cache_statement AFTER DELETE ON t EXECUTE FUNCTION summary_cache_touch();
ALTER TABLE t ENABLE ALWAYS TRIGGER summary_cache_statement;
SELECT provable, reason FROM summary_cache_tables;
SELECT hits();
:quiet
DROP TRIGGER summary_cache_statement ON t;
SELECT summary_cache_define('d', 'core', 'SELECT count(*) AS n FROM t');
-- triggers that are off in a session are on for us
:force
SET session_replication_role = replica;
INSERT INTO t VALUES (5);
:look
UPDATE t SET n = 0 WHERE n = 5;
:look
DELETE FROM t WHERE n = 0;
:look
COPY t FROM STDIN;
6
\.
:look
TRUNCATE t;
:look
SET session_replication_role = local;
INSERT INTO t VALUES (7);
:look
RESET session_replication_role;
SELECT summary_cache_drop('d');
SELECT triggers('t');

--
-- Materialized views
--
CREATE TABLE base (n int);
INSERT INTO base VALUES (1);
CREATE MATERIALIZED VIEW mat AS SELECT sum(n) AS n FROM base;
CREATE UNIQUE INDEX ON mat (n);
SELECT summary_cache_define('d', 'core', 'SELECT n FROM mat');
SELECT source, provable, reason FROM summary_cache_tables;
:look
:look
INSERT INTO base VALUES (2);
:look
REFRESH MATERIALIZED VIEW mat;
:look
INSERT INTO base VALUES (3);
REFRESH MATERIALIZED VIEW CONCURRENTLY mat;
:look
REFRESH MATERIALIZED VIEW mat WITH NO DATA;
:force
REFRESH MATERIALIZED VIEW mat;
:force
SELECT summary_cache_drop('d');

--
-- Partitions
--
CREATE TABLE part (id int, n int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20);
INSERT INTO part VALUES (1, 1);
SELECT summary_cache_define('d', 'core', 'SELECT count(*) AS count, sum(n) AS sum, sum(id) AS ids FROM part');
SELECT source, provable, reason FROM summary_cache_tables;
:look
INSERT INTO part VALUES (2, 2);
:look
INSERT INTO part1 VALUES (3, 3);
:look
UPDATE part SET id = 13 WHERE id = 3;
:look
DELETE FROM part2;
:look
COPY part2 FROM STDIN;
14	4
\.
:look
TRUNCATE part1;
:look
-- attached with rows in it
CREATE TABLE part3 (id int, n int);
INSERT INTO part3 VALUES (25, 5);
:force
ALTER TABLE part ATTACH PARTITION part3 FOR VALUES FROM (20) TO (30);
SELECT triggers('part3');
:look
INSERT INTO part3 VALUES (26, 6);
:look
-- created later, in one statement, and with levels below it
CREATE TABLE part4 PARTITION OF part FOR VALUES FROM (30) TO (40) PARTITION BY RANGE (n);
CREATE TABLE part41 PARTITION OF part4 FOR VALUES FROM (0) TO (10);
SELECT triggers('part4'), triggers('part41');
:force
INSERT INTO part41 VALUES (37, 7);
:look
INSERT INTO part4 VALUES (38, 8);
:look
CREATE TABLE part5 (id int, n int) PARTITION BY RANGE (n);
CREATE TABLE part51 PARTITION OF part5 FOR VALUES FROM (0) TO (10);
ALTER TABLE part ATTACH PARTITION part5 FOR VALUES FROM (40) TO (50);
SELECT triggers('part5'), triggers('part51');
:force
INSERT INTO part51 VALUES (49, 9);
:look
SELECT provable, reason FROM summary_cache_tables;
-- triggers that are off on a member alone
ALTER TABLE part51 DISABLE TRIGGER ALL;
SELECT provable, reason FROM summary_cache_tables;
SELECT hits();
:quiet
ALTER TABLE part51 ENABLE TRIGGER ALL;
SELECT provable, reason, triggers('part51') FROM summary_cache_tables;
-- or on the root alone
ALTER TABLE part DISABLE TRIGGER ALL;
SELECT provable, triggers('part2'), triggers('part51') FROM summary_cache_tables;
ALTER TABLE part ENABLE TRIGGER ALL;
SELECT provable, reason, triggers('part'), triggers('part2'), triggers('part51') FROM summary_cache_tables;
:force
SELECT hits();
:quiet
-- detached
ALTER TABLE part DETACH PARTITION part3;
:look
INSERT INTO part3 VALUES (27, 7);
:look
ALTER TABLE part DETACH PARTITION part2 CONCURRENTLY;
:look
INSERT INTO part2 VALUES (19, 9);
:look
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES FROM (10) TO (20);
:look
DROP TABLE part4;
:look
-- a default partition
CREATE TABLE part_default PARTITION OF part DEFAULT;
:force
INSERT INTO part VALUES (1000, 1);
:look
INSERT INTO part_default VALUES (1001, 1);
:look
-- a summary of one partition only: what is written through the root concerns it
SELECT summary_cache_drop('d');
SELECT triggers('part'), triggers('part1');
SELECT summary_cache_define('d', 'core', 'SELECT count(*) FROM part1');
SELECT source FROM summary_cache_tables;
:look
INSERT INTO part VALUES (1, 1);
:look
SELECT summary_cache_drop('d');
SELECT triggers('part'), triggers('part1'), triggers('part2'), triggers('part3'), triggers('part5'), triggers('part51');

--
-- Inheritance
--
CREATE TABLE parent (n int);
CREATE TABLE child () INHERITS (parent);
CREATE TABLE parent2 (m int);
SELECT summary_cache_define('d', 'core', 'SELECT sum(n) FROM parent');
SELECT summary_cache_define('d2', 'core', 'SELECT sum(m) FROM parent2');
\set look2 'SELECT a.status, a.document, b.status, b.document FROM summary_cache_fetch(''d'') a, summary_cache_fetch(''d2'') b;'
:look2
INSERT INTO parent VALUES (1);
:look2
INSERT INTO child VALUES (2);
:look2
UPDATE parent SET n = n + 10;
:look2
-- later ones; one with two parents concerns both summaries
CREATE TABLE child2 () INHERITS (parent, parent2);
CREATE TABLE child3 (n int);
INSERT INTO child3 VALUES (100);
ALTER TABLE child3 INHERIT parent;
CREATE TABLE grandchild () INHERITS (child3);
SELECT triggers('child2'), triggers('child3'), triggers('grandchild');
:look2
INSERT INTO child2 VALUES (1000, 2000);
:look2
INSERT INTO grandchild VALUES (3000);
:look2
DELETE FROM child3;
:look2
ALTER TABLE child2 NO INHERIT parent;
:look2
UPDATE child2 SET m = 1;
:look2
TRUNCATE ONLY parent;
:look2
SELECT summary_cache_drop('d2');
SELECT triggers('parent2'), triggers('parent');
SELECT summary_cache_drop('d');
SELECT triggers('parent'), triggers('child'), triggers('child2'), triggers('child3'), triggers('grandchild');

--
-- What changes no content
--
INSERT INTO task VALUES (2, 'b', 2), (3, 'c', 3);
CREATE TABLE referencing (id int REFERENCES task);
SELECT summary_cache_define('d', 'core', 'SELECT count(*) FROM task');
:look
VACUUM task;
:look
VACUUM (FULL, ANALYZE) task;
:look
ANALYZE task;
:look
ANALYZE;
:look
CLUSTER task USING task_pkey;
:look
REINDEX TABLE task;
:look
REINDEX TABLE CONCURRENTLY task;
:look
CREATE INDEX task_n ON task (n);
:look
CREATE INDEX CONCURRENTLY task_n2 ON task (n);
:look
COMMENT ON TABLE task IS 'a table';
:look
-- what any role may do
ALTER ROLE regress_ddl_owner SET work_mem = '5MB';
:look
ALTER ROLE regress_ddl_owner RESET ALL;
:look
ALTER ROLE regress_ddl_owner PASSWORD NULL;
:look
ALTER ROLE regress_ddl_owner VALID UNTIL '2000-01-01' CONNECTION LIMIT 3;
:look
SET ROLE regress_ddl_owner;
ALTER ROLE regress_ddl_owner SET DateStyle = 'German';
ALTER ROLE regress_ddl_owner RESET ALL;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC;
RESET ROLE;
:look
CREATE TEMP TABLE temporary (id int PRIMARY KEY);
:look
CREATE TABLE pg_temp.temporary2 (id int);
:look
SELECT 1 AS a INTO TEMP temporary3;
:look
CREATE TEMP TABLE temporary4 ON COMMIT DROP AS SELECT 1 AS a;
:look
CREATE TEMP VIEW temporary5 AS SELECT 1 AS a;
:look
CREATE TEMP SEQUENCE temporary6;
:look
CREATE INDEX ON temporary (id);
:look
ALTER TABLE temporary ADD COLUMN n int;
:look
TRUNCATE temporary;
:look
DROP TABLE temporary, pg_temp.temporary2, temporary3;
:look
DROP VIEW temporary5;
:look
DROP SEQUENCE temporary6;
:look
DROP TABLE IF EXISTS no_such_table;
:look
SET work_mem = 1024;
:look
LISTEN regress_ddl;
:look
NOTIFY regress_ddl_other;
:look
CHECKPOINT;
:look
DISCARD TEMP;
:look
PREPARE p AS SELECT 1;
:look
EXPLAIN (COSTS off) UPDATE task SET n = 'x';
:look
-- but this does
TRUNCATE task CASCADE;
:look

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_ddl, regress_ddl2 CASCADE;
DROP ROLE regress_ddl_owner;
ALTER SYSTEM RESET summary_cache.worker_idle_timeout;
SELECT pg_reload_conf();
