# Proves that a standby notices by itself which tables each replayed transaction has changed: every way of writing ends the hits over what it writes, and no others.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

# What all the summary's tables have, and the document.
my %query = (
	t => q{SELECT json_agg(json_build_array(id, n, length(big), md5(big)) ORDER BY id) AS t FROM t},
	parts => q{SELECT json_agg(json_build_array(n, m) ORDER BY n, m) AS parts FROM parts},
	leaf => q{SELECT json_agg(json_build_array(n, m) ORDER BY n, m) AS leaf FROM parts WHERE n = 1},
	family => q{SELECT json_agg(n ORDER BY n) AS family FROM family},
	mv => q{SELECT json_agg(n ORDER BY n) AS mv FROM mv});
my $fetch = q{SELECT status, document::text FROM summary_cache_fetch('s')};

my $primary = Node->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
max_prepared_transactions = 10
autovacuum = off
allow_in_place_tablespaces = on
wal_keep_size = '256MB'
});
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (id int PRIMARY KEY, n int, big text);
	ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT i, 0, repeat('x', 10) FROM generate_series(1, 5) i;
	CREATE TABLE parts (n int, m int) PARTITION BY LIST (n);
	CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
	CREATE TABLE part_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY LIST (m);
	CREATE TABLE part_2_1 PARTITION OF part_2 FOR VALUES IN (1);
	CREATE TABLE family (n int);
	CREATE TABLE child () INHERITS (family);
	CREATE TABLE grandchild () INHERITS (child);
	CREATE TABLE base (n int);
	INSERT INTO base VALUES (1);
	CREATE MATERIALIZED VIEW mv AS SELECT n FROM base;
	CREATE UNIQUE INDEX ON mv (n);
	CREATE TABLE unrelated (n int);
	CREATE TABLE staging (id int, n int, big text);
	CREATE SEQUENCE sequence;
	CREATE TABLE more_of_them (n int);
	SELECT format('CREATE TABLE other_%s (n int)', i) FROM generate_series(1, 100) i \gexec
	CREATE TABLESPACE place LOCATION '';
}
. join '', map { "SELECT summary_cache_define('s', '$_', \$\$$query{$_}\$\$);\n" } sort keys %query);
$primary->backup('backup');

sub standby_of
{
	my ($name, $backup) = @_;
	my $node = Node->new($name);
	$node->init_from_backup($primary, $backup, has_streaming => 1);
	$node->start;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'summary_cache'");
	$node->restart;
	return $node;
}

my $standby = standby_of('standby', 'backup');

# What a document has to be.
sub truth
{
	my $rows = join ', ', map { "(SELECT to_json(q.$_) FROM ($query{$_}) q) AS $_" } sort keys %query;
	return $standby->safe_psql('postgres', "SELECT (row_to_json(r)::jsonb)::text FROM (SELECT $rows) r");
}

sub answer
{
	my ($status, $document) = split /\|/, $standby->safe_psql('postgres', q{SELECT status, document::jsonb::text FROM summary_cache_fetch('s')}), 2;
	return ($status, $document);
}

# A hit, after the worker has refreshed if need be, and its document is right.
sub settled
{
	my ($what) = @_;
	my ($status, $document);
	for (1 .. 600)
	{
		($status, $document) = answer();
		last if $status eq 'hit-revision';
		select undef, undef, undef, 0.1;
	}
	is($status, 'hit-revision', "$what: a hit");
	is($document, truth(), "$what: a right one");
	return $document;
}

my $counted = q{SELECT hits, builds_miss + builds_background FROM summary_cache_stats WHERE summary = 's'};
my $fingerprints = q{SELECT string_agg(fingerprint, ' ' ORDER BY section) FROM summary_cache_sections};

sub replay
{
	my ($sql) = @_;
	$primary->safe_psql('postgres', $sql);
	$primary->wait_for_catchup($standby);
	return;
}

