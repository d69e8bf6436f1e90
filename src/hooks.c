/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  Writes and DDL as the server executes them.
 *
 * Triggers alone are not enough.  A data-modifying plan writes from its start:
 * a user's row trigger may read the summary in the middle of it, and a plan
 * that is stopped early (SPI with a row count and RETURNING) never fires its
 * statement triggers.  So ExecutorStart marks what a plan may write.
 *
 * DDL has no triggers at all.  It marks the catch-all word of the database,
 * before it is executed and once more after, since some commands commit in
 * between.  What cannot change the result of any query is left out.
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
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/user.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "summary_cache.h"

static ExecutorStart_hook_type prev_ExecutorStart;
static ProcessUtility_hook_type prev_ProcessUtility;

typedef enum DdlScope
{
	DDL_NONE,
	DDL_DATABASE,
	DDL_CLUSTER
} DdlScope;

static void
executor_start(QueryDesc *queryDesc, int eflags)
{
	if (prev_ExecutorStart)
		prev_ExecutorStart(queryDesc, eflags);
	else
		standard_ExecutorStart(queryDesc, eflags);

	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
	{
		ResultRelInfo **results = queryDesc->estate->es_result_relations;

		SC_FOREACH_RESULT(index, queryDesc->plannedstmt)
			sc_track_plan(rt_fetch(index, queryDesc->plannedstmt->rtable)->relid,
						  results && results[index - 1] ? results[index - 1]->ri_TrigDesc : NULL);
	}
}

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
 * Is a relation that a command names temporary, or to be created so?  No
 * section can read such a one.
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
static DdlScope
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
			return DDL_NONE;

			/* with ANALYZE it may create a table */
		case T_ExplainStmt:
			return ((ExplainStmt *) parsetree)->query &&
				IsA(((ExplainStmt *) parsetree)->query, Query) &&
				castNode(Query, ((ExplainStmt *) parsetree)->query)->commandType == CMD_UTILITY ?
				DDL_DATABASE : DDL_NONE;

			/* roles decide what an owner may read */
		case T_CreateRoleStmt:
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
		case T_DropRoleStmt:
		case T_GrantRoleStmt:
		case T_DropOwnedStmt:
		case T_ReassignOwnedStmt:
			return DDL_CLUSTER;

			/* temporary relations are never read by a section */
		case T_CreateStmt:
			return is_temporary(((CreateStmt *) parsetree)->relation, true) ? DDL_NONE : DDL_DATABASE;
		case T_CreateTableAsStmt:
			return is_temporary(((CreateTableAsStmt *) parsetree)->into->rel, true) ?
				DDL_NONE : DDL_DATABASE;
		case T_ViewStmt:
			return is_temporary(((ViewStmt *) parsetree)->view, true) ? DDL_NONE : DDL_DATABASE;
		case T_CreateSeqStmt:
			return is_temporary(((CreateSeqStmt *) parsetree)->sequence, true) ?
				DDL_NONE : DDL_DATABASE;
		case T_AlterTableStmt:
			return is_temporary(((AlterTableStmt *) parsetree)->relation, false) ?
				DDL_NONE : DDL_DATABASE;
		case T_DropStmt:
			return all_temporary((DropStmt *) parsetree) ? DDL_NONE : DDL_DATABASE;
		case T_RenameStmt:
			if (((RenameStmt *) parsetree)->renameType == OBJECT_DATABASE)
				return DDL_NONE;
			if (is_temporary(((RenameStmt *) parsetree)->relation, false))
				return DDL_NONE;
			return ((RenameStmt *) parsetree)->renameType == OBJECT_ROLE ?
				DDL_CLUSTER : DDL_DATABASE;

		default:
			return DDL_DATABASE;
	}
}

/* Is anything of this database cached, or could it be? */
static bool
database_concerned(void)
{
	return sc_slot_find(SC_KEY(MyDatabaseId, InvalidOid), false) != SC_SLOT_NONE ||
		OidIsValid(get_extension_oid(SC_NAME, true));
}

