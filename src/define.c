/*-------------------------------------------------------------------------
 *
 * define.c
 *	  Changes definitions: sections defined and dropped, options set.
 *
 * Everything is in the caller's transaction: rolled back, it leaves nothing
 * (see release.c).  Definers wait for each other on the table of
 * the definitions, so that what one has checked still holds when it writes.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "commit.h"
#include "define.h"
#include "encode.h"
#include "guard.h"
#include "inspect.h"
#include "keyed.h"
#include "oid_set.h"
#include "reader.h"
#include "release.h"
#include "role.h"
#include "shmem.h"
#include "track.h"

/*
 * What a section's definition may take: whoever renames something, reads the
 * view of all sections or builds goes through it.
 */
#define MAX_DEFINITION	(1024 * 1024)

static void
check_size(const char *summary, const char *section, Size size)
{
	if (size > MAX_DEFINITION)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("definition of section \"%s\" of summary \"%s\" is too large", section, summary),
				 errdetail("It takes %zu bytes, of at most %d.", size, MAX_DEFINITION),
				 errhint("Put constants into a table that the query reads, or make several sections of it.")));
}

/*
 * What a setting that is stored with a section may take, and the value of an option.
 * The server takes lists of names apart in a time that grows by the square of
 * that, and heeds no cancel meanwhile: whoever builds would wait for it.
 */
#define MAX_VALUE	(64 * 1024)

static void
check_settings(const ScSectionSpec *spec, ArrayType *settings)
{
	Datum	   *elems;
	int			nelems;

	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &nelems);
	for (int i = 0; i < nelems; i++)
	{
		char	   *setting = TextDatumGetCString(elems[i]);

		if (strlen(setting) > MAX_VALUE)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("%.*s of section \"%s\" of summary \"%s\" is too large",
							(int) strcspn(setting, "="), setting, spec->section, spec->summary),
					 errdetail("It takes %zu bytes, of at most %d.", strlen(setting), MAX_VALUE),
					 errhint("The setting of the session is stored with a section. Define it with a shorter one.")));
	}
}

static void
check_value(const char *summary, const char *option, const char *value)
{
	if (strlen(value) > MAX_VALUE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value for option \"%s\" of summary \"%s\" is too large", option, summary),
				 errdetail("It takes %zu bytes, of at most %d.", strlen(value), MAX_VALUE),
				 strcmp(option, SC_READERS_OPTION) == 0 ?
				 errhint("Name a role of which the readers are members.") :
				 errhint("All options but readers take a number with a unit, or on and off.")));
}

static ArrayType *
array_of_oids(List *list, Oid type)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(list), 1));
	ListCell   *lc;
	int			n = 0;

	foreach(lc, list)
	{
		elems[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	}
	return construct_array(elems, n, type, sizeof(Oid), true, TYPALIGN_INT);
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
 * table's owner, and with nobody's triggers.  Returns the number of rows.
 *
 * What was checked before is as of now, whatever the transaction's snapshot sees,
 * and so is what the statement finds: else it would pass by rows that are newer.
 * To change one of these is a serialization failure, as in any other statement.
 */
static uint64
execute_as_table_owner(const char *format, Oid table, const char *name, int nargs,
					   Oid *types, Datum *values, int expected)
{
	Relation	rel = table_open(table, NoLock);
	char	   *sql = psprintf(format, quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
																  name));
	ScSavedRole saved = sc_role_become(rel->rd_rel->relowner, 0);
	ScGuardState before = sc_guard_begin();
	bool		is_old = IsolationUsesXactSnapshot();
	volatile uint64 nrows = 0;

	table_close(rel, NoLock);

	PG_TRY();
	{
		SPIPlanPtr	plan;

		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		plan = SPI_prepare(sql, nargs, types);
		if (plan == NULL ||
			SPI_execute_snapshot(plan, values, NULL, is_old ? GetLatestSnapshot() : InvalidSnapshot,
								 is_old ? GetTransactionSnapshot() : InvalidSnapshot,
								 false, true, 0) != expected)
			elog(ERROR, "could not change %s", name);
		nrows = SPI_processed;
		SPI_finish();
	}
	PG_FINALLY();
	{
		sc_guard_end(before);
	}
	PG_END_TRY();
	sc_role_return(saved);
	return nrows;
}

/*
 * Who holds a lock on the table of the definitions that conflicts with this one,
 * for a message: " (PID 123)".  A prepared transaction has no session any more.
 */
const char *
sc_define_holders(LOCKMODE mode)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			n;
	StringInfoData list;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, sc_extension_definition_table());
	holders = GetLockConflicts(&tag, mode, &n);
	if (n == 0)
		return "";
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
	{
		PGPROC	   *proc = SC_PROC_OF_VXID(holders[i]);
		int			pid = proc && SC_PROC_LXID(proc) == holders[i].localTransactionId ? proc->pid : 0;

		appendStringInfoString(&list, i == 0 ? " (" : ", ");
		if (pid != 0)
			appendStringInfo(&list, "PID %d", pid);
		else
			appendStringInfoString(&list, "a transaction without a session");
	}
	appendStringInfoChar(&list, ')');
	return list.data;
}

static void
tell_holders(void *arg)
{
	errcontext("while waiting for another session to change definitions%s", (const char *) arg);
}

/* Whoever waits in vain, or asks the log why, shall know for whom. */
static void
lock_table(Oid table)
{
	ErrorContextCallback context;

	if (ConditionalLockRelationOid(table, ShareRowExclusiveLock))
		return;
	context.callback = tell_holders;
	context.arg = unconstify(char *, sc_define_holders(ShareRowExclusiveLock));
	context.previous = error_context_stack;
	error_context_stack = &context;
	LockRelationOid(table, ShareRowExclusiveLock);
	error_context_stack = context.previous;
}

/* To be called before anything is locked: on a standby that fails, and does not say why. */
void
sc_define_check_writable(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errhint("Execute it on the primary.")));
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}

/* Definers wait for each other; readers do not wait for them. */
Oid
sc_define_lock(void)
{
	Oid			table;

	for (;;)
	{
		table = sc_extension_definition_table();
		if (!OidIsValid(table))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("extension \"%s\" is not installed in this database", SC_NAME),
					 errhint("Run CREATE EXTENSION %s.", SC_NAME)));
		lock_table(table);

		/* the extension may have been dropped while we waited */
		if (sc_extension_definition_table() == table)
		{
			(void) sc_extension_check_version(ERROR);
			return table;
		}
		UnlockRelationOid(table, ShareRowExclusiveLock);
	}
}

