/*-------------------------------------------------------------------------
 *
 * counters.h
 *	  Counters of reads, by summary.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_COUNTERS_H
#define SC_COUNTERS_H

#include "base.h"
#include "settings.h"
#include "storage/proc.h"

/* What a read answered with. */
typedef enum ScStatus
{
	SC_HIT,
	SC_INLINE,
	SC_STALE,
	SC_MISS,
	SC_PRIVATE
} ScStatus;

typedef enum ScPrivateCause
{
	SC_PRIVATE_DISABLED,		/* summary_cache.enabled is off */
	SC_PRIVATE_WRITING,			/* began to write a source */
	SC_PRIVATE_SERIALIZABLE,
	SC_PRIVATE_REPEATABLE_READ, /* not provably what the snapshot would give */
	SC_PRIVATE_MAY_NOT_PUBLISH, /* has an xid or a strong lock on a source */
	SC_PRIVATE_NO_WORKER,		/* only a worker may build it for others */
	SC_PRIVATE_CAUSES,

	/* with no entry in shared memory to count in */
	SC_PRIVATE_NO_ROOM,
	SC_PRIVATE_NOT_PRELOADED
} ScPrivateCause;

/*
 * One array a summary and shard.  A backend writes its own shard only
 * (atomically: backends share one when there are more of them than shards), so
 * that readers do not fight over a cache line.
 */
#define SC_SHARDS	32

enum
{
	SC_COUNT_HIT = SC_HIT,
	SC_COUNT_INLINE = SC_INLINE,
	SC_COUNT_STALE = SC_STALE,
	SC_COUNT_MISS = SC_MISS,
	SC_COUNT_PRIVATE,			/* + ScPrivateCause */
	SC_COUNT_UNPROVABLE = SC_COUNT_PRIVATE + SC_PRIVATE_CAUSES,
	SC_COUNT_WAITS,				/* waits for another builder */
	SC_COUNT_WAIT_NS,
	SC_COUNTERS
};

typedef struct ScShard
{
	pg_atomic_uint64 counter[SC_COUNTERS];
} ScShard;

typedef union ScShardPadded
{
	ScShard		shard;
	char		pad[TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(ScShard))];
} ScShardPadded;

extern ScShardPadded *sc_shards;	/* only for what follows */

extern void sc_counters_init(void); /* from _PG_init */
extern uint64 sc_counters_get(int summary, int counter);
extern uint64 sc_counters_reads(int summary);
extern void sc_counters_reset(int summary);

/* Count in this backend's shard; summary is an entry's index. */
static inline void
sc_counters_add(int summary, int counter, uint64 n)
{
	ScShard    *shard = &sc_shards[summary * SC_SHARDS + SC_MY_BACKEND % SC_SHARDS].shard;

	Assert(summary >= 0 && summary < sc_max_sections);
	pg_atomic_fetch_add_u64(&shard->counter[counter], n);
}

#endif							/* SC_COUNTERS_H */
