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
 *				publish, or only a worker may and none can be had; or the
 *				cache is off.  Built under the caller's own
 *				snapshot, never published, never waiting for a builder.
 *	miss		forced, nothing cached, too old, or stale would hide a commit
 *				of this session.  Built and published by the caller, or by a
 *				worker for which the caller waits.
 *	hit-revision	every section is proven current.
 *	progress-section	only inline sections are not: they are rebuilt and
 *				published, by the same.
 *	stale		a background section is not, or is defined anew: the cached
 *				document; a refresh is requested.  Inline sections that have
 *				changed as well are rebuilt first, for all or, if the reader
 *				cannot do that, for its answer alone.
 *
 * A private answer requests a refresh as well, if the cached document would
 * not have been a hit for anybody.
 *
 * Single flight: builders of one kind for a summary take turns by a lock of
 * the advisory class, so that waiting shows in pg_locks, obeys lock_timeout
 * and takes part in deadlock detection.  A reader that has waited decides
 * again: the leader's document may do.
 *
 * What a reader cannot build for others (build.c), or has failed to build, it
 * leaves to a worker and waits.  Why a reader fails may have to do with its own
 * session, so only the worker's failure is the summary's: all who wait get the
 * old document if that may be served, else the worker's error.
 *
 * On a standby, a build that conflicts with recovery ends the session that
 * builds (see sc_subtransaction_run()).  It counts as a failure, and readers
 * leave a summary that has failed to the worker.
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
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "build.h"
#include "cache.h"
#include "clock.h"
#include "commit.h"
#include "debug.h"
#include "document.h"
#include "owner.h"
#include "reader.h"
#include "request.h"
#include "save.h"
#include "shmem.h"
#include "subtransaction.h"
#include "track.h"

/* objsubid of our locks in pg_locks, beside 1 and 2 of the advisory functions */
#define SC_LOCK_CLASS	92

/*
 * A reader finds out at most that often what queries mean.  For others who do it waits
 * no longer than that, in all, nor for one that has taken longer.
 */
#define MAX_PROOFS		2
#define PROOF_WAIT_NS	(2 * SC_NS_PER_MS)

typedef enum Flight
{
	FLIGHT_NONE,
	FLIGHT_BACKGROUND = 1,		/* whole documents, background sections */
	FLIGHT_INLINE = 2
} Flight;

/* A section of the cached document, or a part of one, that is proven current, before something is built. */
typedef struct Proven
{
	NameData	section;
	int			part;
	int			nparts;
	int64		read_at;		/* of its label */
} Proven;

/* What one read knows of itself. */
typedef struct Reader
{
	ScLocal    *local;
	const char *summary;
	const ScValues *values;		/* for its parameters; NULL: none */
	const ScAsked *asked;
	bool		build_failed;	/* an old document may do */
	bool		whole;			/* a part was built for a document that is
								 * gone */
	bool		needs_worker;	/* it cannot build what is needed */
	bool		alone;			/* nor can a worker, now: for nobody else */
	ErrorData  *error;			/* of its own build; NULL: none */
	bool		hides_error;	/* which it may not see */
	bool		proof_tried;	/* that its queries mean what they meant: as
								 * often as is of use */
	int			nproofs;		/* how often */
	int64		proof_until;	/* monotonic ns until which it waits for
								 * others who try; 0: it has not waited */
	int64		proving;		/* since when it tries, for others; 0: it does
								 * not */
	bool		inline_tried;	/* to rebuild for all, before a stale answer */
	bool		inline_settled; /* that is done, or no use; else it may
								 * rebuild for itself */
	int64		asked_at;		/* monotonic ns; what is labelled later is new */
	Snapshot	snapshot;
	Proven	   *proven;			/* see note_proven() */
	int			nproven;
	Flight		flight;			/* that we lead; FLIGHT_NONE */
	bool		waited;			/* for another's */
	ScStatus	first_status;	/* before waiting */
} Reader;

