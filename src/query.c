/*-------------------------------------------------------------------------
 *
 * query.c
 *	  A section's query: prepared and looked at as its owner.
 *
 * A query does not find the temporary objects of the session that asks: see
 * before_analysis().
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parse_coerce.h"
#include "parser/parse_type.h"
#include "parser/parse_param.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "debug.h"
#include "query.h"

/* For all that is wrong with a query: an SQLSTATE, the section's name, and what to do. */
SC_NORETURN static void
refuse(int code, ScSectionDef *section, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("query of section \"%s\" of summary \"%s\" %s",
					NameStr(section->name), NameStr(section->summary), what),
			 errhint("%s", hint)));
}

void
sc_query_refuse(int code, ScSectionDef *section, const char *what)
{
	refuse(code, section, what,
		   "A section's query is a single SELECT that returns exactly one row; each column is a key of the document.");
}

/*-------------------------------------------------------------------------
 * Names, before a query is analysed
 *-------------------------------------------------------------------------
 */

/* What walks a query as it was parsed. */
typedef struct NameCheck
{
	ScSectionDef *section;
	bool		types;			/* the second time: now that the relations are
								 * locked */
	List	   *ctes;			/* names of WITH queries in scope, of char * */
} NameCheck;

static void
refuse_temporary(ScSectionDef *section, const char *what, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("query of section \"%s\" of summary \"%s\" reads temporary %s \"%s\"",
					NameStr(section->name), NameStr(section->summary), what, name),
			 errhint("Use a permanent %s.", strcmp(what, "relation") == 0 ? "table" : what)));
}

/* Functions and operators are never found in the temporary schema unless it is named. */
static void
check_qualified(ScSectionDef *section, const char *what, List *name)
{
	const char *schema;

	if (list_length(name) < 2)
		return;
	schema = strVal(list_nth(name, list_length(name) - 2));
	if (strcmp(schema, "pg_temp") == 0 || isTempNamespace(get_namespace_oid(schema, true)))
		refuse_temporary(section, what, strVal(llast(name)));
}

static bool check_names(Node *node, void *context);

/* A name of a WITH query hides a relation's in what follows it, recursively in all of them. */
static bool
check_select(SelectStmt *stmt, NameCheck *check)
{
	List	   *outer = check->ctes;
	ListCell   *lc;

	if (stmt->withClause)
	{
		check->ctes = list_copy(outer);
		foreach(lc, stmt->withClause->recursive ? stmt->withClause->ctes : NIL)
		{
			check->ctes = lappend(check->ctes, lfirst_node(CommonTableExpr, lc)->ctename);
		}
		foreach(lc, stmt->withClause->ctes)
		{
			CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

			(void) check_names(cte->ctequery, check);
			if (cte->cycle_clause)
			{
				(void) check_names(cte->cycle_clause->cycle_mark_value, check);
				(void) check_names(cte->cycle_clause->cycle_mark_default, check);
			}
			check->ctes = lappend(check->ctes, cte->ctename);
		}
	}
	(void) raw_expression_tree_walker((Node *) stmt, check_names, check);
	check->ctes = outer;
	return false;
}

/*
 * The relation whose lock a check of names waits for.  It stays after an error,
 * until somebody asks.
 */
static Oid	awaited_relation = InvalidOid;

Oid
sc_query_awaited_relation(void)
{
	Oid			awaited = awaited_relation;

	awaited_relation = InvalidOid;
	return awaited;
}

static void
check_relation(RangeVar *relation, NameCheck *check)
{
	Oid			relid;

	if (relation->schemaname == NULL && sc_list_has_name(check->ctes, relation->relname))
		return;
	awaited_relation = RangeVarGetRelid(relation, NoLock, true);
	relid = RangeVarGetRelid(relation, AccessShareLock, true);
	awaited_relation = InvalidOid;
	if (OidIsValid(relid) && get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
		refuse_temporary(check->section, "relation", relation->relname);
}

/* Locked as well: it cannot be dropped before the analysis looks for it again. */
static void
check_type(TypeName *type, ScSectionDef *section)
{
	Oid			typeid = InvalidOid;
	Oid			locked;
	HeapTuple	tuple;
	bool		temporary;

	do
	{
		locked = typeid;
		typeid = LookupTypeNameOid(NULL, type, true);
		if (typeid >= FirstNormalObjectId && typeid != locked)
			LockDatabaseObject(TypeRelationId, typeid, 0, AccessShareLock);
	} while (typeid >= FirstNormalObjectId && typeid != locked);

	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typeid));
	if (!HeapTupleIsValid(tuple))
		return;
	temporary = isTempNamespace(((Form_pg_type) GETSTRUCT(tuple))->typnamespace);
	ReleaseSysCache(tuple);
	if (temporary)
		refuse_temporary(section, "type", strVal(llast(type->names)));
}

