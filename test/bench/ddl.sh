# The part of bench.sh about DDL: how reads are answered beside ten commands a second that concern no source, and
# what one such command takes.
# With BEFORE=directory, a source tree of another version, it is measured there as well, in turns with this one.
# SCALES="1" measures these scales of the hub only, as in parts.sh.
# shellcheck shell=bash disable=SC2154

# Kinds of commands, each of which ends with nothing left behind.
ddl_kinds="refresh grant report view"
ddl_scripts() {
	script ddl_refresh "REFRESH MATERIALIZED VIEW beside;"
	script ddl_grant "GRANT SELECT ON tasks TO bench_other;" "REVOKE SELECT ON tasks FROM bench_other;"
	script ddl_report "BEGIN;" "CREATE TABLE report AS SELECT status, count(*) FROM tasks GROUP BY 1;" "DROP TABLE report;" "COMMIT;"
	script ddl_view "CREATE OR REPLACE VIEW unread AS SELECT count(*) AS n FROM tasks;"
	script ddl_change '\set pause random(500, 1500)' "UPDATE tasks SET title = 'Task at ' || now() WHERE id = 1;" '\sleep :pause ms'
	script ddl_read "SELECT length(etag) FROM summary_cache_fetch('state');"
}

# $1: build, $2: scale, $3: round, $4: kind, $5: seconds.  A document is read by four clients, 1,000 times a second,
# while a source changes about once a second.
ddl_shares() {
	local build=$1 scale=$2 r=$3 kind=$4 length=$5 db=hub$2 pids=() counts
	sql -d "$db" -c "SELECT length(summary_cache_get('state')::text)" >/dev/null
	pgbench -T $((length + 2)) -f "$work/scripts/ddl_change.sql" "$db" >"$work/change.log" 2>&1 &
	pids+=($!)
	if [ "$kind" != nothing ]; then
		pgbench -R "$([ "$kind" = grant ] && echo 5 || echo 10)" -T $((length + 2)) -f "$work/scripts/ddl_$kind.sql" "$db" >"$work/ddl.log" 2>&1 &
		pids+=($!)
	fi
	sleep 1
	sql -d "$db" -c "SELECT summary_cache_reset_stats()" >/dev/null
	pgbench -c 4 -R 1000 -T "$length" -f "$work/scripts/ddl_read.sql" "$db" >"$work/pgbench.log" 2>&1 ||
		{ cat "$work/pgbench.log" >&2; die "pgbench failed"; }
	counts=$(sql -F , -d "$db" -c "SELECT hits + progress_sections + stale + misses + private, hits + progress_sections, stale, misses + private,
		builds_miss + builds_inline + builds_background + builds_forced FROM summary_cache_stats WHERE summary = 'state'")
	wait "${pids[@]}"
	record ddl "$build" "$scale" "$r" "$kind" "$length" "$counts" \
		"$(sed -n 's/^latency average = \([0-9.]*\) ms.*/\1/p' "$work/pgbench.log")"
}

bench_ddl() {
	local builds=this build scales="1 10" scale r times=2 length=10 kind
	if [ -n "$quick" ]; then scales=1 times=1 length=4; fi
	scales=${parts_scales:-$scales}
	if [ "$rounds" -lt "$times" ]; then times=$rounds; fi
	say "" "Hits of the hub beside ten commands a second that concern no source"
	header ddl "build,scale,round,beside,seconds,reads,hits,stale,built_or_private,builds,read_ms"
	if [ -n "$before_tree" ]; then
		builds="this before"
		build_before
	fi
	ddl_scripts
	for build in $builds; do
		growth_server "ddl-$build" "$([ "$build" = this ] || echo "$work/inst-before")"
		sql -c "CREATE ROLE bench_other"
		for scale in $scales; do
			need_hub "hub$scale" "$scale"
			sql -d "hub$scale" -c "CREATE MATERIALIZED VIEW beside AS SELECT count(*) AS n FROM tasks" \
				-c "CREATE VIEW unread AS SELECT 1::bigint AS n"
		done
	done
	for scale in $scales; do
		for ((r = 1; r <= times; r++)); do
			for kind in nothing $ddl_kinds; do
				# shellcheck disable=SC2086
				for build in $(in_turn $r $builds); do
					use_server "ddl-$build"
					ddl_shares "$build" "$scale" "$r" "$kind" "$length"
					tail -n 1 "$csv/ddl.csv" | awk -F, '{ printf "  scale %-3d %-7s beside %-8s: hits %5.1f %%, stale %5.1f %%, built %5.2f %%; builds %5.1f/s, a read %6.3f ms\n", $2, $1, $4, 100 * $7 / $6, 100 * $8 / $6, 100 * $9 / $6, $10 / $5, $11 }'
				done
			done
		done
	done
	for build in $builds; do
		use_server "ddl-$build"
		stop_server "ddl-$build"
	done
}
