/*-------------------------------------------------------------------------
 *
 * local.c
 *	  This backend's copies of documents.
 *
 * A read returns a pointer to the backend's own copy.  That is safe since it
 * is written and freed only when nobody can hold the pointer:
 * a pointer returned in some transaction may live until that transaction ends,
 * and beyond that in a procedure which commits while it runs.  So a copy that
 * was handed out is kept until a transaction ends with no portal active, and
 * while it is kept newer versions are returned as ordinary copies in the
 * caller's memory.  There is at most one kept copy a summary.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "summary_cache.h"

/*
 * With documents of this size on, glibc gives the memory of each result back
 * to the system and takes it again at every statement, until it has once seen
 * a larger block freed.
 */
#define WARM_UP_FROM	(64 * 1024)
#define WARM_UP_SIZE	(4 * 1024 * 1024)

static HTAB *locals = NULL;
static Size documents_size = 0; /* bytes allocated for all kept documents */
static uint64 epoch = 1;		/* moves when no returned pointer can be held */

static void
xact_callback(XactEvent event, void *arg)
{
	if ((event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		 event == XACT_EVENT_PREPARE) && ActivePortal == NULL)
		epoch++;
}

/* This backend's view of a summary, not synchronised; NULL if it has none. */
ScLocal *
sc_local_get(const char *summary, bool create)
{
	static ScLocal *last = NULL;
	ScLocal    *local;
	bool		found;
	char		name[NAMEDATALEN] = {0};

	/* most sessions read one summary again and again */
	if (last && strcmp(NameStr(last->name), summary) == 0)
		return last;

	if (locals == NULL)
	{
		HASHCTL		info;

		info.keysize = NAMEDATALEN;
		info.entrysize = sizeof(ScLocal);
		info.hcxt = TopMemoryContext;
		locals = hash_create("summary_cache documents", 8, &info,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
		RegisterXactCallback(xact_callback, NULL);
	}
	if (strlcpy(name, summary, NAMEDATALEN) >= NAMEDATALEN)
		return NULL;
	local = hash_search(locals, name, create ? HASH_ENTER : HASH_FIND, &found);
	if (local == NULL)
		return NULL;
	if (!found)
	{
		memset((char *) local + sizeof(NameData), 0, sizeof(ScLocal) - sizeof(NameData));
		local->index = -1;
	}
	last = local;
	return local;
}

void
sc_sha256(const void *bytes, Size len, uint8 *digest)
{
	pg_cryptohash_ctx *sha = pg_cryptohash_create(PG_SHA256);
	bool		ok = sha && pg_cryptohash_init(sha) >= 0 &&
	pg_cryptohash_update(sha, bytes, len) >= 0 &&
	pg_cryptohash_final(sha, digest, SC_HASH_BYTES) >= 0;

	pg_cryptohash_free(sha);
	if (!ok)
		elog(ERROR, "could not compute SHA-256");
}

/* Prepare for sc_etag(), in the current memory context. */
void
sc_etag_prepare(ScEtag *etag, ScChunk **chunks, int nchunks)
{
	etag->text[0] = '\0';
	etag->nhashes = nchunks;
	etag->hashes = palloc(SC_HASH_BYTES * Max(nchunks, 1));
	for (int i = 0; i < nchunks; i++)
		memcpy(etag->hashes[i], chunks[i]->hash, SC_HASH_BYTES);
}

/*
 * Hash of all sections' hashes: the same sections give the same etag
 * everywhere.  Computed when it is first asked for, since most readers never
 * do.
 */
const char *
sc_etag(ScEtag *etag)
{
	if (unlikely(etag->text[0] == '\0'))
	{
		uint8		digest[SC_HASH_BYTES];

		sc_sha256(etag->hashes, SC_HASH_BYTES * etag->nhashes, digest);
		etag->text[hex_encode((char *) digest, SC_ETAG_LEN / 2, etag->text)] = '\0';
	}
	return etag->text;
}

/* The bytes of a document, with its header. */
static Size
document_size(ScChunk **chunks, int nchunks)
{
	Size		size = VARHDRSZ + 2 + Max(nchunks - 1, 0);

	for (int i = 0; i < nchunks; i++)
		size += chunks[i]->body_len;
	return size;
}

/*
 * Put sections together to a document.  Those of which a piece says that their
 * bytes are in their place already are not copied; the pieces then tell of the
 * new document.
 */
static void
fill_document(text *document, ScChunk **chunks, int nchunks, ScPiece *pieces, int npieces)
{
	char	   *p = VARDATA(document);

	*p++ = '{';
	for (int i = 0; i < nchunks; i++)
	{
		Size		offset;
		bool		is_there;

		if (i > 0)
			*p++ = ',';
		offset = p - VARDATA(document);
		is_there = pieces && i < npieces &&
			pieces[i].offset == offset &&
			memcmp(pieces[i].hash, chunks[i]->hash, SC_HASH_BYTES) == 0;
		if (!is_there)
			memcpy(p, SC_CHUNK_BODY(chunks[i]), chunks[i]->body_len);
		if (pieces)
		{
			pieces[i].offset = offset;
			memcpy(pieces[i].hash, chunks[i]->hash, SC_HASH_BYTES);
		}
		p += chunks[i]->body_len;
	}
	*p++ = '}';
	SET_VARSIZE(document, p - (char *) document);
}

/* A document of its own, in the current memory context. */
text *
sc_assemble(ScChunk **chunks, int nchunks)
{
	Size		size = document_size(chunks, nchunks);
	text	   *document;

	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the document is too large"),
				 errhint("A document has less than 1 GB.")));
	document = palloc(size);
	fill_document(document, chunks, nchunks, NULL, 0);
	return document;
}

