# Proves that temporary tables on a primary with the library end no hits on its standby, and that nothing else can pass for them.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my %query = (
	t => q{SELECT json_agg(json_build_array(id, n) ORDER BY id) AS t FROM t},
	f => q{SELECT f() AS f},
	g => q{SELECT g(1) AS g});

my $primary = Node->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
max_prepared_transactions = 10
autovacuum = off
allow_in_place_tablespaces = on
restart_after_crash = on
wal_level = replica
wal_keep_size = '256MB'
});
$primary->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF})) if $ENV{SC_DEBUG_CONF};
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (id int PRIMARY KEY, n int);
	INSERT INTO t SELECT i, 0 FROM generate_series(1, 5) i;
	CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 0';
	CREATE FUNCTION g(numeric) RETURNS int LANGUAGE sql AS 'SELECT 0';
	CREATE TABLE unrelated (n int);
	CREATE TABLESPACE place LOCATION '';
	CREATE ROLE some_role;
}
. join '', map { "SELECT summary_cache_define('s', '$_', \$\$$query{$_}\$\$);\n" } sort keys %query);
$primary->backup('backup');

my $standby = Node->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# Sessions that ask, so that a case needs no more processes than its own.
my ($asker, $watcher);

sub ask_anew
{
	$asker->quit if $asker;
	$asker = Session->new($standby);
	return;
}

# Of the primary: other sessions than those with this name are gone when they are not there.
sub kept_session
{
	my $session = Session->new($primary);
	$session->query(q{SET application_name = 'kept'});
	return $session;
}

my $rows = join ', ', map { "(SELECT to_json(q.$_) FROM ($query{$_}) q) AS $_" } sort keys %query;

# What the document has to be.
sub truth
{
	return $asker->query("SELECT (row_to_json(r)::jsonb)::text FROM (SELECT $rows) r");
}

sub answer
{
	return split /\|/, $asker->query(q{SELECT status, document::jsonb::text FROM summary_cache_fetch('s')}), 2;
}

# A hit, after the worker has refreshed if need be, and its document is right.
sub settled
{
	my ($what) = @_;
	my ($status, $document);
	wait_until(sub { ($status, $document) = answer(); return $status eq 'hit-revision' });
	is("$status $document", 'hit-revision ' . truth(), "$what: a right hit");
	return $document;
}

# What was built, and when.
sub built
{
	return $asker->query(q{SELECT string_agg(fingerprint, ' ' ORDER BY section) FROM summary_cache_sections});
}

# All that the primary has done is replayed, with what sessions leave to their ends.
sub caught_up
{
	my $others = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name = 'psql' AND pid <> pg_backend_pid()};
	is(wait_until(sub { return $watcher->query($others) eq '0' ? 'gone' : '' }), 'gone', 'the session is over') if $watcher->query($others) ne '0';
	my $lsn = $watcher->query('SELECT pg_current_wal_insert_lsn()');
	my $replayed = wait_until(sub { return $asker->query("SELECT pg_last_wal_replay_lsn() >= '$lsn'") eq 't' });
	ok($replayed, 'it is replayed') if !$replayed;
	return;
}

sub replay
{
	my ($sql) = @_;
	ref $sql ? $sql->() : $primary->safe_psql('postgres', $sql);
	caught_up();
	return;
}

# No hit hides a change of the document.
sub noticed
{
	my ($what, $sql) = @_;
	my $old = settled("before $what");
	replay($sql);
	my ($status, $document) = answer();
	isnt(truth(), $old, "$what: another document");
	ok($status ne 'hit-revision' || $document ne $old, "$what: noticed");
	settled($what);
	return;
}

# Whatever it is counts for everything, and writes are noticed still.
sub ended
{
	my ($what, $sql) = @_;
	settled("before $what");
	my $before = built();
	replay($sql);
	settled($what);
	isnt(built(), $before, "$what: all is built anew");
	noticed("a write after $what", 'UPDATE t SET n = n + 1 WHERE id = 2');
	return;
}

