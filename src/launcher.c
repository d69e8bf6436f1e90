/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: starts the workers that are needed, as autovacuum's does.
 *
 * It is started with the server and connected to no database.  It sleeps until
 * somebody has a request that no idle worker of that database can take, or a
 * request that was put off is due.  Then it looks at all requests:
 *
 *	- a database whose requests wait gets a worker, if there are fewer than
 *	  max_workers.  Databases take turns: the one comes first whose oldest request,
 *	  or whose last worker's end if that was later, is the longest ago;
 *	- if its workers have all been building for a while, it gets another one, so
 *	  that a short build does not wait for a long one.  One place is left to other
 *	  databases;
 *	- if there are as many as there may be, one of another database is asked to
 *	  leave: one that is idle, or else, if this database has none at all, one that
 *	  has had its turn;
 *	- a worker that does not heed build_timeout is terminated.
 *
 * Nothing is kept here that cannot be found out again: when the launcher ends, the
 * postmaster starts it anew, and it looks at all requests.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#include "utils/syscache.h"

#include "clock.h"
#include "extension.h"
#include "launcher.h"
#include "oid_set.h"
#include "request_internal.h"
#include "save.h"
#include "shmem.h"
#include "store.h"

/* Two looks are at least so far apart. */
#define NAP_NS			(5 * SC_NS_PER_MS)

/* A worker that has not come up after this will not. */
#define LAUNCH_NS		(5 * SC_NS_PER_S)

/* How often it looks whether a prepared transaction is over, or a record replayed. */
#define PREPARED_NS		(100 * SC_NS_PER_MS)
#define REPLAY_NS		(10 * SC_NS_PER_MS)

/* How often it looks after workers. */
#define SUPERVISE_NS	SC_NS_PER_S

/* Looking at all documents takes at most one part of its time in so many, but it comes within the limit. */
#define SETTLE_SHARE	200
#define SETTLE_LIMIT_NS	(60 * SC_NS_PER_S)

/* How often, on a standby, for databases that are gone. */
#define GONE_NS			(10 * SC_NS_PER_S)

/* A build that goes on for so long is not waited for by other requests. */
#define LONG_BUILD_NS	(20 * SC_NS_PER_MS)

/* The pause when the server has no place for a worker: first, and at most. */
#define NO_PLACE_FIRST_NS	(100 * SC_NS_PER_MS)
#define NO_PLACE_DOUBLINGS	6
#define NO_PLACE_LIMIT_NS	(5 * SC_NS_PER_S)

/* So often one after the other, and it is logged. */
#define REFUSALS_TO_TELL	3

/* What a database wants, and its workers. */
typedef struct Demand
{
	Oid			dboid;			/* hash key */
	int64		oldest;			/* monotonic ns; when the oldest request that
								 * is due was made; 0: none is due */
	int64		turn_ended;		/* monotonic ns; of its last worker */
	int			workers;		/* all */
	int			starting;		/* of these */
	int			idle;			/* of these */
	struct Latch *latch;		/* of an idle one */
	int64		building_since; /* of the one that began last */
	int64		notify_since;	/* monotonic ns; when a notification was first
								 * seen to be due; 0: none is */
	bool		notify_seen;	/* by this look */
} Demand;

/* By database; those that are not concerned any more go. */
static HTAB *demands;

/*
 * What the launcher has started, by place in the register.  A worker that has
 * left takes up its place until the postmaster has seen that, and has told us by
 * a signal: until then the server has no room for another one.
 */
static BackgroundWorkerHandle **handles;

/* What a look has found of the workers: as many as there are places. */
typedef struct Seen
{
	Oid			dboid;
	struct Latch *latch;
	int64		building_since; /* monotonic ns; 0: it builds nothing */
} Seen;

static Seen *seen;
static Oid *failed;				/* databases in which one has failed to start */

/* How often the server had no place, one time after the other. */
static int	refusals = 0;

