/*-------------------------------------------------------------------------
 *
 * soak.c
 *	  Refreshes without readers, for long, while what carries them out is
 *	  killed and summaries do their worst.
 *
 * usage: soak [option ...]
 *	  --conninfo=STRING  libpq's; a superuser, of a server made for this
 *	                     (test/soak.sh): the databases soak_* are created, its
 *	                     settings are changed, its processes killed
 *	  --seconds=N        duration (60), without the setup and the last checks
 *	  --seed=N           of all random choices (1)
 *	  --bound=N          seconds in which a commit must be followed (30)
 *	  --beside=N         ms in which 99 of 100 commits must be followed that have
 *	                     nothing but hostile summaries beside them (1000)
 *
 * Each database has a bystander, which is cheap, and summaries that are
 * hostile: see hostile_names.  Two processes a database write: one commits to
 * the bystander's table and waits until its summary is current again, without
 * reading it; the other one makes the hostile ones fail, and heals them.  One
 * more process disturbs: see the table of disturbances.
 *
 * In the last two fifths of the time launcher and workers are left alone, and
 * only one database is busy, so that no other one wants the place of its workers:
 * they live long enough for their memory to be measured, and so does a client
 * that reads and writes all the time.  Disturbances of the other sessions come in
 * spells; commits between these are a series of their own.
 *
 * What is counted as a violation:
 *
 *	late      a commit on a bystander's table was not followed within the bound,
 *	          not counting the time in which no worker could be had, or a
 *	          statement took that long; or, of commits beside hostile summaries
 *	          only, with a worker's place free, more than one of 100 took longer
 *	          than --beside
 *	wrong     a bystander's document claims to be current and is not
 *	refused   a command failed by an error that no disturbance gives, or a
 *	          database could not be copied, renamed or dropped
 *	stuck     after the end something that can be built is not current, a
 *	          hostile summary does not show its failure, or a request waits
 *	left      after the end an advisory lock is held, a table has no slot, or there
 *	          is room for fewer documents than at the beginning
 *	grown     the private memory of the launcher, of a worker or of a client
 *
 * Exit status: 1 after a violation, 2 for bad usage or a setup that fails.
 *
 *-------------------------------------------------------------------------
 */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define DATABASES	6
#define LONG_LIVED	1			/* databases that are busy while memory is measured */
#define DEAF_EVERY	3			/* each such one has a deaf summary: each try of one
								 * takes a worker for more than 2 s */
#define LAST		3			/* databases of the last checks: all that is in them
								 * has an entry */
#define ROOM		60000		/* bytes of each of the documents that fill the 2 MB */
#define MAX_ROOM	40			/* so many sections there may be */
#define MAX_TIMES	200000

/* Documents of that size that need not fit any more.  Small ones have had pieces
 * of 64 kB, of which the area keeps one for each size that there was; what is
 * free lies between these, and ends of it remain. */
#define KEPT_ROOM	5

/* A spell of disturbances, and the rest between two, ms. */
#define SPELL		6000
#define NO_SPELL	4000

/* So long a disturbance may be felt after its end, us. */
#define FELT		1500000
#define MAX_PROCESSES 4096
#define SQL_SIZE	4096

/* What the private memory of a process may grow by after its warm-up, in kB. */
#define MAY_GROW	1024

#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))

typedef enum
{
	LATE, WRONG, REFUSED, STUCK, LEFT, GROWN, VIOLATIONS
} Violation;

static const char *const violation_names[VIOLATIONS] =
{"late", "wrong", "refused", "stuck", "left", "grown"};

typedef enum
{
	STORM, CALM, OVER
} Phase;

/*
 * The hostile summaries.  Each reads its table, whose n is 0 while the summary is
 * to behave.
 */
static const struct
{
	const char *name;
	const char *query;
	int			bad;			/* the n that makes it fail */
	const char *shown;			/* what then shows in summary_cache_stats */
}			hostile[] =
{
	{"fails", "SELECT 1 / (1 - n) AS n FROM fails", 1, "last_error_sqlstate = '22012'"},
	{"times", "SELECT n, pg_sleep(n)::text AS slept FROM times", 100, "last_error_sqlstate = '57014'"},
	{"deaf", "SELECT deaf(n) AS n FROM deaf", 6, "last_error LIKE '%so its worker was terminated'"},
	{"large", "SELECT n, repeat('x', n) AS text FROM large", 2200000, "builds_not_cached > 0"},
	{"advisory", "SELECT n, pg_advisory_lock(43)::text AS locked FROM advisory", 1, NULL},
	{"locked", "SELECT n FROM locked", 1, NULL},
	{"busy", "SELECT n FROM busy", 1, NULL},
	{"filler", "SELECT n, repeat('x', 250000) AS text FROM filler", 1, NULL}
};

typedef enum
{
	FAILS, TIMES, DEAF, LARGE, ADVISORY, LOCKED, BUSY, FILLER
} Hostile;

/* What is done to the server, and how often in proportion. */
typedef enum
{
	TERM_LAUNCHER, TERM_WORKER, TERM_BACKEND, CANCEL, KILL, PLACES, CLOSED, RENAMED, COPIED, RELOAD, DISTURBANCES
} Disturbance;

static const struct
{
	const char *name;
	int			weight;
	bool		calm;			/* also while memory is measured */
}			disturbances[DISTURBANCES] =
{
	[TERM_LAUNCHER] = {"launcher terminated", 8, false},
	[TERM_WORKER] = {"worker terminated", 20, false},
	[TERM_BACKEND] = {"backend terminated", 16, true},
	[CANCEL] = {"canceled", 10, true},
	[KILL] = {"killed", 1, false},
	[PLACES] = {"places taken", 4, false},
	[CLOSED] = {"closed", 4, false},
	[RENAMED] = {"renamed", 2, false},
	[COPIED] = {"copied", 3, false},
	[RELOAD] = {"reloaded", 8, true}
};

