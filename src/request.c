/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Requests to the background workers, and the register of the workers.
 *
 * A request is a flag of the summary, and stays until a worker has taken it.
 * Who sets it wakes an idle worker of its database or, if there is none, the
 * launcher (launcher.c), which starts one when there is a place for it.  The
 * worker clears the flag before it reads its labels, so that what is committed
 * after that is either in the document or requested again.  A worker that leaves
 * gives its place back, and then wakes the launcher, which looks at all flags: a
 * request is never lost to a worker that leaves.
 *
 * No session waits for any of this.  Where no worker can be had soon, readers
 * build: while there is no launcher, while the server has no place for one more
 * process, while workers cannot connect to the database, and when a request has
 * waited too long for its turn.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/wait_event.h"

#include "clock.h"
#include "debug.h"
#include "request_internal.h"
#include "shmem.h"
#include "store.h"

/* No worker for this time in a database that is being dropped or copied. */
#define BARRED_NS	(5 * SC_NS_PER_S)

/* The same after a worker that did not come up: first, and at most. */
#define PAUSE_FIRST_NS	SC_NS_PER_S
#define PAUSE_DOUBLINGS	6
#define PAUSE_LIMIT_NS	(60 * SC_NS_PER_S)

/* How often a reader looks whether its request will be carried out. */
#define LOOK_NS		(100 * SC_NS_PER_MS)

/* How often a reader that waits for a worker looks whether there is one. */
#define AWAIT_MS	50

/* A request that has waited for this long in a database without a worker is
 * carried out by a reader. */
#define PATIENCE_NS	(5 * SC_NS_PER_S)

/* Looks at what is requested take a twentieth of the time at most, unless they are
 * so long that who waits would be worse off. */
#define LOOK_SHARE		20
#define NAP_LIMIT_NS	(100 * SC_NS_PER_MS)

/* The time between build_timeout's cancel and the end of a worker that has not
 * heeded it. */
#define HEED_NS		(2 * SC_NS_PER_S)

ScRegister *sc_register;

/* A claim has the worker's place, from 1, and a number that no other claim has. */
#define CLAIM_BITS	16

/* This process's place in the register, if it is a worker; and its claims. */
static ScWorker *my_worker = NULL;
static uint64 my_claim = 0;
static uint64 claims = 0;

static Size
workers_size(void)
{
	return offsetof(ScRegister, workers) + mul_size(sizeof(ScWorker), max_worker_processes);
}

static Size
register_size(void)
{
	return add_size(CACHELINEALIGN(workers_size()),
					CACHELINEALIGN(mul_size(sizeof(ScBarred), sc_max_sections)));
}

static void
register_attach(void)
{
	bool		found;

	sc_register = ShmemInitStruct(SC_NAME " workers", workers_size(), &found);
	sc_register->barred = ShmemInitStruct(SC_NAME " barred databases",
										  sizeof(ScBarred) * sc_max_sections, &found);
}

static void
register_init(int tranche)
{
	ScBarred   *barred = sc_register->barred;

	memset(sc_register, 0, workers_size());
	sc_register->barred = barred;
	sc_register->nbarred = sc_max_sections;
	memset(barred, 0, sizeof(ScBarred) * sc_max_sections);
	LWLockInitialize(&sc_register->lock, tranche);
	pg_atomic_init_u64(&sc_register->no_place_until, 0);
	for (int i = 0; i < SC_WORKER_COUNTS; i++)
		pg_atomic_init_u64(&sc_register->counts[i], 0);
	sc_register->nworkers = max_worker_processes;
	for (int i = 0; i < sc_register->nworkers; i++)
	{
		pg_atomic_init_u64(&sc_register->workers[i].building_since, 0);
		pg_atomic_init_u64(&sc_register->workers[i].deadline, 0);
	}
}

void
sc_request_init(void)
{
	static const ScPart part = {register_size, register_attach, register_init};

	sc_shmem_add(&part);
}

/*-------------------------------------------------------------------------
 * The sessions' side
 *-------------------------------------------------------------------------
 */

static void
wake(struct Latch *volatile *latch)
{
	struct Latch *current = *latch;

	if (current)
		SetLatch(current);
}

/*
 * Wake an idle worker of this database; or the launcher, if there is none or all
 * are building: a request does not wait for a build that may take long.  False
 * if there is no worker, nor one that is being started.  Takes no lock and raises
 * nothing.
 */
