/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *	  Random sequences of all SQL functions, of what writes and changes their
 *	  tables, and of what stops them, in many sessions at once; after each
 *	  round, when all is quiet, checks that nothing is left behind and that no
 *	  document is wrong.
 *
 * usage: fuzz [option ...]
 *	  --conninfo=STRING  libpq's; a superuser, of a server made for this: the
 *	                     database summary_cache_fuzz and the roles fuzz_* are
 *	                     dropped, and settings of the server are changed
 *	  --seconds=N        duration (10)
 *	  --rounds=N         at least so many, however long they take (1)
 *	  --seed=N           of all random choices (1).  Each session's sequence
 *	                     depends on it alone, but for the way out of an error;
 *	                     the interleaving is the machine's own
 *	  --sessions=N       (6)
 *	  --statements=N     of each session, in a round (60)
 *	  --log=FILE         every statement with its session and result
 *	  --schema           create the database with its tables and the extension,
 *	                     for other tools, and leave it
 *
 * What is counted as a violation:
 *
 *	crash      the server, or a session that nobody terminated
 *	internal   an error with SQLSTATE XX000 or the like, or without one
 *	leak       the server warns that something was not released
 *	hang       a statement does not end, not even when it is cancelled
 *	pending    a source is still pending when no transaction is open
 *	lock       a single-flight lock is still held then
 *	wrong      a document is not what summary_cache.enabled = off gives: an
 *	           answer that claims to be current, or a forced one; or what a
 *	           REPEATABLE READ transaction computes itself
 *	error      the cache serves or fails where building fails or serves
 *	stuck      a summary that can be built and proven does not become a hit
 *	refused    a write or a command fails by rights on the extension's schema,
 *	           or as the victim of a deadlock that a worker takes part in
 *
 * The extension is in a schema of its own, on which one of the two roles that
 * write has no USAGE.
 *
 * The document is only compared for summaries whose sections all follow the
 * tables that they read: the generator marks those queries.
 *
 * Exit status: 1 after a violation, 2 for bad usage or a setup that fails.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "common.h"

#define DATABASE	"summary_cache_fuzz"
#define CLOSED		"fuzz_closed"	/* the extension's schema */
#define MAX_SESSIONS 64
#define MAX_STATES	400

/* Whether a section's query is marked: by a key, since its text may be printed anew. */
#define EXACT		"pg_catalog.array_to_string(keys, ' ') ~ 'exact_k'"


typedef enum
{
	CRASH, INTERNAL, LEAK, HANG, PENDING, LOCK, WRONG, ERRORS, STUCK, REFUSED, VIOLATIONS
} Violation;

static const char *const violation_names[VIOLATIONS] =
{"crash", "internal", "leak", "hang", "pending", "lock", "wrong", "error", "stuck", "refused"};

typedef struct
{
	int			number;
	PGconn	   *conn;			/* NULL: not connected */
	uint64_t	random;
	bool		busy;
	bool		compares;		/* a REPEATABLE READ comparison is under way */
	char	   *compared[3];
	int			ncompared;
	int			left;			/* statements to go in this round */
	double		sent;
	int			cancels;
	char		sql[SQL_SIZE];
} Session;

static int	nsessions = 6;

static Session sessions[MAX_SESSIONS];
static PGconn *control;			/* nobody terminates it */
static bool quiet_ddl;			/* this round has nothing that breaks old snapshots */

static uint64_t violations[VIOLATIONS];
static uint64_t statements;
static uint64_t rounds;
static uint64_t compared;		/* documents, with the truth */
static uint64_t compared_hits;
static uint64_t compared_snapshots;
static uint64_t terminated;

static const char *const status_names[] =
{"hit-revision", "progress-section", "stale", "miss", "private"};
static uint64_t statuses[lengthof(status_names)];	/* of the sessions' reads, where told */

static struct
{
	char		state[6];
	uint64_t	n;
}			states[MAX_STATES];
static int	nstates;

/*-------------------------------------------------------------------------
 * Small things
 *-------------------------------------------------------------------------
 */

/* As a literal. */
static const char *
quote(const char *string)
{
	char	   *literal = PQescapeLiteral(control, string, strlen(string));
	const char *result = form("%s", literal ? literal : "NULL");

	PQfreemem(literal);
	return result;
}

__attribute__((format(printf, 2, 3)))
static void
violation(Violation kind, const char *format, ...)
{
	char		text[8192];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (++violations[kind] <= 20)
		printf("VIOLATION %s (seed %llu, round %llu): %s\n", violation_names[kind],
			   (unsigned long long) seed, (unsigned long long) rounds, text);
	log_line(-1, "VIOLATION", "%s: %s", violation_names[kind], text);
	fflush(stdout);
}

static void
count_state(const char *state)
{
	int			i = 0;

	while (i < nstates && strcmp(states[i].state, state) != 0)
		i++;
	if (i == nstates)
	{
		if (nstates == MAX_STATES)
			return;
		snprintf(states[nstates++].state, sizeof(states[0].state), "%s", state);
	}
	states[i].n++;
}

/* A row (status,etag,...) tells how a read was answered. */
static void
count_status(PGresult *result)
{
	const char *value;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) == 0 || PQnfields(result) == 0)
		return;
	value = PQgetvalue(result, 0, PQnfields(result) == 3 ? 1 : 0);
	if (value[0] == '(')
		value++;
	for (int i = 0; i < lengthof(status_names); i++)
	{
		size_t		length = strlen(status_names[i]);

		if (strncmp(value, status_names[i], length) == 0 && (value[length] == ',' || value[length] == 0))
			statuses[i]++;
	}
}

/* Of a result or a notice: what the server says when it forgot to release something. */
static void
notice_received(void *arg, const PGresult *result)
{
	static const char *const bad[] =
	{"leak", "left non-empty", "not closed", "you don't own a lock", "refcount", "detected write past",
		"problem in alloc set", "invalid memory", "still referenced", "unexpected"};
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	Session    *session = arg;

	if (!message || !severity || strcmp(severity, "WARNING") != 0)
		return;
	for (int i = 0; i < lengthof(bad); i++)
		if (strstr(message, bad[i]))
		{
			violation(LEAK, "%s, after %s", message, session ? session->sql : "a check");
			return;
		}
}

/*-------------------------------------------------------------------------
 * The control session
 *-------------------------------------------------------------------------
 */

/* If the server is gone there is nothing more to find. */
PGresult *
ask(const char *sql)
{
	PGresult   *result = PQexec(control, sql);

	if (PQstatus(control) != CONNECTION_OK)
	{
		violation(CRASH, "the server is gone: %s", PQerrorMessage(control));
		for (int i = 0; i < nsessions; i++)
			printf("  session %d%s: %s\n", i, sessions[i].busy ? " (running)" : "", sessions[i].sql);
		printf("  control: %s\n", sql);
		printf("1 violation or more, seed %llu\n", (unsigned long long) seed);
		exit(1);
	}
	return result;
}

