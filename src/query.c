/*-------------------------------------------------------------------------
 *
 * query.c
 *	  A section's query: prepared and looked at as its owner.
 *
 * A query runs with its owner's rights in a security-restricted and read-only
 * operation, with the settings stored with it, and with every other setting
 * pinned that shows in the output: so the document does not depend on who
 * asks, and asking does not lend anybody the asker's rights.  It runs in a
 * subtransaction that is rolled back in any case, so that nothing remains of
 * it in the asker's: above all no cursor, whose query would run at the asker's
 * next FETCH with the asker's rights.
 *
 * Nor does a query find the asker's temporary objects: see before_analysis().
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

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
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "summary_cache.h"

/* What a build changes in the session, and puts back. */
typedef struct BuildEnvironment
{
	Oid			userid;
	int			sec_context;
	int			guc_level;
	bool		read_only;
} BuildEnvironment;

/* Settings that show in the output, at PostgreSQL's own defaults. */
static const struct
{
	const char *name;
	const char *value;
}			pinned_settings[] =
{
	{"TimeZone", "UTC"},
	{"timezone_abbreviations", "Default"},
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"array_nulls", "on"},
	{"gin_fuzzy_search_limit", "0"},
	{"quote_all_identifiers", "off"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"row_security", "on"},
};

static void
environment_enter(ScSectionDef *section, BuildEnvironment *env)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(section->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the owner of section \"%s\" of summary \"%s\" does not exist",
						NameStr(section->name), NameStr(section->summary)),
				 errhint("A superuser can drop the section and define it again.")));

	GetUserIdAndSecContext(&env->userid, &env->sec_context);
	SetUserIdAndSecContext(section->owner,
						   env->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	env->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(pinned_settings); i++)
		/* setting some of them is expensive, and they seldom differ */
		if (strcmp(GetConfigOption(pinned_settings[i].name, false, false),
				   pinned_settings[i].value) != 0)
			(void) set_config_option(pinned_settings[i].name, pinned_settings[i].value,
									 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* written by hand it may be empty, which has no dimension */
	if (ARR_NDIM(section->settings) == 1)
		ProcessGUCArray(section->settings, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE);

	/* what a function in the query may not do is write */
	env->read_only = XactReadOnly;
	XactReadOnly = true;
}

static void
environment_leave(BuildEnvironment *env)
{
	XactReadOnly = env->read_only;
	AtEOXact_GUC(false, env->guc_level);
	SetUserIdAndSecContext(env->userid, env->sec_context);
}

/*
 * Do something with a section's query as its owner, in the subtransaction
 * described above.  Memory comes from the caller's context.
 */
typedef struct OwnersAction
{
	ScSectionDef *section;
	void		(*action) (void *arg);
	void	   *arg;
} OwnersAction;

static void
act_as_owner(void *arg)
{
	OwnersAction *mine = arg;
	BuildEnvironment env;

	/* after an error, the rollback does what environment_leave() would */
	environment_enter(mine->section, &env);
	mine->action(mine->arg);
	environment_leave(&env);
}

/* NULL, or the error; at a COMMIT, where no cursor is left that could be tampered with, it is thrown. */
ErrorData *
sc_try_as_owner(ScSectionDef *section, void (*action) (void *arg), void *arg)
{
	OwnersAction mine = {section, action, arg};

	if (!sc_xact_is_ending())
		return sc_in_subtransaction(act_as_owner, &mine, false);
	act_as_owner(&mine);
	return NULL;
}

void
sc_run_as_owner(ScSectionDef *section, void (*action) (void *arg), void *arg)
{
	ErrorData  *error = sc_try_as_owner(section, action, arg);

	if (error)
		ReThrowError(error);
}

/* For all that is wrong with a query: an SQLSTATE, and the section's name. */
void
sc_bad_query(int code, ScSectionDef *section, const char *what)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("query of section \"%s\" of summary \"%s\" %s",
					NameStr(section->name), NameStr(section->summary), what),
			 errhint("A section's query is a single SELECT that returns exactly one row; each column is a key of the document.")));
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
			check->ctes = lappend(check->ctes, lfirst_node(CommonTableExpr, lc)->ctename);
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

