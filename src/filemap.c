/*-------------------------------------------------------------------------
 *
 * filemap.c
 *	  On a standby: which word stands for a relation's file.
 *
 * The WAL names files, and labels have words.  Who builds on a standby enters the
 * files of what it is about to read, and which word stands for each; the startup
 * process looks up the files that a transaction has changed when it replays the
 * commit (watch.c).
 *
 * The two must not miss each other.  The startup process makes a counter odd
 * before it looks up the files of a commit, and even after the transaction is
 * visible.  Who has entered files, and finds the counter odd, waits until it has
 * changed.  So what is not in the snapshot that is taken next finds the files
 * entered.
 *
 * An entry counts as long as the catch-all has the revision at which it was made, as
 * labels do: of a shared catalog the cluster's, else the database's.  What moves a
 * table to another file or another word moves that, so whoever has a label that can
 * be current has made its entries since.
 *
 * The startup process must not wait, so it reads without the lock.  An entry that
 * gets another word is first made one that nobody finds.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "clock.h"
#include "filemap.h"
#include "settings.h"
#include "word_internal.h"

/* What an entry holds instead of a slot. */
#define ENTRY_FREE		0		/* never used: a search ends here */
#define ENTRY_EMPTY		1		/* used before: a search goes on */
#define ENTRY_HARMLESS	2
#define ENTRY_SLOT(slot) ((uint32) (slot) + 3)

typedef struct Entry
{
	ScFile		file;			/* stable while there is something in it */
	pg_atomic_uint32 holds;		/* written under the lock, read without */
	pg_atomic_uint64 revision;	/* likewise: of the catch-all, when it was
								 * made; of a whole database, the sum of both
								 * catch-alls' as of which all that every
								 * label needs is entered */
} Entry;

typedef struct FileMap
{
	LWLock		lock;			/* of who enters; taken alone */
	pg_atomic_uint32 watched;
	pg_atomic_uint64 commits;	/* odd while a commit is being replayed */
	uint32		nentries;		/* never changes */
	uint32		used;			/* entries that are not free */
	Entry		entries[FLEXIBLE_ARRAY_MEMBER];
} FileMap;

static FileMap *map;

/* A table has a file; a partition has one and no word of its own. */
#define FILES_PER_TABLE		4

/* How long who enters files waits for a commit that is being replayed. */
#define SETTLE_LIMIT_NS		(1 * SC_NS_PER_S)
#define SETTLE_MAX_US		1000

static uint32
entry_count(void)
{
	return (uint32) sc_max_tables * FILES_PER_TABLE;
}

static Size
filemap_size(void)
{
	return add_size(offsetof(FileMap, entries), mul_size(sizeof(Entry), entry_count()));
}

static void
filemap_attach(void)
{
	bool		found;

	map = ShmemInitStruct(SC_NAME " files", filemap_size(), &found);
}

static void
filemap_start(int tranche)
{
	memset(map, 0, filemap_size());
	LWLockInitialize(&map->lock, tranche);
	map->nentries = entry_count();
	pg_atomic_init_u32(&map->watched, 0);
	pg_atomic_init_u64(&map->commits, 0);
	for (uint32 i = 0; i < map->nentries; i++)
	{
		pg_atomic_init_u32(&map->entries[i].holds, ENTRY_FREE);
		pg_atomic_init_u64(&map->entries[i].revision, 0);
	}
}

void
sc_filemap_init(void)
{
	static const ScPart part = {filemap_size, filemap_attach, filemap_start};

	sc_shmem_add(&part);
}

static inline uint32
first_place(const ScFile *file)
{
	/* numbers follow each other, and the high bits decide */
	uint32		hash = (file->number * 0x9E3779B1U) ^ (file->database * 0x85EBCA77U);

	return (uint32) (((uint64) hash * map->nentries) >> 32);
}

static inline uint32
next_place(uint32 i)
{
	return i + 1 < map->nentries ? i + 1 : 0;
}

static inline bool
is_file(const Entry *entry, const ScFile *file)
{
	return entry->file.number == file->number && entry->file.database == file->database &&
		entry->file.tablespace == file->tablespace;
}

