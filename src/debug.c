/*-------------------------------------------------------------------------
 *
 * debug.c
 *	  Named waiting points and weakened protocols, for tests.
 *
 * Only in a debug build (make SC_DEBUG=1).  A session that sets
 * summary_cache.debug_point to the name of a point, or to "all", sleeps there
 * for summary_cache.debug_sleep microseconds, so that a window that is a few
 * instructions wide can be looked through.  summary_cache.debug_protocol
 * selects a way of publishing that is known to be wrong: the checker must find
 * it out.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "summary_cache.h"

#ifdef SC_DEBUG

int			sc_debug_protocol = SC_PROTOCOL_TWO_PHASE;

static char *debug_point = NULL;
static int	debug_sleep = 0;

static const struct config_enum_entry protocols[] = {
	{"two-phase", SC_PROTOCOL_TWO_PHASE, false},
	{"at-write", SC_PROTOCOL_AT_WRITE, false},
	{"after-commit", SC_PROTOCOL_AFTER_COMMIT, false},
	{NULL, 0, false}
};

void
sc_debug_init(void)
{
	DefineCustomStringVariable("summary_cache.debug_point",
							   "Point at which this session sleeps, or \"all\".",
							   NULL, &debug_point, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.debug_sleep",
							"Time for which it sleeps there, in microseconds.",
							NULL, &debug_sleep, 0, 0, INT_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("summary_cache.debug_protocol",
							 "How this session publishes what it wrote.",
							 NULL, &sc_debug_protocol, SC_PROTOCOL_TWO_PHASE, protocols,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

/* Raises nothing: some points are inside a commit. */
void
sc_debug_point(const char *name)
{
	if (debug_sleep > 0 && debug_point &&
		(strcmp(debug_point, name) == 0 || strcmp(debug_point, "all") == 0))
		pg_usleep(debug_sleep);
}

#endif							/* SC_DEBUG */
