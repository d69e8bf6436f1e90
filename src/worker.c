/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Refreshes in the background.
 *
 * One worker a database, started by the first reader that wants a refresh and
 * gone after worker_idle_timeout without one, or when the database is to be
 * dropped or copied.  It is never restarted by the server: the next reader
 * that needs one starts it.
 *
 * A request is a flag of the summary.  Who sets it wakes or starts the worker;
 * the worker clears it before it reads its labels, so that what is committed
 * after that is either in the document or requested again.  The worker leaves
 * under the lock under which readers look for it, after a last look at the
 * flags: a request is never lost.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "summary_cache.h"

/* A worker that has not come up after this will not. */
#define LAUNCH_NS	INT64CONST(5000000000)

/* No worker for this time in a database that is being dropped or copied. */
#define BARRED_NS	INT64CONST(5000000000)

/* How often a reader looks whether the worker that has its request is there. */
#define LOOK_NS		INT64CONST(100000000)

/* The entry of a database, -1 if there is none; caller holds ScShared.lock. */
static int
find_worker(Oid dboid)
{
	for (int i = 0; i < sc_shared->nworkers; i++)
		if (sc_workers[i].dboid == dboid)
			return i;
	return -1;
}

/* An entry that nobody uses; caller holds ScShared.lock, exclusive. */
static int
take_worker(Oid dboid, int64 now)
{
	for (int i = 0; i < sc_shared->nworkers; i++)
	{
		ScWorker   *worker = &sc_workers[i];

		if (OidIsValid(worker->dboid) &&
			(worker->pid != 0 || now < worker->launched_at + LAUNCH_NS ||
			 now < worker->barred_until))
			continue;
		memset(worker, 0, sizeof(ScWorker));
		worker->dboid = dboid;
		return i;
	}
	return -1;
}

static bool
launch(int index)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, SC_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "sc_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "summary_cache worker for database %u", MyDatabaseId);
	strlcpy(worker.bgw_type, "summary_cache worker", BGW_MAXLEN);
	worker.bgw_main_arg = Int32GetDatum(index);
	memcpy(worker.bgw_extra, &MyDatabaseId, sizeof(Oid));
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * Ask for a refresh of a summary.  False if no worker can be had for it.
 */
bool
sc_request_refresh(ScSummary *summary)
{
	static int64 looked_at = 0;
	int64		now = sc_now();
	int			index;
	bool		start = false;
	bool		ok = true;

	/* after a failure, not before its time */
	if (now < (int64) pg_atomic_read_u64(&summary->retry_at))
		return true;

	if (pg_atomic_read_u32(&summary->refresh_requested) == 1 && now < looked_at + LOOK_NS)
		return true;
	pg_atomic_write_u32(&summary->refresh_requested, 1);
	pg_memory_barrier();

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	index = find_worker(MyDatabaseId);
	if (index >= 0 && now < sc_workers[index].barred_until)
		ok = false;
	else if (index >= 0 && sc_workers[index].latch)
		SetLatch(sc_workers[index].latch);
	else if (index < 0 || now > sc_workers[index].launched_at + LAUNCH_NS)
	{
		if (index < 0)
			index = take_worker(MyDatabaseId, now);
		if (index < 0)
			ok = false;
		else
		{
			sc_workers[index].pid = 0;
			sc_workers[index].launched_at = now;
			start = true;
		}
	}
	LWLockRelease(&sc_shared->lock);

	if (start && !launch(index))
	{
		LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
		if (sc_workers[index].dboid == MyDatabaseId && sc_workers[index].pid == 0)
			sc_workers[index].dboid = InvalidOid;
		LWLockRelease(&sc_shared->lock);
		ok = false;
	}
	if (ok)
		looked_at = now;
	return ok;
}

/*
 * The database is going to be dropped or copied: its worker must leave, and
 * none is started for a while.
 */
void
sc_worker_leave(Oid dboid)
{
	int64		now = sc_now();
	int			index;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	index = find_worker(dboid);
	if (index < 0)
		index = take_worker(dboid, now);
	if (index >= 0)
	{
		sc_workers[index].barred_until = now + BARRED_NS;
		if (sc_workers[index].pid != 0)
			kill(sc_workers[index].pid, SIGTERM);
	}
	LWLockRelease(&sc_shared->lock);
}

