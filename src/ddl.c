/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  What a command does, as its parse tree says.
 *
 * Looks names up, without locks on what they name, and changes nothing.
 *
 * What no section can read is none of our business: temporary objects.  Each
 * command is judged by its object, before it is executed; what is not known to
 * be temporary counts as permanent.  Permanent objects can use the type of a
 * temporary table, or a function in pg_temp; so whatever something depends on
 * counts as permanent, too.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_database.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "ddl.h"
#include "track.h"

/* Does COPY or TRUNCATE name a tracked table? */
static bool
writes_tracked(Node *parsetree)
{
	List	   *relations = NIL;
	ListCell   *lc;

	if (IsA(parsetree, TruncateStmt))
	{
		/* CASCADE finds more */
		if (((TruncateStmt *) parsetree)->behavior == DROP_CASCADE)
			return true;
		relations = ((TruncateStmt *) parsetree)->relations;
	}
	else if (IsA(parsetree, CopyStmt) && ((CopyStmt *) parsetree)->is_from)
		relations = list_make1(((CopyStmt *) parsetree)->relation);

	foreach(lc, relations)
	{
		Oid			relid = RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock, true);

		if (OidIsValid(relid) && sc_track_is_tracked(relid))
			return true;
	}
	return false;
}

/*-------------------------------------------------------------------------
 * Temporary objects
 *-------------------------------------------------------------------------
 */

/*
 * Does anything depend on an object, other than its own parts, and constraints,
 * which change no result?  Of what depends on a relation only functions count:
 * views over it are temporary, too.
 */
static bool
has_dependents(Oid class, Oid object)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(class));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (!found && (tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		found = form->deptype != DEPENDENCY_INTERNAL && form->classid != ConstraintRelationId &&
			(class != RelationRelationId || form->classid == ProcedureRelationId);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

/* Does anything but its own table use a type, or arrays of it? */
static bool
type_is_used(Oid type)
{
	Oid			array = get_array_type(type);

	return has_dependents(TypeRelationId, type) ||
		(OidIsValid(array) && has_dependents(TypeRelationId, array));
}

/* Can rows of a relation be had without naming it? */
bool
sc_ddl_row_type_is_used(Oid relid)
{
	Oid			type = get_rel_type_id(relid);

	return OidIsValid(type) && type_is_used(type);
}

static bool
is_temporary_schema(const char *schema)
{
	Oid			namespace;

	if (strcmp(schema, "pg_temp") == 0)
		return true;
	namespace = get_namespace_oid(schema, true);
	return OidIsValid(namespace) && isAnyTempNamespace(namespace);
}

/* Is what a command creates temporary, by the schema that it is created in? */
static bool
creates_temporary(const char *schema)
{
	List	   *path;

	if (schema)
		return is_temporary_schema(schema);
	/* the namespace itself cannot be asked for: it might be created for that */
	return SplitIdentifierString(pstrdup(namespace_search_path), ',', &path) &&
		path != NIL && strcmp(linitial(path), "pg_temp") == 0;
}

static bool
creates_temporary_relation(RangeVar *relation)
{
	return relation->relpersistence == RELPERSISTENCE_TEMP || creates_temporary(relation->schemaname);
}

static bool
creates_temporary_object(List *names)
{
	char	   *schema;
	char	   *name;

	DeconstructQualifiedName(names, &schema, &name);
	return creates_temporary(schema);
}

static bool
is_temporary_relation(RangeVar *relation)
{
	Oid			relid = relation ? RangeVarGetRelid(relation, NoLock, true) : InvalidOid;

	return OidIsValid(relid) && get_rel_persistence(relid) == RELPERSISTENCE_TEMP &&
		!has_dependents(RelationRelationId, relid) && !sc_ddl_row_type_is_used(relid);
}

static bool
is_temporary_type(TypeName *name)
{
	Oid			typeid = LookupTypeNameOid(NULL, name, true);
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typeid));
	bool		temporary;

	if (!HeapTupleIsValid(tuple))
		return false;
	temporary = isAnyTempNamespace(((Form_pg_type) GETSTRUCT(tuple))->typnamespace);
	ReleaseSysCache(tuple);
	return temporary && !type_is_used(typeid);
}

