/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Refreshes in the background.
 *
 * One worker a database, started by the first reader that wants a refresh and
 * gone after worker_idle_timeout without one, or when the database is about to be
 * dropped or copied.  It is never restarted by the server: the next reader
 * that needs one starts it.
 *
 * request.c describes how a request reaches the worker, and how the worker leaves.
 *
 * The worker gives way.  A build that would have to wait for a lock ends, and
 * releases those that it has (document.c); the summary is put back, and is tried
 * again after a pause that grows while the lock is not to be had.  That is no
 * failure, and the other summaries are refreshed meanwhile.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "cache.h"
#include "clock.h"
#include "debug.h"
#include "define.h"
#include "document.h"
#include "request.h"
#include "shmem.h"

/* How often the worker looks whether a record has been replayed. */
#define REPLAY_NS	SC_NS_PER_MS

/* How often the worker looks whether a prepared transaction is over. */
#define LOOK_NS		(100 * SC_NS_PER_MS)

/* The pause of a summary that was put back: the first, and the longest. */
#define PAUSE_FIRST_NS	(10 * SC_NS_PER_MS)
#define PAUSE_DOUBLINGS	7

/* What this worker knows of a summary that it has put back, by its entry. */
typedef struct Pause
{
	int			doublings;
	int64		until;			/* monotonic ns */
} Pause;

static Pause *pauses = NULL;
static int	npauses = 0;

/* The summary that is being refreshed; -1: none. */
static int	refreshing = -1;
static NameData refreshing_name;

/* This process was asked to end. */
static volatile sig_atomic_t terminated = false;

/* Put a summary back: another session holds a lock that its build needs. */
static void
put_back(int index, const char *name)
{
	if (index >= npauses)
	{
		int			n = (index + 1) * 2;

		pauses = pauses ? repalloc(pauses, sizeof(Pause) * n) :
			MemoryContextAlloc(TopMemoryContext, sizeof(Pause) * n);
		memset(pauses + npauses, 0, sizeof(Pause) * (n - npauses));
		npauses = n;
	}
	pauses[index].until = sc_clock_now() + (PAUSE_FIRST_NS << pauses[index].doublings);
	pauses[index].doublings = Min(pauses[index].doublings + 1, PAUSE_DOUBLINGS);
	pg_atomic_write_u32(&sc_store_requests(index)->refresh, 1);
	elog(DEBUG1, "the refresh of summary \"%s\" gives way to another session", name);
}

static void
end_pause(int index)
{
	if (index < npauses)
		pauses[index].doublings = 0;
}

/*
 * Notify listeners of a document that they were not notified of, whoever built
 * it.
 */
static void
notify_listeners(int index)
{
	ScLocal    *local;
	NameData	name;
	const char *etag;
	StringInfoData payload;

	sc_store_name(index, &name);
	local = sc_local_get(NameStr(name), true);
	sc_local_sync(local, false);
	if (local->index != index || local->nsections == 0)
		return;
	etag = sc_local_etag(&local->etag);
	if (!sc_store_note_etag(index, etag))
		return;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"summary\":");
	escape_json(&payload, NameStr(name));
	appendStringInfo(&payload, ",\"etag\":\"%s\",\"built_at\":\"%s\"}", etag,
					 JsonEncodeDateTime(NULL, TimestampTzGetDatum(local->built_at),
										TIMESTAMPTZOID, NULL));
	Async_Notify(SC_NAME, payload.data);
}

/*
 * When a requested refresh may be made, monotonic ns.
 */
static int64
refresh_due(int index)
{
	ScRequests *requests = sc_store_requests(index);
	int			interval = sc_store_min_refresh_interval(index);
	int64		refreshed_at = (int64) pg_atomic_read_u64(&requests->refreshed_at);

	if (interval == SC_UNSET)
		interval = sc_min_refresh_interval;
	if (refreshed_at > 0)
		refreshed_at += interval * SC_NS_PER_MS;
	if (index < npauses && pauses[index].doublings > 0)
		refreshed_at = Max(refreshed_at, pauses[index].until);
	return Max(refreshed_at, (int64) pg_atomic_read_u64(&requests->retry_at));
}

/* Refresh a summary in a transaction of its own, giving way to everybody else. */
static void
refresh_summary(int index, const char *name)
{
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, psprintf("refreshing summary \"%s\"", name));
	namestrcpy(&refreshing_name, name);
	refreshing = index;
	sc_document_begin_giving_way();
	sc_cache_refresh(index);
	(void) sc_document_end_giving_way();
	refreshing = -1;
	CommitTransactionCommand();
	end_pause(index);
	pg_atomic_write_u64(&sc_store_requests(index)->refreshed_at, (uint64) sc_clock_now());
}

/*
 * Refresh one summary, or only notify its listeners.  A failure is recorded, and
 * logged when it is the first of its kind.
 */
