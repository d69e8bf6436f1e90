# The medians of a CSV by candidate, and their ratios to those of the candidates that are named.
# candidate,round,bytes,rate[,cost]

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Quantile;

my ($file, @floors) = @ARGV;
my (%values, @candidates);

open my $csv, '<', $file or die "$file: $!";
my @header = split /,/, <$csv> =~ s/\n//r;
while (<$csv>)
{
	chomp;
	my ($candidate, $round, @fields) = split /,/;
	push @candidates, $candidate unless $values{$candidate};
	push @{ $values{$candidate}[$_] }, $fields[$_] for 0 .. $#fields;
}
my $median = sub { my ($candidate, $n) = @_; return quantile(0.5, @{ $values{$candidate}[$n] }) };
printf "  %-16s %10s %16s%s\n", @header[0, 2, 3], join '', map { sprintf ' %12s', $_ } @header[ 4 .. $#header ];
for my $candidate (@candidates)
{
	printf "  %-16s %10d %16.1f", $candidate, $median->($candidate, 0), $median->($candidate, 1);
	printf ' %12.3f', $median->($candidate, $_) for 2 .. $#header - 2;
	for my $floor (grep { $values{$_} } @floors)
	{
		my @ratios = map { $values{$candidate}[1][$_] / $values{$floor}[1][$_] } 0 .. $#{ $values{$floor}[1] };
		printf '   %.2f (%.2f..%.2f) of %s', quantile(0.5, @ratios), quantile(0.25, @ratios), quantile(0.75, @ratios), $floor;
	}
	print "\n";
}
