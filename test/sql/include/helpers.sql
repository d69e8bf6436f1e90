\set ECHO none
-- What several tests need.  A test includes it in the schema that it works in:
--
--   \getenv test PG_ABS_SRCDIR
--   \set helpers :test '/sql/include/helpers.sql'
--   \i :helpers

-- Waits until a condition holds, for a bounded time.
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
    fulfilled boolean;
BEGIN
    FOR i IN 1 .. 3000 LOOP
        EXECUTE 'SELECT ' || condition INTO fulfilled;
        IF fulfilled THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();
    END LOOP;
    RAISE 'timeout: %', condition;
END $$;

-- Waits until no refresh is asked for and the worker is gone, which might still serve an older request.
-- With worker_idle_timeout = 0 it leaves as soon as it has nothing to do.
\set quiet 'CALL wait_until($c$ NOT EXISTS (SELECT FROM summary_cache_stats WHERE refresh_requested) AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = ''summary_cache worker'' AND datname = current_database()) $c$);'

-- What an error says, with its SQLSTATE, detail and hint.
CREATE FUNCTION try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; detail text; hint text;
BEGIN
    EXECUTE command;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n', state || ' ' || message,
        CASE WHEN detail <> '' THEN '    detail: ' || detail END,
        CASE WHEN hint <> '' THEN '    hint: ' || hint ELSE '    no hint' END);
END $$;
\set ECHO all
