# Proves that a slot which is given to another table, at whatever moment, takes no change along and leaves none behind.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $node = Node->new('slots');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$node->start;

# The cluster has a slot, the database, and each of six tables: all that there are after the restart.
my @tables = qw(a b c d e f);
$node->sql(q{CREATE EXTENSION summary_cache});
$node->sql(qq{
	CREATE TABLE $_ (n int);
	INSERT INTO $_ VALUES (1);
	SELECT summary_cache_define('$_', 'main', 'SELECT n FROM $_');
}) for @tables;
$node->sql('CREATE DATABASE neighbour');
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
	SELECT summary_cache_define('v', 'main', 'SELECT f() AS n', '{}');
}, 'neighbour');
$node->append_conf('postgresql.conf', 'summary_cache.max_tables = 8');

# A server with all slots taken, and nobody refused.
sub all_taken
{
	$node->restart;
	is($node->sql(fetch($_)), 'miss ' . $node->sql("SELECT n FROM $_"), "$_ is built") for @tables;
	is($node->sql('SELECT count(*) FROM summary_cache_tables WHERE revision IS NULL'), '0', 'each table has a slot');
	return;
}

# The slot of a table may be reused, and nobody knows: a drop that was rolled back, and no build since.
sub unwanted
{
	my ($table) = @_;
	$node->sql("BEGIN; SELECT summary_cache_drop('$table'); ROLLBACK");
	return;
}

# The neighbour's catch-all, the second word of its label: a slot, or beyond them the fallback.
sub neighbours_slot
{
	$node->sql(fetch('v'), 'neighbour');
	my ($slot) = $node->sql('SELECT fingerprint FROM summary_cache_stats', 'neighbour') =~ /,([0-9]+)\./ or die 'no label';
	return $slot;
}

# The neighbour's catch-all takes the slot that is to be had.
sub taken_away
{
	my ($what) = @_;
	cmp_ok(neighbours_slot(), '<', 8, "$what: the neighbour has the slot");
	like($node->sql(fetch('v'), 'neighbour'), qr/^hit-revision/, '... and is served');
	return;
}

sub no_old_hit
{
	my ($table, $what) = @_;
	my $n = $node->sql("SELECT n FROM $table");
	my $old = $n - 1;
	isnt($node->sql(fetch($table)), "hit-revision $old", "$what: no hit hides what is visible");
	is($node->sql("SELECT document->>'n' FROM summary_cache_fetch('$table', force_refresh => true)"), $n, "$what: a build has it");
	return;
}

my $writer;
my $reader;

# The table gets another slot, and its document has the label of the old one.
all_taken();
unwanted('a');
taken_away('a label');
unwanted('b');
$node->sql('UPDATE a SET n = n + 1');
no_old_hit('a', 'a label of a slot that is another\'s');

# A transaction has marked the slot, and is not in its commit yet.
all_taken();
unwanted('a');
$writer = Session->new($node);
$writer->query('BEGIN; UPDATE a SET n = n + 1');
taken_away('a mark');
$node->sql(q{SELECT summary_cache_get('a', true)});
$writer->query('COMMIT');
no_old_hit('a', 'a mark of a slot that is another\'s');
$writer->quit;

# It is given away while the transaction places its mark.
all_taken();
unwanted('a');
$writer = Session->new($node);
$writer->hold('mark-place', 'UPDATE a SET n = n + 1');
taken_away('a mark that is placed');
$node->sql(q{SELECT summary_cache_get('a', true)});
$writer->wake;
no_old_hit('a', 'a mark that is placed while its slot is given away');
$writer->quit;

# It is given away while a builder reads its word.
all_taken();
unwanted('a');
$reader = Session->new($node);
$reader->hold('label-found', q{SELECT summary_cache_get('a', true)});
taken_away('a word');
unwanted('b');
$reader->wake;
$node->sql('UPDATE a SET n = n + 1');
no_old_hit('a', 'a word that is read while its slot is given away');
$reader->quit;

# It is not given away while a transaction counts on it: the neighbour has its fallback.
all_taken();
unwanted('a');
$writer = Session->new($node);
$writer->hold('commit-pending', 'UPDATE a SET n = n + 1');
cmp_ok(neighbours_slot(), '>=', 8, 'a slot with a transaction pending is not given away');
$writer->wake;
no_old_hit('a', 'its transaction');
$writer->quit;

# Nor does a taker overlook one that counts on it at that moment.
all_taken();
unwanted('a');
# The taker has the lock while it is held, which a commit does not need.
my $taker = Session->new($node, 'neighbour');
$writer = Session->new($node);
$writer->query('BEGIN; UPDATE a SET n = n + 1');
$taker->hold('slot-take', fetch('v'));
$writer->hold('commit-pending', 'SELECT 1');
$taker->wake;
$writer->wake;
# had the neighbour got it all the same, its word would be one short: DDL that is in its commit would be none
cmp_ok(neighbours_slot(), '>=', 8, 'nor one that a transaction counts on meanwhile');
my $changer = Session->new($node, 'neighbour');
$changer->hold('commit-pending', q{CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2'});
is($node->sql(q{SELECT document->>'n' FROM summary_cache_fetch('v', force_refresh => true)}, 'neighbour'), '1', 'a build beside DDL');
$changer->wake;
isnt($node->sql(fetch('v'), 'neighbour'), 'hit-revision 1', 'a slot with a lost count: no hit hides what is visible');
no_old_hit('a', 'a transaction that was there first');
is($node->sql('SELECT sum(pending) FROM summary_cache_tables'), '0', 'nothing is pending');
$_->quit for $writer, $taker, $changer;

# A table gets back a slot that a writer's session remembers, and a document was built while the table had none:
# whoever can count on the slot does so after the document has heard of it.
$node->sql(q{
	CREATE TABLE g (n int);
	INSERT INTO g VALUES (1);
});
all_taken();
$writer = Session->new($node);
$writer->query('UPDATE a SET n = n + 1');
unwanted('a');
$node->sql(q{SELECT summary_cache_define('g', 'main', 'SELECT n FROM g'); SELECT summary_cache_get('g')});
my $n = $node->sql('SELECT n FROM a');
$reader = Session->new($node);
$reader->query(q{SELECT summary_cache_get('a', true)});
is($reader->query(fetch('a')), "hit-revision $n", 'a document of a table without a slot');
is($node->sql(q{SELECT revision IS NULL FROM summary_cache_tables WHERE source = 'a'::regclass}), 't', '... which has none');
unwanted('g');
$taker = Session->new($node);
$taker->hold('slot-key', q{SELECT summary_cache_get('a', true)});
$writer->query('UPDATE a SET n = n + 1');
$reader->send_sql(fetch('a'));
ok(wait_until(sub { $node->sql("SELECT state = 'idle' OR wait_event_type = 'LWLock' FROM pg_stat_activity WHERE pid = $reader->{pid}") eq 't' }),
	'a reader has its answer, or waits for the slots');
$taker->wake;
isnt($reader->result, "hit-revision $n", 'a slot that a writer remembers: no hit hides what is visible');
$_->quit for $taker, $reader, $writer;

$node->stop;
done_testing();
