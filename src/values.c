/*-------------------------------------------------------------------------
 *
 * values.c
 *	  The parameters of summaries, and lists of values for them.
 *
 * A document belongs to a summary and, if that has parameters, to a list of values.
 * Values that are equal by their type's default equality are one document: so they
 * are found by the type's hash function, and where the bytes differ, told apart by the
 * type's equality.  Both are PostgreSQL's own for all types that a parameter may have,
 * so nothing of users runs where documents are looked for.
 *
 * Values are kept as the server has them in memory, and not as text, which would
 * depend on settings.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "debug.h"
#include "values.h"

#define NULL_WORD " null"

/*-------------------------------------------------------------------------
 * Declarations
 *-------------------------------------------------------------------------
 */

#define DECLARATION_HINT "Give a name and a type for each, such as '{project bigint, day date}'."

/* The name at the beginning of a declaration, which is moved past it; NULL: there is none. */
static char *
cut_name(char **declaration)
{
	char	   *p = *declaration;
	char	   *start;
	StringInfoData name;

	while (isspace((unsigned char) *p))
		p++;
	start = p;
	if (*p == '"')
	{
		initStringInfo(&name);
		for (p++; *p && (*p != '"' || p[1] == '"'); p++)
		{
			appendStringInfoChar(&name, *p);
			if (*p == '"')
				p++;
		}
		if (*p != '"' || name.len == 0)
			return NULL;
		*declaration = p + 1;
		return name.data;
	}
	while (*p && !isspace((unsigned char) *p))
		p++;
	if (p == start)
		return NULL;
	*declaration = p;
	return downcase_identifier(start, (int) (p - start), false, false);
}

/* Take " null", or " not null", off the end of a type; true for the first. */
static bool
cut_null(char *type)
{
	int			len = (int) strlen(type);

	while (len > 0 && isspace((unsigned char) type[len - 1]))
		type[--len] = '\0';
	if (len < 5 || pg_strcasecmp(type + len - 4, "null") != 0 || !isspace((unsigned char) type[len - 5]))
		return false;
	type[len -= 5] = '\0';
	while (len > 0 && isspace((unsigned char) type[len - 1]))
		type[--len] = '\0';
	if (len < 4 || pg_strcasecmp(type + len - 3, "not") != 0 || !isspace((unsigned char) type[len - 4]))
		return true;
	type[len - 4] = '\0';
	return false;
}

/* Why a parameter cannot have a type; NULL: it can. */
static const char *
refuse_type(Oid type)
{
	char		typtype = get_typtype(type);
	TypeCacheEntry *cached;

	if (typtype == TYPTYPE_DOMAIN)
		return "it is a domain";
	if (typtype != TYPTYPE_ENUM && (typtype != TYPTYPE_BASE || type >= FirstNormalObjectId))
		return "it is neither a base type of PostgreSQL's own nor an enum";
	cached = lookup_type_cache(type, TYPECACHE_HASH_EXTENDED_PROC | TYPECACHE_EQ_OPR);
	if (!OidIsValid(cached->hash_extended_proc) || !OidIsValid(cached->eq_opr))
		return "it has no hash operator class";
	return NULL;
}

