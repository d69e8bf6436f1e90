/*-------------------------------------------------------------------------
 *
 * word.c
 *	  Words: the revisions of tables, as everybody may see them.
 *
 * Every tracked table has a *slot* with a *word*: a revision, and a count of
 * transactions in commit.  Every backend has a *cell*, which says what
 * transaction it is committing; a prepared transaction has one of its own, an
 * *orphan*.  commit.c is the home of the protocol by which they move, and of
 * the proof that a label which matches them is current.
 *
 * A table that finds no slot is covered by its database's catch-all word.  A
 * database that finds none for that word has a *fallback*, which it may share with
 * other such databases.  It keeps it until the server restarts: whoever has once
 * looked for the database's catch-all, and found the fallback, need not look
 * again.  Were the database to get a slot of its own, a writer that had found the
 * fallback before would go on moving that, and a document built later have the
 * new slot in its label only.
 *
 * A *member* of a tree of partitions may have a word beside its root's.  The root's
 * word stands for all of the tree.  A transaction that has written a member adds to
 * the root's word first, and then looks whether the member has a word, to add to that
 * as well.  So a word that is new may be missed by transactions that have looked
 * before it was there.  All of these are pending on the root's word until they are
 * over: the member's word is *settled*, and may be in a label without the root's,
 * when nothing is pending there at some time after it was made.  A word that is no
 * longer looked for there moves first, so that no label has it.  Who needs a slot for
 * anything else may take a member's: its documents then have the root's again.
 *
 * *Key words* stand for values of a column, of which a table has any number.  So they
 * are an array of a fixed size, which all databases share; which of them a value has is
 * a hash of the database, the table whose word the row's table has, the column's name
 * and the value.  Values that have the same word cost each other's documents a rebuild,
 * and no more.  Each table has a *coarse* one, likewise by a hash, for what was written
 * without saying its keys.  See commit.c for who moves which.
 *
 * Nothing here runs SQL, opens a relation or depends on the database that the
 * process is connected to, but for the few functions that say so.
 *
 * Locking: which key has which slot, and claiming an orphan's cell, is under
 * ScShared.lock.  Words and cells are atomic.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "postmaster/postmaster.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "settings.h"
#include "word_internal.h"

ScWords    *sc_words;
ScSlotPadded *sc_slots;
ScCellPadded *sc_cells;
pg_atomic_uint64 *sc_key_words;
uint8	   *sc_key_eager;

static HTAB *slot_hash;			/* key -> slot; under ScShared.lock */

typedef struct SlotEntry
{
	uint64		key;
	int			slot;
} SlotEntry;

/*
 * A prepared transaction has one cell, since it was prepared in this server run or
 * when the server was promoted; and one more if the first use of its database
 * meets it while it is being prepared, or has not met it before, or the first use
 * of its fallback.  The last cell stays free for the transaction that finds no
 * other (see sc_orphan_enter()).
 */
#define ORPHAN_CELLS	(3 * max_prepared_xacts + 1)

/* The startup process's, behind them. */
#define REPLAY_CELLS	1

/* All backends in commit and three times all that can be prepared do not overflow a word's count. */
StaticAssertDecl(4 * (uint64) MAX_BACKENDS < SC_PENDING_MASK, "too few bits for pending transactions");

/*-------------------------------------------------------------------------
 * Shared memory
 *-------------------------------------------------------------------------
 */

static Size
slots_size(void)
{
	return mul_size(sizeof(ScSlotPadded), add_size(sc_max_tables, SC_FALLBACKS + SC_NAMES_SLOTS));
}

/* The key words, and behind them what they are eager for. */
static Size
keys_size(void)
{
	return mul_size(sizeof(pg_atomic_uint64) + sizeof(uint8), sc_max_key_words);
}

static Size
words_size(void)
{
	Size		size = MAXALIGN(sizeof(ScWords));

	size = add_size(size, CACHELINEALIGN(slots_size()));
	size = add_size(size, CACHELINEALIGN(mul_size(sizeof(ScCellPadded),
												  MaxBackends + ORPHAN_CELLS + REPLAY_CELLS)));
	size = add_size(size, CACHELINEALIGN(keys_size()));
	return add_size(size, hash_estimate_size(sc_max_tables, sizeof(SlotEntry)));
}

