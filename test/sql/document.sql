-- Proves that a document's values are byte for byte what PostgreSQL prints, whoever asks, and that the same bytes have the same etag.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_document;
SET search_path = regress_document, public;
\pset format unaligned
\pset tuples_only
\pset null '(null)'

CREATE DOMAIN raw AS json;
CREATE DOMAIN rawer AS raw;
CREATE DOMAIN rawb AS jsonb;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN moment AS timestamptz;
CREATE TYPE mood AS ENUM ('happy', 'not "so" happy');
CREATE TYPE pair AS (a int, "b c" json);
-- a type that says itself what it is in JSON
CREATE TYPE grade AS ENUM ('low', 'high');
CREATE FUNCTION grade_to_json(g grade) RETURNS json LANGUAGE sql IMMUTABLE
    RETURN json_build_object('grade', g::text);
CREATE CAST (grade AS json) WITH FUNCTION grade_to_json(grade);

--
-- Values
--
CREATE TABLE val (
    -- json is text, and stays it
    j_space json, j_dup json, j_big json,
    j_huge json, j_tiny json, j_negative_zero json, j_exponent json,
    j_digits json,
    j_nul json, j_nul_key json, j_escapes json, j_surrogates json,
    j_scalar json, j_string json, j_null json, j_true json,
    j_deep json, j_deep_objects json, j_empty_key json,
    -- jsonb is normalised, by PostgreSQL alone
    b_dup jsonb, b_big jsonb, b_huge jsonb, b_digits jsonb,
    b_negative_zero jsonb, b_deep jsonb, b_null jsonb,
    d_raw raw, d_rawer rawer, d_rawb rawb, d_positive positive, d_moment moment,
    a_json json[], a_jsonb jsonb[], a_domain raw[],
    a_null int[], a_empty int[], a_two int[], a_text text[],
    r_pair pair, r_null pair, e_grade grade, e_grades grade[],
    t_empty text, t_escapes text,
    t_wide text, t_controls text, t_like_json text,
    t_char char(5), t_name name, t_bit bit(3), t_null text,
    bool_true bool, bool_false bool, bool_null bool,
    n_big bigint, n_small smallint, n_numeric numeric, n_scale numeric(10, 4),
    n_nan numeric, n_infinity numeric, n_minus_infinity numeric, n_many numeric,
    f_tenth float8, f_third float8, f_real real, f_nan float8, f_infinity float8, f_negative_zero float8,
    f_max float8, f_min float8,
    e_mood mood, by bytea, money money, u uuid, i inet, p point,
    range int4range, mrange int4multirange, vector tsvector,
    ts timestamp, tstz timestamptz, tstz_infinity timestamptz, tstz_bc timestamptz,
    ts_micro timestamp, date date, "time" time, timetz timetz,
    span interval, oid oid, class regclass);
INSERT INTO val VALUES (
    E' { "a" :\t[ 1 ,2 ]\r\n,  "b":{ } } ', '{"a": 1, "a": 2, "b": {"a": 1, "a": 1}}',
    '[9223372036854775807, 9223372036854775808, 18446744073709551616, -99999999999999999999999999]',
    '1e400', '1e-400', '[-0, -0.0, 0]', '[1E5, 1e+5, 1.0e05, 100000]',
    '[1.10, 1.100, 0.1000000000000000055511151231257827021181583404541015625]',
    '"a\u0000b"', '{"a\u0000b": 1, "a\u0000c": 2}', '"\u00e4\/\/\"\\\b\f\n\r\t"', '"\ud83d\ude00 😀"',
    '1', '"string"', 'null', 'true',
    (repeat('[', 200) || '1' || repeat(']', 200))::json, (repeat('{"a": ', 200) || '1' || repeat('}', 200))::json, '{"": 1}',
    '{"b": 1, "a": 1, "a": 2}', '[9223372036854775808, -99999999999999999999999999]', '1e400', '[1.10, 1.100, 1E5]',
    '-0.0', (repeat('[', 200) || '1' || repeat(']', 200))::jsonb, 'null',
    ' {"a":  1} ', ' {"a":  2,"a" :3} ', ' {"a":  3} ', 7, '2026-01-01 00:00+00',
    ARRAY['{"a":  1}', NULL, ' null ']::json[], ARRAY['{"a":  1}', NULL]::jsonb[], ARRAY[' 1 ']::raw[],
    '{1,NULL}', '{}', '{{1,2},{3,4}}', '{"a,b",NULL,"NULL","\""}',
    (1, ' {"a":  1e400} '), NULL, 'high', '{high,NULL}',
    '', E'quote " backslash \\ slash / tag </script> & apostrophe ''',
    'äöü ß 漢字 😀 ' || chr(8232) || chr(65279) || chr(127), E'\x01\x02\b\t\n\x0b\f\r\x1b\x1f', '{"not": "json"}',
    'ab', 'ab', '101', NULL,
    true, false, NULL,
    9223372036854775807, -32768, 1.10, 1.10,
    'NaN', 'Infinity', '-Infinity', 1e400,
    0.1, 1::float8 / 3, 0.1, 'NaN', '-Infinity', '-0',
    1.7976931348623157e308, 4.9406564584124654e-324,
    'not "so" happy', '\x00ff10', 1234.5, '00000000-0000-0000-0000-0000000000ab', '::1/128', '(0.1,-2)',
    '[1,5)', '{[1,2),[5,6)}', 'cat:1A rat:2',
    '2026-07-01 12:34:56', '2026-07-01 12:34:56+02', 'infinity', '0044-03-15 12:00:00+00 BC',
    '2026-07-01 12:34:56.123456', '2026-07-01', '12:34:56', '12:34:56+05:30',
    '1 year 2 months 3 days -04:05:06.7', 4294967295, 'val');
