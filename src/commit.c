/*-------------------------------------------------------------------------
 *
 * commit.c
 *	  A transaction's marks, published at its commit; and the proof that what
 *	  was built at a label is current.
 *
 * The write side, in the order in which it happens:
 *
 *	0.	A statement that writes a tracked table marks the table's slot in a
 *		list of this backend (track.c finds out which).  Nothing is shared yet:
 *		a rollback costs nothing.  A subtransaction that rolls back leaves its
 *		marks, which may cost a needless rebuild.
 *	1.	PRE_COMMIT (or PRE_PREPARE): without an xid nothing was written, so
 *		nothing is done.  Else store the xid in this backend's cell, then add a
 *		pending transaction to each marked word.  An error after this, ours or
 *		another's, leads to step 4.
 *	2.	The transaction becomes visible to new snapshots.
 *	3.	COMMIT: one atomic add a word moves its revision and takes the pending
 *		transaction away; then the cell is emptied.  No error may be raised
 *		here, so nothing is allocated or locked.  A catch-all word, which stands
 *		for DDL, and with it the cell, waits until the transaction has sent its
 *		invalidations: a builder that read the new revision before might still
 *		plan its query by what is in its caches.  It does not wait for what comes
 *		after that, such as the files that are removed.
 *	4.	ABORT after step 1: pending transactions are taken away, then the cell
 *		is emptied.
 *	5.	PREPARE: the xid moves with its words into an orphan cell, since the
 *		backend that finishes it may be another one, which knows nothing of
 *		its tables.  Whoever finds that the transaction is over settles the
 *		orphan: swap the xid for SETTLING, do step 3 for its words, empty it.
 *		It is over when its lock on its xid is gone, which is released after its
 *		invalidations are sent.  After a rollback that is a needless change of
 *		revision.
 *
 * Between 2 and 3 the transaction is visible, but no revision shows it:
 * that is what the pending count is for.  The reader's side:
 *
 *		load the words; any revision that is not the label's: moved
 *		if no word has a transaction pending: current
 *		for each cell: its xid must still be running for the reader's snapshot
 *		load the words again; if the revisions are the label's still: current
 *
 * Why that is enough.  Let T be visible to the reader's snapshot, and not in
 * the label.  T added to its words before it became visible, so before the
 * snapshot was taken and the words loaded.  If the first load does not see
 * T's revision, it sees T pending.  Then the scan either meets T in its cell,
 * where it is not running for the snapshot; or finds the cell empty, so that
 * T's revision, moved before the cell was emptied, is seen by the second load.
 * An xid in a cell that has nothing to do with the words costs a hit at worst.
 *
 * A label is read before the snapshot that a section is built with: a
 * transaction missing from the snapshot moves a revision after the label.
 *
 * Keys.  A *keyed* label has, instead of a table's word, the key word of the one value
 * of a column that the query compares with, and the table's coarse word (word.c).  A
 * transaction that writes a table with a key trigger moves the table's word as ever, for
 * all other labels.  Its key trigger says the value that each row had and that it has,
 * and the words of these are moved with the others.  What the trigger does not say
 * moves the coarse word:
 *
 *		a plan that has begun to write the table, and whose row triggers have not
 *		fired when the transaction commits;
 *		TRUNCATE; what is applied from another server;
 *		a value that has no word, or does not fit into the list of this backend.
 *
 * While the transaction is open, it has written each row of each keyed table that it
 * writes, as far as its own reads are concerned.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "replication/origin.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "assure.h"
#include "clock.h"
#include "commit.h"
#include "request.h"
#include "settings.h"
#include "word_internal.h"

/* The marks of the current transaction. */
static ScSlotRef *marks = NULL;
static int	nmarks = 0;
static int	max_marks = 0;
static bool marks_overflow = false; /* no memory: stand for the cluster's word */
static int	nplaced = 0;		/* how many of them are pending in shared
								 * memory */
static bool overflow_placed = false;
static bool committing = false; /* between steps 1 and 3 */
static bool is_late = false;	/* within step 3: see late_commit() */
static bool untracked_write = false;	/* see
										 * sc_commit_begin_untracked_write() */