static void
words_attach(void)
{
	bool		found;
	HASHCTL		info;

	sc_words = ShmemInitStruct(SC_NAME " words", sizeof(ScWords), &found);
	sc_slots = ShmemInitStruct(SC_NAME " slots", slots_size(), &found);
	sc_cells = ShmemInitStruct(SC_NAME " cells",
							   sizeof(ScCellPadded) * (MaxBackends + ORPHAN_CELLS + REPLAY_CELLS),
							   &found);
	sc_key_words = ShmemInitStruct(SC_NAME " key words", keys_size(), &found);
	sc_key_eager = (uint8 *) (sc_key_words + sc_max_key_words);
	info.keysize = sizeof(uint64);
	info.entrysize = sizeof(SlotEntry);
	slot_hash = SC_SHMEM_INIT_HASH(SC_NAME " slot hash", sc_max_tables,
								   &info, HASH_ELEM | HASH_BLOBS);
}

static void
words_init(int tranche)
{
	memset(sc_words, 0, sizeof(ScWords));
	sc_words->nslots = sc_max_tables;
	sc_words->nbackends = MaxBackends;
	sc_words->ncells = MaxBackends + ORPHAN_CELLS;
	pg_atomic_init_u32(&sc_words->ncells_used, 0);
	sc_words->nkeys = sc_max_key_words;
	sc_words->next_revision = 1;
	pg_atomic_init_u64(&sc_words->refusals, 0);

	memset(sc_slots, 0, slots_size());
	for (int i = 0; i < sc_slot_count(); i++)
	{
		pg_atomic_init_u64(&sc_slot_at(i)->word, SC_REVISION_ONE);
		pg_atomic_init_u64(&sc_slot_at(i)->key, SC_KEY_FREE);
		pg_atomic_init_u64(&sc_slot_at(i)->last_change, 0);
		pg_atomic_init_u64(&sc_slot_at(i)->published, 0);
		pg_atomic_init_u32(&sc_slot_at(i)->first_member, (uint32) SC_SLOT_NONE);
		pg_atomic_init_u32(&sc_slot_at(i)->root, (uint32) SC_SLOT_NONE);
		pg_atomic_init_u64(&sc_slot_at(i)->born, 0);
		for (int c = 0; c < SC_SLOT_CHANGES; c++)
			pg_atomic_init_u64(&sc_slot_at(i)->changes[c], 0);
		/* nobody need say so of what is not given away */
		sc_slot_at(i)->wanted = i >= sc_words->nslots;
	}
	pg_atomic_write_u64(&sc_slot_at(SC_CLUSTER_SLOT)->key, SC_KEY_CLUSTER);

	memset(sc_key_words, 0, keys_size());
	for (int i = 0; i < sc_words->nkeys; i++)
		pg_atomic_init_u64(&sc_key_words[i], SC_REVISION_ONE);

	memset(sc_cells, 0, sizeof(ScCellPadded) * (sc_words->ncells + REPLAY_CELLS));
	for (int i = 0; i < sc_words->ncells + REPLAY_CELLS; i++)
		pg_atomic_init_u64(&sc_cells[i].cell.xid, SC_CELL_EMPTY);
}

void
sc_word_init(void)
{
	static const ScPart part = {words_size, words_attach, words_init};

	sc_shmem_add(&part);
}

/*-------------------------------------------------------------------------
 * Slots
 *-------------------------------------------------------------------------
 */

static inline bool
is_catch_all_key(uint64 key)
{
	return !OidIsValid(SC_KEY_RELATION(key));
}

/* A database's fallback, whether it uses it or not. */
static inline int
fallback_of(Oid dboid)
{
	return sc_words->nslots + (int) (dboid % SC_FALLBACKS);
}

static inline bool
fallback_is_used(Oid dboid)
{
	return pg_atomic_read_u64(&sc_slot_at(fallback_of(dboid))->key) == SC_KEY_FALLBACK;
}

/* The slot that a key has; caller holds the lock. */
static int
slot_lookup(uint64 key)
{
	SlotEntry  *entry = hash_search(slot_hash, &key, HASH_FIND, NULL);

	if (entry)
		return entry->slot;
	if (is_catch_all_key(key) && fallback_is_used(SC_KEY_DATABASE(key)))
		return fallback_of(SC_KEY_DATABASE(key));
	return SC_SLOT_NONE;
}

/*
 * A table gets a slot of its own.  Documents may have been built while it had
 * none, and know of its changes by the catch-all word only: move that, before
 * any writer can count on the slot.  A writer can as soon as the slot has the key
 * of its table, if it remembers the slot from before.  Caller holds the lock.
 */
static void
slot_tell_others(uint64 key)
{
	int			catch_all;

	if (!sc_words->slot_refused || is_catch_all_key(key))
		return;
	/* a database without one has no documents */
	catch_all = slot_lookup(SC_KEY(SC_KEY_DATABASE(key), InvalidOid));
	if (catch_all != SC_SLOT_NONE)
		pg_atomic_fetch_add_u64(&sc_slot_at(catch_all)->word, SC_REVISION_ONE);
}

