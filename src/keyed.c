/*-------------------------------------------------------------------------
 *
 * keyed.c
 *	  By which column is each source of a query keyed?
 *
 * A scan of a table is keyed if the query returns the same whatever rows the table
 * has beside those that have a parameter's value in one column.  Then only writes of
 * rows with that value concern a document that was built with it.
 *
 * An *item* is an entry of a query level's FROM: a table, a subquery, a function, and
 * so on.  A column of an item is *pinned* to a parameter if the query returns the same
 * when the item is replaced by a selection from it: by those of its rows that have the
 * parameter's value there.  All is shown by replacing one item after the other.  In the
 * query where that is done, a column that is pinned is equal to the parameter or NULL
 * (an outer join may have put it in for rows that are absent), wherever the query
 * evaluates it, so the next step may rely on that.  These are the steps:
 *
 * 1. An item's column is equal to the parameter by a condition that *filters* the item.
 *	  Call rows good that satisfy the condition.  It is strict, so a row in which the
 *	  item is NULL is not good.  By induction over the joins above the item, the good
 *	  rows of each join depend on the good rows of the item's side only: the good rows
 *	  of an inner join are good pairs; of an outer join that preserves the item's side,
 *	  they are also the good rows of that side that match nothing, which is up to these
 *	  rows alone; of one that preserves the other side, the rows that it puts in have
 *	  the item NULL and are not good.  So a place that only good rows pass makes the item
 *	  pinned.  WHERE is such a place for all items of its FROM.  ON is one for both
 *	  sides of an inner join.  An outer join's ON is one for the side that is not
 *	  preserved: a row of it that is not good matches nothing, and rows that match
 *	  nothing are not seen.  It is none for a preserved side, and none in FULL JOIN.
 *	  The condition of a row-level security policy is one for its table.
 * 2. The same if the condition is an equality with a column that is pinned already, of
 *	  this level or, for a sub-select or LATERAL, of an outer one: where that is NULL, a
 *	  strict condition passes nothing, and otherwise it is equal to the parameter.  So
 *	  it is also right for a sub-select in WHERE or ON: there it may be evaluated for
 *	  other rows of the outer query as well, which influences no result.
 * 3. A column of a subquery or CTE is pinned if it is plainly an inner column that is.
 * 4. If an item that is a subquery is pinned by a column that is plainly an inner
 *	  column, and if selecting from its rows is the same as selecting before, the
 *	  condition may as well stand in the subquery's WHERE.  (A CTE may have been read
 *	  elsewhere too.)
 *
 * Equality means a member of the hash operator family that is the default of both types:
 * its operators are transitive also across types, and what is equal has the same hash.
 *
 * A result is meant, not an error: where a query divides by a column, say, SQL leaves
 * open whether a row that a condition excludes makes it fail.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "keyed.h"

/* A query level: the query itself, a subquery, a sub-select, a CTE. */
typedef struct Level
{
	Query	   *query;
	struct Level *outer;		/* NULL: none */
	List	   *conditions;		/* of Condition */
	List	   *pins;			/* of Pin */
} Level;

/* A condition, not an AND, that all rows satisfy which pass its place. */
typedef struct Condition
{
	Node	   *expression;
	Bitmapset  *filtered;		/* the items that it filters, as step 1 says */
} Condition;

/* A column of an item, equal to a parameter wherever it is evaluated and not NULL. */
typedef struct Pin
{
	Index		item;
	AttrNumber	attno;
	int			parameter;
	Oid			hash_type;		/* that the comparison sees the column as */
	Oid			value_type;		/* that a comparison sees the parameter as */
	Oid			family;
	Oid			collation;		/* of the comparison */
} Pin;

/* An equality of two expressions. */
typedef struct Equality
{
	Node	   *side[2];
	Oid			type[2];		/* that the operator sees them as */
	Oid			family;
	Oid			collation;
} Equality;

typedef struct Search
{
	List	   *levels;			/* of Level, outer ones first */
	Level	   *here;			/* where the walk is */
	List	   *by_name;		/* OIDs of relations that functions are given */
	bool		changed;		/* a pin was added in this round */
} Search;

/*-------------------------------------------------------------------------
 * Types and operators
 *-------------------------------------------------------------------------
 */

/*
 * What the cache knows of hashing a type; not a domain.  NULL: not by PostgreSQL's own
 * code alone, or not by one that is known to agree with the type's equality.
 */
