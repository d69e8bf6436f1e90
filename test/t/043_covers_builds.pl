# Proves that a build keeps its sources as its snapshot has them until it has read them, and that what a session remembers of a table is forgotten when it is no longer so.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('builds');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;

# The gate is read before the rows, under the same snapshot; the tree's member is named before its root.
$node->sql(q{
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache;
	CREATE TABLE plain (n int);
	INSERT INTO plain SELECT generate_series(1, 3);
	CREATE TABLE tree (n int) PARTITION BY RANGE (n);
	CREATE TABLE member PARTITION OF tree FOR VALUES FROM (0) TO (1000);
	INSERT INTO tree SELECT generate_series(1, 3);
	CREATE TABLE root (n int) PARTITION BY RANGE (n);
	CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (1000);
	SELECT summary_cache_define('root', 'main', 'SELECT count(*) AS n FROM root');
	SELECT summary_cache_define('plain', 'first', 'SELECT pg_advisory_xact_lock_shared(9)::text AS gate', '{}');
	SELECT summary_cache_define('plain', 'second', 'SELECT count(*) AS n FROM plain');
	SELECT summary_cache_define('tree', 'first', 'SELECT pg_advisory_xact_lock_shared(9)::text AS gate', '{}');
	SELECT summary_cache_define('tree', 'second', 'SELECT (SELECT count(*) FROM member) AS member, count(*) AS n FROM tree', '{member, tree}');
});

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
for my $case ([ 'plain', 'plain' ], [ 'tree', 'member' ])
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
