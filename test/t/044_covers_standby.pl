# Proves that on a standby the position comes first and the snapshot second, for documents and for definitions: a session is held between the two while changes are replayed.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs the debug build' unless $ENV{SC_DEBUG_CONF};

my $primary = Node->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', slurp_file($ENV{SC_DEBUG_CONF}));
$primary->append_conf('postgresql.conf', 'autovacuum = off');
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
});
$primary->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

sub change
{
	my ($sql) = @_;
	$primary->safe_psql('postgres', $sql);
	$primary->wait_for_catchup($standby);
	return;
}

my $fetch = q{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('s')};
my $forced = q{SELECT document->>'n' FROM summary_cache_fetch('s', force_refresh => true)};
my $builder = Session->new($standby);

$primary->wait_for_catchup($standby);
is($builder->query($forced), '1', 'a build');
$builder->hold('build-labelled', $forced);
change('UPDATE t SET n = 2');
is($builder->wake, '2', 'a build has what was replayed before its snapshot');
unlike($standby->safe_psql('postgres', $fetch), qr/^hit-revision 1/, 'replayed in the middle of a build: no hit hides it');

# likewise the definition
change('CREATE TABLE moves ()');
$builder->hold('definition-labelled', $forced);
change(q{SELECT summary_cache_define('s', 'main', 'SELECT n + 10 AS n FROM t')});
$builder->wake;
is($builder->query($forced), '12', 'a definition that was replayed while one was read is in effect');
unlike($standby->safe_psql('postgres', $fetch), qr/^hit-revision 2/, '... for others, too');

$builder->quit;
$standby->stop;
$primary->stop;
done_testing();
