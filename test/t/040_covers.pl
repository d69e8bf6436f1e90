# Proves that each step of the protocol is needed where it stands: sessions are held inside windows of a few instructions, and no hit hides what is visible.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $node = Node->new('covers');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$node->append_conf('postgresql.conf', "summary_cache.worker_idle_timeout = 200ms\nmax_prepared_transactions = 10");
$node->start;

$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	CREATE TABLE other (n int);
	INSERT INTO t VALUES (1);
	INSERT INTO other VALUES (1);
	SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
});

my $truth = 'SELECT n FROM t';
my $write = 'UPDATE t SET n = n + 1';
my $pending = 'SELECT coalesce(sum(pending), 0) FROM summary_cache_tables';

# Whatever the answer is, it is not a hit of what was there before.
sub no_old_hit
{
	my ($answer, $old, $what) = @_;
	isnt($answer, "hit-revision $old", "$what: no hit hides what is visible");
	return;
}

# In the end everything is as the tables are, and nothing is left behind.
sub at_rest
{
	my ($what) = @_;
	is($node->cached('s'), $node->sql($truth), "$what: the document is what the table has");
	is($node->sql($pending), '0', "$what: nothing is pending");
	return;
}

# Visible to everybody, but its revision has not moved yet.
sub held_visible
{
	my ($writer, $sql) = @_;
	return $writer->hold('commit-visible', $sql // $write);
}

my $reader = Session->new($node);
my $writer = Session->new($node);
my $builder = Session->new($node);

#
# A writer's steps
#
my $old = $node->cached('s');
is($reader->query(fetch('s')), "hit-revision $old", 'a session with a copy of its own');
held_visible($writer);
is($node->sql($truth), $old + 1, 'a transaction is visible, and not told yet');
no_old_hit($node->sql(fetch('s')), $old, 'visible, not told');
no_old_hit($reader->query(fetch('s')), $old, 'visible, not told, own copy');
$writer->wake;
at_rest('visible, not told');

$old = $node->cached('s');
$writer->hold('commit-pending', $write);
is($node->sql(fetch('s')), "hit-revision $old", 'a commit that is not visible yet prevents no hit');
$node->sql('UPDATE other SET n = n');
is($node->sql(fetch('s')), "hit-revision $old", 'nor when others that began later are committed');
is($node->sql(forced('s')), $old, 'and is not in a document');
$writer->wake;
no_old_hit($node->sql(fetch('s')), $old, 'built beside a commit');
at_rest('built beside a commit');

# the answer is looked for while the transaction ends
$old = $node->cached('s');
$reader->query(fetch('s'));
held_visible($writer);
$reader->hold('prove-pending', fetch('s'));
$writer->wake;
no_old_hit($reader->wake, $old, 'the writer has gone before the scan');
at_rest('the writer has gone before the scan');

# a copy of its own that is newer than its snapshot
$old = $node->cached('s');
$reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $truth");
$node->sql($write);
$node->sql(forced('s'));
is($reader->query(fetch('s')), "private $old", 'a newer document is not what an older snapshot gives');
is($reader->query(fetch('s')), "private $old", 'nor when the session has a copy of it');
$reader->query('COMMIT');
at_rest('older snapshot');

# a failed commit, in a session that stays
$old = $node->cached('s');
$writer->query(qq{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'SELECT 1/0'; $write; COMMIT});
like($writer->error, qr/division by zero/, 'a commit fails');
$node->sql("BEGIN; $write; PREPARE TRANSACTION 'p'");
$node->sql(forced('s'));
is($node->sql(fetch('s')), "hit-revision $old", 'what it left in its cell prevents no hit');
$node->sql(q{ROLLBACK PREPARED 'p'});
at_rest('failed');

#
# What another library does in its own callback, when ours is through
#
$node->sql(q{
	CREATE VIEW v AS SELECT n FROM other;
	SELECT summary_cache_define('view', 'main', 'SELECT n FROM v', '{other}');
});
$old = $node->cached('s');
held_visible($writer, qq{SET LOCAL summary_cache.debug_commit_sql = '$write'; SELECT 1});
no_old_hit($node->sql(fetch('s')), $old, 'a late write alone');
$writer->wake;
at_rest('a late write alone');

$old = $node->cached('view');
$writer->query(q{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'CREATE OR REPLACE VIEW v AS SELECT n + 100 AS n FROM other'; SELECT 1; COMMIT});
no_old_hit($node->sql(fetch('view')), $old, 'late DDL');
is($node->cached('view'), $old + 100, 'late DDL is in the document');

$node->sql(q{CREATE ROLE covers; CREATE FUNCTION can() RETURNS int LANGUAGE sql AS
	$$SELECT rolcreatedb::int FROM pg_roles WHERE rolname = 'covers'$$;
	SELECT summary_cache_define('role', 'main', 'SELECT can() AS n', '{}')});
$old = $node->cached('role');
$writer->query(q{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'ALTER ROLE covers CREATEDB'; SELECT 1; COMMIT});
no_old_hit($node->sql(fetch('role')), $old, 'late DDL of a role');
is($node->cached('role'), 1, 'late DDL of a role is in the document');

#
# No memory
#
sub fails
{
	my ($name, $sql, $end) = @_;
	return "BEGIN; SET LOCAL summary_cache.debug_fail = '$name'; $sql; " . ($end // 'COMMIT');
}

$old = $node->cached('s');
Session->new($node)->query(fails('tables', $write));
no_old_hit($node->sql(fetch('s')), $old, 'no memory for a table');
at_rest('no memory for a table');

$old = $node->cached('s');
$writer->query(fails('marks', $write));
is((split / /, $writer->query(fetch('s')))[1], $old + 1, 'who has written without memory for marks is not served stale');
at_rest('no memory for marks');

# what stood for its marks is taken back
$writer->query(fails('marks', qq{SET LOCAL summary_cache.debug_commit_sql = 'SELECT 1/0'; $write}));
like($writer->error, qr/division by zero/, 'a commit without memory for marks fails');
$node->sql(forced('s'));
$old = $node->cached('s');
held_visible($writer, 'UPDATE other SET n = n');
is($node->sql(fetch('s')), "hit-revision $old", 'nothing of it is pending');
$writer->wake;

#
# Prepared transactions: who finishes one settles it, or a reader does, and only one of them
#
sub prepared
{
	my ($what) = @_;
	my $n = $node->cached('s');
	$node->sql("BEGIN; $write; PREPARE TRANSACTION 'p'");
	is($node->sql(fetch('s')), "hit-revision $n", "$what: a hit beside a prepared transaction");
	return $n;
}

# COMMIT PREPARED cannot be in a transaction block.
sub finish_at
{
	my ($point) = @_;
	$writer->hold($point, q{SELECT 1}, qq{COMMIT; SET summary_cache.debug_point = '$point';
		SET summary_cache.debug_sleep = '2000000000'; COMMIT PREPARED 'p'; RESET summary_cache.debug_sleep});
	return;
}

$old = prepared('finished, not settled');
finish_at('settle-found');
is($node->sql($truth), $old + 1, 'a prepared transaction is visible, and not settled');
no_old_hit($node->sql(fetch('s')), $old, 'finished, not settled');
is($node->sql($pending), '0', 'a reader has settled it');
$writer->wake;
at_rest('settled by two');

$old = prepared('being settled');
finish_at('settle');
no_old_hit($node->sql(fetch('s')), $old, 'being settled');
no_old_hit($reader->query(fetch('s')), $old, 'being settled, own copy');
$writer->wake;
at_rest('being settled');

#
# A builder: first the words, then the snapshot
#
$node->sql(q{
	CREATE TABLE gate (n int);
	SELECT summary_cache_define('gated', 'main', 'SELECT n, (SELECT count(*) FROM gate) AS gate FROM t', '{gate, t}');
});
$old = $node->cached('gated');
my $locker = Session->new($node);
$locker->query('BEGIN; LOCK TABLE gate IN ACCESS EXCLUSIVE MODE');
$builder->send_sql(forced('gated'));
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted})
	or die 'the builder does not wait';
