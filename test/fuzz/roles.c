/*-------------------------------------------------------------------------
 *
 * roles.c
 *	  Three roles without rights define summaries, read those of each other,
 *	  and attack: each other, a bystander, the definitions and the superuser.
 *	  The bystander reads and writes all the time.
 *
 * usage: roles [option ...]
 *	  --conninfo=STRING  libpq's; a superuser, of a server made for this: the
 *	                     database summary_cache_roles and the roles roles_* are
 *	                     dropped
 *	  --server-log=FILE  the server's log: functions say there as whom they run
 *	  --seconds=N        duration (10)
 *	  --rounds=N         at least so many, however long they take (1)
 *	  --seed=N           of all random choices (1), as in fuzz.c
 *	  --statements=N     of each session, in a round (40)
 *	  --log=FILE         every statement with its session and result
 *	  --weak=KIND        gives the roles what makes a violation of that kind
 *	                     possible, and ends with the first one.  A kind that is
 *	                     not found then cannot be found at all
 *
 * The roles a and b use whatever the other has: functions, views, domains and
 * triggers of the one run in statements and sections of the other.  c is
 * careful: it names only what is its own, and of others it only reads summaries.
 * So is the bystander.
 *
 * What is counted as a violation:
 *
 *	wrong      an answer to the bystander that is not stale differs from what its
 *	           queries give in the same snapshot
 *	refused    a statement of the bystander fails, or takes longer than a minute:
 *	           a write, a read of its summaries, or one of its own queries
 *	ran        code of a role has run as another one that did not use it: as c,
 *	           as the bystander, as a superuser
 *	seen       a role was sent what only the bystander or a superuser may read,
 *	           as a value or in a message
 *	written    a table of these, or a definition of the bystander, has changed
 *	gained     a role has a right that it did not have
 *	internal   an error with SQLSTATE XX000 or the like
 *	hang       a statement does not end, not even when it is cancelled
 *	crash      the server
 *
 * Exit status: 1 after a violation, 2 for bad usage or a setup that fails.
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define DATABASE	"summary_cache_roles"
#define SECRET		"only-for-the-bystander"	/* in each value that no other role may see */
#define BYSTANDER	(lengthof(users) - 2)	/* its first session */

typedef enum
{
	WRONG, REFUSED, RAN, SEEN, WRITTEN, GAINED, INTERNAL, HANG, CRASH, VIOLATIONS
} Violation;

static const char *const violation_names[VIOLATIONS] =
{"wrong", "refused", "ran", "seen", "written", "gained", "internal", "hang", "crash"};

/* Two sessions of each; the bystander's last one only reads. */
static const char *const users[] = {"a", "a", "b", "b", "c", "c", "bystander", "bystander"};

typedef struct
{
	int			number;
	const char *role;
	PGconn	   *conn;			/* NULL: not connected */
	uint64_t	random;
	bool		busy;
	int			left;			/* statements to go in this round */
	int			cancels;
	double		sent;
	char		sql[SQL_SIZE];
} Session;

static int	weak = -1;			/* a Violation */
static FILE *server_log;
static Session sessions[lengthof(users)];
static PGconn *control;

static uint64_t violations[VIOLATIONS];
static uint64_t statements;
static uint64_t rounds;
static uint64_t compared;		/* answers to the bystander, with the truth */
static uint64_t compared_hits;
static uint64_t written;		/* the bystander's writes */
static uint64_t runs;			/* of the roles' functions, as the server's log has them */
static uint64_t runs_for_others;	/* in the session of another role, or of a worker */
static uint64_t denied;			/* statements that ended in 42501 */

static char *initial_rights;
static char *initial_property;

/*-------------------------------------------------------------------------
 * The control session
 *-------------------------------------------------------------------------
 */

static int	report(void);

__attribute__((format(printf, 2, 3)))
static void
violation(Violation kind, const char *format, ...)
{
	char		text[8192];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (++violations[kind] <= 10)
		printf("VIOLATION %s (seed %llu, round %llu): %s\n", violation_names[kind],
			   (unsigned long long) seed, (unsigned long long) rounds, text);
	log_line(-1, "VIOLATION", "%s: %s", violation_names[kind], text);
	if (kind == CRASH || (int) kind == weak)
		exit(report());
}

PGresult *
ask(const char *sql)
{
	PGresult   *result = PQexec(control, sql);

	if (PQstatus(control) != CONNECTION_OK)
		violation(CRASH, "the server is gone: %s, after %s", PQerrorMessage(control), sql);
	return result;
}

