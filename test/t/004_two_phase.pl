# Proves that prepared transactions are never missed: whoever finishes them, and whatever happens to the server meanwhile.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $tables = 30;	# more than an orphan cell holds
my $status = q{SELECT status FROM summary_cache_fetch('s')};
my $fetch = q{SELECT status, document->>'total' FROM summary_cache_fetch('s')};
my $total = q{SELECT (document->>'total')::int FROM summary_cache_fetch('s')};
my $pending = q{SELECT coalesce(sum(pending), 0) FROM summary_cache_tables};
my $sum = join ' + ', map { "(SELECT sum(n) FROM t$_)" } 1 .. $tables;

my $node = Node->new('main');
$node->init;
# a restart empties the cache
$node->append_conf('postgresql.conf', 'summary_cache.save = off');
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 10");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION summary_cache; '
	. join('', map { "CREATE TABLE t$_ (n int); INSERT INTO t$_ VALUES (0); " } 1 .. $tables)
	. "SELECT summary_cache_define('s', 'main', 'SELECT $sum AS total')");

sub update
{
	my (@numbers) = @_;
	return join '; ', map { "UPDATE t$_ SET n = n + 1" } @numbers;
}

# Cached and current; the tables really have that.
sub settled
{
	my ($name) = @_;
	my $truth = $node->sql("SELECT $sum");
	ok($node->hit('s'), "$name: the summary becomes a hit");
	is($node->sql($fetch), "hit-revision|$truth", "$name: it has what the tables have");
	return $truth;
}

sub at_rest
{
	my ($name) = @_;
	is($node->sql($pending), '0', "$name: nothing is pending");
	settled($name);
	return;
}

# Not a hit of the old document: built, or served as stale.
sub noticed
{
	my ($name, $old) = @_;
	my $answer = $node->sql($fetch);
	isnt($answer, "hit-revision|$old", "$name: it is noticed");
	return;
}

#
# Finished by the same session, and by another one
#
my $before = settled('start');
$node->sql('BEGIN; ' . update(1) . q{; PREPARE TRANSACTION 'a'});
is($node->sql($fetch), "hit-revision|$before", 'a prepared transaction is not visible: hits go on');
is($node->sql(q{SELECT pending FROM summary_cache_tables WHERE source = 't1'::regclass}), '1', 'it is pending');
$node->sql(q{COMMIT PREPARED 'a'});
noticed('COMMIT PREPARED', $before);
at_rest('COMMIT PREPARED');

$before = settled('before ROLLBACK PREPARED');
$node->sql('BEGIN; ' . update(1, 2) . q{; PREPARE TRANSACTION 'a'});
$node->sql(q{ROLLBACK PREPARED 'a'});
is($node->sql($total), $before, 'ROLLBACK PREPARED: the document is as it was');
at_rest('ROLLBACK PREPARED');

# the session that commits it has committed it: it is not served a stale document
my $session = Session->new($node);
$before = settled('before own COMMIT PREPARED');
$node->sql('BEGIN; ' . update(3) . q{; PREPARE TRANSACTION 'a'});
$session->query(q{COMMIT PREPARED 'a'});
is($session->query($fetch), 'miss|' . ($before + 1), 'COMMIT PREPARED is a write of the session that commits');
$before = settled('after own COMMIT PREPARED');
$session->query('BEGIN; ' . update(3) . q{; PREPARE TRANSACTION 'a'});
is($session->query($fetch), "hit-revision|$before", 'PREPARE TRANSACTION is not');
$session->query(q{COMMIT PREPARED 'a'; SET summary_cache.read_your_writes = off});
is($session->query($status), 'stale', 'unless read_your_writes is off');
at_rest('own COMMIT PREPARED');
$session->quit;

# an error of PREPARE TRANSACTION itself
my ($ret, $out, $err) = $node->psql('postgres',
	'BEGIN; ' . update(4) . q{; CREATE TEMP TABLE x (); PREPARE TRANSACTION 'a'});
isnt($ret, 0, 'a transaction that cannot be prepared');
at_rest('failed PREPARE TRANSACTION');
$node->sql('BEGIN; ' . update(4) . q{; PREPARE TRANSACTION 'a'});
($ret, $out, $err) = $node->psql('postgres', 'BEGIN; ' . update(5) . q{; PREPARE TRANSACTION 'a'});
like($err, qr/already in use/, 'one whose name is in use');
$node->sql(q{COMMIT PREPARED 'a'});
at_rest('name in use');

#
# More tables than a cell holds, and more transactions than one, finished in another order
#
$before = settled('before many');
$node->sql('BEGIN; ' . update(1 .. $tables) . q{; PREPARE TRANSACTION 'many'});
is($node->sql($fetch), "hit-revision|$before", 'many tables: hits go on');
$node->sql(q{COMMIT PREPARED 'many'});
noticed('many tables', $before);
at_rest('many tables');

# by a summary of one of them alone, whichever it is
for my $n (1, $tables)
{
	$node->sql("SELECT summary_cache_define('one', 'main', 'SELECT n FROM t$n')");
	my $one = q{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('one')};
	$node->sql($one);
	my $old = $node->sql($one);
	like($old, qr/^hit-revision/, "many tables: a summary of table $n alone");
	$node->sql('BEGIN; ' . update(1 .. $tables) . q{; PREPARE TRANSACTION 'many'});
	$node->sql(q{COMMIT PREPARED 'many'});
	isnt($node->sql($one), $old, "many tables: it is noticed by a summary of table $n alone");
	$node->sql(q{SELECT summary_cache_drop('one')});
	at_rest("many tables, table $n alone");
}

