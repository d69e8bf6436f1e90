-- Proves that of a section whose columns are independent only those are built again that have changed, and that the document is what its queries give.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_parts;
SET search_path = regress_parts, public;
\pset format unaligned
\pset tuples_only
\pset null '(null)'

CREATE TABLE a (n int);
CREATE TABLE b (n int);
CREATE TABLE c (n int);
CREATE TABLE p (k int, n int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
CREATE TABLE parent (n int);
CREATE TABLE child (m int) INHERITS (parent);
CREATE VIEW v AS SELECT n FROM b;
INSERT INTO a VALUES (1);
INSERT INTO b VALUES (1), (2);
INSERT INTO c VALUES (1), (2), (3);
INSERT INTO p VALUES (1, 1), (2, 2);
INSERT INTO child VALUES (1, 1);

-- which parts were built since the last time: all at first
CREATE TABLE seen (summary name, section name, part int, built_at timestamptz);
CREATE FUNCTION built(which text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    status text;
    keys text;
BEGIN
    SELECT f.status INTO status FROM summary_cache_fetch(which) f;
    SELECT string_agg(v.keys[1], ' ' ORDER BY v.section, v.part) INTO keys FROM summary_cache_parts v
        LEFT JOIN seen s USING (summary, section, part)
        WHERE v.summary = which AND v.built_at IS DISTINCT FROM s.built_at;
    DELETE FROM seen s WHERE s.summary = which;
    INSERT INTO seen SELECT v.summary, v.section, v.part, v.built_at FROM summary_cache_parts v WHERE v.summary = which;
    RETURN status || ': ' || coalesce(keys, 'nothing');
END $$;
-- the document, and what the queries of its sections give, executed as they were written
CREATE FUNCTION is_true(which text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    truth text := '';
    d record;
    one json;
BEGIN
    FOR d IN SELECT query FROM summary_cache.definition WHERE summary = which ORDER BY position LOOP
        EXECUTE 'SELECT row_to_json(q) FROM (' || d.query || E'\n) q' INTO one;
        truth := truth || ',' || substr(one::text, 2, length(one::text) - 2);
    END LOOP;
    RETURN summary_cache_get(which)::text = '{' || substr(truth, 2) || '}';
END $$;
CREATE FUNCTION quiet() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        IF NOT EXISTS (SELECT FROM summary_cache_stats WHERE refresh_requested) AND
            NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'summary_cache worker') THEN
            RETURN 'quiet';
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN 'not quiet';
END $$;
ALTER SYSTEM SET summary_cache.worker_idle_timeout = 0;
SELECT pg_reload_conf();

--
-- What is built
--
SELECT summary_cache_define('s', 'main', $$SELECT
    (SELECT count(*) FROM a) AS a, -- the first, of course
    (SELECT json_agg(n ORDER BY n) FROM v) AS b,
    'constant, with commas' AS k,
    (SELECT sum(n) FROM c) + (SELECT count(*) FROM a) AS ca, (SELECT count(*) FROM p) AS p,
    (SELECT sum(n) FROM parent) AS t$$);
SELECT parts, state FROM summary_cache_sections WHERE summary = 's';
SELECT part, keys, state, query FROM summary_cache_parts WHERE summary = 's' ORDER BY part;
SELECT built('s'), is_true('s');
SELECT part, keys, state, sources, bytes FROM summary_cache_parts WHERE summary = 's' ORDER BY part;
SELECT state, parts, bytes = (SELECT sum(bytes) + 5 FROM summary_cache_parts WHERE summary = 's') AS sum FROM summary_cache_sections WHERE summary = 's';
SELECT built('s');
INSERT INTO a VALUES (2);
SELECT built('s'), is_true('s');
INSERT INTO b VALUES (3);
SELECT built('s'), is_true('s');
INSERT INTO c VALUES (3);
SELECT built('s'), is_true('s');
INSERT INTO p VALUES (2, 3);
SELECT built('s'), is_true('s');
INSERT INTO child VALUES (3);
SELECT built('s'), is_true('s');
BEGIN;
INSERT INTO a VALUES (3);
INSERT INTO b VALUES (4);
COMMIT;
SELECT built('s'), is_true('s');
-- DDL concerns all of them, if it may change more than names
CREATE TYPE other AS ENUM ();
SELECT built('s'), is_true('s');

-- the other parts stay as they are: their bytes, their fingerprints and their hash
CREATE TEMP TABLE before AS SELECT part, fingerprint, build_ms, built_at FROM summary_cache_parts WHERE summary = 's';
SELECT etag FROM summary_cache_fetch('s') \gset
INSERT INTO a VALUES (4);
DELETE FROM a WHERE n = 4;
SELECT built('s');
SELECT etag = :'etag' AS same_etag FROM summary_cache_fetch('s');
SELECT part, v.fingerprint = b.fingerprint AS fingerprint, v.built_at = b.built_at AS built FROM summary_cache_parts v JOIN before b USING (part) WHERE summary = 's' ORDER BY part;
SELECT builds_wasted > 0 AS wasted FROM summary_cache_stats WHERE summary = 's';

-- who builds for itself gets the same bytes and the same etag
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, etag = :'etag' AS same_etag FROM summary_cache_fetch('s');
COMMIT;
SET summary_cache.enabled = off;
SELECT status, etag = :'etag' AS same_etag FROM summary_cache_fetch('s');
RESET summary_cache.enabled;
BEGIN;
INSERT INTO a VALUES (5);
SELECT status, etag = :'etag' AS same_etag, (document ->> 'a')::int = (SELECT count(*) FROM a) AS own FROM summary_cache_fetch('s');
ROLLBACK;
SELECT built('s');
-- REPEATABLE READ: nothing in the document is newer than its snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status FROM summary_cache_fetch('s');
COMMIT;

-- the whole at once: forced, invalidated
SELECT status FROM summary_cache_fetch('s', force_refresh => true);
SELECT built('s');
SELECT summary_cache_invalidate('s', 'main');
SELECT built('s'), is_true('s');

--
-- Inline sections
--
SELECT summary_cache_define('i', 'main', 'SELECT (SELECT count(*) FROM b) AS b, (SELECT count(*) FROM c) AS c');
SELECT summary_cache_define('i', 'progress', 'SELECT (SELECT count(*) FROM a) AS a, (SELECT max(n) FROM p) AS p', refresh => 'inline');
SELECT built('i'), is_true('i');
INSERT INTO a VALUES (6);
SELECT built('i'), is_true('i');
INSERT INTO p VALUES (1, 9);
SELECT built('i'), is_true('i');
SELECT summary_cache_invalidate('i', 'progress');
SELECT built('i'), is_true('i');
-- stale in the background, and what is inline is not
SET summary_cache.read_your_writes = off;
BEGIN;
INSERT INTO a VALUES (7);
INSERT INTO b VALUES (7);
COMMIT;
SELECT status, (document ->> 'a')::int = (SELECT count(*) FROM a) AS a FROM summary_cache_fetch('i');
RESET summary_cache.read_your_writes;
SELECT quiet();
SELECT is_true('i');
SELECT built('i');

--
-- What is one part, and why
--
CREATE FUNCTION opaque() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION shape() RETURNS text LANGUAGE sql AS $$
    SELECT is_true('shape') || ': ' || (SELECT parts || ' ' || state FROM summary_cache_sections WHERE summary = 'shape')
$$;
-- each is defined, and then, in another transaction, built by whoever may
SELECT format('SELECT summary_cache_define(''shape'', ''main'', %L)', q), 'SELECT shape()' FROM unnest(ARRAY[
    'SELECT 1 AS x',
    'SELECT 1 AS x, 2 AS y',
    'SELECT ALL 1 AS x, 2 AS y',
    'SELECT 1 x, 2 "y,", $q$,$q$ z, E''\'','' AS "as" -- , ',
    E'SELECT 1 AS x -- one, two\n, /* three, */ 2 AS y, -- four, five\n 3 AS z',
    'SELECT (1) AS x, ((2)) AS y, array[1,2] AS z, row(1,2) AS r, coalesce(1,2) AS c',
    'SELECT CASE WHEN true THEN 1 ELSE 2 END AS x, CAST(1 AS text) AS y, EXISTS (SELECT FROM a) AS z',
    'SELECT (SELECT count(*) FROM a) AS x, (SELECT count(*) FROM a) AS y',
    'SELECT count(*) AS x, sum(1) OVER () AS y, 3 AS z',
    '(SELECT 1 AS x, 2 AS y)',
    'SELECT 1 AS x, 2 AS y FROM a LIMIT 1',
    'SELECT 1 AS x, 2 AS y LIMIT 1',
    'SELECT 1 AS x, 2 AS y WHERE true',
    'SELECT 1 AS x, 2 AS y ORDER BY 1',
    'SELECT DISTINCT 1 AS x, 2 AS y',
    'SELECT 1 AS x, 2 AS y UNION SELECT 1, 2',
    'SELECT 1 AS x, 2 AS y GROUP BY ()',
    'SELECT 1 AS x, 2 AS y HAVING true',
    'VALUES (1, 2)',
    'SELECT (row_to_json(row(1, 2))), (a.a).* FROM (SELECT row(3, 4)::p AS a) a',
    'SELECT 1 AS x, (row(3, 4)::p).*',
    -- sets: the longest decides
    'SELECT generate_series(1, 1) AS x, 2 AS y',
    'SELECT generate_series(1, 1) AS x, generate_series(1, 0) AS y',
    -- what depends on more, or is not PostgreSQL's own
    'SELECT opaque() AS x, 2 AS y',
    'SELECT 1 AS x, (SELECT opaque()) AS y, 3 AS z',
    'SELECT now() IS NULL AS x, 2 AS y',
    'SELECT current_setting(''regress.x'', true) AS x, 2 AS y',
    'SELECT date ''today'' IS NULL AS x, 2 AS y',
    'SELECT summary_cache_get(''s'') IS NULL AS x, 2 AS y',
    -- WITH
    'WITH w AS (SELECT count(*) AS n FROM a) SELECT (SELECT n FROM w) AS x, 2 AS y',
    'WITH w AS (SELECT count(*) AS n FROM a) SELECT (SELECT n FROM w) AS x, (SELECT n FROM w) AS y',
    'WITH w AS (SELECT count(*) AS n FROM a) SELECT 1 AS x, 2 AS y',
    'WITH u AS (SELECT n FROM a), w AS MATERIALIZED (SELECT count(*) AS n FROM u), o AS (SELECT 3 AS n) SELECT (SELECT n FROM w) AS x, (SELECT n FROM o) AS y',
    'WITH RECURSIVE w(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM w WHERE n < 5), u AS (SELECT 1 AS n) SELECT (SELECT sum(n) FROM w) AS x, (SELECT n FROM u) AS y',
    'WITH u AS (SELECT n FROM a), w AS (SELECT count(*) AS n FROM u) SELECT (SELECT n FROM w) AS x, (SELECT max(n) FROM u) AS y',
    E'WITH u AS (SELECT 1 AS n) -- one,\n, w AS (SELECT 2 AS n /* two, */) -- three\nSELECT (SELECT n FROM u) AS x, (SELECT n FROM w) AS y'
    ]) WITH ORDINALITY AS t (q, i) ORDER BY i \gexec
SELECT query FROM summary_cache_parts WHERE summary = 'shape';
-- columns of one name are an error of the whole
SELECT summary_cache_define('shape', 'main', 'SELECT 1 AS x, 2 AS x');
-- not more than 100
SELECT 'SELECT ' || string_agg(format('%s AS k%s', g, g), ', ') AS hundred FROM generate_series(1, 100) g \gset
SELECT summary_cache_define('shape', 'main', :'hundred');
SELECT shape();
SELECT summary_cache_define('shape', 'main', :'hundred' || ', 101 AS k101');
SELECT shape();
-- whatever the session's settings are
SET standard_conforming_strings = off;
SET escape_string_warning = on;
SET client_min_messages = notice;
SELECT summary_cache_define('shape', 'main', E'SELECT ''\\'' AS x, '','' AS y, 3 AS "a name that is much longer than what a name of PostgreSQL can be, so that it is cut"');
SELECT document FROM summary_cache_fetch('shape');
SELECT part, keys, query FROM summary_cache_parts WHERE summary = 'shape' ORDER BY part;
RESET standard_conforming_strings;
RESET escape_string_warning;
SET client_min_messages = warning;
SELECT shape();
-- a view that comes to be more than it was, and less again
CREATE VIEW plain AS SELECT 1 AS x;
SELECT summary_cache_define('shape', 'main', 'SELECT (SELECT x FROM plain) AS x, 2 AS y');
SELECT shape();
CREATE OR REPLACE VIEW plain AS SELECT opaque() AS x;
SELECT shape();
CREATE OR REPLACE VIEW plain AS SELECT 2 AS x;
SELECT shape();

--
-- Sources that were given
--
-- one that the query does not read counts for all parts
SELECT summary_cache_define('g', 'main', 'SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b', '{a,b,c}');
SELECT built('g');
INSERT INTO a VALUES (8);
SELECT built('g');
INSERT INTO c VALUES (8);
SELECT built('g'), is_true('g');
SELECT keys, sources FROM summary_cache_parts WHERE summary = 'g' ORDER BY part;
-- a part that reads what is no source has all of them
SELECT summary_cache_define('g', 'main', 'SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b, (SELECT count(*) FROM c) AS c', '{a,c}');
SELECT built('g');
INSERT INTO a VALUES (9);
INSERT INTO b VALUES (9);
SELECT built('g'), is_true('g');
SELECT keys, sources FROM summary_cache_parts WHERE summary = 'g' ORDER BY part;
-- a partition by itself has the word of its tree; what inherits has its own
SELECT summary_cache_define('g', 'main', 'SELECT (SELECT count(*) FROM p1) AS one, (SELECT count(*) FROM p2) AS two, (SELECT count(*) FROM ONLY parent) AS parent, (SELECT count(*) FROM child) AS child, (SELECT count(*) FROM c) AS c');
SELECT built('g');
INSERT INTO p VALUES (1, 5);
SELECT built('g'), is_true('g');
INSERT INTO child VALUES (5, 5);
SELECT built('g'), is_true('g');
INSERT INTO parent VALUES (5);
SELECT built('g'), is_true('g');
UPDATE parent SET n = n + 1;
SELECT built('g'), is_true('g');

--
-- What cannot be proven
--
SELECT built('s');
ALTER TABLE b DISABLE TRIGGER ALL;
SELECT built('s');
SELECT keys, state FROM summary_cache_parts WHERE summary = 's' ORDER BY part;
SELECT state, reason FROM summary_cache_sections WHERE summary = 's';
INSERT INTO b VALUES (10);
SELECT summary_cache_get('s', true)::text <> '' AS forced;
SELECT is_true('s');
ALTER TABLE b ENABLE TRIGGER ALL;
SELECT summary_cache_get('s', true)::text <> '' AS forced;
SELECT built('s'), is_true('s');
SELECT DISTINCT state FROM summary_cache_parts WHERE summary = 's';

--
-- Another definition, and what follows a rename
--
SELECT summary_cache_define('s', 'main', 'SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b');
SELECT built('s'), is_true('s');
INSERT INTO b VALUES (11);
SELECT built('s'), is_true('s');
ALTER TABLE a RENAME TO renamed;
SELECT built('s'), is_true('s');
SELECT query FROM summary_cache_parts WHERE summary = 's' ORDER BY part;
INSERT INTO renamed VALUES (12);
SELECT built('s'), is_true('s');
ALTER TABLE renamed RENAME TO a;
-- an error in a part is the section's
SELECT summary_cache_define('e', 'main', 'SELECT (SELECT count(*) FROM a) AS a, (SELECT 1 / (count(*) - 13) FROM c) AS c');
SELECT built('e');
INSERT INTO c SELECT g FROM generate_series(1, 13 - (SELECT count(*) FROM c)) g;
SELECT status, document FROM summary_cache_fetch('e');
SELECT keys, state FROM summary_cache_parts WHERE summary = 'e' ORDER BY part;
DELETE FROM c WHERE n = 13;
SELECT summary_cache_drop('e');

--
-- Who sees what
--
CREATE ROLE regress_parts_reader;
CREATE ROLE regress_parts_owner;
GRANT USAGE ON SCHEMA regress_parts TO regress_parts_reader;
SET ROLE regress_parts_reader;
SELECT count(*) FROM summary_cache_parts;
RESET ROLE;
GRANT SELECT ON summary_cache_parts TO regress_parts_reader;
SET ROLE regress_parts_reader;
SELECT keys, query FROM summary_cache_parts WHERE summary = 's';
RESET ROLE;
SELECT summary_cache_configure('s', 'readers', 'regress_parts_owner');
SET ROLE regress_parts_reader;
SELECT count(*) FROM summary_cache_parts WHERE summary = 's';
RESET ROLE;
SELECT count(*) FROM summary_cache_parts WHERE summary = 's';

REVOKE ALL ON summary_cache_parts FROM regress_parts_reader;
REVOKE ALL ON SCHEMA regress_parts FROM regress_parts_reader;
SELECT summary_cache_configure('s', 'readers', NULL);
DROP ROLE regress_parts_reader, regress_parts_owner;
ALTER SYSTEM RESET summary_cache.worker_idle_timeout;
SELECT pg_reload_conf();
DROP EXTENSION summary_cache;
DROP SCHEMA regress_parts CASCADE;
