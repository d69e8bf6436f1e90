/*-------------------------------------------------------------------------
 *
 * constant.h
 *	  Whether the analysis of a query runs code of users.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_CONSTANT_H
#define SC_CONSTANT_H

#include "query.h"

/* Would the analysis of a section's query run the CHECK of a domain?  Inside
 * sc_owner_run(), with a snapshot. */
extern bool sc_constant_runs_checks(ScSectionDef *section);

#endif							/* SC_CONSTANT_H */
