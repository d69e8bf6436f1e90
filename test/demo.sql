-- The main job as a session; demo.sh runs it, as the hub's owner.  $OTHER is psql in another session.
-- Every step says what it must see, and fails if it sees something else.
\set ON_ERROR_STOP on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

-- Read the summary and tell how it was answered; the status must be the given one, and the value at
-- path in the document too.  What is read while it is stale is the number of tasks that are done.
CREATE FUNCTION pg_temp.read(expected text, path text[], value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    started timestamptz := clock_timestamp();
    answer record;
    ms numeric;
BEGIN
    SELECT * INTO answer FROM summary_cache_fetch('state');
    ms := 1000 * extract(epoch FROM clock_timestamp() - started);
    -- the worker may still have had a request from the step before, and have been faster
    IF expected = 'stale' AND answer.status = 'hit-revision' THEN
        expected := answer.status;
        value := (SELECT count(*) FROM tasks WHERE status = 'done');
    END IF;
    IF answer.status <> expected THEN
        RAISE 'expected status %, got %', expected, answer.status;
    END IF;
    IF answer.document #>> path IS DISTINCT FROM value THEN
        RAISE 'expected % = %, got %', path, value, answer.document #>> path;
    END IF;
    RETURN format('      %s %s ms   %s = %s', rpad(answer.status, 18), to_char(ms, '9990.00'),
                  array_to_string(path, '.'), left(value, 40));
END $$;

-- Read until the worker is done, 30 s at most; nothing but `stale` may come before.
CREATE FUNCTION pg_temp.wait(path text[], value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    started timestamptz := clock_timestamp();
    answer record;
    ms int;
BEGIN
    LOOP
        SELECT * INTO answer FROM summary_cache_fetch('state');
        ms := 1000 * extract(epoch FROM clock_timestamp() - started);
        EXIT WHEN answer.status <> 'stale';
        IF ms > 30000 THEN
            RAISE 'still stale after 30 s';
        END IF;
        PERFORM pg_sleep(0.001);
    END LOOP;
    RETURN pg_temp.read('hit-revision', path, value) || format('   (the worker took %s ms)', ms);
END $$;

CREATE FUNCTION pg_temp.unmoved(what text, before text, now text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF before <> now THEN
        RAISE '% was %, and is %', what, before, now;
    END IF;
    RETURN format('      %s has not moved: %s', what, now);
END $$;

-- The time of a read, from many.
CREATE FUNCTION pg_temp.many(reads int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    started timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1 .. reads LOOP
        PERFORM state_summary();
    END LOOP;
    RETURN format('      and %s more: %s µs each', reads,
                  round(1000000 * extract(epoch FROM clock_timestamp() - started) / reads, 1));
END $$;

\echo :bold' 1  The first read builds the document'  :normal
SELECT count(*) AS done FROM tasks WHERE status = 'done' \gset
SELECT pg_temp.read('miss', '{totals,tasks,done}', :'done');

\echo :bold' 2  Nothing has changed since: no SQL, no lock, no copy'  :normal
SELECT pg_temp.read('hit-revision', '{totals,tasks,done}', :'done');
SELECT pg_temp.many(10000);

\echo :bold' 3  Another session reports progress; the cheap section is rebuilt on the spot'  :normal
\set sql 'INSERT INTO progress_events (author, summary) VALUES (''you'', ''Tried summary_cache'')'
\echo '      another session:' :sql
\setenv SQL :sql
\! $OTHER "$SQL"
SELECT pg_temp.read('progress-section', '{recent_progress,0,summary}', 'Tried summary_cache');

\echo :bold' 4  Another session closes a task; the expensive section is served stale, and says so'  :normal
\set sql 'UPDATE tasks SET status = ''done'', updated_at = now() WHERE id = 4711'
\echo '      another session:' :sql
\setenv SQL :sql
\! $OTHER "$SQL"
SELECT pg_temp.read('stale', '{totals,tasks,done}', :'done');
SELECT count(*) AS done FROM tasks WHERE status = 'done' \gset
SELECT pg_temp.wait('{totals,tasks,done}', :'done');

\echo :bold' 5  A delete, which leaves no row with a newer timestamp'  :normal
SELECT max(updated_at) AS watermark FROM tasks \gset
\set sql 'DELETE FROM tasks WHERE id = 44'
\echo '      another session:' :sql
\setenv SQL :sql
\! $OTHER "$SQL"
SELECT pg_temp.read('stale', '{totals,tasks,done}', :'done');
SELECT count(*) AS done FROM tasks WHERE status = 'done' \gset
SELECT pg_temp.wait('{totals,tasks,done}', :'done');

\echo :bold' 6  A back-dated update, which a cache that watches max(updated_at) misses'  :normal
\set sql 'UPDATE tasks SET status = ''done'', updated_at = ''2025-01-01'' WHERE id = 1001'
\echo '      another session:' :sql
\setenv SQL :sql
\! $OTHER "$SQL"
SELECT pg_temp.unmoved('max(updated_at)', :'watermark', max(updated_at)::text) FROM tasks;
SELECT pg_temp.read('stale', '{totals,tasks,done}', :'done');
SELECT count(*) AS done FROM tasks WHERE status = 'done' \gset
SELECT pg_temp.wait('{totals,tasks,done}', :'done');
