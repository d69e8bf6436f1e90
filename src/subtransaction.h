/*-------------------------------------------------------------------------
 *
 * subtransaction.h
 *	  Runs something in a subtransaction, or with locks, of its own.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_SUBTRANSACTION_H
#define SC_SUBTRANSACTION_H

#include "base.h"
#include "utils/elog.h"
#include "utils/resowner.h"

extern ErrorData *sc_subtransaction_run(void (*action) (void *arg), void *arg, bool keep);
extern void sc_subtransaction_note_ending(void);
extern bool sc_subtransaction_is_ending(void);
extern ResourceOwner sc_subtransaction_begin_scope(void);
extern void sc_subtransaction_end_scope(ResourceOwner scope);
extern void sc_subtransaction_limit_waiting(int ms);
extern bool sc_subtransaction_is_cancel(const ErrorData *error);

#endif							/* SC_SUBTRANSACTION_H */
