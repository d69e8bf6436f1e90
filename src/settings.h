/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  The settings summary_cache.*, and a summary's own options.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_SETTINGS_H
#define SC_SETTINGS_H

#include <limits.h>

#include "base.h"

extern bool sc_enabled;
extern int	sc_max_stale_age;	/* s; -1 unlimited, 0 always a miss */
extern int	sc_stale_if_error;	/* s */
extern bool sc_read_your_writes;
extern int	sc_memory_limit;	/* kB */
extern int	sc_local_memory_limit;	/* kB */
extern int	sc_max_tables;
extern int	sc_max_key_words;
extern int	sc_plan_memory_limit;	/* kB */
extern int	sc_max_sections;
extern int	sc_max_documents;
extern int	sc_build_timeout;	/* ms; 0 none */
extern int	sc_worker_idle_timeout; /* ms */
extern int	sc_min_refresh_interval;	/* ms */
extern double sc_refresh_rest;	/* multiple of the time a refresh took */
extern int	sc_max_workers;
extern bool sc_eager_refresh;
extern bool sc_notify;
extern bool sc_watch_replay;
extern bool sc_save;
extern int	sc_save_interval;	/* s; 0: at shutdown only */
extern int	sc_log_min_build_duration;	/* ms; -1 none */

/*
 * What summary_cache_configure() can set for one summary.  SC_UNSET stands for
 * the setting of the same name.
 */
#define SC_UNSET	INT_MIN

/* How a document can be encoded; the names are HTTP's. */
typedef enum ScEncoding
{
	SC_GZIP,
	SC_ZSTD,
	SC_ENCODINGS
} ScEncoding;

typedef struct ScOptions
{
	int			max_stale_age;	/* s */
	int			min_refresh_interval;	/* ms */
	int			eager_refresh;	/* boolean */
	int			memory_limit;	/* kB, of its document in shared memory;
								 * SC_UNSET: no limit of its own */
	int			max_documents;	/* with parameters; SC_UNSET: as many as there
								 * are in all */
	int			levels[SC_ENCODINGS];	/* of its encoded forms; 0: none is
										 * made */
} ScOptions;

/* The option that says which, as "gzip, zstd:9". */
#define SC_ENCODINGS_OPTION	"encodings"

/* One option is kept apart: who may read the summary (reader.c). */
#define SC_READERS_OPTION	"readers"

extern void sc_settings_define_for_sessions(void);
extern void sc_settings_define_for_server(void);
extern void sc_settings_unset(ScOptions *options);

/* Parse an option's value.  Returns false, with a hint, if it is not valid; and
 * NULL for the hint if there is no option of this name. */
extern bool sc_settings_parse_option(ScOptions *options, const char *name, const char *value,
									 const char **hint);

extern const char *sc_settings_encoding_name(ScEncoding encoding);

/* The next name of a list with commas, from *list on, which is moved past it: its
 * length without the spaces around it.  -1: there is none any more. */
extern int	sc_settings_next_name(const char **list, const char **name);

/* The encoding of this name; SC_ENCODINGS: there is none. */
extern ScEncoding sc_settings_encoding(const char *name, int len);

/* Has a summary with these options encoded forms? */
static inline bool
sc_settings_has_forms(const ScOptions *options)
{
	return options->levels[SC_GZIP] > 0 || options->levels[SC_ZSTD] > 0;
}

/* Is a summary with these options refreshed on commit? */
static inline bool
sc_settings_is_eager(const ScOptions *options)
{
	return options->eager_refresh != SC_UNSET ? options->eager_refresh : sc_eager_refresh;
}

#endif							/* SC_SETTINGS_H */
