-- Proves that each read is answered by the first rule of the decision table that applies, and that no kind of write goes unnoticed.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_status;
SET search_path = regress_status, public;
\pset format unaligned
\pset tuples_only

-- the worker leaves as soon as it has nothing to do, so that quiet() need not wait for it
ALTER SYSTEM SET summary_cache.worker_idle_timeout = 0;
SELECT pg_reload_conf();

CREATE TABLE topic (id int PRIMARY KEY);
CREATE TABLE task (
    id int PRIMARY KEY, n int NOT NULL DEFAULT 0, updated_at timestamptz,
    topic int REFERENCES topic ON DELETE CASCADE ON UPDATE CASCADE,
    other_topic int REFERENCES topic ON DELETE SET NULL);
CREATE TABLE event (id int PRIMARY KEY, note text);
CREATE TABLE elsewhere (id int);
INSERT INTO topic SELECT generate_series(1, 9);
INSERT INTO task SELECT g, g, '2026-01-01', g, g FROM generate_series(1, 9) g;
INSERT INTO event VALUES (1, 'one');

SELECT summary_cache_define('s', 'core',
    'SELECT count(*) AS tasks, json_agg(t ORDER BY id) AS all_tasks FROM task t', '{task}');
SELECT summary_cache_define('s', 'progress',
    'SELECT json_agg(e ORDER BY id) AS events FROM event e', '{event}', 'inline');

-- what the document has to be, computed from the tables
CREATE FUNCTION truth() RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object(
        'tasks', (SELECT count(*) FROM task),
        'all_tasks', (SELECT jsonb_agg(json_build_object('id', id, 'n', n,
                'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'),
                'topic', topic, 'other_topic', other_topic) ORDER BY id) FROM task),
        'events', (SELECT jsonb_agg(json_build_object('id', id, 'note', note) ORDER BY id) FROM event))
$$;
\set look 'SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch(''s'');'
\set look_inside 'SELECT status, document::jsonb = truth() AS fresh, (document -> ''events'')::jsonb = truth() -> ''events'' AS inline_fresh FROM summary_cache_fetch(''s'');'
\getenv test PG_ABS_SRCDIR
\set helpers :test '/sql/include/helpers.sql'
\i :helpers
\set wait_for_hit 'CALL wait_until($c$ status = ''hit-revision'' FROM summary_cache_fetch(''s'') $c$);'
SET client_min_messages = notice;

--
-- miss, hit-revision
--
:look
:look
-- forced
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
:look
SELECT summary_cache_get('s', true)::jsonb = truth() AS fresh;
SELECT summary_cache_get('s')::jsonb = truth() AS fresh;
-- NULL does not force
SELECT status FROM summary_cache_fetch('s', NULL, NULL);

-- only who has not got the document gets it
SELECT etag AS etag1 FROM summary_cache_fetch('s') \gset
SELECT status, etag = :'etag1' AS same_etag, document IS NULL AS no_document
    FROM summary_cache_fetch('s', :'etag1');
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', 'another');
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', '');
SELECT status, document IS NULL AS no_document FROM summary_cache_fetch('s', :'etag1', true);
SELECT summary_cache_unchanged('s', :'etag1') AS unchanged, summary_cache_unchanged('s', :'etag1' || ' ') AS other,
    summary_cache_unchanged('s', NULL) IS NOT DISTINCT FROM false AS none;
SELECT length(:'etag1') >= 32 AS long_enough;

-- a cursor that is filled at COMMIT, where nothing can be rolled back any more but the whole
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT summary_cache_get('s', true)::jsonb = truth() AS fresh;
COMMIT;
FETCH held;
CLOSE held;
BEGIN;
DECLARE failing CURSOR WITH HOLD FOR SELECT summary_cache_get('none such');
COMMIT;
:look