SELECT summary_cache_define('val', 'core', 'SELECT * FROM val');

-- What PostgreSQL prints, put together by PostgreSQL.
CREATE FUNCTION printed(tab regclass) RETURNS text LANGUAGE plpgsql
    SET TimeZone = 'UTC' SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET extra_float_digits = 1
    SET bytea_output = 'hex' SET lc_monetary = 'C' AS $$
DECLARE
    att record;
    value text;
    members text[];
BEGIN
    FOR att IN SELECT attname::text AS name, atttypid::regtype AS type FROM pg_attribute
        WHERE attrelid = tab AND attnum > 0 AND NOT attisdropped ORDER BY attnum LOOP
        EXECUTE format(CASE WHEN att.type::text = ANY ('{json,jsonb,raw,rawer,rawb}') THEN 'SELECT %I::text FROM %s'
            ELSE 'SELECT to_json(%I)::text FROM %s' END, att.name, tab) INTO STRICT value;
        members := members || (to_json(att.name)::text || ':' || coalesce(value, 'null'));
    END LOOP;
    RETURN '{' || array_to_string(members, ',') || '}';
END $$;
SELECT status, document::text = printed('val') AS identical FROM summary_cache_fetch('val');
SELECT status, document::text = printed('val') AS identical FROM summary_cache_fetch('val');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, document::text = printed('val') AS identical FROM summary_cache_fetch('val');
COMMIT;
SELECT (summary_cache_get('val')::text)::json IS NOT NULL AS is_json;
-- to look at; PostgreSQL takes no json with \u0000 apart
SELECT substring(summary_cache_get('val')::text FROM '"j_nul":.*,"j_escapes"');
UPDATE val SET j_nul = NULL, j_nul_key = NULL;
SELECT document::text = printed('val') AS identical FROM summary_cache_fetch('val');
SELECT key, value FROM json_each(summary_cache_get('val')) WHERE length(value::text) < 200 AND key <> 'j_space';
SELECT value::text = E'{ "a" :\t[ 1 ,2 ]\r\n,  "b":{ } }' FROM json_each(summary_cache_get('val')) WHERE key = 'j_space';
SELECT value::text = repeat('[', 200) || '1' || repeat(']', 200) FROM json_each(summary_cache_get('val')) WHERE key = 'j_deep';
SELECT value::text = repeat('{"a": ', 200) || '1' || repeat('}', 200) FROM json_each(summary_cache_get('val')) WHERE key = 'j_deep_objects';
SELECT value::text = '1' || repeat('0', 400) FROM json_each(summary_cache_get('val')) WHERE key IN ('b_huge', 'n_many');
-- null
UPDATE val SET b_dup = NULL, d_rawer = NULL, d_moment = NULL, a_json = NULL, e_mood = NULL, tstz = NULL, n_nan = NULL, by = NULL;
SELECT document::text = printed('val') AS identical FROM summary_cache_fetch('val');

