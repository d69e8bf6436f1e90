/*-------------------------------------------------------------------------
 *
 * document.c
 *	  Builds one section: its query's row as JSON.
 *
 * The only file that sees json-c (whose json_object clashes with a function of
 * PostgreSQL's builtins.h).
 *
 * PostgreSQL prints the values, json-c the object around them.  A value is
 * spliced in as the bytes that PostgreSQL printed: parsed by json-c and
 * printed again it could lose digits, duplicate keys, keys with \u0000 in them
 * and everything below 32 levels.
 *
 * json-c allocates with malloc: while one of its objects lives, nothing that
 * can raise an error is called outside PG_TRY.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <json-c/json_object.h>
#include <json-c/printbuf.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "clock.h"
#include "closed.h"
#include "constant.h"
#include "debug.h"
#include "document.h"
#include "inspect.h"
#include "keyed.h"
#include "meaning.h"
#include "owner.h"
#include "request.h"

bool		sc_document_timed_out = false;

/* How often a build that gives way looks whether it waits for a lock. */
#define LOOK_MS		2

/* Bytes of a string that are printed between two looks at interrupts. */
#define STRING_PIECE	65536

/* See sc_document_begin_giving_way(). */
static bool gives_way = false;
static bool is_patient = false;
static volatile sig_atomic_t gave_way = false;

/* Since when the build waits for an advisory lock, monotonic ns; 0: it does not. */
static int64 waiting_since = 0;
static int64 (*patience) (void);	/* how long to wait for an advisory lock */

/* Whose code this worker has run: of nobody, of one owner, or of several, whose
 * sections are in one summary.  And has the present build run any? */
static Oid	code_owner = InvalidOid;
static bool code_of_several = false;
static bool build_ran_code = false;

static void
build_timeout_handler(void)
{
	sc_document_timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/*-------------------------------------------------------------------------
 * Giving way
 *
 * The background worker must not keep anybody waiting for one source while it
 * waits for another itself: a session that has locked the other one and comes
 * to need the first would be in a deadlock, and it could be that session which
 * fails.  So the worker's builds end as soon as they would have to wait for a
 * lock, and are tried again later.
 *
 * lock_timeout would not do for that.  A function in a query may change it, and
 * may catch its error, so that the document would show what the function does
 * then.  Here the build ends as by a cancel, and is not published even if the
 * query catches that.
 *
 * Advisory locks are excepted: that a query takes one is its author's choice.  But
 * a reader that waits for this worker may hold it; so if one waits, the build ends
 * after a while.  If it waits in the queue for its turn, that is a deadlock, which
 * whoever comes to look for one ends for itself or for a third: so that is soon.  Our own locks, by which builders take
 * turns, are of that class too, but not of the two kinds that users' functions take.
 *-------------------------------------------------------------------------
 */

/* Interrupt handler: end the build if it waits for a lock. */
static void
look_for_wait(void)
{
	/*
	 * It may be granted, and its memory reused, just now: that costs a try.
	 * After a FATAL error this may come when the process is half gone.
	 */
	PGPROC	   *proc = MyProc;
	LOCK	   *lock = proc ? *(LOCK *volatile *) &proc->waitLock : NULL;
	bool		must_end = lock != NULL;

	if (lock && lock->tag.locktag_type == LOCKTAG_ADVISORY && lock->tag.locktag_field4 <= 2)
	{
		int64		now = sc_clock_now();
		int64		limit = patience();

		if (waiting_since == 0)
			waiting_since = now;
		must_end = limit >= 0 && now - waiting_since > limit;
	}
	else
		waiting_since = 0;
	if (must_end)
	{
		gave_way = true;
		InterruptPending = true;
		QueryCancelPending = true;
		SetLatch(MyLatch);
	}
}

static TimeoutId
look_timeout(void)
{
	static TimeoutId timeout = MAX_TIMEOUTS;

	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, look_for_wait);
	return timeout;
}

/* From here on, builds of this process give way. */
void
sc_document_begin_giving_way(int64 (*patience_ns) (void), bool patient)
{
	gives_way = true;
	is_patient = patient;
	patience = patience_ns;
	gave_way = false;
	waiting_since = 0;
	build_ran_code = false;
	enable_timeout_every(look_timeout(),
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_MS), LOOK_MS);
}

