/*-------------------------------------------------------------------------
 *
 * watch.h
 *	  A standby watches what it replays, and moves its own words.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_WATCH_H
#define SC_WATCH_H

extern void sc_watch_init(void);	/* from _PG_init, while preloading */

#endif							/* SC_WATCH_H */
