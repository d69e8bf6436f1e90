# Proves that room goes to what is read: the least recently read document and entry give way, what is dropped gives its room back at its commit, a summary keeps its own limit, and a database without slots costs itself only.

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
	max_prepared_transactions = 5
	summary_cache.memory_limit = 1MB
	summary_cache.max_sections = 64
});
$node->start;

# A summary of 100 kB: seven of them fit, and eight do not.
sub define
{
	my ($db, @names) = @_;
	$node->sql(join('', map { "SELECT summary_cache_define('$_', 'main', \$\$SELECT n, repeat('x', 120000) AS x FROM t\$\$);" } @names), $db);
	return;
}

sub database
{
	my ($db, @names) = @_;
	$node->sql("CREATE DATABASE $db") if $db ne 'postgres';
	$node->sql('CREATE EXTENSION summary_cache; CREATE TABLE t (n int); INSERT INTO t VALUES (1)', $db);
	define($db, @names);
	return;
}

sub status { return join ' ', map { my ($db, $name) = @$_; $node->sql("SELECT status FROM summary_cache_fetch('$name')", $db) } @_; }
sub stat_of { my ($db, $name, $column) = @_; return $node->sql("SELECT $column FROM summary_cache_stats WHERE summary = '$name'", $db); }

database('postgres', map { "old$_" } 1 .. 20);
database('b', 'late', 'kept', map { "set$_" } 1 .. 5);

#
# Memory full: what is read stays, whatever was there before
#
status(map { ['postgres', "old$_"] } 1 .. 20);
is($node->sql(q{SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
	FROM (SELECT status, count(*) AS n FROM generate_series(1, 200) g, LATERAL summary_cache_fetch(CASE WHEN g > 0 THEN 'late' END) f GROUP BY status) s}, 'b'),
	'hit-revision 199, miss 1', 'of 200 reads of a latecomer one is a build');
my @set = map { ['b', "set$_"] } 1 .. 5;
is(status(@set), 'miss miss miss miss miss', 'a working set that fits is built once');
is(status(@set, reverse(@set), @set), join(' ', ('hit-revision') x 15), '... and then served by hits');
is(stat_of('b', 'set1', 'evictions'), '0', 'none of it was pushed out');
cmp_ok($node->sql('SELECT sum(evictions) FROM summary_cache_stats'), '>=', 18, 'the documents of another database were');
is($node->sql('SELECT documents_evicted FROM summary_cache_server', 'b'),
	$node->sql('SELECT documents_evicted FROM summary_cache_server'), 'the count of all databases is the same in each');
cmp_ok($node->sql('SELECT documents_evicted FROM summary_cache_server', 'b'), '>=', 18, '... and has them');

# In one session, whose copy is a hit without looking at the entry; and from another one.
my $session = Session->new($node, 'b');
$session->query(q{SELECT summary_cache_get('kept')});
my @kept;
foreach my $n (1 .. 20, 1 .. 20)
{
	push @kept, $session->query(q{SELECT status FROM summary_cache_fetch('kept')});
	status(['postgres', "old$n"]);
}
is(join(' ', @kept), join(' ', ('hit-revision') x 40), 'a document that is read stays, while 40 others are read once');
is(stat_of('b', 'kept', 'evictions'), '0', '... and was never pushed out');
$session->quit;

# A refresh needs room for a moment, and pushes nobody out.
status((map { ['b', "set$_"] } 1 .. 5), ['b', 'late'], ['b', 'kept']);
my $evictions = q{SELECT documents_evicted FROM summary_cache_server};
my $before = $node->sql($evictions);
$node->sql(q{SELECT length(summary_cache_get('set1', true)::text) FROM generate_series(1, 50)}, 'b');
is($node->sql($evictions), $before, 'a document that is built again takes its own room');

