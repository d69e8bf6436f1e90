# Proves that documents of summaries with parameters are served and proven on a standby, go on after its promotion, and follow what is applied on a logical subscriber.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $tables = q{
	CREATE TABLE t (k int PRIMARY KEY, n int);
	CREATE TABLE u (k int PRIMARY KEY, n int);
	CREATE TABLE p (k int, n int, PRIMARY KEY (k)) PARTITION BY RANGE (k);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5);
	CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (5) TO (100);
};
my $rows = join '', map { "INSERT INTO $_ SELECT k, 10 * k FROM generate_series(1, 9) k;" } qw(t u p);
my $summaries = q{
	SET client_min_messages = warning;
	CREATE EXTENSION summary_cache;
	SELECT summary_cache_define('s', 'main', 'SELECT (SELECT sum(n) FROM t WHERE k = $1) AS n', parameters => '{k int}');
	SELECT summary_cache_define('p', 'main', 'SELECT (SELECT sum(n) FROM p WHERE k = $1) AS n', parameters => '{k int}');
	SELECT summary_cache_define('u', 'main', 'SELECT (SELECT sum(n) FROM u WHERE k = $1) AS n', parameters => '{k int}');
};

sub document
{
	my ($value, $summary) = @_;
	$summary //= 's';
	return qq{SELECT status || ' ' || (document->>'n') FROM summary_cache_fetch('$summary', parameters => '{$value}')};
}

# Documents that are hits, after a refresh if need be; and what the table has.
sub hits
{
	my ($node, $name, $summary, @values) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $table = $summary eq 's' ? 't' : $summary;
	my $truth = $node->sql(join ';', map { "SELECT 'hit-revision ' || coalesce((SELECT sum(n)::text FROM $table WHERE k = $_), 'none')" } @values);
	my $said;

	wait_until(sub { ($said = $node->sql(join ';', map { document($_, $summary) =~ s/\(document->>'n'\)/coalesce(document->>'n', 'none')/r } @values)) eq $truth });
	return is($said, $truth, $name);
}

my $primary = Node->new('primary');
$primary->init(allows_streaming => 'logical');
$primary->append_conf('postgresql.conf', "max_prepared_transactions = 10\nautovacuum = off\nsummary_cache.max_stale_age = -1");
$primary->start;
$primary->sql($tables . $rows . $summaries);
$primary->backup('backup');

my $standby = Node->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

