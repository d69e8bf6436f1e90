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
 * define.c changes them.  Definitions are read by an index scan under the snapshot that is wanted, not
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
#include "utils/syscache.h"

#include "summary_cache.h"

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
	Anum_calls,
	Anum_keys,
	Anum_settings,
	Anum_generated,
	Natts_definition = Anum_generated
};

#define OPTION_INDEX "summary_cache_option_pkey"

enum
{
	Anum_option_summary = 1,
	Anum_option_name,
	Anum_option_value,
	Natts_option = Anum_option_value
};

/* A definition in this backend's cache. */
typedef struct CachedDefinition
{
	NameData	name;			/* hash key */
	ScLabel		labels[2];		/* the catch-all words that it was read at */
	XLogRecPtr	replayed;		/* on a standby, what stands in for them */
	ScSummaryDef *definition;	/* NULL: not known */
} CachedDefinition;

static HTAB *cached_definitions = NULL;
static List *garbage = NIL;		/* superseded while pinned */
static int	pins = 0;
static LocalTransactionId pins_lxid = InvalidLocalTransactionId;

/*
 * Versions of the SQL objects that this library works with, its own first.  A
 * release that serves those of an older one as well says so here.
 */
static const char *const served_versions[] = {SC_VERSION};

/* The schema that the extension lives in, and on request its version. */
static Oid
read_extension(bool missing_ok, char **version)
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
	{
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		if (version)
		{
			bool		isnull;

			*version = TextDatumGetCString(heap_getattr(tuple, Anum_pg_extension_extversion,
														RelationGetDescr(rel), &isnull));
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return schema;
}

Oid
sc_extension_schema(bool missing_ok)
{
	return read_extension(missing_ok, NULL);
}

/* Is version a later than b, as far as their numbers go? */
static bool
version_is_later(const char *a, const char *b)
{
	for (;;)
	{
		char	   *a_end;
		char	   *b_end;
		long		a_part = strtol(a, &a_end, 10);
		long		b_part = strtol(b, &b_end, 10);

		if (a_part != b_part)
			return a_part > b_part;
		if (*a_end != '.' || *b_end != '.')
			return *a_end == '.' && *b_end == '\0';
		a = a_end + 1;
		b = b_end + 1;
	}
}

/*
 * The library and the SQL objects may be of different versions: after the
 * files were replaced, until ALTER EXTENSION or a restart.  Then the tables and
 * result types may be of another shape than this library's, so whatever reads
 * them asks here first, and says so instead.  The triggers depend on nothing of
 * that: writes succeed, and are tracked.  True if they fit.
 */
bool
sc_check_version(int elevel)
{
	char	   *version = NULL;

	if (!OidIsValid(read_extension(true, &version)) || version == NULL)
		return true;
	for (int i = 0; i < (int) lengthof(served_versions); i++)
		if (strcmp(version, served_versions[i]) == 0)
			return true;
	ereport(elevel,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the SQL objects of extension \"%s\" are of version %s, its library is of version %s",
					SC_NAME, version, SC_VERSION),
			 errdetail("Summaries cannot be used until they fit. Writes are tracked meanwhile."),
			 version_is_later(version, SC_VERSION) ?
			 errhint("Install the library of version %s if that has not been done, then restart the server.",
					 version) :
			 errhint("Run ALTER EXTENSION %s UPDATE.", SC_NAME)));
	return false;
}

/* A table or result of the right version, but not as the script made it. */
void
sc_check_columns(const char *what, int natts, int expected)
{
	if (natts != expected)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" has %d columns instead of the %d of version %s",
						what, natts, expected, SC_VERSION),
				 errhint("Somebody has altered it: undo that, or drop extension \"%s\" and create it again.",
						 SC_NAME)));
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
	section->summary = *DatumGetName(values[Anum_summary - 1]);
	section->name = *DatumGetName(values[Anum_section - 1]);
	*position = DatumGetInt32(values[Anum_position - 1]);
	section->is_inline = strcmp(TextDatumGetCString(values[Anum_refresh - 1]), "inline") == 0;
	section->owner = DatumGetObjectId(values[Anum_owner - 1]);
	section->query = TextDatumGetCString(values[Anum_query - 1]);
	section->sources = oid_array(values[Anum_sources - 1], &section->nsources);
	section->reads = oid_array(values[Anum_reads - 1], &section->nreads);
	section->calls = text_array(DatumGetArrayTypeP(values[Anum_calls - 1]), &section->ncalls);
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
bool
sc_parse_option(ScOptions *options, const char *name, const char *value, const char **hint)
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
	rel = try_table_open(get_relname_relid(SC_OPTION_TABLE, schema), AccessShareLock);
	if (rel == NULL)
		return;
	sc_check_columns(SC_OPTION_TABLE, RelationGetNumberOfAttributes(rel), Natts_option);
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
		(void) sc_parse_option(options, name, value, &hint);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* The table of the definitions; InvalidOid if the extension is not there. */
