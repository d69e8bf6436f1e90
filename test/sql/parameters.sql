-- Proves that a summary with parameters has a document for each list of values, that equal values are one document, and what is said of wrong ones.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_parameters;
SET search_path = regress_parameters, public;
\pset format unaligned
\pset tuples_only
\pset null '(null)'

CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN project_id AS bigint;
CREATE TABLE projects (id bigint PRIMARY KEY, name text);
CREATE TABLE tasks (project_id bigint, status text, estimate numeric, day date, mood mood);
INSERT INTO projects VALUES (1, 'one'), (2, 'two'), (42, 'answer');
INSERT INTO tasks VALUES (1, 'open', 1, '2026-01-01', 'sad'), (42, 'open', 2.50, '2026-01-02', 'happy'), (42, 'done', 1, NULL, 'sad');

-- the status and the document, without spaces
CREATE FUNCTION read(summary text, VARIADIC parameters text[]) RETURNS text LANGUAGE sql AS $$
    SELECT status || ' ' || document FROM public.summary_cache_fetch(summary, parameters => parameters);
$$;

--
-- Definitions
--
SELECT summary_cache_define('project', 'tasks', 'SELECT count(*) AS tasks FROM tasks WHERE project_id = $1', parameters => '{project bigint}');
SELECT summary_cache_define('project', 'name', 'SELECT (SELECT name FROM projects WHERE id = $1) AS name, $1 AS id');
-- all sections have the same, and the first has declared them
SELECT summary_cache_define('project', 'wrong', 'SELECT 1 AS x', parameters => '{other bigint}');
SELECT summary_cache_define('project', 'wrong', 'SELECT 1 AS x', parameters => '{project int}');
SELECT summary_cache_define('project', 'wrong', 'SELECT 1 AS x', parameters => '{project bigint null}');
SELECT summary_cache_define('project', 'wrong', 'SELECT 1 AS x', parameters => '{project bigint, more text}');
SELECT summary_cache_define('project', 'wrong', 'SELECT 1 AS x', parameters => '{}');
SELECT summary_cache_define('plain', 'main', 'SELECT 1 AS x');
SELECT summary_cache_define('plain', 'more', 'SELECT 1 AS y', parameters => '{project bigint}');
-- of the only section they can be changed
SELECT summary_cache_define('plain', 'main', 'SELECT $1 AS x', parameters => ARRAY['"A name" text']);
SELECT read('plain', 'text');
SELECT summary_cache_define('plain', 'main', 'SELECT 1 AS x');
SELECT read('plain', 'text');
SELECT summary_cache_define('plain', 'main', 'SELECT 1 AS x', parameters => '{}');
SELECT summary_cache_get('plain');
SELECT read('plain', 'text');
-- a parameter that there is not
SELECT summary_cache_define('wrong', 'main', 'SELECT $2 AS x', parameters => '{project bigint}');
SELECT summary_cache_define('wrong', 'main', 'SELECT $1 AS x');
-- what cannot be declared
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{project}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{""}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{NULL}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{a int, a int}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{a numeric(3)}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{a nothing}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{a project_id}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{a json}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{a record}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => '{a projects}');
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => (SELECT array_agg('p' || i || ' int') FROM generate_series(1, 17) i));
SELECT summary_cache_define('wrong', 'main', 'SELECT 1 AS x', parameters => ARRAY[repeat('x', 64) || ' int']);
SELECT summary, section, parameters, parameter_types FROM summary_cache.definition ORDER BY 1, position;

--
-- Reading
--
SELECT read('project', '42');
SELECT read('project', '42');
SELECT read('project', '1');
SELECT read('project', '3');
SELECT summary_cache_get('project', parameters => '{42}');
SELECT status, etag = (SELECT etag FROM summary_cache_fetch('project', parameters => '{42}')) AS same, encoding, convert_from(body, 'UTF8')
    FROM summary_cache_fetch_encoded('project', parameters => '{42}');
SELECT summary_cache_unchanged('project', etag, '{42}'), summary_cache_unchanged('project', etag, '{1}')
    FROM summary_cache_fetch('project', parameters => '{42}');
