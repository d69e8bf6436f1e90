# Proves that a streaming standby serves hits, none of which misses what was replayed, and that a promoted one goes on.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;
use Time::HiRes qw(usleep);

my $status = q{SELECT status FROM summary_cache_fetch('s')};
my $fetch = q{SELECT status, document->>'n', document->>'m' FROM summary_cache_fetch('s')};

my $primary = Node->new('primary');
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

my $standby = Node->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'summary_cache.max_sections = 16');
$standby->start;
$primary->wait_for_catchup($standby);

# The answer once it is proven, refreshed by the worker if need be; compared with the tables.
sub hit
{
	my ($expected, $what) = @_;

	$expected .= '|' unless $expected =~ /\|/;
	ok($standby->poll_query_until('postgres', $fetch, "hit-revision|$expected"), "$what: a hit")
	  or diag $standby->safe_psql('postgres', 'TABLE summary_cache_stats; TABLE summary_cache_sections');
	return;
}

my ($n, $m) = (1, 1);
like($standby->safe_psql('postgres', $fetch), qr/^miss\|1\|1$/, 'the first read builds');
hit('1|1', 'nothing was replayed since');
my $wal = $primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$standby->safe_psql('postgres', join ';', ($fetch) x 20);
is($primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'), $wal, 'reads write nothing on the primary');

$primary->safe_psql('postgres', 'UPDATE t SET n = 2');
$primary->wait_for_catchup($standby);
unlike($standby->safe_psql('postgres', $fetch), qr/^hit-revision\|1/, 'no hit without what was replayed');
hit('2|2', 'with what was replayed');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'"), '1',
	'a worker refreshes on the standby');

# DDL concerns every summary.  A request that was made before may be carried out by now, so what a read is answered
# with does not show it.
my $builds = $standby->safe_psql('postgres', q{SELECT builds_wasted FROM summary_cache_stats WHERE summary = 's'});
$primary->safe_psql('postgres', 'CREATE TABLE unrelated AS SELECT 1 AS n');
$primary->wait_for_catchup($standby);
hit('2|2', 'after DDL');
cmp_ok($standby->safe_psql('postgres', q{SELECT builds_wasted FROM summary_cache_stats WHERE summary = 's'}), '>', $builds,
	'... for which it was built once more, and wasted');

