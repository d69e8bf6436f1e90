/*-------------------------------------------------------------------------
 *
 * cache.c
 *	  The decision table: what a read is answered with.
 *
 * The first rule that applies:
 *
 *	private		the transaction has begun to write a source, or is
 *				SERIALIZABLE, or REPEATABLE READ and the document is not
 *				provably what its snapshot gives; or it must build but may not
 *				publish; or the cache is off.  Built under the caller's own
 *				snapshot, never published, never waiting for a builder.
 *	miss		forced, nothing cached, too old, or stale would hide a commit
 *				of this session.  Built by the caller and published.
 *	hit-revision	every section is proven current.
 *	progress-section	only inline sections are not: they are rebuilt by the
 *				caller and published.
 *	stale		a background section is not: the cached document at once; a
 *				refresh is requested.
 *
 * Single flight: builders of one kind for a summary take turns by a lock of
 * the advisory class, so that waiting shows in pg_locks, obeys lock_timeout
 * and takes part in deadlock detection.  Who has waited looks again first: the
 * leader's document may do, and the leader's error is its error.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "summary_cache.h"

/* objsubid of our locks in pg_locks, beside 1 and 2 of the advisory functions */
#define SC_LOCK_CLASS	92

typedef enum Flight
{
	FLIGHT_BACKGROUND = 1,		/* whole documents, background sections */
	FLIGHT_INLINE = 2
} Flight;

/* What one read knows of itself. */
typedef struct Reader
{
	bool		force;
	bool		may_fail_to_stale;	/* the last build failed; an old document may do */
	int64		asked_at;		/* monotonic ns; what is labelled later is new */
	Snapshot	snapshot;
} Reader;

typedef struct Decision
{
	ScStatus	status;
	ScPrivateCause cause;		/* of SC_PRIVATE */
	ScWant		want;			/* of SC_MISS and SC_INLINE */
} Decision;

const char *
sc_status_name(ScStatus status)
{
	switch (status)
	{
		case SC_HIT:
			return "hit-revision";
		case SC_INLINE:
			return "progress-section";
		case SC_STALE:
			return "stale";
		case SC_MISS:
			return "miss";
		case SC_PRIVATE:
			return "private";
	}
	return NULL;				/* keep compiler quiet */
}

/*-------------------------------------------------------------------------
 * Single flight
 *-------------------------------------------------------------------------
 */

static void
flight_tag(LOCKTAG *tag, const char *summary, Flight flight)
{
	tag->locktag_field1 = MyDatabaseId;
	tag->locktag_field2 = hash_bytes((const unsigned char *) summary, strlen(summary));
	tag->locktag_field3 = flight;
	tag->locktag_field4 = SC_LOCK_CLASS;
	tag->locktag_type = LOCKTAG_ADVISORY;
	tag->locktag_lockmethodid = USER_LOCKMETHOD;
}

