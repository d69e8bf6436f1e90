# Proves that documents of summaries with parameters take their room from each other before they take it from others, that it comes back with what is dropped, and that two lists of values with the same hash are never taken for each other.

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
	summary_cache.save = off
	summary_cache.max_stale_age = -1
	summary_cache.memory_limit = 1MB
	summary_cache.max_sections = 64
	summary_cache.max_documents = 100
});
$node->start;

# A database with summaries of documents that are small, or of 100 kB: seven of these fit, and eight do not.
sub database
{
	my ($db) = @_;

	$node->sql("CREATE DATABASE $db") if $db ne 'postgres';
	$node->sql(q{
		SET client_min_messages = warning;
		CREATE EXTENSION summary_cache;
		CREATE TABLE t (n int); INSERT INTO t VALUES (1);
		CREATE FUNCTION define(name text, query text) RETURNS void LANGUAGE sql AS
			$$SELECT summary_cache_define(name, 'main', query, parameters => '{k int}')$$;
		-- how documents are answered: each status, and how often
		CREATE FUNCTION read(summary text, low int, high int, step int DEFAULT 1) RETURNS text LANGUAGE sql AS $$
			SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (
				SELECT status, count(*) AS n FROM generate_series(low, high, step) i, LATERAL summary_cache_fetch(summary, parameters => ARRAY[i::text])
				WHERE document->>'k' = i::text GROUP BY status) s $$;
		SELECT define('a', 'SELECT $1 AS k, (SELECT sum(n) FROM t) AS n'), define('b', 'SELECT $1 AS k, (SELECT sum(n) FROM t) AS n'),
			define('c', 'SELECT $1 AS k, (SELECT sum(n) FROM t) AS n'), define('large', 'SELECT $1 AS k, repeat(''x'', 120000) AS x')}, $db);
	return;
}

sub stat_of { my ($summary, $column, $db) = @_; return $node->sql("SELECT $column FROM summary_cache_stats WHERE summary = '$summary'", $db) }
sub cached { my ($db) = @_; return $node->sql('SELECT sum(documents) FROM summary_cache_stats', $db) }
sub evicted { my ($db) = @_; return $node->sql('SELECT documents_evicted FROM summary_cache_server', $db) }

database('postgres');
database('other');

#
# Of the server
#
is($node->sql(q{SELECT read('a', 1, 300)}), 'miss 300', 'more documents than there is room for');
is(stat_of('a', 'documents'), '100', '... of which as many are there as there may be');
is($node->sql(q{SELECT count(*) FROM summary_cache_documents}), '100', '... in the view as well');
is($node->sql(q{SELECT read('a', 300, 281, -1)}), 'hit-revision 20', 'the last ones are hits');
is(stat_of('a', 'evictions'), evicted(), 'those that gave way are counted, of the summary and of the server');
cmp_ok(evicted(), '>=', 200, '... all of them');

#
# A reader of ten thousand values
#
is($node->sql(q{SELECT read('b', 1, 20)}), 'miss 20', 'another summary');
is($node->sql(q{SELECT string_agg(DISTINCT read, '; ') FROM (
	SELECT read('b', 1, 20) FROM generate_series(1, 200) i WHERE read('c', 50 * i + 1, 50 * i + 50) = 'miss 50') r}),
	'hit-revision 20', '... that is read stays, while ten thousand documents of a third one are read once');
is(stat_of('b', 'evictions'), '0', '... and was never pushed out');
cmp_ok(stat_of('c', 'documents'), '>=', 51, 'the third has most of the room');
is(stat_of('b', 'documents') + stat_of('c', 'documents') + stat_of('a', 'documents'), '100', '... which is all in use');
is($node->sql(q{SELECT read('a', 1, 20)}, 'other'), 'miss 20', 'another database');
is($node->sql(q{SELECT string_agg(DISTINCT read('c', 50 * i + 1, 50 * i + 50), '; ') FROM generate_series(1, 20) i}), 'miss 50',
	'a thousand more');
is($node->sql(q{SELECT read('a', 1, 20)}, 'other'), 'hit-revision 20', '... push out nothing of the other database');