/*
 * Functions of a temporary schema are only found if it is named.  All of that
 * name are looked at: which one is meant the command itself finds out.
 */
static bool
is_temporary_function(List *names)
{
	CatCList   *list;
	char	   *schema;
	char	   *name;
	bool		used = false;

	DeconstructQualifiedName(names, &schema, &name);
	if (schema == NULL || !is_temporary_schema(schema))
		return false;
	list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		used = used || (isAnyTempNamespace(form->pronamespace) &&
						has_dependents(ProcedureRelationId, form->oid));
	}
	ReleaseSysCacheList(list);
	return !used;
}

/* A function that is created may replace one that something depends on. */
static bool
creates_temporary_function(List *names)
{
	char	   *schema;
	char	   *name;

	DeconstructQualifiedName(names, &schema, &name);
	return creates_temporary(schema) &&
		is_temporary_function(list_make2(makeString(pstrdup("pg_temp")), makeString(name)));
}

/* The object of a command, as DROP, GRANT, RENAME and OWNER TO have it. */
static bool
is_temporary_object(ObjectType type, RangeVar *relation, Node *object)
{
	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_VIEW:
		case OBJECT_INDEX:
		case OBJECT_SEQUENCE:
		case OBJECT_COLUMN:
		case OBJECT_ATTRIBUTE:
		case OBJECT_RULE:
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
		case OBJECT_TABCONSTRAINT:
			return is_temporary_relation(relation);
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
			return is_temporary_type(IsA(object, TypeName) ? (TypeName *) object :
									 makeTypeNameFromNameList(castNode(List, object)));
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
			return is_temporary_function(castNode(ObjectWithArgs, object)->objname);
		default:
			return false;
	}
}

/* Does a command drop temporary objects only? */
static bool
drops_temporary(DropStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		Node	   *object = lfirst(lc);
		RangeVar   *relation = NULL;

		switch (stmt->removeType)
		{
			case OBJECT_TABLE:
			case OBJECT_VIEW:
			case OBJECT_INDEX:
			case OBJECT_SEQUENCE:
				relation = makeRangeVarFromNameList((List *) object);
				/* one that is not there is not dropped */
				if (!OidIsValid(RangeVarGetRelid(relation, NoLock, true)))
					continue;
				break;
			case OBJECT_RULE:
			case OBJECT_TRIGGER:
			case OBJECT_POLICY:
				/* the last name is its own */
				if (list_length((List *) object) < 2)
					return false;
				relation = makeRangeVarFromNameList(list_truncate(list_copy((List *) object),
																  list_length((List *) object) - 1));
				break;
			default:
				break;
		}
		if (!is_temporary_object(stmt->removeType, relation, object))
			return false;
	}
	return true;
}

/* Does a command grant, or revoke, rights on temporary objects only? */
static bool
grants_on_temporary(GrantStmt * stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->objects)
	{
		Node	   *object = lfirst(lc);

		if (stmt->targtype == ACL_TARGET_ALL_IN_SCHEMA)
		{
			if (!is_temporary_schema(strVal(object)))
				return false;
		}
		else if (stmt->targtype != ACL_TARGET_OBJECT ||
				 !is_temporary_object(stmt->objtype, IsA(object, RangeVar) ? (RangeVar *) object : NULL, object))
			return false;
	}
	return stmt->objects != NIL;
}

/* What the relations are named that a query as it was parsed reads. */
typedef struct ReadNames
{
	List	   *relations;		/* of RangeVar */
	List	   *ctes;			/* names of WITH queries, of char * */
} ReadNames;

static bool
collect_names(Node *node, void *context)
{
	ReadNames  *names = context;

	if (node == NULL)
		return false;
	check_stack_depth();
	if (IsA(node, LockingClause))
		return false;			/* what it names is in FROM */
	if (IsA(node, RangeVar))
		names->relations = lappend(names->relations, node);
	if (IsA(node, CommonTableExpr))
		names->ctes = lappend(names->ctes, ((CommonTableExpr *) node)->ctename);
	return raw_expression_tree_walker(node, collect_names, context);
}

/*
 * Is a view temporary?  It becomes so by itself if it reads a temporary
 * relation.  A name that a WITH query has anywhere in it decides nothing.
 */
