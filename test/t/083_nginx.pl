# Proves that with nginx in front of the service, as doc/http.md has it, a page that fetches after an event shows that document each time, and a bad client gets no further than nginx.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Service;
use Test::More;

if (my $why = cannot_serve()) { plan skip_all => $why; }
my ($program) = grep { -x } map { "$_/nginx" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
plan skip_all => 'there is no nginx' unless $program;

my $node = Node->new('main');
$node->init;
$node->start;
$node->sql(q{
	CREATE EXTENSION summary_cache;
	CREATE ROLE state_service LOGIN;
	GRANT EXECUTE ON FUNCTION summary_cache_fetch_encoded TO state_service;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (0);
	SELECT summary_cache_define('state', 'core', 'SELECT n FROM t');
	SELECT summary_cache_configure('state', 'eager_refresh', 'on');
});

# nginx keeps what it has for longer than the test takes.
start_service('service', $node, CACHE_CONTROL => 'public, max-age=1000', EVENTS_POLL => 3600, KEEP_ALIVE => 1, REQUEST_TIMEOUT => 3600);

#
# nginx, with the page's configuration but for its sockets and directories, and with other changes if asked
# for.  A client's address is what it says: all come from one unix socket.
#
sub start_nginx
{
	my ($name, @changes) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $configuration = slurp_file("$examples/state_service.nginx.conf");
	for my $change (
		[ qr{\Q/var/cache/nginx/state_service\E}, "$dir/cache" ],
		[ qr{\b127\.0\.0\.1:8000\b}, "unix:$services{service}->{socket}" ],
		[ qr{\blisten 8080\b}, "listen unix:$dir/nginx" ],
		@changes)
	{
		my ($theirs, $ours) = @$change;
		$configuration =~ s/$theirs/$ours/ or die "there is no $theirs in the configuration";
	}
	append_to_file("$dir/nginx.conf", qq{
daemon off;
master_process off;
pid $dir/pid;
error_log stderr;
events {}
http {
access_log off;
client_body_temp_path $dir/body;
proxy_temp_path $dir/proxy;
fastcgi_temp_path $dir/fastcgi;
uwsgi_temp_path $dir/uwsgi;
scgi_temp_path $dir/scgi;
set_real_ip_from unix:;
real_ip_header X-Test-Client;
$configuration
}
});
	return start_program($name, "$dir/nginx", {}, $program, '-p', $dir, '-c', "$dir/nginx.conf");
}
start_nginx('nginx');

sub get
{
	my ($target, @headers) = @_;
	return request('nginx', 'GET', "/state/summary$target", @headers);
}

#
# The page: it fetches the document of each event
#
my $stream = open_stream('nginx');
my $etag;

# A write, and the event that tells of it; the etag that it had.
sub event
{
	my ($n) = @_;
	my $before = (etags_of($stream))[-1] // '';
	$node->sql("UPDATE t SET n = $n");
	ok(eval { read_until($stream, sub { ($etag = (etags_of($stream))[-1] // '') ne $before }) }, "n = $n: an event comes through nginx");
	return $etag;
}

sub shows
{
	my ($n, $cache, $name) = @_;
	my $said = get("?v=$etag");
	is("$said->{code} $said->{body} $said->{'x-cache'} $said->{etag}", qq(200 {"n":$n} $cache "$etag"), $name);
	return $said;
}

# the first is of the document that there is
ok(eval { read_until($stream, sub { scalar(() = etags_of($stream)) }) }, 'a page hears of the document at once');
event(1);
my $first = shows(1, 'MISS', 'a page fetches the document of the event');
is($first->{'cache-control'}, 'no-cache', '... which the browser shall ask for each time');
is(get('')->{body}, '{"n":1}', 'without the etag the document is the same so far');
is(get('')->{'x-cache'}, 'HIT', '... and is kept');

for my $n (2 .. 20)
{
	event($n);
	shows($n, 'MISS', "n = $n: its document");
	shows($n, 'HIT', "n = $n: also for the next page, from nginx");
	is(get('')->{body}, '{"n":1}', "n = $n: without the etag nginx still has that of before");
}
my $known = get("?v=$etag", "If-None-Match: \"$etag\"");
is("$known->{code} $known->{'x-cache'}", '304 HIT', 'a browser that asks again gets a 304 from nginx');

# Who comes late gets the newer document, which is not kept at this address: the content may come back.
my $old = event(30);
event(31);
my $late = get("?v=$old");
is("$late->{body} $late->{'cache-control'}", '{"n":31} no-store', 'a page that comes late gets the newer document');
event(30);
is($etag, $old, 'the content comes back, and its etag');
shows(30, 'MISS', '... and the page shows it');
is(get('?v=made-up')->{'x-cache'}, 'MISS', 'an address that is made up is not kept') for 1 .. 2;

# Fifty pages hear of one event
$node->sql('SELECT summary_cache_reset_stats()');
event(40);
my $reads = q{SELECT hits + stale + misses + private FROM summary_cache_stats WHERE summary = 'state'};
my $before = $node->sql($reads);
my %answers = map { my $r = response($_); ("$r->{code} $r->{body}" => 1) } map { send_request('nginx', 'GET', "/state/summary?v=$etag") } 1 .. 50;
is_deeply([ keys %answers ], ['200 {"n":40}'], 'fifty pages fetch its document');
is($node->sql($reads), $before + 1, '... and the service is asked once');

#
# What nginx must not keep, and what it says of what it keeps
#
is(get('?refresh=1')->{code}, 403, 'refresh needs the token');
is(get('?refresh=1')->{'cache-control'}, 'no-store', '... which is not to be stored');
is(request('nginx', 'POST', '/state/summary')->{'cache-control'}, 'no-store', '... like every error');

# The page of the service
my $page = request('nginx', 'GET', '/');
is("$page->{code} $page->{'cache-control'}", '200 no-cache', 'the page comes through nginx');
is($page->{body}, slurp_file("$examples/state_page.html"), '... as it is');
like($page->{'content-security-policy'}, qr/^default-src 'none'; /, '... with its policy');

# It repeats the Age that it was given.
my $kept = get('');
$node->polled("SELECT clock_timestamp() - '$kept->{'x-summary-built-at'}' > '2s'", 't', 'an answer is kept for two seconds');
is(join(' ', @{ get('') }{qw(x-cache age)}), 'HIT 0', '... and nginx says that its age is 0: so browsers shall ask');

#
# A client has so many streams, of those of all clients
#
my ($most) = slurp_file("$examples/state_service.nginx.conf") =~ /limit_conn state_service_streams (\d+)/;
my @mine = ('nginx', 'X-Test-Client: 192.0.2.1');
my @streams = map { open_stream(@mine) } 1 .. $most;
my $refused = request($mine[0], 'GET', '/state/events', $mine[1]);
is("$refused->{code} $refused->{'cache-control'}", '503 no-store', "a client has $most streams: no more");
ok($refused->{'retry-after'} > 0, '... with Retry-After');
is(request($mine[0], 'GET', '/state/summary', $mine[1])->{code}, 200, '... but other answers');
my $theirs = open_stream('nginx', 'X-Test-Client: 192.0.2.2');
event(50);
ok(told($theirs, $etag), '... and another client has a stream');
ok(told($_, $etag), '... as the first one has') for @streams;
(pop @streams)->{socket}->close;
ok(wait_until(sub { push @streams, eval { open_stream(@mine) }; @streams == $most }), 'a stream that ends makes room for another');
$_->{socket}->close for @streams, $theirs;

#
# Each error, whoever makes it, is not to be stored, and leads nowhere
#
my %said;
for my $case (
	[ 400, "what is this?\r\n\r\n" ],
	[ 400, "GET /state/summary HTTP/1.1\r\n\r\n" ],
	[ 400, "GET /state/summary HTTP/1.1\r\nHost: test\r\nX-Long: " . 'x' x 10_000 . "\r\n\r\n" ],
	[ 403, "GET /state/summary?refresh=1 HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n" ],
	[ 404, "GET /state_page.html HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n" ],
	[ 404, "GET /state/summary/ HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n" ],
	[ 404, "GET /state/events/ HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n" ],
	[ 404, "GET /state HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n" ],
	[ 404, "GET /healthz HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n" ],
	[ 405, "POST /state/events HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" ],
	[ 413, "POST /state/summary HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 2\r\n\r\n" ],
	[ 413, "POST /state/summary HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nxxxx\r\n" ],
	[ 414, 'GET /state/summary?v=' . 'x' x 10_000 . " HTTP/1.1\r\nHost: test\r\n\r\n" ],
	[ 422, "GET /state/summary?refresh=maybe HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n" ])
{
	my ($code, $text) = @$case;
	my $answer = response(send_text('nginx', $text));
	my ($asked) = substr($text, 0, 40) =~ /^([^\r]*)/;
	is("$answer->{code} $answer->{'cache-control'}", "$code no-store", "$asked: $code, not to be stored");
	is($answer->{location}, undef, '... that leads nowhere else');
	unlike($answer->{body}, qr/elsewhere/, '... and does not name the host');
}
$node->sql('REVOKE EXECUTE ON FUNCTION summary_cache_fetch_encoded FROM state_service');
$refused = get('?v=refused');
is("$refused->{code} $refused->{'cache-control'}", '500 no-store', 'the service fails: 500, not to be stored');
$node->sql('GRANT EXECUTE ON FUNCTION summary_cache_fetch_encoded TO state_service');

#
# Requests that are half sent: nginx ends them, and the service hears of none.  Its times are shorter here, and
# no request is asserted to be sent within them.
#
start_nginx('impatient', [ qr/client_header_timeout 10s/, 'client_header_timeout 1s' ], [ qr/client_body_timeout 10s/, 'client_body_timeout 1s' ]);
my $stays;
ok(wait_until(sub { $stays = eval { open_stream('impatient') } }), 'a client may take a second for its request');
my $half = "GET /state/summary HTTP/1.1\r\nHost: test\r\n";
for my $case (
	[ 'nothing', '' ],
	[ 'half a header', $half ],
	[ 'a header that never ends', $half . 'X-Long: ', 'x' ],
	[ 'one header after the other', $half, "X-More: x\r\n" ],
	[ 'no body', "POST /state/summary HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n" ],
	[ 'half a body', "POST /state/summary HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n" ])
{
	my ($name, $text, @more) = @$case;
	ok(ended(send_text('impatient', $text), @more), "who sends $name is not waited for");
}
my $comments = () = $stays->{text} =~ /^: keep-alive/mg;
ok(eval { read_until($stays, sub { (() = $stays->{text} =~ /^: keep-alive/mg) > $comments }) }, '... and a stream stays');
my @asked = slurp_file($services{service}->{log}) =~ m{"POST /state/summary HTTP}g;
is(scalar @asked, 1, '... and the service has been asked once, before');

#
# Without the service, what is not kept is an error, not to be kept either
#
my $gone = delete($services{service})->{process};
$gone->signal('TERM');
$gone->finish;
my $error = get('?v=new');
is("$error->{code} $error->{'cache-control'}", '502 no-store', 'the service has stopped: 502, not to be stored');
ok($error->{'retry-after'} > 0, '... with Retry-After');
$error = request('nginx', 'GET', '/state/events');
is("$error->{code} $error->{'cache-control'}", '502 no-store', '... for events as well');

$_->{process}->signal('TERM') for values %services;
$_->{process}->finish for values %services;
%services = ();
$node->stop;
done_testing();
