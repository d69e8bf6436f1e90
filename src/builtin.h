/*-------------------------------------------------------------------------
 *
 * builtin.h
 *	  What PostgreSQL's own functions depend on.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_BUILTIN_H
#define SC_BUILTIN_H

#include "base.h"

/* Is a function PostgreSQL's own? */
extern bool sc_builtin_is(Oid function);

/* Does one of them run a query, or read a table, that its arguments name? */
extern bool sc_builtin_reads(Oid function);

/* May its result change although no table and no definition does? */
extern bool sc_builtin_depends(Oid function);

/* May it change with any definition, role or grant, whatever its arguments are? */
extern bool sc_builtin_shows_ddl(Oid function);

#endif							/* SC_BUILTIN_H */
