/*-------------------------------------------------------------------------
 *
 * local.h
 *	  This backend's copies of documents.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_LOCAL_H
#define SC_LOCAL_H

#include "access/htup.h"
#include "lib/ilist.h"

#include "store.h"

/* A section of the document, or a part of one. */
typedef struct ScLocalSection
{
	NameData	name;
	int			part;			/* from 0, in the document's order */
	int			nparts;			/* of the section */
	bool		is_inline;
	bool		invalidated;
	uint64		lineage;		/* of what it was built from: see ScSectionDef */
	uint64		reading;
	TransactionId database;		/* see ScChunk */
	bool		has_meaning;	/* what its query means is known */
	int64		executed_at;	/* see ScChunk */
	ScLabel		label;
} ScLocalSection;

/* An etag, which is computed when it is asked for: by sc_local_etag(). */
typedef struct ScEtag
{
	int			nhashes;
	uint8		(*hashes)[SC_HASH_BYTES];	/* of the sections */
	char text[	SC_ETAG_LEN + 1];	/* "" until then */
} ScEtag;

/* A section in a document that was put together. */
typedef struct ScPiece
{
	uint8		hash[SC_HASH_BYTES];
	Size		offset;			/* from the opening brace */
} ScPiece;

/* What this backend knows of a summary's document. */
typedef struct ScLocal
{
	ScDocKey	key;			/* hash key */
	ScValues   *values;			/* NULL: without parameters */
	ScValues   *equal;			/* those that the entry has, which are equal;
								 * NULL: the same */
	dlist_node	node;			/* of those with parameters, by use */
	int			index;			/* of the shared entry; -1: none */
	bool		collides;		/* others that are not equal have its entry */
	uint64		version;		/* the entry's when this was read; 0: never */
	pg_atomic_uint64 *shared_version;	/* what the entry has now */
	int			counted;		/* whose index the counters of its reads have */

	/* What the version holds; in context. */
	MemoryContext context;
	int			nsections;		/* with each part of one; 0: nothing is cached */
	ScLocalSection *sections;
	ScLabel		label;			/* of all sections, each word once; read_at is
								 * the oldest's */
	int			nwords;
	pg_atomic_uint64 **words;	/* of the label, and what they hold if nothing */
	uint64	   *expected;		/* has changed and nothing is pending */
	bool		consistent;		/* there are sections, no word stands there
								 * with two revisions, those that have a
								 * position have the same, and none is
								 * invalidated */
	int64		executed_at;	/* the oldest section's, monotonic ns */
	TimestampTz built_at;		/* likewise, wall clock */
	uint64		xmax;			/* of the sections, the greatest */
	int			max_stale_age;	/* s, of this summary; SC_UNSET: the setting */
	ScEtag		etag;

	/* Who may read the version, as far as that was looked up: see reader.c. */
	bool		was_for_all;	/* everybody, when it was built */
	bool		for_all;		/* everybody */
	Oid			reader;			/* this role, at the version of the roles */
	uint64		reader_version;

	/*
	 * At which version and names word its queries were found to mean
	 * something else.
	 */
	uint64		unproven_version;
	uint64		unproven_names;

	/* The document itself, of document_version; NULL: not kept here. */
	text	   *document;
	uint64		document_version;
	Size		capacity;		/* bytes allocated for it */
	int			npieces;		/* that it consists of */
	int			max_pieces;		/* allocated */
	ScPiece    *pieces;
	uint64		handed_out;		/* epoch in which a pointer to it was returned */

	/* The row of a hit with a form, of row_version; NULL: none. */
	HeapTuple	row;
	uint64		row_version;
	Oid			row_type;
	int			row_forms;		/* asked for, as form.c numbers them */
	uint64		row_handed_out; /* as above */
} ScLocal;

extern ScLocal *sc_local_get(const char *summary, bool create);

/* The same of a document with parameters, or with NULL of the summary itself.  With
 * may_forget, those that were not used for the longest time are forgotten: a pointer to
 * one is good until the next such call. */
extern ScLocal *sc_local_get_document(const char *summary, const ScValues *values, bool may_forget);
extern void sc_local_sync(ScLocal *local, bool create);

/* It was looked, in vain, whether the queries of this version mean what they meant
 * when it was built: that need not be done again until other DDL comes. */
extern void sc_local_note_failed_proof(ScLocal *local);
extern bool sc_local_failed_proof(const ScLocal *local);

extern text *sc_local_document(ScLocal *local);
extern text *sc_local_assemble(ScChunk **chunks, int nchunks);

/* The row that is kept of the local version, for these forms and of this type; NULL:
 * none.  It may live until the transaction ends. */
extern HeapTuple sc_local_row(ScLocal *local, int forms, Oid type);

/* Can a row of so many bytes be kept?  The old one has then gone; the new one is to be
 * made in TopMemoryContext, and handed over. */
extern bool sc_local_can_keep_row(ScLocal *local, Size size);
extern void sc_local_keep_row(ScLocal *local, HeapTuple row, int forms);

/* A result of this size is to be returned: glibc shall keep the memory for it. */
extern void sc_local_warm_up(Size size);
extern bool sc_local_compose(ScLocal *local, ScChunk **own, int nown, ScEtag *etag, TimestampTz *built_at,
							 text **document);
extern void sc_local_sha256(const void *bytes, Size len, uint8 *digest);
extern void sc_local_etag_prepare(ScEtag *etag, ScChunk **chunks, int nchunks);
extern const char *sc_local_etag(ScEtag *etag);
extern bool sc_local_is_etag(ScEtag *etag, const text *known);

/* Seconds for which a document is served; -1 unlimited. */
static inline int
sc_local_stale_age(const ScLocal *local)
{
	return unlikely(local->max_stale_age != SC_UNSET) ? local->max_stale_age : sc_max_stale_age;
}

/* Past this part of max_stale_age a document is refreshed before it is too old. */
#define SC_AGING_PERCENT	80

/* Is what was labelled then to be renewed before it is too old to serve? */
static inline bool
sc_local_is_aging(const ScLocal *local, int64 executed_at, int64 now)
{
	return sc_local_stale_age(local) >= 0 &&
		now - executed_at > (int64) sc_local_stale_age(local) * (SC_NS_PER_S / 100 * SC_AGING_PERCENT);
}

#endif							/* SC_LOCAL_H */
