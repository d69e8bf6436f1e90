# Proves that each kind of command that changes what a query gives is noticed, each kind of write through a tree or beside its triggers too, and that others cost nothing.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('ddl');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;

sub no_old_hit
{
	my ($summary, $old, $what) = @_;
	isnt($node->sql(fetch($summary)), "hit-revision $old", "$what is noticed");
	return;
}

# A command that changes what a summary's query gives; in which database.
my $number = 0;
sub noticed
{
	my ($what, $query, $command, %options) = @_;
	my $summary = $options{summary} // 'n' . ++$number;
	$node->sql("SELECT summary_cache_define('$summary', 'main', \$q\$$query\$q\$, '{$options{sources}}')") if defined $query;
	my $old = $node->cached($summary);
	$node->sql($command, $options{database});
	no_old_hit($summary, $old, $what);
	isnt($node->sql("SELECT document->>'n' FROM summary_cache_fetch('$summary', force_refresh => true)"),
		$old, "$what changes the document");
	$node->sql("SELECT summary_cache_drop('$summary')") if defined $query;
	return;
}

$node->sql(q{CREATE DATABASE elsewhere});
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE SCHEMA first; CREATE SCHEMA third;
	ALTER DATABASE postgres SET search_path = first, public;
	CREATE TABLE t (id int, n int);
	INSERT INTO t VALUES (1, 10), (2, 20);
});

#
# DDL
#
noticed('ALTER TABLE', 'SELECT sum(n) AS n FROM t', 'ALTER TABLE t ALTER COLUMN n TYPE int USING n * 2', sources => 't');
$node->sql('CREATE VIEW public.vd AS SELECT 1 AS n; CREATE VIEW first.vd AS SELECT 2 AS n');
noticed('DROP', 'SELECT n FROM vd', 'DROP VIEW first.vd', sources => '');
$node->sql('CREATE TABLE r (a int); INSERT INTO r VALUES (1)');
noticed('RENAME', 'SELECT row_to_json(r)::text AS n FROM r', 'ALTER TABLE r RENAME COLUMN a TO b', sources => 'r');
$node->sql("CREATE TABLE public.c$_ AS SELECT 1 AS a") for 1 .. 3;
noticed('CREATE TABLE', 'SELECT count(*) AS n FROM c1', 'CREATE TABLE first.c1 (a int)', sources => '');
noticed('CREATE TABLE AS', 'SELECT count(*) AS n FROM c2', 'CREATE TABLE first.c2 AS SELECT generate_series(1, 3)', sources => '');
noticed('EXPLAIN ANALYZE CREATE TABLE AS', 'SELECT count(*) AS n FROM c3',
	'EXPLAIN ANALYZE CREATE TABLE first.c3 AS SELECT generate_series(1, 3)', sources => '');
$node->sql('CREATE TABLE public.c4 AS SELECT generate_series(1, 2) AS last_value');
noticed('CREATE SEQUENCE', 'SELECT count(*) AS n FROM c4', 'CREATE SEQUENCE first.c4', sources => '');
$node->sql('CREATE VIEW v AS SELECT 1 AS n');
noticed('CREATE OR REPLACE VIEW', 'SELECT n FROM v', 'CREATE OR REPLACE VIEW v AS SELECT 2 AS n', sources => '');
noticed('CREATE RULE', 'SELECT n FROM v', 'CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO v DO INSTEAD SELECT 3 AS n', sources => '');
$node->sql(q{CREATE FUNCTION f() RETURNS text LANGUAGE sql STABLE AS 'SELECT 1::text'});
noticed('CREATE OR REPLACE FUNCTION', 'SELECT f() AS n',
	q{CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql STABLE AS $$SELECT current_setting('work_mem')$$}, sources => '');
