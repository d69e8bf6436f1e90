-- Proves that a section's query has its owner's rights and no others, whoever reads it and whatever either of them plants; and that a reader sees the document and nothing else.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE ROLE regress_rights_owner;
CREATE ROLE regress_rights_attacker;
CREATE ROLE regress_rights_reader;
CREATE ROLE regress_rights_noinherit NOINHERIT IN ROLE regress_rights_owner;
CREATE ROLE regress_rights_super SUPERUSER;
CREATE SCHEMA regress_rights AUTHORIZATION regress_rights_owner;
CREATE SCHEMA regress_attack AUTHORIZATION regress_rights_attacker;
GRANT USAGE ON SCHEMA regress_rights, regress_attack TO PUBLIC;
GRANT CREATE ON SCHEMA public TO regress_rights_attacker;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop, summary_cache_get, summary_cache_fetch
    TO regress_rights_owner, regress_rights_attacker;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop TO regress_rights_noinherit;
GRANT EXECUTE ON FUNCTION state_summary TO regress_rights_reader;
\pset format unaligned
\pset tuples_only

--
-- The attack: what a function that got into a query can do.  It leaves its
-- traces as advisory locks of the session, the only thing that outlives the
-- build: 4711 and the role that it ran as, 4712 and the number of what
-- succeeded.
--
CREATE TABLE regress_attack.loot (what text);
GRANT ALL ON regress_attack.loot TO PUBLIC;
CREATE SEQUENCE regress_attack.seq;
GRANT ALL ON regress_attack.seq TO PUBLIC;
CREATE TABLE regress_attack.superusers (what text);
REVOKE ALL ON regress_attack.superusers FROM PUBLIC;
CREATE TABLE regress_attack.statements (id int PRIMARY KEY, statement text);
GRANT SELECT ON regress_attack.statements TO PUBLIC;
INSERT INTO regress_attack.statements (statement, id) SELECT * FROM unnest(ARRAY[
    -- rights
    'SET ROLE NONE', 'RESET ROLE', 'SET LOCAL ROLE NONE', 'SET ROLE regress_rights_super', 'SET ROLE regress_rights_reader',
    'SELECT set_config(''role'', ''none'', false)', 'SELECT set_config(''role'', ''none'', true)',
    'SET SESSION AUTHORIZATION DEFAULT', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION regress_rights_super',
    'GRANT regress_rights_super TO regress_rights_attacker', 'ALTER ROLE regress_rights_attacker SUPERUSER', 'CREATE ROLE regress_rights_new',
    'GRANT SELECT ON regress_attack.superusers TO regress_rights_attacker', 'SELECT * FROM regress_attack.superusers',
    'REASSIGN OWNED BY CURRENT_USER TO regress_rights_attacker', 'ALTER SYSTEM SET work_mem = 64',
    -- writing, now or later
    'SET transaction_read_only = off', 'SELECT set_config(''transaction_read_only'', ''off'', true)', 'SET TRANSACTION READ WRITE',
    'INSERT INTO regress_attack.loot VALUES (current_user)', 'UPDATE regress_attack.loot SET what = current_user',
    'DELETE FROM regress_attack.loot', 'TRUNCATE regress_attack.loot', 'COPY regress_attack.loot FROM PROGRAM ''echo x''',
    'CREATE TABLE public.regress_rights_new (x int)', 'CREATE TEMP TABLE regress_rights_new (x int)', 'CREATE TEMP TABLE regress_rights_new AS SELECT 1',
    'CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''SELECT 1''', 'CREATE TEMP VIEW regress_rights_new AS SELECT 1',
    'CREATE TRIGGER t AFTER INSERT ON regress_attack.loot EXECUTE FUNCTION regress_attack.try()',
    'SELECT nextval(''regress_attack.seq'')', 'SELECT setval(''regress_attack.seq'', 7)', 'SELECT * INTO TEMP regress_rights_new FROM regress_attack.loot',
    'SELECT FROM regress_attack.loot FOR UPDATE', 'COMMENT ON TABLE regress_attack.loot IS ''x''',
    -- what would be left in the session, and run with its user's rights
    'PREPARE p AS SELECT 1', 'DEALLOCATE ALL', 'LISTEN regress_rights', 'UNLISTEN *', 'DISCARD ALL', 'DISCARD TEMP',
    'DECLARE h CURSOR WITH HOLD FOR SELECT 1', 'CLOSE ALL', 'LOAD ''regress_rights_new''',
    -- files and programs
    'COPY regress_attack.loot TO PROGRAM ''cat''', 'COPY (SELECT 1) TO ''/dev/null''', 'COPY regress_attack.loot FROM ''/etc/passwd''',
    'SELECT pg_read_file(''PG_VERSION'')', 'SELECT lo_export(1, ''/dev/null'')', 'SELECT lo_import(''/etc/passwd'')',
    'SELECT pg_ls_dir(''.'')',
    -- our own functions: in the hands of who may execute them, they define only as the owner, and not in a build
    'SELECT summary_cache_define(''planted'', ''core'', ''SELECT 1 AS x'', ''{}'')', 'SELECT summary_cache_drop(''state'')',
    'SELECT summary_cache_attach_state_hub()', 'SELECT * FROM summary_cache_definition', 'SELECT * FROM summary_cache_stats'
    ]) WITH ORDINALITY AS s (statement, id);
