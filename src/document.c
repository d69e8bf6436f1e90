/*-------------------------------------------------------------------------
 *
 * document.c
 *	  Builds one section: its query run as its owner, JSON out.
 *
 * The only file that sees json-c (whose json_object clashes with a function of
 * PostgreSQL's builtins.h).
 *
 * PostgreSQL makes the values, json-c puts the object together.  A value is
 * spliced in as the bytes that PostgreSQL printed: parsed by json-c and
 * printed again it could lose digits, duplicate keys, keys with \u0000 in them
 * and everything below 32 levels.
 *
 * json-c allocates with malloc: while one of its objects lives, nothing that
 * can raise an error is called outside PG_TRY.
 *
 * A query runs with its owner's rights in a security-restricted and read-only
 * operation, with the settings stored with it, and with every other setting
 * pinned that shows in the output: so the document does not depend on who
 * asks, and asking does not lend anybody the asker's rights.  It runs in a
 * subtransaction that is rolled back in any case, so that nothing remains of
 * it in the asker's: above all no cursor, whose query would run at the asker's
 * next FETCH with the asker's rights.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <json-c/json_object.h>
#include <json-c/printbuf.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "storage/latch.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

#include "summary_cache.h"

bool		sc_build_timed_out = false;

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
environment_enter(const char *summary, ScSectionDef *section, BuildEnvironment *env)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(section->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the owner of section \"%s\" of summary \"%s\" does not exist",
						NameStr(section->name), summary),
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
static void
run_as_owner(const char *summary, ScSectionDef *section, void (*action) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	BuildEnvironment env;

	/* at a COMMIT no cursor is left afterwards that could be tampered with */
	if (sc_xact_is_ending())
	{
		environment_enter(summary, section, &env);
		action(arg);
		environment_leave(&env);
		return;
	}

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		environment_enter(summary, section, &env);
		action(arg);
		environment_leave(&env);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		/* the rollback does what environment_leave() would; see try_build() */
		MemoryContextSwitchTo(TopTransactionContext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ReThrowError(error);
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

typedef struct BuildContext
{
	const char *summary;
	const char *section;
} BuildContext;

static void
error_callback(void *arg)
{
	BuildContext *context = arg;

	errcontext("section \"%s\" of summary \"%s\"", context->section, context->summary);
}

/* An SQLSTATE and the section's name for all that is wrong with a query. */
#define bad_query(code, summary, section, ...) \
	ereport(ERROR, \
			(errcode(code), \
			 errmsg("query of section \"%s\" of summary \"%s\" %s", \
					NameStr((section)->name), summary, __VA_ARGS__), \
			 errhint("A section's query is a single SELECT that returns exactly one row; each column is a key of the document.")))

/*
 * Prepare a section's query and see that it is of the right kind.  Inside SPI
 * and the build environment.
 */
static SPIPlanPtr
prepare(const char *summary, ScSectionDef *section)
{
	SPIPlanPtr	plan = SPI_prepare(section->query, 0, NULL);
	List	   *sources;
	CachedPlanSource *source;
	Query	   *query;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	if (list_length(sources) > 1)
		bad_query(ERRCODE_SYNTAX_ERROR, summary, section, "holds several statements");
	if (sources == NIL)
		bad_query(ERRCODE_SYNTAX_ERROR, summary, section, "is empty");
	source = linitial(sources);
	query = list_length(source->query_list) == 1 ? linitial_node(Query, source->query_list) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT || source->resultDesc == NULL)
		bad_query(ERRCODE_SYNTAX_ERROR, summary, section, "is not a SELECT");
	if (query->hasModifyingCTE)
		bad_query(ERRCODE_SYNTAX_ERROR, summary, section, "changes data");
	return plan;
}

/*
 * Column names are keys: there is at least one, and none twice.
 */
static void
check_columns(const char *summary, ScSectionDef *section, TupleDesc desc)
{
	if (desc->natts == 0)
		bad_query(ERRCODE_SYNTAX_ERROR, summary, section, "returns no column");
	for (int i = 1; i < desc->natts; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(NameStr(TupleDescAttr(desc, i)->attname),
					   NameStr(TupleDescAttr(desc, j)->attname)) == 0)
				bad_query(ERRCODE_DUPLICATE_COLUMN, summary, section,
						  psprintf("returns two columns named \"%s\"",
								   NameStr(TupleDescAttr(desc, i)->attname)));
}

