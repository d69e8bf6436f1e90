/*-------------------------------------------------------------------------
 *
 * split.h
 *	  The parts of a section: columns that can be built one by one.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_SPLIT_H
#define SC_SPLIT_H

#include "definition.h"

/*
 * Look for the parts of a definition's sections, once; they are in the definition's
 * context.  By the texts alone: it takes no lock and runs nothing, and a text that is
 * not understood is one part, without an error.
 */
extern void sc_split_sections(ScSummaryDef *definition);

#endif							/* SC_SPLIT_H */
