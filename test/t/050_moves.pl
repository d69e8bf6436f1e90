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
# What a command said on stderr; it must succeed.
sub said
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', $sql);

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
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('family'); DROP TABLE mother, sister});

# a section that has nothing to do with it is not looked at: its table may be locked, its name be the same as another's
$node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE TABLE busy (id int, other_id int); CREATE TABLE unrelated (id int);
	CREATE SCHEMA apart; CREATE TABLE apart.busy (id int);
	SELECT ext.summary_cache_define('busy', 'core', $$SELECT count(*) AS n, 'another' AS other FROM public.busy$$);
});
$definer->query('BEGIN; LOCK TABLE busy IN ACCESS EXCLUSIVE MODE');
is(said('ALTER TABLE unrelated RENAME TO other_table'), '', 'a rename says nothing about a section that does not name it');
is(said('ALTER TABLE other_table RENAME id TO other'), '', '... nor of a column');
is(said('ALTER TABLE apart.busy RENAME TO another'), '', '... nor of a table of the same name');
like(said('ALTER TABLE IF EXISTS no_such_table RENAME TO busy'), qr/^[^\n]*NOTICE:  relation "no_such_table" does not exist, skipping$/, '... nor of none');
$definer->query('ROLLBACK');
is($node->safe_psql('postgres', q{SELECT ext.summary_cache_get('busy', true)}), '{"n":0,"other":"another"}', 'it is as it was');
$node->safe_psql('postgres', q{SELECT ext.summary_cache_drop('busy'); DROP TABLE busy, other_table; DROP SCHEMA apart CASCADE});

# however many there are, all follow
my $many = 300;
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

# what would run while a query is analysed: a constant is converted, by whoever's function, for as long as that likes
my $forever = q{
	CREATE FUNCTION forever(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
		IF current_setting('moves.forever', true) = 'on' THEN
			RAISE WARNING 'it runs';
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
});
$said = said(q{SET moves.forever = on; ALTER TABLE quick RENAME TO quicker});
like($said, qr/WARNING:  section "$_" of summary "forever" does not follow what was renamed or moved: to analyze its query would run the CHECK of a domain/,
	"nothing of a user's runs for a rename: $_") foreach qw(array row range comparison distinct alike);
unlike($said, qr/it runs/, '... not even for a moment');
like($said, qr/NOTICE:  section "plain" of summary "forever" follows/, 'constants that run nothing are no reason');
unlike($said, qr/unrelated/, 'nor is one that does not name it');
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
$holder->query('BEGIN; LOCK TABLE quicker IN ROW EXCLUSIVE MODE');
$going->send_sql('ALTER TABLE quicker RENAME TO quick');
ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $going->{pid}"), 'it waits once more');
$holder->query('DELETE FROM summary_cache.definition; COMMIT');
$going->result;
is($going->error, '', '... with nothing to follow');
$_->quit foreach ($holder, $going);

#
# DROP OWNED beside an open writer
#
$node->safe_psql('postgres', q{
	CREATE ROLE leaving;
	GRANT USAGE ON SCHEMA ext TO leaving;
	GRANT SELECT, TRIGGER ON other TO leaving;
	GRANT EXECUTE ON FUNCTION ext.summary_cache_define TO leaving;
	SELECT ext.summary_cache_drop('s');
	SET ROLE leaving;
	SELECT ext.summary_cache_define('leaving', 'core', 'SELECT count(*) AS n FROM other');
});
my $writer = Session->new($node);
$writer->query('BEGIN; INSERT INTO other VALUES (1)');
like(said(q{SET lock_timeout = '100ms'; DROP OWNED BY leaving}),
	qr/WARNING:  could not drop the sections of these roles: canceling statement due to lock timeout/,
	'a lock that cannot be had is no reason to fail');
is($node->safe_psql('postgres', q{SELECT has_table_privilege('leaving', 'other', 'SELECT'), count(*) FROM summary_cache.definition WHERE summary = 'leaving'}),
	'f|1', 'the rights are gone, the section is there');
$writer->query('COMMIT');
is(said('DROP OWNED BY leaving'), '', 'once more');
is($node->safe_psql('postgres', q{SELECT count(*) FROM summary_cache.definition WHERE summary = 'leaving'}), '0', 'it is dropped');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'other'::regclass}), '0', '... with its triggers');
is(said('DROP ROLE leaving'), '', 'and the role');

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
