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

/*
 * Keyed tables: see commit.c.  table: the key of the word table.  They raise nothing.
 * sc_commit_keyed() says that the transaction writes one, and gives its number for the
 * other functions, which is good until the transaction ends; SC_KEYED_NONE: there is no
 * memory, or no key need be said of it any more.
 */
#define SC_KEYED_NONE	(-1)
extern int	sc_commit_keyed(uint64 table);
extern void sc_commit_mark_key(int keyed, int slot);
extern void sc_commit_mark_coarse(uint64 table);

/* A plan begins to write a keyed table; its triggers have fired; they will fire with
 * those of another plan; it is gone, whether they have fired or not. */
extern void sc_commit_begin_keyed(const void *plan, uint64 table);
extern void sc_commit_end_keyed(const void *plan);
extern void sc_commit_pass_keyed(const void *plan, const void *to);
extern void sc_commit_give_up_keyed(const void *plan);

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