static Demand *
demand_of(Oid dboid)
{
	bool		found;
	Demand	   *demand = hash_search(demands, &dboid, HASH_ENTER, &found);

	if (!found)
	{
		memset(demand, 0, sizeof(*demand));
		demand->dboid = dboid;
	}
	return demand;
}

/*-------------------------------------------------------------------------
 * Looking
 *-------------------------------------------------------------------------
 */

/* Has a database been dropped? */
static bool
database_is_gone(Oid dboid)
{
	bool		gone;

	StartTransactionCommand();
	gone = !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(dboid));
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
	return gone;
}

/*
 * Where a DROP DATABASE is replayed, nobody gives back what the database has in
 * shared memory: look whether there is one, from time to time, and once more after
 * a promotion.
 */
static void
forget_gone_databases(int64 now, int64 *wake_at)
{
	static bool replayed = true;	/* something, since the last time */
	static int64 due = 0;
	Oid			dboid;
	ScOidList	known = {0};
	ListCell   *lc;

	if (!replayed)
		return;
	if (now >= due)
	{
		replayed = RecoveryInProgress();
		due = now + GONE_NS;
		for (int i = -1; (i = sc_store_next_used(i, &dboid)) >= 0;)
			(void) sc_oid_list_add(&known, dboid);
		foreach(lc, known.list)
		{
			if (!database_is_gone(lfirst_oid(lc)))
				continue;
			elog(DEBUG1, "database %u was dropped", lfirst_oid(lc));
			sc_store_forget_database(lfirst_oid(lc));
		}
		list_free(known.list);
		if (known.known)
			hash_destroy(known.known);
	}
	if (replayed)
		*wake_at = Min(*wake_at, due);
}

/* Forget what was found out by the look before. */
static void
begin_look(int64 now)
{
	HASH_SEQ_STATUS scan;
	Demand	   *demand;

	hash_seq_init(&scan, demands);
	while ((demand = hash_seq_search(&scan)) != NULL)
	{
		if (demand->workers > 0)
			demand->turn_ended = now;	/* unless it still has one */
		else if (demand->oldest == 0)
		{
			hash_search(demands, &demand->dboid, HASH_REMOVE, NULL);
			continue;
		}
		if (!demand->notify_seen)
			demand->notify_since = 0;
		demand->notify_seen = false;
		demand->oldest = 0;
		demand->workers = demand->starting = demand->idle = 0;
		demand->latch = NULL;
		demand->building_since = 0;
	}
}

static void
forget_handle(int index)
{
	if (handles[index])
		pfree(handles[index]);
	handles[index] = NULL;
}

/*
 * The workers that there are.  One that has ended before it could enter, or that
 * did not come up in time, has failed to start.
 */
static void
look_at_workers(int64 now, int64 *wake_at)
{
	int			n = 0;
	int			nfailed = 0;

	/* nothing is allocated while the lock is held */
	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	for (int i = 0; i < sc_register->nworkers; i++)
	{
		ScWorker   *worker = &sc_register->workers[i];
		uint64		deadline = pg_atomic_read_u64(&worker->deadline);
		bool		stopped;
		pid_t		pid;

		stopped = handles[i] && GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED;
		if (stopped && (!OidIsValid(worker->dboid) || worker->pid == 0))
			forget_handle(i);
		if (!OidIsValid(worker->dboid))
			continue;

		if (worker->pid == 0 ?
			stopped || (handles[i] == NULL && now > worker->launched_at + LAUNCH_NS) :
			worker->latch == NULL && !worker->is_overdue && now > worker->launched_at + LAUNCH_NS)
		{
			/* it waits for its database, which is being renamed, say */
			if (sc_request_note_failed_start(worker->dboid, now))
				failed[nfailed++] = worker->dboid;
			if (worker->pid == 0)
			{
				worker->dboid = InvalidOid;
				continue;
			}
			worker->is_overdue = true;
			kill(worker->pid, SIGTERM);
		}
		else if (deadline > 0 && now >= (int64) deadline && !worker->is_overdue)
		{
			worker->is_overdue = true;
			kill(worker->pid, SIGTERM);
			sc_request_count(SC_WORKERS_TERMINATED);
		}
		seen[n].dboid = worker->dboid;
		seen[n].latch = worker->latch;
		seen[n++].building_since = (int64) pg_atomic_read_u64(&worker->building_since);
	}
	LWLockRelease(&sc_register->lock);

	for (int i = 0; i < nfailed; i++)
		sc_request_log_failed_start(failed[i]);
	for (int i = 0; i < n; i++)
	{
		Demand	   *demand = demand_of(seen[i].dboid);

		*wake_at = Min(*wake_at, now + SUPERVISE_NS);
		demand->workers++;
		if (seen[i].latch == NULL)
			demand->starting++;
		else if (seen[i].building_since == 0)
		{
			demand->idle++;
			demand->latch = seen[i].latch;
		}
		else
			demand->building_since = Max(demand->building_since, seen[i].building_since);
	}
}