# What changes the document: no hit hides it.
sub noticed
{
	my ($what, $sql) = @_;
	my $old = settled("before $what");
	replay($sql);
	my ($status, $document) = answer();
	isnt(truth(), $old, "$what: another document");
	ok($status ne 'hit-revision' || $document ne $old, "$what: noticed");
	settled($what);
	return;
}

# What changes no answer, but files: afterwards, writes are noticed still.
sub survived
{
	my ($what, $sql) = @_;
	settled("before $what");
	replay($sql);
	settled($what);
	noticed("a write after $what", 'UPDATE t SET n = n + 1 WHERE id = 2');
	return;
}

# What is none of the sources: the document stays what it is, and nothing is built.
sub unnoticed
{
	my ($what, $sql) = @_;
	my $old = settled("before $what");
	my $before = $standby->safe_psql('postgres', $fingerprints);
	replay($sql);
	my ($status, $document) = answer();
	is("$status $document", "hit-revision $old", "$what: a hit, at once");
	is($standby->safe_psql('postgres', $fingerprints), $before, "$what: nothing was built");
	return;
}

#
# Each way of writing
#
$primary->wait_for_catchup($standby);
settled('the first');
noticed('INSERT', q{INSERT INTO t VALUES (6, 6, 'y')});
noticed('UPDATE', q{UPDATE t SET n = n + 1});
noticed('an UPDATE of an indexed column', q{UPDATE t SET id = 7 WHERE id = 6});
noticed('DELETE', q{DELETE FROM t WHERE id = 7});
noticed('MERGE', q{MERGE INTO t USING (VALUES (1), (8)) AS s (id) ON t.id = s.id
	WHEN MATCHED THEN UPDATE SET n = -1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0, '')});
noticed('ON CONFLICT', q{INSERT INTO t VALUES (1, 100, '') ON CONFLICT (id) DO UPDATE SET n = excluded.n});
noticed('COPY', "COPY t FROM stdin;\n10\t1\ta\n11\t2\tb\n12\t3\tc\n\\.\n");
noticed('a value that is stored apart', q{UPDATE t SET big = repeat('z', 100000) WHERE id = 1});
noticed('... and another one of the same length', q{UPDATE t SET big = repeat('w', 100000) WHERE id = 1});
noticed('TRUNCATE', q{TRUNCATE t});
noticed('COPY FREEZE', "BEGIN;\nTRUNCATE t;\nCOPY t FROM stdin (FREEZE);\n1\t1\ta\n2\t2\tb\n\\.\nCOMMIT;\n");
noticed('many subtransactions', q{
	DO $$ BEGIN FOR i IN 1 .. 200 LOOP BEGIN INSERT INTO t VALUES (1000 + i, i, ''); EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$;
	DELETE FROM t WHERE id > 1100});