$before = settled('before several');
$node->sql("BEGIN; " . update($_) . "; PREPARE TRANSACTION 'p$_'") for 6 .. 15;
is($node->sql($pending), '10', 'as many as can be prepared are pending');
is($node->sql($fetch), "hit-revision|$before", 'several: hits go on');
for my $n (15, 6, 10)
{
	$node->sql("COMMIT PREPARED 'p$n'");
	noticed("several, $n", $before);
	$before = settled("several, $n");
}
$node->sql("ROLLBACK PREPARED 'p$_'") for 7, 8;
# and cells are used again
$node->sql("BEGIN; " . update($_) . "; PREPARE TRANSACTION 'p$_'") for 20 .. 24;
$before = settled('cells used again');
$node->sql("COMMIT PREPARED 'p$_'") for 9, 11 .. 14, 20 .. 24;
noticed('cells used again', $before);
at_rest('several');

#
# Settled by several readers at once
#
my @readers = map { Session->new($node) } 1 .. 8;
for my $round (1 .. 10)
{
	$before = settled("round $round");
	# each reader has an own copy
	$_->query($status) for @readers;
	$node->sql('BEGIN; ' . update(1 .. 20) . q{; PREPARE TRANSACTION 'a'});
	$node->sql('BEGIN; ' . update(21) . q{; PREPARE TRANSACTION 'b'});
	# a hit may be newer than the statement's snapshot, but not older
	$_->send_sql("SELECT count(*) FROM generate_series(1, 50) g, LATERAL"
		  . " (SELECT f.status, (f.document->>'total')::int AS total, (SELECT $sum) AS truth, g"
		  . " FROM summary_cache_fetch('s') f) x WHERE status = 'hit-revision' AND total < truth") for @readers;
	$node->sql(q{COMMIT PREPARED 'a'});
	$node->sql(q{ROLLBACK PREPARED 'b'});
	is(join(' ', map { $_->result } @readers), join(' ', (0) x 8), "round $round: no hit is older than its statement");
}
$_->quit for @readers;
at_rest('settled at once');

#
# Across a restart, and a crash
#
for my $mode ('fast', 'immediate')
{
	$before = settled("before $mode");
	$node->sql('BEGIN; ' . update(1, 2) . q{; PREPARE TRANSACTION 'committed'});
	$node->sql('BEGIN; ' . update(3, 4) . q{; PREPARE TRANSACTION 'rolled back'});
	$node->sql('BEGIN; ' . update(5) . q{; PREPARE TRANSACTION 'left'});
	$node->stop($mode);
	$node->start;
	is($node->sql($total), $before, "$mode stop: what is prepared is not in the document");
	$before = settled("$mode stop");
	$node->sql(q{COMMIT PREPARED 'committed'});
	noticed("$mode stop", $before);
	is(settled("$mode stop, committed"), $before + 2, "$mode stop: both tables");
	$before += 2;
	$node->sql(q{ROLLBACK PREPARED 'rolled back'});
	is(settled("$mode stop, rolled back"), $before, "$mode stop: nothing of what is rolled back");

	# one more restart, with one that is older than two
	$node->restart;
	$before = settled("$mode stop, second start");
	$node->sql('BEGIN; ' . update(6) . q{; PREPARE TRANSACTION 'newer'});
	$node->sql(q{COMMIT PREPARED 'left'});
	noticed("$mode stop, left", $before);
	$node->sql(q{COMMIT PREPARED 'newer'});
	at_rest("$mode stop");
}

# finished before anybody reads
$node->sql('BEGIN; ' . update(7) . q{; PREPARE TRANSACTION 'early'});
$node->restart;
$node->sql(q{COMMIT PREPARED 'early'});
at_rest('finished before the first read');

# the first use of the database is a definition, not a read
$node->sql('BEGIN; ' . update(8) . q{; PREPARE TRANSACTION 'early'});
$node->restart;
is($node->psql('postgres', q{SET lock_timeout = '10s'; SELECT summary_cache_define('other', 'main', 'SELECT n AS other FROM t8')}), 0,
	'define does not wait for a prepared transaction that has written a table that has its trigger');
$before = settled('define');
is($node->sql(q{SELECT summary_cache_get('other', true)}), $node->sql(q{SELECT format('{"other":%s}', n) FROM t8}), '... its summary is built');
$node->sql(q{COMMIT PREPARED 'early'});
noticed('after define', $before);
is($node->sql(q{SELECT document->>'other' = (SELECT n::text FROM t8) FROM summary_cache_fetch('other') WHERE status = 'hit-revision'}) =~ /f/, '',
	'... and in the summary that was defined meanwhile');
at_rest('define');

# a drop that was prepared does not give the document's entry back: what is defined again is another summary
$node->sql(q{SET client_min_messages = warning; SELECT summary_cache_define('again', 'main', 'SELECT 1 AS n')});
is($node->sql(fetch('again')), 'miss 1', 'a document');
$node->sql(q{BEGIN; SELECT summary_cache_drop('again'); PREPARE TRANSACTION 'drop'});
$node->sql(q{COMMIT PREPARED 'drop'});
$node->sql(q{SELECT summary_cache_define('again', 'main', 'SELECT 2 AS n')});
is($node->sql('SET summary_cache.read_your_writes = off; ' . fetch('again')), 'miss 2', '... is not served for what is defined after a prepared drop');

$node->stop;
done_testing();