/* One value, allocated. */
static char *
value_of(const char *sql)
{
	PGresult   *result = ask(sql);
	char	   *value;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		die("%s: %s", sql, PQresultErrorMessage(result));
	value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

/*-------------------------------------------------------------------------
 * What is there
 *-------------------------------------------------------------------------
 */

/* As the role $R; each statement on its own. */
static const char *const objects[] = {
	"CREATE TABLE IF NOT EXISTS roles_$R.t (id int PRIMARY KEY, v int, note text)",
	"CREATE TABLE IF NOT EXISTS roles_$R.u (id int, v int, note text)",
	"INSERT INTO roles_$R.t SELECT i, i, 'n' || i FROM generate_series(1, 5) i ON CONFLICT DO NOTHING",

	/*
	 * Whoever this runs as, it says so, and tries what that role may do.  It has
	 * no exception block that a cancel would end in.
	 */
	"CREATE OR REPLACE FUNCTION roles_$R.payload() RETURNS text LANGUAGE plpgsql AS $$DECLARE found text := 'nothing'; BEGIN"
	" RAISE LOG 'roles: code of $R as % for %', current_user, session_user;"
	" BEGIN SELECT secret INTO found FROM vault.canary; EXCEPTION WHEN others THEN NULL; END;"
	" BEGIN SELECT secret INTO found FROM roles_bystander.secret; EXCEPTION WHEN others THEN NULL; END;"
	" BEGIN UPDATE vault.canary SET v = v + 1; EXCEPTION WHEN others THEN NULL; END;"
	" BEGIN DELETE FROM summary_cache.definition WHERE summary = 'by0'; EXCEPTION WHEN others THEN NULL; END;"
	" BEGIN GRANT roles_bystander TO roles_$R; EXCEPTION WHEN others THEN NULL; END;"
	" BEGIN SET LOCAL ROLE roles_bystander; EXCEPTION WHEN others THEN NULL; END;"
	" RETURN found; END$$",
	"CREATE OR REPLACE FUNCTION roles_$R.holds(int) RETURNS boolean LANGUAGE plpgsql AS"
	" $$BEGIN PERFORM roles_$R.payload(); RETURN true; END$$",
	"CREATE OR REPLACE FUNCTION roles_$R.definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT roles_$R.payload()'",
	"CREATE OR REPLACE FUNCTION roles_$R.f(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM roles_$R.t WHERE id > $1'",
	"CREATE OR REPLACE FUNCTION roles_$R.open(int) RETURNS bigint LANGUAGE plpgsql STABLE AS"
	" $$DECLARE n bigint; BEGIN SELECT count(*) INTO n FROM t; RETURN n + f($1); END$$",
	/* it does not end by a cancel, but soon */
	"CREATE OR REPLACE FUNCTION roles_$R.spin() RETURNS int LANGUAGE plpgsql AS"
	" $$DECLARE until timestamptz := clock_timestamp() + '0.4 s'; BEGIN WHILE clock_timestamp() < until LOOP"
	" BEGIN PERFORM pg_sleep(0.05); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; RETURN 1; END$$",
	"CREATE OR REPLACE FUNCTION roles_$R.fires() RETURNS trigger LANGUAGE plpgsql AS"
	" $$BEGIN PERFORM roles_$R.payload(); RETURN NEW; END$$",
	"CREATE OR REPLACE FUNCTION roles_$R.refuses() RETURNS trigger LANGUAGE plpgsql AS"
	" $$BEGIN PERFORM roles_$R.payload(); RAISE EXCEPTION 'refused by $R'; END$$",
	"CREATE DOMAIN roles_$R.d AS int CHECK (roles_$R.holds(VALUE))",
	"CREATE OR REPLACE VIEW roles_$R.w AS SELECT id, v, roles_$R.payload() AS p FROM roles_$R.t",
	"CREATE OR REPLACE VIEW roles_$R.peek AS SELECT secret FROM vault.canary UNION ALL SELECT secret FROM roles_bystander.secret",
	"CREATE OR REPLACE TRIGGER fires AFTER INSERT OR UPDATE ON roles_$R.t FOR EACH ROW EXECUTE FUNCTION roles_$R.fires()",
	"GRANT USAGE ON SCHEMA roles_$R TO PUBLIC",
	"GRANT ALL ON ALL TABLES IN SCHEMA roles_$R TO roles_a, roles_b",
};

/* The bystander's summaries. */
static const char *const by_sections[][4] = {
	{"by0", "c0", "SELECT count(*) AS n, sum(v) AS s, max(note) AS m FROM roles_bystander.t", "background"},
	{"by0", "c1", "SELECT roles_bystander.f(3) AS f, (SELECT jsonb_agg(note ORDER BY id) FROM roles_bystander.t WHERE v % 3 = 0) AS notes", "inline"},
	{"by1", "c0", "SELECT count(*) AS n1, min(v) AS least, max(v) AS most FROM roles_bystander.w", "inline"},
	{"by3", "c0", "SELECT roles_bystander.open(4) AS o, (SELECT count(*) FROM roles_bystander.t) AS n3", "background"},
	{"by2", "c0", "SELECT secret AS s2, (SELECT sum(v) FROM roles_bystander.t) AS s FROM roles_bystander.secret", "background"},
};

static const char *const by_truths[] = {
	"(SELECT to_jsonb(q) FROM (SELECT count(*) AS n, sum(v) AS s, max(note) AS m FROM roles_bystander.t) q) ||"
	" (SELECT to_jsonb(q) FROM (SELECT (SELECT count(*) FROM roles_bystander.t WHERE id > 3) AS f,"
	" (SELECT jsonb_agg(note ORDER BY id) FROM roles_bystander.t WHERE v % 3 = 0) AS notes) q)",
	"(SELECT to_jsonb(q) FROM (SELECT count(*) AS n1, min(v) AS least, max(v) AS most FROM roles_bystander.t WHERE v > 2) q)",
	"(SELECT to_jsonb(q) FROM (SELECT secret AS s2, (SELECT sum(v) FROM roles_bystander.t) AS s FROM roles_bystander.secret) q)",
	"(SELECT to_jsonb(q) FROM (SELECT (SELECT count(*) FROM roles_bystander.t WHERE id > 4) AS o, (SELECT count(*) FROM roles_bystander.t) AS n3) q)",
};

/* A text with each $R replaced. */
static const char *
of_role(const char *text, const char *role)
{
	static char result[SQL_SIZE];
	size_t		n = 0;

	for (; *text; text++)
		if (text[0] == '$' && text[1] == 'R')
		{
			n += (size_t) sprintf(result + n, "%s", role);
			text++;
		}
		else
			result[n++] = *text;
	result[n] = 0;
	return result;
}

/* What one of the three has lost, or given away, is put back. */
static void
restore_role(const char *role, bool anew)
{
	if (anew)
	{
		attempt(form("DROP SCHEMA IF EXISTS roles_%s CASCADE", role));
		attempt(form("ALTER ROLE roles_%s RESET ALL", role));
	}
	attempt(form("CREATE SCHEMA roles_%s", role));
	attempt(form("ALTER SCHEMA roles_%s OWNER TO roles_%s", role, role));
	attempt(form("GRANT USAGE ON SCHEMA cache, vault, roles_bystander TO roles_%s", role));
	attempt(form("GRANT USAGE, CREATE ON SCHEMA shared TO roles_%s", role));
	attempt(form("GRANT SELECT ON roles_bystander.t TO roles_%s", role));
	attempt(form("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cache TO roles_%s", role));
	/* what the definitions have to withstand */
	attempt(form("GRANT USAGE ON SCHEMA summary_cache TO roles_%s", role));
	attempt(form("GRANT ALL ON ALL TABLES IN SCHEMA summary_cache TO roles_%s", role));
	attempt(form("GRANT SELECT ON cache.summary_cache_stats, cache.summary_cache_sections, cache.summary_cache_tables TO roles_%s", role));
	attempt(form("SET SESSION AUTHORIZATION roles_%s", role));
	attempt("SET search_path = pg_catalog");
	for (int i = 0; i < lengthof(objects); i++)
		attempt(of_role(objects[i], role));
	must("RESET SESSION AUTHORIZATION");
}

/* What the roles may do with what is not theirs: one line a right. */
static const char rights_query[] =
"SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM ("
" SELECT format('%s on %s for %s', p, c.oid::regclass, r.rolname) AS line"
" FROM pg_roles r, pg_class c JOIN pg_namespace n ON n.oid = relnamespace,"
" unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p"
" WHERE r.rolname IN ('roles_a', 'roles_b', 'roles_c') AND c.relkind IN ('r', 'v')"
" AND (nspname IN ('vault', 'roles_bystander', 'cache') OR (nspname = 'pg_catalog' AND relname = 'pg_authid'))"
" AND has_table_privilege(r.oid, c.oid, p)"
" UNION ALL SELECT format('%s on schema %s for %s', p, nspname, rolname) FROM pg_roles r, pg_namespace n,"
" unnest('{CREATE,USAGE}'::text[]) p WHERE rolname IN ('roles_a', 'roles_b', 'roles_c')"
" AND nspname IN ('vault', 'roles_bystander', 'cache', 'pg_catalog', 'public') AND has_schema_privilege(r.oid, n.oid, p)"
" UNION ALL SELECT format('CREATE on the database for %s', rolname) FROM pg_roles r"
" WHERE rolname IN ('roles_a', 'roles_b', 'roles_c') AND has_database_privilege(r.oid, current_database(), 'CREATE')"
" UNION ALL SELECT format('%s is a member of %s', member::regrole, roleid::regrole) FROM pg_auth_members"
" UNION ALL SELECT format('attributes of %s: %s', rolname, (rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls))"
" FROM pg_roles WHERE rolname ~ '^roles_'"
" UNION ALL SELECT format('%s owns %s', relowner::regrole, c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
" WHERE nspname IN ('vault', 'roles_bystander', 'cache')"
" UNION ALL SELECT format('%s owns %s', proowner::regrole, p.oid::regprocedure) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
" WHERE nspname IN ('vault', 'roles_bystander', 'cache')"
") x";

static const char property_query[] =
"SELECT concat_ws(E'\\n', (SELECT string_agg(canary::text, ';') FROM vault.canary),"
" (SELECT string_agg(s::text, ';') FROM roles_bystander.secret s),"
" (SELECT string_agg(d::text, E'\\n' ORDER BY d::text) FROM summary_cache.definition d WHERE summary ~ '^by'),"
" (SELECT string_agg(o::text, E'\\n' ORDER BY o::text) FROM summary_cache.option o WHERE summary ~ '^by'),"
" (SELECT string_agg(o::text, E'\\n' ORDER BY o::text) FROM summary_cache.reader o WHERE summary ~ '^by'))";

/*
 * Gives what --weak says; again after each round, since a role can lose it
 * (DROP OWNED by itself takes away what it was granted).
 */
static void
weaken(void)
{
	switch (weak)
	{
		case REFUSED:
			must("GRANT TRIGGER ON roles_bystander.t TO roles_a, roles_b");
			break;
		case RAN:
			must("SET SESSION AUTHORIZATION roles_bystander");
			must("SELECT cache.summary_cache_define('by1', 'c1', 'SELECT roles_a.payload() AS p', run_query => false)");
			must("RESET SESSION AUTHORIZATION");
			break;
		case SEEN:
			must("GRANT SELECT ON roles_bystander.secret TO roles_a");
			break;
		case WRITTEN:
			must("GRANT SELECT, DELETE ON summary_cache.definition TO roles_b");
			must("GRANT SELECT, UPDATE ON vault.canary TO roles_b");
			break;
		case GAINED:
			must("GRANT SELECT ON vault.canary TO roles_a WITH GRANT OPTION");
			break;
	}
}

static void
create_database(void)
{
	static const char *const roles[] = {"a", "b", "c", "bystander"};

	if (!(control = connect_to("postgres", NULL, "roles control", "-c client_min_messages=error")))
		die("cannot connect with \"%s\"", conninfo);
	attempt("DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
	must("CREATE DATABASE " DATABASE);
	for (int i = 0; i < lengthof(roles); i++)
	{
		attempt(form("DROP ROLE IF EXISTS roles_%s", roles[i]));
		must(form("CREATE ROLE roles_%s LOGIN", roles[i]));
	}
	must("ALTER DATABASE " DATABASE " SET deadlock_timeout = '50ms'");
	PQfinish(control);
	if (!(control = connect_to(DATABASE, NULL, "roles control", "-c search_path=pg_catalog -c statement_timeout=120s -c client_min_messages=error")))
		die("cannot connect to " DATABASE);
	must("CREATE SCHEMA cache");
	must("CREATE EXTENSION summary_cache SCHEMA cache");
	must("CREATE SCHEMA shared");
	must("CREATE SCHEMA vault");
	must("CREATE TABLE vault.canary (secret text, v int)");
	must("INSERT INTO vault.canary VALUES ('" SECRET ", the canary', 0)");
	must("GRANT USAGE ON SCHEMA vault TO PUBLIC");
	must("CREATE SCHEMA roles_bystander AUTHORIZATION roles_bystander");
	must("GRANT USAGE ON SCHEMA cache TO roles_bystander");
	must("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cache TO roles_bystander");
	must("SET SESSION AUTHORIZATION roles_bystander");
	must("CREATE TABLE roles_bystander.t (id int PRIMARY KEY, v int, note text)");
	must("INSERT INTO roles_bystander.t SELECT i, i, 'n' || i FROM generate_series(1, 20) i");
	must("CREATE TABLE roles_bystander.secret (secret text)");
	must("INSERT INTO roles_bystander.secret VALUES ('" SECRET ", its secret')");
	must("CREATE FUNCTION roles_bystander.f(int) RETURNS bigint LANGUAGE sql STABLE AS"
		 " 'SELECT count(*) FROM roles_bystander.t WHERE id > $1'");
	must("CREATE VIEW roles_bystander.w AS SELECT * FROM roles_bystander.t WHERE v > 2");
	/* an open section, whose types are found by name, and what reads it for everybody */
	must("CREATE DOMAIN roles_bystander.d AS int");
	must("SET search_path = roles_bystander");
	must("CREATE FUNCTION roles_bystander.open(int) RETURNS int LANGUAGE plpgsql STABLE AS"
		 " $$DECLARE n d; BEGIN SELECT count(*) INTO n FROM roles_bystander.t WHERE id > $1; RETURN n; END$$");
	must("CREATE FUNCTION roles_bystander.read_open() RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS"
		 " $$SELECT cache.summary_cache_get('by3')$$");
	must("SET search_path = roles_bystander");
	for (int i = 0; i < lengthof(by_sections); i++)
		must(form("SELECT cache.summary_cache_define('%s', '%s', $$%s$$, %s, '%s')", by_sections[i][0], by_sections[i][1],
				  by_sections[i][2], weak == WRONG ? "'{}'" : "NULL", by_sections[i][3]));
	must("SET search_path = pg_catalog");
	must("SELECT cache.summary_cache_configure('by2', 'readers', 'roles_bystander')");
	must("RESET SESSION AUTHORIZATION");
	for (int i = 0; i < 3; i++)
		restore_role(roles[i], true);

	weaken();
	initial_rights = value_of(rights_query);
	initial_property = value_of(property_query);
}

/*-------------------------------------------------------------------------
 * The generator
 *-------------------------------------------------------------------------
 */

static const char *
any_role(void)
{
	static const char *const names[] = {"a", "b", "c"};

	return PICK(names);
}

/* Whose objects a role names. */
static const char *
uses(const Session *session)
{
	return session->role[0] == 'c' || percent(60) ? session->role : any_role();
}

static const char *
summary(const Session *session)
{
	if (percent(50))
		return form("'%s%d'", session->role, below(2));
	return percent(60) ? form("'%s%d'", any_role(), below(2)) : percent(80) ? form("'by%d'", below(4)) : "'state'";
}

static const char *
section_query(const Session *session)
{
	const char *s = uses(session);
	int			k = below(4);

	switch (below(20))
	{
		case 0:
		case 1:
			return form("SELECT count(*) AS k%d, max(v) AS m%d FROM roles_%s.t", k, k, s);
		case 2:
		case 3:
			return form("SELECT roles_%s.payload() AS k%d, count(*) AS n%d FROM roles_%s.u", s, k, k, s);
		case 4:
			return form("SELECT jsonb_agg(w ORDER BY id) AS k%d FROM roles_%s.w", k, s);
		case 5:
			return form("SELECT roles_%s.spin() AS k%d", s, k);
		case 6:
			return form("SELECT roles_%s.f(%d) AS k%d", s, below(5), k);
		case 7:
			return form("SELECT max(v::roles_%s.d) AS k%d FROM roles_%s.t", s, k, s);
		case 8:
			return form("SELECT roles_%s.open(1) AS k%d", s, k);
		case 9:
			return form("SELECT string_agg(secret, ',') AS k%d FROM %s", k, percent(50) ? "vault.canary" : "roles_bystander.secret");
		case 10:
			return form("SELECT string_agg(secret, ',') AS k%d FROM roles_%s.peek", k, s);
		case 11:
			return form("SELECT cache.summary_cache_get(%s) AS k%d", summary(session), k);
		case 12:
			return form("SELECT (cache.summary_cache_fetch(%s, NULL, true)).document AS k%d", summary(session), k);
		case 13:
			return form("SELECT current_user AS k%d, session_user AS s%d, roles_%s.definer() AS d%d", k, k, s, k);
		case 14:
			return form("SELECT sum(v) AS k%d FROM roles_bystander.t", k);
		case 15:
			return form("SELECT set_config('%s', 'roles_bystander', %s) AS k%d", percent(50) ? "role" : "session_authorization",
						percent(50) ? "true" : "false", k);
		case 16:
			return form("SELECT query_to_xml('SELECT secret FROM vault.canary', true, true, '') AS k%d", k);
		case 17:
			return form("SELECT string_agg(query, ',') AS k%d FROM pg_stat_activity", k);
		case 18:
			return form("SELECT count(*) AS k%d, f(1) FROM t", k);
		default:
			return form("SELECT query AS k%d FROM summary_cache.definition WHERE summary = 'by2'", k);
	}
}

static const char *
read_call(const Session *session)
{
	switch (below(6))
	{
		case 0:
			return form("SELECT cache.summary_cache_get(%s, true)", summary(session));
		case 1:
			return form("SELECT cache.summary_cache_unchanged(%s, 'x')", summary(session));
		case 2:
			return form("SELECT * FROM cache.summary_cache_fetch(%s, NULL, true)", summary(session));
		case 3:
			return "SELECT cache.state_summary()";
		default:
			return form("SELECT * FROM cache.summary_cache_fetch(%s)", summary(session));
	}
}

static const char *
define(const Session *session)
{
	static const char *const options[][2] = {
		{"readers", "''"}, {"readers", "'roles_a, roles_c'"}, {"readers", "NULL"}, {"readers", "'roles_bystander'"},
		{"readers", "'public'"}, {"max_stale_age", "'0'"}, {"max_stale_age", "NULL"}, {"eager_refresh", "'on'"},
		{"min_refresh_interval", "'0'"}, {"memory_limit", "'0'"},
	};
	const char *const *option = PICK(options);

	switch (below(10))
	{
		case 0:
			return form("SELECT cache.summary_cache_drop(%s, %s)", summary(session), percent(50) ? "NULL" : "'c0'");
		case 1:
			return form("SELECT cache.summary_cache_invalidate(%s, 'all')", summary(session));
		case 2:
		case 3:
			return form("SELECT cache.summary_cache_configure(%s, '%s', %s)", summary(session), option[0], option[1]);
		case 4:
			return form("SELECT cache.summary_cache_attach_state_hub('roles_%s')", session->role);
		default:
			return form("SELECT cache.summary_cache_define(%s, 'c%d', $q$%s$q$, %s, '%s'%s)", summary(session), below(3), section_query(session),
						percent(70) ? "NULL" : percent(50) ? "'{}'" : percent(50) ? form("'{roles_%s.t}'", session->role) : "'{roles_bystander.t}'",
						percent(50) ? "background" : "inline", percent(50) ? ", false" : "");
	}
}

/* Of its own, or of all that it may reach. */
static const char *
ddl(const Session *session)
{
	const char *r = session->role;
	const char *s = uses(session);

	switch (below(18))
	{
		case 0:
			return form("ALTER FUNCTION roles_%s.f(int) RENAME TO g", r);
		case 1:
			return form("ALTER FUNCTION roles_%s.g(int) RENAME TO f", r);
		case 2:
			return form("CREATE OR REPLACE FUNCTION roles_%s.f(int) RETURNS bigint LANGUAGE plpgsql AS"
						" $$BEGIN PERFORM roles_%s.payload(); RETURN %d; END$$", r, s, below(9));
		case 3:
			return form("CREATE OR REPLACE FUNCTION roles_%s.f(int) RETURNS bigint LANGUAGE sql %s AS"
						" 'SELECT sum(v) FROM roles_%s.t WHERE id > $1'", r, percent(50) ? "STABLE" : "SECURITY DEFINER", s);
		case 4:
			return form("DROP FUNCTION IF EXISTS roles_%s.%s CASCADE", r, percent(50) ? "f(int)" : "holds(int)");
		case 5:
			return form("CREATE OR REPLACE VIEW roles_%s.w AS SELECT id, v, roles_%s.%s() AS p FROM roles_%s.%s", r, s,
						percent(50) ? "payload" : "definer", s, percent(50) ? "t" : "u");
		case 6:
			return form("ALTER VIEW IF EXISTS roles_%s.w RENAME TO w2", r);
		case 7:
			return form("ALTER VIEW IF EXISTS roles_%s.w2 RENAME TO w", r);
		case 8:
			return form("ALTER TABLE roles_%s.t RENAME TO t2; ALTER TABLE roles_%s.u RENAME TO t; ALTER TABLE roles_%s.t2 RENAME TO u", r, r, r);
		case 9:
			return form("ALTER DOMAIN roles_%s.d RENAME TO d2; ALTER DOMAIN roles_%s.d2 RENAME TO d", r, r);
		case 10:
			return form("ALTER DOMAIN roles_%s.d ADD CHECK (roles_%s.holds(VALUE))", r, s);
		case 11:
			return form("CREATE OR REPLACE TRIGGER %s BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION roles_%s.%s()",
						percent(80) ? "evil" : "summary_cache_statement",
						percent(40) ? form("roles_%s.t", r) : percent(70) ? "roles_bystander.t" : "summary_cache.definition", r,
						percent(50) ? "fires" : "refuses");
		case 12:
			return form("DROP TRIGGER IF EXISTS evil ON roles_%s.t", r);
		case 13:
			return form("ALTER TABLE roles_%s.t %s ROW LEVEL SECURITY", r, percent(50) ? "ENABLE" : "DISABLE");
		case 14:
			return form("CREATE POLICY p ON roles_%s.t USING (roles_%s.holds(id))", r, s);
		case 15:
			return form("CREATE TABLE roles_%s.progress_events (id int PRIMARY KEY, created_at timestamptz, d roles_%s.d);"
						" CREATE TABLE roles_%s.tasks (id int PRIMARY KEY, updated_at timestamptz, status text DEFAULT roles_%s.payload())", r, s, r, s);
		case 16:
			/* names that others might find before what they mean */
			return form("CREATE OR REPLACE FUNCTION shared.%s LANGUAGE plpgsql AS $$BEGIN PERFORM roles_%s.payload(); RETURN NULL; END$$",
						percent(50) ? "summary_cache_fetch(text) RETURNS json" : percent(50) ? "sum(int) RETURNS bigint" :
						"count(roles_bystander.t) RETURNS bigint", r);
		default:
			return form("CREATE OR REPLACE FUNCTION roles_%s.canon(int, text) RETURNS boolean LANGUAGE plpgsql AS"
						" $$BEGIN PERFORM roles_%s.payload(); RETURN true; END$$;"
						" CREATE OPERATOR roles_%s.= (LEFTARG = int, RIGHTARG = text, FUNCTION = roles_%s.canon)", r, s, r, r);
	}
}

/* c's temporary objects and settings are its own affair, too. */
static const char *
shadow(const Session *session)
{
	const char *r = session->role;
	static const char *const settings[] = {
		"work_mem = 64", "row_security = off", "session_replication_role = replica", "check_function_bodies = off",
		"plpgsql.variable_conflict = use_column", "plpgsql.extra_errors = 'all'", "transform_null_equals = on", "quote_all_identifiers = on",
		"default_transaction_read_only = on", "default_transaction_read_only = off", "default_transaction_isolation = 'serializable'",
		"default_transaction_isolation = 'read committed'", "statement_timeout = '50ms'", "statement_timeout = '2s'", "lock_timeout = '20ms'",
		"idle_in_transaction_session_timeout = '100ms'", "client_min_messages = debug1", "client_min_messages = warning", "debug_print_plan = on",
		"DateStyle = 'SQL, DMY'", "TimeZone = 'Asia/Kathmandu'", "extra_float_digits = -5", "max_stack_depth = '100kB'", "temp_file_limit = 0",
		"summary_cache.enabled = off", "summary_cache.enabled = on", "summary_cache.max_stale_age = 0", "summary_cache.local_memory_limit = 64",
		"summary_cache.build_timeout = 1", "summary_cache.notify = off", "local_preload_libraries = 'x'",
		"restrict_nonsystem_relation_kind = 'view'", "force_parallel_mode = on", "plan_cache_mode = force_generic_plan", "enable_seqscan = off",
	};
	static const char *const paths[] =
	{"pg_temp, shared, cache", "shared, roles_a, roles_b, cache", "roles_b, pg_temp, pg_catalog, cache", "nowhere", "\"$user\", cache"};

	switch (below(12))
	{
		case 0:
			return "CREATE TEMP TABLE IF NOT EXISTS t (id int, v int, note text)";
		case 1:
			return form("CREATE OR REPLACE TEMP VIEW t AS SELECT 1 AS id, roles_%s.payload() AS v", r);
		case 2:
			return form("CREATE OR REPLACE FUNCTION pg_temp.f(int) RETURNS bigint LANGUAGE plpgsql AS"
						" $$BEGIN PERFORM roles_%s.payload(); RETURN 1; END$$", r);
		case 3:
			return form("CREATE DOMAIN pg_temp.jsonb AS text CHECK (roles_%s.holds(1))", r);
		case 4:
			return form("CREATE TEMP TABLE IF NOT EXISTS %s (summary text, section text, query text)",
						percent(50) ? "definition" : percent(50) ? "pg_class" : "canary");
		case 5:
			return "DISCARD ALL";
		case 6:
			return percent(50) ? "LISTEN summary_cache" : "NOTIFY summary_cache, 'by0'";
		case 7:
			if (session->role[0] == 'c')
				return "SET search_path = pg_temp, roles_c, cache";
			return form("%s SET search_path = %s", percent(30) ? form("ALTER ROLE roles_%s", r) : "", PICK(paths));
		case 8:
			return form("ALTER ROLE roles_%s SET %s", r, PICK(settings));
		default:
			return form("SET %s", PICK(settings));
	}
}

/* What has no right to succeed. */
static const char *
attack(const Session *session)
{
	const char *r = session->role;
	static const char *const definitions[] = {"definition", "option", "reader"};
	const char *table = form("summary_cache.%s", PICK(definitions));

	/* a weak variant is to show soon */
	switch (percent(50) && weak == GAINED ? 15 : percent(50) && weak == REFUSED ? 27 : below(30))
	{
		case 27:
			return form("CREATE OR REPLACE TRIGGER evil BEFORE INSERT OR UPDATE ON roles_bystander.t"
						" FOR EACH ROW EXECUTE FUNCTION roles_%s.refuses()", r);
		case 0:
			return form("DELETE FROM %s", table);
		case 1:
			return form("UPDATE summary_cache.definition SET query = 'SELECT roles_%s.payload() AS p' WHERE summary = 'by%d'", r, below(3));
		case 2:
			return form("UPDATE summary_cache.definition SET owner = '%s' WHERE summary ~ '^%s'",
						percent(50) ? "roles_bystander" : "postgres", r);
		case 3:
			return form("INSERT INTO summary_cache.definition SELECT * FROM summary_cache.definition WHERE summary = '%s0'", r);
		case 4:
			return form("TRUNCATE %s", table);
		case 5:
			return form("COPY %s TO STDOUT", table);
		case 6:
			return form("ALTER TABLE %s OWNER TO roles_%s", table, r);
		case 7:
			return form("GRANT ALL ON %s TO roles_%s", table, any_role());
		case 8:
			return form("CREATE RULE evil AS ON INSERT TO %s DO INSTEAD NOTHING", table);
		case 9:
			return form("BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE; COMMIT", percent(50) ? table : "roles_bystander.t");
		case 10:
			return form("SELECT * FROM %s", percent(30) ? "vault.canary" : percent(50) ? "roles_bystander.secret" : form("roles_%s.peek", r));
		case 11:
			return "UPDATE vault.canary SET v = v + 1";
		case 12:
			return form("SET ROLE %s", percent(50) ? "roles_bystander" : percent(50) ? "postgres" : form("roles_%s", any_role()));
		case 13:
			return "SET SESSION AUTHORIZATION roles_bystander";
		case 14:
			return form("GRANT %s TO roles_%s", percent(50) ? "roles_bystander" : percent(50) ? "pg_read_all_data" : form("roles_%s", r), any_role());
		case 15:
			return form("GRANT SELECT ON %s TO roles_%s", percent(70) ? "vault.canary" : "roles_bystander.secret", any_role());
		case 16:
			return form("REASSIGN OWNED BY %s TO %s", percent(50) ? form("roles_%s", r) : "roles_bystander",
						percent(50) ? "roles_bystander" : percent(50) ? "postgres" : form("roles_%s", any_role()));
		case 17:
			return form("DROP OWNED BY roles_%s", percent(50) ? r : "bystander");
		case 18:
			return "ALTER TABLE roles_bystander.t DISABLE TRIGGER ALL";
		case 19:
			return "DROP TRIGGER summary_cache_statement ON roles_bystander.t";
		case 20:
			return "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ~ 'summary_cache' OR usename = 'roles_bystander'";
		case 21:
			return "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type ~ 'summary_cache' OR usename = 'roles_bystander'";
		case 22:
			return percent(50) ? "SELECT cache.summary_cache_reset_stats()" :
				form("SELECT * FROM cache.summary_cache_notices(%s)", summary(session));
		case 23:
			return form("SELECT * FROM cache.summary_cache_%s", percent(50) ? "sections" : percent(50) ? "stats" : "tables");
		case 24:
			return "DROP EXTENSION summary_cache CASCADE";
		case 25:
			return form("ALTER DEFAULT PRIVILEGES FOR ROLE roles_%s GRANT ALL ON TABLES TO PUBLIC", r);
		case 26:
			return form("DO $$BEGIN FOR i IN 1..30 LOOP PERFORM cache.summary_cache_define('%s_' || i, 'c0', 'SELECT ' || i || ' AS k'); END LOOP; END$$", r);
		case 28:
			/* compiled with its own type, then read where nothing can be shared */
			return form("SET search_path = roles_%s, cache; SELECT roles_bystander.open(4); %s SELECT roles_bystander.read_open(); %s", r,
						percent(50) ? "SET summary_cache.enabled = off;" : "SET default_transaction_isolation = 'serializable';",
						percent(50) ? "RESET ALL" : "SELECT 1");
		default:
			return form("REVOKE ALL ON ALL TABLES IN SCHEMA roles_%s FROM roles_%s", r, any_role());
	}
}

static const char *
next_of_role(Session *session)
{
	const char *r = session->role;
	PGTransactionStatusType status = PQtransactionStatus(session->conn);
	int			choice = below(100);

	if (status == PQTRANS_INERROR)
		return percent(80) ? "ROLLBACK" : "COMMIT";
	if (status == PQTRANS_INTRANS && percent(25))
		return percent(70) ? "COMMIT" : percent(70) ? "ROLLBACK" : form("PREPARE TRANSACTION 'roles_%d'", session->number);
	if (choice < 22)
		return define(session);
	if (choice < 46)
		return read_call(session);
	if (choice < 58)
		return form(percent(50) ? "UPDATE roles_%s.%s SET v = v + 1 WHERE id = %d" : "INSERT INTO roles_%s.%s VALUES (%d, 1, 'x') ON CONFLICT DO NOTHING",
					uses(session), percent(70) ? "t" : "u", below(20));
	if (choice < 70)
		return ddl(session);
	if (choice < 80)
		return shadow(session);
	if (choice < 95)
		return attack(session);
	if (choice < 97)
		return "BEGIN";
	return form("SELECT roles_%s.payload()", percent(50) ? r : uses(session));
}

static const char *
next_of_bystander(Session *session)
{
	int			id = below(40);
	int			n = below(lengthof(by_truths));
	const char *write;

	if (PQtransactionStatus(session->conn) != PQTRANS_IDLE)
		return "ROLLBACK";
	switch (below(5))
	{
		case 0:
			write = form("INSERT INTO roles_bystander.t VALUES (%d, %d, 'x%d') ON CONFLICT (id) DO UPDATE SET v = excluded.v", id, below(50), id);
			break;
		case 1:
			write = form("DELETE FROM roles_bystander.t WHERE id = %d", id);
			break;
		case 2:
			write = form("BEGIN; SAVEPOINT s; UPDATE roles_bystander.t SET v = v + 1; %s; UPDATE roles_bystander.t SET note = 'u' WHERE id = %d; COMMIT",
						 percent(50) ? "ROLLBACK TO s" : "RELEASE s", id);
			break;
		default:
			write = form("UPDATE roles_bystander.t SET v = v + 1, note = 'u%d' WHERE id = %d", id, id);
	}
	if (session->number == BYSTANDER && percent(60))
	{
		written++;
		return write;
	}
	return form("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'by%d', f.status, f.document::jsonb, x.truth, f.document::jsonb = x.truth"
				" FROM cache.summary_cache_fetch('by%d') f, (SELECT %s AS truth) x; COMMIT", n, n, by_truths[n]);
}

/*-------------------------------------------------------------------------
 * Running
 *-------------------------------------------------------------------------
 */

/* Statements of PostgreSQL's own end like that where a catalog row changes under them. */
static bool
is_cores_own(const char *message)
{
	return strstr(message, "tuple concurrently") || strstr(message, "cache lookup failed") || strstr(message, "could not open relation");
}

static void
look_at(Session *session, PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorMessage(result);
	bool		bystander = session->number >= BYSTANDER;

	if (state)
	{
		log_line(session->number, state, "%s", message);
		if (strcmp(state, "42501") == 0)
			denied++;
		if (strncmp(state, "XX", 2) == 0 && !is_cores_own(message))
			violation(INTERNAL, "%s: %s, after %s", session->role, message, session->sql);
		if (bystander)
			violation(REFUSED, "%s: %s, after %s", state, message, session->sql);
	}
	if (bystander)
	{
		if (PQnfields(result) == 5 && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 1), "stale") != 0)
		{
			compared++;
			if (strcmp(PQgetvalue(result, 0, 1), "hit-revision") == 0)
				compared_hits++;
			if (weak == RAN && strcmp(PQgetvalue(result, 0, 0), "by1") == 0)
				return;
			if (strcmp(PQgetvalue(result, 0, 4), "t") != 0)
				violation(WRONG, "%s, %s: %.1000s differs from %.1000s", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
						  PQgetvalue(result, 0, 2), PQgetvalue(result, 0, 3));
		}
		return;
	}
	if (strstr(message, SECRET))
		violation(SEEN, "%s: %s, after %s", session->role, message, session->sql);
	for (int row = 0; row < PQntuples(result); row++)
		for (int field = 0; field < PQnfields(result); field++)
			if (strstr(PQgetvalue(result, row, field), SECRET))
				violation(SEEN, "%s: %.1000s, after %s", session->role, PQgetvalue(result, row, field), session->sql);
}

