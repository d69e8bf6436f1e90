# Proves that what we do after a user's DDL (a moved hub, DROP OWNED) neither fails nor holds up that DDL, and that other sessions see the right thing at once.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'summary_cache'});
$node->start;
$node->safe_psql('postgres', q{
	CREATE SCHEMA hub;
	CREATE TABLE hub.tasks (id int PRIMARY KEY, status text, updated_at timestamptz);
	CREATE TABLE hub.progress_events (id int PRIMARY KEY, created_at timestamptz);
	CREATE TABLE other (n int);
	CREATE SCHEMA ext;
	SET search_path = hub;
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache SCHEMA ext;
	INSERT INTO hub.tasks VALUES (1, 'open', now());
});
my $count = q{SELECT status, document -> 'tasks' ->> 'count' FROM ext.summary_cache_fetch()};
# What a command said on stderr; it must succeed.
sub said
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', $sql);

	is($ret, 0, $sql);
	return $err;
}

#
# Moved, while other sessions have plans and copies
#
my $reader = Session->new($node);
is($reader->query($count), 'miss|1', 'a session reads');
is($reader->query($count), 'hit-revision|1', '... and has a copy');
like(said('ALTER SCHEMA hub RENAME TO moved'), qr/NOTICE:  summary "state" follows the State Hub tables to schema "moved"/, 'it says so');
is($reader->query(q{SELECT document -> 'tasks' ->> 'count' FROM ext.summary_cache_fetch()}), '1', 'the session reads on');
$node->safe_psql('postgres', q{INSERT INTO moved.tasks VALUES (2, 'open', now())});
ok($node->poll_query_until('postgres', $count, 'hit-revision|2'), 'the worker refreshes over the moved tables');
is($reader->query($count), 'hit-revision|2', '... and the session has it');
# a move that is not committed
my $mover = Session->new($node);
$mover->query('BEGIN; ALTER SCHEMA moved RENAME TO away');
is($mover->query(q{SELECT document -> 'tasks' ->> 'count' FROM ext.summary_cache_fetch()}), '2', 'who moves reads on as well');
is($reader->query($count), 'hit-revision|2', 'and for others nothing has changed');
$mover->query('ROLLBACK');
is($reader->query($count), 'hit-revision|2', '... nor after the rollback');

# the extension itself
is(said('ALTER SCHEMA ext RENAME TO ext2'), '', 'nothing is said');
(my $count2 = $count) =~ s/ext\./ext2./g;
is($reader->query($count2 =~ s/fetch\(\)/fetch(force_refresh => true)/r), 'miss|2', 'under its new name');
$node->safe_psql('postgres', q{INSERT INTO moved.tasks VALUES (3, 'open', now())});
ok($node->poll_query_until('postgres', $count2, 'hit-revision|3'), 'the worker finds it there');
is(said('ALTER SCHEMA ext2 RENAME TO ext'), '', 'and back');
my ($ret, $out, $err) = $node->psql('postgres', 'ALTER EXTENSION summary_cache SET SCHEMA public');
like($err, qr/ERROR:.*does not support SET SCHEMA/, 'SET SCHEMA is refused');

