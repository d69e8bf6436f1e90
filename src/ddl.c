/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  What a command does, as its parse tree says.
 *
 * Looks names up, without locks, and changes nothing.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

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

/*
 * Is a relation that a command names temporary, or will it be?  No section can
 * read a temporary relation.
 */
static bool
is_temporary(RangeVar *relation, bool creates)
{
	Oid			oid;

	if (relation == NULL)
		return false;
	if (relation->relpersistence == RELPERSISTENCE_TEMP)
		return true;
	if (creates)
		return relation->schemaname != NULL &&
			(strcmp(relation->schemaname, "pg_temp") == 0 ||
			 (OidIsValid(oid = get_namespace_oid(relation->schemaname, true)) && isTempNamespace(oid)));
	oid = RangeVarGetRelid(relation, NoLock, true);
	return OidIsValid(oid) && get_rel_persistence(oid) == RELPERSISTENCE_TEMP;
}

/* Does a command name temporary relations only? */
static bool
all_temporary(DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_TABLE && stmt->removeType != OBJECT_VIEW &&
		stmt->removeType != OBJECT_INDEX && stmt->removeType != OBJECT_SEQUENCE)
		return false;
	foreach(lc, stmt->objects)
	{
		RangeVar   *name = makeRangeVarFromNameList((List *) lfirst(lc));
		Oid			relid = RangeVarGetRelid(name, NoLock, true);

		if (OidIsValid(relid) && get_rel_persistence(relid) != RELPERSISTENCE_TEMP)
			return false;
	}
	return true;
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
		case T_CopyStmt:
		case T_TruncateStmt:
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
		case T_AlterDatabaseSetStmt:
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
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
		case T_DropRoleStmt:
		case T_GrantRoleStmt:
		case T_DropOwnedStmt:
		case T_ReassignOwnedStmt:
			return SC_DDL_CLUSTER;

			/* temporary relations are never read by a section */
		case T_CreateStmt:
			return is_temporary(((CreateStmt *) parsetree)->relation, true) ? SC_DDL_NONE : SC_DDL_DATABASE;
		case T_CreateTableAsStmt:
			return is_temporary(((CreateTableAsStmt *) parsetree)->into->rel, true) ?
				SC_DDL_NONE : SC_DDL_DATABASE;
		case T_ViewStmt:
			return is_temporary(((ViewStmt *) parsetree)->view, true) ? SC_DDL_NONE : SC_DDL_DATABASE;
		case T_CreateSeqStmt:
			return is_temporary(((CreateSeqStmt *) parsetree)->sequence, true) ?
				SC_DDL_NONE : SC_DDL_DATABASE;
		case T_AlterTableStmt:
			return is_temporary(((AlterTableStmt *) parsetree)->relation, false) ?
				SC_DDL_NONE : SC_DDL_DATABASE;
		case T_DropStmt:
			return all_temporary((DropStmt *) parsetree) ? SC_DDL_NONE : SC_DDL_DATABASE;
		case T_RenameStmt:
			if (((RenameStmt *) parsetree)->renameType == OBJECT_DATABASE)
				return SC_DDL_NONE;
			if (is_temporary(((RenameStmt *) parsetree)->relation, false))
				return SC_DDL_NONE;
			return ((RenameStmt *) parsetree)->renameType == OBJECT_ROLE ?
				SC_DDL_CLUSTER : SC_DDL_DATABASE;

		default:
			return SC_DDL_DATABASE;
	}
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
	if (!OidIsValid(database) || (nodeTag(parsetree) == T_CreatedbStmt ?
								  !may_create_databases() : !SC_OWNS_DATABASE(database)))
		return InvalidOid;
	return database;
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
	if (effect->scope == SC_DDL_NONE || tag == T_RenameStmt)
		effect->database = database_to_leave(parsetree);
	effect->drops_database = tag == T_DropdbStmt && OidIsValid(effect->database);
	if (effect->scope == SC_DDL_NONE)
		return;

	effect->renames = renames(parsetree);
	effect->schema = schema_moved_to(parsetree);
	effect->may_join_trees = tag == T_CreateStmt || tag == T_AlterTableStmt;
	effect->may_drop_extension = tag == T_DropStmt || tag == T_DropOwnedStmt;
}
