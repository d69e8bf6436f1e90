# Proves that what we do after a user's DDL (a moved hub, DROP OWNED) neither fails nor holds up that DDL, and that other sessions see the right thing at once.

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
$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'summary_cache'
max_prepared_transactions = 2});
$node->start;
$node->safe_psql('postgres', q{
	CREATE SCHEMA hub;
	CREATE TABLE hub.tasks (id int PRIMARY KEY, status text, updated_at timestamptz);
	CREATE TABLE hub.progress_events (id int PRIMARY KEY, created_at timestamptz);
	CREATE TABLE other (n int);
	CREATE SCHEMA ext;
	SET search_path = hub;
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache SCHEMA ext;
	INSERT INTO hub.tasks VALUES (1, 'open', now());
});
my $count = q{SELECT status, document -> 'tasks' ->> 'count' FROM ext.summary_cache_fetch()};
# What a command said on stderr; it must succeed, and a wait is an error.
sub said
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "SET statement_timeout = '60s'; $sql");

	is($ret, 0, $sql);
	return $err;
}

#
# Moved, while other sessions have plans and copies
#
my $reader = Session->new($node);
is($reader->query($count), 'miss|1', 'a session reads');
is($reader->query($count), 'hit-revision|1', '... and has a copy');
like(said('ALTER SCHEMA hub RENAME TO moved'), qr/NOTICE:  summary "state" follows the State Hub tables to schema "moved"/, 'it says so');
is($reader->query(q{SELECT document -> 'tasks' ->> 'count' FROM ext.summary_cache_fetch()}), '1', 'the session reads on');
$node->safe_psql('postgres', q{INSERT INTO moved.tasks VALUES (2, 'open', now())});
ok($node->poll_query_until('postgres', $count, 'hit-revision|2'), 'the worker refreshes over the moved tables');
is($reader->query($count), 'hit-revision|2', '... and the session has it');
# a move that is not committed
my $mover = Session->new($node);
$mover->query('BEGIN; ALTER SCHEMA moved RENAME TO away');
is($mover->query(q{SELECT document -> 'tasks' ->> 'count' FROM ext.summary_cache_fetch()}), '2', 'who moves reads on as well');
is($reader->query($count), 'hit-revision|2', 'and for others nothing has changed');
$mover->query('ROLLBACK');
is($reader->query($count), 'hit-revision|2', '... nor after the rollback');

# the extension itself
is(said('ALTER SCHEMA ext RENAME TO ext2'), '', 'nothing is said');
(my $count2 = $count) =~ s/ext\./ext2./g;
is($reader->query($count2 =~ s/fetch\(\)/fetch(force_refresh => true)/r), 'miss|2', 'under its new name');
$node->safe_psql('postgres', q{INSERT INTO moved.tasks VALUES (3, 'open', now())});
ok($node->poll_query_until('postgres', $count2, 'hit-revision|3'), 'the worker finds it there');
is(said('ALTER SCHEMA ext2 RENAME TO ext'), '', 'and back');
my ($ret, $out, $err) = $node->psql('postgres', 'ALTER EXTENSION summary_cache SET SCHEMA public');
like($err, qr/ERROR:.*does not support SET SCHEMA/, 'SET SCHEMA is refused');