static TypeCacheEntry *
own_hash(Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_HASH_OPFAMILY | TYPECACHE_HASH_EXTENDED_PROC_FINFO);
	Oid			element;

	if (!OidIsValid(entry->hash_extended_proc) || entry->hash_extended_proc >= FirstNormalObjectId ||
		entry->hash_opf >= FirstNormalObjectId)
		return NULL;
	switch (entry->hash_extended_proc)
	{
		case F_HASH_ARRAY_EXTENDED:
			/* it calls the elements' hash function */
			check_stack_depth();
			element = get_base_element_type(type);
			return OidIsValid(element) && own_hash(getBaseType(element)) ? entry : NULL;
		case F_HASHENUMEXTENDED:
			return entry;
		case F_HASH_RECORD_EXTENDED:
			/* it calls the columns' hash functions, and they may change */
			return NULL;
		default:
			/* a range that a user made may have any order */
			return type < FirstNormalObjectId ? entry : NULL;
	}
}

bool
sc_keyed_hash(Oid type, Oid collation, Datum value, uint64 *hash)
{
	TypeCacheEntry *entry = own_hash(getBaseType(type));

	if (entry == NULL)
		return false;
	*hash = DatumGetUInt64(FunctionCall2Coll(&entry->hash_extended_proc_finfo, collation, value, UInt64GetDatum(0)));
	return true;
}

static bool
is_deterministic(Oid collation)
{
	return !OidIsValid(collation) || get_collation_isdeterministic(collation);
}

/* Are strings that one collation says are equal also equal, and hashed alike, by the other? */
static bool
collations_agree(Oid first, Oid second)
{
	return first == second || (is_deterministic(first) && is_deterministic(second));
}

/* An expression without what only calls its value by another type. */
static Node *
strip(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* The type that an operator sees a side as; that of a polymorphic operator is the side's own. */
static Oid
input_type(Oid declared, Node *side)
{
	return IsPolymorphicType(declared) ? getBaseType(exprType(side)) : declared;
}

/* Is it an equality that can key?  Returns why not, or NULL. */
static const char *
read_equality(OpExpr *op, Equality *equality)
{
	Oid			declared[2];
	TypeCacheEntry *entry[2];

	if (list_length(op->args) != 2)
		return "it is not compared by an operator of two sides";
	if (op->opno >= FirstNormalObjectId)
		return "it is compared by an operator that is not PostgreSQL's own";
	op_input_types(op->opno, &declared[0], &declared[1]);
	for (int i = 0; i < 2; i++)
	{
		Node	   *side = list_nth(op->args, i);

		equality->side[i] = strip(side);
		equality->type[i] = input_type(declared[i], side);
		entry[i] = own_hash(equality->type[i]);
		if (entry[i] == NULL)
			return "it is compared as a type that has no hash function of PostgreSQL's own";
		/* arrays are compared as what they are, not as they are called */
		if (IsPolymorphicType(declared[i]) && getBaseType(exprType(equality->side[i])) != equality->type[i])
			return "it is compared as another type";
	}
	equality->family = entry[0]->hash_opf;
	equality->collation = op->inputcollid;
	if (get_op_opfamily_strategy(op->opno, equality->family) != HTEqualStrategyNumber ||
		entry[1]->hash_opf != equality->family || !op_strict(op->opno))
		return "it is compared by an operator that is not the equality of its type's hash family";

	/*
	 * The hash function of type name knows no collation, although a name can
	 * be compared with a text by one.
	 */
	if (!is_deterministic(equality->collation) && equality->type[0] != equality->type[1])
		return "it is compared with another type by a nondeterministic collation";
	return NULL;
}

/*-------------------------------------------------------------------------
 * Levels
 *-------------------------------------------------------------------------
 */

/* Adds what an AND consists of, or a list that stands for one. */
static void
add_conditions(Level *level, Node *node, Bitmapset *filtered)
{
	List	   *parts = NIL;
	ListCell   *lc;

	if (node == NULL)
		return;
	check_stack_depth();
	if (IsA(node, List))
		parts = (List *) node;
	else if (is_andclause(node))
		parts = ((BoolExpr *) node)->args;
	else
	{
		Condition  *condition = palloc(sizeof(Condition));

		condition->expression = node;
		condition->filtered = filtered;
		level->conditions = lappend(level->conditions, condition);
	}
	foreach(lc, parts)
	{
		add_conditions(level, lfirst(lc), filtered);
	}
}

/* Adds the conditions of a part of FROM, with what they filter; returns the part's items. */
static Bitmapset *
add_from(Level *level, Node *node)
{
	Bitmapset  *items = NULL;
	ListCell   *lc;

	check_stack_depth();
	if (IsA(node, RangeTblRef))
		items = bms_make_singleton(((RangeTblRef *) node)->rtindex);
	else if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
		{
			items = bms_join(items, add_from(level, lfirst(lc)));
		}
		add_conditions(level, ((FromExpr *) node)->quals, bms_copy(items));
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;
		Bitmapset  *left = add_from(level, join->larg);
		Bitmapset  *right = add_from(level, join->rarg);
		Bitmapset  *filtered = NULL;

		items = bms_union(left, right);
		switch (join->jointype)
		{
			case JOIN_INNER:
				filtered = bms_copy(items);
				break;
			case JOIN_LEFT:
				filtered = right;
				break;
			case JOIN_RIGHT:
				filtered = left;
				break;
			default:
				break;
		}
		add_conditions(level, join->quals, filtered);
	}
	return items;
}

