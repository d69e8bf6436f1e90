/*-------------------------------------------------------------------------
 *
 * checker.c
 *	  Proves that a hit never misses a commit: writers, readers, rebuilds and
 *	  faults at once, and every answer compared with what must be in it.
 *
 * usage: checker [option ...] mode ...
 *	  --conninfo=STRING  libpq's; the role must be a superuser
 *	  --seconds=N        duration of each mode (5)
 *	  --seed=N           of all random choices (1); the interleaving is the
 *	                     machine's own
 *	  --writers=N --readers=N --tables=N (4, 3, 2)
 *	  --pause=N          a writer rests up to N microseconds between two
 *	                     transactions (2000)
 *	  --rebuild=N        a rebuild or invalidation every N microseconds (20000)
 *	  --commit-delay=N   half of the transactions flush their commit record
 *	                     N microseconds late (0); needs fsync
 *	  --list             print the modes
 *
 * Every writer counts up a row of its own, and stores the number in memory
 * that all processes share once its COMMIT has returned.  A reader copies all
 * these numbers before it sends a read.  What is counted:
 *
 *	lost     an answer that claims to be current (all but "stale") lacks a
 *	         number that was committed before the read was sent
 *	unseen   it lacks a number that some reader had seen before the read was
 *	         sent, by a plain SELECT or in any document
 *	dirty    any answer has a number that no transaction could have committed
 *	own      any answer, "stale" too, lacks what this session had committed, or
 *	         a transaction does not see its own changes
 *	differ   a REPEATABLE READ transaction got something else than its own
 *	         query gives it
 *	torn     a document without one of the numbers, or no document
 *	stuck    after the end, a source is still pending, the summary does not
 *	         become a hit, or the hit differs from the tables
 *	error    an error that the mode does not provoke
 *
 * Each is a violation: exit status 1.  Bad usage, or a setup that fails: 2.
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
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

#define MAX_WRITERS	64
#define MAX_READERS	64
#define MAX_TABLES	40

/* Added to a number that is going to be rolled back: nobody may ever see it. */
#define NEVER		UINT64_C(1000000000000)

#define NEAR_NS		UINT64_C(1000000)

typedef enum
{
	LOST, UNSEEN, DIRTY, OWN, DIFFER, TORN, STUCK, ERRORS, VIOLATIONS
} Violation;

static const char *const violation_names[VIOLATIONS] =
{"lost", "unseen", "dirty", "own", "differ", "torn", "stuck", "error"};

typedef enum
{
	HIT, INLINE, STALE, MISS, PRIVATE, STATUSES
} Status;

static const char *const status_names[STATUSES] =
{"hit-revision", "progress-section", "stale", "miss", "private"};

typedef enum
{
	M_PLAIN, M_2PC, M_SAVEPOINT, M_SYNC, M_RR, M_INLINE, M_PARTITION, M_COPY, M_FAULTS, M_CRASH,
	M_UNTRACKED, MODES
} Mode;

static const struct
{
	const char *name;
	const char *what;
}			modes[MODES] =
{
	{"plain", "updates, deletes with inserts, and rollbacks of several tables"},
	{"2pc", "prepared transactions, finished by the same or another session, or rolled back"},
	{"savepoint", "subtransactions, some rolled back"},
	{"sync", "synchronous_commit on, local and off"},
	{"rr", "REPEATABLE READ readers: the answer is what their own query gives"},
	{"inline", "half of the tables in an inline section"},
	{"partition", "writes to the root, to partitions, and from one to another"},
	{"copy", "COPY FROM"},
	{"faults", "sessions and the worker terminated or cancelled at random"},
	{"crash", "backends and the worker killed by SIGKILL: the server restarts each time"},
	{"untracked", "no source is tracked: must fail, or the checker is blind"},
};

typedef struct
{
	_Atomic uint64_t committed; /* known to be committed */
	_Atomic uint64_t attempted; /* greatest that may be committed by now */
	_Atomic uint64_t commits;
	_Atomic int pid;			/* of its server process */
} Writer;

typedef struct
{
	_Atomic uint64_t answers[STATUSES];
	_Atomic uint64_t near_hits; /* see is_near() */
	_Atomic int pid;
} Reader;

typedef struct
{
	_Atomic int stop;
	_Atomic int in_commit;		/* writers between sending and having their COMMIT */
	_Atomic uint64_t last_commit;	/* ns */
	_Atomic uint64_t seen[MAX_WRITERS]; /* greatest number that anybody has seen */
	_Atomic uint64_t violations[VIOLATIONS];
	_Atomic uint64_t faults;
	_Atomic uint64_t rebuilds;
	Writer		writers[MAX_WRITERS];
	Reader		readers[MAX_READERS + MAX_WRITERS + 1];
} Shared;

