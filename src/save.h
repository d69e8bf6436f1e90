/*-------------------------------------------------------------------------
 *
 * save.h
 *	  The file of documents, which outlives the server.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_SAVE_H
#define SC_SAVE_H

#include "base.h"

extern void sc_save_init(void); /* from _PG_init, after the parts that it
								 * loads into */

/* A document was invalidated, in memory: it is not in the file any more. */
extern void sc_save_forget(void);

/* For the launcher: what is due now; returns when to call again, monotonic ns.  And
 * the last time, before it ends. */
extern int64 sc_save_work(int64 now);
extern void sc_save_finish(void);

#endif							/* SC_SAVE_H */
