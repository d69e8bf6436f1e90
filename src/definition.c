/*-------------------------------------------------------------------------
 *
 * definition.c
 *	  Summaries and sections in the catalog, and this backend's cached view of
 *	  them.
 *
 * The definitions are rows of summary_cache.definition, an ordinary table that
 * pg_dump carries.  Every change of it moves the database's catch-all word, so
 * a cached definition is good as long as that word has not moved; and a
 * document built from an older one is never proven current.
 *
 * define.c changes them.  Definitions are read by an index scan under the
 * snapshot that is wanted, not by SQL: the reader of a summary has no rights on
 * the table.
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
#include "catalog/pg_am.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "commit.h"
#include "debug.h"
#include "definition.h"
#include "extension.h"

#define DEFINITION_INDEX "definition_pkey"

/* Columns of the table, in the order of the install script. */
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
	Anum_incarnation,
	Anum_parameters,
	Anum_parameter_types,
	Anum_keyed,
	Anum_not_keyed,
	Natts_definition = Anum_not_keyed
};

static const char *const definition_columns[Natts_definition] = {
	"summary", "section", "position", "refresh", "owner", "query", "sources", "reads", "calls", "keys",
	"settings", "generated", "incarnation", "parameters", "parameter_types",
	"keyed", "not_keyed"
};

/* Those after this one have a meaning where they are absent. */
#define ALWAYS_DEFINITION Anum_settings

/*
 * Where the table has them, 0 for those that the objects of the version before do
 * not have; found out whenever the table is opened.
 */
static AttrNumber definition_numbers[Natts_definition];

#define DEFINITION_NUMBER(column) definition_numbers[(column) - 1]

#define OPTION_INDEX "option_pkey"

enum
{
	Anum_option_summary = 1,
	Anum_option_name,
	Anum_option_value,
	Natts_option = Anum_option_value
};

static const char *const option_columns[Natts_option] = {"summary", "option", "value"};

#define READER_INDEX "reader_pkey"

enum
{
	Anum_reader_summary = 1,
	Anum_reader_role,
	Natts_reader = Anum_reader_role
};

static const char *const reader_columns[Natts_reader] = {"summary", "role"};

/* A definition in this backend's cache. */
typedef struct CachedDefinition
{
	NameData	name;			/* hash key */
	ScLabel		label;			/* at which it was read: the catch-alls' words */
	ScWordSeen	words[SC_CATCH_ALLS + 1];	/* of it */
	ScSummaryDef *definition;
	dlist_node	node;			/* in by_use */
	Size		size;			/* bytes, with those of its plans */
	bool		size_is_known;	/* it was not used since that was counted */
} CachedDefinition;

static HTAB *cached_definitions = NULL;
static dlist_head by_use = DLIST_STATIC_INIT(by_use);	/* the last used first */
static Size cached_size = 0;	/* of all of them, as counted */
static List *garbage = NIL;		/* superseded while pinned */
static int	pins = 0;
static LocalTransactionId pins_lxid = InvalidLocalTransactionId;

/* A name that cannot be one is refused, rather than cut. */
void
sc_definition_check_name(const char *what, const char *name)
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

/*
 * The error of every function that is given a summary that is not there; or that
 * the current role may not read, for a reason that only the server's log tells.
 * The client gets the same in both cases, with the line of this file.
 */
void
sc_definition_hidden(const char *summary, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("summary \"%s\" is not defined", summary),
			 reason ? errdetail_log("%s", reason) : 0,
			 strcmp(summary, SC_STATE_SUMMARY) == 0 ?
			 errhint("Call summary_cache_attach_state_hub('schema') with the schema of the State Hub's tables, or define sections with summary_cache_define().") :
			 errhint("Define it with summary_cache_define(); view summary_cache_sections lists those that are.")));
}

void
sc_definition_unknown(const char *summary)
{
	sc_definition_hidden(summary, NULL);
}

/* A key, and which of the sections has it. */
typedef struct SectionKey
{
	const char *key;
	int			section;
} SectionKey;

static int
compare_keys(const void *a, const void *b)
{
	const SectionKey *x = a;
	const SectionKey *y = b;
	int			order = strcmp(x->key, y->key);

	return order != 0 ? order : x->section - y->section;
}

