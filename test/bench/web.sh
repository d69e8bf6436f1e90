# The part of bench.sh about compressed answers: over HTTP by the service of doc/http.md, with its own forms and
# with what one could use instead; and the function itself beside a GET of Redis.  The document is the sample
# hub's at the scale at which it has about 256 KB.  How much smaller a form is depends on the document alone, so
# the forms of another one, of which a quarter is random digits, are counted beside it.
# shellcheck shell=bash disable=SC2154

web_scale=20
web_db=hub$web_scale

# The service under a name: the program, then settings.
web_start() {
	local name=$1 program=$2
	shift 2
	env PGHOST="$PGHOST" PGUSER=postgres PGDATABASE=$web_db PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$top/doc/examples" \
		UNIX_SOCKET="$work/$name.http" POOL_SIZE=4 "$@" /usr/bin/python3 "$program" >"$work/$name.log" 2>&1 &
	peers+=("$!")
	web_pids[$name]=$!
	for ((i = 0; i < 100; i++)); do
		if [ -S "$work/$name.http" ]; then return 0; fi
		sleep 0.1
	done
	cat "$work/$name.log"
	die "service $name does not start"
}

# nginx in front of the service "web-plain", compressing; as this user, in a directory of its own.
web_start_nginx() {
	local nginx
	nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || { skip "nginx (Debian: nginx)"; return 1; }
	mkdir -p "$work/nginx"
	cat >"$work/nginx.conf" <<-CONF
		daemon off; worker_processes 1; pid $work/nginx/pid; error_log $work/nginx/error.log;
		$(am_root && echo 'user root;')
		events { }
		http {
			access_log off; client_body_temp_path $work/nginx/b; proxy_temp_path $work/nginx/p; fastcgi_temp_path $work/nginx/f;
			uwsgi_temp_path $work/nginx/u; scgi_temp_path $work/nginx/s; proxy_buffers 64 16k;
			gzip on; gzip_types application/json; gzip_comp_level 6; gzip_proxied any; gzip_vary on;
			upstream service { server unix:$work/web-plain.http; keepalive 8; }
			server {
				listen unix:$work/web-nginx.http;
				location / { proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; }
			}
		}
	CONF
	"$nginx" -c "$work/nginx.conf" -e "$work/nginx/error.log" >"$work/nginx.log" 2>&1 &
	peers+=("$!")
	web_pids[web-nginx]=$!
	for ((i = 0; i < 50; i++)); do
		if [ -S "$work/web-nginx.http" ]; then return 0; fi
		sleep 0.1
	done
	cat "$work/nginx.log" "$work/nginx/error.log"
	skip "nginx does not start"
	return 1
}

# CPU time so far of processes and their children, in clock ticks.
web_cpu() {
	perl -e 'my %of = map { $_ => 1 } @ARGV; my $ticks = 0;
		for my $file (glob "/proc/[0-9]*/stat") {
			open my $stat, "<", $file or next;
			my ($pid, $parent, @fields) = (<$stat> // "") =~ /^(\d+) .*\) \S (\d+) (.*)/ or next;
			my @rest = split / /, $fields[0];
			$ticks += $rest[9] + $rest[10] if $of{$pid} || $of{$parent};
		}
		print $ticks' "$@"
}

# One run: $1 candidate, $2 its socket, $3 what it accepts, the rest: processes whose CPU counts.
web_run() {
	local candidate=$1 socket=$2 accept=$3 cpu server requests seconds bytes
	shift 3
	cpu=$(web_cpu "$@")
	server=$(web_cpu "${server_pids[@]}")
	read -r requests seconds bytes < <(/usr/bin/python3 "$bench/web_client.py" "$socket" "$accept" "$each" 4)
	cpu=$(($(web_cpu "$@") - cpu))
	server=$(($(web_cpu "${server_pids[@]}") - server))
	record web "$candidate" "$r" "$bytes" "$(perl -e 'printf "%.1f,%.3f,%.3f", $ARGV[0] / $ARGV[1], map { 1000 * $_ / $ARGV[2] / $ARGV[0] } @ARGV[3, 4]' \
		"$requests" "$seconds" "$(getconf CLK_TCK)" "$cpu" "$server")"
}

# Lets the worker of database $1 make all forms, and records what they have.
web_forms() {
	local encoding bytes i
	sql -d "$1" -c "SELECT summary_cache_configure('state', 'encodings', 'gzip, zstd'), summary_cache_get('state', true)" >/dev/null
	for encoding in '' gzip zstd; do
		for ((i = 0; i < 100; i++)); do
			bytes=$(sql -d "$1" -c "SELECT octet_length(body) FROM summary_cache_fetch_encoded('state', '$encoding') WHERE coalesce(encoding, '') = '$encoding'")
			[ -z "$bytes" ] || break
			sleep 0.1
		done
		web_bytes[${encoding:-identity}]=$bytes
		record web_bytes "$2" "${encoding:-identity}" "$bytes"
		say "  $2, ${encoding:-identity}: $bytes bytes"
	done
}

# Requests a second of one client: the function, or a constant of the same bytes, in the binary format; or a key
# of Redis.
web_run_fetch() {
	local candidate=$1 bytes=$2 tps statement
	case $candidate in
		select-1) statement="SELECT 1" ;;
		constant-*) statement="SELECT web_${candidate#*-}()" ;;
		fetch-*) statement="SELECT status, etag, encoding, body FROM summary_cache_fetch_encoded('state', '${candidate#*-}')" ;;
	esac
	case $candidate in
		redis-*) tps=$(taskset -c 0 redis-benchmark -s "$work/redis.sock" -c 1 -n "$((quick ? 5000 : 50000))" --csv GET "$candidate" 2>/dev/null |
			sed -n 's/^"[^"]*","\([0-9.]*\)".*/\1/p' | tail -n 1) ;;
		*) tps=$(as_server taskset -c 0 "$work/web_fetch" "dbname=$web_db" "$statement" "$each") ;;
	esac
	record web_fetch "$candidate" "$r" "$bytes" "$tps"
}

