# Proves that a library serves the SQL objects of the version before it, as each server of a fleet has them in a rolling upgrade, and says what cannot be done with them.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;

use Session;
use Versions;

plan skip_all => 'the tree has no library: it was not built here' unless -e 'summary_cache.so';

my $primary = Node->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "summary_cache.eager_refresh = on\nmax_prepared_transactions = 5\nhot_standby_feedback = on");
$primary->start;
my $versions = Versions->new($primary);
my $version = $versions->version;
my $next = '1.1test';
my $script = $versions->script;

#
# A next library: of this source, with the upgrade scripts of a next version.  That of the version before
# the last is none of them.
#
my $guard = "\\echo Use ALTER EXTENSION. \\quit\n";
my $more = <<'SQL';
CREATE FUNCTION summary_cache_more() RETURNS integer AS 'SELECT 1' LANGUAGE sql;
REVOKE ALL ON FUNCTION summary_cache_more() FROM PUBLIC;
SQL

# The statement that makes an object, or all that begin so.
sub statements
{
	my ($head) = @_;
	my @found = $script =~ /^(\Q$head\E.*?;)\n/msg;

	@found or die "no $head in the install script";
	return join("\n", @found) . "\n";
}

# Replace, and be sure that there was something.
sub changed
{
	my ($text, $pattern, $instead) = @_;

	$text =~ s/$pattern/$instead/ or die "no $pattern in the install script";
	return $text;
}

# An older version, whose tables, results and functions have less: no columns from "generated" on, no table of
# readers, no parameters and keys, fewer columns in the views and one view less, and fewer arguments.
my $reader = statements('CREATE TABLE summary_cache.reader') . statements('COMMENT ON TABLE summary_cache.reader')
  . statements('REVOKE ALL ON summary_cache.reader') . statements(q{SELECT pg_catalog.pg_extension_config_dump('summary_cache.reader'});
my ($reader_triggers) = join("\n", $script =~ /^(CREATE TRIGGER \w+\s+(?:AFTER|BEFORE) [A-Z ]+ ON summary_cache\.reader.*?ENABLE ALWAYS TRIGGER \w+;)\n/msg);
my $older = $script;
$older = changed($older, qr/,\n    generated .*?(?=,\n    PRIMARY)/s, '');
$older = changed($older, qr/CREATE TABLE summary_cache\.reader .*?pg_roles\)'\);\n/s, '');
1 while $older =~ s/^CREATE TRIGGER \w+\s+(?:AFTER|BEFORE) [A-Z ]+ ON summary_cache\.reader.*?ENABLE ALWAYS TRIGGER \w+;\n//ms;
$older = changed($older, qr/,\n        OUT evictions bigint,\n        OUT forms_made .*?OUT document_bytes bigint/s, '');
$older = changed($older, qr/,\n        OUT slots_refused bigint/, '');
$older = changed($older, qr/, OUT parts integer, OUT parameters text(?=\))/, '');
$older = changed($older, qr/, OUT keyed text\[\](?=\))/, '');
$older = changed($older, qr/,\n        run_query boolean DEFAULT true.*?(?=\))/s, '');
1 while $older =~ s/,\s+parameters text\[\] DEFAULT NULL//;
1 while $older =~ s/anycompatible, text, boolean, text\[\], text\[\]\)/anycompatible, text)/;
1 while $older =~ s/(summary_cache_(?:get|fetch|fetch_encoded|unchanged|invalidate)\([^()]*), text\[\]\)/$1)/;
$older = changed($older, qr/^CREATE FUNCTION summary_cache_key.*?;\n/ms, '');
$older = changed($older, qr/^COMMENT ON FUNCTION summary_cache_key.*?;\n/ms, '');
$older = changed($older, qr/^    summary_cache_key\(\),\n/m, '');
$older = changed($older, qr/^CREATE FUNCTION summary_cache_stat_documents.*?;\n/ms, '');
$older = changed($older, qr/^CREATE VIEW summary_cache_documents.*?;\nCOMMENT .*?;\n/ms, '');
1 while $older =~ s/ summary_cache_documents,//;
unlike($older, qr/reader\b(?! |s)|incarnation|generated boolean|evictions|forms_made|run_query|parameters text|parameter_types|keyed|cache_documents|stat_documents|summary_cache_key/,
	'a version that has less is made up');

