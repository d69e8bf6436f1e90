#!/usr/bin/env bash
# make stress: the checker (test/stress/checker.c), long, on a throw-away server with the debug
# build: each mode in turn as it is, with waiting points that hold the windows of a commit open, with
# commits that are flushed late, with another library's callbacks around them that take their time,
# on a server that has too few workers, slots and sections, and with all reading done on a streaming
# standby, in those modes that one can have.  There are never more than 1 MB for documents.  The last
# lines are sums by mode; exit status 1 on a violation.
#
#   DURATION=600   seconds, all in all
#   SEED=N         of all random choices
#   MODES="plain"  only these modes
#   WAYS="standby" only these ways of those above: asis, points, flush, callback, scarce, standby
#   OPTIONS="--readers=6 --pause=20000"   more of the checker's
#   NO_INSTALL=1   do not install what is missing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

duration=${DURATION:-600}
seed=${SEED:-$(date +%s)}
read -r -a modes <<<"${MODES:-plain 2pc savepoint sync rr inline partition copy faults crash \
	restart full oom callback ddl inherit closed temporary bulk eager parts members names keys extension database}"
case $duration$seed in *[!0-9]*) die "DURATION and SEED are whole numbers" ;; esac
all_ways="asis points flush callback scarce standby"
read -r -a ways <<<"${WAYS:-$all_ways}"
for way in "${ways[@]}"; do
	case " $all_ways " in *" $way "*) ;; *) die "no way is called \"$way\"; there are $all_ways" ;; esac
done

require_packages server
build_copy all COPT=-Werror
install_copy
install_debug_copy
[ -n "${SC_DEBUG_CONF:-}" ] || die "this server has no private extension path, so there is no debug build for it"

data=$work/stress-data
sock=$work/sock
# commit_delay holds commits back before they are visible, but only if they are flushed
create_server "$data" "$sock" <<-CONF
	$(cat "$SC_DEBUG_CONF")
	max_connections = 60
	fsync = on
	wal_sync_method = fdatasync
	restart_after_crash = on
	shared_preload_libraries = '$work/callback.so, summary_cache'
	summary_cache.memory_limit = 1MB
	include_if_exists = 'way.conf'
CONF
compile_client "$work/checker" "$work"/src/test/stress/{checker,sessions,keys,disturb}.c
run_logged as_server "$("$pg_config" --cc)" -O2 -fPIC -shared -Wall -Werror -o "$work/callback.so" \
	"$work/src/test/stress/callback.c" -I"$("$pg_config" --includedir-server)"
run_server "$data" "$work/stress.log"

# What a way adds to the settings of the checker's sessions.
settings_of() {
	case $1 in
		points) echo "-c summary_cache.debug_point=all -c summary_cache.debug_sleep=200" ;;
		callback) echo "-c callback.visible_sleep=1000 -c callback.published_sleep=1000" ;;
	esac
}
# one worker for all: what is not PostgreSQL's own has no hits without any
scarce="max_worker_processes = 3
summary_cache.max_tables = 40
summary_cache.max_sections = 16"
each=$((duration / (${#ways[@]} * ${#modes[@]})))
if [ "$each" -gt 20 ]; then each=20; fi
if [ "$each" -lt 1 ]; then each=1; fi
declare -A caught

standby=$work/stress-standby
stop_standby() { run_logged as_server "$bindir/pg_ctl" stop -s -m fast -D "$standby"; }
# The others disturb the server that is read from, or need it to be the one that is written to.
standby_modes=" plain 2pc savepoint sync rr inline partition copy ddl inherit temporary parts names keys "
start_standby() {
	as_server rm -rf "$standby"
	as_server mkdir -p "$sock.standby"
	run_logged as_server "$bindir/pg_basebackup" -h "$sock" -U postgres -D "$standby" -R -c fast
	as_server tee -a "$standby/postgresql.conf" <<-CONF >/dev/null
		unix_socket_directories = '$sock.standby'
		hot_standby_feedback = on
		max_standby_streaming_delay = -1
	CONF
	run_logged as_server "$bindir/pg_ctl" start -w -s -D "$standby" -l "$work/standby.log"
}

# Under these very options the protocols that are known to be wrong are caught: else the rest proves nothing.
status=0
for protocol in at-write after-commit; do
	for way in asis points flush callback; do
		read -r -a options <<<"--seconds=10 --seed=$seed ${OPTIONS:-}"
		weak="-c summary_cache.debug_protocol=$protocol"
		conninfo="host=$sock user=postgres dbname=postgres options='$(settings_of "$way") $weak'"
		if [ "$way" = flush ]; then options+=(--commit-delay=500); fi
		found=0
		as_server "$work/checker" --conninfo="$conninfo" "${options[@]}" plain >"$work/weak.log" 2>&1 || found=$?
		case $found in
			0) say "protocol $protocol, $way: not caught in 10 s" ;;
			1)
				say "protocol $protocol, $way: caught"
				caught[$protocol]=1
				;;
			*) cat "$work/weak.log"; die "the checker does not run" ;;
		esac
	done
	[ -n "${caught[$protocol]:-}" ] || status=1
done

# That a tree has one word is caught where trees change; that parts are taken without a proof, where there are any; that
# who writes through a root marks no member, where sections read single ones; that DDL is not looked at, where names
# change; that a key word is missing, is another one or is read too late, where documents have keys.
for weak in "tree-word inherit" "member-named members" "splice parts" "names-unseen names" \
	"keys-new keys" "keys-fine keys" "keys-text keys" "keys-late keys"; do
	read -r protocol mode <<<"$weak"
	as_server tee "$data/way.conf" <<<"summary_cache.debug_protocol = '$protocol'" >/dev/null
	run_logged as_server "$bindir/pg_ctl" restart -w -s -D "$data" -l "$work/stress.log"
	found=0
	as_server "$work/checker" --conninfo="host=$sock user=postgres dbname=postgres" --seconds=10 --seed="$seed" "$mode" \
		>"$work/weak.log" 2>&1 || found=$?
	case $found in
		0) say "protocol $protocol: not caught in 10 s"; status=1 ;;
		1) say "protocol $protocol: caught" ;;
		*) cat "$work/weak.log"; die "the checker does not run" ;;
	esac
