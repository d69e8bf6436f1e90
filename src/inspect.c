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
#include "access/sysattr.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/functions.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "rewrite/rewriteHandler.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#include "builtin.h"
#include "closed.h"
#include "clock.h"
#include "inspect.h"
#include "keyed.h"
#include "owner.h"
#include "subtransaction.h"
#include "track.h"

/* What a query reads, as it was analysed and rewritten. */
typedef struct QueryReads
{
	ScOidList	relations;		/* with views as what they read */
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
			(void) sc_oid_list_add(&reads->relations, relid);
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
	CHECK_FOR_INTERRUPTS();
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && get_rel_relkind(rte->relid) != RELKIND_VIEW)
			(void) sc_oid_list_add(&reads->relations, rte->relid);
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

static ScCover *
cover_of(List *relations)
{
	ScCover    *cover = sc_track_cover();
	ListCell   *lc;

	foreach(lc, relations)
	{
		Oid			relid = lfirst_oid(lc);

		sc_track_cover_add(cover, &relid, 1);
	}
	return cover;
}

/*
 * The tables that a plan reads, views followed.  The planner also sees what
 * functions read that it inlined; and it names the members of trees, of which
 * the one that the query names is enough.
 */
static List *
plan_relations(SPIPlanPtr plan, CachedPlan *cached)
{
	ScOidList	relations = query_reads(plan).relations;
	ScCover    *cover = NULL;
	ListCell   *lc;

	foreach(lc, linitial_node(PlannedStmt, cached->stmt_list)->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		CHECK_FOR_INTERRUPTS();
		if (rte->rtekind != RTE_RELATION || sc_oid_list_has(&relations, rte->relid) ||
			get_rel_relkind(rte->relid) == RELKIND_VIEW)
			continue;
		if (cover == NULL)
			cover = cover_of(relations.list);
		if (sc_track_is_covered(cover, rte->relid))
			continue;
		(void) sc_oid_list_add(&relations, rte->relid);
		sc_track_cover_add(cover, &rte->relid, 1);
	}
	return relations.list;
}

/*-------------------------------------------------------------------------
 * Functions
 *-------------------------------------------------------------------------
 */

/* Can a function read tables without our seeing it? */
static bool
is_opaque(Oid function)
{
	if (sc_builtin_is(function))
		return sc_builtin_reads(function);
	/* in whatever language, it may run queries */
	return get_func_name(function) != NULL && func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/* Does a function's result depend on more than its arguments, the tables and the definitions? */
static bool
depends_on_more(Oid function)
{
	if (sc_builtin_is(function))
		return sc_builtin_depends(function);
	return func_volatile(function) == PROVOLATILE_VOLATILE;
}

/* As many are listed in a NOTICE. */
#define MAX_NOTED	100

/* Something that a query depends on beside its tables, in the words of the NOTICE. */
static void
note_dependence(const char *what, ScQueryInfo *info)
{
	if (list_length(info->depends) < MAX_NOTED && !sc_list_has_name(info->depends, what))
		info->depends = lappend(info->depends, pstrdup(what));
}

/* A function runs, because the query calls it or the aggregate that is named. */
static void
note_call(Oid function, Oid named, ScQueryInfo *info)
{
	if (!OidIsValid(function))
		return;
	if (depends_on_more(function))
		note_dependence(format_procedure(named), info);
	if (is_opaque(function))
		info->functions = list_append_unique_oid(info->functions, named);
}

/*
 * The functions that do an aggregate's work.  The aggregate itself is immutable
 * in pg_proc, whatever these are.
 */
static List *
aggregate_functions(Oid aggregate)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Form_pg_aggregate form;
	List	   *functions = NIL;

	if (!HeapTupleIsValid(tuple))
		return NIL;
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	functions = lappend_oid(functions, form->aggtransfn);
	functions = lappend_oid(functions, form->aggfinalfn);
	functions = lappend_oid(functions, form->aggcombinefn);
	functions = lappend_oid(functions, form->aggserialfn);
	functions = lappend_oid(functions, form->aggdeserialfn);
	functions = lappend_oid(functions, form->aggmtransfn);
	functions = lappend_oid(functions, form->aggminvtransfn);
	functions = lappend_oid(functions, form->aggmfinalfn);
	ReleaseSysCache(tuple);
	return functions;
}

