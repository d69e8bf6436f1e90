# Prints what bench.sh's part `parts` has found, from parts.csv or parts_load.csv: the medians, with the
# median and quartiles of the ratios.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Quantile;

my ($file) = @ARGV;
open my $in, '<', $file or die "$file: $!\n";
chomp(my $head = <$in>);
my @names = split /,/, $head;
my $load = $names[-1] eq 'worker_ms_per_commit';
my (%values, @keys);
while (<$in>) {
    chomp;
    my %row;
    @row{@names} = split /,/, $_, -1;
    my $key = join ',', @row{ 'scale', 'summary', $load ? 'commits_per_s' : 'changed' };
    push @keys, $key unless $values{$key};
    push @{ $values{$key}{ $row{build} } }, \%row;
}

# The median of a column of a build, or undef.
sub median {
    my ($rows, $column) = @_;
    my @x = grep { length } map { $_->{$column} } @{ $rows || [] };
    return @x ? quantile(0.5, @x) : undef;
}

sub shown { defined $_[0] ? sprintf '%.3f', $_[0] : '-' }
sub ratio { $_[0] && $_[1] && $_[1] > 0 ? sprintf '%.2f', $_[0] / $_[1] : '-' }

if ($load) {
    printf "%5s %-9s %10s %18s %10s %18s %10s %7s\n", 'scale', 'summary', 'commits/s', 'ms CPU a commit', 'builds',
        'before, ms', 'builds', 'ratio';
    for my $key (@keys) {
        my ($this, $before) = map { $values{$key}{$_} } qw(this before);
        my ($ms, $old) = map { median($_, 'worker_ms_per_commit') } $this, $before;
        printf "%5s %-9s %10s %18s %10s %18s %10s %7s\n", split(/,/, $key), shown($ms), median($this, 'builds'),
            shown($old), median($before, 'builds') // '-', ratio($old, $ms);
    }
    exit;
}

printf "%5s %-9s %-22s %9s %9s %9s  %-20s %9s %9s %8s\n", 'scale', 'summary', 'changed', 'read, ms', 'build', 'query',
    'build / query', 'before', 'query', 'before/this';
for my $key (@keys) {
    my ($this, $before) = map { $values{$key}{$_} } qw(this before);
    my @ratio = map { $_->{build_ms} / $_->{query_ms} } grep { $_->{query_ms} } @$this;
    my ($build, $old) = map { median($_, 'build_ms') } $this, $before;
    printf "%5s %-9s %-22s %9s %9s %9s  %-20s %9s %9s %8s\n", split(/,/, $key), shown(median($this, 'read_ms')),
        shown($build), shown(median($this, 'query_ms')),
        @ratio ? sprintf('%.2f (%.2f %.2f)', quartiles(@ratio)) : '-',
        shown($old), shown(median($before, 'query_ms')), ratio($old, $build);
}
