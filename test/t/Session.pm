# A psql session that runs beside the test: its statements can be left waiting.

package Session;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

# Is a server, and a database.
sub new
{
	my ($class, $node, $dbname) = @_;
	my $self = bless { node => $node, in => '', out => '', err => '', n => 0 }, $class;

	$self->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$self->{psql} = IPC::Run::start(
		[ 'psql', '-X', '-A', '-t', '-q', '-d', $node->connstr($dbname || 'postgres') ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err}, $self->{timer});
	$self->{pid} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

# The server process.
sub pid { return $_[0]->{pid} }

# Send statements, and do not wait.
sub send_sql
{
	my ($self, $sql) = @_;

	$self->{n}++;
	$self->{in} .= "$sql;\n\\echo done $self->{n}\n\\warn done $self->{n}\n";
	$self->{psql}->pump_nb;
	return $self;
}

# Wait for what was sent.  Returns the rows; what went to stderr is in error().
sub result
{
	my ($self) = @_;
	my $mark = "done $self->{n}\n";

	$self->{timer}->start($PostgreSQL::Test::Utils::timeout_default);
	$self->{psql}->pump until $self->{out} =~ /(?:^|\n)\Q$mark\E$/ && $self->{err} =~ /(?:^|\n)\Q$mark\E$/;
	my $out = $self->{out};
	$self->{error} = $self->{err};
	$self->{out} = $self->{err} = '';
	s/(?:^|(?<=\n))done \d+\n//g for $out, $self->{error};
	chomp $out;
	return $out;
}

sub query
{
	my ($self, $sql) = @_;

	return $self->send_sql($sql)->result;
}

# Send a statement that stops at a waiting point of the debug build, in a
# transaction of its own that $end ends, and wait until it is there.
sub hold
{
	my ($self, $point, $sql, $end) = @_;

	$self->send_sql("BEGIN; SET LOCAL summary_cache.debug_point = '$point';"
		  . " SET LOCAL summary_cache.debug_sleep = '2000000000'; $sql; " . ($end // 'COMMIT'));
	$self->{node}->poll_query_until('postgres',
		"SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $self->{pid}")
		or die "never at $point";
	return $self;
}

# Let it go on, however often it comes to the point (src/debug.c says how), and wait for its result.
sub wake
{
	my ($self) = @_;
	my $mark = "done $self->{n}\n";

	$self->{timer}->start($PostgreSQL::Test::Utils::timeout_default);
	until ($self->{err} =~ /(?:^|\n)\Q$mark\E$/)
	{
		$self->{node}->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($self->{pid})");
		$self->{psql}->pump_nb;
	}
	return $self->result;
}

# Messages of the statements whose result was taken last.
sub error { return $_[0]->{error} }

sub quit
{
	my ($self) = @_;

	$self->{in} .= "\\q\n";
	eval { $self->{psql}->finish };
	return;
}

1;
