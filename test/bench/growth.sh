# The part of bench.sh about how work and memory grow with the number of summaries, tables and partitions.
# With BEFORE=directory, a source tree of another version, each row is measured there as well, in turns with
# this one, and the ratio is shown.
# shellcheck shell=bash disable=SC2154

before_tree=${BEFORE:-}
unset BEFORE

# $1: name of a server; $2: where its extension is installed, if it is not this one's.
growth_server() {
	local paths=''
	if [ -n "${2:-}" ]; then paths=$(private_paths "$2"); fi
	init_server "$1" "summary_cache.max_sections = 20000" "summary_cache.max_tables = 20000" \
		"summary_cache.memory_limit = 256MB" "max_locks_per_transaction = 512" "$paths"
	start_server "$1"
}

build_before() {
	[ -n "$(private_paths /)" ] || die "BEFORE needs a server with a private extension path"
	copy_tree "$before_tree" "$work/before"
	build_in "$work/before" all
	run_logged make_in "$work/before" -s install DESTDIR="$work/inst-before"
}

# Their table had another name in earlier versions.
definitions="SELECT coalesce(to_regclass('summary_cache.definition'), to_regclass('summary_cache_definition')) AS definitions"

# Database $1 with $2 summaries over one table, filled as a restore does: to define them one by one would
# take minutes in a version in which that is slow.
growth_database() {
	fill_database "$1" -v n="$2" <<-SQL
		SET client_min_messages = error;
		CREATE EXTENSION summary_cache;
		CREATE TABLE a (n int);
		CREATE TABLE b (n int);
		CREATE TABLE other (n int);
		SELECT summary_cache_define('s0', 'main', 'SELECT count(*) AS n FROM a');
		$definitions \gset
		INSERT INTO :definitions
			(summary, section, position, refresh, owner, query, sources, reads, calls, keys, settings)
			SELECT 's' || i, section, position, refresh, owner, query, sources, reads, calls, keys, settings
			FROM :definitions, generate_series(1, :n - 1) i;
		ANALYZE;
	SQL
}

# Database $1 with $2 tables, each with a summary of its own.
growth_tables() {
	fill_database "$1" -v n="$2" <<-'SQL'
		SET client_min_messages = error;
		CREATE EXTENSION summary_cache;
		SELECT format('CREATE TABLE t%s (n int)', i) FROM generate_series(1, :n) i \gexec
		SELECT count(summary_cache_define('s' || i, 'main', format('SELECT count(*) AS n FROM t%s', i)))
			FROM generate_series(1, :n) i;
		ANALYZE;
	SQL
}

# Database $1 with a table of $2 partitions of 10 rows, and summaries over one of them: by its name, and by
# the key.
growth_partitions() {
	fill_database "$1" -v n="$2" <<-'SQL'
		SET client_min_messages = error;
		CREATE EXTENSION summary_cache;
		CREATE TABLE parted (k int, n int) PARTITION BY LIST (k);
		SELECT format('CREATE TABLE p%s PARTITION OF parted FOR VALUES IN (%s)', i, i) FROM generate_series(1, :n) i \gexec
		INSERT INTO parted SELECT k, n FROM generate_series(1, :n) k, generate_series(1, 10) n;
		SELECT summary_cache_define('by name', 'main', 'SELECT sum(n) AS n FROM p7');
		SELECT summary_cache_define('by key', 'main', 'SELECT sum(n) AS n FROM parted WHERE k = 7');
		ANALYZE;
	SQL
}

# Reads lines "name: statement", runs the statements one after the other in one session of database $2 and
# records for build $1 how long each took.  $3: how many there are of what grows.
growth_time() {
	local build=$1 db=$2 n=$3 name statement
	while IFS=: read -r name statement; do
		printf '\\echo %s\n%s;\n' "$name" "$statement"
	done | { printf '%s\n' '\o /dev/null' '\timing on' && cat; } >"$work/scripts/growth.sql"
	sql -d "$db" -c "SET client_min_messages = error" -f "$work/scripts/growth.sql" 2>&1 |
		perl -ne 'if (/^Time: ([\d.]+)/) { print "$name,$1\n" if $name ne "warm" } elsif (/^(\S.*)$/) { $name = $1 }' |
		while IFS=, read -r name statement; do record growth "$build" "$name" "$n" "$statement"; done
}

