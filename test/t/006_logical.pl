# Proves that a summary on a logical subscriber follows what is applied there: rows, initial copy, TRUNCATE, prepared transactions;
# and that it keeps its own definitions.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $tables = q{
	CREATE TABLE t (id int PRIMARY KEY, n int);
	CREATE TABLE p (id int, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
	CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
	CREATE TABLE late (id int PRIMARY KEY, n int);
};
my $truth = '(SELECT coalesce(sum(n), 0) FROM t) + (SELECT coalesce(sum(n), 0) FROM p)';
my $status = q{SELECT status FROM summary_cache_fetch('s')};
my $said = q{SELECT document->>'total' FROM summary_cache_fetch('s')};

my $publisher = Node->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', "max_prepared_transactions = 10\nautovacuum = off\nlogical_decoding_work_mem = 64kB");
$publisher->start;
$publisher->safe_psql('postgres', $tables . q{
	INSERT INTO t SELECT i, 1 FROM generate_series(1, 10) i;
	INSERT INTO p SELECT i, 1 FROM generate_series(95, 104) i;
	CREATE PUBLICATION pub FOR TABLE t, p, late;
});

my $subscriber = Node->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->append_conf('postgresql.conf', "max_prepared_transactions = 10\nautovacuum = off");
my $parallel = $subscriber->pg_version >= 16;
$subscriber->append_conf('postgresql.conf', 'max_parallel_apply_workers_per_subscription = 2') if $parallel;
$subscriber->start;
$subscriber->safe_psql('postgres', $tables . qq{
	CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('s', 'main', 'SELECT $truth AS total');
});

# The document that is cached when a change arrives must not be served as current after it.
sub cached
{
	my ($name) = @_;
	ok($subscriber->poll_query_until('postgres', $status, 'hit-revision'), "$name: there is a hit before");
	return $subscriber->safe_psql('postgres', q{SELECT status || ' ' || (document->>'total') FROM summary_cache_fetch('s')});
}

sub noticed
{
	my ($name, $old) = @_;
	my $new = $subscriber->safe_psql('postgres', q{SELECT status || ' ' || (document->>'total') FROM summary_cache_fetch('s')});
	isnt($new, $old, "$name: what is applied is noticed");
	ok($subscriber->poll_query_until('postgres', $status, 'hit-revision'), "$name: it is refreshed");
	is($subscriber->safe_psql('postgres', $said), $subscriber->safe_psql('postgres', "SELECT $truth"), "$name: with what the tables have");
	return;
}

sub applied
{
	my ($name, $sql) = @_;
	my $old = cached($name);
	$publisher->safe_psql('postgres', $sql);
	$publisher->wait_for_catchup('sub');
	noticed($name, $old);
	return;
}

#
# The initial copy
#
my $old = cached('initial copy');
my $connstr = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres',
	"CREATE SUBSCRIPTION sub CONNECTION '$connstr' PUBLICATION pub WITH (two_phase = on)");
