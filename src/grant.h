/*-------------------------------------------------------------------------
 *
 * grant.h
 *	  Rights on the extension's own objects.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_GRANT_H
#define SC_GRANT_H

#include "base.h"

/* Take from all other roles what they have on the tables of the definitions. */
extern void sc_grant_close_tables(void);

#endif							/* SC_GRANT_H */
