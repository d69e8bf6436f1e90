# The part of bench.sh about restarts.
# shellcheck shell=bash disable=SC2154

# The herd: all clients connect, and each reads once.  Prints the milliseconds until the first answer, and until
# the last one, since the clients were started; the same of the first and the last read by itself; and what the
# reads were answered with: hits, stale, builds.
read_at_once() {
	local clients=$1 began
	rm -f "$work"/tmp/herd.*
	began=$(date +%s.%N)
	as_server "$bindir/pgbench" -n -c "$clients" -j 2 -t 1 -l --log-prefix="$work/tmp/herd" -f "$work/scripts/restart.sql" hub50 \
		>"$work/pgbench.log" 2>&1 || { cat "$work/pgbench.log" >&2; die "pgbench failed"; }
	cat "$work"/tmp/herd.* | perl -ane '
		push @read, $F[2] / 1e3;
		push @end, ($F[4] + $F[5] / 1e6 - '"$began"') * 1e3;
		END { printf "%.2f,%.2f,%.2f,%.2f,", (map { $_->[0], $_->[-1] } map { [ sort { $a <=> $b } @$_ ] } \@end, \@read) }'
	sql -F , -d hub50 -c "SELECT hits, stale, misses + private FROM summary_cache_stats WHERE summary = 'state'"
}

#
# restart: many clients that wait for the server's start, with documents that were saved and without; beside the
# same clients on a hit
#
bench_restart() {
	local clients=100 scale n r save
	n=$([ -n "$quick" ] && echo 2 || echo "$rounds")
	scale=$([ -n "$quick" ] && echo 5 || echo 50)
	init_server restart "max_connections = 250"
	start_server restart
	use_server restart
	need_hub hub50 "$scale"
	script restart "SELECT state_summary();"
	header restart "round,case,first_ms,last_ms,first_read_ms,last_read_ms,hits,stale,builds"
	say "" "$clients clients on the hub at scale $scale: milliseconds until the first answer and the last one"
	for ((r = 1; r <= n; r++)); do
		for save in $(in_turn $r on off); do
			sql -c "ALTER SYSTEM SET summary_cache.save = $save" >/dev/null
			stop_server restart
			start_server restart
			# what is read here is a hit
			sql -d hub50 -c "SELECT length(state_summary(true)::text)" -c "SELECT length(state_summary()::text)" \
				-c "SELECT summary_cache_reset_stats()" >/dev/null
			if [ "$save" = on ]; then record restart $r hit "$(read_at_once $clients)"; fi
			stop_server restart
			start_server restart
			record restart $r "restart-$save" "$(read_at_once $clients)"
		done
		# with nobody who refreshes while they connect, what is read is stale
		sql -c "ALTER SYSTEM SET summary_cache.save = on" -c "ALTER SYSTEM SET summary_cache.max_workers = 0" >/dev/null
		stop_server restart
		start_server restart
		sql -d hub50 -c "SELECT length(state_summary(true)::text)" -c "SELECT summary_cache_reset_stats()" >/dev/null
		stop_server restart
		start_server restart
		record restart $r "restart-stale" "$(read_at_once $clients)"
		sql -c "ALTER SYSTEM RESET summary_cache.max_workers" >/dev/null
	done
	stop_server restart
	perl -F, -lane '
		next if $. == 1;
		push @{ $first{$F[1]} }, $F[2] and push @{ $read{$F[1]} }, $F[4];
		END {
			for my $case (qw(hit restart-on restart-stale restart-off)) {
				my ($f, $r) = map { my @x = sort { $a <=> $b } @{ $_->{$case} }; $x[$#x / 2] } \%first, \%read;
				printf "  %-13s first answer %8.2f ms, the read itself %8.2f ms\n", $case, $f, $r;
			}
		}' "$csv/restart.csv"
}
