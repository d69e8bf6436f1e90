# Proves that roles that may not use the extension's schema write and change tables as if it were not there, tracked tables and others, and that what they write is noticed.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('closed');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 10");
$node->start;

# Reads, and does all but what is to be noticed.
my $reader = Session->new($node);

sub sql
{
	my $result = $reader->query($_[0]);
	die $reader->error if $reader->error =~ /ERROR/;
	return $result;
}

sql(q{
	CREATE ROLE regress_writer;
	CREATE SCHEMA cache;
	CREATE EXTENSION summary_cache SCHEMA cache;
	CREATE SCHEMA app AUTHORIZATION regress_writer;
	SET ROLE regress_writer;
	CREATE TABLE app.tracked (id int PRIMARY KEY, n int DEFAULT 1);
	CREATE TABLE app.part (id int, n int DEFAULT 1) PARTITION BY RANGE (id);
	CREATE TABLE app.part1 PARTITION OF app.part FOR VALUES FROM (0) TO (1000);
	CREATE TABLE app.parent (id int, n int DEFAULT 1);
	CREATE TABLE app.child () INHERITS (app.parent);
	CREATE TABLE app.referencing (id int REFERENCES app.tracked ON DELETE CASCADE);
	CREATE TABLE app.untracked (id int, n int DEFAULT 1);
	CREATE TABLE app.still (id int);
	RESET ROLE;
});
my @sources = qw(tracked part parent referencing);
sql("SELECT cache.summary_cache_define('$_', 'main', 'SELECT count(*) AS n, max(t::text) AS rows FROM app.$_ t')") for @sources, 'still';

# With nothing in between that is written in another session: each command is a new session's first.
sub answers { return sql("SELECT status || ' ' || (document->>'n') || ' ' || coalesce(document->>'rows', '') FROM cache.summary_cache_fetch('$_[0]')"); }

sub command
{
	my ($command, %options) = @_;
	for my $summary (@sources, 'still')
	{
		my $hit = '';
		for (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
		{
			$hit = sql("SELECT status = 'hit-revision' FROM cache.summary_cache_fetch('$summary')");
			last if $hit eq 't';
			select undef, undef, undef, 0.05;
		}
		is($hit, 't', "$summary is a hit before");
	}
	my ($ret, undef, $err) = $node->psql('postgres', "SET client_min_messages = warning; SET ROLE regress_writer; $command", on_error_stop => 1);
	is("$ret $err", '0 ', $command);
	for my $summary (@sources)
	{
		my $answer = answers($summary);
		my $truth = sql("SELECT count(*) || ' ' || coalesce(max(t::text), '') FROM app.$summary t");
		ok($answer eq "hit-revision $truth" || $answer !~ /^hit/, "... is noticed by $summary") or diag "$answer instead of $truth";
	}
	like(answers('still'), qr/^hit-revision/, '... and leaves another summary alone') unless $options{ddl};
	return;
}

command($_) for
	'INSERT INTO app.untracked VALUES (1)',
	'CREATE TEMP TABLE tmp (x int); INSERT INTO tmp VALUES (1)',
	'INSERT INTO app.tracked VALUES (1), (2), (3), (4)',
	'UPDATE app.tracked SET n = n + 1',
	'INSERT INTO app.referencing VALUES (1), (2)',
	'DELETE FROM app.tracked WHERE id = 1',
	'MERGE INTO app.tracked t USING (VALUES (2), (9)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET n = 100 WHEN NOT MATCHED THEN INSERT VALUES (v.id)',
	"COPY app.tracked FROM stdin;\n20\t1\n\\.\n",
	'INSERT INTO app.part VALUES (1)',
	'INSERT INTO app.part1 VALUES (2)',
	'UPDATE app.part SET n = 7',
	'INSERT INTO app.child VALUES (1)',
	'UPDATE app.parent SET n = 8',
	'WITH gone AS (DELETE FROM app.child RETURNING *) INSERT INTO app.part SELECT * FROM gone',
	'BEGIN; INSERT INTO app.tracked VALUES (40); SAVEPOINT a; INSERT INTO app.tracked VALUES (41); ROLLBACK TO a; COMMIT',
	q{BEGIN; INSERT INTO app.tracked VALUES (50); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'},
	'DO $$ BEGIN EXECUTE \'UPDATE app.tracked SET n = n + 1\'; END $$',
	'TRUNCATE app.referencing',
	'TRUNCATE app.tracked CASCADE';
command($_, ddl => 1) for
	'CREATE TABLE app.part2 PARTITION OF app.part FOR VALUES FROM (1000) TO (2000)',
	'INSERT INTO app.part2 VALUES (1001)',
	'CREATE TABLE app.part3 (id int, n int); INSERT INTO app.part3 VALUES (2001)',
	'ALTER TABLE app.part ATTACH PARTITION app.part3 FOR VALUES FROM (2000) TO (3000)',
	'INSERT INTO app.part3 VALUES (2002)',
	'ALTER TABLE app.part DETACH PARTITION app.part2',
	'CREATE TABLE app.child2 () INHERITS (app.parent)',
	'INSERT INTO app.child2 VALUES (1)',
	'CREATE TABLE app.child3 (id int, n int); ALTER TABLE app.child3 INHERIT app.parent',
	'INSERT INTO app.child3 VALUES (1)',
	'ALTER TABLE app.child3 NO INHERIT app.parent',
	'CREATE TEMP TABLE mine () INHERITS (app.parent); INSERT INTO mine VALUES (1)',
	'ALTER TABLE app.tracked DISABLE TRIGGER USER; ALTER TABLE app.tracked ENABLE TRIGGER USER',
	'INSERT INTO app.tracked VALUES (1)',
	'ALTER TABLE app.tracked ADD more int DEFAULT 3',
	'ALTER TABLE app.tracked RENAME n TO m',
	'ALTER TABLE app.referencing RENAME id TO number',
	'CREATE VIEW app.view AS SELECT * FROM app.tracked',
	'DROP VIEW app.view; DROP TABLE app.part2',
	'CREATE INDEX ON app.tracked (more); DROP INDEX app.tracked_more_idx',
	'VACUUM app.tracked';

# over and over after each invalidation
my $writer = Session->new($node);
$writer->query('SET ROLE regress_writer');
for my $i (1 .. 3)
{
	$writer->query("INSERT INTO app.untracked VALUES ($i); INSERT INTO app.tracked VALUES (100 + $i)");
	is($writer->error, '', "an open session writes, $i");
	sql('ALTER TABLE app.untracked SET (fillfactor = 90); ANALYZE app.untracked; ANALYZE app.tracked');
}
$writer->quit;

# roles with more rights elsewhere, and with none at all
sql('CREATE ROLE regress_all IN ROLE pg_write_all_data; CREATE ROLE regress_one; GRANT USAGE ON SCHEMA app TO regress_one; GRANT INSERT ON app.tracked TO regress_one');
for my $role (qw(regress_all regress_one))
{
	my ($ret, undef, $err) = $node->psql('postgres', "SET ROLE $role; INSERT INTO app.tracked VALUES (" . ($role eq 'regress_all' ? 200 : 201) . ')');
	is("$ret $err", '0 ', "$role writes");
}

$reader->quit;
$node->stop;
done_testing();
