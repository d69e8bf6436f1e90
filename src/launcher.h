/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The launcher: starts the workers that are needed.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_LAUNCHER_H
#define SC_LAUNCHER_H

#include "base.h"

extern void sc_launcher_init(void); /* from _PG_init while preloading */

#endif							/* SC_LAUNCHER_H */
