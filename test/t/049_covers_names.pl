# Proves that a document is taken for current after DDL that changes names only if its query means what it meant, and that nobody waits for that but for one who finds it out, and not for long: sessions are held in windows of a few instructions.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $node = Node->new('names');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
# nobody but the reader finds anything out
$node->append_conf('postgresql.conf', "autovacuum = off\nsummary_cache.read_your_writes = off");
$node->start;

$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	CREATE TABLE late (n int);
	CREATE VIEW v AS SELECT n FROM t;
	INSERT INTO t VALUES (1);
	INSERT INTO late VALUES (1);
	CREATE SCHEMA earlier;
	SET search_path = earlier, public;
	SELECT summary_cache_define('s', 'main', 'SELECT n FROM v');
	SELECT summary_cache_define('u', 'main', 'SELECT n FROM t');
});

my $reader = Session->new($node);
my $other = Session->new($node);
my $number = 0;

# DDL that concerns nobody.
sub names_move { $node->sql('CREATE TABLE unused_' . ++$number . ' (n int)'); return; }
sub builds { return $node->sql(q{SELECT sum(builds_miss + builds_inline + builds_background + builds_forced) FROM summary_cache_stats}); }
sub at_rest
{
	my ($what, $expected) = @_;
	ok($node->poll_query_until('postgres', fetch('s'), "hit-revision $expected"), $what);
	return;
}

$reader->query("SET statement_timeout = '60s'");
at_rest('at first', 1);
is($reader->query(fetch('u')), 'miss 1', 'another');

#
# What it costs
#
$node->quiet;
my $builds = builds();
names_move();
is($reader->query(fetch('s')), 'hit-revision 1', 'the reader finds out that nothing has changed');
is($node->sql($_), 'hit-revision 1', 'the others need not') for fetch('s');
is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'}) . ' ' . (builds() - $builds),
	'0 0', 'without a worker, and nothing is executed');

#
# A plan is kept, too, if the query means what it meant
#
is($reader->query(forced('s')), '1', 'the reader has a plan');
names_move();
$node->sql('INSERT INTO t VALUES (0); DELETE FROM t WHERE n = 0');
$reader->query("SET summary_cache.debug_sleep = '2000000000'; SET summary_cache.debug_point = 'query-prepare'; SET statement_timeout = '10s'");
is($reader->query(forced('s')), '1', '... which it need not make again');
$reader->query("RESET summary_cache.debug_point; SET statement_timeout = '60s'");
$node->sql('CREATE TABLE earlier.t AS SELECT 3 AS n');
is($reader->query(forced('s')) . $reader->query(forced('u')), '13', '... but if it means something else');
$node->sql('DROP TABLE earlier.t');
is($reader->query(forced('s')) . $reader->query(forced('u')), '11', '... and once more');

#
# Nobody waits for long
#
# for another who finds it out
$node->quiet;
# which has a copy to answer with
is($other->query(fetch('s')), 'hit-revision 1', 'another reader');
$builds = builds();
names_move();
$reader->hold('build-labelled', fetch('s'));
$other->hold('proof-await', fetch('s'));
is($reader->wake, 'hit-revision 1', 'the reader is answered');
is($other->wake, 'hit-revision 1', '... and another, who was about to wait for it');
is(builds() - $builds, '0', '... by what was cached');
names_move();
$reader->hold('build-labelled', fetch('s'));
is($node->sql("SET statement_timeout = '60s'; " . fetch('s')), 'stale 1', 'the others are served meanwhile');
is($reader->wake, 'hit-revision 1', 'the reader is answered then');
# if there is more DDL meanwhile, it is found out once more, and not again and again
$node->quiet;
names_move();
$reader->hold('build-labelled', fetch('s'));
names_move();
is($reader->wake, 'hit-revision 1', 'there is more DDL meanwhile');
# for a source
names_move();
$other->query('BEGIN; LOCK TABLE t');
is($reader->query(fetch('s')), 'stale 1', 'a source is locked');
$other->query('ROLLBACK');
at_rest('it is not any more', 1);
# for what is not a source: it is replaced, and not committed yet
$node->quiet;
names_move();
$other->query('BEGIN; CREATE OR REPLACE VIEW v AS SELECT n + 100 AS n FROM t');
is($reader->query(fetch('s')), 'stale 1', 'a view is locked');
is($reader->query(fetch('s')), 'stale 1', '... and it is not tried again and again');
is($reader->query('SHOW lock_timeout'), '0', 'the setting is as it was');
$other->query('COMMIT');
is($reader->query(fetch('s')) =~ s/hit-revision 101/stale 1/r, 'stale 1', 'it is another view then, and no hit before the document is built');
at_rest('... as it is', 101);

