# Proves that a commit which is killed, fails or is joined late at any of its steps neither hides a change nor leaves anything pending.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $node = Node->new('faults');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$node->append_conf('postgresql.conf', q{
restart_after_crash = on
synchronous_commit = on
summary_cache.worker_idle_timeout = 200ms
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (id int PRIMARY KEY, n int);
	CREATE TABLE late (n int);
	INSERT INTO t VALUES (1, 0);
	INSERT INTO late VALUES (0);
	SELECT summary_cache_define('s', 'main',
		'SELECT (SELECT n FROM t) AS n, (SELECT sum(n) FROM late) AS late', NULL, 'inline');
});

my $fetch = q{SELECT status, document->>'n', document->>'late' FROM summary_cache_fetch('s')};
my $truth = q{SELECT (SELECT n FROM t), (SELECT sum(n) FROM late)};
my $pending = 'SELECT sum(pending) FROM summary_cache_tables';

# A document as the tables are now, whatever it took, and the one after it from the cache.
sub is_right
{
	my ($what) = @_;
	my ($status, @document) = split /\|/, $node->safe_psql('postgres', $fetch);

	is(join('|', @document), $node->safe_psql('postgres', $truth), "$what: the document is right ($status)");
	like($node->safe_psql('postgres', $fetch), qr/^hit-revision/, "$what: and then cached");
	is($node->safe_psql('postgres', $pending), '0', "$what: nothing is pending");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}),
		'0', "$what: no lock is left");
	return;
}

is_right('at first');

#
# SIGKILL at each step.  The server restarts: what was committed shows.
#
for my $case (
	[ 'commit-cell', 0 ], [ 'commit-pending', 0 ],
	[ 'commit-visible', 1 ], [ 'commit-published', 1 ])
{
	my ($point, $committed) = @$case;
	my $before = $node->safe_psql('postgres', 'SELECT n FROM t');
	my $writer = Session->new($node);
	my $pid = $writer->pid;

	$writer->hold($point, 'UPDATE t SET n = n + 1');
	if ($committed)
	{
		$node->poll_query_until('postgres', 'SELECT n = ' . ($before + 1) . ' FROM t')
			or die "$point: never visible";
		# visible, and not yet told: exactly what pending is for
		unlike($node->safe_psql('postgres', $fetch), qr/^hit-revision\|$before\|/, "$point: no hit hides what is visible");
	}
	else
	{
		$node->poll_query_until('postgres',
			"SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $pid AND backend_xid IS NOT NULL")
			or die "$point: never there";
		like($node->safe_psql('postgres', $fetch), qr/^hit-revision\|$before\|/,
			"$point: a hit while it is not visible");
	}
	kill 'KILL', $pid;
	$writer->quit;
	$node->comes_back or die "$point: the server did not come back";
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	is($node->safe_psql('postgres', 'SELECT n FROM t'), $before + $committed, "$point: committed or not");
	is_right("killed at $point");
}

#
# DDL that is visible, but whose invalidations no session has got yet: what is built meanwhile by the
# old function may be no hit once the DDL has returned
#
$node->safe_psql('postgres', q{
	CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
	SELECT summary_cache_define('ddl', 'main', 'SELECT n, f() AS f FROM t')});
