# Proves that a transaction moves the words of the keys that its rows had and have, and the coarse word for all else.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $words = compile_module('key_words', 'modules/key_words.c');
my $rows = compile_module('row_count', 'stress/row_count.c');

my $node = Node->new('main');
$node->init;
# so many that keys of this test do not share one
$node->append_conf('postgresql.conf', q{
	summary_cache.key_words = 4000000
	max_prepared_transactions = 5
	wal_level = logical
	max_replication_slots = 5});
$node->start;
$node->sql(qq{
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION moved_words() RETURNS text LANGUAGE C AS '$words';
	CREATE FUNCTION execute_unfired(text) RETURNS void LANGUAGE C AS '$words';
	CREATE FUNCTION execute_rows(text, int) RETURNS bigint LANGUAGE C AS '$rows'});

my $observer = Session->new($node);

# Which words have moved since.
sub moved { return $observer->query('SELECT moved_words()') }

# Which ones some SQL moves.
sub by
{
	my ($sql) = @_;

	moved();
	$node->sql($sql);
	return moved();
}

# Sets of words.
sub set { return join ' ', sort { $a <=> $b } keys %{ { map { $_ => 1 } map { split / / } @_ } } }

# Table of a key trigger of these columns, as sections over it would have it.
sub track
{
	my ($table, @columns) = @_;
	my $arguments = join ', ', map { "'$_'" } @columns;
	my $each = $node->sql("SELECT relkind = 'p' FROM pg_class WHERE oid = '$table'::regclass") eq 't' ? 'STATEMENT' : 'ROW';

	$node->sql(qq{
		CREATE TRIGGER summary_cache_keys AFTER INSERT OR UPDATE OR DELETE ON $table FOR EACH $each EXECUTE FUNCTION summary_cache_key($arguments);
		ALTER TABLE $table ENABLE ALWAYS TRIGGER summary_cache_keys});
	return;
}

#
# One table
#
$node->sql(q{
	CREATE TABLE t (id int PRIMARY KEY, k int, v int, big text);
	SELECT summary_cache_define('s', 'main', 'SELECT count(*) AS n FROM t')});
is(by('INSERT INTO t VALUES (0, 1)'), '', 'without the key trigger no key word moves');
track('t', 'k');
my $coarse = by('TRUNCATE t');
like($coarse, qr/^\d+$/, 'TRUNCATE moves the coarse word');
is(by('TRUNCATE t'), $coarse, '... the same one each time');
my @w = ('', map { by("INSERT INTO t VALUES ($_, $_, 0)") } 1 .. 5);
like($_, qr/^\d+$/, 'a row moves one word') for @w[ 1 .. 5 ];
is(scalar(split / /, set($coarse, @w)), 6, '... each key another one, and none the coarse one');
is(by('INSERT INTO t SELECT i, 1 FROM generate_series(11, 20) i'), $w[1], 'many rows of a key: one word');
is(by('UPDATE t SET v = 1 WHERE id = 1'), $w[1], 'UPDATE of another column');
is(by('UPDATE t SET k = 2 WHERE id = 1'), set(@w[ 1, 2 ]), 'UPDATE of the key: the old and the new');
is(by('UPDATE t SET k = NULL WHERE id = 1'), $w[2], 'to NULL: the old');
is(by('UPDATE t SET v = 2 WHERE id = 1'), '', 'NULL has no word');
is(by('UPDATE t SET k = 3 WHERE id = 1'), $w[3], 'from NULL: the new');
is(by('DELETE FROM t WHERE id = 1'), $w[3], 'DELETE');
is(by('INSERT INTO t VALUES (2, 5) ON CONFLICT (id) DO UPDATE SET k = excluded.k'), set(@w[ 2, 5 ]), 'ON CONFLICT DO UPDATE');
is(by('INSERT INTO t VALUES (2, 1) ON CONFLICT DO NOTHING'), '', 'ON CONFLICT DO NOTHING');
is(by(q{
	MERGE INTO t USING (VALUES (2, 1), (3, 3), (100, 4)) AS n (id, k) ON t.id = n.id
	WHEN MATCHED AND n.id = 3 THEN DELETE
	WHEN MATCHED THEN UPDATE SET k = n.k
	WHEN NOT MATCHED THEN INSERT VALUES (n.id, n.k)}), set(@w[ 5, 1, 3, 4 ]), 'MERGE');
