# C programs and modules that a test needs, compiled as the server was.  Each is the test's own, since
# tests run beside each other.

package Compile;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(pg_config compile_program compile_module);

# Sources are named from here.
my $test = "$FindBin::RealBin/..";

sub pg_config
{
	my ($option) = @_;
	my ($value) = run_command([ $ENV{PG_CONFIG} || 'pg_config', $option ]);

	return $value;
}

sub compile
{
	my ($file, @arguments) = @_;
	my $output = PostgreSQL::Test::Utils::tempdir() . "/$file";

	# the compiler's name may be more than a word
	system_or_bail(split(' ', $ENV{CC} || pg_config('--cc')), '-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror',
		'-o', $output, @arguments);
	return $output;
}

# A client; returns its path.
sub compile_program
{
	my ($name, @sources) = @_;

	return compile($name, (map { "$test/$_" } @sources), '-I' . pg_config('--includedir'),
		'-L' . pg_config('--libdir'), '-Wl,-rpath,' . pg_config('--libdir'), '-lpq');
}

# A library for the server; more of the compiler's arguments may follow.
sub compile_module
{
	my ($name, $source, @arguments) = @_;

	return compile("$name.so", '-fPIC', '-shared', '-Wno-sign-compare', '-Wno-missing-field-initializers',
		"$test/$source", '-I' . pg_config('--includedir-server'), @arguments);
}

1;