$node->sql($write);
$locker->query('COMMIT');
$builder->result;
no_old_hit($node->sql(fetch('gated')), $old, 'committed between two words of a label');
is($node->cached('gated'), $old + 1, 'committed between two words of a label: it is in the document');

# and the words of the definition before the definition
$node->sql(q{SELECT summary_cache_define('defined', 'main', 'SELECT 1 AS n', '{}')});
$node->cached('defined');
$builder->hold('build-defined', forced('defined'));
$node->sql(q{SELECT summary_cache_define('defined', 'main', 'SELECT 2 AS n', '{}')});
$builder->wake;
no_old_hit($node->sql(fetch('defined')), 1, 'defined anew in the middle of a build');
is($node->cached('defined'), 2, 'defined anew in the middle of a build: it is in effect');

my $definer = Session->new($node);
$definer->hold('definition-labelled', forced('defined'));
$node->sql(q{SELECT summary_cache_define('defined', 'main', 'SELECT 3 AS n', '{}')});
$definer->wake;
is($definer->query(forced('defined')), 3, 'a definition that was read beside a change of it is read again');
is($node->cached('defined'), 3, 'and nothing of the old one is cached');
$definer->quit;

# an older build that comes late
$node->sql(q{
	SELECT summary_cache_define('two', 'main', 'SELECT n AS t FROM t');
	SELECT summary_cache_define('two', 'inlined', 'SELECT n FROM other', NULL, 'inline');
});
$old = $node->cached('two');
$builder->hold('build-done', forced('two'));
$node->sql('UPDATE other SET n = n + 1');
is($node->sql(fetch('two')), 'progress-section ' . ($old + 1), 'an inline section is built beside a build of all');
$builder->wake;
is($node->sql(fetch('two')), 'hit-revision ' . ($old + 1), 'an older build that comes late does not take its place');

