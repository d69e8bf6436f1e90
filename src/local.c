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
 * caller's memory.  There is at most one kept copy a document.
 *
 * Of a hit with an encoded form, the whole row is kept by the same rules, so that the
 * next one takes neither a lock nor a copy.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "debug.h"
#include "local.h"
#include "shmem.h"

/*
 * With results of some size on, glibc gives their memory back to the system and
 * takes it again at every statement, until it has once seen a larger block freed.
 * Then it keeps up to twice that block.  A value in a row exists more often at once
 * than one by itself, so it begins earlier there.
 */
#define WARM_UP_FROM	(16 * 1024)
#define WARM_UP_SIZE	(512 * 1024)
#define WARM_UP_LARGE_FROM	(64 * 1024)
#define WARM_UP_LARGE_SIZE	(4 * 1024 * 1024)

/*
 * A kept copy has room for its document to grow by one part in GROWTH_SHARE, and
 * is given back if it is larger than that by more than one part in WASTE_SHARE.
 */
#define GROWTH_SHARE	16
#define WASTE_SHARE		4

/* Bytes that are hashed between two looks at interrupts. */
#define HASHED_PIECE	(1024 * 1024)

static HTAB *locals = NULL;
static Size documents_size = 0; /* bytes allocated for all kept documents and
								 * rows */
static uint64 epoch = 1;		/* moves when no returned pointer can be held */

/* A copy, or a row, whose view was forgotten while somebody may hold a pointer to it. */
typedef struct Held
{
	struct Held *next;
	void	   *memory;
	Size		size;
} Held;

static Held *held = NULL;		/* of this epoch */

static void
local_callback(XactEvent event, void *arg)
{
	if ((event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		 event != XACT_EVENT_PREPARE) || ActivePortal != NULL)
		return;
	epoch++;
	while (held)
	{
		Held	   *this = held;

		held = this->next;
		documents_size -= this->size;
		pfree(this->memory);
		pfree(this);
	}
}

/* As many documents with parameters a backend knows of. */
#define MAX_DOCUMENTS	1000

static dlist_head by_use = DLIST_STATIC_INIT(by_use);	/* those with
														 * parameters, the last
														 * used first */
static int	ndocuments = 0;
static ScLocal *last = NULL;	/* most sessions read one summary again and
								 * again */

static bool is_held(const ScLocal *local);
static void forget_document(ScLocal *local);
static Size row_size(HeapTuple row);
static void forget_row(ScLocal *local);

static uint32
key_hash(const void *key, Size size)
{
	const ScDocKey *of = key;
	uint64		hash = of->values;	/* which is one already */
	uint64		words[NAMEDATALEN / sizeof(uint64)];

	/* there are zeros behind the name */
	memcpy(words, &of->summary, sizeof(words));
	for (int i = 0; i < lengthof(words); i++)
		hash = hash * 31 + words[i];
	return (uint32) ((hash * UINT64CONST(0x9E3779B97F4A7C15)) >> 32);
}

/* Find what a key has, or make it. */
static ScLocal *
find(const ScDocKey *key, bool create, bool *found)
{
	ScLocal    *local;

	if (locals == NULL)
	{
		HASHCTL		info;

		info.keysize = sizeof(ScDocKey);
		info.entrysize = sizeof(ScLocal);
		info.hash = key_hash;
		info.hcxt = TopMemoryContext;
		locals = hash_create("summary_cache documents", 8, &info,
							 HASH_ELEM | HASH_FUNCTION | HASH_CONTEXT);
		RegisterXactCallback(local_callback, NULL);
	}
	local = hash_search(locals, key, create ? HASH_ENTER : HASH_FIND, found);
	if (local && !*found)
	{
		memset((char *) local + sizeof(ScDocKey), 0, sizeof(ScLocal) - sizeof(ScDocKey));
		local->index = -1;
	}
	return local;
}

