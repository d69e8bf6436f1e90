# Proves that nothing in the scripts of the regression tests is refused because the extension has a schema that the role may not use, with every table tracked.

# Each script is run by an ordinary role on two servers: on one the extension has a schema of its own, on which
# nobody has USAGE, and an event trigger defines a summary of each table; on the other no database has the
# extension.  Calls by name fail on both; so statements with a name of the extension's are left out.  All else
# must do the same: the same commands with the same numbers of rows, and the same errors in the same lines.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $test = "$FindBin::RealBin/..";
my $tmp = PostgreSQL::Test::Utils::tempdir;

my $by_name = qr/summary_cache|state_summary/;

# Who creates a role is to act for it; PostgreSQL 15 and later versions ask for different things, and both take
# this.  What a script finds in the catalogs of the extension would be a name as well.
sub copy_scripts
{
	my ($from, $to) = @_;

	mkdir $to or die "$to: $!";
	for my $file (glob "$from/*.sql")
	{
		my ($name) = $file =~ m{([^/]+)$};
		my $script = slurp_file($file);

		$script =~ s/^(CREATE ROLE ((?:\w+|"[^"]+")).*;)$/$1 GRANT $2 TO CURRENT_USER;/mg;
		$script =~ s/extname = '\Ksummary_cache'/none'/g;
		$script =~ s/^\\set ECHO .*//mg;
		append_to_file("$to/$name", $script);
	}
	return;
}
copy_scripts("$test/sql", "$tmp/sql");
copy_scripts("$test/sql/include", "$tmp/sql/include");

sub server
{
	my ($name, $setup) = @_;
	my $node = Node->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 10");
	$node->start;
	$node->sql('CREATE ROLE regress_script LOGIN CREATEROLE; CREATE DATABASE pattern');
	IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('pattern'), '-f', $setup ])
	  or BAIL_OUT($setup)
	  if $setup;
	return $node;
}
my $stock = server('stock');
my $closed = server('closed', "$test/postgres/setup.sql");

my $writes = qr/(?:INSERT 0|UPDATE|DELETE|MERGE|COPY) \d+/;
my $utilities = qr/(?:ALTER|ANALYZE|CLUSTER|COMMENT|COMMIT|CREATE|DROP|GRANT|LOCK|PREPARE|REASSIGN|REFRESH|REINDEX|REVOKE|ROLLBACK|TRUNCATE|VACUUM)(?: [A-Z]+)*/;
my $verbs = qr/(?:$utilities|INSERT|UPDATE|DELETE|MERGE|COPY|WITH)/;

# What a script does on a server: the tags of its commands, and its errors.
sub replay
{
	my ($node, $name) = @_;
	my @lines = split /\n/, slurp_file("$tmp/sql/$name.sql");
	my ($out, $err) = ('', '');
	my (@tags, @errors);

	$node->sql("CREATE DATABASE $name TEMPLATE pattern OWNER regress_script");
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'regress_script', PGDATABASE => $name,
		PG_ABS_SRCDIR => $tmp);
	IPC::Run::run([ 'psql', '-X', '-e', '-f', "$tmp/sql/$name.sql" ], '<', '/dev/null', '>', \$out, '2>', \$err,
		IPC::Run::timeout(5 * $PostgreSQL::Test::Utils::timeout_default));

	# each below its statement; above that may be rows that the one before has returned
	while ($out =~ /\G(.*?)^($writes|$utilities)\n/gms)
	{
		my ($before, $tag) = ($1, $2);
		my ($statement) = $before =~ /.*^($verbs\b.*)\z/ms;
		push @tags, $tag unless defined $statement && $statement =~ $by_name;
	}
	while ($err =~ m{^psql:\S*?(\w+)\.sql:(\d+): ERROR:  (.*)}mg)
	{
		my ($file, $line, $error) = ($1, $2, $3);
		push @errors, "$file.sql:$line: $error"
		  unless $error =~ $by_name || $file eq $name && $lines[ $line - 1 ] =~ $by_name;
	}
	s/\d{4,}/N/g for @errors;
	return (\@tags, \@errors);
}

my %done;
for my $file (glob "$tmp/sql/*.sql")
{
	my ($name) = $file =~ m{(\w+)\.sql$};
	my ($tags, $errors) = replay($stock, $name);
	my ($closed_tags, $closed_errors) = replay($closed, $name);

	is(join("\n", @$closed_errors), join("\n", @$errors), "$name: no other errors");
	is(join("\n", @$closed_tags), join("\n", @$tags), "$name: the same commands succeed");
	$done{ (split)[0] }++ for @$closed_tags;
	$done{tracked} += $closed->sql('SELECT last_value FROM cachetest.tracked', $name);
}
note join ', ', map { "$_ $done{$_}" } sort keys %done;
cmp_ok($done{$_} // 0, '>=', 1, "$_ was among them") for qw(INSERT UPDATE DELETE MERGE COPY TRUNCATE CREATE ALTER DROP);
cmp_ok($done{tracked}, '>=', 100, 'tables were tracked');

$_->stop for $stock, $closed;
done_testing();