/* A definer may be waiting for the very table that the user's command has locked. */
Oid
sc_define_lock_now(void)
{
	Oid			table = sc_extension_definition_table();

	if (OidIsValid(table) && !ConditionalLockRelationOid(table, ShareRowExclusiveLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("another session is changing definitions%s",
						sc_define_holders(ShareRowExclusiveLock))));
	/* held already */
	return sc_define_lock();
}

static void
note_keyed(Oid owner, Oid source, const char *column, void *arg)
{
	sc_track_cover_add(arg, &source, 1);
}

/*
 * Remove the key triggers that no section needs any more, where that needs no wait and
 * the current user may.  Else they stay, and cost writers what they cost.
 */
static void
detach_keys(List *tables)
{
	ScCover    *needed = NULL;
	ListCell   *lc;

	foreach(lc, tables)
	{
		Oid			relid = lfirst_oid(lc);

		CHECK_FOR_INTERRUPTS();
		if (!sc_track_is_keyed(relid) || !sc_track_may_detach(relid))
			continue;
		if (needed == NULL)
		{
			needed = sc_track_cover();
			sc_definition_keyed_now(note_keyed, needed);
		}
		if (!sc_track_is_covered(needed, relid))
			sc_track_detach_keys(relid);
	}
}

static void
note_sources(Oid owner, const Oid *sources, int nsources, void *arg)
{
	sc_track_cover_add(arg, sources, nsources);
}

typedef enum Detach
{
	DETACH_NOTHING,
	DETACH_NOW,					/* where that needs no wait */
	DETACH_ALL					/* waiting for the sources given */
} Detach;

/*
 * Remove the triggers from tables that no section needs any more: those of the
 * sources given, and others that have left a tree, or that nobody who might has
 * removed, if nobody holds them.  Where the current user may not lock the table,
 * or it is held and we are not to wait, the trigger stays for the next one who
 * may.  The number of sections, and that of the tables that have a trigger, count
 * once each.
 */
static void
detach_unneeded(List *dropped, Detach how)
{
	ScCover    *needed = sc_track_cover();
	ScCover    *former = sc_track_cover();
	List	   *unneeded = NIL;
	List	   *awaited = NIL;
	ListCell   *lc;
	Oid			relid;

	sc_definition_sources_now(false, note_sources, needed);
	foreach(lc, dropped)
	{
		relid = lfirst_oid(lc);
		sc_track_cover_add(former, &relid, 1);
	}
	foreach(lc, how == DETACH_NOTHING ? NIL : sc_track_tables(false))
	{
		CHECK_FOR_INTERRUPTS();
		relid = lfirst_oid(lc);
		if (sc_track_is_covered(needed, relid) || !sc_track_may_detach(relid))
			continue;
		unneeded = lappend_oid(unneeded, relid);
		if (how == DETACH_ALL && sc_track_is_covered(former, relid))
			awaited = lappend_oid(awaited, relid);
	}
	sc_track_lock_exclusive(awaited);
	foreach(lc, unneeded)
	{
		CHECK_FOR_INTERRUPTS();
		sc_track_detach(lfirst_oid(lc));
	}
	if (how != DETACH_NOTHING)
		detach_keys(sc_track_tables(false));

	/* also of what has left a tree before */
	if (sc_shared == NULL)
		return;
	for (int slot = SC_CLUSTER_SLOT; (slot = sc_slot_next(slot, MyDatabaseId, &relid)) != SC_SLOT_NONE;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!sc_track_needs_slot(needed, relid) &&
			!(sc_slot_is_member(slot) && sc_track_is_covered(needed, relid)))
			sc_release_slot(slot, relid);
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
			 errhint("Its owner is role \"%s\".", sc_role_name(owner))));
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

/* The sources that a query names, through views and inlined functions. */
static List *
derived_sources(ScQueryInfo *info)
{
	List	   *sources = NIL;
	ListCell   *lc;

	foreach(lc, info->relations)
	{
		Oid			relid = lfirst_oid(lc);

		CHECK_FOR_INTERRUPTS();
		if (sc_extension_is_own_table(relid))
			continue;
		sc_track_check_source(relid);
		sources = lappend_oid(sources, relid);
	}
	return sources;
}

static void
check_key_conflicts(ScSummaryDef *definition, const char *section, ScQueryInfo *info)
{
	ScKeys		mine = {section, info->nkeys, info->keys};

	for (int s = 0; definition && s < definition->nsections; s++)
	{
		ScSectionDef *other = &definition->sections[s];
		ScKeys		both[] = {{NameStr(other->name), other->nkeys, other->keys}, mine};

		CHECK_FOR_INTERRUPTS();
		if (strcmp(NameStr(other->name), section) != 0)
			sc_definition_check_keys(NameStr(definition->name), both, lengthof(both));
	}
}

/* Slots of this database whose tables are gone may be reused. */
static void
sweep_slots(void)
{
	Oid			relid;

	for (int slot = SC_CLUSTER_SLOT; (slot = sc_slot_next(slot, MyDatabaseId, &relid)) != SC_SLOT_NONE;)
		if (get_rel_name(relid) == NULL)
		{
			(void) sc_slot_want(slot, false);
			sc_member_forget(slot);
		}
}

/*
 * Take the slots of a source; an error if there are none: later the catch-all
 * word would have to do.
 */
static void
take_slots(Oid relid)
{
	ListCell   *lc;

	if (!sc_shared || get_rel_relkind(relid) == RELKIND_MATVIEW)
		return;
	foreach(lc, sc_track_words(relid))
	{
		Oid			table = lfirst_oid(lc);
		int			slot = sc_slot_find(SC_KEY_HERE(table), false);
		bool		is_new = slot == SC_SLOT_NONE || !sc_slot_want(slot, true);

		if (!sc_release_keep_slot(table) && is_new)
			sc_release_slot_on_abort(table);
		if (slot == SC_SLOT_NONE)
		{
			/*
			 * before one is looked for, since each time that there is none
			 * counts
			 */
			if (sc_slot_all_taken())
				sweep_slots();
			slot = sc_slot_find(SC_KEY_HERE(table), true);
		}
		if (slot == SC_SLOT_NONE)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no room to track table \"%s\"", get_rel_name(relid)),
					 errdetail("All %d slots are in use.", sc_max_tables),
					 errhint("Raise summary_cache.max_tables and restart the server.")));
		(void) sc_slot_want(slot, true);
	}
}

/*
 * May a role have triggers put on a source?  Those of a partition go on the
 * whole tree from its root, so the right to set some must be had there as well.
 */
