/*-------------------------------------------------------------------------
 *
 * hub.h
 *	  The State Hub, the first user.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_HUB_H
#define SC_HUB_H

#include "nodes/pg_list.h"

#include "base.h"

/* The hub's tables that are not attached, as Oids, and why not. */
extern List *sc_hub_missing(List **reasons);
extern List *sc_hub_search_path(void);
extern void sc_hub_follow(const char *schema_name); /* tables were moved there */
extern void sc_hub_attach(List *schemas, bool named, int elevel);	/* elevel: ERROR, or
																	 * NOTICE */

#endif							/* SC_HUB_H */
