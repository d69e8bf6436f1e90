/*-------------------------------------------------------------------------
 *
 * compat_guc.h
 *	  What is asked of the server's own records of settings.
 *
 * No function of the server tells what a setting will be put back to, so this
 * reads the setting's stack (guc_tables.h).  test/sql/hub.sql and extension.sql
 * fail if a server lays it out otherwise: they attach a hub by the search path
 * that is outside the script, at the message level outside it.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_COMPAT_GUC_H
#define SC_COMPAT_GUC_H

#include "utils/guc_tables.h"

#include "base.h"

/* The record of a setting; NULL if there is none of this name. */
static inline struct config_generic *
sc_compat_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, DEBUG1);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i];
	return NULL;
#endif
}

/* The nest level at whose end a setting is put back; 0: at none. */
static inline int
sc_compat_saved_level(const struct config_generic *setting)
{
	return setting->stack != NULL && setting->stack->state == GUC_SAVE ?
		setting->stack->nest_level : 0;
}

/* What it is put back to; NULL if that is neither a string nor an enum. */
static inline const char *
sc_compat_saved_value(struct config_generic *setting)
{
	if (setting->vartype == PGC_STRING)
		return setting->stack->prior.val.stringval;
	if (setting->vartype == PGC_ENUM)
		return SC_ENUM_NAME(setting, setting->stack->prior.val.enumval);
	return NULL;
}

#endif							/* SC_COMPAT_GUC_H */
