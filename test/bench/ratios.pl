# Prints, for one database and number of clients of a CSV of bench.sh, each candidate's throughput as
# a share of the first one's in the same round: median and quartiles.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Quantile;

my ($file, $db, $clients) = @ARGV;
my (%tps, @names);

open my $in, '<', $file or die "$file: $!\n";
while (<$in>) {
    chomp;
    my ($d, $c, $round, $name, $value) = split /,/;
    next unless $d eq $db && $c eq $clients;
    push @names, $name unless exists $tps{$name};
    $tps{$name}{$round} = $value;
}
my $floor = $names[0];
printf "%s, %d client%s\n", $db, $clients, $clients > 1 ? 's' : '';
printf "  %-18s %10s   %s\n", '', '1/s', 'share: median (quartiles)';
for my $name (@names) {
    my @r = grep { $tps{$floor}{$_} && $tps{$name}{$_} } keys %{ $tps{$name} };
    my @share = map { $tps{$name}{$_} / $tps{$floor}{$_} } @r;
    printf "  %-18s %10.0f   %6.3f (%.3f %.3f)\n", $name, quantile(0.5, map { $tps{$name}{$_} } @r),
        quartiles(@share);
    # what was meant to be compared with another than the floor
    if ($name =~ /^warm-(?!constant)/ && $tps{'warm-constant'}) {
        my @warm = map { $tps{$name}{$_} / $tps{'warm-constant'}{$_} } @r;
        printf "  %-18s %10s   %6.3f (%.3f %.3f) of warm-constant\n", '', '',
            quartiles(@warm);
    }
}