/*-------------------------------------------------------------------------
 * For who builds
 *-------------------------------------------------------------------------
 */

/* The entry that a file has; caller holds the lock. */
static Entry *
find_entry(const ScFile *file)
{
	for (uint32 i = first_place(file);; i = next_place(i))
	{
		Entry	   *entry = &map->entries[i];
		uint32		holds = pg_atomic_read_u32(&entry->holds);

		if (holds == ENTRY_FREE)
			return NULL;
		if (holds != ENTRY_EMPTY && is_file(entry, file))
			return entry;
	}
}

/* The place for a new one: an empty one that a search comes by, or a free one. */
static Entry *
find_place(const ScFile *file)
{
	/* some are free always, so that searches end */
	bool		may_use_free = map->used < map->nentries / 4 * 3;

	for (uint32 i = first_place(file);; i = next_place(i))
	{
		uint32		holds = pg_atomic_read_u32(&map->entries[i].holds);

		if (holds == ENTRY_EMPTY)
			return &map->entries[i];
		if (holds == ENTRY_FREE)
		{
			if (may_use_free)
				map->used++;
			return may_use_free ? &map->entries[i] : NULL;
		}
	}
}

/* The entry of a whole database. */
static Entry *
find_database(Oid dboid)
{
	ScFile		file = {InvalidOid, dboid, InvalidOid};

	return find_entry(&file);
}

static inline int
slot_in(uint32 holds)
{
	return (int) (holds - ENTRY_SLOT(0));
}

/* Does an entry count?  See the head of this file. */
static bool
is_needed(Entry *entry)
{
	int			catch_all = SC_CLUSTER_SLOT;

	if (OidIsValid(entry->file.database))
	{
		Entry	   *whole = find_database(entry->file.database);

		if (whole == entry)
			return sc_slot_is_of(slot_in(pg_atomic_read_u32(&entry->holds)),
								 SC_KEY(entry->file.database, InvalidOid));
		if (whole == NULL)
			return false;
		catch_all = slot_in(pg_atomic_read_u32(&whole->holds));
	}
	return pg_atomic_read_u64(&entry->revision) == sc_word_revision(catch_all);
}

static void
sweep(void)
{
	for (uint32 i = 0; i < map->nentries; i++)
	{
		Entry	   *entry = &map->entries[i];

		if (pg_atomic_read_u32(&entry->holds) > ENTRY_EMPTY && !is_needed(entry))
			pg_atomic_write_u32(&entry->holds, ENTRY_EMPTY);
	}
}

/* Caller holds the lock. */
static bool
enter(Entry *entry, const ScFile *file, uint32 holds, uint64 revision)
{
	if (entry && pg_atomic_read_u32(&entry->holds) == holds)
	{
		if (pg_atomic_read_u64(&entry->revision) < revision)
			pg_atomic_write_u64(&entry->revision, revision);
		return true;
	}
	if (entry == NULL)
		entry = find_place(file);
	if (entry == NULL)
	{
		sweep();
		entry = find_place(file);
	}
	if (entry == NULL)
		return false;
	pg_atomic_write_u32(&entry->holds, ENTRY_EMPTY);
	pg_write_barrier();
	entry->file = *file;
	pg_atomic_write_u64(&entry->revision, revision);
	pg_write_barrier();
	pg_atomic_write_u32(&entry->holds, holds);
	return true;
}

static bool
enter_file(const ScFile *file, uint32 holds, uint64 revision)
{
	Entry	   *entry;
	bool		entered;

	LWLockAcquire(&map->lock, LW_EXCLUSIVE);
	entry = find_entry(file);

	/*
	 * if the catch-all has moved since, the label will not be current, but
	 * others' are
	 */
	entered = (entry && pg_atomic_read_u64(&entry->revision) > revision) ||
		enter(entry, file, holds, revision);
	LWLockRelease(&map->lock);
	return entered;
}

bool
sc_filemap_add(const ScFile *file, int slot, uint64 revision)
{
	return enter_file(file, ENTRY_SLOT(slot), revision);
}

