/*-------------------------------------------------------------------------
 *
 * summary_cache.h
 *	  Shared structures, settings and prototypes of the summary cache.
 *
 * Dependencies point one way:
 *	  functions, worker, hub, follow, install, stats -> cache -> local, build ->
 *	  document, define -> query -> definition, track, hooks -> standby ->
 *	  revision -> shmem
 *
 * Terms.  A *summary* is a named JSON document made of *sections*; a section
 * is one query over *source* tables.  Every tracked table has a *slot* with a
 * *word*: a revision and a count of transactions in commit.  A section's
 * *label* is the list of words that it was built at.  doc/architecture.md
 * tells the protocol as a story; revision.c is its home in the code.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SUMMARY_CACHE_H
#define SUMMARY_CACHE_H

#include <limits.h>

#include "access/transam.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/dsa.h"
#include "utils/plancache.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "compat.h"

/*
 * A commit adds to words where it may not wait: no spinlock may stand in for
 * an atomic operation.
 */
#ifdef PG_HAVE_ATOMIC_U64_SIMULATION
#error "summary_cache needs native 64-bit atomic operations"
#endif
StaticAssertDecl(sizeof(Datum) == 8, "summary_cache needs 64-bit Datums");

/* Under this name we appear in every view of PostgreSQL's own. */
#define SC_NAME "summary_cache"

/* The summary that CREATE EXTENSION defines over a State Hub. */
#define SC_STATE_SUMMARY "state"

/*-------------------------------------------------------------------------
 * Words and slots
 *-------------------------------------------------------------------------
 */

/* A word: revision in the high 44 bits, transactions in commit in the low 20. */
#define SC_PENDING_BITS		20
#define SC_PENDING_ONE		UINT64CONST(1)
#define SC_PENDING_MASK		((UINT64CONST(1) << SC_PENDING_BITS) - 1)
#define SC_REVISION_ONE		(UINT64CONST(1) << SC_PENDING_BITS)
#define SC_REVISION(word)	((word) >> SC_PENDING_BITS)
#define SC_PENDING(word)	((word) & SC_PENDING_MASK)

/* A slot's key: database and relation; the catch-all of a database has relation 0. */
#define SC_KEY(dboid, relid) (((uint64) (dboid) << 32) | (uint64) (relid))
#define SC_KEY_FREE			UINT64CONST(0)
#define SC_KEY_TAKING		UINT64CONST(1)	/* being taken into use */

/*
 * Slot 0 is the cluster's own catch-all: it takes marks that not even a
 * database's catch-all word can take, and DDL on roles.  Every label has it.
 */
#define SC_CLUSTER_SLOT		0
#define SC_KEY_CLUSTER		(~UINT64CONST(0))

#define SC_SLOT_NONE		(-1)

/*
 * One per tracked table (a partition or inheritance tree shares its root's)
 * and one per database.  A cache line each, so that writers of different
 * tables do not contend.
 */
typedef struct ScSlot
{
	pg_atomic_uint64 word;		/* atomic; never reset while the server runs */
	pg_atomic_uint64 key;		/* changed under ScShared.lock, exclusive, while
								 * the word's pending is 0; read without */
	pg_atomic_uint64 last_change;	/* TimestampTz of the last commit, 0 if
									 * none; for the views only */
	bool		eager;			/* a summary over it is refreshed on commit;
								 * written under lock, read without */
	bool		wanted;			/* under lock: some definition uses it.  Only a
								 * hint which slot to reuse first */
	bool		listened;		/* a catch-all's: somebody has listened to our
								 * channel in this server run; only ever set */
	bool		prepared_known; /* under lock; catch-all slots only: the
								 * transactions prepared when the server
								 * started are entered */
} ScSlot;

typedef union ScSlotPadded
{
	ScSlot		slot;
	char		pad[PG_CACHE_LINE_SIZE];
} ScSlotPadded;
StaticAssertDecl(sizeof(ScSlotPadded) == PG_CACHE_LINE_SIZE, "a slot is one cache line");

/* What a cell may hold instead of a FullTransactionId, which starts at 3. */
#define SC_CELL_EMPTY		UINT64CONST(0)
#define SC_CELL_SETTLING	UINT64CONST(1)

#define SC_ORPHAN_SLOTS		24

