# The part of bench.sh about refreshes that compete: for the worker of a database, and for the places of a
# server.  With BEFORE=directory, as in growth.sh.
# shellcheck shell=bash disable=SC2154

workers_databases=30
workers_many=100

# A database with two summaries that are refreshed eagerly: "fast", and "slow", which takes two seconds.
workers_database() {
	fill_database "$1" <<-'SQL'
		SET client_min_messages = error;
		CREATE EXTENSION summary_cache;
		CREATE TABLE fast (n int);
		CREATE TABLE slow (n int);
		INSERT INTO fast VALUES (0);
		INSERT INTO slow VALUES (0);
		SELECT summary_cache_define('fast', 'main', 'SELECT n FROM fast');
		SELECT summary_cache_define('slow', 'main', 'SELECT n, pg_sleep(2)::text AS slept FROM slow');
		CREATE PROCEDURE commit_and_wait(n int) LANGUAGE plpgsql AS $$
		DECLARE
		    committed timestamptz; answer text;
		BEGIN
		    FOR i IN 1 .. n LOOP
		        UPDATE fast SET n = fast.n + 1;
		        COMMIT;
		        committed := clock_timestamp();
		        LOOP
		            SELECT status INTO answer FROM summary_cache_fetch('fast', '');
		            EXIT WHEN answer LIKE 'hit%';
		            PERFORM pg_sleep(0.001);
		        END LOOP;
		        INSERT INTO latency VALUES (1000 * extract(epoch FROM clock_timestamp() - committed));
		        COMMIT;
		        PERFORM pg_sleep(0.1);
		    END LOOP;
		END $$;
		CREATE TABLE latency (ms float8);
		ALTER DATABASE :"DBNAME" SET summary_cache.read_your_writes = off;
	SQL
}

# Writes table $2 of database $1 all the time, until its session is ended.
workers_storm() {
	as_server "$bindir/psql" -X -q -At -d "$1" -c "DO \$\$ BEGIN LOOP UPDATE $2 SET n = n + 1; COMMIT; PERFORM pg_sleep(0.01); END LOOP; END \$\$" >/dev/null 2>&1 &
	storm=$!
}

workers_latency() {
	sql -d w -c "TRUNCATE latency" -c "CALL commit_and_wait($2)" >/dev/null
	record workers "$1" "$3" 1 "$(sql -d w -c "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM latency")"
}

# Databases of which "fast" is not current.
workers_stale() {
	local i
	for ((i = 1; i <= workers_databases; i++)); do
		sql -d "d$i" -c "SELECT state FROM summary_cache_sections WHERE summary = 'fast' AND state <> 'current'"
	done | wc -l
}

# $1 seconds of commits and reads in databases at random, each in a session of its own, by two clients.
# Prints the answers' statuses.
workers_visits() {
	local client
	for client in 1 2; do
		(
			RANDOM=$client
			SECONDS=0
			while ((SECONDS < $1)); do
				sql -d "d$((RANDOM % workers_many + 1))" -c "UPDATE fast SET n = n + 1" \
					-c "SELECT status FROM summary_cache_fetch('fast', '')"
				sleep 0.02
			done
		) &
	done
	wait
}

workers_round() {
	local build=$1 n=10 i began
	if [ -n "$quick" ]; then n=5; fi
	sql -d w -c "SELECT summary_cache_get('fast'), summary_cache_get('slow')" >/dev/null
	workers_latency "$build" "$n" "ms from a commit to the fresh document of a short build, alone"
	workers_storm w slow
	sleep 3
	workers_latency "$build" "$n" "... beside a build of 2 s over a table that is written all the time"
	began=$(sql -d w -c "SELECT build_ms_total || ',' || extract(epoch FROM clock_timestamp()) FROM summary_cache_stats WHERE summary = 'slow'")
	sleep 20
	record workers "$build" "share of the time in which such a summary is built" 1 \
		"$(sql -d w -c "SELECT round(((build_ms_total - ${began%,*}) / 1000 / (extract(epoch FROM clock_timestamp()) - ${began#*,}))::numeric, 2) FROM summary_cache_stats WHERE summary = 'slow'")"
	sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'w' AND backend_type = 'client backend'" >/dev/null
	wait "$storm" || true
	sleep 5
	for ((i = 1; i <= workers_databases; i++)); do sql -d "d$i" -c "SELECT summary_cache_get('fast', true)"; done >/dev/null
	sleep 5
	for ((i = 1; i <= workers_databases; i++)); do echo "\\c d$i" "UPDATE fast SET n = n + 1;"; done | sed 's/ UPDATE/\nUPDATE/' | sql -f - >/dev/null
	sleep 15
	record workers "$build" "databases of $workers_databases with one commit each that stay stale" "$workers_databases" "$(workers_stale)"

	for ((i = 1; i <= workers_many; i++)); do sql -d "d$i" -c "SELECT summary_cache_get('fast', true)"; done >/dev/null
	workers_visits 40 >"$work/statuses"
	record workers "$build" "% of the reads beside commits in $workers_many databases that are misses" "$workers_many" \
		"$(awk '{ n++ } /miss/ { misses++ } END { printf "%.2f\n", 100 * misses / n }' "$work/statuses")"
	record workers "$build" "... reads" "$workers_many" "$(wc -l <"$work/statuses")"
}

bench_workers() {
	# two for the launchers, ours and that of logical replication
	local builds=this build i r
	say "" "Refreshes that compete"
	header workers "build,what,n,value"
	if [ -n "$before_tree" ]; then
		builds="this before"
		if [ ! -e "$work/inst-before" ]; then build_before; fi
	fi
	for build in $builds; do
		init_server "workers-$build" "summary_cache.eager_refresh = on" "max_worker_processes = 10" "summary_cache.max_workers = 8" \
			"$(if [ "$build" != this ]; then private_paths "$work/inst-before"; fi)"
		start_server "workers-$build"
		workers_database w
		for ((i = 1; i <= workers_many; i++)); do workers_database "d$i"; done
	done
	for ((r = 1; r <= (rounds < 3 ? rounds : 3); r++)); do
		# shellcheck disable=SC2086
		for build in $(in_turn $r $builds); do
			use_server "workers-$build"
			workers_round "$build"
		done
	done
	for build in $builds; do stop_server "workers-$build"; done
	perl "$bench/growth.pl" "$csv/workers.csv"
}
