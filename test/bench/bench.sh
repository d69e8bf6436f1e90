#!/usr/bin/env bash
# make bench: what a read, a write and a refresh cost, side by side with what one could use instead.
#
# Absolute numbers say something of this machine only.  So candidates take turns, round after round,
# and what counts is a candidate's ratio to the floor of the same round: its median and quartiles
# over the rounds.  Everything runs on private servers over unix sockets.
#
#   QUICK=1            two minutes: fewer sizes, shorter runs, no large tables
#   PARTS="reads ..."  only these parts; see `parts` below
#   ROUNDS=10 SECONDS_EACH=2
#                      rounds, an even number, and length of one run
#   RESULTS=directory  where CSV and plots go; otherwise doc/bench
#   BEFORE=directory   for the parts "workers", "parts", "ddl" and "growth", which is in "scale": the source of another version beside this one
#   KEYS="hits ..."    for the part "keys": only these of its measurements; see keys.sh
#   NO_INSTALL=1       do not install what the server and the build need
# Redis, pgpool-II and gnuplot are used if they are there, and never installed.

# shellcheck source=test/bench/lib.sh
. "$(dirname "$0")/lib.sh"

all_parts="function reads conditional writes mixed eager herd restart progress scale memory large workers"
quick=${QUICK:-}
parts=${PARTS:-$all_parts}
rounds=${ROUNDS:-10}
each=${SECONDS_EACH:-$([ -n "$quick" ] && echo 0.15 || echo 2)}
unset QUICK PARTS ROUNDS SECONDS_EACH
# by name only
extra_parts="growth parts ddl standby standby_ddl replay hot web keys"
for part in $parts; do
	case " $all_parts $extra_parts " in *" $part "*) ;; *) die "unknown part \"$part\"; there are $all_parts $extra_parts" ;; esac
done
wants() { case " $parts " in *" $1 "*) return 0 ;; esac; return 1; }

have perl || die "perl is missing"
require_packages server
build_copy all
install_copy
if am_root; then chmod 711 "$work"; fi
csv=$work/csv
mkdir -p "$csv" "$results"
machine >"$csv/machine.txt"
cat "$csv/machine.txt"

# Add a line to a part's CSV: part, fields.
header() { [ -e "$csv/$1.csv" ] || echo "$2" >"$csv/$1.csv"; }
record() { local part=$1 IFS=,; shift; echo "$*" >>"$csv/$part.csv"; }
skip() { say "skipped: $*"; }

#
# Where processes run
#

cpus=$(nproc)
# The children of a process, and itself.
family() {
	local file line
	echo "$1"
	for file in /proc/[0-9]*/stat; do
		line=$(cat "$file" 2>/dev/null) || continue
		if [ "$(cut -d ' ' -f 2 <<<"${line##*) }")" = "$1" ]; then sed 's/ .*//' <<<"$line"; fi
	done
}
# With one client, server and client share a CPU: what wakes whom where is then the same each time.
place() {
	local cpulist=0-$((cpus - 1)) pid process
	if [ "$1" = 1 ]; then cpulist=0; fi
	for pid in "${server_pids[@]}"; do
		for process in $(family "$pid"); do as_root taskset -apc "$cpulist" "$process" >/dev/null 2>&1 || true; done
	done
	client_cpus=$cpulist
}
server_pids=()

#
# One run: $clients clients execute the script of a candidate for about $each seconds.
# Prints transactions a second.
#

# $1: database; $2: script; $3: clients; $4: transactions each; the rest: options
run_pgbench() {
	local db=$1 script=$2 clients=$3 n=$4
	shift 4
	as_server taskset -c "$client_cpus" "$bindir/pgbench" -n -M prepared -c "$clients" -j "$((clients < cpus ? clients : cpus))" \
		-t "$n" -f "$script" "$@" "$db" >"$work/pgbench.log" 2>&1 ||
		{ cat "$work/pgbench.log" >&2; die "pgbench failed"; }
	sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/pgbench.log"
}

run_redis() {
	local key=$1 clients=$2 n=$3
	taskset -c "$client_cpus" redis-benchmark -s "$work/redis.sock" -c "$clients" -n "$n" --csv GET "$key" 2>/dev/null |
		sed -n 's/^"[^"]*","\([0-9.]*\)".*/\1/p' | tail -n 1
}

# $1: candidate; $2: database; $3: clients; $4: transactions each
run_candidate() {
	local candidate=$1 db=$2 clients=$3 n=$4
	case $candidate in
		redis) run_redis "$db" "$clients" "$((n * clients))" ;;
		pgpool*)
			(
				export PGHOST=$work/pool PGPORT=9999
				run_pgbench "$db" "$work/scripts/kv.sql" "$clients" "$n" -M "${candidate#pgpool-}"
			)
			;;
		*) run_pgbench "$db" "$work/scripts/$candidate.sql" "$clients" "$n" -D warm=1 -D etag="${etag:-none}" ;;
	esac
}

# How many transactions of each client take about $each seconds; this is the warm-up, too.
calibrate() {
	local tps
	run_candidate "$1" "$2" "$3" 20 >/dev/null
	tps=$(run_candidate "$1" "$2" "$3" 200)
	tps=$(run_candidate "$1" "$2" "$3" "$(perl -e 'print int(1 + $ARGV[0] * 0.2 / $ARGV[1])' "$tps" "$3")")
	perl -e 'print int(10 + $ARGV[0] * $ARGV[2] / $ARGV[1])' "$tps" "$3" "$each"
}

