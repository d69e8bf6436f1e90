# Proves that a library and SQL objects of different versions say so, never crash, and never fail a write.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Test::More;

use Session;
use Versions;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	summary_cache.eager_refresh = on
	max_prepared_transactions = 5
});
$node->start;
my $versions = Versions->new($node);
my $version = $versions->version;
my $script = $versions->script;

# The statement that makes an object.
sub statement
{
	my ($head) = @_;

	$script =~ /^(\Q$head\E.*?;)\n/ms or die "no $head in the install script";
	return $1;
}

# Replace, and be sure that there was something.
sub changed
{
	my ($text, $pattern, $instead) = @_;

	$text =~ s/$pattern/$instead/ or die "no $pattern in: $text";
	return $text;
}

#
# Versions of other shapes: an older one whose tables and results have fewer columns, and a newer one
# with many more.
#
my @results = ('CREATE FUNCTION summary_cache_stat_summaries', 'CREATE FUNCTION summary_cache_stat_sections',
	'CREATE FUNCTION summary_cache_stat_tables');
my $drop = q{
	DROP VIEW summary_cache_stats, summary_cache_sections, summary_cache_tables;
	DROP FUNCTION summary_cache_stat_summaries(), summary_cache_stat_sections(), summary_cache_stat_tables();
	DROP FUNCTION summary_cache_fetch(text, text, boolean, text[]);
	DROP TYPE summary_cache_answer;
};
my @views = map { statement("CREATE VIEW summary_cache_$_") } qw(stats sections tables);
my @fetch = (statement('CREATE TYPE summary_cache_answer'), statement('CREATE FUNCTION summary_cache_fetch'));

my $older = $script;
$older = changed($older, qr/^    calls .*\n    keys .*\n    settings .*\n    generated .*\n    -- .*\n    incarnation .*\n(?:    (?:-- |parameters |parameter_types |keyed |not_keyed ).*\n)+/m, '');
$older = changed($older, qr/OUT waits bigint, OUT wait_ms_total double precision,\s*/, '');
$older = changed($older, qr/OUT pending integer, (?=OUT fingerprint)/, '');
$older = changed($older, qr/OUT pending integer, (?=OUT last_change)/, '');
$older = changed($older, qr/built_at timestamptz, (?=document)/, '');
$versions->add('0.9', $older);
$versions->add("0.9--$version", join("\n", $drop, map({ statement($_) } @results), @views, @fetch, q{
	ALTER TABLE summary_cache.definition ADD COLUMN calls text[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN keys text[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN settings text[] NOT NULL DEFAULT '{search_path=public}';
	ALTER TABLE summary_cache.definition ADD COLUMN generated boolean NOT NULL DEFAULT false;
	ALTER TABLE summary_cache.definition ADD COLUMN incarnation uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid();
	ALTER TABLE summary_cache.definition ADD COLUMN parameters text[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN parameter_types regtype[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN keyed text[] NOT NULL DEFAULT '{}';
	ALTER TABLE summary_cache.definition ADD COLUMN not_keyed text[] NOT NULL DEFAULT '{}';
}));

my $columns = join(', ', map { "more_$_ text" } 1 .. 60);
my $out = join(', ', map { "OUT more_$_ text" } 1 .. 60);
my $add = join(', ', map { "ADD COLUMN more_$_ text" } 1 .. 60);
$versions->add("$version--1.1test", join("\n", $drop,
	map({ changed(statement($_), qr/\)\s*RETURNS/, ", $out)\nRETURNS") } @results), @views,
	changed($fetch[0], qr/\);/, ", $columns);"), $fetch[1],
	"ALTER TABLE summary_cache.definition $add; ALTER TABLE summary_cache.option $add;"));

#
# What is asked of each
#
my $tables = q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE parent (id int) PARTITION BY RANGE (id);
	CREATE TABLE part PARTITION OF parent FOR VALUES FROM (0) TO (100);
	CREATE TABLE tasks (id int, updated_at timestamptz);
	CREATE TABLE progress_events (id int, created_at timestamptz);
};
my @calls = (
	'SELECT state_summary()', 'SELECT state_summary(true)', q{SELECT summary_cache_get('one')},
	q{SELECT * FROM summary_cache_fetch('one')}, q{SELECT summary_cache_fetch('one', NULL, true)},
	q{SELECT summary_cache_define('two', 'a', 'SELECT count(*) AS n FROM t')}, q{SELECT summary_cache_drop('one')},
	q{SELECT summary_cache_configure('one', 'max_stale_age', '1min')}, q{SELECT summary_cache_attach_state_hub('public')},
	q{SELECT * FROM summary_cache_notices('one')}, 'TABLE summary_cache_stats', 'TABLE summary_cache_sections', 'TABLE summary_cache_tables');
my $truth = q{SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM parent)};
my $definition = q{SELECT (SELECT count(*) FROM t) AS t, (SELECT count(*) FROM parent) AS parent};
my $said = q{SELECT (j->>'t') || ' ' || (j->>'parent') FROM summary_cache_get('one') j};

