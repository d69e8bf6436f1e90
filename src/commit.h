/*-------------------------------------------------------------------------
 *
 * commit.h
 *	  A transaction's marks, published at its commit.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_COMMIT_H
#define SC_COMMIT_H

#include "label.h"

extern void sc_commit_init(void);	/* from _PG_init */

/* Marks raise nothing. */
extern void sc_commit_mark(const ScSlotRef *ref);
extern void sc_commit_note_member(uint64 key);
#define SC_MAX_MEMBERS_NOTED	16
extern void sc_commit_note_all_members(void);
extern void sc_commit_begin_routing(void);
extern void sc_commit_end_routing(void);
extern void sc_commit_mark_catch_all(void);
extern void sc_commit_mark_names(void);
extern void sc_commit_mark_cluster(void);
extern bool sc_commit_begin_untracked_write(void);
extern void sc_commit_end_untracked_write(bool before);

/* About the current transaction, or the session. */
extern void sc_commit_note_own_rows(bool has_own_rows);
extern bool sc_commit_sees_own(void);
extern bool sc_commit_has_begun(void);	/* it is past its step 1 */
extern bool sc_commit_applies(void);
extern bool sc_commit_wrote_anything(void);
extern bool sc_commit_wrote(const ScLabel *label);

/* About what this session has committed before. */
extern bool sc_commit_has_happened(void);
extern bool sc_commit_has_followed(const ScLabel *label);
extern bool sc_commit_is_hidden_by(const ScLabel *label);
extern void sc_commit_note_unknown(void);

#endif							/* SC_COMMIT_H */
