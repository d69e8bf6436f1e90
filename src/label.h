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
 * as they were seen; on a standby, where words are not enough, with a position in
 * the WAL.  Read before the snapshot of the build is taken.
 */
typedef struct ScLabel
{
	ScWordSeen *words;
	int			nwords;
	XLogRecPtr	replayed;		/* valid: built on a standby, and the words
								 * may not be all */
	int64		read_at;		/* monotonic ns, just before it was read */
	uint64		definition;		/* hash of what was built; 0 in a label that
								 * stands for several sections */
} ScLabel;

/* The catch-alls' words: the cluster's, the database's, and that of its names. */
#define SC_CATCH_ALLS	3
#define SC_NAMES_WORD	2

/* Does it hold only as long as nothing is replayed? */
static inline bool
sc_label_has_position(const ScLabel *label)
{
	return !XLogRecPtrIsInvalid(label->replayed);
}

/*
 * Is it that of a section which was loaded from a file at the server's start
 * (save.c)?  It names no word: it proves nothing, and what a session has written
 * may concern it.  A label of what was built has both catch-alls at least.
 */
static inline bool
sc_label_is_loaded(const ScLabel *label)
{
	return label->nwords < SC_CATCH_ALLS;
}

/* Begin a label in the given room for words, of which SC_CATCH_ALLS are used.
 * With find_prepared, transactions that were prepared when the server started
 * are found, which may raise errors. */
extern void sc_label_begin(ScLabel *label, ScWordSeen *room, bool find_prepared);

/* Add a source's word.  False for a table without a slot: then nothing is added. */
extern bool sc_label_add(ScLabel *label, const ScSlotRef *ref);
extern void sc_label_add_never(ScLabel *label);

/* Add a key word (sc_key_word(), sc_key_coarse()), before the snapshot is taken.  The
 * caller has room.  Raises nothing. */
extern void sc_label_add_key(ScLabel *label, int slot);
extern bool sc_label_is_never_current(const ScLabel *label);

/*
 * On a standby: enter the file of a table, which has the word of this key, so that
 * what changes it is noticed.  False if that cannot be: then the label needs the
 * position as well.  When all files of a build are entered, it must settle them
 * before it takes the snapshot; false if it cannot, and all its labels need it.
 */
extern bool sc_label_needs_files(const ScLabel *label);
extern bool sc_label_enter_file(const ScLabel *label, Oid relid, uint64 key);
extern bool sc_label_settle_files(void);
extern void sc_label_add_position(ScLabel *label);

/* Is what was built at a label all that the snapshot sees?  Call it after the
 * snapshot was taken; a NULL one sees what is visible now. */
extern ScProof sc_label_prove(const ScLabel *label, Snapshot snapshot);

/* Is it, if the queries still mean what they meant, and their owners may run them? */
extern bool sc_label_holds_but_for_names(const ScLabel *label, Snapshot snapshot);

/* The time of the first commit after a label was read that it has a word of;
 * DT_NOEND: there was none, DT_NOBEGIN: it is not known.  Now, if one is just
 * being made. */
extern TimestampTz sc_label_changed_at(const ScLabel *label);

extern bool sc_label_is_amid_replay(XLogRecPtr replayed);

#endif							/* SC_LABEL_H */
