/*-------------------------------------------------------------------------
 *
 * release.h
 *	  What the end of a transaction gives back.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_RELEASE_H
#define SC_RELEASE_H

#include "base.h"

extern void sc_release_init(void);	/* from _PG_init, before sc_commit_init() */

/* At this transaction's commit: a summary of this database is gone; a database,
 * or the extension in it, is gone; no definition uses a table's slot any more. */
extern void sc_release_summary(const char *name);
extern void sc_release_database(Oid dboid);
extern void sc_release_slot(int slot, Oid relid);

/* A definition uses a table's slot again: that is taken back.  False if there was
 * nothing to take back in this transaction. */
extern bool sc_release_keep_slot(Oid relid);

/* The same of the slots of tables that this transaction has dropped. */
extern void sc_release_slots_of_dropped(void);

/* If this transaction, or this part of it, is rolled back: nobody has wanted a
 * table's slot but what it has defined. */
extern void sc_release_slot_on_abort(Oid relid);

#endif							/* SC_RELEASE_H */
