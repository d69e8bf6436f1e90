# Proves that who defines, drops or attaches waits for no table with another one in hand, and for no writer of a table that has its trigger.

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
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	deadlock_timeout = 20ms
	summary_cache.max_workers = 0
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE a (n int);
	CREATE TABLE b (n int);
	CREATE VIEW over_b AS SELECT n FROM b;
	CREATE TABLE tree (n int) PARTITION BY RANGE (n);
	CREATE TABLE member PARTITION OF tree FOR VALUES FROM (0) TO (1000);
	CREATE TABLE parent (n int);
	CREATE TABLE child () INHERITS (parent);
	CREATE TABLE topics (n int, updated_at timestamptz);
	CREATE TABLE progress_events (n int, created_at timestamptz PRIMARY KEY);
	-- at each of many looks, and not for a moment at each of its tries
	CREATE FUNCTION keeps_waiting(pid int, relid regclass) RETURNS bool LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 20 LOOP
			IF NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = $1 AND l.relation = $2 AND NOT granted) THEN
				RETURN false;
			END IF;
			PERFORM pg_sleep(0.01);
		END LOOP;
		RETURN true;
	END $$;
});

my $user = Session->new($node);
my $other = Session->new($node);
my $definer = Session->new($node);
# whoever waits for long gets an error
$_->query(q{SET client_min_messages = warning; SET statement_timeout = '60s'}) foreach ($user, $other, $definer);
$_->query(q{SET lock_timeout = '10s'}) foreach ($user, $other);

# Wait until the definer waits for a table.
sub waits_for
{
	my ($table, $what) = @_;

	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_locks WHERE pid = $definer->{pid} AND relation = '$table'::regclass AND NOT granted"),
		$what);
	return;
}

sub succeeds
{
	my ($session, $command, $what) = @_;

	$session->query($command);
	is($session->error, '', $what);
	return;
}

sub has_triggers
{
	return sql(q{SELECT string_agg(tgrelid::regclass::text, ' ' ORDER BY tgrelid::regclass::text) FROM pg_trigger WHERE tgname = 'summary_cache_statement' AND tgrelid::regclass::text NOT LIKE 'summary_cache.%'});
}

sub define
{
	my ($summary, $x, $y) = @_;

	return "SELECT summary_cache_define('$summary', 'main', 'SELECT (SELECT count(*) FROM $x) AS n, (SELECT count(*) FROM $y) AS m')";
}

my $drop = q{SELECT summary_cache_drop(summary) FROM (SELECT DISTINCT summary FROM summary_cache.definition) d};

#
# Beside a transaction that takes first one table, then the other
#
for my $case (
	[ 'what the query names', define('two', 'a', 'b'), 'TRUNCATE b', 'b', 'TRUNCATE a', 'a b' ],
	[ 'a source', define('two', 'a', 'b'), 'INSERT INTO b VALUES (1)', 'b', 'TRUNCATE a', 'a b' ],
	[ 'a partition', define('two', 'a', 'tree'), 'INSERT INTO member VALUES (1)', 'member', 'TRUNCATE a', 'a member tree' ],
	[ 'the root of a partition', define('two', 'a', 'member'), 'LOCK TABLE ONLY tree IN SHARE MODE', 'tree', 'TRUNCATE a', 'a member tree' ],
	[ 'a table that inherits', define('two', 'a', 'parent'), 'INSERT INTO child VALUES (1)', 'child', 'TRUNCATE a', 'a child parent' ],
	[ 'a table of the hub', 'SELECT summary_cache_attach_state_hub()', 'INSERT INTO progress_events VALUES (1, now())',
		'progress_events', 'TRUNCATE topics', 'progress_events topics' ])
{
	my ($what, $command, $first, $table, $second, $triggers) = @$case;

	$user->query("BEGIN; $first");
	$definer->send_sql($command);
	waits_for($table, "$what is waited for");
	ok($node->poll_query_until('postgres', "SELECT keeps_waiting($definer->{pid}, '$table')"), '... in its queue')
		if $what eq 'what the query names';
	(my $insert = $second) =~ s/TRUNCATE (\w+)/INSERT INTO $1 DEFAULT VALUES/;
	succeeds($other, $insert, '... with no table locked: others write the rest');
	succeeds($user, $second, '... and who holds it, and comes to need the rest, is in no deadlock');
	succeeds($user, 'COMMIT', '... and commits');
	$definer->result;
	is($definer->error, '', '... it is defined then');
	is(has_triggers(), $triggers, '... with its triggers');
	succeeds($definer, $drop, '... and dropped');
	is(has_triggers(), '', '... with them');
}

# what is locked inside a view is not known by name
$user->query('BEGIN; TRUNCATE b');
$definer->send_sql(define('two', 'a', 'over_b'));
ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $definer->{pid}"),
	'a table of a view is waited for');
