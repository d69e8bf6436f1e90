# Proves that summaries stay current without readers while hostile ones are beside them, launcher, workers and backends are killed and databases come and go, and that nothing is stuck or left behind after that.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $soak = compile_program('soak', 'soak/soak.c');

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file("$FindBin::RealBin/../soak/server.conf") . "autovacuum = on\n");
$node->start;

# for long, and with another seed: make soak.  How long 99 of 100 refreshes take is judged there, too: a short run
# has few, on a machine that runs other tests meanwhile.
my $seconds = 25;
my $seed = $ENV{SEED} || 1;
my ($out, $err);
IPC::Run::run([ $soak, '--conninfo=' . $node->connstr, "--seconds=$seconds", "--seed=$seed", '--beside=5000' ],
	'>', \$out, '2>', \$err);
my $status = $? >> 8;
note $out, $err;
is($status, 0, "no violation (seed $seed)") or diag $out, $err;
# beside those of all databases, each of which takes its turn, there are few
for my $series ('hostile summaries', 'disturbances')
{
	my ($n) = $out =~ /^from commit to current beside $series: (\d+) commits/m;
	cmp_ok($n // 0, '>', 5, "there are commits beside $series");
}
my ($killed) = $out =~ /^launcher terminated (\d+), worker terminated (\d+)/m ? $1 + $2 : 0;
cmp_ok($killed, '>', 1, 'launcher or workers have been terminated');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server is alive');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC:|was terminated by signal (?!9\b)\d/, 'no process has died but by SIGKILL');
done_testing();