my $builder = Session->new($node);
my $build = q{SELECT document->>'f' FROM summary_cache_fetch('ddl', NULL, true)};
is($builder->query($build), '1', 'a builder knows the function');
my $ddl = Session->new($node);
$ddl->query("SET summary_cache.debug_point = 'commit-published'; SET summary_cache.debug_sleep = '2000000000'");
$ddl->send_sql(q{CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'});
$node->poll_query_until('postgres', q{SELECT prosrc = 'SELECT 2' FROM pg_proc WHERE proname = 'f'}) or die 'never visible';
$builder->query($build);
$ddl->wake;
like($builder->query(q{SELECT status, document->>'f' FROM summary_cache_fetch('ddl')}),
	qr/^(?!hit)|\|2$/, 'DDL: no hit with what it has replaced');
ok($node->poll_query_until('postgres', q{SELECT status, document->>'f' FROM summary_cache_fetch('ddl')}, 'hit-revision|2'),
	'DDL: it is rebuilt');
$_->quit for $builder, $ddl;
$node->safe_psql('postgres', q{SELECT summary_cache_drop('ddl')});
is_right('DDL');

#
# Another library's callback before the commit, after ours
#
my $session = Session->new($node);

$session->query(q{SET summary_cache.debug_commit_sql = 'UPDATE late SET n = n + 1'});
$session->query('UPDATE t SET n = n + 1');
is_right('a late write beside another');
$session->query('SELECT 1');
is($node->safe_psql('postgres', 'SELECT n FROM late'), '3', 'it wrote at each commit');
is_right('a late write alone');

$session->query(q{SET summary_cache.debug_commit_sql = ''});
my $doomed = sub { return qq{BEGIN; SET LOCAL summary_cache.debug_commit_sql = '$_[0]'; UPDATE t SET n = n + 100; COMMIT} };

$session->query($doomed->('SELECT 1/0'));
like($session->error, qr/division by zero/, 'its ERROR fails the transaction');
is_right('an ERROR');
eval { $session->query($doomed->('SELECT pg_terminate_backend(pg_backend_pid())')) };
is_right('a FATAL');

#
# PREPARE, killed where its words change hands; and one that failed late
#
$session = Session->new($node);
$session->hold('prepare-orphan', 'UPDATE t SET n = n + 1', "PREPARE TRANSACTION 'killed'");
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_prepared_xacts') or die 'not prepared';
my $pid = $session->pid;
kill 'KILL', $pid;
$session->quit;
$node->comes_back or die 'the server did not come back';
$node->safe_psql('postgres', $fetch);
like($node->safe_psql('postgres', $fetch), qr/^hit-revision/, 'a prepared transaction does not prevent hits');
$node->safe_psql('postgres', "COMMIT PREPARED 'killed'");
is_right('killed in PREPARE, then committed');

#
# No memory
#
$session = Session->new($node);
$session->query("SET summary_cache.debug_fail = 'marks'");
is($session->query('UPDATE t SET n = n + 1; SELECT 1'), '1', 'a write without memory for its marks is not refused');
is($session->error, '', 'nor told of it');
is_right('no memory for marks');
is($session->query("BEGIN; UPDATE t SET n = n + 1; SELECT status FROM summary_cache_fetch('s'); ROLLBACK"),
	'private', 'its own reads are private');
is($session->query("BEGIN; UPDATE t SET n = n + 1; PREPARE TRANSACTION 'nomem'; COMMIT PREPARED 'nomem'; SELECT 1"),
	'1', 'it can be prepared');
is_right('no memory for marks, prepared');

# each of json-c's allocations in turn
$session->query('RESET summary_cache.debug_fail');
for my $point (qw(json-object json json-add json-text))
{
	# for the worker as well, which tries it after the reader has failed
	$node->set_server('summary_cache.debug_fail', $point);
	$node->safe_psql('postgres', 'SELECT summary_cache_reset_stats(); UPDATE t SET n = n + 1');
	like($session->query($fetch), qr/^stale\|/, "no memory for the JSON ($point): the old document is served");
	is($node->safe_psql('postgres', 'SELECT last_error, last_error_sqlstate FROM summary_cache_stats'),
		'out of memory|53200', "and the error is seen ($point)");
	$node->set_server('summary_cache.debug_fail', undef, '');
	$node->poll_query_until('postgres', q{SELECT status <> 'stale' FROM summary_cache_fetch('s')}) or die 'never healed';
	is_right("no memory for the JSON ($point)");
}
# what json-c had got before is given back
sub heap { my ($kb) = slurp_file("/proc/${\$session->pid}/status") =~ /^VmData:\s+(\d+)/m; return $kb }
# (a sanitizer keeps what was freed)
if (-e '/proc/self/status' && pg_config('--cc') !~ /sanitize/)
{
	my $fail = q{DO $$BEGIN FOR i IN 1 .. %d LOOP BEGIN PERFORM summary_cache_get('s', true); EXCEPTION WHEN out_of_memory THEN NULL; END; END LOOP; END$$};
	for my $point (qw(json-add json-text))
	{
		$session->query("SET summary_cache.debug_fail = '$point'");
		$session->query(sprintf($fail, 200));
		my $before = heap();
		$session->query(sprintf($fail, 2000));
		cmp_ok(heap() - $before, '<', 2000, "2,000 such failures leave less than 1 kB each behind ($point)");
	}
	$session->query('RESET summary_cache.debug_fail');
}
$session->quit;

$node->stop;
done_testing();