static bool
may_track(Oid relid, Oid role)
{
	return pg_class_aclmask(relid, role, ACL_TRIGGER, ACLMASK_ALL) == ACL_TRIGGER;
}

void
sc_define_check_tree_rights(Oid relid, Oid owner)
{
	Oid			root = sc_track_root(relid);

	if (root != relid && !may_track(root, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table \"%s\", of whose tree source table \"%s\" is a part",
						get_rel_name(root), get_rel_name(relid)),
				 errhint("Role \"%s\" needs the privilege TRIGGER on it.",
						 GetUserNameFromId(owner, false))));
}

/* What can be refused before anything is looked up. */
static void
check_spec(const ScSectionSpec *spec)
{
	sc_definition_check_name("summary", spec->summary);
	sc_definition_check_name("section", spec->section);
	check_size(spec->summary, spec->section,
			   strlen(spec->query) + sizeof(Oid) * list_length(spec->sources));
	if (strcmp(spec->section, "all") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("section name \"%s\" is reserved", spec->section),
				 errhint("It is the scope of summary_cache_invalidate() that stands for all sections.")));
	sc_define_check_writable("summary_cache_define()");
}

/*
 * All sections of a summary are its owner's, or those of roles that are members of
 * each other: one of somebody else's could make reads of the document fail, or
 * hold the keys that the others need.  An error unless the current role may act
 * for all the owners that there are.  For one that is gone, only a superuser may.
 */
static void
check_summary_owners(const ScSectionSpec *spec, ScSummaryDef *definition)
{
	const ScSectionDef *other = sc_guard_foreign_section(definition, GetUserId());

	if (other == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of summary \"%s\" to add section \"%s\" to it",
					spec->summary, spec->section),
			 SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(other->owner)) ?
			 errdetail("The owner of its section \"%s\" is role \"%s\".",
					   NameStr(other->name), sc_role_name(other->owner)) :
			 errdetail("Its section \"%s\" has no owner, so that only a superuser can change the summary.",
					   NameStr(other->name)),
			 errhint("Define it as a role that may act for all its owners, or in a summary of another name.")));
}

/*
 * The owner that the section will have: as with CREATE OR REPLACE, the one that
 * it, or its summary, has already; attaching a hub sets it.  An error unless the
 * current user may act for that.
 */
static Oid
settle_owner(const ScSectionSpec *spec, ScSummaryDef *definition, ScSectionDef *existing)
{
	Oid			owner;

	if (definition == NULL)
		return spec->owner;
	if (existing)
	{
		check_owner(existing->owner, spec->summary, spec->section);
		return spec->generated ? spec->owner : existing->owner;
	}
	check_summary_owners(spec, definition);
	owner = definition->sections[0].owner;
	if (spec->generated || !SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner)))
		return spec->owner;
	return owner;
}

/*
 * The parameters that the section will have: all sections of a summary have the same.
 * Those of a summary's only section can be changed with it.
 */
static ScParameters
settle_parameters(const ScSectionSpec *spec, ScSummaryDef *definition, ScSectionDef *existing)
{
	ScParameters declared = {0};
	bool		is_only = definition == NULL || (definition->nsections == 1 && existing);

	if (spec->parameters)
		declared = sc_values_declare(spec->summary, spec->parameters);
	else if (!is_only || (existing && !spec->generated))
		return definition->parameters;
	if (is_only || sc_values_same_parameters(&declared, &definition->parameters))
		return declared;
	for (int i = 0; i < Max(declared.n, definition->parameters.n); i++)
	{
		ScParameters mine = {i < declared.n ? 1 : 0, &declared.list[i]};
		ScParameters theirs = {i < definition->parameters.n ? 1 : 0, &definition->parameters.list[i]};

		if (sc_values_same_parameters(&mine, &theirs))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter %d of section \"%s\" is not that of the other sections of summary \"%s\"",
						i + 1, spec->section, spec->summary),
				 errdetail("It is %s here, and %s there.",
						   mine.n ? sc_values_describe(&mine) : "missing",
						   theirs.n ? sc_values_describe(&theirs) : "missing"),
				 definition->parameters.n > 0 ?
				 errhint("All sections of a summary have the same parameters: %s.",
						 sc_values_describe(&definition->parameters)) :
				 errhint("All sections of a summary have the same parameters, and the others have none. Define this one in a summary of its own.")));
	}
	return declared;
}

static void
check_room(const ScSectionSpec *spec)
{
	if (sc_shared && sc_definition_are_as_many(sc_store_max_sections()))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many sections to define section \"%s\" of summary \"%s\"",
						spec->section, spec->summary),
				 errdetail("At most %d can be cached.", sc_store_max_sections()),
				 errhint("Raise summary_cache.max_sections and restart the server.")));
}

/* An error unless the owner may read and track a source. */
static void
check_source_rights(Oid relid, Oid owner)
{
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
	sc_define_check_tree_rights(relid, owner);
}

/* As definition.c reads it. */
static Datum
keyed_column(const ScSectionDef *section)
{
	char	  **strings = palloc(sizeof(char *) * Max(section->nkeyed * 3, 1));

	for (int i = 0; i < section->nkeyed; i++)
	{
		strings[3 * i] = psprintf("%d", section->keyed[i].source);
		strings[3 * i + 1] = section->keyed[i].column;
		strings[3 * i + 2] = psprintf("%d", section->keyed[i].parameter + 1);
	}
	return PointerGetDatum(array_of_strings(strings, section->nkeyed * 3));
}