typedef struct Decision
{
	ScStatus	status;
	ScPrivateCause cause;		/* of SC_PRIVATE */
	ScWant		want;			/* of SC_MISS and SC_INLINE */
	bool		may_be_same;	/* nothing has moved but what names mean */
	bool		renew_inline;	/* of SC_STALE: what is inline and has changed
								 * is rebuilt first */
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

/* Count something of a document's reads, which is its summary's. */
static inline void
count(const ScLocal *local, int counter, uint64 n)
{
	sc_counters_add(local->counted, counter, n);
}

/* A read was answered. */
static inline void
count_answer(const ScLocal *local, ScStatus status)
{
	count(local, (int) status, 1);
	if (unlikely(local->values != NULL))
		sc_store_count_read(local->index);
}

/*-------------------------------------------------------------------------
 * Single flight
 *-------------------------------------------------------------------------
 */

static void
flight_tag(LOCKTAG *tag, const ScDocKey *key, Flight flight)
{
	const char *summary = NameStr(key->summary);

	tag->locktag_field1 = MyDatabaseId;
	tag->locktag_field2 = hash_bytes((const unsigned char *) summary, strlen(summary));
	if (key->values != 0)
		tag->locktag_field2 = hash_combine(tag->locktag_field2, (uint32) (key->values ^ (key->values >> 32)));
	tag->locktag_field3 = flight;
	tag->locktag_field4 = SC_LOCK_CLASS;
	tag->locktag_type = LOCKTAG_ADVISORY;
	tag->locktag_lockmethodid = USER_LOCKMETHOD;
}

static bool
flight_lock(const ScDocKey *key, Flight flight, bool wait)
{
	LOCKTAG		tag;

	flight_tag(&tag, key, flight);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

static void
flight_unlock(const ScDocKey *key, Flight flight)
{
	LOCKTAG		tag;

	flight_tag(&tag, key, flight);
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
	if (sc_local_stale_age(local) < 0 || local->executed_at > reader->asked_at)
		return false;
	return sc_clock_now() - local->executed_at >
		((int64) sc_local_stale_age(local) + extra) * SC_NS_PER_S;
}

/*
 * Has the last build failed, and is the next one not due?  For a reader on a
 * standby it never is: the try might end its session.
 */
static bool
is_failing(ScLocal *local, bool *of_inline)
{
	if (!sc_store_is_failing(local->index, of_inline))
		return false;
	if (RecoveryInProgress())
		return true;
	return sc_clock_now() < (int64) pg_atomic_read_u64(&sc_store_requests(local->index)->retry_at) &&
		!sc_store_failure_is_outdated(local->index);
}

/* May an old document be served, since a new one cannot be had? */
static bool
stale_if_error(ScLocal *local, Reader *reader)
{
	bool		of_inline;

	if (reader->asked->force || sc_build_is_running() || too_old(local, reader, sc_stale_if_error))
		return false;
	return reader->build_failed || is_failing(local, &of_inline);
}

/* Was it only inline sections that failed last? */
static bool
failed_inline(ScLocal *local)
{
	bool		of_inline;

	(void) sc_store_is_failing(local->index, &of_inline);
	return of_inline;
}

/*
 * May inline sections be rebuilt for an answer that is stale all the same?  Not
 * beside sections that the definition has no longer, or not yet.  And not where
 * every record that is replayed makes all sections unproven.
 */
static bool
may_renew_inline(ScLocal *local, ScMatch match)
{
	bool		of_inline;

	return (match == SC_MATCH_WHOLE || match == SC_MATCH_SECTIONS) &&
		!(RecoveryInProgress() && sc_label_has_position(&local->label)) &&
		!(is_failing(local, &of_inline) && of_inline);
}

/*
 * Has there been DDL, such as a new definition, since the document was built, or
 * is it being committed?  Then a write of today may move words that the label
 * does not name.
 */
static bool
is_before_ddl(ScLocal *local)
{
	int			catch_all = sc_slot_find(SC_KEY_CATCH_ALL, false);
	bool		named = false;

	if (catch_all < 0)
		return true;
	for (int i = 0; i < local->label.nwords; i++)
	{
		ScWordSeen *seen = &local->label.words[i];
		ScWordState state;

		if (seen->slot != SC_CLUSTER_SLOT && (int) seen->slot != catch_all &&
			(int) seen->slot != sc_slot_of_names())
			continue;
		named = named || (int) seen->slot == catch_all;
		sc_word_state((int) seen->slot, &state);
		if (state.revision != seen->revision || state.pending != 0)
			return true;
	}
	/* the database's DDL has another word by now */
	return !named;
}

/*
 * Does the document lack what this session has committed?  Of a source that the
 * document does not know, because the definition or a tree has changed since, the
 * session may have written anything.
 */
static bool
hides_own_commit(ScLocal *local, ScMatch match)
{
	if (!sc_read_your_writes)
		return false;
	if (match == SC_MATCH_SUMMARY && sc_commit_has_happened())
		return true;
	if (sc_commit_has_followed(&local->label) && is_before_ddl(local))
		return true;
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

/* Does a temporary table of this session inherit from a source, as far as that is known? */
static bool
has_own_rows(ScLocal *local)
{
	if (local->nsections == 0)
		return false;
	if (sc_track_has_own_rows_at(&local->label))
		return true;
	for (int i = 0; i < local->nsections; i++)
		if (sc_label_is_loaded(&local->sections[i].label) &&
			sc_track_has_own_rows_at(&local->sections[i].label))
			return true;
	return false;
}

/* Is there a reason not to use the cache that has nothing to do with its state? */
static bool
must_be_private(ScLocal *local, Decision *decision)
{
	if (!sc_enabled)
		return decide_private(decision, SC_PRIVATE_DISABLED);
	if (IsolationIsSerializable())
		return decide_private(decision, SC_PRIVATE_SERIALIZABLE);
	if (sc_commit_wrote_anything() &&
		(sc_commit_wrote(&local->label) || is_before_ddl(local)))
		return decide_private(decision, SC_PRIVATE_WRITING);
	if (has_own_rows(local))
		return decide_private(decision, SC_PRIVATE_WRITING);
	return false;
}

static void
decide(ScLocal *local, Reader *reader, Decision *decision)
{
	ScProof		proof;
	ScSummaryDef *definition = NULL;
	ScMatch		match = SC_MATCH_WHOLE;
	bool		background_moved = false;
	bool		inline_moved = false;
	bool		changed = false;
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
		count(local, SC_COUNT_UNPROVABLE, 1);

	if (IsolationUsesXactSnapshot())
	{
		/* a position does not show what is too new */
		if (current && !reader->asked->force && !too_old(local, reader, 0) &&
			!sc_label_has_position(&local->label) &&
			local->xmax <= sc_word_full_xid(reader->snapshot->xmin))
			decision->status = SC_HIT;
		else
			(void) decide_private(decision, SC_PRIVATE_REPEATABLE_READ);
		return;
	}

	decision->status = SC_MISS;
	decision->want = SC_WANT_ALL;
	if (local->nsections == 0 || (reader->asked->force && local->executed_at <= reader->asked_at))
		return;

	/* a definition that is gone, or another's, has nothing to do with these */
	if (!current)
	{
		definition = sc_definition_get(NameStr(local->key.summary));
		match = sc_build_match(local, definition);
		if (match == SC_MATCH_NOTHING)
			return;
	}

	for (int i = 0; !current && i < local->nsections; i++)
	{
		ScLocalSection *section = &local->sections[i];
		ScSectionDef *defined;

		if (!section->invalidated &&
			sc_label_prove(&section->label, reader->snapshot) == SC_CURRENT)
			continue;
		if (section->invalidated || !section->has_meaning ||
			!sc_label_holds_but_for_names(&section->label, reader->snapshot))
			changed = true;
		defined = sc_definition_section(definition, NameStr(section->name));
		if (section->is_inline && defined && defined->is_inline)
			inline_moved = true;
		else
			background_moved = true;
	}
	/* sections more or less are a matter of the whole document */
	if (match == SC_MATCH_SUMMARY && inline_moved)
		background_moved = true;
	decision->renew_inline = inline_moved && may_renew_inline(local, match);

	decision->want = SC_WANT_NEEDED;
	if (too_old(local, reader, 0))
	{
		if (stale_if_error(local, reader))
			decision->status = SC_STALE;
		return;
	}
	decision->may_be_same = !changed && match == SC_MATCH_WHOLE;
	/* also if what was in commit before is over */
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
	else if (!sc_build_is_running() && !hides_own_commit(local, match))
		decision->status = SC_STALE;
}

/*-------------------------------------------------------------------------
 * Answering
 *-------------------------------------------------------------------------
 */

/* What goes on from here is no proof, so nobody is to wait for it as for one. */
static void
end_proof(Reader *reader)
{
	if (reader->proving != 0 && reader->local->index >= 0)
		sc_request_end_proof(reader->local->index, reader->proving);
	reader->proving = 0;
}

/* Lead a flight no longer: right after publishing, not at the transaction's end. */
static void
land(Reader *reader)
{
	if (reader->flight != FLIGHT_NONE)
		flight_unlock(&reader->local->key, reader->flight);
	reader->flight = FLIGHT_NONE;
	/* who has waited finds nobody there */
	end_proof(reader);
}

/* Is the document to be in the answer, or is its etag enough? */
static inline bool
wants_document(const ScAsked *asked, ScEtag *etag)
{
	ScEncoding	encoding;

	if (asked->etag_only)
		return false;
	return !asked->known ||
		!(unlikely(asked->forms != NULL) ? sc_form_is_known(etag, asked->known, asked->forms, &encoding) :
		  sc_local_is_etag(etag, asked->known));
}

/*
 * Take what the answer has of the cached version: a form that the reader takes, or
 * the document.  False if the version is gone.
 */
static inline bool
take_content(ScLocal *local, const ScAsked *asked, ScAnswer *answer)
{
	bool		is_final;

	if (unlikely(asked->forms != NULL) &&
		(answer->form = sc_form_get(local, asked->forms, &answer->encoding, &is_final)) != NULL)
	{
		answer->keeper = is_final ? local : NULL;
		return true;
	}
	answer->document = sc_local_document(local);
	return answer->document != NULL;
}

/* Take the whole row of a hit with a form, if it was kept. */
static inline bool
take_row(ScLocal *local, const ScAsked *asked, ScStatus status, ScAnswer *answer)
{
	if (likely(asked->forms == NULL))
		return false;
	answer->row = status == SC_HIT ? sc_local_row(local, asked->forms->number, asked->row_type) : NULL;
	return answer->row != NULL;
}

/*
 * Since when a document is not what its queries give: the commit of the first change
 * that it lacks, or when it was built if that is not known; 0 if there was none.
 * Sections of the reader's own build, or NULL, are not looked at.
 */
static TimestampTz
stale_since(ScLocal *local, const ScBuild *own)
{
	TimestampTz since = DT_NOEND;

	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *section = &local->sections[i];
		bool		is_own = false;

		for (int o = 0; own && o < own->nchunks; o++)
			is_own = is_own || (own->chunks[o] &&
								strcmp(SC_CHUNK_SECTION(own->chunks[o]), NameStr(section->name)) == 0);
		if (!is_own)
			since = Min(since, section->invalidated ? DT_NOBEGIN : sc_label_changed_at(&section->label));
	}
	return since == DT_NOEND ? 0 : Max(since, local->built_at);
}

/* Of a large document the memory is given back as soon as it can be. */
static void
free_build(ScBuild *build)
{
	for (int i = 0; build->chunks && i < build->nchunks; i++)
		if (build->chunks[i])
			pfree(build->chunks[i]);
	build->chunks = NULL;
}

static void
answer_from_build(Reader *reader, ScStatus status, ScBuild *build, ScAnswer *answer)
{
	land(reader);
	answer->etag = palloc(sizeof(ScEtag));
	sc_local_etag_prepare(answer->etag, build->chunks, build->nchunks);
	answer->document = wants_document(reader->asked, answer->etag) ?
		sc_local_assemble(build->chunks, build->nchunks) : NULL;
	answer->built_at = build->chunks[0]->built_at;
	answer->status = status;
	answer->form = NULL;
	free_build(build);
}

/*
 * Answer with the document that is cached: what the short and the long way both
 * do; the caller may have taken its content.  A document that is nearly too old is
 * refreshed before it is, so that a reader never has to wait for it.  False if the
 * version is gone meanwhile.
 */
static inline bool
answer_from_cache(ScLocal *local, const ScAsked *asked, ScStatus status, int64 now,
				  bool taken, ScAnswer *answer)
{
	if (!taken)
	{
		answer->document = NULL;
		answer->form = NULL;
		if (wants_document(asked, &local->etag) && !take_row(local, asked, status, answer) &&
			unlikely(!take_content(local, asked, answer)))
			return false;
	}
	answer->etag = &local->etag;
	answer->built_at = local->built_at;
	answer->status = status;
	count_answer(local, status);
	if (status == SC_STALE && asked->forms)
		answer->stale_since = stale_since(local, NULL);
	/* with a stale one it was requested */
	if (status != SC_STALE && unlikely(sc_local_is_aging(local, local->executed_at, now)))
		(void) sc_request_refresh(local->index);
	return true;
}

/* The same for a reader that may lead a flight; the version may be one that it
 * has not asked for. */
static bool
answer_reader(Reader *reader, ScStatus status, bool taken, ScAnswer *answer)
{
	if (!sc_reader_is_known(reader->local) && !sc_reader_check_local(reader->local, reader->snapshot))
		return false;
	if (!answer_from_cache(reader->local, reader->asked, status, sc_clock_now(), taken, answer))
		return false;
	land(reader);
	return true;
}

/*
 * Ask for a refresh for the readers to come, as a private answer leaves no
 * document: unless there is a good one, or why the answer is private has
 * nothing to do with the document.  A pool whose transactions are all
 * REPEATABLE READ would otherwise never come to a hit.  What this transaction
 * locks nobody can build before it ends.
 */
static void
request_for_others(Reader *reader, ScPrivateCause cause)
{
	ScLocal    *local = reader->local;

	if (local == NULL || local->index < 0 ||
		(cause != SC_PRIVATE_SERIALIZABLE && cause != SC_PRIVATE_REPEATABLE_READ &&
		 cause != SC_PRIVATE_MAY_NOT_PUBLISH))
		return;
	if ((local->nsections == 0 || !local->consistent ||
		 sc_local_is_aging(local, local->executed_at, sc_clock_now()) ||
		 sc_label_prove(&local->label, reader->snapshot) != SC_CURRENT) &&
		!sc_build_is_blocked_here(sc_definition_get(reader->summary)))
		(void) sc_request_refresh(local->index);
}

/*
 * What a reader is told of an error that it may not see.  The SQLSTATE it gets,
 * since it may have to do with that; and the log has what is for the log.
 */
SC_NORETURN static void
throw_hidden_error(const char *summary, int code, const char *log)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("summary \"%s\" could not be built", summary),
			 errdetail_log("%s", log),
			 errhint("The server's log has the error. Members of the sections' owner and of pg_monitor are shown it.")));
}