#
# Somebody is changing definitions
#
my $definer = Session->new($node);
$definer->query(q{BEGIN; SELECT ext.summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM other')});
like(said('ALTER SCHEMA moved RENAME TO moved2'),
	qr/WARNING:  the summary of the State Hub does not follow its tables: another session is changing definitions \(PID $definer->{pid}\)\nHINT:  Call summary_cache_attach_state_hub\(\) with their schema\./,
	'the move does not wait for a definer');
$definer->query('COMMIT');
($ret, $out, $err) = $node->psql('postgres', 'SELECT ext.state_summary(true)');
like($err, qr/relation "moved.tasks" does not exist/, 'the error names the table');
like($node->safe_psql('postgres', $count), qr/^stale\|3$/, 'the old document is served');
$node->safe_psql('postgres', q{SET client_min_messages = warning; SELECT ext.summary_cache_attach_state_hub('moved2')});
is($node->safe_psql('postgres', $count =~ s/fetch\(\)/fetch(force_refresh => true)/r), 'miss|3', 'attaching heals');
# or has the table that we would look at
$definer->query('BEGIN; LOCK TABLE moved2.progress_events IN ACCESS EXCLUSIVE MODE');
like(said('ALTER SCHEMA moved2 RENAME TO hub'),
	qr/WARNING:  the summary of the State Hub does not follow its tables: could not obtain lock on relation "progress_events"/,
	'nor for who has locked a table');
$definer->query('ROLLBACK');
like(said('ALTER SCHEMA hub RENAME TO moved2'), qr/follows the State Hub tables to schema "moved2"/, 'moved back, it is as it was');
like(said('ALTER SCHEMA moved2 RENAME TO hub'), qr/follows the State Hub tables to schema "hub"/, 'and the next time it follows');


#
# Any other section
#
$node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE TABLE parent (id int); CREATE TABLE brother (id int);
	SELECT ext.summary_cache_define('family', 'core', 'SELECT (SELECT count(*) FROM parent) AS parents, (SELECT count(*) FROM brother) AS brothers');
});
my $family = q{SELECT ext.summary_cache_get('family', true)};
my $unnoticed = qr/section "core" of summary "family" does not follow what was renamed or moved: another session has locked what its query reads\nHINT:  If its query names that, call summary_cache_define\(\)/;
# what another table of the query is locked for cannot be waited for, as its holder may wait for us
$definer->query('BEGIN; LOCK TABLE brother IN ACCESS EXCLUSIVE MODE');
like(said('ALTER TABLE parent RENAME TO mother'), $unnoticed, 'a rename does not wait for what else the query reads');
$definer->query('ROLLBACK');
($ret, $out, $err) = $node->psql('postgres', $family);
like($err, qr/relation "parent" does not exist/, 'so the section does not follow, and says so');
is(said('ALTER TABLE mother RENAME TO parent'), '', 'renamed back, it reads on');
is($node->safe_psql('postgres', $family), '{"parents":0,"brothers":0}', '... as before');
# locked afterwards only: by the command's own transaction or another
$mover->query('BEGIN; ALTER TABLE brother RENAME TO sister');
like($mover->error, qr/NOTICE:  section "core" of summary "family" follows/, 'who has locked the table himself follows');
like(said('ALTER TABLE parent RENAME TO mother'), $unnoticed, 'beside him one more rename does not wait');
$mover->query('COMMIT');
($ret, $out, $err) = $node->psql('postgres', $family);
like($err, qr/relation "parent" does not exist/, 'one of two has followed');
$node->safe_psql('postgres', 'ALTER TABLE mother RENAME TO parent');
is($node->safe_psql('postgres', $family), '{"parents":0,"brothers":0}', '... and both are there');
# a definer that has not committed
$definer->query(q{BEGIN; SELECT ext.summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM other')});
like(said('ALTER TABLE parent RENAME TO mother'), qr/WARNING:  section "core" of summary "family" does not follow what was renamed or moved: another session is changing definitions \(PID $definer->{pid}\)$/m, 'nor does a rename wait for a definer');
# nor another definer without being told for whom
my $second = q{SET lock_timeout = '10ms'; SELECT ext.summary_cache_define('s', 'another', 'SELECT 1 AS a', '{}')};
(undef, undef, $err) = $node->psql('postgres', $second);
like($err, qr/ERROR:  canceling statement due to lock timeout\nCONTEXT:  while waiting for another session to change definitions \(PID $definer->{pid}\)$/m, 'a definer that waits in vain is told for whom');
$definer->query(q{PREPARE TRANSACTION 'definer'});
(undef, undef, $err) = $node->psql('postgres', $second);
like($err, qr/^CONTEXT:  while waiting for another session to change definitions \(a transaction without a session\)$/m, '... which may be a prepared transaction');
$node->safe_psql('postgres', q{COMMIT PREPARED 'definer'});
$node->safe_psql('postgres', 'ALTER TABLE mother RENAME TO parent');
# other sessions see it at commit
$family = q{SELECT status || document FROM ext.summary_cache_fetch('family')};
ok($node->poll_query_until('postgres', $family, 'hit-revision{"parents":0,"brothers":0}'), 'the document is current');
is($reader->query($family), 'hit-revision{"parents":0,"brothers":0}', 'a session reads');
$mover->query('BEGIN; ALTER TABLE parent RENAME TO mother; INSERT INTO mother VALUES (1)');
is($mover->query(q{SELECT ext.summary_cache_get('family')}), '{"parents":1,"brothers":0}', 'who renames reads on');
is($reader->query($family), 'hit-revision{"parents":0,"brothers":0}', 'others have what was committed');
$mover->query('COMMIT');
ok($node->poll_query_until('postgres', $family, 'hit-revision{"parents":1,"brothers":0}'), 'the worker refreshes under the new name');
is($reader->query(q{SELECT document FROM ext.summary_cache_fetch('family')}), '{"parents":1,"brothers":0}', '... and the session has it');
# nor for who has locked another table of the extension: before the command, or in it
my $other_table = 'LOCK TABLE summary_cache.option IN ACCESS EXCLUSIVE MODE';
$definer->query("BEGIN; $other_table");
like(said(q{SET statement_timeout = '20s'; ALTER TABLE mother RENAME TO parent}),
	qr/WARNING:  sections do not follow what is renamed or moved: canceling statement due to lock timeout/, 'nor for the options');
like(said(q{SET statement_timeout = '20s'; ALTER SCHEMA hub RENAME TO moved}),
	qr/WARNING:  the summary of the State Hub does not follow its tables: canceling statement due to lock timeout/, '... nor does a moved hub');
$definer->query('ROLLBACK');
$node->safe_psql('postgres', 'ALTER TABLE parent RENAME TO mother; ALTER SCHEMA moved RENAME TO hub');
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('family'); DROP TABLE mother, sister});

