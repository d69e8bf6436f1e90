# Proves that each document of a summary with parameters lives by itself: it is built once for all who wait for it, and is refreshed, announced, fails, is proven and read in each kind of transaction without regard to the others.

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
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	max_connections = 60
	max_prepared_transactions = 5
	summary_cache.max_stale_age = -1
	summary_cache.max_documents = 6000
	# so many that the keys of this test do not share one
	summary_cache.key_words = 4000000
	summary_cache.worker_idle_timeout = 200ms
});
$node->start;
# A build of document k waits while somebody holds advisory lock 100 + k.
$node->sql(q{
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (k int PRIMARY KEY, n int);
	INSERT INTO t SELECT k, 10 * k FROM generate_series(1, 5000) k;
	SELECT summary_cache_define('s', 'main', 'SELECT pg_advisory_xact_lock_shared(100 + $1)::text AS gate, $1 AS k,
		(SELECT sum(n) FROM t WHERE k = $1) AS n', parameters => '{k int}')});
is($node->sql(q{SELECT keyed FROM summary_cache_tables}), '{"s.main: by k = $1"}', 'the table is keyed');

# The status and a key of a document, as SQL.
sub document
{
	my ($summary, $value, $key) = @_;
	return qq{SELECT status || ' ' || (document->>'} . ($key // 'n') . qq{') FROM summary_cache_fetch('$summary', parameters => '{"$value"}')};
}

# What the cache has of one, without a request.
sub state_of_document
{
	my ($summary, $value) = @_;
	return qq{SELECT state FROM summary_cache_documents WHERE summary = '$summary' AND parameters = '{$value}'};
}

# It becomes current without a reader.
sub refreshed
{
	my ($summary, $value, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $node->polled(state_of_document($summary, $value), 'current', $name);
}

sub documents { return $node->sql(join ';', map { document('s', $_) } @_) }
sub counter { my ($column, $summary) = @_; return $node->sql("SELECT $column FROM summary_cache_stats WHERE summary = '" . ($summary // 's') . q{'}) }
sub builds { return counter('builds_miss + builds_background + builds_forced + builds_inline', @_) }

# Nothing is asked for any more.
sub nothing_waits { $node->poll('SELECT requests_waiting = 0 AND workers = 0 FROM summary_cache_server') or die 'requests wait'; return; }

my $holder = Session->new($node);
sub close_gate { $holder->query("SELECT pg_advisory_lock(100 + $_)") for @_; return; }
sub open_gate { $holder->query("SELECT pg_advisory_unlock(100 + $_)") for @_; return; }

#
# Single flight
#
my @herd = map { Session->new($node) } 1 .. 10;
my @second = map { Session->new($node) } 1 .. 6;
close_gate(1, 2);
$herd[0]->send_sql(document('s', 1));
$node->polled(anybody_at_gate(101), '1', 'a reader builds a document');
$_->send_sql(document('s', 1)) for @herd[ 1 .. 9 ];
$node->polled(readers_waiting(), '9', 'others wait for it');
is($node->sql(anybody_at_gate(101)), '1', '... of whom none builds');
is(documents(3), 'miss 30', 'who reads another document does not wait');
$second[0]->send_sql(document('s', 2));
$node->polled(anybody_at_gate(102), '1', 'nor does who builds a third one');
$_->send_sql(document('s', 2)) for @second[ 1 .. 5 ];
$node->polled(readers_waiting(), '14', '... for which others wait');
open_gate(2);
is_deeply([ map { $_->result } @second ], [ ('miss 20') x 6 ], 'all of the second herd get that');
is($node->sql(readers_waiting() . ';' . anybody_at_gate(101)), "9\n1", '... while the first still waits');
open_gate(1);
is_deeply([ map { $_->result } @herd ], [ ('miss 10') x 10 ], 'the first herd gets its document');
is(builds(), '3', 'each document was built once');
is(counter('waits'), '14', '... and the waits are counted');
$_->quit for @herd[ 1 .. 9 ], @second;

#
# A write to one key, and the worker
#
close_gate(1);
$node->sql('SELECT summary_cache_reset_stats(); UPDATE t SET n = 11 WHERE k = 1');
is(documents(1, 2, 3), "stale 10\nhit-revision 20\nhit-revision 30", 'after a write to one key its document is stale, and no other');
$node->polled(at_gate(101), '1', 'a worker refreshes it');
is(documents(1, 2), "stale 10\nhit-revision 20", '... and meanwhile it is served');
open_gate(1);
refreshed('s', 1, '... until it is refreshed');
is(documents(1, 2, 3), "hit-revision 11\nhit-revision 20\nhit-revision 30", '... with what was written');
is(builds(), '1', '... by one build');
$node->sql('UPDATE t SET n = n WHERE k = 4000; DELETE FROM t WHERE k = 4001; INSERT INTO t VALUES (5001, 0)');
is(documents(1, 2, 3), "hit-revision 11\nhit-revision 20\nhit-revision 30", 'writes to keys without a document concern none');
# (what was stale while it was refreshed was asked for once more)
nothing_waits();
$node->sql('BEGIN; TRUNCATE t; INSERT INTO t SELECT k, 10 * k FROM generate_series(1, 5000) k; COMMIT');
is(documents(1, 2, 3), "stale 11\nstale 20\nstale 30", 'TRUNCATE concerns them all');
refreshed('s', $_, "... document $_ is refreshed") for 1 .. 3;

#
# Eager: what is there is refreshed without a reader, and nothing else
#
$node->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', 'on')});
documents(1 .. 3);
refreshed('s', $_, "after an option is set, document $_ is refreshed") for 1 .. 3;
nothing_waits();
$node->sql('SELECT summary_cache_reset_stats(); UPDATE t SET n = 21 WHERE k IN (2, 4, 5)');
refreshed('s', 2, 'a document is refreshed without a reader');
nothing_waits();
is($node->sql(q{SELECT string_agg(parameters[1], ' ' ORDER BY parameters) FROM summary_cache_documents WHERE summary = 's'}), '1 2 3',
	'... and none is built that was not there');
is(builds(), '1', '... nor one whose key was not written');
is(documents(1 .. 3), "hit-revision 10\nhit-revision 21\nhit-revision 30", 'all are hits');

#
# Listeners are told which document is new
#
my $listener = Session->new($node);
my $heard = '';
sub hears
{
	my ($wanted) = @_;
	return wait_until(sub { $heard .= $listener->query('SELECT'); $heard =~ $wanted });
}
$listener->query('LISTEN summary_cache');
$node->sql('UPDATE t SET n = 12 WHERE k = 1');
ok(hears(qr/payload "\{"summary":"s","parameters":\[1\],"built_at":"[^"]+"\}"/), 'a notification has the values') or diag $heard;
$node->sql('UPDATE t SET n = 22 WHERE k = 2');
ok(hears(qr/"parameters":\[2\]/), '... of the document that is new') or diag $heard;
unlike($heard, qr/"parameters":\[3\]/, '... and of no other');
is(() = $heard =~ /"parameters":\[1\]/g, 1, '... once');
$node->sql(q{SELECT summary_cache_define('kinds', 'main', 'SELECT (SELECT count(*) FROM t) AS n', parameters => '{a text, b date null, c numeric, d bytea, e float8, f bool}')});
$node->sql(q{SELECT summary_cache_get('kinds', parameters => ARRAY[E'"\n', NULL, '1.50', '\x00ff', 'NaN', 'on'])});
ok(hears(qr/"summary":"kinds","parameters":\["\\"\\n",null,1\.50,"\\\\x00ff","NaN",true\],/), 'values of all kinds are JSON') or diag $heard;
# what does not fit into a notification
$node->sql(q{SELECT summary_cache_get('kinds', parameters => ARRAY[repeat(E'\x01', 3900), NULL, '1', '', '0', 'on'])});
ok(hears(qr/"summary":"kinds","parameters":null,"built_at"/), 'values that are too long for a notification are left out') or diag substr $heard, 0, 1000;
$heard = '';
$node->sql(q{SELECT summary_cache_get('kinds', parameters => ARRAY[repeat('x', 3000), NULL, '1', '', '0', 'on'])});
ok(hears(qr/"summary":"kinds","parameters":\["x{3000}",null,/), '... and others are not') or diag substr $heard, 0, 1000;
is($node->sql(q{SELECT count(*), sum(consecutive_failures) FROM summary_cache_documents WHERE summary = 'kinds'}), '3|0', '... which is no failure');
$listener->quit;

#
# A query that fails for one value
#
$node->sql(q{
	CREATE TABLE divisor (n int); INSERT INTO divisor VALUES (1);
	SELECT summary_cache_define('e', 'main', 'SELECT 100 / (CASE WHEN $1 = 7 THEN (SELECT n FROM divisor) ELSE 1 END) + 0 * (SELECT sum(n) FROM divisor) AS n', parameters => '{k int}')});
is($node->sql(join ';', map { document('e', $_) } 6 .. 8), "miss 100\nmiss 100\nmiss 100", 'before anything fails');
$node->sql('UPDATE divisor SET n = 0');
is($node->sql(join ';', 'SET summary_cache.max_stale_age = 0', map { document('e', $_) } 6 .. 8), "miss 100\nstale 100\nmiss 100",
	'the query fails for one value: its old document is served, and the others are built');
my $errors = q{SELECT parameters[1], state, consecutive_failures > 0, last_error FROM summary_cache_documents WHERE summary = 'e' ORDER BY 1};
is($node->sql($errors), "6|current|f|\n7|stale|t|division by zero\n8|current|f|", 'the view of documents has the error, of the one that fails');
is(counter('builds_failed > 0', 'e'), 't', '... and it is counted');
my ($status, $out, $err) = $node->psql('postgres', q{SELECT summary_cache_get('e', true, '{7}')});
like($err, qr/ERROR:  division by zero|could not be built: division by zero/, 'who forces a build gets the error');
($status, $out, $err) = $node->psql('postgres', q{SET summary_cache.stale_if_error = 0; SET summary_cache.max_stale_age = 0; SELECT summary_cache_get('e', parameters => '{7}')});
like($err, qr/division by zero/, '... as does who wants no old document');
is($node->sql(join ';', map { document('e', $_) } 6, 8), "hit-revision 100\nhit-revision 100", '... and the others are hits');
# one that was never there
$node->sql('UPDATE divisor SET n = 1');
$node->sql(q{SELECT summary_cache_define('f', 'main', 'SELECT $1 / (SELECT sum(n) FROM divisor) AS n, 1 / ($1 - 7) AS m', parameters => '{k int}')});
($status, $out, $err) = $node->psql('postgres', q{SELECT summary_cache_get('f', parameters => '{7}')});
like($err, qr/division by zero/, 'a value for which there never was a document');
is($node->sql(document('f', 8)), 'miss 8', '... is no matter of another');
is($node->sql($errors =~ s/'e'/'f'/r), "7|empty|t|division by zero\n8|current|f|", '... and has its error in the view');
ok(wait_until(sub { $node->sql(document('e', 7)) eq 'hit-revision 100' }), 'it heals');
is($node->sql($errors), "6|stale|f|\n7|current|f|\n8|stale|f|", '... without a trace');

#
# Transactions of all kinds
#
$node->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', NULL)});
sub all_current
{
	$node->sql($_) for map { document('s', $_) } 1 .. 3;
	$node->poll(state_of_document('s', $_), 'current') or die "document $_ is not refreshed" for 1 .. 3;
	nothing_waits();
	return;
}
all_current();
my $session = Session->new($node);
my $other = Session->new($node);
sub in_session { my ($of, @values) = @_; return $of->query(join ';', map { document('s', $_) } @values) }

$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t');
is(in_session($session, 1, 2), "hit-revision 12\nhit-revision 22", 'REPEATABLE READ: hits of what has not changed');
$other->query('UPDATE t SET n = 13 WHERE k = 1');
is(in_session($session, 1, 2), "private 12\nhit-revision 22", '... and for itself of what has');
is($other->query(q{SELECT document->>'n' FROM summary_cache_fetch('s', force_refresh => true, parameters => '{1}')}), '13', '... although it is built anew');
is(in_session($session, 1, 2), "private 12\nhit-revision 22", '... which it does not see');
$session->query('COMMIT');
is(in_session($session, 1, 2), "hit-revision 13\nhit-revision 22", '... but afterwards');

$session->query('BEGIN; UPDATE t SET n = 14 WHERE k = 1');
is(in_session($session, 1), 'private 14', 'who writes reads its own');
is(in_session($session, 2), 'private 22', '... and of any other key of the table for itself');
is(in_session($other, 1, 2), "hit-revision 13\nhit-revision 22", '... and nobody else');
$session->query('ROLLBACK');
is(in_session($session, 1, 2), "hit-revision 13\nhit-revision 22", 'what is rolled back is nothing');

close_gate(1);
$session->query('UPDATE t SET n = 15 WHERE k = 1');
is(in_session($other, 1), 'stale 13', 'another session may be served what was before a commit');
$session->send_sql(document('s', 1));
$node->polled('SELECT wait_event_type FROM pg_stat_activity WHERE pid = ' . $session->pid, 'Lock', '... but not the one that has committed');
open_gate(1);
like($session->result, qr/^(miss|hit-revision) 15$/, '... which waits for the new document');
is(in_session($session, 2, 3), "hit-revision 22\nhit-revision 30", '... and has hits of the others');
all_current();
# another session's commit is no reason not to be served what is stale
close_gate(2);
$other->query('UPDATE t SET n = 23 WHERE k = 2');
is(in_session($session, 2), 'stale 22', 'what another has committed a session may not see yet');
open_gate(2);
all_current();

# more keys than are remembered
close_gate(1, 2, 3);
$session->query('UPDATE t SET n = n + 1');
is(in_session($other, 1 .. 3), "stale 15\nstale 23\nstale 30", 'a transaction that has written five thousand keys');
open_gate(1, 2, 3);
is($session->query(join ';', map { qq{SELECT document->>'n' FROM summary_cache_fetch('s', parameters => '{$_}')} } 1 .. 3), "16\n24\n31", '... is not hidden from its session');
all_current();
for my $k (4 .. 2000)
{
	$session->send_sql("UPDATE t SET n = n + 1 WHERE k = $k") if $k % 2;
}
$session->result;
close_gate(1);
$session->query('UPDATE t SET n = 17 WHERE k = 1; UPDATE t SET n = n + 1 WHERE k BETWEEN 3000 AND 5000');
$session->send_sql(q{SELECT document->>'n' FROM summary_cache_fetch('s', parameters => '{1}')});
open_gate(1);
is($session->result, '17', 'nor a commit after which it has committed many others');
all_current();

$session->query(q{BEGIN; UPDATE t SET n = 18 WHERE k = 1; PREPARE TRANSACTION 'p'});
is(in_session($other, 1, 2), "hit-revision 17\nhit-revision 24", 'a prepared transaction is not seen');
is(in_session($session, 1, 2), "hit-revision 17\nhit-revision 24", '... nor by its session');
$other->query(q{COMMIT PREPARED 'p'});
like($node->sql(document('s', 1)), qr/^(stale 17|hit-revision 18)$/, 'its commit makes the document stale');
like(in_session($other, 1), qr/^(miss|hit-revision) 18$/, 'who has committed it is served what it has written');
is(in_session($other, 2), 'hit-revision 24', '... and the others are hits');
$session->query(q{BEGIN; UPDATE t SET n = 19 WHERE k = 1; PREPARE TRANSACTION 'p'});
$node->restart;
$_->quit for $session, $other, $holder, $herd[0];
$holder = Session->new($node);
is($node->sql(join ';', map { qq{SELECT document->>'n' FROM summary_cache_fetch('s', parameters => '{$_}')} } 1, 2), "18\n24", 'a transaction that is prepared over a restart');
$node->sql(q{COMMIT PREPARED 'p'});
unlike(documents(1), qr/^hit-revision 18/, '... is noticed when it is committed');
all_current();
is(documents(1, 2), "hit-revision 19\nhit-revision 24", '... and is in the document');

#
# Rights
#
$node->sql(q{
	CREATE ROLE reader LOGIN; CREATE ROLE stranger LOGIN;
	GRANT EXECUTE ON FUNCTION summary_cache_get(text, boolean, text[]), summary_cache_fetch(text, text, boolean, text[]),
		summary_cache_unchanged(text, text, text[]), summary_cache_invalidate(text, text, text[]) TO reader, stranger;
	SELECT summary_cache_configure('s', 'readers', 'reader')});
all_current();
is($node->sql("SET ROLE reader; " . document('s', 1)), 'hit-revision 19', 'a reader on the list has a hit');
for my $call (
	q{SELECT summary_cache_get('s', parameters => '{1}')},
	q{SELECT summary_cache_get('s', parameters => '{no number}')},
	q{SELECT summary_cache_get('s')},
	q{SELECT summary_cache_get('s', true, '{6}')},
	q{SELECT summary_cache_unchanged('s', 'x', '{1}')},
	q{SELECT summary_cache_invalidate('s', parameters => '{1}')},
	q{SELECT summary_cache_invalidate('s', 'main', '{no number}')})
{
	($status, $out, $err) = $node->psql('postgres', "SET ROLE stranger; $call");
	like($err, qr/^psql:<stdin>:1: ERROR:  summary "s" is not defined\nHINT:  Define it with summary_cache_define\(\); [^\n]*$/, "who is not on it is told of no summary: $call");
}
is($node->sql(state_of_document('s', 6)), '', '... and makes no document');
$node->sql(q{GRANT SELECT ON summary_cache_documents TO stranger; GRANT EXECUTE ON FUNCTION summary_cache_stat_documents() TO stranger});
is($node->sql(q{SET ROLE stranger; SELECT count(*) FILTER (WHERE summary = 's'), count(*) > 0 FROM summary_cache_documents}), '0|t',
	'the view shows no values to who may not read them');
all_current();
is($node->sql('SET ROLE reader; ' . q{SELECT summary_cache_invalidate('s', parameters => '{1}')}), '', 'who may read it may invalidate one document');
is(documents(1, 2), "miss 19\nhit-revision 24", '... which is built again, and no other');
$node->sql(q{SELECT summary_cache_configure('s', 'readers', NULL)});

#
# A session that reads many documents knows of a thousand
#
SKIP:
{
	skip 'no view of memory contexts', 8 if $node->pg_version < 14;
	my $views = q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'summary_cache local'};
	my $reader = Session->new($node);
	is($reader->query(q{SELECT count(DISTINCT d->>'k') FROM generate_series(1, 5000) i, summary_cache_get('s', parameters => ARRAY[i::text]) d}),
		'5000', 'five thousand documents in a statement');
	cmp_ok($reader->query($views), '<=', 1000, '... of which the session knows a thousand');
	is($reader->query(q{SELECT bool_and(d->>'k' = i::text) FROM (SELECT i, summary_cache_get('s', parameters => ARRAY[i::text]) AS d FROM generate_series(1, 5000) i ORDER BY i DESC) x}),
		't', '... all of them right, when they are sorted after they were read');
	$node->sql(q{SET client_min_messages = warning; SELECT summary_cache_define('of_many', 'main',
		$$SELECT count(summary_cache_get('s', parameters => ARRAY[i::text])) AS n FROM generate_series(1, 1500) i$$, '{}')});
	is($reader->query(q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT summary_cache_get('of_many')->>'n'; COMMIT}), '1500', 'a build here that reads 1,500');
	$reader->query(q{SELECT summary_cache_get('s', parameters => '{4999}'), summary_cache_get('s', parameters => '{4998}')});
	cmp_ok($reader->query($views), '<=', 1001, '... leaves a thousand, too, beside its own');
	$node->sql(q{SELECT summary_cache_drop('of_many')});
	my $calls = join ', ', map { "summary_cache_get('s', parameters => '{$_}')" } 1 .. 1200;
	is($reader->query("SELECT count(*) FROM unnest(ARRAY[$calls]) WITH ORDINALITY a(d, i) WHERE d->>'k' = i::text"), '1200', '... and when an expression has them all at once');
	my $total = $reader->query('SELECT sum(total_bytes) FROM pg_backend_memory_contexts');
	$reader->query(q{SELECT count(summary_cache_get('s', parameters => ARRAY[i::text])) FROM generate_series(1, 5000) i}) for 1 .. 3;
	cmp_ok($reader->query('SELECT sum(total_bytes) FROM pg_backend_memory_contexts'), '<', $total + 1024 * 1024, '... and its memory does not grow');
	is($reader->query(q{BEGIN; DECLARE c CURSOR FOR SELECT i, summary_cache_get('s', parameters => ARRAY[i::text]) AS d FROM generate_series(1, 3000) i; MOVE 3000 FROM c; } .
		$views =~ s/count\(\*\)/count(*) <= 1001/r . '; COMMIT'), 't', '... nor in a transaction');
	$reader->quit;
}

$holder->quit;
$node->stop;
done_testing();
