#!/usr/bin/env bash
# make lint: what tools find without running anything.  Scripts by shellcheck; the library built by gcc
# and by clang with warnings as errors, also as a debug build and with a server's LLVM bitcode; the C
# programs of the tests likewise; clang-tidy (.clang-tidy) and cppcheck (test/cppcheck.cfg) on the
# sources; the floors of src/README.md against the includes; pages for places that are still to be filled;
# expected results for the superuser's name; the format of src/ by PostgreSQL's pgindent, which is kept in
# the cache.  What the tools do not report is in their files, with the reason.
#
#   NO_INSTALL=1   do not install what is missing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=test/source.sh
. "$top/test/source.sh"

passed=0
failed=0

check() {
	local name=$1
	shift
	if "$@" >"$work/output" 2>&1; then
		say "ok      $name"
		passed=$((passed + 1))
	else
		say "not ok  $name"
		cat "$work/output"
		failed=$((failed + 1))
	fi
}

# A build from scratch, and not in the checkout.
build() {
	rm -rf "$work/build"
	mkdir "$work/build"
	tar -C "$top" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' . | tar -C "$work/build" -xf -
	make -s -j "$(nproc)" -C "$work/build" PG_CONFIG="$pg_config" COPT=-Werror "$@"
}

# The programs that the tests compile for themselves.
build_tests() {
	local compiler=$1 file flags=(-O2 -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Werror)
	for file in test/stress/checker.c test/stress/sessions.c test/stress/keys.c test/stress/disturb.c test/fuzz/fuzz.c test/fuzz/roles.c test/fuzz/common.c test/soak/soak.c; do
		"$compiler" "${flags[@]}" -c -o "$work/test.o" "$top/$file" -I"$("$pg_config" --includedir)" || return 1
	done
	# the server's headers are not ours to mend, hence -isystem
	for file in test/stress/callback.c test/stress/row_count.c; do
		"$compiler" "${flags[@]}" -fPIC -c -o "$work/test.o" "$top/$file" -isystem "$("$pg_config" --includedir-server)" || return 1
	done
}

# Its notes (subshells that change an environment, A && B || C) are about what is meant here.
run_shellcheck() {
	local scripts
	mapfile -t scripts < <(cd "$top" && find test .ci debian/tests -type f -exec grep -lE '^#!.*sh$' {} +)
	cd "$top"
	shellcheck -x -S warning "${scripts[@]}" test/lib.sh test/chroot.sh test/source.sh
}

# A page with a place that is still to be filled.
run_places() {
	cd "$top"
	! grep -rn 'PLACE:' README.md CHANGELOG.md doc
}

# The superuser of a server is not "postgres" everywhere: a package's tests run as the user who builds it.
run_superuser() {
	cd "$top"
	! grep -nw postgres expected/*.out | grep -v IntervalStyle
}

# As the Makefile compiles them; the server's own headers with -isystem: they are not looked at.
flags() {
	printf '%s\n' -std=gnu11 -D_GNU_SOURCE -isystem "$("$pg_config" --includedir-server)" -DSC_VERSION='"0"' -DSC_OLDER_VERSIONS= \
		-Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
	printf '%s\n' -DSC_HAVE_GZIP -DSC_HAVE_ZSTD
	pkg-config --cflags json-c zlib libzstd | tr ' ' '\n'
}

run_clang_tidy() {
	local flags
	mapfile -t flags < <(flags)
	cd "$top"
	nice clang-tidy --quiet src/*.c -- "${flags[@]}" "$@"
}

# Its picture of the server is cppcheck.cfg.  Without "style": PostgreSQL declares variables at the head of
# a block, and passes pointers without const.  sc_document_build() and sc_inspect_query() only hand on where
# their result goes, which cppcheck takes for a use of what is there.
run_cppcheck() {
	cd "$top"
	nice cppcheck -q --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=ctuuninitvar:src/document.c --suppress=ctuuninitvar:src/inspect.c \
		--library=posix --library=test/cppcheck.cfg -I src -DSC_VERSION='"0"' -DSC_OLDER_VERSIONS= "$@" src
}

# pgindent is in PostgreSQL's sources only, and the program that it calls in a package.  Both are of one
# version, whose format the others do not always share: typedefs.list and the sources fit this one.
indent_version=2.1.1
get_pgindent() {
	local major=15 dir
	pgindent=$(cache_dir)/pgindent-$major
	[ ! -e "$pgindent" ] || return 0
	dir=$work/source
	mkdir "$dir"
	get_source_package "$dir" $major
	mkdir -p "$(dirname "$pgindent")"
	cp "$dir/src/src/tools/pgindent/pgindent" "$pgindent.new"
	mv "$pgindent.new" "$pgindent"
	rm -rf "$dir"
}

# What pgindent would change, as a patch.
run_pgindent() {
	local dir=$work/indent
	get_pgindent
	rm -rf "$dir"
	mkdir "$dir"
	cp -R "$top/src" "$top/typedefs.list" "$dir"
	(cd "$dir" && perl "$pgindent" --typedefs=typedefs.list src/*.c src/*.h)
	diff -ru "$top/src" "$dir/src" -x '*.o' -x '*.bc' -x '*.so'
}

missing=()
for tool in shellcheck clang clang-tidy cppcheck; do
	have $tool || missing+=("$tool")
done
have pg_bsd_indent || missing+=(pg-bsd-indent)
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
require_packages server
make_work
mkdir "$work/tmp"
export TMPDIR=$work/tmp

check shellcheck run_shellcheck
check "pages are finished" run_places
check "no test names the superuser" run_superuser
check "floors of src/" bash "$top/test/floors.sh"
if grep -qF "$indent_version" <<<"$(pg_bsd_indent --version 2>&1)"; then
	check pgindent run_pgindent
else
	say "skipped pgindent: pg_bsd_indent is not $indent_version"
fi
for compiler in gcc clang; do
	check "$compiler" build CC=$compiler with_llvm=no
	check "$compiler, debug build" build CC=$compiler with_llvm=no SC_DEBUG=1
	check "$compiler, programs of the tests" build_tests $compiler
done
if grep -qE '^with_llvm[[:space:]]*=[[:space:]]*yes' "$(dirname "$("$pg_config" --pgxs)")/../Makefile.global"; then
	check "clang, bitcode" build CC=clang with_llvm=yes CLANG=clang
fi
check clang-tidy run_clang_tidy
check "clang-tidy, debug build" run_clang_tidy -DSC_DEBUG
for version in 150000 160000 170000 180000 190000; do
	check "cppcheck for $version" run_cppcheck -DPG_VERSION_NUM=$version
done
check "cppcheck, debug build" run_cppcheck -DPG_VERSION_NUM=150000 -DSC_DEBUG

last_line="$passed passed, $failed failed"
[ "$failed" -eq 0 ]
