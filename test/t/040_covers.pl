# Proves that each step of the protocol is needed where it stands: sessions are held inside windows of a few instructions, and no hit hides what is visible.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $node = PostgreSQL::Test::Cluster->new('covers');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$node->append_conf('postgresql.conf', "summary_cache.worker_idle_timeout = 200ms\nmax_prepared_transactions = 10");
$node->start;

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

sql(q{
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

sub fetch
{
	my ($summary, $key) = @_;
	return qq{SELECT status || ' ' || (document->>'} . ($key // 'n') . qq{') FROM summary_cache_fetch('$summary')};
}

sub forced
{
	my ($summary) = @_;
	return qq{SELECT document->>'n' FROM summary_cache_fetch('$summary', force_refresh => true)};
}

# A document that is a hit.  Returns what is in it.
sub cached
{
	my ($what, $summary, $db) = @_;
	$summary //= 's';
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return $1 if sql(fetch($summary), $db) =~ /^hit-revision (.*)/;
		select undef, undef, undef, 0.1;
	}
	die "$what: never a hit";
}

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
	is(cached($what), sql($truth), "$what: the document is what the table has");
	is(sql($pending), '0', "$what: nothing is pending");
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
my $old = cached('visible');
is($reader->query(fetch('s')), "hit-revision $old", 'a session with a copy of its own');
held_visible($writer);
is(sql($truth), $old + 1, 'a transaction is visible, and not told yet');
no_old_hit(sql(fetch('s')), $old, 'visible, not told');
no_old_hit($reader->query(fetch('s')), $old, 'visible, not told, own copy');
$writer->wake;
at_rest('visible, not told');

$old = cached('before it is visible');
$writer->hold('commit-pending', $write);
is(sql(fetch('s')), "hit-revision $old", 'a commit that is not visible yet prevents no hit');
sql('UPDATE other SET n = n');
is(sql(fetch('s')), "hit-revision $old", 'nor when others that began later are committed');
is(sql(forced('s')), $old, 'and is not in a document');
$writer->wake;
no_old_hit(sql(fetch('s')), $old, 'built beside a commit');
at_rest('built beside a commit');

# the answer is looked for while the transaction ends
$old = cached('scan');
$reader->query(fetch('s'));
held_visible($writer);
$reader->hold('prove-pending', fetch('s'));
$writer->wake;
no_old_hit($reader->wake, $old, 'the writer has gone before the scan');
at_rest('the writer has gone before the scan');

# a copy of its own that is newer than its snapshot
$old = cached('older snapshot');
$reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $truth");
sql($write);
sql(forced('s'));
is($reader->query(fetch('s')), "private $old", 'a newer document is not what an older snapshot gives');
is($reader->query(fetch('s')), "private $old", 'nor when the session has a copy of it');
$reader->query('COMMIT');
at_rest('older snapshot');

# a failed commit, in a session that stays
$old = cached('failed');
$writer->query(qq{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'SELECT 1/0'; $write; COMMIT});
like($writer->error, qr/division by zero/, 'a commit fails');
sql("BEGIN; $write; PREPARE TRANSACTION 'p'");
sql(forced('s'));
is(sql(fetch('s')), "hit-revision $old", 'what it left in its cell prevents no hit');
sql(q{ROLLBACK PREPARED 'p'});
at_rest('failed');

#
# What another library does in its own callback, when ours is through
#
sql(q{
	CREATE VIEW v AS SELECT n FROM other;
	SELECT summary_cache_define('view', 'main', 'SELECT n FROM v', '{other}');
});
$old = cached('late write');
held_visible($writer, qq{SET LOCAL summary_cache.debug_commit_sql = '$write'; SELECT 1});
no_old_hit(sql(fetch('s')), $old, 'a late write alone');
$writer->wake;
at_rest('a late write alone');

$old = cached('late DDL', 'view');
$writer->query(q{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'CREATE OR REPLACE VIEW v AS SELECT n + 100 AS n FROM other'; SELECT 1; COMMIT});
no_old_hit(sql(fetch('view')), $old, 'late DDL');
is(cached('late DDL', 'view'), $old + 100, 'late DDL is in the document');

sql(q{CREATE ROLE covers; CREATE FUNCTION can() RETURNS int LANGUAGE sql AS
	$$SELECT rolcreatedb::int FROM pg_roles WHERE rolname = 'covers'$$;
	SELECT summary_cache_define('role', 'main', 'SELECT can() AS n', '{}')});
$old = cached('late DDL of a role', 'role');
$writer->query(q{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'ALTER ROLE covers CREATEDB'; SELECT 1; COMMIT});
no_old_hit(sql(fetch('role')), $old, 'late DDL of a role');
is(cached('late DDL of a role', 'role'), 1, 'late DDL of a role is in the document');

#
# No memory
#
sub fails
{
	my ($name, $sql, $end) = @_;
	return "BEGIN; SET LOCAL summary_cache.debug_fail = '$name'; $sql; " . ($end // 'COMMIT');
}

$old = cached('no memory for a table');
Session->new($node)->query(fails('tables', $write));
no_old_hit(sql(fetch('s')), $old, 'no memory for a table');
at_rest('no memory for a table');

$old = cached('no memory for marks');
$writer->query(fails('marks', $write));
is((split / /, $writer->query(fetch('s')))[1], $old + 1, 'who has written without memory for marks is not served stale');
at_rest('no memory for marks');

# what stood for its marks is taken back
$writer->query(fails('marks', qq{SET LOCAL summary_cache.debug_commit_sql = 'SELECT 1/0'; $write}));
like($writer->error, qr/division by zero/, 'a commit without memory for marks fails');
sql(forced('s'));
$old = cached('no memory for marks, failed');
held_visible($writer, 'UPDATE other SET n = n');
is(sql(fetch('s')), "hit-revision $old", 'nothing of it is pending');
$writer->wake;

#
# Prepared transactions: who finishes one settles it, or a reader does, and only one of them
#
sub prepared
{
	my ($what) = @_;
	my $n = cached($what);
	sql("BEGIN; $write; PREPARE TRANSACTION 'p'");
	is(sql(fetch('s')), "hit-revision $n", "$what: a hit beside a prepared transaction");
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
is(sql($truth), $old + 1, 'a prepared transaction is visible, and not settled');
no_old_hit(sql(fetch('s')), $old, 'finished, not settled');
is(sql($pending), '0', 'a reader has settled it');
$writer->wake;
at_rest('settled by two');

$old = prepared('being settled');
finish_at('settle');
no_old_hit(sql(fetch('s')), $old, 'being settled');
no_old_hit($reader->query(fetch('s')), $old, 'being settled, own copy');
$writer->wake;
at_rest('being settled');

#
# A builder: first the words, then the snapshot
#
sql(q{
	CREATE TABLE gate (n int);
	SELECT summary_cache_define('gated', 'main', 'SELECT n, (SELECT count(*) FROM gate) AS gate FROM t', '{gate, t}');
});
$old = cached('label', 'gated');
my $locker = Session->new($node);
$locker->query('BEGIN; LOCK TABLE gate IN ACCESS EXCLUSIVE MODE');
$builder->send_sql(forced('gated'));
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted})
	or die 'the builder does not wait';
sql($write);
$locker->query('COMMIT');
$builder->result;
no_old_hit(sql(fetch('gated')), $old, 'committed between two words of a label');
is(cached('label', 'gated'), $old + 1, 'committed between two words of a label: it is in the document');

# and the words of the definition before the definition
sql(q{SELECT summary_cache_define('defined', 'main', 'SELECT 1 AS n', '{}')});
cached('definition', 'defined');
$builder->hold('build-defined', forced('defined'));
sql(q{SELECT summary_cache_define('defined', 'main', 'SELECT 2 AS n', '{}')});
$builder->wake;
no_old_hit(sql(fetch('defined')), 1, 'defined anew in the middle of a build');
is(cached('definition', 'defined'), 2, 'defined anew in the middle of a build: it is in effect');

my $definer = Session->new($node);
$definer->hold('definition-labelled', forced('defined'));
sql(q{SELECT summary_cache_define('defined', 'main', 'SELECT 3 AS n', '{}')});
$definer->wake;
is($definer->query(forced('defined')), 3, 'a definition that was read beside a change of it is read again');
is(cached('definition', 'defined'), 3, 'and nothing of the old one is cached');
$definer->quit;

# an older build that comes late
sql(q{
	SELECT summary_cache_define('two', 'main', 'SELECT n AS t FROM t');
	SELECT summary_cache_define('two', 'inlined', 'SELECT n FROM other', NULL, 'inline');
});
$old = cached('late build', 'two');
$builder->hold('build-done', forced('two'));
sql('UPDATE other SET n = n + 1');
is(sql(fetch('two')), 'progress-section ' . ($old + 1), 'an inline section is built beside a build of all');
$builder->wake;
is(sql(fetch('two')), 'hit-revision ' . ($old + 1), 'an older build that comes late does not take its place');

# who has locked a source of another section publishes all the same
cached('lock', 'two');
sql('UPDATE other SET n = n + 1');
is($reader->query("BEGIN; LOCK TABLE t IN SHARE MODE; " . fetch('two') . '; COMMIT'), 'progress-section ' . ($old + 2),
	'a lock on a source of one section, and another is built');
is(sql(fetch('two')), 'hit-revision ' . ($old + 2), 'and it is published');

# a build may not write, but be given an xid: what it made is for its caller only
sql(q{SELECT summary_cache_define('xid', 'main', 'SELECT pg_current_xact_id()::text AS n', '{}')});
isnt(sql(forced('xid')), '', 'a query that takes an xid');
unlike(sql(fetch('xid')), qr/^hit-revision/, 'what it made is nobody else\'s');

# functions take snapshots of their own: what they have seen is newer than the query's
sql(q{
	CREATE FUNCTION reads() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		IF current_setting('covers.gate', true) = 'on' THEN PERFORM pg_advisory_xact_lock_shared(7); END IF;
		RETURN (SELECT n FROM t);
	END $$;
	SELECT summary_cache_define('reads', 'main', 'SELECT reads() AS n', '{t}');
});
$old = cached('functions', 'reads');
$locker->query('SELECT pg_advisory_lock(7)');
$builder->query(q{SET covers.gate = 'on'});
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
sql(q{SELECT summary_cache_define('random', 'main', 'SELECT random() AS n, (SELECT n FROM t) AS t', '{t}')});
my $pair = q{SELECT etag || ' ' || md5(document::text) FROM summary_cache_fetch('random')};
cached('copy', 'random');
$reader->query(q{SET summary_cache.local_memory_limit = 0});
my $first = $reader->query($pair);
sql("BEGIN; $write; PREPARE TRANSACTION 'p'");
$reader->hold('prove-scanned', $pair);
sql(forced('random'));
my $second = sql($pair);
isnt($second, $first, 'built anew it is another document');
is($reader->wake, $second, 'an etag is never that of another document');
sql(q{ROLLBACK PREPARED 'p'});
$reader->query(q{RESET summary_cache.local_memory_limit});
at_rest('copy');

#
# The worker: no request is lost
#
sql(q{
	SELECT summary_cache_define('slow', 'main',
		'SELECT (SELECT n FROM t) AS n, pg_advisory_xact_lock_shared(8)::text AS gate');
});
my $state = q{SELECT state FROM summary_cache_sections WHERE summary = 'slow'};
$old = cached('worker', 'slow');
$locker->query('SELECT pg_advisory_lock(8)');
sql($write);
is(sql(fetch('slow')), "stale $old", 'a refresh is asked for');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE locktype = 'advisory' AND objid = 8 AND NOT granted AND backend_type = 'summary_cache worker'})
	or die 'the worker does not build';
