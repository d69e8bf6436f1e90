# The service of doc/http.md in a test, and requests to it, over unix sockets.

package Service;

use strict;
use warnings;

# Nothing is imported from Node: see there.
use Exporter 'import';
use FindBin;
use IO::Select;
use IO::Socket::UNIX;
use IPC::Run ();
use Node ();
use PostgreSQL::Test::Utils ();
use Test::More ();
use Time::HiRes qw(time);

our @EXPORT = qw(%services $python $examples cannot_serve start_service start_program
	connect_to send_text send_request read_more response request ended open_stream read_until etags_of told);

our $python = '/usr/bin/python3';
our $examples = "$FindBin::RealBin/../../doc/examples";
my $timeout = $PostgreSQL::Test::Utils::timeout_default;

# Why it cannot be started; nothing if it can.
sub cannot_serve
{
	return if system("$python -c 'import sys, asyncpg, fastapi, uvicorn; sys.exit(sys.version_info < (3, 11))' 2>/dev/null") == 0;
	return "$python has no asyncpg, FastAPI and uvicorn, or is older than 3.11";
}

#
# What listens: a process, its socket and its log.  They die with this process, whatever becomes of it.
#
our %services;

END
{
	my $status = $?;
	$_->{process}->kill_kill for values %services;
	$? = $status;
}

sub start_program
{
	my ($name, $socket, $environment, @command) = @_;
	my ($test) = $0 =~ m{(\w+)\.pl$};
	my $log = "$PostgreSQL::Test::Utils::log_path/${test}_service_$name.log";

	my $process = IPC::Run::start([ 'setpriv', '--pdeathsig', 'KILL', @command ],
		'<', \undef, '>', $log, '2>&1', init => sub { %ENV = (%ENV, %$environment) });
	$services{$name} = { process => $process, socket => $socket, log => $log };
	Test::More::ok(Node::wait_until(sub { -S $socket && connect_to($name) }), "service $name listens");
	return;
}

sub start_service
{
	my ($name, $node, %settings) = @_;
	my $socket = PostgreSQL::Test::Utils::tempdir_short() . '/http';

	return start_program($name, $socket,
		{
			PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'state_service',
			PYTHONDONTWRITEBYTECODE => 1, UNIX_SOCKET => $socket, %settings
		},
		$python, "$examples/state_service.py");
}

#
# HTTP.  A connection for each request, its answer ends with it.
#
sub connect_to
{
	my ($name) = @_;
	return IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $services{$name}->{socket});
}

# Whatever it is.
sub send_text
{
	my ($service, $text) = @_;
	my $socket = connect_to($service) or die "service $service: $!";

	$socket->syswrite($text);
	return $socket;
}

# Headers are "Name: value".
sub send_request
{
	my ($service, $method, $target, @headers) = @_;
	return send_text($service, join("\r\n", "$method $target HTTP/1.1", 'Host: test', 'Connection: close', @headers, '', ''));
}

# Read what has come, at least a byte; false at the end.
sub read_more
{
	my ($socket, $buffer) = @_;

	IO::Select->new($socket)->can_read($timeout) or die 'no answer';
	return $socket->sysread($$buffer, 65536, length $$buffer);
}

sub response
{
	my ($socket) = @_;
	my $text = '';
	my $until = time + $timeout;

	# what does not end is no answer, but perhaps a stream
	while (read_more($socket, \$text)) { die 'the answer does not end' if time > $until; }
	my ($head, $body) = split /\r\n\r\n/, $text, 2;
	my ($first, @lines) = split /\r\n/, $head;
	my %response = map { /^([^:]+): *(.*)/ ? (lc $1, $2) : () } @lines;
	($response{code}) = $first =~ m{^HTTP/1\.1 (\d+)};
	($response{status}) = ($response{'cache-status'} || '') =~ /; detail=(\S+)$/;
	$response{body} = $body;
	return \%response;
}

sub request { return response(send_request(@_)) }

# Whether the other side ends the connection, although a piece is sent from time to time.
sub ended
{
	my ($socket, $piece) = @_;
	my $until = time + $timeout;
	local $SIG{PIPE} = 'IGNORE';

	while (time < $until)
	{
		if (IO::Select->new($socket)->can_read(0.2))
		{
			return 1 unless $socket->sysread(my $text, 65536);
		}
		elsif (defined $piece)
		{
			$socket->syswrite($piece);
		}
	}
	return;
}

# Event streams are such sockets, with what has been read of them.
sub open_stream
{
	my ($service, @headers) = @_;
	my $stream = { service => $service, socket => send_request($service, 'GET', '/state/events', @headers), text => '' };

	read_until($stream, qr/^retry: \d+$/m);
	return $stream;
}

# Until it matches, or a function says so.
sub read_until
{
	my ($stream, $what) = @_;
	my $until = time + $timeout;

	until (ref $what eq 'CODE' ? $what->() : $stream->{text} =~ $what)
	{
		die 'not in the stream' if time > $until || !read_more($stream->{socket}, \$stream->{text});
	}
	return 1;
}

sub etags_of { return $_[0]->{text} =~ /^event: summary\r?\ndata: \{"etag": "(\w+)"\}/mg }
sub told { return eval { read_until($_[0], qr/^data: \{"etag": "$_[1]"\}/m) } }

1;
