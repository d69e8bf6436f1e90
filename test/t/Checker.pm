# The concurrency checker (test/stress), built and run by the tests.

package Checker;

use strict;
use warnings;

use Compile;
use Exporter 'import';
use IPC::Run;
use List::Util qw(min);
use Test::More;

our @EXPORT = qw(use_server use_conninfo use_standby checker passes passes_while caught caught_by $callback_module $seed);

my ($checker, $server, $conninfo, $server_log);
my @read_conninfo;

# Transaction callbacks of another library, for shared_ or session_preload_libraries.
our $callback_module;
our $seed = $ENV{SEED} || time;

# The directory is known only then.
INIT
{
	$checker = compile_program('checker', map { "stress/$_" } qw(checker.c sessions.c keys.c disturb.c));
	$callback_module = compile_module('callback', 'stress/callback.c');
	note "seed $seed";
}

# The server, a Node; of several, the one that can be written.
sub use_server
{
	my (@nodes) = @_;
	$server = $nodes[0];
	$conninfo = $nodes[0]->connstr('postgres');
	$conninfo = 'host=' . join(',', map { $_->host } @nodes) . ' port=' . join(',', map { $_->port } @nodes)
	  . ' dbname=postgres target_session_attrs=read-write' if @nodes > 1;
	$server_log = $nodes[0]->logfile;
	return;
}

# The way to it, if it is not its own.
sub use_conninfo
{
	($conninfo) = @_;
	return;
}

# Where readers and rebuilds are.
sub use_standby
{
	my ($node) = @_;
	@read_conninfo = ('--read-conninfo=' . $node->connstr('postgres'));
	return;
}

# Starts one mode; its end is for end_of().
sub start_checker
{
	my ($mode, $options, @arguments) = @_;
	my $run = { out => '', err => '' };
	my @command = ($checker, "--conninfo=$conninfo $options", @read_conninfo, "--server-log=$server_log", "--seed=$seed", @arguments, $mode);
	$run->{harness} = IPC::Run::start(\@command, '>', \$run->{out}, '2>', \$run->{err});
	return $run;
}

# Its exit status, the numbers of its report, and what it said of violations.
sub end_of
{
	my ($run) = @_;
	$run->{harness}->finish;
	my $status = $? >> 8;
	note $run->{out}, $run->{err};
	my %report;
	$report{$1} = $2 while $run->{out} =~ /(\w+) ([\d.]+)/g;
	return ($status, \%report, $run->{err});
}

# Runs one mode.
sub checker
{
	my (@arguments) = @_;
	return end_of(start_checker(@arguments));
}

# A run that read little, or only while nothing was written, proves nothing.  So it must have more than
# this of each, and a share of the hits must be near a commit: less where writers are kept from committing
# for most of the time, and a thousand of them are enough, however many others there are.
sub missing_of
{
	my ($report, $share, %needs) = @_;
	%needs = (hits => 100, commits => 20, %needs, near => min(1000, $share * ($report->{hits} // 0) + 1));
	return map { "$_ " . ($report->{$_} // 0) . ", more than $needs{$_} are needed" }
	  grep { ($report->{$_} // 0) <= $needs{$_} } sort keys %needs;
}

# Runs one mode; for longer as long as that gives too little, since a busy or sanitized server may be slow.
sub enough
{
	my ($is_enough, $mode, $options, @arguments) = @_;
	my ($status, $report);
	my ($seconds) = map { /^--seconds=(\d+)$/ } @arguments or die 'for how many seconds?';
	@arguments = grep { !/^--seconds=/ } @arguments;
	for my $try (1 .. 5)
	{
		($status, $report) = checker($mode, $options, "--seconds=$seconds", @arguments);
		last if $is_enough->($status, $report);
		$seconds *= 2;
	}
	return ($status, $report);
}

# Runs one mode to the end: no violation, and more than what is needed of each of its numbers.
sub passes
{
	my ($mode, $name, $needs, $options, @arguments) = @_;
	my @missing;
	my ($status, $report) = enough(sub {
		my ($ended, $numbers) = @_;
		@missing = missing_of($numbers, 0.05, %$needs);
		return $ended != 0 || !@missing;
	}, $mode, $options, @arguments);
	is($status, 0, "$name: no violation (seed $seed)");
	is(join('; ', @missing), '', "$name: enough of everything");
	return;
}

# Runs one mode while servers go and come: $disturb is called when the checker's sessions are there.  A slow
# server needs more than the first $seconds for both; then all is done again with twice the time, if it can
# be: at most $tries times.  Returns the time that was enough.
sub passes_while
{
	my ($mode, $name, $share, $seconds, $tries, $disturb, @arguments) = @_;
	my ($status, $report, @missing);
	while (1)
	{
		my $run = start_checker($mode, 'application_name=checker', '--outages', "--seconds=$seconds", @arguments);
		$server->poll(q{SELECT count(*) > 2 FROM pg_stat_activity WHERE application_name = 'checker'})
			or die "$name: the checker does not run";
		$disturb->();
		($status, $report) = end_of($run);
		@missing = missing_of($report, $share, commits => 5);
		last if $status != 0 || !@missing || --$tries == 0;
		$seconds *= 2;
	}
	is($status, 0, "$name: no violation (seed $seed)");
	is(join('; ', @missing), '', "$name: enough of everything");
	return $seconds;
}

# Runs one mode until one of these violations is found; there may be others as well.
sub caught_by
{
	my ($kinds, $mode, $name, $options, @arguments) = @_;
	my ($status, $report) = enough(sub {
		my ($ended, $numbers) = @_;
		return $ended == 1 && grep { ($numbers->{$_} // 0) > 0 } @$kinds;
	}, $mode, $options, @arguments);
	is($status, 1, "$name is caught (seed $seed)");
	return $report;
}

# Until a hit missed a commit.
sub caught { return caught_by([qw(lost unseen)], @_); }

1;