# a section that has nothing to do with it is not looked at: its table may be locked, its name be the same as another's
$node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE TABLE busy (id int, other_id int); CREATE TABLE unrelated (id int);
	CREATE SCHEMA apart; CREATE TABLE apart.busy (id int);
	CREATE FUNCTION unrelated(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION other(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION related(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
	CREATE TYPE apart.mood AS ENUM ('happy');
	SELECT ext.summary_cache_define('busy', 'core', $$SELECT count(*) AS n, 'another' AS other FROM public.busy$$);
	SELECT ext.summary_cache_define('busy', 'pattern', $$SELECT count(id) AS digits, max(related(id)) AS r FROM public.busy AS id WHERE id::text ~ '\d'$$);
	SELECT ext.summary_cache_define('busy', 'escape', $$SELECT count(id) AS letters FROM public.busy AS id WHERE id::text ~ E'\\w' -- not happy$$);
	CREATE SCHEMA not_there;
	SET search_path = public, not_there;
	SELECT ext.summary_cache_define('busy', 'path', $$SELECT count(*) AS in_path FROM busy$$);
	DROP SCHEMA not_there;
});
$definer->query('BEGIN; LOCK TABLE busy IN ACCESS EXCLUSIVE MODE');
is(said('ALTER TABLE unrelated RENAME TO other_table'), '', 'a rename says nothing about a section that does not name it');
is(said('ALTER TABLE other_table RENAME id TO other'), '', '... nor of a column');
is(said('ALTER TABLE apart.busy RENAME TO another'), '', '... nor of a table of the same name');
like(said('ALTER TABLE IF EXISTS no_such_table RENAME TO busy'), qr/^[^\n]*NOTICE:  relation "no_such_table" does not exist, skipping$/, '... nor of none');
is(said($_), '', '... nor of what is no relation, whatever escapes and names are in the text')
	foreach ('ALTER FUNCTION unrelated RENAME TO another_function', 'ALTER FUNCTION other RENAME TO id', 'ALTER FUNCTION id SET SCHEMA apart',
	'ALTER SCHEMA apart RENAME TO other', q{ALTER TYPE other.mood RENAME VALUE 'happy' TO 'sad'}, 'ALTER TYPE other.mood RENAME TO digits');
like(said('ALTER FUNCTION related RENAME TO relation'), qr/^[^\n]*WARNING:  section "pattern" of summary "busy" does not follow [^\n]*locked what its query reads\nHINT[^\n]*$/, 'but of a function that it calls');
like(said('ALTER SCHEMA other RENAME TO not_there'), qr/^[^\n]*WARNING:  section "path" of summary "busy" does not follow [^\n]*locked what its query reads\nHINT[^\n]*$/, '... or of a schema that comes into its search path');
$definer->query('ROLLBACK');
is(said('ALTER FUNCTION relation RENAME TO related'), '', 'renamed back, it reads on');
is($node->safe_psql('postgres', q{SELECT ext.summary_cache_get('busy', true)}), '{"n":0,"other":"another","digits":0,"r":null,"letters":0,"in_path":0}', 'it is as it was');
$node->safe_psql('postgres', q{SET client_min_messages = warning; SELECT ext.summary_cache_drop('busy'); DROP TABLE busy, other_table; DROP SCHEMA not_there CASCADE; DROP FUNCTION another_function, related});

# however many there are, all follow
my $many = 800;
$node->safe_psql('postgres', qq{
	CREATE TABLE many (n int);
	SELECT ext.summary_cache_define('many 1', 'core', 'SELECT count(*) AS n, max(n) AS max FROM many');
	INSERT INTO summary_cache.definition
		SELECT (jsonb_populate_record(d, jsonb_build_object('summary', 'many ' || i))).*
		FROM summary_cache.definition d, generate_series(2, $many) i WHERE summary = 'many 1';
});
my $said = said(q{SET statement_timeout = 0; ALTER TABLE many RENAME TO lots});
is(() = $said =~ /follows what was renamed/g, $many, 'all follow');
unlike($said, qr/WARNING/, '... and nothing else is said');
is($node->safe_psql('postgres', q{SELECT count(*) FROM summary_cache.definition WHERE query LIKE '%lots%'}), $many, '... in the catalog');
$node->safe_psql('postgres', q{DELETE FROM summary_cache.definition WHERE summary LIKE 'many %'; DROP TABLE lots});

# a command that breaks a section waits for nobody, and says nothing of what it does not know
$node->safe_psql('postgres', q{
	CREATE TABLE broken (a int, b int); CREATE TABLE held (n int);
	SELECT ext.summary_cache_define('broken', 'core', 'SELECT sum(b) AS b, count(n) AS n FROM held, broken');
});
my $breaks = qr/WARNING:  section "core" of summary "broken" cannot be built any more: column "b" does not exist\nHINT:  Call summary_cache_define\(\)/;
$definer->query('BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE');
is(said('BEGIN; ALTER TABLE broken DROP b; ROLLBACK'), '', 'a section whose other table is locked is not looked at');
$definer->query(q{ROLLBACK; BEGIN; LOCK TABLE summary_cache.definition IN ACCESS EXCLUSIVE MODE});
is(said('BEGIN; ALTER TABLE broken DROP b; ROLLBACK'), '', '... nor one beside who has locked the definitions');
like(said('BEGIN; ALTER TABLE broken RENAME TO renamed; ROLLBACK'),
	qr/WARNING:  sections do not follow what is renamed or moved: another session is changing the extension \(PID $definer->{pid}\)$/m, '... which a rename says');
$definer->query(q{ROLLBACK; BEGIN; SELECT ext.summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM other')});
$mover->query('BEGIN; ALTER TABLE broken DROP b');
like($mover->error, $breaks, 'but one beside who is changing definitions');
$mover->query('ROLLBACK');
$definer->query('ROLLBACK');
# somebody comes to lock what the query reads besides while the command waits for its table
my $waiting = Session->new($node);
foreach ([ 'held', 'its other table' ], [ 'summary_cache.definition', 'the definitions' ])
{
	my ($table, $what) = @$_;

	$definer->query('BEGIN; LOCK TABLE broken IN ROW EXCLUSIVE MODE');
	$waiting->send_sql('BEGIN; ALTER TABLE broken DROP b');
	ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $waiting->{pid}"), 'a command waits for its table');
	$mover->query("BEGIN; LOCK TABLE $table IN ACCESS EXCLUSIVE MODE");
	$definer->query('ROLLBACK');
	$waiting->result;
	is($waiting->error, '', "... and says nothing if somebody has locked $what by then");
	$mover->query('ROLLBACK');
	$waiting->query('ROLLBACK');
}
$waiting->quit;
like(said('ALTER TABLE broken DROP b'), $breaks, 'else it does');
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('broken'); DROP TABLE broken, held});

# what would run while a query is analysed: a constant is converted, by whoever's function, for as long as that likes
my $forever = q{
	CREATE FUNCTION forever(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
		-- what it says would not be sent, and what it writes be rolled back
		PERFORM pg_advisory_lock_shared(4711);
		IF current_setting('moves.forever', true) = 'on' THEN
			FOR i IN 1 .. 10 LOOP
				BEGIN PERFORM pg_sleep(0.5); EXCEPTION WHEN query_canceled THEN NULL; END;
			END LOOP;
		END IF;
		RETURN true;
	END$$;
	CREATE DOMAIN forever_text AS text CHECK (forever(VALUE));
	CREATE TYPE forever_pair AS (x int, y forever_text);
	CREATE TYPE forever_range AS RANGE (SUBTYPE = forever_text);
	CREATE TABLE quick (n int, a forever_text[]);
	SET client_min_messages = warning;
};
$node->safe_psql('postgres', $forever . q{
	SELECT ext.summary_cache_define('forever', 'array', $$SELECT '{x}'::forever_text[] AS a, count(*) AS an FROM quick$$);
	SELECT ext.summary_cache_define('forever', 'row', $$SELECT '(1,x)'::forever_pair AS r, count(*) AS rn FROM quick$$);
	SELECT ext.summary_cache_define('forever', 'range', $$SELECT '[x,y]'::forever_range AS b, count(*) AS bn FROM quick$$);
	SELECT ext.summary_cache_define('forever', 'comparison', $$SELECT count(*) AS cn FROM quick WHERE a = '{x}'$$);
	SELECT ext.summary_cache_define('forever', 'distinct', $$SELECT count(*) AS en FROM quick WHERE a IS DISTINCT FROM '{x}'$$);
	SELECT ext.summary_cache_define('forever', 'alike', $$SELECT count(*) AS fn FROM quick WHERE '{x}' IS NOT DISTINCT FROM a$$);
	SELECT ext.summary_cache_define('forever', 'plain', $$SELECT 'x'::forever_text AS d, '{x}'::text[] AS t, NULL::forever_text AS l, count(*) AS dn FROM quick$$);
	SELECT ext.summary_cache_define('forever', 'unrelated', $$SELECT '{x}'::forever_text[] AS u$$);
	CREATE FUNCTION u() RETURNS int LANGUAGE sql AS 'SELECT 1';
});
my $has_run = q{
	DO $$BEGIN
		IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid()) THEN
			RAISE NOTICE 'it has run';
		END IF;
	END$$};
like(said("SELECT '{x}'::forever_text[]; $has_run"), qr/it has run/, 'where it runs, it leaves a trace');
$said = said("SET moves.forever = on; ALTER TABLE quick RENAME TO quicker; $has_run");
like($said, qr/WARNING:  section "$_" of summary "forever" does not follow what was renamed or moved: to analyze its query would run the CHECK of a domain/,
	"nothing of a user's runs for a rename: $_") foreach qw(array row range comparison distinct alike);
unlike($said, qr/it has run/, '... not even for a moment');
like($said, qr/NOTICE:  section "plain" of summary "forever" follows/, 'constants that run nothing are no reason');
unlike($said, qr/unrelated/, 'nor is one that does not name it');
is(said('SET moves.forever = on; ALTER FUNCTION u RENAME TO v'), '', '... or has its name for something else');
is(said('SET moves.forever = on; ALTER TABLE quicker RENAME TO quick') =~ /WARNING/, '', 'renamed back');
is($node->safe_psql('postgres', q{SELECT count(*) FROM ext.summary_cache_fetch('forever', NULL, true) WHERE status = 'miss'}), '1', '... all is as before');
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('forever'); DROP TABLE quick});