/*
 * The transaction that a backend is committing, or one that is prepared (an
 * orphan: the backend that finishes it does not know its tables).
 */
typedef struct ScCell
{
	pg_atomic_uint64 xid;		/* a backend's cell: written by its owner only.
								 * An orphan: claimed under ScShared.lock,
								 * settled by compare-and-swap */
	uint32		nslots;			/* orphans only, stable while xid is set */
	uint32		slots[SC_ORPHAN_SLOTS];
} ScCell;

typedef union ScCellPadded
{
	ScCell		cell;
	char		pad[PG_CACHE_LINE_SIZE];
} ScCellPadded;
StaticAssertDecl(sizeof(ScCellPadded) == PG_CACHE_LINE_SIZE, "a cell is one cache line");

/* A revision that no word ever has: a label with it is never current. */
#define SC_NEVER_CURRENT	UINT64CONST(0)

/* A table's slot as some backend knows it; the key tells whether it still is. */
typedef struct ScSlotRef
{
	int			slot;			/* SC_SLOT_NONE: not known */
	uint64		key;
} ScSlotRef;

/* One word as it was when read. */
typedef struct ScLabel
{
	uint32		slot;
	uint64		revision;
} ScLabel;

/*-------------------------------------------------------------------------
 * Documents
 *-------------------------------------------------------------------------
 */

#define SC_HASH_BYTES	32		/* SHA-256 */
#define SC_ETAG_LEN		32		/* hex digits: 128 bits of it */

/*
 * What a query did not read or call when it was defined, so that its changes
 * might go unnoticed.
 */
typedef struct ScStranger
{
	Oid			table;
	Oid			function;		/* that cannot be seen into */
} ScStranger;

/*
 * A built section: immutable once published, freed under the summary's lock.
 * Variable part: labels, then the keys (each with its terminating zero), then
 * the members of the JSON object without the braces.
 */
typedef struct ScChunk
{
	Size		size;			/* of the whole, bytes */
	NameData	section;
	bool		is_inline;
	uint64		definition;		/* hash of what it was built from */
	ScStranger	stranger;
	int64		labelled_at;	/* monotonic ns, just before the label was read */
	TimestampTz built_at;		/* wall clock of the snapshot */
	int64		build_ns;
	uint64		xmax;			/* full xid: nothing from here on is in it */
	XLogRecPtr	replayed;		/* built on a standby: see standby.c */
	uint8		hash[SC_HASH_BYTES];	/* of the members */
	uint32		nlabels;
	uint32		nkeys;
	uint32		keys_offset;
	uint32		keys_len;
	uint32		body_offset;
	uint32		body_len;
	ScLabel		labels[FLEXIBLE_ARRAY_MEMBER];
} ScChunk;

#define SC_CHUNK_KEYS(c) ((char *) (c) + (c)->keys_offset)
#define SC_CHUNK_BODY(c) ((char *) (c) + (c)->body_offset)

/* Under the summary's lock. */
typedef struct ScSection
{
	NameData	name;
	dsa_pointer chunk;
	bool		invalidated;	/* summary_cache_invalidate() of an inline one */
	int			next;			/* index of the summary's next section, or -1;
								 * of the next free one */
} ScSection;

/* What a read answered with, and the counters. */
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
	SC_PRIVATE_CAUSES,

	/* with no entry in shared memory to count in */
	SC_PRIVATE_NO_ROOM,
	SC_PRIVATE_NOT_PRELOADED
} ScPrivateCause;

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
 * Counters of reads: one array a summary and shard.  A backend writes its own
 * shard only (atomically: backends share one when there are more of them than
 * shards), so that readers do not fight over a cache line.
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

#define SC_ERROR_LEN	512

/*
 * What summary_cache_configure() can set for a summary.  SC_UNSET stands for
 * the setting of the same name.
 */
#define SC_UNSET	INT_MIN

typedef struct ScOptions
{
	int			max_stale_age;	/* s */
	int			min_refresh_interval;	/* ms */
	int			eager_refresh;	/* boolean */
} ScOptions;

