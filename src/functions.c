/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  The SQL-callable functions: arguments in, results out.
 *
 * None of them is strict: a NULL that means nothing is an error with a hint
 * rather than a silent NULL.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"
#include "utils/timestamp.h"

#include "build.h"
#include "cache.h"
#include "define.h"
#include "extension.h"
#include "oid_set.h"
#include "save.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(sc_state_summary);
PG_FUNCTION_INFO_V1(sc_get);
PG_FUNCTION_INFO_V1(sc_fetch);
PG_FUNCTION_INFO_V1(sc_fetch_encoded);
PG_FUNCTION_INFO_V1(sc_unchanged);
PG_FUNCTION_INFO_V1(sc_define_sql);
PG_FUNCTION_INFO_V1(sc_notices);
PG_FUNCTION_INFO_V1(sc_drop_sql);
PG_FUNCTION_INFO_V1(sc_invalidate_sql);
PG_FUNCTION_INFO_V1(sc_configure_sql);

static void
null_argument(const char *argument, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" must not be null", argument),
			 errhint("%s", hint)));
}

static char *
text_argument(FunctionCallInfo fcinfo, int n, const char *argument, const char *hint)
{
	if (PG_ARGISNULL(n))
		null_argument(argument, hint);
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * Is an argument absent?  In the SQL objects of the version before, a function may
 * have fewer of them: they are only added, and at the end.  NULL is not absent.
 */
static bool
is_absent(FunctionCallInfo fcinfo, int n)
{
	return n >= PG_NARGS();
}

/* NULL means no refresh: an application passes it for a parameter that is absent. */
static bool
force_argument(FunctionCallInfo fcinfo, int n)
{
	return !is_absent(fcinfo, n) && !PG_ARGISNULL(n) && PG_GETARG_BOOL(n);
}

/* Columns of the row types that functions return, as the install script declares them. */
#define ANSWER_COLUMNS	4
#define ENCODED_ANSWER_COLUMNS	6

#define SUMMARY_HINT "Name a summary, such as 'state'."

/* Values for parameters; NULL means that there are none. */
static ArrayType *
values_argument(FunctionCallInfo fcinfo, int n)
{
	return is_absent(fcinfo, n) || PG_ARGISNULL(n) ? NULL : PG_GETARG_ARRAYTYPE_P(n);
}

Datum
sc_state_summary(PG_FUNCTION_ARGS)
{
	ScAsked		asked = {.force = force_argument(fcinfo, 0)};
	ScAnswer	answer;

	sc_cache_read(SC_STATE_SUMMARY, &asked, &answer);
	PG_RETURN_TEXT_P(answer.document);
}

Datum
sc_get(PG_FUNCTION_ARGS)
{
	ScAsked		asked = {.force = force_argument(fcinfo, 1),.parameters = values_argument(fcinfo, 2)};
	ScAnswer	answer;

	sc_cache_read(text_argument(fcinfo, 0, "summary", SUMMARY_HINT), &asked, &answer);
	PG_RETURN_TEXT_P(answer.document);
}

/* A row type, and for which function it was looked up. */
typedef struct AnswerType
{
	const char *name;
	int			ncolumns;
	Oid			of_function;
	TupleDesc	desc;
} AnswerType;

/* The row type that the function returns, looked up once. */
static inline TupleDesc
answer_type(AnswerType *answer, Oid function)
{
	if (unlikely(answer->of_function != function))
	{
		TupleDesc	desc = lookup_rowtype_tupdesc(get_func_rettype(function), -1);
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		sc_extension_check_columns(answer->name, desc->natts, answer->ncolumns);
		answer->desc = CreateTupleDescCopy(desc);
		answer->of_function = function;
		MemoryContextSwitchTo(old);
		ReleaseTupleDesc(desc);
	}
	return answer->desc;
}

/* An etag that the caller knows; NULL is nobody's. */
static const text *
etag_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);
}

