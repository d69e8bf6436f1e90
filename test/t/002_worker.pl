# Proves that the background worker comes when needed, leaves when not, and that nothing is lost with it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;
use Time::HiRes qw(usleep);

my $status = q{SELECT status FROM summary_cache_fetch('s')};
my $document = q{SELECT document FROM summary_cache_fetch('s')};
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'};
my $worker_pid = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'};

# A build waits while somebody holds advisory lock 42 of the database.
my $gate = q{pg_advisory_xact_lock_shared(42)::text AS gate};
my $at_gate = anybody_at_gate(42);
my $worker_at_gate = at_gate(42);

my $node = Node->new('main');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', q{
	summary_cache.worker_idle_timeout = 500ms
	restart_after_crash = on
	log_min_messages = log
	autovacuum = off
});
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	SELECT summary_cache_define('s', 'main', 'SELECT (SELECT n FROM t) AS n, $gate');
});

sub hit
{
	my ($name, $n, $db) = @_;
	ok($node->hit('s', $db), "$name: it is refreshed");
	like($node->safe_psql($db // 'postgres', $document), qr/"n":$n\b/, "$name: with the newest data");
	return;
}

#
# On demand
#
my $holder = Session->new($node);
is($node->safe_psql('postgres', "$status; $status; $workers"), "miss\nhit-revision\n0", 'no worker while nobody needs one');
$node->safe_psql('postgres', 'UPDATE t SET n = 2');
is($node->safe_psql('postgres', $workers), '0', 'a write starts none');
$holder->query('SELECT pg_advisory_lock(42)');
is($node->safe_psql('postgres', $status), 'stale', 'a read of what has changed is answered at once');
$node->polled($worker_at_gate, '1', 'and starts a worker that builds');
like($node->safe_psql('postgres', q{SELECT query FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'}),
	qr/refreshing summary "s"/, '... whose activity says so');
is($node->safe_psql('postgres', "$status; $status; $workers"), "stale\nstale\n1", 'one worker, and readers do not wait for it');
$holder->query('SELECT pg_advisory_unlock(42)');
hit('worker', 2);
$node->polled($workers, '0', 'an idle worker leaves');
$node->safe_psql('postgres', 'UPDATE t SET n = 3');
hit('next worker', 3);

#
# Both sections are built under one snapshot.  The holder takes the gate anew
# when the build is through: what is seen then is what that build made.
#
$node->safe_psql('postgres', q{
	CREATE TABLE t2 (n int);
	INSERT INTO t2 VALUES (3);
	SELECT summary_cache_define('s', 'other', 'SELECT (SELECT n FROM t2) AS m');
	SELECT summary_cache_get('s', true);
	UPDATE t SET n = 4; UPDATE t2 SET n = 4;
});
$holder->query('SELECT pg_advisory_lock(42)');
$node->safe_psql('postgres', $status);
$node->polled($worker_at_gate, '1', 'a worker is between its snapshot and the second section');
$node->safe_psql('postgres', 'BEGIN; UPDATE t SET n = 5; UPDATE t2 SET n = 5; COMMIT');
$holder->query('SELECT pg_advisory_unlock(42); SELECT pg_advisory_lock(42)');
my $both = $node->safe_psql('postgres', q{SELECT document->>'n' || ' ' || (document->>'m') FROM summary_cache_fetch('s')});
is($both, '4 4', 'both sections are from one snapshot');
$holder->query('SELECT pg_advisory_unlock(42)');
hit('after both', 5);
$node->safe_psql('postgres', q{SELECT summary_cache_drop('s', 'other')});
hit('after the drop of a section', 5);

#
# Cancelled in the middle of a build.  That is a failure: else the build would begin again at once.
#
$holder->query('SELECT pg_advisory_lock(42)');
$node->safe_psql('postgres', 'UPDATE t SET n = 50');
is($node->safe_psql('postgres', $status), 'stale', 'stale before a cancel');
$node->polled($worker_at_gate, '1', 'a worker to cancel');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(($worker_pid))");
$node->polled('SELECT consecutive_failures > 0, last_error_sqlstate FROM summary_cache_stats', 't|57014', 'that is a failure of the build');
is($node->safe_psql('postgres', $status), 'stale', 'reads go on');
$holder->query('SELECT pg_advisory_unlock(42)');
hit('after a cancel', 50);

#
# Terminated, and killed, in the middle of a build
#
$holder->query('SELECT pg_advisory_lock(42)');
$node->safe_psql('postgres', 'UPDATE t SET n = 6');
is($node->safe_psql('postgres', $status), 'stale', 'stale before SIGTERM');
$node->polled($worker_at_gate, '1', 'a worker to terminate');
my $pid = $node->safe_psql('postgres', $worker_pid);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$node->polled("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0', 'it is gone at once');
is($node->safe_psql('postgres', q{SELECT last_error IS NULL FROM summary_cache_stats}), 't', 'that is not a failure of the build');
is($node->safe_psql('postgres', $status), 'stale', 'reads go on');
$holder->query('SELECT pg_advisory_unlock(42)');
hit('after SIGTERM', 6);

$holder->query('SELECT pg_advisory_lock(42)');
$node->safe_psql('postgres', 'UPDATE t SET n = 7');
is($node->safe_psql('postgres', $status), 'stale', 'stale before SIGKILL');
$node->polled($worker_at_gate, '1', 'a worker to kill');
$pid = $node->safe_psql('postgres', $worker_pid);
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
kill 'KILL', $pid;
eval { $holder->query('SELECT 1') };
$holder->quit;
$node->comes_back or die 'the server did not come back';
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server restarts after SIGKILL');
is($node->safe_psql('postgres', "$status; $status"), "miss\nhit-revision", 'reads are answered');
$node->safe_psql('postgres', 'UPDATE t SET n = 8');
hit('after SIGKILL', 8);
$holder = Session->new($node);

#
# Failures
#
$node->safe_psql('postgres', q{
	CREATE TABLE d (x int);
	INSERT INTO d VALUES (1);
	SELECT summary_cache_define('f', 'main', 'SELECT 100 / x AS q FROM d');
	SELECT summary_cache_get('f');
});
my $f_status = q{SELECT status FROM summary_cache_fetch('f')};
my $failing = q{SELECT last_error, last_error_sqlstate, last_error_at IS NOT NULL
	FROM summary_cache_stats WHERE summary = 'f'};
my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'UPDATE d SET x = 0');
$node->polled("SELECT 'stale' = status AND (SELECT consecutive_failures >= 2 FROM summary_cache_stats
	WHERE summary = 'f') FROM summary_cache_fetch('f')", 't', 'a refresh that fails is tried again, and reads go on');
is($node->safe_psql('postgres', $failing), 'division by zero|22012|t', 'the failure is visible');
my $log = slurp_file($node->logfile, $offset);
is(() = $log =~ /could not refresh summary "f"/g, 1, 'it is logged once');
$node->safe_psql('postgres', 'UPDATE d SET x = 4');
$node->polled($f_status, 'hit-revision', 'it heals by itself');
is($node->safe_psql('postgres', q{SELECT (summary_cache_get('f'))->>'q'}), '25', 'with the newest data');
is($node->safe_psql('postgres', $failing), '||t', 'the error is gone, its time stays');
$log = slurp_file($node->logfile, $offset);
is(() = $log =~ /summary "f" is refreshed again/g, 1, 'recovery is logged');

# a query that is long may not fit anybody's screen: who reads is told what is wrong with it, and the log has it
$node->sql(q{CREATE TABLE x (n int); INSERT INTO x VALUES (1);
	SELECT summary_cache_define('x', 'main', 'SELECT n, ''a long query'' AS long FROM x'); SELECT 1 FROM summary_cache_get('x')});
$offset = -s $node->logfile;
$node->sql('ALTER TABLE x DROP n');
my (undef, undef, $told) = $node->psql('postgres', q{SET log_min_messages = error; SELECT summary_cache_get('x', true)});
like($told, qr/ERROR: .*column "n" does not exist/, 'a query that cannot be analysed any more');
unlike($told, qr/a long query/, '... is not sent to who reads');
$node->polled(q{SELECT consecutive_failures > 0 FROM summary_cache_stats WHERE summary = 'x'}, 't', '... and the worker fails as well');
$log = slurp_file($node->logfile, $offset);
like($log, qr/ERROR: .*column "n" does not exist\n.*DETAIL:  (?:.*\n)?.*Query: SELECT n, 'a long query' AS long FROM x/, 'the log has the query');
like($log, qr/could not refresh summary "x": .*\n.*DETAIL:  .*\n.*Query: SELECT n, 'a long query' AS long FROM x/, '... of the refresh, too');
my (undef, undef, $position) = $node->psql('postgres', q{SELECT summary_cache_define('x', 'main', 'SELECT n, ''a long query'' AS long FROM x')});
like($position, qr/column "n" does not exist\nLINE 1: SELECT n, 'a long query' AS long FROM x\n/, 'who defines is shown where it fails');
$node->sql(q{SELECT summary_cache_drop('x')});

#
# Databases that are copied, renamed and dropped while their worker is there,
# idle or in the middle of a build that would take minutes
#
$node->append_conf('postgresql.conf', "summary_cache.worker_idle_timeout = 10min");
$node->reload;
$node->safe_psql('postgres', 'CREATE DATABASE w');
$node->safe_psql('w', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int, slow bool);
	INSERT INTO t VALUES (1, false);
	SELECT summary_cache_define('s', 'main',
		'SELECT n, CASE WHEN slow THEN pg_sleep(600)::text END AS slept FROM t');
	SELECT summary_cache_get('s');
});

# Write and read until the database has a worker; a slow one builds for minutes.
sub has_worker
{
	my ($db, $slow) = @_;
	my $found = 0;
	for (my $i = 0; !$found && $i < 10 * $PostgreSQL::Test::Utils::timeout_default; $i++)
	{
		# whoever reads just after another worker had to leave builds itself
		$node->safe_psql($db, "UPDATE t SET n = n + 1, slow = $slow");
		$node->psql($db, "SET statement_timeout = '1s'; $status");
		$found = $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity
			WHERE backend_type = 'summary_cache worker' AND datname = '$db'"
			. ($slow eq 'true' ? q{ AND wait_event = 'PgSleep'} : ''));
		usleep(100_000) if !$found;
	}
	ok($found, "$db has a worker");
	return;
}

has_worker('w', 'false');
$node->safe_psql('postgres', 'CREATE DATABASE w_copy TEMPLATE w');
pass('CREATE DATABASE ... TEMPLATE beside an idle worker');
$node->safe_psql('postgres', 'CREATE DATABASE w_copy2 TEMPLATE w');
is($node->safe_psql('w_copy', "$status; $status"), "miss\nhit-revision", 'the copy serves');
is($node->safe_psql('w', 'SELECT count(*) FROM t'), '1', 'and the original is there');

has_worker('w_copy', 'true');
# of what the next worker builds, which may be there at once; the one that is there goes on with what it has seen
$node->safe_psql('w_copy', 'UPDATE t SET slow = false, n = 4');
$node->safe_psql('postgres', 'ALTER DATABASE w_copy RENAME TO w_renamed');
pass('ALTER DATABASE ... RENAME beside a worker that builds');
hit('renamed', 4, 'w_renamed');
$node->safe_psql('postgres', 'DROP DATABASE w_renamed');

has_worker('w_copy2', 'true');
$node->safe_psql('postgres', 'DROP DATABASE w_copy2');
pass('DROP DATABASE beside a worker that builds');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'w\_%'}), '0', 'it is gone');

