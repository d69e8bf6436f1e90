# The part of bench.sh about documents that are too large for a backend to keep a copy: how much memory a
# build and an answer need at most, beside the plain query; and what an answer without the document takes.
# shellcheck shell=bash disable=SC2154,SC2034

# $1: database; $2: SQL.  The most memory that a session needed for it, bytes more than before, shared
# memory that it touched included.
peak_of() {
	local pid before peak line
	coproc LARGE { as_server "$bindir/psql" -X -q -At -d "$1" 2>&1; }
	echo "SELECT pg_backend_pid();" >&"${LARGE[1]}"
	read -r pid <&"${LARGE[0]}"
	as_root sh -c "echo 5 >/proc/$pid/clear_refs"
	before=$(as_root awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$pid/status")
	printf '%s\n' '\o /dev/null' "$2;" '\o' '\echo that is all' >&"${LARGE[1]}"
	while read -r -u "${LARGE[0]}" line && [ "$line" != "that is all" ]; do say "$line" >&2; done
	peak=$(as_root awk '/^VmHWM/ { print $2 * 1024 }' "/proc/$pid/status")
	echo '\q' >&"${LARGE[1]}"
	wait "$LARGE_PID" 2>/dev/null || true
	echo $((peak - before))
}

# $1: size of the documents, MB; $2: shape; $3: what; $4: SQL
record_peak() {
	local peak
	peak=$(peak_of large "$4")
	record large-memory "$2" $(($1 << 20)) "$3" "$peak" "$(perl -e 'printf "%.2f", $ARGV[0] / ($ARGV[1] << 20)' "$peak" "$1")"
	tail -n 1 "$csv/large-memory.csv"
}

bench_large() {
	local mb=100 shape kb etag
	declare -A query=([text]="SELECT t FROM texts" [json]="SELECT j FROM jsons" [jsonb]="SELECT b FROM jsonbs"
		[aggregate]="SELECT json_agg(md5(n::text)) AS a FROM numbers")

	if [ -n "$quick" ]; then mb=16; fi
	init_server large "summary_cache.memory_limit = $((5 * mb + 100))MB" "summary_cache.worker_idle_timeout = 10min"
	start_server large
	sql -c "CREATE DATABASE large"
	# all of about the same size as JSON
	sql -d large <<-SQL >"$work/large.log" 2>&1 || { cat "$work/large.log"; die "could not make large documents"; }
		CREATE EXTENSION summary_cache;
		CREATE TABLE texts AS SELECT repeat(md5('x'), $mb * 32768) AS t;
		CREATE TABLE jsons AS SELECT to_json(t) AS j FROM texts;
		CREATE TABLE jsonbs AS SELECT jsonb_agg(md5(n::text)) AS b FROM generate_series(1, $mb * 29127) n;
		CREATE TABLE numbers AS SELECT n FROM generate_series(1, $mb * 29959) n;
		$(for shape in "${!query[@]}"; do echo "SELECT summary_cache_define('$shape', 'main', '${query[$shape]}');"; done)
	SQL
	say "" "Memory that a session needs at most, bytes and documents of $mb MB"
	header large-memory "shape,bytes,what,peak_bytes,documents"
	for shape in text json jsonb aggregate; do
		# the first to have the pages of the table in its memory
		peak_of large "${query[$shape]}" >/dev/null
		record_peak "$mb" $shape "plain query" "${query[$shape]}"
		record_peak "$mb" $shape "build" "SELECT summary_cache_invalidate('$shape'), summary_cache_unchanged('$shape', 'none')"
		record_peak "$mb" $shape "private build" "SET summary_cache.enabled = off; SELECT summary_cache_unchanged('$shape', 'none')"
		record_peak "$mb" $shape "read" "SET summary_cache.local_memory_limit = 0; SELECT summary_cache_get('$shape')"
		record_peak "$mb" $shape "unchanged" "SELECT summary_cache_unchanged('$shape', 'none')"
	done

	say "" "Unchanged, true or false, in a backend that keeps no copy of the document"
	for kb in 64 1024 $((mb * 1024)); do
		sql -c "CREATE DATABASE unchanged$kb" -c "ALTER DATABASE unchanged$kb SET summary_cache.local_memory_limit = 0"
		sql -d "unchanged$kb" >"$work/large.log" 2>&1 <<-SQL || { cat "$work/large.log"; die "could not make a large document"; }
			CREATE EXTENSION summary_cache;
			CREATE TABLE texts AS SELECT repeat(md5('x'), $kb * 32) AS t;
			SELECT summary_cache_define('state', 'main', 'SELECT t FROM texts');
		SQL
		etag=$(sql -d "unchanged$kb" -c "SELECT etag FROM summary_cache_fetch('state')")
		rounds_of large-unchanged "unchanged$kb" 1 select-1 any-function unchanged-value
	done
	stop_server large
}