Datum
sc_fetch(PG_FUNCTION_ARGS)
{
	static AnswerType row_type = {"summary_cache_answer", ANSWER_COLUMNS};
	ScAsked		asked = {.force = force_argument(fcinfo, 2),.known = etag_argument(fcinfo, 1),
	.parameters = values_argument(fcinfo, 3)};
	ScAnswer	answer;
	Datum		values[ANSWER_COLUMNS];
	bool		nulls[ANSWER_COLUMNS] = {0};
	HeapTuple	row;

	sc_cache_read(text_argument(fcinfo, 0, "summary", SUMMARY_HINT), &asked, &answer);

	values[0] = CStringGetTextDatum(sc_cache_status_name(answer.status));
	values[1] = CStringGetTextDatum(sc_local_etag(answer.etag));
	values[2] = TimestampTzGetDatum(answer.built_at);
	values[3] = PointerGetDatum(answer.document);
	nulls[3] = answer.document == NULL;
	row = heap_form_tuple(answer_type(&row_type, fcinfo->flinfo->fn_oid), values, nulls);
	/* an ordinary copy is here, the backend's own is not: the row has one now */
	if (answer.document && GetMemoryChunkContext(answer.document) == CurrentMemoryContext)
		pfree(answer.document);
	PG_RETURN_DATUM(HeapTupleGetDatum(row));
}

/* The document's bytes in UTF-8, as HTTP has them; mostly as they are. */
static bytea *
plain_bytes(text *document)
{
	int			len = VARSIZE_ANY_EXHDR(document);
	char	   *bytes = pg_server_to_any(VARDATA_ANY(document), len, PG_UTF8);
	bytea	   *converted;

	if (bytes == VARDATA_ANY(document))
		return document;
	len = strlen(bytes);
	converted = palloc(VARHDRSZ + len);
	SET_VARSIZE(converted, VARHDRSZ + len);
	memcpy(VARDATA(converted), bytes, len);
	pfree(bytes);
	return converted;
}

/*
 * A function and a row type of its own, since each column more costs those who have
 * no use for it.
 */
Datum
sc_fetch_encoded(PG_FUNCTION_ARGS)
{
	static AnswerType row_type = {"summary_cache_encoded_answer", ENCODED_ANSWER_COLUMNS};
	ScFormsAsked forms;
	ScAsked		asked = {.force = force_argument(fcinfo, 3),.known = etag_argument(fcinfo, 2),.forms = &forms,
	.parameters = values_argument(fcinfo, 4)};
	ScAnswer	answer = {0};
	ScEncoding	encoding = SC_ENCODINGS;
	bytea	   *body;
	Datum		values[ENCODED_ANSWER_COLUMNS];
	bool		nulls[ENCODED_ANSWER_COLUMNS] = {0};
	TupleDesc	desc;
	MemoryContext old = CurrentMemoryContext;
	bool		is_kept;
	HeapTuple	row;

	sc_form_parse(PG_ARGISNULL(1) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(1)), &forms);
	if (row_type.desc && row_type.of_function == fcinfo->flinfo->fn_oid)
		asked.row_type = row_type.desc->tdtypeid;
	sc_cache_read(text_argument(fcinfo, 0, "summary", SUMMARY_HINT), &asked, &answer);
	if (answer.row)
		PG_RETURN_DATUM(HeapTupleGetDatum(answer.row));
	body = answer.form ? answer.form : answer.document ? plain_bytes(answer.document) : NULL;
	if (answer.form)
		encoding = answer.encoding;
	else if (body == NULL)
		(void) sc_form_is_known(answer.etag, asked.known, &forms, &encoding);

	values[0] = CStringGetTextDatum(sc_cache_status_name(answer.status));
	values[1] = PointerGetDatum(sc_form_etag(answer.etag, encoding));
	values[2] = TimestampTzGetDatum(answer.built_at);
	nulls[3] = encoding == SC_ENCODINGS;
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(sc_settings_encoding_name(encoding));
	values[4] = PointerGetDatum(body);
	nulls[4] = body == NULL;
	values[5] = TimestampTzGetDatum(answer.stale_since);
	nulls[5] = answer.status != SC_STALE || answer.stale_since == 0;
	desc = answer_type(&row_type, fcinfo->flinfo->fn_oid);
	is_kept = answer.status == SC_HIT && answer.form && answer.keeper &&
		sc_local_can_keep_row(answer.keeper, VARSIZE(body));
	if (is_kept)
		MemoryContextSwitchTo(TopMemoryContext);
	row = heap_form_tuple(desc, values, nulls);
	MemoryContextSwitchTo(old);
	if (is_kept)
		sc_local_keep_row(answer.keeper, row, forms.number);
	/* as above */
	if (body && GetMemoryChunkContext(body) == CurrentMemoryContext)
		pfree(body);
	PG_RETURN_DATUM(HeapTupleGetDatum(row));
}

