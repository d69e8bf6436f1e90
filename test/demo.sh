#!/usr/bin/env bash
# make demo: the sample hub on a throw-away server, and the main job on it.  Also a smoke test: it
# fails if a step is not answered as it must be.
#
#   KEEP=1         leave the server running, and say how to reach and how to stop it
#   NO_INSTALL=1   do not install what is missing
#   INSTALLED=1    use the extension that a package has installed, and build nothing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

bold='' normal=''
if [ -t 1 ]; then bold=$(printf '\033[1m') normal=$(printf '\033[0m'); fi
head_line() { say "$bold$*$normal"; }

if [ -n "${INSTALLED:-}" ]; then
	use_installed
else
	require_packages server
	if [ -n "${WORK:-}" ]; then
		work=$WORK	# check.sh's, with everything in place
		cd "$work"
	else
		build_copy all
		install_copy
	fi
fi

data=$work/demo
sock=$work/sock
# No port; nobody but the owner of the directory, mode 700, gets at the socket.
create_server "$data" "$sock" </dev/null
run_server "$data" "$data/log"

export PGHOST=$sock PGPORT=5432 PGDATABASE=hub
sql() { "$bindir/psql" -X -v ON_ERROR_STOP=1 "$@"; }

head_line "A sample State Hub, owned by role hub"
sql -q -U postgres -d postgres -c "CREATE ROLE hub LOGIN" -c "CREATE DATABASE hub OWNER hub"
sql -q -U hub -f "$top/test/hub/schema.sql"
# Not as hub, who may not VACUUM the catalogs.  -e and \timing: one line a table, from the statement, its result and its time.
table=
sql -e -U postgres -v scale=1 -c '\timing on' -f "$top/test/hub/data.sql" | while read -r line; do
	case $line in
		"INSERT INTO "*) read -r _ _ table _ <<<"${line/(/ }" ;;
		"INSERT 0 "*) rows=${line##* } ;;
		"Time: "*)
			if [ -n "$table" ]; then printf '      %-22s %6s rows %8s ms\n' "$table" "$rows" "$(cut -d ' ' -f 2 <<<"$line")"; fi
			table=
			;;
	esac
done

head_line "CREATE EXTENSION finds the hub and attaches to it"
sql -q -U postgres -c "CREATE EXTENSION summary_cache" 2>&1 | sed 's/^psql:[^ ]* //' | fold -s -w 94 | sed 's/^/      /'
attached=$(sql -At -U postgres -c "SELECT string_agg(section, ' ' ORDER BY section) FROM summary_cache_sections WHERE summary = 'state'")
[ "$attached" = "core progress" ] || die "CREATE EXTENSION did not attach the hub"
sql -q -U postgres -c "GRANT EXECUTE ON FUNCTION state_summary, summary_cache_fetch, summary_cache_define TO hub"

head_line "The hub's owner defines richer sections: core is refreshed in the background, progress inline"
sql -q -U hub -v core="$(cat "$top/test/hub/core.sql")" -v progress="$(cat "$top/test/hub/progress.sql")" <<-'SQL' 2>&1 | sed 's/^/      /'
	SELECT summary_cache_define('state', 'core', :'core', NULL, 'background') \g /dev/null
	SELECT summary_cache_define('state', 'progress', :'progress', NULL, 'inline') \g /dev/null
SQL

export OTHER="$bindir/psql -X -q -U hub -v ON_ERROR_STOP=1 -c"
sql -q -U hub -v bold="$bold" -v normal="$normal" -f "$top/test/demo.sql" ||
	{ tail -n 20 "$data/log" >&2; die "a step was not answered as it must be"; }

head_line " 7  What has been counted"
sql -x -U postgres -P footer=off -c "SELECT hits, progress_sections, stale, misses, builds_miss, builds_inline, builds_background,
	round(build_ms_min::numeric, 2) AS build_ms_min, round(build_ms_max::numeric, 2) AS build_ms_max, bytes, last_error
	FROM summary_cache_stats WHERE summary = 'state'" | sed -n 's/^[a-z]/      &/p'

say "demo: every step was answered as it must be"

if [ -n "${KEEP:-}" ]; then
	keep_work=1
	stop="$bindir/pg_ctl stop -D $data"
	if am_root; then stop="setpriv --reuid=$server_uid --regid=$server_gid --clear-groups env -C / $stop"; fi
	printf '%s\n' "" "The server is left running.  To reach it, and to stop and remove it:" \
		"  $bindir/psql -h $sock -U hub hub" "  $stop && rm -rf $work"
fi
