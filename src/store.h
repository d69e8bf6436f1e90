/*-------------------------------------------------------------------------
 *
 * store.h
 *	  The store: each summary's entry, and the document that it holds.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_STORE_H
#define SC_STORE_H

#include "storage/condition_variable.h"
#include "utils/dsa.h"

#include "counters.h"
#include "label.h"
#include "settings.h"
#include "values.h"

#define SC_HASH_BYTES	32		/* SHA-256 */
#define SC_ETAG_LEN		32		/* hex digits: 128 bits of it */
#define SC_ERROR_LEN	512

/*
 * What has a document: a summary or, if it has parameters, the summary and the values
 * for these, by their hash.  Two lists of values that have the same hash, and are not
 * equal, are told apart by who knows the values (local.c).
 */
typedef struct ScDocKey
{
	NameData	summary;		/* with zeros behind it */
	uint64		values;			/* ScValues.hash; 0: the summary itself */
} ScDocKey;

/*
 * What a query did not read or call when it was defined, so that its changes
 * might go unnoticed.
 */
typedef struct ScStranger
{
	Oid			table;
	Oid			function;		/* that cannot be seen into */
} ScStranger;

/* What a query means, as meaning.c has it: half of a SHA-256; all zero: it is not known. */
typedef struct ScMeaning
{
	uint64		halves[2];
} ScMeaning;

static inline bool
sc_meaning_is_known(const ScMeaning *meaning)
{
	return (meaning->halves[0] | meaning->halves[1]) != 0;
}

