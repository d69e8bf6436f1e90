# The parts of bench.sh about builds: eager, herd, progress.
# shellcheck shell=bash disable=SC2154

# The sample hub at a scale, with its richer sections.
need_hub() {
	local db=$1 scale=$2
	if [ "$(sql -c "SELECT count(*) FROM pg_database WHERE datname = '$db'")" != 0 ]; then return; fi
	sql -c "CREATE DATABASE $db"
	{
		sql -d "$db" -f "$top/test/hub/schema.sql"
		sql -d "$db" -v scale="$scale" -f "$top/test/hub/data.sql"
		sql -d "$db" -v core="$(cat "$top/test/hub/core.sql")" -v progress="$(cat "$top/test/hub/progress.sql")" <<-'SQL'
			SET client_min_messages = error;
			CREATE EXTENSION summary_cache;
			SELECT summary_cache_define('state', 'core', :'core', NULL, 'background') \g /dev/null
			SELECT summary_cache_define('state', 'progress', :'progress', NULL, 'inline') \g /dev/null
			SELECT format('CREATE FUNCTION folded() RETURNS json IMMUTABLE LANGUAGE sql AS %L', format('SELECT %L::json', state_summary()::text)) \gexec
			CREATE MATERIALIZED VIEW mv AS SELECT state_summary() AS doc;
			CREATE TABLE kv (key text PRIMARY KEY, fingerprint text, doc json);
			CREATE VIEW watermarks AS SELECT ARRAY[
			    (SELECT max(updated_at) FROM topics), (SELECT max(updated_at) FROM workplans), (SELECT max(updated_at) FROM tasks),
			    (SELECT max(updated_at) FROM decisions), (SELECT max(updated_at) FROM workplan_dependencies),
			    (SELECT max(updated_at) FROM managed_repos), (SELECT max(updated_at) FROM contributions),
			    (SELECT max(updated_at) FROM capability_requests), (SELECT max(updated_at) FROM domains),
			    (SELECT max(updated_at) FROM extension_points), (SELECT max(updated_at) FROM technical_debt),
			    (SELECT max(snapshot_at) FROM sbom_snapshots), (SELECT max(created_at) FROM progress_events)]::text AS fingerprint;
			INSERT INTO kv SELECT 'state', fingerprint, state_summary() FROM watermarks;
			SELECT format('CREATE VIEW recompute AS SELECT * FROM (%s) c, (%s) p', :'core', :'progress') \gexec
			CREATE MATERIALIZED VIEW mv_recompute AS SELECT * FROM recompute;
		SQL
		sql -d "$db" -c "VACUUM ANALYZE"
	} >"$work/hub.log" 2>&1 || { cat "$work/hub.log"; die "could not fill hub $db"; }
}

quantiles() { perl -e '@x = sort { $a <=> $b } map { 0 + $_ } <STDIN>; print join(",", map { sprintf "%.3f", $x[int($_ * $#x + 0.5)] } 0.5, 0.95, 1)'; }

#
# eager: from the end of COMMIT to the first read that is current again, less the build itself
#
bench_eager() {
	local n=$([ -n "$quick" ] && echo 30 || echo 500) worker
	start_main
	need_hub hub1 1
	place 8
	say "" "Eager refresh: milliseconds from a commit to the fresh document, less the build's own"
	sql -d hub1 <<-'SQL'
		CREATE TABLE IF NOT EXISTS latency (worker text, ms float8, build_ms float8);
		TRUNCATE latency;
		CREATE OR REPLACE PROCEDURE commit_and_wait(n int, pause float8, worker text) LANGUAGE plpgsql AS $$
		DECLARE
		    committed timestamptz; fresh timestamptz; answer record; build float8;
		BEGIN
		    FOR i IN 1 .. n LOOP
		        PERFORM pg_sleep(pause);
		        UPDATE tasks SET title = 'Task ' || i WHERE id = 1 + i % 1000;
		        COMMIT;
		        committed := clock_timestamp();
		        LOOP
		            SELECT status, built_at INTO answer FROM summary_cache_fetch('state', '');
		            fresh := clock_timestamp();
		            EXIT WHEN answer.status = 'hit-revision';
		            IF fresh > committed + interval '30 s' THEN
		                RAISE 'not fresh after 30 s';
		            END IF;
		            PERFORM pg_sleep(0.0002);
		        END LOOP;
		        SELECT build_ms INTO build FROM summary_cache_sections WHERE summary = 'state' AND section = 'core';
		        INSERT INTO latency VALUES (worker, 1000 * extract(epoch FROM fresh - committed), build);
		        COMMIT;
		    END LOOP;
		END $$;
		SELECT summary_cache_configure('state', 'eager_refresh', 'on') \g /dev/null
		SELECT length(state_summary(true)::text) \g /dev/null
	SQL
	sql -d hub1 -c "SET summary_cache.read_your_writes = off" -c "CALL commit_and_wait($n, 0.005, 'running')"
	# with a worker that leaves at once, each finds none
	sql -c "ALTER SYSTEM SET summary_cache.worker_idle_timeout = 0" -c "SELECT pg_reload_conf()" >/dev/null
	sql -d hub1 -c "SET summary_cache.read_your_writes = off" -c "CALL commit_and_wait($((n / 10)), 0.05, 'started')"
	sql -c "ALTER SYSTEM RESET summary_cache.worker_idle_timeout" -c "SELECT pg_reload_conf()" >/dev/null
	sql -d hub1 -c "SELECT summary_cache_configure('state', 'eager_refresh', 'off')" >/dev/null
	sql -F , -d hub1 -c "SELECT worker, ms, build_ms FROM latency" | { echo "worker,ms,build_ms"; cat; } >"$csv/eager.csv"
	for worker in running started; do
		say "  worker $worker: less the build, median,p95,max: $(sed -n "s/^$worker,//p" "$csv/eager.csv" |
			perl -F, -lane 'print $F[0] - $F[1]' | quantiles)   build: $(sed -n "s/^$worker,[^,]*,//p" "$csv/eager.csv" | quantiles)"
	done
}

