# Proves that a hit on a standby never misses what was seen there before, in the checker's modes and while servers come and go; and that the checker would notice.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Checker;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# On a standby any commit ends all hits: there are some only if writers rest.
my @writers = ('--pause=40000', '--seconds=1');
my @slow_commits = ('--pause=40000', '--junk=3', '--seconds=2');

sub standby_of
{
	my ($name, $upstream) = @_;
	my $node = Node->new($name);
	$upstream->backup($name);
	$node->init_from_backup($upstream, $name, has_streaming => 1);
	# readers are not to be cancelled for what the writers remove
	$node->append_conf('postgresql.conf', 'hot_standby_feedback = on');
	$node->start;
	return $node;
}

my $first = Node->new('first');
$first->init(allows_streaming => 1, extra => ['--data-checksums']);
# a checkpoint or a vacuum in between would only end hits
$first->append_conf('postgresql.conf', "max_prepared_transactions = 20\nmax_connections = 60\nwal_keep_size = '256MB'\nautovacuum = off");
$first->start;
my $conf = slurp_file($first->data_dir . '/postgresql.conf');
my $second = standby_of('second', $first);
my $cascade = standby_of('cascade', $second);

#
# Each kind of writing, read on a standby and on a cascading one
#
use_server($first);
use_standby($second);
passes('plain', 'standby: slow commits', {}, '', @slow_commits);
passes($_, "standby: $_", {}, '', @writers) for qw(plain inline savepoint 2pc);
# REPEATABLE READ is private
passes('rr', 'standby: rr', { private => 100 }, '', @writers);
use_standby($cascade);
passes('plain', 'cascading standby', {}, '', @writers);

#
# A commit that has returned was replayed, so no hit may miss it
#
use_standby($second);
$first->append_conf('postgresql.conf', "synchronous_standby_names = 'second'");
$first->reload;
ok($first->poll_query_until('postgres', q{SELECT sync_state = 'sync' FROM pg_stat_replication WHERE application_name = 'second'}), 'a synchronous standby');
passes($_, "remote_apply: $_", {}, '', @writers, '--remote-apply') for qw(plain ddl);
$first->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$first->reload;

#
# Servers that come and go under load.  Writers go to the primary, whichever it is.
#
use_server($first, $second);

# The standby starts again
my $seconds = passes_while('plain', 'the standby is restarted', 0.01, 3, 5, sub {
	for my $mode (qw(fast immediate))
	{
		usleep(500_000);
		$second->stop($mode);
		$second->start;
	}
}, '--pause=40000');

# The primary dies and comes back: what it had not flushed is in no snapshot
$seconds = passes_while('2pc', 'the primary dies', 0.01, $seconds, 5, sub {
	for (1 .. 2)
	{
		usleep(500_000);
		$first->stop('immediate');
		$first->start;
	}
}, '--pause=20000');

# It dies for good, the standby is promoted, and written to; its sessions go on.  That happens only once, so
# there is time enough.
passes_while('2pc', 'the standby is promoted', 0.02, 2 * $seconds, 1, sub {
	usleep(1_000_000);
	$first->kill9;
	$second->promote;
}, '--pause=20000');

# The other standby has followed
ok($cascade->poll_query_until('postgres', 'SELECT received_tli = 2 FROM pg_stat_wal_receiver'), 'the cascading standby follows on the new timeline');
use_server($second);
use_standby($cascade);
passes('plain', 'after the promotion', {}, '', @writers);

# The old primary comes back as a standby, rewound
my $user = $second->safe_psql('postgres', 'SELECT current_user');
$first->start;
$first->stop('fast');
command_ok([ 'pg_rewind', '--target-pgdata', $first->data_dir, '--source-server', $second->connstr('postgres') . " user=$user" ], 'pg_rewind');
open my $file, '>', $first->data_dir . '/postgresql.conf' or die;
print $file $conf, "\nhot_standby_feedback = on\nprimary_conninfo = '${\$second->connstr} application_name=first'\n";
close $file;
$first->set_standby_mode;
$first->start;
use_standby($first);
passes('plain', 'the rewound server', {}, '', @writers);
$_->stop for $cascade, $first, $second;

#
# What could go wrong: a commit that is visible and not replayed in full, and one whose replay has
# begun and that is not yet visible.  A standby that is blind to the first is caught.  (The second
# is too short for a test: with gdb, hold the startup process in ExpireTreeKnownAssignedTransactionIds
# and force a build; with debug_protocol begun-only that is a hit afterwards.)
#
if ($ENV{SC_DEBUG_CONF})
{
	my $primary = Node->new('debug');
	$primary->init(allows_streaming => 1);
	$primary->append_conf('postgresql.conf', "max_connections = 60\nautovacuum = off\n" . slurp_file($ENV{SC_DEBUG_CONF}));
	$primary->start;
	my $standby = standby_of('weak', $primary);
	# before the files of a visible commit are removed, pg_control is flushed
	$standby->append_conf('postgresql.conf', "fsync = on\nshared_buffers = 128MB");
	$standby->restart;
	use_server($primary);
	use_standby($standby);
	my @hold = ('--pause=40000', '--junk=10', '--seconds=2');

	my ($status, $found) = checker('plain', '', @hold);
	is($status, 0, 'commits that are visible before they are replayed in full do no harm');
	($status) = checker('plain', '', '--writers=1', '--pause=1000', '--rebuild=50', '--subtransactions=20000', '--seconds=2');
	is($status, 0, 'nor do those whose replay takes long before they are visible');

	$standby->append_conf('postgresql.conf', "summary_cache.debug_protocol = 'replayed-only'");
	$standby->restart;
	for (1 .. 60)
	{
		($status, $found) = checker('plain', '', @hold);
		last if $status != 0;
	}
	is($status, 1, "labels that know only of what is replayed in full are caught (seed $seed)");
	# "stuck" is a hit that differs from the tables when all is at rest
	cmp_ok(($found->{unseen} // 0) + ($found->{stuck} // 0), '>', 0, '... by a hit that misses what was seen, or what is there');
	$standby->stop;
	$primary->stop;
}

done_testing();