/* To here.  True if one did, and so has failed; no cancel is to follow. */
bool
sc_document_end_giving_way(void)
{
	disable_timeout(look_timeout(), false);
	gives_way = false;
	if (gave_way)
		QueryCancelPending = false;
	return gave_way;
}

/* A build would have to wait for a lock: if it gives way, it ends here. */
void
sc_document_give_way(void)
{
	if (!gives_way)
		return;
	gave_way = true;
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("a lock that the build needs is held by another session")));
}

/*
 * A build needs what another build has to make first.  It gives way to that, but
 * not for ever: the caller then raises an error.
 */
void
sc_document_give_way_to_build(void)
{
	if (is_patient)
		sc_document_give_way();
}

/*-------------------------------------------------------------------------
 * Whose code
 *
 * What has run code of one owner may have been left in a state by it that shows
 * in the results of another's: compiled functions, settings of extensions.  So a
 * worker that has run code of one owner runs none of another.  The sections of
 * one summary are not kept apart: who adds one to a summary of others must be
 * one of them.
 *-------------------------------------------------------------------------
 */

/* May this worker run code of this owner?  Then it has, from now on. */
static bool
enter_owner(Oid owner)
{
	if (code_owner == owner && !code_of_several)
	{
		build_ran_code = true;
		return true;
	}
	if (OidIsValid(code_owner) && !build_ran_code)
		return false;
	code_of_several = OidIsValid(code_owner);
	code_owner = owner;
	build_ran_code = true;
	return true;
}

/* Has this worker run the code of an owner, so that it may run that of no other? */
bool
sc_document_has_run_code(void)
{
	return OidIsValid(code_owner);
}

/*-------------------------------------------------------------------------
 * Members
 *
 * A document may be large, so its bytes are printed where they are to stay: into
 * one buffer, each value behind the one before.  What a value needs besides is
 * given back before the next one.
 *-------------------------------------------------------------------------
 */

/* json-c serializer: prints nothing, and notes where the value belongs. */
static int
note_place(struct json_object *object, struct printbuf *buffer, int level, int flags)
{
	int		   *place = json_object_get_userdata(object);

	*place = printbuf_length(buffer);
	return 0;
}

/*
 * Make a JSON object of these keys without its values, {"a":,"b":}, and note
 * the place of each value in it.  No PostgreSQL function that can raise an error
 * is called while the json-c object lives, but for the copy of the result, which
 * is guarded.
 */
static char *
make_frame(ScSectionDef *section, ScBody *body, int *places)
{
	struct json_object *object = SC_FAILS("json-object") ? NULL : json_object_new_object();
	const char *text = NULL;
	size_t		len = 0;
	bool		ok = object != NULL;
	char	   *frame = NULL;

	for (int i = 0; ok && i < body->nkeys; i++)
	{
		struct json_object *member = SC_FAILS("json") ? NULL : json_object_new_object();

		if (member == NULL)
			ok = false;
		else
		{
			places[i] = 0;
			json_object_set_serializer(member, note_place, &places[i], NULL);
			if (SC_FAILS("json-add") || json_object_object_add(object, body->keys[i], member) != 0)
			{
				json_object_put(member);
				ok = false;
			}
		}
	}
	if (ok && !SC_FAILS("json-text"))
		text = json_object_to_json_string_length(object,
												 JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
												 &len);

	PG_TRY();
	{
		/* json-c does not report every failed append */
		ok = text !=NULL && len > 1 && text[len - 1] == '}';

		for (int i = 0, start = 0; ok && i < body->nkeys; start = places[i++])
			ok = places[i] - start >= (int) strlen(body->keys[i]) + 4 && text[places[i] - 1] == ':';

		if (!ok)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed while making the JSON of section \"%s\" of summary \"%s\".",
							   NameStr(section->name), NameStr(section->summary))));
		frame = pstrdup(text);
	}
	PG_FINALLY();
	{
		json_object_put(object);
	}
	PG_END_TRY();
	return frame;
}

/* A section's members as they grow. */
typedef struct Members
{
	ScSectionDef *section;
	StringInfoData out;
	Size		start;			/* of the members in it */
} Members;

