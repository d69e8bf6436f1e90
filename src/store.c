/*-------------------------------------------------------------------------
 *
 * store.c
 *	  The store: each summary's entry, and the document that it holds.
 *
 * Entries and their sections are of fixed number.  The documents' bytes are in
 * an area that has its full size from server start: an allocation can fail, but
 * not throw.
 *
 * When there is no room, the document that has not been read for the longest
 * time gives way, and when there is no entry, the entry: by a clock.  Its hand
 * passes by the entries of all databases.  What nobody has read since it last came by goes;
 * of the others it notes that they are not read, by a bit of the version.  The
 * next reader finds that its copy is not of this version, and takes the bit away.
 * So a hit pays nothing for it.
 *
 * Locking: ScShared.lock protects which summary has which entry and sections;
 * an entry's lock protects what it holds.  A reader copies a document under the
 * latter, which may take its time, and the former is needed by commits of all
 * databases: so nobody waits for an entry's lock with ScShared.lock in hand.
 * Where both are held, the entry's is taken first, and the entry may have become
 * another's by then.  Bytes are copied into the area before a lock is taken;
 * under the lock only pointers are swapped.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/dsa.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "debug.h"
#include "shmem.h"
#include "store.h"

/* Failed builds are tried again after 1 s, then 2, 4, ... */
#define RETRY_FIRST_NS	SC_NS_PER_S
#define RETRY_LIMIT_NS	(60 * SC_NS_PER_S)
#define RETRY_DOUBLINGS	6		/* then the limit is reached */

/*
 * A document that cannot be proven current is not rebuilt more often than
 * this in the background.
 */
#define UNPROVABLE_REFRESH_NS	SC_NS_PER_S

/*
 * Others give way again for a document that did not fit: what was in the way then
 * may have been another publication, which nobody could push out.
 */
#define REFUSED_NS		(60 * SC_NS_PER_S)

/*
 * Somebody may have the lock of a free entry: of those that are free so many are
 * tried, so many times, with a pause between.
 */
#define FREE_TRIED		64
#define BUSY_TRIES		100
#define BUSY_US			100

/*
 * Versions of different entries never meet: a copy knows its own.  The lowest bit
 * says that nobody has read the document since the clock's hand came by.
 */
#define VERSION_BITS	40
#define VERSION_STEP	UINT64CONST(2)
#define VERSION_UNREAD	UINT64CONST(1)

/* Under the lock of the summary that it belongs to. */
typedef struct Section
{
	dsa_pointer chunk;			/* of its first part, the others follow; they
								 * have its name */
	int			next;			/* index of the summary's next section, or -1;
								 * of the next free one, under ScShared.lock */
	bool		invalidated;	/* summary_cache_invalidate() of an inline one */
} Section;

/* What is kept of an entry's last failure, beside how many there were. */
typedef struct Failure
{
	int			code;
	TimestampTz at;
	ScBegun		begun;
	char		message[SC_ERROR_LEN];
} Failure;

/*
 * What a summary has once, however many documents it has.  Under the lock of its
 * entry, which is taken after a document's.
 */
typedef struct Summary
{
	LWLock		lock;			/* of its entry */
	NameData	name;			/* changed under ScShared.lock as well */
	Failure		failure;		/* its entry's */
	ScBuildStats stats;

	/* under the lock of any of its entries; read without: */
	ScOptions	options;		/* the definition's, as of the last
								 * publication. The worker reads
								 * min_refresh_interval without a lock: a
								 * stale one is good for one refresh */
	Size		refused_size;	/* of a document that did not fit although all
								 * others had given way; 0: none.  They do not
								 * for one of this size again, for a time */
	int64		refused_at;		/* monotonic ns */

	/* under ScShared.lock; read without as hints: */
	int			ndocuments;		/* with parameters */
	int			hand;			/* the one of these at which the clock's hand
								 * stands that passes by them; NONE: there is
								 * none */
	Size		documents_size; /* bytes of all of them */
} Summary;

/* No such entry. */
#define NONE	(-1)

/*
 * A summary, which has a document if it has no parameters; else its documents have
 * entries of their own, behind those of all summaries.
 */
typedef struct StoreEntry
{
	/* under the entry's lock, see lock_of(), unless said otherwise: */
	Oid			dboid;			/* changed under ScShared.lock and lock, both
								 * exclusive; InvalidOid: free.  A loop over
								 * all entries reads it without: at worst it
								 * passes by one that is just being taken,
								 * whose reader asks again, or locks and looks
								 * once more */
	int			sections;		/* first of the list, or -1: nothing cached */
	uint64		values_hash;	/* of a document with parameters, as dboid;
								 * else 0 */
	dsa_pointer values;			/* ScValues, likewise */

	/* under ScShared.lock; read without as hints: */
	int			summary;		/* of a document with parameters: the entry of
								 * its summary, which stays as long as it has
								 * documents; else NONE */
	int			next_document;	/* of the same summary, in a ring; of a free
								 * entry: the next one, or NONE */
	int			prev_document;
	int			next_in_bucket; /* of a document with parameters, or NONE */
	Size		size;			/* bytes of the document */

	pg_atomic_uint64 reads;		/* of a document with parameters: see
								 * sc_store_count_read() */
	dsa_pointer forms;			/* of the document, or of one before: the
								 * first, or invalid */
	uint64		generation;		/* moved by invalidation: a build begun under
								 * an older one is not published */
	pg_atomic_uint64 version;	/* see sc_store_version(); moved under the
								 * lock, its lowest bit without */
	ScRequests	requests;		/* without the lock */
	uint64		notified;		/* hash of the etag of the last document that
								 * listeners were notified of; 0: none */

	/* the last failure; how many there were is read without the lock as well */
	dsa_pointer failure;		/* of a document with parameters: invalid if
								 * there was no room for it, or is none */
	uint32		failures;		/* consecutive */
	bool		of_inline;		/* only inline sections were built */

	bool		no_room;		/* for the newest build: nobody waits for
								 * another's.  Read without the lock: a stale
								 * one costs a wait, or a build too many */

	bool		is_wanted;		/* it was loaded, and is to be refreshed: the
								 * launcher's, without the lock, as the rest */
	TimestampTz read_at;		/* when it noted last that there were reads;
								 * 0: never */
	uint32		reads_noted;	/* how many there were then */
	uint32		reads_before;	/* how many when the clock's hand came by
								 * last, without the lock: a wrong one may
								 * cost a build */
} StoreEntry;

typedef struct Store
{
	int			nsummaries;		/* the counts never change: entries of
								 * summaries, and of all */
	int			nentries;
	int			nsections;
	int			free_summary;	/* heads of the free lists; under
								 * ScShared.lock */
	int			free_document;
	int			free_section;
	uint64		eager_added;	/* moved by each publication, under
								 * ScShared.lock */
	Size		largest;		/* that the area can hold; never changes */
	pg_atomic_uint32 hand;		/* of the clock: entries that it has passed */
	pg_atomic_uint64 evicted;	/* documents */
	pg_atomic_uint64 given_up;	/* entries */
} Store;

/* Which entry a summary has: there may be thousands to look for one among. */
typedef struct EntryKey
{
	Oid			dboid;
	NameData	name;			/* with zeros behind it */
} EntryKey;

typedef struct EntryOfSummary
{
	EntryKey	key;
	int			index;
} EntryOfSummary;

/*
 * Documents with parameters have so many locks between them: one that is copied for
 * long holds up the publication of a few others.
 */
#define DOCUMENT_LOCKS	1024

/* And entries have so many places to wait for a worker's try. */
#define TRIES			256

static HTAB *by_name;			/* under ScShared.lock */
static int *buckets;			/* likewise: the documents with parameters, by
								 * summary and values; chained by
								 * next_in_bucket */
static uint32 nbuckets;			/* a power of two */
static pg_atomic_uint64 *asked; /* a bit for each entry: is one of the flags
								 * of its requests set?  See sc_store_ask() */
static LWLockPadded *document_locks;
static ConditionVariable *tries;
static Store *store;
static StoreEntry *entries;
static Summary *summaries;		/* of the first entries */
static Section *sections;
static void *area_place;

/*-------------------------------------------------------------------------
 * Shared memory
 *-------------------------------------------------------------------------
 */

static Size
area_size(void)
{
	return (Size) sc_memory_limit * 1024;
}

static int
max_entries(void)
{
	return sc_max_sections + sc_max_documents;
}

/* The words of the bits by entry. */
#define ASKED_BITS		64

static int
asked_words(void)
{
	return (max_entries() + ASKED_BITS - 1) / ASKED_BITS;
}

static uint32
bucket_count(void)
{
	return pg_nextpower2_32((uint32) Max(sc_max_documents, 1));
}

static Size
store_size(void)
{
	Size		size = MAXALIGN(sizeof(Store));

	size = add_size(size, CACHELINEALIGN(mul_size(sizeof(StoreEntry), max_entries())));
	size = add_size(size, CACHELINEALIGN(mul_size(sizeof(Summary), sc_max_sections)));
	size = add_size(size, CACHELINEALIGN(mul_size(sizeof(Section), max_entries())));
	size = add_size(size, hash_estimate_size(sc_max_sections, sizeof(EntryOfSummary)));
	size = add_size(size, CACHELINEALIGN(mul_size(sizeof(int), bucket_count())));
	size = add_size(size, CACHELINEALIGN(mul_size(sizeof(pg_atomic_uint64), asked_words())));
	size = add_size(size, CACHELINEALIGN(sizeof(LWLockPadded) * DOCUMENT_LOCKS));
	size = add_size(size, CACHELINEALIGN(sizeof(ConditionVariable) * TRIES));
	return add_size(size, area_size());
}

static void
store_attach(void)
{
	bool		found;
	HASHCTL		info;

	store = ShmemInitStruct(SC_NAME " store", sizeof(Store), &found);
	entries = ShmemInitStruct(SC_NAME " entries", sizeof(StoreEntry) * max_entries(), &found);
	summaries = ShmemInitStruct(SC_NAME " summaries", sizeof(Summary) * sc_max_sections, &found);
	sections = ShmemInitStruct(SC_NAME " sections", sizeof(Section) * max_entries(), &found);
	area_place = ShmemInitStruct(SC_NAME " documents", area_size(), &found);
	info.keysize = sizeof(EntryKey);
	info.entrysize = sizeof(EntryOfSummary);
	by_name = SC_SHMEM_INIT_HASH(SC_NAME " summary hash", sc_max_sections,
								 &info, HASH_ELEM | HASH_BLOBS);
	nbuckets = bucket_count();
	buckets = ShmemInitStruct(SC_NAME " documents by values", sizeof(int) * nbuckets, &found);
	asked = ShmemInitStruct(SC_NAME " asked", sizeof(pg_atomic_uint64) * asked_words(), &found);
	document_locks = ShmemInitStruct(SC_NAME " locks of documents", sizeof(LWLockPadded) * DOCUMENT_LOCKS, &found);
	tries = ShmemInitStruct(SC_NAME " tries", sizeof(ConditionVariable) * TRIES, &found);
}

/* What an empty area can hold in one piece. */
static Size
largest_piece(dsa_area *area)
{
	Size		fits = 0;
	Size		fails = area_size();

	while (fails - fits > 1024)
	{
		Size		middle = fits + (fails - fits) / 2;
		dsa_pointer piece = dsa_allocate_extended(area, middle, DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);

		if (DsaPointerIsValid(piece))
		{
			dsa_free(area, piece);
			fits = middle;
		}
		else
			fails = middle;
	}
	return fits;
}

