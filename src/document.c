/*-------------------------------------------------------------------------
 *
 * document.c
 *	  Builds one section: its query's row as JSON.
 *
 * The only file that sees json-c (whose json_object clashes with a function of
 * PostgreSQL's builtins.h).
 *
 * PostgreSQL makes the values, json-c puts the object together.  A value is
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
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "debug.h"
#include "document.h"
#include "inspect.h"
#include "owner.h"
#include "request.h"

bool		sc_document_timed_out = false;

/* How often a build that gives way looks whether it waits for a lock. */
#define LOOK_MS		2

/* See sc_document_begin_giving_way(). */
static bool gives_way = false;
static volatile sig_atomic_t gave_way = false;

static void
error_callback(void *arg)
{
	ScSectionDef *section = arg;

	errcontext("section \"%s\" of summary \"%s\"",
			   NameStr(section->name), NameStr(section->summary));
}

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
 * Advisory locks are excepted: that a query takes one is its author's choice.
 * Ours, by which builders take turns, are of that class too, but not of the two
 * kinds that users' functions take.
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

	if (lock && (lock->tag.locktag_type != LOCKTAG_ADVISORY || lock->tag.locktag_field4 > 2))
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
sc_document_begin_giving_way(void)
{
	gives_way = true;
	gave_way = false;
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

/*-------------------------------------------------------------------------
 * Values
 *-------------------------------------------------------------------------
 */

/*
 * A value as JSON text: json and jsonb as they are, anything else as to_json()
 * makes it.
 */
static char *
value_to_json(Datum value, bool isnull, Oid type)
{
	Oid			base = getBaseType(type);
	FmgrInfo	to_json;
	Oid			output;
	bool		is_varlena;

	if (isnull)
		return pstrdup("null");
	if (base != JSONOID && base != JSONBOID)
	{
		/* only its type is looked at */
		Node	   *argument = (Node *) makeNullConst(type, -1, InvalidOid);

		fmgr_info(F_TO_JSON, &to_json);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID, list_make1(argument),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
						   &to_json);
		value = FunctionCall1(&to_json, value);
		base = JSONOID;
	}
	getTypeOutputInfo(base, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

/* json-c serializer that prints the raw text hung on the object. */
static int
print_raw(struct json_object *object, struct printbuf *buffer, int level, int flags)
{
	const char *raw = json_object_get_userdata(object);

	return printbuf_memappend(buffer, raw, (int) strlen(raw));
}

/*
 * Make the members of a JSON object.  No PostgreSQL function that can raise an
 * error is called while the json-c object lives, but for the copy of the
 * result, which is guarded.
 */
static void
assemble_members(ScSectionDef *section, ScBody *body,
				 char **values, MemoryContext context)
{
	struct json_object *object = SC_FAILS("json-object") ? NULL : json_object_new_object();
	const char *text = NULL;
	size_t		len = 0;
	bool		ok = object != NULL;

	for (int i = 0; ok && i < body->nkeys; i++)
	{
		struct json_object *member = SC_FAILS("json") ? NULL : json_object_new_object();

		if (member == NULL)
			ok = false;
		else
		{
			json_object_set_serializer(member, print_raw, values[i], NULL);
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
		Size		expected = 2;

		for (int i = 0; i < body->nkeys; i++)
			expected += strlen(values[i]);

		/* json-c does not report every failed append */
		if (text == NULL || len < expected || text[len - 1] != '}')
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed while making the JSON of section \"%s\" of summary \"%s\".",
							   NameStr(section->name), NameStr(section->summary))));
		if (len >= MaxAllocSize / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("section \"%s\" of summary \"%s\" is too large",
							NameStr(section->name), NameStr(section->summary)),
					 errhint("A document has at most 512 MB.")));

		/* without the braces */
		body->len = len - 2;
		body->members = MemoryContextAlloc(context, body->len + 1);
		memcpy(body->members, text +1, body->len);
		body->members[body->len] = '\0';
	}
	PG_FINALLY();
	{
		json_object_put(object);
	}
	PG_END_TRY();
}

typedef struct BuildArguments
{
	ScSectionDef *section;
	Snapshot	snapshot;
	ScBody	   *body;
} BuildArguments;

/*
 * Run the query under the snapshot and make its JSON, in the current memory
 * context.  Inside the build environment.
 */
static void
build_body(void *arg)
{
	ScSectionDef *section = ((BuildArguments *) arg)->section;
	Snapshot	snapshot = ((BuildArguments *) arg)->snapshot;
	ScBody	   *body = ((BuildArguments *) arg)->body;
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan;
	TupleDesc	desc;
	char	  **values;
	int			result;
	CachedPlanSource *source;
	CachedPlan *cached;
	MemoryContext old;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(snapshot);

	plan = section->plan;
	if (plan == NULL)
	{
		plan = sc_query_prepare(section);
		source = linitial(SPI_plan_get_plan_sources(plan));
		if (section->keep_plan && !sc_inspect_reads_clock(section, source->query_list))
		{
			SPI_keepplan(plan);
			section->plan = plan;
		}
	}

	sc_query_check_analyzed(section, plan);

	/* at most two rows: enough to see that there is one too many */
	result = SPI_execute_plan(plan, NULL, NULL, true, 2);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan the query");
	/* what the query reads or calls can only change with its plan */
	if (section->plan == NULL || section->plan_generation != cached->generation)
	{
		sc_inspect_find_stranger(section, plan, cached, &section->stranger);
		section->plan_generation = cached->generation;
	}
	body->stranger = section->stranger;
	ReleaseCachedPlan(cached, section->plan ? CurrentResourceOwner : NULL);
	desc = SPI_tuptable->tupdesc;
	sc_query_check_columns(section, desc);
	if (SPI_processed == 0)
		sc_query_refuse(ERRCODE_NO_DATA_FOUND, section, "returned no row");
	if (SPI_processed > 1)
		sc_query_refuse(ERRCODE_CARDINALITY_VIOLATION, section, "returned more than one row");

	values = palloc(sizeof(char *) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], desc, i + 1, &isnull);

		values[i] = value_to_json(value, isnull, TupleDescAttr(desc, i)->atttypid);
	}
	old = MemoryContextSwitchTo(context);
	body->nkeys = desc->natts;
	body->keys = sc_query_column_names(desc);
	MemoryContextSwitchTo(old);
	assemble_members(section, body, values, context);

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

/* Run what a build does before its sections: it may wait for their sources. */
void
sc_document_run_timed(const char *summary, void (*action) (void *arg), void *arg)
{
	run_timed(summary, NULL, action, arg);
}

static void
build_section(void *arg)
{
	sc_owner_run(((BuildArguments *) arg)->section, build_body, arg);
}

/*
 * Build one section under the given snapshot.  The result is in the current
 * memory context.  Errors are those of the query, or say what is wrong with
 * it; build_timeout ends it like a cancel.
 */
void
sc_document_build(ScSectionDef *section, Snapshot snapshot, ScBody *body)
{
	BuildArguments arguments = {section, snapshot, body};
	ErrorContextCallback callback;

	callback.callback = error_callback;
	callback.arg = section;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	run_timed(NameStr(section->summary), NameStr(section->name), build_section, &arguments);
	/* the query may have caught what was to end it */
	if (gave_way)
		sc_document_give_way();

	error_context_stack = callback.previous;
}
