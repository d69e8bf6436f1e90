/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Refreshes in the background.
 *
 * A worker serves one database.  It is started by the launcher, which also says
 * when there may be several (launcher.c), and leaves after worker_idle_timeout
 * without a request, when its place is wanted by another database, or when its
 * own is about to be dropped or copied.  Two workers of a database do not
 * build the same summary: a worker claims it first.
 *
 * request.c describes how a request reaches the worker, and how the worker leaves.
 *
 * A worker that has run code of one owner leaves when another's is to be run
 * (document.c); the launcher starts another one.
 *
 * The worker gives way.  A build that would have to wait for a lock ends, and
 * releases those that it has (document.c); the summary is put back, and is tried
 * again after a pause that grows while the lock is not to be had.  That is no
 * failure, and the other summaries are refreshed meanwhile.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "cache.h"
#include "clock.h"
#include "debug.h"
#include "define.h"
#include "document.h"
#include "extension.h"
#include "form.h"
#include "request.h"
#include "shmem.h"

/* How often the worker looks whether a record has been replayed. */
#define REPLAY_NS	SC_NS_PER_MS

/* The pause of a summary that was put back: the first, and the longest. */
#define PAUSE_FIRST_NS	(10 * SC_NS_PER_MS)
#define PAUSE_DOUBLINGS	7

/* So often a build gives way to that of a summary that it reads; then it fails. */
#define PATIENT_PAUSES	6

/*
 * Bytes of a document's values in a notification, which has less than 8000 with the
 * summary's name, whose bytes may be six each there, and the time.
 */
#define LONGEST_LIST	7000

/* A request that has waited for so long comes first in a new worker. */
#define LONG_WAIT_NS	SC_NS_PER_S

/* A request, in a round. */
typedef struct Request
{
	int			index;
	bool		awaited;		/* by a reader */
	int64		requested_at;
	int64		waits_since;	/* requested, and due */
} Request;

/* The summary that is being refreshed; -1: none. */
static int	refreshing = -1;
static ScBegun begun;
static ScDocKey refreshing_key;
static bool refreshing_inline;	/* its inline sections alone */
static bool refreshing_awaited; /* when it began, a reader waited for it */

/* The summary whose listeners are being notified; -1: none. */
static int	notifying = -1;

/* The summary whose listeners wait for the forms that are being made; -1: none. */
static int	owing = -1;

/* This process has run code of an owner, and another's is to be run. */
static bool must_leave = false;

/* The summary that no other worker may build now; -1: none. */
static int	claimed = -1;

/* This process was asked to end. */
static volatile sig_atomic_t terminated = false;

/*
 * Put a summary back: another session holds a lock that its build needs.
 */
static void
put_back(int index, const ScDocKey *key)
{
	uint32		pauses = pg_atomic_read_u32(&sc_store_requests(index)->pauses);

	sc_store_note_no_refresh(index, key, begun.at,
							 PAUSE_FIRST_NS << Min(pauses, PAUSE_DOUBLINGS), sc_refresh_rest);
	sc_request_count(SC_WORKERS_GAVE_WAY);
	elog(DEBUG1, "the refresh of summary \"%s\" gives way to another session", NameStr(key->summary));
}

/*
 * Notify listeners of a document that they were not notified of, whoever built
 * it.
 */
static void
notify_listeners(int index)
{
	ScLocal    *local;
	ScDocKey	key;
	ScValues   *values;
	StringInfoData payload;

	sc_store_name(index, &key, &values);
	local = sc_local_get_document(NameStr(key.summary), values, true);
	sc_local_sync(local, false);
	if (local->index != index || local->nsections == 0)
		return;
	if (!sc_store_note_etag(index, sc_local_etag(&local->etag)))
		return;

	/*
	 * Everybody may listen.  So there is nothing in it that depends on the
	 * content: who knows what a document may be could find out by its etag
	 * which it is.
	 */
	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"summary\":");
	escape_json(&payload, NameStr(key.summary));
	if (values)
	{
		char	   *list = sc_values_to_json(values);

		/*
		 * a notification has its limit, and bytes of a value may be several
		 * there
		 */
		appendStringInfo(&payload, ",\"parameters\":%s", strlen(list) <= LONGEST_LIST ? list : "null");
	}
	appendStringInfo(&payload, ",\"built_at\":\"%s\"}",
					 JsonEncodeDateTime(NULL, TimestampTzGetDatum(local->built_at),
										TIMESTAMPTZOID, NULL));
	Async_Notify(SC_NAME, payload.data);
}

