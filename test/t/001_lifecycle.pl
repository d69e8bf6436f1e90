# Proves that writes and restores never depend on the library: not preloaded, preloaded, removed again; and that an etag outlives the server and a definition.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $hub = q{
	CREATE TABLE tasks (id int PRIMARY KEY, status text, updated_at timestamptz DEFAULT now());
	CREATE TABLE progress_events (id int PRIMARY KEY, note text, created_at timestamptz DEFAULT now());
	CREATE INDEX ON tasks (updated_at);
	CREATE INDEX ON progress_events (created_at);
	INSERT INTO tasks SELECT i, 'open' FROM generate_series(1, 10) i;
	INSERT INTO progress_events SELECT i, 'note ' || i FROM generate_series(1, 30) i;
};
# What the summary says about the tasks, and what is true.
my $said = q{SELECT state_summary()->'tasks'->>'count'};
my $status = q{SELECT status FROM summary_cache_fetch()};
my $triggers = q{
	SELECT c.relname, t.tgname, t.tgenabled, d.deptype
	  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
	  LEFT JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
	       AND d.refclassid = 'pg_extension'::regclass
	 WHERE t.tgname LIKE 'summary_cache_%' AND t.tgrelid::regclass::text NOT LIKE 'summary_cache.%'
	 ORDER BY 1, 2};
my $installed = join("\n",
	'progress_events|summary_cache_statement|A|x', 'tasks|summary_cache_statement|A|x');

sub preload
{
	my ($node, $library) = @_;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$library'");
	$node->restart;
}

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->start;
$node->safe_psql('postgres', $hub);

#
# Not preloaded
#
my ($ret, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION summary_cache');
is($ret, 0, 'CREATE EXTENSION works without the preload');
like($err, qr/WARNING:.*preload/, '... and warns');
like($err, qr/shared_preload_libraries.*summary_cache|summary_cache.*shared_preload_libraries/s,
	'... naming the setting to change');

($ret, $out, $err) = $node->psql('postgres', "$status; $status; $said");
is($out, "private\nprivate\n10", 'reads build');
is(() = $err =~ /WARNING/g, 1, '... with one warning a session');
like($err, qr/not preloaded/, '... that says why');
($ret, $out, $err) = $node->psql('postgres', $said);
like($err, qr/not preloaded/, 'the next session is warned, too');

is($node->safe_psql('postgres', $triggers), $installed, 'the triggers are there');
$node->safe_psql('postgres', q{
	INSERT INTO tasks VALUES (11, 'open');
	UPDATE tasks SET status = 'done' WHERE id = 11;
	BEGIN; TRUNCATE progress_events; ROLLBACK;});
$node->safe_psql('postgres', "COPY tasks (id, status) FROM stdin;\n12\topen\n\\.\n");
is($node->safe_psql('postgres', $said), '12', 'writes go on, and are seen');
is($node->safe_psql('postgres', 'SELECT DISTINCT provable, reason FROM summary_cache_tables'),
	'f|summary_cache is not preloaded', 'the views say why nothing is proven');
$node->safe_psql('postgres', q{SELECT summary_cache_invalidate(); SELECT summary_cache_reset_stats()});

$node->safe_psql('postgres', q{
	CREATE ROLE stranger;
	GRANT EXECUTE ON FUNCTION summary_cache_get TO stranger;
	SELECT summary_cache_configure('state', 'readers', '')});
($ret, $out, $err) = $node->psql('postgres', q{SET ROLE stranger; SELECT summary_cache_get('state')});
like($err, qr/ERROR:  summary "state" is not defined/, 'who is no reader reads nothing');
# of a transaction whose snapshot is older than the option
my $older = Session->new($node);
$node->safe_psql('postgres', q{SELECT summary_cache_configure('state', 'readers', NULL)});
$older->query(q{SET ROLE stranger; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1});
like($older->query(q{SELECT 'read: ' || (summary_cache_get('state') IS NOT NULL)}), qr/read: true/, 'without the option it does');
$node->safe_psql('postgres', q{SELECT summary_cache_configure('state', 'readers', '')});
$older->query(q{SELECT summary_cache_get('state')});
like($older->error, qr/ERROR:  summary "state" is not defined/, '... until there is one, whatever its snapshot sees');
$older->quit;
$node->safe_psql('postgres', q{SELECT summary_cache_configure('state', 'readers', NULL)});

#
# Preloaded
#
preload($node, 'summary_cache');
is($node->safe_psql('postgres', "$status; $status"), "miss\nhit-revision", 'after a restart with the preload it serves');
$node->safe_psql('postgres', q{INSERT INTO tasks VALUES (13, 'open')});
isnt($node->safe_psql('postgres', $status), 'hit-revision', 'the triggers that were there follow changes');
ok($node->poll_query_until('postgres', $status, 'hit-revision'), 'it is refreshed');
is($node->safe_psql('postgres', $said), '13', 'with the change in it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_shmem_allocations WHERE name LIKE \'summary_cache%\'') > 0,
	1, 'shared memory is visible under its name');

#
# An etag is that of the content: over a restart, another definition, and the first one again
#
my $define = q{SELECT summary_cache_define('etag', 'main', 'SELECT count(*) AS n FROM tasks')};
my $etag = q{SELECT etag FROM summary_cache_fetch('etag')};
$node->safe_psql('postgres', $define);
my $first = $node->safe_psql('postgres', $etag);
like($first, qr/^\w{32,}$/, 'there is an etag');
$node->restart;
like($node->safe_psql('postgres', qq{SELECT status, etag, document IS NULL FROM summary_cache_fetch('etag', '$first')}),
	qr/^(stale|hit-revision)\|$first\|t$/, 'what was kept over a restart has the same one');
