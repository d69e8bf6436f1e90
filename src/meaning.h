/*-------------------------------------------------------------------------
 *
 * meaning.h
 *	  What a query means, as a hash.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_MEANING_H
#define SC_MEANING_H

#include "nodes/pg_list.h"

#include "store.h"

struct ScSectionDef;

/*
 * What the rewritten queries of a section that is closed (closed.h) mean.  Their
 * relations are locked.  Unknown, if what they give depends on more than that and the rows of
 * the section's sources.  is_built: it is about to be executed, so that its tables are
 * looked at, which can change with more than names only.
 */
extern void sc_meaning_find(const struct ScSectionDef *section, List *queries, bool is_built, ScMeaning *meaning);

/* May the current user read all that they name? */
extern bool sc_meaning_may_read(List *queries);

#endif							/* SC_MEANING_H */