# So does a section of half the memory, that is built alone: the old and the new one do not fit beside each other.
$node->sql(q{
	CREATE TABLE half (n int); CREATE TABLE rest (n int);
	INSERT INTO half VALUES (0); INSERT INTO rest VALUES (0);
	SELECT summary_cache_define('half', 'main', $$SELECT n, repeat('z', 550000) AS z FROM half$$);
	SELECT summary_cache_define('half', 'rest', 'SELECT n AS m FROM rest');
}, 'b');
status((map { ['b', 'half'], @set[0, 1] } 1 .. 3));
$before = $node->sql($evictions);
foreach my $n (1 .. 3)
{
	$node->sql('UPDATE half SET n = n + 1', 'b');
	is($node->cached('half', 'b'), "$n", "a section of half the memory, refreshed: $n");
	is(status(@set[0, 1]), 'hit-revision hit-revision', '... and others stay');
}
is($node->sql($evictions), $before, '... all the time');
is(stat_of('b', 'half', 'builds_not_cached'), '0', '... since every build fits');
$node->sql(q{SELECT summary_cache_drop('half')}, 'b');

#
# What can never fit pushes nobody out, and a summary's own limit is kept
#
$node->sql(q{
	CREATE TABLE size (n int);
	INSERT INTO size VALUES (100);
	SELECT summary_cache_define('sized', 'main', $$SELECT repeat('y', n) AS y FROM size$$);
	SELECT summary_cache_define('sized', 'inlined', 'SELECT n FROM size', refresh => 'inline');
}, 'b');
is(status(['b', 'sized'], ['b', 'sized']), 'miss hit-revision', 'a small document');
status(@set, @set);
$before = $node->sql($evictions);
$node->sql('UPDATE size SET n = 2000000', 'b');
my ($ret, $out, $err) = $node->psql('b', q{SELECT length(summary_cache_get('sized', true)::text) > 2000000 FROM generate_series(1, 3)});
is($out, "t\nt\nt", 'one of 2 MB, with 1 MB of memory');
like($err, qr/WARNING:  document of summary "sized" does not fit in shared memory.*HINT:  Raise summary_cache\.memory_limit/s, '... with a warning');
is($node->sql($evictions), $before, '... and nobody is pushed out');
is(stat_of('b', 'sized', 'builds_not_cached, bytes'), '3|0', '... and it is counted, and keeps nothing');

$node->sql(q{UPDATE size SET n = 100; SELECT summary_cache_configure('sized', 'memory_limit', '20kB')}, 'b');
ok($node->hit('sized', 'b'), 'with a limit of its own');
$node->sql('UPDATE size SET n = 30000', 'b');
($ret, $out, $err) = $node->psql('b', q{SELECT status FROM summary_cache_fetch('sized', force_refresh => true)});
is($out, 'miss', 'a document beyond its own limit is returned');
like($err, qr/WARNING:  document of summary "sized" does not fit in its own memory_limit.*HINT:  Raise its option memory_limit/s, '... with a warning');
is(stat_of('b', 'sized', 'builds_not_cached, bytes'), '4|0', '... and not cached');
is($node->sql($evictions), $before, '... and nobody is pushed out');
$node->sql(q{SELECT summary_cache_configure('sized', 'memory_limit', NULL)}, 'b');
ok($node->hit('sized', 'b'), 'without the limit it is cached');
$node->sql(q{SELECT summary_cache_configure('sized', 'memory_limit', '0')}, 'b');
is($node->sql(q{SELECT status FROM summary_cache_fetch('sized', force_refresh => true)}, 'b'), 'miss', 'a limit of 0 caches nothing');
is(stat_of('b', 'sized', 'bytes'), '0', '... at all');
foreach my $value ('-1', 'much')
{
	($ret, $out, $err) = $node->psql('b', "SELECT summary_cache_configure('sized', 'memory_limit', '$value')");
	like($err, qr/ERROR:  invalid value for option "memory_limit".*HINT:  Use a size/s, "a limit of $value is refused");
}