typedef struct ScSummary
{
	LWLock		lock;			/* protects what follows unless said otherwise */

	Oid			dboid;			/* changed under ScShared.lock and lock, both
								 * exclusive; InvalidOid: free */
	NameData	name;
	int			sections;		/* first of the list, or -1: nothing cached */
	uint64		generation;		/* moved by invalidation: a build begun under an
								 * older one is not published */

	/* Moves with every change of the sections.  Written under lock, read
	 * without: a backend whose copy has this version has the newest. */
	pg_atomic_uint64 version;

	/* Set by readers, cleared by the worker before it reads its labels. */
	pg_atomic_uint32 refresh_requested;

	/* Likewise by those who published: listeners are to be told. */
	pg_atomic_uint32 notify_requested;

	/* Monotonic ns before which no refresh is to be tried; atomic. */
	pg_atomic_uint64 retry_at;

	/* Monotonic ns of the last background refresh; atomic. */
	pg_atomic_uint64 refreshed_at;

	/* The definition's options, as of the last publication. */
	ScOptions	options;

	/* The etag of the last document that listeners were told of. */
	char		notified_etag[SC_ETAG_LEN + 1];

	/* The last failure; cleared by success, but for its time. */
	uint32		failures;		/* consecutive */
	bool		failed_inline;	/* only inline sections were built */
	int			error_code;		/* SQLSTATE, MAKE_SQLSTATE form */
	char		error[SC_ERROR_LEN];
	TimestampTz error_at;
	int64		failed_at;		/* monotonic ns */
	uint64		builds[SC_BUILD_CAUSES];
	uint64		builds_failed;
	uint64		builds_wasted;	/* the bytes were what they had been */
	uint64		unpublished;	/* built, but there was no room: memory_limit
								 * or max_sections */
	bool		no_room;		/* for the newest build: nobody waits for
								 * another's */
	int64		build_ns_min;
	int64		build_ns_max;
	int64		build_ns_total; /* over published and unpublished builds */
	TimestampTz stats_reset;
} ScSummary;

/* A background worker of one database.  Under ScShared.lock. */
typedef struct ScWorker
{
	Oid			dboid;			/* InvalidOid: free */
	int			pid;			/* 0: being launched */
	struct Latch *latch;		/* NULL: being launched.  Read without the lock
								 * by those who commit: a backend's latch stays
								 * in shared memory, so a late wake-up is
								 * harmless */
	int64		launched_at;	/* monotonic ns */
	int64		barred_until;	/* monotonic ns; no worker before: the database
								 * is being dropped or copied */
} ScWorker;

/*
 * The root of the shared memory.  The counts are fixed at server start.
 */
typedef struct ScShared
{
	LWLock		lock;			/* slots' keys, summaries' names, orphan cells'
								 * claims, workers.  Taken before a summary's
								 * lock where both are held */
	uint64		run;			/* identifies this server run */
	int			nslots;
	int			ncells;			/* backends' cells first, then orphans' */
	int			nbackends;
	pg_atomic_uint32 ncells_used;	/* backends' cells from here on were never
									 * written; raised before the first is */
	int			nsummaries;
	int			nsections;
	int			nworkers;
	int			free_section;	/* head of the free list; under lock */
	uint64		next_revision;	/* of a slot taken into use; under lock */
	bool		slot_refused;	/* somebody found no slot, so a label may lack
								 * one that its table gets later; under lock */
} ScShared;

extern PGDLLIMPORT ScShared *sc_shared; /* NULL: not preloaded */
extern ScSlotPadded *sc_slots;
extern ScCellPadded *sc_cells;
extern ScSummary *sc_summaries;
extern ScSection *sc_sections;
extern ScShardPadded *sc_shards;
extern ScWorker *sc_workers;

/*-------------------------------------------------------------------------
 * Settings (summary_cache.c)
 *-------------------------------------------------------------------------
 */
extern bool sc_enabled;
extern int	sc_max_stale_age;	/* s; -1 unlimited, 0 always a miss */
extern int	sc_stale_if_error;	/* s */
extern bool sc_read_your_writes;
extern int	sc_memory_limit;	/* kB */
extern int	sc_local_memory_limit;	/* kB */
extern int	sc_max_tables;
extern int	sc_max_sections;
extern int	sc_build_timeout;	/* ms; 0 none */
extern int	sc_worker_idle_timeout; /* ms */
extern int	sc_min_refresh_interval;	/* ms */
extern bool sc_eager_refresh;
extern bool sc_notify;
extern int	sc_log_min_build_duration;	/* ms; -1 none */