#
# Of a summary
#
$node->sql(q{SELECT summary_cache_configure('c', 'max_documents', '10')});
$node->sql(q{SELECT read('c', 1, 30)});
is(stat_of('c', 'documents'), '10', 'a summary has as many as it may have');
is($node->sql(q{SELECT read('a', 1, 20)}, 'other'), 'hit-revision 20', '... and nobody else pays for it');
$node->sql(q{SELECT summary_cache_configure('c', 'max_documents', '1')});
is($node->sql(q{SELECT read('c', 1, 3), read('c', 3, 3), read('c', 2, 2)}), 'miss 3|hit-revision 1|miss 1', 'or one');
is(stat_of('c', 'documents'), '1', '... only');
$node->sql(q{SELECT summary_cache_configure('c', 'max_documents', NULL)});

#
# Memory full
#
$node->sql(q{SELECT summary_cache_invalidate(s) FROM unnest('{a,b,c}'::text[]) s; SELECT summary_cache_invalidate('a')}, $_) for qw(postgres other);
is(cached() + cached('other'), '0', 'what is invalidated has no entry');
is($node->sql(q{SELECT read('b', 1, 20)}), 'miss 20', 'small documents');
is($node->sql(q{SELECT string_agg(DISTINCT read, '; ') FROM (SELECT read('b', 1, 20) FROM generate_series(1, 30) i WHERE read('large', i, i) = 'miss 1') r}),
	'hit-revision 20', '... that are read stay, while large ones of another summary are read once');
is(stat_of('large', 'documents <= 7 AND documents > 4 AND document_bytes / 120000 = documents'), 't', '... of which those are there that fit');
my $evicted = evicted();
is($node->sql(q{SELECT count(summary_cache_get('large', true, '{30}')) FROM generate_series(1, 10)}), '10', 'a document is built again');
is(evicted(), $evicted, '... in its own room');
$node->sql(q{SELECT summary_cache_invalidate('large'), summary_cache_invalidate('b')});

#
# The entry of a summary stays as long as it has documents
#
is($node->sql(q{SELECT read('a', 1, 5)}), 'miss 5', 'documents');
for my $db ('postgres', 'other')
{
	$node->sql(join('', map { "SELECT summary_cache_define('plain$_', 'main', 'SELECT $_ AS n'); SELECT summary_cache_get('plain$_');" } 1 .. 40), $db);
}
cmp_ok($node->sql('SELECT summaries_evicted FROM summary_cache_server'), '>', 0, 'more summaries than there are entries');
like($node->sql(q{SELECT read('a', 1, 5)}), qr/^(hit-revision|stale) 5$/, '... do not take that of a summary that has documents');
is(stat_of('a', 'documents'), '5', '... which it shows');

#
# What is dropped gives everything back
#
sub fits
{
	my ($name, $db) = @_;

	$evicted = evicted($db);
	is($node->sql(q{SELECT read('b', 1, 100), read('b', 1, 100)}, $db), 'miss 100|hit-revision 100', "$name: all entries are to be had");
	is(evicted($db), $evicted, '... and nothing gives way');
	return;
}

$node->sql(q{SELECT summary_cache_drop('plain' || i) FROM generate_series(1, 40) i; SELECT summary_cache_invalidate(s) FROM unnest('{a,b,c,large}'::text[]) s});
fits('after an invalidation');
my $bytes = stat_of('b', 'document_bytes');
cmp_ok($bytes, '>', $node->sql(q{SELECT sum(bytes) FROM summary_cache_documents WHERE summary = 'b'}), 'the memory of all documents of a summary');
$node->sql(q{SELECT summary_cache_invalidate('b')});
is(stat_of('b', 'document_bytes'), '0', '... is none when they are invalidated');
$node->sql(q{SELECT read('b', 1, 100)});
is(stat_of('b', 'document_bytes'), $bytes, '... and the same when they are there again');
$node->sql(q{BEGIN; SELECT summary_cache_drop('b'); ROLLBACK});
is($node->sql(q{SELECT read('b', 1, 100)}), 'hit-revision 100', 'a drop that is rolled back');
$node->sql(q{SELECT summary_cache_drop('b')});
is(cached(), '0', 'a summary is dropped');
$node->sql(q{SELECT define('b', 'SELECT $1 AS k, (SELECT sum(n) FROM t) AS n')});
fits('after a drop');
is(stat_of('b', 'document_bytes'), $bytes, '... of the same size');
$node->sql('DROP EXTENSION summary_cache');
fits('after DROP EXTENSION', 'other');
is($node->sql(q{SELECT read('a', 1, 5)}, 'other'), 'miss 5', 'documents of two summaries');
$node->sql('DROP DATABASE other');
$node->sql('DROP FUNCTION define, read; DROP TABLE t');
database('postgres');
fits('after DROP DATABASE');
$node->sql(q{SELECT summary_cache_invalidate('b')});
is($node->sql(q{SELECT read('large', 1, 6), read('large', 1, 6)}), 'miss 6|hit-revision 6', '... and the memory');

