# The part of bench.sh about a table that is written 50 times a second: how readers of a summary over it are
# answered, and what the refreshes take, by setting.
# shellcheck shell=bash disable=SC2154

hot_readers=4

# A database with two summaries over a hot table and one that nobody writes: "short" and "long", which
# take about 8 and 100 ms.  The same again, with what the hot table gives in an inline section.
hot_database() {
	fill_database hot <<-'SQL'
		SET client_min_messages = error;
		CREATE EXTENSION summary_cache;
		CREATE TABLE hot (at timestamptz NOT NULL);
		INSERT INTO hot VALUES (clock_timestamp());
		CREATE TABLE calm AS SELECT n FROM generate_series(1, 1000000) n;
		CREATE INDEX ON calm (n);
		VACUUM ANALYZE calm;

		-- as many rows as take so long
		CREATE FUNCTION sum_of(n int) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT sum(hashint4(calm.n)::bigint) FROM calm WHERE calm.n <= $1';
		CREATE FUNCTION rows_of(ms float8) RETURNS int LANGUAGE plpgsql AS $$
		DECLARE
		    began timestamptz; taken float8[];
		BEGIN
		    FOR i IN 1 .. 9 LOOP
		        began := clock_timestamp();
		        PERFORM sum_of(100000);
		        taken := taken || extract(epoch FROM clock_timestamp() - began)::float8 * 1000;
		    END LOOP;
		    RETURN 100000 * ms / (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(taken) t);
		END $$;
		SELECT set_config('hot.short', rows_of(8)::text, false), set_config('hot.long', rows_of(100)::text, false);
		SELECT summary_cache_define(s, 'main', format('SELECT sum_of(%s) AS total, (SELECT max(at) FROM hot) AS at', current_setting('hot.' || s)), '{hot,calm}'),
		    summary_cache_define(s || '-split', 'main', format('SELECT sum_of(%s) AS total', current_setting('hot.' || s)), '{calm}'),
		    summary_cache_define(s || '-split', 'newest', 'SELECT max(at) AS at FROM hot', NULL, 'inline')
		FROM unnest('{short,long}'::text[]) s;

		CREATE PROCEDURE write_until(stop timestamptz) LANGUAGE plpgsql AS $$
		DECLARE
		    due timestamptz := clock_timestamp();
		BEGIN
		    WHILE due < stop LOOP
		        PERFORM pg_sleep(extract(epoch FROM due - clock_timestamp()));
		        UPDATE hot SET at = clock_timestamp();
		        COMMIT;
		        due := due + interval '20 ms';
		    END LOOP;
		END $$;

		-- The age of an answer: the time since the newest write that it has.
		CREATE TABLE answers (status text, age float8, took float8);
		CREATE PROCEDURE read_until(summary text, start timestamptz, stop timestamptz) LANGUAGE plpgsql AS $$
		DECLARE
		    began timestamptz; ended timestamptz; answer record; statuses text[]; ages float8[]; took float8[];
		BEGIN
		    LOOP
		        began := clock_timestamp();
		        SELECT f.status, f.document->>'at' AS at INTO answer FROM summary_cache_fetch(summary) f;
		        ended := clock_timestamp();
		        EXIT WHEN ended > stop;
		        IF ended > start THEN
		            statuses := statuses || answer.status;
		            ages := ages || extract(epoch FROM ended - answer.at::timestamptz)::float8 * 1000;
		            took := took || extract(epoch FROM ended - began)::float8 * 1000;
		        END IF;
		        COMMIT;
		        PERFORM pg_sleep(0.02);
		    END LOOP;
		    INSERT INTO answers SELECT * FROM unnest(statuses, ages, took);
		END $$;
	SQL
}