/* May they grow by so many bytes? */
static void
check_size(const Members *members, Size more)
{
	if (members->out.len - members->start + more >= MaxAllocSize / 2 - 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("section \"%s\" of summary \"%s\" is too large",
						NameStr(members->section->name), NameStr(members->section->summary)),
				 errhint("A section has less than 512 MB.")));
}

static void
append_bytes(Members *members, const char *bytes, Size len)
{
	check_size(members, len);
	appendBinaryStringInfo(&members->out, bytes, (int) len);
}

/*
 * A string, as to_json() prints it.  By pieces, which escape_json() would each
 * put in quotes: it is made to write those between two pieces over the last
 * character of the one and over the closing quote, and that character is put
 * back.  All that escape_json() looks at is single bytes below 128, which in an
 * encoding of a server are never part of a longer character.
 */
static void
append_string(Members *members, const char *bytes, Size len)
{
	StringInfo	out = &members->out;
	char	   *piece = palloc(Min(len, STRING_PIECE) + 1);
	Size		done = 0;

	check_size(members, len);
	enlargeStringInfo(out, (int) len + 2);
	do
	{
		Size		n = Min(len - done, STRING_PIECE);
		int			at = out->len - 2;
		char		last = '\0';

		CHECK_FOR_INTERRUPTS();
		check_size(members, n);
		memcpy(piece, bytes + done, n);
		piece[n] = '\0';
		if (done > 0)
		{
			last = out->data[at];
			out->len = at;
		}
		escape_json(out, piece);
		if (done > 0)
			out->data[at] = last;
		done += n;
	} while (done < len);
}

/*
 * A value as JSON text: json and jsonb as they are, anything else as to_json()
 * makes it, of which a string may be large, too.
 */
static void
append_value(Members *members, Datum value, bool isnull, Oid type)
{
	if (isnull)
	{
		append_bytes(members, "null", 4);
		return;
	}
	switch (getBaseType(type))
	{
		case JSONOID:
			{
				text	   *json = DatumGetTextPP(value);

				append_bytes(members, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
				break;
			}
		case JSONBOID:
			{
				Jsonb	   *jsonb = DatumGetJsonbP(value);

				(void) JsonbToCString(&members->out, &jsonb->root, VARSIZE(jsonb));
				check_size(members, 0);
				break;
			}
		case TEXTOID:
		case VARCHAROID:
			{
				text	   *string = DatumGetTextPP(value);

				append_string(members, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
				break;
			}
		default:
			{
				/* only its type is looked at */
				Node	   *argument = (Node *) makeNullConst(type, -1, InvalidOid);
				FmgrInfo	to_json;
				text	   *json;

				fmgr_info(F_TO_JSON, &to_json);
				fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID, list_make1(argument),
														 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
								   &to_json);
				json = DatumGetTextPP(FunctionCall1(&to_json, value));
				append_bytes(members, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
				break;
			}
	}
}

/* Print a row as the members of a JSON object, in the given context. */
static void
print_members(ScSectionDef *section, HeapTuple row, TupleDesc desc, Size room,
			  MemoryContext context, ScBody *body)
{
	int		   *places = palloc(sizeof(int) * Max(body->nkeys, 1));
	char	   *frame = make_frame(section, body, places);
	int			printed = 1;	/* of the frame: the brace is no part of the
								 * members */
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "summary_cache value",
												  ALLOCSET_DEFAULT_SIZES);
	Members		members = {section};
	MemoryContext old = MemoryContextSwitchTo(context);

	members.start = room;
	for (int i = 0; i < body->nkeys; i++)
		members.start += strlen(body->keys[i]) + 1;
	initStringInfo(&members.out);
	enlargeStringInfo(&members.out, (int) members.start);
	memset(members.out.data, 0, members.start);
	members.out.len = (int) members.start;

	MemoryContextSwitchTo(scratch);
	for (int i = 0; i < body->nkeys; i++)
	{
		bool		isnull;
		Datum		value = heap_getattr(row, i + 1, desc, &isnull);

		append_bytes(&members, frame + printed, places[i] - printed);
		printed = places[i];
		append_value(&members, value, isnull, TupleDescAttr(desc, i)->atttypid);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);

	body->bytes = members.out.data;
	body->start = members.start;
	body->len = members.out.len - members.start;
}

typedef struct BuildArguments
{
	ScSectionDef *section;
	const ScValues *values;		/* for its parameters */
	const bool *wanted;			/* of its parts */
	ScMayRun	may_run;
	Snapshot	snapshot;
	ScBody	   *bodies;
	bool		ran;			/* all of them */
} BuildArguments;

/*
 * Takes a query's first row, and ends it at the second.  (A number of rows that
 * is given to the executor would keep it from using parallel workers.)
 */
typedef struct RowReceiver
{
	DestReceiver pub;
	MemoryContext context;		/* of the row */
	HeapTuple	row;
	TupleDesc	desc;
	uint64		nrows;			/* 2 stands for more */
} RowReceiver;

static void
row_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);

	receiver->desc = CreateTupleDescCopy(desc);
	MemoryContextSwitchTo(old);
}