/* All but the area: nothing is in use. */
static void
entries_init(int tranche)
{
	store->nsummaries = sc_max_sections;
	store->nentries = max_entries();
	store->nsections = max_entries();
	store->free_summary = 0;
	store->free_document = sc_max_documents > 0 ? sc_max_sections : NONE;
	store->free_section = 0;
	store->eager_added = 0;
	pg_atomic_init_u32(&store->hand, 0);
	pg_atomic_init_u64(&store->evicted, 0);
	pg_atomic_init_u64(&store->given_up, 0);

	memset(entries, 0, sizeof(StoreEntry) * store->nentries);
	memset(summaries, 0, sizeof(Summary) * store->nsummaries);
	for (int i = 0; i < store->nentries; i++)
	{
		StoreEntry *entry = &entries[i];

		entry->sections = -1;
		entry->next_document = i + 1 == store->nsummaries || i + 1 == store->nentries ? NONE : i + 1;
		entry->summary = entry->next_in_bucket = NONE;
		pg_atomic_init_u64(&entry->reads, 0);
		pg_atomic_init_u64(&entry->version, ((uint64) i << VERSION_BITS) + VERSION_STEP);
		pg_atomic_init_u32(&entry->requests.refresh, 0);
		pg_atomic_init_u32(&entry->requests.notify, 0);
		pg_atomic_init_u64(&entry->requests.retry_at, 0);
		pg_atomic_init_u64(&entry->requests.refreshed_at, 0);
		pg_atomic_init_u32(&entry->requests.refresh_us, 0);
		pg_atomic_init_u64(&entry->requests.requested_at, 0);
		pg_atomic_init_u64(&entry->requests.paused_until, 0);
		pg_atomic_init_u32(&entry->requests.pauses, 0);
		pg_atomic_init_u64(&entry->requests.claimed, 0);
		pg_atomic_init_u64(&entry->requests.proving, 0);
		pg_atomic_init_u64(&entry->requests.tried[0], 0);
		pg_atomic_init_u64(&entry->requests.tried[1], 0);
		pg_atomic_init_u32(&entry->requests.boarding, 0);
		pg_atomic_init_u32(&entry->requests.forms, 0);
		pg_atomic_init_u64(&entry->requests.forms_at, 0);
		entry->forms = entry->failure = InvalidDsaPointer;
	}
	for (int i = 0; i < store->nsummaries; i++)
	{
		LWLockInitialize(&summaries[i].lock, tranche);
		summaries[i].hand = NONE;
	}
	for (int i = 0; i < asked_words(); i++)
		pg_atomic_init_u64(&asked[i], 0);
	for (int i = 0; i < DOCUMENT_LOCKS; i++)
		LWLockInitialize(&document_locks[i].lock, tranche);
	for (int i = 0; i < TRIES; i++)
		ConditionVariableInit(&tries[i]);
	for (uint32 i = 0; i < nbuckets; i++)
		buckets[i] = NONE;
	for (int i = 0; i < store->nsections; i++)
	{
		sections[i].chunk = InvalidDsaPointer;
		sections[i].next = i + 1 < store->nsections ? i + 1 : -1;
	}
}

static void
store_init(int tranche)
{
	dsa_area   *area;

	entries_init(tranche);

	/*
	 * The area never grows beyond its place: no segment is created later, so
	 * an allocation can fail, but not throw.
	 */
	area = dsa_create_in_place(area_place, area_size(), tranche, NULL);
	dsa_pin(area);
	dsa_set_size_limit(area, area_size());
	store->largest = largest_piece(area);
	dsa_detach(area);
}

void
sc_store_init(void)
{
	static const ScPart part = {store_size, store_attach, store_init};

	sc_shmem_add(&part);
}

/* The area of the documents, attached on first use in a backend. */
static dsa_area *attached_area = NULL;

static dsa_area *
documents_area(void)
{
	if (attached_area == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		attached_area = dsa_attach_in_place(area_place, NULL);
		dsa_pin_mapping(attached_area);
		on_shmem_exit(dsa_on_shmem_exit_release_in_place, PointerGetDatum(area_place));
		MemoryContextSwitchTo(old);
	}
	return attached_area;
}

void
sc_store_attach(void)
{
	(void) documents_area();
}

static ScChunk *
chunk_at(dsa_pointer chunk)
{
	return DsaPointerIsValid(chunk) ? dsa_get_address(documents_area(), chunk) : NULL;
}

/* The first part of a section; NULL if nothing is there yet. */
static ScChunk *
chunk_of(const Section *section)
{
	return chunk_at(section->chunk);
}

/* The next part of the same section, or NULL. */
static ScChunk *
next_part(const ScChunk *chunk)
{
	return chunk_at(chunk->next);
}

/* One part of a section; NULL if it has other parts, or none. */
static ScChunk *
find_part(const Section *section, int part, int nparts)
{
	for (ScChunk *chunk = chunk_of(section); chunk && chunk->nparts == nparts; chunk = next_part(chunk))
		if (chunk->part == part)
			return chunk;
	return NULL;
}

/* Give the bytes of a section back; caller holds the summary's lock, exclusive. */
static void
free_parts(Section *section)
{
	while (DsaPointerIsValid(section->chunk))
	{
		dsa_pointer next = chunk_of(section)->next;

		dsa_free(documents_area(), section->chunk);
		section->chunk = next;
	}
}

/*-------------------------------------------------------------------------
 * Entries
 *-------------------------------------------------------------------------
 */

/* The values that a document has, in shared memory; NULL: it is without parameters. */
static const ScValues *
values_of(const StoreEntry *entry)
{
	return DsaPointerIsValid(entry->values) ? dsa_get_address(documents_area(), entry->values) : NULL;
}

static void
statistics_reset(ScBuildStats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->reset_at = GetCurrentTimestamp();
}

ScDocKey
sc_store_key(const char *summary, const ScValues *values)
{
	ScDocKey	key;

	namestrcpy(&key.summary, summary);
	key.values = values ? values->hash : 0;
	return key;
}

/* The entry of the summary of which one is: itself, but for a document with parameters. */
static int
summary_index(const StoreEntry *entry)
{
	int			summary = entry->summary;

	return summary == NONE ? (int) (entry - entries) : summary;
}

static inline bool
is_document(int index)
{
	return index >= store->nsummaries;
}

/* The lock of an entry: one of a document with parameters has it with others. */
static LWLock *
lock_of(const StoreEntry *entry)
{
	int			index = (int) (entry - entries);

	return is_document(index) ? &document_locks[index % DOCUMENT_LOCKS].lock : &summaries[index].lock;
}

/* What the summary has once of which an entry in use is. */
static Summary *
summary_of(const StoreEntry *entry)
{
	Assert(summary_index(entry) < store->nsummaries);
	return &summaries[summary_index(entry)];
}

/* Its options; without a lock those that another one has by now, or none. */
static const ScOptions *
options_of(const StoreEntry *entry)
{
	static const ScOptions none = {SC_UNSET, SC_UNSET, SC_UNSET, SC_UNSET, SC_UNSET, {0}};
	int			summary = summary_index(entry);

	return summary < store->nsummaries ? &summaries[summary].options : &none;
}

/* Is an entry this document's, of this database?  Caller holds a lock that protects it. */
static bool
is_of(const StoreEntry *entry, const ScDocKey *key)
{
	return entry->dboid == MyDatabaseId && entry->values_hash == key->values &&
		strcmp(NameStr(summary_of(entry)->name), NameStr(key->summary)) == 0;
}

static EntryKey
entry_key(Oid dboid, const char *name)
{
	EntryKey	key;

	key.dboid = dboid;
	namestrcpy(&key.name, name);
	return key;
}

/* The entry of a summary of a database, or -1.  Caller holds ScShared.lock. */
static int
summary_lookup(Oid dboid, const char *name)
{
	static int	last = 0;		/* most sessions look for one again and again */
	EntryKey	key;
	EntryOfSummary *found;

	/* the name of no summary, which is not to be cut to one */
	if (strlen(name) >= NAMEDATALEN)
		return -1;
	if (last < store->nsummaries && entries[last].dboid == dboid &&
		strcmp(NameStr(summaries[last].name), name) == 0)
		return last;
	key = entry_key(dboid, name);
	found = hash_search(by_name, &key, HASH_FIND, NULL);
	if (found == NULL)
		return -1;
	last = found->index;
	return last;
}

/* Where the chain of the documents begins among which one is that a summary's entry has. */
static int *
bucket_of(int summary, uint64 hash)
{
	return &buckets[hash_combine64((uint64) summary, hash) & (nbuckets - 1)];
}

/* The entry of a document of a summary's entry, or -1.  Caller holds ScShared.lock. */
static int
document_lookup(int summary, uint64 hash)
{
	int			index = *bucket_of(summary, hash);

	while (index != NONE && (entries[index].summary != summary || entries[index].values_hash != hash))
		index = entries[index].next_in_bucket;
	return index;
}

/* The entry of what has a document, or -1.  Caller holds ScShared.lock. */
static int
entry_lookup(Oid dboid, const ScDocKey *key)
{
	int			index = summary_lookup(dboid, NameStr(key->summary));

	return index < 0 || key->values == 0 ? index : document_lookup(index, key->values);
}

/* Caller holds ScShared.lock and the entry's, both exclusive. */
static void
entry_reset(StoreEntry *entry)
{
	entry->no_room = false;
	entry->reads_before = 0;
	entry->read_at = 0;
	entry->reads_noted = 0;
	entry->is_wanted = false;
	entry->size = 0;
	pg_atomic_write_u64(&entry->reads, 0);
	pg_atomic_fetch_and_u64(&entry->version, ~VERSION_UNREAD);
	entry->notified = 0;
	entry->failures = 0;
	entry->of_inline = false;
	pg_atomic_write_u32(&entry->requests.refresh, 0);
	pg_atomic_write_u32(&entry->requests.notify, 0);
	pg_atomic_write_u32(&entry->requests.forms, 0);
	pg_atomic_write_u64(&entry->requests.forms_at, 0);
	pg_atomic_write_u64(&entry->requests.retry_at, 0);
	pg_atomic_write_u64(&entry->requests.refreshed_at, 0);
	pg_atomic_write_u64(&entry->requests.requested_at, 0);
	pg_atomic_write_u64(&entry->requests.paused_until, 0);
	pg_atomic_write_u32(&entry->requests.pauses, 0);
	pg_atomic_write_u32(&entry->requests.refresh_us, 0);
	pg_atomic_write_u64(&entry->requests.tried[0], 0);
	pg_atomic_write_u64(&entry->requests.tried[1], 0);
	/* who has claimed it, for the one before, cannot give that back any more */
	pg_atomic_write_u64(&entry->requests.claimed, 0);
	pg_atomic_write_u64(&entry->requests.proving, 0);
}

/*
 * Take one of a list of free entries into use.  Returns it locked, for the caller to
 * fill; caller holds ScShared.lock, exclusive.  NULL if there is none.  Busy if there
 * are some, but somebody has their locks, which others may share: who copies a document
 * holds up nobody who looks for an entry.
 */
static StoreEntry *
entry_take(int *free_list, bool *busy)
{
	StoreEntry *entry = NULL;
	int		   *link = free_list;

	*busy = *free_list != NONE;
	for (int i = 0; entry == NULL && *link != NONE && i < FREE_TRIED; i++)
	{
		if (LWLockConditionalAcquire(lock_of(&entries[*link]), LW_EXCLUSIVE))
			entry = &entries[*link];
		else
			link = &entries[*link].next_document;
	}
	if (entry == NULL)
		return NULL;
	*busy = false;
	*link = entry->next_document;

	entry->values_hash = 0;
	entry->values = InvalidDsaPointer;
	entry->summary = NONE;
	entry_reset(entry);
	return entry;
}

/* The converse. */
static void
entry_free(int *free_list, StoreEntry *entry)
{
	entry->summary = NONE;
	entry->next_document = *free_list;
	*free_list = (int) (entry - entries);
}

/* Take an entry for a summary; -1 if there is none, as entry_take(). */
static int
summary_take(Oid dboid, const char *name, bool *busy)
{
	EntryKey	key = entry_key(dboid, name);
	StoreEntry *entry = entry_take(&store->free_summary, busy);
	EntryOfSummary *found;
	Summary    *summary;
	int			index;

	if (entry == NULL)
		return -1;
	/* cannot be NULL: the hash has room for every entry */
	found = hash_search(by_name, &key, HASH_ENTER_NULL, NULL);
	if (found == NULL)
	{
		entry_free(&store->free_summary, entry);
		LWLockRelease(lock_of(entry));
		return -1;
	}
	index = found->index = (int) (entry - entries);
	entry->dboid = dboid;
	summary = &summaries[index];
	namestrcpy(&summary->name, name);
	memset(&summary->failure, 0, sizeof(summary->failure));
	summary->refused_size = 0;
	sc_settings_unset(&summary->options);
	statistics_reset(&summary->stats);
	summary->ndocuments = 0;
	summary->hand = NONE;
	summary->documents_size = 0;
	sc_counters_reset(index);
	LWLockRelease(lock_of(entry));
	return index;
}

/* Put a document into the ring of its summary's, and into its bucket, or take it out.
 * Caller holds ScShared.lock, exclusive. */
static void
document_link(int index)
{
	StoreEntry *entry = &entries[index];
	Summary    *summary = &summaries[entry->summary];
	int		   *bucket = bucket_of(entry->summary, entry->values_hash);

	if (summary->hand == NONE)
		summary->hand = entry->next_document = entry->prev_document = index;
	else
	{
		/* the hand comes by last */
		entry->next_document = summary->hand;
		entry->prev_document = entries[summary->hand].prev_document;
		entries[entry->prev_document].next_document = index;
		entries[entry->next_document].prev_document = index;
	}
	summary->ndocuments++;
	entry->next_in_bucket = *bucket;
	*bucket = index;
}

static void
document_unlink(int index)
{
	StoreEntry *entry = &entries[index];
	Summary    *summary = &summaries[entry->summary];
	int		   *link = bucket_of(entry->summary, entry->values_hash);

	if (entry->next_document == index)
		summary->hand = NONE;
	else if (summary->hand == index)
		summary->hand = entry->next_document;
	entries[entry->prev_document].next_document = entry->next_document;
	entries[entry->next_document].prev_document = entry->prev_document;
	summary->ndocuments--;
	while (*link != index)
		link = &entries[*link].next_in_bucket;
	*link = entry->next_in_bucket;
}

