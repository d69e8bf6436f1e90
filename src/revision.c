/*-------------------------------------------------------------------------
 *
 * revision.c
 *	  Revisions: what a transaction marked is published at its commit; and
 *	  whether a label is current for a snapshot.
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
 *		plan its query by what is in its caches.
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
 * Between 2 and 3 the transaction is visible, but no revision tells: that is
 * what the pending count is for.  The reader's side:
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
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "summary_cache.h"

/* The marks of the current transaction. */
static ScSlotRef *marks = NULL;
static int	nmarks = 0;
static int	max_marks = 0;
static bool marks_overflow = false; /* no memory: stand for the cluster's word */
static int	nplaced = 0;		/* how many of them are pending in shared memory */
static bool overflow_placed = false;
static bool committing = false; /* between steps 1 and 3 */
static bool eager = false;		/* a word is one of an eagerly refreshed summary */
static bool untracked_write = false;	/* see sc_begin_untracked_write() */

/*
 * The revisions that this session's own commits made, by slot, for
 * read-your-writes; and when it finished a prepared transaction, whose tables
 * it cannot know.
 */
static uint64 *own_revisions = NULL;
static int64 own_unknown_commit = 0;

static inline ScSlot *
slot_of(int slot)
{
	return &sc_slots[slot].slot;
}

static inline ScCell *
my_cell(void)
{
	return &sc_cells[SC_MY_BACKEND].cell;
}

/*-------------------------------------------------------------------------
 * Words
 *-------------------------------------------------------------------------
 */

/* Step 3 for one word.  Returns the revision that this made. */
static inline uint64
word_publish(int slot)
{
	uint64		old = pg_atomic_fetch_add_u64(&slot_of(slot)->word,
											  SC_REVISION_ONE - SC_PENDING_ONE);

	return SC_REVISION(old) + 1;
}

/* A pending transaction that published nothing. */
static inline void
word_withdraw(int slot)
{
	pg_atomic_fetch_sub_u64(&slot_of(slot)->word, SC_PENDING_ONE);
}

/*
 * Step 1 for one mark.  Its slot may have been given to another table since
 * the mark was made, then find the table's new one; without one use a
 * catch-all word.  Throws nothing.
 */
static void
mark_place(ScSlotRef *mark)
{
	for (;;)
	{
		uint64		catch_all = SC_KEY((Oid) (mark->key >> 32), InvalidOid);

		if (mark->slot >= 0)
		{
			SC_POINT("mark-place");
			/* the add is a full barrier: cell before it, key after it */
			pg_atomic_fetch_add_u64(&slot_of(mark->slot)->word, SC_PENDING_ONE);
			if (pg_atomic_read_u64(&slot_of(mark->slot)->key) == mark->key)
				return;
			word_withdraw(mark->slot);
		}

		mark->slot = sc_slot_find(mark->key, true);
		if (mark->slot >= 0)
			continue;
		if (mark->key != catch_all)
			mark->key = catch_all;
		else
		{
			mark->slot = SC_CLUSTER_SLOT;
			mark->key = SC_KEY_CLUSTER;
		}
	}
}

/* Step 1 for all marks that are not placed yet. */
static void
marks_place(void)
{
	ScCell	   *cell = my_cell();

	if (pg_atomic_read_u64(&cell->xid) == SC_CELL_EMPTY)
	{
		/*
		 * A mark that comes with no xid while the transaction is committing
		 * is that of a statement which another library begins in its own
		 * callback: it is about to have one.
		 */
		FullTransactionId xid = GetTopFullTransactionId();

		uint32		used = pg_atomic_read_u32(&sc_shared->ncells_used);

		/* with few connections a scan is short, whatever max_connections is */
		while (used <= (uint32) SC_MY_BACKEND &&
			   !pg_atomic_compare_exchange_u32(&sc_shared->ncells_used, &used, SC_MY_BACKEND + 1))
			;
		pg_atomic_write_u64(&cell->xid, U64FromFullTransactionId(xid));
		pg_memory_barrier();
		SC_POINT("commit-cell");
	}

	while (nplaced < nmarks)
		mark_place(&marks[nplaced++]);
	if (marks_overflow && !overflow_placed)
	{
		overflow_placed = true;
		pg_atomic_fetch_add_u64(&slot_of(SC_CLUSTER_SLOT)->word, SC_PENDING_ONE);
	}
}

