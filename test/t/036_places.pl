# Proves that a worker's place, a claim and a rest cost nobody but the summary that has them, and that an eager refresh is not lost to a commit that began before the document was published.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

# A build of "slow" waits while somebody holds advisory lock 42 of its database; "fast" does not.
my $define = q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE slow (n int); INSERT INTO slow VALUES (0);
	CREATE TABLE fast (n int); INSERT INTO fast VALUES (0);
	SET client_min_messages = warning;
	SELECT summary_cache_define('slow', 'main', 'SELECT n, pg_advisory_xact_lock_shared(42)::text AS gate FROM slow');
	SELECT summary_cache_define('fast', 'main', 'SELECT n FROM fast')};
my $read = q{SELECT summary_cache_get('slow'), summary_cache_get('fast')};
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'};
my $at_gate = at_gate(42);

my $node = Node->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
	max_worker_processes = 6
	max_prepared_transactions = 5
	summary_cache.eager_refresh = on
	summary_cache.max_workers = 2
	summary_cache.worker_idle_timeout = 1h
	summary_cache.max_sections = 32
	autovacuum = off
});
$node->start;
for my $db (qw(a b c))
{
	$node->sql("CREATE DATABASE $db");
	$node->sql("$define; $read", $db);
}
my %session = map { $_ => Session->new($node, $_) } qw(a b c);
my %holder = map { $_ => Session->new($node, $_) } qw(a b c);

#
# A build that goes on and on was asked to make room; another one ends
#
$_->query('SELECT pg_advisory_lock(42)') for @holder{qw(a b)};
$session{a}->query('UPDATE slow SET n = n + 1');
$node->polled($at_gate, '1', 'one worker builds for long');
$session{b}->query('UPDATE slow SET n = n + 1');
$node->polled($at_gate, '2', '... and another one');
$session{c}->query('UPDATE fast SET n = n + 1');
$node->polled('SELECT requests_waiting FROM summary_cache_server', '1', 'a third database waits', 'c');
$holder{b}->query('SELECT pg_advisory_unlock(42)');
$node->becomes_current('c', 'fast', '... until one of the builds ends, whichever that is');
$holder{b}->query('SELECT pg_advisory_lock(42)');
$session{b}->query('UPDATE slow SET n = n + 1');
$node->polled($at_gate, '2', 'the same once more');
$session{c}->query('UPDATE fast SET n = n + 1');
$node->polled('SELECT requests_waiting FROM summary_cache_server', '1', 'a third database waits', 'c');
$holder{a}->query('SELECT pg_advisory_unlock(42)');
$node->becomes_current('c', 'fast', '... for the other one');
$holder{b}->query('SELECT pg_advisory_unlock(42)');
$node->becomes_current($_, 'slow', "$_: the long build ends") for qw(a b);

#
# Databases that are being renamed keep their workers waiting at the start.  Each has one that builds when the
# command comes, and that has to leave; its request stays, and another one comes when the bar of 5 s is over.
#
my @renamers = map { Session->new($node) } 1, 2;
my @renamed = qw(e f);
for my $i (0, 1)
{
	my $db = $renamed[$i];
	$node->sql("CREATE DATABASE $db");
	$node->sql(q{
		CREATE EXTENSION summary_cache;
		CREATE TABLE t (n int); INSERT INTO t VALUES (0);
		SET client_min_messages = warning;
		SELECT summary_cache_define('s', 'main', 'SELECT n, CASE WHEN n = 1 THEN pg_sleep(3)::text END AS slept FROM t');
		SELECT summary_cache_get('s')}, $db);
	$node->sql('UPDATE t SET n = 1', $db);
	$node->poll("SELECT count(*) FROM pg_stat_activity WHERE datname = '$db' AND wait_event = 'PgSleep'", '1') or die "$db: nobody builds";
	$renamers[$i]->query("BEGIN; ALTER DATABASE $db RENAME TO ${db}x");
	is($renamers[$i]->error, '', "$db can be renamed");
}
my $failed = $session{c}->query('SELECT workers_failed FROM summary_cache_server');
$node->polled("SELECT workers_failed >= $failed + 2 FROM summary_cache_server", 't', 'workers that wait there are sent away', 'c');
$session{c}->query('UPDATE fast SET n = n + 1');
$node->becomes_current('c', 'fast', '... and another database goes on');
$_->query('ROLLBACK') for @renamers;
$_->quit for @renamers;
$node->polled(state_of('s'), 'current', "$_ is refreshed as well when that is over", $_) for @renamed;

