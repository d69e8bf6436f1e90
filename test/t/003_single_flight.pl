# Proves that of many readers who need a build one builds, and what the others may take from it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

# A build waits while somebody holds advisory lock 42.
my $gate = q{pg_advisory_xact_lock_shared(42)::text AS gate};
my $at_gate = anybody_at_gate(42);
my $waiting = readers_waiting();
my $fetch = q{SELECT status, document->>'n' FROM summary_cache_fetch('s')};
my $forced = q{SELECT status, document->>'n' FROM summary_cache_fetch('s', force_refresh => true)};
my $herd_size = 20;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_connections = 60\ntemp_file_limit = '1MB'");
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int, size int DEFAULT 1);
	INSERT INTO t VALUES (1);
	SELECT summary_cache_define('s', 'main', \$q\$SELECT $gate, (SELECT 100 / n FROM t) AS x, (SELECT n FROM t) AS n,
		(SELECT count(*) FROM generate_series(1, (SELECT size FROM t))) AS rows\$q\$);
});

sub counter { return $node->sql("SELECT $_[0] FROM summary_cache_stats WHERE summary = 's'"); }

my $holder = Session->new($node);
my @herd = map { Session->new($node) } 1 .. $herd_size;
my ($leader, @others) = @herd;

sub close_gate { $holder->query('SELECT pg_advisory_lock(42)'); return; }
sub open_gate { $holder->query('SELECT pg_advisory_unlock(42)'); return; }

# Nothing is cached, a leader builds, and n others wait for it.
sub gather
{
	my ($name, $n) = @_;
	$node->sql(q{SELECT summary_cache_invalidate('s'); SELECT summary_cache_reset_stats()});
	close_gate();
	$leader->send_sql($fetch);
	$node->polled($at_gate, '1', "$name: the leader builds");
	$_->send_sql($fetch) for @others[ 0 .. $n - 1 ];
	$node->polled($waiting, $n, "$name: the others wait, which pg_locks shows");
	return;
}

#
# One build for all
#
gather('cold herd', $herd_size - 1);
is($node->sql($at_gate), '1', 'cold herd: only one builds');
is($node->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 92 AND granted}), '1',
	'cold herd: only one has the lock');
