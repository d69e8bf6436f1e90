/*-------------------------------------------------------------------------
 *
 * debug.c
 *	  Named waiting points and weakened protocols, for tests.
 *
 * Only in a debug build (make SC_DEBUG=1).  A session that sets
 * summary_cache.debug_point to the name of a point, or to "all", sleeps there
 * for summary_cache.debug_sleep microseconds, so that a window that is a few
 * instructions wide can be looked through.  summary_cache.debug_protocol
 * selects a way of publishing that is known to be wrong: the checker must notice
 * it.
 *
 * summary_cache.debug_commit_sql is executed by a callback that runs after
 * ours before each commit, as another library's might: to write late, or to
 * fail.  summary_cache.debug_fail names an allocation that fails.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "debug.h"

#ifdef SC_DEBUG

int			sc_debug_protocol = SC_PROTOCOL_TWO_PHASE;

static char *debug_point = NULL;
static int	debug_sleep = 0;
static char *debug_fail = NULL;
static char *debug_commit_sql = NULL;

static const struct config_enum_entry protocols[] = {
	{"two-phase", SC_PROTOCOL_TWO_PHASE, false},
	{"at-write", SC_PROTOCOL_AT_WRITE, false},
	{"after-commit", SC_PROTOCOL_AFTER_COMMIT, false},
	{"replayed-only", SC_PROTOCOL_REPLAYED_ONLY, false},
	{"begun-only", SC_PROTOCOL_BEGUN_ONLY, false},
	{"tree-word", SC_PROTOCOL_TREE_WORD, false},
	{"watch-before", SC_PROTOCOL_WATCH_BEFORE, false},
	{"watch-after", SC_PROTOCOL_WATCH_AFTER, false},
	{"watch-all-known", SC_PROTOCOL_WATCH_ALL_KNOWN, false},
	{"watch-unsettled", SC_PROTOCOL_WATCH_UNSETTLED, false},
	{"assure-all", SC_PROTOCOL_ASSURE_ALL, false},
	{"member-unsettled", SC_PROTOCOL_MEMBER_UNSETTLED, false},
	{"member-named", SC_PROTOCOL_MEMBER_NAMED, false},
	{"names-unseen", SC_PROTOCOL_NAMES_UNSEEN, false},
	{"keys-new", SC_PROTOCOL_KEYS_NEW, false},
	{"keys-fine", SC_PROTOCOL_KEYS_FINE, false},
	{"keys-text", SC_PROTOCOL_KEYS_TEXT, false},
	{"keys-late", SC_PROTOCOL_KEYS_LATE, false},
	{"splice", SC_PROTOCOL_SPLICE, false},
	{NULL, 0, false}
};

static void
debug_callback(XactEvent event, void *arg)
{
	if ((event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE) ||
		debug_commit_sql == NULL || debug_commit_sql[0] == '\0')
		return;
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_execute(debug_commit_sql, false, 0);
	PopActiveSnapshot();
	SPI_finish();
	CHECK_FOR_INTERRUPTS();
}

/* Before the library's own callbacks are registered: the last to come runs first. */
void
sc_debug_init(void)
{
	RegisterXactCallback(debug_callback, NULL);
	DefineCustomStringVariable("summary_cache.debug_commit_sql",
							   "SQL that is executed before each commit, after summary_cache is done.",
							   NULL, &debug_commit_sql, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("summary_cache.debug_fail",
							   "What fails: \"form\", \"hash\", \"json\", \"keyed\", \"keys\", \"marks\", \"save\", \"size\" or \"tables\".",
							   NULL, &debug_fail, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("summary_cache.debug_point",
							   "Point at which this session sleeps, or \"all\".",
							   NULL, &debug_point, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.debug_sleep",
							"Time for which it sleeps there, in microseconds.",
							NULL, &debug_sleep, 0, 0, INT_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("summary_cache.debug_protocol",
							 "How this session publishes what it wrote.",
							 NULL, &sc_debug_protocol, SC_PROTOCOL_TWO_PHASE, protocols,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

/*
 * A process that has only just been started is not in pg_stat_activity, and no
 * function can signal it.  This file in the data directory has its process id
 * while it is at its point.  It goes on when somebody removes the file.
 */
#define POINT_FILE	"summary_cache.point"

static void
show_point_by_file(void)
{
	char		pid[16];
	int			file = open(POINT_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (file < 0)
		return;
	snprintf(pid, sizeof(pid), "%d\n", MyProcPid);
	(void) !write(file, pid, strlen(pid));
	close(file);
}

/*
 * Raises nothing: some points are inside a commit.  Any signal ends a sleep,
 * also that of a timer that nobody waits for any more.  So sleep on until the time is
 * over, or until somebody calls pg_log_backend_memory_contexts() for this
 * backend: that signal leaves a flag of its own.
 */
void
sc_debug_point(const char *name)
{
	bool		shown = MyBEEntry != NULL;
	int64		until;
	int64		now;

	if (debug_sleep <= 0 || debug_point == NULL ||
		(strcmp(debug_point, name) != 0 && strcmp(debug_point, "all") != 0))
		return;
	/* pg_stat_activity shows that we are here */
	pgstat_report_wait_start(WAIT_EVENT_PG_SLEEP);
	if (!shown)
		show_point_by_file();
	until = sc_clock_now() + (int64) debug_sleep * 1000;
	while ((now = sc_clock_now()) < until && !LogMemoryContextPending &&
		   (shown || access(POINT_FILE, F_OK) == 0))
		pg_usleep(Min((until - now) / 1000 + 1, 10000));
	pgstat_report_wait_end();
}

/* A hash of what a value is written as. */
uint64
sc_debug_text_hash(Oid type, Datum value)
{
	Oid			output;
	bool		is_varlena;
	char	   *text;

	getTypeOutputInfo(type, &output, &is_varlena);
	text = OidOutputFunctionCall(output, value);
	return DatumGetUInt64(hash_any_extended((unsigned char *) text, (int) strlen(text), 0));
}

/* Does the allocation of this name fail? */
bool
sc_debug_fails(const char *name)
{
	return debug_fail && strcmp(debug_fail, name) == 0;
}

#endif							/* SC_DEBUG */
