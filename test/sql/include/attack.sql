\set ECHO none
-- The attack: what a function that got into a query can do.  It returns 1, and one more for
-- each try that succeeded, and leaves its traces as advisory locks of the session, the only thing that outlives the build: 4711 and
-- the role that it ran as, 4712 and the number of what succeeded.
CREATE TABLE regress_attack.loot (what text);
GRANT ALL ON regress_attack.loot TO PUBLIC;
CREATE SEQUENCE regress_attack.seq;
GRANT ALL ON regress_attack.seq TO PUBLIC;
CREATE TABLE regress_attack.superusers (what text);
REVOKE ALL ON regress_attack.superusers FROM PUBLIC;
CREATE TABLE regress_attack.statements (id int PRIMARY KEY, statement text);
GRANT SELECT ON regress_attack.statements TO PUBLIC;
INSERT INTO regress_attack.statements (statement, id) SELECT * FROM unnest(ARRAY[
    -- rights
    'SET ROLE NONE', 'RESET ROLE', 'SET LOCAL ROLE NONE', 'SET ROLE regress_rights_super', 'SET ROLE regress_rights_reader',
    'SELECT set_config(''role'', ''none'', false)', 'SELECT set_config(''role'', ''none'', true)',
    'SET SESSION AUTHORIZATION DEFAULT', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION regress_rights_super',
    'GRANT regress_rights_super TO regress_rights_attacker', 'ALTER ROLE regress_rights_attacker SUPERUSER', 'CREATE ROLE regress_rights_new',
    'GRANT SELECT ON regress_attack.superusers TO regress_rights_attacker', 'SELECT * FROM regress_attack.superusers',
    'REASSIGN OWNED BY CURRENT_USER TO regress_rights_attacker', 'ALTER SYSTEM SET work_mem = 64',
    -- writing, now or later
    'SET transaction_read_only = off', 'SELECT set_config(''transaction_read_only'', ''off'', true)', 'SET TRANSACTION READ WRITE',
    'INSERT INTO regress_attack.loot VALUES (current_user)', 'UPDATE regress_attack.loot SET what = current_user',
    'DELETE FROM regress_attack.loot', 'TRUNCATE regress_attack.loot', 'COPY regress_attack.loot FROM PROGRAM ''echo x''',
    'CREATE TABLE public.regress_rights_new (x int)', 'CREATE TEMP TABLE regress_rights_new (x int)', 'CREATE TEMP TABLE regress_rights_new AS SELECT 1',
    'CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''SELECT 1''', 'CREATE TEMP VIEW regress_rights_new AS SELECT 1',
    'CREATE TRIGGER t AFTER INSERT ON regress_attack.loot EXECUTE FUNCTION regress_attack.try()',
    'SELECT nextval(''regress_attack.seq'')', 'SELECT setval(''regress_attack.seq'', 7)', 'SELECT * INTO TEMP regress_rights_new FROM regress_attack.loot',
    'SELECT FROM regress_attack.loot FOR UPDATE', 'COMMENT ON TABLE regress_attack.loot IS ''x''',
    -- what would be left in the session, and run with its user's rights
    'PREPARE p AS SELECT 1', 'DEALLOCATE ALL', 'LISTEN regress_rights', 'UNLISTEN *', 'DISCARD ALL', 'DISCARD TEMP',
    'DECLARE h CURSOR WITH HOLD FOR SELECT 1', 'CLOSE ALL', 'LOAD ''regress_rights_new''',
    -- files and programs
    'COPY regress_attack.loot TO PROGRAM ''cat''', 'COPY (SELECT 1) TO ''/dev/null''', 'COPY regress_attack.loot FROM ''/etc/passwd''',
    'SELECT pg_read_file(''PG_VERSION'')', 'SELECT lo_export(1, ''/dev/null'')', 'SELECT lo_import(''/etc/passwd'')',
    'SELECT pg_ls_dir(''.'')',
    -- our own functions: in the hands of who may execute them, they define only as the owner, and not in a build
    'SELECT summary_cache_define(''planted'', ''core'', ''SELECT 1 AS x'', ''{}'')', 'SELECT summary_cache_drop(''state'')',
    'SELECT summary_cache_attach_state_hub()', 'SELECT * FROM summary_cache.definition', 'SELECT * FROM summary_cache_stats'
    ]) WITH ORDINALITY AS s (statement, id);
-- owned by the attacker, as all that follows
ALTER TABLE regress_attack.loot OWNER TO regress_rights_attacker;
ALTER SEQUENCE regress_attack.seq OWNER TO regress_rights_attacker;
SET ROLE regress_rights_attacker;
CREATE FUNCTION regress_attack.try(OUT result int) LANGUAGE plpgsql AS $$
DECLARE
    s record;
BEGIN
    result := 1;
    -- while the scene is set, by owners in their own sessions
    IF current_setting('regress.disarmed', true) = 'on' THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_lock(4711, current_user::regrole::oid::int8::int);
    FOR s IN SELECT statement, id FROM regress_attack.statements ORDER BY id LOOP
        BEGIN
            EXECUTE s.statement;
            result := result + 1;
            PERFORM pg_advisory_lock(4712, s.id);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END $$;
-- the same for where an immutable one is needed; it runs when the query is planned
CREATE FUNCTION regress_attack.try_immutable(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN regress_attack.try(); END';
RESET ROLE;
-- The traces since it was asked last.
CREATE FUNCTION log() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
        SELECT 'ran as ' || objid::regrole FROM pg_locks
            WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = 4711
        UNION ALL
        SELECT 'DID: ' || statement FROM pg_locks JOIN regress_attack.statements ON id = objid::int8
            WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = 4712
        ORDER BY 1;
    PERFORM pg_advisory_unlock_all();
END $$;
-- What came of it in the end: no row, if nothing did.
CREATE FUNCTION harm() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT 'a row' FROM regress_attack.loot
    UNION ALL SELECT 'a number' FROM regress_attack.seq WHERE is_called
    UNION ALL SELECT 'a relation' FROM pg_class WHERE relname = 'regress_rights_new'
    UNION ALL SELECT 'a superuser: ' || rolname FROM pg_roles
        WHERE rolsuper AND rolname LIKE 'regress\_rights%' AND rolname <> 'regress_rights_super'
    UNION ALL SELECT 'a role' FROM pg_roles WHERE rolname = 'regress_rights_new'
    UNION ALL SELECT 'a summary' FROM summary_cache.definition WHERE summary = 'planted'
    UNION ALL SELECT 'a right' WHERE has_table_privilege('regress_rights_attacker', 'regress_attack.superusers', 'SELECT')
$$;
\set ECHO all
