/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Shared memory: slots, cells, summaries' entries, and the area that holds
 *	  the documents.
 *
 * Everything has its full size from server start: nothing here can fail later
 * for want of a mapping, and the worst that a full table does is that
 * something is not cached.  All of it shows in pg_shmem_allocations under the
 * extension's name, and so do the locks in pg_stat_activity's wait events.
 *
 * Locking: ScShared.lock protects who owns which slot, entry and section;
 * ScSummary.lock protects what an entry holds.  Where both are held, the
 * former is taken first.  Words, cells and counters are atomic.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "summary_cache.h"

extern int	max_prepared_xacts;

ScShared   *sc_shared = NULL;
ScSlotPadded *sc_slots;
ScCellPadded *sc_cells;
ScSummary  *sc_summaries;
ScSection  *sc_sections;
ScShardPadded *sc_shards;
ScWorker   *sc_workers;

static HTAB *slot_hash;			/* key -> slot; under ScShared.lock */
static void *dsa_place;

static shmem_request_hook_type prev_shmem_request_hook;
static shmem_startup_hook_type prev_shmem_startup_hook;

typedef struct SlotEntry
{
	uint64		key;
	int			slot;
} SlotEntry;

/*
 * A prepared transaction has one cell, or two if the first use of a database
 * meets it while it is being prepared.  The last cell stays free for the
 * transaction that finds no other (see revision.c).
 */
#define ORPHAN_CELLS	(2 * max_prepared_xacts + 1)

/* All backends in commit and twice all that can be prepared do not overflow a word's count. */
StaticAssertDecl(3 * (uint64) MAX_BACKENDS < SC_PENDING_MASK, "too few bits for pending transactions");

static Size
memory_limit_bytes(void)
{
	return (Size) sc_memory_limit * 1024;
}

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(MAXALIGN(sizeof(ScShared)));
	RequestAddinShmemSpace(CACHELINEALIGN(mul_size(sizeof(ScSlotPadded), sc_max_tables)));
	RequestAddinShmemSpace(CACHELINEALIGN(mul_size(sizeof(ScCellPadded), MaxBackends + ORPHAN_CELLS)));
	RequestAddinShmemSpace(CACHELINEALIGN(mul_size(sizeof(ScSummary), sc_max_sections)));
	RequestAddinShmemSpace(CACHELINEALIGN(mul_size(sizeof(ScSection), sc_max_sections)));
	RequestAddinShmemSpace(CACHELINEALIGN(mul_size(sizeof(ScShardPadded) * SC_SHARDS, sc_max_sections)));
	RequestAddinShmemSpace(CACHELINEALIGN(mul_size(sizeof(ScWorker), max_worker_processes)));
	RequestAddinShmemSpace(hash_estimate_size(sc_max_tables, sizeof(SlotEntry)));
	RequestAddinShmemSpace(memory_limit_bytes());
	/* only for its id: the locks stand in our structures */
	RequestNamedLWLockTranche(SC_NAME, 1);
}