/*
 * A member's slot is no longer one, and writers will not find it by its root: labels
 * that have its word must not be current any more.  Caller holds the lock, exclusive.
 */
static void
member_unlink(int member)
{
	ScSlot	   *it = sc_slot_at(member);
	int			root = sc_slot_root(member);
	int			next = root == SC_SLOT_NONE ? SC_SLOT_NONE : sc_slot_first_member(root);

	if (root == SC_SLOT_NONE)
		return;
	pg_atomic_write_u64(&it->born,
						SC_REVISION(pg_atomic_fetch_add_u64(&it->word, SC_REVISION_ONE)) + 1);
	if (next == member)
		pg_atomic_write_u32(&sc_slot_at(root)->first_member, (uint32) it->next_member);
	else
	{
		while (sc_slot_at(next)->next_member != member)
			next = sc_slot_at(next)->next_member;
		sc_slot_at(next)->next_member = it->next_member;
	}
	it->settled = false;
	pg_write_barrier();
	pg_atomic_write_u32(&it->root, (uint32) SC_SLOT_NONE);
}

/* A slot is given away: its table is in no tree.  Caller holds the lock, exclusive. */
static void
slot_leave_tree(int slot)
{
	int			member;

	member_unlink(slot);
	while ((member = sc_slot_first_member(slot)) != SC_SLOT_NONE)
		member_unlink(member);
}

/*
 * Take a slot into use: a free one, or one that nobody wants any more and
 * that no committing transaction counts on.  A member's is one of these, since
 * everything else comes before it; but not for another member.  Caller holds the lock.
 *
 * A writer adds to a word without the lock and looks at the key afterwards.
 * So the key is first made one that nobody looks for, and the word then
 * swapped from "nothing pending" to a higher revision: either that fails,
 * since a writer was there first, or the writer sees that the key is not its
 * own, takes its count back and comes here for the lock.
 */
static int
slot_take(uint64 key, bool for_member)
{
	bool		found = false;

	/* each commit that writes a table without a slot comes here */
	if (sc_words->none_to_take)
		return SC_SLOT_NONE;
	for (int unwanted = 0; unwanted <= 1; unwanted++)
	{
		for (int i = SC_CLUSTER_SLOT + 1; i < sc_words->nslots; i++)
		{
			ScSlot	   *slot = sc_slot_at(i);
			uint64		old_key = pg_atomic_read_u64(&slot->key);
			uint64		word;
			uint64		revision;

			if (unwanted ? slot->wanted : old_key != SC_KEY_FREE)
				continue;
			if (for_member && sc_slot_is_member(i))
				continue;
			found = true;

			word = pg_atomic_read_u64(&slot->word);
			if (SC_PENDING(word) != 0)
				continue;
			SC_POINT("slot-take");
			pg_atomic_write_u64(&slot->key, SC_KEY_TAKING);
			pg_memory_barrier();
			revision = Max(SC_REVISION(word), sc_words->next_revision) + 1;
			if (!pg_atomic_compare_exchange_u64(&slot->word, &word,
												revision << SC_PENDING_BITS))
			{
				pg_atomic_write_u64(&slot->key, old_key);
				continue;
			}

			slot_leave_tree(i);
			/* who writes a member marks its root as well */
			if (!for_member)
				slot_tell_others(key);
			pg_atomic_write_u64(&slot->born, revision);
			pg_atomic_write_u64(&slot->key, key);
			SC_POINT("slot-key");
			if (old_key != SC_KEY_FREE)
				hash_search(slot_hash, &old_key, HASH_REMOVE, NULL);
			sc_words->next_revision = revision;
			pg_atomic_write_u64(&slot->last_change, 0);
			slot->prepared_known = false;
			slot->eager = 0;
			slot->listened = slot->keys_missing = false;
			/* in use until somebody says otherwise */
			slot->wanted = !for_member;
			return i;
		}
	}
	if (!for_member)
		sc_words->none_to_take = !found;
	return SC_SLOT_NONE;
}

/* Does a definition still use a slot?  Caller holds the lock, exclusive. */
static void
slot_set_wanted(int slot, bool wanted)
{
	sc_slot_at(slot)->wanted = wanted;
	if (!wanted)
		sc_words->none_to_take = false;
}