is($standby->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; $fetch; COMMIT"), 'hit-revision|2|2', 'REPEATABLE READ has hits');
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s', true)->>'n'}), '2', 'a forced read builds');
is($primary->safe_psql('postgres', q{SELECT summary_cache_get('s'); SELECT etag FROM summary_cache_fetch('s')}) =~ s/.*\n//r,
	$standby->safe_psql('postgres', q{SELECT etag FROM summary_cache_fetch('s')}), 'the etag is that of the primary');
is($standby->safe_psql('postgres', q{SELECT document IS NULL FROM summary_cache_fetch('s', (SELECT etag FROM summary_cache_fetch('s')))}),
	't', 'so that a client that moves here need not read it again');
is($standby->safe_psql('postgres', "SET summary_cache.enabled = off; $status"), 'private', 'switched off');
is($standby->safe_psql('postgres', "SET summary_cache.max_stale_age = 0; $status"), 'miss', 'no age allowed');

for my $view (qw(summary_cache_stats summary_cache_sections summary_cache_tables))
{
	cmp_ok($standby->safe_psql('postgres', "SELECT count(*) FROM $view"), '>', 0, "$view works on a standby");
}
hit('2|2', 'again');
like($standby->safe_psql('postgres', q{SELECT state, revision, fingerprint FROM summary_cache_sections WHERE section = 'main'}),
	qr{^current\|\d+\|[0-9a-f]{8}:\d+\.\d+(,\d+\.\d+)+$}, 'a section is labelled with words');
for my $call (q{define('x', 'main', 'SELECT n AS x FROM t')}, q{define('x', 'main', 'SELECT n AS x FROM t', run_query => false)},
	q{drop('s')}, q{configure('s', 'max_stale_age', '1h')}, q{attach_state_hub()})
{
	my ($function) = $call =~ /^(\w+)/;
	my (undef, undef, $err) = $standby->psql('postgres', "SELECT summary_cache_$call", extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	like($err, qr/ERROR:  25006: cannot execute summary_cache_$function\(\) during recovery\nHINT:  Execute it on the primary\./,
		"nothing can be changed on a standby: $call");
}
$standby->safe_psql('postgres', q{SELECT summary_cache_invalidate('s')});
is($standby->safe_psql('postgres', $fetch), 'miss|2|2', 'what is invalidated there is built again');

# many at once, on a cold cache: one build
$standby->safe_psql('postgres', q{SELECT summary_cache_invalidate('s'); SELECT summary_cache_reset_stats()});
my @readers = map { Session->new($standby)->send_sql($fetch) } 1 .. 10;
like($_->result, qr/\|2\|2$/, 'one of many readers') for @readers;
$_->quit for @readers;
is($standby->safe_psql('postgres', q{SELECT builds_miss FROM summary_cache_stats WHERE summary = 's'}), '1', 'they share one build');

# a record that is just being replayed: it is visible to nobody yet, but a document that was labelled before it is not proven
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
ok($standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}), 'replay is paused');
my $before = $standby->safe_psql('postgres', 'SELECT n FROM t');
$primary->safe_psql('postgres', 'UPDATE t SET n = 3');
is($standby->safe_psql('postgres', 'SELECT n FROM t'), $before, 'a standby that is behind');
hit('2|2', '... has hits on what it has');
is($standby->safe_psql('postgres', $fetch), 'hit-revision|2|2', '... and no record ends them');
is($standby->safe_psql('postgres', q{SELECT DISTINCT state FROM summary_cache_sections}), 'current', '... and their sections are current');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$primary->wait_for_catchup($standby);
hit('3|3', 'resumed');
$primary->safe_psql('postgres', 'UPDATE t SET n = 2');
$primary->wait_for_catchup($standby);

# a table that no trigger follows is not proven there either
$primary->safe_psql('postgres', 'ALTER TABLE t DISABLE TRIGGER ALL');
$primary->wait_for_catchup($standby);
$standby->safe_psql('postgres', q{SELECT summary_cache_get('s', true)});
is($standby->safe_psql('postgres', q{SELECT DISTINCT state FROM summary_cache_sections}), 'unprovable', 'a trigger disabled');
$primary->safe_psql('postgres', 'ALTER TABLE t ENABLE TRIGGER ALL');
$primary->wait_for_catchup($standby);
hit('2|2', 'enabled');

# a section's query gets at no cursor of its reader
$primary->safe_psql('postgres', q{
	CREATE ROLE regress_attacker;
	CREATE SCHEMA a AUTHORIZATION regress_attacker;
	GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_attacker;
	SET ROLE regress_attacker;
	CREATE FUNCTION a.who() RETURNS text LANGUAGE sql VOLATILE AS 'SELECT current_user::text';
	CREATE FUNCTION a.swap() RETURNS int LANGUAGE plpgsql AS $$
		DECLARE c refcursor := 'mine'; BEGIN
			BEGIN CLOSE c; EXCEPTION WHEN invalid_cursor_name THEN NULL; END;
			c := 'mine'; OPEN c FOR SELECT a.who(); RETURN 1; END $$;
	SET client_min_messages = error;
	SELECT summary_cache_define('swap', 'core', 'SELECT a.swap() AS x', '{}')});
$primary->wait_for_catchup($standby);
my (undef, $fetched, $complaint) = $standby->psql('postgres',
	q{BEGIN; DECLARE mine CURSOR FOR SELECT 'my own'; SELECT summary_cache_get('swap'); FETCH mine; COMMIT});
