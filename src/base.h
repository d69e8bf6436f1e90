/*-------------------------------------------------------------------------
 *
 * base.h
 *	  What every file of the library may rely on.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_BASE_H
#define SC_BASE_H

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"

#include "compat.h"

/*
 * A commit adds to words where it may not wait: no spinlock may stand in for
 * an atomic operation.
 */
#ifdef PG_HAVE_ATOMIC_U64_SIMULATION
#error "summary_cache needs native 64-bit atomic operations"
#endif
StaticAssertDecl(sizeof(Datum) == 8, "summary_cache needs 64-bit Datums");

/* Under this name the extension appears in every view of PostgreSQL's own. */
#define SC_NAME "summary_cache"

/* The summary that CREATE EXTENSION defines over a State Hub. */
#define SC_STATE_SUMMARY "state"

#define SC_NS_PER_S		INT64CONST(1000000000)
#define SC_NS_PER_MS	INT64CONST(1000000)

/* Is a name in a list of char *? */
static inline bool
sc_list_has_name(const List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

#endif							/* SC_BASE_H */
