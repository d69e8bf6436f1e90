#!/usr/bin/env bash
# make dist: summary_cache-VERSION.tar.gz and .zip, the latter as PGXN wants it, from what is committed.
#
#   dist.sh DIRECTORY   there rather than here, the tar.gz alone, with changes that are not committed yet

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

# A checkout may belong to somebody else.
in_checkout() { git -c safe.directory="$top" -C "$top" "$@"; }

have git || die "git makes the archive, and is not here"
[ -e "$top/.git" ] || die "this is not a git checkout"
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$top/META.json")
[ -n "$version" ] || die "META.json has no version"
name=summary_cache-$version
tree=HEAD
if [ -n "${1:-}" ]; then
	tree=$(in_checkout -c user.name=dist -c user.email=dist@localhost stash create)
	in_checkout archive --prefix="$name/" -o "$1/$name.tar.gz" "${tree:-HEAD}"
	exit
fi
[ -z "$(in_checkout status --porcelain --untracked-files=no)" ] ||
	say "going on without the changes that are not committed"
for suffix in tar.gz zip; do
	in_checkout archive --prefix="$name/" -o "$top/$name.$suffix" "$tree"
	say "$name.$suffix"
done