static bool
creates_temporary_view(ViewStmt *stmt)
{
	ReadNames	names = {NIL, NIL};
	ListCell   *lc;

	if (creates_temporary_relation(stmt->view))
		return true;
	(void) collect_names(stmt->query, &names);
	foreach(lc, names.relations)
	{
		RangeVar   *relation = lfirst(lc);
		ListCell   *lc2;
		bool		is_cte = false;
		Oid			relid;

		foreach(lc2, names.ctes)
		{
			is_cte = is_cte || (relation->schemaname == NULL &&
								strcmp(relation->relname, lfirst(lc2)) == 0);
		}
		if (is_cte)
			continue;
		relid = RangeVarGetRelid(relation, NoLock, true);
		if (OidIsValid(relid) && get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
			return true;
	}
	return false;
}

/*
 * Is the object of a command temporary?  Then no section can read it.  A
 * temporary table may inherit from a source: its own session reads that source
 * privately then (see track.c), and no other session ever reads its rows.
 */
static bool
is_temporary(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
		case T_CreateStmt:
			return creates_temporary_relation(((CreateStmt *) parsetree)->relation);
		case T_CreateTableAsStmt:
			return creates_temporary_relation(((CreateTableAsStmt *) parsetree)->into->rel);
		case T_ViewStmt:
			return creates_temporary_view((ViewStmt *) parsetree);
		case T_CreateSeqStmt:
			return creates_temporary_relation(((CreateSeqStmt *) parsetree)->sequence);
		case T_CompositeTypeStmt:
			return creates_temporary_relation(((CompositeTypeStmt *) parsetree)->typevar);
		case T_CreateEnumStmt:
			return creates_temporary_object(((CreateEnumStmt *) parsetree)->typeName);
		case T_CreateRangeStmt:
			return creates_temporary_object(((CreateRangeStmt *) parsetree)->typeName);
		case T_CreateDomainStmt:
			return creates_temporary_object(((CreateDomainStmt *) parsetree)->domainname);
		case T_CreateFunctionStmt:
			return creates_temporary_function(((CreateFunctionStmt *) parsetree)->funcname);
		case T_DefineStmt:
			if (((DefineStmt *) parsetree)->kind == OBJECT_AGGREGATE)
				return creates_temporary_function(((DefineStmt *) parsetree)->defnames);
			return creates_temporary_object(((DefineStmt *) parsetree)->defnames);

		case T_AlterTableStmt:
			return is_temporary_relation(((AlterTableStmt *) parsetree)->relation);
		case T_AlterSeqStmt:
			return is_temporary_relation(((AlterSeqStmt *) parsetree)->sequence);
		case T_CreateTrigStmt:
			return is_temporary_relation(((CreateTrigStmt *) parsetree)->relation);
		case T_RuleStmt:
			return is_temporary_relation(((RuleStmt *) parsetree)->relation);
		case T_CreatePolicyStmt:
			return is_temporary_relation(((CreatePolicyStmt *) parsetree)->table);
		case T_AlterPolicyStmt:
			return is_temporary_relation(((AlterPolicyStmt *) parsetree)->table);
		case T_AlterEnumStmt:
			return is_temporary_type(makeTypeNameFromNameList(((AlterEnumStmt *) parsetree)->typeName));
		case T_AlterDomainStmt:
			return is_temporary_type(makeTypeNameFromNameList(((AlterDomainStmt *) parsetree)->typeName));
		case T_AlterTypeStmt:
			return is_temporary_type(makeTypeNameFromNameList(((AlterTypeStmt *) parsetree)->typeName));
		case T_AlterFunctionStmt:
			return is_temporary_function(((AlterFunctionStmt *) parsetree)->func->objname);

		case T_DropStmt:
			return drops_temporary((DropStmt *) parsetree);
		case T_GrantStmt:
			return grants_on_temporary((GrantStmt *) parsetree);
		case T_RenameStmt:
			return is_temporary_object(((RenameStmt *) parsetree)->renameType,
									   ((RenameStmt *) parsetree)->relation,
									   ((RenameStmt *) parsetree)->object);
		case T_AlterOwnerStmt:
			return is_temporary_object(((AlterOwnerStmt *) parsetree)->objectType,
									   ((AlterOwnerStmt *) parsetree)->relation,
									   ((AlterOwnerStmt *) parsetree)->object);
		default:
			return false;
	}
}

