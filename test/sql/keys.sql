-- Proves that of a summary with parameters those documents become stale that read a row of the key which is written, and no others.

SET client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA public;
CREATE SCHEMA regress_keys;
SET search_path = regress_keys, public;
\pset format unaligned
\pset tuples_only
\pset null '(null)'

CREATE TABLE projects (id bigint PRIMARY KEY, name text);
CREATE TABLE tasks (project_id bigint REFERENCES projects ON DELETE CASCADE ON UPDATE CASCADE, n numeric, status text, parent bigint);
CREATE TABLE other (n int);
INSERT INTO projects SELECT i, 'p' || i FROM generate_series(1, 5) i;
INSERT INTO tasks SELECT 1 + i % 5, i, 'open', NULL FROM generate_series(0, 9) i;

-- which documents of 1 to 5 a command leaves hits
CREATE FUNCTION statuses(summary text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(CASE f.status WHEN 'hit-revision' THEN 'hit' ELSE f.status END, ' ' ORDER BY i)
    FROM generate_series(1, 5) i, public.summary_cache_fetch(summary, parameters => ARRAY[i::text]) f
$$;
CREATE FUNCTION ready(summary text) RETURNS void LANGUAGE sql AS $$
    SELECT public.summary_cache_fetch(summary, force_refresh => true, parameters => ARRAY[i::text]) FROM generate_series(1, 5) i
$$;
-- after a command, which documents are hits; and whether all that are give what their query does
CREATE PROCEDURE after(command text, INOUT result text DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ready('project');
    COMMIT;
    EXECUTE command;
    COMMIT;
    result := statuses('project');
    PERFORM 1 FROM generate_series(1, 5) i, public.summary_cache_fetch('project', parameters => ARRAY[i::text]) f
    WHERE (f.document->>'tasks')::int <> (SELECT count(*) FROM tasks WHERE project_id = i);
    IF FOUND THEN
        result := result || ' WRONG';
    END IF;
    COMMIT;
END $$;
-- until a worker has put the trigger there with this column, and has no more to do
CREATE PROCEDURE wait_for(name text) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 18000 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'tasks'::regclass AND tgname = 'summary_cache_keys'
                AND encode(tgargs, 'escape') ~ ('(^|\\000)' || name || '\\000'))
            AND NOT EXISTS (SELECT FROM public.summary_cache_documents WHERE refresh_requested);
        COMMIT;
        PERFORM pg_sleep(0.01);
        COMMIT;
    END LOOP;
END $$;
SET client_min_messages = notice;
SELECT summary_cache_define('project', 'tasks', 'SELECT count(*) AS tasks, sum(n) AS n FROM tasks WHERE project_id = $1', parameters => '{project int}');
SELECT summary_cache_define('whole', 'tasks', 'SELECT $1 AS p, count(*) FILTER (WHERE project_id = $1) AS tasks, (SELECT name FROM projects WHERE id = $1) AS name FROM tasks', parameters => '{project int}');
SET client_min_messages = warning;
SELECT summary, sources, keyed, not_keyed FROM summary_cache.definition ORDER BY 1;
SELECT tgrelid::regclass, tgname, tgenabled, encode(tgargs, 'escape') FROM pg_trigger WHERE tgname ~ '^summary_cache' AND NOT tgisinternal AND tgrelid::regclass::text !~ '^summary' ORDER BY 1, 2;

SELECT ready('project');
SELECT statuses('project');
CALL after('UPDATE tasks SET n = n + 1 WHERE project_id = 2');
CALL after('UPDATE tasks SET project_id = 3 WHERE project_id = 2 AND n = 2');
CALL after('UPDATE tasks SET project_id = 2 WHERE project_id = 3 AND n = 2');
CALL after('INSERT INTO tasks VALUES (4), (5)');
CALL after('DELETE FROM tasks WHERE n IS NULL');
CALL after('INSERT INTO tasks VALUES (NULL, 1)');
CALL after('UPDATE tasks SET status = status WHERE project_id = 1');
CALL after('UPDATE tasks SET status = status WHERE false');
CALL after('DELETE FROM projects WHERE id = 5');
CALL after($$INSERT INTO projects VALUES (5, 'again'); INSERT INTO tasks SELECT 5, i FROM generate_series(1, 2) i$$);
CALL after('UPDATE projects SET id = 6 WHERE id = 5');
CALL after('UPDATE projects SET id = 5 WHERE id = 6');
CALL after('TRUNCATE tasks');
CALL after('INSERT INTO tasks SELECT 1 + i % 5, i FROM generate_series(0, 9) i');
CALL after('MERGE INTO tasks USING (VALUES (3)) v (p) ON project_id = p WHEN MATCHED THEN UPDATE SET n = 7');
-- what is rolled back may cost a build
CALL after($$DO 'BEGIN BEGIN UPDATE tasks SET n = 0 WHERE project_id = 1; RAISE ''x''; EXCEPTION WHEN raise_exception THEN END; UPDATE tasks SET n = 0 WHERE project_id = 2; END'$$);
-- a plan that is left early says nothing of its rows
CALL after($$DO 'DECLARE r record; BEGIN FOR r IN UPDATE tasks SET n = 1 WHERE project_id = 1 RETURNING n LOOP EXIT; END LOOP; END'$$);
-- without the trigger any row matters, until it is there again
CALL after('ALTER TABLE tasks DISABLE TRIGGER summary_cache_keys');
CALL after('UPDATE tasks SET n = 2 WHERE project_id = 1');
CALL after('ALTER TABLE tasks ENABLE ALWAYS TRIGGER summary_cache_keys');
CALL after('UPDATE tasks SET n = 2 WHERE project_id = 1');
-- where it is missing, by a restore of the data alone, say, a worker puts it there
DROP TRIGGER summary_cache_keys ON tasks;
SELECT ready('project');
CALL wait_for('project_id');
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'tasks'::regclass AND tgname = 'summary_cache_keys';
CALL after('UPDATE tasks SET n = 2 WHERE project_id = 1');
CALL after('UPDATE tasks SET n = 2 WHERE project_id = 1');
-- another trigger of the same function, which fires first, says nothing, whatever it names
CREATE TRIGGER a_first AFTER INSERT OR UPDATE OR DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION summary_cache_key('status');
CALL after('UPDATE tasks SET n = 2 WHERE project_id = 1');
CALL after('UPDATE tasks SET project_id = 3 WHERE project_id = 1 AND n = 2');
CALL after('INSERT INTO tasks VALUES (1, 2)');
DROP TRIGGER a_first ON tasks;
-- a column that is renamed
ALTER TABLE tasks RENAME project_id TO pid;
SELECT query, keyed FROM summary_cache.definition WHERE summary = 'project';
SELECT ready('project');
CALL wait_for('pid');
SELECT encode(tgargs, 'escape') FROM pg_trigger WHERE tgrelid = 'tasks'::regclass AND tgname = 'summary_cache_keys';
SELECT ready('project');
UPDATE tasks SET n = 2 WHERE pid = 1;
SELECT statuses('project');
ALTER TABLE tasks RENAME pid TO project_id;
SELECT query, keyed FROM summary_cache.definition WHERE summary = 'project';
SELECT ready('project');
CALL wait_for('project_id');
-- others read all of the table
SELECT ready('whole');
UPDATE tasks SET n = 3 WHERE project_id = 1;
SELECT statuses('whole');

-- parts, which are planned anew after each ANALYZE
SELECT summary_cache_define('parts', 'main', 'SELECT (SELECT count(*) FROM tasks WHERE project_id = $1) AS tasks, (SELECT name FROM projects WHERE id = $1) AS name', parameters => '{project int}');
SELECT ready('parts');
ANALYZE tasks, projects;
SELECT ready('parts');
UPDATE tasks SET n = 3 WHERE project_id = 1;
SELECT statuses('parts');
SELECT ready('parts');
ANALYZE tasks, projects;
SELECT ready('parts');
UPDATE projects SET name = name WHERE id = 2;
SELECT statuses('parts');
SELECT summary_cache_drop('parts');

-- of what users' code reads, or what was named a source without being read by key, any row matters
CREATE FUNCTION all_tasks() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM tasks); END';
SELECT summary_cache_define('opened', 'main', 'SELECT all_tasks() AS all, count(*) AS tasks FROM tasks WHERE project_id = $1', '{tasks}', parameters => '{project int}');
SELECT summary_cache_define('given', 'main', 'SELECT (SELECT name FROM projects WHERE id = $1) AS name, count(*) AS tasks FROM tasks WHERE project_id = $1', '{tasks}', parameters => '{project int}');
SELECT summary, keyed, not_keyed FROM summary_cache.definition WHERE summary IN ('opened', 'given') ORDER BY 1;
SELECT ready('opened'), ready('given');
UPDATE tasks SET n = 3 WHERE project_id = 1;
SELECT statuses('opened'), statuses('given');
SELECT summary_cache_drop('opened'), summary_cache_drop('given');

