/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  Who may read a summary.
 *
 * With option readers, a summary is there only for the roles that the option
 * names, for those of its sections' owners, for all members that inherit their
 * privileges, and for superusers.  To others it is unknown, in every way of
 * reading it.  Who reads is the current role: in a SECURITY DEFINER function its
 * owner, in a section's query the section's owner.
 *
 * The right is looked up at each read, in the newest definition; unless the
 * document is current, and was built while everybody could read it.  The usual read
 * (the short way of sc_cache_read()) does not look it up again if that was done
 *
 * 1.	for the version of the document that this backend has, so that the
 *		definition was no older than the document's.  A definition that has changed
 *		since, or is about to, has moved the catch-all word, which is in the
 *		document's label: such a read does not go the short way;
 * 2.	for the current role; and
 * 3.	since roles have changed.  They move the cluster's word, so these reads do
 *		not go the short way either, but not before all of the server's caches
 *		have noticed.  sc_reader_roles_version moves when this backend's have.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "commit.h"
#include "label.h"
#include "reader.h"
#include "role.h"

uint64		sc_reader_roles_version = 1;

static void
roles_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	sc_reader_roles_version++;
}

/* As acl.c does for its own cache of memberships. */
static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, roles_callback, (Datum) 0);
	/* its owner is a member of pg_database_owner */
	CacheRegisterSyscacheCallback(DATABASEOID, roles_callback, (Datum) 0);
	registered = true;
}

static bool
is_one_of(const Oid *roles, int nroles)
{
	for (int i = 0; i < nroles; i++)
		if (has_privs_of_role(GetUserId(), roles[i]))
			return true;
	return false;
}

static bool
is_an_owner(const ScSummaryDef *definition)
{
	for (int i = 0; i < definition->nsections; i++)
		if (has_privs_of_role(GetUserId(), definition->sections[i].owner))
			return true;
	return false;
}

bool
sc_reader_may_read(const ScSummaryDef *definition)
{
	if (!definition->has_readers)
		return true;

	/* an open transaction may not have noticed what others have granted */
	AcceptInvalidationMessages();
	return is_one_of(definition->readers, definition->nreaders) || is_an_owner(definition);
}

void
sc_reader_check(const ScSummaryDef *definition)
{
	if (sc_reader_may_read(definition))
		return;
	sc_definition_hidden(NameStr(definition->name),
						 psprintf("Role \"%s\" is none of its readers.", sc_role_name(GetUserId())));
}

bool
sc_reader_check_local(ScLocal *local, Snapshot snapshot)
{
	ScSummaryDef *definition;
	uint64		version;

	local->for_all = false;
	local->reader = InvalidOid;

	/* most backends that read many summaries never need their definitions */
	if (local->was_for_all && local->consistent && !sc_commit_sees_own() &&
		sc_label_prove(&local->label, snapshot) == SC_CURRENT)
	{
		local->for_all = true;
		return true;
	}

	definition = sc_definition_get(NameStr(local->key.summary));
	if (definition == NULL)
		return false;

	/* what this transaction has changed may be rolled back */
	if (!definition->has_readers)
	{
		local->for_all = !sc_commit_sees_own();
		return true;
	}
	register_callbacks();
	AcceptInvalidationMessages();
	/* what changes from here on is looked up anew at the next read */
	version = sc_reader_roles_version;
	sc_reader_check(definition);
	if (!sc_commit_sees_own())
	{
		local->reader = GetUserId();
		local->reader_version = version;
	}
	return true;
}

bool
sc_reader_sees_all(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/*
 * An error may be of any of the sections, whose owners are nearly always one.
 * In a view members of pg_monitor see it, so they do in a read.
 */
bool
sc_reader_sees_errors(const ScSummaryDef *definition)
{
	for (int i = 0; i < definition->nsections; i++)
		if (!has_privs_of_role(GetUserId(), definition->sections[i].owner))
			return sc_reader_sees_all();
	return true;
}

/*
 * A row of a view is of the definition that the statement's snapshot sees.  The
 * right counts that is in force now; of a summary that was dropped since, the one
 * that it had.
 */
bool
sc_reader_may_see(ScSummaryDef *definition, Snapshot snapshot)
{
	Snapshot	latest;
	bool		set;

	if (is_an_owner(definition))
		return true;
	set = sc_definition_readers(&definition->name, snapshot, &definition->readers, &definition->nreaders);
	if (set && !is_one_of(definition->readers, definition->nreaders))
		return false;
	latest = RegisterSnapshot(GetLatestSnapshot());
	set = sc_definition_readers(&definition->name, latest, &definition->readers, &definition->nreaders);
	UnregisterSnapshot(latest);
	return !set || is_one_of(definition->readers, definition->nreaders);
}
