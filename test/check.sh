#!/usr/bin/env bash
# make check: every suite, against private servers.  The last line counts what the runners reported.
#
#   SUITES="regress isolation tap demo"   only these suites
#   TESTS="basic 001_commit"              only the tests of these names, of whatever suite
#   JOBS=2                                how many TAP tests run beside each other; otherwise one for each
#                                         core, but at most 4
#   TIMER=1                               say how long each TAP test took
#   PROVE_FLAGS="--verbose"               more options of prove
#   FRESH=1                               compile all anew, and take no object of an earlier run
#   SETTINGS="name = value"               a line more of the servers' configuration
#   NO_INSTALL=1                          do not install what is missing
#   check.sh cassert|sanitize             on a server that looks for mistakes (server.sh)
#   WORK=directory                        of covers.sh, with everything in place

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

suites=${SUITES:-regress isolation tap demo}
tests=${TESTS:-}
jobs=${JOBS:-$(nproc)}
if [ -z "${JOBS:-}" ] && [ "$jobs" -gt 4 ]; then jobs=4; fi
prove_flags=${PROVE_FLAGS:-}
if [ -n "${TIMER:-}" ]; then prove_flags="$prove_flags --timer"; fi
unset SUITES TESTS KEEP JOBS TIMER PROVE_FLAGS

passed=0
failed=0
failures=	# a line for each, said once more at the end

# The names of a suite's tests: directory, suffix.  They are what the Makefile passes to the runner.
list_tests() {
	local dir=$1 suffix=$2 file name
	for file in "$top/test/$dir"/*"$suffix"; do
		[ -e "$file" ] || continue
		name=$(basename "$file" "$suffix")
		case " ${tests:-$name} " in *" $name "*) echo "$name" ;; esac
	done
}

# Run a suite's runner and count its results: name, pattern of a pass, of a failure and of a skipped test,
# number of tests; then the command.  They are looked for in the file $results, or in what the runner says.
# A test without a result, and a runner that fails without naming a test, count as failed: dying must
# never look better than failing.  A skipped one counts as nothing.
results=
run_suite() {
	local suite=$1 pass=$2 fail=$3 skip=$4 expected=$5 status=0 file ok bad skipped
	shift 5
	"$@" 2>&1 | tee "$work/$suite.log" || status=$?
	file=${results:-$work/$suite.log}
	ok=$(grep -cE "$pass" "$file") || true
	bad=$(grep -cE "$fail" "$file") || true
	skipped=$(grep -cE "$skip" "$file") || true
	if [ $((ok + bad + skipped)) -lt "$expected" ]; then bad=$((expected - ok - skipped)); fi
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	if [ "$bad" -gt 0 ]; then
		failures+="$suite: $(grep -E "$fail" "$file" || echo 'its runner did not name the tests that failed')"$'\n'
	fi
	passed=$((passed + ok))
	failed=$((failed + bad))
	suite_failed=$bad
}

show() {
	if [ -s "$1" ]; then
		say "--- $1"
		tail -n "$2" "$1"
	fi
}

# pg_regress and pg_isolation_regress: suite, Makefile variables that leave only it, its tests.
# Formats of results: "test NAME ... ok" up to 15, TAP from 16 on.
run_regress() {
	local suite=$1 variable=$2 dir=$3 suffix=$4 names out
	names=$(list_tests "$dir" "$suffix" | tr '\n' ' ')
	[ -n "$names" ] || return 0
	shift 4
	# shellcheck disable=SC2086
	run_suite "$suite" '^(ok [0-9]+|(test|    ) .*\.\.\. ok)' '^(not ok|.*\.\.\. FAILED)' '^NONE$' "$(wc -w <<<"$names")" \
		copy_make -s installcheck "$variable=$names" "$@" \
		EXTRA_REGRESS_OPTS="--temp-instance=$work/$suite --temp-config=$work/server.conf"
	# The next suite would overwrite these.
	out=$work/$suite.out
	mkdir "$out"
	(cd "$work/src" && for f in results log regression.diffs regression.out; do if [ -e $f ]; then mv $f "$out"; fi; done)
	if [ "$suite_failed" -gt 0 ]; then
		show "$out/regression.diffs" 500
		show "$out/log/initdb.log" 20
		show "$out/log/postmaster.log" 60
	fi
}

run_tap() {
	local names files log
	names=$(list_tests t .pl)
	[ -n "$names" ] || return 0
	# shellcheck disable=SC2086
	files=$(printf 'test/t/%s.pl ' $names)
	# A server that was configured without --enable-tap-tests has no PROVE, and its installcheck skips
	# the suite with success.  prove itself needs the path of its harness.
	results=$work/tap.results
	as_server touch "$results"
	TEMP_CONFIG=$work/server.conf TEST_RESULTS=$results PERL5LIB=$work/src/test/t${PERL5LIB:+:$PERL5LIB} \
		run_suite tap '^ok ' '^failed ' '^skipped ' "$(wc -w <<<"$names")" \
		copy_make -s installcheck REGRESS= ISOLATION= "PROVE_TESTS=$files" enable_tap_tests=yes PROVE=prove \
		"PROVE_FLAGS=--harness=CountingHarness --jobs=$jobs $prove_flags"
	results=
	if [ "$suite_failed" -gt 0 ]; then
		for log in "$work"/src/tmp_check/log/*; do show "$log" 40; done
		# once more at the end, where it is found by who has only the last lines
		for log in $(sed -n 's,^failed test/t/\(.*\)\.pl .*,\1,p' "$work/tap.results"); do
			failures+="$(grep -E -A 6 'not ok|Looks like|[Tt]imed out' "$work/src/tmp_check/log/regress_log_$log" | cut -c 1-300 | sed -n 1,20p || true)"$'\n'
		done
	fi
}

for suite in $suites; do
	case $suite in
		regress | isolation | tap | demo) ;;
		*) die "unknown suite \"$suite\"; there are regress, isolation, tap, demo" ;;
	esac
done
case $jobs in '' | *[!0-9]* | 0) die "JOBS is a number of tests" ;; esac
for name in $tests; do
	[ -e "$top/test/sql/$name.sql" ] || [ -e "$top/test/specs/$name.spec" ] || [ -e "$top/test/t/$name.pl" ] ||
		die "no test is called \"$name\""
done

use_server "${1:-}"
if [ -n "${WORK:-}" ]; then
	require_packages server
	work=$WORK
	cd "$work"
else
	case " $suites " in *" tap "*) require_packages tap ;; *) require_packages server ;; esac
	build_copy all COPT=-Werror
	install_copy
	case " $suites " in *" tap "*) install_debug_copy ;; esac
fi
watch_server

for suite in $suites; do
	case $suite in
		regress) run_regress regress REGRESS sql .sql ISOLATION= TAP_TESTS= ;;
		isolation) run_regress isolation ISOLATION specs .spec REGRESS= TAP_TESTS= ;;
		tap) run_tap ;;
		demo)
			if [ -z "$tests" ] && [ -e "$top/test/demo.sh" ]; then
				WORK=$work run_suite demo '^demo: every step' '^NONE$' '^NONE$' 1 bash "$work/src/test/demo.sh"
			fi
			;;
	esac
done

if ! look_for_reports; then failed=$((failed + 1)); fi
last_line="$failures$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