noticed('a subtransaction that alone has written it', q{BEGIN; INSERT INTO unrelated VALUES (1); SAVEPOINT s; UPDATE t SET n = n - 1; RELEASE s; COMMIT});
noticed('a write beside a rollback to a savepoint', q{BEGIN; UPDATE t SET n = n + 1; SAVEPOINT s; UPDATE t SET n = 0; ROLLBACK TO s; COMMIT});
noticed('more tables than are noted', q{DO $$ BEGIN FOR i IN 1 .. 100 LOOP EXECUTE format('INSERT INTO other_%s VALUES (1)', i); END LOOP; UPDATE t SET n = n + 1; END $$});
noticed('the root of a tree', q{INSERT INTO parts VALUES (1, 1), (2, 1)});
noticed('a partition', q{INSERT INTO part_2_1 VALUES (2, 1)});
noticed('a row that moves', q{UPDATE parts SET n = 1 WHERE n = 2});
noticed('a new partition', q{CREATE TABLE part_3 PARTITION OF parts FOR VALUES IN (3); INSERT INTO parts VALUES (3, 3)});
noticed('a write into it alone', q{UPDATE part_3 SET m = 4});
noticed('DETACH', q{ALTER TABLE parts DETACH PARTITION part_3});
unnoticed('a write into what was detached', q{UPDATE part_3 SET m = 5});
noticed('ATTACH', q{ALTER TABLE parts ATTACH PARTITION part_3 FOR VALUES IN (3)});
noticed('a write into what was attached', q{UPDATE part_3 SET m = 6});
noticed('an inheriting table', q{INSERT INTO grandchild VALUES (1)});
noticed('another one', q{INSERT INTO child VALUES (2)});
noticed('NO INHERIT', q{ALTER TABLE grandchild NO INHERIT child});
unnoticed('a write into what has left', q{INSERT INTO grandchild VALUES (3)});
noticed('INHERIT', q{ALTER TABLE grandchild INHERIT child});
noticed('a write into what has come back', q{INSERT INTO grandchild VALUES (4)});
noticed('REFRESH MATERIALIZED VIEW', q{INSERT INTO base VALUES (2); REFRESH MATERIALIZED VIEW mv});
noticed('... CONCURRENTLY', q{INSERT INTO base VALUES (3); REFRESH MATERIALIZED VIEW CONCURRENTLY mv});
noticed('an unlogged table that is made a logged one',
	q{CREATE UNLOGGED TABLE part_4 (n int, m int); INSERT INTO part_4 VALUES (4, 4); ALTER TABLE part_4 SET LOGGED; ALTER TABLE parts ATTACH PARTITION part_4 FOR VALUES IN (4)});
noticed('a write into it', q{UPDATE part_4 SET m = 5});