#
# DROP EXTENSION under load: no write fails for it
#
my $writes = PostgreSQL::Test::Utils::tempdir . '/writes.sql';
my $reads = PostgreSQL::Test::Utils::tempdir . '/reads.sql';
append_to_file($writes, "UPDATE t SET n = n + 1;\n");
append_to_file($reads, q{
DO $$
BEGIN
	PERFORM summary_cache_get('s');
EXCEPTION WHEN undefined_function OR undefined_object OR undefined_table OR deadlock_detected THEN NULL;
END $$;
});
my ($pgbench_out, $pgbench_err) = ('', '');
my $pgbench = IPC::Run::start(
	[ 'pgbench', '-n', '-c', '4', '-T', '3', '-f', $writes, '-f', $reads, '-d', 'dbname=postgres' ],
	'>', \$pgbench_out, '2>', \$pgbench_err,
	init => sub { @ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port) });
for my $round (1 .. 5)
{
	$node->safe_psql('postgres', qq{
		SET deadlock_timeout = '10s';
		DROP EXTENSION summary_cache;
		SELECT pg_sleep(0.1);
		CREATE EXTENSION summary_cache;
		SELECT summary_cache_define('s', 'main', 'SELECT (SELECT n FROM t) AS n, $gate');
		SELECT pg_sleep(0.1);
	});
}
$pgbench->finish;
is($pgbench->result(0), 0, 'no client of the load failed') or note $pgbench_err;
unlike($pgbench_err, qr/ERROR/, 'and no statement');
hit('after DROP EXTENSION under load', $node->safe_psql('postgres', 'SELECT n FROM t'));
is($node->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', 'nothing is pending');

#
# No worker to be had: one caller refreshes, the others are served stale
#
for my $case (
	[ 'max_worker_processes = 0', 'no worker process is allowed' ],
	[ 'max_worker_processes = 1', 'the only worker process is the logical replication launcher' ])
{
	my ($setting, $name) = @$case;
	$holder->quit;
	$node->append_conf('postgresql.conf', $setting);
	$node->restart;
	$holder = Session->new($node);
	is($node->safe_psql('postgres', "$status; $status"), "miss\nhit-revision", "$name: reads work");
	$holder->query('SELECT pg_advisory_lock(42)');
	$node->safe_psql('postgres', 'UPDATE t SET n = -n');
	my $caller = Session->new($node)->send_sql("SELECT status, document->>'n' = (SELECT n FROM t)::text FROM summary_cache_fetch('s')");
	$node->polled($at_gate, '1', "$name: one caller builds");
	is($node->safe_psql('postgres', "$status; $status"), "stale\nstale", "$name: the others need not wait");
	$holder->query('SELECT pg_advisory_unlock(42)');
	is($caller->result, 'miss|t', "$name: the caller has the newest data");
	is($node->safe_psql('postgres', $status), 'hit-revision', "$name: and all have it from the cache");
	$caller->quit;
}

$holder->quit;
$node->stop;
done_testing();
