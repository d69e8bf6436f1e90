#!/usr/bin/env bash
# make check-covers: each cover of the protocol is taken away, one at a time, and the one test that is
# there for it must fail.  A table of these mutants comes first, then what survived, then the count.
#
#   MUTANTS="names"   only these; test/covers/*.mutants has them all, each with its cover
#   JOBS=2            that many beside each other, each with a copy and tests of its own; otherwise one a core
#   NO_INSTALL=1      do not install what is missing
#
# One private copy is built once, with waiting points, and made again for each mutant; the tests are
# run by check.sh.  Each test must pass without a mutant first.  Beside what was killed stands the first
# thing that its test complained about.

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

mutants=${MUTANTS:-}
jobs=${JOBS:-$(nproc)}
unset MUTANTS KEEP JOBS

mutants_of=$top	# where the table is read; later the copy, so that the tree may change meanwhile
mutate() { perl "$mutants_of/test/covers/mutants.pl" "$@" "$mutants_of"/test/covers/*.mutants; }

suite_of() {
	if [ -e "$top/test/sql/$1.sql" ]; then
		echo regress
	elif [ -e "$top/test/specs/$1.spec" ]; then
		echo isolation
	elif [ -e "$top/test/t/$1.pl" ]; then
		echo tap
	else
		die "no test is called \"$1\""
	fi
}

# Run one test by check.sh on what is installed; all that it says is in $log.
run_test() {
	(cd "$work" && rm -rf regress* isolation* tap* && find tmp -mindepth 1 -delete)
	WORK=$work SUITES=$(suite_of "$1") TESTS=$1 timeout -k 60 900 bash "$work/src/test/check.sh" >"$log" 2>&1
}

# A failure of the test, and not of something before it.
test_failed() { grep -qE '^[0-9]+ passed, [1-9][0-9]* failed$' "$log"; }

# The first line of a test's complaint.
complaint() {
	{
		grep -m 1 -oE "Failed test '.*" "$log" ||
			sed -n '/^--- .*regression.diffs/,$ { /^[-+]\([^-+]\|$\)/ { p; q } }' "$log"
	} | cut -c 1-100
}

# Make and install what the copy's sources are now.
make_copy() {
	copy_make -s SC_DEBUG=1 all >"$log" 2>&1 && copy_make -s SC_DEBUG=1 install DESTDIR="$work/inst" >>"$log" 2>&1
}

row() { printf '%-28s %-22s %-10s %4s  %s\n' "$@"; }

require_packages tap
table=$(mutate list) || exit 1
if [ -n "$mutants" ]; then
	names=$(cut -f 1 <<<"$table")
	for name in $mutants; do
		# from a string: with a pipe, grep -q may end before its writer, which then fails for that
		grep -qxF -- "$name" <<<"$names" || die "no mutant is called \"$name\""
	done
	# shellcheck disable=SC2086
	table=$(awk -F '\t' 'NR == FNR { wanted[$1]; next } $1 in wanted' <(printf '%s\n' $mutants) - <<<"$table")
fi
tests=$(cut -f 2 <<<"$table" | grep -vx -- - | sort -u) || true
for name in $tests; do suite_of "$name" >/dev/null; done

case $jobs in '' | *[!0-9]* | 0) die "JOBS is a number of runs" ;; esac

# Whose turn it is among the runs, for each mutant: all mutants of a test belong to one run.
share_out() {
	cut -f 1,2 <<<"$table" | sort -t $'\t' -k 2 | awk -F '\t' -v jobs="$jobs" '
		{ tests[$2]++; of[$1] = $2 }
		END {
			for (mutant in of) {
				test = of[mutant]
				if (!(test in run)) {
					least = 1
					for (i = 2; i <= jobs; i++) if (load[i] < load[least]) least = i
					run[test] = least
					load[least] += tests[test]
				}
				print run[test] "\t" mutant
			}
		}'
}

if [ "$jobs" -gt 1 ]; then
	parts=$(mktemp -d)
	shares=$(share_out)
	for i in $(seq "$jobs"); do
		share=$(awk -F '\t' -v i="$i" '$1 == i { print $2 }' <<<"$shares")
		[ -n "$share" ] || continue
		MUTANTS=$share JOBS=1 NO_INSTALL=$no_install bash "$0" 2>&1 | tee "$parts/$i" &
	done
	wait
	last_line=$(awk '
		/^[0-9]+ killed, [0-9]+ survived, [0-9]+ equivalent$/ { whole++; killed += $1; survived += $3; equivalent += $5 }
		END { printf "%d killed, %d survived, %d equivalent%s\n", killed, survived, equivalent,
			whole == ARGC - 1 ? "" : "; " ARGC - 1 - whole " runs did not end" }' "$parts"/*)
	rm -rf "$parts"
	[[ $last_line =~ ^[1-9][0-9]*\ killed,\ 0\ survived,\ [0-9]+\ equivalent$ ]]
	exit
fi

[ -n "$(private_paths /)" ] || die "this server has no private extension path: a mutant would be installed for all"
build_copy all SC_DEBUG=1
install_copy
export SC_DEBUG_CONF=$work/server.conf	# the only build here has the waiting points
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-60}	# most mutants that make a test wait make it wait for ever
as_server cp -Rp "$work/src" "$work/pristine"
mutants_of=$work/pristine
as_server mkdir "$work/log"

row mutant test result s 'first complaint'
for name in $tests; do
	log=$work/log/test-$name
	SECONDS=0
	run_test "$name" || { cat "$log"; die "test $name does not pass without a mutant"; }
	row - "$name" passed "$SECONDS" ''
done

# the first failure of a mutant is enough
export PERL5LIB=$work/src/test/covers${PERL5LIB:+:$PERL5LIB} PERL5OPT=-MStopAtFailure
killed=0 survived='' equivalent=0
while IFS=$'\t' read -r name test cover reason; do
	log=$work/log/$name
	SECONDS=0
	changed=$(mutate apply "$name" "$work/src") || exit 1
	if ! make_copy; then
		cat "$log"
		survived+="$name: does not build"$'\n'
		row "$name" "$test" BROKEN "$SECONDS" 'does not build'
	elif [ "$test" = - ]; then
		equivalent=$((equivalent + 1))
		row "$name" - equivalent "$SECONDS" "$reason"
	elif run_test "$test"; then
		survived+="$name: $cover"$'\n'
		row "$name" "$test" SURVIVED "$SECONDS" "$cover"
	elif test_failed; then
		killed=$((killed + 1))
		row "$name" "$test" killed "$SECONDS" "$(complaint)"
	else
		cat "$log"
		survived+="$name: the test was not run to its end"$'\n'
		row "$name" "$test" BROKEN "$SECONDS" 'the test was not run to its end'
	fi
	# with the objects, so that only what the next mutant changes is made anew; as new ones, or a mutant of
	# the SQL script would not have the library linked again, and be tested with this one's
	for file in $changed; do
		as_server cp -p "$work/pristine/$file" "$work/src/$file"
		[ "${file%.c}" = "$file" ] || as_server cp "$work/pristine/${file%.c}.o" "$work/src/${file%.c}.o"
	done
done <<<"$table"

if [ -n "$survived" ]; then
	say "no test noticed that there was none of:"
	printf '%s' "$survived"
fi
last_line="$killed killed, $(grep -c . <<<"$survived" || true) survived, $equivalent equivalent"
[ -z "$survived" ] && [ "$killed" -gt 0 ]