static bool
check_names(Node *node, void *context)
{
	NameCheck  *check = context;

	if (node == NULL)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	switch (nodeTag(node))
	{
		case T_SelectStmt:
			return check_select((SelectStmt *) node, check);
		case T_WithClause:
			/* by check_select() */
			return false;
		case T_InsertStmt:
		case T_UpdateStmt:
		case T_DeleteStmt:
		case T_MergeStmt:
			sc_query_refuse(ERRCODE_SYNTAX_ERROR, check->section, "changes data");
			break;
		case T_RangeVar:
			if (!check->types)
				check_relation((RangeVar *) node, check);
			break;
		case T_TypeName:
			if (check->types)
				check_type((TypeName *) node, check->section);
			break;
		case T_RangeTableFuncCol:
			/* the walker passes its type by */
			(void) check_names((Node *) ((RangeTableFuncCol *) node)->typeName, context);
			break;
		case T_FuncCall:
			check_qualified(check->section, "function", ((FuncCall *) node)->funcname);
			break;
		case T_A_Expr:
			check_qualified(check->section, "operator", ((A_Expr *) node)->name);
			break;
		case T_SubLink:
			check_qualified(check->section, "operator", ((SubLink *) node)->operName);
			break;
		case T_SortBy:
			check_qualified(check->section, "operator", ((SortBy *) node)->useOp);
			break;
		default:
			break;
	}
	return raw_expression_tree_walker(node, check_names, context);
}

/* A session without temporary objects need not look for their names; but see locks_by_name. */
static bool
must_check_names(const ScSectionDef *section)
{
	Oid			namespace;
	Oid			toast_namespace;

	GetTempNamespaceState(&namespace, &toast_namespace);
	return OidIsValid(namespace) || section->locks_by_name;
}

/*
 * A permanent table or type that is gone must not be replaced by a temporary
 * one of the session that happens to build: a temporary view, or the input of
 * a domain, may call functions of that session's user, which would run as the
 * section's owner.  A constant is converted to its type while the query is
 * analysed, so this is the parser's hook that comes before that, each time.
 *
 * The analysis looks the names up again, and must find the same.  So relations
 * and types are locked, and as that may wait, relations first: they are what
 * others lock for long.  (A type can be renamed all the same; those few
 * microseconds remain.)
 */
void
sc_query_check_statement(ScSectionDef *section, Node *statement)
{
	NameCheck	check = {section};

	if (!must_check_names(section))
		return;
	if (!IsA(statement, SelectStmt))
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "is not a SELECT");
	(void) check_names(statement, &check);
	check.types = true;
	(void) check_names(statement, &check);
}

void
sc_query_check_names(ScSectionDef *section)
{
	List	   *statements;

	if (!must_check_names(section))
		return;
	statements = raw_parser(section->query, RAW_PARSE_DEFAULT);
	if (list_length(statements) > 1)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "holds several statements");
	sc_query_check_statement(section, linitial_node(RawStmt, statements)->stmt);
}

static void
before_analysis(ParseState *pstate, void *arg)
{
	ScSectionDef *section = arg;

	sc_query_check_names(section);
	if (section->parameters.n > 0)
		setup_parse_fixed_parameters(pstate, sc_values_types(&section->parameters), section->parameters.n);
}

/*-------------------------------------------------------------------------
 * Constants that mean the current time
 *-------------------------------------------------------------------------
 */

