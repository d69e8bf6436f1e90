/*-------------------------------------------------------------------------
 *
 * assure.h
 *	  A primary assures its standbys that a transaction's DDL is none of theirs.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_ASSURE_H
#define SC_ASSURE_H

#include "access/xlogreader.h"

#include "base.h"

extern void sc_assure_init(void);	/* from _PG_init, while preloading */

/*
 * This transaction has changed, or may change, what is not temporary: nobody is
 * assured of anything.  Takes back what was said already.
 */
extern void sc_assure_refuse(void);

/* Before the commit, in the transaction: say it, if it is so. */
extern void sc_assure_before_commit(void);

/* The transaction is over. */
extern void sc_assure_end(void);

/* What a record says of the transaction that has written it. */
typedef enum ScAssurance
{
	SC_ASSURANCE_NONE,			/* nothing: it is another's record */
	SC_ASSURANCE_GIVEN,			/* in its database's catalogs it has changed
								 * only what belongs to temporary relations */
	SC_ASSURANCE_REFUSED		/* that is taken back, or not understood */
} ScAssurance;

/* For the startup process: no lock, no error, no allocation. */
extern ScAssurance sc_assure_read(XLogReaderState *record, Oid *database);

#endif							/* SC_ASSURE_H */