sql($write);
is(sql(fetch('slow')), "stale $old", 'and once more while it is made');
$locker->query('SELECT pg_advisory_unlock(8)');
ok($node->poll_query_until('postgres', $state, 'current'), 'the second request is not lost');
is(sql(fetch('slow')), 'hit-revision ' . ($old + 2), 'with both writes');

my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'};
my $leaving = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND wait_event = 'PgSleep'};
$node->poll_query_until('postgres', "SELECT NOT EXISTS ($worker)") or die 'the worker does not leave';
sql(q{ALTER SYSTEM SET summary_cache.debug_point = 'worker-leave'});
sql(q{ALTER SYSTEM SET summary_cache.debug_sleep = 2000000000});
$node->reload;
sql($write);
sql(fetch('slow'));
$node->poll_query_until('postgres', $leaving, '1') or die 'the worker never wants to leave';
my $pid = sql($worker);
is(sql($state), 'current', 'a worker has nothing to do any more');
sql($write);
like(sql(fetch('slow')), qr/^stale/, 'a request while it leaves');
sql(q{ALTER SYSTEM RESET summary_cache.debug_point});
sql(q{ALTER SYSTEM RESET summary_cache.debug_sleep});
$node->reload;
sql("SELECT pg_log_backend_memory_contexts($pid)");
ok($node->poll_query_until('postgres', $state, 'current'), 'a request while it leaves is not lost');
at_rest('worker');

$_->quit for $reader, $writer, $builder, $locker;
$node->stop;
done_testing();
