/*-------------------------------------------------------------------------
 *
 * inspect.c
 *	  What a section's query reads and calls.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "inspect.h"
#include "owner.h"
#include "track.h"

/* What a query reads, as it was analysed and rewritten. */
typedef struct QueryReads
{
	List	   *relations;		/* with views as what they read */
	bool		by_name;		/* a function is given the name of a relation */
} QueryReads;

/*
 * A constant of type regclass that a function is given: it may read what it
 * names, as table_to_xml() does, or show anything else of it.
 */
static void
read_by_name(Node *argument, QueryReads *reads)
{
	Const	   *constant;
	Oid			relid;

	while (IsA(argument, RelabelType))
		argument = (Node *) ((RelabelType *) argument)->arg;
	constant = (Const *) argument;
	if (!IsA(constant, Const) || constant->consttype != REGCLASSOID || constant->constisnull)
		return;
	relid = DatumGetObjectId(constant->constvalue);
	reads->by_name = true;
	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_MATVIEW:
			reads->relations = list_append_unique_oid(reads->relations, relid);
			break;
		default:
			break;
	}
}

/*
 * The server's own list of a query's relations (relationOids) has each constant
 * of type oid as well, which may be the number of anything.
 */
static bool
collect_reads(Node *node, void *context)
{
	QueryReads *reads = context;
	ListCell   *lc;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && get_rel_relkind(rte->relid) != RELKIND_VIEW)
			reads->relations = list_append_unique_oid(reads->relations, rte->relid);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_reads, context, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, FuncExpr))
	{
		foreach(lc, ((FuncExpr *) node)->args)
		{
			read_by_name(lfirst(lc), reads);
		}
	}
	return expression_tree_walker(node, collect_reads, context);
}

static QueryReads
query_reads(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	QueryReads	reads = {0};

	(void) collect_reads((Node *) source->query_list, &reads);
	return reads;
}

static bool
is_covered(List *relations, Oid relid)
{
	ListCell   *lc;

	foreach(lc, relations)
	{
		if (sc_track_covers(lfirst_oid(lc), relid))
			return true;
	}
	return false;
}

/*
 * The tables that a plan reads, views followed.  The planner also sees what
 * functions read that it inlined; and it names the members of trees, of which
 * the one that the query names is enough.
 */
static List *
plan_relations(SPIPlanPtr plan, CachedPlan *cached)
{
	List	   *relations = query_reads(plan).relations;
	ListCell   *lc;

	foreach(lc, linitial_node(PlannedStmt, cached->stmt_list)->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION && !list_member_oid(relations, rte->relid) &&
			get_rel_relkind(rte->relid) != RELKIND_VIEW && !is_covered(relations, rte->relid))
			relations = lappend_oid(relations, rte->relid);
	}
	return relations;
}

/* PostgreSQL's own functions that run a query, or read a table, that they are told of. */
static bool
reads_what_it_is_told(Oid function)
{
	switch (function)
	{
		case F_TABLE_TO_XML:
		case F_TABLE_TO_XMLSCHEMA:
		case F_TABLE_TO_XML_AND_XMLSCHEMA:
		case F_QUERY_TO_XML:
		case F_QUERY_TO_XMLSCHEMA:
		case F_QUERY_TO_XML_AND_XMLSCHEMA:
		case F_CURSOR_TO_XML:
		case F_CURSOR_TO_XMLSCHEMA:
		case F_SCHEMA_TO_XML:
		case F_SCHEMA_TO_XMLSCHEMA:
		case F_SCHEMA_TO_XML_AND_XMLSCHEMA:
		case F_DATABASE_TO_XML:
		case F_DATABASE_TO_XMLSCHEMA:
		case F_DATABASE_TO_XML_AND_XMLSCHEMA:
		case F_TS_STAT_TEXT:
		case F_TS_STAT_TEXT_TEXT:
		case F_TS_REWRITE_TSQUERY_TEXT:
			return true;
		default:
			return false;
	}
}

/*-------------------------------------------------------------------------
 * Functions
 *-------------------------------------------------------------------------
 */

