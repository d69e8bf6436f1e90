#!/usr/bin/env bash
# make bench-instructions: how many instructions a backend executes for one operation, by callgrind.
# Unlike times these are the same on a busy machine, so a change can be compared with them.
#
# The whole server runs under valgrind; only what backends do below PostgresMain is counted.  Each
# operation is executed N and 2N times by pgbench -M prepared over a socket, and the difference
# divided by N: what a session costs to begin and to end is not in it.  The kernel is not counted.
#
#   OPS="hit ..."      only the operations whose names begin with one of these
#   PROFILES=directory also keep callgrind's outputs there
#   TABLE=file         also write the numbers there: operation, what it is compared with, instructions, with tabs
#   RESULTS=directory  where instructions.txt goes; otherwise doc/bench
#   NO_INSTALL=1       do not install what is missing

# shellcheck source=test/bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=test/bench/refresh.sh
. "$bench/refresh.sh"

ops=${OPS:-}
kept_profiles=${PROFILES:-}
kept_table=${TABLE:-}
unset OPS PROFILES TABLE
if ! have valgrind; then
	[ -z "$no_install" ] && have apt-get || die "valgrind is missing: apt-get install valgrind"
	apt_get install -q -y --no-install-recommends valgrind
fi
require_packages server
build_copy all
install_copy

table=$work/instructions
: >"$table"

init_server data "summary_cache.worker_idle_timeout = 0"
start_server data
make_database d2_13 2048 13
make_database d2_100 2048 100
make_database d256_13 262144 13
make_database d256_100 262144 100
need_hub hub 1
fill_database keys <<-'SQL'
	SET client_min_messages = error;
	CREATE EXTENSION summary_cache;
	CREATE TABLE tasks (id bigint PRIMARY KEY, tenant int NOT NULL, n int NOT NULL, title text NOT NULL);
	INSERT INTO tasks SELECT i, i, 0, repeat('x', 400) FROM generate_series(1, 3000) i;
	CREATE INDEX ON tasks (tenant);
	SELECT format('CREATE TABLE tasks_%s (LIKE tasks INCLUDING ALL)', t) FROM unnest('{none,tracked,keyed}'::text[]) t \gexec
	SELECT summary_cache_define('tenant', 'main', 'SELECT count(*) AS n, max(title) AS title FROM tasks WHERE tenant = $1', parameters => '{tenant int}'),
		summary_cache_define('name', 'main', 'SELECT count(*) AS n, max(title) AS title FROM tasks WHERE tenant = 1'),
		summary_cache_define('tracked', 'main', 'SELECT count(*) AS n FROM tasks_tracked'),
		summary_cache_define('keyed', 'main', 'SELECT count(*) AS n FROM tasks_keyed WHERE tenant = $1', parameters => '{tenant int}');
	VACUUM ANALYZE;
SQL
sql -d d2_13 -c "
	CREATE SEQUENCE s;
	CREATE TABLE bulk_plain (id bigint, n int NOT NULL, status text NOT NULL, updated_at timestamptz NOT NULL);
	CREATE TABLE bulk_tracked (LIKE bulk_plain);
	SELECT summary_cache_define('bulk', 'core', 'SELECT count(*) AS n FROM bulk_tracked')" >/dev/null
stop_server data

profiles=$work/profiles
as_server mkdir -p "$profiles"
# Valgrind's own children only: a fork is followed as it is.
as_server valgrind --tool=callgrind --toggle-collect=PostgresMain --callgrind-out-file="$profiles/callgrind.out.%p" \
	"$bindir/postgres" -D "$work/data" >"$work/valgrind.log" 2>&1 &
for ((i = 0; i < 300; i++)); do
	if as_server "$bindir/pg_isready" -q; then break; fi
	sleep 0.2
done
as_server "$bindir/pg_isready" -q || { cat "$work/valgrind.log"; die "the server did not start under valgrind"; }
postmaster=$(head -n 1 "$work/data/postmaster.pid")

