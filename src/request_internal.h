/*-------------------------------------------------------------------------
 *
 * request_internal.h
 *	  The register of the workers as it lies in shared memory: for request.c and launcher.c.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_REQUEST_INTERNAL_H
#define SC_REQUEST_INTERNAL_H

#include "storage/latch.h"
#include "storage/lwlock.h"

#include "request.h"

/*
 * A background worker.  Written under the register's lock by the launcher and
 * the worker itself; sessions read dboid, latch and building_since without it:
 * what they see too late costs a wake-up too many, since a backend's latch stays
 * in shared memory when the process has gone.
 */
typedef struct ScWorker
{
	Oid			dboid;			/* InvalidOid: free */
	int			pid;			/* 0: being launched */
	struct Latch *latch;		/* NULL: it is not ready yet */
	int64		launched_at;	/* monotonic ns */
	int64		idle_since;		/* monotonic ns */
	bool		makes_room;		/* asked to leave as soon as it may */
	bool		is_overdue;		/* terminated, since it did not heed
								 * build_timeout */
	pg_atomic_uint64 building_since;	/* monotonic ns; 0: it builds nothing */
	pg_atomic_uint64 deadline;	/* monotonic ns; 0: none.  When what it runs
								 * has swallowed the cancel of build_timeout */
} ScWorker;

/* A database in which no worker is started for a while.  Under the register's lock;
 * when a worker has come up there is none. */
typedef struct ScBarred
{
	Oid			dboid;			/* InvalidOid: free */
	int64		until;			/* monotonic ns */
	int			failed_starts;	/* one after the other; 0: it is being dropped
								 * or copied */
} ScBarred;

typedef struct ScRegister
{
	LWLock		lock;
	int			launcher_pid;	/* 0: there is none */
	struct Latch *launcher;		/* read without the lock; NULL: there is none */
	pg_atomic_uint64 no_place_until;	/* monotonic ns: before this the
										 * server is not asked again for a
										 * place for one more worker */
	pg_atomic_uint64 counts[SC_WORKER_COUNTS];
	int			nworkers;		/* max_worker_processes */
	int			nbarred;
	ScBarred   *barred;
	ScWorker	workers[FLEXIBLE_ARRAY_MEMBER];
} ScRegister;

extern ScRegister *sc_register;

/* Both with the lock held; for the second, exclusively. */
extern ScBarred *sc_request_find_barred(Oid dboid);
extern bool sc_request_note_failed_start(Oid dboid, int64 now);
extern void sc_request_log_failed_start(Oid dboid);

#endif							/* SC_REQUEST_INTERNAL_H */
