/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Who may change the definitions.
 *
 * A section's query runs with its owner's rights, so whoever can write a row of
 * summary_cache.definition can run anything as anybody.  What is granted on the
 * tables does not decide about that, since it may have been granted with all
 * other tables: a trigger on each of them refuses every row of a summary that
 * the current role could not define by the functions.  It fires always, also
 * for what is restored or replicated.  Superusers pass.
 *
 * Nothing of another's runs beside it.  A trigger that somebody else has put on
 * a table could change a row after ours has seen it, or run with the rights of
 * whoever writes; so with such a trigger nobody can write the table by hand.
 * Definers do not come to a halt for that: what define.c writes with the rights
 * of the tables' owner fires no triggers but those that the owner lets fire
 * always, as a replica does.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "guard.h"

PG_FUNCTION_INFO_V1(sc_guard);

/* In our own statements, which define.c has checked. */
static bool writing = false;

/*
 * The variable is set, and not the setting, which would make the transaction one
 * that applies another server's changes (see track.c).
 */
ScGuardState
sc_guard_begin(void)
{
	ScGuardState before = {SessionReplicationRole, writing};

	SessionReplicationRole = SESSION_REPLICATION_ROLE_REPLICA;
	writing = true;
	return before;
}

void
sc_guard_end(ScGuardState before)
{
	SessionReplicationRole = before.replication_role;
	writing = before.writing;
}

const ScSectionDef *
sc_guard_foreign_section(const ScSummaryDef *definition, Oid role)
{
	for (int i = 0; definition && i < definition->nsections; i++)
		if (!has_privs_of_role(role, definition->sections[i].owner))
			return &definition->sections[i];
	return NULL;
}

/* An error if a trigger of somebody else's is on the table. */
static void
check_triggers(Relation rel)
{
	Oid			extension = get_extension_oid(SC_NAME, true);

	for (int i = 0; i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];
		const char *constraint;

		if (getExtensionOfObject(ProcedureRelationId, trigger->tgfoid) == extension)
			continue;
		constraint = trigger->tgisinternal ? get_constraint_name(trigger->tgconstraint) : NULL;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 constraint ?
				 errmsg("cannot write table \"%s.%s\" while foreign key \"%s\" refers to it",
						SC_TABLES_SCHEMA, RelationGetRelationName(rel), constraint) :
				 errmsg("cannot write table \"%s.%s\" while trigger \"%s\" is on it",
						SC_TABLES_SCHEMA, RelationGetRelationName(rel), trigger->tgname),
				 errdetail("It could run what others have written with the rights of whoever writes the table."),
				 errhint("Drop it.")));
	}
}

/* An error unless the current role may write a row that is or was in the table. */
static void
check_row(Relation rel, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		is_definition = strcmp(RelationGetRelationName(rel), SC_DEFINITION_TABLE) == 0;
	bool		isnull;
	Name		summary = DatumGetName(SPI_getbinval(tuple, desc, SPI_fnumber(desc, "summary"), &isnull));
	ScSummaryDef *definition = isnull ? NULL : sc_definition_now(NameStr(*summary));
	Oid			owner = InvalidOid;

	if (is_definition)
		owner = DatumGetObjectId(SPI_getbinval(tuple, desc, SPI_fnumber(desc, "owner"), &isnull));
	if (!isnull && (is_definition ? has_privs_of_role(GetUserId(), owner) : definition != NULL) &&
		sc_guard_foreign_section(definition, GetUserId()) == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to write table \"%s.%s\"", SC_TABLES_SCHEMA, RelationGetRelationName(rel)),
			 errdetail("Whoever can write a definition can run queries with the rights of its owner."),
			 errhint("Use summary_cache_define(), summary_cache_configure() and summary_cache_drop(). By hand, the rows of a summary are written by superusers, and by roles that may act for the owners of all its sections.")));
}

/*
 * SQL: the trigger function summary_cache.guard(), once before each statement and
 * before each row.
 */
Datum
sc_guard(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !sc_extension_is_own_table(RelationGetRelid(data->tg_relation)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is only for the tables of the definitions", SC_OWN_TABLE("guard")),
				 errhint("Their triggers call it.")));
	if (TRIGGER_FIRED_FOR_STATEMENT(data->tg_event))
	{
		if (!writing)
			check_triggers(data->tg_relation);
		if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) && !superuser())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to truncate table \"%s.%s\"",
							SC_TABLES_SCHEMA, RelationGetRelationName(data->tg_relation)),
					 errhint("Use summary_cache_drop().")));
		PG_RETURN_POINTER(NULL);
	}
	if (!writing && !superuser())
	{
		check_row(data->tg_relation, data->tg_trigtuple);
		if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
			check_row(data->tg_relation, data->tg_newtuple);
	}
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple);
}
