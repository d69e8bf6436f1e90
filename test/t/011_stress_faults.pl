# Proves that no fault of the server, of another library or of memory, and no DDL, makes a hit miss a commit.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Checker;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

# A server with too little of everything: each of memory_limit, max_tables, max_sections and workers
# (one at a time) runs out, and must come back.
my $node = Node->new('scarce');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = '$callback_module, summary_cache'
max_connections = 60
max_worker_processes = 3 # of them two are launchers
restart_after_crash = on
summary_cache.memory_limit = 1MB
summary_cache.max_tables = 40
summary_cache.max_sections = 12
});
$node->start;
use_server($node);

passes('full', 'full', { unfit => 5 }, '', '--seconds=3');
passes('callback', 'callback', { failed => 20 }, '', '--seconds=2');
passes('ddl', 'ddl', { faults => 50 }, "options='-c callback.published_sleep=2000'", '--seconds=4');
passes('extension', 'extension', { faults => 5 }, '', '--seconds=3');
passes('database', 'database', { faults => 1 }, '', '--seconds=4');
passes('restart', 'restart', { faults => 0 }, '', '--seconds=4');

#
# A build takes the locks of a partition tree from its root on, as DDL does
#
$node->safe_psql('postgres', q{
	CREATE EXTENSION IF NOT EXISTS summary_cache;
	CREATE TABLE root (n int) PARTITION BY LIST (n);
	CREATE TABLE child PARTITION OF root FOR VALUES IN (1);
	SELECT summary_cache_define('tree', 'main', 'SELECT count(*) AS n FROM root');
});
my $ddl = Session->new($node);
my $reader = Session->new($node);
$ddl->query('BEGIN; LOCK TABLE ONLY root');
$reader->send_sql(q{SELECT status FROM summary_cache_fetch('tree')});
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid = ' . $reader->pid)
	or die 'the build does not wait';
$ddl->query('LOCK TABLE ONLY child; COMMIT');
is($ddl->error, '', 'DDL that goes from the root to its partitions does not deadlock with a build');
is($reader->result, 'miss', 'nor does the build');
is($reader->error, '', 'without an error');
$_->quit for $ddl, $reader;

# No worker at all: readers refresh.
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
passes('faults', 'no worker', { faults => 10 }, '', '--seconds=2');
$node->stop;

if ($ENV{SC_DEBUG_CONF})
{
	$node = Node->new('debug');
	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 60\nsummary_cache.memory_limit = 1MB\n" . slurp_file($ENV{SC_DEBUG_CONF}));
	$node->start;
	use_server($node);
	passes('oom', 'oom', {}, '', '--seconds=2');
	$node->stop;
}

done_testing();