void
sc_definition_check_keys(const char *summary, const ScKeys *sections, int nsections)
{
	SectionKey *keys;
	int			n = 0;

	for (int s = 0; s < nsections; s++)
		n += sections[s].n;
	keys = palloc(sizeof(SectionKey) * Max(n, 1));
	n = 0;
	for (int s = 0; s < nsections; s++)
		for (int i = 0; i < sections[s].n; i++)
			keys[n++] = (SectionKey)
		{
			sections[s].keys[i], s
		};
	qsort(keys, n, sizeof(SectionKey), compare_keys);
	for (int i = 1; i < n; i++)
		if (keys[i - 1].section != keys[i].section && strcmp(keys[i - 1].key, keys[i].key) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("key \"%s\" of section \"%s\" is already a key of section \"%s\" of summary \"%s\"",
							keys[i].key, sections[keys[i].section].section,
							sections[keys[i - 1].section].section, summary),
					 errhint("Give the column another name: each column of a section's query is a key of the document.")));
	pfree(keys);
}

/*
 * A row that a superuser or a restore has written may hold what the functions
 * never write.  That concerns its own section, which is not built: whoever reads
 * the table for any other reason shall not fail for it.  So nothing here throws.
 */
typedef struct DefinitionRow
{
	Datum		values[Natts_definition];
	bool		nulls[Natts_definition];
	const char *damage;			/* what is wrong with it, or NULL */
} DefinitionRow;

static void
row_deform(DefinitionRow *row, HeapTuple tuple, TupleDesc desc)
{
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(tuple, desc, values, nulls);
	row->damage = NULL;
	for (int i = 0; i < Natts_definition; i++)
	{
		AttrNumber	number = definition_numbers[i];
		bool		is_absent = number == InvalidAttrNumber;

		row->nulls[i] = is_absent || nulls[number - 1];
		row->values[i] = row->nulls[i] ? (Datum) 0 : values[number - 1];
		if (row->nulls[i] && !is_absent)
			row->damage = psprintf("column \"%s\" is null", definition_columns[i]);
	}
	pfree(values);
	pfree(nulls);
}

static char *
row_text(const DefinitionRow *row, int column)
{
	return row->nulls[column - 1] ? pstrdup("") : TextDatumGetCString(row->values[column - 1]);
}

/* The elements of an array column that are not null. */
static Datum *
row_elements(DefinitionRow *row, int column, Oid type, int *n)
{
	bool		is_text = type == TEXTOID;
	Datum	   *elems;
	bool	   *nulls;
	int			nelems = 0;

	*n = 0;
	if (row->nulls[column - 1])
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(row->values[column - 1]), type, is_text ? -1 : (int) sizeof(Oid), !is_text,
					  TYPALIGN_INT, &elems, &nulls, &nelems);
	for (int i = 0; i < nelems; i++)
		if (!nulls[i])
			elems[(*n)++] = elems[i];
	if (*n < nelems)
		row->damage = psprintf("column \"%s\" has an element that is null", definition_columns[column - 1]);
	return elems;
}

static char **
row_strings(DefinitionRow *row, int column, int *n)
{
	Datum	   *elems = row_elements(row, column, TEXTOID, n);
	char	  **strings = palloc(sizeof(char *) * Max(*n, 1));

	for (int i = 0; i < *n; i++)
		strings[i] = TextDatumGetCString(elems[i]);
	return strings;
}

static Oid *
row_oids(DefinitionRow *row, int column, Oid type, int *n)
{
	Datum	   *elems = row_elements(row, column, type, n);
	Oid		   *oids = palloc(sizeof(Oid) * Max(*n, 1));

	for (int i = 0; i < *n; i++)
		oids[i] = DatumGetObjectId(elems[i]);
	return oids;
}

