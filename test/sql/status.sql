-- Proves that each read is answered by the first rule of the decision table that applies, and that no kind of write goes unnoticed.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_status;
SET search_path = regress_status, public;

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

-- until a condition holds
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
    fulfilled boolean;
BEGIN
    FOR i IN 1 .. 500 LOOP
        EXECUTE 'SELECT ' || condition INTO fulfilled;
        IF fulfilled THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RAISE 'timeout: %', condition;
END $$;
-- until no refresh is asked for, and the worker, which could still serve an older request, is gone
\set quiet 'CALL wait_until($c$ NOT EXISTS (SELECT FROM summary_cache_stats WHERE refresh_requested) AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = ''summary_cache worker'' AND datname = current_database()) $c$);'
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
SELECT length(:'etag1') >= 32 AS long_enough;

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
CALL wait_until($c$ built_at < clock_timestamp() - interval '1.5 s' FROM summary_cache_fetch('s', NULL, false) WHERE status = 'hit-revision' OR status = 'miss' $c$);