/* Can a function read tables without our seeing it? */
static bool
is_opaque(Oid function)
{
	if (function < FirstNormalObjectId)
		return reads_what_it_is_told(function);
	/* in whatever language, it may run queries */
	return get_func_name(function) != NULL && func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/* Does a function's result depend on more than its arguments and the tables? */
static bool
is_volatile(Oid function)
{
	return function == F_NOW || function == F_TRANSACTION_TIMESTAMP ||
		function == F_STATEMENT_TIMESTAMP || function == F_CURRENT_SETTING_TEXT ||
		function == F_CURRENT_SETTING_TEXT_BOOL || func_volatile(function) == PROVOLATILE_VOLATILE;
}

/* A function runs, because the query calls it or the aggregate that is named. */
static void
note_call(Oid function, Oid named, ScQueryInfo *info)
{
	if (!OidIsValid(function))
		return;
	if (is_volatile(function))
		info->is_volatile = true;
	if (is_opaque(function))
		info->functions = list_append_unique_oid(info->functions, named);
}

/*
 * The functions that do an aggregate's work.  The aggregate itself is immutable
 * in pg_proc, whatever these are.
 */
static void
note_aggregate(Oid aggregate, ScQueryInfo *info)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Form_pg_aggregate form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	note_call(form->aggtransfn, aggregate, info);
	note_call(form->aggfinalfn, aggregate, info);
	note_call(form->aggcombinefn, aggregate, info);
	note_call(form->aggserialfn, aggregate, info);
	note_call(form->aggdeserialfn, aggregate, info);
	note_call(form->aggmtransfn, aggregate, info);
	note_call(form->aggminvtransfn, aggregate, info);
	note_call(form->aggmfinalfn, aggregate, info);
	ReleaseSysCache(tuple);
}

/* The callback of check_functions_in_node(). */
static bool
note_function(Oid function, void *context)
{
	note_call(function, function, context);
	if (OidIsValid(function) && get_func_prokind(function) == PROKIND_AGGREGATE)
		note_aggregate(function, context);
	return false;
}

/* An expression of a finished plan, or a list of them. */
static bool
inspect_expression(Node *node, void *context)
{
	ScQueryInfo *info = context;

	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, note_function, context);
	if (IsA(node, SQLValueFunction))
	{
		SQLValueFunctionOp op = ((SQLValueFunction *) node)->op;

		/* the current user is always the owner */
		if (op <= SVFOP_LOCALTIMESTAMP_N || op == SVFOP_SESSION_USER)
			info->is_volatile = true;
	}
	return expression_tree_walker(node, inspect_expression, context);
}

static void inspect_plan(Plan *plan, ScQueryInfo *info);

static void
inspect_plans(List *plans, ScQueryInfo *info)
{
	ListCell   *lc;

	foreach(lc, plans)
	{
		inspect_plan(lfirst(lc), info);
	}
}

static void
inspect_expressions(void *expressions, ScQueryInfo *info)
{
	(void) inspect_expression(expressions, info);
}

/*
 * The functions that a finished plan calls: those that were inlined are not
 * there any more, but what they call is.  The server has walkers for queries and
 * expressions, but none for finished plans.  Expressions that only repeat others
 * in another form (indexqual beside indexqualorig, say) are left out.  A debug
 * build compares the result with the plan's text form (see check_inspection()),
 * which names each function.
 */
