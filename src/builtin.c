/*-------------------------------------------------------------------------
 *
 * builtin.c
 *	  What PostgreSQL's own functions depend on.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "builtin.h"

bool
sc_builtin_is(Oid function)
{
	return function < FirstNormalObjectId;
}

bool
sc_builtin_reads(Oid function)
{
	switch (function)
	{
		case F_TABLE_TO_XML:
		case F_TABLE_TO_XMLSCHEMA:
		case F_TABLE_TO_XML_AND_XMLSCHEMA:
		case F_QUERY_TO_XML:
		case F_QUERY_TO_XMLSCHEMA:
		case F_QUERY_TO_XML_AND_XMLSCHEMA:
		case F_CURSOR_TO_XML:
		case F_CURSOR_TO_XMLSCHEMA:
		case F_SCHEMA_TO_XML:
		case F_SCHEMA_TO_XMLSCHEMA:
		case F_SCHEMA_TO_XML_AND_XMLSCHEMA:
		case F_DATABASE_TO_XML:
		case F_DATABASE_TO_XMLSCHEMA:
		case F_DATABASE_TO_XML_AND_XMLSCHEMA:
		case F_TS_STAT_TEXT:
		case F_TS_STAT_TEXT_TEXT:
		case F_TS_REWRITE_TSQUERY_TEXT:
			return true;
		default:
			return false;
	}
}

/*
 * Those of PostgreSQL's functions that are not declared IMMUTABLE, and all the
 * same return what a proof covers.  All others of these depend on more: the
 * clock, chance, the session, the state of the server, its files, statistics or
 * log.  So a function that a later version adds is reported until somebody has
 * looked at it and, if it belongs here, named it.
 *
 * By name, since the overloads of a name differ in their arguments only (an
 * exception is in sc_builtin_depends()), and a name is the same in all versions.
 * test/t/049_builtin.pl goes through pg_proc and has the other names, each under
 * what it depends on.
 */
static const char *const proven[] = {
	/*
	 * STABLE because of a setting that owner.c pins (TimeZone, DateStyle,
	 * lc_*, array_nulls, xmloption, ...) or that is stored with the section
	 * (default_text_search_config); because an argument of any type is
	 * printed or read by that type's own function; or because of the parts of
	 * a type, an encoding or a text search configuration, which are
	 * definitions
	 */
	"anytextcat", "array_in", "array_out", "array_to_json", "array_to_string",
	"cash_in", "cash_out", "concat", "concat_ws", "convert", "convert_from", "convert_to",
	"date", "date_add", "date_cmp_timestamptz", "date_eq_timestamptz", "date_ge_timestamptz",
	"date_gt_timestamptz", "date_in", "date_le_timestamptz", "date_lt_timestamptz",
	"date_ne_timestamptz", "date_out", "date_part", "date_subtract", "date_trunc", "domain_in",
	"enum_first", "enum_in", "enum_last", "enum_out", "enum_range", "extract", "format",
	"generate_series", "get_current_ts_config", "in_range", "interval_in", "interval_out",
	"interval_pl_timestamptz", "json_agg", "json_agg_strict", "json_agg_strict_transfn",
	"json_agg_transfn", "json_build_array", "json_build_object", "json_object_agg",
	"json_object_agg_strict", "json_object_agg_strict_transfn", "json_object_agg_transfn",
	"json_object_agg_unique", "json_object_agg_unique_strict",
	"json_object_agg_unique_strict_transfn", "json_object_agg_unique_transfn",
	"json_populate_record", "json_populate_recordset", "json_to_record", "json_to_recordset",
	"json_to_tsvector", "jsonb_agg", "jsonb_agg_finalfn", "jsonb_agg_strict",
	"jsonb_agg_strict_transfn", "jsonb_agg_transfn", "jsonb_build_array", "jsonb_build_object",
	"jsonb_object_agg_finalfn", "jsonb_object_agg_strict_transfn", "jsonb_object_agg_transfn",
	"jsonb_object_agg_unique_strict_transfn", "jsonb_object_agg_unique_transfn",
	"jsonb_path_exists_tz", "jsonb_path_match_tz", "jsonb_path_query_array_tz",
	"jsonb_path_query_first_tz", "jsonb_path_query_tz", "jsonb_populate_record",
	"jsonb_populate_record_valid", "jsonb_populate_recordset", "jsonb_to_record",
	"jsonb_to_recordset", "jsonb_to_tsvector", "length", "make_timestamptz", "money",
	"multirange_in", "multirange_out", "numeric", "overlaps", "pg_char_to_encoding",
	"pg_column_compression", "pg_column_size", "pg_encoding_to_char", "pg_input_error_info",
	"pg_input_is_valid", "phraseto_tsquery", "plainto_tsquery", "quote_literal",
	"quote_nullable", "range_in", "range_out", "record_in", "record_out", "row_to_json",
	"textanycat", "time", "time_in", "timestamp", "timestamp_cmp_timestamptz",
	"timestamp_eq_timestamptz", "timestamp_ge_timestamptz", "timestamp_gt_timestamptz",
	"timestamp_in", "timestamp_le_timestamptz", "timestamp_lt_timestamptz",
	"timestamp_ne_timestamptz", "timestamp_out", "timestamptz", "timestamptz_cmp_date",
	"timestamptz_cmp_timestamp", "timestamptz_eq_date", "timestamptz_eq_timestamp",
	"timestamptz_ge_date", "timestamptz_ge_timestamp", "timestamptz_gt_date",
	"timestamptz_gt_timestamp", "timestamptz_in", "timestamptz_le_date",
	"timestamptz_le_timestamp", "timestamptz_lt_date", "timestamptz_lt_timestamp",
	"timestamptz_mi_interval", "timestamptz_ne_date", "timestamptz_ne_timestamp",
	"timestamptz_out", "timestamptz_pl_interval", "timetz", "timetz_in", "timezone", "to_char",
	"to_date", "to_json", "to_jsonb", "to_number", "to_timestamp", "to_tsquery", "to_tsvector",
	"ts_debug", "ts_headline", "ts_match_tq", "ts_match_tt",
	"websearch_to_tsquery", "xml", "xml_in", "xml_is_well_formed",

	/* they change with a restart, which no document outlives */
	"getdatabaseencoding", "pg_postmaster_start_time", "version",
};

