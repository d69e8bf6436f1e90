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
 * Stored along with a query are its search path, its text search configuration
 * and the functions that cannot be seen into, by their names: they follow, too.
 * The sources and what the query read are stored by their numbers.  Nothing is
 * looked at anew that decides about what is proven: a section that reads a
 * stranger goes on reading one.
 *
 * A command must not fail or wait for this.  What is analysed or printed is
 * locked for the moment, in AccessShareLock, and not waited for; analysing, in
 * which constants are converted by their types' functions, which anybody may
 * have written, has a second; and a warning names a section that cannot follow.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/varlena.h"

#include "define.h"
#include "follow.h"
#include "inspect.h"
#include "owner.h"
#include "role.h"
#include "subtransaction.h"

/* For all sections together, before the command and once more after it; ms. */
#define TIME_LIMIT	1000

#define TOO_SLOW		"its query takes too long to analyze"

#define SEARCH_PATH		"search_path="
#define TEXT_SEARCH		"default_text_search_config="

/* A section before the command. */
typedef struct Follower
{
	ScSectionDef *section;
	Query	   *query;			/* what its text meant; NULL: nothing, or that
								 * could not be found out */
	const char *unknown;		/* why it could not */
	Oid		   *calls;			/* the functions of section->calls */
	Oid			text_search;	/* its configuration */
	char	   *text;			/* what was printed last */
} Follower;

/*-------------------------------------------------------------------------
 * A limited time
 *-------------------------------------------------------------------------
 */

static TimeoutId time_limit = MAX_TIMEOUTS;
static bool out_of_time = false;

static void
follow_timeout_handler(void)
{
	out_of_time = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
start_clock(void)
{
	if (time_limit == MAX_TIMEOUTS)
		time_limit = RegisterTimeout(USER_TIMEOUT, follow_timeout_handler);
	out_of_time = false;
	enable_timeout_after(time_limit, TIME_LIMIT);
}

static void
stop_clock(void)
{
	disable_timeout(time_limit, false);

	/*
	 * it struck, but nothing looked at interrupts since: no cancel is to
	 * follow
	 */
	if (out_of_time)
		QueryCancelPending = false;
}

/* A cancelled command is cancelled; any other error is the section's. */
static ErrorData *
rethrow_cancel(ErrorData *error)
{
	if (error && sc_subtransaction_is_cancel(error) && !out_of_time)
	{
		stop_clock();
		ReThrowError(error);
	}
	return error;
}

/*-------------------------------------------------------------------------
 * What a query means
 *-------------------------------------------------------------------------
 */

/*
 * A session that waits 1 ms for a lock is in no deadlock for long enough to be
 * found.  And
 * when the time is over it is over for all that come later.
 */
static void
limit_waiting_and_time(void)
{
	if (out_of_time)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("%s", TOO_SLOW)));
	(void) set_config_option("lock_timeout", "1", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
analyze_text(void *arg)
{
	Follower   *follower = arg;

	limit_waiting_and_time();
	PushActiveSnapshot(GetTransactionSnapshot());
	follower->query = sc_query_analyze(follower->section);
	PopActiveSnapshot();
}

static void
print_query(void *arg)
{
	Follower   *follower = arg;

	limit_waiting_and_time();
	PushActiveSnapshot(GetTransactionSnapshot());
	follower->text = pg_get_querydef(copyObject(follower->query), true);
	while (*follower->text == ' ')
		follower->text ++;
	PopActiveSnapshot();
}

static void
analyze_and_print(void *arg)
{
	analyze_text(arg);
	print_query(arg);
}

/* Something about a section, as its owner, leaving no locks: NULL, or the error. */
static ErrorData *
attempt(Follower *follower, void (*action) (void *arg))
{
	return rethrow_cancel(sc_owner_try(follower->section, action, follower));
}

/* Both have been printed under the same names. */
static bool
means_the_same(Follower *a, Follower *b)
{
	return strcmp(a->text, b->text) == 0 &&
		equal(sc_inspect_operators(a->query), sc_inspect_operators(b->query));
}

/*-------------------------------------------------------------------------
 * Before the command
 *-------------------------------------------------------------------------
 */

typedef struct NamedObject
{
	const char *name;
	Oid			oid;
} NamedObject;

/* The function of a name as format_procedure_qualified() has it; an argument's type may be gone. */
static void
find_function(void *arg)
{
	NamedObject *name = arg;
	ScSavedRole saved;

	LOCAL_FCINFO(fcinfo, 1);
	Datum		function;

	/*
	 * names are looked up and nothing else, so without asking for rights to
	 * schemas
	 */
	saved = sc_role_become(BOOTSTRAP_SUPERUSERID, 0);
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(name->name);
	fcinfo->args[0].isnull = false;
	function = to_regprocedure(fcinfo);
	name->oid = fcinfo->isnull ? InvalidOid : DatumGetObjectId(function);
	sc_role_return(saved);
}

static void
find_text_search(void *arg)
{
	NamedObject *name = arg;
	ScSavedRole saved;

	saved = sc_role_become(BOOTSTRAP_SUPERUSERID, 0);
	name->oid = get_ts_config_oid(stringToQualifiedNameList(name->name SC_NO_SOFT_ERROR), true);
	sc_role_return(saved);
}

/* InvalidOid if it cannot be found. */
static Oid
find(void (*action) (void *arg), const char *name)
{
	NamedObject arguments = {name, InvalidOid};

	if (rethrow_cancel(sc_subtransaction_run(action, &arguments, false)) != NULL)
		return InvalidOid;
	return arguments.oid;
}

/* The value of a setting that is stored with a section, as "name=value"; or NULL. */
static char *
stored_setting(Datum element, const char *prefix)
{
	char	   *setting = TextDatumGetCString(element);

	return strncmp(setting, prefix, strlen(prefix)) == 0 ? setting + strlen(prefix) : NULL;
}

static Follower *
find_follower(ScSectionDef *section)
{
	Follower   *follower = palloc0(sizeof(Follower));
	ErrorData  *error;
	Datum	   *settings;
	int			nsettings;

	follower->section = section;
	error = attempt(follower, analyze_text);
	if (error)
		follower->query = NULL;
	if (error && out_of_time)
		follower->unknown = TOO_SLOW;
	else if (error && error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		follower->unknown = "another session has locked what its query reads";

	follower->calls = palloc0(sizeof(Oid) * (section->ncalls + 1));
	for (int i = 0; i < section->ncalls; i++)
		follower->calls[i] = find(find_function, section->calls[i]);
	deconstruct_array(section->settings, TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL, &nsettings);
	for (int i = 0; i < nsettings; i++)
	{
		char	   *value = stored_setting(settings[i], TEXT_SEARCH);

		if (value)
			follower->text_search = find(find_text_search, value);
	}
	return follower;
}

static void
error_locked(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("another session %s", what)));
}