/*-------------------------------------------------------------------------
 * What a command does
 *-------------------------------------------------------------------------
 */

/* A catalog that is written as if it were a table: that is DDL. */
ScDdlScope
sc_ddl_scope_of_write(Oid relid)
{
	if (!OidIsValid(relid) || !IsCatalogRelationOid(relid))
		return SC_DDL_NONE;
	return IsSharedRelation(relid) ? SC_DDL_CLUSTER : SC_DDL_DATABASE;
}

static ScDdlScope
scope_of_writes(List *relations)
{
	ScDdlScope	scope = SC_DDL_NONE;
	ListCell   *lc;

	foreach(lc, relations)
	{
		scope = Max(scope, sc_ddl_scope_of_write(RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock, true)));
	}
	return scope;
}

/*
 * Does a command change only how a role logs in?  Any role may give itself a
 * password at any time.
 */
static bool
changes_login(AlterRoleStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->options)
	{
		const char *name = lfirst_node(DefElem, lc)->defname;

		if (strcmp(name, "password") != 0 && strcmp(name, "validUntil") != 0 &&
			strcmp(name, "connectionlimit") != 0)
			return false;
	}
	return true;
}

/*-------------------------------------------------------------------------
 * What changes names only
 *
 * The queries of sections are analysed again after such a command.  So it may
 * create and drop, rename and redefine what a text can name, and give and take
 * rights.  What it must not change is what is behind an oid that stays, and of
 * which the meaning of a closed query says nothing: functions, types other than those
 * of rows, operators and casts, and, of tracked tables, everything.
 * The last is found out by their locks (track.c).  CASCADE may reach anything.
 *-------------------------------------------------------------------------
 */

static bool
drops_names(DropStmt *stmt)
{
	if (stmt->behavior == DROP_CASCADE || stmt->concurrent)
		return false;
	switch (stmt->removeType)
	{
		case OBJECT_TABLE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_SEQUENCE:
		case OBJECT_INDEX:
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_TRIGGER:
		case OBJECT_RULE:
		case OBJECT_POLICY:
			return true;
		default:
			return false;
	}
}

/* The right to use a schema decides at run time, too, how names are found and shown. */
static bool
grants_names(GrantStmt * stmt)
{
	return (stmt->objtype == OBJECT_TABLE || stmt->objtype == OBJECT_SEQUENCE) &&
		stmt->targtype != ACL_TARGET_DEFAULTS;
}

/* CONCURRENTLY commits halfway, when what was locked is not looked at yet. */
static bool
alters_names(AlterTableStmt *stmt)
{
	ListCell   *lc;

	switch (stmt->objtype)
	{
		case OBJECT_TABLE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_SEQUENCE:
		case OBJECT_INDEX:
			break;
		default:
			return false;
	}
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->behavior == DROP_CASCADE || cmd->subtype == AT_DetachPartitionFinalize ||
			(cmd->subtype == AT_DetachPartition && castNode(PartitionCmd, cmd->def)->concurrent))
			return false;
	}
	return true;
}

/* The object of RENAME, OWNER TO and SET SCHEMA. */
static bool
is_name_only(ObjectType type)
{
	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_SEQUENCE:
		case OBJECT_INDEX:
		case OBJECT_COLUMN:
		case OBJECT_TRIGGER:
		case OBJECT_RULE:
		case OBJECT_POLICY:
		case OBJECT_TABCONSTRAINT:
			return true;
		default:
			return false;
	}
}