static bool own_rows = false;	/* see sc_commit_note_own_rows() */

/*
 * What of trees of partitions it has written, of which a mark has the root: these
 * members, or any.  Which of them have words is looked up when the roots' words have
 * the transaction pending, and not before: see word.c.
 */
static uint64 members[SC_MAX_MEMBERS_NOTED];
static int	nmembers = 0;
static bool all_members = false;
static int	nrouting = 0;		/* plans that have begun to write through a
								 * table above, and have not ended */

/* A keyed table that the current transaction writes. */
typedef struct KeyedTable
{
	uint64		key;			/* of the word table */
	int			coarse;			/* its coarse word */
	bool		is_coarse;		/* that is marked */
	bool		is_placed;		/* and pending */
} KeyedTable;

static KeyedTable *keyed = NULL;
static int	nkeyed = 0;
static int	max_keyed = 0;

/*
 * Plans that have begun to write a keyed table, and whose row triggers have not fired
 * yet.  One that fails is forgotten with the subtransaction that it was begun in: then
 * it has written nothing.
 */
typedef struct KeyedPlan
{
	const void *plan;
	int			keyed;
	SubTransactionId subid;
} KeyedPlan;

#define MAX_PLANS	256			/* more of them at a time are not told apart */

static KeyedPlan plans[MAX_PLANS];
static int	nplans = 0;

/*
 * The key words that are marked: a list, and a set of open addresses that finds them
 * there.  Both are zeroed when nothing is marked.
 */
#define MAX_KEYS	4096
#define KEY_PLACES	(4 * MAX_KEYS)

typedef struct KeyMarks
{
	int			slots[MAX_KEYS];
	int			place[MAX_KEYS];	/* of each in the set */
	int16		set[KEY_PLACES];	/* 1 + number in the list; 0: free */
} KeyMarks;

static KeyMarks *keys = NULL;
static int	nkeys = 0;
static int	nkeys_placed = 0;

/*
 * The revisions that this session's own commits made of key words.  Two of them may
 * have the same place, so that one is forgotten: then what was keyed before counts as
 * hidden.
 */
#define OWN_KEYS	1024

static ScWordSeen *own_keys = NULL;
static int64 own_unknown_keys = 0;

/*
 * The revisions that this session's own commits made, by slot, for
 * read-your-writes; when it last committed, on the monotonic clock; and when it
 * finished a prepared transaction, whose tables it cannot know.
 */
static uint64 *own_revisions = NULL;
static int64 own_commit = 0;
static int64 own_unknown_commit = 0;

/*
 * Step 1 for one mark.  Its slot may have been given to another table since
 * the mark was made, then find the table's new one; without one use its
 * database's catch-all word, which has one always.  Throws nothing.
 */
static void
mark_place(ScSlotRef *mark)
{
	for (;;)
	{
		if (mark->slot >= 0)
		{
			SC_POINT("mark-place");
			/* the add is a full barrier: cell before it, key after it */
			sc_word_add_pending(mark->slot);
			if (sc_slot_is_of(mark->slot, mark->key))
				return;
			sc_word_withdraw(mark->slot);
		}

		mark->slot = sc_slot_find(mark->key, true);
		if (mark->slot < 0)
			mark->key = SC_KEY(SC_KEY_DATABASE(mark->key), InvalidOid);
	}
}

static bool mark_add(int slot, uint64 key);

/* A member that was written has a word, which is kept until this returns: step 1 for that. */
static void
member_place(int slot, uint64 key)
{
	for (int i = 0; i < nmarks; i++)
		if (marks[i].key == key)
			return;
	sc_word_add_pending(slot);
	if (mark_add(slot, key))
		nplaced = nmarks;
	else
		sc_word_withdraw(slot);
}

/* Step 1 for the words of members: all that has been marked is placed. */
static void
members_place(void)
{
	int			n = nplaced;

	SC_POINT("member-look");
	for (int i = 0; i < n; i++)
	{
		int			root = marks[i].slot;

		/* the add to the root's word was a full barrier */
		if (root == SC_CLUSTER_SLOT || sc_slot_first_member(root) == SC_SLOT_NONE)
			continue;
		if (all_members || nrouting > 0)
			sc_member_visit(root, 0, member_place);
		for (int m = 0; !all_members && m < nmembers; m++)
			sc_member_visit(root, members[m], member_place);
	}
}

