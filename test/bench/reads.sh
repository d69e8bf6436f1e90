# The parts of bench.sh that read: function, reads, conditional.
# shellcheck shell=bash disable=SC2154

#
# function: the function alone, without a statement around it
#
bench_function() {
	local tables kb n=$([ -n "$quick" ] && echo 200000 || echo 1000000) f ns r
	start_main
	say "" "The function itself: ns per call, called for each row of a statement"
	header "function" "bytes,tables,function,round,ns"
	place 1
	script call-none "SELECT count(pg_backend_pid()) FROM generate_series(1, $n);"
	script call-hit "SELECT count(state_summary()) FROM generate_series(1, $n);"
	script call-by-name "SELECT count(summary_cache_get('state')) FROM generate_series(1, $n);"
	for kb in 2 256; do
		for tables in 13 100; do
			need_database "f${kb}_$tables" $((kb * 1024)) $tables
			for ((r = 1; r <= rounds; r++)); do
				for f in none hit by-name; do
					run_pgbench "f${kb}_$tables" "$work/scripts/call-$f.sql" 1 1 >/dev/null
					ns=$(sed -n 's/^latency average = \([0-9.]*\) ms/\1/p' "$work/pgbench.log")
					record function $((kb * 1024)) $tables $f $r "$(perl -e 'printf "%.1f", $ARGV[0] * 1e6 / $ARGV[1]' "$ns" "$n")"
				done
			done
		done
	done
	perl "$bench/function.pl" "$csv/function.csv"
}

#
# reads
#
start_pool() {
	local conf=$work/pgpool.conf
	have pgpool || { skip "pgpool-II's query cache (Debian: pgpool2)"; return 1; }
	if [ -e "$work/pool" ]; then return; fi
	as_server mkdir "$work/pool"
	cat >"$conf" <<-CONF
		backend_clustering_mode = 'raw'
		listen_addresses = ''
		port = 9999
		socket_dir = '$work/pool'
		unix_socket_directories = '$work/pool'
		pcp_listen_addresses = ''
		pcp_socket_dir = '$work/pool'
		pid_file_name = '$work/pool/pid'
		logdir = '$work/pool'
		work_dir = '$work/pool'
		backend_hostname0 = '$PGHOST'
		backend_port0 = 5432
		num_init_children = 16
		max_pool = 1
		load_balance_mode = off
		sr_check_period = 0
		health_check_period = 0
		memory_cache_enabled = on
		memqcache_method = 'shmem'
		memqcache_total_size = 256MB
		memqcache_maxcache = 6000000
		memqcache_cache_block_size = 8388608
		memqcache_expire = 0
		memqcache_auto_cache_invalidation = off
	CONF
	chmod 644 "$conf"
	as_server pgpool -n -f "$conf" -F "$work/pool/none" -a "$work/pool/none" >"$work/pgpool.log" 2>&1 &
	pool_pid=$!
	peers+=("$pool_pid")
	for ((i = 0; i < 50; i++)); do
		if PGHOST=$work/pool PGPORT=9999 sql -d postgres -c "SELECT 1" >/dev/null 2>&1; then return; fi
		sleep 0.2
	done
	skip "pgpool-II does not start"
	tail -n 3 "$work/pgpool.log"
	return 1
}

start_redis() {
	have redis-server && have redis-benchmark || { skip "Redis (Debian: redis-server)"; return 1; }
	if [ -S "$work/redis.sock" ]; then return; fi
	redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work/tmp" >"$work/redis.log" 2>&1 &
	redis_pid=$!
	peers+=("$redis_pid")
	for ((i = 0; i < 50; i++)); do
		if redis-cli -s "$work/redis.sock" PING >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	skip "Redis does not start"
	return 1
}

bench_reads() {
	local kb db clients candidates sizes="2 32 64 256" all_clients="1 2 8" pool='' redis=''
	if [ -n "$quick" ]; then sizes="2 256" all_clients="1"; fi
	start_main
	say "" "Reads: throughput as a share of the constant's"
	if start_pool; then pool=1; server_pids+=("$pool_pid"); fi
	if start_redis; then redis=1; server_pids+=("$redis_pid"); fi
	for kb in $sizes; do
		db=d$kb
		need_database "$db" $((kb * 1024)) 13
		candidates="constant hit"
		if [ -z "$quick" ]; then candidates="$candidates hit-by-name control"; fi
		if [ "$kb" -ge 64 ]; then candidates="$candidates warm-constant warm-hit"; fi
		candidates="$candidates matview kv watermarks"
		if [ -n "$pool" ]; then
			candidates="$candidates pgpool-simple"
			if [ -z "$quick" ]; then candidates="$candidates pgpool-prepared"; fi
		fi
		if [ -n "$redis" ]; then
			sql -d "$db" -c "SELECT state_summary()" | head -c -1 | redis-cli -s "$work/redis.sock" -x SET "$db" >/dev/null
			candidates="$candidates redis"
		fi
		for clients in $all_clients; do
			# shellcheck disable=SC2086
			rounds_of reads "$db" "$clients" $candidates
		done
	done
	server_pids=("${server_pids[0]}")
}

bench_conditional() {
	local clients all_clients="1 2 8"
	if [ -n "$quick" ]; then all_clients="1"; fi
	start_main
	say "" "Unchanged answer to if_none_match: throughput as a share of SELECT 1"
	need_database d256 262144 13
	etag=$(sql -d d256 -c "SELECT etag FROM summary_cache_fetch('state')")
	for clients in $all_clients; do rounds_of conditional d256 "$clients" select-1 any-function unchanged unchanged-value control-1; done
	etag=
}