# The document stays what it is, and nothing is built.
sub unnoticed
{
	my ($what, $sql) = @_;
	my $old = settled("before $what");
	my $before = built();
	replay($sql);
	is(join(' ', answer()), "hit-revision $old", "$what: a hit, at once");
	is(built(), $before, "$what: nothing was built");
	return;
}

# How many records say that a transaction was about temporary relations only, or take that back.
sub messages
{
	my ($sql, $database) = @_;
	my $lsn = 'SELECT pg_current_wal_insert_lsn()';
	my $from = $watcher->query($lsn);
	$primary->safe_psql($database // 'postgres', $sql);
	caught_up();
	my $to = $watcher->query($lsn);
	$watcher->query('SELECT pg_switch_wal()');
	my $records = qx{pg_waldump --rmgr=LogicalMessage --path='${\$primary->data_dir}/pg_wal' --start=$from --end=$to 2>/dev/null};
	return scalar(() = $records =~ /prefix "summary_cache"/g);
}

$watcher = kept_session();
ask_anew();
caught_up();
settled('the first');

#
# Each kind of temporary relation, and each way in which it goes.  Each goes with its session, unless it is gone before.
#
unnoticed('a temporary table', 'CREATE TEMP TABLE x (n int)');
unnoticed('with all that a table can have', q{
	CREATE TEMP TABLE x (id serial PRIMARY KEY, n int DEFAULT 1 CHECK (n > 0) UNIQUE, big text);
	CREATE INDEX ON x (big) WHERE n > 1;
	CREATE TEMP TABLE y (x int REFERENCES x);
	CREATE VIEW seen AS SELECT n FROM x;
	CREATE RULE nothing AS ON INSERT TO y DO ALSO NOTHING;
	BEGIN;
	CREATE FUNCTION pg_temp.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER f BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION pg_temp.f();
	COMMIT;
	INSERT INTO x (big) SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) i;
	ANALYZE x;
	SELECT nextval('x_id_seq')});
unnoticed('its changes', q{
	CREATE TEMP TABLE x (n int, m int);
	ALTER TABLE x ADD o int DEFAULT 1, ALTER n TYPE bigint;
	ALTER TABLE x RENAME m TO p;
	ALTER TABLE x RENAME TO z;
	ALTER TABLE z OWNER TO some_role;
	TRUNCATE z;
	CREATE INDEX i ON z (n);
	CLUSTER z USING i;
	REINDEX TABLE z;
	ALTER TABLE z DROP p;
	DROP INDEX i;
	DROP TABLE z});