/* Step 1 for keys.  What key words stand for is fixed, so nothing is looked at again. */
static void
keys_place(void)
{
	for (int i = 0; i < nplans; i++)
		keyed[plans[i].keyed].is_coarse = true;
	for (int i = 0; i < nkeyed; i++)
		if (keyed[i].is_coarse && !keyed[i].is_placed && !SC_WEAK(SC_PROTOCOL_KEYS_FINE))
		{
			keyed[i].is_placed = true;
			sc_word_add_pending(keyed[i].coarse);
		}
	while (nkeys_placed < nkeys)
		sc_word_add_pending(keys->slots[nkeys_placed++]);
}

/* Step 1 for all marks that are not placed yet. */
static void
marks_place(void)
{
	ScCell	   *cell = sc_cell_mine();

	if (pg_atomic_read_u64(&cell->xid) == SC_CELL_EMPTY)
	{
		/*
		 * A mark that comes with no xid while the transaction is committing
		 * is that of a statement which another library begins in its own
		 * callback: it is about to have one.
		 */
		FullTransactionId xid = GetTopFullTransactionId();

		uint32		used = pg_atomic_read_u32(&sc_words->ncells_used);

		/* with few connections a scan is short, whatever max_connections is */
		while (used <= (uint32) SC_MY_BACKEND &&
			   !pg_atomic_compare_exchange_u32(&sc_words->ncells_used, &used, SC_MY_BACKEND + 1))
			;
		pg_atomic_write_u64(&cell->xid, U64FromFullTransactionId(xid));
		pg_memory_barrier();
		SC_POINT("commit-cell");
	}

	while (nplaced < nmarks)
		mark_place(&marks[nplaced++]);
	members_place();
	keys_place();
	if (marks_overflow && !overflow_placed)
	{
		overflow_placed = true;
		sc_word_add_pending(SC_CLUSTER_SLOT);
	}
}

/*
 * Room in a list that is full; "first" is its size when it is made.  False without
 * memory.  Raises nothing.
 */
static bool
list_grow(void **list, int *max, int first, Size size)
{
	int			new_max = Max(*max * 2, first);
	void	   *bigger = MemoryContextAllocExtended(TopMemoryContext, size * new_max, MCXT_ALLOC_NO_OOM);

	if (bigger == NULL)
		return false;
	if (*list)
	{
		memcpy(bigger, *list, size * *max);
		pfree(*list);
	}
	*list = bigger;
	*max = new_max;
	return true;
}

/*
 * One more mark.  This runs inside somebody's write, so it raises nothing:
 * without memory the cluster's word stands for the mark; then it returns false.
 */
static bool
mark_add(int slot, uint64 key)
{
	if (SC_FAILS("marks") ||
		(nmarks == max_marks && !list_grow((void **) &marks, &max_marks, 64, sizeof(ScSlotRef))))
	{
		marks_overflow = true;
		return false;
	}
	marks[nmarks].slot = slot;
	marks[nmarks].key = key;
	nmarks++;
	return true;
}

/* Mark one slot, if it is not marked.  Raises nothing. */
static void
mark_slot(int slot, uint64 key)
{
	if (SC_WEAK(SC_PROTOCOL_AT_WRITE) && slot >= 0)
	{
		pg_atomic_fetch_add_u64(&sc_slot_at(slot)->word, SC_REVISION_ONE);
		return;
	}

	for (int i = 0; i < nmarks; i++)
		if (marks[i].key == key)
			return;
	(void) mark_add(slot, key);
}

/*
 * Mark the slot of a table that the current transaction writes.  A table has one
 * slot, and keeps it while such a transaction is open (track.c).  Raises nothing.
 */
void
sc_commit_mark(const ScSlotRef *ref)
{
	mark_slot(ref->slot, ref->key);
	if (committing)
		marks_place();
}

/*
 * A member of a tree of partitions is written, or what is below it; its root is
 * marked after this.  Raises nothing.
 */