/* No slot is to be had for a key; caller holds the lock, exclusive. */
static int
slot_refuse(uint64 key)
{
	int			fallback = fallback_of(SC_KEY_DATABASE(key));

	pg_atomic_fetch_add_u64(&sc_words->refusals, 1);
	if (!is_catch_all_key(key))
	{
		sc_words->slot_refused = true;
		return SC_SLOT_NONE;
	}
	pg_atomic_write_u64(&sc_slot_at(fallback)->key, SC_KEY_FALLBACK);
	return fallback;
}

/* A key has a slot that was taken; false, if that cannot be.  Caller holds the lock, exclusive. */
static bool
slot_enter(uint64 key, int slot)
{
	SlotEntry  *entry = hash_search(slot_hash, &key, HASH_ENTER_NULL, NULL);

	if (entry)
	{
		entry->slot = slot;
		return true;
	}
	/* cannot be: the hash has room for every slot */
	pg_atomic_write_u64(&sc_slot_at(slot)->key, SC_KEY_FREE);
	slot_set_wanted(slot, false);
	return false;
}

int
sc_slot_find(uint64 key, bool create)
{
	int			slot;

	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	slot = slot_lookup(key);
	LWLockRelease(&sc_shared->lock);
	if (slot != SC_SLOT_NONE || !create)
		return slot;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	slot = slot_lookup(key);
	if (slot == SC_SLOT_NONE)
	{
		slot = slot_take(key, false);
		if (slot == SC_SLOT_NONE || !slot_enter(key, slot))
			slot = slot_refuse(key);
	}
	LWLockRelease(&sc_shared->lock);
	return slot;
}

/* Note whether a definition still uses a slot. */
bool
sc_slot_want(int slot, bool wanted)
{
	bool		before;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	before = sc_slot_at(slot)->wanted;
	slot_set_wanted(slot, wanted);
	LWLockRelease(&sc_shared->lock);
	return before;
}

int
sc_slot_count(void)
{
	return sc_slots_all();
}

int
sc_word_count(void)
{
	return sc_slots_all() + sc_words->nkeys;
}

int
sc_slot_of_names(void)
{
	return sc_words->nslots + SC_FALLBACKS + (int) (MyDatabaseId % SC_NAMES_SLOTS);
}

bool
sc_slot_all_taken(void)
{
	for (int i = SC_CLUSTER_SLOT + 1; i < sc_words->nslots; i++)
		if (!sc_slot_at(i)->wanted)
			return false;
	return true;
}

uint64
sc_slot_refusals(void)
{
	return pg_atomic_read_u64(&sc_words->refusals);
}

/* May a catch-all be that of a database, now or later in this server run? */
bool
sc_slot_may_cover(int catch_all, Oid dboid)
{
	return dboid == MyDatabaseId || catch_all == fallback_of(dboid);
}

int
sc_slot_next(int slot, Oid dboid, Oid *relid)
{
	while (++slot < sc_words->nslots)
	{
		uint64		key = pg_atomic_read_u64(&sc_slot_at(slot)->key);

		*relid = SC_KEY_RELATION(key);
		if (SC_KEY_DATABASE(key) == dboid && OidIsValid(*relid) &&
			(sc_slot_at(slot)->wanted || sc_slot_is_member(slot)))
			return slot;
	}
	return SC_SLOT_NONE;
}

void
sc_slot_forget_database(Oid dboid)
{
	for (int i = SC_CLUSTER_SLOT + 1; i < sc_words->nslots; i++)
		if (SC_KEY_DATABASE(pg_atomic_read_u64(&sc_slot_at(i)->key)) == dboid)
		{
			slot_set_wanted(i, false);
			slot_leave_tree(i);
		}
}

static inline uint8 *
eager_of(int slot)
{
	return sc_slot_is_key(slot) ? &sc_key_eager[slot - sc_slots_all()] : &sc_slot_at(slot)->eager;
}

void
sc_slot_add_eager(int slot, uint8 eager)
{
	sc_slot_set_eager(slot, *eager_of(slot) | eager);
}

void
sc_slot_set_eager(int slot, uint8 eager)
{
	uint8	   *its = eager_of(slot);

	/* only then is the cache line written, which all writers read */
	if (*its != eager)
		*its = eager;
}

void
sc_slot_note_published(int slot, uint64 revision)
{
	ScSlot	   *it;

	if (sc_slot_is_key(slot))
		return;
	it = sc_slot_at(slot);
	if (pg_atomic_read_u64(&it->published) >= revision)
		return;
	it->next_change++;
	pg_atomic_write_u64(&it->published, revision);
}

