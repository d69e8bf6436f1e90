/*-------------------------------------------------------------------------
 *
 * closed.h
 *	  Is all that a query runs PostgreSQL's own?
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_CLOSED_H
#define SC_CLOSED_H

#include "nodes/pg_list.h"

/* Of a query as it was analysed and rewritten, before it is planned: planning may
 * run what it calls.  Its relations are locked. */
extern bool sc_closed_is(List *queries);

#endif							/* SC_CLOSED_H */