/* From commits to what follows from them. */
typedef struct
{
	atomic_int	n;
	atomic_uint us[MAX_TIMES];
} Times;

/* What was going on beside a commit. */
typedef enum
{
	BESIDE_HOSTILE,				/* hostile summaries of the same database, and a
								 * worker's place is free */
	BESIDE_MANY,				/* those of many databases, which take turns */
	BESIDE_DISTURBANCES,
	SERIES
} Series;

static const char *const series_names[SERIES] =
{"hostile summaries", "those of all databases", "disturbances"};

/* What all processes share. */
typedef struct
{
	atomic_int	phase;
	atomic_long violations[VIOLATIONS];
	atomic_long done[DISTURBANCES];
	atomic_long commits;		/* on bystanders' tables */
	atomic_long empty;			/* of these: the document was given up */
	atomic_long hostile_commits;
	Times		times[SERIES];
	atomic_long longest_statement;	/* us */

	/*
	 * When the last disturbance was over, INT64_MAX / 2 while one goes on; and
	 * since when only one database is busy.
	 */
	atomic_llong disturbed;
	atomic_llong alone_since;

	/*
	 * When the last disturbance ended that keeps all workers from a database;
	 * INT64_MAX while it goes on.  The last element: from all databases.
	 */
	atomic_llong blocked[DATABASES + 1];
} Shared;

typedef struct
{
	char		db[64];
	PGconn	   *conn;
} Session;

static Shared *shared;
static const char *conninfo = "";

/* In a run of this many seconds each kind of process lives long enough to see whether it grows. */
#define LONG_RUN	60

static int	seconds = 60;
static uint64_t seed = 1;
static int	bound = 30;
static int	beside = 1000;
static uint64_t random_state;

/*-------------------------------------------------------------------------
 * Small things
 *-------------------------------------------------------------------------
 */

/* Monotonic us. */
static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void
rest(long us)
{
	struct timespec time = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&time, NULL);
}

/* splitmix64 */
static uint64_t
next_random(void)
{
	uint64_t	z = (random_state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static int
below(int n)
{
	return (int) (next_random() % (uint64_t) n);
}

static void
violation(Violation kind, const char *format,...)
{
	va_list		args;
	char		text[SQL_SIZE];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text[strcspn(text, "\n")] = '\0';
	/* one of a kind can be many */
	if (atomic_fetch_add(&shared->violations[kind], 1) < 10)
	{
		printf("%s: %s\n", violation_names[kind], text);
		fflush(stdout);
	}
}

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "soak: %s: %s\n", what, why);
	exit(2);
}

/*-------------------------------------------------------------------------
 * Sessions, which may be killed at any time
 *-------------------------------------------------------------------------
 */

/* What a killed session says is no news. */
static void
ignore_notice(void *unused, const PGresult *result)
{
}

static PGconn *
connect_to(const char *db)
{
	char		info[SQL_SIZE];
	PGconn	   *conn;

	snprintf(info, sizeof(info), "%s dbname=%s connect_timeout=10 application_name=soak"
			 " options='-c client_min_messages=error -c statement_timeout=%ds'", conninfo, db, bound);
	conn = PQconnectdb(info);
	if (PQstatus(conn) == CONNECTION_OK)
	{
		(void) PQsetNoticeReceiver(conn, ignore_notice, NULL);
		return conn;
	}
	PQfinish(conn);
	return NULL;
}

/* Errors that some disturbance gives to anybody. */
static bool
is_expected(const char *sqlstate)
{
	static const char *const expected[] = {
		"57P01", "57P02", "57P03", "57P04",	/* terminated, crash, starting, database dropped */
		"57014",				/* canceled */
		"22012", "55P03",		/* hostile; its lock */
		"40P01"					/* none is ours, but a reader may meet a holder */
	};

	for (int i = 0; i < lengthof(expected); i++)
		if (strcmp(sqlstate, expected[i]) == 0)
			return true;
	return false;
}

/*
 * Executes; NULL if that failed, or if there is no server or database at the
 * moment.
 */
static PGresult *
execute(Session *session, const char *format,...)
{
	char		sql[SQL_SIZE];
	va_list		args;
	PGresult   *result;
	ExecStatusType status;
	const char *sqlstate;
	int64_t		began;
	int64_t		took;
	long		longest;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	if (session->conn == NULL && (session->conn = connect_to(session->db)) == NULL)
	{
		rest(20000);
		return NULL;
	}
	began = now();
	result = PQexec(session->conn, sql);
	took = now() - began;
	status = PQresultStatus(result);
	longest = atomic_load(&shared->longest_statement);
	while (took > longest && !atomic_compare_exchange_weak(&shared->longest_statement, &longest, took))
		;
	if (took >= (int64_t) bound * 1000000)
		violation(LATE, "%s: %lld ms: %s", session->db, (long long) took / 1000, sql);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (sqlstate && !is_expected(sqlstate))
		violation(REFUSED, "%s: %s: %s: %s", session->db, sqlstate,
				  PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), sql);
	PQclear(result);
	if (PQstatus(session->conn) != CONNECTION_OK)
	{
		PQfinish(session->conn);
		session->conn = NULL;
	}
	return NULL;
}

static bool
run(Session *session, const char *sql)
{
	PGresult   *result = execute(session, "%s", sql);

	PQclear(result);
	return result != NULL;
}