/* However the worker goes: whoever looks for it next must not find it. */
static void
worker_exit(int code, Datum arg)
{
	ScWorker   *worker = &sc_workers[DatumGetInt32(arg)];

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (worker->pid == MyProcPid)
	{
		worker->pid = 0;
		worker->latch = NULL;
		worker->launched_at = 0;
		if (sc_now() >= worker->barred_until)
			worker->dboid = InvalidOid;
	}
	LWLockRelease(&sc_shared->lock);
}

/* Leave the entry, unless a refresh was requested meanwhile. */
static bool
try_leave(int index)
{
	bool		leave = true;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < sc_shared->nsummaries; i++)
		if (sc_summaries[i].dboid == MyDatabaseId &&
			pg_atomic_read_u32(&sc_summaries[i].refresh_requested) != 0)
			leave = false;
	if (leave)
	{
		sc_workers[index].dboid = InvalidOid;
		sc_workers[index].pid = 0;
		sc_workers[index].latch = NULL;
	}
	LWLockRelease(&sc_shared->lock);
	return leave;
}

/*
 * Refresh one summary in a transaction of its own.  A failure is recorded, and
 * logged when it is the first of its kind.
 */
static void
refresh(int index)
{
	ScSummary  *summary = &sc_summaries[index];
	MemoryContext context = CurrentMemoryContext;
	NameData	name;
	uint32		failures;

	LWLockAcquire(&summary->lock, LW_SHARED);
	name = summary->name;
	failures = summary->failures;
	LWLockRelease(&summary->lock);

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		pgstat_report_activity(STATE_RUNNING, psprintf("refreshing summary \"%s\"", NameStr(name)));
		sc_refresh_in_background(index);
		CommitTransactionCommand();
		if (failures > 0)
			ereport(LOG,
					(errmsg("summary \"%s\" is refreshed again after %u failures",
							NameStr(name), failures)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		sc_record_failure(index, error);
		if (failures == 0)
			ereport(LOG,
					(errcode(error->sqlerrcode),
					 errmsg("could not refresh summary \"%s\": %s", NameStr(name), error->message),
					 errdetail("It is served as it was until summary_cache.max_stale_age; the refresh is tried again.")));
		FreeErrorData(error);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

void
sc_worker_main(Datum arg)
{
	int			index = DatumGetInt32(arg);
	Oid			dboid;
	int64		idle_since;
	MemoryContext context;
	bool		mine = false;

	memcpy(&dboid, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	before_shmem_exit(worker_exit, arg);

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (sc_workers[index].dboid == dboid && sc_workers[index].pid == 0 &&
		sc_now() >= sc_workers[index].barred_until)
	{
		sc_workers[index].pid = MyProcPid;
		mine = true;
	}
	LWLockRelease(&sc_shared->lock);
	if (!mine)
		proc_exit(0);

	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	/* whatever the database's defaults are: only such a transaction publishes */
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_SUSET, PGC_S_OVERRIDE);

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	sc_workers[index].latch = MyLatch;
	LWLockRelease(&sc_shared->lock);

	context = AllocSetContextCreate(TopMemoryContext, "summary_cache worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	idle_since = sc_now();
	for (;;)
	{
		bool		worked = false;
		int64		idle_ms;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		for (int i = 0; i < sc_shared->nsummaries; i++)
			if (sc_summaries[i].dboid == MyDatabaseId &&
				pg_atomic_exchange_u32(&sc_summaries[i].refresh_requested, 0) != 0)
			{
				refresh(i);
				MemoryContextReset(context);
				worked = true;
			}
		if (worked)
		{
			idle_since = sc_now();
			continue;
		}

		idle_ms = (sc_now() - idle_since) / 1000000;
		if (idle_ms >= sc_worker_idle_timeout && try_leave(index))
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(sc_worker_idle_timeout - idle_ms, 1), PG_WAIT_EXTENSION);
	}
	proc_exit(0);
}
