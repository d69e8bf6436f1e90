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
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "summary_cache.h"

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
	bool		whole;			/* a part was built for a document that is gone */
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
	return reader->build_failed ||
		(entry->failures > 0 && sc_now() < (int64) pg_atomic_read_u64(&entry->retry_at));
}

static bool
hides_own_commit(ScLocal *local)
{
	if (!sc_read_your_writes)
		return false;
	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *section = &local->sections[i];

		/* a standby's has nothing of what was committed after the promotion */
		if (sc_label_hides_own_commit(section->labels, section->nlabels, section->labelled_at) ||
			(!XLogRecPtrIsInvalid(section->replayed) && sc_has_committed()))
			return true;
	}
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
		if (!XLogRecPtrIsInvalid(local->sections[i].replayed))
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
	if (knows_words(local) ? sc_xact_wrote(local->labels, local->nlabels) :
		sc_xact_wrote_anything())
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
		sc_prove(local->labels, local->nlabels, local->replayed, reader->snapshot) : SC_MOVED;
	current = local->nsections > 0 && proof == SC_CURRENT;
	if (proof == SC_PENDING_UNPROVEN)
		sc_count(local->index, SC_COUNT_UNPROVABLE, 1);

	if (IsolationUsesXactSnapshot())
	{
		/* a position does not tell what is too new */
		if (current && !reader->force && !too_old(local, reader, 0) &&
			XLogRecPtrIsInvalid(local->replayed) &&
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

		if (!section->invalidated &&
			sc_prove(section->labels, section->nlabels, section->replayed,
					 reader->snapshot) == SC_CURRENT)
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
		(background_moved || reader->build_failed || sc_summaries[local->index].failed_inline))
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
	answer->document = sc_assemble(build->chunks, build->nchunks);
	answer->etag = palloc(sizeof(ScEtag));
	sc_etag_prepare(answer->etag, build->chunks, build->nchunks);
	answer->built_at = build->chunks[0]->built_at;
	answer->status = status;
}

/* False if the version is gone meanwhile. */
static bool
answer_from_cache(Reader *reader, ScStatus status, ScAnswer *answer)
{
	ScLocal    *local = reader->local;

	answer->document = sc_local_document(local);
	if (answer->document == NULL)
		return false;
	land(reader);
	answer->etag = &local->etag;
	answer->built_at = local->built_at;
	answer->status = status;
	sc_count(local->index, (int) status, 1);
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
		index = sc_summary_find(reader->summary, true);
	if (index >= 0 && cause < SC_PRIVATE_CAUSES)
		sc_count(index, SC_COUNT_PRIVATE + cause, 1);
}

/* Not the build's fault: it says nothing about the next one. */
static bool
is_cancel(ErrorData *error)
{
	return (sc_is_cancel(error) && !sc_build_timed_out) ||
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

	sc_build(arguments->local, arguments->want, arguments->cause, arguments->build);
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

	if (sc_xact_is_ending())
	{
		build_action(&arguments);
		return NULL;
	}

	sc_build_timed_out = false;
	error = sc_in_subtransaction(build_action, &arguments, true);
	if (error)
	{
		ScSummary  *entry = &sc_summaries[local->index];

		/* what a cancelled builder began, the worker does */
		if (is_cancel(error))
			(void) sc_request_refresh(entry);
		else
			sc_record_failure(local->index, NameStr(local->name), error, want == SC_WANT_INLINE);
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
		int64		start = sc_now();

		(void) flight_lock(reader->summary, flight, true);
		reader->waited = true;
		sc_count(index, SC_COUNT_WAITS, 1);
		sc_count(index, SC_COUNT_WAIT_NS, sc_now() - start);
		if (flight == FLIGHT_BACKGROUND)
			raise_leaders_error(reader->local, reader);
	}
	reader->flight = flight;
}

