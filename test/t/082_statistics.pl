# Proves that reading statistics waits for nobody and nobody for it, that every read is counted once under the status it was answered with, and what the counters say of builds, failures, waits and resets.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	max_prepared_transactions = 5
	summary_cache.worker_idle_timeout = 500ms
	log_line_prefix = '%m %b[%p] %q%a '
});
$node->start;

# A build of "gated" waits while somebody holds advisory lock 42.
my $gate = q{pg_advisory_xact_lock_shared(42)::text AS gate};
my $at_gate = anybody_at_gate(42);
my $in_flight = readers_waiting();
my @views = qw(summary_cache_stats summary_cache_sections summary_cache_tables);

$node->sql(qq{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	CREATE TABLE e (n int);
	INSERT INTO t VALUES (1);
	INSERT INTO e VALUES (1);
	SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
	SELECT summary_cache_define('s', 'events', 'SELECT n AS e FROM e', NULL, 'inline');
	SELECT summary_cache_define('gated', 'main', 'SELECT n, $gate FROM t');
});
$node->sql($_) for q{SELECT summary_cache_get('s')}, q{SELECT summary_cache_get('gated')};

# Let what was asked for be done, and the worker go.
sub quiet
{
	$node->hit($_) or die "$_ never a hit" for qw(s gated);
	$node->quiet;
	return;
}

#
# The views wait for nobody.  With lock_timeout a wait for a lock is an error; any other wait would
# last as long as the test holds what is waited for.
#
my $watcher = Session->new($node);
my $holder = Session->new($node);
my @others = map { Session->new($node) } 1 .. 2;
$watcher->query(q{SET lock_timeout = '1ms'});

sub views_work
{
	my ($name) = @_;

	for my $view (@views)
	{
		my $rows = $watcher->query("SELECT count(*) > 0 FROM $view");
		is("$rows $watcher->{error}", 't ', "$name: $view is read");
	}
	return;
}

views_work('at rest');

$holder->query('SELECT pg_advisory_lock(42)');
$others[0]->send_sql(q{SELECT status FROM summary_cache_fetch('gated', NULL, true)});
$node->poll($at_gate, '1') or die;
views_work('while a reader builds');
$others[1]->send_sql(q{SELECT status FROM summary_cache_fetch('gated', NULL, true)});
$node->poll($in_flight, '1') or die;
views_work('while another waits for it');
is($watcher->query("SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity WHERE pid = $others[1]{pid}"),
	'Lock advisory', 'what it waits for has a name');
is($watcher->query(qq{SELECT pg_blocking_pids($others[1]{pid}) = ARRAY[$others[0]{pid}]}), 't', '... and whom it waits for is known');
$holder->query('SELECT pg_advisory_unlock(42)');
is(join(' ', map { $_->result } @others), 'miss miss', 'both are answered');
quiet();

# one that stays can be looked at
$node->set_server('summary_cache.worker_idle_timeout', '1h');
$holder->query('SELECT pg_advisory_lock(42)');
$node->sql('UPDATE t SET n = n + 1');
is($node->sql(q{SELECT status FROM summary_cache_fetch('gated')}), 'stale', 'a refresh is asked for');
$node->poll($at_gate, '1') or die;
views_work('while the worker builds');
$holder->query('SELECT pg_advisory_unlock(42)');
$node->hit('gated') or die;
$node->polled(q{SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity
	WHERE backend_type = 'summary_cache worker' AND state = 'idle'},
	$node->pg_version >= 17 ? 'Extension SummaryCacheWorkerMain' : 'Extension Extension', 'an idle worker says so');
$node->set_server('summary_cache.worker_idle_timeout', undef, '500ms');
quiet();

