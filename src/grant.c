/*-------------------------------------------------------------------------
 *
 * grant.c
 *	  Rights on the extension's own objects: those that default privileges
 *	  have given are taken away, and summary_cache_allow() gives all that an
 *	  application's owner needs.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "extension.h"
#include "grant.h"

PG_FUNCTION_INFO_V1(sc_allow);
PG_FUNCTION_INFO_V1(sc_disallow);

/*
 * Run the statements that a query returns, a row each.  Its parameter $1, if it
 * has one, is a role's name as SQL needs it.
 */
static void
run_all(const char *query, const char *role)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {role ? CStringGetTextDatum(quote_identifier(role)) : (Datum) 0};
	SPITupleTable *rows;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(query, role ? 1 : 0, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the rights on extension \"%s\"", SC_NAME);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		const char *statement = SPI_getvalue(rows->vals[i], rows->tupdesc, 1);

		if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "could not change the rights on extension \"%s\"", SC_NAME);
	}
	SPI_finish();
}

/*
 * ALTER DEFAULT PRIVILEGES may have given anything to anybody on what the install
 * script has made.
 */
void
sc_grant_close_tables(void)
{
	run_all("SELECT DISTINCT pg_catalog.format('REVOKE ALL ON %s FROM %s CASCADE', o.name,"
			" CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'"
			" ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)"
			" FROM (SELECT pg_catalog.format('TABLE %s', c.oid::pg_catalog.regclass), c.relacl, c.relowner"
			"   FROM pg_catalog.pg_class c WHERE c.relkind OPERATOR(pg_catalog.=) 'r' AND"
			"   c.relnamespace OPERATOR(pg_catalog.=) '" SC_TABLES_SCHEMA "'::pg_catalog.regnamespace"
			"   UNION ALL SELECT pg_catalog.format('SCHEMA %I', n.nspname), n.nspacl, n.nspowner"
			"   FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) '" SC_TABLES_SCHEMA "')"
			" o (name, acl, owner), pg_catalog.aclexplode(o.acl) a"
			" WHERE a.grantee OPERATOR(pg_catalog.<>) o.owner", NULL);
}

/* The role that a call names; an error unless the caller owns the extension. */
static const char *
role_argument(FunctionCallInfo fcinfo)
{
	const char *name;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "role"),
				 errhint("Name the role that owns the application's tables.")));
	if (!SC_OWNS_EXTENSION(get_extension_oid(SC_NAME, false)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to change who may use extension \"%s\"", SC_NAME),
				 errhint("Only its owner and superusers may.")));
	name = GetUserNameFromId(PG_GETARG_OID(0), true);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %u does not exist", PG_GETARG_OID(0)),
				 errhint("Name the role that owns the application's tables.")));
	return name;
}

/* The functions and views in the extension's schema; what is internal is in that of the tables. */
#define EACH_OBJECT(object_verb, preposition) \
	"SELECT pg_catalog.format(CASE WHEN d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass" \
	" THEN '" object_verb " EXECUTE ON FUNCTION %s " preposition " %s'" \
	" ELSE '" object_verb " SELECT ON TABLE %s " preposition " %s' END," \
	" coalesce(p.oid::pg_catalog.regprocedure::pg_catalog.text, c.oid::pg_catalog.regclass::pg_catalog.text), $1)" \
	" FROM pg_catalog.pg_extension e" \
	" JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass" \
	"   AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'" \
	" LEFT JOIN pg_catalog.pg_proc p ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass" \
	"   AND p.oid OPERATOR(pg_catalog.=) d.objid AND p.pronamespace OPERATOR(pg_catalog.=) e.extnamespace" \
	" LEFT JOIN pg_catalog.pg_class c ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass" \
	"   AND c.oid OPERATOR(pg_catalog.=) d.objid AND c.relkind OPERATOR(pg_catalog.=) 'v'" \
	" WHERE e.extname OPERATOR(pg_catalog.=) '" SC_NAME "' AND (p.oid IS NOT NULL OR c.oid IS NOT NULL)"

/*
 * SQL: summary_cache_allow(role).  A role that has some right on each object of a
 * schema can use GRANT ... ON ALL TABLES and ON ALL FUNCTIONS there for its own: it
 * is only warned of the others.
 */
Datum
sc_allow(PG_FUNCTION_ARGS)
{
	const char *role = role_argument(fcinfo);

	run_all("SELECT pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %s', n.nspname, $1)"
			" FROM pg_catalog.pg_extension e"
			" JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace"
			" WHERE e.extname OPERATOR(pg_catalog.=) '" SC_NAME "'", role);
	run_all(EACH_OBJECT("GRANT", "TO"), role);
	ereport(NOTICE,
			(errmsg("role \"%s\" may use extension \"%s\" in this database", role, SC_NAME),
			 errdetail("It may execute its functions and read its views: define summaries over tables on which it has the privileges SELECT and TRIGGER, and read and watch all summaries of the database but those that have other readers."),
			 errhint("SELECT summary_cache_disallow(%s) takes that back.", quote_literal_cstr(quote_identifier(role)))));
	PG_RETURN_VOID();
}

/* SQL: summary_cache_disallow(role).  The schema may be open to it for other reasons. */
Datum
sc_disallow(PG_FUNCTION_ARGS)
{
	run_all(EACH_OBJECT("REVOKE", "FROM"), role_argument(fcinfo));
	PG_RETURN_VOID();
}