open_gate();
is_deeply([ map { $_->result } @herd ], [ ('miss|1') x $herd_size ], 'cold herd: all get the document, as a miss');
is(counter('builds_miss + builds_background + builds_forced'), '1', 'cold herd: by one build');
is(counter('waits'), $herd_size - 1, 'cold herd: the waits are counted');
is($node->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left behind');

# a client that does not read what it is sent would hold up all who wait
my (undef, undef, $said) = $node->psql('postgres', q{SET client_min_messages = debug5; SELECT status FROM summary_cache_fetch('s', NULL, true)});
like($said, qr/DEBUG: /, 'a client is sent what it asks for');
unlike($said, qr/Subtransaction|SubTransaction/i, '... but nothing while it builds for all');

#
# Waiting is as any other waiting
#
gather('impatient', 0);
$others[0]->query("SET lock_timeout = '100ms'");
is($others[0]->query($fetch), '', 'a waiter obeys lock_timeout');
like($others[0]->error, qr/canceling statement due to lock timeout/, '... and says so');
$others[0]->query('RESET lock_timeout');
$others[1]->send_sql($fetch);
$node->polled($waiting, '1', 'another waits');
$node->sql('SELECT pg_cancel_backend(' . $others[1]->pid . ')');
is($others[1]->result, '', 'a waiter can be cancelled');
like($others[1]->error, qr/canceling statement due to user request/, '... and says so');
$others[2]->query("SET statement_timeout = '100ms'");
is($others[2]->query($fetch), '', 'a waiter obeys statement_timeout');
$others[2]->query('RESET statement_timeout');
is($others[3]->query("BEGIN; SAVEPOINT a; SET LOCAL lock_timeout = '100ms'; $fetch; ROLLBACK TO a; SHOW lock_timeout"), '0',
	'another gives up in a savepoint');
$others[3]->send_sql("$fetch; COMMIT");
$node->polled($waiting, '1', '... and waits again in the same transaction');
open_gate();
is($leader->result, 'miss|1', 'the leader is not disturbed');
is($others[3]->result, 'miss|1', 'nor who had waited twice');
is(counter('builds_miss'), '1', 'and all took one build');
is($node->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left behind by those who gave up');

#
# The leader fails
#
$node->sql('UPDATE t SET n = 0');
gather('failure', 5);
open_gate();
is($leader->result, '', 'the leader fails');
like($leader->error, qr/division by zero/, '... with its error');
is_deeply([ map { $_->result } @others[ 0 .. 4 ] ], [ ('') x 5 ], 'the waiters fail');
is(scalar(grep { $_->error =~ /summary "s" could not be built: division by zero.*Another session/s } @others[ 0 .. 4 ]),
	5, '... with the error of the worker, which tried after all had asked');
# one of them may have looked before that try, and asked after it
cmp_ok(counter('builds_failed'), '<=', 2, '... once or twice');
cmp_ok(counter('builds_failed'), '>', 0, '... which is counted');

# who may not see the error is not told of it by those it waited for either
$node->sql('CREATE ROLE stranger; GRANT EXECUTE ON FUNCTION summary_cache_fetch TO stranger');
$_->query('SET ROLE stranger') for @others[ 0 .. 4 ];
gather('hidden', 5);
open_gate();
like($leader->result . $leader->error, qr/^ERROR:  division by zero/, 'the leader fails, and may see why');
is_deeply([ map { $_->result } @others[ 0 .. 4 ] ], [ ('') x 5 ], 'strangers who waited fail');
is(scalar(grep { $_->error =~ /^ERROR:  summary "s" could not be built\n/ && $_->error !~ /zero|Another/ } @others[ 0 .. 4 ]), 5,
	'... and are not told why');
$_->query('RESET ROLE') for @others[ 0 .. 4 ];

# the leader began before the table was mended
gather('mended', 0);
$node->sql('UPDATE t SET n = 2');
$_->send_sql($fetch) for @others[ 0 .. 4 ];
$node->polled($waiting, '5', 'mended: the others wait');
open_gate();
is_deeply([ map { $_->result } $leader, @others[ 0 .. 4 ] ], [ ('miss|2') x 6 ], 'mended: the leader fails, and a worker builds for it and for all');
is(counter('builds_failed'), '0', '... which is no failure of the build');

#
# The leader fails, and an old document may be served: to all alike, whatever it failed by
#
for my $failing (
	[ 'a wrong query', 'n = 0', qr/division by zero/ ],
	# the limit is a stand-in for a full disk: what a query needs there it cannot have
	[ 'a full disk', 'size = 1000000', qr/temporary file size exceeds temp_file_limit/ ])
{
	my ($name, $change, $error) = @$failing;
	$node->sql(q{SELECT summary_cache_get('s', true)});
	$node->sql("UPDATE t SET $change");
	$node->sql(q{SELECT summary_cache_reset_stats()});
	$_->query('SET summary_cache.max_stale_age = 0') for $leader, @others[ 0 .. 4 ];
	$others[3]->query('SET summary_cache.stale_if_error = 0');
	close_gate();
	$leader->send_sql($fetch);
	$node->polled($at_gate, '1', "$name: the leader builds");
	$_->send_sql($fetch) for @others[ 0 .. 3 ];
	$others[4]->send_sql($forced);
	$node->polled($waiting, '5', "$name: the others wait");
	open_gate();
	is($leader->result, 'stale|2', "$name: the leader fails, and gets the old document");
	is_deeply([ map { $_->result } @others[ 0 .. 2 ] ], [ ('stale|2') x 3 ], '... as do those who waited');
	is($others[3]->result, '', '... but not where it is too old');
	is($others[4]->result, '', '... nor a forced reader');
	is(scalar(grep { $_->error =~ $error } @others[ 3, 4 ]), 2, '... which both get an error');
	is(scalar(grep { $_->error =~ /could not be built: $error.*Another session/s } @others[ 3, 4 ]), 2, '... of the worker');
	cmp_ok(counter('builds_failed'), '<=', '2', '... which tried once, or once more for the forced reader');
	$_->query('RESET summary_cache.max_stale_age; RESET summary_cache.stale_if_error') for $leader, @others[ 0 .. 4 ];
	$node->sql('UPDATE t SET n = 2, size = 1');
}

#
# The leader is cancelled, or terminated: that is no failure of the build
#
gather('cancelled leader', 5);
$node->sql('SELECT pg_cancel_backend(' . $leader->pid . ')');
is($leader->result, '', 'the leader is cancelled');
like($leader->error, qr/canceling statement due to user request/, '... and told so');
open_gate();
is_deeply([ map { $_->result } @others[ 0 .. 4 ] ], [ ('miss|2') x 5 ], 'the waiters get the document');
is(counter('builds_failed'), '0', 'which is no failure of the build');
is(counter('last_error IS NULL'), 't', '... and no last error');

gather('terminated leader', 5);
$node->sql('SELECT pg_terminate_backend(' . $leader->pid . ')');
open_gate();
is_deeply([ map { $_->result } @others[ 0 .. 4 ] ], [ ('miss|2') x 5 ], 'the waiters of a terminated leader get the document');
is(counter('builds_failed'), '0', 'which is no failure of the build either');
$leader->quit;
$leader = Session->new($node);

#
# A waiter is terminated: nobody else notices
#
gather('terminated waiter', 3);
my $victim = $others[1]->pid;
$node->sql("SELECT pg_terminate_backend($victim)");
$node->polled("SELECT count(*) FROM pg_stat_activity WHERE pid = $victim", '0', 'a waiter can be terminated');
is($node->sql("$waiting; $at_gate"), "2\n1", '... while the others wait, and the leader builds');
open_gate();
is_deeply([ map { $_->result } $leader, @others[ 0, 2 ] ], [ ('miss|2') x 3 ], '... who get the document');
is(counter('builds_miss'), '1', '... by one build');
is(counter('builds_failed'), '0', '... which has not failed');
is($node->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 92}), '0', '... and no lock is left behind');
$others[1]->quit;
$others[1] = Session->new($node);

