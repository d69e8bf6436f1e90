# Proves that a hit never misses a commit, in every mode of the checker, and that the checker would notice.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sources = "$FindBin::RealBin/../stress";
my $build = $PostgreSQL::Test::Utils::tmp_check;
my $checker = "$build/checker";
my $delay = "$build/delay.so";

sub pg_config
{
	my ($option) = @_;
	my $value = `${\($ENV{PG_CONFIG} || 'pg_config')} $option`;
	chomp $value;
	return $value;
}

my $cc = $ENV{CC} || pg_config('--cc');
system_or_bail($cc, '-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror',
	'-o', $checker, "$sources/checker.c", '-I' . pg_config('--includedir'),
	'-L' . pg_config('--libdir'), '-Wl,-rpath,' . pg_config('--libdir'), '-lpq');
system_or_bail($cc, '-O2', '-fPIC', '-shared', '-Wall', '-Werror', '-o', $delay,
	"$sources/delay.c", '-I' . pg_config('--includedir-server'));

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# commit_delay holds commits back before they are visible, but only if they are flushed
$node->append_conf('postgresql.conf', "fsync = on\nwal_sync_method = fdatasync\nmax_connections = 60\nrestart_after_crash = on");
$node->start;

my $conninfo = $node->connstr('postgres');
my $seed = $ENV{SEED} || time;
note "seed $seed";

# Runs one mode; returns its exit status and the numbers of its report.
sub checker
{
	my ($mode, $options, @arguments) = @_;
	my ($out, $err);
	my @command = ($checker, "--conninfo=$conninfo $options", "--seed=$seed", @arguments, $mode);
	IPC::Run::run(\@command, '>', \$out, '2>', \$err);
	my $status = $? >> 8;
	note $out, $err;
	my %report;
	$report{$1} = $2 while $out =~ /(\w+) ([\d.]+)/g;
	return ($status, \%report);
}

# A run that read little, or only while nothing was written, proves nothing.
sub passes
{
	my ($mode, $name, $options, @arguments) = @_;
	my ($status, $report) = checker($mode, $options, @arguments);
	is($status, 0, "$name: no violation (seed $seed)");
	cmp_ok($report->{hits} // 0, '>', 100, "$name: there are hits");
	cmp_ok($report->{near} // 0, '>', 0.05 * ($report->{hits} // 0) + 1, "$name: hits while writers commit");
	cmp_ok($report->{commits} // 0, '>', 20, "$name: there are commits");
	cmp_ok($report->{builds} // 0, '>', 50, "$name: there are builds");
	return $report;
}

# The checker itself: a summary that follows none of its tables is caught.
my ($status, $report) = checker('untracked', '', '--seconds=1');
is($status, 1, 'a summary that is not tracked is a violation');
cmp_ok($report->{$_} // 0, '>', 0, "untracked: $_") for qw(hits lost unseen own stuck);

passes($_, $_, '', '--seconds=2', '--commit-delay=500') for qw(plain 2pc);
passes($_, $_, '', '--seconds=1', '--commit-delay=500') for qw(savepoint sync partition copy);

$report = passes('rr', 'rr', '', '--seconds=2', '--pause=8000');
cmp_ok($report->{private} // 0, '>', 10, 'rr: some documents are not what the snapshot gives');
$report = passes('inline', 'inline', '', '--seconds=1');
cmp_ok($report->{inline} // 0, '>', 10, 'inline: some sections are rebuilt by readers');
$report = passes('faults', 'faults', '', '--seconds=2');
cmp_ok($report->{faults} // 0, '>', 10, 'faults: there are some');

# The counters begin anew with each crash.
($status, $report) = checker('crash', '', '--seconds=5');
is($status, 0, "crash: no violation (seed $seed)");
cmp_ok($report->{hits} // 0, '>', 100, 'crash: there are hits');
cmp_ok($report->{faults} // 0, '>', 0, 'crash: there are some');

# Commits that are visible for a while before they are published: then the pending count must tell.
passes('plain', 'late publishing',
	"options='-c session_preload_libraries=$delay -c delay.after_visible=1000'", '--seconds=2');

$node->stop;

# The windows of a few instructions that only a debug build can hold open; and two ways of
# publishing that are known to be wrong, which show that this finds what it looks for.
if ($ENV{SC_DEBUG_CONF})
{
	$node = PostgreSQL::Test::Cluster->new('debug');
	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 60\n" . slurp_file($ENV{SC_DEBUG_CONF}));
	$node->start;
	$conninfo = $node->connstr('postgres');
	my $delays = '-c summary_cache.debug_point=all -c summary_cache.debug_sleep=300';

	passes($_, "$_ with delays", "options='$delays'", '--seconds=2') for qw(plain 2pc);
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