bool
sc_filemap_add_harmless(const ScFile *file, uint64 revision)
{
	return enter_file(file, ENTRY_HARMLESS, revision);
}

/* Unless the slot was given away: whoever has found the one that came after it may have entered that. */
bool
sc_filemap_add_database(Oid dboid, int catch_all)
{
	ScFile		whole = {InvalidOid, dboid, InvalidOid};
	bool		entered;

	LWLockAcquire(&map->lock, LW_EXCLUSIVE);
	entered = sc_slot_is_of(catch_all, SC_KEY(dboid, InvalidOid)) &&
		enter(find_entry(&whole), &whole, ENTRY_SLOT(catch_all), 0);
	LWLockRelease(&map->lock);
	return entered;
}

/*
 * Revisions only grow, so a sum of two is that of no other two of the same words.
 * A catch-all that the database had in another slot had a lower one.
 */
bool
sc_filemap_has_database(Oid dboid, uint64 revision, uint64 cluster_revision)
{
	Entry	   *entry;
	bool		complete;

	LWLockAcquire(&map->lock, LW_SHARED);
	entry = find_database(dboid);
	complete = entry && pg_atomic_read_u64(&entry->revision) == revision + cluster_revision;
	LWLockRelease(&map->lock);
	return complete;
}

void
sc_filemap_note_database(Oid dboid, int catch_all, uint64 revision, uint64 cluster_revision)
{
	Entry	   *entry;

	LWLockAcquire(&map->lock, LW_EXCLUSIVE);
	entry = find_database(dboid);
	if (entry && pg_atomic_read_u32(&entry->holds) == ENTRY_SLOT(catch_all) &&
		pg_atomic_read_u64(&entry->revision) < revision + cluster_revision)
		pg_atomic_write_u64(&entry->revision, revision + cluster_revision);
	LWLockRelease(&map->lock);
}

bool
sc_filemap_settle(void)
{
	uint64		commits;
	int64		began;
	long		us = 10;

	pg_memory_barrier();
	commits = pg_atomic_read_u64(&map->commits);
	if (commits % 2 == 0)
		return true;
	began = sc_clock_now();
	while (pg_atomic_read_u64(&map->commits) == commits)
	{
		CHECK_FOR_INTERRUPTS();
		if (sc_clock_now() - began > SETTLE_LIMIT_NS)
			return false;
		pg_usleep(us);
		us = Min(us * 2, SETTLE_MAX_US);
	}
	pg_memory_barrier();
	return true;
}

bool
sc_filemap_is_watched(void)
{
	return pg_atomic_read_u32(&map->watched) != 0;
}

/*-------------------------------------------------------------------------
 * For the startup process
 *-------------------------------------------------------------------------
 */

void
sc_filemap_begin_watching(void)
{
	pg_atomic_write_u32(&map->watched, 1);
	pg_memory_barrier();
}

ScFileKind
sc_filemap_find(const ScFile *file, int *slot, uint64 *revision)
{
	for (uint32 i = first_place(file);; i = next_place(i))
	{
		Entry	   *entry = &map->entries[i];
		uint32		holds = pg_atomic_read_u32(&entry->holds);

		if (holds == ENTRY_FREE)
			return SC_FILE_UNKNOWN;
		pg_read_barrier();
		if (holds == ENTRY_EMPTY || !is_file(entry, file))
			continue;
		*revision = pg_atomic_read_u64(&entry->revision);
		pg_read_barrier();
		/* it is just being changed: who does that waits for us */
		if (pg_atomic_read_u32(&entry->holds) != holds)
			return SC_FILE_UNKNOWN;
		if (holds == ENTRY_HARMLESS)
			return SC_FILE_HARMLESS;
		*slot = slot_in(holds);
		return SC_FILE_WORD;
	}
}

void
sc_filemap_begin_commit(void)
{
	pg_atomic_fetch_add_u64(&map->commits, 1);
}

void
sc_filemap_end_commit(void)
{
	pg_atomic_fetch_add_u64(&map->commits, 1);
}
