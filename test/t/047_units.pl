# Proves single functions that SQL reaches only by luck: taking a slot, a transaction's keys, arranging sections, keeping a document, loading a damaged file.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Compile;
use Node;
use Test::More;

# -Bsymbolic: the module's own functions, also if the server knows others of the same name
my $module = compile_module('units', 'modules/units.c', '-Wl,-Bsymbolic', '-D_GNU_SOURCE', '-DSC_VERSION="0"', '-DSC_OLDER_VERSIONS=',
	"-I$FindBin::RealBin/../../src");

my $node = Node->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
for my $unit (qw(slots keys store parts asked local save))
{
	$node->sql("CREATE FUNCTION test_$unit() RETURNS void LANGUAGE c AS '$module'");
	my ($rc, undef, $errors) = $node->psql('postgres', "SELECT test_$unit()");
	is($errors, '', $unit);
	is($rc, 0, "$unit: the server lives");
}
$node->stop;
done_testing();
