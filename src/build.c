/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Builds and publishes sections.
 *
 * In this order: read the time, then the words (the label), then take the
 * newest snapshot, then query with it.  What commits in between is not in the
 * label, so the document is at worst newer than its label says and is rebuilt
 * once more than needed.
 *
 * All locks of a build are its own.  They are taken in a scope that ends with it:
 * a transaction that happens to build keeps no more of it than one that finds the
 * document cached.  The sources are locked together or not at all: a build that
 * has to wait for one of them holds none of the others meanwhile.  So a session
 * that has locked one source and comes to need another does not meet a build that
 * waits for the first and holds the second.
 *
 * Of a tree of partitions only those are locked that the query reads, and what is
 * above them.  Which ones these are is known from the plan, if the session has kept
 * one: else the whole tree is locked.  If the query turns out to be executed by
 * another plan, the build is repeated with the whole tree.
 *
 * A section that consists of parts (split.c) is built by them: those that are not
 * current, in one snapshot.  Each has a label of its own, with the sources that its
 * plan reads.  The others must be current for that very snapshot, which is found out
 * after it was taken; else the section is built as a whole.  So what is published of
 * a section is always what its query gives at one snapshot, also if it is no longer
 * current.
 *
 * What readers share is built where nothing of any reader's session matters: a
 * reader builds what runs nothing but PostgreSQL's own code (closed.c), and
 * leaves everything else to a worker.  For itself alone it builds that as well,
 * if it and its session's role are members of the owner: else what was compiled or
 * set up in the session could run with the owner's rights, and what the owner's
 * code leaves behind would stay in the session.
 *
 * A section is published if no invalidation has happened since and nothing
 * newer is there.  The bytes are copied into shared memory before a lock is
 * taken; under the lock only pointers are swapped.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "build.h"
#include "clock.h"
#include "debug.h"
#include "document.h"
#include "keyed.h"
#include "reader.h"
#include "request.h"
#include "shmem.h"
#include "split.h"
#include "subtransaction.h"
#include "track.h"

/* The summaries that this backend is building, innermost first. */
typedef struct Building
{
	const char *summary;
	struct Building *outer;
} Building;

static Building *building = NULL;

/*
 * An error if this backend is building a summary.  A section that reads other documents
 * of its own summary would have these built, which read others, without end.
 */
void
sc_build_check_recursion(const char *summary)
{
	for (Building *b = building; b; b = b->outer)
		if (strcmp(b->summary, summary) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_RECURSION),
					 errmsg("summary \"%s\" reads itself", summary),
					 errhint("Remove the call of the reading function from its sections' queries.")));
}

/* From here on this backend builds a summary, which it must not be doing already. */
static void
begin_building(Building *mine, const char *summary)
{
	sc_build_check_recursion(summary);
	mine->summary = summary;
	mine->outer = building;
	building = mine;
}

/* Is this backend building a summary, so that a read is part of that? */
bool
sc_build_is_running(void)
{
	return building != NULL;
}

/* Which transaction has made the row of a catalog that stands for an object now; invalid if there is none. */
static TransactionId
row_made_by(int cache, Oid object, bool *is_frozen)
{
	HeapTuple	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object));
	TransactionId xid;

	if (!HeapTupleIsValid(tuple))
		return InvalidTransactionId;
	xid = HeapTupleHeaderGetRawXmin(tuple->t_data);
	*is_frozen = HeapTupleHeaderXminFrozen(tuple->t_data);
	ReleaseSysCache(tuple);
	return xid;
}

/*
 * Which database this is, beyond its oid: one that is made with the oid of another
 * is made by another transaction.  So is one that is altered, which costs no more
 * than the documents that were loaded from before.
 */
static TransactionId
database_made_by(void)
{
	bool		is_frozen;

	return row_made_by(DATABASEOID, MyDatabaseId, &is_frozen);
}

/*
 * Lay a built section out as it is published: the members stay where they were
 * printed, and the rest goes into the room before them.
 */
static ScChunk *
make_chunk(ScSectionDef *section, int nparts, bool for_all, ScBody *body, const ScLabel *label,
		   TimestampTz built_at, uint64 xmax)
{
	ScChunk    *chunk = (ScChunk *) body->bytes;
	char	   *p;

	chunk->size = body->start + body->len;
	chunk->part = section->part;
	chunk->nparts = nparts;
	chunk->next = InvalidDsaPointer;
	chunk->is_inline = section->is_inline;
	chunk->for_all = for_all;
	chunk->definition = section->hash;
	chunk->lineage = section->lineage;
	chunk->reading = section->reading;
	chunk->database = database_made_by();
	chunk->stranger = body->stranger;
	chunk->meaning = body->meaning;
	chunk->executed_at = chunk->labelled_at = label->read_at;
	chunk->replayed = label->replayed;
	chunk->built_at = built_at;
	chunk->build_ns = body->build_ns;
	chunk->xmax = xmax;
	chunk->nwords = label->nwords;
	chunk->nkeys = body->nkeys;
	chunk->section_len = (uint8) strlen(NameStr(section->name));
	chunk->body_offset = body->start;
	if (label->nwords > 0)
		memcpy(chunk->words, label->words, sizeof(ScWordSeen) * label->nwords);
	strcpy(SC_CHUNK_SECTION(chunk), NameStr(section->name));
	p = SC_CHUNK_KEYS(chunk);
	for (int i = 0; i < body->nkeys; i++)
	{
		strcpy(p, body->keys[i]);
		p += strlen(p) + 1;
	}
	Assert(p <= SC_CHUNK_BODY(chunk));
	sc_local_sha256(SC_CHUNK_BODY(chunk), body->len, chunk->hash);
	return chunk;
}

/*
 * The same of what is cached, and is as its query would make it now: only its label is
 * new, of which the words of its sources are those that it has.  Its age, what it was
 * built from and who had to be finished for that stay.
 */
static ScChunk *
relabel_chunk(ScChunk *chunk, bool for_all, const ScLabel *label)
{
	chunk->next = InvalidDsaPointer;
	chunk->for_all = for_all;
	chunk->database = database_made_by();
	chunk->labelled_at = label->read_at;
	chunk->replayed = label->replayed;
	memcpy(chunk->words, label->words, sizeof(ScWordSeen) * SC_CATCH_ALLS);
	return chunk;
}

/* The keys of a chunk; the strings are the chunk's own. */
static ScKeys
chunk_keys(ScChunk *chunk)
{
	ScKeys		keys = {SC_CHUNK_SECTION(chunk), (int) chunk->nkeys};
	char	   *key = SC_CHUNK_KEYS(chunk);

	keys.keys = palloc(sizeof(char *) * Max(keys.n, 1));
	for (int i = 0; i < keys.n; i++, key += strlen(key) + 1)
		keys.keys[i] = key;
	return keys;
}

/* Those that were built must not have a key twice, nor one of the others. */
static void
check_keys(const char *summary, ScChunk **others, int nothers, ScBuild *build)
{
	ScKeys	   *keys = palloc(sizeof(ScKeys) * Max(nothers + build->nchunks, 1));
	int			n = 0;

	for (int i = 0; i < nothers; i++)
		keys[n++] = chunk_keys(others[i]);
	for (int i = 0; i < build->nchunks; i++)
		if (build->chunks[i])
			keys[n++] = chunk_keys(build->chunks[i]);
	sc_definition_check_keys(summary, keys, n);
}

static bool
was_built(ScBuild *build, const char *section)
{
	for (int i = 0; i < build->nchunks; i++)
		if (build->chunks[i] && strcmp(SC_CHUNK_SECTION(build->chunks[i]), section) == 0)
			return true;
	return false;
}