-- invalidated
SELECT summary_cache_invalidate('s');
:look
:look
SELECT summary_cache_invalidate('s', 'all');
:look
SELECT summary_cache_invalidate('s', 'core');
:look
-- an inline section is only marked
SELECT summary_cache_invalidate('s', 'progress');
:look
:look
-- unless nothing is cached
SELECT summary_cache_invalidate('s');
SELECT summary_cache_invalidate('s', 'progress');
:look
-- a session that has seen that nothing is cached does not take that for a document
SELECT summary_cache_invalidate('s');
BEGIN;
UPDATE task SET n = n;
:look
ROLLBACK;
:look
-- invalidation is not undone by a rollback
BEGIN;
SELECT summary_cache_invalidate('s');
ROLLBACK;
:look
SELECT summary_cache_invalidate('s', 'nonsense');
:look

-- too old
SET summary_cache.max_stale_age = 0;
:look
:look
SET summary_cache.max_stale_age = 1;
:look
CALL wait_until($c$ status = 'miss' FROM summary_cache_fetch('s') $c$);
:look
SET summary_cache.max_stale_age = -1;
:look
RESET summary_cache.max_stale_age;
:look
:quiet

--
-- stale, and read-your-writes
--
UPDATE task SET n = n + 1 WHERE id = 1;
:look
:look
SET summary_cache.read_your_writes = off;
UPDATE task SET n = n + 1 WHERE id = 1;
:look
:wait_for_hit
:look
:quiet
-- another session's commit is no reason to build
RESET summary_cache.read_your_writes;
UPDATE task SET n = n + 1 WHERE id = 1;
\c -
SET search_path = regress_status, public;
SHOW summary_cache.read_your_writes;
:look
:wait_for_hit
:look
:quiet
-- a session that has seen its write is served stale again after another's
UPDATE task SET n = n + 1 WHERE id = 1;
:look
\c -
SET search_path = regress_status, public;
UPDATE task SET n = n + 1 WHERE id = 1;
SET summary_cache.read_your_writes = off;
:look
:wait_for_hit
:quiet
RESET summary_cache.read_your_writes;

--
-- progress-section
--
INSERT INTO event VALUES (2, 'two');
:look
:look
SET summary_cache.read_your_writes = off;
INSERT INTO event VALUES (3, 'three');
:look
:look
-- both sections: the cached document, of which the inline section is rebuilt; and a refresh
INSERT INTO event VALUES (4, 'four');
DELETE FROM task WHERE id = 9;
:look_inside
:wait_for_hit
:look
:quiet
RESET summary_cache.read_your_writes;
INSERT INTO event VALUES (5, 'five');
DELETE FROM task WHERE id = 8;
:look
:look
-- a session that may not publish rebuilds it for itself
SET summary_cache.read_your_writes = off;
INSERT INTO event VALUES (10, 'ten');
UPDATE task SET n = n + 1 WHERE id = 1;
BEGIN;
INSERT INTO elsewhere VALUES (1);
:look_inside
COMMIT;
:wait_for_hit
:quiet
RESET summary_cache.read_your_writes;

--
-- private
--
-- own uncommitted writes, to either section's table
BEGIN;
:look
UPDATE task SET n = n + 1 WHERE id = 1;
:look
SELECT summary_cache_get('s', true)::jsonb = truth() AS fresh;
UPDATE task SET n = n - 1 WHERE id = 1;
:look
COMMIT;
:look
BEGIN;
INSERT INTO event VALUES (6, 'six');
:look
ROLLBACK;
:look
-- no statement of the transaction has to have changed anything yet
BEGIN;
UPDATE task SET n = 0 WHERE false;
:look
COMMIT;
:look

BEGIN ISOLATION LEVEL SERIALIZABLE;
:look
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
:look
COMMIT;
-- which never publishes, but asks for a document
SELECT summary_cache_reset_stats();
SELECT summary_cache_invalidate('s');
BEGIN ISOLATION LEVEL SERIALIZABLE;
:look
:look
COMMIT;
CALL wait_until($c$ builds_background > 0 FROM summary_cache_stats $c$);
:wait_for_hit
:look
:quiet
-- provable in REPEATABLE READ
BEGIN ISOLATION LEVEL REPEATABLE READ;
:look
:look
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
:look
UPDATE event SET note = 'changed' WHERE id = 1;
:look
ROLLBACK;
-- not provable there: the answer is private, and asks for a document, as nobody else may
CREATE PROCEDURE look_alone() LANGUAGE plpgsql AS $$
DECLARE
    background int := (SELECT builds_background FROM summary_cache_stats);
    f record;
