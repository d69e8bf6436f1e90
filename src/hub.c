/*-------------------------------------------------------------------------
 *
 * hub.c
 *	  The State Hub, the first user: finds its tables and defines summary
 *	  "state" over those that are there.
 *
 * Hubs differ.  Only the table names and the watermark columns of the list
 * below are relied on; "status" is used where it exists; all else (keys,
 * further columns, the schema) may be anything.
 *
 * CREATE EXTENSION runs this as a superuser over the tables of others, so
 * nothing here executes anything of theirs: catalogs are looked at, and the
 * generated queries are analysed by sc_define_section() as the tables' owner.
 *
 * Locks: every table attached is locked as its trigger needs it, together with
 * the others (see track.c), before its columns are relied on.  What was read
 * before the locks is read again under them.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "define.h"
#include "hub.h"
#include "role.h"
#include "track.h"

#define HUB_CORE		"core"
#define HUB_PROGRESS	"progress"

/* The hub's tables, in the order of the document; the progress table last. */
static const struct
{
	const char *name;
	const char *watermark;
}			hub_list[] =

{
	{"topics", "updated_at"},
	{"workplans", "updated_at"},
	{"tasks", "updated_at"},
	{"decisions", "updated_at"},
	{"workplan_dependencies", "updated_at"},
	{"managed_repos", "updated_at"},
	{"contributions", "updated_at"},
	{"capability_requests", "updated_at"},
	{"domains", "updated_at"},
	{"extension_points", "updated_at"},
	{"technical_debt", "updated_at"},
	{"sbom_snapshots", "snapshot_at"},
	{"progress_events", "created_at"}
};

#define HUB_NTABLES			((int) lengthof(hub_list))
#define HUB_PROGRESS_TABLE	(HUB_NTABLES - 1)

/* What a schema holds of one of them. */
typedef struct HubTable
{
	Oid			relid;			/* InvalidOid: none of that name */
	char	   *fault;			/* why it cannot be used, or NULL */
	Oid			owner;
	AttrNumber	watermark;
	bool		has_status;
} HubTable;

typedef struct Hub
{
	Oid			schema;
	char	   *schema_name;
	HubTable	tables[lengthof(hub_list)];
} Hub;

PG_FUNCTION_INFO_V1(sc_attach_state_hub);

/*
 * Whether max() and ORDER BY work on the type by PostgreSQL's own means; so
 * that a strange column costs one table and not the whole query.
 */
static bool
is_watermark_type(Oid type)
{
	List	   *max = list_make2(makeString("pg_catalog"), makeString("max"));
	Oid			func;
	Oid			result;
	bool		retset;
	int			nvargs;
	Oid			vatype;
	Oid		   *true_types;
	char		category;
	bool		preferred;

	type = getBaseType(type);
	get_type_category_preferred(type, &category, &preferred);
	if (category != TYPCATEGORY_DATETIME && category != TYPCATEGORY_NUMERIC &&
		category != TYPCATEGORY_STRING)
		return false;
	if (!OidIsValid(lookup_type_cache(type, TYPECACHE_GT_OPR)->gt_opr))
		return false;
	return SC_FUNC_GET_DETAIL(max, 1, &type, &func, &result, &retset, &nvargs, &vatype,
							  &true_types, NULL) == FUNCDETAIL_AGGREGATE;
}

/*
 * What the schema holds of one table; its fault says why a section cannot be
 * generated over it.
 */
static void
inspect_table(Oid schema, int i, HubTable *table)
{
	const char *watermark = hub_list[i].watermark;
	HeapTuple	tuple;
	Form_pg_class class;

	memset(table, 0, sizeof(*table));
	table->relid = get_relname_relid(hub_list[i].name, schema);
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table->relid));
	if (!HeapTupleIsValid(tuple))
	{
		table->relid = InvalidOid;
		table->fault = "does not exist";
		return;
	}
	class = (Form_pg_class) GETSTRUCT(tuple);
	table->owner = class->relowner;
	if (class->relkind == RELKIND_VIEW)
		table->fault = "is a view";
	else if (class->relkind == RELKIND_MATVIEW)
		table->fault = "is a materialized view";
	else if (class->relkind == RELKIND_FOREIGN_TABLE)
		table->fault = "is a foreign table";
	else if (class->relkind != RELKIND_RELATION &&
			 class->relkind != RELKIND_PARTITIONED_TABLE)
		table->fault = "is not a table";
	else if (class->relpersistence == RELPERSISTENCE_TEMP)
		table->fault = "is a temporary table";
	ReleaseSysCache(tuple);
	if (table->fault != NULL)
		return;

	table->watermark = get_attnum(table->relid, watermark);
	if (table->watermark == InvalidAttrNumber)
		table->fault = psprintf("has no column \"%s\"", watermark);
	else if (!is_watermark_type(get_atttype(table->relid, table->watermark)))
		table->fault = psprintf("has a column \"%s\" that is no date, number or string",
								watermark);
	table->has_status = get_attnum(table->relid, "status") != InvalidAttrNumber;
}

