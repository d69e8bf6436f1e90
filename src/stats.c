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
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "clock.h"
#include "counters.h"
#include "definition.h"
#include "extension.h"
#include "hub.h"
#include "shmem.h"
#include "store.h"
#include "track.h"

PG_FUNCTION_INFO_V1(sc_stat_summaries);
PG_FUNCTION_INFO_V1(sc_stat_sections);
PG_FUNCTION_INFO_V1(sc_stat_tables);
PG_FUNCTION_INFO_V1(sc_reset_stats);

#define MS(ns) ((ns) / 1e6)

/* What the views have, as the install script declares their functions. */
#define SUMMARY_COLUMNS 37
#define SECTION_COLUMNS 14
#define TABLE_COLUMNS	7

/*
 * The server run, and the revision of each word that the section was built at;
 * or, on a standby, the position.
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

/* Why a section is not in the document as it is defined now. */
static const char *
redefined_reason(int index)
{
	ScFailure	failure;

	sc_store_failure(index, &failure);
	if (failure.failures > 0)
		return psprintf("the document is of the former definition, since the build of the new one failed: %s",
						failure.message);
	return "the document is of the former definition until the new one is built";
}

/* Copies of a summary's chunks without their bodies, for one row of a view. */
static void
copy_view(int index, const char *name, ScView *copy)
{
	memset(copy, 0, sizeof(*copy));
	if (index < 0 || !sc_store_open(index, name, copy))
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

/* One row a defined summary. */
Datum
sc_stat_summaries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_stats", SUMMARY_COLUMNS);
	ListCell   *lc;
	ScEvictions evictions;

	if (sc_shared == NULL)
		return (Datum) 0;

	sc_store_evictions(&evictions);
	foreach(lc, sc_definition_all(GetActiveSnapshot()))
	{
		ScSummaryDef *definition = lfirst(lc);
		int			index = sc_store_find(NameStr(definition->name), false);
		Datum		values[SUMMARY_COLUMNS];
		bool		nulls[SUMMARY_COLUMNS] = {0};
		int			c = 0;

		values[c++] = name_datum(NameStr(definition->name));
		if (index < 0)
		{
			/* never read in this server run, or given up since */
			while (c < rsinfo->setDesc->natts)
			{
				Oid			type = TupleDescAttr(rsinfo->setDesc, c)->atttypid;

				values[c] = (Datum) 0;
				nulls[c] = type != INT8OID && type != INT4OID && type != BOOLOID;
				c++;
			}
			values[SUMMARY_COLUMNS - 2] = Int64GetDatum(evictions.documents);
			values[SUMMARY_COLUMNS - 1] = Int64GetDatum(evictions.entries);
		}
		else
		{
			ScView		view;
			ScBuildStats stats;
			ScFailure	failure;
			uint64		private_reads = 0;
			uint64		builds = 0;
			int64		bytes;
			StringInfoData prints;

			copy_view(index, NameStr(definition->name), &view);
			sc_store_statistics(index, &stats);
			sc_store_failure(index, &failure);
			bytes = view.nchunks > 0 ? 2 + view.nchunks - 1 : 0;

			for (int i = 0; i < SC_PRIVATE_CAUSES; i++)
				private_reads += sc_counters_get(index, SC_COUNT_PRIVATE + i);
			for (int i = 0; i < SC_BUILD_PRIVATE; i++)
				builds += stats.builds[i];
			initStringInfo(&prints);
			for (int i = 0; i < view.nchunks; i++)
			{
				bytes += view.chunks[i]->body_len;
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
			values[c++] = CStringGetTextDatum(failure.message);
			values[c++] = CStringGetTextDatum(unpack_sql_state(failure.code));
			nulls[c] = failure.at == 0;
			values[c++] = TimestampTzGetDatum(failure.at);
			values[c++] = Int32GetDatum(failure.failures);
			values[c++] = TimestampTzGetDatum(stats.reset_at);
			values[c++] = Int64GetDatum(stats.evicted);
			values[c++] = Int64GetDatum(evictions.documents);
			values[c++] = Int64GetDatum(evictions.entries);
		}
		Assert(c == SUMMARY_COLUMNS);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * One row a defined section.  The revision is the sum of its words': it moves
 * with every change that concerns the section.
 */
Datum
sc_stat_sections(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_sections", SECTION_COLUMNS);
	ListCell   *lc;

	if (sc_shared && !RecoveryInProgress())
		sc_orphan_settle_finished();

	foreach(lc, sc_definition_all(GetActiveSnapshot()))
	{
		ScSummaryDef *definition = lfirst(lc);
		int			index = sc_shared ? sc_store_find(NameStr(definition->name), false) : -1;
		ScView		view;

		copy_view(index, NameStr(definition->name), &view);
		for (int s = 0; s < definition->nsections; s++)
		{
			ScSectionDef *section = &definition->sections[s];
			ScChunk    *chunk = NULL;
			bool		invalid = false;
			const char *state = "empty";
			const char *reason = NULL;
			Datum	   *sources = palloc(sizeof(Datum) * Max(section->nsources, 1));
			Datum		values[SECTION_COLUMNS];
			bool		nulls[SECTION_COLUMNS] = {0};
			int			c = 0;

			for (int i = 0; i < view.nchunks; i++)
				if (strcmp(NameStr(view.chunks[i]->section), NameStr(section->name)) == 0)
				{
					chunk = view.chunks[i];
					invalid = view.invalidated[i];
				}
			if (chunk)
			{
				ScLabel		label = sc_chunk_label(chunk);
				ScProof		proof = sc_label_prove(&label, GetActiveSnapshot());

				state = invalid ? "invalidated" :
					chunk->definition != section->hash ? "redefined" :
					proof == SC_CURRENT ? "current" :
					proof == SC_PENDING_UNPROVEN ? "pending" : "stale";
				if (chunk->definition != section->hash)
					reason = redefined_reason(index);
				else if (sc_label_is_never_current(&label))
				{
					state = "unprovable";
					reason = unprovable_reason(&chunk->stranger);
				}
			}
			else if (view.nchunks > 0)
				reason = redefined_reason(index);
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
				nulls[i] = chunk == NULL;
			if (chunk)
			{
				uint64		revision = 0;
				uint64		pending = 0;
				Interval   *age = palloc0(sizeof(Interval));

				for (uint32 i = 0; i < chunk->nwords; i++)
				{
					ScWordState word;

					sc_word_state(chunk->words[i].slot, &word);
					revision += chunk->words[i].revision;
					pending = Max(pending, word.pending);
				}
				age->time = (sc_clock_now() - chunk->labelled_at) / 1000;
				values[c++] = TimestampTzGetDatum(chunk->built_at);
				values[c++] = IntervalPGetDatum(age);
				values[c++] = Float8GetDatum(MS(chunk->build_ns));
				values[c++] = Int64GetDatum((int64) chunk->body_len);
				nulls[c] = !XLogRecPtrIsInvalid(chunk->replayed);
				values[c++] = Int64GetDatum((int64) revision);
				values[c++] = Int32GetDatum((int32) pending);
				values[c++] = CStringGetTextDatum(fingerprint(chunk));
			}
			else
				while (c < SECTION_COLUMNS - 1)
					values[c++] = (Datum) 0;
			values[c++] = PointerGetDatum(construct_array(sources, section->nsources, REGCLASSOID,
														  sizeof(Oid), true, TYPALIGN_INT));
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/*
 * The state of a source: of all words that its label has, as for a section.
 * False if none of them has a slot.
 */
static bool
source_state(Oid relid, ScWordState *state)
{
	bool		has_slot = false;
	ListCell   *lc;

	foreach(lc, sc_track_words(relid))
	{
		int			slot = sc_slot_find(SC_KEY_HERE(lfirst_oid(lc)), false);
		ScWordState word;

		if (slot == SC_SLOT_NONE)
			continue;
		has_slot = true;
		sc_word_state(slot, &word);
		state->revision += word.revision;
		state->pending = Max(state->pending, word.pending);
		state->last_change = Max(state->last_change, word.last_change);
	}
	return has_slot;
}

static void
put_table(ReturnSetInfo *rsinfo, Oid relid, List *sections, const char *not_attached)
{
	Datum		values[TABLE_COLUMNS];
	bool		nulls[TABLE_COLUMNS] = {0};
	Datum	   *names = palloc(sizeof(Datum) * Max(list_length(sections), 1));
	ListCell   *lc;
	int			n = 0;
	ScWordState state = {0};
	bool		has_slot = false;
	const char *reason = not_attached;
	bool		provable = false;

	foreach(lc, sections)
	{
		names[n++] = CStringGetTextDatum(lfirst(lc));
	}
	if (sc_shared && get_rel_name(relid))
		has_slot = source_state(relid, &state);
	if (reason == NULL)
		provable = sc_track_provable(relid, false, &reason);
	if (provable && sc_shared == NULL)
	{
		provable = false;
		reason = "summary_cache is not preloaded";
	}
	else if (provable && !has_slot && sc_shared && sc_slot_all_taken())
		reason = "all slots are in use, so any change of such a table concerns every section of the database: raise max_tables";

	values[0] = ObjectIdGetDatum(relid);
	values[1] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	nulls[2] = nulls[3] = nulls[4] = !has_slot;
	if (has_slot)
	{
		values[2] = Int64GetDatum((int64) state.revision);
		values[3] = Int32GetDatum((int32) state.pending);
		values[4] = TimestampTzGetDatum(state.last_change);
		nulls[4] = state.last_change == 0;
	}
	values[5] = BoolGetDatum(provable);
	nulls[6] = reason == NULL;
	values[6] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* One row a source table, and one for each hub table that is not attached. */
Datum
sc_stat_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = begin_rows(fcinfo, "summary_cache_tables", TABLE_COLUMNS);
	List	   *all = sc_definition_all(GetActiveSnapshot());
	List	   *tables = NIL;
	List	   *reasons = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	if (sc_shared && !RecoveryInProgress())
		sc_orphan_settle_finished();

	foreach(lc, all)
	{
		ScSummaryDef *definition = lfirst(lc);

		for (int s = 0; s < definition->nsections; s++)
			for (int i = 0; i < definition->sections[s].nsources; i++)
				tables = list_append_unique_oid(tables, definition->sections[s].sources[i]);
	}
	foreach(lc, tables)
	{
		Oid			relid = lfirst_oid(lc);
		List	   *sections = NIL;

		foreach(lc2, all)
		{
			ScSummaryDef *definition = lfirst(lc2);

			for (int s = 0; s < definition->nsections; s++)
				for (int i = 0; i < definition->sections[s].nsources; i++)
					if (definition->sections[s].sources[i] == relid)
						sections = lappend(sections,
										   psprintf("%s.%s", NameStr(definition->name),
													NameStr(definition->sections[s].name)));
		}
		put_table(rsinfo, relid, sections, NULL);
	}

	/* after a restore of the schema alone, say */
	foreach(lc, sc_track_tables(false))
	{
		if (!sc_track_any_covers(tables, lfirst_oid(lc)))
			put_table(rsinfo, lfirst_oid(lc), NIL,
					  "no section reads it: its triggers go with the next summary_cache_drop()");
	}

	tables = sc_hub_missing(&reasons);
	forboth(lc, tables, lc2, reasons)
	{
		put_table(rsinfo, lfirst_oid(lc), NIL, lfirst(lc2));
	}
	return (Datum) 0;
}

/* Set the counters of this database's summaries to zero. */
Datum
sc_reset_stats(PG_FUNCTION_ARGS)
{
	for (int i = -1; sc_shared && (i = sc_store_next_here(i)) >= 0;)
		sc_store_reset_statistics(i);
	PG_RETURN_VOID();
}
