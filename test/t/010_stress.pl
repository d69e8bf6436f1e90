# Proves that a hit never misses a commit, in every mode of the checker, and that the checker would notice.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Checker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# commit_delay holds commits back before they are visible, but only if they are flushed
$node->append_conf('postgresql.conf', "fsync = on\nwal_sync_method = fdatasync\nmax_connections = 60\nrestart_after_crash = on");
$node->start;

use_server($node);

# A run that rebuilt little proves nothing either; where the server does not count them anew.
sub passes_with_builds
{
	my ($mode, $name, @arguments) = @_;
	my $report = passes($mode, $name, @arguments);
	cmp_ok($report->{builds} // 0, '>', 50, "$name: there are builds");
	return $report;
}

# The checker itself: a summary that follows none of its tables is caught.
my ($status, $report) = checker('untracked', '', '--seconds=1');
is($status, 1, 'a summary that is not tracked is a violation');
cmp_ok($report->{$_} // 0, '>', 0, "untracked: $_") for qw(hits lost unseen own stuck);

passes_with_builds($_, $_, '', '--seconds=2', '--commit-delay=500') for qw(plain 2pc);
passes_with_builds($_, $_, '', '--seconds=1', '--commit-delay=500') for qw(savepoint sync partition copy);

$report = passes_with_builds('rr', 'rr', '', '--seconds=2', '--pause=8000');
cmp_ok($report->{private} // 0, '>', 10, 'rr: some documents are not what the snapshot gives');
$report = passes_with_builds('inline', 'inline', '', '--seconds=1');
cmp_ok($report->{inline} // 0, '>', 10, 'inline: some sections are rebuilt by readers');
$report = passes_with_builds('faults', 'faults', '', '--seconds=2');
cmp_ok($report->{faults} // 0, '>', 10, 'faults: there are some');

# The counters begin anew with each crash.
$report = passes('crash', 'crash', '', '--seconds=5');
cmp_ok($report->{faults} // 0, '>', 0, 'crash: there are some');

# Commits that are visible for a while before they are published: then the pending count must tell.
passes_with_builds('plain', 'late publishing',
	"options='-c session_preload_libraries=$callback_module -c callback.visible_sleep=1000'", '--seconds=2');

$node->stop;

# The windows of a few instructions that only a debug build can hold open; and two ways of
# publishing that are known to be wrong, which show that this finds what it looks for.
if ($ENV{SC_DEBUG_CONF})
{
	$node = PostgreSQL::Test::Cluster->new('debug');
	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 60\n" . slurp_file($ENV{SC_DEBUG_CONF}));
	$node->start;
	use_server($node);
	my $delays = '-c summary_cache.debug_point=all -c summary_cache.debug_sleep=300';

	passes_with_builds($_, "$_ with delays", "options='$delays'", '--seconds=2') for qw(plain 2pc);
	for my $case ([ 'at-write', 'commit-pending' ], [ 'after-commit', 'commit-visible' ])
	{
		my ($protocol, $point) = @$case;
		($status, $report) = checker('plain', "options='-c summary_cache.debug_protocol=$protocol"
			  . " -c summary_cache.debug_point=$point -c summary_cache.debug_sleep=2000'", '--seconds=2');
		is($status, 1, "publishing $protocol is caught (seed $seed)");
		cmp_ok(($report->{lost} // 0) + ($report->{unseen} // 0), '>', 0, "$protocol: by a hit that misses a commit");
	}
	$node->stop;
}

done_testing();
