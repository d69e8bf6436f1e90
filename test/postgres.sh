#!/usr/bin/env bash
# make check-postgres: PostgreSQL's own regression and isolation tests, on servers with the library
# preloaded and a summary for every table that the tests create.  Beside the tests, hits are compared with
# what their queries return when they are run directly, and all summaries when the tests are over.  A test
# whose output differs from the expected file passes if each changed line is explained by
# test/postgres/differences.  The last line counts tests, and one comparison a suite.
#
#   SUITES="regress isolation"   only these suites
#   TESTS="test_setup copy2"     only these tests, one after the other, of the suites that have them
#   SOURCE=directory   PostgreSQL's sources, unpacked, of the server's major version; without it the
#                      distribution's source package is taken, of the server's release if that can be had
#   STOCK=1            run the suites without the library first.  This is always done, once, if the
#                      sources are of another release than the server: what differs without the library
#                      is expected to do so with it as well
#   SC_CACHE           where the suites are kept: as in server.sh
#   SETTINGS="name = value"   a line more of the servers' configuration
#   NO_INSTALL=1       do not install what is missing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=test/source.sh
. "$top/test/source.sh"

read -r -a suites <<<"${SUITES:-regress isolation}"
tests=${TESTS:-}
source=${SOURCE:-}
stock=${STOCK:-}
unset SUITES TESTS SOURCE STOCK
for suite in "${suites[@]}"; do
	case $suite in regress | isolation) ;; *) die "unknown suite \"$suite\"; there are regress, isolation" ;; esac
done

passed=0
failed=0
pass() { passed=$((passed + 1)); }
fail() {
	say "not ok  $*"
	failed=$((failed + 1))
}

release() { sed -n 's/^[^0-9]*\([0-9][0-9a-z.]*\).*/\1/p' <<<"$1"; }

#
# The suites, kept outside the tree: tests, expected files, the libraries that the tests load, and what a
# server without ours answers (stock).
#

check_source() {
	[ -n "$source" ] || return 0
	source=$(realpath "$source")
	source_release=$(sed -n "s/^PACKAGE_VERSION='\\(.*\\)'/\\1/p" "$source/configure" 2>/dev/null) || true
	[ -n "$source_release" ] || die "SOURCE=$source: no configure of PostgreSQL there"
	[ "${source_release%%[!0-9]*}" = "$major" ] ||
		die "SOURCE=$source is PostgreSQL $source_release, the server is $server_release"
}

# PGXS, and not the sources' own makefiles: nothing has to be configured, and the libraries fit the server.
build_library() {
	local dir=$1 name=$2
	make -s -C "$dir" -f - "$name.so" with_llvm=no >"$dir/$name.log" 2>&1 <<-MAKE || { cat "$dir/$name.log"; die "$name.so could not be built"; }
		MODULES = $name
		PG_CONFIG = $pg_config
		PGXS := \$(shell \$(PG_CONFIG) --pgxs)
		include \$(PGXS)
	MAKE
	mv "$dir/$name.so" "$kept/lib"
}

make_suites() {
	local build=$kept.build src
	say "getting PostgreSQL's suites to $kept, once"
	rm -rf "$build" "$kept"
	mkdir -p "$build" "$kept/lib" "$kept/regress" "$kept/isolation"
	if [ -n "$source" ]; then
		src=$source
	else
		src=$build/src
		get_source_package "$build" "$major" "$(dpkg-query -W -f '${source:Version}' "postgresql-$major" 2>/dev/null)"
	fi
	cp -R "$src"/src/test/regress/{sql,expected,data,parallel_schedule,resultmap} "$kept/regress"
	cp -R "$src"/src/test/isolation/{specs,expected,isolation_schedule} "$kept/isolation"
	cp -R "$src/src/test/regress" "$build/regress"
	cp -R "$src/contrib/spi" "$build/spi"
	build_library "$build/regress" regress
	build_library "$build/spi" refint
	build_library "$build/spi" autoinc
	sed -n "s/^PACKAGE_VERSION='\\(.*\\)'/\\1/p" "$src/configure" >"$kept/release"
	echo "$recipe" >"$kept/recipe"
	chmod -R go=u-w "$kept"
	rm -rf "$build"
}

