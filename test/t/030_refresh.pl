# Proves the refresh policy: builds are debounced and the last write is never forgotten, commits refresh without a reader, and listeners are told by the worker alone.

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
# debug1, since the postmaster then logs each worker that it starts
$node->append_conf('postgresql.conf', q{
	max_prepared_transactions = 5
	summary_cache.worker_idle_timeout = 300ms
	log_min_messages = debug1
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION summary_cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (0);
	SELECT summary_cache_define('s', 'main', 'SELECT n FROM t');
});

my $fetch = q{SELECT status, document->>'n' FROM summary_cache_fetch('s')};
my $builds = q{SELECT builds_background FROM summary_cache_stats};
my $worker = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'};

# How many workers have been started.  One that a session has asked for is started before the postmaster
# accepts the next connection, so it is in the log by then, even if it has left again.
sub starts
{
	$node->sql('SELECT 1');
	return scalar(() = slurp_file($node->logfile) =~ /starting background worker process "summary_cache worker/g);
}

#
# min_refresh_interval
#
$node->safe_psql('postgres', q{SELECT summary_cache_configure('s', 'min_refresh_interval', '1h')});
$node->safe_psql('postgres', $fetch);
$node->safe_psql('postgres', 'UPDATE t SET n = n + 1');
is($node->safe_psql('postgres', $fetch), 'stale|0', 'a write makes it stale');
$node->poll_query_until('postgres', "SELECT 1 = ($builds)") or die 'never refreshed';
is($node->safe_psql('postgres', $fetch), 'hit-revision|1', 'the first refresh comes at once');
for my $i (1 .. 20)
{
	$node->safe_psql('postgres', 'UPDATE t SET n = n + 1');
	$node->safe_psql('postgres', $fetch);
}
is($node->safe_psql('postgres', $builds), '1', 'none follows within the interval, however often it is read');
is($node->safe_psql('postgres', $fetch), 'stale|1', 'readers are served stale meanwhile');
$node->no_worker;
pass('the worker leaves, since the launcher knows when the next refresh is due');
is($node->safe_psql('postgres', 'SELECT requests_waiting FROM summary_cache_server'), '0', 'nothing waits for a worker before that');
is($node->safe_psql('postgres', "UPDATE t SET n = n + 1; $fetch"), 'miss|22', 'a session sees its own commit all the same');
$node->safe_psql('postgres', 'UPDATE t SET n = n + 1');
$node->safe_psql('postgres', $fetch);
$node->safe_psql('postgres', q{SELECT summary_cache_configure('s', 'min_refresh_interval', '200ms')});
# the option goes with the next document
$node->safe_psql('postgres', q{SELECT 1 FROM summary_cache_fetch('s', NULL, true)});
$node->safe_psql('postgres', 'SELECT summary_cache_reset_stats()');
my $writer = Session->new($node);
my $reader = Session->new($node);
$writer->send_sql(q{DO $$ BEGIN FOR i IN 1 .. 100 LOOP UPDATE t SET n = n + 1; COMMIT; PERFORM pg_sleep(0.01); END LOOP; END $$});
$reader->send_sql(q{DO $$ BEGIN FOR i IN 1 .. 100 LOOP PERFORM summary_cache_get('s'); COMMIT; PERFORM pg_sleep(0.01); END LOOP; END $$});
$_->result for $writer, $reader;
$node->poll_query_until('postgres', q{SELECT status = 'hit-revision' FROM summary_cache_fetch('s')}) or die 'never a hit';
is($node->safe_psql('postgres', $fetch), 'hit-revision|123', 'after a storm of writes the last one is followed by a refresh');
my $elapsed = $node->safe_psql('postgres', 'SELECT extract(epoch FROM clock_timestamp() - stats_reset) FROM summary_cache_stats');
cmp_ok($node->safe_psql('postgres', $builds), '<=', $elapsed / 0.2 + 1, 'no more refreshes than the interval allows');

#
# eager_refresh: nobody reads
#
$node->safe_psql('postgres', q{SELECT summary_cache_configure('s', 'min_refresh_interval', NULL)});
$node->safe_psql('postgres', q{SELECT summary_cache_configure('s', 'eager_refresh', 'on')});
$node->safe_psql('postgres', q{SELECT 1 FROM summary_cache_fetch('s', NULL, true)});
my $current = q{SELECT state = 'current' FROM summary_cache_sections};
for my $case (
	[ 'a cold worker', sub { $node->no_worker }, 'UPDATE t SET n = n + 1' ],
	[ 'a worker that is there', sub { }, 'UPDATE t SET n = n + 1' ],
	[ 'a prepared transaction', sub { }, q{BEGIN; UPDATE t SET n = n + 1; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'} ],
	[ 'one that is prepared for longer than a worker stays', sub {
			$node->safe_psql('postgres', q{BEGIN; UPDATE t SET n = n + 1; PREPARE TRANSACTION 'q'});
			$node->safe_psql('postgres', 'SELECT pg_sleep(0.5)');
		}, q{COMMIT PREPARED 'q'} ])
{
	my ($name, $before, $write) = @$case;
	$before->();
	my $n = $node->safe_psql('postgres', 'SELECT n + 1 FROM t');
	$node->safe_psql('postgres', $write);
	$node->poll_query_until('postgres', $current) or die "$name: never refreshed";
	is($node->safe_psql('postgres', $fetch), "hit-revision|$n", "eager, $name: the first reader has a hit");
}
$node->no_worker;
pass('the worker leaves when there is nothing to do');
my $starts = starts();
$node->sql('BEGIN; UPDATE t SET n = n + 1; ROLLBACK');
is(starts(), $starts, 'a rollback starts no worker');
$node->sql('UPDATE t SET n = n + 1');
is(starts(), $starts + 1, '... and a commit starts one');

#
# Both at once, by settings of the server, for a summary that has no options: a storm that nobody reads
#
$node->safe_psql('postgres', q{SELECT summary_cache_configure('s', 'eager_refresh', NULL)});
is($node->safe_psql('postgres', 'SELECT count(*) FROM summary_cache.option'), '0', 'no summary has an option');
$node->set_server('summary_cache.min_refresh_interval', '200ms');
$node->set_server('summary_cache.eager_refresh', 'on');
$node->safe_psql('postgres', q{SELECT 1 FROM summary_cache_fetch('s', NULL, true)});
$node->safe_psql('postgres', 'SELECT summary_cache_reset_stats()');
my $last = $node->safe_psql('postgres', 'SELECT n + 100 FROM t');
$node->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1 .. 100 LOOP UPDATE t SET n = n + 1; COMMIT; PERFORM pg_sleep(0.01); END LOOP; END $$});
$node->poll_query_until('postgres', $current) or die 'server settings: never refreshed';
my $built = $node->safe_psql('postgres', $builds);
# only then: the longer this takes, the more were allowed
my $ms = $node->safe_psql('postgres', 'SELECT 1000 * extract(epoch FROM clock_timestamp() - stats_reset) FROM summary_cache_stats');
cmp_ok($built, '<=', $ms / 200 + 2, 'server settings: no more refreshes than the interval allows');
is($node->safe_psql('postgres', 'SELECT builds_miss + builds_forced + builds_inline + builds_private FROM summary_cache_stats'), '0',
	'server settings: and nobody else built');
is($node->safe_psql('postgres', $fetch), "hit-revision|$last", 'server settings: the first reader has a hit on the last write');
$node->set_server('summary_cache.min_refresh_interval', undef, '0');
$node->set_server('summary_cache.eager_refresh', undef, 'off');
$node->no_worker;

# Once it is off again, for whatever was eager before: the document is the one that was.
$starts = starts();
$node->sql('UPDATE t SET n = n + 1');
is(starts(), $starts, 'switched off, a commit starts no worker');

# The same for a summary's own option.  Its change is a commit that starts a worker once more, which builds
# and looks what is eager still.
$node->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', 'on'); SELECT 1 FROM summary_cache_fetch('s', NULL, true)});
$node->no_worker;
$starts = starts();
$node->sql('UPDATE t SET n = n + 1');
cmp_ok(starts(), '>', $starts, 'an option of its own: a commit starts a worker');
$node->hit('s');
$node->no_worker;
$starts = starts();
$node->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', 'off')});
cmp_ok(starts(), '>', $starts, '... that it is switched off, too');
$node->hit('s');
$node->no_worker;
$starts = starts();
$node->sql("UPDATE t SET n = n + $_") for 1 .. 3;
is(starts(), $starts, '... after which no commit does');
$node->sql(q{SELECT summary_cache_configure('s', 'eager_refresh', NULL)});

#
# Past 80 % of max_stale_age a hit asks for a refresh, also in a session that has no copy of its own: a pool with
# a session per read, say.  A machine that stands still for that long gets another try.
#
$node->sql(q{SELECT summary_cache_configure('s', 'max_stale_age', '2s')});
for my $case ([ 'a session per read', '' ], [ 'no room for copies', 'SET summary_cache.local_memory_limit = 0; ' ])
{
	my ($name, $set) = @$case;
	my $refreshed = 0;
	for (my $try = 0; $try < 5 && !$refreshed; $try++)
	{
		$node->sql(q{SELECT 1 FROM summary_cache_fetch('s', NULL, true); SELECT summary_cache_reset_stats()});
		my $status;
		do
		{
			$status = $node->sql("$set SELECT status FROM summary_cache_fetch('s')");
			$refreshed = $node->sql($builds);
		} while ($status =~ /^hit/ && !$refreshed);
	}
	is($refreshed, 1, "$name: refreshed before it is too old");
}
$node->sql(q{SELECT summary_cache_configure('s', 'max_stale_age', NULL)});

#
# NOTIFY
#
# of a table that was never eager
$node->sql(q{
	CREATE TABLE v (n int);
	INSERT INTO v VALUES (0);
	SELECT summary_cache_define('v', 'main', 'SELECT n FROM v')});
$node->sql(q{SELECT summary_cache_get('v')});
$node->no_worker;
$starts = starts();
$node->sql('UPDATE v SET n = n + 1');
is($node->sql(q{SELECT summary_cache_get('v', true)->>'n'}), '1', 'a reader publishes');
is(starts(), $starts, '... which starts no worker while nobody listens');
$node->sql(q{SELECT summary_cache_drop('v')});
$node->no_worker;

my $listener = Session->new($node);
$listener->query('LISTEN summary_cache');

# What has come, once there is some: payloads, each with the PID of who sent it.
sub told
{
	my ($what) = @_;
	my @notifications;

	wait_until(sub {
		my $out = $listener->query('SELECT');
		push @notifications, [ $1, $2 ]
		  while $out =~ /notification "summary_cache" with payload "(.*?)" received from server process with PID (\d+)/g;
		return scalar @notifications;
	}) or die "$what: never told";
	return @notifications;
}

# The one of a document, by the time at which it was built; whatever comes is in @heard.
my $built_as_told = q{trim('"' FROM to_json(built_at)::text)};
my @heard;
sub told_of
{
	my ($what, $built_at) = @_;

	while (1)
	{
		my ($notification) = grep { $_->[0] =~ /"built_at":"\Q$built_at\E"/ } @heard;
		return $notification if $notification;
		push @heard, told("$what, $built_at");
	}
}

$node->safe_psql('postgres', 'UPDATE t SET n = n + 1');
my $published = $node->safe_psql('postgres', qq{SELECT $built_as_told FROM summary_cache_fetch('s', NULL, true)});
# nothing that depends on the content: who guesses it could tell by an etag
is((told('a reader'))[0][0], qq({"summary":"s","built_at":"$published"}), 'told of what a reader published, but not what that is');
my $xact = $node->safe_psql('postgres', q{
	BEGIN;
	SELECT count(*) FROM summary_cache_fetch('s', NULL, true);
	SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none');
	PREPARE TRANSACTION 'reader';
	ROLLBACK PREPARED 'reader'});
is($xact, "1\nnone", 'publishing assigns no xid, and does not stand in the way of PREPARE TRANSACTION');
$node->safe_psql('postgres', 'UPDATE t SET n = n + 1');
like($node->safe_psql('postgres', $fetch), qr/^stale\|/, 'a refresh is asked for');
my $payload = (told('the worker'))[0][0];
is($node->safe_psql('postgres', qq{SELECT $built_as_told FROM summary_cache_fetch('s')}), $payload =~ /"built_at":"([^"]+)"/ ? $1 : '',
	'told of what the worker published');
