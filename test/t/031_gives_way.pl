# Proves that no build stands in the way of a session that locks tables: the worker gives way, nobody waits holding one source for another, and one locked source costs its own summary only.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	deadlock_timeout = 20ms
	log_min_messages = debug1
	summary_cache.worker_idle_timeout = 10min
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub stat_of { return sql("SELECT $_[0] FROM summary_cache_stats WHERE summary = '$_[1]'"); }

# unseen() reads b at run time and lets no setting end its wait; swallow() catches whatever ends it.
sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE a (n int);
	CREATE TABLE b (n int);
	CREATE TABLE c (n int);
	CREATE TABLE tree (n int) PARTITION BY RANGE (n);
	CREATE TABLE member PARTITION OF tree FOR VALUES FROM (0) TO (1000);
	CREATE FUNCTION unseen() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
	DECLARE
		found bigint;
	BEGIN
		PERFORM set_config('lock_timeout', '0', true);
		EXECUTE 'SELECT count(*) FROM b' INTO found;
		RETURN found;
	END $$;
	CREATE FUNCTION swallow() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
	BEGIN
		RETURN unseen();
	EXCEPTION WHEN OTHERS OR query_canceled THEN
		RETURN -1;
	END $$;
	SET client_min_messages = warning;
	SELECT summary_cache_define('two', 'main', 'SELECT (SELECT count(*) FROM a) AS n, (SELECT count(*) FROM b) AS m');
	SELECT summary_cache_define('tree', 'main', 'SELECT (SELECT count(*) FROM a) AS n, (SELECT count(*) FROM tree) AS m');
	SELECT summary_cache_define('within', 'main', 'SELECT (SELECT count(*) FROM a) AS n, unseen() AS m', '{a, b}');
	SELECT summary_cache_define('hidden', 'main', 'SELECT (SELECT count(*) FROM a) AS n, swallow() AS m', '{a}');
	SELECT summary_cache_define('bystander', 'main', 'SELECT count(*) AS n FROM c');
});

my $log_at = 0;

# Wait until the refresh of a summary has given way twice from now on: it is tried again.
sub gives_way
{
	my ($summary) = @_;

	$log_at = -s $node->logfile;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $log = slurp_file($node->logfile, $log_at);

		return 1 if 2 <= (() = $log =~ /the refresh of summary "$summary" gives way/g);
		select undef, undef, undef, 0.1;
	}
	return 0;
}

sub fresh
{
	my ($summary, $what) = @_;

	ok($node->poll_query_until('postgres', qq{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('$summary')},
		'hit-revision ' . sql('SELECT count(*) FROM ' . ($summary eq 'bystander' ? 'c' : 'a'))), $what);
	return;
}

my $user = Session->new($node);

#
# A worker beside a transaction that locks first one source, then the other; nobody reads
#
for my $case ([ 'two', 'b' ], [ 'tree', 'member' ], [ 'within', 'b' ], [ 'hidden', 'b' ])
{
	my ($summary, $table) = @$case;

	sql(qq{SELECT summary_cache_configure('$summary', 'eager_refresh', 'on'); SELECT summary_cache_get('$summary', true)});
	my $failed = stat_of('builds_failed', $summary);
	$user->query("BEGIN; TRUNCATE $table");
	sql('INSERT INTO a VALUES (1)');
	ok(gives_way($summary), "$summary: the worker gives way, and tries again");
	sql('INSERT INTO c VALUES (1)');
	fresh('bystander', "$summary: another summary is refreshed meanwhile");
	$user->query('TRUNCATE a; INSERT INTO a VALUES (1), (2)');
	is($user->error, '', "$summary: who locks one source and then the other is not in a deadlock");
	$user->query('COMMIT');
	is($user->error, '', '... and commits');
	fresh($summary, "$summary: it is refreshed when the lock is gone");
	is(stat_of('builds_failed', $summary), $failed, "$summary: that was no failure");
	is(sql(qq{SELECT document->>'m' FROM summary_cache_fetch('$summary')}),
		sql("SELECT count(*) FROM $table"), "$summary: nor does the document show a build that had to give way");
	sql(qq{SELECT summary_cache_configure('$summary', 'eager_refresh', NULL)});
}

#
# A reader that must wait holds nothing meanwhile, and its turn stops no worker
#
for my $case ([ 'two', 'b' ], [ 'tree', 'member' ])
{
	my ($summary, $table) = @$case;
	my $reader = Session->new($node);

	$user->query("BEGIN; LOCK TABLE $table IN ACCESS EXCLUSIVE MODE");
	$reader->send_sql("SELECT status FROM summary_cache_fetch('$summary', force_refresh => true)");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = '$table'::regclass AND NOT granted"),
		"$summary: a reader that builds waits for $table");
	sql('BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE NOWAIT; COMMIT');
	pass("$summary: ... and not with another source locked");
	sql('INSERT INTO a VALUES (1)');
	is(sql(qq{SELECT status FROM summary_cache_fetch('$summary')}), 'stale', "$summary: ... others are answered");
	ok(gives_way($summary), "$summary: the worker does not wait for it");
	sql('INSERT INTO c VALUES (1)');
	fresh('bystander', "$summary: another summary is refreshed meanwhile");
	$user->query('COMMIT');
	is($reader->result, 'miss', "$summary: the reader builds");
	fresh($summary, "$summary: it is refreshed");
	$reader->quit;
}

#
# build_timeout counts the wait for the sources
#
$user->query('BEGIN; LOCK TABLE b IN ACCESS EXCLUSIVE MODE');
my (undef, undef, $err) = $node->psql('postgres', q{
	\set VERBOSITY verbose
	SET lock_timeout = '20s';
	SET summary_cache.build_timeout = '50ms';
	SELECT summary_cache_get('two', true);});
like($err, qr/ERROR:  57014: waiting for the sources of summary "two" took longer than 50 ms/, 'a build that waits too long for its sources');
$user->query('COMMIT');
fresh('two', 'after that');

#
# An idle worker that the server's shutdown ends
#
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND state = 'idle'}),
	'a worker is idle');
$user->quit;
$node->stop;
unlike(slurp_file($node->logfile), qr/FATAL: .*summary_cache worker/, '... and leaves without a FATAL message');

done_testing();