find_suites() {
	local cache
	if am_root; then cache=/var/cache/summary_cache; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/summary_cache; fi
	cache=${SC_CACHE:-$cache}
	umask 022
	mkdir -p "$cache/suites"
	kept=$(realpath "$cache")/suites/$major${source:+-source}
	recipe="$("$bindir/postgres" --version) of ${source:-the source package}"
	exec 9>"$kept.lock"
	flock -n 9 || { say "waiting for another run"; flock 9; }
	if [ "$(cat "$kept/recipe" 2>/dev/null)" != "$recipe" ]; then make_suites; fi
	source_release=$(cat "$kept/release")
	exec 9>&-	# the servers would keep it
}

#
# A run of one suite on a server of its own
#

# The tests to run, as the runner wants them; all of them have to run.
list_tests() {
	local suite=$1 test
	if [ -n "$tests" ]; then
		for test in $tests; do
			if [ -e "$kept/$suite/sql/$test.sql" ] || [ -e "$kept/$suite/specs/$test.spec" ]; then echo "$test"; fi
		done
	else
		sed -n 's/^test: *//p' "$kept/$suite"/*_schedule | tr -s ' ' '\n' | sed '/^$/d'
	fi
}

# In the suite's database.
psql() { as_server "$bindir/psql" -X -q -A -t -h "$sock" -U postgres -d "$database" -v ON_ERROR_STOP=1 "$@"; }

# The settings of a build.
psql_as_build() { PGOPTIONS="-c timezone=UTC -c search_path=pg_catalog,pg_temp -c lock_timeout=200ms" psql "$@"; }

# Until the tests are over: a call after the other.
beside() {
	local name=$1 call=$2
	while [ ! -e "$out/over" ] && [ -e "$data/postmaster.pid" ]; do
		psql_as_build -c "CALL cachetest.$call" >>"$out/$name" 2>&1 || sleep 1
	done
}

# As pg_regress creates it, but before: the extension has to be in it.
create_database() {
	local setting
	as_server "$bindir/createdb" -h "$sock" -U postgres -T template0 "$database"
	for setting in "lc_messages TO 'C'" "lc_monetary TO 'C'" "lc_numeric TO 'C'" "lc_time TO 'C'" \
		"bytea_output TO 'hex'" "timezone_abbreviations TO 'Default'"; do
		psql -c "ALTER DATABASE $database SET $setting"
	done
}

# $1 = suite, $2 = stock or tracked.  All that is to be known of it is then below $work/$2/$1; the exit
# status tells whether it could be run at all.
run_suite() (
	suite=$1 way=$2
	out=$work/$way/$suite
	data=$out/data
	sock=$work/sock-$suite
	as_server mkdir -p "$out" "$sock"
	run_logged as_server "$bindir/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-locale --no-sync
	if [ "$way" = tracked ]; then
		as_server tee -a "$data/postgresql.conf" <"$work/server.conf" >/dev/null
	fi
	# The suites expect the settings of a new cluster.
	as_server tee -a "$data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$sock'
		max_connections = 60
		max_prepared_transactions = 10
		wal_level = replica
		autovacuum = on
		fsync = off
		log_line_prefix = '%m %b[%p] %q%a '
	CONF
	as_server "$bindir/pg_ctl" start -w -s -D "$data" -l "$out/server.log" ||
		{ cat "$out/server.log"; exit 1; }

	database=regression
	runner=(pg_regress "--dlpath=$kept/lib" --max-concurrent-tests=20)
	if [ "$suite" = isolation ]; then
		database=isolation_regression
		runner=(pg_isolation_regress)
	fi
	create_database
	dir=$(dirname "$("$pg_config" --pgxs)")/../test/$suite
	if grep -q expecteddir <<<"$("$dir/${runner[0]}" --help)"; then runner+=("--expecteddir=$kept/$suite"); fi
	if [ -n "$tests" ]; then
		mapfile -t -O "${#runner[@]}" runner < <(list_tests "$suite")
	else
		runner+=("--schedule=$(echo "$kept/$suite"/*_schedule)")
	fi

	if [ "$way" = tracked ]; then
		psql -f "$work/src/test/postgres/setup.sql" >"$out/setup" 2>&1 || { cat "$out/setup"; exit 1; }
		# What VACUUM finds in the first test decides about plans of later ones: no snapshot may be in its way.
		(
			until [ -n "$(results "$out/log" 2>/dev/null)" ]; do
				[ -e "$data/postmaster.pid" ] && [ ! -e "$out/over" ] || exit 0
				sleep 0.1
			done
			beside compare 'compare(5)' &
			beside tend 'tend(5)' &
			wait
		) &
	fi
	as_server "$dir/${runner[0]}" "${runner[@]:1}" "--inputdir=$kept/$suite" "--outputdir=$out" "--bindir=$bindir" \
		--use-existing "--dbname=$database" "--host=$sock" --user=postgres >"$out/log" 2>&1 || true
	as_server touch "$out/over"
	wait
	if [ "$way" = tracked ]; then look_at_rest >"$out/rest" 2>&1; fi
	as_server "$bindir/pg_ctl" stop -s -m fast -D "$data"
)

# When the tests are over: every summary, and what the cache says of itself.
look_at_rest() {
	psql_as_build -c "CALL cachetest.tend(1)" -c "CALL cachetest.compare_all()"
	psql <<-'SQL'
		SELECT 'tables tracked: ' || (SELECT last_value FROM cachetest.tracked) ||
			', failures: ' || (SELECT last_value FROM cachetest.not_tracked);
		SELECT 'tables without a summary: ' || count(*) FROM cachetest.untracked;
		SELECT 'not built: ' || last_error FROM cachetest.summary_cache_stats WHERE last_error IS NOT NULL;
		SELECT 'pending: ' || source FROM cachetest.summary_cache_tables
			WHERE pending <> 0 AND NOT EXISTS (SELECT FROM pg_prepared_xacts);
		SELECT 'summaries ' || coalesce(nullif(state, 'unprovable'), state || ', ' || coalesce(
				regexp_replace(reason, '^table [^ ]*', 'table …'), 'for no reason')) || ': ' || count(*)
			FROM cachetest.summary_cache_sections
			GROUP BY state, regexp_replace(reason, '^table [^ ]*', 'table …') ORDER BY 1;
	SQL
}

#
# What came of it
#

# Lines "ok NAME" and "differs NAME", from the words of the runner, which are TAP from 16 on.
results() {
	sed -nE 's/^(test|    ) +([^ ]+) +\.\.\. (ok|failed \(ignored\)).*/ok \2/p
		s/^(test|    ) +([^ ]+) +\.\.\. FAILED.*/differs \2/p
		s/^ok [0-9]+ +[-+] ([^ ]+) .*/ok \1/p
		s/^not ok [0-9]+ +[-+] ([^ ]+) .*/differs \1/p' "$1"
}