/*
 * The reader is told what is wrong with a section's query, if it may see that.
 * The query itself, which may be long, is for the log.
 *
 * What somebody or something else has ended is no matter of the query, but where
 * that was.  Nor is what we say about the time that it took.
 */
SC_NORETURN static void
throw_build_error(const char *summary, bool hidden, ErrorData *error)
{
	const char *detail = error->detail_log ? error->detail_log : error->detail;
	char	   *log = psprintf("%s%s%s%s", detail ? detail : "", detail && error->internalquery ? "\n" : "",
							   error->internalquery ? "Query: " : "",
							   error->internalquery ? error->internalquery : "");

	if (hidden && !SC_IS_INTERRUPT(error) && !sc_document_is_timeout(error) && !sc_build_is_refusal(error))
		throw_hidden_error(summary, error->sqlerrcode,
						   psprintf("%s%s%s%s%s", error->message, log[0] ? "\n" : "", log,
									error->context ? "\n" : "", error->context ? error->context : ""));
	if (hidden)
		error->context = NULL;
	if (error->internalquery)
	{
		error->detail_log = log;
		error->internalquery = NULL;
		error->internalpos = 0;
	}
	ReThrowError(error);
}

/* Run a build that has no subtransaction of its own: its errors are thrown. */
static void
build_throwing(void (*action) (void *arg), void *arg, const char *summary, ScBuild *build)
{
	PG_TRY();
	{
		action(arg);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		/* where it stays until it is reported: see sc_subtransaction_run() */
		MemoryContextSwitchTo(TopTransactionContext);
		error = CopyErrorData();
		FlushErrorState();
		throw_build_error(summary, build->hides_errors, error);
	}
	PG_END_TRY();
}

