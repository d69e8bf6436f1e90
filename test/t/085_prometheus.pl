# Proves that with a real Prometheus and its exporter each alert of doc/examples fires when it should, and none in health, on a primary and on a standby; and that each query of the dashboard there shows what it says.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use HTTP::Tiny;
use IPC::Run;
use JSON::PP qw(decode_json);
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $queries_file = "$top/doc/examples/postgres_exporter.yaml";
my ($exporter) = grep { system("$_ --version >/dev/null 2>&1") == 0 } qw(prometheus-postgres-exporter postgres_exporter);
plan skip_all => 'postgres_exporter is not installed' if !$exporter;
plan skip_all => 'prometheus is not installed' if system('prometheus --version >/dev/null 2>&1') != 0;

#
# Programs that listen on a port each.  They die with this process, whatever becomes of it.
#
my %programs;

END
{
	my $status = $?;
	$_->kill_kill for values %programs;
	$? = $status;
}

sub start_program
{
	my ($name, $environment, @command) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/085_prometheus_$name.log";

	$programs{$name} = IPC::Run::start([ 'setpriv', '--pdeathsig', 'KILL', @command ],
		'<', \undef, '>', $log, '2>&1', init => sub { %ENV = (%ENV, %$environment) });
	return;
}

sub stop_program
{
	my ($name) = @_;

	(delete $programs{$name})->kill_kill;
	return;
}

# Exporters by the name that Prometheus has for them.  The last two are started later.
my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(prometheus main standby elsewhere late);

sub start_exporter
{
	my ($name, $node, $db) = @_;

	start_program($name, { DATA_SOURCE_NAME => "user=exporter host=${\$node->host} port=${\$node->port} dbname=$db sslmode=disable" },
		$exporter, "--extend.query-path=$queries_file", "--web.listen-address=127.0.0.1:$port{$name}");
	return;
}

#
# Prometheus, with the rules as they are, but for the time that a condition must hold
#
my $dir = PostgreSQL::Test::Utils::tempdir();
my $rules = slurp_file("$top/doc/examples/alerts.yaml");
my %alerts = map { $_ => 1 } $rules =~ /- alert: SummaryCache(\w+)$/mg;
my $shortened = $rules =~ s/^        for: \w+$/        for: 0s/mg;
is($shortened, scalar keys %alerts, 'each rule has its time, which is taken away');
append_to_file("$dir/alerts.yaml", $rules);
append_to_file("$dir/prometheus.yaml", "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 500ms\n"
		. "rule_files:\n  - '$dir/alerts.yaml'\nscrape_configs:\n  - job_name: postgres\n    static_configs:\n"
		. join('', map { "      - targets: ['127.0.0.1:$port{$_}']\n        labels: { instance: $_ }\n" }
			sort grep { $_ ne 'prometheus' } keys %port));
start_program('prometheus', {}, 'prometheus', "--config.file=$dir/prometheus.yaml", "--storage.tsdb.path=$dir/data",
	"--web.listen-address=127.0.0.1:$port{prometheus}", '--log.level=warn');

sub ask_prometheus
{
	my ($path, %parameters) = @_;
	my $http = HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default);
	my $answer = $http->get("http://127.0.0.1:$port{prometheus}/api/v1/$path?" . $http->www_form_urlencode(\%parameters));

	return $answer->{success} ? decode_json($answer->{content})->{data} : undef;
}

