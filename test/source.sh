# PostgreSQL's sources, from the distribution's source package.  It is downloaded with package lists of our
# own, so that nothing of the system's is changed and one need not be root.  Sourced after lib.sh.
# shellcheck shell=bash

# private_apt DIRECTORY COMMAND ARGUMENT...
private_apt() {
	local dir=$1 command=$2
	shift 2
	"$command" -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$dir/sources" \
		-o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/apt" -o APT::Sandbox::User= \
		-o Acquire::Languages=none "$@" </dev/null
}

# The system's repositories, as source repositories.
write_source_lists() {
	local dir=$1 file
	mkdir -p "$dir/sources" "$dir/lists/partial" "$dir/apt/archives/partial"
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -e "$file" ] || continue
		sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$file" | sort -u >"$dir/sources/$(basename "$file")"
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -e "$file" ] || continue
		sed 's/^[Tt]ypes:.*/Types: deb-src/' "$file" >"$dir/sources/$(basename "$file")"
	done
}

# get_source_package DIRECTORY MAJOR [RELEASE]: unpacks the source package of a major version to DIRECTORY/src,
# if possible of that release of the package.  The newest may have left the mirror already: then an older one
# will do.
get_source_package() {
	local dir=$1 major=$2 preferred=${3:-} version
	have apt-get || die "getting the distribution's source package needs apt-get"
	have dpkg-source || install_packages dpkg-dev
	write_source_lists "$dir"
	private_apt "$dir" apt-get update || say "going on with what there is of the package lists"
	for version in $preferred $(private_apt "$dir" apt-cache showsrc "postgresql-$major" |
		sed -n 's/^Version: //p' | grep -vxF "${preferred:-none}" | sort -urV); do
		say "+ apt-get source postgresql-$major=$version"
		if (cd "$dir" && private_apt "$dir" apt-get source --download-only "postgresql-$major=$version") &&
			dpkg-source --no-check -x "$dir"/postgresql-"$major"_*.dsc "$dir/src"; then
			return
		fi
		rm -rf "$dir"/postgresql-"$major"_* "$dir/src"
	done
	die "no source package of postgresql-$major could be had"
}
