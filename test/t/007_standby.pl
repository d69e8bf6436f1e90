# Proves that a streaming standby answers rightly, and that a promoted one serves.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $status = q{SELECT status FROM summary_cache_fetch('s')};
my $fetch = q{SELECT status, document->>'n', document->>'m' FROM summary_cache_fetch('s')};

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "max_prepared_transactions = 10\nautovacuum = off");
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
	SELECT summary_cache_define('s', 'inlined', 'SELECT n AS m FROM t', refresh => 'inline');
});
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

is($standby->safe_psql('postgres', "$fetch; $fetch"), "private|1|1\nprivate|1|1", 'a standby answers, uncached');
$primary->safe_psql('postgres', 'UPDATE t SET n = 2');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $fetch), 'private|2|2', 'with what was replayed');
is($standby->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; $fetch; COMMIT"), 'private|2|2', 'in REPEATABLE READ, too');
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s', true)->>'n'}), '2', 'and when forced');
is($primary->safe_psql('postgres', q{SELECT summary_cache_get('s'); SELECT etag FROM summary_cache_fetch('s')}) =~ s/.*\n//r,
	$standby->safe_psql('postgres', q{SELECT etag FROM summary_cache_fetch('s')}), 'the etag is that of the primary');
is($standby->safe_psql('postgres', q{SELECT document IS NULL FROM summary_cache_fetch('s', (SELECT etag FROM summary_cache_fetch('s')))}),
	't', 'so that a client that moves here need not read it again');

for my $view (qw(summary_cache_stats summary_cache_sections summary_cache_tables))
{
	cmp_ok($standby->safe_psql('postgres', "SELECT count(*) FROM $view"), '>', 0, "$view works on a standby");
}
is($standby->safe_psql('postgres', q{SELECT private_recovery > 0 FROM summary_cache_stats WHERE summary = 's'}), 't',
	'the reads are counted with their cause');
my ($ret, undef, $err) = $standby->psql('postgres', q{SELECT summary_cache_define('x', 'main', 'SELECT n AS x FROM t')});
isnt($ret, 0, 'nothing can be defined on a standby');
like($err, qr/read-only|cannot define|recovery/, '... with a clear error');
$standby->safe_psql('postgres', q{SELECT summary_cache_invalidate('s')});
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'}), '0',
	'no worker runs on a standby');

# definitions arrive as data does
$primary->safe_psql('postgres', q{
	SELECT summary_cache_define('later', 'main', 'SELECT n AS later FROM t');
	SELECT summary_cache_drop('s', 'inlined')});
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('later')}), '{"later":2}', 'a new summary is there');
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s')}), '{"n":2}', 'a changed one has changed');

#
# Promotion, by a session that was reading before, and with a transaction left prepared
#
$primary->safe_psql('postgres', q{BEGIN; UPDATE t SET n = 3; PREPARE TRANSACTION 'left'});
$primary->wait_for_catchup($standby);
my ($in, $out) = ('', '');
my $timer = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
my $psql = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-q', '-d', $standby->connstr('postgres') ],
	'<', \$in, '>', \$out, $timer);
$in .= "$status;\n";
$psql->pump until $out =~ /\n/;
is($out, "private\n", 'a session that reads before promotion');

$primary->stop('immediate');
$standby->promote;
$out = '';
$in .= "$status;\n$status;\n";
$psql->pump until $out =~ /\n.*\n/;
is($out, "miss\nhit-revision\n", '... and after it: the promoted server serves');
$in .= "\\q\n";
$psql->finish;

is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s')}), '{"n":2}', 'the prepared transaction is not visible');
is($standby->safe_psql('postgres', $status), 'hit-revision', 'hits go on beside it');
$standby->safe_psql('postgres', q{COMMIT PREPARED 'left'});
isnt($standby->safe_psql('postgres', $status), 'hit-revision', 'its commit is noticed');
ok($standby->poll_query_until('postgres', $status, 'hit-revision'), 'a worker refreshes');
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s')}), '{"n":3}', 'with what was prepared on the primary');
$standby->safe_psql('postgres', 'UPDATE t SET n = 4');
ok($standby->poll_query_until('postgres', q{SELECT document->>'n' FROM summary_cache_fetch('s')}, '4'), 'writes are followed');
is($standby->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', 'nothing is pending');

$standby->stop;
done_testing();