/* Insert the section's row, or replace it. */
static void
write_section(Oid table, ScSectionDef *section, List *sources, ScQueryInfo *info)
{
	char	  **calls = palloc(sizeof(char *) * Max(list_length(info->functions), 1));
	int			ncalls = 0;
	ListCell   *lc;
	Oid			types[] = {NAMEOID, NAMEOID, TEXTOID, REGROLEOID, TEXTOID,
		REGCLASSARRAYOID, REGCLASSARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID,
	TEXTARRAYOID, REGTYPEARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	static const char *const columns[] = {"summary", "section", "refresh", "owner", "query", "sources", "reads",
	"calls", "keys", "settings", "generated", "parameters", "parameter_types", "keyed", "not_keyed"};
	Datum		values[lengthof(types)];
	StringInfoData names;
	StringInfoData parameters;
	StringInfoData changes;
	Size		size = 0;
	int			n = 0;

	StaticAssertStmt(lengthof(columns) == lengthof(types), "a type for each column");

	/* by name: pg_upgrade refuses columns with numbers of functions */
	foreach(lc, info->functions)
	{
		calls[ncalls++] = sc_inspect_function_name(lfirst_oid(lc));
	}

	values[n++] = NameGetDatum(&section->summary);
	values[n++] = NameGetDatum(&section->name);
	values[n++] = CStringGetTextDatum(section->is_inline ? "inline" : "background");
	values[n++] = ObjectIdGetDatum(section->owner);
	values[n++] = CStringGetTextDatum(section->query);
	values[n++] = PointerGetDatum(array_of_oids(sources, REGCLASSOID));
	values[n++] = PointerGetDatum(array_of_oids(info->relations, REGCLASSOID));
	values[n++] = PointerGetDatum(array_of_strings(calls, ncalls));
	values[n++] = PointerGetDatum(array_of_strings(info->keys, info->nkeys));
	values[n++] = PointerGetDatum(section->settings);
	values[n++] = BoolGetDatum(section->generated);
	sc_values_write_columns(&section->parameters, &values[n], &values[n + 1]);
	n += 2;
	values[n++] = keyed_column(section);
	values[n++] = PointerGetDatum(array_of_strings(section->not_keyed, section->nnot_keyed));
	Assert(n == lengthof(types));
	for (int i = 0; i < n; i++)
		if (get_typlen(types[i]) == -1)
			size += VARSIZE_ANY(DatumGetPointer(values[i]));
	check_size(NameStr(section->summary), NameStr(section->name), size);

	/* the objects of the version before may lack some */
	initStringInfo(&names);
	initStringInfo(&parameters);
	initStringInfo(&changes);
	for (int i = 0; i < n; i++)
	{
		if (!sc_definition_has_column(columns[i]))
			continue;
		appendStringInfo(&names, ", %s", columns[i]);
		appendStringInfo(&parameters, ", $%d", i + 1);
		if (i >= 2)
			appendStringInfo(&changes, "%s%s = excluded.%s", i > 2 ? ", " : "", columns[i], columns[i]);
	}
	execute_as_table_owner(psprintf("INSERT INTO %%1$s AS d (position%s)"
									" SELECT coalesce(pg_catalog.max(p.position), 0) OPERATOR(pg_catalog.+) 1%s"
									" FROM %%1$s p WHERE p.summary OPERATOR(pg_catalog.=) $1"
									" ON CONFLICT (summary, section) DO UPDATE SET %s",
									names.data, parameters.data, changes.data),
						   table, SC_DEFINITION_TABLE, lengthof(types), types, values, SPI_OK_INSERT);
}

/* Strings, as a sentence lists them. */
static char *
listed(List *strings)
{
	StringInfoData list;
	ListCell   *lc;

	initStringInfo(&list);
	foreach(lc, strings)
	{
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", (char *) lfirst(lc));
	}
	return list.data;
}

/* A section as it is to be, and what is there. */
typedef struct Examined
{
	ScSummaryDef *definition;	/* of its summary, or NULL */
	ScSectionDef *existing;		/* that it replaces, or NULL */
	ScSectionDef section;
	ScQueryInfo info;
	List	   *sources;
} Examined;

static void settle_keys(const ScSectionSpec *spec, Examined *examined);
static char *keys_detail(const ScSectionDef *section, List *sources);

/* Find out all about a section that is to be defined; an error if it cannot be. */
static void
examine(const ScSectionSpec *spec, Examined *examined)
{
	ScSectionDef *section = &examined->section;
	ListCell   *lc;

	memset(examined, 0, sizeof(*examined));
	examined->definition = sc_definition_now(spec->summary);
	examined->existing = sc_definition_section(examined->definition, spec->section);

	namestrcpy(&section->summary, spec->summary);
	namestrcpy(&section->name, spec->section);
	section->query = pstrdup(spec->query);
	section->is_inline = spec->is_inline;
	section->generated = spec->generated;
	section->settings = spec->settings ? spec->settings : session_settings();
	check_settings(spec, section->settings);
	section->owner = settle_owner(spec, examined->definition, examined->existing);
	section->parameters = settle_parameters(spec, examined->definition, examined->existing);
	if (examined->existing == NULL)
		check_room(spec);

	sc_inspect_query(section, spec->derive_sources, &examined->info);
	check_key_conflicts(examined->definition, spec->section, &examined->info);
	examined->sources = spec->derive_sources ? derived_sources(&examined->info) : spec->sources;
	foreach(lc, examined->sources)
	{
		CHECK_FOR_INTERRUPTS();
		check_source_rights(lfirst_oid(lc), section->owner);
	}
	settle_keys(spec, examined);
}

/* May a source be keyed by a column, as who defines the section wants it? */
static bool
may_key(const ScSectionSpec *spec, const char *column)
{
	return spec->any_keys || sc_list_has_name(spec->keys, column);
}

/* Why a source is not keyed; NULL: it is, by these (ScKeyed). */
static const char *
why_not_keyed(const ScSectionSpec *spec, const ScSectionDef *section, const ScQueryInfo *info, Oid source, List **keys)
{
	ListCell   *lc;

	*keys = NIL;
	foreach(lc, info->not_keyed)
	{
		ScNotKeyed *not_keyed = lfirst(lc);

		if (not_keyed->relid == source)
			return not_keyed->reason;
	}
	foreach(lc, info->keyed)
	{
		ScKeyed    *key = lfirst(lc);
		const char *column = get_attname(source, key->attno, true);

		if (key->relid != source || column == NULL)
			continue;
		if (!may_key(spec, column))
			return psprintf("\"keys\" does not name its column %s", column);
		if (!sc_values_has_family(section->parameters.list[key->parameter - 1].type, key->opfamily))
			return psprintf("its column %s is compared by another equality than the parameter's type has", column);
		*keys = lappend(*keys, key);
	}
	if (*keys == NIL)
		return "the query does not name it";
	if (!info->closed)
		return "the query runs code that is not PostgreSQL's own, which may read any row";
	return NULL;
}

/* Find out by which columns the sources are keyed. */
static void
settle_keys(const ScSectionSpec *spec, Examined *examined)
{
	ScSectionDef *section = &examined->section;
	List	   *unused = list_copy(spec->keys);
	ListCell   *lc;
	ListCell   *lc2;
	int			room = list_length(examined->info.keyed);

	if (section->parameters.n == 0)
	{
		if (spec->keys)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("section \"%s\" of summary \"%s\" has keys and no parameters", spec->section, spec->summary),
					 errhint("Declare the parameters that the columns are compared with.")));
		return;
	}
	section->keyed = palloc(sizeof(ScSectionKey) * Max(room * Max(list_length(examined->sources), 1), 1));
	section->not_keyed = palloc(sizeof(char *) * Max(list_length(examined->sources), 1));
	foreach(lc, examined->sources)
	{
		List	   *keys;
		const char *reason = why_not_keyed(spec, section, &examined->info, lfirst_oid(lc), &keys);

		CHECK_FOR_INTERRUPTS();
		section->not_keyed[section->nnot_keyed++] = pstrdup(reason ? reason : "");
		foreach(lc2, reason ? NIL : keys)
		{
			ScKeyed    *key = lfirst(lc2);
			ScSectionKey *mine = &section->keyed[section->nkeyed++];

			mine->source = foreach_current_index(lc);
			mine->column = get_attname(key->relid, key->attno, false);
			mine->parameter = key->parameter - 1;
		}
	}
	for (int i = 0; i < section->nkeyed; i++)
		foreach(lc, unused)
	{
		if (strcmp(lfirst(lc), section->keyed[i].column) == 0)
			unused = foreach_delete_current(unused, lc);
	}
	if (unused)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no source of section \"%s\" of summary \"%s\" is keyed by column \"%s\"",
						spec->section, spec->summary, (char *) linitial(unused)),
				 errdetail("%s", keys_detail(section, examined->sources)),
				 errhint("Compare the column with a parameter in each scan of its table, at the top level of the conditions; or leave it out of \"keys\".")));
}

