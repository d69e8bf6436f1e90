#!/usr/bin/env bash
# Builds a PostgreSQL that looks for mistakes, from the distribution's source package or a source tree:
# once, outside the tree.  Says the path of its pg_config; all else goes to stderr.
#
#   server.sh cassert     with assertions
#   server.sh sanitize    with AddressSanitizer, also for palloc'ed memory, and UndefinedBehaviorSanitizer
#
#   SOURCE=directory   PostgreSQL's sources, unpacked, of any version: one that no package has
#   SC_CACHE        where to keep what is built; ~/.cache/summary_cache, or for root
#                   /var/cache/summary_cache: the servers' user must get there
#   NO_INSTALL=1    do not install what is missing

exec 3>&1 >&2

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=test/source.sh
. "$top/test/source.sh"

variant=${1:-}
source=${SOURCE:-}
major=
if [ -n "$source" ]; then
	source=$(realpath "$source")
	major=$(sed -n "s/^PACKAGE_VERSION='\\([0-9]*\\).*/\\1/p" "$source/configure" 2>/dev/null) || true
	[ -n "$major" ] || die "SOURCE=$source: no configure of PostgreSQL there"
	[ "$major" -ge "$min_version" ] || die "SOURCE=$source is PostgreSQL $major, $min_version or newer is needed"
fi
configure=(--without-readline --without-zlib --without-icu --enable-tap-tests --enable-debug --enable-cassert)
# The sanitizers' flags go into a compiler's name, so that whatever is built with that server's
# pg_config has them: extensions, and programs linked with a libpq that has them.
sanitizers='-fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=undefined -fno-omit-frame-pointer'
case $variant in
	cassert) cflags='-O1 -g' cppflags='' ;;
	sanitize) cflags='-O1 -g' cppflags='-DUSE_VALGRIND' ;;
	*) die "usage: server.sh cassert|sanitize" ;;
esac

cache=$(cache_dir)
umask 022
# What is run here is not under test, and leaves memory behind at its end.
export ASAN_OPTIONS=detect_leaks=0
mkdir -p "$cache"
cache=$(realpath "$cache")

# Built in another way, it is built again.
recipe="${configure[*]} CFLAGS=$cflags CPPFLAGS=$cppflags"
[ "$variant" != sanitize ] || recipe="$recipe $sanitizers"
[ -z "$source" ] || recipe="$recipe of $source"

is_built() {
	local stamp
	for stamp in "$cache"/pgsql/${major:-*}-"$variant"*/recipe; do
		prefix=$(dirname "$stamp")
		if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$recipe" ] && server_is_usable "$prefix/bin/pg_config"; then
			return
		fi
	done
	return 1
}

# The release that `apt-get install postgresql` gives.
distribution_version() {
	apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | sort -n | tail -n 1
}

