# Proves that whatever does not fit costs speed only, and that refreshing costs no memory.

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
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	summary_cache.memory_limit = 1MB
	summary_cache.max_sections = 8
});
$node->start;

sub stat_of { return $node->sql("SELECT $_[0] FROM summary_cache_stats WHERE summary = '$_[1]'"); }

sub restart_with
{
	my ($setting) = @_;
	$node->append_conf('postgresql.conf', $setting);
	$node->restart;
	return;
}

my $big = q{SELECT status, length(document->>'d'), md5(document->>'d') = md5((SELECT repeat('x', n) FROM big))
	FROM summary_cache_fetch('big')};

#
# A document that is larger than shared memory
#
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE big (n int);
	INSERT INTO big VALUES (5000000);
	SELECT summary_cache_define('big', 'main', $$SELECT repeat('x', n) AS d FROM big$$);
});
my ($ret, $out, $err) = $node->psql('postgres', "$big; $big");
is($out, "miss|5000000|t\nmiss|5000000|t", 'a document of 5 MB is returned, not cached, with 1 MB of memory');
like($err, qr/WARNING:.*"big" does not fit/, 'a warning says so');
like($err, qr/HINT:.*summary_cache\.memory_limit/, '... and what to do');
is(() = $err =~ /WARNING/g, 1, '... once a session');
is(stat_of('builds_not_cached', 'big'), '2', 'the view counts such builds');
is(stat_of('last_error IS NULL', 'big'), 't', 'it is no error');
my $session = Session->new($node);
$session->query($big);
$session->query('UPDATE big SET n = 4000000');
is($session->query($big), 'miss|4000000|t', 'changes are in it');
is($session->query("BEGIN; UPDATE big SET n = 1000; $big; ROLLBACK"), 'private|1000|t', 'own changes, too');

# two that share nothing do not wait for each other
my $other = Session->new($node);
my @both = map { $_->send_sql("SELECT count(*) FROM generate_series(1, 20) g, LATERAL (SELECT g, f.status FROM summary_cache_fetch('big') f) x WHERE status = 'miss'") } $session, $other;
is(join(' ', map { $_->result } @both), '20 20', 'sessions build beside each other');

$node->sql('UPDATE big SET n = 300000');
is($node->sql("$big; $big"), "miss|300000|t\nhit-revision|300000|t", 'when it fits again it is cached');

# the old one makes room for the new one
$node->sql('UPDATE big SET n = 600000');
ok($node->hit('big'),
	'one that fits only alone is cached');
is($node->sql(q{SELECT summary_cache_get('big', true)->>'d' = repeat('x', 600000)}), 't', 'and again, when forced');
is($node->sql($big), 'hit-revision|600000|t', 'and is there');
$node->sql('UPDATE big SET n = 5000000');
($ret, $out, $err) = $node->psql('postgres', "SET summary_cache.max_stale_age = 0; $big");
is($out, 'miss|5000000|t', 'when it outgrows the memory, it is returned');
is($node->sql($big), 'miss|5000000|t', '... and the old one is not served as current');
$node->sql('UPDATE big SET n = 1000');
ok($node->hit('big'),
	'and comes back');

#
# No memory for own copies
#
is($session->query("SET summary_cache.local_memory_limit = 0; SELECT summary_cache_get('big', true)->>'d' = repeat('x', 1000)"), 't',
	'without memory for own copies documents are right');
is($session->query("$big; $big"), "hit-revision|1000|t\nhit-revision|1000|t", '... and hits');
is($session->query(q{RESET summary_cache.local_memory_limit; SET summary_cache.local_memory_limit = '100kB'}), '', 'room for one that is small');
$node->sql('UPDATE big SET n = 200000');
ok($node->hit('big'), 'one larger than that');
is($session->query("$big; $big"), "hit-revision|200000|t\nhit-revision|200000|t", '... is read from shared memory');

