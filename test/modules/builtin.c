/*
 * What src/builtin.c says of each of PostgreSQL's own functions.  Built and run by test/t/049_builtin.pl, on a
 * server that does not preload the library.
 */
#include "postgres.h"

#include "../../src/builtin.c"

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_depends);
PG_FUNCTION_INFO_V1(test_proven);

Datum
test_depends(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(sc_builtin_depends(PG_GETARG_OID(0)));
}

/* Is a name in the table? */
Datum
test_proven(PG_FUNCTION_ARGS)
{
	char	   *name = NameStr(*PG_GETARG_NAME(0));

	PG_RETURN_BOOL(is_among(name, proven, lengthof(proven)) ||
				   is_among(name, proven_by_ddl, lengthof(proven_by_ddl)));
}