ScParameters
sc_values_declare(const char *summary, ArrayType *declaration)
{
	ScParameters parameters = {0};
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	deconstruct_array(declaration, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	if (n > SC_MAX_PARAMETERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("summary \"%s\" cannot have %d parameters", summary, n),
				 errhint("A summary has at most %d.", SC_MAX_PARAMETERS)));
	parameters.list = palloc0(sizeof(ScParameter) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		ScParameter *parameter = &parameters.list[i];
		char	   *string = nulls[i] ? pstrdup("") : TextDatumGetCString(elems[i]);
		char	   *rest = string;
		const char *reason;
		int32		typmod;

		parameter->name = cut_name(&rest);
		if (parameter->name)
			parameter->nullable = cut_null(rest);
		if (parameter->name == NULL || rest[strspn(rest, " \t\n\r\f\v")] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" does not declare a parameter of summary \"%s\"", string, summary),
					 errhint(DECLARATION_HINT)));
		if (strlen(parameter->name) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_NAME_TOO_LONG),
					 errmsg("parameter name \"%s\" is too long", parameter->name),
					 errhint("Names have at most %d bytes.", NAMEDATALEN - 1)));
		for (int j = 0; j < i; j++)
			if (strcmp(parameters.list[j].name, parameter->name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("parameter \"%s\" of summary \"%s\" is declared twice", parameter->name, summary),
						 errhint("Give each parameter a name of its own.")));
		SC_PARSE_TYPE_STRING(rest, &parameter->type, &typmod);
		if (typmod != -1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the type of parameter \"%s\" of summary \"%s\" has a length", parameter->name, summary),
					 errhint("Use %s.", format_type_be(parameter->type))));
		reason = refuse_type(parameter->type);
		if (reason)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("parameter \"%s\" of summary \"%s\" cannot have type %s",
							parameter->name, summary, format_type_be(parameter->type)),
					 errdetail("A parameter's type is one by which documents can be looked for; %s.", reason),
					 get_typtype(parameter->type) == TYPTYPE_DOMAIN ?
					 errhint("Use %s.", format_type_be(getBaseType(parameter->type))) :
					 errhint("Use a type such as bigint, text, uuid or date.")));
		parameters.n++;
	}
	return parameters;
}

void
sc_values_write_columns(const ScParameters *parameters, Datum *names, Datum *types)
{
	Datum	   *name_elems = palloc(sizeof(Datum) * Max(parameters->n, 1));
	Datum	   *type_elems = palloc(sizeof(Datum) * Max(parameters->n, 1));

	for (int i = 0; i < parameters->n; i++)
	{
		ScParameter *parameter = &parameters->list[i];

		name_elems[i] = CStringGetTextDatum(psprintf("%s%s", parameter->name, parameter->nullable ? NULL_WORD : ""));
		type_elems[i] = ObjectIdGetDatum(parameter->type);
	}
	*names = PointerGetDatum(construct_array(name_elems, parameters->n, TEXTOID, -1, false, TYPALIGN_INT));
	*types = PointerGetDatum(construct_array(type_elems, parameters->n, REGTYPEOID, sizeof(Oid), true, TYPALIGN_INT));
}

bool
sc_values_read_columns(char **names, int nnames, Oid *types, int ntypes, ScParameters *parameters,
					   const char **damage)
{
	memset(parameters, 0, sizeof(*parameters));
	if (nnames != ntypes || nnames > SC_MAX_PARAMETERS)
	{
		*damage = "columns \"parameters\" and \"parameter_types\" do not go together";
		return false;
	}
	parameters->list = palloc0(sizeof(ScParameter) * Max(nnames, 1));
	for (int i = 0; i < ntypes; i++)
		if (refuse_type(types[i]))
		{
			/* dropped since, say */
			*damage = "column \"parameter_types\" has a type that no parameter can have";
			return false;
		}
	for (int i = 0; i < nnames; i++)
	{
		ScParameter *parameter = &parameters->list[i];
		Size		len = strlen(names[i]);
		Size		word = strlen(NULL_WORD);

		parameter->nullable = len > word && strcmp(names[i] + len - word, NULL_WORD) == 0;
		parameter->name = pnstrdup(names[i], parameter->nullable ? len - word : len);
		parameter->type = types[i];
	}
	parameters->n = nnames;
	return true;
}

bool
sc_values_same_parameters(const ScParameters *a, const ScParameters *b)
{
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
		if (a->list[i].type != b->list[i].type || a->list[i].nullable != b->list[i].nullable ||
			strcmp(a->list[i].name, b->list[i].name) != 0)
			return false;
	return true;
}

Oid *
sc_values_types(const ScParameters *parameters)
{
	Oid		   *types = palloc(sizeof(Oid) * Max(parameters->n, 1));

	for (int i = 0; i < parameters->n; i++)
		types[i] = parameters->list[i].type;
	return types;
}

char *
sc_values_describe(const ScParameters *parameters)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < parameters->n; i++)
		appendStringInfo(&out, "%s%s %s%s", i > 0 ? ", " : "", quote_identifier(parameters->list[i].name),
						 format_type_extended(parameters->list[i].type, -1, FORMAT_TYPE_ALLOW_INVALID),
						 parameters->list[i].nullable ? NULL_WORD : "");
	return out.data;
}