/* The callback of check_functions_in_node(). */
static bool
note_function(Oid function, void *context)
{
	ScQueryInfo *info = context;
	ListCell   *lc;

	if (!sc_oid_list_add(&info->seen, function))
		return false;
	note_call(function, function, context);
	if (OidIsValid(function) && get_func_prokind(function) == PROKIND_AGGREGATE)
		foreach(lc, aggregate_functions(function))
	{
		note_call(lfirst_oid(lc), function, context);
	}
	return false;
}

/* What the server has in the place of a function; NULL: it is the same for all who build. */
static const char *
special_value(SQLValueFunction *value)
{
	switch (value->op)
	{
		case SVFOP_CURRENT_DATE:
			return "CURRENT_DATE";
		case SVFOP_CURRENT_TIME:
		case SVFOP_CURRENT_TIME_N:
			return "CURRENT_TIME";
		case SVFOP_CURRENT_TIMESTAMP:
		case SVFOP_CURRENT_TIMESTAMP_N:
			return "CURRENT_TIMESTAMP";
		case SVFOP_LOCALTIME:
		case SVFOP_LOCALTIME_N:
			return "LOCALTIME";
		case SVFOP_LOCALTIMESTAMP:
		case SVFOP_LOCALTIMESTAMP_N:
			return "LOCALTIMESTAMP";
		case SVFOP_SESSION_USER:
			return "SESSION_USER";
		default:
			/* the current user is always the owner */
			return NULL;
	}
}

/*
 * System columns that change although nobody writes the row: where it is, by
 * VACUUM FULL and CLUSTER; who has locked it, by FOR UPDATE and foreign keys;
 * what a transaction left that was rolled back.  Its table is a definition,
 * and xmin stays the same when it is frozen.
 */
static const char *
unsteady_column(Var * var)
{
	switch (var->varattno)
	{
		case SelfItemPointerAttributeNumber:
			return "the system column ctid";
		case MinCommandIdAttributeNumber:
			return "the system column cmin";
		case MaxTransactionIdAttributeNumber:
			return "the system column xmax";
		case MaxCommandIdAttributeNumber:
			return "the system column cmax";
		default:
			return NULL;
	}
}

/* A node of a query or of a finished plan; others are below it. */
static void
inspect_node(Node *node, ScQueryInfo *info)
{
	const char *what = NULL;

	CHECK_FOR_INTERRUPTS();
	(void) check_functions_in_node(node, note_function, info);
	if (IsA(node, SQLValueFunction))
		what = special_value((SQLValueFunction *) node);
	if (IsA(node, Var))
		what = unsteady_column((Var *) node);
	if (IsA(node, TableSampleClause) && ((TableSampleClause *) node)->repeatable == NULL)
		what = "TABLESAMPLE without REPEATABLE";
	if (what)
		note_dependence(what, info);
}

/* An expression of a finished plan, or a list of them. */
static bool
inspect_expression(Node *node, void *context)
{
	if (node == NULL)
		return false;
	inspect_node(node, context);
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
			foreach(lc, one.depends)
			{
				if (list_length(info->depends) < MAX_NOTED && !sc_list_has_name(info->depends, lfirst(lc)))
					elog(PANIC, "%s of a plan was passed by", (char *) lfirst(lc));
			}
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

/*-------------------------------------------------------------------------
 * SQL functions
 *-------------------------------------------------------------------------
 */

/* An SQL function whose body is still to be looked into. */
typedef struct Body
{
	Oid			function;
	Node	   *call;			/* NULL: an aggregate calls it */
} Body;

/* What the SQL functions depend on that a query calls, however deep. */
typedef struct BodyWalk
{
	ScSectionDef *section;
	Node	   *node;			/* that is looked at */
	ScOidList	seen;			/* functions: they may call each other in a
								 * circle */
	List	   *bodies;			/* of Body *, which grows while it is gone
								 * through */
	bool		reads_clock;	/* one has a constant such as date 'today' */
	bool		unknown;		/* one could not be looked into */
	ScQueryInfo info;			/* what the bodies call, not the query itself */
} BodyWalk;

static void
note_author(Oid owner, ScQueryInfo *info)
{
	if (!OidIsValid(info->author) && !superuser_arg(owner))
		info->author = owner;
}

/* Views among them: what they call runs as well. */
static void
note_authors(List *relations, ScQueryInfo *info)
{
	ListCell   *lc;

	foreach(lc, relations)
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		note_author(((Form_pg_class) GETSTRUCT(tuple))->relowner, info);
		ReleaseSysCache(tuple);
	}
}