/* The first value of what a query gives, "" if it is NULL; false without one. */
static bool
ask(Session *session, char *value, size_t size, const char *sql)
{
	PGresult   *result = execute(session, "%s", sql);
	bool		found = result && PQntuples(result) > 0;

	if (found)
		snprintf(value, size, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return found;
}

static long
number(Session *session, const char *sql)
{
	char		value[64];

	return ask(session, value, sizeof(value), sql) && value[0] ? atol(value) : -1;
}

static Session *
session_in(const char *format,...)
{
	Session    *session = calloc(1, sizeof(Session));
	va_list		args;

	if (session == NULL)
		abort();
	va_start(args, format);
	vsnprintf(session->db, sizeof(session->db), format, args);
	va_end(args);
	return session;
}

static void
leave(Session *session)
{
	if (session->conn)
		PQfinish(session->conn);
	free(session);
}

/*-------------------------------------------------------------------------
 * Bystanders
 *-------------------------------------------------------------------------
 */

/* How long a commit has waited, without what nobody can help. */
static int64_t
waited(int db, int64_t since)
{
	int64_t		here = atomic_load(&shared->blocked[db]);
	int64_t		everywhere = atomic_load(&shared->blocked[DATABASES]);

	if (here > since)
		since = here;
	if (everywhere > since)
		since = everywhere;
	return now() - since;
}

/*
 * Is a bystander's summary current, and does it say so by right?  Its table is
 * written by nobody else.
 */
static void
check_answer(Session *session, long n)
{
	PGresult   *result = execute(session, "SELECT status, document->>'n' FROM summary_cache_fetch('bystander')");

	if (result && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "stale") != 0 &&
		atol(PQgetvalue(result, 0, 1)) != n)
		violation(WRONG, "%s: %s with %s instead of %ld", session->db,
				  PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), n);
	PQclear(result);
}

/* What has been beside a commit until now. */
static Series
series_of(int64_t committed)
{
	if (atomic_load(&shared->disturbed) + FELT > committed)
		return BESIDE_DISTURBANCES;
	if (atomic_load(&shared->alone_since) + FELT > committed)
		return BESIDE_MANY;
	return BESIDE_HOSTILE;
}

static void
note_time(int64_t committed)
{
	Times	   *times = &shared->times[series_of(committed)];
	int			i = atomic_fetch_add(&times->n, 1);

	if (i < MAX_TIMES)
		atomic_store(&times->us[i], (unsigned) (now() - committed));
}

/* One commit, and what follows from it. */
static void
follow_commit(Session *session, int db)
{
	char		state[64];
	int64_t		committed;
	long		n = number(session, "UPDATE bystander SET n = n + 1 RETURNING n");

	if (n < 0)
		return;
	committed = now();
	atomic_fetch_add(&shared->commits, 1);
	for (long pause = 1000;; pause = pause < 20000 ? pause * 2 : pause)
	{
		if (ask(session, state, sizeof(state), "SELECT state FROM summary_cache_sections WHERE summary = 'bystander'"))
		{
			if (strcmp(state, "current") == 0)
			{
				note_time(committed);
				break;
			}
			/* it has given way, or the server crashed: a reader's turn */
			if (strcmp(state, "empty") == 0)
			{
				atomic_fetch_add(&shared->empty, 1);
				break;
			}
		}
		else
			snprintf(state, sizeof(state), "unknown");
		if (waited(db, committed) > (int64_t) bound * 1000000)
		{
			violation(LATE, "%s: still %s %lld ms after the commit", session->db, state,
					  (long long) (now() - committed) / 1000);
			break;
		}
		if (atomic_load(&shared->phase) == OVER)
			return;
		rest(pause);
	}
	check_answer(session, n);
}

static void
bystander_main(int db)
{
	Session    *session = session_in("soak_%d", db);
	int			phase;

	while ((phase = atomic_load(&shared->phase)) != OVER)
	{
		if (phase == CALM && db >= LONG_LIVED)
			rest(100000);
		else
			follow_commit(session, db);
		rest(1000 + below(30000));
	}
	leave(session);
}

/*-------------------------------------------------------------------------
 * Hostile summaries
 *-------------------------------------------------------------------------
 */

/* Back to what can be built, and built.  False if a disturbance came between. */
static bool
heal(Session *session, int which)
{
	char		sql[SQL_SIZE];

	snprintf(sql, sizeof(sql), "UPDATE %s SET n = 0", hostile[which].name);
	if (!run(session, sql))
		return false;
	snprintf(sql, sizeof(sql), "SELECT (summary_cache_fetch('%s', force_refresh => true)).status, pg_advisory_unlock_all()",
			 hostile[which].name);
	return run(session, sql);
}

static bool
heal_in_the_end(Session *session, int which)
{
	for (int64_t until = now() + (int64_t) bound * 1000000; now() < until;)
	{
		if (heal(session, which))
			return true;
		rest(100000);
	}
	violation(STUCK, "%s: \"%s\" is not healed", session->db, hostile[which].name);
	return false;
}

static bool
spoil(Session *session, int which)
{
	char		sql[SQL_SIZE];

	atomic_fetch_add(&shared->hostile_commits, 1);
	snprintf(sql, sizeof(sql), "UPDATE %s SET n = %d", hostile[which].name, hostile[which].bad);
	return run(session, sql);
}

