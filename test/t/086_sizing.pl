# Proves that the figures of doc/operations.md about memory, slots and locks are those of the server: each is read from the page and compared with what is measured here.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my ($page) = slurp_file("$FindBin::RealBin/../../doc/operations.md") =~ /^(## Sizing\n.*?)^## /ms or die 'no sizing';

# The rows of a table below a heading: first column => second column.  Each row is to be asked for once.
my %unasked;
sub table
{
	my ($heading) = @_;
	my ($text) = $page =~ /^### \Q$heading\E\n(.*?)(?:^### |\z)/ms or die "no $heading";
	my %rows = $text =~ /^\| ([^|]+?) \| ([^|]+?) \|$/mg;

	delete @rows{ grep { $rows{$_} !~ /^[\d,]+$/ } keys %rows };
	$unasked{"$heading: $_"} = 1 for keys %rows;
	return \%rows;
}
sub figure
{
	my ($heading, $row, $rows) = @_;
	my $figure = $rows->{$row} // die "no row $row below $heading";

	delete $unasked{"$heading: $row"};
	return $figure =~ s/,//gr;
}
sub near
{
	my ($measured, $figure, $percent, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok(abs($measured - $figure) <= $figure * $percent / 100, $name) or diag("measured $measured, the page has $figure");
	return;
}

my $node = Node->new('main');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	max_connections = 20
	max_prepared_transactions = 5
	max_worker_processes = 8
	max_locks_per_transaction = 128
});

# Restarts with other settings: the last line of the file counts.
sub restart_with
{
	my (%settings) = @_;

	$node->append_conf('postgresql.conf', "$_ = $settings{$_}") for sort keys %settings;
	$node->restart;
	return;
}

#
# Shared memory: bytes for one more of what a setting counts
#
my $named = q{SELECT sum(allocated_size) FROM pg_shmem_allocations WHERE name LIKE 'summary\_cache%'};
# the elements of hash tables have no name of their own, up to 18
my $all = q{SELECT sum(allocated_size) FROM pg_shmem_allocations WHERE name LIKE 'summary\_cache%' OR name = '<anonymous>'};
my $heading = 'Shared memory';
my $rows = table($heading);