/* Sections that were not built keep their keys: compare with those as well. */
static void
check_cached_keys(ScLocal *local, ScBuild *build)
{
	ScView		view;
	ScChunk   **others;
	int			nothers = 0;

	if (!sc_store_open(local->index, &local->key, &view))
		return;
	others = palloc(sizeof(ScChunk *) * Max(view.nchunks, 1));
	for (int i = 0; i < view.nchunks; i++)
		if (!was_built(build, SC_CHUNK_SECTION(view.chunks[i])))
		{
			/* without the body */
			others[nothers] = palloc(view.chunks[i]->body_offset);
			memcpy(others[nothers++], view.chunks[i], view.chunks[i]->body_offset);
		}
	sc_store_close(local->index);

	check_keys(NameStr(local->key.summary), others, nothers, build);
}

/* A part of a section, or a section that is one, which is to be built or is not. */
typedef struct Unit
{
	ScSectionDef *def;
	bool		wanted;
	bool		by_plan;		/* what is locked is what its plan reads */
	int64		expected;		/* not wanted, but another part of the section
								 * is: when the label of the one was read that
								 * is proven current */
	bool		may_be_same;	/* wanted, but cached, and nothing has changed
								 * but what names mean */
	ScChunk    *kept;			/* then a copy of what is cached */
	ScLabel		label;
	int		   *label_ends;		/* how many words the label has with each
								 * source */
	ScMemberSeen **members;		/* of each source, if it is in a tree of
								 * partitions: words of members of that, one
								 * of which the label may have instead */
	int		   *nmembers;
	ScWordSeen **keys;			/* of each source that was keyed when the
								 * section was defined: the words that the
								 * label has instead if it still is */
	int		   *nkeys;
	int			max_words;		/* that the label may have */
} Unit;

/* The sections that are to be built now, and a source that is locked. */
typedef struct Sections
{
	ScSummaryDef *definition;
	const ScValues *values;		/* for its parameters; NULL: it has none */
	int			nunits;
	Unit	   *units;			/* of one section after the other */
	int		   *first;			/* of each section, and how many there are in
								 * all */
	ScWant		want;
	bool		whole;			/* lock whole trees */
	Oid			locked;
} Sections;

/* Lay out the parts of all sections; none is wanted. */
static void
begin_sections(Sections *sections, ScSummaryDef *definition, const ScValues *values)
{
	int			n = 0;

	memset(sections, 0, sizeof(*sections));
	sc_split_sections(definition);
	sections->definition = definition;
	sections->values = values;
	sections->first = palloc(sizeof(int) * (definition->nsections + 1));
	for (int s = 0; s < definition->nsections; s++)
	{
		sections->first[s] = n;
		n += sc_section_nparts(&definition->sections[s]);
	}
	sections->first[definition->nsections] = n;
	sections->nunits = n;
	sections->units = palloc0(sizeof(Unit) * n);
	for (int s = 0; s < definition->nsections; s++)
		for (int u = sections->first[s]; u < sections->first[s + 1]; u++)
			sections->units[u].def = sc_section_part(&definition->sections[s], u - sections->first[s]);
}

static inline int
nparts_of(const Sections *sections, int s)
{
	return sections->first[s + 1] - sections->first[s];
}

static void
want_all(Sections *sections, int s)
{
	for (int u = sections->first[s]; u < sections->first[s + 1]; u++)
		sections->units[u].wanted = true;
}

/* Is any part of a section wanted? */
static bool
wants_any(const Sections *sections, int s)
{
	for (int u = sections->first[s]; u < sections->first[s + 1]; u++)
		if (sections->units[u].wanted)
			return true;
	return false;
}

static bool
lock_now(Oid relid, void *arg)
{
	((Sections *) arg)->locked = relid;
	return ConditionalLockRelationOid(relid, AccessShareLock);
}

/* Is a source known not to be read by a part, and so neither locked nor in its label? */
static inline bool
is_left_out(const Unit *unit, int source)
{
	return unit->by_plan && unit->def->unread && unit->def->unread[source];
}

/* Lock the sources of what is to be built; false if one is locked. */
static bool
lock_sources(Sections *sections)
{
	for (int u = 0; u < sections->nunits; u++)
	{
		Unit	   *unit = &sections->units[u];
		ScSectionDef *def = unit->def;
		List	   *plan_reads = NIL;

		unit->by_plan = false;
		if (!unit->wanted)
			continue;
		if (def->unread && !sections->whole)
			unit->by_plan = sc_document_knows_reads(def, &plan_reads);
		for (int i = 0; i < def->nsources; i++)
		{
			Oid			source = def->sources[i];
			List	   *reads;

			if (is_left_out(unit, i))
				continue;
			reads = sections->whole || sc_track_is_alone(source) ? NIL : sc_document_reads(def);
			unit->by_plan = unit->by_plan || reads != NIL;
			if (!sc_track_lock_tree(source, reads, lock_now, sections))
				return false;
		}
	}
	return true;
}

/*
 * Lock them, all or none, after waits that are each for one table with no other
 * locked.  What is locked belongs to a scope within the current one.
 */
static void
wait_for_sources(void *arg)
{
	Sections   *sections = arg;
	ResourceOwner outer = CurrentResourceOwner;
	ResourceOwner scope;

	for (;;)
	{
		scope = sc_subtransaction_begin_scope();
		LockRelationOid(sections->locked, AccessShareLock);
		if (lock_sources(sections))
			break;
		sc_subtransaction_end_scope(scope);
		CHECK_FOR_INTERRUPTS();
	}
	CurrentResourceOwner = outer;
}

/* Lock the sources of the wanted sections, as the head of this file says. */
static void
lock_wanted(Sections *sections)
{
	ResourceOwner outer = CurrentResourceOwner;
	ResourceOwner scope = sc_subtransaction_begin_scope();

	if (!lock_sources(sections))
	{
		sc_document_give_way();
		sc_subtransaction_end_scope(scope);
		sc_document_run_timed(NameStr(sections->definition->name), wait_for_sources, sections);
	}
	CurrentResourceOwner = outer;
}

/*
 * A source in a tree of partitions: read the words of its members, one of which may
 * turn out to be enough.  Known to be enough is that of the lowest member that all is
 * below which the plan reads.  Who writes a row of that marks its word as well as the
 * root's (track.c), and what is above it is locked and examined in any case.
 */
static void
read_members(Unit *unit, int source)
{
	ScSectionDef *def = unit->def;
	Oid			root;
	Oid			member;
	int			max;

	/* a standby knows one word for a file */
	if (RecoveryInProgress() || sc_track_is_alone(def->sources[source]))
		return;
	root = sc_track_root(def->sources[source]);
	if (get_rel_relkind(root) != RELKIND_PARTITIONED_TABLE)
		return;
	member = unit->by_plan ? sc_track_member(def->sources[source], sc_document_reads(def)) : InvalidOid;
	if (unit->by_plan && !OidIsValid(member))
		return;
	max = OidIsValid(member) ? 1 : SC_MAX_MEMBERS;
	if (OidIsValid(member))
		sc_member_want(SC_KEY_HERE(root), SC_KEY_HERE(member));
	unit->members[source] = palloc(sizeof(ScMemberSeen) * max);
	unit->nmembers[source] = sc_member_read(SC_KEY_HERE(root), OidIsValid(member) ? SC_KEY_HERE(member) : 0,
											unit->members[source], max);
}

