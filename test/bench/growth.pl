# The medians of growth.csv, a line for each thing that was measured; with the ratio of two builds.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Quantile;

my (%values, @order);
open(my $csv, '<', $ARGV[0]) or die "$ARGV[0]: $!\n";
while (my $line = <$csv>)
{
	next if $. == 1;
	chomp $line;
	# what was measured may have a comma in it
	my ($build, $what, $n, $value) = $line =~ /^([^,]*),(.*),(\d+),([^,]*)$/ or die "$line\n";
	push @order, [ $what, $n ] unless $values{$what}{$n};
	push @{ $values{$what}{$n}{$build} }, $value;
}
printf "%-62s %7s %12s %12s %8s\n", 'median', 'number', 'this', 'before', 'ratio';
for my $row (@order)
{
	my ($what, $n) = @$row;
	my %median = map { $_ => Quantile::quantile(0.5, @{ $values{$what}{$n}{$_} }) } keys %{ $values{$what}{$n} };
	printf "%-62s %7d %12.3f", $what, $n, $median{this};
	printf " %12.3f %8.1f", $median{before}, $median{this} > 0 ? $median{before} / $median{this} : 0 if exists $median{before};
	print "\n";
}