$node->start;
cmp_ok($node->sql($named), '<', 67 * 1024 * 1024, 'with the defaults, all but the documents takes less than 3 MB');
for (
	[ 'summary_cache.max_tables', 1024, 20000, $all ],
	[ 'summary_cache.key_words', 65536, 100000, $named ],
	[ 'summary_cache.max_sections', 256, 2000, $all ],
	[ 'summary_cache.max_documents', 1024, 20000, $all ],
	[ 'max_connections', 20, 1000, $named ],
	[ 'max_prepared_transactions', 5, 1000, $named ],
	[ 'max_worker_processes', 8, 1000, $named ],
	[ 'summary_cache.memory_limit', 65536, 10240, $named ])
{
	my ($setting, $default, $more, $query) = @$_;
	my ($row) = grep { /\b\Q@{[ $setting =~ s,^summary_cache\.,,r ]}\E\b/ } sort keys %$rows;
	my $before = $node->sql($query);

	restart_with($setting => $default + $more);
	near(($node->sql($query) - $before) / $more, figure($heading, $row // $setting, $rows), 5, "one more of $setting takes what the page says");
	restart_with($setting => $default);
	is($node->sql($query), $before, '... which is given back');
}

#
# Slots: which of max_tables are taken
#
$heading = 'Slots';
$rows = table($heading);
my %slots = map { $_ => figure($heading, $_, $rows) } keys %$rows;
my $slots = $slots{'the server'} + 2 * $slots{'each database with a section'} + $slots{'each source'} + $slots{'each source that is a partition tree'} +
	$slots{'each table that inherits from a source'};
restart_with('summary_cache.max_tables' => $slots + 4 * $slots{'each source'});
$node->sql(q{CREATE DATABASE other});
$node->sql(q{CREATE EXTENSION summary_cache}, $_) for 'postgres', 'other';
$node->sql(q{
	CREATE TABLE tree (n int) PARTITION BY LIST (n);
	CREATE TABLE tree1 PARTITION OF tree FOR VALUES IN (1);
	CREATE TABLE tree2 PARTITION OF tree FOR VALUES IN (2) PARTITION BY LIST (n);
	CREATE TABLE tree22 PARTITION OF tree2 FOR VALUES IN (2);
	CREATE TABLE parent (n int);
	CREATE TABLE child () INHERITS (parent);
	SELECT summary_cache_define('trees', 'main', 'SELECT (SELECT count(*) FROM tree) AS a, (SELECT count(*) FROM parent) AS b');
	SELECT summary_cache_get('trees');
});
$node->sql(join('', map { "CREATE TABLE t$_ (n int);" } 1 .. 5), 'other');
for (1 .. 4)
{
	$node->sql("SELECT summary_cache_define('t$_', 'main', 'SELECT count(*) AS n FROM t$_'); SELECT summary_cache_get('t$_')", 'other');
}
my ($ret, $out, $err) = $node->psql('other', q{SELECT summary_cache_define('t5', 'main', 'SELECT count(*) AS n FROM t5')});
like($err, qr/max_tables/, 'tables, trees, children and databases take as many of max_tables as the page says');
$node->sql(q{SELECT summary_cache_drop('t1')}, 'other');
$node->sql(q{SELECT summary_cache_define('t5', 'main', 'SELECT count(*) AS n FROM t5'); SELECT summary_cache_get('t5')}, 'other');
$node->sql(q{DROP DATABASE other});
$node->sql(q{DROP EXTENSION summary_cache; DROP TABLE tree, parent, child});

#
# Memory of a backend
#
restart_with('summary_cache.max_tables' => 20000, 'summary_cache.max_sections' => 1000);
$heading = 'Memory of a backend';
$rows = table($heading);
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	SELECT count(summary_cache_define('s' || g, 'main', 'SELECT n, repeat(''x'', 20000) AS x FROM t')) FROM generate_series(0, 200) g;
	SELECT summary_cache_define('keyed', 'main', 'SELECT n, repeat(''x'', 20000) AS x FROM t WHERE n = 1 OR n = $1', parameters => '{n int}');
	SELECT count(summary_cache_get('keyed', parameters => ARRAY[g::text])) FROM generate_series(0, 200) g;
	SELECT summary_cache_define('large', 'main', 'SELECT repeat(n::text, 1048576 - 10) AS x FROM t');
	SELECT count(summary_cache_get('s' || g)) FROM generate_series(0, 200) g;
	SELECT summary_cache_get('large');
});
my $contexts = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
my $session = Session->new($node);
my $unchanged = sub { return "SELECT count(summary_cache_unchanged('s' || g, 'none')) FROM generate_series($_[0], $_[1]) g" };
my $get = sub { return "SELECT count(summary_cache_get('s' || g)) FROM generate_series($_[0], $_[1]) g" };
sub growth
{
	my ($query) = @_;
	my $before = $session->query($contexts);

	$session->query($query);
	return $session->query($contexts) - $before;
}
# what the first of each costs is not of interest
$session->query($_->(0, 0)) for $unchanged, $get;
$session->query($contexts) for 1 .. 3;
near(growth($unchanged->(1, 200)) / 200, figure($heading, 'each summary that it reads', $rows), 25, 'a summary that is read takes what the page says');
my $unchanged_keyed = sub { return "SELECT count(summary_cache_unchanged('keyed', 'none', ARRAY[g::text])) FROM generate_series($_[0], $_[1]) g" };
$session->query($unchanged_keyed->(0, 0));
near(growth($unchanged_keyed->(1, 200)) / 200, figure($heading, 'each document with parameters that it reads', $rows), 25, '... and a document with parameters');
near(growth(q{SELECT length(summary_cache_get('large')::text)}), figure($heading, 'a document of 1 MB', $rows), 2, '... and a document');
is($session->query('SHOW summary_cache.local_memory_limit'), '64MB', 'documents have room');
my $copies = growth($get->(1, 200));
cmp_ok($copies, '>', 200 * 20000, "200 documents are kept ($copies bytes)");
$session->quit;
$session = Session->new($node);
$session->query(q{SET summary_cache.local_memory_limit = '1MB'});
$session->query($_->(0, 0)) for $unchanged, $get;
$session->query($unchanged->(1, 200));
$copies = growth($get->(1, 200));
cmp_ok($copies, '<=', 1024 * 1024 + 65536, "with less room, they take no more than that ($copies bytes)");
cmp_ok($copies, '>', 800 * 1024, '... and use it');
$session->query('CREATE TEMP TABLE warm (n int); INSERT INTO warm VALUES (1); UPDATE warm SET n = 2');
near(growth('UPDATE t SET n = n') / 20000, figure($heading, 'the first write to a source, for each of max_tables', $rows), 25, 'the first write takes what the page says');
cmp_ok(growth('UPDATE t SET n = n'), '<', 8192, '... the next takes nothing');
$session->quit;