is($node->safe_psql('postgres', qq{SELECT etag FROM summary_cache_fetch('etag', force_refresh => true)}), $first, '... and so has what is built after it');
$node->safe_psql('postgres', q{
	SELECT summary_cache_drop('etag');
	SELECT summary_cache_define('etag', 'main', 'SELECT count(*) + 1 AS n FROM tasks');
	SELECT summary_cache_invalidate('etag')});
is($node->safe_psql('postgres', qq{SELECT document->>'n' FROM summary_cache_fetch('etag', '$first')}),
	$node->safe_psql('postgres', 'SELECT count(*) + 1 FROM tasks'), 'defined otherwise, who comes with it gets the new document');
isnt($node->safe_psql('postgres', $etag), $first, '... which has another one');
$node->safe_psql('postgres', "SELECT summary_cache_drop('etag'); $define; SELECT summary_cache_invalidate('etag')");
is($node->safe_psql('postgres', $etag), $first, 'defined as at first, it has the first one');
$node->safe_psql('postgres', q{SELECT summary_cache_drop('etag')});

#
# Dump and restore
#
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump.sql';
my $connstr = $node->connstr('postgres');
$node->command_ok([ 'pg_dump', '-d', $connstr, '-f', $dump ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ],
	'the dump is restored');
is($node->safe_psql('restored', $triggers), $installed,
	'the triggers are restored: when they fire, and that they go with the extension');
is($node->safe_psql('restored', "$status; $status; $said"), "miss\nhit-revision\n13", 'the restored summary serves');
is($node->safe_psql('restored', 'SELECT count(*) FROM summary_cache_tables WHERE NOT provable'), '0',
	'all of its tables are provable');
is($node->safe_psql('restored', 'SELECT section, refresh FROM summary_cache_sections ORDER BY section'),
	"core|background\nprogress|inline", 'its sections are as they were');
is($node->safe_psql('restored', q{SELECT count(*) FROM summary_cache.definition d, unnest(d.sources) s
		WHERE s::oid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)}),
	'0', 'its sources are the tables of the restored database');
$node->safe_psql('restored', q{DELETE FROM tasks WHERE id = 13});
ok($node->poll_query_until('restored', $said, '12'), 'it follows changes');
is($node->safe_psql('postgres', $said), '13', '... and not the original one');

# the other order of restoring: data into tables that exist, with their triggers off meanwhile
my $data = PostgreSQL::Test::Utils::tempdir . '/data.sql';
$node->command_ok(
	[ 'pg_dump', '-d', $connstr, '--data-only', '--disable-triggers', '-t', 'tasks', '-f', $data ],
	'pg_dump --data-only --disable-triggers');
$node->safe_psql('restored', 'DELETE FROM tasks; SELECT state_summary(true)');
is($node->safe_psql('restored', "$status"), 'hit-revision', 'a document of the empty table is cached');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $data ],
	'the data is restored');
unlike($node->safe_psql('restored', q{SELECT status || ' ' || (document->'tasks'->>'count') FROM summary_cache_fetch()}),
	qr/^hit-revision 0/, 'what came in with triggers off is noticed');
ok($node->poll_query_until('restored', $status, 'hit-revision'), 'it is refreshed');
is($node->safe_psql('restored', $said), '13', 'with the restored rows');
is($node->safe_psql('restored', $triggers), $installed, 'the triggers fire as installed again');

# a parallel restore from the directory format
my $directory = PostgreSQL::Test::Utils::tempdir . '/dir';
$node->command_ok([ 'pg_dump', '-Fd', '-d', $connstr, '-f', $directory ], 'pg_dump -Fd');
$node->safe_psql('postgres', 'CREATE DATABASE parallel');
$node->command_ok([ 'pg_restore', '-e', '-j', '2', '-d', $node->connstr('parallel'), $directory ],
	'pg_restore -j');
is($node->safe_psql('parallel', $triggers), $installed, 'its triggers are as installed');
is($node->safe_psql('parallel', $said), '13', 'its summary is right');

#
# Uninstalled and installed again in the same server
#
$node->safe_psql('restored', 'DROP EXTENSION summary_cache');
is($node->safe_psql('restored', $triggers), '', 'DROP EXTENSION takes the triggers along');
$node->safe_psql('restored', q{INSERT INTO tasks VALUES (100, 'open')});
is($node->safe_psql('restored', 'SELECT count(*) FROM tasks'), '14', 'the table is untouched and writable');
$node->safe_psql('restored', 'CREATE EXTENSION summary_cache');
is($node->safe_psql('restored', "$status; $status; $said"), "miss\nhit-revision\n14", 'and it serves again when created again');

#
# The library is removed from the setting while the triggers are there
#
preload($node, '');
$node->safe_psql('postgres', q{
	INSERT INTO tasks VALUES (14, 'open');
	UPDATE tasks SET status = 'done';
	DELETE FROM progress_events WHERE id = 1;});
is($node->safe_psql('postgres', $said), '14', 'without the library writes go on');

# a restore on such a server
$node->safe_psql('postgres', 'CREATE DATABASE bare');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('bare'), '-f', $dump ],
	'a restore does not fail without the preload');
is($node->safe_psql('bare', $triggers), $installed, 'its triggers are there');
is($node->safe_psql('bare', $said), '13', 'its summary is right');

# and with it again: what was written meanwhile is not missing
preload($node, 'summary_cache');
is($node->safe_psql('postgres', $said), '14', 'with the library again nothing is missing');
is($node->safe_psql('bare', "$status; $status"), "miss\nhit-revision", 'and the restored one serves');

$node->stop;
done_testing();
