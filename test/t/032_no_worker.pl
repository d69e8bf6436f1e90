# Proves that where a worker cannot start, or is ended in the middle of a build, it is tried again at growing intervals, and readers go on.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "autovacuum = off\nsummary_cache.read_your_writes = off");
$node->start;
$node->safe_psql('postgres', q{
	CREATE DATABASE closed;
	CREATE EXTENSION summary_cache;
	CREATE TABLE slow (n int);
	INSERT INTO slow VALUES (1);
	SET client_min_messages = warning;
	SELECT summary_cache_define('slow', 'main', 'SELECT n, pg_advisory_xact_lock_shared(7)::text AS gate FROM slow')});
$node->safe_psql('closed', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	SELECT summary_cache_define('s', 'main', 'SELECT count(*) AS n FROM t');
	SELECT summary_cache_get('s')});
$node->backup('backup');

#
# A database that allows no connections, where a session goes on
#
my $n = 0;
my $session = Session->new($node, 'closed');
my $status = q{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('s')};
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS false');
for my $round (1 .. 30)
{
	my $answer = '';

	$session->query('INSERT INTO t VALUES (1)');
	$n++;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$answer = $session->query($status);
		last if $answer !~ /^stale/;
		select undef, undef, undef, 0.1;
	}
	if ($answer !~ /^(?:miss|hit-revision) $n$/)
	{
		fail("write $round is in the document") or diag $answer;
		last;
	}
}
is($n, 30, 'readers build what no worker can');

# A pause is as long as all before it together: 100 reads in five minutes see eight.
my $log = slurp_file($node->logfile);
my $failed = () = $log =~ /FATAL:  database "closed" is not currently accepting connections/g;
cmp_ok($failed, '>=', 1, 'a worker was tried');
cmp_ok($failed, '<=', 10, '... a few times only');
is(() = $log =~ /the summary_cache worker for database \d+ could not start/g, 1, '... which is said once');

$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
my $found = 0;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	$session->query("INSERT INTO t VALUES (1); $status");
	$found = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND datname = 'closed'});
	last if $found;
	select undef, undef, undef, 0.1;
}
ok($found, 'it comes when connections are allowed again');
ok($node->poll_query_until('closed', q{SELECT status FROM summary_cache_fetch('s')}, 'hit-revision'), '... and refreshes');
$session->quit;

#
# A standby, where a conflict with recovery ends the worker in the middle of a build
#
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 0');
$standby->start;
$node->wait_for_catchup($standby);

my $slow = q{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('slow')};
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND wait_event = 'advisory'};
is($standby->safe_psql('postgres', $slow), 'miss 1', 'a document of a standby');
my $holder = Session->new($standby);
$holder->query('SELECT pg_advisory_lock(7)');
$node->safe_psql('postgres', 'UPDATE slow SET n = 2');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $slow), 'stale 1', 'what was replayed makes it stale');
ok($standby->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($worker) w"), '... and a worker builds');
$node->safe_psql('postgres', 'BEGIN; TRUNCATE slow; INSERT INTO slow VALUES (3); COMMIT');
$node->wait_for_catchup($standby);
ok($standby->poll_query_until('postgres', "SELECT count(*) = 0 FROM ($worker) w"), '... which a conflict with recovery ends');
ok($standby->poll_query_until('postgres', q{SELECT consecutive_failures || ' ' || last_error_sqlstate || ' ' || last_error
	FROM summary_cache_stats WHERE summary = 'slow'}, '1 40001 the build was ended by a conflict with recovery'),
	'... which is a failure of the summary');
is($standby->safe_psql('postgres', $slow), 'stale 1', 'reads go on');
$holder->query('SELECT pg_advisory_unlock(7)');
ok($standby->poll_query_until('postgres', $slow, 'hit-revision 3'), 'and it is tried again');
$holder->quit;

$standby->stop;
$node->stop;
done_testing();
