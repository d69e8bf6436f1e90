# Proves that what is published of a section is as of one snapshot, although only some of its parts are built: builders are held in windows of a few instructions.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $node = Node->new('parts');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$node->append_conf('postgresql.conf', "autovacuum = off\nsummary_cache.worker_idle_timeout = 200ms");
$node->start;

# each transaction that changes a number changes both
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE a (n int);
	CREATE TABLE b (n int);
	CREATE TABLE c (n int);
	INSERT INTO a VALUES (1);
	INSERT INTO b VALUES (1);
	INSERT INTO c VALUES (1);
	SELECT summary_cache_define('s', 'main', 'SELECT (SELECT n FROM a) AS a, (SELECT n FROM b) AS b');
	SELECT summary_cache_define('i', 'main', 'SELECT (SELECT n FROM c) AS c');
	SELECT summary_cache_define('i', 'progress', 'SELECT (SELECT n FROM a) AS a, (SELECT n FROM b) AS b', refresh => 'inline');
});

my $both = 'BEGIN; UPDATE a SET n = n + 1; UPDATE b SET n = n + 1; COMMIT';
my $touch = 'UPDATE a SET n = n';
my $parts = q{SELECT string_agg(keys[1] || ' ' || state, ', ' ORDER BY part) FROM summary_cache_parts WHERE summary = '%s' AND section = '%s'};

sub answer { my ($summary, $force) = @_; return "SELECT status || ' ' || (document->>'a') || ' ' || (document->>'b') FROM summary_cache_fetch('$summary'" . ($force ? ', force_refresh => true)' : ')'); }

# The two numbers of an answer are the same.
sub agrees
{
	my ($answer, $what) = @_;
	like($answer, qr/^\S+ (\d+) \1$/, "$what: of one snapshot");
	return;
}

# In the end everything is as the tables are.
sub at_rest
{
	my ($summary, $what) = @_;
	my $n = $node->sql('SELECT n FROM a');
	ok($node->poll_query_until('postgres', answer($summary), "hit-revision $n $n"), "$what: the document is what the tables have");
	return;
}

my $builder = Session->new($node);
my $other = Session->new($node);

#
# What was current when the parts were chosen is not, when the snapshot is taken
#
at_rest('s', 'first');
$builder->query($touch);
is($node->sql(sprintf $parts, 's', 'main'), 'a stale, b current', 'one part is to be built');
$builder->hold('build-labelled', answer('s'));
$node->sql($both);
is($builder->wake, 'miss 2 2', 'the other part is built as well if it has changed before the snapshot');
at_rest('s', 'before the snapshot');

$builder->query($touch);
$builder->hold('build-done', answer('s'));
$node->sql($both);
agrees($builder->wake, 'changed after the snapshot');
at_rest('s', 'after the snapshot');

# a transaction that is in commit is not proven to be in the other part
$builder->query($touch);
$builder->hold('build-labelled', answer('s'));
$other->hold('commit-visible', 'UPDATE a SET n = n + 1; UPDATE b SET n = n + 1');
$builder->send_sql('SELECT 1');
agrees($builder->wake =~ s/\n1$//r, 'in commit');
$other->wake;
at_rest('s', 'in commit');

#
# Somebody else publishes other parts meanwhile
#
at_rest('i', 'first');
# who has labelled before, and takes the snapshot after
$other->hold('build-labelled', answer('i', 1));
$builder->query($touch);
$builder->hold('build-done', answer('i'));
$node->sql($both);
agrees($other->wake, 'published before');
agrees($builder->wake, 'the other parts are not those that were proven');
at_rest('i', 'published before');

# the same, and who has built a part publishes first
$other->hold('build-labelled', answer('i', 1));
$builder->query($touch);
is($builder->query(answer('i')), 'progress-section ' . $node->sql('SELECT n FROM a') . ' ' . $node->sql('SELECT n FROM b'), 'a part is published meanwhile');
$node->sql($both);
my $n = $node->sql('SELECT n FROM a');
is($other->wake, "miss $n $n", 'a forced read has what it has built');
agrees($node->sql(answer('i')), 'parts of different labels');
at_rest('i', 'published after');

#
# For nobody else: what is cached of a part may be newer than the snapshot
#
$other->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM a');
$node->sql($both);
at_rest('i', 'newer');
$node->sql($touch);
agrees($other->query(answer('i')), 'an older snapshot');
$other->query('COMMIT');

$_->quit for $builder, $other;
$node->stop;
done_testing();
