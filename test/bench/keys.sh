# The part of bench.sh about summaries with parameters: a definition with a document for each tenant, beside what
# one could use instead: a summary for each tenant, one materialized view with a row for each, Redis with keys that
# the application deletes.
# KEYS="define stale load memory hits writes refresh instructions" measures only these, and keeps what keys.csv had of others.
# shellcheck shell=bash disable=SC2154

all_keys="define stale load memory hits writes refresh instructions"
keys_wanted=${KEYS:-$all_keys}
keys_kept=${KEYS:+$results/keys.csv}
unset KEYS
for part in $keys_wanted; do
	case " $all_keys " in *" $part "*) ;; *) die "unknown KEYS \"$part\"; there are $all_keys" ;; esac
done
wants_keys() { local key; for key; do case " $keys_wanted " in *" $key "*) return 0 ;; esac; done; return 1; }

# what, candidate, how many of what it depends on, round, value
keys_record() { record keys "$1" "$2" "$3" "$4" "$5"; }

# Milliseconds of statement $2 in database $1, in a session of its own.
keys_ms() { PGOPTIONS='-c client_min_messages=error' sql -d "$1" -c '\timing on' -c "$2" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'; }

# Microseconds of CPU that the backend takes for each of $3 rows of statement $2 in database $1.
keys_cpu_us() {
	sql -d "$1" <<-SQL
		SELECT pg_backend_pid() AS pid \gset
		\set before \`cut -d ' ' -f 1 /proc/:pid/schedstat\`
		$2;
		\set after \`cut -d ' ' -f 1 /proc/:pid/schedstat\`
		SELECT round((:after - :before) / 1e3 / $3, 3);
	SQL
}

# A tenant's document out of the table $1; $2: the tenant.
keys_query() {
	echo "SELECT count(*) AS tasks, count(*) FILTER (WHERE status = 'open') AS open, json_agg(title ORDER BY id) AS titles FROM tasks_$1 WHERE tenant = $2"
}

# Database $1 with $2 tenants of $3 rows, in a table for each of the candidates that follow: what reads one shall
# not be paid for by who writes another.
keys_database() {
	local db=$1 tenants=$2 rows=$3 c
	shift 3
	{
		echo "CREATE EXTENSION summary_cache;"
		for c in "$@"; do
			echo "CREATE TABLE tasks_$c (id bigint PRIMARY KEY, tenant int NOT NULL, n int NOT NULL, status text NOT NULL, title text NOT NULL);
				INSERT INTO tasks_$c SELECT i, 1 + i % $tenants, 0, (ARRAY['open', 'done', 'blocked'])[1 + i % 3], 'Task ' || i || ' of tenant ' || 1 + i % $tenants
					FROM generate_series(1, $tenants * $rows) i;
				CREATE INDEX ON tasks_$c (tenant);"
		done
		echo "VACUUM ANALYZE;"
	} | fill_database "$db"
}

# The statement that defines what a candidate reads by; $2: tenants.
keys_define() {
	local c=$1 tenants=${2:-}
	case $c in
		keyed) echo "SELECT summary_cache_define('keyed', 'main', \$\$$(keys_query keyed "\$1")\$\$, parameters => '{tenant int}');" ;;
		by_table) echo "SELECT summary_cache_define('by_table', 'main', \$\$$(keys_query by_table "\$1")\$\$, parameters => '{tenant int}', keys => '{}');" ;;
		each) echo "SELECT count(summary_cache_define('t' || i, 'main', format(\$\$$(keys_query each %s)\$\$, i))) FROM generate_series(1, $tenants) i;" ;;
	esac
}

# Makes each document of a candidate current that is not.
keys_ready() {
	local db=$1 c=$2 tenants=$3
	case $c in
		each) sql -d "$db" -c "SELECT count(summary_cache_get('t' || i)) FROM generate_series(1, $tenants) i" \
			-c "SELECT count(summary_cache_get(summary, true)) FROM summary_cache_sections WHERE summary ~ '^t[0-9]+\$' AND state <> 'current'" ;;
		*) sql -d "$db" -c "SELECT count(summary_cache_get('$c', parameters => ARRAY[i::text])) FROM generate_series(1, $tenants) i" \
			-c "SELECT count(summary_cache_get('$c', true, parameters)) FROM summary_cache_documents WHERE summary = '$c' AND state <> 'current'" ;;
	esac >/dev/null
}

# How many documents of a candidate are in state $3, current or not.
keys_in_state() {
	local db=$1 c=$2 test=$([ "$3" = current ] && echo = || echo '<>')
	case $c in
		each) sql -d "$db" -c "SELECT count(*) FROM summary_cache_sections WHERE summary ~ '^t[0-9]+\$' AND state $test 'current'" ;;
		*) sql -d "$db" -c "SELECT count(*) FROM summary_cache_documents WHERE summary = '$c' AND state $test 'current'" ;;
	esac
}

# The server of all that is not about memory, with a word for each 6 or 7 of 10,000 tenants, as by default.
keys_server() {
	if [ ! -e "$work/keys" ]; then
		init_server keys "summary_cache.max_sections = 20000" "summary_cache.max_documents = $((keys_many + 2 * keys_tenants + 10000))" \
			"summary_cache.memory_limit = 1GB" "summary_cache.save = off" "summary_cache.worker_idle_timeout = 10min" "max_connections = 40"
		start_server keys
	fi
	use_server keys
}

#
# define, stale: what it takes to define a document for each of many tenants, and how many of them one write ends
#
keys_stale() {
	local c r n tenant writes=20 ms
	keys_server
	keys_database keys_stale "$keys_tenants" 1 keyed by_table each
	for c in keyed by_table each; do
		ms=$(keys_ms keys_stale "$(keys_define "$c" "$keys_tenants")")
		if [ "$c" != by_table ]; then keys_record "ms to define" "$c" "$keys_tenants" 1 "$ms"; fi
	done
	perl "$bench/keys.pl" "$csv/keys.csv" "ms to define"
	wants_keys stale || return 0
	for c in keyed by_table each; do keys_ready keys_stale "$c" "$keys_tenants"; done
	for ((r = 1; r <= keys_rounds; r++)); do
		for c in $(in_turn "$r" keyed by_table each); do
			for ((n = 1; n <= ($([ "$c" = keyed ] && echo $writes || echo 1)); n++)); do
				keys_ready keys_stale "$c" "$keys_tenants"
				[ "$(keys_in_state keys_stale "$c" current)" = "$keys_tenants" ] || die "not all documents of $c are current"
				# all over the tenants, in the same order each time
				tenant=$((1 + (7919 * ((r - 1) * writes + n)) % keys_tenants))
				sql -d keys_stale -c "UPDATE tasks_$c SET n = n + 1 WHERE tenant = $tenant"
				keys_record "documents made stale by a write of one row" "$c" "$keys_tenants" "$r" "$(keys_in_state keys_stale "$c" stale)"
			done
		done
	done
	perl "$bench/keys.pl" "$csv/keys.csv" "documents made stale by a write of one row"
}

#
# load: uniform reads beside writes to one tenant
#

# Clock ticks of CPU that the servers and all that they have begun have taken so far.
keys_cpu() {
	perl -e '
		my %servers = map { $_ => 1 } @ARGV;
		my $ticks = 0;
		for my $file (</proc/[0-9]*/stat>) {
			open my $in, "<", $file or next;
			my ($pid, $rest) = (<$in> // "") =~ /^(\d+) \(.*\) (.*)/s or next;
			my @fields = split / /, $rest;
			$ticks += $fields[11] + $fields[12] if $servers{$pid} || $servers{ $fields[1] };
			# those of ended backends
			$ticks += $fields[13] + $fields[14] if $servers{$pid};
		}
		print "$ticks\n"' "${server_pids[@]}"
}

# Reads, hits, stale answers and builds of a summary, or of the summaries of the candidate `each`.
keys_counts() {
	sql -d keys_load -F ' ' -c "SELECT sum(hits + progress_sections + stale + misses + private), sum(hits + progress_sections), sum(stale),
		sum(builds_miss + builds_inline + builds_background + builds_forced + builds_private) FROM summary_cache_stats
		WHERE CASE '$1' WHEN 'each' THEN summary ~ '^t[0-9]+\$' ELSE summary = '${1%-eager}' END"
}

keys_latency() { sed -n 's/^latency average = \([0-9.]*\) ms.*/\1/p' "$1"; }
keys_transactions() { sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$1"; }

# One run of candidate $1 in round $2.
keys_load_run() {
	local c=$1 r=$2 summary=${1%-eager} cpu reads hits stale builds read_ms write_ms writer
	case $c in
		keyed*)
			sql -d keys_load -c "SELECT summary_cache_configure('keyed', 'eager_refresh', '$([ "$c" = keyed ] && echo off || echo on)')" >/dev/null
			keys_ready keys_load keyed "$keys_load_tenants"
			;;
		each) keys_ready keys_load each "$keys_load_tenants" ;;
	esac
	sleep 0.5
	cpu=$(keys_cpu)
	if [ "$c" = redis ]; then
		read -r reads hits read_ms write_ms < <(/usr/bin/python3 "$bench/keys_redis.py" "host=$PGHOST user=postgres dbname=keys_load" "$work/redis.sock" \
			"$keys_reads" "$keys_writes" "$keys_seconds" "$keys_load_tenants" "$(keys_query redis %s)")
		stale=0 builds=$((reads - hits))
	else
		sql -d keys_load -c "SELECT summary_cache_reset_stats()" >/dev/null
		as_server "$bindir/pgbench" -n -M prepared -R "$keys_writes" -T "$keys_seconds" -f "$work/scripts/keys_write_$summary.sql" keys_load >"$work/writer.log" 2>&1 &
		writer=$!
		as_server "$bindir/pgbench" -n -M prepared -c 4 -R "$keys_reads" -T "$keys_seconds" -f "$work/scripts/keys_read_$summary.sql" keys_load >"$work/pgbench.log" 2>&1 ||
			{ cat "$work/pgbench.log" >&2; die "pgbench failed"; }
		wait "$writer" || { cat "$work/writer.log" >&2; die "pgbench failed"; }
		read_ms=$(keys_latency "$work/pgbench.log") write_ms=$(keys_latency "$work/writer.log")
		if [ "$c" = matview ]; then
			# a row of the view is always read; each refresh computes all of them
			reads=$(keys_transactions "$work/pgbench.log") hits='' stale='' builds=$(($(keys_transactions "$work/writer.log") * keys_load_tenants))
		else
			read -r reads hits stale builds < <(keys_counts "$c")
		fi
	fi
	cpu=$(($(keys_cpu) - cpu))
	if [ -n "$hits" ]; then
		keys_record "% of reads that are hits" "$c" "$keys_load_tenants" "$r" "$(perl -e 'printf "%.2f", 100 * $ARGV[0] / $ARGV[1]' "$hits" "$reads")"
		keys_record "% of reads that are stale" "$c" "$keys_load_tenants" "$r" "$(perl -e 'printf "%.2f", 100 * $ARGV[0] / $ARGV[1]' "$stale" "$reads")"
	fi
	keys_record "documents built a second" "$c" "$keys_load_tenants" "$r" "$(perl -e 'printf "%.2f", $ARGV[0] / $ARGV[1]' "$builds" "$keys_seconds")"
	keys_record "ms of a read" "$c" "$keys_load_tenants" "$r" "$read_ms"
	keys_record "ms of a write" "$c" "$keys_load_tenants" "$r" "$write_ms"
	keys_record "% of a CPU that the servers take" "$c" "$keys_load_tenants" "$r" \
		"$(perl -e 'printf "%.1f", 100 * $ARGV[0] / $ARGV[1] / $ARGV[2]' "$cpu" "$(getconf CLK_TCK)" "$keys_seconds")"
}

keys_load() {
	local r c candidates="keyed keyed-eager each matview" what
	keys_server
	keys_database keys_load "$keys_load_tenants" 10 keyed each matview redis
	sql -d keys_load -c "SET client_min_messages = error" -c "$(keys_define keyed)" -c "$(keys_define each "$keys_load_tenants")" >/dev/null
	sql -d keys_load -c "CREATE MATERIALIZED VIEW documents AS SELECT tenant, row_to_json(q) AS document
			FROM (SELECT DISTINCT tenant FROM tasks_matview) t, LATERAL ($(keys_query matview t.tenant)) q" \
		-c "CREATE UNIQUE INDEX ON documents (tenant)" -c "VACUUM ANALYZE documents"
	for c in keyed each matview; do
		script keys_write_$c "UPDATE tasks_$c SET n = n + 1 WHERE id = 7;"
	done
	echo "REFRESH MATERIALIZED VIEW CONCURRENTLY documents;" >>"$work/scripts/keys_write_matview.sql"
	script keys_read_keyed "\\set id random(1, $keys_load_tenants)" "SELECT summary_cache_get('keyed', parameters => ARRAY[:id::text]);"
	script keys_read_each "\\set id random(1, $keys_load_tenants)" "SELECT summary_cache_get('t' || :id);"
	script keys_read_matview "\\set id random(1, $keys_load_tenants)" "SELECT document FROM documents WHERE tenant = :id;"
	if ! /usr/bin/python3 -c 'import psycopg2' 2>/dev/null; then
		skip "a client of Redis (Debian: python3-psycopg2)"
	elif start_redis; then
		server_pids+=("$redis_pid")
		candidates="$candidates redis"
	fi
	for ((r = 1; r <= keys_rounds; r++)); do
		# shellcheck disable=SC2086
		for c in $(in_turn "$r" $candidates); do keys_load_run "$c" "$r"; done
	done
	for what in "% of reads that are hits" "% of reads that are stale" "documents built a second" "ms of a read" "ms of a write" "% of a CPU that the servers take"; do
		perl "$bench/keys.pl" "$csv/keys.csv" "$what"
	done
	keys_server
}

#
# memory: what a document takes beside its bytes.  What is reserved for one more by the setting is the difference
# of all shared memory between two servers; what it takes of the documents' area is the area by as many documents
# as fit, when the next one makes another give way.
#

# All shared memory with the settings that follow.
keys_reserved() {
	printf '%s\n' "$@" | as_server tee -a "$work/keys_memory/postgresql.conf" >/dev/null
	start_server keys_memory
	sql -c "SELECT sum(allocated_size) FROM pg_shmem_allocations"
	stop_server keys_memory
}

# How many documents of candidate $1 with $2 bytes fit.
keys_fit() {
	local c=$1 bytes=$2 batch=1000 i evicted=0 query
	query="SELECT repeat('x', $bytes - 8) AS n FROM (SELECT count(*) FROM t WHERE k = %s) c"
	sql -c "CREATE DATABASE fit"
	sql -d fit -c "SET client_min_messages = error" -c "CREATE EXTENSION summary_cache" -c "CREATE TABLE t (k int NOT NULL)"
	if [ "$c" = keyed ]; then
		# shellcheck disable=SC2059
		sql -d fit -c "SET client_min_messages = error" -c "SELECT summary_cache_define('m', 'main', \$\$$(printf "$query" "\$1")\$\$, parameters => '{k int}')" >/dev/null
		[ "$(sql -d fit -c "SELECT octet_length(summary_cache_get('m', parameters => '{1}')::text)")" = "$bytes" ] || die "a document has not $bytes bytes"
	fi
	for ((i = 1; evicted == 0; i += batch)); do
		if [ "$c" = keyed ]; then
			sql -d fit -c "SELECT count(summary_cache_get('m', parameters => ARRAY[i::text])) FROM generate_series($i, $i + $batch - 1) i"
		else
			sql -d fit -c "SET client_min_messages = error" \
				-c "SELECT count(summary_cache_define('m' || i, 'main', format(\$\$$query\$\$, i))) FROM generate_series($i, $i + $batch - 1) i" \
				-c "SELECT count(summary_cache_get('m' || i)) FROM generate_series($i, $i + $batch - 1) i"
		fi >/dev/null
		evicted=$(sql -c "SELECT documents_evicted FROM summary_cache_server")
	done
	[ "$(sql -c "SELECT summaries_evicted FROM summary_cache_server")" = 0 ] || die "too few entries for the measurement of $c, $bytes bytes"
	sql -d fit -c "SELECT $([ "$c" = keyed ] && echo "sum(documents)" || echo "count(*) FILTER (WHERE bytes > 0)") FROM summary_cache_stats"
}

keys_memory() {
	local c bytes fit base documents sections words reserved limit=$([ -n "$quick" ] && echo 2 || echo 8)
	init_server keys_memory "summary_cache.memory_limit = ${limit}MB" "summary_cache.save = off" \
		"summary_cache.max_sections = 1000" "summary_cache.max_documents = 0" "summary_cache.key_words = 65536"
	base=$(keys_reserved)
	documents=$(perl -e 'printf "%.1f", ($ARGV[0] - $ARGV[1]) / 100000' "$(keys_reserved "summary_cache.max_documents = 100000")" "$base")
	sections=$(perl -e 'printf "%.1f", ($ARGV[0] - $ARGV[1]) / 20000' "$(keys_reserved "summary_cache.max_documents = 0" "summary_cache.max_sections = 21000")" "$base")
	words=$(perl -e 'printf "%.1f", ($ARGV[0] - $ARGV[1]) / 1000000' "$(keys_reserved "summary_cache.max_sections = 1000" "summary_cache.key_words = 1065536")" "$base")
	keys_record "bytes reserved for a document" keyed 1 1 "$documents"
	keys_record "bytes reserved for a document" each 1 1 "$sections"
	keys_record "bytes reserved for a key word" keyed 1 1 "$words"
	# room for more than can fit
	printf '%s\n' "summary_cache.key_words = 65536" "summary_cache.max_sections = $((limit * 8000))" "summary_cache.max_documents = $((limit * 8000))" |
		as_server tee -a "$work/keys_memory/postgresql.conf" >/dev/null
	for bytes in 100 400 1000 4000; do
		for c in keyed each; do
			# empty, in one piece
			start_server keys_memory
			sql -c "CREATE EXTENSION IF NOT EXISTS summary_cache" 2>/dev/null
			fit=$(keys_fit "$c" "$bytes")
			sql -c "DROP DATABASE fit"
			stop_server keys_memory
			reserved=$([ "$c" = keyed ] && echo "$documents" || echo "$sections")
			keys_record "bytes of the area for a document" "$c" "$bytes" 1 "$(perl -e 'printf "%.1f", ($ARGV[0] << 20) / $ARGV[1]' "$limit" "$fit")"
			keys_record "bytes of a document beside its own" "$c" "$bytes" 1 \
				"$(perl -e 'printf "%.1f", $ARGV[0] + ($ARGV[1] << 20) / $ARGV[2] - $ARGV[3]' "$reserved" "$limit" "$fit" "$bytes")"
		done
	done
	for c in "bytes reserved for a document" "bytes reserved for a key word" "bytes of the area for a document" "bytes of a document beside its own"; do
		perl "$bench/keys.pl" "$csv/keys.csv" "$c"
	done
}

#
# hits, writes: transactions a second of one client, in turns
#

# What rounds_of() has found, under a name.
keys_keep() {
	local r c tps
	while IFS=, read -r _ _ r c tps; do keys_record "$1" "${c#keys_}" "$2" "$r" "$(perl -e 'printf "%.3f", 1e6 / $ARGV[0]' "$tps")"; done < <(tail -n +2 "$csv/keys_rounds.csv")
	rm "$csv/keys_rounds.csv"
	perl "$bench/keys.pl" "$csv/keys.csv" "$1"
}

keys_hits() {
	local i candidates="keys_one keys_many keys_few keys_name" c
	keys_server
	keys_database keys_hits "$keys_many" 1 hits
	sql -d keys_hits -c "SET client_min_messages = error" \
		-c "SELECT summary_cache_define(s, 'main', \$\$$(keys_query hits "\$1")\$\$, parameters => '{tenant int}') FROM unnest('{one,few,many}'::text[]) s" \
		-c "SELECT summary_cache_define('name', 'main', \$\$$(keys_query hits 1)\$\$)" >/dev/null
	for ((i = 1; i <= keys_many; i += 1000)); do
		echo "SELECT count(summary_cache_get('many', parameters => ARRAY[i::text])) FROM generate_series($i, $i + 999) i;"
	done | sql -d keys_hits >/dev/null
	sql -d keys_hits -c "SELECT length(summary_cache_get('one', parameters => '{1}')::text), length(summary_cache_get('name')::text)" \
		-c "SELECT count(summary_cache_get('few', parameters => ARRAY[i::text])) FROM generate_series(1, 100) i" >/dev/null
	[ "$(sql -d keys_hits -c "SELECT string_agg(documents::text, ' ' ORDER BY summary) FROM summary_cache_stats WHERE summary <> 'name'")" = "100 $keys_many 1" ] ||
		die "not all documents are cached"
	script keys_one '\set id random(1, 1)' "SELECT summary_cache_get('one', parameters => ARRAY[:id::text]);"
	script keys_few '\set id random(1, 100)' "SELECT summary_cache_get('few', parameters => ARRAY[:id::text]);"
	script keys_many "\\set id random(1, $keys_many)" "SELECT summary_cache_get('many', parameters => ARRAY[:id::text]);"
	script keys_name '\set id random(1, 1)' "SELECT summary_cache_get('name');"
	sql -d keys_hits -c "SELECT summary_cache_reset_stats()" >/dev/null
	# shellcheck disable=SC2086
	rounds_of keys_rounds keys_hits 1 $candidates >/dev/null
	[ "$(sql -d keys_hits -c "SELECT sum(stale + misses + private) FROM summary_cache_stats")" = 0 ] || die "a read was no hit"
	keys_keep "microseconds of a hit" "$keys_many"
}

keys_vacuum() { sql -d "$1" -c "VACUUM tasks_none, tasks_control, tasks_tracked, tasks_keyed"; }

keys_writes() {
	local c r rows=$([ -n "$quick" ] && echo 20000 || echo 200000) tenants
	keys_server
	keys_database keys_writes 1000 10 none control tracked keyed
	sql -d keys_writes -c "SET client_min_messages = error" -c "$(keys_define keyed)" \
		-c "SELECT summary_cache_define('tracked', 'main', 'SELECT count(*) AS n FROM tasks_tracked')" >/dev/null
	for c in none control tracked keyed; do
		script "keys_$c" '\set id random(1, 10000)' "UPDATE tasks_$c SET n = n + 1 WHERE id = :id;"
	done
	before=keys_vacuum
	rounds_of keys_rounds keys_writes 1 keys_none keys_control keys_tracked keys_keyed >/dev/null
	before=
	keys_keep "microseconds of an UPDATE of one row" 1000
	# in the list of a transaction there is room for 4,096 keys
	for ((r = 1; r <= keys_rounds; r++)); do
		for tenants in 1000 "$rows"; do
			for c in $(in_turn "$r" none control tracked keyed); do
				sql -d keys_writes -c "TRUNCATE tasks_$c" -c CHECKPOINT
				keys_record "microseconds of CPU a row of a large INSERT" "$c" "$tenants" "$r" "$(keys_cpu_us keys_writes \
					"INSERT INTO tasks_$c SELECT i, 1 + i % $tenants, 0, 'open', 'Task ' || i FROM generate_series(1, $rows) i" "$rows")"
				keys_record "microseconds of CPU a row of a large UPDATE" "$c" "$tenants" "$r" \
					"$(keys_cpu_us keys_writes "UPDATE tasks_$c SET n = n + 1" "$rows")"
			done
		done
	done
	for c in INSERT UPDATE; do perl "$bench/keys.pl" "$csv/keys.csv" "microseconds of CPU a row of a large $c"; done
}

#
# refresh: what launcher and worker take of the CPU for a document that was written, among so many
#

# Nanoseconds that a process of ours has been on a CPU.
keys_ns() {
	local pid
	pid=$(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache $1'")
	cut -d ' ' -f 1 "/proc/$pid/schedstat"
}

keys_refresh() {
	local c i n writes=20 launcher worker
	for n in $keys_refresh_of; do
		init_server keys_refresh "summary_cache.max_documents = $n" "summary_cache.memory_limit = 1GB" "summary_cache.save = off" \
			"summary_cache.worker_idle_timeout = 10min"
		start_server keys_refresh
		keys_database keys_refresh "$n" 1 keyed
		sql -d keys_refresh -c "SET client_min_messages = error" -c "$(keys_define keyed "$n")" \
			-c "SELECT count(summary_cache_get('keyed', parameters => ARRAY[i::text])) FROM generate_series(1, $n) i" >/dev/null
		# the first has the worker started; what was built before is behind it
		for ((i = 0; i <= writes; i++)); do
			if [ "$i" = 1 ]; then
				await -d keys_refresh -c "SELECT builds_background > 0 FROM summary_cache_stats"
				launcher=$(keys_ns launcher) worker=$(keys_ns worker)
			fi
			# a session of its own, which does not wait for what it has written
			sql -d keys_refresh -c "UPDATE tasks_keyed SET n = n + 1 WHERE tenant = $((1 + i))"
			sql -d keys_refresh -c "SELECT status FROM summary_cache_fetch('keyed', parameters => '{$((1 + i))}')" >/dev/null
			sleep 0.2
		done
		await -d keys_refresh -c "SELECT builds_background = $writes + 1 FROM summary_cache_stats"
		launcher=$(($(keys_ns launcher) - launcher)) worker=$(($(keys_ns worker) - worker))
		[ "$(sql -d keys_refresh -c "SELECT documents FROM summary_cache_stats")" = "$n" ] || die "of $n documents some are missing"
		for c in launcher worker; do
			keys_record "ms of CPU for a refresh" "$c" "$n" 1 "$(perl -e 'printf "%.3f", $ARGV[0] / $ARGV[1] / 1e6' "${!c}" "$writes")"
		done
		stop_server keys_refresh
		rm -rf "${work:?}/keys_refresh"
	done
	perl "$bench/keys.pl" "$csv/keys.csv" "ms of CPU for a refresh"
}

keys_instructions() {
	local name n
	have valgrind || { skip "instructions (Debian: valgrind)"; return; }
	OPS=keys: TABLE=$work/instructions NO_INSTALL=1 bash "$bench/instructions.sh" >"$work/instructions.log" 2>&1 ||
		{ cat "$work/instructions.log"; die "instructions.sh failed"; }
	while IFS=$'\t' read -r name _ n; do
		# "keys: what, candidate"
		name=${name#keys: }
		keys_record "instructions of ${name%, *}" "${name##*, }" 1 1 "$n"
	done <"$work/instructions"
	cut -d , -f 1 "$csv/keys.csv" | grep ^instructions | uniq | sort -u | while read -r name; do perl "$bench/keys.pl" "$csv/keys.csv" "$name"; done
}

bench_keys() {
	keys_tenants=10000 keys_load_tenants=1000 keys_many=100000 keys_rounds=$((rounds < 5 ? rounds : 5))
	keys_reads=300 keys_writes=5 keys_seconds=10 keys_refresh_of="1000 100000 1000000"
	if [ -n "$quick" ]; then keys_tenants=1000 keys_load_tenants=200 keys_many=5000 keys_rounds=1 keys_seconds=4 keys_refresh_of="100 1000"; fi
	say "" "Documents by parameters: medians (quartiles; the most), and the ratio to the first line of the same round"
	header keys "what,candidate,n,round,value"
	if wants_keys define stale; then keys_stale; fi
	if wants_keys load; then keys_load; fi
	if wants_keys memory; then keys_memory; fi
	if wants_keys hits; then keys_hits; fi
	if wants_keys writes; then keys_writes; fi
	if [ -e "$work/keys" ]; then
		use_server keys
		stop_server keys
	fi
	if wants_keys refresh; then keys_refresh; fi
	if wants_keys instructions; then keys_instructions; fi
	if [ -n "$keys_kept" ] && [ -e "$keys_kept" ]; then
		awk -F, 'NR == FNR { new[$1] = 1; next } !($1 in new)' "$csv/keys.csv" "$keys_kept" >"$work/keys_kept"
		cat "$work/keys_kept" >>"$csv/keys.csv"
	fi
}
