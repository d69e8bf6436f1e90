/*-------------------------------------------------------------------------
 *
 * follow.h
 *	  Sections follow what their queries name when that is renamed or moved.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_FOLLOW_H
#define SC_FOLLOW_H

#include "nodes/nodes.h"
#include "nodes/pg_list.h"

#include "base.h"

/* Before a command that renames or moves something; raises only a cancel. */
extern List *sc_follow_begin(void);

/* After it, in the same transaction. */
extern void sc_follow_end(List *followers, Node *parsetree);

#endif							/* SC_FOLLOW_H */