/* Has every table that a plan reads a source?  If not, it was not left to us which changes matter. */
static bool
reads_sources_only(const ScSectionDef *def, List *reads)
{
	ScCover    *cover = sc_track_cover();
	ListCell   *lc;

	sc_track_cover_add(cover, def->sources, def->nsources);
	foreach(lc, reads)
	{
		/* a view is in a plan for the right to read it */
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_VIEW && !sc_track_is_covered(cover, lfirst_oid(lc)))
			return false;
	}
	return true;
}

/* The word of a value of a source's column, in a table of its tree; SC_SLOT_NONE: it is
 * NULL, which no row is equal to.  False if it cannot have one. */
static bool
find_key(const ScSectionDef *def, const ScSectionKey *key, const ScValues *values, Oid table, int *slot)
{
	Oid			type;
	bool		isnull;
	Datum		value = sc_values_get(values, key->parameter, &type, &isnull);
	Oid			source = def->sources[key->source];
	AttrNumber	attno = get_attnum(source, key->column);
	int32		typmod;
	Oid			column_type;
	Oid			collation;
	uint64		hash;

	*slot = SC_SLOT_NONE;
	if (attno == InvalidAttrNumber)
		return false;
	if (isnull)
		return true;
	get_atttypetypmodcoll(source, attno, &column_type, &typmod, &collation);
	if (!sc_keyed_hash(type, collation, value, &hash))
		return false;
	if (SC_WEAK(SC_PROTOCOL_KEYS_TEXT))
		hash = sc_debug_text_hash(type, value);
	*slot = sc_key_word(SC_KEY_HERE(table), key->column, hash);
	return true;
}

/*
 * A source that is keyed: read the words of the key, and the coarse ones, of all tables
 * whose words the source has.  Whether the query is so keyed still turns out when it has
 * been executed.
 */
static void
read_keys(Unit *unit, int source, const ScValues *values)
{
	ScSectionDef *def = unit->def;
	List	   *tables = NIL;
	ScLabel		label = {0};
	ListCell   *lc;
	int			nkeyed = 0;

	for (int k = 0; k < def->nkeyed; k++)
		if (def->keyed[k].source == source)
			nkeyed++;
	/* a standby knows of tables only */
	if (nkeyed == 0 || values == NULL || RecoveryInProgress())
		return;
	tables = sc_track_words(def->sources[source]);
	label.words = palloc(sizeof(ScWordSeen) * (nkeyed + 1) * Max(list_length(tables), 1));
	foreach(lc, tables)
	{
		sc_label_add_key(&label, sc_key_coarse(SC_KEY_HERE(lfirst_oid(lc))));
		for (int k = 0; k < def->nkeyed; k++)
		{
			int			slot;

			if (def->keyed[k].source != source)
				continue;
			if (!find_key(def, &def->keyed[k], values, lfirst_oid(lc), &slot))
				return;
			if (slot != SC_SLOT_NONE)
				sc_label_add_key(&label, slot);
		}
	}
	unit->keys[source] = label.words;
	unit->nkeys[source] = label.nwords;
	unit->max_words += label.nwords;
}

/* Is a source keyed, by the plan that was executed, in the ways of which the words were read? */
static bool
is_keyed(const ScSectionDef *def, int source, List *keyed, bool *lacks_trigger)
{
	List	   *columns = NIL;
	bool		any = false;
	const char *reason;
	ListCell   *lc;

	foreach(lc, keyed)
	{
		ScKeyed    *key = lfirst(lc);
		const char *column = key->relid == def->sources[source] ? get_attname(key->relid, key->attno, true) : NULL;
		bool		was_read = false;

		if (key->relid != def->sources[source])
			continue;
		any = true;
		for (int k = 0; k < def->nkeyed; k++)
			was_read = was_read || (column && def->keyed[k].source == source &&
									def->keyed[k].parameter == key->parameter - 1 &&
									strcmp(def->keyed[k].column, column) == 0);
		if (!was_read ||
			!sc_values_has_family(def->parameters.list[key->parameter - 1].type, key->opfamily))
			return false;
		columns = lappend(columns, unconstify(char *, column));
	}
	*lacks_trigger = any && !sc_track_has_keys(def->sources[source], columns, &reason);
	return any && !*lacks_trigger;
}

#ifdef SC_DEBUG
/* As it would be if labels were begun too late. */
static void
read_keys_again(Unit *unit, int source)
{
	ScLabel		label = {0};

	label.words = palloc(sizeof(ScWordSeen) * (unit->nkeys[source] + 1));
	for (int i = 0; i < unit->nkeys[source]; i++)
		sc_label_add_key(&label, (int) unit->keys[source][i].slot);
	unit->keys[source] = label.words;
}
#endif

/*
 * The words of keys take the place of their tables' in the label of what was built, by
 * the plan that was executed: no row that has none of the values matters to it.
 */
static void
choose_keys(Unit *unit, bool *lacks_keys)
{
	ScSectionDef *def = unit->def;
	ScLabel    *label = &unit->label;
	ScWordSeen *words;
	List	   *keyed;
	int			n = SC_CATCH_ALLS;
	int			begin = SC_CATCH_ALLS;
	bool		any = false;

	for (int i = 0; i < def->nsources; i++)
		any = any || unit->keys[i];
	keyed = any ? sc_document_keyed(def) : NIL;
	if (keyed == NIL || !reads_sources_only(def, sc_document_reads(def)))
		return;
	words = palloc(sizeof(ScWordSeen) * (unit->max_words + 1));
	memcpy(words, label->words, sizeof(ScWordSeen) * SC_CATCH_ALLS);
	for (int i = 0; i < def->nsources; i++)
	{
		int			end = unit->label_ends[i];
		bool		lacks_trigger = false;
		bool		by_key = unit->keys[i] && end > begin && is_keyed(def, i, keyed, &lacks_trigger);

		*lacks_keys = *lacks_keys || lacks_trigger;

#ifdef SC_DEBUG
		if (by_key && SC_WEAK(SC_PROTOCOL_KEYS_LATE))
			read_keys_again(unit, i);
#endif
		memcpy(words + n, by_key ? unit->keys[i] : label->words + begin,
			   sizeof(ScWordSeen) * (by_key ? unit->nkeys[i] : end - begin));
		n += by_key ? unit->nkeys[i] : end - begin;
		begin = end;
		unit->label_ends[i] = n;
	}
	/* what is behind them makes it never current */
	Assert(begin == label->nwords);
	label->words = words;
	label->nwords = n;
}

/* Does a section's query name a source?  Any other concerns the section since somebody wanted that. */
static bool
is_named(const ScSectionDef *def, Oid source)
{
	for (int i = 0; i < def->nreads; i++)
		if (def->reads[i] == source)
			return true;
	return false;
}

/*
 * The words of members take the place of their roots' in the label of what was built,
 * by the plan that was executed.  A member that has none yet gets one for the next time.
 */
static void
choose_members(Unit *unit)
{
	ScSectionDef *def = unit->def;
	List	   *reads = sc_document_reads(def);

	for (int i = 0; i < def->nsources; i++)
	{
		int			begin = i > 0 ? unit->label_ends[i - 1] : SC_CATCH_ALLS;
		Oid			root;
		Oid			member;

		if (unit->members[i] == NULL || unit->label_ends[i] != begin + 1 || !is_named(def, def->sources[i]))
			continue;
		root = sc_track_root(def->sources[i]);
		member = sc_track_member(def->sources[i], reads);
		if (!OidIsValid(member))
			continue;
		if (!reads_sources_only(def, reads))
			return;
		sc_member_want(SC_KEY_HERE(root), SC_KEY_HERE(member));
		for (int m = 0; m < unit->nmembers[i]; m++)
			if (unit->members[i][m].key == SC_KEY_HERE(member))
				unit->label.words[begin] = unit->members[i][m].word;
	}
}

