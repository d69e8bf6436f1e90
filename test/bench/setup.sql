-- A summary `state` of :bytes bytes over :tables source tables, and the same bytes by other means.
\set ON_ERROR_STOP on
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS summary_cache;

-- Source tables src_1 ..; plain is like them, but no source.
CREATE TABLE plain (id bigint PRIMARY KEY, n int NOT NULL, status text NOT NULL, updated_at timestamptz NOT NULL);
INSERT INTO plain SELECT i, 0, 'open', '2025-01-01'::timestamptz + i * '1 min'::interval FROM generate_series(1, 1000) i;
CREATE INDEX ON plain (updated_at);
SELECT format('CREATE TABLE src_%s (LIKE plain INCLUDING ALL); INSERT INTO src_%s SELECT * FROM plain', i, i)
FROM generate_series(1, :tables) i \gexec

-- A list of objects as a dashboard has them, and the rest of the bytes.
CREATE TABLE payload AS
WITH item AS (
    SELECT i, format('{"id":%s,"title":"Task %s: %s","status":"%s","updated_at":"%s"}', i, i, substr(md5(i::text), 1, 24),
                     (ARRAY['todo', 'doing', 'blocked', 'done'])[1 + i % 4], '2025-01-01'::timestamp + i * '53 s'::interval) AS j
    FROM generate_series(1, 1 + :bytes / 100) i
), cut AS (
    SELECT string_agg(j, ',' ORDER BY i) AS list
    FROM (SELECT i, j, sum(length(j) + 1) OVER (ORDER BY i) AS total FROM item) x
    WHERE total < :bytes - 40
)
SELECT format('[%s]', list)::json AS items, repeat('x', :bytes - coalesce(length(list), 0) - 21) AS pad FROM cut;

SELECT summary_cache_define('state', 'core', 'SELECT items, pad FROM public.payload',
    (SELECT array_agg(format('src_%s', i)::regclass ORDER BY i) FROM generate_series(1, :tables) i), 'background');

-- The floor: a constant.
SELECT format('CREATE FUNCTION folded() RETURNS json IMMUTABLE LANGUAGE sql AS %L', format('SELECT %L::json', state_summary()::text)) \gexec
-- What a user could pick instead.
CREATE MATERIALIZED VIEW mv AS SELECT state_summary() AS doc;
CREATE TABLE kv (key text PRIMARY KEY, fingerprint text, doc json);
-- The newest timestamp of each table, by its index, compared with those that the document was stored at.
SELECT format('CREATE VIEW watermarks AS SELECT ARRAY[%s]::text AS fingerprint',
    (SELECT string_agg(format('(SELECT max(updated_at) FROM src_%s)', i), ', ' ORDER BY i) FROM generate_series(1, :tables) i)) \gexec
INSERT INTO kv SELECT 'state', fingerprint, state_summary() FROM watermarks;
VACUUM ANALYZE;
