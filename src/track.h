/*-------------------------------------------------------------------------
 *
 * track.h
 *	  Which tables are tracked, and the triggers on them.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_TRACK_H
#define SC_TRACK_H

#include "nodes/pg_list.h"
#include "utils/reltrigger.h"

#include "word.h"

#define SC_MAX_ROOTS	8		/* of one table; with more, the catch-all */

extern void sc_track_init(void);	/* from _PG_init */

/* A plan begins to write a table, which is locked. */
extern void sc_track_plan(Oid relid, struct TriggerDesc *desc);
extern bool sc_track_is_tracked(Oid relid);

/* An error if a table cannot be a source. */
extern void sc_track_check_source(Oid relid);

/* Lock a table and its members for triggers; the members. */
extern List *sc_track_lock(Oid relid);
extern void sc_track_attach(Oid relid); /* triggers on the whole tree */
extern void sc_track_attach_members(Oid relid); /* on it and its children */
extern void sc_track_restore_firing(Oid relid);
extern void sc_track_detach(Oid relid, bool wait);

/* The tables that have our trigger; those of the definitions, too? */
extern List *sc_track_tables(bool definitions);

/* Their number, at most SC_MAX_ROOTS; -1: more. */
extern int	sc_track_roots(Oid relid, Oid *roots);
extern bool sc_track_share_root(Oid a, Oid b);
extern bool sc_track_provable(Oid relid, bool wait, const char **reason);
extern bool sc_track_source(Oid relid, ScSlotRef *refs, int *nrefs);

#endif							/* SC_TRACK_H */
