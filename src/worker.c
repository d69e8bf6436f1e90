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

#include "summary_cache.h"

/* A worker that has not come up after this will not. */
#define LAUNCH_NS	INT64CONST(5000000000)

/* No worker for this time in a database that is being dropped or copied. */
#define BARRED_NS	INT64CONST(5000000000)

/* How often the worker looks whether a record has been replayed. */
#define REPLAY_NS	INT64CONST(1000000)

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

/* Start a worker in an entry; false if the server has no place for it. */
static bool
launch(int index)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* on a standby, too */
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, SC_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "sc_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "summary_cache worker for database %u", MyDatabaseId);
	strlcpy(worker.bgw_type, "summary_cache worker", BGW_MAXLEN);
	worker.bgw_main_arg = Int32GetDatum(index);
	memcpy(worker.bgw_extra, &MyDatabaseId, sizeof(Oid));
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (sc_workers[index].dboid == MyDatabaseId && sc_workers[index].pid == 0)
		sc_workers[index].dboid = InvalidOid;
	LWLockRelease(&sc_shared->lock);
	return false;
}

/*
 * The entry of this database's worker; start tells that it is to be launched.
 * -1: none can be had.  Caller holds ScShared.lock, exclusive.
 */
static int
worker_to_launch(int64 now, bool *start)
{
	int			index = find_worker(MyDatabaseId);

	if (index >= 0 && now < sc_workers[index].barred_until)
		return -1;
	if (index >= 0 && (sc_workers[index].latch || now <= sc_workers[index].launched_at + LAUNCH_NS))
		return index;
	if (index < 0)
		index = take_worker(MyDatabaseId, now);
	if (index >= 0)
	{
		sc_workers[index].pid = 0;
		sc_workers[index].launched_at = now;
		*start = true;
	}
	return index;
}

/* Wake the worker, or start it; false if none can be had. */
static bool
call_worker(int64 now)
{
	int			index;
	bool		start = false;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	index = worker_to_launch(now, &start);
	if (index >= 0 && !start && sc_workers[index].latch)
		SetLatch(sc_workers[index].latch);
	LWLockRelease(&sc_shared->lock);
	return index >= 0 && (!start || launch(index));
}

/*
 * Ask for a refresh of a summary.  False if no worker can be had for it.
 */
bool
sc_request_refresh(ScSummary *summary)
{
	static int64 looked_at = 0;
	int64		now = sc_now();

	/* after a failure, not before its time */
	if (now < (int64) pg_atomic_read_u64(&summary->retry_at))
		return true;

	if (pg_atomic_read_u32(&summary->refresh_requested) == 1 && now < looked_at + LOOK_NS)
		return true;
	pg_atomic_write_u32(&summary->refresh_requested, 1);
	pg_memory_barrier();
	if (!call_worker(now))
		return false;
	looked_at = now;
	return true;
}

/*
 * A document was published by somebody who cannot tell listeners himself.
 * Without a worker they are told with the next document.
 */
void
sc_request_notify(ScSummary *summary)
{
	pg_atomic_write_u32(&summary->notify_requested, 1);
	pg_memory_barrier();
	(void) call_worker(sc_now());
}

/* The worker that this backend last saw, for its commits. */
static int	known_worker = -1;

/*
 * A commit is going to change what is refreshed eagerly: see that there is a
 * worker to notice.  The words are pending already, so it does not leave.
 */
void
sc_worker_ensure(void)
{
	if (known_worker >= 0 && sc_workers[known_worker].dboid == MyDatabaseId &&
		sc_workers[known_worker].latch)
		return;
	(void) call_worker(sc_now());
	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	known_worker = find_worker(MyDatabaseId);
	LWLockRelease(&sc_shared->lock);
}