ok($subscriber->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')}), 'the tables are copied');
noticed('initial copy', $old);
is($subscriber->safe_psql('postgres', $said), '20', 'initial copy: all rows');
ok($subscriber->poll_query_until('postgres', q{SELECT subtwophasestate FROM pg_subscription}, 'e'), 'two_phase is on');

#
# What is applied
#
applied('insert', 'INSERT INTO t VALUES (11, 1)');
applied('update', 'UPDATE t SET n = n + 1 WHERE id = 1');
applied('delete', 'DELETE FROM t WHERE id = 2');
applied('insert into a partition', 'INSERT INTO p VALUES (1, 1)');
applied('update of a partition', 'UPDATE p2 SET n = n + 1 WHERE id = 100');
applied('move to another partition', 'UPDATE p SET id = 150, n = 100 WHERE id = 1');
applied('delete from a partition', 'DELETE FROM p WHERE id = 150');
applied('COPY', "COPY t FROM stdin;\n100\t1\n101\t1\n\\.\n");
applied('several tables', 'BEGIN; UPDATE t SET n = n + 1; UPDATE p SET n = n + 1; COMMIT');
applied('TRUNCATE', 'TRUNCATE t');
applied('TRUNCATE of a partitioned table', 'TRUNCATE p');
applied('rows after TRUNCATE', 'INSERT INTO t SELECT i, 1 FROM generate_series(1, 10) i; INSERT INTO p SELECT i, 1 FROM generate_series(95, 104) i');

# one large transaction, streamed before it is over, with a subtransaction that is rolled back: into a
# file of the apply worker, or to a worker that applies it at once
for my $mode (
	[ 'on', $publisher, q{SELECT stream_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = 'sub'} ],
	$parallel ? [ 'parallel', $subscriber, q{SELECT count(*) > 0 FROM pg_stat_subscription WHERE leader_pid IS NOT NULL} ] : ())
{
	my ($streaming, $node, $streamed) = @$mode;
	my $name = "streaming = $streaming";
	my $writer = Session->new($publisher);

	# what was sent over the old connection is not streamed over the next one
	my $old_sender = $publisher->safe_psql('postgres', q{SELECT pid FROM pg_stat_replication WHERE application_name = 'sub'});
	$subscriber->safe_psql('postgres', "ALTER SUBSCRIPTION sub SET (streaming = $streaming)");
	ok($publisher->poll_query_until('postgres', qq{SELECT count(*) = 1 AND bool_and(pid <> $old_sender AND state = 'streaming')
			FROM pg_stat_replication WHERE application_name = 'sub'}), "$name: the apply worker comes anew");
	my $before = cached($name);
	$writer->query('BEGIN; INSERT INTO t SELECT i, 1 FROM generate_series(1000, 6000) i; SAVEPOINT s; UPDATE p SET n = 0; ROLLBACK TO s');
	ok($node->poll_query_until('postgres', $streamed), "$name: it is streamed before it is over");
	is($subscriber->safe_psql('postgres', q{SELECT status || ' ' || (document->>'total') FROM summary_cache_fetch('s')}), $before,
		"$name: hits go on meanwhile");
	$writer->query('DELETE FROM t WHERE id >= 1000; UPDATE t SET n = n + 1; COMMIT');
	$publisher->wait_for_catchup('sub');
	noticed($name, $before);
	$writer->quit;
}

# a table that becomes a source while the apply worker runs
$subscriber->safe_psql('postgres',
	q{SELECT summary_cache_define('late', 'main', 'SELECT coalesce(sum(n), 0) AS total FROM late')});
is($subscriber->safe_psql('postgres', q{SELECT document->>'total' FROM summary_cache_fetch('late')}), '0', 'late: nothing yet');
for my $total (1 .. 2)
{
	$publisher->safe_psql('postgres', "INSERT INTO late VALUES ($total, 1)");
	$publisher->wait_for_catchup('sub');
	ok($subscriber->poll_query_until('postgres',
			q{SELECT status || (document->>'total') FROM summary_cache_fetch('late')}, "hit-revision$total"), "late: row $total");
}

# what the apply worker itself reads, in the middle of its transaction
$subscriber->safe_psql('postgres', q{
	CREATE TABLE heard (status text, document json);
	CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO public.heard SELECT status, document FROM public.summary_cache_fetch('late'); RETURN NULL; END $$;
	CREATE TRIGGER hear AFTER INSERT ON late FOR EACH ROW EXECUTE FUNCTION hear();
	ALTER TABLE late ENABLE REPLICA TRIGGER hear;
	SELECT 1 FROM summary_cache_fetch('late');
});
$publisher->safe_psql('postgres', 'INSERT INTO late VALUES (3, 1)');
$publisher->wait_for_catchup('sub');
is($subscriber->safe_psql('postgres', 'SELECT * FROM heard'), 'private|{"total":3}', 'within apply: private, with its own row');
$subscriber->safe_psql('postgres', q{
	CREATE OR REPLACE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN SET LOCAL session_replication_role = origin;
		INSERT INTO public.heard SELECT status, document FROM public.summary_cache_fetch('late'); RETURN NULL; END $$;
	TRUNCATE heard;
	SELECT 1 FROM summary_cache_fetch('late');
});
$publisher->safe_psql('postgres', 'INSERT INTO late VALUES (4, 1)');
$publisher->wait_for_catchup('sub');
is($subscriber->safe_psql('postgres', 'SELECT * FROM heard'), 'private|{"total":4}', '... also with session_replication_role changed');
$subscriber->safe_psql('postgres', 'DROP TRIGGER hear ON late');

# a trigger that sets session_replication_role, for the transaction or for good: it is applied all the same
for my $set ('SET LOCAL session_replication_role = origin', 'SET session_replication_role = origin',
	q{PERFORM set_config('session_replication_role', 'local', false)}, 'RESET session_replication_role')
{
	$subscriber->safe_psql('postgres', qq{
		CREATE OR REPLACE FUNCTION set_role() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $set; RETURN NEW; END \$\$;
		CREATE OR REPLACE TRIGGER set_role BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION set_role();
		ALTER TABLE t ENABLE ALWAYS TRIGGER set_role;
	});
	applied("$set in a trigger", 'INSERT INTO t SELECT max(id) + 1, 1 FROM t');
	applied("after $set", 'UPDATE p SET n = n + 1 WHERE id = 100');
}
$subscriber->safe_psql('postgres', 'DROP TRIGGER set_role ON t');

# rolled back: nothing arrives, and a hit stays one
$old = cached('rollback');
$publisher->safe_psql('postgres', 'BEGIN; UPDATE t SET n = 100; ROLLBACK');
$publisher->wait_for_catchup('sub');
is($subscriber->safe_psql('postgres', $status), 'hit-revision', 'rollback: a hit stays one');

#
# Prepared transactions arrive when they are prepared, and end in the apply worker
#
$old = cached('prepared');
$publisher->safe_psql('postgres', q{BEGIN; UPDATE t SET n = n + 1; PREPARE TRANSACTION 'a'});
$publisher->wait_for_catchup('sub');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '1', 'the transaction is prepared on the subscriber');
is($subscriber->safe_psql('postgres', q{SELECT status || ' ' || (document->>'total') FROM summary_cache_fetch('s')}), $old,
	'prepared: hits go on');