static void
inspect_plan(Plan *plan, ScQueryInfo *info)
{
	if (plan == NULL)
		return;
	check_stack_depth();
	inspect_expressions(plan->targetlist, info);
	inspect_expressions(plan->qual, info);
	inspect_plan(plan->lefttree, info);
	inspect_plan(plan->righttree, info);

	switch (nodeTag(plan))
	{
		case T_Result:
			inspect_expressions(((Result *) plan)->resconstantqual, info);
			break;
		case T_Append:
			inspect_plans(((Append *) plan)->appendplans, info);
			break;
		case T_MergeAppend:
			inspect_plans(((MergeAppend *) plan)->mergeplans, info);
			break;
		case T_BitmapAnd:
			inspect_plans(((BitmapAnd *) plan)->bitmapplans, info);
			break;
		case T_BitmapOr:
			inspect_plans(((BitmapOr *) plan)->bitmapplans, info);
			break;
		case T_SampleScan:
			inspect_expressions(((SampleScan *) plan)->tablesample, info);
			break;
		case T_IndexScan:
			inspect_expressions(((IndexScan *) plan)->indexqualorig, info);
			inspect_expressions(((IndexScan *) plan)->indexorderbyorig, info);
			break;
		case T_IndexOnlyScan:
			inspect_expressions(((IndexOnlyScan *) plan)->indexqual, info);
			inspect_expressions(((IndexOnlyScan *) plan)->indexorderby, info);
			break;
		case T_BitmapIndexScan:
			inspect_expressions(((BitmapIndexScan *) plan)->indexqualorig, info);
			break;
		case T_BitmapHeapScan:
			inspect_expressions(((BitmapHeapScan *) plan)->bitmapqualorig, info);
			break;
		case T_TidScan:
			inspect_expressions(((TidScan *) plan)->tidquals, info);
			break;
		case T_TidRangeScan:
			inspect_expressions(((TidRangeScan *) plan)->tidrangequals, info);
			break;
		case T_SubqueryScan:
			inspect_plan(((SubqueryScan *) plan)->subplan, info);
			break;
		case T_FunctionScan:
			inspect_expressions(((FunctionScan *) plan)->functions, info);
			break;
		case T_ValuesScan:
			inspect_expressions(((ValuesScan *) plan)->values_lists, info);
			break;
		case T_TableFuncScan:
			inspect_expressions(((TableFuncScan *) plan)->tablefunc, info);
			break;
		case T_ForeignScan:
			inspect_expressions(((ForeignScan *) plan)->fdw_exprs, info);
			break;
		case T_CustomScan:
			inspect_expressions(((CustomScan *) plan)->custom_exprs, info);
			inspect_plans(((CustomScan *) plan)->custom_plans, info);
			break;
		case T_NestLoop:
			inspect_expressions(((Join *) plan)->joinqual, info);
			break;
		case T_MergeJoin:
			inspect_expressions(((Join *) plan)->joinqual, info);
			inspect_expressions(((MergeJoin *) plan)->mergeclauses, info);
			break;
		case T_HashJoin:
			inspect_expressions(((Join *) plan)->joinqual, info);
			inspect_expressions(((HashJoin *) plan)->hashclauses, info);
			break;
		case T_Hash:
			inspect_expressions(((Hash *) plan)->hashkeys, info);
			break;
		case T_Memoize:
			inspect_expressions(((Memoize *) plan)->param_exprs, info);
			break;
		case T_WindowAgg:
			inspect_expressions(((WindowAgg *) plan)->startOffset, info);
			inspect_expressions(((WindowAgg *) plan)->endOffset, info);
			inspect_expressions(((WindowAgg *) plan)->runCondition, info);
			break;
		case T_Limit:
			inspect_expressions(((Limit *) plan)->limitOffset, info);
			inspect_expressions(((Limit *) plan)->limitCount, info);
			break;
		default:
			/* no expressions but those that every plan has */
			break;
	}
}

#ifdef SC_DEBUG
/*
 * The text form of a plan names each function that is called: one that the walk
 * above has passed by is a mistake of ours.
 */
static void
check_inspection(PlannedStmt *planned, const ScQueryInfo *info)
{
	static const char *const fields[] = {":funcid ", ":opfuncid ", ":aggfnoid ", ":winfnoid "};
	char	   *text = nodeToString(planned);

	for (int i = 0; i < (int) lengthof(fields); i++)
		for (char *p = text; (p = strstr(p, fields[i])) != NULL; p++)
		{
			ScQueryInfo one = {0};
			ListCell   *lc;

			(void) note_function(strtoul(p + strlen(fields[i]), NULL, 10), &one);
			foreach(lc, one.functions)
			{
				if (!list_member_oid(info->functions, lfirst_oid(lc)))
					elog(PANIC, "function %u of a plan was passed by", lfirst_oid(lc));
			}
			if (one.is_volatile && !info->is_volatile)
				elog(PANIC, "a volatile function of a plan was passed by");
		}
	pfree(text);
}
#endif

static void
inspect_functions(PlannedStmt *planned, ScQueryInfo *info)
{
	inspect_plan(planned->planTree, info);
	/* initplans and subplans */
	inspect_plans(planned->subplans, info);
#ifdef SC_DEBUG
	check_inspection(planned, info);
#endif
}

/*
 * Look for what the query did not read or call when it was defined: a view or
 * function that it uses may have been replaced, or a table have changed places
 * with another.
 */
void
sc_inspect_find_stranger(ScSectionDef *section, SPIPlanPtr plan, CachedPlan *cached, ScStranger *stranger)
{
	ScQueryInfo info = {0};
	ListCell   *lc;

	memset(stranger, 0, sizeof(*stranger));
	foreach(lc, plan_relations(plan, cached))
	{
		Oid			relid = lfirst_oid(lc);
		bool		known = false;

		for (int i = 0; i < section->nreads; i++)
			known = known || section->reads[i] == relid;
		for (int i = 0; !known && i < section->nreads; i++)
			known = sc_track_covers(section->reads[i], relid);
		if (!known)
			stranger->table = relid;
	}

	inspect_functions(linitial_node(PlannedStmt, cached->stmt_list), &info);
	foreach(lc, info.functions)
	{
		char	   *name = format_procedure_qualified(lfirst_oid(lc));
		bool		known = false;

		for (int i = 0; i < section->ncalls; i++)
			known = known || strcmp(section->calls[i], name) == 0;
		if (!known)
			stranger->function = lfirst_oid(lc);
	}
}