static void
hostile_main(int db)
{
	Session    *session = session_in("soak_%d", db);
	Session    *holder = session_in("soak_%d", db);
	int64_t		hold_until = 0;
	bool		calm = false;
	int			phase;

	while ((phase = atomic_load(&shared->phase)) != OVER)
	{
		int			which = below(lengthof(hostile));

		if (phase == CALM && !calm)
		{
			/* nothing is to end a worker, nor to take the place of one */
			run(holder, "ROLLBACK");
			for (int i = 0; i < lengthof(hostile); i++)
				if (i == DEAF || db >= LONG_LIVED)
					(void) heal_in_the_end(session, i);
			calm = true;
		}
		if (phase == CALM && db >= LONG_LIVED)
		{
			rest(100000);
			continue;
		}
		/* somebody has locked a source nearly always */
		if (now() > hold_until)
		{
			run(holder, "ROLLBACK");
			run(holder, "UPDATE locked SET n = n + 1");
			rest(below(50000));
			run(holder, "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE");
			hold_until = now() + 200000 + below(3000000);
		}
		switch (which)
		{
			case LOCKED:
				break;
			case DEAF:
				/* its worker does not live long */
				if (phase == CALM || db % DEAF_EVERY != DEAF_EVERY - 1)
					break;
				if (below(2))
				{
					heal(session, which);
					break;
				}
				/* FALLTHROUGH */
			case FAILS:
			case TIMES:
			case LARGE:
				if (heal(session, which))
					spoil(session, which);
				break;
			case BUSY:
				for (int i = 0; i < 50; i++)
				{
					run(session, "UPDATE busy SET n = n + 1");
					rest(1000);
				}
				run(session, "SELECT summary_cache_get('busy')");
				break;
			default:
				/* which can be built */
				if (below(2))
					heal(session, which);
				else
					spoil(session, which);
		}
		rest(20000 + below(200000));
	}
	leave(holder);
	leave(session);
}

/*-------------------------------------------------------------------------
 * A client that lives long
 *-------------------------------------------------------------------------
 */

/* Nobody disturbs it in the calm phase: its memory is measured. */
static void
client_main(int unused)
{
	Session    *session;
	char		sql[SQL_SIZE];

	while (atomic_load(&shared->phase) == STORM)
		rest(100000);
	session = session_in("soak_0");
	(void) run(session, "SET application_name = 'soak client'");
	while (atomic_load(&shared->phase) != OVER)
	{
		int			which = below(lengthof(hostile));

		/* each has a copy of what others published; what has no document is built by the worker */
		snprintf(sql, sizeof(sql), "SELECT status, document FROM summary_cache_fetch('%s')", hostile[which].name);
		if (which != LOCKED && which != ADVISORY)
			(void) run(session, sql);
		(void) run(session, "SELECT summary_cache_get('bystander'), count(*) FROM summary_cache_stats");
		(void) run(session, "UPDATE busy SET n = n + 1");
		rest(below(20000));
	}
	leave(session);
}

/*-------------------------------------------------------------------------
 * Disturbances
 *-------------------------------------------------------------------------
 */

static void
block(int db)
{
	atomic_store(&shared->blocked[db], INT64_MAX / 2);
}

static void
unblock(int db)
{
	atomic_store(&shared->blocked[db], now());
}

/* A process of this server, of the kind that a condition on pg_stat_activity says; 0: none. */
static pid_t
find_process(Session *session, const char *condition)
{
	char		sql[SQL_SIZE];
	long		pid;

	snprintf(sql, sizeof(sql), "SELECT pid FROM pg_stat_activity WHERE %s ORDER BY hashint8(pid + %d) LIMIT 1",
			 condition, below(1000000));
	pid = number(session, sql);
	return pid > 1 ? (pid_t) pid : 0;
}

/* Until it is so, for a bounded time. */
static bool
repeat_until_done(Session *session, const char *sql)
{
	for (int64_t until = now() + (int64_t) bound * 1000000; now() < until;)
		if (run(session, sql))
			return true;
	return false;
}

#define IS_LAUNCHER	"backend_type = 'summary_cache launcher'"
#define IS_WORKER	"backend_type = 'summary_cache worker'"
#define IS_CLIENT	"application_name = 'soak client'"
#define IS_BACKEND	"backend_type = 'client backend' AND pid <> pg_backend_pid() AND NOT " IS_CLIENT

/* Parallel queries, and there are no places for workers. */
static void
take_places(void)
{
	Session    *sleepers[5];

	block(DATABASES);
	for (int i = 0; i < lengthof(sleepers); i++)
	{
		sleepers[i] = session_in("postgres");
		if (run(sleepers[i], "SELECT set_config(name, 'on', false) FROM pg_settings"
				" WHERE name IN ('force_parallel_mode', 'debug_parallel_query')"))
			(void) PQsendQuery(sleepers[i]->conn, "SELECT pg_sleep(1000)");
	}
	rest(500000 + below(2500000));
	for (int i = 0; i < lengthof(sleepers); i++)
	{
		if (sleepers[i]->conn)
		{
			PGcancel   *cancel = PQgetCancel(sleepers[i]->conn);
			char		error[256];

			(void) PQcancel(cancel, error, sizeof(error));
			PQfreeCancel(cancel);
		}
		leave(sleepers[i]);
	}
	unblock(DATABASES);
}

/* A database that refuses connections, and perhaps has another name meanwhile. */
static void
close_database(Session *session, int db, bool rename)
{
	char		sql[SQL_SIZE];

	block(db);
	snprintf(sql, sizeof(sql), "ALTER DATABASE soak_%d ALLOW_CONNECTIONS false", db);
	(void) run(session, sql);
	snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'soak_%d'%s",
			 db, rename ? "" : " AND " IS_WORKER);
	(void) run(session, sql);
	if (rename)
	{
		snprintf(sql, sizeof(sql), "ALTER DATABASE soak_%d RENAME TO soak_renamed", db);
		(void) run(session, sql);
	}
	rest(below(2000000));
	if (rename)
	{
		/* a crash may have come between */
		snprintf(sql, sizeof(sql), "DO $$BEGIN IF EXISTS (SELECT FROM pg_database WHERE datname = 'soak_renamed') THEN"
				 " ALTER DATABASE soak_renamed RENAME TO soak_%d; END IF; END$$", db);
		if (!repeat_until_done(session, sql))
			violation(REFUSED, "soak_%d does not get its name back", db);
	}
	snprintf(sql, sizeof(sql), "ALTER DATABASE soak_%d ALLOW_CONNECTIONS true", db);
	if (!repeat_until_done(session, sql))
		violation(REFUSED, "soak_%d stays closed", db);
	unblock(db);
}