/*
 * The transaction of a NOTIFY has failed, or its worker ends before it has
 * committed: nobody was notified, so another try is to find that out.
 */
static void
take_back_notification(void)
{
	if (notifying < 0)
		return;
	(void) sc_store_note_etag(notifying, "");
	(void) sc_store_ask(notifying, &sc_store_requests(notifying)->notify, 1);
	notifying = -1;
}

/*
 * Listeners of a summary whose forms are made here are notified when these are there: not
 * by another worker, which the launcher would start for that, in the meantime.
 */
static void
owe_notification(int index)
{
	if (pg_atomic_exchange_u32(&sc_store_requests(index)->notify, 0) != 0)
		owing = index;
}

static void
give_back_owed(void)
{
	if (owing >= 0)
		(void) sc_store_ask(owing, &sc_store_requests(owing)->notify, 1);
	owing = -1;
}

/* In an interrupt handler: how long may what is being refreshed wait for a lock that a reader may hold? */
static int64
patience(void)
{
	int64		timeout = DeadlockTimeout * SC_NS_PER_MS;

	if (refreshing >= 0 && pg_atomic_read_u32(&sc_store_requests(refreshing)->boarding) > 0)
		return timeout / 16;
	if (refreshing_awaited || (refreshing >= 0 && sc_store_is_awaited(refreshing)))
		return timeout / 2;
	return -1;
}

/* May forms of a summary's document be made now? */
static bool
forms_are_due(int index)
{
	int64		due = sc_request_forms_due(index);

	return due >= 0 && due <= sc_clock_now();
}

/*
 * Refresh a summary in a transaction of its own, giving way to everybody else.
 * False if it is left to another worker: see sc_document_build().
 */
static bool
refresh_summary(int index, const ScDocKey *key, ScRefresh what)
{
	ScTry		outcome;

	sc_store_begin(&begun);
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, psprintf("refreshing summary \"%s\"", NameStr(key->summary)));
	refreshing_key = *key;
	refreshing = index;
	refreshing_inline = what == SC_REFRESH_INLINE;
	refreshing_awaited = (what & SC_REFRESH_AWAITED) != 0;
	sc_document_begin_giving_way(patience,
								 pg_atomic_read_u32(&sc_store_requests(index)->pauses) < PATIENT_PAUSES);
	outcome = sc_cache_refresh(index, what);
	(void) sc_document_end_giving_way();
	refreshing = -1;
	CommitTransactionCommand();
	if (outcome == SC_TRY_NONE)
		return false;
	/* what a reader waits for is no reason to rest */
	if (!refreshing_awaited)
		sc_store_note_refresh(index, key, begun.at);
	sc_store_note_try(index, key, refreshing_inline, begun.at, outcome);
	return true;
}

/*
 * Refresh one summary, or with 0 only notify its listeners.  A failure is
 * recorded, and logged when it is the first of its kind.  False after one.
 */
static bool
serve_summary(int index, ScRefresh refresh)
{
	MemoryContext context = CurrentMemoryContext;
	ScDocKey	key;
	ScFailure	before;
	uint32		failures;
	volatile bool done = true;

	sc_store_name(index, &key, NULL);
	sc_store_failure(index, &key, &before);
	failures = before.failures;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		if (refresh && !refresh_summary(index, &key, refresh))
			must_leave = true;
		/* the commit of a NOTIFY may wait, so it has nothing of the build */
		if (sc_request_has_listeners() && forms_are_due(index))
			/* when they are there */
			(void) sc_store_ask(index, &sc_store_requests(index)->notify, 1);
		else if (sc_request_has_listeners())
		{
			notifying = index;
			StartTransactionCommand();
			notify_listeners(index);
			CommitTransactionCommand();
			notifying = -1;
		}
		if (refresh && failures > 0 && !must_leave)
			ereport(LOG,
					(errmsg("summary \"%s\" is refreshed again after %u failures",
							NameStr(key.summary), failures)));
	}
	PG_CATCH();
	{
		ErrorData  *error;
		bool		was_refreshing = refreshing >= 0;
		bool		gave_way;

		HOLD_INTERRUPTS();
		done = false;
		gave_way = sc_document_end_giving_way();
		refreshing = -1;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		take_back_notification();
		if (was_refreshing && (gave_way || SC_IS_DEADLOCK(error)))
		{
			put_back(index, &key);
			sc_store_note_try(index, &key, refreshing_inline, begun.at, SC_TRY_GAVE_WAY);
		}
		else
		{
			if (was_refreshing)
				sc_store_note_no_refresh(index, &key, begun.at, 0, sc_refresh_rest);
			sc_store_record_failure(index, &key, &begun, error, was_refreshing && refreshing_inline);
			if (was_refreshing)
				sc_store_note_try(index, &key, refreshing_inline, begun.at, SC_TRY_FAILED);
			if (failures == 0)
				ereport(LOG,
						(errcode(error->sqlerrcode),
						 errmsg("could not refresh summary \"%s\": %s", NameStr(key.summary), error->message),
						 error->context ? errcontext("%s", error->context) : 0,
						 errdetail("It is served as it was until summary_cache.max_stale_age; the refresh is tried again.%s%s",
								   error->internalquery ? "\nQuery: " : "",
								   error->internalquery ? error->internalquery : "")));
		}
		FreeErrorData(error);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	/* as after a session: nobody waits for what a query has left locked */
	if (refresh)
		LockReleaseSession(USER_LOCKMETHOD);
	if (refresh && sc_define_attach_missing())
		sc_store_request(index, SC_REFRESH_DUE, sc_clock_now());
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}