/*
 * Likewise, and they look at definitions, roles and grants, whose changes ddl.c
 * counts, by number or as the owner.  Not those that show what VACUUM, CREATE INDEX,
 * COMMENT and the like change; that ask for a database, tablespace or parameter, which
 * another database's session can grant; or that look for any object by a name, and so
 * find an index or a temporary object.
 */
static const char *const proven_by_ddl[] = {
	"aclexplode", "aclitemin", "aclitemout", "current_database", "current_schema",
	"current_user", "format_type", "getpgusername", "has_any_column_privilege",
	"has_column_privilege", "has_foreign_data_wrapper_privilege", "has_function_privilege",
	"has_language_privilege", "has_schema_privilege", "has_sequence_privilege",
	"has_server_privilege", "has_table_privilege", "has_type_privilege", "oidvectortypes",
	"pg_basetype", "pg_collation_for", "pg_column_is_updatable", "pg_get_constraintdef",
	"pg_get_expr", "pg_get_function_arg_default", "pg_get_function_arguments",
	"pg_get_function_identity_arguments", "pg_get_function_result", "pg_get_function_sqlbody",
	"pg_get_functiondef", "pg_get_partition_constraintdef", "pg_get_partkeydef",
	"pg_get_ruledef", "pg_get_serial_sequence", "pg_get_triggerdef", "pg_get_userbyid",
	"pg_get_viewdef", "pg_has_role", "pg_options_to_table", "pg_partition_ancestors",
	"pg_partition_tree", "pg_relation_is_updatable", "pg_sequence_parameters", "pg_typeof",
	"regclassout", "regcollationout", "regconfigout", "regdictionaryout", "regnamespaceout",
	"regoperatorout", "regoperout", "regprocedureout", "regprocout", "regroleout",
	"regtypeout", "row_security_active", "ts_parse", "ts_token_type",
};

static bool
is_among(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

bool
sc_builtin_shows_ddl(Oid function)
{
	return func_volatile(function) != PROVOLATILE_IMMUTABLE &&
		is_among(get_func_name(function), proven_by_ddl, lengthof(proven_by_ddl));
}

bool
sc_builtin_depends(Oid function)
{
	char	   *name;

	switch (function)
	{
			/* AT TIME ZONE takes the offset of the zone as of today */
		case F_TIMEZONE_TEXT_TIMETZ:
			/* declared IMMUTABLE, although they show the current timeline */
		case F_PG_WALFILE_NAME:
		case F_PG_WALFILE_NAME_OFFSET:
			return true;
		default:
			break;
	}
	if (func_volatile(function) == PROVOLATILE_IMMUTABLE)
		return false;
	name = get_func_name(function);
	return !is_among(name, proven, lengthof(proven)) && !is_among(name, proven_by_ddl, lengthof(proven_by_ddl));
}
