/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Builds and publishes sections.
 *
 * In this order: read the time, then the words (the label), then take the
 * newest snapshot, then query with it.  What commits in between is not in the
 * label, so the document is at worst newer than its label says and is rebuilt
 * once more than needed.
 *
 * A section is published if no invalidation has happened since and nothing
 * newer is there.  The bytes are copied into shared memory before a lock is
 * taken; under the lock only pointers are swapped.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "summary_cache.h"

/* Failed builds are tried again after 1 s, then 2, 4, ... */
#define RETRY_FIRST_NS	INT64CONST(1000000000)
#define RETRY_LIMIT_NS	(60 * RETRY_FIRST_NS)

/*
 * A document that cannot be proven current is not rebuilt more often than
 * this in the background.
 */
#define UNPROVABLE_REFRESH_NS	INT64CONST(1000000000)

/* The summaries that this backend is building, innermost first. */
typedef struct Building
{
	const char *summary;
	struct Building *outer;
} Building;

static Building *building = NULL;

/* Is this backend building a summary, so that a read is part of that? */
bool
sc_is_building(void)
{
	return building != NULL;
}

/* Lay a built section out as it is published. */
static ScChunk *
make_chunk(ScSectionDef *section, ScBody *body, ScLabel *labels, int nlabels,
		   int64 labelled_at, XLogRecPtr replayed, TimestampTz built_at, uint64 xmax,
		   int64 build_ns)
{
	Size		keys_len = 0;
	Size		keys_offset = MAXALIGN(offsetof(ScChunk, labels) + sizeof(ScLabel) * nlabels);
	Size		size;
	ScChunk    *chunk;
	char	   *p;

	for (int i = 0; i < body->nkeys; i++)
		keys_len += strlen(body->keys[i]) + 1;
	size = keys_offset + keys_len + body->len;
	chunk = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memset(chunk, 0, offsetof(ScChunk, labels));
	chunk->size = size;
	chunk->section = section->name;
	chunk->is_inline = section->is_inline;
	chunk->definition = section->hash;
	chunk->stranger = body->stranger;
	chunk->labelled_at = labelled_at;
	chunk->replayed = replayed;
	chunk->built_at = built_at;
	chunk->build_ns = build_ns;
	chunk->xmax = xmax;
	chunk->nlabels = nlabels;
	chunk->nkeys = body->nkeys;
	chunk->keys_offset = keys_offset;
	chunk->keys_len = keys_len;
	chunk->body_offset = keys_offset + keys_len;
	chunk->body_len = body->len;
	if (nlabels > 0)
		memcpy(chunk->labels, labels, sizeof(ScLabel) * nlabels);
	p = SC_CHUNK_KEYS(chunk);
	for (int i = 0; i < body->nkeys; i++)
	{
		strcpy(p, body->keys[i]);
		p += strlen(p) + 1;
	}
	memcpy(SC_CHUNK_BODY(chunk), body->members, body->len);
	sc_sha256(body->members, body->len, chunk->hash);
	return chunk;
}

/* A key may be in one section only. */
static void
check_conflict(const char *summary, ScChunk *a, ScChunk *b)
{
	char	   *ka = SC_CHUNK_KEYS(a);

	for (uint32 i = 0; i < a->nkeys; i++, ka += strlen(ka) + 1)
	{
		char	   *kb = SC_CHUNK_KEYS(b);

		for (uint32 j = 0; j < b->nkeys; j++, kb += strlen(kb) + 1)
			if (strcmp(ka, kb) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("key \"%s\" of section \"%s\" is already a key of section \"%s\" of summary \"%s\"",
								ka, NameStr(b->section), NameStr(a->section), summary),
						 errhint("Give the column another name: each column of a section's query is a key of the document.")));
	}
}

static void
check_conflicts(const char *summary, ScBuild *build)
{
	for (int i = 1; i < build->nchunks; i++)
		for (int j = 0; j < i; j++)
			if (build->chunks[i] && build->chunks[j])
				check_conflict(summary, build->chunks[j], build->chunks[i]);
}

