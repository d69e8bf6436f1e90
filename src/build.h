/*-------------------------------------------------------------------------
 *
 * build.h
 *	  Builds and publishes sections.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_BUILD_H
#define SC_BUILD_H

#include "definition.h"
#include "local.h"

typedef enum ScWant
{
	SC_WANT_ALL,				/* every section */
	SC_WANT_NEEDED,				/* those that are not proven current, or aged */
	SC_WANT_INLINE,				/* the inline ones of those */
	SC_WANT_PROOF				/* that those need not be built: their queries
								 * mean what they meant */
} ScWant;

/* How a cached document and the definition of today go together. */
typedef enum ScMatch
{
	SC_MATCH_WHOLE,				/* it was built from that */
	SC_MATCH_SECTIONS,			/* of these sections some are defined anew,
								 * over the same sources */
	SC_MATCH_SUMMARY,			/* the same summary, but of other sections or
								 * sources */
	SC_MATCH_NOTHING			/* another summary; or there is no definition */
} ScMatch;

/* What a build made: a chunk for each part of each section of the definition, or NULL. */
typedef struct ScBuild
{
	int			nchunks;
	ScChunk   **chunks;
	int64		build_ns;
	bool		complete;		/* no NULL */
	bool		ran;			/* a query was executed */
	bool		published;
	bool		needs_worker;	/* this process may not build it for others:
								 * see closed.c */
	bool		must_repeat;	/* it may have read what was not locked, or
								 * what was not built was not as its snapshot
								 * sees it, or a section is one part after all */
	bool		hidden;			/* the reader may not read what was built */
	bool		hides_errors;	/* nor know what went wrong */
	bool		lacks_slots;	/* a source has no slot of its own */
	bool		lacks_keys;		/* a keyed one has no key trigger, or another */
	ScPutResult put;			/* what came of publishing it */
} ScBuild;

extern void sc_build_shared(ScLocal *local, ScWant want, ScCause cause, ScBuild *build);
extern void sc_build_private(const char *summary, const ScValues *values, ScBuild *build);
extern bool sc_build_private_inline(ScLocal *local, ScBuild *build);
extern bool sc_build_once(ScSectionDef *section);
extern bool sc_build_is_running(void);
extern void sc_build_check_recursion(const char *summary);
extern void sc_build_warn(const char *summary, const ScBuild *build);
extern bool sc_build_is_refusal(const ErrorData *error);
extern bool sc_build_needs_worker(ScSummaryDef *definition, ScWant want);
extern bool sc_build_may_be_alone(ScSummaryDef *definition);
extern bool sc_build_may_publish(ScSummaryDef *definition, ScWant want);
extern bool sc_build_is_blocked_here(ScSummaryDef *definition);
extern ScMatch sc_build_match(ScLocal *local, ScSummaryDef *definition);

#endif							/* SC_BUILD_H */
