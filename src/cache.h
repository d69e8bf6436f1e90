/*-------------------------------------------------------------------------
 *
 * cache.h
 *	  The decision table: what a read is answered with.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_CACHE_H
#define SC_CACHE_H

#include "form.h"

/* What is asked for. */
typedef struct ScAsked
{
	bool		force;			/* a document that is built from now on */
	bool		etag_only;		/* the document itself is of no interest */
	const text *known;			/* nor is it if it has this etag; NULL: none.
								 * With forms, a list of etags */
	const ScFormsAsked *forms;	/* a form will do; NULL: none */
	Oid			row_type;		/* of rows that may be kept of hits with a
								 * form; InvalidOid: not known yet */
	ArrayType  *parameters;		/* values for the summary's parameters, as
								 * text; NULL: none */
} ScAsked;

typedef struct ScAnswer
{
	ScStatus	status;
	text	   *document;		/* may be this backend's own copy: not to be
								 * written or freed.  NULL: of no interest, or
								 * there is a form */
	ScEtag	   *etag;			/* this backend's own as well: for
								 * sc_local_etag(), before the next read */
	TimestampTz built_at;		/* the oldest section's */
	/* if forms were asked for: */
	bytea	   *form;			/* NULL: none */
	ScEncoding	encoding;		/* the form's; or of the etag that was known;
								 * SC_ENCODINGS: the document itself */
	TimestampTz stale_since;	/* of a stale one; 0: nothing has changed */
	HeapTuple	row;			/* a hit that was kept, whole, as documents
								 * are: nothing else is filled in.  NULL: none */
	ScLocal    *keeper;			/* where a hit with this form can be kept;
								 * NULL: nowhere */
} ScAnswer;

extern void sc_cache_read(const char *summary, const ScAsked *asked, ScAnswer *answer);
extern const char *sc_cache_status_name(ScStatus status);
extern void sc_cache_invalidate(const char *summary, const char *scope, ArrayType *parameters);
extern ScTry sc_cache_refresh(int index, ScRefresh what);

#endif							/* SC_CACHE_H */
