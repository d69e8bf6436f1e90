# Proves that the code of two owners never meets in one worker, and that a reader waits for a worker no longer than it has to.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	summary_cache.max_workers = 1
	summary_cache.worker_idle_timeout = 1h
	autovacuum = off
});
$node->start;
$node->sql(q{
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache;
	CREATE ROLE ann; CREATE ROLE bob; CREATE ROLE reader;
	CREATE SCHEMA ann AUTHORIZATION ann; CREATE SCHEMA bob AUTHORIZATION bob;
	GRANT USAGE ON SCHEMA ann, bob TO PUBLIC;
	GRANT EXECUTE ON FUNCTION summary_cache_define, summary_cache_fetch, summary_cache_get TO PUBLIC;
	SET ROLE ann;
	SET search_path = ann, public;
	CREATE TABLE orders (n int, secret text);
	INSERT INTO orders VALUES (1, 'secret');
	-- its types are looked up when it is first called in a session, and it has no search_path of its own
	CREATE FUNCTION top() RETURNS int LANGUAGE plpgsql STABLE AS $$
	DECLARE
		o orders%ROWTYPE;
	BEGIN
		SELECT n, 'x' INTO o FROM ann.orders ORDER BY n DESC LIMIT 1;
		RETURN o.n;
	END $$;
	SELECT summary_cache_define('top', 'main', 'SELECT ann.top() AS n, pg_backend_pid() AS pid', '{ann.orders}');
	SET ROLE bob;
	SET search_path = bob, public;
	-- what runs as another role than bob is seen in the document
	CREATE FUNCTION spy(int) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_lock(77) WHERE current_user = 'ann';
		RETURN true;
	END $$;
	CREATE DOMAIN spied AS int CHECK (bob.spy(VALUE));
	CREATE TABLE orders (n spied, secret text);
	INSERT INTO orders VALUES (0, '');
	CREATE FUNCTION call_top() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			PERFORM ann.top();
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
		RETURN 1;
	END $$;
	SELECT summary_cache_define('prepare', 'main', 'SELECT bob.call_top() AS n, pg_backend_pid() AS pid', '{bob.orders}');
	CREATE TABLE plain (n int);
	INSERT INTO plain VALUES (1);
	SELECT summary_cache_define('closed', 'main', 'SELECT n FROM bob.plain');
});

#
# Two owners, one place for a worker
#
my ($reader, $other) = map { Session->new($node) } 1 .. 2;
$_->query('SET ROLE reader') for $reader, $other;
my $pid = q{SELECT document->>'pid' FROM summary_cache_fetch('%s', force_refresh => true)};
my %pid;
for my $round (1 .. 3)
{
	for my $summary (qw(prepare top))
	{
		my $now = $reader->query(sprintf $pid, $summary);
		like($now, qr/^\d+$/, "round $round: $summary is built");
		ok(!grep({ $_ ne $summary && $pid{$_}{$now} } keys %pid), '... in a worker in which the other owner\'s code has not run');
		$pid{$summary}{$now} = 1;
		is($reader->query(sprintf $pid, $summary), $now, '... which stays as long as nothing else is to be built');
		is($node->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77}), '0', '... and no code of one runs as the other');
	}
}
is($reader->query(fetch('top')), 'hit-revision 1', 'the function was compiled with its owner\'s types');
my $worker = $reader->query(sprintf $pid, 'top');
$node->sql('UPDATE bob.plain SET n = 2');
$node->sql(fetch('closed'));
ok($node->hit('closed'), 'what is closed is refreshed');
is($reader->query(sprintf $pid, 'top'), $worker, '... in whatever worker there is');

# each in turn: nobody starves
for my $round (1 .. 3)
{
	$_->send_sql(sprintf $pid, $_ == $reader ? 'top' : 'prepare') for $reader, $other;
	like($_->result, qr/^\d+$/, "both at once, round $round") for $reader, $other;
}

#
# Readers of one owner's summaries that wait all the time do not keep those of others from being refreshed
#
$node->sql(q{
	SET client_min_messages = warning;
	SET ROLE ann;
	CREATE FUNCTION ann.one() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
	SELECT summary_cache_define('one' || i, 'main', 'SELECT ann.one() AS n', '{}') FROM generate_series(1, 2) i});
my @greedy = map { Session->new($node) } 1 .. 2;
$greedy[$_ - 1]->send_sql(qq{
	DO \$\$
	BEGIN
		LOOP
			PERFORM summary_cache_get('one$_', true);
		END LOOP;
	END \$\$}) for 1 .. 2;