/* Does any of its reasons count now? */
bool
sc_slot_is_eager(int slot)
{
	uint8		mask = sc_eager_refresh ? SC_EAGER_BY_OPTION | SC_EAGER_BY_SETTING : SC_EAGER_BY_OPTION;

	return (*eager_of(slot) & mask) != 0;
}

/* For the database that this process is connected to. */
void
sc_slot_listen(void)
{
	int			catch_all = sc_slot_find(SC_KEY_CATCH_ALL, true);

	if (catch_all != SC_SLOT_NONE)
		sc_slot_at(catch_all)->listened = true;
}

bool
sc_slot_is_listened(void)
{
	int			catch_all = sc_slot_find(SC_KEY_CATCH_ALL, false);

	return catch_all != SC_SLOT_NONE && sc_slot_at(catch_all)->listened;
}

void
sc_slot_note_keys_missing(void)
{
	int			catch_all = sc_slot_find(SC_KEY_CATCH_ALL, false);

	if (catch_all != SC_SLOT_NONE)
		sc_slot_at(catch_all)->keys_missing = true;
}

bool
sc_slot_lacks_keys(void)
{
	int			catch_all = sc_slot_find(SC_KEY_CATCH_ALL, false);

	return catch_all != SC_SLOT_NONE && sc_slot_at(catch_all)->keys_missing;
}

bool
sc_slot_take_keys_missing(void)
{
	if (!sc_slot_lacks_keys())
		return false;
	sc_slot_at(sc_slot_find(SC_KEY_CATCH_ALL, false))->keys_missing = false;
	return true;
}

/*-------------------------------------------------------------------------
 * Key words
 *-------------------------------------------------------------------------
 */

bool
sc_slot_is_key(int slot)
{
	return slot >= sc_slots_all();
}

/* The finalizer of MurmurHash3: all bits count in all bits. */
static inline uint64
mix(uint64 hash)
{
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return hash ^ (hash >> 33);
}

uint64
sc_key_seed(uint64 table, const char *column)
{
	return hash_bytes_extended((const unsigned char *) column, (int) strlen(column), mix(table));
}

int
sc_key_word_of(uint64 seed, uint64 hash)
{
	return sc_slots_all() + (int) (mix(hash_combine64(seed, hash)) % (uint64) sc_words->nkeys);
}

int
sc_key_word(uint64 table, const char *column, uint64 hash)
{
	return sc_key_word_of(sc_key_seed(table, column), hash);
}

/* No column has an empty name. */
int
sc_key_coarse(uint64 table)
{
	return sc_key_word(table, "", 0);
}

/*-------------------------------------------------------------------------
 * Members
 *-------------------------------------------------------------------------
 */

/* The slot of a tree's root that may have members; caller holds the lock. */
static int
root_lookup(uint64 key)
{
	int			slot = slot_lookup(key);

	return slot > SC_CLUSTER_SLOT && slot < sc_words->nslots ? slot : SC_SLOT_NONE;
}

static int
count_members(int root)
{
	int			n = 0;

	for (int i = sc_slot_first_member(root); i != SC_SLOT_NONE; i = sc_slot_at(i)->next_member)
		n++;
	return n;
}

void
sc_member_want(uint64 root, uint64 member)
{
	int			root_slot;
	int			slot;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	root_slot = root_lookup(root);
	slot = slot_lookup(member);
	if (root_slot != SC_SLOT_NONE && root_slot != slot &&
		(slot == SC_SLOT_NONE || sc_slot_root(slot) != root_slot) &&
		count_members(root_slot) < SC_MAX_MEMBERS)
	{
		if (slot == SC_SLOT_NONE)
		{
			slot = slot_take(member, true);
			if (slot != SC_SLOT_NONE && !slot_enter(member, slot))
				slot = SC_SLOT_NONE;
		}
		else
			member_unlink(slot);
		/* the slot may have been the root's, which nobody wants any more */
		if (slot != SC_SLOT_NONE && root_lookup(root) == root_slot)
		{
			sc_slot_at(slot)->settled = false;
			sc_slot_at(slot)->next_member = sc_slot_first_member(root_slot);
			pg_atomic_write_u32(&sc_slot_at(slot)->root, (uint32) root_slot);
			pg_atomic_write_u32(&sc_slot_at(root_slot)->first_member, (uint32) slot);
		}
	}
	LWLockRelease(&sc_shared->lock);
}

/*
 * May labels have a member's word?  Whoever has not found it when it was made is
 * pending on the root's word, or over.  Caller holds the lock, exclusive.
 */