static void
shmem_startup(void)
{
	bool		found;
	HASHCTL		info;
	int			ncells = MaxBackends + ORPHAN_CELLS;
	int			tranche;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);

	sc_slots = ShmemInitStruct(SC_NAME " slots", sizeof(ScSlotPadded) * sc_max_tables, &found);
	sc_cells = ShmemInitStruct(SC_NAME " cells", sizeof(ScCellPadded) * ncells, &found);
	sc_summaries = ShmemInitStruct(SC_NAME " summaries", sizeof(ScSummary) * sc_max_sections, &found);
	sc_sections = ShmemInitStruct(SC_NAME " sections", sizeof(ScSection) * sc_max_sections, &found);
	sc_shards = ShmemInitStruct(SC_NAME " counters",
								sizeof(ScShardPadded) * SC_SHARDS * sc_max_sections, &found);
	sc_workers = ShmemInitStruct(SC_NAME " workers", sizeof(ScWorker) * max_worker_processes, &found);
	dsa_place = ShmemInitStruct(SC_NAME " documents", memory_limit_bytes(), &found);

	info.keysize = sizeof(uint64);
	info.entrysize = sizeof(SlotEntry);
	slot_hash = SC_SHMEM_INIT_HASH(SC_NAME " slot hash", sc_max_tables,
								   &info, HASH_ELEM | HASH_BLOBS);

	sc_shared = ShmemInitStruct(SC_NAME, sizeof(ScShared), &found);
	if (!found)
	{
		LWLockPadded *locks = GetNamedLWLockTranche(SC_NAME);
		dsa_area   *area;
		uint64		run;
		int			i;

		tranche = locks[0].lock.tranche;
		if (!pg_strong_random(&run, sizeof(run)))
			run = (uint64) GetCurrentTimestamp();

		memset(sc_shared, 0, sizeof(ScShared));
		LWLockInitialize(&sc_shared->lock, tranche);
		sc_shared->run = run;
		sc_shared->nslots = sc_max_tables;
		sc_shared->nbackends = MaxBackends;
		sc_shared->ncells = ncells;
		pg_atomic_init_u32(&sc_shared->ncells_used, 0);
		sc_shared->nsummaries = sc_max_sections;
		sc_shared->nsections = sc_max_sections;
		sc_shared->nworkers = max_worker_processes;
		sc_shared->next_revision = 1;

		memset(sc_slots, 0, sizeof(ScSlotPadded) * sc_max_tables);
		for (i = 0; i < sc_max_tables; i++)
		{
			pg_atomic_init_u64(&sc_slots[i].slot.word, SC_REVISION_ONE);
			pg_atomic_init_u64(&sc_slots[i].slot.key, SC_KEY_FREE);
			pg_atomic_init_u64(&sc_slots[i].slot.last_change, 0);
		}
		pg_atomic_write_u64(&sc_slots[SC_CLUSTER_SLOT].slot.key, SC_KEY_CLUSTER);

		memset(sc_cells, 0, sizeof(ScCellPadded) * ncells);
		for (i = 0; i < ncells; i++)
			pg_atomic_init_u64(&sc_cells[i].cell.xid, SC_CELL_EMPTY);

		memset(sc_summaries, 0, sizeof(ScSummary) * sc_max_sections);
		for (i = 0; i < sc_max_sections; i++)
		{
			ScSummary  *summary = &sc_summaries[i];

			LWLockInitialize(&summary->lock, tranche);
			summary->sections = -1;
			/* versions of different entries never meet: a copy knows its own */
			pg_atomic_init_u64(&summary->version, ((uint64) i << 40) + 1);
			pg_atomic_init_u32(&summary->refresh_requested, 0);
			pg_atomic_init_u32(&summary->notify_requested, 0);
			pg_atomic_init_u64(&summary->retry_at, 0);
			pg_atomic_init_u64(&summary->refreshed_at, 0);
		}

		for (i = 0; i < sc_max_sections; i++)
		{
			sc_sections[i].chunk = InvalidDsaPointer;
			sc_sections[i].next = i + 1 < sc_max_sections ? i + 1 : -1;
		}
		sc_shared->free_section = 0;

		for (i = 0; i < sc_max_sections * SC_SHARDS; i++)
			for (int c = 0; c < SC_COUNTERS; c++)
				pg_atomic_init_u64(&sc_shards[i].shard.counter[c], 0);

		memset(sc_workers, 0, sizeof(ScWorker) * max_worker_processes);

		/*
		 * The area never grows beyond its place: no segment is created later,
		 * so an allocation can fail, but not throw.
		 */
		area = dsa_create_in_place(dsa_place, memory_limit_bytes(), tranche, NULL);
		dsa_pin(area);
		dsa_set_size_limit(area, memory_limit_bytes());
		dsa_detach(area);
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

/* The area of the documents, attached on first use in a backend. */
dsa_area *
sc_dsa(void)
{
	static dsa_area *area = NULL;

	if (area == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		area = dsa_attach_in_place(dsa_place, NULL);
		dsa_pin_mapping(area);
		on_shmem_exit(dsa_on_shmem_exit_release_in_place, PointerGetDatum(dsa_place));
		MemoryContextSwitchTo(old);
	}
	return area;
}

/*
 * Ages and waits are measured on the monotonic clock, which is the same in
 * all processes of a machine and never set back.
 */
int64
sc_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * INT64CONST(1000000000) + ts.tv_nsec;
}

/* For the hit path: a few milliseconds do not matter to an age in seconds. */
int64
sc_now_coarse(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64) ts.tv_sec * INT64CONST(1000000000) + ts.tv_nsec;
#else
	return sc_now();
#endif
}

/*
 * Take a slot into use: a free one, or one that nobody wants any more and
 * that no committing transaction counts on.  Caller holds the lock.
 *
 * A writer adds to a word without the lock and looks at the key afterwards.
 * So the key is first made one that nobody looks for, and the word then
 * swapped from "nothing pending" to a higher revision: either that fails,
 * since a writer was there first, or the writer sees that the key is not its
 * own, takes its count back and comes here for the lock.
 */