Oid
sc_definition_table(void)
{
	Oid			schema = sc_extension_schema(true);

	return OidIsValid(schema) ? get_relname_relid(SC_DEFINITION_TABLE, schema) : InvalidOid;
}

/*
 * Open it for reading; NULL if the extension is not there, or is dropped while
 * we wait for the lock.
 */
static Relation
open_definitions(Oid *index)
{
	Oid			table = sc_definition_table();
	Relation	rel = OidIsValid(table) ? try_table_open(table, AccessShareLock) : NULL;

	if (rel == NULL)
		return NULL;
	/* now that it stays as it is */
	(void) sc_check_version(ERROR);
	sc_check_columns(SC_DEFINITION_TABLE, RelationGetNumberOfAttributes(rel), Natts_definition);
	*index = get_relname_relid(DEFINITION_INDEX, RelationGetNamespace(rel));
	return rel;
}

/* Is a table one of those that hold the definitions? */
bool
sc_definition_is_own_table(Oid relid)
{
	Oid			table = sc_definition_table();

	return OidIsValid(table) &&
		(relid == table || relid == get_relname_relid(SC_OPTION_TABLE, get_rel_namespace(table)));
}

/*
 * The definition that a snapshot sees, in a context of its own below the one
 * given; NULL if there is none.
 */
ScSummaryDef *
sc_definition_read(const char *summary, Snapshot snapshot, MemoryContext parent)
{
	Oid			index;
	Oid			table;
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

	if ((rel = open_definitions(&index)) == NULL)
		return NULL;
	table = RelationGetRelid(rel);

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
	List	   *names = NIL;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if ((rel = open_definitions(&index)) == NULL)
		return NIL;
	scan = systable_beginscan(rel, index, true, snapshot, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		Name		name = DatumGetName(heap_getattr(tuple, Anum_summary,
													 RelationGetDescr(rel), &isnull));
		ListCell   *lc;
		bool		known = false;

		/* the analyzer takes foreach's condition for a doubt about the list's elements */
		foreach(lc, names)
			if (strcmp(lfirst(lc), NameStr(*name)) == 0)	/* NOLINT(clang-analyzer-core.NonNullParamChecker) */
				known = true;
		if (!known)
			names = lappend(names, pstrdup(NameStr(*name)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return names;
}

/* The section of that name; NULL without it, or without a definition. */
ScSectionDef *
sc_definition_section(ScSummaryDef *definition, const char *name)
{
	for (int i = 0; definition && i < definition->nsections; i++)
		if (strcmp(NameStr(definition->sections[i].name), name) == 0)
			return &definition->sections[i];
	return NULL;
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
	XLogRecPtr	replayed;
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
		sc_prove(cached->labels, 2, cached->replayed, NULL) == SC_CURRENT)
		return cached->definition;

	/* words or position first, snapshot second */
	replayed = sc_replay_label();
	(void) sc_label_read(&labels[0], SC_KEY_CLUSTER, SC_CLUSTER_SLOT);
	if (!sc_label_read(&labels[1], SC_KEY(MyDatabaseId, InvalidOid), SC_SLOT_NONE))
	{
		labels[1].slot = SC_CLUSTER_SLOT;
		labels[1].revision = SC_NEVER_CURRENT;
	}
	SC_POINT("definition-labelled");
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
	cached->replayed = replayed;
	/* what only this transaction sees, and may roll back, serves this once */
	if (sc_xact_wrote(labels, 2))
		cached->labels[0].revision = SC_NEVER_CURRENT;
	if (definition == NULL)
		hash_search(cached_definitions, NameStr(name), HASH_REMOVE, NULL);
	return definition;
}

/*
 * Give back the shared entries of summaries that are no longer defined here,
 * and those of databases that are gone: on a standby nobody tells of that.
 */
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
		Oid			database;
		ListCell   *lc;
		bool		defined;

		LWLockAcquire(&entry->lock, LW_SHARED);
		database = entry->dboid;
		name = entry->name;
		LWLockRelease(&entry->lock);
		defined = database != MyDatabaseId;
		if (OidIsValid(database) && defined &&
			!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
			sc_summary_forget_database(database);
		foreach(lc, names)
			defined = defined || strcmp(lfirst(lc), NameStr(name)) == 0;
		if (!defined)
			sc_summary_forget(NameStr(name));
	}
}
