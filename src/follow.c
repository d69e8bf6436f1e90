/*-------------------------------------------------------------------------
 *
 * follow.c
 *	  Sections follow what their queries name when that is renamed or moved.
 *
 * A view is stored as what its names stood for, so it goes on reading the same
 * table under its new name.  A section's query is text.  So before a command
 * that renames or moves something, the queries are analysed; after it, those
 * whose text does not mean the same any more are printed anew, by what prints
 * views, from what they meant.  A text that is as good as before stays as it
 * was written.  The keys of the document stay as well, as a view's columns do.
 *
 * Stored along with a query are its search path and the functions that cannot
 * be seen into, by their names: they follow, too.  The sources and what the
 * query read are stored by their numbers.  Nothing is looked at anew that
 * decides about what is proven: who reads a stranger goes on reading one.
 *
 * A command must not fail or wait for this.  What is analysed or printed is
 * locked for the moment, in AccessShareLock, and not waited for; a section
 * that cannot follow is told of in a warning.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "summary_cache.h"

/* A section before the command. */
typedef struct Follower
{
	ScSectionDef *section;
	Query	   *query;			/* what its text meant; NULL: nothing, or that
								 * could not be found out */
	bool		locked;			/* since somebody has locked what it names */
	Oid		   *calls;			/* the functions of section->calls */
	char	   *text;			/* of what was printed last */
} Follower;

/* One that waits 1 ms for a lock cannot be in a deadlock for long enough to count. */
static void
wait_for_nobody(void)
{
	(void) set_config_option("lock_timeout", "1", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
analyze_text(void *arg)
{
	Follower   *follower = arg;

	wait_for_nobody();
	PushActiveSnapshot(GetTransactionSnapshot());
	follower->query = sc_query_analyze(follower->section);
	PopActiveSnapshot();
}

static void
print_query(void *arg)
{
	Follower   *follower = arg;

	wait_for_nobody();
	PushActiveSnapshot(GetTransactionSnapshot());
	follower->text = pg_get_querydef(copyObject(follower->query), true);
	while (*follower->text == ' ')
		follower->text++;
	PopActiveSnapshot();
}

static void
analyze_and_print(void *arg)
{
	analyze_text(arg);
	print_query(arg);
}

/* Something about a follower, as its owner: NULL, or the error. */
typedef struct Attempt
{
	Follower   *follower;
	void		(*action) (void *arg);
} Attempt;

static void
attempt_action(void *arg)
{
	Attempt    *attempt = arg;

	sc_run_as_owner(attempt->follower->section, attempt->action, attempt->follower);
}

static ErrorData *
attempt(Follower *follower, void (*action) (void *arg))
{
	Attempt		arguments = {follower, action};
	ErrorData  *error = sc_in_subtransaction(attempt_action, &arguments, false);

	/* a cancelled command is cancelled */
	if (error && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	return error;
}

/* The function of a name as format_procedure_qualified() has it. */
static Oid
function_of_name(const char *name)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		function;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(name);
	fcinfo->args[0].isnull = false;
	function = to_regprocedure(fcinfo);
	return fcinfo->isnull ? InvalidOid : DatumGetObjectId(function);
}

/* Names are looked up, and nothing else, so without asking for rights to schemas. */
static void
find_calls(void *arg)
{
	Follower   *follower = arg;
	Oid			userid;
	int			sec_context;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	for (int i = 0; i < follower->section->ncalls; i++)
		follower->calls[i] = function_of_name(follower->section->calls[i]);
	SetUserIdAndSecContext(userid, sec_context);
}

static void
find_followers(void *arg)
{
	List	  **followers = arg;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ListCell   *lc;

	foreach(lc, sc_definition_names(snapshot))
	{
		ScSummaryDef *definition = sc_definition_read(lfirst(lc), snapshot, CurrentMemoryContext);

		for (int i = 0; i < definition->nsections; i++)
		{
			Follower   *follower = palloc0(sizeof(Follower));
			ErrorData  *error;

			follower->section = &definition->sections[i];
			follower->calls = palloc0(sizeof(Oid) * (follower->section->ncalls + 1));
			error = attempt(follower, analyze_text);
			if (error)
				follower->query = NULL;
			follower->locked = error && error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
			if (follower->section->ncalls > 0)
				find_calls(follower);
			*followers = lappend(*followers, follower);
		}
	}
	UnregisterSnapshot(snapshot);
}

/*
 * A command is going to rename or move something: what the sections of this
 * database are, for sc_follow_end().
 */
List *
sc_follow_begin(void)
{
	List	   *followers = NIL;
	ErrorData  *error = sc_in_subtransaction(find_followers, &followers, false);

	if (error && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	return error ? NIL : followers;
}

/* A schema has another name: settings with it in the search path, or NULL if it is not there. */
static ArrayType *
rename_in_path(ArrayType *settings, const char *from, const char *to)
{
	Datum	   *elems;
	int			n;
	bool		found = false;

	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *setting = TextDatumGetCString(elems[i]);
		const char *prefix = "search_path=";
		List	   *schemas;
		ListCell   *lc;
		StringInfoData path;

		if (strncmp(setting, prefix, strlen(prefix)) != 0 ||
			!SplitIdentifierString(setting + strlen(prefix), ',', &schemas))
			continue;
		initStringInfo(&path);
		foreach(lc, schemas)
		{
			bool		renamed = strcmp(lfirst(lc), from) == 0;

			found = found || renamed;
			appendStringInfo(&path, "%s%s", path.len > 0 ? ", " : prefix,
							 quote_identifier(renamed ? to : lfirst(lc)));
		}
		elems[i] = CStringGetTextDatum(path.data);
	}
	return found ? construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT) : NULL;
}

/*
 * Make a section's definition mean what it meant before the command.  True if
 * it must be changed for that; raises an error if it cannot be.
 */
static bool
follow(Follower *follower, RenameStmt *rename, bool *printed)
{
	ScSectionDef *section = follower->section;
	Follower	now = {section};
	ArrayType  *settings = NULL;
	ErrorData  *error;
	char	   *text;
	bool		changed = false;

	*printed = false;
	if (rename && rename->renameType == OBJECT_SCHEMA)
		settings = rename_in_path(section->settings, rename->subname, rename->newname);
	if (settings)
	{
		section->settings = settings;
		changed = true;
	}
	for (int i = 0; i < section->ncalls; i++)
	{
		char	   *name = OidIsValid(follower->calls[i]) ?
		format_procedure_qualified(follower->calls[i]) : NULL;

		if (name && strcmp(name, section->calls[i]) != 0)
		{
			section->calls[i] = name;
			changed = true;
		}
	}

	if (follower->query == NULL)
	{
		if (follower->locked && attempt(&now, analyze_text) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("another session has locked what its query reads")));
		return changed;
	}
	error = attempt(follower, print_query);
	if (error)
		ReThrowError(error);
	if (attempt(&now, analyze_and_print) == NULL && strcmp(now.text, follower->text) == 0)
		return changed;

	/* what is printed must mean that again */
	text = section->query;
	section->query = follower->text;
	error = attempt(&now, analyze_and_print);
	if (error == NULL && strcmp(now.text, follower->text) != 0)
	{
		section->query = text;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("its query cannot be printed")));
	}
	if (error)
		ReThrowError(error);
	*printed = true;
	return true;
}

