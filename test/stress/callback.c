/*-------------------------------------------------------------------------
 *
 * callback.c
 *	  Another library's transaction callbacks: they fail, write or sleep where
 *	  that is worst for summary_cache.
 *
 * Transaction callbacks run in the reverse order of their registration.  To be
 * named before summary_cache in shared_preload_libraries: one callback is
 * registered before its own and runs after it, one is registered when shared
 * memory is made and runs before it.  In session_preload_libraries there is
 * only the latter.
 *
 *	callback.before_sql, callback.after_sql
 *		executed before each commit and PREPARE, before or after what
 *		summary_cache does then: to fail, or to write late
 *	callback.visible_sleep
 *		longest sleep, in microseconds, of a commit that is visible already and
 *		not published yet
 *	callback.published_sleep
 *		the same of one that is published, while the messages that invalidate
 *		other sessions' caches are not sent yet
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

typedef struct
{
	char	   *sql;
	int			sleep;
} Side;

static Side before = {NULL, 0};
static Side after = {NULL, 0};
static shmem_startup_hook_type prev_shmem_startup;

static void
callback(XactEvent event, void *arg)
{
	Side	   *side = arg;

	if ((event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE) &&
		side->sql && side->sql[0] != '\0')
	{
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		SPI_execute(side->sql, false, 0);
		PopActiveSnapshot();
		SPI_finish();
		CHECK_FOR_INTERRUPTS();
	}
	if (event == XACT_EVENT_COMMIT && side->sleep > 0 &&
		TransactionIdIsValid(GetTopTransactionIdIfAny()))
	{
		struct timespec ts = {0};

		/* not pg_usleep(), whose sleep a signal may cut short: a commit at its end is deaf anyway */
		ts.tv_nsec = 1000 * (long) pg_prng_uint64_range(&pg_global_prng_state, 0, side->sleep);
		(void) nanosleep(&ts, NULL);
	}
}

/* All libraries are loaded. */
static void
shmem_startup(void)
{
	static bool registered = false;

	if (prev_shmem_startup)
		prev_shmem_startup();
	/* once more after each crash */
	if (!registered)
		RegisterXactCallback(callback, &before);
	registered = true;
}

void
_PG_init(void)
{
	DefineCustomStringVariable("callback.before_sql", "SQL before each commit, before summary_cache's part.",
							   NULL, &before.sql, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("callback.after_sql", "SQL before each commit, after summary_cache's part.",
							   NULL, &after.sql, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("callback.visible_sleep",
							"Longest sleep between a commit's being visible and its being published.",
							NULL, &before.sleep, 0, 0, 900000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("callback.published_sleep",
							"Longest sleep between a commit's being published and its messages' being sent.",
							NULL, &after.sleep, 0, 0, 900000, PGC_USERSET, 0, NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
	{
		RegisterXactCallback(callback, &after);
		prev_shmem_startup = shmem_startup_hook;
		shmem_startup_hook = shmem_startup;
	}
	else
		RegisterXactCallback(callback, &before);
}
