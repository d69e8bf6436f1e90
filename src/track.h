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

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/reltrigger.h"

#include "label.h"

extern void sc_track_init(void);	/* from _PG_init */
extern PGDLLEXPORT Datum sc_touch(PG_FUNCTION_ARGS);	/* the trigger functions */
extern PGDLLEXPORT Datum sc_key(PG_FUNCTION_ARGS);

/* A plan begins to write a table, which is locked. */
extern void sc_track_plan(const void *plan, Oid relid, struct TriggerDesc *desc);

/* One that wrote through a table with partitions (sc_commit_begin_routing()) has
 * ended; the ResultRelInfos of those that it has found rows for. */
extern void sc_track_end_routing(List *results);

/*
 * The tracked tables of the database before a command, and the state of the catch-all
 * words, of which one moves whenever they become more or fewer.
 */
typedef struct ScTracked
{
	List	   *tables;			/* of Oid */
	uint64		catch_all;		/* SC_NEVER_CURRENT: it was moving */
	uint64		cluster;		/* likewise: who has no memory moves that */
} ScTracked;

/*
 * Before a command, which is in this transaction, and after it: may it have changed a
 * tracked table?  Who changes one has locked it more strongly than a writer.  All
 * zero: it was not noted, and may have.
 */
extern void sc_track_note(ScTracked *tracked);
extern bool sc_track_may_be_changed(const ScTracked *tracked);

extern bool sc_track_is_tracked(Oid relid);

/* An error if a table cannot be a source. */
extern void sc_track_check_source(Oid relid);

/* Lock a source, and the members of its tree, until lock() returns false. */
extern bool sc_track_lock_tree(Oid relid, List *read, bool (*lock) (Oid relid, void *arg), void *arg);

/* Lock sources and their members together for triggers; the members. */
extern List *sc_track_lock(List *sources);
extern void sc_track_attach(List *members);
extern void sc_track_attach_members(Oid relid); /* on what joined a tree */
extern bool sc_track_attach_missing(Oid relid);
extern void sc_track_restore_firing(Oid relid);

/*
 * The key trigger, which says the values of columns in the rows that are written.
 *
 * sc_track_lock_keyed() is sc_track_lock() for sources of which some get it: columns is
 * a list beside sources of the columns (List of char *) of each, NIL for none.
 *
 * sc_track_attach_keys() puts it on those of these tables whose writers are locked out,
 * with these columns and those that it has already.  Names of columns that are gone
 * leave it.  sc_track_members() are the members of a source's tree for it.  What joins
 * the tree later gets the columns of its parents.
 *
 * sc_track_has_keys(): do all members of the source's tree have it, as installed, with
 * these columns?  If not, says why.  Opens the members as sc_track_provable() does that
 * waits.
 *
 * sc_track_detach_keys() removes it where sc_track_detach() would remove all.
 */
extern List *sc_track_lock_keyed(List *sources, List *columns);
extern List *sc_track_members(Oid source);
extern void sc_track_attach_keys(List *members, List *columns);
extern bool sc_track_attach_missing_keys(Oid source, List *columns);
extern bool sc_track_has_keys(Oid source, List *columns, const char **reason);
extern bool sc_track_is_keyed(Oid relid);	/* does a table have it? */
extern void sc_track_detach_keys(Oid relid);

/* May the current user do that? */
extern bool sc_track_may_detach(Oid relid);
extern void sc_track_lock_exclusive(List *tables);	/* together */
extern void sc_track_detach(Oid relid); /* if it can be locked now */

/* The tables that have our trigger; those of the definitions, too? */
extern List *sc_track_tables(bool definitions);

/* Trees: whose word a table has, the tables whose words a source's label has, and
 * the members of a tree that concern a query which reads these tables. */
extern Oid	sc_track_root(Oid relid);
extern List *sc_track_words(Oid relid);
extern Oid	sc_track_member(Oid source, List *read);
extern bool sc_track_covers(Oid source, Oid relid);

/* A set of sources, for many questions about what they cover. */
typedef struct ScCover ScCover;

extern ScCover *sc_track_cover(void);
extern void sc_track_cover_add(ScCover *cover, const Oid *sources, int nsources);
extern bool sc_track_is_covered(ScCover *cover, Oid relid);
extern bool sc_track_needs_slot(ScCover *cover, Oid relid);

extern bool sc_track_provable(Oid relid, bool wait, const char **reason);
extern void sc_track_slots(Oid relid, ScSlotRef **refs, int *nrefs);
extern bool sc_track_examine(Oid relid, List *read);
extern bool sc_track_enter_files(Oid source, const ScLabel *label);
extern bool sc_track_is_alone(Oid relid);
extern bool sc_track_trigger_was_missing(void);

/* Temporary tables of this session that inherit from a source. */
extern void sc_track_note_inheritance(void);
extern bool sc_track_has_own_rows(Oid source);
extern bool sc_track_has_own_rows_at(const ScLabel *label);

#endif							/* SC_TRACK_H */