static bool
flight_board(const char *summary, Flight flight, bool wait)
{
	LOCKTAG		tag;

	flight_tag(&tag, summary, flight);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* Right after publishing, not at the end of the transaction. */
static void
flight_leave(const char *summary, Flight flight)
{
	LOCKTAG		tag;

	flight_tag(&tag, summary, flight);
	LockRelease(&tag, ExclusiveLock, false);
}

/*-------------------------------------------------------------------------
 * The decision table
 *-------------------------------------------------------------------------
 */

/* Seconds; -1 unlimited. */
static inline int
stale_age(ScLocal *local)
{
	return unlikely(local->max_stale_age != SC_UNSET) ? local->max_stale_age : sc_max_stale_age;
}

/* What was labelled then is to be renewed before it is too old to serve. */
bool
sc_is_aging(ScLocal *local, int64 labelled_at, int64 now)
{
	return stale_age(local) >= 0 &&
		now - labelled_at > (int64) stale_age(local) * INT64CONST(800000000);
}

/* Is the document too old by more than the given extra seconds? */
static bool
too_old(ScLocal *local, Reader *reader, int extra)
{
	if (stale_age(local) < 0 || local->oldest > reader->asked_at)
		return false;
	return sc_now() - local->oldest >
		((int64) stale_age(local) + extra) * INT64CONST(1000000000);
}

/* May an old document be served, since a new one cannot be had? */
static bool
stale_if_error(ScLocal *local, Reader *reader)
{
	ScSummary  *entry = &sc_summaries[local->index];

	if (reader->force || sc_is_building() || too_old(local, reader, sc_stale_if_error))
		return false;
	return reader->may_fail_to_stale ||
		(entry->failures > 0 && sc_now() < (int64) pg_atomic_read_u64(&entry->retry_at));
}

static bool
hides_own_commit(ScLocal *local)
{
	if (!sc_read_your_writes)
		return false;
	for (int i = 0; i < local->nsections; i++)
		if (sc_label_hides_own_commit(local->sections[i].labels, local->sections[i].nlabels,
									  local->sections[i].labelled_at))
			return true;
	return false;
}

static bool
decide_private(Decision *decision, ScPrivateCause cause)
{
	decision->status = SC_PRIVATE;
	decision->cause = cause;
	return true;
}

/* Is there a reason not to use the cache that has nothing to do with its state? */
static bool
must_be_private(ScLocal *local, Decision *decision)
{
	if (!sc_enabled)
		return decide_private(decision, SC_PRIVATE_DISABLED);
	if (RecoveryInProgress())
		return decide_private(decision, SC_PRIVATE_RECOVERY);
	if (IsolationIsSerializable())
		return decide_private(decision, SC_PRIVATE_SERIALIZABLE);
	if (local->nsections > 0 ? sc_xact_wrote(local->labels, local->nlabels) :
		sc_xact_wrote_anything())
		return decide_private(decision, SC_PRIVATE_WRITING);
	return false;
}

static void
decide(ScLocal *local, Reader *reader, Decision *decision)
{
	ScProof		proof;
	bool		background_moved = false;
	bool		current;

	if (must_be_private(local, decision))
		return;
	if (local->index < 0)
	{
		(void) decide_private(decision, SC_PRIVATE_NO_ROOM);
		return;
	}

	proof = local->consistent ?
		sc_label_prove(local->labels, local->nlabels, reader->snapshot) : SC_MOVED;
	current = local->nsections > 0 && proof == SC_CURRENT;
	if (proof == SC_PENDING_UNPROVEN)
		sc_count(local->index, SC_COUNT_UNPROVABLE, 1);

	if (IsolationUsesXactSnapshot())
	{
		if (current && !reader->force && !too_old(local, reader, 0) &&
			local->xmax <= sc_full_xid(reader->snapshot->xmin))
			decision->status = SC_HIT;
		else
			(void) decide_private(decision, SC_PRIVATE_REPEATABLE_READ);
		return;
	}

	decision->status = SC_MISS;
	decision->want = SC_WANT_ALL;
	if (local->nsections == 0 || (reader->force && local->oldest <= reader->asked_at))
		return;

	/* a definition that is gone, or another one, has nothing to do with these */
	if (!current && !sc_matches_definition(local, sc_definition_get(NameStr(local->name))))
		return;

	decision->want = SC_WANT_NEEDED;
	if (too_old(local, reader, 0))
	{
		if (stale_if_error(local, reader))
			decision->status = SC_STALE;
		return;
	}
	if (current)
	{
		decision->status = SC_HIT;
		return;
	}

	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *section = &local->sections[i];

		if (!section->is_inline &&
			(section->invalidated ||
			 sc_label_prove(section->labels, section->nlabels, reader->snapshot) != SC_CURRENT))
			background_moved = true;
	}
	if (stale_if_error(local, reader) &&
		(background_moved || reader->may_fail_to_stale || sc_summaries[local->index].failed_inline))
		decision->status = SC_STALE;
	else if (!background_moved)
	{
		decision->status = SC_INLINE;
		decision->want = SC_WANT_INLINE;
	}
	/* a section that reads a summary is not to be labelled current with a stale one in it */
	else if (!sc_is_building() && !hides_own_commit(local))
		decision->status = SC_STALE;
}

/*-------------------------------------------------------------------------
 * Answering
 *-------------------------------------------------------------------------
 */

static void
answer_from_build(ScBuild *build, ScAnswer *answer)
{
	answer->document = sc_assemble(build->chunks, build->nchunks, CurrentMemoryContext);
	sc_etag(build->chunks, build->nchunks, answer->etag);
	answer->built_at = build->chunks[0]->built_at;
}

