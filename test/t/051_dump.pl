# Proves that backups carry summaries whole: dumps in every format, of schema and data apart, without the preload, and pg_upgrade.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Cwd;
use IPC::Run;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir;

# The hub with partitions; sections over several schemas, of a role whose name needs quoting; what
# depends on the extension: a view, a function, a materialized view that reads a summary.
my $setup = q{
	CREATE ROLE regress_dump_hub;
	CREATE ROLE "Odd ""Role"", of dumps";
	CREATE ROLE regress_dump_reader;
	CREATE ROLE regress_dump_gone;
	CREATE ROLE regress_dump_gone_reader;
	CREATE SCHEMA ext;
	CREATE SCHEMA hub AUTHORIZATION regress_dump_hub;
	CREATE SCHEMA "Zoo, of 'tables'" AUTHORIZATION "Odd ""Role"", of dumps";
	GRANT USAGE ON SCHEMA ext, hub TO PUBLIC;
	SET ROLE regress_dump_hub;
	CREATE TABLE hub.tasks (id int PRIMARY KEY, status text, updated_at timestamptz);
	CREATE TABLE hub.progress_events (id int, created_at timestamptz) PARTITION BY RANGE (created_at);
	CREATE TABLE hub.events_1 PARTITION OF hub.progress_events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
	CREATE TABLE hub.events_2 PARTITION OF hub.progress_events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')
		PARTITION BY RANGE (id);
	CREATE TABLE hub.events_2a PARTITION OF hub.events_2 FOR VALUES FROM (0) TO (1000);
	CREATE INDEX ON hub.tasks (updated_at);
	CREATE INDEX ON hub.progress_events (created_at);
	INSERT INTO hub.tasks SELECT i, 'open', '2026-01-01' FROM generate_series(1, 10) i;
	GRANT SELECT ON hub.tasks TO "Odd ""Role"", of dumps";
	INSERT INTO hub.progress_events SELECT i, timestamptz '2026-01-02' + i * interval '1 day' FROM generate_series(1, 50) i;
	SET ROLE "Odd ""Role"", of dumps";
	CREATE TABLE "Zoo, of 'tables'"."A ""b""" (n int);
	CREATE TABLE "Zoo, of 'tables'".child (x int) INHERITS ("Zoo, of 'tables'"."A ""b""");
	INSERT INTO "Zoo, of 'tables'".child SELECT i, i FROM generate_series(1, 5) i;
	CREATE VIEW "Zoo, of 'tables'".v AS SELECT sum(n) AS s FROM "Zoo, of 'tables'"."A ""b""";
	RESET ROLE;
	SET client_min_messages = warning;
	SET search_path = hub;
	CREATE EXTENSION summary_cache SCHEMA ext;
	SET search_path = ext;
	CREATE TABLE public.dropped (n int);
	GRANT SELECT, TRIGGER ON public.dropped TO "Odd ""Role"", of dumps";
	GRANT EXECUTE ON FUNCTION summary_cache_define TO "Odd ""Role"", of dumps", regress_dump_gone;
	GRANT EXECUTE ON FUNCTION state_summary TO regress_dump_reader;
	SET ROLE "Odd ""Role"", of dumps";
	SET search_path = "Zoo, of 'tables'", public, ext;
	SELECT summary_cache_define('zoo', 'core', 'SELECT s, current_user AS "user" FROM v');
	SELECT summary_cache_define('zoo', 'more', 'SELECT max(id) AS id FROM hub.tasks', '{}', 'inline');
	SELECT summary_cache_define('zoo', 'Wörter', $q$SELECT E'\\\\ "quoted" \n\t''line''' AS "Ä"$q$, '{dropped}', 'inline');
	SET ROLE regress_dump_gone;
	SELECT summary_cache_define('orphan', 'core', 'SELECT 1 AS x');
	RESET ROLE;
	DROP TABLE public.dropped;
	SELECT summary_cache_configure('zoo', 'max_stale_age', '7min');
	SELECT summary_cache_configure('state', 'eager_refresh', 'off');
	SELECT summary_cache_configure('state', 'readers', 'regress_dump_gone_reader, regress_dump_reader, "Odd ""Role"", of dumps"');
	SELECT summary_cache_configure('zoo', 'readers', 'regress_dump_gone_reader');
	DROP ROLE regress_dump_gone_reader;
	REVOKE EXECUTE ON FUNCTION summary_cache_define FROM regress_dump_gone;
	DROP ROLE regress_dump_gone;
	SET search_path = ext, hub;
	CREATE VIEW hub.watch AS SELECT summary, bytes FROM summary_cache_stats;
	CREATE FUNCTION hub.read() RETURNS json BEGIN ATOMIC SELECT state_summary(); END;
	CREATE MATERIALIZED VIEW hub.mat AS SELECT state_summary() -> 'tasks' ->> 'count' AS count;
};
# What must be the same after a restore, each by name.
my %same = (
	definitions => q{SELECT summary, section, position, refresh, owner, query, reads, calls, keys, settings, generated
		FROM summary_cache.definition WHERE summary <> 'orphan' ORDER BY summary, position},
	sources => q{SELECT summary, section, s FROM summary_cache.definition, unnest(sources) s
		WHERE section <> 'Wörter' ORDER BY 1, 2, s::text},
	options => q{SELECT * FROM summary_cache.option ORDER BY 1, 2},
	# but for the one that was dropped: zoo has a list all the same
	readers => q{SELECT r.* FROM summary_cache.reader r JOIN pg_roles ON oid = role ORDER BY 1, role::text},
	triggers => q{SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(t.oid), deptype
		FROM pg_trigger t LEFT JOIN pg_depend d ON classid = 'pg_trigger'::regclass AND objid = t.oid
			AND refclassid = 'pg_extension'::regclass
		WHERE tgname LIKE 'summary\_cache%' ORDER BY tgrelid::regclass::text, tgname},
	rights => q{SELECT oid::regprocedure, proacl FROM pg_proc WHERE pronamespace = 'ext'::regnamespace
			AND proacl::text LIKE '%dump%' ORDER BY oid::regprocedure::text},
	members => q{SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'summary_cache')},
	documents => q{SELECT ext.state_summary(), ext.summary_cache_get('zoo'), hub.read()},
	materialized => q{SELECT * FROM hub.mat},
);
my $status = q{SELECT string_agg(status, ' ') FROM unnest(ARRAY['state', 'zoo']) s, ext.summary_cache_fetch(s)};

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'summary_cache'});
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('source', $setup);
my %truth = map { $_ => $node->safe_psql('source', $same{$_}) } keys %same;
like($truth{documents}, qr/"user":"Odd \\"Role\\", of dumps"/, 'the source is as meant: owner');
like($truth{triggers}, qr/events_2a\|summary_cache_statement\|A.*\|x/, '... triggers');
like($truth{materialized}, qr/^10$/, '... documents');