/*
 * The same for a document of a summary, with a copy of its values, which is the entry's
 * from then on.
 */
static int
document_take(int summary, uint64 hash, dsa_pointer values, bool *busy)
{
	StoreEntry *entry = entry_take(&store->free_document, busy);
	int			index;

	if (entry == NULL)
		return -1;
	index = (int) (entry - entries);
	entry->dboid = entries[summary].dboid;
	entry->values_hash = hash;
	entry->values = values;
	entry->summary = summary;
	document_link(index);
	LWLockRelease(lock_of(entry));
	return index;
}

/* Take a free section entry, -1 if there is none; caller holds ScShared.lock, exclusive. */
static int
section_take(void)
{
	int			section = store->free_section;

	if (section >= 0)
	{
		store->free_section = sections[section].next;
		sections[section].next = -1;
		sections[section].invalidated = false;
		sections[section].chunk = InvalidDsaPointer;
	}
	return section;
}

/* Give one back, with its bytes; caller holds ScShared.lock, exclusive. */
static void
section_release(int section)
{
	free_parts(&sections[section]);
	sections[section].next = store->free_section;
	store->free_section = section;
}

static ScForm *
form_at(dsa_pointer form)
{
	return DsaPointerIsValid(form) ? dsa_get_address(documents_area(), form) : NULL;
}

/* Where an entry has its form of an encoding; invalid, at the end of them, if it has none.
 * Caller holds the lock. */
static dsa_pointer *
form_link(StoreEntry *entry, ScEncoding encoding)
{
	dsa_pointer *link = &entry->forms;

	while (DsaPointerIsValid(*link) && form_at(*link)->encoding != encoding)
		link = &form_at(*link)->next;
	return link;
}

static ScForm *
form_of(StoreEntry *entry, ScEncoding encoding)
{
	return form_at(*form_link(entry, encoding));
}

/* Give one back.  Caller holds the lock, exclusive. */
static void
drop_form(dsa_pointer *link)
{
	dsa_pointer form = *link;

	if (!DsaPointerIsValid(form))
		return;
	*link = form_at(form)->next;
	dsa_free(documents_area(), form);
}

/* All of them. */
static void
drop_forms(StoreEntry *entry)
{
	while (DsaPointerIsValid(entry->forms))
		drop_form(&entry->forms);
}

/* Note how large a document is, without its forms.  Caller holds ScShared.lock and the
 * entry's, both exclusive. */
static void
set_size(StoreEntry *entry, Size size)
{
	if (entry->summary != NONE)
	{
		Summary    *summary = summary_of(entry);

		summary->documents_size = summary->documents_size - entry->size + size;
	}
	entry->size = size;
}

/*
 * Drop what a summary has cached: what is being built may be published all the
 * same.  Caller holds the summary's lock, exclusive.
 */
static void
drop_document(StoreEntry *entry)
{
	int			next;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	for (int i = entry->sections; i >= 0; i = next)
	{
		next = sections[i].next;
		section_release(i);
	}
	set_size(entry, 0);
	LWLockRelease(&sc_shared->lock);
	drop_forms(entry);
	entry->sections = -1;
	pg_atomic_fetch_add_u64(&entry->version, VERSION_STEP);
}

/* The same, and nothing that is being built is to be published. */
static void
clear_locked(StoreEntry *entry)
{
	drop_document(entry);
	entry->generation++;
}

/* The entry of a document of this database, locked exclusively; NULL if there is none. */
static StoreEntry *
lock_entry(const ScDocKey *key)
{
	for (;;)
	{
		StoreEntry *entry;
		int			index;

		LWLockAcquire(&sc_shared->lock, LW_SHARED);
		index = entry_lookup(MyDatabaseId, key);
		LWLockRelease(&sc_shared->lock);
		if (index < 0)
			return NULL;
		entry = &entries[index];
		LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
		if (is_of(entry, key))
			return entry;
		/* it has been given away meanwhile */
		LWLockRelease(lock_of(entry));
	}
}

/* What is kept of the last failure of an entry; NULL if there is no room for it.  Caller
 * holds the lock. */
static Failure *
failure_of(const StoreEntry *entry)
{
	if (entry->summary == NONE)
		return &summary_of(entry)->failure;
	return DsaPointerIsValid(entry->failure) ? dsa_get_address(documents_area(), entry->failure) : NULL;
}

/* The failure of an entry is no matter any more.  Caller holds the lock, exclusive. */
static void
forget_failure(StoreEntry *entry)
{
	entry->failures = 0;
	if (DsaPointerIsValid(entry->failure))
	{
		dsa_free(documents_area(), entry->failure);
		entry->failure = InvalidDsaPointer;
	}
}

/* Drop what one entry has; the entry and its counters stay. */
static void
clear_one(const ScDocKey *key)
{
	StoreEntry *entry = lock_entry(key);

	if (entry == NULL)
		return;
	clear_locked(entry);
	summary_of(entry)->refused_size = 0;
	if (entry->failures > 0)
		forget_failure(entry);
	pg_atomic_write_u64(&entry->requests.retry_at, 0);
	LWLockRelease(lock_of(entry));
}

/*
 * Give an entry without a document back.  False if it is that of a summary which has
 * documents with parameters.  Caller holds the entry's lock, exclusive.
 */
static bool
entry_release(StoreEntry *entry)
{
	int			index = (int) (entry - entries);

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (!is_document(index) && summaries[index].ndocuments > 0)
	{
		LWLockRelease(&sc_shared->lock);
		return false;
	}
	forget_failure(entry);
	if (entry->summary == NONE)
	{
		EntryKey	key = entry_key(entry->dboid, NameStr(summaries[index].name));

		(void) hash_search(by_name, &key, HASH_REMOVE, NULL);
	}
	else
	{
		document_unlink(index);
		dsa_free(documents_area(), entry->values);
		entry->values = InvalidDsaPointer;
	}
	entry->dboid = InvalidOid;
	/* nor is anything asked of it any more */
	pg_atomic_write_u32(&entry->requests.refresh, 0);
	pg_atomic_write_u32(&entry->requests.notify, 0);
	pg_atomic_write_u32(&entry->requests.forms, 0);
	/* who knows the entry is to look again, though there was no document */
	pg_atomic_fetch_add_u64(&entry->version, VERSION_STEP);
	entry_free(is_document(index) ? &store->free_document : &store->free_summary, entry);
	LWLockRelease(&sc_shared->lock);
	return true;
}

/* Caller holds the entry's lock, exclusive. */
static bool
forget_locked(StoreEntry *entry)
{
	clear_locked(entry);
	return entry_release(entry);
}

/* A document of a summary; -1 if it has none.  What it is of may change at any time. */
static int
any_document(const char *name, ScDocKey *key)
{
	int			summary;
	int			index = NONE;

	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	summary = summary_lookup(MyDatabaseId, name);
	if (summary >= 0)
		index = summaries[summary].hand;
	if (index != NONE)
	{
		key->summary = summaries[summary].name;
		key->values = entries[index].values_hash;
	}
	LWLockRelease(&sc_shared->lock);
	return index;
}

/* Forget all documents with parameters that a summary has. */
static void
forget_documents(const char *name)
{
	ScDocKey	key;

	while (any_document(name, &key) != NONE)
	{
		StoreEntry *entry;

		CHECK_FOR_INTERRUPTS();
		entry = lock_entry(&key);
		if (entry == NULL)
			continue;
		(void) forget_locked(entry);
		LWLockRelease(lock_of(entry));
	}
}

void
sc_store_clear_own(const ScDocKey *key)
{
	sc_store_attach();
	clear_one(key);
}

void
sc_store_clear(const ScDocKey *key)
{
	sc_store_clear_own(key);
	if (key->values == 0)
		forget_documents(NameStr(key->summary));
}

/* A summary of this database is gone. */
void
sc_store_forget(const char *name)
{
	ScDocKey	key = sc_store_key(name, NULL);

	sc_store_attach();
	for (;;)
	{
		StoreEntry *entry;
		bool		forgotten;

		forget_documents(name);
		entry = lock_entry(&key);
		if (entry == NULL)
			return;
		forgotten = forget_locked(entry);
		LWLockRelease(lock_of(entry));
		/* a document may have come in between */
		if (forgotten)
			return;
	}
}

/* A database, or the extension in it, is gone. */
void
sc_store_forget_database(Oid dboid)
{
	sc_store_attach();
	/* documents with parameters before their summaries */
	for (int i = store->nentries - 1; i >= 0; i--)
	{
		StoreEntry *entry = &entries[i];

		if (entry->dboid != dboid)
			continue;
		LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
		if (entry->dboid == dboid)
			(void) forget_locked(entry);
		LWLockRelease(lock_of(entry));
	}
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	sc_slot_forget_database(dboid);
	LWLockRelease(&sc_shared->lock);
}

/*-------------------------------------------------------------------------
 * Giving way
 *-------------------------------------------------------------------------
 */

/* What is needed from others. */
typedef enum Need
{
	NEED_ROOM,					/* a document's memory, its sections */
	NEED_FORM,					/* the same, for a form of a document only */
	NEED_ENTRY,					/* of a summary */
	NEED_DOCUMENT				/* the entry of a document with parameters */
} Need;

/*
 * Has anything been asked of the worker for a summary?  It would be lost with the
 * entry.
 */
static bool
has_requests(StoreEntry *entry)
{
	return pg_atomic_read_u32(&entry->requests.refresh) != 0 ||
		pg_atomic_read_u32(&entry->requests.notify) != 0;
}

/* Might an entry have what is needed?  Without a lock: give_way() looks again. */
static bool
may_give(int index, Need need)
{
	StoreEntry *entry = &entries[index];

	if (!OidIsValid(entry->dboid))
		return false;
	switch (need)
	{
		case NEED_ENTRY:
			return !is_document(index) && summaries[index].ndocuments == 0;
		case NEED_DOCUMENT:
			return is_document(index);
		default:
			/* of one that was never built, the values and the error */
			return entry->sections >= 0 || (is_document(index) && !has_requests(entry));
	}
}

/* Is an entry that has nothing to lose but what was asked of the worker passed by? */
static bool
is_spared(int index, Need need)
{
	return (need == NEED_ENTRY || need == NEED_DOCUMENT || entries[index].sections < 0) &&
		has_requests(&entries[index]);
}

/*
 * Lock what a summary has once, with the lock of one of its entries in hand; that of a
 * document with parameters is another one.
 */
static Summary *
lock_summary(StoreEntry *entry)
{
	if (entry->summary != NONE)
		LWLockAcquire(&summaries[entry->summary].lock, LW_EXCLUSIVE);
	return summary_of(entry);
}

static void
unlock_summary(StoreEntry *entry)
{
	if (entry->summary != NONE)
		LWLockRelease(&summaries[entry->summary].lock);
}

/*
 * Take what is needed from an entry.  False if it has none, or without wait if
 * somebody just reads or publishes there.
 */
static bool
give_way(int index, Need need, bool wait)
{
	StoreEntry *entry = &entries[index];
	bool		gives_entry = need == NEED_ENTRY || need == NEED_DOCUMENT;
	bool		gave = false;

	if (wait)
		LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	else if (!LWLockConditionalAcquire(lock_of(entry), LW_EXCLUSIVE))
		return false;
	if (may_give(index, need))
	{
		bool		is_empty = entry->sections < 0;

		gave = !gives_entry;
		if (!is_empty)
		{
			lock_summary(entry)->stats.evicted++;
			unlock_summary(entry);
			pg_atomic_fetch_add_u64(&store->evicted, 1);
			drop_document(entry);
		}
		/* that of a document with parameters is of no use without it */
		if (gives_entry || (is_document(index) && (is_empty || !has_requests(entry))))
		{
			/* an invalidation meanwhile finds no entry to note itself in */
			entry->generation++;
			if (entry_release(entry) && gives_entry)
			{
				gave = true;
				pg_atomic_fetch_add_u64(&store->given_up, 1);
			}
		}
	}
	LWLockRelease(lock_of(entry));
	return gave;
}

/*
 * The clock's hand comes by: has nobody read an entry's document since it did so
 * before?  Else how often.
 */
static bool
clock_is_unread(int index, uint64 *reads)
{
	StoreEntry *entry = &entries[index];
	uint64		now;

	if (pg_atomic_read_u64(&entry->version) & VERSION_UNREAD)
		return true;
	pg_atomic_fetch_or_u64(&entry->version, VERSION_UNREAD);
	now = sc_store_reads(index);
	*reads = (uint32) now - Min((uint32) now, entry->reads_before);
	entry->reads_before = (uint32) now;
	return false;
}

/*
 * Let the least recently read document, or entry, of another summary than our own
 * give way.  If all have been read since the hand was there last, it is the one
 * that has been read least, and not the next one, which may be read all the time.
 * False if nobody has any.  For a form only what nobody reads gives way: a reader can
 * do without the one, but the other would be built again.
 */