#
# New files
#
survived('VACUUM FULL', q{VACUUM FULL t});
survived('CLUSTER', q{CLUSTER t USING t_pkey});
survived('a rewrite', q{ALTER TABLE t ALTER n TYPE bigint});
survived('another tablespace', q{ALTER TABLE t SET TABLESPACE place});
survived('... and back', q{ALTER TABLE t SET TABLESPACE pg_default});
survived('VACUUM FULL of the catalogs', q{VACUUM FULL pg_class; VACUUM FULL pg_statistic; VACUUM FULL pg_shdepend; VACUUM FULL summary_cache.definition});
survived('ANALYZE after that', q{ANALYZE t});
unnoticed('... the next time', q{ANALYZE t});
survived('a database by copying its files', q{CREATE DATABASE by_files STRATEGY file_copy});
survived('a database by the WAL', q{CREATE DATABASE by_wal STRATEGY wal_log});
$primary->safe_psql('by_wal', 'CREATE EXTENSION summary_cache; CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
$primary->safe_psql('by_wal', q{SELECT summary_cache_define('there', 'main', 'SELECT n FROM t')});
$primary->wait_for_catchup($standby);
ok($standby->poll_query_until('by_wal', q{SELECT status, document FROM summary_cache_fetch('there')}, 'hit-revision|{"n":1}'), 'another database');
$primary->safe_psql('by_wal', 'UPDATE t SET n = 2');
$primary->wait_for_catchup($standby);
isnt($standby->safe_psql('by_wal', q{SELECT status, document FROM summary_cache_fetch('there')}), 'hit-revision|{"n":1}', '... has its own words');

#
# What concerns no source.  From here on the primary has no library: nothing here depends on it.
#
$primary->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$primary->restart;
$primary->wait_for_catchup($standby);
unnoticed('another table', 'INSERT INTO unrelated SELECT generate_series(1, 1000)');
unnoticed('its update', 'UPDATE unrelated SET n = n + 1');
unnoticed('its rows that are copied in', "COPY unrelated FROM stdin;\n1\n2\n\\.\n");
unnoticed('ANALYZE', 'ANALYZE');
unnoticed('VACUUM', 'VACUUM');
unnoticed('VACUUM ANALYZE of a source', 'VACUUM (ANALYZE, FREEZE) t');
unnoticed('a checkpoint', 'CHECKPOINT');
unnoticed('a sequence', q{SELECT nextval('sequence') FROM generate_series(1, 100)});
unnoticed('locks of rows', 'SELECT 1 FROM t FOR UPDATE');
unnoticed('a write that is rolled back', 'BEGIN; UPDATE t SET n = 0; ROLLBACK');
unnoticed('a write that is rolled back to a savepoint', 'BEGIN; INSERT INTO unrelated VALUES (1); SAVEPOINT s; UPDATE t SET n = 0; ROLLBACK TO s; COMMIT');
unnoticed('a message', q{SELECT pg_logical_emit_message(true, 'x', 'y')});
unnoticed('a new segment', q{SELECT pg_switch_wal()});
survived('DDL', 'CREATE TABLE new_one (n int)');
noticed('a definition', q{SELECT summary_cache_define('s', 't', 'SELECT json_agg(json_build_array(id, n, length(big), md5(big)) ORDER BY id) AS t FROM t WHERE true'); UPDATE t SET n = 5 WHERE id = 1});

#
# Prepared transactions count when they are finished
#
unnoticed('PREPARE TRANSACTION', q{BEGIN; UPDATE t SET n = n + 1; PREPARE TRANSACTION 'a'});
unnoticed('ROLLBACK PREPARED', q{ROLLBACK PREPARED 'a'});
unnoticed('PREPARE TRANSACTION, with a subtransaction', q{BEGIN; SAVEPOINT s; UPDATE t SET n = n + 1; RELEASE s; PREPARE TRANSACTION 'a'});
noticed('COMMIT PREPARED', q{COMMIT PREPARED 'a'});

#
# A standby that was started when the transaction was open already, or prepared, or from a backup taken then
#
my $writer = Session->new($primary);
$writer->query('BEGIN');
$writer->query('UPDATE t SET n = n + 1 WHERE id = 1');
$primary->safe_psql('postgres', q{BEGIN; UPDATE t SET n = n + 1 WHERE id = 2; PREPARE TRANSACTION 'b'; CHECKPOINT});
$primary->wait_for_catchup($standby);
$standby->restart;
$primary->wait_for_catchup($standby);
my $old = settled('started beside open transactions');
$writer->query('COMMIT');
$primary->wait_for_catchup($standby);
isnt((answer())[1], $old, 'what was open is noticed') if (answer())[0] eq 'hit-revision';
settled('what was open');
noticed('what was prepared', q{COMMIT PREPARED 'b'});
unnoticed('another table, when these are over', 'INSERT INTO unrelated VALUES (1); SELECT pg_log_standby_snapshot()') if $primary->safe_psql('postgres', 'SHOW server_version_num') >= 160000;

$writer->query('BEGIN');
$writer->query('UPDATE t SET n = n + 1 WHERE id = 1');
$primary->backup('under_load');
$standby->stop;
$standby = standby_of('second', 'under_load');
$primary->wait_for_catchup($standby);
$old = settled('from a backup beside an open transaction');
$writer->query('COMMIT');
$primary->wait_for_catchup($standby);
my ($status, $document) = answer();
ok($status ne 'hit-revision' || $document ne $old, 'what was open is noticed there');
settled('what was open during the backup');

# the primary crashes with open transactions; its next ones are noticed, and nothing is kept of those
$writer->query('BEGIN');
$writer->query('UPDATE t SET n = n + 1 WHERE id = 1');
$primary->safe_psql('postgres', 'INSERT INTO unrelated VALUES (1)');
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$primary->start;
$primary->wait_for_catchup($standby);
noticed('after a crash', 'UPDATE t SET n = n + 2 WHERE id = 1');
unnoticed('... another table', 'INSERT INTO unrelated VALUES (1)');

#
# Isolation, and a section that cannot be watched
#
settled('REPEATABLE READ');
is($standby->safe_psql('postgres', q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT status FROM summary_cache_fetch('s'); COMMIT}), 'hit-revision', 'REPEATABLE READ has hits');
my $reader = Session->new($standby);
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
$reader->query('SELECT count(*) FROM t');
noticed('beside an old snapshot', 'UPDATE t SET n = n + 1 WHERE id = 1');
is($reader->query(q{SELECT status FROM summary_cache_fetch('s')}), 'private', '... which the new document is too new for');
$reader->query('COMMIT');
$reader->quit;

