# Proves that the launcher gives every database its turn, keeps what is short from waiting for what is long, and loses no request: not for want of a place, nor with its own end.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

# A build of "slow" waits while somebody holds advisory lock 42 of its database.
my $define = q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE slow (n int); INSERT INTO slow VALUES (0);
	CREATE TABLE fast (n int); INSERT INTO fast VALUES (0);
	SET client_min_messages = warning;
	SELECT summary_cache_define('slow', 'main', 'SELECT n, pg_advisory_xact_lock_shared(42)::text AS gate FROM slow');
	SELECT summary_cache_define('fast', 'main', 'SELECT n FROM fast');
	SELECT summary_cache_get('slow'), summary_cache_get('fast')};
my $launcher = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache launcher'};
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'};
my $at_gate = at_gate(42);
my @databases = map { "d$_" } 1 .. 6;

my $node = Node->new('main');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', q{
	max_worker_processes = 5
	max_parallel_workers_per_gather = 2
	summary_cache.eager_refresh = on
	summary_cache.max_workers = 2
	summary_cache.worker_idle_timeout = 1h
	autovacuum = off
	restart_after_crash = on
});
$node->start;
$node->sql('CREATE DATABASE d1');
$node->sql($define, 'd1');
$node->sql("CREATE DATABASE $_ TEMPLATE d1") for @databases[1 .. $#databases];
$node->sql(q{SELECT summary_cache_get('slow'), summary_cache_get('fast')}, $_) for @databases;

is($node->sql("SELECT datname IS NULL, wait_event_type FROM pg_stat_activity WHERE backend_type = 'summary_cache launcher'"),
	't|Extension', 'the launcher is there, in no database');
is($node->sql($launcher), $node->sql('SELECT launcher_pid FROM summary_cache_server', 'd1'), '... and the view says so');

#
# More databases than workers, and a worker leaves only if it is asked to
#
my @sessions = map { Session->new($node, $_) } @databases;
for my $round (1 .. 3)
{
	$_->query('UPDATE fast SET n = n + 1') for @sessions;
	$node->becomes_current($_, 'fast', "turns, round $round: $_ is refreshed without a reader") for @databases;
}
cmp_ok($node->sql($workers), '<=', 2, 'by no more workers than there may be');
is(join(' ', map { $_->query(fetch('fast')) } @sessions), join(' ', ('hit-revision 3') x @databases), '... with the newest data');
is($node->sql(q{SELECT requests_waiting, oldest_request_age IS NULL, workers_refused, workers_failed FROM summary_cache_server}, 'd1'),
	'0|t|0|0', 'nothing waits any more');
is($sessions[0]->query('SELECT sum(misses + private) FROM summary_cache_stats'), '2', '... and no reader has built but at the beginning');

#
# What is long keeps one worker, and not the other; of three, one is left to other databases
#
$node->set_server('summary_cache.max_workers', 3);
my @holders = map { Session->new($node, $_) } @databases[0, 1];
$_->query('SELECT pg_advisory_lock(42)') for @holders;
$sessions[0]->query('UPDATE slow SET n = n + 1');
$node->polled($at_gate, '1', 'a build that goes on and on');
for my $round (1 .. 3)
{
	$sessions[0]->query('UPDATE fast SET n = n + 1');
	$node->becomes_current('d1', 'fast', "beside it, round $round: another summary of the same database is refreshed");
}
is($sessions[0]->query(state_of('slow')), 'stale', '... while that build goes on');
$sessions[1]->query('UPDATE slow SET n = n + 1');
$node->polled($at_gate, '2', 'one more, in another database');
$sessions[0]->query('UPDATE fast SET n = n + 1');
$node->becomes_current('d1', 'fast', 'the third worker is shared: one database');
$sessions[2]->query('UPDATE fast SET n = n + 1');
$node->becomes_current('d3', 'fast', '... and another');
$sessions[0]->query(q{SET client_min_messages = warning;
	CREATE TABLE slow2 (n int); INSERT INTO slow2 VALUES (0);
	SELECT summary_cache_define('slow2', 'main', 'SELECT n, pg_advisory_xact_lock_shared(42)::text AS gate FROM slow2', run_query => false)});
$holders[1]->query('SELECT pg_advisory_unlock(42)');
$node->becomes_current('d2', 'slow', 'what is long ends some time');
$holders[0]->query('SELECT pg_advisory_unlock(42)');
$node->becomes_current('d1', 'slow', '... everywhere');
is($sessions[0]->query(q{SELECT summary_cache_get('slow2') IS NOT NULL}), 't', 'a second long one');
$holders[0]->query('SELECT pg_advisory_lock(42)');
$sessions[0]->query('UPDATE slow SET n = n + 1; UPDATE slow2 SET n = n + 1');
$node->polled($at_gate, '2', 'two long builds in one database');
$sessions[2]->query('UPDATE fast SET n = n + 1');
$node->becomes_current('d3', 'fast', 'leave the third worker to the others');
$sessions[0]->query('UPDATE fast SET n = n + 1');
$node->polled('SELECT requests_waiting FROM summary_cache_server', '1', 'what cannot be done now waits', 'd1');
is($node->sql(fetch('slow'), 'd1'), 'stale 1', '... and nobody waits for it');
$holders[0]->query('SELECT pg_advisory_unlock(42)');
$node->becomes_current('d1', $_, "$_ is refreshed in the end") for qw(slow slow2 fast);

#
# A summary rests for as long as refresh_rest says.  That another one is refreshed meanwhile shows that
# somebody has looked.
#
$sessions[0]->query(q{SET client_min_messages = warning;
	CREATE TABLE r (n int); INSERT INTO r VALUES (0);
	SELECT summary_cache_define('r', 'main', 'SELECT n, pg_sleep(0.1)::text AS slept FROM r');
	SELECT summary_cache_get('r')});
$node->set_server('summary_cache.refresh_rest', 1000);
$sessions[0]->query('UPDATE r SET n = n + 1');
$node->becomes_current('d1', 'r', 'a refresh of 100 ms, and then a rest of 100 s');
$sessions[0]->query('UPDATE r SET n = n + 1');
for my $round (1 .. 2)
{
	$sessions[0]->query('UPDATE fast SET n = n + 1');
	$node->becomes_current('d1', 'fast', "another summary is refreshed meanwhile, round $round");
}
$node->polled('SELECT workers_building FROM summary_cache_server', '0', '... nobody is at this one', 'd1');
is($sessions[0]->query(state_of('r')), 'stale', '... which is stale');
is($sessions[0]->query('SELECT requests_waiting FROM summary_cache_server'), '0', 'what rests does not wait for a worker');
$node->set_server('summary_cache.refresh_rest', 0);
$node->becomes_current('d1', 'r', 'without a rest it is');
$node->set_server('summary_cache.refresh_rest', undef, '1');

#
# A worker stays, and what a query has locked for its session does not
#
$sessions[0]->query(q{SET client_min_messages = warning;
	CREATE TABLE l (n int); INSERT INTO l VALUES (0);
	SELECT summary_cache_define('l', 'main', 'SELECT n, pg_advisory_lock(43)::text AS locked FROM l');
	SELECT summary_cache_get('l'), pg_advisory_unlock_all()});
$sessions[0]->query('UPDATE l SET n = n + 1');
$node->becomes_current('d1', 'l', 'a query that keeps an advisory lock');
is($holders[0]->query('SELECT pg_try_advisory_lock(43), pg_advisory_unlock(43)'), 't|t', '... which the worker does not');
$sessions[0]->query(q{SELECT summary_cache_drop('l')});

#
# The launcher ends: as it is asked to, or with the server
#
for my $end ('TERM', 'KILL')
{
	my $pid = $node->sql($launcher);
	kill $end, $pid;
	if ($end eq 'KILL')
	{
		eval { $_->query('SELECT 1') } for @sessions, @holders;
		$_->quit for @sessions, @holders;
		$node->comes_back or die 'the server did not come back';
		@sessions = map { Session->new($node, $_) } @databases;
		@holders = map { Session->new($node, $_) } @databases[0, 1];
		$_->query(q{SELECT summary_cache_get('fast')}) for @sessions;
	}
	# some of these find none
	$_->query('UPDATE fast SET n = n + 1') for @sessions;
	$node->polled("SELECT count(*) FROM ($launcher) l WHERE pid <> $pid", '1', "SIG$end: another launcher comes");
	$node->becomes_current($_, 'fast', "SIG$end: $_ is refreshed") for @databases;
}

#
# Code that heeds no cancel: its worker is terminated, which is a failure of the summary, and of no other
#
$sessions[0]->query(q{SET client_min_messages = warning;
	CREATE TABLE deaf (n int); INSERT INTO deaf VALUES (0);
} . deaf_function() . q{
	SELECT summary_cache_define('deaf', 'main', 'SELECT deaf(n) AS n FROM deaf');
	SELECT summary_cache_get('deaf')});
# enough for the function to begin to swallow cancels
$node->set_server('summary_cache.build_timeout', '500ms');
$sessions[0]->query('UPDATE deaf SET n = 1');
$sessions[0]->query('UPDATE fast SET n = n + 1');
$node->becomes_current('d1', 'fast', 'beside it another summary is refreshed');
$node->polled(q{SELECT last_error, last_error_sqlstate FROM summary_cache_stats WHERE summary = 'deaf'},
	'the build did not end within summary_cache.build_timeout, nor when it was canceled, so its worker was terminated|57014',
	'what swallows the cancel is terminated', 'd1');
is($sessions[0]->query('SELECT workers_terminated > 0 FROM summary_cache_server'), 't', '... which is counted');
is($node->sql(fetch('deaf'), 'd1'), 'stale 0', '... and reads go on');
$sessions[0]->query('UPDATE deaf SET n = 0');
$node->becomes_current('d1', 'deaf', 'it heals by itself');
$node->set_server('summary_cache.build_timeout', undef, '5min');

#
# The server has no place for a worker, since parallel queries have them all
#
$node->set_server('summary_cache.worker_idle_timeout', '100ms');
$node->no_worker;
my $refused = $sessions[0]->query('SELECT workers_refused FROM summary_cache_server');
my $setting = $node->sql(q{SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')});
my @sleepers = map { Session->new($node)->send_sql("SET $setting = on; SELECT pg_sleep(1000)") } 1 .. 3;
$node->poll(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'}, '3') or die 'the places are not taken';
$sessions[0]->query('UPDATE fast SET n = n + 1');
$node->polled("SELECT workers_refused >= $refused + 3 FROM summary_cache_server", 't', 'a commit finds no place for a worker', 'd1');
is($sessions[0]->query(state_of('fast')), 'stale', '... and nothing is refreshed');
my ($first, $second) = map { $node->sql(fetch('fast'), 'd1') =~ s/ .*//r } 1, 2;
is("$first $second", 'miss hit-revision', 'a reader refreshes it meanwhile');
$sessions[0]->query('UPDATE fast SET n = n + 1');
$node->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()");
$node->becomes_current('d1', 'fast', 'when there is a place again, it is refreshed without a reader');
eval { $_->quit } for @sleepers;
is(() = slurp_file($node->logfile) =~ /there is no place for a summary_cache worker/g, 1, 'that is logged once');

#
# None at all
#
$node->set_server('summary_cache.max_workers', 0);
$node->no_worker;
$sessions[0]->query('UPDATE fast SET n = n + 1');
like($node->sql(fetch('fast'), 'd1'), qr/^miss /, 'max_workers = 0: a reader refreshes');
is($node->sql($workers), '0', '... and no worker is started');
$sessions[0]->query('UPDATE fast SET n = n + 1');
my $started = $sessions[0]->query('SELECT workers_started FROM summary_cache_server');
$node->set_server('summary_cache.max_workers', undef, '2');
$node->becomes_current('d1', 'fast', '... until there may be one');
is($sessions[0]->query('SELECT workers_started FROM summary_cache_server'), $started + 1, '... which is counted');

$_->quit for @sessions, @holders;
$node->stop;
done_testing();
