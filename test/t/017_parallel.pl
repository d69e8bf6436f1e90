# Proves that a build may use parallel workers, and is right, ended and limited as any other.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use Test::More;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	max_worker_processes = 12
	max_parallel_workers_per_gather = 2
	parallel_setup_cost = 0
	parallel_tuple_cost = 0
	min_parallel_table_scan_size = 0
	parallel_leader_participation = off
	summary_cache.worker_idle_timeout = 1h
});
$node->start;
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t SELECT generate_series(1, 20000);
	CREATE TABLE wait (seconds int);
	INSERT INTO wait VALUES (0);
	ANALYZE;
	-- which process evaluates it
	CREATE FUNCTION process() RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN pg_backend_pid(); END';
	CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN
		IF n = 1 THEN PERFORM pg_sleep(seconds) FROM wait; END IF; RETURN n; END';
});

# Who reads the rows, and how many there are
$node->sql(q{SELECT summary_cache_define('who', 'main', $$
	SELECT bool_and(pid <> pg_backend_pid()) AS by_others, sum(rows) AS rows
		FROM (SELECT process() AS pid, count(*) AS rows FROM t GROUP BY 1) x $$, '{t}')});
is($node->sql(q{SELECT document FROM summary_cache_fetch('who')}), '{"by_others":true,"rows":20000}', 'parallel workers read for a worker that builds');
$node->sql('DELETE FROM t WHERE n > 10000');
is($node->sql(q{SELECT document->>'rows' FROM summary_cache_fetch('who', force_refresh => true)}), '10000', '... by its snapshot');

# What is closed a reader builds itself
my $closed = 'SELECT count(*) AS n, sum(n::bigint) AS s, max(n) AS m FROM t';
like($node->sql("EXPLAIN $closed"), qr/Gather/, 'a query that PostgreSQL makes parallel');
$node->sql("SELECT summary_cache_define('closed', 'main', '$closed')");
my $read = q{SELECT status, document FROM summary_cache_fetch('closed')};
is($node->sql($read), 'miss|{"n":10000,"s":50005000,"m":10000}', 'a reader builds by it');
is($node->sql("BEGIN; DELETE FROM t WHERE n = 1; $read; ROLLBACK"), 'private|{"n":9999,"s":50004999,"m":10000}',
	'... and sees what its own transaction has written');
is($node->sql("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT document->>'n' FROM summary_cache_fetch('closed', force_refresh => true); COMMIT"), '10000',
	'... in SERIALIZABLE');

# Rows that are too many, or none, are noticed where the executor is stopped early
$node->sql(q{SELECT summary_cache_define('rows', 'main', 'SELECT n FROM t WHERE n > 0', run_query => false)});
my (undef, undef, $error) = $node->psql('postgres', q{SELECT summary_cache_get('rows')});
like($error, qr/returned more than one row/, 'more than one row is an error');
$node->sql(q{SELECT summary_cache_define('rows', 'main', 'SELECT n FROM t WHERE n < 0', run_query => false)});
(undef, undef, $error) = $node->psql('postgres', q{SELECT summary_cache_get('rows')});
like($error, qr/returned no row/, 'no row is one');

# A section that reads another summary cannot be parallel, and need not know
$node->sql(q{SELECT summary_cache_define('reads', 'main', $$ SELECT summary_cache_get('closed')->>'n' AS n, (SELECT count(*) FROM t) AS own $$)});
is($node->sql(q{SELECT summary_cache_get('reads')}), '{"n":"10000","own":10000}', 'a section that reads another summary');

# Time is over: the parallel workers end with the build
$node->sql(q{SELECT summary_cache_define('slow', 'main', $$ SELECT sum(slow(n)) AS s FROM t $$, '{t, wait}')});
is($node->sql(q{SELECT summary_cache_get('slow')}), '{"s":50005000}', 'a slow one');
$node->append_conf('postgresql.conf', 'summary_cache.build_timeout = 300ms');
$node->reload;
$node->sql('UPDATE wait SET seconds = 600');
(undef, undef, $error) = $node->psql('postgres', q{SELECT summary_cache_get('slow', true)});
like($error, qr{took longer than 300 ms}, 'a build that takes too long is ended');
$node->polled(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'}, '0', '... with its parallel workers');
$node->sql('UPDATE wait SET seconds = 0');
is($node->sql(q{SELECT document->>'s' FROM summary_cache_fetch('slow', force_refresh => true)}), '50005000', '... and the next one succeeds');

# No place for a parallel worker
$node->append_conf('postgresql.conf', 'max_parallel_workers = 0');
$node->reload;
is($node->sql(q{SELECT document FROM summary_cache_fetch('who', force_refresh => true)}), '{"by_others":false,"rows":10000}', 'without a parallel worker the build does it all');

$node->stop;
done_testing;
