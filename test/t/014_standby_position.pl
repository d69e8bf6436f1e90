# Proves that a standby that does not watch its replay serves hits while nothing is replayed, and none that misses what was replayed.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Checker;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;
use Time::HiRes qw(usleep);

my $status = q{SELECT status FROM summary_cache_fetch('s')};
my $fetch = q{SELECT status, document->>'n', document->>'m' FROM summary_cache_fetch('s')};

my $primary = Node->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "max_prepared_transactions = 20\nmax_connections = 60\nautovacuum = off");
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	CREATE TABLE unrelated (n int);
	INSERT INTO unrelated VALUES (2);
	SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
	SELECT summary_cache_define('s', 'inlined', 'SELECT n AS m FROM t', refresh => 'inline');
	SELECT summary_cache_define('other', 'main', 'SELECT n FROM unrelated');
});
$primary->backup('backup');

my $standby = Node->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "summary_cache.watch_replay = off\nhot_standby_feedback = on");
$standby->start;
$primary->wait_for_catchup($standby);

sub hit
{
	my ($expected, $what) = @_;
	ok($standby->poll_query_until('postgres', $fetch, "hit-revision|$expected"), "$what: a hit");
	return;
}

hit('1|1', 'nothing was replayed');
like($standby->safe_psql('postgres', q{SELECT state, revision, fingerprint FROM summary_cache_sections WHERE section = 'main' AND summary = 's'}),
	qr{^(current|stale)\|\|[0-9a-f]{8}:[0-9A-F]+/[0-9A-F]+$}, 'a section is labelled with a position');

# a position does not say what changed
my $builds = q{SELECT builds_wasted FROM summary_cache_stats WHERE summary = 's'};
my $before = $standby->safe_psql('postgres', $builds);
$primary->safe_psql('postgres', 'UPDATE unrelated SET n = 2');
$primary->wait_for_catchup($standby);
hit('1|1', 'after an unrelated change');
cmp_ok($standby->safe_psql('postgres', $builds), '>', $before, '... for which it was built once more, and wasted');

# nor what is too new for an old snapshot
is($standby->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; $fetch; COMMIT"), 'private|1|1', 'REPEATABLE READ is private');
$primary->safe_psql('postgres', 'UPDATE t SET n = 2');
$primary->wait_for_catchup($standby);
unlike($standby->safe_psql('postgres', $fetch), qr/^hit-revision\|1/, 'no hit without what was replayed');
hit('2|2', 'with it');

# a record that waits for a query: nothing that is built meanwhile is proven, so nothing is
my $builds_background = q{SELECT builds_background FROM summary_cache_stats WHERE summary = 's'};
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = -1');
$standby->reload;
my $blocker = Session->new($standby);
$blocker->query('BEGIN; SELECT n FROM unrelated');
$primary->safe_psql('postgres', 'BEGIN; TRUNCATE unrelated; UPDATE t SET n = 9; INSERT INTO unrelated VALUES (1); COMMIT');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event_type = 'Lock'}),
	'replay waits for a query');
ok($standby->poll_query_until('postgres', q{SELECT state = 'stale' FROM summary_cache_sections WHERE section = 'main' AND summary = 's'}),
	'... in the middle of a record');
$standby->safe_psql('postgres', $fetch);
$standby->safe_psql('postgres', $fetch) for 1 .. 3;
$before = $standby->safe_psql('postgres', $builds_background);
my $last;
for (1 .. 20)
{
	$last = $standby->safe_psql('postgres', $fetch);
	usleep(10_000);
}
is($last, 'stale|2|2', '... so documents are stale');
cmp_ok($standby->safe_psql('postgres', $builds_background) - $before, '<=', 2, '... but are not built all the time');
is($standby->safe_psql('postgres', q{SELECT requests_waiting, oldest_request_age FROM summary_cache_server}), '0|',
	'... and no request counts as one that waits for a worker');
$blocker->quit;
hit('9|9', 'when it has gone on');

# definitions arrive as data does
my $old_hand = Session->new($standby);
is($old_hand->query(q{SELECT summary_cache_get('other', true)}), '{"n":1}', 'a session knows a definition');
$primary->safe_psql('postgres', q{SELECT summary_cache_define('other', 'main', 'SELECT n AS other FROM unrelated')});
$primary->wait_for_catchup($standby);
is($old_hand->query(q{SELECT summary_cache_get('other', true)}), '{"other":1}', 'a changed one has changed');
$primary->safe_psql('postgres', q{SELECT summary_cache_define('other', 'main', 'SELECT n FROM unrelated')});
$primary->wait_for_catchup($standby);
$old_hand->quit;

# the checker, whose writers rest, since any commit ends all hits
use_server($primary);
use_standby($standby);
passes($_, "by positions: $_", {}, '', '--pause=40000', '--seconds=1') for qw(plain 2pc);

# promotion: positions prove nothing any more
my $session = Session->new($standby);
my $writer = Session->new($standby);
$primary->wait_for_catchup($standby);
hit('9|9', 'before the promotion');
$writer->query(q{SELECT 1 FROM summary_cache_fetch('other')});
$session->query($status);
$primary->stop('immediate');
$standby->promote;
is($session->query($status), 'stale', 'a session that read before it and after it');
is($writer->query(q{BEGIN; UPDATE unrelated SET n = 7; SELECT status, document FROM summary_cache_fetch('other'); ROLLBACK}), 'private|{"n":7}',
	'... a transaction reads what it has written');
is($writer->query(q{UPDATE unrelated SET n = 2; SELECT status, document FROM summary_cache_fetch('other')}), 'miss|{"n":2}',
	'... and no document hides what one has committed since');
ok($standby->poll_query_until('postgres', $status, 'hit-revision'), 'the promoted server serves');
is($session->query($status), 'hit-revision', '... also that session');
$_->quit for $session, $writer;

$standby->stop;
done_testing();