#
# None, and many
#
$node->append_conf('postgresql.conf', 'summary_cache.max_documents = 0');
$node->restart;
is($node->sql(q{SELECT read('b', 1, 3)}), 'private 3', 'with max_documents = 0 all are answered, and none is cached');
$node->append_conf('postgresql.conf', 'summary_cache.max_documents = 5000');
$node->restart;
# what cannot be built has values and an error in memory, a megabyte in all
$node->sql(q{
	SELECT define('wrong', 'SELECT 1 / ($1 - $1) AS k');
	DO $$
	BEGIN
		FOR i IN 1 .. 3000 LOOP
			BEGIN
				PERFORM summary_cache_get('wrong', parameters => ARRAY[i::text]);
			EXCEPTION WHEN division_by_zero THEN NULL;
			END;
		END LOOP;
	END $$});
is($node->sql(q{SELECT read('large', 1, 5), read('large', 1, 5)}), 'miss 5|hit-revision 5', 'three thousand documents that cannot be built leave room for others');
is($node->sql(q{SELECT count(*) > 0 AND count(*) = count(last_error) FROM summary_cache_documents WHERE summary = 'wrong'}), 't', '... and those that are left have their error');
$node->stop;

#
# Two lists of values with one hash
#
if ($ENV{SC_DEBUG_CONF})
{
	my $debug = Node->new('debug');
	$debug->init;
	$debug->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}) . q{
		autovacuum = off
		summary_cache.debug_fail = 'hash'
		summary_cache.max_stale_age = -1
	});
	$debug->start;
	$debug->sql(q{
		SET client_min_messages = warning;
		CREATE EXTENSION summary_cache;
		CREATE TABLE t (k numeric, n int);
		INSERT INTO t VALUES (1, 10), (2, 20), (3, 30);
		SELECT summary_cache_define('s', 'main', 'SELECT (SELECT sum(n) FROM t WHERE k = $1) AS n', parameters => '{k numeric}');
		SELECT summary_cache_define('i', 'main', 'SELECT (SELECT sum(n) FROM t WHERE k = $1) AS n', refresh => 'inline', parameters => '{k numeric}')});
	my $document = sub { my ($value, $summary) = @_; $summary //= 's'; return qq{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('$summary', parameters => '{$value}')} };
	my ($one, $two) = map { Session->new($debug) } 1 .. 2;
	is($one->query($document->(1)), 'miss 10', 'values');
	is($one->query($document->(2)), 'private 20', 'others with the same hash are answered for themselves');
	is($one->query(join ';', map { $document->($_) } 1, 2, 1, 3, 1), "hit-revision 10\nprivate 20\nhit-revision 10\nprivate 30\nhit-revision 10", '... in turn');
	is($two->query($document->(2)), 'private 20', '... in another session, that knows of no other');
	is($two->query($document->('1.00')), 'hit-revision 10', 'equal values are the same document');
	is($two->query($document->(2)), 'private 20', '... and what was equal to them is not to others');
	is($two->query($document->('1.00')), 'hit-revision 10', '... and is again');
	is($debug->sql(q{SELECT parameters FROM summary_cache_documents}), '{1}', 'the view has the document that there is');
	# a form, an etag, a forced read and an invalidation
	is($one->query(q{SELECT convert_from(body, 'UTF8') FROM summary_cache_fetch_encoded('s', parameters => '{2}')}), '{"n":20}', 'an encoded answer');
	is($one->query(q{SELECT summary_cache_unchanged('s', etag, '{1}'), summary_cache_unchanged('s', etag, '{2}') FROM summary_cache_fetch('s', parameters => '{1}')}), 't|f', 'an etag');
	is($one->query(q{SELECT status || ' ' || document FROM summary_cache_fetch('s', force_refresh => true, parameters => '{2}')}), 'private {"n":20}', 'a forced read');
	is($one->query($document->(1)), 'hit-revision 10', '... leaves the other as it is');
	# the worker
	$two->query('UPDATE t SET n = n + 1');
	is($one->query(join ';', map { $document->($_) } 2, 1, 2), "private 21\nstale 10\nprivate 21", 'after a write');
	ok($debug->poll(q{SELECT parameters[1] || state FROM summary_cache_documents}, '1current'), '... the document is refreshed');
	is($one->query(join ';', map { $document->($_) } 1, 2, 3), "hit-revision 11\nprivate 21\nprivate 31", '... and is still of its values');
	# what has gone leaves its place
	$one->query(q{SELECT summary_cache_invalidate('s', parameters => '{1}')});
	is($two->query(join ';', map { $document->($_) } 2, 1), "private 21\nmiss 11", 'an invalidated document keeps its place');
	$one->query(q{SELECT summary_cache_invalidate('s')});
	is($two->query(join ';', map { $document->($_) } 2, 1, 2), "miss 21\nprivate 11\nhit-revision 21", 'the first one of them has the document');
	is($one->query(join ';', map { $document->($_) } 1, 2), "private 11\nhit-revision 21", '... for all');
	# a builder whose entry others have by the time that it publishes
	$one->hold('build-done', q{SELECT status || ' ' || document FROM summary_cache_fetch('s', force_refresh => true, parameters => '{2}')});
	$two->query(q{SELECT summary_cache_invalidate('s')});
	$two->send_sql(q{SET summary_cache.stale_if_error = 0; SET lock_timeout = '100ms'; } . $document->(3));
	$two->result;
	is($one->wake, 'miss {"n":21}', 'a build whose entry is gone is an answer');
	is($two->query(q{RESET lock_timeout; } . $document->(3)), 'miss 31', '... and is no document of others');
	is($one->query(join ';', map { $document->($_) } 2, 3), "private 21\nhit-revision 31", '... who have it');
	# and one that has not begun yet by then: they have the entry, and wait for it
	$one->query(q{SELECT summary_cache_invalidate('s')});
	$one->hold('build-begin', q{SELECT status || ' ' || document FROM summary_cache_fetch('s', parameters => '{2}')});
	$debug->sql(q{SELECT summary_cache_invalidate('s')});
	$two->send_sql($document->(3));
	$debug->polled(readers_waiting(), '1', 'values that come to the entry that a build is to publish in');
	is($one->wake, 'miss {"n":21}', '... which is an answer');
	is($two->result, 'miss 31', '... and not theirs');
	is($one->query(join ';', map { $document->($_) } 2, 3), "private 21\nhit-revision 31", '... nor later');
	# inline sections
	is($one->query(join ';', map { $document->($_, 'i') } 1, 2, 1), "miss 11\nprivate 21\nhit-revision 11", 'an inline section');
	$two->query('UPDATE t SET n = n + 1');
	is($one->query(join ';', map { $document->($_, 'i') } 2, 1, 2, 1), "private 22\nprogress-section 12\nprivate 22\nhit-revision 12", '... is built for its values');
	# what is answered privately counts, although the document's entry is free by then
	$one->query($document->(3));
	my $private = q{SELECT private_writing FROM summary_cache_stats WHERE summary = 's'};
	my $before = $debug->sql($private);
	$one->hold('query-prepare', 'UPDATE t SET n = n; ' . $document->(3), 'ROLLBACK');
	$debug->sql(q{SELECT summary_cache_invalidate('s')});
	is($one->wake, 'private 32', 'a document goes while a writer is answered privately');
	is($debug->sql($private) - $before, 1, '... which is counted');
	$debug->sql($document->(3));
	# the file
	$_->quit for $one, $two;
	$debug->restart;
	$one = Session->new($debug);
	is($one->query($document->(2)), 'private 22', 'over a restart: other values are answered for themselves');
	like($one->query($document->(3)), qr/^(stale 31|hit-revision 32)$/, '... and those of the document with it');
	$debug->poll(q{SELECT parameters[1] || state FROM summary_cache_documents WHERE summary = 's'}, '3current') or die 'never refreshed';
	is($one->query(join ';', map { $document->($_) } 1, 2, 3), "private 12\nprivate 22\nhit-revision 32", '... refreshed');
	$one->quit;
	$debug->stop;
}
done_testing();