/*
 * Add the words of the sources of what is to be built to the label that was begun for
 * all, which stays as it is.  Also notes whether a source has no slot.
 */
static void
label_unit(Unit *unit, const ScLabel *begun, const ScValues *values, bool *lacks_slots)
{
	ScLabel    *label = &unit->label;
	ScSectionDef *def = unit->def;

	*label = *begun;
	/* with room for the word of one that is never current */
	label->words = palloc(sizeof(ScWordSeen) * (begun->nwords + 1));
	memcpy(label->words, begun->words, sizeof(ScWordSeen) * begun->nwords);
	label->definition = def->hash;
	unit->label_ends = palloc(sizeof(int) * Max(def->nsources, 1));
	unit->members = palloc0(sizeof(ScMemberSeen *) * Max(def->nsources, 1));
	unit->nmembers = palloc0(sizeof(int) * Max(def->nsources, 1));
	unit->keys = palloc0(sizeof(ScWordSeen *) * Max(def->nsources, 1));
	unit->nkeys = palloc0(sizeof(int) * Max(def->nsources, 1));
	unit->max_words = 0;
	for (int i = 0; i < def->nsources; i++)
	{
		ScSlotRef  *refs;
		int			nrefs;

		unit->label_ends[i] = label->nwords;
		if (is_left_out(unit, i))
			continue;
		sc_track_slots(def->sources[i], &refs, &nrefs);
		label->words = repalloc_huge(label->words, sizeof(ScWordSeen) * (label->nwords + nrefs + 1));
		for (int r = 0; r < nrefs; r++)
			if (!sc_label_add(label, &refs[r]))
				*lacks_slots = true;
		unit->label_ends[i] = label->nwords;
		read_members(unit, i);
		read_keys(unit, i, values);
		if (sc_label_needs_files(label) && !sc_track_enter_files(def->sources[i], label))
			sc_label_add_position(label);
	}
	unit->max_words += label->nwords;
}

/* Does the label of a source stand for one of these tables?  Which ones it does is noted. */
static bool
covers_any(Oid source, const Oid *tables, int ntables, bool *covered)
{
	bool		any = false;

	for (int i = 0; i < ntables; i++)
		if (sc_track_covers(source, tables[i]))
		{
			any = true;
			if (covered)
				covered[i] = true;
		}
	return any;
}

/*
 * Find out which of the section's sources a part does not read, by the plan that was
 * executed.  What is closed reads nothing else.  But a source that the section was given
 * although no part of its query reads it counts for all parts, and so does each source
 * for a part that reads what has no source: it was not left to us which changes matter.
 */
static void
find_unread(ScSummaryDef *definition, ScSectionDef *part)
{
	List	   *reads;
	ListCell   *lc;
	int			nreads = 0;
	Oid		   *tables;
	bool	   *covered;
	bool	   *unread;

	if (part->unread)
		pfree(part->unread);
	part->unread = NULL;
	if (!sc_document_knows_reads(part, &reads))
		return;
	tables = palloc(sizeof(Oid) * Max(list_length(reads), 1));
	covered = palloc0(sizeof(bool) * Max(list_length(reads), 1));
	/* a view is in a plan for the right to read it */
	foreach(lc, reads)
	{
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_VIEW)
			tables[nreads++] = lfirst_oid(lc);
	}
	unread = MemoryContextAllocZero(definition->context, sizeof(bool) * Max(part->nsources, 1));
	for (int i = 0; i < part->nsources; i++)
	{
		CHECK_FOR_INTERRUPTS();
		unread[i] = !covers_any(part->sources[i], tables, nreads, covered) &&
			covers_any(part->sources[i], part->reads, part->nreads, NULL);
	}
	part->unread = unread;
	for (int i = 0; i < nreads; i++)
		if (!covered[i])
			memset(unread, false, sizeof(bool) * part->nsources);
}

/* Of the label of a part that was built, take out the words of sources that it does not read. */
static void
trim_label(Unit *unit)
{
	ScLabel    *label = &unit->label;
	int			n = SC_CATCH_ALLS;
	int			from = SC_CATCH_ALLS;

	for (int i = 0; i < unit->def->nsources; i++)
	{
		int			end = unit->label_ends[i];

		for (; from < end; from++)
			if (!unit->def->unread[i])
				label->words[n++] = label->words[from];
	}
	label->nwords = n;
}

/*
 * Can every change be noticed of what a section, or a part of it, has read that was just
 * built?  All its sources are looked at: a trigger that is missing is put there.
 */
static bool
is_provable(ScSectionDef *section)
{
	List	   *reads = NIL;
	bool		known = false;
	bool		provable = true;

	for (int i = 0; i < section->nsources; i++)
	{
		if (sc_track_is_alone(section->sources[i]) || (section->unread && section->unread[i]))
			continue;
		if (!known)
			reads = sc_document_reads(section);
		known = true;
		if (!sc_track_examine(section->sources[i], reads))
			provable = false;
	}
	return provable;
}

/* Is a cached part, or a section that is one, to be built anew? */
static bool
is_needed(ScLocal *local, ScLocalSection *mine, Snapshot snapshot, int64 now)
{
	/* what is nearly too old is renewed along with the rest */
	return sc_local_is_aging(local, mine->executed_at, now) ||
		sc_label_prove(&mine->label, snapshot) != SC_CURRENT;
}

/* Is a part that is needed perhaps what would be built? */
static bool
may_be_same(ScLocal *local, ScLocalSection *mine, Snapshot snapshot, int64 now)
{
	return mine->has_meaning && !sc_local_is_aging(local, mine->executed_at, now) &&
		sc_label_holds_but_for_names(&mine->label, snapshot);
}

/*
 * What of a section is to be built?  If the cached document has other parts of it than
 * it has now, all or nothing.
 */
static void
want_section(Sections *sections, int s, ScLocal *local, ScWant want, Snapshot snapshot, int64 now)
{
	ScSectionDef *section = &sections->definition->sections[s];
	int			nparts = nparts_of(sections, s);
	Unit	   *units = &sections->units[sections->first[s]];
	bool		is_cached = false;
	bool		is_divided = true;
	bool		any = false;

	if (want == SC_WANT_INLINE && !section->is_inline)
		return;
	for (int i = 0; want != SC_WANT_ALL && i < local->nsections; i++)
	{
		ScLocalSection *mine = &local->sections[i];

		if (strcmp(NameStr(mine->name), NameStr(section->name)) != 0)
			continue;
		if (mine->invalidated || mine->label.definition != section->hash)
		{
			is_cached = false;
			break;
		}
		is_cached = true;
		if (mine->nparts != nparts)
			is_divided = false;
		else
			units[mine->part].expected = mine->label.read_at;
		if (is_needed(local, mine, snapshot, now))
		{
			if (mine->nparts == nparts)
				units[mine->part].may_be_same = may_be_same(local, mine, snapshot, now);
			/* a debug build may forget the others */
			if (is_divided && !(any && SC_WEAK(SC_PROTOCOL_SPLICE)))
				units[mine->part].wanted = true;
			any = true;
		}
	}
	if (!is_cached || (any && !is_divided))
		want_all(sections, s);
}

/*
 * Is what is not built, of sections of which something is, current for the snapshot of
 * the build?
 */