/* Sections that were not built keep their keys: compare with those as well. */
static void
check_conflicts_with_cached(const char *summary, ScSummary *entry, ScBuild *build)
{
	ScChunk   **others = palloc(sizeof(ScChunk *) * build->nchunks);
	int			nothers = 0;

	LWLockAcquire(&entry->lock, LW_SHARED);
	for (int i = entry->sections; i >= 0; i = sc_sections[i].next)
	{
		ScChunk    *chunk = dsa_get_address(sc_dsa(), sc_sections[i].chunk);
		bool		rebuilt = false;

		for (int b = 0; b < build->nchunks; b++)
			if (build->chunks[b] &&
				strcmp(NameStr(build->chunks[b]->section), NameStr(chunk->section)) == 0)
				rebuilt = true;
		if (!rebuilt && nothers < build->nchunks)
		{
			/* without the body */
			others[nothers] = palloc(chunk->body_offset);
			memcpy(others[nothers++], chunk, chunk->body_offset);
		}
	}
	LWLockRelease(&entry->lock);

	for (int i = 0; i < nothers; i++)
		for (int b = 0; b < build->nchunks; b++)
			if (build->chunks[b])
				check_conflict(summary, others[i], build->chunks[b]);
}

/*
 * Read the words of a section's sources behind those of the catch-alls, which
 * are none on a standby, and then no others either.  A source whose changes
 * might go unnoticed leaves a label that is never current.  Returns the number
 * of labels.
 */
static int
read_labels(ScSectionDef *section, ScLabel *catch_alls, int ncatch_alls, ScLabel **labels)
{
	/* with room for one more */
	ScLabel    *list = palloc(sizeof(ScLabel) * (ncatch_alls + section->nsources * (SC_MAX_ROOTS + 1) + 1));
	int			n = ncatch_alls;

	memcpy(list, catch_alls, sizeof(ScLabel) * ncatch_alls);
	for (int i = 0; i < section->nsources; i++)
	{
		ScSlotRef	refs[SC_MAX_ROOTS];
		int			nrefs;
		bool		provable = sc_track_source(section->sources[i], refs, &nrefs);

		for (int r = 0; ncatch_alls > 0 && r < nrefs; r++)
		{
			/* without a slot, writers use the catch-all, which is in the label */
			if (sc_label_read(&list[n], refs[r].key, refs[r].slot))
				n++;
		}
		if (!provable)
		{
			list[n].slot = SC_CLUSTER_SLOT;
			list[n++].revision = SC_NEVER_CURRENT;
		}
	}
	*labels = list;
	return n;
}

/* Is a section of the definition to be built? */
static bool
is_wanted(ScSectionDef *section, ScLocal *local, ScWant want, Snapshot snapshot, int64 now)
{
	if (want == SC_WANT_ALL)
		return true;
	if (want == SC_WANT_INLINE && !section->is_inline)
		return false;
	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *mine = &local->sections[i];

		if (strcmp(NameStr(mine->name), NameStr(section->name)) != 0)
			continue;
		if (mine->invalidated || mine->definition != section->hash)
			return true;
		/* what is nearly too old is renewed along with the rest */
		if (sc_is_aging(local, mine->labelled_at, now))
			return true;
		return sc_prove(mine->labels, mine->nlabels, mine->replayed, snapshot) != SC_CURRENT;
	}
	return true;
}

/* Does the cached document consist of just these sections, so defined? */
bool
sc_matches_definition(ScLocal *local, ScSummaryDef *definition)
{
	if (definition == NULL || local->nsections != definition->nsections)
		return false;
	for (int i = 0; i < local->nsections; i++)
		if (strcmp(NameStr(local->sections[i].name), NameStr(definition->sections[i].name)) != 0 ||
			local->sections[i].definition != definition->sections[i].hash)
			return false;
	return true;
}