noticed('ALTER FUNCTION', 'SELECT f() AS n', q{ALTER FUNCTION f() SET work_mem = '7MB'}, sources => '');
$node->sql(q{CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0')});
noticed('CREATE OR REPLACE AGGREGATE', 'SELECT total(id) AS n FROM t',
	q{CREATE OR REPLACE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '100')}, sources => 't');
$node->sql(q{
	CREATE TYPE mood AS ENUM ('good', 'bad');
	CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE sql IMMUTABLE AS $$SELECT '"cast"'::json$$;
});
noticed('ALTER TYPE', q{SELECT (enum_range(NULL::mood))[1] AS n}, q{ALTER TYPE mood RENAME VALUE 'good' TO 'fine'}, sources => '');
noticed('CREATE CAST', q{SELECT (enum_range(NULL::mood))[1] AS n}, q{CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood)}, sources => '');
$node->sql('CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)');
noticed('ALTER TEXT SEARCH CONFIGURATION', q{SELECT to_tsvector('words', 'the cats')::text AS n},
	'ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH english_stem', sources => '');
$node->sql('CREATE VIEW public.vs AS SELECT 1 AS n; CREATE VIEW first.vs AS SELECT 2 AS n');
# (a name in a function's body, since the section's own follows)
$node->sql(q{CREATE FUNCTION of_vs() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT n FROM vs); END'});
noticed('SET SCHEMA', 'SELECT of_vs() AS n', 'ALTER VIEW first.vs SET SCHEMA third', sources => '');
$node->sql('CREATE MATERIALIZED VIEW m AS SELECT sum(n) AS n FROM t; UPDATE t SET n = n + 1');
noticed('REFRESH MATERIALIZED VIEW', 'SELECT n FROM m', 'REFRESH MATERIALIZED VIEW m', sources => 'm');
$node->sql(q{
	CREATE ROLE covers_a; CREATE ROLE covers_b; CREATE ROLE covers_b2; CREATE ROLE covers_owner; CREATE ROLE covers_group;
	CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
});
noticed('OWNER TO', 'SELECT who() AS n', 'ALTER FUNCTION who() OWNER TO covers_a', sources => '');
noticed('REASSIGN OWNED', 'SELECT who() AS n', 'REASSIGN OWNED BY covers_a TO covers_b', sources => '');
noticed('RENAME of a role, in another database', 'SELECT who() AS n', 'ALTER ROLE covers_b RENAME TO covers_c',
	sources => '', database => 'elsewhere');
$node->sql('CREATE VIEW public.vo AS SELECT 1 AS n; CREATE VIEW first.vo AS SELECT 2 AS n; ALTER VIEW first.vo OWNER TO covers_a');
noticed('DROP OWNED', 'SELECT n FROM vo', 'DROP OWNED BY covers_a', sources => '');
noticed('GRANT', q{SELECT has_table_privilege('covers_a', 't', 'SELECT')::text AS n}, 'GRANT SELECT ON t TO covers_a', sources => 't');
noticed('REVOKE', q{SELECT has_table_privilege('covers_a', 't', 'SELECT')::text AS n}, 'REVOKE SELECT ON t FROM covers_a', sources => 't');

# row security, as a role that is subject to it
$node->sql(q{
	CREATE TABLE secret (id int);
	INSERT INTO secret SELECT generate_series(1, 4);
	GRANT SELECT, TRIGGER ON secret TO covers_owner;
	GRANT EXECUTE ON FUNCTION summary_cache_define TO covers_owner;
	GRANT USAGE ON SCHEMA first TO covers_owner;
	SET ROLE covers_owner;
	SELECT summary_cache_define('rights', 'main', 'SELECT count(*) AS n FROM secret');
});
noticed('ROW LEVEL SECURITY', undef, 'ALTER TABLE secret ENABLE ROW LEVEL SECURITY', summary => 'rights');
noticed('CREATE POLICY', undef, 'CREATE POLICY p ON secret USING (id <= 1)', summary => 'rights');
noticed('ALTER POLICY', undef, 'ALTER POLICY p ON secret USING (id <= 2)', summary => 'rights');
$node->sql('CREATE POLICY g ON secret TO covers_group USING (id <= 3)');
noticed('GRANT of a role, in another database', undef, 'GRANT covers_group TO covers_owner', summary => 'rights', database => 'elsewhere');
noticed('ALTER ROLE, in another database', undef, 'ALTER ROLE covers_owner BYPASSRLS', summary => 'rights', database => 'elsewhere');

# a catalog that is written as a table, also by COPY, and a shared one
noticed('UPDATE of a catalog', q{SELECT (enum_range(NULL::mood))[1]::text AS n}, q{UPDATE pg_enum SET enumlabel = 'better' WHERE enumlabel = 'fine'}, sources => '');
my $label = $node->sql(q{SELECT format(E'%s\t%s\t%s\t%s', max(oid::oid::bigint) + 1, 'mood'::regtype::oid, 9, 'last') FROM pg_enum});
noticed('COPY into a catalog', q{SELECT array_length(enum_range(NULL::mood), 1) AS n}, "COPY pg_enum FROM stdin;\n$label\n\\.\n", sources => '');
$node->sql('ALTER ROLE covers_owner NOBYPASSRLS');

# the owner of a database, which is a member of a role there
$node->sql(q{CREATE POLICY d ON secret TO pg_database_owner USING (true)});
noticed('OWNER TO of a database, in another one', undef, 'ALTER DATABASE postgres OWNER TO covers_owner', summary => 'rights', database => 'elsewhere');
noticed('REASSIGN OWNED of a database, in another one', undef, 'REASSIGN OWNED BY covers_owner TO covers_a', summary => 'rights', database => 'elsewhere');
my $superuser = $node->sql('SELECT current_user');
$node->sql("ALTER DATABASE postgres OWNER TO $superuser; DROP POLICY d ON secret");

# what concerns roles, and no other database
$node->sql('CREATE TABLE owned (n int); ALTER TABLE owned OWNER TO covers_a; CREATE TABLE owned2 (n int); ALTER TABLE owned2 OWNER TO covers_a', 'elsewhere');
my $rights = $node->cached('rights');
for my $command (
	'REASSIGN OWNED BY covers_a TO covers_b2',
	$node->pg_version >= 16 ? () : ('DROP OWNED BY covers_b2'),
	q{BEGIN; DO $$ BEGIN ALTER ROLE postgres_missing SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END $$; CREATE TABLE and_written (n int); COMMIT})
{
	$node->sql($command, 'elsewhere');
	is($node->sql(fetch('rights')), "hit-revision $rights", "$command, in another database, costs nothing");
}
noticed('UPDATE of a shared catalog, in another database', undef,
	q{UPDATE pg_authid SET rolbypassrls = true WHERE rolname = 'covers_owner'}, summary => 'rights', database => 'elsewhere');

# the name of a database
$node->sql('CREATE DATABASE named');
$node->sql(q{CREATE EXTENSION summary_cache; SELECT summary_cache_define('name', 'main', 'SELECT current_database() AS n')}, 'named');
is($node->sql(fetch('name'), 'named'), 'miss named', 'a document with the name of its database');
is($node->sql(fetch('name'), 'named'), 'hit-revision named', '... is a hit');
$node->sql('BEGIN; ALTER DATABASE named RENAME TO named_otherwise; ROLLBACK');
is($node->sql(fetch('name'), 'named'), 'hit-revision named', '... also when a new name is not committed');
$node->sql('ALTER DATABASE named RENAME TO named_otherwise');
isnt($node->sql(fetch('name'), 'named_otherwise'), 'hit-revision named', 'ALTER DATABASE ... RENAME is noticed');
is($node->sql(q{SELECT document->>'n' FROM summary_cache_fetch('name', force_refresh => true)}, 'named_otherwise'), 'named_otherwise', '... and shown');

# a trigger in the place of ours that does less
$node->sql(q{CREATE TABLE less (n int); SELECT summary_cache_define('less', 'main', 'SELECT count(*) AS n FROM less')});
my $old = $node->cached('less');
$node->sql('CREATE OR REPLACE TRIGGER summary_cache_statement AFTER DELETE ON less EXECUTE FUNCTION summary_cache_touch()');
$node->sql("COPY less FROM stdin;\n1\n\\.\n");
no_old_hit('less', $old, 'a write beside a trigger in the place of ours');

# one that commits in between: what it does before that, and what after
$node->sql(q{
	CREATE TABLE part (id int) PARTITION BY RANGE (id);
	CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
	CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20);
	INSERT INTO part VALUES (1), (11);
	SELECT summary_cache_define('part', 'main', 'SELECT count(*) AS n FROM part');
	SELECT summary_cache_define('part2', 'main', 'SELECT count(*) AS n FROM part2');
});
my $holder = Session->new($node);
my $detacher = Session->new($node);
$old = $node->cached('part');
$holder->query('BEGIN; SELECT count(*) FROM part');
$detacher->send_sql('ALTER TABLE part DETACH PARTITION part2 CONCURRENTLY');
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid = ' . $detacher->pid)
	or die 'DETACH CONCURRENTLY does not wait';