void
sc_commit_note_member(uint64 key)
{
	for (int i = 0; i < nmembers; i++)
		if (members[i] == key)
			return;
	if (nmembers < SC_MAX_MEMBERS_NOTED)
		members[nmembers++] = key;
	else
		all_members = true;
}

/* Of the trees whose roots are marked, any member may have been written. */
void
sc_commit_note_all_members(void)
{
	all_members = true;
}

/*
 * A plan begins to write through a table above members, or has ended, and all members
 * that it has written are noted.  One that fails does not end: then any may have been
 * written, which costs a needless rebuild.
 */
void
sc_commit_begin_routing(void)
{
	nrouting++;
}

void
sc_commit_end_routing(void)
{
	if (nrouting > 0)
		nrouting--;
}

/* The number of a keyed table that is written; SC_KEYED_NONE without memory, as in mark_add(). */
static int
keyed_add(uint64 table)
{
	/* the one that was added last is asked for at each row */
	for (int i = nkeyed - 1; i >= 0; i--)
		if (keyed[i].key == table)
			return i;
	if (SC_FAILS("keyed") ||
		(nkeyed == max_keyed && !list_grow((void **) &keyed, &max_keyed, 16, sizeof(KeyedTable))))
	{
		marks_overflow = true;
		return SC_KEYED_NONE;
	}
	keyed[nkeyed].key = table;
	keyed[nkeyed].coarse = sc_key_coarse(table);
	keyed[nkeyed].is_coarse = keyed[nkeyed].is_placed = false;
	return nkeyed++;
}

/* What is marked after step 1 is placed at once. */
static inline void
place_late(void)
{
	if (committing)
		marks_place();
}

int
sc_commit_keyed(uint64 table)
{
	int			it = keyed_add(table);

	if (it == SC_KEYED_NONE)
		place_late();
	return it == SC_KEYED_NONE || keyed[it].is_coarse ? SC_KEYED_NONE : it;
}

/* Put a key word into the list, if it is not there; false if it does not fit. */
static bool
keys_add(int slot)
{
	uint32		place = (uint32) slot * 2654435769U % KEY_PLACES;

	if (keys == NULL)
		keys = SC_FAILS("keys") ? NULL :
			MemoryContextAllocExtended(TopMemoryContext, sizeof(KeyMarks), MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	if (keys == NULL)
		return false;
	for (; keys->set[place] != 0; place = (place + 1) % KEY_PLACES)
		if (keys->slots[keys->set[place] - 1] == slot)
			return true;
	if (nkeys == MAX_KEYS)
		return false;
	keys->slots[nkeys] = slot;
	keys->place[nkeys] = (int) place;
	nkeys++;
	keys->set[place] = (int16) nkeys;
	return true;
}

/* A row of a keyed table has, or had, the value that a key word stands for. */
void
sc_commit_mark_key(int it, int slot)
{
	if (!keys_add(slot))
		keyed[it].is_coarse = true;
	place_late();
}

/* It is not known which rows of a keyed table are written. */
void
sc_commit_mark_coarse(uint64 table)
{
	int			it = keyed_add(table);

	if (it != SC_KEYED_NONE)
		keyed[it].is_coarse = true;
	place_late();
}

/*
 * A plan begins to write a keyed table.  During a commit nobody waits for its end.
 */
void
sc_commit_begin_keyed(const void *plan, uint64 table)
{
	int			it = keyed_add(table);

	if (it == SC_KEYED_NONE)
		place_late();
	else if (nplans == MAX_PLANS || committing)
		sc_commit_mark_coarse(table);
	else if (!keyed[it].is_coarse && (nplans == 0 || plans[nplans - 1].plan != plan || plans[nplans - 1].keyed != it))
	{
		plans[nplans].plan = plan;
		plans[nplans].keyed = it;
		plans[nplans++].subid = GetCurrentSubTransactionId();
	}
}

/* Forget the plans that are this one, or were begun in this subtransaction or below it. */
static void
plans_forget(const void *plan, SubTransactionId subid)
{
	int			n = 0;

	for (int i = 0; i < nplans; i++)
		if (plans[i].plan != plan && (subid == InvalidSubTransactionId || plans[i].subid < subid))
			plans[n++] = plans[i];
	nplans = n;
}

/* The row triggers of a plan have fired. */
void
sc_commit_end_keyed(const void *plan)
{
	if (nplans > 0)
		plans_forget(plan, InvalidSubTransactionId);
}

/* They are among those of another plan, and fire with these. */
void
sc_commit_pass_keyed(const void *plan, const void *to)
{
	for (int i = 0; i < nplans; i++)
		if (plans[i].plan == plan)
			plans[i].plan = to;
}

/* They fire at nobody knows what time, or never. */
void
sc_commit_give_up_keyed(const void *plan)
{
	bool		found = false;

	for (int i = 0; i < nplans; i++)
		if (plans[i].plan == plan)
			found = keyed[plans[i].keyed].is_coarse = true;
	if (!found)
		return;
	sc_commit_end_keyed(plan);
	place_late();
}

static void
subtransaction_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && nplans > 0)
		plans_forget(NULL, mine);
}