#
# herd: many clients on a cold cache
#
bench_herd() {
	local clients=200 n=$([ -n "$quick" ] && echo 1 || echo "$rounds") r before_builds builds failed ok
	start_main
	if [ "$(sql -c "SELECT count(*) FROM pg_database WHERE datname = 'herd'")" = 0 ]; then
		sql -c "CREATE DATABASE herd"
		sql -d herd <<-'SQL'
			SET client_min_messages = error;
			CREATE EXTENSION summary_cache;
			CREATE TABLE t (n int);
			INSERT INTO t SELECT generate_series(1, 1000);
			SELECT summary_cache_define('state', 'core', 'SELECT count(*) AS n FROM t a, t b WHERE a.n + b.n > 3') \g /dev/null
			CREATE TABLE divisor AS SELECT 0 AS n;
			CREATE FUNCTION slow_error(int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN PERFORM pg_sleep(1); RETURN 1 / ($1 - $1); END';
			SELECT summary_cache_define('broken', 'core', 'SELECT slow_error(n) AS n FROM divisor', run_query => false) \g /dev/null
		SQL
	fi
	place 8
	header herd "round,clients,answered,builds,failed_answered,failed_builds,seconds"
	script herd "SELECT state_summary();"
	script herd-broken "SELECT summary_cache_get('broken');"
	say "" "$clients clients at once on a cold cache"
	for ((r = 1; r <= n; r++)); do
		sql -d herd -c "SELECT summary_cache_invalidate('state')" -c "SELECT summary_cache_reset_stats()" >/dev/null
		as_server "$bindir/pgbench" -n -c $clients -j 2 -t 1 -f "$work/scripts/herd.sql" herd >"$work/pgbench.log" 2>&1 || true
		ok=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/pgbench.log")
		builds=$(sql -d herd -c "SELECT builds_miss + builds_forced + builds_inline + builds_background + builds_private FROM summary_cache_stats WHERE summary = 'state'")
		as_server "$bindir/pgbench" -n -c $clients -j 2 -t 1 -f "$work/scripts/herd-broken.sql" herd >"$work/pgbench2.log" 2>&1 || true
		failed=$(grep -c 'division by zero' "$work/pgbench2.log") || true
		record herd $r $clients "$ok" "$builds" "$failed" \
			"$(sql -d herd -c "SELECT builds_failed FROM summary_cache_stats WHERE summary = 'broken'")" \
			"$(sed -n 's/^latency average = \([0-9.]*\) ms/\1/p' "$work/pgbench.log")"
		tail -n 1 "$csv/herd.csv" | awk -F, '{ printf "  %d answered by %d build; of a failing one, %d told by %d build\n", $3, $4, $5, $6 }'
	done
}

#
# progress: an inline section, by the number of events; against its own query, prepared, and against
# the same with as much beside it as the document has besides this section
#
bench_progress() {
	local events r db n sizes="1000000 10000000" query sent candidate
	declare -A ms
	local event="INSERT INTO progress_events (topic_id, author, summary) VALUES (1, 'a', 'b');"
	query=$(grep -v '^--' "$top/test/hub/progress.sql")
	n=$([ -n "$quick" ] && echo 200 || echo 1000)
	if [ -n "$quick" ]; then sizes="20000 100000"; fi
	start_main
	header progress "events,round,section_ms,query_ms,query_sent_ms"
	say "" "A read that rebuilds its inline section, against that section's query, and that query with a constant of the rest of the document: milliseconds"
	script progress "$event" "SELECT state_summary();"
	script progress-query "$event" "$query;"
	for events in $sizes; do
		db=p$events
		need_hub "$db" 1
		sql -d "$db" <<-SQL
			INSERT INTO progress_events (id, topic_id, author, summary, created_at)
			SELECT 1000000 + i, 1 + i % 100, 'author', 'Event ' || i, '2025-02-01'::timestamptz + i * '1 s'::interval
			FROM generate_series(1, $events - (SELECT count(*) FROM progress_events)) i;
			ALTER TABLE progress_events ALTER id RESTART WITH 100000000;
			VACUUM ANALYZE progress_events;
			SELECT length(state_summary(true)::text) \g /dev/null
		SQL
		sent=$(sql -d "$db" -v query="$query" <<-'SQL'
			SELECT format('SELECT q.*, %L::json AS rest FROM (%s) q;', to_json(repeat('x',
			    octet_length(state_summary()::text) - octet_length((SELECT recent_progress::text FROM (:query) q)))), :'query')
		SQL
		)
		script progress-sent "$event" "$sent"
		place 1
		for ((r = 1; r <= rounds; r++)); do
			for candidate in $(in_turn $r progress progress-query progress-sent); do
				run_pgbench "$db" "$work/scripts/$candidate.sql" 1 "$n" -r >/dev/null
				# of the statement after the INSERT
				ms[$candidate]=$(sed -n '/^statement latencies/,$p' "$work/pgbench.log" | sed -n '/ INSERT /{n;s/^ *\([0-9.]*\) .*/\1/p;}')
				[ -n "${ms[$candidate]}" ] || { cat "$work/pgbench.log"; die "no latency of $candidate"; }
			done
			record progress "$events" $r "${ms[progress]}" "${ms[progress-query]}" "${ms[progress-sent]}"
		done
		perl "$bench/progress.pl" "$csv/progress.csv" "$events"
	done
}