static void
collect_body(Oid function, Node *call, BodyWalk *walk)
{
	HeapTuple	tuple;
	ListCell   *lc;

	if (!OidIsValid(function) || sc_builtin_is(function) || !sc_oid_list_add(&walk->seen, function))
		return;
	if (get_func_prokind(function) == PROKIND_AGGREGATE)
		foreach(lc, aggregate_functions(function))
	{
		collect_body(lfirst_oid(lc), NULL, walk);
	}

	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return;
	note_author(((Form_pg_proc) GETSTRUCT(tuple))->proowner, &walk->info);
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == SQLlanguageId)
	{
		Body	   *body = palloc(sizeof(Body));

		body->function = function;
		body->call = call;
		walk->bodies = lappend(walk->bodies, body);
	}
	ReleaseSysCache(tuple);
}

/* The callback of check_functions_in_node(). */
static bool
collect_called(Oid function, void *context)
{
	BodyWalk   *walk = context;

	collect_body(function, walk->node, walk);
	return false;
}

static bool
collect_bodies(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_bodies, context, 0);
	CHECK_FOR_INTERRUPTS();
	((BodyWalk *) context)->node = node;
	(void) check_functions_in_node(node, collect_called, context);
	return expression_tree_walker(node, collect_bodies, context);
}

static bool
inspect_body(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, inspect_body, context, 0);
	inspect_node(node, context);
	return expression_tree_walker(node, inspect_body, context);
}

/* What has been analysed of a function. */
static void
walk_queries(Node *statement, List *queries, BodyWalk *walk)
{
	walk->reads_clock = walk->reads_clock || sc_query_statement_reads_clock(statement, queries);
	(void) collect_bodies((Node *) queries, walk);
	(void) inspect_body((Node *) queries, &walk->info);
}

/* A body that was analysed when the function was created: its constants are those of that time. */
static void
walk_parsed_body(Node *body, BodyWalk *walk)
{
	List	   *statements = IsA(body, List) ? linitial_node(List, castNode(List, body)) : list_make1(body);
	ListCell   *lc;

	foreach(lc, statements)
	{
		Query	   *query = lfirst_node(Query, lc);

		AcquireRewriteLocks(query, false, false);
		walk_queries(NULL, pg_rewrite_query(query), walk);
	}
}

/*
 * A body that is a string: it is analysed as the server does it when it calls the
 * function, or puts it in place.
 */
static void
walk_string_body(const char *text, HeapTuple tuple, Body *body, BodyWalk *walk)
{
	SQLFunctionParseInfoPtr arguments =
	prepare_sql_fn_parse_info(tuple, body->call, body->call ? exprInputCollation(body->call) : InvalidOid);
	ListCell   *lc;

	foreach(lc, raw_parser(text, RAW_PARSE_DEFAULT))
	{
		RawStmt    *statement = lfirst_node(RawStmt, lc);
		ParseState *state = make_parsestate(NULL);
		Query	   *query;

		sc_query_check_statement(walk->section, statement->stmt);
		state->p_sourcetext = text;

		sql_fn_parser_setup(state, arguments);
		/* the analysis changes what it is given */
		query = transformTopLevelStmt(state, copyObject(statement));
		free_parsestate(state);
		walk_queries(statement->stmt, pg_rewrite_query(query), walk);
	}
}

typedef struct WalkArguments
{
	Body	   *body;
	BodyWalk   *walk;
} WalkArguments;

static void
walk_body(void *arg)
{
	Body	   *body = ((WalkArguments *) arg)->body;
	BodyWalk   *walk = ((WalkArguments *) arg)->walk;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(body->function));
	Datum		settings;
	Datum		parsed;
	Datum		source;
	bool		no_settings;
	bool		not_parsed;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return;
	settings = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig, &no_settings);
	parsed = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &not_parsed);
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);

	if (!no_settings)
		ProcessGUCArray(DatumGetArrayTypeP(settings), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE);

	sc_subtransaction_limit_waiting(1);
	if (!not_parsed)
		walk_parsed_body(stringToNode(TextDatumGetCString(parsed)), walk);
	else if (!isnull)
		walk_string_body(TextDatumGetCString(source), tuple, body, walk);
	ReleaseSysCache(tuple);
}

