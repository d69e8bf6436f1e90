/*-------------------------------------------------------------------------
 *
 * document.h
 *	  Builds one section: its query's row as JSON.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_DOCUMENT_H
#define SC_DOCUMENT_H

#include "definition.h"

typedef struct ScBody
{
	Size		room;			/* asked for, before the keys */
	char	   *bytes;			/* the room that was asked for, room for the
								 * keys, and the members of the JSON object,
								 * without the braces */
	Size		start;			/* of the members */
	Size		len;			/* of the members */
	int			nkeys;
	char	  **keys;
	ScStranger	stranger;
	bool		planned_anew;	/* not by a plan that was kept before */
	int64		build_ns;
	ScMeaning	meaning;		/* asked for: what the query meant that gave
								 * what is cached and holds; then what it
								 * means */
	bool		is_same;		/* that is the same, so it was not run */
} ScBody;

/* What a build may run.  See closed.c. */
typedef enum ScMayRun
{
	SC_RUN_ALL,					/* for nobody else */
	SC_RUN_ONE_OWNERS,			/* for others, by a worker, which runs the
								 * code of one owner only */
	SC_RUN_CLOSED,				/* for others, by anybody */
	SC_RUN_NOTHING				/* but find out what means the same */
} ScMayRun;

extern bool sc_document_timed_out;	/* the last error was build_timeout's */

/* values: for its parameters, NULL if it has none.  Of the parts of a section, or of it itself (sc_section_nparts()), those are built that
 * are wanted, each into its body.  If it turns out that the parts cannot be built one by
 * one, the section is marked so, and is to be built anew. */
extern bool sc_document_build(ScSectionDef *section, const ScValues *values, const bool *wanted,
							  ScMayRun may_run, Snapshot snapshot, ScBody *bodies);

/* The tables that a section, or a part of one, reads, by the plan that is kept of it;
 * false if that is not known. */
extern bool sc_document_knows_reads(ScSectionDef *section, List **reads);
extern List *sc_document_reads(ScSectionDef *section);

/* By which columns the sources of a section, or of a part of one, are keyed, by the plan
 * that is kept of it: ScKeyed; NIL if that is not known, or none is. */
extern List *sc_document_keyed(ScSectionDef *section);
extern bool sc_document_is_timeout(const ErrorData *error);
extern void sc_document_run_timed(const char *summary, void (*action) (void *arg), void *arg);

/* For the worker, whose builds wait for no lock: before each build and after it,
 * after an error as well; the second tells whether that was the reason.  patience()
 * says how long, in ns, it may wait for an advisory lock, -1 if for ever; it is asked
 * in an interrupt handler. */
extern void sc_document_begin_giving_way(int64 (*patience) (void), bool is_patient);
extern bool sc_document_end_giving_way(void);
extern void sc_document_give_way(void); /* ends such a build */
extern void sc_document_give_way_to_build(void);	/* if it is patient */
extern bool sc_document_has_run_code(void);

#endif							/* SC_DOCUMENT_H */
