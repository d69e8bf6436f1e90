/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Requests to the background workers, and the register of the workers.
 *
 * A request is a flag of the summary.  A session that sets it wakes the worker
 * of its database, or starts one.  The worker clears the flag before it reads
 * its labels, so that what is committed after that is either in the document or
 * requested again.  The worker leaves under the lock under which readers look
 * for it, after a last look at the flags: a request is never lost to a worker
 * that leaves.
 *
 * A worker may end before it can do anything, for instance because the database
 * does not accept connections.  After that no worker is to be had there for a
 * while, which gets longer each time; meanwhile readers build.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"

#include "clock.h"
#include "request.h"
#include "shmem.h"
#include "store.h"

/* A worker that has not come up after this will not. */
#define LAUNCH_NS	(5 * SC_NS_PER_S)

/* No worker for this time in a database that is being dropped or copied. */
#define BARRED_NS	(5 * SC_NS_PER_S)

/* The same after a worker that did not come up: first, and at most. */
#define PAUSE_FIRST_NS	SC_NS_PER_S
#define PAUSE_DOUBLINGS	6
#define PAUSE_LIMIT_NS	(60 * SC_NS_PER_S)

/* How often a reader looks whether the worker that has its request is there. */
#define LOOK_NS		(100 * SC_NS_PER_MS)

/* A background worker of one database.  Under ScShared.lock unless said otherwise. */
typedef struct Worker
{
	Oid			dboid;			/* InvalidOid: free.  Those who commit read it
								 * without the lock: a stale one costs a look
								 * under the lock */
	int			pid;			/* 0: being launched */
	struct Latch *latch;		/* NULL: being launched.  Read without the
								 * lock by those who commit: a backend's latch
								 * stays in shared memory, so a late wake-up
								 * is harmless */
	int64		launched_at;	/* monotonic ns; 0: none is being launched */
	int64		barred_until;	/* monotonic ns; no worker before: the
								 * database is being dropped or copied, or the
								 * last one did not come up */
	int			failed_starts;	/* how many did not, one after the other */
} Worker;

static Worker *workers;

/* The worker that this backend last saw, for its commits. */
static int	known_worker = -1;

static Size
workers_size(void)
{
	return CACHELINEALIGN(mul_size(sizeof(Worker), max_worker_processes));
}

static void
workers_attach(void)
{
	bool		found;

	workers = ShmemInitStruct(SC_NAME " workers", sizeof(Worker) * max_worker_processes, &found);
}

static void
workers_init(int tranche)
{
	memset(workers, 0, sizeof(Worker) * max_worker_processes);
}

void
sc_request_init(void)
{
	static const ScPart part = {workers_size, workers_attach, workers_init};

	sc_shmem_add(&part);
}

/* The entry of a database, -1 if there is none; caller holds ScShared.lock. */
static int
find_worker(Oid dboid)
{
	for (int i = 0; i < max_worker_processes; i++)
		if (workers[i].dboid == dboid)
			return i;
	return -1;
}

/*
 * An entry that nobody uses, or else one whose database has no worker; caller
 * holds ScShared.lock, exclusive.
 */
static int
take_worker(Oid dboid, int64 now)
{
	int			index = -1;

	for (int i = 0; i < max_worker_processes; i++)
	{
		Worker	   *worker = &workers[i];

		if (!OidIsValid(worker->dboid))
		{
			index = i;
			break;
		}
		if (index < 0 && worker->pid == 0 && now >= worker->launched_at + LAUNCH_NS &&
			now >= worker->barred_until)
			index = i;
	}
	if (index >= 0)
	{
		memset(&workers[index], 0, sizeof(Worker));
		workers[index].dboid = dboid;
	}
	return index;
}

/* Start a worker in an entry; false if the server has no place for it. */
static bool
launch_worker(int index)
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
	if (workers[index].dboid == MyDatabaseId && workers[index].pid == 0)
		workers[index].dboid = InvalidOid;
	LWLockRelease(&sc_shared->lock);
	return false;
}

/*
 * A worker did not come up: none is launched for a while.  Caller holds
 * ScShared.lock, exclusive.
 */
static void
note_failed_start(Worker *worker, int64 now)
{
	int64		pause = Min(PAUSE_FIRST_NS << Min(worker->failed_starts, PAUSE_DOUBLINGS),
							PAUSE_LIMIT_NS);

	worker->failed_starts++;
	worker->launched_at = 0;
	worker->barred_until = Max(worker->barred_until, now + pause);
}

/*
 * The entry of this database's worker; start tells that it is to be launched.
 * -1: none can be had.  Caller holds ScShared.lock, exclusive.
 */
