/*-------------------------------------------------------------------------
 *
 * delay.c
 *	  Widens the moment between "visible" and "published" of each commit.
 *
 * Transaction callbacks run in the reverse order of their registration.  This
 * library is loaded by session_preload_libraries, so after summary_cache: at
 * COMMIT its callback comes first, when the transaction is visible already and
 * summary_cache has not moved the revisions yet.  There it sleeps for up to
 * delay.after_visible microseconds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static int	after_visible = 0;

static void
delay(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && after_visible > 0 &&
		TransactionIdIsValid(GetTopTransactionIdIfAny()))
	{
		struct timespec ts = {0};

		/* not pg_usleep(), whose sleep a signal may cut short: a commit at its end is deaf anyway */
		ts.tv_nsec = 1000 * (long) pg_prng_uint64_range(&pg_global_prng_state, 0, after_visible);
		(void) nanosleep(&ts, NULL);
	}
}

void
_PG_init(void)
{
	DefineCustomIntVariable("delay.after_visible",
							"Longest sleep between a commit's being visible and its being published.",
							NULL, &after_visible, 0, 0, 900000, PGC_USERSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(delay, NULL);
}
