# Proves that changing a tree of tables beside open and prepared writers makes no hit wrong and nobody wait, that what has no trigger yet gets it, and that temporary members concern their session only.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('trees');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 10");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION summary_cache');

# Not a writer of what it is to notice.
my $reader = Session->new($node);

sub sql
{
	my $result = $reader->query($_[0]);
	die $reader->error if $reader->error =~ /ERROR/;
	return $result;
}

sub fetch { return qq{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('$_[0]')}; }

sub define { return qq{SELECT summary_cache_define('$_[0]', 'main', \$q\$SELECT count(*) AS n FROM $_[0]\$q\$);}; }

# Any status but a hit may be old; none may be when the table is read right after the document.
sub right
{
	my ($table, $what) = @_;
	my $answer = sql(fetch($table));
	my $n = sql("SELECT count(*) FROM $table");
	ok($answer eq "hit-revision $n" || $answer !~ /^hit/, "$what: no hit is wrong") or diag "$answer instead of $n";
	return;
}

sub comes_true
{
	my ($query) = @_;
	for (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if sql($query) eq 't';
		select undef, undef, undef, 0.05;
	}
	return 0;
}

# It becomes a hit by itself, and that is what the table has.
sub recovers
{
	my ($table, $what) = @_;
	ok(comes_true(qq{SELECT status = 'hit-revision' FROM summary_cache_fetch('$table')}), "$what: there are hits of $table again");
	right($table, $what);
	return;
}

sub rebuilt { return sql("SELECT 1 FROM summary_cache_fetch('$_[0]', NULL, true)"); }

# The rows of a tree are in its lowest table.  Its members and all that it may hang on have documents.
sub tree
{
	my ($name) = @_;
	sql(qq{
		CREATE TABLE ${name}_top (id int);
		CREATE TABLE ${name}_mid () INHERITS (${name}_top);
		CREATE TABLE ${name}_low () INHERITS (${name}_mid);
	} . join '', map { define("${name}_$_") } qw(top mid low));
	return;
}

#
# The parent of a table in the middle changes while the table below it is written
#
my $ddl = Session->new($node);
my %changes = (
	leaves => 'ALTER TABLE %1$s_mid NO INHERIT %1$s_top',
	moves => 'BEGIN; ALTER TABLE %1$s_mid NO INHERIT %1$s_top; ALTER TABLE %1$s_mid INHERIT %1$s_other; COMMIT',
	joins => 'ALTER TABLE %1$s_mid INHERIT %1$s_other');
for my $name (sort keys %changes)
{
	for my $prepared (0, 1)
	{
		my $tree = $name . $prepared;
		my $what = "a table $name under " . ($prepared ? 'a prepared' : 'an open') . ' writer';
		my $writer = Session->new($node);
		tree($tree);
		sql("CREATE TABLE ${tree}_other (id int);" . define("${tree}_other"));
		rebuilt("${tree}_$_") for qw(top mid low other);
		$writer->query("BEGIN; INSERT INTO ${tree}_low VALUES (1)");
		$writer->query("PREPARE TRANSACTION '$tree'") if $prepared;
		$ddl->query("SET lock_timeout = '60s'; " . sprintf($changes{$name}, $tree));
		is($ddl->error, '', "$what: it does not wait");
		rebuilt("${tree}_$_") for qw(top mid low other);
		right("${tree}_$_", "$what, before it is over") for qw(top mid low other);
		$writer->query($prepared ? "COMMIT PREPARED '$tree'" : 'COMMIT');
		$writer->quit;
		right("${tree}_$_", $what) for qw(top mid low other);
		recovers("${tree}_$_", $what) for qw(top mid);
		# whatever the session of a writer remembers
		sql("UPDATE ${tree}_mid SET id = 2; DELETE FROM ${tree}_top");
		right("${tree}_$_", "$what, a write after it") for qw(top mid low other);
	}
}

#
# A session that has written a table reads what it has written, whatever the label of an old document knows
#
{
	my $writer = Session->new($node);
	sql('CREATE TABLE joined (id int); CREATE TABLE apart (id int); CREATE TABLE joining () INHERITS (apart);'
		  . define('joined') . define('apart'));
	rebuilt('joined');
	$writer->query('INSERT INTO joining VALUES (1)');
	sql('ALTER TABLE joining INHERIT joined');
	is($writer->query(fetch('joined')), 'miss 1', 'what a session wrote in a table that has joined a source since');
	tree('unknown');
	sql('ALTER TABLE unknown_mid DISABLE TRIGGER summary_cache_statement');
	rebuilt('unknown_top');
	$writer->query('INSERT INTO unknown_low VALUES (1)');
	like($writer->query(fetch('unknown_top')), qr/ 1$/, '... or below a table whose trigger is disabled');
	$writer->quit;
}