my @more_functions = qw(stat_summaries stat_server stat_sections stat_tables stat_documents get fetch fetch_encoded unchanged invalidate define key);
my $upgrade = $guard . q{
	DROP VIEW summary_cache_stats, summary_cache_server, summary_cache_sections, summary_cache_tables;
	DROP FUNCTION summary_cache_stat_summaries(), summary_cache_stat_server(), summary_cache_stat_sections(), summary_cache_stat_tables();
	DROP FUNCTION summary_cache_define(text, text, text, anycompatible, text);
	DROP FUNCTION summary_cache_get, summary_cache_fetch, summary_cache_fetch_encoded, summary_cache_unchanged, summary_cache_invalidate;
	ALTER TABLE summary_cache.definition ADD COLUMN generated boolean NOT NULL DEFAULT false;
	ALTER TABLE summary_cache.definition ADD COLUMN incarnation uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid();
	ALTER TABLE summary_cache.definition ADD COLUMN parameters text[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN parameter_types regtype[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN keyed text[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN not_keyed text[] NOT NULL DEFAULT '{}';
} . join("\n", $reader, $reader_triggers, map({ statements("CREATE FUNCTION summary_cache_$_(") } @more_functions),
	map({ statements("CREATE VIEW summary_cache_$_ ") } qw(stats server sections tables documents))) . $more;

my %scripts = ('0.8' => $older, '0.9' => $older, "0.9--$next" => $upgrade,
	"$version--$next" => $guard . $more, "0.8--0.9" => $guard, $next => $script . $more);

my $tree = PostgreSQL::Test::Utils::tempdir();
run_log([ 'cp', '-pR', 'src', 'sql', 'Makefile', 'summary_cache.control', $tree ]) or die;
append_to_file("$tree/sql/summary_cache--$_.sql", $scripts{$_}) foreach sort keys %scripts;
my $control = slurp_file("$tree/summary_cache.control") =~ s/^(default_version *= *').*'/$1$next'/mr;
unlink "$tree/summary_cache.control";
append_to_file("$tree/summary_cache.control", $control);
{
	delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};
	command_ok([ 'make', '-s', '-C', $tree, 'with_llvm=no', 'all' ], 'the next library is built');
}

# Each server has a file of its own, which is replaced as a package would.
my %directory;

sub give_library
{
	my ($node, $file) = @_;
	my $directory = $directory{$node->name};

	system('cp', $file, "$directory/new") == 0 && rename("$directory/new", "$directory/summary_cache.so") or die "cannot copy $file";
	$node->restart;
	return;
}

sub set_up
{
	my ($node, $its) = @_;
	my $directory = $directory{$node->name} = PostgreSQL::Test::Utils::tempdir();

	$its->add($_, $scripts{$_}) foreach keys %scripts;
	unlink $its->library;
	symlink("$directory/summary_cache.so", $its->library) or die $its->library . ": $!";
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$directory/summary_cache.so'\ndynamic_library_path = '$directory:\$libdir'");
	give_library($node, 'summary_cache.so');
	return;
}

set_up($primary, $versions);
$primary->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
set_up($standby, Versions->new($standby));

my $status = q{SELECT status FROM summary_cache_fetch('s')};

sub caught_up
{
	my $lsn = $primary->lsn('flush');
	$standby->poll(qq{SELECT pg_last_wal_replay_lsn() >= '$lsn'}) or die 'the standby stays behind';
	return;
}

# What a read has that is not stale, beside what the table has.
my $both = q{SELECT (document->>'n') || ' ' || (SELECT sum(n) FROM t) || ' ' || status FROM summary_cache_fetch('s')};

# Is a server in full service: hits; a write that ends them, and is shown; a refresh without a reader?
sub serves
{
	my ($node, $db, $name) = @_;

	ok($node->hit('s', $db), "$name: hits");
	$primary->sql('INSERT INTO t VALUES (1)', $db);
	caught_up();
	my ($document, $table, $got) = split / /, $node->sql($both, $db);
	ok($got eq 'stale' ? $document < $table : $document == $table, "$name: after a write no hit is without it ($got)");
	ok($node->poll(state_of('s'), 'current', $db), "$name: the worker refreshes by itself");
	is($node->sql($both, $db) =~ s/ hit-revision$//r, $primary->sql("SELECT sum(n) || ' ' || sum(n) FROM t", $db), "$name: ... what the table has");
	is($node->sql(q{SELECT document->>'n' FROM summary_cache_fetch('s', NULL, true)}, $db), $primary->sql('SELECT sum(n) FROM t', $db),
		"$name: a forced read");
	is($node->sql(q{SELECT string_agg(section || ' ' || refresh, ',') FROM summary_cache_sections WHERE summary = 's'}, $db), 'main background', "$name: view of sections");
	is($node->sql(q{SELECT count(*) FROM summary_cache_stats s, summary_cache_tables t, summary_cache_server v
		WHERE s.summary = 's' AND t.source = 't'::regclass AND t.provable AND v.workers >= 0}, $db), '1', "$name: the other views");
	return;
}

# Writes of all kinds, without a word.
sub writes_work
{
	my ($db, $name) = @_;
	my ($ret, $out, $err) = $primary->psql($db, q{
		SET client_min_messages = warning;
		INSERT INTO t VALUES (1), (2); UPDATE t SET n = n + 1; DELETE FROM t WHERE n > 2;
		BEGIN; SAVEPOINT a; INSERT INTO t VALUES (11); ROLLBACK TO a; INSERT INTO t VALUES (12); COMMIT;
		BEGIN; INSERT INTO t VALUES (13); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';
		COPY t FROM STDIN;
16
\\.
		ALTER TABLE t ADD COLUMN w int; ALTER TABLE t DROP COLUMN w; ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t;
		CREATE ROLE regress_served; DROP OWNED BY regress_served; DROP ROLE regress_served;
	}, on_error_stop => 1);

	is($ret, 0, "$name: writes and DDL succeed");
	return $err;
}

sub error
{
	my ($node, $sql, $db) = @_;
	my ($ret, undef, $err) = $node->psql($db, "\\set VERBOSITY verbose\n$sql");

	return $err =~ s/^psql:<stdin>:\d+: //mgr;
}

#
# A rolling upgrade: standby, primary, then the objects
#
$primary->sql(q{
	CREATE TABLE t (n int); INSERT INTO t VALUES (1);
	CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('s', 'main', 'SELECT sum(n) AS n FROM t')});
caught_up();
serves($primary, 'postgres', 'before');
serves($standby, 'postgres', 'before, standby');

give_library($standby, "$tree/summary_cache.so");
serves($standby, 'postgres', 'standby with the next library');
serves($primary, 'postgres', 'its primary');
give_library($primary, "$tree/summary_cache.so");
serves($primary, 'postgres', 'primary with the next library');
is(writes_work('postgres', 'next library'), '', '... without a word');
$primary->sql(q{SELECT summary_cache_define('s2', 'main', 'SELECT max(n) AS n FROM t'); SELECT summary_cache_configure('s2', 'readers', 'postgres');
	SELECT summary_cache_configure('s2', 'readers', NULL); SELECT summary_cache_drop('s2')});
pass('summaries are defined, configured and dropped');
like(error($primary, 'SELECT summary_cache_more()', 'postgres'), qr/ERROR:  42883: /, 'what the objects do not have is not there');

# An old library with the next objects: writes work, and what the standby says can be done there.
give_library($standby, 'summary_cache.so');
serves($standby, 'postgres', 'standby with the old library again');
$primary->sql("ALTER EXTENSION summary_cache UPDATE TO '$next'");
caught_up();
serves($primary, 'postgres', 'updated');
like(error($standby, $status, 'postgres'), qr/^ERROR:  55000: the SQL objects of extension "summary_cache" are of version \Q$next\E, its library is of version \Q$version\E\n(.*\n)*HINT:  Install the library of version \Q$next\E on this server if that has not been done, then restart the server\./m,
	'a standby that was forgotten says what is missing');
is($standby->sql('SELECT sum(n) FROM t'), $primary->sql('SELECT sum(n) FROM t'), '... and follows');
give_library($standby, "$tree/summary_cache.so");
serves($standby, 'postgres', 'as the hint says');

#
# Objects that have less than the library knows
#
$primary->sql('CREATE DATABASE older');
my ($ret, undef, $err) = $primary->psql('older', q{
	SET client_min_messages = warning;
	CREATE TABLE t (n int); INSERT INTO t VALUES (1);
	CREATE EXTENSION summary_cache VERSION '0.9';
	SELECT summary_cache_define('s', 'main', 'SELECT sum(n) AS n FROM t')}, on_error_stop => 1);
is($ret, 0, 'a section is written without the columns that are not there');
is($err, '', '... and nothing is said of versions');
caught_up();
serves($primary, 'older', 'older objects');
serves($standby, 'older', 'older objects, standby');
is(writes_work('older', 'older objects'), '', '... without a word');
is($primary->sql(q{SELECT query FROM summary_cache.definition}, 'older') =~ /\bt\b/, 1, 'the section follows a rename');
serves($primary, 'older', 'after DDL');
$primary->sql(q{
	SELECT summary_cache_define('s', 'main', 'SELECT sum(n) AS n FROM t', '{t}', 'background');
	SELECT summary_cache_configure('s', 'max_stale_age', '1h');
	SELECT summary_cache_invalidate('s');
	SELECT summary_cache_define('s2', 'main', 'SELECT max(n) AS n FROM t'); SELECT summary_cache_drop('s2')}, 'older');
is($primary->sql('SELECT summary, section, position FROM summary_cache.definition', 'older'), 's|main|1', 'redefined, configured, dropped');
serves($primary, 'older', 'redefined');
is($primary->sql(q{SELECT hits > 0 FROM summary_cache_stats WHERE summary = 's'}, 'older'), 't', 'the counters are in their columns');
my $update = qr/DETAIL:  They are of version 0\.9, the library is of version \Q$next\E\.\nHINT:  When all servers have the library of version \Q$next\E, run ALTER EXTENSION summary_cache UPDATE on the primary\./;
like(error($primary, q{SELECT summary_cache_configure('s', 'readers', 'postgres')}, 'older'),
	qr/^ERROR:  55000: the SQL objects of extension "summary_cache" have no table "summary_cache\.reader"\n$update/m, 'an option that has no place yet');
$primary->sql('CREATE TABLE tasks (id int, updated_at timestamptz); CREATE TABLE progress_events (id int, created_at timestamptz)', 'older');
like(error($primary, q{SELECT summary_cache_attach_state_hub('public')}, 'older'),
	qr/^ERROR:  55000: the SQL objects of extension "summary_cache" have no column "generated"\n$update/m, 'sections that could not be generated anew');

like(error($primary, q{SELECT summary_cache_get('s', parameters => '{1}')}, 'older'), qr/^ERROR:  42883: /, 'parameters are not there yet');
is($primary->sql(q{SELECT count(*) FROM pg_trigger WHERE tgname = 'summary_cache_keys'}, 'older'), '0', '... and no table has a trigger for keys');

# Somebody's changes are still found.
foreach my $alter ('ALTER TABLE summary_cache.definition RENAME COLUMN keys TO other', 'ALTER TABLE summary_cache.option ADD COLUMN more int; ALTER TABLE summary_cache.option DROP COLUMN value CASCADE')
{
	like(error($primary, "BEGIN; $alter; SELECT summary_cache_get('s')", 'older'), qr/ERROR:  55000: "summary_cache\.\w+" has \d+ columns instead of the \d+ of version/, $alter);
}
like(error($primary, q{BEGIN; ALTER TYPE summary_cache_answer ADD ATTRIBUTE more int; SELECT summary_cache_fetch('s')}, 'older'),
	qr/ERROR:  55000: "summary_cache_answer" has 5 columns instead of the 4 of version/, 'a result has more');
is($primary->sql(q{BEGIN; ALTER TYPE summary_cache_answer DROP ATTRIBUTE document; ALTER TYPE summary_cache_answer DROP ATTRIBUTE built_at;
	ROLLBACK; SELECT summary_cache_get('s')->>'n' = (SELECT sum(n) FROM t)::text}, 'older'), 't', 'undone');

$versions->set_default($next);
$primary->sql('ALTER EXTENSION summary_cache UPDATE', 'older');
caught_up();
is($primary->sql(q{SELECT extversion FROM pg_extension WHERE extname = 'summary_cache'}, 'older'), $next, 'updated');
serves($primary, 'older', 'updated objects');
serves($standby, 'older', 'updated objects, standby');
$primary->sql(q{SELECT summary_cache_configure('s', 'readers', 'postgres'); SELECT summary_cache_attach_state_hub('public')}, 'older');
$primary->sql(q{SET client_min_messages = warning; CREATE TABLE k (id int, n int); INSERT INTO k VALUES (1, 10), (2, 20);
	SELECT summary_cache_define('p', 'main', 'SELECT sum(n) AS n FROM k WHERE id = $1', parameters => '{id int}')}, 'older');
my $keyed = q{SELECT string_agg(status || ' ' || (document->>'n'), ', ' ORDER BY i)
	FROM generate_series(1, 2) i, summary_cache_fetch('p', parameters => ARRAY[i::text])};
$primary->sql($keyed, 'older');
like($primary->sql("UPDATE k SET n = 11 WHERE id = 1; $keyed", 'older'), qr/^(?:miss|hit-revision) 11, hit-revision 20$/, 'and what could not be done before can be');
is($primary->sql(q{SELECT keyed FROM summary_cache_tables WHERE source = 'k'::regclass}, 'older'), '{"p.main: by id = $1"}', '... by key');

#
# Of the version before that one, nothing is known.
#
$primary->sql('CREATE DATABASE oldest');
$primary->sql(q{CREATE TABLE t (n int); SET client_min_messages = error; CREATE EXTENSION summary_cache VERSION '0.8'}, 'oldest');
$primary->sql(q{CREATE TRIGGER summary_cache_statement AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION summary_cache_touch()}, 'oldest');
caught_up();
my $differ = qr/^ERROR:  55000: the SQL objects of extension "summary_cache" are of version 0\.8, its library is of version \Q$next\E\n(.*\n)*HINT:  /m;
like(error($primary, $status, 'oldest'), qr/${differ}Run ALTER EXTENSION summary_cache UPDATE\.$/m, 'older than that: on the primary');
like(error($standby, $status, 'oldest'), qr/${differ}Run ALTER EXTENSION summary_cache UPDATE on the primary; or install the library of version 0\.8 on this server, then restart it\.$/m,
	'... and on a standby, which cannot run it');
writes_work('oldest', 'objects that are not served');

#
# A standby that has no library at all: only who reads there notices, until it is promoted.
#
SKIP:
{
	skip 'this server has the library in its own directory', 5 if -e pg_config('--pkglibdir') . '/summary_cache.so';
	$primary->backup('late');
	my $bare = Node->new('bare');
	$bare->init_from_backup($primary, 'late', has_streaming => 1);
	$bare->start;
	set_up($bare, Versions->new($bare));
	my $file = "$directory{bare}/summary_cache.so";
	unlink $file;
	$bare->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$bare->restart;
	my $no_file = qr/^ERROR:  58P01: could not access file/m;
	like(error($bare, $status, 'postgres'), $no_file, 'without the files, a standby refuses reads');
	is($bare->sql('SELECT count(*) FROM t'), $primary->sql('SELECT count(*) FROM t'), '... and follows');
	$bare->promote;
	like(error($bare, 'INSERT INTO t VALUES (1)', 'postgres'), $no_file, 'promoted, it refuses writes');
	system('cp', "$tree/summary_cache.so", $file) == 0 or die "cannot copy to $file";
	$bare->sql('INSERT INTO t VALUES (100)');
	pass('with the files it takes them, without a restart');
	is($bare->sql(q{SELECT summary_cache_get('s')->>'n' = (SELECT sum(n) FROM t)::text}), 't', '... and reads are right');
	$bare->stop;
}

#
# What the tree itself is to serve
#
foreach my $from (map { m{sql/summary_cache--(.*)--\Q$version\E\.sql$} } glob('sql/summary_cache--*.sql'))
{
	my $db = "from_$from" =~ tr/./_/r;

	$primary->sql("CREATE DATABASE $db");
	$primary->sql(qq{CREATE TABLE t (n int); INSERT INTO t VALUES (1); CREATE EXTENSION summary_cache VERSION '$from';
		SELECT summary_cache_define('s', 'main', 'SELECT sum(n) AS n FROM t')}, $db);
	give_library($_, 'summary_cache.so') foreach $primary, $standby;
	serves($_, $db, "objects of $from, " . $_->name) foreach $primary, $standby;
}

foreach ($standby, $primary)
{
	unlike(slurp_file($_->logfile), qr/terminated by signal|PANIC|TRAP/, 'no process of ' . $_->name . ' has crashed');
	$_->stop;
}
done_testing();