$publisher->safe_psql('postgres', q{COMMIT PREPARED 'a'});
$publisher->wait_for_catchup('sub');
noticed('commit prepared', $old);

$old = cached('to be rolled back');
$publisher->safe_psql('postgres', q{BEGIN; UPDATE p SET n = n + 1; PREPARE TRANSACTION 'b'; ROLLBACK PREPARED 'b'});
$publisher->wait_for_catchup('sub');
is($subscriber->safe_psql('postgres', $said), $subscriber->safe_psql('postgres', "SELECT $truth"), 'rollback prepared: nothing has changed');
is($subscriber->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', 'nothing is pending');

# more of them than can be prepared at a time, and no reader in between
$old = cached('to be prepared one by one');
$publisher->safe_psql('postgres', join ' ', map { qq{BEGIN; UPDATE t SET n = n + 1; PREPARE TRANSACTION 'p$_'; COMMIT PREPARED 'p$_';} } 1 .. 25);
$publisher->wait_for_catchup('sub');
noticed('25 prepared transactions', $old);
is($subscriber->safe_psql('postgres', 'SELECT sum(pending) FROM summary_cache_tables'), '0', 'and none of them is pending');

# over a restart of the subscriber
$old = cached('to be prepared');
$publisher->safe_psql('postgres', q{BEGIN; UPDATE t SET n = n + 1; UPDATE p SET n = n + 1; PREPARE TRANSACTION 'c'});
$publisher->wait_for_catchup('sub');
$subscriber->restart;
$old = cached('restarted');
$publisher->safe_psql('postgres', q{COMMIT PREPARED 'c'});
$publisher->wait_for_catchup('sub');
noticed('commit prepared after a restart', $old);

#
# The settings of an apply worker or of a restore: triggers do not fire as usual
#
$old = cached('session_replication_role');
$subscriber->safe_psql('postgres', 'SET session_replication_role = replica; UPDATE t SET n = n + 1');
noticed('session_replication_role = replica', $old);
$old = cached('replica TRUNCATE');
$subscriber->safe_psql('postgres', 'SET session_replication_role = replica; TRUNCATE p');
noticed('TRUNCATE in it', $old);

# a synchronisation again
$old = cached('second copy');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub; TRUNCATE t, late');
noticed('TRUNCATE', $old);
$old = cached('second copy');
$publisher->safe_psql('postgres', q{SELECT pg_drop_replication_slot('sub')});
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION sub CONNECTION '$connstr' PUBLICATION pub");
ok($subscriber->poll_query_until('postgres',
		q{SELECT count(*) > 0 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel}), 'copied again');
noticed('second copy', $old);

#
# FOR ALL TABLES publishes the tables of the definitions, too.  Those of the publisher name a role and a view
# that the subscriber does not have.
#
my $own = q{SELECT summary, section, owner, query, incarnation FROM summary_cache.definition ORDER BY 1, 2};
my $options = 'SELECT * FROM summary_cache.option FULL JOIN summary_cache.reader USING (summary) ORDER BY 1, 2, 4';
my $subscribed = q{SELECT count(*), count(*) FILTER (WHERE srrelid::regclass::text LIKE 'summary_cache%') FROM pg_subscription_rel};

$subscriber->sql('DROP SUBSCRIPTION sub');
$subscriber->sql(q{TRUNCATE t, p, late; SELECT summary_cache_configure('s', 'max_stale_age', '1h'); SELECT summary_cache_configure('s', 'readers', 'pg_monitor')});
my ($own_definitions, $own_options) = ($subscriber->sql($own), $subscriber->sql($options));
$publisher->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE ROLE regress_publisher;
	CREATE VIEW only_here AS SELECT 0 AS total;
	GRANT SELECT ON only_here TO regress_publisher;
	GRANT EXECUTE ON FUNCTION summary_cache_define TO regress_publisher;
	SET ROLE regress_publisher;
	SELECT summary_cache_define('s', 'main', 'SELECT total FROM only_here');
	SELECT summary_cache_define('theirs', 'main', 'SELECT total FROM only_here');
	RESET ROLE;
	SELECT summary_cache_configure('theirs', 'readers', 'regress_publisher');
	SELECT summary_cache_configure('s', 'max_stale_age', '2h');
	CREATE PUBLICATION everything FOR ALL TABLES;
});

