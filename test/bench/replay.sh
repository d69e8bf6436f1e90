# Sourced by bench.sh: what watching costs the startup process of a standby that replays, in instructions.
# shellcheck shell=bash
# shellcheck disable=SC2154 # what bench.sh sets

# Replay what follows the base backup $1 up to position $2, under callgrind, with watch_replay $3.  Prints the
# instructions of the startup process: of all processes only that one runs StartupXLOG.
replay_once() {
	local dir=$work/replay
	as_server rm -rf "$dir"
	as_server mkdir "$dir"
	as_server cp -a "$work/$1" "$dir/data"
	as_server tee -a "$dir/data/postgresql.conf" <<-CONF >/dev/null
		unix_socket_directories = '$dir'
		restore_command = 'cp $work/archive/%f %p'
		recovery_target_lsn = '$2'
		recovery_target_action = shutdown
		archive_mode = off
		hot_standby = on
		summary_cache.watch_replay = $3
	CONF
	as_server touch "$dir/data/recovery.signal"
	as_server valgrind --tool=callgrind --toggle-collect=StartupXLOG --callgrind-out-file="$dir/profile.%p" \
		"$bindir/postgres" -D "$dir/data" >"$dir/log" 2>&1 || true
	grep -q 'shutdown at recovery target' "$dir/log" || { cat "$dir/log"; die "the standby did not come to the target"; }
	sed -n 's/^totals: *\([0-9]*\).*/\1/p' "$dir"/profile.* | sort -n | tail -n 1
}

bench_replay() {
	local kind on off target rows=200000 times=4000
	if [ -n "$quick" ]; then rows=1000 times=50; fi
	have valgrind || { skip "replay: there is no valgrind"; return; }
	as_server mkdir "$work/archive"
	init_server primary "archive_mode = on" "archive_command = 'cp %p $work/archive/%f'" "full_page_writes = on"
	start_server primary
	sql -c "CREATE DATABASE b"
	pgbench -q -i -s 5 b >/dev/null 2>&1
	sql -d b -c "CREATE EXTENSION summary_cache; CREATE TABLE copied (LIKE pgbench_accounts);
		SELECT summary_cache_define('s', 'main', 'SELECT sum(bbalance) FROM pgbench_branches')" >/dev/null
	header replay "wal,watched,not_watched,ratio"
	say "" "Replay, instructions of the startup process: with watching, without"
	for kind in pgbench copy; do
		as_server "$bindir/pg_basebackup" -h "$work/primary.sock" -U postgres -D "$work/base-$kind" -c fast
		if [ "$kind" = pgbench ]; then
			pgbench -c 4 -t "$times" --random-seed=1 b >/dev/null 2>&1
		else
			sql -d b -c "COPY pgbench_accounts TO '$work/archive/rows'; COPY copied FROM '$work/archive/rows' WHERE aid <= $rows; DELETE FROM copied WHERE aid % 10 = 0"
		fi
		target=$(sql -c "SELECT pg_current_wal_insert_lsn()")
		sql -c "SELECT pg_switch_wal()" >/dev/null
		await -c "SELECT last_archived_wal >= pg_walfile_name('$target') FROM pg_stat_archiver"
		on=$(replay_once "base-$kind" "$target" on)
		off=$(replay_once "base-$kind" "$target" off)
		record replay "$kind" "$on" "$off" "$(perl -e 'printf "%.4f", $ARGV[0] / $ARGV[1]' "$on" "$off")"
		tail -n 1 "$csv/replay.csv" | awk -F, '{ printf "  %-8s %d, %d: %s\n", $1, $2, $3, $4 }'
	done
	stop_server primary
}