/* What the schema holds of a hub; whether that is one. */
static bool
inspect_hub(Oid schema, Hub *hub)
{
	bool		any_core = false;

	hub->schema = schema;
	hub->schema_name = get_namespace_name(schema);
	for (int i = 0; i < HUB_NTABLES; i++)
	{
		inspect_table(schema, i, &hub->tables[i]);
		if (i != HUB_PROGRESS_TABLE && hub->tables[i].fault == NULL)
			any_core = true;
	}
	return any_core && hub->tables[HUB_PROGRESS_TABLE].fault == NULL;
}

/* The schemas in which an unqualified name is looked for, temporary ones not. */
List *
sc_hub_search_path(void)
{
	List	   *schemas = NIL;
	int			n = fetch_search_path_array(NULL, 0);
	Oid		   *oids = palloc(n * sizeof(Oid) + 1);

	n = Min(n, fetch_search_path_array(oids, n));
	for (int i = 0; i < n; i++)
		schemas = lappend_oid(schemas, oids[i]);
	return schemas;
}

/* The statement for hints that attaches this very hub, whatever the search path. */
static const char *
attach_call(const char *schema_name)
{
	return psprintf("SELECT summary_cache_attach_state_hub(%s);",
					quote_literal_cstr(schema_name));
}

/* Append an item to a list that is separated by commas. */
static void append_item(StringInfo buf, const char *fmt,...) pg_attribute_printf(2, 3);

static void
append_item(StringInfo buf, const char *fmt,...)
{
	va_list		args;
	char		item[3 * NAMEDATALEN];

	va_start(args, fmt);
	vsnprintf(item, sizeof(item), fmt, args);
	va_end(args);
	appendStringInfo(buf, "%s%s", buf->len > 0 ? ", " : "", item);
}

/*
 * Say that there is no hub: what was looked for, and what is wrong in a
 * schema that was named or has some of it.  Returns unless elevel is ERROR.
 */
static void
report_no_hub(List *schemas, bool named, int elevel)
{
	StringInfoData core;
	StringInfoData found;
	ListCell   *lc;

	initStringInfo(&core);
	initStringInfo(&found);
	for (int i = 0; i < HUB_PROGRESS_TABLE; i++)
	{
		append_item(&core, "%s", hub_list[i].name);
		if (strcmp(hub_list[i].watermark, hub_list[i + 1].watermark) != 0)
			appendStringInfo(&core, " (%s)", hub_list[i].watermark);
	}

	foreach(lc, schemas)
	{
		Hub			hub;
		StringInfoData faults;
		int			ncore = 0;

		inspect_hub(lfirst_oid(lc), &hub);
		initStringInfo(&faults);
		if (hub.tables[HUB_PROGRESS_TABLE].fault)
			append_item(&faults, "%s %s", hub_list[HUB_PROGRESS_TABLE].name,
						hub.tables[HUB_PROGRESS_TABLE].fault);
		for (int i = 0; i < HUB_PROGRESS_TABLE; i++)
		{
			if (!OidIsValid(hub.tables[i].relid))
				continue;
			ncore++;
			if (hub.tables[i].fault)
				append_item(&faults, "%s %s", hub_list[i].name, hub.tables[i].fault);
		}
		if (ncore == 0)
			append_item(&faults, "no other table of a hub exists");
		if (named || ncore > 0 || OidIsValid(hub.tables[HUB_PROGRESS_TABLE].relid))
			appendStringInfo(&found, "\nIn schema \"%s\": %s.", hub.schema_name, faults.data);
	}

	ereport(elevel,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 named ? errmsg("no State Hub found in schema \"%s\"",
							get_namespace_name(linitial_oid(schemas)))
			 : errmsg("no State Hub found in the search path"),
			 errdetail("A hub is progress_events (%s) and at least one of %s, as ordinary or partitioned tables of one schema with these columns.%s",
					   hub_list[HUB_PROGRESS_TABLE].watermark, core.data, found.data),
			 errhint("Once there is one: %s", attach_call("its schema"))));
}