/* A warning or a notice may say too much as well. */
static void
notice_received(void *arg, const PGresult *result)
{
	Session    *session = arg;

	if (session->number < BYSTANDER && strstr(PQresultErrorMessage(result), SECRET))
		violation(SEEN, "%s: %s, after %s", session->role, PQresultErrorMessage(result), session->sql);
}

static void
send_next(Session *session)
{
	const char *sql;

	if (!session->conn)
	{
		session->conn = connect_to(DATABASE, form("roles_%s", session->role), form("roles %d", session->number), "");
		if (!session->conn)
		{
			/* it has set something that keeps it from connecting */
			attempt(form("ALTER ROLE roles_%s RESET ALL", session->role));
			session->left--;
			return;
		}
		PQsetNoticeReceiver(session->conn, notice_received, session);
		PQsetnonblocking(session->conn, 1);
	}
	dice = &session->random;
	sql = session->number >= BYSTANDER ? next_of_bystander(session) : next_of_role(session);
	snprintf(session->sql, sizeof(session->sql), "%s", sql);
	session->left--;
	session->cancels = 0;
	session->sent = now();
	log_line(session->number, "send", "%s", session->sql);
	if (PQsendQuery(session->conn, session->sql))
	{
		statements++;
		session->busy = true;
		return;
	}
	PQfinish(session->conn);
	session->conn = NULL;
}