/* raw_expression_tree_walker(), which passes by what is in a CYCLE clause. */
bool
sc_query_walk_raw(Node *node, bool (*walker) (Node *node, void *context), void *context)
{
	if (IsA(node, CommonTableExpr) && ((CommonTableExpr *) node)->cycle_clause)
	{
		CTECycleClause *cycle = ((CommonTableExpr *) node)->cycle_clause;

		if (walker(cycle->cycle_mark_value, context) || walker(cycle->cycle_mark_default, context))
			return true;
	}
	return raw_expression_tree_walker(node, walker, context);
}

/* What a query's text has that may be such a constant, by its place in the text. */
typedef struct ClockStrings
{
	List	   *locations;		/* of int, in order once all are there */
	bool		converted;		/* one of them is of another type than a
								 * string */
} ClockStrings;

/* Does a string hold 'now', 'today' and the like, as a word? */
bool
sc_query_has_clock_word(const char *string)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

	for (const char *p = string; *p; p++)
	{
		if (p > string && isalpha((unsigned char) p[-1]))
			continue;
		for (int i = 0; i < (int) lengthof(words); i++)
		{
			size_t		len = strlen(words[i]);

			if (pg_strncasecmp(p, words[i], len) == 0 && !isalpha((unsigned char) p[len]))
				return true;
		}
	}
	return false;
}

static bool
collect_clock_strings(Node *node, void *context)
{
	ClockStrings *strings = context;

	if (node == NULL)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (IsA(node, A_Const))
	{
		A_Const    *constant = (A_Const *) node;

		if (!constant->isnull && IsA(&constant->val, String) &&
			sc_query_has_clock_word(strVal(&constant->val)))
			strings->locations = lappend_int(strings->locations, constant->location);
		return false;
	}
	return sc_query_walk_raw(node, collect_clock_strings, context);
}

/* Is a type of dates or times, or an array, a range or a row, which may hold them? */
static bool
may_hold_time(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);
	char		category;
	bool		preferred;

	if (OidIsValid(element))
		return may_hold_time(element);
	switch (get_typtype(base))
	{
		case TYPTYPE_RANGE:
			return may_hold_time(get_range_subtype(base));
		case TYPTYPE_MULTIRANGE:
			return may_hold_time(get_multirange_range(base));
		case TYPTYPE_COMPOSITE:
			return true;
		default:
			get_type_category_preferred(base, &category, &preferred);
			return category == TYPCATEGORY_DATETIME;
	}
}

/*
 * A string that is read as a time whenever the query is executed.  In a view or
 * the parsed body of a function it is all that is left of such a constant.
 */
static bool
is_clock_string(Node *node)
{
	Const	   *constant = (Const *) node;
	Oid			output;
	bool		is_varlena;

	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	constant = (Const *) node;
	if (!IsA(node, Const) || constant->constisnull ||
		TypeCategory(constant->consttype) != TYPCATEGORY_STRING)
		return false;
	getTypeOutputInfo(constant->consttype, &output, &is_varlena);
	return sc_query_has_clock_word(OidOutputFunctionCall(output, constant->constvalue));
}

/* Is a number in a list of int that is in order? */
static bool
is_among(const List *ordered, int number)
{
	int			from = 0;
	int			to = list_length(ordered);

	while (from < to)
	{
		int			middle = from + (to - from) / 2;

		if (list_nth_int(ordered, middle) < number)
			from = middle + 1;
		else
			to = middle;
	}
	return from < list_length(ordered) && list_nth_int(ordered, from) == number;
}

static bool
find_converted(Node *node, void *context)
{
	ClockStrings *strings = context;

	if (node == NULL || strings->converted)
		return false;
	CHECK_FOR_INTERRUPTS();
	if (IsA(node, Const))
		strings->converted = is_among(strings->locations, ((Const *) node)->location) &&
			may_hold_time(((Const *) node)->consttype);
	if (IsA(node, CoerceViaIO))
		strings->converted = may_hold_time(((CoerceViaIO *) node)->resulttype) &&
			is_clock_string((Node *) ((CoerceViaIO *) node)->arg);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_converted, context, 0);
	return expression_tree_walker(node, find_converted, context);
}