# a definition changes while the command waits for its table
$node->safe_psql('postgres', 'CREATE DATABASE going');
$node->safe_psql('going', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE quick (n int);
	SELECT summary_cache_define('a', 'core', 'SELECT count(*) AS n FROM quick');
});
my $holder = Session->new($node, 'going');
my $going = Session->new($node, 'going');
$holder->query('BEGIN; LOCK TABLE quick IN ROW EXCLUSIVE MODE');
$going->send_sql('ALTER TABLE quick RENAME TO quicker');
ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $going->{pid}"), 'a rename waits for its table');
$node->safe_psql('going', q{UPDATE summary_cache.definition SET query = 'SELECT 1 AS n'});
$holder->query('COMMIT');
$going->result;
is($going->error, '', '... and leaves alone a section that is another one by then');
is($node->safe_psql('going', 'SELECT query FROM summary_cache.definition'), 'SELECT 1 AS n', '... as it was written');

# or a table of the extension is locked by then
my $locker = Session->new($node, 'going');
$node->safe_psql('going', q{UPDATE summary_cache.definition SET query = 'SELECT count(*) AS n FROM quicker'});
$holder->query('BEGIN; LOCK TABLE quicker IN ROW EXCLUSIVE MODE');
$going->send_sql(q{SET statement_timeout = '60s'; ALTER TABLE quicker RENAME TO quickest; RESET statement_timeout});
ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $going->{pid}"), 'it waits again');
$locker->query("BEGIN; $other_table");
$holder->query('COMMIT');
$going->result;
like($going->error, qr/WARNING:  section "core" of summary "a" does not follow what was renamed or moved: canceling statement due to lock timeout/,
	'... and then not for the options');
