# Proves that each program of doc/clients.md gets every new document, as the bytes that the database has, and nothing twice.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IO::Socket::INET;
use Node;
use Page;
use PostgreSQL::Test::Utils;
use Service;
use Test::More;

plan skip_all => 'there is no setpriv' if system('setpriv --version >/dev/null 2>&1') != 0;

my $page = Page->new('clients.md');
my $dir = PostgreSQL::Test::Utils::tempdir();

# JDBC has no unix sockets.  So the server also has a port that nobody else uses, where one role may
# come, with a password that only this test knows.
my $node = Node->new('main');
my $password = join '', map { sprintf '%02x', int rand 256 } 1 .. 16;
my $jar = '/usr/share/java/postgresql.jar';
my $has_java = -e $jar && system('javac -version >/dev/null 2>&1 && java -version >/dev/null 2>&1') == 0;
$node->init;
if ($has_java)
{
	my $free = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $node->port, Proto => 'tcp', Listen => 1);
	$has_java = defined $free or note 'the port is taken: no JDBC';
	close $free if $free;
}
if ($has_java)
{
	$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'");
	unlink $node->data_dir . '/pg_hba.conf';
	$node->append_conf('pg_hba.conf', "local all all trust\nhost postgres regress_reader 127.0.0.1/32 scram-sha-256\n");
}
$node->start;

# Bytes that no parser hands back as they were; what is announced is rebuilt without a reader.
$node->sql(qq{
	CREATE SCHEMA cache;
	CREATE EXTENSION summary_cache SCHEMA cache;
	SET search_path = public, cache;
	CREATE ROLE regress_reader LOGIN PASSWORD '$password';
	GRANT USAGE ON SCHEMA cache TO regress_reader;
	GRANT EXECUTE ON FUNCTION summary_cache_fetch TO regress_reader;
	ALTER ROLE regress_reader SET search_path = cache;
	CREATE TABLE t (n int);
	INSERT INTO t VALUES (0);
	SELECT summary_cache_define('state', 'core', \$\$ SELECT n,
		'{"big": 123456789012345678901234567890, "a": 1, "a": 2.50}'::json AS verbatim FROM t \$\$);
	SELECT summary_cache_configure('state', 'eager_refresh', 'on');
});
my %login = (PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'regress_reader');
my $fetch = q{SELECT etag || ' ' || document FROM cache.summary_cache_fetch('state')};
my $n = 0;

# The lines that a program has written.
my ($out, $err);
sub lines { my @lines = $out =~ /^(.*)\n/mg; return @lines }