static bool
row_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext old;

	if (receiver->nrows++ > 0)
		return false;
	old = MemoryContextSwitchTo(receiver->context);
	receiver->row = ExecCopySlotHeapTuple(slot);
	MemoryContextSwitchTo(old);
	return true;
}

static void
row_nothing(DestReceiver *self)
{
}

static CachedPlanSource *
source_of(SPIPlanPtr plan)
{
	return linitial(SPI_plan_get_plan_sources(plan));
}

/* Does a plan stand that was made after the section was looked at? */
static bool
is_planned(SPIPlanPtr plan)
{
	CachedPlanSource *source = source_of(plan);

	return source->is_valid && source->gplan && source->gplan->is_valid;
}

/*
 * The tables that a section reads by the plan that is kept of it; NIL: any.  What
 * is closed reads no others.  They are locked, and what is above each of them is
 * looked for, which for many takes longer than to lock the trees that they are in.
 */
#define MAX_READS	100

bool
sc_document_knows_reads(ScSectionDef *section, List **reads)
{
	ScOidList	found = {0};
	CachedPlan *cached;
	ListCell   *lc;

	*reads = NIL;
	if (section->closed != SC_CLOSED || section->plan == NULL || !is_planned(section->plan))
		return false;
	/* it must be the one that was looked at */
	cached = source_of(section->plan)->gplan;
	if (cached->generation != section->plan_generation)
		return false;
	foreach(lc, linitial_node(PlannedStmt, cached->stmt_list)->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION && sc_oid_list_add(&found, rte->relid) &&
			list_length(found.list) > MAX_READS)
			return false;
	}
	*reads = found.list;
	return true;
}

List *
sc_document_reads(ScSectionDef *section)
{
	List	   *reads;

	(void) sc_document_knows_reads(section, &reads);
	return reads;
}

/*
 * Only of what is closed: anything else may read what is not seen.  The result is kept
 * beside the plan's query.
 */
List *
sc_document_keyed(ScSectionDef *section)
{
	CachedPlanSource *source;
	CachedPlan *cached;
	MemoryContext old;
	List	   *not_keyed;

	if (section->parameters.n == 0 || section->closed != SC_CLOSED || section->plan == NULL ||
		!is_planned(section->plan))
		return NIL;
	source = source_of(section->plan);
	cached = source->gplan;
	if (cached->generation != section->plan_generation)
		return NIL;
	if (section->keyed_generation != cached->generation)
	{
		section->keyed_generation = 0;
		old = MemoryContextSwitchTo(source->query_context);
		sc_keyed_find(source->query_list, &section->key_columns, &not_keyed);
		MemoryContextSwitchTo(old);
		section->keyed_generation = cached->generation;
	}
	return section->key_columns;
}

/* For nobody else, and in no process that builds for others: whatever it is. */
static bool
runs_anyhow(const BuildArguments *arguments)
{
	return arguments->may_run == SC_RUN_ALL && !sc_request_is_worker();
}

/*
 * May a section be run here, as it is now?  Its query, as it was analysed, or NULL
 * if it is known that the section is not closed.
 */
static bool
may_run(BuildArguments *arguments, ScSectionDef *section, SPIPlanPtr plan)
{
	if (runs_anyhow(arguments))
		return true;
	if (section->closed == SC_CLOSED_UNKNOWN)
		section->closed = sc_closed_is(source_of(plan)->query_list) ? SC_CLOSED : SC_OPEN;
	if (section->closed == SC_CLOSED)
		return true;
	switch (arguments->may_run)
	{
		case SC_RUN_CLOSED:
		case SC_RUN_NOTHING:
			return false;
		case SC_RUN_ONE_OWNERS:
			return enter_owner(section->owner);
		case SC_RUN_ALL:
			/* in a section that a worker builds, which is of the same owner */
			return section->owner == code_owner && !code_of_several;
	}
	return false;				/* keep compiler quiet */
}