#
# A standby
#
like($standby->sql(document(1)), qr/^miss 10$/, 'a standby builds a document');
hits($standby, '... and those of others', 's', 1 .. 3);
is($standby->sql(q{SELECT string_agg(parameters[1] || state, ' ' ORDER BY parameters[1]) FROM summary_cache_documents WHERE summary = 's'}), '1current 2current 3current', '... which the view shows');
$primary->sql('UPDATE u SET n = n + 1');
$primary->wait_for_catchup($standby);
is($standby->sql(join ';', map { document($_) } 1 .. 3), "hit-revision 10\nhit-revision 20\nhit-revision 30", 'a write to another table concerns none');
$primary->sql('UPDATE t SET n = 11 WHERE k = 1');
$primary->wait_for_catchup($standby);
is($standby->sql(join ';', map { document($_) } 1 .. 3), "stale 10\nstale 20\nstale 30", 'a write to theirs concerns them all, whatever its key');
hits($standby, '... and they are refreshed', 's', 1 .. 3);
hits($standby, 'partitions', 'p', 1, 7);
$primary->sql('UPDATE p SET k = 50 WHERE k = 1');
$primary->wait_for_catchup($standby);
hits($standby, '... a row that moves', 'p', 1, 7, 50);
my $reader = Session->new($standby);
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t');
$primary->sql('UPDATE t SET n = 12 WHERE k = 1');
$primary->wait_for_catchup($standby);
is($reader->query(document(1)), 'private 11', 'REPEATABLE READ on the standby');
$reader->query('COMMIT');
hits($standby, '... and afterwards', 's', 1 .. 3);
$primary->sql(q{BEGIN; UPDATE t SET n = 13 WHERE k = 1; PREPARE TRANSACTION 'p'});
$primary->wait_for_catchup($standby);
hits($standby, 'a prepared transaction is not seen', 's', 1 .. 3);
$primary->sql(q{COMMIT PREPARED 'p'});
$primary->wait_for_catchup($standby);
unlike($standby->sql(document(1)), qr/^hit-revision 12/, '... and is when it is committed');
hits($standby, '... and then is in the document', 's', 1 .. 3);
# other parameters, and none
$primary->sql(q{SELECT summary_cache_define('u', 'main', 'SELECT (SELECT sum(n) FROM u WHERE k = length($1)) AS n', parameters => '{k text}')});
$primary->wait_for_catchup($standby);
is($standby->sql(document('xxx', 'u')) =~ s/.* //r, '31', 'a definition with other parameters is replayed');
$primary->sql(q{SELECT summary_cache_drop('u')});
$primary->wait_for_catchup($standby);
my ($status, $out, $err) = $standby->psql('postgres', document('xxx', 'u'));
like($err, qr/is not defined/, '... and a drop');

#
# Promotion
#
$primary->sql(q{BEGIN; UPDATE t SET n = 14 WHERE k = 2; PREPARE TRANSACTION 'over'});
$primary->wait_for_catchup($standby);
hits($standby, 'before the promotion', 's', 1 .. 3);
my $writer = Session->new($standby);
is($writer->query(document(1)), 'hit-revision 13', 'a session that is there');
$primary->stop;
$standby->promote;
$standby->poll('SELECT NOT pg_is_in_recovery()') or die 'not promoted';
is($writer->query(document(3) =~ s/status \|\| ' ' \|\| //r), '30', '... goes on');
$writer->query('UPDATE t SET n = 15 WHERE k = 1');
like($writer->query(document(1)), qr/^(miss|hit-revision|private) 15$/, '... and sees what it writes');
$standby->sql(q{COMMIT PREPARED 'over'});
unlike($standby->sql(document(2)), qr/^hit-revision 20/, 'what was prepared on the old primary is committed');
hits($standby, '... and is in the documents', 's', 1 .. 3);
# by key from now on
$standby->sql('UPDATE t SET n = n WHERE k = 3');
hits($standby, 'after a write', 's', 1 .. 3);
$standby->poll('SELECT requests_waiting = 0 FROM summary_cache_server') or die 'requests wait';
$standby->sql(q{SELECT summary_cache_get('s', true, ARRAY[k::text]) FROM generate_series(1, 3) k});
$standby->sql('UPDATE t SET n = n + 1 WHERE k = 3');
is($standby->sql(join ';', map { document($_) } 1 .. 3), "hit-revision 15\nhit-revision 14\nstale 30", 'the promoted server proves by key what it has built');
$_->quit for $reader, $writer;

#
# A subscriber
#
my $publisher = $standby;
my $subscriber = Node->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->append_conf('postgresql.conf', "max_prepared_transactions = 10\nautovacuum = off\nsummary_cache.max_stale_age = -1");
$subscriber->start;
$subscriber->sql($tables . $summaries);
hits($subscriber, 'a subscriber', 's', 1 .. 3);
$publisher->sql('CREATE PUBLICATION pub FOR TABLE t, p');
my $connstr = $publisher->connstr . ' dbname=postgres';
$subscriber->sql("CREATE SUBSCRIPTION sub CONNECTION '$connstr' PUBLICATION pub WITH (two_phase = on)");
$subscriber->poll(q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')}) or die 'the tables are not copied';
hits($subscriber, 'the initial copy is in the documents', $_, 1 .. 3) for qw(s p);
$subscriber->poll(q{SELECT subtwophasestate FROM pg_subscription}, 'e') or die 'no two_phase';
for my $case (
	[ 'an update', 's', 'UPDATE t SET n = n + 1 WHERE k = 1', 1 ],
	[ 'an insert', 's', 'INSERT INTO t VALUES (20, 200)', 20 ],
	[ 'a delete', 's', 'DELETE FROM t WHERE k = 20', 20 ],
	[ 'a key that changes', 's', 'UPDATE t SET k = 20 WHERE k = 1; UPDATE t SET k = 1 WHERE k = 2', 1 ],
	[ 'TRUNCATE', 's', 'TRUNCATE t', 1 ],
	[ 'rows after it', 's', 'INSERT INTO t SELECT k, k FROM generate_series(1, 9) k', 1 ],
	[ 'a partition', 'p', 'UPDATE p SET n = n + 1 WHERE k = 2', 2 ],
	[ 'a prepared transaction', 's', q{BEGIN; UPDATE t SET n = 7 WHERE k = 1; PREPARE TRANSACTION 'q'; COMMIT PREPARED 'q'}, 1 ])
{
	my ($name, $summary, $write, $key) = @$case;

	hits($subscriber, "$name: hits before", $summary, $key, 3);
	my $old = $subscriber->sql(document($key, $summary) =~ s/\(document->>'n'\)/coalesce(document->>'n', 'none')/r);
	$publisher->sql($write);
	$publisher->wait_for_catchup('sub');
	isnt($subscriber->sql(document($key, $summary) =~ s/\(document->>'n'\)/coalesce(document->>'n', 'none')/r), $old, "$name: what is applied is noticed");
	hits($subscriber, "$name: ... and is in the document", $summary, $key, 3);
}
hits($subscriber, 'another summary', 'p', 3);
$publisher->sql('UPDATE t SET n = n + 1');
$publisher->wait_for_catchup('sub');
is($subscriber->sql(document(3, 'p')), 'hit-revision 30', 'what is applied to another table concerns none of its documents');
$subscriber->stop;
$standby->stop;
done_testing();
