-- Proves which encodings of documents can be asked for, and that whatever is asked, the answer is the document or a form of it.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_encodings;
SET search_path = regress_encodings, public;
\pset format unaligned
\pset tuples_only
\pset null '(null)'

CREATE TABLE task (id int PRIMARY KEY);
INSERT INTO task VALUES (1);
SELECT summary_cache_define('s', 'core', $$SELECT count(*) AS n, repeat('long ', 1000) AS more FROM task$$);

--
-- The option
--
CREATE FUNCTION configure(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    PERFORM summary_cache_configure('s', 'encodings', value);
    RETURN 'done: ' || (SELECT o.value FROM summary_cache.option o WHERE summary = 's' AND option = 'encodings');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, hint);
END $$;
SELECT format('%-12s ', quote_literal(v)) || configure(v)
FROM unnest(ARRAY['gzip', ' gzip , zstd ', 'zstd:19,gzip:9', 'gzip:1']) WITH ORDINALITY AS u (v, n) ORDER BY n;
SELECT format('%-12s ', quote_literal(v)) || configure(v)
FROM unnest(ARRAY['', ',', 'gzip,', 'br', 'GZIP', 'gzip:', 'gzip:0', 'gzip:10', 'gzip:-1', 'gzip:1.5', 'gzip: 6', 'gzip:6:7', 'gzip:006',
    'zstd:20', 'gzip, gzip', 'gzip zstd', 'identity', 'deflate', 'on']) WITH ORDINALITY AS u (v, n) ORDER BY n;
-- what has failed has changed nothing
SELECT * FROM summary_cache.option;
SELECT summary_cache_configure('s', 'encodings', NULL);
SELECT count(*) FROM summary_cache.option;

--
-- The answer: without the option, or without a form yet, the document
--
SELECT status FROM summary_cache_fetch('s');
CREATE VIEW plain AS SELECT status, etag, document::text AS document FROM summary_cache_fetch('s');
CREATE FUNCTION answer(encodings text, known text DEFAULT NULL, OUT status text, OUT etag text, OUT encoding text, OUT body text, OUT stale boolean)
LANGUAGE sql AS $$
    SELECT e.status, replace(e.etag, p.etag, 'ETAG'), e.encoding, CASE WHEN convert_from(e.body, 'UTF8') = p.document THEN 'the document' ELSE e.body::text END,
        e.stale_since IS NOT NULL
    FROM plain p, public.summary_cache_fetch_encoded('s', encodings, replace(known, 'ETAG', p.etag)) e
$$;
SELECT * FROM answer('gzip');
SELECT * FROM answer('zstd, gzip');
SELECT * FROM answer('gzip,gzip,identity');
SELECT * FROM answer('');
SELECT * FROM answer(NULL);
SELECT (answer('gzip', known)).*, known
FROM unnest(ARRAY['ETAG', 'ETAG-gzip', 'x,ETAG', '*', 'ETAG-zstd', 'ETAG-', 'ETAG-gzip-', 'ETAGx', 'xETAG', 'x', '', ' ETAG-gzip ']) WITH ORDINALITY AS u (known, n)
ORDER BY n;
-- defaults, and arguments by name
SELECT status, encoding FROM summary_cache_fetch_encoded(summary => 's');
SELECT status, encoding, body IS NULL AS known FROM summary_cache_fetch_encoded('s', if_none_match => (SELECT etag FROM plain));
SELECT status FROM summary_cache_fetch_encoded('s', force_refresh => true);
-- a form's etag is none of the document's
SELECT document IS NULL AS known FROM summary_cache_fetch('s', (SELECT etag || '-gzip' FROM plain));
-- in a transaction that has written
BEGIN;
INSERT INTO task VALUES (2);
SELECT status, encoding, convert_from(body, 'UTF8') LIKE '{"n":2,%' AS own FROM summary_cache_fetch_encoded('s');
ROLLBACK;

SELECT summary_cache_fetch_encoded('s', 'gzip, deflate');
SELECT summary_cache_fetch_encoded('none');
SELECT summary_cache_fetch_encoded(NULL);

-- columns of the type
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'summary_cache_encoded_answer'::regclass ORDER BY attnum;
SELECT summary_cache_drop('s');
SELECT count(*) FROM summary_cache.option;

DROP VIEW plain;
DROP EXTENSION summary_cache;
DROP SCHEMA regress_encodings CASCADE;