static void
add_level(Search *search, Query *query)
{
	Level	   *level = palloc0(sizeof(Level));
	int			item = 0;
	ListCell   *lc;

	level->query = query;
	level->outer = search->here;
	search->levels = lappend(search->levels, level);
	search->here = level;
	/* what writes is not looked into */
	if (query->commandType != CMD_SELECT)
		return;
	if (query->jointree)
		(void) add_from(level, (Node *) query->jointree);
	foreach(lc, query->rtable)
	{
		add_conditions(level, (Node *) lfirst_node(RangeTblEntry, lc)->securityQuals, bms_make_singleton(++item));
	}
}

/* A constant of type regclass that a function is given: it may read what it names. */
static void
note_name(Search *search, Node *argument)
{
	Const	   *constant = (Const *) strip(argument);

	if (constant && IsA(constant, Const) && constant->consttype == REGCLASSOID && !constant->constisnull)
		search->by_name = list_append_unique_oid(search->by_name, DatumGetObjectId(constant->constvalue));
}

/* A walker: adds all levels. */
static bool
find_levels(Node *node, void *context)
{
	Search	   *search = context;
	Level	   *outer = search->here;
	ListCell   *lc;

	if (node == NULL)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (IsA(node, Query))
	{
		add_level(search, (Query *) node);
		(void) query_tree_walker((Query *) node, find_levels, context, 0);
		search->here = outer;
		return false;
	}
	if (IsA(node, FuncExpr))
	{
		foreach(lc, ((FuncExpr *) node)->args)
		{
			note_name(search, lfirst(lc));
		}
	}
	return expression_tree_walker(node, find_levels, context);
}

/*
 * The level of a subquery or of a CTE that an item reads; NULL: it reads neither, or
 * one whose columns are not plainly those of its target list.
 */
static Level *
level_of_item(Search *search, Level *level, RangeTblEntry *rte)
{
	Query	   *query = rte->subquery;
	ListCell   *lc;

	if (rte->rtekind == RTE_CTE && !rte->self_reference)
	{
		for (Index up = rte->ctelevelsup; up > 0 && level; up--)
			level = level->outer;
		foreach(lc, level ? level->query->cteList : NIL)
		{
			CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

			if (strcmp(cte->ctename, rte->ctename) == 0 && !cte->cterecursive)
				query = (Query *) cte->ctequery;
		}
	}
	else if (rte->rtekind != RTE_SUBQUERY)
		return NULL;
	if (query == NULL || query->commandType != CMD_SELECT)
		return NULL;
	foreach(lc, search->levels)
	{
		if (((Level *) lfirst(lc))->query == query)
			return lfirst(lc);
	}
	return NULL;
}

/* The expression of a column of a query's result, or NULL. */
static Node *
output(Query *query, AttrNumber attno)
{
	TargetEntry *entry = attno > 0 ? get_tle_by_resno(query->targetList, attno) : NULL;

	return entry && !entry->resjunk ? strip((Node *) entry->expr) : NULL;
}

/*
 * The column of an item that an expression is, with the level of the item.  A column
 * of a join is that of one of its sides, unless it is computed of both; from 18 on a
 * column after GROUP BY is one of an entry of its own.  NULL: it is none.
 */
