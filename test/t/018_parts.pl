# Proves that workers, standbys and a restart know the parts of a section: each builds what has changed of it, and what was loaded is built once as a whole.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $primary = Node->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "autovacuum = off\nsummary_cache.worker_idle_timeout = 200ms");
$primary->start;
# what only a worker builds is beside the parts
$primary->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
	CREATE TABLE a (n int);
	CREATE TABLE b (n int);
	CREATE TABLE c (n int);
	CREATE TABLE part (k int, n int) PARTITION BY LIST (k);
	CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
	INSERT INTO a VALUES (1);
	INSERT INTO b VALUES (1);
	INSERT INTO c VALUES (1);
	INSERT INTO part VALUES (1, 1);
	SELECT summary_cache_define('s', 'main', 'SELECT (SELECT sum(n) FROM a) AS a, (SELECT sum(n) FROM b) AS b, (SELECT sum(n) FROM part) AS p');
	SELECT summary_cache_define('s', 'progress', 'SELECT (SELECT max(n) FROM a) AS x, (SELECT max(n) FROM c) AS y', refresh => 'inline');
	SELECT summary_cache_define('open', 'main', 'SELECT (SELECT sum(n) FROM a) AS a, (SELECT sum(n) FROM b) * one() AS b');
	SELECT summary_cache_define('reads', 'main', $$SELECT (SELECT sum(n) FROM b) AS b, summary_cache_get('s')->'a' AS a$$, '{a,b}');
});

# The numbers of a summary's document, whatever it has; and what the tables have.
my %truth = (
	s => q{SELECT (SELECT sum(n) FROM a) || ' ' || (SELECT sum(n) FROM b) || ' ' || (SELECT sum(n) FROM part) || ' ' || (SELECT max(n) FROM a) || ' ' || (SELECT max(n) FROM c)},
	open => q{SELECT (SELECT sum(n) FROM a) || ' ' || (SELECT sum(n) FROM b)},
	reads => q{SELECT (SELECT sum(n) FROM b) || ' ' || (SELECT sum(n) FROM a)});
my %keys = (s => [qw(a b p x y)], open => [qw(a b)], reads => [qw(b a)]);
sub numbers { my ($summary) = @_; return "SELECT concat_ws(' ', " . join(', ', map { "document->>'$_'" } @{ $keys{$summary} }) . ", status) FROM summary_cache_fetch('$summary')"; }

# When each part was built, by its key.
sub build_times
{
	my ($node, $summary) = @_;
	return map { split /\|/ } split /\n/,
	  $node->sql("SELECT keys[1], extract(epoch FROM built_at) FROM summary_cache_parts WHERE summary = '$summary' AND built_at IS NOT NULL");
}

my %before;

# Since the last time these parts were built, and no others; a reader need not ask if it is refreshed by itself.
sub built
{
	my ($node, $summary, $expected, $what, $by_itself) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $old = $before{ $node->name }{$summary} // {};
	my $n = $node->sql($truth{$summary});

	$node->polled(q{SELECT bool_and(state = 'current') FROM summary_cache_sections WHERE summary = '} . $summary . q{'}, 't', "$what: current by itself") if $by_itself;
	$node->polled(numbers($summary), "$n hit-revision", "$what: what the tables have");
	my %now = build_times($node, $summary);
	is(join(' ', grep { ($old->{$_} // '') ne $now{$_} } sort keys %now), $expected, "$what: what was built");
	$before{ $node->name }{$summary} = \%now;
	return;
}

#
# A worker
#
built($primary, 's', 'a b p x y', 'first');
built($primary, 'open', 'a', 'of one part');
built($primary, 'reads', 'b', 'one that reads the summary');
is($primary->sql(q{SELECT parts FROM summary_cache_sections WHERE summary IN ('open', 'reads') GROUP BY 1}), '1', 'what is not closed, or reads a summary, is one part');
$primary->sql('INSERT INTO b VALUES (2)');
built($primary, 's', 'b', 'a refresh that a reader asks for');
built($primary, 'open', 'a', 'one part, as ever');
built($primary, 'reads', 'b', 'a section that reads the summary');
$primary->sql('INSERT INTO a VALUES (2)');
built($primary, 's', 'a x', 'what the background section and the inline one have');
built($primary, 'reads', 'b', 'and the section that reads that');
$primary->sql('INSERT INTO c VALUES (3)');
built($primary, 's', 'y', 'one key of the inline section');
$primary->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', 'on')});
built($primary, 's', 'a b p x y', 'DDL', 0);
$primary->sql('INSERT INTO part VALUES (1, 5)');
built($primary, 's', 'p', 'eager', 1);
$primary->sql('BEGIN; INSERT INTO a VALUES (3); INSERT INTO b VALUES (3); COMMIT');
built($primary, 's', 'a b x', 'eager, of two parts', 1);

# each new document is told once, whatever was built of it
my $listener = Session->new($primary);
my $writer = Session->new($primary);
$listener->query('LISTEN summary_cache');
$primary->sql('INSERT INTO b VALUES (4)');
built($primary, 's', 'b', 'heard', 1);
my $heard = '';
ok(wait_until(sub { $heard .= $listener->query('SELECT pg_sleep(0.05)'); $heard =~ /Asynchronous notification "summary_cache"/ }), 'a listener hears of one part');
$listener->quit;
$writer->quit;

#
# A standby
#
$primary->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
built($standby, 's', 'a b p x y', 'a standby');
$primary->sql('INSERT INTO a VALUES (7)');
$primary->wait_for_catchup($standby);
built($standby, 's', 'a x', 'what a transaction has changed that was replayed', 1);
$primary->sql('INSERT INTO part VALUES (1, 6)');
$primary->wait_for_catchup($standby);
built($standby, 's', 'p', 'of a tree', 1);
# by position: any record concerns all of them
$standby->append_conf('postgresql.conf', 'summary_cache.watch_replay = off');
$standby->restart;
$primary->wait_for_catchup($standby);
$primary->sql('INSERT INTO b VALUES (7)');
$primary->wait_for_catchup($standby);
$standby->polled(numbers('s'), $standby->sql($truth{s}) . ' hit-revision', 'without words: what the tables have');
$standby->stop;

#
# A restart: what was loaded is stale, has its etag, and is built as a whole
#
built($primary, 's', 'a b p x', 'the primary meanwhile', 1);
my $about = q{SELECT etag FROM summary_cache_fetch('s')};
my $etag = $primary->sql($about);
$primary->set_server('summary_cache.max_workers', 0);
$primary->no_worker;
$primary->restart;
is($primary->sql(q{SELECT string_agg(DISTINCT state, ' ') || ' ' || count(*) FROM summary_cache_parts WHERE summary = 's'}), 'stale 5', 'the parts were loaded, and none is proven');
is($primary->sql(q{SELECT sum(coalesce(cardinality(sources), 0)) FROM summary_cache_parts WHERE summary = 's'}), '0', '... nor is it known what they have read');
is($primary->sql($about), $etag, 'the same bytes have the same etag');
built($primary, 's', 'a b p x y', 'after a restart', 0);
is($primary->sql($about), $etag, '... and when they are built again');
$primary->sql('INSERT INTO b VALUES (8)');
built($primary, 's', 'b', 'from then on');

$primary->stop;
done_testing();
