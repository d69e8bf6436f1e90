/*-------------------------------------------------------------------------
 *
 * query.h
 *	  A section's query: prepared and looked at as its owner.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_QUERY_H
#define SC_QUERY_H

#include "definition.h"
#include "utils/plancache.h"

/* An error context callback, of which the argument is a section. */
extern void sc_query_error_callback(void *arg);

/* Is an expression's type one that the query itself may bring in?  A column has its
 * table's. */
extern bool sc_query_brings_type(const Node *node);

/* Inside sc_owner_run() and SPI. */
extern SPIPlanPtr sc_query_prepare(ScSectionDef *section);

/* Analysed and rewritten only: what it means, and no plan. */
extern List *sc_query_rewrite(ScSectionDef *section);
extern Query *sc_query_analyze(ScSectionDef *section);

/* An error if the text names a temporary object: before each analysis. */
extern void sc_query_check_names(ScSectionDef *section);
extern void sc_query_check_statement(ScSectionDef *section, Node *statement);

/* A walker of queries as they were parsed, which visits all of them. */
extern bool sc_query_walk_raw(Node *node, bool (*walker) (Node *node, void *context), void *context);

/* Has a text, or a statement as it was parsed, a constant such as date 'today'?
 * queries: what it was analysed to.  Without a statement, one that is read as a
 * time at each execution. */
extern bool sc_query_reads_clock(const char *text, List *queries);
extern bool sc_query_statement_reads_clock(Node *statement, List *queries);
extern bool sc_query_has_clock_word(const char *string);

/* Is a node of a query as it was parsed a string? */
static inline bool
sc_query_is_string(Node *node)
{
	return node && IsA(node, A_Const) && !((A_Const *) node)->isnull && IsA(&((A_Const *) node)->val, String);
}

extern void sc_query_check_columns(ScSectionDef *section, TupleDesc desc);
extern void sc_query_check_named(ScSectionDef *section, Query *query);
extern void sc_query_check_rows(ScSectionDef *section, uint64 nrows);
extern char **sc_query_column_names(TupleDesc desc);
extern void sc_query_check_analyzed(ScSectionDef *section, SPIPlanPtr plan);

/* For all that is wrong with a query: an SQLSTATE, and the section's name. */
SC_NORETURN extern void sc_query_refuse(int code, ScSectionDef *section, const char *what);

/* After an error: the named relation whose lock was not had; InvalidOid: another lock, or none. */
extern Oid	sc_query_awaited_relation(void);

#endif							/* SC_QUERY_H */
