/*-------------------------------------------------------------------------
 *
 * meaning.c
 *	  What a query means, as a hash.
 *
 * What a closed query (closed.c) gives follows from three things: the rows of its
 * tables, what its text means, and the definitions of the objects that are meant.
 * The rows have words.  Most DDL can change no more than what a text means, such as
 * which table a name stands for, what a view is or which policies apply; or who may
 * read.  It moves the names word of its database only (ddl.c says which it is).  A
 * document for which nothing but that word has moved is as its query would make it
 * now, if the text still means the same and the owner may still read it all.  That
 * takes an analysis of the query, and no plan and no execution.
 *
 * The meaning is the tree that the analyser and the rewriter make of the text: all
 * names are oids in it, views and policies are part of it.  DDL that changes what is
 * behind an oid, such as a type's labels or a table's rows, moves the catch-all word as
 * before.  That is known of tracked tables and of types that are not rows.  So what
 * reads anything else has no known meaning, nor has what shows definitions, such as
 * has_table_privilege().
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "builtin.h"
#include "compat.h"
#include "meaning.h"
#include "track.h"

/*
 * Can only DDL that moves the catch-all word change how values of a type are shown or
 * compared?  A type of rows changes with its table, so that has to be a tracked one.
 */
static bool
is_settled_type(Oid type)
{
	Oid			inner = InvalidOid;
	Oid			relid;
	TupleDesc	desc;
	bool		settled = true;

	if (type < FirstNormalObjectId)
		return true;
	check_stack_depth();
	switch (get_typtype(type))
	{
		case TYPTYPE_COMPOSITE:
			relid = get_typ_typrelid(type);
			if (!sc_track_is_tracked(relid))
				return false;
			desc = lookup_rowtype_tupdesc(type, -1);
			for (int i = 0; i < desc->natts && settled; i++)
				settled = TupleDescAttr(desc, i)->attisdropped ||
					is_settled_type(TupleDescAttr(desc, i)->atttypid);
			ReleaseTupleDesc(desc);
			return settled;
		case TYPTYPE_DOMAIN:
			return is_settled_type(getBaseType(type));
		case TYPTYPE_RANGE:
			inner = get_range_subtype(type);
			break;
		case TYPTYPE_MULTIRANGE:
			inner = get_multirange_range(type);
			break;
		case TYPTYPE_ENUM:
			return true;
		default:
			inner = get_element_type(type);
			break;
	}
	return !OidIsValid(inner) || is_settled_type(inner);
}

static bool
is_settled_list(List *types)
{
	ListCell   *lc;

	foreach(lc, types)
	{
		if (!is_settled_type(lfirst_oid(lc)))
			return false;
	}
	return true;
}

static bool
is_settled_entry(RangeTblEntry *rte)
{
	ListCell   *lc;

	if (rte->rtekind == RTE_RELATION && rte->relkind != RELKIND_VIEW)
		return (rte->relkind == RELKIND_RELATION || rte->relkind == RELKIND_PARTITIONED_TABLE) &&
			sc_track_is_tracked(rte->relid);
	foreach(lc, rte->functions)
	{
		if (!is_settled_list(lfirst_node(RangeTblFunction, lc)->funccoltypes))
			return false;
	}
	return is_settled_list(rte->coltypes);
}

/* The callback of check_functions_in_node(). */
static bool
shows_ddl(Oid function, void *context)
{
	return sc_builtin_shows_ddl(function);
}

/* Does a query depend on what can change with nothing but the names word? */
static bool
find_unsettled(Node *node, void *context)
{
	if (node == NULL)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (check_functions_in_node(node, shows_ddl, NULL))
		return true;
	switch (nodeTag(node))
	{
		case T_Query:
			return query_tree_walker((Query *) node, find_unsettled, context, QTW_EXAMINE_RTES_BEFORE);
		case T_RangeTblEntry:
			return !is_settled_entry((RangeTblEntry *) node);
		case T_SQLValueFunction:
			/* the current schema is one of these */
			return true;
		case T_TableFunc:
			if (!is_settled_list(((TableFunc *) node)->coltypes))
				return true;
			break;
		case T_Var:
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_RowExpr:
		case T_CoerceToDomain:
			if (!is_settled_type(exprType(node)))
				return true;
			break;
		default:
			break;
	}
	return expression_tree_walker(node, find_unsettled, context);
}

void
sc_meaning_find(List *queries, ScMeaning *meaning)
{
	char	   *tree;
	Size		len;

	memset(meaning, 0, sizeof(*meaning));
	if (find_unsettled((Node *) queries, NULL))
		return;
	tree = nodeToString(queries);
	len = strlen(tree);
	for (int i = 0; i < lengthof(meaning->halves); i++)
		meaning->halves[i] = hash_bytes_extended((const unsigned char *) tree, (int) len, i + 1);
	pfree(tree);
}

static bool
check_rights(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		SC_CHECK_RIGHTS((Query *) node);
		return query_tree_walker((Query *) node, check_rights, context, 0);
	}
	return expression_tree_walker(node, check_rights, context);
}

void
sc_meaning_check_rights(List *queries)
{
	(void) check_rights((Node *) queries, NULL);
}