/* A database is copied, renamed and dropped while a worker starts in it. */
static void
copy_database(Session *session)
{
	Session    *template = session_in("soak_template");
	Session    *copy;

	run(template, "UPDATE bystander SET n = n + 1");
	leave(template);
	rest(below(30000));
	if (run(session, "CREATE DATABASE soak_copy TEMPLATE soak_template"))
	{
		copy = session_in("soak_copy");
		run(copy, "SELECT summary_cache_get('bystander'), summary_cache_get('filler')");
		run(copy, "UPDATE bystander SET n = n + 1");
		leave(copy);
		rest(below(30000));
		run(session, "ALTER DATABASE soak_copy RENAME TO soak_copy2");
		copy = session_in("soak_copy2");
		run(copy, "UPDATE bystander SET n = n + 1");
		leave(copy);
		rest(below(30000));
	}
	if (!repeat_until_done(session, "DROP DATABASE IF EXISTS soak_copy") ||
		!repeat_until_done(session, "DROP DATABASE IF EXISTS soak_copy2"))
		violation(REFUSED, "the copy cannot be dropped");
	/* so that a worker comes next time */
	template = session_in("soak_template");
	run(template, "SELECT summary_cache_get('bystander')");
	leave(template);
}

static void
disturb(Session *session, Disturbance what)
{
	static const char *const victims[] = {IS_LAUNCHER, IS_WORKER, IS_BACKEND};
	char		sql[SQL_SIZE];
	pid_t		pid;

	switch (what)
	{
		case TERM_LAUNCHER:
		case TERM_WORKER:
		case TERM_BACKEND:
			pid = find_process(session, victims[what - TERM_LAUNCHER]);
			if (pid == 0)
				return;
			snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", (int) pid);
			if (below(2))
				(void) run(session, sql);
			else
				kill(pid, SIGTERM);
			break;
		case CANCEL:
			pid = find_process(session, victims[1 + below(2)]);
			if (pid == 0)
				return;
			kill(pid, SIGINT);
			break;
		case KILL:
			pid = find_process(session, victims[below(3)]);
			if (pid == 0)
				return;
			kill(pid, SIGKILL);
			/* what follows is to meet a server */
			rest(500000);
			break;
		case PLACES:
			take_places();
			break;
		case CLOSED:
		case RENAMED:
			close_database(session, below(DATABASES), what == RENAMED);
			break;
		case COPIED:
			copy_database(session);
			break;
		case RELOAD:
			if (atomic_load(&shared->phase) == STORM)
			{
				snprintf(sql, sizeof(sql), "ALTER SYSTEM SET summary_cache.max_workers = %d", 1 + below(3));
				(void) run(session, sql);
			}
			snprintf(sql, sizeof(sql), "ALTER SYSTEM SET summary_cache.refresh_rest = %d", below(4));
			if (!run(session, sql) || !run(session, "SELECT pg_reload_conf()"))
				return;
			break;
		case DISTURBANCES:
			return;
	}
	atomic_fetch_add(&shared->done[what], 1);
}

static void
disturber_main(int unused)
{
	Session    *session = session_in("postgres");
	int64_t		spell_ends = now() + SPELL * 1000;
	int			phase;

	while ((phase = atomic_load(&shared->phase)) != OVER)
	{
		int			total = 0;
		int			choice;
		int			what = 0;

		for (int i = 0; i < DISTURBANCES; i++)
			total += disturbances[i].weight;
		choice = below(total);
		while (choice >= disturbances[what].weight)
			choice -= disturbances[what++].weight;
		if (phase == STORM || disturbances[what].calm)
		{
			atomic_store(&shared->disturbed, INT64_MAX / 2);
			disturb(session, what);
			atomic_store(&shared->disturbed, now());
		}
		rest(20000 + below(400000));
		if (now() > spell_ends)
		{
			/* what was killed may not be there yet */
			atomic_store(&shared->disturbed, INT64_MAX / 2);
			while (number(session, "SELECT pid FROM pg_stat_activity WHERE " IS_LAUNCHER) < 0 &&
				   atomic_load(&shared->phase) != OVER)
				rest(20000);
			atomic_store(&shared->disturbed, now());
			rest(NO_SPELL * 1000);
			spell_ends = now() + SPELL * 1000;
		}
	}
	leave(session);
}

/*-------------------------------------------------------------------------
 * Memory
 *-------------------------------------------------------------------------
 */

static const char *const process_kinds[] = {"launcher", "worker", "client"};

/* What a read or a build needs for a moment is given back: of so many looks the least counts. */
#define LATEST	40

typedef struct
{
	pid_t		pid;
	int			kind;
	int64_t		seen;			/* first */
	int64_t		warm;			/* 0: not yet */
	int64_t		last;
	long		kb_warm;
	long		kb_last;		/* the least of the latest */
	long		kb_latest[LATEST];
	int			nlooks;
} Process;

static Process processes[MAX_PROCESSES];
static int	nprocesses = 0;

/* Private memory in kB; -1 if there is no such process any more. */
static long
private_memory(pid_t pid)
{
	char		path[64];
	char		line[256];
	FILE	   *file;
	long		kb = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	file = fopen(path, "r");
	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %ld", &kb) == 1)
			break;
	fclose(file);
	return kb;
}