#
# An entry that is given to another summary while it is claimed
#
$node->set_server('summary_cache.refresh_rest', 1000);
$session{a}->query('UPDATE slow SET n = n + 1');
$node->becomes_current('a', 'slow', 'before the rest');
$holder{b}->query('SELECT pg_advisory_lock(42)');
$session{b}->query('SELECT 1 FROM summary_cache_fetch(\'slow\'); UPDATE slow SET n = n + 1');
$node->set_server('summary_cache.refresh_rest', 0);
$node->polled($at_gate, '1', 'a worker builds');
$session{b}->query(q{SET client_min_messages = warning;
	SELECT summary_cache_define('keeper', 'main', 'SELECT count(*) AS n FROM slow');
	SELECT summary_cache_drop('slow')});
$node->set_server('summary_cache.refresh_rest', 1000);
$node->sql(q{SET client_min_messages = warning;
	SELECT summary_cache_define('heir', 'main', 'SELECT n FROM fast');
	SELECT summary_cache_get('heir')}, 'b');
$session{b}->query('UPDATE fast SET n = n + 1');
$node->becomes_current('b', 'heir', 'another summary gets the entry, and is refreshed');
$holder{b}->query('SELECT pg_advisory_unlock(42)');
$node->polled('SELECT workers_building FROM summary_cache_server', '0', 'that build ends', 'b');
$node->set_server('summary_cache.refresh_rest', undef, '1');

#
# A refresh that fails takes its time, and then rests
#
$session{c}->query(q{SET client_min_messages = warning;
	CREATE TABLE bad (n int); INSERT INTO bad VALUES (1);
	SELECT summary_cache_define('bad', 'main', 'SELECT pg_sleep(0.1)::text AS slept, 1 / n AS n FROM bad');
	SELECT summary_cache_get('bad')});