/*
 * The role that the hub belongs to: its tables' common owner, whom the caller
 * must be able to act for.  Never the caller instead: the sections are built
 * with the owner's rights.  InvalidOid, after a NOTICE, if there are several
 * and elevel is not ERROR.
 */
static Oid
hub_owner(const Hub *hub, int elevel)
{
	Oid			owner = hub->tables[HUB_PROGRESS_TABLE].owner;
	bool		common = true;
	StringInfoData owners;

	initStringInfo(&owners);
	for (int i = 0; i < HUB_NTABLES; i++)
	{
		if (hub->tables[i].fault)
			continue;
		common &= hub->tables[i].owner == owner;
		append_item(&owners, "%s: \"%s\"", hub_list[i].name,
					GetUserNameFromId(hub->tables[i].owner, true));
	}
	if (!common)
	{
		ereport(elevel,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("summary \"%s\" not attached: the State Hub tables in schema \"%s\" have different owners",
						SC_STATE_SUMMARY, hub->schema_name),
				 errdetail("Owners are %s.", owners.data),
				 errhint("Give the tables one owner, a role, by ALTER TABLE ... OWNER TO; then: %s",
						 attach_call(hub->schema_name))));
		return InvalidOid;
	}
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to attach the State Hub tables of role \"%s\" in schema \"%s\"",
						GetUserNameFromId(owner, true), hub->schema_name),
				 errhint("Call it as that role, as a member of it or as a superuser.")));
	return owner;
}

/*
 * Lock the hub's tables and leave in *hub what they are under the locks.
 * Rights are checked before each round, so that no one can lock the tables of
 * others.  Returns the owner, or InvalidOid after a NOTICE.
 */
static Oid
lock_hub(Hub *hub, int elevel)
{
	List	   *locked = NIL;

	for (;;)
	{
		List	   *todo = NIL;
		ListCell   *lc;
		Oid			owner;

		if (!inspect_hub(hub->schema, hub))
		{
			report_no_hub(list_make1_oid(hub->schema), true, elevel);
			return InvalidOid;
		}
		owner = hub_owner(hub, elevel);
		for (int i = 0; i < HUB_NTABLES; i++)
			if (!hub->tables[i].fault && !list_member_oid(locked, hub->tables[i].relid))
				todo = lappend_oid(todo, hub->tables[i].relid);
		if (todo == NIL || !OidIsValid(owner))
			return owner;

		foreach(lc, todo)
		{
			sc_define_check_tree_rights(lfirst_oid(lc), owner);
		}
		(void) sc_track_lock(todo);
		locked = list_concat(locked, todo);
	}
}

/*
 * The core query: one row, a column for each table, each read in one scan.
 * Column references carry an alias, which no column's name can hide.
 */
static char *
core_query(const Hub *hub)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < HUB_PROGRESS_TABLE; i++)
	{
		const char *watermark = quote_identifier(hub_list[i].watermark);
		const char *name = quote_identifier(hub_list[i].name);
		const char *table = quote_qualified_identifier(hub->schema_name, hub_list[i].name);

		if (hub->tables[i].fault)
			continue;
		appendStringInfoString(&buf, buf.len == 0 ? "SELECT\n" : ",\n");
		if (hub->tables[i].has_status)
			appendStringInfo(&buf,
							 "  (SELECT pg_catalog.json_build_object(\n"
							 "     'count', COALESCE(pg_catalog.sum(s.n), 0),\n"
							 "     'by_status', COALESCE(pg_catalog.json_object_agg(s.status, s.n ORDER BY s.status)\n"
							 "                           FILTER (WHERE s.status IS NOT NULL), '{}'::pg_catalog.json),\n"
							 "     'latest', pg_catalog.max(s.latest))\n"
							 "   FROM (SELECT e.status::pg_catalog.text COLLATE pg_catalog.\"C\" AS status,\n"
							 "                pg_catalog.count(*) AS n, pg_catalog.max(e.%s) AS latest\n"
							 "         FROM %s AS e GROUP BY 1) AS s) AS %s",
							 watermark, table, name);
		else
			appendStringInfo(&buf,
							 "  (SELECT pg_catalog.json_build_object(\n"
							 "     'count', pg_catalog.count(*), 'latest', pg_catalog.max(e.%s))\n"
							 "   FROM %s AS e) AS %s",
							 watermark, table, name);
	}
	return buf.data;
}