-- owned by the attacker, as all that follows
ALTER TABLE regress_attack.loot OWNER TO regress_rights_attacker;
ALTER SEQUENCE regress_attack.seq OWNER TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.try(OUT result int) LANGUAGE plpgsql AS $$
DECLARE
    s record;
BEGIN
    result := 1;
    -- while the scene is set, by owners in their own sessions
    IF current_setting('regress.disarmed', true) = 'on' THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_lock(4711, current_user::regrole::oid::int8::int);
    FOR s IN SELECT statement, id FROM regress_attack.statements ORDER BY id LOOP
        BEGIN
            EXECUTE s.statement;
            PERFORM pg_advisory_lock(4712, s.id);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END $$;
-- the same for where an immutable one is needed; it runs when the query is planned
CREATE FUNCTION regress_attack.try_immutable(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN regress_attack.try(); END';
RESET ROLE;
-- The traces since it was asked last.
CREATE FUNCTION log() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
        SELECT 'ran as ' || objid::regrole FROM pg_locks
            WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = 4711
        UNION ALL
        SELECT 'DID: ' || statement FROM pg_locks JOIN regress_attack.statements ON id = objid::int8
            WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = 4712
        ORDER BY 1;
    PERFORM pg_advisory_unlock_all();
END $$;

-- it does work: a superuser who calls the function by hand is lost
BEGIN;
SELECT regress_attack.try();
SELECT count(*) > 20 AS much FROM log();
ROLLBACK;
SELECT setval('regress_attack.seq', 1, false);

--
-- A definition by a role without rights, read by a superuser
--
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('trap', 'core', 'SELECT regress_attack.try() AS x, current_user AS "user"', '{}');
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('trap');
SELECT log();
SELECT status, document FROM summary_cache_fetch('trap', NULL, true);
SELECT log();
-- privately
SET summary_cache.enabled = off;
SELECT status, document FROM summary_cache_fetch('trap');
SELECT log();
RESET summary_cache.enabled;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document FROM summary_cache_fetch('trap');
SELECT log();
COMMIT;
-- by the worker
CREATE TABLE regress_attack.tick (n int);
GRANT SELECT, TRIGGER ON regress_attack.tick TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('trap', 'core', 'SELECT regress_attack.try() AS x, current_user AS "user", (SELECT count(*) FROM regress_attack.tick) AS n', '{regress_attack.tick}');
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('trap');
SELECT log();
SET summary_cache.read_your_writes = off;
INSERT INTO regress_attack.tick VALUES (1);
SELECT status, document FROM summary_cache_fetch('trap');
DO $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        EXIT WHEN (SELECT status FROM summary_cache_fetch('trap')) = 'hit-revision';
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;
SELECT status, document FROM summary_cache_fetch('trap');
RESET summary_cache.read_your_writes;
SELECT builds_background > 0 AS by_worker FROM summary_cache_stats WHERE summary = 'trap';
-- in a session that became another's
SET SESSION AUTHORIZATION regress_rights_super;
SET ROLE regress_rights_owner;
SELECT status, document FROM summary_cache_fetch('trap', NULL, true);
SELECT log();
SELECT current_user, session_user;
RESET SESSION AUTHORIZATION;
-- within a section of someone else, which then goes on as its own owner
SET ROLE regress_rights_owner;
SELECT summary_cache_define('outer', 'core', $$SELECT summary_cache_get('trap', true) AS trap, current_user AS "user"$$, '{}');
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('outer');
SELECT log();
-- the reader's transaction is as it was
BEGIN;
SELECT summary_cache_get('trap', true);
SHOW transaction_read_only;
CREATE TEMP TABLE mine (x int);
SELECT current_user = session_user AS same;
ROLLBACK;
-- also after a build that fails
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.fail() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM regress_attack.try(), set_config('search_path', 'regress_attack', false), set_config('row_security', 'off', false);
    RETURN 1 / 0;
END $$;
SELECT summary_cache_define('failing', 'core', 'SELECT regress_attack.fail() AS x', '{}');
RESET ROLE;
BEGIN;
SAVEPOINT x;
\set VERBOSITY terse
SELECT summary_cache_get('failing');
\set VERBOSITY default
ROLLBACK TO x;
SHOW transaction_read_only;
SHOW search_path;
SHOW row_security;
SELECT current_user = session_user AS same;
ROLLBACK;
SELECT log();

--
-- What remains of a build in the reader's session
--
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.change_settings() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    SET search_path = regress_attack;
    SET row_security = off;
    SET LOCAL datestyle = 'SQL, DMY';
    SET summary_cache.enabled = off;
    SET statement_timeout = '1h';
    PERFORM set_config('regress.new', 'x', false), set_config('timezone', 'Asia/Tokyo', true), set_config('lock_timeout', '77', false);
    RETURN current_setting('search_path');
END $$;
SELECT summary_cache_define('settings', 'core', 'SELECT regress_attack.change_settings() AS x', '{}');
RESET ROLE;
CREATE TEMP TABLE before AS SELECT name, setting FROM pg_settings;
BEGIN;
SELECT summary_cache_get('settings', true);
SELECT name, a.setting, b.setting FROM pg_settings a FULL JOIN before b USING (name) WHERE a.setting IS DISTINCT FROM b.setting;
SELECT nullif(current_setting('regress.new', true), '') IS NULL AS none;
COMMIT;
SELECT name, a.setting, b.setting FROM pg_settings a FULL JOIN before b USING (name) WHERE a.setting IS DISTINCT FROM b.setting;
SELECT nullif(current_setting('regress.new', true), '') IS NULL AS none;
DROP TABLE before;
-- what needs no right is undone with the rest; but for an advisory lock of the session
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.allowed() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock(4713), pg_advisory_xact_lock(4714), pg_notify('regress_rights', 'notified'), setseed(0.5);
    -- before version 16 also in a read-only transaction
    PERFORM lo_create(0);
    RETURN 'done';
EXCEPTION WHEN read_only_sql_transaction THEN
    RETURN 'done';
END $$;
SELECT summary_cache_define('allowed', 'core', 'SELECT regress_attack.allowed() AS x', '{}');
RESET ROLE;
LISTEN regress_rights;
BEGIN;
SELECT status, document FROM summary_cache_fetch('allowed');
SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND objid IN (4713, 4714) AND pid = pg_backend_pid();
COMMIT;
SELECT count(*) FROM pg_largeobject_metadata;
UNLISTEN regress_rights;
SELECT log();
-- a cursor of the reader's is replaced by one of its name: it would run with the reader's rights
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.replace_cursor() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c refcursor := 'mine';
BEGIN
    CLOSE c;
    c := 'mine';
    OPEN c FOR SELECT regress_attack.try();
    c := 'another';
    OPEN c FOR SELECT regress_attack.try();
    RETURN 'done';
END $$;
SELECT summary_cache_define('cursor', 'core', 'SELECT regress_attack.replace_cursor() AS x', '{}');
RESET ROLE;
BEGIN;
DECLARE mine CURSOR FOR SELECT 'my own row';
FETCH mine;
SELECT status, document FROM summary_cache_fetch('cursor');
SELECT count(*) FROM pg_cursors WHERE statement LIKE '%regress_attack%' AND statement NOT LIKE '%pg_cursors%';
FETCH mine;
ROLLBACK;
SELECT log();
-- also while it is planned, by a superuser who attaches or defines
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.replace_immutable(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    'BEGIN PERFORM regress_attack.replace_cursor(); RETURN 1; END';
RESET ROLE;
BEGIN;
DECLARE mine CURSOR FOR SELECT 'my own row';
SELECT summary_cache_define('cursor', 'core', 'SELECT regress_attack.replace_immutable(1) AS x', '{}');
FETCH mine;
ROLLBACK;
SELECT log();

--
-- Names: what is planted in the reader's search path, or in public, is not found
--
SET ROLE regress_rights_owner;
CREATE TABLE regress_rights.tasks (id int PRIMARY KEY, status varchar, updated_at timestamptz);
CREATE TABLE regress_rights.progress_events (id int PRIMARY KEY, note varchar, created_at timestamptz);
CREATE INDEX ON regress_rights.tasks (updated_at);
CREATE INDEX ON regress_rights.progress_events (created_at);
INSERT INTO regress_rights.tasks VALUES (1, 'open', '2026-01-01 00:00+00'), (2, 'done', '2026-01-02 00:00+00');
INSERT INTO regress_rights.progress_events VALUES (1, 'note', '2026-01-01 00:00+00');
RESET ROLE;
SELECT summary_cache_attach_state_hub('regress_rights');
SET search_path = regress_rights, public;
SET ROLE regress_rights_owner;
SELECT summary_cache_define('names', 'core', 'SELECT count(*) AS n, max(updated_at) AS latest, lower(max(status::text)) AS low FROM tasks WHERE id + 1 > 0');
RESET ROLE;
RESET search_path;
CREATE TABLE truth AS SELECT state_summary()::text AS state, summary_cache_get('names')::text AS names;
SET ROLE regress_rights_attacker;
SET search_path = regress_attack;
DO $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY ARRAY['regress_attack', 'public'] LOOP
        EXECUTE format($f$
            CREATE FUNCTION %1$s.lower(text) RETURNS text LANGUAGE sql AS 'SELECT regress_attack.try()::text';
            CREATE FUNCTION %1$s.json_build_object(text, numeric, text, json, text, timestamptz) RETURNS json LANGUAGE sql AS 'SELECT to_json(regress_attack.try())';
            CREATE FUNCTION %1$s.row_to_json(regress_rights.progress_events) RETURNS json LANGUAGE sql AS 'SELECT to_json(regress_attack.try())';
            CREATE FUNCTION %1$s.step(timestamptz, timestamptz) RETURNS timestamptz LANGUAGE sql AS 'SELECT $1 FROM regress_attack.try()';
            CREATE AGGREGATE %1$s.max(timestamptz) (SFUNC = %1$s.step, STYPE = timestamptz);
            CREATE FUNCTION %1$s.op(int, int) RETURNS int LANGUAGE sql AS 'SELECT regress_attack.try()';
            CREATE OPERATOR %1$s.+ (FUNCTION = %1$s.op, LEFTARG = int, RIGHTARG = int);
            CREATE FUNCTION %1$s.op(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT regress_attack.try() = 1';
            CREATE OPERATOR %1$s.> (FUNCTION = %1$s.op, LEFTARG = timestamptz, RIGHTARG = timestamptz);
            CREATE COLLATION %1$s."C" (LOCALE = 'C');
            CREATE DOMAIN %1$s.text AS pg_catalog.text CHECK (regress_attack.try() = 1);
            CREATE VIEW %1$s.tasks AS SELECT regress_attack.try() AS id, 'x' AS status, now() AS updated_at;
            GRANT ALL ON %1$s.tasks TO PUBLIC;
            $f$, s);
    END LOOP;
END $$;
-- what would need to be a superuser
CREATE FUNCTION regress_attack.cmp(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT regress_attack.try()';
\set VERBOSITY sqlstate
CREATE OPERATOR CLASS public.ops DEFAULT FOR TYPE pg_catalog.text USING btree AS OPERATOR 1 <, FUNCTION 1 regress_attack.cmp(text, text);
CREATE CAST (varchar AS json) WITH INOUT AS IMPLICIT;
CREATE FUNCTION pg_catalog.max(regress_attack.loot) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE EVENT TRIGGER regress_rights ON ddl_command_start EXECUTE FUNCTION regress_attack.try();
\set VERBOSITY default
RESET ROLE;
SET search_path = regress_attack, public, pg_catalog;
SELECT public.state_summary(true)::pg_catalog.text OPERATOR(pg_catalog.=) state AS same,
    public.summary_cache_get('names', true)::pg_catalog.text OPERATOR(pg_catalog.=) names AS same FROM public.truth;
SELECT public.log();
RESET search_path;
-- the path of the definer, on the other hand, is the definer's: who lets others create in it has their operators.  They run as the owner
SET ROLE regress_rights_attacker;
CREATE FUNCTION public.op(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT regress_attack.try() = 1';
CREATE OPERATOR public.= (FUNCTION = public.op, LEFTARG = varchar, RIGHTARG = varchar);
SET ROLE regress_rights_owner;
SET search_path = regress_rights, public;
SELECT summary_cache_define('careless', 'core', $$SELECT count(*) AS n FROM tasks WHERE status = 'open'::varchar$$, '{tasks}');
SELECT summary_cache_define('careful', 'core', $$SELECT count(*) AS n FROM tasks WHERE status OPERATOR(pg_catalog.=) 'open'::varchar$$);
RESET ROLE;
RESET search_path;
SELECT summary_cache_get('careless');
SELECT log();
SELECT summary_cache_get('careful');
SELECT log();
SET client_min_messages = warning;
DROP OPERATOR public.= (varchar, varchar);
DROP FUNCTION public.op(varchar, varchar);

--
-- Temporary objects of the reader's, when what the query names is gone
--
SET ROLE regress_rights_owner;
SET search_path = regress_rights;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE moods (m mood);
CREATE VIEW moody AS SELECT m FROM moods;
SELECT public.summary_cache_define('table', 'core', 'SELECT count(*) AS n FROM moods', '{moods}');
SELECT public.summary_cache_define('view', 'core', 'SELECT count(*) AS n FROM moody', '{moods}');
SELECT public.summary_cache_define('type', 'core', $$SELECT 'good'::mood AS m, '{bad}'::mood[] AS a$$);
SELECT public.summary_cache_define('column', 'core', $$SELECT count(*) AS n FROM json_to_recordset('[{"x": "good"}]') AS r (x mood)$$);
-- constants of a column's type; one that names a relation; a WITH query's name is not a relation's, but where it is not in scope
CREATE TABLE lists (m mood[]);
SELECT public.summary_cache_define('list', 'core', $$SELECT count(*) AS n FROM lists WHERE m = '{good}'$$);
CREATE FUNCTION rows_of(regclass) RETURNS bigint LANGUAGE plpgsql STABLE
    AS $$DECLARE n bigint; BEGIN EXECUTE 'SELECT count(*) FROM ' || $1 INTO n; RETURN n; END$$;
SELECT public.summary_cache_define('constant', 'core', $$SELECT rows_of('moods') AS n$$, '{moods}');
SELECT public.summary_cache_define('with', 'core', $$WITH moods AS (SELECT 1), a AS (SELECT * FROM moods) SELECT (SELECT count(*) FROM a, moods) AS n$$);
SELECT public.summary_cache_define('scope', 'core', $$SELECT (WITH lists AS (SELECT 1) SELECT count(*) FROM lists) + (SELECT count(*) FROM lists WHERE m = '{good}') AS n$$);
SELECT public.summary_cache_define('itself', 'core', $$WITH lists AS (SELECT * FROM lists WHERE m = '{good}') SELECT count(*) AS n FROM lists$$);
SELECT public.summary_cache_define('qualified', 'core', $$SELECT pg_temp.planted() AS n$$);
CREATE FUNCTION pg_temp.planted() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT public.summary_cache_define('qualified', 'core', $$SELECT pg_temp.planted() AS n$$);
SELECT public.summary_cache_define('qualified', 'core', format('SELECT %I.pg_temp.planted() AS n', current_database()));
SELECT public.summary_cache_define('qualified', 'core', $$SELECT 1 OPERATOR(pg_temp.+) 1 AS n$$);
DROP FUNCTION pg_temp.planted();
SELECT public.summary_cache_define('cycle', 'core', $$WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL SELECT 1 FROM r) CYCLE id SET c TO _mood '{good}' DEFAULT _mood '{bad}' USING p SELECT count(*) AS n FROM r$$);
-- this one the session that attacks has never built
SELECT public.summary_cache_define('new', 'core', 'SELECT count(*) AS n FROM moods', '{moods}');
RESET search_path;
RESET ROLE;
\c -
SET ROLE regress_rights_attacker;
-- built before there is a temporary schema, and after
SELECT summary_cache_get(s) FROM unnest(ARRAY['table', 'view', 'type', 'column', 'list', 'constant', 'with', 'scope', 'itself', 'cycle']) s;
CREATE TEMP VIEW moods AS SELECT regress_attack.try() AS m WHERE regress_attack.try_immutable(1) = 1;
CREATE TEMP VIEW moody AS SELECT * FROM moods;
CREATE DOMAIN pg_temp.mood AS text CHECK (regress_attack.try() = 1 AND regress_attack.try_immutable(1) = 1);
CREATE TEMP TABLE lists (m pg_temp.mood[]);
GRANT SELECT ON moods, moody, lists TO PUBLIC;
BEGIN;
SELECT summary_cache_get(s, true) FROM unnest(ARRAY['table', 'view', 'type', 'column', 'list', 'constant', 'with', 'scope', 'itself', 'cycle']) s;
RESET ROLE;
SELECT log();
COMMIT;
-- the queries would follow: name what is gone, as if that had been dropped
CREATE TABLE regress_attack.texts AS SELECT summary, section, query FROM summary_cache_definition;
SET client_min_messages = warning;
ALTER TABLE regress_rights.moods RENAME TO moods_old;
ALTER TABLE regress_rights.lists RENAME TO lists_old;
ALTER VIEW regress_rights.moody RENAME TO moody_old;
ALTER TYPE regress_rights.mood RENAME TO mood_old;
RESET client_min_messages;
UPDATE summary_cache_definition d SET query = t.query FROM regress_attack.texts t WHERE (t.summary, t.section) = (d.summary, d.section) AND t.query <> d.query;
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.get_all() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY ARRAY['table', 'view', 'type', 'column', 'list', 'constant', 'with', 'scope', 'itself', 'cycle', 'new'] LOOP
        BEGIN
            RETURN NEXT summary_cache_get(s, true);
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT SQLERRM;
        END;
        RETURN QUERY SELECT '  ' || log();
    END LOOP;
END $$;
BEGIN;
SELECT regress_attack.get_all();
RESET ROLE;
SELECT log();
COMMIT;
-- the same without rights on the schema: its names are not found either
SET client_min_messages = warning;
ALTER TABLE regress_rights.moods_old RENAME TO moods;
ALTER TABLE regress_rights.lists_old RENAME TO lists;
ALTER VIEW regress_rights.moody_old RENAME TO moody;
ALTER TYPE regress_rights.mood_old RENAME TO mood;
RESET client_min_messages;
ALTER SCHEMA regress_rights OWNER TO regress_rights_super;
REVOKE USAGE ON SCHEMA regress_rights FROM PUBLIC;
SET ROLE regress_rights_attacker;
BEGIN;
SELECT regress_attack.get_all();
RESET ROLE;
SELECT log();
COMMIT;
ALTER SCHEMA regress_rights OWNER TO regress_rights_owner;
GRANT USAGE ON SCHEMA regress_rights TO PUBLIC;
SET ROLE regress_rights_attacker;
SELECT regress_attack.get_all();
\c -
SET client_min_messages = warning;

--
-- Functions of the attacker's in what the owner's query reads.  They run as the owner, as in any query of the owner's, and can no more than read
--
SET regress.disarmed = on;
SET ROLE regress_rights_owner;
SET search_path = regress_rights;
CREATE TABLE infected (id int, n int);
INSERT INTO infected VALUES (1, 1);
CREATE INDEX ON infected ((n + regress_attack.try_immutable(1)));
CREATE TABLE policed (id int);
INSERT INTO policed VALUES (1);
ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
ALTER TABLE policed FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON policed USING (regress_attack.try() = id);
CREATE VIEW viewed AS SELECT id, regress_attack.try() AS x FROM moods RIGHT JOIN infected ON true;
CREATE VIEW invoking WITH (security_invoker) AS SELECT * FROM viewed;
CREATE DOMAIN checked AS int CHECK (regress_attack.try() = 1);
RESET regress.disarmed;
SELECT public.summary_cache_define('infected', 'index', 'SELECT count(*) AS i FROM infected WHERE n + 1 > 0');
SELECT public.summary_cache_define('infected', 'policy', 'SELECT count(*) AS p FROM policed', '{policed}');
SELECT public.summary_cache_define('infected', 'view', 'SELECT max(x) AS v FROM viewed', '{moods, infected}');
SELECT public.summary_cache_define('infected', 'invoker', 'SELECT max(x) AS s FROM invoking', '{moods, infected}');
SELECT public.summary_cache_define('infected', 'domain', 'SELECT 1::checked AS d');
-- a cast to json of the attacker's type, which to_json() looks for
RESET ROLE;
SET ROLE regress_rights_attacker;
CREATE TYPE regress_attack.castable AS ENUM ('a');
CREATE FUNCTION regress_attack.to_json(regress_attack.castable) RETURNS json LANGUAGE sql
    AS $$SELECT json_build_object('cast', regress_attack.try())$$;
CREATE CAST (regress_attack.castable AS json) WITH FUNCTION regress_attack.to_json(regress_attack.castable);
RESET ROLE;
SET ROLE regress_rights_owner;
CREATE TABLE cast_to_json (c regress_attack.castable);
INSERT INTO cast_to_json VALUES ('a');
SELECT public.summary_cache_define('infected', 'cast', 'SELECT c FROM cast_to_json');
RESET search_path;
RESET ROLE;
SELECT log();
SELECT summary_cache_get('infected', true);
SELECT log();
SET row_security = off;
SET session_replication_role = replica;
SELECT summary_cache_get('infected', true);
SELECT log();
RESET row_security;
RESET session_replication_role;

--
-- A hub table swapped for a hostile view after a superuser has attached it; and CREATE EXTENSION by a superuser over such tables
--
ALTER TABLE regress_rights.tasks RENAME TO tasks_old;
UPDATE summary_cache_definition d SET query = t.query FROM regress_attack.texts t WHERE (t.summary, t.section) = (d.summary, d.section) AND d.summary = 'state';
SET ROLE regress_rights_owner;
CREATE VIEW regress_rights.tasks AS SELECT regress_attack.try() AS id, 'x' AS status, now() AS updated_at;
RESET ROLE;
SELECT state_summary(true) -> 'tasks' ->> 'count' AS count;
SELECT log();
DROP VIEW regress_rights.tasks;
ALTER TABLE regress_rights.tasks_old RENAME TO tasks;
SET regress.disarmed = on;
ALTER TABLE regress_rights.tasks ADD x int GENERATED ALWAYS AS (id + 1) STORED;
CREATE INDEX ON regress_rights.tasks ((id + regress_attack.try_immutable(1)));
ALTER TABLE regress_rights.tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE regress_rights.tasks FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON regress_rights.tasks USING (regress_attack.try() = 1 AND regress_attack.try_immutable(1) = 1);
\c -
BEGIN;
SET client_min_messages = warning;
DROP EXTENSION summary_cache CASCADE;
SET search_path = regress_rights, public;
CREATE EXTENSION summary_cache SCHEMA public;
SELECT section, owner FROM summary_cache_definition ORDER BY section;
SELECT log();
SELECT state_summary() -> 'tasks' ->> 'count' AS count;
SELECT log();
ROLLBACK;
DROP POLICY p ON regress_rights.tasks;
ALTER TABLE regress_rights.tasks NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
-- whoever names the table in a query of his own runs it when that is planned
DROP INDEX regress_rights.tasks_expr_idx;

--
-- A reader with EXECUTE on state_summary alone
--
SELECT proname FROM pg_proc WHERE (proname LIKE 'summary\_cache%' OR proname = 'state_summary') AND has_function_privilege('regress_rights_reader', oid, 'EXECUTE');
SELECT relname FROM pg_class WHERE relname LIKE 'summary\_cache%' AND relkind IN ('r', 'v') AND
    (has_table_privilege('regress_rights_reader', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR
     has_any_column_privilege('regress_rights_reader', oid, 'SELECT, INSERT, UPDATE, REFERENCES'));
SET ROLE regress_rights_reader;
SELECT (state_summary(true) -> 'tasks')::text;
SELECT count(*) FROM regress_rights.tasks;
SELECT count(*) FROM summary_cache_definition;
RESET ROLE;
-- an error of a failing section is raised as it is: it may show a value.  Who does not force a read is served the old document, without an error
SET ROLE regress_rights_owner;
SELECT summary_cache_define('state', 'numbers', $$SELECT max(note::int) AS numbers FROM regress_rights.progress_events WHERE id > 1$$);
SELECT summary_cache_get('state') ->> 'numbers' IS NULL AS none;
INSERT INTO regress_rights.progress_events VALUES (2, 'of the owner''s', '2026-01-02 00:00+00');
SET ROLE regress_rights_reader;
SELECT state_summary(true);
SELECT state_summary() ->> 'numbers' IS NULL AS none;
RESET ROLE;
SET ROLE regress_rights_owner;
SELECT summary_cache_drop('state', 'numbers');
RESET ROLE;
-- a view over the function shows no more than it
CREATE VIEW regress_rights_view AS SELECT state_summary() AS s;
GRANT SELECT ON regress_rights_view TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT * FROM regress_rights_view;
RESET ROLE;
DROP VIEW regress_rights_view;
-- one summary of several, by a function that has the name in it
CREATE FUNCTION regress_rights.only_names() RETURNS json LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$SELECT public.summary_cache_get('names')$$;
SET ROLE regress_rights_reader;
SELECT regress_rights.only_names() ->> 'n' AS n;
SELECT summary_cache_get('names');
RESET ROLE;

--
-- Rights that change after the definition
--
SET ROLE regress_rights_owner;
CREATE TABLE regress_rights.lent (n int);
INSERT INTO regress_rights.lent VALUES (1);
GRANT SELECT, TRIGGER ON regress_rights.lent TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('borrowed', 'core', 'SELECT sum(n) AS n FROM regress_rights.lent');
SELECT summary_cache_get('borrowed');
SET ROLE regress_rights_owner;
REVOKE ALL ON regress_rights.lent FROM regress_rights_attacker;
INSERT INTO regress_rights.lent VALUES (2);
-- nothing that is new
SET ROLE regress_rights_attacker;
SELECT summary_cache_get('borrowed', true);
SELECT summary_cache_define('borrowed', 'core', 'SELECT sum(n) AS m FROM regress_rights.lent');
-- what was cached is served until it is too old, or dropped
SELECT status, document FROM summary_cache_fetch('borrowed');
RESET ROLE;
SELECT summary_cache_invalidate('borrowed');
SET ROLE regress_rights_attacker;
\set VERBOSITY terse
SELECT summary_cache_get('borrowed');
\set VERBOSITY default
-- the right to read the summary is asked for at each read, whatever is cached
SELECT summary_cache_get('names') ->> 'n' AS n;
PREPARE get AS SELECT summary_cache_get('names') ->> 'n' AS n;
EXECUTE get;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION summary_cache_get FROM regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_get('names');
EXECUTE get;
RESET ROLE;
GRANT EXECUTE ON FUNCTION summary_cache_get TO regress_rights_attacker;
-- a role with row security of its own
SET ROLE regress_rights_owner;
ALTER TABLE regress_rights.lent ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON regress_rights.lent USING (n = 1);
GRANT SELECT, TRIGGER ON regress_rights.lent TO regress_rights_attacker;
RESET ROLE;
SELECT summary_cache_get('borrowed', true);
ALTER ROLE regress_rights_attacker BYPASSRLS;
SELECT summary_cache_get('borrowed', true);
ALTER ROLE regress_rights_attacker NOBYPASSRLS;
SELECT summary_cache_get('borrowed', true);
-- a policy that goes by a setting is said to do so: the setting is that of who builds
SET ROLE regress_rights_owner;
CREATE POLICY tenant ON regress_rights.lent AS RESTRICTIVE USING (n = current_setting('regress.tenant', true)::int);
SET ROLE regress_rights_attacker;
SET client_min_messages = notice;
SELECT summary_cache_define('borrowed', 'core', 'SELECT sum(n) AS n FROM regress_rights.lent');
SET client_min_messages = warning;
RESET ROLE;

--
-- Whose a definition is
--
-- membership without inheritance is none until the role is set
SET ROLE regress_rights_noinherit;
SELECT summary_cache_define('names', 'core', 'SELECT 1 AS one');
SELECT summary_cache_drop('names');
RESET ROLE;
SET SESSION AUTHORIZATION regress_rights_noinherit;
SET ROLE regress_rights_owner;
SELECT summary_cache_define('names', 'more', 'SELECT 1 AS one');
SELECT summary_cache_drop('names', 'more');
RESET SESSION AUTHORIZATION;
-- in a SECURITY DEFINER function it is the function's owner's
SET ROLE regress_rights_owner;
CREATE FUNCTION regress_rights.define(query text) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$SELECT public.summary_cache_define('wrapped', 'core', query)$$;
SET ROLE regress_rights_attacker;
SELECT regress_rights.define('SELECT current_user AS "user"');
SELECT summary_cache_get('wrapped');
SELECT summary_cache_define('wrapped', 'core', 'SELECT 1 AS x');
RESET ROLE;
SELECT DISTINCT summary, owner FROM summary_cache_definition ORDER BY summary;

--
-- Tables of others are neither locked nor given triggers
--
CREATE TABLE regress_others (id int);
CREATE TABLE regress_tracked (id int);
SELECT summary_cache_define('tracked', 'core', 'SELECT count(*) AS n FROM regress_tracked');
SET ROLE regress_rights_attacker;
BEGIN;
CREATE TABLE IF NOT EXISTS public.regress_others () INHERITS (public.regress_tracked);
SELECT mode FROM pg_locks WHERE relation = 'regress_others'::regclass AND pid = pg_backend_pid();
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_others'::regclass;
ROLLBACK;
RESET ROLE;
BEGIN;
CREATE TABLE IF NOT EXISTS regress_child () INHERITS (regress_tracked);
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_child'::regclass ORDER BY tgname;
ROLLBACK;
SELECT summary_cache_drop('tracked');
DROP TABLE regress_others, regress_tracked;

--
-- REASSIGN OWNED, DROP OWNED, DROP ROLE
--
SET ROLE regress_rights_attacker;
CREATE TABLE regress_attack.own (n int);
INSERT INTO regress_attack.own VALUES (1);
SELECT summary_cache_define('own', 'core', 'SELECT sum(n) AS n, current_user AS "user" FROM regress_attack.own');
SELECT status, document FROM summary_cache_fetch('own');
RESET ROLE;
BEGIN;
REASSIGN OWNED BY regress_rights_attacker TO regress_rights_owner;
SELECT DISTINCT owner FROM summary_cache_definition;
SELECT document FROM summary_cache_fetch('own');
ROLLBACK;
-- who may not, may not
SET ROLE regress_rights_owner;
\set VERBOSITY sqlstate
REASSIGN OWNED BY regress_rights_attacker TO regress_rights_owner;
DROP OWNED BY regress_rights_attacker;
\set VERBOSITY default
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('own');
REASSIGN OWNED BY regress_rights_attacker TO regress_rights_owner;
SELECT status, document FROM summary_cache_fetch('own', NULL, true);
INSERT INTO regress_attack.own VALUES (10);
SELECT status, document FROM summary_cache_fetch('own');
SELECT string_agg(summary, ' ' ORDER BY summary) FROM summary_cache_definition WHERE owner = 'regress_rights_attacker'::regrole;
-- with the sections go options, and the triggers on tables of others
SET ROLE regress_rights_owner;
SELECT summary_cache_drop(s) FROM unnest(ARRAY['trap', 'failing', 'settings', 'allowed', 'borrowed', 'own', 'outer']) s;
GRANT SELECT, TRIGGER ON regress_rights.lent TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
SELECT summary_cache_define('going', 'core', 'SELECT count(*) AS n FROM regress_rights.lent');
RESET ROLE;
SELECT summary_cache_configure('going', 'max_stale_age', '1h');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_rights.lent'::regclass ORDER BY tgname;
BEGIN;
DROP OWNED BY regress_rights_attacker;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'regress_rights.lent'::regclass ORDER BY tgname;
SELECT count(*) FROM summary_cache_option;
SELECT count(*) FROM summary_cache_definition WHERE owner = 'regress_rights_attacker'::regrole;
ROLLBACK;
-- DROP ROLE is refused for rights and objects, as ever, but not for sections: the document is served, its error says what to do, and the superuser can do it
CREATE ROLE regress_rights_gone;
SELECT format('INSERT INTO summary_cache_definition (summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
    VALUES (''orphan'', ''core'', 1, ''background'', ''regress_rights_gone'', ''SELECT 1 AS one'', ''{}'', ''{}'', ''{}'', ''{one}'', ''{}'')') \gexec
SELECT summary_cache_get('orphan');
DROP ROLE regress_rights_gone;
SELECT status, document FROM summary_cache_fetch('orphan');
SELECT summary_cache_get('orphan', true);
-- nobody else can take it over
SET ROLE regress_rights_owner;
SELECT summary_cache_define('orphan', 'core', 'SELECT 2 AS two');
SELECT summary_cache_drop('orphan');
RESET ROLE;
-- pg_dump leaves it out: elsewhere its number is another role
SELECT 'SELECT summary FROM summary_cache_definition ' || extcondition[1] || ' AND summary = ''orphan''' FROM pg_extension WHERE extname = 'summary_cache' \gexec
SELECT summary_cache_drop('orphan');

--
-- Nothing came of it
--
SELECT count(*) FROM regress_attack.loot;
SELECT last_value, is_called FROM regress_attack.seq;
SELECT count(*) FROM pg_class WHERE relname = 'regress_rights_new';
SELECT rolname, rolsuper FROM pg_roles WHERE rolname LIKE 'regress\_rights%' ORDER BY rolname;
SELECT count(*) FROM summary_cache_definition WHERE summary = 'planted';
SELECT has_table_privilege('regress_rights_attacker', 'regress_attack.superusers', 'SELECT');

DROP EXTENSION summary_cache CASCADE;
DROP OWNED BY regress_rights_attacker, regress_rights_owner, regress_rights_reader, regress_rights_noinherit, regress_rights_super CASCADE;
DROP SCHEMA IF EXISTS regress_rights, regress_attack CASCADE;
DROP FUNCTION log();
DROP TABLE truth;
DROP ROLE regress_rights_attacker, regress_rights_noinherit, regress_rights_owner, regress_rights_reader, regress_rights_super;