$node->polled(q{SELECT count(*) FROM summary_cache_stats WHERE summary ~ '^one' AND builds_forced > 10}, '2', 'readers of one owner\'s open summaries wait all the time');
$node->sql('UPDATE bob.orders SET secret = secret');
# what is read meanwhile is as old as what nobody reads
$node->poll_query_until('postgres', q{SELECT status = 'stale' FROM summary_cache_fetch('prepare')}) or die 'never stale';
$node->becomes_current('postgres', 'prepare', 'what is another\'s is refreshed as well');
for my $session (@greedy)
{
	$node->sql('SELECT pg_cancel_backend(' . $session->pid . ')');
	$session->result;
	$session->quit;
}
$node->sql(q{SELECT summary_cache_drop('one1'), summary_cache_drop('one2')});

#
# A reader that holds what the build waits for
#
$node->sql(q{
	SET client_min_messages = warning;
	CREATE TABLE t (n int); INSERT INTO t VALUES (1);
	CREATE FUNCTION f(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(50); RETURN n; END';
	SELECT summary_cache_define('gated', 'main', 'SELECT f(n) AS n FROM t', '{t}')});
my $holder = Session->new($node);
$holder->query("SELECT pg_advisory_lock(50); SET statement_timeout = '60s'");
is($holder->query(fetch('gated')), 'private 1', 'a reader that has the advisory lock is not waited for by the worker for which it waits');
# (on a busy machine a worker may take its time)
$holder->query("SELECT pg_advisory_unlock(50); SET deadlock_timeout = '1min'");
is($holder->query(fetch('gated')), 'miss 1', '... and without it, it gets what the worker has built');
# a session that does not know yet that the section is for a worker only waits for its turn: with a lock
$node->sql('UPDATE t SET n = 2');
my $newcomer = Session->new($node);
$newcomer->query("SET statement_timeout = '60s'; SET deadlock_timeout = '3s'; SELECT pg_advisory_lock(50)");
like($node->sql(fetch('gated')), qr/^stale/, 'a refresh is requested');
# (before that, it would find the deadlock by itself)
$node->polled(at_gate(50) . q{ AND waitstart < clock_timestamp() - interval '2s'}, '1', '... for which a worker waits, longer than its deadlock_timeout');
$node->sql(q{SELECT summary_cache_invalidate('gated')});
is($newcomer->query(fetch('gated')), 'private 2', 'a new session that has the advisory lock is in no deadlock with the worker');
is($newcomer->error, '', '... and gets no error');
$newcomer->quit;
$node->polled(at_gate(50), '0', '... which then goes on');
$node->sql('UPDATE t SET n = 1');
ok($node->hit('gated'), '... until it is done');
# a lock on another table that the function comes to need
$node->sql(q{
	SET client_min_messages = warning;
	CREATE TABLE needed (n int); INSERT INTO needed VALUES (1);
	CREATE FUNCTION g(n int) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM needed); END';
	SELECT summary_cache_define('needy', 'main', 'SELECT g(n) AS n FROM t', '{t}')});
is($holder->query('BEGIN; LOCK TABLE needed IN SHARE MODE; ' . fetch('needy') . '; COMMIT'), 'miss 1', 'a lock that does not matter');
$node->sql(q{SELECT summary_cache_invalidate('needy')});
$holder->query('RESET deadlock_timeout');
is($holder->query('BEGIN; LOCK TABLE needed IN ACCESS EXCLUSIVE MODE; ' . fetch('needy') . '; COMMIT'), 'private 1', 'a lock that does');

