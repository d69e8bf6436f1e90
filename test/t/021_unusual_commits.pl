# Proves that writes no statement trigger sees, commits that wait for a standby and a killed postmaster hide nothing.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $module = compile_module('row_count', 'stress/row_count.c');

my $node = Node->new('main');
$node->init(allows_streaming => 1);
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (id int PRIMARY KEY, n int);
	INSERT INTO t SELECT i, 0 FROM generate_series(1, 5) i;
	SELECT summary_cache_define('s', 'main', 'SELECT sum(n) AS n FROM t');
	CREATE FUNCTION execute_rows(text, int) RETURNS bigint AS '$module' LANGUAGE C;
});

my $fetch = q{SELECT status, document->>'n' FROM summary_cache_fetch('s')};

# The document from the cache, when it is there.
sub hit
{
	my ($n, $what) = @_;

	$node->hit('s') or die "$what: no hit";
	is($node->safe_psql('postgres', $fetch), "hit-revision|$n", $what);
	is($node->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', "$what: nothing is pending");
	return;
}

#
# A plan that is stopped by a row count
#
$node->safe_psql('postgres', $fetch);
hit(0, 'at first');
$node->safe_psql('postgres', q{
	CREATE TABLE fired (at timestamptz DEFAULT now());
	CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO fired DEFAULT VALUES; RETURN NULL; END';
	CREATE TRIGGER fire AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION fire();
});
hit(0, 'after DDL');
is($node->safe_psql('postgres', q{SELECT execute_rows('UPDATE t SET n = n + 1 RETURNING n', 2)}), '2', 'two rows are updated');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fired'), '0', 'and no statement trigger fired');
unlike($node->safe_psql('postgres', $fetch), qr/^hit-revision\|0/, 'it is noticed');
hit(2, 'a statement that was stopped by a row count');
is($node->safe_psql('postgres', q{
	BEGIN;
	SELECT execute_rows('DELETE FROM t RETURNING n', 1);
	SELECT status FROM summary_cache_fetch('s');
	ROLLBACK}), "1\nprivate", 'its own transaction reads privately');
hit(2, 'one that was rolled back');

#
# A commit that waits for a synchronous standby is not visible, and hits go on
#
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
my $writer = Session->new($node);
$writer->send_sql('UPDATE t SET n = n + 10 WHERE id = 1');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'})
	or die 'the commit does not wait';
is($node->safe_psql('postgres', q{SELECT pending FROM summary_cache_tables}), '1', 'it is pending');
is($node->safe_psql('postgres', $fetch), 'hit-revision|2', 'a hit while it waits');
is($node->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; $fetch; COMMIT"), 'hit-revision|2',
	'also of a REPEATABLE READ transaction');
cmp_ok($node->safe_psql('postgres', q{SELECT unprovable FROM summary_cache_stats}), '==', 0, 'each of them proven');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET synchronous_standby_names});
$node->reload;
$writer->result;
isnt($node->safe_psql('postgres', $fetch), 'hit-revision|2', 'none once it is visible');
hit(12, 'after the wait');
$writer->quit;

#
# SIGKILL of the postmaster
#
$writer = Session->new($node);
$writer->query("BEGIN; UPDATE t SET n = n + 100 WHERE id = 1");
$node->safe_psql('postgres', 'UPDATE t SET n = n + 1000 WHERE id = 2');
my @processes = (split(/\n/, slurp_file($node->data_dir . '/postmaster.pid')))[0];
push @processes, split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
$node->kill9;
eval { $writer->quit };
# its children go when they notice; until then the data directory is in use
wait_until(sub { !grep { kill 0, $_ } @processes });
$node->start;
is($node->safe_psql('postgres', $fetch), 'miss|1012', 'what was committed is there');
hit(1012, 'after the crash');

$node->stop;
done_testing();