/* After such a commit.  Raises nothing and takes no lock. */
void
sc_worker_wake(void)
{
	if (known_worker >= 0)
	{
		Latch	   *latch = *(Latch *volatile *) &sc_workers[known_worker].latch;

		if (latch)
			SetLatch(latch);
	}
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

/*
 * Look after the summaries that are refreshed eagerly: request what has moved.
 * True if some transaction is still committing what concerns one.
 */
static bool
look_after_eager(void)
{
	bool		pending = false;

	for (int i = 0; i < sc_shared->nsummaries; i++)
	{
		ScSummary  *summary = &sc_summaries[i];
		bool		moved = false;

		if (summary->dboid != MyDatabaseId)
			continue;
		LWLockAcquire(&summary->lock, LW_SHARED);
		if (sc_is_eager(&summary->options))
			for (int s = summary->sections; s >= 0; s = sc_sections[s].next)
			{
				ScChunk    *chunk = dsa_get_address(sc_dsa(), sc_sections[s].chunk);

				for (uint32 l = 0; l < chunk->nlabels; l++)
				{
					uint64		word = pg_atomic_read_u64(&sc_slots[chunk->labels[l].slot].slot.word);

					moved = moved || SC_REVISION(word) != chunk->labels[l].revision;
					pending = pending || SC_PENDING(word) != 0;
				}
			}
		LWLockRelease(&summary->lock);
		if (moved)
			pg_atomic_write_u32(&summary->refresh_requested, 1);
	}
	return pending;
}

/*
 * Leave the entry, unless a refresh was requested meanwhile.  A committer of
 * what is refreshed eagerly looks for us without the lock, after its words are
 * pending: so we first leave, then look at the words.
 */
static bool
try_leave(int index)
{
	ScWorker   *worker = &sc_workers[index];
	bool		leave;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	worker->dboid = InvalidOid;
	pg_memory_barrier();
	leave = !look_after_eager();
	for (int i = 0; i < sc_shared->nsummaries; i++)
		if (sc_summaries[i].dboid == MyDatabaseId &&
			(pg_atomic_read_u32(&sc_summaries[i].refresh_requested) != 0 ||
			 pg_atomic_read_u32(&sc_summaries[i].notify_requested) != 0))
			leave = false;
	if (leave)
	{
		worker->pid = 0;
		worker->latch = NULL;
	}
	else
		worker->dboid = MyDatabaseId;
	LWLockRelease(&sc_shared->lock);
	return leave;
}

/*
 * A NOTIFY costs an xid and a commit: none is sent before somebody has
 * listened in this database, which nobody can on a standby.
 */
bool
sc_has_listeners(void)
{
	int			catch_all = sc_slot_find(SC_KEY(MyDatabaseId, InvalidOid), false);

	return sc_notify && catch_all != SC_SLOT_NONE && sc_slots[catch_all].slot.listened;
}

/*
 * Tell listeners of a document that they were not told of, whoever built it.
 */
static void
notify_listeners(int index)
{
	ScSummary  *summary = &sc_summaries[index];
	ScLocal    *local;
	NameData	name;
	const char *etag;
	bool		told;
	StringInfoData payload;

	LWLockAcquire(&summary->lock, LW_SHARED);
	name = summary->name;
	LWLockRelease(&summary->lock);
	local = sc_local_get(NameStr(name), true);
	sc_local_sync(local, false);
	if (local->index != index || local->nsections == 0)
		return;
	etag = sc_etag(&local->etag);

	LWLockAcquire(&summary->lock, LW_EXCLUSIVE);
	told = strcmp(summary->notified_etag, etag) == 0;
	strlcpy(summary->notified_etag, etag, sizeof(summary->notified_etag));
	LWLockRelease(&summary->lock);
	if (told)
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
refresh_due(ScSummary *summary)
{
	int			interval = summary->options.min_refresh_interval;
	int64		refreshed_at = pg_atomic_read_u64(&summary->refreshed_at);

	if (interval == SC_UNSET)
		interval = sc_min_refresh_interval;
	if (refreshed_at > 0)
		refreshed_at += interval * INT64CONST(1000000);
	return Max(refreshed_at, (int64) pg_atomic_read_u64(&summary->retry_at));
}

/*
 * On a standby: would a build now get no better label than the document has?
 */
static bool
is_vain(ScSummary *summary)
{
	bool		vain;

	LWLockAcquire(&summary->lock, LW_SHARED);
	vain = summary->sections >= 0;
	for (int s = summary->sections; vain && s >= 0; s = sc_sections[s].next)
	{
		ScChunk    *chunk = dsa_get_address(sc_dsa(), sc_sections[s].chunk);

		vain = !sc_sections[s].invalidated && sc_replay_is_amid(chunk->replayed);
	}
	LWLockRelease(&summary->lock);
	return vain;
}

/*
 * Refresh one summary, or only tell its listeners, in a transaction of its
 * own.  A failure is recorded, and
 * logged when it is the first of its kind.
 */
static void
work(int index, bool refresh)
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
		if (refresh)
			sc_refresh_in_background(index);
		if (sc_has_listeners())
			notify_listeners(index);
		CommitTransactionCommand();
		if (refresh)
			pg_atomic_write_u64(&summary->refreshed_at, (uint64) sc_now());
		if (refresh && failures > 0)
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
		sc_record_failure(index, NameStr(name), error, false);
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

/* Shown in pg_stat_activity. */
static uint32
wait_event(void)
{
	static uint32 event = 0;

	if (event == 0)
		event = SC_NEW_WAIT_EVENT("SummaryCacheWorkerMain");
	return event;
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
	/* build_timeout is what bounds a build */
	SC_NO_TRANSACTION_TIMEOUT();

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	sc_workers[index].latch = MyLatch;
	LWLockRelease(&sc_shared->lock);

	(void) sc_dsa();
	context = AllocSetContextCreate(TopMemoryContext, "summary_cache worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	idle_since = sc_now();
	for (;;)
	{
		bool		worked = false;
		bool		pending;
		int64		now;
		int64		wake_at;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		pending = look_after_eager();
		now = sc_now();
		wake_at = idle_since + sc_worker_idle_timeout * INT64CONST(1000000);
		if (pending)
		{
			/* prepared transactions do not wake us */
			sc_settle_finished();
			wake_at = now + LOOK_NS;
		}
		for (int i = 0; i < sc_shared->nsummaries; i++)
		{
			ScSummary  *summary = &sc_summaries[i];

			if (summary->dboid != MyDatabaseId)
				continue;
			if (pg_atomic_exchange_u32(&summary->notify_requested, 0) != 0)
			{
				work(i, false);
				worked = true;
			}
			if (pg_atomic_read_u32(&summary->refresh_requested) == 0)
				continue;
			if (refresh_due(summary) > now)
			{
				wake_at = Min(wake_at, refresh_due(summary));
				continue;
			}
			if (is_vain(summary))
			{
				wake_at = Min(wake_at, now + REPLAY_NS);
				continue;
			}
			/* what is committed from here on is in the document, or requested again */
			pg_atomic_exchange_u32(&summary->refresh_requested, 0);
			work(i, true);
			worked = true;
		}
		MemoryContextReset(context);
		if (worked)
		{
			idle_since = sc_now();
			continue;
		}

		if (!pending && now >= wake_at)
		{
			SC_POINT("worker-leave");
			if (try_leave(index))
				break;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max((wake_at - now) / 1000000, 1), wait_event());
	}
	proc_exit(0);
}
