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
 *	  --read-conninfo=STRING
 *	                     readers, rebuilds and invalidations are on this server,
 *	                     a standby of the other
 *	  --remote-apply     the standby is synchronous: each commit waits for it
 *	  --outages          servers are stopped, started and promoted by the caller
 *	                     meanwhile.  Both conninfos may name several hosts, with
 *	                     target_session_attrs
 *	  --junk=N           half of the transactions also truncate N tables that
 *	                     nobody reads (0): replaying their commits takes long
 *	                     after they are visible
 *	  --subtransactions=N  those of writer 0 have N subtransactions (0): replaying
 *	                     their commits takes long before they are visible
 *	  --server-log=FILE  where a server writes that the checker starts again:
 *	                     without, mode restart does nothing
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
 *	torn     a document without one of the numbers, or no document; or a section
 *	         whose parts are not of one snapshot
 *	cold     a summary that nothing concerns is read and is not a hit
 *	refused  a write, or a command of a user, ends in an error that the mode does
 *	         not provoke: also when it is a deadlock's victim, or waits longer for
 *	         a lock than other users hold one
 *	stuck    after the end, a source is still pending or has no slot, a lock is
 *	         left, the summary does not become a hit, the hit differs from the
 *	         tables, or much of a small shared memory is not there for another
 *	error    an error of a reader that the mode does not provoke
 *
 * The report says how many operations there were (reads, commits, DDL and
 * rebuilds), how many of the reads were hits, how many were wrong (lost, unseen,
 * dirty, own, differ or torn), and how many writes and commands were refused.
 *
 * In mode keys there is a document of each key, and each writer has a number in each
 * of them: a document must have what was committed and seen of its key.
 *
 * What was seen or committed counts where it was: on a standby only what was seen
 * there, unless each commit waits for it; and until its server is started again,
 * where servers may lose commits.
 *
 * Each is a violation: exit status 1.  Bad usage, or a setup that fails: 2.
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "checker.h"

#define NEAR_NS		UINT64_C(1000000)

/* With a memory_limit of at most this there is too little of it. */
#define SMALL_MEMORY	4000000
#define ROOM_SECTIONS	8

/* Of the extension in mode closed. */
#define CLOSED_SCHEMA	"checker_closed"

static const char *const violation_names[VIOLATIONS] =
{"lost", "unseen", "dirty", "own", "differ", "torn", "cold", "refused", "stuck", "error"};

static const char *const status_names[STATUSES] =
{"hit-revision", "progress-section", "stale", "miss", "private"};

/* A session that is terminated, cancelled or impatient; and what follows in its transaction. */
#define FAULTS	"57014 57P01 55P03 25P02"
#define LOSS	"57P01 57P02 57P03 25P02"

const ModeInfo modes[MODES] =
{
	[M_PLAIN] = {"plain", "updates, deletes with inserts, and rollbacks of several tables", "", ""},
	[M_2PC] = {"2pc", "prepared transactions, finished by the same or another session, or rolled back", "", ""},
	[M_SAVEPOINT] = {"savepoint", "subtransactions, some rolled back", "", ""},
	[M_SYNC] = {"sync", "synchronous_commit on, local and off", "", ""},
	[M_RR] = {"rr", "REPEATABLE READ readers: the answer is what their own query gives", "", ""},
	[M_INLINE] = {"inline", "half of the tables in an inline section", "", ""},
	[M_PARTITION] = {"partition", "writes to the root, to partitions, and from one to another", "", ""},
	[M_COPY] = {"copy", "COPY FROM", "", ""},
	[M_FAULTS] = {"faults", "sessions and the worker terminated or cancelled at random, locks and timeouts",
	FAULTS, FAULTS, .mixed = true},
	[M_CRASH] = {"crash", "backends and the worker killed by SIGKILL: the server restarts each time",
	LOSS, LOSS, .mixed = true, .crashes = true},
	[M_RESTART] = {"restart", "the server shut down immediately or killed by SIGKILL, and started again",
	LOSS, LOSS, .mixed = true, .crashes = true},
	[M_FULL] = {"full", "documents that at times do not fit in shared memory (of a few MB)", "", ""},
	[M_OOM] = {"oom", "no memory in some builds and for some marks (debug build)", "", "53200"},
	[M_CALLBACK] = {"callback", "commits that another library fails, or writes in (test/stress/callback.c)",
	"22012 57P01", "", .mixed = true},
	/* who writes a partition locks it before its root, ALTER TABLE the other way round */
	[M_DDL] = {"ddl", "DDL that changes what the document has, beside writers",
	"40P01 25P02", "40P01 25P02", .alone = true},
	[M_INHERIT] = {"inherit", "the table in the middle of a tree gets other parents, beside open and prepared writers of the one below it",
	"", "", .mixed = true, .bounded = true},
	[M_CLOSED] = {"closed", "writers whose role has no USAGE on the extension's schema",
	"", "", .mixed = true, .still = true, .bounded = true},
	[M_TEMPORARY] = {"temporary", "DDL on temporary objects, beside which hits stay hits",
	"", "", .still = true, .bounded = true},
	[M_BULK] = {"bulk", "COPY and TRUNCATE, and reads after them in the same transaction",
	"", "", .still = true, .bounded = true},
	/* a writer's own read would wait for who holds a table for long */
	[M_EAGER] = {"eager", "the worker refreshes by itself, beside transactions that lock several sources in any order",
	"", "", .alone = true, .bounded = true},
	[M_PARTS] = {"parts", "sections of several parts: a document, stale or not, has each of them as of one snapshot",
	"", "", .mixed = true},
	[M_MEMBERS] = {"members", "sections over single partitions, beside writes through the root, to them, and from one to another",
	"", ""},
	[M_NAMES] = {"names", "DDL that changes what the names of a query mean, and DDL that does not, beside writers",
	"", "", .mixed = true, .bounded = true},
	[M_KEYS] = {"keys", "documents by keys, beside writers of rows of some keys, also from one key to another",
	"", "", .mixed = true},
	/* XX000: "could not open relation", of a function's result type, by the parser */
	[M_EXTENSION] = {"extension", "the extension dropped, created, and the summary defined again",
	"", "42883 42704 55000 40P01 XX000", .alone = true},
	[M_DATABASE] = {"database", "databases with summaries created, used and dropped", "", ""},
	[M_UNTRACKED] = {"untracked", "no source is tracked: must fail, or the checker is blind", "", ""},
};

Shared	   *shared;
const char *conninfo = "";
const char *read_conninfo = NULL;
bool		on_standby = false;
bool		outages = false;
bool		remote_apply = false;
const char *server_log = NULL;
int			nwriters = 4;
int			nreaders = 3;
int			ntables = 2;
int			nnumbers;
int			pause_us = 2000;
int			rebuild_us = 20000;
int			commit_delay_us = 0;
int			njunk = 0;
int			nsubtransactions = 0;
Mode		mode;
bool		is_writer = false;
char		document_query[16384];
char		define_command[20000];
static int	seconds = 5;
static uint64_t seed = 1;