/*
 * May this transaction publish what it builds?  With an xid it may have seen
 * its own uncommitted writes.  With a strong lock on a source it would block
 * another builder that it may have to wait for.
 */
bool
sc_may_publish(ScSummaryDef *definition, ScWant want)
{
	if (definition == NULL)
		return false;
	if (IsolationUsesXactSnapshot() || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return false;
	for (int s = 0; s < definition->nsections; s++)
	{
		ScSectionDef *section = &definition->sections[s];

		if (want == SC_WANT_INLINE && !section->is_inline)
			continue;
		for (int i = 0; i < section->nsources; i++)
			for (int mode = RowShareLock; mode <= AccessExclusiveLock; mode++)
			{
				LOCKTAG		tag;

				SET_LOCKTAG_RELATION(tag, MyDatabaseId, section->sources[i]);
				if (SC_LOCK_HELD(&tag, mode))
					return false;
			}
	}
	return true;
}

/*
 * Copy built sections into shared memory, without a lock.  False if there is
 * no room for all of them.
 */
static bool
allocate_chunks(ScBuild *build, dsa_pointer *shared)
{
	dsa_area   *area = sc_dsa();

	for (int i = 0; i < build->nchunks; i++)
		shared[i] = InvalidDsaPointer;
	for (int i = 0; i < build->nchunks; i++)
	{
		if (build->chunks[i] == NULL)
			continue;
		shared[i] = dsa_allocate_extended(area, build->chunks[i]->size,
										  DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
		if (!DsaPointerIsValid(shared[i]))
		{
			while (--i >= 0)
				if (DsaPointerIsValid(shared[i]))
					dsa_free(area, shared[i]);
			return false;
		}
		memcpy(dsa_get_address(area, shared[i]), build->chunks[i], build->chunks[i]->size);
	}
	return true;
}

/* The entry's section of a name, -1 if there is none; caller holds the lock. */
static int
find_section(ScSummary *entry, const char *name)
{
	for (int i = entry->sections; i >= 0; i = sc_sections[i].next)
		if (strcmp(NameStr(sc_sections[i].name), name) == 0)
			return i;
	return -1;
}

/*
 * Give an entry the list of sections that the definition has, in its order;
 * caller holds ScShared.lock and the entry's, exclusive.  False, with nothing
 * changed, if there is no room.
 */
static bool
arrange_sections(ScSummary *entry, ScSummaryDef *definition)
{
	int			old = entry->sections;
	int			next = sc_shared->free_section;
	int		   *link = &entry->sections;

	for (int s = 0; s < definition->nsections; s++)
		if (find_section(entry, NameStr(definition->sections[s].name)) < 0)
		{
			if (next < 0)
				return false;
			next = sc_sections[next].next;
		}

	entry->sections = -1;
	for (int s = 0; s < definition->nsections; s++)
	{
		int			section = -1;

		for (int *l = &old; *l >= 0; l = &sc_sections[*l].next)
			if (strcmp(NameStr(sc_sections[*l].name),
					   NameStr(definition->sections[s].name)) == 0)
			{
				section = *l;
				*l = sc_sections[section].next;
				break;
			}
		if (section < 0)
		{
			section = sc_section_alloc();
			sc_sections[section].name = definition->sections[s].name;
		}
		sc_sections[section].next = -1;
		*link = section;
		link = &sc_sections[section].next;
	}

	/* those that the definition has no longer */
	for (; old >= 0; old = next)
	{
		next = sc_sections[old].next;
		dsa_free(sc_dsa(), sc_sections[old].chunk);
		sc_section_free(old);
	}
	return true;
}

/*
 * Publish what was built.  All or nothing of it, but a section that somebody
 * has built from a later label meanwhile stays.
 */
static bool
publish(int index, uint64 generation, ScSummaryDef *definition, ScBuild *build, ScCause cause)
{
	ScSummary  *entry = &sc_summaries[index];
	dsa_area   *area = sc_dsa();
	dsa_pointer *shared = palloc(sizeof(dsa_pointer) * build->nchunks);
	bool		published = false;
	bool		same = true;
	bool		arranged = true;
	bool		enough = true;	/* section entries */
	bool		fits = allocate_chunks(build, shared);
	int64		build_ns = 0;
	int64		now;

	if (!fits)
	{
		/* what was dropped and not asked for since goes first */
		sc_definition_sweep_entries();
		fits = allocate_chunks(build, shared);
	}
	if (!fits)
	{
		/* the old document must not keep the new one out */
		sc_summary_clear(entry);
		generation++;
		fits = build->complete && allocate_chunks(build, shared);
	}
	now = sc_now();

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	if (fits && entry->generation == generation && entry->dboid == MyDatabaseId &&
		strcmp(NameStr(entry->name), NameStr(definition->name)) == 0)
	{
		if (build->complete)
			arranged = enough = arrange_sections(entry, definition);
		for (int i = 0; arranged && i < build->nchunks; i++)
			if (find_section(entry, NameStr(definition->sections[i].name)) < 0)
				arranged = false;
		for (int i = 0; arranged && i < build->nchunks; i++)
		{
			int			s;
			ScChunk    *old;

			if (!DsaPointerIsValid(shared[i]))
				continue;
			s = find_section(entry, NameStr(definition->sections[i].name));
			old = DsaPointerIsValid(sc_sections[s].chunk) ?
				dsa_get_address(area, sc_sections[s].chunk) : NULL;
			if (old == NULL || memcmp(old->hash, build->chunks[i]->hash, SC_HASH_BYTES) != 0)
				same = false;
			if (old && old->labelled_at > build->chunks[i]->labelled_at)
				continue;
			if (old)
				dsa_free(area, sc_sections[s].chunk);
			sc_sections[s].chunk = shared[i];
			sc_sections[s].invalidated = false;
			shared[i] = InvalidDsaPointer;
		}
		published = arranged;
		pg_atomic_fetch_add_u64(&entry->version, 1);
	}

	for (int i = 0; i < build->nchunks; i++)
		if (build->chunks[i])
			build_ns += build->chunks[i]->build_ns;
	entry->builds[cause]++;
	entry->build_ns_min = entry->build_ns_total == 0 ? build_ns : Min(entry->build_ns_min, build_ns);
	entry->build_ns_max = Max(entry->build_ns_max, build_ns);
	entry->build_ns_total += build_ns;
	entry->no_room = !fits || !enough;
	if (!fits || !enough)
		entry->unpublished++;
	else if (published && same)
		entry->builds_wasted++;
	if (published)
	{
		uint64		retry_at = 0;
		bool		eager = sc_is_eager(&definition->options);

		entry->options = definition->options;
		for (int i = 0; eager && i < build->nchunks; i++)
			for (uint32 l = 0; build->chunks[i] && l < build->chunks[i]->nlabels; l++)
				sc_slots[build->chunks[i]->labels[l].slot].slot.eager = true;

		for (int i = 0; i < build->nchunks; i++)
			for (uint32 l = 0; build->chunks[i] && l < build->chunks[i]->nlabels; l++)
				if (build->chunks[i]->labels[l].revision == SC_NEVER_CURRENT)
					retry_at = now + UNPROVABLE_REFRESH_NS;
		entry->failures = 0;
		entry->error[0] = '\0';
		pg_atomic_write_u64(&entry->retry_at, retry_at);
	}
	LWLockRelease(&entry->lock);
	LWLockRelease(&sc_shared->lock);

	for (int i = 0; fits && i < build->nchunks; i++)
		if (DsaPointerIsValid(shared[i]))
			dsa_free(area, shared[i]);

	if (!fits || !enough)
	{
		static bool reported = false;

		if (!reported)
			ereport(SC_IN_BACKGROUND_WORKER ? LOG : WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("document of summary \"%s\" does not fit in shared memory and is not cached",
							NameStr(definition->name)),
					 errhint("Raise summary_cache.%s and restart the server.",
							 fits ? "max_sections" : "memory_limit")));
		reported = true;
	}
	/* the worker tells listeners: from here a NOTIFY would take an xid */
	else if (published && !same && sc_has_listeners() && cause != SC_BUILD_BACKGROUND)
		sc_request_notify(entry);
	return published;
}

/* Build the wanted sections under a snapshot; label each. */
static void
build_sections(ScSummaryDef *definition, bool *wanted, ScLabel **labels, int *nlabels,
			   Snapshot snapshot, int64 labelled_at, XLogRecPtr replayed, ScBuild *build)
{
	Building	me = {NameStr(definition->name), building};
	TimestampTz built_at = GetCurrentTimestamp();

	for (Building *b = building; b; b = b->outer)
		if (strcmp(b->summary, me.summary) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_RECURSION),
					 errmsg("summary \"%s\" reads itself", me.summary),
					 errhint("Remove the call of the reading function from its sections' queries.")));

	building = &me;
	PG_TRY();
	{
		build->nchunks = definition->nsections;
		build->chunks = palloc0(sizeof(ScChunk *) * definition->nsections);
		build->complete = true;
		build->published = false;
		for (int i = 0; i < definition->nsections; i++)
		{
			ScBody		body;
			int64		start = sc_now();
			uint64		xmax;

			if (!wanted[i])
			{
				build->complete = false;
				continue;
			}
			sc_build_section(&definition->sections[i], snapshot, &body);
			if (labels && (OidIsValid(body.stranger.table) || OidIsValid(body.stranger.function)))
			{
				labels[i][nlabels[i]].slot = SC_CLUSTER_SLOT;
				labels[i][nlabels[i]++].revision = SC_NEVER_CURRENT;
			}

			/*
			 * Functions in the query may have taken snapshots of their own: what
			 * has no xid yet is in none of them.
			 */
			xmax = U64FromFullTransactionId(ReadNextFullTransactionId());
			build->chunks[i] = make_chunk(&definition->sections[i], &body,
										  labels ? labels[i] : NULL, labels ? nlabels[i] : 0,
										  labelled_at, replayed, built_at, xmax, sc_now() - start);
			pfree(body.members);
			if (sc_log_min_build_duration >= 0 &&
				build->chunks[i]->build_ns >= (int64) sc_log_min_build_duration * 1000000)
				ereport(LOG,
						(errmsg("built section \"%s\" of summary \"%s\" in %.3f ms, %u bytes",
								NameStr(definition->sections[i].name), me.summary,
								build->chunks[i]->build_ns / 1e6, build->chunks[i]->body_len)));
		}
		check_conflicts(me.summary, build);
	}
	PG_FINALLY();
	{
		building = me.outer;
	}
	PG_END_TRY();
}