static Shared *shared;
static const char *conninfo = "";
static int	seconds = 5;
static uint64_t seed = 1;
static int	nwriters = 4;
static int	nreaders = 3;
static int	ntables = 2;
static int	pause_us = 2000;
static int	rebuild_us = 20000;
static int	commit_delay_us = 0;
static Mode mode;
static char document_query[16384];	/* one row, one column: what the document has */

/*-------------------------------------------------------------------------
 * Small things
 *-------------------------------------------------------------------------
 */

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t) ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

static void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	fprintf(stderr, "checker: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(2);
}

/* splitmix64; each process has a stream of its own */
static uint64_t random_state;

static uint64_t
random_u64(void)
{
	uint64_t	z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int
below(int n)
{
	return n > 0 ? (int) (random_u64() % (uint64_t) n) : 0;
}

static bool
one_in(int n)
{
	return below(n) == 0;
}

static void
rest(int us)
{
	struct timespec ts = {us / 1000000, us % 1000000 * 1000L};

	nanosleep(&ts, NULL);
}

static bool
stopped(void)
{
	return atomic_load(&shared->stop) != 0;
}

/* Count a violation, and tell of the first few. */
static void
violation(Violation kind, const char *format,...)
{
	uint64_t	n = atomic_fetch_add(&shared->violations[kind], 1);
	char		text[2048];
	va_list		args;

	if (n >= 5)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "%s: violation (%s): %s\n", modes[mode].name, violation_names[kind], text);
}

static void
raise_to(_Atomic uint64_t *target, uint64_t value)
{
	uint64_t	old = atomic_load(target);

	while (old < value && !atomic_compare_exchange_weak(target, &old, value))
		;
}

/*-------------------------------------------------------------------------
 * The server
 *-------------------------------------------------------------------------
 */

static void
no_notices(void *arg, const PGresult *result)
{
}

/* Do sessions fail at random in this mode? */
static bool
faulty(void)
{
	return mode == M_FAULTS || mode == M_CRASH;
}

static PGconn *
connect_server(_Atomic int *pid)
{
	PGconn	   *conn = NULL;

	/* a backend may be terminated before it answers at all, a server be in recovery */
	for (int attempt = 0; attempt < 3000; attempt++)
	{
		conn = PQconnectdb(conninfo);
		if (PQstatus(conn) == CONNECTION_OK)
			break;
		if (!faulty() || attempt == 2999)
			die("could not connect: %s", PQerrorMessage(conn));
		PQfinish(conn);
		rest(10000);
	}
	PQsetNoticeReceiver(conn, no_notices, NULL);
	if (pid)
		atomic_store(pid, PQbackendPID(conn));
	return conn;
}

/* An error that a terminated, cancelled or impatient session has to expect. */
static bool
is_fault(PGconn *conn, PGresult *result)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	if (!faulty())
		return false;
	return PQstatus(conn) == CONNECTION_BAD || state == NULL ||
		strcmp(state, "57014") == 0 || strcmp(state, "57P01") == 0 ||
		strcmp(state, "55P03") == 0;
}

/* Execute; NULL after an error, which is counted unless it was provoked. */
static PGresult *
query(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_COPY_IN)
		return result;
	if (!is_fault(conn, result))
		violation(ERRORS, "%.200s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
	return NULL;
}

static bool
execute(PGconn *conn, const char *format,...)
{
	char		sql[20000];
	va_list		args;
	PGresult   *result;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	result = query(conn, sql);
	PQclear(result);
	return result != NULL;
}

/* For what has to work. */
static void
setup(PGconn *conn, const char *format,...)
{
	char		sql[40000];
	va_list		args;
	PGresult   *result;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
}

static void
reconnect(PGconn **conn, _Atomic int *pid)
{
	if (PQstatus(*conn) == CONNECTION_OK)
		return;
	PQfinish(*conn);
	*conn = connect_server(pid);
}

/*-------------------------------------------------------------------------
 * Documents
 *-------------------------------------------------------------------------
 */

/*
 * The numbers of a document: every "N" : M in it is number M of writer N.
 * False unless each writer is there exactly once.
 */
static bool
parse(const char *document, uint64_t *values)
{
	bool		found[MAX_WRITERS] = {false};
	int			nfound = 0;

	for (const char *p = document; (p = strchr(p, '"')) != NULL; p++)
	{
		char	   *end;
		long		writer;

		if (!isdigit((unsigned char) p[1]))
			continue;
		writer = strtol(p + 1, &end, 10);
		if (*end++ != '"' || writer >= nwriters || found[writer])
			return false;
		while (*end == ' ' || *end == ':')
			end++;
		if (!isdigit((unsigned char) *end))
			return false;
		values[writer] = strtoull(end, NULL, 10);
		found[writer] = true;
		nfound++;
		p = end;
	}
	return nfound == nwriters;
}

/* What an answer to be asked for now must contain. */
typedef struct
{
	uint64_t	committed[MAX_WRITERS];
	uint64_t	seen[MAX_WRITERS];
	uint64_t	sent_at;
	bool		pending;
	uint64_t	last_commit;
} Demand;

