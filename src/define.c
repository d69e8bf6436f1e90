/*-------------------------------------------------------------------------
 *
 * define.c
 *	  Changes definitions: sections defined and dropped, options set.
 *
 * Everything is in the caller's transaction: rolled back, it leaves nothing
 * but slots that may be reused.  Definers wait for each other on the table of
 * the definitions, so that what one has checked still holds when it writes.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "summary_cache.h"

static ArrayType *
array_of_oids(List *list)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(list), 1));
	ListCell   *lc;
	int			n = 0;

	foreach(lc, list)
		elems[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return construct_array(elems, n, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT);
}

static ArrayType *
array_of_strings(char **strings, int n)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elems[i] = CStringGetTextDatum(strings[i]);
	return construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/*
 * Run one statement on one of our tables with the rights of the definition
 * table's owner.  Returns the number of rows.
 */
static uint64
execute_as_table_owner(const char *format, Oid table, const char *name, int nargs,
					   Oid *types, Datum *values, int expected)
{
	Relation	rel = table_open(table, NoLock);
	char	   *sql = psprintf(format, quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
																  name));
	Oid			userid;
	int			sec_context;
	uint64		nrows;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	table_close(rel, NoLock);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != expected)
		elog(ERROR, "could not change %s", name);
	nrows = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(userid, sec_context);
	return nrows;
}

/* Definers wait for each other; readers do not wait for them. */
Oid
sc_lock_definitions(void)
{
	Oid			table;

	for (;;)
	{
		table = sc_definition_table();
		if (!OidIsValid(table))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("extension \"%s\" is not installed in this database", SC_NAME),
					 errhint("Run CREATE EXTENSION %s.", SC_NAME)));
		LockRelationOid(table, ShareRowExclusiveLock);

		/* the extension may have been dropped while we waited */
		if (sc_definition_table() == table)
		{
			(void) sc_check_version(ERROR);
			return table;
		}
		UnlockRelationOid(table, ShareRowExclusiveLock);
	}
}

static ScSummaryDef *
definition_now(const char *summary)
{
	ScSummaryDef *definition;
	Snapshot	snapshot;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	definition = sc_definition_read(summary, snapshot, CurrentMemoryContext);
	UnregisterSnapshot(snapshot);
	return definition;
}

/* How many sections this database defines, and all their sources. */
static int
all_sections(List **sources)
{
	Snapshot	snapshot;
	ListCell   *lc;
	int			n = 0;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	foreach(lc, sc_definition_names(snapshot))
	{
		ScSummaryDef *definition = sc_definition_read(lfirst(lc), snapshot, CurrentMemoryContext);

		for (int i = 0; i < definition->nsections; i++)
		{
			n++;
			for (int s = 0; sources && s < definition->sections[i].nsources; s++)
				*sources = list_append_unique_oid(*sources, definition->sections[i].sources[s]);
		}
	}
	UnregisterSnapshot(snapshot);
	return n;
}

/* Does a table belong to a tree with one of these roots? */
static bool
in_trees(Oid relid, List *tree_roots)
{
	Oid			roots[SC_MAX_ROOTS];
	int			nroots = sc_track_roots(relid, roots);

	for (int i = 0; i < nroots; i++)
		if (list_member_oid(tree_roots, roots[i]))
			return true;
	return false;
}

static List *
roots_of(List *tables)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, tables)
	{
		Oid			roots[SC_MAX_ROOTS];
		int			nroots = sc_track_roots(lfirst_oid(lc), roots);

		for (int i = 0; i < nroots; i++)
			result = list_append_unique_oid(result, roots[i]);
	}
	return result;
}

/*
 * Remove the triggers from tables that no section needs any more: those given,
 * and others that have left a tree if nobody holds them.
 */
static void
detach_unneeded(List *dropped)
{
	List	   *needed = NIL;
	List	   *dropped_roots = roots_of(dropped);
	ListCell   *lc;

	(void) all_sections(&needed);
	needed = roots_of(needed);
	foreach(lc, sc_track_tables(false))
		if (!in_trees(lfirst_oid(lc), needed))
			sc_track_detach(lfirst_oid(lc), in_trees(lfirst_oid(lc), dropped_roots));

	foreach(lc, dropped_roots)
	{
		int			slot = sc_shared ?
		sc_slot_find(SC_KEY(MyDatabaseId, lfirst_oid(lc)), false) : SC_SLOT_NONE;

		if (slot != SC_SLOT_NONE && !list_member_oid(needed, lfirst_oid(lc)))
			sc_slot_want(slot, false);
	}
}