is($node->sql('SELECT count(*) FROM part'), '1', 'half of DETACH CONCURRENTLY: the rows are gone');
no_old_hit('part', $old, 'half of DETACH CONCURRENTLY');
$old = $node->cached('part2');
$holder->query('COMMIT');
$detacher->result;
$node->sql('INSERT INTO part2 VALUES (12)');
no_old_hit('part2', $old, 'a write of a table that has left its tree meanwhile');
$_->quit for $holder, $detacher;

#
# Trees
#
# what a session knows of a member is not kept when the tree grows at its top
$node->sql(q{
	CREATE TABLE top (n int);
	CREATE TABLE middle (n int);
	CREATE TABLE leaf () INHERITS (middle);
	SELECT summary_cache_define('middle', 'main', 'SELECT count(*) AS n FROM middle');
	SELECT summary_cache_define('top', 'main', 'SELECT count(*) AS n FROM top');
});
my $writer = Session->new($node);
$writer->query('INSERT INTO leaf VALUES (1)');
$node->sql('ALTER TABLE middle INHERIT top');
$old = $node->cached('middle');
my $old_top = $node->cached('top');
$writer->query('INSERT INTO leaf VALUES (2)');
no_old_hit('middle', $old, 'a write of a member whose tree has a new root');
no_old_hit('top', $old_top, 'a write of a member by the new root');

