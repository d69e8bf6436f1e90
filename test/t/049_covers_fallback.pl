# Proves that a database whose catch-all found no slot misses nothing: it keeps its fallback when slots become free, and shares one with another database without sharing its mistakes.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $node = Node->new('fallback');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	max_prepared_transactions = 5
	summary_cache.worker_idle_timeout = 100ms
});
$node->start;

# fallback_of() in src/word.c
sub fallback { return 8 + $_[0] % 127; }

sub oid_of { return $node->sql("SELECT oid FROM pg_database WHERE datname = '$_[0]'"); }

# The cluster has a slot, this database, and each of six tables: all that there are.
my @tables = qw(a b c d e f);
$node->sql(q{CREATE EXTENSION summary_cache});
$node->sql(qq{
	CREATE TABLE $_ (n int);
	INSERT INTO $_ VALUES (1);
	SELECT summary_cache_define('$_', 'main', 'SELECT n FROM $_');
}) for @tables;

# Two databases that have the same fallback, which those that are made after each other hardly have.
my ($one, $two) = qw(one two);
$node->sql('CREATE DATABASE one');
for (1 .. 10)
{
	# each large object takes a number
	my $next = $node->sql('SELECT lo_create(0)') + 1;
	my $skipped = (oid_of($one) - $next) % 127;

	$node->sql("SELECT count(lo_create(0)) FROM generate_series(1, $skipped)");
	$node->sql('CREATE DATABASE two');
	last if fallback(oid_of($two)) == fallback(oid_of($one));
	$node->sql('DROP DATABASE two');
}
is(fallback(oid_of($two)), fallback(oid_of($one)), 'two databases have one fallback');
# A document that needs no slot but for the catch-all, and one over a table.
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
	SELECT summary_cache_define('v', 'main', 'SELECT f() AS n', '{}');
	SELECT summary_cache_define('t', 'main', 'SELECT n FROM t');
}, $_) for $one, $two;
$node->append_conf('postgresql.conf', 'summary_cache.max_tables = 8');

sub slot_of
{
	my ($db) = @_;
	$node->sql(fetch('v'), $db);
	my ($slot) = $node->sql(q{SELECT fingerprint FROM summary_cache_stats WHERE summary = 'v'}, $db) =~ /,([0-9]+)\./ or die 'no label';
	return $slot;
}

sub all_taken
{
	$node->restart;
	$node->sql(fetch($_)) for @tables;
	is($node->sql('SELECT count(*) FROM summary_cache_tables WHERE revision IS NULL'), '0', 'all slots are taken');
	return;
}

# The slot of a table may be reused.
sub unwanted
{
	my ($table) = @_;
	$node->sql("BEGIN; SELECT summary_cache_drop('$table'); ROLLBACK");
	return;
}

# Whoever has found the fallback goes on with it: so do those who look later, although there is a slot.
all_taken();
is(slot_of($one), fallback(oid_of($one)), 'a database without a slot has its fallback');
is(slot_of($two), slot_of($one), '... which another one has as well');
my $changer = Session->new($node, $one);
$changer->hold('commit-pending', q{CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2'});
unwanted('a');
is($node->sql(forced('v'), $one), '1', 'a build beside DDL, with a slot to be had');
$changer->wake;
$changer->quit;
isnt($node->sql(fetch('v'), $one), 'hit-revision 1', 'no hit hides DDL that had found the fallback');
is(slot_of($one), fallback(oid_of($one)), 'it still has its fallback');

# A write of a table without a slot is one of its own database, and of whoever shares the fallback.
all_taken();
is($node->cached('t', $_), '1', "$_: a table without a slot") for $one, $two;
$node->sql('UPDATE t SET n = 2', $one);
isnt($node->sql(fetch('t'), $one), 'hit-revision 1', 'its change is noticed');
is($node->cached('t', $two), '1', 'the other one is right');
is($node->cached('t', $one), '2', '... and so is this one');

# What was prepared before a restart is entered for both when the first of them is used.
$node->sql(q{BEGIN; UPDATE t SET n = 3; PREPARE TRANSACTION 'p'}, $two);
all_taken();
is($node->cached('t', $one), '2', 'the first to be used');
is($node->cached('t', $two), '1', '... and the other one, with a transaction prepared');
$node->sql(q{COMMIT PREPARED 'p'}, $two);
isnt($node->sql(fetch('t'), $two), 'hit-revision 1', 'no hit hides what was prepared before a restart');
is($node->cached('t', $two), '3', '... which is seen');

# The other one has a slot, but nobody has looked for what is prepared there yet: the first enters it for the
# fallback, and the other one once more for its own.
$node->sql(q{BEGIN; UPDATE t SET n = 4; PREPARE TRANSACTION 'p'}, $two);
$node->restart;
$node->sql('LISTEN summary_cache', $two);
$node->sql(fetch($_)) for @tables;
is(slot_of($one), fallback(oid_of($one)), 'the first has its fallback');
cmp_ok(slot_of($two), '<', 8, 'the other one a slot');
is($node->cached('t', $two), '3', 'a document beside a prepared transaction');
$node->sql(q{COMMIT PREPARED 'p'}, $two);
isnt($node->sql(fetch('t'), $two), 'hit-revision 3', 'no hit hides what was found for both');
is($node->cached('t', $two), '4', '... which is seen');
is($node->sql('SELECT sum(pending) FROM summary_cache_sections', $_), '0', "nothing is pending in $_") for $one, $two;

$node->stop;
done_testing();
