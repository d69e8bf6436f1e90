# Prints what bench.sh's part `keys` has found of one thing, from keys.csv: the median (quartiles; the most) of each
# candidate, and its ratio to the first one's of the same round.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Quantile;

my ($file, $what) = @ARGV;
open my $in, '<', $file or die "$file: $!\n";
my (%values, @keys, %candidates);
while (<$in>) {
    chomp;
    my ($w, $candidate, $n, $round, $value) = split /,/;
    next unless $w eq $what;
    push @keys, $n unless $values{$n};
    push @{ $candidates{$n} }, $candidate unless $values{$n}{$candidate};
    push @{ $values{$n}{$candidate}{$round} }, $value;
}

# With three digits, or those before the point.
sub number { my ($x) = @_; return sprintf $x >= 100 ? '%.0f' : $x >= 10 ? '%.1f' : '%.2f', $x }

for my $n (@keys) {
    my $floor = $values{$n}{ $candidates{$n}[0] };
    print "$what", ($n > 1 ? ", $n" : ''), "\n";
    for my $candidate (@{ $candidates{$n} }) {
        my $rounds = $values{$n}{$candidate};
        my @all = map { @{ $rounds->{$_} } } keys %$rounds;
        my @ratios = map { quantile(0.5, @{ $rounds->{$_} }) / quantile(0.5, @{ $floor->{$_} }) }
            grep { $floor->{$_} && quantile(0.5, @{ $floor->{$_} }) > 0 } keys %$rounds;
        my $spread = @all > 1 ? sprintf '(%s %s; %s)', map { number($_) } (quartiles(@all))[ 1, 2 ], quantile(1, @all) : '';
        printf "  %-16s %9s %-32s %s\n", $candidate, number(quantile(0.5, @all)), $spread,
            !@ratios ? '' : @ratios > 1 ? sprintf '%.2f (%.2f %.2f)', quartiles(@ratios) : sprintf '%.2f', @ratios;
    }
}