static void
member_settle(int root, int member)
{
	/* who adds to the root's word from here on finds the member */
	pg_memory_barrier();
	if (SC_PENDING(pg_atomic_read_u64(&sc_slot_at(root)->word)) == 0 || SC_WEAK(SC_PROTOCOL_MEMBER_UNSETTLED))
		sc_slot_at(member)->settled = true;
}

int
sc_member_read(uint64 root, uint64 member, ScMemberSeen *seen, int max)
{
	int			n = 0;
	int			root_slot;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	root_slot = root_lookup(root);
	for (int i = root_slot == SC_SLOT_NONE ? SC_SLOT_NONE : sc_slot_first_member(root_slot);
		 i != SC_SLOT_NONE && n < max; i = sc_slot_at(i)->next_member)
	{
		uint64		key = pg_atomic_read_u64(&sc_slot_at(i)->key);

		if (member != 0 && key != member)
			continue;
		if (!sc_slot_at(i)->settled)
			member_settle(root_slot, i);
		if (!sc_slot_at(i)->settled)
			continue;
		seen[n].key = key;
		seen[n].word.slot = (uint32) i;
		seen[n++].word.revision = sc_word_revision(i);
	}
	LWLockRelease(&sc_shared->lock);
	return n;
}

void
sc_member_forget(int slot)
{
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	member_unlink(slot);
	LWLockRelease(&sc_shared->lock);
}

bool
sc_slot_is_member(int slot)
{
	return sc_slot_root(slot) != SC_SLOT_NONE;
}

bool
sc_member_is_of(const ScWordSeen *seen, int root)
{
	return sc_slot_root((int) seen->slot) == root;
}

/*
 * Under the lock no slot is given away.  "found" must add to the word before that is
 * released, and raises nothing.
 */
void
sc_member_visit(int root, uint64 member, void (*found) (int slot, uint64 key))
{
	int			slot;

	LWLockAcquire(&sc_shared->lock, LW_SHARED);
	if (member != 0)
	{
		slot = slot_lookup(member);
		if (slot != SC_SLOT_NONE && sc_slot_root(slot) == root)
			found(slot, member);
	}
	else
		for (slot = sc_slot_first_member(root); slot != SC_SLOT_NONE; slot = sc_slot_at(slot)->next_member)
			found(slot, pg_atomic_read_u64(&sc_slot_at(slot)->key));
	LWLockRelease(&sc_shared->lock);
}

/*-------------------------------------------------------------------------
 * Orphans
 *-------------------------------------------------------------------------
 */

/*
 * Settle an orphan if its transaction is over; losing the race is fine.  Takes
 * a lock for a moment, without waiting.  The words are read before the swap:
 * they are stable while the xid is there.
 */
