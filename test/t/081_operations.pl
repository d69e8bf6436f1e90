# Proves that each query of doc/operations.md runs, that each alert there fires when it should and not in health, and that the exporter's queries give what they declare.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use HTTP::Tiny;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $page = slurp_file("$top/doc/operations.md");
my $queries_file = "$top/doc/examples/postgres_exporter.yaml";
my $rules_file = "$top/doc/examples/alerts.yaml";

#
# The files.  The readers know only the part of YAML that is used, and die of anything else.
#
sub read_queries
{
	my (%queries, $query, $metric, $in);

	for (split /\n/, slurp_file($queries_file))
	{
		next if /^#/ || /^$/;
		if (/^(summary_cache_\w+):$/)
		{
			die "$1 twice" if $queries{$1};
			$query = $queries{$1} = { sql => '', columns => [] };
			$in = '';
		}
		elsif (/^  query: \|$/) { $in = 'query'; }
		elsif (/^  metrics:$/) { $in = 'metrics'; }
		elsif ($in eq 'query' && /^    (.+)$/) { $query->{sql} .= "$1\n"; }
		elsif ($in eq 'metrics' && /^    - (\w+):$/) { push @{ $query->{columns} }, $metric = { name => $1 }; }
		elsif ($in eq 'metrics' && /^        (usage|description): "([^"\\]+)"$/) { $metric->{$1} = $2; }
		else { die "$queries_file: $_"; }
	}
	return \%queries;
}

sub read_rules
{
	my (@rules, $rule, $in);

	for (split /\n/, slurp_file($rules_file))
	{
		next if /^#/ || /^$/ || /^groups:$/ || /^  - name: summary_cache$/ || /^    rules:$/;
		if (/^      - alert: (\w+)$/) { push @rules, $rule = { name => $1, expr => '' }; $in = ''; }
		elsif (/^        expr: \|$/) { $in = 'expr'; }
		elsif (/^        expr: (.+)$/) { $rule->{expr} = $1; }
		elsif (/^        for: (\w+)$/) { $rule->{for} = $1; $in = ''; }
		elsif (/^        (?:labels|annotations):$/) { $in = ''; }
		elsif ($in eq 'expr' && /^          (.+)$/) { $rule->{expr} .= "$1\n"; }
		elsif (/^          (severity): (\w+)$/ || /^          (summary|description|runbook): "(.+)"$/) { $rule->{$1} = $2; }
		else { die "$rules_file: $_"; }
	}
	return \@rules;
}

sub squeezed { return join ' ', split ' ', $_[0]; }

my $queries = read_queries();
my $rules = read_rules();

