# Quantiles, for the scripts that make tables and plots of the benchmarks.
package Quantile;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT = qw(quantile quartiles);

# The q-quantile of numbers, interpolated between two neighbours.
sub quantile {
    my ($q, @x) = @_;
    @x = sort { $a <=> $b } @x;
    my $at = $q * (@x - 1);
    my $low = int $at;
    return $low + 1 < @x ? $x[$low] + ($at - $low) * ($x[$low + 1] - $x[$low]) : $x[$low];
}

# Median, lower and upper quartile.
sub quartiles {
    my @x = @_;
    return map { quantile($_, @x) } 0.5, 0.25, 0.75;
}

1;
