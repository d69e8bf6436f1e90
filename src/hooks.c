/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  Writes and DDL as the server executes them.
 *
 * Triggers alone are not enough.  A data-modifying plan writes from its start:
 * a user's row trigger may read the summary in the middle of it, and a plan
 * that is stopped early (SPI with a row count and RETURNING) never fires its
 * statement triggers.  So ExecutorStart marks what a plan may write.  Of a tree of
 * partitions it marks the root, and ExecutorEnd notes which of the members were written.
 *
 * A keyed table counts as written without keys until ExecutorFinish has fired the
 * plan's row triggers (see commit.c).
 *
 * DDL has no triggers at all.  It marks the catch-all word of the database,
 * before it is executed and once more after, since some commands commit in
 * between.  What cannot change the result of any query is left out.  A plan that
 * writes a catalog is DDL as well.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_subscription.h"
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

#include "assure.h"
#include "commit.h"
#include "ddl.h"
#include "define.h"
#include "extension.h"
#include "follow.h"
#include "hooks.h"
#include "hub.h"
#include "release.h"
#include "request.h"
#include "shmem.h"
#include "subtransaction.h"
#include "track.h"

static ExecutorStart_hook_type prev_ExecutorStart;
static ExecutorFinish_hook_type prev_ExecutorFinish;
static ExecutorEnd_hook_type prev_ExecutorEnd;
static ProcessUtility_hook_type prev_ProcessUtility;

/* Is anything of this database cached, or could it be? */
static bool
database_concerned(void)
{
	return sc_slot_find(SC_KEY_CATCH_ALL, false) != SC_SLOT_NONE ||
		OidIsValid(get_extension_oid(SC_NAME, true));
}

static void
mark_ddl(ScDdlScope scope)
{
	if (scope == SC_DDL_NONE)
		return;
	if (scope == SC_DDL_CLUSTER)
		sc_commit_mark_cluster();
	else if (IsTransactionState() && database_concerned())
	{
		if (scope == SC_DDL_NAMES)
			sc_commit_mark_names();
		else
			sc_commit_mark_catch_all();
	}
	else
	{
		/* by the time that it commits, a standby may be concerned */
		sc_assure_refuse();
	}
}

/* May a plan write partitions that it does not name? */
static bool
routes_rows(PlannedStmt *stmt)
{
	SC_FOREACH_RESULT(index, stmt)
	{
		if (rt_fetch(index, stmt->rtable)->relkind == RELKIND_PARTITIONED_TABLE)
			return true;
	}
	return false;
}

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

		if (routes_rows(queryDesc->plannedstmt))
			sc_commit_begin_routing();
		SC_FOREACH_RESULT(index, queryDesc->plannedstmt)
		{
			Oid			relid = rt_fetch(index, queryDesc->plannedstmt->rtable)->relid;

			if (unlikely(IsCatalogRelationOid(relid)))
				mark_ddl(sc_ddl_scope_of_write(relid));
			else
				sc_track_plan(queryDesc->estate, relid, results && results[index - 1] ? results[index - 1]->ri_TrigDesc : NULL);
		}
	}
}

/* The plan whose AFTER triggers are just firing, and whose query fires no others. */
static const EState *finishing = NULL;

static void
finish(QueryDesc *queryDesc)
{
	if (prev_ExecutorFinish)
		prev_ExecutorFinish(queryDesc);
	else
		standard_ExecutorFinish(queryDesc);
}

/*
 * The row triggers of a plan have fired when it has finished.  Those of a referential
 * action fire among those of the plan that caused it.
 */
static void
executor_finish(QueryDesc *queryDesc)
{
	EState	   *estate = queryDesc->estate;
	const EState *outer = finishing;

	if (queryDesc->operation == CMD_SELECT && !queryDesc->plannedstmt->hasModifyingCTE)
		finish(queryDesc);
	else if (estate->es_top_eflags & EXEC_FLAG_SKIP_TRIGGERS)
	{
		finish(queryDesc);
		if (finishing)
			sc_commit_pass_keyed(estate, finishing);
	}
	else
	{
		finishing = estate;
		PG_TRY();
		{
			finish(queryDesc);
		}
		PG_FINALLY();
		{
			finishing = outer;
		}
		PG_END_TRY();
		sc_commit_end_keyed(estate);
	}
}

static void
executor_end(QueryDesc *queryDesc)
{
	EState	   *estate = queryDesc->estate;

	sc_commit_give_up_keyed(estate);

	if (estate && !(estate->es_top_eflags & EXEC_FLAG_EXPLAIN_ONLY) && routes_rows(queryDesc->plannedstmt))
		sc_track_end_routing(estate->es_tuple_routing_result_relations);
	if (prev_ExecutorEnd)
		prev_ExecutorEnd(queryDesc);
	else
		standard_ExecutorEnd(queryDesc);
}

