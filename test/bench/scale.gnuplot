# A hit beside the constant, by document size and by number of source tables.
set terminal svg size 720,480 dynamic background "white" font "sans,12"
set logscale x
set grid
set key outside right
set yrange [0:*]
set ylabel "throughput as a share of the constant's (median, quartiles)"
do for [what in "bytes tables"] {
    file = "scale-".what.".dat"
    if (int(system("test -s ".file." && echo 1 || echo 0"))) {
        set output "scale-".what.".svg"
        set xlabel what eq "bytes" ? "document, KB" : "source tables"
        stats file using 0 nooutput
        plot for [i=0:STATS_blocks-2] file index i using 1:2:3:4 with yerrorlines title columnheader(1)
    }
}