static void
check_relation(RangeVar *relation, NameCheck *check)
{
	Oid			relid;
	ListCell   *lc;

	if (relation->schemaname == NULL)
		foreach(lc, check->ctes)
			if (strcmp(lfirst(lc), relation->relname) == 0)
				return;
	relid = RangeVarGetRelid(relation, AccessShareLock, true);
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
			sc_bad_query(ERRCODE_SYNTAX_ERROR, check->section, "changes data");
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
static void
before_analysis(ParseState *pstate, void *arg)
{
	NameCheck	check = {arg};
	Oid			namespace;
	Oid			toast_namespace;
	List	   *statements;
	Node	   *statement;

	GetTempNamespaceState(&namespace, &toast_namespace);
	if (!OidIsValid(namespace))
		return;
	statements = raw_parser(pstate->p_sourcetext, RAW_PARSE_DEFAULT);
	if (list_length(statements) > 1)
		sc_bad_query(ERRCODE_SYNTAX_ERROR, check.section, "holds several statements");
	statement = linitial_node(RawStmt, statements)->stmt;
	if (!IsA(statement, SelectStmt))
		sc_bad_query(ERRCODE_SYNTAX_ERROR, check.section, "is not a SELECT");
	(void) check_names(statement, &check);
	check.types = true;
	(void) check_names(statement, &check);
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

	options.parserSetup = before_analysis;
	options.parserSetupArg = section;
	plan = SPI_prepare_extended(section->query, &options);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	if (list_length(sources) > 1)
		sc_bad_query(ERRCODE_SYNTAX_ERROR, section, "holds several statements");
	if (sources == NIL)
		sc_bad_query(ERRCODE_SYNTAX_ERROR, section, "is empty");
	source = linitial(sources);
	query = list_length(source->query_list) == 1 ? linitial_node(Query, source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT || source->resultDesc == NULL)
		sc_bad_query(ERRCODE_SYNTAX_ERROR, section, "is not a SELECT");
	if (query->hasModifyingCTE)
		sc_bad_query(ERRCODE_SYNTAX_ERROR, section, "changes data");
	return plan;
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
	switch (nodeTag(node))
	{
		case T_Query:
			return query_tree_walker((Query *) node, find_temporary_type, context,
									 QTW_EXAMINE_RTES_BEFORE);
		case T_RangeTblEntry:
			foreach(lc, ((RangeTblEntry *) node)->functions)
				types = list_concat_copy(types, lfirst_node(RangeTblFunction, lc)->funccoltypes);
			break;
		case T_TableFunc:
			types = ((TableFunc *) node)->coltypes;
			break;
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_RowExpr:
		case T_CoerceToDomain:
			types = list_make1_oid(exprType(node));
			break;
		default:
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
		if (get_rel_relkind(lfirst_oid(lc)) != '\0' &&
			get_rel_persistence(lfirst_oid(lc)) == RELPERSISTENCE_TEMP)
			refuse_temporary(section, "relation", get_rel_name(lfirst_oid(lc)));
	foreach(lc, queries)
		if (find_temporary_type(lfirst(lc), &name))
			refuse_temporary(section, "type", name);
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
		sc_bad_query(ERRCODE_SYNTAX_ERROR, section, "is not one statement");
	query = parse_analyze_withcb(linitial_node(RawStmt, statements), section->query,
								 before_analysis, section, NULL);
	extract_query_dependencies((Node *) query, &relations, &items, &has_row_security);
	check_analyzed(section, list_make1(query), relations);
	return query;
}

/*-------------------------------------------------------------------------
 * What a query reads and calls
 *-------------------------------------------------------------------------
 */

/*
 * Column names are keys: there is at least one, and none twice.
 */
void
sc_query_check_columns(ScSectionDef *section, TupleDesc desc)
{
	if (desc->natts == 0)
		sc_bad_query(ERRCODE_SYNTAX_ERROR, section, "returns no column");
	for (int i = 1; i < desc->natts; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(NameStr(TupleDescAttr(desc, i)->attname),
					   NameStr(TupleDescAttr(desc, j)->attname)) == 0)
				sc_bad_query(ERRCODE_DUPLICATE_COLUMN, section,
						  psprintf("returns two columns named \"%s\"",
								   NameStr(TupleDescAttr(desc, i)->attname)));
}

char **
sc_query_column_names(TupleDesc desc)
{
	char	  **names = palloc(sizeof(char *) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
		names[i] = pstrdup(NameStr(TupleDescAttr(desc, i)->attname));
	return names;
}

/*
 * The tables that a plan reads, views followed.  The planner also sees what
 * functions read that it inlined; and it names the members of trees, of which
 * the one that the query names is enough.
 */
static List *
plan_relations(SPIPlanPtr plan, CachedPlan *cached)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	List	   *relations = NIL;
	ListCell   *lc;

	foreach(lc, source->relationOids)
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_VIEW)
			relations = list_append_unique_oid(relations, lfirst_oid(lc));
	foreach(lc, linitial_node(PlannedStmt, cached->stmt_list)->relationOids)
	{
		Oid			relid = lfirst_oid(lc);
		ListCell   *lc2;
		bool		known = list_member_oid(relations, relid) ||
		get_rel_relkind(relid) == RELKIND_VIEW;

		if (!known)
			foreach(lc2, relations)
				known = known || sc_track_share_root(relid, lfirst_oid(lc2));
		if (!known)
			relations = lappend_oid(relations, relid);
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

/* Can a function read tables without our seeing it? */
static bool
is_opaque(Oid function)
{
	if (function < FirstNormalObjectId)
		return reads_what_it_is_told(function);
	/* in whatever language, it may run queries */
	return get_func_name(function) != NULL && func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/*
 * Look at the functions that the plan calls: those that were inlined are not
 * there any more, but what they call is.  There is no walker for finished
 * plans, so this reads their text form, in which each call names its function.
 */
static void
inspect_functions(PlannedStmt *planned, ScQueryInfo *info)
{
	char	   *text = nodeToString(planned);

	for (char *p = text; (p = strstr(p, "funcid ")) != NULL; p++)
	{
		Oid			function = strtoul(p + strlen("funcid "), NULL, 10);

		if (!OidIsValid(function))
			continue;
		if (function == F_NOW || function == F_TRANSACTION_TIMESTAMP ||
			function == F_STATEMENT_TIMESTAMP || function == F_CURRENT_SETTING_TEXT ||
			function == F_CURRENT_SETTING_TEXT_BOOL || func_volatile(function) == PROVOLATILE_VOLATILE)
			info->is_volatile = true;
		if (is_opaque(function))
			info->functions = list_append_unique_oid(info->functions, function);
	}
	for (char *p = text; (p = strstr(p, "{SQLVALUEFUNCTION :op ")) != NULL; p++)
	{
		long		op = strtol(p + strlen("{SQLVALUEFUNCTION :op "), NULL, 10);

		/* the current user is always the owner */
		if (op <= SVFOP_LOCALTIMESTAMP_N || op == SVFOP_SESSION_USER)
			info->is_volatile = true;
	}
	pfree(text);
}

/*
 * Look for what the query did not read or call when it was defined: a view or
 * function that it uses may have been replaced, or a table have changed places
 * with another.
 */
void
sc_query_find_stranger(ScSectionDef *section, SPIPlanPtr plan, CachedPlan *cached, ScStranger *stranger)
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
			known = sc_track_share_root(relid, section->reads[i]);
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

typedef struct AnalyzeArguments
{
	ScSectionDef *section;
	bool		check_sources;
	ScQueryInfo *info;
} AnalyzeArguments;

/* sc_analyze_query(), inside the build environment. */
static void
analyze(void *arg)
{
	ScSectionDef *section = ((AnalyzeArguments *) arg)->section;
	bool		check_sources = ((AnalyzeArguments *) arg)->check_sources;
	ScQueryInfo *info = ((AnalyzeArguments *) arg)->info;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	SPIPlanPtr	plan;
	CachedPlanSource *source;
	CachedPlan *cached;
	PlannedStmt *planned;
	ListCell   *lc;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());

	plan = sc_query_prepare(section);
	source = linitial(SPI_plan_get_plan_sources(plan));
	sc_query_check_columns(section, source->resultDesc);
	sc_query_check_analyzed(section, plan);
	if (locks_rows((Node *) linitial(source->query_list), NULL))
		sc_bad_query(ERRCODE_SYNTAX_ERROR, section, "locks rows");

	/* before planning, in which a foreign server would be asked */
	foreach(lc, source->relationOids)
		if (check_sources && get_rel_relkind(lfirst_oid(lc)) != RELKIND_VIEW &&
			!sc_definition_is_own_table(lfirst_oid(lc)))
			sc_track_check_source(lfirst_oid(lc));

	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan the query");
	planned = linitial_node(PlannedStmt, cached->stmt_list);

	old = MemoryContextSwitchTo(context);
	info->nkeys = source->resultDesc->natts;
	info->keys = sc_query_column_names(source->resultDesc);
	info->relations = plan_relations(plan, cached);
	info->functions = NIL;
	info->is_volatile = false;
	inspect_functions(planned, info);
	MemoryContextSwitchTo(old);

	ReleaseCachedPlan(cached, NULL);	/* an unsaved plan has no owner */
	PopActiveSnapshot();
	SPI_finish();
}

/*
 * Analyse a query as its owner: syntax, kind and columns are checked, and what
 * it reads is found out; with check_sources, all of that must be trackable.  It
 * is not executed.  Results are in the current memory context.
 */
void
sc_analyze_query(ScSectionDef *section, bool check_sources,
				 ScQueryInfo *info)
{
	AnalyzeArguments arguments = {section, check_sources, info};

	sc_run_as_owner(section, analyze, &arguments);
}
