/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  Counters and views.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "clock.h"
#include "counters.h"
#include "definition.h"
#include "extension.h"
#include "hub.h"
#include "oid_set.h"
#include "reader.h"
#include "request.h"
#include "shmem.h"
#include "split.h"
#include "store.h"
#include "track.h"

PG_FUNCTION_INFO_V1(sc_stat_summaries);
PG_FUNCTION_INFO_V1(sc_stat_sections);
PG_FUNCTION_INFO_V1(sc_stat_parts);
PG_FUNCTION_INFO_V1(sc_stat_documents);
PG_FUNCTION_INFO_V1(sc_stat_tables);
PG_FUNCTION_INFO_V1(sc_stat_server);
PG_FUNCTION_INFO_V1(sc_reset_stats);

#define MS(ns) ((ns) / 1e6)

/* What the views have, as the install script declares their functions. */
#define SUMMARY_COLUMNS 42
#define DOCUMENT_COLUMNS 12
#define SECTION_COLUMNS 16
#define PART_COLUMNS	13
#define TABLE_COLUMNS	8
#define SERVER_COLUMNS	13

/*
 * The server run, and the revision of each word that the section was built at;
 * or, where these do not prove it, the position.
 */
static char *
fingerprint(ScChunk *chunk)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%08x", (uint32) (sc_shared->run ^ (sc_shared->run >> 32)));
	if (!XLogRecPtrIsInvalid(chunk->replayed))
	{
		appendStringInfo(&out, ":%X/%X", LSN_FORMAT_ARGS(chunk->replayed));
		return out.data;
	}
	for (uint32 i = 0; i < chunk->nwords; i++)
		appendStringInfo(&out, "%c%u.%llu", i == 0 ? ':' : ',', chunk->words[i].slot,
						 (unsigned long long) chunk->words[i].revision);
	return out.data;
}

static const char *
unprovable_reason(const ScStranger *stranger)
{
	char	   *name;

	if (OidIsValid(stranger->table))
	{
		name = get_rel_name(stranger->table);
		return psprintf("the query reads %s, which it did not when it was defined: call summary_cache_define() again",
						name ? name : "a table");
	}
	if (OidIsValid(stranger->function))
	{
		name = get_func_name(stranger->function);
		return psprintf("the query calls %s, which it did not when it was defined: call summary_cache_define() again",
						name ? psprintf("function %s", name) : "a function");
	}
	return "a source cannot be tracked: see summary_cache_tables";
}

/* The message of a summary's last failure, for those who may see it. */
static const char *
shown_failure(ScSummaryDef *definition, const ScFailure *failure)
{
	return sc_reader_sees_errors(definition) ? failure->message : "<insufficient privilege>";
}

/* The entry of a summary, or -1. */
static int
find_entry(ScSummaryDef *definition)
{
	ScDocKey	key = sc_store_key(NameStr(definition->name), NULL);

	return sc_store_find(&key);
}

/* Why a section is not in the document as it is defined now. */
static const char *
redefined_reason(ScSummaryDef *definition, int index)
{
	ScFailure	failure;
	ScDocKey	key = sc_store_key(NameStr(definition->name), NULL);

	sc_store_failure(index, &key, &failure);
	if (failure.failures > 0)
		return psprintf("the document is of the former definition, since the build of the new one failed: %s",
						shown_failure(definition, &failure));
	return "the document is of the former definition until the new one is built";
}

/* Copies of a summary's chunks without their bodies, for one row of a view. */
static void
copy_view(int index, ScSummaryDef *definition, ScView *copy)
{
	ScDocKey	key = sc_store_key(NameStr(definition->name), NULL);

	memset(copy, 0, sizeof(*copy));
	if (index < 0 || !sc_store_open(index, &key, copy))
		return;
	for (int i = 0; i < copy->nchunks; i++)
	{
		ScChunk    *chunk = copy->chunks[i];

		copy->chunks[i] = palloc(chunk->body_offset);
		memcpy(copy->chunks[i], chunk, chunk->body_offset);
	}
	sc_store_close(index);
}

static Datum
name_datum(const char *string)
{
	Name		name = palloc0(sizeof(NameData));

	namestrcpy(name, string);
	return NameGetDatum(name);
}

/*
 * Before a view's rows are put together: are its columns ours, and may the caller
 * read it?  The server asks for EXECUTE on a view's function beside SELECT on the
 * view.  So everybody may execute the function, and the right that counts is that
 * on the view.
 */