static void
orphan_settle(ScCell *orphan, uint64 xid)
{
	uint32		nslots = orphan->nslots;
	uint32		slots[SC_ORPHAN_SLOTS];
	LOCKTAG		tag;

	/* what is prepared when recovery ends gets its locks later */
	if (RecoveryInProgress())
		return;

	/* of a session, since the worker does this between transactions */
	SET_LOCKTAG_TRANSACTION(tag, (TransactionId) xid);
	if (SC_LOCK_ACQUIRE_NOWAIT(&tag, ShareLock, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	LockRelease(&tag, ShareLock, true);

	memcpy(slots, orphan->slots, sizeof(slots));
	SC_POINT("settle-found");
	if (!pg_atomic_compare_exchange_u64(&orphan->xid, &xid, SC_CELL_SETTLING))
		return;
	SC_POINT("settle");
	for (uint32 i = 0; i < nslots; i++)
	{
		uint64		revision = sc_word_publish(slots[i]);

		sc_word_note_change((int) slots[i], revision, GetCurrentTimestamp());
	}
	pg_write_barrier();
	pg_atomic_write_u64(&orphan->xid, SC_CELL_EMPTY);
}

/*
 * Settle every orphan whose transaction is over.
 */
void
sc_orphan_settle_finished(void)
{
	for (int i = sc_words->nbackends; i < sc_words->ncells; i++)
	{
		ScCell	   *cell = &sc_cells[i].cell;
		uint64		xid = pg_atomic_read_u64(&cell->xid);

		pg_read_barrier();
		if (xid > SC_CELL_SETTLING)
			orphan_settle(cell, xid);
	}
}

/*
 * Enter a prepared transaction with pending words; or one that was found, with a
 * catch-all's.  The caller has counted on each of them, and those that were over
 * when it began to prepare are settled: so there is a cell (see ORPHAN_CELLS).
 * Should that be wrong, the last cell is made one that nobody can settle, and
 * nothing is proven any more until the server restarts.
 */
void
sc_orphan_enter(uint64 xid, const uint32 *slots, int nslots, bool found)
{
	int			last = sc_words->ncells - 1;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	for (int i = sc_words->nbackends; i < last; i++)
	{
		ScCell	   *cell = &sc_cells[i].cell;

		if (pg_atomic_read_u64(&cell->xid) != SC_CELL_EMPTY)
			continue;
		cell->nslots = nslots;
		cell->found = found;
		memcpy(cell->slots, slots, sizeof(uint32) * nslots);
		pg_write_barrier();
		pg_atomic_write_u64(&cell->xid, xid);
		LWLockRelease(&sc_shared->lock);
		return;
	}
	LWLockRelease(&sc_shared->lock);

	Assert(false);
	pg_atomic_write_u64(&sc_cells[last].cell.xid, SC_CELL_SETTLING);
}

/*
 * Does a cell of a prepared transaction concern a catch-all as much as need be?
 * What was prepared in this server run has the words of its tables; what was
 * found, a catch-all.  A database may come to another one: it had a slot that
 * nobody wanted, then the fallback.  Caller holds the lock.
 */
static bool
orphan_covers(const ScCell *orphan, int catch_all)
{
	return !orphan->found || orphan->slots[0] == (uint32) catch_all;
}

/*
 * Enter the transactions that were found to be prepared, unless somebody else
 * has done so: full xids, with the slot of a catch-all word, which stands for
 * whatever tables they have written.  They are those of this database, and if
 * that has a fallback, of all that may come to have the same.
 */
void
sc_orphan_enter_found(int catch_all, uint64 *xids, int nxids)
{
	sc_orphan_settle_finished();
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (sc_slot_is_of(catch_all, SC_KEY_CATCH_ALL) && !sc_slot_at(catch_all)->prepared_known)
	{
		for (int i = 0; i < nxids; i++)
		{
			int			unused = -1;

			/*
			 * What has finished is in the label that is read after this.  It
			 * may also have been settled already, and is not to be entered
			 * twice.
			 */
			bool		known = !TransactionIdIsInProgress((TransactionId) xids[i]);

			for (int c = sc_words->nbackends; c < sc_words->ncells - 1; c++)
			{
				uint64		xid = pg_atomic_read_u64(&sc_cells[c].cell.xid);

				if (xid == xids[i])
					known = known || orphan_covers(&sc_cells[c].cell, catch_all);
				else if (xid == SC_CELL_EMPTY && unused < 0)
					unused = c;
			}
			if (known)
				continue;

			/*
			 * count first, then show the xid; nothing is proven before we are
			 * done, since no label of this database was read yet
			 */
			sc_word_add_pending(catch_all);
			if (unused < 0)
			{
				Assert(false);
				unused = sc_words->ncells - 1;
				xids[i] = SC_CELL_SETTLING;
			}
			sc_cells[unused].cell.nslots = 1;
			sc_cells[unused].cell.found = true;
			sc_cells[unused].cell.slots[0] = catch_all;
			pg_write_barrier();
			pg_atomic_write_u64(&sc_cells[unused].cell.xid, xids[i]);
		}
		sc_slot_at(catch_all)->prepared_known = true;
	}
	LWLockRelease(&sc_shared->lock);
}

/*-------------------------------------------------------------------------
 * Reading words
 *-------------------------------------------------------------------------
 */

/* Widen an xid that is near the present. */
uint64
sc_word_full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

/*
 * Read one word of a label, found by its key, at first in the slot where it is
 * thought to be; false if it has no slot.  To be called before the snapshot is
 * taken.  The key is looked at again after the word: the slot may be given away
 * between, and then its word is another's.  If it is given away later, its
 * revision tells.
 */
bool
sc_word_read(ScWordSeen *seen, uint64 key, int slot)
{
	for (;; slot = SC_SLOT_NONE)
	{
		if (slot == SC_SLOT_NONE)
			slot = sc_slot_find(key, true);
		if (slot == SC_SLOT_NONE)
			return false;
		SC_POINT(key != SC_KEY_CLUSTER && key != SC_KEY_NAMES && OidIsValid((Oid) key) ?
				 "label-found" : "catch-all-found");
		seen->slot = slot;
		seen->revision = SC_REVISION(pg_atomic_read_u64(&sc_slot_at(slot)->word));
		pg_read_barrier();
		if (!sc_slot_is_of(slot, key))
			continue;
		if (!sc_slot_at(slot)->wanted && key != SC_KEY_CLUSTER)
			(void) sc_slot_want(slot, true);
		return true;
	}
}

void
sc_word_state(int slot, ScWordState *state)
{
	uint64		word = pg_atomic_read_u64(sc_word_at(slot));

	state->revision = SC_REVISION(word);
	state->pending = SC_PENDING(word);
	state->last_change = sc_slot_is_key(slot) ? 0 :
		(TimestampTz) pg_atomic_read_u64(&sc_slot_at(slot)->last_change);
}

uint64
sc_word_settled(int slot)
{
	uint64		word;

	if (slot == SC_SLOT_NONE || (slot != SC_CLUSTER_SLOT && !sc_slot_at(slot)->prepared_known))
		return SC_NEVER_CURRENT;
	pg_read_barrier();
	word = pg_atomic_read_u64(&sc_slot_at(slot)->word);
	return SC_PENDING(word) > 0 ? SC_NEVER_CURRENT : SC_REVISION(word);
}

pg_atomic_uint64 *
sc_word_address(const ScWordSeen *seen)
{
	return sc_word_at((int) seen->slot);
}

uint64
sc_word_at_rest(const ScWordSeen *seen)
{
	return seen->revision << SC_PENDING_BITS;
}

/*
 * Is a top-level transaction that was running at some time still running for
 * the snapshot?  Not by XidInMVCCSnapshot(), which may have to read pg_subtrans
 * first.  A snapshot that was taken on a standby has all xids, of subtransactions
 * too, in the one list; if that was too short, only these are missing.
 */
static bool
running_for(TransactionId xid, Snapshot snapshot)
{
	if (TransactionIdPrecedes(xid, snapshot->xmin))
		return false;
	if (TransactionIdFollowsOrEquals(xid, snapshot->xmax))
		return true;
	if (snapshot->takenDuringRecovery)
	{
		for (int32 i = 0; i < snapshot->subxcnt; i++)
			if (TransactionIdEquals(xid, snapshot->subxip[i]))
				return true;
		return false;
	}
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		if (TransactionIdEquals(xid, snapshot->xip[i]))
			return true;
	return false;
}

/* Are all transactions in cells running for the snapshot? */
static bool
cells_running_for(Snapshot snapshot)
{
	bool		running = true;
	uint64		oldest = 0;
	int			used = (int) pg_atomic_read_u32(&sc_words->ncells_used);
	uint64		replayed = pg_atomic_read_u64(&sc_cell_of_replay()->xid);

	if (replayed != SC_CELL_EMPTY && !running_for((TransactionId) replayed, snapshot))
		return false;

	for (int i = 0; i < sc_words->ncells; i++)
	{
		ScCell	   *cell;
		uint64		xid;

		/* on to the orphans */
		if (i < sc_words->nbackends && i >= used)
			i = sc_words->nbackends;
		cell = &sc_cells[i].cell;
		xid = pg_atomic_read_u64(&cell->xid);

		if (xid == SC_CELL_EMPTY)
			continue;
		if (xid == SC_CELL_SETTLING)
		{
			running = false;
			continue;
		}

		if (i < sc_words->nbackends)
		{
			if (!running_for((TransactionId) xid, snapshot))
				return false;
		}
		else
		{
			/*
			 * A finished one can have stood here for any time, also for more
			 * than half of the xids: compare in full.
			 */
			pg_read_barrier();
			if (oldest == 0)
				oldest = sc_word_full_xid(snapshot->xmin);
			if (xid < oldest || !running_for((TransactionId) xid, snapshot))
			{
				orphan_settle(cell, xid);
				running = false;
			}
		}
	}
	return running;
}

/*
 * Do the words that were seen stand for all that the snapshot sees?  Takes no lock
 * while no transaction is in commit.
 */
ScProof
sc_word_prove(const ScWordSeen *seen, int n, Snapshot snapshot)
{
	uint64		pending = 0;

	for (int i = 0; i < n; i++)
	{
		uint64		word = pg_atomic_read_u64(sc_word_at((int) seen[i].slot));

		if (SC_REVISION(word) != seen[i].revision)
			return SC_MOVED;
		pending |= SC_PENDING(word);
	}
	if (likely(pending == 0))
		return SC_CURRENT;

	SC_POINT("prove-pending");
	pg_read_barrier();
	if (snapshot == NULL || !cells_running_for(snapshot))
		return SC_PENDING_UNPROVEN;
	SC_POINT("prove-scanned");
	pg_read_barrier();

	for (int i = 0; i < n; i++)
		if (SC_REVISION(pg_atomic_read_u64(sc_word_at((int) seen[i].slot))) != seen[i].revision)
			return SC_MOVED;
	return SC_CURRENT;
}