static char **
column_names(TupleDesc desc)
{
	char	  **names = palloc(sizeof(char *) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
		names[i] = pstrdup(NameStr(TupleDescAttr(desc, i)->attname));
	return names;
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
 * A permanent table or type that is gone must not be replaced by a temporary
 * one of the session that happens to build: a temporary view, or a domain, may
 * call functions of that session's user, which would run as the section's
 * owner.  Looks at the query as it is analysed now, with its relations locked;
 * to be called before it is planned, since planning runs functions as well.
 */
static void
check_no_temporary(const char *summary, ScSectionDef *section, SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	const char *what = NULL;
	char	   *name = NULL;
	Oid			namespace;
	Oid			toast_namespace;
	ListCell   *lc;

	/* analyses a kept plan's query anew if need be */
	(void) CachedPlanGetTargetList(source, NULL);

	/* a table that is only named in a constant may be gone */
	foreach(lc, source->relationOids)
		if (get_rel_relkind(lfirst_oid(lc)) != '\0' &&
			get_rel_persistence(lfirst_oid(lc)) == RELPERSISTENCE_TEMP)
		{
			what = "relation";
			name = get_rel_name(lfirst_oid(lc));
		}
	GetTempNamespaceState(&namespace, &toast_namespace);
	if (what == NULL && OidIsValid(namespace))
		foreach(lc, source->query_list)
			if (find_temporary_type(lfirst(lc), &name))
				what = "type";
	if (what)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("query of section \"%s\" of summary \"%s\" reads temporary %s \"%s\"",
						NameStr(section->name), summary, what, name),
				 strcmp(what, "type") == 0 ? errhint("Use a permanent type.") :
				 errhint("Use a permanent table.")));
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

/* Can a function read tables without our seeing it? */
static bool
is_opaque(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		opaque;

	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	opaque = function >= FirstNormalObjectId &&
		proc->prolang != INTERNALlanguageId && proc->prolang != ClanguageId &&
		proc->provolatile != PROVOLATILE_IMMUTABLE;
	ReleaseSysCache(tuple);
	return opaque;
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
static void
find_stranger(ScSectionDef *section, SPIPlanPtr plan, CachedPlan *cached, ScStranger *stranger)
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

/*-------------------------------------------------------------------------
 * Building
 *-------------------------------------------------------------------------
 */

static void
build_timeout_handler(void)
{
	sc_build_timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/*
 * A value as JSON text: json and jsonb as they are, anything else as to_json()
 * makes it.
 */
static char *
value_to_json(Datum value, bool isnull, Oid type)
{
	Oid			base = getBaseType(type);
	FmgrInfo	to_json;
	Oid			output;
	bool		is_varlena;

	if (isnull)
		return pstrdup("null");
	if (base != JSONOID && base != JSONBOID)
	{
		/* only its type is looked at */
		Node	   *argument = (Node *) makeNullConst(type, -1, InvalidOid);

		fmgr_info(F_TO_JSON, &to_json);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID, list_make1(argument),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
						   &to_json);
		value = FunctionCall1(&to_json, value);
		base = JSONOID;
	}
	getTypeOutputInfo(base, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

/* json-c serializer that prints the raw text hung on the object. */
static int
print_raw(struct json_object *object, struct printbuf *buffer, int level, int flags)
{
	const char *raw = json_object_get_userdata(object);

	return printbuf_memappend(buffer, raw, (int) strlen(raw));
}

/*
 * Make the members of a JSON object.  No PostgreSQL function that can raise an
 * error is called while the json-c object lives, but for the copy of the
 * result, which is guarded.
 */
static void
assemble(const char *summary, ScSectionDef *section, ScBody *body,
		 char **values, MemoryContext context)
{
	struct json_object *object = json_object_new_object();
	const char *text = NULL;
	size_t		len = 0;
	bool		ok = object != NULL;

	for (int i = 0; ok && i < body->nkeys; i++)
	{
		struct json_object *member = SC_FAILS("json") ? NULL : json_object_new_object();

		if (member == NULL)
			ok = false;
		else
		{
			json_object_set_serializer(member, print_raw, values[i], NULL);
			if (json_object_object_add(object, body->keys[i], member) != 0)
			{
				json_object_put(member);
				ok = false;
			}
		}
	}
	if (ok)
		text = json_object_to_json_string_length(object,
												 JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
												 &len);

	PG_TRY();
	{
		Size		expected = 2;

		for (int i = 0; i < body->nkeys; i++)
			expected += strlen(values[i]);

		/* json-c does not report every failed append */
		if (text == NULL || len < expected || text[len - 1] != '}')
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed while making the JSON of section \"%s\" of summary \"%s\".",
							   NameStr(section->name), summary)));
		if (len >= MaxAllocSize / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("section \"%s\" of summary \"%s\" is too large", NameStr(section->name), summary),
					 errhint("A document has at most 512 MB.")));

		/* without the braces */
		body->len = len - 2;
		body->members = MemoryContextAlloc(context, body->len + 1);
		memcpy(body->members, text + 1, body->len);
		body->members[body->len] = '\0';
	}
	PG_FINALLY();
	{
		json_object_put(object);
	}
	PG_END_TRY();
}

typedef struct BuildArguments
{
	const char *summary;
	ScSectionDef *section;
	Snapshot	snapshot;
	ScBody	   *body;
} BuildArguments;

/*
 * Run the query under the snapshot and make its JSON, in the current memory
 * context.  Inside the build environment.
 */