static bool
wake_worker(void)
{
	bool		found = false;

	for (int i = 0; i < sc_register->nworkers; i++)
	{
		ScWorker   *worker = &sc_register->workers[i];

		if (*(volatile Oid *) &worker->dboid != MyDatabaseId)
			continue;
		found = true;
		if (worker->latch && pg_atomic_read_u64(&worker->building_since) == 0)
		{
			wake(&worker->latch);
			return true;
		}
	}
	wake(&sc_register->launcher);
	return found;
}

bool
sc_request_is_claimed(int summary)
{
	return pg_atomic_read_u64(&sc_store_requests(summary)->claimed) != 0;
}

int64
sc_request_due(int summary)
{
	ScRequests *requests = sc_store_requests(summary);
	int			interval = sc_store_min_refresh_interval(summary);
	int64		due = (int64) pg_atomic_read_u64(&requests->refreshed_at);

	/* who waits does not wait for a rest, but for a lock that somebody has */
	if (sc_store_is_awaited(summary))
		return pg_atomic_read_u32(&requests->pauses) == 0 ? 0 :
			(int64) pg_atomic_read_u64(&requests->paused_until);
	if (interval == SC_UNSET)
		interval = sc_min_refresh_interval;
	if (due > 0)
		due += Max(interval * SC_NS_PER_MS,
				   (int64) (pg_atomic_read_u32(&requests->refresh_us) * 1000.0 * sc_refresh_rest));
	due = Max(due, (int64) pg_atomic_read_u64(&requests->paused_until));
	return Max(due, (int64) pg_atomic_read_u64(&requests->retry_at));
}

/*
 * Since when has a request of a summary waited for a worker: requested, due, and
 * claimed by none?  Monotonic ns; 0: there is none.
 */
int64
sc_request_waits_since(int summary, int64 now)
{
	ScRequests *requests = sc_store_requests(summary);
	int64		since = (int64) pg_atomic_read_u64(&requests->requested_at);
	int64		due;

	if (pg_atomic_read_u32(&requests->refresh) == 0 ||
		pg_atomic_read_u64(&requests->claimed) != 0)
		return 0;
	due = sc_request_due(summary);
	if (due > now)
		return 0;
	/* 0: it is just being requested */
	return since == 0 ? now : Max(since, due);
}

/*
 * Will this database, which has no worker, get one soon?
 */
static bool
will_get_worker(int summary, int64 now)
{
	int64		since = sc_request_waits_since(summary, now);
	ScBarred   *barred;
	bool		will;

	/* nor would a reader's build be of any use */
	if (sc_store_waits_for_replay(summary))
		return true;
	if (sc_max_workers == 0 || sc_register->launcher == NULL ||
		now < (int64) pg_atomic_read_u64(&sc_register->no_place_until) ||
		(since > 0 && now > since + PATIENCE_NS))
		return false;
	LWLockAcquire(&sc_register->lock, LW_SHARED);
	barred = sc_request_find_barred(MyDatabaseId);
	will = barred == NULL || now >= barred->until;
	LWLockRelease(&sc_register->lock);
	return will;
}

/*
 * Ask for a refresh of a summary.  False if no worker can be had for it soon.
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

	if (pg_atomic_read_u32(&requests->refresh) != 0 && now < looked_at + LOOK_NS)
		return true;
	sc_store_request(summary, SC_REFRESH_DUE, now);
	if (!wake_worker() && !will_get_worker(summary, now))
		return false;
	looked_at = now;
	return true;
}

int64
sc_request_demand(int summary, ScRefresh what)
{
	int64		now = sc_clock_now();

	sc_store_request(summary, what, now);
	return now;
}

/*
 * The worker notes when a try began after it has cleared the flags, and before it
 * reads its labels.  So a try that began after asked_at shows what was committed
 * before, whether it has taken our flag or an earlier one.
 */
