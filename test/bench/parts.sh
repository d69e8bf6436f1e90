# The part of bench.sh about parts: what a build takes when one table has changed, beside the keys' own queries
# and beside the whole section's, and what a worker takes of a CPU under writes to all tables.
# With BEFORE=directory, a source tree of another version, both are measured there as well, in turns with this
# one.  The sample hub twice: `state` as need_hub() makes it, in which one key counts eleven tables, and
# `attached` as summary_cache_attach_state_hub() generates it, with a key for each table.
# SCALES="1 50" measures these scales of the hub only.
# shellcheck shell=bash disable=SC2154

parts_tables="domains topics workplans tasks decisions workplan_dependencies managed_repos contributions capability_requests extension_points technical_debt sbom_snapshots progress_events"

parts_scales=${SCALES:-}
unset SCALES

# What both versions need in a hub: the second summary, the queries to compare with, and what changes and measures.
parts_hub() {
	local db=$1 query
	# CREATE EXTENSION had defined it so
	query=$(sql -d "$db" <<-SQL
		SET client_min_messages = error;
		$definitions \gset
		BEGIN;
		SELECT summary_cache_drop('state') \g /dev/null
		SELECT summary_cache_attach_state_hub() \g /dev/null
		SELECT query FROM :definitions WHERE summary = 'state' AND section = 'core';
		ROLLBACK;
	SQL
	)
	sql -d "$db" -v query="$query" -v progress="$(cat "$top/test/hub/progress.sql")" -v tables="$parts_tables" <<-SQL
		SET client_min_messages = error;
		SELECT summary_cache_define('attached', 'core', :'query', NULL, 'background') \g /dev/null
		SELECT summary_cache_define('attached', 'progress', :'progress', NULL, 'inline') \g /dev/null
		SELECT length(summary_cache_get('state', true)::text), length(summary_cache_get('attached', true)::text) \g /dev/null

		-- The queries of a summary: of each part if there are parts, and of each whole section, which has no sources here.
		$definitions \gset
		CREATE TABLE own_queries AS
			SELECT format('%s %s whole', summary, section) AS name, summary::text, NULL::text[] AS sources, query FROM :definitions;
		SELECT to_regclass('summary_cache_parts') IS NOT NULL AS has_parts \gset
		\if :has_parts
		INSERT INTO own_queries
			SELECT format('%s %s %s', summary, section, part), summary, sources::text[], query FROM summary_cache_parts;
		\endif
		CREATE TABLE times (summary text, changed text, read_ms float8, build_ms float8, query_ms float8);
		CREATE TABLE source_tables AS SELECT name, n FROM unnest(string_to_array(:'tables', ' ')) WITH ORDINALITY u (name, n);
	SQL
	sql -d "$db" <<-'SQL'
		-- Changes a row so that a document changes: the newest one, or any.
		CREATE FUNCTION change(changed text, newest boolean) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
		    last bigint; row_id bigint;
		BEGIN
		    IF changed = 'progress_events' THEN
		        INSERT INTO progress_events (topic_id, author, summary) VALUES (1, 'a', 'b');
		        RETURN;
		    END IF;
		    EXECUTE format('SELECT max(id) FROM %I', changed) INTO last;
		    row_id := CASE WHEN newest THEN last ELSE 1 + floor(random() * last) END;
		    EXECUTE format('UPDATE %I SET %s WHERE id = $1', changed, CASE
		        WHEN changed = 'sbom_snapshots' THEN 'components = components + 1'
		        -- what is in the document only if it is active
		        WHEN changed = 'topics' THEN $s$title = 'Topic ' || clock_timestamp(), updated_at = now()$s$
		        ELSE $s$status = CASE status WHEN 'open' THEN 'changed' ELSE 'open' END, updated_at = now()$s$ END) USING row_id;
		END $$;

		-- Changes a row of each table in turn, and then nothing but forces the build; measures after each the
		-- read that builds, and the queries whose keys it concerns.  Which of both comes first takes turns.
		CREATE PROCEDURE measure(of_summary text, passes int) LANGUAGE plpgsql AS $$
		DECLARE
		    t text; q text; before float8; began timestamptz; read_ms float8; build_ms float8; query_ms float8;
		    queries text[]; tables text[] := (SELECT array_agg(name ORDER BY n) FROM source_tables);
		BEGIN
		    -- the first one warms what a session has
		    FOR pass IN 0 .. passes LOOP
		        FOREACH t IN ARRAY tables || 'forced'::text LOOP
		            IF t <> 'forced' THEN
		                PERFORM change(t, true);
		            END IF;
		            COMMIT;
		            queries := coalesce((SELECT array_agg(format('EXECUTE %I', name)) FROM own_queries
		                WHERE summary = of_summary AND CASE WHEN t = 'forced' THEN sources IS NULL ELSE t = ANY (sources) END), '{}');
		            FOR step IN 0 .. 1 LOOP
		                IF (step + pass) % 2 = 0 THEN
		                    SELECT build_ms_total INTO before FROM summary_cache_stats WHERE summary = of_summary;
		                    COMMIT;
		                    began := clock_timestamp();
		                    PERFORM length(etag) FROM summary_cache_fetch(of_summary, NULL, t = 'forced');
		                    read_ms := 1000 * extract(epoch FROM clock_timestamp() - began);
		                    SELECT build_ms_total - before INTO build_ms FROM summary_cache_stats WHERE summary = of_summary;
		                ELSE
		                    query_ms := 0;
		                    FOREACH q IN ARRAY queries LOOP
		                        began := clock_timestamp();
		                        EXECUTE q;
		                        query_ms := query_ms + 1000 * extract(epoch FROM clock_timestamp() - began);
		                    END LOOP;
		                END IF;
		                COMMIT;
		            END LOOP;
		            IF pass > 0 THEN
		                INSERT INTO times VALUES (of_summary, t, read_ms, build_ms, nullif(query_ms, 0));
		                COMMIT;
		            END IF;
		        END LOOP;
		    END LOOP;
		END $$;
		VACUUM ANALYZE;
	SQL
}