typedef struct Action
{
	void		(*run) (void *arg);
	void	   *arg;
} Action;

static void
run_without_waiting(void *arg)
{
	Action	   *action = arg;

	sc_subtransaction_limit_waiting(1);
	action->run(action->arg);
}

/*
 * Run something of ours after a user's DDL, which must neither fail nor wait for
 * it: an error becomes a warning, and a lock that is not to be had is one.
 */
static void
try_after_ddl(void (*run) (void *arg), void *arg, const char *failure, const char *hint)
{
	Action		action = {run, arg};
	ErrorData  *error = sc_subtransaction_run(run_without_waiting, &action, true);

	if (error == NULL)
		return;
	/* a cancelled command is cancelled */
	if (sc_subtransaction_is_cancel(error))
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
				  "Summaries over it are not current until it has its trigger; see view summary_cache_tables.");
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

/* Has a command made some table inherit from another? */
static bool
makes_inherit(Node *parsetree)
{
	ListCell   *lc;

	if (IsA(parsetree, CreateStmt))
		return ((CreateStmt *) parsetree)->inhRelations != NIL;
	if (!IsA(parsetree, AlterTableStmt))
		return false;
	foreach(lc, ((AlterTableStmt *) parsetree)->cmds)
	{
		if (lfirst_node(AlterTableCmd, lc)->subtype == AT_AddInherit)
			return true;
	}
	return false;
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
				sc_track_is_tracked(RangeVarGetRelid(parent, NoLock, true)))
				try_on_table(child, sc_track_attach_members);
		}
	}
}

/* What is known of a command before it is executed. */
typedef struct Before
{
	ScFollowers *followers;		/* NULL: no section is concerned */
	bool		is_alone;		/* in no transaction block: what it locks is
								 * locked for a moment */
	ScTracked	tracked;		/* if it may change no more than names */
} Before;

static void
follow_hub(void *arg)
{
	sc_hub_follow(arg);
}

typedef struct OwnedAction
{
	Node	   *stmt;
	bool		is_alone;		/* see Before */
} OwnedAction;

static void
drop_owned(void *arg)
{
	OwnedAction *action = arg;
	List	   *roles = roleSpecsToIds(castNode(DropOwnedStmt, action->stmt)->roles);

	sc_define_drop_of(roles, action->is_alone);
	sc_define_forget_readers(roles);
}

static void
reassign_owned(void *arg)
{
	ReassignOwnedStmt *stmt = castNode(ReassignOwnedStmt, ((OwnedAction *) arg)->stmt);

	sc_define_give(roleSpecsToIds(stmt->roles), get_rolespec_oid(stmt->newrole, false));
}

/*
 * Sections behave as PostgreSQL's own objects do: they follow what is renamed or
 * moved, and go with what else their owner has in this database.
 */
static void
sections_after_ddl(Node *parsetree, const ScDdlEffect *effect, const Before *before)
{
	ScFollowers *followers = before->followers;
	OwnedAction owned = {parsetree, before->is_alone};

	if (effect->schema == NULL && followers == NULL && !IsA(parsetree, DropOwnedStmt) &&
		!IsA(parsetree, ReassignOwnedStmt))
		return;
	if (!OidIsValid(get_extension_oid(SC_NAME, true)))
		return;
	if (IsA(parsetree, DropOwnedStmt))
		try_after_ddl(drop_owned, &owned, "could not drop the sections of these roles",
					  "Repeat the command, or call summary_cache_drop().");
	else if (IsA(parsetree, ReassignOwnedStmt))
		try_after_ddl(reassign_owned, &owned, "could not reassign the sections of these roles",
					  "Repeat the command.");
	if (effect->schema)
		try_after_ddl(follow_hub, unconstify(char *, effect->schema),
					  "the summary of the State Hub does not follow its tables",
					  "Call summary_cache_attach_state_hub() with their schema.");
	if (followers)
		sc_follow_end(followers);
}

static void
unsubscribe(void *arg)
{
	Oid			subscription = get_subscription_oid(arg, true);

	if (OidIsValid(subscription))
		sc_extension_unsubscribe(subscription);
}

/*
 * What happens around a utility command, in this order.
 *
 * Before it:
 *	1.	A database that is copied or removed may have no session in it: our
 *		worker there leaves.
 *	2.	If it renames something, the queries of the sections that may name it are
 *		analysed, while they still mean what they meant.  So are those of the
 *		sections that it may break, if it drops something or changes a column.
 *	3.	The catch-all word is marked, of this database only.
 *
 * While it runs:
 *	4.	COPY and TRUNCATE of a tracked table write from the beginning, although
 *		their triggers fire at the end, when the marks tell what they wrote: until
 *		then the transaction's reads are private.
 *
 * After it:
 *	5.	Session state: LISTEN, a finished prepared transaction, COMMIT.
 *	6.	What a dropped database had in shared memory is given back at the commit;
 *		what a renamed one has is marked.
 *	7.	A subscription is left without the tables of the definitions.
 *	8.	The catch-all word is marked once more: the command may have committed
 *		in between (CREATE INDEX CONCURRENTLY, say), and what follows is in the
 *		next transaction.  DDL that concerns all databases marks the cluster's.
 *	9.	New members of tracked trees get their triggers; the sections follow, or
 *		it is reported that they are broken.
 *	10.	What dropped tables had in shared memory is given back at the commit, and
 *		if the extension is gone, all that it had.
 */