static bool
is_btree(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_class) GETSTRUCT(tuple))->relam == BTREE_AM_OID;
		ReleaseSysCache(tuple);
	}
	return result;
}

/*
 * What the catalog has on the table's indexes: the columns of its primary
 * key other than the watermark, and whether one begins with the watermark.
 * They are not locked, so a REINDEX is not waited for.
 */
static bool
inspect_indexes(const HubTable *table, List **key_columns)
{
	Relation	rel = table_open(table->relid, NoLock);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	bool		has_watermark = false;

	foreach(lc, indexes)
	{
		HeapTuple	index = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index form;

		if (!HeapTupleIsValid(index))
			continue;
		form = (Form_pg_index) GETSTRUCT(index);
		if (form->indisvalid && is_btree(form->indexrelid) &&
			heap_attisnull(index, Anum_pg_index_indpred, NULL) &&
			form->indkey.values[0] == table->watermark)
			has_watermark = true;
		for (int i = 0; form->indisprimary && i < form->indnkeyatts; i++)
			if (form->indkey.values[i] != table->watermark)
				*key_columns = lappend(*key_columns,
									   get_attname(table->relid, form->indkey.values[i], false));
		ReleaseSysCache(index);
	}
	table_close(rel, NoLock);
	return has_watermark;
}

/*
 * The progress query: the newest events with all their columns, whatever
 * these are when it is planned.  The inner SELECT is what an index on the
 * watermark gives, ties apart; events without a watermark are not new.
 */
static char *
progress_query(const Hub *hub, List *key_columns)
{
	StringInfoData buf;
	StringInfoData order;
	const char *watermark = quote_identifier(hub_list[HUB_PROGRESS_TABLE].watermark);
	ListCell   *lc;

	initStringInfo(&order);
	append_item(&order, "e.%s DESC", watermark);
	foreach(lc, key_columns)
	{
		append_item(&order, "e.%s DESC", quote_identifier(lfirst(lc)));
	}

	initStringInfo(&buf);
	appendStringInfo(&buf,
					 "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.row_to_json(e.*) ORDER BY %s),\n"
					 "                '[]'::pg_catalog.json) AS recent_progress\n"
					 "FROM (SELECT e.* FROM %s AS e\n"
					 "      WHERE e.%s IS NOT NULL ORDER BY %s LIMIT 20) AS e",
					 order.data,
					 quote_qualified_identifier(hub->schema_name,
												hub_list[HUB_PROGRESS_TABLE].name),
					 watermark, order.data);
	return buf.data;
}

/* Whether the table is one of the section's sources. */
static bool
has_source(const ScSectionDef *section, Oid relid)
{

	for (int i = 0; section != NULL && i < section->nsources; i++)
		if (section->sources[i] == relid)
			return true;
	return false;
}

/*
 * Bring one section up to date.  One that is already what it would become is
 * kept, with what is cached of it, and only gets back triggers that it lost.
 * One that someone has redefined is theirs and not touched: false.
 */
static bool
attach_section(const Hub *hub, ScSummaryDef *def, const ScSectionSpec *spec, bool *changed)
{
	ScSectionDef *section = sc_definition_section(def, spec->section);
	const char *reason;
	bool		same;
	ListCell   *lc;

	if (section != NULL && !section->generated)
	{
		ereport(NOTICE,
				(errmsg("section \"%s\" of summary \"%s\" has been redefined and is left alone",
						spec->section, spec->summary),
				 errhint("To have it generated again: SELECT summary_cache_drop('%s', '%s'); %s",
						 spec->summary, spec->section, attach_call(hub->schema_name))));
		return false;
	}

	same = section != NULL && section->damage == NULL && section->owner == spec->owner &&
		section->is_inline == spec->is_inline && strcmp(section->query, spec->query) == 0 &&
		section->nsources == list_length(spec->sources);
	foreach(lc, spec->sources)
	{
		same = same && has_source(section, lfirst_oid(lc));
	}
	if (!same)
	{
		sc_define_section(spec);
		*changed = true;
	}
	else
	{
		foreach(lc, spec->sources)
		{
			if (!sc_track_provable(lfirst_oid(lc), true, &reason))
				sc_track_attach(sc_track_lock(list_make1_oid(lfirst_oid(lc))));
		}
	}
	return true;
}