static void
build(void *arg)
{
	const char *summary = ((BuildArguments *) arg)->summary;
	ScSectionDef *section = ((BuildArguments *) arg)->section;
	Snapshot	snapshot = ((BuildArguments *) arg)->snapshot;
	ScBody	   *body = ((BuildArguments *) arg)->body;
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan;
	TupleDesc	desc;
	char	  **values;
	int			result;
	CachedPlan *cached;
	MemoryContext old;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(snapshot);

	plan = section->plan;
	if (plan == NULL)
	{
		plan = prepare(summary, section);
		if (section->keep_plan)
		{
			SPI_keepplan(plan);
			section->plan = plan;
		}
	}

	check_no_temporary(summary, section, plan);

	/* at most two rows: enough to see that there is one too many */
	result = SPI_execute_plan(plan, NULL, NULL, true, 2);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan the query");
	/* what is unlike changes the plan */
	if (!section->keep_plan || section->plan_generation != cached->generation)
	{
		find_stranger(section, plan, cached, &section->stranger);
		section->plan_generation = cached->generation;
	}
	body->stranger = section->stranger;
	ReleaseCachedPlan(cached, section->keep_plan ? CurrentResourceOwner : NULL);
	desc = SPI_tuptable->tupdesc;
	check_columns(summary, section, desc);
	if (SPI_processed == 0)
		bad_query(ERRCODE_NO_DATA_FOUND, summary, section, "returned no row");
	if (SPI_processed > 1)
		bad_query(ERRCODE_CARDINALITY_VIOLATION, summary, section, "returned more than one row");

	values = palloc(sizeof(char *) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], desc, i + 1, &isnull);

		values[i] = value_to_json(value, isnull, TupleDescAttr(desc, i)->atttypid);
	}
	old = MemoryContextSwitchTo(context);
	body->nkeys = desc->natts;
	body->keys = column_names(desc);
	MemoryContextSwitchTo(old);
	assemble(summary, section, body, values, context);

	PopActiveSnapshot();
	SPI_finish();
}

/*
 * Build one section under the given snapshot.  The result is in the current
 * memory context.  Errors are those of the query, or say what is wrong with
 * it; build_timeout ends it like a cancel.
 */
void
sc_build_section(const char *summary, ScSectionDef *section, Snapshot snapshot, ScBody *body)
{
	static TimeoutId timeout = MAX_TIMEOUTS;
	volatile bool timed = false;
	BuildArguments arguments = {summary, section, snapshot, body};
	BuildContext context = {summary, NameStr(section->name)};
	ErrorContextCallback callback;
	MemoryContext caller_context = CurrentMemoryContext;

	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, build_timeout_handler);

	callback.callback = error_callback;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	sc_build_timed_out = false;
	PG_TRY();
	{
		/* a section that reads another summary is timed as a whole */
		if (sc_build_timeout > 0 && !get_timeout_active(timeout))
		{
			enable_timeout_after(timeout, sc_build_timeout);
			timed = true;
		}
		run_as_owner(summary, section, build, &arguments);
		if (timed)
			disable_timeout(timeout, false);

		/* it may have struck after the last look at interrupts */
		if (timed && sc_build_timed_out)
			CHECK_FOR_INTERRUPTS();
	}
	PG_CATCH();
	{
		if (timed)
			disable_timeout(timeout, false);
		if (timed && sc_build_timed_out && geterrcode() == ERRCODE_QUERY_CANCELED)
		{
			MemoryContextSwitchTo(caller_context);
			FlushErrorState();
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("building section \"%s\" of summary \"%s\" took longer than %d ms",
							NameStr(section->name), summary, sc_build_timeout),
					 errhint("Make its query cheaper or raise summary_cache.build_timeout.")));
		}
		/* it struck, but something else was wrong, too: no cancel is to follow */
		if (timed && sc_build_timed_out)
			QueryCancelPending = false;
		sc_build_timed_out = false;
		PG_RE_THROW();
	}
	PG_END_TRY();

	error_context_stack = callback.previous;
}

/*-------------------------------------------------------------------------
 * Looking at a query
 *-------------------------------------------------------------------------
 */

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
	const char *summary;
	ScSectionDef *section;
	bool		check_sources;
	ScQueryInfo *info;
} AnalyzeArguments;

/* sc_analyze_query(), inside the build environment. */
static void
analyze(void *arg)
{
	const char *summary = ((AnalyzeArguments *) arg)->summary;
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

	plan = prepare(summary, section);
	source = linitial(SPI_plan_get_plan_sources(plan));
	check_columns(summary, section, source->resultDesc);
	check_no_temporary(summary, section, plan);
	if (locks_rows((Node *) linitial(source->query_list), NULL))
		bad_query(ERRCODE_SYNTAX_ERROR, summary, section, "locks rows");

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
	info->keys = column_names(source->resultDesc);
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
sc_analyze_query(const char *summary, ScSectionDef *section, bool check_sources,
				 ScQueryInfo *info)
{
	AnalyzeArguments arguments = {summary, section, check_sources, info};

	run_as_owner(summary, section, analyze, &arguments);
}