static bool
let_give_way(Need need, int own)
{
	/* documents have no entry for a summary */
	int			n = need == NEED_ENTRY ? store->nsummaries : store->nentries;
	int			least = -1;
	uint64		fewest = 0;

	sc_store_attach();
	for (int step = 0; step < n; step++)
	{
		int			i = (int) (pg_atomic_fetch_add_u32(&store->hand, 1) % (uint32) n);
		uint64		reads;

		if (i == own || !may_give(i, need) || is_spared(i, need))
			continue;
		if (!clock_is_unread(i, &reads))
		{
			if (least < 0 || reads < fewest)
			{
				least = i;
				fewest = reads;
			}
		}
		else if (give_way(i, need, false))
			return true;
	}
	if (need == NEED_FORM)
		return false;
	if (least >= 0 && give_way(least, need, true))
		return true;
	/* those that were in use, or of which something is asked */
	for (int i = 0; i < n; i++)
		if (i != own && may_give(i, need) && give_way(i, need, true))
			return true;
	return false;
}

/* Documents that the hand of a summary's own clock passes with ScShared.lock. */
#define RING_STEPS	64

/*
 * Of the documents with parameters that a summary has, let the least recently read one
 * give way, but for our own: of those that the hand comes by, if all are read.  False
 * if there is none.
 */
static bool
let_sibling_give_way(int summary, int own, Need need)
{
	for (int tries = 0; tries < 2; tries++)
	{
		int			victim = NONE;
		uint64		fewest = 0;

		LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
		for (int step = 0; step < Min(RING_STEPS, summaries[summary].ndocuments); step++)
		{
			int			i = summaries[summary].hand;
			uint64		reads = 0;

			summaries[summary].hand = entries[i].next_document;
			if (i == own || !may_give(i, need))
				continue;
			if (clock_is_unread(i, &reads))
			{
				victim = i;
				break;
			}
			if (victim == NONE || reads < fewest)
			{
				victim = i;
				fewest = reads;
			}
		}
		LWLockRelease(&sc_shared->lock);
		if (victim == NONE)
			return false;
		/* it may be another summary's by now, whose loss is a build */
		if (give_way(victim, need, true))
			return true;
	}
	return false;
}

int
sc_store_find(const ScDocKey *key)
{
	int			index;

	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	index = entry_lookup(MyDatabaseId, key);
	LWLockRelease(&sc_shared->lock);
	return index;
}

/* The entry of a summary, made if there is none; -1 if there is no room. */
static int
find_or_create_summary(const char *name)
{
	int			index;
	bool		busy;
	int			tries = 0;

	do
	{
		busy = false;
		LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
		index = summary_lookup(MyDatabaseId, name);
		if (index < 0)
			index = summary_take(MyDatabaseId, name, &busy);
		LWLockRelease(&sc_shared->lock);
		if (busy)
			pg_usleep(BUSY_US);
	} while (index < 0 && (busy ? ++tries < BUSY_TRIES : let_give_way(NEED_ENTRY, -1)));
	return index;
}

/*
 * A copy in shared memory, for which others than our own entry give way; invalid if
 * there is no room.
 */
