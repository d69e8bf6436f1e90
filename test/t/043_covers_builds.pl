# Proves that a build keeps its sources as its snapshot has them until it has read them, of a tree of partitions those that it reads; and that what a session remembers of a table is forgotten when it is no longer so.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('builds');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;

my $module = compile_module('row_count', 'stress/row_count.c');

# The gate is read before the rows, under the same snapshot; the tree's member is named before its root.
$node->sql(q{
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION execute_rows(text, int) RETURNS bigint AS 'MODULE' LANGUAGE C;
	CREATE TABLE plain (n int);
	INSERT INTO plain SELECT generate_series(1, 3);
	CREATE TABLE tree (n int) PARTITION BY RANGE (n);
	CREATE TABLE member PARTITION OF tree FOR VALUES FROM (0) TO (1000);
	INSERT INTO tree SELECT generate_series(1, 3);
	CREATE TABLE root (n int) PARTITION BY RANGE (n);
	CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (1000);
	CREATE TABLE keyed (n int) PARTITION BY RANGE (n);
	CREATE TABLE mid PARTITION OF keyed FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (n);
	CREATE TABLE low PARTITION OF mid FOR VALUES FROM (0) TO (10);
	CREATE TABLE beside PARTITION OF mid FOR VALUES FROM (10) TO (20);
	INSERT INTO keyed VALUES (1), (2), (3), (11), (12);
	CREATE VIEW by_key AS SELECT n FROM keyed WHERE n < 10;
	SELECT summary_cache_define('root', 'main', 'SELECT count(*) AS n FROM root');
	SELECT summary_cache_define('low', 'main', 'SELECT count(*) AS n FROM low');
	CREATE FUNCTION besides() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM beside); END';
	SELECT summary_cache_define('opaque', 'main', 'SELECT count(*) + besides() AS n FROM low', '{low}');
	SELECT summary_cache_define('by_key', 'first', 'SELECT pg_advisory_xact_lock_shared(9)::text AS gate', '{}');
	SELECT summary_cache_define('by_key', 'second', 'SELECT count(*) AS n FROM by_key');
	SELECT summary_cache_define('plain', 'first', 'SELECT pg_advisory_xact_lock_shared(9)::text AS gate', '{}');
	SELECT summary_cache_define('plain', 'second', 'SELECT count(*) AS n FROM plain');
	SELECT summary_cache_define('tree', 'first', 'SELECT pg_advisory_xact_lock_shared(9)::text AS gate', '{}');
	SELECT summary_cache_define('tree', 'second', 'SELECT (SELECT count(*) FROM member) AS member, count(*) AS n FROM tree', '{member, tree}');
} =~ s/MODULE/$module/r);

# A session that has built a summary before, and remembers what it then found out.
sub experienced
{
	my ($summary) = @_;
	my $session = Session->new($node);
	$session->query(forced($summary)) for 1 .. 2;
	return $session;
}

my $locker = Session->new($node);

#
# Between the snapshot and the query
#
for my $case ([ 'plain', 'plain' ], [ 'tree', 'member' ], [ 'by_key', 'low' ])
{
	my ($summary, $table) = @$case;
	for my $builder (Session->new($node), experienced($summary))
	{
		my $n = $node->sql("SELECT count(*) FROM $table");
		$locker->query('SELECT pg_advisory_lock(9)');
		$builder->send_sql(forced($summary));
		$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 9 AND NOT granted})
			or die 'the builder is not at the gate';
		# had it to be waited for, it would be done when the builder is
		$locker->query("BEGIN; LOCK TABLE $table IN ACCESS EXCLUSIVE MODE NOWAIT; TRUNCATE $table; INSERT INTO $table VALUES (1); COMMIT");
		like($locker->error, qr/could not obtain lock on relation "$table"/, "$table: what a build is about to read is not emptied");
		$locker->query('SELECT pg_advisory_unlock(9)');
		is($builder->result, $n, "$table: a build finds what its snapshot sees");
		$builder->quit;
	}
}