static int
slot_take(uint64 key)
{
	for (int unwanted = 0; unwanted <= 1; unwanted++)
	{
		for (int i = SC_CLUSTER_SLOT + 1; i < sc_shared->nslots; i++)
		{
			ScSlot	   *slot = &sc_slots[i].slot;
			uint64		old_key = pg_atomic_read_u64(&slot->key);
			uint64		word;
			uint64		revision;

			if (unwanted ? slot->wanted : old_key != SC_KEY_FREE)
				continue;

			word = pg_atomic_read_u64(&slot->word);
			if (SC_PENDING(word) != 0)
				continue;
			SC_POINT("slot-take");
			pg_atomic_write_u64(&slot->key, SC_KEY_TAKING);
			pg_memory_barrier();
			revision = Max(SC_REVISION(word), sc_shared->next_revision) + 1;
			if (!pg_atomic_compare_exchange_u64(&slot->word, &word,
												revision << SC_PENDING_BITS))
			{
				pg_atomic_write_u64(&slot->key, old_key);
				continue;
			}

			pg_atomic_write_u64(&slot->key, key);
			if (old_key != SC_KEY_FREE)
				hash_search(slot_hash, &old_key, HASH_REMOVE, NULL);
			sc_shared->next_revision = revision;
			pg_atomic_write_u64(&slot->last_change, 0);
			slot->prepared_known = false;
			slot->eager = false;
			slot->listened = false;
			/* in use until somebody says otherwise */
			slot->wanted = true;
			return i;
		}
	}
	return SC_SLOT_NONE;
}

/*
 * A table gets a slot of its own.  Documents may have been built while it had
 * none, and know of its changes by the catch-all word only: move that, before
 * any writer can find the slot.  Caller holds the lock.
 */
static void
slot_tell_others(uint64 key)
{
	uint64		catch_all = SC_KEY((Oid) (key >> 32), InvalidOid);
	SlotEntry  *entry = hash_search(slot_hash, &catch_all, HASH_FIND, NULL);

	pg_atomic_fetch_add_u64(&sc_slots[entry ? entry->slot : SC_CLUSTER_SLOT].slot.word,
							SC_REVISION_ONE);
}

int
sc_slot_find(uint64 key, bool create)
{
	SlotEntry  *entry;
	int			slot = SC_SLOT_NONE;

	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	entry = hash_search(slot_hash, &key, HASH_FIND, NULL);
	if (entry)
		slot = entry->slot;
	LWLockRelease(&sc_shared->lock);
	if (slot != SC_SLOT_NONE || !create)
		return slot;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	entry = hash_search(slot_hash, &key, HASH_FIND, NULL);
	if (entry)
		slot = entry->slot;
	else
	{
		slot = slot_take(key);
		if (slot == SC_SLOT_NONE)
			sc_shared->slot_refused = true;
		else
		{
			if (sc_shared->slot_refused)
				slot_tell_others(key);
			entry = hash_search(slot_hash, &key, HASH_ENTER_NULL, NULL);
			if (entry)
				entry->slot = slot;
			else
			{
				/* cannot be: the hash has room for every slot */
				pg_atomic_write_u64(&sc_slots[slot].slot.key, SC_KEY_FREE);
				sc_slots[slot].slot.wanted = false;
				slot = SC_SLOT_NONE;
			}
		}
	}
	LWLockRelease(&sc_shared->lock);
	return slot;
}

/* Note whether a definition still uses a slot. */
void
sc_slot_want(int slot, bool wanted)
{
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	sc_slots[slot].slot.wanted = wanted;
	LWLockRelease(&sc_shared->lock);
}

/* Caller holds ScShared.lock. */
static int
summary_lookup(Oid dboid, const char *name)
{
	for (int i = 0; i < sc_shared->nsummaries; i++)
		if (sc_summaries[i].dboid == dboid &&
			strcmp(NameStr(sc_summaries[i].name), name) == 0)
			return i;
	return -1;
}