sub keeps_its_own
{
	my ($name) = @_;
	is($subscriber->sql($subscribed), '4|0', "$name: all tables are subscribed to but those of the definitions");
	ok($subscriber->poll_query_until('postgres',
			q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')}), "$name: they are copied");
	applied("$name, what commits together with changes of definitions", q{
		BEGIN;
		INSERT INTO t SELECT max(id) + 1, 1 FROM t;
		SELECT summary_cache_define('s', 'main', 'SELECT 1 AS total');
		SELECT summary_cache_define('s', 'other', 'SELECT 1 AS other');
		SELECT summary_cache_configure('s', 'max_stale_age', '3h');
		SELECT summary_cache_configure('s', 'max_stale_age', NULL);
		SELECT summary_cache_drop('s');
		INSERT INTO t SELECT i, 1 FROM generate_series((SELECT max(id) + 1 FROM t), (SELECT max(id) + 5000 FROM t)) i;
		SET LOCAL ROLE regress_publisher;
		SELECT summary_cache_define('s', 'main', 'SELECT total FROM only_here');
		COMMIT;
	});
	applied("$name, TRUNCATE", q{
		BEGIN; TRUNCATE summary_cache.definition, summary_cache.option, t; COMMIT;
		INSERT INTO t VALUES (1, 1);
		SELECT summary_cache_define('s', 'main', 'SELECT total FROM only_here')});
	is($subscriber->sql($own), $own_definitions, "$name: the definitions are the subscriber's own");
	is($subscriber->sql($options), $own_options, "$name: the options as well");
	return;
}

my $subscription = "CREATE SUBSCRIPTION sub CONNECTION '$connstr' PUBLICATION everything";
my ($messages, $told);
$subscriber->psql('postgres', "$subscription WITH (streaming = " . ($parallel ? 'parallel' : 'on') . ')', stderr => \$messages);
like($messages, qr/NOTICE:  the definitions of summaries are not replicated\nDETAIL:  .*left out of the subscription/,
	'CREATE SUBSCRIPTION says what it leaves out');
keeps_its_own('subscribed');
$subscriber->sql('ALTER SUBSCRIPTION sub REFRESH PUBLICATION');
keeps_its_own('refreshed');
$subscriber->sql('ALTER SUBSCRIPTION sub SET PUBLICATION pub');
$subscriber->sql('ALTER SUBSCRIPTION sub ADD PUBLICATION everything WITH (copy_data = false)');
keeps_its_own('added, without a copy');
# one that was there before may have a slot on the publisher
$subscriber->sql('ALTER SUBSCRIPTION sub DISABLE');
$subscriber->sql(q{INSERT INTO pg_subscription_rel SELECT oid, 'summary_cache.option'::regclass, 'd', NULL FROM pg_subscription});
$subscriber->psql('postgres', 'ALTER SUBSCRIPTION sub SET (disable_on_error = true)', stderr => \$told);
is($told, '', 'a command that adds no tables says nothing');
is($subscriber->sql($subscribed), '5|1', '... and leaves a table that is being copied as it is');
$subscriber->sql(q{DELETE FROM pg_subscription_rel WHERE srrelid = 'summary_cache.option'::regclass});
is($publisher->sql('SELECT string_agg(slot_name, $$ $$) FROM pg_replication_slots'), 'sub', 'no slot is left behind on the publisher');
$subscriber->sql('DROP SUBSCRIPTION sub');
is($subscriber->sql("BEGIN; SAVEPOINT a; $subscription WITH (slot_name = NONE, create_slot = false, enabled = false); RELEASE a;
	$subscribed; ROLLBACK"), '4|0', 'the same within a transaction block');

# A subscription that was there before the publisher had the extension: it stops, and goes on when the
# subscriber has it, too.
$_->sql('CREATE DATABASE later') for $publisher, $subscriber;
$_->sql('CREATE TABLE t (id int PRIMARY KEY, n int)', 'later') for $publisher, $subscriber;
$publisher->sql('CREATE PUBLICATION everything FOR ALL TABLES', 'later');
$subscriber->set_server('wal_retrieve_retry_interval', '100ms');
$subscriber->sql("CREATE SUBSCRIPTION later CONNECTION '" . $publisher->connstr . " dbname=later' PUBLICATION everything", 'later');
$subscriber->polled(q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel}, 't', 'without the extension: it is copied', 'later');
my $log_size = -s $subscriber->logfile;
$publisher->sql(q{CREATE EXTENSION summary_cache; SELECT summary_cache_define('s', 'main', 'SELECT n FROM t', run_query => false); INSERT INTO t VALUES (1, 7)}, 'later');
ok(wait_until(sub { slurp_file($subscriber->logfile, $log_size) =~ /relation "summary_cache\.definition" does not exist/ }),
	'the publisher gets the extension: the subscription stops');
$subscriber->sql('CREATE EXTENSION summary_cache', 'later');
$subscriber->polled('SELECT n FROM t', '7', '... and goes on when the subscriber has it', 'later');
is($subscriber->sql('SELECT count(*) FROM summary_cache.definition', 'later'), '0', '... without its definitions');

$subscriber->stop;
$publisher->stop;
done_testing();