/*
 * Build what was decided, as the leader or as one of many who cannot share a
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
			!sc_matches_definition(local, sc_definition_get(reader->summary)))
			ReThrowError(error);
		FreeErrorData(error);
		return false;
	}

	if (build.published)
	{
		sc_local_sync(local, true);
		if (local->index >= 0 && local->nsections > 0 &&
			answer_from_cache(reader, decision->status, answer))
			return true;
	}
	if (build.chunks && build.complete)
	{
		answer_from_build(reader, decision->status, &build, answer);
		if (local->index >= 0)
			sc_count(local->index, (int) decision->status, 1);
		return true;
	}
	/* parts of a document that is gone */
	reader->whole = true;
	return false;
}

/*
 * A read by all the rules; sc_read() has the short way for the usual one.
 */
static void
read_slowly(ScLocal *local, bool force, ScAnswer *answer)
{
	Reader		reader = {0};

	reader.local = local;
	reader.summary = NameStr(local->name);
	reader.force = force;
	reader.asked_at = sc_now();
	reader.snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();

	for (bool first = true;; first = false)
	{
		Decision	decision = {0};
		ScCause		cause = force ? SC_BUILD_FORCED : SC_BUILD_MISS;
		ScSummaryDef *definition;

		CHECK_FOR_INTERRUPTS();
		sc_local_sync(local, false);
		if (local->index < 0 && sc_enabled && !sc_xact_wrote_anything())
		{
			/* no entry for what does not exist */
			if (sc_definition_get(reader.summary) == NULL)
				sc_unknown_summary(reader.summary);
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
			!sc_request_refresh(&sc_summaries[local->index]) &&
			reader.flight == FLIGHT_NONE && !reader.build_failed &&
			sc_may_publish(sc_definition_get(reader.summary), SC_WANT_NEEDED) &&
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
			if (answer_from_cache(&reader, reader.waited && decision.status == SC_HIT ?
								  reader.first_status : decision.status, answer))
				return;
			continue;
		}

		definition = decision.status != SC_PRIVATE ? sc_definition_get(reader.summary) : NULL;
		if (decision.status != SC_PRIVATE && definition == NULL)
		{
			sc_summary_forget(reader.summary);
			sc_unknown_summary(reader.summary);
		}
		if (decision.status != SC_PRIVATE &&
			!sc_may_publish(definition, reader.whole ? SC_WANT_ALL : decision.want))
			(void) decide_private(&decision, SC_PRIVATE_MAY_NOT_PUBLISH);
		if (decision.status == SC_PRIVATE)
		{
			answer_privately(&reader, decision.cause, answer);
			return;
		}

		/*
		 * Build as the leader, after another look: the one before may just have
		 * finished.  Those who cannot share a result need not take turns.
		 */
		if (reader.flight == FLIGHT_NONE && !sc_summaries[local->index].no_room)
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
		sc_unknown_summary(summary);
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
		sc_unknown_summary(summary);
	if (sc_summary_find(summary, false) >= 0 || sc_definition_get(summary) != NULL)
		return sc_local_get(summary, true);
	reader.summary = summary;
	answer_privately(&reader, SC_PRIVATE_REPEATABLE_READ, answer);
	return NULL;
}

/*
 * Is everything as it was when the document was built, with no transaction in
 * commit?  What sc_label_prove() finds first, without a branch for each word.
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
sc_read(const char *summary, bool force, ScAnswer *answer)
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
		pg_atomic_read_u64(&sc_summaries[local->index].version) == local->version &&
		local->document && local->document_version == local->version &&
		!IsolationUsesXactSnapshot() && !sc_xact_wrote_anything() && ActiveSnapshotSet() &&
		(likely(words_unchanged(local)) ||
		 sc_prove(local->labels, local->nlabels, local->replayed,
				  GetActiveSnapshot()) == SC_CURRENT))
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
			answer->etag = &local->etag;
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
	(void) flight_lock(NameStr(name), FLIGHT_BACKGROUND, true);
	local = sc_local_get(NameStr(name), true);
	sc_local_sync(local, true);
	if (local->index >= 0)
		sc_build(local, local->nsections > 0 ? SC_WANT_NEEDED : SC_WANT_ALL,
				 SC_BUILD_BACKGROUND, &build);
	flight_unlock(NameStr(name), FLIGHT_BACKGROUND);
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
	ScSectionDef *section;
	StringInfoData scopes;
	int			index;
	bool		marked = false;

	if (definition == NULL)
		sc_unknown_summary(summary);
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