typedef struct PrivateArguments
{
	const char *summary;
	const ScValues *values;
	ScBuild    *build;
} PrivateArguments;

static void
build_privately(void *arg)
{
	PrivateArguments *arguments = arg;

	sc_build_private(arguments->summary, arguments->values, arguments->build);
}

static void
answer_privately(Reader *reader, ScPrivateCause cause, ScAnswer *answer)
{
	ScBuild		build;
	PrivateArguments arguments = {reader->summary, reader->values, &build};
	int			index = reader->local ? reader->local->index : -1;

	/* by the time that it is built, the entry may be free, or another's */
	int			counted = index >= 0 ? reader->local->counted : -1;

	build.hides_errors = false;
	land(reader);
	request_for_others(reader, cause);
	build_throwing(build_privately, &arguments, reader->summary, &build);
	answer_from_build(reader, SC_PRIVATE, &build, answer);

	/* a read that never looked for an entry counts all the same */
	if (index < 0 && cause == SC_PRIVATE_DISABLED)
	{
		ScDocKey	key = sc_store_key(reader->summary, NULL);

		index = sc_commit_wrote_anything() ? sc_store_find(&key) : sc_store_find_or_create(&key, NULL);
		if (index >= 0)
			counted = sc_store_counted(index);
	}
	if (counted >= 0 && cause < SC_PRIVATE_CAUSES)
		sc_counters_add(counted, SC_COUNT_PRIVATE + cause, 1);
}

/*
 * Is this how recovery on a standby ends a query that is in its way?  With
 * serialization_failure; or with deadlock_detected, if the query holds a buffer
 * pin and waits for a lock that recovery has.  A build is in a subtransaction:
 * there the first of them is FATAL.
 */
static bool
is_recovery_conflict(int code)
{
	return RecoveryInProgress() &&
		(code == ERRCODE_T_R_SERIALIZATION_FAILURE || code == ERRCODE_T_R_DEADLOCK_DETECTED);
}

/* A build by try_build(), for when it ends the session. */
typedef struct Trying
{
	int			index;
	ScDocKey	key;
	bool		of_inline;
	ScBegun		begun;
	bool		conflict;		/* recovery ends it */
	LocalTransactionId lxid;	/* in which it runs; invalid: none does */
} Trying;

static Trying trying = {.lxid = InvalidLocalTransactionId};

/* Called while an error is raised. */
static void
note_conflict(void *arg)
{
	if (is_recovery_conflict(geterrcode()))
		trying.conflict = true;
}

/* What cannot be caught is recorded when the session exits. */
static void
record_conflict(int exit_code, Datum arg)
{
	ErrorData	error = {0};

	if (!trying.conflict || !LocalTransactionIdIsValid(trying.lxid) || trying.lxid != SC_MY_LXID)
		return;
	error.sqlerrcode = ERRCODE_T_R_SERIALIZATION_FAILURE;
	error.message = "the session that built it was terminated due to conflict with recovery";
	sc_store_record_failure(trying.index, &trying.key, &trying.begun, &error, trying.of_inline);
}

/*
 * Not the build's fault: it says nothing about the next one.  A conflict with
 * recovery is none of these: the next build may well meet one, too.
 */
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
	static bool registered = false;
	BuildArguments arguments = {local, want, cause, build};
	ErrorContextCallback callback = {error_context_stack, note_conflict, NULL};
	Trying		outer = trying;
	ErrorData  *volatile error = NULL;
	int			messages = client_min_messages;

	if (!registered)
		before_shmem_exit(record_conflict, (Datum) 0);
	registered = true;
	trying.index = local->index;
	trying.key = local->key;
	trying.of_inline = want == SC_WANT_INLINE;
	trying.conflict = false;
	trying.lxid = SC_MY_LXID;
	sc_store_begin(&trying.begun);

	sc_document_timed_out = false;
	error_context_stack = &callback;

	/*
	 * Others wait for this build: what it says is not sent, since the client
	 * may not read it.  The server says something of a subtransaction, too.
	 */
	client_min_messages = ERROR;
	PG_TRY();
	{
		if (sc_subtransaction_is_ending())
			build_throwing(build_action, &arguments, NameStr(local->key.summary), build);
		else
			error = sc_subtransaction_run(build_action, &arguments, true);
	}
	PG_FINALLY();
	{
		client_min_messages = messages;
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	trying = outer;
	/* what a cancelled builder began, the worker does */
	if (error && is_cancel(error))
		(void) sc_request_refresh(local->index);
	return error;
}

/*
 * If the leader that this reader waited for failed: its error, rather than one
 * more build that fails.  A build that began before the reader asked may not have
 * seen what would have let it succeed, such as the reader's own last commit: of
 * many that waited for that one, the first builds, and the others have its error.
 * A conflict with recovery says little about the next, and so does a build that
 * DDL has overtaken.
 */
static void
raise_leaders_error(ScLocal *local, Reader *reader, ScSummaryDef *definition)
{
	ScFailure	failure;

	/* its entry may have been given away while the reader waited */
	if (local->index < 0)
		return;
	sc_store_failure(local->index, &local->key, &failure);
	if (failure.failures > 0 && failure.begun.at > reader->asked_at &&
		!is_recovery_conflict(failure.code) && !sc_store_failure_is_outdated(local->index))
	{
		if (!sc_reader_sees_errors(definition))
			throw_hidden_error(reader->summary, failure.code, failure.message);
		ereport(ERROR,
				(errcode(failure.code),
				 errmsg("summary \"%s\" could not be built: %s", NameStr(local->key.summary), failure.message),
				 errdetail("Another session built it, and this one waited."),
				 errhint("Remove the cause of that error: the next try then succeeds. View %s has the last error.",
						 local->values ? "summary_cache_documents" : "summary_cache_stats")));
	}
}

