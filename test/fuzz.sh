#!/usr/bin/env bash
# make fuzz: random sequences of all SQL functions, in many sessions, on a throw-away server; for a third
# of the time three roles that attack each other beside a bystander; then sqlsmith's random queries, if it
# is installed and there are 100 s or more.  What is checked: the heads of test/fuzz/fuzz.c and roles.c.
#
#   fuzz.sh [cassert|sanitize]   on a server that looks for mistakes (server.sh)
#   DURATION=60    seconds
#   SEED=N         of all random choices
#   SESSIONS=6     of the generator
#   NO_INSTALL=1   do not install what is missing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

duration=${DURATION:-60}
seed=${SEED:-$(date +%s)}
nsessions=${SESSIONS:-6}
case $duration$seed$nsessions in *[!0-9]*) die "DURATION, SEED and SESSIONS are whole numbers" ;; esac

use_server "${1:-}"
require_packages server
build_copy all COPT=-Werror
install_copy
watch_server

data=$work/fuzz-data
sock=$work/sock
# Little room, so that it runs out.
create_server "$data" "$sock" <<-CONF
	summary_cache.max_sections = 24
	summary_cache.max_tables = 40
	summary_cache.memory_limit = 2MB
CONF
run_server "$data" "$work/fuzz.log"
compile_client "$work/fuzz" "$work/src/test/fuzz/fuzz.c" "$work/src/test/fuzz/common.c"
compile_client "$work/roles" "$work/src/test/fuzz/roles.c" "$work/src/test/fuzz/common.c"

smith=0
# It needs some seconds to begin.
if have sqlsmith && [ "$duration" -ge 100 ]; then smith=$((duration / 5)); fi
roles=$((duration / 3))
status=0
say "seed $seed, $((duration - smith - roles)) s"
as_server "$work/fuzz" --conninfo="host=$sock user=postgres" --seconds=$((duration - smith - roles)) --seed="$seed" \
	--sessions="$nsessions" --log="$work/statements.log" || status=$?
if [ "$status" -eq 0 ]; then
	say "three roles, $roles s"
	as_server "$work/roles" --conninfo="host=$sock user=postgres" --seconds="$roles" --seed="$seed" \
		--server-log="$work/fuzz.log" --log="$work/roles.log" || status=$?
fi

# Not as a superuser: there is too much that would only break the server.
if [ "$smith" -gt 0 ] && [ "$status" -eq 0 ]; then
	say "sqlsmith, $smith s"
	as_server "$work/fuzz" --conninfo="host=$sock user=postgres" --schema
	as_server timeout "$smith" sqlsmith --target="host=$sock user=fuzz_a dbname=summary_cache_fuzz" --seed="$seed" \
		--exclude-catalog >"$work/sqlsmith.log" 2>&1 || true
	as_server "$bindir/psql" -X -q -A -t -h "$sock" -U postgres -d summary_cache_fuzz \
		-c "SELECT 'reads ' || sum(hits + progress_sections + stale + misses + private) FROM summary_cache_stats" ||
		status=1
	pending=$(as_server "$bindir/psql" -X -q -A -t -h "$sock" -U postgres -d summary_cache_fuzz \
		-c "SELECT count(*) FROM summary_cache_tables WHERE pending <> 0") || status=1
	if [ "$pending" != 0 ]; then say "sources are still pending: $pending"; status=1; fi
fi

as_server "$bindir/pg_ctl" stop -s -m fast -D "$data" || status=1
if grep -nE '[(]PID [0-9]+[)] was terminated by signal|PANIC:' "$work/fuzz.log"; then status=1; fi
look_for_reports || status=1
if [ "$status" -eq 0 ]; then last_line="fuzz: nothing found"; else last_line="fuzz: FAILED, seed $seed"; fi
exit "$status"