/* The requests that are due and that no worker is at. */
static void
look_at_requests(int64 now, int64 *wake_at)
{
	Oid			dboid;

	for (int i = -1; (i = sc_store_next_asked(i, &dboid)) >= 0;)
	{
		ScRequests *requests = sc_store_requests(i);
		int64		since;
		int64		forms_due;
		Demand	   *demand;
		bool		notify;

		if (!sc_store_is_asked(i) || !OidIsValid(dboid))
			continue;
		since = sc_request_waits_since(i, now);
		forms_due = sc_request_forms_due(i);
		if (since == 0 && pg_atomic_read_u32(&requests->refresh) != 0 &&
			pg_atomic_read_u64(&requests->claimed) == 0)
			*wake_at = Min(*wake_at, Max(sc_request_due(i), now + SC_NS_PER_MS));
		if (since > 0 && sc_store_waits_for_replay(i))
		{
			*wake_at = Min(*wake_at, now + REPLAY_NS);
			since = 0;
		}
		if (forms_due > now)
			*wake_at = Min(*wake_at, forms_due);
		/* neither of them is somebody's who waits */
		notify = pg_atomic_read_u32(&requests->notify) != 0 || (forms_due >= 0 && forms_due <= now);
		if (since == 0 && !notify)
			continue;
		demand = demand_of(dboid);
		if (notify)
		{
			demand->notify_seen = true;
			if (demand->notify_since == 0)
				demand->notify_since = now;
			since = since == 0 ? demand->notify_since : Min(since, demand->notify_since);
		}
		if (demand->oldest == 0 || since < demand->oldest)
			demand->oldest = since;
	}
}

/*-------------------------------------------------------------------------
 * Acting
 *-------------------------------------------------------------------------
 */

/* What launcher and workers have in common; kind is one of the two words. */
static void
describe_process(BackgroundWorker *settings, const char *kind)
{
	memset(settings, 0, sizeof(*settings));
	settings->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* on a standby, too */
	settings->bgw_start_time = BgWorkerStart_ConsistentState;
	strlcpy(settings->bgw_library_name, SC_NAME, BGW_MAXLEN);
	snprintf(settings->bgw_function_name, BGW_MAXLEN, "sc_%s_main", kind);
	snprintf(settings->bgw_name, BGW_MAXLEN, "summary_cache %s", kind);
	strlcpy(settings->bgw_type, settings->bgw_name, BGW_MAXLEN);
}

/*
 * Start a worker for a database.  False if the server has no place for it.
 */
