# Proves that a library without zlib and libzstd says so, and answers with the document.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Node;
use PostgreSQL::Test::Utils;
use Test::More;

use Versions;

plan skip_all => 'the tree has no library: it was not built here' unless -e 'summary_cache.so';

my $tree = PostgreSQL::Test::Utils::tempdir();
run_log([ 'cp', '-pR', 'src', 'sql', 'Makefile', 'summary_cache.control', $tree ]) or die;
unlink glob("$tree/src/*.o $tree/src/*.bc");
{
	delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES)};
	command_ok([ 'make', '-s', '-C', $tree, 'with_llvm=no', 'ENCODINGS=', 'all' ], 'it is built');
}

my $node = Node->new('main');
$node->init;
$node->start;
my $versions = Versions->new($node);
$node->append_conf('postgresql.conf', "shared_preload_libraries = '$tree/summary_cache.so'\ndynamic_library_path = '$tree:\$libdir'");
unlink $versions->library;
symlink("$tree/summary_cache.so", $versions->library) or die $versions->library . ": $!";
$node->restart;

$node->sql(q{CREATE EXTENSION summary_cache; CREATE TABLE t (n int);
	SELECT summary_cache_define('s', 'core', 'SELECT count(*) AS n, repeat(''x'', 1000) AS more FROM t')});
for my $case ([ 'gzip', 'zlib' ], [ 'zstd', 'libzstd' ])
{
	my ($encoding, $library) = @$case;
	my (undef, undef, $error) = $node->psql('postgres', qq{\\set VERBOSITY verbose\nSELECT summary_cache_configure('s', 'encodings', '$encoding')});
	like($error, qr/ERROR:  0A000: this build of summary_cache has no encoding $encoding\n.*HINT:  .*headers of $library/s, "$encoding is refused, with a hint");
}
$node->hit('s');
is($node->sql(q{SELECT status, encoding IS NULL, body IS NOT NULL FROM summary_cache_fetch_encoded('s', 'zstd, gzip')}), 'hit-revision|t|t',
	'who takes them gets the document');

# As a dump from another server brings it.
$node->sql(q{SET session_replication_role = replica; INSERT INTO summary_cache.option VALUES ('s', 'encodings', 'gzip, zstd')});
$node->sql('INSERT INTO t VALUES (1)');
$node->hit('s');
is($node->sql(q{SELECT status, encoding IS NULL FROM summary_cache_fetch_encoded('s', 'zstd, gzip')}), 'hit-revision|t', '... also if the option is there');
$node->no_worker;
is($node->sql(q{SELECT forms_made, forms_failed, forms_not_kept, form_bytes FROM summary_cache_stats}), '0|0|0|0', '... which nobody tries to carry out');
is($node->psql('postgres', q{SELECT summary_cache_fetch_encoded('s', 'br')}), 3, 'an unknown one is an error');
$node->stop;
done_testing();