static void
check_owner(Oid owner, const char *summary, const char *section)
{
	if (has_privs_of_role(GetUserId(), owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of section \"%s\" of summary \"%s\"", section, summary),
			 errhint("Its owner is role \"%s\".", GetUserNameFromId(owner, true) ?
					 GetUserNameFromId(owner, true) : "(dropped)")));
}

/*
 * The session's settings that a query's result may depend on, and that are
 * not pinned for every build: the search path in effect, with temporary
 * objects last, and the text search configuration.
 */
static ArrayType *
session_settings(void)
{
	StringInfoData path;
	char	   *settings[2];
	ListCell   *lc;

	initStringInfo(&path);
	appendStringInfoString(&path, "search_path=");
	foreach(lc, fetch_search_path(false))
	{
		char	   *schema;

		if (isTempNamespace(lfirst_oid(lc)) ||
			(schema = get_namespace_name(lfirst_oid(lc))) == NULL)
			continue;
		appendStringInfo(&path, "%s, ", quote_identifier(schema));
	}
	appendStringInfoString(&path, "pg_temp");
	settings[0] = path.data;
	settings[1] = psprintf("default_text_search_config=%s",
						   GetConfigOption("default_text_search_config", false, false));
	return array_of_strings(settings, 2);
}

/*
 * The sources that a query names, through views and inlined functions.  Says
 * what it cannot see.
 */
static List *
derived_sources(ScQueryInfo *info)
{
	List	   *sources = NIL;
	ListCell   *lc;

	foreach(lc, info->relations)
	{
		Oid			relid = lfirst_oid(lc);

		if (sc_definition_is_own_table(relid))
			continue;
		sc_track_check_source(relid);
		sources = list_append_unique_oid(sources, relid);
	}
	foreach(lc, info->functions)
		ereport(NOTICE,
				(errmsg("tables that function %s reads are not tracked",
						format_procedure(lfirst_oid(lc))),
				 errhint("Name them in \"sources\" together with the tables of the query.")));
	return sources;
}

static void
check_key_conflicts(ScSummaryDef *definition, const char *section, ScQueryInfo *info)
{
	for (int s = 0; definition && s < definition->nsections; s++)
	{
		ScSectionDef *other = &definition->sections[s];

		if (strcmp(NameStr(other->name), section) == 0)
			continue;
		for (int k = 0; k < other->nkeys; k++)
			for (int i = 0; i < info->nkeys; i++)
				if (strcmp(other->keys[k], info->keys[i]) == 0)
					ereport(ERROR,
							(errcode(ERRCODE_DUPLICATE_OBJECT),
							 errmsg("key \"%s\" of section \"%s\" is already a key of section \"%s\" of summary \"%s\"",
									info->keys[i], section, NameStr(other->name),
									NameStr(definition->name)),
							 errhint("Give the column another name: each column of a section's query is a key of the document.")));
	}
}

/* Slots of this database whose tables are gone may be reused. */
static void
sweep_slots(void)
{
	for (int i = SC_CLUSTER_SLOT + 1; i < sc_shared->nslots; i++)
	{
		uint64		key = pg_atomic_read_u64(&sc_slots[i].slot.key);
		Oid			relid = (Oid) key;

		if ((Oid) (key >> 32) == MyDatabaseId && OidIsValid(relid) && get_rel_name(relid) == NULL)
			sc_slot_want(i, false);
	}
}

/*
 * Take the slots of a source and say so if there are none: later, without
 * anybody to tell, the catch-all word would have to do.
 */
static void
take_slots(Oid relid)
{
	Oid			roots[SC_MAX_ROOTS];
	int			nroots;

	if (!sc_shared || get_rel_relkind(relid) == RELKIND_MATVIEW)
		return;
	nroots = sc_track_roots(relid, roots);
	for (int i = 0; i < nroots; i++)
	{
		int			slot = sc_slot_find(SC_KEY(MyDatabaseId, roots[i]), true);

		if (slot == SC_SLOT_NONE)
		{
			sweep_slots();
			slot = sc_slot_find(SC_KEY(MyDatabaseId, roots[i]), true);
		}
		if (slot == SC_SLOT_NONE ||
			sc_slot_find(SC_KEY(MyDatabaseId, InvalidOid), true) == SC_SLOT_NONE)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no room to track table \"%s\"", get_rel_name(relid)),
					 errdetail("All %d slots are in use.", sc_shared->nslots),
					 errhint("Raise summary_cache.max_tables and restart the server.")));
		sc_slot_want(slot, true);
	}
}