# more roots than a session remembers of a table
$node->sql(join '', map { "CREATE TABLE root$_ (n$_ int);" } 1 .. 9);
$node->sql('CREATE TABLE many () INHERITS (' . join(', ', map { "root$_" } 1 .. 9) . ')');
$node->sql(q{SELECT summary_cache_define('many', 'main', 'SELECT count(*) AS n FROM root1', '{root1}')});
$old = $node->cached('many');
$node->sql('INSERT INTO many VALUES (1)');
no_old_hit('many', $old, 'a write of a table with many roots');

# a member that cannot be followed
$node->sql(q{
	CREATE FOREIGN DATA WRAPPER nowhere;
	CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
	CREATE TABLE mixed (id int) PARTITION BY RANGE (id);
	CREATE FOREIGN TABLE mixed1 PARTITION OF mixed FOR VALUES FROM (0) TO (10) SERVER nowhere;
	SELECT summary_cache_define('mixed', 'main', 'SELECT 1 AS n', '{mixed}');
	SELECT summary_cache_get('mixed');
});
is($node->sql(q{SELECT provable, reason FROM summary_cache_tables WHERE source = 'mixed'::regclass}),
	'f|partition mixed1 is a foreign table', 'a tree with a foreign table is not proven');
unlike($node->sql(fetch('mixed')), qr/^hit/, 'a summary over it is never a hit');

#
# A session that has missed what became of its tables
#
$node->sql('CREATE TABLE storm (n int)');
$writer->query('INSERT INTO storm VALUES (1)');
my $locker = Session->new($node);
$locker->query('SELECT pg_advisory_lock(9)');
$writer->send_sql('DO $$ BEGIN PERFORM pg_advisory_xact_lock(9); INSERT INTO storm VALUES (2); END $$');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 9 AND NOT granted})
	or die 'the writer does not wait';