/* False if the version is gone meanwhile. */
static bool
answer_from_cache(ScLocal *local, ScAnswer *answer)
{
	answer->document = sc_local_document(local);
	if (answer->document == NULL)
		return false;
	memcpy(answer->etag, local->etag, sizeof(answer->etag));
	answer->built_at = local->built_at;
	return true;
}

static void
read_privately(const char *summary, int index, ScPrivateCause cause, ScAnswer *answer)
{
	ScBuild		build;

	sc_build_private(summary, &build);
	answer_from_build(&build, answer);
	answer->status = SC_PRIVATE;
	/* a read that never looked for an entry counts all the same */
	if (index < 0 && (cause == SC_PRIVATE_DISABLED || cause == SC_PRIVATE_RECOVERY))
		index = sc_summary_find(summary, true);
	if (index >= 0)
		sc_count(index, SC_COUNT_PRIVATE + cause, 1);
}

/* Not the build's fault: it says nothing about the next one. */
static bool
is_cancel(ErrorData *error)
{
	return (error->sqlerrcode == ERRCODE_QUERY_CANCELED && !sc_build_timed_out) ||
		error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		error->sqlerrcode == ERRCODE_CRASH_SHUTDOWN ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * Build in a subtransaction, so that a failure can be answered with the old
 * document.  NULL, or the error.
 */
static ErrorData *
try_build(ScLocal *local, ScWant want, ScCause cause, ScBuild *build)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		sc_build(local, want, cause, build);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (error)
	{
		ScSummary  *entry = &sc_summaries[local->index];

		/* what a cancelled builder began, the worker does */
		if (is_cancel(error))
			(void) sc_request_refresh(entry);
		else
			sc_record_failure(local->index, error, want == SC_WANT_INLINE);
	}
	return error;
}

/*
 * The leader whom this reader waited for failed: its error, rather than one
 * more build that fails.
 */
static void
raise_leaders_error(ScLocal *local, Reader *reader)
{
	ScSummary  *entry = &sc_summaries[local->index];
	char		message[SC_ERROR_LEN];
	int			code = 0;

	LWLockAcquire(&entry->lock, LW_SHARED);
	if (entry->failures > 0 && entry->failed_at > reader->asked_at)
	{
		code = entry->error_code;
		strlcpy(message, entry->error, sizeof(message));
	}
	LWLockRelease(&entry->lock);
	if (code != 0)
		ereport(ERROR,
				(errcode(code),
				 errmsg("summary \"%s\" could not be built: %s", NameStr(local->name), message),
				 errdetail("Another session built it, and this one waited."),
				 errhint("The section's query or its tables have changed; view summary_cache_stats has the last error.")));
}

/* Wait for another builder, and count the wait. */
static void
flight_wait(ScLocal *local, Flight flight)
{
	int64		start = sc_now();
	int			index = local->index;

	(void) flight_board(NameStr(local->name), flight, true);
	sc_count(index, SC_COUNT_WAITS, 1);
	sc_count(index, SC_COUNT_WAIT_NS, sc_now() - start);
}

/*
 * A read by all the rules; sc_read() has the short way for the usual one.
 */