-- what a view means by now is not what was keyed; nor is another parameter
CREATE VIEW viewed AS SELECT project_id AS a, parent AS b FROM tasks;
SELECT summary_cache_define('viewed', 'main', 'SELECT count(*) AS n FROM viewed WHERE a = $1', parameters => '{a bigint}');
SELECT summary_cache_define('both', 'main', 'SELECT count(*) AS n FROM viewed WHERE a = $1 AND b = $2', parameters => '{a bigint, b bigint}');
SELECT summary_cache_define('parts', 'main', 'SELECT (SELECT count(*) FROM viewed WHERE a = $1) AS n, (SELECT count(*) FROM other) AS other', parameters => '{a bigint}');
UPDATE tasks SET parent = 7;
SELECT status, document FROM summary_cache_fetch('parts', force_refresh => true, parameters => '{7}');
CREATE OR REPLACE VIEW viewed AS SELECT parent AS a, project_id AS b FROM tasks;
SELECT status, document FROM summary_cache_fetch('viewed', force_refresh => true, parameters => '{7}');
SELECT status, document FROM summary_cache_fetch('both', force_refresh => true, parameters => '{7, 1}');
SELECT status, document FROM summary_cache_fetch('parts', force_refresh => true, parameters => '{7}');
UPDATE tasks SET parent = 8 WHERE project_id = 1;
SELECT status, document FROM summary_cache_fetch('viewed', parameters => '{7}');
SELECT status, document FROM summary_cache_fetch('both', parameters => '{7, 1}');
SELECT status, document FROM summary_cache_fetch('parts', parameters => '{7}');
SELECT summary_cache_drop('viewed'), summary_cache_drop('both'), summary_cache_drop('parts');