static bool
start_worker(Oid dboid, int64 now)
{
	BackgroundWorker settings;
	int			index = -1;

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	for (int i = 0; i < sc_register->nworkers && index < 0; i++)
		if (!OidIsValid(sc_register->workers[i].dboid) && handles[i] == NULL)
			index = i;
	if (index >= 0)
	{
		ScWorker   *worker = &sc_register->workers[index];

		worker->pid = 0;
		worker->latch = NULL;
		worker->launched_at = now;
		worker->makes_room = worker->is_overdue = false;
		worker->dboid = dboid;
	}
	LWLockRelease(&sc_register->lock);
	if (index < 0)
		return false;

	describe_process(&settings, "worker");
	settings.bgw_restart_time = BGW_NEVER_RESTART;
	settings.bgw_notify_pid = MyProcPid;
	snprintf(settings.bgw_name, BGW_MAXLEN, "summary_cache worker for database %u", dboid);
	settings.bgw_main_arg = Int32GetDatum(index);
	memcpy(settings.bgw_extra, &dboid, sizeof(Oid));
	if (RegisterDynamicBackgroundWorker(&settings, &handles[index]))
	{
		sc_request_count(SC_WORKERS_STARTED);
		return true;
	}

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	sc_register->workers[index].dboid = InvalidOid;
	LWLockRelease(&sc_register->lock);
	return false;
}

/* The server has no place for a worker: it is asked again after a pause. */
static void
note_refusal(int64 now, int64 *wake_at)
{
	int64		pause = Min(NO_PLACE_FIRST_NS << Min(refusals, NO_PLACE_DOUBLINGS), NO_PLACE_LIMIT_NS);

	/* the place of one that has just ended is free in a moment */
	if (++refusals == REFUSALS_TO_TELL)
		ereport(LOG,
				(errmsg("there is no place for a summary_cache worker"),
				 errdetail("Until there is one, readers refresh the summaries themselves."),
				 errhint("Consider increasing max_worker_processes.")));
	sc_request_count(SC_WORKERS_REFUSED);
	pg_atomic_write_u64(&sc_register->no_place_until, (uint64) (now + pause));
	*wake_at = Min(*wake_at, now + pause);
}

/* Is there a worker that has left, but whose place is not free yet? */
static bool
is_one_leaving(void)
{
	for (int i = 0; i < sc_register->nworkers; i++)
		if (handles[i] && !OidIsValid(sc_register->workers[i].dboid))
			return true;
	return false;
}

/*
 * Ask a worker of another database to leave: one that has nothing to do, and has
 * had for the longest time.  For a database that has no worker it may also be one
 * that has something to do, but has had its turn; first of a database that has
 * several, and of those the one whose build began last.  One that was asked before
 * is waited for, unless its build goes on for long.  False if there is none.
 */
static bool
ask_for_room(Oid dboid, bool urgent, int64 now)
{
	ScWorker   *best = NULL;
	int64		best_since = 0;
	int			best_rank = 0;
	bool		leaving = false;

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	for (int i = 0; i < sc_register->nworkers && !leaving; i++)
	{
		ScWorker   *worker = &sc_register->workers[i];
		int64		building_since = (int64) pg_atomic_read_u64(&worker->building_since);
		Demand	   *demand;
		int64		since;
		int			rank;

		if (!OidIsValid(worker->dboid) || worker->dboid == dboid || worker->latch == NULL)
			continue;
		if (worker->makes_room)
		{
			leaving = building_since == 0 || now < building_since + SC_TURN_NS;
			continue;
		}
		demand = hash_search(demands, &worker->dboid, HASH_FIND, NULL);
		if (building_since == 0 && (demand == NULL || demand->oldest == 0))
		{
			rank = 3;
			since = -worker->idle_since;
		}
		else if (urgent && ((demand && demand->workers > 1) || now > worker->launched_at + SC_TURN_NS))
		{
			rank = demand && demand->workers > 1 ? 2 : 1;
			since = building_since == 0 ? now : building_since;
		}
		else
			continue;
		if (rank > best_rank || (rank == best_rank && since > best_since))
		{
			best = worker;
			best_rank = rank;
			best_since = since;
		}
	}
	if (best && !leaving)
	{
		best->makes_room = true;
		SetLatch(best->latch);
	}
	LWLockRelease(&sc_register->lock);
	return leaving || best;
}