static void
mark_ddl(DdlScope scope)
{
	if (scope == DDL_CLUSTER)
		sc_mark_cluster();
	else if (scope == DDL_DATABASE && IsTransactionState() && database_concerned())
		sc_mark_catch_all();
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
				if (strcmp(((DefElem *) lfirst(lc))->defname, "tablespace") == 0)
					name = ((AlterDatabaseStmt *) parsetree)->dbname;
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

	/* who may not do it shall not send our worker away either */
	if (!OidIsValid(database) || (nodeTag(parsetree) == T_CreatedbStmt ?
								  !may_create_databases() : !SC_OWNS_DATABASE(database)))
		return InvalidOid;
	return database;
}

/* The transaction whose COMMIT has been executed, and is carried out next. */
static LocalTransactionId ending_lxid = InvalidLocalTransactionId;

/*
 * Is the transaction block at its COMMIT?  What runs then, the queries of
 * cursors WITH HOLD, may not roll back a subtransaction.
 */
bool
sc_xact_is_ending(void)
{
	return LocalTransactionIdIsValid(ending_lxid) && ending_lxid == SC_MY_LXID;
}

/*
 * Run something of ours after a user's DDL, which must not fail for it: an
 * error becomes a warning.
 */
static void
try_after_ddl(void (*action) (void *arg), void *arg, const char *failure, const char *hint)
{
	ErrorData  *error;

	/* in a cursor's function, at a COMMIT: no subtransaction can be rolled back */
	if (sc_xact_is_ending())
	{
		action(arg);
		return;
	}
	error = sc_in_subtransaction(action, arg, true);
	if (error == NULL)
		return;
	/* a cancelled command is cancelled */
	if (sc_is_cancel(error))
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("%s: %s", failure, error->message),
			 errhint("%s", hint)));
}

typedef struct TableAction
{
	void		(*action) (Oid relid);
	Oid			relid;
} TableAction;

static void
run_on_table(void *arg)
{
	((TableAction *) arg)->action(((TableAction *) arg)->relid);
}

static void
try_on_table(Oid relid, void (*action) (Oid relid))
{
	TableAction table = {action, relid};

	try_after_ddl(run_on_table, &table,
				  psprintf("could not track table \"%s\"", get_rel_name(relid)),
				  "Summaries over it are not current until summary_cache_define() is called again.");
}

/*
 * A table that the command made a member of a tree is the current user's.  One
 * that is not, CREATE TABLE IF NOT EXISTS has found there and left alone.
 */
static bool
may_have_joined(Oid child)
{
	return OidIsValid(child) && SC_OWNS_RELATION(child);
}

/*
 * A table joined a tracked tree, or somebody's ENABLE TRIGGER ALL (which
 * pg_restore --disable-triggers ends with) made our triggers ordinary ones:
 * put ours on, as they should be.
 */
static void
repair_triggers(Node *parsetree)
{
	ListCell   *lc;

	if (IsA(parsetree, CreateStmt))
	{
		CreateStmt *stmt = (CreateStmt *) parsetree;

		foreach(lc, stmt->inhRelations)
		{
			Oid			parent = RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock, true);

			if (OidIsValid(parent) && sc_track_is_tracked(parent))
			{
				Oid			child = RangeVarGetRelid(stmt->relation, NoLock, true);

				if (may_have_joined(child))
					try_on_table(child, sc_track_attach_members);
				return;
			}
		}
	}
	else if (IsA(parsetree, AlterTableStmt))
	{
		AlterTableStmt *stmt = (AlterTableStmt *) parsetree;
		Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, true);

		if (stmt->objtype != OBJECT_TABLE || !OidIsValid(relid))
			return;
		foreach(lc, stmt->cmds)
		{
			AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
			RangeVar   *parent = NULL;
			Oid			child = InvalidOid;

			switch (cmd->subtype)
			{
				case AT_EnableTrig:
				case AT_EnableTrigAll:
				case AT_EnableTrigUser:
					if (sc_track_is_tracked(relid))
						try_on_table(relid, sc_track_restore_firing);
					break;
				case AT_AttachPartition:
					parent = stmt->relation;
					child = RangeVarGetRelid(((PartitionCmd *) cmd->def)->name, NoLock, true);
					break;
				case AT_AddInherit:
					parent = (RangeVar *) cmd->def;
					child = relid;
					break;
				default:
					break;
			}
			if (may_have_joined(child) &&
				sc_track_is_tracked(RangeVarGetRelid(parent, NoLock, false)))
				try_on_table(child, sc_track_attach_members);
		}
	}
}