# What is current now is the last line, and there are so many.
sub shows
{
	my ($count, $name) = @_;
	my $expected;

	wait_until(sub { ($expected = $node->sql($fetch)) =~ /"n":$n\b/ && lines() >= $count });
	my @lines = lines();
	is(scalar @lines, $count, "$name: it is told, once");
	return is($lines[-1] =~ s/^\S+ //r, $expected, '... with the document, byte for byte');
}

sub runs
{
	my ($name, $why_not, $command, %environment) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

  SKIP:
	{
		skip $why_not, 1 if $why_not;
		($out, $err) = ('', '');
		my $process = IPC::Run::start([ 'setpriv', '--pdeathsig', 'KILL', @$command ], '<', \undef, '>', \$out, '2>', \$err,
			init => sub { %ENV = (%ENV, %login, %environment) });
		my $pump = sub { $process->pump_nb; return $process->pumpable };
		my $told = sub {
			my ($count, $what) = @_;
			local $Test::Builder::Level = $Test::Builder::Level + 1;
			wait_until(sub { !$pump->() || lines() >= $count });
			return shows($count, "$name: $what");
		};

		$told->(1, 'at the start') or diag $err;
		$n++;
		$node->sql("UPDATE t SET n = $n");
		$told->(2, 'after a commit');
		# somebody else's notification: the program asks, and has it already
		$node->sql('NOTIFY summary_cache');
		$node->sql(q{UPDATE t SET n = -1; UPDATE t SET n = } . ++$n);
		wait_until(sub { $pump->(); $out =~ /"n":$n\b.*\n\z/ });
		my @etags = map { (split / /)[1] } lines();
		is(scalar(grep { $_ && $etags[ $_ - 1 ] eq $etags[$_] } 0 .. $#etags), 0, "$name: no document comes twice in a row");
		shows(scalar @etags, "$name: after a notification that is none, and two commits");
		$process->kill_kill;
	}
	return;
}

sub no_module { return system("$python -c 'import sys, $_[0]; sys.exit(sys.version_info < (3, 11))' 2>/dev/null") ? "$python has no $_[0]" : undef }

runs('psycopg', no_module('psycopg'), [ $python, $page->file('python', 'Python: psycopg', "$dir/with_psycopg.py") ]);
runs('asyncpg', no_module('asyncpg'), [ $python, $page->file('python', 'Python: asyncpg', "$dir/with_asyncpg.py") ]);
my ($no_node, %node_path) = node_with_pg();
runs('node pg', $no_node, [ 'node', $page->file('js', 'Node: pg', "$dir/watch.js") ], %node_path);
my $no_java = $has_java ? undef : "there is no JDK with $jar";
my @java = ('java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', $jar);
my %jdbc = (JDBC_URL => 'jdbc:postgresql://127.0.0.1:' . $node->port . "/postgres?user=regress_reader&password=$password");
runs('JDBC', $no_java, [ @java, $page->file('java', 'Java: JDBC', "$dir/Watch.java") ], %jdbc);

# What the page says of the drivers' types
my $types = q{SELECT document, document::text FROM summary_cache_fetch('state')};
sub prints
{
	my ($name, $why_not, $expected, $command, %environment) = @_;
  SKIP:
	{
		skip $why_not, 1 if $why_not;
		my ($said, $error) = ('', '');
		IPC::Run::run($command, '<', \undef, '>', \$said, '2>', \$error, init => sub { %ENV = (%ENV, %login, %environment) });
		is($said, "$expected\n", $name) or diag $error;
	}
	return;
}

prints("$_->[0]: a parsed document, and text", no_module($_->[0]), 'dict str', [ $python, '-c', qq{
import $_->[0]
cursor = $_->[0].connect("").cursor()
cursor.execute("$types")
print(*(type(value).__name__ for value in cursor.fetchone()))
} ]) for ['psycopg'], ['psycopg2'];
prints('asyncpg: text, and text', no_module('asyncpg'), 'str str', [ $python, '-c', qq{
import asyncio, asyncpg
async def main():
    print(*(type(value).__name__ for value in await (await asyncpg.connect()).fetchrow("$types")))
asyncio.run(main())
} ]);
prints('node pg: a parsed document without its bytes, and text', $no_node, 'object string false true', [ 'node', '-e', qq{
const client = new (require('pg').Client)();
client.connect().then(() => client.query("SELECT document, document::text AS text FROM summary_cache_fetch('state')")).then(({rows: [row]}) => {
	const bytes = (text) => text.includes('123456789012345678901234567890') && text.includes('"a": 1');
	console.log(typeof row.document, typeof row.text, bytes(JSON.stringify(row.document)), bytes(row.text));
	return client.end();
});
} ], %node_path);

# NOTICEs, by the page's own expressions
my %hands_over = $page->{text} =~ /^\| ([\w ]+) \| `(.*?)`.*\|$/mg;
my $define = q{SELECT cache.summary_cache_define('noticed', 'main', 'SELECT now() AS n')};
sub shows_notice
{
	my ($name, $why_not, $command, %environment) = @_;
  SKIP:
	{
		skip $why_not, 1 if $why_not;
		my ($said, $error) = ('', '');
		IPC::Run::run($command, '<', \undef, '>', \$said, '2>', \$error, init => sub { %ENV = (%ENV, %login, %environment) });
		like($said, qr/section "main" of summary "noticed" depends on more than its source tables/, "$name: a NOTICE") or diag $error;
	}
	return;
}

$node->sql('GRANT EXECUTE ON FUNCTION cache.summary_cache_define TO regress_reader; ALTER DATABASE postgres SET search_path = cache');
shows_notice('psycopg', no_module('psycopg'), [ $python, '-c', qq{
import psycopg
connection = psycopg.connect(autocommit=True)
$hands_over{'psycopg 3'}
connection.execute("$define")
} ]);
shows_notice('psycopg2', no_module('psycopg2'), [ $python, '-c', qq{
import psycopg2
connection = psycopg2.connect("")
connection.cursor().execute("$define")
$hands_over{'psycopg 2'}
} ]);
shows_notice('asyncpg', no_module('asyncpg'), [ $python, '-c', qq{
import asyncio, asyncpg
async def main():
    connection = await asyncpg.connect()
    $hands_over{asyncpg}
    await connection.execute("$define")
    await connection.close()
asyncio.run(main())
} ]);
shows_notice('node pg', $no_node, [ 'node', '-e', qq{
const client = new (require('pg').Client)();
$hands_over{'node pg'};
client.connect().then(() => client.query("$define")).then(() => client.end());
} ], %node_path);
append_to_file("$dir/Notice.java", qq{
import java.sql.*;

class Notice {
    public static void main(String[] args) throws SQLException {
        try (Connection connection = DriverManager.getConnection(System.getenv("JDBC_URL"));
                Statement statement = connection.createStatement()) {
            statement.execute("$define");
            $hands_over{JDBC};
        }
    }
}
});
shows_notice('JDBC', $no_java, [ @java, "$dir/Notice.java" ], %jdbc);

$node->stop;
done_testing();
