#!/usr/bin/env bash
# make check-patroni: a fleet of three servers under Debian's Patroni, with etcd, on this machine.  The
# library is preloaded by the cluster's configuration.  Beside a writer that finds the leader by itself,
# sessions read on every member all the time, over a rolling restart, a switchover, a failover by SIGKILL,
# pg_rewind of the old leader and a change of settings: no hit may be older than what the session has read
# from the table before, nor newer than what it reads after.  After each step every member must have hits.
#
#   KEEP=1         leave the directory with the logs
#   NO_INSTALL=1   do not install what is missing
#
# All ports are free ones of 127.0.0.1, nothing is started as a service, and at the end all that was started
# is stopped by its pid.

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

keep=${KEEP:-}
unset KEEP
members='n1 n2 n3'
declare -A port rest patroni_pid reader_pid
etcd_pid=
writer_pid=

#
# What is needed
#

require_patroni() {
	local missing=()
	have patroni && have patronictl || missing+=(patroni)
	[ -x /usr/bin/etcd ] || have etcd || missing+=(etcd-server)
	/usr/bin/python3 -c 'import etcd' 2>/dev/null || missing+=(python3-etcd)
	[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
	have patroni && have etcd || die "Patroni and etcd are needed"
}

free_ports() {
	/usr/bin/python3 - "$1" <<-'PYTHON'
		import socket, sys
		sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
		for s in sockets:
		    s.bind(("127.0.0.1", 0))
		print(*[s.getsockname()[1] for s in sockets])
	PYTHON
}

# Becomes a command of the servers' user: $! is its own pid.
become() {
	cd "$work"
	if am_root; then
		exec setpriv --reuid="$server_uid" --regid="$server_gid" --clear-groups env HOME="$work" "$@"
	fi
	exec "$@"
}

#
# The fleet
#

# Of the cluster, for all members: what bootstraps it.  What is asked of a server beyond that, the
# library first, is set later, as one does in a fleet that is there.
write_configuration() {
	local m
	# where this machine has the extension: Patroni does not know Debian's setting
	grep -E '^(extension_|dynamic_library_path|fsync|log_line_prefix)' "$work/server.conf" >"$work/custom.conf" || true
	echo "unix_socket_directories = '$work/sock'" >>"$work/custom.conf"
	chmod 644 "$work/custom.conf"
	for m in $members; do
		as_server mkdir -p "$work/$m"
		as_server tee "$work/$m.yml" >/dev/null <<-YAML
			scope: fleet
			name: $m
			restapi:
			  listen: 127.0.0.1:${rest[$m]}
			  connect_address: 127.0.0.1:${rest[$m]}
			etcd3:
			  host: 127.0.0.1:$etcd_port
			bootstrap:
			  dcs:
			    ttl: 20
			    loop_wait: 1
			    retry_timeout: 9
			    maximum_lag_on_failover: 100000000
			    postgresql:
			      use_pg_rewind: true
			      use_slots: true
			      parameters:
			        max_connections: 40
			        max_worker_processes: 16
			        max_prepared_transactions: 10
			        autovacuum: 'off'
			  initdb:
			    - encoding: UTF8
			    - data-checksums
			postgresql:
			  listen: 127.0.0.1:${port[$m]}
			  connect_address: 127.0.0.1:${port[$m]}
			  data_dir: $work/$m/data
			  bin_dir: $bindir
			  pgpass: $work/$m/pgpass
			  custom_conf: $work/custom.conf
			  pg_ctl_timeout: 300
			  authentication:
			    superuser: {username: postgres, password: '$password'}
			    replication: {username: replicator, password: '$password'}
			    rewind: {username: rewind, password: '$password'}
			  pg_hba:
			    - host all all 127.0.0.1/32 scram-sha-256
			    - host replication replicator 127.0.0.1/32 scram-sha-256
		YAML
		as_server chmod 600 "$work/$m.yml"
	done
}

start_etcd() {
	local client=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$etcd_peer_port
	(become etcd --data-dir "$work/etcd" --listen-client-urls "$client" --advertise-client-urls "$client" \
		--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
		--heartbeat-interval 500 --election-timeout 5000 >"$work/etcd.log" 2>&1) &
	etcd_pid=$!
}

start_member() {
	(become patroni "$work/$1.yml" >>"$work/$1.log" 2>&1) &
	patroni_pid[$1]=$!
}

ctl() { as_server patronictl -c "$work/n1.yml" "$@"; }

# A statement on a member.
on() {
	local m=$1
	shift
	"$bindir/psql" -X -At -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${port[$m]}" -U postgres -d postgres "$@"
}

# Of Patroni's own view of a member, a value.
state_of() {
	/usr/bin/python3 - "${rest[$1]}" "$2" 2>/dev/null <<-'PYTHON'
		import json, sys, urllib.request, urllib.error
		try:
		    answer = urllib.request.urlopen("http://127.0.0.1:%s/patroni" % sys.argv[1], timeout=5)
		except urllib.error.HTTPError as error:
		    answer = error
		print(json.load(answer).get(sys.argv[2], ""))
	PYTHON
}

# A bounded wait until a command succeeds.
wait_for() {
	local what=$1 until=$((SECONDS + ${PG_TEST_TIMEOUT_DEFAULT:-300}))
	shift
	until "$@" 2>/dev/null; do
		if [ $SECONDS -gt $until ]; then
			ctl list >&2 || true
			tail -n 20 "$work"/n?.log >&2 || true
			die "waited in vain: $what"
		fi
		sleep 0.3
	done
}

leader() {
	local m
	for m in $members; do
		if [ "$(state_of "$m" role)" = master ] || [ "$(state_of "$m" role)" = primary ]; then
			[ "$(state_of "$m" state)" = running ] && echo "$m" && return
		fi
	done
	return 1
}

is_leader() { [ -n "$1" ] && [ "$(leader)" = "$1" ] && [ "$(on "$1" -c 'SELECT pg_is_in_recovery()')" = f ]; }
there_is_a_leader() { is_leader "$(leader)"; }

# All members stream from the leader, or are it.
all_stream() {
	local leader m
	leader=$(leader) || return 1
	for m in $members; do
		[ "$(state_of "$m" state)" = running ] || return 1
		[ "$m" = "$leader" ] ||
			[ "$(on "$leader" -c "SELECT count(*) FROM pg_stat_replication WHERE application_name = '$m' AND state = 'streaming'")" = 1 ] ||
			return 1
	done
}

others() {
	local m
	for m in $members; do [ "$m" = "$1" ] || echo "$m"; done
}

#
# Readers and the writer
#

prepare() {
	on "$1" <<-'SQL'
		SET client_min_messages = warning;
		CREATE EXTENSION summary_cache;
		CREATE TABLE t (id int PRIMARY KEY, n bigint NOT NULL);
		INSERT INTO t SELECT i, 0 FROM generate_series(0, 9) i;
		CREATE TABLE unrelated (n bigint);
		SELECT summary_cache_define('s', 'main', 'SELECT n FROM t WHERE id = 0');

		-- Reads for two seconds.  A hit has at least the number that was read before, and at most the one after.
		CREATE PROCEDURE watch(INOUT reads int DEFAULT 0, INOUT hits int DEFAULT 0) LANGUAGE plpgsql AS $$
		DECLARE
			before bigint;
			later bigint;
			found bigint;
			answer record;
			stop timestamptz := clock_timestamp() + interval '2 s';
		BEGIN
			WHILE clock_timestamp() < stop LOOP
				SELECT n INTO before FROM t WHERE id = 0;
				SELECT * INTO answer FROM summary_cache_fetch('s');
				SELECT n INTO later FROM t WHERE id = 0;
				found := answer.document->>'n';
				reads := reads + 1;
				IF answer.status = 'hit-revision' THEN hits := hits + 1; END IF;
				IF answer.status <> 'stale' AND found < before OR found > later THEN
					RAISE EXCEPTION 'WRONG: % has %, read between % and %', answer.status, found, before, later;
				END IF;
				COMMIT;
				PERFORM pg_sleep(0.001);
				COMMIT;
			END LOOP;
		END $$;

		-- Writes for a second, beside other commits.
		CREATE PROCEDURE keep_writing() LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 1 .. 20 LOOP
				UPDATE t SET n = n + 1 WHERE id = 0;
				COMMIT;
				INSERT INTO unrelated VALUES (i);
				COMMIT;
				PERFORM pg_sleep(0.04);
			END LOOP;
		END $$;
	SQL
}

# Until the file "stop" is there: reads, a line "reads|hits" for each call, whatever becomes of the server.
read_on() {
	while [ ! -e "$work/stop" ]; do
		on "$1" -c 'CALL watch()' >>"$work/watch.$1" 2>>"$work/watch.$1.errors" || sleep 0.2
	done
}

write_on() {
	local ports=
	for m in $members; do ports=$ports,${port[$m]}; done
	while [ ! -e "$work/stop" ]; do
		"$bindir/psql" -X -q "host=127.0.0.1,127.0.0.1,127.0.0.1 port=${ports#,} user=postgres dbname=postgres target_session_attrs=read-write" \
			-c 'CALL keep_writing()' 2>>"$work/writer.errors" || sleep 0.2
	done
}

no_wrong_hit() { ! grep -h 'WRONG' "$work"/watch.*.errors; }

# Has a member had hits since its file had so many lines, but one that may have begun before?
has_hit_since() { tail -n "+$(($2 + 2))" "$work/watch.$1" | awk -F '|' '$2 > 0 { found = 1 } END { exit !found }'; }
has_written_since() { [ "$(on "$(leader)" -c 'SELECT n FROM t WHERE id = 0')" -gt "$1" ]; }

# A step is over: now every member must have hits, and the leader new commits.
serves() {
	local m n
	local -A lines
	for m in $members; do lines[$m]=$(wc -l <"$work/watch.$m"); done
	n=$(on "$(leader)" -c 'SELECT n FROM t WHERE id = 0')
	wait_for "$1: commits" has_written_since "$n"
	for m in $members; do wait_for "$1: hits on $m" has_hit_since "$m" "${lines[$m]}"; done
	no_wrong_hit || die "$1: a wrong hit"
	say "ok  $1 (leader $(leader))"
}

#
# What is stopped at the end, whatever happened
#

stop_fleet() {
	local m pid leader_now
	set +e
	leader_now=$(leader)
	touch "$work/stop"
	# they have postgres stopped by Patroni; the leader last, which waits for the others
	for m in $(others "${leader_now:-none}") $leader_now; do
		pid=${patroni_pid[$m]:-}
		if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then wait "$pid" 2>/dev/null; fi
	done
	for pid in "${reader_pid[@]}" $writer_pid; do wait "$pid" 2>/dev/null; done
	if [ -n "$etcd_pid" ] && kill -TERM "$etcd_pid" 2>/dev/null; then wait "$etcd_pid" 2>/dev/null; fi
}

# In one piece, so that bash has read it when somebody edits this file.
{
	require_packages server
	require_patroni
	build_copy all
	install_copy

	read -r etcd_port etcd_peer_port "port[n1]" "port[n2]" "port[n3]" "rest[n1]" "rest[n2]" "rest[n3]" < <(free_ports 8)
	password=$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')
	export PGPASSWORD=$password PGCONNECT_TIMEOUT=10
	as_server mkdir -p "$work/sock"
	write_configuration
	at_exit=stop_fleet

	start_etcd
	start_member n1
	wait_for 'the first member leads' is_leader n1
	start_member n2
	start_member n3
	wait_for 'three members' all_stream
	say "ok  three members of Patroni $(patroni --version | sed 's/.* //'), $("$bindir/postgres" --version)"

	# The library and its settings by the cluster's configuration; then the servers, standbys first.
	ctl edit-config --force -p shared_preload_libraries=summary_cache -p summary_cache.memory_limit=32MB \
		-p summary_cache.eager_refresh=on fleet >"$work/ctl.log" 2>&1 || { cat "$work/ctl.log"; die "edit-config failed"; }
	restart_pending() { [ "$(state_of "$1" pending_restart)" = True ]; }
	is_restarted() { ! restart_pending "$1" && [ "$(on "$1" -c 'SHOW shared_preload_libraries')" = summary_cache ]; }
	rolling_restart() {
		local m
		for m in $(others "$(leader)") $(leader); do
			ctl restart fleet "$m" --force >>"$work/ctl.log" 2>&1 || { cat "$work/ctl.log"; die "restart of $m failed"; }
			wait_for "restart of $m" is_restarted "$m"
			wait_for "restart of $m: all stream" all_stream
		done
	}
	for m in $members; do wait_for "$m knows of the library" restart_pending "$m"; done
	rolling_restart
	say "ok  the library is preloaded by the cluster's configuration"
	prepare "$(leader)"
	for m in $members; do
		: >"$work/watch.$m"
		: >"$work/watch.$m.errors"
		read_on "$m" &
		reader_pid[$m]=$!
	done
	write_on &
	writer_pid=$!
	serves 'steady'

	# A setting of all members, without a restart.
	ctl edit-config --force -p summary_cache.max_stale_age=7min fleet >>"$work/ctl.log" 2>&1 || { cat "$work/ctl.log"; die "edit-config failed"; }
	has_setting() { [ "$(on "$1" -c 'SHOW summary_cache.max_stale_age')" = 7min ]; }
	for m in $members; do wait_for "setting on $m" has_setting "$m"; done
	serves 'settings by edit-config'

	# The statements of doc/operations.md that watch a fleet.
	old=$(leader)
	for m in $(others "$old"); do
		[ "$(on "$m" -c "$(sed -n '/^-- on each standby$/,/;$/p' "$top/doc/operations.md")" | awk -F '|' '$1 == "s" && $2 > 0' | wc -l)" = 1 ] ||
			die "$m: doc/operations.md's statement shows no hits"
	done
	[ "$(on "$old" -c "$(sed -n '/^-- on the primary, for each standby$/,/;$/p' "$top/doc/operations.md")" | wc -l)" = 2 ] ||
		die "doc/operations.md's statement does not show two standbys"
	say "ok  which standby serves hits, and how far behind it is"

	rolling_restart
	serves 'rolling restart'

	# Switchover, to a member that is named.
	old=$(leader)
	new=$(others "$old" | head -n 1)
	ctl switchover fleet --leader "$old" --candidate "$new" --force >>"$work/ctl.log" 2>&1 || { cat "$work/ctl.log"; die "switchover failed"; }
	wait_for "switchover to $new" is_leader "$new"
	wait_for 'switchover: all stream' all_stream
	serves 'switchover'

	# Failover.  The leader commits what it cannot send any more, and is killed with its Patroni.
	old=$(leader)
	mapfile -t senders < <(on "$old" -c 'SELECT pid FROM pg_stat_replication')
	postmaster=$(head -n 1 "$work/$old/data/postmaster.pid")
	kill -STOP "${senders[@]}"
	on "$old" -c 'INSERT INTO unrelated SELECT i FROM generate_series(1, 1000) i' -c 'UPDATE t SET n = n + 1 WHERE id = 0'
	kill -KILL "${patroni_pid[$old]}" "$postmaster" "${senders[@]}"
	wait "${patroni_pid[$old]}" 2>/dev/null || true
	all_members=$members
	members=$(others "$old")
	wait_for 'failover' there_is_a_leader
	wait_for 'failover: all stream' all_stream
	serves "failover, $old is dead"

	# The old leader comes back.
	members=$all_members
	log_before=$(wc -l <"$work/$old.log")
	start_member "$old"
	wait_for 'the old leader follows' all_stream
	tail -n "+$log_before" "$work/$old.log" >"$work/rewind.log"
	grep -qF 'pg_rewind exit code=0' "$work/rewind.log" || { cat "$work/rewind.log"; die "$old did not come back by pg_rewind"; }
	serves "$old came back by pg_rewind"

	# It is made the leader again.
	ctl switchover fleet --leader "$(leader)" --candidate "$old" --force >>"$work/ctl.log" 2>&1 || { cat "$work/ctl.log"; die "switchover failed"; }
	wait_for "switchover to $old" is_leader "$old"
	wait_for 'switchover back: all stream' all_stream
	serves 'switchover back'

	touch "$work/stop"
	wait "${reader_pid[@]}" "$writer_pid"
	no_wrong_hit || die "a wrong hit"
	if grep -rhE 'PANIC|TRAP: |terminated by signal (4|6|7|8|11)\b' "$work"/n?.log "$work"/n?/data/log 2>/dev/null; then die "a process has crashed"; fi
	awk -F '|' '{ reads += $1; hits += $2 } END { print reads, "reads,", hits, "hits, none wrong;" }' "$work"/watch.n? >"$work/total"
	last_line="check-patroni: $(cat "$work/total") $(on "$(leader)" -c 'SELECT n FROM t WHERE id = 0') commits"
	if [ -n "$keep" ]; then own_work=; say "everything is left in $work"; fi
	exit
}