/* Is a summary with these options refreshed on commit? */
static inline bool
sc_is_eager(const ScOptions *options)
{
	return options->eager_refresh != SC_UNSET ? options->eager_refresh : sc_eager_refresh;
}

/*-------------------------------------------------------------------------
 * subtransaction.c
 *-------------------------------------------------------------------------
 */
extern ErrorData *sc_in_subtransaction(void (*action) (void *arg), void *arg, bool keep);
extern bool sc_is_cancel(const ErrorData *error);

/*-------------------------------------------------------------------------
 * shmem.c
 *-------------------------------------------------------------------------
 */
extern void sc_shmem_init(void);	/* from _PG_init, while preloading */
extern dsa_area *sc_dsa(void);
extern int64 sc_now(void);		/* monotonic ns */
extern int64 sc_now_coarse(void);	/* the same clock, some ms behind, cheap */

/* Find or, with create, take a slot; SC_SLOT_NONE if there is none.  Locks
 * inside, throws nothing: also called while a transaction commits. */
extern int	sc_slot_find(uint64 key, bool create);
extern void sc_slot_want(int slot, bool wanted);

/* The entry of a summary in this database; -1 if there is none. */
extern int	sc_summary_find(const char *name, bool create);
extern void sc_summary_forget_database(Oid dboid);
extern void sc_summary_forget(const char *name);
extern void sc_summary_clear(ScSummary *summary);	/* caller holds its lock */
extern int	sc_section_alloc(void); /* -1: none left */
extern void sc_section_free(int section);

/*-------------------------------------------------------------------------
 * revision.c: the write side's words, and whether a label is current
 *-------------------------------------------------------------------------
 */
typedef enum ScProof
{
	SC_CURRENT,					/* proven for the snapshot */
	SC_PENDING_UNPROVEN,		/* a transaction in commit is in the way */
	SC_MOVED					/* a revision moved */
} ScProof;

extern void sc_revision_init(void);
extern void sc_mark_slots(const ScSlotRef *refs, int nrefs);
extern void sc_mark_catch_all(void);
extern void sc_mark_cluster(void);
extern void sc_begin_untracked_write(void);
extern bool sc_xact_wrote(const ScLabel *labels, int nlabels);
extern bool sc_xact_applies(void);
extern bool sc_xact_wrote_anything(void);
extern bool sc_is_committing(void);
extern bool sc_label_read(ScLabel *label, uint64 key, int slot);
extern bool sc_label_read_catch_alls(ScLabel *labels);
extern ScProof sc_label_prove(const ScLabel *labels, int nlabels, Snapshot snapshot);
extern bool sc_label_hides_own_commit(const ScLabel *labels, int nlabels, int64 labelled_at);
extern bool sc_has_committed(void);
extern void sc_settle_finished(void);
extern void sc_note_unknown_commit(void);
extern uint64 sc_full_xid(TransactionId xid);

/*-------------------------------------------------------------------------
 * standby.c: labels of a hot standby
 *-------------------------------------------------------------------------
 */
extern XLogRecPtr sc_replay_label(void);
extern ScProof sc_prove(const ScLabel *labels, int nlabels, XLogRecPtr replayed,
						Snapshot snapshot);
extern bool sc_replay_is_amid(XLogRecPtr replayed);

/*-------------------------------------------------------------------------
 * track.c: which tables are tracked
 *-------------------------------------------------------------------------
 */
#define SC_MAX_ROOTS	8		/* of one table; with more, the catch-all */

extern void sc_track_init(void);
extern void sc_track_plan(Oid relid, struct TriggerDesc *desc); /* a plan writes it */
extern List *sc_track_lock(Oid relid);	/* and its members, for triggers */
extern void sc_track_attach(Oid relid); /* triggers on the whole tree */
extern void sc_track_attach_members(Oid relid); /* on it and its children */
extern void sc_track_restore_firing(Oid relid);
extern List *sc_track_tables(bool definitions);
extern void sc_track_detach(Oid relid, bool wait);
extern bool sc_track_is_tracked(Oid relid);
extern void sc_track_check_source(Oid relid);	/* error if it cannot be one */
extern int	sc_track_roots(Oid relid, Oid *roots);	/* at most SC_MAX_ROOTS;
													 * -1: more */