/* One value instead of a row: making a row costs half as much as the whole statement. */
Datum
sc_unchanged(PG_FUNCTION_ARGS)
{
	ScAsked		asked = {.etag_only = true,.parameters = values_argument(fcinfo, 2)};
	const text *known = etag_argument(fcinfo, 1);
	ScAnswer	answer;

	sc_cache_read(text_argument(fcinfo, 0, "summary", SUMMARY_HINT), &asked, &answer);
	PG_RETURN_BOOL(known != NULL && sc_local_is_etag(answer.etag, known));
}

#define REFRESH_HINT "Use 'background' or 'inline'."

/* Around the conversion of names, whose errors are the server's own. */
static void
hint_sources(void *arg)
{
	if (geterrcode() == ERRCODE_UNDEFINED_TABLE || geterrcode() == ERRCODE_UNDEFINED_SCHEMA)
		errhint("Name existing tables in \"sources\".");
}

/*
 * The sources, as an array of regclass.  The argument is declared with a type
 * that any other fits.  As regclass[], PostgreSQL would refuse a way to refresh
 * that somebody gives in its place before we could say what is wrong; and as an
 * overloaded function, a string would be ambiguous, and so would GRANT.  So a
 * string comes here as text.
 */
static ArrayType *
sources_argument(FunctionCallInfo fcinfo, int n)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, n);
	Oid			function;
	Oid			element;
	bool		is_varlena;
	char	   *string;
	ErrorContextCallback callback = {0};
	ArrayType  *sources;

	if (!OidIsValid(type))
		elog(ERROR, "could not determine the type of argument \"sources\"");
	if (type == REGCLASSARRAYOID)
		return PG_GETARG_ARRAYTYPE_P(n);
	getTypeOutputInfo(type, &function, &is_varlena);
	string = OidOutputFunctionCall(function, PG_GETARG_DATUM(n));
	if (strcmp(string, "inline") == 0 || strcmp(string, "background") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not an array of source tables", string),
				 errhint("It is a way to refresh a section: pass refresh => '%s'.", string)));
	if (strchr("{[", string[strspn(string, " \t\n\v\f\r")]) == NULL || string[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"sources\" is not an array of source tables"),
				 errhint("Give an array, such as '{orders, items}'. NULL stands for the tables that the query reads.")));
	getTypeInputInfo(REGCLASSARRAYOID, &function, &element);
	callback.callback = hint_sources;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	sources = DatumGetArrayTypeP(OidInputFunctionCall(function, string, element, -1));
	error_context_stack = callback.previous;
	return sources;
}

/* Names of columns, of char *. */
static List *
names_argument(ArrayType *array)
{
	List	   *names = NIL;
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			null_argument("keys", "Every element names a column.");
		names = lappend(names, TextDatumGetCString(elems[i]));
	}
	return names;
}

