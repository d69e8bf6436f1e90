-- Proves what a definition does: the sources that a query is found to have, the triggers on them, transactions, owners and rights.

SET client_min_messages = warning;
-- a worker may take its time on a busy machine
SET deadlock_timeout = '1min';
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_define;
CREATE SCHEMA regress_define2;
SET search_path = regress_define, public;
\pset format unaligned
\pset tuples_only
SET client_min_messages = notice;
\getenv test PG_ABS_SRCDIR
\set helpers :test '/sql/include/helpers.sql'
\i :helpers

-- the worker leaves as soon as it has nothing to do, so that quiet() need not wait for it
ALTER SYSTEM SET summary_cache.worker_idle_timeout = 0;
SELECT pg_reload_conf();

CREATE TABLE a (id int PRIMARY KEY, n int);
CREATE TABLE b (id int, n int);
CREATE TABLE c (id int, n int);
CREATE TABLE d (id int, n int);
CREATE TABLE regress_define2.a (id int, n int);
CREATE TABLE part (id int, n int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (n);
CREATE TABLE part21 PARTITION OF part2 FOR VALUES FROM (0) TO (10);
CREATE TABLE parent (id int);
CREATE TABLE child (extra int) INHERITS (parent);
CREATE MATERIALIZED VIEW mat AS SELECT count(*) AS n FROM d;
CREATE VIEW v AS SELECT a.id, b.n FROM a JOIN b USING (id);
CREATE VIEW nested AS SELECT v.id FROM v WHERE EXISTS (SELECT FROM c WHERE c.id = v.id);
CREATE VIEW elsewhere AS SELECT id FROM regress_define2.a;
CREATE FUNCTION inlined(int) RETURNS SETOF a LANGUAGE sql STABLE AS 'SELECT * FROM a WHERE id > $1';
CREATE FUNCTION inlined_nested() RETURNS SETOF a LANGUAGE sql STABLE AS 'SELECT i.* FROM inlined(0) i JOIN d USING (id)';
CREATE FUNCTION scalar(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x + 1';
CREATE FUNCTION not_inlined() RETURNS bigint LANGUAGE sql STABLE SET work_mem = 64 AS 'SELECT count(*) FROM a';
CREATE FUNCTION opaque() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM a); END';
CREATE FUNCTION opaque_add(state bigint, n bigint) RETURNS bigint LANGUAGE plpgsql STABLE STRICT AS
    'BEGIN RETURN state + n * (SELECT count(*) FROM a); END';
CREATE FUNCTION random_final(state bigint) RETURNS float LANGUAGE sql AS 'SELECT random() * state';
CREATE AGGREGATE opaque_sum(bigint) (SFUNC = opaque_add, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE opaque_moving(bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = 0,
    MSFUNC = opaque_add, MINVFUNC = int8mi, MSTYPE = bigint, MINITCOND = 0);
CREATE AGGREGATE random_sum(bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = 0, FINALFUNC = random_final);
CREATE FUNCTION pure() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION hidden_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
CREATE VIEW view_of_opaque AS SELECT opaque() AS n, count(*) AS m FROM b;

-- Our triggers on tables other than our own.
CREATE VIEW triggers AS
    SELECT tgrelid::regclass::text AS tab, string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) AS triggers
    FROM pg_trigger WHERE tgfoid::regproc::text = 'summary_cache_touch' AND tgrelid::regclass::text NOT LIKE 'summary_cache%'
    GROUP BY tgrelid;

--
-- Sources
--
CREATE FUNCTION sources(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    PERFORM summary_cache_define('derived', 'core', query, run_query => false);
    SELECT string_agg(s::text, ' ' ORDER BY s::text) INTO found FROM summary_cache.definition, unnest(sources) s
        WHERE summary = 'derived';
    RETURN found;
END $$;
SELECT sources('SELECT 1 AS x');
SELECT sources('SELECT count(*) FROM a');
SELECT sources($$SELECT table_to_xml('a', true, false, '')::text AS x$$);
SELECT sources($$SELECT query_to_xml('SELECT * FROM a', true, false, '')::text AS x$$);
SELECT sources('SELECT count(*) FROM a, a AS a2, ONLY a AS a3');
SELECT sources('SELECT count(*) FROM a JOIN regress_define2.a AS a2 USING (id)');
SELECT sources('SELECT count(*) FROM regress_define2.a');
-- wherever it stands in the query
SELECT sources('SELECT (SELECT count(*) FROM a) AS x');
SELECT sources('SELECT 1 AS x WHERE EXISTS (SELECT FROM a)');
SELECT sources('SELECT count(*) FROM a WHERE id IN (SELECT id FROM b)');
SELECT sources('SELECT sum(n) FROM a GROUP BY id HAVING sum(n) > (SELECT max(n) FROM b)');
SELECT sources('SELECT 1 AS x ORDER BY (SELECT max(n) FROM b) LIMIT (SELECT count(*) FROM c) OFFSET (SELECT count(*) FROM d)');
SELECT sources('SELECT count(*) FILTER (WHERE id = (SELECT max(id) FROM b)) OVER (PARTITION BY (SELECT n FROM c LIMIT 1)) FROM a');
SELECT sources('SELECT json_agg(x) AS x FROM (SELECT a.*, (SELECT json_agg(b) FROM b WHERE b.id = a.id) AS bs FROM a) x');
SELECT sources('SELECT CASE WHEN true THEN 1 ELSE (SELECT max(id) FROM a) END AS x');
SELECT sources('WITH w AS (SELECT * FROM a), unused AS (SELECT * FROM b) SELECT count(*) FROM w');
SELECT sources('WITH RECURSIVE r AS (SELECT id FROM a UNION SELECT b.id FROM r JOIN b ON b.n = r.id) SELECT count(*) FROM r');
SELECT sources('SELECT count(*) FROM a, LATERAL (SELECT * FROM b WHERE b.id = a.id LIMIT (SELECT n FROM c LIMIT 1)) l');
SELECT sources('SELECT id FROM a UNION ALL (SELECT id FROM b EXCEPT SELECT id FROM c INTERSECT SELECT id FROM d)');
SELECT sources('VALUES ((SELECT count(*) FROM a))');
SELECT sources('TABLE a');
SELECT sources('SELECT count(*) FROM a TABLESAMPLE SYSTEM (100), generate_series(1, (SELECT count(*) FROM b)) g');
-- through views
SELECT sources('SELECT count(*) FROM v');
SELECT sources('SELECT count(*) FROM nested');
SELECT sources('SELECT count(*) FROM elsewhere');
SELECT sources('SELECT count(*) FROM a, elsewhere');
-- through functions that the planner puts in place
SELECT sources('SELECT count(*) FROM inlined(1)');
SELECT sources('SELECT count(*) FROM inlined_nested()');
SELECT sources('SELECT scalar(1) AS x');
-- trees: the root stands for all
SELECT sources('SELECT count(*) FROM part');
SELECT sources('SELECT count(*) FROM part WHERE id = 15 AND n = 5');
SELECT sources('SELECT count(*) FROM part2');
SELECT sources('SELECT count(*) FROM parent');
SELECT sources('SELECT count(*) FROM ONLY parent');
SELECT sources('SELECT count(*) FROM mat');
-- what cannot be seen is said
SELECT sources('SELECT not_inlined() AS x, count(*) FROM b');
SELECT sources('SELECT opaque() AS x');
SELECT sources('SELECT n FROM view_of_opaque');
SELECT sources('SELECT pure() AS x');
-- a number of type oid is not a table, whatever has that number; a table's name that a function gets decides about more
SELECT sources('SELECT count(*) AS n FROM a WHERE id::oid = 4711');
SELECT sources(format('SELECT count(*) AS n FROM a WHERE id::oid = %s', 'b'::regclass::oid));
SELECT sources('SELECT pg_get_userbyid(10) AS n, format_type(23, NULL) AS type');
SELECT sources('SELECT ''b''::regclass AS name, n FROM a LIMIT 1');
SELECT sources('SELECT pg_get_viewdef(''v''::regclass) AS text, count(*) FROM a');
SELECT sources('SELECT opaque_sum(n) AS x FROM b');
SELECT sources('SELECT max(x) AS x FROM (SELECT opaque_sum(n) OVER (ORDER BY n) AS x FROM b) w');
SELECT sources('SELECT max(x) AS x FROM (SELECT opaque_moving(n) OVER (ORDER BY n ROWS 1 PRECEDING) AS x FROM b) w');
SELECT sources('SELECT count(*) FROM summary_cache.definition');
-- and what no table decides about
SELECT sources('SELECT now() AS x');
SELECT sources('SELECT count(*) FROM a WHERE CURRENT_DATE > ''2000-01-01''');
SELECT sources('SELECT random() AS x');
SELECT sources('SELECT random_sum(n) AS x FROM b');
SELECT sources('SELECT hidden_now() AS x');
-- ... and the session or the server: src/builtin.c has the rule, 049_builtin.pl goes through all functions
SELECT sources('SELECT pg_backend_pid() AS x, inet_client_addr() AS y, pg_trigger_depth() AS z');
SELECT sources('SELECT count(*) FROM a WHERE pg_stat_get_numscans(id::oid) > pg_relation_size(id::oid)');
SELECT sources($$SELECT obj_description(1259, 'pg_class') AS x, age('1'::xid) AS y, age(timestamptz '2026-01-01') AS z$$);
SELECT sources('SELECT current_setting(''server_version_num'') AS x, to_regclass(''a'')::oid AS y');
SELECT summary_cache_define('derived', 'core', 'SELECT count(*) AS n FROM pg_stat_activity', '{}');
SELECT sources('SELECT count(*) FROM a TABLESAMPLE BERNOULLI (50), b TABLESAMPLE SYSTEM (50)');
SELECT sources('SELECT count(*) FROM a TABLESAMPLE BERNOULLI (50) REPEATABLE (1)');
SELECT sources('SELECT max(ctid::text) AS c, max(xmax::text) AS x, max(cmin::text) AS ci, max(cmax::text) AS ca FROM a');
SELECT sources('SELECT count(*) FROM (SELECT n FROM a WHERE ctid = ''(0,1)'') s');
SELECT sources('SELECT max(xmin::text) AS x, max(tableoid::regclass::text) AS y FROM part');
-- a row keeps its xmin
CREATE TABLE kept AS SELECT 1 AS n;
SELECT xmin AS kept FROM kept \gset
VACUUM (FREEZE) kept;
VACUUM FULL kept;
SELECT xmin = :'kept'::xid FROM kept;
-- but not what depends on settings that are pinned, on definitions, or on nothing
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE usual (at timestamptz, day date, note text, tags text[], doc jsonb, price money, m mood, r tstzrange);
CREATE VIEW usual_view AS SELECT at, to_char(at, 'YYYY-MM-DD') AS shown FROM usual;
SELECT sources($$SELECT json_agg(json_build_object('at', to_char(at, 'HH24:MI'), 'tags', tags, 'doc', to_jsonb(tags)) ORDER BY at) AS a,
    jsonb_object_agg(note, doc ORDER BY at) FILTER (WHERE note IS NOT NULL) AS b, string_agg(format('%s: %s', day, at), ', ') AS c,
    array_to_string(array_agg(note || at::text), ',') AS d, json_agg(u) AS e, array_to_json(array_agg(m)) AS f, row_to_json((SELECT x FROM usual x LIMIT 1)) AS g, max(r::text) AS h
    FROM usual u$$);
SELECT sources($$SELECT max(date_trunc('day', at)) AS a, max(at + interval '1 day' - interval '1 hour') AS b, max(at::date) AS c, count(*) FILTER (WHERE at > day) AS d,
    max(extract(epoch FROM at)) AS e, max(age(at, '2026-01-01')) AS f, max(at AT TIME ZONE 'Europe/Berlin') AS g, max((doc ->> 'at')::timestamptz) AS h,
    max(to_timestamp(note, 'YYYY')) AS i, (SELECT count(*) FROM generate_series(min(day)::timestamptz, max(day), '1 day')) AS j FROM usual$$);
SELECT sources($$SELECT count(*) FILTER (WHERE to_tsvector('english', note) @@ to_tsquery('english', 'word')) AS a, count(*) FILTER (WHERE to_tsvector(note) @@ plainto_tsquery('word')) AS b,
    max(concat_ws(' ', note, at, price)) AS c, max(quote_literal(at)) AS d, max(pg_typeof(at)::text) AS e, sum(pg_column_size(doc)) AS f, max(price::numeric) AS g,
    max(enum_last(m)::text) AS h, current_database() AS i, bool_and(has_table_privilege('usual', 'select')) AS j, version() AS k,
    (SELECT count(*) FROM jsonb_to_recordset('[]') AS x(at timestamptz)) AS l, (SELECT max(shown) FROM usual_view) AS m FROM usual$$);
-- a constant that means the current time is that of each build; a string is a string
SELECT sources($$SELECT timestamptz 'now' AS x, count(*) FROM a$$);
SELECT sources($$SELECT count(*) FROM a WHERE CURRENT_DATE::text = 'nowhere' OR now() < 'Tomorrow 10:00'$$);
SELECT sources($$SELECT '{today}'::date[] AS x$$);
SELECT sources($$SELECT 'now' AS x, 'now'::text AS y, 'nowhere'::name AS z, date '2026-01-01' AS d$$);
SELECT sources($$SELECT 'today'::text::date AS x, E'\x74oday'::date AS y$$);
CREATE FUNCTION is_today(d date) RETURNS boolean LANGUAGE sql STABLE AS $$SELECT d = date 'today'$$;
SELECT sources($$SELECT count(*) FILTER (WHERE is_today('2026-01-01')) FROM a$$);
SELECT sources($$SELECT '{"now": 1}'::json AS x, 'now'::name AS y$$);
-- in whatever SQL function it stands: put in place or not, given as a string or parsed, called by whatever
CREATE FUNCTION inner_day() RETURNS date LANGUAGE sql STABLE AS $$SELECT date 'today'$$;
CREATE FUNCTION middle_day() RETURNS date LANGUAGE sql STABLE AS 'SELECT inner_day()';
CREATE FUNCTION outer_day() RETURNS date LANGUAGE sql STABLE AS 'SELECT middle_day()';
CREATE FUNCTION parsed_day() RETURNS date LANGUAGE sql STABLE RETURN outer_day();
CREATE FUNCTION outermost_day() RETURNS date LANGUAGE sql STABLE AS 'SELECT parsed_day()';
CREATE FUNCTION table_of_days() RETURNS SETOF date LANGUAGE sql STABLE AS 'SELECT outer_day() FROM a';
CREATE FUNCTION days_of_any(anyelement) RETURNS date LANGUAGE sql STABLE AS 'SELECT max(outer_day()) FROM a WHERE $1 IS NOT NULL';
CREATE TABLE regress_define2.only_there (n int);
CREATE FUNCTION days_elsewhere() RETURNS date LANGUAGE sql STABLE SET search_path = regress_define2, public AS 'SELECT max(regress_define.outer_day()) FROM only_there';
CREATE FUNCTION add_day(state date, d date) RETURNS date LANGUAGE sql STABLE AS 'SELECT greatest(state, d, outer_day())';
CREATE AGGREGATE max_day(date) (SFUNC = add_day, STYPE = date);
CREATE FUNCTION is_day(date, int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT $1 = outer_day()';
CREATE OPERATOR =? (FUNCTION = is_day, LEFTARG = date, RIGHTARG = int);
CREATE VIEW view_of_days AS SELECT n, outer_day() AS day FROM a;
CREATE FUNCTION through_view() RETURNS date LANGUAGE sql STABLE AS 'SELECT max(day) FROM view_of_days';
SELECT sources('SELECT outer_day() AS x');
SELECT sources('SELECT outermost_day() AS x');
SELECT sources('SELECT max(d) AS x FROM table_of_days() d');
SELECT sources('SELECT days_of_any(1) AS x');
SELECT sources('SELECT days_elsewhere() AS x');
SELECT sources('SELECT max_day(''2026-01-01'') AS x FROM b');
SELECT sources('SELECT count(*) FROM b WHERE date ''2026-01-01'' =? n');
SELECT sources('SELECT max(day) AS x FROM view_of_days');
SELECT sources('SELECT through_view() AS x');
-- what else a function depends on that is not put in place, as deep
CREATE FUNCTION inner_pid() RETURNS int LANGUAGE sql STABLE AS 'SELECT max(pg_backend_pid()) FROM a';
CREATE FUNCTION outer_pid() RETURNS int LANGUAGE sql STABLE AS 'SELECT max(inner_pid()) FROM a';
SELECT sources('SELECT outer_pid() AS x');
-- functions that call each other in a circle
SET statement_timeout = '1min';
CREATE FUNCTION ping(n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT n';
CREATE FUNCTION pong(n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT ping(n - 1)';
CREATE OR REPLACE FUNCTION ping(n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT CASE WHEN n > 0 THEN pong(n - 1) ELSE n END';
SELECT sources('SELECT ping(2) AS x');
CREATE OR REPLACE FUNCTION ping(n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT CASE WHEN n > 0 THEN pong(n - 1) ELSE outer_day() - date ''2026-01-01'' END';
SELECT sources('SELECT ping(2) AS x');
RESET statement_timeout;
-- PostgreSQL itself fixes a constant of a parsed body when the function is created, unless it is converted later
CREATE FUNCTION fixed_day() RETURNS date LANGUAGE sql STABLE RETURN date 'today';
CREATE FUNCTION converted_day() RETURNS date LANGUAGE sql STABLE RETURN 'today'::text::date;
SELECT sources('SELECT fixed_day() AS x');
SELECT sources('SELECT converted_day() AS x');
-- a body that cannot be analysed is judged by its text
SET check_function_bodies = off;
CREATE FUNCTION broken_day() RETURNS bigint LANGUAGE sql STABLE SET work_mem = 64 AS $$SELECT count(*) FROM missing WHERE day = 'today'$$;
CREATE FUNCTION broken() RETURNS bigint LANGUAGE sql STABLE SET work_mem = 64 AS 'SELECT count(*) FROM missing';
RESET check_function_bodies;
SELECT sources('SELECT broken_day() AS x FROM a WHERE id < 0');
SELECT sources('SELECT broken() AS x FROM a WHERE id < 0');
-- whatever its analysis raises: what looks like a cancel is one only if the server has raised it
CREATE FUNCTION raises(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'as if cancelled' USING ERRCODE = '57014'; END $$;
CREATE DOMAIN raising AS text CHECK (raises(VALUE));
SET check_function_bodies = off;
CREATE FUNCTION cancelled() RETURNS int LANGUAGE sql STABLE SET work_mem = 64 AS $$SELECT cardinality('{x}'::raising[])$$;
RESET check_function_bodies;
SELECT sources('SELECT cancelled() AS x FROM a WHERE id < 0');
SELECT summary_cache_define('clock', 'core', $$SELECT timestamptz 'now' AS x, count(*) AS n FROM a$$, refresh => 'inline');
CREATE TEMP TABLE times (n int, x timestamptz);
INSERT INTO times SELECT 1, (document ->> 'x')::timestamptz FROM summary_cache_fetch('clock');
INSERT INTO times SELECT 2, (document ->> 'x')::timestamptz FROM summary_cache_fetch('clock', force_refresh => true);
INSERT INTO a VALUES (77, 7);
INSERT INTO times SELECT 3, (document ->> 'x')::timestamptz FROM summary_cache_fetch('clock');
DELETE FROM a WHERE id = 77;
SELECT count(DISTINCT x) FROM times;
CREATE FUNCTION inner_time() RETURNS timestamptz LANGUAGE sql STABLE AS $$SELECT timestamptz 'now'$$;
CREATE FUNCTION outer_time() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT inner_time()';
SELECT summary_cache_define('clock', 'nested', $$SELECT outer_time() AS y, count(*) AS m FROM a$$, refresh => 'inline');
INSERT INTO times SELECT 4, (document ->> 'y')::timestamptz FROM summary_cache_fetch('clock');
INSERT INTO times SELECT 5, (document ->> 'y')::timestamptz FROM summary_cache_fetch('clock', force_refresh => true);
SELECT count(DISTINCT x) FROM times;
-- a rename does not fix it, and the text that calls the function can follow
ALTER TABLE a RENAME TO a_renamed;
SELECT query FROM summary_cache.definition WHERE summary = 'clock' ORDER BY section;
ALTER TABLE a_renamed RENAME TO a;
SELECT summary_cache_drop('clock');
-- given sources are taken as they are
SELECT summary_cache_define('derived', 'core', 'SELECT opaque() AS x, count(*) FROM b', '{a}');
SELECT sources FROM summary_cache.definition;
SELECT summary_cache_define('derived', 'core', 'SELECT count(*) FROM a', '{}');
SELECT sources FROM summary_cache.definition;
SELECT summary_cache_define('derived', 'core', 'SELECT 1 AS x', '{a, b, a, a}');
SELECT sources FROM summary_cache.definition;
-- what a definition says can be asked for again; it is what it would say now
SET client_min_messages = warning;
SELECT summary_cache_define('derived', 'core', 'SELECT opaque() AS x, now() AS y, count(*) FROM b');
SELECT summary_cache_define('derived', 'given', 'SELECT opaque() AS z', '{a}');
SELECT summary_cache_define('derived', 'plain', 'SELECT pure() AS p, (SELECT count(*) FROM b) AS b', refresh => 'inline');
RESET client_min_messages;
SELECT * FROM summary_cache_notices('derived');
CREATE OR REPLACE FUNCTION pure() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
ALTER FUNCTION opaque() IMMUTABLE;
SELECT section, message FROM summary_cache_notices('derived');
ALTER FUNCTION pure() IMMUTABLE;
ALTER FUNCTION opaque() STABLE;
BEGIN READ ONLY;
SELECT section, message FROM summary_cache_notices('derived');
COMMIT;
SELECT * FROM summary_cache_notices('no_such');
SELECT summary_cache_drop('derived');
SELECT * FROM triggers;

-- writes to what was found are noticed, wherever it is
INSERT INTO a VALUES (1, 1);
INSERT INTO b VALUES (1, 1);
INSERT INTO c VALUES (1, 1);
SELECT summary_cache_define('nested', 'core', 'SELECT count(*) AS n, (SELECT sum(n) FROM inlined(0)) AS i FROM nested');
SELECT summary_cache_get('nested');
INSERT INTO b VALUES (1, 1);
SELECT status, document FROM summary_cache_fetch('nested');
INSERT INTO c VALUES (2, 2);
SELECT status, document FROM summary_cache_fetch('nested');
DELETE FROM c;
SELECT status, document FROM summary_cache_fetch('nested');
UPDATE a SET n = 10;
SELECT status, document FROM summary_cache_fetch('nested');
INSERT INTO d VALUES (1, 1);
SELECT status, document FROM summary_cache_fetch('nested');
SELECT summary_cache_drop('nested');

--
-- Triggers: as long as some section needs them
--
SELECT summary_cache_define('one', 'core', 'SELECT count(*) FROM a, b', '{a, b}');
SELECT * FROM triggers ORDER BY 1;
SELECT summary_cache_define('two', 'core', 'SELECT count(*) FROM b, c', '{b, c}');
SELECT summary_cache_define('two', 'more', 'SELECT count(*) AS more FROM c', '{c}');
SELECT * FROM triggers ORDER BY 1;
SELECT tgrelid::regclass, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'a'::regclass ORDER BY tgname;
SELECT summary_cache_drop('one');
SELECT * FROM triggers ORDER BY 1;
SELECT summary_cache_drop('two', 'core');
SELECT * FROM triggers ORDER BY 1;
SELECT summary_cache_define('two', 'more', 'SELECT count(*) AS more FROM d', '{d}');
SELECT * FROM triggers ORDER BY 1;
SELECT summary_cache_define('two', 'more', 'SELECT count(*) AS more FROM part', '{part1}');
SELECT * FROM triggers ORDER BY 1;
SELECT summary_cache_define('two', 'core', 'SELECT count(*) FROM parent, mat', '{child, mat}');
SELECT * FROM triggers ORDER BY 1;
SELECT summary_cache_drop('two', 'more');
SELECT * FROM triggers ORDER BY 1;
SELECT summary_cache_drop('two');
SELECT * FROM triggers ORDER BY 1;
SELECT count(*) FROM summary_cache.definition;

--
-- Definitions are transactional
--
BEGIN;
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS n FROM a');
SELECT status, document FROM summary_cache_fetch('s');
ROLLBACK;
SELECT summary_cache_get('s');
SELECT * FROM triggers;
SELECT count(*) FROM summary_cache_stats;
BEGIN;
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS n FROM a');
COMMIT;
SELECT status, document FROM summary_cache_fetch('s');
-- replaced, and not
BEGIN;
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS other FROM b');
SELECT status, document FROM summary_cache_fetch('s');
SELECT * FROM triggers;
ROLLBACK;
SELECT status, document FROM summary_cache_fetch('s');
SELECT * FROM triggers;
-- dropped, and not
BEGIN;
SELECT summary_cache_drop('s');
SELECT summary_cache_get('s');
ROLLBACK;
SELECT document FROM summary_cache_fetch('s');
SELECT status, document FROM summary_cache_fetch('s');
SELECT * FROM triggers;
-- a section more, in a subtransaction that fails
BEGIN;
SAVEPOINT x;
SELECT summary_cache_define('s', 'more', 'SELECT 2 AS more');
ROLLBACK TO x;
COMMIT;
SELECT document FROM summary_cache_fetch('s');
-- a new definition takes effect when it has first been built: until then others get the old document, as stale
\set look 'SELECT status, document FROM summary_cache_fetch(''s'');'
\set wait_for_hit 'CALL wait_until($c$ status = ''hit-revision'' FROM summary_cache_fetch(''s'') $c$);'
-- until no refresh is asked for, and the worker is gone: see status.sql
\set quiet 'CALL wait_until($c$ NOT EXISTS (SELECT FROM summary_cache_stats WHERE refresh_requested) AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = ''summary_cache worker'' AND datname = current_database()) $c$);'
\c -
SET search_path = regress_define, public;
:wait_for_hit
:quiet
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS replaced FROM a');
-- but not the session that has defined it
SELECT section, state, reason FROM summary_cache_sections WHERE summary = 's';
:look
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS replaced FROM a');
\c -
SET search_path = regress_define, public;
:look
:wait_for_hit
:look
:quiet
-- a section more, and one less
SELECT summary_cache_define('s', 'more', 'SELECT 2 AS more', NULL, 'inline');
SELECT section, state, reason FROM summary_cache_sections WHERE summary = 's';
\c -
SET search_path = regress_define, public;
:look
:wait_for_hit
:look
:quiet
SELECT summary_cache_drop('s', 'core');
\c -
SET search_path = regress_define, public;
:look
:wait_for_hit
:look
:quiet
-- the definition itself is what is followed, also when it is written by hand
UPDATE summary_cache.definition SET query = 'SELECT 3 AS by_hand';
:look
-- whoever wants the old document gone at once invalidates it
SELECT summary_cache_define('s', 'core', 'SELECT sum(n) AS core FROM a');
\c -
SET search_path = regress_define, public;
:wait_for_hit
:quiet
SELECT summary_cache_define('s', 'core', 'SELECT -sum(n) AS core FROM a');
SELECT summary_cache_invalidate('s');
\c -
SET search_path = regress_define, public;
:look
SELECT summary_cache_drop('s');

-- a definition that cannot be built: the old document serves, and the view says why
CREATE TABLE migrated (a int, b int);
INSERT INTO migrated VALUES (1, 2);
SELECT summary_cache_define('s', 'core', 'SELECT sum(a) AS a, sum(b) AS b FROM migrated');
SELECT summary_cache_define('s', 'quick', 'SELECT count(*) AS n FROM b', NULL, 'inline');
:look
\c -
SET search_path = regress_define, public;
SET client_min_messages = warning;
ALTER TABLE migrated RENAME a TO a2;
ALTER TABLE migrated DROP b;
\c -
SET search_path = regress_define, public;
:look
CALL wait_until($$consecutive_failures > 0 FROM summary_cache_stats WHERE summary = 's'$$);
SELECT summary_cache_reset_stats();
DO $$
BEGIN
    FOR i IN 1 .. 20 LOOP
        IF (SELECT status FROM summary_cache_fetch('s')) <> 'stale' THEN RAISE 'not stale'; END IF;
    END LOOP;
END $$;
-- of 20 reads, none waits for a build, and the next try comes later and later
SELECT stale, misses, builds_failed <= 3 AS few FROM summary_cache_stats WHERE summary = 's';
SELECT section, state, reason FROM summary_cache_sections WHERE summary = 's';
-- its inline section is rebuilt all the same
INSERT INTO b VALUES (9, 9);
:look
SELECT consecutive_failures > 0 AS failing FROM summary_cache_stats WHERE summary = 's';
DELETE FROM b WHERE id = 9;
-- which does not make the other one be tried any earlier
DO $$
BEGIN
    FOR i IN 1 .. 20 LOOP
        INSERT INTO b VALUES (9, 9);
        DELETE FROM b WHERE id = 9;
        COMMIT;
        PERFORM summary_cache_get('s'), pg_sleep(0.05);
        COMMIT;
    END LOOP;
END $$;
SELECT builds_inline >= 20 AS inline, builds_failed <= 8 AS few FROM summary_cache_stats WHERE summary = 's';
-- within stale_if_error
SET summary_cache.max_stale_age = 0;
:look
SET summary_cache.stale_if_error = 0;
DO $$
BEGIN
    PERFORM summary_cache_get('s');
EXCEPTION WHEN undefined_column THEN
    RAISE NOTICE '%', substring(SQLERRM FROM 'column "b" does not exist$');
END $$;
RESET summary_cache.stale_if_error;
RESET summary_cache.max_stale_age;
-- a new definition is tried at once
SELECT summary_cache_define('s', 'core', 'SELECT sum(a2) AS a FROM migrated');
SELECT status <> 'stale' AS is_new, document FROM summary_cache_fetch('s');
-- one that returns two rows by the time that it is built: likewise
BEGIN;
SELECT summary_cache_define('s', 'core', 'SELECT a2 AS a FROM migrated');
INSERT INTO migrated VALUES (7);
COMMIT;
\c -
SET search_path = regress_define, public;
:look
CALL wait_until($$consecutive_failures > 0 FROM summary_cache_stats WHERE summary = 's'$$);
:look
SELECT section, state, reason LIKE '%more than one row%' AS told FROM summary_cache_sections WHERE summary = 's';
DELETE FROM migrated WHERE a2 = 7;
SELECT summary_cache_define('s', 'core', 'SELECT sum(a2) AS a FROM migrated');
SELECT status <> 'stale' AS is_new, document FROM summary_cache_fetch('s');
SELECT summary_cache_reset_stats();
-- the session that has broken it tries to build it, and is then served like the others
SET client_min_messages = warning;
ALTER TABLE migrated RENAME a2 TO a3;
ALTER TABLE migrated ADD a2 int;
ALTER TABLE migrated DROP a3;
:look
SELECT builds_failed > 0 AS failed FROM summary_cache_stats WHERE summary = 's';
SELECT summary_cache_define('s', 'core', 'SELECT sum(a2) AS a FROM migrated');
-- a summary that is dropped and defined again has nothing to do with it
SELECT summary_cache_get('s') IS NOT NULL AS cached;
BEGIN;
SELECT summary_cache_drop('s');
SELECT summary_cache_define('s', 'core', 'SELECT sum(a2) AS again FROM migrated');
COMMIT;
\c -
SET search_path = regress_define, public;
:look
-- nor one of another owner
CREATE ROLE regress_define_heir;
GRANT USAGE, CREATE ON SCHEMA regress_define TO regress_define_heir;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_define_heir;
SELECT summary_cache_drop('s');
SET ROLE regress_define_heir;
SELECT summary_cache_define('s', 'core', 'SELECT 1 AS heir', '{}');
RESET ROLE;
\c -
SET search_path = regress_define, public;
:look
SELECT summary_cache_drop('s');
DROP OWNED BY regress_define_heir;
DROP ROLE regress_define_heir;

--
-- Only the sections concerned are built
--
DO $$
BEGIN
    FOR i IN 1 .. 12 LOOP
        EXECUTE format('CREATE TABLE t%s (n int)', i);
        PERFORM summary_cache_define('twelve', 'section' || i, format('SELECT count(*) AS t%1$s FROM t%1$s', i));
    END LOOP;
END $$;
CREATE TABLE seen (section name, built_at timestamptz);
CREATE FUNCTION rebuilt() RETURNS text LANGUAGE sql AS $$
    WITH forget AS (DELETE FROM seen RETURNING *),
        remember AS (INSERT INTO seen SELECT section, built_at FROM summary_cache_sections WHERE summary = 'twelve')
    SELECT string_agg(section, ' ' ORDER BY length(section), section) FROM (
        SELECT section, built_at FROM summary_cache_sections WHERE summary = 'twelve'
        EXCEPT SELECT section, built_at FROM forget) s
$$;
SELECT status, document FROM summary_cache_fetch('twelve');
SELECT rebuilt();
SELECT rebuilt() IS NULL AS none;
INSERT INTO t5 VALUES (1);
SELECT status, document FROM summary_cache_fetch('twelve');
SELECT rebuilt();
INSERT INTO t12 VALUES (1), (2);
DELETE FROM t5;
SELECT status, document FROM summary_cache_fetch('twelve');
SELECT rebuilt();
-- by the worker
SET summary_cache.read_your_writes = off;
INSERT INTO t7 VALUES (1);
SELECT status, document FROM summary_cache_fetch('twelve');
CALL wait_until($$status = 'hit-revision' FROM summary_cache_fetch('twelve')$$);
SELECT status, document FROM summary_cache_fetch('twelve');
SELECT rebuilt();
RESET summary_cache.read_your_writes;
SELECT summary_cache_drop('twelve');

--
-- Options of a summary go before the settings of a session
--
SELECT try($$SELECT summary_cache_configure('none', 'max_stale_age', '1')$$);
SELECT try($$SELECT summary_cache_configure(repeat('s', 64), 'max_stale_age', '1')$$);
SELECT summary_cache_define('s', 'core', 'SELECT count(*) FROM a');
SELECT status FROM summary_cache_fetch('s');
SELECT try($$SELECT summary_cache_configure(NULL, 'max_stale_age', '1')$$);
SELECT try($$SELECT summary_cache_configure('s', NULL, '1')$$);
SELECT try($$SELECT summary_cache_configure('s', 'nonsense', '1')$$);
SELECT try($$SELECT summary_cache_configure('s', 'MAX_STALE_AGE', NULL)$$);
SELECT try($$SELECT summary_cache_configure('s', 'enabled', 'off')$$);
SELECT try($$SELECT summary_cache_configure('s', 'max_stale_age', 'long')$$);
SELECT try($$SELECT summary_cache_configure('s', 'max_stale_age', '')$$);
SELECT try($$SELECT summary_cache_configure('s', 'max_stale_age', '-2')$$);
SELECT try($$SELECT summary_cache_configure('s', 'max_stale_age', '99999999999')$$);
SELECT try($$SELECT summary_cache_configure('s', 'min_refresh_interval', '-1')$$);
SELECT try($$SELECT summary_cache_configure('s', 'eager_refresh', 'maybe')$$);
SELECT count(*) FROM summary_cache.option;
SELECT summary_cache_configure('s', 'max_stale_age', '0');
SELECT status FROM summary_cache_fetch('s');
SELECT status FROM summary_cache_fetch('s');
SELECT summary_cache_configure('s', 'max_stale_age', '5 min');
SELECT summary_cache_configure('s', 'eager_refresh', 'off');
SELECT summary_cache_configure('s', 'min_refresh_interval', '2s');
SELECT * FROM summary_cache.option ORDER BY option;
SET summary_cache.max_stale_age = 0;
SELECT summary_cache_get('s') IS NOT NULL;
SELECT status FROM summary_cache_fetch('s');
SELECT summary_cache_configure('s', 'max_stale_age', NULL);
SELECT status FROM summary_cache_fetch('s');
SELECT status FROM summary_cache_fetch('s');
RESET summary_cache.max_stale_age;
SELECT status FROM summary_cache_fetch('s');
-- they are transactional as well, and go with the summary
BEGIN;
SELECT summary_cache_configure('s', 'max_stale_age', '0');
ROLLBACK;
SELECT summary_cache_get('s') IS NOT NULL;
SELECT status FROM summary_cache_fetch('s');
SELECT summary_cache_drop('s');
SELECT count(*) FROM summary_cache.option;

--
-- Owners and rights
--
SET client_min_messages = warning;
CREATE ROLE regress_define_owner;
CREATE ROLE regress_define_member IN ROLE regress_define_owner;
CREATE ROLE regress_define_other;
CREATE ROLE regress_define_reader;
CREATE ROLE regress_define_monitor IN ROLE pg_monitor;
CREATE ROLE regress_define_gone;
SET client_min_messages = notice;
GRANT USAGE ON SCHEMA regress_define TO PUBLIC;
-- nothing for PUBLIC, but the views for pg_monitor
SET ROLE regress_define_other;
SELECT state_summary();
SELECT summary_cache_get('s');
SELECT summary_cache_fetch('s');
SELECT summary_cache_define('s', 'core', 'SELECT 1 AS a');
SELECT summary_cache_drop('s');
SELECT summary_cache_configure('s', 'max_stale_age', '1');
SELECT summary_cache_invalidate('s');
SELECT summary_cache_attach_state_hub();
SELECT summary_cache_reset_stats();
SELECT * FROM summary_cache_stats;
SELECT * FROM summary_cache_sections;
SELECT * FROM summary_cache_tables;
SELECT * FROM summary_cache.definition;
-- SELECT on a view is all that a role needs for it
RESET ROLE;
GRANT SELECT ON summary_cache_stats TO regress_define_other;
SET ROLE regress_define_other;
SELECT count(*) FROM summary_cache_stats;
SELECT count(*) FROM summary_cache_sections;
SELECT count(*) FROM summary_cache_stat_tables();
SET ROLE regress_define_monitor;
SELECT summary_cache_get('s');
SELECT count(*) FROM summary_cache_stats;
SELECT count(*) FROM summary_cache_sections;
SELECT count(*) FROM summary_cache_tables;
RESET ROLE;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop, summary_cache_configure, summary_cache_invalidate
    TO regress_define_owner, regress_define_other, regress_define_gone;
GRANT EXECUTE ON FUNCTION summary_cache_get, summary_cache_fetch TO regress_define_reader, regress_define_owner, regress_define_other;

-- an owner needs SELECT and TRIGGER on the sources
SET ROLE regress_define_owner;
SELECT summary_cache_define('own', 'core', 'SELECT count(*) FROM a');
SELECT summary_cache_define('own', 'core', 'SELECT 1 AS one', '{a}');
RESET ROLE;
GRANT SELECT ON a TO regress_define_owner;
SET ROLE regress_define_owner;
SELECT summary_cache_define('own', 'core', 'SELECT count(*) FROM a');
RESET ROLE;
SELECT count(*) FROM summary_cache.definition;
SELECT * FROM triggers;
GRANT TRIGGER ON a TO regress_define_owner;
SET ROLE regress_define_owner;
SELECT summary_cache_define('own', 'core', 'SELECT count(*) FROM a');
-- but for a materialized view, which has no triggers, SELECT alone
RESET ROLE;
GRANT SELECT ON mat TO regress_define_owner;
SET ROLE regress_define_owner;
SELECT summary_cache_define('own', 'mat', 'SELECT n FROM mat');
SELECT summary_cache_get('own');
RESET ROLE;
SELECT summary, section, owner FROM summary_cache.definition ORDER BY section;

-- others cannot change it, nor add to it
SET ROLE regress_define_other;
SELECT summary_cache_define('own', 'core', 'SELECT 1 AS one');
SELECT summary_cache_define('own', 'more', 'SELECT 1 AS one');
SELECT summary_cache_drop('own', 'core');
SELECT summary_cache_drop('own');
SELECT summary_cache_configure('own', 'max_stale_age', '1');
-- who may execute it, may invalidate
SELECT summary_cache_invalidate('own');
-- its members and superusers can; it stays the owner's
SET ROLE regress_define_member;
SELECT summary_cache_define('own', 'core', 'SELECT 1 AS one, current_user AS by');
RESET ROLE;
SELECT section, owner FROM summary_cache.definition ORDER BY section;
SELECT summary_cache_define('own', 'core', 'SELECT 2 AS two, current_user AS by');
SELECT section, owner FROM summary_cache.definition ORDER BY section;
SELECT summary_cache_get('own');
SET ROLE regress_define_owner;
SELECT summary_cache_define('own', 'core', 'SELECT 3 AS three, current_user AS by');
SELECT summary_cache_get('own');
SET ROLE regress_define_member;
SELECT summary_cache_drop('own', 'mat');
SET ROLE regress_define_owner;
SELECT summary_cache_drop('own');
RESET ROLE;

-- built as its owner, with row security: all see what the owner sees
CREATE TABLE secret (id int, for_role name);
INSERT INTO secret VALUES (1, 'regress_define_owner'), (2, 'regress_define_owner'), (3, 'regress_define_reader'), (4, 'regress_define_other');
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (for_role = current_user);
GRANT SELECT, TRIGGER ON secret TO regress_define_owner, regress_define_reader;
SET ROLE regress_define_owner;
SELECT summary_cache_define('secrets', 'core', 'SELECT json_agg(id ORDER BY id) AS ids, current_user AS "user" FROM secret');
SELECT status, document FROM summary_cache_fetch('secrets');
SET ROLE regress_define_reader;
SELECT status, document FROM summary_cache_fetch('secrets');
SELECT status, document FROM summary_cache_fetch('secrets', NULL, true);
SET summary_cache.enabled = off;
SELECT status, document FROM summary_cache_fetch('secrets');
RESET summary_cache.enabled;
SELECT current_user, count(*) FROM secret;
RESET ROLE;
SELECT status, document FROM summary_cache_fetch('secrets', NULL, true);
SET row_security = off;
SELECT status, document FROM summary_cache_fetch('secrets', NULL, true);
RESET row_security;
-- a right that is taken away is missed at the next build
REVOKE SELECT ON secret FROM regress_define_owner;
SELECT document FROM summary_cache_fetch('secrets', NULL, true);
GRANT SELECT ON secret TO regress_define_owner;
SELECT document FROM summary_cache_fetch('secrets', NULL, true);
-- what a section's query calls does not get the caller's rights
CREATE FUNCTION grab() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', 'none', false);
    RETURN 1;
END $$;
SET ROLE regress_define_owner;
SELECT summary_cache_define('trap', 'core', 'SELECT grab() AS x', run_query => false);
RESET ROLE;
SELECT summary_cache_get('trap');
SELECT summary_cache_drop('trap');

-- the owner is gone
GRANT SELECT, TRIGGER ON b TO regress_define_gone;
SET ROLE regress_define_gone;
SELECT summary_cache_define('left', 'core', 'SELECT count(*) FROM b');
RESET ROLE;
SELECT summary_cache_get('left');
REVOKE ALL ON b FROM regress_define_gone;
REVOKE ALL ON FUNCTION summary_cache_define, summary_cache_drop, summary_cache_configure, summary_cache_invalidate FROM regress_define_gone;
DROP ROLE regress_define_gone;
SELECT summary_cache_get('left', true);
SELECT summary_cache_drop('left');

--
-- The search path is stored, and temporary objects come last
--
INSERT INTO regress_define2.a VALUES (1, 1), (2, 2), (3, 3);
SELECT summary_cache_define('path', 'core', 'SELECT count(*) FROM a');
SELECT summary_cache_get('path');
SET search_path = regress_define2, public;
SELECT summary_cache_get('path', true);
SELECT summary_cache_define('path2', 'core', 'SELECT count(*) FROM a');
SELECT summary_cache_get('path2');
SET search_path = public;
SELECT summary_cache_get('path', true), summary_cache_get('path2', true);
CREATE TEMP TABLE a AS SELECT g AS id, g AS n FROM generate_series(1, 100) g;
SELECT summary_cache_get('path', true), summary_cache_get('path2', true);
SET search_path = pg_temp, regress_define, public;
SELECT summary_cache_define('path', 'core', 'SELECT count(*) AS n FROM a');
SELECT summary_cache_get('path', true);
SELECT sources FROM summary_cache.definition WHERE summary = 'path';
\c -
SELECT summary_cache_get('path', true), summary_cache_get('path2', true);

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_define, regress_define2 CASCADE;
DROP ROLE regress_define_member, regress_define_owner, regress_define_other, regress_define_reader, regress_define_monitor;
ALTER SYSTEM RESET summary_cache.worker_idle_timeout;
SELECT pg_reload_conf();
