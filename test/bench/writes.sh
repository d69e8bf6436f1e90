# The parts of bench.sh that write: writes, mixed.
# shellcheck shell=bash disable=SC2154

vacuum_tables() { sql -d "$1" -c "VACUUM w_none, w_tracked, w_counter, w_notify, w_control"; }

# A server that waits for its disk, and tables of one shape: without a trigger (twice), a source, one with a
# trigger that counts in a row, one with a trigger that does NOTIFY.
start_writes() {
	local t rows=10000
	if [ ! -e "$work/disk" ]; then
		init_server disk "fsync = on" "summary_cache.worker_idle_timeout = 10min"
		start_server disk
		make_database w 2048 1
		sql -d w <<-SQL
			SET client_min_messages = error;
			CREATE TABLE counter (id int PRIMARY KEY, n bigint);
			INSERT INTO counter VALUES (1, 0);
			CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
			    'BEGIN UPDATE counter SET n = n + 1 WHERE id = 1; RETURN NULL; END';
			CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
			    'BEGIN NOTIFY changed; RETURN NULL; END';
			SELECT format('CREATE TABLE w_%s (LIKE plain INCLUDING ALL) WITH (fillfactor = 50);
			               INSERT INTO w_%s SELECT i, 0, ''open'', now() FROM generate_series(1, $rows) i', t, t)
			FROM unnest('{none,tracked,counter,notify,control}'::text[]) t \gexec
			CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON w_counter FOR EACH STATEMENT EXECUTE FUNCTION count_up();
			CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON w_notify FOR EACH STATEMENT EXECUTE FUNCTION tell();
			SELECT summary_cache_define('w', 'core', 'SELECT count(*) AS n, max(updated_at) FROM w_tracked') \g /dev/null
			SELECT summary_cache_define('state', 'core', 'SELECT items, pad FROM payload', '{w_tracked}') \g /dev/null
			VACUUM ANALYZE;
		SQL
	fi
	use_server disk
	for t in none tracked counter notify control; do
		script "update-$t" "\\set id random(1, $rows)" "UPDATE w_$t SET n = n + 1 WHERE id = :id;"
	done
}

set_sync() {
	sql -c "ALTER SYSTEM SET synchronous_commit = $1" -c "SELECT pg_reload_conf()" >/dev/null
	sleep 0.2
}

bench_writes() {
	local sync
	start_writes
	say "" "Writes: UPDATEs of one row, as a share of those without a trigger"
	before=vacuum_tables
	for sync in $([ -n "$quick" ] && echo on || echo on off); do
		set_sync $sync
		say "synchronous_commit = $sync"
		rounds_of "writes-$sync" w 8 update-none update-tracked update-counter update-notify update-control
	done
	before=
	set_sync on
}

#
# mixed: reads while others commit to a source at full speed, against the constant in the same company
#
bench_mixed() {
	local r c pid seconds=$([ -n "$quick" ] && echo 2 || echo 10) n=$([ -n "$quick" ] && echo 1 || echo "$rounds")
	start_writes
	set_sync off
	place 8
	say "" "Reads by 4 clients while 4 others commit to the source: latency in microseconds"
	header mixed "round,candidate,reads,p50,p90,p99,p999,max,commits,commit_max"
	for ((r = 1; r <= n; r++)); do
		for c in constant hit; do
			rm -f "$work"/tmp/read.* "$work"/tmp/write.*
			sql -d w -c "SELECT state_summary()" -c "SELECT summary_cache_reset_stats()" >/dev/null
			as_server "$bindir/pgbench" -n -M prepared -c 4 -T "$seconds" -l --log-prefix="$work/tmp/write" \
				-f "$work/scripts/update-tracked.sql" w >"$work/writers.log" 2>&1 &
			pid=$!
			as_server "$bindir/pgbench" -n -M prepared -c 4 -T "$((seconds - 1))" -l --log-prefix="$work/tmp/read" \
				-f "$work/scripts/$c.sql" w >"$work/pgbench.log" 2>&1 || { cat "$work/pgbench.log"; die "pgbench failed"; }
			wait $pid
			if [ $c = hit ]; then
				header mixed-status "round,hits,stale,misses,private,unprovable,builds_background,waits"
				record mixed-status $r "$(sql -F , -d w -c "SELECT hits, stale, misses, private, unprovable, builds_background, waits FROM summary_cache_stats WHERE summary = 'state'")"
			fi
			record mixed $r $c "$(cat "$work"/tmp/read.* | cut -d ' ' -f 3 | sort -n |
				perl -e '@x = <>; chomp @x; print join ",", scalar @x, map { $x[$_ * $#x] } 0.5, 0.9, 0.99, 0.999, 1')" \
				"$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work/writers.log")" \
				"$(cat "$work"/tmp/write.* | cut -d ' ' -f 3 | sort -n | tail -n 1)"
			# the distribution of the last round, for the plot
			cat "$work"/tmp/read.* | cut -d ' ' -f 3 | sort -n |
				perl -e '@x = <>; chomp @x; for (0 .. 400) { $q = 1 - 10 ** (-$_ / 80); printf "%s,%d\n", $q, $x[$q * $#x] }' >"$csv/mixed-$c.csv"
		done
	done
	column -t -s , "$csv/mixed.csv" 2>/dev/null || cat "$csv/mixed.csv"
	cat "$csv/mixed-status.csv"
	set_sync on
}
