-- Proves that nothing of a reader's session matters in what others get: not its temporary objects, compiled functions, settings, stack, query or claims; and that a section's code leaves nothing in it.
SET client_min_messages = warning;
-- a worker may take its time on a busy machine
SET deadlock_timeout = '1min';
CREATE EXTENSION summary_cache SCHEMA public;
\pset format unaligned
\pset tuples_only
\getenv test PG_ABS_SRCDIR
\set helpers :test '/sql/include/helpers.sql'
\i :helpers
CREATE ROLE regress_builds_owner;
CREATE ROLE regress_builds_reader;
CREATE ROLE regress_builds_other;
GRANT EXECUTE ON FUNCTION summary_cache_get, summary_cache_fetch, summary_cache_define, summary_cache_drop TO PUBLIC;
CREATE SCHEMA app AUTHORIZATION regress_builds_owner;
CREATE SCHEMA evil AUTHORIZATION regress_builds_other;
CREATE SCHEMA mine AUTHORIZATION regress_builds_reader;
GRANT USAGE ON SCHEMA app, evil, mine TO PUBLIC;
GRANT TEMPORARY ON DATABASE :DBNAME TO PUBLIC;
-- the roles other than its own as which the code of this session has run; the locks that say so are in nobody's way, so that a worker never waits for what should not have run here
CREATE FUNCTION spied() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(DISTINCT objid::regrole::text, ', '), 'nobody') FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = 4711 AND objid::regrole::text <> current_user
$$;
CREATE FUNCTION spy() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(4711, current_user::regrole::oid::bigint::int);
    RETURN true;
END $$;
SET ROLE regress_builds_owner;
CREATE TABLE app.orders (id int PRIMARY KEY, status text, total numeric, secret text);
INSERT INTO app.orders SELECT g, 'open', g, 'secret' || g FROM generate_series(1, 10) g;
SELECT summary_cache_define('shop', 'core', 'SELECT count(*) AS n FROM app.orders');
RESET ROLE;

--
-- A temporary view or type in the place of what a function reads: its search_path has pg_temp first
--
SET ROLE regress_builds_owner;
CREATE FUNCTION app.count_orders() RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = app AS 'BEGIN RETURN (SELECT count(*) FROM orders); END';
SELECT summary_cache_define('cnt', 'core', 'SELECT app.count_orders() AS n', '{app.orders}');
SET ROLE regress_builds_reader;
CREATE TEMP VIEW orders AS SELECT public.spy() AS id FROM generate_series(1, 2);
GRANT SELECT ON orders TO PUBLIC;
SELECT status, document FROM summary_cache_fetch('cnt', NULL, true);
SELECT status, document FROM summary_cache_fetch('cnt');
-- nor for itself alone
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document FROM summary_cache_fetch('cnt');
ROLLBACK;
SET summary_cache.enabled = off;
SELECT status, document FROM summary_cache_fetch('cnt');
RESET summary_cache.enabled;
SELECT spied();
DROP VIEW orders;

--
-- A function that was compiled with the reader's types
--
SET ROLE regress_builds_owner;
SET search_path = app, public;
CREATE FUNCTION app.top() RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE
    o orders%ROWTYPE;
BEGIN
    SELECT * INTO o FROM orders ORDER BY total DESC LIMIT 1;
    RETURN json_build_object('id', o.id, 'total', o.total);
END $$;
SELECT summary_cache_define('top', 'core', 'SELECT app.top() AS top', '{app.orders}');
SET ROLE regress_builds_reader;
CREATE FUNCTION mine.spy(numeric) RETURNS boolean LANGUAGE sql AS 'SELECT public.spy()';
CREATE DOMAIN mine.spied AS numeric CHECK (mine.spy(VALUE));
CREATE TABLE mine.orders (id int, status text, total mine.spied, secret text);
INSERT INTO mine.orders VALUES (0, '', 0, '');
SET search_path = mine, app, public;
SELECT app.top();
RESET search_path;
SELECT pg_advisory_unlock_all();
SELECT status, document FROM summary_cache_fetch('top', NULL, true);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document FROM summary_cache_fetch('top');
ROLLBACK;
SELECT spied();
-- nor in a function with its owner's rights, in one within another, in one of a member, or in a materialized view: the session is the reader's
SET ROLE regress_builds_owner;
CREATE FUNCTION app.read_top() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
    $$SELECT status || ' ' || document FROM summary_cache_fetch('top')$$;
RESET ROLE;
GRANT regress_builds_owner TO regress_builds_other;
SET ROLE regress_builds_other;
CREATE FUNCTION evil.read_top() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS 'SELECT app.read_top()';
CREATE FUNCTION evil.read_top_itself() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
    $$SELECT status || ' ' || document FROM summary_cache_fetch('top')$$;
