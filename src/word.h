/*-------------------------------------------------------------------------
 *
 * word.h
 *	  Words: the revisions of tables, as everybody may see them.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_WORD_H
#define SC_WORD_H

#include "base.h"
#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/*
 * A slot's key: database and relation.  The catch-all word of a database has
 * relation 0.  Slot 0 is the cluster's own catch-all: it takes DDL on roles, and
 * marks that there is no memory for.  A database's names word takes DDL that changes
 * what names mean, and nothing else: see meaning.c.  Every label has the three.
 */
#define SC_KEY(dboid, relid) (((uint64) (dboid) << 32) | (uint64) (relid))
#define SC_KEY_DATABASE(key)	((Oid) ((key) >> 32))
#define SC_KEY_RELATION(key)	((Oid) (key))
#define SC_KEY_HERE(relid)		SC_KEY(MyDatabaseId, relid)
#define SC_KEY_CATCH_ALL		SC_KEY_HERE(InvalidOid)
#define SC_KEY_NAMES			(~UINT64CONST(0) - 1)
#define SC_CLUSTER_SLOT		0
#define SC_KEY_CLUSTER		(~UINT64CONST(0))

#define SC_SLOT_NONE		(-1)

/* A revision that no word ever has: a label with it is never current. */
#define SC_NEVER_CURRENT	UINT64CONST(0)

/* A table's slot as some backend knows it; the key tells whether it still is. */
typedef struct ScSlotRef
{
	int			slot;			/* SC_SLOT_NONE: not known */
	uint64		key;
} ScSlotRef;

/* One word as it was when it was read. */
typedef struct ScWordSeen
{
	uint32		slot;
	uint64		revision;
}
#if defined(pg_attribute_packed) && defined(pg_attribute_aligned)
			pg_attribute_packed()
			pg_attribute_aligned(4) /* each document has some */
#endif
ScWordSeen;

/* The same for views, with what else there is to see. */
typedef struct ScWordState
{
	uint64		revision;
	uint64		pending;		/* transactions in commit */
	TimestampTz last_change;	/* of the last commit, 0 if there was none */
} ScWordState;

typedef enum ScProof
{
	SC_CURRENT,					/* proven for the snapshot */
	SC_PENDING_UNPROVEN,		/* a transaction in commit is in the way */
	SC_MOVED					/* a revision moved */
} ScProof;

extern void sc_word_init(void); /* from _PG_init */

/* Find or, with create, take a slot; SC_SLOT_NONE if there is none.  With create
 * there is one for every catch-all.  Locks inside, throws nothing: also called
 * while a transaction commits. */
extern int	sc_slot_find(uint64 key, bool create);

/* Does some definition use it?  Only a hint which slot to give away first. */
extern bool sc_slot_want(int slot, bool wanted);	/* what was noted before */

/* Is there none that could be taken?  Reads without a lock. */
extern bool sc_slot_all_taken(void);

/* How often none was to be had since the server start: for a definition, a build, or
 * a commit.  A database is refused one once, a table each time. */
extern uint64 sc_slot_refusals(void);

/*
 * A member of a tree of partitions may have a word beside its root's: see word.c.
 * Keys are those of the root and the member.
 */
#define SC_MAX_MEMBERS	256		/* of a root: some writers move them all */

typedef struct ScMemberSeen
{
	uint64		key;
	ScWordSeen	word;
} ScMemberSeen;

/* Give a member a word, if there is a slot that nobody else has use for. */
extern void sc_member_want(uint64 root, uint64 member);

/* Read the words of the members of a root, or of one member, that a label may have
 * instead of the root's; returns how many.  To be called before the snapshot is taken. */
extern int	sc_member_read(uint64 root, uint64 member, ScMemberSeen *seen, int max);

/* Labels are not to have it any more. */
extern void sc_member_forget(int slot);

/* Is a slot a member's, and is a word that was seen that of a member of this root?  Both
 * read without a lock. */
extern bool sc_slot_is_member(int slot);
extern bool sc_member_is_of(const ScWordSeen *seen, int root);

/* The slot of this database's names word.  It is always there. */
extern int	sc_slot_of_names(void);

/* The number of slots, with fallbacks and names words: more than any slot.  Those of
 * key words begin there, and all are below sc_word_count(). */
extern int	sc_slot_count(void);
extern int	sc_word_count(void);

/*
 * Key words: see word.c.  table: the key of the table whose word the row's table has.
 * Their numbers can stand wherever a slot's can.  Read without a lock, raise nothing.
 */
extern int	sc_key_word(uint64 table, const char *column, uint64 hash);
extern int	sc_key_coarse(uint64 table);
extern bool sc_slot_is_key(int slot);

/* The same in two steps, for many values of a column. */
extern uint64 sc_key_seed(uint64 table, const char *column);
extern int	sc_key_word_of(uint64 seed, uint64 hash);

/* The next slot of a database after this one that is a table's and is wanted, or is a
 * member's, or SC_SLOT_NONE; begin with SC_CLUSTER_SLOT.  Reads without a lock. */
extern int	sc_slot_next(int slot, Oid dboid, Oid *relid);

/* A database is gone: its slots may be reused.  Until they are, writers go on
 * finding them.  Caller holds ScShared.lock, exclusive. */
extern void sc_slot_forget_database(Oid dboid);

/*
 * Why a commit that moves a slot's word may have a document to refresh: bits, for
 * the documents over the slot's table.  Those by setting count as long as
 * summary_cache.eager_refresh is on.  A bit may stand for a while when there is
 * no such document any more.  Written under ScShared.lock, read without.
 */
#define SC_EAGER_BY_OPTION	0x1
#define SC_EAGER_BY_SETTING	0x2

extern void sc_slot_add_eager(int slot, uint8 eager);
extern void sc_slot_set_eager(int slot, uint8 eager);

/* A document was published that has seen a slot's word at this revision: when the
 * next change comes is noted.  Caller holds ScShared.lock, exclusive. */
extern void sc_slot_note_published(int slot, uint64 revision);
extern bool sc_slot_is_eager(int slot);

/* Somebody has listened to our channel in this database, in this server run. */
extern void sc_slot_listen(void);
extern bool sc_slot_is_listened(void);

/* A session has found no key trigger where one should be, in this database: a worker is
 * to look.  Without a lock: at worst it looks in vain, or after the next session. */
extern void sc_slot_note_keys_missing(void);
extern bool sc_slot_lacks_keys(void);
extern bool sc_slot_take_keys_missing(void);

/* False if the key is a table's that has no slot. */
extern bool sc_word_read(ScWordSeen *seen, uint64 key, int slot);
extern void sc_word_state(int slot, ScWordState *state);

/* The revision of a catch-all, if nothing is pending on it, and nothing can be that was
 * prepared before the server started; else SC_NEVER_CURRENT. */
extern uint64 sc_word_settled(int slot);

/* For a hit: what holds the word, and what it holds if nothing has changed
 * since it was seen and nothing is pending. */
extern pg_atomic_uint64 *sc_word_address(const ScWordSeen *seen);
extern uint64 sc_word_at_rest(const ScWordSeen *seen);

/* Settle every prepared transaction that is over. */
extern void sc_orphan_settle_finished(void);
extern uint64 sc_word_full_xid(TransactionId xid);

#endif							/* SC_WORD_H */