static bool
is_rest_current(const Sections *sections, ScLocal *local, Snapshot snapshot)
{
	if (SC_WEAK(SC_PROTOCOL_SPLICE))
		return true;
	for (int s = 0; s < sections->definition->nsections; s++)
	{
		const char *name = NameStr(sections->definition->sections[s].name);

		if (nparts_of(sections, s) == 1 || !wants_any(sections, s))
			continue;
		for (int i = 0; i < local->nsections; i++)
		{
			ScLocalSection *mine = &local->sections[i];

			if (strcmp(NameStr(mine->name), name) == 0 &&
				mine->part < nparts_of(sections, s) &&
				!sections->units[sections->first[s] + mine->part].wanted &&
				sc_label_prove(&mine->label, snapshot) != SC_CURRENT)
				return false;
		}
	}
	return true;
}

/* The unit of a part of a section that the definition has, and divides like that; or NULL. */
static Unit *
unit_of(const Sections *sections, const char *section, int part, int nparts)
{
	ScSectionDef *def = sc_definition_section(sections->definition, section);
	int			s = def ? def - sections->definition->sections : -1;

	return s >= 0 && nparts == nparts_of(sections, s) ? &sections->units[sections->first[s] + part] : NULL;
}

/*
 * Copy what is cached of the parts that may be the same, as far as that is so for the
 * snapshot of the build.
 */
static void
keep_same(Sections *sections, ScLocal *local, Snapshot snapshot)
{
	bool		any = false;
	ScView		view;

	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *mine = &local->sections[i];
		Unit	   *unit = unit_of(sections, NameStr(mine->name), mine->part, mine->nparts);

		if (unit && unit->may_be_same)
		{
			unit->may_be_same = sc_label_holds_but_for_names(&mine->label, snapshot);
			any = any || unit->may_be_same;
		}
	}
	if (!any || !sc_store_open(local->index, &local->key, &view))
		return;
	for (int i = 0; i < view.nchunks; i++)
	{
		ScChunk    *chunk = view.chunks[i];
		Unit	   *unit = unit_of(sections, SC_CHUNK_SECTION(chunk), chunk->part, chunk->nparts);

		/* the one that was looked at, and not one that was built since */
		if (unit == NULL || !unit->wanted || !unit->may_be_same ||
			chunk->labelled_at != unit->expected || chunk->definition != unit->def->hash)
			continue;
		unit->kept = MemoryContextAllocHuge(CurrentMemoryContext, chunk->size);
		memcpy(unit->kept, chunk, chunk->size);
	}
	sc_store_close(local->index);
}

/* Is all that is wanted cached, and perhaps the same? */
static bool
is_all_kept(const Sections *sections)
{
	for (int u = 0; u < sections->nunits; u++)
		if (sections->units[u].wanted && sections->units[u].kept == NULL)
			return false;
	return true;
}

/*
 * What has the cached document to do with a definition?  A definition takes
 * effect when it has first been built, and until then the old document serves.
 * But not if it is of another owner, or of a summary that was dropped since: one
 * section at least must be there still, and none may have been made again.  What was
 * loaded when the server started is more strictly looked at: it is of this database,
 * and of the same definition, or of no use.
 */
ScMatch
sc_build_match(ScLocal *local, ScSummaryDef *definition)
{
	ScMatch		match = SC_MATCH_WHOLE;
	bool		related = false;
	bool		loaded = false;
	TransactionId here = InvalidTransactionId;
	int			ordinal = -1;	/* of the section that the part is of */

	if (definition == NULL)
		return SC_MATCH_NOTHING;
	for (int i = 0; i < local->nsections; i++)
	{
		ScLocalSection *mine = &local->sections[i];
		ScSectionDef *defined = sc_definition_section(definition, NameStr(mine->name));

		if (mine->part == 0)
			ordinal++;
		if (defined && mine->lineage != defined->lineage)
			return SC_MATCH_NOTHING;
		if (sc_label_is_loaded(&mine->label))
		{
			if (!loaded)
				here = database_made_by();
			loaded = true;
			if (!TransactionIdIsValid(here) || mine->database != here)
				return SC_MATCH_NOTHING;
		}
		related = related || defined;
		if (defined == NULL || defined - definition->sections != ordinal ||
			mine->reading != defined->reading)
			match = SC_MATCH_SUMMARY;
		else if (mine->label.definition != defined->hash && match == SC_MATCH_WHOLE)
			match = SC_MATCH_SECTIONS;
	}
	if (ordinal + 1 != definition->nsections)
		match = SC_MATCH_SUMMARY;
	if (loaded && match != SC_MATCH_WHOLE)
		return SC_MATCH_NOTHING;
	return related ? match : SC_MATCH_NOTHING;
}

/*
 * May this transaction publish what it builds?  With an xid it may have seen
 * its own uncommitted writes, with a temporary table that inherits from a source
 * what others do not see.  With a strong lock on a source it would block another
 * builder that it may have to wait for.
 */
bool
sc_build_may_publish(ScSummaryDef *definition, ScWant want)
{
	if (definition == NULL)
		return false;
	if (IsolationUsesXactSnapshot() || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return false;
	for (int s = 0; s < definition->nsections; s++)
	{
		ScSectionDef *section = &definition->sections[s];

		if (want == SC_WANT_INLINE && !section->is_inline)
			continue;
		for (int i = 0; i < section->nsources; i++)
		{
			if (sc_track_has_own_rows(section->sources[i]))
				return false;
			for (int mode = RowShareLock; mode <= AccessExclusiveLock; mode++)
			{
				LOCKTAG		tag;

				SET_LOCKTAG_RELATION(tag, MyDatabaseId, section->sources[i]);
				if (SC_LOCK_HELD(&tag, mode))
					return false;
			}
		}
	}
	return true;
}

/* Does this transaction keep all others from reading some source? */
bool
sc_build_is_blocked_here(ScSummaryDef *definition)
{
	for (int s = 0; definition && s < definition->nsections; s++)
		for (int i = 0; i < definition->sections[s].nsources; i++)
		{
			LOCKTAG		tag;

			SET_LOCKTAG_RELATION(tag, MyDatabaseId, definition->sections[s].sources[i]);
			if (SC_LOCK_HELD(&tag, AccessExclusiveLock))
				return true;
		}
	return false;
}

/* Is a summary not among these yet?  From then on it is. */
static bool
is_first(List **reported, const char *summary)
{
	MemoryContext old;

	if (sc_list_has_name(*reported, summary))
		return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	*reported = lappend(*reported, pstrdup(summary));
	MemoryContextSwitchTo(old);
	return true;
}

/*
 * Say once in a session that a document is not cached for want of room, or that a
 * source has no slot; for each summary, since the remedy may be another's.  To be
 * called when no other builder waits any more: the client may not read it.
 */
void
sc_build_warn(const char *summary, const ScBuild *build)
{
	static List *without_slots = NIL;
	static List *without_room = NIL;
	int			level = SC_IN_BACKGROUND_WORKER ? LOG : WARNING;

	/* a reader may not know the table */
	if (build->lacks_slots && is_first(&without_slots, summary))
		ereport(level,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("there is no slot for a source table of summary \"%s\"", summary),
				 errdetail("Any change of such a table concerns every section of the database."),
				 errhint("Raise summary_cache.max_tables and restart the server. View summary_cache_tables shows which tables these are.")));
	if (!sc_store_lacked_room(build->put) || !is_first(&without_room, summary))
		return;
	ereport(level,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("document of summary \"%s\" does not fit in %s and is not cached",
					summary, build->put == SC_PUT_OVER_LIMIT ? "its own memory_limit" : "shared memory"),
			 build->put == SC_PUT_OVER_LIMIT ?
			 errhint("Raise its option memory_limit by summary_cache_configure().") :
			 errhint("Raise summary_cache.%s and restart the server.",
					 build->put == SC_PUT_NO_SECTIONS ? "max_sections" : "memory_limit")));
}

/*
 * Publish what was built; true if it is there now, or something newer is.  An
 * error, as a build's that fails, if nobody could read it.
 */
