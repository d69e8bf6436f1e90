# Prints, for one number of events of the CSV of bench.sh's part `progress`, the medians in ms and the
# ratios of the section to its query and to its query with the rest of the document.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Quantile;

my ($file, $events) = @ARGV;
my (@ms, @ratio);
open my $in, '<', $file or die "$file: $!\n";
while (<$in>) {
    chomp;
    my ($of, $round, @of_round) = split /,/;
    next unless $of eq $events;
    push @{ $ms[$_] }, $of_round[$_] for 0 .. 2;
    push @{ $ratio[$_] }, $of_round[0] / $of_round[$_] for 1, 2;
}
printf "  %s events: section %.3f, query %.3f, with the rest %.3f;", $events, map { quantile(0.5, @$_) } @ms;
printf " ratio %.2f (%.2f %.2f), with the rest %.2f (%.2f %.2f)\n", map { quartiles(@$_) } @ratio[1, 2];