# who has locked a source of another section publishes all the same
$node->cached('two');
$node->sql('UPDATE other SET n = n + 1');
is($reader->query("BEGIN; LOCK TABLE t IN SHARE MODE; " . fetch('two') . '; COMMIT'), 'progress-section ' . ($old + 2),
	'a lock on a source of one section, and another is built');
is($node->sql(fetch('two')), 'hit-revision ' . ($old + 2), 'and it is published');

# a build may not write, but be given an xid: what it made is for its caller only
$node->sql(q{SELECT summary_cache_define('xid', 'main', 'SELECT pg_current_xact_id()::text AS n', '{}')});
isnt($node->sql(forced('xid')), '', 'a query that takes an xid');
unlike($node->sql(fetch('xid')), qr/^hit-revision/, 'what it made is nobody else\'s');

# functions take snapshots of their own: what they have seen is newer than the query's
$node->sql(q{
	CREATE FUNCTION reads() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_xact_lock_shared(7);
		RETURN (SELECT n FROM t);
	END $$;
	SELECT summary_cache_define('reads', 'main', 'SELECT reads() AS n', '{t}');
});
$old = $node->cached('reads');
$locker->query('SELECT pg_advisory_lock(7)');
$builder->send_sql(forced('reads'));
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted})
	or die 'the builder is not at the gate';
$reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $truth");
held_visible($writer);
$locker->query('SELECT pg_advisory_unlock(7)');
is($builder->result, $old + 1, 'a function sees what its query does not');
is((split / /, $reader->query(fetch('reads')))[1], $old, 'an older snapshot does not get that');
$reader->query('COMMIT');
$writer->wake;
at_rest('functions');

#
# A document that is copied from shared memory goes with its etag
#
$node->sql(q{SELECT summary_cache_define('random', 'main', 'SELECT random() AS n, (SELECT n FROM t) AS t', '{t}')});
my $pair = q{SELECT etag || ' ' || md5(document::text) FROM summary_cache_fetch('random')};
$node->cached('random');
$reader->query(q{SET summary_cache.local_memory_limit = 0});
my $first = $reader->query($pair);
$node->sql("BEGIN; $write; PREPARE TRANSACTION 'p'");
$reader->hold('prove-scanned', $pair);
$node->sql(forced('random'));
my $second = $node->sql($pair);
isnt($second, $first, 'built anew it is another document');
is($reader->wake, $second, 'an etag is never that of another document');
$node->sql(q{ROLLBACK PREPARED 'p'});
$reader->query(q{RESET summary_cache.local_memory_limit});
at_rest('copy');

#
# The worker: no request is lost
#
$node->sql(q{
	SELECT summary_cache_define('slow', 'main',
		'SELECT (SELECT n FROM t) AS n, pg_advisory_xact_lock_shared(8)::text AS gate');
});
my $state = q{SELECT state FROM summary_cache_sections WHERE summary = 'slow'};
$old = $node->cached('slow');
$locker->query('SELECT pg_advisory_lock(8)');
$node->sql($write);
is($node->sql(fetch('slow')), "stale $old", 'a refresh is asked for');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE locktype = 'advisory' AND objid = 8 AND NOT granted AND backend_type = 'summary_cache worker'})
	or die 'the worker does not build';
