# Proves that a section over one member of a tree of partitions stays a hit beside writes of the others, and misses no write that may have changed a row below the member, by whatever statement and beside whatever DDL.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('members');
$node->init;
# who reads what is stale builds it: no refresh comes in between
$node->append_conf('postgresql.conf', q{
autovacuum = off
max_prepared_transactions = 10
summary_cache.max_workers = 0
});
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF})) if $ENV{SC_DEBUG_CONF};
$node->start;

my $module = compile_module('row_count', 'stress/row_count.c');

# What each summary is to show.
my %truth = (
	one => 'SELECT coalesce(sum(n), 0) AS n FROM event WHERE tenant = 1',
	two => 'SELECT coalesce(sum(n), 0) AS n FROM event_2',
	three => 'SELECT coalesce(sum(n), 0) AS n FROM event WHERE tenant = 3',
	low => 'SELECT coalesce(sum(n), 0) AS n FROM event_3_low',
	all => 'SELECT coalesce(sum(n), 0) AS n FROM event',
	ours => q{SELECT (SELECT coalesce(sum(n), 0) FROM event WHERE tenant = 1) AS n, (SELECT count(*) FROM event_2) AS m});
my @summaries = sort keys %truth;

$node->sql(q{
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION execute_rows(text, int) RETURNS bigint AS 'MODULE' LANGUAGE C;
	CREATE TABLE tenant (id int PRIMARY KEY);
	INSERT INTO tenant SELECT generate_series(0, 9);
	CREATE TABLE event (tenant int REFERENCES tenant ON UPDATE CASCADE, n int, u int, UNIQUE (tenant, u)) PARTITION BY LIST (tenant);
} =~ s/MODULE/$module/r);
$node->sql(q{
	CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1);
	CREATE TABLE event_2 PARTITION OF event FOR VALUES IN (2);
	CREATE TABLE event_3 PARTITION OF event FOR VALUES IN (3) PARTITION BY RANGE (u);
	CREATE TABLE event_3_low PARTITION OF event_3 FOR VALUES FROM (MINVALUE) TO (100);
	CREATE TABLE event_3_high PARTITION OF event_3 FOR VALUES FROM (100) TO (MAXVALUE);
	CREATE TABLE event_other PARTITION OF event DEFAULT;
	CREATE SEQUENCE next;
	CREATE TABLE fed (tenant int, n int);
	CREATE FUNCTION feed() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO event VALUES (new.tenant, new.n, nextval(''next'')); RETURN new; END';
	CREATE TRIGGER feed BEFORE INSERT ON fed FOR EACH ROW EXECUTE FUNCTION feed();
	INSERT INTO event SELECT t, 1, 10 * t + i FROM generate_series(0, 4) t, generate_series(1, 3) i;
	INSERT INTO event VALUES (3, 1, 150);
	ALTER SEQUENCE next RESTART 1000;
} . join '', map { "SELECT summary_cache_define('$_', 'main', '$truth{$_}');\n" } @summaries);

# Whoever has a plan knows which members are read, whoever has none finds the words of those that have some.
my $builder = Session->new($node);
my $writer = Session->new($node);

sub ready
{
	for my $summary (@_ ? @_ : @summaries)
	{
		$builder->query(forced($summary)) for 1 .. 2;
		die $builder->error if $builder->error =~ /ERROR/;
	}
	return;
}

sub written
{
	my ($sql) = @_;
	$writer->query($sql);
	die "$sql: " . $writer->error if $writer->error =~ /ERROR/;
	return;
}

# Which summaries are no longer current; a hit is right in any case.
sub moved
{
	my ($what) = @_;
	my @moved = grep { $node->sql(state_of($_)) ne 'current' } @summaries;
	for my $summary (@summaries)
	{
		my ($status, $n) = split / /, $node->sql(fetch($summary));
		my ($n_now) = split /\|/, $node->sql($truth{$summary});
		is($n, $n_now, "$what: $summary is as its tables ($status)") if $status ne 'stale';
	}
	return join ' ', @moved;
}

