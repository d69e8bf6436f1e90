/*-------------------------------------------------------------------------
 *
 * constant.c
 *	  Whether the analysis of a query runs code of users.
 *
 * The analysis converts each string in a query to the type that is wanted
 * there.  The elements of an array, the fields of a row and the bounds of a range
 * may be of a domain, whose CHECK then runs: functions of whoever defined it, for
 * as long as they like.  Which types are wanted shows the analysis of the same
 * query with NULLs for the strings, since nothing converts a NULL.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "constant.h"

/* Has a domain a CHECK; InvalidOid: has any that a user made? */
static bool
has_check(Oid domain)
{
	Relation	constraints = table_open(ConstraintRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	bool		found;

	ScanKeyInit(&key, Anum_pg_constraint_contypid,
				OidIsValid(domain) ? BTEqualStrategyNumber : BTGreaterEqualStrategyNumber,
				OidIsValid(domain) ? F_OIDEQ : F_OIDGE,
				ObjectIdGetDatum(OidIsValid(domain) ? domain : FirstNormalObjectId));
	scan = systable_beginscan(constraints, ConstraintTypidIndexId, true, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(constraints, AccessShareLock);
	return found;
}

static Oid
base_of_domain(Oid domain)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(domain));
	Oid			base = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		base = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
		ReleaseSysCache(tuple);
	}
	return base;
}

/* Does the conversion of a constant to a type check domains? */
static bool
checks_domains(Oid type)
{
	TupleDesc	desc;
	bool		found = false;

	check_stack_depth();
	/* no type of the server's own has a part that is a user's */
	if (type < FirstNormalObjectId)
		return false;
	switch (get_typtype(type))
	{
		case TYPTYPE_BASE:
			return checks_domains(get_element_type(type));
		case TYPTYPE_DOMAIN:
			return has_check(type) || checks_domains(base_of_domain(type));
		case TYPTYPE_RANGE:
			return checks_domains(get_range_subtype(type));
		case TYPTYPE_MULTIRANGE:
			return checks_domains(get_range_subtype(get_multirange_range(type)));
		case TYPTYPE_COMPOSITE:
			desc = lookup_rowtype_tupdesc_noerror(type, -1, true);
			for (int i = 0; desc && !found && i < desc->natts; i++)
				found = !TupleDescAttr(desc, i)->attisdropped &&
					checks_domains(TupleDescAttr(desc, i)->atttypid);
			if (desc)
				ReleaseTupleDesc(desc);
			return found;
		default:
			return false;
	}
}

/* Make NULLs of the strings in a query as it was parsed. */
static bool
clear_strings(Node *node, void *context)
{
	if (node == NULL)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (sc_query_is_string(node))
	{
		((A_Const *) node)->isnull = true;
		return false;
	}

	/*
	 * IS DISTINCT FROM a NULL is analysed as IS NOT NULL, without the
	 * constant: let it be a comparison, whose operator and types are the same
	 */
	if (IsA(node, A_Expr) &&
		(((A_Expr *) node)->kind == AEXPR_DISTINCT || ((A_Expr *) node)->kind == AEXPR_NOT_DISTINCT) &&
		(sc_query_is_string(((A_Expr *) node)->lexpr) || sc_query_is_string(((A_Expr *) node)->rexpr)))
		((A_Expr *) node)->kind = AEXPR_OP;
	return sc_query_walk_raw(node, clear_strings, context);
}

static bool
find_checking_constant(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_checking_constant, context, 0);
	/* a NULL that was there before is taken for one of these */
	if (IsA(node, Const) && ((Const *) node)->constisnull && checks_domains(((Const *) node)->consttype))
		return true;
	return expression_tree_walker(node, find_checking_constant, context);
}

bool
sc_constant_runs_checks(ScSectionDef *section)
{
	List	   *statements;
	Query	   *query;

	if (!has_check(InvalidOid))
		return false;
	statements = raw_parser(section->query, RAW_PARSE_DEFAULT);
	if (list_length(statements) != 1)
		return false;

	/* nor may it find what the session has in its temporary schema */
	sc_query_check_names(section);
	(void) clear_strings(linitial_node(RawStmt, statements)->stmt, NULL);
	query = parse_analyze_fixedparams(linitial_node(RawStmt, statements), section->query,
									  sc_values_types(&section->parameters), section->parameters.n, NULL);
	return find_checking_constant((Node *) query, NULL);
}