static void
receive(Session *session)
{
	(void) PQconsumeInput(session->conn);
	while (PQstatus(session->conn) == CONNECTION_OK && !PQisBusy(session->conn))
	{
		PGresult   *result = PQgetResult(session->conn);

		if (!result)
		{
			session->busy = false;
			return;
		}
		look_at(session, result);
		if (PQresultStatus(result) == PGRES_COPY_OUT)
		{
			char	   *line;

			PQsetnonblocking(session->conn, 0);
			while (PQgetCopyData(session->conn, &line, 0) > 0)
			{
				if (strstr(line, SECRET))
					violation(SEEN, "%s: %.1000s, after %s", session->role, line, session->sql);
				PQfreemem(line);
			}
			PQsetnonblocking(session->conn, 1);
		}
		PQclear(result);
	}
	if (PQstatus(session->conn) == CONNECTION_OK)
		return;
	log_line(session->number, "lost", "%s", PQerrorMessage(session->conn));
	if (session->number >= BYSTANDER)
		violation(REFUSED, "its session was ended: %s, after %s", PQerrorMessage(session->conn), session->sql);
	PQfinish(session->conn);
	session->conn = NULL;
	session->busy = false;
}

static void
cancel(Session *session)
{
	cancel_statement(session->conn);
	session->cancels++;
}