is($fetched, qq({"x":1}\nmy own), 'a section\'s query does not find a cursor of its reader');
is($complaint, '', '... nor complains');
$primary->safe_psql('postgres', q{DROP OWNED BY regress_attacker; DROP ROLE regress_attacker});

# the worker is no hindrance to what the primary does to its database
$primary->safe_psql('postgres', 'CREATE DATABASE doomed');
$primary->safe_psql('doomed', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	CREATE FUNCTION own(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
	SELECT summary_cache_define('d', 'main', 'SELECT own(n) AS d FROM t')});
$primary->wait_for_catchup($standby);
like($standby->safe_psql('doomed', q{SELECT status FROM summary_cache_fetch('d'); SELECT status FROM summary_cache_fetch('d')}),
	qr/hit/, 'a database');
$standby->safe_psql('postgres', 'ALTER SYSTEM SET summary_cache.max_workers = 0');
$standby->reload;
ok($standby->poll_query_until('postgres', 'SELECT workers FROM summary_cache_server', '0'), '... without a worker');
$primary->safe_psql('doomed', 'UPDATE t SET n = 2');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('doomed', q{SELECT status FROM summary_cache_fetch('d')}), 'stale', '... and with a request for one');
my $workers_failed = q{SELECT workers_failed FROM summary_cache_server};
my $failed_before = $standby->safe_psql('postgres', $workers_failed);
my $log_before = -s $standby->logfile;
$primary->safe_psql('postgres', 'DROP DATABASE doomed');
$primary->wait_for_catchup($standby);
$standby->safe_psql('postgres', 'ALTER SYSTEM RESET summary_cache.max_workers');
$standby->reload;
# a worker is tried, until it is found out that nobody needs one
ok($standby->poll_query_until('postgres', "SELECT ($workers_failed) > $failed_before"), '... that is dropped: no worker can be had any more');
ok($standby->poll_query_until('postgres', 'SELECT requests_waiting FROM summary_cache_server', '0'), '... and the request is forgotten');
my @fatal = substr(slurp_file($standby->logfile), $log_before) =~ /FATAL:  (?!terminating)(.*)/g;
# the pauses between tries grow, and within 10 s the launcher looks which databases are gone
cmp_ok(scalar(@fatal), '<=', 5, '... with a few lines in the log') or diag join "\n", @fatal;

# a builder that conflicts with recovery: PostgreSQL ends its session, which counts as a failure; a reader that waited for it goes on
$primary->safe_psql('postgres', q{
	CREATE TABLE slow (n int);
	INSERT INTO slow VALUES (1);
	SET client_min_messages = warning;
	SELECT summary_cache_define('slow', 'main', 'SELECT n, pg_advisory_xact_lock_shared(7)::text AS pause FROM slow')});
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 0');
$standby->reload;
$primary->wait_for_catchup($standby);
my $slow = q{SELECT status, document->>'n' FROM summary_cache_fetch('slow')};
my $holder = Session->new($standby);
my $builder = Session->new($standby);
my $waiter = Session->new($standby);
my $waits = q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'};
$holder->query('SELECT pg_advisory_lock(7)');
$builder->send_sql($slow);
ok($standby->poll_query_until('postgres', $waits, '1'), 'a build on the standby');
$waiter->send_sql($slow);
ok($standby->poll_query_until('postgres', $waits, '2'), '... and one who waits for it');
$primary->safe_psql('postgres', 'BEGIN; TRUNCATE slow; INSERT INTO slow VALUES (2); COMMIT');
ok($standby->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ${\$builder->pid}"), '... conflicts with a TRUNCATE');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT builds_failed, last_error_sqlstate, last_error FROM summary_cache_stats WHERE summary = 'slow'}),
	'1|40001|the session that built it was terminated due to conflict with recovery', '... which counts as a failure');
