# The parts of bench.sh about size: scale, memory.  How things grow with numbers is in growth.sh.
# shellcheck shell=bash disable=SC2154

bench_scale() {
	local scale scales="1 10 50" tables all_tables="1 2 5 13 30 100" kb sizes="2 8 32 128 512 2048 5120" r
	local candidates="constant hit matview kv watermarks recompute"
	if [ -n "$quick" ]; then scales=1 all_tables="1 100" sizes="" candidates="constant hit recompute"; fi
	start_main
	say "" "By the size of the hub"
	for scale in $scales; do
		need_hub "hub$scale" "$scale"
		# shellcheck disable=SC2086
		rounds_of scale-hub "hub$scale" 1 $candidates
		header scale-build "database,round,bytes,build_ms,matview_refresh_ms"
		for ((r = 1; r <= 3; r++)); do
			record scale-build "hub$scale" $r "$(sql -d "hub$scale" -F , -c "SELECT length(state_summary(true)::text),
				(SELECT sum(build_ms) FROM summary_cache_sections WHERE summary = 'state')")" \
				"$(sql -d "hub$scale" -c '\timing on' -c 'REFRESH MATERIALIZED VIEW mv_recompute' | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p')"
			tail -n 1 "$csv/scale-build.csv"
		done
	done
	say "" "By the number of source tables, 2 KB"
	for tables in $all_tables; do
		need_database "t$tables" 2048 "$tables"
		rounds_of scale-tables "t$tables" 1 constant hit
	done
	if [ -n "$sizes" ]; then say "" "By the size of the document, 13 tables"; fi
	for kb in $sizes; do
		need_database "d$kb" $((kb * 1024)) 13
		rounds_of scale-bytes "d$kb" 1 constant hit warm-constant warm-hit
	done
	if ! wants growth; then bench_growth; fi
}

# Bytes of private memory of a process, from the kernel.
private_bytes() { as_root awk '/^Private_(Dirty|Clean)/ { n += $2 } END { print n * 1024 }' "/proc/$1/smaps_rollup"; }

# Bytes that it has asked the kernel for.  Private memory also grows without that: a page that was
# inherited at the fork becomes private when the others that had it let go of it.
data_bytes() { as_root awk '/^VmData/ { print $2 * 1024 }' "/proc/$1/status"; }

