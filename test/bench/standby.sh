# The part of bench.sh about a standby: what share of its reads are hits, how far what it serves is
# behind, and what its worker does, while its primary commits what has to do with no source.
# shellcheck shell=bash disable=SC2154

# In a session on the standby: reads 100 times a second, and compares with the tables there.
standby_reader() {
	PGHOST=$work/standby.sock sql -d hub1 -c "CALL read_for($1)" >"$work/reader.log" 2>&1 ||
		{ cat "$work/reader.log" >&2; die "the reader failed"; }
	sed -n 's/.*NOTICE: *result,//p' "$work/reader.log"
}

# CPU time of a process, in clock ticks.
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }

start_standby() {
	as_server mkdir -p "$work/standby.sock"
	as_server rm -rf "$work/standby"
	as_server "$bindir/pg_basebackup" -D "$work/standby" -R -c fast --no-sync
	as_server tee -a "$work/standby/postgresql.conf" <<-CONF >/dev/null
		unix_socket_directories = '$work/standby.sock'
		hot_standby_feedback = on
		wal_retrieve_retry_interval = 100ms
		include_if_exists = 'beside.conf'
	CONF
	start_server standby
	use_server primary
}

# The newest change is in the document, so that a reader sees what it lacks.
prepare_standby() {
	sql -d hub1 <<-'SQL'
		CREATE TABLE changes (at timestamptz);
		INSERT INTO changes VALUES (clock_timestamp());
		CREATE TABLE unrelated (n int);
		SELECT summary_cache_define('state', 'changes', 'SELECT max(at) AS changed_at FROM changes') \g /dev/null

		CREATE PROCEDURE read_for(seconds float8) LANGUAGE plpgsql AS $$
		DECLARE
		    until timestamptz := clock_timestamp() + seconds * '1 s'::interval;
		    answer record; missing timestamptz;
		    reads int := 0; hits int := 0; stale int := 0; behind float8[] := '{}';
		BEGIN
		    WHILE clock_timestamp() < until LOOP
		        SELECT status, (document->>'changed_at')::timestamptz AS at INTO answer FROM summary_cache_fetch('state');
		        COMMIT;
		        SELECT min(at) INTO missing FROM changes WHERE at > answer.at;
		        behind := behind || coalesce(1000 * extract(epoch FROM clock_timestamp() - missing), 0)::float8;
		        reads := reads + 1;
		        hits := hits + (answer.status = 'hit-revision')::int;
		        stale := stale + (answer.status = 'stale')::int;
		        COMMIT;
		        PERFORM pg_sleep(0.01);
		    END LOOP;
		    RAISE NOTICE 'result,%,%,%,%,%,%', reads, round(100.0 * hits / reads, 1), round(100.0 * stale / reads, 1),
		        (SELECT round(avg(b)::numeric, 1) FROM unnest(behind) b),
		        (SELECT round((percentile_cont(0.95) WITHIN GROUP (ORDER BY b))::numeric, 1) FROM unnest(behind) b),
		        (SELECT round(max(b)::numeric, 1) FROM unnest(behind) b);
		END $$;
	SQL
}

# The two servers, and what the primary does beside.
start_pair() {
	init_server primary "summary_cache.worker_idle_timeout = 10min" "include_if_exists = 'beside.conf'"
	start_server primary
	need_hub hub1 1
	prepare_standby
	start_standby
	script unrelated "INSERT INTO unrelated VALUES (1);"
	# irregularly, or changes keep step with refreshes
	script change '\set pause random(500, 1500)' "BEGIN;" "UPDATE tasks SET title = 'Task at ' || now() WHERE id = 1;" "INSERT INTO changes VALUES (clock_timestamp());" "COMMIT;" '\sleep :pause ms'
}

# Beside what follows, until the pids are waited for: $1, a script of that name, by pgbench with the other options.
in_background() {
	local name=$1
	shift
	pgbench "$@" -f "$work/scripts/$name.sql" hub1 >"$work/$name.log" 2>&1 &
	pids+=($!)
}

# Reads for $1 seconds: sets result, builds and cpu.
read_standby() {
	local counted="SELECT builds_background FROM summary_cache_stats WHERE summary = 'state'" worker
	# until there has been a change, and a worker
	standby_reader 2 >/dev/null
	worker=$(PGHOST=$work/standby.sock sql -c "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'")
	[ -n "$worker" ] || die "the standby has no worker"
	builds=$(PGHOST=$work/standby.sock sql -d hub1 -c "$counted")
	cpu=$(ticks "$worker")
	result=$(standby_reader "$1")
	cpu=$(($(ticks "$worker") - cpu))
	builds=$(($(PGHOST=$work/standby.sock sql -d hub1 -c "$counted") - builds))
}