# A restored database has all that the source has, and it works.
sub check
{
	my ($server, $dbname, $what) = @_;

	is($server->safe_psql($dbname, $same{$_}), $truth{$_}, "$what: $_") foreach (sort keys %same);
	# but for the one that was dropped, and is a number
	is($server->safe_psql($dbname, q{SELECT source, reason FROM ext.summary_cache_tables WHERE NOT provable AND sections <> '{zoo.Wörter}'}),
		'', "$what: each table is provable");
	is($server->safe_psql($dbname, q{SET ROLE regress_dump_reader; SELECT ext.state_summary() -> 'tasks' ->> 'count'}),
		'10', "$what: the reader may read");
	my (undef, undef, $err) = $server->psql($dbname, q{
		GRANT EXECUTE ON FUNCTION ext.summary_cache_get TO regress_dump_reader; SET ROLE regress_dump_reader; SELECT ext.summary_cache_get('zoo')});
	like($err, qr/ERROR:  summary "zoo" is not defined/, "... and not what is for others");
	$server->safe_psql($dbname, 'REVOKE EXECUTE ON FUNCTION ext.summary_cache_get FROM regress_dump_reader');
	works($server, $dbname, $what);
	return;
}

# Writes, also to a partition, are noticed; the worker refreshes.
sub works
{
	my ($server, $dbname, $what) = @_;
	my $core = q{SELECT status FROM ext.summary_cache_fetch()};

	$server->safe_psql($dbname, 'SELECT ext.state_summary(true)');
	is($server->safe_psql($dbname, $core), 'hit-revision', "$what: it serves");
	$server->safe_psql($dbname, q{INSERT INTO hub.events_2a VALUES (999, '2026-02-28')});
	is($server->safe_psql($dbname, $core), 'progress-section', "$what: a write to a partition is noticed");
	$server->safe_psql($dbname, q{DELETE FROM hub.tasks WHERE id = 10});
	is($server->safe_psql($dbname, $core), 'stale', "$what: a write to a table is noticed");
	ok($server->poll_query_until($dbname, $core, 'hit-revision'), "$what: it is refreshed");
	is($server->safe_psql($dbname, q{SELECT ext.state_summary() -> 'tasks' ->> 'count', ext.state_summary() -> 'recent_progress' -> 0 ->> 'id'}),
		'9|999', "$what: with what was written");
	$server->safe_psql($dbname, q{
		DELETE FROM hub.progress_events WHERE id = 999;
		INSERT INTO hub.tasks VALUES (10, 'open', '2026-01-01')});
	return;
}

