/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The settings summary_cache.*, and a summary's own options.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"

#include "settings.h"

bool		sc_enabled = true;
int			sc_max_stale_age = 300;
int			sc_stale_if_error = 3600;
bool		sc_read_your_writes = true;
int			sc_memory_limit = 64 * 1024;
int			sc_local_memory_limit = 64 * 1024;
int			sc_plan_memory_limit = 32 * 1024;
int			sc_max_tables = 1024;
int			sc_max_key_words = 65536;
int			sc_max_sections = 256;
int			sc_max_documents = 1024;
int			sc_build_timeout = 5 * 60 * 1000;
int			sc_worker_idle_timeout = 3000;
int			sc_min_refresh_interval = 0;
double		sc_refresh_rest = 1.0;
int			sc_max_workers = 3;
bool		sc_eager_refresh = false;
bool		sc_notify = true;
bool		sc_watch_replay = true;
bool		sc_save = true;
int			sc_save_interval = 300;
int			sc_log_min_build_duration = -1;

/* What a session may set for itself; defined however the library is loaded. */
void
sc_settings_define_for_sessions(void)
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
	DefineCustomIntVariable("summary_cache.plan_memory_limit",
							"Memory for the plans that a backend keeps of the sections that it has built.",
							"Those of the summary that it has not used for the longest time go first, and are made again when it builds that.",
							&sc_plan_memory_limit, 32 * 1024, 0, MAX_KILOBYTES,
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

/* What sizes shared memory or governs the worker: only while preloading. */
void
sc_settings_define_for_server(void)
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
	DefineCustomIntVariable("summary_cache.key_words",
							"Number of words that stand for the values of keyed columns, over all databases.",
							"Values beyond it share them, so that a change of one makes documents of another stale.",
							&sc_max_key_words, 65536, 1024, 16 * 1024 * 1024,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.max_sections",
							"Number of sections that can be cached, over all databases.",
							NULL,
							&sc_max_sections, 256, 2, 100000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.max_documents",
							"Number of documents with parameters that can be cached, over all databases.",
							"0 builds each of them at every read.",
							&sc_max_documents, 1024, 0, 10000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.min_refresh_interval",
							"Shortest time between two refreshes of a summary in the background.",
							"What changes meanwhile is refreshed when it is over.",
							&sc_min_refresh_interval, 0, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomRealVariable("summary_cache.refresh_rest",
							 "Rest of a summary after a refresh in the background, as a multiple of the time that the refresh took.",
							 "1 lets a summary that changes all the time take half of one worker; 0 lets it take all.",
							 &sc_refresh_rest, 1.0, 0.0, 1000.0,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.max_workers",
							"Number of refresh workers that may run at a time, over all databases.",
							"They are taken from max_worker_processes. With 0, readers refresh the summaries themselves.",
							&sc_max_workers, 3, 0, 1024,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("summary_cache.eager_refresh",
							 "Refreshes a cached summary on commit, without waiting for a reader.",
							 NULL,
							 &sc_eager_refresh, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("summary_cache.notify",
							 "Notifies listeners on channel summary_cache of every new document.",
							 "Nothing is sent in a database in which nobody has listened since the server start.",
							 &sc_notify, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("summary_cache.watch_replay",
							 "On a standby, notices which tables each replayed transaction has changed.",
							 "When off, any record that is replayed makes all documents there stale.",
							 &sc_watch_replay, true, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("summary_cache.save",
							 "Keeps the documents in a file, from which the server loads them when it starts.",
							 "They are served as stale until they are rebuilt.",
							 &sc_save, true, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.save_interval",
							"Time between two writes of the file of documents.",
							"0 writes it at a shutdown only.",
							&sc_save_interval, 300, 0, INT_MAX / 1000,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("summary_cache.worker_idle_timeout",
							"Time after which an idle refresh worker leaves.",
							NULL,
							&sc_worker_idle_timeout, 3000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/* No option of a summary is set. */
void
sc_settings_unset(ScOptions *options)
{
	options->max_stale_age = SC_UNSET;
	options->min_refresh_interval = SC_UNSET;
	options->eager_refresh = SC_UNSET;
	options->memory_limit = SC_UNSET;
	options->max_documents = SC_UNSET;
	memset(options->levels, 0, sizeof(options->levels));
}

/* What is known of each encoding. */
static const struct
{
	const char *name;
	int			default_level;
	int			max_level;		/* those of zstd beyond it take much memory,
								 * also of who decodes */
}			encodings[SC_ENCODINGS] =

{
	[SC_GZIP] = {"gzip", 6, 9},
	[SC_ZSTD] = {"zstd", 3, 19},
};

const char *
sc_settings_encoding_name(ScEncoding encoding)
{
	return encodings[encoding].name;
}

int
sc_settings_next_name(const char **list, const char **name)
{
	const char *end;

	if (*list == NULL)
		return -1;
	*name = *list + strspn(*list, " \t");
	end = *name + strcspn(*name, ",");
	*list = *end == ',' ? end + 1 : NULL;
	while (end > *name && strchr(" \t", end[-1]))
		end--;
	return (int) (end - *name);
}

ScEncoding
sc_settings_encoding(const char *name, int len)
{
	for (int i = 0; i < SC_ENCODINGS; i++)
		if ((int) strlen(encodings[i].name) == len && strncmp(name, encodings[i].name, len) == 0)
			return (ScEncoding) i;
	return SC_ENCODINGS;
}

/* The encodings of a list, each with a level behind a colon or its default one. */
static bool
parse_encodings(const char *list, int *levels)
{
	const char *name;
	int			len;

	memset(levels, 0, sizeof(int) * SC_ENCODINGS);
	while ((len = sc_settings_next_name(&list, &name)) >= 0)
	{
		const char *colon = memchr(name, ':', len);
		int			name_len = colon ? (int) (colon - name) : len;
		ScEncoding	encoding = sc_settings_encoding(name, name_len);
		int			level;

		if (encoding == SC_ENCODINGS || levels[encoding] > 0)
			return false;
		level = encodings[encoding].default_level;
		if (colon)
		{
			int			digits = len - name_len - 1;

			/* two of them at most, so that it fits */
			if (digits < 1 || digits > 2 || (int) strspn(colon + 1, "0123456789") < digits)
				return false;
			level = (int) strtol(colon + 1, NULL, 10);
		}
		if (level < 1 || level > encodings[encoding].max_level)
			return false;
		levels[encoding] = level;
	}
	return true;
}

/*
 * Parse an option's value.  False, with a hint, if it is not valid; NULL for
 * the hint if there is no such option.
 */
bool
sc_settings_parse_option(ScOptions *options, const char *name, const char *value, const char **hint)
{
	bool		flag;

	*hint = NULL;
	if (strcmp(name, "max_stale_age") == 0)
	{
		*hint = "Use a time in seconds or with a unit, 0 to build at every read, or -1 for no limit.";
		return parse_int(value, &options->max_stale_age, GUC_UNIT_S, NULL) &&
			options->max_stale_age >= -1 && options->max_stale_age <= INT_MAX / 2;
	}
	if (strcmp(name, "min_refresh_interval") == 0)
	{
		*hint = "Use a time in milliseconds or with a unit, such as '2s'.";
		return parse_int(value, &options->min_refresh_interval, GUC_UNIT_MS, NULL) &&
			options->min_refresh_interval >= 0;
	}
	if (strcmp(name, "memory_limit") == 0)
	{
		*hint = "Use a size in kilobytes or with a unit, such as '1MB'.";
		return parse_int(value, &options->memory_limit, GUC_UNIT_KB, NULL) &&
			options->memory_limit >= 0;
	}
	if (strcmp(name, "max_documents") == 0)
	{
		*hint = "Use a number of documents, which is 1 at least.";
		return parse_int(value, &options->max_documents, 0, NULL) && options->max_documents >= 1;
	}
	if (strcmp(name, SC_ENCODINGS_OPTION) == 0)
	{
		*hint = "Use gzip, zstd or both, each with a level if need be: 'gzip:6, zstd:3'. Levels are 1 to 9 of gzip, and 1 to 19 of zstd.";
		return parse_encodings(value, options->levels);
	}
	if (strcmp(name, "eager_refresh") == 0)
	{
		*hint = "Use on or off.";
		if (!parse_bool(value, &flag))
			return false;
		options->eager_refresh = flag;
		return true;
	}
	return false;
}