extern PGDLLEXPORT void sc_worker_main(Datum arg);

/*
 * However the worker goes.  An error that ends the process in the middle of a
 * build, as a conflict with recovery does on a standby, is a failure of the
 * summary like any other: else it would be built again at once, for ever.
 */
static void
worker_exit(int code, Datum arg)
{
	bool		failed = refreshing >= 0 && code != 0 && (!terminated || sc_request_is_overdue());

	if (refreshing >= 0)
		(void) sc_document_end_giving_way();
	if (failed)
	{
		ErrorData	error = {0};

		error.sqlerrcode = ERRCODE_ADMIN_SHUTDOWN;
		error.message = "the background worker ended in the middle of the build: the server's log has the error";
		if (sc_request_is_overdue())
		{
			error.sqlerrcode = ERRCODE_QUERY_CANCELED;
			error.message = "the build did not end within summary_cache.build_timeout, nor when it was canceled, so its worker was terminated";
		}
		else if (RecoveryInProgress())
		{
			error.sqlerrcode = ERRCODE_T_R_SERIALIZATION_FAILURE;
			error.message = "the build was ended by a conflict with recovery";
		}
		sc_store_record_failure(refreshing, &refreshing_key, &begun, &error, refreshing_inline);
	}
	take_back_notification();
	give_back_owed();
	if (refreshing >= 0)
		sc_store_note_try(refreshing, &refreshing_key, refreshing_inline, begun.at,
						  failed ? SC_TRY_FAILED : SC_TRY_GAVE_WAY);
	if (claimed >= 0)
	{
		/* unless it failed, somebody else is to do it */
		if (!failed)
			sc_store_request(claimed, SC_REFRESH_DUE, sc_clock_now());
		sc_request_release(claimed);
	}
	sc_request_exit(terminated);
}

