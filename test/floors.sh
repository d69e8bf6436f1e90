#!/usr/bin/env bash
# Are the floors of src/README.md true?  Each file has one row; what it includes of src/ stands on a
# lower floor; a header of internals is included only by the files that its first line names.  Says
# what is not so.  Called by lint.sh.

set -euo pipefail
cd "$(dirname "$0")/../src"

awk '
	function module(path) { sub(/^.*\//, "", path); sub(/\.[ch]$/, "", path); sub(/_internal$/, "", path); return path }
	function complain(what) { print FILENAME ": " what; bad = 1 }

	# a row of the table
	FILENAME == "README.md" {
		if (match($0, /^\| *[0-9]+ \| `[a-z_]+\.[ch]`/)) {
			split($0, cells, "|")
			gsub(/[ `]/, "", cells[3])
			if (module(cells[3]) in floor)
				complain(cells[3] " has two rows")
			floor[module(cells[3])] = cells[2] + 0
			row[cells[3]] = 1
		}
		next
	}
	FNR == 1 {
		here = module(FILENAME)
		if (!(here in floor))
			complain("has no row in README.md")
		seen[FILENAME] = 1
	}
	/^#include "/ {
		split($0, parts, "\"")
		# the server has a file of that name, too
		if (parts[2] ~ /\//)
			next
		other = module(parts[2])
		if (other == here || !(other in floor))
			next
		if (floor[other] >= floor[here])
			complain("includes " parts[2] ", which is not on a lower floor")
		if (parts[2] ~ /_internal\.h$/)
			internals[FILENAME " " parts[2]] = 1
	}
	# the purpose in the head of a header of internals: "...: for a.c, b.c and c.c."
	FILENAME ~ /_internal\.h$/ && FNR == 4 { may[FILENAME] = $0 }
	END {
		for (file in row)
			if (!(file in seen)) { print "README.md: there is no " file; bad = 1 }
		for (use in internals) {
			split(use, parts, " ")
			if (index(may[parts[2]], parts[1]) == 0) { print parts[1] ": may not include " parts[2]; bad = 1 }
		}
		exit bad
	}
' README.md *_internal.h *.c *.h