ScTry
sc_request_await(int summary, const ScDocKey *key, ScRefresh what, int64 asked_at,
				 bool patient, int64 limit_ns)
{
	ScRequests *requests = sc_store_requests(summary);
	static uint32 wait_event = 0;
	pg_atomic_uint64 *tried = &requests->tried[what == SC_REFRESH_INLINE];
	ScTry		outcome;

	/* shown in pg_stat_activity */
	if (wait_event == 0)
		wait_event = SC_NEW_WAIT_EVENT("SummaryCacheBuild");
	ConditionVariablePrepareToSleep(sc_store_tries(summary));
	for (;;)
	{
		uint64		last = pg_atomic_read_u64(tried);
		int64		now = sc_clock_now();

		if ((int64) (last >> SC_TRY_BITS) > asked_at)
		{
			outcome = last & ((1 << SC_TRY_BITS) - 1);
			break;
		}
		if (pg_atomic_read_u64(&requests->claimed) == 0)
		{
			/* another reader that gives up has taken it back */
			if ((pg_atomic_read_u32(&requests->refresh) & what) != (uint32) what)
				(void) sc_store_ask(summary, &requests->refresh, what);
			outcome = SC_TRY_NONE;
			if ((!wake_worker() && !will_get_worker(summary, now)) ||
				(!patient && now > asked_at + DeadlockTimeout * SC_NS_PER_MS) ||
				sc_store_find(key) != summary)
				break;
		}
		outcome = SC_TRY_LOCK_TIMEOUT;
		if (LockTimeout > 0 && now > asked_at + LockTimeout * SC_NS_PER_MS)
			break;
		outcome = SC_TRY_LATE;
		if (limit_ns > 0 && now > asked_at + limit_ns)
			break;
		(void) ConditionVariableTimedSleep(sc_store_tries(summary), AWAIT_MS, wait_event);
	}
	ConditionVariableCancelSleep();

	/* nobody waits for it any more, unless somebody else does */
	if (outcome == SC_TRY_NONE || outcome == SC_TRY_LOCK_TIMEOUT || outcome == SC_TRY_LATE)
	{
		(void) sc_store_ask(summary, &requests->refresh, SC_REFRESH_DUE);
		pg_atomic_fetch_and_u32(&requests->refresh, ~(uint32) what);
	}
	return outcome;
}

int64
sc_request_begin_proof(int summary)
{
	int64		now = sc_clock_now();

	pg_atomic_write_u64(&sc_store_requests(summary)->proving, (uint64) now);
	return now;
}

void
sc_request_end_proof(int summary, int64 begun_at)
{
	ScRequests *requests = sc_store_requests(summary);
	uint64		mine = (uint64) begun_at;

	/* another one may have begun since the flight was over */
	(void) pg_atomic_compare_exchange_u64(&requests->proving, &mine, 0);
	ConditionVariableBroadcast(sc_store_tries(summary));
}

bool
sc_request_await_proof(int summary, int64 until, int64 limit_ns)
{
	ScRequests *requests = sc_store_requests(summary);
	static uint32 wait_event = 0;
	uint64		since = pg_atomic_read_u64(&requests->proving);
	bool		is_over;

	if (since == 0)
		return false;
	if (wait_event == 0)
		wait_event = SC_NEW_WAIT_EVENT("SummaryCacheProof");
	until = Min(until, (int64) since + limit_ns);
	SC_POINT("proof-await");
	ConditionVariablePrepareToSleep(sc_store_tries(summary));
	for (;;)
	{
		is_over = pg_atomic_read_u64(&requests->proving) != since;
		if (is_over || sc_clock_now() >= until)
			break;
		(void) ConditionVariableTimedSleep(sc_store_tries(summary), 1, wait_event);
	}
	ConditionVariableCancelSleep();
	return is_over;
}

/*
 * A document was published by a session that cannot notify listeners itself.
 * Without a worker they are notified of the next document.
 */
void
sc_request_notify(int summary)
{
	(void) sc_store_ask(summary, &sc_store_requests(summary)->notify, 1);
	(void) wake_worker();
}

/* Without a worker the forms are asked for again by a reader. */
void
sc_request_forms(int summary)
{
	/* a worker looks at the end of its round, or leaves it to another one */
	if (sc_store_ask(summary, &sc_store_requests(summary)->forms, 1) == 0 && my_worker == NULL)
		(void) wake_worker();
}

int64
sc_request_forms_due(int summary)
{
	ScRequests *requests = sc_store_requests(summary);

	return pg_atomic_read_u32(&requests->forms) == 0 ? -1 :
		(int64) pg_atomic_read_u64(&requests->forms_at);
}

bool
sc_request_has_listeners(void)
{
	return sc_notify && sc_slot_is_listened();
}

/*
 * A commit has changed what is refreshed eagerly.  Its words have moved, by full
 * barriers: who wakes now sees that.
 */
void
sc_request_after_commit(void)
{
	(void) wake_worker();
}

/*
 * A word of what is refreshed eagerly is pending, and nobody will wake anybody
 * when that is over: the launcher then looks from time to time.
 */
void
sc_request_wake_launcher(void)
{
	wake(&sc_register->launcher);
}