/*
 * Build sections of a summary and publish them.  The caller has seen that it
 * may publish, and serialises with other builders.  Errors are the query's.
 * The chunks are in the current memory context.
 */
void
sc_build(ScLocal *local, ScWant want, ScCause cause, ScBuild *build)
{
	const char *summary = NameStr(local->name);
	ScSummary  *entry = &sc_summaries[local->index];
	ScSummaryDef *definition;
	ScLabel		catch_alls[2];
	int			ncatch_alls = 0;
	XLogRecPtr	replayed;
	int64		labelled_at;
	uint64		generation;
	ScLabel   **labels;
	int		   *nlabels;
	bool	   *wanted;
	bool		any = false;
	Snapshot	snapshot;

	LWLockAcquire(&entry->lock, LW_SHARED);
	generation = entry->generation;
	LWLockRelease(&entry->lock);

	/* first the time and the words or the position, then the snapshot */
	labelled_at = sc_now();
	replayed = sc_replay_label();
	if (XLogRecPtrIsInvalid(replayed) && sc_label_read_catch_alls(catch_alls))
		ncatch_alls = lengthof(catch_alls);
	else if (XLogRecPtrIsInvalid(replayed))
	{
		static bool reported = false;

		ereport(reported ? DEBUG1 : WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no room to track the tables of database \"%s\"", get_database_name(MyDatabaseId)),
				 errhint("Raise summary_cache.max_tables and restart the server.")));
		reported = true;
		sc_build_private(summary, build);
		return;
	}

	/* of what the label has: see sc_track_source() */
	AcceptInvalidationMessages();

	definition = sc_definition_get(summary);
	if (definition == NULL)
	{
		sc_summary_forget(summary);
		sc_unknown_summary(summary);
	}
	sc_definition_pin();
	SC_POINT("build-defined");
	if (!sc_matches_definition(local, definition))
		want = SC_WANT_ALL;

	labels = palloc(sizeof(ScLabel *) * definition->nsections);
	nlabels = palloc(sizeof(int) * definition->nsections);
	wanted = palloc(sizeof(bool) * definition->nsections);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < definition->nsections; i++)
	{
		wanted[i] = is_wanted(&definition->sections[i], local, want, snapshot, labelled_at);
		if (wanted[i])
			nlabels[i] = read_labels(&definition->sections[i], catch_alls, ncatch_alls, &labels[i]);
	}
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < definition->nsections; i++)
		any = any || wanted[i];
	if (!any)
	{
		/* somebody else has done it */
		memset(build, 0, sizeof(*build));
		build->published = true;
		sc_definition_unpin();
		return;
	}

	SC_POINT("build-labelled");
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	build_sections(definition, wanted, labels, nlabels, snapshot, labelled_at, replayed, build);
	UnregisterSnapshot(snapshot);
	if (!build->complete)
		check_conflicts_with_cached(summary, entry, build);

	SC_POINT("build-done");

	/* a function in a query may have taken an xid */
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		build->published = publish(local->index, generation, definition, build, cause);
	sc_definition_unpin();
}