/* Does a query lock rows, at whatever depth? */
static bool
locks_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return ((Query *) node)->rowMarks != NIL ||
			query_tree_walker((Query *) node, locks_rows, context, 0);
	return expression_tree_walker(node, locks_rows, context);
}

typedef struct InspectArguments
{
	ScSectionDef *section;
	bool		check_sources;
	ScQueryInfo *info;
} InspectArguments;

/* sc_inspect_query(), inside the build environment. */
static void
inspect_query(void *arg)
{
	ScSectionDef *section = ((InspectArguments *) arg)->section;
	bool		check_sources = ((InspectArguments *) arg)->check_sources;
	ScQueryInfo *info = ((InspectArguments *) arg)->info;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	SPIPlanPtr	plan;
	CachedPlanSource *source;
	CachedPlan *cached;
	PlannedStmt *planned;
	QueryReads	reads;
	ListCell   *lc;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());

	plan = sc_query_prepare(section);
	source = linitial(SPI_plan_get_plan_sources(plan));
	sc_query_check_columns(section, source->resultDesc);
	sc_query_check_analyzed(section, plan);
	if (locks_rows((Node *) linitial(source->query_list), NULL))
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "locks rows");

	/* before planning, in which a foreign server would be asked */
	reads = query_reads(plan);
	foreach(lc, reads.relations)
	{
		if (check_sources && !sc_extension_is_own_table(lfirst_oid(lc)))
			sc_track_check_source(lfirst_oid(lc));
	}

	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan the query");
	planned = linitial_node(PlannedStmt, cached->stmt_list);

	old = MemoryContextSwitchTo(context);
	info->nkeys = source->resultDesc->natts;
	info->keys = sc_query_column_names(source->resultDesc);
	info->relations = plan_relations(plan, cached);
	info->functions = NIL;
	info->is_volatile = reads.by_name || sc_query_reads_clock(section->query, source->query_list);
	inspect_functions(planned, info);
	MemoryContextSwitchTo(old);

	ReleaseCachedPlan(cached, NULL);	/* an unsaved plan has no owner */
	PopActiveSnapshot();
	SPI_finish();
}

void
sc_inspect_query(ScSectionDef *section, bool check_sources,
				 ScQueryInfo *info)
{
	InspectArguments arguments = {section, check_sources, info};

	sc_owner_run(section, inspect_query, &arguments);
}

/*-------------------------------------------------------------------------
 * Operators
 *-------------------------------------------------------------------------
 */

/*
 * The numbers of all that a query calls and compares by, in order.  The text
 * does not name them all: JOIN USING and CASE find their operators by
 * themselves, and so might find others in another search path.
 */
static bool
collect_operators(Node *node, void *context)
{
	List	  **list = context;
	ListCell   *lc;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Query:
			return query_tree_walker((Query *) node, collect_operators, context, 0);
		case T_SetOperationStmt:
			/* the walker passes them by */
			foreach(lc, ((SetOperationStmt *) node)->groupClauses)
			{
				(void) collect_operators(lfirst(lc), context);
			}
			break;
		case T_SortGroupClause:
			*list = lappend_oid(*list, ((SortGroupClause *) node)->eqop);
			*list = lappend_oid(*list, ((SortGroupClause *) node)->sortop);
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			*list = lappend_oid(*list, ((OpExpr *) node)->opno);
			break;
		case T_ScalarArrayOpExpr:
			*list = lappend_oid(*list, ((ScalarArrayOpExpr *) node)->opno);
			break;
		case T_RowCompareExpr:
			foreach(lc, ((RowCompareExpr *) node)->opnos)
			{
				*list = lappend_oid(*list, lfirst_oid(lc));
			}
			break;
		case T_FuncExpr:
			*list = lappend_oid(*list, ((FuncExpr *) node)->funcid);
			break;
		case T_Aggref:
			*list = lappend_oid(*list, ((Aggref *) node)->aggfnoid);
			break;
		case T_WindowFunc:
			*list = lappend_oid(*list, ((WindowFunc *) node)->winfnoid);
			break;
		case T_Const:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CoerceToDomain:
			*list = lappend_oid(*list, exprType(node));
			*list = lappend_oid(*list, exprCollation(node));
			break;
		default:
			break;
	}
	return expression_tree_walker(node, collect_operators, context);
}

List *
sc_inspect_operators(Query *query)
{
	List	   *operators = NIL;

	(void) collect_operators((Node *) query, &operators);
	return operators;
}