/*
 * Mark everything in this database: DDL, and what cannot be placed.
 */
void
sc_commit_mark_catch_all(void)
{
	sc_assure_refuse();
	mark_slot(SC_SLOT_NONE, SC_KEY_CATCH_ALL);
	if (committing)
		marks_place();
}

/* Mark what names mean in this database. */
void
sc_commit_mark_names(void)
{
	sc_assure_refuse();
	mark_slot(sc_slot_of_names(), SC_KEY_NAMES);
	if (committing)
		marks_place();
}

/* Mark everything in the cluster: DDL on shared objects. */
void
sc_commit_mark_cluster(void)
{
	sc_assure_refuse();
	mark_slot(SC_CLUSTER_SLOT, SC_KEY_CLUSTER);
	if (committing)
		marks_place();
}

/*
 * The transaction begins to write tables that will be marked only when their
 * triggers fire (COPY, TRUNCATE): until that write ends, its own reads are
 * private.  Returns whether such a write goes on already, for whoever ends this
 * one.
 */
bool
sc_commit_begin_untracked_write(void)
{
	bool		before = untracked_write;

	untracked_write = true;
	return before;
}

/*
 * The write has ended: its triggers have fired, or it has failed and nothing of
 * it will be read.
 */
void
sc_commit_end_untracked_write(bool before)
{
	untracked_write = before;
}

/* Is this transaction past its step 1? */
bool
sc_commit_has_begun(void)
{
	return committing;
}

/*
 * This session has temporary tables that inherit from sources, or no longer: it
 * is not to be answered before that is looked into (track.c).
 */
void
sc_commit_note_own_rows(bool has_own_rows)
{
	own_rows = has_own_rows;
}

/*
 * Does this transaction apply what another server has written?  It is then
 * marked at its commit only (track.c).  The setting alone does not tell: a
 * trigger of the table may change it, for the transaction or for good.  So does
 * what the process is, or where it says that its changes come from.
 */