/* One value; empty for none. */
__attribute__((format(printf, 1, 2)))
static const char *
ask_value(const char *format, ...)
{
	static char sql[SQL_SIZE];
	PGresult   *result;
	const char *value = "";
	va_list		args;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	result = ask(sql);
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
		value = form("%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

/*-------------------------------------------------------------------------
 * The tables
 *-------------------------------------------------------------------------
 */

static const char *const schema[] = {
	"CREATE SCHEMA IF NOT EXISTS public",
	"CREATE SCHEMA IF NOT EXISTS other",
	"CREATE TABLE IF NOT EXISTS t0 (id int PRIMARY KEY, v int, note text)",
	"CREATE TABLE IF NOT EXISTS t1 (id int PRIMARY KEY, v int, note text)",
	"CREATE TABLE IF NOT EXISTS t2 (id int PRIMARY KEY, v int, note text)",
	"CREATE TABLE IF NOT EXISTS t3 (id int PRIMARY KEY, v int, note text)",
	"CREATE TABLE IF NOT EXISTS other.t0 (id int PRIMARY KEY, v int, note text)",
	"CREATE TABLE IF NOT EXISTS p (id int, v int, note text) PARTITION BY RANGE (id)",
	"CREATE TABLE IF NOT EXISTS p0 PARTITION OF p FOR VALUES FROM (0) TO (50)",
	"CREATE TABLE IF NOT EXISTS p1 PARTITION OF p FOR VALUES FROM (50) TO (100)",
	"CREATE TABLE IF NOT EXISTS pd PARTITION OF p DEFAULT",
	"CREATE TABLE IF NOT EXISTS a0 (id int, v int, note text)",
	"CREATE TABLE IF NOT EXISTS a1 (id int, v int, note text)",
	"CREATE TABLE IF NOT EXISTS i0 () INHERITS (a0)",
	"CREATE TABLE IF NOT EXISTS i00 () INHERITS (i0)",
	"CREATE TABLE IF NOT EXISTS tasks (id int PRIMARY KEY, v int, note text, status text DEFAULT 'open',"
	" updated_at timestamptz DEFAULT now())",
	"CREATE TABLE IF NOT EXISTS progress_events (id int PRIMARY KEY, v int, note text,"
	" created_at timestamptz DEFAULT now())",
	"CREATE VIEW v0 AS SELECT id, v, note FROM t0 WHERE v > 10",
	"CREATE VIEW v1 AS SELECT count(*) AS id, sum(a.v) AS v, max(b.note) AS note FROM t1 a JOIN v0 b USING (id)",
	"CREATE MATERIALIZED VIEW IF NOT EXISTS m0 AS SELECT id, v, note FROM t0",
	"CREATE UNIQUE INDEX IF NOT EXISTS m0_id ON m0 (id)",
	"CREATE SEQUENCE IF NOT EXISTS q0",
	"CREATE FUNCTION f_inline(int) RETURNS SETOF t0 LANGUAGE sql STABLE AS 'SELECT * FROM t0 WHERE id < $1'",
	"CREATE FUNCTION f_fail() RETURNS int LANGUAGE plpgsql STABLE AS $$BEGIN RAISE EXCEPTION 'no %', 1/(random()*0)::int; END$$",
	"CREATE FUNCTION f_write() RETURNS int LANGUAGE plpgsql VOLATILE AS $$BEGIN INSERT INTO t1 VALUES (-1); RETURN 1; END$$",
	"CREATE FUNCTION f_read(text) RETURNS json LANGUAGE plpgsql VOLATILE AS $$BEGIN RETURN summary_cache_get($1); END$$",
	"CREATE FUNCTION f_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM summary_cache_get('s0'); RETURN NEW;"
	" EXCEPTION WHEN others THEN RETURN NEW; END$$",
	"CREATE PROCEDURE pr_commit(text) LANGUAGE plpgsql AS $$DECLARE d json; BEGIN FOR i IN 1..5 LOOP"
	" d := summary_cache_get($1, i = 2); UPDATE t0 SET v = i WHERE id = i; COMMIT; PERFORM length(d::text);"
	" BEGIN d := summary_cache_get($1); EXCEPTION WHEN others THEN NULL; END; ROLLBACK; END LOOP; END$$",
};

/* For a tool that knows no names of summaries. */
static const char *const wrappers[] = {
	"SELECT summary_cache_define('s' || i % 4, 'c' || i, 'SELECT count(*) AS k' || i || ', max(v) AS m' || i || ' FROM t' || i % 4,"
	" NULL, CASE WHEN i < 6 THEN 'background' ELSE 'inline' END) FROM generate_series(0, 11) i",
	"CREATE FUNCTION w_get(int) RETURNS json LANGUAGE sql AS $$SELECT summary_cache_get('s' || abs($1 % 4))$$",
	"CREATE FUNCTION w_force(int) RETURNS json LANGUAGE sql AS $$SELECT summary_cache_get('s' || abs($1 % 4), true)$$",
	"CREATE FUNCTION w_fetch(int, text) RETURNS text LANGUAGE sql AS $$SELECT status FROM summary_cache_fetch('s' || abs($1 % 4), $2)$$",
	"CREATE FUNCTION w_invalidate(int) RETURNS void LANGUAGE sql AS $$SELECT summary_cache_invalidate('s' || abs($1 % 4))$$",
	"CREATE FUNCTION w_define(int, int) RETURNS void LANGUAGE sql AS"
	" $$SELECT summary_cache_define('w' || abs($1 % 3), 'c' || abs($2 % 3), 'SELECT ' || $2 || ' AS k' || abs($2 % 3))$$",
	"CREATE FUNCTION w_drop(int) RETURNS void LANGUAGE sql AS $$SELECT summary_cache_drop('w' || abs($1 % 3))$$",
	"CREATE FUNCTION w_configure(int, text) RETURNS void LANGUAGE sql AS"
	" $$SELECT summary_cache_configure('w' || abs($1 % 3), 'max_stale_age', $2)$$",
	/* in numbers, or they are not found among those of pg_catalog */
	"DO $do$BEGIN FOR i IN 1..150 LOOP"
	" EXECUTE format('CREATE FUNCTION w_status_%s(int) RETURNS text LANGUAGE sql AS"
	" $$SELECT status FROM summary_cache_fetch(''s'' || abs($1 %% 4))$$', i);"
	" EXECUTE format('CREATE FUNCTION w_length_%s(int) RETURNS int LANGUAGE sql AS"
	" $$SELECT length(summary_cache_get(''s'' || abs($1 %% 4))::text)$$', i);"
	" EXECUTE format('CREATE FUNCTION w_forced_%s(int) RETURNS boolean LANGUAGE sql AS"
	" $$SELECT summary_cache_get(''s'' || abs($1 %% 4), $1 %% 3 = 0) IS NOT NULL$$', i);"
	" END LOOP; END$do$",
	"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO fuzz_a",
	"GRANT SELECT ON summary_cache_stats, summary_cache_sections, summary_cache_tables TO fuzz_a",
};

static const char *const tables[] =
{"t0", "t1", "t2", "t3", "t0", "t1", "p", "p0", "p1", "pd", "a0", "a1", "i0", "i00", "i00", "tasks", "progress_events", "other.t0"};

/* What the sessions destroyed is put back, each on its own. */
static void
restore_schema(bool anew)
{
	static const char *const roles[] = {"fuzz_a", "fuzz_b"};

	if (anew)
	{
		attempt("DROP EXTENSION IF EXISTS summary_cache CASCADE");
		attempt("DROP SCHEMA IF EXISTS public, other CASCADE");
	}
	for (int i = 0; i < lengthof(schema); i++)
		attempt(schema[i]);
	for (int i = 0; i < lengthof(tables); i++)
		attempt(form("INSERT INTO %s (id, v, note) SELECT i, i, 'n' || i FROM generate_series(1, %d) i"
					 " ON CONFLICT DO NOTHING", tables[i], anew ? 20 : 2));
	for (int i = 0; i < lengthof(roles); i++)
	{
		attempt(form("GRANT USAGE, CREATE ON SCHEMA public TO %s", roles[i]));
		attempt(form("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON ALL TABLES IN SCHEMA public TO %s", roles[i]));
	}
	attempt("CREATE SCHEMA IF NOT EXISTS " CLOSED);
	attempt("GRANT USAGE ON SCHEMA " CLOSED " TO fuzz_a");
	attempt("CREATE EXTENSION IF NOT EXISTS summary_cache SCHEMA " CLOSED);
	attempt("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA " CLOSED " TO fuzz_a");
}

static void
create_database(void)
{
	PGconn	   *first = connect_to("postgres", NULL, "fuzz control", "");

	if (!first)
		die("cannot connect with \"%s\"", conninfo);
	control = first;
	attempt("DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
	must("CREATE DATABASE " DATABASE);
	for (const char *role = "ab"; *role; role++)
	{
		attempt(form("DROP ROLE IF EXISTS fuzz_%c", *role));
		must(form("CREATE ROLE fuzz_%c LOGIN", *role));
	}
	must("ALTER DATABASE " DATABASE " SET deadlock_timeout = '50ms'");
	must("ALTER DATABASE " DATABASE " SET lock_timeout = '300ms'");
	must("ALTER DATABASE " DATABASE " SET statement_timeout = '10s'");
	must("ALTER DATABASE " DATABASE " SET client_min_messages = 'warning'");
	must("ALTER DATABASE " DATABASE " SET search_path = public, " CLOSED);
	PQfinish(first);
	control = connect_to(DATABASE, NULL, "fuzz control", "-c lock_timeout=5s -c statement_timeout=60s");
	if (!control)
		die("cannot connect to " DATABASE);
	PQsetNoticeReceiver(control, notice_received, NULL);
	restore_schema(true);
	must("SELECT summary_cache_reset_stats()");
}

/*-------------------------------------------------------------------------
 * The generator
 *-------------------------------------------------------------------------
 */

/* A name that means nothing, or that is hard to handle; as an SQL expression. */
static const char *
hostile_text(void)
{
	static const char *const names[] = {
		"NULL", "''", "'all'", "' '", "'S0'", "'s0 '", "'\"s0\"'", "'public.s0'", "'s0|s1'", "'%s%n%d'",
		"E'\\x01'", "E'a\\nb'", "'''; DROP TABLE t0; --'", "'\\'", "repeat('x', 63)", "repeat('x', 64)",
		"repeat('\xc3\xa9', 31)", "repeat('\xc3\xa9', 32)", "repeat('x', 62) || '\xc3\xa9'",
		"repeat('long', 20000)", "'\xf0\x9f\x98\x80'", "'state'", "'core'", "'progress'", "'background'",
		"'inline'", "'max_stale_age'", "'0'", "'-1'", "'1e400'", "'{\"a\": 1}'", "'null'", "'summary_cache'",
		"(SELECT note FROM t0 LIMIT 1)", "current_user::text", "md5(random()::text)", "now()::text",
		"format('s%s', 1)", "'s0'::name::text", "1::text", "chr(1114111)", "'Infinity'", "'\xe2\x80\xae'",
	};

	return PICK(names);
}

static const char *
summary(void)
{
	return percent(82) ? form("'s%d'", below(4)) : percent(40) ? "'state'" : hostile_text();
}

static const char *
section(void)
{
	return percent(85) ? form("'c%d'", below(3)) : hostile_text();
}

static const char *
table(void)
{
	return PICK(tables);
}

static const char *
boolean(void)
{
	static const char *const values[] = {"true", "false", "false", "NULL"};

	return PICK(values);
}

/* A query whose answer depends on nothing but tables that can be followed. */
static const char *
exact_query(int k)
{
	const char *t = table();

	switch (below(17))
	{
		case 0:
			return form("SELECT count(*) AS k%d FROM %s", k, t);
		case 1:
			return form("SELECT (SELECT coalesce(json_agg(x ORDER BY id, v, note), '[]') FROM %s x) AS k%d", t, k);
		case 2:
			return form("SELECT sum(v) AS k%d, max(note) AS m%d FROM %s", k, k, t);
		case 3:
			return form("SELECT count(*) AS k%d FROM %s a JOIN %s b USING (id)", k, t, table());
		case 4:
			return form("SELECT jsonb_object_agg(coalesce(id, 0), v ORDER BY v) AS k%d FROM %s", k, t);
		case 5:
			return form("SELECT array_agg(id ORDER BY id) AS k%d, min(v) FROM v%d", k, below(2));
		case 6:
			return form("SELECT string_agg(note, E'\\n\"\\\\' ORDER BY id, note) AS k%d FROM %s WHERE v > %d", k, t, below(20));
		case 7:
			return form("SELECT count(*) AS k%d, max(v) AS \"M %d\" FROM m0", k, k);
		case 8:
			return form("SELECT repeat('x', %d * (count(*) %% 7)::int) AS k%d FROM %s", 1 + below(60000), k, t);
		case 9:
			return form("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < %d)"
						" SELECT sum(n) + (SELECT count(*) FROM %s) AS k%d FROM r", 1 + below(200), t, k);
		case 10:
			return form("SELECT count(*) AS k%d FROM f_inline(%d)", k, below(30));
		case 11:
			return form("SELECT sum(n) AS k%d FROM (SELECT id AS n FROM %s UNION ALL SELECT v FROM %s) u", k, t, table());
		case 12:
			return form("SELECT %d AS k%d", below(5), k);
		case 13:
			return form("SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM %s y WHERE y.id = x.v)) AS k%d FROM %s x",
						t, k, table());
		case 14:
			return form("SELECT sum(10 / nullif(v %% %d, 0)) AS k%d FROM %s", 1 + below(5), k, t);
		case 15:
			/* may fail, with what is in the table */
			return form("SELECT sum(100 / (v - %d)) AS k%d FROM %s", below(40), k, t);
		default:
			return form("SELECT count(*) AS k%d, bool_or(n > 1) AS b%d FROM (SELECT note, count(*) AS n FROM %s GROUP BY 1) g",
						k, k, t);
	}
}

/* A query that cannot be followed, that is refused, or that fails. */
static const char *
other_query(int k)
{
	static const char *const queries[] = {
		"", ";", "SELECT", "SELECT FROM t0", "SELECT 1;", "SELECT 1 AS a; SELECT 2", "SELEC 1", "SELECT 1 AS a, 2 AS a",
		"SELECT * FROM t0", "SELECT 1 AS k1 WHERE false", "SELECT now() AS k1", "SELECT random() AS k2",
		"SELECT f_fail() AS k1", "SELECT f_write() AS k1", "SELECT f_read('s0') AS k1", "SELECT summary_cache_get('s1') AS k2",
		"SELECT summary_cache_invalidate('s0', 'all') AS k3", "SELECT summary_cache_define('s3', 'c0', 'SELECT 1 AS k0') AS k0",
		"SELECT summary_cache_drop('s0') AS k0", "SELECT nextval('q0') AS k0", "SELECT set_config('search_path', 'other', false) AS k0",
		"SELECT pg_sleep(0.05) AS k0", "SELECT pg_sleep(0.02), count(*) AS k4 FROM t0",
		"SELECT pg_cancel_backend(pg_backend_pid()) AS k0", "SELECT pg_terminate_backend(pg_backend_pid()) AS k0",
		"SELECT pg_advisory_lock(1) AS k0", "SELECT current_setting('summary_cache.enabled') AS k0",
		"SELECT count(*) AS k0 FROM t0 FOR UPDATE", "SELECT id AS k0 FROM t0 ORDER BY id LIMIT 1 FOR UPDATE",
		"INSERT INTO t0 VALUES (1)", "DELETE FROM t1 RETURNING id", "WITH d AS (DELETE FROM t0 RETURNING id) SELECT count(*) AS k0 FROM d",
		"CREATE TABLE x (a int)", "SELECT 1 AS k0 INTO x", "COMMIT", "ROLLBACK", "EXPLAIN SELECT 1", "COPY t0 TO stdout",
		"TABLE t0", "VALUES (1)", "VALUES (1, 2)", "DO $$BEGIN END$$", "CALL pr_commit('s0')", "FETCH ALL FROM c", "EXECUTE p",
		"SHOW all", "SET work_mem = '1MB'", "BEGIN", "LISTEN x", "VACUUM", "PREPARE TRANSACTION 'fuzz_x'", "DISCARD ALL",
		"SELECT count(*) AS k0 FROM pg_class", "SELECT count(*) AS k0 FROM pg_temp.tt", "SELECT count(*) AS k0 FROM information_schema.tables",
		"SELECT count(*) AS k0 FROM summary_cache.definition", "SELECT count(*) AS k0 FROM summary_cache_stats",
		"SELECT count(*) AS k0 FROM summary_cache_sections", "SELECT count(*) AS k0 FROM summary_cache_tables",
		"SELECT count(*) AS k0 FROM summary_cache_fetch('s0')", "SELECT last_value AS k0 FROM q0",
		"SELECT count(*) AS k0 FROM nowhere", "SELECT nothing AS k0 FROM t0", "SELECT 1/0 AS k0", "SELECT 1/(SELECT count(*) - count(*) FROM t0) AS k0",
		"SELECT json '{\"a\":1,\"a\":2}' AS k0", "SELECT '[' || repeat('[', 3000) AS k0", "SELECT 'NaN'::float8 AS k0, 'infinity'::timestamptz AS k5",
		"SELECT NULL AS k0", "SELECT json 'null' AS k0, jsonb '{}' AS k6", "SELECT 12345678901234567890123456789 AS k0", "SELECT xmlparse(content '<a/>') AS k0",
		"SELECT ROW(1, ROW(2, NULL)) AS k0", "SELECT '\\x00ff'::bytea AS k0", "SELECT interval '1 day' AS k0, '1.5'::money AS k7",
		"SELECT array[[1,2],[3,4]] AS k0", "SELECT int4range(1, 5) AS k0, point(1, 2) AS k8", "SELECT t0 AS k0 FROM t0 ORDER BY id LIMIT 1",
		"SELECT 1 AS \"\"\"\", 2 AS \"\\\\\", 3 AS \"a\nb\"", "SELECT 1 AS \"\xf0\x9f\x98\x80\"", "SELECT $1 AS k0", "SELECT 1 AS k0 -- comment",
		"SELECT 1 AS k0 /* open", "SELECT repeat('y', 3000000) AS k0", "SELECT array_agg(i) AS k0 FROM generate_series(1, 50000) i",
		"SELECT count(*) AS k0 FROM generate_series(1, 300000)", "SELECT count(*) AS k0 FROM i0 JOIN p ON true JOIN a0 ON true",
		"SELECT current_user AS k0, session_user AS k1", "SELECT pg_backend_pid() AS k0", "SELECT txid_current() AS k0", "SELECT txid_current_if_assigned() AS k0",
		"SELECT lo_create(0) AS k0", "SELECT pg_notify('x', 'y') AS k0", "SELECT currval('q0') AS k0", "SELECT 'a' COLLATE nowhere AS k0",
		"SELECT dblink('x') AS k0", "SELECT query_to_xml('SELECT * FROM t0', true, true, '') AS k0", "SELECT count(*) AS k0 FROM t0 TABLESAMPLE SYSTEM (50)",
	};

	if (percent(10))
		return form("SELECT %s", exact_query(k));
	if (percent(10))
		return form("%.*s", below(60), exact_query(k));
	return PICK(queries);
}

/* The same, marked as one that is defined with all that it depends on as its sources. */
static const char *
marked_query(int k)
{
	const char *query = exact_query(k);
	const char *key = strstr(query, " AS k");

	return form("%.*s AS exact_%s", (int) (key - query), query, key + strlen(" AS "));
}

static const char *
sources(void)
{
	static const char *const lists[] = {
		"'{}'", "'{t0}'", "'{t1,t2}'", "'{p}'", "'{p0}'", "'{a0}'", "'{i0}'", "'{m0}'", "'{v0}'", "'{q0}'", "'{pg_class}'",
		"'{tt}'", "'{nowhere}'", "'{NULL}'", "'{{t0},{t1}}'", "'{t0,t0,t0}'", "'{0}'", "'{4294967295}'", "'{t0_pkey}'",
		"'{summary_cache.definition}'", "'{summary_cache_tables}'", "'{other.t0}'", "(SELECT array_agg(oid::regclass) FROM pg_class)",
		"(SELECT array_agg(oid::regclass) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)",
		"(SELECT array_agg(reltoastrelid::regclass) FROM pg_class WHERE relname = 't0')", "array_fill('t0'::regclass, array[10000])",
	};

	return PICK(lists);
}

static const char *
define(void)
{
	static const char *const refreshes[] = {"'background'", "'background'", "'inline'", "'inline'", "NULL", "''", "'INLINE'"};
	int			k = below(6);
	bool		exact = percent(70);

	if (exact)
		return form("SELECT summary_cache_define('s%d', 'c%d', %s%s)", below(4), below(3),
					quote(marked_query(k)),
					percent(60) ? "" : form(", NULL, %s", refreshes[below(4)]));
	return form("SELECT summary_cache_define(%s, %s, %s, %s, %s%s)", summary(), section(),
				percent(20) ? hostile_text() : quote(percent(30) ? exact_query(k) : other_query(k)),
				percent(40) ? "NULL" : sources(), PICK(refreshes), percent(50) ? ", false" : "");
}

static const char *
read_call(void)
{
	static const char *const etags[] = {"NULL", "'x'", "''", "repeat('0', 32)", "(summary_cache_fetch('s0')).etag"};

	switch (below(9))
	{
		case 8:
			return form("summary_cache_unchanged(%s, %s)", summary(), PICK(etags));
		case 0:
			return percent(50) ? "state_summary()" : form("state_summary(%s)", boolean());
		case 1:
			return form("summary_cache_get(%s)", summary());
		case 2:
			return form("summary_cache_get(%s, %s)", summary(), boolean());
		case 3:
			return form("summary_cache_fetch(%s, %s, %s)", summary(), PICK(etags), boolean());
		default:
			return form("summary_cache_fetch(%s)", summary());
	}
}

static const char *
call_function(void)
{
	static const char *const options[] = {"'max_stale_age'", "'min_refresh_interval'", "'eager_refresh'"};
	static const char *const values[] =
	{"NULL", "'0'", "'1'", "'5s'", "'-1'", "'300'", "'true'", "'off'", "'100ms'", "'99999999999'", "''", "'1 min'"};
	static const char *const views[] = {"summary_cache_stats", "summary_cache_sections", "summary_cache_tables"};

	switch (below(24))
	{
		case 0:
		case 1:
		case 2:
		case 3:
			return define();
		case 4:
			return form("SELECT summary_cache_drop(%s, %s)", summary(), percent(60) ? section() : "NULL");
		case 5:
		case 6:
			return form("SELECT summary_cache_invalidate(%s, %s)", summary(), percent(50) ? "'all'" : section());
		case 7:
			return form("SELECT summary_cache_configure(%s, %s, %s)", summary(),
						percent(85) ? PICK(options) : hostile_text(), percent(85) ? PICK(values) : hostile_text());
		case 8:
			return form("SELECT summary_cache_attach_state_hub(%s)",
						percent(70) ? "" : percent(50) ? "'public'" : form("(%s)::name", hostile_text()));
		case 9:
			return "SELECT summary_cache_reset_stats()";
		case 10:
		case 11:
			return form("SELECT * FROM %s", PICK(views));
		case 12:
			return "SELECT count(*) FROM summary_cache_stats a, summary_cache_sections b, summary_cache_tables c";
		case 13:
			return percent(50) ? "SELECT summary_cache_touch()" : "SELECT sc_installed()";
		default:
			return form("SELECT %s", read_call());
	}
}

/* A read from an unusual place. */
static const char *
odd_read(void)
{
	switch (below(14))
	{
		case 0:
			return form("DO $$BEGIN PERFORM %s; EXCEPTION WHEN others THEN PERFORM %s; END$$", read_call(), read_call());
		case 1:
			return form("DO $$DECLARE d json; BEGIN FOR i IN 1..20 LOOP d := summary_cache_get('s%d', i %% 5 = 0);"
						" UPDATE %s SET v = i WHERE id = i; END LOOP; END$$", below(4), table());
		case 2:
			return form("CALL pr_commit('s%d')", below(4));
		case 3:
			return form("DECLARE c CURSOR %s FOR SELECT %s FROM generate_series(1, 10)", percent(50) ? "WITH HOLD" : "", read_call());
		case 4:
			return percent(70) ? "FETCH 3 FROM c" : "CLOSE c";
		case 5:
			return form("PREPARE p AS SELECT %s", read_call());
		case 6:
			return percent(70) ? "EXECUTE p" : "DEALLOCATE p";
		case 7:
			return form("SELECT %s FROM %s", read_call(), table());
		case 8:
			return form("INSERT INTO %s (id, note) SELECT 1000 + i, length(summary_cache_get('s%d')::text)"
						" FROM generate_series(1, 3) i ON CONFLICT DO NOTHING", table(), below(4));
		case 9:
			return form("CREATE TABLE IF NOT EXISTS x%d AS SELECT %s AS r", below(3), read_call());
		case 10:
			return form("WITH w AS (UPDATE %s SET v = v + 1 RETURNING id) SELECT %s, count(*) FROM w", table(), read_call());
		case 11:
			return form("COPY (SELECT %s) TO PROGRAM 'cat >/dev/null'", read_call());
		case 12:
			return form("EXPLAIN (ANALYZE, VERBOSE) SELECT %s FROM %s", read_call(), table());
		default:
			return form("SELECT %s UNION ALL SELECT summary_cache_get('s%d')::text FROM (SELECT %s) x",
						"'x'", below(4), read_call());
	}
}

/* Statements that lock several sources, in any order, for a transaction that does other things in between. */
static const char *
several_tables(void)
{
	if (quiet_ddl)
		return form("BEGIN; LOCK TABLE %s IN %s MODE; LOCK TABLE %s IN %s MODE; UPDATE %s SET v = v WHERE false; COMMIT",
					table(), percent(50) ? "ACCESS EXCLUSIVE" : "SHARE", table(), percent(50) ? "ACCESS EXCLUSIVE" : "SHARE", table());
	if (percent(50))
		return form("BEGIN; TRUNCATE %s; TRUNCATE %s; INSERT INTO %s (id, v) VALUES (1, 1) ON CONFLICT DO NOTHING; COMMIT",
					table(), table(), table());
	return form("BEGIN; LOCK TABLE %s; LOCK TABLE %s; COMMIT", table(), table());
}

static const char *
dml(void)
{
	const char *t = table();
	int			id = below(60);

	switch (below(13))
	{
		case 12:
			return several_tables();
		case 0:
		case 1:
			return form("INSERT INTO %s (id, v, note) VALUES (%d, %d, 'x') ON CONFLICT DO NOTHING", t, id, below(50));
		case 2:
		case 3:
		case 4:
			return form("UPDATE %s SET v = v + 1, note = 'u%d' WHERE id %s %d", t, id, percent(80) ? "=" : ">", id);
		case 5:
			return form("DELETE FROM %s WHERE id = %d", t, id);
		case 6:
			return form("WITH d AS (DELETE FROM %s WHERE id = %d RETURNING id)"
						" INSERT INTO %s (id, v) SELECT id, 1 FROM d ON CONFLICT DO NOTHING", t, id, table());
		case 7:
			if (!quiet_ddl && percent(30))
				return form("TRUNCATE %s", t);
			return form("INSERT INTO %s (id, v) SELECT i, i FROM generate_series(%d, %d) i ON CONFLICT DO NOTHING", t, id, id + 20);
		case 8:
			return form("COPY %s (id, v) FROM PROGRAM 'printf \"%d\\t1\\n\"'", t, 100 + below(1000));
		case 9:
			return form("UPDATE p SET id = %d WHERE id = %d", below(100), below(100));
		case 10:
			return form("SELECT * FROM %s WHERE id = %d FOR %s", t, id, percent(50) ? "UPDATE" : "SHARE");
		default:
			return form("MERGE INTO %s USING (VALUES (%d, 1)) s (a, b) ON id = a WHEN MATCHED THEN UPDATE SET v = b"
						" WHEN NOT MATCHED THEN INSERT (id, v) VALUES (a, b)", t, id);
	}
}

static const char *
transaction(Session *session)
{
	static const char *const begins[] = {
		"BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE",
		"BEGIN READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN",
	};

	if (PQtransactionStatus(session->conn) == PQTRANS_IDLE)
	{
		if (percent(25))
			return form("%s PREPARED 'fuzz_%d'", percent(70) ? "COMMIT" : "ROLLBACK", below(nsessions));
		return PICK(begins);
	}
	switch (below(12))
	{
		case 0:
		case 1:
		case 2:
			return "COMMIT";
		case 3:
			return "ROLLBACK";
		case 4:
		case 5:
			return form("SAVEPOINT s%d", below(2));
		case 6:
			return form("ROLLBACK TO s%d", below(2));
		case 7:
			return form("RELEASE s%d", below(2));
		case 8:
		case 9:
		case 10:
			/* a name in use makes it fail when its marks are placed already */
			return form("PREPARE TRANSACTION 'fuzz_%d'", below(2) ? session->number : below(nsessions));
		default:
			return PICK(begins);
	}
}

static const char *
setting(void)
{
	switch (below(22))
	{
		case 0:
			return form("SET %s summary_cache.enabled = %s", percent(50) ? "LOCAL" : "", percent(60) ? "on" : "off");
		case 1:
			return form("SET summary_cache.max_stale_age = %d", percent(70) ? 300 : below(4) - 1);
		case 2:
			return form("SET summary_cache.stale_if_error = %d", below(3) * 100);
		case 3:
			return form("SET summary_cache.read_your_writes = %s", percent(50) ? "on" : "off");
		case 4:
			return form("SET summary_cache.local_memory_limit = %d", percent(50) ? 65536 : below(3) * 64);
		case 5:
			return form("SET summary_cache.build_timeout = %d", percent(70) ? 300000 : below(30));
		case 6:
			return form("SET summary_cache.log_min_build_duration = %d", below(3) - 1);
		case 7:
			return form("SET summary_cache.%s = %s", percent(50) ? "nonsense" : "memory_limit", hostile_text());
		case 8:
			return form("SET session_replication_role = %s", percent(60) ? "origin" : percent(50) ? "local" : "replica");
		case 9:
			return form("SET search_path = %s%s", percent(50) ? "public" : percent(30) ? "pg_temp, public, other" :
						percent(50) ? "other, public" : percent(50) ? "nowhere, public, \"$user\"" : "pg_catalog, public",
						percent(90) ? ", " CLOSED : "");
		case 10:
			return form("SET ROLE %s", percent(70) ? "NONE" : percent(70) ? "fuzz_a" : "fuzz_b");
		case 11:
			return form("SET TimeZone = %s", percent(50) ? "'UTC'" : "'Asia/Kathmandu'");
		case 12:
			return form("SET default_transaction_isolation = '%s'", percent(60) ? "read committed" : percent(60) ? "repeatable read" : "serializable");
		case 13:
			return form("SET synchronous_commit = %s", percent(50) ? "on" : "off");
		case 14:
			return form("SET statement_timeout = %d", percent(50) ? 10000 : 1 + below(30));
		case 15:
			return form("SET lock_timeout = %d", percent(50) ? 300 : 1 + below(50));
		case 16:
			return form("SET default_transaction_read_only = %s", percent(80) ? "off" : "on");
		case 17:
			return form("SET %s", percent(50) ? "DateStyle = 'SQL, DMY'" : percent(50) ? "extra_float_digits = -5" : "IntervalStyle = 'iso_8601'");
		case 18:
			return form("SET %s", percent(50) ? "row_security = off" : percent(50) ? "work_mem = 64" : "plan_cache_mode = force_generic_plan");
		case 19:
			return percent(50) ? "RESET ALL" : percent(50) ? "DISCARD ALL" : "DISCARD PLANS";
		case 20:
			return percent(50) ? "LISTEN summary_cache" : percent(50) ? "NOTIFY summary_cache, 's0'" : "UNLISTEN *";
		default:
			{
				static const char *const server[] = {
					"summary_cache.min_refresh_interval = 0", "summary_cache.min_refresh_interval = '200ms'",
					"summary_cache.eager_refresh = on", "summary_cache.eager_refresh = off", "summary_cache.notify = off",
					"summary_cache.notify = on", "summary_cache.worker_idle_timeout = 0", "summary_cache.worker_idle_timeout = '1s'"
				};

				if (percent(40))
					return "SELECT pg_reload_conf()";
				return form("ALTER SYSTEM SET %s", PICK(server));
			}
	}
}

/* Seen by nobody else. */
static const char *
temporary_ddl(void)
{
	static const char *const commands[] = {
		"CREATE TEMP TABLE IF NOT EXISTS tt (id serial, v int GENERATED ALWAYS AS IDENTITY, note text)",
		"CREATE TEMP TABLE IF NOT EXISTS tl (LIKE t0 INCLUDING ALL)", "CREATE TEMP TABLE IF NOT EXISTS tc AS SELECT * FROM t0",
		"CREATE TEMP TABLE IF NOT EXISTS ti () INHERITS (a0)", "INSERT INTO ti (id, v) VALUES (1, 1)",
		"DROP TABLE IF EXISTS tt, tl CASCADE", "DROP TABLE IF EXISTS ti", "DROP TABLE IF EXISTS tc CASCADE",
		"CREATE OR REPLACE TEMP VIEW tv AS SELECT id, v FROM t0", "CREATE OR REPLACE VIEW tv2 AS SELECT id, v FROM pg_temp.tt",
		"CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION IF EXISTS pg_temp.f()",
		"CREATE OR REPLACE FUNCTION pg_temp.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
		"CREATE OR REPLACE TRIGGER tr BEFORE INSERT ON pg_temp.tt FOR EACH ROW EXECUTE FUNCTION pg_temp.tr()",
		"GRANT SELECT ON pg_temp.tt TO fuzz_a", "ALTER TABLE pg_temp.tt ENABLE ROW LEVEL SECURITY", "CREATE POLICY tp ON pg_temp.tt USING (true)",
		"CREATE RULE tr AS ON DELETE TO pg_temp.tt DO INSTEAD NOTHING", "ALTER TABLE pg_temp.tt ADD more int DEFAULT 1",
		"CREATE TEMP SEQUENCE IF NOT EXISTS tq", "ALTER SEQUENCE pg_temp.tq RESTART", "CREATE TYPE pg_temp.te AS ENUM ('a')", "DROP TYPE IF EXISTS pg_temp.te",
		"TRUNCATE pg_temp.tt, pg_temp.tl", "DISCARD TEMP",
	};

	return PICK(commands);
}

static const char *
ddl(void)
{
	const char *t = table();

	if (percent(25))
		return temporary_ddl();
	switch (quiet_ddl ? 30 + below(6) : below(38))
	{
		case 36:
			/* the middle of a tree */
			return form("ALTER TABLE i0 %s a%d", percent(50) ? "INHERIT" : "NO INHERIT", below(2));
		case 37:
			return form("ALTER TABLE i00 %s i0", percent(50) ? "INHERIT" : "NO INHERIT");
		case 0:
			return form("ALTER TABLE %s ADD COLUMN IF NOT EXISTS extra int DEFAULT %d", t, below(9));
		case 1:
			return form("ALTER TABLE %s DROP COLUMN IF EXISTS %s", t, percent(90) ? "extra" : "v");
		case 2:
			return form("ALTER TABLE %s ALTER COLUMN v TYPE %s", t, percent(60) ? "int" : percent(50) ? "bigint" : "numeric");
		case 3:
			return percent(50) ? form("ALTER TABLE %s RENAME TO t_gone", t) : form("ALTER TABLE t_gone RENAME TO t%d", below(4));
		case 4:
			return percent(60) ? "ALTER TABLE t1 SET SCHEMA other" : "ALTER TABLE other.t1 SET SCHEMA public";
		case 5:
			return form("DROP TABLE IF EXISTS %s %s", t, percent(50) ? "CASCADE" : "");
		case 6:
			return form("ALTER TABLE p DETACH PARTITION p%d %s", below(2), percent(40) ? "CONCURRENTLY" : percent(20) ? "FINALIZE" : "");
		case 7:
			return form("ALTER TABLE p ATTACH PARTITION p%d FOR VALUES FROM (%d) TO (%d)", 0, 0, 50);
		case 8:
			return "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (50) TO (100)";
		case 9:
			return percent(50) ? "ALTER TABLE i0 NO INHERIT a0" : "ALTER TABLE i0 INHERIT a0";
		case 10:
			return form("ALTER TABLE t%d %s a0", below(4), percent(50) ? "INHERIT" : "NO INHERIT");
		case 11:
		case 12:
			return form("ALTER TABLE %s %s TRIGGER %s", t, percent(30) ? "DISABLE" : percent(60) ? "ENABLE" :
						percent(50) ? "ENABLE ALWAYS" : "ENABLE REPLICA",
						percent(40) ? "ALL" : percent(40) ? "USER" : "summary_cache_statement");
		case 13:
			return form("DROP TRIGGER IF EXISTS summary_cache_statement ON %s", t);
		case 14:
			return form("CREATE OR REPLACE TRIGGER %s BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION f_row()",
						percent(90) ? "user_row" : "summary_cache_statement", t);
		case 15:
			return form("CREATE OR REPLACE VIEW v0 AS SELECT id, v, note FROM %s WHERE v > %d", t, below(20));
		case 16:
			return percent(50) ? "DROP VIEW IF EXISTS v0 CASCADE" : "DROP VIEW IF EXISTS v1";
		case 17:
			return form("CREATE OR REPLACE FUNCTION f_inline(int) RETURNS SETOF t0 LANGUAGE sql STABLE AS"
						" 'SELECT * FROM t0 WHERE id %s $1'", percent(50) ? "<" : ">");
		case 18:
			return form("ALTER TABLE %s %s ROW LEVEL SECURITY", t, percent(40) ? "ENABLE" : percent(20) ? "FORCE" : "DISABLE");
		case 19:
			return percent(50) ? form("CREATE POLICY p0 ON %s USING (id %% 2 = 0)", t) : form("DROP POLICY IF EXISTS p0 ON %s", t);
		case 20:
			return form("%s ON %s %s fuzz_%c", percent(50) ? "GRANT SELECT, TRIGGER" : "REVOKE ALL", t, "TO", "ab"[below(2)]);
		case 21:
			return form("REVOKE ALL ON %s FROM fuzz_%c", t, "ab"[below(2)]);
		case 22:
			return form("ALTER TABLE %s OWNER TO %s", t, percent(60) ? "CURRENT_USER" : "fuzz_a");
		case 23:
			return percent(30) ? "DROP EXTENSION summary_cache CASCADE" :
				"CREATE EXTENSION IF NOT EXISTS summary_cache SCHEMA " CLOSED;
		case 24:
			return percent(20) ? "DROP SCHEMA other CASCADE" : "CREATE SCHEMA IF NOT EXISTS other";
		case 25:
			return percent(50) ? "DROP MATERIALIZED VIEW IF EXISTS m0" : form("CREATE MATERIALIZED VIEW IF NOT EXISTS m0 AS SELECT id, v, note FROM %s", t);
		case 26:
			return form("CREATE TEMP TABLE IF NOT EXISTS %s (id int, v int, note text)", percent(50) ? "tt" : form("t%d", below(4)));
		case 27:
			return form("ALTER TABLE %s SET %s", t, percent(50) ? "UNLOGGED" : "LOGGED");
		case 28:
			return form("DELETE FROM summary_cache_%s WHERE summary %s 's0'", percent(50) ? "definition" : "option", percent(50) ? "=" : "<>");
		case 29:
			return schema[below(lengthof(schema))];
		case 30:
			return form("REFRESH MATERIALIZED VIEW %s m0", quiet_ddl || percent(50) ? "CONCURRENTLY" : "");
		case 31:
			return form("CREATE INDEX IF NOT EXISTS %s_v ON %s (v)", strchr(t, '.') ? "o" : t, t);
		case 32:
			return form("%s %s", percent(50) ? "ANALYZE" : "VACUUM", t);
		case 33:
			return form("COMMENT ON TABLE %s IS 'x'", t);
		case 34:
			return form("REINDEX TABLE %s", t);
		default:
			return form("LOCK TABLE %s IN %s MODE", t, percent(40) ? "SHARE" : percent(50) ? "ROW EXCLUSIVE" : "ACCESS EXCLUSIVE");
	}
}

static const char *
interference(void)
{
	bool		terminate = percent(25);

	if (terminate)
		terminated++;
	return form("SELECT pg_%s_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
				" AND application_name <> 'fuzz control' AND pid <> pg_backend_pid() %s ORDER BY random() LIMIT 1",
				terminate ? "terminate" : "cancel", percent(30) ? "AND backend_type <> 'client backend'" : "");
}

/* What only a round without DDL can tell: a transaction's own snapshot still shows all that it should. */
static const char *
snapshot_comparison(void)
{
	int			n = below(4);
	const char *write = percent(50) ? "" :
		form("COPY %s (id, v) FROM PROGRAM 'printf \"%d\\t1\\n\"';", table(), 100 + below(100000));

	return form("BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL summary_cache.enabled = on; SET LOCAL ROLE NONE; %s"
				"SELECT 'exact', bool_and(" EXACT ") FROM summary_cache.definition WHERE summary = 's%d';"
				"SELECT 'cached', status, document FROM summary_cache_fetch('s%d'); SET LOCAL summary_cache.enabled = off;"
				"SELECT 'own', status, document FROM summary_cache_fetch('s%d'); COMMIT", write, n, n, n);
}

static const char *
next_statement(Session *session)
{
	PGTransactionStatusType status = PQtransactionStatus(session->conn);
	int			choice = below(100);

	session->compares = false;
	if (status == PQTRANS_INERROR)
		return percent(60) ? "ROLLBACK" : percent(50) ? form("ROLLBACK TO s%d", below(2)) : percent(50) ? "COMMIT" : call_function();
	if (quiet_ddl && status == PQTRANS_IDLE && percent(8))
	{
		session->compares = true;
		session->ncompared = 0;
		return snapshot_comparison();
	}
	/* every other session is a reader for the most part: hits take reads on their own */
	if (session->number % 2 == 0 && status == PQTRANS_IDLE && percent(60))
		return form("SELECT %s", read_call());
	/* the others write: what they have written is to be committed, too, and not only lost by the next error */
	if (session->number % 2 == 1 && percent(40))
		return status == PQTRANS_IDLE || percent(40) ? dml() : transaction(session);
	if (choice < 36)
		return call_function();
	if (choice < 44)
		return odd_read();
	if (choice < 66)
		return dml();
	if (choice < 84)
		return transaction(session);
	if (choice < 92)
		return ddl();
	if (choice < 97)
		return setting();
	return interference();
}

/*-------------------------------------------------------------------------
 * Running
 *-------------------------------------------------------------------------
 */

static void
session_connect(Session *session)
{
	/* one of those that write has no rights on the extension's schema */
	session->conn = connect_to(DATABASE, NULL, form("fuzz %d", session->number),
							   session->number % 4 == 3 ? "-c role=fuzz_b" : "");
	session->busy = false;
	if (!session->conn)
		return;
	PQsetNoticeReceiver(session->conn, notice_received, session);
	PQsetnonblocking(session->conn, 1);
}

/* Does a statement call a function of the extension? */
static bool
calls_us(const char *sql)
{
	return strstr(sql, "summary_cache") || strstr(sql, "state_summary") || strstr(sql, "pr_commit");
}

static bool
is_installed(void)
{
	PGresult   *result = ask("SELECT FROM pg_extension WHERE extname = 'summary_cache'");
	bool		found = PQntuples(result) > 0;

	PQclear(result);
	return found;
}

/*
 * PostgreSQL's own statements end in an internal error where a catalog row
 * changes under them; the extension's functions look for that beforehand.  But
 * a section's query is such a statement: one that reads a default partition
 * while another is dropped is planned by the constraints of both.
 */
static bool
is_cores_own(const char *sql, const char *message, const char *context)
{
	static const char *const known[] = {
		"tuple concurrently", "cache lookup failed", "could not open relation with OID", "could not find tuple for",
		"could not find trigger", "no relation entry for relid", "missing partition", "could not find pg_",
	};

	if (strstr(message, "cache lookup failed for relation") &&
		((context && strstr(context, "section \"")) || strstr(message, "could not be built")))
		return true;
	/* the row type of its answer, when the extension is dropped after the read */
	if (strstr(sql, "summary_cache_fetch") && !is_installed() &&
		(strstr(message, "could not open relation with OID") || strstr(message, "cache lookup failed for type")))
		return true;
	if (calls_us(sql))
		return false;
	for (int i = 0; i < lengthof(known); i++)
		if (strstr(message, known[i]))
			return true;
	return false;
}

/* Does the detail of a deadlock's error have a process that is a worker? */
static bool
names_worker(const char *detail)
{
	PGresult   *result = ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'");
	bool		found = false;

	for (int i = 0; i < PQntuples(result) && detail; i++)
		found = found || strstr(detail, form("rocess %s ", PQgetvalue(result, i, 0))) ||
			strstr(detail, form("process %s.", PQgetvalue(result, i, 0)));
	PQclear(result);
	return found;
}

/* Returns the SQLSTATE, NULL without an error. */
static const char *
note_error(const char *who, const char *sql, PGresult *result, PGconn *conn)
{
	const char *state;
	const char *message;
	const char *context;

	switch (PQresultStatus(result))
	{
		case PGRES_FATAL_ERROR:
		case PGRES_BAD_RESPONSE:
			break;
		default:
			return NULL;
	}
	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	context = PQresultErrorField(result, PG_DIAG_CONTEXT);
	if (!state)
	{
		/* libpq's own if the connection is gone: told of by the caller */
		if (PQstatus(conn) == CONNECTION_OK && !strstr(PQresultErrorMessage(result), "closed the connection"))
			violation(INTERNAL, "%s: no SQLSTATE: %s, after %s", who, PQresultErrorMessage(result), sql);
		return "?????";
	}
	count_state(state);
	if ((strcmp(state, "42501") == 0 && strstr(message, "schema " CLOSED) && !calls_us(sql)) ||
		(strcmp(state, "40P01") == 0 && names_worker(PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL))))
		violation(REFUSED, "%s: %s, %s, after %s", who, message, PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL), sql);
	if (strncmp(state, "XX", 2) == 0 && !is_cores_own(sql, message, context))
		violation(INTERNAL, "%s: %s: %s (%s:%s)%s%s, after %s", who, state, message,
				  PQresultErrorField(result, PG_DIAG_SOURCE_FILE), PQresultErrorField(result, PG_DIAG_SOURCE_LINE),
				  context ? ", context " : "", context ? context : "", sql);
	return form("%s", state);
}

static void
send_next(Session *session)
{
	if (!session->conn)
		session_connect(session);
	if (!session->conn)
	{
		session->left = 0;
		return;
	}
	dice = &session->random;
	snprintf(session->sql, sizeof(session->sql), "%s", next_statement(session));
	session->left--;
	session->cancels = 0;
	session->sent = now();
	log_line(session->number, "send", "%s", session->sql);
	if (!PQsendQuery(session->conn, session->sql))
	{
		/* it was terminated between two statements */
		PQfinish(session->conn);
		session->conn = NULL;
		return;
	}
	statements++;
	session->busy = true;
}

static void
end_comparison(Session *session)
{
	bool		exact = session->ncompared == 3 && strncmp(session->compared[0], "exact|t", 7) == 0;

	if (exact)
	{
		const char *cached = strchr(session->compared[1], '{');
		const char *own = strchr(session->compared[2], '{');

		compared_snapshots++;
		if (!cached || !own || strcmp(cached, own) != 0)
			violation(WRONG, "REPEATABLE READ: %.1000s differs from %.1000s, after %s",
					  session->compared[1], session->compared[2], session->sql);
	}
	for (int i = 0; i < session->ncompared; i++)
		free(session->compared[i]);
	session->ncompared = 0;
}

/* Take what has arrived. */
static void
receive(Session *session)
{
	PGresult   *result;

	if (!PQconsumeInput(session->conn) && PQstatus(session->conn) == CONNECTION_OK)
		return;
	while (!PQisBusy(session->conn))
	{
		const char *state;

		result = PQgetResult(session->conn);
		if (!result)
		{
			session->busy = false;
			break;
		}
		state = note_error(form("session %d", session->number), session->sql, result, session->conn);
		count_status(result);
		if (state)
			log_line(session->number, state, "%s", PQresultErrorMessage(result));
		else if (session->compares && PQresultStatus(result) == PGRES_TUPLES_OK &&
				 PQntuples(result) == 1 && session->ncompared < 3)
		{
			char	   *text = malloc(PQgetlength(result, 0, PQnfields(result) - 1) + 100);

			if (PQnfields(result) == 3)
				sprintf(text, "%s|%.40s|%s", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
			else
				sprintf(text, "%s|%s", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
			session->compared[session->ncompared++] = text;
		}
		if (PQresultStatus(result) == PGRES_COPY_OUT || PQresultStatus(result) == PGRES_COPY_IN)
			(void) PQputCopyEnd(session->conn, "no data");
		PQclear(result);
		if (PQstatus(session->conn) != CONNECTION_OK)
			break;
	}
	if (PQstatus(session->conn) != CONNECTION_OK)
	{
		/* terminated, or it crashed: that the control session will notice */
		log_line(session->number, "lost", "%s", PQerrorMessage(session->conn));
		PQfinish(session->conn);
		session->conn = NULL;
		session->busy = false;
	}
	if (!session->busy && session->compares)
		end_comparison(session);
}

/* Cancel from outside the statement's own mill, as an impatient client does. */
static void
cancel(Session *session)
{
	cancel_statement(session->conn);
	session->cancels++;
}

static void
report_hang(Session *session)
{
	violation(HANG, "session %d does not end: %s", session->number, session->sql);
	printf("  waits for %s\n", ask_value("SELECT concat_ws(' ', state, wait_event_type, wait_event) FROM pg_stat_activity"
										 " WHERE pid = %d", PQbackendPID(session->conn)));
	must(form("SELECT pg_terminate_backend(%d)", PQbackendPID(session->conn)));
	PQfinish(session->conn);
	session->conn = NULL;
	session->busy = false;
}

/* Until every session has sent its statements and has all results. */
static void
run_round(uint64_t *control_dice)
{
	for (;;)
	{
		struct pollfd fds[MAX_SESSIONS];
		Session    *owner[MAX_SESSIONS];
		int			n = 0;

		for (int i = 0; i < nsessions; i++)
		{
			Session    *session = &sessions[i];

			if (!session->busy && session->left > 0)
				send_next(session);
			if (!session->busy)
				continue;
			(void) PQflush(session->conn);
			owner[n] = session;
			fds[n].fd = PQsocket(session->conn);
			fds[n++].events = POLLIN;
		}
		if (n == 0)
		{
			bool		more = false;

			for (int i = 0; i < nsessions; i++)
				more |= sessions[i].left > 0;
			if (more)
				continue;
			return;
		}
		if (poll(fds, n, 100) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		dice = control_dice;
		for (int i = 0; i < n; i++)
		{
			Session    *session = owner[i];
			double		age = now() - session->sent;

			if (fds[i].revents)
				receive(session);
			else if (age > 120)
				report_hang(session);
			else if (age > 15 + session->cancels * 15 || (session->cancels == 0 && percent(1)))
				cancel(session);
		}
	}
}

/* Transactions end, prepared ones too. */
static void
quiesce(void)
{
	PGresult   *result;

	for (int i = 0; i < nsessions; i++)
	{
		Session    *session = &sessions[i];

		if (!session->conn)
			continue;
		PQsetnonblocking(session->conn, 0);
		snprintf(session->sql, sizeof(session->sql), "%s", percent(70) ? "ROLLBACK" : "COMMIT");
		result = PQexec(session->conn, session->sql);
		(void) note_error("end", session->sql, result, session->conn);
		PQclear(result);
		/* some start anew: with their settings put back, or as new sessions */
		if (percent(40))
			PQclear(PQexec(session->conn, "RESET ALL; RESET ROLE"));
		PQsetnonblocking(session->conn, 1);
		if (PQstatus(session->conn) != CONNECTION_OK || percent(20))
		{
			PQfinish(session->conn);
			session->conn = NULL;
		}
	}
	result = ask("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()");
	for (int i = 0; i < PQntuples(result); i++)
		attempt(form("%s PREPARED %s", percent(60) ? "COMMIT" : "ROLLBACK", quote(PQgetvalue(result, i, 0))));
	PQclear(result);
}

/*-------------------------------------------------------------------------
 * Checks, when all is quiet
 *-------------------------------------------------------------------------
 */

/* Poll until the query gives the value, 10 s at most; the last value. */
static const char *
wait_for(const char *sql, const char *wanted)
{
	double		end = now() + 10;
	const char *value;

	while (strcmp(value = ask_value("%s", sql), wanted) != 0 && now() < end)
		usleep(20000);
	return value;
}

typedef struct
{
	char		status[32];		/* or the error's SQLSTATE */
	bool		failed;
	char	   *document;
} Answer;

static void
fetch(const char *name, bool enabled, bool force, Answer *answer)
{
	PGresult   *result;
	const char *sql = form("SELECT status, document FROM summary_cache_fetch(%s, NULL, %s)", name, force ? "true" : "false");
	const char *state;

	free(answer->document);
	memset(answer, 0, sizeof(*answer));
	must(enabled ? "SET summary_cache.enabled = on" : "SET summary_cache.enabled = off");
	result = ask(sql);
	if ((state = note_error("check", sql, result, control)))
	{
		answer->failed = true;
		snprintf(answer->status, sizeof(answer->status), "%s", state);
		log_line(-1, state, "%s", PQresultErrorMessage(result));
	}
	else
		snprintf(answer->status, sizeof(answer->status), "%s", PQgetvalue(result, 0, 0));
	answer->document = strdup(answer->failed ? "" : PQgetvalue(result, 0, 1));
	PQclear(result);
}

/*
 * Without the cache a reader builds for itself, and what runs code of users only for
 * a member of the owner.
 */
static bool
is_refused(const char *name, const Answer *truth)
{
	return truth->failed && strcmp(truth->status, "55000") == 0 &&
		strcmp(ask_value("SELECT count(*) FROM summary_cache.definition WHERE summary = %s AND owner <> current_user::regrole", name), "0") != 0;
}

static void
compare(const char *name, const char *how, Answer *answer, Answer *truth)
{
	if (is_refused(name, truth))
		return;
	if (truth->failed != answer->failed || (truth->failed && strcmp(truth->status, answer->status) != 0))
		violation(ERRORS, "summary %s, %s: %s, without the cache %s", name, how, answer->status, truth->status);
	else if (!truth->failed)
	{
		compared++;
		if (strcmp(answer->status, "hit-revision") == 0)
			compared_hits++;
		if (strcmp(answer->document, truth->document) != 0)
			violation(WRONG, "summary %s, %s: %s %.1500s, but without the cache %.1500s", name, how,
					  answer->status, answer->document, truth->document);
	}
}

/* Nothing that is known stands in its way. */
static bool
expects_hit(const char *name)
{
	return strcmp(ask_value("SELECT count(*) FROM summary_cache.option WHERE summary = %s AND option = 'max_stale_age'", name), "0") == 0 &&
		strcmp(ask_value("SELECT coalesce(bool_and(t.provable), true) FROM summary_cache.definition d, summary_cache_tables t"
						 " WHERE d.summary = %s AND t.source = ANY (d.sources)", name), "t") == 0 &&
		strcmp(ask_value("SELECT builds_not_cached FROM summary_cache_stats WHERE summary = %s", name), "0") == 0;
}

static bool
becomes_hit(const char *name, Answer *answer, Answer *truth, int limit)
{
	double		end = now() + limit;

	do
	{
		fetch(name, true, false, answer);
		if (strcmp(answer->status, "stale") != 0)
			compare(name, "again", answer, truth);
	} while (strcmp(answer->status, "hit-revision") != 0 && now() < end && usleep(20000) == 0);
	return strcmp(answer->status, "hit-revision") == 0;
}

static void
check_summary(const char *name)
{
	Answer		truth = {.document = NULL};
	Answer		answer = {.document = NULL};

	fetch(name, false, false, &truth);
	fetch(name, true, false, &answer);
	if (strcmp(answer.status, "stale") != 0)
		compare(name, "as it was", &answer, &truth);
	fetch(name, true, true, &answer);
	compare(name, "forced", &answer, &truth);
	if (!truth.failed && strcmp(answer.status, "miss") == 0 && expects_hit(name))
	{
		if (!becomes_hit(name, &answer, &truth, 2))
		{
			/* what a name or a view stands for now may be no source of the section: it is defined anew */
			const char *redefined =
			ask_value("SELECT count(summary_cache_define(summary, section, query, NULL, d.refresh)::text) FROM summary_cache.definition d"
					  " JOIN summary_cache_sections s USING (summary, section) WHERE summary = %s AND state = 'unprovable'", name);

			fetch(name, false, false, &truth);
			if (redefined[0] && !truth.failed && expects_hit(name) && !becomes_hit(name, &answer, &truth, 10))
				violation(STUCK, "summary %s: %s, states %s", name, answer.status,
						  ask_value("SELECT string_agg(section || ': ' || state || ': ' || query, ', ') FROM summary_cache_sections"
									" JOIN summary_cache.definition d USING (summary, section) WHERE summary = %s", name));
		}
	}
	free(truth.document);
	free(answer.document);
}

static void
check(void)
{
	static const char *const pending =
	"SELECT coalesce(string_agg(source::text || ' ' || pending, ', '), 'none') FROM summary_cache_tables WHERE pending <> 0";
	/* a worker may wait in a build, for an advisory lock that a section has left in a session which is idle now */
	static const char *const locks =
	"SELECT count(*) FROM pg_locks l WHERE locktype = 'advisory' AND objsubid = 92 AND NOT EXISTS"
	" (SELECT FROM pg_locks w WHERE w.pid = l.pid AND NOT w.granted AND w.locktype = 'advisory' AND w.objsubid <> 92)";
	PGresult   *result;
	const char *value;

	must("SELECT 1");
	value = wait_for("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
					 " AND backend_type = 'client backend' AND pid <> pg_backend_pid()", "0");
	if (strcmp(value, "0") != 0)
		violation(HANG, "%s sessions are not idle", value);
	attempt("CREATE EXTENSION IF NOT EXISTS summary_cache SCHEMA " CLOSED);
	value = wait_for(pending, "none");
	if (strcmp(value, "none") != 0)
		violation(PENDING, "%s", value[0] ? value : "summary_cache_tables cannot be read");
	value = wait_for(locks, "0");
	if (strcmp(value, "0") != 0)
		violation(LOCK, "%s locks", value);

	result = ask("SELECT quote_literal(summary) FROM summary_cache.definition GROUP BY summary"
				 " HAVING bool_and(" EXACT " OR generated) ORDER BY 1");
	for (int i = 0; i < PQntuples(result); i++)
		check_summary(PQgetvalue(result, i, 0));
	PQclear(result);
	if (strcmp(value = wait_for(locks, "0"), "0") != 0)
		violation(LOCK, "%s locks after the checks", value);
}

static int
compare_states(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int
report(void)
{
	qsort(states, nstates, sizeof(states[0]), compare_states);
	printf("seed %llu\nrounds %llu\nstatements %llu\ncompared %llu\ncompared_hits %llu\ncompared_snapshots %llu\nterminated %llu\n",
		   (unsigned long long) seed, (unsigned long long) rounds, (unsigned long long) statements,
		   (unsigned long long) compared, (unsigned long long) compared_hits,
		   (unsigned long long) compared_snapshots, (unsigned long long) terminated);
	printf("reads by status:");
	for (int i = 0; i < lengthof(status_names); i++)
		printf(" %s %llu", status_names[i], (unsigned long long) statuses[i]);
	printf("\nerrors by SQLSTATE:");
	for (int i = 0; i < nstates; i++)
		printf(" %s %llu", states[i].state, (unsigned long long) states[i].n);
	printf("\n");
	return report_violations(violation_names, violations, VIOLATIONS);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		COMMON_OPTIONS,
		{"sessions", required_argument, NULL, 'n'}, {"schema", no_argument, NULL, 'p'}, {NULL, 0, NULL, 0}
	};
	bool		only_schema = false;
	uint64_t	control_dice;
	double		end;
	int			option;

	nstatements = 60;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'n':
				nsessions = atoi(optarg);
				break;
			case 'p':
				only_schema = true;
				break;
			default:
				if (!common_option(option, optarg))
					die("see the head of fuzz.c for the options");
		}
	if (nsessions < 1 || nsessions > MAX_SESSIONS || nstatements < 1 || optind < argc)
		die("see the head of fuzz.c for the options");

	dice = &control_dice;
	control_dice = seed;
	create_database();
	if (only_schema)
	{
		for (int i = 0; i < lengthof(wrappers); i++)
			must(wrappers[i]);
		return 0;
	}
	for (int i = 0; i < nsessions; i++)
	{
		sessions[i].number = i;
		sessions[i].random = next_random();
	}

	for (end = now() + seconds; now() < end || rounds < (uint64_t) nrounds; rounds++)
	{
		dice = &control_dice;
		quiet_ddl = rounds % 3 == 2;
		if (rounds > 0)
			restore_schema(percent(10));
		/* so that there is something to read and to compare from the beginning */
		for (int i = 0; i < 4; i++)
		{
			const char *sql = define();

			/* to define is to run, and this session has to live */
			if (!strstr(sql, "pg_terminate_backend"))
				attempt(sql);
			attempt(form("SELECT summary_cache_define('s%d', 'c0', %s)", i, quote(marked_query(i))));
		}
		for (int i = 0; i < nsessions; i++)
			sessions[i].left = nstatements;
		log_line(-1, "round", "%llu", (unsigned long long) rounds);
		run_round(&control_dice);
		dice = &control_dice;
		quiesce();
		check();
	}
	return report();
}