# Of test/postgres/differences: the reasons of each test, by suite/name.
declare -A reasons
read_differences() {
	local test names
	while IFS=: read -r test names; do reasons[$test]=${names# }; done \
		< <(sed -n 's/^test //p' "$top/test/postgres/differences")
}

# The patterns of a test's reasons.
patterns() {
	awk -v wanted=" ${reasons[$1]:-} ${reasons["*"]:-} " '
		/^reason / { name = $2; sub(/:$/, "", name); take = index(wanted, " " name " ") }
		/^\t/ && take { print substr($0, 2) }' "$top/test/postgres/differences"
}

# The changed lines that the list does not explain, by the expected file that leaves the fewest.  An error of
# ours is a defect, whatever the list says.
unexplained() {
	local suite=$1 test=$2 expected count best=1000000
	patterns "$suite/$test" >"$work/patterns"
	for expected in "$kept/$suite/expected/$test.out" "$kept/$suite/expected/$test"_[0-9].out "$kept/stock/$suite/$test.out"; do
		[ -e "$expected" ] || continue
		diff -aw "$expected" "$work/tracked/$suite/results/$test.out" | grep -a '^[<>]' >"$work/changed" || true
		{
			grep -avEf "$work/patterns" "$work/changed" || true
			grep -aE '^> .*(ERROR|FATAL|PANIC):.*(summary_cache|summary ")' "$work/changed" || true
		} >"$work/left"
		count=$(wc -l <"$work/left")
		if [ "$count" -lt "$best" ]; then
			best=$count
			mv "$work/left" "$work/fewest"
		fi
	done
	cat "$work/fewest"
}

judge_tests() {
	local suite=$1 outcome test explanation total=0 differing=0
	local -A outcomes=()
	while read -r outcome test; do outcomes[$test]=$outcome; done < <(results "$work/tracked/$suite/log")
	for test in $(list_tests "$suite"); do
		total=$((total + 1))
		explanation=${reasons[$suite/$test]:-}
		case ${outcomes[$test]:-} in
			ok)
				pass
				[ -z "$explanation" ] || say "as expected now: $suite/$test"
				;;
			differs)
				differing=$((differing + 1))
				[ ! -e "$kept/stock/$suite/$test.out" ] || explanation="${explanation:+$explanation, }without the library, too"
				unexplained "$suite" "$test" >"$work/shown"
				if [ ! -s "$work/shown" ]; then
					pass
					say "differs $suite/$test: $explanation"
				else
					fail "$suite/$test differs, and not all of it is explained:"
					head -n 40 "$work/shown"
				fi
				;;
			*) fail "$suite/$test: no result" ;;
		esac
	done
	say "$suite: $total tests, $differing differ"
}