/* The columns by which a source is keyed, of char *. */
static List *
columns_of(const ScSectionDef *section, List *sources, Oid source)
{
	List	   *columns = NIL;

	for (int i = 0; i < section->nkeyed; i++)
		if (list_nth_oid(sources, section->keyed[i].source) == source)
			columns = lappend(columns, section->keyed[i].column);
	return columns;
}

/* The sources by which columns they are keyed, and those that are not, as sentences. */
static char *
keys_detail(const ScSectionDef *section, List *sources)
{
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	foreach(lc, sources)
	{
		int			source = foreach_current_index(lc);
		List	   *columns = columns_of(section, sources, lfirst_oid(lc));

		if (out.len > 0)
			appendStringInfoChar(&out, ' ');
		if (columns)
			appendStringInfo(&out, "Table %s is keyed by %s.", get_rel_name(lfirst_oid(lc)), listed(columns));
		else
			appendStringInfo(&out, "Table %s is not keyed: %s.", get_rel_name(lfirst_oid(lc)),
							 section->nnot_keyed > source ? section->not_keyed[source] : "");
	}
	return out.data;
}

static List *
add_notice(List *notices, char *message, char *detail, char *hint)
{
	ScNotice   *notice = palloc(sizeof(ScNotice));

	notice->message = message;
	notice->detail = detail;
	notice->hint = hint;
	return lappend(notices, notice);
}

/* What a definition cannot see, or what is not as one might expect of it. */
static List *
notices_of(const ScSectionDef *section, List *sources, bool derive_sources, bool generated, ScQueryInfo *info)
{
	const char *summary = NameStr(section->summary);
	const char *name = NameStr(section->name);
	List	   *notices = NIL;
	ListCell   *lc;

	foreach(lc, derive_sources ? info->functions : NIL)
	{
		notices = add_notice(notices,
							 psprintf("tables that function %s reads are not tracked",
									  format_procedure(lfirst_oid(lc))),
							 NULL,
							 "Name them in \"sources\" together with the tables of the query.");
	}
	if (info->depends)
		notices = add_notice(notices,
							 psprintf("section \"%s\" of summary \"%s\" depends on more than its source tables",
									  name, summary),
							 psprintf("It uses %s.", listed(info->depends)),
							 "Such a value is that of the session that builds, and as old as the document: max_stale_age bounds it.");
	if (OidIsValid(info->author) && !generated && superuser_arg(section->owner))
		notices = add_notice(notices,
							 psprintf("section \"%s\" of summary \"%s\" runs with the rights of a superuser",
									  name, summary),
							 psprintf("It uses what role \"%s\" owns and can change.",
									  sc_role_name(info->author)),
							 "Drop it, and define it as a role that needs no more rights than the query does.");
	if (section->parameters.n > 0 && sources)
	{
		bool		all = true;

		for (int i = 0; i < section->nnot_keyed; i++)
			all = all && section->not_keyed[i][0] == '\0';
		notices = add_notice(notices,
							 psprintf(all ? "documents of section \"%s\" of summary \"%s\" are made stale by rows of their own key only" :
									  "documents of section \"%s\" of summary \"%s\" are made stale by any row of some tables",
									  name, summary),
							 keys_detail(section, sources),
							 all ? "View summary_cache_tables shows it. To have no trigger for each row on a table, pass keys => '{}'." :
							 "Where each scan of a table compares one column with a parameter at the top level of its conditions, only the rows of that key matter.");
	}
	return notices;
}

/* Say that to who defines. */
static void
report(const ScSectionSpec *spec, Examined *examined, bool executed)
{
	ListCell   *lc;

	foreach(lc, notices_of(&examined->section, examined->sources, spec->derive_sources, spec->generated,
						   &examined->info))
	{
		ScNotice   *notice = lfirst(lc);

		ereport(NOTICE,
				(errmsg("%s", notice->message),
				 notice->detail ? errdetail("%s", notice->detail) : 0,
				 errhint("%s", notice->hint)));
	}
	if (!executed)
		ereport(NOTICE,
				(errmsg("query of section \"%s\" of summary \"%s\" was not executed",
						spec->section, spec->summary),
				 errdetail("It runs code that is not PostgreSQL's own with the rights of role \"%s\", of which role \"%s\" is no member.",
						   sc_role_name(examined->section.owner), sc_role_name(GetUserId())),
				 errhint("Read the summary, so that a worker builds it.")));
}

/*
 * Are a section's sources those that its query reads?  Whether they were derived
 * from it or given is not kept.
 */
static bool
reads_its_sources(const ScSectionDef *section, ScQueryInfo *info)
{
	ScOidList	sources = {NIL};
	ScOidList	reads = {NIL};
	ListCell   *lc;

	for (int i = 0; i < section->nsources; i++)
		(void) sc_oid_list_add(&sources, section->sources[i]);
	foreach(lc, info->relations)
	{
		if (sc_extension_is_own_table(lfirst_oid(lc)))
			continue;
		if (!sc_oid_list_has(&sources, lfirst_oid(lc)))
			return false;
		(void) sc_oid_list_add(&reads, lfirst_oid(lc));
	}
	return list_length(reads.list) == list_length(sources.list);
}