/* This backend's view of a summary, not synchronised; NULL if it has none. */
ScLocal *
sc_local_get(const char *summary, bool create)
{
	ScLocal    *local;
	bool		found;
	ScDocKey	key;

	if (last && last->values == NULL && strcmp(NameStr(last->key.summary), summary) == 0)
		return last;
	if (strlen(summary) >= NAMEDATALEN)
		return NULL;
	key = sc_store_key(summary, NULL);
	local = find(&key, create, &found);
	if (local)
		last = local;
	return local;
}

/* Keep what somebody may hold a pointer to, and not with its view. */
static void
set_aside(void *memory, Size size)
{
	Held	   *this = MemoryContextAlloc(TopMemoryContext, sizeof(Held));

	this->memory = memory;
	this->size = size;
	this->next = held;
	held = this;
}

/* What somebody may hold a pointer to stays for as long, without its view. */
static void
part_with_held(ScLocal *local)
{
	if (is_held(local))
	{
		set_aside(local->document, local->capacity);
		local->document = NULL;
		local->capacity = 0;
	}
	if (local->row && local->row_handed_out == epoch)
	{
		set_aside(local->row, row_size(local->row));
		local->row = NULL;
	}
}

/* Forget one; its memory is given back. */
static void
forget(ScLocal *local)
{
	part_with_held(local);
	forget_document(local);
	forget_row(local);
	if (local->pieces)
		pfree(local->pieces);
	if (local->context)
		MemoryContextDelete(local->context);
	pfree(local->values);
	if (local->equal)
		pfree(local->equal);
	dlist_delete(&local->node);
	ndocuments--;
	if (last == local)
		last = NULL;
	(void) hash_search(locals, &local->key, HASH_REMOVE, NULL);
}

static ScValues *
copy_values(const ScValues *values)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ScValues   *mine = sc_values_copy(values);

	MemoryContextSwitchTo(old);
	return mine;
}

/*
 * Take the place of the one that was not used for the longest time for another.  What
 * was allocated for it serves that one: the pieces tell what the bytes of the copy are.
 */
static ScLocal *
take_over(const ScDocKey *key, const ScValues *values)
{
	ScLocal    *local = dlist_tail_element(ScLocal, node, &by_use);
	ScValues   *mine = local->values->size == values->size ? local->values : copy_values(values);
	ScLocal		old;

	part_with_held(local);
	forget_row(local);
	old = *local;
	if (!hash_update_hash_key(locals, local, key))
		elog(ERROR, "a document is known twice");	/* cannot happen */
	memset((char *) local + sizeof(ScDocKey), 0, sizeof(ScLocal) - sizeof(ScDocKey));
	local->index = -1;
	local->node = old.node;
	local->context = old.context;
	local->document = old.document;
	local->capacity = old.capacity;
	local->document_version = old.document_version;
	local->npieces = old.document ? old.npieces : 0;
	local->max_pieces = old.max_pieces;
	local->pieces = old.pieces;
	if (old.equal)
		pfree(old.equal);
	if (mine == old.values)
		memcpy(mine, values, values->size);
	else
		pfree(old.values);
	local->values = mine;
	dlist_move_head(&by_use, &local->node);
	return local;
}

ScLocal *
sc_local_get_document(const char *summary, const ScValues *values, bool may_forget)
{
	ScLocal    *local;
	bool		found;
	ScDocKey	key;

	if (values == NULL)
		return sc_local_get(summary, true);
	key = sc_store_key(summary, values);
	local = find(&key, false, &found);
	if (local == NULL)
	{
		/* a build may have left more */
		while (may_forget && ndocuments > MAX_DOCUMENTS)
			forget(dlist_tail_element(ScLocal, node, &by_use));
		if (may_forget && ndocuments == MAX_DOCUMENTS)
			local = take_over(&key, values);
		else
		{
			ScValues   *mine = copy_values(values);

			local = find(&key, true, &found);
			local->values = mine;
			dlist_push_head(&by_use, &local->node);
			ndocuments++;
		}
	}
	else
		dlist_move_head(&by_use, &local->node);
	if (!sc_values_identical(local->values, values) && !sc_values_equal(local->values, values))
	{
		/* of two lists with the same hash the last one is known */
		ScValues   *mine = copy_values(values);

		pfree(local->values);
		local->values = mine;
		/* what was equal to those before is not to these */
		if (local->equal)
			pfree(local->equal);
		local->equal = NULL;
		local->version = 0;
		local->index = -1;
	}
	last = local;
	return local;
}