unnoticed('SELECT INTO', 'SELECT 1 AS n INTO TEMP x; DROP TABLE x');
unnoticed('CREATE TABLE AS', 'CREATE TEMP TABLE x AS SELECT n FROM t; DROP TABLE x');
unnoticed('ON COMMIT DROP', q{BEGIN; CREATE TEMP TABLE x (id serial PRIMARY KEY) ON COMMIT DROP; CREATE VIEW y AS SELECT id FROM x; COMMIT});
unnoticed('ON COMMIT DELETE ROWS', q{CREATE TEMP TABLE x (n int PRIMARY KEY) ON COMMIT DELETE ROWS; BEGIN; INSERT INTO x VALUES (1); COMMIT; INSERT INTO x VALUES (1)});
unnoticed('a tree', q{CREATE TEMP TABLE x (n int) PARTITION BY LIST (n); CREATE TEMP TABLE y PARTITION OF x FOR VALUES IN (1); INSERT INTO x VALUES (1); DROP TABLE x});
unnoticed('many', q{DO $$ BEGIN FOR i IN 1 .. 100 LOOP EXECUTE format('CREATE TEMP TABLE x%s (n int PRIMARY KEY)', i); END LOOP; END $$});
unnoticed('subtransactions', q{BEGIN; SAVEPOINT a; CREATE TEMP TABLE x (n int); SAVEPOINT b; DROP TABLE x; ROLLBACK TO b; CREATE TEMP TABLE y (n int); RELEASE a; DROP TABLE y; COMMIT});
unnoticed('a rollback', q{BEGIN; CREATE TEMP TABLE x (n int); ROLLBACK});
unnoticed('DISCARD TEMP', q{CREATE TEMP TABLE x (n int); DISCARD TEMP});
unnoticed('DISCARD ALL', q{CREATE TEMP TABLE x (id serial); DISCARD ALL});
unnoticed('beside a write to another table', q{BEGIN; CREATE TEMP TABLE x (n int); INSERT INTO unrelated VALUES (1); COMMIT});
unnoticed('beside real DDL that is rolled back', q{BEGIN; CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 7'; ROLLBACK; CREATE TEMP TABLE x (n int)});
unnoticed('a comment', q{COMMENT ON TABLE t IS 'x'; COMMENT ON ROLE some_role IS 'x'});
unnoticed('settings of a role', q{ALTER ROLE some_role SET work_mem = '1MB'});
noticed('a write to a source beside it', q{BEGIN; CREATE TEMP TABLE x (n int); UPDATE t SET n = n + 1; COMMIT});
noticed('... in a subtransaction', q{BEGIN; CREATE TEMP TABLE x (n int) ON COMMIT DROP; SAVEPOINT a; UPDATE t SET n = n + 1; RELEASE a; COMMIT});

# A server that was killed leaves temporary tables behind, which autovacuum removes
settled('before a crash');
my $killed = kept_session();
$killed->query('CREATE TEMP TABLE orphan (id serial PRIMARY KEY, big text)');
$watcher->quit;
kill 'KILL', $killed->pid;
ok($primary->poll_query_until('postgres', q{SELECT count(*) = 3 FROM pg_class WHERE relname ~ 'orphan' AND relpersistence = 't'}), 'a table whose session is gone');
$watcher = kept_session();
caught_up();
unnoticed('its removal by autovacuum', sub {
	$primary->append_conf('postgresql.conf', "autovacuum = on\nautovacuum_naptime = 1s");
	$primary->reload;
	ok(wait_until(sub { return $watcher->query(q{SELECT count(*) FROM pg_class WHERE relname ~ 'orphan'}) eq '0' }), '... is removed');
	$primary->append_conf('postgresql.conf', 'autovacuum = off');
	$primary->reload;
});

#
# What is no temporary relation
#
# it changes no relation: what the sections mean, and not what files they read
my $n = 0;
my $real = sub { return 'CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS $f$SELECT ' . ++$n . '$f$' };
noticed('DDL', $real->());
noticed('DDL before a temporary table', 'BEGIN; ' . $real->() . '; CREATE TEMP TABLE x (n int); COMMIT');
noticed('DDL after it', 'BEGIN; CREATE TEMP TABLE x (n int); ' . $real->() . '; COMMIT');
noticed('DDL in a subtransaction', 'BEGIN; CREATE TEMP TABLE x (n int) ON COMMIT DROP; SAVEPOINT a; ' . $real->() . '; RELEASE a; COMMIT');
noticed('DDL in a function', 'DO $$ BEGIN CREATE TEMP TABLE x (n int); EXECUTE \'' . $real->() . '\'; END $$');
# (where nothing was built, no DDL is known to change names only)
ok($primary->hit('s'), 'a hit on the primary');
noticed('DDL that changes names only, beside a temporary table',
	q{BEGIN; CREATE TEMP TABLE x (n int); CREATE FUNCTION g(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMIT});
noticed('DDL in the place of a temporary table that is rolled back',
	'BEGIN; SAVEPOINT a; CREATE TEMP TABLE x (n int); ROLLBACK TO a; ' . $real->() . '; COMMIT');
ended('a new file by TRUNCATE', 'BEGIN; CREATE TEMP TABLE x (n int); CREATE TEMP TABLE kept AS SELECT * FROM t; TRUNCATE t; INSERT INTO t SELECT * FROM kept; COMMIT');
ended('... in a subtransaction', 'BEGIN; CREATE TEMP TABLE kept AS SELECT * FROM t; SAVEPOINT a; TRUNCATE t; INSERT INTO t SELECT * FROM kept; RELEASE a; COMMIT');
ended('a new file by CLUSTER', 'BEGIN; CREATE TEMP TABLE x (n int); CLUSTER t USING t_pkey; COMMIT');
ended('another tablespace', 'BEGIN; CREATE TEMP TABLE x (n int); ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE place; COMMIT');
ended('a new index', 'BEGIN; CREATE TEMP TABLE x (n int); CREATE INDEX ON t (n); COMMIT');
ended('a password, which is in a shared catalog', q{ALTER ROLE some_role PASSWORD 'x'});
ended('... beside a temporary table', q{BEGIN; CREATE TEMP TABLE x (n int); ALTER ROLE some_role PASSWORD 'y'; COMMIT});
ended('a temporary type alone', q{CREATE TYPE pg_temp.e AS ENUM ('a')});

# a function that goes with the temporary table whose rows it takes
my $of_x = q{CREATE FUNCTION of_x(x) RETURNS int LANGUAGE sql AS 'SELECT 1'};
my $session = kept_session();
$session->query("CREATE TEMP TABLE x (n int); $of_x");
caught_up();
ended('a permanent function that goes with a session', sub {
	$session->quit;
	is(wait_until(sub { return $watcher->query(q{SELECT count(*) FROM pg_proc WHERE proname = 'of_x'}) eq '0' ? 'gone' : '' }), 'gone', '... is gone with it');
});
$session = kept_session();
$session->query("CREATE TEMP TABLE x (n int); $of_x");
caught_up();
ended('... by DISCARD', sub { $session->query('DISCARD TEMP') });
$session->query('CREATE TEMP TABLE x (n int)');
like(($primary->psql('postgres', q{BEGIN; CREATE TEMP TABLE x (n int); PREPARE TRANSACTION 'x'}))[2], qr/cannot PREPARE a transaction that has operated on temporary objects/, 'none is prepared');

# DDL that another library's callback executes, when that has been said already
SKIP:
{
	skip 'needs the debug build', 5 if !$ENV{SC_DEBUG_CONF};
	noticed('DDL late in the commit', q{BEGIN; CREATE TEMP TABLE x (n int); SET LOCAL summary_cache.debug_commit_sql = '} . $real->() . q{'; COMMIT});
	is(messages(q{BEGIN; CREATE TEMP TABLE x (n int) ON COMMIT DROP; SET LOCAL summary_cache.debug_commit_sql = '} . $real->() . q{'; COMMIT}), 2, '... takes it back');
}

#
# Who may write a message like that?  By SQL nobody can.
#
my $oid = $primary->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'postgres'});
my $content = unpack 'H*', pack 'LL', 1, $oid;
my $forged = "SELECT pg_logical_emit_message(true, 'summary_cache', '\\x$content'::bytea)";
noticed('DDL with a forged message', 'BEGIN; ' . $real->() . "; $forged; COMMIT");
noticed('... before it', "BEGIN; $forged; " . $real->() . '; COMMIT');
noticed('... in a subtransaction', "BEGIN; SAVEPOINT a; $forged; RELEASE a; " . $real->() . '; COMMIT');
unnoticed('a message beside nothing', $forged);
unnoticed('a message beside a temporary table', "BEGIN; CREATE TEMP TABLE x (n int) ON COMMIT DROP; SELECT pg_logical_emit_message(true, 'summary_cache', 'nonsense'); COMMIT");

#
# What is written, and where
#
my $temporary = 'BEGIN; CREATE TEMP TABLE x (id serial PRIMARY KEY) ON COMMIT DROP; COMMIT';
is(messages($temporary), 1, 'one record says it');
is(messages('INSERT INTO unrelated VALUES (1); UPDATE t SET n = n + 1; ANALYZE; ANALYZE; VACUUM; CREATE TABLE y (n int); DROP TABLE y; SELECT count(*) FROM t'), 0, 'nothing is written without temporary relations');
is(messages('CREATE TEMP TABLE x (n int); INSERT INTO x VALUES (1); UPDATE x SET n = 2; SELECT n FROM x'), 2, 'nor when one is used: it is written when it comes and when it goes');
$primary->safe_psql('postgres', 'CREATE DATABASE other');
is(messages($temporary, 'other'), 0, 'nor in a database without the extension');
caught_up();
unnoticed('a temporary table there', sub { $primary->safe_psql('other', $temporary) });

# DDL where the extension is created, and read, before it commits
my $early = Session->new($primary, 'other');
$early->query(q{SET application_name = 'kept'});
$early->query(q{CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'});
$early->query('BEGIN');
$early->query('CREATE TEMP TABLE x (n int)');
$early->query(q{CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'});
$primary->safe_psql('other', q{CREATE EXTENSION summary_cache; SELECT summary_cache_define('there', 'main', 'SELECT f() AS n')});
caught_up();
my $there = Session->new($standby, 'other');
my $fetch_there = q{SELECT status, document FROM summary_cache_fetch('there')};
ok(wait_until(sub { return $there->query($fetch_there) eq 'hit-revision|{"n":1}' }), 'a hit in a database that has the extension now');
$early->query('COMMIT');
caught_up();
isnt($there->query($fetch_there), 'hit-revision|{"n":1}', 'DDL from before it had is noticed');
$_->quit for $early, $there;

# Nobody is waited for
$session->query('BEGIN');
$session->query('CREATE TEMP TABLE z (n int)');
caught_up();
ended('a temporary table while a catalog is locked', sub {
	my $locker = kept_session();
	$locker->query('BEGIN');
	$locker->query('LOCK TABLE pg_extension IN ACCESS EXCLUSIVE MODE');
	$session->query('COMMIT');
	is($session->query(q{SELECT count(*) FROM pg_locks WHERE NOT granted}), '0', '... commits');
	$locker->query('COMMIT');
	$locker->quit;
});

#
# A transaction of which the standby has not seen all
#
$session->query('BEGIN');
$session->query('UPDATE t SET n = n + 1');
$session->query('CREATE TEMP TABLE y (n int)');
caught_up();
$asker->quit;
$standby->restart;
ask_anew();
noticed('what a transaction wrote before the standby was started', sub { $session->query('COMMIT') });
$session->quit;

#
# Decoders do not see it
#
$primary->append_conf('postgresql.conf', 'wal_level = logical');
$watcher->quit;
$primary->restart;
$watcher = kept_session();
caught_up();
$primary->safe_psql('postgres', q{CREATE PUBLICATION p FOR TABLE unrelated; SELECT pg_create_logical_replication_slot('p', 'pgoutput')});
caught_up();
unnoticed('temporary tables with wal_level = logical', $temporary);
$primary->safe_psql('postgres', q{SELECT pg_logical_emit_message(true, 'another', 'x')});
is($primary->safe_psql('postgres', q{SELECT count(*) FROM pg_logical_slot_get_binary_changes('p', NULL, NULL, 'proto_version', '1', 'publication_names', 'p', 'messages', 'true') WHERE get_byte(data, 0) = ascii('M')}),
	'1', 'of all messages a decoder has seen the other one only');
$primary->safe_psql('postgres', q{SELECT pg_drop_replication_slot('p')});

#
# Without the library on the primary
#
$primary->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$watcher->quit;
$primary->restart;
$watcher = kept_session();
caught_up();
ended('a temporary table of a primary without the library', 'CREATE TEMP TABLE x (n int)');
unnoticed('a comment there', q{COMMENT ON TABLE t IS 'y'; COMMENT ON ROLE some_role IS 'y'});
unnoticed('settings of a role there', q{ALTER ROLE some_role SET work_mem = '2MB'});

#
# The standby is promoted: it is a primary like any other
#
my $old = settled('before the promotion');
$watcher->quit;
$primary->stop('fast');
$standby->promote;
is(join(' ', answer()), "hit-revision $old", 'after the promotion: a hit');
$standby->safe_psql('postgres', 'BEGIN; CREATE TEMP TABLE x (n int); UPDATE t SET n = n + 1; COMMIT');
my ($status, $document) = answer();
ok($status ne 'hit-revision' || $document ne $old, 'what is written there is noticed');
$asker->quit;
$standby->stop;
done_testing();
