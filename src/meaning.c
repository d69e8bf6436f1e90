/*-------------------------------------------------------------------------
 *
 * meaning.c
 *	  What a query means, as a hash.
 *
 * What a closed query (closed.c) gives follows from three things: the rows of its
 * tables, what its text means, and the definitions of the objects that are meant.
 * The rows have words.  Most DDL can change no more than what a text means, such as
 * which table a name stands for, what a view is or which policies apply; or who may
 * read.  It moves the names word of its database only (ddl.c says which it is).  A
 * document for which nothing but that word has moved is as its query would make it
 * now, if the text still means the same and the owner may still read it all.  That
 * takes an analysis of the query, and no plan and no execution.
 *
 * The meaning is the tree that the analyser and the rewriter make of the text: all
 * names are oids in it, views and policies are part of it.  DDL that changes what is
 * behind an oid, such as a type's labels or a table's rows, moves the catch-all word as
 * before.  That is known of tracked tables and of types that are not rows.  So what
 * reads anything else has no known meaning, nor has what shows definitions, such as
 * has_table_privilege().  Nor has what may call a function of users that the query does
 * not name, to compare values or to find rows, and that is not in C: what it names may
 * be something else.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "builtin.h"
#include "definition.h"
#include "local.h"
#include "meaning.h"
#include "query.h"
#include "track.h"

/* What is being looked at. */
typedef struct Look
{
	const ScSectionDef *section;
	bool		is_built;
} Look;

/*
 * Does a function that the server calls without its being named in the query mean the
 * same, whatever names mean?  In C it does; its body, if it has one, may name anything.
 */
static bool
is_settled_function(Oid function)
{
	HeapTuple	tuple;
	bool		settled = false;

	if (function < FirstNormalObjectId)
		return true;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (HeapTupleIsValid(tuple))
	{
		settled = ((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId;
		ReleaseSysCache(tuple);
	}
	return settled;
}

/* The same of an operator class's functions. */
static bool
is_settled_class(Oid class)
{
	CatCList   *list;
	bool		settled = true;

	if (class < FirstNormalObjectId)
		return true;
	list = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(get_opclass_family(class)));
	for (int i = 0; i < list->n_members && settled; i++)
		settled = is_settled_function(((Form_pg_amproc) GETSTRUCT(&list->members[i]->tuple))->amproc);
	ReleaseSysCacheList(list);
	return settled;
}

static bool
are_settled_classes(int cache, Oid oid, AttrNumber attribute)
{
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(oid));
	Datum		stored;
	bool		isnull;
	bool		settled = true;

	if (!HeapTupleIsValid(tuple))
		return true;
	stored = SysCacheGetAttr(cache, tuple, attribute, &isnull);
	if (!isnull)
	{
		oidvector  *classes = (oidvector *) DatumGetPointer(stored);

		for (int i = 0; i < classes->dim1 && settled; i++)
			settled = is_settled_class(classes->values[i]);
	}
	ReleaseSysCache(tuple);
	return settled;
}

/* By what rows are found, and members left out, in a table and all below it. */
static bool
is_settled_tree(Oid relid)
{
	List	   *members = has_subclass(relid) ? find_all_inheritors(relid, AccessShareLock, NULL) : list_make1_oid(relid);
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, members)
	{
		Relation	relation = try_relation_open(lfirst_oid(lc), AccessShareLock);
		bool		settled = true;

		CHECK_FOR_INTERRUPTS();
		if (relation == NULL)
			continue;
		if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
			settled = are_settled_classes(PARTRELID, lfirst_oid(lc), Anum_pg_partitioned_table_partclass);
		foreach(lc2, settled ? RelationGetIndexList(relation) : NIL)
		{
			settled = settled && are_settled_classes(INDEXRELID, lfirst_oid(lc2), Anum_pg_index_indclass);
		}
		relation_close(relation, NoLock);
		if (!settled)
			return false;
	}
	return true;
}

/*
 * Can only DDL that moves the catch-all word change how values of a type are shown or
 * compared?  A type of rows changes with its table, so that has to be a tracked one.
 */
