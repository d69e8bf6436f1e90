/*-------------------------------------------------------------------------
 *
 * definition.c
 *	  Summaries and sections in the catalog, and this backend's cached view of
 *	  them.
 *
 * The definitions are rows of summary_cache_definition, an ordinary table that
 * pg_dump carries.  Every change of it moves the database's catch-all word, so
 * a cached definition is good as long as that word has not moved; and a
 * document built from an older one is never proven current.
 *
 * Definitions are read by an index scan under the snapshot that is wanted, not
 * by SQL: the reader of a summary has no rights on the table.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "summary_cache.h"

#define DEFINITION_TABLE "summary_cache_definition"
#define DEFINITION_INDEX "summary_cache_definition_pkey"

/* Columns of the table. */
enum
{
	Anum_summary = 1,
	Anum_section,
	Anum_position,
	Anum_refresh,
	Anum_owner,
	Anum_query,
	Anum_sources,
	Anum_reads,
	Anum_keys,
	Anum_settings,
	Anum_generated,
	Natts_definition = Anum_generated
};

#define OPTION_TABLE "summary_cache_option"
#define OPTION_INDEX "summary_cache_option_pkey"

enum
{
	Anum_option_summary = 1,
	Anum_option_name,
	Anum_option_value
};

/* A definition in this backend's cache. */
typedef struct CachedDefinition
{
	NameData	name;			/* hash key */
	ScLabel		labels[2];		/* the catch-all words that it was read at */
	ScSummaryDef *definition;	/* NULL: not known */
} CachedDefinition;

static HTAB *cached_definitions = NULL;
static List *garbage = NIL;		/* superseded while pinned */
static int	pins = 0;
static LocalTransactionId pins_lxid = InvalidLocalTransactionId;

/* The schema that the extension lives in. */
Oid
sc_extension_schema(bool missing_ok)
{
	Oid			extension = get_extension_oid(SC_NAME, missing_ok);
	Oid			schema = InvalidOid;
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	if (!OidIsValid(extension))
		return InvalidOid;
	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return schema;
}

/* A name that cannot be one is refused, rather than cut. */
void
sc_check_name(const char *what, const char *name)
{
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("%s name is empty", what),
				 errhint("Give the %s a name of 1 to %d bytes.", what, NAMEDATALEN - 1)));
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("%s name \"%s\" is too long", what, name),
				 errhint("Names have at most %d bytes.", NAMEDATALEN - 1)));
}

/* The error of every function that is given a summary that is not there. */
void
sc_unknown_summary(const char *summary)
{
	if (strcmp(summary, SC_STATE_SUMMARY) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("summary \"%s\" is not defined", summary),
				 errhint("Call summary_cache_attach_state_hub('schema') with the schema of the State Hub's tables, or define sections with summary_cache_define().")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("summary \"%s\" is not defined", summary),
			 errhint("Define it with summary_cache_define(); view summary_cache_sections lists those that are.")));
}

static char **
text_array(ArrayType *array, int *n)
{
	Datum	   *elems;
	char	  **strings;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, n);
	strings = palloc(sizeof(char *) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		strings[i] = TextDatumGetCString(elems[i]);
	return strings;
}