$locker->quit;
$node->safe_psql('going', 'ALTER TABLE quickest RENAME TO quicker');
$holder->query('BEGIN; LOCK TABLE quicker IN ROW EXCLUSIVE MODE');
$going->send_sql('ALTER TABLE quicker RENAME TO quick');
ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $going->{pid}"), 'it waits once more');
$holder->query('DELETE FROM summary_cache.definition; COMMIT');
$going->result;
is($going->error, '', '... with nothing to follow');
$_->quit foreach ($holder, $going);

#
# DROP OWNED and REASSIGN OWNED wait for nobody: not for a writer, not for a definer
#
$node->safe_psql('postgres', q{
	CREATE ROLE leaving; CREATE ROLE staying;
	GRANT USAGE ON SCHEMA ext TO leaving;
	GRANT SELECT, TRIGGER ON other TO leaving;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_define TO leaving;
	SELECT ext.summary_cache_drop('s');
	SET ROLE leaving;
	SELECT ext.summary_cache_define('leaving', 'core', 'SELECT count(*) AS n FROM other');
	RESET ROLE;
	CREATE TABLE of_definer (n int);
});
# a wait would end in an error
my $bounded = q{SET statement_timeout = '20s'};
my $kept = q{SELECT owner::text FROM summary_cache.definition WHERE summary = 'leaving'};
$definer->query(q{BEGIN; SELECT ext.summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM of_definer')});
like(said("$bounded; REASSIGN OWNED BY leaving TO staying"),
	qr/WARNING:  could not reassign the sections of these roles: another session is changing definitions \(PID \d+\)\nHINT:  Repeat the command\./,
	'REASSIGN OWNED does not wait for a definer');
like(said("$bounded; DROP OWNED BY leaving"),
	qr/WARNING:  could not drop the sections of these roles: another session is changing definitions \(PID \d+\)\nHINT:  Repeat the command, or call summary_cache_drop\(\)\./,
	'nor does DROP OWNED');
is($node->safe_psql('postgres', q{SELECT has_table_privilege('leaving', 'other', 'SELECT')} . ";$kept"), "f\nleaving",
	'the rights are gone, the section is there');
$definer->query('COMMIT');
$node->safe_psql('postgres', q{SELECT ext.summary_cache_configure('leaving', 'readers', 'leaving')});
$definer->query('BEGIN; LOCK TABLE summary_cache.option IN ACCESS EXCLUSIVE MODE');
like(said("$bounded; DROP OWNED BY leaving"),
	qr/WARNING:  could not drop the sections of these roles: canceling statement due to lock timeout/,
	'nor for who has locked another table of the extension');
$definer->query('ROLLBACK');

my $writer = Session->new($node);
my $triggers = q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'other'::regclass};
$writer->query('BEGIN; INSERT INTO other VALUES (1)');
is(said("$bounded; DROP OWNED BY leaving"), '', 'nor for a writer of a source');
is($node->safe_psql('postgres', "$kept; $triggers"), '1', 'the section is dropped, the trigger stays');
is(said("$bounded; INSERT INTO other VALUES (1)"), '', '... and writers do not wait');
$writer->query(q{ROLLBACK});
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('s'); DROP TABLE of_definer});
is($node->safe_psql('postgres', $triggers), '0', 'the next drop removes the trigger');

