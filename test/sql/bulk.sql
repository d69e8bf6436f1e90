-- Proves that COPY and TRUNCATE make the transaction's reads private while they run, and after that only the reads of what they wrote.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_bulk;
SET search_path = regress_bulk, public;
\pset format unaligned
\pset tuples_only

CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE refers (id int REFERENCES t);
CREATE TABLE part (id int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE u (id int);
CREATE TABLE untracked (id int);
SELECT summary_cache_define(s, 'core', format('SELECT count(*) AS n FROM %I', s)) FROM unnest('{t,refers,part,u}'::text[]) s;
CREATE FUNCTION look() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(s || ' ' || f.status || ' ' || f.document, ', ' ORDER BY s) FROM unnest('{t,refers,part,u}'::text[]) s, summary_cache_fetch(s) f
$$;
CREATE FUNCTION build() RETURNS void LANGUAGE sql AS $$
    SELECT summary_cache_get(s, true) FROM unnest('{t,refers,part,u}'::text[]) s
$$;
SELECT build();
SELECT look();

BEGIN;
COPY t FROM STDIN;
1
2
\.
SELECT look();
COPY refers FROM STDIN;
1
\.
SELECT look();
COMMIT;
SELECT build();
BEGIN;
COPY part FROM STDIN;
1
\.
SELECT look();
ROLLBACK;
BEGIN;
COPY part1 FROM STDIN;
1
\.
SELECT look();
ROLLBACK;
BEGIN;
TRUNCATE part1;
SELECT look();
ROLLBACK;
BEGIN;
TRUNCATE t CASCADE;
SELECT look();
ROLLBACK;
BEGIN;
TRUNCATE untracked CASCADE;
COPY untracked FROM STDIN;
1
\.
SELECT look();
ROLLBACK;

-- into a view, by a trigger
CREATE VIEW v AS SELECT id FROM t;
CREATE FUNCTION insert_it() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    INSERT INTO t VALUES (NEW.id);
    RETURN NEW;
END$$;
CREATE TRIGGER insert_it INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION insert_it();
SELECT build();
BEGIN;
COPY v FROM STDIN;
3
\.
SELECT look();
ROLLBACK;

--
-- While it runs; and another one in the middle of it, which ends before it does, or fails
--
CREATE FUNCTION in_the_middle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    TRUNCATE part;
    RAISE NOTICE 'in the middle: %', look();
    BEGIN
        TRUNCATE part, no_such_table;
    EXCEPTION WHEN undefined_table THEN
        RAISE NOTICE 'after an error: %', look();
    END;
    RETURN NEW;
END$$;
CREATE TRIGGER in_the_middle BEFORE INSERT ON u FOR EACH ROW EXECUTE FUNCTION in_the_middle();
CREATE FUNCTION at_the_end() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    RAISE NOTICE 'at the end: %', look();
    RETURN NULL;
END$$;
CREATE TRIGGER a_at_the_end AFTER INSERT ON u EXECUTE FUNCTION at_the_end();
SET client_min_messages = notice;
SELECT build();
BEGIN;
COPY u FROM STDIN;
1
\.
SELECT look();
ROLLBACK;
SELECT look();

-- one that failed: nothing of it is left but its marks
BEGIN;
SAVEPOINT s;
COPY t FROM STDIN;
9
none
\.
ROLLBACK TO s;
SELECT look();
COPY untracked FROM STDIN;
1
\.
SELECT look();
COMMIT;
SELECT look();

SET client_min_messages = warning;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_bulk CASCADE;
