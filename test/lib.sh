# What check.sh and demo.sh share: find or install what is needed, build a private copy, install it
# where only a private server looks, and clean up.  Sourced by bash, from anywhere.
# shellcheck shell=bash

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
min_version=15
work=		# directory of this run
own_work=	# it is ours to remove
keep_work=	# but is not to be removed, nor its servers to be stopped
last_line=	# to be said after everything else
at_exit=	# a function that ends what a script has begun besides servers

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
am_root() { [ "$(id -u)" = 0 ]; }

# Ours, not PGXS's, which means "no install target" by NO_INSTALL; and what make was called with is
# for us, not for the makes that we call.
no_install=${NO_INSTALL:-}
unset NO_INSTALL MAKEFLAGS MFLAGS MAKELEVEL

# One more line of every private server's configuration.
settings=${SETTINGS:-}
unset SETTINGS

# Compile all anew.
fresh=${FRESH:-}
unset FRESH

# We change to other directories.
if [ -n "${SC_CACHE:-}" ]; then SC_CACHE=$(realpath -m "$SC_CACHE"); fi

# Nor may the caller's PGHOST or PGOPTIONS reach a private server; and its clusters have one encoding
# and sort order everywhere.
for var in $(compgen -e PG) $(compgen -e LC_) LANGUAGE; do
	case $var in
		PG_CONFIG | PG_TEST_* | PGCTLTIMEOUT) ;;
		*) unset "$var" ;;
	esac
done
export LANG=C.UTF-8	# and not LC_ALL, which pg_regress takes away

as_root() { if am_root; then "$@"; else sudo "$@"; fi; }

# PostgreSQL refuses to run as root.  setpriv rather than su or runuser: it becomes the command, so
# that signals and exit codes arrive.
as_server() {
	if am_root; then
		setpriv --reuid="$server_uid" --regid="$server_gid" --clear-groups env HOME="$work" "$@"
	else
		"$@"
	fi
}

set_server_user() {
	local user=nobody
	server_uid=$(id -u)
	if am_root; then
		if getent passwd postgres >/dev/null; then user=postgres; fi
		server_uid=$(id -u "$user")
		server_gid=$(id -g "$user")
	fi
}

#
# What is needed
#