/*
 * Mark one slot.  This runs inside somebody's write, so it raises nothing:
 * without memory the cluster's word stands for the mark.
 */
static void
mark_slot(int slot, uint64 key)
{
	if (SC_WEAK(SC_PROTOCOL_AT_WRITE) && slot >= 0)
	{
		pg_atomic_fetch_add_u64(&slot_of(slot)->word, SC_REVISION_ONE);
		return;
	}

	for (int i = 0; i < nmarks; i++)
		if (marks[i].key == key)
			return;

	if (nmarks == max_marks || SC_FAILS("marks"))
	{
		int			new_max = Max(max_marks * 2, 64);
		ScSlotRef  *bigger = MemoryContextAllocExtended(TopMemoryContext,
														sizeof(ScSlotRef) * new_max,
														MCXT_ALLOC_NO_OOM);

		if (bigger == NULL || SC_FAILS("marks"))
		{
			marks_overflow = true;
			return;
		}
		if (marks)
		{
			memcpy(bigger, marks, sizeof(ScSlotRef) * nmarks);
			pfree(marks);
		}
		marks = bigger;
		max_marks = new_max;
	}
	marks[nmarks].slot = slot;
	marks[nmarks].key = key;
	nmarks++;
}

/*
 * Mark the slots of a table that the current transaction writes.  Raises
 * nothing.
 */
void
sc_mark_slots(const ScSlotRef *refs, int nrefs)
{
	for (int i = 0; i < nrefs; i++)
		mark_slot(refs[i].slot, refs[i].key);
	if (committing)
		marks_place();
}

/*
 * Mark everything in this database: DDL, and what cannot be placed.
 */
void
sc_mark_catch_all(void)
{
	mark_slot(SC_SLOT_NONE, SC_KEY(MyDatabaseId, InvalidOid));
	if (committing)
		marks_place();
}

/* Mark everything in the cluster: DDL on shared objects. */
void
sc_mark_cluster(void)
{
	mark_slot(SC_CLUSTER_SLOT, SC_KEY_CLUSTER);
	if (committing)
		marks_place();
}

/*
 * The transaction begins to write tables that will be marked only when their
 * triggers fire (COPY, TRUNCATE): from here on its own reads are private.
 */
void
sc_begin_untracked_write(void)
{
	untracked_write = true;
}

/* Is this transaction past its step 1? */
bool
sc_is_committing(void)
{
	return committing;
}

/*
 * Does this transaction apply what another server has written?  It is then
 * marked at its commit only (track.c).
 */
bool
sc_xact_applies(void)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
		TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* Has this transaction begun to write what its marks do not tell? */
static inline bool
wrote_unmarked(void)
{
	return untracked_write || marks_overflow || unlikely(sc_xact_applies());
}

bool
sc_xact_wrote_anything(void)
{
	return nmarks > 0 || wrote_unmarked();
}

/* Has this transaction begun to write what the label stands for? */
bool
sc_xact_wrote(const ScLabel *labels, int nlabels)
{
	if (wrote_unmarked())
		return true;
	for (int m = 0; m < nmarks; m++)
	{
		/* a mark on a catch-all may not know its slot yet, or lose it */
		if (marks[m].slot < 0 ||
			pg_atomic_read_u64(&slot_of(marks[m].slot)->key) != marks[m].key)
			return true;
		for (int i = 0; i < nlabels; i++)
			if (labels[i].slot == (uint32) marks[m].slot)
				return true;
	}
	return false;
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

	/* of a session, since the worker does this between transactions */
	SET_LOCKTAG_TRANSACTION(tag, (TransactionId) xid);
	if (SC_LOCK_ACQUIRE_NOWAIT(&tag, ShareLock) == LOCKACQUIRE_NOT_AVAIL)
		return;
	LockRelease(&tag, ShareLock, true);

	memcpy(slots, orphan->slots, sizeof(slots));
	SC_POINT("settle-found");
	if (!pg_atomic_compare_exchange_u64(&orphan->xid, &xid, SC_CELL_SETTLING))
		return;
	SC_POINT("settle");
	for (uint32 i = 0; i < nslots; i++)
	{
		word_publish(slots[i]);
		pg_atomic_write_u64(&slot_of(slots[i])->last_change, (uint64) GetCurrentTimestamp());
	}
	pg_write_barrier();
	pg_atomic_write_u64(&orphan->xid, SC_CELL_EMPTY);
}

/*
 * Settle every orphan whose transaction is over.
 */
