# Proves that a summary which always fails, takes too long, heeds no cancel, is too large or waits for a lock does not delay another one of its database: from a commit until that is fresh it takes no longer, in order of magnitude, than alone.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

# Time is what this test is about.  A refresh that waits for a hostile summary takes a good part of $hostile
# seconds; one that does not is a matter of milliseconds, on a busy machine of tenths of a second.
my $hostile = 5;
my $bound = 1;
my $commits = 20;

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', qq{
	summary_cache.eager_refresh = on
	summary_cache.max_workers = 2
	summary_cache.worker_idle_timeout = 1h
	summary_cache.refresh_rest = 0
	summary_cache.memory_limit = 2MB
	autovacuum = off
});
$node->start;

# Code of users, so that a worker runs it and no reader.
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE FUNCTION slow(seconds float) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN pg_sleep(seconds)::text; END $$;
	CREATE TABLE bystander (n int); INSERT INTO bystander VALUES (0);
	SELECT summary_cache_define('bystander', 'main', 'SELECT n FROM bystander');
	SELECT summary_cache_get('bystander');
} . deaf_function() . q{
	CREATE FUNCTION is_building(name text) RETURNS bool LANGUAGE sql AS $$
		SELECT pg_stat_clear_snapshot();
		SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type = 'summary_cache worker' AND state = 'active' AND query = format('refreshing summary "%s"', name))
	$$;
	-- Seconds from a commit until the bystander is current; no more than these are waited for.  The commit comes
	-- when a worker is at the hostile summary, if one is named.
	CREATE PROCEDURE follow(hostile text, max_seconds float, INOUT seconds float DEFAULT 0) LANGUAGE plpgsql AS $$
	DECLARE
		written int;
		committed timestamptz;
		fresh bool;
		answer text;
	BEGIN
		WHILE hostile IS NOT NULL AND NOT is_building(hostile) LOOP
			COMMIT;
			PERFORM pg_sleep(0.002);
		END LOOP;
		UPDATE bystander SET n = n + 1 RETURNING n INTO written;
		COMMIT;
		committed := clock_timestamp();
		LOOP
			SELECT state = 'current' INTO fresh FROM summary_cache_sections WHERE summary = 'bystander';
			seconds := extract(epoch FROM clock_timestamp() - committed);
			EXIT WHEN fresh OR seconds > max_seconds;
			PERFORM pg_sleep(0.001);
		END LOOP;
		IF fresh THEN
			SELECT status || ' ' || (document->>'n') INTO answer FROM summary_cache_fetch('bystander');
			IF answer IS DISTINCT FROM 'hit-revision ' || written THEN
				RAISE EXCEPTION '% instead of a hit with %', answer, written;
			END IF;
		END IF;
	END $$});

my $follower = Session->new($node);

# The median of some commits; no more of them than it takes to know that it is above the bound.
sub median_beside
{
	my ($summary) = @_;
	my @times;

	for (1 .. $commits)
	{
		push @times, $follower->query('CALL follow(' . (defined $summary ? "'$summary'" : 'NULL') . ", 2 * $hostile)");
		die $follower->error if $follower->error;
		last if grep({ $_ > $bound } @times) > $commits / 2;
	}
	@times = sort { $a <=> $b } @times;
	return $times[@times / 2];
}

sub in_ms { return sprintf '%.1f ms', 1000 * $_[0]; }

my $alone = median_beside(undef);
cmp_ok($alone, '<', $bound, 'from commit to fresh: alone (median of ' . in_ms($alone) . ')');

# Beside a summary that a worker is at.
sub is_fresh_beside
{
	my ($summary, $name) = @_;
	my $median = median_beside($summary);

	return cmp_ok($median, '<', $bound, "from commit to fresh: beside a summary that $name (median of " . in_ms($median) . ', alone ' . in_ms($alone) . ')');
}