#
# Somebody is changing definitions
#
my $definer = Session->new($node);
$definer->query(q{BEGIN; SELECT ext.summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM other')});
like(said('ALTER SCHEMA moved RENAME TO moved2'),
	qr/WARNING:  the summary of the State Hub does not follow its tables: another session is changing definitions\nHINT:  Call summary_cache_attach_state_hub\(\) with their schema\./,
	'the move does not wait for a definer');
$definer->query('COMMIT');
($ret, $out, $err) = $node->psql('postgres', 'SELECT ext.state_summary(true)');
like($err, qr/relation "moved.tasks" does not exist/, 'the error names the table');
like($node->safe_psql('postgres', $count), qr/^stale\|3$/, 'the old document is served');
$node->safe_psql('postgres', q{SET client_min_messages = warning; SELECT ext.summary_cache_attach_state_hub('moved2')});
is($node->safe_psql('postgres', $count =~ s/fetch\(\)/fetch(force_refresh => true)/r), 'miss|3', 'attaching heals');
# or has the table that we would look at
$definer->query('BEGIN; LOCK TABLE moved2.progress_events IN ACCESS EXCLUSIVE MODE');
like(said('ALTER SCHEMA moved2 RENAME TO hub'),
	qr/WARNING:  the summary of the State Hub does not follow its tables: could not obtain lock on relation "progress_events"/,
	'nor for who has locked a table');
$definer->query('ROLLBACK');
like(said('ALTER SCHEMA hub RENAME TO moved2'), qr/follows the State Hub tables to schema "moved2"/, 'moved back, it is as it was');
like(said('ALTER SCHEMA moved2 RENAME TO hub'), qr/follows the State Hub tables to schema "hub"/, 'and the next time it follows');


#
# Any other section
#
$node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE TABLE parent (id int); CREATE TABLE brother (id int);
	SELECT ext.summary_cache_define('family', 'core', 'SELECT (SELECT count(*) FROM parent) AS parents, (SELECT count(*) FROM brother) AS brothers');
});
my $family = q{SELECT ext.summary_cache_get('family', true)};
my $unnoticed = qr/section "core" of summary "family" does not follow what was renamed or moved: another session has locked what its query reads\nHINT:  If its query names that, call summary_cache_define\(\)/;
# what another table of the query is locked for cannot be waited for, as its holder may wait for us
$definer->query('BEGIN; LOCK TABLE brother IN ACCESS EXCLUSIVE MODE');
like(said('ALTER TABLE parent RENAME TO mother'), $unnoticed, 'a rename does not wait for what else the query reads');
$definer->query('ROLLBACK');
($ret, $out, $err) = $node->psql('postgres', $family);
like($err, qr/relation "parent" does not exist/, 'so the section does not follow, and says so');
is(said('ALTER TABLE mother RENAME TO parent'), '', 'renamed back, it reads on');
is($node->safe_psql('postgres', $family), '{"parents":0,"brothers":0}', '... as before');
# locked afterwards only: by the command's own transaction or another
$mover->query('BEGIN; ALTER TABLE brother RENAME TO sister');
like($mover->error, qr/NOTICE:  section "core" of summary "family" follows/, 'who has locked the table himself follows');
like(said('ALTER TABLE parent RENAME TO mother'), $unnoticed, 'beside him one more rename does not wait');
$mover->query('COMMIT');
($ret, $out, $err) = $node->psql('postgres', $family);
like($err, qr/relation "parent" does not exist/, 'one of two has followed');
$node->safe_psql('postgres', 'ALTER TABLE mother RENAME TO parent');
is($node->safe_psql('postgres', $family), '{"parents":0,"brothers":0}', '... and both are there');
# a definer that has not committed
$definer->query(q{BEGIN; SELECT ext.summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM other')});
like(said('ALTER TABLE parent RENAME TO mother'), qr/WARNING:  section "core" of summary "family" does not follow what was renamed or moved: another session is changing definitions/, 'nor does a rename wait for a definer');
$definer->query('COMMIT');
$node->safe_psql('postgres', 'ALTER TABLE mother RENAME TO parent');
# other sessions see it at commit
$family = q{SELECT status || document FROM ext.summary_cache_fetch('family')};
ok($node->poll_query_until('postgres', $family, 'hit-revision{"parents":0,"brothers":0}'), 'the document is current');
is($reader->query($family), 'hit-revision{"parents":0,"brothers":0}', 'a session reads');
$mover->query('BEGIN; ALTER TABLE parent RENAME TO mother; INSERT INTO mother VALUES (1)');
is($mover->query(q{SELECT ext.summary_cache_get('family')}), '{"parents":1,"brothers":0}', 'who renames reads on');
is($reader->query($family), 'hit-revision{"parents":0,"brothers":0}', 'others have what was committed');
$mover->query('COMMIT');
ok($node->poll_query_until('postgres', $family, 'hit-revision{"parents":1,"brothers":0}'), 'the worker refreshes under the new name');
is($reader->query(q{SELECT document FROM ext.summary_cache_fetch('family')}), '{"parents":1,"brothers":0}', '... and the session has it');
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('family'); DROP TABLE mother, sister});

# what a section's query runs while it is analysed: a constant is converted, by whoever's function
my $slow_table = q{
	CREATE FUNCTION slow(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
		IF current_setting('moves.slow', true) = 'on' THEN RAISE WARNING 'asleep'; PERFORM pg_sleep(600); END IF;
		RETURN true;
	END$$;
	CREATE DOMAIN slow_text AS text CHECK (slow(VALUE));
	CREATE TABLE quick (n int);
	SET client_min_messages = warning;
};
$node->safe_psql('postgres', $slow_table . q{
	SELECT ext.summary_cache_define('slow', 'core', $$SELECT '{x}'::slow_text[] AS x, count(*) AS n FROM quick$$);
	SELECT ext.summary_cache_define('slow', 'more', $$SELECT '{x}'::slow_text[] AS y$$);
});
my $slow = q{section "%s" of summary "slow" does not follow what was renamed or moved: its query takes too long to analyze};
my $said = said(q{SET moves.slow = on; SET statement_timeout = '30s'; ALTER TABLE quick RENAME TO quicker});
like($said, qr/${\sprintf($slow, 'core')}/, 'a rename does not wait for what a query runs');
like($said, qr/${\sprintf($slow, 'more')}/, '... or several');
is(() = $said =~ /asleep/g, 2, '... before the command or after it, for longer than one may take');
is(said('ALTER TABLE quicker RENAME TO quick'), '', 'and back');
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('slow'); DROP TABLE quick});