static void
serve_summary(int index, bool refresh)
{
	MemoryContext context = CurrentMemoryContext;
	NameData	name;
	ScFailure	before;
	uint32		failures;

	sc_store_name(index, &name);
	sc_store_failure(index, &before);
	failures = before.failures;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		if (refresh)
			refresh_summary(index, NameStr(name));
		/* the commit of a NOTIFY may wait, so it has nothing of the build */
		if (sc_request_has_listeners())
		{
			StartTransactionCommand();
			notify_listeners(index);
			CommitTransactionCommand();
		}
		if (refresh && failures > 0)
			ereport(LOG,
					(errmsg("summary \"%s\" is refreshed again after %u failures",
							NameStr(name), failures)));
	}
	PG_CATCH();
	{
		ErrorData  *error;
		bool		was_refreshing = refreshing >= 0;
		bool		gave_way;

		HOLD_INTERRUPTS();
		gave_way = sc_document_end_giving_way();
		refreshing = -1;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		if (was_refreshing && (gave_way || SC_IS_DEADLOCK(error)))
			put_back(index, NameStr(name));
		else
		{
			end_pause(index);
			sc_store_record_failure(index, NameStr(name), error, false);
			if (failures == 0)
				ereport(LOG,
						(errcode(error->sqlerrcode),
						 errmsg("could not refresh summary \"%s\": %s", NameStr(name), error->message),
						 errdetail("It is served as it was until summary_cache.max_stale_age; the refresh is tried again.")));
		}
		FreeErrorData(error);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (refresh && sc_define_attach_missing())
		pg_atomic_write_u32(&sc_store_requests(index)->refresh, 1);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

extern PGDLLEXPORT void sc_worker_main(Datum arg);

/* Shown in pg_stat_activity. */
static uint32
worker_wait_event(void)
{
	static uint32 event = 0;

	if (event == 0)
		event = SC_NEW_WAIT_EVENT("SummaryCacheWorkerMain");
	return event;
}

/*
 * However the worker goes.  An error that ends the process in the middle of a
 * build, as a conflict with recovery does on a standby, is a failure of the
 * summary like any other: else it would be built again at once, for ever.
 */
static void
worker_exit(int code, Datum arg)
{
	if (refreshing >= 0)
		(void) sc_document_end_giving_way();
	if (refreshing >= 0 && code != 0 && !terminated)
	{
		ErrorData	error = {0};

		error.sqlerrcode = RecoveryInProgress() ?
			ERRCODE_T_R_SERIALIZATION_FAILURE : ERRCODE_ADMIN_SHUTDOWN;
		error.message = RecoveryInProgress() ?
			"the build was ended by a conflict with recovery" :
			"the background worker ended in the middle of the build: the server's log has the error";
		sc_store_record_failure(refreshing, NameStr(refreshing_name), &error, false);
	}
	sc_request_exit(DatumGetInt32(arg), terminated);
}

/* SIGTERM.  As die(), but what is idle leaves without a FATAL in the log. */
static void
worker_terminate(SIGNAL_ARGS)
{
	int			save_errno = errno;

	terminated = true;
	if (!proc_exit_inprogress)
	{
		InterruptPending = true;
		ProcDiePending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * Do all that is requested of this database's summaries and is due.  True if
 * anything was; else brings wake_at forward to when something may be.
 */
static bool
serve_requests(int64 now, int64 *wake_at)
{
	bool		worked = false;

	for (int i = -1; (i = sc_store_next_here(i)) >= 0;)
	{
		ScRequests *requests = sc_store_requests(i);

		if (pg_atomic_exchange_u32(&requests->notify, 0) != 0)
		{
			serve_summary(i, false);
			worked = true;
		}
		if (pg_atomic_read_u32(&requests->refresh) == 0)
			continue;
		if (refresh_due(i) > now)
		{
			*wake_at = Min(*wake_at, refresh_due(i));
			continue;
		}
		if (sc_store_waits_for_replay(i))
		{
			*wake_at = Min(*wake_at, now + REPLAY_NS);
			continue;
		}

		/*
		 * what is committed from here on is in the document, or requested
		 * again
		 */
		pg_atomic_exchange_u32(&requests->refresh, 0);
		serve_summary(i, true);
		worked = true;
	}
	return worked;
}

/* The worker's session: as a new one, whatever the database's defaults are. */
static void
connect_worker(Oid dboid)
{
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	/* only such a transaction publishes */
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_SUSET, PGC_S_OVERRIDE);
	/* build_timeout is what bounds a build, and it waits for no lock anyway */
	SC_NO_TRANSACTION_TIMEOUT();
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	sc_store_attach();
}

PGDLLEXPORT void
sc_worker_main(Datum arg)
{
	int			index = DatumGetInt32(arg);
	Oid			dboid;
	int64		idle_since;
	MemoryContext context;

	memcpy(&dboid, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, worker_terminate);
	before_shmem_exit(worker_exit, arg);

	if (!sc_request_enter(index, dboid))
		proc_exit(0);
	connect_worker(dboid);
	sc_request_be_ready(index);

	context = AllocSetContextCreate(TopMemoryContext, "summary_cache worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	idle_since = sc_clock_now();
	for (;;)
	{
		bool		worked;
		bool		pending;
		int64		now;
		int64		wake_at;

		ResetLatch(MyLatch);
		if (terminated)
			proc_exit(0);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		pending = sc_store_request_eager();
		now = sc_clock_now();
		wake_at = idle_since + sc_worker_idle_timeout * SC_NS_PER_MS;
		if (pending)
		{
			/* prepared transactions do not wake us */
			sc_orphan_settle_finished();
			wake_at = now + LOOK_NS;
		}
		worked = serve_requests(now, &wake_at);
		MemoryContextReset(context);
		if (worked)
		{
			idle_since = sc_clock_now();
			continue;
		}

		if (!pending && now >= wake_at)
		{
			SC_POINT("worker-leave");
			sc_store_settle_eager();
			if (sc_request_try_leave(index))
				break;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max((wake_at - now) / SC_NS_PER_MS, 1), worker_wait_event());
	}
	proc_exit(0);
}