# Debian's client package alone has PGXS, without a header.
server_is_usable() {
	local version
	version=$("$1" --version 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/') || return 1
	[ "${version:-0}" -ge "$min_version" ] && [ -x "$("$1" --bindir)/postgres" ] && [ -e "$("$1" --pgxs)" ] &&
		[ -e "$("$1" --includedir-server)/postgres.h" ]
}

# Sets pg_config.  Debian's pg_config belongs to the client library, and may speak of a server that
# is not there: look at the servers themselves too, newest first.
find_server() {
	local c
	pg_config=
	if [ -n "${PG_CONFIG:-}" ]; then
		pg_config=$(command -v "$PG_CONFIG") || die "PG_CONFIG=$PG_CONFIG: no such program"
		server_is_usable "$pg_config" ||
			die "PG_CONFIG=$PG_CONFIG: not PostgreSQL $min_version or newer with server and server headers"
		pg_config=$(realpath "$pg_config")
		return
	fi
	for c in pg_config $(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -rV); do
		c=$(command -v "$c") || continue
		if server_is_usable "$c"; then pg_config=$c; return; fi
	done
	return 1
}

# A package that is installed, and that the distribution itself has made.
comes_from_debian() { dpkg-query -W -f '${Maintainer}' "$1" 2>/dev/null | grep -qi 'debian\|ubuntu'; }

# Debian's names of what is missing, one a line.  $1 = tools for what any build takes, server for that
# and a server, tap for what the TAP suite needs too.
missing_packages() {
	local dir version server=
	if ! have gcc; then
		printf '%s\n' gcc libc6-dev	# which gcc only recommends
	elif ! echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1; then
		echo libc6-dev
	fi
	have make || echo make
	have pkg-config || echo pkg-config
	pkg-config --exists json-c 2>/dev/null || echo libjson-c-dev
	# without them it builds, but has no encodings to be tested
	pkg-config --exists zlib 2>/dev/null || echo zlib1g-dev
	pkg-config --exists libzstd 2>/dev/null || echo libzstd-dev
	if [ "$1" != server ]; then
		have prove || echo perl
		perl -MIPC::Run -MTest::More -MTime::HiRes -e 1 2>/dev/null || echo libipc-run-perl
	fi
	# for the examples in doc/, poolers and alerts; by other names, and without, their tests are skipped
	if [ "$1" = tap ] && have apt-get; then
		have zstd || echo zstd
		/usr/bin/python3 -c 'import asyncpg, fastapi, uvicorn' 2>/dev/null ||
			printf '%s\n' python3-asyncpg python3-fastapi python3-uvicorn
		have pgbouncer || [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
		have nginx || [ -x /usr/sbin/nginx ] || echo nginx
		{ have prometheus && have promtool; } || echo prometheus
		have prometheus-postgres-exporter || have postgres_exporter || echo prometheus-postgres-exporter
		/usr/bin/python3 -c 'import django, psycopg2' 2>/dev/null || printf '%s\n' python3-django python3-psycopg2
		# node of another origin does not go with Debian's packages for it, and a JDK is too large to be asked for
		if [ ! -d /usr/share/nodejs/pg ] && { ! have node || comes_from_debian nodejs; }; then printf '%s\n' nodejs node-pg; fi
		if have javac && [ ! -e /usr/share/java/postgresql.jar ]; then echo libpostgresql-jdbc-java; fi
		# elsewhere these are no packages of apt, or not of each release, or only a wrapper of one that is none
		if [ "$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null)" = debian ]; then
			have chromium || have chromium-browser || echo chromium
			/usr/bin/python3 -c 'import psycopg' 2>/dev/null || echo python3-psycopg
		fi
	fi
	if [ "$1" != tools ] && ! find_server; then
		for dir in /usr/lib/postgresql/*/; do
			version=$(basename "$dir")
			if [ -x "$dir/bin/postgres" ] && [ "$version" -ge "$min_version" ]; then server=$version; fi
		done
		if [ -n "$server" ]; then
			echo "postgresql-server-dev-$server"
		else
			printf '%s\n' postgresql postgresql-server-dev-all
		fi
	fi
}

apt_get() {
	say "+ ${sudo:+$sudo }apt-get $*"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null
}

# A server package creates a cluster on port 5432 and starts it, unless told not to in a file of
# postgresql-common: tell it, and put the file back.
restore_createcluster() {
	if [ -n "${createcluster_saved:-}" ]; then
		as_root cp "$createcluster_saved" /etc/postgresql-common/createcluster.conf
		rm -f "$createcluster_saved"
		createcluster_saved=
	fi
}

install_packages() {
	local packages=("$@") sudo='' version service options=()
	am_root || sudo=sudo
	if ! have apt-get; then
		die "please install PostgreSQL $min_version or newer with its server headers, json-c, zlib and libzstd with headers," \
			"pkg-config, a C compiler, make, and perl with prove and IPC::Run (missing here, by Debian's names: $*)"
	fi
	if [ -n "$no_install" ] || { [ -n "$sudo" ] && ! have sudo; }; then
		say "missing; to install it, as root:"
		say "apt-get install -y --no-install-recommends $*"
		if [ -n "$no_install" ]; then die "NO_INSTALL is set: nothing was installed"; fi
		die "neither root nor sudo: nothing was installed"
	fi

	apt_get update -q || say "going on with the package lists as they are"
	case " $* " in
		*" postgresql "*)
			version=$(apt-cache depends postgresql | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
			if [ "${version:-0}" -lt "$min_version" ]; then
				die "this system's PostgreSQL is ${version:-unknown}, $min_version or newer is needed:" \
					"add a repository that has one (https://www.postgresql.org/download/) and try again"
			fi
			apt_get install -q -y --no-install-recommends postgresql-common
			createcluster_saved=$(mktemp)
			cat /etc/postgresql-common/createcluster.conf >"$createcluster_saved"
			say "while the server is installed, createcluster.conf says create_main_cluster = false: no cluster is to start"
			as_root pg_conftool /etc/postgresql-common/createcluster.conf set create_main_cluster false
			;;
	esac
	# a package, and its service where that has another name
	for service in pgbouncer nginx prometheus prometheus-postgres-exporter patroni etcd-server:etcd; do
		case " $* " in
			*" ${service%:*} "*)
				service=${service#*:}
				# The package would start a service, and enable it at boot.  What is not unpacked cannot be.
				say "$service is installed without its service, which dpkg then misses: only a test is to start it"
				options+=(-o "Dpkg::Options::=--path-exclude=/etc/init.d/$service"
					-o "Dpkg::Options::=--path-exclude=*/systemd/system/$service.*"
					-o "Dpkg::Options::=--path-exclude=*/systemd/system/$service@.*")
				;;
		esac
	done
	apt_get install -q -y --no-install-recommends "${options[@]}" "${packages[@]}"
	restore_createcluster
}

# $1 = tools, server or tap, as above.
require_packages() {
	local missing
	missing=$(missing_packages "$1")
	# shellcheck disable=SC2086 # one word a package
	[ -z "$missing" ] || install_packages $missing
	[ "$1" != tools ] || return 0
	find_server || die "no PostgreSQL $min_version or newer with server headers found; set PG_CONFIG"
	export PG_CONFIG=$pg_config
	bindir=$("$pg_config" --bindir)
	set_server_user
	as_server test -x "$bindir/postgres" || die "the user that servers run as, $server_uid, has no access to $bindir"
}

#
# Servers that look for mistakes
#

# $1 = what server.sh can build, or nothing.
use_server() {
	[ -n "$1" ] || return 0
	PG_CONFIG=$(NO_INSTALL=$no_install bash "$top/test/server.sh" "$1") || exit 1
	export PG_CONFIG
	export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-600} PGCTLTIMEOUT=${PGCTLTIMEOUT:-300}
	sanitizer_options ''
}