static int
worker_to_launch(int64 now, bool *start)
{
	int			index = find_worker(MyDatabaseId);

	if (index >= 0)
	{
		Worker	   *worker = &workers[index];

		if (now < worker->barred_until)
			return -1;
		if (worker->latch)
			return index;
		if (worker->launched_at > 0 && now <= worker->launched_at + LAUNCH_NS)
			return index;
		/* it is there, but waits for something, its database's lock perhaps */
		if (worker->pid != 0)
			return -1;
		/* the server has not started it */
		if (worker->launched_at > 0)
		{
			note_failed_start(worker, now);
			return -1;
		}
	}
	else
		index = take_worker(MyDatabaseId, now);
	if (index >= 0)
	{
		workers[index].launched_at = now;
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
	if (index >= 0 && !start && workers[index].latch)
		SetLatch(workers[index].latch);
	LWLockRelease(&sc_shared->lock);
	return index >= 0 && (!start || launch_worker(index));
}

/*
 * Ask for a refresh of a summary.  False if no worker can be had for it.
 */
bool
sc_request_refresh(int summary)
{
	ScRequests *requests = sc_store_requests(summary);
	static int64 looked_at = 0;
	int64		now = sc_clock_now();

	/* after a failure, not before its time */
	if (now < (int64) pg_atomic_read_u64(&requests->retry_at))
		return true;

	if (pg_atomic_read_u32(&requests->refresh) == 1 && now < looked_at + LOOK_NS)
		return true;
	pg_atomic_write_u32(&requests->refresh, 1);
	pg_memory_barrier();
	if (!call_worker(now))
		return false;
	looked_at = now;
	return true;
}

/*
 * A document was published by a session that cannot notify listeners itself.
 * Without a worker they are notified of the next document.
 */
void
sc_request_notify(int summary)
{
	pg_atomic_write_u32(&sc_store_requests(summary)->notify, 1);
	pg_memory_barrier();
	(void) call_worker(sc_clock_now());
}

bool
sc_request_has_listeners(void)
{
	return sc_notify && sc_slot_is_listened();
}

/*
 * A commit is going to change what is refreshed eagerly: see that there is a
 * worker to notice.  The words are pending already, so it does not leave.
 */
void
sc_request_ensure_worker(void)
{
	if (known_worker >= 0 && workers[known_worker].dboid == MyDatabaseId &&
		workers[known_worker].latch)
		return;
	(void) call_worker(sc_clock_now());
	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	known_worker = find_worker(MyDatabaseId);
	LWLockRelease(&sc_shared->lock);
}

/* After such a commit.  Raises nothing and takes no lock. */
void
sc_request_wake_worker(void)
{
	if (known_worker >= 0)
	{
		Latch	   *latch = *(Latch *volatile *) &workers[known_worker].latch;

		if (latch)
			SetLatch(latch);
	}
}

/*
 * The database is going to be dropped or copied: its worker must leave, and
 * none is started for a while.
 */
void
sc_request_leave(Oid dboid)
{
	int64		now = sc_clock_now();
	int			index;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	index = find_worker(dboid);
	if (index < 0)
		index = take_worker(dboid, now);
	if (index >= 0)
	{
		workers[index].barred_until = Max(workers[index].barred_until, now + BARRED_NS);
		if (workers[index].pid != 0)
			kill(workers[index].pid, SIGTERM);
	}
	LWLockRelease(&sc_shared->lock);
}

/*-------------------------------------------------------------------------
 * The worker's side
 *-------------------------------------------------------------------------
 */

/* A worker has come up.  False if it is not wanted any more. */
bool
sc_request_enter(int index, Oid dboid)
{
	Worker	   *worker = &workers[index];
	bool		wanted;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	wanted = worker->dboid == dboid && worker->pid == 0 && sc_clock_now() >= worker->barred_until;
	if (wanted)
		worker->pid = MyProcPid;
	LWLockRelease(&sc_shared->lock);
	return wanted;
}

/* It can be woken from here on. */
void
sc_request_be_ready(int index)
{
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	workers[index].latch = MyLatch;
	workers[index].failed_starts = 0;
	LWLockRelease(&sc_shared->lock);
}

/*
 * However the worker goes: a session that looks for it next must not find it.
 * One that was not ready yet, and not asked to go, has failed to come up.
 */
void
sc_request_exit(int index, bool asked_to)
{
	Worker	   *worker = &workers[index];
	int			failed_starts = 0;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (worker->pid == MyProcPid)
	{
		int64		now = sc_clock_now();

		if (worker->latch == NULL && !asked_to)
		{
			note_failed_start(worker, now);
			failed_starts = worker->failed_starts;
		}
		worker->pid = 0;
		worker->latch = NULL;
		worker->launched_at = 0;
		if (now >= worker->barred_until)
			worker->dboid = InvalidOid;
	}
	LWLockRelease(&sc_shared->lock);

	if (failed_starts == 1)
		ereport(LOG,
				(errmsg("the summary_cache worker for database %u could not start",
						workers[index].dboid),
				 errdetail("Until it can, which is tried again after pauses of 1 to 60 seconds, readers refresh the summaries themselves.")));
}

/*
 * Leave the entry, unless a refresh was requested meanwhile.  A committer of
 * what is refreshed eagerly looks for us without the lock, after its words are
 * pending: so we first leave, then look at the words.
 */
bool
sc_request_try_leave(int index)
{
	Worker	   *worker = &workers[index];
	bool		leave;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	worker->dboid = InvalidOid;
	pg_memory_barrier();
	leave = !sc_store_request_eager();
	for (int i = -1; (i = sc_store_next_here(i)) >= 0;)
	{
		ScRequests *requests = sc_store_requests(i);

		if (pg_atomic_read_u32(&requests->refresh) != 0 || pg_atomic_read_u32(&requests->notify) != 0)
			leave = false;
	}
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