static void
read_slowly(ScLocal *local, bool force, ScAnswer *answer)
{
	const char *summary = NameStr(local->name);
	Reader		reader = {force, false, sc_now(), NULL};
	bool		flying = false;
	bool		waited = false;
	Flight		flight = FLIGHT_BACKGROUND;
	ScStatus	first_status = SC_HIT;
	ErrorData  *error = NULL;

	reader.snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();

	for (bool first = true;; first = false)
	{
		Decision	decision = {0};
		ScBuild		build;
		ScSummaryDef *definition;
		bool		alone = false;

		CHECK_FOR_INTERRUPTS();
		sc_local_sync(local, false);
		if (local->index < 0 && sc_enabled && !RecoveryInProgress() && !sc_xact_wrote_anything())
		{
			/* no entry for what does not exist */
			if (sc_definition_get(summary) == NULL)
				sc_unknown_summary(summary);
			sc_local_sync(local, true);
		}
		decide(local, &reader, &decision);
		if (first)
			first_status = decision.status;

		/*
		 * No worker can be had to refresh: one reader does it, if it need not
		 * wait for another.
		 */
		if (decision.status == SC_STALE &&
			!sc_request_refresh(&sc_summaries[local->index]) &&
			!flying && error == NULL &&
			sc_may_publish(sc_definition_get(summary)) &&
			flight_board(summary, FLIGHT_BACKGROUND, false))
		{
			flying = true;
			flight = FLIGHT_BACKGROUND;
			decision.status = SC_MISS;
			decision.want = SC_WANT_NEEDED;
			alone = true;
		}

		if (decision.status == SC_HIT || decision.status == SC_STALE)
		{
			if (!answer_from_cache(local, answer))
				continue;
			if (flying)
				flight_leave(summary, flight);
			/* who has waited for a build was answered by a build */
			answer->status = waited && decision.status == SC_HIT ? first_status : decision.status;
			sc_count(local->index, (int) answer->status, 1);
			return;
		}

		definition = NULL;
		if (decision.status != SC_PRIVATE)
		{
			definition = sc_definition_get(summary);
			if (definition == NULL)
			{
				sc_summary_forget(summary);
				sc_unknown_summary(summary);
			}
			if (!sc_may_publish(definition))
				(void) decide_private(&decision, SC_PRIVATE_MAY_NOT_PUBLISH);
		}
		if (decision.status == SC_PRIVATE)
		{
			if (flying)
				flight_leave(summary, flight);
			read_privately(summary, local->index, decision.cause, answer);
			return;
		}

		/* one of many that cannot share a result need not wait for the others */
		if (!flying && !sc_summaries[local->index].no_room)
		{
			flight = decision.status == SC_INLINE ? FLIGHT_INLINE : FLIGHT_BACKGROUND;
			flying = true;
			if (!flight_board(summary, flight, false))
			{
				flight_wait(local, flight);
				waited = true;
				if (decision.status == SC_MISS)
					raise_leaders_error(local, &reader);
			}
			/* look again: the leader may just have finished */
			continue;
		}

		error = try_build(local, decision.want,
						  decision.status == SC_INLINE ? SC_BUILD_INLINE :
						  force ? SC_BUILD_FORCED :
						  alone ? SC_BUILD_BACKGROUND : SC_BUILD_MISS, &build);
		if (error)
		{
			if (flying)
				flight_leave(summary, flight);
			flying = false;
			if (is_cancel(error))
				ReThrowError(error);

			/* an old document is better than none */
			reader.may_fail_to_stale = true;
			sc_local_sync(local, true);
			if (local->index < 0 || local->nsections == 0 || !stale_if_error(local, &reader) ||
				!sc_matches_definition(local, sc_definition_get(summary)))
				ReThrowError(error);
			continue;
		}

		if (build.published)
		{
			sc_local_sync(local, true);
			if (local->index >= 0 && local->nsections > 0 && answer_from_cache(local, answer))
			{
				if (flying)
					flight_leave(summary, flight);
				answer->status = alone ? SC_MISS : waited ? first_status : decision.status;
				if (answer->status == SC_HIT || answer->status == SC_STALE)
					answer->status = decision.status;
				sc_count(local->index, (int) answer->status, 1);
				return;
			}
		}
		if (build.chunks && build.complete)
		{
			if (flying)
				flight_leave(summary, flight);
			answer_from_build(&build, answer);
			answer->status = decision.status;
			if (local->index >= 0)
				sc_count(local->index, (int) answer->status, 1);
			return;
		}
		/* parts of a document that is gone: begin again */
	}
}

/*
 * Read a summary.  The answer's document may be this backend's own copy.
 */