static void
stop_boarding(int code, Datum index)
{
	pg_atomic_fetch_sub_u32(&sc_store_requests(DatumGetInt32(index))->boarding, 1);
}

/*
 * Become the leader of a flight.  Returns after the one before has landed: its
 * document may do, or its failure be a reason to be content with the old one.
 */
static void
board(Reader *reader, Flight flight)
{
	int			index = reader->local->index;

	if (!flight_lock(&reader->local->key, flight, false))
	{
		int64		start = sc_clock_now();

		/* a worker that leads may wait for a lock which this session has */
		pg_atomic_fetch_add_u32(&sc_store_requests(index)->boarding, 1);
		PG_ENSURE_ERROR_CLEANUP(stop_boarding, Int32GetDatum(index));
		{
			(void) flight_lock(&reader->local->key, flight, true);
		}
		PG_END_ENSURE_ERROR_CLEANUP(stop_boarding, Int32GetDatum(index));
		stop_boarding(0, Int32GetDatum(index));
		reader->waited = true;
		count(reader->local, SC_COUNT_WAITS, 1);
		count(reader->local, SC_COUNT_WAIT_NS, sc_clock_now() - start);
	}
	reader->flight = flight;
}

/* As long as a new document cannot be had: may the old one be served? */
static bool
old_one_does(Reader *reader)
{
	ScLocal    *local = reader->local;

	reader->build_failed = true;
	sc_local_sync(local, true);
	return local->index >= 0 && local->nsections > 0 && stale_if_error(local, reader) &&
		sc_build_match(local, sc_definition_get(reader->summary)) != SC_MATCH_NOTHING;
}

/*
 * Ask a worker, and wait for it.  Not if the reader is a section's query itself:
 * there may be no worker left for which it could wait.  (What the build would have
 * to wait for was looked at by sc_build_may_publish(), and the worker gives way.)
 * Who can build for itself is patient for deadlock_timeout only.  limit_ns: 0 is none.
 */
static ScTry
await_worker(Reader *reader, ScRefresh what, bool patient, int64 limit_ns)
{
	ScLocal    *local = reader->local;
	int			index = local->index;
	int64		start = sc_clock_now();
	int64		asked_at;
	ScTry		outcome;

	if (sc_build_is_running())
	{
		land(reader);
		(void) sc_request_refresh(index);
		return SC_TRY_NONE;
	}
	/* before it lands: who is next is to wait for the worker as well */
	asked_at = sc_request_demand(index, what);
	land(reader);
	outcome = sc_request_await(index, &local->key, what, asked_at, patient, limit_ns);
	reader->waited = true;
	count(local, SC_COUNT_WAITS, 1);
	count(local, SC_COUNT_WAIT_NS, sc_clock_now() - start);
	return outcome;
}

/*
 * Something is going to be built for this reader.  What is not built, since it is
 * proven current, stays in the document; but that may give way to others in the
 * meantime, and somebody who has begun to build it before may bring an older one.
 */
static void
note_proven(Reader *reader)
{
	ScLocal    *local = reader->local;

	reader->nproven = 0;
	reader->proven = palloc(sizeof(Proven) * Max(local->nsections, 1));
	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *section = &local->sections[i];

		if (section->invalidated ||
			sc_label_prove(&section->label, reader->snapshot) != SC_CURRENT)
			continue;
		reader->proven[reader->nproven].section = section->name;
		reader->proven[reader->nproven].part = section->part;
		reader->proven[reader->nproven].nparts = section->nparts;
		reader->proven[reader->nproven++].read_at = section->label.read_at;
	}
}

/*
 * Does the document that is cached now show all that the reader's snapshot sees?
 * Each section has a label that was read since the reader asked, or is the one that
 * was proven before, or a newer one.
 */
static bool
is_as_built(Reader *reader)
{
	ScLocal    *local = reader->local;

	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *section = &local->sections[i];
		bool		known = section->label.read_at > reader->asked_at;

		for (int p = 0; !known && p < reader->nproven; p++)
			known = section->label.read_at >= reader->proven[p].read_at &&
				section->part == reader->proven[p].part &&
				section->nparts == reader->proven[p].nparts &&
				strcmp(NameStr(section->name), NameStr(reader->proven[p].section)) == 0;
		if (!known)
			return false;
	}
	return local->nsections > 0;
}

/*
 * Have a worker build what was decided.  True if that gave the answer; else the
 * reader decides anew.
 */
static bool
answer_from_worker(Reader *reader, Decision *decision, ScAnswer *answer)
{
	ScLocal    *local = reader->local;
	int			index = local->index;
	ScSummaryDef *definition = sc_definition_get(reader->summary);
	bool		may_be_alone = reader->error == NULL && sc_build_may_be_alone(definition);
	bool		anew = reader->asked->force || too_old(local, reader, 0);
	int64		limit_ns = 0;
	ScTry		outcome;

	note_proven(reader);
	/* each section of a build that is under way, and then of this one */
	if (definition && sc_build_timeout > 0)
		limit_ns = ((int64) sc_build_timeout * 2 * definition->nsections + DeadlockTimeout) * SC_NS_PER_MS;
	outcome = await_worker(reader, decision->status == SC_INLINE ? SC_REFRESH_INLINE :
						   anew ? SC_REFRESH_ALL : SC_REFRESH_NEEDED, !may_be_alone, limit_ns);

	if (outcome == SC_TRY_DONE)
	{
		/* unless it was invalidated since, or given away */
		sc_local_sync(local, true);
		if (local->index == index && is_as_built(reader) &&
			(!anew || local->executed_at > reader->asked_at) &&
			answer_reader(reader, decision->status, false, answer))
			return true;
	}

	/*
	 * Once more: it gave way to a lock that may be held for a moment only, to
	 * another summary's worker, or to an invalidation.  But who can do
	 * without a worker does, after a while.
	 */
	if (outcome == SC_TRY_DONE || (outcome == SC_TRY_GAVE_WAY && reader->error == NULL))
	{
		int64		patience = may_be_alone ? DeadlockTimeout * SC_NS_PER_MS : limit_ns;

		if (patience == 0 || sc_clock_now() < reader->asked_at + patience)
			return false;
	}

	/*
	 * who builds for itself has no use for an old one, unless the worker has
	 * failed as well
	 */
	if ((!may_be_alone || outcome == SC_TRY_FAILED || outcome == SC_TRY_LATE) && old_one_does(reader))
	{
		reader->alone = true;
		return false;
	}
	if (reader->error && outcome != SC_TRY_LOCK_TIMEOUT)
		throw_build_error(reader->summary, reader->hides_error, reader->error);
	switch (outcome)
	{
		case SC_TRY_FAILED:
			definition = sc_definition_get(reader->summary);
			if (definition)
				raise_leaders_error(local, reader, definition);
			/* that is no matter any more, or says little about the next build */
			break;
		case SC_TRY_LATE:
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("waiting for a worker to build summary \"%s\" took longer than %d ms",
							reader->summary, sc_build_timeout),
					 errhint("Make its sections' queries cheaper, or raise summary_cache.build_timeout.")));
			break;
		case SC_TRY_LOCK_TIMEOUT:
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("canceling statement due to lock timeout"),
					 errdetail("It waited for a worker to build summary \"%s\".", reader->summary)));
			break;
		default:
			break;
	}
	reader->alone = true;
	return false;
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

	note_proven(reader);
	error = try_build(local, reader->whole ? SC_WANT_ALL : decision->want, cause, &build);
	if (error && is_cancel(error))
	{
		land(reader);
		throw_build_error(reader->summary, build.hides_errors, error);
	}
	if (error || build.needs_worker)
	{
		free_build(&build);
		reader->needs_worker = true;
		reader->error = error;
		reader->hides_error = build.hides_errors;
		return answer_from_worker(reader, decision, answer);
	}

	if (build.published)
	{
		sc_local_sync(local, true);
		/* what is there of a section may be proven current, and built before */
		if (local->index >= 0 && is_as_built(reader) &&
			(!reader->asked->force || local->executed_at > reader->asked_at) &&
			answer_reader(reader, decision->status, false, answer))
		{
			sc_build_warn(reader->summary, &build);
			free_build(&build);
			return true;
		}
	}
	if (build.chunks && build.complete)
	{
		/*
		 * it may have become another summary, of the same name, since we
		 * looked
		 */
		if (build.hidden)
			sc_definition_unknown(reader->summary);
		answer_from_build(reader, decision->status, &build, answer);
		if (local->index >= 0)
			count_answer(local, decision->status);
		sc_build_warn(reader->summary, &build);
		return true;
	}
	/* parts of a document that is gone */
	reader->whole = true;
	return false;
}