RESET ROLE;
\set wrappers '{app.read_top, evil.read_top, evil.read_top_itself}'
SET ROLE regress_builds_reader;
SET summary_cache.enabled = off;
SELECT w, left(try(format('SELECT %s()', w)), 51) FROM unnest(:'wrappers'::text[]) w;
RESET summary_cache.enabled;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT w, left(try(format('SELECT %s()', w)), 51) FROM unnest(:'wrappers'::text[]) w;
ROLLBACK;
-- as a worker has built it, now or before
SELECT regexp_replace(app.read_top(), '^(hit-revision|miss) ', '');
SELECT spied();
RESET ROLE;
SELECT pg_advisory_unlock_all();
SET ROLE regress_builds_owner;
SET summary_cache.enabled = off;
CREATE MATERIALIZED VIEW app.kept_top AS SELECT app.read_top() AS top WITH NO DATA;
RESET ROLE;
\set VERBOSITY terse
REFRESH MATERIALIZED VIEW app.kept_top;
\set VERBOSITY default
-- in a session of a member, a member's function may
SET ROLE regress_builds_other;
SELECT evil.read_top();
SET ROLE regress_builds_owner;
SELECT app.read_top();
RESET summary_cache.enabled;
RESET ROLE;
REVOKE regress_builds_owner FROM regress_builds_other;
SELECT spied();
SET ROLE regress_builds_reader;

--
-- Settings: of PL/pgSQL, and one of the server that makes a build fail
--
SET ROLE regress_builds_owner;
CREATE FUNCTION app.checked() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN ASSERT (SELECT count(*) FROM app.orders) < 10, 'implausible'; RETURN 1; END $$;
CREATE FUNCTION app.first() RETURNS int LANGUAGE plpgsql STABLE AS $$ DECLARE i int; BEGIN SELECT id INTO i FROM app.orders ORDER BY id; RETURN i; END $$;
SELECT summary_cache_define('checked', 'core', 'SELECT app.checked() AS i', '{app.orders}', run_query => false);
SELECT summary_cache_define('first', 'core', 'SELECT app.first() AS i', '{app.orders}');
CREATE VIEW app.cheap AS SELECT id FROM app.orders;
SELECT summary_cache_define('view', 'core', 'SELECT count(*) AS n FROM app.cheap');
SET ROLE regress_builds_reader;
SET plpgsql.check_asserts = off;

SELECT try($$SELECT summary_cache_get('checked')$$);
RESET plpgsql.check_asserts;
SET plpgsql.extra_errors = 'all';
SELECT summary_cache_get('first', true);
RESET plpgsql.extra_errors;
-- where there is none of that name, it is a placeholder
SET restrict_nonsystem_relation_kind = 'view';
SELECT status, document FROM summary_cache_fetch('view', NULL, true);
-- where no worker could mend it
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document FROM summary_cache_fetch('view', NULL, true);
COMMIT;
RESET restrict_nonsystem_relation_kind;