void
sc_local_sha256(const void *bytes, Size len, uint8 *digest)
{
	pg_cryptohash_ctx *sha = pg_cryptohash_create(PG_SHA256);
	bool		ok = sha && pg_cryptohash_init(sha) >= 0;

	for (Size done = 0; ok && done < len; done += HASHED_PIECE)
	{
		/* on an error it is freed by its context or its resource owner */
		if (done > 0)
			CHECK_FOR_INTERRUPTS();
		ok = pg_cryptohash_update(sha, (const uint8 *) bytes + done, Min(len - done, HASHED_PIECE)) >= 0;
	}
	ok = ok && pg_cryptohash_final(sha, digest, SC_HASH_BYTES) >= 0;
	pg_cryptohash_free(sha);
	if (!ok)
		elog(ERROR, "could not compute SHA-256");
}

/* Prepare for sc_local_etag(), in the current memory context. */
void
sc_local_etag_prepare(ScEtag *etag, ScChunk **chunks, int nchunks)
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
sc_local_etag(ScEtag *etag)
{
	if (unlikely(etag->text[0] == '\0'))
	{
		uint8		digest[SC_HASH_BYTES];

		sc_local_sha256(etag->hashes, SC_HASH_BYTES * etag->nhashes, digest);
		etag->text[hex_encode((char *) digest, SC_ETAG_LEN / 2, etag->text)] = '\0';
	}
	return etag->text;
}

bool
sc_local_is_etag(ScEtag *etag, const text *known)
{
	return VARSIZE_ANY_EXHDR(known) == SC_ETAG_LEN &&
		memcmp(VARDATA_ANY(known), sc_local_etag(etag), SC_ETAG_LEN) == 0;
}

/* The bytes of a document, with its header. */
static Size
document_size(ScChunk **chunks, int nchunks)
{
	Size		size = VARHDRSZ + 2 + Max(nchunks - 1, 0);

	for (int i = 0; i < nchunks; i++)
		size += sc_chunk_body_len(chunks[i]);
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
			memcpy(p, SC_CHUNK_BODY(chunks[i]), sc_chunk_body_len(chunks[i]));
		if (pieces)
		{
			pieces[i].offset = offset;
			memcpy(pieces[i].hash, chunks[i]->hash, SC_HASH_BYTES);
		}
		p += sc_chunk_body_len(chunks[i]);
	}
	*p++ = '}';
	SET_VARSIZE(document, p - (char *) document);
}

void
sc_local_warm_up(Size size)
{
	static Size warm = 0;
	Size		wanted = size < WARM_UP_LARGE_FROM ? WARM_UP_SIZE : WARM_UP_LARGE_SIZE;

	if (size < WARM_UP_FROM || likely(wanted <= warm))
		return;
	warm = wanted;
	pfree(palloc(wanted));
}

/* A document of its own, in the current memory context. */
text *
sc_local_assemble(ScChunk **chunks, int nchunks)
{
	Size		size = document_size(chunks, nchunks);
	text	   *document;

	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the document is too large"),
				 errhint("A document has less than 1 GB.")));
	sc_local_warm_up(size);
	document = palloc(size);
	fill_document(document, chunks, nchunks, NULL, 0);
	return document;
}

static int
word_cmp(const void *a, const void *b)
{
	const ScWordSeen *wa = a;
	const ScWordSeen *wb = b;

	if (wa->slot != wb->slot)
		return wa->slot < wb->slot ? -1 : 1;
	if (wa->revision != wb->revision)
		return wa->revision < wb->revision ? -1 : 1;
	return 0;
}

