# Proves that a hit is exact through PgBouncer in every pooling mode, and what holds there besides: doc/operations.md, Connection poolers.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Checker;
use Session;
use Test::More;

my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
plan skip_all => 'there is no pgbouncer' unless $program;
plan skip_all => 'there is no setpriv' if system('setpriv --version >/dev/null 2>&1') != 0;

my ($major, $minor) = `$program --version` =~ /PgBouncer (\d+)\.(\d+)/i or die 'which version of pgbouncer is this?';
my $keeps_statements = $major > 1 || $minor >= 21;
note "PgBouncer $major.$minor";

my $fetch = q{SELECT status, document->>'n' FROM summary_cache_fetch('s')};
my $status = q{SELECT status FROM summary_cache_fetch('s')};

#
# The server, and the pooler before it: unix sockets only
#
my $node = Node->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', $_) for 'CREATE DATABASE two', 'CREATE DATABASE stress', 'CREATE ROLE regress_app LOGIN', 'CREATE ROLE regress_nobody';
my $user = $node->safe_psql('postgres', 'SELECT current_user');

sub create_summary
{
	my ($dbname, $n) = @_;
	return $node->safe_psql($dbname, qq{
		CREATE EXTENSION summary_cache;
		CREATE TABLE t (n int);
		INSERT INTO t VALUES ($n);
		SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
		GRANT SELECT, UPDATE ON t TO regress_app;
		GRANT EXECUTE ON FUNCTION summary_cache_fetch TO regress_app;
	});
}
create_summary('postgres', 1);
create_summary('two', 1001);

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $log = "$PostgreSQL::Test::Utils::log_path/070_pooler_pgbouncer.log";
my $server = 'host=' . $node->host . ' port=' . $node->port;
append_to_file("$dir/users", qq{"$user" ""\n"regress_app" ""\n});
append_to_file("$dir/pgbouncer.ini", qq{
[databases]
pool = $server dbname=postgres
one = $server dbname=postgres pool_size=1
two = $server dbname=two
session = $server dbname=postgres pool_mode=session
statement = $server dbname=postgres pool_mode=statement
stress = $server dbname=stress pool_size=4
[pgbouncer]
unix_socket_dir = $dir
listen_port = 6432
auth_type = trust
auth_file = $dir/users
admin_users = $user
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
} . ($keeps_statements ? "max_prepared_statements = 100\n" : ''));

# It dies with this process, whatever becomes of it.
my $pooler = IPC::Run::start([ 'setpriv', '--pdeathsig', 'KILL', $program, "$dir/pgbouncer.ini" ],
	'<', \undef, '>', $log, '2>&1');

END
{
	my $exit = $?;
	$pooler->kill_kill if $pooler;
	$? = $exit;
}