# a partition whose DETACH CONCURRENTLY waits in the middle
sql(q{
	CREATE TABLE part (id int) PARTITION BY RANGE (id);
	CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
	CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
	CREATE TABLE part21 PARTITION OF part2 FOR VALUES FROM (10) TO (20);
} . define('part') . define('part2') . define('part21'));
my @partitions = qw(part part2 part21);
my $writer = Session->new($node);
my $holder = Session->new($node);
my $detacher = Session->new($node);
# the partition's constraint is looked at once in a session, which locks the parents until the end
$writer->query('INSERT INTO part21 VALUES (10)');
$holder->query('BEGIN; SELECT count(*) FROM part');
$writer->query('BEGIN; INSERT INTO part21 VALUES (11)');
$detacher->send_sql('ALTER TABLE part DETACH PARTITION part2 CONCURRENTLY');
my $waits = 'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid = ' . $detacher->pid;
ok(comes_true($waits), 'DETACH CONCURRENTLY waits for a reader');
rebuilt($_) for @partitions;
$writer->query('COMMIT');
right($_, 'a write that began before DETACH CONCURRENTLY') for @partitions;
$writer->query('BEGIN; INSERT INTO part21 VALUES (12)');
$holder->query('COMMIT');
ok(comes_true($waits), 'its end waits for the writer');
rebuilt('part');
right('part', 'beside a write that began in the middle');
$writer->query('COMMIT');
$detacher->result;
right($_, 'a write that began in the middle of DETACH CONCURRENTLY') for @partitions;
recovers($_, 'DETACH CONCURRENTLY') for @partitions;
$_->quit for $holder, $detacher;

# of a tree of partitions all writers are locked out
$writer->query('BEGIN; INSERT INTO part21 VALUES (13)');
for my $command ('ALTER TABLE part ATTACH PARTITION part2 FOR VALUES FROM (10) TO (20)')
{
	my ($ret, undef, $err) = $node->psql('postgres', "SET lock_timeout = '10ms'; $command");
	like($err, qr/lock timeout/, "a writer of what is below keeps out $command");
	$writer->query('COMMIT');
	sql($command);
	$writer->query('BEGIN; INSERT INTO part21 VALUES (14)');
	($ret, undef, $err) = $node->psql('postgres', q{SET lock_timeout = '10ms'; ALTER TABLE part DETACH PARTITION part2});
	like($err, qr/lock timeout/, '... and DETACH');
	$writer->query('COMMIT');
	right($_, 'after ATTACH') for @partitions;
	recovers($_, 'ATTACH') for @partitions;
}

#
# A table joins with others below it, which have no trigger yet
#
sql(q{CREATE TABLE top (id int); CREATE TABLE mid (id int); CREATE TABLE low () INHERITS (mid); CREATE TABLE lower () INHERITS (low);}
	  . define('top'));
rebuilt('top');
my $reasons = q{SELECT provable, reason FROM summary_cache_tables WHERE source = 'top'::regclass};
$writer->query('BEGIN; INSERT INTO low VALUES (1)');
$ddl->query(q{SET lock_timeout = '1ms'; BEGIN; ALTER TABLE mid INHERIT top});
is($ddl->error, '', 'INHERIT does not wait for a writer of a table below');
# nor does it keep what it has not locked itself
$holder = Session->new($node);
$holder->query(q{SET lock_timeout = '10s'; INSERT INTO lower VALUES (2)});
is($holder->error, '', 'another table below can be written meanwhile');
$ddl->query('COMMIT');
is($ddl->error, '', 'INHERIT is committed');
like(sql($reasons), qr/^f\|trigger summary_cache_statement is missing on low(er)?$/, 'the view says why it is not proven');
rebuilt('top');
unlike(sql(fetch('top')), qr/^hit/, 'it is not');
like(sql(q{SELECT state, reason FROM summary_cache_sections WHERE summary = 'top'}), qr/^unprovable\|a source cannot be tracked/, 'the section says so');
# the worker has come by, and did not wait
my $background = q{SELECT builds_background FROM summary_cache_stats WHERE summary = 'top'};
my $builds = sql($background);
ok(comes_true(qq{SELECT ($background) > $builds + 1 FROM summary_cache_fetch('top')}), 'it is refreshed all the same');
unlike(sql(fetch('top')), qr/^hit/, 'it is still not proven');
$holder->query('INSERT INTO low VALUES (3)');
is($holder->error, '', 'the table below can be written meanwhile');
$writer->query('COMMIT');
recovers('top', 'when the writer is over');
is(sql($reasons), 't|', 'the tree is provable');
for my $table (qw(mid low lower))
{
	sql("INSERT INTO $table VALUES (4)");
	right('top', "a write of $table");
	recovers('top', "a write of $table");
}
$_->quit for $ddl, $holder;

