#!/usr/bin/env bash
# make check-matrix: every suite on every supported server version, each in a chroot of the Debian
# release that has it.  A table comes last, then the count over all.
#
#   VERSIONS="17 18"   only these; 15 17 18.  19 is known, too: a preview in Debian's experimental.
#                      No Debian release has 16
#   SUITES, TESTS, JOBS, TIMER   as for make check
#   RENEW, MIRROR, SC_CACHE   of the chroots (1.5 GB each): see chroot.sh
#   NO_INSTALL=1       only say what is missing

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=test/chroot.sh
. "$top/test/chroot.sh"

versions=${VERSIONS:-15 17 18}
unset VERSIONS

release_of() {
	case $1 in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo forky ;;
		19) echo experimental ;;
		*) return 1 ;;
	esac
}

# make check would take the server that the release has by default.
# shellcheck disable=SC2317 # need_chroot calls it
prepare_experimental() {
	echo "deb $mirror experimental main" >"$root.new/etc/apt/sources.list.d/experimental.list"
	chroot_apt_get "$root.new" update -q
	chroot_apt_get "$root.new" install -q -y --no-install-recommends \
		postgresql-19 postgresql-server-dev-19 libpq-dev/experimental libpq5/experimental
}

# Runs the suite for one version and adds its line to the table.
check_version() {
	local version=$1 release log prepare='' status=0 start=$SECONDS count ok=0 bad=0 skipped server
	release=$(release_of "$version")
	log=$cache/matrix-$version.log
	say "=== PostgreSQL $version on Debian $release"
	[ "$release" != experimental ] || prepare=prepare_experimental
	need_chroot "$release" gcc,libc6-dev,make "$prepare"
	in_chroot "$root" make -C /srv/tree --no-print-directory check 2>&1 | tee "$log" || status=$?

	count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1) || true
	if [ -n "$count" ]; then read -r ok _ bad _ <<<"$count"; fi
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	skipped=$(grep -cE '(^|\] )test/t/[^ ]+ \.+ *skipped' "$log") || true
	server=$(sed -n 's/^building for PostgreSQL \([^ ]*\).*/\1/p' "$log" | head -n 1)
	if [ -n "$server" ] && [[ ! $server =~ ^$version([^0-9]|$) ]]; then
		say "Debian $release has PostgreSQL $server, not $version"
		bad=$((bad + 1))
	fi
	if [ "$bad" -gt 0 ]; then say "what these tests left is below $root"; fi
	passed=$((passed + ok))
	failed=$((failed + bad))
	table+=$(printf '%-8s %-9s %7d %7d %8d %6d:%02d' "${server:-$version}" "$release" "$ok" "$bad" "$skipped" \
		$(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)))$'\n'
}

for version in $versions; do
	release_of "$version" >/dev/null || die "no Debian release with PostgreSQL $version is known; there are 15, 17, 18, 19"
done

# In one piece, so that bash has read it when somebody edits this file.
{
	passed=0
	failed=0
	table=
	open_cache
	take_snapshot

	for version in $versions; do check_version "$version"; done

	say
	printf '%-8s %-9s %7s %7s %8s %9s\n' version release passed failed skipped minutes
	printf '%s' "$table"
	last_line="$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}