/* The settings, which the server may be given: one dimension, each a name and a value. */
static ArrayType *
row_settings(DefinitionRow *row)
{
	int			n;
	Datum	   *elems = row_elements(row, Anum_settings, TEXTOID, &n);

	for (int i = 0; i < n; i++)
	{
		const char *setting = TextDatumGetCString(elems[i]);

		if (setting[0] == '=' || strchr(setting, '=') == NULL)
			row->damage = psprintf("\"%s\" in column \"settings\" is no setting", setting);
	}
	return row->damage ? construct_empty_array(TEXTOID) :
		construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* The parameters that a section's query has. */
static ScParameters
row_parameters(DefinitionRow *row)
{
	ScParameters parameters;
	int			nnames;
	int			ntypes;
	char	  **names = row_strings(row, Anum_parameters, &nnames);
	Oid		   *types = row_oids(row, Anum_parameter_types, REGTYPEOID, &ntypes);

	(void) sc_values_read_columns(names, nnames, types, ntypes, &parameters, &row->damage);
	return parameters;
}

/* By which columns its sources are keyed: for each, three strings. */
static void
read_keyed(DefinitionRow *row, ScSectionDef *section)
{
	int			n;
	char	  **strings = row_strings(row, Anum_keyed, &n);

	section->keyed = palloc(sizeof(ScSectionKey) * Max(n / 3, 1));
	for (int i = 0; i + 2 < n; i += 3)
	{
		ScSectionKey *key = &section->keyed[section->nkeyed];

		key->source = (int) strtol(strings[i], NULL, 10);
		key->column = strings[i + 1];
		key->parameter = (int) strtol(strings[i + 2], NULL, 10) - 1;
		if (key->source < 0 || key->source >= section->nsources ||
			key->parameter < 0 || key->parameter >= section->parameters.n)
			row->damage = "column \"keyed\" names what is not there";
		else
			section->nkeyed++;
	}
	section->not_keyed = row_strings(row, Anum_not_keyed, &section->nnot_keyed);
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
	DefinitionRow row;
	pg_uuid_t	none = {0};

	row_deform(&row, tuple, desc);
	memset(section, 0, sizeof(*section));
	section->summary = *DatumGetName(row.values[Anum_summary - 1]);
	section->name = *DatumGetName(row.values[Anum_section - 1]);
	*position = DatumGetInt32(row.values[Anum_position - 1]);
	section->is_inline = strcmp(row_text(&row, Anum_refresh), "inline") == 0;
	section->owner = DatumGetObjectId(row.values[Anum_owner - 1]);
	section->query = row_text(&row, Anum_query);
	section->sources = row_oids(&row, Anum_sources, REGCLASSOID, &section->nsources);
	section->reads = row_oids(&row, Anum_reads, REGCLASSOID, &section->nreads);
	section->calls = row_strings(&row, Anum_calls, &section->ncalls);
	section->keys = row_strings(&row, Anum_keys, &section->nkeys);
	section->settings = row_settings(&row);
	section->generated = DatumGetBool(row.values[Anum_generated - 1]);
	section->parameters = row_parameters(&row);
	read_keyed(&row, section);
	section->damage = row.damage;

	section->lineage = hash_add(table, &section->owner, sizeof(Oid));
	section->lineage = hash_add(section->lineage,
								row.nulls[Anum_incarnation - 1] ? none.data :
								DatumGetUUIDP(row.values[Anum_incarnation - 1])->data, UUID_LEN);
	for (int i = 0; i < section->parameters.n; i++)
	{
		ScParameter *parameter = &section->parameters.list[i];

		/* values of others would be taken for these */
		section->lineage = hash_add(section->lineage, parameter->name, strlen(parameter->name));
		section->lineage = hash_add(section->lineage, &parameter->type, sizeof(Oid));
		section->lineage = hash_add(section->lineage, &parameter->nullable, sizeof(bool));
	}
	section->reading = hash_add(0, section->sources, sizeof(Oid) * section->nsources);
	section->hash = hash_add(table, section->query, strlen(section->query));
	section->hash = hash_add(section->hash, &section->owner, sizeof(Oid));
	section->hash = hash_add(section->hash, &section->is_inline, sizeof(bool));
	section->hash = hash_add(section->hash, section->sources, sizeof(Oid) * section->nsources);
	section->hash = hash_add(section->hash, section->settings, VARSIZE(section->settings));
}

/* Where a table has its columns, all of which are there in every version that is served. */
static void
find_columns(const char *what, Relation rel, const char *const *names, int n, AttrNumber *numbers)
{
	sc_extension_find_columns(what, RelationGetDescr(rel), names, n, n, numbers);
}

/* The roles of option readers of a summary; it has the option. */
static void
read_readers(Name summary, Oid schema, Snapshot snapshot, Oid **readers, int *nreaders)
{
	Relation	rel = try_table_open(get_relname_relid(SC_READER_TABLE, schema), AccessShareLock);
	int			room = 4;
	AttrNumber	numbers[Natts_reader];
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	*nreaders = 0;
	*readers = palloc(sizeof(Oid) * room);
	if (rel == NULL)
		return;
	find_columns(SC_OWN_TABLE(SC_READER_TABLE), rel, reader_columns, Natts_reader, numbers);
	ScanKeyInit(&key, numbers[Anum_reader_summary - 1], BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(summary));
	scan = systable_beginscan(rel, get_relname_relid(READER_INDEX, schema), true, snapshot, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;

		if (*nreaders == room)
			*readers = repalloc(*readers, sizeof(Oid) * (room *= 2));
		(*readers)[(*nreaders)++] = DatumGetObjectId(heap_getattr(tuple, numbers[Anum_reader_role - 1],
																  RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* The options of a summary that a snapshot sees; whether readers is one of them. */
static bool
read_options(ScOptions *options, Name summary, Oid schema, Snapshot snapshot)
{
	Relation	rel;
	AttrNumber	numbers[Natts_option];
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		has_readers = false;

	sc_settings_unset(options);
	rel = try_table_open(get_relname_relid(SC_OPTION_TABLE, schema), AccessShareLock);
	if (rel == NULL)
		return false;
	find_columns(SC_OWN_TABLE(SC_OPTION_TABLE), rel, option_columns, Natts_option, numbers);
	ScanKeyInit(&key, numbers[Anum_option_summary - 1], BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(summary));
	scan = systable_beginscan(rel, get_relname_relid(OPTION_INDEX, schema), true, snapshot, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		char	   *name = TextDatumGetCString(heap_getattr(tuple, numbers[Anum_option_name - 1],
															RelationGetDescr(rel), &isnull));
		char	   *value = TextDatumGetCString(heap_getattr(tuple, numbers[Anum_option_value - 1],
															 RelationGetDescr(rel), &isnull));
		const char *hint;

		if (strcmp(name, SC_READERS_OPTION) == 0)
			has_readers = true;
		/* an option that only a newer version knows has no effect */
		else
			(void) sc_settings_parse_option(options, name, value, &hint);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return has_readers;
}

/*
 * Open it for reading; NULL if the extension is not there, or is dropped while
 * we wait for the lock.
 */
static Relation
open_definitions(Oid *index)
{
	Oid			table = sc_extension_definition_table();
	Relation	rel = OidIsValid(table) ? try_table_open(table, AccessShareLock) : NULL;

	if (rel == NULL)
		return NULL;
	/* it is locked, so it stays as it is */
	(void) sc_extension_check_version(ERROR);
	sc_extension_find_columns(SC_OWN_TABLE(SC_DEFINITION_TABLE), RelationGetDescr(rel), definition_columns,
							  ALWAYS_DEFINITION, Natts_definition, definition_numbers);
	*index = get_relname_relid(DEFINITION_INDEX, RelationGetNamespace(rel));
	return rel;
}

bool
sc_definition_has_column(const char *name)
{
	Oid			index;
	Relation	rel;
	bool		has;

	for (int i = 0; i < ALWAYS_DEFINITION; i++)
		if (strcmp(definition_columns[i], name) == 0)
			return true;
	rel = open_definitions(&index);
	has = rel && get_attnum(RelationGetRelid(rel), name) != InvalidAttrNumber;
	if (rel)
		table_close(rel, AccessShareLock);
	return has;
}

/* A definition that is being read, row by row. */
typedef struct Reading
{
	ScSummaryDef *definition;	/* NULL: no row yet */
	int		   *positions;		/* of its sections */
	int			max_sections;
} Reading;

/* Begin the definition of a summary, in a context of its own. */
static void
reading_begin(Reading *reading, const NameData *name, Oid table, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	reading->max_sections = 4;
	reading->definition = palloc0(sizeof(ScSummaryDef));
	reading->definition->name = *name;
	reading->definition->table = table;
	reading->definition->context = context;
	reading->definition->sections = palloc(sizeof(ScSectionDef) * reading->max_sections);
	reading->positions = palloc(sizeof(int) * reading->max_sections);
	sc_settings_unset(&reading->definition->options);
	MemoryContextSwitchTo(old);
}

/* Add a section, in the document's order. */
static void
reading_add(Reading *reading, HeapTuple tuple, TupleDesc desc)
{
	ScSummaryDef *definition = reading->definition;
	MemoryContext old = MemoryContextSwitchTo(definition->context);
	int			n = definition->nsections++;
	ScSectionDef section;
	int			position;

	if (n == reading->max_sections)
	{
		reading->max_sections *= 2;
		definition->sections = repalloc(definition->sections,
										sizeof(ScSectionDef) * reading->max_sections);
		reading->positions = repalloc(reading->positions, sizeof(int) * reading->max_sections);
	}
	section_from_tuple(&section, tuple, desc, definition->table, &position);
	while (n > 0 && reading->positions[n - 1] > position)
	{
		definition->sections[n] = definition->sections[n - 1];
		reading->positions[n] = reading->positions[n - 1];
		n--;
	}
	if (definition->nsections == 1)
		definition->parameters = section.parameters;
	else if (!section.damage && !sc_values_same_parameters(&definition->parameters, &section.parameters))
		section.damage = "its parameters are not those of the summary's other sections";
	definition->sections[n] = section;
	reading->positions[n] = position;
	MemoryContextSwitchTo(old);
}

/*
 * The definition that a snapshot sees, in a context of its own below the one
 * given; NULL if there is none.
 */
ScSummaryDef *
sc_definition_read(const char *summary, Snapshot snapshot, MemoryContext parent)
{
	Oid			index;
	Oid			schema;
	MemoryContext context;
	MemoryContext old;
	Reading		reading;
	NameData	name;
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	if ((rel = open_definitions(&index)) == NULL)
		return NULL;
	schema = RelationGetNamespace(rel);

	context = AllocSetContextCreate(parent, "summary_cache definition", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	namestrcpy(&name, summary);
	reading_begin(&reading, &name, RelationGetRelid(rel), context);
	ScanKeyInit(&key, DEFINITION_NUMBER(Anum_summary), BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&name));
	scan = systable_beginscan(rel, index, true, snapshot, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
		reading_add(&reading, tuple, RelationGetDescr(rel));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (reading.definition->nsections > 0)
	{
		ScSummaryDef *definition = reading.definition;

		definition->has_readers = read_options(&definition->options, &name, schema, snapshot);
		if (definition->has_readers)
			read_readers(&name, schema, snapshot, &definition->readers, &definition->nreaders);
	}
	MemoryContextSwitchTo(old);

	if (reading.definition->nsections == 0)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	return reading.definition;
}

bool
sc_definition_readers(Name summary, Snapshot snapshot, Oid **readers, int *nreaders)
{
	ScOptions	options;
	Oid			schema = sc_extension_tables_schema();

	*nreaders = 0;
	if (!OidIsValid(schema) || !read_options(&options, summary, schema, snapshot))
		return false;
	read_readers(summary, schema, snapshot, readers, nreaders);
	return true;
}

/*
 * Show each definition that a snapshot sees to "visit", in the order of their
 * names, in one scan.  A definition, which comes without its options and readers,
 * and what is allocated while it is visited are gone with the next one: however many there
 * are, they take the memory of one.
 */
void
sc_definition_visit(Snapshot snapshot, void (*visit) (ScSummaryDef *definition, void *arg), void *arg)
{
	Oid			index;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Reading		reading = {NULL};
	MemoryContext context;

	if ((rel = open_definitions(&index)) == NULL)
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "summary_cache definition", ALLOCSET_DEFAULT_SIZES);
	scan = systable_beginscan(rel, index, true, snapshot, 0, NULL);
	do
	{
		bool		isnull;
		Name		name = NULL;

		/* in the index's order those of a summary come together */
		tuple = systable_getnext(scan);
		if (tuple)
			name = DatumGetName(heap_getattr(tuple, DEFINITION_NUMBER(Anum_summary), RelationGetDescr(rel), &isnull));
		if (reading.definition && (name == NULL || namestrcmp(name, NameStr(reading.definition->name)) != 0))
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			visit(reading.definition, arg);
			MemoryContextSwitchTo(old);
			MemoryContextReset(context);
			reading.definition = NULL;
		}
		if (tuple && reading.definition == NULL)
			reading_begin(&reading, name, RelationGetRelid(rel), context);
		if (tuple)
			reading_add(&reading, tuple, RelationGetDescr(rel));
	} while (tuple);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	MemoryContextDelete(context);
}

static int
name_cmp(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/*
 * The names of the summaries that have a section for which "wanted" says so, in
 * order.  The table is read as it lies on disk.
 */
static List *
wanted_names(Snapshot snapshot, bool by_reads, bool (*wanted) (const ScSectionDef *section, void *arg), void *arg)
{
	Oid			index;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *names = NIL;
	MemoryContext context;

	if ((rel = open_definitions(&index)) == NULL)
		return NIL;
	context = AllocSetContextCreate(CurrentMemoryContext, "summary_cache section", ALLOCSET_DEFAULT_SIZES);
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		DefinitionRow row;
		ScSectionDef section = {0};
		bool		is_wanted;

		row_deform(&row, tuple, RelationGetDescr(rel));
		section.owner = DatumGetObjectId(row.values[Anum_owner - 1]);
		section.query = row_text(&row, Anum_query);
		if (by_reads)
			section.reads = row_oids(&row, Anum_reads, REGCLASSOID, &section.nreads);
		else
		{
			section.calls = row_strings(&row, Anum_calls, &section.ncalls);
			section.settings = row_settings(&row);
		}
		is_wanted = wanted(&section, arg);
		MemoryContextSwitchTo(old);
		if (is_wanted)
			names = lappend(names, pstrdup(NameStr(*DatumGetName(row.values[Anum_summary - 1]))));
		MemoryContextReset(context);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	MemoryContextDelete(context);
	list_sort(names, name_cmp);
	return names;
}

/*
 * The definitions that have a section for which "wanted" says so.  That is shown
 * its owner, its query and either what it reads or its settings and calls, in memory
 * that does not last, and may neither throw nor run anything: of thousands of sections
 * most are not read any further.
 */
List *
sc_definition_some(Snapshot snapshot, bool by_reads, bool (*wanted) (const ScSectionDef *section, void *arg), void *arg)
{
	const char *last = NULL;
	List	   *some = NIL;
	ListCell   *lc;

	foreach(lc, wanted_names(snapshot, by_reads, wanted, arg))
	{
		/* one name for each of its sections that is wanted */
		if (last == NULL || strcmp(last, lfirst(lc)) != 0)
			some = lappend(some, sc_definition_read(lfirst(lc), snapshot, CurrentMemoryContext));
		last = lfirst(lc);
	}
	return some;
}

/* The newest snapshot, of this command's own changes as well; registered. */
static Snapshot
snapshot_now(void)
{
	CommandCounterIncrement();
	return RegisterSnapshot(GetLatestSnapshot());
}

ScSummaryDef *
sc_definition_now(const char *summary)
{
	ScSummaryDef *definition;
	Snapshot	snapshot = snapshot_now();

	definition = sc_definition_read(summary, snapshot, CurrentMemoryContext);
	UnregisterSnapshot(snapshot);
	return definition;
}

bool
sc_definition_are_readers(List *roles)
{
	Oid			schema = sc_extension_tables_schema();
	Relation	rel = OidIsValid(schema) ?
	try_table_open(get_relname_relid(SC_READER_TABLE, schema), AccessShareLock) : NULL;
	AttrNumber	numbers[Natts_reader];
	Snapshot	snapshot;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	if (rel == NULL)
		return false;
	find_columns(SC_OWN_TABLE(SC_READER_TABLE), rel, reader_columns, Natts_reader, numbers);
	snapshot = snapshot_now();
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (!found && (tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;

		found = list_member_oid(roles, DatumGetObjectId(heap_getattr(tuple, numbers[Anum_reader_role - 1],
																	 RelationGetDescr(rel), &isnull)));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return found;
}

List *
sc_definition_some_now(bool (*wanted) (const ScSectionDef *section, void *arg), void *arg)
{
	List	   *some;
	Snapshot	snapshot = snapshot_now();

	some = sc_definition_some(snapshot, false, wanted, arg);
	UnregisterSnapshot(snapshot);
	return some;
}

/*
 * Show the sources of the sections to "note", in no particular order, with their
 * owner or InvalidOid; those that one section after the other has, once.  Nothing
 * else of the sections is looked at, and the table is read as it lies on disk: this
 * takes longer the more sections there are, and definers do it.
 */
void
sc_definition_sources_now(bool with_owners, void (*note) (Oid owner, const Oid *sources, int nsources, void *arg),
						  void *arg)
{
	Oid			index;
	Relation	rel;
	Snapshot	snapshot = snapshot_now();
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			last_owner = InvalidOid;
	struct varlena *last = NULL;	/* as it is stored */
	Size		last_size = 0;

	if ((rel = open_definitions(&index)) == NULL)
	{
		UnregisterSnapshot(snapshot);
		return;
	}
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, DEFINITION_NUMBER(Anum_sources), RelationGetDescr(rel), &isnull);
		Size		size;
		Oid			owner = InvalidOid;
		ArrayType  *sources;

		if (isnull)
			continue;
		size = VARSIZE_ANY(DatumGetPointer(datum));
		if (with_owners)
			owner = DatumGetObjectId(heap_getattr(tuple, DEFINITION_NUMBER(Anum_owner), RelationGetDescr(rel), &isnull));
		if (last && size == last_size && owner == last_owner &&
			memcmp(last, DatumGetPointer(datum), size) == 0)
			continue;
		sources = DatumGetArrayTypeP(datum);
		/* written by hand it may have NULLs, which take no room */
		note(owner, (Oid *) ARR_DATA_PTR(sources),
			 (int) ((ARR_SIZE(sources) - ARR_DATA_OFFSET(sources)) / sizeof(Oid)), arg);
		if ((Pointer) sources != DatumGetPointer(datum))
			pfree(sources);
		if (last == NULL || size > last_size)
			last = last ? repalloc(last, size) : palloc(size);
		memcpy(last, DatumGetPointer(datum), size);
		last_size = size;
		last_owner = owner;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	UnregisterSnapshot(snapshot);
}

void
sc_definition_keyed_now(void (*note) (Oid owner, Oid source, const char *column, void *arg), void *arg)
{
	Oid			index;
	Relation	rel;
	Snapshot	snapshot = snapshot_now();
	SysScanDesc scan;
	HeapTuple	tuple;
	MemoryContext context;

	if ((rel = open_definitions(&index)) == NULL)
	{
		UnregisterSnapshot(snapshot);
		return;
	}
	context = AllocSetContextCreate(CurrentMemoryContext, "summary_cache section", ALLOCSET_DEFAULT_SIZES);
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (DEFINITION_NUMBER(Anum_keyed) != InvalidAttrNumber && (tuple = systable_getnext(scan)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		DefinitionRow row;
		ScSectionDef section = {0};

		row_deform(&row, tuple, RelationGetDescr(rel));
		section.parameters = row_parameters(&row);
		if (section.parameters.n > 0)
		{
			section.owner = DatumGetObjectId(row.values[Anum_owner - 1]);
			section.sources = row_oids(&row, Anum_sources, REGCLASSOID, &section.nsources);
			read_keyed(&row, &section);
		}
		MemoryContextSwitchTo(old);
		for (int i = 0; i < section.nkeyed; i++)
			note(section.owner, section.sources[section.keyed[i].source], section.keyed[i].column, arg);
		MemoryContextReset(context);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	MemoryContextDelete(context);
	UnregisterSnapshot(snapshot);
}

/*
 * Does this database define as many sections?  They are counted only if the table
 * is large enough for that: a page has no room for more rows than this.
 */
bool
sc_definition_are_as_many(int n)
{
	const int	rows_per_page = (BLCKSZ - SizeOfPageHeaderData) /
	(MAXALIGN(SizeofHeapTupleHeader) + 2 * sizeof(NameData) + sizeof(int32) + sizeof(ItemIdData));
	Oid			index;
	Relation	rel;
	int			found = 0;

	if ((rel = open_definitions(&index)) == NULL)
		return false;
	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID ||
		(uint64) RelationGetNumberOfBlocks(rel) * rows_per_page >= (uint64) n)
	{
		Snapshot	snapshot = snapshot_now();
		SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);

		while (found < n && systable_getnext(scan) != NULL)
			found++;
		systable_endscan(scan);
		UnregisterSnapshot(snapshot);
	}
	table_close(rel, AccessShareLock);
	return found >= n;
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

/* The plan of a section, or of a part of one, and what was found out with it. */
static void
forget_plan(ScSectionDef *section)
{
	if (section->plan)
		SPI_freeplan(section->plan);
	if (section->unread)
		pfree(section->unread);
	section->plan = NULL;
	section->unread = NULL;
	section->plan_generation = section->meaning_generation = section->keyed_generation = 0;
	section->in_doubt = false;
	section->closed = SC_CLOSED_UNKNOWN;
	section->undivided = false;
}

/*
 * The same of a section and its parts; but a plan of which it is known what the query
 * means may be kept.  Then document.c looks whether it still does, before it is executed.
 */
static void
forget_plans(ScSectionDef *section, bool all)
{
	if (!all && section->plan && section->closed == SC_CLOSED && !section->undivided &&
		section->meaning_generation != 0 && sc_meaning_is_known(&section->meaning))
		section->in_doubt = true;
	else
		forget_plan(section);
	for (int p = 0; p < section->nparts; p++)
		forget_plans(&section->parts[p], all);
}

static void
definition_free(ScSummaryDef *definition)
{
	for (int i = 0; i < definition->nsections; i++)
		forget_plans(&definition->sections[i], true);
	MemoryContextDelete(definition->context);
}

static Size
plan_size(SPIPlanPtr plan)
{
	Size		size;
	ListCell   *lc;

	if (plan == NULL)
		return 0;
	size = MemoryContextMemAllocated(GetMemoryChunkContext(plan), true);
	foreach(lc, SPI_plan_get_plan_sources(plan))
	{
		CachedPlanSource *source = lfirst(lc);

		size += MemoryContextMemAllocated(source->context, true);
		if (source->gplan)
			size += MemoryContextMemAllocated(source->gplan->context, true);
	}
	return size;
}

/* The memory of a definition and of the plans that hang on it. */
static Size
definition_size(ScSummaryDef *definition)
{
	Size		size = MemoryContextMemAllocated(definition->context, true);

	for (int i = 0; i < definition->nsections; i++)
	{
		ScSectionDef *section = &definition->sections[i];

		size += plan_size(section->plan);
		for (int p = 0; p < section->nparts; p++)
			size += plan_size(section->parts[p].plan);
	}
	return size;
}

/* Take a definition out of the cache; it is the caller's to free. */
static ScSummaryDef *
uncache(CachedDefinition *cached)
{
	ScSummaryDef *definition = cached->definition;

	dlist_delete(&cached->node);
	cached_size -= cached->size;
	(void) hash_search(cached_definitions, NameStr(cached->name), HASH_REMOVE, NULL);
	return definition;
}

/*
 * A session that builds keeps the plans of what it has built, which are the most
 * of its memory: a worker would come to keep all of the database's.  What was not
 * used for the longest time goes.  The definition that was used last stays, so
 * that a session that reads one summary plans it once, however large it is.
 */
static void
trim_cache(void)
{
	dlist_iter	iter;

	/* those that were used since the last time are at the head of the list */
	dlist_foreach(iter, &by_use)
	{
		CachedDefinition *cached = dlist_container(CachedDefinition, node, iter.cur);

		if (cached->size_is_known)
			break;
		cached_size -= cached->size;
		cached->size = definition_size(cached->definition);
		cached->size_is_known = true;
		cached_size += cached->size;
	}
	while (cached_size > (Size) sc_plan_memory_limit * 1024 &&
		   dlist_has_next(&by_use, dlist_head_node(&by_use)))
		definition_free(uncache(dlist_tail_element(CachedDefinition, node, &by_use)));
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
 * Has only DDL come since a definition was read that changes what names mean?  Then it
 * is as it was, but for what is known of its queries.
 */
static bool
names_have_moved(CachedDefinition *cached)
{
	ScSummaryDef *definition = cached->definition;

	if ((pins > 0 && pins_lxid == SC_MY_LXID) || !sc_label_holds_but_for_names(&cached->label, NULL))
		return false;
	(void) sc_word_read(&cached->words[SC_NAMES_WORD], SC_KEY_NAMES, sc_slot_of_names());
	for (int i = 0; i < definition->nsections; i++)
		forget_plans(&definition->sections[i], false);
	return sc_label_prove(&cached->label, NULL) == SC_CURRENT;
}

/*
 * The newest committed definition, or the one of this transaction.
 */
ScSummaryDef *
sc_definition_get(const char *summary)
{
	CachedDefinition *cached;
	NameData	name;
	ScLabel		label;
	ScWordSeen	words[SC_CATCH_ALLS + 1] = {0};
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
		{
			definition_free(lfirst(lc));
		}
		list_free(garbage);
		garbage = NIL;
		if (!dlist_is_empty(&by_use))
			trim_cache();
	}

	namestrcpy(&name, summary);
	cached = hash_search(cached_definitions, NameStr(name), HASH_FIND, NULL);
	if (cached && !sc_commit_wrote(&cached->label) &&
		(sc_label_prove(&cached->label, NULL) == SC_CURRENT || names_have_moved(cached)))
	{
		dlist_move_head(&by_use, &cached->node);
		cached->size_is_known = false;
		return cached->definition;
	}

	/* the label first, the snapshot second */
	sc_label_begin(&label, words, false);
	SC_POINT("definition-labelled");
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	definition = sc_definition_read(summary, snapshot, TopMemoryContext);
	UnregisterSnapshot(snapshot);
	if (definition)
		for (int i = 0; i < definition->nsections; i++)
			definition->sections[i].keep_plan = true;
	/* what only this transaction sees, and may roll back, serves this once */
	if (sc_commit_wrote(&label))
		sc_label_add_never(&label);

	cached = hash_search(cached_definitions, NameStr(name), HASH_FIND, NULL);
	if (cached)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		garbage = lappend(garbage, cached->definition);
		MemoryContextSwitchTo(old);
		(void) uncache(cached);
	}
	if (definition == NULL)
		return NULL;
	cached = hash_search(cached_definitions, NameStr(name), HASH_ENTER, NULL);
	cached->definition = definition;
	cached->size = 0;
	cached->size_is_known = false;
	dlist_push_head(&by_use, &cached->node);
	memcpy(cached->words, words, sizeof(words));
	cached->label = label;
	cached->label.words = cached->words;
	return definition;
}
