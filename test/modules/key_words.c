/*-------------------------------------------------------------------------
 *
 * key_words.c
 *	  SQL functions about key words of summary_cache: which have moved, and a
 *	  write whose triggers its own plan does not fire.
 *
 *	moved_words()
 *		those since this session called it last, by their number in ascending
 *		order; "pending" if any transaction is pending on one
 *	execute_unfired(sql)
 *		executes a statement as referential actions are: its triggers fire with
 *		those of the query that calls this
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(moved_words);
PG_FUNCTION_INFO_V1(execute_unfired);

#define PENDING_BITS	20

Datum
moved_words(PG_FUNCTION_ARGS)
{
	static uint64 *before = NULL;
	int			n = atoi(GetConfigOption("summary_cache.key_words", false, false));
	bool		found;
	bool		is_pending = false;
	StringInfoData out;
	pg_atomic_uint64 *words;

	/* a word each, and a byte */
	words = ShmemInitStruct("summary_cache key words", n * (sizeof(uint64) + 1), &found);
	if (!found)
		elog(ERROR, "there are no key words");
	if (before == NULL)
		before = MemoryContextAllocZero(TopMemoryContext, sizeof(uint64) * n);

	initStringInfo(&out);
	for (int i = 0; i < n; i++)
	{
		uint64		word = pg_atomic_read_u64(&words[i]);

		is_pending = is_pending || (word & ((UINT64CONST(1) << PENDING_BITS) - 1)) != 0;
		if (word >> PENDING_BITS != before[i])
			appendStringInfo(&out, "%s%d", out.len > 0 ? " " : "", i);
		before[i] = word >> PENDING_BITS;
	}
	if (is_pending)
		appendStringInfo(&out, "%spending", out.len > 0 ? " " : "");
	PG_RETURN_TEXT_P(cstring_to_text(out.data));
}

Datum
execute_unfired(PG_FUNCTION_ARGS)
{
	SPIPlanPtr	plan;

	SPI_connect();
	plan = SPI_prepare(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0, NULL);
	if (plan == NULL || SPI_execute_snapshot(plan, NULL, NULL, InvalidSnapshot, InvalidSnapshot, false, false, 0) < 0)
		elog(ERROR, "the statement failed");
	SPI_finish();
	PG_RETURN_VOID();
}