static void
find_followers(void *arg)
{
	List	  **followers = arg;
	Oid			table = sc_extension_definition_table();
	ListCell   *lc;

	/* held to the end of this subtransaction, so it stays, too */
	if (!ConditionalLockRelationOid(table, AccessShareLock))
		error_locked("is changing the extension");
	if (sc_extension_definition_table() != table)
		return;
	foreach(lc, sc_definition_all_now())
	{
		ScSummaryDef *definition = lfirst(lc);

		for (int i = 0; i < definition->nsections; i++)
			*followers = lappend(*followers, find_follower(&definition->sections[i]));
	}
}

/*
 * A command is going to rename or move something: what the sections of this
 * database are, for sc_follow_end().  Raises nothing but a cancel.
 */
List *
sc_follow_begin(void)
{
	List	   *followers = NIL;
	ErrorData  *error;

	start_clock();
	error = rethrow_cancel(sc_subtransaction_run(find_followers, &followers, false));
	stop_clock();
	if (error)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("sections do not follow what is renamed or moved: %s",
						out_of_time ? "their queries take too long to analyze" : error->message),
				 errhint("For those whose queries name it, call summary_cache_define() with one that does by the new name.")));
	return followers;
}

/*-------------------------------------------------------------------------
 * After it
 *-------------------------------------------------------------------------
 */

/* A schema has another name: the search path with it; NULL if it is not there. */
static char *
rename_in_path(char *value, RenameStmt *rename)
{
	List	   *schemas;
	ListCell   *lc;
	StringInfoData path;
	bool		found = false;

	if (rename == NULL || rename->renameType != OBJECT_SCHEMA ||
		!SplitIdentifierString(value, ',', &schemas))
		return NULL;
	initStringInfo(&path);
	foreach(lc, schemas)
	{
		bool		renamed = strcmp(lfirst(lc), rename->subname) == 0;

		found = found || renamed;
		appendStringInfo(&path, "%s%s", path.len > 0 ? ", " : SEARCH_PATH,
						 quote_identifier(renamed ? rename->newname : lfirst(lc)));
	}
	return found ? path.data : NULL;
}