# These summaries move and no others; with "at least", others may.
sub moves
{
	my ($what, $sql, $expected, $at_least) = @_;
	ready();
	written($sql);
	my $moved = moved($what);
	if ($at_least)
	{
		my %moved = map { $_ => 1 } split / /, $moved;
		is(join(' ', grep { !$moved{$_} } split / /, $expected), '', "$what: it moves $expected at least ($moved)");
	}
	else
	{
		is($moved, $expected, "$what: it moves $expected");
	}
	return;
}

my $u = q{nextval('next')};
my $everything = 'all low one ours three two';

#
# Statements
#
moves('INSERT through the root', "INSERT INTO event VALUES (2, 5, $u)", 'all ours two');
moves('INSERT into a member', "INSERT INTO event_1 VALUES (1, 5, $u)", 'all one ours');
moves('INSERT into a member in the middle', "INSERT INTO event_3 VALUES (3, 5, $u)", 'all three');
moves('INSERT below that', 'INSERT INTO event_3_low VALUES (3, 5, -1)', 'all low three');
moves('INSERT below that, beside', 'INSERT INTO event_3_high VALUES (3, 5, 1000000)', 'all three');
moves('INSERT through the root, to a member below a member', 'INSERT INTO event VALUES (3, 5, -2)', 'all low three');
moves('INSERT into the default partition', "INSERT INTO event VALUES (7, 5, $u)", 'all');
moves('INSERT of several members', "INSERT INTO event VALUES (1, 5, $u), (3, 5, $u)", 'all one ours three');
moves('UPDATE of a member through the root', 'UPDATE event SET n = n + 1 WHERE tenant = 2', 'all ours two');
moves('a plan for a parameter', 'PREPARE custom (int) AS UPDATE event SET n = n + 1 WHERE tenant = $1; SET plan_cache_mode = force_custom_plan; EXECUTE custom (2)',
	'all ours two');
moves('a plan for any parameter', 'SET plan_cache_mode = force_generic_plan; EXECUTE custom (2); RESET plan_cache_mode', 'all ours two', 1);
moves('DELETE of a member through the root', 'DELETE FROM event WHERE tenant = 1 AND u = 11', 'all one ours');
moves('rows that move through the root', 'UPDATE event SET tenant = 3 WHERE tenant = 2 AND u = 21', 'all ours three two', 1);
moves('rows that move into a member', 'UPDATE event SET tenant = 1 WHERE tenant = 0 AND u = 1', 'all one ours');
moves('rows that move within the member in the middle', 'UPDATE event_3 SET u = 200 WHERE u = 31', 'all low three', 1);
moves('UPDATE of all', 'UPDATE event SET n = n + 1', $everything);
moves('MERGE', "MERGE INTO event USING (VALUES (2)) v (t) ON tenant = t AND u = -7 WHEN NOT MATCHED THEN INSERT VALUES (2, 5, $u)",
	'all ours two', 1);
moves('WITH queries that write', "WITH i AS (INSERT INTO event VALUES (1, 5, $u) RETURNING 1) INSERT INTO event SELECT 2, 5, $u FROM i",
	'all one ours two');
moves('a trigger that writes', 'INSERT INTO fed VALUES (2, 5)', 'all ours two');
moves('INSERT ON CONFLICT', "INSERT INTO event VALUES (2, 5, 22) ON CONFLICT (tenant, u) DO UPDATE SET n = event.n + 1", 'all ours two');
moves('ON UPDATE CASCADE', 'DELETE FROM event WHERE tenant = 4; INSERT INTO event VALUES (4, 7, 41); DELETE FROM event WHERE tenant = 3; '
	  . 'DELETE FROM tenant WHERE id = 3; UPDATE tenant SET id = 3 WHERE id = 4', 'all three', 1);
moves('COPY into a member', q{COPY event_2 FROM PROGRAM 'echo 2,5,300' (FORMAT csv)}, 'all ours two');
moves('COPY through the root', q{COPY event FROM PROGRAM 'echo 2,5,301' (FORMAT csv)}, $everything);
moves('COPY after an INSERT of another member', qq{BEGIN; INSERT INTO event VALUES (1, 5, $u); COPY event FROM PROGRAM 'echo 2,5,302' (FORMAT csv); COMMIT},
	$everything);
