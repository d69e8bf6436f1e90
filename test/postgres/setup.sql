-- What a database of PostgreSQL's suites gets before its tests run: the extension, a summary for each
-- table that a test creates, and the procedures that run beside the tests.

CREATE SCHEMA cachetest;
CREATE EXTENSION summary_cache SCHEMA cachetest;

-- How many tables were tracked, and how often it failed: a sequence counts rolled back transactions as
-- well, and nobody waits for it.
CREATE SEQUENCE cachetest.tracked MINVALUE 0;
CREATE SEQUENCE cachetest.not_tracked MINVALUE 0;

-- What an index expression asserts fails here, where another role plans a query, and OTHERS leaves it out.

-- Defines a summary that is named after the table's oid, and whose document changes with any change of
-- the content.  Nothing that happens here may reach the test: the query is not executed, an error is only
-- logged, and the wait for another session that is defining one ends before anybody would look for a deadlock.
CREATE FUNCTION cachetest.track(tbl oid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = error
    SET lock_timeout = '900ms'
AS $$
BEGIN
    PERFORM cachetest.summary_cache_define('t' || tbl, 'content', format(
        'SELECT count(*) AS n, coalesce(sum(hashtext(sc_row::text)::bigint), 0) AS h FROM %s sc_row',
        tbl::regclass), run_query => false);
    PERFORM nextval('cachetest.tracked');
EXCEPTION WHEN OTHERS OR assert_failure THEN
    RAISE LOG 'not tracked: %: %', tbl::regclass, SQLERRM;
    PERFORM nextval('cachetest.not_tracked');
END $$;

-- With the rights of its owner, a superuser: a role that creates a table need not be allowed to define
-- anything, and the comparer reads every table.
CREATE FUNCTION cachetest.track_created() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tbl oid;
BEGIN
    FOR tbl IN
        SELECT c.oid
        FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
    LOOP
        PERFORM cachetest.track(tbl);
    END LOOP;
END $$;
CREATE EVENT TRIGGER summary_cache_track ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW')
    EXECUTE FUNCTION cachetest.track_created();

-- Tables that have a summary, and those that have none yet.
CREATE VIEW cachetest.summaries AS
    SELECT c.oid AS tbl
    FROM summary_cache.definition d JOIN pg_class c ON c.oid = substr(d.summary, 2)::oid;
CREATE VIEW cachetest.untracked AS
    SELECT c.oid AS tbl
    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
        AND s.nspname NOT IN ('summary_cache', 'pg_catalog', 'information_schema')
        AND NOT EXISTS (SELECT FROM summary_cache.definition d WHERE d.summary = 't' || c.oid);

-- Sees to it that a document is cached that was current a moment ago, and returns when it was built.
CREATE FUNCTION cachetest.freshen(name text) RETURNS timestamptz
    LANGUAGE plpgsql
AS $$
DECLARE
    answer cachetest.summary_cache_answer;
BEGIN
    SELECT * INTO answer FROM cachetest.summary_cache_fetch(name);
    IF answer.status <> 'hit-revision' THEN
        SELECT * INTO answer FROM cachetest.summary_cache_fetch(name, NULL, true);
    END IF;
    RETURN answer.built_at;
EXCEPTION WHEN OTHERS OR assert_failure THEN
    RETURN NULL;
END $$;

-- The table, its descendants, and their files, as the snapshot shows them.
CREATE FUNCTION cachetest.files(tbl oid) RETURNS text
    LANGUAGE sql
AS $$
    WITH RECURSIVE tree AS (
        SELECT tbl AS member
        UNION
        SELECT inhrelid FROM pg_inherits i JOIN tree t ON i.inhparent = t.member
    )
    SELECT string_agg(member || ':' || relfilenode, ' ' ORDER BY member) FROM tree JOIN pg_class ON oid = member
$$;

-- Compares a hit with what its query returns when it is run directly.  In READ COMMITTED a hit may be
-- newer than a statement before it, so the only hits that are compared are those which were in the cache
-- before the query ran: the document is no newer than the query's snapshot, and as a hit it is no older
-- either, so it must be equal.  In REPEATABLE READ each hit must be equal to what the snapshot gives.
CREATE FUNCTION cachetest.compare_one(name text, cached timestamptz,
        OUT outcome text, OUT details text, OUT files text)
    LANGUAGE plpgsql
AS $$
DECLARE
    level text := current_setting('transaction_isolation');
    answer cachetest.summary_cache_answer;
    query text;
    n bigint;
    h numeric;
BEGIN
    SELECT d.query INTO query FROM summary_cache.definition d WHERE d.summary = name;
    IF NOT FOUND THEN
        outcome := 'gone';
        RETURN;
    END IF;
    EXECUTE query INTO n, h;
    SELECT * INTO answer FROM cachetest.summary_cache_fetch(name);
    IF answer.status <> 'hit-revision' OR level = 'read committed' AND cached IS DISTINCT FROM answer.built_at THEN
        outcome := 'no hit';
    ELSIF (answer.document->>'n')::bigint IS DISTINCT FROM n OR (answer.document->>'h')::numeric IS DISTINCT FROM h THEN
        outcome := 'wrong';
        details := format('wrong hit in %s, built at %s: %s instead of {"n":%s,"h":%s} for %s',
            level, answer.built_at, answer.document, n, h, query);
        files := cachetest.files(substr(name, 2)::oid);
    ELSE
        outcome := level;
    END IF;
EXCEPTION WHEN OTHERS OR assert_failure THEN
    RAISE LOG 'not compared: summary %: %', name, SQLERRM;
    outcome := 'error';
END $$;

-- Compares some documents, one after the other and each in its own transaction, so that no lock is kept.
-- (While a table is locked from before, a query may go on reading a partition that has been detached
-- concurrently.)  DDL is not bound to snapshots: a query that waits for it may in REPEATABLE READ read a
-- table that was created, rewritten or attached after its snapshot.  So there a difference proves nothing
-- if the table has other files now than its snapshot shows.
CREATE PROCEDURE cachetest.compare_some(names text[], INOUT counts jsonb)
    LANGUAGE plpgsql
AS $$
DECLARE
    name text;
    level text := 'repeatable read';
    cached timestamptz;
    result record;
BEGIN
    FOREACH name IN ARRAY names LOOP
        cached := cachetest.freshen(name);
        level := CASE level WHEN 'read committed' THEN 'repeatable read' ELSE 'read committed' END;
        COMMIT;
        IF level = 'repeatable read' THEN
            COMMIT;
            SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
        END IF;
        result := cachetest.compare_one(name, cached);
        COMMIT;
        IF result.outcome = 'wrong' THEN
            IF level = 'repeatable read' AND result.files IS DISTINCT FROM cachetest.files(substr(name, 2)::oid) THEN
                result.outcome := 'ddl';
            ELSE
                RAISE WARNING '%', result.details;
            END IF;
        END IF;
        counts := jsonb_set(counts, ARRAY[result.outcome],
            to_jsonb(coalesce((counts->>result.outcome)::bigint, 0) + 1));
    END LOOP;
    COMMIT;
END $$;

-- Beside the tests: the newest tables, which are being written, and some of the others in turn.
CREATE PROCEDURE cachetest.compare(seconds integer, INOUT counts jsonb DEFAULT '{}')
    LANGUAGE plpgsql
AS $$
DECLARE
    finish timestamptz := clock_timestamp() + make_interval(secs => seconds);
    newest text[];
    others text[];
    last oid := 0;
BEGIN
    WHILE clock_timestamp() < finish LOOP
        newest := ARRAY(SELECT 't' || tbl FROM cachetest.summaries ORDER BY tbl DESC LIMIT 20);
        others := ARRAY(SELECT 't' || tbl FROM cachetest.summaries
            WHERE tbl > last AND 't' || tbl <> ALL (newest) ORDER BY tbl LIMIT 20);
        last := coalesce(substr(others[20], 2)::oid, 0);
        COMMIT;
        CALL cachetest.compare_some(newest || others, counts);
        IF cardinality(newest) < 20 THEN
            PERFORM pg_sleep(0.01);
        END IF;
    END LOOP;
END $$;

-- After the tests: each document, as it was left and once more when it has been built anew.
CREATE PROCEDURE cachetest.compare_all(INOUT counts jsonb DEFAULT '{}')
    LANGUAGE plpgsql
AS $$
DECLARE
    names text[] := ARRAY(SELECT 't' || tbl FROM cachetest.summaries ORDER BY tbl);
BEGIN
    COMMIT;
    FOR i IN 1..2 LOOP
        CALL cachetest.compare_some(names, counts);
    END LOOP;
END $$;

-- Beside the tests: drops the summaries of tables that are gone, and tracks those tables that could not be
-- tracked when they were created.
CREATE PROCEDURE cachetest.tend(seconds integer)
    LANGUAGE plpgsql
AS $$
DECLARE
    finish timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
    WHILE clock_timestamp() < finish LOOP
        BEGIN
            PERFORM cachetest.summary_cache_drop(d.summary)
            FROM summary_cache.definition d
            WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = substr(d.summary, 2)::oid);
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            NULL;
        END;
        COMMIT;
        PERFORM cachetest.track(tbl) FROM (
            SELECT tbl FROM cachetest.untracked ORDER BY random() LIMIT 1) next;
        COMMIT;
        PERFORM pg_sleep(0.2);
    END LOOP;
END $$;