#
# Nor is memory given back to the system and taken again at each statement, page fault by page fault
#
SKIP:
{
	skip 'needs glibc on Linux', 1 unless -r '/proc/self/stat' && `getconf GNU_LIBC_VERSION 2>/dev/null` =~ /^glibc/;
	my $faults = sub { return (split ' ', slurp_file("/proc/$_[0]/stat") =~ s/.*\) //sr)[7] };
	$node->sql(q{CREATE TABLE pages (n int); INSERT INTO pages VALUES (0);
		SELECT summary_cache_define('pages', 'main', $$SELECT (SELECT string_agg(md5(g::text), ' ') FROM generate_series(1, n) g) AS d FROM pages$$)});
	my $encodings = ($node->psql('postgres', q{SELECT summary_cache_configure('pages', 'encodings', 'gzip')}))[0] == 0 ? 'gzip' : '';
	for my $kb (20, 40, 60)
	{
		$node->sql("UPDATE pages SET n = $kb * 1024 / 33");
		$node->hit('pages');
		$node->polled(q{SELECT encoding FROM summary_cache_fetch_encoded('pages', 'gzip')}, 'gzip', "a form of $kb KB") if $encodings;
		for my $call ("summary_cache_fetch('pages')", "summary_cache_fetch_encoded('pages', '$encodings')", "summary_cache_get('pages')")
		{
			my $reader = Session->new($node);
			$reader->query("SELECT * FROM $call") for 1 .. 20;
			my $before = $faults->($reader->pid);
			$reader->query("SELECT * FROM $call") for 1 .. 50;
			my $n = $faults->($reader->pid) - $before;
			note "$kb KB, $call: $n";
			cmp_ok($n, '<', 100, "no page fault at each statement: $kb KB, $call");
			$reader->quit;
		}
	}
	$node->sql(q{SELECT summary_cache_drop('pages')});
}

#
# Refreshing costs nothing
#
$session->quit;
$other->quit;
$node->sql(q{
	CREATE TABLE small (n int);
	INSERT INTO small VALUES (1);
	SELECT summary_cache_define('small', 'main', 'SELECT n FROM small');
	SELECT summary_cache_define('small', 'inlined', 'SELECT n AS i FROM small', refresh => 'inline');
	SELECT summary_cache_define('broken', 'main', 'SELECT n, repeat(n::text, 1000) AS x, 1 / (n - n) AS y FROM small', run_query => false);
});
$session = Session->new($node);
my $contexts = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
sub rebuild
{
	my ($n) = @_;
	return $session->query("SELECT count(DISTINCT d::text) FROM (SELECT summary_cache_get('small', g > 0) d FROM generate_series(1, $n) g) x");
}
# also once a transaction, and with a kept plan that is made anew, and with failures
my $mixed = q{DO $$
BEGIN
	FOR i IN 1 .. 300 LOOP
		PERFORM summary_cache_get('small', true);
		COMMIT;
		UPDATE small SET n = CASE WHEN n = 0 THEN 1 ELSE n + 1 END;
		PERFORM summary_cache_get('small');
		COMMIT;
		PERFORM summary_cache_get('small');
		IF i % 10 = 0 THEN
			PERFORM summary_cache_invalidate('small');
			COMMENT ON TABLE small IS 'no change';
			PERFORM summary_cache_define('small', 'inlined', 'SELECT n AS i FROM small', refresh => 'inline');
			COMMIT;
			BEGIN
				PERFORM summary_cache_get('broken', true);
			EXCEPTION WHEN division_by_zero THEN
				NULL;
			END;
		END IF;
	END LOOP;
END $$};
is(rebuild(1000), '1', 'forced builds, all alike');
$session->query($mixed);
my $before = $session->query($contexts);
rebuild(1000) for 1 .. 9;
$session->query($mixed);
my $after = $session->query($contexts);
cmp_ok($after, '<', $before + 256 * 1024, "10,000 builds cost a backend no memory ($before, then $after bytes)");
cmp_ok(stat_of('builds_forced', 'small'), '>=', 10000, 'they were builds');
cmp_ok(stat_of('builds_failed', 'broken'), '>=', 60, '... some of which failed');
$node->sql(q{SELECT summary_cache_drop('broken')});
$node->sql('UPDATE big SET n = 600000');
ok($node->hit('big'),
	'and no shared memory: the largest document still fits');
$session->quit;

# the same of the worker
my $marks = 'SELECT sum(pending) FROM summary_cache_tables';
is($node->sql($marks), '0', 'nothing is pending');

#
# A returned document stays what it was, also in a procedure that commits
#
is($node->sql(q{
	CREATE TABLE result (ok bool);
	CREATE PROCEDURE hold() LANGUAGE plpgsql AS $$
	DECLARE
		held json := summary_cache_get('big');
		sum text := md5(held::text);
		newer json;
	BEGIN
		COMMIT;
		UPDATE big SET n = 500000;
		COMMIT;
		newer := summary_cache_get('big', true);
		COMMIT;
		PERFORM summary_cache_get('big', true) FROM generate_series(1, 5);
		COMMIT;
		INSERT INTO result VALUES (md5(held::text) = sum AND length(newer->>'d') = 500000);
	END $$;
	CALL hold();
	SELECT ok FROM result}), 't', 'a document that is held across a COMMIT is not touched');

#
# Limits at definition
#
restart_with('summary_cache.max_sections = 3');
$node->sql(q{SELECT summary_cache_get('small')});
($ret, $out, $err) = $node->psql('postgres', q{SELECT summary_cache_define('more', 'main', 'SELECT n AS more FROM small')});
isnt($ret, 0, 'more sections than max_sections are refused');
like($err, qr/HINT:.*summary_cache\.max_sections/, '... with a hint');
($ret, $out, $err) = $node->psql('postgres', q{SELECT summary_cache_define('small', 'main', 'SELECT n FROM small')});
is($ret, 0, 'redefining one is not');

restart_with("summary_cache.max_sections = 16\nsummary_cache.max_tables = 8");
$node->sql(join '', map { "CREATE TABLE m$_ (n int); INSERT INTO m$_ VALUES (0);" } 1 .. 10);
($ret, $out, $err) = $node->psql('postgres', q{SELECT summary_cache_define('many', 'main', 'SELECT }
	. join(' + ', map { "(SELECT n FROM m$_)" } 1 .. 10) . q{ AS total')});
isnt($ret, 0, 'more tables than max_tables are refused');
like($err, qr/HINT:.*summary_cache\.max_tables/, '... with a hint');
is($node->sql(q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'summary_cache%' AND tgrelid = 'm1'::regclass}), '0', 'nothing is left of it');

#
# Fewer tables than are defined, after a restart: the catch-all stands for the rest
#
restart_with('summary_cache.max_tables = 100');
$node->sql(q{SELECT summary_cache_define('many', 'main', 'SELECT }
	. join(' + ', map { "(SELECT n FROM m$_)" } 1 .. 10) . q{ AS total')});
$node->safe_psql('postgres', 'CREATE DATABASE neighbour');
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE a (n int); CREATE TABLE b (n int); CREATE TABLE c (n int);
	SELECT summary_cache_define('n', 'main', 'SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c) AS n');
}, 'neighbour');
restart_with('summary_cache.max_tables = 8');
# others take slots that will be free later
is($node->sql(q{SELECT status FROM summary_cache_fetch('n')}, 'neighbour'), 'miss', 'the neighbour is there first');
is($node->sql(q{SELECT status FROM summary_cache_fetch('small')}), 'miss', 'and another summary');

my $total = q{(SELECT } . join(' + ', map { "(SELECT n FROM m$_)" } 1 .. 10) . q{)};
my $wrong = qq{SELECT status, document->>'total', $total FROM summary_cache_fetch('many')
	WHERE status <> 'stale' AND (document->>'total')::int < $total};

# Each table's change is noticed, though there are no slots for most.
sub all_noticed
{
	my ($name, @tables) = @_;
	my @missed;
	for my $n (@tables)
	{
		$node->hit('many') or die "no hit: $name";
		$node->sql("UPDATE m$n SET n = n + 1");
		my $answer = $node->sql($wrong);
		push @missed, "m$n: $answer" if $answer ne '';
	}
	is(join(', ', @missed), '', "$name: every change is noticed");
	return;
}
all_noticed('too few slots', 1 .. 10);
my $without = q{SELECT count(*) FROM summary_cache_tables WHERE source::text ~ '^m' AND revision IS NULL};
cmp_ok($node->sql($without), '>=', 8, 'most tables have no slot');

# Slots that become free later must not part writers from documents that were
# built without them: the first write takes the slot, and the document does not
# know of it.
$node->hit('many') or die 'no hit';
$session = Session->new($node);
$session->query(q{BEGIN; SELECT summary_cache_drop('small')});
all_noticed('a summary is dropped, not committed yet', 10);
$session->query('ROLLBACK');
is($node->sql($without . q{ AND source = 'm10'::regclass}), '0', 'its slot is taken');
all_noticed('after its rollback', reverse 1 .. 10);
is($node->sql($without . q{ AND source = 'm9'::regclass}), '1', 'another table has none');
$node->sql('DROP DATABASE neighbour');
all_noticed('another database is dropped', 9);
is($node->sql($without . q{ AND source = 'm9'::regclass}), '0', 'a slot of it is taken');
all_noticed('after that', 1 .. 10);
is($node->sql(q{SELECT summary_cache_get('small')->>'n' = (SELECT n FROM small)::text}), 't', 'the one that was not dropped is right');
$node->sql(q{SELECT summary_cache_drop('big'); SELECT summary_cache_drop('small')});
all_noticed('summaries are dropped', 1 .. 10);
$session->quit;

$node->stop;
done_testing();