# The alerts as the page has them.
my %alerts;
my @alerts;
while ($page =~ /^### (SummaryCache\w+)\n\n(\w+), for (\w+)\. [^\n]+\n\n```sql\n(.*?);\n```\n\n```promql\n(.*?)```/msg)
{
	push @alerts, $1;
	$alerts{$1} = { severity => lc $2, for => $3, sql => $4, expr => $5 };
}
is(scalar @alerts, () = $page =~ /^### SummaryCache/mg, 'each alert of the page has its condition in SQL and in PromQL');
is("@alerts", join(' ', map { $_->{name} } @$rules), 'the page and alerts.yaml have the same alerts');
for my $rule (@$rules)
{
	my $alert = $alerts{ $rule->{name} } // {};

	is(squeezed($rule->{expr}), squeezed($alert->{expr} // ''), "$rule->{name}: one expression");
	is("$rule->{severity} $rule->{for}", ($alert->{severity} // '') . ' ' . ($alert->{for} // ''), '... one severity and time');
	is($rule->{runbook}, 'doc/operations.md#' . lc $rule->{name}, '... and its place on the page');
	like($rule->{$_} // '', qr/\w+ \w+/, "... with a $_") for qw(summary description);
}

# Each metric that a rule asks for is there, with the labels it asks for.
my %metrics;
for my $namespace (sort keys %$queries)
{
	my @labels = map { $_->{name} } grep { $_->{usage} eq 'LABEL' } @{ $queries->{$namespace}{columns} };

	$metrics{"${namespace}_$_->{name}"} = { map { $_ => 1 } @labels, qw(server instance) }
		for grep { $_->{usage} ne 'LABEL' } @{ $queries->{$namespace}{columns} };
}
for my $rule (@$rules)
{
	my @used = $rule->{expr} =~ /(summary_cache_\w+)/g;
	my @labels = ($rule->{summary} . $rule->{description}) =~ /\$labels\.(\w+)/g;

	ok(@used > 0, "$rule->{name} asks for metrics");
	is(join(' ', grep { !$metrics{$_} } @used), '', '... that there are');
	for my $metric (grep { $metrics{$_} } $used[0])
	{
		is(join(' ', grep { !$metrics{$metric}{$_} } @labels), '', '... with the labels that its texts name');
	}
	while ($rule->{expr} =~ /(summary_cache_\w+)\{(\w+)!?=/g)
	{
		ok($metrics{$1}{$2}, "... with label $2");
	}
}

# What the metrics are in health, by the minute; and what makes each alert fire.
my %health = (
	(map { ("summary_cache_server_$_->[0]" => $_->[1]) } [ preloaded => '1' ], [ enabled => '1' ], [ in_recovery => '0' ],
		[ max_workers => '3' ], [ memory_limit_bytes => '1000000' ], [ max_tables => '32' ], [ max_sections => '16' ],
		[ max_stale_age_seconds => '300' ], [ waiting_seconds_max => '0' ]),
	(map { ("summary_cache_launcher_$_->[0]" => $_->[1]) } [ running => '1' ], [ oldest_request_age_seconds => '1' ],
		[ workers_refused_total => '0' ], [ workers_failed_total => '0' ], [ workers_terminated_total => '0' ],
		[ summaries_evicted_total => '0' ], [ slots_refused_total => '0' ],
		[ builds_gave_way_total => '0+1' ]),
	(map { ("summary_cache_document_$_->[0]" => $_->[1]) } [ consecutive_failures => '0' ], [ refresh_requested => '0' ],
		[ bytes => '1000' ], [ parameterized_bytes => '0' ], [ not_cached_builds_total => '0' ], [ evictions_total => '0' ], [ wasted_builds_total => '0' ],
		[ waits_total => '0+1' ], [ wait_seconds_total => '0+0.1' ]),
	(map { ("summary_cache_section_$_->[0]" => $_->[1]) } [ age_seconds => '10' ], [ build_seconds => '1' ],
		[ bytes => '1000' ], [ unprovable => '0' ]),
	(map { ("summary_cache_table_$_->[0]" => $_->[1]) } [ provable => '1' ], [ used => '1' ], [ pending => '0' ]),
	'summary_cache_reads_total{status="hit-revision"}' => '0+100',
	(map { (qq(summary_cache_reads_total{status="$_"}) => '0') } qw(stale miss private)),
	'summary_cache_private_reads_total{cause="writing"}' => '0',
	'summary_cache_builds_total{cause="background"}' => '0+10');
my %ill = (
	NoMetrics => { map { $_ => undef } keys %health },
	NotPreloaded => { summary_cache_server_preloaded => '0', summary_cache_server_enabled => '0' },
	Disabled => { summary_cache_server_enabled => '0' },
	BuildFailing => { summary_cache_document_consecutive_failures => '3' },
	Expired => { summary_cache_document_consecutive_failures => '1', summary_cache_section_age_seconds => '301' },
	TableNotProvable => { summary_cache_table_provable => '0' },
	TableNotAttached => { summary_cache_table_provable => '0', summary_cache_table_used => '0' },
	SectionNotProvable => { summary_cache_section_unprovable => '1' },
	NotCached => { summary_cache_document_not_cached_builds_total => '0+1' },
	MemoryNearLimit => { summary_cache_document_bytes => '300000', summary_cache_document_parameterized_bytes => '310000' },
	Evicted => { summary_cache_document_evictions_total => '0+1' },
	EntriesEvicted => { summary_cache_launcher_summaries_evicted_total => '0+1' },
	SlotsRefused => { summary_cache_launcher_slots_refused_total => '0+1' },
	TablesNearLimit => { summary_cache_server_max_tables => '3' },
	SectionsNearLimit => { summary_cache_server_max_sections => '1' },
	LauncherMissing => { summary_cache_launcher_running => '0' },
	RequestsWaiting => { summary_cache_launcher_oldest_request_age_seconds => '11' },
	NoPlaceForWorker => { summary_cache_launcher_workers_refused_total => '0+1' },
	WorkersFailing => { summary_cache_launcher_workers_failed_total => '0+1' },
	WorkerTerminated => { summary_cache_launcher_workers_terminated_total => '0+1' },
	LockedOut => { summary_cache_document_refresh_requested => '1', 'summary_cache_builds_total{cause="background"}' => '0',
		summary_cache_launcher_builds_gave_way_total => '0+10' },
	PrivateShare => { 'summary_cache_private_reads_total{cause="writing"}' => '0+30',
		'summary_cache_reads_total{status="private"}' => '0+30' },
	MissShare => { 'summary_cache_reads_total{status="miss"}' => '0+30' },
	StaleShare => { 'summary_cache_reads_total{status="stale"}' => '0+110' },
	BuildsWasted => { summary_cache_document_wasted_builds_total => '0+6' },
	BuildSlow => { summary_cache_section_build_seconds => '61' },
	ReadersWaiting => { summary_cache_server_waiting_seconds_max => '6' },
	WaitsLong => { summary_cache_document_wait_seconds_total => '0+1.1' },
	PendingLong => { summary_cache_table_pending => '1' });

# What looks ill and is not.
my %well = (
	'refreshes that are put off' => { summary_cache_document_refresh_requested => '1' },
	'no workers are wanted' => { summary_cache_launcher_oldest_request_age_seconds => '1000', summary_cache_server_max_workers => '0' },
	'locked, but not all the time' => { %{ $ill{LockedOut} }, summary_cache_launcher_builds_gave_way_total => '0+2' },
	'locked, and built all the same' => { %{ $ill{LockedOut} }, 'summary_cache_builds_total{cause="background"}' => '0+1' },
	map { ("$_ on a standby" => { %{ $ill{$_} }, summary_cache_server_in_recovery => '1' }) } qw(StaleShare BuildsWasted));

sub rule_test
{
	my ($name, $changed, @expected) = @_;
	my %series = (%health, %$changed);
	my $test = "  - name: $name\n    interval: 1m\n    input_series:\n";

	for my $key (grep { defined $series{$_} } sort keys %series)
	{
		my ($metric, $label) = $key =~ /^(\w+)(?:\{(.*)\})?$/ or die $key;
		my %labels = map { $_ => 1 } keys %{ $metrics{$metric} // die $metric };
		my $values = $series{$key} =~ /\+/ ? "$series{$key}x240" : "$series{$key}+0x240";

		delete $labels{$1} if $label && $label =~ /^(\w+)=/;
		$test .= "      - series: '$metric\{" . join(',', $label // (), map { qq($_="a") } sort keys %labels) . "}'\n"
			. "        values: '$values'\n";
	}
	$test .= "    promql_expr_test:\n      - expr: count by (alertname) (ALERTS{alertstate=\"firing\"})\n        eval_time: 3h\n        exp_samples:\n";
	$test .= "          - labels: '{alertname=\"SummaryCache$_\"}'\n            value: 1\n" for @expected;
	$test =~ s/exp_samples:\n$/exp_samples: []\n/;
	return $test;
}

is(join(' ', sort map { "SummaryCache$_" } keys %ill), join(' ', sort @alerts), 'each alert has its metrics');
SKIP:
{
	skip 'promtool is not installed', 2 if system('promtool --version >/dev/null 2>&1') != 0;

	my $file = PostgreSQL::Test::Utils::tempdir() . '/rules_test.yaml';
	append_to_file($file, "rule_files:\n  - '$rules_file'\nevaluation_interval: 1m\ntests:\n"
			. join('', rule_test('health', {}), (map { rule_test($_, $well{$_}) } sort keys %well),
				map { rule_test($_, $ill{$_}, $_) } sort keys %ill));
	command_ok([ 'promtool', 'check', 'rules', $rules_file ], 'promtool takes the rules');
	command_ok([ 'promtool', 'test', 'rules', $file ], '... none of which fires in health, and each alone when it should');
}

#
# A server with a hub.  One table of the hub comes later.
#
my $node = Node->new('main');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	max_prepared_transactions = 5
	max_worker_processes = 16
	summary_cache.memory_limit = 1MB
	summary_cache.max_tables = 32
	summary_cache.max_sections = 16
	summary_cache.worker_idle_timeout = 500ms
});
$node->start;

# A name that waits: a build stays there while somebody holds advisory lock 42.
my $gate = q{pg_advisory_xact_lock_shared(42)::text AS gate};
my $at_gate = anybody_at_gate(42);

$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$top/test/hub/schema.sql" ], 'a hub');
$node->sql(q{
	DROP TABLE sbom_snapshots;
	INSERT INTO domains VALUES (1, 'domain');
	INSERT INTO topics VALUES (1, 1, 'topic');
	INSERT INTO workplans VALUES (1, 1, 'workplan');
	INSERT INTO tasks SELECT g, 1, 'task' FROM generate_series(1, 100) g;
	INSERT INTO progress_events (topic_id, author, summary) SELECT 1, 'a', 'b' FROM generate_series(1, 30);
	CREATE EXTENSION summary_cache SCHEMA public;
});

#
# Every block of the page, in its order.  Those that change something say what puts it back, and what
# shows that they did.
#
my %changes = (
	'CREATE ROLE exporter' => [],    # goes on being used
	'ALTER ROLE web SET' => [],
	q{SELECT summary_cache_configure('shop', 'readers'} => [],    # looked at below
	'SELECT summary_cache_allow' => [],
	'CREATE FUNCTION api.shop()' => [],
	'ALTER SYSTEM SET summary_cache.enabled = off' => [
		q{SELECT status FROM summary_cache_fetch()}, 'private',
		q{ALTER SYSTEM RESET summary_cache.enabled; SELECT pg_reload_conf()} ],
);
my @blocks = $page =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>', 30, 'the page has blocks of SQL');
is(scalar @blocks, () = $page =~ /^```sql/mg, '... all of which are found');

# Those that say on which of several servers they run are for a test that has several.
@blocks = grep { !/^-- on the / } @blocks;

# A role of the application, of which the page speaks; the one that watches is created by the page.
$node->sql(q{
	SET client_min_messages = warning;
	CREATE ROLE web;
	CREATE ROLE app;
	CREATE ROLE reporting;
	CREATE ROLE shop_owner;
	CREATE SCHEMA api;
	GRANT USAGE ON SCHEMA api TO web;
	SELECT summary_cache_define(s, 'core', format('SELECT %L AS is', s), '{}') FROM unnest('{shop, payroll}'::text[]) s});
@blocks = sort { ($b =~ /^CREATE ROLE/) <=> ($a =~ /^CREATE ROLE/) } @blocks;
$node->sql(q{SELECT summary_cache_get('state')});
for my $block (@blocks)
{
	my ($change) = grep { index($block, $_) == 0 } sort keys %changes;
	my $name = squeezed(substr($block, 0, 60));
	my ($ret, $out, $err) = $node->psql('postgres', $block, extra_params => $change ? [] : [ '-U', 'exporter' ], on_error_stop => 1);

	$err =~ s/^.*NOTICE:  role ".*\nDETAIL: .*\nHINT: .*$//m;
	ok($ret == 0 && $err !~ /\S/, ($change ? 'as superuser: ' : 'as exporter: ') . $name) or diag("$block\n$err");
	next if !$change;
	my ($query, $expected, $back) = @{ delete $changes{$change} };
	next if !$query;
	ok($node->poll_query_until('postgres', $query, $expected), '... which does it');
	$node->sql($back);
	ok($node->poll_query_until('postgres', $query, 'hit-revision'), '... and is put back');
}
is(join(' ', keys %changes), '', 'the page still has the blocks that change something');
is($node->sql(q{SELECT pg_has_role('exporter', 'pg_monitor', 'usage') AND
	(SELECT count(*) FROM pg_auth_members WHERE member = 'exporter'::regrole) = 1 AND
	NOT (SELECT rolsuper FROM pg_roles WHERE rolname = 'exporter')}), 't', 'the exporter has nothing but pg_monitor');

# An application's owner
is($node->sql(q{
	SET client_min_messages = error;
	GRANT CREATE ON SCHEMA public TO shop_owner;
	SET ROLE shop_owner;
	CREATE FUNCTION shop_f() RETURNS int LANGUAGE sql AS 'SELECT 1';
	REVOKE EXECUTE ON FUNCTION shop_f FROM PUBLIC;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO web;
	SELECT has_function_privilege('web', 'shop_f()', 'EXECUTE')}), 't', q{the application's owner grants on all that is its own});

# Who may read, and the function that reads for others
is($node->sql(q{SELECT string_agg(concat_ws(' ', summary, role), ', ' ORDER BY summary, role::text)
	FROM summary_cache.option LEFT JOIN summary_cache.reader USING (summary) WHERE option = 'readers'}),
	'payroll, shop app, shop reporting', 'two summaries are closed');
is($node->sql(q{GRANT EXECUTE ON FUNCTION summary_cache_get TO PUBLIC; SET ROLE app; SELECT summary_cache_get('shop')->>'is'}), 'shop', 'a reader reads');
is($node->sql(q{SET ROLE web; SELECT api.shop()->>'is'}), 'shop', 'the function reads for a role without rights');
like(($node->psql('postgres', qq{SET ROLE web; SELECT summary_cache_get('$_')}))[2], qr/is not defined/, "... which does not read $_ itself")
	for qw(shop payroll);
like(($node->psql('postgres', 'SET ROLE app; SELECT api.shop()'))[2], qr/permission denied/, '... nor may all call it');
$node->sql(q{
	SET client_min_messages = warning;
	REVOKE EXECUTE ON FUNCTION summary_cache_get FROM PUBLIC;
	DROP SCHEMA api CASCADE;
	SELECT summary_cache_drop(s) FROM unnest('{shop, payroll}'::text[]) s});

# Commands within the text, with its names put in.  The last one ends the test.
my %inline = map { $_ => 1 } $page =~ /`((?:SELECT|ALTER|DROP)[^`]*;)`/g;
ok(delete $inline{'DROP EXTENSION summary_cache;'}, 'the page says how to uninstall');
for my $command (sort keys %inline)
{
	(my $run = $command) =~ s/'schema'/'public'/;
	my ($ret, $out, $err) = $node->psql('postgres', "SET client_min_messages = warning; $run");
	ok($ret == 0 && $err eq '', "in the text: $command") or diag($err);
}

#
# The exporter's queries
#
# Let every reading of the database end as a hit: what it asked for before is done.
sub settled
{
	$node->hit($_) or die "$_ never a hit" for split /\n/, $node->sql('SELECT DISTINCT summary FROM summary_cache_stats');
	$node->quiet;
	return;
}

my %seen;
for my $namespace (sort keys %$queries)
{
	my $query = $queries->{$namespace};
	my %declared = map { $_->{name} => $_ } @{ $query->{columns} };
	my ($ret, $out, $err) = $node->psql('postgres', "$query->{sql}\\gdesc", extra_params => [ '-U', 'exporter' ]);
	my %columns = map { split /\|/ } split /\n/, $out;

	is($ret, 0, "$namespace: its query is one") or diag($err);
	is(join(' ', sort keys %columns), join(' ', sort keys %declared), '... whose columns are those declared');
	is(scalar keys %declared, scalar @{ $query->{columns} }, '... each once');
	for my $column (sort keys %declared)
	{
		my ($usage, $type) = ($declared{$column}{usage}, $columns{$column} // '');

		like($usage, qr/^(?:LABEL|COUNTER|GAUGE)$/, "$namespace.$column has a usage");
		like($type, $usage eq 'LABEL' ? qr/^(?:name|text)$/ : qr/^(?:bigint|integer|double precision)$/, '... a type for it');
		like($declared{$column}{description} // '', qr/^[A-Z].*[^.]$/, '... and a description');
		is($column =~ /_?total$/ ? 1 : 0, $usage eq 'COUNTER' ? 1 : 0, '... counters, and no others, are totals');
		unlike($column, qr/_ms(?:_|$)|_kb(?:_|$)|milli/, '... in base units');
	}
	ok($declared{datname}, '... with the database, since an exporter may see several');
	$seen{$_} = 1 for $query->{sql} =~ /(\w+)/g;
}

# What the views have and the exporter does not is so on purpose.
my %omitted = map { $_ => 1 } qw(fingerprint last_error last_error_sqlstate owner reason built_at sources parts parameters keyed);
my @columns = split /\n/, $node->sql(q{SELECT attname FROM pg_attribute WHERE attnum > 0 AND attrelid IN
	('summary_cache_stats'::regclass, 'summary_cache_sections'::regclass, 'summary_cache_tables'::regclass,
	'summary_cache_server'::regclass)});
is(join(' ', grep { !$seen{$_} && !$omitted{$_} } @columns), '', 'each column of the views is exported');

# Prometheus refuses two values of one name and the same labels.
sub sample
{
	my (%values, %counters);

	for my $namespace (sort keys %$queries)
	{
		my $query = $queries->{$namespace};
		my @labels = sort map { $_->{name} } grep { $_->{usage} eq 'LABEL' } @{ $query->{columns} };
		my @rest = grep { $_->{usage} ne 'LABEL' } @{ $query->{columns} };
		my $labels = join " || ',' || ", map { "'$_=' || $_" } @labels;

		for my $column (@rest)
		{
			my ($ret, $out, $err) = $node->psql('postgres',
				"SELECT '{' || $labels || '}', $column->{name} FROM (\n$query->{sql}) q", extra_params => [ '-U', 'exporter' ]);
			die $err if $ret != 0;
			for (split /\n/, $out)
			{
				my ($label, $value) = split /\|/, $_, -1;
				my $key = "${namespace}_$column->{name}$label";

				die "$key twice" if exists $values{$key};
				die "$key is null" if $value eq '' && $column->{usage} eq 'COUNTER';
				$values{$key} = $value;
				$counters{$key} = 1 if $column->{usage} eq 'COUNTER';
			}
		}
	}
	return (\%values, \%counters);
}

# Reads of every status and cause, builds that fail, are wasted, or are not kept.
my $activity = q{
	SELECT summary_cache_get('state'), summary_cache_get('state', true);
	SELECT summary_cache_invalidate('state'); SELECT summary_cache_get('state');
	SELECT summary_cache_invalidate('state', 'progress'); SELECT summary_cache_get('state');
	BEGIN; INSERT INTO progress_events (author, summary) VALUES ('a', 'b'); SELECT summary_cache_get('state'); COMMIT;
	BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT summary_cache_get('state'); COMMIT;
	BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT summary_cache_get('state', true); COMMIT;
	CREATE TABLE IF NOT EXISTS elsewhere (n int);
	BEGIN; LOCK TABLE tasks IN SHARE MODE; SELECT summary_cache_get('state', true); COMMIT;
	SET summary_cache.enabled = off; SELECT summary_cache_get('state'); RESET summary_cache.enabled;
	SET summary_cache.read_your_writes = off; UPDATE tasks SET title = title || 'x' WHERE id = 1; SELECT summary_cache_get('state');
};
$node->sql(q{
	CREATE TABLE f (n int);
	INSERT INTO f VALUES (0);
	SELECT summary_cache_define('f', 'main', 'SELECT 100 / n AS q, repeat(''x'', CASE WHEN n = 2 THEN 3000000 END) AS x FROM f', run_query => false);
});
$node->psql('postgres', q{SELECT summary_cache_get('f')});
$node->psql('postgres', q{UPDATE f SET n = 2; SELECT summary_cache_get('f'); UPDATE f SET n = 1});
$node->sql($activity);
settled();
# a different number of each kind, so that one is not taken for another
$node->sql(join '',
	q{SELECT summary_cache_get('state');} x 200,
	q{SELECT summary_cache_get('state', true);} x 40,
	q{SELECT summary_cache_invalidate('state'); SELECT summary_cache_get('state');} x 20,
	q{SELECT summary_cache_invalidate('state', 'progress'); SELECT summary_cache_get('state');} x 30,
	q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT summary_cache_get('state'); COMMIT;} x 15,
	q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT summary_cache_get('state', true); COMMIT;} x 17,
	q{BEGIN; LOCK TABLE tasks IN SHARE MODE; SELECT summary_cache_get('state', true); COMMIT;} x 19,
	q{SET summary_cache.enabled = off;}, q{SELECT summary_cache_get('state');} x 21, q{RESET summary_cache.enabled;});
my ($before, $counters) = sample();
cmp_ok(scalar keys %$counters, '>', 50, 'there are counters');
for my $moved (
	(map { "summary_cache_reads_total{datname=postgres,status=$_,summary=state}" } qw(hit-revision progress-section stale miss private)),
	(map { "summary_cache_builds_total{cause=$_,datname=postgres,summary=state}" } qw(miss forced inline background private)),
	(map { "summary_cache_private_reads_total{cause=$_,datname=postgres,summary=state}" } qw(disabled writing serializable repeatable_read may_not_publish)),
	(map { "summary_cache_document_${_}_total{datname=postgres,summary=f}" } qw(failed_builds not_cached_builds)),
	'summary_cache_document_wasted_builds_total{datname=postgres,summary=state}',
	'summary_cache_document_build_seconds_total{datname=postgres,summary=state}',
	'summary_cache_table_changes_total{datname=postgres,source=public.tasks}')
{
	cmp_ok($before->{$moved} // 0, '>', 0, "$moved counts");
}
# each is the number that its name says
is($before->{$_->[0]}, $node->sql("SELECT $_->[1] FROM summary_cache_stats WHERE summary = 'state'"), "$_->[1] is exported under its name")
	for (map { [ "summary_cache_reads_total{datname=postgres,status=$_->[0],summary=state}", $_->[1] ] }
		[ 'progress-section', 'progress_sections' ], [ 'stale', 'stale' ], [ 'miss', 'misses' ], [ 'private', 'private' ]),
	(map { [ "summary_cache_builds_total{cause=$_,datname=postgres,summary=state}", "builds_$_" ] } qw(miss forced inline background private)),
	(map { [ "summary_cache_private_reads_total{cause=$_,datname=postgres,summary=state}", "private_$_" ] }
		qw(disabled writing serializable repeatable_read may_not_publish)),
	[ 'summary_cache_document_bytes{datname=postgres,summary=state}', 'bytes' ],
	[ 'summary_cache_document_parameterized{datname=postgres,summary=state}', 'documents' ],
	[ 'summary_cache_document_parameterized_bytes{datname=postgres,summary=state}', 'document_bytes' ],
	[ 'summary_cache_document_wasted_builds_total{datname=postgres,summary=state}', 'builds_wasted' ],
	[ 'summary_cache_document_waits_total{datname=postgres,summary=state}', 'waits' ],
	[ 'summary_cache_document_build_seconds_total{datname=postgres,summary=state}', 'build_ms_total / 1000' ],
	[ 'summary_cache_document_build_seconds_max{datname=postgres,summary=state}', 'build_ms_max / 1000' ];
is($before->{'summary_cache_server_memory_limit_bytes{datname=postgres}'}, 1024 * 1024, 'the limit is in bytes');
is($before->{'summary_cache_server_max_stale_age_seconds{datname=postgres}'}, 300, '... the age in seconds');

for my $round (1 .. 3)
{
	$node->sql($activity);
	settled();
	my ($after) = sample();
	my @moved = grep { $after->{$_} > $before->{$_} } sort keys %$counters;
	my @down = grep { !exists $after->{$_} || $after->{$_} < $before->{$_} } sort keys %$counters;

	cmp_ok(scalar @moved, '>', 15, "round $round: counters have moved");
	is("@down", '', '... and none went down');
	$before = $after;
}

SKIP:
{
	my ($exporter) = grep { system("$_ --version >/dev/null 2>&1") == 0 } qw(prometheus-postgres-exporter postgres_exporter);
	skip 'postgres_exporter is not installed', 1 if !$exporter;

	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $log = "$PostgreSQL::Test::Utils::log_path/081_operations_exporter.log";
	local $ENV{DATA_SOURCE_NAME} = 'user=exporter dbname=postgres sslmode=disable host=' . $node->host . ' port=' . $node->port;
	my $process = IPC::Run::start([ $exporter, '--disable-default-metrics', '--disable-settings-metrics',
			"--extend.query-path=$queries_file", "--web.listen-address=127.0.0.1:$port" ], '<', \undef, '>', $log, '2>&1');
	my $answer;
	wait_until(sub { $answer = HTTP::Tiny->new->get("http://127.0.0.1:$port/metrics"); $answer->{success} });
	$process->kill_kill;
	like($answer->{content}, qr/^pg_exporter_user_queries_load_error\{.*\} 0$/m, 'the exporter takes the queries');
	like($answer->{content}, qr/^pg_exporter_last_scrape_error 0$/m, '... and has no error with them');
	is(join(' ', grep { $answer->{content} !~ /^\Q$_\E\{.*\} \S+$/m } sort keys %metrics), '', '... and has every metric');
}

#
# The alerts: each situation, and that no other alert fires in it
#
sub firing
{
	my @firing = split /\n/, $node->safe_psql('postgres',
		join(";\n", map { "SELECT '$_' WHERE EXISTS (\n$alerts{$_}{sql}\n)" } @alerts), extra_params => [ '-U', 'exporter' ]);
	s/^SummaryCache// for @firing;
	return join ' ', @firing;
}

my %fired;

sub fires
{
	my ($expected, $name) = @_;
	my $is;

	wait_until(sub { ($is = firing()) eq $expected });
	is($is, $expected, $expected ? "$name: $expected" : "$name: none fires");
	$fired{"SummaryCache$_"} = 1 for split ' ', $is;
	return;
}

sub healthy
{
	my ($name) = @_;

	settled();
	$node->sql('SELECT summary_cache_reset_stats()');
	fires('', $name);
	return;
}

$node->sql(q{SELECT summary_cache_drop('f')});
healthy('health');

# tables and sections
$node->sql('ALTER TABLE tasks DISABLE TRIGGER ALL');
fires('TableNotProvable', 'a disabled trigger');
$node->poll_query_until('postgres', q{SELECT state = 'unprovable' FROM summary_cache_fetch(), summary_cache_sections
	WHERE summary = 'state' AND section = 'core'}) or die;
fires('TableNotProvable SectionNotProvable', '... once it was built so');
$node->sql('ALTER TABLE tasks ENABLE TRIGGER ALL');
healthy('enabled again');

$node->sql('CREATE TABLE sbom_snapshots (id int PRIMARY KEY, snapshot_at timestamptz); CREATE INDEX ON sbom_snapshots (snapshot_at)');
fires('TableNotAttached', 'a new table of the hub');
$node->sql('SELECT summary_cache_attach_state_hub()');
healthy('attached');

$node->sql(q{
	CREATE TABLE old (n int);
	INSERT INTO old VALUES (1);
	CREATE VIEW swapped AS SELECT n FROM old;
	SELECT summary_cache_define('swapped', 'main', 'SELECT n FROM swapped');
	SELECT summary_cache_get('swapped');
	CREATE TABLE new (n int);
	INSERT INTO new VALUES (2);
	CREATE OR REPLACE VIEW swapped AS SELECT n FROM new;
});
$node->poll_query_until('postgres', q{SELECT document->>'n' FROM summary_cache_fetch('swapped')}, '2') or die;
fires('SectionNotProvable', 'a view that comes to read another table');
$node->sql(q{SELECT summary_cache_define('swapped', 'main', 'SELECT n FROM swapped')});
$node->sql(q{SELECT summary_cache_get('swapped')});
healthy('defined again');
$node->sql(q{SELECT summary_cache_drop('swapped')});

$node->sql(q{BEGIN; UPDATE tasks SET title = 'x' WHERE id = 1; PREPARE TRANSACTION 'forgotten'});
fires('PendingLong', 'a prepared transaction');
$node->sql(q{ROLLBACK PREPARED 'forgotten'});
healthy('rolled back');

# failing
$node->sql(q{
	UPDATE f SET n = 1;
	SELECT summary_cache_define('fails', 'main', 'SELECT 100 / n AS q FROM f');
	SELECT summary_cache_get('fails');
});
$node->sql('UPDATE f SET n = 0');
for my $time (1 .. 3)
{
	fires('', "before failure $time");
	$node->psql('postgres', q{SELECT summary_cache_get('fails', true)});
}
fires('BuildFailing', 'three failures');
$node->set_server('summary_cache.max_stale_age', '5s');
is($node->sql(q{SELECT status FROM summary_cache_fetch('fails')}), 'stale', 'it is served all the same');
fires('BuildFailing Expired', 'a document that is too old and cannot be rebuilt');
is($node->sql(q{SELECT status FROM summary_cache_fetch('fails')}), 'stale', '... is served since stale_if_error says so');
$node->set_server('summary_cache.max_stale_age', undef, '5min');
fires('BuildFailing', 'a greater max_stale_age');
$node->sql('UPDATE f SET n = 1');
$node->sql(q{SELECT summary_cache_get('fails', true)});
healthy('mended');
$node->sql(q{SELECT summary_cache_drop('fails')});

# limits
$node->sql(q{
	CREATE TABLE big (n int);
	INSERT INTO big VALUES (3000000);
	SELECT summary_cache_define('big', 'main', $$SELECT repeat('x', n) AS d FROM big$$);
});
$node->sql(q{SELECT length(summary_cache_get('big')::text)});
fires('NotCached', 'a document that does not fit');
$node->sql('UPDATE big SET n = 400000');
$node->sql(q{SELECT length(summary_cache_get('big')::text)});
healthy('a smaller one');
$node->sql('UPDATE big SET n = 480000');
$node->sql(q{SELECT length(summary_cache_get('big')::text)});
$node->hit('big');
$node->sql('SELECT summary_cache_reset_stats()');
fires('MemoryNearLimit', 'one that fits once, but hardly twice');
$node->sql(q{SELECT summary_cache_drop('big')});
healthy('without it');

$node->sql(qq{
	CREATE TABLE large_$_ (n int);
	INSERT INTO large_$_ VALUES (600000);
	SELECT summary_cache_define('large_$_', 'main', 'SELECT repeat(''x'', n) AS d FROM large_$_');
}) for 1, 2;
for my $n (1 .. 7)
{
	$node->sql("SELECT length(summary_cache_get('large_$_')::text)") for 1, 2;
}
fires('MemoryNearLimit Evicted', 'two that push each other out');
$node->sql("SELECT summary_cache_drop('large_$_')") for 1, 2;
healthy('without them');

my $tables = $node->sql(q{SELECT count(*) FROM summary_cache_tables});
$node->sql("CREATE TABLE many_$_ (n int)") for $tables + 1 .. 24;
sub define_many { $node->sql("SELECT summary_cache_define('many', 'main', 'SELECT 1 AS n', ARRAY(SELECT format('many_%s', g)::regclass FROM generate_series($tables + 1, $_[0]) g))"); return; }
define_many(23);
healthy('25 tables of 32, with the two that every database needs');
define_many(24);
settled();
fires('TablesNearLimit', '26');
$node->sql(q{SELECT summary_cache_drop('many')});
healthy('without them');

$node->sql("SELECT summary_cache_define('many', 'section_$_', 'SELECT $_ AS n_$_', '{}')") for 3 .. 12;
healthy('12 sections of 16');
$node->sql("SELECT summary_cache_define('many', 'section_13', 'SELECT 13 AS n_13', '{}')");
settled();
fires('SectionsNearLimit', '13');
$node->sql(q{SELECT summary_cache_drop('many')});
healthy('without them');

# how reads are answered, over more than a hundred
$node->set_server('summary_cache.enabled', 'off');
fires('Disabled', 'switched off');
$node->sql('DO $$ BEGIN FOR i IN 1 .. 100 LOOP PERFORM summary_cache_get(\'state\'); END LOOP; END $$');
fires('Disabled', '... 100 reads');
$node->sql('SELECT 1 FROM summary_cache_get(\'state\')');
fires('Disabled PrivateShare', '... 101');
$node->set_server('summary_cache.enabled', undef, 'on');
healthy('switched on');

$node->sql(q{SELECT summary_cache_define('clock', 'main', 'SELECT clock_timestamp() AS at', '{}')});
$node->sql('DO $$ BEGIN FOR i IN 1 .. 101 LOOP PERFORM summary_cache_get(\'clock\', true); END LOOP; END $$');
fires('MissShare', 'forced reads');
healthy('reset');
$node->sql(q{SELECT summary_cache_drop('clock')});

$node->sql('DO $$ BEGIN FOR i IN 1 .. 101 LOOP PERFORM summary_cache_get(\'state\', true); END LOOP;
	FOR i IN 1 .. 500 LOOP PERFORM summary_cache_get(\'state\'); END LOOP; END $$');
fires('BuildsWasted', 'rebuilt without a change, among many hits');
healthy('reset');

my $holder = Session->new($node);
$node->sql("CREATE TABLE slow (n int); INSERT INTO slow VALUES (1);
	SELECT summary_cache_define('slow', 'main', 'SELECT n, $gate FROM slow')");
settled();
$holder->query('SELECT pg_advisory_lock(42)');
$node->sql('UPDATE slow SET n = 2');
$node->sql('DO $$ BEGIN FOR i IN 1 .. 101 LOOP PERFORM summary_cache_get(\'slow\'); COMMIT; END LOOP; END $$');
fires('StaleShare', 'a worker that does not come to an end');
$holder->query('SELECT pg_advisory_unlock(42)');
healthy('it does');

# waiting
$holder->query('SELECT pg_advisory_lock(42)');
my @readers = map { Session->new($node) } 1 .. 2;
$readers[0]->send_sql(q{SELECT summary_cache_get('slow', true)});
$node->poll($at_gate, '1') or die;
fires('', 'a build that is under way');
$readers[1]->send_sql(q{SELECT summary_cache_get('slow', true)});
fires('ReadersWaiting', 'a reader that waits for it');
$holder->query('SELECT pg_advisory_unlock(42)');
$_->result for @readers;
fires('WaitsLong', '... is seen afterwards');
healthy('reset');
$_->quit for @readers;
$node->sql(q{SELECT summary_cache_drop('slow')});

# by a worker, for which nobody waits
$node->sql(q{SELECT summary_cache_define('slow', 'main', 'SELECT pg_sleep(1.5) AS n', '{}');
	BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM summary_cache_get('slow'); COMMIT});
settled();
fires('', 'a build of 1.5 s');
$node->set_server('summary_cache.max_stale_age', '5s');
fires('BuildSlow', '... with 5 s to live');
$node->set_server('summary_cache.max_stale_age', undef, '5min');
$node->sql(q{SELECT summary_cache_drop('slow')});
healthy('without it');

# what is counted for all databases, from the server's start on: no database has more than may be defined
$node->sql('CREATE DATABASE second');
$node->sql(q{CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('s' || g, 'main', 'SELECT 1 AS n', '{}') FROM generate_series(1, 16) g}, 'second');
sub read_all { $node->sql(q{SELECT 1 FROM (SELECT DISTINCT summary FROM summary_cache_sections OFFSET 0) s, summary_cache_fetch(s.summary)}, $_) for @_; return; }
read_all('second', 'postgres', 'second', 'postgres');
fires('EntriesEvicted', 'summaries of two databases that push each other out');
$node->sql("CREATE TABLE many_$_ (n int)", 'second') for 1 .. 32;
my $error = ($node->psql('second', q{SELECT summary_cache_define('s1', 'main', 'SELECT 1 AS n',
	ARRAY(SELECT format('many_%s', g)::regclass FROM generate_series(1, 32) g))}))[2];
like($error, qr/ERROR:  no room to track table/, 'more tables than slots');
fires('EntriesEvicted SlotsRefused', '... of which none is left');
$node->sql('DROP DATABASE second');

# workers, whose counters begin with the server as well
$holder->quit;
$node->restart;
$holder = Session->new($node);
$node->sql(q{CREATE TABLE locked (n int); INSERT INTO locked VALUES (1);
	SELECT summary_cache_define('locked', 'main', 'SELECT n FROM locked'); SELECT 1 FROM summary_cache_get('locked')});
settled();
$node->sql('UPDATE locked SET n = 2');
$holder->query('BEGIN; LOCK TABLE locked');
fires('TableNotProvable LockedOut', 'a locked source');
$holder->query('COMMIT');
healthy('unlocked');
$node->sql(q{SELECT summary_cache_drop('locked')});

$node->sql(q{
	CREATE TABLE deaf (n int); INSERT INTO deaf VALUES (0);
} . deaf_function() . q{
	SELECT summary_cache_define('deaf', 'main', 'SELECT deaf(n) AS n FROM deaf');
	SELECT 1 FROM summary_cache_get('deaf')});
settled();
# enough for the function to begin to swallow cancels
$node->set_server('summary_cache.build_timeout', '500ms');
$node->sql('UPDATE deaf SET n = 1; SELECT 1 FROM summary_cache_get(\'state\')');
$node->sql(q{SET summary_cache.read_your_writes = off; SELECT status FROM summary_cache_fetch('deaf')});
fires('WorkerTerminated', 'a function that swallows the cancel');
$node->sql('UPDATE deaf SET n = 0');
$node->set_server('summary_cache.build_timeout', undef, '5min');
healthy('it ends');
$node->sql(q{SELECT summary_cache_drop('deaf')});

$node->sql('CREATE DATABASE closed');
$node->sql(q{CREATE EXTENSION summary_cache; CREATE TABLE c (n int); INSERT INTO c VALUES (1);
	SELECT summary_cache_define('c', 'main', 'SELECT n FROM c'); SELECT 1 FROM summary_cache_get('c')}, 'closed');
$node->hit('c', 'closed');
$node->quiet('closed');
my $inside = Session->new($node, 'closed');
$node->sql('ALTER DATABASE closed ALLOW_CONNECTIONS false');
$inside->query(q{SET summary_cache.read_your_writes = off; UPDATE c SET n = 2; SELECT status FROM summary_cache_fetch('c')});
fires('WorkersFailing', 'a database that refuses connections');
$node->sql('ALTER DATABASE closed ALLOW_CONNECTIONS true');
$inside->quit;
$holder->quit;
$node->sql('DROP DATABASE closed');
healthy('without it');

# the server
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
fires('LauncherMissing', 'no worker process at all');
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
$node->hit('state');
fires('', 'two, for the launcher and that of logical replication, and no worker needed');
$node->sql('UPDATE tasks SET title = title || \'y\' WHERE id = 1');
$node->hit('state');
fires('', 'a worker was needed, and a reader has refreshed: nothing waits');
# with a refresh that no reader makes
$node->set_server('summary_cache.eager_refresh', 'on');
$node->sql('SELECT state_summary(true)');
$node->sql('UPDATE tasks SET title = title || \'y\' WHERE id = 1');
fires('RequestsWaiting NoPlaceForWorker', '... for long');
$node->set_server('summary_cache.eager_refresh', undef, 'off');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
$node->sql('UPDATE tasks SET title = title || \'y\' WHERE id = 1');
healthy('there is one');

$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->restart;
fires('NotPreloaded TableNotProvable', 'not preloaded');
$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'summary_cache'});
$node->restart;
healthy('preloaded');

# uninstalled, as the page says
$node->sql('DROP EXTENSION summary_cache;');
is($node->safe_psql('postgres', $alerts{SummaryCacheNoMetrics}{sql}, extra_params => [ '-U', 'exporter' ]),
	'no extension, or not in the search path', 'no extension: NoMetrics');
$fired{SummaryCacheNoMetrics} = 1;
is($node->sql(q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'summary_cache%'}), '0', 'no trigger is left');

is(join(' ', grep { !$fired{$_} } @alerts), '', 'every alert has fired');

$node->stop;
done_testing();