static Oid *
oid_array(Datum array, int *n)
{
	Datum	   *elems;
	Oid		   *oids;

	deconstruct_array(DatumGetArrayTypeP(array), REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT,
					  &elems, NULL, n);
	oids = palloc(sizeof(Oid) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		oids[i] = DatumGetObjectId(elems[i]);
	return oids;
}

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

static uint64
hash_add(uint64 hash, const void *bytes, Size len)
{
	return hash_combine64(hash, hash_bytes_extended(bytes, (int) len, hash));
}

/* One row of the table; memory from the current context. */
static void
section_from_tuple(ScSectionDef *section, HeapTuple tuple, TupleDesc desc, Oid table, int *position)
{
	Datum		values[Natts_definition];
	bool		nulls[Natts_definition];

	heap_deform_tuple(tuple, desc, values, nulls);
	memset(section, 0, sizeof(*section));
	section->name = *DatumGetName(values[Anum_section - 1]);
	*position = DatumGetInt32(values[Anum_position - 1]);
	section->is_inline = strcmp(TextDatumGetCString(values[Anum_refresh - 1]), "inline") == 0;
	section->owner = DatumGetObjectId(values[Anum_owner - 1]);
	section->query = TextDatumGetCString(values[Anum_query - 1]);
	section->sources = oid_array(values[Anum_sources - 1], &section->nsources);
	section->reads = oid_array(values[Anum_reads - 1], &section->nreads);
	section->keys = text_array(DatumGetArrayTypeP(values[Anum_keys - 1]), &section->nkeys);
	section->settings = DatumGetArrayTypePCopy(values[Anum_settings - 1]);
	section->generated = DatumGetBool(values[Anum_generated - 1]);

	section->hash = hash_add(table, section->query, strlen(section->query));
	section->hash = hash_add(section->hash, &section->owner, sizeof(Oid));
	section->hash = hash_add(section->hash, &section->is_inline, sizeof(bool));
	section->hash = hash_add(section->hash, section->sources, sizeof(Oid) * section->nsources);
	section->hash = hash_add(section->hash, section->settings, VARSIZE(section->settings));
}

/*
 * Parse an option's value.  False, with a hint, if it is not valid; NULL for
 * the hint if there is no such option.
 */
static bool
parse_option(ScOptions *options, const char *name, const char *value, const char **hint)
{
	bool		flag;

	*hint = NULL;
	if (strcmp(name, "max_stale_age") == 0)
	{
		*hint = "Use a time in seconds or with a unit, 0 to build at every read, or -1 for no limit.";
		return parse_int(value, &options->max_stale_age, GUC_UNIT_S, NULL) &&
			options->max_stale_age >= -1 && options->max_stale_age <= INT_MAX / 2;
	}
	if (strcmp(name, "min_refresh_interval") == 0)
	{
		*hint = "Use a time in milliseconds or with a unit, such as '2s'.";
		return parse_int(value, &options->min_refresh_interval, GUC_UNIT_MS, NULL) &&
			options->min_refresh_interval >= 0;
	}
	if (strcmp(name, "eager_refresh") == 0)
	{
		*hint = "Use on or off.";
		if (!parse_bool(value, &flag))
			return false;
		options->eager_refresh = flag;
		return true;
	}
	return false;
}

/* The options of a summary that a snapshot sees. */
static void
read_options(ScOptions *options, Name summary, Oid schema, Snapshot snapshot)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	options->max_stale_age = options->min_refresh_interval = options->eager_refresh = SC_UNSET;
	rel = try_table_open(get_relname_relid(OPTION_TABLE, schema), AccessShareLock);
	if (rel == NULL)
		return;
	ScanKeyInit(&key, Anum_option_summary, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(summary));
	scan = systable_beginscan(rel, get_relname_relid(OPTION_INDEX, schema), true, snapshot, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		char	   *name = TextDatumGetCString(heap_getattr(tuple, Anum_option_name,
															RelationGetDescr(rel), &isnull));
		char	   *value = TextDatumGetCString(heap_getattr(tuple, Anum_option_value,
															 RelationGetDescr(rel), &isnull));
		const char *hint;

		/* what a newer version knows is no business of ours */
		(void) parse_option(options, name, value, &hint);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static Oid
definition_table(Oid *index)
{
	Oid			schema = sc_extension_schema(true);

	if (!OidIsValid(schema))
		return InvalidOid;
	if (index)
		*index = get_relname_relid(DEFINITION_INDEX, schema);
	return get_relname_relid(DEFINITION_TABLE, schema);
}

/* Is a table one of those that hold the definitions? */
bool
sc_definition_is_own_table(Oid relid)
{
	Oid			table = definition_table(NULL);

	return OidIsValid(table) &&
		(relid == table || relid == get_relname_relid(OPTION_TABLE, get_rel_namespace(table)));
}

/*
 * The definition that a snapshot sees, in a context of its own below the one
 * given; NULL if there is none.
 */
ScSummaryDef *
sc_definition_read(const char *summary, Snapshot snapshot, MemoryContext parent)
{
	Oid			index;
	Oid			table = definition_table(&index);
	MemoryContext context;
	MemoryContext old;
	ScSummaryDef *definition;
	int		   *positions;
	int			max_sections = 16;
	NameData	name;
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	/* the extension may be dropped while we wait for the lock */
	if (!OidIsValid(table) || (rel = try_table_open(table, AccessShareLock)) == NULL)
		return NULL;

	context = AllocSetContextCreate(parent, "summary_cache definition", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	definition = palloc0(sizeof(ScSummaryDef));
	namestrcpy(&name, summary);
	definition->name = name;
	definition->table = table;
	definition->context = context;
	definition->sections = palloc(sizeof(ScSectionDef) * max_sections);
	positions = palloc(sizeof(int) * max_sections);

	ScanKeyInit(&key, Anum_summary, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&name));
	scan = systable_beginscan(rel, index, true, snapshot, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		int			n = definition->nsections++;
		ScSectionDef section;
		int			position;

		if (n == max_sections)
		{
			max_sections *= 2;
			definition->sections = repalloc(definition->sections,
											sizeof(ScSectionDef) * max_sections);
			positions = repalloc(positions, sizeof(int) * max_sections);
		}
		section_from_tuple(&section, tuple, RelationGetDescr(rel), table, &position);
		/* keep them in the document's order */
		while (n > 0 && positions[n - 1] > position)
		{
			definition->sections[n] = definition->sections[n - 1];
			positions[n] = positions[n - 1];
			n--;
		}
		definition->sections[n] = section;
		positions[n] = position;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (definition->nsections > 0)
		read_options(&definition->options, &name, get_rel_namespace(table), snapshot);
	MemoryContextSwitchTo(old);

	if (definition->nsections == 0)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	return definition;
}

/* The names of all summaries that a snapshot sees. */
List *
sc_definition_names(Snapshot snapshot)
{
	Oid			index;
	Oid			table = definition_table(&index);
	List	   *names = NIL;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(table) || (rel = try_table_open(table, AccessShareLock)) == NULL)
		return NIL;
	scan = systable_beginscan(rel, index, true, snapshot, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		Name		name = DatumGetName(heap_getattr(tuple, Anum_summary,
													 RelationGetDescr(rel), &isnull));
		ListCell   *lc;
		bool		known = false;

		foreach(lc, names)
			if (strcmp(lfirst(lc), NameStr(*name)) == 0)
				known = true;
		if (!known)
			names = lappend(names, pstrdup(NameStr(*name)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return names;
}

static void
definition_free(ScSummaryDef *definition)
{
	for (int i = 0; i < definition->nsections; i++)
		if (definition->sections[i].plan)
			SPI_freeplan(definition->sections[i].plan);
	MemoryContextDelete(definition->context);
}

/*
 * While pinned, a definition that sc_definition_get() returned stays in memory
 * although a newer one may take its place.  The pins of a failed transaction
 * are forgotten with it.
 */
void
sc_definition_pin(void)
{
	if (pins_lxid != SC_MY_LXID)
	{
		pins_lxid = SC_MY_LXID;
		pins = 0;
	}
	pins++;
}

void
sc_definition_unpin(void)
{
	pins--;
}

/*
 * The newest committed definition, or the one of this transaction; NULL if
 * there is none.  Valid until the next call, or until unpinned.
 */
ScSummaryDef *
sc_definition_get(const char *summary)
{
	CachedDefinition *cached;
	NameData	name;
	bool		found;
	ScLabel		labels[2];
	ScSummaryDef *definition;
	Snapshot	snapshot;

	if (cached_definitions == NULL)
	{
		HASHCTL		info;

		info.keysize = NAMEDATALEN;
		info.entrysize = sizeof(CachedDefinition);
		info.hcxt = TopMemoryContext;
		cached_definitions = hash_create("summary_cache definitions", 8, &info,
										 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	if (pins == 0 || pins_lxid != SC_MY_LXID)
	{
		ListCell   *lc;

		foreach(lc, garbage)
			definition_free(lfirst(lc));
		list_free(garbage);
		garbage = NIL;
	}

	namestrcpy(&name, summary);
	cached = hash_search(cached_definitions, NameStr(name), HASH_FIND, NULL);
	if (cached && cached->definition && !sc_xact_wrote(cached->labels, 2) &&
		sc_label_prove(cached->labels, 2, NULL) == SC_CURRENT)
		return cached->definition;

	/* words first, snapshot second */
	(void) sc_label_read(&labels[0], SC_KEY_CLUSTER);
	if (!sc_label_read(&labels[1], SC_KEY(MyDatabaseId, InvalidOid)))
	{
		labels[1].slot = SC_CLUSTER_SLOT;
		labels[1].revision = SC_NEVER_CURRENT;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	definition = sc_definition_read(summary, snapshot, TopMemoryContext);
	UnregisterSnapshot(snapshot);
	if (definition)
		for (int i = 0; i < definition->nsections; i++)
			definition->sections[i].keep_plan = true;

	cached = hash_search(cached_definitions, NameStr(name), HASH_ENTER, &found);
	if (found && cached->definition)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		garbage = lappend(garbage, cached->definition);
		MemoryContextSwitchTo(old);
	}
	cached->definition = definition;
	memcpy(cached->labels, labels, sizeof(labels));
	/* what only this transaction sees, and may roll back, serves this once */
	if (sc_xact_wrote(labels, 2))
		cached->labels[0].revision = SC_NEVER_CURRENT;
	if (definition == NULL)
		hash_search(cached_definitions, NameStr(name), HASH_REMOVE, NULL);
	return definition;
}

/* Give back the shared entries of summaries that are no longer defined here. */
void
sc_definition_sweep_entries(void)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	List	   *names = sc_definition_names(snapshot);

	UnregisterSnapshot(snapshot);
	for (int i = 0; i < sc_shared->nsummaries; i++)
	{
		ScSummary  *entry = &sc_summaries[i];
		NameData	name;
		ListCell   *lc;
		bool		defined = false;

		LWLockAcquire(&entry->lock, LW_SHARED);
		defined = entry->dboid != MyDatabaseId;
		name = entry->name;
		LWLockRelease(&entry->lock);
		foreach(lc, names)
			defined = defined || strcmp(lfirst(lc), NameStr(name)) == 0;
		if (!defined)
			sc_summary_forget(NameStr(name));
	}
}

/*-------------------------------------------------------------------------
 * Changing definitions
 *-------------------------------------------------------------------------
 */

/*
 * Run one statement on one of our tables with the rights of the definition
 * table's owner.
 */
static void
execute_as_table_owner(const char *format, Oid table, const char *name, int nargs,
					   Oid *types, Datum *values, int expected)
{
	Relation	rel = table_open(table, NoLock);
	char	   *sql = psprintf(format, quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
																  name));
	Oid			userid;
	int			sec_context;

	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	table_close(rel, NoLock);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != expected)
		elog(ERROR, "could not change %s", name);
	SPI_finish();
	SetUserIdAndSecContext(userid, sec_context);
}

/* Definers wait for each other; readers do not wait for them. */
Oid
sc_lock_definitions(void)
{
	Oid			table;

	for (;;)
	{
		table = definition_table(NULL);
		if (!OidIsValid(table))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("extension \"%s\" is not installed in this database", SC_NAME),
					 errhint("Run CREATE EXTENSION %s.", SC_NAME)));
		LockRelationOid(table, ShareRowExclusiveLock);

		/* the extension may have been dropped while we waited */
		if (definition_table(NULL) == table)
			return table;
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
	foreach(lc, sc_track_tables())
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
	ScSectionDef *existing = NULL;
	ScSectionDef wanted;
	ScQueryInfo info;
	List	   *old_sources = NIL;
	ListCell   *lc;
	NameData	summary_name;
	NameData	section_name;
	Oid			types[] = {NAMEOID, NAMEOID, TEXTOID, REGROLEOID, TEXTOID,
	REGCLASSARRAYOID, REGCLASSARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID};
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
	for (int i = 0; definition && i < definition->nsections; i++)
		if (strcmp(NameStr(definition->sections[i].name), section) == 0)
			existing = &definition->sections[i];
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
	namestrcpy(&wanted.name, section);
	wanted.is_inline = is_inline;
	wanted.query = pstrdup(query);
	wanted.owner = owner;
	wanted.settings = settings ? settings : session_settings();
	sc_analyze_query(summary, &wanted, derive_sources, &info);
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

	namestrcpy(&summary_name, summary);
	namestrcpy(&section_name, section);
	values[0] = NameGetDatum(&summary_name);
	values[1] = NameGetDatum(&section_name);
	values[2] = CStringGetTextDatum(is_inline ? "inline" : "background");
	values[3] = ObjectIdGetDatum(owner);
	values[4] = CStringGetTextDatum(query);
	values[5] = PointerGetDatum(array_of_oids(sources));
	values[6] = PointerGetDatum(array_of_oids(info.relations));
	values[7] = PointerGetDatum(array_of_strings(info.keys, info.nkeys));
	values[8] = PointerGetDatum(wanted.settings);
	values[9] = BoolGetDatum(generated);
	execute_as_table_owner("INSERT INTO %1$s AS d (summary, section, position, refresh, owner, query,"
						   " sources, reads, keys, settings, generated)"
						   " SELECT $1, $2, coalesce(pg_catalog.max(p.position), 0) OPERATOR(pg_catalog.+) 1,"
						   " $3, $4, $5, $6, $7, $8, $9, $10"
						   " FROM %1$s p WHERE p.summary OPERATOR(pg_catalog.=) $1"
						   " ON CONFLICT (summary, section) DO UPDATE SET refresh = excluded.refresh,"
						   " owner = excluded.owner, query = excluded.query, sources = excluded.sources,"
						   " reads = excluded.reads, keys = excluded.keys, settings = excluded.settings, generated = excluded.generated",
						   table, DEFINITION_TABLE, lengthof(types), types, values, SPI_OK_INSERT);

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
						   table, DEFINITION_TABLE, section ? 2 : 1, types, values, SPI_OK_DELETE);
	if (definition_now(summary) == NULL)
		execute_as_table_owner("DELETE FROM %1$s WHERE summary OPERATOR(pg_catalog.=) $1",
							   table, OPTION_TABLE, 1, types, values, SPI_OK_DELETE);
	detach_unneeded(old_sources);
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

	valid = parse_option(&options, option, value ? value : "", &hint);
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
							   table, OPTION_TABLE, 2, types, values, SPI_OK_DELETE);
	else
	{
		values[2] = CStringGetTextDatum(value);
		execute_as_table_owner("INSERT INTO %1$s (summary, option, value) VALUES ($1, $2, $3)"
							   " ON CONFLICT (summary, option) DO UPDATE SET value = excluded.value",
							   table, OPTION_TABLE, 3, types, values, SPI_OK_INSERT);
	}
}