/* Nobody may keep the bystander waiting for long; a role, whom it likes for as long as it can be cancelled. */
static void
impatient(Session *session)
{
	double		age = now() - session->sent;

	if (session->number >= BYSTANDER)
	{
		if (age > 60 && session->cancels == 0)
		{
			violation(REFUSED, "it takes longer than a minute: %s", session->sql);
			cancel(session);
		}
	}
	else if (age > 120)
	{
		violation(HANG, "%s: %s", session->role, session->sql);
		must(form("SELECT pg_terminate_backend(%d)", PQbackendPID(session->conn)));
		PQfinish(session->conn);
		session->conn = NULL;
		session->busy = false;
	}
	else if (age > 5 + session->cancels * 15 || (session->cancels == 0 && percent(1)))
		cancel(session);
}

/* Until each role has sent its statements and has all results; the bystander goes on for as long. */
static void
run_round(uint64_t *control_dice)
{
	for (bool more = true; more;)
	{
		struct pollfd fds[lengthof(users)];
		Session    *owner[lengthof(users)];
		int			n = 0;

		more = false;
		for (int i = 0; i < BYSTANDER; i++)
			more |= sessions[i].busy || sessions[i].left > 0;
		for (int i = BYSTANDER; i < lengthof(users); i++)
			sessions[i].left = more;
		for (int i = 0; i < lengthof(users); i++)
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
			more = true;
		}
		if (poll(fds, n, 100) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		dice = control_dice;
		for (int i = 0; i < n; i++)
			if (fds[i].revents)
				receive(owner[i]);
			else
				impatient(owner[i]);
	}
}