static bool
changes_names_only(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
		case T_CreateSchemaStmt:
		case T_CreateStmt:
		case T_CreateTableAsStmt:
		case T_RefreshMatViewStmt:
		case T_ViewStmt:
		case T_CreateSeqStmt:
		case T_AlterSeqStmt:
		case T_RuleStmt:
		case T_CreatePolicyStmt:
		case T_AlterPolicyStmt:
			return true;
		case T_CreateFunctionStmt:
			return !((CreateFunctionStmt *) parsetree)->replace;
		case T_CreateTrigStmt:
			/* one of ours makes a table tracked */
			return strncmp(strVal(llast(((CreateTrigStmt *) parsetree)->funcname)), SC_NAME, strlen(SC_NAME)) != 0;
		case T_AlterTableStmt:
			return alters_names((AlterTableStmt *) parsetree);
		case T_DropStmt:
			return drops_names((DropStmt *) parsetree);
		case T_GrantStmt:
			return grants_names((GrantStmt *) parsetree);
		case T_RenameStmt:
			return ((RenameStmt *) parsetree)->behavior != DROP_CASCADE &&
				is_name_only(((RenameStmt *) parsetree)->renameType);
		case T_AlterOwnerStmt:
			return is_name_only(((AlterOwnerStmt *) parsetree)->objectType);
		case T_AlterObjectSchemaStmt:
			return is_name_only(((AlterObjectSchemaStmt *) parsetree)->objectType);
		default:
			return false;
	}
}

/* What does a command change that is DDL of this database? */
static ScDdlScope
database_scope(Node *parsetree)
{
	if (is_temporary(parsetree))
		return SC_DDL_NONE;
	return changes_names_only(parsetree) ? SC_DDL_NAMES : SC_DDL_DATABASE;
}

/* What may this command change the result of? */
static ScDdlScope
ddl_scope(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
			/* no definition of anything that a query reads */
		case T_TransactionStmt:
		case T_DeclareCursorStmt:
		case T_ClosePortalStmt:
		case T_FetchStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_DeallocateStmt:
		case T_NotifyStmt:
		case T_ListenStmt:
		case T_UnlistenStmt:
		case T_LoadStmt:
		case T_CallStmt:
		case T_DoStmt:
	SC_CASE_HARMLESS:
		case T_VacuumStmt:
		case T_ReindexStmt:
		case T_IndexStmt:
		case T_CheckPointStmt:
		case T_DiscardStmt:
		case T_VariableSetStmt:
		case T_VariableShowStmt:
		case T_AlterSystemStmt:
		case T_LockStmt:
		case T_ConstraintsSetStmt:
		case T_CommentStmt:
		case T_SecLabelStmt:
		case T_CreateStatsStmt:
		case T_AlterStatsStmt:
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
			/* settings of a role or database count in sessions that begin */
		case T_AlterDatabaseSetStmt:
		case T_AlterRoleSetStmt:
			/* counts for what is created later */
		case T_AlterDefaultPrivilegesStmt:
		case T_CreateTableSpaceStmt:
		case T_DropTableSpaceStmt:
		case T_AlterTableSpaceOptionsStmt:
		case T_AlterTableMoveAllStmt:
		case T_CreatePublicationStmt:
		case T_AlterPublicationStmt:
		case T_CreateSubscriptionStmt:
		case T_AlterSubscriptionStmt:
		case T_DropSubscriptionStmt:
		case T_CreateEventTrigStmt:
		case T_AlterEventTrigStmt:
			return SC_DDL_NONE;

			/* with ANALYZE it may create a table */
		case T_ExplainStmt:
			return ((ExplainStmt *) parsetree)->query &&
				IsA(((ExplainStmt *) parsetree)->query, Query) &&
				castNode(Query, ((ExplainStmt *) parsetree)->query)->commandType == CMD_UTILITY ?
				SC_DDL_DATABASE : SC_DDL_NONE;

			/* roles decide what an owner may read */
		case T_CreateRoleStmt:
		case T_DropRoleStmt:
		case T_GrantRoleStmt:
			return SC_DDL_CLUSTER;
		case T_AlterRoleStmt:
			return changes_login((AlterRoleStmt *) parsetree) ? SC_DDL_NONE : SC_DDL_CLUSTER;
		case T_DropOwnedStmt:
			return SC_DROP_OWNED_REVOKES_ROLES ? SC_DDL_CLUSTER : SC_DDL_DATABASE;

			/* the owner of a database is a member of a role there */
		case T_AlterOwnerStmt:
			if (((AlterOwnerStmt *) parsetree)->objectType == OBJECT_DATABASE)
				return SC_DDL_CLUSTER;
			return database_scope(parsetree);

			/* a superuser may write catalogs so */
		case T_CopyStmt:
			return ((CopyStmt *) parsetree)->is_from ?
				scope_of_writes(list_make1(((CopyStmt *) parsetree)->relation)) : SC_DDL_NONE;
		case T_TruncateStmt:
			return scope_of_writes(((TruncateStmt *) parsetree)->relations);

		case T_RenameStmt:
			if (((RenameStmt *) parsetree)->renameType == OBJECT_DATABASE)
				return SC_DDL_NONE;
			if (((RenameStmt *) parsetree)->renameType == OBJECT_ROLE)
				return SC_DDL_CLUSTER;
			return database_scope(parsetree);

		default:
			return database_scope(parsetree);
	}
}

