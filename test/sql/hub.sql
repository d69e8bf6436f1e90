-- Proves that CREATE EXTENSION and summary_cache_attach_state_hub() serve whatever hub is there, and say what is not.

SET client_min_messages = warning;
CREATE ROLE regress_hub_owner;
CREATE ROLE regress_hub_other;
CREATE SCHEMA "My Hub" AUTHORIZATION regress_hub_owner;
CREATE SCHEMA hub2 AUTHORIZATION regress_hub_owner;
CREATE SCHEMA cache;
SET client_min_messages = notice;

-- The scans of a query, and the rows they read.
CREATE FUNCTION cache.rows_read(query text, OUT node text, OUT index text, OUT rows bigint)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, TIMING off, FORMAT json) ' || query INTO plan;
    RETURN QUERY
        SELECT n ->> 'Node Type', n ->> 'Index Name', (n ->> 'Actual Rows')::numeric::bigint
        FROM jsonb_path_query(plan, 'strict $.**.Plan.** ? (exists (@."Relation Name"))') AS n
        WHERE n ->> 'Actual Loops' <> '0' GROUP BY n ORDER BY 2;
END $$;

--
-- No hub
--
SET search_path = hub2, public;
CREATE EXTENSION summary_cache SCHEMA cache;
SET search_path = hub2, cache;
SELECT state_summary();
SELECT summary_cache_attach_state_hub();
SELECT summary_cache_attach_state_hub('hub2');
SELECT summary_cache_attach_state_hub('no such schema');
SELECT count(*) FROM summary_cache_tables;

-- half a hub is none, and it says why
CREATE TABLE hub2.progress_events (id int PRIMARY KEY, created_at timestamptz);
SELECT summary_cache_attach_state_hub();
DROP TABLE hub2.progress_events;
CREATE VIEW hub2.progress_events AS SELECT now() AS created_at;
CREATE TABLE hub2.topics (updated_at point);
CREATE TABLE hub2.tasks (updated_at timestamptz);
SELECT summary_cache_attach_state_hub();
SELECT summary_cache_attach_state_hub('hub2');
-- a temporary hub is none either
CREATE TEMP TABLE progress_events (created_at timestamptz);
CREATE TEMP TABLE tasks (updated_at timestamptz);
SET search_path = pg_temp, cache;
SELECT summary_cache_attach_state_hub();
DROP TABLE pg_temp.progress_events, pg_temp.tasks;
DROP TABLE hub2.tasks, hub2.topics;
DROP VIEW hub2.progress_events;
DROP EXTENSION summary_cache;

--
-- A hub of odd shape: found by the user's search path, not by the script's
--
SET ROLE regress_hub_owner;
SET search_path = "My Hub";
CREATE TYPE mood AS ENUM ('open', 'closed');
CREATE DOMAIN moment AS timestamptz;
CREATE TABLE topics (id text PRIMARY KEY, "Status" text, updated_at moment NOT NULL);
CREATE INDEX ON topics (updated_at);
CREATE TABLE tasks (
    "Task Id" uuid PRIMARY KEY, "Title" text, status text, tasks int, e int, s text,
    n int GENERATED ALWAYS AS (length("Title")) STORED,
    latest json, labels text[], updated_at timestamptz);
CREATE INDEX ON tasks (updated_at) WHERE status = 'open';
CREATE INDEX ON tasks (status, updated_at);
CREATE INDEX ON tasks USING hash (updated_at);
CREATE INDEX ON tasks ((updated_at AT TIME ZONE 'UTC'));
CREATE TABLE decisions (id bigint PRIMARY KEY, status mood, updated_at date);
CREATE TABLE sbom_snapshots (id bigint PRIMARY KEY, snapshot_at timestamp);
CREATE VIEW domains AS SELECT now() AS updated_at;
CREATE MATERIALIZED VIEW extension_points AS SELECT now() AS updated_at;
CREATE TABLE managed_repos (id int PRIMARY KEY);
CREATE TABLE contributions (id int PRIMARY KEY, updated_at bool);
CREATE TABLE technical_debt (id int PRIMARY KEY, gone int, updated_at timestamptz);
ALTER TABLE technical_debt DROP COLUMN updated_at;
CREATE SEQUENCE workplans;
CREATE TABLE progress_events (
    seq text, "Event Id" bigint, e json, "row_to_json" int[], gone int,
    created_at timestamptz, "select" bytea, PRIMARY KEY ("Event Id", seq));