# One round of a build over database $2 with $3 summaries.
growth_round() {
	local build=$1 db=$2 n=$3 i
	# others have read it: a session's first read finds a document
	sql -d "$db" -c "SELECT summary_cache_get('s' || i) FROM generate_series(1, 5) i" >/dev/null
	{
		# what a session loads once is not the growth
		echo "warm:SELECT summary_cache_get('s1')"
		for ((i = 1; i <= 5; i++)); do echo "ms of a first read:SELECT summary_cache_get('s$i')"; done
		echo "warm:SELECT summary_cache_define('warm', 'main', 'SELECT count(*) AS n FROM b')"
		for ((i = 1; i <= 5; i++)); do
			echo "ms to define:SELECT summary_cache_define('x$i', 'main', 'SELECT count(*) AS n FROM b')"
			echo "ms to define in place:SELECT summary_cache_define('x$i', 'main', 'SELECT count(*) + $i AS n FROM b')"
			echo "ms to configure:SELECT summary_cache_configure('x$i', 'max_stale_age', '$i')"
		done
		for ((i = 1; i <= 5; i++)); do echo "ms to drop:SELECT summary_cache_drop('x$i')"; done
		echo "warm:SELECT summary_cache_drop('warm')"
		for ((i = 1; i <= 3; i++)); do
			echo "ms to rename a table:ALTER TABLE other RENAME TO another"
			echo "ms to rename a table:ALTER TABLE another RENAME TO other"
		done
		for i in stats sections tables; do
			echo "warm:SELECT count(*) FROM summary_cache_$i"
			echo "ms to read summary_cache_$i:SELECT count(*) FROM summary_cache_$i"
		done
	} | growth_time "$build" "$db" "$n"
}

# The most memory of its own that a session has had, kB: without what it has touched of the shared memory.
peak_kb() { as_root awk '/^VmHWM/ { n += $2 } /^RssShmem/ { n -= $2 } END { print n }' "/proc/$1/status"; }

# Memory of a session: build, database, number; what; a statement before, and the one that counts.
growth_memory() {
	local build=$1 db=$2 n=$3 what=$4 pid before after
	coproc SESSION { as_server "$bindir/psql" -X -q -At -d "$db" 2>&1; }
	echo "SET client_min_messages = error; $5; SELECT pg_backend_pid();" >&"${SESSION[1]}"
	while read -r pid <&"${SESSION[0]}" && ! [[ $pid =~ ^[0-9]+$ && -e /proc/$pid ]]; do :; done
	before=$(peak_kb "$pid")
	echo "$6; SELECT 'done';" >&"${SESSION[1]}"
	while read -r after <&"${SESSION[0]}" && [ "$after" != 'done' ]; do :; done
	after=$(peak_kb "$pid")
	echo '\q' >&"${SESSION[1]}"
	wait "$SESSION_PID" 2>/dev/null || true
	record growth "$build" "$what" "$n" "$((after - before))"
}

bench_growth() {
	local builds=this build n ns="100 3000 10000" tables=2000 partitions=2000 r times=$((rounds < 5 ? rounds : 5)) plans=300 k
	if [ -n "$quick" ]; then ns="100 1000" tables=200 partitions=200 times=3 plans=50; fi
	say "" "By the number of summaries, tables and partitions"
	header growth "build,what,n,value"
	if [ -n "$before_tree" ]; then
		builds="this before"
		build_before
	fi
	for build in $builds; do
		growth_server "growth-$build" "$([ "$build" = this ] || echo "$work/inst-before")"
		for n in $ns; do growth_database "n$n" "$n"; done
		growth_tables tables "$tables"
		growth_partitions parts "$partitions"
		growth_database plans 1
		sql -d plans -c "SELECT count(summary_cache_define('plan' || g, 'main', (SELECT format('SELECT %s AS plan, ', g) ||
			string_agg(format('(SELECT count(*) FROM a WHERE n = %s) AS c%s', i, i), ', ') FROM generate_series(1, 20) i)))
			FROM generate_series(1, $plans) g" >/dev/null 2>&1
	done
	for ((r = 1; r <= times; r++)); do
		# shellcheck disable=SC2086
		for build in $(in_turn $r $builds); do
			use_server "growth-$build"
			for n in $ns; do growth_round "$build" "n$n" "$n"; done
			for ((k = 0; k < 2; k++)); do printf '%s:SELECT count(*) FROM summary_cache_tables\n' "$([ $k = 0 ] && echo warm || echo "ms to read summary_cache_tables of as many summaries")"; done |
				growth_time "$build" tables "$tables"
			{
				for k in name key; do
					echo "warm:SELECT summary_cache_get('by $k', true)"
					for ((n = 1; n <= 3; n++)); do echo "ms to build over one partition by its $k:SELECT summary_cache_get('by $k', true)"; done
				done
				echo "warm:SELECT sum(n) AS n FROM p7"
				echo "ms of the query itself:SELECT sum(n) AS n FROM p7"
			} | growth_time "$build" parts "$partitions"
		done
	done
	for build in $builds; do
		use_server "growth-$build"
		for n in $ns; do
			growth_memory "$build" "n$n" "$n" "kB of summary_cache_stats" \
				"SELECT sum(length(query)) FROM $(sql -d "n$n" -c "$definitions"); SELECT count(*) FROM summary_cache_stats WHERE false" \
				"SELECT count(*) FROM summary_cache_stats"
		done
		growth_memory "$build" plans "$plans" "kB of a session that builds sections of 20 subselects" \
			"SELECT summary_cache_get('s0', true)" \
			"SELECT count(summary_cache_get('plan' || g, true)) FROM generate_series(1, $plans) g"
		stop_server "growth-$build"
	done
	perl "$bench/growth.pl" "$csv/growth.csv"
}