/*
 * The schema whose hub the generated sections of "state" read, or InvalidOid:
 * that of the progress table, or of any source that is left.
 */
static Oid
attached_schema(ScSummaryDef *def)
{
	const char *names[] = {HUB_PROGRESS, HUB_CORE};

	for (int i = 0; i < lengthof(names); i++)
	{
		ScSectionDef *section = sc_definition_section(def, names[i]);

		if (section == NULL || !section->generated)
			continue;
		for (int j = 0; j < section->nsources; j++)
		{
			Oid			schema = get_rel_namespace(section->sources[j]);

			if (OidIsValid(schema))
				return schema;
		}
	}
	return InvalidOid;
}

/*
 * Say what was attached, what is missing, and which indexes would serve.
 * A section that someone has redefined, and its tables, are not mentioned.
 */
static void
report_attached(const Hub *hub, Oid owner, bool core, bool progress,
				const bool *indexed, bool changed)
{
	StringInfoData tables;
	StringInfoData missing;
	StringInfoData unindexed;
	char	   *example = NULL;
	int			ntables = 0;
	int			nmissing = 0;
	int			nunindexed = 0;
	int			k;

	initStringInfo(&tables);
	initStringInfo(&missing);
	initStringInfo(&unindexed);
	for (k = 0; k < HUB_NTABLES; k++)
	{
		/* The progress table first: its index saves most. */
		int			i = k == 0 ? HUB_PROGRESS_TABLE : k - 1;

		if (!(i == HUB_PROGRESS_TABLE ? progress : core))
			continue;
		if (hub->tables[i].fault)
		{
			append_item(&missing, "%s %s", hub_list[i].name, hub->tables[i].fault);
			nmissing++;
			continue;
		}
		append_item(&tables, "%s", hub_list[i].name);
		ntables++;
		if (indexed[i])
			continue;
		append_item(&unindexed, "%s.%s", hub_list[i].name, hub_list[i].watermark);
		if (nunindexed++ == 0)
			example = psprintf("CREATE INDEX ON %s (%s);",
							   quote_qualified_identifier(hub->schema_name, hub_list[i].name),
							   quote_identifier(hub_list[i].watermark));
	}

	if (ntables > 0)
		ereport(NOTICE,
				(errmsg_plural("summary \"%s\" %s %d table in schema \"%s\", owner \"%s\"",
							   "summary \"%s\" %s %d tables in schema \"%s\", owner \"%s\"",
							   ntables, SC_STATE_SUMMARY,
							   changed ? "attached to" : "was attached already to",
							   ntables, hub->schema_name, GetUserNameFromId(owner, true)),
				 errdetail("Tables: %s. Those that had no trigger yet, partitions included, are locked in SHARE ROW EXCLUSIVE mode until this transaction ends: their writers wait, readers do not.",
						   tables.data)));
	if (nmissing > 0)
		ereport(NOTICE,
				(errmsg_plural("%d State Hub table is missing in schema \"%s\"",
							   "%d State Hub tables are missing in schema \"%s\"",
							   nmissing, nmissing, hub->schema_name),
				 errdetail("Missing: %s.", missing.data),
				 errhint("Once they exist: %s", attach_call(hub->schema_name))));
	if (nunindexed > 0)
		ereport(NOTICE,
				(errmsg_plural("%d State Hub table in schema \"%s\" has no index on its watermark column",
							   "%d State Hub tables in schema \"%s\" have no index on their watermark columns",
							   nunindexed, nunindexed, hub->schema_name),
				 errdetail("No valid, whole btree index begins with: %s.", unindexed.data),
				 errhint("For example: %s", example)));
}

/*
 * Have others put sections into "state", which is everybody's to define until a
 * hub is there?  Then say so, and false.  The generated sections are defined anew.
 * A superuser is not taken for a member of every role here: what others have
 * written does not belong into a superuser's document either.
 */