is(by("COPY t (id, k) FROM stdin;\n201\t2\n202\t\\N\n203\t4\n\\.\n"), set(@w[ 2, 4 ]), 'COPY');
is(by('WITH gone AS (DELETE FROM t WHERE id = 201 RETURNING id) INSERT INTO t SELECT id, 5 FROM gone'),
	set(@w[ 2, 5 ]), 'two writes in one statement');
is(by('BEGIN; UPDATE t SET v = 7 WHERE k = 1; DELETE FROM t WHERE k = 4; COMMIT'), set(@w[ 1, 4 ]), 'two statements in a transaction');
is(by('BEGIN; UPDATE t SET v = 8 WHERE k = 1; ROLLBACK'), '', 'a transaction that is rolled back');
is(by('EXPLAIN UPDATE t SET v = 9'), '', 'EXPLAIN');
is(by('EXPLAIN ANALYZE UPDATE t SET v = 9 WHERE k = 1'), $w[1], 'EXPLAIN ANALYZE');
is(by('UPDATE t SET v = 9 WHERE id = 99999'), '', 'no row');

#
# Subtransactions
#
is(by('BEGIN; UPDATE t SET v = 1 WHERE k = 1; SAVEPOINT s; UPDATE t SET v = 2 WHERE k = 5; RELEASE s; COMMIT'),
	set(@w[ 1, 5 ]), 'a savepoint that is released');
my $kept = by('BEGIN; UPDATE t SET v = 1 WHERE k = 1; SAVEPOINT s; UPDATE t SET v = 2 WHERE k = 5; ROLLBACK TO s; COMMIT');
ok(grep({ $_ eq $w[1] } split / /, $kept), 'a savepoint that is rolled back takes nothing from what was before');
unlike($kept, qr/\b$coarse\b/, '... and makes nothing coarse');
is(by(q{
	DO $$
	BEGIN
		UPDATE t SET v = 3 WHERE k = 1;
		FOR i IN 1 .. 1000 LOOP
			BEGIN
				INSERT INTO t VALUES (2, 9);
			EXCEPTION WHEN unique_violation THEN NULL;
			END;
		END LOOP;
	END $$}), $w[1], 'plans that fail, within subtransactions, make nothing coarse');

#
# Triggers of others, and plans within plans
#
$node->sql(q{
	CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.k := NEW.k / 10; RETURN NEW; END';
	CREATE TRIGGER double BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.k >= 10) EXECUTE FUNCTION double()});