static ReturnSetInfo *
begin_rows(FunctionCallInfo fcinfo, const char *view, int natts)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			relid = get_relname_relid(view, sc_extension_schema(false));

	if (!OidIsValid(relid) || pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, view);
	InitMaterializedSRF(fcinfo, 0);
	(void) sc_extension_check_version(ERROR);
	sc_extension_check_columns(view, rsinfo->setDesc->natts, natts);
	return rsinfo;
}

/* What shows only the summaries that the current role may see. */
typedef struct Filter
{
	void		(*visit) (ScSummaryDef *definition, void *arg);
	void	   *arg;
} Filter;

static void
visit_seen(ScSummaryDef *definition, void *arg)
{
	Filter	   *filter = arg;

	if (sc_reader_may_see(definition, GetActiveSnapshot()))
		filter->visit(definition, filter->arg);
}

/* As sc_definition_visit(), for a view: what the current role may see. */
static void
visit_definitions(void (*visit) (ScSummaryDef *definition, void *arg), void *arg)
{
	Filter		filter = {visit, arg};

	if (sc_reader_sees_all())
		sc_definition_visit(GetActiveSnapshot(), visit, arg);
	else
		sc_definition_visit(GetActiveSnapshot(), visit_seen, &filter);
}

/* The row of a summary. */
static void
put_summary(ScSummaryDef *definition, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	int			index = find_entry(definition);
	Datum		values[SUMMARY_COLUMNS];
	bool		nulls[SUMMARY_COLUMNS] = {0};
	int			c = 0;

	values[c++] = name_datum(NameStr(definition->name));
	if (index < 0)
	{
		/* never read in this server run, or given up since */
		for (; c < SUMMARY_COLUMNS; c++)
		{
			/* the version before may have fewer columns */
			Oid			type = c < rsinfo->setDesc->natts ? TupleDescAttr(rsinfo->setDesc, c)->atttypid : InvalidOid;

			values[c] = (Datum) 0;
			nulls[c] = type != INT8OID && type != INT4OID && type != BOOLOID;
		}
	}
	else
	{
		ScDocKey	key = sc_store_key(NameStr(definition->name), NULL);
		ScView		view;
		ScBuildStats stats;
		ScFailure	failure;
		uint64		private_reads = 0;
		uint64		builds = 0;
		Size		documents_size;
		int64		bytes;
		StringInfoData prints;

		copy_view(index, definition, &view);
		sc_store_statistics(index, &stats);
		sc_store_failure(index, &key, &failure);
		bytes = view.nchunks > 0 ? 2 + view.nchunks - 1 : 0;

		for (int i = 0; i < SC_PRIVATE_CAUSES; i++)
			private_reads += sc_counters_get(index, SC_COUNT_PRIVATE + i);
		for (int i = 0; i < SC_BUILD_PRIVATE; i++)
			builds += stats.builds[i];
		initStringInfo(&prints);
		for (int i = 0; i < view.nchunks; i++)
		{
			bytes += sc_chunk_body_len(view.chunks[i]);
			appendStringInfo(&prints, "%s%s", i > 0 ? "|" : "", fingerprint(view.chunks[i]));
		}

		values[c++] = Int64GetDatum(sc_counters_get(index, SC_COUNT_HIT));
		values[c++] = Int64GetDatum(sc_counters_get(index, SC_COUNT_INLINE));
		values[c++] = Int64GetDatum(sc_counters_get(index, SC_COUNT_STALE));
		values[c++] = Int64GetDatum(sc_counters_get(index, SC_COUNT_MISS));
		values[c++] = Int64GetDatum(private_reads);
		for (int i = SC_PRIVATE_DISABLED; i < SC_PRIVATE_CAUSES; i++)
			values[c++] = Int64GetDatum(sc_counters_get(index, SC_COUNT_PRIVATE + i));
		values[c++] = Int64GetDatum(sc_counters_get(index, SC_COUNT_UNPROVABLE));
		for (int i = 0; i < SC_BUILD_PRIVATE; i++)
			values[c++] = Int64GetDatum(stats.builds[i]);
		values[c++] = Int64GetDatum(private_reads);
		values[c++] = Int64GetDatum(stats.wasted);
		values[c++] = Int64GetDatum(stats.failed);
		values[c++] = Int64GetDatum(stats.unpublished);
		for (int i = 0; builds == 0 && i < 3; i++)
			nulls[c + i] = true;
		values[c++] = Float8GetDatum(MS(stats.ns_min));
		values[c++] = Float8GetDatum(builds ? MS(stats.ns_total) / builds : 0);
		values[c++] = Float8GetDatum(MS(stats.ns_max));
		values[c++] = Float8GetDatum(MS(stats.ns_total));
		values[c++] = Int64GetDatum(sc_counters_get(index, SC_COUNT_WAITS));
		values[c++] = Float8GetDatum(MS(sc_counters_get(index, SC_COUNT_WAIT_NS)));
		values[c++] = Int64GetDatum(bytes);
		nulls[c] = view.nchunks == 0;
		values[c++] = CStringGetTextDatum(prints.data);
		values[c++] = BoolGetDatum(pg_atomic_read_u32(&sc_store_requests(index)->refresh) != 0);
		nulls[c] = nulls[c + 1] = failure.failures == 0;
		values[c++] = CStringGetTextDatum(shown_failure(definition, &failure));
		values[c++] = CStringGetTextDatum(unpack_sql_state(failure.code));
		nulls[c] = failure.at == 0;
		values[c++] = TimestampTzGetDatum(failure.at);
		values[c++] = Int32GetDatum(failure.failures);
		values[c++] = TimestampTzGetDatum(stats.reset_at);
		values[c++] = Int64GetDatum(stats.evicted);
		values[c++] = Int64GetDatum(stats.forms_made);
		values[c++] = Int64GetDatum(stats.forms_failed);
		values[c++] = Int64GetDatum(stats.forms_not_kept);
		values[c++] = Int64GetDatum(sc_store_forms_size(index, &key));
		values[c++] = Int32GetDatum(sc_store_documents(index, &documents_size));
		values[c++] = Int64GetDatum((int64) documents_size);
	}
	Assert(c == SUMMARY_COLUMNS);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* One row a defined summary. */
Datum
sc_stat_summaries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_stats", SUMMARY_COLUMNS);

	if (sc_shared)
		visit_definitions(put_summary, rsinfo);
	return (Datum) 0;
}

