/*-------------------------------------------------------------------------
 *
 * encode.h
 *	  Encodes bytes as HTTP's Content-Encoding names it.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_ENCODE_H
#define SC_ENCODE_H

#include "settings.h"

/* Was its library there when this one was built? */
extern bool sc_encode_is_built_in(ScEncoding encoding);

/* Which library that is, as pkg-config names it. */
extern const char *sc_encode_library(ScEncoding encoding);

/*
 * Encode bytes, in the current memory context, and heed interrupts.  The same bytes,
 * level and library give the same result.  NULL if that would be no shorter than
 * most bytes.  An error of the library is one of SQL (XX000), or 53200.
 */
extern void *sc_encode(ScEncoding encoding, int level, const void *bytes, Size len, Size most,
					   Size *encoded);

#endif							/* SC_ENCODE_H */