$node->sql(q{SELECT summary_cache_define('storm', 'main', 'SELECT count(*) AS n FROM storm')});
$node->sql(q{DO $$ BEGIN FOR i IN 1 .. 1000 LOOP CREATE TEMP TABLE x (a int); DROP TABLE x; END LOOP; END $$});
$old = $node->cached('storm');
$locker->query('SELECT pg_advisory_unlock(9)');
$writer->result;
no_old_hit('storm', $old, 'a write of a session that has lost invalidations');
$locker->quit;

#
# What a transaction has begun to write it reads for itself, also before our triggers have fired
#
$node->sql(q{
	CREATE TABLE referenced (id int PRIMARY KEY);
	CREATE TABLE referencing (id int REFERENCES referenced);
	INSERT INTO referenced VALUES (1);
	INSERT INTO referencing VALUES (1);
	SELECT summary_cache_define('truncated', 'main', 'SELECT count(*) AS n FROM referencing');
	CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE NOTICE 'seen: %', (SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('truncated'));
		RETURN NULL;
	END $$;
	CREATE TRIGGER a AFTER TRUNCATE ON referencing EXECUTE FUNCTION look();
});
for my $truncate ('TRUNCATE referencing', 'TRUNCATE referenced CASCADE')
{
	is($node->cached('truncated'), '1', "a document before $truncate");
	$writer->query(fetch('truncated'));
	$writer->query("BEGIN; $truncate; ROLLBACK");
	like($writer->error, qr/seen: private 0$/m, "$truncate: its own reads are private");
}

#
# What changes nothing costs nothing, also beside a write of another table
#
$node->sql('CREATE TABLE log (n int)');
$node->cached('truncated');
for my $command ('SET work_mem = 1024', 'SHOW work_mem', 'RESET work_mem', 'LISTEN covers', 'NOTIFY covers', 'UNLISTEN covers',
	'PREPARE p AS SELECT 1', 'EXECUTE p', 'DEALLOCATE p', 'DISCARD PLANS', 'CHECKPOINT', 'LOCK TABLE log',
	'DECLARE c CURSOR FOR SELECT 1', 'FETCH c', 'CLOSE c', 'SET CONSTRAINTS ALL DEFERRED', 'DO $$BEGIN END$$',
	q{COMMENT ON TABLE log IS 'a log'}, 'EXPLAIN UPDATE referencing SET id = id', 'SAVEPOINT a')
{
	$writer->query("BEGIN; DECLARE c CURSOR FOR SELECT 1; INSERT INTO log VALUES (1)") if $command !~ /^DECLARE/;
	$writer->query("BEGIN; INSERT INTO log VALUES (1)") if $command =~ /^DECLARE/;
	$writer->query($command);
	is($writer->error, '', "$command is done");
	$writer->query('COMMIT');
	is($node->sql(fetch('truncated')), 'hit-revision 1', "$command costs nothing");
}

$writer->quit;
#
# A source that is dropped while somebody waits for it
#
my $dropper = Session->new($node);
for (['build', "SELECT summary_cache_get('gone', true)", qr/ERROR:  relation "gone" does not exist/],
	['definition', "SELECT summary_cache_define('gone2', 'main', 'SELECT 1 AS n', '{gone}')", qr/ERROR:  source table "gone" was dropped/])
{
	my ($what, $command, $error) = @$_;
	$node->sql(q{CREATE TABLE gone (n int); SELECT summary_cache_define('gone', 'main', 'SELECT count(*) AS n FROM gone')});
	$dropper->query('BEGIN; DROP TABLE gone');
	# one that knows nothing of the table yet
	my $fresh = Session->new($node);
	$fresh->send_sql($command);
	ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $fresh->{pid}"), "a $what waits for a table");
	$dropper->query('COMMIT');
	$fresh->result;
	like($fresh->error, $error, '... that is dropped');
	$fresh->quit;
	$node->sql(q{SELECT summary_cache_drop('gone')});
}
$dropper->quit;

$node->stop;
done_testing();
