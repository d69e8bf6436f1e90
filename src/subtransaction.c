/*-------------------------------------------------------------------------
 *
 * subtransaction.c
 *	  Runs something in a subtransaction, or with locks, of its own.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "subtransaction.h"

/* The transaction whose COMMIT has been executed, and is carried out next. */
static LocalTransactionId ending_lxid = InvalidLocalTransactionId;

/*
 * The transaction block is at its COMMIT.  What runs from here on, the queries
 * of cursors WITH HOLD, may not roll back a subtransaction.
 */
void
sc_subtransaction_note_ending(void)
{
	ending_lxid = SC_MY_LXID;
}

bool
sc_subtransaction_is_ending(void)
{
	return LocalTransactionIdIsValid(ending_lxid) && ending_lxid == SC_MY_LXID;
}

/*
 * Run an action in a subtransaction, in the current memory context.  Returns
 * NULL, or the error, after which the subtransaction is rolled back.  Without
 * keep it is rolled back in any case: its locks are released, and nothing
 * remains of it but what it left in memory.
 *
 * At a COMMIT no subtransaction can be rolled back (see
 * sc_subtransaction_note_ending()): then the action is run as it is, and its
 * error is thrown.
 *
 * On a standby, a conflict with recovery ends a session that is in a
 * subtransaction, where it would otherwise end the statement.
 */
ErrorData *
sc_subtransaction_run(void (*action) (void *arg), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	if (sc_subtransaction_is_ending())
	{
		action(arg);
		return NULL;
	}

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
 * Begin a scope: the locks that are taken in it are released when it ends,
 * and not with the transaction.  Unlike a subtransaction it can be had at a
 * COMMIT as well.  After an error it goes with the resource owner that it was
 * begun under.
 */
ResourceOwner
sc_subtransaction_begin_scope(void)
{
	CurrentResourceOwner = ResourceOwnerCreate(CurrentResourceOwner, SC_NAME);
	return CurrentResourceOwner;
}

/* End a scope, and those that were begun in it. */
void
sc_subtransaction_end_scope(ResourceOwner scope)
{
	CurrentResourceOwner = ResourceOwnerGetParent(scope);
	ResourceOwnerRelease(scope, RESOURCE_RELEASE_BEFORE_LOCKS, true, false);
	/* a subtransaction that commits would pass its locks on */
	ResourceOwnerRelease(scope, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(scope, RESOURCE_RELEASE_AFTER_LOCKS, true, false);
	ResourceOwnerDelete(scope);
}

/*
 * Wait for no lock longer than that, until the subtransaction ends.  A lock that
 * is waited for 1 ms is in no deadlock for long enough to be found.
 */
void
sc_subtransaction_limit_waiting(int ms)
{
	char		limit[12];

	snprintf(limit, sizeof(limit), "%d", ms);
	(void) set_config_option("lock_timeout", limit, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Does the error say that somebody wants this command to end?  A function can
 * raise the same SQLSTATE, and then it is an error like any other.
 */
bool
sc_subtransaction_is_cancel(const ErrorData *error)
{
	return SC_IS_CANCEL(error);
}