# by a plan that is kept, no more of a tree of partitions is locked than it reads; if another plan reads more, the build begins again
{
	my $builder = experienced('by_key');
	my $nowait = 'BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT; ROLLBACK';
	$locker->query('SELECT pg_advisory_lock(9)');
	$builder->send_sql(forced('by_key'));
	$node->polled(anybody_at_gate(9), '1', 'a builder that has kept its plan is at the gate');
	for my $table ('low', 'ONLY mid', 'ONLY keyed')
	{
		$locker->query(sprintf $nowait, $table);
		like($locker->error, qr/could not obtain lock/, "... and has locked $table, which it reads or which is above that");
	}
	$locker->query(sprintf $nowait, 'beside');
	is($locker->error, '', '... but no partition that it does not read');
	$locker->query(q{
		BEGIN;
		CREATE OR REPLACE VIEW by_key AS SELECT n FROM keyed WHERE n >= 10;
		TRUNCATE beside;
		INSERT INTO keyed VALUES (11);
		COMMIT});
	is($locker->error, '', 'the view that it reads comes to show that one, which is truncated');
	my $next = Session->new($node);
	$next->send_sql('SELECT pg_advisory_lock(9)');
	$node->polled(anybody_at_gate(9), '2', 'another session is next');
	$locker->query('SELECT pg_advisory_unlock(9)');
	$next->result;
	$node->polled(anybody_at_gate(9), '1', 'the build begins again');
	for my $table ('low', 'beside')
	{
		$locker->query(sprintf $nowait, $table);
		like($locker->error, qr/could not obtain lock/, "... with $table locked, whatever it reads");
	}
	$next->query('SELECT pg_advisory_unlock(9)');
	$next->quit;
	is($builder->result, '1', 'the build has what is there now, and not what is left of it for its first snapshot');
	is($node->sql(fetch('by_key')), 'hit-revision 1', '... as others find it');
	$node->sql('INSERT INTO keyed VALUES (12), (13); CREATE OR REPLACE VIEW by_key AS SELECT n FROM keyed WHERE n < 10');
	$builder->quit;
}

# a tree is locked as DDL locks it, from its root on: neither waits for the other
for my $builder (Session->new($node), experienced('tree'))
{
	$locker->query('BEGIN; LOCK TABLE ONLY tree IN ACCESS EXCLUSIVE MODE');
	$builder->send_sql(forced('tree'));
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'tree'::regclass AND NOT granted})
		or die 'the builder does not wait for the root';
	$locker->query('LOCK TABLE ONLY member IN ACCESS EXCLUSIVE MODE NOWAIT');
	is($locker->error, '', 'who waits for the root of a tree has locked no member');
	$locker->query('COMMIT');
	$builder->result;
	$builder->quit;
}

#
# What is remembered: a builder believes that each change is noticed, somebody changes that, and then the table
#
sub not_believed
{
	my ($what, $summary, $change, $write, $repair) = @_;
	my $builder = experienced($summary);
	$node->sql($change);
	my $old = $builder->query(forced($summary));
	is($old, $node->sql("SELECT count(*) FROM $summary"), "$what: it builds what is there");
	$node->sql($write);
	isnt($node->sql(fetch($summary)), "hit-revision $old", "$what: no hit hides what is visible");
	is($node->sql(forced($summary)), $node->sql("SELECT count(*) FROM $summary"), "$what: a build has it");
	$node->sql($repair);
	$builder->quit;
	return;
}

# COPY marks by the trigger alone
not_believed('a trigger is disabled', 'plain',
	'ALTER TABLE plain DISABLE TRIGGER summary_cache_statement',
	q{COPY plain FROM PROGRAM 'echo 4'},
	'ALTER TABLE plain ENABLE TRIGGER summary_cache_statement');
not_believed('the trigger of a member is disabled', 'root',
	'ALTER TABLE leaf DISABLE TRIGGER summary_cache_statement',
	q{COPY leaf FROM PROGRAM 'echo 4'},
	'ALTER TABLE leaf ENABLE TRIGGER summary_cache_statement');

not_believed('the trigger of what is above a partition is disabled', 'low',
	'ALTER TABLE mid DISABLE TRIGGER summary_cache_statement',
	q{COPY mid FROM PROGRAM 'echo 4'},
	'ALTER TABLE mid ENABLE TRIGGER summary_cache_statement');
