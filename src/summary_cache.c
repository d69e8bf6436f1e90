/*-------------------------------------------------------------------------
 *
 * summary_cache.c
 *	  Load the library: settings, and the map of the files.
 *
 * summary_cache answers an expensive JSON query from shared memory and knows
 * exactly whether the answer is current.
 *
 *	shmem.c			shared memory: slots, cells, summaries' entries, the area
 *					that holds the documents
 *	revision.c		revisions: what a transaction marked is published at its
 *					commit; whether a label is current for a snapshot
 *	standby.c		the same on a hot standby: positions in the WAL
 *	track.c			which tables are tracked, and the triggers on them
 *	hooks.c			writes and DDL as the server executes them
 *	definition.c	summaries and sections in the catalog, and this backend's
 *					cached view of them
 *	define.c		changes of them
 *	query.c			a section's query: prepared and looked at as its owner
 *	document.c		builds one section: its row as JSON
 *	build.c			builds and publishes sections: labels, single flight
 *	local.c			this backend's copies of documents
 *	cache.c			the decision table: what a read is answered with
 *	worker.c		refreshes in the background
 *	stats.c			counters and views
 *	functions.c		the SQL-callable functions
 *	debug.c			waiting points and weakened protocols of a debug build
 *	subtransaction.c	runs something in a subtransaction
 *	follow.c		queries follow what is renamed or moved
 *	hub.c			the State Hub: its tables, its default sections
 *	install.c		what CREATE EXTENSION does beyond its script
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "summary_cache.h"

SC_MODULE_MAGIC;

bool		sc_enabled = true;
int			sc_max_stale_age = 300;
int			sc_stale_if_error = 3600;
bool		sc_read_your_writes = true;
int			sc_memory_limit = 64 * 1024;
int			sc_local_memory_limit = 64 * 1024;
int			sc_max_tables = 1024;
int			sc_max_sections = 256;
int			sc_build_timeout = 5 * 60 * 1000;
int			sc_worker_idle_timeout = 3000;
int			sc_min_refresh_interval = 0;
bool		sc_eager_refresh = false;
bool		sc_notify = true;
int			sc_log_min_build_duration = -1;

extern PGDLLEXPORT void _PG_init(void);

/* What a session may set for itself; defined however the library is loaded. */
static void
define_session_settings(void)
{
	DefineCustomBoolVariable("summary_cache.enabled",
							 "Serves summaries from the cache.",
							 "When off, every read computes the document; changes are tracked all the same.",
							 &sc_enabled, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.max_stale_age",
							"Age above which a document is not served.",
							"-1 means no limit; 0 makes every read build.",
							&sc_max_stale_age, 300, -1, INT_MAX / 2,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.stale_if_error",
							"Time beyond max_stale_age for which a document is served while it cannot be rebuilt.",
							NULL,
							&sc_stale_if_error, 3600, 0, INT_MAX / 2,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("summary_cache.read_your_writes",
							 "A session is never served a document that lacks a change it has committed.",
							 NULL,
							 &sc_read_your_writes, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.local_memory_limit",
							"Memory for a backend's own copies of documents.",
							"Documents beyond it are copied from shared memory at every read.",
							&sc_local_memory_limit, 64 * 1024, 0, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.build_timeout",
							"Longest time that building a section may take.",
							"0 means no limit.",
							&sc_build_timeout, 5 * 60 * 1000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.log_min_build_duration",
							"Build time of a section above which the build is logged.",
							"0 logs every build; -1 none.",
							&sc_log_min_build_duration, -1, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

/* What sizes shared memory or rules the worker. */
static void
define_server_settings(void)
{
	DefineCustomIntVariable("summary_cache.memory_limit",
							"Shared memory for the documents of all databases.",
							"Reserved at server start. A document that does not fit is returned, but not cached.",
							&sc_memory_limit, 64 * 1024, 1024, MAX_KILOBYTES,
							PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.max_tables",
							"Number of source tables, and of databases that have some, that can be tracked apart.",
							NULL,
							&sc_max_tables, 1024, 8, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.max_sections",
							"Number of sections that can be cached, over all databases.",
							NULL,
							&sc_max_sections, 256, 2, 100000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.min_refresh_interval",
							"Shortest time between two refreshes of a summary in the background.",
							"What changes meanwhile is refreshed when it is over.",
							&sc_min_refresh_interval, 0, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("summary_cache.eager_refresh",
							 "Refreshes a cached summary on commit, without waiting for a reader.",
							 NULL,
							 &sc_eager_refresh, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("summary_cache.notify",
							 "Notifies listeners on channel summary_cache of every new document.",
							 "Nothing is sent in a database in which nobody has listened since the server start.",
							 &sc_notify, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.worker_idle_timeout",
							"Time after which an idle refresh worker leaves.",
							NULL,
							&sc_worker_idle_timeout, 3000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/*
 * Without preloading there is no shared memory to serve from: the functions
 * then compute at every read, and the triggers do nothing.
 */
void
_PG_init(void)
{
	define_session_settings();
	if (!process_shared_preload_libraries_in_progress)
		return;

	define_server_settings();
#ifdef SC_DEBUG
	sc_debug_init();
#endif
	MarkGUCPrefixReserved(SC_NAME);

	sc_shmem_init();
	sc_revision_init();
	sc_track_init();
	sc_hooks_init();
}