BEGIN
    FOR i IN 1 .. 500 LOOP
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
        SELECT status, document::jsonb = truth() AS fresh INTO f FROM summary_cache_fetch('s');
        IF i = 1 OR f.status <> 'private' OR NOT f.fresh THEN
            RAISE NOTICE '% %', f.status, f.fresh;
        END IF;
        EXIT WHEN f.status <> 'private';
        PERFORM pg_sleep(0.02);
    END LOOP;
    RAISE NOTICE 'by the worker: %', (SELECT builds_background > background FROM summary_cache_stats);
END $$;
UPDATE task SET n = n + 1 WHERE id = 1;
CALL look_alone();
:quiet
SELECT summary_cache_invalidate('s');
CALL look_alone();
:look
:quiet

-- switched off: what is written meanwhile is noticed all the same
SET summary_cache.enabled = off;
:look
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
UPDATE task SET n = n + 1 WHERE id = 1;
:look
SET summary_cache.enabled = on;
:look
:look

-- with an xid: may read the cached document, but may not publish one
BEGIN;
INSERT INTO elsewhere VALUES (1);
:look
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
SELECT summary_cache_invalidate('s');
:look
:look
COMMIT;
:wait_for_hit
:look
:quiet
-- the same with a lock on a source stronger than a reader's
BEGIN;
LOCK TABLE task IN ACCESS SHARE MODE;
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
LOCK TABLE task IN ROW SHARE MODE;
:look
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
SELECT summary_cache_invalidate('s');
:look
COMMIT;
:wait_for_hit
:look
:quiet
BEGIN;
LOCK TABLE event IN ACCESS EXCLUSIVE MODE;
:look
SELECT summary_cache_invalidate('s', 'progress');
:look
COMMIT;
:look
BEGIN;
LOCK TABLE elsewhere IN SHARE MODE;
SELECT summary_cache_invalidate('s');
:look
COMMIT;