# The instances for which an expression has a value.
sub instances
{
	my ($expression) = @_;
	my $data = ask_prometheus('query', query => $expression) // return '';

	return join ' ', sort map { $_->{metric}{instance} // '' } @{ $data->{result} };
}

sub evaluations
{
	my $data = ask_prometheus('rules') // return '';

	return join ' ', map { $_->{lastEvaluation} } @{ $data->{groups} };
}

# Until all that is so now has been scraped, and the rules evaluated since.
sub scraped
{
	my $now = time;
	my $last;

	wait_until(sub { my $up = ask_prometheus('query', query => "min(timestamp(up)) > $now + 1"); $up && @{ $up->{result} } })
		or die 'nothing is scraped';
	for (1 .. 2)
	{
		$last = evaluations();
		wait_until(sub { evaluations() ne $last }) or die 'the rules are not evaluated';
	}
	return;
}

# What fires, as "instance:alert"; which of these goes on for as long as a rule looks back; which ever did.
my (%lasting, %fired);

sub firing
{
	my $data = ask_prometheus('alerts') // return 'no answer';
	my %firing = map { (($_->{labels}{instance} // '') . ':' . ($_->{labels}{alertname} =~ s/^SummaryCache//r) => 1) }
		grep { $_->{state} eq 'firing' } @{ $data->{alerts} };

	return join ' ', sort keys %firing;
}

# What fires is this and what lasts, and nothing else.
sub fires
{
	my ($expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %expected = map { $_ => 1 } split(' ', $expected), keys %lasting;
	my $all = join ' ', sort keys %expected;
	my $is;

	scraped();
	wait_until(sub { ($is = firing()) eq $all });
	is($is, $all, $name) or die 'the rest would be of no use';
	$fired{ s/.*://r } = 1 for split ' ', $is;
	return;
}

#
# The dashboard.  What a query of a panel gives now, by legend; for all instances, databases and summaries,
# over the last hour.
#
my $dashboard = decode_json(slurp_file("$top/doc/examples/grafana_dashboard.json"));
my %panels = map { $_->{title} => $_ } grep { $_->{type} ne 'row' } @{ $dashboard->{panels} };

sub ask_panel
{
	my ($title, $n) = @_;
	my $target = $panels{$title}{targets}[ $n // 0 ];
	my $expression = $target->{expr} =~ s/\$__rate_interval\b/1h/gr =~ s/\$(?:instance|datname|summary)\b/.*/gr;
	my $data = ask_prometheus('query', query => $expression) // die "$title: $expression";
	my %values;

	for my $series (@{ $data->{result} })
	{
		my $legend = $target->{legendFormat} =~ s/\{\{(\w+)\}\}/$series->{metric}{$1} \/\/ "no label $1"/ger;
		die "$title: two series are called $legend" if exists $values{$legend};
		$values{$legend} = $series->{value}[1] if $series->{value}[1] =~ /^[-+.\de]+$/;
	}
	return \%values;
}

# What it says for a legend is so: a number, or more than nothing.
sub panel_says
{
	my ($title, $n, $legend, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $value = ask_panel($title, $n)->{$legend};

	return ref $expected
		? ok(defined $value && $expected->($value), "dashboard, $title: $legend") || diag($value)
		: is($value, $expected, "dashboard, $title: $legend");
}

my $some = sub { $_[0] > 0 };
my $most = sub { $_[0] > 0.5 && $_[0] < 1.1 };    # Prometheus extrapolates
my $few = sub { $_[0] >= 0 && $_[0] < 0.1 };

sub lasting
{
	$lasting{$_} = 1 for @_;
	return;
}

#
# A server with a hub and summaries that are built before anybody looks, and a standby
#
my $gate = q{pg_advisory_xact_lock_shared(42)::text AS gate};
my $main = Node->new('main');
$main->init(allows_streaming => 1);
# a restart empties the cache
$main->append_conf('postgresql.conf', 'summary_cache.save = off');
$main->append_conf('postgresql.conf', q{
	autovacuum = off
	deadlock_timeout = 10ms
	max_prepared_transactions = 5
	max_worker_processes = 5
	summary_cache.memory_limit = 1MB
	summary_cache.max_tables = 32
	summary_cache.max_sections = 32
	summary_cache.worker_idle_timeout = 200ms
	summary_cache.read_your_writes = off
});
$main->start;
$main->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$top/test/hub/schema.sql" ], 'a hub');
$main->sql(qq{
	DROP TABLE sbom_snapshots;
	CREATE EXTENSION summary_cache SCHEMA public;
	CREATE ROLE exporter LOGIN IN ROLE pg_monitor;
	ALTER ROLE exporter SET search_path = 'public';
	CREATE DATABASE elsewhere;
	CREATE TABLE t (n int); INSERT INTO t VALUES (1);
	CREATE TABLE locked (n int); INSERT INTO locked VALUES (1);
	CREATE TABLE big (n int); INSERT INTO big VALUES (1);
	CREATE TABLE deaf (n int); INSERT INTO deaf VALUES (0);
	CREATE VIEW swapped AS SELECT n FROM t;
} . deaf_function() . qq{
	SET client_min_messages = warning;
	SELECT summary_cache_define('big', 'main', 'SELECT repeat(''x'', n) AS x FROM big');
	SELECT summary_cache_define('deaf', 'main', 'SELECT deaf(n) AS n FROM deaf');
	SELECT summary_cache_define('fails', 'main', 'SELECT 1 / n AS n FROM t');
	SELECT summary_cache_define('fast', 'main', 'SELECT n FROM t');
	SELECT summary_cache_define('forced', 'main', 'SELECT clock_timestamp() AS at FROM t');
	SELECT summary_cache_define('locked' || g, 'main', 'SELECT n FROM locked') FROM generate_series(1, 8) g;
	SELECT summary_cache_define('private', 'main', 'SELECT n FROM t');
	SELECT summary_cache_define('put_off', 'main', 'SELECT n FROM t');
	SELECT summary_cache_define('sleeps', 'main', 'SELECT pg_sleep(1.5) AS n', '{}');
	SELECT summary_cache_define('slow', 'main', 'SELECT n, $gate FROM t');
	SELECT summary_cache_define('swapped', 'main', 'SELECT n FROM swapped');
	SELECT summary_cache_define('wasted', 'main', 'SELECT n FROM t');
});
$main->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($main, 'backup', has_streaming => 1);
$standby->start;
$main->wait_for_catchup($standby);
my $read_all = q{SELECT 1 FROM (SELECT DISTINCT summary FROM summary_cache_sections OFFSET 0) s, summary_cache_fetch(s.summary)};
$_->sql($read_all) for $main, $standby;

# an interval counts from a worker's refresh on
$main->sql('UPDATE t SET n = n');
$main->wait_for_catchup($standby);
$_->sql($read_all) for $main, $standby;
$_->quiet for $main, $standby;
$main->sql(q{SELECT summary_cache_configure('put_off', 'min_refresh_interval', '1h')});
$main->wait_for_catchup($standby);
# ... and an option from the next publication on
$_->sql(q{SELECT summary_cache_get('put_off', true)}) for $main, $standby;

#
# Nobody gives metrics; then all is well
#
wait_until(sub { evaluations() }) or die 'Prometheus does not come up';
fires(':NoMetrics', 'no exporter at all');
start_exporter('main', $main, 'postgres');
start_exporter('standby', $standby, 'postgres');
is(wait_until(sub { my $i = instances('summary_cache_launcher_running == 1'); $i eq 'main standby' && $i }), 'main standby',
	'both exporters give metrics');
fires('', 'none fires in health');
my $bad = join ' ', map { "$_->{name}: $_->{lastError}" } grep { $_->{health} ne 'ok' } map { @{ $_->{rules} } } @{ ask_prometheus('rules')->{groups} };
is($bad, '', '... and every rule can be evaluated');

#
# How reads are answered.  The standby first: a busy primary makes most of its reads stale, and most of its
# builds wasted.
#
sub read_times { return qq{DO \$\$ BEGIN FOR i IN 1 .. $_[1] LOOP PERFORM summary_cache_get($_[0]); COMMIT; END LOOP; END \$\$;\n} }

my $activity = read_times(q{'put_off'}, 150) . read_times(q{'wasted', true}, 150) . read_times(q{'wasted'}, 1000);

# the two rules, but for the condition that leaves a standby out
my @anywhere = $rules =~ /- alert: SummaryCache(?:StaleShare|BuildsWasted)\n        expr: \|\n((?:          .*\n)+?)          and on \(instance, server, datname\) summary_cache_server_in_recovery == 0\n/g;
is(scalar @anywhere, 2, 'two rules leave a standby out');
$main->sql('UPDATE t SET n = n');
$main->wait_for_catchup($standby);
$standby->sql($activity);
for my $expression (@anywhere)
{
	is(wait_until(sub { instances($expression) }), 'standby', 'on the standby: stale reads or wasted builds');
}
fires('', '... for which nothing fires');
$main->sql($activity);
lasting(qw(main:StaleShare main:BuildsWasted));
fires('', 'on the primary they do; and nothing for a refresh that is put off');
# what is put off and requested all the time would be taken for locked out
$main->sql(q{SELECT summary_cache_configure('put_off', 'min_refresh_interval', NULL)});
$main->sql(q{SELECT summary_cache_get('put_off', true)});

$main->sql(read_times(q{'forced', true}, 150));
lasting('main:MissShare');
$main->set_server('summary_cache.enabled', 'off');
$main->sql(read_times(q{'private'}, 150));
lasting('main:PrivateShare');
fires('main:Disabled', 'forced reads; switched off');
$main->set_server('summary_cache.enabled', undef, 'on');

#
# Workers
#
# One worker, which does not come to an end, and readers that wait for it; then a builder that is slow
my $holder = Session->new($main);
my $reader = Session->new($main);
my $at_gate = anybody_at_gate(42);
$main->set_server('summary_cache.max_workers', 1);
# (the worker gives way to a reader after half of it, and the reader then builds)
$main->set_server('deadlock_timeout', '10min');
$holder->query('SELECT pg_advisory_lock(42)');
$main->sql(q{UPDATE t SET n = n; SELECT status FROM summary_cache_fetch('slow')});
$main->poll($at_gate, '1') or die 'the worker does not build';
$main->sql(q{SELECT status FROM summary_cache_fetch('fast')});
$reader->send_sql(q{SELECT status FROM summary_cache_fetch('slow', force_refresh => true)});
fires('main:RequestsWaiting main:ReadersWaiting', 'all workers are busy, and a reader waits for the builder');
panel_says('Requests waiting', 0, '', $some);
panel_says('Requests for a refresh', 0, 'main', $some);
panel_says('Oldest request', 0, 'main', $some);
panel_says('Workers', $_, 'main' . (': building') x $_, 1) for 0, 1;
panel_says('Workers', 2, 'max_workers (main)', 1);
panel_says('Readers that wait for a builder', 0, 'postgres (main)', 1);
panel_says('Time that readers waited', 1, 'postgres (main): longest now', $some);
panel_says('Sections that are not current', 0, 'slow (postgres, main): not current', 1);
$holder->query('SELECT pg_advisory_unlock(42)');
is($reader->result, 'miss', 'the reader has its answer');
$main->set_server('deadlock_timeout', undef, '10ms');
lasting('main:WaitsLong');
$main->set_server('summary_cache.max_workers', undef, '3');
fires('', 'workers come to an end');

# by now every query of the dashboard has something to show
for my $panel (map { $panels{$_} } sort keys %panels)
{
	my @silent = grep { !%{ ask_panel($panel->{title}, $_) } } 0 .. $#{ $panel->{targets} };
	is(join(' ', map { $panel->{targets}[$_]{expr} } @silent), '', "dashboard, $panel->{title}: every query gives a value");
	is(join(' ', map { grep { /no label/ } keys %{ ask_panel($panel->{title}, $_) } } 0 .. $#{ $panel->{targets} }), '', '... with the labels of its legend');
	is(join(' ', grep { $_ ne '${datasource}' } map { $_->{datasource}{uid} } $panel, @{ $panel->{targets} }), '', '... from the source that is chosen');
	like($panel->{description}, qr/\w/, '... and is explained');
}
my @places;
for my $panel (@{ $dashboard->{panels} })
{
	my $at = $panel->{gridPos};
	for my $y ($at->{y} .. $at->{y} + $at->{h} - 1) { $places[$y][$_]++ for $at->{x} .. $at->{x} + $at->{w} - 1; }
}
is(scalar(grep { grep { defined && $_ > 1 } @$_ } @places), 0, 'dashboard: no panel is below another');
is(scalar(grep { @$_ > 24 } @places), 0, '... nor beside the screen');
for my $variable (grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} })
{
	my ($selector, $label) = $variable->{definition} =~ /^label_values\((.+), (\w+)\)$/;
	my $values = ask_prometheus("label/$label/values", 'match[]' => $selector =~ s/\$\w+/.*/gr);
	cmp_ok(scalar @{ $values // [] }, '>', 0, "dashboard, $variable->{label}: there is a choice");
}
my ($annotation) = grep { $_->{expr} } @{ $dashboard->{annotations}{list} };
is(join(' ', sort map { "$_->{metric}{instance}:" . $_->{metric}{alertname} =~ s/^SummaryCache//r } @{ ask_prometheus('query', query => $annotation->{expr})->{result} }),
	join(' ', sort keys %lasting), 'dashboard: alerts are marked');

panel_says('Hit share', 0, '', $most);
panel_says('Stale share', 0, '', sub { $_[0] > 0 && $_[0] < 0.5 });
panel_says('Hit share by summary', 0, 'wasted (postgres, main)', $most);
panel_says('Hit share by summary', 0, 'put_off (postgres, main)', $few);
panel_says('Stale share by summary', 0, 'put_off (postgres, main)', $most);
panel_says('Stale share by summary', 0, 'wasted (postgres, main)', $few);
panel_says('Reads by status', 0, $_, $some) for qw(hit-revision stale miss private);
panel_says('Private reads by cause', 0, 'disabled', $some);
panel_says('Private reads by cause', 0, 'serializable', 0);
panel_says('Builds by cause', 0, $_, $some) for qw(background forced private);
panel_says('Builds that changed nothing', 0, 'wasted (postgres, main)', $most);
panel_says('Build time by summary', 0, 'slow (postgres, main)', $some);
panel_says('Build time of sections', 0, 'sleeps.main (postgres, main)', sub { $_[0] >= 1.5 });
panel_says('Time that readers waited', 0, 'slow (postgres, main): mean', $some);
panel_says('Documents in memory', 0, "fast (postgres, main)", $main->sql(q{SELECT bytes FROM summary_cache_stats WHERE summary = 'fast'}));
panel_says('Documents in memory', 1, 'memory_limit (main)', 1048576);
panel_says('Memory used', 0, '', $few);
panel_says('Age of the oldest section', 0, 'put_off (postgres, main)', $some);
panel_says('Age of the oldest section', 1, 'max_stale_age', 300);
panel_says('Oldest section', 0, '', $some);
panel_says('Tables and sections', 1, 'sections (main)', $main->sql('SELECT count(*) / 32.0 FROM summary_cache_sections') + 0);
panel_says('Standbys', 0, '', 1);
panel_says('Primary or standby', 0, 'main', 0);
panel_says('Primary or standby', 0, 'standby', 1);
panel_says('Answers on standbys', 0, 'standby: hit-revision', $most);
panel_says('Answers on standbys', 0, 'main: hit-revision', undef);
panel_says('Builds on standbys', 0, 'standby: forced', $some);
panel_says('Builds on standbys', 0, 'main: forced', undef);

# a source stays locked, and DDL makes its documents stale all the same
$holder->query('BEGIN; LOCK TABLE locked');
is($main->sql(q{CREATE TABLE unrelated (n int); SELECT DISTINCT status FROM generate_series(1, 8) g, summary_cache_fetch('locked' || g)}),
	'stale', 'documents over a table that is locked');
fires('main:LockedOut main:TableNotProvable standby:TableNotProvable', 'a source stays locked, on the standby as well');
$holder->query('COMMIT');
$main->poll(q{SELECT bool_and(state = 'current') FROM summary_cache_sections WHERE summary LIKE 'locked%'}) or die 'not refreshed';

# a query heeds no cancel; a database lets no worker in; the server has no place for one
$main->set_server('summary_cache.build_timeout', '500ms');
$main->sql(q{UPDATE deaf SET n = 1});
# a cancel that comes before the function has begun to swallow them is heeded; the next try is for who reads
$main->poll(q{SELECT workers_terminated > 0 FROM summary_cache_fetch('deaf'), summary_cache_server}) or die 'no worker is terminated';
$main->sql('UPDATE deaf SET n = 0');
$main->set_server('summary_cache.build_timeout', undef, '5min');
lasting('main:WorkerTerminated');

$main->sql(q{CREATE EXTENSION summary_cache; CREATE TABLE c (n int);
	SELECT summary_cache_define('c', 'main', 'SELECT count(*) AS n FROM c')}, 'elsewhere');
# by itself: what a transaction that has written reads is not kept
$main->sql('SELECT 1 FROM summary_cache_get(\'c\')', 'elsewhere');
my $inside = Session->new($main, 'elsewhere');
$main->no_worker;
$main->sql('ALTER DATABASE elsewhere ALLOW_CONNECTIONS false');
# a reader that has seen a worker fail by then builds, and asks for nothing
wait_until(sub {
	$inside->query($_) for 'INSERT INTO c VALUES (1)', q{SELECT status FROM summary_cache_fetch('c')};
	$main->sql('SELECT workers_failed > 2 FROM summary_cache_server') eq 't';
}) or die 'no worker fails';
$main->sql('ALTER DATABASE elsewhere ALLOW_CONNECTIONS true');
$inside->query('DROP EXTENSION summary_cache');
$inside->quit;
lasting('main:WorkersFailing');

my $setting = $main->sql(q{SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')});
$main->no_worker;
my @sleepers = map { Session->new($main)->send_sql("SET $setting = on; SELECT pg_sleep(1000)") } 1 .. 3;
$main->poll(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'}, '3') or die 'the places are not taken';
$main->sql(q{UPDATE t SET n = n; SELECT status FROM summary_cache_fetch('fast')});
lasting('main:NoPlaceForWorker');
$main->poll(q{SELECT workers_refused > 0 FROM summary_cache_server}) or die 'no worker is refused';
$main->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()");
eval { $_->quit } for @sleepers;
fires('', 'a query that swallows the cancel, a database that refuses connections, no place for a worker');
panel_says('Workers in trouble', $_->[0], "main: $_->[1]", $some) for [ 0, 'no place' ], [ 1, 'failed' ], [ 2, 'terminated' ], [ 3, 'gave way' ];

#
# Tables, sections and failures
#
$main->sql(q{
	ALTER TABLE tasks DISABLE TRIGGER ALL;
	CREATE TABLE sbom_snapshots (id int PRIMARY KEY, snapshot_at timestamptz);
	CREATE INDEX ON sbom_snapshots (snapshot_at);
	CREATE TABLE u AS TABLE t;
	CREATE OR REPLACE VIEW swapped AS SELECT n FROM u;
	SELECT 1 FROM summary_cache_get('swapped', true);
	UPDATE t SET n = 0;
});
$main->psql('postgres', q{SELECT summary_cache_get('fails', true)}) for 1 .. 3;
my $everywhere = 'main:TableNotProvable main:TableNotAttached standby:TableNotProvable standby:TableNotAttached';
fires("$everywhere main:SectionNotProvable main:BuildFailing",
	'a trigger that is disabled, a new table of the hub, a view that reads another table, a query that fails');
panel_says('Builds that failed', 0, 'fails (postgres, main): per second', $some);
panel_says('Builds that failed', 1, 'fails (postgres, main): in a row', sub { $_[0] >= 3 });
panel_says('Sections that are not current', 1, 'swapped (postgres, main): not provable', 1);
$main->set_server('summary_cache.max_stale_age', '5s');
fires("$everywhere main:SectionNotProvable main:BuildFailing main:Expired main:BuildSlow",
	'... for longer than max_stale_age, of which a build takes a good part');
$main->set_server('summary_cache.max_stale_age', undef, '5min');
$main->sql(q{
	ALTER TABLE tasks ENABLE TRIGGER ALL;
	SELECT summary_cache_attach_state_hub();
	SELECT summary_cache_drop('swapped');
	UPDATE t SET n = 1;
	SELECT 1 FROM summary_cache_get('fails', true);
});
fires('', 'all that is put right');

#
# Limits
#
my $tables = $main->sql(q{SELECT count(*) FROM summary_cache_tables});
my $sections = $main->sql(q{SELECT count(*) FROM summary_cache_sections});
$main->sql("CREATE TABLE many_$_ (n int)") for $tables + 1 .. 26;
$main->sql("SELECT summary_cache_define('many', 'section_$_', 'SELECT 1 AS n_$_', '{}')") for $sections + 1 .. 27;
$main->sql(qq{SELECT summary_cache_define('many', 'section_0', 'SELECT 1 AS n',
	ARRAY(SELECT format('many_%s', g)::regclass FROM generate_series($tables + 1, 26) g))});
$main->sql(q{UPDATE big SET n = 3000000; SELECT length(summary_cache_get('big', true)::text)});
lasting('main:NotCached');
$main->sql(q{UPDATE big SET n = 480000; SELECT length(summary_cache_get('big', true)::text)});
fires('main:TablesNearLimit main:SectionsNearLimit main:MemoryNearLimit standby:TablesNearLimit standby:SectionsNearLimit',
	'a document that did not fit, and limits that are near');
$main->sql(q{SELECT summary_cache_define('twin', 'main', 'SELECT repeat(''x'', n) AS x FROM big'); SELECT length(summary_cache_get('twin')::text)});
# what a counter had before Prometheus saw it is no increase
scraped();
$main->sql(q{SELECT length(summary_cache_get('twin')::text); SELECT length(summary_cache_get('big')::text)}) for 1 .. 8;
lasting('main:Evicted');
fires('main:TablesNearLimit main:SectionsNearLimit main:MemoryNearLimit standby:TablesNearLimit standby:SectionsNearLimit',
	'two documents that do not fit beside each other');
panel_says('Evictions', 0, 'twin (postgres, main): document', $some);
panel_says('Evictions', 2, 'big (postgres, main): did not fit', $some);
panel_says('Memory used', 0, '', sub { $_[0] > 0.4 && $_[0] <= 1 });
$main->sql(qq{SELECT summary_cache_drop('many'), summary_cache_drop('big'), summary_cache_drop('twin')});
fires('', 'they are not any more');

#
# One of several exporters
#
$main->sql(q{BEGIN; UPDATE t SET n = n; PREPARE TRANSACTION 'forgotten'});
start_exporter('late', $main, 'postgres');
fires('late:PendingLong', 'a transaction that has been prepared for as long as one looks');
$main->sql(q{ROLLBACK PREPARED 'forgotten'});
fires('', '... until it is finished');
stop_program('late');
lasting('late:NoMetrics');
fires('', 'one of several exporters has gone');
start_exporter('elsewhere', $main, 'elsewhere');
lasting('elsewhere:NoMetrics');
fires('', 'one is connected to a database that has no extension');

#
# Two databases, neither of which has more than may be defined.  Late, since a summary that gives its entry away
# loses its counters.
#
$main->sql('CREATE DATABASE crowd');
$main->sql(q{CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('s' || g, 'main', 'SELECT 1 AS n', '{}') FROM generate_series(1, 32) g}, 'crowd');
$main->sql($read_all, $_) for ('crowd', 'postgres') x 2;
lasting('main:EntriesEvicted');
fires('', 'summaries of one section that push each other out');
panel_says('Evictions', 1, 'main: entries', $some);
$main->sql("CREATE TABLE many_$_ (n int)", 'crowd') for 1 .. 32;
isnt(($main->psql('crowd', q{SELECT summary_cache_define('s1', 'main', 'SELECT 1 AS n',
	ARRAY(SELECT format('many_%s', g)::regclass FROM generate_series(1, 32) g))}))[0], 0, 'more tables than slots');
lasting('main:SlotsRefused');
fires('', '... of which none is left');
$main->sql('DROP DATABASE crowd');

#
# The server and the extension
#
$holder->quit;
$reader->quit;
$main->append_conf('postgresql.conf', 'max_worker_processes = 0');
$main->restart;
fires('main:LauncherMissing', 'no place for the launcher');
$main->append_conf('postgresql.conf', "max_worker_processes = 5\nshared_preload_libraries = ''");
$main->restart;
delete $lasting{'elsewhere:NoMetrics'};
fires('main:NotPreloaded elsewhere:NotPreloaded main:TableNotProvable', 'the library is not preloaded');
$main->append_conf('postgresql.conf', "shared_preload_libraries = 'summary_cache'");
$main->restart;
lasting('elsewhere:NoMetrics');
fires('', 'preloaded again');

# A change that the standby replays, and that exporters see when they connect.
sub change_both
{
	my ($change) = @_;

	$main->sql($change);
	$main->wait_for_catchup($standby);
	$_->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'exporter'}) for $main, $standby;
	return;
}

for my $case (
	[ 'SQL objects of another version', q{UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'summary_cache'},
		q{UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'summary_cache'} ],
	[ 'a schema that is not in the search path', q{ALTER ROLE exporter SET search_path = 'pg_catalog'}, q{ALTER ROLE exporter SET search_path = 'public'} ],
	[ 'a role that is no member of pg_monitor', 'REVOKE pg_monitor FROM exporter', 'GRANT pg_monitor TO exporter' ],
	[ 'no extension', 'DROP EXTENSION summary_cache' ])
{
	my ($name, $change, $back) = @$case;

	change_both($change);
	fires('main:NoMetrics standby:NoMetrics', "no metrics: $name");
	next if !$back;
	change_both($back);
	fires('', '... and again');
}

is(join(' ', grep { !$fired{$_} } sort keys %alerts), '', 'every alert has fired');
stop_program($_) for sort keys %programs;
$_->stop for $standby, $main;
done_testing();
