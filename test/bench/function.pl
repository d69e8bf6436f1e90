# Prints the cost of one call from the CSV of bench.sh's part `function`: what a call of a trivial
# function costs in the same round is taken off.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Quantile;

my (%ns, %seen, @rows);
open my $in, '<', $ARGV[0] or die "$ARGV[0]: $!\n";
<$in>;
while (<$in>) {
    chomp;
    my ($bytes, $tables, $function, $round, $value) = split /,/;
    my $row = "$bytes,$tables";
    push @rows, $row unless $seen{$row}++;
    $ns{$row}{$function}{$round} = $value;
}
printf "  %8s %7s   %-24s %s\n", 'bytes', 'tables', 'hit', 'hit by name: ns, median (quartiles)';
for my $row (@rows) {
    my @out;
    for my $function ('hit', 'by-name') {
        my @d = map { $ns{$row}{$function}{$_} - $ns{$row}{none}{$_} } keys %{ $ns{$row}{$function} };
        push @out, sprintf '%6.1f (%.1f %.1f)', quartiles(@d);
    }
    printf "  %8d %7d   %-24s %s\n", split(/,/, $row), @out;
}