static Var *
column(Level *level, Node *node, Level **at)
{
	for (*at = level; (node = strip(node)) != NULL && IsA(node, Var);)
	{
		Var		   *var = (Var *) node;
		RangeTblEntry *rte;
		List	   *expressions;

		for (Index up = var->varlevelsup; up > 0 && *at; up--)
			*at = (*at)->outer;
		if (*at == NULL || (*at)->query->commandType != CMD_SELECT || var->varattno <= 0)
			return NULL;
		rte = rt_fetch(var->varno, (*at)->query->rtable);
		if (rte->rtekind == RTE_JOIN)
			expressions = rte->joinaliasvars;
#if PG_VERSION_NUM >= 180000
		else if (rte->rtekind == RTE_GROUP)
			expressions = rte->groupexprs;
#endif
		else
			return var;
		node = list_nth(expressions, var->varattno - 1);
	}
	return NULL;
}

/* The parameter that an expression is wherever it is not NULL, itself or through subqueries; 0: none. */
static int
parameter(Search *search, Level *level, Node *node)
{
	Level	   *at;
	Var		   *var;
	RangeTblEntry *rte;
	Level	   *inner;

	check_stack_depth();
	node = strip(node);
	if (node && IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
		return ((Param *) node)->paramid;
	var = column(level, node, &at);
	if (var == NULL)
		return 0;
	rte = rt_fetch(var->varno, at->query->rtable);
	/* one row of VALUES */
	if (rte->rtekind == RTE_VALUES && list_length(rte->values_lists) == 1)
		return parameter(search, at, list_nth(linitial(rte->values_lists), var->varattno - 1));
	inner = level_of_item(search, at, rte);
	if (inner == NULL || inner->query->setOperations)
		return 0;
	return parameter(search, inner, output(inner->query, var->varattno));
}

/*-------------------------------------------------------------------------
 * Pins
 *-------------------------------------------------------------------------
 */

static void
add_pin(Search *search, Level *level, const Pin *pin)
{
	ListCell   *lc;
	Pin		   *added;

	foreach(lc, level->pins)
	{
		Pin		   *known = lfirst(lc);

		if (known->item == pin->item && known->attno == pin->attno && known->parameter == pin->parameter &&
			known->hash_type == pin->hash_type && known->value_type == pin->value_type &&
			known->family == pin->family && known->collation == pin->collation)
			return;
	}
	added = palloc(sizeof(Pin));
	*added = *pin;
	level->pins = lappend(level->pins, added);
	search->changed = true;
}

/* The pin of an item's column as that of another item's. */
static void
copy_pin(Search *search, const Pin *pin, Level *level, Index item, AttrNumber attno)
{
	Pin			copy = *pin;

	copy.item = item;
	copy.attno = attno;
	add_pin(search, level, &copy);
}

/* Steps 1 and 2: one side of an equality is pinned by the other. */
static void
pin_side(Search *search, Level *level, const Condition *condition, const Equality *equality, int side)
{
	Level	   *at;
	Var		   *var = column(level, equality->side[side], &at);
	Node	   *other = equality->side[1 - side];
	Pin			pin = {0};
	ListCell   *lc;

	if (var == NULL || at != level || !bms_is_member(var->varno, condition->filtered))
		return;
	pin.item = var->varno;
	pin.attno = var->varattno;
	pin.hash_type = equality->type[side];
	pin.family = equality->family;
	pin.collation = equality->collation;
	pin.parameter = parameter(search, level, other);
	if (pin.parameter > 0)
	{
		pin.value_type = equality->type[1 - side];
		add_pin(search, level, &pin);
		return;
	}
	var = column(level, other, &at);
	foreach(lc, var ? at->pins : NIL)
	{
		Pin		   *known = lfirst(lc);

		if (known->item == var->varno && known->attno == var->varattno && known->family == pin.family &&
			collations_agree(known->collation, pin.collation))
		{
			pin.parameter = known->parameter;
			pin.value_type = known->value_type;
			add_pin(search, level, &pin);
		}
	}
}

/* Step 3: what is pinned in a subquery or CTE is so for who reads it. */
static void
pin_from_below(Search *search, Level *level, Index item, Level *inner)
{
	ListCell   *lc;
	ListCell   *lc2;

	if (inner->query->setOperations)
		return;
	foreach(lc, inner->query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Level	   *at;
		Var		   *var = entry->resjunk ? NULL : column(inner, (Node *) entry->expr, &at);

		foreach(lc2, var ? at->pins : NIL)
		{
			Pin		   *pin = lfirst(lc2);

			if (pin->item == var->varno && pin->attno == var->varattno)
				copy_pin(search, pin, level, item, entry->resno);
		}
	}
}

/* Is selecting from a query's rows the same as selecting before?  Set operations apart. */
static bool
may_select_before(Query *query)
{
	return !query->hasAggs && query->groupClause == NIL && query->groupingSets == NIL && query->havingQual == NULL &&
		!query->hasWindowFuncs && query->distinctClause == NIL && query->limitOffset == NULL &&
		query->limitCount == NULL && !query->hasTargetSRFs && query->rowMarks == NIL &&
		!contain_volatile_functions((Node *) query->targetList);
}

static void pin_output(Search *search, Level *level, const Pin *pin, AttrNumber attno);

/* The same of what set operations consist of; a column may have another type than that of the whole. */
static void
pin_set(Search *search, Level *level, Node *node, const Pin *pin, AttrNumber attno, Oid type)
{
	check_stack_depth();
	if (IsA(node, RangeTblRef))
	{
		RangeTblEntry *rte = rt_fetch(((RangeTblRef *) node)->rtindex, level->query->rtable);
		Level	   *inner = level_of_item(search, level, rte);
		TargetEntry *entry = inner ? get_tle_by_resno(inner->query->targetList, attno) : NULL;

		if (entry && exprType((Node *) entry->expr) == type)
			pin_output(search, inner, pin, attno);
	}
	else if (IsA(node, SetOperationStmt))
	{
		SetOperationStmt *operation = (SetOperationStmt *) node;

		if (operation->op == SETOP_UNION && operation->all &&
			list_nth_oid(operation->colTypes, attno - 1) == type)
		{
			pin_set(search, level, operation->larg, pin, attno, type);
			pin_set(search, level, operation->rarg, pin, attno, type);
		}
	}
}

/* Step 4: a column of a subquery's result is pinned. */
static void
pin_output(Search *search, Level *level, const Pin *pin, AttrNumber attno)
{
	Node	   *expression = output(level->query, attno);
	Level	   *at;
	Var		   *var;

	if (expression == NULL || !may_select_before(level->query))
		return;
	if (level->query->setOperations)
	{
		pin_set(search, level, level->query->setOperations, pin, attno, exprType(expression));
		return;
	}
	var = column(level, expression, &at);
	if (var && at == level)
		copy_pin(search, pin, level, var->varno, var->varattno);
}

static void
pin_level(Search *search, Level *level)
{
	Index		item = 0;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, level->conditions)
	{
		Condition  *condition = lfirst(lc);
		Equality	equality;

		if (!IsA(condition->expression, OpExpr) || read_equality((OpExpr *) condition->expression, &equality) != NULL)
			continue;
		pin_side(search, level, condition, &equality, 0);
		pin_side(search, level, condition, &equality, 1);
	}
	foreach(lc, level->query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		Level	   *inner = level_of_item(search, level, rte);

		CHECK_FOR_INTERRUPTS();
		item++;
		if (inner == NULL)
			continue;
		pin_from_below(search, level, item, inner);
		foreach(lc2, rte->rtekind == RTE_SUBQUERY ? level->pins : NIL)
		{
			Pin		   *pin = lfirst(lc2);

			if (pin->item == item)
				pin_output(search, inner, pin, pin->attno);
		}
	}
}