# Builds a second and the worker's share of a core, of what read_standby found in $1 seconds.
per_second() { perl -e 'printf "%.1f,%.1f", $ARGV[0] / $ARGV[2], 100 * $ARGV[1] / $ARGV[3] / $ARGV[2]' "$builds" "$cpu" "$1" "$(getconf CLK_TCK)"; }

# $1: watch_replay; the rest: values of min_refresh_interval.
standby_rates() {
	local watch=$1 rate interval result builds cpu pids
	for rate in 0 10 1000; do
		for interval in "${@:2}"; do
			printf '%s\n' "summary_cache.watch_replay = $watch" "summary_cache.min_refresh_interval = $interval" |
				as_server tee "$work/standby/beside.conf" >/dev/null
			as_server "$bindir/pg_ctl" restart -w -s -D "$work/standby" -l "$work/standby.log"
			pids=()
			in_background change -T $((length + 6))
			if [ "$rate" != 0 ]; then in_background unrelated -c 2 -R "$rate" -T $((length + 6)); fi
			read_standby "$length"
			wait "${pids[@]}"
			record standby "$watch" "$rate" "$interval" "$result" "$(per_second "$length")"
			tail -n 1 "$csv/standby.csv" | awk -F, '{ printf "  watch_replay %-3s, %4d/s, %-5s: hits %5.1f %%, stale %5.1f %%; behind %6.1f ms on average, %6.1f p95, %6.1f at most; builds %5.1f/s, worker %4.1f %% of a core\n", $1, $2, $3, $5, $6, $7, $8, $9, $10, $11 }'
		done
	done
}

bench_standby() {
	local length=$([ -n "$quick" ] && echo 3 || echo 12)
	start_pair
	say "" "On a standby"
	use_server standby
	rounds_of standby-hit hub1 1 constant control hit
	place 2
	use_server primary
	place 2
	header standby "watch_replay,commits_per_s,min_refresh_interval,reads,hits_percent,stale_percent,behind_ms_mean,behind_ms_p95,behind_ms_max,builds_per_s,worker_cpu_percent"
	say "" "A standby, its sources changed once a second: by unrelated commits a second and min_refresh_interval"
	standby_rates on 0 100ms 1s
	standby_rates off 0 100ms
	stop_server standby
	stop_server primary
}

# Beside what changes catalogs, by a primary with the library and one without it.
bench_standby_ddl() {
	local length=$([ -n "$quick" ] && echo 3 || echo 12) library beside result builds cpu pids
	start_pair
	script analyze "ANALYZE;" '\sleep 100 ms'
	script temporary "CREATE TEMP TABLE work (id serial PRIMARY KEY, title text);" "INSERT INTO work (title) SELECT title FROM tasks LIMIT 10;" "DROP TABLE work;" '\sleep 100 ms'
	header standby_ddl "library_on_primary,beside,reads,hits_percent,stale_percent,behind_ms_mean,behind_ms_p95,behind_ms_max,builds_per_s,worker_cpu_percent"
	say "" "A standby, its sources changed once a second: beside what changes catalogs, with the library on the primary and without"
	for library in yes no; do
		for beside in nothing analyze autovacuum temporary; do
			{
				[ "$library" = yes ] || echo "shared_preload_libraries = ''"
				[ "$beside" != autovacuum ] || printf '%s\n' "autovacuum = on" "autovacuum_naptime = 1s" "autovacuum_vacuum_threshold = 1" "autovacuum_analyze_threshold = 1"
			} | as_server tee "$work/primary/beside.conf" >/dev/null
			as_server "$bindir/pg_ctl" restart -w -s -D "$work/primary" -l "$work/primary.log"
			use_server primary
			pids=()
			in_background change -T $((length + 6))
			in_background unrelated -R 50 -T $((length + 6))
			if [ -e "$work/scripts/$beside.sql" ]; then in_background "$beside" -T $((length + 6)); fi
			read_standby "$length"
			wait "${pids[@]}"
			record standby_ddl "$library" "$beside" "$result" "$(per_second "$length")"
			tail -n 1 "$csv/standby_ddl.csv" | awk -F, '{ printf "  library %-3s, %-10s: hits %5.1f %%, stale %5.1f %%; behind %6.1f ms on average; builds %5.1f/s, worker %4.1f %% of a core\n", $1, $2, $4, $5, $6, $9, $10 }'
		done
	done
	stop_server standby
	stop_server primary
}
