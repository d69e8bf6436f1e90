/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Shared memory: its parts, and the lock that they share.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_SHMEM_H
#define SC_SHMEM_H

#include "base.h"
#include "storage/lwlock.h"

/*
 * A part of the shared memory: what one module keeps there.  size is asked once,
 * before the memory is made, in bytes.  attach is called in every process that
 * begins with no address of it, and finds or makes the module's structures by
 * ShmemInitStruct(); init once, in the process that makes the memory.
 */
typedef struct ScPart
{
	Size		(*size) (void);
	void		(*attach) (void);
	void		(*init) (int tranche);
} ScPart;

/*
 * The lock of what is taken and given back: which table has which slot, which
 * summary which entry and sections, which database which worker, and orphan
 * cells' claims.  It is taken before a summary's own lock where both are held.
 */
typedef struct ScShared
{
	LWLock		lock;
	uint64		run;			/* identifies this server run; never changes */
} ScShared;

extern PGDLLIMPORT ScShared *sc_shared; /* NULL: not preloaded */

/* From _PG_init while preloading: first each part, then this. */
extern void sc_shmem_add(const ScPart *part);
extern void sc_shmem_init(void);

#endif							/* SC_SHMEM_H */