# it costs no reader a build, if the query means something else
$node->quiet;
$other->query('CREATE OR REPLACE VIEW v AS SELECT n + 101 AS n FROM t');
is($reader->query(fetch('s')), 'stale 101', 'a view was replaced: a worker builds');
at_rest('... what it is', 102);
$other->query('CREATE OR REPLACE VIEW v AS SELECT n + 100 AS n FROM t');
at_rest('and back', 101);

#
# A cancel ends it
#
$node->quiet;
names_move();
$reader->hold('build-labelled', fetch('s'));
$node->sql('SELECT pg_cancel_backend(' . $reader->pid . ')');
$reader->wake;
like($reader->error, qr/canceling statement due to user request/, 'the reader is cancelled');
ok($node->sql(fetch('s')) =~ /^(hit-revision|stale) 101$/, 'others are served after a cancel');

#
# The word moves after the invalidations are sent: else a session would not find what a name means by now
#
$reader->quit;
$reader = Session->new($node);
at_rest('before the view is replaced', 101);
is($reader->query(fetch('s')), 'hit-revision 101', 'the session has it');
names_move();
is($reader->query(fetch('s')), 'hit-revision 101', '... and has looked at it');
$other->query("SET summary_cache.debug_sleep = '2000000000'; SET summary_cache.debug_point = 'commit-published'");
$other->send_sql('CREATE VIEW earlier.v AS SELECT n + 200 AS n FROM t');
$node->poll('SELECT wait_event FROM pg_stat_activity WHERE pid = ' . $other->pid, 'PgSleep') or die 'never there';
isnt($reader->query(fetch('s')), 'hit-revision 101', 'a name is another view\'s');
$other->wake;
$other->query('RESET summary_cache.debug_point');
isnt($reader->query(fetch('s')), 'hit-revision 101', '... and stays so');
at_rest('... as it is', 201);
# but before what takes time, such as the files that are removed
$node->sql('CREATE TABLE removed AS SELECT 1 AS n');
is($reader->query(fetch('s')), 'hit-revision 201', 'there is a table');
my $file = $node->data_dir . '/' . $node->sql(q{SELECT pg_relation_filepath('removed')});
$other->query("SET summary_cache.debug_sleep = '2000000000'; SET summary_cache.debug_point = 'commit-published'");
$other->send_sql('DROP TABLE removed');
$node->poll('SELECT wait_event FROM pg_stat_activity WHERE pid = ' . $other->pid, 'PgSleep') or die 'never there';
ok(-s $file, 'its file is not removed yet');
is($reader->query(fetch('s')), 'hit-revision 201', '... and it is over for readers');
$other->wake;
$other->query('RESET summary_cache.debug_point');
ok(!-s $file, '... which it is then');

#
# A table becomes a source, and is read, after a command has seen which tables are, and before it has its lock
#
$other->hold('ddl-noted', 'ALTER TABLE late ALTER n TYPE int USING n * 10');
$node->sql(q{SELECT summary_cache_define('s', 'main', 'SELECT n FROM late')});
is($node->sql(forced('s')), '1', 'a table is a source by now');
is($node->sql(fetch('s')), 'hit-revision 1', '... of a document');
$other->wake;
isnt($node->sql(fetch('s')), 'hit-revision 1', 'it is changed then');
at_rest('... as it is', 10);
# the same while the definition is being committed
$node->sql('CREATE TABLE later (n int); INSERT INTO later VALUES (1)');
$reader->hold('commit-visible', q{SELECT summary_cache_define('s', 'main', 'SELECT n FROM later')});
$other->send_sql('ALTER TABLE later ALTER n TYPE int USING n * 10');
$node->poll(q{SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'later'::regclass}, '1') or diag('it did not wait');
$reader->wake;
$other->result;
isnt($node->sql(fetch('s')), 'hit-revision 1', 'a definition is being committed');
at_rest('... as it is', 10);

$_->quit for $reader, $other;
$node->stop;
done_testing();