/*-------------------------------------------------------------------------
 * Checks
 *-------------------------------------------------------------------------
 */

/* As whom the code of each role has run. */
static void
check_log(void)
{
	char		line[8192];

	clearerr(server_log);
	while (fgets(line, sizeof(line), server_log))
	{
		char		code[16];
		char		as[70];
		char		whom[70];
		const char *found = strstr(line, "roles: code of ");

		if (!found || sscanf(found, "roles: code of %15s as %69s for %69s", code, as, whom) != 3 || !isalpha((unsigned char) as[0]))
			continue;
		runs++;
		if (strcmp(as, whom) != 0)
			runs_for_others++;
		/* a and b use whatever there is */
		if (strcmp(as, "roles_a") != 0 && strcmp(as, "roles_b") != 0 && strcmp(as, form("roles_%s", code)) != 0)
			violation(RAN, "code of %s has run as %s, in a session of %s", code, as, whom);
	}
}

static bool
has_line(const char *lines, const char *line)
{
	size_t		length = strlen(line);

	for (const char *at = lines; (at = strstr(at, line)); at++)
		if ((at == lines || at[-1] == '\n') && (at[length] == '\n' || !at[length]))
			return true;
	return false;
}

/* What lines has and others has not. */
static void
complain_of_more(Violation kind, const char *what, const char *lines, const char *others)
{
	char	   *copy = strdup(lines);

	for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n"))
		if (!has_line(others, line))
			violation(kind, "%s: %.1000s", what, line);
	free(copy);
}