moves('a plan that is stopped early', q{SELECT execute_rows('UPDATE event SET tenant = 2 WHERE tenant = 1 RETURNING n', 1)}, 'all one ours two');
moves('... that puts rows into members', q{SELECT execute_rows('INSERT INTO event SELECT 2, 5, 700 + i FROM generate_series(1, 2) i RETURNING n', 1)}, 'all ours two');
moves('TRUNCATE of a member', 'TRUNCATE event_1', 'all one ours');
moves('TRUNCATE of the root', 'TRUNCATE event', $everything);
moves('a statement that fails, and another', "DO \$\$ BEGIN BEGIN INSERT INTO event VALUES (2, 5, 600), (2, 5, 600); EXCEPTION WHEN unique_violation THEN NULL; END; "
	  . "INSERT INTO event VALUES (1, 5, $u); END \$\$", 'all one ours', 1);
moves('a rolled back transaction', "BEGIN; INSERT INTO event VALUES (1, 5, $u); ROLLBACK", '');
moves('SELECT FOR UPDATE', 'SELECT * FROM event FOR UPDATE', '');
moves('EXPLAIN', "EXPLAIN INSERT INTO event VALUES (1, 5, $u)", '');
moves('... and after it', "EXPLAIN ANALYZE INSERT INTO event VALUES (1, 5, $u)", 'all one ours');
{
	my $applied = "SET LOCAL session_replication_role = replica";
	moves('what is applied to a member', "BEGIN; $applied; INSERT INTO event_1 VALUES (1, 5, $u); COMMIT", 'all one ours');
	moves('what is applied through the root', "BEGIN; $applied; INSERT INTO event VALUES (1, 5, $u); COMMIT", 'all one ours', 1);
}
$node->sql(q{
	CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER other AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION nothing();
});
moves('INSERT through a root with other triggers', "INSERT INTO event VALUES (2, 5, $u)", 'all ours two', 1);
$node->sql('DROP TRIGGER other ON event');

