# Medians over the rounds of hot.csv: hot.pl file.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Quantile;

my (%values, @keys);
my $head = <>;
chomp $head;
my (undef, undef, undef, @names) = split /,/, $head;
while (<>) {
    chomp;
    my ($summary, $setting, undef, @columns) = split /,/;
    my $key = sprintf '%-12s %-18s', $summary, $setting;
    push @keys, $key unless $values{$key};
    push @{ $values{$key}[$_] }, $columns[$_] for 0 .. $#columns;
}
printf "%-31s %s\n", '', join ' ', map { sprintf '%10s', $_ } @names;
for my $key (sort @keys) {
    printf "%s %s\n", $key, join ' ', map { sprintf '%10s', (quartiles(@$_))[0] } @{ $values{$key} };
}
