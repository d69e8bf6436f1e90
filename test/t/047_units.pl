# Proves single functions that SQL reaches only by luck: taking a slot, arranging sections, keeping a document.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $module = PostgreSQL::Test::Utils::tempdir . '/units.so';
my $include = `pg_config --includedir-server`;
chomp $include;
my ($cc) = `pg_config --cc` =~ /(.*)/;
my @flags = split ' ', `pg_config --cflags`;
plan skip_all => 'pg_config names no compiler' unless $cc;

# -Bsymbolic: the module's own functions, also if the server knows some of the same name
system_or_bail(split(' ', $cc), @flags, '-w', '-fPIC', '-shared', '-Wl,-Bsymbolic', '-DSC_VERSION="0"', '-D_GNU_SOURCE',
	'-o', $module, "$FindBin::RealBin/../modules/units.c", "-I$FindBin::RealBin/../../src", "-I$include");

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
for my $unit (qw(slots store local))
{
	$node->safe_psql('postgres', "CREATE FUNCTION test_$unit() RETURNS void LANGUAGE c AS '$module'");
	my ($rc, undef, $errors) = $node->psql('postgres', "SELECT test_$unit()");
	is($errors, '', $unit);
	is($rc, 0, "$unit: the server lives");
}
$node->stop;
done_testing();