static void
take_demand(Demand *demand)
{
	for (int w = 0; w < nwriters; w++)
	{
		demand->committed[w] = atomic_load(&shared->writers[w].committed);
		demand->seen[w] = atomic_load(&shared->seen[w]);
	}
	demand->pending = atomic_load(&shared->in_commit) > 0;
	demand->last_commit = atomic_load(&shared->last_commit);
	demand->sent_at = now_ns();
}

/*
 * Was it asked for while a transaction was committing, or within 1 ms of the
 * last commit?  What is read in quiet times proves nothing.
 */
static bool
is_near(Demand *demand)
{
	return demand->pending || atomic_load(&shared->in_commit) > 0 ||
		demand->sent_at < demand->last_commit + NEAR_NS;
}

static Status
status_of(const char *name)
{
	for (int s = 0; s < STATUSES; s++)
		if (strcmp(name, status_names[s]) == 0)
			return s;
	violation(TORN, "status \"%s\"", name);
	return STALE;
}

/* Check numbers that were read; own is a writer whose number may be its own transaction's. */
static void
check_values(const uint64_t *values, Demand *demand, const char *how, bool current, int own)
{
	for (int w = 0; w < nwriters; w++)
	{
		uint64_t	attempted = atomic_load(&shared->writers[w].attempted);

		if (w == own)
			continue;
		if (values[w] > attempted)
			violation(DIRTY, "%s: writer %d has %llu, but has not come further than %llu", how, w,
					  (unsigned long long) values[w], (unsigned long long) attempted);
		else
			raise_to(&shared->seen[w], values[w]);
		if (!current)
			continue;
		if (values[w] < demand->committed[w])
			violation(LOST, "%s: writer %d has %llu, but %llu had been committed", how, w,
					  (unsigned long long) values[w], (unsigned long long) demand->committed[w]);
		if (values[w] < demand->seen[w])
			violation(UNSEEN, "%s: writer %d has %llu, but %llu had been seen", how, w,
					  (unsigned long long) values[w], (unsigned long long) demand->seen[w]);
	}
}

/*
 * One read, checked.  own >= 0: this session is that writer, and own_value what
 * it must find: at least, or exactly inside its transaction.
 */
static bool
fetch(PGconn *conn, Reader *stats, bool force, int own, uint64_t own_value, bool inside)
{
	Demand		demand;
	uint64_t	values[MAX_WRITERS];
	PGresult   *result;
	Status		status;

	take_demand(&demand);
	result = query(conn, force ?
				   "SELECT status, document FROM summary_cache_fetch('checker', force_refresh => true)" :
				   "SELECT status, document FROM summary_cache_fetch('checker')");
	if (result == NULL)
		return false;
	status = status_of(PQgetvalue(result, 0, 0));
	atomic_fetch_add(&stats->answers[status], 1);
	if (status == HIT && is_near(&demand))
		atomic_fetch_add(&stats->near_hits, 1);
	if (!parse(PQgetvalue(result, 0, 1), values))
		violation(TORN, "%s: %.500s", status_names[status], PQgetvalue(result, 0, 1));
	else
	{
		check_values(values, &demand, status_names[status], status != STALE, inside ? own : -1);
		if (own >= 0 && (inside ? values[own] != own_value : values[own] < own_value))
			violation(OWN, "%s%s: writer %d wrote %llu itself, but found %llu", status_names[status],
					  inside ? " in its own transaction" : "", own,
					  (unsigned long long) own_value, (unsigned long long) values[own]);
	}
	PQclear(result);
	return true;
}

/* What the tables have, by a plain SELECT; it is held to the same demands. */
static bool
look(PGconn *conn)
{
	Demand		demand;
	uint64_t	values[MAX_WRITERS];
	PGresult   *result;

	take_demand(&demand);
	result = query(conn, document_query);
	if (result == NULL)
		return false;
	if (!parse(PQgetvalue(result, 0, 0), values))
		die("the query gives %s", PQgetvalue(result, 0, 0));
	check_values(values, &demand, "plain SELECT", true, -1);
	PQclear(result);
	return true;
}

/*-------------------------------------------------------------------------
 * Readers
 *-------------------------------------------------------------------------
 */

