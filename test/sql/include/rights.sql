\set ECHO none
-- Roles, their schemas, what they may execute, and a small hub, for the tests rights_*.  Each test drops
-- them again.
CREATE ROLE regress_rights_owner;
CREATE ROLE regress_rights_attacker;
CREATE ROLE regress_rights_reader;
CREATE ROLE regress_rights_noinherit NOINHERIT IN ROLE regress_rights_owner;
CREATE ROLE regress_rights_super SUPERUSER;
CREATE SCHEMA regress_rights AUTHORIZATION regress_rights_owner;
CREATE SCHEMA regress_attack AUTHORIZATION regress_rights_attacker;
GRANT USAGE ON SCHEMA regress_rights, regress_attack TO PUBLIC;
GRANT CREATE ON SCHEMA public TO regress_rights_attacker;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop, summary_cache_get, summary_cache_fetch
    TO regress_rights_owner, regress_rights_attacker;
GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_drop TO regress_rights_noinherit;
GRANT EXECUTE ON FUNCTION state_summary TO regress_rights_reader;
SET ROLE regress_rights_owner;
CREATE TABLE regress_rights.tasks (id int PRIMARY KEY, status varchar, updated_at timestamptz);
CREATE TABLE regress_rights.progress_events (id int PRIMARY KEY, note varchar, created_at timestamptz);
CREATE INDEX ON regress_rights.tasks (updated_at);
CREATE INDEX ON regress_rights.progress_events (created_at);
INSERT INTO regress_rights.tasks VALUES (1, 'open', '2026-01-01 00:00+00'), (2, 'done', '2026-01-02 00:00+00');
INSERT INTO regress_rights.progress_events VALUES (1, 'note', '2026-01-01 00:00+00');
RESET ROLE;
\set ECHO all