# what it locks for that, it locks for a moment
my $grant = q{
	GRANT USAGE ON SCHEMA ext TO leaving;
	GRANT SELECT, TRIGGER ON other TO leaving;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_define TO leaving;
	SET ROLE leaving;
	SELECT ext.summary_cache_define('leaving', 'core', 'SELECT count(*) AS n FROM other')};
$node->safe_psql('postgres', $grant);
is(said("$bounded; DROP OWNED BY leaving"), '', 'DROP OWNED of a role whose source nobody uses');
is($node->safe_psql('postgres', "$kept; $triggers"), '0', '... drops the trigger as well');
my $locked = q{SELECT count(*) FROM pg_locks WHERE relation = 'other'::regclass AND mode = 'AccessExclusiveLock'};
for my $block ([ 'a transaction block', 'DROP OWNED BY leaving', $locked ],
	[ 'a function', "DO \$\$BEGIN DROP OWNED BY leaving; IF ($locked) > 0 THEN RAISE 'locked'; END IF; END\$\$", 'SELECT 0' ])
{
	my ($what, $command, $look) = @$block;

	$node->safe_psql('postgres', $grant);
	$writer->query($what =~ /block/ ? "BEGIN; $command" : $command);
	is($writer->error, '', "DROP OWNED in $what");
	is($writer->query($look), '0', '... keeps no lock on the source');
	$writer->query('COMMIT') if $what =~ /block/;
	is($node->safe_psql('postgres', "$kept; $triggers"), '1', '... so the trigger stays');
}
$node->safe_psql('postgres', q{
	CREATE TABLE of_definer (n int);
	SELECT ext.summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM of_definer');
	SELECT ext.summary_cache_drop('s');
	DROP TABLE of_definer});
