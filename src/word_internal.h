/*-------------------------------------------------------------------------
 *
 * word_internal.h
 *	  Words, slots and cells as they lie in shared memory: for word.c, filemap.c, label.c, commit.c and watch.c.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_WORD_INTERNAL_H
#define SC_WORD_INTERNAL_H

#include "miscadmin.h"
#include "storage/proc.h"

#include "debug.h"
#include "shmem.h"
#include "word.h"

/* A word: revision in the high 44 bits, transactions in commit in the low 20. */
#define SC_PENDING_BITS		20
#define SC_PENDING_ONE		UINT64CONST(1)
#define SC_PENDING_MASK		((UINT64CONST(1) << SC_PENDING_BITS) - 1)
#define SC_REVISION_ONE		(UINT64CONST(1) << SC_PENDING_BITS)
#define SC_REVISION(word)	((word) >> SC_PENDING_BITS)
#define SC_PENDING(word)	((word) & SC_PENDING_MASK)

#define SC_KEY_FREE			UINT64CONST(0)
#define SC_KEY_TAKING		UINT64CONST(1)	/* being taken into use */
#define SC_KEY_FALLBACK		UINT64CONST(2)	/* a fallback that is in use */

/*
 * Beyond the slots that are taken and given away stand the fallbacks: catch-alls
 * of databases that find no slot.  Which database has which is fixed by its oid,
 * so there is always one.  Databases may share one, but hardly those that were
 * made after each other.
 */
#define SC_FALLBACKS		127

/* Behind them stand the names words, which databases have by their oid as well. */
#define SC_NAMES_SLOTS		127

/*
 * When a commit made a revision: its low bits, and the time in ms, which is not
 * negative.  They are read and written as one.
 */
#define SC_CHANGE_MS_BITS	44
#define SC_CHANGE(revision, at) \
	(((uint64) (revision) << SC_CHANGE_MS_BITS) | ((uint64) (at) / 1000))
#define SC_CHANGE_IS_OF(change, revision) \
	((((change) >> SC_CHANGE_MS_BITS) ^ (revision)) << SC_CHANGE_MS_BITS == 0)
#define SC_CHANGE_AT(change) \
	((TimestampTz) ((change) & ((UINT64CONST(1) << SC_CHANGE_MS_BITS) - 1)) * 1000)

#define SC_SLOT_CHANGES		8

/*
 * One per tracked table (partitions share their root's; some have one beside it)
 * and one per database.  A cache line each, so that writers of different tables do not
 * contend.
 */
typedef struct ScSlot
{
	pg_atomic_uint64 word;		/* atomic; never reset while the server runs */
	pg_atomic_uint64 key;		/* changed under ScShared.lock, exclusive,
								 * while the word's pending is 0; read
								 * without: who acts on it looks again */
	pg_atomic_uint64 last_change;	/* TimestampTz of the last commit, 0 if
									 * none; for the views only */
	pg_atomic_uint64 published; /* the newest revision at which a document was
								 * published, under ScShared.lock; read
								 * without: a stale one costs a time */
	pg_atomic_uint64 changes[SC_SLOT_CHANGES];	/* SC_CHANGE()s: the first
												 * after each of the last of
												 * these */
	uint8		next_change;	/* of them, under ScShared.lock; read without */
	uint8		eager;			/* SC_EAGER_BY_...; read and written without a
								 * lock: a stale value costs a refresh, or a
								 * start of the worker for nothing */
	bool		wanted;			/* written under ScShared.lock, read without:
								 * some definition uses it.  Only a hint which
								 * slot to reuse first */
	bool		listened;		/* a catch-all's: somebody has listened to our
								 * channel in this server run; only ever set,
								 * without a lock */
	bool		keys_missing;	/* a catch-all's: see
								 * sc_slot_note_keys_missing() */
	bool		prepared_known; /* a catch-all's, written under ScShared.lock,
								 * read without: the transactions that were
								 * prepared when the server started are
								 * entered.  Read too early, it is entered
								 * under the lock after another look */
	bool		settled;		/* a member's, under ScShared.lock: labels may
								 * have its word instead of its root's */
	pg_atomic_uint32 first_member;	/* a root's, written under ScShared.lock,
									 * exclusive; who has added to the word
									 * reads it without: slot of a member, or
									 * SC_SLOT_NONE */
	pg_atomic_uint32 root;		/* a member's, written likewise, read without:
								 * the slot of its root, or SC_SLOT_NONE */
	int32		next_member;	/* of the same root, under ScShared.lock */
	pg_atomic_uint64 born;		/* the first revision that it had for its key
								 * and its root, written likewise, read
								 * without */
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
	pg_atomic_uint64 xid;		/* a backend's cell: written by its owner
								 * only. An orphan: claimed under
								 * ScShared.lock, settled by compare-and-swap */
	uint32		nslots;			/* orphans only, stable while xid is set */
	uint32		slots[SC_ORPHAN_SLOTS];
	bool		found;			/* likewise: found prepared, so that a
								 * catch-all stands for its tables */
} ScCell;

typedef union ScCellPadded
{
	ScCell		cell;
	char		pad[PG_CACHE_LINE_SIZE];
} ScCellPadded;

StaticAssertDecl(sizeof(ScCellPadded) == PG_CACHE_LINE_SIZE, "a cell is one cache line");