static void
follow_hub(void *arg)
{
	sc_hub_follow(arg);
}

static void
drop_owned(void *arg)
{
	sc_give_sections(roleSpecsToIds(((DropOwnedStmt *) arg)->roles), InvalidOid);
}

static void
reassign_owned(void *arg)
{
	ReassignOwnedStmt *stmt = arg;

	sc_give_sections(roleSpecsToIds(stmt->roles), get_rolespec_oid(stmt->newrole, false));
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

/*
 * What holds for PostgreSQL's own objects is to hold for sections: they follow
 * what is renamed or moved, and go with what else their owner has in this
 * database.
 */
static void
sections_after_ddl(Node *parsetree, List *followers)
{
	char	   *schema = schema_moved_to(parsetree);

	if (schema == NULL && followers == NIL && !IsA(parsetree, DropOwnedStmt) &&
		!IsA(parsetree, ReassignOwnedStmt))
		return;
	if (!OidIsValid(get_extension_oid(SC_NAME, true)))
		return;
	if (IsA(parsetree, DropOwnedStmt))
		try_after_ddl(drop_owned, parsetree, "could not drop the sections of these roles",
					  "Repeat the command, or call summary_cache_drop().");
	else if (IsA(parsetree, ReassignOwnedStmt))
		try_after_ddl(reassign_owned, parsetree, "could not reassign the sections of these roles",
					  "Repeat the command.");
	if (schema)
		try_after_ddl(follow_hub, schema, "the summary of the State Hub does not follow its tables",
					  "Call summary_cache_attach_state_hub() with their schema.");
	if (followers)
		sc_follow_end(followers, parsetree);
}

static void
process_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *parsetree = pstmt->utilityStmt;
	NodeTag		tag = nodeTag(parsetree);
	DdlScope	scope = ddl_scope(parsetree);
	Oid			database = InvalidOid;
	bool		finishes_prepared = false;
	List	   *followers = NIL;

	if (tag == T_TransactionStmt)
	{
		TransactionStmtKind kind = ((TransactionStmt *) parsetree)->kind;

		finishes_prepared = kind == TRANS_STMT_COMMIT_PREPARED ||
			kind == TRANS_STMT_ROLLBACK_PREPARED;
	}
	else if (writes_tracked(parsetree))
		sc_begin_untracked_write();
	else if (scope == DDL_NONE || tag == T_RenameStmt)
	{
		database = database_to_leave(parsetree);
		if (OidIsValid(database))
			sc_worker_leave(database);
	}

	/* in a build, or else read-only, it will be refused */
	if (scope != DDL_NONE && renames(parsetree) && !XactReadOnly && !sc_xact_is_ending() &&
		OidIsValid(get_extension_oid(SC_NAME, true)))
		followers = sc_follow_begin();
	mark_ddl(scope);

	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
								queryEnv, dest, qc);

	if (tag == T_ListenStmt && strcmp(((ListenStmt *) parsetree)->conditionname, SC_NAME) == 0 &&
		database_concerned())
	{
		int			catch_all = sc_slot_find(SC_KEY(MyDatabaseId, InvalidOid), true);

		if (catch_all != SC_SLOT_NONE)
			sc_slots[catch_all].slot.listened = true;
	}
	if (finishes_prepared)
		sc_note_unknown_commit();
	if (tag == T_TransactionStmt && ((TransactionStmt *) parsetree)->kind == TRANS_STMT_COMMIT)
		ending_lxid = SC_MY_LXID;
	if (tag == T_DropdbStmt && OidIsValid(database))
		sc_summary_forget_database(database);
	if (scope == DDL_NONE)
		return;

	mark_ddl(scope);
	if (!IsTransactionState())
		return;
	if (tag == T_CreateStmt || tag == T_AlterTableStmt)
		repair_triggers(parsetree);
	else
		sections_after_ddl(parsetree, followers);
	if ((tag == T_DropStmt || tag == T_DropOwnedStmt) &&
			 sc_slot_find(SC_KEY(MyDatabaseId, InvalidOid), false) != SC_SLOT_NONE &&
			 !OidIsValid(get_extension_oid(SC_NAME, true)))
		sc_summary_forget_database(MyDatabaseId);
}

void
sc_hooks_init(void)
{
	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