extern bool sc_track_share_root(Oid a, Oid b);
extern bool sc_track_provable(Oid relid, bool wait, const char **reason);
extern bool sc_track_source(Oid relid, ScSlotRef *refs, int *nrefs);

/*-------------------------------------------------------------------------
 * hooks.c: writes and DDL as the server executes them
 *-------------------------------------------------------------------------
 */
extern void sc_hooks_init(void);
extern bool sc_xact_is_ending(void);

/*-------------------------------------------------------------------------
 * definition.c
 *-------------------------------------------------------------------------
 */
typedef struct ScSectionDef
{
	NameData	summary;
	NameData	name;
	char	   *query;
	ArrayType  *settings;		/* as in pg_proc.proconfig */
	Oid		   *sources;
	Oid		   *reads;			/* tables that the query read when it was
								 * defined: reading others, it is not proven */
	char	  **calls;			/* likewise the functions that cannot be seen
								 * into, as format_procedure_qualified() has it */
	char	  **keys;			/* as they were at definition */
	uint64		hash;			/* of all that decides about the bytes */
	SPIPlanPtr	plan;			/* document.c's, NULL until first built; it points
								 * back to this */
	int			nsources;
	int			nreads;
	int			ncalls;
	int			nkeys;
	Oid			owner;
	int			plan_generation;	/* of the plan in which strangers were looked
									 * for, 0: of none */
	ScStranger	stranger;		/* and what was found */
	bool		is_inline;
	bool		generated;		/* by summary_cache_attach_state_hub() */
	bool		keep_plan;		/* the definition is a cached one */
} ScSectionDef;

typedef struct ScSummaryDef
{
	NameData	name;
	Oid			table;			/* summary_cache_definition */
	ScOptions	options;
	MemoryContext context;
	int			nsections;
	ScSectionDef *sections;		/* in the order of the document */
} ScSummaryDef;

extern Oid	sc_extension_schema(bool missing_ok);
extern bool sc_check_version(int elevel);	/* of the SQL objects */
extern void sc_check_columns(const char *what, int natts, int expected);
extern bool sc_definition_is_own_table(Oid relid);
extern ScSummaryDef *sc_definition_get(const char *summary);	/* newest, cached */
extern ScSummaryDef *sc_definition_read(const char *summary, Snapshot snapshot,
										MemoryContext context);
extern ScSectionDef *sc_definition_section(ScSummaryDef *definition, const char *name);
extern void sc_definition_sweep_entries(void);
extern void sc_definition_pin(void);
extern void sc_definition_unpin(void);
extern List *sc_definition_names(Snapshot snapshot);	/* of char * */
extern void sc_check_name(const char *what, const char *name);
SC_NORETURN extern void sc_unknown_summary(const char *summary);

#define SC_DEFINITION_TABLE "summary_cache_definition"
#define SC_OPTION_TABLE "summary_cache_option"

extern Oid	sc_definition_table(void);
extern bool sc_parse_option(ScOptions *options, const char *name, const char *value,
							const char **hint);

/*-------------------------------------------------------------------------
 * define.c: changes them
 *-------------------------------------------------------------------------
 */
extern Oid	sc_lock_definitions(void);	/* the table; definers wait for each other */

/* Define or replace a section as owner; checks everything but the caller's
 * right to act for the owner.  settings NULL: those of the session. */
extern void sc_define(const char *summary, const char *section, const char *query,
					  List *sources, bool derive_sources, bool is_inline,
					  Oid owner, ArrayType *settings, bool generated);
extern void sc_drop(const char *summary, const char *section);
extern void sc_configure(const char *summary, const char *option, const char *value);

/* Definers are locked out already. */
extern void sc_update_section(ScSectionDef *section);

/* The sections of some roles get another owner; InvalidOid: are dropped.  The
 * caller may do that with whatever they own. */
extern void sc_give_sections(List *owners, Oid new_owner);

/*-------------------------------------------------------------------------
 * document.c: builds a section; the only file that sees json-c
 *-------------------------------------------------------------------------
 */
typedef struct ScBody
{
	char	   *members;		/* of the JSON object, without the braces */
	Size		len;
	int			nkeys;
	char	  **keys;
	ScStranger	stranger;
} ScBody;

extern bool sc_build_timed_out; /* the last error was build_timeout's */
extern void sc_build_section(ScSectionDef *section, Snapshot snapshot, ScBody *body);

