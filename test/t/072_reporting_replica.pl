# Proves that the recipe of a reporting replica in doc/operations.md works: its commands are run as they stand there.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file("$FindBin::RealBin/../../doc/operations.md");
my ($recipe) = $page =~ /^## Recipe: a reporting replica\n(.*?)(?=^## |\z)/ms or die 'the recipe is gone';
my @steps;
push @steps, { language => $1, where => $2, commands => $3 } while $recipe =~ /^```(sh|sql)\n(?:--|#) (on the [^\n]+)\n(.*?)^```$/msg;
is(scalar(@steps), () = $recipe =~ /^```\w+$/mg, 'each block says where it is run');

my $primary = Node->new('primary');
$primary->init(allows_streaming => 'logical');
$primary->start;
my $replica = Node->new('replica');
$replica->init;
$replica->start;

# The harder case: the primary has the extension and a summary over one of the tables.
$primary->safe_psql('postgres', 'CREATE DATABASE hub');
$primary->safe_psql('hub', q{
	CREATE TABLE customers (id int PRIMARY KEY, region text NOT NULL);
	CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, amount numeric NOT NULL);
	INSERT INTO customers SELECT i, 'region ' || i % 4 FROM generate_series(1, 20) i;
	INSERT INTO orders SELECT i, 1 + i % 20, i FROM generate_series(1, 1000) i;
	CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('own', 'main', 'SELECT count(*) FROM orders')});

my $truth = q{SELECT coalesce(json_object_agg(region, total ORDER BY region), 'null') FROM (SELECT c.region, sum(o.amount) AS total
	FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY c.region) AS x};
my $status = q{SELECT status FROM summary_cache_fetch('revenue')};
my $said = q{SELECT document->'revenue' FROM summary_cache_fetch('revenue')};
my $host = 'host=' . $primary->host . ' port=' . $primary->port;

# Runs the next step of the recipe; where it runs is part of what is expected.
sub step
{
	my ($where) = @_;
	my $step = shift @steps or die 'the recipe is shorter than this test';
	is($step->{where}, $where, "a step of the recipe $where");
	my $commands = $step->{commands} =~ s/host=primary/$host/gr;

	if ($step->{language} eq 'sh')
	{
		local $ENV{PGHOST} = $replica->host;
		local $ENV{PGPORT} = $replica->port;
		command_ok([ 'bash', '-e', '-o', 'pipefail', '-c', $commands ], "... in the shell");
		return;
	}
	my $node = $where =~ /primary/ ? $primary : $replica;
	my @role = $where =~ /as (\w+)/ ? (extra_params => [ '-U', $1 ]) : ();
	if ($where =~ /until it gives no row/)
	{
		return ok($node->poll_query_until('hub', "SELECT count(*) FROM (${\($commands =~ s/;\s*$//r)}) AS x", '0'), '... ends');
	}
	return $node->safe_psql('hub', $commands, @role);
}

sub applied
{
	my ($name) = @_;
	$primary->wait_for_catchup('reporting');
	ok($replica->poll_query_until('hub', $status, 'hit-revision'), "$name: a hit");
	is($replica->safe_psql('hub', $said), $primary->safe_psql('hub', $truth), "$name: the replica says what the primary's tables have");
	return;
}

step('on the primary');
step('on the replica');
step('on the replica');
is($replica->safe_psql('hub', q{SELECT status, document FROM summary_cache_fetch('revenue')}), 'miss|{"revenue":null}', 'nothing is there yet');
step('on the replica');
step('on the replica, until it gives no row');
is($replica->safe_psql('hub', 'SELECT count(*) FROM orders'), '1000', 'the tables are copied');
applied('copied');
is($replica->safe_psql('hub', $said), $replica->safe_psql('hub', $truth), 'copied: and what its own have');
like(step('on the replica, as dashboard'), qr/^hit-revision\|[0-9a-f]{32}\|\{"revenue":\{ "region 0" : 125250,/, 'the dashboard reads');
my ($exit, undef, $error) = $replica->psql('hub', 'SELECT FROM orders', extra_params => [ '-U', 'dashboard' ]);
isnt($exit, 0, '... and has no other rights');

# what is applied is refreshed without a reader
my $fingerprint = q{SELECT fingerprint FROM summary_cache_stats WHERE summary = 'revenue'};
my $old = $replica->safe_psql('hub', $fingerprint);
$primary->safe_psql('hub', q{BEGIN; INSERT INTO orders VALUES (1001, 1, 100000); UPDATE customers SET region = 'moved' WHERE id = 2; COMMIT});
$primary->wait_for_catchup('reporting');
ok($replica->poll_query_until('hub', qq{SELECT ($fingerprint) <> '$old' AND bool_and(state = 'current') FROM summary_cache_sections}),
	'eager_refresh refreshes without a reader');
applied('changed');
like($replica->safe_psql('hub', $said), qr/"moved"/, 'changed: it is in the document');
$primary->safe_psql('hub', 'DELETE FROM orders WHERE id < 500');
applied('deleted');
$primary->safe_psql('hub', 'TRUNCATE orders');
applied('truncated');

# what a writer waits for who wants to find its write on the replica
my $lsn = $primary->safe_psql('hub', q{INSERT INTO orders VALUES (1, 1, 1); SELECT pg_current_wal_lsn()});
ok($primary->poll_query_until('hub', "SELECT replay_lsn >= '$lsn' FROM pg_stat_replication WHERE application_name = 'reporting'"), 'applied so far');
is($replica->safe_psql('hub', q{SELECT document->'revenue' FROM summary_cache_fetch('revenue', force_refresh => true)}),
	$primary->safe_psql('hub', $truth), 'then a forced read has the write');

like(step('on the primary'), qr/^reporting\|streaming\|\d+$/, 'the primary shows how far the replica is');
applied('again');
is(step('on the replica') =~ s/\|[^|]*$//r, 'revenue|main|current', 'its sections are current, and no table is unproven');

# DDL in the order that the recipe gives
$replica->safe_psql('hub', 'ALTER TABLE orders ADD COLUMN note text; CREATE TABLE added (id int PRIMARY KEY)');
$primary->safe_psql('hub', q{ALTER TABLE orders ADD COLUMN note text; INSERT INTO orders VALUES (2, 2, 2, 'noted');
	CREATE TABLE added (id int PRIMARY KEY); INSERT INTO added VALUES (1), (2);
	GRANT SELECT ON added TO reporting; ALTER PUBLICATION reporting ADD TABLE added});
step('on the replica');
is(scalar(@steps), 0, 'that was the whole recipe');
$replica->safe_psql('hub', q{SELECT summary_cache_define('added', 'main', 'SELECT count(*) FROM added')});
ok($replica->poll_query_until('hub', q{SELECT document->>'count' FROM summary_cache_fetch('added')}, '2'), 'an added table');
applied('after DDL');

$replica->safe_psql('hub', 'DROP SUBSCRIPTION reporting');
is($primary->safe_psql('hub', 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot is left');

$replica->stop;
$primary->stop;
done_testing();
