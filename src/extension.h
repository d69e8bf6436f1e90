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

#include "base.h"

#define SC_DEFINITION_TABLE "summary_cache_definition"
#define SC_OPTION_TABLE "summary_cache_option"
#define SC_READER_TABLE "summary_cache_reader"

extern Oid	sc_extension_schema(bool missing_ok);

/* True if library and SQL objects fit; else reports at elevel. */
extern bool sc_extension_check_version(int elevel);

/* An error if a table or result has not the columns that the script gave it. */
extern void sc_extension_check_columns(const char *what, int natts, int expected);

/* The table of the definitions; InvalidOid if the extension is not there. */
extern Oid	sc_extension_definition_table(void);
extern bool sc_extension_is_own_table(Oid relid);

/* After a command that may have added them to a subscription. */
extern void sc_extension_unsubscribe(Oid subscription);

#endif							/* SC_EXTENSION_H */