sub database
{
	my ($server, $dbname) = @_;

	$server->safe_psql('postgres', "CREATE DATABASE $dbname TEMPLATE template0");
	return $server->connstr($dbname);
}

#
# Dumps of all, in each format
#
my $source = $node->connstr('source');
$node->command_ok([ 'pg_dump', '-d', $source, '-f', "$tmp/plain" ], 'pg_dump, plain');
like($node->safe_psql('source', q{SELECT owner FROM summary_cache.definition WHERE summary = 'orphan'}), qr/^\d+$/,
	'the owner of a section was dropped');
unlike(slurp_file("$tmp/plain"), qr/orphan/, 'a section of a dropped role is not dumped: its owner would be a number');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-1', '-d', database($node, 'plain'), '-f', "$tmp/plain" ],
	'a plain dump is restored in one transaction');
check($node, 'plain', 'plain');

$node->command_ok([ 'pg_dump', '-Fc', '-d', $source, '-f', "$tmp/custom" ], 'pg_dump -Fc');
$node->command_ok([ 'pg_restore', '-e', '-j', '4', '-d', database($node, 'custom'), "$tmp/custom" ], 'pg_restore -j 4');
check($node, 'custom', 'custom');

$node->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-d', $source, '-f', "$tmp/directory" ], 'pg_dump -Fd -j 2');
$node->command_ok([ 'pg_restore', '-e', '-j', '4', '-d', database($node, 'directory'), "$tmp/directory" ],
	'... restored with -j 4');
check($node, 'directory', 'directory');
# over itself
SKIP:
{
	my ($out, $err) = ('', '');
	my $restored = IPC::Run::run([ 'pg_restore', '-e', '--clean', '--if-exists', '-d', $node->connstr('directory'), "$tmp/directory" ],
		'>', \$out, '2>', \$err);
	# of 16.4, say
	skip 'this pg_restore drops the indexes of partitions in the wrong order', 1
	  if !$restored && $err =~ /because index \S+ requires it/;
	ok($restored, 'pg_restore --clean over it') or diag $err;
	check($node, 'directory', 'clean');
}
# what is restored can be dumped
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('custom'), '-f', "$tmp/again" ], 'a restored database is dumped');
$node->command_ok([ 'pg_restore', '-e', '-j', '4', '-d', database($node, 'again'), "$tmp/again" ], '... and restored');
check($node, 'again', 'again');

#
# Schema and data apart
#
$node->command_ok([ 'pg_dump', '-Fc', '--schema-only', '-d', $source, '-f', "$tmp/schema" ], 'pg_dump --schema-only');
$node->command_ok([ 'pg_dump', '-Fc', '--data-only', '-d', $source, '-f', "$tmp/data" ], 'pg_dump --data-only');
$node->command_ok([ 'pg_restore', '-e', '-j', '4', '-d', database($node, 'apart'), "$tmp/schema" ], 'the schema is restored');
is($node->safe_psql('apart', 'SELECT count(*) FROM summary_cache.definition'), '0', 'it has no definitions');
is($node->safe_psql('apart', $same{triggers}), $truth{triggers}, 'but the triggers');
my ($ret, $out, $err) = $node->psql('apart', 'SELECT ext.state_summary()');
like($err, qr/summary "state" is not defined.*\n.*HINT:.*summary_cache_attach_state_hub/s, 'a read says what is missing');
$node->safe_psql('apart', q{
	INSERT INTO hub.tasks VALUES (1, 'open', now());
	INSERT INTO hub.progress_events VALUES (1, '2026-02-05');
	UPDATE hub.tasks SET status = 'done';
	COPY hub.events_1 FROM PROGRAM 'true';
	TRUNCATE hub.tasks, hub.progress_events;});