# A summary of a table with its own name, whose n is 0 as long as it is to behave.
sub define
{
	my ($summary, $query) = @_;

	$node->sql(qq{
		CREATE TABLE $summary (n int); INSERT INTO $summary VALUES (0);
		SELECT summary_cache_define('$summary', 'main', \$\$$query FROM $summary\$\$);
		SELECT summary_cache_get('$summary')});
	return;
}

#
# What fails after long: readers who do not take no for an answer keep a worker at it
#
for my $case (
	[ 'fails', "SELECT slow($hostile * n) AS slow, 1 / (1 - n) AS n", 'always fails', '1h', q{last_error_sqlstate = '22012'} ],
	[ 'times', 'SELECT slow(1000 * n) AS slow', 'always runs into build_timeout', "${hostile}s",
		q{last_error_sqlstate = '57014' AND last_error NOT LIKE '%terminated'} ],
	[ 'deaf', 'SELECT deaf(n) AS n', 'heeds no cancel', "${hostile}s", q{last_error LIKE '%so its worker was terminated'} ],
	[ 'large', "SELECT slow($hostile * n) AS slow, repeat('x', 3000000 * n) AS text", 'always is too large', '1h', 'builds_not_cached > 0' ])
{
	my ($summary, $query, $name, $build_timeout, $shown) = @$case;

	$node->set_server('summary_cache.build_timeout', $build_timeout);
	define($summary, $query);
	my $reader = Session->new($node);
	$node->sql("UPDATE $summary SET n = 1");
	$reader->send_sql(join '; ', ("SELECT 1 FROM summary_cache_fetch('$summary', force_refresh => true)") x 1000);
	is_fresh_beside($summary, $name);
	$node->polled("SELECT $shown FROM summary_cache_stats WHERE summary = '$summary'", 't', '... which it does');
	# for ever
	$node->sql("SELECT summary_cache_drop('$summary')");
	$node->sql('SELECT pg_terminate_backend(' . $reader->pid . ')');
	$reader->quit;
	$node->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'");
	$node->polled("SELECT is_building('$summary')", 'f', '... and nobody is at it any more');
}

#
# What waits for a lock: an advisory one, so that its worker waits
#
define('advisory', 'SELECT n, pg_advisory_xact_lock_shared(42)::text AS gate');
my $holder = Session->new($node);
$holder->query('SELECT pg_advisory_lock(42)');
$node->sql('UPDATE advisory SET n = 1');
is_fresh_beside('advisory', 'always waits for an advisory lock');
$holder->query('SELECT pg_advisory_unlock(42)');
$node->becomes_current('postgres', 'advisory', '... until it gets it');

# ... and one of a table, by a worker that is the only one: it gives way, also where it might wait for long.  It
# takes the lock of a source itself, and that of a table which a function comes to need within the query.
$node->sql(q{
	CREATE TABLE also (n int); CREATE TABLE needed (n int);
	CREATE FUNCTION of_needed() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM needed); END'});
define('locked', 'SELECT n, (SELECT count(*) FROM also) AS m, of_needed()');
$node->set_server('summary_cache.max_workers', 1);
$node->polled('SELECT workers FROM summary_cache_server', '1', 'there is one worker');
for my $table ('locked', 'needed')
{
	$holder->query("BEGIN; LOCK TABLE $table IN ACCESS EXCLUSIVE MODE");
	$node->sql('INSERT INTO also VALUES (1)');
	my $gave_way = $node->sql('SELECT builds_gave_way FROM summary_cache_server');
	is_fresh_beside(undef, "always waits for the lock of table \"$table\", with one worker");
	$node->polled("SELECT builds_gave_way > $gave_way FROM summary_cache_server", 't', '... which it does');
	$holder->query('ROLLBACK');
	$node->becomes_current('postgres', 'locked', '... until it gets it');
}

my $n = $node->sql('SELECT n FROM bystander');
is($node->sql(fetch('bystander')), "hit-revision $n", 'the bystander has all commits');
is($node->sql(q{SELECT misses + private FROM summary_cache_stats WHERE summary = 'bystander'}), '1', '... and no reader had to build it');

$_->quit for $follower, $holder;
$node->stop;
done_testing();
