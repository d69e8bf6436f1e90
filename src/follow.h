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

#include "base.h"

/* The sections that a command concerns, as they were before it. */
typedef struct ScFollowers ScFollowers;

/* Before a command that renames or moves something; NULL: no section is
 * concerned. */
extern ScFollowers *sc_follow_begin(Node *parsetree);

/* After it, in the same transaction. */
extern void sc_follow_end(ScFollowers *followers);

#endif							/* SC_FOLLOW_H */