# meanwhile the extension goes
$node->safe_psql('postgres', 'CREATE DATABASE going');
$node->safe_psql('going', $slow_table . q{
	CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('a', 'core', $$SELECT '{x}'::slow_text[] AS x, count(*) AS n FROM quick$$);
	SELECT summary_cache_define('b', 'core', 'SELECT count(*) AS n FROM quick');
});
# Following may take a second.  A session that is there already can be quick enough; if it is not, once more.
my ($going, $dropper) = map { Session->new($node, 'going') } 1 .. 2;
my $doing;
$going->query('SET moves.slow = on');
for (1 .. 20)
{
	$going->send_sql('ALTER TABLE quick RENAME TO quicker');
	wait_until(sub {
		$doing = $dropper->query("SELECT coalesce(wait_event, '') FROM pg_stat_activity
			WHERE pid = $going->{pid} AND query LIKE 'ALTER TABLE quick %'");
		return $doing eq 'PgSleep' || $doing eq 'ClientRead';
	});
	last if $doing ne 'ClientRead';
	$going->query('ALTER TABLE quicker RENAME TO quick');
}
is($doing, 'PgSleep', 'in the middle of looking at sections');
$dropper->query('SET client_min_messages = warning; DROP EXTENSION summary_cache CASCADE');
$going->result;
like($going->error, qr/section "core" of summary "a" does not follow/, '... the extension is dropped');
is($going->query('SELECT count(*) FROM quicker'), '0', 'the table is renamed');
$_->quit for $going, $dropper;

#
# DROP OWNED beside an open writer
#
$node->safe_psql('postgres', q{
	CREATE ROLE leaving;
	GRANT USAGE ON SCHEMA ext TO leaving;
	GRANT SELECT, TRIGGER ON other TO leaving;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_define TO leaving;
	SELECT ext.summary_cache_drop('s');
	SET ROLE leaving;
	SELECT ext.summary_cache_define('leaving', 'core', 'SELECT count(*) AS n FROM other');
});
my $writer = Session->new($node);
$writer->query('BEGIN; INSERT INTO other VALUES (1)');
like(said(q{SET lock_timeout = '100ms'; DROP OWNED BY leaving}),
	qr/WARNING:  could not drop the sections of these roles: canceling statement due to lock timeout/,
	'a lock that cannot be had is no reason to fail');
is($node->safe_psql('postgres', q{SELECT has_table_privilege('leaving', 'other', 'SELECT'), count(*) FROM ext.summary_cache_definition WHERE summary = 'leaving'}),
	'f|1', 'the rights are gone, the section is there');
$writer->query('COMMIT');
is(said('DROP OWNED BY leaving'), '', 'once more');
is($node->safe_psql('postgres', q{SELECT count(*) FROM ext.summary_cache_definition WHERE summary = 'leaving'}), '0', 'it is dropped');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'other'::regclass}), '0', '... with its triggers');
is(said('DROP ROLE leaving'), '', 'and the role');

#
# A right that is taken away, seen by a session that has the document
#
$node->safe_psql('postgres', q{
	CREATE ROLE owner; CREATE ROLE reader;
	GRANT USAGE ON SCHEMA ext TO owner, reader;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_get TO reader;
	GRANT SELECT, TRIGGER ON other TO owner;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_define TO owner;
	SET ROLE owner;
	SELECT ext.summary_cache_define('lent', 'core', 'SELECT count(*) AS n FROM other');
});
$reader->query('SET ROLE reader');
my $get = q{SELECT ext.summary_cache_get('lent')};
is($reader->query($get), '{"n":1}', 'the reader reads');
$node->safe_psql('postgres', 'REVOKE SELECT ON other FROM owner; INSERT INTO other VALUES (2)');
is($reader->query($get), '{"n":1}', "the owner's right is gone: what was cached is served");
$node->safe_psql('postgres', q{SELECT ext.summary_cache_invalidate('lent')});
is($reader->query($get), '', 'until it is invalidated');
like($reader->error, qr/permission denied for table other/, '... with an error');
$node->safe_psql('postgres', q{GRANT SELECT ON other TO owner; SELECT ext.summary_cache_invalidate('lent')});
is($reader->query($get), '{"n":2}', 'granted again');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION ext.summary_cache_get FROM reader');
is($reader->query($get), '', "the reader's right is gone");
like($reader->error, qr/permission denied for function summary_cache_get/, 'at once');

$_->quit foreach ($reader, $mover, $definer, $writer);
$node->stop;
done_testing();