/* The triggers go on the whole tree, so the right to set some must be had there. */
static void
check_tree_rights(Oid relid, Oid owner)
{
	Oid			roots[SC_MAX_ROOTS];
	int			nroots = sc_track_roots(relid, roots);

	for (int i = 0; i < nroots; i++)
		if (roots[i] != relid && pg_class_aclmask(roots[i], owner, ACL_TRIGGER, ACLMASK_ALL) != ACL_TRIGGER)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for table \"%s\", of whose tree source table \"%s\" is a part",
							get_rel_name(roots[i]), get_rel_name(relid)),
					 errhint("Role \"%s\" needs the privilege TRIGGER on it.",
							 GetUserNameFromId(owner, false))));
}

void
sc_define(const char *summary, const char *section, const char *query,
		  List *sources, bool derive_sources, bool is_inline,
		  Oid owner, ArrayType *settings, bool generated)
{
	Oid			table;
	ScSummaryDef *definition;
	ScSectionDef *existing;
	ScSectionDef wanted;
	ScQueryInfo info;
	List	   *old_sources = NIL;
	ListCell   *lc;
	char	  **calls;
	int			ncalls = 0;
	NameData	summary_name;
	NameData	section_name;
	Oid			types[] = {NAMEOID, NAMEOID, TEXTOID, REGROLEOID, TEXTOID,
	REGCLASSARRAYOID, REGCLASSARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID};
	Datum		values[lengthof(types)];

	sc_check_name("summary", summary);
	sc_check_name("section", section);
	if (strcmp(section, "all") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("section name \"%s\" is reserved", section),
				 errhint("It is the scope of summary_cache_invalidate() that stands for all sections.")));
	if (IsParallelWorker() || RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot define a section here"),
				 errhint("Define it on the primary.")));

	table = sc_lock_definitions();
	definition = definition_now(summary);
	existing = sc_definition_section(definition, section);
	if (existing)
	{
		check_owner(existing->owner, summary, section);
		for (int i = 0; i < existing->nsources; i++)
			old_sources = lappend_oid(old_sources, existing->sources[i]);
	}
	else if (definition)
		check_owner(definition->sections[0].owner, summary,
					NameStr(definition->sections[0].name));
	/* as with CREATE OR REPLACE, whoever replaces or adds; attaching sets it */
	if (definition && !generated)
		owner = existing ? existing->owner : definition->sections[0].owner;
	if (!existing && sc_shared && all_sections(NULL) >= sc_shared->nsections)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many sections to define section \"%s\" of summary \"%s\"", section, summary),
				 errdetail("At most %d can be cached.", sc_shared->nsections),
				 errhint("Raise summary_cache.max_sections and restart the server.")));

	memset(&wanted, 0, sizeof(wanted));
	namestrcpy(&wanted.summary, summary);
	namestrcpy(&wanted.name, section);
	wanted.is_inline = is_inline;
	wanted.query = pstrdup(query);
	wanted.owner = owner;
	wanted.settings = settings ? settings : session_settings();
	sc_analyze_query(&wanted, derive_sources, &info);
	check_key_conflicts(definition, section, &info);

	if (derive_sources)
		sources = derived_sources(&info);
	if (info.is_volatile)
		ereport(NOTICE,
				(errmsg("section \"%s\" of summary \"%s\" depends on more than its source tables",
						section, summary),
				 errdetail("Its query uses the current time, the session's user, a setting or a volatile function."),
				 errhint("Such a value is that of the session that builds, and as old as the document: max_stale_age bounds it.")));
	foreach(lc, sources)
	{
		Oid			relid = lfirst_oid(lc);
		AclMode		rights = ACL_SELECT;

		sc_track_check_source(relid);
		if (get_rel_relkind(relid) != RELKIND_MATVIEW)
			rights |= ACL_TRIGGER;
		if (pg_class_aclmask(relid, owner, rights, ACLMASK_ALL) != rights)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for source table \"%s\"", get_rel_name(relid)),
					 errhint("Role \"%s\" needs the privileges SELECT and TRIGGER on it.",
							 GetUserNameFromId(owner, false))));
		check_tree_rights(relid, owner);
		take_slots(relid);
	}

	/* by name: pg_upgrade refuses columns with numbers of functions */
	calls = palloc(sizeof(char *) * Max(list_length(info.functions), 1));
	foreach(lc, info.functions)
		calls[ncalls++] = format_procedure_qualified(lfirst_oid(lc));

	namestrcpy(&summary_name, summary);
	namestrcpy(&section_name, section);
	values[0] = NameGetDatum(&summary_name);
	values[1] = NameGetDatum(&section_name);
	values[2] = CStringGetTextDatum(is_inline ? "inline" : "background");
	values[3] = ObjectIdGetDatum(owner);
	values[4] = CStringGetTextDatum(query);
	values[5] = PointerGetDatum(array_of_oids(sources));
	values[6] = PointerGetDatum(array_of_oids(info.relations));
	values[7] = PointerGetDatum(array_of_strings(calls, ncalls));
	values[8] = PointerGetDatum(array_of_strings(info.keys, info.nkeys));
	values[9] = PointerGetDatum(wanted.settings);
	values[10] = BoolGetDatum(generated);
	execute_as_table_owner("INSERT INTO %1$s AS d (summary, section, position, refresh, owner, query,"
						   " sources, reads, calls, keys, settings, generated)"
						   " SELECT $1, $2, coalesce(pg_catalog.max(p.position), 0) OPERATOR(pg_catalog.+) 1,"
						   " $3, $4, $5, $6, $7, $8, $9, $10, $11"
						   " FROM %1$s p WHERE p.summary OPERATOR(pg_catalog.=) $1"
						   " ON CONFLICT (summary, section) DO UPDATE SET refresh = excluded.refresh,"
						   " owner = excluded.owner, query = excluded.query, sources = excluded.sources,"
						   " reads = excluded.reads, calls = excluded.calls, keys = excluded.keys,"
						   " settings = excluded.settings, generated = excluded.generated",
						   table, SC_DEFINITION_TABLE, lengthof(types), types, values, SPI_OK_INSERT);

	foreach(lc, sources)
		sc_track_attach(lfirst_oid(lc));
	if (old_sources)
		detach_unneeded(list_difference_oid(old_sources, sources));
}

