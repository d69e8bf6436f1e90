/*-------------------------------------------------------------------------
 *
 * extension.c
 *	  The extension's own objects: its schema, version and tables.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_subscription_rel.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "extension.h"

/*
 * Versions of the SQL objects that this library works with: its own, and those
 * that have an upgrade script to it, as the Makefile finds them.  The servers of
 * a fleet get the library one after the other, and the objects are updated when
 * all have it.  So each of them reads with the objects of the version before.
 */
static const char *const served_versions[] = {SC_VERSION, SC_OLDER_VERSIONS};

/* What each server has of its own: what holds its definitions. */
static const char *const own_tables[] = {SC_DEFINITION_TABLE, SC_OPTION_TABLE, SC_READER_TABLE};

/* The schema that the extension's functions live in, and on request its version. */
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

/*
 * A schema of that name may be another's, where ours was renamed.  Then the
 * tables count as gone: those in the other one would be believed.
 */
Oid
sc_extension_tables_schema(void)
{
	Oid			extension = get_extension_oid(SC_NAME, true);
	Oid			schema = OidIsValid(extension) ? get_namespace_oid(SC_TABLES_SCHEMA, true) : InvalidOid;

	if (OidIsValid(schema) && getExtensionOfObject(NamespaceRelationId, schema) != extension)
		return InvalidOid;
	return schema;
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
 * A process loads a library once by each path.  If its file is replaced in a
 * running server, and the SQL objects name it by another path than the preload
 * does, then a session loads the new file beside the one that it has by the
 * preload.  That copy has neither hooks nor shared memory, so it does nothing but
 * say so; and its trigger calls the other copy's, so that writes succeed and
 * are noticed.  The first copy leaves its own in variables of the server's, one for
 * each function: the copies may be of versions that have more of them or fewer.
 */
typedef struct Copy
{
	PGFunction	function;
} Copy;

PGFunction	sc_extension_first_touch = NULL;
PGFunction	sc_extension_first_key = NULL;

bool
sc_extension_note_copy(PGFunction touch, PGFunction key)
{
	static Copy own_touch;
	static Copy own_key;
	void	  **first_touch = find_rendezvous_variable(SC_NAME);
	void	  **first_key = find_rendezvous_variable(SC_NAME " keys");

	if (*first_touch)
	{
		sc_extension_first_touch = ((Copy *) *first_touch)->function;
		sc_extension_first_key = *first_key ? ((Copy *) *first_key)->function : NULL;
		return true;
	}
	own_touch.function = touch;
	own_key.function = key;
	*first_touch = &own_touch;
	*first_key = &own_key;
	return false;
}

void
sc_extension_check_copy(void)
{
	if (sc_extension_first_touch == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the library of extension \"%s\" was replaced while it was in use", SC_NAME),
			 errdetail("This session has another one from before. Summaries cannot be used in it. Writes are tracked meanwhile."),
			 errhint("Restart the server if the library is preloaded, else begin a new session.")));
}

/*
 * The library and the SQL objects may be of different versions: after the
 * files were replaced, until ALTER EXTENSION or a restart.  Then the tables and
 * result types may be of another shape than this library's.  The version before
 * is known, and is served.  With any other, whatever reads the tables asks here
 * first, and says so instead.  The triggers depend on nothing of that: writes
 * succeed, and are tracked.  True if they fit.
 */
bool
sc_extension_check_version(int elevel)
{
	char	   *version = NULL;

	sc_extension_check_copy();
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
			 errhint("Install the library of version %s on this server if that has not been done, then restart the server.",
					 version) :
			 RecoveryInProgress() ?
			 errhint("Run ALTER EXTENSION %s UPDATE on the primary; or install the library of version %s on this server, then restart it.",
					 SC_NAME, version) :
			 errhint("Run ALTER EXTENSION %s UPDATE.", SC_NAME)));
	return false;
}

/* Are the SQL objects of an older version that is served?  An error if they do not fit. */
static bool
objects_are_older(void)
{
	char	   *version = NULL;

	(void) sc_extension_check_version(ERROR);
	return OidIsValid(read_extension(true, &version)) && version && strcmp(version, SC_VERSION) != 0;
}

void
sc_extension_need_update(const char *kind, const char *name)
{
	char	   *version = NULL;

	(void) read_extension(true, &version);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the SQL objects of extension \"%s\" have no %s \"%s\"", SC_NAME, kind, name),
			 version ? errdetail("They are of version %s, the library is of version %s.", version, SC_VERSION) : 0,
			 errhint("When all servers have the library of version %s, run ALTER EXTENSION %s UPDATE on the primary.",
					 SC_VERSION, SC_NAME)));
}