is(said('DROP ROLE leaving, staying'), '', 'and the roles can go');

#
# A right that is taken away, seen by a session that has the document
#
$node->safe_psql('postgres', q{
	CREATE ROLE owner; CREATE ROLE reader;
	GRANT USAGE ON SCHEMA ext TO owner, reader;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_get TO reader;
	GRANT SELECT, TRIGGER ON other TO owner;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_define TO owner;
	SET ROLE owner;
	SELECT ext.summary_cache_define('lent', 'core', 'SELECT count(*) AS n FROM other');
});
$reader->query('SET ROLE reader');
my $get = q{SELECT ext.summary_cache_get('lent')};
is($reader->query($get), '{"n":1}', 'the reader reads');
$node->safe_psql('postgres', 'REVOKE SELECT ON other FROM owner; INSERT INTO other VALUES (2)');
is($reader->query($get), '{"n":1}', "the owner's right is gone: what was cached is served");
$node->safe_psql('postgres', q{SELECT ext.summary_cache_invalidate('lent')});
is($reader->query($get), '', 'until it is invalidated');
like($reader->error, qr/summary "lent" could not be built/, '... with an error that keeps what is the owner\'s to the log');
$node->safe_psql('postgres', q{GRANT SELECT ON other TO owner; SELECT ext.summary_cache_invalidate('lent')});
is($reader->query($get), '{"n":2}', 'granted again');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION ext.summary_cache_get FROM reader');
is($reader->query($get), '', "the reader's right is gone");
like($reader->error, qr/permission denied for function summary_cache_get/, 'at once');