# A comparison that has compared nothing proves nothing.
judge_comparison() {
	local suite=$1 out=$work/tracked/$1 before=$failed
	cat "$out/compare" "$out/rest" | grep -h 'wrong hit' || true
	awk -v suite="$suite" '
		/^[{]/ {
			file = FILENAME ~ /compare$/ ? 1 : 2
			gsub(/[{}" ]/, ""); n = split($0, parts, ",")
			for (i = 1; i <= n; i++) { split(parts[i], pair, ":"); count[file, pair[1]] += pair[2] }
		}
		function hits(f) { return count[f, "readcommitted"] + count[f, "repeatableread"] }
		function line(f, when) {
			printf "%s, %s: %d hits compared (%d of them in REPEATABLE READ), %d wrong; not compared: %d no hits, %d errors, %d dropped, %d beside DDL\n",
				suite, when, hits(f) + count[f, "wrong"], count[f, "repeatableread"], count[f, "wrong"],
				count[f, "nohit"], count[f, "error"], count[f, "gone"], count[f, "ddl"]
		}
		END {
			line(1, "beside the tests"); line(2, "afterwards")
			exit !(hits(1) > 0 && count[1, "wrong"] + count[2, "wrong"] == 0)
		}' "$out/compare" "$out/rest" || fail "$suite: the comparison"
	grep -v '^{' "$out/rest" || true
	sed -n 's/.*not tracked: [^:]*: /not tracked: /p' "$out/server.log" | sed 's/"[^"]*"/…/g' | sort | uniq -c | sort -rn | head
	if grep -q '^pending:' "$out/rest"; then fail "$suite: sources are still pending"; fi
	if grep -hE '^(ERROR|FATAL|PANIC|psql: error|server closed)' "$out/compare" "$out/tend" "$out/rest"; then
		fail "$suite: a session beside the tests met an error"
	fi
	if grep -nE '[(]PID [0-9]+[)] was terminated by signal|PANIC:' "$out/server.log"; then
		fail "$suite: the server crashed"
	fi
	[ "$failed" -gt "$before" ] || pass
}

# At the same time: a server each, and most of the isolation tests only wait.
run_all() {
	local way=$1 suite pid pids=() start=$SECONDS
	shift
	say "running $way: $*"
	for suite; do
		run_suite "$suite" "$way" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid" || die "a suite could not be run"; done
	say "$way: $((SECONDS - start)) s"
}

# The outputs that differ are expected from then on, beside the expected files.
run_stock() {
	local suite outcome test needed=()
	[ -n "$stock" ] || [ "$source_release" != "$server_release" ] || return 0
	for suite in "${suites[@]}"; do
		if [ -n "$stock" ] || [ ! -e "$kept/stock/$suite/done" ]; then needed+=("$suite"); fi
	done
	[ ${#needed[@]} -gt 0 ] || return 0
	tests='' run_all stock "${needed[@]}"
	for suite in "${needed[@]}"; do
		rm -rf "${kept:?}/stock/$suite"
		mkdir -p "$kept/stock/$suite"
		while read -r outcome test; do
			[ "$outcome" = differs ] || continue
			say "differs without the library: $suite/$test"
			cp "$work/stock/$suite/results/$test.out" "$kept/stock/$suite"
		done < <(results "$work/stock/$suite/log")
		touch "$kept/stock/$suite/done"
	done
}

require_packages server
server_release=$(release "$("$bindir/postgres" --version)")
major=${server_release%%[!0-9]*}
check_source
find_suites
say "PostgreSQL $server_release, suites of $source_release"
settings="summary_cache.max_tables = 20000
summary_cache.max_sections = 20000
summary_cache.memory_limit = 256MB
$settings"
build_copy all COPT=-Werror
install_copy
watch_server

read_differences
run_stock
run_all tracked "${suites[@]}"
for suite in "${suites[@]}"; do
	judge_tests "$suite"
	judge_comparison "$suite"
done
if ! look_for_reports; then failed=$((failed + 1)); fi
last_line="$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