static bool
publish(ScLocal *local, uint64 generation, Sections *sections, ScBuild *build, ScCause cause)
{
	ScSummaryDef *definition = sections->definition;
	int			index = local->index;
	int64	   *expected = palloc(sizeof(int64) * Max(sections->nunits, 1));
	ScPublication publication = {
		.key = local->key,
		.values = local->values,
		.equal = local->equal,
		.generation = generation,
		.nsections = definition->nsections,
		.names = palloc(sizeof(char *) * definition->nsections),
		.first = sections->first,
		.chunks = build->chunks,
		.expected = expected,
		.complete = build->complete,
		.of_inline = cause == SC_BUILD_INLINE && !build->complete,
		.options = definition->options,
	};
	ScPutResult result;

	for (int i = 0; i < definition->nsections; i++)
		publication.names[i] = NameStr(definition->sections[i].name);
	for (int u = 0; u < sections->nunits; u++)
		expected[u] = sections->units[u].expected;
	result = sc_store_put(index, &publication);
	sc_store_account(index, &local->key, cause, build->ran, build->build_ns, result);

	if (result == SC_PUT_TOO_LARGE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("document of summary \"%s\" is too large", NameStr(definition->name)),
				 errhint("A document has less than 1 GB.")));
	build->put = result;
	if (result == SC_PUT_CHANGED && sc_settings_has_forms(&publication.options))
		sc_request_forms(index);
	/* the worker notifies listeners: from here a NOTIFY would take an xid */
	if (result == SC_PUT_CHANGED && sc_request_has_listeners() && !sc_request_is_worker())
		sc_request_notify(index);

	/*
	 * Who commits on these words, or has prepared to, looked at the slots
	 * before they were made eager.
	 */
	if (sc_store_is_published(result) && sc_store_is_behind(index))
		sc_request_wake_launcher();
	/* it puts the trigger there */
	if (build->lacks_keys && sc_slot_lacks_keys() && !sc_request_is_worker())
		(void) sc_request_refresh(index);
	return sc_store_is_published(result);
}

/*
 * Is one of these sections known to be left to a worker?  What is not known yet
 * is found out by the build.
 */
bool
sc_build_needs_worker(ScSummaryDef *definition, ScWant want)
{
	if (definition == NULL)
		return false;
	for (int i = 0; i < definition->nsections; i++)
	{
		ScSectionDef *section = &definition->sections[i];

		if (section->closed == SC_OPEN && (section->is_inline || want != SC_WANT_INLINE))
			return true;
	}
	return false;
}

/*
 * Are the reader and its session a section's owner's?  The session's role counts
 * as well (that of SET ROLE, if there was one): in a SECURITY DEFINER function the
 * current role is the function's owner, however its caller has prepared the
 * session.  A worker's session is nobody's, and it knows whose code it has run.  A
 * superuser is a member only of what it was granted.
 */
static bool
is_members(const ScSectionDef *section)
{
	return is_member_of_role_nosuper(GetUserId(), section->owner) &&
		(sc_request_is_worker() || is_member_of_role_nosuper(GetOuterUserId(), section->owner));
}

/*
 * May this session build a section for itself alone, whatever that runs?  At a
 * COMMIT nothing could be rolled back that the owner's code leaves behind.
 */
static bool
may_run_all(const ScSectionDef *section)
{
	return is_members(section) && !sc_subtransaction_is_ending();
}

/* Is a section known to be closed? */
static bool
is_closed(ScSectionDef *section)
{
	for (int p = 0; p < sc_section_nparts(section); p++)
		if (sc_section_part(section, p)->closed != SC_CLOSED)
			return false;
	return true;
}

/* May this session build it all for itself alone, whatever it runs? */
bool
sc_build_may_be_alone(ScSummaryDef *definition)
{
	for (int i = 0; definition && i < definition->nsections; i++)
		if (!is_closed(&definition->sections[i]) && !may_run_all(&definition->sections[i]))
			return false;
	return true;
}

/* What may a build of a section run?  A section's query that reads a summary is a reader like any other. */
static ScMayRun
what_may_run(const ScSectionDef *section, ScWant want, bool for_others, bool in_section)
{
	if (want == SC_WANT_PROOF)
		return SC_RUN_NOTHING;
	if (!for_others)
		return may_run_all(section) ? SC_RUN_ALL : SC_RUN_CLOSED;
	return sc_request_is_worker() && !in_section ? SC_RUN_ONE_OWNERS : SC_RUN_CLOSED;
}

/*
 * Build what is wanted of a section.  False if it may not be built here for others, or
 * not like that.
 */
static bool
build_section(Sections *sections, int s, bool for_others, bool in_section, Snapshot snapshot,
			  TimestampTz built_at, ScBuild *build)
{
	ScSectionDef *section = &sections->definition->sections[s];
	int			nparts = nparts_of(sections, s);
	int			first = sections->first[s];
	ScBody	   *bodies = palloc0(sizeof(ScBody) * nparts);
	bool	   *wanted = palloc(sizeof(bool) * nparts);
	int64		start = sc_clock_now();
	int64		build_ns;
	int64		bytes = 0;
	uint64		xmax;

	for (int p = 0; p < nparts; p++)
	{
		wanted[p] = sections->units[first + p].wanted;
		/* with room for the word of one that is never current */
		bodies[p].room = sc_chunk_name_offset(Max(sections->units[first + p].label.nwords,
												  sections->units[first + p].max_words) + 1) +
			strlen(NameStr(section->name)) + 1;
		if (sections->units[first + p].kept)
			bodies[p].meaning = sections->units[first + p].kept->meaning;
	}
	if (!sc_document_build(section, sections->values, wanted,
						   what_may_run(section, sections->want, for_others, in_section), snapshot, bodies))
	{
		if (nparts > 1 && section->undivided)
			build->must_repeat = true;
		else
			build->needs_worker = true;
		return false;
	}
	build_ns = sc_clock_now() - start;

	/*
	 * Functions in the query may have taken snapshots of their own: what has
	 * no xid yet is in none of them.
	 */
	xmax = U64FromFullTransactionId(ReadNextFullTransactionId());
	for (int p = 0; p < nparts; p++)
	{
		Unit	   *unit = &sections->units[first + p];
		ScBody	   *body = &bodies[p];

		if (!unit->wanted)
			continue;
		if (body->is_same)
		{
			build->chunks[first + p] = relabel_chunk(unit->kept, !sections->definition->has_readers, &unit->label);
			unit->kept = NULL;
			continue;
		}
		build->ran = true;
		if (unit->kept)
			pfree(unit->kept);
		unit->kept = NULL;
		if (unit->by_plan && body->planned_anew)
		{
			build->must_repeat = true;
			sections->whole = true;
			return false;
		}
		if (for_others)
		{
			choose_members(unit);
			choose_keys(unit, &build->lacks_keys);
		}
		if (nparts > 1 && for_others)
		{
			if (body->planned_anew || unit->def->unread == NULL)
				find_unread(sections->definition, unit->def);
			if (unit->def->unread)
				trim_label(unit);
		}

		/* might something that it was built from change unnoticed? */
		if (OidIsValid(body->stranger.table) || OidIsValid(body->stranger.function) ||
			(for_others && !is_provable(unit->def)))
			sc_label_add_never(&unit->label);
		if (nparts == 1)
			body->build_ns = build_ns;
		build->chunks[first + p] = make_chunk(unit->def, nparts, !sections->definition->has_readers, body,
											  &unit->label, built_at, xmax);
		bytes += body->len;
	}
	build_ns = sc_clock_now() - start;
	build->build_ns += build_ns;
	if (bytes > 0 && sc_log_min_build_duration >= 0 && build_ns >= (int64) sc_log_min_build_duration * 1000000)
		ereport(LOG,
				(errmsg("built section \"%s\" of summary \"%s\" in %.3f ms, %lld bytes",
						NameStr(section->name), NameStr(section->summary), build_ns / 1e6, (long long) bytes)));
	return true;
}