/*
 * Build all sections under the caller's own snapshot, for nobody else.
 */
void
sc_build_private(const char *summary, ScBuild *build)
{
	bool		pushed = false;
	Snapshot	snapshot;
	ScSummaryDef *definition;
	bool	   *wanted;

	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	snapshot = RegisterSnapshot(GetActiveSnapshot());
	definition = sc_definition_read(summary, snapshot, CurrentMemoryContext);
	if (definition == NULL)
		sc_unknown_summary(summary);
	wanted = palloc(sizeof(bool) * definition->nsections);
	memset(wanted, true, sizeof(bool) * definition->nsections);
	build_sections(definition, wanted, NULL, NULL, snapshot, sc_now(), InvalidXLogRecPtr, build);
	UnregisterSnapshot(snapshot);
	if (pushed)
		PopActiveSnapshot();
}

/*
 * Keep a failure for the views, for those who waited, and for the time of the
 * next try.
 */
void
sc_record_failure(int index, const char *summary, ErrorData *error, bool failed_inline)
{
	ScSummary  *entry = &sc_summaries[index];
	int64		now = sc_now();
	int64		wait;

	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	if (entry->dboid != MyDatabaseId || strcmp(NameStr(entry->name), summary) != 0)
	{
		/* the entry is another's by now */
		LWLockRelease(&entry->lock);
		return;
	}
	entry->failures++;
	entry->failed_inline = failed_inline;
	entry->builds_failed++;
	entry->error_code = error->sqlerrcode;
	strlcpy(entry->error, error->message ? error->message : "unknown error", SC_ERROR_LEN);
	entry->error_at = GetCurrentTimestamp();
	entry->failed_at = now;
	wait = entry->failures > 7 ? RETRY_LIMIT_NS :
		Min(RETRY_FIRST_NS << (entry->failures - 1), RETRY_LIMIT_NS);
	pg_atomic_write_u64(&entry->retry_at, now + wait);
	LWLockRelease(&entry->lock);
}
