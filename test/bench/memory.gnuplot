# Private memory over many refreshes.
set terminal svg size 720,480 dynamic background "white" font "sans,12"
set datafile separator ","
set output "memory.svg"
set title "Private memory of a backend"
set xlabel "refreshes"
set ylabel "MB"
set yrange [0:*]
set grid
plot "memory-steady.csv" using 1:($2/1048576) skip 1 with lines title "refreshes", \
     "memory-steady.csv" using 1:($3/1048576) skip 1 with lines title "reads in one transaction"