void
sc_define_notices(const char *summary, void (*put) (const char *section, const ScNotice *notice, void *arg), void *arg)
{
	ScSummaryDef *definition = sc_definition_now(summary);

	if (definition == NULL)
		sc_definition_unknown(summary);
	sc_reader_check(definition);
	for (int i = 0; i < definition->nsections; i++)
	{
		ScSectionDef *section = &definition->sections[i];
		ScQueryInfo info;
		List	   *sources = NIL;
		ListCell   *lc;

		CHECK_FOR_INTERRUPTS();
		check_owner(section->owner, summary, NameStr(section->name));
		memset(&info, 0, sizeof(info));
		sc_inspect_query(section, false, &info);
		for (int s = 0; s < section->nsources; s++)
			sources = lappend_oid(sources, section->sources[s]);
		foreach(lc, notices_of(section, sources, reads_its_sources(section, &info), section->generated, &info))
		{
			put(NameStr(section->name), lfirst(lc), arg);
		}
	}
}

void
sc_define_section(const ScSectionSpec *spec)
{
	Oid			table;
	Examined	examined;
	List	   *old_sources = NIL;
	ScOidList	new_sources = {NIL};
	ScOidList	roots = {NIL};
	List	   *columns = NIL;	/* by which each new source is keyed */
	List	   *members;
	bool		executed = true;
	ListCell   *lc;

	check_spec(spec);

	/*
	 * The query may take long.  So it is executed before we have locked what
	 * other definers or writers wait for; what was found out before that is
	 * found out again.
	 */
	if (spec->execute)
	{
		(void) sc_extension_check_version(ERROR);
		examine(spec, &examined);
		/* nobody knows for which values */
		if (examined.section.parameters.n == 0)
			executed = spec->execute(&examined.section);
	}

	table = sc_define_lock();
	if (spec->generated && !sc_definition_has_column("generated"))
		sc_extension_need_update("column", "generated");
	examine(spec, &examined);
	if (examined.section.parameters.n > 0 && !sc_definition_has_column("parameters"))
		sc_extension_need_update("column", "parameters");
	report(spec, &examined, executed);
	foreach(lc, examined.sources)
	{
		CHECK_FOR_INTERRUPTS();
		(void) sc_oid_list_add(&new_sources, lfirst_oid(lc));
	}
	foreach(lc, new_sources.list)
	{
		columns = lappend(columns, columns_of(&examined.section, examined.sources, lfirst_oid(lc)));
	}
	members = sc_track_lock_keyed(new_sources.list, columns);
	foreach(lc, new_sources.list)
	{
		CHECK_FOR_INTERRUPTS();
		/* it may have been made a part of another tree meanwhile */
		sc_define_check_tree_rights(lfirst_oid(lc), examined.section.owner);
		/* the slot of many partitions of a table is the same */
		if (sc_oid_list_add(&roots, sc_track_root(lfirst_oid(lc))))
			take_slots(lfirst_oid(lc));
	}

	write_section(table, &examined.section, examined.sources, &examined.info);
	/* documents of other parameters are nobody's */
	if (examined.definition &&
		!sc_values_same_parameters(&examined.definition->parameters, &examined.section.parameters))
		sc_release_summary(spec->summary);
	if (members)
		sc_track_attach(members);
	foreach(lc, new_sources.list)
	{
		List	   *mine = list_nth(columns, foreach_current_index(lc));

		CHECK_FOR_INTERRUPTS();
		if (mine)
			sc_track_attach_keys(sc_track_members(lfirst_oid(lc)), mine);
	}
	for (int i = 0; examined.existing && i < examined.existing->nsources; i++)
		if (!sc_oid_list_has(&new_sources, examined.existing->sources[i]))
			old_sources = lappend_oid(old_sources, examined.existing->sources[i]);
	if (old_sources)
		detach_unneeded(old_sources, DETACH_ALL);
	else if (examined.existing && examined.existing->nkeyed > 0)
		detach_keys(sc_track_tables(false));
}

/* The roles that a value of option readers names. */
static ArrayType *
readers_from_value(const char *summary, const char *value)
{
	List	   *names;
	ScOidList	roles = {NIL};
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(value), ',', &names))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\" of summary \"%s\": \"%s\"",
						SC_READERS_OPTION, summary, value),
				 errhint("Use names of roles, separated by commas, in double quotes where SQL needs them.")));
	foreach(lc, names)
	{
		const char *name = lfirst(lc);
		Oid			role = get_role_oid(name, true);

		CHECK_FOR_INTERRUPTS();
		if (!OidIsValid(role))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("role \"%s\" in option \"%s\" of summary \"%s\" does not exist",
							name, SC_READERS_OPTION, summary),
					 strcmp(name, "public") == 0 ?
					 errhint("Without the option, all roles that may execute a reading function can read: set it to NULL.") :
					 errhint("Create the role, or name another one.")));
		(void) sc_oid_list_add(&roles, role);
	}
	return array_of_oids(roles.list, OIDOID);
}

/* Write the list of readers, or with NULL none. */
static void
write_readers(Oid table, Name summary, ArrayType *roles)
{
	Oid			types[] = {NAMEOID, OIDARRAYOID};
	Datum		values[] = {NameGetDatum(summary), PointerGetDatum(roles)};

	if (!OidIsValid(get_relname_relid(SC_READER_TABLE, get_rel_namespace(table))))
	{
		if (roles)
			sc_extension_need_update("table", SC_OWN_TABLE(SC_READER_TABLE));
		return;
	}
	execute_as_table_owner("DELETE FROM %1$s WHERE summary OPERATOR(pg_catalog.=) $1",
						   table, SC_READER_TABLE, 1, types, values, SPI_OK_DELETE);
	if (roles)
		execute_as_table_owner("INSERT INTO %1$s (summary, role)"
							   " SELECT $1, r FROM pg_catalog.unnest($2) r",
							   table, SC_READER_TABLE, lengthof(types), types, values, SPI_OK_INSERT);
}

/*
 * Drop a section, or with NULL all of a summary, but for its triggers: returns
 * the sources that it had, those of several sections more than once.
 */
