# Proves that the work and the memory of one summary do not grow with the number of the others.

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
	summary_cache.max_sections = 12000
	summary_cache.max_tables = 3000
});
$node->start;
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE a (n int);
	CREATE TABLE b (n int);
	CREATE TABLE other (n int);
	INSERT INTO a VALUES (1);
	SELECT summary_cache_define('s0', 'main', 'SELECT count(*) AS n FROM a');
	SELECT summary_cache_define('s0', 'second', 'SELECT count(*) AS m FROM a, b');
});

# As a restore fills it.
sub fill
{
	my ($from, $to) = @_;
	$node->sql("INSERT INTO summary_cache.definition
		(summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
		SELECT 's' || i, section, position, refresh, owner, query, sources, reads, calls, keys, settings
		FROM summary_cache.definition, generate_series($from, $to) i WHERE summary = 's0'");
	return;
}

#
# What is read of the table of definitions
#
fill(1, 400);
$node->sql('ANALYZE');

# Rows of it that a session fetched by an index, scans of all of it, and rows read by these.
sub reads_of
{
	my ($sql) = @_;
	my $counters = q{SELECT idx_tup_fetch || ' ' || seq_scan || ' ' || seq_tup_read
		FROM pg_stat_user_tables WHERE relname = 'definition'};
	my @before = split / /, $node->sql($counters);
	$node->sql($sql);
	my @after = split / /, $node->sql($counters);
	return map { $after[$_] - $before[$_] } 0 .. 2;
}
for my $case ([ 'a definition', q{SELECT summary_cache_define('x', 'main', 'SELECT count(*) AS n FROM b')} ],
	[ 'a definition in place', q{SELECT summary_cache_define('x', 'main', 'SELECT count(*) + 1 AS n FROM b')} ],
	[ 'a definition in place with more sources', q{SELECT summary_cache_define('x', 'main', 'SELECT count(*) AS n FROM b, other')} ],
	[ 'an option', q{SELECT summary_cache_configure('x', 'max_stale_age', '10')} ],
	[ 'a first read', q{SELECT summary_cache_get('s7')} ],
	[ 'an invalidation', q{SELECT summary_cache_invalidate('s7')} ])
{
	my ($what, $sql) = @$case;
	my ($by_index, $scans, $scanned) = reads_of($sql);
	cmp_ok($by_index, '<=', 12, "$what reads its own summary's rows only");
	is("$scans $scanned", '0 0', '... by the index');
}
for my $case ([ 'a drop', q{SELECT summary_cache_drop('x')}, 1 ],
	[ 'a rename', 'ALTER TABLE other RENAME TO another', 1 ],
	[ 'DROP TABLE', 'CREATE TABLE dropped (n int); DROP TABLE dropped', 1 ],
	[ 'DROP OWNED', q{CREATE ROLE regress_growth; GRANT USAGE ON SCHEMA public TO regress_growth;
		UPDATE summary_cache.definition SET owner = 'regress_growth' WHERE summary LIKE 's9%';
		DROP OWNED BY regress_growth; DROP ROLE regress_growth}, 4 ],
	[ 'summary_cache_stats', 'SELECT count(*) FROM summary_cache_stats', 0, 1 ],
	[ 'summary_cache_sections', 'SELECT count(*) FROM summary_cache_sections', 0, 1 ],
	[ 'summary_cache_tables', 'SELECT count(*) FROM summary_cache_tables', 0, 1 ])
{
	my ($what, $sql, $scans_allowed, $passes) = @$case;
	my ($by_index, $scans, $scanned) = reads_of($sql);
	cmp_ok($scans, '<=', $scans_allowed, "$what reads all rows a few times at most");
	cmp_ok($by_index, '<=', ($passes // 0) * 810 + 200, '... each once');
}
is($node->sql(q{SELECT count(*) FROM summary_cache.definition WHERE summary LIKE 's9%'}), '0', 'what was owned is dropped');
is($node->sql(q{SELECT string_agg(source::text, ' ' ORDER BY source::text) FROM summary_cache_tables}), 'a b', 'what nobody reads any more is not tracked');

#
# The views have what the table has
#
$node->sql(q{
	CREATE TABLE parted (n int) PARTITION BY RANGE (n);
	CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
	SELECT summary_cache_define('p', 'second', 'SELECT count(*) AS n FROM parted1');
	SELECT summary_cache_define('p', 'first', 'SELECT count(*) AS m FROM parted, b');
	UPDATE summary_cache.definition SET position = 3 WHERE summary = 'p' AND section = 'second';
	INSERT INTO parted VALUES (1);
});
sub same
{
	my ($what, $view, $truth) = @_;
	is($node->sql("SELECT count(*) FROM (($view EXCEPT ALL $truth) UNION ALL ($truth EXCEPT ALL $view)) x"), '0', "$what has the right rows");
	isnt($node->sql("SELECT count(*) FROM ($truth) x"), '0', '... and has some');
	return;
}
same('summary_cache_stats', 'SELECT summary FROM summary_cache_stats', 'SELECT DISTINCT summary FROM summary_cache.definition');
same('summary_cache_sections', 'SELECT summary, section, refresh, owner, sources::text FROM summary_cache_sections',
	'SELECT summary, section, refresh, owner, sources::text FROM summary_cache.definition');
same('summary_cache_tables', 'SELECT source, sections::text FROM summary_cache_tables',
	q{SELECT s::regclass, array_agg(summary || '.' || section ORDER BY summary, position)::text
		FROM summary_cache.definition, unnest(sources) s GROUP BY s});
is($node->sql(q{SELECT string_agg(section, ' ') FROM summary_cache_sections WHERE summary = 'p'}), 'first second', 'sections are in the order of the document');
is($node->sql(q{SELECT count(DISTINCT revision), count(*), bool_and(provable) FROM summary_cache_tables WHERE source::text LIKE 'parted%'}), '1|2|t',
	'all of a tree have the same state');
$node->sql('ALTER TABLE parted1 DISABLE TRIGGER summary_cache_statement');
is($node->sql(q{SELECT count(*) FROM summary_cache_tables WHERE source::text LIKE 'parted%' AND NOT provable AND reason LIKE '%parted1%'}), '2',
	'... also if it is not provable');

#
# Memory of the views
#
fill(401, 5000);
# The most memory of its own that a process has had, kB.
sub peak
{
	my ($pid) = @_;
	my %kb = slurp_file("/proc/$pid/status") =~ /^(VmHWM|RssShmem):\s+(\d+)/mg;
	return $kb{VmHWM} - $kb{RssShmem};
}
SKIP:
{
	skip 'needs /proc', 3 unless -r "/proc/$$/status";
	for my $view ('stats', 'sections', 'tables')
	{
		my $session = Session->new($node);
		$session->query("SELECT count(*) FROM summary_cache_$view WHERE false");
		my $before = peak($session->pid);
		$session->query("SELECT count(*) FROM summary_cache_$view");
		cmp_ok(peak($session->pid) - $before, '<', 20 * 1024, "summary_cache_$view takes little memory for 10,000 sections");
		$session->quit;
	}
}

#
# Plans
#
my $summaries = 40;
$node->sql("SELECT count(summary_cache_define('plan' || g, 'main',
	(SELECT format('SELECT %s AS plan, ', g) || string_agg(format('(SELECT count(*) FROM a WHERE n = %s) AS c%s', i, i), ', ') FROM generate_series(1, 20) i)))
	FROM generate_series(1, $summaries) g");
my $session = Session->new($node);
my $limit = 2 * 1024 * 1024;
my $kept = q{SELECT string_agg(substring(ident FROM 'SELECT (\d+) AS plan'), ' ' ORDER BY substring(ident FROM 'SELECT (\d+) AS plan')::int)
	FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident ~ '^SELECT \d+ AS plan'};
my $bytes = q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts
	WHERE name IN ('CachedPlanSource', 'CachedPlanQuery', 'CachedPlan', 'SPI Plan', 'summary_cache definition')};
my $build_all = "SELECT count(*) FROM generate_series(1, $summaries) g, LATERAL (SELECT summary_cache_get('plan1', true), summary_cache_get('plan' || g, true)->>'plan' AS p) x WHERE p = g::text";
# what the session itself has beside ours
my $none = $session->query($bytes) // 0;
is($session->query($build_all), $summaries, 'all summaries are built');
is($session->query($kept), join(' ', 1 .. $summaries), 'with room for them, all plans are kept');
my $all = $session->query($bytes) - $none;
cmp_ok($all, '>', 2 * $limit, "... which takes some memory ($all bytes)");
my $one = $all / $summaries;
$session->query("SET summary_cache.plan_memory_limit = '2MB'");
is($session->query($build_all), $summaries, 'all are built with less room');
my @plans = split / /, $session->query($kept);
cmp_ok($session->query($bytes) - $none, '<', $limit + 2 * $one, 'the plans take the memory that they may have');
cmp_ok(scalar @plans, '>', 2, '... and not less') or diag("kept: @plans");
is($plans[0], '1', 'the one that is used all the time stays');
is($plans[-1], $summaries, '... and the one that was used last');
is(join(' ', @plans[1 .. $#plans]), join(' ', $summaries - $#plans + 1 .. $summaries), '... and those that were used before it');
$session->query('SET summary_cache.plan_memory_limit = 0');
is($session->query($build_all), $summaries, 'all are built without room');
@plans = split / /, $session->query($kept);
is("@plans", $summaries, 'only the last is kept');
# nested ones are in use
$node->sql(q{SELECT summary_cache_define('outer', 'main', $$SELECT summary_cache_get('plan3', true)->'plan' AS three,
	summary_cache_get('plan4', true)->'plan' AS four, (SELECT count(*) FROM a) AS n$$)});
is($session->query(q{SELECT summary_cache_get('outer', true)::text || summary_cache_get('outer', true)::text}), '{"three":3,"four":4,"n":1}' x 2,
	'a plan stays while it is executed, whatever that uses');
$session->quit;

#
# The work of view summary_cache_tables, as the time that its session uses a processor: eight times as many tables
# take about eight times as long.  If it grew with their square it were 64 times.
#
SKIP:
{
	skip 'needs /proc', 3 unless -r "/proc/$$/schedstat";
	my (%viewer, %ns);
	for my $tables (250, 2000)
	{
		my $db = "tables_$tables";
		$node->sql("CREATE DATABASE $db");
		$node->sql('CREATE EXTENSION summary_cache', $db);
		$node->sql("DO 'BEGIN FOR i IN 1 .. $tables LOOP EXECUTE format(''CREATE TABLE t%s (n int)'', i); END LOOP; END';
			SELECT count(summary_cache_define('t' || g, 'main', format('SELECT count(*) AS n FROM t%s', g))) FROM generate_series(1, $tables) g", $db);
		$viewer{$tables} = Session->new($node, $db);
		is($viewer{$tables}->query('SELECT count(*) FROM summary_cache_tables WHERE provable'), $tables, "$tables tables");
	}
	# by turns, so that what else the machine does is the same for both; the least is that without it
	for my $tables ((sort { $a <=> $b } keys %viewer) x 7)
	{
		my $used = sub { (slurp_file('/proc/' . $viewer{$tables}->pid . '/schedstat') =~ /^(\d+)/)[0] };
		my $before = $used->();
		$viewer{$tables}->query('SELECT count(*) FROM summary_cache_tables');
		my $time = $used->() - $before;
		$ns{$tables} = $time if !$ns{$tables} || $time < $ns{$tables};
	}
	$_->quit for values %viewer;
	note(join ', ', map { sprintf '%d tables: %.1f ms', $_, $ns{$_} / 1e6 } sort { $a <=> $b } keys %ns);
	cmp_ok($ns{2000} / $ns{250}, '<', 24, 'the work of summary_cache_tables grows as the number of tables');
}

$node->stop;
done_testing();
