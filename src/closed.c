/*-------------------------------------------------------------------------
 *
 * closed.c
 *	  Is all that a query runs PostgreSQL's own?
 *
 * A section is closed if its query, with the views that it reads and the policies
 * of its tables, runs nothing but what PostgreSQL itself brings, and if nothing
 * of that depends on the session, the clock or chance.  What such a query returns
 * is the same in every session, so any reader may build the section for all
 * others.  Everything else runs code of users, for which a session has much that
 * nobody can pin: functions that were compiled before, settings of extensions,
 * temporary objects, what is left of the stack.  That is built for others in a
 * background worker only.
 *
 * What is not known to be closed is not closed: a kind of node that a later
 * version of the server adds costs its sections a worker until somebody has
 * looked at it.
 *
 * Operator classes and C functions are made by superusers only, and are not
 * looked at where the query does not name them.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/tupdesc_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_cast.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "builtin.h"
#include "closed.h"
#include "oid_set.h"

/* What has been looked at. */
typedef struct Look
{
	ScOidList	types;			/* that are closed, or being looked at */
	ScOidList	relations;		/* that are closed */
} Look;

static bool find_open(Node *node, void *context);

/*
 * The callback of check_functions_in_node().  An advisory lock is waited for, by
 * the author's choice, but returns the same to everybody.
 */
static bool
is_open_function(Oid function, void *context)
{
	switch (function)
	{
		case F_PG_ADVISORY_XACT_LOCK_INT8:
		case F_PG_ADVISORY_XACT_LOCK_INT4_INT4:
		case F_PG_ADVISORY_XACT_LOCK_SHARED_INT8:
		case F_PG_ADVISORY_XACT_LOCK_SHARED_INT4_INT4:
			return false;
		default:
			break;
	}
	return !sc_builtin_is(function) || sc_builtin_reads(function) || sc_builtin_depends(function);
}

static bool
is_open_operator(Oid operator)
{
	return OidIsValid(operator) && operator >= FirstNormalObjectId;
}

/*
 * Does a type have code of users: of a base type its input and output, of a domain
 * its constraints, of a type of any kind the cast to json, which to_json() calls?
 */
static bool
is_open_type(Oid type, Look *look)
{
	Oid			element;
	TupleDesc	desc;
	bool		open = false;

	if (type < FirstNormalObjectId || !sc_oid_list_add(&look->types, type))
		return false;
	check_stack_depth();
	if (SearchSysCacheExists2(CASTSOURCETARGET, ObjectIdGetDatum(type), ObjectIdGetDatum(JSONOID)))
		return true;
	switch (get_typtype(type))
	{
		case TYPTYPE_ENUM:
			return false;
		case TYPTYPE_DOMAIN:
			return DomainHasConstraints(type) || is_open_type(getBaseType(type), look);
		case TYPTYPE_COMPOSITE:
			desc = lookup_rowtype_tupdesc(type, -1);
			for (int i = 0; i < desc->natts && !open; i++)
				open = !TupleDescAttr(desc, i)->attisdropped &&
					is_open_type(TupleDescAttr(desc, i)->atttypid, look);
			ReleaseTupleDesc(desc);
			return open;
		default:
			element = get_element_type(type);
			return !OidIsValid(element) || is_open_type(element, look);
	}
}

/*
 * Does reading a table run code of users?  The planner evaluates what it can of
 * the CHECK constraints, the indexes' expressions and their conditions.
 */
static bool
is_open_relation(Oid relid, Look *look)
{
	Relation	relation;
	List	   *expressions = NIL;
	ListCell   *lc;
	bool		open = true;

	if (relid < FirstNormalObjectId || sc_oid_list_has(&look->relations, relid))
		return false;
	/* it is locked, as the query has been analysed */
	relation = relation_open(relid, NoLock);
	switch (relation->rd_rel->relkind)
	{
		case RELKIND_VIEW:
			/* the rewriter has put what it reads in its place */
			open = false;
			break;
		case RELKIND_RELATION:
		case RELKIND_MATVIEW:
		case RELKIND_SEQUENCE:
			open = relation->rd_rel->relam >= FirstNormalObjectId;
			break;
		case RELKIND_PARTITIONED_TABLE:
			open = false;
			break;
		default:
			break;
	}
	if (!open && relation->rd_att->constr)
	{
		TupleConstr *constr = relation->rd_att->constr;

		for (int i = 0; i < constr->num_check; i++)
			expressions = lappend(expressions, stringToNode(constr->check[i].ccbin));
		for (int i = 0; i < constr->num_defval; i++)
		{
			char		generated = TupleDescAttr(relation->rd_att, constr->defval[i].adnum - 1)->attgenerated;

			/* a virtual one, which is computed when it is read */
			if (generated != '\0' && generated != ATTRIBUTE_GENERATED_STORED)
				expressions = lappend(expressions, stringToNode(constr->defval[i].adbin));
		}
	}
	if (!open && relation->rd_rel->relhasindex)
		foreach(lc, RelationGetIndexList(relation))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		expressions = list_concat(expressions, RelationGetIndexExpressions(index));
		expressions = list_concat(expressions, RelationGetIndexPredicate(index));
		index_close(index, AccessShareLock);
	}
	open = open || find_open((Node *) expressions, look);
	relation_close(relation, NoLock);
	if (!open)
		(void) sc_oid_list_add(&look->relations, relid);
	return open;
}