/*-------------------------------------------------------------------------
 * query.c: a section's query, prepared and looked at as its owner
 *-------------------------------------------------------------------------
 */
/* Inside, SPI may be used; memory comes from the caller's context. */
extern ErrorData *sc_try_as_owner(ScSectionDef *section, void (*action) (void *arg), void *arg);
extern void sc_run_as_owner(ScSectionDef *section, void (*action) (void *arg), void *arg);
SC_NORETURN extern void sc_bad_query(int code, ScSectionDef *section, const char *what);
extern SPIPlanPtr sc_query_prepare(ScSectionDef *section);
extern Query *sc_query_analyze(ScSectionDef *section);
extern void sc_query_check_columns(ScSectionDef *section, TupleDesc desc);
extern char **sc_query_column_names(TupleDesc desc);
extern void sc_query_check_analyzed(ScSectionDef *section, SPIPlanPtr plan);
extern void sc_query_find_stranger(ScSectionDef *section, SPIPlanPtr plan, CachedPlan *cached,
								   ScStranger *stranger);

/*
 * What analysing a query told: its columns, and what it reads.
 */
typedef struct ScQueryInfo
{
	int			nkeys;
	char	  **keys;
	List	   *relations;		/* Oids, views followed */
	List	   *functions;		/* Oids that cannot be seen into */
	bool		is_volatile;
} ScQueryInfo;

extern void sc_analyze_query(ScSectionDef *section, bool check_sources, ScQueryInfo *info);

/*-------------------------------------------------------------------------
 * local.c: this backend's copies of documents
 *-------------------------------------------------------------------------
 */
typedef struct ScLocalSection
{
	NameData	name;
	bool		is_inline;
	bool		invalidated;
	uint64		definition;
	int64		labelled_at;
	XLogRecPtr	replayed;
	int			nlabels;
	ScLabel    *labels;
} ScLocalSection;

/* An etag, which is computed when it is asked for: by sc_etag(). */
typedef struct ScEtag
{
	int			nhashes;
	uint8		(*hashes)[SC_HASH_BYTES];	/* of the sections */
	char		text[SC_ETAG_LEN + 1];	/* "" until then */
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
	NameData	name;			/* hash key */
	int			index;			/* of the shared entry; -1: none */
	uint64		version;		/* the entry's when this was read; 0: never */

	/* What the version holds; in context. */
	MemoryContext context;
	int			nsections;		/* 0: nothing is cached */
	ScLocalSection *sections;
	int			nlabels;		/* of all sections, each word once */
	ScLabel    *labels;
	XLogRecPtr	replayed;
	int			nwords;
	pg_atomic_uint64 **words;	/* of the labels, and what they hold if nothing */
	uint64	   *expected;		/* has changed and nothing is pending */
	bool		consistent;		/* no word stands there with two revisions, all
								 * sections have the same position, and none is
								 * invalidated */
	int64		oldest;			/* labelled_at, the least; monotonic ns */
	TimestampTz built_at;		/* likewise, wall clock */
	uint64		xmax;			/* of the sections, the greatest */
	int			max_stale_age;	/* s, of this summary; SC_UNSET: the setting */
	ScEtag		etag;

	/* The document itself, of document_version; NULL: not kept here. */
	text	   *document;
	uint64		document_version;
	Size		capacity;		/* bytes allocated for it */
	int			npieces;		/* that it consists of */
	int			max_pieces;		/* allocated */
	ScPiece    *pieces;
	uint64		handed_out;		/* epoch in which a pointer to it was returned */
} ScLocal;

extern ScLocal *sc_local_get(const char *summary, bool create);
extern void sc_local_sync(ScLocal *local, bool create);
extern text *sc_local_document(ScLocal *local);
extern text *sc_assemble(ScChunk **chunks, int nchunks);
extern void sc_sha256(const void *bytes, Size len, uint8 *digest);
extern void sc_etag_prepare(ScEtag *etag, ScChunk **chunks, int nchunks);
extern const char *sc_etag(ScEtag *etag);

/*-------------------------------------------------------------------------
 * build.c: builds and publishes
 *-------------------------------------------------------------------------
 */
typedef enum ScWant
{
	SC_WANT_ALL,				/* every section */
	SC_WANT_NEEDED,				/* those that are not proven current, or aged */
	SC_WANT_INLINE				/* the inline ones of those */
} ScWant;

