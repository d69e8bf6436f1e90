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
 * and takes part in deadlock detection.  A reader that has waited looks again
 * first: the leader's document may do, and the leader's error is its error.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "build.h"
#include "cache.h"
#include "clock.h"
#include "commit.h"
#include "debug.h"
#include "document.h"
#include "request.h"
#include "shmem.h"
#include "subtransaction.h"

/* objsubid of our locks in pg_locks, beside 1 and 2 of the advisory functions */
#define SC_LOCK_CLASS	92

typedef enum Flight
{
	FLIGHT_NONE,
	FLIGHT_BACKGROUND = 1,		/* whole documents, background sections */
	FLIGHT_INLINE = 2
} Flight;

/* What one read knows of itself. */
typedef struct Reader
{
	ScLocal    *local;
	const char *summary;
	bool		force;
	bool		build_failed;	/* an old document may do */
	bool		whole;			/* a part was built for a document that is
								 * gone */
	int64		asked_at;		/* monotonic ns; what is labelled later is new */
	Snapshot	snapshot;
	Flight		flight;			/* that we lead; FLIGHT_NONE */
	bool		waited;			/* for another's */
	ScStatus	first_status;	/* before waiting */
} Reader;

typedef struct Decision
{
	ScStatus	status;
	ScPrivateCause cause;		/* of SC_PRIVATE */
	ScWant		want;			/* of SC_MISS and SC_INLINE */
} Decision;