pass('writes are not in the way');
is($node->safe_psql('apart', q{SELECT source, provable, coalesce(sections::text, 'none'), reason FROM ext.summary_cache_tables
		WHERE source IN ('hub.tasks'::regclass, 'hub.events_2a'::regclass) ORDER BY source::text}),
	join("\n", map { "$_|f|{}|no section reads it: its triggers go with the next summary_cache_drop()" } qw(hub.events_2a hub.tasks)),
	'the view lists the tables that have triggers, and that no section reads them');
# the data afterwards, which ends with ENABLE TRIGGER ALL on each table, those of the definitions included
$node->command_ok([ 'pg_restore', '-e', '--data-only', '--disable-triggers', '-j', '4', '-d', $node->connstr('apart'), "$tmp/data" ],
	'the data is restored with --disable-triggers');
$node->safe_psql('apart', 'REFRESH MATERIALIZED VIEW hub.mat');
check($node, 'apart', 'apart');
# the definitions alone, while documents are cached
$node->safe_psql('apart', 'TRUNCATE summary_cache.definition, summary_cache.option, summary_cache.reader');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '-t', 'definition', '-t', 'option', '-t', 'reader', '-d', $node->connstr('apart'), "$tmp/custom" ],
	'the definitions alone are restored');
$node->safe_psql('apart', 'SELECT ext.state_summary(true)');	# it is what was cached, and served stale
check($node, 'apart', 'definitions alone');
# by a role that is no superuser and has the right to write the tables: as far as it may act for the owners
$node->safe_psql('apart', q{
	TRUNCATE summary_cache.definition, summary_cache.option, summary_cache.reader;
	CREATE ROLE regress_dump_restorer LOGIN;
	GRANT USAGE ON SCHEMA summary_cache, "Zoo, of 'tables'" TO regress_dump_restorer;
	GRANT INSERT ON ALL TABLES IN SCHEMA summary_cache TO regress_dump_restorer;
	GRANT regress_dump_hub TO regress_dump_restorer});
my @restore = ('pg_restore', '-e', '--single-transaction', '--no-owner', '--data-only', '-n', 'summary_cache', '-U', 'regress_dump_restorer',
	'-d', $node->connstr('apart'), "$tmp/custom");
$node->command_fails_like([@restore], qr/permission denied to write table "summary_cache\.definition"/,
	'who is no member of the owner of a section does not restore it');
$node->safe_psql('apart', q{GRANT "Odd ""Role"", of dumps" TO regress_dump_restorer});
$node->command_ok([@restore], 'who is restores the definitions');
$node->safe_psql('apart', q{DROP OWNED BY regress_dump_restorer; DROP ROLE regress_dump_restorer; SELECT ext.state_summary(true)});
check($node, 'apart', 'definitions restored by a member');

#
# A source that belongs to another extension: its triggers are not dumped, and come back by themselves
#
{
	my $other_extension = 'CREATE TABLE public.place (n int); ALTER EXTENSION plpgsql ADD TABLE public.place;';
	my $trigger = q{SELECT tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'place'::regclass};
	my $fetch = q{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('place')};

	database($node, 'members');
	$node->safe_psql('members', qq{
		$other_extension
		CREATE EXTENSION summary_cache;
		SELECT summary_cache_define('place', 'core', 'SELECT count(*) AS n FROM place')});
	my $installed = $node->safe_psql('members', $trigger);
	like($installed, qr/^summary_cache_statement\|A\|/, 'a table of another extension is a source');
	$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('members'), '-f', "$tmp/members" ], '... its database is dumped');
	database($node, 'members_again');
	$node->safe_psql('members_again', $other_extension);
	$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('members_again'), "$tmp/members" ], '... and restored');
	is($node->safe_psql('members_again', $trigger), '', '... without its trigger');
	ok($node->poll_query_until('members_again', $fetch, 'hit-revision 0'), 'who reads gets a hit after a while');
	is($node->safe_psql('members_again', $trigger), $installed, '... since the trigger is there again');
	$node->safe_psql('members_again', 'INSERT INTO place VALUES (1)');
	is($node->safe_psql('members_again', $fetch), 'stale 0', '... and a write is noticed');
	ok($node->poll_query_until('members_again', $fetch, 'hit-revision 1'), '... and refreshed');
}