/*
 * Drop a section, or with NULL all of a summary.
 */
void
sc_drop(const char *summary, const char *section)
{
	Oid			table = sc_lock_definitions();
	ScSummaryDef *definition = definition_now(summary);
	List	   *old_sources = NIL;
	NameData	summary_name;
	NameData	section_name;
	Oid			types[] = {NAMEOID, NAMEOID};
	Datum		values[lengthof(types)];
	bool		found = false;

	for (int i = 0; definition && i < definition->nsections; i++)
	{
		ScSectionDef *dropped = &definition->sections[i];

		if (section && strcmp(NameStr(dropped->name), section) != 0)
			continue;
		found = true;
		check_owner(dropped->owner, summary, NameStr(dropped->name));
		for (int s = 0; s < dropped->nsources; s++)
			old_sources = list_append_unique_oid(old_sources, dropped->sources[s]);
	}
	if (definition == NULL)
		sc_unknown_summary(summary);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("summary \"%s\" has no section \"%s\"", summary, section),
				 errhint("View summary_cache_sections lists the sections.")));

	namestrcpy(&summary_name, summary);
	values[0] = NameGetDatum(&summary_name);
	if (section)
	{
		namestrcpy(&section_name, section);
		values[1] = NameGetDatum(&section_name);
	}
	execute_as_table_owner(section ?
						   "DELETE FROM %1$s WHERE summary OPERATOR(pg_catalog.=) $1"
						   " AND section OPERATOR(pg_catalog.=) $2" :
						   "DELETE FROM %1$s WHERE summary OPERATOR(pg_catalog.=) $1",
						   table, SC_DEFINITION_TABLE, section ? 2 : 1, types, values, SPI_OK_DELETE);
	if (definition_now(summary) == NULL)
		execute_as_table_owner("DELETE FROM %1$s WHERE summary OPERATOR(pg_catalog.=) $1",
							   table, SC_OPTION_TABLE, 1, types, values, SPI_OK_DELETE);
	detach_unneeded(old_sources);
}

/*
 * Write a section's query, settings and calls, changed in place.  The sources
 * and keys stay, so no table needs to be locked or looked at.
 */
