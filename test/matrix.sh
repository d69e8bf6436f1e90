#!/usr/bin/env bash
# make check-matrix: every suite on every supported server version, each in a chroot of the Debian
# release that has it.  A table comes last, then the count over all.
#
#   VERSIONS="17 18"   only these; 15 17 18.  19 is known, too: a preview in Debian's experimental.
#                      No Debian release has 16
#   SUITES, TESTS      as for make check
#   RENEW=1            make the chroots anew: what is kept is never upgraded
#   MIRROR=url         of Debian's packages
#   SC_CACHE           where the chroots (1.5 GB each) are kept; /var/cache/summary_cache
#   NO_INSTALL=1       only say what is missing
#
# The chroots have mounts and processes of their own, in namespaces that end with the run, however it
# ends: nothing is to be unmounted or stopped.

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

versions=${VERSIONS:-15 17 18}
renew=${RENEW:-}
mirror=${MIRROR:-http://deb.debian.org/debian}
cache=${SC_CACHE:-/var/cache/summary_cache}
unset VERSIONS RENEW MIRROR

release_of() {
	case $1 in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo forky ;;
		19) echo experimental ;;
		*) return 1 ;;
	esac
}

# What a release's chroot is made with.  An older debootstrap does not know newer releases by name,
# but all of them are made as sid is.  experimental is nothing by itself.
debootstrap_command() {
	local suite=${1/experimental/sid} script=
	[ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/sid
	echo "debootstrap --variant=minbase --include=gcc,libc6-dev,make $suite $cache/chroot/$1.new $mirror${script:+ $script}"
}

# A command in the chroot at $1: in namespaces of its own, with the tree at /srv, where packages never
# put anything, and with nothing of the caller's environment.
in_chroot() {
	local dir=$1 settings=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8) name
	shift
	for name in SUITES TESTS DEBIAN_FRONTEND PG_TEST_TIMEOUT_DEFAULT http_proxy https_proxy; do
		[ -z "${!name:-}" ] || settings+=("$name=${!name}")
	done
	[ -z "$no_install" ] || settings+=(NO_INSTALL=1)
	cp -L /etc/resolv.conf "$dir/etc/resolv.conf" 2>/dev/null || true
	mkdir -p "$dir/srv/tree" "$dir/dev/shm" "$dir/dev/pts"
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --pid --ipc --fork --kill-child bash -c '
		set -e
		dir=$1 tree=$2
		shift 2
		mount -t proc proc "$dir/proc"
		mount -t tmpfs -o mode=1777 shm "$dir/dev/shm"
		mount -t devpts -o newinstance,ptmxmode=0666 devpts "$dir/dev/pts"
		mount --bind "$tree" "$dir/srv/tree"
		mount -o remount,bind,ro "$dir/srv/tree"
		exec chroot "$dir" /usr/bin/env -i "$@"
	' matrix "$dir" "$snapshot" "${settings[@]}" "$@" </dev/null 9>&-
}

chroot_apt_get() {
	say "+ chroot $root.new apt-get $*"
	DEBIAN_FRONTEND=noninteractive in_chroot "$root.new" apt-get "$@"
}

# Sets root.
need_chroot() {
	local version=$1 release=$2 command
	root=$cache/chroot/$release
	exec 9>"$cache/chroot/lock-$release"
	if ! flock -n 9; then
		say "waiting for another run to leave $root"
		flock 9
	fi
	if [ -z "$renew" ] && [ -e "$root/etc/debian_version" ]; then return; fi

	if ! have debootstrap; then install_packages debootstrap; fi
	command=$(debootstrap_command "$release")
	if [ -n "$no_install" ]; then
		say "missing; to make it, as root:"
		say "$command"
		die "NO_INSTALL is set: no chroot was made"
	fi
	rm -rf --one-file-system "$root.new"
	say "+ $command"
	# shellcheck disable=SC2086 # a list of words
	$command </dev/null
	# Lists of testing expire within days; and no package is to start a server.
	echo 'Acquire::Check-Valid-Until "false";' >"$root.new/etc/apt/apt.conf.d/00matrix"
	printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
	chmod 755 "$root.new/usr/sbin/policy-rc.d"
	# make check would take the server that the release has by default.
	if [ "$release" = experimental ]; then
		echo "deb $mirror experimental main" >"$root.new/etc/apt/sources.list.d/experimental.list"
		chroot_apt_get update -q
		chroot_apt_get install -q -y --no-install-recommends \
			"postgresql-$version" "postgresql-server-dev-$version" libpq-dev/experimental libpq5/experimental
	fi
	rm -rf --one-file-system "$root"
	mv "$root.new" "$root"
}

# One copy for all: the tree may be edited meanwhile.
take_snapshot() {
	snapshot=$(mktemp -d "$cache/tree.XXXXXX")
	tar -C "$top" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' . |
		tar -C "$snapshot" -xf - --no-same-owner
}

# At the end, before what lib.sh does then.
# shellcheck disable=SC2317 # a trap calls it
leave() {
	local status=$?
	set +e
	[ -z "$snapshot" ] || rm -rf "$snapshot"
	(exit "$status")
	clean_up
}

# Runs the suite for one version and adds its line to the table.
check_version() {
	local version=$1 release log status=0 start=$SECONDS count ok=0 bad=0 skipped server
	release=$(release_of "$version")
	log=$cache/matrix-$version.log
	say "=== PostgreSQL $version on Debian $release"
	need_chroot "$version" "$release"
	in_chroot "$root" make -C /srv/tree --no-print-directory check 2>&1 | tee "$log" || status=$?

	count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1) || true
	if [ -n "$count" ]; then read -r ok _ bad _ <<<"$count"; fi
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	skipped=$(grep -cE '^test/t/[^ ]+ \.+ *skipped' "$log") || true
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
if [ "$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null)" != debian ]; then die "chroots of Debian are made on Debian only"; fi
am_root || die "chroots need root: run it as root"

# In one piece, so that bash has read it when somebody edits this file.
{
	umask 022
	mkdir -p "$cache/chroot"
	cache=$(realpath "$cache")
	passed=0
	failed=0
	table=
	snapshot=
	trap leave EXIT
	take_snapshot

	for version in $versions; do check_version "$version"; done

	say
	printf '%-8s %-9s %7s %7s %8s %9s\n' version release passed failed skipped minutes
	printf '%s' "$table"
	last_line="$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}