static List *
drop_sections(Oid table, const char *summary, const char *section)
{
	ScSummaryDef *definition = sc_definition_now(summary);
	List	   *old_sources = NIL;
	NameData	summary_name;
	NameData	section_name;
	Oid			types[] = {NAMEOID, NAMEOID};
	Datum		values[lengthof(types)];
	bool		found = false;

	if (definition)
		sc_reader_check(definition);
	for (int i = 0; definition && i < definition->nsections; i++)
	{
		ScSectionDef *dropped = &definition->sections[i];

		if (section && strcmp(NameStr(dropped->name), section) != 0)
			continue;
		found = true;
		CHECK_FOR_INTERRUPTS();
		check_owner(dropped->owner, summary, NameStr(dropped->name));
		for (int s = 0; s < dropped->nsources; s++)
			old_sources = lappend_oid(old_sources, dropped->sources[s]);
	}
	if (definition == NULL)
		sc_definition_unknown(summary);
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
	if (sc_definition_now(summary) == NULL)
	{
		execute_as_table_owner("DELETE FROM %1$s WHERE summary OPERATOR(pg_catalog.=) $1",
							   table, SC_OPTION_TABLE, 1, types, values, SPI_OK_DELETE);
		write_readers(table, &summary_name, NULL);
		sc_release_summary(summary);
	}
	return old_sources;
}

void
sc_define_drop(const char *summary, const char *section)
{
	Oid			table;

	sc_define_check_writable("summary_cache_drop()");
	table = sc_define_lock();
	detach_unneeded(drop_sections(table, summary, section), DETACH_ALL);
}

/*
 * Write a section's query, settings, calls and keys, changed in place.  The sources
 * and keys stay, so no table needs to be locked or looked at.
 */
void
sc_define_update(ScSectionDef *section)
{
	Oid			types[] = {NAMEOID, NAMEOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	bool		has_keys = sc_definition_has_column("keyed");
	Datum		values[lengthof(types)];

	values[0] = NameGetDatum(&section->summary);
	values[1] = NameGetDatum(&section->name);
	values[2] = CStringGetTextDatum(section->query);
	values[3] = PointerGetDatum(section->settings);
	values[4] = PointerGetDatum(array_of_strings(section->calls, section->ncalls));
	values[5] = keyed_column(section);
	execute_as_table_owner(has_keys ? "UPDATE %1$s SET query = $3, settings = $4, calls = $5, keyed = $6"
						   " WHERE summary OPERATOR(pg_catalog.=) $1"
						   " AND section OPERATOR(pg_catalog.=) $2" :
						   "UPDATE %1$s SET query = $3, settings = $4, calls = $5"
						   " WHERE summary OPERATOR(pg_catalog.=) $1"
						   " AND section OPERATOR(pg_catalog.=) $2",
						   sc_extension_definition_table(), SC_DEFINITION_TABLE,
						   has_keys ? lengthof(types) : lengthof(types) - 1, types, values, SPI_OK_UPDATE);
}

/* For sc_definition_some(): is a section one of these roles'? */
static bool
is_owned_by(const ScSectionDef *section, void *arg)
{
	return list_member_oid(arg, section->owner);
}

/* May a role's sections be given to another one? */
static bool
may_give(Oid owner, Oid new_owner)
{
	return !superuser_arg(new_owner) || superuser_arg(owner);
}

/*
 * PostgreSQL's record of what a role owns knows nothing of rows, so REASSIGN
 * OWNED and DROP OWNED would pass the sections by.  DROP ROLE is not refused
 * for them: we could only look at this database.
 *
 * Returns the summaries with sections of some roles, and locks the table of the
 * definitions if there are any: definers do not matter to roles that own none.
 */
static List *
lock_owned(List *owners, Oid *table)
{
	if (sc_definition_some_now(is_owned_by, owners) == NIL)
		return NIL;
	*table = sc_define_lock_now();
	return sc_definition_some_now(is_owned_by, owners);
}

/*
 * DROP OWNED.  Within a user's transaction that goes on, no trigger is dropped:
 * the lock that this takes would keep others from the table for as long.
 */
void
sc_define_drop_of(List *owners, bool may_detach)
{
	List	   *old_sources = NIL;
	Oid			table;
	ListCell   *lc;

	foreach(lc, lock_owned(owners, &table))
	{
		ScSummaryDef *definition = lfirst(lc);

		for (int i = 0; i < definition->nsections; i++)
			if (is_owned_by(&definition->sections[i], owners))
				old_sources = list_concat(old_sources, drop_sections(table, NameStr(definition->name),
																	 NameStr(definition->sections[i].name)));
	}
	if (old_sources)
		detach_unneeded(old_sources, may_detach ? DETACH_NOW : DETACH_NOTHING);
}

/*
 * REASSIGN OWNED.  A superuser is not given what others have written, since a
 * section's query and all that it calls run with its owner's rights, whoever
 * reads: these sections are nobody's.
 */
void
sc_define_give(List *owners, Oid new_owner)
{
	Oid			table;
	ListCell   *lc;
	Oid			types[] = {OIDOID, OIDOID};
	Datum		values[lengthof(types)];
	List	   *kept = NIL;

	if (lock_owned(owners, &table) == NIL)
		return;
	foreach(lc, owners)
	{
		bool		given = may_give(lfirst_oid(lc), new_owner);

		values[0] = ObjectIdGetDatum(given ? new_owner : InvalidOid);
		values[1] = ObjectIdGetDatum(lfirst_oid(lc));
		if (execute_as_table_owner("UPDATE %1$s SET owner = $1 WHERE owner::pg_catalog.oid"
								   " OPERATOR(pg_catalog.=) $2",
								   table, SC_DEFINITION_TABLE, lengthof(types), types, values,
								   SPI_OK_UPDATE) > 0 && !given)
			kept = lappend(kept, GetUserNameFromId(lfirst_oid(lc), false));
	}
	if (kept)
		ereport(WARNING,
				(errmsg("sections of %s have no owner any more", listed(kept)),
				 errdetail("What other roles have written is not run with the rights of superuser \"%s\", so these sections are not built.",
						   GetUserNameFromId(new_owner, false)),
				 errhint("View summary_cache_sections lists them. Read their queries, drop them, and define them again as the role that shall own them.")));
}

/*
 * Roles that are dropped from this database's sections and rights: DROP OWNED.
 * Lists that named nobody else stay, and name nobody.
 */
void
sc_define_forget_readers(List *roles)
{
	Oid			types[] = {OIDARRAYOID};
	Datum		values[] = {PointerGetDatum(array_of_oids(roles, OIDOID))};
	Oid			table;

	/* definers do not matter to a role that reads nothing */
	if (!sc_definition_are_readers(roles))
		return;
	table = sc_define_lock_now();
	execute_as_table_owner("DELETE FROM %1$s WHERE role::pg_catalog.oid OPERATOR(pg_catalog.=) ANY ($1)",
						   table, SC_READER_TABLE, lengthof(types), types, values, SPI_OK_DELETE);
}

/* An error unless there is such an option, and the value is one of its. */
static void
check_option(const char *summary, const char *option, const char *value)
{
	ScOptions	options;
	const char *hint;
	bool		valid = sc_settings_parse_option(&options, option, value ? value : "", &hint);

	if (hint == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("summaries have no option \"%s\"", option),
				 errhint("Options are max_stale_age, min_refresh_interval, eager_refresh, memory_limit, max_documents, encodings and readers.")));
	if (value && !valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\" of summary \"%s\": \"%s\"",
						option, summary, value),
				 errhint("%s", hint)));
	for (int i = 0; value && strcmp(option, SC_ENCODINGS_OPTION) == 0 && i < SC_ENCODINGS; i++)
		if (options.levels[i] > 0 && !sc_encode_is_built_in((ScEncoding) i))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("this build of summary_cache has no encoding %s", sc_settings_encoding_name((ScEncoding) i)),
					 errhint("Build the library with the headers of %s, which pkg-config finds as %s.",
							 sc_encode_library((ScEncoding) i), sc_encode_library((ScEncoding) i))));
}