# The candidates of a round, $1, one a line.  Every other round goes backwards, so that an effect of a
# place in it shows as spread, not in the median.
in_turn() { printf '%s\n' "${@:2}" | if (($1 % 2)); then cat; else tac; fi; }

# Rounds of candidates, the first of which is the floor: part, database, clients; candidates.
# $before, if set, is called with database and candidate before each run.
rounds_of() {
	local part=$1 db=$2 clients=$3 candidate tps r
	shift 3
	declare -A n
	header "$part" "database,clients,round,candidate,tps"
	place "$clients"
	for candidate in "$@"; do n[$candidate]=$(calibrate "$candidate" "$db" "$clients"); done
	for ((r = 1; r <= rounds; r++)); do
		for candidate in $(in_turn $r "$@"); do
			if [ -n "${before:-}" ]; then $before "$db" "$candidate"; fi
			tps=$(run_candidate "$candidate" "$db" "$clients" "${n[$candidate]}")
			record "$part" "$db" "$clients" "$r" "$candidate" "$tps"
		done
	done
	perl "$bench/ratios.pl" "$csv/$part.csv" "$db" "$clients"
}

script() { printf '%s\n' "${@:2}" >"$work/scripts/$1.sql"; }
mkdir -p "$work/scripts"
script constant "SELECT folded();"
# a floor once more: what differs between the two is noise
script control "SELECT folded();"
script control-1 "SELECT 1;"
script hit "SELECT state_summary();"
script hit-by-name "SELECT summary_cache_get('state');"
script matview "SELECT doc FROM mv;"
script kv "SELECT doc FROM kv WHERE key = 'state';"
script watermarks "SELECT doc FROM kv, watermarks w WHERE key = 'state' AND kv.fingerprint = w.fingerprint;"
script recompute "SELECT * FROM recompute;"
script select-1 "SELECT 1;"
script any-function "SELECT pg_backend_pid();"
script unchanged "SELECT status, etag, document FROM summary_cache_fetch('state', :etag);"
script unchanged-value "SELECT summary_cache_unchanged('state', :etag);"
# both in a backend that has once read the document
# shellcheck disable=SC1003
for c in constant hit; do
	script "warm-$c" '\if :warm' 'SELECT state_summary();' '\set warm 0' '\endif' "$(cat "$work/scripts/$c.sql")"
done

# The server for all but the writes.
start_main() {
	if [ ! -e "$work/main" ]; then
		init_server main "summary_cache.worker_idle_timeout = 10min" "max_connections = 250"
		start_server main
	fi
	use_server main
}

need_database() {
	if [ "$(sql -c "SELECT count(*) FROM pg_database WHERE datname = '$1'")" = 0 ]; then make_database "$@"; fi
}


# Ends the servers that clean_up() does not know; pgpool waits for its clients unless it is interrupted.
peers=()
# (What runs in the background ignores an interrupt, so pgpool must get it itself.)
stop_peers() {
	local pid
	for pid in "${peers[@]}" $(cat "$work/pool/pid" 2>/dev/null | tr -dc 0-9); do as_root kill -INT "$pid" 2>/dev/null || true; done
	for pid in "${peers[@]}"; do kill "$pid" 2>/dev/null || true; done
}
at_exit=stop_peers

# shellcheck source=test/bench/reads.sh
. "$bench/reads.sh"
# shellcheck source=test/bench/writes.sh
. "$bench/writes.sh"
# shellcheck source=test/bench/refresh.sh
. "$bench/refresh.sh"
# shellcheck source=test/bench/restart.sh
. "$bench/restart.sh"
# shellcheck source=test/bench/scale.sh
. "$bench/scale.sh"
# shellcheck source=test/bench/growth.sh
. "$bench/growth.sh"
# shellcheck source=test/bench/parts.sh
. "$bench/parts.sh"
# shellcheck source=test/bench/ddl.sh
. "$bench/ddl.sh"
# shellcheck source=test/bench/large.sh
. "$bench/large.sh"
# shellcheck source=test/bench/workers.sh
. "$bench/workers.sh"
# shellcheck source=test/bench/hot.sh
. "$bench/hot.sh"
# shellcheck source=test/bench/web.sh
. "$bench/web.sh"
# shellcheck source=test/bench/keys.sh
. "$bench/keys.sh"
# shellcheck source=test/bench/standby.sh
. "$bench/standby.sh"
# shellcheck source=test/bench/replay.sh
. "$bench/replay.sh"

for part in $all_parts $extra_parts; do
	if wants "$part"; then "bench_$part"; fi
done

cp "$csv"/*.csv "$csv/machine.txt" "$results"/

# What gnuplot reads is made where it may be left lying.
plot() {
	local part=$1 name clients
	cp "$csv"/*.csv "$work/tmp/"
	cd "$work/tmp"
	for name in scale-bytes scale-tables; do
		if [ -e $name.csv ]; then perl "$bench/plot.pl" $name >$name.dat; fi
	done
	for clients in 1 2 8; do
		if [ -e reads.csv ]; then perl "$bench/plot.pl" reads $clients >reads-$clients.dat; fi
	done
	gnuplot "$bench/$part.gnuplot" && cp ./*.svg "$results"/
}
for part in $parts; do
	[ -e "$bench/$part.gnuplot" ] || continue
	if have gnuplot; then plot "$part" || say "no plot of $part"; else skip "plots (Debian: gnuplot-nox)"; break; fi
done