/* The same by a worker, unless it would have to come to an end with something else first. */
static void
renew_by_worker(Reader *reader)
{
	ScTry		outcome;

	if (sc_request_is_claimed(reader->local->index))
	{
		land(reader);
		return;
	}
	outcome = await_worker(reader, SC_REFRESH_INLINE, false, 0);
	if (outcome == SC_TRY_DONE || outcome == SC_TRY_FAILED)
		reader->inline_settled = true;
}

/*
 * An inline section is not to be stale: before an answer that is, rebuild what
 * has changed, as the leader of that flight.  True if the reader is to decide
 * again.  If the build fails, the document is answered as it is.  At a COMMIT an
 * error could not be caught.
 */
static bool
renew_inline(Reader *reader)
{
	ScLocal    *local = reader->local;
	ScSummaryDef *definition;
	ScBuild		build = {0};
	ErrorData  *error;

	if (reader->inline_tried || sc_store_lacks_room(local->index) || sc_subtransaction_is_ending())
		return false;
	definition = sc_definition_get(reader->summary);
	if (!sc_build_may_publish(definition, SC_WANT_INLINE))
		return false;
	if (sc_build_needs_worker(definition, SC_WANT_INLINE))
	{
		reader->inline_tried = true;
		renew_by_worker(reader);
		return true;
	}
	if (reader->flight != FLIGHT_INLINE)
	{
		land(reader);
		board(reader, FLIGHT_INLINE);
		return true;
	}
	reader->inline_tried = true;
	error = try_build(local, SC_WANT_INLINE, SC_BUILD_INLINE, &build);
	land(reader);
	if (error && is_cancel(error) && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		throw_build_error(reader->summary, build.hides_errors, error);
	reader->inline_settled = error || build.published;
	if (error || build.needs_worker)
		renew_by_worker(reader);
	else
		sc_build_warn(reader->summary, &build);
	free_build(&build);
	return true;
}

/* May this reader build what is not current, for all? */
static bool
may_refresh(Reader *reader)
{
	ScSummaryDef *definition = sc_definition_get(reader->summary);

	return !sc_build_needs_worker(definition, SC_WANT_NEEDED) &&
		sc_build_may_publish(definition, SC_WANT_NEEDED);
}

/* Another session is at the summary: false if it does not find out what queries mean, or not in time. */
static bool
await_proof(Reader *reader)
{
	if (reader->proof_until == 0)
		reader->proof_until = sc_clock_now() + PROOF_WAIT_NS;
	return sc_request_await_proof(reader->local->index, reader->proof_until, PROOF_WAIT_NS);
}

/*
 * DDL has moved what names mean, and nothing else has moved: find out whether the
 * queries mean what they meant.  Then the document is current.  That takes no
 * execution, and waits for no lock.  For another who finds it out it waits, but not for
 * long, and for who builds not at all.  If DDL has come meanwhile, it tries once more.
 * True if the reader is to decide again.  What went wrong is the worker's to report.
 */
static bool
prove_anew(Reader *reader)
{
	ScLocal    *local = reader->local;
	ScBuild		build = {0};
	ErrorData  *error;
	int			outer = LockTimeout;

	if (reader->proof_tried || reader->needs_worker || sc_build_is_running() ||
		sc_subtransaction_is_ending() || sc_store_lacks_room(local->index) ||
		sc_local_failed_proof(local) || !may_refresh(reader))
		return false;
	if (reader->flight == FLIGHT_NONE)
	{
		if (flight_lock(&local->key, FLIGHT_BACKGROUND, false))
		{
			reader->flight = FLIGHT_BACKGROUND;
			reader->proving = sc_request_begin_proof(local->index);
		}
		else
			reader->proof_tried = !await_proof(reader);
		return !reader->proof_tried;
	}
	LockTimeout = 1;
	PG_TRY();
	{
		error = try_build(local, SC_WANT_PROOF, SC_BUILD_BACKGROUND, &build);
	}
	PG_FINALLY();
	{
		LockTimeout = outer;
	}
	PG_END_TRY();
	land(reader);
	free_build(&build);
	if (error && is_cancel(error) && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		throw_build_error(reader->summary, build.hides_errors, error);
	if (error || !build.published)
		sc_local_note_failed_proof(local);
	reader->proof_tried = error || !build.published || ++reader->nproofs == MAX_PROOFS;
	return true;
}

typedef struct PrivateInlineArguments
{
	ScLocal    *local;
	ScBuild    *build;
	bool		is_built;
} PrivateInlineArguments;

static void
build_inline_privately(void *arg)
{
	PrivateInlineArguments *arguments = arg;

	arguments->is_built = sc_build_private_inline(arguments->local, arguments->build);
}

/*
 * Who could not have inline sections rebuilt for all, since it may not publish
 * or the worker is busy, rebuilds them for itself.  False if that cannot be done
 * either: the document is answered as it is.
 */
static bool
renew_privately(Reader *reader, ScBuild *build)
{
	PrivateInlineArguments arguments = {reader->local, build, false};
	ErrorData  *error;

	if (reader->inline_settled || sc_subtransaction_is_ending())
		return false;
	land(reader);
	reader->inline_tried = true;
	sc_document_timed_out = false;
	error = sc_subtransaction_run(build_inline_privately, &arguments, false);
	if (error && is_cancel(error) && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		throw_build_error(reader->summary, build->hides_errors, error);
	if (error)
		reader->inline_settled = true;
	return error == NULL && arguments.is_built;
}

/* A stale answer with inline sections of the reader's own; false if the version is gone. */
static bool
compose_answer(Reader *reader, ScBuild *build, ScAnswer *answer)
{
	answer->etag = palloc(sizeof(ScEtag));
	answer->document = NULL;
	answer->status = SC_STALE;
	if (reader->asked->forms)
		answer->stale_since = stale_since(reader->local, build);
	if (!sc_local_compose(reader->local, build->chunks, build->nchunks, answer->etag, &answer->built_at, NULL))
		return false;
	return !wants_document(reader->asked, answer->etag) ||
		sc_local_compose(reader->local, build->chunks, build->nchunks, answer->etag, &answer->built_at,
						 &answer->document);
}

/*
 * A read by all the rules; sc_cache_read() has the short way for the usual one.
 */
static void
read_by_rules(ScLocal *local, const ScAsked *asked, ScAnswer *answer)
{
	Reader		reader = {0};

	reader.local = local;
	reader.summary = NameStr(local->key.summary);
	reader.values = local->values;
	reader.asked = asked;
	reader.asked_at = sc_clock_now();
	reader.snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();

	for (bool first = true;; first = false)
	{
		Decision	decision = {0};
		ScCause		cause = asked->force ? SC_BUILD_FORCED : SC_BUILD_MISS;
		ScSummaryDef *definition;
		ScBuild		own = {0};
		bool		is_composed = false;
		bool		taken = false;

		answer->document = NULL;
		answer->form = NULL;
		CHECK_FOR_INTERRUPTS();
		sc_local_sync(local, false);
		/* of what is gone, an old snapshot may have a definition of its own */
		(void) sc_reader_check_local(local, reader.snapshot);
		if (local->index < 0 && sc_enabled && !sc_commit_wrote_anything())
		{
			/* no entry for what does not exist */
			definition = sc_definition_get(reader.summary);
			if (definition == NULL)
				sc_definition_unknown(reader.summary);
			sc_values_check(reader.summary, &definition->parameters, local->values);
			sc_local_sync(local, true);
		}
		if (local->index >= 0)
			sc_store_note_read(local->index);
		decide(local, &reader, &decision);
		if (first)
			reader.first_status = decision.status;

		if (decision.may_be_same && decision.status != SC_HIT && prove_anew(&reader))
			continue;
		end_proof(&reader);

		/*
		 * What belongs into a stale answer first, then the request: a worker
		 * that is there may publish the next version before this one is
		 * complete and copied.
		 */
		if (decision.status == SC_STALE && decision.renew_inline)
		{
			if (renew_inline(&reader))
				continue;
			if (renew_privately(&reader, &own))
			{
				is_composed = compose_answer(&reader, &own, answer);
				free_build(&own);
				if (!is_composed)
					continue;
			}
		}
		if (decision.status == SC_STALE && !is_composed && wants_document(asked, &local->etag))
		{
			taken = take_content(local, asked, answer);
			if (!taken)
				continue;
		}

		/*
		 * No worker can be had to refresh: one reader does it, if it need not
		 * wait for another.
		 */
		if (decision.status == SC_STALE &&
			!sc_request_refresh(local->index) &&
			reader.flight == FLIGHT_NONE && !reader.build_failed && !reader.needs_worker &&
			may_refresh(&reader) &&
			flight_lock(&local->key, FLIGHT_BACKGROUND, false))
		{
			reader.flight = FLIGHT_BACKGROUND;
			sc_request_take_over(local->index);
			decision.status = SC_MISS;
			decision.want = SC_WANT_NEEDED;
			cause = SC_BUILD_BACKGROUND;
		}

		if (decision.status == SC_STALE && is_composed)
		{
			land(&reader);
			count_answer(local, SC_STALE);
			return;
		}
		if (decision.status == SC_HIT || decision.status == SC_STALE)
		{
			/* a reader that has waited for a build was answered by a build */
			if (answer_reader(&reader, reader.waited && decision.status == SC_HIT &&
							  reader.first_status != SC_STALE ?
							  reader.first_status : decision.status, taken, answer))
				return;
			continue;
		}

		definition = decision.status != SC_PRIVATE ? sc_definition_get(reader.summary) : NULL;
		if (decision.status != SC_PRIVATE && definition == NULL)
		{
			sc_store_forget(reader.summary);
			sc_definition_unknown(reader.summary);
		}
		if (definition)
			sc_values_check(reader.summary, &definition->parameters, local->values);
		if (decision.status != SC_PRIVATE &&
			!sc_build_may_publish(definition, reader.whole ? SC_WANT_ALL : decision.want))
			(void) decide_private(&decision, SC_PRIVATE_MAY_NOT_PUBLISH);
		if (decision.status != SC_PRIVATE && reader.alone)
			(void) decide_private(&decision, SC_PRIVATE_NO_WORKER);
		if (decision.status == SC_PRIVATE)
		{
			answer_privately(&reader, decision.cause, answer);
			return;
		}
		if (reader.waited)
			raise_leaders_error(local, &reader, definition);
		if (reader.needs_worker || sc_build_needs_worker(definition, decision.want) ||
			(reader.waited &&
			 (sc_store_is_awaited(local->index) || sc_request_is_claimed(local->index))))
		{
			if (answer_from_worker(&reader, &decision, answer))
				return;
			continue;
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
read_unloaded(const char *summary, const ScAsked *asked, ScAnswer *answer)
{
	static bool warned = false;
	Reader		reader = {0};
	ScSummaryDef *newest;
	Snapshot	latest;

	if (!warned)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("summary_cache is not preloaded: the summary is computed at every read"),
				 errhint("Add summary_cache to shared_preload_libraries and restart the server.")));
	warned = true;
	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	/* who may read it is as of now, whatever the transaction's snapshot sees */
	latest = RegisterSnapshot(GetLatestSnapshot());
	newest = sc_definition_read(summary, latest, CurrentMemoryContext);
	UnregisterSnapshot(latest);
	if (newest)
	{
		sc_reader_check(newest);
		reader.values = sc_values_parse(summary, &newest->parameters, asked->parameters);
		MemoryContextDelete(newest->context);
	}
	reader.summary = summary;
	reader.asked = asked;
	answer_privately(&reader, SC_PRIVATE_NOT_PRELOADED, answer);
}

/*
 * This backend's first read of a summary.  Names that lead nowhere are not
 * remembered: NULL, with the answer if the transaction's snapshot has one.
 */
static ScLocal *
first_read(const char *summary, const ScAsked *asked, ScAnswer *answer)
{
	Reader		reader = {0};
	ScDocKey	key;

	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	key = sc_store_key(summary, NULL);
	if (sc_store_find(&key) >= 0 || sc_definition_get(summary) != NULL)
		return sc_local_get(summary, true);
	reader.summary = summary;
	reader.asked = asked;
	answer_privately(&reader, SC_PRIVATE_REPEATABLE_READ, answer);
	return NULL;
}

/* What this backend knows of the document for the values that are asked for. */
static ScLocal *
read_values(const char *summary, const ScAsked *asked)
{
	ScSummaryDef *definition;

	if (strlen(summary) >= NAMEDATALEN)
		sc_definition_unknown(summary);
	definition = sc_definition_get(summary);
	if (definition == NULL)
		sc_definition_unknown(summary);
	/* before it is told what is wrong with a value */
	sc_reader_check(definition);
	sc_build_check_recursion(summary);
	/* what is wrong is not that it has no parameters */
	for (int i = 0; definition->parameters.n == 0 && i < definition->nsections; i++)
		sc_owner_check_damage(&definition->sections[i]);
	return sc_local_get_document(summary, sc_values_parse(summary, &definition->parameters, asked->parameters),
								 !sc_build_is_running());
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
sc_cache_read(const char *summary, const ScAsked *asked, ScAnswer *answer)
{
	ScLocal    *local;

	if (unlikely(sc_shared == NULL))
	{
		read_unloaded(summary, asked, answer);
		return;
	}
	local = unlikely(asked->parameters != NULL) ? read_values(summary, asked) : sc_local_get(summary, false);
	if (unlikely(local == NULL))
	{
		local = first_read(summary, asked, answer);
		if (local == NULL)
			return;
	}

	/*
	 * The usual read: nothing was published since the last one, nothing of
	 * the document has changed, and nothing about this transaction is
	 * special.  No lock, no copy, no shared memory written but the counter,
	 * once this backend has its copy of the document.
	 */
	if (!asked->force && sc_enabled && local->version != 0 && local->consistent &&
		sc_reader_is_known(local) &&
		pg_atomic_read_u64(local->shared_version) == local->version &&
		!IsolationUsesXactSnapshot() && !sc_commit_sees_own() && ActiveSnapshotSet() &&
		(likely(words_unchanged(local)) ||
		 sc_label_prove(&local->label, GetActiveSnapshot()) == SC_CURRENT))
	{
		int64		now = sc_clock_coarse();
		int			limit = sc_local_stale_age(local);

		/* the coarse clock may be behind: 0 is not to be compared with it */
		if ((limit < 0 ||
			 (limit > 0 && now - local->executed_at <= (int64) limit * SC_NS_PER_S)) &&
			answer_from_cache(local, asked, SC_HIT, now, false, answer))
			return;
	}
	read_by_rules(local, asked, answer);
}

/*
 * Refresh what was asked for, from the worker, inside a transaction.  Raises the
 * query's error; SC_TRY_NONE: this worker may not build it.
 *
 * A worker that a reader waits for does not wait for one that is building:
 * publishing does not depend on it.
 */
ScTry
sc_cache_refresh(int index, ScRefresh what)
{
	Flight		flight = what == SC_REFRESH_INLINE ? FLIGHT_INLINE : FLIGHT_BACKGROUND;
	ScWant		want = what == SC_REFRESH_INLINE ? SC_WANT_INLINE :
	what & SC_REFRESH_ALL ? SC_WANT_ALL : SC_WANT_NEEDED;
	ScCause		cause = what == SC_REFRESH_INLINE ? SC_BUILD_INLINE :
	what & SC_REFRESH_ALL ? SC_BUILD_FORCED :
	what & SC_REFRESH_NEEDED ? SC_BUILD_MISS : SC_BUILD_BACKGROUND;
	ScLocal    *local;
	ScBuild		build = {0};
	ScDocKey	key;
	ScValues   *values;
	ScSummaryDef *definition;
	bool		leads;

	sc_store_name(index, &key, &values);
	definition = sc_definition_get(NameStr(key.summary));
	if (definition == NULL)
	{
		sc_store_forget(NameStr(key.summary));
		return SC_TRY_DONE;
	}

	/*
	 * a summary that has parameters has no document; nor have values of
	 * others
	 */
	if (!sc_values_fit(&definition->parameters, values))
	{
		sc_store_clear_own(&key);
		return SC_TRY_DONE;
	}
	leads = flight_lock(&key, flight, (what & SC_REFRESH_AWAITED) == 0);
	local = sc_local_get_document(NameStr(key.summary), values, true);
	sc_local_sync(local, true);
	if (local->index >= 0)
		sc_build_shared(local, local->nsections > 0 ? want : SC_WANT_ALL, cause, &build);
	if (leads)
		flight_unlock(&key, flight);
	sc_build_warn(NameStr(key.summary), &build);
	return build.needs_worker ? SC_TRY_NONE :
		build.published ? SC_TRY_DONE :
		build.put == SC_PUT_OUTDATED ? SC_TRY_GAVE_WAY : SC_TRY_UNPUBLISHED;
}

/*
 * Invalidate: "all" and a background section drop the document, an inline
 * section marks itself.  Of a summary with parameters that is the document of some
 * values or, without them, all that it has.  An unknown scope is an error that names the valid
 * ones.
 */
void
sc_cache_invalidate(const char *summary, const char *scope, ArrayType *parameters)
{
	ScSummaryDef *definition = sc_definition_get(summary);
	ScSectionDef *section;
	StringInfoData scopes;
	ScDocKey	key;

	if (definition == NULL)
		sc_definition_unknown(summary);
	sc_reader_check(definition);
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

	key = sc_store_key(summary, parameters ? sc_values_parse(summary, &definition->parameters, parameters) : NULL);
	if (section && section->is_inline &&
		(definition->parameters.n > 0 && key.values == 0 ? sc_store_invalidate_all(&key, scope) :
		 sc_store_invalidate_section(&key, scope)))
		return;
	sc_store_clear(&key);
	/* nor is it to come back from the file, should the server crash now */
	sc_save_forget();
	sc_request_wake_launcher();
}