wanted() {
	local op
	[ -n "$ops" ] || return 0
	for op in $ops; do case $1 in "$op"*) return 0 ;; esac; done
	return 1
}

# The processes of the server, without the postmaster.
count_processes() {
	local n=0 line
	for line in /proc/[0-9]*/stat; do
		line=$(cat "$line" 2>/dev/null) || continue
		line=${line##*) }	# state, parent
		if [ "$(cut -d ' ' -f 2 <<<"$line")" = "$postmaster" ]; then n=$((n + 1)); fi
	done
	echo "$n"
}

# Wait until all sessions are over and have written their profiles.  The instructions of the longest
# in $counted, its profile in $profile.
wait_for_profiles() {
	local file n total
	for ((n = 0; n < 600; n++)); do
		if [ "$(count_processes)" -le "$processes" ]; then break; fi
		sleep 0.1
	done
	counted=0
	for file in "$profiles"/callgrind.out.*; do
		[ -e "$file" ] || continue
		total=$(sed -n 's/^totals: *\([0-9]*\).*/\1/p' "$file")
		if [ "${total:-0}" -gt "$counted" ]; then counted=$total profile=$file; fi
	done
	[ "$counted" -gt 0 ] || die "no profile was written"
}

# SQL $2 in database $1, in a session that is gone when this returns.
session() {
	rm -f "$profiles"/callgrind.out.*
	sql -d "$1" -c "$2"
	wait_for_profiles
}

# $1: times; $2: database; $3: script; $4: SQL before.
run_once() {
	if [ -n "$4" ]; then session "$2" "$4" >/dev/null; fi
	rm -f "$profiles"/callgrind.out.*
	pgbench -M prepared -c 1 -t "$1" --random-seed=1 -D etag="${etag:-none}" -D k=0 -f "$3" "$2" >"$work/pgbench.log" 2>&1 ||
		{ cat "$work/pgbench.log"; die "pgbench failed"; }
	wait_for_profiles
}

# $1: name; $2: its base, - for none; $3: times; $4: units in one time; $5: database; $6: SQL before
# each run; the rest: lines of the script.
measure() {
	local name=$1 base=$2 n=$3 units=$4 db=$5 before=$6 once
	wanted "$name" || return 0
	shift 6
	printf '%s\n' "$@" >"$work/script.sql"
	run_once "$n" "$db" "$work/script.sql" "$before"
	once=$counted
	if [ -n "$kept_profiles" ]; then cp "$profile" "$kept_profiles/${name// /_}.1"; fi
	run_once "$((2 * n))" "$db" "$work/script.sql" "$before"
	if [ -n "$kept_profiles" ]; then cp "$profile" "$kept_profiles/${name// /_}.2"; fi
	printf '%s\t%s\t%s\n' "$name" "$base" "$(((counted - once) / (n * units)))" >>"$table"
	tail -n 1 "$table"
}

# what runs beside sessions
sleep 3
processes=$(count_processes)

etag=
for size in 2 256; do
	for tables in 13 100; do
		db=d${size}_$tables
		# somebody must build it; the worker, too, is slow here
		etag=$(session "$db" "SELECT etag FROM summary_cache_fetch('state')")
		if [ "$tables" = 13 ]; then
			measure "constant, $size KB" - 1000 1 "$db" "" "SELECT folded();"
			if [ "$size" = 2 ]; then measure "SELECT 1" - 1000 1 "$db" "" "SELECT 1;"; fi
		fi
		measure "hit, $size KB, $tables tables" "constant, $size KB" 1000 1 "$db" "" "SELECT state_summary();"
		if [ "$size" = 2 ]; then
			measure "hit by name, $size KB, $tables tables" "constant, $size KB" 1000 1 "$db" "" "SELECT summary_cache_get('state');"
		fi
		measure "unchanged, $size KB, $tables tables" "SELECT 1" 1000 1 "$db" "" \
			"SELECT status, etag, document FROM summary_cache_fetch('state', :etag);"
		if [ "$size$tables" = 213 ]; then
			measure "unchanged, as a record" "SELECT 1" 1000 1 "$db" "" "SELECT summary_cache_fetch('state', :etag);"
			measure "unchanged, true or false" "SELECT 1" 1000 1 "$db" "" "SELECT summary_cache_unchanged('state', :etag);"
			sql -d "$db" -c "CREATE ROLE reader" -c "SELECT summary_cache_configure('state', 'readers', 'reader')" \
				-c "SELECT state_summary(true)" >/dev/null
			measure "hit, 2 KB, 13 tables, readers set" "hit, 2 KB, 13 tables" 1000 1 "$db" "" "SELECT state_summary();"
			sql -d "$db" -c "SELECT summary_cache_configure('state', 'readers', NULL)" -c "SELECT state_summary(true)" >/dev/null
			measure "materialized view, $size KB" "constant, $size KB" 1000 1 "$db" "" "SELECT doc FROM mv;"
			measure "table row by key, $size KB" "constant, $size KB" 1000 1 "$db" "" "SELECT doc FROM kv WHERE key = 'state';"
			measure "13 MAX, $size KB" "constant, $size KB" 300 1 "$db" "" \
				"SELECT doc FROM kv, watermarks w WHERE key = 'state' AND kv.fingerprint = w.fingerprint;"
		fi
	done
done
etag=

fresh="TRUNCATE plain, src_1; INSERT INTO plain SELECT i, 0, 'open', '2025-01-01' FROM generate_series(1, 1000) i; INSERT INTO src_1 SELECT * FROM plain"
for t in plain src_1; do
	label=$([ $t = plain ] && echo "no trigger" || echo "tracked")
	base="UPDATE of a row, no trigger"
	measure "UPDATE of a row, $label" "$([ $t = plain ] && echo - || echo "$base")" 1000 1 d2_13 "$fresh" \
		"\\set id random(1, 1000)" "UPDATE $t SET n = n + 1 WHERE id = :id;"
	base="UPDATE in a transaction of 3, no trigger"
	measure "UPDATE in a transaction of 3, $label" "$([ $t = plain ] && echo - || echo "$base")" 500 3 d2_13 "$fresh" \
		"\\set id random(1, 1000)" "BEGIN;" "UPDATE $t SET n = n + 1 WHERE id = :id;" "UPDATE $t SET n = n + 2 WHERE id = :id;" \
		"UPDATE $t SET n = n + 3 WHERE id = :id;" "COMMIT;"
	base="INSERT of a row, no trigger"
	measure "INSERT of a row, $label" "$([ $t = plain ] && echo - || echo "$base")" 1000 1 d2_13 "TRUNCATE plain, src_1; ALTER SEQUENCE s RESTART" \
		"INSERT INTO $t VALUES (nextval('s'), 0, 'open', '2025-01-01');"
done

rows=10000
session d2_13 "COPY (SELECT i, 0, 'open', '2025-01-01'::timestamptz FROM generate_series(1, $rows) i) TO '$work/tmp/rows'"
for t in plain tracked; do
	label=$([ $t = plain ] && echo "no trigger" || echo "tracked")
	measure "INSERT of $rows rows, a row, $label" "$([ $t = plain ] && echo - || echo "INSERT of $rows rows, a row, no trigger")" 2 $rows d2_13 "TRUNCATE bulk_$t" \
		"INSERT INTO bulk_$t SELECT i, 0, 'open', '2025-01-01' FROM generate_series(1, $rows) i;"
	measure "COPY of $rows rows, a row, $label" "$([ $t = plain ] && echo - || echo "COPY of $rows rows, a row, no trigger")" 2 $rows d2_13 "TRUNCATE bulk_$t" \
		"COPY bulk_$t FROM '$work/tmp/rows';"
	measure "UPDATE of $rows rows, a row, $label" "$([ $t = plain ] && echo - || echo "UPDATE of $rows rows, a row, no trigger")" 1 $rows d2_13 \
		"TRUNCATE bulk_$t; INSERT INTO bulk_$t SELECT i, 0, 'open', '2025-01-01' FROM generate_series(1, $rows) i" \
		"UPDATE bulk_$t SET n = n + 1;"
done

event="INSERT INTO progress_events (topic_id, author, summary) VALUES (1, 'a', 'b');"
measure "event" - 100 1 hub "" "$event"
measure "event, section's query" "event" 100 1 hub "" "$event" "$(grep -v '^--' "$top/test/hub/progress.sql" | tr '\n' ' ');"
measure "event, read" "event, section's query" 100 1 hub "SELECT length(state_summary()::text)" "$event" "SELECT state_summary();"
measure "core's query" - 5 1 hub "" "$(grep -v '^--' "$top/test/hub/core.sql" | tr '\n' ' ');"
measure "forced read" "core's query" 5 1 hub "SELECT length(state_summary()::text)" "SELECT state_summary(true);"

# Documents of 400 bytes by parameters.  Each call is one of the same document; of one of 500, all of which the
# session knows; of another one each time, so that it has to know what it has not known or has forgotten.
for c in name one 500 another; do
	base="keys: a hit, name"
	read -r documents call < <(case $c in
		name) echo "1 summary_cache_get('name')" ;;
		one) echo "1 summary_cache_get('tenant', parameters => ARRAY[:i::text])" ;;
		500) echo "500 summary_cache_get('tenant', parameters => ARRAY[:i::text])" ;;
		another) echo "2100 summary_cache_get('tenant', parameters => ARRAY[:i::text])" ;;
	esac)
	if wanted "keys: a hit, $c"; then
		session keys "SELECT length(summary_cache_get('name')::text), count(summary_cache_get('tenant', parameters => ARRAY[i::text])) FROM generate_series(1, $documents) i" >/dev/null
	fi
	measure "keys: a hit, $c" "$([ $c = name ] && echo - || echo "$base")" 1000 1 keys "" "\\set k :k + 1" "\\set i 1 + :k % $documents" "SELECT $call;"