/* Both in one REPEATABLE READ transaction must be the same, whatever the status. */
static void
read_repeatable(PGconn *conn, Reader *stats)
{
	char		sql[sizeof(document_query) + 200];
	PGresult   *result;
	bool		first = one_in(2);

	if (!execute(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ"))
		return;
	/* a snapshot that gets old before the read: newer documents must not be served */
	if (first)
		(void) execute(conn, "SELECT 1 FROM checker_0 LIMIT 1");
	if (first && one_in(4))
		rest(below(5000));
	for (int i = below(3); i >= 0; i--)
	{
		Status		status;
		Demand		demand;

		take_demand(&demand);
		snprintf(sql, sizeof(sql),
				 "SELECT f.status, f.document::text, '{\"w\":' || (%s)::text || '}'"
				 " FROM summary_cache_fetch('checker') f", document_query);
		result = query(conn, sql);
		if (result == NULL)
			break;
		status = status_of(PQgetvalue(result, 0, 0));
		atomic_fetch_add(&stats->answers[status], 1);
		if (status == HIT && is_near(&demand))
			atomic_fetch_add(&stats->near_hits, 1);
		if (strcmp(PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2)) != 0)
			violation(DIFFER, "%s: %s instead of %s", status_names[status],
					  PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
		PQclear(result);
	}
	(void) execute(conn, "COMMIT");
}

static void
reader_main(int number)
{
	Reader	   *stats = &shared->readers[number];
	PGconn	   *conn = connect_server(&stats->pid);

	while (!stopped())
	{
		reconnect(&conn, &stats->pid);
		if (mode == M_RR && number % 3 != 2)
		{
			read_repeatable(conn, stats);
			continue;
		}
		if (one_in(4))
			(void) look(conn);
		if (faulty() && one_in(50))
		{
			/* a builder or waiter that gives up */
			(void) execute(conn, "SET statement_timeout = '%dms'; SET lock_timeout = '%dms'",
						   1 + below(3), below(3));
			(void) fetch(conn, stats, one_in(2), -1, 0, false);
			(void) execute(conn, "RESET statement_timeout; RESET lock_timeout");
			continue;
		}
		for (int i = below(20); i >= 0 && !stopped(); i--)
			if (!fetch(conn, stats, false, -1, 0, false))
				break;
	}
	PQfinish(conn);
}

/*-------------------------------------------------------------------------
 * Writers
 *-------------------------------------------------------------------------
 */

/* One statement that makes value the writer's number. */
static bool
write_value(PGconn *conn, int w, uint64_t value)
{
	unsigned long long v = value;
	int			table = w % ntables;

	switch (mode)
	{
		case M_PARTITION:
			if (w % 3 == 0)
				return execute(conn, "UPDATE checker_0 SET v = %llu WHERE w = %d", v, w);
			if (w % 3 == 1)
				return execute(conn, "UPDATE checker_0_%d SET v = %llu WHERE w = %d", w % 2, v, w);
			/* moves the row: a delete and an insert */
			return execute(conn, "UPDATE checker_0 SET v = %llu, part = 1 - part WHERE w = %d", v, w);

		case M_COPY:
			{
				char		row[100];
				PGresult   *result = query(conn, table % 2 ? "COPY checker_1 (w, v) FROM STDIN" :
										   "COPY checker_0 (w, v) FROM STDIN");

				if (result == NULL)
					return false;
				PQclear(result);
				snprintf(row, sizeof(row), "%d\t%llu\n", w, v);
				(void) PQputCopyData(conn, row, (int) strlen(row));
				(void) PQputCopyEnd(conn, NULL);
				result = PQgetResult(conn);
				if (PQresultStatus(result) != PGRES_COMMAND_OK)
				{
					violation(ERRORS, "COPY: %s", PQerrorMessage(conn));
					PQclear(result);
					return false;
				}
				PQclear(result);
				PQclear(PQgetResult(conn));
				return true;
			}

		default:
			if (mode == M_PLAIN && one_in(4))
				return execute(conn, "DELETE FROM checker_%d WHERE w = %d", table, w) &&
					execute(conn, "INSERT INTO checker_%d (w, v) VALUES (%d, %llu)", table, w, v);
			return execute(conn, "UPDATE checker_%d SET v = %llu WHERE w = %d", table, v, w);
	}
}

/* End a transaction with a command after which value is committed. */
static bool
commit(PGconn *conn, int w, uint64_t value, const char *command)
{
	Writer	   *me = &shared->writers[w];
	bool		ok;

	atomic_store(&me->attempted, value);
	atomic_fetch_add(&shared->in_commit, 1);
	ok = execute(conn, "%s", command);
	if (ok)
	{
		atomic_store(&me->committed, value);
		atomic_fetch_add(&me->commits, 1);
	}
	atomic_store(&shared->last_commit, now_ns());
	atomic_fetch_sub(&shared->in_commit, 1);
	return ok;
}

/* The writer's number in the tables, after all it has begun is finished. */
static uint64_t
value_now(PGconn **conn, int w)
{
	char		sql[200];
	PGresult   *result;
	uint64_t	value;

	for (;;)
	{
		if (mode == M_COPY)
			snprintf(sql, sizeof(sql), "SELECT max(v) FROM checker_%d WHERE w = %d", w % ntables, w);
		else
			snprintf(sql, sizeof(sql), "SELECT v FROM checker_%d WHERE w = %d FOR UPDATE",
					 mode == M_PARTITION ? 0 : w % ntables, w);
		result = query(*conn, sql);
		if (result && PQntuples(result) == 1)
			break;
		PQclear(result);
		reconnect(conn, &shared->writers[w].pid);
	}
	value = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return value;
}

/* False if no transaction began: what follows would commit by itself. */
static bool
begin(PGconn *conn)
{
	static const char *const sync[] = {"on", "local", "off"};

	if (!execute(conn, "BEGIN"))
		return false;
	/* what was not flushed may be lost in a crash */
	if (mode == M_SYNC || (mode != M_CRASH && one_in(4)))
		(void) execute(conn, "SET LOCAL synchronous_commit = %s", sync[below(3)]);
	if (commit_delay_us > 0 && one_in(2))
		(void) execute(conn, "SET LOCAL commit_delay = %d; SET LOCAL commit_siblings = 0",
					   commit_delay_us);
	return true;
}

static void
write_prepared(PGconn *conn, PGconn *other, Reader *stats, int w, uint64_t value)
{
	char		command[200];
	bool		abandon = one_in(4);
	PGconn	   *finisher = one_in(2) ? conn : other;

	if (!begin(conn))
		return;
	(void) write_value(conn, w, abandon ? value + NEVER : value);
	if (!execute(conn, "PREPARE TRANSACTION 'checker_%d'", w))
		return;
	if (one_in(2))
		rest(below(2000));
	/* a session that has prepared goes on reading */
	if (one_in(4))
		(void) fetch(conn, stats, false, -1, 0, false);
	if (abandon)
		(void) execute(finisher, "ROLLBACK PREPARED 'checker_%d'", w);
	else
	{
		snprintf(command, sizeof(command), "COMMIT PREPARED 'checker_%d'", w);
		(void) commit(finisher, w, value, command);
	}
	if (one_in(4))
		(void) fetch(finisher, stats, false, w, atomic_load(&shared->writers[w].committed), false);
}

static void
write_savepoints(PGconn *conn, Reader *stats, int w, uint64_t value)
{
	if (!begin(conn))
		return;
	(void) execute(conn, "SAVEPOINT a");
	(void) write_value(conn, w, value + NEVER);
	if (one_in(4))
		(void) fetch(conn, stats, false, w, value + NEVER, true);
	(void) execute(conn, "ROLLBACK TO a");
	if (one_in(4))
		(void) fetch(conn, stats, false, w, value - 1, true);
	if (one_in(4))
	{
		(void) execute(conn, one_in(2) ? "COMMIT" : "ROLLBACK");
		return;
	}
	(void) execute(conn, "SAVEPOINT b");
	(void) write_value(conn, w, value);
	(void) execute(conn, "RELEASE b");
	(void) commit(conn, w, value, "COMMIT");
}

static void
write_transaction(PGconn *conn, Reader *stats, int w, uint64_t value)
{
	bool		abandon = one_in(8);

	if (!begin(conn))
		return;
	if (!write_value(conn, w, abandon ? value + NEVER : value))
	{
		(void) execute(conn, "ROLLBACK");
		return;
	}
	if (mode != M_COPY && one_in(16) &&
		!fetch(conn, stats, one_in(8), w, abandon ? value + NEVER : value, true))
	{
		(void) execute(conn, "ROLLBACK");
		return;
	}
	if (abandon)
		(void) execute(conn, "ROLLBACK");
	else
		(void) commit(conn, w, value, "COMMIT");
}

static void
writer_main(int w)
{
	Writer	   *me = &shared->writers[w];
	Reader	   *stats = &shared->readers[nreaders + 1 + w];
	PGconn	   *conn = connect_server(&me->pid);
	PGconn	   *other = mode == M_2PC ? connect_server(NULL) : NULL;

	while (!stopped())
	{
		uint64_t	committed = atomic_load(&me->committed);

		switch (mode)
		{
			case M_2PC:
				write_prepared(conn, other, stats, w, committed + 1);
				break;
			case M_SAVEPOINT:
				write_savepoints(conn, stats, w, committed + 1);
				break;
			default:
				write_transaction(conn, stats, w, committed + 1);
		}
		if (faulty() && atomic_load(&me->committed) == committed)
		{
			/* nobody knows how it ended; what can be read is committed */
			reconnect(&conn, &me->pid);
			if (PQtransactionStatus(conn) != PQTRANS_IDLE)
				(void) execute(conn, "ROLLBACK");
			reconnect(&conn, &me->pid);
			atomic_store(&me->committed, value_now(&conn, w));
		}
		else if (one_in(8) && mode != M_2PC)
			(void) fetch(conn, stats, false, w, atomic_load(&me->committed), false);
		if (pause_us > 0)
			rest(below(pause_us));
	}
	PQfinish(conn);
	PQfinish(other);
}

/*-------------------------------------------------------------------------
 * Rebuilds and faults
 *-------------------------------------------------------------------------
 */

static void
rebuilder_main(void)
{
	Reader	   *stats = &shared->readers[nreaders];
	PGconn	   *conn = connect_server(&stats->pid);

	while (!stopped())
	{
		reconnect(&conn, &stats->pid);
		atomic_fetch_add(&shared->rebuilds, 1);
		switch (below(6))
		{
			case 0:
				(void) execute(conn, "SELECT summary_cache_invalidate('checker')");
				break;
			case 1:
				(void) execute(conn, "SELECT summary_cache_invalidate('checker', 'numbers')");
				break;
			case 2:
				if (mode == M_INLINE)
					(void) execute(conn, "SELECT summary_cache_invalidate('checker', 'others')");
				break;
			default:
				(void) fetch(conn, stats, true, -1, 0, false);
		}
		/* keep the tables small; the greatest number of each writer stays */
		if (mode == M_COPY && one_in(10))
			for (int t = 0; t < ntables; t++)
				(void) execute(conn, "DELETE FROM checker_%d a WHERE v < (SELECT max(v) FROM checker_%d b"
							   " WHERE b.w = a.w)", t, t);
		rest(rebuild_us / 2 + below(rebuild_us));
	}
	PQfinish(conn);
}

/* A number that a query gives; 0 if it gives none, or fails. */
static long
number_or_zero(PGconn *conn, const char *format, int argument)
{
	char		sql[200];
	PGresult   *result;
	long		value;

	snprintf(sql, sizeof(sql), format, argument);
	result = PQexec(conn, sql);
	value = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 ?
		atol(PQgetvalue(result, 0, 0)) : 0;
	PQclear(result);
	return value;
}

static void
killer_main(void)
{
	PGconn	   *conn = connect_server(NULL);

	while (mode == M_CRASH && !stopped())
	{
		int			victim = atomic_load(&shared->writers[below(nwriters)].pid);
		long		pid;

		for (int i = 0; i < 100 && !stopped(); i++)
			rest(5000 + below(10000));
		reconnect(&conn, NULL);
		/* only what is a process of this server at this moment */
		pid = number_or_zero(conn, one_in(3) ?
							 "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'summary_cache worker'" :
							 "SELECT pid FROM pg_stat_activity WHERE pid = %d", victim);
		if (pid > 1 && kill((pid_t) pid, SIGKILL) == 0)
			atomic_fetch_add(&shared->faults, 1);
	}
	while (!stopped())
	{
		int			victim = below(nwriters + nreaders + 1);
		int			pid = atomic_load(victim < nwriters ? &shared->writers[victim].pid :
									  &shared->readers[victim - nwriters].pid);

		rest(1000 + below(40000));
		switch (below(4))
		{
			case 0:
				(void) execute(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
							   " WHERE backend_type = 'summary_cache worker'");
				break;
			case 1:
				(void) execute(conn, "SELECT pg_terminate_backend(%d)", pid);
				break;
			default:
				(void) execute(conn, "SELECT pg_cancel_backend(%d)", pid);
		}
		atomic_fetch_add(&shared->faults, 1);
	}
	PQfinish(conn);
}

/*-------------------------------------------------------------------------
 * A mode from beginning to end
 *-------------------------------------------------------------------------
 */

/* Query of the numbers in every n-th table from the first on. */
static void
make_query(char *out, size_t size, int first, int step)
{
	size_t		n = snprintf(out, size, "SELECT json_object_agg(w, v ORDER BY w) FROM (");

	for (int t = first; t < ntables; t += step)
		n += snprintf(out + n, size - n, mode == M_COPY ?
					  "%sSELECT w, max(v) AS v FROM checker_%d GROUP BY w" :
					  "%sSELECT w, v FROM checker_%d", t > first ? " UNION ALL " : "", t);
	snprintf(out + n, size - n, ") x");
}

static void
create_tables(PGconn *conn)
{
	char		half[sizeof(document_query)];

	setup(conn, "SET client_min_messages = warning");
	setup(conn, "CREATE EXTENSION IF NOT EXISTS summary_cache");
	setup(conn, "DO $$ BEGIN PERFORM summary_cache_drop('checker');"
		  " EXCEPTION WHEN undefined_object THEN NULL; END $$");
	for (int t = 0; t < MAX_TABLES; t++)
		setup(conn, "DROP TABLE IF EXISTS checker_%d", t);

	for (int t = 0; t < ntables; t++)
	{
		if (mode == M_PARTITION)
			setup(conn, "CREATE TABLE checker_%d (w int, v bigint, part int) PARTITION BY LIST (part);"
				  "CREATE TABLE checker_%d_0 PARTITION OF checker_%d FOR VALUES IN (0);"
				  "CREATE TABLE checker_%d_1 PARTITION OF checker_%d FOR VALUES IN (1)", t, t, t, t, t);
		else
			setup(conn, "CREATE TABLE checker_%d (w int, v bigint)", t);
		setup(conn, mode == M_COPY ? "CREATE INDEX ON checker_%d (w, v)" : "CREATE INDEX ON checker_%d (w)", t);
	}
	for (int w = 0; w < nwriters; w++)
		if (mode == M_PARTITION)
			setup(conn, "INSERT INTO checker_0 VALUES (%d, 0, %d)", w, w % 2);
		else
			setup(conn, "INSERT INTO checker_%d VALUES (%d, 0)", w % ntables, w);

	make_query(document_query, sizeof(document_query), 0, 1);
	make_query(half, sizeof(half), 0, mode == M_INLINE ? 2 : 1);
	setup(conn, "SELECT summary_cache_define('checker', 'numbers', $q$SELECT (%s) AS w$q$%s)", half,
		  mode == M_UNTRACKED ? ", '{}'" : "");
	if (mode == M_INLINE)
	{
		make_query(half, sizeof(half), 1, 2);
		setup(conn, "SELECT summary_cache_define('checker', 'others', $q$SELECT (%s) AS x$q$,"
			  " refresh => 'inline')", half);
	}
	setup(conn, "SELECT summary_cache_reset_stats()");
}

/* What a query gives as a number. */
static long
number(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	long		value;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s: %s", sql, PQerrorMessage(conn));
	value = PQntuples(result) > 0 ? atol(PQgetvalue(result, 0, 0)) : -1;
	PQclear(result);
	return value;
}

/* With all at rest, nothing is pending, and the summary becomes a right hit. */
static void
check_rest(PGconn *conn)
{
	uint64_t	values[MAX_WRITERS];
	uint64_t	truth[MAX_WRITERS];
	bool		hit = false;
	PGresult   *result;

	/* a terminated session may take a moment; so may the worker */
	for (int attempt = 0; attempt < 1000 && !hit; attempt++)
	{
		if (attempt > 0)
			rest(10000);
		if (number(conn, "SELECT coalesce(sum(pending), 0) FROM summary_cache_tables") != 0)
			continue;
		result = PQexec(conn, "SELECT status, document FROM summary_cache_fetch('checker')");
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(conn));
		hit = status_of(PQgetvalue(result, 0, 0)) == HIT;
		if (!parse(PQgetvalue(result, 0, 1), values))
			violation(TORN, "at rest: %.500s", PQgetvalue(result, 0, 1));
		PQclear(result);
	}
	if (!hit)
	{
		violation(STUCK, "10 s after the last transaction: %ld pending, %ld prepared, no hit",
				  number(conn, "SELECT coalesce(sum(pending), 0) FROM summary_cache_tables"),
				  number(conn, "SELECT count(*) FROM pg_prepared_xacts"));
		return;
	}
	result = PQexec(conn, document_query);
	if (PQresultStatus(result) != PGRES_TUPLES_OK || !parse(PQgetvalue(result, 0, 0), truth))
		die("could not read the tables: %s", PQerrorMessage(conn));
	PQclear(result);
	for (int w = 0; w < nwriters; w++)
		if (values[w] != truth[w])
			violation(STUCK, "at rest writer %d has %llu in the hit, %llu in its table", w,
					  (unsigned long long) values[w], (unsigned long long) truth[w]);
}

/* Start a process of the mode; returns in the parent only. */
static pid_t
start(void (*main_of) (int), void (*main_without) (void), int number)
{
	pid_t		pid;

	/* so that no two processes have the same stream */
	(void) random_u64();
	pid = fork();
	if (pid < 0)
		die("fork failed");
	if (pid > 0)
		return pid;
	random_state ^= (uint64_t) random_u64();
	if (main_of)
		main_of(number);
	else
		main_without();
	exit(0);
}

static uint64_t
run_mode(void)
{
	PGconn	   *conn = connect_server(NULL);
	pid_t		pids[MAX_WRITERS + MAX_READERS + 2];
	int			npids = 0;
	int			real_ntables = ntables;
	uint64_t	answers[STATUSES] = {0};
	uint64_t	reads = 0;
	uint64_t	near_hits = 0;
	uint64_t	commits = 0;
	uint64_t	total = 0;
	uint64_t	started;

	memset(shared, 0, sizeof(*shared));
	random_state = seed + UINT64_C(1000003) * mode;
	if (mode == M_PARTITION)
		ntables = 1;
	else if (mode == M_COPY || (mode == M_INLINE && ntables < 2))
		ntables = 2;
	create_tables(conn);

	fflush(stdout);
	for (int w = 0; w < nwriters; w++)
		pids[npids++] = start(writer_main, NULL, w);
	for (int r = 0; r < nreaders; r++)
		pids[npids++] = start(reader_main, NULL, r);
	pids[npids++] = start(NULL, rebuilder_main, 0);
	if (faulty())
		pids[npids++] = start(NULL, killer_main, 0);

	started = now_ns();
	while (now_ns() - started < (uint64_t) seconds * UINT64_C(1000000000))
		rest(10000);
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < npids; i++)
	{
		int			status;

		if (waitpid(pids[i], &status, 0) < 0 || status != 0)
			violation(ERRORS, "a process of the checker failed");
	}
	/* the last crash may still be going on: until the server is up for a while */
	for (int up = 0; mode == M_CRASH && up < 10; up++)
	{
		rest(50000);
		PQclear(PQexec(conn, "SELECT 1"));
		if (PQstatus(conn) != CONNECTION_OK)
			up = 0;
		reconnect(&conn, NULL);
	}
	check_rest(conn);

	for (int r = 0; r <= nreaders + nwriters; r++)
	{
		for (int s = 0; s < STATUSES; s++)
			answers[s] += atomic_load(&shared->readers[r].answers[s]);
		near_hits += atomic_load(&shared->readers[r].near_hits);
	}
	for (int s = 0; s < STATUSES; s++)
		reads += answers[s];
	for (int w = 0; w < nwriters; w++)
		commits += atomic_load(&shared->writers[w].commits);
	printf("%s: reads %llu, hits %llu, share %.1f%%, near %llu, stale %llu, inline %llu, miss %llu,"
		   " private %llu, commits %llu, builds %ld",
		   modes[mode].name, (unsigned long long) reads, (unsigned long long) answers[HIT],
		   reads ? 100.0 * answers[HIT] / reads : 0.0, (unsigned long long) near_hits,
		   (unsigned long long) answers[STALE], (unsigned long long) answers[INLINE],
		   (unsigned long long) answers[MISS], (unsigned long long) answers[PRIVATE],
		   (unsigned long long) commits,
		   number(conn, "SELECT builds_miss + builds_forced + builds_inline + builds_background"
				  " FROM summary_cache_stats WHERE summary = 'checker'"));
	if (faulty())
		printf(", faults %llu", (unsigned long long) atomic_load(&shared->faults));
	for (int v = 0; v < VIOLATIONS; v++)
	{
		uint64_t	n = atomic_load(&shared->violations[v]);

		total += n;
		if (n > 0)
			printf(", %s %llu", violation_names[v], (unsigned long long) n);
	}
	printf(", violations %llu\n", (unsigned long long) total);
	fflush(stdout);

	setup(conn, "SELECT summary_cache_drop('checker')");
	for (int t = 0; t < ntables; t++)
		setup(conn, "DROP TABLE checker_%d", t);
	PQfinish(conn);
	ntables = real_ntables;
	return total;
}