static bool
is_settled_type(Oid type)
{
	Oid			inner = InvalidOid;
	Oid			relid;
	TupleDesc	desc;
	TypeCacheEntry *cached;
	bool		settled = true;

	if (!OidIsValid(type) || get_typtype(type) == TYPTYPE_PSEUDO)
		return true;
	check_stack_depth();
	switch (type)
	{
			/* they are shown by names, as the search path has them */
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGCOLLATIONOID:
		case REGNAMESPACEOID:
		case REGROLEOID:
			return false;
		default:
			break;
	}
	cached = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR | TYPECACHE_CMP_PROC | TYPECACHE_HASH_PROC);
	if (!is_settled_function(cached->cmp_proc) || !is_settled_function(cached->hash_proc) ||
		(OidIsValid(cached->eq_opr) && !is_settled_function(get_opcode(cached->eq_opr))) ||
		(OidIsValid(cached->lt_opr) && !is_settled_function(get_opcode(cached->lt_opr))))
		return false;
	switch (get_typtype(type))
	{
		case TYPTYPE_COMPOSITE:
			relid = get_typ_typrelid(type);
			if (relid < FirstNormalObjectId)
				return true;
			if (!sc_track_is_tracked(relid))
				return false;
			desc = lookup_rowtype_tupdesc(type, -1);
			for (int i = 0; i < desc->natts && settled; i++)
				settled = TupleDescAttr(desc, i)->attisdropped ||
					is_settled_type(TupleDescAttr(desc, i)->atttypid);
			ReleaseTupleDesc(desc);
			return settled;
		case TYPTYPE_DOMAIN:
			return is_settled_type(getBaseType(type));
		case TYPTYPE_RANGE:
			inner = get_range_subtype(type);
			break;
		case TYPTYPE_MULTIRANGE:
			inner = get_multirange_range(type);
			break;
		case TYPTYPE_ENUM:
			return true;
		default:
			inner = get_element_type(type);
			break;
	}
	return !OidIsValid(inner) || is_settled_type(inner);
}

static bool
is_settled_list(List *types)
{
	ListCell   *lc;

	foreach(lc, types)
	{
		if (!is_settled_type(lfirst_oid(lc)))
			return false;
	}
	return true;
}

/* Has a table a word in the section's label? */
static bool
is_source(const ScSectionDef *section, Oid relid)
{
	if (!sc_track_is_tracked(relid))
		return false;
	/* what it is a part of is looked up in a catalog, each time */
	for (int i = 0; i < section->nsources; i++)
		if (section->sources[i] == relid)
			return true;
	for (int i = 0; i < section->nsources; i++)
		if (sc_track_covers(section->sources[i], relid))
			return true;
	return false;
}

static bool
is_settled_entry(RangeTblEntry *rte, const Look *look)
{
	ListCell   *lc;

	if (rte->rtekind == RTE_RELATION && rte->relkind != RELKIND_VIEW)
		return (rte->relkind == RELKIND_RELATION || rte->relkind == RELKIND_PARTITIONED_TABLE) &&
			is_source(look->section, rte->relid) &&
			(!look->is_built || is_settled_tree(rte->relid));
	foreach(lc, rte->functions)
	{
		if (!is_settled_list(lfirst_node(RangeTblFunction, lc)->funccoltypes))
			return false;
	}
	return is_settled_list(rte->coltypes);
}

/* The callback of check_functions_in_node(). */
static bool
shows_ddl(Oid function, void *context)
{
	return sc_builtin_shows_ddl(function);
}

/* Does a query depend on what can change with nothing but the names word? */
static bool
find_unsettled(Node *node, void *context)
{
	if (node == NULL)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (check_functions_in_node(node, shows_ddl, NULL))
		return true;
	switch (nodeTag(node))
	{
		case T_Query:
			return query_tree_walker((Query *) node, find_unsettled, context, QTW_EXAMINE_RTES_BEFORE);
		case T_RangeTblEntry:
			return !is_settled_entry((RangeTblEntry *) node, context);
		case T_SQLValueFunction:
			/* the current schema is one of these */
			return true;
		case T_TableFunc:
			if (!is_settled_list(((TableFunc *) node)->coltypes))
				return true;
			break;
		default:
			if ((IsA(node, Var) || sc_query_brings_type(node)) && !is_settled_type(exprType(node)))
				return true;
			break;
	}
	return expression_tree_walker(node, find_unsettled, context);
}

void
sc_meaning_find(const ScSectionDef *section, List *queries, bool is_built, ScMeaning *meaning)
{
	Look		look = {section, is_built};
	uint8		hash[SC_HASH_BYTES];
	char	   *tree;

	memset(meaning, 0, sizeof(*meaning));
	if (find_unsettled((Node *) queries, &look))
		return;
	tree = nodeToString(queries);
	sc_local_sha256(tree, strlen(tree), hash);
	memcpy(meaning, hash, sizeof(*meaning));
	pfree(tree);
}

static bool
may_not_read(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return !SC_MAY_READ((Query *) node) ||
			query_tree_walker((Query *) node, may_not_read, context, 0);
	return expression_tree_walker(node, may_not_read, context);
}

bool
sc_meaning_may_read(List *queries)
{
	return !may_not_read((Node *) queries, NULL);
}
