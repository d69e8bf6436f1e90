/*
 * Shows by which column each source of a query is keyed, which SQL does not.  The file under test is
 * included.  Built and run by test/t/095_keyed.pl.
 *
 *	keyed(query text, parameter_types regtype[]) returns text: a line for each column or relation
 *	keyed_hash(value anyelement) returns bigint: NULL if the type has no hash
 */
#include "postgres.h"

#include "../../src/keyed.c"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(keyed);
PG_FUNCTION_INFO_V1(keyed_hash);

static List *
rewritten(const char *text, ArrayType *types)
{
	RawStmt    *raw = linitial_node(RawStmt, pg_parse_query(text));

	if (ARR_HASNULL(types))
		elog(ERROR, "a type is NULL");
	return pg_analyze_and_rewrite_fixedparams(raw, text, (Oid *) ARR_DATA_PTR(types),
											  ArrayGetNItems(ARR_NDIM(types), ARR_DIMS(types)), NULL);
}

Datum
keyed(PG_FUNCTION_ARGS)
{
	List	   *keys;
	List	   *others;
	StringInfoData result;
	ListCell   *lc;

	initStringInfo(&result);
	sc_keyed_find(rewritten(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_ARRAYTYPE_P(1)), &keys, &others);
	foreach(lc, keys)
	{
		ScKeyed    *key = lfirst(lc);

		if (key->opfamily != lookup_type_cache(key->hash_type, TYPECACHE_HASH_OPFAMILY)->hash_opf ||
			key->opfamily != lookup_type_cache(key->value_type, TYPECACHE_HASH_OPFAMILY)->hash_opf)
			elog(ERROR, "the types of a key are of different families");
		appendStringInfo(&result, "%s keyed by %s = $%d\n", get_rel_name(key->relid),
						 get_attname(key->relid, key->attno, false), key->parameter);
	}
	foreach(lc, others)
	{
		ScNotKeyed *other = lfirst(lc);

		appendStringInfo(&result, "%s not keyed: %s\n", get_rel_name(other->relid), other->reason);
	}
	PG_RETURN_TEXT_P(cstring_to_text(result.data));
}

Datum
keyed_hash(PG_FUNCTION_ARGS)
{
	uint64		hash;

	if (!sc_keyed_hash(get_fn_expr_argtype(fcinfo->flinfo, 0), PG_GET_COLLATION(), PG_GETARG_DATUM(0), &hash))
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) hash);
}
