# Proves that a large document is copied no more often than needed: not for an answer without it, and in a
# build about as often as in the plain query.  What a process has needed at most is the kernel's to say.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => 'needs VmHWM in /proc' if !grep { /^VmHWM:/ } split /\n/, slurp_file('/proc/self/status');

my $mb = 1024 * 1024;
my $size = 24 * $mb;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	autovacuum = off
	jit = off
	shared_buffers = 16MB
	summary_cache.memory_limit = 120MB
	summary_cache.worker_idle_timeout = 1h
});
$node->start;

# The most that a process has had in memory so far, shared memory that it has touched included.
sub peak
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^VmHWM:\s*(\d+) kB/m;
	return $kb * 1024;
}

# What statements give in a session of their own, and how much more it has needed than one that does next
# to nothing, in documents.
sub run
{
	my ($sql) = @_;
	my $session = Session->new($node);
	$session->query(q{SELECT summary_cache_unchanged('small', 'x')});
	my $before = peak($session->pid);
	my $result = $session->query($sql);
	my $needed = (peak($session->pid) - $before) / $size;
	$session->quit;
	return ($result, sprintf '%.2f', $needed);
}

# A text and a json each, stored compressed, of $size bytes.
$node->sql(qq{
	CREATE EXTENSION summary_cache;
	CREATE TABLE little (n int);
	CREATE TABLE string (d text);
	CREATE TABLE object (d json);
	INSERT INTO string VALUES (repeat('a', $size));
	INSERT INTO object SELECT json_build_array(d) FROM string;
	SELECT summary_cache_define('small', 'main', 'SELECT count(*) AS n FROM little');
	SELECT summary_cache_define('string', 'main', 'SELECT d FROM string');
	SELECT summary_cache_define('object', 'main', 'SELECT d FROM object');
	SELECT summary_cache_get('small');
});

for my $summary (qw(string object))
{
	my $built = qq{SELECT summary_cache_invalidate('$summary'); SELECT summary_cache_unchanged('$summary', 'x')};
	my ($result, $needed) = run($built);
	is($result, "\nf", "$summary: built");
	cmp_ok($needed, '<', 2.7, "... with $needed documents, of which one is that in shared memory");
	(my $private, $needed) = run(qq{SET summary_cache.enabled = off; SELECT summary_cache_unchanged('$summary', 'x')});
	is($private, 'f', '... privately as well');
	cmp_ok($needed, '<', 2.7, "... with $needed documents");

	my $etag = $node->sql(qq{SELECT etag FROM summary_cache_fetch('$summary', 'x')});
	for my $limit (0, '64MB')
	{
		my $set = "SET summary_cache.local_memory_limit = '$limit'";
		($result, $needed) = run(qq{$set; SELECT summary_cache_unchanged('$summary', '$etag')});
		is($result, 't', "$summary, own memory $limit: unchanged");
		cmp_ok($needed, '<', 0.3, "... with $needed documents");
		($result, $needed) = run(qq{$set; SELECT status, document IS NULL FROM summary_cache_fetch('$summary', '$etag')});
		is($result, 'hit-revision|t', '... in a row');
		cmp_ok($needed, '<', 0.3, "... with $needed documents");
		($result, $needed) = run(qq{$set; SELECT summary_cache_unchanged('$summary', 'x')});
		is($result, 'f', '... and changed');
		cmp_ok($needed, '<', 0.3, "... with $needed documents");
		($result) = run(qq{$set; SELECT summary_cache_unchanged('$summary', '$etag'), octet_length(summary_cache_get('$summary')::text) > $size});
		is($result, 't|t', '... and here is the document');
	}
}

#
# A backend that keeps no copy does not take the memory of each answer from the system and give it back:
# three times 256 pages for a document of 1 MB
#
$node->sql(qq{
	CREATE TABLE medium (d text);
	INSERT INTO medium VALUES (repeat('a', $mb));
	SELECT summary_cache_define('medium', 'main', 'SELECT d FROM medium');
	SELECT summary_cache_get('medium')});
my $session = Session->new($node);
$session->query('SET summary_cache.local_memory_limit = 0');
sub faults
{
	my ($minflt) = slurp_file('/proc/' . $session->pid . '/stat') =~ /\) (?:\S+ ){7}(\d+)/;
	return $minflt;
}
sub read_ten { return $session->query(qq{SELECT summary_cache_get('medium') \\g /dev/null\n} x 10); }
read_ten();
my $faults = faults();
is(read_ten(), '', 'ten reads of a document of 1 MB');
$faults = faults() - $faults;
cmp_ok($faults, '<', 1000, "... are $faults page faults");
$session->quit;

#
# The worker, which has no use for a document
#
$node->sql(q{INSERT INTO string VALUES ('b'); DELETE FROM string WHERE d = 'b'});
is($node->sql(q{SELECT status FROM summary_cache_fetch('string', 'x')}), 'stale', 'the worker is to build');
ok($node->hit('string'), '... and does');
my $pid = $node->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'});
my $needed = sprintf '%.2f', (peak($pid) - 16 * $mb) / $size;
cmp_ok($needed, '<', 2.7, "... with $needed documents, of which one is that in shared memory");

$node->stop;
done_testing;