void
sc_request_nap(int64 began, int64 least_ns, uint32 wait_event)
{
	int64		nap = Min(Max(least_ns, LOOK_SHARE * (sc_clock_now() - began)), NAP_LIMIT_NS);

	(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap / SC_NS_PER_MS, wait_event);
}

void
sc_request_take_over(int summary)
{
	ScRequests *requests = sc_store_requests(summary);

	pg_atomic_exchange_u32(&requests->refresh, 0);
	pg_atomic_write_u64(&requests->requested_at, 0);
}

/*-------------------------------------------------------------------------
 * The register
 *-------------------------------------------------------------------------
 */

/*
 * The record of a database in which no worker is to be started, or was not to be
 * until now; NULL if there is none.
 */
ScBarred *
sc_request_find_barred(Oid dboid)
{
	for (int i = 0; i < sc_register->nbarred; i++)
		if (sc_register->barred[i].dboid == dboid)
			return &sc_register->barred[i];
	return NULL;
}

/*
 * The same, made if there is none: in place of the one that is over first.  The
 * lock is held exclusively.
 */
static ScBarred *
take_barred(Oid dboid)
{
	ScBarred   *barred = sc_request_find_barred(dboid);

	if (barred == NULL)
	{
		barred = &sc_register->barred[0];
		for (int i = 1; i < sc_register->nbarred; i++)
			if (sc_register->barred[i].until < barred->until)
				barred = &sc_register->barred[i];
		memset(barred, 0, sizeof(*barred));
		barred->dboid = dboid;
	}
	return barred;
}

/*
 * A worker did not come up: none is launched in its database for a while.  True
 * if that is the first time; the caller then tells it, without the lock.
 */
bool
sc_request_note_failed_start(Oid dboid, int64 now)
{
	ScBarred   *barred = take_barred(dboid);
	int64		pause = Min(PAUSE_FIRST_NS << Min(barred->failed_starts, PAUSE_DOUBLINGS),
							PAUSE_LIMIT_NS);

	barred->until = Max(barred->until, now + pause);
	sc_request_count(SC_WORKERS_FAILED);
	return barred->failed_starts++ == 0;
}

void
sc_request_log_failed_start(Oid dboid)
{
	ereport(LOG,
			(errmsg("the summary_cache worker for database %u could not start", dboid),
			 errdetail("Until it can, which is tried again after pauses of 1 to 60 seconds, readers refresh the summaries themselves.")));
}

/*
 * The database is going to be dropped or copied: its workers must leave, and
 * none is started for a while.
 */
void
sc_request_leave(Oid dboid)
{
	int64		now = sc_clock_now();
	ScBarred   *barred;

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	barred = take_barred(dboid);
	barred->until = Max(barred->until, now + BARRED_NS);
	for (int i = 0; i < sc_register->nworkers; i++)
		if (sc_register->workers[i].dboid == dboid && sc_register->workers[i].pid != 0)
			kill(sc_register->workers[i].pid, SIGTERM);
	LWLockRelease(&sc_register->lock);
}

/* That is over, unless workers could not come up there before. */
void
sc_request_return(Oid dboid)
{
	ScBarred   *barred;

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	barred = sc_request_find_barred(dboid);
	if (barred && barred->failed_starts == 0)
		memset(barred, 0, sizeof(*barred));
	LWLockRelease(&sc_register->lock);
	sc_request_wake_launcher();
}

void
sc_request_count(ScWorkerCount count)
{
	pg_atomic_fetch_add_u64(&sc_register->counts[count], 1);
}

uint64
sc_request_get_count(ScWorkerCount count)
{
	return pg_atomic_read_u64(&sc_register->counts[count]);
}

/* What waits, and for how long. */
void
sc_request_waiting(ScWaiting *waiting)
{
	int64		now = sc_clock_now();
	Oid			dboid;

	memset(waiting, 0, sizeof(*waiting));
	LWLockAcquire(&sc_register->lock, LW_SHARED);
	waiting->launcher_pid = sc_register->launcher_pid;
	for (int i = 0; i < sc_register->nworkers; i++)
	{
		ScWorker   *worker = &sc_register->workers[i];

		if (!OidIsValid(worker->dboid))
			continue;
		waiting->workers++;
		if (pg_atomic_read_u64(&worker->building_since) > 0)
			waiting->building++;
	}
	LWLockRelease(&sc_register->lock);

	for (int i = -1; (i = sc_store_next_asked(i, &dboid)) >= 0;)
	{
		int64		since = OidIsValid(dboid) ? sc_request_waits_since(i, now) : 0;

		/* nobody could carry that out now */
		if (since == 0 || sc_store_waits_for_replay(i))
			continue;
		waiting->requests++;
		waiting->oldest = Max(waiting->oldest, now - since);
	}
}