$primary->safe_psql('postgres', q{
	CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
	CREATE TABLE strange (n int) USING other_heap;
	INSERT INTO strange VALUES (1);
	SELECT summary_cache_define('strange', 'main', 'SELECT n FROM strange');
	SELECT summary_cache_define('strange', 'usual', 'SELECT count(*) AS c FROM t')});
$primary->wait_for_catchup($standby);
my $strange = q{SELECT status, document FROM summary_cache_fetch('strange')};
my ($count) = $standby->safe_psql('postgres', 'SELECT count(*) FROM t');
ok($standby->poll_query_until('postgres', $strange, qq(hit-revision|{"n":1,"c":$count})), 'a table that is no heap has hits while nothing is replayed');
is($standby->safe_psql('postgres', q{SELECT string_agg((revision IS NULL)::text, ' ' ORDER BY section) FROM summary_cache_sections WHERE summary = 'strange'}),
	'true false', '... by a position, and the other section by words');
replay('UPDATE strange SET n = 2');
isnt($standby->safe_psql('postgres', $strange), qq(hit-revision|{"n":1,"c":$count}), '... and its change is noticed');

#
# Eager refreshes need no reader
#
$primary->safe_psql('postgres', q{SELECT summary_cache_configure('s', 'eager_refresh', 'on')});
$primary->wait_for_catchup($standby);
settled('eager');
my $made = $standby->safe_psql('postgres', q{SELECT builds_background FROM summary_cache_stats WHERE summary = 's'});
replay('UPDATE t SET n = n + 1 WHERE id = 1');
ok($standby->poll_query_until('postgres', "SELECT builds_background > $made FROM summary_cache_stats WHERE summary = 's'"), 'a refresh that nobody asked for');
is($standby->safe_psql('postgres', q{SELECT pending = 0 AND last_change > now() - interval '1 hour' FROM summary_cache_tables WHERE source = 't'::regclass}), 't',
	'the view has the last change');

#
# Promotion: what was built before it is served after it, and what was prepared is noticed
#
$primary->safe_psql('postgres', q{BEGIN; UPDATE t SET n = n + 1 WHERE id = 2; PREPARE TRANSACTION 'left'});
$writer = Session->new($primary);
$writer->query('BEGIN');
$writer->query('UPDATE t SET n = 77 WHERE id = 1');
$primary->safe_psql('postgres', 'INSERT INTO unrelated VALUES (1)');
$primary->wait_for_catchup($standby);
$old = settled('before the promotion');
my $before = $standby->safe_psql('postgres', $fingerprints);
$primary->stop('immediate');
$standby->promote;
is(join(' ', answer()), "hit-revision $old", 'after the promotion: a hit at once');
is($standby->safe_psql('postgres', $fingerprints), $before, '... with what was built before it');
$standby->safe_psql('postgres', q{COMMIT PREPARED 'left'});
($status, $document) = answer();
ok($status ne 'hit-revision' || $document ne $old, 'what was prepared on the old primary is noticed');
$old = settled('what was prepared');
$standby->safe_psql('postgres', 'UPDATE t SET n = n + 1 WHERE id = 1');
($status, $document) = answer();
ok($status ne 'hit-revision' || $document ne $old, 'and so is what is written here');
settled('after a write of its own');
is($standby->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', 'nothing is pending');

$standby->stop;
done_testing();