/* The setting of a text search configuration by the name that it has now. */
static char *
text_search_setting(Oid config)
{
	HeapTuple	tuple = SearchSysCache1(TSCONFIGOID, ObjectIdGetDatum(config));
	char	   *setting = NULL;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_ts_config form = (Form_pg_ts_config) GETSTRUCT(tuple);

		setting = psprintf(TEXT_SEARCH "%s",
						   quote_qualified_identifier(get_namespace_name(form->cfgnamespace),
													  NameStr(form->cfgname)));
		ReleaseSysCache(tuple);
	}
	return setting;
}

/* The stored settings and calls by their new names.  True if they have any. */
static bool
follow_names(Follower *follower, RenameStmt *rename)
{
	ScSectionDef *section = follower->section;
	bool		changed = false;
	Datum	   *settings;
	int			nsettings;

	deconstruct_array(section->settings, TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL, &nsettings);
	for (int i = 0; i < nsettings; i++)
	{
		char	   *setting = NULL;
		char	   *value;

		if ((value = stored_setting(settings[i], SEARCH_PATH)) != NULL)
			setting = rename_in_path(value, rename);
		else if (stored_setting(settings[i], TEXT_SEARCH) && OidIsValid(follower->text_search))
			setting = text_search_setting(follower->text_search);
		if (setting == NULL || strcmp(setting, TextDatumGetCString(settings[i])) == 0)
			continue;
		settings[i] = CStringGetTextDatum(setting);
		changed = true;
	}
	if (changed)
		section->settings = construct_array(settings, nsettings, TEXTOID, -1, false, TYPALIGN_INT);

	for (int i = 0; i < section->ncalls; i++)
	{
		char	   *name;

		if (!OidIsValid(follower->calls[i]) || !get_func_name(follower->calls[i]))
			continue;
		name = format_procedure_qualified(follower->calls[i]);
		if (strcmp(name, section->calls[i]) == 0)
			continue;
		section->calls[i] = name;
		changed = true;
	}
	return changed;
}

/* Let a query be printed if its text is no longer as good.  True if it was. */
static bool
follow_text(Follower *follower)
{
	ScSectionDef *section = follower->section;
	Follower	now = {section};
	ErrorData  *error;

	if (follower->query == NULL)
	{
		/* broken before, it is not this command's matter */
		if (follower->unknown && attempt(&now, analyze_text) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("%s", follower->unknown)));
		return false;
	}
	error = attempt(follower, print_query);
	if (error)
		ReThrowError(error);
	if (attempt(&now, analyze_and_print) == NULL && means_the_same(&now, follower))
		return false;

	/* what is printed must mean that again */
	section->query = follower->text;
	error = attempt(&now, analyze_and_print);
	if (error)
		ReThrowError(error);
	if (!means_the_same(&now, follower))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("its query cannot be written so that it means the same")));
	return true;
}

/* Is the section still as it was before the command? */
static bool
is_unchanged(ScSectionDef *section)
{
	ScSummaryDef *definition = sc_definition_now(NameStr(section->summary));
	ScSectionDef *stored = sc_definition_section(definition, NameStr(section->name));

	return stored && stored->hash == section->hash;
}

typedef struct Ending
{
	Follower   *follower;
	RenameStmt *rename;			/* NULL: not such a command */
} Ending;

static void
end_one(void *arg)
{
	Follower   *follower = ((Ending *) arg)->follower;
	ScSectionDef *section = follower->section;
	bool		changed;
	bool		printed;

	/* the hub's sections may have followed in their own way */
	if (!ConditionalLockRelationOid(sc_extension_definition_table(), AccessShareLock))
		error_locked("is changing the extension");
	if (!is_unchanged(section))
		return;
	changed = follow_names(follower, ((Ending *) arg)->rename);
	printed = follow_text(follower);
	if (!changed && !printed)
		return;

	/* a definer may be waiting for the very table that was renamed */
	if (!ConditionalLockRelationOid(sc_extension_definition_table(), ShareRowExclusiveLock))
		error_locked("is changing definitions");
	if (!is_unchanged(section))
		return;
	sc_define_update(section);
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
	start_clock();
	foreach(lc, followers)
	{
		Ending		ending = {lfirst(lc), rename};
		ScSectionDef *section = ending.follower->section;
		ErrorData  *error = rethrow_cancel(sc_subtransaction_run(end_one, &ending, true));

		/* what is wrong with its query is its owner's business */
		if (error)
			ereport(WARNING,
					(errcode(error->sqlerrcode),
					 errmsg("section \"%s\" of summary \"%s\" does not follow what was renamed or moved: %s",
							NameStr(section->name), NameStr(section->summary),
							out_of_time ? TOO_SLOW :
							error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
							has_privs_of_role(GetUserId(), section->owner) ? error->message :
							"its query cannot be analyzed"),
					 errhint("If its query names that, call summary_cache_define() with one that does by the new name.")));
	}
	stop_clock();
}