bench_memory() {
	local kb limit=8192 fit refreshes=$([ -n "$quick" ] && echo 10000 || echo 1000000) pid reader pids done_n r f row used used0 private0

	# how many documents fit in memory_limit
	say "" "Shared memory: documents that fit in memory_limit = $limit kB"
	if [ ! -e "$work/small" ]; then
		init_server small "summary_cache.memory_limit = ${limit}kB" "summary_cache.max_sections = 1000"
		start_server small
		sql -c "SET client_min_messages = error" -c "CREATE EXTENSION summary_cache" -c "CREATE TABLE t (n int)"
	fi
	use_server small
	header memory-shared "bytes,documents,limit_bytes,overhead"
	for kb in 16 64 256 1024; do
		sql <<-SQL >"$work/memory.log" 2>&1 || { cat "$work/memory.log"; die "could not fill the memory"; }
			SET client_min_messages = error;
			DO \$\$
			BEGIN
			    FOR i IN 1 .. 1 + $limit / $kb LOOP
			        PERFORM summary_cache_define('m' || i, 'core', 'SELECT repeat(''x'', $kb * 1024 - 8) AS n FROM (SELECT count(*) FROM t) t', '{t}');
			    END LOOP;
			END \$\$;
		SQL
		# as a reader would, until one does not fit
		sql -c "SELECT format('SELECT length(summary_cache_get(''m%s'')::text);', i) FROM generate_series(1, 1 + $limit / $kb) i" |
			as_server "$bindir/psql" -X -q -At 2>/dev/null >/dev/null
		fit=$(sql -c "SELECT count(*) FROM summary_cache_stats WHERE bytes > 0")
		record memory-shared $((kb * 1024)) "$fit" $((limit * 1024)) "$(perl -e 'printf "%.3f", $ARGV[0] / (($ARGV[1] || 1) * $ARGV[2]) - 1' $((limit * 1024)) "$fit" $((kb * 1024)))"
		tail -n 1 "$csv/memory-shared.csv"
		sql -c "SELECT summary_cache_drop('m' || i) FROM generate_series(1, 1 + $limit / $kb) i" >/dev/null
		# all of the memory, in one piece
		stop_server small
		start_server small
	done

	start_main
	need_database d256 262144 13
	say "" "A backend's own memory: bytes more after reads of a document of 262,144 bytes"
	header memory-backend "reads,in_contexts,private"
	sql -d d256 -c "SELECT length(state_summary()::text)" >/dev/null
	coproc SESSION { as_server "$bindir/psql" -X -q -At -F ' ' -d d256 2>&1; }
	# the same work before, with the constant; the first of two numbers of a line is the session's
	for ((r = 0; r <= 100; r++)); do
		case $r in 0) f=folded ;; *) f=state_summary ;; esac
		echo "DO 'BEGIN PERFORM length($f()::text); END'; SELECT pg_backend_pid(), sum(total_bytes) FROM pg_backend_memory_contexts;" >&"${SESSION[1]}"
		read -r pid used <&"${SESSION[0]}"
		case $r in
			0) used0=$used private0=$(private_bytes "$pid") ;;
			1 | 100) record memory-backend $r $((used - used0)) $(($(private_bytes "$pid") - private0)) ;;
		esac
	done
	cat "$csv/memory-backend.csv"
	echo '\q' >&"${SESSION[1]}"
	wait "$SESSION_PID" 2>/dev/null || true

	say "" "Memory over $refreshes refreshes, of the one that refreshes and of one that reads in one transaction throughout: private bytes, and bytes asked for"
	need_database d2 2048 13
	header memory-steady "refreshes,refresher,reader,refresher_data,reader_data"
	script refresh "SELECT state_summary(true);"
	sql -d d2 -c "CREATE TABLE IF NOT EXISTS stop (n int)" -c "TRUNCATE stop"
	as_server env PGAPPNAME=reader "$bindir/psql" -X -q -At -d d2 -c "BEGIN" -c "DO \$\$ BEGIN LOOP
		FOR i IN 1 .. 1000 LOOP PERFORM state_summary(); END LOOP;
		EXIT WHEN EXISTS (SELECT FROM stop); END LOOP; END \$\$" -c COMMIT >"$work/reader.log" 2>&1 &
	reader=$!
	as_server env PGAPPNAME=refresher "$bindir/pgbench" -n -M prepared -c 1 -t "$refreshes" -f "$work/scripts/refresh.sql" d2 >"$work/refresher.log" 2>&1 &
	pid=$!
	sleep 1
	pids=$(sql -c "SELECT string_agg(pid::text, ' ' ORDER BY application_name DESC) FROM pg_stat_activity WHERE application_name IN ('reader', 'refresher')")
	while kill -0 "$pid" 2>/dev/null; do
		done_n=$(sql -d d2 -c "SELECT builds_forced FROM summary_cache_stats WHERE summary = 'state'")
		# shellcheck disable=SC2086
		set -- $pids
		# at the end they may go between two looks
		if row=$({ private_bytes "$1" && private_bytes "$2" && data_bytes "$1" && data_bytes "$2"; } 2>/dev/null | xargs); then
			# shellcheck disable=SC2086 # four numbers
			record memory-steady "$done_n" $row
		fi
		sleep "$([ -n "$quick" ] && echo 0.5 || echo 5)"
	done
	wait "$pid" || { cat "$work/refresher.log"; die "pgbench failed"; }
	sql -d d2 -c "INSERT INTO stop VALUES (1)"
	wait "$reader" || { cat "$work/reader.log"; die "the reader failed"; }
	sed -n '2p;$p' "$csv/memory-steady.csv"
}