-- a parameter's type has another equality than the comparison
CREATE TABLE objects (id oid, n int);
SELECT summary_cache_define('objects', 'main', 'SELECT count(*) AS n FROM objects WHERE id = $1', parameters => '{id int}');
SELECT keyed, not_keyed FROM summary_cache.definition WHERE summary = 'objects';

-- rows of a table that inherits, and of one that comes to do so
CREATE TABLE above (k int, n int);
CREATE TABLE below () INHERITS (above);
SELECT summary_cache_define('project', 'above', 'SELECT count(*) AS above FROM above WHERE k = $1');
CALL after('INSERT INTO below VALUES (3)');
CALL after('INSERT INTO above VALUES (4)');
CALL after('TRUNCATE below');
CALL after('CREATE TABLE beside () INHERITS (above)');
CALL after('INSERT INTO beside VALUES (2)');
SELECT status, document FROM summary_cache_fetch('project', parameters => '{2}');
SELECT summary_cache_drop('project', 'above');

-- a NULL is compared with no row
SELECT summary_cache_define('null', 'main', 'SELECT count(*) AS n FROM tasks WHERE project_id = $1', parameters => '{project int null}');
SELECT status, document FROM summary_cache_fetch('null', force_refresh => true, parameters => '{NULL}');
UPDATE tasks SET n = 3 WHERE project_id = 1;
SELECT status, document FROM summary_cache_fetch('null', parameters => '{NULL}');
TRUNCATE tasks;
SELECT status, document FROM summary_cache_fetch('null', parameters => '{NULL}');
INSERT INTO tasks SELECT 1 + i % 5, i FROM generate_series(0, 9) i;
SELECT summary_cache_drop('null'), summary_cache_drop('objects');

-- a transaction that has written the table reads privately, whatever it wrote
SELECT ready('project');
BEGIN;
UPDATE tasks SET n = 4 WHERE project_id = 1;
SELECT statuses('project');
ROLLBACK;
SELECT statuses('project');
-- what nobody needs any more goes
CREATE VIEW triggers AS SELECT tgrelid::regclass, encode(tgargs, 'escape') FROM pg_trigger WHERE tgname = 'summary_cache_keys' ORDER BY 1;
SELECT * FROM triggers;
SELECT summary_cache_drop('whole');
SELECT * FROM triggers;
SELECT summary_cache_define('project', 'tasks', 'SELECT count(*) AS tasks, sum(n) AS n FROM tasks WHERE project_id = $1', keys => '{}');
SELECT * FROM triggers;
CALL after('UPDATE tasks SET n = 2 WHERE project_id = 1');
SELECT summary_cache_define('project', 'tasks', 'SELECT count(*) AS tasks, sum(n) AS n FROM tasks WHERE project_id = $1', keys => '{parent}');
SELECT summary_cache_define('project', 'tasks', 'SELECT count(*) AS tasks, sum(n) AS n FROM tasks WHERE project_id = $1', keys => '{project_id}');
SELECT * FROM triggers;
CALL after('UPDATE tasks SET n = 2 WHERE project_id = 1');
SELECT source, keyed FROM summary_cache_tables ORDER BY 1;
DROP EXTENSION summary_cache;
SELECT tgname FROM pg_trigger WHERE tgname ~ '^summary_cache';
SET client_min_messages = error;
DROP SCHEMA regress_keys CASCADE;