/* Is the section still as it was before the command? */
static bool
is_unchanged(Follower *follower)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScSummaryDef *definition = sc_definition_read(NameStr(follower->section->summary), snapshot,
												  CurrentMemoryContext);
	ScSectionDef *section = sc_definition_section(definition, NameStr(follower->section->name));
	bool		same = section && section->hash == follower->section->hash;

	UnregisterSnapshot(snapshot);
	return same;
}

typedef struct Ending
{
	Follower   *follower;
	RenameStmt *rename;			/* NULL: not such a command */
} Ending;

static void
end_one(void *arg)
{
	Ending	   *ending = arg;
	ScSectionDef *section = ending->follower->section;
	bool		printed;

	/* the hub's sections may have followed in their own way */
	if (!is_unchanged(ending->follower) || !follow(ending->follower, ending->rename, &printed))
		return;
	/* a definer may be waiting for the very table that was renamed */
	if (!ConditionalLockRelationOid(sc_definition_table(NULL), ShareRowExclusiveLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("another session is changing definitions")));
	if (!is_unchanged(ending->follower))
		return;
	sc_update_section(section);
	if (printed)
		ereport(NOTICE,
				(errmsg("section \"%s\" of summary \"%s\" follows what was renamed or moved",
						NameStr(section->name), NameStr(section->summary)),
				 errdetail("Its query reads the same as before; the text is now as PostgreSQL prints it, as a view's would be.")));
}

/*
 * The command was executed.  To be called in the transaction that it is a part
 * of, once for what sc_follow_begin() returned.  Raises nothing but a cancel.
 */
void
sc_follow_end(List *followers, Node *parsetree)
{
	RenameStmt *rename = IsA(parsetree, RenameStmt) ? (RenameStmt *) parsetree : NULL;
	ListCell   *lc;

	CommandCounterIncrement();
	foreach(lc, followers)
	{
		Ending		ending = {lfirst(lc), rename};
		ErrorData  *error = sc_in_subtransaction(end_one, &ending, true);

		if (error == NULL)
			continue;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("section \"%s\" of summary \"%s\" does not follow what was renamed or moved: %s",
						NameStr(ending.follower->section->name),
						NameStr(ending.follower->section->summary), error->message),
				 errhint("If its query names that, call summary_cache_define() with one that does by the new name.")));
	}
}