#
# What is dropped gives its room back at the commit
#
my $entries = 'SELECT count(*) FROM summary_cache_stats WHERE stats_reset IS NOT NULL';
$node->sql(q{
	CREATE ROLE regress_owner;
	GRANT SELECT, TRIGGER ON t TO regress_owner;
	GRANT CREATE ON SCHEMA public TO regress_owner;
	GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_owner;
	SET ROLE regress_owner;
	SELECT summary_cache_define('his1', 'main', 'SELECT n FROM t');
	SELECT summary_cache_define('his2', 'main', 'SELECT n FROM t');
});
# for later, when there is room for four
define('b', 'empty');
$node->sql(q{CREATE TABLE zero (n int); INSERT INTO zero VALUES (0); SELECT summary_cache_define('broken', 'main', 'SELECT 1 / n AS n FROM zero', run_query => false)}, 'b');
$node->append_conf('postgresql.conf', 'summary_cache.max_sections = 4');

# Two entries are taken in another database by what is about to go; is one to be had afterwards without pushing the others out?
sub given_back
{
	my ($what, $drop, @names) = @_;
	$node->restart;
	status(map { ['b', $_] } 'set1', 'set2');
	$node->sql("SELECT summary_cache_get('$_')") for @names;
	$drop->();
	is(status(['b', 'set3'], ['b', 'set4']), 'miss miss', "$what: two more summaries");
	is($node->sql($entries, 'b'), '4', "$what: all have an entry");
	is($node->sql('SELECT summaries_evicted, documents_evicted FROM summary_cache_server', 'b'), '0|0', "$what: nobody has given way");
	return;
}

given_back('summary_cache_drop()', sub { $node->sql(q{SELECT summary_cache_drop('old1'); SELECT summary_cache_drop('old2')}) }, 'old1', 'old2');
given_back('read by others until the commit', sub {
	my $dropper = Session->new($node);
	$dropper->query(q{BEGIN; SELECT summary_cache_drop('old3'); SELECT summary_cache_drop('old4')});
	is(status(['postgres', 'old3'], ['postgres', 'old4']), 'hit-revision hit-revision', 'until then they are hits');
	$dropper->query('COMMIT');
	$dropper->quit;
}, 'old3', 'old4');
given_back('DROP OWNED', sub { $node->sql('DROP OWNED BY regress_owner') }, 'his1', 'his2');
$node->sql('DROP ROLE regress_owner');
given_back('DROP EXTENSION', sub { $node->sql('BEGIN; DROP EXTENSION summary_cache; COMMIT') }, 'old5', 'old6');

# a database, with sessions in it
foreach my $force ('', ' WITH (FORCE)')
{
	database('doomed', 'd1', 'd2');
	$node->restart;
	status(['b', 'set1'], ['b', 'set2'], ['doomed', 'd1'], ['doomed', 'd2']);
	my $inside = $force ? Session->new($node, 'doomed') : undef;
	$node->sql("DROP DATABASE doomed$force");
	is(status(['b', 'set3'], ['b', 'set4']), 'miss miss', "DROP DATABASE$force: two more summaries");
	is($node->sql('SELECT summaries_evicted FROM summary_cache_server', 'b'), '0', "DROP DATABASE$force: nobody has given way");
}

# A drop that is rolled back keeps what there is.
$node->sql('CREATE EXTENSION summary_cache');
define('postgres', 'old1', 'old2');
$node->restart;
status(['postgres', 'old1']);
$node->sql(q{
	BEGIN; SELECT summary_cache_drop('old1'); ROLLBACK;
	BEGIN; SAVEPOINT s; SELECT summary_cache_drop('old1'); ROLLBACK TO s; COMMIT});
is(stat_of('postgres', 'old1', 'builds_miss, bytes > 0'), '1|t', 'a drop that was rolled back keeps the document');
# One that was prepared is the first to give way.
$node->sql(q{BEGIN; SELECT summary_cache_drop('old1'); PREPARE TRANSACTION 'drop'});
status(@set[0 .. 2]);
$node->sql(q{COMMIT PREPARED 'drop'});
status(@set[0 .. 2], ['b', 'set4']);
is(status(@set[0 .. 2], ['b', 'set4']), 'hit-revision hit-revision hit-revision hit-revision', 'what a prepared transaction has dropped gives way');