done
for t in none tracked keyed; do
	base="keys: UPDATE of a row, none"
	measure "keys: UPDATE of a row, $t" "$([ $t = none ] && echo - || echo "$base")" 1000 1 keys \
		"TRUNCATE tasks_$t; INSERT INTO tasks_$t SELECT i, i, 0, 'x' FROM generate_series(1, 1000) i" \
		"\\set id random(1, 1000)" "UPDATE tasks_$t SET n = n + 1 WHERE id = :id;"
	base="keys: INSERT of $rows rows by row, none"
	measure "keys: INSERT of $rows rows by row, $t" "$([ $t = none ] && echo - || echo "$base")" 2 $rows keys "TRUNCATE tasks_$t" \
		"INSERT INTO tasks_$t SELECT i + $rows * :k, 1 + i % 1000, 0, 'x' FROM generate_series(1, $rows) i;" "\\set k :k + 1"
	base="keys: UPDATE of $rows rows by row, none"
	measure "keys: UPDATE of $rows rows by row, $t" "$([ $t = none ] && echo - || echo "$base")" 1 $rows keys \
		"TRUNCATE tasks_$t; INSERT INTO tasks_$t SELECT i, 1 + i % 1000, 0, 'x' FROM generate_series(1, $rows) i" \
		"UPDATE tasks_$t SET n = n + 1;"
done

stop_server data
[ -z "$kept_table" ] || cp "$table" "$kept_table"
mkdir -p "$results"
{
	echo "Instructions of a backend for one operation (callgrind; the kernel not counted)."
	machine
	echo
	perl -F'\t' -lane '$n{$F[0]} = $F[2]; $r = $n{$F[1]} ? sprintf "%6.3f of %s", $F[2] / $n{$F[1]}, $F[1] : "";
		printf "%-48s %10d  %s\n", $F[0], $F[2], $r' "$table"
} | if [ -z "$ops" ]; then tee "$results/instructions.txt"; else cat; fi