--
-- Keys
--
CREATE TABLE keys (
    "quo""te" int, "back\slash" int, "sla/sh" int, U&"tab\0009" int, U&"line\000A\000Dend" int, U&"control\0001\001F\007F" int,
    "ünï 漢字 😀" int, " " int, "1" int, "{}[],:" int, "?column?" int, "Case" int, "case" int, "</script>&'" int,
    "null" int, "a.b" int, "a\u0000b" int,
    "exactly_sixty_three_bytes_long_so_that_nothing_of_it_is_cut_off" int);
INSERT INTO keys VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18);
SELECT summary_cache_define('keys', 'core', 'SELECT * FROM keys');
SELECT summary_cache_get('keys')::text = printed('keys') AS identical;
SELECT summary_cache_get('keys');
SELECT count(*) FROM json_each(summary_cache_get('keys'));

--
-- A large document
--
CREATE TABLE large (t text, j json);
INSERT INTO large SELECT string_agg(md5(g::text), ' "' ORDER BY g), NULL FROM generate_series(1, 75000) g;
UPDATE large SET j = json_build_array(t);
SELECT summary_cache_define('large', 'core', 'SELECT * FROM large');
SELECT status, octet_length(document::text) > 5 * 1024 * 1024 AS large,
    octet_length(document::text) = octet_length(printed('large')) AS same_length,
    md5(document::text) = md5(printed('large')) AS identical FROM summary_cache_fetch('large');
SELECT status, md5(document::text) = md5(printed('large')) AS identical FROM summary_cache_fetch('large');
SELECT bytes = octet_length(printed('large')) AS right_size FROM summary_cache_stats WHERE summary = 'large';

-- strings are printed in pieces of 64 KB; what is at a border, and what is one piece or none
CREATE DOMAIN words AS varchar;
CREATE TABLE strings (one text, exact text, two text, before text, after text, escaped varchar, within words, wide text, small text, nothing text);
INSERT INTO strings VALUES (repeat('x', 65535), repeat('x', 65536), repeat('x', 131072), repeat('x', 65535) || '"' || repeat('y', 65536),
    repeat('x', 65536) || '\' || repeat('y', 65535), repeat(E'\n"\\\x01', 50000), repeat('x', 65535) || 'ä' || repeat('漢', 50000),
    repeat('x', 65533) || repeat('😀', 50000) || '"', '"', '');
SELECT summary_cache_define('strings', 'core', 'SELECT * FROM strings');
SELECT md5(document::text) = md5(printed('strings')) AS identical, octet_length(document::text) > 1024 * 1024 AS large
FROM summary_cache_fetch('strings');

--
-- Whoever asks: no setting of the session shows
--
CREATE TABLE shown (t timestamptz, d date, i interval, f float8, r real, b bytea, m money, n numeric, "Q" int, c regclass);
INSERT INTO shown VALUES ('2026-07-01 12:34:56+02', '2026-02-01', '1 year 2 days 03:04:05', 0.1::float8 + 0.2, 0.3,
    '\x00ff', 12.5, 1234567.891, 1, 'shown');
SELECT summary_cache_define('session', 'core', $$
    SELECT s AS everything, t::text, i::text, d::text, f::text, r::text, b::text, m::text,
        to_char(n, 'L9G999G999D999') AS locale, to_char(t, 'TMMonth TMDay TZ') AS names, c::text AS path,
        '01/02/2026'::date AS input_date, '2026-01-01 00:00'::timestamptz AS input_zone,
        '2026-01-01 00:00 IST'::timestamptz AS input_abbreviation,
        '{NULL}'::text[] AS input_array, 'a\b' AS input_string, "Q" = NULL AS input_null,
        to_tsvector('the cats') AS search, quote_ident('plain') AS quoted, extract(hour FROM t) AS hour
    FROM shown s$$);
SELECT etag AS etag, document AS document FROM summary_cache_fetch('session') \gset
\echo :document
CREATE FUNCTION same(etag text, document text, OUT status text, OUT same_etag bool, OUT same_bytes bool) LANGUAGE sql AS $$
    SELECT f.status, f.etag = same.etag, f.document::text = same.document
    FROM public.summary_cache_fetch('session', NULL, true) f
