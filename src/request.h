/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Requests to the background workers, and the register of the workers.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_REQUEST_H
#define SC_REQUEST_H

#include "base.h"

/* Ask for a refresh of a summary; false if no worker can be had for it. */
extern bool sc_request_refresh(int summary);
extern void sc_request_notify(int summary);

/*
 * A NOTIFY costs an xid and a commit: none is sent before somebody has
 * listened in this database, which nobody can on a standby.
 */
extern bool sc_request_has_listeners(void);

/* The database is dropped or copied: its worker must leave. */
extern void sc_request_leave(Oid dboid);

/* A commit that changes what is refreshed eagerly: before it, see that there
 * is a worker; after it, wake it, which raises and locks nothing. */
extern void sc_request_ensure_worker(void);
extern void sc_request_wake_worker(void);

/* For the worker, which gets its place in the register as its argument. */
extern bool sc_request_enter(int worker, Oid dboid);	/* false: not wanted */
extern void sc_request_be_ready(int worker);
extern bool sc_request_try_leave(int worker);
extern void sc_request_exit(int worker, bool asked_to);

extern void sc_request_init(void);	/* from _PG_init */

#endif							/* SC_REQUEST_H */