/*-------------------------------------------------------------------------
 * The worker's side
 *-------------------------------------------------------------------------
 */

/* A worker has come up.  False if it is not wanted any more. */
bool
sc_request_enter(int index, Oid dboid)
{
	ScWorker   *worker = &sc_register->workers[index];
	int64		now = sc_clock_now();
	ScBarred   *barred;
	bool		wanted;

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	barred = sc_request_find_barred(dboid);
	wanted = worker->dboid == dboid && worker->pid == 0;
	if (wanted && barred && now < barred->until)
	{
		worker->dboid = InvalidOid;
		wanted = false;
	}
	if (wanted)
	{
		worker->pid = MyProcPid;
		my_worker = worker;
	}
	LWLockRelease(&sc_register->lock);
	return wanted;
}

/* It can be woken from here on. */
void
sc_request_be_ready(void)
{
	ScBarred   *barred;

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	my_worker->idle_since = sc_clock_now();
	my_worker->latch = MyLatch;
	barred = sc_request_find_barred(MyDatabaseId);
	if (barred && barred->until <= my_worker->idle_since)
		memset(barred, 0, sizeof(*barred));
	else if (barred)
		barred->failed_starts = 0;
	LWLockRelease(&sc_register->lock);
}

/*
 * However the worker goes: its place is free for the next.  Then the launcher
 * looks whether something is requested of this database that nobody has seen.
 */
void
sc_request_exit(bool asked_to)
{
	Oid			failed = InvalidOid;

	if (my_worker == NULL)
		return;
	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	if (my_worker->latch == NULL && !asked_to &&
		sc_request_note_failed_start(my_worker->dboid, sc_clock_now()))
		failed = my_worker->dboid;
	my_worker->dboid = InvalidOid;
	my_worker->pid = 0;
	my_worker->latch = NULL;
	pg_atomic_write_u64(&my_worker->building_since, 0);
	pg_atomic_write_u64(&my_worker->deadline, 0);
	LWLockRelease(&sc_register->lock);
	my_worker = NULL;
	wake(&sc_register->launcher);
	if (OidIsValid(failed))
		sc_request_log_failed_start(failed);
}

bool
sc_request_claim(int summary)
{
	uint64		nobody = 0;
	uint64		claim = (++claims << CLAIM_BITS) | (uint64) (my_worker - sc_register->workers + 1);

	if (!pg_atomic_compare_exchange_u64(&sc_store_requests(summary)->claimed, &nobody, claim))
		return false;
	my_claim = claim;
	sc_request_begin_work();
	return true;
}

/*
 * Whatever came of it.  The worker then looks at the flags once more, so what was
 * requested while it was building need not wake anybody.
 */
void
sc_request_release(int summary)
{
	uint64		claim = my_claim;

	/* unless its entry has been given away, and perhaps claimed again */
	(void) pg_atomic_compare_exchange_u64(&sc_store_requests(summary)->claimed, &claim, 0);
	sc_request_end_work();
}

/*
 * A session that has seen us idle has set our latch only: if it did so just now,
 * the launcher is to know that we are not.
 */
void
sc_request_begin_work(void)
{
	pg_atomic_exchange_u64(&my_worker->building_since, (uint64) sc_clock_now());
	if (MyLatch->is_set)
		sc_request_wake_launcher();
}

void
sc_request_end_work(void)
{
	my_worker->idle_since = sc_clock_now();
	pg_atomic_exchange_u64(&my_worker->building_since, 0);
}

void
sc_request_supervise(int ms)
{
	if (my_worker)
		pg_atomic_write_u64(&my_worker->deadline, ms == 0 ? 0 :
							(uint64) (sc_clock_now() + ms * SC_NS_PER_MS + HEED_NS));
}

bool
sc_request_is_worker(void)
{
	return my_worker != NULL;
}

bool
sc_request_makes_room(void)
{
	return my_worker->makes_room;
}

bool
sc_request_is_overdue(void)
{
	uint64		deadline = pg_atomic_read_u64(&my_worker->deadline);

	/* else it had just finished, and was terminated in another build */
	return my_worker->is_overdue && deadline > 0 && sc_clock_now() >= (int64) deadline;
}