/* If max_workers has become less, workers leave, idle ones first. */
static void
dismiss_surplus(int limit)
{
	int			staying = 0;

	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	for (int i = 0; i < sc_register->nworkers; i++)
		if (OidIsValid(sc_register->workers[i].dboid) && !sc_register->workers[i].makes_room)
			staying++;
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < sc_register->nworkers && staying > limit; i++)
		{
			ScWorker   *worker = &sc_register->workers[i];

			if (!OidIsValid(worker->dboid) || worker->latch == NULL || worker->makes_room ||
				(pass == 0 && pg_atomic_read_u64(&worker->building_since) != 0))
				continue;
			worker->makes_room = true;
			SetLatch(worker->latch);
			staying--;
		}
	LWLockRelease(&sc_register->lock);
}

static int
compare_turns(const ListCell *a, const ListCell *b)
{
	const Demand *da = lfirst(a);
	const Demand *db = lfirst(b);
	int64		ta = Max(da->oldest, da->turn_ended);
	int64		tb = Max(db->oldest, db->turn_ended);

	return ta < tb ? -1 : ta > tb ? 1 : 0;
}

/* How many workers one database may have: one place is left to the others. */
static int
workers_of_one(void)
{
	return Max(sc_max_workers - 1, Min(sc_max_workers, 2));
}

/* May a worker be started in a database now?  Else when. */
static bool
may_start(const Demand *demand, int64 now, int64 *wake_at)
{
	int64		until = (int64) pg_atomic_read_u64(&sc_register->no_place_until);
	ScBarred   *barred;

	/* those that are there, or come, take it soon */
	if (demand->starting > 0)
		return false;
	if (demand->workers > 0)
		until = Max(until, demand->building_since + LONG_BUILD_NS);
	if (demand->workers >= workers_of_one())
		return false;
	LWLockAcquire(&sc_register->lock, LW_SHARED);
	barred = sc_request_find_barred(demand->dboid);
	if (barred)
		until = Max(until, barred->until);
	LWLockRelease(&sc_register->lock);
	if (until > now)
	{
		*wake_at = Min(*wake_at, until);
		return false;
	}
	return true;
}

/* Give the databases what they want, one after the other. */
static void
act(int64 now, int64 *wake_at)
{
	HASH_SEQ_STATUS scan;
	Demand	   *demand;
	List	   *waiting = NIL;
	ListCell   *lc;
	int			workers = 0;
	int			limit;
	bool		refused = false;

	for (int i = 0; i < sc_register->nworkers; i++)
		if (OidIsValid(sc_register->workers[i].dboid) || handles[i])
			workers++;
	hash_seq_init(&scan, demands);
	while ((demand = hash_seq_search(&scan)) != NULL)
	{
		if (demand->oldest > 0)
			waiting = lappend(waiting, demand);
	}
	limit = Min(sc_max_workers, sc_register->nworkers);
	if (workers > limit)
		dismiss_surplus(limit);
	list_sort(waiting, compare_turns);
	foreach(lc, waiting)
	{
		demand = lfirst(lc);
		if (demand->idle > 0)
			SetLatch(demand->latch);
		else if (!may_start(demand, now, wake_at))
			continue;
		else if (!refused && workers < limit)
		{
			if (start_worker(demand->dboid, now))
			{
				workers++;
				refusals = 0;
				continue;
			}
			note_refusal(now, wake_at);
			refused = true;
		}
		if (demand->idle == 0 && limit > 0 && !is_one_leaving() &&
			!ask_for_room(demand->dboid, demand->workers == 0, now))
			*wake_at = Min(*wake_at, now + SC_TURN_NS);
	}
	list_free(waiting);
}