$node->safe_psql('postgres', q{SELECT 1 FROM summary_cache_fetch('s', NULL, true)});
$node->no_worker;
unlike($listener->query('SELECT'), qr/notification/, 'the same content is not told again');

# by whom: a worker that stays can be looked at
$node->set_server('summary_cache.worker_idle_timeout', '1h');
$node->safe_psql('postgres', 'UPDATE t SET n = n + 1');
my ($publisher, $built_at) = split /\|/,
	$node->safe_psql('postgres', qq{SELECT pg_backend_pid(), $built_as_told FROM summary_cache_fetch('s', NULL, true)});
my $notification = told_of('a reader', $built_at);
is($node->safe_psql('postgres', "SELECT backend_type FROM pg_stat_activity WHERE pid = $notification->[1]"), 'summary_cache worker',
	'the worker tells');
isnt($notification->[1], $publisher, '... and not the session that published');

# an inline section
$node->safe_psql('postgres', q{
	CREATE TABLE u (m int);
	INSERT INTO u VALUES (0);
	SELECT summary_cache_define('i', 'progress', 'SELECT m FROM u', '{u}', 'inline');
	SELECT summary_cache_get('i');
});
told('a new summary');
# Write what it shows, and read it in another session; the status and the time of what that publishes.
sub rebuild_inline
{
	$node->safe_psql('postgres', 'UPDATE u SET m = m + 1');
	return split /\|/, $node->safe_psql('postgres', qq{SELECT status, $built_as_told FROM summary_cache_fetch('i')});
}
(my $status, $built_at) = rebuild_inline();
is($status, 'progress-section', 'a reader rebuilds an inline section');
$notification = told_of('an inline section', $built_at);
is($notification->[0], qq({"summary":"i","built_at":"$built_at"}), '... which is told');
is($node->safe_psql('postgres', "SELECT backend_type FROM pg_stat_activity WHERE pid = $notification->[1]"), 'summary_cache worker',
	'... by the worker, too');