not_believed('the trigger of the root of a partition is disabled', 'low',
	'ALTER TABLE keyed DISABLE TRIGGER summary_cache_statement',
	q{COPY keyed FROM PROGRAM 'echo 4'},
	'ALTER TABLE keyed ENABLE TRIGGER summary_cache_statement');
not_believed('the trigger of a partition that is found by the key is disabled', 'by_key',
	'ALTER TABLE low DISABLE TRIGGER summary_cache_statement',
	q{COPY low FROM PROGRAM 'echo 4'},
	'ALTER TABLE low ENABLE TRIGGER summary_cache_statement');

# What a section does not read of a tree of partitions does not concern it; but its rows may become those of what it reads.
# Whether the session has kept a plan makes no difference.
$node->sql('ALTER TABLE beside DISABLE TRIGGER summary_cache_statement');
for my $summary ('low', 'by_key')
{
	my $n = $node->sql("SELECT count(*) FROM $summary");
	for my $builder (Session->new($node), experienced($summary))
	{
		$builder->query(forced($summary));
		is($node->sql(fetch($summary)), "hit-revision $n", "$summary: a partition beside has no trigger that fires: hits");
		$node->sql(q{COPY beside FROM PROGRAM 'echo 14'});
		is($node->sql(fetch($summary)), "hit-revision $n", '... also when that is written');
		$builder->quit;
	}
}
# what runs code of users may read more than its plan shows
my $both = $node->sql('SELECT (SELECT count(*) FROM low) + (SELECT count(*) FROM beside)');
for (1, 2)
{
	is($node->sql(forced('opaque')), $both, 'a function reads such a partition');
	isnt($node->sql(fetch('opaque')), "hit-revision $both", '... the section is not proven');
}
not_believed('rows move from such a partition', 'low', 'DROP TRIGGER summary_cache_statement ON beside',
	q{SELECT execute_rows('UPDATE keyed SET n = n - 9 WHERE n > 10 RETURNING n', 2)}, 'SELECT');
cmp_ok($node->sql('SELECT count(*) FROM beside'), '>', 0, '... by a statement that was not run to its end');
not_believed('the tree above a partition changes', 'low', $_->[0], "INSERT INTO $_->[1] VALUES (5)", 'SELECT')
	for [ 'ALTER TABLE keyed DETACH PARTITION mid', 'mid' ],
	[ 'ALTER TABLE keyed ATTACH PARTITION mid FOR VALUES FROM (0) TO (100)', 'keyed' ];
not_believed('a table joins what is found by the key', 'by_key',
	'CREATE TABLE under (n int); INSERT INTO under VALUES (-1), (-2); ALTER TABLE keyed ATTACH PARTITION under FOR VALUES FROM (-100) TO (0)',
	'TRUNCATE under', 'SELECT');
not_believed('a table leaves it', 'by_key', 'ALTER TABLE mid DETACH PARTITION low', 'INSERT INTO keyed VALUES (-3)', 'SELECT');

# by a session that has locked all that it looks at, catalogs too, so that no lock that it takes tells it of changes
my $builder = experienced('plain');
$builder->query(q{BEGIN});
$builder->query("SELECT count(*) FROM $_")
  for 'plain', 'summary_cache.definition', 'summary_cache.option',
  split /\n/, $node->sql(q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' ORDER BY oid});
my $old = $builder->query(forced('plain'));
$node->sql('ALTER TABLE plain DISABLE TRIGGER summary_cache_statement');
is($builder->query(forced('plain')), $old, 'a session that has locked the table before builds');
$node->sql(q{COPY plain FROM PROGRAM 'echo 5'});
isnt($node->sql(fetch('plain')), "hit-revision $old", 'a trigger is disabled beside a session that has locked the table: no hit hides what is visible');
$builder->query('COMMIT');
$node->sql('ALTER TABLE plain ENABLE TRIGGER summary_cache_statement');
is($node->sql(forced('plain')), $node->sql('SELECT count(*) FROM plain'), '... and a build has it');

$_->quit for $builder, $locker;
$node->stop;
done_testing();