/*
 * Build the wanted sections under a snapshot, with the labels that were read for
 * them before.  If one of them may not be built here for others, or not with what
 * is locked, it ends there.
 */
static void
build_sections(Sections *sections, bool for_others, Snapshot snapshot, ScBuild *build)
{
	ScSummaryDef *definition = sections->definition;
	Building	me;
	TimestampTz built_at = GetCurrentTimestamp();

	begin_building(&me, NameStr(definition->name));
	PG_TRY();
	{
		bool		done = true;

		build->nchunks = sections->nunits;
		build->chunks = palloc0(sizeof(ScChunk *) * Max(sections->nunits, 1));
		build->build_ns = 0;
		build->ran = false;
		build->complete = true;
		build->published = build->needs_worker = build->must_repeat = false;
		build->put = SC_PUT_CHANGED;
		for (int s = 0; done && s < definition->nsections; s++)
			if (wants_any(sections, s))
				done = build_section(sections, s, for_others, me.outer != NULL, snapshot, built_at, build);
		for (int u = 0; u < sections->nunits; u++)
			build->complete = build->complete && build->chunks[u];
		if (done)
			check_keys(me.summary, NULL, 0, build);
	}
	PG_FINALLY();
	{
		building = me.outer;
	}
	PG_END_TRY();
}

/* What a build does in any case, after it had to begin anew. */
typedef struct Effort
{
	bool		whole_trees;	/* lock them */
	bool		whole_sections; /* with all their parts */
} Effort;

/* sc_build_shared(), whose locks are released after it. */
static void
build_shared(ScLocal *local, ScWant want, ScCause cause, Effort *effort, ScBuild *build)
{
	const char *summary = NameStr(local->key.summary);
	ScSummaryDef *definition;
	uint64		generation = sc_store_generation(local->index);
	ScLabel		begun;
	ScWordSeen	catch_alls[SC_CATCH_ALLS];
	Sections	sections;
	bool		any = false;
	ScMatch		match;
	Snapshot	snapshot;

	/* first the label, then the snapshot */
	sc_label_begin(&begun, catch_alls, true);

	/* of what the label has: see sc_track_examine() */
	AcceptInvalidationMessages();

	definition = sc_definition_get(summary);
	if (definition == NULL)
	{
		sc_store_forget(summary);
		sc_definition_unknown(summary);
	}
	sc_definition_pin();
	SC_POINT("build-defined");
	build->hidden = !sc_reader_may_read(definition);
	build->hides_errors = !sc_reader_sees_errors(definition);
	match = sc_build_match(local, definition);
	if (match != SC_MATCH_WHOLE && want != SC_WANT_PROOF && !(want == SC_WANT_INLINE && match == SC_MATCH_SECTIONS))
		want = SC_WANT_ALL;

	begin_sections(&sections, definition, local->values);
	sections.whole = effort->whole_trees;
	sections.want = want;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int s = 0; s < definition->nsections; s++)
	{
		want_section(&sections, s, local, want, snapshot, begun.read_at);
		if (effort->whole_sections && wants_any(&sections, s))
			want_all(&sections, s);
		any = any || wants_any(&sections, s);
	}
	UnregisterSnapshot(snapshot);
	if (!any)
	{
		/* somebody else has done it */
		memset(build, 0, sizeof(*build));
		build->published = true;
		sc_definition_unpin();
		return;
	}

	/*
	 * what executes nothing reads no source, whose words the document has
	 * already
	 */
	if (want != SC_WANT_PROOF)
		lock_wanted(&sections);
	build->lacks_slots = build->lacks_keys = false;
	for (int u = 0; u < sections.nunits; u++)
		if (sections.units[u].wanted && want == SC_WANT_PROOF)
			sections.units[u].label = begun;
		else if (sections.units[u].wanted)
			label_unit(&sections.units[u], &begun, local->values, &build->lacks_slots);
	if (sc_label_needs_files(&begun) && !sc_label_settle_files())
		for (int u = 0; u < sections.nunits; u++)
			if (sections.units[u].wanted)
				sc_label_add_position(&sections.units[u].label);

	SC_POINT("build-labelled");
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	keep_same(&sections, local, snapshot);
	if (is_rest_current(&sections, local, snapshot) && (want != SC_WANT_PROOF || is_all_kept(&sections)))
		build_sections(&sections, true, snapshot, build);
	else
	{
		build->chunks = NULL;
		build->nchunks = 0;
		build->needs_worker = want == SC_WANT_PROOF;
		build->must_repeat = want != SC_WANT_PROOF;
		effort->whole_sections = true;
	}
	UnregisterSnapshot(snapshot);
	effort->whole_trees = sections.whole;
	if (!build->needs_worker && !build->must_repeat)
	{
		if (!build->complete)
			check_cached_keys(local, build);

		SC_POINT("build-done");

		/* a function in a query may have taken an xid */
		if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
			build->published = publish(local, generation, &sections, build, cause);
	}
	sc_definition_unpin();
}

static void
free_chunks(ScBuild *build)
{
	for (int i = 0; i < build->nchunks; i++)
		if (build->chunks[i])
			pfree(build->chunks[i]);
}

/*
 * Build sections of a summary and publish them.  The caller has seen that it
 * may publish, and serialises with other builders.  Errors are the query's.
 * The chunks are in the current memory context.  No lock remains.
 */