ALTER TABLE progress_events DROP COLUMN gone;
RESET ROLE;
CREATE FOREIGN DATA WRAPPER regress_hub_fdw;
CREATE SERVER regress_hub_server FOREIGN DATA WRAPPER regress_hub_fdw;
CREATE FOREIGN TABLE capability_requests (updated_at timestamptz) SERVER regress_hub_server;

-- notices are said at the level that the user has set
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION summary_cache SCHEMA cache;
ROLLBACK;
-- also within a function, which has a search path of its own
CREATE FUNCTION cache.install() RETURNS void LANGUAGE sql
    SET search_path = hub2 SET client_min_messages = notice
    AS 'CREATE EXTENSION summary_cache SCHEMA cache';
SET client_min_messages = warning;
BEGIN;
SELECT cache.install();
ROLLBACK;
RESET client_min_messages;
DROP FUNCTION cache.install();

CREATE EXTENSION summary_cache SCHEMA cache;
SET search_path = cache;
SELECT summary, section, refresh, owner, sources, keys, settings, generated
FROM summary_cache.definition ORDER BY position;
SELECT query FROM summary_cache.definition ORDER BY position \gx

-- empty tables
SELECT state_summary();

-- rows
INSERT INTO "My Hub".topics VALUES ('a', 'x', '2026-01-01 00:00+00'), ('b', 'y', '2026-01-02 00:00+00');
INSERT INTO "My Hub".tasks ("Task Id", "Title", status, updated_at) VALUES
    ('00000000-0000-0000-0000-000000000001', 'one', 'open', '2026-01-01 00:00+00'),
    ('00000000-0000-0000-0000-000000000002', 'two', 'done', '2026-03-01 00:00+00'),
    ('00000000-0000-0000-0000-000000000003', 'three', 'Done', '2026-02-01 00:00+00'),
    ('00000000-0000-0000-0000-000000000004', 'four', NULL, '2026-04-01 00:00+00'),
    ('00000000-0000-0000-0000-000000000005', 'five', 'open', NULL);
INSERT INTO "My Hub".decisions VALUES (1, 'closed', NULL), (2, 'open', NULL), (3, NULL, NULL);
INSERT INTO "My Hub".progress_events (seq, "Event Id", e, "row_to_json", created_at, "select") VALUES
    ('a', 9, '{"k":  1.0}', '{1,2}', '2026-01-01 00:00+00', '\x00'),
    ('b', 9, NULL, NULL, '2026-01-01 00:00+00', NULL),
    ('c', 10, NULL, NULL, '2026-01-01 00:00+00', NULL),
    ('d', 1, NULL, NULL, NULL, NULL),
    ('e', 1, NULL, NULL, '2026-02-01 00:00+00', NULL);
SELECT key, value FROM json_each(state_summary(true)) WHERE key <> 'recent_progress';
SELECT json_array_elements(state_summary() -> 'recent_progress');

-- a column added later appears by itself
ALTER TABLE "My Hub".progress_events ADD COLUMN "New" numeric DEFAULT 1.50;
SELECT state_summary(true) -> 'recent_progress' -> 0;

-- the 20 newest of many, ties settled by the key, on the index
CREATE INDEX ON "My Hub".progress_events (created_at);
INSERT INTO "My Hub".progress_events (seq, "Event Id", created_at)
    SELECT 'x' || g, g / 2, timestamptz '2026-03-01 00:00+00' + g / 7 * interval '1 minute'
    FROM generate_series(1, 10000) g;
ANALYZE "My Hub".progress_events;
SELECT node, index, rows BETWEEN 20 AND 40 AS few FROM summary_cache.definition, rows_read(query) WHERE section = 'progress';
SELECT array_agg(e ->> 'seq' ORDER BY i) = ARRAY(
        SELECT seq FROM "My Hub".progress_events WHERE created_at IS NOT NULL
        ORDER BY created_at DESC, "Event Id" DESC, seq DESC LIMIT 20) AS right_order,
    count(*)