# For any program that has the sanitizers in it; they keep quiet in others.
sanitizer_options() {
	export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1$1
	export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:abort_on_error=1$1
}

# From here on, reports go where look_for_reports finds them.
watch_server() { sanitizer_options ":log_path=$work/sanitizer"; }

# Failed assertions and sanitizers' reports, whether or not a test has noticed.
look_for_reports() {
	local file found=0
	while read -r file; do
		found=1
		say "--- $file"
		grep -hE -A 40 -m 3 'TRAP: |==ERROR: |runtime error: ' "$file"
	done < <(grep -rlE '^TRAP: ' "$work" --include='*.log' --include=log || true
		find "$work" -maxdepth 1 -name 'sanitizer.*')
	return "$found"
}

#
# Private copy, build, installation
#

# Servers that a killed runner left behind are stopped by their data directories.
clean_up() {
	local status=$? pidfile
	trap '' INT TERM HUP
	trap - EXIT
	[ -z "$at_exit" ] || "$at_exit"
	restore_createcluster
	if [ -n "$work" ] && [ -z "$keep_work" ]; then
		find "$work" -name postmaster.pid -print 2>/dev/null | while read -r pidfile; do
			as_server "$bindir/pg_ctl" stop -s -m immediate -D "$(dirname "$pidfile")" 2>/dev/null || true
		done
		if [ -n "$own_work" ]; then
			case $status in
				0 | 129 | 130 | 143) rm -rf "$work" ;;
				*) say "everything is left in $work" ;;
			esac
		fi
	fi
	[ -z "$last_line" ] || say "$last_line"
	exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Sets work.
make_work() {
	# Root's TMPDIR may be closed to others as well.
	if am_root; then unset TMPDIR; fi
	work=$(mktemp -d "${TMPDIR:-/tmp}/summary_cache.XXXXXX")
	own_work=1
}

# A copy of the tree at $1 in the directory $2 of the run: a checkout below /root is closed to the
# server's user, and objects of another server or with other flags may lie about.
copy_tree() {
	mkdir "$2"
	tar -C "$1" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude=./results --exclude=./log --exclude='./tmp_check*' --exclude='./regression.*' . |
		tar -C "$2" -xf - --no-same-owner
	if am_root; then chown -R "$server_uid:$server_gid" "$2"; fi
}

# make in a copy, as the server's user.
make_in() { as_server make -C "$1" --no-print-directory PG_CONFIG="$pg_config" with_llvm=no "${@:2}"; }
copy_make() { make_in "$work/src" "$@"; }

# Builds in the copy at $1.  The rest: goals and variables of make.
build_in() {
	local names
	names=$(object_names "$@")
	take_objects "$1" <<<"$names"
	run_logged make_in "$1" -s -j "$(nproc)" "${@:2}"
	keep_objects "$1" <<<"$names"
}

