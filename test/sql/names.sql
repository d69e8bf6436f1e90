-- Proves that DDL which can change no more than what names mean ends no hit, unless it does that for the section, or its owner may no longer read.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_names;
CREATE SCHEMA regress_names_first;
SET search_path = regress_names_first, regress_names, public;
\pset format unaligned
\pset tuples_only

CREATE ROLE regress_names_owner;
CREATE ROLE regress_names_other;
GRANT ALL ON SCHEMA regress_names, regress_names_first TO regress_names_owner;
CREATE TYPE regress_names.mood AS ENUM ('sad', 'glad');
CREATE TABLE regress_names.t (n int, m mood);
CREATE TABLE regress_names.elsewhere (n int, p point);
CREATE TABLE regress_names.parted (n int) PARTITION BY LIST (n);
CREATE TABLE regress_names.part1 (n int);
CREATE TABLE regress_names.tree (n int) PARTITION BY LIST (n);
CREATE TABLE regress_names.leaf1 PARTITION OF regress_names.tree FOR VALUES IN (1);
CREATE MATERIALIZED VIEW regress_names.report AS SELECT count(*) AS n FROM t;
CREATE MATERIALIZED VIEW regress_names.read AS SELECT count(*) AS n FROM t;
CREATE VIEW regress_names.v AS SELECT n, m FROM t;
CREATE FUNCTION regress_names.f(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n';
INSERT INTO t VALUES (1, 'sad'), (2, 'glad');
INSERT INTO elsewhere VALUES (7);
INSERT INTO leaf1 VALUES (1);
GRANT SELECT ON t, v, tree, elsewhere, report, read TO regress_names_owner;
ALTER TABLE t OWNER TO regress_names_owner;

-- by two parts; by one; rows of a table, of a view; with a view; a tree; a materialized view; a function of users; what shows rights
SELECT summary_cache_define('two', 'main', 'SELECT (SELECT sum(n) FROM t) AS sum, (SELECT json_agg(m ORDER BY n) FROM t) AS moods');
SELECT summary_cache_define('one', 'main', 'SELECT count(*) AS n, max(lower(m::text)) AS last, max(concat(n)) AS c FROM t');
SELECT summary_cache_define('rows', 'main', 'SELECT json_agg(t ORDER BY n) AS rows FROM t');
SELECT summary_cache_define('viewrows', 'main', 'SELECT json_agg(v ORDER BY n) AS rows FROM v');
SELECT summary_cache_define('view', 'main', 'SELECT sum(n) AS n FROM v');
SELECT summary_cache_define('tree', 'main', 'SELECT count(*) AS n FROM tree');
SELECT summary_cache_define('mat', 'main', 'SELECT r.n, (SELECT count(*) FROM t) AS m FROM read r');
SELECT summary_cache_define('open', 'main', 'SELECT f(count(*)::int) AS n FROM t');
SELECT summary_cache_define('rights', 'main', $$SELECT has_table_privilege('regress_names_other', 'regress_names.t', 'SELECT') AS may, count(*) AS n FROM t$$);
CREATE TEXT SEARCH CONFIGURATION regress_names.words (COPY = simple);
CREATE FUNCTION regress_names.int_hash(int, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT hashint4extended($1, $2)';
CREATE TYPE regress_names.grade AS ENUM ('bad', 'good');
CREATE FUNCTION regress_names.grade_cmp(grade, grade) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT enum_cmp($1, $2)';
CREATE OPERATOR CLASS regress_names.grade_ops DEFAULT FOR TYPE grade USING btree AS
    OPERATOR 1 < (anyenum, anyenum), OPERATOR 3 = (anyenum, anyenum), FUNCTION 1 grade_cmp(grade, grade);
CREATE OPERATOR CLASS regress_names.int_ops FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 2 int_hash(int, bigint);
CREATE TABLE regress_names.extra (c regconfig, g grade[]);
CREATE TABLE regress_names.hashed (n int) PARTITION BY HASH (n int_ops);
CREATE TABLE regress_names.hashed0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE regress_names.hashed1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO extra VALUES ('regress_names.words', '{bad}'), (NULL, '{good}');
INSERT INTO hashed SELECT generate_series(1, 10);
SELECT summary_cache_define('shown', 'main', 'SELECT json_agg(c) AS c FROM extra');
SELECT summary_cache_define('ordered', 'main', 'SELECT json_agg(g ORDER BY g) AS g FROM extra');
SELECT summary_cache_define('hashed', 'main', 'SELECT count(*) AS n FROM hashed WHERE n = 4');
SELECT summary_cache_define('given', 'main', 'SELECT count(*) AS n FROM t', '{}');
SELECT summary FROM (SELECT DISTINCT summary FROM summary_cache_sections OFFSET 0) s ORDER BY 1;

-- How all are answered after a command, beside those that are hits for which nothing was executed.
CREATE FUNCTION regress_names.after(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    s name;
    result text := '';
    answer record;
    n text;
    built boolean;
BEGIN
    FOR s IN SELECT DISTINCT summary FROM summary_cache_sections ORDER BY 1 LOOP
        SELECT * INTO answer FROM summary_cache_fetch(s);
        SELECT builds_miss + builds_inline + builds_background + builds_forced INTO n FROM summary_cache_stats WHERE summary = s;
        built := current_setting('regress_names.' || s, true) IS DISTINCT FROM n;
        PERFORM set_config('regress_names.' || s, n, false);
        IF answer.status <> 'hit-revision' OR built THEN
            result := result || format('%s%s: %s%s', CASE WHEN result <> '' THEN ', ' END, s, answer.status, CASE WHEN NOT built THEN ', not built' END);
        END IF;
    END LOOP;
    RETURN '        ' || result;
END $$;
SELECT after('nothing');
SELECT after('nothing');

--
-- What has to do with none but those whose meaning is not known: 'mat' reads what is not tracked, 'open' runs code,
-- 'rights' shows definitions, 'viewrows' has a type that can change without a source, 'shown' shows a name, 'ordered'
-- and 'hashed' call functions that no query names, 'given' reads what is not its source
--
CREATE TABLE regress_names.created (n int);
SELECT after('CREATE TABLE');
REFRESH MATERIALIZED VIEW report;
SELECT after('REFRESH MATERIALIZED VIEW');
GRANT SELECT ON elsewhere TO regress_names_other;
SELECT after('GRANT');
GRANT SELECT ON t TO regress_names_other;
SELECT after('GRANT on a source');
REVOKE SELECT ON t FROM regress_names_other;
SELECT after('REVOKE');
ALTER TABLE parted ATTACH PARTITION part1 FOR VALUES IN (1);
SELECT after('ATTACH PARTITION elsewhere');
CREATE TABLE regress_names.copied AS SELECT * FROM t;
SELECT after('CREATE TABLE AS');
CREATE VIEW regress_names.w AS SELECT n FROM t;
SELECT after('CREATE VIEW');
CREATE FUNCTION regress_names.g(n int) RETURNS int LANGUAGE sql AS 'SELECT n';
SELECT after('CREATE FUNCTION');
ALTER TABLE elsewhere ADD COLUMN more int;
SELECT after('ALTER TABLE elsewhere');
ALTER TABLE elsewhere RENAME TO renamed;
SELECT after('RENAME');
CREATE POLICY p ON renamed USING (true);
SELECT after('CREATE POLICY elsewhere');
CREATE SCHEMA regress_names_second CREATE TABLE inside (n int);
SELECT after('CREATE SCHEMA');
ALTER TABLE regress_names_second.inside SET SCHEMA regress_names;
SELECT after('SET SCHEMA');
CREATE SEQUENCE regress_names.counted;
SELECT after('CREATE SEQUENCE');
DROP TABLE created, copied, inside;
SELECT after('DROP TABLE');
DROP FUNCTION g(int);
SELECT after('DROP FUNCTION');
DROP VIEW w;
SELECT after('DROP VIEW');

--
-- A write beside such a command
--
CREATE TABLE regress_names.created (n int);
INSERT INTO t VALUES (3, 'glad');
SELECT after('INSERT');
SELECT summary_cache_get('two'), summary_cache_get('one');
BEGIN;
DELETE FROM t WHERE n = 3;
DROP TABLE created;
COMMIT;
SELECT after('DELETE and DROP TABLE');
SELECT summary_cache_get('two'), summary_cache_get('one');

--
-- What changes the meaning of a query
--
CREATE OR REPLACE VIEW regress_names.v AS SELECT n + 100 AS n, m FROM t;
SELECT after('CREATE OR REPLACE VIEW');
SELECT summary_cache_get('view');
-- a name is found in an earlier schema
CREATE TABLE regress_names_first.t AS SELECT 50 AS n, 'sad'::mood AS m;
GRANT SELECT ON regress_names_first.t TO regress_names_owner;
SELECT after('a table that takes the name of a source');
SELECT summary_cache_get('two'), summary_cache_get('one'), summary_cache_get('rows'), summary_cache_get('view');
DROP TABLE regress_names_first.t;
SELECT after('... and gives it back');
SELECT summary_cache_get('two'), summary_cache_get('one'), summary_cache_get('rows'), summary_cache_get('view');
CREATE FUNCTION regress_names.concat(int) RETURNS text LANGUAGE sql AS $$SELECT 'ours'$$;
SELECT after('a function that is called instead of one of PostgreSQL''s');
SELECT summary_cache_get('one');
DROP FUNCTION regress_names.concat(int);
SELECT after('... and is not any more');
SELECT summary_cache_get('one');
ALTER VIEW v SET (security_barrier = true);
SELECT after('an option of a view');
-- which has no known meaning either, but is answered
SELECT summary_cache_get('mat'), summary_cache_get('open'), summary_cache_get('rights');
REFRESH MATERIALIZED VIEW read;
SELECT after('REFRESH of what is read');

--
-- What changes a source, a type or PostgreSQL's own: everything is built
--
ALTER TABLE t ADD COLUMN more text DEFAULT 'x';
SELECT after('ALTER TABLE');
SELECT summary_cache_get('rows');
ALTER TABLE tree ALTER COLUMN n SET STATISTICS 10;
SELECT after('ALTER TABLE with a weaker lock');
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
SELECT after('ALTER TYPE');
SELECT summary_cache_get('two');
CREATE TABLE regress_names.leaf2 PARTITION OF tree FOR VALUES IN (2);
SELECT after('a new member of a tree');
DROP TABLE leaf1;
SELECT after('DROP of a member');
SELECT summary_cache_get('tree');
CREATE VIEW regress_names.below AS SELECT 1 AS n;
CREATE VIEW regress_names.above AS SELECT n FROM below;
SELECT after('CREATE VIEW');
DROP VIEW below CASCADE;
SELECT after('CASCADE');
DROP VIEW v CASCADE;
SELECT summary_cache_drop('view'), summary_cache_drop('viewrows');
SELECT after('summary_cache_drop');
ALTER TABLE t ALTER COLUMN n TYPE int USING n * 10;
SELECT after('ALTER TYPE of a column, to the same type');
SELECT summary_cache_get('two');
-- which is in the way of nothing when it is rolled back
BEGIN;
ALTER TABLE t ALTER COLUMN n TYPE int USING n * 10;
CREATE TABLE regress_names.created (n int);
ROLLBACK;
SELECT after('ROLLBACK');
BEGIN;
CREATE TABLE regress_names.created (n int);
SELECT status FROM summary_cache_fetch('two');
PREPARE TRANSACTION 'regress_names';
SELECT status FROM summary_cache_fetch('two');
COMMIT PREPARED 'regress_names';
SELECT after('COMMIT PREPARED');
-- what one of the two commands changes is not forgotten for the other
BEGIN;
ALTER TABLE t ALTER COLUMN n TYPE int USING n * 10;
DROP TABLE created;
COMMIT;
SELECT after('both');
SELECT summary_cache_get('two');
-- the table is known to be one's source by another definition of the same transaction
CREATE TABLE regress_names.late (n int);
SELECT after('CREATE TABLE');
BEGIN;
SELECT summary_cache_define('late', 'main', 'SELECT count(*) AS n FROM late');
ALTER TABLE late ADD COLUMN m int;
COMMIT;
SELECT after('define and ALTER TABLE');
SELECT summary_cache_drop('late');
SELECT after('summary_cache_drop');

-- functions
CREATE OR REPLACE FUNCTION regress_names.f(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n + 1';
SELECT after('CREATE OR REPLACE FUNCTION');
SELECT summary_cache_get('open');
SELECT after('nothing');
CREATE OR REPLACE FUNCTION regress_names.grade_cmp(grade, grade) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT -enum_cmp($1, $2)';
SELECT summary_cache_get('ordered');
CREATE OR REPLACE FUNCTION regress_names.int_hash(int, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT 1 + hashint4extended($1, $2)';
SELECT summary_cache_get('hashed');
ALTER FUNCTION f(int) COST 2;
SELECT after('ALTER FUNCTION');
GRANT EXECUTE ON FUNCTION f(int) TO regress_names_other;
SELECT after('GRANT on a function');
SELECT after('summary_cache_drop');
GRANT EXECUTE ON FUNCTION pg_catalog.lower(text) TO regress_names_other;
SELECT after('GRANT on a function of PostgreSQL''s');
REVOKE EXECUTE ON FUNCTION pg_catalog.lower(text) FROM regress_names_other;
SELECT after('REVOKE');
ALTER FUNCTION summary_cache_get(text, boolean, text[]) COST 2;
SELECT after('ALTER FUNCTION of ours');

--
-- The owner's rights, with which a query is run
--
GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_names_owner;
GRANT TRIGGER ON tree TO regress_names_owner;
SET ROLE regress_names_owner;
SELECT summary_cache_define('owned', 'main', 'SELECT count(*) AS n FROM t, tree');
RESET ROLE;
SELECT after('define');
REVOKE SELECT ON t FROM regress_names_other;
SELECT after('REVOKE of another''s right');
REVOKE SELECT ON tree FROM regress_names_owner;
SELECT status FROM summary_cache_fetch('owned');
SELECT summary_cache_get('owned', true);
GRANT SELECT ON tree TO regress_names_owner;
SELECT after('GRANT');
-- what the planner leaves out is no right that is needed
SET ROLE regress_names_owner;
SELECT summary_cache_define('owned', 'main', 'WITH unused AS (SELECT n FROM tree) SELECT count(*) AS n FROM t');
RESET ROLE;
SELECT after('define');
REVOKE SELECT ON tree FROM regress_names_owner;
SELECT after('REVOKE of a right that is not needed');
-- a schema is more than names
REVOKE USAGE ON SCHEMA regress_names FROM regress_names_owner;
SELECT status FROM summary_cache_fetch('owned');
SELECT summary_cache_get('owned', true);
GRANT USAGE ON SCHEMA regress_names TO regress_names_owner;
SELECT after('GRANT');

SELECT summary_cache_drop('owned');

--
-- A document's age is that of its execution
--
SET summary_cache.max_stale_age = 2;
SELECT summary_cache_get('given') IS NOT NULL;
INSERT INTO t VALUES (4);
DO $$
BEGIN
    FOR i IN 1 .. 6 LOOP
        PERFORM pg_sleep(0.5);
        EXECUTE 'CREATE TABLE regress_names.aging (n int); DROP TABLE regress_names.aging';
        COMMIT;
        PERFORM summary_cache_get('given');
        COMMIT;
    END LOOP;
END $$;
SELECT summary_cache_get('given')::jsonb->>'n' = count(*)::text FROM t;
SELECT status FROM summary_cache_fetch('two');
-- (which has no known meaning; and one that has)
DO $$
BEGIN
    FOR i IN 1 .. 6 LOOP
        PERFORM pg_sleep(0.5);
        EXECUTE 'CREATE TABLE regress_names.aging (n int); DROP TABLE regress_names.aging';
        COMMIT;
        PERFORM summary_cache_get('two');
        COMMIT;
    END LOOP;
END $$;
SELECT now() - built_at < interval '3 s' FROM summary_cache_fetch('two');
RESET summary_cache.max_stale_age;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_names, regress_names_first, regress_names_second CASCADE;
DROP OWNED BY regress_names_owner, regress_names_other;
DROP ROLE regress_names_owner, regress_names_other;
