# Proves that with nginx in front of the service, as doc/http.md has it, a page that fetches after an event shows that document each time.

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
	GRANT EXECUTE ON FUNCTION summary_cache_fetch TO state_service;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (0);
	SELECT summary_cache_define('state', 'core', 'SELECT n FROM t');
	SELECT summary_cache_configure('state', 'eager_refresh', 'on');
});

# nginx keeps what it has for longer than the test takes.
start_service('service', $node, CACHE_CONTROL => 'public, max-age=1000', EVENTS_POLL => 3600, KEEP_ALIVE => 1);

#
# nginx, with the page's configuration but for its sockets and directories
#
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $configuration = slurp_file("$examples/state_service.nginx.conf");
for my $place (
	[ qr{\Q/var/cache/nginx/state_service\E}, "$dir/cache" ],
	[ qr{\b127\.0\.0\.1:8000\b}, "unix:$services{service}->{socket}" ],
	[ qr{\blisten 8080\b}, "listen unix:$dir/nginx" ])
{
	my ($theirs, $ours) = @$place;
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
$configuration
}
});
start_program('nginx', "$dir/nginx", {}, $program, '-p', $dir, '-c', "$dir/nginx.conf");

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

# It repeats the Age that it was given.
my $kept = get('');
$node->polled("SELECT clock_timestamp() - '$kept->{'x-summary-built-at'}' > '2s'", 't', 'an answer is kept for two seconds');
is(join(' ', @{ get('') }{qw(x-cache age)}), 'HIT 0', '... and nginx says that its age is 0: so browsers shall ask');

#
# Without the service, what is not kept is an error, not to be kept either
#
my $gone = delete($services{service})->{process};
$gone->signal('TERM');
$gone->finish;
my $error = get('?v=new');
is("$error->{code} $error->{'cache-control'}", '502 no-store', 'the service has stopped: 502, not to be stored');

$_->{process}->signal('TERM') for values %services;
$_->{process}->finish for values %services;
%services = ();
$node->stop;
done_testing();