void
sc_settle_finished(void)
{
	for (int i = sc_shared->nbackends; i < sc_shared->ncells; i++)
	{
		ScCell	   *cell = &sc_cells[i].cell;
		uint64		xid = pg_atomic_read_u64(&cell->xid);

		pg_read_barrier();
		if (xid > SC_CELL_SETTLING)
			orphan_settle(cell, xid);
	}
}

/*
 * Enter a prepared transaction with pending words.  The caller has counted on
 * each of them, and those that were over when it began to prepare are settled:
 * so there is a cell (see ORPHAN_CELLS).  Should that be wrong, the last cell
 * is made one that nobody can settle, and nothing is proven any more until the
 * server restarts.
 */
static void
orphan_enter(uint64 xid, const uint32 *slots, int nslots)
{
	int			last = sc_shared->ncells - 1;

	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	for (int i = sc_shared->nbackends; i < last; i++)
	{
		ScCell	   *cell = &sc_cells[i].cell;

		if (pg_atomic_read_u64(&cell->xid) != SC_CELL_EMPTY)
			continue;
		cell->nslots = nslots;
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
 * Step 5.  The words stay pending; only who answers for them changes.
 */
static void
marks_to_orphan(void)
{
	ScCell	   *cell = my_cell();
	uint64		xid = pg_atomic_read_u64(&cell->xid);
	uint32		slots[SC_ORPHAN_SLOTS];
	int			nslots = 0;

	if (nmarks + (marks_overflow ? 1 : 0) <= SC_ORPHAN_SLOTS)
	{
		for (int i = 0; i < nmarks; i++)
			slots[nslots++] = marks[i].slot;
		if (marks_overflow)
			slots[nslots++] = SC_CLUSTER_SLOT;
	}
	else
	{
		ScSlotRef	all = {SC_SLOT_NONE, SC_KEY(MyDatabaseId, InvalidOid)};

		/* too many for a cell: one catch-all stands for them */
		mark_place(&all);
		slots[nslots++] = all.slot;
		for (int i = 0; i < nmarks; i++)
			word_withdraw(marks[i].slot);
		if (marks_overflow)
			word_withdraw(SC_CLUSTER_SLOT);
	}

	orphan_enter(xid, slots, nslots);
	SC_POINT("prepare-orphan");
	pg_write_barrier();
	pg_atomic_write_u64(&cell->xid, SC_CELL_EMPTY);
}

/*
 * The first use of a database in a server run: the transactions that were
 * prepared when the server started are in no cell, and nobody knows their
 * tables.  To be called before a label is read; may raise errors.
 */
static void
enter_prepared(int catch_all)
{
	uint64	   *xids = NULL;
	int			nxids;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute(psprintf("SELECT transaction FROM pg_catalog.pg_prepared_xact()"
							 " WHERE dbid OPERATOR(pg_catalog.=) %u", MyDatabaseId),
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the prepared transactions");
	nxids = (int) SPI_processed;
	if (nxids > 0)
		xids = palloc(sizeof(uint64) * nxids);
	for (int i = 0; i < nxids; i++)
	{
		bool		isnull;
		Datum		xid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		xids[i] = sc_full_xid(DatumGetTransactionId(xid));
	}

	sc_settle_finished();
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&slot_of(catch_all)->key) == SC_KEY(MyDatabaseId, InvalidOid) &&
		!slot_of(catch_all)->prepared_known)
	{
		for (int i = 0; i < nxids; i++)
		{
			int			unused = -1;

			/*
			 * What has finished is in the label that is read after this.  It may
			 * also have been settled already, and is not to be entered twice.
			 */
			bool		known = !TransactionIdIsInProgress((TransactionId) xids[i]);

			for (int c = sc_shared->nbackends; c < sc_shared->ncells - 1; c++)
			{
				uint64		xid = pg_atomic_read_u64(&sc_cells[c].cell.xid);

				if (xid == xids[i])
					known = true;
				else if (xid == SC_CELL_EMPTY && unused < 0)
					unused = c;
			}
			if (known)
				continue;

			/* count first, then show the xid; nothing is proven before we are
			 * done, since no label of this database was read yet */
			pg_atomic_fetch_add_u64(&slot_of(catch_all)->word, SC_PENDING_ONE);
			if (unused < 0)
			{
				Assert(false);
				unused = sc_shared->ncells - 1;
				xids[i] = SC_CELL_SETTLING;
			}
			sc_cells[unused].cell.nslots = 1;
			sc_cells[unused].cell.slots[0] = catch_all;
			pg_write_barrier();
			pg_atomic_write_u64(&sc_cells[unused].cell.xid, xids[i]);
		}
		slot_of(catch_all)->prepared_known = true;
	}
	LWLockRelease(&sc_shared->lock);

	PopActiveSnapshot();
	SPI_finish();
}

/*-------------------------------------------------------------------------
 * Transaction callbacks
 *-------------------------------------------------------------------------
 */

static void
xact_reset(void)
{
	nmarks = 0;
	nplaced = 0;
	marks_overflow = false;
	overflow_placed = false;
	committing = false;
	eager = false;
	untracked_write = false;
}

/* Does a mark stand for DDL, or for what has no word of its own? */
static inline bool
is_catch_all(const ScSlotRef *mark)
{
	return mark->key == SC_KEY_CLUSTER || (Oid) mark->key == InvalidOid;
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
		revision = word_publish(marks[i].slot);
		pg_atomic_write_u64(&slot_of(marks[i].slot)->last_change, (uint64) now);
		if (own_revisions)
			own_revisions[marks[i].slot] = revision;
	}
	if (overflow_placed && catch_alls)
		word_publish(SC_CLUSTER_SLOT);
	if (overflow_placed || own_revisions == NULL)
		own_unknown_commit = sc_now();
}