$$;
SET TimeZone = 'Asia/Kolkata';
SELECT * FROM same(:'etag', :'document');
SET DateStyle = 'German, DMY';
SELECT * FROM same(:'etag', :'document');
SET IntervalStyle = 'iso_8601';
SELECT * FROM same(:'etag', :'document');
SET extra_float_digits = -10;
SELECT * FROM same(:'etag', :'document');
SET bytea_output = 'escape';
SELECT * FROM same(:'etag', :'document');
SET timezone_abbreviations = 'India';
SELECT * FROM same(:'etag', :'document');
SET quote_all_identifiers = on;
SELECT * FROM same(:'etag', :'document');
SET array_nulls = off;
SELECT * FROM same(:'etag', :'document');
SET transform_null_equals = on;
SELECT * FROM same(:'etag', :'document');
-- from 19 on, neither of these can be
DO $$ BEGIN SET escape_string_warning = off; EXCEPTION WHEN undefined_object THEN NULL; END $$;
DO $$ BEGIN SET standard_conforming_strings = off; EXCEPTION WHEN feature_not_supported THEN NULL; END $$;
SELECT * FROM same(:'etag', :'document');
SET default_text_search_config = 'simple';
SELECT * FROM same(:'etag', :'document');
SET search_path = public;
SELECT * FROM regress_document.same(:'etag', :'document');
-- a new session, with no plan made under other settings, with all of them
\c -
SET search_path = public, regress_document;
SET TimeZone = 'America/New_York';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = 0;
SET bytea_output = 'escape';
SET timezone_abbreviations = 'India';
SET quote_all_identifiers = on;
SET array_nulls = off;
SET transform_null_equals = on;
-- from 19 on, neither of these can be
DO $$ BEGIN SET escape_string_warning = off; EXCEPTION WHEN undefined_object THEN NULL; END $$;
DO $$ BEGIN SET standard_conforming_strings = off; EXCEPTION WHEN feature_not_supported THEN NULL; END $$;
SET default_text_search_config = 'simple';
SET row_security = off;
SELECT * FROM same(:'etag', :'document');
SET summary_cache.enabled = off;
SELECT * FROM same(:'etag', :'document');
-- they are as they were for the session itself
SHOW TimeZone;
SHOW DateStyle;
SHOW quote_all_identifiers;
SHOW search_path;
-- and one with none
\c -
SET search_path = regress_document, public;
SET client_min_messages = warning;
SELECT * FROM same(:'etag', :'document');
-- nor are those of a build that fails left behind
SET TimeZone = 'Asia/Tokyo';
SELECT summary_cache_define('fails', 'core', 'SELECT 1 / (SELECT count(*) FROM shown WHERE d IS NULL) AS a', run_query => false);
SHOW TimeZone;
\set VERBOSITY terse
SELECT summary_cache_get('fails');
\set VERBOSITY default
SHOW TimeZone;
SHOW search_path;
SHOW transaction_read_only;
SELECT summary_cache_drop('fails');

--
-- Etags
--
CREATE TABLE task (id int PRIMARY KEY, n int);
INSERT INTO task VALUES (1, 1);
SELECT summary_cache_define('etag', 'core', 'SELECT sum(n) AS n FROM task');
SELECT summary_cache_define('etag', 'progress', 'SELECT max(id) AS m FROM task', NULL, 'inline');
SELECT etag AS first FROM summary_cache_fetch('etag') \gset
SELECT summary_cache_reset_stats();
-- the same content again
SELECT status, etag = :'first' AS same FROM summary_cache_fetch('etag', NULL, true);
SELECT builds_forced, builds_wasted FROM summary_cache_stats WHERE summary = 'etag';
UPDATE task SET n = n;
SELECT status, etag = :'first' AS same FROM summary_cache_fetch('etag');
SELECT builds_miss, builds_wasted FROM summary_cache_stats WHERE summary = 'etag';
SELECT summary_cache_invalidate('etag');
SELECT status, etag = :'first' AS same FROM summary_cache_fetch('etag');
-- who has it, has it still
UPDATE task SET n = n;
SELECT status, document FROM summary_cache_fetch('etag', :'first');
-- another content, and back
SELECT summary_cache_reset_stats();
UPDATE task SET n = 2;
SELECT status, document FROM summary_cache_fetch('etag', :'first');
SELECT etag = :'first' AS same, etag AS second FROM summary_cache_fetch('etag') \gset
\echo :same
SELECT builds_miss, builds_wasted FROM summary_cache_stats WHERE summary = 'etag';
UPDATE task SET n = 1;
SELECT status, etag = :'first' AS same, document FROM summary_cache_fetch('etag', :'second');
-- a private document has the etag of its bytes
BEGIN;
UPDATE task SET n = 2;
SELECT status, etag = :'second' AS same, document FROM summary_cache_fetch('etag', :'first');
SELECT status, etag = :'second' AS same, document FROM summary_cache_fetch('etag', :'second');
COMMIT;
SELECT status, etag = :'second' AS same FROM summary_cache_fetch('etag');
-- the same values under each other's keys
UPDATE task SET n = 1;
SELECT status, etag = :'first' AS same, document FROM summary_cache_fetch('etag');
SELECT summary_cache_define('etag', 'core', 'SELECT sum(n) AS o FROM task');
SELECT summary_cache_define('etag', 'progress', 'SELECT max(id) AS n FROM task', NULL, 'inline');
SELECT summary_cache_define('etag', 'core', 'SELECT sum(n) AS m FROM task');
SELECT status, etag = :'first' AS same, document FROM summary_cache_fetch('etag');