-- a read-only transaction and a subtransaction may publish
BEGIN READ ONLY;
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
:look
COMMIT;
BEGIN;
SAVEPOINT a;
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
ROLLBACK TO a;
:look
COMMIT;
:look
-- a summary that is made of another
SELECT summary_cache_define('outer', 'core', $$SELECT summary_cache_get('s') AS s, 1 AS one$$, '{task, event}');
SELECT status, (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer');
SELECT status, (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer');
UPDATE task SET n = n + 1 WHERE id = 1;
SELECT status, (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer');
:look
BEGIN;
UPDATE task SET n = n + 1 WHERE id = 1;
SELECT status, (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer');
ROLLBACK;
SELECT status, (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer');
-- built in the background it is made of the other as it is then, not of its stale document
SET summary_cache.read_your_writes = off;
:quiet
UPDATE task SET n = n + 1 WHERE id = 1;
SELECT status, (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer');
CALL wait_until($c$ status = 'hit-revision' FROM summary_cache_fetch('outer') $c$);
SELECT status, (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer');
UPDATE task SET n = n + 1 WHERE id = 1;
SELECT (document -> 's')::jsonb = truth() AS fresh FROM summary_cache_fetch('outer', NULL, true);
RESET summary_cache.read_your_writes;
:quiet
SELECT summary_cache_drop('outer');
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);

:quiet
-- each read was counted under its status, each private one also under its cause
SELECT summary_cache_reset_stats();
SELECT hits, progress_sections, stale, misses, private, builds_miss, builds_private FROM summary_cache_stats;
DO $$
BEGIN
    PERFORM summary_cache_get('s');
    PERFORM summary_cache_get('s');
    PERFORM summary_cache_get('s', true);
    PERFORM summary_cache_invalidate('s');
    PERFORM summary_cache_get('s');
    PERFORM summary_cache_invalidate('s', 'progress');
    PERFORM summary_cache_get('s');
    PERFORM set_config('summary_cache.enabled', 'off', true);
    PERFORM summary_cache_get('s');
    PERFORM set_config('summary_cache.enabled', 'on', true);
    INSERT INTO elsewhere VALUES (1);
    PERFORM summary_cache_get('s', true);
    INSERT INTO task VALUES (100);
    PERFORM summary_cache_get('s');
    PERFORM summary_cache_get('s', true);
END $$;
SET summary_cache.read_your_writes = off;
:look
:wait_for_hit
RESET summary_cache.read_your_writes;
BEGIN ISOLATION LEVEL SERIALIZABLE;
:look
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status FROM summary_cache_fetch('s', NULL, true);
COMMIT;
SELECT hits >= 3 AS hits, progress_sections, stale >= 1 AS stale, misses, private FROM summary_cache_stats;
SELECT private_disabled, private_writing, private_serializable, private_repeatable_read,
    private_may_not_publish FROM summary_cache_stats;
SELECT builds_miss, builds_forced, builds_inline, builds_background, builds_private, builds_wasted,
    builds_failed, builds_not_cached FROM summary_cache_stats;
SELECT build_ms_min > 0 AND build_ms_min <= build_ms_mean AND build_ms_mean <= build_ms_max
    AND build_ms_max <= build_ms_total AS plausible, waits, consecutive_failures, last_error
FROM summary_cache_stats;
:quiet

--
-- Rolled back: the cached document is still right
--
BEGIN;
UPDATE task SET n = 0;
TRUNCATE event;
ROLLBACK;
:look
BEGIN;
DELETE FROM task;
SELECT 1 / 0;
COMMIT;
:look
DO $$ BEGIN DELETE FROM task; RAISE division_by_zero; END $$;
:look
-- to a savepoint: a needless rebuild is allowed, a wrong answer is not
BEGIN;
SAVEPOINT a;
DELETE FROM task WHERE id = 1;
SELECT document::jsonb = truth() AS fresh FROM summary_cache_fetch('s');
ROLLBACK TO a;
SELECT document::jsonb = truth() AS fresh FROM summary_cache_fetch('s');
UPDATE event SET note = 'uno' WHERE id = 1;
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s');
COMMIT;
SELECT document::jsonb = truth() AS fresh FROM summary_cache_fetch('s');
:look
-- released, and written before one
BEGIN;
DELETE FROM task WHERE id = 1;
SAVEPOINT a;
DELETE FROM event WHERE id = 1;
RELEASE a;
SAVEPOINT b;
UPDATE task SET n = -1;
ROLLBACK TO b;
:look
COMMIT;
:look
:look
-- the subtransactions of an EXCEPTION clause
DO $$
BEGIN
    BEGIN
        DELETE FROM task;
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        IF summary_cache_get('s')::jsonb <> truth() THEN RAISE 'wrong answer'; END IF;
    END;
    BEGIN
        UPDATE task SET n = n + 1;
        IF summary_cache_get('s')::jsonb <> truth() THEN RAISE 'wrong answer'; END IF;
    EXCEPTION WHEN division_by_zero THEN
    END;
    IF summary_cache_get('s')::jsonb <> truth() THEN RAISE 'wrong answer'; END IF;
END $$;
:look
:look

--
-- Every kind of write is noticed
--
-- what a MAX(updated_at) would miss
UPDATE task SET n = 1000, updated_at = '1999-01-01' WHERE id = 2;
:look
DELETE FROM task WHERE id = 3;
:look
TRUNCATE task;
:look
COPY task FROM STDIN;
1	1	2026-01-01	1	1
2	2	2026-01-01	2	2
3	3	2026-01-01	3	3
4	4	2026-01-01	4	4
\.
:look
BEGIN;
TRUNCATE event;
:look
COPY event FROM STDIN;
1	one
\.
:look
COMMIT;
:look
:look
INSERT INTO task VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 500;
:look
INSERT INTO task VALUES (5) ON CONFLICT DO NOTHING;
:look
MERGE INTO task USING (VALUES (1), (2), (6)) AS v (id) ON task.id = v.id
    WHEN MATCHED AND v.id = 1 THEN DELETE
    WHEN MATCHED THEN UPDATE SET n = 600
    WHEN NOT MATCHED THEN INSERT VALUES (v.id, 600);
:look
UPDATE task SET n = t.id FROM topic t WHERE t.id = task.id AND t.id = 4;
:look
DELETE FROM task USING topic t WHERE t.id = task.id AND t.id = 6;
:look
-- foreign keys: of these statements, none names the source
DELETE FROM topic WHERE id = 2;
:look
UPDATE task SET topic = 4, other_topic = 5 WHERE id = 4;
:look
DELETE FROM topic WHERE id = 5;
:look
UPDATE topic SET id = 40 WHERE id = 4;
:look
-- views
CREATE VIEW simple AS SELECT id, n FROM task;
CREATE VIEW tricky AS SELECT id, count(*) AS c FROM task GROUP BY id;
CREATE FUNCTION write_tricky() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM task WHERE id = OLD.id;
    RETURN OLD;
END $$;
CREATE TRIGGER t INSTEAD OF DELETE ON tricky FOR EACH ROW EXECUTE FUNCTION write_tricky();
CREATE VIEW ruled AS SELECT 1 AS a;
CREATE RULE r AS ON INSERT TO ruled DO INSTEAD UPDATE task SET n = NEW.a WHERE id = 4;
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
INSERT INTO simple VALUES (7, 7), (8, 8), (9, 9);
:look
UPDATE simple SET n = 70 WHERE id = 7;
:look
DELETE FROM simple WHERE id = 7;
:look
DELETE FROM tricky WHERE id = 8;
:look
INSERT INTO ruled VALUES (44);
:look
-- CTEs
WITH w AS (DELETE FROM task WHERE id = 9 RETURNING id) SELECT id FROM w;
:look
WITH w AS (INSERT INTO task VALUES (10) RETURNING id) SELECT 1 AS main_query_does_not_read_it;
:look
WITH w AS (UPDATE task SET n = 10 WHERE id = 10 RETURNING id) INSERT INTO elsewhere SELECT id FROM w;
:look
-- functions, prepared statements, cursors
CREATE FUNCTION write_task() RETURNS int LANGUAGE sql AS 'UPDATE task SET n = n + 1 WHERE id = 4 RETURNING n';
CREATE FUNCTION read_after_write() RETURNS bool LANGUAGE sql AS
    'UPDATE task SET n = n + 1 WHERE id = 4; SELECT summary_cache_get(''s'')::jsonb = truth()';
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
SELECT write_task();
:look
SELECT read_after_write();
:look
SELECT id FROM topic WHERE id = 1 AND write_task() > 0;
:look
PREPARE w AS UPDATE task SET n = n + 1 WHERE id = 4;
EXECUTE w;
:look
EXECUTE w;
:look
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM task WHERE id = 4 FOR UPDATE;
FETCH c;
UPDATE task SET n = 77 WHERE CURRENT OF c;
COMMIT;
:look
DO $$ BEGIN EXECUTE 'EXPLAIN ANALYZE DELETE FROM task WHERE id = 10'; END $$;
:look
-- a loop that is left after its first row
CREATE PROCEDURE left_early() LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN UPDATE task SET n = n + 1 RETURNING id LOOP
        RAISE NOTICE '%', (SELECT status || ' ' || (document::jsonb = truth()) FROM summary_cache_fetch('s'));
        EXIT;
    END LOOP;
END $$;
CALL left_early();
:look
:look
-- a trigger that writes when the transaction is already committing
CREATE FUNCTION write_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE task SET n = n + 1 WHERE id = 4;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON elsewhere DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION write_late();
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
BEGIN;
INSERT INTO elsewhere VALUES (1);
:look
COMMIT;
:look
INSERT INTO elsewhere VALUES (1);
:look
DROP TRIGGER late ON elsewhere;
:look
-- a prepared transaction
BEGIN;
UPDATE task SET n = n + 1 WHERE id = 4;
PREPARE TRANSACTION 'regress_status';
:look
COMMIT PREPARED 'regress_status';
:look
:look
BEGIN;
UPDATE task SET n = n + 1 WHERE id = 4;
PREPARE TRANSACTION 'regress_status';
ROLLBACK PREPARED 'regress_status';
SELECT document::jsonb = truth() AS fresh FROM summary_cache_fetch('s');
:look

--
-- What changes nothing costs nothing
--
UPDATE task SET n = 0 WHERE false;
:look
DELETE FROM task WHERE id = 12345;
:look
INSERT INTO task SELECT 1 WHERE false;
:look
INSERT INTO task VALUES (4) ON CONFLICT DO NOTHING;
:look
MERGE INTO task USING (VALUES (4)) AS v (id) ON task.id = v.id WHEN MATCHED THEN DO NOTHING;
:look
COPY event FROM STDIN;
\.
:look
BEGIN;
DELETE FROM task WHERE false;
DELETE FROM event WHERE false;
COMMIT;
:look
EXPLAIN (COSTS off) DELETE FROM topic;
:look
SELECT id FROM task WHERE id = 4 FOR UPDATE;
:look
INSERT INTO elsewhere VALUES (1);
:look
COPY elsewhere FROM STDIN;
1
\.
:look
TRUNCATE elsewhere;
:look
BEGIN;
INSERT INTO elsewhere VALUES (1);
TRUNCATE elsewhere;
:look
COPY elsewhere FROM STDIN;
1
\.
:look
COMMIT;
:look
CREATE TEMP TABLE temporary (id int);
INSERT INTO temporary VALUES (1);
:look

--
-- A user's trigger that reads in the middle of a statement
--
CREATE FUNCTION read_inside() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    f record;
BEGIN
    SELECT status, document -> 'tasks' AS tasks INTO f FROM summary_cache_fetch('s');
    RAISE NOTICE '% % %: % % %', TG_WHEN, TG_LEVEL, TG_OP, f.status, f.tasks, (SELECT count(*) FROM task);
    PERFORM summary_cache_get('s', true);
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER a1 BEFORE INSERT OR UPDATE OR DELETE ON task FOR EACH STATEMENT EXECUTE FUNCTION read_inside();
CREATE TRIGGER a2 BEFORE INSERT OR UPDATE OR DELETE ON task FOR EACH ROW EXECUTE FUNCTION read_inside();
CREATE TRIGGER a3 AFTER INSERT OR UPDATE OR DELETE ON task FOR EACH ROW EXECUTE FUNCTION read_inside();
CREATE TRIGGER a4 AFTER INSERT OR UPDATE OR DELETE ON task FOR EACH STATEMENT EXECUTE FUNCTION read_inside();
CREATE TRIGGER a5 BEFORE TRUNCATE ON task FOR EACH STATEMENT EXECUTE FUNCTION read_inside();
SELECT status, document::jsonb = truth() AS fresh FROM summary_cache_fetch('s', NULL, true);
BEGIN;
INSERT INTO task VALUES (20), (21);
UPDATE task SET n = 20 WHERE id = 20;
DELETE FROM task WHERE id = 20;
ROLLBACK;
:look
INSERT INTO task VALUES (20), (21);
:look
BEGIN;
DELETE FROM task WHERE id >= 20;
:look
ROLLBACK;
:look
BEGIN;
COPY task (id) FROM STDIN;
22
23
\.
ROLLBACK;
:look
BEGIN;
TRUNCATE task;
:look
ROLLBACK;
:look
BEGIN;
MERGE INTO task USING (VALUES (20)) AS v (id) ON task.id = v.id WHEN MATCHED THEN DELETE;
ROLLBACK;
:look
INSERT INTO task VALUES (20) ON CONFLICT (id) DO UPDATE SET n = 7;
:look
-- the statement fails
INSERT INTO task VALUES (24), (24);
:look
DROP TRIGGER a1 ON task;
DROP TRIGGER a2 ON task;
DROP TRIGGER a3 ON task;
DROP TRIGGER a4 ON task;
DROP TRIGGER a5 ON task;
:look

--
-- A document that was returned stays what it was
--
-- some 200 kB that are never twice the same
SELECT summary_cache_define('big', 'core',
    'SELECT random() AS r, repeat(''x'', 200000) AS x, (SELECT count(*) FROM task) AS tasks', '{task}');
SELECT summary_cache_define('big', 'more', 'SELECT random() AS r2', '{}', 'inline');
SELECT count(*) FROM (SELECT summary_cache_get('big')::text || '' AS doc FROM generate_series(1, 3) OFFSET 0) d
    GROUP BY doc;
SELECT summary_cache_get('big') AS big, summary_cache_get('s') AS small \gset
-- replaced within the statement that holds it
SELECT a::text = :'big' AS first, b::text = :'big' AS second, c::text = d::text AS third, d::text = e::text AS fourth
FROM (SELECT summary_cache_get('big') AS a, summary_cache_get('big', true) AS b, summary_cache_get('big') AS c,
    summary_cache_get('big', true) AS d, summary_cache_get('big') AS e OFFSET 0) d;
-- two summaries at a time
SELECT summary_cache_get('big') AS big, summary_cache_get('s') AS small \gset
SELECT a::text = :'big' AS first, b::text = :'small' AS second, c::text = :'big' AS third, d::text = :'small' AS fourth
FROM (SELECT summary_cache_get('big') AS a, summary_cache_get('s') AS b,
    summary_cache_get('big') AS c, summary_cache_get('s') AS d,
    summary_cache_get('big', true), summary_cache_get('s', true),
    summary_cache_get('big', true), summary_cache_get('s', true) OFFSET 0) d;
-- a cursor, held beyond the transaction
SELECT summary_cache_get('big') AS big \gset
BEGIN;
DECLARE inside CURSOR FOR SELECT d::text = :'big' AS same FROM (SELECT summary_cache_get('big') AS d OFFSET 0) d;
DECLARE held CURSOR WITH HOLD FOR SELECT summary_cache_get('big');
FETCH inside;
COMMIT;
SELECT summary_cache_get('big', true)::text = :'big' AS same;
INSERT INTO task VALUES (30);
SELECT summary_cache_get('big')::text = :'big' AS same;
FETCH held \gset
SELECT :'summary_cache_get' = :'big' AS same;
CLOSE held;
-- a procedure that holds it over its own commits
CREATE PROCEDURE hold(big json, small json, big_text text, small_text text) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 5 LOOP
        INSERT INTO task SELECT max(id) + 1 FROM task;
        COMMIT;
        IF (summary_cache_get('big') -> 'tasks')::text <> (SELECT count(*) FROM task)::text THEN
            RAISE 'wrong answer';
        END IF;
        PERFORM summary_cache_get('big', true), summary_cache_get('s', true);
        COMMIT;
        PERFORM repeat('y', 200000 + i);
        IF i % 2 = 0 THEN
            DELETE FROM task;
            ROLLBACK;
            PERFORM summary_cache_get('big', true), summary_cache_get('s', true);
        END IF;
        RAISE NOTICE '% %', big::text = big_text, small::text = small_text;
    END LOOP;
END $$;
CALL hold(summary_cache_get('big'), summary_cache_get('s'),
    summary_cache_get('big')::text || '', summary_cache_get('s')::text || '');
SELECT summary_cache_get('big') AS big \gset
-- without memory of its own
SET summary_cache.local_memory_limit = 0;
SELECT summary_cache_get('big')::text = :'big' AS same;
SELECT summary_cache_get('big')::text = summary_cache_get('big', true)::text AS same;
CALL hold(summary_cache_get('big'), summary_cache_get('s'),
    summary_cache_get('big')::text || '', summary_cache_get('s')::text || '');
RESET summary_cache.local_memory_limit;

--
-- The functions that mean summary "state" when none is named
--
SELECT summary_cache_define('state', 'core', 'SELECT count(*) AS tasks FROM task', '{task}');
SELECT status FROM summary_cache_fetch();
SELECT status FROM summary_cache_fetch();
SELECT state_summary()::text = (SELECT format('{"tasks":%s}', count(*)) FROM task) AS fresh;
SELECT status FROM summary_cache_fetch();
SELECT summary_cache_invalidate();
SELECT status FROM summary_cache_fetch();
INSERT INTO task VALUES (1000);
SELECT state_summary()::text = (SELECT format('{"tasks":%s}', count(*)) FROM task) AS fresh;
SELECT state_summary(force_refresh => true)::text = state_summary()::text AS fresh;
SELECT state_summary(NULL)::text = state_summary()::text AS fresh;
SELECT hits, misses FROM summary_cache_stats WHERE summary = 'state';

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_status CASCADE;
ALTER SYSTEM RESET summary_cache.worker_idle_timeout;
SELECT pg_reload_conf();
