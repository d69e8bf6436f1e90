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

#include "executor/spi.h"
#include "utils/plancache.h"

/* Of a prepared query, inside sc_owner_run() and SPI.  If it is, it has been planned
 * for that, and generation is that plan's: a later plan may read and call something
 * else.  Takes the locks that the query's execution takes. */
extern bool sc_closed_is(SPIPlanPtr plan, int *generation);

#endif							/* SC_CLOSED_H */