/*
 * May what is prepared be run as a part, beside other parts that are not?  If it is
 * closed, and nobody can tell how often or when it is run: what is volatile may lock
 * something, say.  And it must return one row of its own: of columns that return sets,
 * the longest decides how many rows there are.
 */
static bool
stands_alone(ScSectionDef *part, SPIPlanPtr plan)
{
	Query	   *query = linitial_node(Query, source_of(plan)->query_list);

	if (part->closed == SC_CLOSED_UNKNOWN)
		part->closed = !query->hasTargetSRFs && !contain_volatile_functions((Node *) query) &&
			sc_closed_is(source_of(plan)->query_list) ? SC_CLOSED : SC_OPEN;
	return part->closed == SC_CLOSED;
}

/*
 * Does the query of a plan in doubt still mean what it meant when that was made?  To find
 * that out takes less than to plan it anew.  What has changed behind its names and makes
 * the plan wrong, the server notices.
 */
static bool
is_plan_same(ScSectionDef *section)
{
	ScMeaning	meaning;

	if (!is_planned(section->plan) || source_of(section->plan)->gplan->generation != section->meaning_generation ||
		sc_constant_runs_checks(section))
		return false;
	sc_meaning_find(section, sc_query_rewrite(section), false, &meaning);
	return sc_meaning_is_same(&meaning, &section->meaning);
}

/* May the plan that is kept be executed as it is? */
static bool
may_keep_plan(ScSectionDef *section)
{
	AcceptInvalidationMessages();
	if (section->in_doubt && !is_plan_same(section))
		return false;
	/* that may have taken locks, and more was noticed with these */
	return is_planned(section->plan);
}

/*
 * The plan of a section, or a part of it, kept or made now; NULL if that may not be run
 * here.  What would be planned anew is looked at before that.
 */
static SPIPlanPtr
plan_of(BuildArguments *arguments, ScSectionDef *section)
{
	bool		is_part = section != arguments->section;
	bool		reads_clock = false;
	SPIPlanPtr	plan = section->plan;

	if (plan && (is_part || !runs_anyhow(arguments) || section->in_doubt) && !may_keep_plan(section))
	{
		section->plan = NULL;
		(void) SPI_freeplan(plan);
		plan = NULL;
	}
	section->in_doubt = false;
	if (plan == NULL)
	{
		/* generations are the plan's own */
		section->closed = SC_CLOSED_UNKNOWN;
		section->plan_generation = section->meaning_generation = section->keyed_generation = 0;
		if ((is_part || !runs_anyhow(arguments)) && sc_constant_runs_checks(section))
		{
			section->closed = SC_OPEN;
			if (is_part)
				arguments->section->undivided = true;
			if (is_part || !may_run(arguments, section, NULL))
				return NULL;
		}
		plan = sc_query_prepare(section);
		reads_clock = (is_part || section->keep_plan) &&
			sc_inspect_reads_clock(section, source_of(plan)->query_list);
		if (section->keep_plan && !reads_clock)
		{
			SPI_keepplan(plan);
			section->plan = plan;
		}
	}
	sc_query_check_analyzed(section, plan);
	if (is_part && (reads_clock || !stands_alone(section, plan)))
	{
		arguments->section->undivided = true;
		return NULL;
	}
	return may_run(arguments, section, plan) ? plan : NULL;
}

/*
 * Does a query mean what it meant when it gave what is cached of it, which was closed,
 * and may its owner still read all that it names?  If not, it is executed, which says
 * what is wrong.
 */
static bool
is_same(ScSectionDef *section, const ScBody *body)
{
	ScMeaning	meaning;
	List	   *queries;

	if (!sc_meaning_is_known(&body->meaning) || sc_constant_runs_checks(section))
		return false;
	queries = sc_query_rewrite(section);
	sc_meaning_find(section, queries, false, &meaning);
	if (!sc_meaning_is_same(&meaning, &body->meaning) && !SC_WEAK(SC_PROTOCOL_NAMES_UNSEEN))
		return false;
	return sc_meaning_may_read(queries);
}

