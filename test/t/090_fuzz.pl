# Proves that random calls, writes, DDL and faults in many sessions leave nothing behind and no wrong document, and that roles which attack each other gain nothing and harm no bystander.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $fuzz = compile_program('fuzz', 'fuzz/fuzz.c', 'fuzz/common.c');
my $roles = compile_program('roles', 'fuzz/roles.c', 'fuzz/common.c');

my $node = Node->new('main');
$node->init;
# little room, so that it runs out
$node->append_conf('postgresql.conf', q{
	summary_cache.max_sections = 24
	summary_cache.max_tables = 40
	summary_cache.memory_limit = 2MB
});
$node->start;

# always the same sequences: another seed is for make fuzz
my $seed = $ENV{SEED} || 1;

# One of the programs; its exit status, and what it has counted.
sub run_program
{
	my ($program, $name, @options) = @_;
	my ($out, $err);

	IPC::Run::run(
		[ $program, '--conninfo=' . $node->connstr('postgres'), "--seed=$seed", "--log=$PostgreSQL::Test::Utils::log_path/090_fuzz_$name.log", @options ],
		'>', \$out, '2>', \$err);
	my $status = $? >> 8;
	note $out, $err;
	return ($status, $out, { $out =~ /^(\w+) (\d+)$/mg });
}

my ($status, $out, $report) = run_program($fuzz, 'statements', '--seconds=14', '--rounds=6');
is($status, 0, "no violation (seed $seed)") or diag $out;
cmp_ok($report->{statements} // 0, '>', 500, 'there are statements');
cmp_ok($report->{compared} // 0, '>', 5, 'there are documents compared with what the tables give');
cmp_ok($report->{compared_snapshots} // 0, '>', 2, '... and with what a REPEATABLE READ transaction computes');

#
# Three roles
#
($status, $out, $report) = run_program($roles, 'roles', '--seconds=10', '--rounds=5', '--server-log=' . $node->logfile);
is($status, 0, "three roles: no violation (seed $seed)") or diag $out;
cmp_ok($report->{statements} // 0, '>', 300, '... by many statements');
cmp_ok($report->{denied} // 0, '>', 30, '... of which many are denied');
cmp_ok($report->{compared_hits} // 0, '>', 10, '... while hits of the bystander are compared');
cmp_ok($report->{written} // 0, '>', 10, '... and it writes');
cmp_ok($report->{runs_for_others} // 0, '>', 5, "... and the roles' code runs in sessions of others");

# each kind of violation is found where there is one
for my $kind (qw(wrong refused ran seen written gained))
{
	($status, $out) = run_program($roles, "roles_$kind", '--seconds=60', '--server-log=' . $node->logfile, "--weak=$kind");
	like($out, qr/^violations:.* $kind [1-9]/m, "three roles: what is $kind is found");
}
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server is alive');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/\(PID \d+\) was terminated by signal|PANIC:/, 'no server process has died');
done_testing();