/* Looks at the launcher, the workers and the client. */
static void
sample_memory(Session *session, int64_t warm_up)
{
	PGresult   *result = execute(session, "SELECT pid, CASE WHEN " IS_LAUNCHER " THEN 0 WHEN " IS_WORKER
								 " THEN 1 ELSE 2 END FROM pg_stat_activity WHERE "
								 IS_LAUNCHER " OR " IS_WORKER " OR " IS_CLIENT);

	for (int i = 0; result && i < PQntuples(result); i++)
	{
		pid_t		pid = (pid_t) atol(PQgetvalue(result, i, 0));
		Process    *process = NULL;
		long		kb = private_memory(pid);

		for (int p = nprocesses - 1; p >= 0 && process == NULL; p--)
			if (processes[p].pid == pid)
				process = &processes[p];
		if (kb < 0 || (process == NULL && nprocesses == MAX_PROCESSES))
			continue;
		if (process == NULL)
		{
			process = &processes[nprocesses++];
			process->pid = pid;
			process->kind = atoi(PQgetvalue(result, i, 1));
			process->seen = now();
		}
		process->last = now();
		process->kb_latest[process->nlooks++ % LATEST] = kb;
		process->kb_last = kb;
		for (int look = 0; look < LATEST && look < process->nlooks; look++)
			if (process->kb_latest[look] < process->kb_last)
				process->kb_last = process->kb_latest[look];
		if (process->warm == 0 && process->last > process->seen + warm_up)
		{
			process->warm = process->last;
			process->kb_warm = process->kb_last;
		}
	}
	PQclear(result);
}

/* Judges those that have lived longest. */
static void
check_memory(int kind)
{
	const char *name = process_kinds[kind];
	Process    *oldest = NULL;

	for (int i = 0; i < nprocesses; i++)
	{
		Process    *process = &processes[i];

		if (process->kind != kind || process->warm == 0)
			continue;
		/* in a short run some are judged warm that have not yet read all there is */
		if (seconds >= LONG_RUN && process->kb_last - process->kb_warm > MAY_GROW)
			violation(GROWN, "a %s: from %ld to %ld kB in %.0f s", name, process->kb_warm, process->kb_last,
					  (double) (process->last - process->warm) / 1e6);
		if (oldest == NULL || process->last - process->warm > oldest->last - oldest->warm)
			oldest = process;
	}
	if (oldest)
		printf("private memory of the longest-lived %s: %ld kB when warm, %ld kB %.0f s later\n",
			   name, oldest->kb_warm, oldest->kb_last, (double) (oldest->last - oldest->warm) / 1e6);
	else if (seconds < LONG_RUN)
		printf("no %s lived long enough to measure its memory\n", name);
	else
		violation(GROWN, "no %s lived long enough to measure its memory", name);
}

/*-------------------------------------------------------------------------
 * Before and after
 *-------------------------------------------------------------------------
 */

static long room_before;		/* of count_room() */

/*
 * How many documents there is room for: they are made until one pushes out
 * another, or does not fit.  -1: nobody knows.
 */
static long
count_room(Session *session)
{
	static const char *const full = "SELECT documents_evicted + summaries_evicted +"
		" (SELECT coalesce(sum(builds_not_cached), 0) FROM summary_cache_stats WHERE summary LIKE 'room_%')"
		" FROM summary_cache_server";
	char		sql[SQL_SIZE];
	long		before = number(session, full);
	long		n;

	for (n = 0; n < MAX_ROOM; n++)
	{
		snprintf(sql, sizeof(sql), "SELECT summary_cache_define('room_%ld', 'main', 'SELECT repeat(''x'', %d) AS text')", n, ROOM);
		if (!run(session, sql))
			return -1;
		snprintf(sql, sizeof(sql), "SELECT summary_cache_get('room_%ld')", n);
		if (!run(session, sql))
			return -1;
		if (number(session, full) != before)
			break;
	}
	(void) run(session, "SELECT summary_cache_drop(summary) FROM summary_cache_stats WHERE summary LIKE 'room_%'");
	return before < 0 ? -1 : n;
}