/* A body that cannot be analysed, here or now: by its text alone. */
static void
walk_text(Body *body, BodyWalk *walk)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(body->function));
	Datum		source;
	bool		isnull;

	walk->unknown = true;
	if (!HeapTupleIsValid(tuple))
		return;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	if (!isnull && sc_query_has_clock_word(TextDatumGetCString(source)))
		walk->reads_clock = true;
	ReleaseSysCache(tuple);
}

/*
 * Look into the SQL functions that queries call, into those that these call, and
 * so on.  The server analyses a body that is a string when it puts the function
 * in place or executes it, and the constants in it become numbers then.  Each
 * body is analysed in a subtransaction that is rolled back, so that neither an
 * error nor a lock remains; its owner's rights are not needed for that.
 */
static void
walk_bodies(ScSectionDef *section, List *queries, BodyWalk *walk)
{
	walk->section = section;
	(void) collect_bodies((Node *) queries, walk);
	for (int i = 0; i < list_length(walk->bodies); i++)
	{
		WalkArguments arguments = {list_nth(walk->bodies, i), walk};
		ErrorData  *error = NULL;
		bool		tried = !sc_subtransaction_is_ending();

		CHECK_FOR_INTERRUPTS();
		if (tried)
			error = sc_subtransaction_run(walk_body, &arguments, false);
		if (error && sc_subtransaction_is_cancel(error))
			ReThrowError(error);
		if (error || !tried)
			walk_text(arguments.body, walk);
	}
}

/*
 * May a section's query, or an SQL function that it calls, have a constant such
 * as date 'today'?  Then no plan of it is kept.  Inside the build environment.
 */