-- each build again, one
SELECT status, document FROM summary_cache_fetch('project', force_refresh => true, parameters => '{42}');
SELECT read('project', '1');
-- equal values are one document
SELECT read('project', ' 042');
SELECT summary_cache_define('numbers', 'main', 'SELECT $1 AS n, $1 = 1 AS one', parameters => '{n numeric}');
SELECT read('numbers', '1.0'), read('numbers', '1.00'), read('numbers', '1e0'), read('numbers', '2');
SELECT summary_cache_define('strings', 'main', 'SELECT $1 AS s, $2 AS c', parameters => '{s text, c bpchar}');
SELECT read('strings', 'a', 'b'), read('strings', 'a', 'b  '), read('strings', 'a ', 'b');
SELECT summary_cache_define('floats', 'main', 'SELECT $1 AS f', parameters => '{f float8}');
SELECT read('floats', '0'), read('floats', '-0'), read('floats', 'NaN'), read('floats', 'nan');
SELECT summary_cache_define('spans', 'main', 'SELECT $1 AS i', parameters => '{i interval}');
SELECT read('spans', '1 day'), read('spans', '24:00');
-- values with the same hash have no document in common, although others equal the one that has it
SELECT summary_cache_define('alike', 'main', 'SELECT $1 AS p, $2 AS n', parameters => '{p bigint, n numeric}');
SELECT read('alike', '1', '1.00');
SELECT read('alike', '4294967296', '1.0');
SELECT read('alike', '1', '1.0');
SELECT read('alike', '4294967296', '1.0');
SELECT read('alike', '1', '1.00');
-- several, of all kinds
SELECT summary_cache_define('many', 'main', 'SELECT count(*) AS n, $4 AS u, $5 AS b FROM tasks WHERE project_id = $1 AND day = $2 AND mood = $3',
    parameters => '{p int, d date, m mood, u uuid, b bytea}');
