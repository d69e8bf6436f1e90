# Makes from the CSV of bench.sh what gnuplot draws: plot.pl part [clients] > data.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Quantile;

my ($part, @clients) = @ARGV;

# Shares of the first candidate's throughput, a block for each candidate: x, median, quartiles.
my (%tps, @names, %floor, @keys);
open my $in, '<', "$part.csv" or die "$part.csv: $!\n";
<$in>;
while (<$in>) {
    chomp;
    my ($db, $clients, $round, $name, $value) = split /,/;
    my $key = "$db,$clients";
    push @names, $name unless grep { $_ eq $name } @names;
    push @keys, $key unless grep { $_ eq $key } @keys;
    $tps{$key}{$name}{$round} = $value;
    $floor{$key} //= $name;
}
for my $clients (@clients ? @clients : 1) {
    for my $name (@names) {
        my @points;
        for my $key (grep { /,$clients$/ && $tps{$_}{$name} } @keys) {
            my ($x) = $key =~ /(\d+)/;
            my $t = $tps{$key};
            my @share = map { $t->{$name}{$_} / $t->{ $floor{$key} }{$_} }
                grep { $t->{ $floor{$key} }{$_} } keys %{ $t->{$name} };
            push @points, [$x, quartiles(@share)];
        }
        next unless @points;
        print "\"$name\"\n";
        print "@$_\n" for sort { $a->[0] <=> $b->[0] } @points;
        print "\n\n";
    }
}