/* Bring the words of all sections into order, each once. */
static void
merge_words(ScLocal *local)
{
	ScLabel    *label = &local->label;
	int			n = 0;
	bool		in_order = true;

	for (int i = 1; in_order && i < label->nwords; i++)
		in_order = label->words[i - 1].slot < label->words[i].slot;
	if (in_order)
		return;
	qsort(label->words, label->nwords, sizeof(ScWordSeen), word_cmp);
	for (int i = 0; i < label->nwords; i++)
	{
		if (n > 0 && label->words[n - 1].slot == label->words[i].slot)
		{
			if (label->words[n - 1].revision != label->words[i].revision)
				local->consistent = false;
			continue;
		}
		label->words[n++] = label->words[i];
	}
	label->nwords = n;
}

/*
 * What the words hold as long as nothing has changed: for words_unchanged() of cache.c.
 * There is room for one more than the label has.
 */
static void
expect_words(ScLocal *local)
{
	ScLabel    *label = &local->label;

	local->nwords = label->nwords;
	for (int i = 0; i < label->nwords; i++)
	{
		local->words[i] = sc_word_address(&label->words[i]);
		local->expected[i] = sc_word_at_rest(&label->words[i]);
	}

	/*
	 * words alone do not prove a label with a position: add one that never
	 * fits
	 */
	if (sc_label_has_position(label))
	{
		ScWordSeen	never = {SC_CLUSTER_SLOT, SC_NEVER_CURRENT};

		local->words[local->nwords] = sc_word_address(&never);
		local->expected[local->nwords++] = sc_word_at_rest(&never);
	}
}

/* Copy what the sections say about themselves, in the local context. */
static void
copy_sections(ScLocal *local, const ScView *view)
{
	ScLabel    *all = &local->label;
	ScWordSeen *words;
	int			total = 0;

	for (int i = 0; i < view->nchunks; i++)
		total += (int) view->chunks[i]->nwords;
	/* all in one piece: there may be another document at each read */
	local->expected = palloc((sizeof(pg_atomic_uint64 *) + sizeof(uint64)) * (total + 1) +
							 sizeof(ScLocalSection) * view->nchunks + sizeof(ScWordSeen) * total * 2);
	/* from the widest alignment to the narrowest */
	local->sections = (ScLocalSection *) (local->expected + total + 1);
	local->words = (pg_atomic_uint64 **) (local->sections + view->nchunks);
	all->words = (ScWordSeen *) (local->words + total + 1);
	words = all->words + total;
	local->nsections = view->nchunks;
	local->consistent = view->nchunks > 0;
	local->was_for_all = view->nchunks > 0;
	local->executed_at = PG_INT64_MAX;
	local->built_at = PG_INT64_MAX;
	local->xmax = 0;
	local->max_stale_age = view->max_stale_age;
	all->nwords = 0;
	all->definition = 0;
	all->read_at = PG_INT64_MAX;
	all->replayed = InvalidXLogRecPtr;

	for (int i = 0; i < view->nchunks; i++)
	{
		ScChunk    *chunk = view->chunks[i];
		ScLocalSection *mine = &local->sections[i];
		Size		bytes = sizeof(ScWordSeen) * chunk->nwords;

		memcpy(NameStr(mine->name), SC_CHUNK_SECTION(chunk), chunk->section_len + 1);
		mine->part = chunk->part;
		mine->nparts = chunk->nparts;
		mine->is_inline = chunk->is_inline;
		local->was_for_all = local->was_for_all && chunk->for_all;
		mine->lineage = chunk->lineage;
		mine->reading = chunk->reading;
		mine->database = chunk->database;
		mine->executed_at = chunk->executed_at;
		local->executed_at = Min(local->executed_at, chunk->executed_at);
		mine->has_meaning = sc_meaning_is_known(&chunk->meaning);
		mine->invalidated = view->invalidated[i];
		mine->label = sc_chunk_label(chunk);
		mine->label.words = words;
		words += chunk->nwords;
		memcpy(mine->label.words, chunk->words, bytes);
		memcpy(all->words + all->nwords, chunk->words, bytes);
		all->nwords += mine->label.nwords;
		if (sc_label_has_position(&mine->label))
		{
			if (sc_label_has_position(all) && mine->label.replayed != all->replayed)
				local->consistent = false;
			all->replayed = mine->label.replayed;
		}
		if (mine->invalidated)
			local->consistent = false;
		all->read_at = Min(all->read_at, mine->label.read_at);
		local->built_at = Min(local->built_at, chunk->built_at);
		local->xmax = Max(local->xmax, chunk->xmax);
	}
	merge_words(local);
	expect_words(local);
}