/*
 * REASSIGN OWNED gives databases away, too.  Asked when it is done: before, the
 * role that gives may still get one.
 */
ScDdlScope
sc_ddl_scope_of_reassign(Node *parsetree)
{
	Oid			owner = get_rolespec_oid(((ReassignOwnedStmt *) parsetree)->newrole, true);
	Relation	database;
	SysScanDesc scan;
	ScanKeyData key;
	bool		owns;

	CommandCounterIncrement();
	database = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_datdba, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(owner));
	scan = systable_beginscan(database, InvalidOid, false, NULL, 1, &key);
	owns = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(database, AccessShareLock);
	return owns ? SC_DDL_CLUSTER : SC_DDL_DATABASE;
}

static bool
may_create_databases(void)
{
	HeapTuple	role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		may = superuser();

	if (HeapTupleIsValid(role))
	{
		may = may || ((Form_pg_authid) GETSTRUCT(role))->rolcreatedb;
		ReleaseSysCache(role);
	}
	return may;
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		template = HeapTupleIsValid(tuple) && ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return template;
}

/*
 * May the current user copy, remove, move or rename a database, as the server
 * will ask?
 */
static bool
may_have_it_left(Node *parsetree, Oid database)
{
	if (IsA(parsetree, CreatedbStmt))
		return may_create_databases() && (SC_OWNS_DATABASE(database) || is_template(database));
	return SC_OWNS_DATABASE(database) && (!IsA(parsetree, RenameStmt) || may_create_databases());
}

/*
 * The database that a command copies or removes, so that our worker there
 * must leave; InvalidOid if it is not such a command.
 */
static Oid
database_to_leave(Node *parsetree)
{
	const char *name = NULL;
	Oid			database;
	ListCell   *lc;

	switch (nodeTag(parsetree))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) parsetree)->dbname;
			break;
		case T_CreatedbStmt:
			name = "template1";
			foreach(lc, ((CreatedbStmt *) parsetree)->options)
			{
				DefElem    *option = lfirst(lc);

				if (strcmp(option->defname, "template") == 0 && option->arg)
					name = defGetString(option);
			}
			break;
		case T_AlterDatabaseStmt:
			foreach(lc, ((AlterDatabaseStmt *) parsetree)->options)
			{
				if (strcmp(((DefElem *) lfirst(lc))->defname, "tablespace") == 0)
					name = ((AlterDatabaseStmt *) parsetree)->dbname;
			}
			break;
		case T_RenameStmt:
			if (((RenameStmt *) parsetree)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) parsetree)->subname;
			break;
		default:
			break;
	}
	if (name == NULL)
		return InvalidOid;
	database = get_database_oid(name, true);

	/* a role that may not do it shall not send our worker away either */
	return OidIsValid(database) && may_have_it_left(parsetree, database) ? database : InvalidOid;
}

/* Does a command rename or move what a query may name? */
static bool
renames(Node *parsetree)
{
	if (IsA(parsetree, AlterObjectSchemaStmt))
		return true;
	if (IsA(parsetree, AlterEnumStmt))
		return ((AlterEnumStmt *) parsetree)->oldVal != NULL;
	if (!IsA(parsetree, RenameStmt))
		return false;
	switch (((RenameStmt *) parsetree)->renameType)
	{
		case OBJECT_SCHEMA:
		case OBJECT_TABLE:
		case OBJECT_INDEX:		/* ALTER INDEX renames tables as well */
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_FOREIGN_TABLE:
		case OBJECT_SEQUENCE:
		case OBJECT_COLUMN:
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
		case OBJECT_ATTRIBUTE:
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
		case OBJECT_COLLATION:
		case OBJECT_TSCONFIGURATION:
		case OBJECT_TSDICTIONARY:
			return true;
		default:
			return false;
	}
}