/*-------------------------------------------------------------------------
 * Results
 *-------------------------------------------------------------------------
 */

/* Why can no column of a relation be a key?  NULL: it can. */
static const char *
relation_reason(Level *level, Index item, RangeTblEntry *rte)
{
	ListCell   *lc;

	if (level->query->commandType != CMD_SELECT)
		return "a command that writes reads it";
	if (rte->relid < FirstNormalObjectId)
		return "it is a system catalog";
	switch (rte->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_MATVIEW:
			return "a materialized view has no row triggers";
		case RELKIND_FOREIGN_TABLE:
			return "it is a foreign table";
		default:
			return "it is not a table";
	}
	if (rte->tablesample)
		return "TABLESAMPLE chooses among all of its rows";
	foreach(lc, level->query->rowMarks)
	{
		if (lfirst_node(RowMarkClause, lc)->rti == item)
			return "its rows are locked (FOR UPDATE or FOR SHARE)";
	}
	return NULL;
}

/*
 * Why does a pin not make a column a key?  What writes rows hashes the column as its own
 * type and collation say, whatever the comparison sees it as.  NULL: it does.
 */
static const char *
column_reason(Oid relid, const Pin *pin, Oid *collation)
{
	const char *name = get_attname(relid, pin->attno, false);
	char		generated = get_attgenerated(relid, pin->attno);
	Oid			type;
	int32		typmod;
	TypeCacheEntry *entry;

	get_atttypetypmodcoll(relid, pin->attno, &type, &typmod, collation);
	entry = own_hash(getBaseType(type));
	if (entry == NULL)
		return psprintf("the type %s of its column \"%s\" has no hash function of PostgreSQL's own", format_type_be(type), name);
	if (generated != '\0' && generated != ATTRIBUTE_GENERATED_STORED)
		return psprintf("its column \"%s\" is computed when it is read", name);
	if (entry->hash_opf != pin->family ||
		entry->hash_extended_proc != lookup_type_cache(pin->hash_type, TYPECACHE_HASH_EXTENDED_PROC)->hash_extended_proc)
		return psprintf("its column \"%s\" is compared as another type", name);
	if (!collations_agree(*collation, pin->collation))
		return psprintf("its column \"%s\" is compared by another collation than its own, and one of them is nondeterministic", name);
	return NULL;
}