is(by('INSERT INTO t VALUES (301, 30)'), $w[3], 'a BEFORE trigger that changes the key');
$node->sql(q{
	CREATE FUNCTION change(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN UPDATE t SET v = n WHERE k = n; RETURN n; END';
	CREATE TABLE other (n int)});
is(by('INSERT INTO other SELECT change(n) FROM generate_series(1, 2) n'), $w[1], 'a plan within another one');
is(by('UPDATE t SET v = change(5) WHERE id = 301'), set(@w[ 3, 5 ]), '... of the same table');
is(by(q{SELECT execute_rows('UPDATE t SET v = 1 WHERE k = 1 RETURNING v', 2)}), $w[1], 'a plan that is stopped by a row count');
is(by(q{INSERT INTO other SELECT 1 FROM execute_unfired('UPDATE t SET v = 2 WHERE k = 1')}), $coarse, 'a plan that does not fire its triggers');
$node->sql('DROP TRIGGER double ON t');

#
# Prepared transactions
#
my $kinds = by(q{BEGIN; UPDATE t SET v = 1 WHERE k = 1; UPDATE t SET v = 1 WHERE k = 5; PREPARE TRANSACTION 'p'});
is($kinds, 'pending', 'PREPARE: they are pending');
is(by(q{COMMIT PREPARED 'p'}), set(@w[ 1, 5 ]), 'COMMIT PREPARED');
by(q{BEGIN; UPDATE t SET v = 1 WHERE k = 1; PREPARE TRANSACTION 'p'});
is(by(q{ROLLBACK PREPARED 'p'}), $w[1], 'ROLLBACK PREPARED: a needless move');
is(by(q{BEGIN; INSERT INTO t SELECT 1000 + i, 1000 + i FROM generate_series(1, 30) i; PREPARE TRANSACTION 'p'}), 'pending', 'PREPARE with many keys');
is(by(q{COMMIT PREPARED 'p'}), $coarse, '... makes them coarse');
is(moved(), '', 'and nothing is pending any more');

#
# What is not said
#
is(scalar(grep { $_ eq $coarse } split / /, by('INSERT INTO t SELECT 10000 + i, 10000 + i FROM generate_series(1, 4096) i')), 0,
	'as many keys as fit');
ok(grep({ $_ eq $coarse } split / /, by('DELETE FROM t WHERE k > 9999; INSERT INTO t SELECT 10000 + i, 10000 + i FROM generate_series(1, 5000) i')),
	'more of them: the coarse word');
$node->sql('DELETE FROM t WHERE k > 9999');
ok(grep({ $_ eq $coarse } split / /, by('SET session_replication_role = replica; UPDATE t SET v = 1 WHERE k = 1')),
	'in a session that is a replica');
is(by('BEGIN; UPDATE t SET v = 1 WHERE k = 1; SAVEPOINT s; TRUNCATE t; ROLLBACK TO s; COMMIT'), set($coarse, $w[1]), 'TRUNCATE that is rolled back to a savepoint');
$node->sql('ALTER TABLE t RENAME COLUMN k TO kk');
is(by('UPDATE t SET v = 1 WHERE kk = 1'), $coarse, 'a column that was renamed');
$node->sql('ALTER TABLE t RENAME COLUMN kk TO k');
is(by('UPDATE t SET v = 1 WHERE k = 1'), $w[1], '... and renamed back');
$node->sql('ALTER TABLE t RENAME COLUMN k TO old; ALTER TABLE t ADD COLUMN k int; UPDATE t SET k = old; ALTER TABLE t DROP COLUMN old');
is(by('UPDATE t SET v = 1 WHERE k = 1'), $w[1], 'a column of its name in another place');
$node->sql('ALTER TABLE t ALTER COLUMN k TYPE bigint');
is(by('UPDATE t SET v = 1 WHERE k = 1'), $w[1], 'a key of another type of the same family');
$node->sql('ALTER TABLE t DROP COLUMN k');
is(by('UPDATE t SET v = 1 WHERE id = 5'), $coarse, 'a column that was dropped');

#
# Types
#
$node->sql(q{
	CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);
	CREATE TYPE mood AS ENUM ('good', 'bad');
	CREATE TYPE pair AS (a int, b int);
	CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	CREATE TABLE types (id int PRIMARY KEY, num numeric, pos positive, m mood, word text, fixed char(5), loose text COLLATE caseless,
		arr int[], rec pair, rng int4range, pt point);
	SELECT summary_cache_define('types', 'main', 'SELECT count(*) AS n FROM types');
	INSERT INTO types (id) VALUES (1), (2)});