static int
label_cmp(const void *a, const void *b)
{
	const ScLabel *la = a;
	const ScLabel *lb = b;

	if (la->slot != lb->slot)
		return la->slot < lb->slot ? -1 : 1;
	if (la->revision != lb->revision)
		return la->revision < lb->revision ? -1 : 1;
	return 0;
}

/* Copy what the sections say about themselves; all labels, each word once. */
static void
copy_sections(ScLocal *local, ScSummary *summary, ScChunk **chunks, int nchunks)
{
	int			section = summary->sections;
	int			total = 0;
	int			n = 0;

	for (int i = 0; i < nchunks; i++)
		total += chunks[i]->nlabels;
	local->sections = palloc(sizeof(ScLocalSection) * Max(nchunks, 1));
	local->labels = palloc(sizeof(ScLabel) * Max(total, 1));
	local->nsections = nchunks;
	local->consistent = true;
	local->oldest = PG_INT64_MAX;
	local->built_at = PG_INT64_MAX;
	local->xmax = 0;
	local->replayed = nchunks > 0 ? chunks[0]->replayed : InvalidXLogRecPtr;
	local->max_stale_age = summary->options.max_stale_age;

	for (int i = 0; i < nchunks; i++, section = sc_sections[section].next)
	{
		ScChunk    *chunk = chunks[i];
		ScLocalSection *mine = &local->sections[i];

		mine->name = chunk->section;
		mine->is_inline = chunk->is_inline;
		mine->invalidated = sc_sections[section].invalidated;
		mine->definition = chunk->definition;
		mine->labelled_at = chunk->labelled_at;
		mine->replayed = chunk->replayed;
		mine->nlabels = chunk->nlabels;
		mine->labels = palloc(sizeof(ScLabel) * Max(chunk->nlabels, 1));
		memcpy(mine->labels, chunk->labels, sizeof(ScLabel) * chunk->nlabels);
		memcpy(local->labels + n, chunk->labels, sizeof(ScLabel) * chunk->nlabels);
		n += chunk->nlabels;
		if (mine->invalidated || mine->replayed != local->replayed)
			local->consistent = false;
		local->oldest = Min(local->oldest, chunk->labelled_at);
		local->built_at = Min(local->built_at, chunk->built_at);
		local->xmax = Max(local->xmax, chunk->xmax);
	}

	qsort(local->labels, n, sizeof(ScLabel), label_cmp);
	local->nlabels = 0;
	for (int i = 0; i < n; i++)
	{
		ScLabel    *last = local->nlabels > 0 ? &local->labels[local->nlabels - 1] : NULL;

		if (last && last->slot == local->labels[i].slot)
		{
			if (last->revision != local->labels[i].revision)
				local->consistent = false;
			continue;
		}
		local->labels[local->nlabels++] = local->labels[i];
	}

	local->words = palloc(sizeof(pg_atomic_uint64 *) * (local->nlabels + 1));
	local->expected = palloc(sizeof(uint64) * (local->nlabels + 1));
	for (int i = 0; i < local->nlabels; i++)
	{
		local->words[i] = &sc_slots[local->labels[i].slot].slot.word;
		local->expected[i] = local->labels[i].revision << SC_PENDING_BITS;
	}
	local->nwords = local->nlabels;

	/* a position is not a matter of words alone: let them always differ */
	if (!XLogRecPtrIsInvalid(local->replayed))
	{
		local->words[local->nwords] = &sc_slots[SC_CLUSTER_SLOT].slot.word;
		local->expected[local->nwords++] = SC_NEVER_CURRENT << SC_PENDING_BITS;
	}
}

/* The chunks of a summary; caller holds its lock. */
static ScChunk **
summary_chunks(ScSummary *summary, int *nchunks)
{
	ScChunk   **chunks;

	*nchunks = 0;
	for (int i = summary->sections; i >= 0; i = sc_sections[i].next)
		(*nchunks)++;
	chunks = palloc(sizeof(ScChunk *) * Max(*nchunks, 1));
	*nchunks = 0;
	for (int i = summary->sections; i >= 0; i = sc_sections[i].next)
		chunks[(*nchunks)++] = dsa_get_address(sc_dsa(), sc_sections[i].chunk);
	return chunks;
}

