/*-------------------------------------------------------------------------
 *
 * install.c
 *	  What CREATE EXTENSION does last: warns if the library is not preloaded,
 *	  and attaches a State Hub that is in the user's search path.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "compat_guc.h"
#include "extension.h"
#include "grant.h"
#include "hub.h"
#include "shmem.h"
#include "subtransaction.h"

PG_FUNCTION_INFO_V1(sc_installed);

/*
 * The value that a setting had before CREATE EXTENSION changed it for the
 * length of the script: it replaces search_path, and silences notices.  The
 * value it puts back is on the setting's stack, where nothing but CREATE
 * EXTENSION has put search_path as a function's SET clause would.
 */
static const char *
setting_outside_script(const char *name)
{
	struct config_generic *setting = sc_compat_find_setting(name);
	struct config_generic *path = sc_compat_find_setting("search_path");
	const char *saved = NULL;

	if (setting != NULL && sc_compat_saved_level(setting) > 0 &&
		sc_compat_saved_level(setting) == sc_compat_saved_level(path))
		saved = sc_compat_saved_value(setting);
	return saved ? saved : GetConfigOption(name, false, false);
}

/* Set a setting until the caller's nest level ends. */
static void
set_for_now(const char *name, const char *value)
{
	(void) set_config_option(name, value ? value : "", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Warn that nothing will be cached, with the exact statement to change it. */
static void
warn_not_preloaded(void)
{
	char	   *value = pstrdup(GetConfigOption("shared_preload_libraries", false, false));
	StringInfoData libraries;
	List	   *names;
	ListCell   *lc;

	initStringInfo(&libraries);
	if (SplitDirectoriesString(value, ',', &names))
		foreach(lc, names)
	{
		if (strcmp(lfirst(lc), SC_NAME) != 0)
			appendStringInfo(&libraries, "%s, ", quote_literal_cstr(lfirst(lc)));
	}
	appendStringInfoString(&libraries, quote_literal_cstr(SC_NAME));
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s is not preloaded: summaries will be computed at every read", SC_NAME),
			 errhint("ALTER SYSTEM SET shared_preload_libraries = %s; then restart the server.",
					 libraries.data)));
}

static void
attach_action(void *schemas)
{
	sc_hub_attach((List *) schemas, false, NOTICE);
}

/*
 * Attach a hub of the user's search path, if there is one.  The extension is
 * useful without, so an error that is caused by the hub becomes a warning.
 * Other errors (a lock that is not to be had, a cancel, no memory) abort the
 * command.
 */
static void
attach_at_install(List *schemas)
{
	ErrorData  *error = sc_subtransaction_run(attach_action, schemas, true);

	if (error == NULL)
		return;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK):
		case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):
		case ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION):
		case ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR):
		case ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR):
			ReThrowError(error);
	}
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("State Hub not attached: %s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("%s%sOnce that is settled: SELECT summary_cache_attach_state_hub();",
					 error->hint ? error->hint : "", error->hint ? " " : "")));
}

/*
 * The install script's last statement.  Messages are sent at the level that the
 * user had set, and the hub is looked for in the search path that the user had
 * set.
 */
Datum
sc_installed(PG_FUNCTION_ARGS)
{
	const char *path = setting_outside_script("search_path");
	const char *messages = setting_outside_script("client_min_messages");
	int			nestlevel;
	List	   *schemas;

	if (IsBinaryUpgrade)
		PG_RETURN_VOID();

	sc_extension_check_copy();
	sc_grant_close_tables();
	nestlevel = NewGUCNestLevel();
	set_for_now("search_path", path);
	schemas = sc_hub_search_path();
	AtEOXact_GUC(true, nestlevel);

	nestlevel = NewGUCNestLevel();
	set_for_now("client_min_messages", messages);
	if (sc_shared == NULL)
		warn_not_preloaded();
	/* only a warning: a restore must not stop here */
	if (sc_extension_check_version(WARNING))
		attach_at_install(schemas);
	AtEOXact_GUC(true, nestlevel);
	PG_RETURN_VOID();
}
