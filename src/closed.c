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

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/tupdesc_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
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
 * Does a function of PostgreSQL's own get a type to call its input function by, or
 * show names as the session's search path and temporary objects have them?
 */
static bool
is_open_builtin(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	const char *name;
	bool		open = false;

	if (!HeapTupleIsValid(tuple))
		return true;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	name = NameStr(form->proname);
	for (int i = 0; i < form->pronargs; i++)
		if (form->proargtypes.values[i] == CSTRINGOID || form->proargtypes.values[i] == INTERNALOID)
			open = true;
	if (strncmp(name, "pg_get_", 7) == 0 || strncmp(name, "pg_input_", 9) == 0 ||
		strcmp(name, "format_type") == 0 || strcmp(name, "oidvectortypes") == 0 ||
		strcmp(name, "pg_collation_for") == 0)
		open = true;
	ReleaseSysCache(tuple);
	return open;
}

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
	return !sc_builtin_is(function) || sc_builtin_reads(function) || sc_builtin_depends(function) ||
		is_open_builtin(function);
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

	switch (type)
	{
			/* what is in it is known at run time only */
		case ANYARRAYOID:
			/* shown by names as the session has them, temporary ones too */
		case REGCLASSOID:
		case REGTYPEOID:
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
			return true;
		default:
			break;
	}
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

static bool
are_open_types(List *types, Look *look)
{
	ListCell   *lc;

	foreach(lc, types)
	{
		if (is_open_type(lfirst_oid(lc), look))
			return true;
	}
	return false;
}

/*
 * An expression of a catalog's row, or a list of them, as it is stored: what the
 * relation cache gives was evaluated as far as it could be.
 */
static bool
is_open_stored(int cache, HeapTuple tuple, AttrNumber attribute, Look *look)
{
	bool		isnull;
	Datum		stored = SysCacheGetAttr(cache, tuple, attribute, &isnull);

	return !isnull && find_open(stringToNode(TextDatumGetCString(stored)), look);
}

/* The same of the row that stands for a relation, an index or statistics; none: it is gone. */
static bool
is_open_row(int cache, Oid oid, AttrNumber first, AttrNumber second, Look *look)
{
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(oid));
	bool		open;

	if (!HeapTupleIsValid(tuple))
		return false;
	open = is_open_stored(cache, tuple, first, look) ||
		(second != InvalidAttrNumber && is_open_stored(cache, tuple, second, look));
	ReleaseSysCache(tuple);
	return open;
}

/*
 * Does reading a table run code of users?  The planner evaluates what it can of
 * the CHECK constraints, of indexes and statistics, and of the expressions by
 * which partitions are told apart.
 */
static bool
is_open_table(Relation relation, Look *look)
{
	TupleConstr *constr = relation->rd_att->constr;
	Oid			relid = RelationGetRelid(relation);
	ListCell   *lc;

	switch (relation->rd_rel->relkind)
	{
		case RELKIND_VIEW:
			/* the rewriter has put what it reads in its place */
			return false;
		case RELKIND_RELATION:
		case RELKIND_MATVIEW:
		case RELKIND_SEQUENCE:
			if (relation->rd_rel->relam >= FirstNormalObjectId)
				return true;
			break;
		case RELKIND_PARTITIONED_TABLE:
			if (is_open_row(PARTRELID, relid, Anum_pg_partitioned_table_partexprs, InvalidAttrNumber, look))
				return true;
			break;
		default:
			return true;
	}
	for (int i = 0; constr && i < constr->num_check; i++)
		if (find_open(stringToNode(constr->check[i].ccbin), look))
			return true;
	for (int i = 0; constr && i < constr->num_defval; i++)
	{
		char		generated = TupleDescAttr(relation->rd_att, constr->defval[i].adnum - 1)->attgenerated;

		/* a virtual one, which is computed when it is read */
		if (generated != '\0' && generated != ATTRIBUTE_GENERATED_STORED &&
			find_open(stringToNode(constr->defval[i].adbin), look))
			return true;
	}
	foreach(lc, RelationGetIndexList(relation))
	{
		if (is_open_row(INDEXRELID, lfirst_oid(lc), Anum_pg_index_indexprs, Anum_pg_index_indpred, look))
			return true;
	}
	foreach(lc, RelationGetStatExtList(relation))
	{
		if (is_open_row(STATEXTOID, lfirst_oid(lc), Anum_pg_statistic_ext_stxexprs, InvalidAttrNumber, look))
			return true;
	}
	return false;
}

/* A table and, before the planner looks at them, all that inherit from it. */
static bool
is_open_relation(Oid relid, Look *look)
{
	List	   *members = list_make1_oid(relid);
	ListCell   *lc;

	if (relid < FirstNormalObjectId || sc_oid_list_has(&look->relations, relid))
		return false;
	if (has_subclass(relid))
		members = find_all_inheritors(relid, AccessShareLock, NULL);
	foreach(lc, members)
	{
		Relation	relation = try_relation_open(lfirst_oid(lc), AccessShareLock);
		bool		open;

		if (relation == NULL)
			continue;
		open = is_open_table(relation, look);
		relation_close(relation, NoLock);
		if (open)
			return true;
		(void) sc_oid_list_add(&look->relations, lfirst_oid(lc));
	}
	return false;
}

/* A node that has a value. */
static bool
is_open_expression(Node *node, Look *look)
{
	/*
	 * it calls the input and output functions of the two types, whatever
	 * these are
	 */
	if (IsA(node, CoerceViaIO))
		return is_open_type(exprType((Node *) ((CoerceViaIO *) node)->arg), look) ||
			is_open_type(exprType(node), look);
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
		case T_RangeTblFunction:
			if (are_open_types(((RangeTblFunction *) node)->funccoltypes, look))
				return true;
			break;
		case T_TableFunc:
			if (are_open_types(((TableFunc *) node)->coltypes, look))
				return true;
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
sc_closed_is(List *queries)
{
	Look		look = {0};

	return !find_open((Node *) queries, &look);
}
