# A headless chromium in a test, by its DevTools protocol over a pipe: no port, and nothing else to install.

package Browser;

use strict;
use warnings;

use Carp;
use Exporter 'import';
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use PostgreSQL::Test::Utils ();

our @EXPORT = qw(cannot_browse);
our @running;

my $json = JSON::PP->new->utf8->allow_nonref;
my ($program) = grep { system("$_ --version >/dev/null 2>&1") == 0 } qw(chromium chromium-browser);

# Why there is none; nothing if there is.
sub cannot_browse { return $program ? () : 'chromium is not installed' }

#
# A browser with a tab.  It reaches nothing but this machine.
#
sub new
{
	my ($class) = @_;
	my ($test) = $0 =~ m{(\w+)\.pl$};
	my $home = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { in => '', out => '', id => 0, events => [] }, $class;

	$self->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$self->{process} = IPC::Run::start(
		[ 'setpriv', '--pdeathsig', 'KILL', $program, qw(--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage
			--no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-extensions
			--password-store=basic --no-proxy-server), '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
			"--user-data-dir=$home/profile", '--remote-debugging-pipe', 'about:blank' ],
		'<', \undef, '>', "$PostgreSQL::Test::Utils::log_path/${test}_browser.log", '2>&1',
		'3<', \$self->{in}, '4>', \$self->{out}, init => sub { $ENV{HOME} = $ENV{XDG_CONFIG_HOME} = $ENV{XDG_CACHE_HOME} = $home },
		$self->{timer});
	push @running, $self->{process};

	my $target = $self->call('Target.createTarget', url => 'about:blank')->{targetId};
	$self->{session} = $self->call('Target.attachToTarget', targetId => $target, flatten => JSON::PP::true)->{sessionId};
	$self->call("$_.enable") for qw(Page Runtime Log Network Accessibility);
	return $self;
}

# It dies with this process, whatever becomes of it.
END
{
	my $status = $?;
	$_->kill_kill for @running;
	$? = $status;
}

# Takes what the browser has sent.  Events are kept; returns answers.
sub messages
{
	my ($self) = @_;
	my @answers;

	while ($self->{out} =~ s/\A([^\0]*)\0//)
	{
		my $message = $json->decode($1);
		push @{ $message->{id} ? \@answers : $self->{events} }, $message;
	}
	return @answers;
}

# A command of the protocol, and its result.
sub call
{
	my ($self, $method, %parameters) = @_;
	my $id = ++$self->{id};

	$self->{timer}->start($PostgreSQL::Test::Utils::timeout_default);
	$self->{in} .= $json->encode({
			id => $id, method => $method, params => \%parameters, $self->{session} ? (sessionId => $self->{session}) : ()
		}) . "\0";
	while (1)
	{
		for my $answer (grep { $_->{id} == $id } $self->messages)
		{
			croak "$method: $answer->{error}{message}" if $answer->{error};
			return $answer->{result};
		}
		$self->{process}->pump;
	}
}

# What an expression of the page's is.
sub value
{
	my ($self, $expression) = @_;
	my $result = $self->call('Runtime.evaluate', expression => $expression, returnByValue => JSON::PP::true, awaitPromise => JSON::PP::true);

	croak "$expression: $result->{exceptionDetails}{exception}{description}" if $result->{exceptionDetails};
	return $result->{result}{value};
}

# The text that an element has.
sub text
{
	my ($self, $id) = @_;
	return $self->value("document.getElementById('$id').textContent");
}

# The parameters of what has happened by some names so far.
sub events
{
	my ($self, @names) = @_;

	$self->value('0');    # an answer comes after what was before
	return map { my $event = $_; (grep { $_ eq $event->{method} } @names) ? $event->{params} : () } @{ $self->{events} };
}

sub press
{
	my ($self, $key, $code, $text) = @_;

	$self->call('Input.dispatchKeyEvent', type => 'keyDown', key => $key, code => $key, windowsVirtualKeyCode => $code,
		defined $text ? (text => $text) : ());
	$self->call('Input.dispatchKeyEvent', type => 'keyUp', key => $key, code => $key, windowsVirtualKeyCode => $code);
	return;
}

# Screen and scheme.
sub show_on
{
	my ($self, $width, $height, $scheme) = @_;

	$self->call('Emulation.setDeviceMetricsOverride', width => $width, height => $height, deviceScaleFactor => 1,
		mobile => $width < 600 ? JSON::PP::true : JSON::PP::false);
	$self->call('Emulation.setEmulatedMedia', features => [ { name => 'prefers-color-scheme', value => $scheme } ]);
	return;
}

# A picture of the screen, as a PNG file.
sub shoot
{
	my ($self, $file) = @_;

	open my $png, '>:raw', $file or croak "$file: $!";
	print $png decode_base64($self->call('Page.captureScreenshot', format => 'png')->{data});
	close $png or croak "$file: $!";
	return;
}

sub quit
{
	my ($self) = @_;

	delete($self->{session});
	eval { $self->call('Browser.close') };
	$_->kill_kill for splice @running;
	return;
}

1;