/* What is cached of a section: its chunks, which are parts of it, are beside each other. */
typedef struct Cached
{
	ScChunk   **chunks;
	int			nchunks;		/* 0: nothing */
	bool		invalidated;
} Cached;

static Cached
cached_section(const ScView *view, const ScSectionDef *section)
{
	Cached		cached = {NULL};

	for (int i = 0; i < view->nchunks; i++)
		if (strcmp(SC_CHUNK_SECTION(view->chunks[i]), NameStr(section->name)) == 0)
		{
			if (cached.nchunks++ == 0)
				cached.chunks = &view->chunks[i];
			cached.invalidated = view->invalidated[i];
		}
	return cached;
}

/* Is what is cached of a section, or of a part of it, current for a view's snapshot?  In a word. */
static const char *
chunk_state(ScChunk *chunk, bool invalidated, const ScSectionDef *section)
{
	ScLabel		label = sc_chunk_label(chunk);
	ScProof		proof;

	if (chunk->definition != section->hash)
		return invalidated ? "invalidated" : "redefined";
	if (!sc_label_is_loaded(&label) && sc_label_is_never_current(&label))
		return "unprovable";
	if (invalidated)
		return "invalidated";
	proof = sc_label_prove(&label, GetActiveSnapshot());
	return proof == SC_CURRENT ? "current" : proof == SC_PENDING_UNPROVEN ? "pending" : "stale";
}

/* The chunk that a section's state is that of: the first whose state is the worst. */
static ScChunk *
worst_chunk(const Cached *cached, const ScSectionDef *section, const char **state)
{
	static const char *const order[] = {"current", "pending", "stale", "unprovable"};
	ScChunk    *worst = cached->chunks[0];
	int			rank = -1;

	for (int i = 0; i < cached->nchunks; i++)
	{
		const char *mine = chunk_state(cached->chunks[i], cached->invalidated, section);
		int			my_rank = lengthof(order);

		for (int r = 0; r < lengthof(order); r++)
			if (strcmp(mine, order[r]) == 0)
				my_rank = r;
		if (my_rank > rank)
		{
			rank = my_rank;
			worst = cached->chunks[i];
			*state = mine;
		}
	}
	return worst;
}

/* The words that a section was built at, each once, and the greatest number that is pending of one. */
static uint64
add_revisions(const Cached *cached, uint64 *pending)
{
	List	   *slots = NIL;
	uint64		revision = 0;

	for (int i = 0; i < cached->nchunks; i++)
		for (uint32 w = 0; w < cached->chunks[i]->nwords; w++)
		{
			ScWordSeen *seen = &cached->chunks[i]->words[w];
			ScWordState word;

			if (list_member_int(slots, (int) seen->slot))
				continue;
			slots = lappend_int(slots, (int) seen->slot);
			sc_word_state(seen->slot, &word);
			revision += seen->revision;
			*pending = Max(*pending, word.pending);
		}
	return revision;
}