static inline bool
sc_meaning_is_same(const ScMeaning *a, const ScMeaning *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

/*
 * A built section, or a built part of one: immutable once published, but for what
 * comes next, and freed under the summary's lock.  Of a section all parts are there.
 * Variable part: the label's words, then the section's name and the keys (each with its
 * terminating zero), then the members of the JSON object without the braces.
 */
typedef struct ScChunk
{
	dsa_pointer next;			/* the section's next part, in shared memory;
								 * under the summary's lock */
	uint32		size;			/* of the whole, bytes */
	int16		part;			/* from 0, in the document's order */
	int16		nparts;			/* that the section has */
	bool		is_inline;
	bool		for_all;		/* option readers was not set */
	uint8		section_len;	/* of the section's name */
	TransactionId database;		/* that made or altered the database: see
								 * build.c */
	ScStranger	stranger;
	uint64		definition;		/* hash of what it was built from */
	uint64		lineage;		/* of that definition: see ScSectionDef */
	uint64		reading;
	ScMeaning	meaning;		/* of the query */
	int64		executed_at;	/* labelled_at of the build that executed the
								 * query; later ones have proven that it would
								 * give the same */
	int64		labelled_at;	/* monotonic ns, just before the label was
								 * read; of what was loaded it may be negative */
	TimestampTz built_at;		/* wall clock of the snapshot */
	int64		build_ns;
	uint64		xmax;			/* full xid: nothing from here on is in it */
	XLogRecPtr	replayed;		/* built on a standby: see label.c */
	uint8		hash[SC_HASH_BYTES];	/* of the members */
	uint32		nwords;
	uint32		nkeys;
	uint32		body_offset;
	ScWordSeen	words[FLEXIBLE_ARRAY_MEMBER];
} ScChunk;

/*
 * An encoded form of a document, which is beside it in the same memory, and goes with
 * it.  It is of the document that has this etag, whatever the summary has by now.
 */
typedef struct ScForm
{
	dsa_pointer next;			/* the document's next form, in shared memory;
								 * under the entry's lock */
	ScEncoding	encoding;
	Size		size;			/* of the whole, bytes */
	char		etag[SC_ETAG_LEN + 1];	/* the document's own */
	uint32		len;			/* of the encoded bytes; 0: encoding it is of
								 * no use, it would be no smaller */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} ScForm;

/* What there is of the forms that a reader would take. */
typedef enum ScFormState
{
	SC_FORM_THERE,
	SC_FORM_SECOND,				/* there; one before it is to be made */
	SC_FORM_MISSING,			/* to be made: one of them is wanted */
	SC_FORM_NONE				/* nor will there be one */
} ScFormState;

/* Where the section's name begins in a chunk whose label has so many words. */
static inline Size
sc_chunk_name_offset(int nwords)
{
	return offsetof(ScChunk, words) + sizeof(ScWordSeen) * nwords;
}

#define SC_CHUNK_SECTION(c) ((char *) (c) + sc_chunk_name_offset((int) (c)->nwords))
#define SC_CHUNK_KEYS(c) (SC_CHUNK_SECTION(c) + (c)->section_len + 1)
#define SC_CHUNK_BODY(c) ((char *) (c) + (c)->body_offset)

static inline uint32
sc_chunk_body_len(const ScChunk *chunk)
{
	return chunk->size - chunk->body_offset;
}

/* The label of a chunk; its words are the chunk's own. */
static inline ScLabel
sc_chunk_label(ScChunk *chunk)
{
	ScLabel		label = {chunk->words, (int) chunk->nwords, chunk->replayed,
	chunk->labelled_at, chunk->definition};

	return label;
}

static inline bool
sc_chunk_is_loaded(ScChunk *chunk)
{
	ScLabel		label = sc_chunk_label(chunk);

	return sc_label_is_loaded(&label);
}

/* Why something was built. */
typedef enum ScCause
{
	SC_BUILD_MISS,
	SC_BUILD_FORCED,
	SC_BUILD_INLINE,
	SC_BUILD_BACKGROUND,
	SC_BUILD_PRIVATE,
	SC_BUILD_CAUSES
} ScCause;

/*
 * What sessions ask of the worker for one summary, and when.  All of it is read
 * and written without a lock.
 */
typedef struct ScRequests
{
	pg_atomic_uint32 refresh;	/* ScRefresh, of several: set by readers,
								 * cleared by the worker before it reads its
								 * labels */
	pg_atomic_uint32 notify;	/* likewise by those who published: listeners
								 * are to be notified */
	pg_atomic_uint32 forms;		/* as notify: encoded forms are to be made */
	pg_atomic_uint32 boarding;	/* readers that wait for their turn to build,
								 * with a lock */
	pg_atomic_uint32 pauses;	/* see paused_until: one after the other */
	pg_atomic_uint32 refresh_us;	/* how long the last background refresh
									 * took, 71 minutes at most */
	pg_atomic_uint64 retry_at;	/* monotonic ns before which no refresh is
								 * tried */
	pg_atomic_uint64 requested_at;	/* monotonic ns of the oldest request that
									 * is not carried out; 0: none, or it is
									 * being made */
	pg_atomic_uint64 claimed;	/* by the worker that builds it: see
								 * request.c; 0: by none */
	pg_atomic_uint64 refreshed_at;	/* monotonic ns of the last background
									 * refresh */
	pg_atomic_uint64 paused_until;	/* monotonic ns: put back, since another
									 * session held a lock */
	pg_atomic_uint64 tried[2];	/* a worker's last try that has ended, of
								 * inline sections alone and of the others:
								 * ScTry, and above it when it began,
								 * monotonic ns; 0: there was none */
	pg_atomic_uint64 proving;	/* monotonic ns since when a reader finds out
								 * whether queries mean what they meant; 0:
								 * none does.  Who is gone leaves it */
	pg_atomic_uint64 forms_at;	/* monotonic ns before which none are made */
} ScRequests;

/* What is asked of the worker. */
typedef enum ScRefresh
{
	SC_REFRESH_DUE = 1,			/* when the summary has rested */
	/* a reader waits for it: */
	SC_REFRESH_INLINE = 2,		/* inline sections that are not current */
	SC_REFRESH_NEEDED = 4,		/* all that is not current */
	SC_REFRESH_ALL = 8			/* everything */
} ScRefresh;

#define SC_REFRESH_AWAITED	(SC_REFRESH_INLINE | SC_REFRESH_NEEDED | SC_REFRESH_ALL)

/* What came of a worker's try. */
typedef enum ScTry
{
	SC_TRY_DONE,				/* what is published is current as of when it
								 * began */
	SC_TRY_FAILED,
	SC_TRY_UNPUBLISHED,			/* for want of room, or it was given an xid */
	SC_TRY_GAVE_WAY,			/* to a lock or an invalidation: once more */
	SC_TRY_NONE,				/* no worker could be had */
	SC_TRY_LATE,				/* it takes longer than builds may */
	SC_TRY_LOCK_TIMEOUT
} ScTry;

#define SC_TRY_BITS	3

/* When a build began, and after which DDL. */
typedef struct ScBegun
{
	int64		at;				/* monotonic ns */
	uint64		ddl;			/* the database's and the cluster's, of before
								 * the build: what came after that may have
								 * mended, or caused, what has failed */
} ScBegun;

/* The last failure; cleared by success, but for its times. */
typedef struct ScFailure
{
	uint32		failures;		/* consecutive */
	bool		of_inline;		/* only inline sections were built */
	int			code;			/* SQLSTATE, MAKE_SQLSTATE form */
	char		message[SC_ERROR_LEN];
	TimestampTz at;
	ScBegun		begun;			/* of the build, before it read anything */
} ScFailure;

typedef struct ScBuildStats
{
	uint64		builds[SC_BUILD_CAUSES];
	uint64		failed;
	uint64		wasted;			/* the bytes were what they had been */
	uint64		unpublished;	/* built, but there was no room: memory_limit
								 * or max_sections, or it is too large */
	uint64		evicted;		/* its document gave way to another */
	uint64		forms_made;
	uint64		forms_failed;
	uint64		forms_not_kept; /* for want of room */
	int64		ns_min;
	int64		ns_max;
	int64		ns_total;		/* over published and unpublished builds */
	TimestampTz reset_at;
} ScBuildStats;

/* A look at a document that stays as it is until sc_store_close(). */
typedef struct ScView
{
	int			nchunks;
	ScChunk   **chunks;			/* in shared memory, in the document's order */
	bool	   *invalidated;	/* of each: by summary_cache_invalidate() */
	uint64		version;
	int			max_stale_age;	/* s; SC_UNSET: the setting */
	const ScValues *values;		/* in shared memory; NULL: without parameters */
	int			counted;		/* whose index the counters of its reads have */
} ScView;

/* What is to be published. */
typedef struct ScPublication
{
	ScDocKey	key;
	const ScValues *values;		/* of a document with parameters: those that
								 * it was built for */
	const ScValues *equal;		/* and others that equal them, which the entry
								 * may have; or NULL */
	uint64		generation;		/* as it was before the build */
	int			nsections;		/* of the definition, in its order */
	const char **names;			/* theirs */
	const int  *first;			/* where the parts of each begin among the
								 * chunks, and how many these are in all */
	ScChunk   **chunks;			/* of their parts; NULL: not built */
	const int64 *expected;		/* of a part that was not built, in a section
								 * of which something was: when its label was
								 * read.  Else it is not published */
	bool		complete;		/* no NULL */
	bool		of_inline;		/* inline sections alone, beside others */
	ScOptions	options;
} ScPublication;

typedef enum ScPutResult
{
	SC_PUT_CHANGED,				/* published */
	SC_PUT_SAME,				/* published; the bytes were what they had
								 * been */
	SC_PUT_OUTDATED,			/* the entry was invalidated or given away */
	/* not published, for want of room: */
	SC_PUT_NO_MEMORY,
	SC_PUT_NO_SECTIONS,
	SC_PUT_OVER_LIMIT,			/* the summary's own */
	SC_PUT_TOO_LARGE			/* nobody could read it */
} ScPutResult;

/* What has given way to others since the server started, of all databases. */
typedef struct ScEvictions
{
	uint64		documents;
	uint64		entries;
} ScEvictions;

/*
 * A document as it is saved and loaded (save.c).  Of the chunks' labels nothing is
 * left, and labelled_at is an age: revisions and the monotonic clock are of one
 * server run, or one run of the machine.
 */
typedef struct ScStored
{
	Oid			dboid;
	ScDocKey	key;
	uint32		values_size;	/* of the values, with which the bytes begin */
	ScOptions	options;
	TimestampTz read_at;		/* see sc_store_note_reads(); 0: never */
	bool		is_old;			/* all of it was loaded, and nothing rebuilt */
	bool		is_wanted;		/* to be refreshed without waiting for a
								 * reader */
	int			nchunks;
	Size		size;			/* bytes; each chunk begins aligned */
	Size		room;			/* allocated for them */
	char	   *bytes;
} ScStored;

typedef enum ScLoad
{
	SC_LOAD_DONE,
	SC_LOAD_NO_ROOM,
	SC_LOAD_UNSOUND				/* it cannot have been saved like that */
} ScLoad;

static inline bool
sc_store_is_published(ScPutResult result)
{
	return result == SC_PUT_CHANGED || result == SC_PUT_SAME;
}

static inline bool
sc_store_lacked_room(ScPutResult result)
{
	return result >= SC_PUT_NO_MEMORY;
}

extern void sc_store_init(void);	/* from _PG_init */
extern void sc_store_attach(void);	/* before a lock is held: maps the
									 * documents */

extern ScDocKey sc_store_key(const char *summary, const ScValues *values);

/* The entry of a document in this database; -1 if there is none.  To create one with
 * parameters takes the values. */
extern int	sc_store_find(const ScDocKey *key);
extern int	sc_store_find_or_create(const ScDocKey *key, const ScValues *values);

/* A summary is gone, with all its documents. */
extern void sc_store_forget(const char *name);
extern void sc_store_forget_database(Oid dboid);

/* Drop what is cached of a document, or of a summary: with all documents that it has. */
extern void sc_store_clear(const ScDocKey *key);
extern void sc_store_clear_own(const ScDocKey *key);	/* of a summary only
														 * what it has itself */
extern int	sc_store_max_sections(void);

/* The next entry in use after this one, or -1; begin with -1.  Of all databases,
 * or of this one only.  Reads without a lock: an entry that is taken or given back
 * meanwhile may be missed, or be another's. */
extern int	sc_store_next_used(int index, Oid *dboid);
extern int	sc_store_next_here(int index);

/* The same of those of which something may be asked that a worker does: the others, which
 * may be a million, are not looked at.  The database is InvalidOid if the entry is free. */
extern int	sc_store_next_asked(int index, Oid *dboid);

/* Is it?  If not, the entry is not found any more.  Only for those who act on it: the
 * launcher, and workers of its database.  Who asks meanwhile wakes them, and not those
 * who just look. */
extern bool sc_store_is_asked(int index);

/* What an entry has the document of, and its values, palloc'd; NULL without parameters. */
extern void sc_store_name(int index, ScDocKey *key, ScValues **values);

/* Is an entry that of a document with parameters?  How many has a summary's entry, and
 * how large are they, without their forms (or NULL)?  Without a lock. */
extern bool sc_store_is_document(int index);
extern int	sc_store_documents(int index, Size *size);

/* Moves with every change of an entry's sections.  Read without a lock: a backend
 * whose copy has this version has the newest.  It is another number as long as
 * nobody has said that the document is read, since room was last looked for: so
 * a hit need not say so each time. */
extern pg_atomic_uint64 *sc_store_version(int index);

/* The same, whoever reads it. */
extern uint64 sc_store_version_now(int index);

/* Whose index the counters of an entry's reads have: its summary's. */
extern int	sc_store_counted(int index);

/* A document with parameters was read once more.  Without a lock: now and then one is
 * not counted. */
extern void sc_store_count_read(int index);
extern uint64 sc_store_reads(int index);

/* The document is read: then it stays longer than those that are not. */
extern void sc_store_note_read(int index);

/* A build begins: what sc_store_record_failure() is told if it fails. */
extern void sc_store_begin(ScBegun *begun);

/* The generation that a build is of, which begins now. */
extern uint64 sc_store_generation(int index);
extern ScRequests *sc_store_requests(int index);

/* Where those wait for whom a worker's try matters that it makes of an entry, or a reader's
 * proof; and those of some other entries, so who wakes looks again. */
extern ConditionVariable *sc_store_tries(int index);
extern void sc_store_request(int index, ScRefresh what, int64 now);

/* Set bits of one of its flags refresh, notify and forms, so that a worker finds it by
 * sc_store_next_asked().  Gives what there was; a full barrier. */
extern uint32 sc_store_ask(int index, pg_atomic_uint32 *flag, uint32 bits);

/* Does a reader wait for a worker to build it?  No lock. */
extern bool sc_store_is_awaited(int index);

/* Opens a document for reading, holding the entry's lock shared: the caller
 * does nothing that may wait.  False, and nothing held, if the entry is not
 * that summary's (of this database) any more.  The arrays are palloc'd. */
extern bool sc_store_open(int index, const ScDocKey *key, ScView *view);
extern void sc_store_close(int index);

/* Are these an entry's values, or else others that are known to equal them (NULL: none)? */
extern bool sc_store_has_values(const ScValues *there, const ScValues *values, const ScValues *equal);

extern ScPutResult sc_store_put(int index, const ScPublication *publication);

/* Keep a form of the document that has the sections with these hashes.
 * SC_PUT_OUTDATED if it is another one by now.  It pushes out nobody whose document
 * is read. */
extern ScPutResult sc_store_put_form(int index, const ScDocKey *key, ScEncoding encoding,
									 uint8 (*hashes)[SC_HASH_BYTES], int nhashes, const ScForm *form);

/* The first form of these encodings that there is of the document with this etag,
 * palloc'd as a bytea, and which it is. */
extern ScFormState sc_store_form(int index, const ScDocKey *key, const char *etag,
								 const ScEncoding *wanted, int nwanted,
								 ScEncoding *encoding, bytea **form);

/* For a worker, which holds no lock: which encodings a summary's option names, by
 * their levels, without those whose forms are there of this document. */
extern void sc_store_missing_forms(int index, const ScDocKey *key, const char *etag, int *levels);

/* Forms were made, or not, from begin_ns on (monotonic).  The next are not for rest
 * times as long, and with a pause not before that. */
extern void sc_store_note_forms(int index, const ScDocKey *key, uint64 made, uint64 failed,
								uint64 not_kept, int64 begin_ns, int64 pause_ns, double rest);

/* Bytes of all forms that a summary has. */
extern Size sc_store_forms_size(int index, const ScDocKey *key);

extern void sc_store_account(int index, const ScDocKey *key, ScCause cause, bool ran, int64 build_ns,
							 ScPutResult result);
extern bool sc_store_invalidate_section(const ScDocKey *key, const char *section);

/* The same of all documents with parameters that a summary has. */
extern bool sc_store_invalidate_all(const ScDocKey *key, const char *section);
extern bool sc_store_note_etag(int index, const char *etag);

/* Read without a lock; a stale value costs a build, or a wait for one. */
extern bool sc_store_lacks_room(int index);
extern bool sc_store_is_failing(int index, bool *of_inline);
extern int	sc_store_min_refresh_interval(int index);

extern void sc_store_record_failure(int index, const ScDocKey *key, const ScBegun *begun,
									const ErrorData *error, bool of_inline);

/* None (failures is 0) if the entry is not that summary's (of this database) any more. */
extern void sc_store_failure(int index, const ScDocKey *key, ScFailure *failure);

/* Has there been DDL since the build that failed began, a new definition, say?
 * Then the next build is tried at once. */
extern bool sc_store_failure_is_outdated(int index);
extern void sc_store_statistics(int index, ScBuildStats *stats);
extern void sc_store_reset_statistics(int index);
extern void sc_store_evictions(ScEvictions *evictions);

/* Of a database's summaries that are refreshed eagerly (InvalidOid: of all): ask
 * for those whose words have moved.  True if some transaction is still committing
 * one's. */
extern bool sc_store_request_eager(Oid dboid);

/* Is a summary refreshed eagerly, and has a word of its document moved, or is one
 * pending?  To be asked after it was published. */
extern bool sc_store_is_behind(int index);

/* A worker has refreshed a summary, from begin_ns on (monotonic).  Or it has not:
 * then the summary rests for rest times as long as that took.  With a pause, at
 * least for that, and it is requested again. */
extern void sc_store_note_refresh(int index, const ScDocKey *key, int64 begin_ns);
extern void sc_store_note_no_refresh(int index, const ScDocKey *key, int64 begin_ns,
									 int64 pause_ns, double rest);

/* A worker's try has ended that began then (monotonic ns): readers that wait for
 * it go on. */
extern void sc_store_note_try(int index, const ScDocKey *key, bool of_inline, int64 begin_ns,
							  ScTry outcome);

/* Is an entry in use by this database?  Without a lock. */
extern bool sc_store_is_here(int index);
extern void sc_store_settle_eager(void);

/*
 * For save.c.  A copy of an entry's document, of any database, in memory that is
 * given with it or made larger; false if it has none, or there is no memory.  And
 * the way back: at the server's start, between begin and end, when nobody else is
 * there.  Nothing of this raises an error.
 */
extern bool sc_store_copy(int index, ScStored *stored);
extern void sc_store_load_begin(void);
extern ScLoad sc_store_load(const ScStored *stored);
extern void sc_store_load_end(void);

/* Note which documents have been read since the last time; when that was, of one. */
extern void sc_store_note_reads(TimestampTz now);
extern TimestampTz sc_store_read_at(int index);

/* Ask for a refresh of one that was loaded and is wanted; false if there is none left. */
extern bool sc_store_request_wanted(void);

/* On a standby: would a build now get no better label than the document has? */
extern bool sc_store_waits_for_replay(int index);

#endif							/* SC_STORE_H */