/* What a build made: a chunk for each section of the definition, or NULL. */
typedef struct ScBuild
{
	int			nchunks;
	ScChunk   **chunks;
	bool		complete;		/* no NULL */
	bool		published;
} ScBuild;

extern void sc_build(ScLocal *local, ScWant want, ScCause cause, ScBuild *build);
extern void sc_build_private(const char *summary, ScBuild *build);
extern bool sc_is_building(void);
extern bool sc_may_publish(ScSummaryDef *definition, ScWant want);
extern bool sc_matches_definition(ScLocal *local, ScSummaryDef *definition);
extern void sc_record_failure(int index, const char *summary, ErrorData *error,
							  bool failed_inline);

/*-------------------------------------------------------------------------
 * cache.c: the read side
 *-------------------------------------------------------------------------
 */
typedef struct ScAnswer
{
	ScStatus	status;
	text	   *document;		/* may be this backend's own copy: not to be
								 * written or freed */
	ScEtag	   *etag;			/* this backend's own as well: for sc_etag(),
								 * before the next read */
	TimestampTz built_at;		/* the oldest section's */
} ScAnswer;

extern void sc_read(const char *summary, bool force, ScAnswer *answer);
extern bool sc_is_aging(ScLocal *local, int64 labelled_at, int64 now);
extern const char *sc_status_name(ScStatus status);
extern void sc_invalidate(const char *summary, const char *scope);
extern void sc_refresh_in_background(int index);

/*-------------------------------------------------------------------------
 * worker.c
 *-------------------------------------------------------------------------
 */
/* Ask for a refresh; false if no worker can be had. */
extern bool sc_request_refresh(ScSummary *summary);
extern void sc_request_notify(ScSummary *summary);
extern bool sc_has_listeners(void);
extern void sc_worker_leave(Oid dboid); /* the database is dropped or copied */
extern void sc_worker_wake(void);	/* in a commit: raises nothing, locks nothing */
extern void sc_worker_ensure(void); /* before a commit: start one if need be */
extern PGDLLEXPORT void sc_worker_main(Datum arg);

/*-------------------------------------------------------------------------
 * stats.c
 *-------------------------------------------------------------------------
 */
extern void sc_count(int summary, int counter, uint64 n);
extern uint64 sc_counter(int summary, int counter);

/*-------------------------------------------------------------------------
 * follow.c: queries follow what they name
 *-------------------------------------------------------------------------
 */
extern List *sc_follow_begin(void); /* before a command; raises only a cancel */
extern void sc_follow_end(List *followers, Node *parsetree);	/* after it */

/*-------------------------------------------------------------------------
 * hub.c: the State Hub, the first user; install.c: CREATE EXTENSION's part
 *-------------------------------------------------------------------------
 */
extern List *sc_hub_missing(List **reasons);
extern List *sc_hub_search_path(void);
extern void sc_hub_follow(const char *schema_name); /* tables were moved there */
extern void sc_hub_attach(List *schemas, bool named, int elevel);	/* elevel: ERROR, or NOTICE */

/*-------------------------------------------------------------------------
 * debug.c: nothing of it in a release build
 *-------------------------------------------------------------------------
 */
#ifdef SC_DEBUG
enum
{
	SC_PROTOCOL_TWO_PHASE,
	SC_PROTOCOL_AT_WRITE,		/* wrong: revision moves before the commit */
	SC_PROTOCOL_AFTER_COMMIT,	/* wrong: nothing pending during it */
	SC_PROTOCOL_REPLAYED_ONLY,	/* wrong: on a standby, the end of the last record
								 * that was replayed in full on both sides */
	SC_PROTOCOL_BEGUN_ONLY		/* wrong: of the one whose replay began last */
};

extern int	sc_debug_protocol;
extern void sc_debug_init(void);
extern void sc_debug_point(const char *name);
extern bool sc_debug_fails(const char *name);

#define SC_POINT(name) sc_debug_point(name)
#define SC_WEAK(protocol) (sc_debug_protocol == (protocol))
#define SC_FAILS(name) sc_debug_fails(name)
#else
#define SC_POINT(name) ((void) 0)
#define SC_WEAK(protocol) false
#define SC_FAILS(name) false
#endif

#endif							/* SUMMARY_CACHE_H */
