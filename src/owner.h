/*-------------------------------------------------------------------------
 *
 * owner.h
 *	  Runs something as a section's owner, in an environment of its own.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_OWNER_H
#define SC_OWNER_H

#include "definition.h"

/* In a subtransaction that is rolled back in any case; memory comes from the
 * caller's context.  SPI may be used inside.  NULL, or the error. */
extern ErrorData *sc_owner_try(ScSectionDef *section, void (*action) (void *arg), void *arg);

/* The same, and the error is thrown. */
extern void sc_owner_run(ScSectionDef *section, void (*action) (void *arg), void *arg);

/* An error if the section's row is damaged. */
extern void sc_owner_check_damage(const ScSectionDef *section);

#endif							/* SC_OWNER_H */
