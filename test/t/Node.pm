# A server of a test: PostgreSQL::Test::Cluster, with what many tests ask of it.  And anybody_at_gate(),
# at_gate(), deaf_function(), fetch(), forced(), readers_waiting(), state_of() and wait_until(), which need
# no server.

package Node;

use strict;
use warnings;

# Nothing is imported from modules of tests: a function of theirs would hide the method of that name.
use Carp;
use Exporter 'import';
use PostgreSQL::Test::Cluster ();
use PostgreSQL::Test::Utils ();
use Test::More ();
use Time::HiRes qw(time usleep);

our @ISA = qw(PostgreSQL::Test::Cluster);
our @EXPORT = qw(anybody_at_gate at_gate deaf_function fetch forced readers_waiting state_of wait_until);

# Asks until it is so, for a bounded time; returns the last answer.
sub wait_until
{
	my ($is_so) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	my $so;

	usleep(50_000) until ($so = $is_so->()) || time > $until;
	return $so;
}

# The status and one key of a document, with a space between them: as SQL, for a Session as well.
sub fetch
{
	my ($summary, $key) = @_;
	return qq{SELECT status || ' ' || (document->>'} . ($key // 'n') . qq{') FROM summary_cache_fetch('$summary')};
}

# That key of a document that is built now.
sub forced
{
	my ($summary, $key) = @_;
	return qq{SELECT document->>'} . ($key // 'n') . qq{' FROM summary_cache_fetch('$summary', force_refresh => true)};
}

# What the cache has of a summary, as SQL that asks for no refresh.
sub state_of
{
	my ($summary) = @_;
	return "SELECT state FROM summary_cache_sections WHERE summary = '$summary'";
}

# How many sessions wait for an advisory lock of this number, as SQL; how many workers do.
sub anybody_at_gate
{
	my ($number) = @_;
	return qq{SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE locktype = 'advisory' AND objsubid = 1 AND objid = $number AND NOT granted};
}

sub at_gate
{
	my ($number) = @_;
	return anybody_at_gate($number) . q{ AND backend_type = 'summary_cache worker'};
}

# How many readers of this database wait for another's build, as SQL.  A worker may wait as well.
sub readers_waiting
{
	return q{SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE locktype = 'advisory' AND objsubid = 92 AND NOT granted
	AND datname = current_database() AND backend_type = 'client backend'};
}

# A function that heeds no cancel as long as its argument is greater than 0, as SQL.  It has to have begun:
# until then a cancel ends the query that calls it.
sub deaf_function
{
	return q{
	CREATE FUNCTION deaf(n int) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		WHILE n > 0 LOOP
			BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN NULL; END;
		END LOOP;
		RETURN n;
	END $$;
};
}

# The rows that a query gives; in which database.
sub sql
{
	my ($self, $query, $db) = @_;
	return $self->safe_psql($db // 'postgres', $query);
}

# Waits until a query gives what is expected.
sub poll
{
	my ($self, $query, $expected, $db) = @_;
	return $self->poll_query_until($db // 'postgres', $query, $expected // 't');
}

# The same as a test.
sub polled
{
	my ($self, $query, $expected, $name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return Test::More::ok($self->poll($query, $expected, $db), $name);
}

# Waits, as a test, until a summary is current in the cache of a database without a reader.
sub becomes_current
{
	my ($self, $db, $summary, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $self->polled(state_of($summary), 'current', $name, $db);
}

# Waits until a summary is a hit.
sub hit
{
	my ($self, $summary, $db) = @_;
	return $self->poll(qq{SELECT status FROM summary_cache_fetch('$summary')}, 'hit-revision', $db);
}

# The key n of a document, once that is a hit.
sub cached
{
	my ($self, $summary, $db) = @_;
	my $n;

	wait_until(sub { ($n) = $self->sql(fetch($summary), $db) =~ /^hit-revision (.*)/s }) or croak "$summary: never a hit";
	return $n;
}

# Waits until there is no worker.
sub no_worker
{
	my ($self) = @_;
	$self->poll(q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'summary_cache worker')})
		or croak 'the worker stays';
	return;
}

# Waits until no refresh is asked for either.
sub quiet
{
	my ($self, $db) = @_;
	$self->poll(q{SELECT NOT EXISTS (SELECT FROM summary_cache_stats WHERE refresh_requested)
		AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'summary_cache worker')}, 't', $db)
		or croak 'never quiet';
	return;
}

# Changes a setting of the server, back to what its file says if there is no value, and waits until it is
# shown: then whatever is started has it.
sub set_server
{
	my ($self, $name, $value, $shown) = @_;

	$self->sql('ALTER SYSTEM ' . (defined $value ? "SET $name = '$value'" : "RESET $name"));
	$self->reload;
	$self->poll("SHOW $name", $shown // $value) or croak "$name is not " . ($shown // $value);
	return;
}

# Waits for a server that restarts after a crash.  (psql may be gone before it has read its input, which
# poll_query_until() dies of.)
sub comes_back
{
	my ($self) = @_;
	return wait_until(sub { eval { ($self->psql('postgres', 'SELECT 1'))[0] == 0 } });
}

1;
