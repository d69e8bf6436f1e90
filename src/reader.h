/*-------------------------------------------------------------------------
 *
 * reader.h
 *	  Who may read a summary.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_READER_H
#define SC_READER_H

#include "miscadmin.h"

#include "definition.h"
#include "local.h"

/* Moves whenever memberships or attributes of roles may have changed. */
extern uint64 sc_reader_roles_version;

/* May the current role read it? */
extern bool sc_reader_may_read(const ScSummaryDef *definition);

/* An error, as if it were not there, unless it may. */
extern void sc_reader_check(const ScSummaryDef *definition);

/* The same for the newest definition of a summary, remembered for this
 * backend's view of it until that is synchronised.  False if there is none.  If
 * the view's document is current for the snapshot, it says whether the option was
 * set, and no definition is read. */
extern bool sc_reader_check_local(ScLocal *local, Snapshot snapshot);

/* May it see what is wrong with its sections: values and code of their owners? */
extern bool sc_reader_sees_errors(const ScSummaryDef *definition);

/* May it see what the views have of all summaries?  Of one of them? */
extern bool sc_reader_sees_all(void);
extern bool sc_reader_may_see(ScSummaryDef *definition, Snapshot snapshot);

/* Is the right to the version of this view known from an earlier read? */
static inline bool
sc_reader_is_known(const ScLocal *local)
{
	return likely(local->for_all) ||
		(local->reader == GetUserId() && local->reader_version == sc_reader_roles_version);
}

#endif							/* SC_READER_H */