--
-- To find out whether a section may be built here runs nothing of it
--
SET ROLE regress_builds_owner;
CREATE FUNCTION app.traced(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.spy(); RETURN $1; END';
CREATE DOMAIN app.traced_domain AS int CHECK (app.traced(VALUE) > 0);
CREATE TABLE app.traced_index (id int);
CREATE INDEX ON app.traced_index ((id + app.traced(1)));
CREATE TABLE app.traced_statistics (id int);
CREATE STATISTICS app.traced_statistic ON (id + app.traced(1)), (id * 2) FROM app.traced_statistics;
CREATE TABLE app.traced_tree (id int) PARTITION BY RANGE (id);
CREATE TABLE app.traced_leaf PARTITION OF app.traced_tree (CHECK (app.traced(1) > 0 OR id > 0)) FOR VALUES FROM (0) TO (10);
SELECT summary_cache_define('traced' || n, 'core', query) FROM unnest(ARRAY[
    $$SELECT '{1, 2}'::app.traced_domain[] AS x$$,
    $$SELECT count(*) AS x FROM json_to_recordset('[{"a": 1}]') AS r (a app.traced_domain)$$,
    'SELECT count(*) AS x FROM app.traced_index WHERE id = 1',
    'SELECT count(*) AS x FROM app.traced_statistics WHERE id = 1',
    'SELECT count(*) AS x FROM app.traced_tree WHERE id = 1',
    'SELECT app.traced(1) AS x']) WITH ORDINALITY AS q (query, n);
SELECT pg_advisory_unlock_all();
SET ROLE regress_builds_reader;
SELECT n, status FROM generate_series(1, 6) n, summary_cache_fetch('traced' || n, NULL, true) ORDER BY n;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT n, left(try(format('SELECT summary_cache_get(%L)', 'traced' || n)), 57) FROM generate_series(1, 6) n;
ROLLBACK;
SELECT spied();

--
-- The reader's failures are its own: the stack
--
CREATE FUNCTION mine.deep(n int, force boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN mine.deep(n + 1, force);
EXCEPTION WHEN statement_too_complex THEN
    -- as deep as it can be, and again in each caller until there is room for the read
    RETURN summary_cache_get('shop', force);
END $$;
SELECT mine.deep(0, true) IS NOT NULL AS read;
RESET ROLE;
SELECT builds_failed, consecutive_failures, last_error FROM summary_cache_stats WHERE summary = 'shop';

--
-- What the reader asks, and what it has prepared and claimed
--
SET ROLE regress_builds_other;
CREATE FUNCTION evil.look() RETURNS json LANGUAGE sql AS $$
    SELECT json_build_object('query', current_query(), 'claims', current_setting('request.jwt.claims', true),
        'prepared', (SELECT json_agg(statement) FROM pg_prepared_statements), 'session_user', session_user <> 'regress_builds_reader')
$$;
SELECT summary_cache_define('look', 'core', 'SELECT evil.look() AS x', '{}');
SET ROLE regress_builds_reader;
SET request.jwt.claims = '{"sub":"alice"}';
PREPARE p AS SELECT 'my secret';
SELECT status, 'card 4711' AS x FROM summary_cache_fetch('look');
SET ROLE regress_builds_other;
SELECT document FROM summary_cache_fetch('look');
DEALLOCATE p;

--
-- Nothing remains
--
CREATE FUNCTION evil.leave() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('regress_evil', 'from a section'), setseed(0.5), pg_advisory_lock(4712);
    RETURN current_user;
END $$;
CREATE FUNCTION evil.leave_object() RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM lo_create(0); RETURN current_user; END';
SELECT summary_cache_define('leave', 'core', 'SELECT evil.leave() AS x', '{}', run_query => false);
SELECT summary_cache_define('object', 'core', 'SELECT evil.leave_object() AS x', '{}', run_query => false);
RESET ROLE;
CREATE TEMP TABLE chance (r double precision);
SELECT status FROM summary_cache_fetch('leave', NULL, true);
INSERT INTO chance SELECT random();
SELECT status FROM summary_cache_fetch('leave', NULL, true);
INSERT INTO chance SELECT random();
SELECT count(DISTINCT r) FROM chance;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 AND pid = pg_backend_pid();
-- at a COMMIT as well
LISTEN regress_evil;
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT status, document FROM summary_cache_fetch('leave', NULL, true);
COMMIT;
FETCH c;
CLOSE c;
-- who could build it for itself does not either, since nothing could be rolled back
SET ROLE regress_builds_other;
BEGIN ISOLATION LEVEL SERIALIZABLE;
DECLARE c CURSOR WITH HOLD FOR SELECT status, document FROM summary_cache_fetch('leave', NULL, true);
COMMIT;
-- before the COMMIT it does; only the session's lock and the seed remain
BEGIN ISOLATION LEVEL SERIALIZABLE;
DECLARE c CURSOR WITH HOLD FOR SELECT status, document FROM summary_cache_fetch('leave', NULL, true);
FETCH c;
COMMIT;
CLOSE c;
RESET ROLE;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 AND pid = pg_backend_pid();
SELECT pg_advisory_unlock_all();
-- what runs nothing but PostgreSQL's own code is built there
SET ROLE regress_builds_owner;
BEGIN ISOLATION LEVEL SERIALIZABLE;
DECLARE c CURSOR WITH HOLD FOR SELECT status, document FROM summary_cache_fetch('shop', NULL, true);
COMMIT;
FETCH c;
CLOSE c;
RESET ROLE;
SELECT FROM try($$SELECT summary_cache_get('object', true)$$);
SELECT count(*) FROM pg_largeobject_metadata;

UNLISTEN regress_evil;

--
-- No message is sent to who asks
--
SET ROLE regress_builds_owner;
CREATE FUNCTION app.talks() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'said'; RETURN 1; END $$;
SELECT summary_cache_define('talks', 'core', 'SELECT app.talks() AS x', '{}');
SELECT summary_cache_get('talks');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document FROM summary_cache_fetch('talks');
COMMIT;
RESET ROLE;

DROP EXTENSION summary_cache CASCADE;
DROP OWNED BY regress_builds_owner, regress_builds_reader, regress_builds_other CASCADE;
DROP FUNCTION spy, spied, try;
DROP PROCEDURE wait_until;
DROP ROLE regress_builds_owner, regress_builds_reader, regress_builds_other;