Datum
sc_define_sql(PG_FUNCTION_ARGS)
{
	ScSectionSpec spec = {
		.summary = text_argument(fcinfo, 0, "summary", SUMMARY_HINT),
		.section = text_argument(fcinfo, 1, "section", "Name the section, such as 'core'."),
		.query = text_argument(fcinfo, 2, "query", "Give a SELECT that returns one row."),
		.derive_sources = PG_ARGISNULL(3),
	};
	char	   *refresh = text_argument(fcinfo, 4, "refresh", REFRESH_HINT);
	ScOidList	sources = {NIL};

	if (!is_absent(fcinfo, 5) && PG_ARGISNULL(5))
		null_argument("run_query", "Use true or false.");
	if (strcmp(refresh, "background") != 0 && strcmp(refresh, "inline") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a way to refresh a section", refresh),
				 errhint("Use 'background' (served stale while a worker rebuilds) or 'inline' (rebuilt by the reader).")));
	if (!spec.derive_sources)
	{
		ArrayType  *array = sources_argument(fcinfo, 3);
		Datum	   *elems;
		bool	   *nulls;
		int			n;

		deconstruct_array(array, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT, &elems, &nulls, &n);
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (nulls[i])
				null_argument("sources", "Every element names a table.");
			(void) sc_oid_list_add(&sources, DatumGetObjectId(elems[i]));
		}
	}
	spec.sources = sources.list;
	spec.is_inline = strcmp(refresh, "inline") == 0;
	spec.owner = GetUserId();
	spec.parameters = values_argument(fcinfo, 6);
	spec.any_keys = is_absent(fcinfo, 7) || PG_ARGISNULL(7);
	if (!spec.any_keys)
		spec.keys = names_argument(PG_GETARG_ARRAYTYPE_P(7));
	spec.execute = is_absent(fcinfo, 5) || PG_GETARG_BOOL(5) ? sc_build_once : NULL;
	sc_define_section(&spec);
	PG_RETURN_VOID();
}

/* What summary_cache_notices() has, as the install script declares it. */
#define NOTICE_COLUMNS	4

static void
put_notice(const char *section, const ScNotice *notice, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	Datum		values[NOTICE_COLUMNS];
	bool		nulls[NOTICE_COLUMNS] = {0};

	values[0] = DirectFunctionCall1(namein, CStringGetDatum(section));
	values[1] = CStringGetTextDatum(notice->message);
	nulls[2] = notice->detail == NULL;
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(notice->detail);
	values[3] = CStringGetTextDatum(notice->hint);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
sc_notices(PG_FUNCTION_ARGS)
{
	char	   *summary = text_argument(fcinfo, 0, "summary", SUMMARY_HINT);

	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	InitMaterializedSRF(fcinfo, 0);
	(void) sc_extension_check_version(ERROR);
	sc_extension_check_columns("summary_cache_notices",
							   ((ReturnSetInfo *) fcinfo->resultinfo)->setDesc->natts, NOTICE_COLUMNS);
	sc_define_notices(summary, put_notice, fcinfo->resultinfo);
	return (Datum) 0;
}

Datum
sc_drop_sql(PG_FUNCTION_ARGS)
{
	char	   *summary = text_argument(fcinfo, 0, "summary", SUMMARY_HINT);
	char	   *section = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	if (section && strlen(section) >= NAMEDATALEN)
		sc_definition_check_name("section", section);
	sc_define_drop(summary, section);
	PG_RETURN_VOID();
}

Datum
sc_invalidate_sql(PG_FUNCTION_ARGS)
{
	char	   *summary = text_argument(fcinfo, 0, "summary", SUMMARY_HINT);
	char	   *scope = text_argument(fcinfo, 1, "scope", "Use 'all' or the name of a section.");

	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	sc_extension_check_copy();
	if (sc_shared)
		sc_cache_invalidate(summary, scope, values_argument(fcinfo, 2));
	else
		sc_save_forget();
	PG_RETURN_VOID();
}

Datum
sc_configure_sql(PG_FUNCTION_ARGS)
{
	char	   *summary = text_argument(fcinfo, 0, "summary", SUMMARY_HINT);
	char	   *option = text_argument(fcinfo, 1, "option", "Name an option, such as 'max_stale_age'.");

	sc_define_configure(summary, option, PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	PG_RETURN_VOID();
}