#
# Locks
#
$heading = 'Locks';
$rows = table($heading);
my $held = q{SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND pid = };
my $holder = Session->new($node);
$holder->query('SELECT pg_advisory_lock(42)');
my %locks;
for my $n (10, 40)
{
	$node->sql(qq{CREATE TABLE parts$n (n int, m int) PARTITION BY LIST (n);
		CREATE INDEX ON parts$n (m);}
		. join('', map { "CREATE TABLE part${n}_$_ PARTITION OF parts$n FOR VALUES IN ($_);" } 1 .. $n));
	my $definer = Session->new($node);
	for (
		[ one => "SELECT pg_advisory_xact_lock_shared(42)::text AS gate, count(*) AS n FROM parts$n WHERE n = 1" ],
		[ all => "SELECT pg_advisory_xact_lock_shared(42)::text AS gate, count(*) AS n FROM parts$n" ])
	{
		my ($what, $query) = @$_;

		$definer->query('BEGIN; SET LOCAL client_min_messages = error');
		$definer->query("SELECT summary_cache_define('$what$n', 'main', '$query', run_query => false)");
		$locks{"define $what"}{$n} = $node->sql($held . $definer->pid);
		$definer->query('COMMIT');
		my $builder = Session->new($node);
		$builder->send_sql("SELECT summary_cache_get('$what$n')");
		$node->polled(q{SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND pid = } . $builder->pid, '1', "the build of $what$n waits");
		$locks{$what}{$n} = $node->sql($held . $builder->pid);
		$node->sql('SELECT pg_cancel_backend(' . $builder->pid . ')');
		$builder->result;

		# once more, by the plan that it has kept then
		$holder->query('SELECT pg_advisory_unlock(42)');
		$builder->query("SELECT summary_cache_get('$what$n', true)") for 1, 2;
		$holder->query('SELECT pg_advisory_lock(42)');
		$builder->send_sql("SELECT summary_cache_get('$what$n', true)");
		$node->polled(q{SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND pid = } . $builder->pid, '1', '... and the next one');
		$locks{"$what again"}{$n} = $node->sql($held . $builder->pid);
		$node->sql('SELECT pg_cancel_backend(' . $builder->pid . ')');
		$builder->result;
		$builder->quit;
	}
	$definer->quit;
}
$holder->quit;
my %each = map { $_ => ($locks{$_}{40} - $locks{$_}{10}) / 30 } keys %locks;
is($each{one}, figure($heading, 'a build, for each member of a source\'s tree', $rows), 'a build locks each partition, whichever its query reads');
is($each{'one again'}, figure($heading, '... by a plan that was kept, for each partition that its query does not read', $rows), '... but by a plan that was kept only those that it reads');
is($each{'all again'}, $each{one}, '... which may be all');
is($each{all} - $each{one}, figure($heading, '... and for each index of a member that its query reads', $rows), '... and the indexes of those that it reads');
is($each{'define one'}, figure($heading, 'a definition, for each member of a source\'s tree', $rows), 'a definition locks each partition')
	or diag(explain(\%locks));

#
# Places for documents with parameters
#
restart_with('summary_cache.max_sections' => 10, 'summary_cache.max_documents' => 20);
$node->sql(q{
	DROP EXTENSION summary_cache CASCADE;
	CREATE EXTENSION summary_cache;
	SET client_min_messages = error;
	SELECT summary_cache_define('keyed', s, format('SELECT count(*) AS %s FROM t WHERE n = $1', s), parameters => '{n int}') FROM unnest('{a,b,c}'::text[]) s;
	SELECT count(summary_cache_get('keyed', parameters => ARRAY[g::text])) FROM generate_series(1, 50) g;
});
is($node->sql(q{SELECT documents FROM summary_cache_stats WHERE summary = 'keyed'}), 10, 'the sections of documents have the places of max_sections and max_documents together');
restart_with('summary_cache.max_sections' => 1000, 'summary_cache.max_documents' => 0);
is($node->sql(q{SELECT status FROM generate_series(1, 2), summary_cache_fetch('keyed', parameters => '{1}')}), "private\nprivate", '... and without a place each read is private');
restart_with('summary_cache.max_documents' => 1024);

#
# Room for documents
#
my ($query) = $page =~ /^```sql\n(SELECT [^`]* AS memory_limit\n[^`]*);\n```$/m or die 'no query for memory_limit';
my @sizes = ((1500) x 40, (5000) x 40, (12000) x 40, (30000) x 40, (100000) x 20, (1000000) x 4);
$node->sql(q{DROP EXTENSION summary_cache CASCADE});
$node->sql(q{CREATE EXTENSION summary_cache; SET client_min_messages = error;}
	. join('', map { "SELECT summary_cache_define('d$_', 'main', 'SELECT n, repeat(''x'', $sizes[$_]) AS x FROM t');" } 0 .. $#sizes));
my $force = 'SELECT count(summary_cache_get(\'d\' || g, true)) FROM generate_series(0, ' . $#sizes . ') g';
my $hits = 'SELECT count(*) FROM generate_series(0, ' . $#sizes . q{) g, LATERAL summary_cache_fetch('d' || g) f WHERE f.status = 'hit-revision'};
my $evicted = 'SELECT documents_evicted FROM summary_cache_server';
$node->sql($force);
my $bytes = $node->sql('SELECT sum(bytes) FROM summary_cache_stats');
my $limit = $node->sql($query);
like($limit, qr/^\d+kB$/, "the page's query gives a memory_limit") or die;
cmp_ok($bytes, '>', 7_000_000, 'there are documents of many sizes');
restart_with('summary_cache.memory_limit' => $limit);
for (1 .. 5)
{
	$node->sql(qq{UPDATE t SET n = n + 1; $force});
}
is($node->sql($evicted), '0', "with $limit for $bytes bytes, no document gives way when all are built anew");
is($node->sql($hits), scalar @sizes, '... and all are hits');
# no more than is needed: the headroom is there for something
restart_with('summary_cache.memory_limit' => int($bytes / 1024) . 'kB');
$node->sql($force);
cmp_ok($node->sql($evicted), '>', 0, 'with the bytes of the documents alone, some do');

is(join(', ', sort keys %unasked), '', 'each figure of the page was looked at');

$node->stop;
done_testing();