/* All that was placed is published. */
static void
commit_done(void)
{
	SC_POINT("commit-published");
	/* the adds are full barriers */
	pg_atomic_write_u64(&my_cell()->xid, SC_CELL_EMPTY);
	if (eager)
		sc_worker_wake();
	xact_reset();
}

/*
 * The rest of step 3, when the transaction's memory goes: nothing of it is
 * left to do but to answer the client.
 */
static void
late_commit(void *arg)
{
	marks_publish(true);
	commit_done();
}

static void
xact_callback(XactEvent event, void *arg)
{
	static MemoryContextCallback late = {.func = late_commit};
	bool		is_late;

	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			/* make room for an orphan: later no lock can be taken */
			if (nmarks > 0 || marks_overflow)
				sc_settle_finished();
			/* FALLTHROUGH */
		case XACT_EVENT_PRE_COMMIT:
			if (own_revisions == NULL && nmarks > 0)
				own_revisions = MemoryContextAllocExtended(TopMemoryContext,
														   sizeof(uint64) * sc_shared->nslots,
														   MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
			committing = true;
			if ((nmarks > 0 || marks_overflow) && TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
				!SC_WEAK(SC_PROTOCOL_AFTER_COMMIT))
				marks_place();
			for (int i = 0; i < nplaced; i++)
				eager = eager || slot_of(marks[i].slot)->eager;
			if (eager)
				sc_worker_ensure();
			SC_POINT("commit-pending");
			break;

		case XACT_EVENT_COMMIT:
			SC_POINT("commit-visible");
			if (SC_WEAK(SC_PROTOCOL_AFTER_COMMIT))
				for (int i = 0; i < nmarks; i++)
					if (marks[i].slot >= 0)
						pg_atomic_fetch_add_u64(&slot_of(marks[i].slot)->word, SC_REVISION_ONE);
			if (nplaced == 0 && !overflow_placed)
			{
				Assert(pg_atomic_read_u64(&my_cell()->xid) == SC_CELL_EMPTY);
				xact_reset();
				break;
			}
			marks_publish(false);
			is_late = overflow_placed;
			for (int i = 0; i < nplaced; i++)
				is_late = is_late || is_catch_all(&marks[i]);
			if (is_late)
				MemoryContextRegisterResetCallback(TopTransactionContext, &late);
			else
				commit_done();
			break;

		case XACT_EVENT_ABORT:
			for (int i = 0; i < nplaced; i++)
				word_withdraw(marks[i].slot);
			if (overflow_placed)
				word_withdraw(SC_CLUSTER_SLOT);
			if (pg_atomic_read_u64(&my_cell()->xid) != SC_CELL_EMPTY)
				pg_atomic_write_u64(&my_cell()->xid, SC_CELL_EMPTY);
			xact_reset();
			break;

		case XACT_EVENT_PREPARE:
			if (nplaced > 0 || overflow_placed)
				marks_to_orphan();
			xact_reset();
			break;

		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			/* a parallel worker writes nothing */
			break;
	}
}