# Debian patches the libraries' directory into one of the system, whatever the prefix, unless that has
# "pgsql" in it: nothing may be installed before this has been looked at.
check_prefix() {
	local line
	line=$(make -s -C "$build/src" -f - print 2>/dev/null <<-'MAKE'
		subdir = .
		top_builddir = .
		include src/Makefile.global
		print: ; @echo '$(pkglibdir) $(bindir) $(datadir) $(pkgincludedir) $(libdir)'
	MAKE
	) || die "no Makefile.global in $build/src"
	for dir in $line; do
		case $dir in
			"$prefix"/*) ;;
			*) die "would install to $dir, which is not below $prefix" ;;
		esac
	done
}

# A compiler with the sanitizers, and Valgrind's header in terms of theirs: PostgreSQL tells Valgrind
# which part of its memory is in use, down to each palloc'ed chunk.
write_sanitizer() {
	mkdir -p "$prefix/bin" "$prefix/sanitize/valgrind"
	cat >"$prefix/bin/cc-sanitize" <<-SH
		#!/bin/sh
		exec ${CC:-gcc} $sanitizers "\$@"
	SH
	chmod 755 "$prefix/bin/cc-sanitize"
	cat >"$prefix/sanitize/valgrind/memcheck.h" <<-'C'
		#ifndef SANITIZE_MEMCHECK_H
		#define SANITIZE_MEMCHECK_H
		#include <sanitizer/asan_interface.h>
		#define VALGRIND_MAKE_MEM_NOACCESS(addr, size) __asan_poison_memory_region(addr, size)
		#define VALGRIND_MAKE_MEM_UNDEFINED(addr, size) __asan_unpoison_memory_region(addr, size)
		#define VALGRIND_MAKE_MEM_DEFINED(addr, size) __asan_unpoison_memory_region(addr, size)
		#define VALGRIND_MEMPOOL_ALLOC(pool, addr, size) __asan_unpoison_memory_region(addr, size)
		#define VALGRIND_MEMPOOL_CHANGE(pool, old, addr, size) __asan_unpoison_memory_region(addr, size)
		#define VALGRIND_MEMPOOL_FREE(pool, addr) ((void) 0)
		#define VALGRIND_CREATE_MEMPOOL(pool, redzone, zeroed) ((void) 0)
		#define VALGRIND_DESTROY_MEMPOOL(pool) ((void) 0)
		#define VALGRIND_MEMPOOL_TRIM(pool, addr, size) ((void) 0)
		#define VALGRIND_CHECK_MEM_IS_DEFINED(addr, size) ((void) 0)
		#define VALGRIND_CHECK_VALUE_IS_DEFINED(value) ((void) 0)
		#define VALGRIND_PRINTF(...) ((void) 0)
		#define VALGRIND_COUNT_ERRORS 0
		#define RUNNING_ON_VALGRIND 0
		#endif
	C
}

# Says its progress; the compiler's words go to a log.
step() {
	say "+ $*"
	if ! (cd "$build/src" && nice "$@") >>"$build/log" 2>&1; then
		tail -n 40 "$build/log"
		die "failed: $*; see $build/log"
	fi
}

build_server() {
	local dir
	require_packages tools
	if [ -z "$source" ]; then
		have apt-get || die "building a server from the distribution's source package needs apt-get; or set SOURCE"
		have dpkg-source || install_packages dpkg-dev
		major=$(distribution_version)
		[ "${major:-0}" -ge "$min_version" ] ||
			die "this system's PostgreSQL is ${major:-unknown}, $min_version or newer is needed"
	fi

	prefix=$cache/pgsql/$major-$variant${source:+-source}
	build=$cache/build-$variant
	say "building PostgreSQL $major ($variant) in $cache: some minutes, once"
	rm -rf "$build" "$prefix"
	mkdir -p "$build" "$prefix"
	if [ -n "$source" ]; then
		cp -R "$source" "$build/src"
	else
		get_source_package "$build" "$major"
	fi

	if [ "$variant" = sanitize ]; then
		write_sanitizer
		configure+=("CC=$prefix/bin/cc-sanitize")
		cppflags="$cppflags -I$prefix/sanitize"
	fi
	step ./configure --prefix="$prefix" "${configure[@]}" "CFLAGS=$cflags" "CPPFLAGS=$cppflags"
	check_prefix
	step make -s -j "$(nproc)" world-bin
	step make -s install-world-bin
	dir=$("$prefix/bin/pg_config" --pkglibdir)
	case $dir in
		"$prefix"/*) ;;
		*) die "pg_config --pkglibdir is $dir, which is not below $prefix" ;;
	esac
	echo "$recipe" >"$prefix/recipe"
	rm -rf "$build"
}

exec 9>"$cache/lock-$variant"
flock -n 9 || { say "waiting for another run that builds in $cache"; flock 9; }
if ! is_built; then
	build_server
	is_built || die "the server in $prefix is not usable"
fi
echo "$prefix/bin/pg_config" >&3
