/*-------------------------------------------------------------------------
 *
 * role.h
 *	  Acts as another role for a moment.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_ROLE_H
#define SC_ROLE_H

#include "miscadmin.h"

#include "base.h"

/* What was in force before; an error that is thrown in between restores it with
 * the (sub)transaction that it ends. */
typedef struct ScSavedRole
{
	Oid			userid;
	int			sec_context;
} ScSavedRole;

static inline ScSavedRole
sc_role_become(Oid role, int further_context)
{
	ScSavedRole saved;

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	SetUserIdAndSecContext(role, saved.sec_context | SECURITY_LOCAL_USERID_CHANGE | further_context);
	return saved;
}

static inline void
sc_role_return(ScSavedRole saved)
{
	SetUserIdAndSecContext(saved.userid, saved.sec_context);
}

/* For a message; palloc'd. */
static inline const char *
sc_role_name(Oid role)
{
	const char *name = GetUserNameFromId(role, true);

	return name ? name : "(dropped)";
}

#endif							/* SC_ROLE_H */