/*-------------------------------------------------------------------------
 * Values
 *-------------------------------------------------------------------------
 */

static inline ScValue *
first_value(const ScValues *values)
{
	return (ScValue *) ((char *) values + MAXALIGN(sizeof(ScValues)));
}

static inline char *
value_bytes(const ScValue *value)
{
	return (char *) value + MAXALIGN(sizeof(ScValue));
}

static inline ScValue *
next_value(const ScValue *value)
{
	return (ScValue *) (value_bytes(value) + MAXALIGN(Max(value->len, 0)));
}

/* How values of a type are stored, and compared. */
static TypeCacheEntry *
type_of(Oid type)
{
	return lookup_type_cache(type, TYPECACHE_HASH_EXTENDED_PROC_FINFO | TYPECACHE_EQ_OPR_FINFO);
}

static Datum
value_datum(const ScValue *value, const TypeCacheEntry *type)
{
	Datum		datum;

	if (!type->typbyval)
		return PointerGetDatum(value_bytes(value));
	memcpy(&datum, value_bytes(value), sizeof(Datum));
	return datum;
}

/* An enum may be dropped while there are parameters of its type, and values. */
static bool
type_is_gone(Oid type)
{
	return type >= FirstNormalObjectId && !SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type));
}

static void
check_type(const char *summary, const ScParameter *parameter)
{
	if (type_is_gone(parameter->type))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the type of parameter \"%s\" of summary \"%s\" was dropped", parameter->name, summary),
				 errhint("Drop the summary with summary_cache_drop(), and define it anew.")));
}

/* What is wrong with a value is said by its type's own function. */
typedef struct Parsing
{
	const char *summary;
	const char *parameter;
} Parsing;

static void
name_parameter(void *arg)
{
	Parsing    *parsing = arg;

	errcontext("parameter \"%s\" of summary \"%s\"", parsing->parameter, parsing->summary);
}

/* The hint of an error that has to do with the number of values. */
static void
refuse_number(const char *summary, const ScParameters *parameters, int n)
{
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("summary \"%s\" is read with parameters", summary),
				 errdetail("They are: %s.", sc_values_describe(parameters)),
				 errhint("Give a value for each, in this order: parameters => '{...}'.")));
	if (parameters->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("summary \"%s\" has no parameters", summary),
				 errhint("Read it by its name alone.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(n < parameters->n ? "there is no value for parameter \"%s\" of summary \"%s\"" :
					"there are more values than parameters; the last is \"%s\" of summary \"%s\"",
					parameters->list[Min(n, parameters->n - 1)].name, summary),
			 errdetail("The parameters are: %s.", sc_values_describe(parameters)),
			 errhint("Give a value for each, in this order.")));
}

/* Append a value, and add it to the hash. */
static void
append_value(StringInfo out, const ScParameter *parameter, Datum datum, bool isnull, uint64 *hash)
{
	TypeCacheEntry *type = type_of(parameter->type);
	ScValue		head = {parameter->type, -1};
	uint64		own = 0;
	static const char padding[MAXIMUM_ALIGNOF];

	if (!isnull)
	{
		head.len = type->typbyval ? (int32) sizeof(Datum) : (int32) datumGetSize(datum, false, type->typlen);
		own = DatumGetUInt64(FunctionCall2Coll(&type->hash_extended_proc_finfo, type->typcollation, datum,
											   Int64GetDatum(0)));
	}
	*hash = hash_combine64(hash_combine64(*hash, parameter->type), hash_combine64(own, isnull));
	appendBinaryStringInfo(out, (char *) &head, sizeof(head));
	appendBinaryStringInfo(out, padding, MAXALIGN(sizeof(head)) - sizeof(head));
	if (isnull)
		return;
	appendBinaryStringInfo(out, type->typbyval ? (char *) &datum : DatumGetPointer(datum), head.len);
	appendBinaryStringInfo(out, padding, MAXALIGN(head.len) - head.len);
}

