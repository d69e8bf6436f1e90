# Proves that the service of doc/http.md serves the summary, its changes and the database's absence as that page says.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compress::Zlib ();
use Node;
use PostgreSQL::Test::Utils;
use Service;
use Session;
use Test::More;
use Time::HiRes qw(time);

my $timeout = $PostgreSQL::Test::Utils::timeout_default;

if (my $why = cannot_serve()) { plan skip_all => $why; }

my @frozen;

END
{
	my $status = $?;
	kill 'CONT', @frozen;
	$? = $status;
}

sub get { return request('main', 'GET', '/state/summary', @_) }
sub code { return get(@_)->{code} }

#
# A summary of a table in the background, of another inline.  A build waits while somebody holds
# advisory lock 42 of the database.  The role has the rights that the page gives it.
#
my $node = Node->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "summary_cache.notify = off\nmax_connections = 50");
$node->start;
$node->safe_psql('postgres', q{
	CREATE SCHEMA cache;
	CREATE EXTENSION summary_cache SCHEMA cache;
	ALTER DATABASE postgres SET search_path = public, cache;
});
my ($grants) = slurp_file("$examples/../http.md") =~ /^```sql\n(.*?GRANT EXECUTE.*?)^```/ms;
$node->safe_psql('postgres', $grants);
$node->safe_psql('postgres', q{
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (1);
	CREATE TABLE e (n int);
	SELECT summary_cache_define('state', 'core', $$
		SELECT (SELECT n FROM t) AS n, pg_advisory_xact_lock_shared(42)::text AS gate,
		       '{"big": 123456789012345678901234567890, "a": 1, "a": 2.50}'::json AS verbatim,
		       'Zürich €' AS text, repeat('x', 100000) AS long $$);
	SELECT summary_cache_define('state', 'progress', 'SELECT (SELECT max(n) FROM e) AS p', refresh => 'inline');
	CREATE TABLE tasks (project bigint, n int);
	INSERT INTO tasks VALUES (1, 10), (42, 20);
	SELECT summary_cache_define('project', 'tasks', 'SELECT count(*) AS tasks, sum(n) AS n, 10 / ($1 - 13) AS tenth, repeat(''x'', 1000) AS long FROM tasks WHERE project = $1',
		parameters => '{project bigint}');
	SELECT summary_cache_configure('project', 'encodings', 'gzip');
});
my $fetched_etag = 'SELECT etag FROM summary_cache_fetch()';
my $stats = sub { $node->safe_psql('postgres', "SELECT $_[0] FROM summary_cache_stats WHERE summary = 'state'") };

#
# It comes up without the database
#
$node->stop;
start_service('main', $node, REFRESH_TOKEN => 'open sesame', CONNECT_TIMEOUT => $timeout,
	COMMAND_TIMEOUT => $timeout, EVENTS_POLL => 3600);
my $answer = get();
is($answer->{code}, 503, 'no database: 503');
like($answer->{'retry-after'}, qr/^\d+$/, '... with Retry-After');
is($answer->{'cache-control'}, 'no-store', '... not to be stored');
unlike($answer->{body}, qr/Errno|psql|$examples/i, '... without details');
is(request('main', 'GET', '/healthz')->{code}, 503, '... and not healthy');
$node->start;
ok(wait_until(sub { request('main', 'GET', '/healthz')->{code} == 200 }), 'with the database it is healthy');

#
# 200, HEAD and 304.  Nothing reads from here on but what the test sends: the service was told of
# no document, and has no event streams.
#
ok(wait_until(sub { get()->{status} eq 'hit-revision' }), 'hit-revision');
my $events_backend = q{SELECT count(*) FROM pg_stat_activity
	WHERE application_name = 'state_service events' AND state = 'idle' AND query ~ 'summary_cache_fetch'};
$node->poll_query_until('postgres', $events_backend, '1') or die 'the service does not listen';