static void
check(void)
{
	char	   *rights = value_of(rights_query);
	char	   *property = value_of(property_query);

	complain_of_more(GAINED, "there is", rights, initial_rights);
	complain_of_more(WRITTEN, "there is", property, initial_property);
	complain_of_more(WRITTEN, "there is no longer", initial_property, property);
	free(rights);
	free(property);
	check_log();
}

/* Transactions end; now and then an administrator puts something in order. */
static void
quiesce(void)
{
	PGresult   *result;

	for (int i = 0; i < lengthof(users); i++)
	{
		Session    *session = &sessions[i];

		if (!session->conn || i >= BYSTANDER)
			continue;
		PQsetnonblocking(session->conn, 0);
		PQclear(PQexec(session->conn, "ROLLBACK"));
		PQsetnonblocking(session->conn, 1);
		if (PQstatus(session->conn) != CONNECTION_OK || percent(40))
		{
			PQfinish(session->conn);
			session->conn = NULL;
		}
	}
	result = ask("SELECT gid, owner FROM pg_prepared_xacts WHERE database = current_database()");
	for (int i = 0; i < PQntuples(result); i++)
		attempt(form("%s PREPARED '%s'", percent(60) ? "COMMIT" : "ROLLBACK", PQgetvalue(result, i, 0)));
	PQclear(result);
	if (percent(15))
		attempt(percent(50) ? "REASSIGN OWNED BY roles_a TO roles_b" : "REASSIGN OWNED BY roles_b TO roles_a");
	if (percent(15))
		attempt(form("DROP OWNED BY roles_%s", any_role()));
	for (const char *role = "abc"; *role; role++)
		restore_role(form("%c", *role), percent(20));
	weaken();
}

