# Proves that a hit never misses a commit, in every mode of the checker, and that the checker would notice.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Checker;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Node->new('main');
$node->init;
# commit_delay holds commits back before they are visible, but only if they are flushed
$node->append_conf('postgresql.conf', "fsync = on\nwal_sync_method = fdatasync\nmax_connections = 60\nrestart_after_crash = on");
$node->start;

use_server($node);

# The checker itself: a summary that follows none of its tables is caught.
my $report = caught('untracked', 'a summary that is not tracked', '', '--seconds=1');
cmp_ok($report->{$_} // 0, '>', 0, "untracked: $_") for qw(hits lost unseen own stuck);

passes($_, $_, { builds => 50 }, '', '--seconds=2', '--commit-delay=500') for qw(plain 2pc);
passes($_, $_, { builds => 50 }, '', '--seconds=1', '--commit-delay=500') for qw(savepoint sync partition copy);
# some documents are not what the snapshot gives
passes('rr', 'rr', { builds => 50, private => 10 }, '', '--seconds=2', '--pause=8000');
# some sections are rebuilt by readers
passes('inline', 'inline', { builds => 50, inline => 10 }, '', '--seconds=1');
# of a section, some parts are rebuilt
passes('parts', 'parts', { builds => 50, inline => 10 }, '', '--seconds=2', '--commit-delay=500');
# of a tree, each part reads one partition
passes('members', 'members', { builds => 50 }, '', '--seconds=2', '--commit-delay=500');
# documents of keys, beside writers of rows of some of them
passes('keys', 'keys', { builds => 50 }, '', '--seconds=2', '--commit-delay=500');
# a query means something else, or DDL has nothing to do with it
passes('names', 'names', { builds => 50, faults => 20 }, '', '--seconds=2', '--commit-delay=500');
# the middle of a tree gets other parents beside writers
passes('inherit', 'inherit', { builds => 50, faults => 20 }, '', '--seconds=2', '--commit-delay=500');
# a summary that nothing concerns stays a hit beside all of that
passes($_, $_, { builds => 50, still => 100 }, '', '--seconds=2', '--commit-delay=500') for qw(closed temporary bulk);
# nobody is in a deadlock with a build, or waits long for one
passes('eager', 'eager', { background => 20, faults => 20 }, '', '--seconds=5');
passes('faults', 'faults', { builds => 50, faults => 10 }, '', '--seconds=2');
# the counters of builds begin anew with each crash
passes('crash', 'crash', { faults => 0 }, '', '--seconds=5');

# Commits that are visible for a while before they are published: then the pending count must tell.
passes('plain', 'late publishing', { builds => 50 },
	"options='-c session_preload_libraries=$callback_module -c callback.visible_sleep=1000'", '--seconds=2');

$node->stop;

# The windows of a few instructions that only a debug build can hold open; and two ways of
# publishing that are known to be wrong, which show that this finds what it looks for.
if ($ENV{SC_DEBUG_CONF})
{
	$node = Node->new('debug');
	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 60\n" . slurp_file($ENV{SC_DEBUG_CONF}));
	$node->start;
	use_server($node);
	my $delays = '-c summary_cache.debug_point=all -c summary_cache.debug_sleep=300';

	passes($_, "$_ with delays", { builds => 50 }, "options='$delays'", '--seconds=2') for qw(plain 2pc parts members keys);
	for my $case ([ 'at-write', 'commit-pending' ], [ 'after-commit', 'commit-visible' ])
	{
		my ($protocol, $point) = @$case;
		$report = caught('plain', "publishing $protocol", "options='-c summary_cache.debug_protocol=$protocol"
			  . " -c summary_cache.debug_point=$point -c summary_cache.debug_sleep=2000'", '--seconds=2');
		cmp_ok(($report->{lost} // 0) + ($report->{unseen} // 0), '>', 0, "$protocol: by a hit that misses a commit");
	}
	# one word a tree: a writer has marked it when the table below it hangs on another; of the worker's labels, too
	$node->append_conf('postgresql.conf', "summary_cache.debug_protocol = 'tree-word'");
	$node->restart;
	$report = caught('inherit', 'one word a tree', '', '--seconds=2');
	cmp_ok(($report->{lost} // 0) + ($report->{unseen} // 0), '>', 0, 'one word a tree: by a hit that misses a commit');
	# who writes through the root marks no member
	$node->append_conf('postgresql.conf', "summary_cache.debug_protocol = 'member-named'");
	$node->restart;
	$report = caught('members', 'members by name', '', '--seconds=2');
	cmp_ok(($report->{lost} // 0) + ($report->{unseen} // 0), '>', 0, 'members by name: by a hit that misses a commit');
	# parts that are taken as they are, whatever has happened to them
	$node->append_conf('postgresql.conf', "summary_cache.debug_protocol = 'splice'");
	$node->restart;
	$report = caught_by(['torn'], 'parts', 'parts without a proof', '', '--seconds=2');
	cmp_ok($report->{torn} // 0, '>', 0, 'parts without a proof: by keys of one section that disagree');
	# documents that are taken as they are, whatever their queries mean by now
	$node->append_conf('postgresql.conf', "summary_cache.debug_protocol = 'names-unseen'");
	$node->restart;
	$report = caught('names', 'DDL that is not looked at', '', '--seconds=2');
	cmp_ok(($report->{lost} // 0) + ($report->{unseen} // 0) + ($report->{own} // 0), '>', 0, 'DDL that is not looked at: by a hit that misses it');
	# keyed documents: the key that a row had, rows that no key is said of, equal values, words that are read too late
	for my $protocol (qw(keys-new keys-fine keys-text keys-late))
	{
		$node->append_conf('postgresql.conf', "summary_cache.debug_protocol = '$protocol'");
		$node->restart;
		$report = caught('keys', $protocol, '', '--seconds=2');
		cmp_ok(($report->{lost} // 0) + ($report->{unseen} // 0), '>', 0, "$protocol: by a hit that misses a commit");
	}
	$node->stop;
}

done_testing();
