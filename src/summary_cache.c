/*-------------------------------------------------------------------------
 *
 * summary_cache.c
 *	  Loads the library.
 *
 * summary_cache answers an expensive JSON query from shared memory and knows
 * exactly whether the answer is current.  README.md beside this file shows
 * which file does what, and which stands on which.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "assure.h"
#include "commit.h"
#include "counters.h"
#include "debug.h"
#include "extension.h"
#include "filemap.h"
#include "hooks.h"
#include "launcher.h"
#include "release.h"
#include "request.h"
#include "save.h"
#include "settings.h"
#include "shmem.h"
#include "store.h"
#include "track.h"
#include "watch.h"
#include "word.h"

SC_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * Without preloading there is no shared memory to serve from: the functions
 * then compute at every read, and the triggers do nothing.
 *
 * The order matters where transaction callbacks are registered, which the
 * server calls in the reverse order: at a commit, track.c first marks what was
 * applied from another server, then commit.c makes the marks pending, or
 * publishes them; then release.c gives back what was dropped, and
 * debug.c plays another library that writes late.
 */
void
_PG_init(void)
{
	/* the settings are defined */
	if (sc_extension_note_copy(sc_touch, sc_key))
		return;
	sc_settings_define_for_sessions();
	if (!process_shared_preload_libraries_in_progress)
		return;

	sc_settings_define_for_server();
#ifdef SC_DEBUG
	sc_debug_init();
#endif
	MarkGUCPrefixReserved(SC_NAME);

	sc_word_init();
	sc_filemap_init();
	sc_counters_init();
	sc_store_init();
	sc_request_init();
	sc_save_init();
	sc_shmem_init();
	sc_launcher_init();
	sc_watch_init();

	sc_assure_init();
	sc_release_init();
	sc_commit_init();
	sc_track_init();
	sc_hooks_init();
}