void
sc_build_shared(ScLocal *local, ScWant want, ScCause cause, ScBuild *build)
{
	Effort		effort = {0};

	for (;;)
	{
		ResourceOwner scope = sc_subtransaction_begin_scope();

		SC_POINT("build-begin");
		build_shared(local, want, cause, &effort, build);
		sc_subtransaction_end_scope(scope);
		if (!build->must_repeat)
			return;
		free_chunks(build);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The definition that a snapshot sees, if the reader may read that. */
static ScSummaryDef *
define_privately(const char *summary, Snapshot snapshot, ScBuild *build)
{
	ScSummaryDef *definition = sc_definition_read(summary, snapshot, CurrentMemoryContext);

	if (definition == NULL)
		sc_definition_unknown(summary);
	sc_reader_check(definition);
	build->hides_errors = !sc_reader_sees_errors(definition);
	return definition;
}

/*
 * What this session knows of a definition that it reads again and again: that sections
 * cannot be divided.  It is told from the cached definition, and to that one.
 */
static void
share_undivided(ScSummaryDef *definition)
{
	ScSummaryDef *cached = sc_shared ? sc_definition_get(NameStr(definition->name)) : NULL;

	for (int s = 0; s < definition->nsections; s++)
	{
		ScSectionDef *mine = &definition->sections[s];
		ScSectionDef *known = sc_definition_section(cached, NameStr(mine->name));

		if (known && known->hash == mine->hash)
			mine->undivided = known->undivided = mine->undivided || known->undivided;
	}
}

/*
 * Build the wanted sections for nobody else.  By their parts, so that the etag is that of
 * the document which others share; but all of them: what is cached of a part may be
 * newer than the snapshot.
 */
static void
build_sections_privately(ScSummaryDef *definition, const ScValues *values, bool *wanted, Snapshot snapshot,
						 ScBuild *build)
{
	share_undivided(definition);
	for (;;)
	{
		Sections	sections;

		begin_sections(&sections, definition, values);
		for (int s = 0; s < definition->nsections; s++)
			if (wanted[s])
				want_all(&sections, s);
		for (int u = 0; u < sections.nunits; u++)
		{
			/*
			 * for nobody else, it stands for nothing; but a query may have
			 * strangers
			 */
			sections.units[u].label.words = palloc(sizeof(ScWordSeen));
			sections.units[u].label.read_at = sc_clock_now();
		}
		build_sections(&sections, false, snapshot, build);
		if (!build->must_repeat)
			return;
		free_chunks(build);
		share_undivided(definition);
	}
}

/*
 * Has a table other rows than a snapshot can see?  What rewrites a table, or empties
 * it, gives it another file, whose rows are all newer.  Any newer change of the
 * table's row in pg_class is taken for that, but our own.
 */
static bool
is_rewritten(Oid relid, Snapshot snapshot)
{
	bool		is_frozen;
	TransactionId xmin = row_made_by(RELOID, relid, &is_frozen);

	return TransactionIdIsNormal(xmin) && !is_frozen && !TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, snapshot);
}

/* The same for any source of the wanted sections. */
static bool
are_rewritten(ScSummaryDef *definition, const bool *wanted, Snapshot snapshot)
{
	AcceptInvalidationMessages();
	for (int s = 0; s < definition->nsections; s++)
		for (int i = 0; wanted[s] && i < definition->sections[s].nsources; i++)
		{
			Oid			source = definition->sections[s].sources[i];
			ListCell   *lc;

			if (get_rel_relkind(source) == '\0')
				continue;
			foreach(lc, find_all_inheritors(source, NoLock, NULL))
			{
				if (is_rewritten(lfirst_oid(lc), snapshot))
					return true;
			}
		}
	return false;
}

/*
 * Build the wanted sections under the caller's snapshot, which is registered.  A
 * query of its own, in READ COMMITTED, would take its snapshot when it has its locks.
 * This one is older: of a table that was rewritten since, it would see no row.  Then
 * all is built once more, and the newest snapshot takes the place of the old one.
 */
static void
build_privately(ScSummaryDef *definition, const ScValues *values, bool *wanted, Snapshot *snapshot,
				ScBuild *build)
{
	for (;;)
	{
		Snapshot	newest;

		build_sections_privately(definition, values, wanted, *snapshot, build);
		if (build->needs_worker || IsolationUsesXactSnapshot() ||
			!are_rewritten(definition, wanted, *snapshot))
			return;
		CHECK_FOR_INTERRUPTS();
		free_chunks(build);
		newest = RegisterSnapshot(GetLatestSnapshot());
		/* of our own writes it sees what the caller does */
		newest->curcid = (*snapshot)->curcid;
		UnregisterSnapshot(*snapshot);
		*snapshot = newest;
	}
}

/*
 * Build all sections under the caller's own snapshot, for nobody else.  The locks
 * are those of the queries, which go with each query's subtransaction; at a
 * COMMIT, where there is none, with the transaction.
 */
void
sc_build_private(const char *summary, const ScValues *values, ScBuild *build)
{
	bool		pushed = false;
	Snapshot	snapshot;
	ScSummaryDef *definition;
	bool	   *wanted;

	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	snapshot = RegisterSnapshot(GetActiveSnapshot());
	definition = define_privately(summary, snapshot, build);
	wanted = palloc(sizeof(bool) * definition->nsections);
	memset(wanted, true, sizeof(bool) * definition->nsections);
	build_privately(definition, values, wanted, &snapshot, build);
	if (build->needs_worker)
	{
		/* in a section that a worker builds: when this one is there */
		sc_document_give_way_to_build();
		if (sc_subtransaction_is_ending())
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("summary \"%s\" cannot be built at a COMMIT", summary),
					 errdetail("It runs code that is not PostgreSQL's own. What that leaves behind could not be rolled back."),
					 errhint("Read it before the COMMIT. From a cursor WITH HOLD, fetch before that.")));
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("summary \"%s\" cannot be built in this session", summary),
				 errdetail("It runs code that is not PostgreSQL's own, with the rights of its owner. For a role that is no member of the owner a background worker does that."),
				 errhint("Read it in a READ COMMITTED transaction that has not written anything, with summary_cache.enabled on. View summary_cache_server shows whether there are workers, and builds_not_cached in summary_cache_stats whether its document finds no room.")));
	}
	UnregisterSnapshot(snapshot);
	if (pushed)
		PopActiveSnapshot();
}

/*
 * The same for those inline sections that are not current in the cached document,
 * whose other sections stay as they are.  False if that is of other sections than
 * the definition, or if this session may not build one of them.
 */
bool
sc_build_private_inline(ScLocal *local, ScBuild *build)
{
	Snapshot	snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() :
											GetTransactionSnapshot());
	ScSummaryDef *definition = define_privately(NameStr(local->key.summary), snapshot, build);
	ScMatch		match = sc_build_match(local, definition);
	bool		is_built = false;

	if (match == SC_MATCH_WHOLE || match == SC_MATCH_SECTIONS)
	{
		bool	   *wanted = palloc(sizeof(bool) * definition->nsections);
		Sections	sections;

		begin_sections(&sections, definition, local->values);
		for (int i = 0; i < definition->nsections; i++)
		{
			want_section(&sections, i, local, SC_WANT_INLINE, snapshot, sc_clock_now());
			wanted[i] = wants_any(&sections, i);
		}
		build_privately(definition, local->values, wanted, &snapshot, build);
		is_built = !build->needs_worker;
		if (is_built)
			check_cached_keys(local, build);
	}
	UnregisterSnapshot(snapshot);
	return is_built;
}

/* Add to an error's hint how to do without what has failed. */
static void
add_way_around(ErrorData *error)
{
	const char *hint = "To define the section without executing its query, pass run_query => false.";

	if (SC_IS_INTERRUPT(error))
		return;
	if (error->hint == NULL)
		error->hint = pstrdup(hint);
	else if (error->sqlerrcode != ERRCODE_CARDINALITY_VIOLATION)
		error->hint = psprintf("%s %s", error->hint, hint);
}

/*
 * Execute the query of a section that is about to be defined, so that who defines
 * is told what is wrong with it, and not who reads.  It is a private build, of
 * which nothing is kept: so false if this session may not run what the query runs.
 */
bool
sc_build_once(ScSectionDef *section)
{
	Building	me;
	MemoryContext caller_context = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "summary_cache trial",
												  ALLOCSET_DEFAULT_SIZES);
	bool		pushed = false;
	Snapshot	snapshot;
	bool		wanted = true;
	ScBody		body = {0};
	volatile bool built = false;

	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	snapshot = RegisterSnapshot(GetActiveSnapshot());
	begin_building(&me, NameStr(section->summary));
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		built = sc_document_build(section, NULL, &wanted, what_may_run(section, SC_WANT_ALL, false, me.outer != NULL),
								  snapshot, &body);
		MemoryContextSwitchTo(caller_context);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		building = me.outer;
		/* where it stays until it is reported: see sc_subtransaction_run() */
		MemoryContextSwitchTo(TopTransactionContext);
		error = CopyErrorData();
		FlushErrorState();
		add_way_around(error);
		ReThrowError(error);
	}
	PG_END_TRY();
	building = me.outer;
	UnregisterSnapshot(snapshot);
	if (pushed)
		PopActiveSnapshot();
	MemoryContextDelete(context);
	return built;
}

/* Is an error what sc_build_private() says of a build that is not for this session? */
bool
sc_build_is_refusal(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE &&
		SC_IS_RAISED_BY(error, "sc_build_private");
}