/*
 * Find out what a query means that is about to be run.  It is planned for that: what is
 * analysed anew from here on gets another plan, by whose generation that is known.
 */
static void
find_meaning(ScSectionDef *section, SPIPlanPtr plan)
{
	CachedPlan *cached;

	if (section->plan == NULL || section->closed != SC_CLOSED)
		return;

	/*
	 * known, unless it is planned anew: then it is not that of what was
	 * executed
	 */
	if (is_planned(plan) && source_of(plan)->gplan->generation == section->meaning_generation)
		return;
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		return;
	if (section->meaning_generation != cached->generation)
		sc_meaning_find(section, source_of(plan)->query_list, true, &section->meaning);
	section->meaning_generation = cached->generation;
	ReleaseCachedPlan(cached, CurrentResourceOwner);
}

/*
 * Run a plan of a section, or of a part of it, and make its JSON, in the given context.
 * False if what was run may not be run here, or not by itself.
 */
static bool
build_body(BuildArguments *arguments, ScSectionDef *section, SPIPlanPtr plan, MemoryContext context, ScBody *body)
{
	RowReceiver receiver = {
		.pub = {.receiveSlot = row_receive,.rStartup = row_startup,.rShutdown = row_nothing,
		.rDestroy = row_nothing,.mydest = DestTuplestore},
	};
	SPIExecuteOptions options = {.read_only = true,.dest = &receiver.pub};
	int			result;
	CachedPlan *cached;
	MemoryContext old;
	bool		ran;

	receiver.context = AllocSetContextCreate(CurrentMemoryContext, "summary_cache row", ALLOCSET_DEFAULT_SIZES);
	options.params = sc_values_bind(NameStr(section->summary), &section->parameters, arguments->values);
	find_meaning(section, plan);
	result = SPI_execute_plan_extended(plan, &options);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan the query");
	/* what the query reads or calls can only change with its plan */
	body->planned_anew = section->plan == NULL || section->plan_generation != cached->generation;
	if (body->planned_anew)
	{
		sc_inspect_find_stranger(section, plan, cached, &section->stranger);
		/* planned anew since it was looked at: what it ran is what it is now */
		if (section->plan_generation != 0 && section->closed == SC_CLOSED)
			section->closed = SC_CLOSED_UNKNOWN;
		section->plan_generation = cached->generation;
	}
	body->stranger = section->stranger;
	memset(&body->meaning, 0, sizeof(body->meaning));
	if (section->plan && section->closed == SC_CLOSED && section->meaning_generation == cached->generation)
		body->meaning = section->meaning;
	ReleaseCachedPlan(cached, section->plan ? CurrentResourceOwner : NULL);
	if (section != arguments->section && !stands_alone(section, plan))
	{
		arguments->section->undivided = true;
		ran = false;
	}
	else
		ran = may_run(arguments, section, plan);
	sc_query_check_columns(section, receiver.desc);
	sc_query_check_rows(section, receiver.nrows);

	old = MemoryContextSwitchTo(context);
	body->nkeys = receiver.desc->natts;
	body->keys = sc_query_column_names(receiver.desc);
	MemoryContextSwitchTo(old);
	print_members(section, receiver.row, receiver.desc, body->room, context, body);
	MemoryContextDelete(receiver.context);
	return ran;
}

/*
 * Run what is wanted of a section under the snapshot, in the current memory context.
 * Inside the build environment.  Its parts are all prepared before one of them is run:
 * if one does not stand alone, nothing was run for nothing.
 */