/*
 * Does a statement have a constant such as date 'today'?  It becomes a number
 * when the statement is analysed, and is that of this moment then: a plan that
 * is kept, or a text that is printed from it, would have the time of its analysis
 * for ever.  By the text as it was parsed, in which the strings still are, and the
 * types that the analysis has given them.
 */
bool
sc_query_statement_reads_clock(Node *statement, List *queries)
{
	ClockStrings strings = {0};

	(void) collect_clock_strings(statement, &strings);
	list_sort(strings.locations, list_int_cmp);
	(void) find_converted((Node *) queries, &strings);
	return strings.converted;
}

bool
sc_query_reads_clock(const char *text, List *queries)
{
	return sc_query_statement_reads_clock(linitial_node(RawStmt, raw_parser(text, RAW_PARSE_DEFAULT))->stmt,
										  queries);
}

void
sc_query_error_callback(void *arg)
{
	ScSectionDef *section = arg;

	errcontext("section \"%s\" of summary \"%s\"",
			   NameStr(section->name), NameStr(section->summary));
}

/*
 * Prepare a section's query and see that it is of the right kind.  Inside SPI
 * and the build environment.
 */
SPIPlanPtr
sc_query_prepare(ScSectionDef *section)
{
	SPIPrepareOptions options = {0};
	SPIPlanPtr	plan;
	List	   *sources;
	CachedPlanSource *source;
	Query	   *query;

	SC_POINT("query-prepare");
	options.parserSetup = before_analysis;
	options.parserSetupArg = section;

	/*
	 * one plan for all values, since what was found out about a plan goes for
	 * all
	 */
	options.cursorOptions = CURSOR_OPT_PARALLEL_OK | CURSOR_OPT_GENERIC_PLAN;
	plan = SPI_prepare_extended(section->query, &options);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	if (list_length(sources) > 1)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "holds several statements");
	if (sources == NIL)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "is empty");
	source = linitial(sources);
	query = list_length(source->query_list) == 1 ? linitial_node(Query, source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT || source->resultDesc == NULL)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "is not a SELECT");
	if (query->hasModifyingCTE)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "changes data");
	return plan;
}

List *
sc_query_rewrite(ScSectionDef *section)
{
	List	   *statements = raw_parser(section->query, RAW_PARSE_DEFAULT);

	if (list_length(statements) != 1)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "is not one statement");
	return pg_analyze_and_rewrite_withcb(linitial_node(RawStmt, statements), section->query,
										 before_analysis, section, NULL);
}

bool
sc_query_brings_type(const Node *node)
{
	switch (nodeTag(node))
	{
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_RowExpr:
		case T_CoerceToDomain:
			return true;
		default:
			return false;
	}
}

/* Does an analysed query name a temporary type?  If so, leaves its name. */
static bool
find_temporary_type(Node *node, void *context)
{
	char	  **name = context;
	List	   *types = NIL;
	ListCell   *lc;

	if (node == NULL)
		return false;
	CHECK_FOR_INTERRUPTS();
	switch (nodeTag(node))
	{
		case T_Query:
			return query_tree_walker((Query *) node, find_temporary_type, context,
									 QTW_EXAMINE_RTES_BEFORE);
		case T_RangeTblEntry:
			foreach(lc, ((RangeTblEntry *) node)->functions)
			{
				types = list_concat_copy(types, lfirst_node(RangeTblFunction, lc)->funccoltypes);
			}
			break;
		case T_TableFunc:
			types = ((TableFunc *) node)->coltypes;
			break;
		default:
			if (sc_query_brings_type(node))
				types = list_make1_oid(exprType(node));
			break;
	}
	foreach(lc, types)
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (HeapTupleIsValid(tuple))
		{
			Form_pg_type type = (Form_pg_type) GETSTRUCT(tuple);

			if (isTempNamespace(type->typnamespace))
				*name = pstrdup(NameStr(type->typname));
			ReleaseSysCache(tuple);
		}
	}
	return *name != NULL ||
		(!IsA(node, RangeTblEntry) && expression_tree_walker(node, find_temporary_type, context));
}

/*
 * A temporary table or view may also be named in a constant of type regclass,
 * as the argument of a function that reads it (table_to_xml(), say): refused
 * like one in FROM.  And what was found in spite of before_analysis() is
 * neither planned nor executed.
 */