$holder->query('SELECT pg_advisory_unlock(7)');
is($waiter->result, 'miss|2', '... who has waited builds instead');
is($waiter->error, '', '... without an error');
$_->quit for $builder, $waiter;

# ... and when there is an old document, one session at most is lost to that: the others get the document, and no build is begun
my $expired = "SET summary_cache.max_stale_age = 0; SET statement_timeout = '60s'; $slow";
$standby->safe_psql('postgres', q{SELECT summary_cache_get('slow', true)});
$holder->query('SELECT pg_advisory_lock(7)');
$builder = Session->new($standby);
$builder->send_sql($expired);
ok($standby->poll_query_until('postgres', $waits, '1'), 'an old document: a build on the standby');
$primary->safe_psql('postgres', 'BEGIN; TRUNCATE slow; INSERT INTO slow VALUES (3); COMMIT');
ok($standby->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ${\$builder->pid}"), '... conflicts');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $expired), 'stale|2', "... reader $_ gets the old document") for 1 .. 3;
$holder->query('SELECT pg_advisory_unlock(7)');
ok($standby->poll_query_until('postgres', $slow, 'hit-revision|3'), '... until the worker has built a new one');
$primary->safe_psql('postgres', 'UPDATE slow SET n = 2');
$primary->wait_for_catchup($standby);
ok($standby->poll_query_until('postgres', $slow, 'hit-revision|2'), '... and the next');
$_->quit for $builder, $holder;

# a build that fails is a failure of the summary
$primary->safe_psql('postgres', 'INSERT INTO slow VALUES (3)');
$primary->wait_for_catchup($standby);
my (undef, undef, $err) = $standby->psql('postgres', q{SELECT summary_cache_get('slow', true)});
like($err, qr/returned more than one row/, 'a forced build that fails');
is($standby->safe_psql('postgres', q{SELECT builds_failed > 0, last_error_sqlstate FROM summary_cache_stats WHERE summary = 'slow'}), 't|21000', '... is counted');
is($standby->safe_psql('postgres', $slow), 'stale|2', '... and answered with the old document');
$primary->safe_psql('postgres', 'DELETE FROM slow WHERE n = 3');

# a record that waits for a query: nothing of its transaction is visible, and hits go on
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = -1');
$standby->reload;
$primary->wait_for_catchup($standby);
hit('2|2', 'before replay has to wait');
my $blocker = Session->new($standby);
$blocker->query('BEGIN; SELECT n FROM unrelated');
$primary->safe_psql('postgres', 'BEGIN; TRUNCATE unrelated; UPDATE t SET n = 9; INSERT INTO unrelated VALUES (1); COMMIT');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event_type = 'Lock'}),
	'replay waits for a query');
is($standby->safe_psql('postgres', $fetch), 'hit-revision|2|2', '... and hits go on');
$blocker->quit;
hit('9|9', 'when it has gone on');
$primary->safe_psql('postgres', 'UPDATE t SET n = 2');
$primary->wait_for_catchup($standby);

# definitions arrive as data does
my $old_hand = Session->new($standby);
is($old_hand->query(q{SELECT summary_cache_get('s', true)}), '{"n":2,"m":2}', 'a session knows a definition');
$primary->safe_psql('postgres', q{
	SELECT summary_cache_define('later', 'main', 'SELECT n AS later FROM t');
	SELECT summary_cache_define('other', 'main', 'SELECT n FROM unrelated');
	SELECT summary_cache_drop('s', 'inlined')});
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('later')}), '{"later":2}', 'a new summary is there');
is($old_hand->query(q{SELECT summary_cache_get('s', true)}), '{"n":2}', 'a changed one has changed, for a session that knew it, too');
$old_hand->quit;
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s')}), '{"n":2}', 'a changed one has changed');