ScValues *
sc_values_parse(const char *summary, const ScParameters *parameters, ArrayType *array)
{
	Datum	   *elems = NULL;
	bool	   *nulls = NULL;
	int			n = 0;
	uint64		hash = 0;
	StringInfoData out;
	ScValues   *values;
	Parsing		parsing = {summary};
	ErrorContextCallback callback;

	if (array && ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("the values for the parameters of summary \"%s\" are no list", summary),
				 errhint("Give an array of one dimension, with a value for each parameter.")));
	if (array)
		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	if (n != parameters->n)
		refuse_number(summary, parameters, n);
	if (n == 0)
		return NULL;

	callback.callback = name_parameter;
	callback.arg = &parsing;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	initStringInfo(&out);
	enlargeStringInfo(&out, MAXALIGN(sizeof(ScValues)));
	memset(out.data, 0, MAXALIGN(sizeof(ScValues)));
	out.len = MAXALIGN(sizeof(ScValues));
	for (int i = 0; i < n; i++)
	{
		ScParameter *parameter = &parameters->list[i];
		Oid			input;
		Oid			io_param;
		Datum		datum = (Datum) 0;

		parsing.parameter = parameter->name;
		if (nulls[i] && !parameter->nullable)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the value for parameter \"%s\" of summary \"%s\" is null", parameter->name, summary),
					 errhint("Give a value. Where a null means something, the parameter is declared as \"%s %s null\".",
							 quote_identifier(parameter->name), format_type_be(parameter->type))));
		check_type(summary, parameter);
		if (!nulls[i])
		{
			getTypeInputInfo(parameter->type, &input, &io_param);
			datum = OidInputFunctionCall(input, TextDatumGetCString(elems[i]), io_param, -1);
		}
		append_value(&out, parameter, datum, nulls[i], &hash);
		if (out.len > SC_MAX_VALUES_SIZE)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the value for parameter \"%s\" of summary \"%s\" is too long", parameter->name, summary),
					 errhint("All values of a document take at most %d bytes. Use a shorter key.", SC_MAX_VALUES_SIZE)));
	}
	error_context_stack = callback.previous;
	values = (ScValues *) out.data;
	values->hash = hash == 0 || SC_FAILS("hash") ? 1 : hash;
	values->size = out.len;
	values->n = n;
	return values;
}

bool
sc_values_identical(const ScValues *a, const ScValues *b)
{
	return a->size == b->size && memcmp(a, b, a->size) == 0;
}

bool
sc_values_equal(const ScValues *a, const ScValues *b)
{
	ScValue    *va = first_value(a);
	ScValue    *vb = first_value(b);

	if (a->n != b->n)
		return false;
	for (uint32 i = 0; i < a->n; i++, va = next_value(va), vb = next_value(vb))
	{
		TypeCacheEntry *type;

		if (va->type != vb->type || (va->len < 0) != (vb->len < 0))
			return false;
		if (va->len < 0 || (va->len == vb->len && memcmp(value_bytes(va), value_bytes(vb), va->len) == 0))
			continue;
		type = type_of(va->type);
		if (!DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, type->typcollation,
											value_datum(va, type), value_datum(vb, type))))
			return false;
	}
	return true;
}

bool
sc_values_is_sound(const ScValues *values, Size size)
{
	const char *end = (const char *) values + size;
	ScValue    *value;

	if (size < MAXALIGN(sizeof(ScValues)) || values->size != size || values->hash == 0 ||
		values->n == 0 || values->n > SC_MAX_PARAMETERS)
		return false;
	value = first_value(values);
	for (uint32 i = 0; i < values->n; i++)
	{
		if (end - (char *) value < (ptrdiff_t) MAXALIGN(sizeof(ScValue)) || value->len < -1 ||
			end - value_bytes(value) < (ptrdiff_t) MAXALIGN(Max(value->len, 0)))
			return false;
		value = next_value(value);
	}
	return (char *) value == end;
}

bool
sc_values_fit(const ScParameters *parameters, const ScValues *values)
{
	ScValue    *value;

	if ((values ? (int) values->n : 0) != parameters->n)
		return false;
	value = values ? first_value(values) : NULL;
	for (int i = 0; i < parameters->n; i++, value = next_value(value))
		if (value->type != parameters->list[i].type || (value->len < 0 && !parameters->list[i].nullable) ||
			type_is_gone(value->type))
			return false;
	return true;
}

