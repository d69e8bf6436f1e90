/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Requests to the background workers, and the register of the workers.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_REQUEST_H
#define SC_REQUEST_H

#include "clock.h"
#include "store.h"

/* A worker whose place is wanted by another database has had its turn after this. */
#define SC_TURN_NS		(100 * SC_NS_PER_MS)

/* What has happened to workers since the server start. */
typedef enum ScWorkerCount
{
	SC_WORKERS_STARTED,
	SC_WORKERS_REFUSED,			/* the server had no place for one */
	SC_WORKERS_FAILED,			/* they ended before they were ready */
	SC_WORKERS_TERMINATED,		/* by the launcher: build_timeout */
	SC_WORKERS_GAVE_WAY,		/* builds that were put back for a lock */
	SC_WORKER_COUNTS
} ScWorkerCount;

/* What waits for workers now, over all databases. */
typedef struct ScWaiting
{
	int			launcher_pid;	/* 0: there is none */
	int			workers;
	int			building;		/* of these */
	int			requests;		/* that are due, and that no worker is at */
	int64		oldest;			/* for how long the oldest has waited, ns */
} ScWaiting;

/* Ask for a refresh of a summary; false if no worker can be had for it soon.
 * Takes no lock but, if its database has no worker, the register's, shared. */
extern bool sc_request_refresh(int summary);
extern void sc_request_notify(int summary);

/* Have the encoded forms made of its document.  Nobody waits for them. */
extern void sc_request_forms(int summary);

/* When the forms that are requested may be made, monotonic ns; -1: none are.  No lock. */
extern int64 sc_request_forms_due(int summary);

/* Have a summary built by a worker now.  When that was asked, monotonic ns. */
extern int64 sc_request_demand(int summary, ScRefresh what);

/* Then wait until a try has ended that began after it was asked: what came of it; or
 * SC_TRY_NONE if no worker can be had or, without patience, none begins within
 * deadlock_timeout; SC_TRY_LATE after limit_ns (0: none); SC_TRY_LOCK_TIMEOUT after
 * lock_timeout.  The caller holds no lock that the build may need. */
extern ScTry sc_request_await(int summary, const ScDocKey *key, ScRefresh what, int64 asked_at,
							  bool patient, int64 limit_ns);

/*
 * A reader that leads a flight finds out whether the queries of a summary mean what they
 * meant; what the first returns is for the second.  Another one waits for that, until it
 * is over or a time has come, monotonic ns, or it takes longer than limit_ns; false if it
 * is not over then, or nobody was at it.  No lock.
 */
extern int64 sc_request_begin_proof(int summary);
extern void sc_request_end_proof(int summary, int64 begun_at);
extern bool sc_request_await_proof(int summary, int64 until, int64 limit_ns);

/* Is a worker at it?  No lock. */
extern bool sc_request_is_claimed(int summary);

/* Is this process a worker? */
extern bool sc_request_is_worker(void);

/* When a requested refresh may be made, monotonic ns.  No lock. */
extern int64 sc_request_due(int summary);

/* Since when a request waits for a worker, monotonic ns; 0: none does.  No lock. */
extern int64 sc_request_waits_since(int summary, int64 now);

/*
 * A NOTIFY costs an xid and a commit: none is sent before somebody has
 * listened in this database, which nobody can on a standby.
 */
extern bool sc_request_has_listeners(void);

/* The database is dropped or copied: its workers must leave.  Then that is over. */
extern void sc_request_leave(Oid dboid);
extern void sc_request_return(Oid dboid);

/* After a commit that changes what is refreshed eagerly; and where nobody wakes
 * anybody later, after its PREPARE, say.  Sets a latch, raises nothing and takes
 * no lock. */
extern void sc_request_after_commit(void);
extern void sc_request_wake_launcher(void);

/* A reader does what was asked of a worker: before it reads its labels. */
extern void sc_request_take_over(int summary);

extern void sc_request_count(ScWorkerCount count);
extern uint64 sc_request_get_count(ScWorkerCount count);
extern void sc_request_waiting(ScWaiting *waiting);

/*
 * For the worker, which gets its place in the register as its argument.  A worker
 * that fails to enter is not wanted any more.
 */
extern bool sc_request_enter(int worker, Oid dboid);
extern void sc_request_be_ready(void);
extern void sc_request_exit(bool asked_to);

/* Build one summary: false if another worker is at it.  What is requested then,
 * and has not been built, is to be requested again. */
extern bool sc_request_claim(int summary);
extern void sc_request_release(int summary);

/* Something that may wait, but is no build. */
extern void sc_request_begin_work(void);
extern void sc_request_end_work(void);

/* What this worker runs from here on has so many ms before it is cancelled, and
 * then a little more before the worker is terminated; 0: no limit.  In other
 * processes it does nothing. */
extern void sc_request_supervise(int ms);

/* After a look at what is requested, which began then (monotonic ns): a sleep that
 * no latch ends, of this time at least, so that in a storm of wake-ups looks take
 * little of the time. */
extern void sc_request_nap(int64 began, int64 least_ns, uint32 wait_event);

/* Is this worker asked to leave its place to another database? */
extern bool sc_request_makes_room(void);

/* Has the launcher terminated this worker? */
extern bool sc_request_is_overdue(void);

extern void sc_request_init(void);	/* from _PG_init */

#endif							/* SC_REQUEST_H */