static void
check_analyzed(ScSectionDef *section, List *queries, List *relations)
{
	char	   *name = NULL;
	Oid			namespace;
	Oid			toast_namespace;
	ListCell   *lc;

	GetTempNamespaceState(&namespace, &toast_namespace);
	if (!OidIsValid(namespace))
		return;
	/* one that is named in a constant may be gone */
	foreach(lc, relations)
	{
		if (get_rel_relkind(lfirst_oid(lc)) != '\0' &&
			get_rel_persistence(lfirst_oid(lc)) == RELPERSISTENCE_TEMP)
			refuse_temporary(section, "relation", get_rel_name(lfirst_oid(lc)));
	}
	foreach(lc, queries)
	{
		if (find_temporary_type(lfirst(lc), &name))
			refuse_temporary(section, "type", name);
	}
}

/*
 * To be called before a query is planned, which runs functions as well.
 */
void
sc_query_check_analyzed(ScSectionDef *section, SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

	/* analyses a kept plan's query anew if need be */
	(void) CachedPlanGetTargetList(source, NULL);
	check_analyzed(section, source->query_list, source->relationOids);
}

/*
 * What a section's query means: analysed, with views as they are named in it.
 * Inside the build environment.
 */
Query *
sc_query_analyze(ScSectionDef *section)
{
	List	   *statements = raw_parser(section->query, RAW_PARSE_DEFAULT);
	List	   *relations;
	List	   *items;
	bool		has_row_security;
	Query	   *query;

	if (list_length(statements) != 1)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "is not one statement");
	query = parse_analyze_withcb(linitial_node(RawStmt, statements), section->query,
								 before_analysis, section, NULL);
	extract_query_dependencies((Node *) query, &relations, &items, &has_row_security);
	check_analyzed(section, list_make1(query), relations);
	return query;
}

/*-------------------------------------------------------------------------
 * Columns
 *-------------------------------------------------------------------------
 */

/*
 * Column names are keys: there is at least one, and none twice.
 */
void
sc_query_check_columns(ScSectionDef *section, TupleDesc desc)
{
	if (desc->natts == 0)
		sc_query_refuse(ERRCODE_SYNTAX_ERROR, section, "returns no column");
	for (int i = 1; i < desc->natts; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(NameStr(TupleDescAttr(desc, i)->attname),
					   NameStr(TupleDescAttr(desc, j)->attname)) == 0)
				sc_query_refuse(ERRCODE_DUPLICATE_COLUMN, section,
								psprintf("returns two columns named \"%s\"",
										 NameStr(TupleDescAttr(desc, i)->attname)));
}

/*
 * What the parser calls a column that has no name is no key that anybody wants.
 * (A column of a table may be called that.)  This is asked when the section is
 * defined: a document is not refused for it.
 */
void
sc_query_check_named(ScSectionDef *section, Query *query)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *column = lfirst_node(TargetEntry, lc);

		if (!column->resjunk && !OidIsValid(column->resorigtbl) &&
			column->resname && strcmp(column->resname, "?column?") == 0)
			refuse(ERRCODE_INVALID_NAME, section, psprintf("returns column %d without a name", column->resno),
				   "Name it, since each column is a key of the document: SELECT ... AS key.");
	}
}

/* A query has returned so many rows: it is to be one. */
void
sc_query_check_rows(ScSectionDef *section, uint64 nrows)
{
	if (nrows == 0)
		refuse(ERRCODE_NO_DATA_FOUND, section, "returned no row",
			   "It must return exactly one. With the query in place of the dots, this is null if there is no row: SELECT (SELECT json_agg(t) FROM (...) t) AS key.");
	if (nrows > 1)
		refuse(ERRCODE_CARDINALITY_VIOLATION, section, "returned more than one row",
			   "It must return exactly one. With the query in place of the dots, this has all rows under one key: SELECT (SELECT json_agg(t) FROM (...) t) AS key.");
}

char	  **
sc_query_column_names(TupleDesc desc)
{
	char	  **names = palloc(sizeof(char *) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
		names[i] = pstrdup(NameStr(TupleDescAttr(desc, i)->attname));
	return names;
}
