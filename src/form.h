/*-------------------------------------------------------------------------
 *
 * form.h
 *	  Encoded forms of documents: made by a worker, kept beside the document.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_FORM_H
#define SC_FORM_H

#include "local.h"

/* The forms that a reader takes, the best first; the document itself is after them. */
typedef struct ScFormsAsked
{
	int			n;
	ScEncoding	wanted[SC_ENCODINGS];
	int			number;			/* of this list */
} ScFormsAsked;

/* From a list of names.  An error (22023) for one that is unknown; what is not built
 * in is left out. */
extern void sc_form_parse(const char *list, ScFormsAsked *asked);

/* A form of the local version, palloc'd, and which it is; and whether the reader would
 * get the same of this version later.  NULL: there is none; it is then requested, if
 * there is to be one. */
extern bytea *sc_form_get(ScLocal *local, const ScFormsAsked *asked, ScEncoding *encoding, bool *is_final);

/* The etag of a form of the document with this one; SC_ENCODINGS is the document
 * itself.  Palloc'd. */
extern text *sc_form_etag(ScEtag *etag, ScEncoding encoding);

/* Is one of a list of etags the document's, or that of a form that is asked for?  The
 * first of these in the reader's order, or "*" for any. */
extern bool sc_form_is_known(ScEtag *etag, const text *known, const ScFormsAsked *asked,
							 ScEncoding *encoding);

/* Make what is missing of a summary's forms.  For a worker, inside a transaction; an
 * error that is none of a lack of room is raised. */
extern void sc_form_make(int index, const ScDocKey *key);

/* That has ended with an error; of what somebody has cancelled, the next try may be
 * made at once. */
extern void sc_form_note_failure(int index, const ScDocKey *key, int64 begin_ns, bool cancelled);

#endif							/* SC_FORM_H */