#
# Entries full: the least recently read gives way, of whatever database
#
$node->restart;
is(status(@set[0 .. 3]), 'miss miss miss miss', 'all entries are taken');
is(status(['postgres', 'old2'], ['postgres', 'old2']), 'miss hit-revision', 'another database gets one');
is($node->sql('SELECT summaries_evicted FROM summary_cache_server'), '1', '... that was given up, which is counted');
is(status(['postgres', 'old2'], ['postgres', 'old2']), 'hit-revision hit-revision', '... and keeps it');
is($node->sql($entries, 'b'), '3', 'the one that was given up counts anew');
# One without a document is given up to one that cannot be built: who knew the entry finds that it is another's.
$node->sql(q{SELECT summary_cache_configure('empty', 'memory_limit', '0')}, 'b');
$node->restart;
my $knows = Session->new($node, 'b');
is($knows->query(q{SELECT status FROM summary_cache_fetch('empty')}), 'miss', 'a summary that may keep nothing');
status((@set[0 .. 2]) x 3);
$node->psql('b', q{SELECT summary_cache_get('broken')});
is($node->sql(q{SELECT string_agg(summary, ' ' ORDER BY summary) FROM summary_cache_stats WHERE stats_reset IS NOT NULL}, 'b'), 'broken set1 set2 set3',
	'... gives its entry to one that cannot be built');
$node->sql(q{SELECT summary_cache_configure('empty', 'memory_limit', NULL)}, 'b');
is($knows->query(q{SELECT status FROM summary_cache_fetch('empty')}), 'miss', 'a session that knew its entry, without the limit');
is($knows->query(q{SELECT status FROM summary_cache_fetch('empty')}), 'hit-revision', '... has hits');
is(stat_of('b', 'empty', 'misses, hits'), '1|1', '... that are counted as its own');
$knows->quit;
$node->sql(q{SELECT summary_cache_drop('empty'), summary_cache_drop('broken')}, 'b');

# New sections take the place of the summary's own old ones.  (Of a summary that was without any in between, the old
# ones are given back at the commit.)
$node->sql('CREATE DATABASE w');
$node->sql(q{CREATE EXTENSION summary_cache; CREATE TABLE t (n int); INSERT INTO t VALUES (1);
	SELECT summary_cache_define('w', 'old' || g, format('SELECT n AS n%s FROM t', g)) FROM generate_series(1, 2) g}, 'w');
$node->restart;
is(status(@set[0, 1], ['w', 'w'], @set[0, 1], ['w', 'w']), 'miss miss miss hit-revision hit-revision hit-revision', 'all sections are taken');
$node->sql(q{BEGIN; SELECT summary_cache_drop('w', 'old1');
	SELECT summary_cache_define('w', 'new' || g, format('SELECT n AS m%s FROM t', g)) FROM generate_series(1, 2) g;
	SELECT summary_cache_drop('w', 'old2'); COMMIT}, 'w');
ok($node->hit('w', 'w'), 'a summary of two with two other names');
is(status(@set[0, 1]), 'hit-revision hit-revision', '... pushes nobody out');
$node->sql('DROP DATABASE w');
$node->restart;
is(status(@set[0 .. 3], ['postgres', 'old2']), 'miss miss miss miss miss', 'room for four');

# with more summaries than entries everything is still right
foreach my $round (1 .. 3)
{
	$node->sql("UPDATE t SET n = $round", $_) for 'b', 'postgres';
	is(join(' ', map { $node->sql(forced($_), 'b') } map { "set$_" } 1 .. 5), join(' ', ($round) x 5), "five summaries, four entries: round $round");
}

$node->stop;

