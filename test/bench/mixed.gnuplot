# Latency of reads while others commit to the source at full speed.
set terminal svg size 720,480 dynamic background "white" font "sans,12"
set datafile separator ","
set output "mixed.svg"
set title "4 readers, 4 writers"
set xlabel "share of reads"
set ylabel "microseconds"
set logscale y
set grid
set key left top
set xrange [0:5]
set xtics ("0" 0, "0.9" 1, "0.99" 2, "0.999" 3, "0.9999" 4, "0.99999" 5)
plot "mixed-constant.csv" using (-log10(1 - $1)):2 with lines title "constant", \
     "mixed-hit.csv" using (-log10(1 - $1)):2 with lines title "summary"
