# Proves that nothing is proven between the moment at which a prepared transaction's DDL is visible and the one at which its invalidations are sent.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

# COMMIT PREPARED removes the files of dropped tables just then.  It asks the checkpointer for that, and
# waits if there are more requests than buffers: so a stopped checkpointer holds the window open.
my $junk = 150;
my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_buffers = 128kB\nautovacuum = off\nmax_connections = 10\nmax_prepared_transactions = 2\nmax_locks_per_transaction = 256\ncheckpoint_timeout = 1d");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	CREATE FUNCTION f() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
	CREATE VIEW v AS SELECT sum(n) * f() AS total FROM t;
	SELECT summary_cache_define('s', 'core', 'SELECT total FROM v');
	SELECT summary_cache_define('s', 'other', 'SELECT count(*) AS n FROM t');
} . join('', map { "CREATE TABLE junk$_ (n int);" } 1 .. $junk));

my $get = q{SELECT summary_cache_get('s', true)};
my $fetch = q{SELECT status, document FROM summary_cache_fetch('s')};
my $truth = q{SELECT json_build_object('total', total, 'n', (SELECT count(*) FROM t))->>'total' FROM v};

my $builder = Session->new($node);
is($builder->query($get), '{"total":1,"n":1}', 'a session has plans and a copy');
is($builder->query($fetch), 'hit-revision|{"total":1,"n":1}', '... that is current');

my ($checkpointer) = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
my $finisher = Session->new($node);
$finisher->query(q{BEGIN; CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 100'; }
	  . join('', map { "DROP TABLE junk$_; " } 1 .. $junk)
	  . q{PREPARE TRANSACTION 'p'});
is($builder->query($fetch), 'hit-revision|{"total":1,"n":1}', 'prepared, it is not visible');

kill 'STOP', $checkpointer or die "cannot stop the checkpointer: $!";
$finisher->send_sql(q{COMMIT PREPARED 'p'});
my $held = $node->poll_query_until('postgres', "SELECT wait_event = 'RegisterSyncRequest' FROM pg_stat_activity WHERE pid = $finisher->{pid}");
is($builder->query(q{SELECT prosrc FROM pg_proc WHERE proname = 'f' AND xmin::text::int > 0}), 'SELECT 100', 'it is visible');
my @inside = map { $builder->query($_) } ($get, $fetch, $get, $fetch);
my $pending = $builder->query(q{SELECT document->>'total' FROM summary_cache_fetch('s')});
kill 'CONT', $checkpointer;
ok($held, 'COMMIT PREPARED is held between visible and invalidations sent');
is($finisher->result, '', 'it ends');

# whatever this session's caches gave meanwhile, it was not said to be current
unlike("@inside", qr/hit-revision/, 'nothing was a hit in the window');
unlike($builder->query($fetch), qr/hit-revision\|\{"total":1,/, 'nor is what was built in it one afterwards');
is($builder->query($get), '{"total":100,"n":1}', 'built after it, the document is right');
is($builder->query($fetch), 'hit-revision|{"total":100,"n":1}', '... and current');
is($node->safe_psql('postgres', $truth), '100', '... as the view is');
is($node->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', 'nothing is pending');

$_->quit foreach ($builder, $finisher);
$node->stop;
done_testing();