/* May somebody hold a pointer to the copy? */
static bool
is_held(const ScLocal *local)
{
	return local->document && local->handed_out == epoch;
}

/* Give the copy back, if it may go. */
static void
forget_document(ScLocal *local)
{
	if (is_held(local))
		return;
	if (local->document)
		pfree(local->document);
	local->document = NULL;
	local->npieces = 0;
	documents_size -= local->capacity;
	local->capacity = 0;
}

static Size
row_size(HeapTuple row)
{
	return HEAPTUPLESIZE + row->t_len;
}

/* The same for the row. */
static void
forget_row(ScLocal *local)
{
	if (local->row == NULL || local->row_handed_out == epoch)
		return;
	documents_size -= row_size(local->row);
	pfree(local->row);
	local->row = NULL;
}

HeapTuple
sc_local_row(ScLocal *local, int forms, Oid type)
{
	if (local->row == NULL || local->row_version != local->version ||
		local->row_forms != forms || local->row_type != type)
		return NULL;
	local->row_handed_out = epoch;
	return local->row;
}

bool
sc_local_can_keep_row(ScLocal *local, Size size)
{
	forget_row(local);
	return local->row == NULL && documents_size + size <= (Size) sc_local_memory_limit * 1024;
}

void
sc_local_keep_row(ScLocal *local, HeapTuple row, int forms)
{
	local->row = row;
	local->row_version = local->version;
	local->row_type = HeapTupleHeaderGetTypeId(row->t_data);
	local->row_forms = forms;
	local->row_handed_out = epoch;
	documents_size += row_size(row);
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
	Size		wanted = size + size / GROWTH_SHARE;
	Size		limit = (Size) sc_local_memory_limit * 1024;

	if (is_held(local))
		return;
	if (size > local->capacity || local->capacity > wanted + wanted / WASTE_SHARE ||
		documents_size > limit)
		forget_document(local);
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
		sc_local_warm_up(size);
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

/* A document with parameters of this size is copied with what is said about it. */
#define SMALL_DOCUMENT	8192

/*
 * Copy what the shared entry has, but for a large document; false if it is another
 * summary's by now, or that of values with the same hash that are not equal to ours.
 */
static bool
copy_entry(ScLocal *local)
{
	MemoryContext old = MemoryContextSwitchTo(local->context);
	ScView		view;
	bool		ours;

	for (;;)
	{
		ScValues   *others;

		ours = sc_store_open(local->index, &local->key, &view);
		if (!ours || view.values == NULL || sc_store_has_values(view.values, local->values, local->equal))
			break;
		/* what compares them takes no lock along */
		MemoryContextSwitchTo(TopMemoryContext);
		others = sc_values_copy(view.values);
		sc_store_close(local->index);
		MemoryContextSwitchTo(local->context);
		if (!sc_values_equal(others, local->values))
		{
			pfree(others);
			local->collides = true;
			ours = false;
			break;
		}
		if (local->equal)
			pfree(local->equal);
		local->equal = others;
	}
	if (ours)
	{
		copy_sections(local, &view);
		sc_local_etag_prepare(&local->etag, view.chunks, view.nchunks);
		local->version = view.version;
		local->shared_version = sc_store_version(local->index);
		local->counted = view.counted;

		/*
		 * which spares another look at the entry: there may be many such
		 * documents
		 */
		if (local->values && document_size(view.chunks, view.nchunks) <= SMALL_DOCUMENT)
			keep_document(local, view.chunks, view.nchunks);
		sc_store_close(local->index);
		if (view.nchunks == 0)
		{
			forget_document(local);
			forget_row(local);
		}
	}
	MemoryContextSwitchTo(old);
	return ours;
}

/*
 * Bring a local view up to the shared entry, which is created if need be and
 * wanted; index stays -1 if there is none.  The document is copied when it is
 * first asked for: many who look at a summary never do.
 */
void
sc_local_sync(ScLocal *local, bool create)
{
	if (local->index >= 0 && sc_store_version_now(local->index) == local->version)
		return;

	if (local->context == NULL)
		local->context = AllocSetContextCreate(TopMemoryContext, "summary_cache local",
											   ALLOCSET_SMALL_SIZES);
	sc_store_attach();

	/* the entry may have been given away since it was found */
	local->collides = false;
	for (int attempt = 0; attempt < 2 && !local->collides; attempt++)
	{
		if (local->index < 0)
			local->index = create ? sc_store_find_or_create(&local->key, local->values) :
				sc_store_find(&local->key);
		MemoryContextReset(local->context);
		local->version = 0;
		local->was_for_all = local->for_all = false;
		local->reader = InvalidOid;
		local->nsections = 0;
		local->label.nwords = local->nwords = 0;
		local->consistent = false;
		if (local->index < 0)
			break;
		if (copy_entry(local))
			return;
		local->index = -1;
	}
	forget_document(local);
	forget_row(local);
}

static uint64
names_revision(void)
{
	ScWordState state;

	sc_word_state(sc_slot_of_names(), &state);
	return state.revision;
}

void
sc_local_note_failed_proof(ScLocal *local)
{
	local->unproven_version = local->version;
	local->unproven_names = names_revision();
}

bool
sc_local_failed_proof(const ScLocal *local)
{
	return local->unproven_version == local->version && local->unproven_names == names_revision();
}

/* Is the copy that is kept of the local version? */
static inline bool
has_document(const ScLocal *local)
{
	return local->document && local->document_version == local->version;
}

/*
 * The document of the local version: this backend's own copy, or an ordinary
 * one in the current memory context.  NULL if the version is no longer there.
 */
text *
sc_local_document(ScLocal *local)
{
	text	   *document = NULL;
	ScView		view;

	if (unlikely(!has_document(local)))
	{
		if (!sc_store_open(local->index, &local->key, &view))
			return NULL;
		SC_POINT("copy");
		if (view.version == local->version)
		{
			keep_document(local, view.chunks, view.nchunks);
			if (!has_document(local))
				document = sc_local_assemble(view.chunks, view.nchunks);
		}
		sc_store_close(local->index);
		if (!has_document(local))
			return document;
	}
	local->handed_out = epoch;
	return local->document;
}

/*
 * The document of the local version with sections of the caller's own in it: the chunks
 * of each section, or NULLs, stand in for the cached ones.  document is NULL if only the
 * rest is asked for.  False if the version is no longer there.
 */
bool
sc_local_compose(ScLocal *local, ScChunk **own, int nown, ScEtag *etag, TimestampTz *built_at, text **document)
{
	ScView		view;
	ScChunk   **chunks;
	int			n = 0;
	bool		is_there;

	if (!sc_store_open(local->index, &local->key, &view))
		return false;
	is_there = view.version == local->version;
	if (is_there)
	{
		chunks = palloc(sizeof(ScChunk *) * Max(view.nchunks + nown, 1));
		for (int i = 0; i < view.nchunks; i++)
		{
			ScChunk    *chunk = view.chunks[i];
			bool		is_own = false;

			for (int o = 0; o < nown; o++)
			{
				if (own[o] == NULL || strcmp(SC_CHUNK_SECTION(own[o]), SC_CHUNK_SECTION(chunk)) != 0)
					continue;
				is_own = true;
				if (chunk->part == 0)
					chunks[n++] = own[o];
			}
			if (!is_own)
				chunks[n++] = chunk;
		}
		*built_at = PG_INT64_MAX;
		for (int i = 0; i < n; i++)
			*built_at = Min(*built_at, chunks[i]->built_at);
		sc_local_etag_prepare(etag, chunks, n);
		if (document)
			*document = sc_local_assemble(chunks, n);
	}
	sc_store_close(local->index);
	return is_there;
}