SELECT read('many', '42', '2026-01-02', 'happy', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff');
SELECT read('many', '42', '2 Jan 2026', 'happy', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', E'\\000\\377');
SELECT read('many', '42', '2026-01-02', 'sad', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff');
-- NULL, where it means something
SELECT summary_cache_define('maybe', 'main', 'SELECT count(*) AS n FROM tasks WHERE day IS NOT DISTINCT FROM $1', parameters => '{day date null}');
SELECT read('maybe', NULL), read('maybe', '2026-01-01'), read('maybe', NULL);
-- what is wrong with values
SELECT summary_cache_get('project');
SELECT summary_cache_get('project', parameters => '{}');
SELECT summary_cache_get('project', parameters => '{1, 2}');
SELECT summary_cache_get('many', parameters => '{1, 2026-01-01}');
SELECT summary_cache_get('project', parameters => '{NULL}');
SELECT summary_cache_get('project', parameters => '{{1}}');
SELECT summary_cache_get('project', parameters => '{{1, 2}, {3, 4}}');
SELECT summary_cache_get('project', parameters => '{one}');
SELECT summary_cache_get('many', parameters => '{1, 2026-01-01, angry, a, b}');
SELECT summary_cache_get('project', parameters => '{99999999999999999999}');
SELECT summary_cache_get('strings', parameters => ARRAY[repeat('x', 5000), '']);
SELECT summary_cache_get('nothing', parameters => '{1}');
SELECT summary_cache_get(repeat('x', 64), parameters => '{1}');
SELECT summary_cache_get('numbers', true, '{1}'), state_summary();

--
-- Each is its own: of writes all of a table's are stale, of an invalidation one
--
SET summary_cache.max_stale_age = -1;
SELECT read('project', '42'), read('project', '1');
SELECT summary_cache_invalidate('project', parameters => '{42}');
SELECT read('project', '42'), read('project', '1');
SELECT summary_cache_invalidate('project', 'tasks', '{1}');
SELECT read('project', '42'), read('project', '1');
SELECT summary_cache_invalidate('project');
SELECT read('project', '42'), read('project', '1');
SELECT summary_cache_invalidate('project', parameters => '{one}');
SELECT summary_cache_invalidate('plain', parameters => '{1}');
INSERT INTO tasks VALUES (42, 'new');
SELECT read('project', '42'), read('project', '1');
SELECT read('project', '42'), read('project', '1');
-- in transactions of all kinds
BEGIN;
DELETE FROM tasks WHERE status = 'new';
SELECT read('project', '42');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT read('project', '42'), read('project', '2');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT read('project', '42');
COMMIT;
SET summary_cache.enabled = off;
SELECT read('project', '42');
RESET summary_cache.enabled;
SELECT read('project', '42');

--
-- Parts, inline sections, and sections that read summaries
--
SELECT summary_cache_define('parted', 'main', 'SELECT (SELECT count(*) FROM tasks WHERE project_id = $1) AS tasks, (SELECT name FROM projects WHERE id = $1) AS name',
    refresh => 'inline', parameters => '{id bigint}');
SELECT read('parted', '1'), read('parted', '42');
UPDATE projects SET name = 'eins' WHERE id = 1;
SELECT read('parted', '1'), read('parted', '42');
SELECT summary_cache_invalidate('parted', 'main');
SELECT read('parted', '1'), read('parted', '42');
SELECT summary_cache_define('outer', 'main', $$SELECT summary_cache_get('project', parameters => ARRAY[$1::text])->'tasks' AS tasks$$, parameters => '{id bigint}');
SELECT document FROM summary_cache_fetch('outer', parameters => '{42}');
SELECT summary_cache_define('project', 'self', $$SELECT summary_cache_get('project', parameters => ARRAY[($1 + 1)::text]) AS next$$);
SELECT document FROM summary_cache_fetch('project', force_refresh => true, parameters => '{42}');
SELECT count(*) FROM summary_cache_documents WHERE parameters IN ('{43}', '{44}');
SELECT summary_cache_drop('project', 'self');

--
-- What there is of them
--
SELECT documents > 0, document_bytes > 0, bytes FROM summary_cache_stats WHERE summary = 'project';
SELECT read('project', '42'), read('project', '1'), read('project', '1');
SELECT summary, parameters, state, bytes, reads > 0, last_error FROM summary_cache_documents WHERE summary IN ('project', 'many') ORDER BY 1, 2;
SELECT summary_cache_configure('project', 'max_documents', '0');
SELECT summary_cache_configure('project', 'max_documents', 'many');
SELECT summary_cache_configure('project', 'max_documents', '2');
SELECT count(read('project', i::text)) FROM generate_series(100, 120) i;
SELECT documents FROM summary_cache_stats WHERE summary = 'project';
SELECT read('project', '120'), read('project', '100');
-- other parameters: other documents
SELECT summary_cache_define('numbers', 'main', 'SELECT $1 AS n', parameters => '{n timestamptz}');
SELECT read('numbers', '2026-01-01 00:00+00');
SELECT summary_cache_drop('numbers');
SELECT count(*) FROM summary_cache_documents WHERE summary = 'numbers';
SELECT read('numbers', '1');

-- a type that is dropped costs its own summary, and no view
CREATE TYPE gone AS ENUM ('a');
SELECT summary_cache_define('typeless', 'main', 'SELECT $1 AS v', parameters => '{v gone}');
SELECT read('typeless', 'a');
DROP TYPE gone;
SELECT summary_cache_get('typeless', parameters => '{a}');
SELECT summary_cache_get('typeless');
SELECT summary_cache_invalidate('typeless');
SELECT count(*) FROM summary_cache_documents WHERE summary = 'typeless';
SELECT count(*) FROM summary_cache_sections WHERE summary = 'typeless';
SELECT summary_cache_drop('typeless');

-- who may not read it is told nothing of its parameters
CREATE ROLE regress_parameters_reader;
GRANT USAGE ON SCHEMA public, regress_parameters TO regress_parameters_reader;
GRANT EXECUTE ON FUNCTION summary_cache_get(text, boolean, text[]), summary_cache_fetch(text, text, boolean, text[]) TO regress_parameters_reader;
SELECT summary_cache_configure('project', 'readers', 'pg_read_all_settings');
SET ROLE regress_parameters_reader;
SELECT read('project', '42');
SELECT read('project', 'no number');
RESET ROLE;
DROP OWNED BY regress_parameters_reader;
DROP ROLE regress_parameters_reader;

DROP EXTENSION summary_cache;
DROP SCHEMA regress_parameters CASCADE;