static dsa_pointer
copy_to_area(const void *bytes, Size size, Need need, int own)
{
	dsa_area   *area = documents_area();
	dsa_pointer copy;

	do
		copy = dsa_allocate_extended(area, size, DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
	while (!DsaPointerIsValid(copy) && let_give_way(need, own));
	if (DsaPointerIsValid(copy))
		memcpy(dsa_get_address(area, copy), bytes, size);
	return copy;
}

/* How many documents a summary may have.  Without a lock. */
static int
max_documents(int summary)
{
	int			limit = summaries[summary].options.max_documents;

	return limit == SC_UNSET ? INT_MAX : limit;
}

/*
 * Of a document with parameters.  A summary that has as many as it may have makes room
 * among its own, and so does one whose documents are most of what there is.
 */
static int
find_or_create_document(const ScDocKey *key, const ScValues *values)
{
	dsa_pointer copy;
	int			index;
	int			tries = 0;

	if (sc_max_documents == 0)
		return -1;
	sc_store_attach();
	copy = copy_to_area(values, values->size, NEED_ROOM, -1);
	if (!DsaPointerIsValid(copy))
		return -1;
	for (;;)
	{
		int			summary = find_or_create_summary(NameStr(key->summary));
		bool		busy = false;
		bool		is_full;
		bool		is_most;

		index = -1;
		if (summary < 0)
			break;
		LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
		/* it may have been given away */
		if (summary_lookup(MyDatabaseId, NameStr(key->summary)) != summary)
		{
			LWLockRelease(&sc_shared->lock);
			continue;
		}
		index = document_lookup(summary, key->values);
		is_full = summaries[summary].ndocuments >= max_documents(summary);
		is_most = summaries[summary].ndocuments > sc_max_documents / 2;
		if (index < 0 && !is_full)
		{
			index = document_take(summary, key->values, copy, &busy);
			if (index >= 0)
				copy = InvalidDsaPointer;
		}
		LWLockRelease(&sc_shared->lock);
		if (index >= 0)
			break;
		if (busy)
		{
			if (++tries == BUSY_TRIES)
				break;
			pg_usleep(BUSY_US);
		}
		else if (is_full || is_most)
		{
			if (!let_sibling_give_way(summary, -1, NEED_DOCUMENT))
				break;
		}
		else if (!let_give_way(NEED_DOCUMENT, -1))
			break;
	}
	if (DsaPointerIsValid(copy))
		dsa_free(documents_area(), copy);
	return index;
}

int
sc_store_find_or_create(const ScDocKey *key, const ScValues *values)
{
	int			index = sc_store_find(key);

	if (index >= 0)
		return index;
	return key->values == 0 ? find_or_create_summary(NameStr(key->summary)) :
		find_or_create_document(key, values);
}

int
sc_store_max_sections(void)
{
	return store->nsummaries;
}

int
sc_store_next_used(int index, Oid *dboid)
{
	while (++index < store->nentries)
	{
		*dboid = entries[index].dboid;
		if (OidIsValid(*dboid))
			return index;
	}
	return -1;
}

int
sc_store_next_here(int index)
{
	Oid			dboid;

	do
		index = sc_store_next_used(index, &dboid);
	while (index >= 0 && dboid != MyDatabaseId);
	return index;
}

void
sc_store_name(int index, ScDocKey *key, ScValues **values)
{
	StoreEntry *entry = &entries[index];

	sc_store_attach();
	LWLockAcquire(lock_of(entry), LW_SHARED);
	memset(key, 0, sizeof(*key));
	if (OidIsValid(entry->dboid))
	{
		key->summary = summary_of(entry)->name;
		key->values = entry->values_hash;
	}
	if (values)
		*values = sc_values_copy(values_of(entry));
	LWLockRelease(lock_of(entry));
}

bool
sc_store_is_document(int index)
{
	return is_document(index);
}

int
sc_store_documents(int index, Size *size)
{
	int			n = is_document(index) ? 0 : summaries[index].ndocuments;

	if (size)
		*size = n > 0 ? summaries[index].documents_size : 0;
	return n;
}

int
sc_store_counted(int index)
{
	return summary_index(&entries[index]);
}

void
sc_store_count_read(int index)
{
	pg_atomic_write_u64(&entries[index].reads, pg_atomic_read_u64(&entries[index].reads) + 1);
}

uint64
sc_store_reads(int index)
{
	return is_document(index) ? pg_atomic_read_u64(&entries[index].reads) : sc_counters_reads(index);
}

pg_atomic_uint64 *
sc_store_version(int index)
{
	return &entries[index].version;
}

uint64
sc_store_version_now(int index)
{
	return pg_atomic_read_u64(&entries[index].version) & ~VERSION_UNREAD;
}

void
sc_store_note_read(int index)
{
	if (pg_atomic_read_u64(&entries[index].version) & VERSION_UNREAD)
		pg_atomic_fetch_and_u64(&entries[index].version, ~VERSION_UNREAD);
}

/*
 * How often this database, or the roles, have been changed by DDL, as a number
 * that grows with each.  On a standby whose replay is not watched nobody counts.
 */
static uint64
ddl_revision(void)
{
	int			slots[] = {SC_CLUSTER_SLOT, sc_slot_find(SC_KEY_CATCH_ALL, false), sc_slot_of_names()};
	uint64		sum = 0;

	for (int i = 0; i < lengthof(slots); i++)
	{
		ScWordState state;

		if (slots[i] == SC_SLOT_NONE)
			continue;
		sc_word_state(slots[i], &state);
		sum += state.revision;
	}
	return sum;
}

void
sc_store_begin(ScBegun *begun)
{
	begun->at = sc_clock_now();
	begun->ddl = ddl_revision();
}

uint64
sc_store_generation(int index)
{
	uint64		generation;

	LWLockAcquire(lock_of(&entries[index]), LW_SHARED);
	generation = entries[index].generation;
	LWLockRelease(lock_of(&entries[index]));
	return generation;
}

ConditionVariable *
sc_store_tries(int index)
{
	return &tries[index % TRIES];
}

ScRequests *
sc_store_requests(int index)
{
	return &entries[index].requests;
}

/*
 * Set the flag: a full barrier, so that who is woken after it sees it.  The time
 * is that of the first request since the last was carried out.
 */
void
sc_store_request(int index, ScRefresh what, int64 now)
{
	ScRequests *requests = sc_store_requests(index);
	uint64		none = 0;

	(void) pg_atomic_compare_exchange_u64(&requests->requested_at, &none, (uint64) now);
	(void) sc_store_ask(index, &requests->refresh, what);
}

/*
 * The flag first, then the bit: who takes the bit away since there are no flags looks
 * for these once more.
 */
uint32
sc_store_ask(int index, pg_atomic_uint32 *flag, uint32 bits)
{
	pg_atomic_uint64 *word = &asked[index / ASKED_BITS];
	uint64		bit = UINT64CONST(1) << (index % ASKED_BITS);
	uint32		before = pg_atomic_fetch_or_u32(flag, bits);

	if ((pg_atomic_read_u64(word) & bit) == 0)
		pg_atomic_fetch_or_u64(word, bit);
	return before;
}

static bool
has_flags(int index)
{
	return has_requests(&entries[index]) ||
		pg_atomic_read_u32(&entries[index].requests.forms) != 0;
}

int
sc_store_next_asked(int index, Oid *dboid)
{
	while (++index < store->nentries)
	{
		uint64		word = pg_atomic_read_u64(&asked[index / ASKED_BITS]) >> (index % ASKED_BITS);

		if (word != 0)
		{
			index += pg_rightmost_one_pos64(word);
			*dboid = entries[index].dboid;
			return index;
		}
		index |= ASKED_BITS - 1;
	}
	return -1;
}

bool
sc_store_is_asked(int index)
{
	pg_atomic_uint64 *word = &asked[index / ASKED_BITS];
	uint64		bit = UINT64CONST(1) << (index % ASKED_BITS);

	if (has_flags(index))
		return true;
	SC_POINT("asked");
	pg_atomic_fetch_and_u64(word, ~bit);
	if (!has_flags(index))
		return false;
	/* who has set one may have seen the bit */
	pg_atomic_fetch_or_u64(word, bit);
	return true;
}

bool
sc_store_is_awaited(int index)
{
	return (pg_atomic_read_u32(&entries[index].requests.refresh) & SC_REFRESH_AWAITED) != 0;
}

bool
sc_store_lacks_room(int index)
{
	return entries[index].no_room;
}

int
sc_store_min_refresh_interval(int index)
{
	return options_of(&entries[index])->min_refresh_interval;
}

/*-------------------------------------------------------------------------
 * Reading
 *-------------------------------------------------------------------------
 */

bool
sc_store_open(int index, const ScDocKey *key, ScView *view)
{
	StoreEntry *entry = &entries[index];
	ScChunk    *last = NULL;
	int			n = 0;

	sc_store_attach();
	LWLockAcquire(lock_of(entry), LW_SHARED);
	if (!is_of(entry, key))
	{
		LWLockRelease(lock_of(entry));
		return false;
	}
	for (int i = entry->sections; i >= 0; i = sections[i].next)
		for (ScChunk *chunk = chunk_of(&sections[i]); chunk; chunk = next_part(chunk), n++)
			last = chunk;
	view->nchunks = 0;
	view->chunks = palloc((sizeof(ScChunk *) + sizeof(bool)) * Max(n, 1));
	view->invalidated = (bool *) (view->chunks + n);
	view->version = sc_store_version_now(index);
	view->max_stale_age = options_of(entry)->max_stale_age;
	view->values = values_of(entry);
	view->counted = sc_store_counted(index);
	/* as most documents with parameters */
	if (n == 1)
	{
		view->invalidated[0] = sections[entry->sections].invalidated;
		view->chunks[0] = last;
		view->nchunks = 1;
		return true;
	}
	for (int i = entry->sections; i >= 0; i = sections[i].next)
		for (ScChunk *chunk = chunk_of(&sections[i]); chunk; chunk = next_part(chunk))
		{
			view->invalidated[view->nchunks] = sections[i].invalidated;
			view->chunks[view->nchunks++] = chunk;
		}
	return true;
}

void
sc_store_close(int index)
{
	LWLockRelease(lock_of(&entries[index]));
}

/*-------------------------------------------------------------------------
 * Publishing
 *-------------------------------------------------------------------------
 */

static int
count_chunks(const ScPublication *publication)
{
	return publication->first[publication->nsections];
}

/* The bytes of a chunk before its body, without the room that a build leaves there. */
static Size
head_size(ScChunk *chunk)
{
	char	   *end = SC_CHUNK_KEYS(chunk);

	for (uint32 i = 0; i < chunk->nkeys; i++)
		end += strlen(end) + 1;
	return end - (char *) chunk;
}

/* The bytes that a chunk takes in shared memory. */
static Size
packed_size(ScChunk *chunk)
{
	return head_size(chunk) + sc_chunk_body_len(chunk);
}

/* Copy one there. */
static void
pack_chunk(ScChunk *packed, ScChunk *chunk)
{
	Size		head = head_size(chunk);

	memcpy(packed, chunk, head);
	packed->next = InvalidDsaPointer;
	packed->body_offset = (uint32) head;
	packed->size = (uint32) (head + sc_chunk_body_len(chunk));
	memcpy(SC_CHUNK_BODY(packed), SC_CHUNK_BODY(chunk), sc_chunk_body_len(chunk));
}

/*
 * Copy what was built into shared memory, without a lock.  False, with nothing
 * kept or copied, if there is no room for all of it.
 */
static bool
allocate_chunks(const ScPublication *publication, dsa_pointer *copies)
{
	dsa_area   *area = documents_area();
	int			n = count_chunks(publication);

	for (int i = 0; i < n; i++)
		copies[i] = InvalidDsaPointer;
	for (int i = 0; i < n; i++)
	{
		ScChunk    *chunk = publication->chunks[i];

		if (chunk == NULL)
			continue;
		copies[i] = dsa_allocate_extended(area, packed_size(chunk), DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
		if (!DsaPointerIsValid(copies[i]))
		{
			while (--i >= 0)
				if (DsaPointerIsValid(copies[i]))
					dsa_free(area, copies[i]);
			return false;
		}
	}
	for (int i = 0; i < n; i++)
		if (DsaPointerIsValid(copies[i]))
			pack_chunk(chunk_at(copies[i]), publication->chunks[i]);
	return true;
}

/* Has a section of an entry, for which something is published, this name? */
static bool
is_section(const Section *section, const char *name)
{
	return strcmp(SC_CHUNK_SECTION(chunk_of(section)), name) == 0;
}

/* The entry's section of a name, -1 if there is none; caller holds the lock. */
static int
find_section(const StoreEntry *entry, const char *name)
{
	for (int i = entry->sections; i >= 0; i = sections[i].next)
		if (is_section(&sections[i], name))
			return i;
	return -1;
}

/*
 * Give an entry the list of sections that the definition has, in its order;
 * caller holds ScShared.lock and the entry's, exclusive.  False, with nothing
 * changed, if there is no room.
 */
static bool
arrange_sections(StoreEntry *entry, const ScPublication *publication)
{
	int			old = entry->sections;
	int			next = store->free_section;
	int		   *link = &entry->sections;

	for (int s = 0; s < publication->nsections; s++)
		if (find_section(entry, publication->names[s]) < 0)
		{
			if (next < 0)
				return false;
			next = sections[next].next;
		}

	entry->sections = -1;
	for (int s = 0; s < publication->nsections; s++)
	{
		int			section = -1;

		for (int *l = &old; *l >= 0; l = &sections[*l].next)
			if (is_section(&sections[*l], publication->names[s]))
			{
				section = *l;
				*l = sections[section].next;
				break;
			}
		if (section < 0)
			section = section_take();
		sections[section].next = -1;
		*link = section;
		link = &sections[section].next;
	}

	/* those that the definition has no longer */
	for (; old >= 0; old = next)
	{
		next = sections[old].next;
		section_release(old);
	}
	return true;
}

/*
 * The section of an entry that takes what is published of one, -1 if it is not there.
 * Those of a complete publication have been arranged in its order, and those that are
 * new have nothing yet that would tell their names.
 */
static int
section_for(const StoreEntry *entry, const ScPublication *publication, int s)
{
	int			section = entry->sections;

	if (!publication->complete)
		return find_section(entry, publication->names[s]);
	while (s-- > 0)
		section = sections[section].next;
	return section;
}

/* What is published of a section. */
typedef enum Extent
{
	PUBLISHES_NOTHING,
	PUBLISHES_PARTS,
	PUBLISHES_ALL
} Extent;

static Extent
extent_of(const ScPublication *publication, int s)
{
	int			nbuilt = 0;

	for (int i = publication->first[s]; i < publication->first[s + 1]; i++)
		if (publication->chunks[i])
			nbuilt++;
	return nbuilt == 0 ? PUBLISHES_NOTHING :
		nbuilt == publication->first[s + 1] - publication->first[s] ? PUBLISHES_ALL : PUBLISHES_PARTS;
}

/*
 * Are the parts that were not built, in sections of which something was, the ones that
 * were proven current?  Caller holds the entry's lock.
 */
static bool
is_rest_there(const StoreEntry *entry, const ScPublication *publication)
{
	for (int s = 0; s < publication->nsections; s++)
	{
		int			first = publication->first[s];
		int			nparts = publication->first[s + 1] - first;
		int			section = find_section(entry, publication->names[s]);

		if (extent_of(publication, s) != PUBLISHES_PARTS)
			continue;
		if (publication->expected == NULL || section < 0 || sections[section].invalidated)
			return false;
		for (int p = 0; p < nparts; p++)
		{
			ScChunk    *there = find_part(&sections[section], p, nparts);

			if (there == NULL ||
				(publication->chunks[first + p] == NULL &&
				 there->labelled_at != publication->expected[first + p]))
				return false;
		}
	}
	return true;
}

/* Was anything of a section built from a later label than what is to be published of it? */
static bool
is_newer(const Section *section, int64 labelled_at)
{
	for (ScChunk *chunk = chunk_of(section); chunk; chunk = next_part(chunk))
		if (chunk->labelled_at > labelled_at)
			return true;
	return false;
}

/* When the label of what was built of a section was read. */
static int64
published_label(const ScPublication *publication, int s)
{
	int64		labelled_at = PG_INT64_MIN;

	for (int i = publication->first[s]; i < publication->first[s + 1]; i++)
		if (publication->chunks[i])
			labelled_at = Max(labelled_at, publication->chunks[i]->labelled_at);
	return labelled_at;
}

/*
 * Swap copies of the parts of a section in.  Those that take no new one stay where they
 * are.  Returns true if any bytes are new.
 */
static bool
swap_parts(Section *section, const ScPublication *publication, int s, dsa_pointer *copies)
{
	int			nparts = publication->first[s + 1] - publication->first[s];
	dsa_pointer old = section->chunk;
	dsa_pointer *link = &section->chunk;
	bool		is_same_list = find_part(section, 0, nparts) != NULL;
	bool		changed = !is_same_list;

	for (int i = publication->first[s]; i < publication->first[s + 1]; i++)
	{
		dsa_pointer place = old;

		if (is_same_list)
			old = chunk_at(place)->next;
		if (publication->chunks[i])
		{
			if (is_same_list)
			{
				changed = changed ||
					memcmp(chunk_at(place)->hash, publication->chunks[i]->hash, SC_HASH_BYTES) != 0;
				dsa_free(documents_area(), place);
			}
			place = copies[i];
			copies[i] = InvalidDsaPointer;
		}
		*link = place;
		link = &chunk_at(place)->next;
	}
	*link = InvalidDsaPointer;
	return changed;
}

/*
 * Swap the copies in.  What is swapped in is marked as invalid in the array of
 * copies.  A section of which somebody has built something from a later label in the
 * meantime stays as it is: what is there of a section is always of one snapshot.
 * Returns true if the bytes of any section are new.  Caller holds both locks,
 * exclusive, and has seen that the rest is there.
 */
static bool
swap_chunks(StoreEntry *entry, const ScPublication *publication, dsa_pointer *copies)
{
	bool		changed = false;

	for (int s = 0; s < publication->nsections; s++)
	{
		Extent		extent = extent_of(publication, s);
		Section    *section;

		if (extent == PUBLISHES_NOTHING)
			continue;
		section = &sections[section_for(entry, publication, s)];
		if (is_newer(section, published_label(publication, s)))
			continue;
		/* of other parts than these nothing stays */
		if (find_part(section, 0, publication->first[s + 1] - publication->first[s]) == NULL)
			free_parts(section);
		changed = swap_parts(section, publication, s, copies) || changed;
		section->invalidated = false;
	}
	return changed;
}

/* Why the documents of a summary with these options are refreshed on commit. */
static uint8
eager_by(const ScOptions *options)
{
	if (options->eager_refresh == SC_UNSET)
		return SC_EAGER_BY_SETTING;
	return options->eager_refresh ? SC_EAGER_BY_OPTION : 0;
}

/*
 * What else a publication changes: options, when to try next, which slots are
 * eager.  Caller holds both locks, exclusive.
 */
static void
note_publication(StoreEntry *entry, const ScPublication *publication)
{
	uint64		retry_at = 0;
	uint8		eager = eager_by(&publication->options);

	store->eager_added++;
	summary_of(entry)->options = publication->options;
	for (int i = 0; i < SC_ENCODINGS; i++)
		if (publication->options.levels[i] == 0)
			drop_form(form_link(entry, (ScEncoding) i));
	for (int i = 0; i < count_chunks(publication); i++)
	{
		ScChunk    *chunk = publication->chunks[i];
		ScLabel		label;

		if (chunk == NULL)
			continue;
		label = sc_chunk_label(chunk);
		for (int w = 0; w < label.nwords; w++)
		{
			sc_slot_add_eager(label.words[w].slot, eager);
			sc_slot_note_published((int) label.words[w].slot, label.words[w].revision);
		}
		if (sc_label_is_never_current(&label))
			retry_at = sc_clock_now() + UNPROVABLE_REFRESH_NS;
	}

	/*
	 * Inline sections alone say nothing about the others: what has failed
	 * there, or cannot be proven, is not tried any earlier for them.
	 */
	if (publication->of_inline &&
		(entry->failures == 0 || !entry->of_inline))
		return;
	forget_failure(entry);
	pg_atomic_write_u64(&entry->requests.retry_at, retry_at);
}

/* Bytes of what an entry has, without its forms.  Caller holds the lock. */
static Size
entry_size(const StoreEntry *entry)
{
	Size		size = 0;

	for (int i = entry->sections; i >= 0; i = sections[i].next)
		for (ScChunk *chunk = chunk_of(&sections[i]); chunk; chunk = next_part(chunk))
			size += chunk->size;
	return size;
}

bool
sc_store_has_values(const ScValues *there, const ScValues *values, const ScValues *equal)
{
	return sc_values_identical(there, values) || (equal && sc_values_identical(there, equal));
}

/* May it still be published?  Caller holds the entry's lock. */
static bool
is_for(const ScPublication *publication, const StoreEntry *entry)
{
	const ScValues *values = values_of(entry);

	/*
	 * it may have become that of others with the same hash before the build
	 * began
	 */
	return entry->generation == publication->generation && is_of(entry, &publication->key) &&
		(values == NULL || sc_store_has_values(values, publication->values, publication->equal));
}

/*
 * Can the document be read when this is published, and is it within the bounds
 * that no room could be made beyond?  Also how large it is then, and whether
 * others are to give way for it.
 */
static ScPutResult
check_size(int index, const ScPublication *publication, Size *size, bool *others_give_way)
{
	StoreEntry *entry = &entries[index];

	/* to a debug build that is to fail, it is 1 GB larger, less 100 bytes */
	Size		body = VARHDRSZ + 2 + (SC_FAILS("size") ? MaxAllocSize - 100 : 0);
	int			limit = publication->options.memory_limit;

	*size = 0;
	LWLockAcquire(lock_of(entry), LW_SHARED);
	for (int s = 0; s < publication->nsections; s++)
	{
		int			section = is_for(publication, entry) ? find_section(entry, publication->names[s]) : -1;
		ScChunk    *there = section >= 0 ? chunk_of(&sections[section]) : NULL;
		Extent		extent = extent_of(publication, s);

		/* what is built, and what is there and stays */
		for (int i = publication->first[s]; i < publication->first[s + 1]; i++)
			if (publication->chunks[i])
			{
				*size += packed_size(publication->chunks[i]);
				body += sc_chunk_body_len(publication->chunks[i]) + 1;
			}
		for (; there && extent != PUBLISHES_ALL; there = next_part(there))
			if (extent == PUBLISHES_NOTHING ||
				(there->part < publication->first[s + 1] - publication->first[s] &&
				 publication->chunks[publication->first[s] + there->part] == NULL))
			{
				*size += there->size;
				body += sc_chunk_body_len(there) + 1;
			}
	}
	*others_give_way = true;
	if (is_for(publication, entry))
		*others_give_way = summary_of(entry)->refused_size == 0 || *size < summary_of(entry)->refused_size ||
			sc_clock_now() > summary_of(entry)->refused_at + REFUSED_NS;
	LWLockRelease(lock_of(entry));

	if (body > MaxAllocSize)
		return SC_PUT_TOO_LARGE;
	if (limit != SC_UNSET && *size > (Size) limit * 1024)
		return SC_PUT_OVER_LIMIT;
	if (*size > store->largest)
		return SC_PUT_NO_MEMORY;
	if (publication->nsections > store->nsections)
		return SC_PUT_NO_SECTIONS;
	return SC_PUT_SAME;
}

/* The summary's own document goes: the new one did not fit, and it is not current any more. */
static void
drop_own_document(int index, const ScPublication *publication)
{
	StoreEntry *entry = &entries[index];

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	if (entry->sections >= 0 && is_for(publication, entry))
		drop_document(entry);
	LWLockRelease(lock_of(entry));
}

/*
 * Make a publication whole: with copies of what was not built.  A section of which
 * nothing was built may be there in other parts than it has now.  False, and the copies
 * are to be given back all the same, if something is not there.
 */
static bool
copy_rest(const StoreEntry *entry, const ScPublication *publication, ScPublication *whole)
{
	int		   *first = palloc(sizeof(int) * (publication->nsections + 1));
	int			room = count_chunks(publication);
	int			n = 0;

	for (int i = entry->sections; i >= 0; i = sections[i].next)
		for (ScChunk *chunk = chunk_of(&sections[i]); chunk; chunk = next_part(chunk))
			room++;
	whole->first = first;
	whole->chunks = palloc0(sizeof(ScChunk *) * Max(room, 1));
	whole->expected = NULL;
	for (int s = 0; s < publication->nsections; s++)
	{
		int			section = find_section(entry, publication->names[s]);
		Extent		extent = extent_of(publication, s);

		first[s] = n;
		if (extent == PUBLISHES_ALL)
		{
			for (int i = publication->first[s]; i < publication->first[s + 1]; i++)
				whole->chunks[n++] = publication->chunks[i];
			continue;
		}
		if (section < 0 || sections[section].invalidated || chunk_of(&sections[section]) == NULL)
			return false;
		for (ScChunk *chunk = chunk_of(&sections[section]); chunk; chunk = next_part(chunk))
		{
			ScChunk    *built = extent == PUBLISHES_PARTS ? publication->chunks[publication->first[s] + chunk->part] : NULL;

			if (built == NULL)
			{
				built = MemoryContextAllocHuge(CurrentMemoryContext, chunk->size);
				memcpy(built, chunk, chunk->size);
			}
			whole->chunks[n++] = built;
		}
	}
	first[publication->nsections] = n;
	return true;
}

/*
 * The summary's own document makes room for the new one, which then has all
 * sections: of those that were not built there are copies.  The two need not fit
 * beside each other.  False, and nothing done, if it has none, or not this one.
 */
static bool
replace_own_document(int index, const ScPublication *publication, ScPublication *whole)
{
	StoreEntry *entry = &entries[index];
	bool		have_all;

	*whole = *publication;
	whole->complete = true;
	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	have_all = entry->sections >= 0 && is_for(publication, entry) && is_rest_there(entry, publication);
	if (have_all)
		have_all = copy_rest(entry, publication, whole);
	if (have_all)
		drop_document(entry);
	LWLockRelease(lock_of(entry));
	return have_all;
}

/* Note how large a document is that could not be published. */
static void
note_refused_size(int index, const ScPublication *publication, Size size)
{
	StoreEntry *entry = &entries[index];

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	if (is_for(publication, entry))
	{
		summary_of(entry)->refused_size = size;
		summary_of(entry)->refused_at = sc_clock_now();
	}
	LWLockRelease(lock_of(entry));
}

/*
 * Publish what was built, if there is room.
 */
static ScPutResult
put_if_room(int index, const ScPublication *publication)
{
	StoreEntry *entry = &entries[index];
	dsa_pointer *copies = palloc(sizeof(dsa_pointer) * Max(count_chunks(publication), 1));
	ScPutResult result;

	if (!allocate_chunks(publication, copies))
		return SC_PUT_NO_MEMORY;

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (!is_for(publication, entry) || !is_rest_there(entry, publication))
		result = SC_PUT_OUTDATED;
	else if (publication->complete && !arrange_sections(entry, publication))
		result = SC_PUT_NO_SECTIONS;
	else
	{
		result = SC_PUT_SAME;
		for (int i = 0; i < publication->nsections; i++)
			if (section_for(entry, publication, i) < 0)
				result = SC_PUT_OUTDATED;
		if (result == SC_PUT_SAME)
		{
			if (swap_chunks(entry, publication, copies))
			{
				result = SC_PUT_CHANGED;
				drop_forms(entry);
			}
			note_publication(entry, publication);
			set_size(entry, entry_size(entry));
			summary_of(entry)->refused_size = 0;
		}
		pg_atomic_fetch_add_u64(&entry->version, VERSION_STEP);
	}
	LWLockRelease(&sc_shared->lock);
	LWLockRelease(lock_of(entry));

	for (int i = 0; i < count_chunks(publication); i++)
		if (DsaPointerIsValid(copies[i]))
			dsa_free(documents_area(), copies[i]);
	pfree(copies);
	return result;
}

/*
 * Let another document give way: of those with parameters one of the same summary, if
 * these have taken most of the memory.
 */
static bool
room_for(int index)
{
	int			summary = entries[index].summary;

	if (summary != NONE && summaries[summary].documents_size > area_size() / 2 &&
		let_sibling_give_way(summary, index, NEED_ROOM))
		return true;
	return let_give_way(NEED_ROOM, index);
}

/* Give back what copy_rest() has copied. */
static void
free_copies(ScPublication *whole, const ScPublication *built)
{
	for (int i = 0; i < count_chunks(whole); i++)
	{
		bool		was_built = false;

		for (int b = 0; b < count_chunks(built); b++)
			was_built = was_built || whole->chunks[i] == built->chunks[b];
		if (!was_built)
			pfree(whole->chunks[i]);
	}
}

/*
 * Publish what was built: all or nothing of it.  If there is no room, the
 * document takes the place of the summary's own old one first, so that a refresh
 * pushes nobody out.  Then others give way.  For what can never fit nobody does.
 */
ScPutResult
sc_store_put(int index, const ScPublication *publication)
{
	Size		size;
	bool		others_give_way;
	const ScPublication *built = publication;
	ScPublication whole;
	ScPutResult result = check_size(index, publication, &size, &others_give_way);

	if (result == SC_PUT_TOO_LARGE)
		return result;
	if (result == SC_PUT_SAME)
	{
		result = put_if_room(index, publication);
		if (sc_store_lacked_room(result) && replace_own_document(index, publication, &whole))
		{
			publication = &whole;
			result = put_if_room(index, publication);
		}
		while (sc_store_lacked_room(result) && others_give_way && room_for(index))
			result = put_if_room(index, publication);
		if (result == SC_PUT_NO_MEMORY && others_give_way)
			note_refused_size(index, publication, size);
	}
	if (result == SC_PUT_NO_MEMORY || result == SC_PUT_OVER_LIMIT)
		drop_own_document(index, publication);
	if (publication != built)
		free_copies(&whole, built);
	return result;
}

/*-------------------------------------------------------------------------
 * Encoded forms
 *-------------------------------------------------------------------------
 */

/* Has the document parts with these hashes?  Caller holds the lock. */
static bool
has_hashes(const StoreEntry *entry, uint8 (*hashes)[SC_HASH_BYTES], int nhashes)
{
	int			n = 0;

	for (int i = entry->sections; i >= 0; i = sections[i].next)
		for (ScChunk *chunk = chunk_of(&sections[i]); chunk; chunk = next_part(chunk), n++)
			if (n == nhashes || memcmp(chunk->hash, hashes[n], SC_HASH_BYTES) != 0)
				return false;
	return n == nhashes;
}

/* The bytes of all forms but one.  Caller holds the lock. */
static Size
forms_size(const StoreEntry *entry, ScEncoding but)
{
	Size		size = 0;

	for (ScForm *form = form_at(entry->forms); form; form = form_at(form->next))
		if (form->encoding != but)
			size += form->size;
	return size;
}

/* Can it be kept, if there is room, and is it within the summary's own limit? */
static ScPutResult
check_form(StoreEntry *entry, const ScDocKey *key, ScEncoding encoding,
		   uint8 (*hashes)[SC_HASH_BYTES], int nhashes, const ScForm *form)
{
	int			limit = options_of(entry)->memory_limit;
	Size		size = form->size + forms_size(entry, encoding);

	if (!is_of(entry, key) || !has_hashes(entry, hashes, nhashes))
		return SC_PUT_OUTDATED;
	size += entry_size(entry);
	if (limit != SC_UNSET && size > (Size) limit * 1024)
		return SC_PUT_OVER_LIMIT;
	return size > store->largest ? SC_PUT_NO_MEMORY : SC_PUT_CHANGED;
}

ScPutResult
sc_store_put_form(int index, const ScDocKey *key, ScEncoding encoding,
				  uint8 (*hashes)[SC_HASH_BYTES], int nhashes, const ScForm *form)
{
	StoreEntry *entry = &entries[index];
	ScPutResult result;
	dsa_pointer copy;

	sc_store_attach();
	LWLockAcquire(lock_of(entry), LW_SHARED);
	result = check_form(entry, key, encoding, hashes, nhashes, form);
	LWLockRelease(lock_of(entry));
	if (result != SC_PUT_CHANGED)
		return result;

	copy = copy_to_area(form, form->size, NEED_FORM, index);
	if (!DsaPointerIsValid(copy))
		return SC_PUT_NO_MEMORY;

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	result = check_form(entry, key, encoding, hashes, nhashes, form);
	if (result == SC_PUT_CHANGED)
	{
		drop_form(form_link(entry, encoding));
		form_at(copy)->encoding = encoding;
		form_at(copy)->next = entry->forms;
		entry->forms = copy;
	}
	else
		dsa_free(documents_area(), copy);
	LWLockRelease(lock_of(entry));
	return result;
}

ScFormState
sc_store_form(int index, const ScDocKey *key, const char *etag, const ScEncoding *wanted, int nwanted,
			  ScEncoding *encoding, bytea **form)
{
	StoreEntry *entry = &entries[index];
	ScFormState state = SC_FORM_NONE;

	sc_store_attach();
	LWLockAcquire(lock_of(entry), LW_SHARED);
	for (int i = 0; is_of(entry, key) && i < nwanted; i++)
	{
		ScForm	   *there = form_of(entry, wanted[i]);

		if (there == NULL || strcmp(there->etag, etag) != 0)
		{
			if (options_of(entry)->levels[wanted[i]] > 0)
				state = SC_FORM_MISSING;
			continue;
		}
		if (there->len == 0)
			continue;
		*encoding = wanted[i];
		*form = palloc(VARHDRSZ + there->len);
		SET_VARSIZE(*form, VARHDRSZ + there->len);
		memcpy(VARDATA(*form), there->bytes, there->len);
		state = state == SC_FORM_MISSING ? SC_FORM_SECOND : SC_FORM_THERE;
		break;
	}
	LWLockRelease(lock_of(entry));
	return state;
}

void
sc_store_missing_forms(int index, const ScDocKey *key, const char *etag, int *levels)
{
	StoreEntry *entry = &entries[index];

	sc_store_attach();
	memset(levels, 0, sizeof(int) * SC_ENCODINGS);
	LWLockAcquire(lock_of(entry), LW_SHARED);
	for (int i = 0; is_of(entry, key) && i < SC_ENCODINGS; i++)
	{
		ScForm	   *there = form_of(entry, (ScEncoding) i);

		if (there == NULL || strcmp(there->etag, etag) != 0)
			levels[i] = options_of(entry)->levels[i];
	}
	LWLockRelease(lock_of(entry));
}

void
sc_store_note_forms(int index, const ScDocKey *key, uint64 made, uint64 failed, uint64 not_kept,
					int64 begin_ns, int64 pause_ns, double rest)
{
	StoreEntry *entry = &entries[index];
	int64		now = sc_clock_now();

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	/* unless the entry is another's by now */
	if (is_of(entry, key))
	{
		ScBuildStats *stats = &lock_summary(entry)->stats;

		stats->forms_made += made;
		stats->forms_failed += failed;
		stats->forms_not_kept += not_kept;
		unlock_summary(entry);
		pg_atomic_write_u64(&entry->requests.forms_at,
							(uint64) (now + Max(pause_ns, (int64) ((now - begin_ns) * rest))));
	}
	LWLockRelease(lock_of(entry));
}

Size
sc_store_forms_size(int index, const ScDocKey *key)
{
	StoreEntry *entry = &entries[index];
	Size		size = 0;

	sc_store_attach();
	LWLockAcquire(lock_of(entry), LW_SHARED);
	if (is_of(entry, key))
		size = forms_size(entry, SC_ENCODINGS);
	LWLockRelease(lock_of(entry));
	return size;
}

/* Count a build, and what came of it. */
void
sc_store_account(int index, const ScDocKey *key, ScCause cause, bool ran, int64 build_ns, ScPutResult result)
{
	StoreEntry *entry = &entries[index];

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	if (is_of(entry, key))
	{
		entry->no_room = sc_store_lacked_room(result);
		if (ran)
		{
			ScBuildStats *stats = &lock_summary(entry)->stats;

			stats->builds[cause]++;
			stats->ns_min = stats->ns_total == 0 ? build_ns : Min(stats->ns_min, build_ns);
			stats->ns_max = Max(stats->ns_max, build_ns);
			stats->ns_total += build_ns;
			if (entry->no_room)
				stats->unpublished++;
			else if (result == SC_PUT_SAME)
				stats->wasted++;
			unlock_summary(entry);
		}
	}
	LWLockRelease(lock_of(entry));
}

/* Mark a section to be built again; false if it is not there. */
bool
sc_store_invalidate_section(const ScDocKey *key, const char *name)
{
	StoreEntry *entry = lock_entry(key);
	int			section;

	if (entry == NULL)
		return false;
	section = find_section(entry, name);
	if (section >= 0)
	{
		sections[section].invalidated = true;
		/* a build of it that is under way must not undo this */
		entry->generation++;
		pg_atomic_fetch_add_u64(&entry->version, VERSION_STEP);
	}
	LWLockRelease(lock_of(entry));
	return section >= 0;
}

bool
sc_store_invalidate_all(const ScDocKey *key, const char *name)
{
	sc_store_attach();
	for (int i = store->nsummaries; i < store->nentries; i++)
	{
		ScDocKey	document;

		if (entries[i].dboid != MyDatabaseId)
			continue;
		sc_store_name(i, &document, NULL);
		if (document.values != 0 && namestrcmp(&document.summary, NameStr(key->summary)) == 0)
			(void) sc_store_invalidate_section(&document, name);
	}
	return true;
}

/* Listeners are notified of a document; false if they were of this one before. */
bool
sc_store_note_etag(int index, const char *etag)
{
	StoreEntry *entry = &entries[index];
	uint64		hash = etag[0] ? hash_bytes_extended((const unsigned char *) etag, (int) strlen(etag), 0) : 0;
	bool		is_new;

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	is_new = entry->notified != hash;
	entry->notified = hash;
	LWLockRelease(lock_of(entry));
	return is_new;
}

/*-------------------------------------------------------------------------
 * Failures and statistics
 *-------------------------------------------------------------------------
 */

bool
sc_store_is_failing(int index, bool *of_inline)
{
	*of_inline = entries[index].of_inline;
	return entries[index].failures > 0;
}

bool
sc_store_failure_is_outdated(int index)
{
	StoreEntry *entry = &entries[index];
	uint64		ddl = ddl_revision();
	const Failure *failure;
	bool		outdated;

	sc_store_attach();
	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	/* a free entry has none */
	failure = entry->failures > 0 ? failure_of(entry) : NULL;
	outdated = failure && failure->begun.ddl != ddl;
	if (outdated)
		pg_atomic_write_u64(&entry->requests.retry_at, 0);
	LWLockRelease(lock_of(entry));
	return outdated;
}

/*
 * Keep a failure for the views, for those who waited, and for the time of the
 * next try.
 */
void
sc_store_record_failure(int index, const ScDocKey *key, const ScBegun *begun,
						const ErrorData *error, bool of_inline)
{
	StoreEntry *entry = &entries[index];
	int64		now = sc_clock_now();
	const char *message = error->message ? error->message : "unknown error";
	int			len;

	/* what does not fit is cut off between two characters */
	len = pg_mbcliplen(message, (int) strlen(message), SC_ERROR_LEN - 1);

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	/* unless the entry is another's by now */
	if (is_of(entry, key))
	{
		int			doublings = Min(entry->failures, RETRY_DOUBLINGS);
		Failure    *failure;

		if (entry->summary != NONE && !DsaPointerIsValid(entry->failure))
			entry->failure = dsa_allocate_extended(documents_area(), sizeof(Failure), DSA_ALLOC_NO_OOM);
		failure = failure_of(entry);
		entry->failures++;
		entry->of_inline = of_inline;
		if (failure)
		{
			failure->begun = *begun;
			failure->code = error->sqlerrcode;
			failure->at = GetCurrentTimestamp();
			memcpy(failure->message, message, len);
			failure->message[len] = '\0';
		}
		lock_summary(entry)->stats.failed++;
		unlock_summary(entry);
		pg_atomic_write_u64(&entry->requests.retry_at,
							now + Min(RETRY_FIRST_NS << doublings, RETRY_LIMIT_NS));
	}
	LWLockRelease(lock_of(entry));
}

void
sc_store_failure(int index, const ScDocKey *key, ScFailure *failure)
{
	StoreEntry *entry = &entries[index];

	LWLockAcquire(lock_of(entry), LW_SHARED);
	memset(failure, 0, sizeof(*failure));
	if (is_of(entry, key))
	{
		const Failure *kept = failure_of(entry);

		failure->failures = entry->failures;
		failure->of_inline = entry->of_inline;
		if (kept)
		{
			failure->code = kept->code;
			failure->at = kept->at;
			failure->begun = kept->begun;
			/* success has cleared that of a summary */
			if (entry->failures > 0)
				strlcpy(failure->message, kept->message, sizeof(failure->message));
		}
		else if (entry->failures > 0)
		{
			failure->code = ERRCODE_OUT_OF_MEMORY;
			strlcpy(failure->message, "there was no room for its message", sizeof(failure->message));
		}
	}
	LWLockRelease(lock_of(entry));
}

void
sc_store_statistics(int index, ScBuildStats *stats)
{
	LWLockAcquire(lock_of(&entries[index]), LW_SHARED);
	*stats = summary_of(&entries[index])->stats;
	LWLockRelease(lock_of(&entries[index]));
}

void
sc_store_reset_statistics(int index)
{
	LWLockAcquire(lock_of(&entries[index]), LW_EXCLUSIVE);
	if (entries[index].dboid == MyDatabaseId && !is_document(index))
	{
		sc_counters_reset(index);
		statistics_reset(&summaries[index].stats);
	}
	pg_atomic_write_u64(&entries[index].reads, 0);
	LWLockRelease(lock_of(&entries[index]));
}

void
sc_store_evictions(ScEvictions *evictions)
{
	evictions->documents = pg_atomic_read_u64(&store->evicted);
	evictions->entries = pg_atomic_read_u64(&store->given_up);
}

/*-------------------------------------------------------------------------
 * For the worker
 *-------------------------------------------------------------------------
 */

/*
 * Compare the words of a summary that is refreshed eagerly with its document's;
 * caller holds its lock.
 */
static void
look_at_words(const StoreEntry *entry, bool *moved, bool *pending)
{
	if (!sc_settings_is_eager(options_of(entry)))
		return;
	for (int s = entry->sections; s >= 0; s = sections[s].next)
		for (ScChunk *chunk = chunk_of(&sections[s]); chunk; chunk = next_part(chunk))
			for (uint32 w = 0; w < chunk->nwords; w++)
			{
				ScWordState state;

				sc_word_state(chunk->words[w].slot, &state);
				*moved = *moved || state.revision != chunk->words[w].revision;
				*pending = *pending || state.pending != 0;
			}
}

bool
sc_store_request_eager(Oid dboid)
{
	bool		pending = false;
	bool		documents = false;
	Oid			owner;

	sc_store_attach();
	for (int i = -1; (i = sc_store_next_used(i, &owner)) >= 0;)
	{
		StoreEntry *entry = &entries[i];
		bool		moved = false;

		/*
		 * those of no summary that is eager are not looked at, however many
		 * there are
		 */
		if (is_document(i) && !documents)
			break;
		if ((OidIsValid(dboid) && owner != dboid) || !sc_settings_is_eager(options_of(entry)))
			continue;
		documents = documents || sc_store_documents(i, NULL) > 0;
		LWLockAcquire(lock_of(entry), LW_SHARED);
		look_at_words(entry, &moved, &pending);
		LWLockRelease(lock_of(entry));
		if (moved)
			sc_store_request(i, SC_REFRESH_DUE, sc_clock_now());
	}
	return pending;
}

bool
sc_store_is_behind(int index)
{
	bool		moved = false;
	bool		pending = false;

	LWLockAcquire(lock_of(&entries[index]), LW_SHARED);
	look_at_words(&entries[index], &moved, &pending);
	LWLockRelease(lock_of(&entries[index]));
	return moved || pending;
}

bool
sc_store_is_here(int index)
{
	return entries[index].dboid == MyDatabaseId;
}

void
sc_store_note_try(int index, const ScDocKey *key, bool of_inline, int64 begin_ns, ScTry outcome)
{
	StoreEntry *entry = &entries[index];

	LWLockAcquire(lock_of(entry), LW_SHARED);
	/* or readers of another summary would take it for theirs */
	if (is_of(entry, key))
		pg_atomic_write_u64(&entry->requests.tried[of_inline],
							((uint64) begin_ns << SC_TRY_BITS) | outcome);
	LWLockRelease(lock_of(entry));
	ConditionVariableBroadcast(sc_store_tries(index));
}

void
sc_store_note_refresh(int index, const ScDocKey *key, int64 begin_ns)
{
	StoreEntry *entry = &entries[index];
	int64		now = sc_clock_now();

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	/* unless the entry is another's by now */
	if (is_of(entry, key))
	{
		pg_atomic_write_u32(&entry->requests.refresh_us, (uint32) Min((now - begin_ns) / 1000, PG_UINT32_MAX));
		pg_atomic_write_u64(&entry->requests.refreshed_at, (uint64) now);
		pg_atomic_write_u32(&entry->requests.pauses, 0);
		pg_atomic_write_u64(&entry->requests.paused_until, 0);
	}
	LWLockRelease(lock_of(entry));
}

void
sc_store_note_no_refresh(int index, const ScDocKey *key, int64 begin_ns, int64 pause_ns, double rest)
{
	StoreEntry *entry = &entries[index];
	int64		now = sc_clock_now();

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	if (is_of(entry, key))
	{
		int64		pause = Max(pause_ns, (int64) ((now - begin_ns) * rest));

		pg_atomic_write_u64(&entry->requests.paused_until, (uint64) (now + pause));
		if (pause_ns > 0)
		{
			pg_atomic_fetch_add_u32(&entry->requests.pauses, 1);
			sc_store_request(index, SC_REFRESH_DUE, now);
		}
		else
			pg_atomic_write_u32(&entry->requests.pauses, 0);
	}
	LWLockRelease(lock_of(entry));
}

/*
 * A slot keeps its reasons for an eager refresh until somebody finds that no
 * document over it has them any more: the launcher does, which commits would
 * otherwise go on waking for nothing.  Publishers add reasons under ScShared.lock,
 * which commits may need, so it is not held while all documents are looked at: if
 * somebody has published meanwhile, it is done another time.
 */
void
sc_store_settle_eager(void)
{
	int			nwords = sc_word_count();
	uint8	   *eager = palloc0(sizeof(uint8) * nwords);
	uint64		before;

	sc_store_attach();
	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	before = store->eager_added;
	LWLockRelease(&sc_shared->lock);
	for (int i = 0; i < store->nentries; i++)
	{
		StoreEntry *entry = &entries[i];

		if (!OidIsValid(entry->dboid))
			continue;
		LWLockAcquire(lock_of(entry), LW_SHARED);
		for (int s = entry->sections; s >= 0; s = sections[s].next)
			for (ScChunk *chunk = chunk_of(&sections[s]); chunk; chunk = next_part(chunk))
				for (uint32 w = 0; w < chunk->nwords; w++)
					eager[chunk->words[w].slot] |= eager_by(options_of(entry));
		LWLockRelease(lock_of(entry));
	}
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; store->eager_added == before && i < nwords; i++)
		sc_slot_set_eager(i, eager[i]);
	LWLockRelease(&sc_shared->lock);
	pfree(eager);
}

/*-------------------------------------------------------------------------
 * Saving and loading
 *-------------------------------------------------------------------------
 */

/* The label of what was loaded: it is never current, and is known by that. */
#define LOADED_WORDS	1

/* The bytes of a chunk without its label. */
static Size
stored_size(const ScChunk *chunk)
{
	return chunk->size - sc_chunk_name_offset((int) chunk->nwords) + sc_chunk_name_offset(LOADED_WORDS);
}

/* Copy a chunk of shared memory without its label. */
static void
store_chunk(ScChunk *stored, ScChunk *chunk, int64 now)
{
	memset(stored, 0, sc_chunk_name_offset(LOADED_WORDS));
	memcpy(stored, chunk, offsetof(ScChunk, words));
	stored->size = (uint32) stored_size(chunk);
	stored->body_offset = stored->size - sc_chunk_body_len(chunk);
	stored->nwords = LOADED_WORDS;
	stored->words[0].slot = SC_CLUSTER_SLOT;
	stored->words[0].revision = SC_NEVER_CURRENT;
	stored->next = InvalidDsaPointer;
	stored->replayed = InvalidXLogRecPtr;
	stored->xmax = 0;
	stored->labelled_at = now - chunk->executed_at;
	memcpy(SC_CHUNK_SECTION(stored), SC_CHUNK_SECTION(chunk), stored->size - sc_chunk_name_offset(LOADED_WORDS));
}

bool
sc_store_copy(int index, ScStored *stored)
{
	StoreEntry *entry = &entries[index];
	int64		now;
	char	   *p;

	sc_store_attach();
	for (;;)
	{
		stored->size = 0;
		stored->values_size = 0;
		LWLockAcquire(lock_of(entry), LW_SHARED);
		if (!OidIsValid(entry->dboid) || entry->sections < 0)
		{
			LWLockRelease(lock_of(entry));
			return false;
		}
		if (values_of(entry))
			stored->values_size = values_of(entry)->size;
		stored->size = MAXALIGN(stored->values_size);
		for (int i = entry->sections; i >= 0; i = sections[i].next)
			for (ScChunk *chunk = chunk_of(&sections[i]); chunk; chunk = next_part(chunk))
				stored->size += MAXALIGN(stored_size(chunk));
		if (stored->size <= stored->room)
			break;
		LWLockRelease(lock_of(entry));

		/* nobody waits meanwhile; it may have grown when we come back */
		if (stored->bytes)
			pfree(stored->bytes);
		stored->room = 0;
		stored->bytes = MemoryContextAllocExtended(CurrentMemoryContext, stored->size,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		if (stored->bytes == NULL)
			return false;
		stored->room = stored->size;
	}

	stored->dboid = entry->dboid;
	stored->key.summary = summary_of(entry)->name;
	stored->key.values = entry->values_hash;
	stored->options = *options_of(entry);
	stored->read_at = entry->read_at;
	stored->is_old = true;
	stored->nchunks = 0;
	now = sc_clock_now();
	p = stored->bytes;
	/* what is between two pieces is written as well */
	memset(p, 0, MAXALIGN(stored->values_size));
	if (stored->values_size > 0)
		memcpy(p, values_of(entry), stored->values_size);
	p += MAXALIGN(stored->values_size);
	for (int i = entry->sections; i >= 0; i = sections[i].next)
		for (ScChunk *chunk = chunk_of(&sections[i]); chunk; chunk = next_part(chunk))
		{
			Size		size = MAXALIGN(stored_size(chunk));

			memset(p + size - MAXIMUM_ALIGNOF, 0, MAXIMUM_ALIGNOF);
			store_chunk((ScChunk *) p, chunk, now);
			stored->is_old = stored->is_old && sc_chunk_is_loaded(chunk);
			stored->nchunks++;
			p += size;
		}
	LWLockRelease(lock_of(entry));
	return true;
}

/*
 * Is a chunk laid out as store_chunk() does it, within so many bytes?  That its bytes
 * are those that were saved is the caller's to know.
 */
static bool
is_sound(ScChunk *chunk, Size size)
{
	uint32		nkeys = 0;
	char	   *body;

	if (size < sc_chunk_name_offset(LOADED_WORDS) || chunk->size > size ||
		chunk->nwords != LOADED_WORDS || chunk->labelled_at < 0 ||
		chunk->section_len >= NAMEDATALEN || chunk->body_offset > chunk->size ||
		sc_chunk_name_offset(LOADED_WORDS) + chunk->section_len + 1 > chunk->body_offset ||
		memchr(SC_CHUNK_SECTION(chunk), '\0', chunk->section_len + 1) != SC_CHUNK_SECTION(chunk) + chunk->section_len)
		return false;
	body = SC_CHUNK_BODY(chunk);
	for (char *p = SC_CHUNK_KEYS(chunk); p < body; p++)
		if (*p == '\0')
			nkeys++;
	/* the last of them, or the name, ends where the body begins */
	return nkeys == chunk->nkeys && body[-1] == '\0';
}

/* Does a chunk come after another, as the parts of sections do?  NULL: nothing. */
static bool
is_next(const ScChunk *chunk, const ScChunk *before)
{
	bool		in_section = before && before->part + 1 < before->nparts;

	if (chunk == NULL || !in_section)
		return !in_section && (chunk == NULL || (chunk->part == 0 && chunk->nparts > 0));
	return chunk->part == before->part + 1 && chunk->nparts == before->nparts &&
		strcmp(SC_CHUNK_SECTION(chunk), SC_CHUNK_SECTION(before)) == 0;
}

/*
 * When was the label read of what is so old by the wall clock, and was by the
 * monotonic one when it was saved?  The wall clock may have been set back since, or
 * to the right time: the greater age counts.
 */
static int64
labelled_at(const ScChunk *stored, TimestampTz wall, int64 now)
{
	int64		age = stored->labelled_at;

	if (wall > stored->built_at)
	{
		uint64		us = (uint64) wall - (uint64) stored->built_at;

		age = Max(age, (int64) Min(us, (uint64) PG_INT64_MAX / 4000) * 1000);
	}
	return now - Min(age, PG_INT64_MAX / 4);
}

/*
 * The process is the postmaster, which is not to stay attached: its children would
 * take what is its for theirs, and there is another area after a crash.
 */
void
sc_store_load_begin(void)
{
	attached_area = dsa_attach_in_place(area_place, NULL);
}

void
sc_store_load_end(void)
{
	dsa_detach(attached_area);
	dsa_release_in_place(area_place);
	attached_area = NULL;
}

/* Publish what was loaded, in an entry that is just taken.  False if there is no room. */
static bool
publish_loaded(StoreEntry *entry, const ScPublication *publication, dsa_pointer *copies)
{
	bool		published;

	LWLockAcquire(lock_of(entry), LW_EXCLUSIVE);
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	published = arrange_sections(entry, publication);
	if (published)
	{
		(void) swap_chunks(entry, publication, copies);
		set_size(entry, entry_size(entry));
		summary_of(entry)->options = publication->options;
		pg_atomic_fetch_add_u64(&entry->version, VERSION_STEP);
	}
	LWLockRelease(&sc_shared->lock);
	if (!published)
		(void) entry_release(entry);
	LWLockRelease(lock_of(entry));
	return published;
}

/* Is there what a document that is being loaded cannot be beside? */
static bool
summary_has_other(Oid dboid, const ScDocKey *key)
{
	int			summary = summary_lookup(dboid, NameStr(key->summary));

	if (summary < 0)
		return false;
	return key->values == 0 || entries[summary].sections >= 0 || document_lookup(summary, key->values) >= 0;
}

/* An entry for what is loaded; -1 if there is no room. */
static int
take_loaded(Oid dboid, const char *name, const ScValues *values)
{
	dsa_pointer copy = InvalidDsaPointer;
	bool		busy;
	int			index;

	if (values)
	{
		copy = dsa_allocate_extended(documents_area(), values->size, DSA_ALLOC_NO_OOM);
		if (!DsaPointerIsValid(copy))
			return -1;
		memcpy(dsa_get_address(documents_area(), copy), values, values->size);
	}
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	index = summary_lookup(dboid, name);
	if (index < 0)
		index = summary_take(dboid, name, &busy);
	if (index >= 0 && values)
		index = document_take(index, values->hash, copy, &busy);
	LWLockRelease(&sc_shared->lock);
	if (index < 0 && DsaPointerIsValid(copy))
		dsa_free(documents_area(), copy);
	return index;
}

ScLoad
sc_store_load(const ScStored *stored)
{
	ScPublication publication = {.key = stored->key,.complete = true,.options = stored->options};
	const char *name = NameStr(stored->key.summary);
	const ScValues *values = stored->values_size > 0 ? (ScValues *) stored->bytes : NULL;
	dsa_pointer *copies;
	int		   *first;
	char	   *p = stored->bytes + MAXALIGN(stored->values_size);
	Size		left = stored->size - Min(stored->size, MAXALIGN(stored->values_size));
	TimestampTz wall = GetCurrentTimestamp();
	int64		now = sc_clock_now();
	ScLoad		result = SC_LOAD_NO_ROOM;
	int			index = -1;

	if (!OidIsValid(stored->dboid) || stored->nchunks < 1 ||
		(Size) stored->nchunks > left / sc_chunk_name_offset(LOADED_WORDS) ||
		memchr(name, '\0', NAMEDATALEN) == NULL ||
		(values && (stored->size < stored->values_size || !sc_values_is_sound(values, stored->values_size))) ||
		stored->key.values != (values ? values->hash : 0) ||
		summary_has_other(stored->dboid, &stored->key))
		return SC_LOAD_UNSOUND;
	publication.names = palloc(sizeof(char *) * stored->nchunks);
	first = palloc(sizeof(int) * (stored->nchunks + 1));
	publication.first = first;
	publication.chunks = palloc(sizeof(ScChunk *) * stored->nchunks);
	copies = palloc(sizeof(dsa_pointer) * stored->nchunks);
	for (int i = 0; i < stored->nchunks; i++)
	{
		ScChunk    *chunk = (ScChunk *) p;

		if (!is_sound(chunk, left) || !is_next(chunk, i > 0 ? publication.chunks[i - 1] : NULL))
			result = SC_LOAD_UNSOUND;
		for (int j = 0; result != SC_LOAD_UNSOUND && chunk->part == 0 && j < publication.nsections; j++)
			if (strcmp(publication.names[j], SC_CHUNK_SECTION(chunk)) == 0)
				result = SC_LOAD_UNSOUND;
		if (result == SC_LOAD_UNSOUND)
			break;
		chunk->executed_at = chunk->labelled_at = labelled_at(chunk, wall, now);
		chunk->words[0].slot = SC_CLUSTER_SLOT;
		chunk->words[0].revision = SC_NEVER_CURRENT;
		if (chunk->part == 0)
		{
			publication.names[publication.nsections] = SC_CHUNK_SECTION(chunk);
			first[publication.nsections++] = i;
		}
		publication.chunks[i] = chunk;
		left -= Min(left, MAXALIGN(chunk->size));
		p += MAXALIGN(chunk->size);
	}
	first[publication.nsections] = stored->nchunks;
	if (result != SC_LOAD_UNSOUND && !is_next(NULL, publication.chunks[stored->nchunks - 1]))
		result = SC_LOAD_UNSOUND;

	if (result != SC_LOAD_UNSOUND && allocate_chunks(&publication, copies))
	{
		index = take_loaded(stored->dboid, name, values);
		if (index >= 0 && publish_loaded(&entries[index], &publication, copies))
		{
			entries[index].read_at = stored->read_at;
			entries[index].is_wanted = stored->is_wanted;
			result = SC_LOAD_DONE;
		}
		for (int i = 0; i < stored->nchunks; i++)
			if (DsaPointerIsValid(copies[i]))
				dsa_free(documents_area(), copies[i]);
	}
	pfree(first);
	pfree(publication.names);
	pfree(publication.chunks);
	pfree(copies);
	return result;
}

/* All reads of an entry, whatever they were answered with. */
static uint64
all_reads(int index)
{
	uint64		reads = sc_store_reads(index);

	for (int i = 0; i < SC_PRIVATE_CAUSES && !is_document(index); i++)
		reads += sc_counters_get(index, SC_COUNT_PRIVATE + i);
	return reads;
}

void
sc_store_note_reads(TimestampTz now)
{
	Oid			dboid;

	for (int i = -1; (i = sc_store_next_used(i, &dboid)) >= 0;)
	{
		StoreEntry *entry = &entries[i];
		uint64		reads = all_reads(i);

		/* the counters may have been reset */
		if ((uint32) reads != entry->reads_noted && reads > 0)
			entry->read_at = now;
		entry->reads_noted = (uint32) reads;
	}
}

TimestampTz
sc_store_read_at(int index)
{
	return entries[index].read_at;
}

bool
sc_store_request_wanted(void)
{
	static int	last = -1;		/* none before it is wanted any more */
	Oid			dboid;

	while ((last = sc_store_next_used(last, &dboid)) >= 0)
	{
		if (!entries[last].is_wanted)
			continue;
		entries[last].is_wanted = false;
		sc_store_request(last, SC_REFRESH_DUE, sc_clock_now());
		return true;
	}
	last = store->nentries;
	return false;
}

bool
sc_store_waits_for_replay(int index)
{
	StoreEntry *entry = &entries[index];
	bool		waits;

	/* who waits for it has seen that what is there will not do */
	if (sc_store_is_awaited(index))
		return false;
	sc_store_attach();
	LWLockAcquire(lock_of(entry), LW_SHARED);
	waits = entry->sections >= 0;
	for (int s = entry->sections; waits && s >= 0; s = sections[s].next)
		for (ScChunk *chunk = chunk_of(&sections[s]); waits && chunk; chunk = next_part(chunk))
			waits = !sections[s].invalidated && sc_label_is_amid_replay(chunk->replayed);
	LWLockRelease(lock_of(entry));
	return waits;
}
