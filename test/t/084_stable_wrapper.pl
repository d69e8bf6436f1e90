# Proves that the STABLE wrapper of doc/http.md gives hits, and misses nothing that a STABLE function sees which reads the table.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my ($wrapper) = slurp_file("$FindBin::RealBin/../../doc/http.md") =~ /^```sql\n(CREATE FUNCTION api\.state.*?)^```/ms
	or die 'the page has no wrapper';
my $environment = qr/ SECURITY DEFINER SET search_path = cache, pg_temp/;
die 'the wrapper is another one' unless $wrapper =~ $environment;

my $node = Node->new('main');
$node->init;
$node->start;
$node->sql(qq{
	CREATE SCHEMA cache;
	CREATE EXTENSION summary_cache SCHEMA cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (0);
	CREATE TABLE e (n int);
	INSERT INTO e VALUES (0);
	SELECT cache.summary_cache_define('state', 'core', 'SELECT n FROM t');
	SELECT cache.summary_cache_define('state', 'progress', 'SELECT n AS p FROM e', refresh => 'inline');
	SELECT cache.summary_cache_configure('state', 'eager_refresh', 'on');
	CREATE SCHEMA api;
	CREATE ROLE web LOGIN;
	GRANT USAGE ON SCHEMA api TO web;
	GRANT SELECT, UPDATE ON t, e TO web;
	CREATE FUNCTION api.truth() RETURNS int LANGUAGE sql STABLE AS \$\$ SELECT n FROM public.t \$\$;
	$wrapper
});
my $counter = sub { $node->sql("SELECT $_[0] FROM cache.summary_cache_stats WHERE summary = 'state'") };
my $answer = q{SELECT status, document->>'n', document->>'p', api.truth() FROM api.state()};
my $n = 0;

sub web { my ($sql) = @_; return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION web; $sql"); }

sub is_hit
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $node->polled(q{SELECT status || ' ' || (document->>'n') FROM api.state()}, "hit-revision $n", $name);
}

sub write_t { $n++; return $node->sql("UPDATE t SET n = $n"); }

is($node->sql(q{SELECT has_function_privilege('web', 'cache.summary_cache_fetch(text, text, boolean, text[])', 'EXECUTE')
	OR has_schema_privilege('web', 'cache', 'USAGE')}), 'f', 'the role has no right on the extension');
($wrapper) = $wrapper =~ /^(CREATE.*?;)$/ms;
for my $kind ('as the page has it', 'as its caller, without settings')
{
	if ($kind =~ /caller/)
	{
		$node->sql($wrapper =~ s/^CREATE/CREATE OR REPLACE/r =~ s/$environment//r =~ s/FROM /FROM cache./r);
		is($node->sql(q{SELECT prosecdef, proconfig IS NULL FROM pg_proc WHERE oid = 'api.state'::regproc}), 'f|t', "$kind: it is changed");
		$node->sql('GRANT USAGE ON SCHEMA cache TO web; GRANT EXECUTE ON FUNCTION cache.summary_cache_fetch TO web');
	}
	is_hit("$kind: a hit");
	my ($hits, $builds) = map { $counter->($_) } 'hits', 'builds_miss + builds_private + builds_background + builds_inline';
	is(web("BEGIN READ ONLY; $answer; $answer; COMMIT; $answer"), join("\n", ("hit-revision|$n|0|$n") x 3), "$kind: hits, in a read-only transaction as well");
	is($counter->('hits'), $hits + 3, '... as the counters say');
	is($counter->('builds_miss + builds_private + builds_background + builds_inline'), $builds, '... without a build');

	# what others commit meanwhile
	my $reader = Session->new($node);
	$reader->query('SET SESSION AUTHORIZATION web; BEGIN READ ONLY');
	is($reader->query($answer), "hit-revision|$n|0|$n", "$kind: a transaction reads");
	write_t();
	is_hit('... another commits');
	is($reader->query($answer), "hit-revision|$n|0|$n", '... and it has a hit with that');
	$node->sql('UPDATE e SET n = 1');
	like($reader->query($answer), qr/^(?:progress-section|hit-revision)\|$n\|1\|$n$/, '... what is rebuilt inline is new at once');
	$node->sql('UPDATE e SET n = 0');
	$reader->query('COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
	my $before = $n;
	$reader->query($answer);
	write_t();
	is_hit("$kind: another commits while a transaction in REPEATABLE READ is open");
	like($reader->query($answer), qr/^(?:private|hit-revision)\|$before\|0\|$before$/, '... which does not see it');
	$reader->query('COMMIT');

	# one's own writes: those of this statement are not in its snapshot, those before it are
	my $own = $n + 100;
	is($reader->query("BEGIN; UPDATE t SET n = $own; $answer"), "private|$own|0|$own", "$kind: one's own write");
	is($reader->query("WITH w AS (UPDATE t SET n = 999 RETURNING 1) $answer, w"), "private|$own|0|$own", '... but not that of the same statement');
	$reader->query('ROLLBACK');

	# Under writes, in one statement and so under one snapshot.  The document may be newer than that, not older.
	my $writer = Session->new($node);
	$writer->send_sql(qq{DO \$\$ BEGIN FOR i IN 1 .. 300 LOOP UPDATE t SET n = n + 1; COMMIT; PERFORM pg_sleep(random() * 0.02); END LOOP; END \$\$});
	my @answers = split /\n/, $reader->query(join(';', ($answer) x 2000));
	is($writer->result, '', "$kind: a writer commits 300 times");
	$n += 300;
	my @hits = grep { /^hit-revision/ } @answers;
	my @wrong = grep { my ($status, $said, $p, $truth) = split /\|/; $status ne 'stale' && $said < $truth } @answers;
	is(scalar @answers, 2000, '... beside 2000 reads');
	cmp_ok(scalar @hits, '>', 0, '... ' . @hits . ' of them hits');
	is_deeply(\@wrong, [], '... and none misses anything');
	$_->quit for $reader, $writer;
}

$node->stop;
done_testing();