/*
 * Set an option of a summary, or with a NULL value go back to the setting of
 * the same name.
 */
void
sc_define_configure(const char *summary, const char *option, const char *value)
{
	Oid			table;
	ScSummaryDef *definition;
	NameData	name;
	Oid			types[] = {NAMEOID, TEXTOID, TEXTOID};
	Datum		values[lengthof(types)];

	sc_define_check_writable("summary_cache_configure()");
	if (value)
		check_value(summary, option, value);
	table = sc_define_lock();
	definition = strlen(summary) < NAMEDATALEN ? sc_definition_now(summary) : NULL;
	if (definition == NULL)
		sc_definition_unknown(summary);
	sc_reader_check(definition);
	for (int i = 0; i < definition->nsections; i++)
		check_owner(definition->sections[i].owner, summary, NameStr(definition->sections[i].name));

	namestrcpy(&name, summary);
	if (strcmp(option, SC_READERS_OPTION) == 0)
	{
		write_readers(table, &name, value ? readers_from_value(summary, value) : NULL);
		/* the option's own row says where the list is */
		value = value ? SC_OWN_TABLE(SC_READER_TABLE) : NULL;
	}
	else
		check_option(summary, option, value);

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

/* A source, and a role that has sections over it. */
typedef struct OwnedSource
{
	Oid			source;
	Oid			owner;
} OwnedSource;

static void
note_owned_sources(Oid owner, const Oid *sources, int nsources, void *arg)
{
	for (int i = 0; i < nsources; i++)
	{
		OwnedSource owned = {sources[i], owner};

		(void) hash_search(arg, &owned, HASH_ENTER, NULL);
	}
}

/* A column by which a source is keyed, and a role that has such a section. */
typedef struct OwnedKey
{
	Oid			owner;
	Oid			source;
	char	   *column;
} OwnedKey;

static void
note_owned_keys(Oid owner, Oid source, const char *column, void *arg)
{
	List	  **keys = arg;
	OwnedKey   *key = palloc(sizeof(OwnedKey));

	*key = (OwnedKey)
	{
		owner, source, pstrdup(column)
	};
	*keys = lappend(*keys, key);
}

/* The same of key triggers, which a build has found missing on a table that is tracked. */
static bool
attach_missing_keys(void)
{
	List	   *keys = NIL;
	bool		attached = false;
	ListCell   *lc;

	sc_definition_keyed_now(note_owned_keys, &keys);
	foreach(lc, keys)
	{
		OwnedKey   *key = lfirst(lc);
		ScSavedRole saved;
		const char *reason;

		CHECK_FOR_INTERRUPTS();
		if (get_attnum(key->source, key->column) == InvalidAttrNumber ||
			sc_track_has_keys(key->source, list_make1(key->column), &reason) ||
			!may_track(key->source, key->owner) || !may_track(sc_track_root(key->source), key->owner))
			continue;
		saved = sc_role_become(key->owner, SECURITY_RESTRICTED_OPERATION);
		attached = sc_track_attach_missing_keys(key->source, list_make1(key->column)) || attached;
		sc_role_return(saved);
	}
	return attached;
}

/*
 * Put our triggers where a section needs them, its owner may have them, and they
 * are missing; as far as no lock must be waited for.
 */
static bool
attach_missing(void)
{
	Oid			table = sc_extension_definition_table();
	bool		attached = false;
	HASHCTL		info;
	HTAB	   *all;
	HASH_SEQ_STATUS seq;
	OwnedSource *owned;

	/* what is defined stays so until we are done */
	if (!OidIsValid(table) || !ConditionalLockRelationOid(table, ShareRowExclusiveLock) ||
		sc_extension_definition_table() != table || !sc_extension_check_version(DEBUG1))
		return false;
	info.keysize = info.entrysize = sizeof(OwnedSource);
	info.hcxt = CurrentMemoryContext;
	all = hash_create("summary_cache sources", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	sc_definition_sources_now(true, note_owned_sources, all);
	hash_seq_init(&seq, all);
	while ((owned = hash_seq_search(&seq)) != NULL)
	{
		Oid			source = owned->source;
		ScSavedRole saved;
		const char *reason;

		CHECK_FOR_INTERRUPTS();
		if (get_rel_name(source) == NULL || sc_track_provable(source, false, &reason) ||
			!may_track(source, owned->owner) || !may_track(sc_track_root(source), owned->owner))
			continue;

		/* event triggers run with the rights of whom the trigger is for */
		saved = sc_role_become(owned->owner, SECURITY_RESTRICTED_OPERATION);
		attached = sc_track_attach_missing(source) || attached;
		sc_role_return(saved);
	}
	return attach_missing_keys() || attached;
}

/*
 * From the worker, between transactions: if a build has found a table without
 * our trigger, put it there.  A table that joined a tracked tree may have none:
 * the command that made it join does not wait for its writers.  Nor has a table
 * of another extension after a restore, since triggers on such tables are not
 * dumped.  Returns whether there is something to refresh.
 */
bool
sc_define_attach_missing(void)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool attached = false;

	if (!sc_track_trigger_was_missing() || RecoveryInProgress())
		return false;
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		/* writers wait for this commit: it shall not wait for a standby */
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
		attached = attach_missing();
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		/* it is tried again with the next refresh */
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		ereport(DEBUG1,
				(errmsg("could not attach missing triggers: %s", error->message)));
		FreeErrorData(error);
		attached = false;
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return attached;
}