void
sc_values_check(const char *summary, const ScParameters *parameters, const ScValues *values)
{
	if (sc_values_fit(parameters, values))
		return;
	if (values == NULL || (int) values->n != parameters->n)
		refuse_number(summary, parameters, values ? (int) values->n : 0);
	for (int i = 0; i < parameters->n; i++)
		check_type(summary, &parameters->list[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the values are not for the parameters of summary \"%s\"", summary),
			 errdetail("It was defined anew; its parameters are: %s.", sc_values_describe(parameters)),
			 errhint("Read it again.")));
}

ParamListInfo
sc_values_bind(const char *summary, const ScParameters *parameters, const ScValues *values)
{
	ParamListInfo bound;
	ScValue    *value;

	sc_values_check(summary, parameters, values);
	if (values == NULL)
		return NULL;
	value = first_value(values);
	bound = makeParamList(parameters->n);
	for (int i = 0; i < parameters->n; i++, value = next_value(value))
	{
		bound->params[i].ptype = value->type;
		bound->params[i].isnull = value->len < 0;
		bound->params[i].pflags = 0;
		bound->params[i].value = value->len < 0 ? (Datum) 0 : value_datum(value, type_of(value->type));
	}
	return bound;
}

Datum
sc_values_get(const ScValues *values, int n, Oid *type, bool *isnull)
{
	ScValue    *value = first_value(values);

	while (n-- > 0)
		value = next_value(value);
	*type = value->type;
	*isnull = value->len < 0;
	return *isnull ? (Datum) 0 : value_datum(value, type_of(value->type));
}

Datum
sc_values_to_array(const ScValues *values)
{
	Datum	   *elems = palloc(sizeof(Datum) * values->n);
	bool	   *nulls = palloc(sizeof(bool) * values->n);
	int			dims[] = {(int) values->n};
	int			lbs[] = {1};
	ScValue    *value = first_value(values);

	for (int i = 0; i < (int) values->n; i++, value = next_value(value))
	{
		Oid			output;
		bool		is_varlena;

		elems[i] = (Datum) 0;
		nulls[i] = value->len < 0 || type_is_gone(value->type);
		if (nulls[i])
			continue;
		getTypeOutputInfo(value->type, &output, &is_varlena);
		elems[i] = CStringGetTextDatum(OidOutputFunctionCall(output, value_datum(value, type_of(value->type))));
	}
	return PointerGetDatum(construct_md_array(elems, nulls, 1, dims, lbs, TEXTOID, -1, false, TYPALIGN_INT));
}

char *
sc_values_to_json(const ScValues *values)
{
	StringInfoData out;
	ScValue    *value = first_value(values);

	initStringInfo(&out);
	for (int i = 0; i < (int) values->n; i++, value = next_value(value))
	{
		FmgrInfo	to_json;

		appendStringInfoChar(&out, i == 0 ? '[' : ',');
		if (value->len < 0 || type_is_gone(value->type))
		{
			appendStringInfoString(&out, "null");
			continue;
		}
		/* of an enum, to_json() would run a cast that is its owner's code */
		if (value->type >= FirstNormalObjectId)
		{
			Oid			output;
			bool		is_varlena;

			getTypeOutputInfo(value->type, &output, &is_varlena);
			escape_json(&out, OidOutputFunctionCall(output, value_datum(value, type_of(value->type))));
			continue;
		}
		fmgr_info(F_TO_JSON, &to_json);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID,
												 list_make1(makeNullConst(value->type, -1, InvalidOid)),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL), &to_json);
		appendStringInfoString(&out, TextDatumGetCString(FunctionCall1(&to_json, value_datum(value, type_of(value->type)))));
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

bool
sc_values_has_family(Oid type, Oid opfamily)
{
	return lookup_type_cache(type, TYPECACHE_HASH_OPFAMILY)->hash_opf == opfamily;
}

ScValues *
sc_values_copy(const ScValues *values)
{
	ScValues   *copy;

	if (values == NULL)
		return NULL;
	copy = palloc(values->size);
	memcpy(copy, values, values->size);
	return copy;
}
