/*-------------------------------------------------------------------------
 *
 * extension.h
 *	  The extension's own objects: its schema, version and tables.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_EXTENSION_H
#define SC_EXTENSION_H

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "fmgr.h"

#include "base.h"

/*
 * The tables, in a schema of their own: what is granted on all tables of the
 * extension's schema, which is "public" as a rule, is not granted on these.
 */
#define SC_TABLES_SCHEMA "summary_cache"
#define SC_DEFINITION_TABLE "definition"
#define SC_OPTION_TABLE "option"
#define SC_READER_TABLE "reader"

/* The triggers on them that guard.c is about. */
#define SC_GUARD_TRIGGER "summary_cache_guard"
#define SC_GUARD_ROW_TRIGGER "summary_cache_guard_row"

/* As messages name them. */
#define SC_OWN_TABLE(table) SC_TABLES_SCHEMA "." table

extern Oid	sc_extension_schema(bool missing_ok);

/* That of the tables; InvalidOid if the extension is not there. */
extern Oid	sc_extension_tables_schema(void);

/* Is this a copy of the library that a process loads beside another one?  Asked
 * when it is loaded; "touch" and "key" are its trigger functions. */
extern bool sc_extension_note_copy(PGFunction touch, PGFunction key);

/* In such a copy, the trigger functions of the other one; else NULL.  One of a version
 * that knew no keys has only the first. */
extern PGFunction sc_extension_first_touch;
extern PGFunction sc_extension_first_key;

/* An error in such a copy. */
extern void sc_extension_check_copy(void);

/* True if the SQL objects are of a version that the library serves; else reports at elevel. */
extern bool sc_extension_check_version(int elevel);

/* An error if a result has not the columns that the script gave it.  Of the version
 * before it may have fewer: the first ones. */
extern void sc_extension_check_columns(const char *what, int natts, int expected);

/* Where a table has the columns of these names; an error if it is not as the script
 * made it.  The first "always" are in every version that is served.  Of the others
 * those that the version before has not are 0, and read as NULL. */
extern void sc_extension_find_columns(const char *what, TupleDesc desc, const char *const *names, int always, int n,
									  AttrNumber *numbers);

/* The error for what cannot be done with the SQL objects of the version before. */
SC_NORETURN extern void sc_extension_need_update(const char *kind, const char *name);

/* The table of the definitions; InvalidOid if the extension is not there. */
extern Oid	sc_extension_definition_table(void);
extern bool sc_extension_is_own_table(Oid relid);

/* After a command that may have added them to a subscription. */
extern void sc_extension_unsubscribe(Oid subscription);

#endif							/* SC_EXTENSION_H */
