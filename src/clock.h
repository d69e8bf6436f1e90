/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  The clock by which ages and waits are measured.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_CLOCK_H
#define SC_CLOCK_H

#include <time.h>

#include "base.h"

/*
 * The monotonic clock, in ns.  It is the same in all processes of a machine
 * and is never set back.
 */
static inline int64
sc_clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * SC_NS_PER_S + ts.tv_nsec;
}

/*
 * The same clock, cheaper and up to some milliseconds behind: for the hit
 * path, where that does not matter to an age in seconds.
 */
static inline int64
sc_clock_coarse(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64) ts.tv_sec * SC_NS_PER_S + ts.tv_nsec;
#else
	return sc_clock_now();
#endif
}

#endif							/* SC_CLOCK_H */