#
# Transactions
#
ready();
$writer->query("BEGIN; INSERT INTO event VALUES (2, 5, $u)");
is($writer->query(fetch('two')) =~ s/ .*//r, 'private', 'who has written a member reads it privately');
is($writer->query(fetch('one')) =~ s/ .*//r, 'private', '... and the others of the tree');
$writer->query('ROLLBACK');
ready();
written("BEGIN; INSERT INTO event VALUES (1, 5, $u); PREPARE TRANSACTION 'p'");
is(moved('a transaction is prepared'), '', 'what is prepared moves nothing');
written("COMMIT PREPARED 'p'");
is(moved('it is committed'), 'all one ours', '... and what it wrote when it is committed');
ready();
written("INSERT INTO event VALUES (2, 5, $u)");
is($writer->query(fetch('one')) =~ s/ .*//r, 'hit-revision', 'who has committed to another member has a hit');

# a writer is open when the member gets its word
$node->sql('CREATE TABLE event_5 PARTITION OF event FOR VALUES IN (5)');
sub late
{
	my ($name, $tenant) = @_;
	my $query = "SELECT coalesce(sum(n), 0) AS n FROM event WHERE tenant = $tenant";
	$node->sql("SELECT summary_cache_define('$name', 'main', '$query')");
	return $query;
}
sub right
{
	my ($summary, $query, $what) = @_;
	my ($status, $n) = split / /, $node->sql(fetch($summary));
	is($n, $node->sql($query), "$what ($status)") if $status ne 'stale';
	return $status;
}
{
	my $query = late('five', 5);
	my $other = Session->new($node);
	$other->query("BEGIN; INSERT INTO event VALUES (5, 7, $u)");
	ready('five');
	$other->query('COMMIT');
	isnt($node->sql(state_of('five')), 'current', 'a writer was open when the member got its word');
	right('five', $query, '... and is not missed');
	$node->sql("SELECT summary_cache_drop('five')");
	$node->sql('CREATE TABLE event_6 PARTITION OF event FOR VALUES IN (6)');
	$query = late('six', 6);
	$other->query("BEGIN; INSERT INTO event VALUES (6, 7, $u); PREPARE TRANSACTION 'q'");
	ready('six');
	$other->query("COMMIT PREPARED 'q'");
	isnt($node->sql(state_of('six')), 'current', '... a prepared one likewise');
	right('six', $query, '... and is not missed');
	$other->quit;
	ready('six');
	written("INSERT INTO event VALUES (1, 5, $u)");
	is($node->sql(state_of('six')), 'current', '... after that, the others are nothing to it');
	$node->sql("SELECT summary_cache_drop('six')");
}

# the session of a builder that has no plan uses the words that there are
ready();
{
	my $fresh = Session->new($node);
	$fresh->query(forced('one'));
	written("INSERT INTO event VALUES (2, 5, $u)");
	is($node->sql(state_of('one')), 'current', 'a session that builds for the first time labels by members');
	$fresh->query(forced('all'));
	written("INSERT INTO event VALUES (1, 5, $u)");
	isnt($node->sql(state_of('all')), 'current', '... and what reads all by the root');
	$fresh->quit;
}
is($node->sql(q{SELECT string_agg(sources::text, ' ' ORDER BY part) FROM summary_cache_parts WHERE summary = 'ours'}), '{event,event_2} {event,event_2}',
	'the view of the parts names the sources that may concern them');

# who names a source that the query does not wants all of it to count
$node->sql(q{SELECT summary_cache_define('given', 'main', 'SELECT coalesce(sum(n), 0) AS n FROM event_1', '{event}')});
ready('given');
written("INSERT INTO event VALUES (2, 5, $u)");
isnt($node->sql(state_of('given')), 'current', 'a source that was given concerns a section with all its members');
$node->sql(q{SELECT summary_cache_drop('given')});
$node->sql(q{
	CREATE TABLE untold (n int);
	SELECT summary_cache_define('given', 'main', 'SELECT coalesce(sum(n), 0) + (SELECT count(*) FROM untold) AS n FROM event_1', '{event_1}')});
ready('given');
written("INSERT INTO event VALUES (2, 5, $u)");
isnt($node->sql(state_of('given')), 'current', '... and so does one beside a table that is to be none');
$node->sql(q{SELECT summary_cache_drop('given')});

# what others define does not take the members' words away
ready();
$node->sql(q{CREATE TABLE unrelated (n int); SELECT summary_cache_define('unrelated', 'main', 'SELECT count(*) AS n FROM unrelated')});
$node->sql(q{SELECT summary_cache_drop('unrelated')});
{
	my $fresh = Session->new($node);
	$fresh->query(forced('one'));
	written("INSERT INTO event VALUES (2, 5, $u)");
	is($node->sql(state_of('one')), 'current', 'members keep their words when other tables are defined and dropped');
	$fresh->quit;
}

#
# DDL
#
for my $case (
	[ 'DETACH of another member', 'ALTER TABLE event DETACH PARTITION event_5' ],
	[ 'ATTACH of another member', 'ALTER TABLE event ATTACH PARTITION event_5 FOR VALUES IN (5)' ],
	[ 'DETACH CONCURRENTLY', 'ALTER TABLE event DETACH PARTITION event_5; ALTER TABLE event DETACH PARTITION event_6' ],
	[ 'DROP of a member', 'DROP TABLE event_5' ],
	[ 'DETACH of the member', 'ALTER TABLE event DETACH PARTITION event_2' ])
{
	my ($what, $sql) = @$case;
	ready();
	written($sql);
	moved($what);
	ready();
	written('INSERT INTO event_2 VALUES (2, 5, 500)');
	my $moved = moved("$what, and a write after it");
	like($moved, qr/two/, "$what: a write of the member after it moves it");
	written('DELETE FROM event_2 WHERE u = 500');
	ready();
	written("INSERT INTO event VALUES (1, 5, $u)");
	moved("$what, and a write of another");
}
ready();
written('INSERT INTO event_2 VALUES (2, 5, 501)');
is(moved('a member that was detached'), 'ours two', 'what was detached moves what reads it, and not its former root');
written('ALTER TABLE event ATTACH PARTITION event_2 FOR VALUES IN (2)');
moved('ATTACH of the member');
moves('INSERT through the root, after the ATTACH', "INSERT INTO event VALUES (2, 5, $u)", 'all ours two');
moves('another member, after the ATTACH', "INSERT INTO event VALUES (1, 5, $u)", 'all one ours');

# the root becomes a member
$node->sql('CREATE TABLE above (tenant int, n int, u int) PARTITION BY RANGE (tenant); CREATE TABLE beside PARTITION OF above FOR VALUES FROM (100) TO (200);'
	  . q{SELECT summary_cache_define('above', 'main', 'SELECT count(*) AS n FROM above')});
written('ALTER TABLE above ATTACH PARTITION event FOR VALUES FROM (MINVALUE) TO (100)');
moved('the tree becomes a part of another');
moves('INSERT through the new root', "INSERT INTO above VALUES (2, 5, $u)", 'all ours two');
moves('INSERT through the former root', "INSERT INTO event VALUES (2, 5, $u)", 'all ours two');
moves('INSERT into a member of the former root', "INSERT INTO event_1 VALUES (1, 5, $u)", 'all one ours');
moves('INSERT beside it', "INSERT INTO beside VALUES (101, 5, $u)", '');
moves('COPY through the new root', q{COPY above FROM PROGRAM 'echo 1,5,303' (FORMAT csv)}, $everything);
written('ALTER TABLE above DETACH PARTITION event');
moved('it is no part of that any more');
moves('INSERT after that', "INSERT INTO event VALUES (2, 5, $u)", 'all ours two');

# more members than a transaction tells apart
$node->sql(join '', map { "CREATE TABLE event_$_ PARTITION OF event FOR VALUES IN ($_); INSERT INTO tenant VALUES ($_) ON CONFLICT DO NOTHING;" } 10 .. 30);
moves('many members, each by itself', 'BEGIN; ' . join('; ', map { "INSERT INTO event_$_ VALUES ($_, 1, $_)" } 10 .. 30)
	  . "; INSERT INTO event_2 VALUES (2, 1, $u); COMMIT", 'all ours two', 1);
# and a tree that is deeper than is remembered
$node->sql('CREATE TABLE deep (n int, k int) PARTITION BY LIST (n);');
{
	my $parent = 'deep';
	for my $level (1 .. 6)
	{
		$node->sql("CREATE TABLE deep_$level PARTITION OF $parent FOR VALUES IN (1)" . ($level < 6 ? ' PARTITION BY LIST (n)' : ''));
		$parent = "deep_$level";
	}
	my $query = 'SELECT count(*) AS n FROM deep_6';
	$node->sql("SELECT summary_cache_define('deep', 'main', '$query')");
	for my $table ('deep', 'deep_3', 'deep_6')
	{
		ready('deep');
		written("INSERT INTO $table VALUES (1)");
		isnt($node->sql(state_of('deep')), 'current', "a deep tree: a write of $table is noticed");
		right('deep', $query, '... and shows');
	}
}

#
# No slots
#
$node->append_conf('postgresql.conf', 'summary_cache.max_tables = 8');
$node->sql("SELECT summary_cache_drop('deep'), summary_cache_drop('above')");
$node->restart;
$builder->quit;
$writer->quit;
$builder = Session->new($node);
$writer = Session->new($node);
ready();
written("INSERT INTO event VALUES (2, 5, $u)");
moved('few slots');
$node->sql(join '', map { "CREATE TABLE needs_$_ (n int); SELECT summary_cache_define('needs_$_', 'main', 'SELECT count(*) AS n FROM needs_$_');" } 1 .. 5);
is($node->sql('SELECT count(*) FROM summary_cache_tables WHERE revision IS NULL'), '0', 'members give their slots to sources');
moves('no slots', "INSERT INTO event VALUES (2, 5, $u)", $everything);
$node->sql("SELECT summary_cache_drop('needs_$_')") for 1 .. 5;
moves('slots again', "INSERT INTO event VALUES (2, 5, $u)", 'all ours two', 1);

# One slot is left for a member: the first to come keeps it, until its table is dropped.
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->sql("SELECT summary_cache_define('needs_$_', 'main', 'SELECT count(*) AS n FROM needs_$_')") for 1 .. 4;
$node->restart;
sub sessions
{
	$_->quit for $builder, $writer;
	$builder = Session->new($node);
	$writer = Session->new($node);
	return;
}
sessions();
$node->sql(fetch($_)) for map { "needs_$_" } 1 .. 4;
for my $tenant (40 .. 42)
{
	$node->sql("CREATE TABLE event_$tenant PARTITION OF event FOR VALUES IN ($tenant);"
		  . "SELECT summary_cache_define('the_first', 'main', 'SELECT count(*) AS n FROM event WHERE tenant = $tenant')");
	ready('the_first', 'two');
	written("INSERT INTO event VALUES (3, 5, $u)");
	is($node->sql(state_of('the_first')), 'current', "member $tenant has the slot");
	isnt($node->sql(state_of('two')), 'current', '... and another member has none');
	$node->sql("SELECT summary_cache_drop('the_first')");
	$node->sql("DROP TABLE event_$tenant");
}

# The slot of the root is given away to a neighbour and the root gets another one, which no DDL here shows.
{
	$node->append_conf('postgresql.conf', 'summary_cache.max_workers = 1');
	$node->sql("SELECT summary_cache_drop('needs_$_')") for 1 .. 4;
	$node->sql('CREATE DATABASE neighbour');
	$node->sql('CREATE EXTENSION summary_cache', 'neighbour');
	$node->sql("CREATE TABLE n$_ (n int); SELECT summary_cache_define('n$_', 'main', 'SELECT count(*) AS n FROM n$_')", 'neighbour') for 1 .. 3;
	$node->sql('CREATE TABLE n4 (n int)', 'neighbour');
	$node->sql(q{SELECT summary_cache_configure('two', 'min_refresh_interval', '1h')});
	$node->restart;
	sessions();
	$node->sql(fetch("n$_"), 'neighbour') for 1 .. 3;
	$builder->query(forced('two')) for 1 .. 3;
	$writer->query("INSERT INTO event VALUES (3, 5, $u)");
	is($node->sql(state_of('two')), 'current', 'the slots are the cluster\'s, the neighbour\'s, its three tables\', ours, and the root\'s and a member\'s');
	$node->sql('BEGIN; ' . join('', map { "SELECT summary_cache_drop('$_'); " } @summaries) . 'ROLLBACK');
	$node->sql(q{SELECT summary_cache_define('n4', 'main', 'SELECT count(*) AS n FROM n4')}, 'neighbour');
	$node->sql(q{SELECT summary_cache_drop('n1')}, 'neighbour');
	my $n = $node->sql($truth{two});
	# one that does not know where the root's slot was
	$writer->quit;
	$writer = Session->new($node);
	$writer->query("BEGIN; INSERT INTO event VALUES (2, 5, $u)");
	is($writer->query(fetch('two')), 'private ' . ($n + 5), 'a writer reads what it wrote in a tree whose root has lost its slot');
	$writer->query('COMMIT');
	isnt($node->sql(state_of('two')), 'current', '... which moves what reads the member');
	like($writer->query(fetch('two')), qr/^(miss|hit-revision) ${\($n + 5)}$/, '... and the writer, which has committed it, is not answered without it');
	$node->sql(q{SELECT summary_cache_configure('two', 'min_refresh_interval', NULL)});
	$node->append_conf('postgresql.conf', 'summary_cache.max_workers = 0');
}

#
# Windows
#
if ($ENV{SC_DEBUG_CONF})
{
	# in commit when the member gets its word, after it has looked for it
	$node->append_conf('postgresql.conf', 'summary_cache.max_tables = 100');
	$node->restart;
	sessions();
	# another library's callback writes when we have placed what was written
	moves('a late write through the root', q{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'INSERT INTO event VALUES (2, 5, 900)'; DELETE FROM fed; COMMIT},
		'all ours two', 1);
	moves('a late write beside another', q{BEGIN; SET LOCAL summary_cache.debug_commit_sql = 'INSERT INTO event VALUES (2, 5, 901)'; DELETE FROM event_1; COMMIT},
		'all one ours two', 1);
	for my $case ([ 'member-look', 8 ], [ 'commit-pending', 9 ])
	{
		my ($point, $tenant) = @$case;
		$node->sql("CREATE TABLE event_$tenant PARTITION OF event FOR VALUES IN ($tenant)");
		my $query = late("late_$tenant", $tenant);
		my $other = Session->new($node);
		$builder = Session->new($node);
		$other->hold($point, "INSERT INTO event VALUES ($tenant, 7, $u)");
		ready("late_$tenant");
		$other->wake;
		isnt($node->sql(state_of("late_$tenant")), 'current', "a writer is at $point when the member gets its word");
		right("late_$tenant", $query, '... and is not missed');
		$_->quit for $other, $builder;
	}
}

done_testing();