/*-------------------------------------------------------------------------
 * Small things
 *-------------------------------------------------------------------------
 */

uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t) ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

void
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

int
below(int n)
{
	return n > 0 ? (int) (random_u64() % (uint64_t) n) : 0;
}

bool
one_in(int n)
{
	return below(n) == 0;
}

void
rest(int us)
{
	struct timespec ts = {us / 1000000, us % 1000000 * 1000L};

	nanosleep(&ts, NULL);
}

bool
stopped(void)
{
	return atomic_load(&shared->stop) != 0;
}

/* Count a violation, and tell of the first few. */
void
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

void
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

static const char *
expected_errors(void)
{
	if (outages)
		return LOSS;
	return is_writer ? modes[mode].write_errors : modes[mode].read_errors;
}

/* Do sessions of this kind fail at random in this mode? */
bool
may_fail(void)
{
	return expected_errors()[0] != '\0';
}

/* May a server come back without what was not flushed, or not sent? */
bool
may_lose_commits(void)
{
	return modes[mode].crashes || outages;
}

static bool
may_lose_connection(void)
{
	return strstr(expected_errors(), "57P01") != NULL;
}

/* What this process is connected to: a run of a server. */
static struct
{
	PGconn	   *conn;
	int			run;
}			connections[4];

/*
 * The run of a server in which a connection is.  What somebody has seen is there
 * until it ends; in the next one, a standby may be behind that, and a primary
 * without it.  If there is one server, that loses nothing, there is one run.
 */
static int
run_of(PGconn *conn)
{
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		if (connections[i].conn == conn)
			return connections[i].run;
	return 0;
}

static bool
note_run(PGconn *conn)
{
	PGresult   *result;
	uint64_t	started;
	int			run = 0;

	if (read_conninfo == NULL)
		return true;
	result = PQexec(conn, "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		PQclear(result);
		return false;
	}
	started = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	for (;; run++)
	{
		uint64_t	none = 0;

		if (run == MAX_RUNS)
			die("too many runs of servers");
		if (atomic_compare_exchange_strong(&shared->runs[run], &none, started) || none == started)
			break;
	}
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		if (connections[i].conn == NULL)
		{
			connections[i].conn = conn;
			connections[i].run = run;
			return true;
		}
	die("too many connections");
	return false;
}

void
disconnect(PGconn *conn)
{
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		if (connections[i].conn == conn)
			connections[i].conn = NULL;
	PQfinish(conn);
}

PGconn *
connect_server(_Atomic int *pid)
{
	PGconn	   *conn = NULL;

	/* a backend may be terminated before it answers at all, a server be in recovery */
	for (int attempt = 0; attempt < 6000; attempt++)
	{
		conn = PQconnectdb(on_standby ? read_conninfo : conninfo);
		if (PQstatus(conn) == CONNECTION_OK && note_run(conn))
			break;
		if (!may_lose_connection() || attempt == 5999)
			die("could not connect: %s", PQerrorMessage(conn));
		PQfinish(conn);
		rest(10000);
	}
	PQsetNoticeReceiver(conn, no_notices, NULL);
	if (remote_apply && !on_standby)
		PQclear(PQexec(conn, "SET synchronous_commit = remote_apply"));
	if (mode == M_CLOSED)
		setup(conn, is_writer ? "SET ROLE checker_writer" : "SET search_path = public, " CLOSED_SCHEMA);
	if (mode == M_NAMES)
		setup(conn, "SET search_path = checker_first, public");
	if (is_writer && modes[mode].bounded)
		setup(conn, "SET lock_timeout = " LOCK_BOUND);
	if (pid)
		atomic_store(pid, PQbackendPID(conn));
	return conn;
}

/* To another database; whether it worked is the caller's to see. */
PGconn *
connect_database(const char *database)
{
	char		other[2000];
	PGconn	   *conn;

	/* of two values of a key the last one counts */
	snprintf(other, sizeof(other), "%s dbname=%s", conninfo, database);
	conn = PQconnectdb(other);
	PQsetNoticeReceiver(conn, no_notices, NULL);
	return conn;
}

/* An error that the mode provokes. */
static bool
is_fault(PGconn *conn, PGresult *result)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	if (PQstatus(conn) == CONNECTION_BAD || state == NULL)
		return may_lose_connection();
	return strstr(expected_errors(), state) != NULL;
}

/* Execute; NULL after an error, which is counted unless it was provoked. */
PGresult *
query(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_COPY_IN)
		return result;
	if (!is_fault(conn, result))
		violation(is_writer ? REFUSED : ERRORS, "%.200s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
	return NULL;
}

bool
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

/* COPY FROM STDIN, with the rows as the client sends them. */
bool
copy(PGconn *conn, const char *command, const char *rows)
{
	PGresult   *result = query(conn, command);
	bool		ok;

	if (result == NULL)
		return false;
	PQclear(result);
	(void) PQputCopyData(conn, rows, (int) strlen(rows));
	(void) PQputCopyEnd(conn, NULL);
	result = PQgetResult(conn);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	if (!ok)
		violation(REFUSED, "COPY: %s", PQerrorMessage(conn));
	PQclear(result);
	PQclear(PQgetResult(conn));
	return ok;
}

/* For what has to work. */
void
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

/* The number that a query gives, -1 for none. */
long
number(PGconn *conn, const char *format,...)
{
	char		sql[2000];
	va_list		args;
	PGresult   *result;
	long		value;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s: %s", sql, PQerrorMessage(conn));
	value = PQntuples(result) > 0 ? atol(PQgetvalue(result, 0, 0)) : -1;
	PQclear(result);
	return value;
}

void
reconnect(PGconn **conn, _Atomic int *pid)
{
	if (PQstatus(*conn) == CONNECTION_OK)
		return;
	disconnect(*conn);
	*conn = connect_server(pid);
}

/*-------------------------------------------------------------------------
 * Documents
 *-------------------------------------------------------------------------
 */

/*
 * The numbers of a document: every "N" : M in it is number M of writer N.
 * False unless each is there exactly once.
 */