# what a reader waits for does not rest
$node->set_server('summary_cache.refresh_rest', 1000);
$node->sql(q{
	SET client_min_messages = warning;
	CREATE FUNCTION slowly(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN n; END';
	SELECT summary_cache_define('slowly', 'main', 'SELECT slowly(n) AS n FROM t', '{t}')});
# (who waits in vain builds for itself, after deadlock_timeout)
$holder->query("SET deadlock_timeout = '20s'");
my $by_worker = q{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('slowly', force_refresh => true)};
is($holder->query($by_worker), 'miss 1', 'a read that takes 0.1 s');
$node->sql('UPDATE t SET n = n');
ok($node->hit('slowly'), 'a refresh for which nobody waits takes as long');
is($holder->query($by_worker), 'miss 1', '... and the next read is served 100 s before another one would be due');
$holder->query('RESET deadlock_timeout');
$node->sql(q{SELECT summary_cache_drop('slowly')});
$node->set_server('summary_cache.refresh_rest', undef, '1');

#
# A failure is told to all who waited, once
#
$node->sql(q{
	SET client_min_messages = warning;
	CREATE FUNCTION h(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(51); RETURN 1 / n; END';
	SELECT summary_cache_define('fails', 'main', 'SELECT h(n - 1) AS n FROM t', '{t}', run_query => false)});
# (the lock is held for longer than who might have to do with it would wait)
$node->set_server('deadlock_timeout', '1min');
$holder->query('SELECT pg_advisory_lock(51)');
my @herd = map { Session->new($node) } 1 .. 5;
$_->send_sql(fetch('fails')) for @herd;
$node->polled(at_gate(51), '1', 'a worker builds');
$node->polled(q{SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event_type IN ('Extension', 'Lock') AND backend_type = 'client backend'}, '5', '... for which five wait');
$holder->query('SELECT pg_advisory_unlock(51)');
is(join('', map { $_->result } @herd), '', 'it fails');
is(scalar(grep { $_->error =~ /summary "fails" could not be built: division by zero/ } @herd), 5, '... which all are told');
cmp_ok($node->sql(q{SELECT builds_failed FROM summary_cache_stats WHERE summary = 'fails'}), '<=', 2, '... without a build for each');
# the next who asks has it tried again at once
$node->sql('UPDATE t SET n = 2');
is($herd[0]->query(fetch('fails')), 'miss 1', 'what has been mended is built at the next read');

#
# An old document may be served, and is: to who cannot build it, where the worker does not come to it
#
$node->sql(q{SET client_min_messages = warning; SELECT summary_cache_define('old', 'main', 'SELECT f(n) AS n FROM t', '{t}')});
is($herd[0]->query(fetch('old')), 'miss 2', 'a document');
is($reader->query('SET summary_cache.max_stale_age = 0; ' . fetch('old')), 'miss 2', 'each time anew, where that is wanted');
$node->set_server('summary_cache.max_workers', 0);
$node->no_worker;
is($reader->query(fetch('old')), 'stale 2', 'as long as it cannot be had, the old one');
$reader->query('RESET summary_cache.max_stale_age');
$node->set_server('summary_cache.max_workers', undef, '1');
# an invalidation while somebody waits
$holder->query('SELECT pg_advisory_lock(50)');
$reader->send_sql('SELECT status FROM summary_cache_fetch(\'old\', NULL, true)');
$node->poll(at_gate(50), '1') or die 'no worker builds';
$node->sql(q{SELECT summary_cache_invalidate('old')});
$holder->query('SELECT pg_advisory_unlock(50)');
is($reader->result, 'miss', 'who waits gets what is built after an invalidation');

#
# A section that reads another owner's summary, which is never current
#
$node->sql(q{
	SET client_min_messages = warning;
	SET ROLE bob;
	SELECT summary_cache_define('inner', 'main', 'SELECT bob.call_top() AS n, (SELECT count(*) FROM bob.plain) AS c');
	RESET ROLE;
	ALTER TABLE bob.plain DISABLE TRIGGER ALL;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO ann;
	SET ROLE ann;
	SELECT summary_cache_define('outer', 'main', $$SELECT public.summary_cache_get('inner') AS n$$, '{}', run_query => false)});
is($holder->query(fetch('outer')), '', 'what reads that cannot be built');
like($holder->error, qr/summary "outer" could not be built: summary "inner" cannot be built in this session/, '... and says why');
is($node->sql(q{SELECT builds_failed > 0 FROM summary_cache_stats WHERE summary = 'outer'}), 't', '... which is a failure, and is tried again after a pause');
# of its own owner it is built in that worker
$node->sql(q{
	SET client_min_messages = warning;
	SET ROLE bob;
	SELECT summary_cache_define('own', 'main', $$SELECT public.summary_cache_get('inner')->>'n' AS n$$, '{}')});
is($holder->query(fetch('own')), 'miss 1', 'what reads a summary of its own owner is built');
$node->sql(q{SELECT summary_cache_drop('outer'), summary_cache_drop('own'), summary_cache_drop('inner')});

#
# The worker goes while somebody waits
#
$holder->query('SELECT pg_advisory_lock(51)');
$herd[0]->send_sql(forced('fails'));
$node->poll(at_gate(51), '1') or die 'no worker builds';
$node->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'});
$holder->query('SELECT pg_advisory_unlock(51)');
is($herd[0]->result, '1', 'a terminated worker is replaced');
$node->set_server('deadlock_timeout', undef, '1s');
$node->set_server('summary_cache.max_workers', 0);
$node->no_worker;
is($herd[1]->query('SELECT status FROM summary_cache_fetch(\'fails\', NULL, true)'), 'private', 'without any worker, the owner builds for itself');
is($reader->query(fetch('fails')), 'hit-revision 1', '... and who is no member of it has what is there');
is($reader->query('SELECT status FROM summary_cache_fetch(\'fails\', NULL, true)'), '', '... but cannot have it built');
like($reader->error, qr/summary "fails" cannot be built in this session/, '... and is told why');
cmp_ok($node->sql(q{SELECT private_no_worker FROM summary_cache_stats WHERE summary = 'fails'}), '>=', 1, '... which is counted');
$node->set_server('summary_cache.max_workers', undef, '1');

$_->quit for $reader, $other, $holder, @herd;
$node->stop;
done_testing();