FROM json_array_elements(state_summary(true) -> 'recent_progress') WITH ORDINALITY AS p (e, i);

--
-- Attaching again
--
CREATE VIEW our_triggers AS
    SELECT tgrelid::regclass::text COLLATE "C" AS source, count(*), string_agg(tgenabled::text, ',' ORDER BY tgname) AS enabled
    FROM pg_trigger WHERE tgname = 'summary_cache_statement' AND tgnargs = 0
    GROUP BY 1;
SELECT * FROM our_triggers;
CREATE TABLE old_version AS SELECT section, ctid AS old_ctid, xmin AS old_xmin FROM summary_cache.definition;
SELECT state_summary(true) IS NOT NULL;
SELECT summary_cache_attach_state_hub('My Hub');
SELECT section, d.ctid = old_ctid AND d.xmin = old_xmin AS unchanged
FROM summary_cache.definition d FULL JOIN old_version USING (section) ORDER BY section;
-- nothing was thrown away for it
SELECT status FROM summary_cache_fetch();

-- triggers that got lost come back
DROP TRIGGER summary_cache_statement ON "My Hub".tasks;
SELECT source, provable, reason FROM summary_cache_tables WHERE NOT provable;
-- no hub in the search path: where it is attached
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub();
RESET client_min_messages;
SELECT * FROM our_triggers;
SELECT section, d.ctid = old_ctid AND d.xmin = old_xmin AS unchanged
FROM summary_cache.definition d FULL JOIN old_version USING (section) ORDER BY section;
SELECT source, provable, reason FROM summary_cache_tables WHERE NOT provable;

-- a table created later is missing until attached
CREATE TABLE "My Hub".workplan_dependencies (id int PRIMARY KEY, updated_at int);
ALTER TABLE "My Hub".workplan_dependencies OWNER TO regress_hub_other;
SELECT source, provable, reason FROM summary_cache_tables WHERE NOT provable;
SELECT state_summary(true) -> 'workplan_dependencies' IS NULL AS absent;
-- it must belong to the owner of the others
SELECT summary_cache_attach_state_hub();
ALTER TABLE "My Hub".workplan_dependencies OWNER TO regress_hub_owner;
SELECT summary_cache_attach_state_hub();
SELECT source, sections, provable, reason FROM summary_cache_tables ORDER BY source::text COLLATE "C";
SELECT state_summary() -> 'workplan_dependencies';
-- a table that is gone
DROP TABLE "My Hub".workplan_dependencies;
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub();
RESET client_min_messages;
SELECT string_agg(key, ', ') FROM json_object_keys(state_summary()) AS key;

--
-- A section that someone has redefined is left alone
--
SELECT summary_cache_define('state', 'core', 'SELECT count(*) AS tasks FROM "My Hub".tasks', ARRAY['"My Hub".tasks'::regclass]);
DELETE FROM old_version;
INSERT INTO old_version SELECT section, ctid, xmin FROM summary_cache.definition;
SELECT summary_cache_attach_state_hub();
SELECT section, generated, d.ctid = old_ctid AND d.xmin = old_xmin AS unchanged
FROM summary_cache.definition d FULL JOIN old_version USING (section) ORDER BY section;
SELECT * FROM our_triggers;
SELECT state_summary() ->> 'tasks' AS tasks;
-- its tables are not missing
SELECT source, provable, reason FROM summary_cache_tables ORDER BY source::text COLLATE "C";
-- until it is dropped
SELECT summary_cache_drop('state', 'core');
SELECT source, provable, reason FROM summary_cache_tables WHERE NOT provable ORDER BY source::text COLLATE "C";
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub();
RESET client_min_messages;
SELECT section, generated FROM summary_cache.definition ORDER BY section;

--
-- Rights and owners
--
GRANT USAGE ON SCHEMA cache, "My Hub" TO regress_hub_other;
GRANT EXECUTE ON FUNCTION summary_cache_attach_state_hub TO regress_hub_other;
SET ROLE regress_hub_other;
SELECT summary_cache_attach_state_hub('My Hub');
SELECT summary_cache_attach_state_hub('hub2');
RESET ROLE;
-- the owner of the tables needs no more than EXECUTE
GRANT USAGE ON SCHEMA cache TO regress_hub_owner;
GRANT EXECUTE ON FUNCTION summary_cache_attach_state_hub TO regress_hub_owner;
SELECT summary_cache_drop('state', 'progress');
SET client_min_messages = warning;
SET ROLE regress_hub_owner;
SELECT summary_cache_attach_state_hub('My Hub');
RESET ROLE;
RESET client_min_messages;
SELECT section, owner, generated FROM summary_cache.definition ORDER BY section;
DROP EXTENSION summary_cache;