$node->set_server('summary_cache.refresh_rest', 1000);
$session{c}->query('UPDATE bad SET n = 0');
my $failures = q{SELECT builds_failed FROM summary_cache_stats WHERE summary = 'bad'};
$node->polled($failures, '1', 'a refresh fails after 100 ms', 'c');
# two seconds are more than the first retry's pause, and far less than the rest
$session{c}->query('SELECT pg_sleep(2)');
$session{c}->query('UPDATE fast SET n = n + 1');
$node->polled("SELECT fresh.state = 'current' OR failed.n > 1 FROM (SELECT builds_failed FROM summary_cache_stats WHERE summary = 'bad') failed (n),
	(SELECT state FROM summary_cache_sections WHERE summary = 'fast') fresh", 't', 'another summary is refreshed', 'c');
is($session{c}->query($failures), '1', '... while it rests');
$node->set_server('summary_cache.refresh_rest', undef, '1');
$session{c}->query(q{SELECT summary_cache_drop('bad')});

#
# Fewer workers than there are
#
$session{$_}->query('UPDATE fast SET n = n + 1') for qw(a b);
$node->becomes_current($_, 'fast', "$_ has a worker") for qw(a b);
$node->set_server('summary_cache.max_workers', 1);
$node->polled("SELECT count <= 1 FROM ($workers) w", 't', 'max_workers becomes less, and so do the workers');
$node->set_server('summary_cache.max_workers', undef, '2');

#
# The oldest request comes first: of the databases that wait for the only place, and of the summaries of the one
# that has it.  Both in one order and in the other, since any fixed order is right in one of them.
#
my @turns = qw(x y z);
my $summary_of = q{
	CREATE TABLE %1$s (n int); INSERT INTO %1$s VALUES (0);
	SELECT summary_cache_define('%1$s', 'main', 'SELECT n FROM %1$s')};
$node->set_server('summary_cache.refresh_rest', 0);
$node->sql("CREATE DATABASE $_") for @turns;
$node->sql('CREATE EXTENSION summary_cache; ' . sprintf($summary_of, 'turn') . q{; SELECT summary_cache_get('turn')}, $_) for @turns;
$node->sql(sprintf($summary_of, $_), 'a') for @turns;
$node->sql("SELECT summary_cache_get('$_')", 'a') for @turns;
$session{$_} = Session->new($node, $_) for @turns;
$node->polled(q{SELECT bool_and(state = 'current') FROM summary_cache_sections}, 't', 'all is current', 'a');
$node->set_server('summary_cache.max_workers', 1);
$node->polled("SELECT count <= 1 FROM ($workers) w", 't', 'one place');

# What is requested in this order while the only worker is at the gate, as pairs of database and summary; the
# order in which it is built then.
sub built_order
{
	my @requests = @_;
	my %built;

	$holder{a}->query('SELECT pg_advisory_lock(42)');
	$session{a}->query('UPDATE slow SET n = n + 1');
	$node->poll($at_gate, '1') or die 'the worker does not build';
	for my $i (0 .. $#requests)
	{
		my ($db, $summary) = @{ $requests[$i] };
		$session{$db}->query("UPDATE $summary SET n = n + 1");
		$node->poll('SELECT requests_waiting FROM summary_cache_server', $i + 1, 'a') or die "$db.$summary is not requested";
	}
	$holder{a}->query('SELECT pg_advisory_unlock(42)');
	for my $request (@requests)
	{
		my ($db, $summary) = @$request;
		$node->poll(state_of($summary), 'current', $db) or die "$db.$summary is not refreshed";
		$built{"$db.$summary"} = $node->sql("SELECT extract(epoch FROM built_at) FROM summary_cache_sections WHERE summary = '$summary'", $db);
	}
	$node->poll(state_of('slow'), 'current', 'a') or die 'the long build does not end';
	return join ' ', sort { $built{$a} <=> $built{$b} } keys %built;
}
for my $order ([@turns], [ reverse @turns ])
{
	is(built_order(map { [ $_, 'turn' ] } @$order), join(' ', map { "$_.turn" } @$order), "databases in turn: @$order");
	is(built_order(map { [ 'a', $_ ] } @$order), join(' ', map { "a.$_" } @$order), "summaries in turn: @$order");
}
$_->quit for delete @session{@turns};
$node->set_server('summary_cache.max_workers', undef, '2');
$node->set_server('summary_cache.refresh_rest', undef, '1');

#
# A document that is published while a transaction commits what it reads: that one has looked at the slots
# before they were eager.  A standby that it waits for, and that there is none of, holds the commit.
#
$node->sql(q{SET client_min_messages = warning; CREATE TABLE late (n int); INSERT INTO late VALUES (0);
	SELECT summary_cache_define('late', 'main', 'SELECT n FROM late')}, 'a');
$node->set_server('summary_cache.worker_idle_timeout', '100ms');
$node->no_worker;
$node->set_server('synchronous_standby_names', 'nobody');
my $writer = Session->new($node, 'a');
$writer->send_sql('UPDATE late SET n = 1');
$node->polled(q{SELECT wait_event FROM pg_stat_activity WHERE pid = } . $writer->pid, 'SyncRep', 'a commit that is not visible yet');
is($node->sql(q{SET synchronous_commit = local; SELECT status, document->>'n' FROM summary_cache_fetch('late')}, 'a'), 'miss|0', 'a first read beside it');
$node->sql('SELECT pg_cancel_backend(' . $writer->pid . ')');
$writer->result;
$node->becomes_current('a', 'late', '... is followed by a refresh');
is($node->sql(q{SELECT document->>'n' FROM summary_cache_fetch('late')}, 'a'), '1', '... that has it');
$node->set_server('synchronous_standby_names', undef, '');
$node->no_worker;
$node->sql(q{BEGIN; UPDATE late SET n = 2; PREPARE TRANSACTION 'late'}, 'a');
$node->sql(q{SELECT summary_cache_invalidate('late'); SELECT summary_cache_get('late')}, 'a');
$node->no_worker;
$node->sql(q{COMMIT PREPARED 'late'}, 'a');
$node->becomes_current('a', 'late', 'the same beside a prepared one');

$_->quit for values %session, values %holder, $writer;
$node->stop;

#
# Fewer places than max_workers: the server has one
#
$node->append_conf('postgresql.conf', "max_worker_processes = 3\nsummary_cache.max_workers = 3\nsummary_cache.worker_idle_timeout = 1h");
$node->start;
$node->sql($read, $_) for qw(a c);
%session = map { $_ => Session->new($node, $_) } qw(a c);
$session{a}->send_sql(q{DO $$ BEGIN LOOP UPDATE fast SET n = n + 1; COMMIT; PERFORM pg_sleep(0.01);
	EXIT WHEN EXISTS (SELECT FROM slow WHERE n = -1); END LOOP; END $$});
$node->polled($workers, '1', 'a database that changes all the time has the only place');
$session{c}->query('UPDATE fast SET n = n + 1');
$node->becomes_current('c', 'fast', '... and leaves it to another one in turn');
$node->sql('UPDATE slow SET n = -1', 'a');
$session{a}->result;
$node->becomes_current('a', 'fast', '... and gets it back');

$_->quit for values %session;
$node->stop;
done_testing();