#
# More tables than slots
#
my $crowd = Node->new('crowd');
$crowd->init;
$crowd->append_conf('postgresql.conf', 'summary_cache.save = off');
$crowd->append_conf('postgresql.conf', q{
	autovacuum = off
	max_prepared_transactions = 5
	summary_cache.max_tables = 8
	summary_cache.refresh_rest = 0
});
$crowd->start;
my @tables = map { "t$_" } 1 .. 6;
$crowd->sql('CREATE DATABASE a');
$crowd->sql('CREATE EXTENSION summary_cache;' . join('', map { "CREATE TABLE $_ (n int); INSERT INTO $_ VALUES (0);" } @tables) .
	q{SELECT summary_cache_define('s', 'main', 'SELECT } . join(' + ', map { "(SELECT n FROM $_)" } @tables) . q{ AS n')}, 'a');
$crowd->sql('CREATE DATABASE b TEMPLATE a');
$crowd->sql('CREATE DATABASE c TEMPLATE a');
my $refused = 'SELECT slots_refused FROM summary_cache_server';
($ret, $out, $err) = $crowd->psql('a', fetch('s'));
is("$out $err", 'miss 0 ', 'a database takes all slots');
is($crowd->sql($refused, 'a'), '0', '... of which none was refused');
foreach my $db ('b', 'c')
{
	# once in a session, however often it builds
	$before = $crowd->sql($refused, $db);
	($ret, $out, $err) = $crowd->psql($db, join ';', fetch('s'), (forced('s')) x 2);
	is($out, "miss 0\n0\n0", "$db, a copy, has none, and is cached");
	like($err, qr/^[^\n]*WARNING:  there is no slot for a source table of summary "s"\nDETAIL:[^\n]*\nHINT:  Raise summary_cache\.max_tables[^\n]*$/,
		'... with one warning');
	cmp_ok($crowd->sql($refused, $db), '>=', $before + 6, '... which is counted');
	is($crowd->sql(fetch('s'), $db), 'hit-revision 0', '... and hit');
	like($crowd->sql(q{SELECT DISTINCT provable || ' ' || coalesce(revision::text, 'none') || ' ' || reason FROM summary_cache_tables}, $db),
		qr/^true none all slots are in use/, '... as the view says');
}
my $wrong = 0;
foreach my $n (1 .. 6)
{
	$before = $crowd->sql($refused, 'a');
	$crowd->sql("UPDATE t$n SET n = n + 1", 'b');
	cmp_ok($crowd->sql($refused, 'a'), '>', $before, 'a commit that looks for a slot is counted');
	is($crowd->sql(fetch('s'), 'a'), 'hit-revision 0', "a write in a database without slots costs others nothing: t$n");
	is($crowd->sql(fetch('s'), 'c'), 'hit-revision 0', "... another one without slots neither");
	$wrong++ if $crowd->sql(fetch('s'), 'b') eq 'hit-revision ' . ($n - 1);
	is($crowd->cached('s', 'b'), $n, '... and is noticed in its own');
}
is($wrong, 0, 'no hit hides a write');