succeeds($user, 'TRUNCATE a', '... with no table locked');
$user->query('COMMIT');
$definer->result;
is($definer->error, '', '... it is defined then');

#
# What has its trigger needs no stronger lock than a query does
#
$user->query('BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)');
succeeds($definer, define('again', 'b', 'a'), 'a definition over tables that have their triggers does not wait for writers');
is(sql(q{SELECT status FROM summary_cache_fetch('again', NULL, true); SELECT status FROM summary_cache_fetch('again')}), "miss\nhit-revision", '... and is read');
$user->query('COMMIT');
is(sql(q{SELECT status FROM summary_cache_fetch('again')}) =~ /hit/, '', '... and a transaction that was open meanwhile is not missed');
is(sql(q{SELECT document FROM summary_cache_fetch('again', NULL, true)}), sql(q{SELECT format('{"n":%s,"m":%s}', (SELECT count(*) FROM b), (SELECT count(*) FROM a))}), '... nor its rows');
sql('ALTER TABLE b DISABLE TRIGGER summary_cache_statement');
$user->query('BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)');
$definer->send_sql(define('again', 'b', 'a'));
waits_for('b', 'it does for those of a table whose trigger is disabled');
$user->query('COMMIT');
$definer->result;
is(sql(q{SELECT status FROM summary_cache_fetch('again', NULL, true); SELECT status FROM summary_cache_fetch('again')}), "miss\nhit-revision",
	'... and puts it right');

#
# A drop
#
$user->query('BEGIN; INSERT INTO b VALUES (1)');
$definer->send_sql($drop);
waits_for('b', 'a drop waits for the writers of a source');
succeeds($other, 'INSERT INTO a VALUES (1)', '... with no other locked');
succeeds($user, 'TRUNCATE a', '... and they are in no deadlock');
$user->query('COMMIT');
$definer->result;
is($definer->error, '', '... it is dropped then');
is(has_triggers(), '', '... with the triggers');

#
# Several tables that have writers, one after the other
#
$user->query('BEGIN; INSERT INTO a VALUES (1)');
$other->query('BEGIN; INSERT INTO b VALUES (1)');
$definer->send_sql(define('two', 'a', 'b'));
waits_for('a', 'of two tables that have writers one is waited for');
$user->query('COMMIT');
waits_for('b', '... then the other');
succeeds($user, 'INSERT INTO a VALUES (1)', '... which does not stop the writers of the first for long');
succeeds($other, 'INSERT INTO a VALUES (1)', '... nor in a deadlock');
$other->query('COMMIT');
$definer->result;
is($definer->error, '', '... it is defined then');
succeeds($definer, $drop, '... and dropped');

# a table that always has some writer is had by queueing for it
$definer->query(q{SET deadlock_timeout = '100s'});
$user->query('BEGIN; INSERT INTO a VALUES (1)');
$other->query('BEGIN; INSERT INTO b VALUES (1)');
$definer->send_sql(define('two', 'a', 'b'));
waits_for('a', 'for less than half of deadlock_timeout');
$user->query('COMMIT');
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_locks WHERE pid = $definer->{pid} AND mode = 'ShareRowExclusiveLock'"
		. q{ AND (relation = 'a'::regclass AND granted OR relation = 'b'::regclass AND NOT granted)}),
	'... what was waited for is kept while the next one is waited for');
$other->query('COMMIT');
$definer->result;
is($definer->error, '', '... and both are had');

# lock_timeout
$definer->query("$drop; SET lock_timeout = '20ms'");
$user->query('BEGIN; INSERT INTO b VALUES (1)');
$definer->query(define('two', 'a', 'b'));
like($definer->error, qr/ERROR:  could not lock source table "b": canceling statement due to lock timeout/, 'lock_timeout ends the wait for a source');
$user->query('TRUNCATE b');
$definer->query(define('two', 'a', 'b'));
like($definer->error, qr/ERROR:  canceling statement due to lock timeout/, '... for what the query names');
$definer->query(define('two', 'a', 'over_b'));
like($definer->error, qr/ERROR:  canceling statement due to lock timeout/, '... and for what is in a view');
$user->query('ROLLBACK');
is(has_triggers(), '', '... and leaves nothing');

#
# An index of the hub that is being made anew
#
$definer->query('RESET lock_timeout; SELECT summary_cache_attach_state_hub()');
$user->query('BEGIN; REINDEX INDEX progress_events_pkey');
succeeds($definer, 'SELECT summary_cache_attach_state_hub()', 'attaching again does not wait for an index');
$user->query('TRUNCATE topics; ROLLBACK');

$_->quit foreach ($user, $other, $definer);
$node->stop;
done_testing();
