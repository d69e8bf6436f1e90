# Proves that a worker which is asked to leave as it starts, as it leaves or before its NOTIFY is committed costs no request and no other database anything, whatever has become of its database.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'no debug build' unless $ENV{SC_DEBUG_CONF};

my $node = Node->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}) . q{
	summary_cache.eager_refresh = on
	summary_cache.max_workers = 3
	summary_cache.worker_idle_timeout = 1h
	autovacuum = off
});
$node->start;

# A database with a table, a summary of it, and a document of that.
sub create_database
{
	my ($db) = @_;

	$node->sql("CREATE DATABASE $db");
	$node->sql(q{
		CREATE EXTENSION summary_cache;
		CREATE TABLE t (n int);
		INSERT INTO t VALUES (0);
		SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
		SELECT summary_cache_get('s')}, $db);
	return;
}

my $write = 'UPDATE t SET n = n + 1';
create_database('bystander');
my $bystander = Session->new($node, 'bystander');

# Another database's summary is refreshed without a reader, whatever is held up.
sub bystander_is_fresh
{
	my ($name) = @_;

	$bystander->query($write);
	return $node->becomes_current('bystander', 's', "$name: a summary of another database is refreshed");
}

#
# A worker stands where it has entered the register and is in no database yet.  It blocks all signals there.
#
my $point_file = $node->data_dir . '/summary_cache.point';

# The worker that a commit in this database brings.
sub hold_at_start
{
	my ($db) = @_;
	my $pid;

	$node->set_server('summary_cache.debug_sleep', '1000000000');
	$node->set_server('summary_cache.debug_point', 'worker-start');
	$node->sql($write, $db);
	wait_until(sub { ($pid) = -e $point_file ? slurp_file($point_file) =~ /^(\d+)\n/ : () }) or die "$db: no worker starts";
	# no other one is to be held
	$node->set_server('summary_cache.debug_point', undef, '');
	return $pid;
}

sub go_on
{
	my ($pid, $name) = @_;

	unlink $point_file or die "$point_file: $!";
	return ok(wait_until(sub { !kill 0, $pid }), "$name: the worker leaves");
}

# Nothing is left of it: its place is free, and that it left was no failure.
sub at_rest
{
	my ($name, $workers) = @_;

	return $node->polled('SELECT workers, workers_building, requests_waiting, workers_failed FROM summary_cache_server',
		"$workers|0|0|0", "$name: no place is taken, nothing waits, and no start counts as failed", 'bystander');
}

bystander_is_fresh('before all');

