#!/usr/bin/env bash
# make soak: refreshes without readers on a throw-away server, while launcher, workers and backends are
# killed at random, places for workers run out, databases come and go, and summaries fail in every way.
# What is checked: the head of test/soak/soak.c.
#
#   soak.sh [cassert|sanitize]   on a server that looks for mistakes (server.sh)
#   DURATION=60    seconds; the last checks need up to two minutes more
#   SEED=N         of all random choices
#   BOUND=30       seconds within which a commit must be followed by a refresh
#   BESIDE=1000    ms within which that must be so for 99 of 100 commits beside hostile summaries only
#   REPORT=file    write there what was run, on what, and what came of it; doc/bench/soak.txt is one
#   NO_INSTALL=1   do not install what is missing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

duration=${DURATION:-60}
seed=${SEED:-$(date +%s)}
bound=${BOUND:-30}
beside=${BESIDE:-1000}
report=${REPORT:+$(realpath -m "$REPORT")}
case $duration$seed$bound$beside in *[!0-9]*) die "DURATION, SEED, BOUND and BESIDE are whole numbers" ;; esac

# What was run, for the report.
head_of_report() {
	local commit cores
	commit=$(git -C "$top" describe --always --dirty=' with changes' 2>/dev/null) || commit=unknown
	cores=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | sort | uniq -c | sed 's/^ *\([0-9]*\) /\1 cores of /')
	printf 'make soak, %s, %s, %s; commit %s:\n' "$(date +%F)" "$("$pg_config" --version)" "${cores:-$(uname -m)}" "$commit"
	printf 'DURATION=%s SEED=%s BOUND=%s BESIDE=%s make soak\n\n' "$duration" "$seed" "$bound" "$beside"
}

use_server "${1:-}"
require_packages server
build_copy all COPT=-Werror
install_copy
watch_server

data=$work/soak-data
sock=$work/sock
create_server "$data" "$sock" <"$work/src/test/soak/server.conf"
compile_client "$work/soak" "$work/src/test/soak/soak.c"
ulimit -c unlimited 2>/dev/null || true
run_server "$data" "$work/soak.log"

status=0
say "seed $seed, $duration s"
as_server "$work/soak" --conninfo="host=$sock user=postgres" --seconds="$duration" --seed="$seed" --bound="$bound" \
	--beside="$beside" | tee "$work/soak.out" || status=1
as_server "$bindir/pg_ctl" stop -s -m fast -D "$data" || status=1

# Only SIGKILL is ours.
if grep -nE 'PANIC:|was terminated by signal ([1-8]|[1-9][0-9])\b' "$work/soak.log"; then status=1; fi
find "$data" -name 'core*' -type f >"$work/cores"
if [ -s "$work/cores" ]; then cat "$work/cores"; status=1; fi
look_for_reports || status=1
if [ "$status" -eq 0 ]; then last_line="soak: no violation"; else last_line="soak: FAILED, seed $seed"; fi
if [ -n "$report" ]; then { head_of_report; cat "$work/soak.out"; say "$last_line"; } >"$report"; fi
exit "$status"
