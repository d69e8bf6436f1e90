/*-------------------------------------------------------------------------
 *
 * label.h
 *	  Labels: what a document was built at, and whether it is current.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_LABEL_H
#define SC_LABEL_H

#include "access/xlogdefs.h"

#include "word.h"

/*
 * What something was built at: the words of its sources and of the catch-alls,
 * as they were seen; on a standby a position in the WAL instead.  Read before
 * the snapshot of the build is taken.
 */
typedef struct ScLabel
{
	ScWordSeen *words;
	int			nwords;
	XLogRecPtr	replayed;		/* valid: built on a standby, and all but
								 * "never current" of the words is missing */
	int64		read_at;		/* monotonic ns, just before it was read */
	uint64		definition;		/* hash of what was built; 0 in a label that
								 * stands for several sections */
} ScLabel;

/* The catch-alls' words. */
#define SC_CATCH_ALLS	2

static inline bool
sc_label_is_of_standby(const ScLabel *label)
{
	return !XLogRecPtrIsInvalid(label->replayed);
}

/* Begin a label in the given room for words, of which SC_CATCH_ALLS are used.
 * With find_prepared, transactions that were prepared when the server started
 * are found, which may raise errors. */
extern void sc_label_begin(ScLabel *label, ScWordSeen *room, bool find_prepared);

/* Add a source's word; on a standby nothing.  Nor for a table without a slot: false. */
extern bool sc_label_add(ScLabel *label, const ScSlotRef *ref);
extern void sc_label_add_never(ScLabel *label);
extern bool sc_label_is_never_current(const ScLabel *label);

/* Is what was built at a label all that the snapshot sees?  Call it after the
 * snapshot was taken; a NULL one sees what is visible now. */
extern ScProof sc_label_prove(const ScLabel *label, Snapshot snapshot);

extern bool sc_label_is_amid_replay(XLogRecPtr replayed);

#endif							/* SC_LABEL_H */