--
-- Order: of the sections as they were first defined, and of a section's columns
--
SELECT summary_cache_define('order', 'z', 'SELECT 1 AS z2, 2 AS z1');
SELECT summary_cache_define('order', 'a', 'SELECT 3 AS a2, 4 AS a1', NULL, 'inline');
SELECT summary_cache_define('order', 'm', 'SELECT 5 AS m');
SELECT summary_cache_get('order');
SELECT summary_cache_define('order', 'z', 'SELECT 6 AS z3, 7 AS z1');
SELECT summary_cache_get('order');
SELECT summary_cache_define('order', 'a', 'SELECT 8 AS a1, 9 AS a2', NULL, 'background');
SELECT summary_cache_get('order');
SELECT summary_cache_drop('order', 'z');
SELECT summary_cache_get('order');
SELECT summary_cache_define('order', 'z', 'SELECT 10 AS z');
SELECT summary_cache_get('order');
SELECT summary_cache_invalidate('order');
SELECT summary_cache_get('order');

--
-- Lengths: the session's own document is put together anew from what has changed, where there is room
--
CREATE TABLE one (t text);
CREATE TABLE two (t text);
CREATE TABLE three (t text);
INSERT INTO one VALUES ('a');
INSERT INTO two VALUES ('b');
INSERT INTO three VALUES ('c');
SELECT summary_cache_define('lengths', 'one', 'SELECT t AS one FROM one');
SELECT summary_cache_define('lengths', 'two', 'SELECT t AS two FROM two', NULL, 'inline');
SELECT summary_cache_define('lengths', 'three', 'SELECT t AS three FROM three');
CREATE VIEW lengths AS
SELECT status, document::text = format('{"one":"%s","two":"%s","three":"%s"}', one.t, two.t, three.t) AS identical,
    octet_length(document::text) AS bytes
FROM one, two, three, summary_cache_fetch('lengths');
SELECT * FROM lengths;
SELECT format('UPDATE %I SET t = repeat(%L, %s)', section, chr(ascii('a') + step), length),
    'SELECT * FROM lengths'
FROM (VALUES (1, 'one', 1), (2, 'two', 1), (3, 'three', 1), (4, 'one', 100), (5, 'one', 100), (6, 'three', 5000), (7, 'two', 10),
    (8, 'two', 0), (9, 'one', 20000), (10, 'two', 7), (11, 'three', 300000), (12, 'two', 8), (13, 'one', 20001), (14, 'three', 2),
    (15, 'one', 0), (16, 'two', 400000), (17, 'three', 2), (18, 'two', 0), (19, 'one', 1)) AS steps (step, section, length)
ORDER BY step \gexec
-- what is said of the old copy is not believed of a new one
UPDATE one SET t = repeat('x', 10000);
SELECT * FROM lengths;
SET summary_cache.local_memory_limit = 0;
UPDATE two SET t = 'gone';
SELECT * FROM lengths;
SELECT length(repeat('z', 10500));
RESET summary_cache.local_memory_limit;
UPDATE three SET t = 'new';
SELECT * FROM lengths;
DROP VIEW lengths;
-- nor of a section that was there before
SELECT summary_cache_drop('lengths', 'three');
SELECT length(summary_cache_get('lengths')::text);
UPDATE one SET t = repeat('x', 10050);
SELECT length(summary_cache_get('lengths')::text);
UPDATE one SET t = repeat('x', 10000);
SELECT length(summary_cache_get('lengths')::text);
SELECT summary_cache_define('lengths', 'three', 'SELECT t AS three FROM three');
SELECT right(summary_cache_get('lengths')::text, 30);

DROP EXTENSION summary_cache;
DROP SCHEMA regress_document CASCADE;
