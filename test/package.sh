#!/usr/bin/env bash
# make check-package: builds the Debian package from the archive of `make dist` in a clean chroot, with
# the tests that a build runs; looks at it with lintian; installs it into another clean chroot, one
# without a compiler, and runs the demo's session there; last the package's own tests (debian/tests).
#
#   RELEASE=trixie     another release than bookworm
#   RENEW, MIRROR, SC_CACHE   of the chroots: see chroot.sh.  Packages from the mirror are kept as well
#   KEEP=1             leave the packages, and say where
#   NO_INSTALL=1       only say what is missing
# shellcheck disable=SC2317 # step calls the functions

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=test/chroot.sh
. "$top/test/chroot.sh"

release=${RELEASE:-bookworm}
keep=${KEEP:-}
unset RELEASE KEEP SUITES TESTS
passed=0
failed=0
apt=(-q -y --no-install-recommends -o APT::Keep-Downloaded-Packages=true)

# A step that counts: name, command.
step() {
	local name=$1
	shift
	say "=== $name"
	if "$@"; then
		passed=$((passed + 1))
		return
	fi
	failed=$((failed + 1))
	say "--- failed: $name"
	return 1
}

# A chroot of its own from the one that is kept and never changes.
copy_chroot() {
	mkdir "$scratch/$1"
	cp -a --reflink=auto "$root/." "$scratch/$1"
	chroot_apt_get "$scratch/$1" -q update
}

in_build() { in_chroot "$scratch/build" env -C "/build/$source" "$@"; }
as_builder() { in_build setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/build "$@"; }

# As packages are built: not by root, with what Build-Depends says and nothing else.
build_package() {
	copy_chroot build
	chroot_apt_get "$scratch/build" install "${apt[@]}" build-essential
	mkdir -p "$scratch/build/build"
	bash "$top/test/dist.sh" "$scratch/build/build"
	source=summary_cache-$version
	(
		cd "$scratch/build/build"
		mv "$source.tar.gz" "postgresql-summary-cache_$version.orig.tar.gz"
		tar -xf "postgresql-summary-cache_$version.orig.tar.gz" --no-same-owner
		for file in debian .ci .gitattributes; do
			if [ -e "$source/$file" ]; then die "the archive has $file, which is of use in a checkout only"; fi
		done
		cp -R "$snapshot/debian" "$source"
	)
	# The set of servers is the release's.
	chroot_apt_get "$scratch/build" install "${apt[@]}" postgresql-server-dev-all
	in_build pg_buildext updatecontrol
	if [ "$release" = bookworm ] && ! cmp "$top/debian/control" "$scratch/build/build/$source/debian/control"; then
		die "debian/control is not what pg_buildext updatecontrol makes of control.in"
	fi
	in_build apt-get build-dep "${apt[@]}" .
	echo 'builder:x:1000:1000::/build:/bin/sh' >>"$scratch/build/etc/passwd"
	echo 'builder:x:1000:' >>"$scratch/build/etc/group"
	chown -R 1000:1000 "$scratch/build/build"
	as_builder dpkg-buildpackage -us -uc
}

check_lintian() {
	local options=(--fail-on "error,warning" --display-info)
	chroot_apt_get "$scratch/build" install "${apt[@]}" lintian || return 1
	# shellcheck disable=SC2016 # for the inner shell
	as_builder sh -c 'lintian "$@" ../*.changes' lintian "${options[@]}"
}

list_packages() { (cd "$scratch/build/build" && find . -name '*.deb' ! -name '*-dbgsym_*'); }

install_package() {
	local command
	copy_chroot install
	mkdir -p "$scratch/install/packages"
	(cd "$scratch/build/build" && cp ./*.deb ./*.dsc ./*.tar.* "$scratch/install/packages")
	rm -f "$scratch"/install/packages/*dbgsym*
	# shellcheck disable=SC2046 # a list of packages
	chroot_apt_get "$scratch/install" install "${apt[@]}" $(list_packages | sed 's,^\.,/packages,') || return 1
	for command in cc gcc clang make pg_config.libpq-dev; do
		if in_chroot "$scratch/install" sh -c "command -v $command"; then
			say "the package drags in $command"
			return 1
		fi
	done
}

run_demo() { in_chroot "$scratch/install" INSTALLED=1 NO_INSTALL=1 bash /srv/tree/test/demo.sh; }

run_package_tests() {
	chroot_apt_get "$scratch/install" install "${apt[@]}" autopkgtest || return 1
	in_chroot "$scratch/install" sh -c 'autopkgtest --no-built-binaries /packages/*.deb /packages/*.dsc -- null'
}

# A package's removal takes all of it along.
remove_package() {
	# shellcheck disable=SC2046 # a list of packages
	chroot_apt_get "$scratch/install" purge -q -y $(list_packages | sed 's,^\./,,; s,_.*,,') || return 1
	if find "$scratch/install/usr" "$scratch/install/etc" -name 'summary*cache*' | grep .; then return 1; fi
}

# In one piece, so that bash has read it when somebody edits this file.
{
	version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$top/META.json")
	open_cache
	need_chroot "$release-clean" ''
	scratch=$(mktemp -d "$cache/package.XXXXXX")
	chmod 755 "$scratch"
	chroot_packages=$cache/packages-$release
	mkdir -p "$chroot_packages/partial"
	take_snapshot
	chmod 755 "$snapshot"

	# build_package is not a condition, so that any command of it that fails ends the run
	say "=== build"
	build_package
	passed=$((passed + 1))
	step lintian check_lintian || true
	if step install install_package; then
		step demo run_demo || true
		step autopkgtest run_package_tests || true
		step removal remove_package || true
	fi

	if [ -n "$keep" ]; then
		mkdir -p "$cache/package"
		(cd "$scratch/build/build" && find . -maxdepth 1 -type f -exec cp -t "$cache/package" {} +)
		say "the packages are in $cache/package"
	fi
	last_line="$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	exit
}