-- the extension is installed without a hub that cannot be attached
ALTER TABLE "My Hub".topics OWNER TO regress_hub_other;
SET search_path = "My Hub", public;
CREATE EXTENSION summary_cache SCHEMA cache;
SELECT count(*) FROM summary_cache.definition;
SELECT cache.summary_cache_attach_state_hub();
DROP EXTENSION summary_cache;
ALTER TABLE "My Hub".topics OWNER TO regress_hub_owner;
ALTER SCHEMA "My Hub" OWNER TO regress_hub_other;
CREATE EXTENSION summary_cache SCHEMA cache;
SELECT count(*) FROM summary_cache.definition;
ALTER SCHEMA "My Hub" OWNER TO regress_hub_owner;
DROP EXTENSION summary_cache;

--
-- Locks: attaching waits for writers, no longer than lock_timeout
--
BEGIN;
INSERT INTO "My Hub".topics VALUES ('c', 'z', '2026-01-03 00:00+00');
PREPARE TRANSACTION 'regress_hub_writer';
SET lock_timeout = '100ms';
-- the context has the script's line from 18 on, the table's oid from 19 on
\set SHOW_CONTEXT never
CREATE EXTENSION summary_cache SCHEMA cache;
SET search_path = hub2;
CREATE EXTENSION summary_cache SCHEMA cache;
SELECT cache.summary_cache_attach_state_hub('My Hub');
\set SHOW_CONTEXT errors
SELECT count(*) FROM summary_cache.definition;
ROLLBACK PREPARED 'regress_hub_writer';
RESET lock_timeout;
SET client_min_messages = warning;
BEGIN;
SELECT cache.summary_cache_attach_state_hub('My Hub');
SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.granted AND l.mode = 'ShareRowExclusiveLock' AND c.relnamespace = '"My Hub"'::regnamespace
ORDER BY 1;
COMMIT;
RESET client_min_messages;

--
-- Another hub, of partitioned tables and a table with children; without a key
--
SET ROLE regress_hub_owner;
CREATE TABLE hub2.progress_events (created_at timestamptz NOT NULL, note text) PARTITION BY RANGE (created_at);
CREATE TABLE hub2.events_1 PARTITION OF hub2.progress_events FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-02-01 00:00+00');
CREATE TABLE hub2.events_2 PARTITION OF hub2.progress_events FOR VALUES FROM ('2026-02-01 00:00+00') TO ('2026-03-01 00:00+00');
CREATE TABLE hub2.tasks (id int, status varchar(10), updated_at timestamptz) PARTITION BY LIST (status);
CREATE TABLE hub2.tasks_open PARTITION OF hub2.tasks FOR VALUES IN ('open');
CREATE TABLE hub2.tasks_other PARTITION OF hub2.tasks DEFAULT;
CREATE TABLE hub2.topics (id int, updated_at timestamptz);
CREATE TABLE hub2.topics_child () INHERITS (hub2.topics);
CREATE INDEX ON hub2.tasks (updated_at);
-- an index that is not valid yet is none
CREATE INDEX progress_events_created_at ON ONLY hub2.progress_events (created_at);
RESET ROLE;
SET search_path = cache;
SELECT summary_cache_attach_state_hub('hub2');
SELECT owner, sources FROM summary_cache.definition ORDER BY position;
-- the first hub is left without triggers
SELECT * FROM our_triggers;
SELECT state_summary();
INSERT INTO hub2.progress_events SELECT timestamptz '2026-01-20 00:00+00' + g * interval '1 day', g FROM generate_series(1, 30) g;
INSERT INTO hub2.tasks_open VALUES (1, 'open', '2026-01-01 00:00+00');
INSERT INTO hub2.tasks VALUES (2, NULL, '2026-01-02 00:00+00'), (3, 'x', NULL);
INSERT INTO hub2.topics_child VALUES (1, '2026-01-01 00:00+00');
SELECT key, value FROM json_each(state_summary(true)) WHERE key <> 'recent_progress';
SELECT string_agg(e ->> 'note', ' ' ORDER BY i) FROM json_array_elements(state_summary() -> 'recent_progress') WITH ORDINALITY p (e, i);
CREATE INDEX ON hub2.events_1 (created_at);
CREATE INDEX ON hub2.events_2 (created_at);
ALTER INDEX hub2.progress_events_created_at ATTACH PARTITION hub2.events_1_created_at_idx;
ALTER INDEX hub2.progress_events_created_at ATTACH PARTITION hub2.events_2_created_at_idx;
INSERT INTO hub2.progress_events SELECT timestamptz '2026-01-01 00:00+00' + g * interval '5 minutes', g FROM generate_series(1, 16000) g;
ANALYZE hub2.progress_events;
SELECT node, index, rows BETWEEN 20 AND 40 AS few FROM summary_cache.definition, rows_read(query) WHERE section = 'progress';

