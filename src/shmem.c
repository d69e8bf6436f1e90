/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Shared memory: its parts, and the lock that they share.
 *
 * Each module that keeps something in shared memory adds a part, whose layout
 * only that module knows.  Everything has its full size from server start:
 * nothing can fail later for want of a mapping, and the worst that a full
 * table does is that something is not cached.  All of it shows in
 * pg_shmem_allocations under the extension's name, and so do the locks in
 * pg_stat_activity's wait events.
 *
 * Locking: see ScShared.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "shmem.h"

#define MAX_PARTS	8

ScShared   *sc_shared = NULL;

static const ScPart *parts[MAX_PARTS];
static int	nparts = 0;

static shmem_request_hook_type prev_shmem_request_hook;
static shmem_startup_hook_type prev_shmem_startup_hook;

void
sc_shmem_add(const ScPart *part)
{
	if (nparts == MAX_PARTS)
		elog(ERROR, "too many parts of shared memory");
	parts[nparts++] = part;
}

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(CACHELINEALIGN(sizeof(ScShared)));
	for (int i = 0; i < nparts; i++)
		RequestAddinShmemSpace(parts[i]->size());
	/* only for its id: the locks stand in our structures */
	RequestNamedLWLockTranche(SC_NAME, 1);
}

static void
shmem_startup(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < nparts; i++)
		parts[i]->attach();
	sc_shared = ShmemInitStruct(SC_NAME, sizeof(ScShared), &found);
	if (!found)
	{
		int			tranche = GetNamedLWLockTranche(SC_NAME)[0].lock.tranche;

		LWLockInitialize(&sc_shared->lock, tranche);
		if (!pg_strong_random(&sc_shared->run, sizeof(sc_shared->run)))
			sc_shared->run = (uint64) GetCurrentTimestamp();
		for (int i = 0; i < nparts; i++)
			parts[i]->init(tranche);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
sc_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}