/* The fingerprints of a section's parts. */
static char *
cached_fingerprint(const Cached *cached)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < cached->nchunks; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? "/" : "", fingerprint(cached->chunks[i]));
	return out.data;
}

/* How many parts a section was built in; what it consists of, if it is not cached. */
static int
count_parts(const Cached *cached, ScSummaryDef *definition, const ScSectionDef *section)
{
	if (cached->nchunks > 0 && cached->chunks[0]->definition == section->hash)
		return cached->nchunks;
	sc_split_sections(definition);
	return sc_section_nparts(section);
}

/*
 * A row for each section of a summary.  The revision is the sum of its words': it
 * moves with every change that concerns the section.
 */
static void
put_sections(ScSummaryDef *definition, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	int			index = sc_shared ? find_entry(definition) : -1;
	ScView		view;

	copy_view(index, definition, &view);
	for (int s = 0; s < definition->nsections; s++)
	{
		ScSectionDef *section = &definition->sections[s];
		Cached		cached = cached_section(&view, section);
		const char *state = "empty";
		const char *reason = NULL;
		Datum	   *sources = palloc(sizeof(Datum) * Max(section->nsources, 1));
		Datum		values[SECTION_COLUMNS];
		bool		nulls[SECTION_COLUMNS] = {0};
		int			c = 0;

		if (cached.nchunks > 0)
		{
			ScChunk    *chunk = worst_chunk(&cached, section, &state);

			if (chunk->definition != section->hash)
				reason = redefined_reason(definition, index);
			else if (sc_chunk_is_loaded(chunk))
				reason = "it was loaded when the server started, and has not been built since";
			else if (strcmp(state, "unprovable") == 0)
				reason = unprovable_reason(&chunk->stranger);
		}
		else if (view.nchunks > 0)
			reason = redefined_reason(definition, index);

		if (section->damage)
		{
			state = "disabled";
			reason = psprintf("its row in table %s is damaged, so it is not built: %s; define it again, or drop it",
							  SC_OWN_TABLE(SC_DEFINITION_TABLE), section->damage);
		}

		/*
		 * by DROP ROLE, or by a REASSIGN OWNED to a superuser: see
		 * sc_define_give()
		 */
		else if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(section->owner)))
		{
			state = "disabled";
			reason = "it has no owner, so it is not built: drop it, or define it again after that";
		}
		for (int i = 0; i < section->nsources; i++)
			sources[i] = ObjectIdGetDatum(section->sources[i]);

		values[c++] = name_datum(NameStr(definition->name));
		values[c++] = name_datum(NameStr(section->name));
		values[c++] = CStringGetTextDatum(section->is_inline ? "inline" : "background");
		values[c++] = ObjectIdGetDatum(section->owner);
		values[c++] = CStringGetTextDatum(state);
		nulls[c] = reason == NULL;
		values[c++] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
		for (int i = c; i <= c + 6; i++)
			nulls[i] = cached.nchunks == 0;
		if (cached.nchunks > 0)
		{
			uint64		pending = 0;
			uint64		revision = add_revisions(&cached, &pending);
			Interval   *age = palloc0(sizeof(Interval));
			TimestampTz built_at = PG_INT64_MAX;
			int64		executed_at = PG_INT64_MAX;
			int64		build_ns = 0;
			int64		bytes = cached.nchunks - 1;
			bool		has_position = false;

			for (int i = 0; i < cached.nchunks; i++)
			{
				ScChunk    *chunk = cached.chunks[i];

				built_at = Min(built_at, chunk->built_at);
				executed_at = Min(executed_at, chunk->executed_at);
				build_ns += chunk->build_ns;
				bytes += sc_chunk_body_len(chunk);
				has_position = has_position || !XLogRecPtrIsInvalid(chunk->replayed);
			}
			age->time = (sc_clock_now() - executed_at) / 1000;
			values[c++] = TimestampTzGetDatum(built_at);
			values[c++] = IntervalPGetDatum(age);
			values[c++] = Float8GetDatum(MS(build_ns));
			values[c++] = Int64GetDatum(bytes);
			nulls[c] = has_position || sc_chunk_is_loaded(cached.chunks[0]);
			values[c++] = Int64GetDatum((int64) revision);
			values[c++] = Int32GetDatum((int32) pending);
			values[c++] = CStringGetTextDatum(cached_fingerprint(&cached));
		}
		else
			while (c < SECTION_COLUMNS - 3)
				values[c++] = (Datum) 0;
		values[c++] = PointerGetDatum(construct_array(sources, section->nsources, REGCLASSOID,
													  sizeof(Oid), true, TYPALIGN_INT));
		values[c++] = Int32GetDatum(count_parts(&cached, definition, section));
		nulls[c] = section->parameters.n == 0;
		values[c++] = CStringGetTextDatum(sc_values_describe(&section->parameters));
		Assert(c == SECTION_COLUMNS);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* One row a defined section. */