# CPU time of all workers so far, in clock ticks.
hot_cpu() {
	local pid ticks=0
	for pid in $(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'"); do
		ticks=$((ticks + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
	done
	echo $ticks
}

# $1: summary; $2: what is set; the rest: settings
hot_run() {
	local summary=$1 what=$2 setting before after cpu
	shift 2
	sql -c "ALTER SYSTEM RESET ALL"
	for setting in "$@"; do sql -c "ALTER SYSTEM SET $setting"; done
	sql -c "SELECT pg_reload_conf()" >/dev/null
	sleep 0.5
	sql -d hot -c "TRUNCATE answers" -c "SELECT summary_cache_get('$summary', true)" >/dev/null
	sql -d hot -c "CALL write_until(clock_timestamp() + '${hot_seconds} s')" &
	local jobs=("$!") i
	for ((i = 0; i < hot_readers; i++)); do
		sql -d hot -c "CALL read_until('$summary', clock_timestamp() + '2 s', clock_timestamp() + '$((hot_seconds - 1)) s')" &
		jobs+=("$!")
	done
	sleep 2
	before=$(hot_now "$summary") cpu=$(hot_cpu)
	sleep $((hot_seconds - 4))
	after=$(hot_now "$summary") cpu=$(($(hot_cpu) - cpu))
	wait "${jobs[@]}"
	sql -d hot -c "SELECT round(avg((status IN ('hit-revision', 'progress-section'))::int) * 100, 1), round(avg((status = 'stale')::int) * 100, 1),
			round(avg((status = 'miss')::int) * 100, 1),
			round((percentile_cont(0.5) WITHIN GROUP (ORDER BY age))::numeric, 1), round((percentile_cont(0.95) WITHIN GROUP (ORDER BY age))::numeric, 1),
			round((percentile_cont(0.5) WITHIN GROUP (ORDER BY took))::numeric, 2) FROM answers" -F ' ' |
		while read -r hit stale miss age age95 took; do
			perl -e '($b, $a, $cpu, $hz) = @ARGV; @b = split / /, $b; @a = split / /, $a; $t = $a[0] - $b[0];
				printf "%.1f %.1f %.0f\n", ($a[1] - $b[1]) / $t, ($a[1] > $b[1] ? ($a[2] - $b[2]) / ($a[1] - $b[1]) : 0), 100 * $cpu / $hz / $t' \
				"$before" "$after" "$cpu" "$(getconf CLK_TCK)" | while read -r builds build_ms share; do
				record hot "$summary" "$what" "$r" "$hit" "$stale" "$miss" "$age" "$age95" "$took" "$builds" "$build_ms" "$share"
			done
		done
}

hot_now() {
	sql -d hot -F ' ' -c "SELECT extract(epoch FROM clock_timestamp()), builds_background + builds_miss, build_ms_total FROM summary_cache_stats WHERE summary = '$1'"
}

bench_hot() {
	local r summary what
	hot_seconds=$([ -n "$quick" ] && echo 6 || echo 8)
	init_server hot "summary_cache.worker_idle_timeout = 10min" "max_parallel_workers_per_gather = 0" "synchronous_commit = off"
	start_server hot
	hot_database
	say "" "Beside 50 writes a second, $hot_readers readers that ask all the time: % hits (a progress-section is one), % stale, % misses, age of the answers (ms, median and 95 %), ms a read, builds a second, ms a build, % of a CPU that the workers take"
	header hot "summary,setting,round,hit,stale,miss,age,age95,read_ms,builds,build_ms,worker_cpu"
	for ((r = 1; r <= (rounds < 3 ? rounds : 3); r++)); do
		for summary in short long; do
			for what in $(in_turn "$r" default rest-0 rest-4 interval-1s eager split); do
				case $what in
					rest-*) hot_run "$summary" "$what" "summary_cache.refresh_rest = ${what#rest-}" ;;
					interval-1s) hot_run "$summary" "$what" "summary_cache.min_refresh_interval = '1s'" ;;
					eager) hot_run "$summary" "$what" "summary_cache.eager_refresh = on" ;;
					split) hot_run "$summary-split" "$what" ;;
					*) hot_run "$summary" "$what" ;;
				esac
			done
		done
	done
	stop_server hot
	perl "$bench/hot.pl" "$csv/hot.csv"
}