sub type
{
	my ($column, $one, $same, $another) = @_;
	my ($first, $second, $third);

	track('types', $column);
	($first, $second) = map { by("UPDATE types SET $column = $one WHERE id = $_") } 1, 2;
	# from the same to another
	$second = by("UPDATE types SET $column = $same WHERE id = 2");
	$third = by("UPDATE types SET $column = $another WHERE id = 2");
	like($first, qr/^\d+$/, "$column: a word");
	is($second, $first, "$column: that of what is equal");
	like($third, qr/^\d+ \d+$/, "$column: what is not has another");
	$node->sql('DROP TRIGGER summary_cache_keys ON types');
	return;
}
type('num', '1.0', '1.000', '1.1');
type('pos', '2', '2.00', '3');
type('m', q{'good'}, q{'good'}, q{'bad'});
type('word', q{'a'}, q{'a'}, q{'A'});
type('fixed', q{'a'}, q{'a  '}, q{'b'});
type('loose', q{'abc'}, q{'ABC'}, q{'abd'});
type('arr', q{'{1}'}, q{'{1}'}, q{'{2}'});
type('rng', q{'[1,2)'}, q{'[1,1]'}, q{'[1,3)'});
track('types', 'num');
my $types_coarse = by('TRUNCATE types');
$node->sql('DROP TRIGGER summary_cache_keys ON types');
$node->sql('INSERT INTO types (id) VALUES (1)');
for ([ rec => 'ROW(1, 2)' ], [ pt => q{'(1,2)'} ])
{
	my ($column, $value) = @$_;

	track('types', $column);
	is(by("UPDATE types SET $column = $value"), $types_coarse, "$column: a type whose values are not told apart");
	$node->sql('DROP TRIGGER summary_cache_keys ON types');
}
track('types', 'word', 'num');
$node->sql('ALTER TABLE types ALTER COLUMN word SET STORAGE EXTERNAL');
is(by(q{UPDATE types SET word = repeat('x', 100000)}), $types_coarse, 'a value that is stored elsewhere');
my @both = split / /, by(q{INSERT INTO types (id, word, num) VALUES (5, 'w', 5)});
is(scalar(@both), 2, 'two columns: a word of each');

#
# Referential actions
#
$node->sql(q{
	CREATE TABLE up (id int PRIMARY KEY);
	CREATE TABLE down (id int PRIMARY KEY, k int REFERENCES up ON DELETE CASCADE ON UPDATE CASCADE);
	SELECT summary_cache_define('down', 'main', 'SELECT count(*) AS n FROM down');
	INSERT INTO up SELECT generate_series(1, 5)});
track('down', 'k');
my @d = ('', map { by("INSERT INTO down VALUES ($_, $_)") } 1 .. 3);
is(by('UPDATE up SET id = 3 + 10 WHERE id = 3') =~ /\b$d[3]\b/ ? 1 : 0, 1, 'ON UPDATE CASCADE: the old key');
is(by('DELETE FROM up WHERE id = 1'), $d[1], 'ON DELETE CASCADE, and nothing is coarse');
is(by('WITH x AS (SELECT 1) DELETE FROM up WHERE id IN (2, 4)'), $d[2], '... of two rows');

#
# Partitions
#
$node->sql(q{
	CREATE TABLE part (id int, k int, v int) PARTITION BY LIST (id);
	CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1) PARTITION BY LIST (k);
	CREATE TABLE part11 (v int, gone int, k int, id int);
	ALTER TABLE part11 DROP COLUMN gone;
	ALTER TABLE part1 ATTACH PARTITION part11 DEFAULT;
	CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
	SELECT summary_cache_define('part', 'main', 'SELECT count(*) AS n FROM part')});
track($_, 'k') for qw(part part1 part11 part2);
my $tree = by('TRUNCATE part');
like($tree, qr/^\d+$/, 'a tree of partitions has one coarse word');
is(by('TRUNCATE part2'), $tree, '... also by a partition');
my @p = ('', map { by("INSERT INTO part VALUES (1, $_), (2, $_)") } 1 .. 3);
like($p[$_], qr/^\d+$/, 'a key has one word in all of the tree') for 1 .. 3;
is(by('INSERT INTO part11 (id, k) VALUES (1, 2)'), $p[2], 'a partition that is written by itself');
is(by('UPDATE part SET id = 2 WHERE id = 1 AND k = 1'), $p[1], 'a row that moves');
is(by('UPDATE part SET id = 1, k = 3 WHERE id = 2 AND k = 2'), set(@p[ 2, 3 ]), '... with another key');
is(by('DELETE FROM part WHERE k = 3'), $p[3], 'DELETE by the root');
is(by("COPY part FROM stdin;\n1\t3\t1\n2\t1\t1\n\\.\n"), set(@p[ 1, 3 ]), 'COPY');
$node->sql('CREATE TABLE part3 PARTITION OF part FOR VALUES IN (3)');
is($node->sql(q{SELECT tgtype, tgnargs, tgenabled FROM pg_trigger WHERE tgname = 'summary_cache_keys' AND tgrelid = 'part3'::regclass}),
	$node->sql(q{SELECT tgtype, tgnargs, tgenabled FROM pg_trigger WHERE tgname = 'summary_cache_keys' AND tgrelid = 'part2'::regclass}),
	'a new partition gets the key trigger');
