#!/usr/bin/env bash
# make check-model: the protocol as models for spin (test/model/*.pml), each checked exhaustively, that is in every
# interleaving of its steps.  A model must have no wrong hit.  Each of its weak variants, which take one rule away,
# must have one; else the rule is not needed, or the model cannot see what it is for.  The names of the variants, and
# what they are, stand at the head of each model.
#
#   MODELS="commit slot"            only these models
#   VARIANTS="BASE WEAK_NO_CELL"    only these variants; BASE is the model as it is
#   JOBS=2                          how many are checked at once; as many as there are processors, if it is not set
#   NO_INSTALL=1                    do not install what is missing
#
# A line for each says what came out, and in how many states; then come the count, and exit status 1 if one is not as
# it must be.  Of a wrong hit that must not be, the last steps on the way to it are shown.

# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

models=$top/test/model
memory=1900	# MB that one check may take; the models need less than half of it

# The variants at the head of a model: name, tab, description.
variants() {
	awk '
		function flush() { if (name) print name "\t" text; name = "" }
		/\*\// { flush(); exit }
		/^ \* (WITH|REACH|WEAK)_[A-Z_]+ / { flush(); name = $2; $1 = $2 = ""; sub(/^ +/, ""); text = $0; next }
		/^ \*          / && name { $1 = ""; text = text $0; next }
		{ flush() }
	' "$models/$1.pml"
}

# What the #ifdefs of all models, or of the files that are given, ask for.
asked_for() { sed -n '/^#.*if/ s/[^A-Z_]/ /gp' "$@" | tr ' ' '\n' | grep -E '^(WITH|REACH|WEAK)_' | sort -u; }

# $1 = model, $2 = variant, $3 = description.  Writes the line, and returns 1 if it is not as it must be.
check_one() {
	local model=$1 variant=$2 text=$3 dir=$work/$1-$2 name define=() errors states found must=
	mkdir "$dir"
	cd "$dir"
	name=$model
	if [ "$variant" != BASE ]; then
		name="$model, $variant"
		define=("-D$variant")
	fi
	case $variant in
		REACH_*) must='reached' ;;
		WEAK_*) must='wrong_hit|wrong_count' ;;
	esac

	if ! { spin -a "${define[@]}" "$models/$model.pml" && gcc -O1 -w -DSAFETY -DMEMLIM=$memory -o pan pan.c; } >log 2>&1; then
		say "not ok  $name: it cannot be made a program"
		cat log
		return 1
	fi
	./pan -n -m10000 >out 2>&1 || true
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' out)
	states=$(awk '/states, stored/ { print $1 }' out)
	found=$(sed -n 's/^pan:1: assertion violated *!(\([a-z_]*\)).*/\1/p' out)

	if [ -z "$errors" ] || grep -qE 'max search depth too small|out of memory|memory limit|MEMLIM|error: ' out; then
		say "not ok  $name: not checked to the end"
		cat out
		return 1
	fi
	if [ -z "$must" ]; then
		if [ "$errors" -eq 0 ]; then
			say "ok      $name: $states states, no wrong hit${text:+ ($text)}"
			return 0
		fi
		say "not ok  $name: ${found:-$(grep '^pan:1: ' out)} after $states states"
		cp "$models"/*.pml .
		spin -t -p "${define[@]}" "$model.pml" 2>/dev/null | grep -vE '\[(\.\(goto\)|goto .*|DO|IF|else|break|\(1\))\]$' | tail -n 150
		return 1
	fi
	if [[ $found =~ ^($must)$ ]]; then
		say "ok      $name: $states states, $found ($text)"
		return 0
	fi
	say "not ok  $name: $states states, ${found:-nothing found} ($text)"
	return 1
}

missing=()
have spin || missing+=(spin)
have gcc || missing+=(gcc libc6-dev)
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
make_work

jobs=${JOBS:-$(nproc)}
case $jobs in '' | 0 | *[!0-9]*) die "JOBS is a whole number" ;; esac
read -r -a names <<<"${MODELS:-commit prepare slot ddl fallback tree member keys restart standby replay}"

# What is to be checked: model, variant, description.
list=$work/list
for model in "${names[@]}"; do
	[ -e "$models/$model.pml" ] || die "no model is called \"$model\""
	printf '%s\tBASE\t\n' "$model"
	variants "$model" | sed "s/^/$model	/"
done >"$list"
if [ -n "${VARIANTS:-}" ]; then
	awk -F '\t' -v wanted=" $VARIANTS " 'index(wanted, " " $2 " ")' "$list" >"$list.wanted"
	mv "$list.wanted" "$list"
	[ -s "$list" ] || die "no model has a variant of \"$VARIANTS\""
fi

failed=0
# A variant that is misspelt at one of its two places would check nothing.
for model in "$models"/*.pml; do variants "$(basename "$model" .pml)"; done | cut -f 1 | sort -u >"$work/listed"
asked_for "$models"/*.pml >"$work/asked"
if ! diff "$work/listed" "$work/asked" >"$work/differ"; then
	say "not ok  variants that only the head (<) or only the text (>) of a model has:"
	grep '^[<>]' "$work/differ"
	failed=1
fi

# As many at once as there are to be; the lines come in the order of the list.
passed=0
printed=0
print_lines() {
	while [ -e "$work/status.$((printed + 1))" ]; do
		printed=$((printed + 1))
		cat "$work/line.$printed"
		if [ "$(cat "$work/status.$printed")" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	done
}
n=0
while IFS=$'\t' read -r model variant text; do
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
	print_lines
	n=$((n + 1))
	(
		trap - EXIT
		status=0
		check_one "$model" "$variant" "$text" >"$work/line.$n" || status=1
		rm -rf "${work:?}/$model-$variant"
		echo $status >"$work/status.$n"
	) &
done <"$list"
wait
print_lines

last_line="$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$printed" -eq "$n" ]