/* A node that has a value. */
static bool
is_open_expression(Node *node, Look *look)
{
	return check_functions_in_node(node, is_open_function, look) || is_open_type(exprType(node), look);
}

/* A walker of queries that were analysed and rewritten: is any of it not closed? */
static bool
find_open(Node *node, void *context)
{
	Look	   *look = context;
	ListCell   *lc;

	if (node == NULL)
		return false;
	CHECK_FOR_INTERRUPTS();
	switch (nodeTag(node))
	{
		case T_Query:
			return ((Query *) node)->commandType != CMD_SELECT ||
				query_tree_walker((Query *) node, find_open, context,
								  QTW_EXAMINE_RTES_BEFORE | QTW_EXAMINE_SORTGROUP);
		case T_RangeTblEntry:
			/* what is in it comes by itself */
			return ((RangeTblEntry *) node)->rtekind == RTE_RELATION &&
				is_open_relation(((RangeTblEntry *) node)->relid, look);
		case T_SortGroupClause:
			return is_open_operator(((SortGroupClause *) node)->eqop) ||
				is_open_operator(((SortGroupClause *) node)->sortop);
		case T_SetOperationStmt:
			/* the walker passes these by */
			foreach(lc, ((SetOperationStmt *) node)->groupClauses)
			{
				if (find_open(lfirst(lc), context))
					return true;
			}
			break;
		case T_RowCompareExpr:
			foreach(lc, ((RowCompareExpr *) node)->opnos)
			{
				if (is_open_operator(lfirst_oid(lc)))
					return true;
			}
			break;
		case T_TableSampleClause:
			if (((TableSampleClause *) node)->tsmhandler >= FirstNormalObjectId ||
				((TableSampleClause *) node)->repeatable == NULL)
				return true;
			break;
		case T_SQLValueFunction:
			switch (((SQLValueFunction *) node)->op)
			{
				case SVFOP_CURRENT_ROLE:
				case SVFOP_CURRENT_USER:
				case SVFOP_USER:
				case SVFOP_CURRENT_CATALOG:
				case SVFOP_CURRENT_SCHEMA:
					return false;
				default:
					return true;
			}

			/* expressions */
		case T_Var:
		case T_Const:
		case T_Param:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
		case T_SubscriptingRef:
		case T_FuncExpr:
		case T_NamedArgExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_SubLink:
		case T_FieldSelect:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_XmlExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_CoerceToDomain:
		case T_CoerceToDomainValue:
#if PG_VERSION_NUM >= 160000
		case T_JsonValueExpr:
		case T_JsonConstructorExpr:
		case T_JsonIsPredicate:
#endif
			if (is_open_expression(node, look))
				return true;
			break;

			/* what holds expressions together */
		case T_List:
		case T_IntList:
		case T_TargetEntry:
		case T_FromExpr:
		case T_JoinExpr:
		case T_RangeTblRef:
		case T_RangeTblFunction:
		case T_TableFunc:
		case T_CommonTableExpr:
		case T_CTESearchClause:
		case T_CTECycleClause:
		case T_WindowClause:
		case T_GroupingSet:
		case T_CaseWhen:
		case T_RowMarkClause:
#if PG_VERSION_NUM >= 160000
		case T_JsonFormat:
		case T_JsonReturning:
#endif
			break;

		default:
			return true;
	}
	return expression_tree_walker(node, find_open, context);
}

bool
sc_closed_is(SPIPlanPtr plan, int *generation)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	CachedPlan *cached;
	Look		look = {0};
	ListCell   *lc;
	bool		open;

	if (find_open((Node *) source->query_list, &look))
		return false;

	/* the members of trees as well, of which a query names the root only */
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan the query");
	*generation = cached->generation;
	/* it may have been analysed anew for that */
	open = find_open((Node *) source->query_list, &look);
	foreach(lc, linitial_node(PlannedStmt, cached->stmt_list)->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (open)
			break;
		if (rte->rtekind == RTE_RELATION)
			open = is_open_relation(rte->relid, &look);
	}
	ReleaseCachedPlan(cached, source->is_saved ? CurrentResourceOwner : NULL);
	return !open;
}