static bool
find_parameter(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_parameter, context, 0);
	return expression_tree_walker(node, find_parameter, context);
}

/* A column of an item, in the item's level. */
typedef struct Mention
{
	Level	   *level;
	Index		item;
	AttrNumber	attno;			/* the first that was found */
} Mention;

static bool
find_mention(Node *node, void *context)
{
	Mention    *mention = context;
	Level	   *at;
	Var		   *var;

	if (node == NULL)
		return false;
	var = column(mention->level, node, &at);
	if (var && at == mention->level && var->varno == mention->item)
	{
		mention->attno = var->varattno;
		return true;
	}
	/* a column that a join computes of both sides */
	if (var == NULL && IsA(node, Var) && ((Var *) node)->varlevelsup == 0 && ((Var *) node)->varattno > 0)
	{
		RangeTblEntry *rte = rt_fetch(((Var *) node)->varno, mention->level->query->rtable);

		if (rte->rtekind == RTE_JOIN)
			return find_mention(list_nth(rte->joinaliasvars, ((Var *) node)->varattno - 1), context);
	}
	return expression_tree_walker(node, find_mention, context);
}

/* Why does a condition of an item's column and a parameter not make the column a key? */
static const char *
condition_reason(Search *search, Level *level, Index item, const Condition *condition, const char *name)
{
	Node	   *node = condition->expression;
	Equality	equality;
	const char *reason;
	Level	   *at;
	Var		   *var;

	if (IsA(node, BoolExpr))
		return psprintf("its column \"%s\" is compared with a parameter only inside %s", name,
						is_orclause(node) ? "OR" : "NOT");
	if (!IsA(node, OpExpr))
		return psprintf("the condition on its column \"%s\" is not a comparison by =", name);
	reason = read_equality((OpExpr *) node, &equality);
	if (reason)
		return psprintf("its column \"%s\": %s", name, reason);
	for (int i = 0; i < 2; i++)
	{
		var = column(level, equality.side[i], &at);
		if (var && at == level && var->varno == item && parameter(search, level, equality.side[1 - i]) > 0)
			return psprintf("the outer join keeps its rows, whatever its column \"%s\" is", name);
	}
	return psprintf("its column \"%s\" and a parameter are compared only inside an expression", name);
}

/* Why is an item not keyed that no condition pins? */
static const char *
missing_reason(Search *search, Level *level, Index item, Oid relid)
{
	ListCell   *lc;

	foreach(lc, level->conditions)
	{
		Condition  *condition = lfirst(lc);
		Mention		mention = {level, item};

		if (find_parameter(condition->expression, NULL) && find_mention(condition->expression, &mention))
			return condition_reason(search, level, item, condition, get_attname(relid, mention.attno, false));
	}
	return "no condition compares one of its columns with a parameter for equality";
}

