#!/usr/bin/env bash
# make soak: refreshes without readers on a throw-away server, while launcher, workers and backends are
# killed at random, places for workers run out, databases come and go, and summaries fail in every way.
# What is checked: the head of test/soak/soak.c.
#
#   soak.sh [cassert|sanitize]   on a server that looks for mistakes (server.sh)
#   DURATION=60    seconds; the last checks need up to two minutes more
#   SEED=N         of all random choices
#   BOUND=30       seconds within which a commit must be followed by a refresh
#   NO_INSTALL=1   do not install what is missing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

duration=${DURATION:-60}
seed=${SEED:-$(date +%s)}
bound=${BOUND:-30}
case $duration$seed$bound in *[!0-9]*) die "DURATION, SEED and BOUND are whole numbers" ;; esac

use_server "${1:-}"
require_packages server
build_copy all COPT=-Werror
install_copy
watch_server

data=$work/soak-data
sock=$work/sock
# Room for 40 of the 66 sections, for some of the documents, and for two workers beside two processes
# of parallel queries.
create_server "$data" "$sock" <<-CONF
	max_connections = 60
	max_worker_processes = 6
	restart_after_crash = on
	summary_cache.max_sections = 40
	summary_cache.max_tables = 120
	summary_cache.memory_limit = 2MB
	summary_cache.max_workers = 2
	summary_cache.eager_refresh = on
	summary_cache.worker_idle_timeout = 500ms
	summary_cache.build_timeout = 500ms
CONF
compile_client "$work/soak" "$work/src/test/soak/soak.c"
ulimit -c unlimited 2>/dev/null || true
run_server "$data" "$work/soak.log"

status=0
say "seed $seed, $duration s"
as_server "$work/soak" --conninfo="host=$sock user=postgres" --seconds="$duration" --seed="$seed" --bound="$bound" ||
	status=$?
as_server "$bindir/pg_ctl" stop -s -m fast -D "$data" || status=1

# Only SIGKILL is ours.
if grep -nE 'PANIC:|was terminated by signal ([1-8]|[1-9][0-9])\b' "$work/soak.log"; then status=1; fi
find "$data" -name 'core*' -type f >"$work/cores"
if [ -s "$work/cores" ]; then cat "$work/cores"; status=1; fi
look_for_reports || status=1
if [ "$status" -eq 0 ]; then last_line="soak: no violation"; else last_line="soak: FAILED, seed $seed"; fi
exit "$status"