# a private answer: other content than any document that is published
$node->safe_psql('postgres', q{SELECT 1 FROM summary_cache_fetch('s', NULL, true)});
my $private = $node->safe_psql('postgres', qq{
	BEGIN;
	UPDATE t SET n = n + 1;
	SELECT status, $built_as_told FROM summary_cache_fetch('s');
	UPDATE t SET n = n + 1;
	COMMIT});
like($private, qr/^private\|[-0-9T:.+]+$/, 'a session that writes has a private answer');
$private =~ s/^private\|//;
# the worker looks at every summary between two documents that it tells of
@heard = ();
told_of('another summary', (rebuild_inline())[1]) for 1 .. 2;
is(scalar(grep { $_->[0] !~ /^\{"summary":"i",/ } @heard), 0, '... which nobody is told of');
$built_at = $node->safe_psql('postgres', qq{SELECT $built_as_told FROM summary_cache_fetch('s', NULL, true)});
isnt($built_at, $private, 'what is published next is another document');
told_of('the next document', $built_at);
is(scalar(grep { $_->[0] =~ /"built_at":"\Q$private\E"/ } @heard), 0, '... and only that is told of');

# a name that JSON has to escape
$built_at = $node->safe_psql('postgres', qq{
	SELECT summary_cache_define('a"b\\c', 'main', 'SELECT -n AS minus FROM t');
	SELECT $built_as_told FROM summary_cache_fetch('a"b\\c')}) =~ s/^\s+//r;
$notification = told_of('an odd name', $built_at);
is($node->safe_psql('postgres', "SELECT p->>'summary', p->>'built_at' FROM CAST(\$payload\$$notification->[0]\$payload\$ AS json) p"),
	qq{a"b\\c|$built_at}, 'a payload is JSON, whatever the summary is called');
$node->safe_psql('postgres', q{SELECT summary_cache_drop('a"b\c'); SELECT summary_cache_drop('i')});
$node->set_server('summary_cache.worker_idle_timeout', undef, '300ms');
$node->no_worker;
$listener->quit;

#
# Slow builds
#
my $offset = -s $node->logfile;
$node->safe_psql('postgres', q{SET summary_cache.log_min_build_duration = 0; SELECT summary_cache_get('s', true)});
like(slurp_file($node->logfile, $offset), qr/LOG:  built section "main" of summary "s" in [\d.]+ ms, \d+ bytes/, 'builds are logged');

$node->stop;
done_testing();