static void
must(Session *session, const char *sql)
{
	PGresult   *result;

	if (session->conn == NULL && (session->conn = connect_to(session->db)) == NULL)
		die("cannot connect to", session->db);
	result = PQexec(session->conn, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		die(sql, PQerrorMessage(session->conn));
	PQclear(result);
}

static void
set_up(void)
{
	Session    *server = session_in("postgres");
	Session    *session;
	char		sql[SQL_SIZE];

	must(server, "CREATE DATABASE soak_template");
	session = session_in("soak_template");
	must(session, "CREATE EXTENSION summary_cache");
	room_before = count_room(session);
	if (room_before < 10)
		die("setup", "there is no room");
	must(session, "CREATE FUNCTION deaf(n int) RETURNS int LANGUAGE plpgsql AS $$"
		 " BEGIN WHILE n > 0 LOOP"
		 " BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN NULL; END; n := n - 1;"
		 " END LOOP; RETURN n; END $$");
	must(session, "CREATE TABLE bystander (n int); INSERT INTO bystander VALUES (0);"
		 " SELECT summary_cache_define('bystander', 'main', 'SELECT n FROM bystander')");
	for (int i = 0; i < lengthof(hostile); i++)
	{
		snprintf(sql, sizeof(sql), "CREATE TABLE %s (n int); INSERT INTO %s VALUES (0);"
				 " SELECT summary_cache_define('%s', 'main', $$%s$$)",
				 hostile[i].name, hostile[i].name, hostile[i].name, hostile[i].query);
		must(session, sql);
	}
	leave(session);
	for (int db = 0; db < DATABASES; db++)
	{
		snprintf(sql, sizeof(sql), "CREATE DATABASE soak_%d TEMPLATE soak_template", db);
		must(server, sql);
		session = session_in("soak_%d", db);
		must(session, "SELECT summary_cache_get('bystander'), summary_cache_get('filler')");
		leave(session);
	}
	leave(server);
}

/* Until a query gives t; says what it gave instead. */
static void
expect(Session *session, Violation kind, int patience, const char *what, const char *sql)
{
	char		value[SQL_SIZE] = "nothing";

	for (int64_t until = now() + (int64_t) patience * 1000000;;)
	{
		if (ask(session, value, sizeof(value), sql) && strcmp(value, "") == 0)
			return;
		if (now() > until)
			break;
		rest(50000);
	}
	violation(kind, "%s: %s: %s", session->db, what, value);
}

static void
drop_database(Session *server, int db)
{
	char		sql[SQL_SIZE];

	snprintf(sql, sizeof(sql), "DROP DATABASE soak_%d", db);
	if (!repeat_until_done(server, sql))
		violation(REFUSED, "soak_%d cannot be dropped", db);
}

/*
 * What a worker has locked for its session must be free while it is idle.  Its
 * last build is one that locks.
 */
static void
check_advisory_locks(Session *session)
{
	for (int64_t until = now() + (int64_t) bound * 1000000; now() < until;)
	{
		long		idle;

		/* what has no document is not refreshed */
		(void) run(session, "SELECT (summary_cache_fetch('advisory')).status, pg_advisory_unlock_all()");
		(void) run(session, "UPDATE advisory SET n = n + 1");
		expect(session, STUCK, bound, "not current",
			   "SELECT string_agg(state, ', ') FROM summary_cache_sections WHERE summary = 'advisory' AND state <> 'current'");
		/* still there, and with the one that has built: it may be about to end its transaction */
		rest(1000000);
		idle = number(session, "SELECT count(*) FROM pg_stat_activity WHERE " IS_WORKER
					  " AND datname = current_database() AND xact_start IS NULL");
		expect(session, LEFT, 0, "advisory locks",
			   "SELECT coalesce(string_agg(pid || ' has ' || objid, ', '), '') FROM pg_locks WHERE locktype = 'advisory'");
		if (idle > 0)
			return;
	}
	violation(STUCK, "%s: no worker stays idle", session->db);
}

/*
 * Nothing disturbs any more.  Each database in turn would take too long: all are
 * spoiled, and then waited for.
 */
static void
check_end(void)
{
	Session    *server = session_in("postgres");
	Session    *sessions[LAST];
	char		sql[SQL_SIZE];
	long		room;

	(void) repeat_until_done(server, "ALTER SYSTEM RESET ALL");
	/* a worker that left would take what it has left behind with it */
	(void) repeat_until_done(server, "ALTER SYSTEM SET summary_cache.worker_idle_timeout = '1h'");
	(void) repeat_until_done(server, "SELECT pg_reload_conf()");
	for (int db = LAST; db < DATABASES; db++)
		drop_database(server, db);
	for (int db = 0; db < LAST; db++)
	{
		sessions[db] = session_in("soak_%d", db);
		for (int i = 0; i < lengthof(hostile); i++)
			if (heal_in_the_end(sessions[db], i))
				(void) spoil(sessions[db], i);
		(void) run(sessions[db], "UPDATE bystander SET n = n + 1");
	}
	for (int db = 0; db < LAST; db++)
		for (int i = 0; i < lengthof(hostile); i++)
			if (hostile[i].shown)
			{
				snprintf(sql, sizeof(sql), "SELECT CASE WHEN %s THEN '' ELSE coalesce(last_error, 'no failure') END"
						 " FROM summary_cache_stats WHERE summary = '%s'", hostile[i].shown, hostile[i].name);
				expect(sessions[db], STUCK, bound, hostile[i].name, sql);
			}

	/* what can be built again is, after a pause of up to a minute */
	for (int db = 0; db < LAST; db++)
		for (int i = 0; i < lengthof(hostile); i++)
		{
			snprintf(sql, sizeof(sql), "UPDATE %s SET n = 0", hostile[i].name);
			(void) run(sessions[db], sql);
		}
	for (int db = 0; db < LAST; db++)
	{
		expect(sessions[db], STUCK, bound + 60, "not current",
			   "SELECT coalesce(string_agg(summary || ' is ' || state, ', '), '') FROM summary_cache_sections"
			   " WHERE state NOT IN ('current', 'empty')");
		expect(sessions[db], STUCK, bound, "still requested",
			   "SELECT coalesce(string_agg(summary, ', '), '') FROM summary_cache_stats WHERE refresh_requested");
		expect(sessions[db], LEFT, bound, "without a slot",
			   "SELECT coalesce(string_agg(source || ': ' || reason, ', '), '') FROM summary_cache_tables WHERE reason IS NOT NULL");
		expect(sessions[db], STUCK, bound, "not a hit",
			   "SELECT CASE status WHEN 'hit-revision' THEN '' ELSE status END FROM summary_cache_fetch('bystander')");
	}
	expect(sessions[0], STUCK, bound, "the server's requests",
		   "SELECT CASE WHEN requests_waiting = 0 AND workers_building = 0 AND launcher_pid IS NOT NULL THEN ''"
		   " ELSE summary_cache_server::text END FROM summary_cache_server");
	check_advisory_locks(sessions[0]);
	printf("since the last crash: %ld documents and %ld summaries evicted, %ld workers started, %ld refused, "
		   "%ld failed, %ld terminated\n",
		   number(sessions[0], "SELECT documents_evicted FROM summary_cache_server"),
		   number(sessions[0], "SELECT summaries_evicted FROM summary_cache_server"),
		   number(sessions[0], "SELECT workers_started FROM summary_cache_server"),
		   number(sessions[0], "SELECT workers_refused FROM summary_cache_server"),
		   number(sessions[0], "SELECT workers_failed FROM summary_cache_server"),
		   number(sessions[0], "SELECT workers_terminated FROM summary_cache_server"));

	/* what was dropped has given its room back */
	for (int db = 1; db < LAST; db++)
	{
		leave(sessions[db]);
		drop_database(server, db);
	}
	(void) run(server, "DROP DATABASE soak_template");
	(void) run(sessions[0], "SELECT summary_cache_drop(summary) FROM summary_cache_stats");
	room = count_room(sessions[0]);
	if (room < room_before - KEPT_ROOM)
		violation(LEFT, "room for %ld documents of %d bytes; at the beginning for %ld", room, ROOM, room_before);
	printf("room for %ld documents of %d bytes, %ld at the beginning\n", room, ROOM, room_before);
	leave(sessions[0]);
	leave(server);
}

static int
compare_times(const void *a, const void *b)
{
	unsigned	ta = atomic_load((const atomic_uint *) a);
	unsigned	tb = atomic_load((const atomic_uint *) b);

	return ta < tb ? -1 : ta > tb ? 1 : 0;
}

/* How long it took, in one series. */
static void
report_times(Series series)
{
	Times	   *times = &shared->times[series];
	int			n = atomic_load(&times->n);
	double		most;

	if (n > MAX_TIMES)
		n = MAX_TIMES;
	printf("from commit to current beside %s: %d commits", series_names[series], n);
	if (n > 0)
	{
		qsort(times->us, (size_t) n, sizeof(times->us[0]), compare_times);
		most = times->us[n - 1 - n / 100] / 1000.0;
		printf(", %.1f ms (median), %.1f (99 of 100), %.1f (most)", times->us[n / 2] / 1000.0, most,
			   times->us[n - 1] / 1000.0);
		if (series == BESIDE_HOSTILE && most > beside)
			violation(LATE, "beside %s one of 100 commits is followed after more than %d ms: %.1f",
					  series_names[series], beside, most);
	}
	else if (series == BESIDE_HOSTILE)
		violation(LATE, "no commit had nothing but %s beside it", series_names[series]);
	printf("\n");
}

static bool
report(void)
{
	int			n = 0;
	bool		ok = true;

	for (int i = 0; i < SERIES; i++)
		n += atomic_load(&shared->times[i].n);
	if (n < seconds)
		violation(LATE, "only %d commits were followed", n);
	for (int i = 0; i < DISTURBANCES; i++)
		printf("%s%s %ld", i ? ", " : "", disturbances[i].name, atomic_load(&shared->done[i]));
	printf("\n%ld commits beside %ld of hostile summaries, %d refreshed without a reader, %ld documents given up;"
		   " longest statement %.1f ms\n",
		   atomic_load(&shared->commits), atomic_load(&shared->hostile_commits), n, atomic_load(&shared->empty),
		   (double) atomic_load(&shared->longest_statement) / 1000);
	for (int i = 0; i < SERIES; i++)
		report_times((Series) i);
	for (int i = 0; i < VIOLATIONS; i++)
	{
		printf("%s%s %ld", i ? ", " : "", violation_names[i], atomic_load(&shared->violations[i]));
		ok = ok && atomic_load(&shared->violations[i]) == 0;
	}
	printf("\n");
	return ok;
}

static void
start(void (*run_process) (int), int argument)
{
	static uint64_t number = 0;
	pid_t		pid;

	number++;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork", "failed");
	if (pid == 0)
	{
		random_state = seed * 1000 + number;
		run_process(argument);
		fflush(stdout);
		_exit(0);
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"conninfo", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 's'},
		{"seed", required_argument, NULL, 'r'},
		{"bound", required_argument, NULL, 'b'},
		{"beside", required_argument, NULL, 'm'},
		{0}
	};
	Session    *session;
	int64_t		began;
	int			option;
	int			status;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'c':
				conninfo = optarg;
				break;
			case 's':
				seconds = atoi(optarg);
				break;
			case 'r':
				seed = strtoull(optarg, NULL, 10);
				break;
			case 'b':
				bound = atoi(optarg);
				break;
			case 'm':
				beside = atoi(optarg);
				break;
			default:
				return 2;
		}
	if (optind < argc || seconds < 1 || bound < 1 || beside < 1)
		die("usage", "soak [--conninfo=STRING] [--seconds=N] [--seed=N] [--bound=N] [--beside=N]");
	shared = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap", "failed");
	atomic_store(&shared->alone_since, INT64_MAX / 2);
	set_up();

	for (int db = 0; db < DATABASES; db++)
	{
		start(bystander_main, db);
		start(hostile_main, db);
	}
	start(client_main, 0);
	start(disturber_main, 0);
	session = session_in("postgres");
	began = now();
	while (now() < began + (int64_t) seconds * 1000000)
	{
		if (atomic_load(&shared->phase) == STORM && now() > began + (int64_t) seconds * 600000)
		{
			atomic_store(&shared->phase, CALM);
			/* a disturbance may be under way */
			rest(1000000);
			(void) repeat_until_done(session, "ALTER SYSTEM SET summary_cache.max_workers = 2");
			(void) repeat_until_done(session, "ALTER SYSTEM SET summary_cache.worker_idle_timeout = '1h'");
			(void) repeat_until_done(session, "SELECT pg_reload_conf()");
			atomic_store(&shared->alone_since, now());
		}
		/* a short run has workers that are not warm after a tenth of it */
		sample_memory(session, seconds > 50 ? (int64_t) seconds * 100000 : 5000000);
		rest(250000);
	}
	atomic_store(&shared->phase, OVER);
	while (wait(&status) > 0)
		if (status != 0)
			violation(STUCK, "a process of the soak ended with status %d", status);
	for (int kind = 0; kind < lengthof(process_kinds); kind++)
		check_memory(kind);
	check_end();
	leave(session);
	return report() ? 0 : 1;
}