# What a Session needs of a cluster; and statements by a client of their own.
package Pool
{
	sub new { my ($class, $as) = @_; return bless { as => $as }, $class }
	sub connstr { my ($self, $dbname) = @_; return "host=$dir port=6432 dbname=$dbname user=$self->{as}" }

	sub query
	{
		my ($self, $dbname, $sql) = @_;
		my ($out, $err);
		IPC::Run::run([ 'psql', '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $self->connstr($dbname) ],
			'<', \$sql, '>', \$out, '2>', \$err);
		chomp($out, $err);
		return wantarray ? ($out, $err) : $out;
	}
}

my $pool = Pool->new($user);
my $app = Pool->new('regress_app');

ok(wait_until(sub { ($pool->query('pgbouncer', 'SHOW VERSION'))[0] =~ /PgBouncer/i }), 'the pooler listens')
	or BAIL_OUT(slurp_file($log));

sub is_hit
{
	my ($name, $summary) = @_;
	return ok($node->poll_query_until('postgres', "SELECT status FROM summary_cache_fetch('" . ($summary || 's') . "')", 'hit-revision'),
		"$name: it is refreshed");
}

# A read in another session than the write: stale hides the write, and says so.  A worker that comes
# late to an earlier request may be quicker than the read; nothing else is right.
my $hidden = 0;

sub elsewhere
{
	my ($answer, $old, $new, $name) = @_;
	$hidden++ if $answer =~ /^stale/;
	return like($answer, qr/^(?:stale\|$old|hit-revision\|$new)$/, $name);
}

# A read in the session of the write.
sub not_hidden
{
	my ($answer, $new, $name) = @_;
	return like($answer, qr/^(?:miss|hit-revision)\|$new$/, $name);
}

#
# Two clients, one server session
#
my $first = Session->new($pool, 'one');
my $second = Session->new($pool, 'one');
is($first->pid, $second->pid, 'two clients share one server session');
is($first->query($fetch), 'miss|1', 'the first builds');
is($second->query($fetch), 'hit-revision|1', 'the second has a hit');
not_hidden($first->query("UPDATE t SET n = 2; $fetch"), 2, 'who writes finds what it wrote');
is($second->query($fetch), 'hit-revision|2', '... and then the other');
$second->query('UPDATE t SET n = 3');
not_hidden($first->query($fetch), 3, 'in the session that wrote, it is found by a client that did not write');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_locks WHERE objsubid = 92'), '0', 'a session goes back without a lock of ours');
$_->quit for $first, $second;

#
# Two server sessions: which one a statement goes to is decided by holding the other.
#
my @holders = map { Session->new($pool, 'pool') } 1 .. 2;
my $client = Session->new($pool, 'pool');

# Has one client execute a statement in the server session of that pid.
sub on
{
	my ($pid, $sql) = @_;
	my ($free, $held) = @holders;
	$_->query('BEGIN') for @holders;
	($free, $held) = ($held, $free) if $free->query('SELECT pg_backend_pid()') ne $pid;
	$free->query('COMMIT');
	my $result = $client->query($sql);
	$held->query('COMMIT');
	return $result;
}

$_->query('BEGIN') for @holders;
my ($s1, $s2) = map { $_->query('SELECT pg_backend_pid()') } @holders;
$_->query('COMMIT') for @holders;
isnt($s1, $s2, 'there are two server sessions');
is(on($_, 'SELECT pg_backend_pid()'), $_, 'statements go where they are sent') for $s1, $s2;

my $n = 10;
my %seen;
for my $round (1 .. 10)
{
	my ($writer, $reader) = $round % 2 ? ($s1, $s2) : ($s2, $s1);
	my $old = $n++;
	on($writer, "UPDATE t SET n = $n");
	elsewhere(on($reader, $fetch), $round == 1 ? 3 : $old, $n, 'a committed write is hidden by stale in another server session');
	is_hit('after stale');
	is(on($_, $fetch), "hit-revision|$n", 'and never by a hit, in whatever session') for $s1, $s2;
	on($writer, 'UPDATE t SET n = n + 1');
	$n++;
	not_hidden(on($writer, $fetch), $n, 'in the session that wrote it is not hidden');
	is(on($reader, $fetch), "hit-revision|$n", 'nor is it after that in another one');
}
cmp_ok($hidden, '>', 0, 'stale has hidden some writes');

#
# What doc/operations.md says to do about it
#
$n++;
on($s1, "UPDATE t SET n = $n");
is(on($s2, q{SELECT status, document->>'n' FROM summary_cache_fetch('s', force_refresh => true)}), "miss|$n", 'force_refresh finds the write');
$n++;
is(on($s1, "BEGIN; UPDATE t SET n = $n; $fetch; COMMIT"), "private|$n", 'so does a read in the transaction that writes');
elsewhere(on($s2, $fetch), $n - 1, $n, '... and the next one, elsewhere, does not hide silently');
is_hit('written in a transaction');

$node->safe_psql('postgres', q{
	SELECT summary_cache_define('inlined', 'main', 'SELECT n FROM t', refresh => 'inline');
	SELECT summary_cache_define('never', 'main', 'SELECT n FROM t');
	SELECT summary_cache_configure('never', 'max_stale_age', '0');
	SELECT summary_cache_define('eager', 'main', 'SELECT n FROM t');
	SELECT summary_cache_configure('eager', 'eager_refresh', 'on');
});
is_hit('inline', 'inlined');
is_hit('eager', 'eager');
$n++;
on($s1, "UPDATE t SET n = $n");
is(on($s2, q{SELECT status, document->>'n' FROM summary_cache_fetch('inlined')}), "progress-section|$n", 'an inline section has the write');
is(on($s2, q{SELECT status, document->>'n' FROM summary_cache_fetch('never')}), "miss|$n", 'so has a summary with max_stale_age 0');
ok($node->poll_query_until('postgres', q{SELECT state FROM summary_cache_sections WHERE summary = 'eager'}, 'current'),
	'eager_refresh refreshes without a reader');
is(on($s2, q{SELECT status, document->>'n' FROM summary_cache_fetch('eager')}), "hit-revision|$n", '... so that the next read is a hit');
$node->safe_psql('postgres', q{SELECT summary_cache_drop(s) FROM unnest('{inlined,never,eager}'::text[]) s});

#
# Settings: SET stays in the server session, for whoever gets it next
#
is_hit('settings');
on($s1, 'SET summary_cache.enabled = off');
is(on($s2, $fetch), "hit-revision|$n", 'SET reaches one server session');
is(on($s1, $fetch), "private|$n", '... and stays there');
on($s1, 'RESET summary_cache.enabled');
is(on($s1, "BEGIN; SET LOCAL summary_cache.enabled = off; $fetch; COMMIT"), "private|$n", 'SET LOCAL holds for its transaction');
is(on($s1, $fetch), "hit-revision|$n", '... and no longer');

on($s1, 'SET ROLE regress_nobody');
is(on($s2, $fetch), "hit-revision|$n", 'SET ROLE reaches one server session');
is(on($s1, $fetch), '', '... and takes the right to read from whoever gets it');
like($client->error, qr/permission denied for function summary_cache_fetch/, '... as the error says');
on($s1, 'RESET ROLE');
is(on($s1, "BEGIN; SET LOCAL ROLE regress_app; $fetch; COMMIT"), "hit-revision|$n", 'SET LOCAL ROLE reads what the role may read');
is(on($s1, 'SELECT current_user'), $user, '... and is over with the transaction');

# what a session has read is right after everything that a pooler may send to clean it
for my $reset ('DISCARD ALL', 'DISCARD PLANS', 'RESET ALL', 'DEALLOCATE ALL', 'CLOSE ALL; UNLISTEN *')
{
	on($s1, $reset);
	is(on($s1, $fetch), "hit-revision|$n", "$reset: a hit goes on");
	$n++;
	on($s2, "UPDATE t SET n = $n");
	elsewhere(on($s1, $fetch), $n - 1, $n, "$reset: a change is noticed");
	is_hit($reset);
	is(on($s1, $fetch), "hit-revision|$n", "$reset: and what it made");
}
# reset between the write and the read: what the session committed is not a setting
$n++;
on($s1, "UPDATE t SET n = $n");
on($s1, 'DISCARD ALL');
not_hidden(on($s1, $fetch), $n, 'DISCARD ALL does not make a session forget what it wrote');

$pool->query('pgbouncer', 'SET server_reset_query_always = 1');
on($s1, 'SET summary_cache.enabled = off');
is(on($s1, $fetch), "hit-revision|$n", 'server_reset_query_always: SET does not stay');
$n++;
on($s1, "UPDATE t SET n = $n");
elsewhere(on($s2, $fetch), $n - 1, $n, '... changes are noticed');
is_hit('server_reset_query_always');
is(on($_, $fetch), "hit-revision|$n", '... and hits are right') for $s1, $s2;
$pool->query('pgbouncer', 'SET server_reset_query_always = 0');

# what ALTER ROLE sets holds in each server session of the role's pool
$node->safe_psql('postgres', 'ALTER ROLE regress_app SET summary_cache.read_your_writes = off');
my $old = $n++;
elsewhere(scalar $app->query('one', "UPDATE t SET n = $n; $fetch"), $old, $n, 'ALTER ROLE: read_your_writes is off for the role of a pool');
is_hit('ALTER ROLE');
is($app->query('one', $fetch), "hit-revision|$n", '... where hits are as exact');

#
# Session and statement pooling
#
$first = Session->new($pool, 'session');
$second = Session->new($pool, 'session');
isnt($first->pid, $second->pid, 'session pooling: two sessions');
$old = $n++;
$first->query("UPDATE t SET n = $n");
elsewhere($second->query($fetch), $old, $n, 'session pooling: hidden from another client');
$n++;
$first->query("UPDATE t SET n = $n");
not_hidden($first->query($fetch), $n, '... and from none that wrote');
$first->query('SET summary_cache.enabled = off');
my $session = $first->pid;
$first->quit;
$first = Session->new($pool, 'session');
is($first->pid, $session, 'session pooling: the session goes to the next client');
is($first->query($fetch), "hit-revision|$n", '... without its settings');
$n++;
$first->query("UPDATE t SET n = $n");
$first->quit;
$first = Session->new($pool, 'session');
is($first->pid, $session, '... and again');
not_hidden($first->query($fetch), $n, '... but what the client before wrote is found');
$_->quit for $first, $second;

is($pool->query('statement', $fetch), "hit-revision|$n", 'statement pooling: a hit');
my (undef, $error) = $pool->query('statement', 'BEGIN');
like($error, qr/transaction blocks not allowed/, 'statement pooling: no transactions');
$n++;
$pool->query('statement', "UPDATE t SET n = $n");
like($pool->query('statement', $fetch), qr/^(?:stale\|${\($n - 1)}|miss\|$n|hit-revision\|$n)$/, 'statement pooling: a write is noticed');
is_hit('statement pooling');
is($pool->query('statement', $fetch), "hit-revision|$n", '... and found');

#
# Databases of one pooler do not mix
#
my $two = 1001;
for (1 .. 3)
{
	is($pool->query('pool', $fetch), "hit-revision|$n", 'one database');
	like($pool->query('two', $fetch), qr/^(hit-revision|miss)\|$two$/, 'another one');
	$two++;
	$pool->query('two', "UPDATE t SET n = $two");
	is($pool->query('pool', $status), 'hit-revision', 'what changes in one is nothing to the other');
	ok($node->poll_query_until('two', $status, 'hit-revision'), 'which has its own worker');
}

#
# Server sessions that are killed
#
sub killed
{
	my ($pid) = @_;
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	return ok(wait_until(sub { $pool->query('pgbouncer', 'SHOW SERVERS') !~ /\|$pid\|/ }), 'the pooler has noticed');
}

like($pool->query('pgbouncer', 'SHOW SERVERS'), qr/\|$s1\|/, 'the pooler shows its server sessions');
killed($s1);
is($pool->query('pool', $fetch), "hit-revision|$n", 'a client gets another session, and a hit');
$first = Session->new($pool, 'pool');
$first->query("BEGIN; UPDATE t SET n = -1");
killed($first->query('SELECT pg_backend_pid()'));
$first->quit;
is($pool->query('pool', $fetch), "hit-revision|$n", 'killed while it writes: nothing has changed');
is($node->safe_psql('postgres', q{SELECT sum(pending) FROM summary_cache_tables}), '0', '... and nothing is pending');
$pool->query('pgbouncer', 'RECONNECT');
$n++;
$pool->query('pool', "UPDATE t SET n = $n");
like($pool->query('pool', $fetch), qr/^(?:stale\|${\($n - 1)}|miss\|$n|hit-revision\|$n)$/, 'new sessions notice writes');
is_hit('reconnected');
is($pool->query('pool', $fetch), "hit-revision|$n", '... and serve them');
$_->quit for @holders, $client;

#
# Who waits for a build keeps its server session meanwhile: lock_timeout gives it back.
#
$node->safe_psql('postgres', q{
	SELECT summary_cache_define('slow', 'main', 'SELECT 1 AS n FROM pg_advisory_xact_lock_shared(92)', '{}')});
is_hit('a definition');
my $lock = Session->new($node);
$lock->query('SELECT pg_advisory_lock(92)');
my ($builder, $waiter, $third) = map { Session->new($pool, 'pool') } 1 .. 3;
my $slow = q{SELECT status FROM summary_cache_fetch('slow')};
my $waiting = q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%slow%'};

$builder->send_sql($slow);
ok($node->poll_query_until('postgres', $waiting, '1'), 'a build takes its time');
$waiter->send_sql($slow);
ok($node->poll_query_until('postgres', $waiting, '2'), 'another reader waits for it');
$third->send_sql("$fetch");
ok(wait_until(sub {
	my ($names, @pools) = map { [ split /\|/ ] } split /\n/, ($pool->query('pgbouncer', "\\t off\nSHOW POOLS"))[0] =~ s/\n\(.*//r;
	my %column = map { $names->[$_] => $_ } 0 .. $#$names;
	return grep { $_->[ $column{database} ] eq 'pool' && $_->[ $column{cl_waiting} ] == 1 } @pools;
}), 'a third client finds no server session');
$lock->query('SELECT pg_advisory_unlock(92)');
is($builder->result, 'miss', 'the builder builds');
is($waiter->result, 'miss', 'who waited gets the same');
is($third->result, "hit-revision|$n", '... and then the third');
is($node->safe_psql('postgres', q{SELECT builds_miss FROM summary_cache_stats WHERE summary = 'slow'}), '1', 'that was one build');

$lock->query('SELECT pg_advisory_lock(92)');
$node->safe_psql('postgres', q{SELECT summary_cache_invalidate('slow')});
$builder->send_sql($slow);
ok($node->poll_query_until('postgres', $waiting, '1'), 'a build takes its time again');
$waiter->query("BEGIN; SET LOCAL lock_timeout = '10ms'; $slow; ROLLBACK");
like($waiter->error, qr/canceling statement due to lock timeout/, 'lock_timeout ends the waiting');
is($third->query($fetch), "hit-revision|$n", '... and the session is free for the third');
$lock->query('SELECT pg_advisory_unlock(92)');
is($builder->result, 'miss', 'the builder goes on');
$_->quit for $lock, $builder, $waiter, $third;
$node->safe_psql('postgres', q{SELECT summary_cache_drop('slow')});
is_hit('after the drop');

#
# Prepared statements
#
@holders = map { Session->new($pool, 'pool') } 1 .. 2;
$_->query('BEGIN') for @holders;
($s1, $s2) = map { $_->query('SELECT pg_backend_pid()') } @holders;
$_->query('COMMIT') for @holders;
$client = Session->new($pool, 'pool');
on($s1, "PREPARE p AS $fetch");
is(on($s1, 'EXECUTE p'), "hit-revision|$n", 'PREPARE: by chance in the same session');
on($s2, 'EXECUTE p');
like($client->error, qr/prepared statement "p" does not exist/, 'PREPARE: unknown in another one');
on($s1, 'DEALLOCATE p');
$_->quit for @holders, $client;

# Statements that fail by a division if an answer, which is not stale, lacks what its client wrote, or
# has read in the table, just before: through other server sessions.
append_to_file("$dir/read", q{
SELECT sum(v) AS before FROM counter \gset
SELECT 1 / (f.status = 'stale' OR (f.document->>'sum')::int >= :before)::int AS lost FROM summary_cache_fetch('many') f;
SELECT 1 / (f.status = 'stale' OR (f.document->>'sum')::int >= :before)::int AS lost FROM summary_cache_fetch('many') f;
SELECT 1 / (f.status = 'stale' OR (f.document->>'sum')::int >= :before)::int AS lost FROM summary_cache_fetch('many') f;
});
append_to_file("$dir/write", q{
UPDATE counter SET v = v + 1 WHERE id = :client_id RETURNING v \gset
SELECT 1 / (f.status = 'stale' OR (f.document->'each'->>(:client_id)::text)::int >= :v)::int AS lost FROM summary_cache_fetch('many') f;
});

sub define_many
{
	my ($sources) = @_;
	return $node->safe_psql('stress', qq{
		SELECT summary_cache_define('many', 'main',
			'SELECT sum(v) AS sum, json_object_agg(id, v) AS each FROM counter', $sources)});
}

# Exit status and messages of pgbench, and how its reads were answered.
sub many
{
	my ($dbname, $protocol, $clients, $transactions) = @_;
	my ($out, $err);
	$node->safe_psql('stress', 'SELECT summary_cache_reset_stats()');
	IPC::Run::run([ 'pgbench', '-n', '-M', $protocol, '-c', $clients, '-t', $transactions,
			'-f', "$dir/read\@9", '-f', "$dir/write\@1", $pool->connstr($dbname) ], '>', \$out, '2>', \$err);
	my $exit = $? >> 8;
	my ($hits, $stale) = split /\|/, $node->safe_psql('stress', q{SELECT hits, stale FROM summary_cache_stats WHERE summary = 'many'});
	note "$out$err$hits hits, $stale stale";
	return ($exit, $err, $hits, $stale);
}

$node->safe_psql('stress', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE counter (id int PRIMARY KEY, v int) WITH (fillfactor = 20);
	INSERT INTO counter SELECT i, 0 FROM generate_series(0, 59) i;
});
define_many('NULL');

my ($exit, $err, $hits, $stale);
for my $protocol ('simple', 'extended', $keeps_statements ? 'prepared' : ())
{
	($exit, $err, $hits, $stale) = many('stress', $protocol, 60, 50);
	is($exit, 0, "60 clients, 4 server sessions, $protocol protocol: no answer lacks a write");
	cmp_ok($hits, '>', 100, "$protocol: there are hits");
	cmp_ok($stale, '>', 0, "$protocol: writers make some stale");
	is($node->safe_psql('stress', 'SELECT sum(v) FROM counter'), $node->safe_psql('stress',
			q{SELECT document->>'sum' FROM summary_cache_fetch('many', force_refresh => true)}), "$protocol: the end is right");
}
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'stress' AND backend_type = 'client backend'}),
	'<=', 4, 'through no more than 4 server sessions');