/* One look, and what follows from it.  Returns when to look again. */
static int64
look(void)
{
	int64		now = sc_clock_now();
	int64		wake_at = PG_INT64_MAX;

	begin_look(now);
	forget_gone_databases(now, &wake_at);
	look_at_workers(now, &wake_at);
	if (sc_store_request_eager(InvalidOid))
	{
		/* what is prepared does not wake us when it is over */
		sc_orphan_settle_finished();
		(void) sc_store_request_eager(InvalidOid);
		wake_at = Min(wake_at, now + PREPARED_NS);
	}
	wake_at = Min(wake_at, sc_save_work(now));
	look_at_requests(now, &wake_at);
	act(now, &wake_at);
	return wake_at;
}

/*-------------------------------------------------------------------------
 * The process
 *-------------------------------------------------------------------------
 */

extern PGDLLEXPORT void sc_launcher_main(Datum arg);

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	if (sc_register->launcher_pid == MyProcPid)
	{
		sc_register->launcher_pid = 0;
		sc_register->launcher = NULL;
	}
	LWLockRelease(&sc_register->lock);
}

PGDLLEXPORT void
sc_launcher_main(Datum arg)
{
	MemoryContext context;
	uint32		wait_event;
	HASHCTL		info = {.keysize = sizeof(Oid),.entrysize = sizeof(Demand)};
	int64		settle_at = 0;

	sc_extension_check_copy();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	/* there is nothing to cancel */
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	/* to no database: so that it is seen in pg_stat_activity */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	sc_store_attach();
	/* shown in pg_stat_activity */
	wait_event = SC_NEW_WAIT_EVENT("SummaryCacheLauncherMain");

	demands = hash_create("summary_cache databases", 64, &info, HASH_ELEM | HASH_BLOBS);
	handles = MemoryContextAllocZero(TopMemoryContext,
									 sizeof(BackgroundWorkerHandle *) * sc_register->nworkers);
	seen = MemoryContextAllocZero(TopMemoryContext, sizeof(Seen) * sc_register->nworkers);
	failed = MemoryContextAllocZero(TopMemoryContext, sizeof(Oid) * sc_register->nworkers);
	before_shmem_exit(launcher_exit, (Datum) 0);
	LWLockAcquire(&sc_register->lock, LW_EXCLUSIVE);
	sc_register->launcher_pid = MyProcPid;
	sc_register->launcher = MyLatch;
	LWLockRelease(&sc_register->lock);

	context = AllocSetContextCreate(TopMemoryContext, "summary_cache launcher",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		int64		began;
		int64		now;
		int64		wake_at;

		ResetLatch(MyLatch);
		if (ShutdownRequestPending)
		{
			sc_save_finish();
			proc_exit(1);		/* so that the postmaster starts it anew */
		}
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		began = sc_clock_now();
		MemoryContextSwitchTo(TopMemoryContext);
		wake_at = look();
		MemoryContextSwitchTo(context);
		/* commits over what is eager no longer are not to wake us for ever */
		if (began >= settle_at)
		{
			now = sc_clock_now();
			sc_store_settle_eager();
			settle_at = now + Min(Max(SUPERVISE_NS, SETTLE_SHARE * (sc_clock_now() - now)), SETTLE_LIMIT_NS);
		}
		MemoryContextReset(context);

		sc_request_nap(began, NAP_NS, wait_event);
		now = sc_clock_now();
		if (wake_at > now)
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
							 (wake_at < PG_INT64_MAX ? WL_TIMEOUT : 0),
							 wake_at < PG_INT64_MAX ?
							 Min((wake_at - now) / SC_NS_PER_MS + 1, INT_MAX) : -1,
							 wait_event);
	}
}

/* From _PG_init while preloading. */
void
sc_launcher_init(void)
{
	BackgroundWorker settings;

	if (IsBinaryUpgrade)
		return;
	describe_process(&settings, "launcher");
	settings.bgw_restart_time = 1;
	RegisterBackgroundWorker(&settings);
}
