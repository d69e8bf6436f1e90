/*-------------------------------------------------------------------------
 *
 * subtransaction.c
 *	  Runs something in a subtransaction of its own.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "summary_cache.h"

/*
 * Run an action in a subtransaction, in the current memory context.  Returns
 * NULL, or the error, after which the subtransaction is rolled back.  Without
 * keep it is rolled back in any case: its locks are released, and nothing
 * remains of it but what it left in memory.
 *
 * On a standby, what conflicts with recovery ends a session that is in one
 * rather than its statement.
 */
ErrorData *
sc_in_subtransaction(void (*action) (void *arg), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		action(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		/*
		 * Some strings of an error that is thrown again stay where they are
		 * copied to: not in the caller's context, which may be reset before
		 * they are reported.
		 */
		MemoryContextSwitchTo(TopTransactionContext);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (!keep || error)
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * Was it that somebody wants this command to end?  A function can raise the
 * same SQLSTATE, and then it is an error like any other.
 */
bool
sc_is_cancel(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED && error->funcname &&
		strcmp(error->funcname, "ProcessInterrupts") == 0;
}