/* What is found out of one scan. */
static const char *
look_at_scan(Search *search, Level *level, Index item, RangeTblEntry *rte, ScKeyed *found)
{
	const char *reason = relation_reason(level, item, rte);
	ListCell   *lc;

	found->relid = rte->relid;
	if (reason)
		return reason;
	foreach(lc, level->pins)
	{
		Pin		   *pin = lfirst(lc);
		Oid			collation;
		const char *why;

		if (pin->item != item)
			continue;
		why = column_reason(rte->relid, pin, &collation);
		if (why)
			reason = reason ? reason : why;
		/* the first column, and the first parameter */
		else if (found->attno == 0 || pin->attno < found->attno ||
				 (pin->attno == found->attno && pin->parameter < found->parameter))
		{
			found->attno = pin->attno;
			found->parameter = pin->parameter;
			found->hash_type = pin->hash_type;
			found->value_type = pin->value_type;
			found->opfamily = pin->family;
			found->collation = collation;
		}
	}
	if (found->attno > 0)
		return NULL;
	return reason ? reason : missing_reason(search, level, item, rte->relid);
}

static void
add_keyed(List **keyed, const ScKeyed *found)
{
	ListCell   *lc;
	ScKeyed    *added;

	foreach(lc, *keyed)
	{
		ScKeyed    *known = lfirst(lc);

		if (known->relid == found->relid && known->attno == found->attno && known->parameter == found->parameter)
			return;
	}
	added = palloc(sizeof(ScKeyed));
	*added = *found;
	*keyed = lappend(*keyed, added);
}

/* A relation's scans are looked at together, so that one of several can be told apart. */
typedef struct Scanned
{
	Oid			relid;
	int			nscans;
	const char *reason;			/* of the first that is not keyed, or NULL */
} Scanned;

static Scanned *
scanned(List **relations, Oid relid)
{
	Scanned    *added;
	ListCell   *lc;

	foreach(lc, *relations)
	{
		if (((Scanned *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	}
	added = palloc0(sizeof(Scanned));
	added->relid = relid;
	*relations = lappend(*relations, added);
	return added;
}

static void
look_at_level(Search *search, Level *level, List **relations, List **keyed)
{
	Index		item = 0;
	ListCell   *lc;

	foreach(lc, level->query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		ScKeyed		found = {0};
		const char *reason;
		Scanned    *relation;

		item++;
		/* the rewriter leaves the names of views, of which it reads nothing */
		if (rte->rtekind != RTE_RELATION || rte->relkind == RELKIND_VIEW)
			continue;
		relation = scanned(relations, rte->relid);
		relation->nscans++;
		reason = look_at_scan(search, level, item, rte, &found);
		if (reason == NULL)
			add_keyed(keyed, &found);
		else if (relation->reason == NULL)
			relation->reason = reason;
	}
}

void
sc_keyed_find(List *queries, List **keyed, List **not_keyed)
{
	Search		search = {0};
	List	   *found = NIL;
	List	   *relations = NIL;
	ListCell   *lc;

	(void) find_levels((Node *) queries, &search);
	do
	{
		search.changed = false;
		foreach(lc, search.levels)
		{
			pin_level(&search, lfirst(lc));
		}
	} while (search.changed);

	foreach(lc, search.levels)
	{
		look_at_level(&search, lfirst(lc), &relations, &found);
	}
	foreach(lc, search.by_name)
	{
		switch (get_rel_relkind(lfirst_oid(lc)))
		{
			case RELKIND_RELATION:
			case RELKIND_PARTITIONED_TABLE:
			case RELKIND_MATVIEW:
				scanned(&relations, lfirst_oid(lc))->reason = "a function is given its name and may read all of it";
				break;
			default:
				break;
		}
	}

	/* one that is not keyed in one scan is not keyed at all */
	*keyed = NIL;
	foreach(lc, found)
	{
		ScKeyed    *key = lfirst(lc);

		if (scanned(&relations, key->relid)->reason == NULL)
			*keyed = lappend(*keyed, key);
	}
	*not_keyed = NIL;
	foreach(lc, relations)
	{
		Scanned    *relation = lfirst(lc);
		ScNotKeyed *added;

		if (relation->reason == NULL)
			continue;
		added = palloc(sizeof(ScNotKeyed));
		added->relid = relation->relid;
		added->reason = relation->nscans > 1 ? psprintf("in one of its scans, %s", relation->reason) : relation->reason;
		*not_keyed = lappend(*not_keyed, added);
	}
}