static void
warm_up(Size size)
{
	static bool warm = false;

	if (warm || size < WARM_UP_FROM)
		return;
	warm = true;
	pfree(palloc(WARM_UP_SIZE));
}

static void
forget_document(ScLocal *local)
{
	if (local->document)
		pfree(local->document);
	local->document = NULL;
	local->npieces = 0;
	documents_size -= local->capacity;
	local->capacity = 0;
}

/*
 * Keep a copy of the document, if the old one may go and there is room.  Of the
 * old one, what has not changed stays where it is: of a large document mostly a
 * small section is new.  There is some room for it to grow.
 */
static void
keep_document(ScLocal *local, ScChunk **chunks, int nchunks)
{
	Size		size = document_size(chunks, nchunks);
	Size		wanted = size + size / 16;
	Size		limit = (Size) sc_local_memory_limit * 1024;

	if (local->document && local->handed_out == epoch)
		return;
	if (nchunks == 0 || size > local->capacity || local->capacity > wanted + wanted / 4 ||
		documents_size > limit)
		forget_document(local);
	if (nchunks == 0)
		return;
	if (nchunks > local->max_pieces)
	{
		Size		bytes = sizeof(ScPiece) * nchunks;

		local->pieces = local->pieces ? repalloc(local->pieces, bytes) :
			MemoryContextAlloc(TopMemoryContext, bytes);
		local->max_pieces = nchunks;
	}
	if (local->document == NULL)
	{
		if (wanted > MaxAllocSize || documents_size + wanted > limit)
			return;
		warm_up(size);
		local->document = MemoryContextAlloc(TopMemoryContext, wanted);
		local->capacity = wanted;
		documents_size += wanted;
	}
	/* nothing from here on raises an error: the pieces tell of what is there */
	fill_document(local->document, chunks, nchunks, local->pieces, local->npieces);
	local->npieces = nchunks;
	local->document_version = local->version;
	local->handed_out = 0;
}

/* Copy what the shared entry has; false if it is another summary's by now. */
static bool
copy_entry(ScLocal *local)
{
	ScSummary  *summary = &sc_summaries[local->index];
	MemoryContext old = MemoryContextSwitchTo(local->context);
	bool		ours;

	LWLockAcquire(&summary->lock, LW_SHARED);
	ours = summary->dboid == MyDatabaseId &&
		strcmp(NameStr(summary->name), NameStr(local->name)) == 0;
	if (ours)
	{
		int			nchunks;
		ScChunk   **chunks = summary_chunks(summary, &nchunks);

		copy_sections(local, summary, chunks, nchunks);
		sc_etag_prepare(&local->etag, chunks, nchunks);
		local->version = pg_atomic_read_u64(&summary->version);
		keep_document(local, chunks, nchunks);
	}
	LWLockRelease(&summary->lock);
	MemoryContextSwitchTo(old);
	return ours;
}

/*
 * Bring a local view up to the shared entry, which is created if need be and
 * wanted; index stays -1 if there is none.
 */
void
sc_local_sync(ScLocal *local, bool create)
{
	if (local->index >= 0 &&
		pg_atomic_read_u64(&sc_summaries[local->index].version) == local->version)
	{
		/* an older copy was still in use, and is not any more? */
		if (local->document == NULL || local->document_version == local->version ||
			local->handed_out == epoch)
			return;
	}

	if (local->context == NULL)
		local->context = AllocSetContextCreate(TopMemoryContext, "summary_cache labels",
											   ALLOCSET_SMALL_SIZES);
	(void) sc_dsa();

	/* the entry may have been given away since it was found */
	for (int attempt = 0; attempt < 2; attempt++)
	{
		if (local->index < 0)
			local->index = sc_summary_find(NameStr(local->name), create);
		MemoryContextReset(local->context);
		local->version = 0;
		local->nsections = 0;
		local->nlabels = local->nwords = 0;
		local->consistent = false;
		if (local->index < 0)
			break;
		if (copy_entry(local))
			return;
		local->index = -1;
	}
	keep_document(local, NULL, 0);
}

/*
 * The document of the local version: this backend's own copy, or an ordinary
 * one in the current memory context.  NULL if the version is no longer there.
 */
text *
sc_local_document(ScLocal *local)
{
	ScSummary  *summary = &sc_summaries[local->index];
	text	   *document = NULL;

	if (local->document && local->document_version == local->version)
	{
		local->handed_out = epoch;
		return local->document;
	}
	LWLockAcquire(&summary->lock, LW_SHARED);
	if (pg_atomic_read_u64(&summary->version) == local->version)
	{
		int			nchunks;
		ScChunk   **chunks = summary_chunks(summary, &nchunks);

		document = sc_assemble(chunks, nchunks);
	}
	LWLockRelease(&summary->lock);
	return document;
}