static bool
summary_is_free(const Hub *hub, ScSummaryDef *def, Oid owner, int elevel)
{
	StringInfoData others;
	ScSectionDef *first = NULL;

	initStringInfo(&others);
	for (int i = 0; def && i < def->nsections; i++)
	{
		ScSectionDef *section = &def->sections[i];
		const char *name = NameStr(section->name);

		if (section->owner == owner || is_member_of_role_nosuper(owner, section->owner) ||
			(section->generated && (strcmp(name, HUB_CORE) == 0 || strcmp(name, HUB_PROGRESS) == 0)))
			continue;
		append_item(&others, "%s: \"%s\"", name, sc_role_name(section->owner));
		first = first ? first : section;
	}
	if (first == NULL)
		return true;
	ereport(elevel,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("summary \"%s\" not attached: it has sections of other roles than the State Hub's, \"%s\"",
					SC_STATE_SUMMARY, GetUserNameFromId(owner, true)),
			 errdetail("Owners of sections are %s.", others.data),
			 errhint("Have them dropped, by their owners or by a superuser: SELECT summary_cache_drop('%s', %s); then: %s",
					 SC_STATE_SUMMARY, quote_literal_cstr(NameStr(first->name)), attach_call(hub->schema_name))));
	return false;
}

/*
 * Attach the first hub in the schemas: define "state" over it, or bring it up
 * to date.  What stands in the way is an ERROR or, with elevel NOTICE, reported
 * in a NOTICE.
 */
void
sc_hub_attach(List *schemas, bool named, int elevel)
{
	ScSectionSpec spec = {0};
	Datum		path;
	Hub			hub;
	ListCell   *lc;
	Oid			owner;
	ScSummaryDef *def;
	List	   *core = NIL;
	List	   *keys = NIL;
	List	   *ignored = NIL;
	bool		indexed[lengthof(hub_list)];
	bool		changed = false;
	bool		has_core;
	bool		has_progress;

	foreach(lc, schemas)
	{
		if (inspect_hub(lfirst_oid(lc), &hub))
			break;
	}
	if (lc == NULL)
	{
		report_no_hub(schemas, named, elevel);
		return;
	}

	/* As every definer does: this lock first, those of the tables then. */
	(void) sc_define_lock();
	owner = lock_hub(&hub, elevel);
	if (!OidIsValid(owner))
		return;

	for (int i = 0; i < HUB_NTABLES; i++)
	{
		if (hub.tables[i].fault)
			continue;
		indexed[i] = inspect_indexes(&hub.tables[i],
									 i == HUB_PROGRESS_TABLE ? &keys : &ignored);
		if (i != HUB_PROGRESS_TABLE)
			core = lappend_oid(core, hub.tables[i].relid);
	}

	/*
	 * Read under the locks: of two sessions attaching, the second sees the
	 * first.
	 */
	def = sc_definition_now(SC_STATE_SUMMARY);
	if (!summary_is_free(&hub, def, owner, elevel))
		return;
	path = CStringGetTextDatum("search_path=pg_catalog, pg_temp");
	spec.summary = SC_STATE_SUMMARY;
	spec.generated = true;
	spec.owner = owner;
	spec.settings = construct_array(&path, 1, TEXTOID, -1, false, TYPALIGN_INT);

	spec.section = HUB_CORE;
	spec.query = core_query(&hub);
	spec.sources = core;
	has_core = attach_section(&hub, def, &spec, &changed);

	spec.section = HUB_PROGRESS;
	spec.query = progress_query(&hub, keys);
	spec.sources = list_make1_oid(hub.tables[HUB_PROGRESS_TABLE].relid);
	spec.is_inline = true;
	has_progress = attach_section(&hub, def, &spec, &changed);
	report_attached(&hub, owner, has_core, has_progress, indexed, changed);
}

/*
 * The generated sections whose queries do not name the tables where they are,
 * with the text that does.  Only if a whole hub is in the schema with all
 * sources among its tables: while it is moved table by table, or if one of
 * them made room for another of its name, a section follows like any other.
 */
