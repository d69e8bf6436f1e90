# What matrix.sh and package.sh share: chroots of Debian releases, kept below $SC_CACHE/chroot, and
# commands in them.  Sourced after lib.sh.
#
#   RENEW=1      make the chroots anew: what is kept is never upgraded
#   MIRROR=url   of Debian's packages
#   SC_CACHE     where all is kept; /var/cache/summary_cache
#
# A command in a chroot has mounts and processes of its own, in namespaces that end with it, however it
# ends: nothing is to be unmounted or stopped.
# shellcheck shell=bash disable=SC2154 # what lib.sh sets

renew=${RENEW:-}
mirror=${MIRROR:-http://deb.debian.org/debian}
cache=$(cache_dir)
unset RENEW MIRROR
snapshot=	# the copy of the tree that chroots see
scratch=	# a directory below the cache that goes with the run

# To be called first.
open_cache() {
	if [ "$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null)" != debian ]; then die "chroots of Debian are made on Debian only"; fi
	am_root || die "chroots need root: run it as root"
	umask 022
	mkdir -p "$cache/chroot"
	cache=$(realpath "$cache")
	trap leave EXIT
}

# At the end, before what lib.sh does then.
# shellcheck disable=SC2317 # a trap calls it
leave() {
	local status=$? dir
	set +e
	for dir in "$snapshot" "$scratch"; do
		[ -z "$dir" ] || rm -rf --one-file-system "$dir"
	done
	(exit "$status")
	clean_up
}

# One copy for all: the tree may be edited meanwhile.
take_snapshot() {
	snapshot=$(mktemp -d "$cache/tree.XXXXXX")
	tar -C "$top" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' . |
		tar -C "$snapshot" -xf - --no-same-owner
}

# What a release's chroot $1 is made with; $2: packages.  An older debootstrap does not know newer
# releases by name, but all of them are made as sid is.  experimental is nothing by itself.
debootstrap_command() {
	local suite=${1%%-*} script=
	suite=${suite/experimental/sid}
	[ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/sid
	echo "debootstrap --variant=minbase${2:+ --include=$2} $suite $cache/chroot/$1.new $mirror${script:+ $script}"
}

# A command in the chroot at $1: in namespaces of its own, with the tree at /srv, where packages never
# put anything, and with nothing of the caller's environment.
in_chroot() {
	local dir=$1 settings=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8) name
	shift
	for name in SUITES TESTS JOBS TIMER DEBIAN_FRONTEND PG_TEST_TIMEOUT_DEFAULT http_proxy https_proxy; do
		[ -z "${!name:-}" ] || settings+=("$name=${!name}")
	done
	[ -z "$no_install" ] || settings+=(NO_INSTALL=1)
	cp -L /etc/resolv.conf "$dir/etc/resolv.conf" 2>/dev/null || true
	mkdir -p "$dir/srv/tree" "$dir/dev/shm" "$dir/dev/pts"
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --pid --ipc --fork --kill-child bash -c '
		set -e
		dir=$1 tree=$2 packages=$3
		shift 3
		mount -t proc proc "$dir/proc"
		mount -t tmpfs -o mode=1777 shm "$dir/dev/shm"
		mount -t devpts -o newinstance,ptmxmode=0666 devpts "$dir/dev/pts"
		mount --bind "$tree" "$dir/srv/tree"
		mount -o remount,bind,ro "$dir/srv/tree"
		[ -z "$packages" ] || mount --bind "$packages" "$dir/var/cache/apt/archives"
		exec chroot "$dir" /usr/bin/env -i "$@"
	' chroot "$dir" "$snapshot" "${chroot_packages:-}" "${settings[@]}" "$@" </dev/null 9>&-
}

# In the chroot at $1.
chroot_apt_get() {
	local dir=$1
	shift
	say "+ chroot $dir apt-get $*"
	DEBIAN_FRONTEND=noninteractive in_chroot "$dir" apt-get "$@"
}

# Sets root to the chroot $1, named by its release and what may follow a hyphen, and keeps others from
# it.  Made if need be: with packages $2, and by function $3, if given, in $root.new.
need_chroot() {
	local name=$1 packages=$2 prepare=${3:-} command
	root=$cache/chroot/$name
	exec 9>"$cache/chroot/lock-$name"
	if ! flock -n 9; then
		say "waiting for another run to leave $root"
		flock 9
	fi
	if [ -z "$renew" ] && [ -e "$root/etc/debian_version" ]; then return; fi

	if ! have debootstrap; then install_packages debootstrap; fi
	command=$(debootstrap_command "$name" "$packages")
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
	echo 'Acquire::Check-Valid-Until "false";' >"$root.new/etc/apt/apt.conf.d/00summary-cache"
	printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
	chmod 755 "$root.new/usr/sbin/policy-rc.d"
	[ -z "$prepare" ] || "$prepare"
	rm -rf --one-file-system "$root"
	mv "$root.new" "$root"
}