bool
sc_commit_applies(void)
{
	return (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
			SC_REPLICATION_ORIGIN != 0 ||
			(SC_IN_BACKGROUND_WORKER && IsLogicalWorker())) &&
		TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* Has this transaction begun to write what its marks do not show? */
static inline bool
wrote_unmarked(void)
{
	return untracked_write || marks_overflow || unlikely(sc_commit_applies());
}

bool
sc_commit_wrote_anything(void)
{
	return nmarks > 0 || nkeyed > 0 || wrote_unmarked();
}

/* May this session see more in the tables than others do? */
bool
sc_commit_sees_own(void)
{
	return nmarks > 0 || nkeyed > 0 || own_rows || wrote_unmarked();
}

/* Has the slot of a word that was seen become another table's, or another root's member? */
static inline bool
was_given_away(const ScWordSeen *seen)
{
	if (sc_slot_is_key((int) seen->slot))
		return false;
	/* it is born anew before it is no member any more */
	pg_read_barrier();
	return seen->revision < pg_atomic_read_u64(&sc_slot_at((int) seen->slot)->born) &&
		seen->revision != SC_NEVER_CURRENT;
}

/*
 * Has this transaction begun to write what the label stands for?  Who has written any
 * of a tree is not answered by the words of its members.
 */
bool
sc_commit_wrote(const ScLabel *label)
{
	if (wrote_unmarked())
		return true;
	for (int m = 0; m < nmarks; m++)
	{
		/* a mark on a catch-all may not know its slot yet, or lose it */
		if (marks[m].slot < 0 ||
			pg_atomic_read_u64(&sc_slot_at(marks[m].slot)->key) != marks[m].key)
			return true;
		for (int i = 0; i < label->nwords; i++)
			if (label->words[i].slot == (uint32) marks[m].slot ||
				sc_member_is_of(&label->words[i], marks[m].slot) || was_given_away(&label->words[i]))
				return true;
	}
	for (int k = 0; k < nkeyed; k++)
		for (int i = 0; i < label->nwords; i++)
			if (label->words[i].slot == (uint32) keyed[k].coarse)
				return true;
	return false;
}

/* Take back what step 1 has done for keys. */
static void
keys_withdraw(void)
{
	for (int i = 0; i < nkeys_placed; i++)
		sc_word_withdraw(keys->slots[i]);
	for (int i = 0; i < nkeyed; i++)
		if (keyed[i].is_placed)
			sc_word_withdraw(keyed[i].coarse);
}

/* The coarse words of the tables stand for all keys. */
static void
keys_make_coarse(void)
{
	for (int i = 0; i < nkeyed; i++)
		if (!keyed[i].is_placed)
		{
			keyed[i].is_coarse = keyed[i].is_placed = true;
			sc_word_add_pending(keyed[i].coarse);
		}
	while (nkeys_placed > 0)
		sc_word_withdraw(keys->slots[--nkeys_placed]);
}

/* How many words of keys are pending. */
static int
keys_count(void)
{
	int			n = nkeys_placed;

	for (int i = 0; i < nkeyed; i++)
		n += keyed[i].is_placed ? 1 : 0;
	return n;
}

/*
 * Step 5.  The words stay pending; only their owner changes.
 */
static void
marks_to_orphan(void)
{
	ScCell	   *cell = sc_cell_mine();
	uint64		xid = pg_atomic_read_u64(&cell->xid);
	uint32		slots[SC_ORPHAN_SLOTS];
	int			nslots = 0;

	if (nplaced + keys_count() + (marks_overflow ? 1 : 0) > SC_ORPHAN_SLOTS)
		keys_make_coarse();
	if (nplaced + keys_count() + (marks_overflow ? 1 : 0) <= SC_ORPHAN_SLOTS)
	{
		for (int i = 0; i < nplaced; i++)
			slots[nslots++] = marks[i].slot;
		if (marks_overflow)
			slots[nslots++] = SC_CLUSTER_SLOT;
		for (int i = 0; i < nkeys_placed; i++)
			slots[nslots++] = keys->slots[i];
		for (int i = 0; i < nkeyed; i++)
			if (keyed[i].is_placed)
				slots[nslots++] = keyed[i].coarse;
	}
	else
	{
		ScSlotRef	all = {SC_SLOT_NONE, SC_KEY_CATCH_ALL};

		/* too many for a cell: one catch-all stands for them */
		mark_place(&all);
		slots[nslots++] = all.slot;
		for (int i = 0; i < nplaced; i++)
			sc_word_withdraw(marks[i].slot);
		keys_withdraw();
		if (marks_overflow)
			sc_word_withdraw(SC_CLUSTER_SLOT);
	}

	sc_orphan_enter(xid, slots, nslots, false);
	SC_POINT("prepare-orphan");
	pg_write_barrier();
	pg_atomic_write_u64(&cell->xid, SC_CELL_EMPTY);
}

/*-------------------------------------------------------------------------
 * Transaction callbacks
 *-------------------------------------------------------------------------
 */

static void
marks_reset(void)
{
	nmarks = 0;
	nplaced = 0;
	marks_overflow = false;
	overflow_placed = false;
	committing = false;
	untracked_write = false;
	nmembers = 0;
	all_members = false;
	nrouting = 0;
	while (nkeys > 0)
		keys->set[keys->place[--nkeys]] = 0;
	nkeys_placed = 0;
	nkeyed = 0;
	nplans = 0;
}

/* Does a mark stand for DDL, or for what has no word of its own? */
static inline bool
is_catch_all(const ScSlotRef *mark)
{
	return mark->key == SC_KEY_CLUSTER || mark->key == SC_KEY_NAMES ||
		!OidIsValid(SC_KEY_RELATION(mark->key));
}

/* Step 3 for one word of a key. */
static void
key_publish(int slot)
{
	ScWordSeen	made = {(uint32) slot, sc_word_publish(slot)};
	ScWordSeen *own = own_keys ? &own_keys[slot % OWN_KEYS] : NULL;

	if (own == NULL || (own->revision > 0 && own->slot != made.slot))
		own_unknown_keys = sc_clock_now();
	if (own)
		*own = made;
}

/* Step 3 for keys. */
static void
keys_publish(void)
{
	for (int i = 0; i < nkeys_placed; i++)
		key_publish(keys->slots[i]);
	for (int i = 0; i < nkeyed; i++)
		if (keyed[i].is_placed)
			key_publish(keyed[i].coarse);
}

/* Step 3, for the catch-all words or for the others. */
static void
marks_publish(bool catch_alls)
{
	TimestampTz now = GetCurrentTransactionStopTimestamp();

	for (int i = 0; i < nplaced; i++)
	{
		uint64		revision;

		if (is_catch_all(&marks[i]) != catch_alls)
			continue;
		revision = sc_word_publish(marks[i].slot);
		sc_word_note_change(marks[i].slot, revision, now);
		if (own_revisions)
			own_revisions[marks[i].slot] = revision;
	}
	if (!catch_alls)
		keys_publish();
	if (overflow_placed && catch_alls)
		sc_word_publish(SC_CLUSTER_SLOT);
	own_commit = sc_clock_now();
	if (overflow_placed || (own_revisions == NULL && nplaced > 0))
		own_unknown_commit = own_commit;
}

/*
 * Is anything that was placed refreshed eagerly?  To be asked after the words
 * have moved, or are an orphan's: whoever publishes a document makes its slots
 * eager and then looks at the words.
 */
static bool
placed_is_eager(void)
{
	bool		eager = overflow_placed && sc_slot_is_eager(SC_CLUSTER_SLOT);

	pg_memory_barrier();
	for (int i = 0; i < nplaced && !eager; i++)
		eager = sc_slot_is_eager(marks[i].slot);
	for (int i = 0; i < nkeys_placed && !eager; i++)
		eager = sc_slot_is_eager(keys->slots[i]);
	for (int i = 0; i < nkeyed && !eager; i++)
		eager = keyed[i].is_placed && sc_slot_is_eager(keyed[i].coarse);
	return eager;
}

/* All that was placed is published. */
static void
commit_done(void)
{
	SC_POINT("commit-published");
	/* the adds are full barriers */
	pg_atomic_write_u64(&sc_cell_mine()->xid, SC_CELL_EMPTY);
	if (placed_is_eager())
		sc_request_after_commit();
	marks_reset();
}

/* Is anything to be placed, and is anything pending? */
static inline bool
is_marked(void)
{
	return nmarks > 0 || nkeyed > 0 || marks_overflow;
}

static inline bool
is_placed(void)
{
	return nplaced > 0 || overflow_placed || keys_count() > 0;
}

/*
 * The rest of step 3, when the transaction's locks have gone: its invalidations are sent
 * right before that.  What takes time comes after it.  In a phase of a commit's release
 * of resources nothing may be raised, as in step 3.
 */
static void
late_commit(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	if (likely(!is_late) || phase != RESOURCE_RELEASE_LOCKS || CurrentResourceOwner != TopTransactionResourceOwner)
		return;
	is_late = false;
	marks_publish(true);
	commit_done();
}

static void
commit_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT)
		sc_assure_before_commit();
	else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		sc_assure_end();

	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			/* make room for an orphan: later no lock can be taken */
			if (is_marked())
				sc_orphan_settle_finished();
			/* FALLTHROUGH */
		case XACT_EVENT_PRE_COMMIT:
			if (own_revisions == NULL && nmarks > 0)
				own_revisions = MemoryContextAllocExtended(TopMemoryContext,
														   sizeof(uint64) * sc_slot_count(),
														   MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
			if (own_keys == NULL && nkeyed > 0)
				own_keys = MemoryContextAllocExtended(TopMemoryContext, sizeof(ScWordSeen) * OWN_KEYS,
													  MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
			committing = true;
			if (is_marked() && TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
				!SC_WEAK(SC_PROTOCOL_AFTER_COMMIT))
				marks_place();
			SC_POINT("commit-pending");
			break;

		case XACT_EVENT_COMMIT:
			SC_POINT("commit-visible");
			if (SC_WEAK(SC_PROTOCOL_AFTER_COMMIT))
				for (int i = 0; i < nmarks; i++)
					if (marks[i].slot >= 0)
						pg_atomic_fetch_add_u64(&sc_slot_at(marks[i].slot)->word, SC_REVISION_ONE);
			if (!is_placed())
			{
				Assert(pg_atomic_read_u64(&sc_cell_mine()->xid) == SC_CELL_EMPTY);
				marks_reset();
				break;
			}
			marks_publish(false);
			is_late = overflow_placed;
			for (int i = 0; i < nplaced; i++)
				is_late = is_late || is_catch_all(&marks[i]);
			if (!is_late)
				commit_done();
			break;

		case XACT_EVENT_ABORT:
			for (int i = 0; i < nplaced; i++)
				sc_word_withdraw(marks[i].slot);
			if (overflow_placed)
				sc_word_withdraw(SC_CLUSTER_SLOT);
			if (pg_atomic_read_u64(&sc_cell_mine()->xid) != SC_CELL_EMPTY)
				pg_atomic_write_u64(&sc_cell_mine()->xid, SC_CELL_EMPTY);
			keys_withdraw();
			marks_reset();
			break;

		case XACT_EVENT_PREPARE:
			if (is_placed())
				marks_to_orphan();
			if (placed_is_eager())
				sc_request_wake_launcher();
			marks_reset();
			break;

		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			/* a parallel worker writes nothing */
			break;
	}
}