static List *
moved_sections(const char *schema_name)
{
	ScSummaryDef *def = sc_definition_now(SC_STATE_SUMMARY);
	ScSectionDef *sections[] = {sc_definition_section(def, HUB_CORE), sc_definition_section(def, HUB_PROGRESS)};
	Oid			schema = attached_schema(def);
	Hub			hub;
	List	   *moved = NIL;

	if (!OidIsValid(schema) || !inspect_hub(schema, &hub) || strcmp(hub.schema_name, schema_name) != 0)
		return NIL;
	for (int s = 0; s < lengthof(sections); s++)
	{
		ScSectionDef *section = sections[s];
		bool		is_progress = s > 0;
		int			nfound = 0;
		List	   *keys = NIL;
		char	   *query;

		if (section == NULL || !section->generated || section->damage)
			continue;
		for (int i = 0; i < HUB_NTABLES; i++)
		{
			HubTable   *table = &hub.tables[i];

			if (table->fault || is_progress != (i == HUB_PROGRESS_TABLE))
				continue;
			if (has_source(section, table->relid))
				nfound++;
			else
				table->fault = "is not attached";
		}
		if (nfound < section->nsources)
			return NIL;
		if (is_progress)
		{
			Oid			relid = hub.tables[HUB_PROGRESS_TABLE].relid;

			/*
			 * a command that moved something else must not wait for this
			 * table
			 */
			if (!ConditionalLockRelationOid(relid, AccessShareLock))
				ereport(ERROR,
						(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						 errmsg("could not obtain lock on relation \"%s\"", get_rel_name(relid))));
			(void) inspect_indexes(&hub.tables[HUB_PROGRESS_TABLE], &keys);
		}
		query = is_progress ? progress_query(&hub, keys) : core_query(&hub);
		if (strcmp(query, section->query) != 0)
		{
			moved = lappend(moved, section);
			section->query = query;
		}
	}
	return moved;
}

/*
 * A table or schema was moved or renamed, by whomever, and is in or is the
 * schema of this name now: if it was the hub, its generated sections go on
 * reading the same tables, by the text that attaching there would give them.
 */
void
sc_hub_follow(const char *schema_name)
{
	List	   *moved;
	ListCell   *lc;

	CommandCounterIncrement();
	if (moved_sections(schema_name) == NIL)
		return;

	(void) sc_define_lock_now();
	moved = moved_sections(schema_name);
	foreach(lc, moved)
	{
		sc_define_update(lfirst(lc));
	}
	if (moved)
		ereport(NOTICE,
				(errmsg("summary \"%s\" follows the State Hub tables to schema \"%s\"",
						SC_STATE_SUMMARY, schema_name)));
}

/*
 * SQL: summary_cache_attach_state_hub(hub_schema).  Without a schema, the
 * first of the search path that holds a hub; if none does, the one that
 * "state" is attached to already: its tables are what a hint to call this
 * again is about.
 */
Datum
sc_attach_state_hub(PG_FUNCTION_ARGS)
{
	List	   *schemas;

	sc_define_check_writable("summary_cache_attach_state_hub()");
	if (PG_ARGISNULL(0))
	{
		Oid			attached = attached_schema(sc_definition_now(SC_STATE_SUMMARY));

		schemas = sc_hub_search_path();
		if (OidIsValid(attached))
			schemas = list_append_unique_oid(schemas, attached);
	}
	else
	{
		const char *schema = NameStr(*PG_GETARG_NAME(0));
		Oid			oid = LookupExplicitNamespace(schema, true);

		if (!OidIsValid(oid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_SCHEMA),
					 errmsg("schema \"%s\" does not exist", schema),
					 errhint("Name the schema of the State Hub's tables.")));
		schemas = list_make1_oid(oid);
	}

	sc_hub_attach(schemas, !PG_ARGISNULL(0), ERROR);
	PG_RETURN_VOID();
}

/*
 * For summary_cache_tables: hub tables that could be attached where "state"
 * is, but were not there when it was; and why, a list of strings.  Only those
 * that attaching again would change.
 */
List *
sc_hub_missing(List **reasons)
{
	ScSummaryDef *def = sc_definition_read(SC_STATE_SUMMARY, GetActiveSnapshot(), CurrentMemoryContext);
	Oid			schema = attached_schema(def);
	List	   *missing = NIL;

	*reasons = NIL;
	for (int i = 0; OidIsValid(schema) && i < HUB_NTABLES; i++)
	{
		ScSectionDef *section;
		HubTable	table;
		bool		attached = false;

		section = sc_definition_section(def, i == HUB_PROGRESS_TABLE ? HUB_PROGRESS : HUB_CORE);
		if (section != NULL && !section->generated)
			continue;
		inspect_table(schema, i, &table);
		for (int j = 0; j < def->nsections; j++)
			attached |= has_source(&def->sections[j], table.relid);
		if (table.fault || attached)
			continue;
		missing = lappend_oid(missing, table.relid);
		*reasons = lappend(*reasons,
						   "hub table, not attached: call summary_cache_attach_state_hub()");
	}
	return missing;
}