# a database that is dropped gives back what it had, though nobody asks for anything there: room for ten summaries
sub ten_summaries
{
	my ($name) = @_;
	return "SELECT summary_cache_define('$name' || g, 'main', 'SELECT 1 AS n', '{}') FROM generate_series(1, 10) g";
}
my $read_ten = q{SELECT string_agg(status, ' ') FROM generate_series(1, 10) g, summary_cache_fetch('%s' || g)};
my $evicted = 'SELECT summaries_evicted, documents_evicted FROM summary_cache_server';
$primary->safe_psql('postgres', 'CREATE DATABASE dropped');
$primary->safe_psql('dropped', 'CREATE EXTENSION summary_cache; ' . ten_summaries('d'));
$primary->safe_psql('postgres', ten_summaries('f'));
$primary->wait_for_catchup($standby);
is($standby->safe_psql('dropped', sprintf $read_ten, 'd'), join(' ', ('miss') x 10), 'another database');
# then nothing wakes the launcher
$standby->set_server('summary_cache.worker_idle_timeout', '100ms');
$standby->quiet('dropped');
is($standby->safe_psql('postgres', $evicted), '0|0', '... for which there was room');
my $dropped = $standby->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'dropped'});
$standby->set_server('log_min_messages', 'debug1');
$primary->safe_psql('postgres', 'DROP DATABASE dropped');
$primary->wait_for_catchup($standby);
ok(wait_until(sub { slurp_file($standby->logfile) =~ /database $dropped was dropped/ }), '... is dropped, which is noticed');
$standby->set_server('log_min_messages', undef, 'warning');
$standby->set_server('summary_cache.worker_idle_timeout', undef, '3s');
is($standby->safe_psql('postgres', sprintf $read_ten, 'f'), join(' ', ('miss') x 10), 'ten other summaries');
is($standby->safe_psql('postgres', $evicted), '0|0', '... for which nobody gives way');

#
# Promotion, by a session that was reading before, and with a transaction left prepared
#
$primary->safe_psql('postgres', q{BEGIN; UPDATE t SET n = 3; PREPARE TRANSACTION 'left'});
$primary->wait_for_catchup($standby);
my $session = Session->new($standby);
my $writer = Session->new($standby);
hit('2', 'before the promotion');
$session->query($status);
$writer->query(q{SELECT 1 FROM summary_cache_fetch('other')});

$primary->stop('immediate');
$standby->promote;
is($session->query($status), 'hit-revision', 'a session that read before it and after it');
is($writer->query(q{BEGIN; UPDATE unrelated SET n = 7; SELECT status, document FROM summary_cache_fetch('other'); ROLLBACK}), 'private|{"n":7}',
	'... and a transaction reads what it has written');
is($writer->query(q{UPDATE unrelated SET n = 2; SELECT status, document FROM summary_cache_fetch('other')}), 'miss|{"n":2}',
	'... and hide what one has committed since');
ok($standby->poll_query_until('postgres', $status, 'hit-revision'), 'the promoted server serves');
is($session->query($status), 'hit-revision', '... also that session');
$session->quit;

is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s')}), '{"n":2}', 'the prepared transaction is not visible');
is($standby->safe_psql('postgres', $status), 'hit-revision', 'hits go on beside it');
$standby->safe_psql('postgres', q{COMMIT PREPARED 'left'});
isnt($standby->safe_psql('postgres', q{SELECT status, document->>'n' FROM summary_cache_fetch('s')}), 'hit-revision|2', 'its commit is noticed');
ok($standby->poll_query_until('postgres', $status, 'hit-revision'), 'a worker refreshes');
is($standby->safe_psql('postgres', q{SELECT summary_cache_get('s')}), '{"n":3}', 'with what was prepared on the primary');
$standby->safe_psql('postgres', 'UPDATE t SET n = 4');
ok($standby->poll_query_until('postgres', q{SELECT document->>'n' FROM summary_cache_fetch('s')}, '4'), 'writes are followed');
is($standby->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', 'nothing is pending');

$standby->stop;
done_testing();