/* SIGTERM.  As die(), but what is idle leaves without a FATAL in the log. */
static void
worker_terminate(SIGNAL_ARGS)
{
	int			save_errno = errno;

	terminated = true;
	if (!proc_exit_inprogress)
	{
		InterruptPending = true;
		ProcDiePending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* Make them.  What goes wrong is counted, and the document served as it is. */
static void
make_forms(int index)
{
	MemoryContext context = CurrentMemoryContext;
	int64		begin = sc_clock_now();
	ScDocKey	key;

	sc_store_name(index, &key, NULL);
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		pgstat_report_activity(STATE_RUNNING, psprintf("encoding summary \"%s\"", NameStr(key.summary)));
		sc_form_make(index, &key);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		sc_form_note_failure(index, &key, begin, error->sqlerrcode == ERRCODE_QUERY_CANCELED);
		if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			ereport(LOG,
					(errcode(error->sqlerrcode),
					 errmsg("could not encode the document of summary \"%s\": %s", NameStr(key.summary), error->message),
					 errdetail("It is served as it is.")));
		FreeErrorData(error);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Refresh what was asked for.  What this process may not build is left to another one. */
static void
serve_part(int index, ScRefresh part)
{
	if (part && !must_leave)
		(void) serve_summary(index, part);
	if (part && must_leave)
		(void) sc_store_ask(index, &sc_store_requests(index)->refresh, part);
}

/* Refresh a summary, unless another worker is at it or has just done it. */
static bool
serve_request(int index)
{
	ScRequests *requests = sc_store_requests(index);
	ScRefresh	refresh;

	if (!sc_request_claim(index))
		return false;
	claimed = index;

	/*
	 * What is committed from here on is in the document, or requested again.
	 * The entry may have been given to another database since we looked.
	 */
	refresh = pg_atomic_exchange_u32(&requests->refresh, 0);
	if (refresh && !sc_store_is_here(index))
	{
		sc_store_request(index, SC_REFRESH_DUE, sc_clock_now());
		refresh = 0;
	}
	if (refresh)
	{
		uint64		since = pg_atomic_exchange_u64(&requests->requested_at, 0);

		/* what is promised never to be stale first, then what may take longer */
		serve_part(index, refresh & SC_REFRESH_INLINE);
		serve_part(index, refresh & ~SC_REFRESH_INLINE);

		/*
		 * who leaves it to another worker has not served it: its age is what
		 * it was, whoever has requested it again meanwhile
		 */
		if (must_leave && since > 0)
			pg_atomic_write_u64(&requests->requested_at, since);
	}
	claimed = -1;
	sc_request_release(index);
	return refresh != 0;
}

/* Notify the listeners of a summary; false if that has failed, and is to be tried again. */
static bool
serve_notify(int index)
{
	ScRequests *requests = sc_store_requests(index);
	bool		done;

	if (pg_atomic_read_u32(&requests->notify) == 0 ||
		pg_atomic_exchange_u32(&requests->notify, 0) == 0)
		return false;
	sc_request_begin_work();
	done = serve_summary(index, 0);
	sc_request_end_work();
	return done;
}

/* The next entry of this database of which something is asked, or -1. */
static int
next_asked_here(int index)
{
	Oid			dboid;

	do
		index = sc_store_next_asked(index, &dboid);
	while (index >= 0 && (dboid != MyDatabaseId || !sc_store_is_asked(index)));
	return index;
}

/*
 * Make the forms of one summary, of those that are due the next after the one before;
 * then notify its listeners, who have waited for them.  That is no build, so nothing
 * is claimed: a reader that waits for one has it from another worker.
 */
static bool
serve_forms(void)
{
	static int	last = -1;
	int			next = -1;

	for (int i = -1; (i = next_asked_here(i)) >= 0;)
	{
		if (!forms_are_due(i))
			continue;
		if (next < 0 || (next <= last && i > last))
			next = i;
	}
	if (next < 0)
		return false;
	/* first: with no forms to be made, others notify */
	owe_notification(next);
	if (pg_atomic_exchange_u32(&sc_store_requests(next)->forms, 0) == 0)
	{
		give_back_owed();
		return false;
	}
	last = next;
	sc_request_begin_work();
	make_forms(next);
	sc_request_end_work();
	give_back_owed();
	(void) serve_notify(next);
	return true;
}

static int
compare_requests(const void *a, const void *b)
{
	int64		ta = ((const Request *) a)->requested_at;
	int64		tb = ((const Request *) b)->requested_at;

	if (((const Request *) a)->awaited != ((const Request *) b)->awaited)
		return ((const Request *) a)->awaited ? -1 : 1;
	return ta < tb ? -1 : ta > tb ? 1 : 0;
}

/*
 * A worker that has run nobody's code yet may be the one for a request that those
 * before it have left.  If the readers of one owner's summaries wait all the time,
 * each worker would begin with these, and then have to leave.  So what has waited
 * for longest comes first, if it has for long.
 */
static void
begin_with_longest(Request *requested, int nrequests, int64 now)
{
	int			first = 0;
	Request		longest;

	for (int i = 1; i < nrequests; i++)
		if (requested[i].waits_since < requested[first].waits_since)
			first = i;
	if (nrequests == 0 || now < requested[first].waits_since + LONG_WAIT_NS)
		return;
	longest = requested[first];
	memmove(&requested[1], &requested[0], sizeof(Request) * first);
	requested[0] = longest;
}

/*
 * One round: all that is requested of this database's summaries and is due, first
 * what a reader waits for, then the oldest request; but see begin_with_longest().
 * Then the encoded forms of one summary.
 * True if anything was done; else brings wake_at forward to when something may be.
 */
static bool
serve_requests(int64 now, int64 *wake_at)
{
	bool		worked = false;
	int			nrequests = 0;
	int			size = 16;
	Request    *requested = palloc(sizeof(Request) * size);

	for (int i = -1; (i = next_asked_here(i)) >= 0;)
	{
		ScRequests *requests = sc_store_requests(i);
		int64		since;

		if (!forms_are_due(i) && serve_notify(i))
			worked = true;
		else if (sc_request_forms_due(i) > now)
			*wake_at = Min(*wake_at, sc_request_forms_due(i));
		if (pg_atomic_read_u32(&requests->refresh) == 0)
			continue;
		if (sc_request_due(i) > now)
		{
			*wake_at = Min(*wake_at, sc_request_due(i));
			continue;
		}
		if (sc_store_waits_for_replay(i))
		{
			*wake_at = Min(*wake_at, now + REPLAY_NS);
			continue;
		}
		if (nrequests == size)
		{
			size *= 2;
			requested = repalloc(requested, sizeof(Request) * size);
		}
		requested[nrequests].index = i;
		requested[nrequests].awaited = sc_store_is_awaited(i);
		requested[nrequests].requested_at = (int64) pg_atomic_read_u64(&requests->requested_at);
		since = requested[nrequests].requested_at;
		/* 0: it is just being requested */
		requested[nrequests++].waits_since = since == 0 ? now : Max(since, sc_request_due(i));
	}
	qsort(requested, nrequests, sizeof(Request), compare_requests);
	if (!sc_document_has_run_code())
		begin_with_longest(requested, nrequests, now);
	for (int i = 0; i < nrequests; i++)
	{
		if (serve_request(requested[i].index))
			worked = true;
		if (terminated || must_leave || (sc_request_makes_room() && sc_clock_now() > now + SC_TURN_NS))
			break;
	}
	/* after what somebody may wait for */
	if (!terminated && !must_leave && !sc_request_makes_room() && serve_forms())
		worked = true;
	return worked;
}

/* The worker's session: as a new one, whatever the database's defaults are. */
static void
connect_worker(Oid dboid)
{
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	/* only such a transaction publishes */
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_SUSET, PGC_S_OVERRIDE);
	/* build_timeout is what bounds a build, and it waits for no lock anyway */
	SC_NO_TRANSACTION_TIMEOUT();
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);

	/*
	 * all that it commits are notifications, which no standby is to be waited
	 * for
	 */
	SetConfigOption("synchronous_commit", "local", PGC_USERSET, PGC_S_OVERRIDE);
	sc_store_attach();
}

PGDLLEXPORT void
sc_worker_main(Datum arg)
{
	int			index = DatumGetInt32(arg);
	Oid			dboid;
	int64		idle_since;
	MemoryContext context;
	uint32		wait_event;

	sc_extension_check_copy();
	memcpy(&dboid, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, worker_terminate);
	before_shmem_exit(worker_exit, arg);

	if (!sc_request_enter(index, dboid))
		proc_exit(0);
	SC_POINT("worker-start");
	connect_worker(dboid);
	/* shown in pg_stat_activity */
	wait_event = SC_NEW_WAIT_EVENT("SummaryCacheWorkerMain");
	sc_request_be_ready();

	context = AllocSetContextCreate(TopMemoryContext, "summary_cache worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	idle_since = sc_clock_now();
	for (;;)
	{
		bool		worked;
		int64		now;
		int64		leave_at;
		int64		wake_at;

		ResetLatch(MyLatch);
		if (terminated)
			proc_exit(0);
		/* it came too late for a build */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		(void) sc_store_request_eager(MyDatabaseId);
		now = sc_clock_now();
		wake_at = leave_at = idle_since + sc_worker_idle_timeout * SC_NS_PER_MS;
		worked = serve_requests(now, &wake_at);
		MemoryContextReset(context);
		if (worked)
			idle_since = sc_clock_now();
		if (must_leave || sc_request_makes_room() || (!worked && now >= leave_at))
			break;
		if (worked)
			continue;

		/* in a storm of commits that concern nothing due, not at each of them */
		sc_request_nap(now, SC_NS_PER_MS, wait_event);
		now = sc_clock_now();
		if (wake_at > now)
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 Max((wake_at - now) / SC_NS_PER_MS, 1), wait_event);
	}
	/* the launcher looks for what is requested from here on */
	SC_POINT("worker-leave");
	proc_exit(0);
}
