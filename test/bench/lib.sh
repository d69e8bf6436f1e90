# What the benchmarks share: private servers, databases, measurements in pairs.  Sourced by bash.
# shellcheck shell=bash

# shellcheck source=test/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

bench=$top/test/bench
results=${RESULTS:-$top/doc/bench}
unset RESULTS

# $1: name; the rest: lines of configuration.  Initialises a server that listens on a socket in
# $work/$1.sock only; autovacuum and checkpoints stay out of the way of what is measured.
init_server() {
	local data=$work/$1 sock=$work/$1.sock
	shift
	as_server mkdir -p "$sock"
	as_server rm -rf "$data"	# of another part's server of this name, which is stopped
	as_server "$bindir/initdb" -D "$data" -U postgres -A trust --no-sync >"$work/initdb.log" 2>&1 ||
		{ cat "$work/initdb.log"; die "initdb failed"; }
	as_server tee -a "$data/postgresql.conf" <"$work/server.conf" >/dev/null
	as_server tee -a "$data/postgresql.conf" <<-CONF >/dev/null
		listen_addresses = ''
		unix_socket_directories = '$sock'
		wal_level = replica
		autovacuum = off
		checkpoint_timeout = 1d
		max_wal_size = 8GB
		shared_buffers = 512MB
		max_connections = 100
		jit = off
		$(printf '%s\n' "$@")
	CONF
}

start_server() {
	as_server "$bindir/pg_ctl" start -w -s -D "$work/$1" -l "$work/$1.log" ||
		{ as_server cat "$work/$1.log"; die "the server did not start"; }
	use_server "$1"
}

# The server that is talked to from here on.
use_server() {
	export PGHOST=$work/$1.sock PGUSER=postgres PGDATABASE=postgres
	server_pids=("$(as_server head -n 1 "$work/$1/postmaster.pid")")
}

stop_server() { as_server "$bindir/pg_ctl" stop -s -m fast -D "$work/$1"; }

sql() { as_server "$bindir/psql" -X -q -At -v ON_ERROR_STOP=1 "$@"; }
pgbench() { as_server "$bindir/pgbench" -n "$@"; }

# Wait until a statement gives t, for a minute at most; arguments as for sql().
await() {
	local i
	for ((i = 0; i < 600; i++)); do
		if [ "$(sql "$@")" = t ]; then return; fi
		sleep 0.1
	done
	die "not so after a minute: $*"
}

# Database $1, filled by a script on standard input; the rest: psql's options, which may name another one.
fill_database() {
	sql -c "CREATE DATABASE $1"
	sql -d "$1" "${@:2}" >"$work/setup.log" 2>&1 ||
		{ cat "$work/setup.log"; die "could not fill database $1"; }
}

# Database $1 with a document of $2 bytes over $3 source tables; see setup.sql.
make_database() { fill_database "$1" -v bytes="$2" -v tables="$3" -f "$bench/setup.sql"; }

# What a script says of the machine, for the head of a result.
machine() {
	printf '%s, %s cores, %s; %s; %s\n' \
		"$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | sort -u | head -n 1)" "$(nproc)" \
		"$(if grep -q '^flags.* hypervisor' /proc/cpuinfo; then echo virtual; else echo bare; fi)" \
		"$("$pg_config" --version)" "$(date -u +%Y-%m-%d)"
}