Datum
sc_stat_sections(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_sections", SECTION_COLUMNS);

	if (sc_shared && !RecoveryInProgress())
		sc_orphan_settle_finished();
	visit_definitions(put_sections, rsinfo);
	return (Datum) 0;
}

/* The query of a section, or of a part of it, for those who may see it. */
static Datum
query_datum(ScSummaryDef *definition, const ScSectionDef *section)
{
	return CStringGetTextDatum(sc_reader_sees_errors(definition) ? section->query : "<insufficient privilege>");
}

/* The tables whose words are in the label of a part: those of its sources that can be told apart. */
static Datum
read_sources(const ScSectionDef *section, const ScChunk *chunk)
{
	Datum	   *sources = palloc(sizeof(Datum) * Max(section->nsources, 1));
	int			n = 0;

	for (int i = 0; i < section->nsources; i++)
	{
		ListCell   *lc;
		bool		is_read = false;

		foreach(lc, sc_track_words(section->sources[i]))
		{
			uint64		key = SC_KEY_HERE(lfirst_oid(lc));
			int			slot = sc_slot_find(key, false);

			/* without a slot, it is the catch-all's, which is in all labels */
			is_read = is_read || slot == SC_SLOT_NONE;
			for (uint32 w = 0; !is_read && w < chunk->nwords; w++)
				is_read = (int) chunk->words[w].slot == slot || sc_member_is_of(&chunk->words[w], slot) ||
					(int) chunk->words[w].slot == sc_key_coarse(key);
		}
		if (is_read)
			sources[n++] = ObjectIdGetDatum(section->sources[i]);
	}
	return PointerGetDatum(construct_array(sources, n, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* A row for each part of each section of a summary. */
static void
put_parts(ScSummaryDef *definition, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	int			index = sc_shared ? find_entry(definition) : -1;
	ScView		view;

	copy_view(index, definition, &view);
	sc_split_sections(definition);
	for (int s = 0; s < definition->nsections; s++)
	{
		ScSectionDef *section = &definition->sections[s];
		Cached		cached = cached_section(&view, section);
		int			nparts = count_parts(&cached, definition, section);

		for (int p = 0; p < nparts; p++)
		{
			ScSectionDef *part = nparts == section->nparts ? &section->parts[p] : section;
			ScChunk    *chunk = p < cached.nchunks ? cached.chunks[p] : NULL;
			Datum	   *keys = palloc(sizeof(Datum) * Max(part->nkeys, 1));
			Datum		values[PART_COLUMNS] = {0};
			bool		nulls[PART_COLUMNS] = {0};
			int			c = 0;

			/* of another definition it says nothing of this part */
			if (chunk && chunk->definition != section->hash)
				chunk = NULL;
			for (int k = 0; k < part->nkeys; k++)
				keys[k] = CStringGetTextDatum(part->keys[k]);
			values[c++] = name_datum(NameStr(definition->name));
			values[c++] = name_datum(NameStr(section->name));
			values[c++] = Int32GetDatum(p + 1);
			values[c++] = PointerGetDatum(construct_array(keys, part->nkeys, TEXTOID, -1, false, TYPALIGN_INT));
			values[c++] = CStringGetTextDatum(chunk ? chunk_state(chunk, cached.invalidated, section) : "empty");
			for (int i = c; i < PART_COLUMNS - 1; i++)
				nulls[i] = chunk == NULL;
			if (chunk)
			{
				Cached		mine = {&chunk, 1};
				Interval   *age = palloc0(sizeof(Interval));
				uint64		pending = 0;

				age->time = (sc_clock_now() - chunk->executed_at) / 1000;
				values[c++] = TimestampTzGetDatum(chunk->built_at);
				values[c++] = IntervalPGetDatum(age);
				values[c++] = Float8GetDatum(MS(chunk->build_ns));
				values[c++] = Int64GetDatum((int64) sc_chunk_body_len(chunk));
				nulls[c] = !XLogRecPtrIsInvalid(chunk->replayed) || sc_chunk_is_loaded(chunk);
				values[c++] = Int64GetDatum((int64) add_revisions(&mine, &pending));
				values[c++] = CStringGetTextDatum(fingerprint(chunk));
				nulls[c] = sc_chunk_is_loaded(chunk);
				values[c++] = read_sources(section, chunk);
			}
			values[PART_COLUMNS - 1] = query_datum(definition, part);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
}

/* One row a part of a defined section. */
Datum
sc_stat_parts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_parts", PART_COLUMNS);

	if (sc_shared && !RecoveryInProgress())
		sc_orphan_settle_finished();
	visit_definitions(put_parts, rsinfo);
	return (Datum) 0;
}

/* What is cached for some values of a summary's parameters. */
static void
put_document(ScSummaryDef *definition, int index, ReturnSetInfo *rsinfo)
{
	static const char *const order[] = {"current", "pending", "stale", "unprovable", "invalidated", "redefined"};
	ScDocKey	key;
	ScValues   *parameters;
	ScFailure	failure;
	ScView		view;
	int64		bytes = 0;
	int64		build_ns = 0;
	int64		executed_at = PG_INT64_MAX;
	TimestampTz built_at = PG_INT64_MAX;
	TimestampTz read_at = sc_store_read_at(index);
	int			rank = -1;
	Interval   *age = palloc0(sizeof(Interval));
	Datum		values[DOCUMENT_COLUMNS];
	bool		nulls[DOCUMENT_COLUMNS] = {0};
	int			c = 0;

	sc_store_name(index, &key, &parameters);
	/* it may be another summary's by now, or given away */
	if (parameters == NULL || namestrcmp(&key.summary, NameStr(definition->name)) != 0 ||
		!sc_values_fit(&definition->parameters, parameters) || !sc_store_open(index, &key, &view))
		return;
	for (int i = 0; i < view.nchunks; i++)
	{
		ScChunk    *chunk = view.chunks[i];
		ScSectionDef *section = sc_definition_section(definition, SC_CHUNK_SECTION(chunk));
		const char *state = section ? chunk_state(chunk, view.invalidated[i], section) : "redefined";

		for (int r = rank + 1; r < lengthof(order); r++)
			if (strcmp(state, order[r]) == 0)
				rank = r;
		bytes += sc_chunk_body_len(chunk) + 1;
		build_ns += chunk->build_ns;
		built_at = Min(built_at, chunk->built_at);
		executed_at = Min(executed_at, chunk->executed_at);
	}
	sc_store_close(index);
	sc_store_failure(index, &key, &failure);

	values[c++] = name_datum(NameStr(definition->name));
	values[c++] = sc_values_to_array(parameters);
	values[c++] = CStringGetTextDatum(rank < 0 ? "empty" : order[rank]);
	nulls[c] = nulls[c + 1] = nulls[c + 2] = nulls[c + 3] = view.nchunks == 0;
	values[c++] = TimestampTzGetDatum(built_at);
	age->time = (sc_clock_now() - executed_at) / 1000;
	values[c++] = IntervalPGetDatum(age);
	values[c++] = Float8GetDatum(MS(build_ns));
	values[c++] = Int64GetDatum(bytes + 1);
	values[c++] = Int64GetDatum((int64) sc_store_reads(index));
	nulls[c] = read_at == 0;
	values[c++] = TimestampTzGetDatum(read_at);
	values[c++] = BoolGetDatum(pg_atomic_read_u32(&sc_store_requests(index)->refresh) != 0);
	nulls[c] = failure.failures == 0;
	values[c++] = CStringGetTextDatum(shown_failure(definition, &failure));
	values[c++] = Int32GetDatum((int32) failure.failures);
	Assert(c == DOCUMENT_COLUMNS);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Those of a summary. */
static void
put_documents(ScSummaryDef *definition, void *arg)
{
	int			summary = definition->parameters.n > 0 ? find_entry(definition) : -1;
	MemoryContext row;
	MemoryContext old;

	if (summary < 0 || sc_store_documents(summary, NULL) == 0)
		return;
	row = AllocSetContextCreate(CurrentMemoryContext, "summary_cache row", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(row);
	for (int i = -1; (i = sc_store_next_here(i)) >= 0;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!sc_store_is_document(i) || sc_store_counted(i) != summary)
			continue;
		put_document(definition, i, arg);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
}

/* One row a cached document of a summary with parameters. */
Datum
sc_stat_documents(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_documents", DOCUMENT_COLUMNS);

	if (sc_shared && !RecoveryInProgress())
		sc_orphan_settle_finished();
	if (sc_shared)
		visit_definitions(put_documents, rsinfo);
	return (Datum) 0;
}

/*
 * What sections over a source may prove.  All sources in a tree have the same
 * label and are provable together, so it is found out once for each tree: there
 * may be thousands of partitions.
 */
typedef struct TreeState
{
	Oid			root;			/* hash key */
	bool		has_slot;
	ScWordState word;			/* of all words that the label has, as for a
								 * section */
	bool		provable;
	const char *reason;
} TreeState;

/* A source, and the sections that read it. */
typedef struct SourceRow
{
	Oid			relid;			/* hash key */
	List	   *sections;		/* names of those that are shown, as text */
	List	   *keyed;			/* of those with parameters, how they are
								 * keyed by it, as text */
} SourceRow;

/* What view summary_cache_tables is made from. */
typedef struct TablesView
{
	ReturnSetInfo *rsinfo;
	bool		sees_all;		/* see reader.c */
	MemoryContext context;		/* for what lasts */
	MemoryContext row;			/* for what does not */
	HTAB	   *trees;			/* of TreeState */
	HTAB	   *by_relid;		/* of SourceRow */
	List	   *sources;		/* their Oids, as they come in the definitions */
} TablesView;

/* The state of the tree that a table is in; of one that is gone as well. */
static const TreeState *
tree_state(TablesView *view, Oid relid)
{
	Oid			root = sc_track_root(relid);
	bool		found;
	TreeState  *tree = hash_search(view->trees, &root, HASH_FIND, NULL);
	TreeState	state = {root};
	ListCell   *lc;

	if (tree)
		return tree;
	if (sc_shared && get_rel_name(relid))
		foreach(lc, sc_track_words(root))
	{
		int			slot = sc_slot_find(SC_KEY_HERE(lfirst_oid(lc)), false);
		ScWordState word;

		if (slot == SC_SLOT_NONE)
			continue;
		state.has_slot = true;
		sc_word_state(slot, &word);
		state.word.revision += word.revision;
		state.word.pending = Max(state.word.pending, word.pending);
		state.word.last_change = Max(state.word.last_change, word.last_change);
	}
	state.provable = sc_track_provable(relid, false, &state.reason);
	if (state.reason)
		state.reason = MemoryContextStrdup(view->context, state.reason);
	/* only what was found out without an error is kept */
	tree = hash_search(view->trees, &root, HASH_ENTER, &found);
	*tree = state;
	return tree;
}

static void
put_table(TablesView *view, Oid relid, List *sections, List *keyed, const char *not_attached)
{
	MemoryContext old = MemoryContextSwitchTo(view->row);
	Datum		values[TABLE_COLUMNS];
	bool		nulls[TABLE_COLUMNS] = {0};
	Datum	   *names = palloc(sizeof(Datum) * Max(list_length(sections), 1));
	ListCell   *lc;
	int			n = 0;
	const TreeState *tree = tree_state(view, relid);
	const char *reason = not_attached ? not_attached : tree->reason;
	bool		provable = not_attached == NULL && tree->provable;

	foreach(lc, sections)
	{
		names[n++] = PointerGetDatum(lfirst(lc));
	}
	if (provable && sc_shared == NULL)
	{
		provable = false;
		reason = "summary_cache is not preloaded";
	}
	else if (provable && !tree->has_slot && sc_shared && sc_slot_all_taken())
		reason = "all slots are in use, so any change of such a table concerns every section of the database: raise max_tables";

	values[0] = ObjectIdGetDatum(relid);
	values[1] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	nulls[2] = nulls[3] = nulls[4] = !tree->has_slot;
	if (tree->has_slot)
	{
		values[2] = Int64GetDatum((int64) tree->word.revision);
		values[3] = Int32GetDatum((int32) tree->word.pending);
		values[4] = TimestampTzGetDatum(tree->word.last_change);
		nulls[4] = tree->word.last_change == 0;
	}
	values[5] = BoolGetDatum(provable);
	nulls[6] = reason == NULL;
	values[6] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	n = 0;
	foreach(lc, keyed)
	{
		names[n++] = PointerGetDatum(lfirst(lc));
	}
	nulls[7] = keyed == NIL;
	values[7] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	tuplestore_putvalues(view->rsinfo->setResult, view->rsinfo->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(view->row);
}

/* How a section with parameters is keyed by one of its sources. */
static text *
keyed_text(const ScSectionDef *section, int source)
{
	StringInfoData out;
	bool		any = false;

	initStringInfo(&out);
	appendStringInfo(&out, "%s.%s: ", NameStr(section->summary), NameStr(section->name));
	for (int k = 0; k < section->nkeyed; k++)
		if (section->keyed[k].source == source)
		{
			appendStringInfo(&out, "%s%s = $%d", any ? ", " : "by ", section->keyed[k].column,
							 section->keyed[k].parameter + 1);
			any = true;
		}
	if (!any)
		appendStringInfo(&out, "not keyed: %s", source < section->nnot_keyed && section->not_keyed[source][0] ?
						 section->not_keyed[source] : "it was defined by another version");
	return cstring_to_text(out.data);
}

/* The sources of a summary, for sc_stat_tables(). */
static void
note_sources(ScSummaryDef *definition, void *arg)
{
	TablesView *view = arg;
	bool		shown = view->sees_all || sc_reader_may_see(definition, GetActiveSnapshot());
	MemoryContext old = MemoryContextSwitchTo(view->context);

	for (int s = 0; s < definition->nsections; s++)
	{
		ScSectionDef *section = &definition->sections[s];
		text	   *name = cstring_to_text(psprintf("%s.%s", NameStr(definition->name), NameStr(section->name)));

		for (int i = 0; i < section->nsources; i++)
		{
			bool		found;
			SourceRow  *row = hash_search(view->by_relid, &section->sources[i], HASH_ENTER, &found);

			if (!found)
			{
				row->sections = row->keyed = NIL;
				view->sources = lappend_oid(view->sources, row->relid);
			}
			if (shown)
			{
				row->sections = lappend(row->sections, name);
				if (section->parameters.n > 0)
					row->keyed = lappend(row->keyed, keyed_text(section, i));
			}
		}
	}
	MemoryContextSwitchTo(old);
}

/* One row a source table, and one for each hub table that is not attached. */
Datum
sc_stat_tables(PG_FUNCTION_ARGS)
{
	TablesView	view = {begin_rows(fcinfo, "summary_cache_tables", TABLE_COLUMNS)};
	ScCover    *covered = sc_track_cover();
	List	   *missing;
	List	   *reasons = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	if (sc_shared && !RecoveryInProgress())
		sc_orphan_settle_finished();

	view.sees_all = sc_reader_sees_all();
	view.context = CurrentMemoryContext;
	view.row = AllocSetContextCreate(view.context, "summary_cache row", ALLOCSET_DEFAULT_SIZES);
	view.trees = sc_oid_hash("summary_cache trees", sizeof(TreeState));
	view.by_relid = sc_oid_hash("summary_cache sources", sizeof(SourceRow));
	sc_definition_visit(GetActiveSnapshot(), note_sources, &view);

	foreach(lc, view.sources)
	{
		Oid			relid = lfirst_oid(lc);
		SourceRow  *row = hash_search(view.by_relid, &relid, HASH_FIND, NULL);

		sc_track_cover_add(covered, &relid, 1);
		if (row->sections)
			put_table(&view, relid, row->sections, row->keyed, NULL);
	}

	/* after a restore of the schema alone, say */
	foreach(lc, sc_track_tables(false))
	{
		if (!sc_track_is_covered(covered, lfirst_oid(lc)))
			put_table(&view, lfirst_oid(lc), NIL, NIL,
					  "no section reads it: its triggers go with the next summary_cache_drop()");
	}

	missing = sc_hub_missing(&reasons);
	forboth(lc, missing, lc2, reasons)
	{
		put_table(&view, lfirst_oid(lc), NIL, NIL, lfirst(lc2));
	}
	return (Datum) 0;
}

/* One row: what all databases share; none if the library is not preloaded. */
Datum
sc_stat_server(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_server", SERVER_COLUMNS);
	ScWaiting	waiting;
	ScEvictions evictions;
	Interval   *oldest;
	Datum		values[SERVER_COLUMNS];
	bool		nulls[SERVER_COLUMNS] = {0};
	int			c = 0;

	if (sc_shared == NULL)
		return (Datum) 0;
	sc_request_waiting(&waiting);
	sc_store_evictions(&evictions);
	oldest = palloc0(sizeof(Interval));
	oldest->time = waiting.oldest / 1000;
	nulls[c] = waiting.launcher_pid == 0;
	values[c++] = Int32GetDatum(waiting.launcher_pid);
	values[c++] = Int32GetDatum(waiting.workers);
	values[c++] = Int32GetDatum(waiting.building);
	values[c++] = Int64GetDatum(waiting.requests);
	nulls[c] = waiting.requests == 0;
	values[c++] = IntervalPGetDatum(oldest);
	for (int i = 0; i < SC_WORKER_COUNTS; i++)
		values[c++] = Int64GetDatum((int64) sc_request_get_count(i));
	values[c++] = Int64GetDatum(evictions.documents);
	values[c++] = Int64GetDatum(evictions.entries);
	values[c++] = Int64GetDatum((int64) sc_slot_refusals());
	Assert(c == SERVER_COLUMNS);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}

/* Set the counters of this database's summaries to zero. */
Datum
sc_reset_stats(PG_FUNCTION_ARGS)
{
	sc_extension_check_copy();
	for (int i = -1; sc_shared && (i = sc_store_next_here(i)) >= 0;)
		sc_store_reset_statistics(i);
	PG_RETURN_VOID();
}
