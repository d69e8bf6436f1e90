/*-------------------------------------------------------------------------
 *
 * row_count.c
 *	  SQL function that stops a data-modifying statement after a number of rows,
 *	  as plperl's and plpython's row limits do: its statement triggers never
 *	  fire.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(execute_rows);

Datum
execute_rows(PG_FUNCTION_ARGS)
{
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64		rows;

	SPI_connect();
	if (SPI_execute(sql, false, PG_GETARG_INT32(1)) < 0)
		elog(ERROR, "SPI_execute failed: %s", sql);
	rows = SPI_processed;
	SPI_finish();
	PG_RETURN_INT64(rows);
}