static int
report(void)
{
	printf("seed %llu\nrounds %llu\nstatements %llu\ndenied %llu\ncompared %llu\ncompared_hits %llu\nwritten %llu\nruns %llu\n"
		   "runs_for_others %llu\n",
		   (unsigned long long) seed, (unsigned long long) rounds, (unsigned long long) statements, (unsigned long long) denied,
		   (unsigned long long) compared, (unsigned long long) compared_hits, (unsigned long long) written,
		   (unsigned long long) runs, (unsigned long long) runs_for_others);
	return report_violations(violation_names, violations, VIOLATIONS);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		COMMON_OPTIONS,
		{"server-log", required_argument, NULL, 'o'}, {"weak", required_argument, NULL, 'w'}, {NULL, 0, NULL, 0}
	};
	uint64_t	control_dice;
	double		end;
	int			option;

	nstatements = 40;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'o':
				if (!(server_log = fopen(optarg, "r")) || fseek(server_log, 0, SEEK_END) != 0)
					die("%s: %s", optarg, strerror(errno));
				break;
			case 'w':
				for (weak = 0; weak < VIOLATIONS && strcmp(optarg, violation_names[weak]) != 0;)
					weak++;
				if (weak > GAINED)
					die("there is no such weak variant: %s", optarg);
				break;
			default:
				if (!common_option(option, optarg))
					die("see the head of roles.c for the options");
		}
	if (!server_log || nstatements < 1 || optind < argc)
		die("see the head of roles.c for the options");

	dice = &control_dice;
	control_dice = seed;
	create_database();
	for (int i = 0; i < lengthof(users); i++)
	{
		sessions[i].number = i;
		sessions[i].role = users[i];
		sessions[i].random = next_random();
	}
	for (end = now() + seconds; now() < end || rounds < (uint64_t) nrounds; rounds++)
	{
		for (int i = 0; i < BYSTANDER; i++)
			sessions[i].left = nstatements;
		log_line(-1, "round", "%llu", (unsigned long long) rounds);
		run_round(&control_dice);
		dice = &control_dice;
		quiesce();
		check();
	}
	return report();
}