static void
before_command(Node *parsetree, const ScDdlEffect *effect, Before *before)
{
	if (OidIsValid(effect->database))
		sc_request_leave(effect->database);

	/* in a build, or else read-only, it will be refused */
	if ((effect->renames || effect->may_break) && !XactReadOnly && !sc_subtransaction_is_ending() &&
		OidIsValid(get_extension_oid(SC_NAME, true)))
		before->followers = sc_follow_begin(parsetree);

	/*
	 * What concerns all databases commits nothing in between.  Anybody may
	 * try it, and catch the error: so other databases are marked when it is
	 * done.
	 */
	mark_ddl(Min(effect->scope, SC_DDL_DATABASE));
	if (effect->scope == SC_DDL_NAMES && IsTransactionState() && database_concerned())
		sc_track_note(&before->tracked);
}

/*
 * Another database has a new name: what it has cached may show the old one.
 * Nobody is connected to it, nor can be before this commits, so what it has in
 * shared memory stays as it is.
 */
static void
mark_database(Oid database)
{
	ScSlotRef	ref;

	ref.key = SC_KEY(database, InvalidOid);
	ref.slot = sc_slot_find(ref.key, false);
	if (ref.slot != SC_SLOT_NONE)
		sc_commit_mark(&ref);
}

static void
after_command(Node *parsetree, const ScDdlEffect *effect, const Before *before)
{
	if (effect->listens && database_concerned())
		sc_slot_listen();
	if (effect->finishes_prepared)
		sc_commit_note_unknown();
	if (effect->commits)
		sc_subtransaction_note_ending();
	if (effect->drops_database)
		sc_release_database(effect->database);
	else if (OidIsValid(effect->database) && !IsTransactionBlock())
		sc_request_return(effect->database);
	/* also a temporary one, which is no DDL for anybody else */
	if (makes_inherit(parsetree))
		sc_track_note_inheritance();
	if (effect->renames_database)
		mark_database(effect->database);
	if (effect->subscription && IsTransactionState())
		try_after_ddl(unsubscribe, unconstify(char *, effect->subscription),
					  "could not leave the definitions of summaries out of the subscription",
					  "Drop the subscription and create it again.");
	if (effect->scope == SC_DDL_NONE)
		return;

	mark_ddl(effect->scope == SC_DDL_NAMES && sc_track_may_be_changed(&before->tracked) ?
			 SC_DDL_DATABASE : effect->scope);
	if (!IsTransactionState())
		return;
	if (IsA(parsetree, ReassignOwnedStmt))
		mark_ddl(sc_ddl_scope_of_reassign(parsetree));
	if (effect->may_join_trees)
		repair_triggers(parsetree);
	sections_after_ddl(parsetree, effect, before);
	if (sc_slot_find(SC_KEY_CATCH_ALL, false) == SC_SLOT_NONE)
		return;
	if (IsA(parsetree, DropStmt) || IsA(parsetree, DropOwnedStmt))
		sc_release_slots_of_dropped();
	if (effect->may_drop_extension && !OidIsValid(get_extension_oid(SC_NAME, true)))
		sc_release_database(MyDatabaseId);
}

static void
execute_command(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
							queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
								queryEnv, dest, qc);
}

/*
 * An error ends the write as well: what it wrote is rolled back before anybody
 * can read.  If it was inside another write, that one goes on.
 */
static void
execute_untracked_write(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
						ProcessUtilityContext context, ParamListInfo params,
						QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	bool		before = sc_commit_begin_untracked_write();

	PG_TRY();
	{
		execute_command(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	}
	PG_FINALLY();
	{
		sc_commit_end_untracked_write(before);
	}
	PG_END_TRY();
}

static void
process_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	ScDdlEffect effect;
	Before		before = {.is_alone = context == PROCESS_UTILITY_TOPLEVEL && !IsTransactionBlock()};

	sc_ddl_effect(pstmt->utilityStmt, &effect);
	before_command(pstmt->utilityStmt, &effect, &before);
	if (effect.writes_untracked)
		execute_untracked_write(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	else
		execute_command(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	after_command(pstmt->utilityStmt, &effect, &before);
}

void
sc_hooks_init(void)
{
	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = executor_finish;
	prev_ExecutorEnd = ExecutorEnd_hook;
	ExecutorEnd_hook = executor_end;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