void
sc_read(const char *summary, bool force, ScAnswer *answer)
{
	ScLocal    *local;

	if (sc_shared == NULL)
	{
		static bool warned = false;

		if (!warned)
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("summary_cache is not preloaded: the summary is computed at every read"),
					 errhint("Add summary_cache to shared_preload_libraries and restart the server.")));
		warned = true;
		read_privately(summary, -1, SC_PRIVATE_NOT_PRELOADED, answer);
		return;
	}

	if (strlen(summary) >= NAMEDATALEN)
		sc_unknown_summary(summary);
	local = sc_local_get(summary);

	/*
	 * The usual read: nothing was published since the last one, nothing of
	 * the document has changed, and nothing about this transaction is
	 * special.  No lock, no copy, no shared memory written but the counter.
	 */
	if (!force && sc_enabled && local->version != 0 && local->consistent &&
		pg_atomic_read_u64(&sc_summaries[local->index].version) == local->version &&
		local->document && local->document_version == local->version &&
		!IsolationUsesXactSnapshot() && !sc_xact_wrote_anything() && ActiveSnapshotSet() &&
		sc_label_prove(local->labels, local->nlabels, GetActiveSnapshot()) == SC_CURRENT)
	{
		int64		now = sc_now_coarse();

		/* the coarse clock may be behind: 0 is not to be compared with it */
		if (stale_age(local) < 0 ||
			(stale_age(local) > 0 &&
			 now - local->oldest <= (int64) stale_age(local) * INT64CONST(1000000000)))
		{
			if (unlikely(sc_is_aging(local, local->oldest, now)))
				(void) sc_request_refresh(&sc_summaries[local->index]);
			answer->status = SC_HIT;
			answer->document = sc_local_document(local);
			memcpy(answer->etag, local->etag, sizeof(answer->etag));
			answer->built_at = local->built_at;
			sc_count(local->index, SC_COUNT_HIT, 1);
			return;
		}
	}
	read_slowly(local, force, answer);
}

/*
 * Refresh what needs it, from the worker, inside a transaction.  Raises the
 * query's error.
 */
void
sc_refresh_in_background(int index)
{
	ScSummary  *entry = &sc_summaries[index];
	ScLocal    *local;
	ScBuild		build;
	NameData	name;

	LWLockAcquire(&entry->lock, LW_SHARED);
	name = entry->name;
	LWLockRelease(&entry->lock);

	if (sc_definition_get(NameStr(name)) == NULL)
	{
		sc_summary_forget(NameStr(name));
		return;
	}
	(void) flight_board(NameStr(name), FLIGHT_BACKGROUND, true);
	local = sc_local_get(NameStr(name));
	sc_local_sync(local, true);
	if (local->index >= 0)
		sc_build(local, local->nsections > 0 ? SC_WANT_NEEDED : SC_WANT_ALL,
				 SC_BUILD_BACKGROUND, &build);
	flight_leave(NameStr(name), FLIGHT_BACKGROUND);
}

/*
 * Invalidate: "all" and a background section drop the document, an inline
 * section marks itself.  An unknown scope is an error that names the valid
 * ones.
 */
void
sc_invalidate(const char *summary, const char *scope)
{
	ScSummaryDef *definition = sc_definition_get(summary);
	ScSectionDef *section = NULL;
	StringInfoData scopes;
	int			index;
	bool		marked = false;

	if (definition == NULL)
		sc_unknown_summary(summary);
	initStringInfo(&scopes);
	appendStringInfoString(&scopes, "all");
	for (int i = 0; i < definition->nsections; i++)
	{
		appendStringInfo(&scopes, ", %s", NameStr(definition->sections[i].name));
		if (strcmp(NameStr(definition->sections[i].name), scope) == 0)
			section = &definition->sections[i];
	}
	if (section == NULL && strcmp(scope, "all") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("summary \"%s\" has no section \"%s\" to invalidate", summary, scope),
				 errhint("Valid scopes are: %s.", scopes.data)));

	index = sc_summary_find(summary, false);
	if (index < 0)
		return;

	if (section && section->is_inline)
	{
		ScSummary  *entry = &sc_summaries[index];

		LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
		for (int i = entry->sections; i >= 0; i = sc_sections[i].next)
			if (strcmp(NameStr(sc_sections[i].name), scope) == 0)
			{
				sc_sections[i].invalidated = true;
				marked = true;
			}
		if (marked)
		{
			/* a build of it that is under way must not undo this */
			entry->generation++;
			pg_atomic_fetch_add_u64(&entry->version, 1);
		}
		LWLockRelease(&entry->lock);
	}
	if (!marked)
		sc_summary_clear(&sc_summaries[index]);
}
