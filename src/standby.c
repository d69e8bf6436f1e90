/*-------------------------------------------------------------------------
 *
 * standby.c
 *	  What a document is labelled with on a hot standby.
 *
 * No trigger fires there and no transaction commits, so no word moves.  But all
 * that a query on a standby can see has come by replaying WAL: a document is
 * what a query would give now, if nothing was replayed since it was built.
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
 * in the WAL.  It knows nothing of single tables: any record unsettles all
 * documents (doc/architecture.md says what more would take).
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

#include "summary_cache.h"

/*
 * What to label a build with; to be called before its snapshot is taken.
 * InvalidXLogRecPtr on a primary, where the words are the label.
 */
XLogRecPtr
sc_replay_label(void)
{
	if (!RecoveryInProgress())
		return InvalidXLogRecPtr;
	return SC_WEAK(SC_PROTOCOL_BEGUN_ONLY) ? GetCurrentReplayRecPtr(NULL) : GetXLogReplayRecPtr(NULL);
}

/*
 * Is what was built at a label all that the snapshot sees?  The label is the
 * position in replayed, if it is valid, and the words.  (On a standby there are
 * none but for what makes a label never current.)  To be called after the
 * snapshot was taken.
 */
ScProof
sc_prove(const ScLabel *labels, int nlabels, XLogRecPtr replayed, Snapshot snapshot)
{
	if (SC_WEAK(SC_PROTOCOL_REPLAYED_ONLY) && RecoveryInProgress() && GetXLogReplayRecPtr(NULL) == replayed)
		return sc_label_prove(labels, nlabels, snapshot);
	if (!XLogRecPtrIsInvalid(replayed) &&
		(!RecoveryInProgress() || GetCurrentReplayRecPtr(NULL) != replayed))
		return SC_MOVED;
	return sc_label_prove(labels, nlabels, snapshot);
}

/*
 * Is what was built at a label waiting for a record whose replay has begun, and
 * for nothing else?  What is built meanwhile gets the same label: not before the
 * record is replayed can it be proven.  That may take as long as a conflict with
 * queries (max_standby_streaming_delay).
 */
bool
sc_replay_is_amid(XLogRecPtr replayed)
{
	return !XLogRecPtrIsInvalid(replayed) && RecoveryInProgress() &&
		GetXLogReplayRecPtr(NULL) == replayed && GetCurrentReplayRecPtr(NULL) != replayed;
}