for my $case (
	[ 'ACCESS EXCLUSIVE on a source', 'LOCK TABLE t IN ACCESS EXCLUSIVE MODE' ],
	[ 'a source that is being altered', 'ALTER TABLE t ADD COLUMN more int' ],
	[ 'an open TRUNCATE', 'TRUNCATE e' ],
	[ 'an open write', 'UPDATE t SET n = n + 1' ],
	[ 'an open definition', q{SELECT summary_cache_define('new', 'main', 'SELECT n FROM t')} ],
	[ 'an open redefinition', q{SELECT summary_cache_define('s', 'main', 'SELECT n + 1 AS n FROM t')} ],
	[ 'an open configuration', q{SELECT summary_cache_configure('s', 'max_stale_age', '10')} ],
	[ 'an open drop', q{SELECT summary_cache_drop('s')} ],
	[ 'an open invalidation', q{SELECT summary_cache_invalidate('s')} ])
{
	my ($name, $command) = @$case;

	$holder->query("BEGIN; $command");
	is($holder->error, '', $name);
	views_work($name);
	$holder->query('ROLLBACK');
}
$holder->query('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
is($watcher->query(q{SELECT provable::text || ' ' || (reason IS NOT NULL)::text FROM summary_cache_tables WHERE source = 't'::regclass}),
	'false true', 'what cannot be looked at is reported as such');
$holder->query('ROLLBACK');
$node->sql(q{BEGIN; UPDATE t SET n = n + 1; PREPARE TRANSACTION 'p'});
views_work('a prepared write');
is($watcher->query(q{SELECT pending FROM summary_cache_tables WHERE source = 't'::regclass}), '1', 'which is seen');
$node->sql(q{COMMIT PREPARED 'p'});

#
# Nobody waits for one who reads the views, whatever he has open.
#
quiet();
$watcher->query('BEGIN');
$watcher->query("DECLARE c_$_ CURSOR FOR SELECT * FROM $_; FETCH 1 FROM c_$_") for @views;
is($watcher->error, '', 'cursors on the views are open, each after its first row');
my $session = Session->new($node);
$session->query(q{SET lock_timeout = '10s'});
for my $case (
	[ 'a write', 'UPDATE t SET n = n + 1 RETURNING true', 't' ],
	[ 'a hit', q{SELECT summary_cache_invalidate('s'); SELECT summary_cache_get('s') IS NOT NULL; SELECT status FROM summary_cache_fetch('s')}, "\nt\nhit-revision" ],
	[ 'a forced read', q{SELECT status FROM summary_cache_fetch('s', NULL, true)}, 'miss' ],
	[ 'an inline rebuild', q{UPDATE e SET n = n + 1; SELECT status FROM summary_cache_fetch('s')}, 'progress-section' ],
	[ 'an invalidation', q{SELECT summary_cache_invalidate('s')}, '' ],
	[ 'a reset', 'SELECT summary_cache_reset_stats()', '' ],
	[ 'a definition', q{SELECT summary_cache_define('new', 'main', 'SELECT n FROM t')}, '' ],
	[ 'a drop', q{SELECT summary_cache_drop('new')}, '' ],
	[ 'a change of options', q{SELECT summary_cache_configure('s', 'max_stale_age', NULL)}, '' ],
	[ 'ALTER TABLE of a source', 'ALTER TABLE t ADD COLUMN more int', '' ],
	[ 'TRUNCATE of a source', 'BEGIN; TRUNCATE t; INSERT INTO t VALUES (1); COMMIT', '' ])
{
	my ($name, $command, $expected) = @$case;

	is($session->query($command), $expected, "beside open cursors: $name");
	is($session->error, '', '... waits for nothing') or $watcher->query('ROLLBACK; BEGIN');
}
is($watcher->query("SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN ('t'::regclass, 'e'::regclass)"),
	'', 'no lock on a source is kept');
for my $view (@views)
{
	$watcher->query("FETCH ALL FROM c_$view");
	is($watcher->error, '', "the rest of $view can be fetched");
}
$watcher->query('COMMIT');
quiet();
ok($node->hit('s'), 'the worker comes, too');

# and nothing moves because somebody looks
my $all = join ', ', map { "(SELECT jsonb_agg(to_jsonb(v) - 'age') FROM $_ v)" } @views;
quiet();
my $once = $node->sql("SELECT $all");
is($node->sql("SELECT $all"), $once, 'reading statistics changes none') for 1 .. 2;

#
# Each read is counted once, under the status that it was answered with
#
$node->sql(q{
	CREATE PROCEDURE tally(summary text, reads int, force boolean, INOUT counts jsonb) LANGUAGE plpgsql AS $$
	DECLARE
		answered text;
	BEGIN
		counts := '{}';
		FOR i IN 1 .. reads LOOP
			SELECT status INTO answered FROM summary_cache_fetch(summary, NULL, force AND i % 7 = 0);
			counts := counts || jsonb_build_object(answered, coalesce((counts ->> answered)::int, 0) + 1);
			COMMIT;
		END LOOP;
	END $$;
	CREATE PROCEDURE write(writes int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. writes LOOP
			IF i % 3 = 0 THEN UPDATE t SET n = n + 1; ELSE UPDATE e SET n = n + 1; END IF;
			COMMIT;
			PERFORM pg_sleep(0.002);
		END LOOP;
	END $$;
	CREATE FUNCTION counted(s text) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_strip_nulls(jsonb_build_object('hit-revision', nullif(hits, 0), 'progress-section', nullif(progress_sections, 0),
			'stale', nullif(stale, 0), 'miss', nullif(misses, 0), 'private', nullif(private, 0)))
		FROM summary_cache_stats WHERE summary = s
	$$;
});
quiet();

# stale answers, and nothing else: the worker is held
$holder->query('SELECT pg_advisory_lock(42)');
$node->sql('UPDATE t SET n = n + 1');
$node->sql('SELECT summary_cache_reset_stats()');
is($node->sql(q{CALL tally('gated', 200, false, NULL)}), '{"stale": 200}', '200 answers are stale');
is($node->sql(q{SELECT counted('gated')}), '{"stale": 200}', '... and none of them is counted as a hit');
$holder->query('SELECT pg_advisory_unlock(42)');
quiet();

# all at once
$node->sql('SELECT summary_cache_reset_stats()');
my @readers = map { Session->new($node) } 1 .. 4;
my $writer = Session->new($node)->send_sql('CALL write(300)');
my $n = 0;
$_->send_sql(q{CALL tally('s', 1000, } . ($n++ % 2 ? 'true' : 'false') . ', NULL)') for @readers;
my $private = $node->sql(q{BEGIN; UPDATE e SET n = n + 1; SELECT status FROM summary_cache_fetch('s'); ROLLBACK});
is($private, 'private', 'one is private');
my %sum = (private => 1);
for my $reader (@readers)
{
	my $counts = $reader->result;
	$sum{$1} += $2 while $counts =~ /"([\w-]+)": (\d+)/g;
}
$writer->result;
my $counted = $node->sql(q{SELECT counted('s')});
my %counted = $counted =~ /"([\w-]+)": (\d+)/g;
is_deeply(\%counted, \%sum, 'beside writers, each of 4001 answers is counted under its status');
cmp_ok($counted{$_} // 0, '>', 0, "$_ was among them") for qw(hit-revision stale miss progress-section);
$_->quit for @readers, $writer;
quiet();

#
# Builds: time, failures, waits
#
$node->sql('SELECT summary_cache_reset_stats()');
$node->sql(q{SELECT summary_cache_define('f', 'main', 'SELECT 100 / n AS q, pg_sleep(0.1)::text AS z FROM e', '{e}')});
$node->sql(q{UPDATE e SET n = 1});
$node->sql(q{SELECT summary_cache_get('f')});
$node->sql(q{SELECT summary_cache_get('f', true)});
is($node->sql(q{SELECT builds_miss, builds_forced, builds_wasted, builds_failed, build_ms_min >= 100 AND build_ms_min <= build_ms_mean
	AND build_ms_mean <= build_ms_max AND abs(build_ms_total - 2 * build_ms_mean) < 0.001
	AND abs(build_ms_min + build_ms_max - build_ms_total) < 0.001 FROM summary_cache_stats WHERE summary = 'f'}),
	'1|1|1|0|t', 'two builds: the times add up, and the second was wasted');
$node->sql('UPDATE e SET n = 0');
for my $failure (1 .. 2)
{
	my ($ret, undef, $err) = $node->psql('postgres', q{SELECT summary_cache_get('f', true)});
	like($err, qr/division by zero/, "failure $failure");
	is($node->sql(q{SELECT builds_failed, consecutive_failures, last_error, last_error_sqlstate, last_error_at BETWEEN stats_reset AND now(),
		builds_miss + builds_forced FROM summary_cache_stats WHERE summary = 'f'}),
		"$failure|$failure|division by zero|22012|t|2", '... is counted, with its error and time, and is no build');
}
$node->sql('UPDATE e SET n = 1');
$node->sql(q{SELECT summary_cache_get('f', true)});
is($node->sql(q{SELECT builds_failed, consecutive_failures, last_error IS NULL, last_error_sqlstate IS NULL, last_error_at IS NOT NULL
	FROM summary_cache_stats WHERE summary = 'f'}), '2|0|t|t|t', 'success clears the error, not its time');

$holder->query('SELECT pg_advisory_lock(42)');
$others[0]->send_sql(q{SELECT status FROM summary_cache_fetch('gated', NULL, true)});
$node->poll($at_gate, '1') or die;
$others[1]->send_sql(q{SELECT status FROM summary_cache_fetch('gated', NULL, true)});
$node->poll($in_flight, '1') or die;
$node->sql('SELECT pg_sleep(0.2)');
$holder->query('SELECT pg_advisory_unlock(42)');
$_->result for @others;
is($node->sql(q{SELECT waits, wait_ms_total >= 200 FROM summary_cache_stats WHERE summary = 'gated'}), '1|t', 'one wait, and how long it was');

# slow builds in the log
for my $case ([ '100ms', 1 ], [ '0', 1 ], [ '1h', 0 ], [ '-1', 0 ])
{
	my ($setting, $expected) = @$case;
	my $offset = -s $node->logfile;

	# where pg_sleep() runs, in the worker
	$node->set_server('summary_cache.log_min_build_duration', $setting);
	$node->sql(q{SELECT summary_cache_get('f', true)});
	my @lines = slurp_file($node->logfile, $offset) =~ /LOG:  built section "main" of summary "f" in [\d.]+ ms, \d+ bytes/g;
	is(scalar @lines, $expected, "log_min_build_duration = $setting: a build of 100 ms is " . ($expected ? 'logged' : 'not logged'));
}

#
# Reset: this database's counters, and nothing else
#
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->sql(q{CREATE EXTENSION summary_cache; SELECT summary_cache_define('s', 'main', 'SELECT 1 AS n')}, 'other');
$node->sql(q{SELECT summary_cache_get('s'); SELECT summary_cache_get('s')}, 'other');
my $other = $node->sql('SELECT to_jsonb(s) FROM summary_cache_stats s', 'other');
my ($ret) = $node->psql('postgres', q{UPDATE e SET n = 0; SELECT summary_cache_get('f', true)});
my $before = $node->sql(q{SELECT stats_reset FROM summary_cache_stats WHERE summary = 'f'});
my $kept = q{SELECT bytes, fingerprint, last_error, last_error_sqlstate, last_error_at, consecutive_failures
	FROM summary_cache_stats ORDER BY summary};
my $is = $node->sql($kept);
$node->sql('SELECT summary_cache_reset_stats()');
is($node->sql($kept), $is, 'a reset leaves what is cached and the last error');
is($node->sql("SELECT stats_reset > '$before' FROM summary_cache_stats WHERE summary = 'f'"), 't', '... and says when it was');
is($node->sql(q{SELECT string_agg(DISTINCT key || ' ' || value, ', ') FROM summary_cache_stats s, jsonb_each(to_jsonb(s))
	WHERE jsonb_typeof(value) IN ('number', 'null') AND value NOT IN ('0', 'null')
	AND key NOT IN ('bytes', 'consecutive_failures')}), '', 'all else is zero');
is($node->sql('SELECT to_jsonb(s) FROM summary_cache_stats s', 'other'), $other, 'the other database keeps its counters');

$_->quit for $watcher, $holder, $session, @others;
$node->stop;
done_testing();