$answer = get();
my $etag = $node->safe_psql('postgres', $fetched_etag);
is($answer->{code}, 200, 'GET: 200');
is($answer->{etag}, qq{"$etag"}, '... the etag, quoted');
is($answer->{'cache-control'}, 'private, max-age=5, stale-while-revalidate=10', '... Cache-Control');
is($answer->{'cache-status'}, 'summary_cache; hit; detail=hit-revision', '... Cache-Status');
is($answer->{'content-type'}, 'application/json', '... application/json');
is($answer->{body}, $node->safe_psql('postgres', 'SELECT document FROM summary_cache_fetch()'),
	'... and the bytes that the database has');
is($answer->{'content-length'}, length $answer->{body}, '... all of them');

$node->poll_query_until('postgres', q{SELECT clock_timestamp() - built_at > '2s' FROM summary_cache_fetch()});
is(get()->{age}, '0', '... of age 0 when it is older, since it is proven current');

my $head = request('main', 'HEAD', '/state/summary');
is($head->{body}, '', 'HEAD: no body');
is_deeply([ @$head{qw(code etag age cache-control cache-status content-type content-length)} ],
	[ @$answer{qw(code etag age cache-control cache-status content-type content-length)} ], '... and the headers of GET');

my $other = '0123456789abcdef' x 2;
for my $case (
	[ 'exact', qq{If-None-Match: "$etag"} ],
	[ 'weak', qq{If-None-Match: W/"$etag"} ],
	[ 'list', qq{If-None-Match: "a,b", "$other", "$etag"} ],
	[ 'list of weak ones, unspaced', qq{If-None-Match: W/"$other",W/"$etag"} ],
	[ 'two headers', qq{If-None-Match: "$other"}, qq{If-None-Match: "$etag"} ],
	[ '*', 'If-None-Match: *' ])
{
	my ($name, @headers) = @$case;
	for my $method ('GET', 'HEAD')
	{
		my $same = request('main', $method, '/state/summary', @headers);
		is($same->{code}, 304, "$method, If-None-Match $name: 304");
		is_deeply([ @$same{qw(body etag age cache-control cache-status content-length)} ],
			[ '', @$answer{qw(etag age cache-control cache-status)}, undef ], '... with the headers, without a body');
	}
}
is(code("If-None-Match: $_"), 200, "If-None-Match: $_: 200")
	for qq{"$other"}, qq{"$other", "abc"}, $etag, qq{"$etag}, qq{"x$etag"}, '"*"', qq{"\U$etag\E"}, '';

#
# Forms: what Accept-Encoding asks for, if the database has it
#
is($answer->{vary}, 'Accept-Encoding', 'Vary says what an answer depends on');
is($answer->{'content-encoding'}, undef, '... and no encoding is said of the document');
is(get('Accept-Encoding: gzip')->{'content-encoding'}, undef, 'the database has no form: the document');
is(code('Accept-Encoding: identity;q=0, gzip'), 406, '... which a client may refuse');
my $has_zstd = $node->psql('postgres', q{SELECT summary_cache_configure('state', 'encodings', 'zstd')}) == 0;
my @encodings = ('gzip', $has_zstd ? 'zstd' : ());
$node->safe_psql('postgres', q{SELECT summary_cache_configure('state', 'encodings', '} . join(',', @encodings) . q{')});
for my $encoding (@encodings)
{
	ok(wait_until(sub { (get("Accept-Encoding: $encoding")->{'content-encoding'} // '') eq $encoding }), "$encoding: there is a form");
	my ($bytes) = $node->safe_psql('postgres', qq{SELECT encode(body, 'hex') FROM summary_cache_fetch_encoded('state', '$encoding')});
	my $got = get("Accept-Encoding: $encoding");
	is(unpack('H*', $got->{body}), $bytes, '... sent as the database has it');
	is(Compress::Zlib::memGunzip(my $copy = $got->{body}), $answer->{body}, '... which is the document') if $encoding eq 'gzip';
	is($got->{'content-length'}, length $got->{body}, '... all of it');
	is("$got->{etag} $got->{vary} $got->{'content-type'}", qq{"$etag-$encoding" Accept-Encoding application/json}, '... with an etag of its own');
	my $only = request('main', 'HEAD', '/state/summary', "Accept-Encoding: $encoding");
	is_deeply([ @$only{qw(body etag content-encoding content-length vary)} ], [ '', @$got{qw(etag content-encoding content-length vary)} ], '... and HEAD says the same');

	my $same = get("Accept-Encoding: $encoding", "If-None-Match: $got->{etag}");
	is(join(' ', map { $_ // 'none' } @$same{qw(code etag vary body content-encoding)}), qq{304 "$etag-$encoding" Accept-Encoding  none}, '... which is known');
	$same = get("Accept-Encoding: $encoding", qq{If-None-Match: W/"$other-$encoding", W/"$etag-$encoding"});
	is("$same->{code} $same->{etag}", qq{304 "$etag-$encoding"}, '... in a list of weak ones, too');
	$same = get("Accept-Encoding: $encoding", qq{If-None-Match: "$etag"});
	is("$same->{code} $same->{etag}", qq{304 "$etag"}, '... and so is the document\'s');
	is(code(qq{If-None-Match: "$etag-$encoding"}), 200, '... but a client that does not take it gets the document');
	is(code("Accept-Encoding: $encoding", qq{If-None-Match: "$other-$encoding"}), 200, 'another etag is no match');
}
for my $case (
	[ '', '' ], [ 'gzip', 'gzip' ], [ 'x-gzip', 'gzip' ], [ 'GZIP', 'gzip' ], [ 'gzip;q=0', '' ], [ 'gzip;q=0.000', '' ],
	[ 'gzip;q=0.001', 'gzip' ], [ 'gzip ; Q=1.000', 'gzip' ], [ 'gzip;q=2', '' ], [ 'gzip;q=', '' ], [ 'gzip;level=9', '' ],
	[ 'identity', '' ], [ 'identity;q=0.5, gzip;q=0.4', '' ], [ 'identity;q=0.5, gzip;q=0.6', 'gzip' ], [ 'identity, gzip', 'gzip' ],
	[ 'br', '' ], [ 'br, gzip;q=0.2', 'gzip' ], [ '*;q=0, gzip', 'gzip' ], [ 'identity;q=0, gzip', 'gzip' ],
	[ '*', $encodings[-1] ], [ '*;q=0.1', $encodings[-1] ], [ '*, gzip;q=0', $has_zstd ? 'zstd' : '' ], [ '*, zstd;q=0', 'gzip' ],
	[ 'gzip, deflate, br, zstd', $encodings[-1] ], [ 'zstd;q=0.5, gzip', 'gzip' ], [ 'zstd, gzip;q=0.5', $encodings[-1] ],
	[ 'identity;q=0', 406 ], [ '*;q=0', 406 ], [ 'br, *;q=0', 406 ], [ '*;q=0, identity', '' ], [ '*;q=0, identity;q=0.1, gzip;q=0.05', '' ])
{
	my ($accept, $expected) = @$case;
	my $got = get("Accept-Encoding: $accept");
	is($got->{code} == 200 ? $got->{'content-encoding'} // '' : $got->{code}, $expected, "Accept-Encoding: $accept");
	is($got->{vary}, 'Accept-Encoding', '... and what it depends on');
}
is(get('Accept-Encoding: br', 'Accept-Encoding: gzip')->{'content-encoding'}, 'gzip', 'two headers are one list');
$node->safe_psql('postgres', q{SELECT summary_cache_configure('state', 'encodings', 'gzip')});
ok(wait_until(sub { get()->{status} eq 'hit-revision' }), 'hit-revision again');

#
# The other statuses
#
sub answers
{
	my ($status, $name, @headers) = @_;
	my $got = get(@headers);
	is("$got->{code} $got->{status}", $status, $name);
	return $got;
}

$node->safe_psql('postgres', 'INSERT INTO e VALUES (7)');
my $newer = answers('200 progress-section', 'an inline section has changed: new content', qq{If-None-Match: "$etag"});
isnt($newer->{etag}, qq{"$etag"}, '... has a new etag');
like($newer->{body}, qr/"p":7\b/, '... and is new');
my $form;
ok(wait_until(sub { $form = get('Accept-Encoding: gzip'); $form->{'content-encoding'} }), '... of which there is a form soon');
like(Compress::Zlib::memGunzip($form->{body}), qr/"p":7\b/, '... that is new as well');
like($newer->{'cache-status'}, qr/^summary_cache; fwd=partial;/, '... which the cache did not have');
answers('304 hit-revision', '... which is then known', "If-None-Match: $newer->{etag}");

my $holder = Session->new($node);
$holder->query('SELECT pg_advisory_lock(42)');
$node->safe_psql('postgres', 'UPDATE t SET n = 2');
my $stale = answers('200 stale', 'a background section has changed: stale');
is($stale->{etag}, $newer->{etag}, '... as it was');
answers('304 stale', '... and not sent again', "If-None-Match: $newer->{etag}");
my ($built_at, $since) = split /\|/, $node->safe_psql('postgres', q{SELECT built_at, stale_since FROM summary_cache_fetch_encoded()});
is(get('Accept-Encoding: gzip')->{etag}, $newer->{etag} =~ s/"$/-gzip"/r, '... in its form as well');
ok(wait_until(sub { get()->{age} >= 1 }), '... of an age that grows');
my $age = get()->{age};
cmp_ok($age, '<=', $node->safe_psql('postgres', "SELECT ceil(extract(epoch FROM clock_timestamp() - '$since'))"),
	'... since the change');
cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM '$since'::timestamptz - '$built_at')"), '>', 0, '... and not since it was built');
$holder->query('SELECT pg_advisory_unlock(42)');
ok(wait_until(sub { get()->{status} eq 'hit-revision' }), '... until it is refreshed');
$newer = answers('200 hit-revision', 'the old etag is no match', "If-None-Match: $newer->{etag}");
like($newer->{body}, qr/"n":2\b/, '... of the new content');
is($newer->{age}, '0', '... of age 0 again');

$node->safe_psql('postgres', 'SELECT summary_cache_invalidate()');
is(answers('200 miss', 'nothing cached: miss')->{etag}, $newer->{etag}, '... and the same content has the same etag');

$node->append_conf('postgresql.conf', 'summary_cache.enabled = off');
$node->reload;
ok(wait_until(sub { get()->{status} eq 'private' }), 'switched off: private');
is(answers('200 private', 'which is computed')->{body}, $newer->{body}, '... to the same bytes');
answers('304 private', '... and need not be sent', "If-None-Match: $newer->{etag}");
$node->append_conf('postgresql.conf', 'summary_cache.enabled = on');
$node->reload;
ok(wait_until(sub { get()->{status} eq 'hit-revision' }), 'switched on');

#
# Forced refresh
#
sub refresh { return request('main', 'GET', '/state/summary?refresh=1', @_) }

my $forced = $stats->('builds_forced');
is(refresh("Authorization: $_")->{code}, 403, "refresh with '" . s/[^ -~]/?/gr . "': 403")
	for '', 'Bearer', 'Bearer ', 'Bearer wrong', 'Basic open sesame', 'open sesame', "Bearer open sesam\xe9";
is(refresh()->{code}, 403, '... and without authorization');
is($stats->('builds_forced'), $forced, '... builds nothing');
$answer = refresh('Authorization: bearer open sesame');
is("$answer->{code} $answer->{status}", '200 miss', 'refresh with the token');
is($answer->{'cache-control'}, 'no-store', '... not to be stored');
is(refresh('Authorization: Bearer open sesame', "If-None-Match: $answer->{etag}")->{code}, 304, '... conditional, too');
is($stats->('builds_forced'), $forced + 2, '... builds');
is(request('main', 'GET', '/state/summary?refresh=0')->{status}, 'hit-revision', 'refresh=0 is none');
for my $case (
	[ 'GET', '/state/nothing', 404 ],
	[ 'POST', '/state/summary', 405 ],
	[ 'HEAD', '/state/events', 405 ],
	[ 'GET', '/state/summary?refresh=maybe', 422 ],
	# the framework would redirect these to the Host that the request names
	[ 'GET', '/state/summary/', 404 ],
	[ 'GET', '/state/events/', 404 ],
	[ 'GET', '/healthz/', 404 ])
{
	my ($method, $target, $code) = @$case;
	my $error = request('main', $method, $target);
	is("$error->{code} $error->{'cache-control'}", "$code no-store", "$method $target is an error, not to be stored");
	is($error->{location}, undef, '... that leads nowhere else');
}
# uvicorn itself answers these
for my $case (
	[ 'what is no HTTP', "what is this?\r\n\r\n" ],
	[ 'another protocol', "GET /state/events HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" ])
{
	my ($name, $text) = @$case;
	my $error = response(send_text('main', $text));
	is("$error->{code} $error->{'cache-control'}", '400 no-store', "$name is an error, not to be stored");
}

# An etag in the address changes nothing but what may be stored: under an etag only that document
for my $case ([ 'its etag', get()->{etag} =~ tr/"//dr, get()->{'cache-control'} ], [ 'another etag', $other, 'no-store' ],
	[ 'what is no etag', '%22', 'no-store' ], [ 'nothing', '', 'no-store' ])
{
	my ($name, $version, $may) = @$case;
	for my $known ('', get()->{etag})
	{
		my $said = request('main', 'GET', "/state/summary?v=$version", "If-None-Match: $known");
		is("$said->{code} $said->{etag} $said->{'cache-control'}", ($known ? '304 ' : '200 ') . get()->{etag} . " $may",
			"$name in the address" . ($known && ', and known'));
	}
}

#
# A document for each project
#
sub project { my ($value, @headers) = @_; return request('main', 'GET', "/projects/$value/summary", @headers) }
sub of_project { return $node->safe_psql('postgres', "SELECT $_[0] FROM summary_cache_fetch('project', parameters => '{$_[1]}')") }

my $its;
for my $value (42, 1, 3)
{
	ok(wait_until(sub { project($value)->{status} eq 'hit-revision' }), "project $value: hit-revision");
	$its = project($value);
	is("$its->{code} $its->{etag} $its->{body}", '200 "' . of_project('etag', $value) . '" ' . of_project('document', $value), '... with the bytes and the etag of the database');
	is("$its->{age} $its->{'cache-control'} $its->{vary} $its->{'content-type'}",
		'0 private, max-age=5, stale-while-revalidate=10 Accept-Encoding application/json', '... and the headers of the other summary');
	my $same = project($value, "If-None-Match: $its->{etag}");
	is("$same->{code} $same->{etag} $same->{body}", "304 $its->{etag} ", '... which is then known');
	$head = request('main', 'HEAD', "/projects/$value/summary");
	is("$head->{code} $head->{etag} $head->{body}", "200 $its->{etag} ", '... and HEAD has the headers');
}
like(project(42)->{body}, qr/"tasks":1,"n":20,/, 'each has its own');
like(project(3)->{body}, qr/"tasks":0,/, '... also one that has no rows');
my %before = map { $_ => project($_)->{etag} } 1, 42;
is(project($_)->{etag}, $before{42}, "an equal value is the same document: $_") for '042', '%2042', '+42';
$node->safe_psql('postgres', 'UPDATE tasks SET n = n + 1 WHERE project = 42');
is(project(1, "If-None-Match: $before{1}")->{status}, 'hit-revision', 'a write to another project leaves it a hit');
ok(wait_until(sub { project(42, "If-None-Match: $before{42}")->{code} == 200 }), '... and that project has a new document soon');
like(project(42)->{body}, qr/"n":21,/, '... with the write in it');
ok(wait_until(sub { (project(42, 'Accept-Encoding: gzip')->{'content-encoding'} // '') eq 'gzip' }), 'there is a form of it');
like(Compress::Zlib::memGunzip(project(42, 'Accept-Encoding: gzip')->{body}), qr/"n":21,/, '... which is the document');
for my $value ('x', '4.2', '99999999999999999999', '%00', '42%00', 'null', '%7B42%7D', "'", '%E2%82%AC')
{
	$its = project($value);
	is("$its->{code} $its->{'cache-control'}", '400 no-store', "project $value: 400, not to be stored");
	unlike($its->{body}, qr/bigint|parameter|psql/, '... without details');
}
$its = project(13);
is("$its->{code} $its->{'cache-control'}", '500 no-store', 'the query of a project fails, by an error of the same class: 500');
is(project($_)->{code}, 404, "project '$_': 404") for '', '42%2F';
is(request('main', 'GET', '/projects/42/summary?refresh=1')->{code}, 403, 'refresh without the token: 403');
$its = request('main', 'GET', '/projects/42/summary?refresh=1', 'Authorization: Bearer open sesame');
is("$its->{code} $its->{status} $its->{'cache-control'}", '200 miss no-store', '... with it a build');
is(request('main', 'GET', '/projects/42/summary?v=' . project($_)->{etag} =~ tr/"//dr)->{'cache-control'}, $_ == 42 ? project(42)->{'cache-control'} : 'no-store',
	"the etag of project $_ in the address of 42") for 42, 1;

#
# Fifty at once, of what is not cached
#
$holder->query('SELECT pg_advisory_lock(42)');
$node->safe_psql('postgres', 'SELECT summary_cache_invalidate()');
my $built = $stats->('builds_miss + builds_background + builds_inline');
my @sockets = map { send_request('main', 'GET', '/state/summary') } 1 .. 50;
ok($node->poll_query_until('postgres', readers_waiting(), '9'), 'ten connections, nine of them wait for one');
$holder->query('SELECT pg_advisory_unlock(42)');
my %different = map { $_ => 1 } map { my $r = response($_); "$r->{code} $r->{etag} " . length $r->{body} } @sockets;
is_deeply([ keys %different ], [ "200 $answer->{etag} " . length $newer->{body} ], 'fifty requests have one answer');
is($stats->('builds_miss + builds_background + builds_inline'), $built + 1, '... from one build');

#
# Events
#
$node->append_conf('postgresql.conf', 'summary_cache.notify = on');
$node->reload;
$node->safe_psql('postgres', q{SELECT summary_cache_configure('state', 'eager_refresh', 'on')});

my @streams = map { open_stream('main') } 1 .. 5;
$etag = $node->safe_psql('postgres', $fetched_etag);
ok(told($_, $etag), 'a new stream is told the etag') for @streams;
is($node->safe_psql('postgres', $events_backend), '1', 'all streams share a connection');

# Write, as somebody else, until the document has a new etag; which no read asked for.  The stream
# may be another than the first, and so may the server that is written to.
my $n = 10;
sub changes
{
	my ($name, $stream, $server) = @_;
	$stream ||= $streams[0];
	my $before = (etags_of($stream))[-1];
	my $now;

	($server || $node)->safe_psql('postgres', 'UPDATE t SET n = ' . ++$n);
	ok(eval { read_until($stream, sub { ($now = (etags_of($stream))[-1]) ne $before }) }, "$name: a write is pushed");
	my $said = request($stream->{service}, 'GET', '/state/summary');
	is($said->{etag}, qq{"$now"}, '... with the etag of the document');
	like($said->{body}, qr/"n":$n\b/, '... that has the write in it');
	return $now;
}

$etag = changes('notified');
ok(told($_, $etag), '... to every stream') for @streams[ 1 .. 4 ];
like($streams[0]->{text}, qr/^id: $etag\r?\nevent: summary\r?\ndata: /m, '... with the etag as its id');

my $resumed = open_stream('main', "Last-Event-ID: $etag");
$etag = changes('after a stream came back');
ok(told($resumed, $etag), 'a stream that comes back is told');
is_deeply([ etags_of($resumed) ], [$etag], '... only what it does not know');

my $listener = q{SELECT pid FROM pg_stat_activity WHERE application_name = 'state_service events'};
my $pid = $node->safe_psql('postgres', $listener);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$etag = changes('the connection that listened was terminated');
isnt($node->safe_psql('postgres', $listener), $pid, '... and is replaced');

# A stream that is not read
my ($out, $err) = run_command([ $python, '-B', '-c', <<'PYTHON', $examples ]);
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import state_service

async def main():
    feed = state_service.Feed()
    feed._tell("first")
    stream = feed.stream(None)
    await anext(stream)
    told = [await anext(stream)]
    for n in range(1000):
        feed._tell(str(n))
    feed._tell("newest")
    told.append(await anext(stream))
    print(*(line[4:] for event in told for line in event.splitlines() if line.startswith("id: ")))

asyncio.run(main())
PYTHON
is($out, 'first newest', 'a stream that is slow skips etags') or note $err;

#
# The database goes, and comes back with other content
#
$node->stop('fast');
$answer = get();
is("$answer->{code} $answer->{'cache-control'}", '503 no-store', 'the database is stopped: 503');
ok($answer->{'retry-after'} > 0, '... with Retry-After');
is(request('main', 'GET', '/healthz')->{code}, 503, '... and not healthy');
push @streams, open_stream('main');
ok(told($streams[-1], $etag), 'a stream is told what was last known');
$node->start;
ok(wait_until(sub { get()->{code} == 200 }), 'the database is back');
$etag = changes('... streams, too');
ok(told($_, $etag), '... to every stream') for @streams;

$node->stop('immediate');
is(code(), 503, 'the database has crashed: 503');
$node->start;
ok(wait_until(sub { get()->{code} == 200 }), 'the database is back');
my %codes = map { $_ => 1 } map { response($_)->{code} } map { send_request('main', 'GET', '/state/summary') } 1 .. 30;
is_deeply([ keys %codes ], [200], '... for all connections');
changes('... after a crash');

#
# An error that will not pass by itself
#
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION summary_cache_fetch_encoded FROM state_service');
$answer = get();
is("$answer->{code} $answer->{'cache-control'}", '500 no-store', 'without the right to read: 500');
unlike($answer->{body}, qr/permission|summary/, '... without details');
like(slurp_file($services{main}->{log}), qr/permission denied for function summary_cache_fetch_encoded/, '... which are in the log');
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION summary_cache_fetch_encoded TO state_service');
is(code(), 200, '... and with it all is well');
changes('... for streams, too');

#
# A standby, which refuses LISTEN, and its promotion
#
$node->backup('backup');
my $standby = Node->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
start_service('standby', $standby, EVENTS_POLL => 0.2);
my $followed = open_stream('standby');
ok(told($followed, $node->safe_psql('postgres', $fetched_etag)), 'on a standby a new stream is told the etag');
changes('written on the primary', $followed);
$pid = $standby->safe_psql('postgres', $listener);
$standby->promote;
ok($standby->poll_query_until('postgres', "SELECT ($listener) <> $pid"), 'promoted: a connection that listens takes over');
changes('written on what was a standby', $followed, $standby);

#
# Requests that are half sent.  No other request is asserted here to arrive within a second.
#
start_service('impatient', $node, REQUEST_TIMEOUT => 1, KEEP_ALIVE => 0.001, CONNECT_TIMEOUT => 1, COMMAND_TIMEOUT => 1);
my $silent;
ok(wait_until(sub { $silent = eval { open_stream('impatient') } }), 'a client may take a second for its request');
my $half = "GET /state/summary HTTP/1.1\r\nHost: test\r\n";
my $posted = "POST /state/summary HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n";
for my $case (
	[ 'nothing', '' ],
	[ 'half a header', $half ],
	[ 'a header that never ends', $half . 'X-Long: ', 'x' ],
	[ 'one header after the other', $half, "X-More: x\r\n" ],
	[ 'half a body', $posted . 'x' ],
	[ 'a body that does not end', $posted, 'x' ],
	[ 'a request, and one that never ends', "$half\r\n$half", "X-More: x\r\n" ])
{
	my ($name, $text, @more) = @$case;
	ok(ended(send_text('impatient', $text), @more), "who sends $name is not waited for");
}
my $comments = () = $silent->{text} =~ /^: keep-alive/mg;
ok(eval { read_until($silent, sub { (() = $silent->{text} =~ /^: keep-alive/mg) > $comments + 3 }) }, '... and a stream stays');

# A client that does not read: what is sent to it piles up, until the service waits for it.
my $unread = sub {
	my $bytes = pack 'i', 0;
	ioctl($silent->{socket}, 0x541B, $bytes) or die "FIONREAD: $!";
	return unpack 'i', $bytes;
};
my $piled = -1;
ok(wait_until(sub { my $before = $piled; $piled = $unread->(); sleep 1; $piled == $unread->() && $piled == $before }),
	'a stream that is not read is full');

#
# Short time-outs, no token, no prepared statements, no eager refresh, few streams
#
$node->safe_psql('postgres', q{SELECT summary_cache_configure('state', 'eager_refresh', 'off')});
start_service('short', $node, CONNECT_TIMEOUT => 1, COMMAND_TIMEOUT => 1, POOL_SIZE => 2, KEEP_ALIVE => 0.05,
	EVENTS_POLL => 0.2, STATEMENT_CACHE => 0, CACHE_CONTROL => 'public, max-age=1', MAX_STREAMS => 2, PROJECT_SUMMARY => 'nothing');
my @summary = ('short', 'GET', '/state/summary');
ok(wait_until(sub { request(@summary)->{code} == 200 }), 'another service answers');
is(request(@summary)->{'cache-control'}, 'public, max-age=1', '... with the Cache-Control it was given');
is($node->safe_psql('postgres', q{SELECT bool_or(query !~ 'summary_cache_fetch_encoded|SELECT 1') FROM pg_stat_activity WHERE application_name = 'state_service'}), 'f',
	'... by one statement, after which nothing is reset');
is(request('short', 'GET', '/state/summary?refresh=1', $_)->{code}, 403, "no token is set: refresh with $_: 403")
	for 'Authorization: Bearer ', 'Authorization: Bearer', 'Authorization: Bearer x';

$its = request('short', 'GET', '/projects/42/summary');
is("$its->{code} $its->{'cache-control'}", '404 no-store', 'a summary that is not defined: 404');

my $stream = open_stream('short');
ok(eval { read_until($stream, qr/^: keep-alive\r?$/m) }, 'a silent stream has comments');
ok(told($stream, $node->safe_psql('postgres', $fetched_etag)), '... and the etag');
changes('without eager_refresh, while streams are open', $stream);

my $second = open_stream('short');
for (1 .. 2)
{
	my $third = request('short', 'GET', '/state/events');
	is("$third->{code} $third->{'cache-control'}", '503 no-store', 'two streams are all that there may be: 503');
	ok($third->{'retry-after'} > 0, '... with Retry-After');
}
is(request(@summary)->{code}, 200, '... and other requests are answered');
changes('... and written, which the streams hear of', $stream);
$second->{socket}->close;
ok(wait_until(sub { $second = eval { open_stream('short') } }), 'once a client is gone there is room for another');
$second->{socket}->close;

$holder = Session->new($node);
$holder->query('SELECT pg_advisory_lock(42)');
$node->safe_psql('postgres', 'SELECT summary_cache_invalidate()');
is(request(@summary)->{code}, 503, 'a statement that takes too long: 503');
$holder->query('SELECT pg_advisory_unlock(42)');
ok(wait_until(sub { request(@summary)->{code} == 200 }), '... and no longer');

# A server that neither answers nor refuses; its processes are those of the service, and the postmaster
my @pids = split /\n/, $node->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE application_name ~ '^state_service'});
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
@frozen = (@pids, $postmaster);
kill 'STOP', @frozen;
my $frozen_at = time;
my @answers = map { response($_)->{code} } map { send_request(@summary) } 1 .. 6;
is_deeply(\@answers, [ (503) x 6 ], 'a database that hangs: 503');
cmp_ok(time - $frozen_at, '<', 30, '... within a bounded time');
kill 'CONT', splice @frozen;
ok(wait_until(sub { request(@summary)->{code} == 200 }), '... until it goes on');

#
# They stop when asked to, with streams open, one of which is not read
#
for my $name (sort keys %services)
{
	my $process = delete($services{$name})->{process};
	$process->signal('TERM');
	# finish() waits; kill_kill in the end is what bounds it
	ok(eval { local $SIG{ALRM} = sub { die 'it does not stop' }; alarm $timeout; $process->finish; alarm 0; 1 },
		"service $name stops") or $process->kill_kill;
	# later uvicorns end by the signal that they have handled
	like($process->full_result(0), qr/^(0|15)$/, '... without an error');
}
# of the service that has long time-outs: another may be cut short on a busy machine
$stream = $streams[0];
1 while read_more($stream->{socket}, \$stream->{text});
like($stream->{text}, qr/\r\n0\r\n\r\n\z/, '... and ends its streams');

$holder->quit;
$standby->stop;
$node->stop;
done_testing();