create_database('dropped');
my $pid = hold_at_start('dropped');
bystander_is_fresh('a database is dropped');
my ($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE dropped');
is($err, '', '... while its worker starts');
bystander_is_fresh('a database was dropped');
go_on($pid, 'dropped');
at_rest('dropped', 1);
bystander_is_fresh('after the drop');
unlike(slurp_file($node->logfile), qr/could not start/, '... and the log has no failed start');

create_database('template');
$pid = hold_at_start('template');
bystander_is_fresh('a database is copied');
($status, $out, $err) = $node->psql('postgres', 'CREATE DATABASE copy TEMPLATE template');
is($err, '', '... while its worker starts');
bystander_is_fresh('a database was copied');
go_on($pid, 'copied');
$node->becomes_current('template', 's', 'the request of the template is carried out');
is($node->sql(fetch('s'), 'template'), 'hit-revision 1', '... with what was committed');
is($node->sql(fetch('s'), 'copy'), 'miss 1', 'the copy has it, too');
$node->sql($write, 'copy');
$node->becomes_current('copy', 's', '... and gets a worker');
at_rest('copied', 3);

$node->sql("DROP DATABASE $_") for qw(copy template);
create_database('v');
$pid = hold_at_start('v');
kill 'TERM', $pid;
bystander_is_fresh('SIGTERM to a worker that starts');
is($node->sql(state_of('s'), 'v'), 'stale', '... which is at no request yet');
go_on($pid, 'SIGTERM at the start');
$node->becomes_current('v', 's', 'SIGTERM at the start: the request is carried out');
at_rest('SIGTERM at the start', 2);

#
# A worker that looks at nothing any more
#
sub worker_of
{
	my ($condition) = @_;
	my $pid;

	wait_until(sub { $pid = $node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND $condition") })
		or die "there is no worker where $condition";
	return $pid;
}

$node->sql($_) for q{ALTER DATABASE v SET summary_cache.debug_point = 'worker-leave'},
	q{ALTER DATABASE v SET summary_cache.debug_sleep = 1000000000};
$node->sql('SELECT pg_terminate_backend(' . worker_of(q{datname = 'v'}) . ')');
$node->set_server('summary_cache.worker_idle_timeout', '200ms');
$node->sql($write, 'v');
$pid = worker_of(q{datname = 'v' AND wait_event = 'PgSleep'});
$node->sql("ALTER DATABASE v RESET summary_cache.$_") for qw(debug_point debug_sleep);
$node->set_server('summary_cache.worker_idle_timeout', undef, '1h');
is($node->sql(state_of('s'), 'v'), 'current', 'a worker leaves when nothing is requested');
$node->sql($write, 'v');
bystander_is_fresh('a worker that leaves');
is($node->sql(state_of('s'), 'v'), 'stale', '... has not seen the last request');
kill 'TERM', $pid;
$node->sql("SELECT pg_log_backend_memory_contexts($pid)");
ok(wait_until(sub { !kill 0, $pid }), 'SIGTERM as it leaves: it is gone');
$node->becomes_current('v', 's', 'SIGTERM as it leaves: the request is carried out');
at_rest('SIGTERM as it leaves', 2);

#
# A worker that has published, and cannot commit its NOTIFY: somebody whose own is not over has the lock of
# the queue.  A standby that it waits for, and that there is none of, keeps it there.
#
my $listener = Session->new($node, 'v');
$listener->query('LISTEN summary_cache');
$node->sql(q{CREATE TABLE u (n int); INSERT INTO u VALUES (0);
	SELECT summary_cache_define('asked', 'main', 'SELECT n FROM u'); SELECT summary_cache_configure('asked', 'eager_refresh', 'off');
	SELECT summary_cache_get('asked')}, 'v');
my $in_queue = q{pid IN (SELECT pid FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND objid = 0 AND NOT granted)};

# What was heard of a summary's present document.
sub told_of
{
	my ($summary, $name) = @_;
	my $built_at = $node->sql("SELECT to_json(built_at) #>> '{}' FROM summary_cache_fetch('$summary')", 'v');
	my $heard = '';

	return ok(wait_until(sub {
		$heard .= $listener->query('SELECT');
		$heard =~ /payload "\{"summary":"$summary","built_at":"\Q$built_at\E"\}"/ }), $name) || diag $heard;
}

$node->sql($write, 'v');
$node->becomes_current('v', 's', 'a document');
told_of('s', '... of which listeners are notified');

for my $case (
	[ 's', 'a refresh', $write, 'TERM' ],
	[ 'asked', "a reader's document", q{UPDATE u SET n = n + 1; SELECT summary_cache_get('asked', true)}, 'TERM' ],
	[ 's', 'one more refresh', $write, 'INT' ])
{
	my ($summary, $name, $statements, $signal) = @$case;
	my $holder = Session->new($node);

	$node->set_server('synchronous_standby_names', 'nobody');
	# it has to write something, or it would not wait
	$holder->send_sql(q{BEGIN; COMMENT ON DATABASE postgres IS 'changed'; NOTIFY other; COMMIT});
	$node->polled('SELECT wait_event FROM pg_stat_activity WHERE pid = ' . $holder->pid, 'SyncRep', "$name: somebody has the queue of notifications");
	$node->sql("SET synchronous_commit = local; $statements", 'v');
	$pid = worker_of("datname = 'v' AND $in_queue");
	$node->becomes_current('v', $summary, "$name: it is published");
	$bystander->query("SET synchronous_commit = local");
	bystander_is_fresh("$name: a worker cannot notify");
	is($node->sql(q{SELECT sum(builds_failed) FROM summary_cache_stats}, 'v'), '0', '... which is no failure of the summary');
	kill $signal, $pid;
	if ($signal eq 'TERM')
	{
		ok(wait_until(sub { !kill 0, $pid }), "$name: SIGTERM before the NOTIFY is committed ends the worker");
	}
	else
	{
		$node->polled("SELECT consecutive_failures > 0 FROM summary_cache_stats WHERE summary = '$summary'", 't', "$name: a cancel ends the NOTIFY", 'v');
	}
	bystander_is_fresh("$name: afterwards");
	$node->sql('SELECT pg_cancel_backend(' . $holder->pid . ')');
	$holder->result;
	$node->set_server('synchronous_standby_names', undef, '');
	told_of($summary, "$name: another try notifies");
	$holder->quit;
}
at_rest('in the end', 2);

$_->quit for $bystander, $listener;
$node->stop;
done_testing();