sub says_so
{
	my ($node, $database, $other, $hint, $name) = @_;

	foreach my $call (@calls, $node->safe_psql($database, 'SHOW shared_preload_libraries') ? (q{SELECT summary_cache_invalidate('one')}) : ())
	{
		my ($ret, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$call");

		like($err, qr/^\S*\s*ERROR:  55000: the SQL objects of extension "summary_cache" are of version \Q$other\E, its library is of version \Q$version\E\n(.*\n)*HINT:  $hint/m,
			"$name: $call");
	}
	return;
}

sub writes_work
{
	my ($node, $database, $name) = @_;
	my ($ret, $out, $err) = $node->psql($database, q{
		TRUNCATE t;
		INSERT INTO t SELECT i FROM generate_series(1, 10) i;
		UPDATE t SET v = 'x' WHERE id < 3;
		DELETE FROM t WHERE id = 4;
		BEGIN; SAVEPOINT a; INSERT INTO t VALUES (11); ROLLBACK TO a; INSERT INTO t VALUES (12); COMMIT;
		BEGIN; INSERT INTO t VALUES (13); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';
		BEGIN; INSERT INTO t VALUES (14); ROLLBACK;
		SET session_replication_role = replica; INSERT INTO t VALUES (15); RESET session_replication_role;
		INSERT INTO parent VALUES (1); INSERT INTO part VALUES (2); UPDATE parent SET id = 3 WHERE id = 2;
		COPY t FROM STDIN;
16	copied
\\.
		ALTER TABLE t ADD COLUMN w int; ALTER TABLE t DROP COLUMN w;
		ALTER TABLE t ENABLE TRIGGER ALL;
		CREATE TABLE part2 PARTITION OF parent FOR VALUES FROM (100) TO (200); DROP TABLE part2;
		SELECT count(*) FROM t;
	}, on_error_stop => 1);

	is($ret, 0, "$name: writes and DDL succeed");
	is($err, '', '... without a word');
	is($out, 13, '... and are done');
	return;
}

#
# SQL objects older than the library: its files were replaced and the server restarted
#
$node->safe_psql('postgres', 'CREATE DATABASE older');
$node->safe_psql('older', $tables);
my ($ret, $stdout, $stderr) = $node->psql('older', q{CREATE EXTENSION summary_cache VERSION '0.9'});
is($ret, 0, 'an older version can be created');
like($stderr, qr/WARNING:  the SQL objects .* version 0\.9.*HINT:  Run ALTER EXTENSION summary_cache UPDATE\./s, '... with a warning');
# As it was when that version's library was there.
$node->safe_psql('older', qq{
	CREATE TRIGGER summary_cache_statement AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION summary_cache_touch();
	ALTER TABLE t ENABLE ALWAYS TRIGGER summary_cache_statement;
	INSERT INTO summary_cache.definition (summary, section, position, refresh, owner, query, sources, reads)
		VALUES ('one', 'a', 1, 'background', current_user::regrole, \$\$$definition\$\$, '{t}', '{t,parent,part}');
});
says_so($node, 'older', '0.9', 'Run ALTER EXTENSION summary_cache UPDATE\.', 'older SQL objects');
writes_work($node, 'older', 'older SQL objects');

# Before the upgrade is committed it serves whoever makes it; after that everybody.
$node->safe_psql('older', qq{BEGIN; ALTER EXTENSION summary_cache UPDATE; $said; ROLLBACK});
says_so($node, 'older', '0.9', 'Run ALTER EXTENSION', 'upgrade rolled back');
$node->safe_psql('older', 'ALTER EXTENSION summary_cache UPDATE');
is($node->safe_psql('older', $said), $node->safe_psql('older', $truth), 'once upgraded, the definitions are served');
is($node->safe_psql('older', q{SELECT count(*) FROM summary_cache_stats, summary_cache_sections}), 1, '... and the views answer');

#
# SQL objects newer than the library: somebody was faster than the restart
#
$node->safe_psql('postgres', 'CREATE DATABASE newer');
$node->safe_psql('newer', qq{
	$tables
	CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('one', 'a', \$\$$definition\$\$)});
my $reader = Session->new($node, 'newer');
my $status = q{SELECT status FROM summary_cache_fetch('one')};
is($reader->query("$said; $status"), "0 0\nhit-revision", 'a session reads');
my $log = -s $node->logfile;
$node->safe_psql('newer', q{ALTER EXTENSION summary_cache UPDATE TO '1.1test'});
$reader->query($said);
like($reader->error, qr/are of version 1\.1test/, '... and, having the document, is told of the new version');
says_so($node, 'newer', '1.1test', 'Install the library of version 1\.1test on this server if that has not been done, then restart the server\.', 'newer SQL objects');
writes_work($node, 'newer', 'newer SQL objects');

# eager_refresh: these writes, or the calls before them, had the worker look.
ok(wait_until(sub {
	$node->sql('INSERT INTO parent VALUES (5)', 'newer');
	return slurp_file($node->logfile, $log) =~ /could not refresh summary "one": the SQL objects/;
}), 'the worker says so, too');
$reader->quit;

is($node->psql('newer', 'DROP EXTENSION summary_cache'), 0, 'it can be dropped');
is($node->safe_psql('newer', q{SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal}), 0, '... with the triggers');
$node->safe_psql('newer', qq{CREATE EXTENSION summary_cache; SELECT summary_cache_define('one', 'a', \$\$$definition\$\$)});
is($node->safe_psql('newer', $said), $node->safe_psql('newer', $truth), '... and created again');

#
# The right version, and yet another shape
#
foreach my $alter ('ALTER TABLE summary_cache.definition ADD COLUMN more int', 'ALTER TABLE summary_cache.option ADD COLUMN more int',
	'ALTER TYPE summary_cache_answer ADD ATTRIBUTE more int')
{
	($ret, $stdout, $stderr) = $node->psql('newer', "\\set VERBOSITY verbose\nBEGIN; $alter; SELECT * FROM summary_cache_fetch('one')");
	like($stderr, qr/ERROR:  55000: "summary_cache[._]\w+" has \d+ columns instead of the \d+ of version .*HINT:  Somebody has altered it/s, $alter);
}

#
# Not preloaded
#
my $bare = Node->new('bare');
$bare->init;
$bare->append_conf('postgresql.conf', q{
	shared_preload_libraries = ''
	max_prepared_transactions = 5
});
$bare->start;
my $beside = Versions->new($bare);
$beside->add('0.9', $older);
$bare->safe_psql('postgres', "$tables CREATE EXTENSION summary_cache VERSION '0.9'");
says_so($bare, 'postgres', '0.9', 'Run ALTER EXTENSION', 'not preloaded');
writes_work($bare, 'postgres', 'not preloaded');

#
# The library's file replaced in a running server, where the SQL objects name it by another path than the preload does
#
my $replaced = Node->new('replaced');
$replaced->init;
# what is read after a restart is built
$replaced->append_conf('postgresql.conf', 'summary_cache.save = off');
$replaced->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$replaced->start;
my $private = Versions->new($replaced);
my $link = $private->library;
my $directory = PostgreSQL::Test::Utils::tempdir();
my $file = "$directory/summary_cache.so";
# A copy of another inode in its place.
sub replace_library
{
	my ($from) = @_;

	system('cp', $from, "$file.new") == 0 && rename("$file.new", $file) or die "cannot copy $from";
	return;
}
my $original = readlink($link);
replace_library($original);
unlink($link);
symlink($file, $link) or die "$link: $!";
$replaced->append_conf('postgresql.conf', qq{
	shared_preload_libraries = '$file'
	dynamic_library_path = '$directory'
});
$replaced->restart;
$replaced->safe_psql('postgres', qq{
	$tables
	CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('one', 'a', \$\$$definition\$\$)});
my $before = Session->new($replaced, 'postgres');
is($before->query("$said; $status"), "0 0\nhit-revision", 'a session has the library');
replace_library($original);
foreach my $call (@calls, q{SELECT summary_cache_invalidate('one')}, 'SELECT summary_cache_reset_stats()')
{
	($ret, $stdout, $stderr) = $replaced->psql('postgres', "\\set VERBOSITY verbose\n$call");
	like($stderr, qr/^\S*\s*ERROR:  55000: the library of extension "summary_cache" was replaced while it was in use\n(.*\n)*HINT:  Restart the server/m,
		"library replaced: $call");
}
# (COPY is noticed by the trigger alone)
my $both = q{SELECT status || ' ' || (document->>'t') FROM summary_cache_fetch('one')};
is($before->query($both), 'hit-revision 0', 'a session from before reads on');
$replaced->safe_psql('postgres', "COPY t FROM STDIN;\n1\tcopied\n\\.\n");
unlike($before->query($both), qr/^hit-revision 0$/, '... and misses no write of one that has both');
$before->quit;
writes_work($replaced, 'postgres', 'library replaced');
$replaced->restart;
is($replaced->safe_psql('postgres', $said), $replaced->safe_psql('postgres', $truth), 'after the restart it is read');

foreach ($node, $bare, $replaced)
{
	unlike(slurp_file($_->logfile), qr/terminated by signal|PANIC|TRAP/, 'no process of ' . $_->name . ' has crashed');
	$_->stop;
}
done_testing();
