
# Versions of the extension that a test makes up: a private directory with their scripts, beside the
# library as it was built.

package Versions;

use strict;
use warnings;

use Compile;
use PostgreSQL::Test::Utils;
use Test::More;

# Names of settings that this server has.
sub has_setting
{
	my ($node, $name) = @_;

	return $node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name = '$name'");
}

# Make a started node look into a new directory; skips the test if the server has no such thing.
# The directory holds the scripts of the source tree.
sub new
{
	my ($class, $node) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $extensions = $dir . pg_config('--sharedir') . '/extension';
	my $libraries = $dir . pg_config('--pkglibdir');
	my $library = 'summary_cache.so';

	run_log([ 'mkdir', '-p', $extensions, $libraries ]) or die;
	if (has_setting($node, 'extension_control_path'))
	{
		my $path = $node->safe_psql('postgres', 'SHOW extension_control_path');

		$node->append_conf('postgresql.conf',
			"extension_control_path = '$dir" . pg_config('--sharedir') . ":$path'");
	}
	elsif (has_setting($node, 'extension_destdir'))
	{
		# The script's '$libdir/summary_cache' is looked for there, too.  It must be the very file that
		# is preloaded, and not a copy.
		my $old = $node->safe_psql('postgres', 'SHOW extension_destdir') . pg_config('--pkglibdir');

		$old = pg_config('--pkglibdir') unless -e "$old/$library";
		symlink("$old/$library", "$libraries/$library") or die "$old/$library: $!";
		$node->append_conf('postgresql.conf', "extension_destdir = '$dir'");
	}
	else
	{
		plan(skip_all => 'the server has no private extension path');
	}
	$node->restart;

	my $self = bless { extensions => $extensions, library => "$libraries/$library", control => slurp_file('summary_cache.control') }, $class;
	($self->{version}) = $self->{control} =~ /^default_version *= *'(.*)'/m;
	$self->set_default($self->{version});
	foreach my $file (glob('sql/summary_cache--*.sql'))
	{
		$self->add($file =~ s{^sql/summary_cache--|\.sql$}{}gr, slurp_file($file));
	}
	return $self;
}

# The file that the script's '$libdir/summary_cache' is; a link, where the server has extension_destdir.
sub library { return $_[0]->{library} }

# The version of the source tree, which is the library's.
sub version { return $_[0]->{version} }

# An install script ("1.0") or upgrade script ("1.0--1.1").
sub add
{
	my ($self, $name, $script) = @_;
	my $file = "$self->{extensions}/summary_cache--$name.sql";

	unlink $file;
	append_to_file($file, $script);
	return;
}

# The version that CREATE EXTENSION and ALTER EXTENSION UPDATE take.
sub set_default
{
	my ($self, $version) = @_;
	my $file = "$self->{extensions}/summary_cache.control";

	unlink $file;
	append_to_file($file, $self->{control} =~ s/^(default_version *= *').*'/$1$version'/mr);
	return;
}

# The install script of the source tree's version.
sub script
{
	my ($self) = @_;

	return slurp_file("$self->{extensions}/summary_cache--$self->{version}.sql");
}

1;