is(by('INSERT INTO part VALUES (3, 2)'), $p[2], '... that says its keys');
$node->sql(q{
	CREATE TABLE part4 (k int, id int, v int) PARTITION BY LIST (k);
	CREATE TABLE part41 PARTITION OF part4 DEFAULT;
	ALTER TABLE part ATTACH PARTITION part4 FOR VALUES IN (4)});
is($node->sql(q{SELECT string_agg(tgrelid::regclass || ' ' || (tgtype & 1) || ' ' || tgenabled::text, ', ' ORDER BY tgrelid::regclass::text)
	FROM pg_trigger WHERE tgname = 'summary_cache_keys' AND tgrelid::regclass::text LIKE 'part4%'}), 'part4 0 A, part41 1 A',
	'a tree that is attached: what has partitions has no row trigger');
is(by('INSERT INTO part VALUES (4, 3)'), $p[3], '... and says its keys');
is($node->sql(q{ALTER TABLE part2 ENABLE TRIGGER ALL; SELECT tgenabled FROM pg_trigger WHERE tgname = 'summary_cache_keys' AND tgrelid = 'part2'::regclass}),
	'A', 'ENABLE TRIGGER ALL leaves it ENABLE ALWAYS');

#
# Inheritance
#
$node->sql(q{
	CREATE TABLE parent (id int, k int);
	CREATE TABLE child (more int) INHERITS (parent);
	SELECT summary_cache_define('parent', 'main', 'SELECT count(*) AS n FROM parent')});
track($_, 'k') for qw(parent child);
my ($in_parent, $in_child) = map { by("INSERT INTO $_ (id, k) VALUES (1, 1)") } qw(parent child);
isnt($in_parent, $in_child, 'a table that inherits has words of its own');
is(by('UPDATE parent SET id = 2'), set($in_parent, $in_child), 'UPDATE by the parent: both');
$node->sql('CREATE TABLE late () INHERITS (parent)');
is(by('INSERT INTO late VALUES (1, 1); ') =~ /^\d+$/ ? 1 : 0, 1, 'a table that inherits later says its keys');

#
# What applies another server's changes
#
$node->sql(q{SELECT pg_replication_origin_create('elsewhere')});
my $applied = by(q{
	SELECT pg_replication_origin_session_setup('elsewhere');
	UPDATE child SET id = 3});
is(scalar(split / /, $applied), 2, 'a session that applies changes: the key and the coarse word');
like($applied, qr/\b$in_child\b/, '... that is, this one');

#
# Bystanders
#
is($node->sql('CREATE TABLE alone (id int, k int); SELECT 1'), '1', 'a table that is no source');
track('alone', 'k');
is(by('INSERT INTO alone VALUES (1, 1)'), '', 'nothing is said of one that is not tracked');

#
# Dumps
#
is($node->sql(q{SELECT deptype FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND objid = (
	SELECT oid FROM pg_trigger WHERE tgname = 'summary_cache_keys' AND tgrelid = 'part3'::regclass)}), 'x', 'the key trigger goes with the extension');
my $triggers = q{SELECT tgrelid::regclass, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'summary_cache_keys' ORDER BY tgrelid::regclass::text};
my $dumped = PostgreSQL::Test::Utils::tempdir() . '/dump';
command_ok([ 'pg_dump', '-f', $dumped, $node->connstr('postgres') ], 'a dump');
$node->sql('CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dumped, $node->connstr('restored') ], '... is restored');
is($node->safe_psql('restored', $triggers), $node->safe_psql('postgres', $triggers), '... with the key triggers');
$node->sql('DROP EXTENSION summary_cache CASCADE');
is($node->sql(q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'summary_cache%'}), '0', 'without the extension there is none');
is(by('INSERT INTO part VALUES (3, 2)'), '', '... and writes go on');
$observer->quit;
$node->stop;
done_testing();