bench_web() {
	local r candidate redis='' nginx='' candidates
	declare -A web_pids web_bytes
	/usr/bin/python3 -c 'import asyncpg, fastapi, uvicorn' 2>/dev/null ||
		{ skip "the service (Debian: python3-asyncpg python3-fastapi python3-uvicorn)"; return; }
	start_main
	say "" "Bytes of the forms"
	header web_bytes "document,encoding,bytes"
	need_database web $((256 * 1024)) 13
	web_forms web digits
	need_hub "$web_db" "$web_scale"
	web_forms "$web_db" hub

	say "" "The hub's document over HTTP: bytes, requests a second with 4 connections; CPU a request (ms) of the service and of what is in front of it, and of the database"
	header web "candidate,round,bytes,requests_per_s,cpu_ms,database_cpu_ms"
	web_start web-ours "$top/doc/examples/state_service.py"
	web_start web-plain "$bench/web_middleware.py"
	web_start web-middleware "$bench/web_middleware.py" GZIP_LEVEL=6
	candidates="plain middleware ours-gzip ours-zstd"
	if web_start_nginx; then nginx=1 candidates="$candidates nginx"; fi
	for ((r = 0; r <= rounds; r++)); do
		# round 0 is the warm-up
		if [ "$r" = 1 ]; then sed -i 1q "$csv/web.csv"; fi
		# shellcheck disable=SC2086
		for candidate in $(in_turn "$r" $candidates); do
			case $candidate in
				plain) web_run plain "$work/web-plain.http" identity "${web_pids[web-plain]}" ;;
				middleware) web_run middleware "$work/web-middleware.http" gzip "${web_pids[web-middleware]}" ;;
				nginx) web_run nginx "$work/web-nginx.http" gzip "${web_pids[web-plain]}" "${web_pids[web-nginx]}" ;;
				ours-*) web_run "$candidate" "$work/web-ours.http" "${candidate#ours-}" "${web_pids[web-ours]}" ;;
			esac
		done
	done
	: "$nginx"
	perl "$bench/web.pl" "$csv/web.csv" middleware

	say "" "The same document without HTTP, one client: bytes, answers a second"
	header web_fetch "candidate,round,bytes,per_s"
	cc -O2 -I"$("$pg_config" --includedir)" "$bench/web_fetch.c" -o "$work/web_fetch" -L"$("$pg_config" --libdir)" -lpq
	chmod 755 "$work/web_fetch"
	place 1
	for candidate in identity gzip; do
		sql -d "$web_db" <<-SQL
			SELECT body AS bytes FROM summary_cache_fetch_encoded('state', '$candidate') \gset
			SELECT format('CREATE FUNCTION web_$candidate() RETURNS bytea IMMUTABLE LANGUAGE sql AS %L', format('SELECT %L::bytea', :'bytes')) \gexec
		SQL
	done
	candidates="select-1 constant-identity constant-gzip fetch-identity fetch-gzip fetch-zstd"
	if start_redis; then
		redis=1
		sql -d "$web_db" -c "SELECT state_summary()" | head -c -1 | redis-cli -s "$work/redis.sock" -x SET redis-plain >/dev/null
		sql -d "$web_db" -c "SELECT state_summary()" | head -c -1 | gzip -6 -n | redis-cli -s "$work/redis.sock" -x SET redis-gzip >/dev/null
		candidates="$candidates redis-plain redis-gzip"
		taskset -apc 0 "$redis_pid" >/dev/null
	fi
	: "$redis"
	for ((r = 0; r <= rounds; r++)); do
		if [ "$r" = 1 ]; then sed -i 1q "$csv/web_fetch.csv"; fi
		# shellcheck disable=SC2086
		for candidate in $(in_turn "$r" $candidates); do
			case $candidate in
				select-1) web_run_fetch "$candidate" 4 ;;
				*-plain) web_run_fetch "$candidate" "${web_bytes[identity]}" ;;
				*) web_run_fetch "$candidate" "${web_bytes[${candidate#*-}]}" ;;
			esac
		done
	done
	perl "$bench/web.pl" "$csv/web_fetch.csv" redis-plain redis-gzip constant-gzip
}