#
# A database that somebody may not copy: the worker there stays
#
$node->safe_psql('postgres', q{CREATE ROLE creator LOGIN CREATEDB; CREATE ROLE copier LOGIN CREATEDB; CREATE DATABASE copied});
$node->append_conf('postgresql.conf', q{summary_cache.worker_idle_timeout = '1h'});
$node->reload;
$node->safe_psql('copied', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	SELECT summary_cache_define('s', 'core', 'SELECT count(*) AS n FROM t');
	SELECT summary_cache_get('s');
});
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker' AND datname = 'copied'};
sub worker_there
{
	my $pid = '';
	for (my $i = 0; $pid eq '' && $i < 10 * $PostgreSQL::Test::Utils::timeout_default; $i++)
	{
		$node->safe_psql('copied', 'INSERT INTO t VALUES (1)');
		$node->safe_psql('copied', q{SELECT status FROM summary_cache_fetch('s')});
		$pid = $node->safe_psql('postgres', $worker);
		select undef, undef, undef, 0.1 if $pid eq '';
	}
	return $pid;
}
my $pid = worker_there();
isnt($pid, '', 'a worker');
($ret, $out, $err) = $node->psql('postgres', 'CREATE DATABASE copy TEMPLATE copied', extra_params => [ '-U', 'creator' ]);
like($err, qr/permission denied to copy database "copied"/, 'a role that may create databases, but not copy this one');
($ret, $out, $err) = $node->psql('postgres', 'ALTER DATABASE copied RENAME TO copy', extra_params => [ '-U', 'creator' ]);
like($err, qr/must be owner of database copied/, '... nor rename it');
is($node->safe_psql('copied', q{INSERT INTO t VALUES (1); SELECT status FROM summary_cache_fetch('s')}) ne '', 1, '... and a read asks for a refresh');
is($node->safe_psql('postgres', $worker), $pid, '... leave the worker where it is');
$node->safe_psql('postgres', 'ALTER DATABASE copied IS_TEMPLATE true');
is($node->psql('postgres', 'CREATE DATABASE copy TEMPLATE copied', extra_params => [ '-U', 'copier' ]), 0, 'a template can be copied, beside the worker');
$node->safe_psql('postgres', 'ALTER DATABASE copied IS_TEMPLATE false; ALTER DATABASE copied OWNER TO copier');
isnt(worker_there(), '', 'a worker again');
is($node->psql('postgres', 'CREATE DATABASE copy2 TEMPLATE copied', extra_params => [ '-U', 'copier' ]), 0, '... and by its owner');

$_->quit foreach ($reader, $mover, $definer, $writer);
$node->stop;
done_testing();
