/*-------------------------------------------------------------------------
 *
 * hooks.h
 *	  Writes and DDL as the server executes them.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_HOOKS_H
#define SC_HOOKS_H

#include "base.h"

extern void sc_hooks_init(void);	/* from _PG_init */

#endif							/* SC_HOOKS_H */