--
-- Moved: the generated sections go on reading the same tables
--
CREATE VIEW generated AS
    SELECT section, owner, string_agg(m[1], ', ') AS reads
    FROM summary_cache.definition, regexp_matches(query, 'FROM ((?:"[^"]+"|\w+)\.\w+)', 'g') AS m
    WHERE summary = 'state' GROUP BY section, owner ORDER BY section;
SELECT * FROM generated;
-- by whoever may
ALTER SCHEMA hub2 OWNER TO regress_hub_other;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_hub_other;
SET ROLE regress_hub_other;
ALTER SCHEMA hub2 RENAME TO "Hub 3";
GRANT USAGE ON SCHEMA "Hub 3" TO regress_hub_owner;
RESET ROLE;
SELECT * FROM generated;
SELECT state_summary(true) -> 'tasks' ->> 'count' AS count;
INSERT INTO "Hub 3".tasks VALUES (4, 'open', '2026-01-05 00:00+00');
SELECT status, document -> 'tasks' ->> 'count' AS count FROM summary_cache_fetch();
SELECT source, provable FROM summary_cache_tables;
-- attached again, it is what it was
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub();
RESET client_min_messages;
SELECT status FROM summary_cache_fetch();
-- rolled back
BEGIN;
ALTER SCHEMA "Hub 3" RENAME TO hub2;
SELECT document -> 'tasks' ->> 'count' AS count FROM summary_cache_fetch();
ROLLBACK;
SELECT DISTINCT owner, reads LIKE '%"Hub 3".%' AS there FROM generated;
-- table by table: printed anew, and by what attaching there gives when the last one has arrived
ALTER SCHEMA "Hub 3" OWNER TO regress_hub_owner;
CREATE SCHEMA hub4 AUTHORIZATION regress_hub_owner;
CREATE TABLE hub4.domains (id int, updated_at timestamptz);
SET ROLE regress_hub_owner;
ALTER TABLE "Hub 3".tasks SET SCHEMA hub4;
ALTER TABLE "Hub 3".progress_events SET SCHEMA hub4;
ALTER TABLE "Hub 3".topics SET SCHEMA hub4;
RESET ROLE;
SELECT * FROM generated;
SELECT state_summary(true) -> 'tasks' ->> 'count' AS count;
-- what else is there is told, not taken
SELECT source, provable, reason FROM summary_cache_tables WHERE NOT provable;
-- no hub was moved
ALTER TABLE "Hub 3".tasks_open RENAME TO tasks_open_2;
ALTER SCHEMA "Hub 3" RENAME TO "Hub 5";
CREATE TABLE hub4.other (id int);
ALTER TABLE hub4.other SET SCHEMA "Hub 5";
-- a table that makes room for another is followed, until attached
ALTER TABLE hub4.topics SET SCHEMA "Hub 5";
CREATE TABLE hub4.topics (id int, updated_at timestamptz);
ALTER TABLE hub4.topics OWNER TO regress_hub_owner;
INSERT INTO hub4.topics VALUES (1, NULL), (2, NULL);
SELECT * FROM generated;
SELECT state_summary(true) -> 'topics' ->> 'count' AS count;
SELECT state, reason FROM summary_cache_sections WHERE section = 'core';
ALTER TABLE hub4.domains OWNER TO regress_hub_owner;
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub();
RESET client_min_messages;
SELECT * FROM generated;
-- renamed: no table of a hub any more, but read until attached
SELECT status, document -> 'tasks' ->> 'count' AS count FROM summary_cache_fetch();
\set VERBOSITY terse
ALTER TABLE hub4.tasks RENAME TO todo;
SELECT status, document -> 'tasks' ->> 'count' AS count FROM summary_cache_fetch(force_refresh => true);
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub('hub4');
RESET client_min_messages;
SELECT status, document -> 'tasks' IS NULL AS absent FROM summary_cache_fetch();
ALTER TABLE hub4.todo RENAME TO tasks;
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub('hub4');
RESET client_min_messages;
-- the same for a column
ALTER TABLE hub4.tasks RENAME updated_at TO changed_at;
SELECT state_summary(true) -> 'tasks' AS tasks;
-- a move of something else is none of the hub: what was printed stays
ALTER TABLE hub4.progress_events RENAME note TO remark;
ALTER TABLE hub4.tasks RENAME changed_at TO updated_at;
CREATE SCHEMA hub8;
ALTER SCHEMA hub8 RENAME TO hub9;
DROP SCHEMA hub9;
SELECT count(*) FROM summary_cache.definition WHERE section = 'progress' AND query LIKE '%remark AS note%';
ALTER TABLE hub4.progress_events RENAME remark TO note;
\set VERBOSITY default
SELECT state_summary(true) -> 'tasks' ->> 'count' AS count;
-- a redefined section, and one of another summary, follow as everyone's do
SELECT summary_cache_define('state', 'core', 'SELECT count(*) AS tasks FROM hub4.tasks');
SELECT summary_cache_define('mine', 'core', 'SELECT count(*) AS topics FROM hub4.topics');
ALTER SCHEMA hub4 RENAME TO hub2;
SELECT section, query FROM summary_cache.definition WHERE NOT generated ORDER BY section, summary;
SELECT summary_cache_get('mine', true);
SELECT source, provable FROM summary_cache_tables WHERE 'mine.core' = ANY (sections);
SELECT summary_cache_drop('mine');
DROP TABLE "Hub 5".other;
SELECT summary_cache_drop('state');
SET client_min_messages = warning;
SELECT summary_cache_attach_state_hub('hub2');
-- given to another role, with its tables
REASSIGN OWNED BY regress_hub_owner TO regress_hub_other;
RESET client_min_messages;
SELECT DISTINCT owner FROM generated;
SELECT status, document -> 'tasks' ->> 'count' AS count FROM summary_cache_fetch(force_refresh => true);
SELECT DISTINCT provable FROM summary_cache_tables;
REASSIGN OWNED BY regress_hub_other TO regress_hub_owner;
-- the schema of the extension may be renamed as well
ALTER SCHEMA cache RENAME TO "Cache 2";
SET search_path = "Cache 2";
SELECT status FROM summary_cache_fetch(force_refresh => true);
INSERT INTO hub2.tasks VALUES (5, 'open', NULL);
SELECT status, document -> 'tasks' ->> 'count' AS count FROM summary_cache_fetch();
SELECT summary_cache_define('mine', 'core', 'SELECT count(*) AS topics FROM hub2.topics');
ALTER SCHEMA hub2 RENAME TO hub6;
SELECT status FROM summary_cache_fetch(force_refresh => true);
ALTER SCHEMA hub6 RENAME TO hub2;
ALTER SCHEMA "Cache 2" RENAME TO cache;
SET search_path = cache;
DROP VIEW generated;

--
-- No trace is left
--
DROP EXTENSION summary_cache;
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'summary\_cache%';
SET client_min_messages = warning;
REVOKE CREATE ON DATABASE :"DBNAME" FROM regress_hub_other;
DROP SCHEMA "My Hub", "Hub 5", hub2, cache CASCADE;
DROP FOREIGN DATA WRAPPER regress_hub_fdw CASCADE;
DROP ROLE regress_hub_owner, regress_hub_other;
