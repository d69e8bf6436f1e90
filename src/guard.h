/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  Who may change the definitions.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_GUARD_H
#define SC_GUARD_H

#include "definition.h"

/* Between these, this backend writes the tables by statements of its own; what
 * the second gets is the first's.  Both also after an error. */
typedef struct ScGuardState
{
	int			replication_role;
	bool		writing;
} ScGuardState;

extern ScGuardState sc_guard_begin(void);
extern void sc_guard_end(ScGuardState before);

/* A section of the summary whose owner a role may not act for; NULL without one,
 * or without a summary. */
extern const ScSectionDef *sc_guard_foreign_section(const ScSummaryDef *definition, Oid role);

#endif							/* SC_GUARD_H */
