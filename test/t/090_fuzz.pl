# Proves that random calls, writes, DDL and faults in many sessions leave nothing behind and no wrong document.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $fuzz = compile_program('fuzz', 'fuzz/fuzz.c');

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
my ($out, $err);
IPC::Run::run(
	[ $fuzz, '--conninfo=' . $node->connstr('postgres'), "--seed=$seed", '--seconds=14', "--log=$PostgreSQL::Test::Utils::log_path/090_fuzz_statements.log" ],
	'>', \$out, '2>', \$err);
my $status = $? >> 8;
note $out, $err;

is($status, 0, "no violation (seed $seed)") or diag $out;
my %report;
$report{$1} = $2 while $out =~ /^(\w+) (\d+)$/mg;
cmp_ok($report{statements} // 0, '>', 500, 'there are statements');
cmp_ok($report{compared} // 0, '>', 5, 'there are documents compared with what the tables give');
cmp_ok($report{compared_snapshots} // 0, '>', 2, '... and with what a REPEATABLE READ transaction computes');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server is alive');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/\(PID \d+\) was terminated by signal|PANIC:/, 'no server process has died');
done_testing();