static bool
parse_numbers(const char *document, uint64_t *values)
{
	bool		found[MAX_NUMBERS] = {false};
	int			nfound = 0;

	for (const char *p = document; (p = strchr(p, '"')) != NULL; p++)
	{
		char	   *end;
		long		writer;

		if (!isdigit((unsigned char) p[1]))
			continue;
		writer = strtol(p + 1, &end, 10);
		if (*end++ != '"' || writer >= nnumbers || found[writer])
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
	return nfound == nnumbers;
}

/* Is the filler of mode full as long as the document says? */
static bool
filler_is_whole(const char *document)
{
	const char *filler = strstr(document, "\"filler\":\"");
	const char *size = strstr(document, "\"size\":");

	return filler && size &&
		strspn(filler + strlen("\"filler\":\""), "x") == strtoul(size + strlen("\"size\":"), NULL, 10);
}

/* A writer's number under one of its other names; false if it is not there. */
static bool
find_named(const char *document, char letter, int writer, uint64_t *value)
{
	char		key[20];
	const char *p;

	snprintf(key, sizeof(key), "\"%c%d\"", letter, writer);
	p = strstr(document, key);
	if (p == NULL)
		return false;
	p += strlen(key);
	while (*p == ' ' || *p == ':')
		p++;
	*value = strtoull(p, NULL, 10);
	return isdigit((unsigned char) *p);
}

/*
 * In mode parts, each transaction writes its number into tables of several parts: what
 * two parts of one section have must be the same.
 */
static bool
parts_agree(const char *document, const uint64_t *values)
{
	for (int w = 0; w < nwriters; w++)
	{
		uint64_t	twin;
		uint64_t	left;
		uint64_t	right;

		if (!find_named(document, 't', w, &twin) || !find_named(document, 'l', w, &left) ||
			!find_named(document, 'r', w, &right) || twin != values[w] || left != right)
			return false;
	}
	return true;
}

/* A whole document; false if something is missing. */
static bool
parse(const char *document, uint64_t *values)
{
	return parse_numbers(document, values) && (mode != M_FULL || filler_is_whole(document)) &&
		(mode != M_PARTS || parts_agree(document, values));
}

/* Which of all numbers writer w has in the document of a key. */
int
number_of(int key, int w)
{
	return key * nnumbers + w;
}

/* A key, written in any way; the text is good until there are three others. */
const char *
key_text(int key)
{
	static char texts[4][20];
	static int	last;
	char	   *text = texts[last = (last + 1) % 4];

	snprintf(text, sizeof(texts[0]), one_in(2) ? "%d" : one_in(2) ? "%d.0" : "%d.00", key);
	return text;
}

/* A query of what the document of a key has. */
static const char *
query_of(int key)
{
	static char keyed_query[sizeof(document_query)];

	if (mode != M_KEYS)
		return document_query;
	make_keyed_query(keyed_query, sizeof(keyed_query), key_text(key), false);
	return keyed_query;
}

void
take_demand(PGconn *conn, int key, Demand *demand)
{
	demand->run = run_of(conn);
	demand->key = key;
	for (int w = 0; w < nnumbers; w++)
	{
		int			n = number_of(key, w);

		demand->committed[w] = atomic_load(read_conninfo && !remote_apply ? &shared->known[demand->run][n] :
										   &shared->writers[n].committed);
		demand->seen[w] = atomic_load(&shared->seen[demand->run][n]);
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

/*
 * Check numbers that were read; own is a writer whose number may be its own
 * transaction's.  Where DDL takes no lock that readers wait for, PostgreSQL lets
 * another session plan without it for a moment, and so with rows that are moved
 * to make up for it: only what had been committed, and nothing that was rolled
 * back, is asked of its numbers.
 */
static void
check_values(const uint64_t *values, Demand *demand, const char *how, bool current, int own)
{
	for (int w = 0; w < nnumbers; w++)
	{
		int			n = number_of(demand->key, w);
		uint64_t	attempted = w < nwriters ? atomic_load(&shared->writers[n].attempted) : NEVER;

		if (w == own)
			continue;
		if (values[w] > attempted)
			violation(DIRTY, "%s: writer %d has %llu, but has not come further than %llu", how, w,
					  (unsigned long long) values[w], (unsigned long long) attempted);
		else if (w < nwriters || mode != M_DDL)
			raise_to(&shared->seen[demand->run][n], values[w]);
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

/* Count an answer by its status. */
Status
count_answer(Reader *stats, const char *name, Demand *demand)
{
	Status		status = status_of(name);

	atomic_fetch_add(&stats->answers[status], 1);
	if (status == HIT && is_near(demand))
		atomic_fetch_add(&stats->near_hits, 1);
	return status;
}

/* A read, which may fail as any reader's; NULL if it did. */
PGresult *
read_summary(PGconn *conn, const char *sql)
{
	bool		writer = is_writer;
	PGresult   *result;

	is_writer = false;
	result = query(conn, sql);
	is_writer = writer;
	return result;
}

/* The summary of a table that nobody writes, and that no DDL of the mode concerns. */
void
read_still(PGconn *conn, const char *when)
{
	PGresult   *result = read_summary(conn, "SELECT status, document->>'still' FROM summary_cache_fetch('checker_still')");

	if (result == NULL)
		return;
	atomic_fetch_add(&shared->still, 1);
	if (strcmp(PQgetvalue(result, 0, 1), "1") != 0)
		violation(DIRTY, "%s: a table that nobody writes has %s rows", when, PQgetvalue(result, 0, 1));
	if (status_of(PQgetvalue(result, 0, 0)) != HIT)
		violation(COLD, "%s: a summary that nothing concerns is %s", when, PQgetvalue(result, 0, 0));
	PQclear(result);
}

/*
 * One read, checked.  own >= 0: this session is that writer, and own_value what
 * it must find: at least, or exactly inside its transaction.
 */
bool
fetch(PGconn *conn, Reader *stats, bool force, int own, uint64_t own_value, bool inside)
{
	return fetch_key(conn, stats, mode == M_KEYS ? below(KEYS) : 0, force, own, own_value, inside);
}

/* The same of the document of a key. */
bool
fetch_key(PGconn *conn, Reader *stats, int key, bool force, int own, uint64_t own_value, bool inside)
{
	Demand		demand;
	char		keyed_read[200];
	uint64_t	values[MAX_NUMBERS];
	PGresult   *result;
	Status		status;

	take_demand(conn, key, &demand);
	snprintf(keyed_read, sizeof(keyed_read), "SELECT status, document FROM summary_cache_fetch('checker'%s, parameters => '{%s}')",
			 force ? ", force_refresh => true" : "", key_text(key));
	if (mode == M_KEYS)
		result = read_summary(conn, keyed_read);
	else if (mode == M_CLOSED && is_writer)
		result = read_summary(conn, force ? "SELECT status, document FROM checker_fetch(true)" :
							  "SELECT status, document FROM checker_fetch(false)");
	else
		result = read_summary(conn, force ?
							  "SELECT status, document FROM summary_cache_fetch('checker', force_refresh => true)" :
							  "SELECT status, document FROM summary_cache_fetch('checker')");
	if (result == NULL)
		return false;
	status = count_answer(stats, PQgetvalue(result, 0, 0), &demand);
	if (!parse(PQgetvalue(result, 0, 1), values))
		violation(TORN, "%s: %.500s", status_names[status], PQgetvalue(result, 0, 1));
	else
	{
		check_values(values, &demand, status_names[status], status != STALE, inside ? own : -1);
		/* while rebuilds fail, the old document is served, whoever asks */
		if (own >= 0 && (mode != M_OOM || status != STALE) && (inside ? values[own] != own_value : values[own] < own_value))
			violation(OWN, "%s%s: writer %d wrote %llu itself, but found %llu", status_names[status],
					  inside ? " in its own transaction" : "", own,
					  (unsigned long long) own_value, (unsigned long long) values[own]);
	}
	PQclear(result);
	return true;
}

/* What the tables have, by a plain SELECT; it is held to the same demands. */
bool
look(PGconn *conn)
{
	Demand		demand;
	int			key = mode == M_KEYS ? below(KEYS) : 0;
	uint64_t	values[MAX_NUMBERS];
	PGresult   *result;

	take_demand(conn, key, &demand);
	result = query(conn, query_of(key));
	if (result == NULL)
		return false;
	if (!parse_numbers(PQgetvalue(result, 0, 0), values))
		die("the query gives %s", PQgetvalue(result, 0, 0));
	check_values(values, &demand, "plain SELECT", true, -1);
	PQclear(result);
	return true;
}

/* A number is committed. */
void
note_committed(PGconn *conn, int w, uint64_t value)
{
	atomic_store(&shared->writers[w].committed, value);
	raise_to(&shared->known[run_of(conn)][w], value);
}

/* End a transaction with a command after which value is committed. */
bool
commit(PGconn *conn, int w, uint64_t value, const char *command)
{
	Writer	   *me = &shared->writers[w];
	PGresult   *result;
	bool		ok;

	atomic_store(&me->attempted, value);
	atomic_fetch_add(&shared->in_commit, 1);
	result = query(conn, command);
	/* COMMIT of a transaction that failed before is no error, but a ROLLBACK */
	ok = result && strcmp(PQcmdStatus(result), "ROLLBACK") != 0;
	PQclear(result);
	if (ok)
	{
		note_committed(conn, w, value);
		atomic_fetch_add(&me->commits, 1);
	}
	atomic_store(&shared->last_commit, now_ns());
	atomic_fetch_sub(&shared->in_commit, 1);
	return ok;
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
		n += snprintf(out + n, size - n, mode == M_COPY || mode == M_BULK || mode == M_MEMBERS ?
					  "%sSELECT w, max(v) AS v FROM checker_%d GROUP BY w" :
					  mode == M_DDL ? "%sSELECT w, sum(v) AS v FROM checker_%d GROUP BY w" :
					  "%sSELECT w, v FROM checker_%d", t > first ? " UNION ALL " : "", t);
	if (mode == M_DDL)
		n += snprintf(out + n, size - n,
					  " UNION ALL SELECT %d, v FROM checker_view"
					  " UNION ALL SELECT %d, checker_function()"
					  " UNION ALL SELECT %d, v FROM checker_matview"
					  " UNION ALL SELECT %d, v FROM checker_rewrite"
					  " UNION ALL SELECT %d, v FROM checker_column"
					  " UNION ALL SELECT %d, v FROM checker_trigger",
					  nwriters + D_VIEW, nwriters + D_FUNCTION, nwriters + D_MATVIEW,
					  nwriters + D_REWRITE, nwriters + D_COLUMN, nwriters + D_TRIGGER);
	if (mode == M_NAMES)
		n += snprintf(out + n, size - n, " UNION ALL SELECT %d, v FROM checker_view UNION ALL SELECT %d, v FROM checker_named",
					  nwriters + N_VIEW, nwriters + N_NAME);
	if (mode == M_EAGER)
	{
		/* no number unless all tables have the same one */
		n += snprintf(out + n, size - n, " UNION ALL SELECT %d, CASE WHEN count(*) = %d AND min(v) = max(v)"
					  " THEN min(v) END FROM (", nwriters, LOCK_TABLES);
		for (int i = 0; i < LOCK_TABLES; i++)
			n += snprintf(out + n, size - n, "%sSELECT v FROM checker_lock_%d", i > 0 ? " UNION ALL " : "", i);
		n += snprintf(out + n, size - n, ") l");
	}
	snprintf(out + n, size - n, ") x");
}

/* Sections of several parts: of each table one, and of those that have the same numbers. */
static void
define_parts(PGconn *conn)
{
	static const char *const pairs[] = {"twin", "left", "right"};
	char	   *command = define_command;
	size_t		size = sizeof(define_command);
	size_t		n;

	for (int i = 0; i < 3; i++)
	{
		setup(conn, "DROP TABLE IF EXISTS checker_%s; CREATE TABLE checker_%s (w int PRIMARY KEY, k text, v bigint)",
			  pairs[i], pairs[i]);
		for (int w = 0; w < nwriters; w++)
			setup(conn, "INSERT INTO checker_%s VALUES (%d, '%c%d', 0)", pairs[i], w, pairs[i][0], w);
	}
	n = snprintf(command, size, "SELECT summary_cache_define('checker', 'numbers', $q$SELECT");
	for (int t = 0; t < ntables; t++)
		n += snprintf(command + n, size - n, " (SELECT json_object_agg(w, v ORDER BY w) FROM checker_%d) AS w%d,", t, t);
	snprintf(command + n, size - n, " 'constant' AS constant, (SELECT json_object_agg(k, v ORDER BY w) FROM checker_twin) AS twin$q$)");
	setup(conn, "%s", command);
	setup(conn, "SELECT summary_cache_define('checker', 'others', $q$SELECT (SELECT json_object_agg(k, v ORDER BY w) FROM checker_left) AS l,"
		  " (SELECT json_object_agg(k, v ORDER BY w) FROM checker_right) AS r$q$, refresh => 'inline')");
}

/* A section of which each part reads one partition, by its key or by its name. */
static void
define_members(PGconn *conn)
{
	snprintf(define_command, sizeof(define_command),
			 "SELECT summary_cache_define('checker', 'numbers', $q$SELECT"
			 " (SELECT json_object_agg(w, v ORDER BY w) FROM (SELECT w, max(v) AS v FROM checker_0 WHERE part = 0 GROUP BY w) x) AS p,"
			 " (SELECT json_object_agg(w, v ORDER BY w) FROM (SELECT w, max(v) AS v FROM checker_0_1 GROUP BY w) x) AS q$q$)");
	setup(conn, "%s", define_command);
}

/* Documents by a number that is a key. */
static void
define_keys(PGconn *conn)
{
	char		section[sizeof(document_query)];

	make_keyed_query(section, sizeof(section), "$1", true);
	snprintf(define_command, sizeof(define_command),
			 "SELECT summary_cache_define('checker', 'numbers', $q$%s$q$, parameters => '{key numeric}')", section);
	setup(conn, "%s", define_command);
	if (number(conn, "SELECT count(*) FROM summary_cache.definition, unnest(not_keyed) reason WHERE summary = 'checker' AND reason <> ''") > 0)
		die("not all tables are keyed");
}

/* Tables that a writer truncates. */
static void
create_junk(PGconn *conn)
{
	if (nsubtransactions > 0)
		setup(conn, "CREATE TABLE checker_filler (n int, rival int)");
	for (int w = 0; w < nwriters && njunk > 0; w++)
		for (int n = 0; n < njunk; n++)
			setup(conn, "DROP TABLE IF EXISTS checker_junk_%d_%d; CREATE TABLE checker_junk_%d_%d (n int)", w, n, w, n);
}

static void
drop_junk(PGconn *conn)
{
	for (int w = 0; w < nwriters && njunk > 0; w++)
		for (int n = 0; n < njunk; n++)
			setup(conn, "DROP TABLE checker_junk_%d_%d", w, n);
}

static void
drop_tables(PGconn *conn)
{
	for (int t = 0; t < MAX_TABLES; t++)
		setup(conn, "DROP TABLE IF EXISTS checker_%d CASCADE", t);
	setup(conn, "DROP TABLE IF EXISTS checker_top, checker_other CASCADE;"
		  "DROP TABLE IF EXISTS checker_0_2, checker_0_3, checker_base, checker_rewrite, checker_column,"
		  " checker_trigger, checker_filler, checker_still, checker_free CASCADE;"
		  "DROP MATERIALIZED VIEW IF EXISTS checker_matview;"
		  "DROP VIEW IF EXISTS checker_view, checker_named;"
		  "DROP SCHEMA IF EXISTS checker_first CASCADE;"
		  "DROP FUNCTION IF EXISTS checker_function(), checker_unseen()");
	drop_keyed_tables(conn);
}

/* What the statements of ddl_main() work on: each number begins with 0. */
static void
create_ddl_tables(PGconn *conn)
{
	setup(conn, "CREATE TABLE checker_0_2 PARTITION OF checker_0 FOR VALUES IN (2);"
		  "CREATE TABLE checker_0_3 PARTITION OF checker_0 FOR VALUES IN (3);"
		  "INSERT INTO checker_0 VALUES (%d, 1, 0), (%d, -1, 3), (%d, 1, 0), (%d, -1, 2), (%d, 0, 0)",
		  nwriters + D_ATTACH, nwriters + D_ATTACH, nwriters + D_TRUNCATE, nwriters + D_TRUNCATE,
		  nwriters + D_PARTITION);
	setup(conn, "CREATE VIEW checker_view AS SELECT 0::bigint AS v;"
		  "CREATE FUNCTION checker_function() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 0::bigint';"
		  "CREATE TABLE checker_base (v bigint);"
		  "INSERT INTO checker_base VALUES (0);"
		  "CREATE MATERIALIZED VIEW checker_matview AS SELECT v FROM checker_base;"
		  "CREATE UNIQUE INDEX ON checker_matview (v);"
		  "CREATE TABLE checker_rewrite (v bigint);"
		  "INSERT INTO checker_rewrite VALUES (0);"
		  "CREATE TABLE checker_column (v bigint, other int);"
		  "INSERT INTO checker_column VALUES (0);"
		  "CREATE TABLE checker_trigger (v bigint);"
		  "INSERT INTO checker_trigger VALUES (0)");
}

/* Mode closed has the extension in a schema of its own; what an earlier run has left goes. */
static void
close_schema(PGconn *conn, bool close)
{
	setup(conn, "DROP FUNCTION IF EXISTS checker_fetch(boolean)");
	if (number(conn, "SELECT count(*) FROM pg_namespace WHERE nspname = '" CLOSED_SCHEMA "'") > 0)
		setup(conn, "DROP EXTENSION IF EXISTS summary_cache CASCADE; DROP SCHEMA " CLOSED_SCHEMA " CASCADE");
	if (number(conn, "SELECT count(*) FROM pg_roles WHERE rolname = 'checker_writer'") > 0)
		setup(conn, "DROP OWNED BY checker_writer; DROP ROLE checker_writer");
	if (!close)
		return;
	setup(conn, "DROP EXTENSION IF EXISTS summary_cache CASCADE; CREATE SCHEMA " CLOSED_SCHEMA ";"
		  "CREATE EXTENSION summary_cache SCHEMA " CLOSED_SCHEMA ";"
		  "CREATE ROLE checker_writer");
	/* superusers' only */
	setup(conn, "GRANT SET ON PARAMETER commit_delay TO checker_writer");
	/* writers read as others may let them */
	setup(conn, "CREATE FUNCTION checker_fetch(force boolean, OUT status text, OUT document json) LANGUAGE sql SECURITY DEFINER"
		  " AS 'SELECT f.status, f.document FROM " CLOSED_SCHEMA ".summary_cache_fetch(''checker'', force_refresh => force) f'");
}

/* A summary that nothing in the mode concerns, and that is a hit from now on. */
static void
create_still(PGconn *conn)
{
	bool		hit = false;

	setup(conn, "CREATE TABLE checker_still (id int PRIMARY KEY, n int DEFAULT 1 CHECK (n > 0));"
		  "INSERT INTO checker_still VALUES (1);"
		  "SELECT summary_cache_define('checker_still', 'still', 'SELECT count(*) AS still FROM checker_still')");
	for (int attempt = 0; attempt < 1000 && !hit; attempt++)
	{
		if (attempt > 0)
			rest(10000);
		hit = number(conn, "SELECT (status = 'hit-revision')::int FROM summary_cache_fetch('checker_still')") == 1;
	}
	if (!hit)
		die("the summary of a table that nobody writes does not become a hit");
}

static bool
has_partitions(void)
{
	return mode == M_PARTITION || mode == M_MEMBERS || mode == M_DDL;
}

static void
create_tables(PGconn *conn)
{
	char		half[sizeof(document_query)];

	setup(conn, "SET client_min_messages = warning");
	close_schema(conn, mode == M_CLOSED);
	setup(conn, "CREATE EXTENSION IF NOT EXISTS summary_cache");
	setup(conn, "DO $$ BEGIN PERFORM summary_cache_drop('checker');"
		  " EXCEPTION WHEN undefined_object THEN NULL; END $$");
	drop_tables(conn);
	create_junk(conn);

	if (mode == M_KEYS)
		create_keyed_tables(conn);
	for (int t = 0; t < ntables && mode != M_KEYS; t++)
	{
		if (has_partitions())
			setup(conn, "CREATE TABLE checker_%d (w int, v bigint, part int) PARTITION BY LIST (part);"
				  "CREATE TABLE checker_%d_0 PARTITION OF checker_%d FOR VALUES IN (0);"
				  "CREATE TABLE checker_%d_1 PARTITION OF checker_%d FOR VALUES IN (1)", t, t, t, t, t);
		else
			setup(conn, "CREATE TABLE checker_%d (w int, v bigint)", t);
		setup(conn, mode == M_COPY || mode == M_BULK || mode == M_MEMBERS ? "CREATE INDEX ON checker_%d (w, v)" : "CREATE INDEX ON checker_%d (w)", t);
	}
	/* the rows are below checker_0, and never above it */
	if (mode == M_INHERIT)
		setup(conn, "CREATE TABLE checker_top (w int, v bigint); CREATE TABLE checker_other (w int, v bigint);"
			  "CREATE TABLE checker_0_0 () INHERITS (checker_0); CREATE INDEX ON checker_0_0 (w)");
	for (int w = 0; w < (mode == M_INHERIT ? nnumbers : nwriters) && mode != M_KEYS; w++)
		if (mode == M_INHERIT)
			setup(conn, "INSERT INTO checker_0_0 VALUES (%d, 0)", w);
		else if (has_partitions())
			setup(conn, "INSERT INTO checker_0 VALUES (%d, 0, %d)", w, w % 2);
		else
			setup(conn, "INSERT INTO checker_%d VALUES (%d, 0)", w % ntables, w);
	if (mode == M_DDL)
		create_ddl_tables(conn);
	if (mode == M_NAMES)
		setup(conn, "CREATE SCHEMA checker_first; CREATE VIEW public.checker_view AS SELECT 0::bigint AS v;"
			  "CREATE VIEW public.checker_named AS SELECT 0::bigint AS v;"
			  "CREATE MATERIALIZED VIEW public.checker_matview AS SELECT count(*) AS n FROM checker_0");
	for (int i = 0; i < LOCK_TABLES && mode == M_EAGER; i++)
		setup(conn, "DROP TABLE IF EXISTS checker_lock_%d; CREATE TABLE checker_lock_%d (v bigint);"
			  "INSERT INTO checker_lock_%d VALUES (0)", i, i, i);
	if (mode == M_CLOSED)
	{
		setup(conn, "CREATE TABLE checker_free (n int); GRANT ALL ON checker_free TO checker_writer");
		for (int t = 0; t < ntables; t++)
			setup(conn, "GRANT SELECT, INSERT, UPDATE, DELETE ON checker_%d TO checker_writer", t);
	}

	make_query(document_query, sizeof(document_query), 0, 1);
	make_query(half, sizeof(half), 0, mode == M_INLINE ? 2 : 1);
	snprintf(define_command, sizeof(define_command),
			 "SELECT summary_cache_define('checker', 'numbers', $q$SELECT (%s) AS w$q$%s)", half,
			 mode == M_UNTRACKED ? ", '{}'" : "");
	if (mode == M_PARTS)
		define_parts(conn);
	else if (mode == M_MEMBERS)
		define_members(conn);
	else if (mode == M_KEYS)
		define_keys(conn);
	else
		setup(conn, "%s", define_command);
	if (mode == M_INLINE)
	{
		make_query(half, sizeof(half), 1, 2);
		setup(conn, "SELECT summary_cache_define('checker', 'others', $q$SELECT (%s) AS x$q$,"
			  " refresh => 'inline')", half);
	}
	/* so that its trees are tracked, too */
	if (mode == M_INHERIT)
		setup(conn, "SELECT summary_cache_define('checker_above', 'top',"
			  " 'SELECT count(*) AS top, coalesce(sum(v), 0) AS top_sum FROM checker_top');"
			  "SELECT summary_cache_define('checker_above', 'other',"
			  " 'SELECT count(*) AS other, coalesce(sum(v), 0) AS other_sum FROM checker_other')");
	if (mode == M_EAGER)
	{
		setup(conn, "SELECT summary_cache_configure('checker', 'eager_refresh', 'on')");
		/* only the worker builds this one: its query locks what is not known to be a source */
		setup(conn, "CREATE FUNCTION checker_unseen() RETURNS bigint LANGUAGE plpgsql STABLE AS"
			  " $$ DECLARE n bigint; BEGIN EXECUTE 'SELECT count(*) FROM checker_lock_0' INTO n; RETURN n; END $$;"
			  "SELECT summary_cache_define('checker_unseen', 'main', 'SELECT count(*) AS n, checker_unseen() AS m FROM checker_0', '{checker_0}');"
			  "SELECT summary_cache_configure('checker_unseen', 'eager_refresh', 'on')");
	}
	for (int w = 0; w < nwriters && mode == M_BULK; w++)
		setup(conn, "SELECT summary_cache_define('checker_bulk_%d', 'one', 'SELECT max(v) AS n FROM checker_%d')", w, w);
	if (mode == M_FULL)
	{
		setup(conn, "CREATE TABLE checker_filler (n int, rival int);"
			  "INSERT INTO checker_filler VALUES (0, 0)");
		setup(conn, "SELECT summary_cache_define('checker', 'filler',"
			  " $q$SELECT n AS size, repeat('x', n) AS filler FROM checker_filler$q$);"
			  "SELECT summary_cache_define('checker', 'second',"
			  " $q$SELECT repeat('z', n) AS second FROM checker_filler$q$);"
			  "SELECT summary_cache_define('checker_rival', 'filler',"
			  " $q$SELECT rival AS size, repeat('y', rival) AS filler FROM checker_filler$q$)");
	}
	/* what an earlier mode has left would be served until the new definition is built */
	setup(conn, "SELECT summary_cache_invalidate(summary::text)"
		  " FROM (SELECT DISTINCT summary FROM summary_cache_sections) s");
	if (mode == M_EAGER)
		setup(conn, "SELECT summary_cache_get('checker_unseen')");
	setup(conn, "SELECT summary_cache_reset_stats()");
	if (modes[mode].still)
		create_still(conn);
}

/*
 * Was everything given back?  In a shared memory of a few MB only: a document of
 * two fifths of its size must find its place.  Not in one piece: the area keeps
 * a block of small objects here and there.
 */
static void
check_room(PGconn *conn)
{
	long		limit = number(conn, "SELECT pg_size_bytes(current_setting('summary_cache.memory_limit'))");
	bool		cached = false;

	if (limit > SMALL_MEMORY)
		return;
	for (int s = 0; s < ROOM_SECTIONS; s++)
		setup(conn, "SELECT summary_cache_define('checker_room', 'room%d', 'SELECT repeat(''z'', %ld) AS z%d')",
			  s, limit / 20, s);
	for (int attempt = 0; attempt < 100 && !cached; attempt++)
	{
		/* the worker of another summary may be building, and need room, too */
		if (attempt > 0)
			rest(10000);
		cached = number(conn, "SELECT (status = 'hit-revision')::int FROM summary_cache_fetch('checker_room')") == 1;
	}
	if (!cached)
		violation(STUCK, "at rest there is no room for %d sections of %ld bytes in %ld",
				  ROOM_SECTIONS, limit / 20, limit);
	setup(conn, "SELECT summary_cache_drop('checker_room')");
}

/* With all at rest, nothing is pending, and a document becomes a right hit; false if it does not. */
static bool
check_document(PGconn *conn, int key)
{
	uint64_t	values[MAX_NUMBERS];
	uint64_t	truth[MAX_NUMBERS];
	char		sql[200] = "SELECT status, document FROM summary_cache_fetch('checker')";
	bool		hit = false;
	PGresult   *result;

	if (mode == M_KEYS)
		snprintf(sql, sizeof(sql), "SELECT status, document FROM summary_cache_fetch('checker', parameters => '{%d}')", key);

	/* a terminated session may take a moment; so may the worker */
	for (int attempt = 0; attempt < 1000 && !hit; attempt++)
	{
		if (attempt > 0)
			rest(10000);
		if (number(conn, "SELECT coalesce(sum(pending), 0) FROM summary_cache_tables") != 0)
			continue;
		result = PQexec(conn, sql);
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
		return false;
	}
	result = PQexec(conn, query_of(key));
	if (PQresultStatus(result) != PGRES_TUPLES_OK || !parse_numbers(PQgetvalue(result, 0, 0), truth))
		die("could not read the tables: %s", PQerrorMessage(conn));
	PQclear(result);
	for (int w = 0; w < nnumbers; w++)
		if (values[w] != truth[w])
			violation(STUCK, "at rest number %d is %llu in the hit, %llu in its table", number_of(key, w),
					  (unsigned long long) values[w], (unsigned long long) truth[w]);
	return true;
}

/* With all at rest, each document becomes a right hit, and nothing is left. */
static void
check_rest(PGconn *conn)
{
	long		left = 0;

	if (mode == M_FULL)
	{
		setup(conn, "UPDATE checker_filler SET n = 1000");
		setup(conn, "SELECT summary_cache_drop('checker_rival')");
	}
	for (int key = 0; key < (mode == M_KEYS ? KEYS : 1); key++)
		if (!check_document(conn, key))
			return;

	/* our own heavyweight locks, which only a worker may hold for a moment */
	for (int attempt = 0; attempt < 100; attempt++)
	{
		left = number(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'");
		if (left == 0)
			break;
		rest(10000);
	}
	if (left > 0)
		violation(STUCK, "at rest %ld locks are held", left);
	/* where nobody reads, no table needs one */
	if (read_conninfo)
		return;
	left = number(conn, "SELECT count(*) FROM summary_cache_tables WHERE revision IS NULL"
				  " AND source::text LIKE 'checker%%'");
	if (left > 0 && mode != M_UNTRACKED)
		violation(STUCK, "at rest %ld tables have no slot", left);
	check_room(conn);
}

/* What a mode cannot do without. */
static void
check_requirements(PGconn *conn)
{
	if (mode == M_RESTART && server_log == NULL)
		die("mode restart needs --server-log");
	if (mode == M_OOM && number(conn, "SELECT (current_setting('summary_cache.debug_fail', true) IS NULL)::int") == 1)
		die("mode oom needs the debug build");
	if (mode == M_CALLBACK && number(conn, "SELECT (current_setting('callback.after_sql', true) IS NULL)::int") == 1)
		die("mode callback needs test/stress/callback.c");
	if (mode == M_BULK && nwriters > MAX_TABLES)
		die("mode bulk has at most %d writers", MAX_TABLES);
	if (read_conninfo && mode > M_COPY && mode != M_DDL && mode != M_INHERIT && mode != M_TEMPORARY &&
		mode != M_NAMES && mode != M_KEYS && mode != M_UNTRACKED)
		die("mode %s is not for standbys", modes[mode].name);
	if (mode == M_FULL &&
		number(conn, "SELECT pg_size_bytes(current_setting('summary_cache.memory_limit'))") > SMALL_MEMORY)
		die("mode full needs a memory_limit of at most %d bytes", SMALL_MEMORY);
}

/* To the readers' server, when it has come as far as the other. */
static PGconn *
connect_standby(PGconn *conn)
{
	PGresult   *result;
	char		caught_up[200];
	PGconn	   *standby;
	bool		there = false;

	/* what was committed asynchronously may not be flushed yet */
	setup(conn, "BEGIN; SET LOCAL synchronous_commit = local; SELECT pg_current_xact_id(); COMMIT");
	result = PQexec(conn, "SELECT pg_current_wal_flush_lsn()");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(conn));
	snprintf(caught_up, sizeof(caught_up), "SELECT (NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '%s')::int",
			 PQgetvalue(result, 0, 0));
	PQclear(result);
	on_standby = true;
	standby = connect_server(NULL);
	for (int attempt = 0; attempt < 6000 && !there; attempt++)
	{
		there = number(standby, "%s", caught_up) == 1;
		if (!there)
			rest(10000);
	}
	if (!there)
		die("the standby does not catch up");
	return standby;
}

/* Start a process of the mode; returns in the parent only. */
static pid_t
start(void (*main_of) (int), void (*main_without) (void), int argument)
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
		main_of(argument);
	else
		main_without();
	exit(0);
}

/* Wait until the server that has crashed for the last time is up for a while. */
static void
await_server(PGconn **conn)
{
	for (int up = 0; up < 10; up++)
	{
		rest(50000);
		PQclear(PQexec(*conn, "SELECT 1"));
		if (PQstatus(*conn) != CONNECTION_OK)
			up = 0;
		reconnect(conn, NULL);
	}
}

static void
print_report(PGconn *conn, uint64_t *total)
{
	uint64_t	answers[STATUSES] = {0};
	uint64_t	reads = 0;
	uint64_t	near_hits = 0;
	uint64_t	commits = 0;
	uint64_t	failed = atomic_load(&shared->failed_commits);
	uint64_t	wrong = 0;

	for (int r = 0; r <= nreaders + nwriters; r++)
	{
		for (int s = 0; s < STATUSES; s++)
			answers[s] += atomic_load(&shared->readers[r].answers[s]);
		near_hits += atomic_load(&shared->readers[r].near_hits);
	}
	for (int s = 0; s < STATUSES; s++)
		reads += answers[s];
	for (int n = 0; n < nwriters * (mode == M_KEYS ? KEYS : 1); n++)
		commits += atomic_load(&shared->writers[n].commits);
	for (int v = LOST; v <= TORN; v++)
		wrong += atomic_load(&shared->violations[v]);
	printf("%s: operations %llu, reads %llu, hits %llu, share %.1f%%, near %llu, stale %llu, inline %llu, miss %llu,"
		   " private %llu, commits %llu, builds %ld",
		   modes[mode].name,
		   (unsigned long long) (reads + atomic_load(&shared->still) + commits + failed +
								 atomic_load(&shared->faults) + atomic_load(&shared->rebuilds)),
		   (unsigned long long) reads, (unsigned long long) answers[HIT],
		   reads ? 100.0 * answers[HIT] / reads : 0.0, (unsigned long long) near_hits,
		   (unsigned long long) answers[STALE], (unsigned long long) answers[INLINE],
		   (unsigned long long) answers[MISS], (unsigned long long) answers[PRIVATE],
		   (unsigned long long) commits,
		   number(conn, "SELECT builds_miss + builds_forced + builds_inline + builds_background"
				  " FROM summary_cache_stats WHERE summary = 'checker'"));
	printf(", background %ld",
		   number(conn, "SELECT builds_background FROM summary_cache_stats WHERE summary = 'checker'"));
	if (atomic_load(&shared->faults) > 0)
		printf(", faults %llu", (unsigned long long) atomic_load(&shared->faults));
	if (failed > 0)
		printf(", failed %llu", (unsigned long long) failed);
	if (modes[mode].still)
		printf(", still %llu", (unsigned long long) atomic_load(&shared->still));
	if (mode == M_EAGER)
		printf(", longest=%.0fms", atomic_load(&shared->longest) / 1000.0);
	if (mode == M_FULL)
		printf(", unfit %ld", number(conn, "SELECT builds_not_cached FROM summary_cache_stats"
									 " WHERE summary = 'checker'"));
	printf(", wrong %llu", (unsigned long long) wrong);
	for (int v = 0; v < VIOLATIONS; v++)
	{
		uint64_t	n = atomic_load(&shared->violations[v]);

		*total += n;
		if (n > 0 || v == REFUSED)
			printf(", %s %llu", violation_names[v], (unsigned long long) n);
	}
	printf(", violations %llu\n", (unsigned long long) *total);
	fflush(stdout);
}

static uint64_t
run_mode(void)
{
	/* what goes on beside writers, readers and rebuilds */
	static void (*const disturbers[MODES]) (void) = {
		[M_FAULTS] = killer_main,
		[M_CRASH] = killer_main,
		[M_RESTART] = restarter_main,
		[M_DDL] = ddl_main,
		[M_INHERIT] = inherit_main,
		[M_CLOSED] = closed_main,
		[M_TEMPORARY] = temporary_main,
		[M_EAGER] = eager_main,
		[M_NAMES] = names_main,
		[M_EXTENSION] = extension_main,
		[M_DATABASE] = database_main,
	};
	PGconn	   *conn;
	pid_t		pids[MAX_WRITERS + MAX_READERS + 2];
	int			npids = 0;
	int			real_ntables = ntables;
	uint64_t	total = 0;
	uint64_t	started;

	memset(shared, 0, sizeof(*shared));
	random_state = seed + UINT64_C(1000003) * mode;
	if (has_partitions() || mode == M_INHERIT)
		ntables = 1;
	else if (mode == M_COPY || ((mode == M_INLINE || mode == M_PARTS) && ntables < 2))
		ntables = 2;
	else if (mode == M_BULK)
		ntables = nwriters;		/* each truncates its own */
	nnumbers = nwriters + (mode == M_DDL ? DDLS : mode == M_NAMES ? NAMES :
						   mode == M_INHERIT || mode == M_EAGER ? 1 : 0);
	conn = connect_server(NULL);
	check_requirements(conn);
	create_tables(conn);
	if (read_conninfo)
	{
		PGconn	   *standby = connect_standby(conn);

		setup(standby, "SELECT summary_cache_reset_stats()");
		disconnect(standby);
		on_standby = false;
	}

	fflush(stdout);
	for (int w = 0; w < nwriters; w++)
		pids[npids++] = start(writer_main, NULL, w);
	for (int r = 0; r < nreaders; r++)
		pids[npids++] = start(reader_main, NULL, r);
	pids[npids++] = start(NULL, rebuilder_main, 0);
	if (disturbers[mode])
		pids[npids++] = start(NULL, disturbers[mode], 0);

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
	if (may_lose_commits())
		await_server(&conn);
	PQclear(PQexec(conn, "SELECT 1"));
	if (PQstatus(conn) != CONNECTION_OK)
	{
		/* this session was nobody's victim */
		violation(ERRORS, "the server crashed: %s", PQerrorMessage(conn));
		return 1;
	}
	check_rest(conn);
	if (read_conninfo)
	{
		PGconn	   *standby = connect_standby(conn);

		check_rest(standby);
		print_report(standby, &total);
		disconnect(standby);
		on_standby = false;
	}
	else
		print_report(conn, &total);

	setup(conn, "SELECT summary_cache_drop('checker')");
	if (mode == M_INHERIT)
		setup(conn, "SELECT summary_cache_drop('checker_above')");
	if (mode == M_EAGER)
		setup(conn, "SELECT summary_cache_drop('checker_unseen')");
	if (modes[mode].still)
		setup(conn, "SELECT summary_cache_drop('checker_still')");
	for (int w = 0; w < nwriters && mode == M_BULK; w++)
		setup(conn, "SELECT summary_cache_drop('checker_bulk_%d')", w);
	drop_tables(conn);
	for (int i = 0; i < LOCK_TABLES && mode == M_EAGER; i++)
		setup(conn, "DROP TABLE checker_lock_%d", i);
	if (mode == M_PARTS)
		setup(conn, "DROP TABLE checker_twin, checker_left, checker_right");
	close_schema(conn, false);
	drop_junk(conn);
	disconnect(conn);
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
		{"read-conninfo", required_argument, NULL, 'D'},
		{"remote-apply", no_argument, NULL, 'A'},
		{"outages", no_argument, NULL, 'O'},
		{"junk", required_argument, NULL, 'j'},
		{"subtransactions", required_argument, NULL, 'x'},
		{"server-log", required_argument, NULL, 'L'},
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
			case 'D':
				read_conninfo = optarg;
				break;
			case 'A':
				remote_apply = true;
				break;
			case 'O':
				outages = true;
				break;
			case 'j':
				njunk = number_option(name, optarg, 0, 20);
				break;
			case 'x':
				nsubtransactions = number_option(name, optarg, 0, 1000000);
				break;
			case 'L':
				server_log = optarg;
				break;
			case 'l':
				for (int m = 0; m < MODES; m++)
					printf("%-10s %s\n", modes[m].name, modes[m].what);
				return 0;
			default:
				return 2;
		}
	}
	if ((remote_apply || outages) && read_conninfo == NULL)
		die("--remote-apply and --outages go with --read-conninfo");
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