/* What there is of them. */
typedef struct ScWords
{
	int			nslots;			/* the counts never change; without the
								 * fallbacks and names words, which follow */
	int			ncells;			/* backends' cells first, then orphans';
								 * behind them one for the startup process */
	int			nbackends;
	pg_atomic_uint32 ncells_used;	/* backends' cells from here on were never
									 * written; raised before the first is */
	int			nkeys;			/* key words */
	uint64		next_revision;	/* of a slot taken into use; under
								 * ScShared.lock */
	bool		none_to_take;	/* every slot is wanted, so that nobody need
								 * look for one; under the lock */
	bool		slot_refused;	/* somebody found no slot, so a label may lack
								 * one that its table gets later; under
								 * ScShared.lock */
	pg_atomic_uint64 refusals;	/* how often a slot was looked for and none
								 * was to be had; for the views only */
} ScWords;

extern ScWords *sc_words;
extern ScSlotPadded *sc_slots;
extern ScCellPadded *sc_cells;

/*
 * Key words, which have the numbers beyond all slots.  They are fixed and never given
 * away: of all that a slot has, they have a word and the reasons to be eager.
 */
extern pg_atomic_uint64 *sc_key_words;	/* atomic; never reset while the
										 * server runs */
extern uint8 *sc_key_eager;		/* SC_EAGER_BY_..., as in a slot */

/* With fallbacks and names words: the number of the first key word. */
static inline int
sc_slots_all(void)
{
	return sc_words->nslots + SC_FALLBACKS + SC_NAMES_SLOTS;
}

/* A slot; key words have none. */
static inline ScSlot *
sc_slot_at(int slot)
{
	Assert(slot < sc_slots_all());
	return &sc_slots[slot].slot;
}

/* The word of a slot, or a key word. */
static inline pg_atomic_uint64 *
sc_word_at(int slot)
{
	int			key = slot - sc_slots_all();

	return unlikely(key >= 0) ? &sc_key_words[key] : &sc_slots[slot].slot.word;
}

/*
 * Is a slot, found for a key, still that key's?  A fallback is not given away, nor a
 * names word.
 */
static inline bool
sc_slot_is_of(int slot, uint64 key)
{
	return slot >= sc_words->nslots || pg_atomic_read_u64(&sc_slot_at(slot)->key) == key;
}

/* The startup process's cell, behind the orphans'. */
static inline ScCell *
sc_cell_of_replay(void)
{
	return &sc_cells[sc_words->ncells].cell;
}

static inline ScCell *
sc_cell_mine(void)
{
	return &sc_cells[SC_MY_BACKEND].cell;
}

static inline uint64
sc_word_revision(int slot)
{
	return SC_REVISION(pg_atomic_read_u64(sc_word_at(slot)));
}

/* A pending transaction: step 1 for one word.  A full barrier. */
static inline void
sc_word_add_pending(int slot)
{
	pg_atomic_fetch_add_u64(sc_word_at(slot), SC_PENDING_ONE);
}

/* Step 3 for one word.  Returns the revision that this made.  A full barrier. */
static inline uint64
sc_word_publish(int slot)
{
	uint64		old = pg_atomic_fetch_add_u64(sc_word_at(slot),
											  SC_REVISION_ONE - SC_PENDING_ONE);

	return SC_REVISION(old) + 1;
}

/*
 * When that was.  The first change after a document was published is kept: see
 * sc_label_changed_at().  Two documents may be published in between; then the time
 * is written to the wrong place at worst.
 */
static inline void
sc_word_note_change(int slot, uint64 revision, TimestampTz at)
{
	ScSlot	   *it;

	if (sc_slot_is_key(slot))
		return;
	it = sc_slot_at(slot);
	pg_atomic_write_u64(&it->last_change, (uint64) at);
	if (pg_atomic_read_u64(&it->published) == revision - 1 && at > 0)
		pg_atomic_write_u64(&it->changes[it->next_change % SC_SLOT_CHANGES], SC_CHANGE(revision, at));
}

/* A pending transaction that published nothing. */
static inline void
sc_word_withdraw(int slot)
{
	pg_atomic_fetch_sub_u64(sc_word_at(slot), SC_PENDING_ONE);
}

extern void sc_orphan_enter(uint64 xid, const uint32 *slots, int nslots, bool found);
extern void sc_orphan_enter_found(int catch_all, uint64 *xids, int nxids);
extern bool sc_slot_may_cover(int catch_all, Oid dboid);

/* A slot that is the root of members, or the root that a slot is a member of; SC_SLOT_NONE. */
static inline int
sc_slot_first_member(int slot)
{
	return (int) pg_atomic_read_u32(&sc_slot_at(slot)->first_member);
}

static inline int
sc_slot_root(int slot)
{
	return sc_slot_is_key(slot) ? SC_SLOT_NONE : (int) pg_atomic_read_u32(&sc_slot_at(slot)->root);
}

/* Of a root that the caller has added to: give each slot of a member, or that of one member. */
extern void sc_member_visit(int root, uint64 member, void (*found) (int slot, uint64 key));
extern ScProof sc_word_prove(const ScWordSeen *seen, int n, Snapshot snapshot);

#endif							/* SC_WORD_INTERNAL_H */
