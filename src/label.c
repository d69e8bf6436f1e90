/*-------------------------------------------------------------------------
 *
 * label.c
 *	  Labels: what a document was built at, and whether it is current.
 *
 * On a primary a label is a list of words as they were seen; commit.c has the
 * protocol.
 *
 * On a hot standby no trigger fires and no transaction commits, so no word
 * moves.  But all that a query on a standby can see has come by replaying WAL:
 * a document is what a query would give now, if nothing was replayed since it
 * was built.
 *
 * The label is the end of the last record that was replayed in full, read
 * before the snapshot of the build: what such records did is in the snapshot.
 * A reader compares it with the end of the record whose replay has begun last,
 * read after the reader's snapshot was taken: what is visible to that was done
 * by this record, or by those before it.  If the two are the same, all that the
 * reader sees is in the document.  The one position is moved after a record is
 * replayed and the other before, so neither can stand in for the other: with
 * the first on both sides, a reader would not notice the record that is just
 * being replayed, with the second a builder would claim it.
 *
 * This covers every table, definitions and DDL included, since all of that is
 * in the WAL.  It knows nothing of single tables: any record makes all
 * documents unproven.
 *
 * Once the server is promoted no position proves anything, and what was built
 * before that is no longer current.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "executor/spi.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

#include "clock.h"
#include "label.h"
#include "word_internal.h"

/*
 * The first use of a database in a server run: the transactions that were
 * prepared when the server started are in no cell, and nobody knows their
 * tables.  To be called before a label is read; may raise errors.
 */
static void
enter_prepared(int catch_all)
{
	uint64	   *xids = NULL;
	int			nxids = 0;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute("SELECT transaction, dbid FROM pg_catalog.pg_prepared_xact()",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the prepared transactions");
	if (SPI_processed > 0)
		xids = palloc(sizeof(uint64) * SPI_processed);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Datum		xid = SPI_getbinval(row, desc, 1, &isnull);
		Datum		dboid = SPI_getbinval(row, desc, 2, &isnull);

		if (sc_slot_may_cover(catch_all, DatumGetObjectId(dboid)))
			xids[nxids++] = sc_word_full_xid(DatumGetTransactionId(xid));
	}

	PopActiveSnapshot();
	sc_orphan_enter_found(catch_all, xids, nxids);
	SPI_finish();
}

/* Read the words of both catch-alls, which are always there. */
static void
read_catch_alls(ScWordSeen *words, bool find_prepared)
{
	(void) sc_word_read(&words[0], SC_KEY_CLUSTER, SC_CLUSTER_SLOT);
	for (;;)
	{
		(void) sc_word_read(&words[1], SC_KEY_CATCH_ALL, SC_SLOT_NONE);
		if (!find_prepared || sc_slot_at(words[1].slot)->prepared_known)
			return;
		enter_prepared(words[1].slot);
	}
}

/*
 * To be called before the snapshot of the build is taken: first the time, then
 * the words or the position, then the snapshot.
 */
void
sc_label_begin(ScLabel *label, ScWordSeen *room, bool find_prepared)
{
	label->words = room;
	label->nwords = 0;
	label->definition = 0;
	label->read_at = sc_clock_now();
	label->replayed = InvalidXLogRecPtr;
	if (RecoveryInProgress())
	{
		label->replayed = SC_WEAK(SC_PROTOCOL_BEGUN_ONLY) ? GetCurrentReplayRecPtr(NULL) :
			GetXLogReplayRecPtr(NULL);
		return;
	}
	read_catch_alls(room, find_prepared);
	label->nwords = SC_CATCH_ALLS;
}

bool
sc_label_add(ScLabel *label, const ScSlotRef *ref)
{
	if (sc_label_is_of_standby(label))
		return true;
	/* without a slot, writers use the catch-all, which is in the label */
	if (!sc_word_read(&label->words[label->nwords], ref->key, ref->slot))
		return false;
	label->nwords++;
	return true;
}

/* Something that it was built from might change unnoticed. */
void
sc_label_add_never(ScLabel *label)
{
	label->words[label->nwords].slot = SC_CLUSTER_SLOT;
	label->words[label->nwords++].revision = SC_NEVER_CURRENT;
}

bool
sc_label_is_never_current(const ScLabel *label)
{
	for (int i = 0; i < label->nwords; i++)
		if (label->words[i].revision == SC_NEVER_CURRENT)
			return true;
	return false;
}

ScProof
sc_label_prove(const ScLabel *label, Snapshot snapshot)
{
	if (sc_label_is_of_standby(label) &&
		(!RecoveryInProgress() || GetCurrentReplayRecPtr(NULL) != label->replayed) &&
		!(SC_WEAK(SC_PROTOCOL_REPLAYED_ONLY) && RecoveryInProgress() &&
		  GetXLogReplayRecPtr(NULL) == label->replayed))
		return SC_MOVED;
	return sc_word_prove(label->words, label->nwords, snapshot);
}

/*
 * Is what was built at a position waiting for a record whose replay has begun,
 * and for nothing else?  What is built meanwhile gets the same label: not
 * before the record is replayed can it be proven.  That may take as long as a
 * conflict with queries (max_standby_streaming_delay).
 */
bool
sc_label_is_amid_replay(XLogRecPtr replayed)
{
	return !XLogRecPtrIsInvalid(replayed) && RecoveryInProgress() &&
		GetXLogReplayRecPtr(NULL) == replayed && GetCurrentReplayRecPtr(NULL) != replayed;
}