/*
 * A subcommand of ALTER TABLE.  A query may need a table's key for its GROUP BY, and
 * a new column can make a name ambiguous.
 */
bool
sc_ddl_may_break_column(const AlterTableCmd *cmd)
{
	return cmd->subtype == AT_DropColumn || cmd->subtype == AT_AlterColumnType ||
		cmd->subtype == AT_DropConstraint || cmd->subtype == AT_AddColumn;
}

bool
sc_ddl_may_break(Node *parsetree)
{
	ListCell   *lc;

	if (IsA(parsetree, DropOwnedStmt))
		return true;
	if (IsA(parsetree, AlterTableStmt))
		foreach(lc, ((AlterTableStmt *) parsetree)->cmds)
	{
		if (sc_ddl_may_break_column(lfirst_node(AlterTableCmd, lc)))
			return true;
	}
	if (!IsA(parsetree, DropStmt))
		return false;
	switch (((DropStmt *) parsetree)->removeType)
	{
		case OBJECT_TABLE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_FOREIGN_TABLE:
		case OBJECT_SEQUENCE:
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
		case OBJECT_OPERATOR:
		case OBJECT_COLLATION:
		case OBJECT_TSCONFIGURATION:
		case OBJECT_TSDICTIONARY:
		case OBJECT_SCHEMA:
		case OBJECT_EXTENSION:
			return true;
		default:
			return false;
	}
}

/* The schema that a command gave a new name, or moved a table to; or NULL. */
static char *
schema_moved_to(Node *parsetree)
{
	if (IsA(parsetree, RenameStmt) && ((RenameStmt *) parsetree)->renameType == OBJECT_SCHEMA)
		return ((RenameStmt *) parsetree)->newname;
	if (IsA(parsetree, AlterObjectSchemaStmt) &&
		((AlterObjectSchemaStmt *) parsetree)->objectType == OBJECT_TABLE)
		return ((AlterObjectSchemaStmt *) parsetree)->newschema;
	return NULL;
}

/* The subscription that a command may add tables to; or NULL. */
static const char *
subscription_of(Node *parsetree)
{
	if (IsA(parsetree, CreateSubscriptionStmt))
		return ((CreateSubscriptionStmt *) parsetree)->subname;
	if (IsA(parsetree, AlterSubscriptionStmt))
		return ((AlterSubscriptionStmt *) parsetree)->subname;
	return NULL;
}

void
sc_ddl_effect(Node *parsetree, ScDdlEffect *effect)
{
	NodeTag		tag = nodeTag(parsetree);

	memset(effect, 0, sizeof(*effect));
	effect->scope = ddl_scope(parsetree);
	if (tag == T_TransactionStmt)
	{
		TransactionStmtKind kind = ((TransactionStmt *) parsetree)->kind;

		effect->finishes_prepared = kind == TRANS_STMT_COMMIT_PREPARED ||
			kind == TRANS_STMT_ROLLBACK_PREPARED;
		effect->commits = kind == TRANS_STMT_COMMIT;
		return;
	}
	effect->writes_untracked = writes_tracked(parsetree);
	effect->listens = tag == T_ListenStmt &&
		strcmp(((ListenStmt *) parsetree)->conditionname, SC_NAME) == 0;
	effect->subscription = subscription_of(parsetree);
	if (effect->scope == SC_DDL_NONE || tag == T_RenameStmt)
		effect->database = database_to_leave(parsetree);
	effect->drops_database = tag == T_DropdbStmt && OidIsValid(effect->database);
	effect->renames_database = tag == T_RenameStmt && OidIsValid(effect->database);
	if (effect->scope == SC_DDL_NONE)
		return;

	effect->renames = renames(parsetree);
	effect->may_break = sc_ddl_may_break(parsetree);
	effect->schema = schema_moved_to(parsetree);
	effect->may_join_trees = (tag == T_CreateStmt &&
							  !creates_temporary_relation(((CreateStmt *) parsetree)->relation)) ||
		(tag == T_AlterTableStmt && !is_temporary_relation(((AlterTableStmt *) parsetree)->relation));
	effect->may_drop_extension = tag == T_DropStmt || tag == T_DropOwnedStmt;
}