# The private copy, built.  $@: goals and variables of make.
build_copy() {
	make_work
	mkdir "$work/tmp"
	if am_root; then chown "$server_uid:$server_gid" "$work" "$work/tmp"; fi
	copy_tree "$top" "$work/src"
	# Sockets go there; a socket's path may not be longer than 107 bytes.
	if [ ${#work} -lt 60 ]; then export TMPDIR=$work/tmp; else export TMPDIR=/tmp; fi

	# The servers' user may not enter where we are, and its programs would say so each time.
	cd "$work"

	say "building for $("$pg_config" --version)"
	build_in "$work/src" "$@"
}

#
# Kept objects.  Compiling used to take longer than most tests, and few files change from one run to the
# next.  So each object is kept outside the tree, under a name that is computed from all that it was made
# from, and a later build with the same name takes it instead of compiling.  An object is never changed
# in place and never out of date: what does not match is not found.  So runs, checkouts, servers and
# flags can share one directory, and there is nothing to lock.
#

# Where this and other scripts keep things between runs.
cache_dir() {
	if [ -n "${SC_CACHE:-}" ]; then
		echo "$SC_CACHE"
	elif am_root; then
		echo /var/cache/summary_cache
	else
		echo "${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/summary_cache"
	fi
}

kept_objects=1000	# the least recently used of more are removed; a build has about 25

# For each C file of the copy at $1 that make would compile with the arguments that follow: the name that
# its object is kept under, and the file.  The name stands for the compiler and its commands, the headers
# of the server, of json-c and of the tree, and the file itself.
object_names() {
	local dir=$1 commands common sum file
	shift
	commands=$(make_in "$dir" -n "$@" 2>/dev/null) || true
	# what is built to be measured leaves files beside its objects
	case $commands in *--coverage* | *-ftest-coverage* | *-fprofile-*) return ;; esac
	common=$({
		printf '%s\n' "$commands"
		printf '%s\n' "${CPATH:-}" "${C_INCLUDE_PATH:-}"
		$("$pg_config" --cc) --version
		find "$("$pg_config" --includedir-server)" "$(pkg-config --variable=includedir json-c)/json-c" \
			-name '*.h' -printf '%p %s %T@\n' 2>/dev/null | sort
		(cd "$dir" && find . -name '*.h' -type f -exec sha256sum {} + | sort)
	} | sha256sum) || true
	(cd "$dir" && find . -name '*.c' -type f -exec sha256sum {} +) | while read -r sum file; do
		file=${file#./}
		printf '%s\t%s\n' "${common%% *}-$sum-${file//\//_}" "${file%.c}"
	done
}

# Reads names; copies what is kept to the copy at $1.
take_objects() {
	local dir=$1 objects name file
	objects=$(cache_dir)/objects
	[ -z "$fresh" ] || return 0
	while IFS=$'\t' read -r name file; do
		[ -s "$objects/$name" ] || continue
		# another run may be removing it
		cp "$objects/$name" "$dir/$file.o" 2>/dev/null || { rm -f "$dir/$file.o"; continue; }
		touch -c "$objects/$name"
	done
	if am_root; then chown -R "$server_uid:$server_gid" "$dir"; fi
}

# Reads names; keeps the objects of the copy at $1.  A directory that cannot be written costs time only.
keep_objects() {
	local dir=$1 objects name file
	objects=$(cache_dir)/objects
	(umask 022 && mkdir -p "$objects") 2>/dev/null && [ -w "$objects" ] || return 0
	while IFS=$'\t' read -r name file; do
		[ -e "$dir/$file.o" ] || continue
		if [ -n "$fresh" ] || [ ! -s "$objects/$name" ]; then
			cp "$dir/$file.o" "$objects/new.$$" && mv -f "$objects/new.$$" "$objects/$name" || rm -f "$objects/new.$$"
		fi
	done
	# shellcheck disable=SC2012 # the names are ours
	ls -t "$objects" | tail -n +$((kept_objects + 1)) | (cd "$objects" && xargs -r rm -f)
}

# The settings that point a server at an installation below $1; empty if it cannot be done.
private_paths() {
	local sharedir pkglibdir settings
	sharedir=$("$pg_config" --sharedir)
	pkglibdir=$("$pg_config" --pkglibdir)
	settings=$("$bindir/postgres" --describe-config | cut -f 1)
	if grep -qx extension_control_path <<<"$settings"; then	# from 18 on
		echo "extension_control_path = '$1$sharedir:\$system'"
	elif grep -qx extension_destdir <<<"$settings"; then	# Debian's, up to 17
		echo "extension_destdir = '$1'"
	else
		return 0
	fi
	# Neither setting is looked at for a name without a path, as in shared_preload_libraries.
	echo "dynamic_library_path = '$1$pkglibdir:\$libdir'"
}

run_logged() { "$@" >>"$work/build.log" 2>&1 || { cat "$work/build.log"; die "$* failed"; }; }

# What every private server is configured with; $1: where it finds the extension.
write_server_conf() {
	cat >"$work/server.conf" <<-CONF
		shared_preload_libraries = 'summary_cache'
		$1
		max_connections = 40
		max_prepared_transactions = 10
		max_worker_processes = 16
		wal_level = logical
		fsync = off
		autovacuum = off
		log_line_prefix = '%m %b[%p] %q%a '
		$settings
	CONF
	chmod 644 "$work/server.conf"
}

# The extension as a package has installed it, for the newest server that has it: nothing is built, so
# neither headers nor a compiler are needed.
use_installed() {
	local c
	for c in $(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -rV); do
		if [ -x "$c" ] && [ -e "$("$c" --sharedir)/extension/summary_cache.control" ]; then
			pg_config=$c
			bindir=$("$c" --bindir)
			set_server_user
			make_work
			if am_root; then chown "$server_uid:$server_gid" "$work"; fi
			write_server_conf ''
			cd "$work"
			return
		fi
	done
	die "summary_cache is not installed for any server below /usr/lib/postgresql"
}

# Where the server can be pointed at another place, no path of the system is written to.
install_copy() {
	local paths
	paths=$(private_paths "$work/inst")
	if [ -n "$paths" ]; then
		run_logged copy_make install DESTDIR="$work/inst"
	else
		say "this server has no private extension path: make install writes to $("$pg_config" --pkglibdir) and $("$pg_config" --sharedir)"
		local installer=
		[ -w "$("$pg_config" --pkglibdir)" ] || installer=as_root
		run_logged $installer make -C "$work/src" --no-print-directory PG_CONFIG="$pg_config" with_llvm=no install
	fi
	write_server_conf "$paths"
}

# The debug build (src/debug.c) beside it, for the tests that need waiting points: they append the
# file that SC_DEBUG_CONF names to a server's configuration, and are skipped without.
install_debug_copy() {
	local paths
	paths=$(private_paths "$work/inst-debug")
	[ -n "$paths" ] || return 0
	copy_tree "$work/src" "$work/src-debug"
	build_in "$work/src-debug" SC_DEBUG=1 COPT=-Werror all
	run_logged make_in "$work/src-debug" -s SC_DEBUG=1 COPT=-Werror install DESTDIR="$work/inst-debug"
	echo "$paths" >"$work/debug.conf"
	chmod 644 "$work/debug.conf"
	export SC_DEBUG_CONF=$work/debug.conf
}

#
# Servers that a script starts itself
#

# Makes one with the data directory $1 that listens on a socket in the directory $2 only.  Reads more lines
# of its configuration.
create_server() {
	as_server mkdir -p "$2"
	run_logged as_server "$bindir/initdb" -D "$1" -U postgres -A trust --no-sync
	{
		cat "$work/server.conf"
		printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$2'"
		cat
	} | as_server tee -a "$1/postgresql.conf" >/dev/null
}

# Starts the one with the data directory $1; its log is $2.
run_server() {
	as_server "$bindir/pg_ctl" start -w -s -D "$1" -l "$2" || { as_server cat "$2"; die "the server did not start"; }
}

# Compiles the client $1 of the C files that follow.
compile_client() {
	run_logged as_server "$("$pg_config" --cc)" -O2 -Wall -Wextra -Wno-unused-parameter -Werror -o "$@" \
		-I"$("$pg_config" --includedir)" -L"$("$pg_config" --libdir)" -Wl,-rpath,"$("$pg_config" --libdir)" -lpq
}