# DDL, roles and prepared transactions are noticed there as well, also those of before a restart.
$crowd->sql(q{CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'; SELECT summary_cache_define('f', 'main', 'SELECT f() AS n', '{}')}, 'b');
is($crowd->cached('f', 'b'), '1', 'a function');
$crowd->sql(q{CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2'}, 'b');
isnt($crowd->sql(fetch('f'), 'b'), 'hit-revision 1', '... is replaced');
is($crowd->sql(fetch('s'), 'a'), 'hit-revision 0', '... which costs others nothing');
# by the label, since a refresh that was asked for before may be done at any time
my $label = q{SELECT fingerprint FROM summary_cache_stats WHERE summary = 's'};
$crowd->cached('s', 'b');
my $old_label = $crowd->sql($label, 'b');
$crowd->sql('CREATE ROLE regress_any; DROP ROLE regress_any', 'a');
$crowd->cached('s', 'b');
isnt($crowd->sql($label, 'b'), $old_label, 'DDL on roles is noticed');
foreach my $restart (0, 1)
{
	my $n = $crowd->cached('s', 'b');
	$crowd->sql(q{BEGIN; UPDATE t1 SET n = n + 1; PREPARE TRANSACTION 'p'}, 'b');
	if ($restart)
	{
		$crowd->restart;
		$crowd->sql(fetch('s'), $_) for 'a', 'c', 'b';
		$crowd->sql(fetch('s'), $_) for 'a', 'c', 'b';
	}
	is($crowd->sql(fetch('s'), 'b'), "hit-revision $n", 'a hit beside a prepared transaction');
	$crowd->sql(q{COMMIT PREPARED 'p'}, 'b');
	isnt($crowd->sql(fetch('s'), 'b'), "hit-revision $n", 'none after it' . ($restart ? ', with a restart in between' : ''));
	is($crowd->cached('s', 'b'), $n + 1, '... but the new one');
}

# A definition that fails or is rolled back leaves no slot behind, in whatever way it fails.
$crowd->sql("DROP DATABASE $_") for 'b', 'c';
$crowd->sql('CREATE DATABASE d');
$crowd->sql(q{CREATE EXTENSION summary_cache; CREATE TABLE t (n int); CREATE TABLE u (n int)}, 'd');
# Tables that are defined again in the transaction that drops them keep their slots.
$crowd->sql(q{BEGIN; SELECT summary_cache_drop('s'); SELECT summary_cache_define('s', 'main', 'SELECT } . join(' + ', map { "(SELECT n FROM $_)" } @tables) . q{ AS n'); COMMIT}, 'a');
$before = $crowd->sql($refused, 'a');
($ret, $out, $err) = $crowd->psql('d', q{SELECT summary_cache_define('d', 'main', 'SELECT count(*) AS n FROM t')});
like($err, qr/no room to track table "t"/, 'what is dropped and defined again in one transaction keeps its slots');
cmp_ok($crowd->sql($refused, 'a'), '>', $before, '... which another definition is refused, and that is counted');
$crowd->sql(q{SELECT summary_cache_drop('s')}, 'a');
my $many = join(' + ', map { "(SELECT count(*) FROM m$_)" } 1 .. 10);
$crowd->sql(join('', map { "CREATE TABLE m$_ (n int);" } 1 .. 10), 'a');
my $few = $many =~ s/ \+ \(SELECT count\(\*\) FROM m7\).*//r;
foreach my $define ("SELECT summary_cache_define('junk', 'main', 'SELECT $many AS n')",
	"BEGIN; SELECT summary_cache_define('junk', 'main', 'SELECT $few AS n'); ROLLBACK",
	"BEGIN; SAVEPOINT s; SELECT summary_cache_define('junk', 'main', 'SELECT $few AS n'); ROLLBACK TO s; COMMIT",
	"DO \$\$BEGIN PERFORM summary_cache_define('junk', 'main', 'SELECT $many AS n'); EXCEPTION WHEN configuration_limit_exceeded THEN NULL; END\$\$",
	"BEGIN; SELECT summary_cache_define('junk', 'main', 'SELECT $few AS n'); COMMIT; DROP TABLE m1, m2, m3, m4, m5, m6")
{
	$crowd->restart;
	$crowd->psql('a', $define);
	($ret, $out, $err) = $crowd->psql('d', q{
		SELECT summary_cache_define('d', 'main', 'SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM u) AS n');
		SELECT summary_cache_get('d'); SELECT status FROM summary_cache_fetch('d')});
	like($out, qr/hit-revision$/, "another database can define after $define");
	is($crowd->sql('SELECT count(revision) FROM summary_cache_tables', 'd'), '2', '... and has slots');
	$crowd->sql(q{SELECT summary_cache_drop('d')}, 'd');
}

$crowd->stop;

#
# With the debug build: what takes a moment, or 1 GB
#
SKIP:
{
	skip 'needs the debug build', 21 unless $ENV{SC_DEBUG_CONF};

	my $debug = Node->new('debug');
	$debug->init;
	$debug->append_conf('postgresql.conf', 'summary_cache.save = off');
	$debug->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
	# one worker, for which readers wait until it comes to them
	$debug->append_conf('postgresql.conf', "autovacuum = off\nsummary_cache.max_sections = 2\nsummary_cache.max_workers = 1\ndeadlock_timeout = 1min");
	$debug->start;
	# what the function reads is no source
	$debug->sql(q{
		SET client_min_messages = warning;
		CREATE EXTENSION summary_cache;
		CREATE TABLE untracked (n int);
		INSERT INTO untracked VALUES (1);
		CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT n FROM untracked); END';
		SELECT summary_cache_define('s1', 'main', 'SELECT f() AS n', '{}');
		SELECT summary_cache_define('s2', 'main', 'SELECT 2 AS n', '{}')});
	$debug->sql('CREATE DATABASE other');
	$debug->sql(q{CREATE EXTENSION summary_cache; SELECT summary_cache_define('s3', 'main', 'SELECT 3 AS n', '{}')}, 'other');

	# A document that nobody could read: 1 GB stands for 100 bytes, of which 20 are not in the strings
	# (nor could a worker build it, which tries after the reader has failed)
	$debug->sql('CREATE DATABASE sizes');
	$debug->sql(q{
		CREATE EXTENSION summary_cache;
		CREATE TABLE x (n int); INSERT INTO x VALUES (41);
		CREATE TABLE y (n int); INSERT INTO y VALUES (40);
		SELECT summary_cache_define('two', 'x', 'SELECT repeat(''x'', n) AS x FROM x');
		SELECT summary_cache_define('two', 'y', 'SELECT repeat(''y'', n) AS y FROM y', refresh => 'inline')}, 'sizes');
	my $two = q{SELECT status, length(document->>'x'), length(document->>'y') FROM summary_cache_fetch('two', force_refresh => %s)};
	my $counted = q{SELECT builds_failed, builds_not_cached, bytes, last_error FROM summary_cache_stats WHERE summary = 'two'};
	$debug->set_server('summary_cache.debug_fail', 'size');
	($ret, $out, $err) = $debug->psql('sizes', sprintf $two, 'false');
	like($err, qr/ERROR:  document of summary "two" is too large.*HINT:/s, 'two sections of which each is small, and both have more than 1 GB: an error');
	is($debug->sql($counted, 'sizes'), '1|2|0|document of summary "two" is too large', '... which is counted, and nothing is kept');
	$debug->sql('UPDATE x SET n = 40', 'sizes');
	is($debug->sql(join(';', sprintf($two, 'true'), sprintf($two, 'false')), 'sizes'), "miss|40|40\nhit-revision|40|40", 'one byte less: it is cached');
	$debug->sql('UPDATE y SET n = 41', 'sizes');
	is($debug->sql(sprintf($two, 'false'), 'sizes'), 'stale|40|40', 'a section that is built alone, and too large for the others');
	is($debug->sql($counted, 'sizes') =~ s/^\d+\|\d+\|//r, '95|document of summary "two" is too large', '... is not kept');
	$debug->set_server('summary_cache.debug_fail', undef, '');
	$debug->restart;

	# An entry is given up while its document is built, and comes back to the same summary after an invalidation, which
	# found no entry: what was built before is not published.
	my $builder = Session->new($debug);
	my $waiter = Session->new($debug);
	# (the function is for a worker only)
	is($debug->sql(fetch('s1')), 'miss 1', 'a document');
	my $asleep = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND wait_event = 'PgSleep'};
	$debug->sql(q{ALTER SYSTEM SET summary_cache.debug_point = 'build-done'});
	$debug->set_server('summary_cache.debug_sleep', '2000000000');
	$debug->sql('CREATE TABLE ddl ()');
	is($debug->sql('SET summary_cache.read_your_writes = off; ' . fetch('s1')), 'stale 1', 'a document is refreshed');
	$debug->poll("SELECT count(*) FROM ($asleep) a", '1') or die 'the worker does not build';
	$debug->sql(q{ALTER SYSTEM RESET summary_cache.debug_point});
	$debug->set_server('summary_cache.debug_sleep', undef, '0');
	is($debug->sql(join ';', (fetch('s2')) x 3), "miss 2\nhit-revision 2\nhit-revision 2", 'another summary is read more');
	is($debug->sql(fetch('s3'), 'other'), 'miss 3', 'a third one takes the entry');
	is($debug->sql(q{SELECT summaries_evicted FROM summary_cache_server, summary_cache_stats WHERE summary = 's1' AND stats_reset IS NULL}), '1', '... of the one that is built');
	# so that it is the third one's entry, the same again, that is given up for the first
	$debug->sql(join ';', (fetch('s2')) x 3);
	$debug->sql(q{UPDATE untracked SET n = 2; SELECT summary_cache_invalidate('s1')});
	$waiter->send_sql(fetch('s1'));
	ok($debug->poll(readers_waiting(), '1'), 'a reader waits for the builder');
	$debug->sql("SELECT pg_log_backend_memory_contexts(pid) FROM ($asleep) a");
	$debug->poll("SELECT count(*) FROM ($asleep) a", '0') or die 'the worker does not go on';
	is($waiter->result, 'miss 2', 'the reader has what there was after the invalidation');
	is($debug->sql(fetch('s1')), 'hit-revision 2', '... which is published');
	# While a reader copies a large document, who changes that one waits, and nobody else.
	$builder->query(q{SET summary_cache.local_memory_limit = 0});
	$builder->hold('copy', q{SELECT length(summary_cache_get('s1')::text)});
	$waiter->send_sql(q{SELECT summary_cache_invalidate('s1')});
	ok($debug->poll('SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = ' . $waiter->pid . q{ AND wait_event_type = 'LWLock'}),
		'who invalidates what is being copied waits for the reader');
	is($debug->sql(q{CREATE TABLE any_table (); DROP TABLE any_table; SELECT status FROM summary_cache_fetch('s3', force_refresh => true)}, 'other'), 'miss',
		'... DDL and builds in another database do not');
	$builder->wake;
	is($waiter->result, '', '... until the copy is made');
	$_->quit for $builder, $waiter;
	$debug->stop;

	# A reader builds an inline section.  Meanwhile the document gives way, and who had begun to build it before a commit
	# brings an older one: of that, the reader's answer is not said to be current.
	$debug = Node->new('parts');
	$debug->init;
	$debug->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
	$debug->append_conf('postgresql.conf', "autovacuum = off\nsummary_cache.memory_limit = 1MB");
	$debug->start;
	$debug->sql(q{
		CREATE EXTENSION summary_cache;
		CREATE TABLE t (n int); INSERT INTO t VALUES (1);
		CREATE TABLE u (m int); INSERT INTO u VALUES (1);
		CREATE TABLE f (k int); INSERT INTO f VALUES (1);
		SELECT summary_cache_define('s', 'main', 'SELECT n, repeat(''x'', 300000) AS pad FROM t');
		SELECT summary_cache_define('s', 'inlined', 'SELECT m FROM u', refresh => 'inline');
		SELECT summary_cache_define('f', 'main', 'SELECT repeat(''y'', 700000) AS y FROM f');
		SELECT summary_cache_configure('s', 'memory_limit', '1kB')});
	my $both = q{SELECT status, document->>'n', document->>'m' FROM summary_cache_fetch('s')};
	# builders do not wait for each other, since the last document did not fit
	$debug->sql("SET client_min_messages = error; $both");
	$debug->sql(q{SELECT summary_cache_configure('s', 'memory_limit', NULL)});
	$_ = Session->new($debug) for $builder, $waiter;
	$builder->hold('build-done', $both);
	$debug->sql('UPDATE t SET n = 2');
	is($debug->sql($both), 'miss|2|1', 'a document is built beside one that is older');
	$debug->sql('UPDATE u SET m = 2');
	$waiter->hold('build-labelled', $both);
	is($debug->sql(q{SET client_min_messages = error; SELECT status FROM summary_cache_fetch('f')}), 'miss', '... and gives way to another one');
	is($builder->wake, 'miss|1|1', 'the older one is published');
	is($waiter->wake, 'stale|1|2', 'whoever has built a part of the newer one does not take it for current');
	$_->quit for $builder, $waiter;
	$debug->stop;
}
done_testing();