#
# A server without the library preloaded, whose roles have other numbers
#
my $bare = Node->new('bare');
$bare->init;
$bare->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$bare->start;
$bare->safe_psql('postgres', 'CREATE ROLE other' . $_) foreach (1 .. 7);
$bare->command_fails_like([ 'pg_restore', '-e', '-d', database($bare, 'roleless'), "$tmp/custom" ],
	qr/role .* does not exist/, 'the roles must be there first');
$node->command_ok([ 'pg_dumpall', '--roles-only', '-f', "$tmp/roles" ], 'pg_dumpall --roles-only');
$bare->command_ok([ 'psql', '-X', '-q', '-d', $bare->connstr('postgres'), '-f', "$tmp/roles" ], 'the roles are restored');
$bare->command_ok([ 'pg_restore', '-e', '-j', '4', '-d', database($bare, 'custom'), "$tmp/custom" ],
	'pg_restore -j 4 without the preload');
is($bare->safe_psql('custom', $same{$_}), $truth{$_}, "not preloaded: $_") foreach (sort keys %same);
is($bare->safe_psql('custom', $status), 'private private', 'reads are computed');
$bare->command_ok([ 'pg_restore', '-e', '-d', database($bare, 'apart'), "$tmp/schema" ], '... schema');
$bare->command_ok([ 'pg_restore', '-e', '--disable-triggers', '-d', $bare->connstr('apart'), "$tmp/data" ],
	'... and data apart');
$bare->safe_psql('apart', 'REFRESH MATERIALIZED VIEW hub.mat');
$bare->append_conf('postgresql.conf', q{shared_preload_libraries = 'summary_cache'});
$bare->restart;
check($bare, 'custom', 'preloaded later');
# ENABLE TRIGGER ALL has made ordinary triggers of ours, and nobody was there to put that right
is($bare->safe_psql('apart', q{SELECT reason FROM ext.summary_cache_tables WHERE source = 'hub.tasks'::regclass}),
	'trigger summary_cache_statement of tasks is not enabled as installed', 'it is said what is not as installed');
$bare->safe_psql('apart', q{INSERT INTO hub.tasks VALUES (11, 'open', now()); SELECT ext.state_summary(true); DELETE FROM hub.tasks WHERE id = 11});
isnt($bare->safe_psql('apart', 'SELECT status FROM ext.summary_cache_fetch()'), 'hit-revision', 'nothing is taken for current');
$bare->safe_psql('apart', q{
	DO $$
	DECLARE t regclass;
	BEGIN
		FOR t IN SELECT DISTINCT tgrelid FROM pg_trigger WHERE tgname LIKE 'summary\_cache%' LOOP
			EXECUTE format('ALTER TABLE %s ENABLE TRIGGER ALL', t);
		END LOOP;
	END $$;
	SELECT ext.state_summary(true)});
check($bare, 'apart', 'triggers enabled once more');
$bare->stop;

#
# pg_upgrade; to the same version, which does all that it does between versions
#
$node->safe_psql('postgres', "DROP DATABASE $_") foreach (qw(plain custom directory again apart members members_again));
$node->command_ok([ 'pg_dump', '--binary-upgrade', '--schema-only', '-d', $source, '-f', "$tmp/binary" ],
	'pg_dump --binary-upgrade');
like(slurp_file("$tmp/binary"), qr/binary_upgrade_create_empty_extension\('summary_cache'/, 'it carries the extension as it is');
SKIP:
{
	# it looks for libraries where the server's own are, but for Debian's servers up to 17
	skip 'pg_upgrade does not find libraries in extension paths', 1
	  if $node->pg_version >= 18 && !-e $node->config_data('--pkglibdir') . '/summary_cache.so';
	my $new = Node->new('new');
	$new->init;
	$new->append_conf('postgresql.conf', q{shared_preload_libraries = 'summary_cache'});
	$node->stop;
	my $bindir = $node->config_data('--bindir');
	my $cwd = getcwd;
	chdir $tmp;
	command_ok(
		[ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
			'-s', $new->host, '-p', $node->port, '-P', $new->port ],
		'pg_upgrade');
	chdir $cwd;
	$new->start;
	check($new, 'source', 'pg_upgrade');
	$new->stop;
}

done_testing();