static void
build_bodies(void *arg)
{
	BuildArguments *arguments = arg;
	ScSectionDef *section = arguments->section;
	int			nparts = sc_section_nparts(section);
	int			nwanted = 0;
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr *plans;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(arguments->snapshot);

	plans = palloc0(sizeof(SPIPlanPtr) * nparts);
	arguments->ran = true;
	for (int p = 0; arguments->ran && p < nparts; p++)
		if (arguments->wanted[p])
		{
			ScBody	   *body = &arguments->bodies[p];

			body->is_same = is_same(sc_section_part(section, p), body);
			if (body->is_same)
				continue;
			if (arguments->may_run != SC_RUN_NOTHING)
				plans[p] = plan_of(arguments, sc_section_part(section, p));
			arguments->ran = plans[p] != NULL;
			nwanted++;
		}
	for (int p = 0; arguments->ran && p < nparts; p++)
	{
		ScSectionDef *part = sc_section_part(section, p);
		int64		start = sc_clock_now();

		if (!arguments->wanted[p] || arguments->bodies[p].is_same)
			continue;
		/* once more, right before it is run: others have taken their time */
		if (nwanted > 1 && part->plan)
			plans[p] = plan_of(arguments, part);
		arguments->ran = plans[p] && build_body(arguments, part, plans[p], context, &arguments->bodies[p]);
		arguments->bodies[p].build_ns = sc_clock_now() - start;
	}

	PopActiveSnapshot();
	SPI_finish();
}

static void
end_timed(TimeoutId timeout)
{
	disable_timeout(timeout, false);
	sc_request_supervise(0);
}

/*
 * Run a part of a build of which build_timeout is the longest time, like a
 * cancel, which the launcher follows up if the query heeds none; of a section,
 * or what comes before the sections.  A section that reads
 * another summary is timed as a whole.
 */
static void
run_timed(const char *summary, const char *section, void (*action) (void *arg), void *arg)
{
	static TimeoutId timeout = MAX_TIMEOUTS;
	volatile bool timed = false;
	MemoryContext caller_context = CurrentMemoryContext;

	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, build_timeout_handler);

	sc_document_timed_out = false;
	PG_TRY();
	{
		if (sc_build_timeout > 0 && !get_timeout_active(timeout))
		{
			enable_timeout_after(timeout, sc_build_timeout);
			sc_request_supervise(sc_build_timeout);
			timed = true;
		}
		action(arg);
		if (timed)
			end_timed(timeout);

		/* it may have struck after the last look at interrupts */
		if (timed && sc_document_timed_out)
			CHECK_FOR_INTERRUPTS();
	}
	PG_CATCH();
	{
		if (timed)
			end_timed(timeout);
		if (timed && sc_document_timed_out && geterrcode() == ERRCODE_QUERY_CANCELED)
		{
			MemoryContextSwitchTo(caller_context);
			FlushErrorState();
			if (section)
				ereport(ERROR,
						(errcode(ERRCODE_QUERY_CANCELED),
						 errmsg("building section \"%s\" of summary \"%s\" took longer than %d ms",
								section, summary, sc_build_timeout),
						 errhint("Make its query cheaper or raise summary_cache.build_timeout.")));
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("waiting for the sources of summary \"%s\" took longer than %d ms",
							summary, sc_build_timeout),
					 errhint("A transaction that has locked one of them exclusively is still open: see pg_locks.")));
		}

		/*
		 * it struck, but something else was wrong, too: no cancel is to
		 * follow
		 */
		if (timed && sc_document_timed_out)
			QueryCancelPending = false;
		sc_document_timed_out = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Is an error ours about the time that a build took? */
bool
sc_document_is_timeout(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED && SC_IS_RAISED_BY(error, "run_timed");
}

/* Run what a build does before its sections: it may wait for their sources. */
void
sc_document_run_timed(const char *summary, void (*action) (void *arg), void *arg)
{
	run_timed(summary, NULL, action, arg);
}

static void
build_section(void *arg)
{
	sc_owner_run(((BuildArguments *) arg)->section, build_bodies, arg);
}

/*
 * Build one section, or what is wanted of its parts, under the given snapshot.  The
 * result is in the current memory context, with so much room before it as is asked
 * for, and for the keys.  Errors are those of the query, or say what is wrong with it;
 * build_timeout ends it like a cancel.  False if it is not to be built in this process,
 * or not by its parts.
 */
bool
sc_document_build(ScSectionDef *section, const ScValues *values, const bool *wanted, ScMayRun may_run,
				  Snapshot snapshot, ScBody *bodies)
{
	BuildArguments arguments = {section, values, wanted, may_run, snapshot, bodies};
	ErrorContextCallback callback;

	callback.callback = sc_query_error_callback;
	callback.arg = section;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	run_timed(NameStr(section->summary), NameStr(section->name), build_section, &arguments);
	/* the query may have caught what was to end it */
	if (gave_way)
		sc_document_give_way();

	error_context_stack = callback.previous;
	return arguments.ran;
}
