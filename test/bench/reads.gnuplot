# Share of the constant's throughput by document size, a picture for each number of clients.
set terminal svg size 720,480 dynamic background "white" font "sans,12"
set logscale x 2
set logscale y
set grid
set key outside right
set xlabel "document, KB"
set ylabel "throughput as a share of the constant's (median, quartiles)"
do for [clients in "1 2 8"] {
    file = "reads-".clients.".dat"
    if (int(system("test -s ".file." && echo 1 || echo 0"))) {
        set output "reads-".clients.".svg"
        set title "Reads, ".clients.(clients eq "1" ? " client, pinned" : " clients")
        stats file using 0 nooutput
        plot for [i=0:STATS_blocks-2] file index i using 1:2:3:4 with yerrorlines title columnheader(1)
    }
}