unless ($keeps_statements)
{
	($exit, $err) = many('stress', 'prepared', 10, 20);
	isnt($exit, 0, 'this pgbouncer does not know statements that are prepared by protocol');
	like($err, qr/prepared statement "\w+" (already exists|does not exist)/, '... as the error says');
	$pool->query('pgbouncer', 'RECONNECT stress');
}

# These statements find what they look for.
define_many(q{'{}'});
($exit, $err) = many('stress', 'simple', 60, 50);
isnt($exit, 0, 'a summary that follows no table is found out');
like($err, qr/division by zero/, '... by an answer that lacks a write');
$node->safe_psql('stress', q{SELECT summary_cache_drop('many')});

#
# The checker: its clients look for what any other has committed or seen.  One of its demands is not
# met by a pooler in transaction mode: "own", by stale.
#
use_server($node);
use_conninfo($pool->connstr('stress'));
for my $mode (qw(plain rr inline 2pc))
{
	my (undef, $report, $messages) = checker($mode, '', '--seconds=2', '--readers=45', '--writers=8');
	is(join(' ', grep { $report->{$_} } qw(lost unseen dirty differ torn stuck error)), '', "checker, $mode: no violation (seed $seed)");
	unlike($messages, qr/violation \(own\): (?!stale:)/, "$mode: what a client wrote is hidden by stale only");
	cmp_ok($report->{hits} // 0, '>', 50, "$mode: there are hits");
	cmp_ok($report->{commits} // 0, '>', 20, "$mode: there are commits");
}
is($node->safe_psql('stress', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'no prepared transaction is left');

$pooler->kill_kill;
$node->stop;
done_testing();