const char *
sc_cache_status_name(ScStatus status)
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
flight_lock(const char *summary, Flight flight, bool wait)
{
	LOCKTAG		tag;

	flight_tag(&tag, summary, flight);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

static void
flight_unlock(const char *summary, Flight flight)
{
	LOCKTAG		tag;

	flight_tag(&tag, summary, flight);
	LockRelease(&tag, ExclusiveLock, false);
}

/*-------------------------------------------------------------------------
 * The decision table
 *-------------------------------------------------------------------------
 */

/* Is the document too old by more than the given extra seconds? */
static bool
too_old(ScLocal *local, Reader *reader, int extra)
{
	if (sc_local_stale_age(local) < 0 || local->label.read_at > reader->asked_at)
		return false;
	return sc_clock_now() - local->label.read_at >
		((int64) sc_local_stale_age(local) + extra) * SC_NS_PER_S;
}

/* May an old document be served, since a new one cannot be had? */
static bool
stale_if_error(ScLocal *local, Reader *reader)
{
	bool		of_inline;

	if (reader->force || sc_build_is_running() || too_old(local, reader, sc_stale_if_error))
		return false;
	return reader->build_failed ||
		(sc_store_is_failing(local->index, &of_inline) &&
		 sc_clock_now() < (int64) pg_atomic_read_u64(&sc_store_requests(local->index)->retry_at));
}

/* Was it only inline sections that failed last? */
static bool
failed_inline(ScLocal *local)
{
	bool		of_inline;

	(void) sc_store_is_failing(local->index, &of_inline);
	return of_inline;
}

static bool
hides_own_commit(ScLocal *local)
{
	if (!sc_read_your_writes)
		return false;
	for (int i = 0; i < local->nsections; i++)
		if (sc_commit_is_hidden_by(&local->sections[i].label))
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

/* Do the labels name all words that a write would move?  Not those from before a promotion. */
static bool
knows_words(ScLocal *local)
{
	for (int i = 0; i < local->nsections; i++)
		if (sc_label_is_of_standby(&local->sections[i].label))
			return false;
	return local->nsections > 0;
}

/* Is there a reason not to use the cache that has nothing to do with its state? */
static bool
must_be_private(ScLocal *local, Decision *decision)
{
	if (!sc_enabled)
		return decide_private(decision, SC_PRIVATE_DISABLED);
	if (IsolationIsSerializable())
		return decide_private(decision, SC_PRIVATE_SERIALIZABLE);
	if (knows_words(local) ? sc_commit_wrote(&local->label) :
		sc_commit_wrote_anything())
		return decide_private(decision, SC_PRIVATE_WRITING);
	return false;
}

static void
decide(ScLocal *local, Reader *reader, Decision *decision)
{
	ScProof		proof;
	bool		background_moved = false;
	bool		inline_moved = false;
	bool		current;

	if (must_be_private(local, decision))
		return;
	if (local->index < 0)
	{
		(void) decide_private(decision, SC_PRIVATE_NO_ROOM);
		return;
	}

	proof = local->consistent ?
		sc_label_prove(&local->label, reader->snapshot) : SC_MOVED;
	current = local->nsections > 0 && proof == SC_CURRENT;
	if (proof == SC_PENDING_UNPROVEN)
		sc_counters_add(local->index, SC_COUNT_UNPROVABLE, 1);

	if (IsolationUsesXactSnapshot())
	{
		/* a position does not show what is too new */
		if (current && !reader->force && !too_old(local, reader, 0) &&
			!sc_label_is_of_standby(&local->label) &&
			local->xmax <= sc_word_full_xid(reader->snapshot->xmin))
			decision->status = SC_HIT;
		else
			(void) decide_private(decision, SC_PRIVATE_REPEATABLE_READ);
		return;
	}

	decision->status = SC_MISS;
	decision->want = SC_WANT_ALL;
	if (local->nsections == 0 || (reader->force && local->label.read_at <= reader->asked_at))
		return;

	/* a definition that is gone, or another one, has nothing to do with these */
	if (!current && !sc_build_matches(local, sc_definition_get(NameStr(local->name))))
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

		if (!section->invalidated &&
			sc_label_prove(&section->label, reader->snapshot) == SC_CURRENT)
			continue;
		if (section->is_inline)
			inline_moved = true;
		else
			background_moved = true;
	}
	/* what was in commit before may be over */
	if (!background_moved && !inline_moved)
	{
		decision->status = SC_HIT;
		return;
	}
	if (stale_if_error(local, reader) &&
		(background_moved || reader->build_failed || failed_inline(local)))
		decision->status = SC_STALE;
	else if (!background_moved)
	{
		decision->status = SC_INLINE;
		decision->want = SC_WANT_INLINE;
	}

	/*
	 * a section that reads a summary is not to be labelled current with a
	 * stale one in it
	 */
	else if (!sc_build_is_running() && !hides_own_commit(local))
		decision->status = SC_STALE;
}

/*-------------------------------------------------------------------------
 * Answering
 *-------------------------------------------------------------------------
 */

/* Lead a flight no longer: right after publishing, not at the transaction's end. */
static void
land(Reader *reader)
{
	if (reader->flight != FLIGHT_NONE)
		flight_unlock(reader->summary, reader->flight);
	reader->flight = FLIGHT_NONE;
}

static void
answer_from_build(Reader *reader, ScStatus status, ScBuild *build, ScAnswer *answer)
{
	land(reader);
	answer->document = sc_local_assemble(build->chunks, build->nchunks);
	answer->etag = palloc(sizeof(ScEtag));
	sc_local_etag_prepare(answer->etag, build->chunks, build->nchunks);
	answer->built_at = build->chunks[0]->built_at;
	answer->status = status;
}

/*
 * Answer with the document that is cached: what the short and the long way both
 * do.  A document that is nearly too old is refreshed before it is, so that a
 * reader never has to wait for it.  False if the version is gone meanwhile.
 */
static inline bool
answer_from_cache(ScLocal *local, ScStatus status, int64 now, ScAnswer *answer)
{
	answer->document = sc_local_document(local);
	if (unlikely(answer->document == NULL))
		return false;
	answer->etag = &local->etag;
	answer->built_at = local->built_at;
	answer->status = status;
	sc_counters_add(local->index, (int) status, 1);
	if (status == SC_HIT && unlikely(sc_local_is_aging(local, local->label.read_at, now)))
		(void) sc_request_refresh(local->index);
	return true;
}

/* The same for a reader that may lead a flight. */
static bool
answer_reader(Reader *reader, ScStatus status, ScAnswer *answer)
{
	if (!answer_from_cache(reader->local, status, sc_clock_now(), answer))
		return false;
	land(reader);
	return true;
}

static void
answer_privately(Reader *reader, ScPrivateCause cause, ScAnswer *answer)
{
	ScBuild		build;
	int			index = reader->local ? reader->local->index : -1;

	land(reader);
	sc_build_private(reader->summary, &build);
	answer_from_build(reader, SC_PRIVATE, &build, answer);

	/* a read that never looked for an entry counts all the same */
	if (index < 0 && cause == SC_PRIVATE_DISABLED)
		index = sc_store_find(reader->summary, true);
	if (index >= 0 && cause < SC_PRIVATE_CAUSES)
		sc_counters_add(index, SC_COUNT_PRIVATE + cause, 1);
}

/* Not the build's fault: it says nothing about the next one. */
static bool
is_cancel(ErrorData *error)
{
	return (sc_subtransaction_is_cancel(error) && !sc_document_timed_out) ||
		error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		error->sqlerrcode == ERRCODE_CRASH_SHUTDOWN ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

typedef struct BuildArguments
{
	ScLocal    *local;
	ScWant		want;
	ScCause		cause;
	ScBuild    *build;
} BuildArguments;

static void
build_action(void *arg)
{
	BuildArguments *arguments = arg;

	sc_build_shared(arguments->local, arguments->want, arguments->cause, arguments->build);
}

/*
 * Build in a subtransaction, so that a failure can be answered with the old
 * document.  NULL, or the error.  At a COMMIT there can be none: an error is
 * thrown.
 */
static ErrorData *
try_build(ScLocal *local, ScWant want, ScCause cause, ScBuild *build)
{
	BuildArguments arguments = {local, want, cause, build};
	ErrorData  *error;

	sc_document_timed_out = false;
	error = sc_subtransaction_run(build_action, &arguments, true);
	if (error)
	{
		/* what a cancelled builder began, the worker does */
		if (is_cancel(error))
			(void) sc_request_refresh(local->index);
		else
			sc_store_record_failure(local->index, NameStr(local->name), error, want == SC_WANT_INLINE);
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
	ScFailure	failure;

	sc_store_failure(local->index, &failure);
	if (failure.failures > 0 && failure.failed_at > reader->asked_at)
		ereport(ERROR,
				(errcode(failure.code),
				 errmsg("summary \"%s\" could not be built: %s", NameStr(local->name), failure.message),
				 errdetail("Another session built it, and this one waited."),
				 errhint("The section's query or its tables have changed; view summary_cache_stats has the last error.")));
}

/*
 * Become the leader of a flight.  Returns after the one before has landed; its
 * error is then this reader's.
 */
static void
board(Reader *reader, Flight flight)
{
	int			index = reader->local->index;

	if (!flight_lock(reader->summary, flight, false))
	{
		int64		start = sc_clock_now();

		(void) flight_lock(reader->summary, flight, true);
		reader->waited = true;
		sc_counters_add(index, SC_COUNT_WAITS, 1);
		sc_counters_add(index, SC_COUNT_WAIT_NS, sc_clock_now() - start);
		if (flight == FLIGHT_BACKGROUND)
			raise_leaders_error(reader->local, reader);
	}
	reader->flight = flight;
}

/*
 * Build what was decided, as the leader or as one of many that cannot share a
 * result.  True if that gave the answer; else the reader decides anew.
 */
static bool
build_answer(Reader *reader, Decision *decision, ScCause cause, ScAnswer *answer)
{
	ScLocal    *local = reader->local;
	ScBuild		build = {0};
	ErrorData  *error;

	error = try_build(local, reader->whole ? SC_WANT_ALL : decision->want, cause, &build);
	if (error)
	{
		land(reader);
		if (is_cancel(error))
			ReThrowError(error);

		/* an old document is better than none */
		reader->build_failed = true;
		sc_local_sync(local, true);
		if (local->index < 0 || local->nsections == 0 || !stale_if_error(local, reader) ||
			!sc_build_matches(local, sc_definition_get(reader->summary)))
			ReThrowError(error);
		FreeErrorData(error);
		return false;
	}

	if (build.published)
	{
		sc_local_sync(local, true);
		if (local->index >= 0 && local->nsections > 0 &&
			answer_reader(reader, decision->status, answer))
			return true;
	}
	if (build.chunks && build.complete)
	{
		answer_from_build(reader, decision->status, &build, answer);
		if (local->index >= 0)
			sc_counters_add(local->index, (int) decision->status, 1);
		return true;
	}
	/* parts of a document that is gone */
	reader->whole = true;
	return false;
}

/*
 * A read by all the rules; sc_cache_read() has the short way for the usual one.
 */
static void
read_by_rules(ScLocal *local, bool force, ScAnswer *answer)
{
	Reader		reader = {0};

	reader.local = local;
	reader.summary = NameStr(local->name);
	reader.force = force;
	reader.asked_at = sc_clock_now();
	reader.snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();

	for (bool first = true;; first = false)
	{
		Decision	decision = {0};
		ScCause		cause = force ? SC_BUILD_FORCED : SC_BUILD_MISS;
		ScSummaryDef *definition;

		CHECK_FOR_INTERRUPTS();
		sc_local_sync(local, false);
		if (local->index < 0 && sc_enabled && !sc_commit_wrote_anything())
		{
			/* no entry for what does not exist */
			if (sc_definition_get(reader.summary) == NULL)
				sc_definition_unknown(reader.summary);
			sc_local_sync(local, true);
			if (local->index < 0)
			{
				sc_definition_sweep_entries();
				sc_local_sync(local, true);
			}
		}
		decide(local, &reader, &decision);
		if (first)
			reader.first_status = decision.status;

		/*
		 * No worker can be had to refresh: one reader does it, if it need not
		 * wait for another.
		 */
		if (decision.status == SC_STALE &&
			!sc_request_refresh(local->index) &&
			reader.flight == FLIGHT_NONE && !reader.build_failed &&
			sc_build_may_publish(sc_definition_get(reader.summary), SC_WANT_NEEDED) &&
			flight_lock(reader.summary, FLIGHT_BACKGROUND, false))
		{
			reader.flight = FLIGHT_BACKGROUND;
			decision.status = SC_MISS;
			decision.want = SC_WANT_NEEDED;
			cause = SC_BUILD_BACKGROUND;
		}

		if (decision.status == SC_HIT || decision.status == SC_STALE)
		{
			/* who has waited for a build was answered by a build */
			if (answer_reader(&reader, reader.waited && decision.status == SC_HIT ?
							  reader.first_status : decision.status, answer))
				return;
			continue;
		}

		definition = decision.status != SC_PRIVATE ? sc_definition_get(reader.summary) : NULL;
		if (decision.status != SC_PRIVATE && definition == NULL)
		{
			sc_store_forget(reader.summary);
			sc_definition_unknown(reader.summary);
		}
		if (decision.status != SC_PRIVATE &&
			!sc_build_may_publish(definition, reader.whole ? SC_WANT_ALL : decision.want))
			(void) decide_private(&decision, SC_PRIVATE_MAY_NOT_PUBLISH);
		if (decision.status == SC_PRIVATE)
		{
			answer_privately(&reader, decision.cause, answer);
			return;
		}

		/*
		 * Build as the leader, after another look: the one before may just
		 * have finished.  Readers that cannot share a result need not take
		 * turns.
		 */
		if (reader.flight == FLIGHT_NONE && !sc_store_lacks_room(local->index))
		{
			board(&reader, decision.status == SC_INLINE ? FLIGHT_INLINE : FLIGHT_BACKGROUND);
			continue;
		}
		if (decision.status == SC_INLINE)
			cause = SC_BUILD_INLINE;
		if (build_answer(&reader, &decision, cause, answer))
			return;
	}
}

/* Not preloaded: there is nothing to cache in. */
static void
read_unloaded(const char *summary, ScAnswer *answer)
{
	static bool warned = false;
	Reader		reader = {0};

	if (!warned)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("summary_cache is not preloaded: the summary is computed at every read"),
				 errhint("Add summary_cache to shared_preload_libraries and restart the server.")));
	warned = true;
	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	reader.summary = summary;
	answer_privately(&reader, SC_PRIVATE_NOT_PRELOADED, answer);
}

/*
 * This backend's first read of a summary.  Names that lead nowhere are not
 * remembered: NULL, with the answer if the transaction's snapshot has one.
 */
static ScLocal *
first_read(const char *summary, ScAnswer *answer)
{
	Reader		reader = {0};

	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	if (sc_store_find(summary, false) >= 0 || sc_definition_get(summary) != NULL)
		return sc_local_get(summary, true);
	reader.summary = summary;
	answer_privately(&reader, SC_PRIVATE_REPEATABLE_READ, answer);
	return NULL;
}

/*
 * Is everything as it was when the document was built, with no transaction in
 * commit?  What sc_word_prove() finds first, without a branch for each word.
 */
static inline bool
words_unchanged(ScLocal *local)
{
	uint64		difference = 0;

	for (int i = 0; i < local->nwords; i++)
		difference |= pg_atomic_read_u64(local->words[i]) ^ local->expected[i];
	return difference == 0;
}

/*
 * Read a summary.  The answer's document may be this backend's own copy, which
 * stays until the transaction ends; its etag is good until the next read.
 */
void
sc_cache_read(const char *summary, bool force, ScAnswer *answer)
{
	ScLocal    *local;

	if (unlikely(sc_shared == NULL))
	{
		read_unloaded(summary, answer);
		return;
	}
	local = sc_local_get(summary, false);
	if (unlikely(local == NULL))
	{
		local = first_read(summary, answer);
		if (local == NULL)
			return;
	}

	/*
	 * The usual read: nothing was published since the last one, nothing of
	 * the document has changed, and nothing about this transaction is
	 * special.  No lock, no copy, no shared memory written but the counter.
	 */
	if (!force && sc_enabled && local->version != 0 && local->consistent &&
		pg_atomic_read_u64(local->shared_version) == local->version &&
		local->document && local->document_version == local->version &&
		!IsolationUsesXactSnapshot() && !sc_commit_wrote_anything() && ActiveSnapshotSet() &&
		(likely(words_unchanged(local)) ||
		 sc_label_prove(&local->label, GetActiveSnapshot()) == SC_CURRENT))
	{
		int64		now = sc_clock_coarse();
		int			limit = sc_local_stale_age(local);

		/* the coarse clock may be behind: 0 is not to be compared with it */
		if ((limit < 0 ||
			 (limit > 0 && now - local->label.read_at <= (int64) limit * SC_NS_PER_S)) &&
			answer_from_cache(local, SC_HIT, now, answer))
			return;
	}
	read_by_rules(local, force, answer);
}

/*
 * Refresh what needs it, from the worker, inside a transaction.  Raises the
 * query's error.
 */
void
sc_cache_refresh(int index)
{
	ScLocal    *local;
	ScBuild		build;
	NameData	name;

	sc_store_name(index, &name);
	if (sc_definition_get(NameStr(name)) == NULL)
	{
		sc_store_forget(NameStr(name));
		return;
	}
	(void) flight_lock(NameStr(name), FLIGHT_BACKGROUND, true);
	local = sc_local_get(NameStr(name), true);
	sc_local_sync(local, true);
	if (local->index >= 0)
		sc_build_shared(local, local->nsections > 0 ? SC_WANT_NEEDED : SC_WANT_ALL,
						SC_BUILD_BACKGROUND, &build);
	flight_unlock(NameStr(name), FLIGHT_BACKGROUND);
}

/*
 * Invalidate: "all" and a background section drop the document, an inline
 * section marks itself.  An unknown scope is an error that names the valid
 * ones.
 */
void
sc_cache_invalidate(const char *summary, const char *scope)
{
	ScSummaryDef *definition = sc_definition_get(summary);
	ScSectionDef *section;
	StringInfoData scopes;
	int			index;

	if (definition == NULL)
		sc_definition_unknown(summary);
	initStringInfo(&scopes);
	appendStringInfoString(&scopes, "all");
	for (int i = 0; i < definition->nsections; i++)
		appendStringInfo(&scopes, ", %s", NameStr(definition->sections[i].name));
	section = sc_definition_section(definition, scope);
	if (section == NULL && strcmp(scope, "all") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("summary \"%s\" has no section \"%s\" to invalidate", summary, scope),
				 errhint("Valid scopes are: %s.", scopes.data)));

	index = sc_store_find(summary, false);
	if (index < 0)
		return;

	if (section == NULL || !section->is_inline || !sc_store_invalidate_section(index, scope))
		sc_store_clear(index);
}