/* A table or result of the right version, but not as the script made it. */
static void
report_altered(const char *what, int natts, int expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" has %d columns instead of the %d of version %s",
					what, natts, expected, SC_VERSION),
			 errhint("Somebody has altered it: undo that, or drop extension \"%s\" and create it again.",
					 SC_NAME)));
}

/*
 * Columns of results are only added, and at the end: an older version has the
 * first ones.
 */
void
sc_extension_check_columns(const char *what, int natts, int expected)
{
	if (natts != expected && (!objects_are_older() || natts > expected))
		report_altered(what, natts, expected);
}

/* The number of a column, most likely where it is expected; 0 if it is not there. */
static AttrNumber
column_number(TupleDesc desc, const char *name, int expected)
{
	for (int i = 0; i < desc->natts; i++)
	{
		int			at = (expected + i) % desc->natts;
		Form_pg_attribute column = TupleDescAttr(desc, at);

		if (!column->attisdropped && strcmp(NameStr(column->attname), name) == 0)
			return at + 1;
	}
	return InvalidAttrNumber;
}

void
sc_extension_find_columns(const char *what, TupleDesc desc, const char *const *names, int always, int n,
						  AttrNumber *numbers)
{
	bool		as_expected = desc->natts == n;

	for (int i = 0; i < n; i++)
	{
		numbers[i] = column_number(desc, names[i], i);
		as_expected = as_expected && numbers[i] == i + 1;
	}
	if (as_expected)
		return;
	if (!objects_are_older())
		report_altered(what, desc->natts, n);
	for (int i = 0; i < always; i++)
		if (numbers[i] == InvalidAttrNumber)
			report_altered(what, desc->natts, n);
}

/* The table of the definitions; InvalidOid if the extension is not there. */
Oid
sc_extension_definition_table(void)
{
	Oid			schema = sc_extension_tables_schema();

	return OidIsValid(schema) ? get_relname_relid(SC_DEFINITION_TABLE, schema) : InvalidOid;
}

/* Is a table one of those that hold the definitions? */
bool
sc_extension_is_own_table(Oid relid)
{
	Oid			schema = sc_extension_tables_schema();

	for (int i = 0; OidIsValid(schema) && i < lengthof(own_tables); i++)
		if (relid == get_relname_relid(own_tables[i], schema))
			return true;
	return false;
}

/* Did the current transaction add a table to a subscription?  Then take it out. */
static bool
unsubscribe_table(Oid subscription, Oid relid)
{
	HeapTuple	tuple = SearchSysCache2(SUBSCRIPTIONRELMAP, ObjectIdGetDatum(relid),
										ObjectIdGetDatum(subscription));
	bool		added;

	if (!HeapTupleIsValid(tuple))
		return false;
	added = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
	ReleaseSysCache(tuple);
	if (added)
		RemoveSubscriptionRel(subscription, relid);
	return added;
}

/*
 * Take our tables out of a subscription that a command has added them to.  FOR
 * ALL TABLES publishes them, but each server has definitions of its own: the
 * publisher's would collide with them, or name tables and roles that are not
 * here, and the worker that applies them would fail for ever.  (A trigger that
 * skips the rows would not do: the worker has read their values before it fires,
 * and fails at the name of a role that is not here.)
 *
 * What is not in pg_subscription_rel is neither copied nor applied: to the
 * server such a table is a new one, until the next REFRESH PUBLICATION, after
 * which we are here again.
 *
 * A table that was there before, from a time without this library, may be in
 * the middle of its copying, with a slot on the publisher that would be left
 * behind.  That one is not touched.
 */
void
sc_extension_unsubscribe(Oid subscription)
{
	Oid			schema = sc_extension_tables_schema();
	bool		added = false;

	if (!OidIsValid(schema))
		return;
	/* the command may not have shown us what it did */
	CommandCounterIncrement();
	for (int i = 0; i < lengthof(own_tables); i++)
	{
		Oid			table = get_relname_relid(own_tables[i], schema);

		added = (OidIsValid(table) && unsubscribe_table(subscription, table)) || added;
	}
	if (added)
		ereport(NOTICE,
				(errmsg("the definitions of summaries are not replicated"),
				 errdetail("Tables \"%s\", \"%s\" and \"%s\" are left out of the subscription: each server has definitions of its own.",
						   SC_OWN_TABLE(SC_DEFINITION_TABLE), SC_OWN_TABLE(SC_OPTION_TABLE),
						   SC_OWN_TABLE(SC_READER_TABLE))));
}