#
# A source whose trigger is missing: a table of another extension after a restore
#
sql(q{
	CREATE ROLE regress_trees;
	CREATE TABLE lent (id int);
	GRANT SELECT, TRIGGER ON lent TO regress_trees;
	GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_trees;
});
sql('SET ROLE regress_trees;' . define('lent') . 'RESET ROLE');
rebuilt('lent');
sql('DROP TRIGGER summary_cache_statement ON lent; REVOKE TRIGGER ON lent FROM regress_trees');
$background =~ s/'top'/'lent'/;
rebuilt('lent');
$builds = sql($background);
ok(comes_true(qq{SELECT ($background) > $builds + 1 FROM summary_cache_fetch('lent')}), 'a source without our trigger is refreshed');
unlike(sql(fetch('lent')), qr/^hit/, 'it gets no trigger from an owner that may set none');
sql('GRANT TRIGGER ON lent TO regress_trees');
recovers('lent', 'when he may');
sql('INSERT INTO lent VALUES (1)');
right('lent', 'a write of it');
# one that somebody has disabled stays so
sql('ALTER TABLE lent DISABLE TRIGGER summary_cache_statement');
rebuilt('lent');
$builds = sql($background);
ok(comes_true(qq{SELECT ($background) > $builds + 1 FROM summary_cache_fetch('lent')}), 'one whose trigger is disabled is refreshed');
is(sql(q{SELECT tgenabled FROM pg_trigger WHERE tgname = 'summary_cache_statement' AND tgrelid = 'lent'::regclass}), 'D', '... and the trigger left alone');
sql(q{SELECT summary_cache_drop('lent'); DROP TABLE lent; DROP OWNED BY regress_trees; DROP ROLE regress_trees});

#
# Temporary members
#
sql('CREATE TABLE source (id int); INSERT INTO source VALUES (1); CREATE TABLE below () INHERITS (source); CREATE TABLE unrelated (id int);'
	  . define('source') . define('unrelated'));
recovers($_, 'before there is a temporary member') for qw(source unrelated);
my $private = Session->new($node);
is($private->query(fetch('source')), 'hit-revision 1', 'a session has a copy');
$private->query('CREATE TEMP TABLE mine () INHERITS (source); INSERT INTO mine VALUES (666)');
is($private->query(fetch('source')), 'private 2', 'the rows of a temporary member of its own are in what it reads');
is($private->query(q{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('source', NULL, true)}), 'private 2', '... also when it forces');
is(sql(fetch('source')), 'hit-revision 1', 'and not in what others read');
is($private->query(fetch('unrelated')), 'hit-revision 0', 'it has hits of other summaries');
is(sql(q{SELECT provable FROM summary_cache_tables WHERE source = 'source'::regclass}), 't', 'the source is provable');
rebuilt('source');
is(sql(fetch('source')), 'hit-revision 1', 'others build it, and have hits');
sql('INSERT INTO source VALUES (2); UPDATE source SET id = id');
right('source', 'a write beside it');
recovers('source', 'a write beside it');
# without a document nothing tells what it would be about
sql(q{SELECT summary_cache_invalidate('source'); SELECT summary_cache_invalidate('unrelated')});
is($private->query(fetch('source')), 'private 3', 'nothing is cached: private');
is($private->query(fetch('unrelated')), 'miss 0', 'and another summary is built for all');
recovers('source', 'meanwhile');
$private->query('ALTER TABLE mine NO INHERIT source');
is($private->query(fetch('source')), 'hit-revision 2', 'it has left: hits again');
$private->query('BEGIN; ALTER TABLE mine INHERIT below; SAVEPOINT a; DROP TABLE mine');
like($private->query(fetch('source')), qr/ 2$/, 'below another member, and dropped');
is($private->query('ROLLBACK TO a; ' . fetch('source')), 'private 3', '... which is rolled back');
$private->query('COMMIT');
is($private->query(fetch('source')), 'private 3', '... and committed');
$private->query('DISCARD TEMP');
is($private->query(fetch('source')), 'hit-revision 2', 'when it is gone there are hits');
$_->quit for $private, $writer, $reader;

$node->stop;
done_testing();