done
as_server rm "$data/way.conf"
run_logged as_server "$bindir/pg_ctl" restart -w -s -D "$data" -l "$work/stress.log"

# Rounds of all modes, in one way after the other, until the time is over.
round=0
end=$((SECONDS + duration))
while [ "$SECONDS" -lt "$end" ] && [ "$status" -eq 0 ]; do
	way=${ways[$((round % ${#ways[@]}))]}
	prefix=
	[ "$way" != standby ] || prefix=standby-
	read -r -a options <<<"--seconds=$each --seed=$((seed + round)) ${OPTIONS:-}"
	conninfo="host=$sock user=postgres dbname=postgres options='$(settings_of "$way")'"
	case $way in
		scarce)
			as_server tee "$data/way.conf" <<<"$scarce" >/dev/null
			run_logged as_server "$bindir/pg_ctl" restart -w -s -D "$data" -l "$work/stress.log"
			;;
		standby)
			start_standby
			options+=("--read-conninfo=host=$sock.standby user=postgres dbname=postgres" --pause=40000)
			;;
		flush) options+=(--commit-delay=500) ;;
	esac
	for mode in "${modes[@]}"; do
		if [ "$way" = standby ] && [[ $standby_modes != *" $mode "* ]]; then continue; fi
		as_server "$work/checker" --conninfo="$conninfo" --server-log="$work/stress.log" \
			"${options[@]}" "$mode" | sed "s/^$mode:/$prefix$mode:/" | tee -a "$work/checker.log" ||
			{ status=1; break; }
	done
	if [ "$way" = standby ]; then stop_standby; fi
	if [ "$way" = scarce ] && [ "$status" -eq 0 ]; then
		as_server rm "$data/way.conf"
		run_logged as_server "$bindir/pg_ctl" restart -w -s -D "$data" -l "$work/stress.log"
	fi
	round=$((round + 1))
done
as_server "$bindir/pg_ctl" stop -s -m fast -D "$data" || status=1

# name number name number ...: summed by mode.  A hit is a read that was proven; near are those made
# while a source was pending or within 1 ms of its last change, of which there must be enough.
awk '
function line(name, sum_of,   i, text) {
	text = sprintf("%-20s", name)
	for (i = 1; i <= n; i++) {
		text = text sprintf(" %s %d", names[i], sum_of[name, names[i]])
		if (names[i] == "hits" && sum_of[name, "reads"])
			text = text sprintf(" (%.1f%%)", 100 * sum_of[name, "hits"] / sum_of[name, "reads"])
		if (names[i] == "near" && sum_of[name, "hits"])
			text = text sprintf(" (%.1f%% of the hits)", 100 * sum_of[name, "near"] / sum_of[name, "hits"])
	}
	print text
}
{
	gsub(/[,:]/, "")
	for (i = 2; i < NF; i++)
		if ($i ~ /^[a-z]+$/ && $(i + 1) ~ /^[0-9]+$/ && $i != "seed" && $i != "seconds") {
			sum[$1, $i] += $(i + 1); sum["all", $i] += $(i + 1)
			if (!($i in known)) { known[$i] = 1; names[++n] = $i }
		}
	if (!($1 in modes)) { modes[$1] = 1; order[++m] = $1 }
}
END {
	for (k = 1; k <= m; k++) line(order[k], sum)
	line("all", sum)
	exit !(sum["all", "near"] >= 0.05 * sum["all", "hits"] && sum["all", "hits"] > 0)
}' "$work/checker.log" || { say "less than 5 % of the hits were near a commit"; status=1; }
if [ "$status" -eq 0 ]; then last_line="stress: no violation"; else last_line="stress: FAILED, seed $seed"; fi
exit "$status"