# One round of build $1 at scale $2: a session for each summary.
parts_times() {
	local build=$1 scale=$2 r=$3 passes=$4 summary
	for summary in state attached; do
		sql -d "hub$scale" <<-SQL >/dev/null
			SET client_min_messages = error;
			-- the session builds itself what its own writes have changed, and nothing for its age
			SET summary_cache.read_your_writes = on;
			SET summary_cache.max_stale_age = -1;
			TRUNCATE times;
			SELECT format('PREPARE %I AS %s', name, query) FROM own_queries WHERE summary = '$summary' \gexec
			CALL measure('$summary', $passes);
		SQL
		sql -F , -d "hub$scale" -c "SELECT summary, changed, read_ms, build_ms, query_ms FROM times" |
			while read -r line; do record parts "$build" "$scale" "$r" "$line"; done
	done
}

# Nanoseconds of CPU that all workers have taken.
workers_cpu() {
	local pid sum=0
	for pid in $(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'"); do
		sum=$((sum + $(cut -d ' ' -f 1 "/proc/$pid/schedstat" 2>/dev/null || echo 0)))
	done
	echo "$sum"
}

# What the workers take of build $1 at scale $2, summary $4 being refreshed eagerly beside $5 commits a second.
parts_load() {
	local build=$1 scale=$2 r=$3 summary=$4 rate=$5 length=$6 db=hub$2 cpu builds commits
	local counted="SELECT builds_background FROM summary_cache_stats WHERE summary = '$summary'"
	sql -d "$db" -c "SELECT summary_cache_configure('$summary', 'eager_refresh', 'on')" \
		-c "SELECT length(summary_cache_get('$summary', true)::text)" >/dev/null	# which the next document heeds
	# until there is a worker that has its plans
	pgbench -R "$rate" -T 3 -f "$work/scripts/parts.sql" "$db" >/dev/null 2>&1
	builds=$(sql -d "$db" -c "$counted")
	cpu=$(workers_cpu)
	pgbench -R "$rate" -T "$length" -f "$work/scripts/parts.sql" "$db" >"$work/pgbench.log" 2>&1 ||
		{ cat "$work/pgbench.log" >&2; die "pgbench failed"; }
	sleep 0.5
	cpu=$(($(workers_cpu) - cpu))
	builds=$(($(sql -d "$db" -c "$counted") - builds))
	commits=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/pgbench.log")
	sql -d "$db" -c "SELECT summary_cache_configure('$summary', 'eager_refresh', NULL)" \
		-c "SELECT length(summary_cache_get('$summary', true)::text)" >/dev/null
	[ "$builds" -gt 0 ] || die "no worker has refreshed $summary of $db"
	record parts_load "$build" "$scale" "$r" "$summary" "$rate" "$commits" "$builds" \
		"$(perl -e 'printf "%.4f", $ARGV[0] / 1e6 / $ARGV[1]' "$cpu" "$commits")"
}

bench_parts() {
	local builds=this build scale scales="1 10 50" r times=$((rounds < 5 ? rounds : 5)) passes=5 length=12 summary rate
	if [ -n "$quick" ]; then scales=1; fi
	scales=${parts_scales:-$scales}
	if [ -n "$quick" ]; then times=$((rounds < 3 ? rounds : 3)) passes=3 length=4; fi
	say "" "Parts: builds after a change of one table, beside the queries of the keys that it concerns"
	header parts "build,scale,round,summary,changed,read_ms,build_ms,query_ms"
	header parts_load "build,scale,round,summary,commits_per_s,commits,builds,worker_ms_per_commit"
	if [ -n "$before_tree" ]; then
		builds="this before"
		build_before
	fi
	script parts '\set t random(1, 13)' "SELECT change(name, false) FROM source_tables WHERE n = :t;"
	for build in $builds; do
		# a worker's parallel workers would not be counted
		growth_server "parts-$build" "$([ "$build" = this ] || echo "$work/inst-before")"
		for scale in $scales; do
			need_hub "hub$scale" "$scale"
			parts_hub "hub$scale"
		done
	done
	for scale in $scales; do
		for ((r = 1; r <= times; r++)); do
			# shellcheck disable=SC2086
			for build in $(in_turn $r $builds); do
				use_server "parts-$build"
				parts_times "$build" "$scale" "$r" "$passes"
			done
		done
	done
	perl "$bench/parts.pl" "$csv/parts.csv"

	say "" "Parts: CPU of the workers, refreshing eagerly beside writes to random tables"
	for build in $builds; do
		use_server "parts-$build"
		sql -c "ALTER SYSTEM SET max_parallel_workers_per_gather = 0" -c "ALTER SYSTEM SET summary_cache.worker_idle_timeout = '10min'" \
			-c "SELECT pg_reload_conf()" >/dev/null
	done
	for scale in $scales; do
		for ((r = 1; r <= (times < 2 ? times : 2); r++)); do
			for summary in state attached; do
				for rate in 5 20; do
					# shellcheck disable=SC2086
					for build in $(in_turn $r $builds); do
						use_server "parts-$build"
						parts_load "$build" "$scale" "$r" "$summary" "$rate" "$length"
					done
				done
			done
		done
	done
	for build in $builds; do
		use_server "parts-$build"
		stop_server "parts-$build"
	done
	perl "$bench/parts.pl" "$csv/parts_load.csv"
}
