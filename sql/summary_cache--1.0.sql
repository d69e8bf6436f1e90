/* sql/summary_cache--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION summary_cache" to load this file. \quit

--
-- Definitions.  Written through the functions below; carried by pg_dump.  They have a schema of
-- their own, which is nobody else's: where the functions are, rights are granted on all tables.
--
CREATE SCHEMA summary_cache;
COMMENT ON SCHEMA summary_cache IS 'the definitions of extension summary_cache';
REVOKE ALL ON SCHEMA summary_cache FROM PUBLIC;

CREATE TABLE summary_cache.definition (
    summary   name     NOT NULL,
    section   name     NOT NULL,
    position  integer  NOT NULL,
    refresh   text     NOT NULL CHECK (refresh IN ('background', 'inline')),
    owner     regrole  NOT NULL,
    query     text     NOT NULL,
    sources   regclass[] NOT NULL,
    reads     regclass[] NOT NULL,
    calls     text[]   NOT NULL,
    keys      text[]   NOT NULL,
    settings  text[]   NOT NULL,
    generated boolean  NOT NULL DEFAULT false,
    -- another one for a section that is dropped and defined again
    incarnation uuid   NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    -- of the summary: names, with " null" behind those that may be null
    parameters text[]  NOT NULL DEFAULT '{}',
    parameter_types regtype[] NOT NULL DEFAULT '{}',
    -- by which columns sources are keyed: for each, the source's number, the column, the parameter's
    -- number; and why others are not, beside sources
    keyed     text[]   NOT NULL DEFAULT '{}',
    not_keyed text[]   NOT NULL DEFAULT '{}',
    PRIMARY KEY (summary, section)
);
COMMENT ON TABLE summary_cache.definition IS
    'the sections of all summaries; change them with summary_cache_define() and summary_cache_drop()';
REVOKE ALL ON summary_cache.definition FROM PUBLIC;
-- A section of a dropped role stays behind: its owner would be dumped as a number, and be
-- whatever role has that number where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump('summary_cache.definition',
    'WHERE owner IN (SELECT oid FROM pg_catalog.pg_roles)');

CREATE TABLE summary_cache.option (
    summary name NOT NULL,
    option  text NOT NULL,
    value   text NOT NULL,
    PRIMARY KEY (summary, option)
);
COMMENT ON TABLE summary_cache.option IS
    'options of single summaries; change them with summary_cache_configure()';
REVOKE ALL ON summary_cache.option FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('summary_cache.option', '');

-- The roles of option readers.  By Oid, so that they stay when they are renamed; and a row each,
-- so that a dropped one can be left out of a dump, where it would be a number (see above).  The
-- option's own row says that there is a list, also when all roles of it are gone.
CREATE TABLE summary_cache.reader (
    summary name    NOT NULL,
    role    regrole NOT NULL,
    PRIMARY KEY (summary, role)
);
COMMENT ON TABLE summary_cache.reader IS
    'who may read single summaries; change it with summary_cache_configure(), option readers';
REVOKE ALL ON summary_cache.reader FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('summary_cache.reader',
    'WHERE role IN (SELECT oid FROM pg_catalog.pg_roles)');

--
-- The trigger function of every source table.
--
CREATE FUNCTION summary_cache_touch() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sc_touch' LANGUAGE C;
COMMENT ON FUNCTION summary_cache_touch() IS
    'trigger function: marks the table as changed by this transaction';

--
-- That of source tables from which documents are kept by the value of a column.  Its arguments
-- are the names of such columns.
--
CREATE FUNCTION summary_cache_key() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sc_key' LANGUAGE C;
COMMENT ON FUNCTION summary_cache_key() IS
    'trigger function: marks the values of columns in the rows that this transaction changes';

-- A definition is itself a source of every summary.
CREATE TRIGGER summary_cache_statement
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON summary_cache.definition
    FOR EACH STATEMENT EXECUTE FUNCTION summary_cache_touch('definition');
ALTER TABLE summary_cache.definition ENABLE ALWAYS TRIGGER summary_cache_statement;
CREATE TRIGGER summary_cache_statement
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON summary_cache.option
    FOR EACH STATEMENT EXECUTE FUNCTION summary_cache_touch('definition');
ALTER TABLE summary_cache.option ENABLE ALWAYS TRIGGER summary_cache_statement;
CREATE TRIGGER summary_cache_statement
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON summary_cache.reader
    FOR EACH STATEMENT EXECUTE FUNCTION summary_cache_touch('definition');
ALTER TABLE summary_cache.reader ENABLE ALWAYS TRIGGER summary_cache_statement;

-- What is granted on a table does not decide who may write it: see guard.c.
CREATE FUNCTION summary_cache.guard() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sc_guard' LANGUAGE C;
COMMENT ON FUNCTION summary_cache.guard() IS
    'trigger function: refuses who may not act for the owners of a summary''s sections';
REVOKE ALL ON FUNCTION summary_cache.guard() FROM PUBLIC;
CREATE TRIGGER summary_cache_guard
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON summary_cache.definition
    FOR EACH STATEMENT EXECUTE FUNCTION summary_cache.guard();
ALTER TABLE summary_cache.definition ENABLE ALWAYS TRIGGER summary_cache_guard;
CREATE TRIGGER summary_cache_guard_row
    BEFORE INSERT OR UPDATE OR DELETE ON summary_cache.definition
    FOR EACH ROW EXECUTE FUNCTION summary_cache.guard();
ALTER TABLE summary_cache.definition ENABLE ALWAYS TRIGGER summary_cache_guard_row;
CREATE TRIGGER summary_cache_guard
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON summary_cache.option
    FOR EACH STATEMENT EXECUTE FUNCTION summary_cache.guard();
ALTER TABLE summary_cache.option ENABLE ALWAYS TRIGGER summary_cache_guard;
CREATE TRIGGER summary_cache_guard_row
    BEFORE INSERT OR UPDATE OR DELETE ON summary_cache.option
    FOR EACH ROW EXECUTE FUNCTION summary_cache.guard();
ALTER TABLE summary_cache.option ENABLE ALWAYS TRIGGER summary_cache_guard_row;
CREATE TRIGGER summary_cache_guard
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON summary_cache.reader
    FOR EACH STATEMENT EXECUTE FUNCTION summary_cache.guard();
ALTER TABLE summary_cache.reader ENABLE ALWAYS TRIGGER summary_cache_guard;
CREATE TRIGGER summary_cache_guard_row
    BEFORE INSERT OR UPDATE OR DELETE ON summary_cache.reader
    FOR EACH ROW EXECUTE FUNCTION summary_cache.guard();
ALTER TABLE summary_cache.reader ENABLE ALWAYS TRIGGER summary_cache_guard_row;

--
-- Reading
--
CREATE FUNCTION state_summary(force_refresh boolean DEFAULT false) RETURNS json
    AS 'MODULE_PATHNAME', 'sc_state_summary'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION state_summary(boolean) IS
    'the State Hub''s summary, from shared memory when it is current';

-- parameters: values in the order of their declaration, in the input syntax of their types
CREATE FUNCTION summary_cache_get(
        summary text, force_refresh boolean DEFAULT false, parameters text[] DEFAULT NULL)
    RETURNS json
    AS 'MODULE_PATHNAME', 'sc_get'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_get(text, boolean, text[]) IS
    'a summary''s document, from shared memory when it is current';

-- A type of its own costs the executor less than OUT parameters.
CREATE TYPE summary_cache_answer AS (status text, etag text, built_at timestamptz, document json);
COMMENT ON TYPE summary_cache_answer IS 'a row of summary_cache_fetch()';

CREATE FUNCTION summary_cache_fetch(
        summary text DEFAULT 'state', if_none_match text DEFAULT NULL,
        force_refresh boolean DEFAULT false, parameters text[] DEFAULT NULL)
    RETURNS summary_cache_answer
    AS 'MODULE_PATHNAME', 'sc_fetch'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_fetch(text, text, boolean, text[]) IS
    'a summary''s document with its status, etag and build time; no document if if_none_match is its etag';

CREATE TYPE summary_cache_encoded_answer AS (
    status text, etag text, built_at timestamptz, encoding text, body bytea, stale_since timestamptz);
COMMENT ON TYPE summary_cache_encoded_answer IS 'a row of summary_cache_fetch_encoded()';

CREATE FUNCTION summary_cache_fetch_encoded(
        summary text DEFAULT 'state', encodings text DEFAULT 'gzip',
        if_none_match text DEFAULT NULL, force_refresh boolean DEFAULT false,
        parameters text[] DEFAULT NULL)
    RETURNS summary_cache_encoded_answer
    AS 'MODULE_PATHNAME', 'sc_fetch_encoded'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_fetch_encoded(text, text, text, boolean, text[]) IS
    'a summary''s document as bytes, compressed if there is such a form of it, with status, etag and times';

CREATE FUNCTION summary_cache_unchanged(
        summary text, if_none_match text, parameters text[] DEFAULT NULL)
    RETURNS boolean
    AS 'MODULE_PATHNAME', 'sc_unchanged'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_unchanged(text, text, text[]) IS
    'whether summary_cache_fetch() would send no document for this etag';

--
-- Defining
--
-- sources is an array of regclass: see sources_argument() in functions.c.
CREATE FUNCTION summary_cache_define(
        summary text, section text, query text,
        sources anycompatible DEFAULT NULL::regclass[], refresh text DEFAULT 'background',
        run_query boolean DEFAULT true, parameters text[] DEFAULT NULL,
        keys text[] DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME', 'sc_define_sql'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_define(text, text, text, anycompatible, text, boolean, text[], text[]) IS
    'create or replace a section of a summary, and track its source tables';

CREATE FUNCTION summary_cache_notices(
        summary text,
        OUT section name, OUT message text, OUT detail text, OUT hint text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sc_notices'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_notices(text) IS
    'what summary_cache_define() would say of the sections of a summary in NOTICEs';

CREATE FUNCTION summary_cache_drop(summary text, section text DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME', 'sc_drop_sql'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_drop(text, text) IS
    'remove a summary or a section of it, with triggers that no summary needs any more';

CREATE FUNCTION summary_cache_configure(summary text, option text, value text)
    RETURNS void
    AS 'MODULE_PATHNAME', 'sc_configure_sql'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_configure(text, text, text) IS
    'set an option of one summary, such as max_stale_age or readers; NULL removes the option';

CREATE FUNCTION summary_cache_invalidate(
        summary text DEFAULT 'state', scope text DEFAULT 'all', parameters text[] DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME', 'sc_invalidate_sql'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_invalidate(text, text, text[]) IS
    'drop a cached document (scope all, or a background section) or mark an inline section';

CREATE FUNCTION summary_cache_attach_state_hub(hub_schema name DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME', 'sc_attach_state_hub'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_attach_state_hub(name) IS
    'define summary "state" over the State Hub tables that exist';

--
-- Who may use it
--
CREATE FUNCTION summary_cache_allow(role regrole) RETURNS void
    AS 'MODULE_PATHNAME', 'sc_allow'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_allow(regrole) IS
    'let a role, such as the owner of an application''s tables, execute all functions and read all views';

CREATE FUNCTION summary_cache_disallow(role regrole) RETURNS void
    AS 'MODULE_PATHNAME', 'sc_disallow'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_disallow(regrole) IS
    'take back what summary_cache_allow() has granted to a role';

--
-- Watching
--
CREATE FUNCTION summary_cache_reset_stats() RETURNS void
    AS 'MODULE_PATHNAME', 'sc_reset_stats'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION summary_cache_reset_stats() IS
    'set the counters of this database''s summaries to zero';

-- These take a new snapshot to see who may read, which a parallel operation does not allow.
CREATE FUNCTION summary_cache_stat_summaries(
        OUT summary name,
        OUT hits bigint, OUT progress_sections bigint, OUT stale bigint,
        OUT misses bigint, OUT private bigint,
        OUT private_disabled bigint, OUT private_writing bigint,
        OUT private_serializable bigint, OUT private_repeatable_read bigint,
        OUT private_may_not_publish bigint, OUT private_no_worker bigint,
        OUT unprovable bigint,
        OUT builds_miss bigint, OUT builds_forced bigint, OUT builds_inline bigint,
        OUT builds_background bigint, OUT builds_private bigint,
        OUT builds_wasted bigint, OUT builds_failed bigint, OUT builds_not_cached bigint,
        OUT build_ms_min double precision, OUT build_ms_mean double precision,
        OUT build_ms_max double precision, OUT build_ms_total double precision,
        OUT waits bigint, OUT wait_ms_total double precision,
        OUT bytes bigint, OUT fingerprint text, OUT refresh_requested boolean,
        OUT last_error text, OUT last_error_sqlstate text,
        OUT last_error_at timestamptz, OUT consecutive_failures integer,
        OUT stats_reset timestamptz,
        OUT evictions bigint,
        OUT forms_made bigint, OUT forms_failed bigint, OUT forms_not_kept bigint,
        OUT form_bytes bigint, OUT documents integer, OUT document_bytes bigint)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sc_stat_summaries'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION summary_cache_stat_sections(
        OUT summary name, OUT section name,
        OUT refresh text, OUT owner regrole, OUT state text, OUT reason text,
        OUT built_at timestamptz, OUT age interval, OUT build_ms double precision,
        OUT bytes bigint, OUT revision bigint, OUT pending integer, OUT fingerprint text,
        OUT sources regclass[], OUT parts integer, OUT parameters text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sc_stat_sections'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION summary_cache_stat_documents(
        OUT summary name, OUT parameters text[], OUT state text, OUT built_at timestamptz,
        OUT age interval, OUT build_ms double precision, OUT bytes bigint, OUT reads bigint,
        OUT last_read timestamptz, OUT refresh_requested boolean, OUT last_error text,
        OUT consecutive_failures integer)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sc_stat_documents'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION summary_cache_stat_parts(
        OUT summary name, OUT section name, OUT part integer, OUT keys text[],
        OUT state text, OUT built_at timestamptz, OUT age interval, OUT build_ms double precision,
        OUT bytes bigint, OUT revision bigint, OUT fingerprint text,
        OUT sources regclass[], OUT query text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sc_stat_parts'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION summary_cache_stat_tables(
        OUT source regclass, OUT sections text[],
        OUT revision bigint, OUT pending integer, OUT last_change timestamptz,
        OUT provable boolean, OUT reason text, OUT keyed text[])
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sc_stat_tables'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION summary_cache_stat_server(
        OUT launcher_pid integer, OUT workers integer, OUT workers_building integer,
        OUT requests_waiting bigint, OUT oldest_request_age interval,
        OUT workers_started bigint, OUT workers_refused bigint,
        OUT workers_failed bigint, OUT workers_terminated bigint,
        OUT builds_gave_way bigint,
        OUT documents_evicted bigint, OUT summaries_evicted bigint,
        OUT slots_refused bigint)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sc_stat_server'
    LANGUAGE C VOLATILE PARALLEL RESTRICTED;

CREATE VIEW summary_cache_stats AS SELECT * FROM summary_cache_stat_summaries();
COMMENT ON VIEW summary_cache_stats IS 'per summary: reads by status, builds, failures';
CREATE VIEW summary_cache_sections AS SELECT * FROM summary_cache_stat_sections();
COMMENT ON VIEW summary_cache_sections IS 'per section: what is cached, how old it is, whether it is current';
CREATE VIEW summary_cache_documents AS SELECT * FROM summary_cache_stat_documents();
COMMENT ON VIEW summary_cache_documents IS 'per cached document of a summary with parameters: the values, its state, size, age and reads';
CREATE VIEW summary_cache_parts AS SELECT * FROM summary_cache_stat_parts();
COMMENT ON VIEW summary_cache_parts IS 'per part of a section, which is built by itself: its query, what it reads, whether it is current, what it took';
CREATE VIEW summary_cache_tables AS SELECT * FROM summary_cache_stat_tables();
COMMENT ON VIEW summary_cache_tables IS 'per source table: its revision and whether it can be proven unchanged';
CREATE VIEW summary_cache_server AS SELECT * FROM summary_cache_stat_server();
COMMENT ON VIEW summary_cache_server IS 'one row: launcher, workers and what waits for them, over all databases';

--
-- Rights: nothing for PUBLIC.  A role that may execute a reading function sees
-- what the sections' owners see, of each summary that has no option readers or
-- has the role among them.
--
REVOKE ALL ON FUNCTION
    summary_cache_touch(),
    summary_cache_key(),
    state_summary(boolean),
    summary_cache_get(text, boolean, text[]),
    summary_cache_fetch(text, text, boolean, text[]),
    summary_cache_fetch_encoded(text, text, text, boolean, text[]),
    summary_cache_unchanged(text, text, text[]),
    summary_cache_define(text, text, text, anycompatible, text, boolean, text[], text[]),
    summary_cache_notices(text),
    summary_cache_drop(text, text),
    summary_cache_configure(text, text, text),
    summary_cache_invalidate(text, text, text[]),
    summary_cache_attach_state_hub(name),
    summary_cache_allow(regrole),
    summary_cache_disallow(regrole),
    summary_cache_reset_stats()
    FROM PUBLIC;
-- The functions of the views ask for SELECT on the view instead: see begin_rows() in stats.c.
REVOKE ALL ON
    summary_cache_stats, summary_cache_sections, summary_cache_documents, summary_cache_parts,
    summary_cache_tables, summary_cache_server
    FROM PUBLIC;
GRANT SELECT ON
    summary_cache_stats, summary_cache_sections, summary_cache_documents, summary_cache_parts,
    summary_cache_tables, summary_cache_server
    TO pg_monitor;

-- A table with a column of this type would keep the extension from being dropped.  (The types of rows
-- of the views would as well; but pg_dump warns of rights that an extension has set on such.)
REVOKE USAGE ON TYPE summary_cache_answer, summary_cache_encoded_answer FROM PUBLIC;

-- Last: a hub that is here is served at once.
CREATE FUNCTION summary_cache_installed() RETURNS void
    AS 'MODULE_PATHNAME', 'sc_installed' LANGUAGE C;
SELECT summary_cache_installed();
DROP FUNCTION summary_cache_installed();
