# A page of doc/ whose code a test runs: what is shown is what runs.  And node_with_pg().

package Page;

use strict;
use warnings;

use Carp;
use Exporter 'import';
use FindBin;
use PostgreSQL::Test::Utils ();

our @EXPORT = qw(node_with_pg);

sub new
{
	my ($class, $name) = @_;
	return bless { name => $name, text => PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../doc/$name") }, $class;
}

# The code blocks of a language below a heading, up to the next one; in scalar context the only one.
sub blocks
{
	my ($self, $language, $heading) = @_;
	my $section = '';
	my $here = 0;
	my $in_block = 0;

	# a comment in a block looks like a heading
	for my $line (split /^/, $self->{text})
	{
		$in_block = !$in_block if $line =~ /^```/;
		if (!$in_block && $line =~ /^#+ (.*)\n/) { $here = $1 eq $heading; next; }
		$section .= $line if $here;
	}
	my @blocks = $section =~ /^```\Q$language\E\n(.*?)^```$/msg;
	croak "$self->{name}: no block of $language below \"$heading\"" unless @blocks;
	return @blocks if wantarray;
	croak "$self->{name}: several blocks of $language below \"$heading\"" if @blocks > 1;
	return $blocks[0];
}

# The only one, written to a file, whose name is returned.
sub file
{
	my ($self, $language, $heading, $file) = @_;

	unlink $file;
	PostgreSQL::Test::Utils::append_to_file($file, scalar $self->blocks($language, $heading));
	return $file;
}

# Why programs for node and its package pg cannot be run; or nothing, and what their environment needs.
sub node_with_pg
{
	my $has = q{require('pg')};

	return 'there is no node' if system('node --version >/dev/null 2>&1') != 0;
	for my $path ('', map { s/\n//r } `npm root -g 2>/dev/null`)
	{
		local $ENV{NODE_PATH} = $path;
		return (undef, $path ? (NODE_PATH => $path) : ()) if system("node -e \"$has\" 2>/dev/null") == 0;
	}
	return 'node has no package pg';
}

1;
