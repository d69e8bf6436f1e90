/*-------------------------------------------------------------------------
 *
 * inspect.h
 *	  What a section's query reads and calls.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_INSPECT_H
#define SC_INSPECT_H

#include "oid_set.h"
#include "query.h"

/* What analysing a query found: its columns, and what it reads. */
typedef struct ScQueryInfo
{
	int			nkeys;
	char	  **keys;
	List	   *relations;		/* Oids, views followed */
	List	   *functions;		/* Oids that cannot be seen into */
	List	   *depends;		/* what the result depends on beside these, of
								 * char *; no more than a NOTICE can list */
	ScOidList	seen;			/* functions that were looked at */
	List	   *keyed;			/* of ScKeyed, and of ScNotKeyed: see keyed.h;
								 * of a query with parameters */
	List	   *not_keyed;
	bool		closed;			/* it runs nothing but PostgreSQL's own */
	Oid			author;			/* a role that is no superuser and owns a
								 * function or relation of these; or
								 * InvalidOid */
} ScQueryInfo;

/* Analyse a query as its owner: syntax, kind and columns are checked, and what
 * it reads is found out; with check_sources, all of that must be trackable.  It
 * is not executed.  Results are in the current memory context. */
extern void sc_inspect_query(ScSectionDef *section, bool check_sources, ScQueryInfo *info);

/* Inside sc_owner_run(): what the plan reads or calls that the query did not
 * when it was defined. */
extern void sc_inspect_find_stranger(ScSectionDef *section, SPIPlanPtr plan, CachedPlan *cached,
									 ScStranger *stranger);

/* Inside sc_owner_run(): does it have a constant that means the current time, itself
 * or in an SQL function?  queries: what the query was analysed to. */
extern bool sc_inspect_reads_clock(ScSectionDef *section, List *queries);

/* A function's name as it is kept with a section, whatever the session's settings are. */
extern char *sc_inspect_function_name(Oid function);

/* The numbers of all that an analysed query calls and compares by, and of the
 * types that it converts to, in order. */
extern List *sc_inspect_operators(Query *query);

#endif							/* SC_INSPECT_H */