void
sc_commit_init(void)
{
	RegisterXactCallback(commit_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
	RegisterResourceReleaseCallback(late_commit, NULL);
}

/*-------------------------------------------------------------------------
 * What this session has committed
 *-------------------------------------------------------------------------
 */

/* Has this session committed anything that was tracked? */
bool
sc_commit_has_happened(void)
{
	return own_commit > 0;
}

/*
 * Has this session committed anything since a label was read?  The label may
 * not have the word of what it wrote: a table that has become a part of a source
 * since, say.
 */
bool
sc_commit_has_followed(const ScLabel *label)
{
	/* what was loaded may have been read before the machine's clock began */
	return own_commit > 0 && label->read_at <= own_commit;
}

/* Has this session committed a key that a word of a keyed label stands for? */
static bool
key_is_hidden(const ScLabel *label, const ScWordSeen *seen)
{
	const ScWordSeen *own = own_keys ? &own_keys[seen->slot % OWN_KEYS] : NULL;

	return (own_unknown_keys > 0 && label->read_at <= own_unknown_keys) ||
		(own && own->slot == seen->slot && seen->revision < own->revision);
}

/* Would what was built at the label hide a commit of this session? */
bool
sc_commit_is_hidden_by(const ScLabel *label)
{
	if (own_unknown_commit > 0 && label->read_at <= own_unknown_commit)
		return true;
	for (int i = 0; i < label->nwords; i++)
		if (sc_slot_is_key((int) label->words[i].slot))
		{
			if (key_is_hidden(label, &label->words[i]))
				return true;
		}
		else if (own_revisions && label->words[i].revision != SC_NEVER_CURRENT &&
				 (label->words[i].revision < own_revisions[label->words[i].slot] ||
			/* what moved its word is noted under another one */
				  (label->read_at <= own_commit && was_given_away(&label->words[i]))))
			return true;
	return false;
}

/* This session has finished a prepared transaction. */
void
sc_commit_note_unknown(void)
{
	sc_orphan_settle_finished();
	own_commit = own_unknown_commit = sc_clock_now();
}
