# Lists and applies the mutants of test/covers/*.mutants, for test/covers.sh.
#
#   perl mutants.pl list FILE...            name, test and cover of each, tab-separated
#   perl mutants.pl apply NAME ROOT FILE... change the tree at ROOT; prints the files that were changed
#
# A mutant is the source without one cover:
#
#	mutant NAME
#	cover what is taken away, one line
#	test NAME of the one test that must fail; or
#	equivalent why no test can: another cover always catches it
#	in FILE
#	 context, -old and +new lines, as in a patch without line numbers
#
# "in" and lines after it may come several times.  The context and old lines of each must stand in the
# file exactly once, in one piece: a mutant that no longer fits the source is an error, not a survivor.

use strict;
use warnings;

my ($command, @arguments) = @ARGV;
my ($wanted, $root);
($wanted, $root) = splice @arguments, 0, 2 if $command eq 'apply';
my (@mutants, %known);

for my $file (@arguments)
{
	open my $in, '<', $file or die "$file: $!\n";
	while (my $line = <$in>)
	{
		chomp $line;
		my $mutant = $mutants[-1];
		my $fail = sub { die "$file:$.: $_[0]\n" };

		if ($line =~ /^(?:#|$)/)
		{
		}
		elsif ($line =~ /^mutant ([a-z0-9-]+)$/)
		{
			$fail->("mutant $1 is there twice") if $known{$1}++;
			push @mutants, { name => $1, hunks => [] };
		}
		elsif (!$mutant)
		{
			$fail->('no mutant yet');
		}
		elsif ($line =~ /^(cover|test|equivalent) (.+)$/)
		{
			$fail->("$1 is there twice") if exists $mutant->{$1};
			$mutant->{$1} = $2;
		}
		elsif ($line =~ /^in (\S+)$/)
		{
			push @{ $mutant->{hunks} }, { file => $1, old => '', new => '' };
		}
		elsif ($line =~ /^([-+ ])(.*)$/ && @{ $mutant->{hunks} })
		{
			my $hunk = $mutant->{hunks}[-1];
			$hunk->{old} .= "$2\n" if $1 ne '+';
			$hunk->{new} .= "$2\n" if $1 ne '-';
		}
		else
		{
			$fail->("not understood: $line");
		}
	}
	close $in;
}

for my $mutant (@mutants)
{
	die "mutant $mutant->{name}: needs a cover, a test or why there is none, and what to change\n"
	  if !$mutant->{cover} || !@{ $mutant->{hunks} } || !($mutant->{test} xor $mutant->{equivalent});
	next if $command ne 'list';
	print join("\t", $mutant->{name}, $mutant->{test} // '-', $mutant->{cover}, $mutant->{equivalent} // ''), "\n";
}

if ($command eq 'apply')
{
	my ($mutant) = grep { $_->{name} eq $wanted } @mutants;
	my %text;

	die "no mutant is called \"$wanted\"\n" unless $mutant;
	for my $hunk (@{ $mutant->{hunks} })
	{
		my ($file, $old) = @{$hunk}{qw(file old)};

		if (!defined $text{$file})
		{
			local $/;
			open my $in, '<', "$root/$file" or die "$file: $!\n";
			# a hunk begins at the beginning of a line
			$text{$file} = "\n" . <$in>;
		}
		my $at = index $text{$file}, "\n$old";
		die "mutant $wanted: not in $file:\n$old" if $at < 0 || $old eq '';
		die "mutant $wanted: more than once in $file:\n$old" if index($text{$file}, "\n$old", $at + 1) >= 0;
		die "mutant $wanted: changes nothing in $file\n" if $old eq $hunk->{new};
		substr $text{$file}, $at + 1, length $old, $hunk->{new};
	}
	for my $file (sort keys %text)
	{
		open my $out, '>', "$root/$file" or die "$file: $!\n";
		print $out substr $text{$file}, 1;
		close $out or die "$file: $!\n";
		print "$file\n";
	}
}