int
sc_summary_find(const char *name, bool create)
{
	int			index;

	LWLockAcquire(&sc_shared->lock, create ? LW_EXCLUSIVE : LW_SHARED);
	index = summary_lookup(MyDatabaseId, name);
	if (index < 0 && create)
	{
		for (int i = 0; i < sc_shared->nsummaries; i++)
		{
			ScSummary  *summary = &sc_summaries[i];

			if (OidIsValid(summary->dboid))
				continue;

			LWLockAcquire(&summary->lock, LW_EXCLUSIVE);
			namestrcpy(&summary->name, name);
			summary->dboid = MyDatabaseId;
			summary->failures = 0;
			summary->failed_inline = summary->no_room = false;
			summary->error[0] = '\0';
			summary->error_at = 0;
			summary->failed_at = 0;
			memset(summary->builds, 0, sizeof(summary->builds));
			summary->builds_failed = summary->builds_wasted = summary->unpublished = 0;
			summary->build_ns_min = summary->build_ns_max = summary->build_ns_total = 0;
			summary->options.max_stale_age = summary->options.min_refresh_interval =
				summary->options.eager_refresh = SC_UNSET;
			summary->notified_etag[0] = '\0';
			pg_atomic_write_u64(&summary->refreshed_at, 0);
			summary->stats_reset = GetCurrentTimestamp();
			pg_atomic_write_u32(&summary->refresh_requested, 0);
			pg_atomic_write_u32(&summary->notify_requested, 0);
			pg_atomic_write_u64(&summary->retry_at, 0);
			for (int s = 0; s < SC_SHARDS; s++)
				for (int c = 0; c < SC_COUNTERS; c++)
					pg_atomic_write_u64(&sc_shards[i * SC_SHARDS + s].shard.counter[c], 0);
			LWLockRelease(&summary->lock);
			index = i;
			break;
		}
	}
	LWLockRelease(&sc_shared->lock);
	return index;
}

/*
 * Drop what a summary has cached.  Caller holds ScShared.lock and the
 * summary's, both exclusive.
 */
static void
summary_clear_locked(ScSummary *summary)
{
	int			next;

	for (int i = summary->sections; i >= 0; i = next)
	{
		next = sc_sections[i].next;
		if (DsaPointerIsValid(sc_sections[i].chunk))
			dsa_free(sc_dsa(), sc_sections[i].chunk);
		sc_sections[i].chunk = InvalidDsaPointer;
		sc_sections[i].next = sc_shared->free_section;
		sc_shared->free_section = i;
	}
	summary->sections = -1;
	summary->generation++;
	pg_atomic_fetch_add_u64(&summary->version, 1);
}

/* Drop what a summary has cached; the entry and its counters stay. */
void
sc_summary_clear(ScSummary *summary)
{
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(&summary->lock, LW_EXCLUSIVE);
	summary_clear_locked(summary);
	if (summary->failures > 0)
	{
		summary->failures = 0;
		summary->error[0] = '\0';
	}
	pg_atomic_write_u64(&summary->retry_at, 0);
	LWLockRelease(&summary->lock);
	LWLockRelease(&sc_shared->lock);
}

/* Caller holds ScShared.lock, exclusive. */
static void
summary_forget_locked(ScSummary *summary)
{
	LWLockAcquire(&summary->lock, LW_EXCLUSIVE);
	summary_clear_locked(summary);
	summary->dboid = InvalidOid;
	LWLockRelease(&summary->lock);
}

/* A summary of this database is gone. */
void
sc_summary_forget(const char *name)
{
	int			index;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	index = summary_lookup(MyDatabaseId, name);
	if (index >= 0)
		summary_forget_locked(&sc_summaries[index]);
	LWLockRelease(&sc_shared->lock);
}

/*
 * A database, or the extension in it, is gone.  Its slots may be reused; until
 * they are, writers go on finding them.
 */
void
sc_summary_forget_database(Oid dboid)
{
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < sc_shared->nsummaries; i++)
		if (sc_summaries[i].dboid == dboid)
			summary_forget_locked(&sc_summaries[i]);
	for (int i = SC_CLUSTER_SLOT + 1; i < sc_shared->nslots; i++)
		if ((Oid) (pg_atomic_read_u64(&sc_slots[i].slot.key) >> 32) == dboid)
			sc_slots[i].slot.wanted = false;
	LWLockRelease(&sc_shared->lock);
}

/* Take a free section entry; caller holds ScShared.lock, exclusive. */
int
sc_section_alloc(void)
{
	int			section = sc_shared->free_section;

	if (section >= 0)
	{
		sc_shared->free_section = sc_sections[section].next;
		sc_sections[section].next = -1;
		sc_sections[section].invalidated = false;
		sc_sections[section].chunk = InvalidDsaPointer;
	}
	return section;
}

/* Give one back; caller holds ScShared.lock, exclusive. */
void
sc_section_free(int section)
{
	sc_sections[section].chunk = InvalidDsaPointer;
	sc_sections[section].next = sc_shared->free_section;
	sc_shared->free_section = section;
}
