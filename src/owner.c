/*-------------------------------------------------------------------------
 *
 * owner.c
 *	  Runs something as a section's owner, in an environment of its own.
 *
 * A section's query runs with its owner's rights in a security-restricted and
 * read-only operation, with the settings stored with it, and with every other
 * setting pinned that shows in the output: so the document does not depend on
 * the role that asks, and asking lends nobody the asker's rights.  It runs in a
 * subtransaction that is rolled back in any case, so that nothing remains of it
 * in the asker's: above all no cursor, whose query would run at the asker's next
 * FETCH with the asker's rights.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "owner.h"
#include "role.h"
#include "subtransaction.h"

/* What a build changes in the session, and puts back. */
typedef struct Environment
{
	ScSavedRole role;
	int			guc_level;
	bool		read_only;
} Environment;

/* Settings that show in the output, at PostgreSQL's own defaults. */
static const struct
{
	const char *name;
	const char *value;
}			pinned_settings[] =

{
	{"TimeZone", "UTC"},
	{"timezone_abbreviations", "Default"},
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"array_nulls", "on"},
	{"gin_fuzzy_search_limit", "0"},
	{"quote_all_identifiers", "off"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"row_security", "on"},
	{"restrict_nonsystem_relation_kind", ""},
	/* whoever asks may not read what he is sent, and would hold up all others */
	{"client_min_messages", "error"},
};

void
sc_owner_check_damage(const ScSectionDef *section)
{
	if (section->damage)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("section \"%s\" of summary \"%s\" is damaged",
						NameStr(section->name), NameStr(section->summary)),
				 errdetail("In its row of table \"%s\", %s.", SC_OWN_TABLE(SC_DEFINITION_TABLE), section->damage),
				 errhint("Define the section again, or drop it.")));
}

static void
environment_enter(ScSectionDef *section, Environment *env)
{
	sc_owner_check_damage(section);
	/* see sc_define_give() */
	if (!OidIsValid(section->owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("section \"%s\" of summary \"%s\" has no owner",
						NameStr(section->name), NameStr(section->summary)),
				 errhint("A superuser can drop the section and define it again.")));
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(section->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the owner of section \"%s\" of summary \"%s\" does not exist",
						NameStr(section->name), NameStr(section->summary)),
				 errhint("A superuser can drop the section and define it again.")));

	env->role = sc_role_become(section->owner, SECURITY_RESTRICTED_OPERATION);
	env->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(pinned_settings); i++)
	{
		/* not every server has all of them */
		const char *value = GetConfigOption(pinned_settings[i].name, true, false);

		/* setting some of them is expensive, and they seldom differ */
		if (value && strcmp(value, pinned_settings[i].value) != 0)
			(void) set_config_option(pinned_settings[i].name, pinned_settings[i].value,
									 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	/* it may be empty, which has no dimension */
	if (ARR_NDIM(section->settings) == 1)
		ProcessGUCArray(section->settings, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE);

	/* what a function in the query may not do is write */
	env->read_only = XactReadOnly;
	XactReadOnly = true;
}

static void
environment_leave(Environment *env)
{
	XactReadOnly = env->read_only;
	AtEOXact_GUC(false, env->guc_level);
	sc_role_return(env->role);
}

/*
 * Do something with a section's query as its owner, in the subtransaction
 * described above.  Memory comes from the caller's context.
 */
typedef struct OwnersAction
{
	ScSectionDef *section;
	void		(*action) (void *arg);
	void	   *arg;
} OwnersAction;

static void
act_as_owner(void *arg)
{
	OwnersAction *mine = arg;
	Environment env;

	/* after an error, the rollback does what environment_leave() would */
	environment_enter(mine->section, &env);
	mine->action(mine->arg);
	environment_leave(&env);
}

ErrorData *
sc_owner_try(ScSectionDef *section, void (*action) (void *arg), void *arg)
{
	OwnersAction mine = {section, action, arg};

	return sc_subtransaction_run(act_as_owner, &mine, false);
}

void
sc_owner_run(ScSectionDef *section, void (*action) (void *arg), void *arg)
{
	ErrorData  *error = sc_owner_try(section, action, arg);

	if (error)
		ReThrowError(error);
}
