# The concurrency checker (test/stress), built and run by the tests.

package Checker;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(use_server checker passes $callback_module $seed);

my $sources = "$FindBin::RealBin/../stress";
my ($checker, $conninfo, $server_log);

# Transaction callbacks of another library, for shared_ or session_preload_libraries.
our $callback_module;
our $seed = $ENV{SEED} || time;

sub pg_config
{
	my ($option) = @_;
	my $value = `${\($ENV{PG_CONFIG} || 'pg_config')} $option`;
	chomp $value;
	return $value;
}

# The directory is known only then.
INIT
{
	my $build = $PostgreSQL::Test::Utils::tmp_check;
	my $cc = $ENV{CC} || pg_config('--cc');

	$checker = "$build/checker";
	$callback_module = "$build/callback.so";
	system_or_bail($cc, '-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror', '-o', $checker,
		(map { "$sources/$_" } qw(checker.c sessions.c disturb.c)), '-I' . pg_config('--includedir'),
		'-L' . pg_config('--libdir'), '-Wl,-rpath,' . pg_config('--libdir'), '-lpq');
	system_or_bail($cc, '-O2', '-fPIC', '-shared', '-Wall', '-Werror', '-o', $callback_module,
		"$sources/callback.c", '-I' . pg_config('--includedir-server'));
	note "seed $seed";
}

# The server of a PostgreSQL::Test::Cluster, reached in this way if it is not its own.
sub use_server
{
	my ($node, $its_conninfo) = @_;
	$conninfo = $its_conninfo // $node->connstr('postgres');
	$server_log = $node->logfile;
	return;
}

# Runs one mode; returns its exit status, the numbers of its report, and what it said of violations.
sub checker
{
	my ($mode, $options, @arguments) = @_;
	my ($out, $err);
	my @command = ($checker, "--conninfo=$conninfo $options", "--server-log=$server_log", "--seed=$seed", @arguments, $mode);
	IPC::Run::run(\@command, '>', \$out, '2>', \$err);
	my $status = $? >> 8;
	note $out, $err;
	my %report;
	$report{$1} = $2 while $out =~ /(\w+) ([\d.]+)/g;
	return ($status, \%report, $err);
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
	return $report;
}

1;