#
# Who forces takes only what was labelled after it asked
#
$node->sql(q{SELECT summary_cache_get('s', true); SELECT summary_cache_reset_stats()});
close_gate();
$leader->send_sql($forced);
$node->polled($at_gate, '1', 'a forced reader builds');
$node->sql('UPDATE t SET n = 3');
$others[0]->send_sql($forced);
$node->polled($waiting, '1', 'another one asks after a change, and waits');
$others[1]->send_sql($forced);
$node->polled($waiting, '2', 'and a third one');
open_gate();
is($leader->result, 'miss|2', 'the first one has what was true when it asked');
is($others[0]->result, 'miss|3', 'the second one not that document');
is($others[1]->result, 'miss|3', 'nor the third one');
is(counter('builds_forced'), '2', 'but the second and the third share one');

#
# Nor is a session's own commit hidden from it by a document that was begun before
#
close_gate();
$leader->send_sql($forced);
$node->polled($at_gate, '1', 'a forced reader builds once more');
$others[0]->query('UPDATE t SET n = 4');
$others[0]->send_sql($fetch);
$node->polled($waiting, '1', 'a session that has committed since waits');
open_gate();
is($leader->result, 'miss|3', 'the forced reader has the older document');
is($others[0]->result, 'miss|4', 'the other one its own change');

$_->quit for $holder, $leader, @others;
$node->stop;
done_testing();
