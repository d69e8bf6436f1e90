# Proves that without memory for its keys a write goes on, and moves the coarse word, or the cluster's.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $words = compile_module('key_words', 'modules/key_words.c');
my $node = Node->new('faults');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$node->start;
$node->sql(qq{
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION moved_words() RETURNS text LANGUAGE C AS '$words';
	CREATE TABLE t (id int PRIMARY KEY, k int);
	SELECT summary_cache_define('s', 'main', 'SELECT sum(k) AS n FROM t');
	CREATE TABLE beside (n int);
	SELECT summary_cache_define('beside', 'main', 'SELECT count(*) AS n FROM beside');
	CREATE TRIGGER summary_cache_keys AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION summary_cache_key('k');
	ALTER TABLE t ENABLE ALWAYS TRIGGER summary_cache_keys});

my $observer = Session->new($node);
sub moved { return $observer->query('SELECT moved_words()') }
moved();
$node->sql('TRUNCATE t');
my $coarse = moved();
$node->sql('INSERT INTO t VALUES (1, 1)');
my $key = moved();
isnt($key, $coarse, 'with memory, the word of the key moves');

my $session = Session->new($node);
$session->query("SET summary_cache.debug_fail = 'keys'");
is($session->query('UPDATE t SET k = k WHERE id = 1 RETURNING k'), '1', 'a write without memory for its list of keys is not refused');
is($session->error, '', '... nor told of it');
is(moved(), $coarse, '... and the coarse word moves');
$session->query('RESET summary_cache.debug_fail');
$session->query('UPDATE t SET k = k');
is(moved(), $key, 'with memory again, the word of the key');

$node->hit('s');
$node->hit('beside');
$session->quit;
$session = Session->new($node);
$session->query("SET summary_cache.debug_fail = 'keyed'");
is($session->query('UPDATE t SET k = 5 WHERE id = 1 RETURNING k'), '5', 'a write without memory for the table is not refused');
is(moved(), '', '... and says nothing');
unlike($node->sql(q{SELECT status, document->>'n' FROM summary_cache_fetch('s')}), qr/^hit-revision\|1/, '... but the document is not current');
unlike($node->sql(q{SELECT status FROM summary_cache_fetch('beside')}), qr/^hit-revision/, '... nor is any other, since a word of all has moved');
is($session->query(q{BEGIN; UPDATE t SET k = 6; SELECT status FROM summary_cache_fetch('s'); ROLLBACK}), 'private',
	'its own reads are private');
$session->quit;
$observer->quit;
$node->stop;
done_testing();