$node->sql($write);
is($node->sql(fetch('slow')), "stale $old", 'and once more while it is made');
$locker->query('SELECT pg_advisory_unlock(8)');
ok($node->poll_query_until('postgres', $state, 'current'), 'the second request is not lost');
is($node->sql(fetch('slow')), 'hit-revision ' . ($old + 2), 'with both writes');

my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'};
my $leaving = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND wait_event = 'PgSleep'};
$node->no_worker;
$node->sql(q{ALTER SYSTEM SET summary_cache.debug_point = 'worker-leave'});
$node->sql(q{ALTER SYSTEM SET summary_cache.debug_sleep = 2000000000});
$node->reload;
$node->sql($write);
$node->sql(fetch('slow'));
$node->poll_query_until('postgres', $leaving, '1') or die 'the worker never wants to leave';
my $pid = $node->sql($worker);
is($node->sql($state), 'current', 'a worker has nothing to do any more');
$node->sql($write);
like($node->sql(fetch('slow')), qr/^stale/, 'a request while it leaves');
$node->sql(q{ALTER SYSTEM RESET summary_cache.debug_point});
$node->sql(q{ALTER SYSTEM RESET summary_cache.debug_sleep});
$node->reload;
$node->sql("SELECT pg_log_backend_memory_contexts($pid)");
ok($node->poll_query_until('postgres', $state, 'current'), 'a request while it leaves is not lost');
at_rest('worker');

#
# A summary is dropped while a reader has it in hand, and no worker can be had
#
$node->sql(q{SELECT summary_cache_define('doomed', 'main', 'SELECT n FROM t')});
$node->cached('doomed');
$node->set_server('summary_cache.max_workers', 0);
$node->no_worker;
$node->sql($write);
my $late = Session->new($node);
$late->hold('copy', fetch('doomed'));
my $dropper = Session->new($node);
# committed, it waits for who copies the document
$dropper->send_sql(q{SELECT summary_cache_drop('doomed')});
$node->poll_query_until('postgres', q{SELECT wait_event_type = 'LWLock' FROM pg_stat_activity WHERE pid = } . $dropper->pid)
	or die 'the drop does not wait';
$late->wake;
$dropper->result;
$dropper->quit;
is($late->query('SELECT 1'), '1', 'a summary that is dropped while it is read');
$late->quit;
$node->set_server('summary_cache.max_workers', undef, '3');

#
# Who builds for itself waits for no other builder
#
$node->sql($write);
$old = $node->sql($truth);
$node->sql(q{SELECT summary_cache_invalidate('s')});
$builder->hold('build-labelled', fetch('s'));
$reader->send_sql(fetch('s'));
my $waiting = readers_waiting();
$node->poll_query_until('postgres', $waiting, '1') or die 'nobody waits for the builder';
my $bounded = "SET statement_timeout = '60s'; SET lock_timeout = '60s'";
is($node->sql("$bounded; BEGIN; $write; " . fetch('s') . '; ROLLBACK'), 'private ' . ($old + 1), 'alone in a transaction that writes');
is($node->sql("$bounded; BEGIN ISOLATION LEVEL REPEATABLE READ; " . fetch('s') . '; COMMIT'), "private $old", '... in REPEATABLE READ');
is($node->sql("$bounded; BEGIN ISOLATION LEVEL SERIALIZABLE; " . fetch('s') . '; COMMIT'), "private $old", '... in SERIALIZABLE');
is($node->sql("$bounded; SET summary_cache.enabled = off; " . fetch('s')), "private $old", '... with the cache switched off');
is($node->sql("$bounded; BEGIN; LOCK t IN ROW EXCLUSIVE MODE; " . fetch('s') . '; COMMIT'), "private $old", '... with a lock on a source');
is($node->sql("$bounded; BEGIN; CREATE TEMP TABLE own_xid (); " . fetch('s') . '; COMMIT'), "private $old", '... with an xid');
is($node->sql($waiting), '1', 'while another waits');
is($builder->wake, "miss $old", 'until they are answered');
is($reader->result, "miss $old", '... all of them');
at_rest('alone');

$_->quit for $reader, $writer, $builder, $locker;
$node->stop;
done_testing();