static int
number_option(const char *name, const char *value, int min, int max)
{
	char	   *end;
	long		n = strtol(value, &end, 10);

	if (*value == '\0' || *end != '\0' || n < min || n > max)
		die("--%s takes a number from %d to %d", name, min, max);
	return (int) n;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"conninfo", required_argument, NULL, 'd'},
		{"seconds", required_argument, NULL, 's'},
		{"seed", required_argument, NULL, 'S'},
		{"writers", required_argument, NULL, 'w'},
		{"readers", required_argument, NULL, 'r'},
		{"tables", required_argument, NULL, 't'},
		{"pause", required_argument, NULL, 'p'},
		{"rebuild", required_argument, NULL, 'b'},
		{"commit-delay", required_argument, NULL, 'c'},
		{"list", no_argument, NULL, 'l'},
		{NULL, 0, NULL, 0}
	};
	uint64_t	violations = 0;
	int			option;
	int			index;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1)
	{
		const char *name = option == '?' ? "" : options[index].name;

		switch (option)
		{
			case 'd':
				conninfo = optarg;
				break;
			case 's':
				seconds = number_option(name, optarg, 1, 1000000);
				break;
			case 'S':
				seed = (uint64_t) number_option(name, optarg, 0, 2147483647);
				break;
			case 'w':
				nwriters = number_option(name, optarg, 1, MAX_WRITERS);
				break;
			case 'r':
				nreaders = number_option(name, optarg, 1, MAX_READERS);
				break;
			case 't':
				ntables = number_option(name, optarg, 1, MAX_TABLES);
				break;
			case 'p':
				pause_us = number_option(name, optarg, 0, 10000000);
				break;
			case 'b':
				rebuild_us = number_option(name, optarg, 1, 100000000);
				break;
			case 'c':
				commit_delay_us = number_option(name, optarg, 0, 100000);
				break;
			case 'l':
				for (int m = 0; m < MODES; m++)
					printf("%-10s %s\n", modes[m].name, modes[m].what);
				return 0;
			default:
				return 2;
		}
	}
	if (optind == argc)
		die("name one or more modes; --list lists them");

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("no memory to share");
	for (int a = optind; a < argc; a++)
	{
		for (mode = 0; mode < MODES; mode++)
			if (strcmp(argv[a], modes[mode].name) == 0)
				break;
		if (mode == MODES)
			die("no mode \"%s\"; --list lists them", argv[a]);
		violations += run_mode();
	}
	return violations > 0 ? 1 : 0;
}