void
sc_update_section(ScSectionDef *section)
{
	Oid			types[] = {NAMEOID, NAMEOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[lengthof(types)];

	values[0] = NameGetDatum(&section->summary);
	values[1] = NameGetDatum(&section->name);
	values[2] = CStringGetTextDatum(section->query);
	values[3] = PointerGetDatum(section->settings);
	values[4] = PointerGetDatum(array_of_strings(section->calls, section->ncalls));
	if (execute_as_table_owner("UPDATE %1$s SET query = $3, settings = $4, calls = $5"
							   " WHERE summary OPERATOR(pg_catalog.=) $1"
							   " AND section OPERATOR(pg_catalog.=) $2",
							   sc_definition_table(), SC_DEFINITION_TABLE,
							   lengthof(types), types, values, SPI_OK_UPDATE) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("it was defined after this transaction's snapshot")));
}

/*
 * PostgreSQL's record of what a role owns knows nothing of rows, so REASSIGN
 * OWNED and DROP OWNED would pass the sections by.  DROP ROLE is not refused
 * for them: we could only look at this database.
 */
void
sc_give_sections(List *owners, Oid new_owner)
{
	Snapshot	snapshot;
	bool		any = false;
	Oid			table;
	ListCell   *lc;
	Oid			types[] = {OIDOID, OIDARRAYOID};
	Datum		values[lengthof(types)];
	Datum	   *elems = palloc(sizeof(Datum) * list_length(owners));
	int			n = 0;

	/* definers are not kept waiting for a role that owns no section */
	for (bool locked = false;; locked = true)
	{
		CommandCounterIncrement();
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		foreach(lc, sc_definition_names(snapshot))
		{
			ScSummaryDef *definition = sc_definition_read(lfirst(lc), snapshot, CurrentMemoryContext);

			for (int i = 0; i < definition->nsections; i++)
			{
				if (!list_member_oid(owners, definition->sections[i].owner))
					continue;
				any = true;
				if (locked && !OidIsValid(new_owner))
					sc_drop(lfirst(lc), NameStr(definition->sections[i].name));
			}
		}
		UnregisterSnapshot(snapshot);
		if (!any)
			return;
		if (locked)
			break;
		table = sc_lock_definitions();
	}
	if (!OidIsValid(new_owner))
		return;

	foreach(lc, owners)
		elems[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	values[0] = ObjectIdGetDatum(new_owner);
	values[1] = PointerGetDatum(construct_array(elems, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
	execute_as_table_owner("UPDATE %1$s SET owner = $1 WHERE owner::pg_catalog.oid"
						   " OPERATOR(pg_catalog.=) ANY ($2)",
						   table, SC_DEFINITION_TABLE, lengthof(types), types, values, SPI_OK_UPDATE);
}

/*
 * Set an option of a summary, or with a NULL value go back to the setting of
 * the same name.
 */
void
sc_configure(const char *summary, const char *option, const char *value)
{
	Oid			table = sc_lock_definitions();
	ScSummaryDef *definition = strlen(summary) < NAMEDATALEN ? definition_now(summary) : NULL;
	ScOptions	options;
	const char *hint;
	NameData	name;
	Oid			types[] = {NAMEOID, TEXTOID, TEXTOID};
	Datum		values[lengthof(types)];
	bool		valid;

	if (definition == NULL)
		sc_unknown_summary(summary);
	for (int i = 0; i < definition->nsections; i++)
		check_owner(definition->sections[i].owner, summary, NameStr(definition->sections[i].name));

	valid = sc_parse_option(&options, option, value ? value : "", &hint);
	if (hint == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("summaries have no option \"%s\"", option),
				 errhint("Options are max_stale_age, min_refresh_interval and eager_refresh.")));
	if (value && !valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\" of summary \"%s\": \"%s\"",
						option, summary, value),
				 errhint("%s", hint)));

	namestrcpy(&name, summary);
	values[0] = NameGetDatum(&name);
	values[1] = CStringGetTextDatum(option);
	if (value == NULL)
		execute_as_table_owner("DELETE FROM %1$s WHERE summary OPERATOR(pg_catalog.=) $1"
							   " AND option OPERATOR(pg_catalog.=) $2",
							   table, SC_OPTION_TABLE, 2, types, values, SPI_OK_DELETE);
	else
	{
		values[2] = CStringGetTextDatum(value);
		execute_as_table_owner("INSERT INTO %1$s (summary, option, value) VALUES ($1, $2, $3)"
							   " ON CONFLICT (summary, option) DO UPDATE SET value = excluded.value",
							   table, SC_OPTION_TABLE, 3, types, values, SPI_OK_INSERT);
	}
}