void
sc_revision_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
}

/*-------------------------------------------------------------------------
 * The reader's side
 *-------------------------------------------------------------------------
 */

/* Widen an xid that is near the present. */
uint64
sc_full_xid(TransactionId xid)
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
sc_label_read(ScLabel *label, uint64 key, int slot)
{
	for (;; slot = SC_SLOT_NONE)
	{
		if (slot == SC_SLOT_NONE)
			slot = sc_slot_find(key, true);
		if (slot == SC_SLOT_NONE)
			return false;
		SC_POINT(slot != SC_CLUSTER_SLOT && OidIsValid((Oid) key) ? "label-found" : "catch-all-found");
		label->slot = slot;
		label->revision = SC_REVISION(pg_atomic_read_u64(&slot_of(slot)->word));
		pg_read_barrier();
		if (pg_atomic_read_u64(&slot_of(slot)->key) != key)
			continue;
		if (!slot_of(slot)->wanted && key != SC_KEY_CLUSTER)
			sc_slot_want(slot, true);
		return true;
	}
}

/*
 * Read the words of both catch-alls, with the prepared transactions of this
 * database entered; false if it has no slot.
 */
bool
sc_label_read_catch_alls(ScLabel *labels)
{
	if (!sc_label_read(&labels[0], SC_KEY_CLUSTER, SC_CLUSTER_SLOT))
		return false;
	for (;;)
	{
		if (!sc_label_read(&labels[1], SC_KEY(MyDatabaseId, InvalidOid), SC_SLOT_NONE))
			return false;
		if (slot_of(labels[1].slot)->prepared_known)
			return true;
		enter_prepared(labels[1].slot);
	}
}

/*
 * Is a top-level transaction that was running at some time still running for
 * the snapshot?  Not by XidInMVCCSnapshot(), which may have to read pg_subtrans
 * first.
 */
static bool
running_for(TransactionId xid, Snapshot snapshot)
{
	if (TransactionIdPrecedes(xid, snapshot->xmin))
		return false;
	if (TransactionIdFollowsOrEquals(xid, snapshot->xmax))
		return true;
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
	int			used = (int) pg_atomic_read_u32(&sc_shared->ncells_used);

	/* a snapshot taken on a standby lists its xids otherwise */
	if (snapshot->takenDuringRecovery)
		return false;

	for (int i = 0; i < sc_shared->ncells; i++)
	{
		ScCell	   *cell;
		uint64		xid;

		/* on to the orphans */
		if (i < sc_shared->nbackends && i >= used)
			i = sc_shared->nbackends;
		cell = &sc_cells[i].cell;
		xid = pg_atomic_read_u64(&cell->xid);

		if (xid == SC_CELL_EMPTY)
			continue;
		if (xid == SC_CELL_SETTLING)
		{
			running = false;
			continue;
		}

		if (i < sc_shared->nbackends)
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
				oldest = sc_full_xid(snapshot->xmin);
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
 * Is what was built at the label all that the snapshot sees?  Takes no lock
 * while no transaction is in commit.
 */
ScProof
sc_label_prove(const ScLabel *labels, int nlabels, Snapshot snapshot)
{
	uint64		pending = 0;

	for (int i = 0; i < nlabels; i++)
	{
		uint64		word = pg_atomic_read_u64(&slot_of(labels[i].slot)->word);

		if (SC_REVISION(word) != labels[i].revision)
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

	for (int i = 0; i < nlabels; i++)
		if (SC_REVISION(pg_atomic_read_u64(&slot_of(labels[i].slot)->word)) != labels[i].revision)
			return SC_MOVED;
	return SC_CURRENT;
}

/* Has this session committed anything that was tracked? */
bool
sc_has_committed(void)
{
	return own_revisions != NULL || own_unknown_commit > 0;
}

/* Would what was built at the label hide a commit of this session? */
bool
sc_label_hides_own_commit(const ScLabel *labels, int nlabels, int64 labelled_at)
{
	if (labelled_at <= own_unknown_commit)
		return true;
	if (own_revisions == NULL)
		return false;
	for (int i = 0; i < nlabels; i++)
		if (labels[i].revision != SC_NEVER_CURRENT &&
			labels[i].revision < own_revisions[labels[i].slot])
			return true;
	return false;
}

/* This session has finished a prepared transaction. */
void
sc_note_unknown_commit(void)
{
	sc_settle_finished();
	own_unknown_commit = sc_now();
}