bool
sc_inspect_reads_clock(ScSectionDef *section, List *queries)
{
	BodyWalk	walk = {0};

	if (sc_query_reads_clock(section->query, queries))
		return true;
	walk_bodies(section, queries, &walk);
	return walk.reads_clock || walk.unknown;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void *
sorted_copy(const void *elements, int n, Size size, int (*compare) (const void *a, const void *b))
{
	void	   *copy = palloc(Max(n, 1) * size);

	if (n > 0)
		memcpy(copy, elements, n * size);
	qsort(copy, n, size, compare);
	return copy;
}

/*
 * Names that are kept are compared with those that other sessions print.  With
 * quote_all_identifiers, which anybody may set, they would be other names, and
 * not only in one's own sections: a rename of a function looks at all sections
 * that call one of that name.
 */
char *
sc_inspect_function_name(Oid function)
{
	int			guc_level = NewGUCNestLevel();
	char	   *name;

	if (quote_all_identifiers)
		(void) set_config_option("quote_all_identifiers", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	name = format_procedure_qualified(function);
	AtEOXact_GUC(false, guc_level);
	return name;
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
	Oid		   *reads = sorted_copy(section->reads, section->nreads, sizeof(Oid), oid_cmp);
	char	  **calls = sorted_copy(section->calls, section->ncalls, sizeof(char *), compare_names);
	ScCover    *cover = NULL;
	ListCell   *lc;

	memset(stranger, 0, sizeof(*stranger));
	foreach(lc, plan_relations(plan, cached))
	{
		Oid			relid = lfirst_oid(lc);

		CHECK_FOR_INTERRUPTS();
		if (bsearch(&relid, reads, section->nreads, sizeof(Oid), oid_cmp))
			continue;
		if (cover == NULL)
		{
			cover = sc_track_cover();
			sc_track_cover_add(cover, section->reads, section->nreads);
		}
		if (!sc_track_is_covered(cover, relid))
			stranger->table = relid;
	}

	inspect_functions(linitial_node(PlannedStmt, cached->stmt_list), &info);
	foreach(lc, info.functions)
	{
		char	   *name = sc_inspect_function_name(lfirst_oid(lc));

		CHECK_FOR_INTERRUPTS();
		if (!bsearch(&name, calls, section->ncalls, sizeof(char *), compare_names))
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

/* How long to wait for a lock of which only its being there is known. */
#define RETRY_MS	10

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
	BodyWalk	walk = {0};
	ErrorContextCallback callback;
	ListCell   *lc;

	sc_subtransaction_limit_waiting(1);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());

	plan = sc_query_prepare(section);
	source = linitial(SPI_plan_get_plan_sources(plan));
	sc_query_check_named(section, linitial_node(Query, source->query_list));
	sc_query_check_columns(section, source->resultDesc);
	sc_query_check_analyzed(section, plan);
	if (locks_rows((Node *) linitial(source->query_list), NULL))
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "locks rows");

	/* before planning, in which a foreign server would be asked */
	reads = query_reads(plan);
	foreach(lc, reads.relations.list)
	{
		if (check_sources && !sc_extension_is_own_table(lfirst_oid(lc)))
			sc_track_check_source(lfirst_oid(lc));
	}

	/* it may evaluate expressions, whose errors have no position */
	callback.callback = sc_query_error_callback;
	callback.arg = section;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan the query");
	error_context_stack = callback.previous;
	planned = linitial_node(PlannedStmt, cached->stmt_list);

	old = MemoryContextSwitchTo(context);
	info->nkeys = source->resultDesc->natts;
	info->keys = sc_query_column_names(source->resultDesc);
	info->relations = plan_relations(plan, cached);
	info->functions = NIL;
	info->depends = NIL;
	memset(&info->seen, 0, sizeof(info->seen));
	inspect_functions(planned, info);
	walk_bodies(section, source->query_list, &walk);
	foreach(lc, walk.info.depends)
	{
		note_dependence(lfirst(lc), info);
	}
	info->author = walk.info.author;
	note_authors(planned->relationOids, info);
	if (walk.reads_clock || sc_query_reads_clock(section->query, source->query_list))
		note_dependence("a constant that means the current time", info);
	if (reads.by_name)
		note_dependence("a function that is given a relation's name", info);
	info->keyed = info->not_keyed = NIL;
	if (section->parameters.n > 0)
	{
		info->closed = sc_closed_is(source->query_list);
		sc_keyed_find(source->query_list, &info->keyed, &info->not_keyed);
	}
	MemoryContextSwitchTo(old);

	ReleaseCachedPlan(cached, NULL);	/* an unsaved plan has no owner */
	PopActiveSnapshot();
	SPI_finish();
}

typedef struct RelationWait
{
	Oid			relid;
	int64		fails_at;		/* by lock_timeout */
} RelationWait;

static void
wait_for_relation(void *arg)
{
	RelationWait *wait = arg;

	if (LockTimeout > 0)
		sc_subtransaction_limit_waiting((int) Max((wait->fails_at - sc_clock_now()) / SC_NS_PER_MS, 1));
	LockRelationOid(wait->relid, AccessShareLock);
}

/*
 * What the query names is locked while it is analysed.  Like the sources after
 * that (see track.c) it is not waited for with some of it locked: a try that
 * meets a lock ends, and the next one comes when that is gone.  In all that takes
 * lock_timeout at most.
 */
void
sc_inspect_query(ScSectionDef *section, bool check_sources,
				 ScQueryInfo *info)
{
	InspectArguments arguments = {section, check_sources, info};
	RelationWait wait;

	section->locks_by_name = true;
	wait.fails_at = LockTimeout > 0 ? sc_clock_now() + (int64) LockTimeout * SC_NS_PER_MS : PG_INT64_MAX;
	(void) sc_query_awaited_relation();
	for (;;)
	{
		ErrorData  *error = sc_owner_try(section, inspect_query, &arguments);

		if (error == NULL)
			return;
		if (!SC_IS_LOCK_TIMEOUT(error) || sc_clock_now() >= wait.fails_at)
			ReThrowError(error);
		FreeErrorData(error);
		CHECK_FOR_INTERRUPTS();
		wait.relid = sc_query_awaited_relation();
		if (OidIsValid(wait.relid))
		{
			error = sc_subtransaction_run(wait_for_relation, &wait, false);
			if (error)
				ReThrowError(error);
		}
		else
		{
			/* within a view, or an index: nothing tells which */
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 RETRY_MS, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		}
	}
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
	CHECK_FOR_INTERRUPTS();
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
