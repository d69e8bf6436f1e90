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
	char	   *bytes;			/* the room that was asked for, room for the
								 * keys, and the members of the JSON object,
								 * without the braces */
	Size		start;			/* of the members */
	Size		len;			/* of the members */
	int			nkeys;
	char	  **keys;
	ScStranger	stranger;
} ScBody;

extern bool sc_document_timed_out;	/* the last error was build_timeout's */
extern void sc_document_build(ScSectionDef *section, Snapshot snapshot, Size room,
							  ScBody *body);
extern bool sc_document_is_timeout(const ErrorData *error);
extern void sc_document_run_timed(const char *summary, void (*action) (void *arg), void *arg);

/* For the worker, whose builds wait for no lock; the second is to be called
 * after an error as well, and tells whether that was the reason. */
extern void sc_document_begin_giving_way(void);
extern bool sc_document_end_giving_way(void);
extern void sc_document_give_way(void); /* ends such a build */

#endif							/* SC_DOCUMENT_H */
