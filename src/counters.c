/*-------------------------------------------------------------------------
 *
 * counters.c
 *	  Counters of reads, by summary.
 *
 * Atomic, and without a lock.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/shmem.h"

#include "counters.h"
#include "shmem.h"

ScShardPadded *sc_shards;

static Size
counters_size(void)
{
	return CACHELINEALIGN(mul_size(sizeof(ScShardPadded) * SC_SHARDS, sc_max_sections));
}

static void
counters_attach(void)
{
	bool		found;

	sc_shards = ShmemInitStruct(SC_NAME " counters",
								sizeof(ScShardPadded) * SC_SHARDS * sc_max_sections, &found);
}

static void
counters_init(int tranche)
{
	for (int i = 0; i < sc_max_sections * SC_SHARDS; i++)
		for (int c = 0; c < SC_COUNTERS; c++)
			pg_atomic_init_u64(&sc_shards[i].shard.counter[c], 0);
}

void
sc_counters_init(void)
{
	static const ScPart part = {counters_size, counters_attach, counters_init};

	sc_shmem_add(&part);
}

/* The sum over all shards. */
uint64
sc_counters_get(int summary, int counter)
{
	uint64		sum = 0;

	for (int i = 0; i < SC_SHARDS; i++)
		sum += pg_atomic_read_u64(&sc_shards[summary * SC_SHARDS + i].shard.counter[counter]);
	return sum;
}

/* The reads that were not private. */
uint64
sc_counters_reads(int summary)
{
	return sc_counters_get(summary, SC_COUNT_HIT) + sc_counters_get(summary, SC_COUNT_INLINE) +
		sc_counters_get(summary, SC_COUNT_STALE) + sc_counters_get(summary, SC_COUNT_MISS);
}

void
sc_counters_reset(int summary)
{
	for (int i = 0; i < SC_SHARDS; i++)
		for (int c = 0; c < SC_COUNTERS; c++)
			pg_atomic_write_u64(&sc_shards[summary * SC_SHARDS + i].shard.counter[c], 0);
}
