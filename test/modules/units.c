/*
 * Tests of single functions that SQL reaches only by luck: taking a slot, a transaction's keys, arranging sections, keeping a
 * document, loading a damaged file.  The files under test are included, so that their static functions and variables are here;
 * what they have in shared memory is ordinary memory of this backend.  Built and run by test/t/047_units.pl,
 * on a server that does not preload the library: their names would meet.
 *
 * Each function returns nothing, or raises an error that names the line.
 */
#include "postgres.h"

#include "../../src/debug.h"

/* What happens meanwhile at a waiting point. */
static void (*meanwhile) (const char *point) = NULL;

#undef SC_POINT
#define SC_POINT(name) (meanwhile ? meanwhile(name) : (void) 0)

#include "../../src/settings.c"
#include "../../src/shmem.c"
#include "../../src/counters.c"
#include "../../src/word.c"
#include "../../src/extension.c"
#include "../../src/filemap.c"
#include "../../src/label.c"
#include "../../src/commit.c"
#include "../../src/values.c"
#include "../../src/store.c"
#include "../../src/local.c"
#include "../../src/save.c"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_slots);
PG_FUNCTION_INFO_V1(test_keys);
PG_FUNCTION_INFO_V1(test_store);
PG_FUNCTION_INFO_V1(test_parts);
PG_FUNCTION_INFO_V1(test_asked);
PG_FUNCTION_INFO_V1(test_local);
PG_FUNCTION_INFO_V1(test_save);

#define CHECK(condition) \
	do { if (!(condition)) elog(ERROR, "line %d: not so: %s", __LINE__, #condition); } while (0)

#ifdef SC_DEBUG
#error "the units are tested without waiting points"
#endif

/* What commit.c asks of others, which is none of this. */
static int	woken = 0;

void
sc_assure_refuse(void)
{
}

void
sc_assure_before_commit(void)
{
}

void
sc_assure_end(void)
{
}

void
sc_request_after_commit(void)
{
	woken++;
}

void
sc_request_wake_launcher(void)
{
	woken++;
}

#define TRANCHE		LWTRANCHE_FIRST_USER_DEFINED
#define AREA_KB		2048

/* Memory as it is at server start, for so many tables and sections. */
static void
start(int max_tables, int max_sections)
{
	HASHCTL		info = {.keysize = sizeof(uint64),.entrysize = sizeof(SlotEntry)};
	HASHCTL		entry_info = {.keysize = sizeof(EntryKey),.entrysize = sizeof(EntryOfSummary)};
	Size		largest = 0;
	static bool attached = false;

	MemoryContextSwitchTo(TopMemoryContext);
	sc_max_tables = max_tables;
	sc_max_sections = max_sections;
	sc_max_documents = 0;
	sc_memory_limit = AREA_KB;

	sc_shared = palloc0(sizeof(ScShared));
	LWLockInitialize(&sc_shared->lock, TRANCHE);
	sc_words = palloc0(sizeof(ScWords));
	sc_slots = palloc0(slots_size());
	sc_key_words = palloc0(keys_size());
	sc_key_eager = (uint8 *) (sc_key_words + sc_max_key_words);
	sc_cells = palloc0(sizeof(ScCellPadded) * (MaxBackends + ORPHAN_CELLS + REPLAY_CELLS));
	slot_hash = hash_create("slots", max_tables, &info, HASH_ELEM | HASH_BLOBS);
	words_init(TRANCHE);

	sc_shards = palloc0(sizeof(ScShardPadded) * SC_SHARDS * max_sections);
	counters_init(TRANCHE);

	if (store)
		largest = store->largest;
	store = palloc0(sizeof(Store));
	by_name = hash_create("entries", max_sections, &entry_info, HASH_ELEM | HASH_BLOBS);
	nbuckets = bucket_count();
	buckets = palloc(sizeof(int) * nbuckets);
	asked = palloc(sizeof(pg_atomic_uint64) * asked_words());
	document_locks = palloc(sizeof(LWLockPadded) * DOCUMENT_LOCKS);
	tries = palloc(sizeof(ConditionVariable) * TRIES);
	entries = palloc0(sizeof(StoreEntry) * max_sections);
	summaries = palloc0(sizeof(Summary) * max_sections);
	sections = palloc0(sizeof(Section) * max_sections);

	/*
	 * a backend attaches once: documents that an earlier test has left there
	 * were cleared
	 */
	if (!attached)
		area_place = palloc0(area_size());
	if (!attached)
		store_init(TRANCHE);
	else
	{
		entries_init(TRANCHE);
		store->largest = largest;
	}
	attached = true;
}

/* The key of a summary; good for some calls. */
static const ScDocKey *
key_of(const char *summary)
{
	static ScDocKey keys[8];
	static int	n = 0;
	ScDocKey   *key = &keys[n++ % lengthof(keys)];

	*key = sc_store_key(summary, NULL);
	return key;
}

static int
entry_named(const char *summary, bool create)
{
	return create ? sc_store_find_or_create(key_of(summary), NULL) : sc_store_find(key_of(summary));
}

static uint64
revision_of(int slot)
{
	ScWordState state;

	sc_word_state(slot, &state);
	return state.revision;
}

Datum
test_slots(PG_FUNCTION_ARGS)
{
	int			slot[4];
	uint64		before;
	Oid			relid;
	ScWordSeen	seen;

	start(5, 2);

	/*
	 * the cluster's slot is taken; the others are given away until there are
	 * none
	 */
	slot[0] = sc_slot_find(SC_KEY_CATCH_ALL, true);
	for (int i = 1; i < 4; i++)
		slot[i] = sc_slot_find(SC_KEY_HERE(100 + i), true);
	for (int i = 0; i < 4; i++)
		CHECK(slot[i] == i + 1);
	CHECK(sc_slot_find(SC_KEY_HERE(102), false) == slot[2]);
	CHECK(!sc_words->slot_refused);
	CHECK(sc_slot_find(SC_KEY_HERE(200), true) == SC_SLOT_NONE);
	CHECK(sc_words->slot_refused);

	/* the tables of this database, without its catch-all */
	CHECK(sc_slot_next(SC_CLUSTER_SLOT, MyDatabaseId, &relid) == slot[1] && relid == 101);
	CHECK(sc_slot_next(slot[3], MyDatabaseId, &relid) == SC_SLOT_NONE);

	/*
	 * one that nobody wants is given away, but not while a transaction counts
	 * on it
	 */
	sc_slot_want(slot[2], false);
	sc_word_add_pending(slot[2]);
	CHECK(sc_slot_find(SC_KEY_HERE(200), true) == SC_SLOT_NONE);
	CHECK(pg_atomic_read_u64(&sc_slot_at(slot[2])->key) == SC_KEY_HERE(102));
	sc_word_withdraw(slot[2]);
	CHECK(sc_word_read(&seen, SC_KEY_HERE(102), slot[2]));
	/* reading a label wants it again */
	CHECK(sc_slot_find(SC_KEY_HERE(200), true) == SC_SLOT_NONE);
	sc_slot_want(slot[2], false);
	before = revision_of(slot[0]);
	CHECK(sc_slot_find(SC_KEY_HERE(200), true) == slot[2]);
	CHECK(sc_slot_find(SC_KEY_HERE(102), false) == SC_SLOT_NONE);

	/*
	 * the label of its former table is not current, and what was built while
	 * the new one had no slot neither
	 */
	CHECK(revision_of(slot[2]) > seen.revision);
	CHECK(sc_word_prove(&seen, 1, NULL) == SC_MOVED);
	CHECK(revision_of(slot[0]) == before + 1);

	/* no revision of a slot is ever that of another one's past */
	before = revision_of(slot[2]);
	sc_slot_want(slot[3], false);
	CHECK(sc_slot_find(SC_KEY_HERE(300), true) == slot[3]);
	CHECK(revision_of(slot[3]) > before);

	/* a pending transaction proves nothing, one that is over moves */
	CHECK(sc_word_read(&seen, SC_KEY_HERE(300), slot[3]));
	CHECK(sc_word_prove(&seen, 1, NULL) == SC_CURRENT);
	sc_word_add_pending(slot[3]);
	CHECK(sc_word_prove(&seen, 1, NULL) == SC_PENDING_UNPROVEN);
	CHECK(sc_word_publish(slot[3]) == seen.revision + 1);
	CHECK(sc_word_prove(&seen, 1, NULL) == SC_MOVED);

	/*
	 * a database that is gone leaves slots that may be reused, but are found
	 * until then
	 */
	LWLockAcquire(&sc_shared->lock, LW_EXCLUSIVE);
	sc_slot_forget_database(MyDatabaseId);
	LWLockRelease(&sc_shared->lock);
	CHECK(sc_slot_find(SC_KEY_HERE(300), false) == slot[3]);
	CHECK(sc_slot_find(SC_KEY(1, 400), true) != SC_SLOT_NONE);
	PG_RETURN_VOID();
}

static ScChunk *
make(const char *section, const char *body, Size len, int64 labelled_at)
{
	Size		offset = sc_chunk_name_offset(1) + strlen(section) + 1;
	ScChunk    *chunk = palloc0(offset + len);

	chunk->size = offset + len;
	chunk->nparts = 1;
	chunk->labelled_at = labelled_at;
	chunk->nwords = 1;
	chunk->words[0].slot = SC_CLUSTER_SLOT;
	chunk->words[0].revision = revision_of(SC_CLUSTER_SLOT);
	strcpy(SC_CHUNK_SECTION(chunk), section);
	chunk->section_len = (uint8) strlen(section);
	chunk->body_offset = (uint32) offset;
	memset(SC_CHUNK_BODY(chunk), body[0], len);
	memcpy(SC_CHUNK_BODY(chunk), body, Min(strlen(body), len));
	sc_local_sha256(SC_CHUNK_BODY(chunk), len, chunk->hash);
	return chunk;
}

/* Publish sections: names, and for each a chunk or NULL. */
static ScPutResult
put(int index, const char *summary, int n, const char **names, ScChunk **chunks)
{
	static const int one_each[] = {0, 1, 2, 3, 4};
	ScPublication publication = {*key_of(summary), NULL, NULL, sc_store_generation(index), n, names, one_each, chunks, NULL, true};

	sc_settings_unset(&publication.options);
	for (int i = 0; i < n; i++)
		publication.complete = publication.complete && chunks[i] != NULL;
	return sc_store_put(index, &publication);
}

/* The same for one section of parts, with the labels of those that are not built. */
static ScPutResult
put_parts(int index, const char *summary, const char *name, int nparts, ScChunk **chunks, const int64 *expected)
{
	int			first[] = {0, nparts};
	ScPublication publication = {*key_of(summary), NULL, NULL, sc_store_generation(index), 1, &name, first, chunks, expected, true};

	sc_settings_unset(&publication.options);
	for (int i = 0; i < nparts; i++)
	{
		publication.complete = publication.complete && chunks[i] != NULL;
		if (chunks[i] == NULL)
			continue;
		chunks[i]->part = i;
		chunks[i]->nparts = nparts;
	}
	return sc_store_put(index, &publication);
}

/* The bytes of a document of small parts, one after the other. */
static char *
bytes_of(int index, const char *summary)
{
	StringInfoData bytes;
	ScView		view;

	initStringInfo(&bytes);
	CHECK(sc_store_open(index, key_of(summary), &view));
	for (int i = 0; i < view.nchunks; i++)
	{
		CHECK(view.chunks[i]->part == i && view.chunks[i]->nparts == view.nchunks);
		appendBinaryStringInfo(&bytes, SC_CHUNK_BODY(view.chunks[i]), (int) sc_chunk_body_len(view.chunks[i]));
	}
	sc_store_close(index);
	return bytes.data;
}

/* The names of the sections of a document, one after the other. */
static char *
names_of(int index, const char *summary)
{
	StringInfoData names;
	ScView		view;

	initStringInfo(&names);
	CHECK(sc_store_open(index, key_of(summary), &view));
	for (int i = 0; i < view.nchunks; i++)
		appendStringInfo(&names, "%s%s", SC_CHUNK_SECTION(view.chunks[i]), view.invalidated[i] ? "!" : "");
	sc_store_close(index);
	return names.data;
}

static int
free_sections(void)
{
	int			n = 0;

	for (int i = store->free_section; i >= 0; i = sections[i].next)
		n++;
	return n;
}

/* A transaction's end, as commit.c is told of it. */
static void
end_transaction(bool commits)
{
	if (commits)
	{
		commit_callback(XACT_EVENT_PRE_COMMIT, NULL);
		commit_callback(XACT_EVENT_COMMIT, NULL);
	}
	else
		commit_callback(XACT_EVENT_ABORT, NULL);
	CHECK(nkeys == 0 && nkeyed == 0 && nplans == 0);
	for (int i = 0; i < sc_words->nkeys; i++)
		CHECK(SC_PENDING(pg_atomic_read_u64(&sc_key_words[i])) == 0);
	for (int i = 0; keys && i < KEY_PLACES; i++)
		CHECK(keys->set[i] == 0);
}

static uint64
pending_of(int slot)
{
	ScWordState state;

	sc_word_state(slot, &state);
	return state.pending;
}

/* A keyed label of one value of a table. */
static void
key_label(ScLabel *label, uint64 table, int slot)
{
	memset(label->words, 0, sizeof(ScWordSeen) * 5);
	(void) sc_word_read(&label->words[0], SC_KEY_CLUSTER, SC_CLUSTER_SLOT);
	label->nwords = 1;
	label->read_at = sc_clock_now();
	sc_label_add_key(label, sc_key_coarse(table));
	sc_label_add_key(label, slot);
	CHECK(label->nwords == 3);
}

Datum
test_keys(PG_FUNCTION_ARGS)
{
	uint64		table = SC_KEY_HERE(101);
	uint64		other = SC_KEY_HERE(102);
	int			plan[3];		/* only their addresses are of use */
	int			one;
	int			two;
	int			coarse;
	int			far[OWN_KEYS + 1];
	uint64		before;
	ScWordSeen	room[5];
	ScLabel		label = {.words = room};
	ScSlotRef	ref;

	sc_max_key_words = 500009;
	start(5, 2);
	(void) GetTopTransactionId();

	/* words are apart from slots, and each value has its own */
	one = sc_key_word(table, "k", 1);
	two = sc_key_word(table, "k", 2);
	coarse = sc_key_coarse(table);
	CHECK(one >= sc_slot_count() && one < sc_word_count() && coarse >= sc_slot_count() && coarse < sc_word_count());
	CHECK(sc_slot_is_key(one) && !sc_slot_is_key(sc_slot_count() - 1));
	CHECK(one != two && one != coarse && one != sc_key_word(table, "l", 1) && one != sc_key_word(other, "k", 1));
	CHECK(coarse != sc_key_coarse(other) && one == sc_key_word_of(sc_key_seed(table, "k"), 1));

	/* a label's words are proven by them, and have no time and no member */
	key_label(&label, table, one);
	CHECK(sc_label_prove(&label, NULL) == SC_CURRENT && sc_label_changed_at(&label) == DT_NOEND);
	CHECK(!sc_slot_is_member(one) && !sc_commit_wrote(&label) && !sc_commit_sees_own());

	/* who writes the table at all, reads privately; nobody else sees anything before the commit */
	CHECK(sc_commit_keyed(table) == 0 && sc_commit_keyed(other) == 1 && sc_commit_keyed(table) == 0);
	CHECK(sc_commit_wrote(&label) && sc_commit_sees_own() && sc_commit_wrote_anything());
	sc_commit_mark_key(0, two);
	sc_commit_mark_key(0, two);
	CHECK(nkeys == 1 && pending_of(two) == 0);
	end_transaction(true);
	CHECK(sc_label_prove(&label, NULL) == SC_CURRENT && revision_of(two) == 2 && revision_of(one) == 1);
	CHECK(!sc_commit_is_hidden_by(&label) && !sc_commit_wrote(&label));
	(void) sc_commit_keyed(other);
	CHECK(!sc_commit_wrote(&label));
	end_transaction(false);

	/* the key's word, while its transaction is in commit and after it; this session knows of it */
	sc_commit_mark_key(sc_commit_keyed(table), one);
	commit_callback(XACT_EVENT_PRE_COMMIT, NULL);
	CHECK(pending_of(one) == 1 && pending_of(coarse) == 0 && sc_label_prove(&label, NULL) == SC_PENDING_UNPROVEN);
	CHECK(pg_atomic_read_u64(&sc_cell_mine()->xid) != SC_CELL_EMPTY);
	commit_callback(XACT_EVENT_COMMIT, NULL);
	CHECK(pending_of(one) == 0 && sc_label_prove(&label, NULL) == SC_MOVED && sc_label_changed_at(&label) == DT_NOBEGIN);
	CHECK(pg_atomic_read_u64(&sc_cell_mine()->xid) == SC_CELL_EMPTY);
	CHECK(sc_commit_is_hidden_by(&label));
	key_label(&label, table, one);
	CHECK(!sc_commit_is_hidden_by(&label));

	/* a rollback, also during the commit */
	sc_commit_mark_key(sc_commit_keyed(table), one);
	sc_commit_mark_coarse(table);
	end_transaction(false);
	sc_commit_mark_key(sc_commit_keyed(table), one);
	sc_commit_mark_coarse(table);
	commit_callback(XACT_EVENT_PRE_COMMIT, NULL);
	CHECK(pending_of(one) == 1 && pending_of(coarse) == 1);
	end_transaction(false);
	CHECK(sc_label_prove(&label, NULL) == SC_CURRENT);

	/* a plan is coarse until it has ended; one that ends without its triggers, for good */
	sc_commit_begin_keyed(&plan[0], table);
	sc_commit_begin_keyed(&plan[0], table);
	sc_commit_begin_keyed(&plan[1], table);
	CHECK(nplans == 2 && sc_commit_wrote(&label));
	sc_commit_end_keyed(&plan[0]);
	commit_callback(XACT_EVENT_PRE_COMMIT, NULL);
	CHECK(pending_of(coarse) == 1);
	end_transaction(false);
	sc_commit_begin_keyed(&plan[0], table);
	sc_commit_end_keyed(&plan[0]);
	sc_commit_give_up_keyed(&plan[0]);
	end_transaction(true);
	CHECK(sc_label_prove(&label, NULL) == SC_CURRENT);
	sc_commit_begin_keyed(&plan[0], table);
	sc_commit_give_up_keyed(&plan[0]);
	end_transaction(true);
	CHECK(sc_label_prove(&label, NULL) == SC_MOVED && sc_commit_is_hidden_by(&label));
	key_label(&label, table, one);

	/* one whose triggers fire with those of another, and one that is rolled back to a savepoint */
	sc_commit_begin_keyed(&plan[0], table);
	sc_commit_pass_keyed(&plan[0], &plan[2]);
	sc_commit_give_up_keyed(&plan[0]);
	CHECK(nplans == 1);
	sc_commit_end_keyed(&plan[2]);
	CHECK(nplans == 0);
	sc_commit_begin_keyed(&plan[0], table);
	plans[0].subid = 5;
	sc_commit_begin_keyed(&plan[1], other);
	plans[1].subid = 3;
	subtransaction_callback(SUBXACT_EVENT_ABORT_SUB, 4, 3, NULL);
	CHECK(nplans == 1 && plans[0].plan == &plan[1]);
	sc_commit_end_keyed(&plan[1]);
	end_transaction(true);
	CHECK(sc_label_prove(&label, NULL) == SC_CURRENT);

	/* more plans than are told apart */
	for (int i = 0; i <= MAX_PLANS; i++)
		sc_commit_begin_keyed(&far[i], table);
	CHECK(nplans == MAX_PLANS && sc_commit_keyed(table) == SC_KEYED_NONE);
	end_transaction(false);

	/* more keys than fit: of the table that comes last */
	(void) sc_commit_keyed(other);
	for (int i = 0; i < MAX_KEYS; i++)
		sc_commit_mark_key(0, sc_slot_count() + i);
	CHECK(nkeys == MAX_KEYS && sc_commit_keyed(other) == 0 && sc_commit_keyed(table) == 1);
	sc_commit_mark_key(1, sc_slot_count());
	CHECK(sc_commit_keyed(table) == 1);
	sc_commit_mark_key(1, sc_slot_count() + MAX_KEYS);
	CHECK(sc_commit_keyed(other) == 0 && sc_commit_keyed(table) == SC_KEYED_NONE);
	end_transaction(true);
	CHECK(sc_label_prove(&label, NULL) == SC_MOVED);

	/* what is pushed out of the session's own commits is unknown, and what came after that is not */
	own_unknown_keys = 0;
	key_label(&label, table, one);
	sc_commit_mark_key(sc_commit_keyed(other), two);
	end_transaction(true);
	own_unknown_keys = 0;
	CHECK(!sc_commit_is_hidden_by(&label));
	sc_commit_mark_key(sc_commit_keyed(other), two < sc_word_count() - OWN_KEYS ? two + OWN_KEYS : two - OWN_KEYS);
	end_transaction(true);
	CHECK(own_unknown_keys > 0 && sc_commit_is_hidden_by(&label));
	key_label(&label, table, one);
	CHECK(!sc_commit_is_hidden_by(&label));

	/* what is marked during the commit is placed at once */
	sc_commit_mark_coarse(other);
	commit_callback(XACT_EVENT_PRE_COMMIT, NULL);
	sc_commit_mark_key(sc_commit_keyed(table), one);
	CHECK(pending_of(one) == 1);
	sc_commit_begin_keyed(&plan[0], table);
	CHECK(pending_of(coarse) == 1 && nplans == 0);
	end_transaction(false);

	/* whoever is eager is woken */
	CHECK(!sc_slot_is_eager(one));
	sc_slot_add_eager(one, SC_EAGER_BY_OPTION);
	CHECK(sc_slot_is_eager(one) && !sc_slot_is_eager(one - 1) && !sc_slot_is_eager(one + 1));
	sc_slot_note_published(one, 1);
	woken = 0;
	sc_commit_mark_key(sc_commit_keyed(table), two);
	end_transaction(true);
	CHECK(woken == 0);
	sc_commit_mark_key(sc_commit_keyed(table), one);
	end_transaction(true);
	CHECK(woken == 1);
	sc_slot_set_eager(one, 0);
	sc_slot_add_eager(coarse, SC_EAGER_BY_OPTION);
	sc_commit_mark_coarse(table);
	end_transaction(true);
	CHECK(woken == 2);
	sc_slot_set_eager(coarse, 0);

	/* a prepared transaction keeps few words, of many the coarse ones, of very many a catch-all */
	(void) sc_slot_find(SC_KEY_CATCH_ALL, true);
	for (int n = 3; n <= 30; n += 27)
	{
		int			orphan = sc_words->nbackends;

		for (int i = 0; i < n; i++)
			sc_commit_mark_key(sc_commit_keyed(table), sc_slot_count() + i);
		commit_callback(XACT_EVENT_PRE_PREPARE, NULL);
		commit_callback(XACT_EVENT_PREPARE, NULL);
		CHECK(sc_cells[orphan].cell.nslots == (n == 3 ? 3 : 1));
		CHECK(pending_of(sc_slot_count()) == (n == 3 ? 1 : 0) && pending_of(coarse) == (n == 3 ? 0 : 1));
		for (uint32 i = 0; i < sc_cells[orphan].cell.nslots; i++)
			sc_word_withdraw((int) sc_cells[orphan].cell.slots[i]);
		pg_atomic_write_u64(&sc_cells[orphan].cell.xid, SC_CELL_EMPTY);
		end_transaction(false);
	}
	for (int i = 0; i < 30; i++)
		sc_commit_mark_key(sc_commit_keyed(SC_KEY_HERE(200 + i)), sc_slot_count() + i);
	commit_callback(XACT_EVENT_PRE_PREPARE, NULL);
	commit_callback(XACT_EVENT_PREPARE, NULL);
	CHECK(sc_cells[sc_words->nbackends].cell.nslots == 1);
	CHECK((int) sc_cells[sc_words->nbackends].cell.slots[0] == sc_slot_find(SC_KEY_CATCH_ALL, false));
	sc_word_withdraw(sc_slot_find(SC_KEY_CATCH_ALL, false));
	pg_atomic_write_u64(&sc_cells[sc_words->nbackends].cell.xid, SC_CELL_EMPTY);
	end_transaction(false);

	/* tables are written beside that as ever */
	ref.key = SC_KEY_HERE(101);
	ref.slot = sc_slot_find(ref.key, true);
	before = revision_of(ref.slot);
	sc_commit_mark(&ref);
	sc_commit_mark_key(sc_commit_keyed(table), one);
	end_transaction(true);
	CHECK(revision_of(ref.slot) == before + 1);
	sc_max_key_words = 1024;
	PG_RETURN_VOID();
}

Datum
test_store(PG_FUNCTION_ARGS)
{
	int			s;
	int			t;
	const char *ab[] = {"a", "b"};
	const char *ba[] = {"b", "a"};
	const char *abcd[] = {"a", "b", "c", "d"};
	const char *d[] = {"d"};
	ScChunk    *chunks[4];
	ScChunk    *none[2] = {NULL, NULL};
	ScPublication late = {*key_of("s")};
	ErrorData	error = {.sqlerrcode = ERRCODE_DIVISION_BY_ZERO,.message = "why"};
	ScFailure	failure;
	ScBuildStats stats;
	int64		waited;
	int64		failed_at;
	ScBegun		begun;
	uint64		version;
	Oid			dboid;
	ScDocKey	key;

	start(8, 3);
	s = entry_named("s", true);
	CHECK(s >= 0 && entry_named("s", false) == s && entry_named("t", false) < 0);
	t = entry_named("t", true);
	CHECK(t >= 0 && t != s);
	CHECK(entry_named("u", true) >= 0);
	sc_store_forget("u");
	CHECK(entry_named("v", true) >= 0 && entry_named("u", false) < 0);
	CHECK(sc_store_next_used(-1, &dboid) == s && dboid == MyDatabaseId);
	sc_store_name(s, &key, NULL);
	CHECK(strcmp(NameStr(key.summary), "s") == 0 && key.values == 0);

	/* a document, in the definition's order */
	chunks[0] = make("a", "1", 10, 1);
	chunks[1] = make("b", "2", 10, 1);
	version = pg_atomic_read_u64(sc_store_version(s));
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);
	CHECK(pg_atomic_read_u64(sc_store_version(s)) > version);
	CHECK(strcmp(names_of(s, "s"), "ab") == 0 && free_sections() == 1);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_SAME);

	/*
	 * the definition's order changes; then it has another section instead of
	 * one
	 */
	chunks[0] = make("b", "2", 10, 2);
	chunks[1] = make("a", "1", 10, 2);
	CHECK(put(s, "s", 2, ba, chunks) == SC_PUT_SAME);
	CHECK(strcmp(names_of(s, "s"), "ba") == 0 && free_sections() == 1);
	chunks[0] = make("d", "4", 10, 3);
	CHECK(put(s, "s", 1, d, chunks) == SC_PUT_CHANGED);
	CHECK(strcmp(names_of(s, "s"), "d") == 0 && free_sections() == 2);

	/* too many sections: nothing changes */
	for (int i = 0; i < 4; i++)
		chunks[i] = make(abcd[i], "x", 10, 4);
	CHECK(put(s, "s", 4, abcd, chunks) == SC_PUT_NO_SECTIONS);
	CHECK(strcmp(names_of(s, "s"), "d") == 0 && free_sections() == 2);

	/*
	 * too many bytes, of which nothing stays allocated: a hundred tries leave
	 * room for one that fits
	 */
	chunks[0] = make("a", "x", AREA_KB * 1024 / 3, 5);
	chunks[1] = make("b", "x", AREA_KB * 1024, 5);
	for (int i = 0; i < 100; i++)
		CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_NO_MEMORY);
	chunks[1] = make("b", "2", 10, 5);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);
	CHECK(strcmp(names_of(s, "s"), "ab") == 0 && free_sections() == 1);

	/*
	 * a section with a later label stays, so nothing has changed; a part is
	 * published beside what is there
	 */
	chunks[0] = NULL;
	chunks[1] = make("b", "3", 10, 4);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_SAME);
	chunks[1] = make("b", "2", 10, 6);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_SAME);
	chunks[1] = make("b", "3", 10, 7);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);

	/* a part of a document that is not there is not published */
	CHECK(put(t, "t", 2, ab, chunks) == SC_PUT_OUTDATED);
	CHECK(strcmp(names_of(t, "t"), "") == 0);

	/*
	 * nor what was begun before an invalidation, or for an entry that is
	 * another's
	 */
	late.generation = sc_store_generation(s);
	late.nsections = 2;
	late.names = ab;
	late.first = (int[]) {0, 1, 2};
	late.chunks = none;
	CHECK(sc_store_invalidate_section(key_of("s"), "b") && !sc_store_invalidate_section(key_of("s"), "d"));
	CHECK(strcmp(names_of(s, "s"), "ab!") == 0);
	CHECK(sc_store_put(s, &late) == SC_PUT_OUTDATED);
	CHECK(put(s, "t", 2, ab, chunks) == SC_PUT_OUTDATED);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_SAME);
	CHECK(strcmp(names_of(s, "s"), "ab") == 0);

	/* failures: the pause doubles, up to a minute; a publication ends them */
	sc_store_begin(&begun);
	for (int i = 0; i < 10; i++)
		sc_store_record_failure(s, key_of("s"), &begun, &error, false);
	failed_at = sc_clock_now();
	sc_store_record_failure(s, key_of("t"), &begun, &error, false);
	sc_store_failure(s, key_of("t"), &failure);
	CHECK(failure.failures == 0);
	sc_store_failure(s, key_of("s"), &failure);
	CHECK(failure.begun.at == begun.at);
	CHECK(failure.failures == 10 && failure.code == ERRCODE_DIVISION_BY_ZERO && strcmp(failure.message, "why") == 0);
	waited = (int64) pg_atomic_read_u64(&sc_store_requests(s)->retry_at) - failed_at;
	CHECK(waited > 59 * SC_NS_PER_S && waited <= 60 * SC_NS_PER_S);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_SAME);
	sc_store_failure(s, key_of("s"), &failure);
	CHECK(failure.failures == 0 && failure.message[0] == '\0' && failure.at != 0);
	CHECK(pg_atomic_read_u64(&sc_store_requests(s)->retry_at) == 0);
	sc_store_record_failure(s, key_of("s"), &begun, &error, false);
	sc_store_record_failure(s, key_of("s"), &begun, &error, false);
	waited = (int64) pg_atomic_read_u64(&sc_store_requests(s)->retry_at) - sc_clock_now();
	CHECK(waited > SC_NS_PER_S && waited <= 2 * SC_NS_PER_S);

	/* statistics are this summary's only, and a reset leaves nothing */
	sc_store_account(s, key_of("s"), SC_BUILD_MISS, true, 5, SC_PUT_CHANGED);
	sc_store_account(s, key_of("s"), SC_BUILD_MISS, true, 3, SC_PUT_SAME);
	sc_store_account(s, key_of("s"), SC_BUILD_MISS, true, 4, SC_PUT_NO_MEMORY);
	sc_store_account(s, key_of("t"), SC_BUILD_MISS, true, 1, SC_PUT_CHANGED);
	sc_store_statistics(s, &stats);
	CHECK(stats.builds[SC_BUILD_MISS] == 3 && stats.ns_min == 3 && stats.ns_max == 5 && stats.ns_total == 12);
	CHECK(stats.wasted == 1 && stats.unpublished == 1 && stats.failed == 12 && sc_store_lacks_room(s));
	sc_store_reset_statistics(s);
	sc_store_statistics(s, &stats);
	CHECK(stats.builds[SC_BUILD_MISS] == 0 && stats.ns_total == 0 && stats.failed == 0);

	/* what is forgotten gives its sections and bytes back */
	sc_store_forget_database(MyDatabaseId);
	CHECK(free_sections() == 3 && sc_store_next_used(-1, &dboid) < 0);
	PG_RETURN_VOID();
}

/* Load what was copied of summary "s", in the place of what there is. */
static ScLoad
load_copy(const ScStored *stored)
{
	dsa_area   *mine = documents_area();
	ScStored	copy = *stored;
	ScLoad		result;

	/* what is loaded gets other times */
	copy.bytes = palloc(stored->size);
	memcpy(copy.bytes, stored->bytes, stored->size);
	sc_store_forget("s");
	sc_store_load_begin();
	result = sc_store_load(&copy);
	sc_store_load_end();
	attached_area = mine;
	return result;
}

Datum
test_parts(PG_FUNCTION_ARGS)
{
	const char *name = "a";
	ScChunk    *chunks[3];
	ScChunk    *one[] = {NULL, NULL, NULL};
	int64		expected[] = {10, 10, 10};
	int			s;
	ScStored	stored = {0};
	ScChunk    *second;
	ScChunk    *four[4];

	start(8, 3);
	one[0] = make(name, "B", 1, 20);
	s = entry_named("s", true);
	for (int i = 0; i < 3; i++)
		chunks[i] = make(name, &"abc"[i], 1, 10);
	CHECK(put_parts(s, "s", name, 3, chunks, NULL) == SC_PUT_CHANGED);
	CHECK(strcmp(bytes_of(s, "s"), "abc") == 0);

	/* one part, beside the others that were proven */
	chunks[0] = chunks[2] = NULL;
	chunks[1] = make(name, "B", 1, 20);
	CHECK(put_parts(s, "s", name, 3, chunks, expected) == SC_PUT_CHANGED);
	CHECK(strcmp(bytes_of(s, "s"), "aBc") == 0);
	chunks[1] = make(name, "B", 1, 25);
	CHECK(put_parts(s, "s", name, 3, chunks, expected) == SC_PUT_SAME);

	/* not beside one of another label, in a section of other parts, or one that was invalidated */
	chunks[1] = make(name, "x", 1, 30);
	expected[2] = 11;
	CHECK(put_parts(s, "s", name, 3, chunks, expected) == SC_PUT_OUTDATED);
	expected[2] = 10;
	CHECK(put_parts(s, "s", name, 2, one, expected) == SC_PUT_OUTDATED);
	CHECK(sc_store_invalidate_section(key_of("s"), name));
	CHECK(put_parts(s, "s", name, 3, chunks, expected) == SC_PUT_OUTDATED);
	CHECK(strcmp(bytes_of(s, "s"), "aBc") == 0);

	/* the whole of it replaces nothing that is newer, or everything */
	for (int i = 0; i < 3; i++)
		chunks[i] = make(name, &"def"[i], 1, 24);
	CHECK(put_parts(s, "s", name, 3, chunks, NULL) == SC_PUT_SAME);
	CHECK(strcmp(bytes_of(s, "s"), "aBc") == 0);
	for (int i = 0; i < 3; i++)
		chunks[i] = make(name, &"def"[i], 1, 25);
	CHECK(put_parts(s, "s", name, 3, chunks, NULL) == SC_PUT_CHANGED);
	CHECK(strcmp(bytes_of(s, "s"), "def") == 0);
	for (int i = 0; i < 2; i++)
		chunks[i] = make(name, &"xy"[i], 1, 30);
	CHECK(put_parts(s, "s", name, 2, chunks, NULL) == SC_PUT_CHANGED);
	CHECK(strcmp(bytes_of(s, "s"), "xy") == 0);

	/* nothing stays behind, however often */
	for (int n = 0; n < 1000; n++)
	{
		int			nparts = n % 3 == 0 ? 2 : 3;
		int64		was[] = {100 + n, 100 + n, 100 + n};

		for (int i = 0; i < nparts; i++)
			chunks[i] = make(name, "z", 50000, 100 + n);
		CHECK(put_parts(s, "s", name, nparts, chunks, NULL) == SC_PUT_CHANGED);
		chunks[0] = make(name, "u", 60000, 100 + n);
		chunks[1] = chunks[2] = NULL;
		CHECK(put_parts(s, "s", name, nparts, chunks, was) == SC_PUT_CHANGED);
	}

	/* a part that fits only if the old one goes first: the others are kept */
	for (int i = 0; i < 3; i++)
		chunks[i] = make(name, "z", i == 0 ? 400000 : 100000, 2000);
	CHECK(put_parts(s, "s", name, 3, chunks, NULL) == SC_PUT_CHANGED);
	chunks[0] = make(name, "u", 410000, 2001);
	chunks[1] = chunks[2] = NULL;
	expected[1] = expected[2] = 2000;
	CHECK(put_parts(s, "s", name, 3, chunks, expected) == SC_PUT_CHANGED);
	CHECK(strlen(bytes_of(s, "s")) == 610000 && bytes_of(s, "s")[0] == 'u' && bytes_of(s, "s")[500000] == 'z');

	/* saved and loaded again: all of them, in their order, or nothing */
	for (int i = 0; i < 3; i++)
		chunks[i] = make(name, &"abc"[i], 1, 3000);
	CHECK(put_parts(s, "s", name, 3, chunks, NULL) == SC_PUT_CHANGED);
	CHECK(sc_store_copy(s, &stored) && stored.nchunks == 3);
	CHECK(load_copy(&stored) == SC_LOAD_DONE);
	CHECK(strcmp(bytes_of(entry_named("s", false), "s"), "abc") == 0);
	second = (ScChunk *) (stored.bytes + MAXALIGN(((ScChunk *) stored.bytes)->size));
	second->part = 2;
	CHECK(load_copy(&stored) == SC_LOAD_UNSOUND);
	second->part = 1;
	stored.nchunks = 2;
	CHECK(load_copy(&stored) == SC_LOAD_UNSOUND);
	stored.nchunks = 3;
	CHECK(load_copy(&stored) == SC_LOAD_DONE);
	/* of four, two can have changed places between the first and the last */
	for (int i = 0; i < 4; i++)
		four[i] = make(name, &"abcd"[i], 1, 3000);
	CHECK(put_parts(entry_named("s", false), "s", name, 4, four, NULL) == SC_PUT_CHANGED);
	CHECK(sc_store_copy(entry_named("s", false), &stored) && stored.nchunks == 4);
	CHECK(load_copy(&stored) == SC_LOAD_DONE);
	second = (ScChunk *) (stored.bytes + MAXALIGN(((ScChunk *) stored.bytes)->size));
	second->part = 2;
	((ScChunk *) ((char *) second + MAXALIGN(second->size)))->part = 1;
	CHECK(load_copy(&stored) == SC_LOAD_UNSOUND);
	PG_RETURN_VOID();
}

static int	asked_meanwhile;

static void
ask_meanwhile(const char *point)
{
	if (strcmp(point, "asked") == 0)
		(void) sc_store_ask(asked_meanwhile, &sc_store_requests(asked_meanwhile)->notify, 1);
}

/* The next entry of which something is, as a worker finds it. */
static int
next_asked(int index)
{
	Oid			dboid;

	do
		index = sc_store_next_asked(index, &dboid);
	while (index >= 0 && !sc_store_is_asked(index));
	return index;
}

/* Entries of which something is asked, and free ones. */
Datum
test_asked(PG_FUNCTION_ARGS)
{
	Oid			dboid;
	int			index[130];

	start(8, 200);
	for (int i = 0; i < lengthof(index); i++)
	{
		index[i] = entry_named(psprintf("s%d", i), true);
		CHECK(index[i] == i);
	}
	CHECK(next_asked(-1) == -1);

	/* whichever of the flags it is, at the borders of a word and at the end */
	sc_store_request(0, SC_REFRESH_DUE, 1);
	CHECK(sc_store_ask(63, &sc_store_requests(63)->notify, 1) == 0 && sc_store_ask(63, &sc_store_requests(63)->notify, 1) == 1);
	(void) sc_store_ask(64, &sc_store_requests(64)->forms, 1);
	sc_store_request(129, SC_REFRESH_ALL, 1);
	for (int round = 0; round < 2; round++)
	{
		CHECK(sc_store_next_asked(-1, &dboid) == 0 && dboid == MyDatabaseId);
		CHECK(next_asked(-1) == 0);
		CHECK(next_asked(0) == 63);
		CHECK(next_asked(63) == 64);
		CHECK(next_asked(64) == 129);
		CHECK(next_asked(129) == -1);
	}

	/* what is done is not found, nor is an entry that nobody has */
	pg_atomic_write_u32(&sc_store_requests(63)->notify, 0);
	CHECK(next_asked(0) == 64);
	sc_store_forget("s64");
	CHECK(!sc_store_is_asked(64));
	CHECK(next_asked(0) == 129);
	CHECK(entry_named("new", true) == 64);
	CHECK(next_asked(0) == 129);
	sc_store_request(64, SC_REFRESH_DUE, 1);
	CHECK(next_asked(0) == 64);

	/* somebody has the lock of the entry that is free first: the next one is taken */
	LWLockAcquire(lock_of(&entries[store->free_summary]), LW_SHARED);
	CHECK(store->free_summary == 130 && entry_named("beside", true) == 131 && store->free_summary == 130);
	LWLockRelease(lock_of(&entries[130]));
	CHECK(entry_named("free again", true) == 130 && store->free_summary == 132);

	/* asked again while it is found that nothing is */
	pg_atomic_write_u32(&sc_store_requests(129)->refresh, 0);
	asked_meanwhile = 129;
	meanwhile = ask_meanwhile;
	CHECK(next_asked(64) == 129);
	meanwhile = NULL;
	CHECK(next_asked(64) == 129);
	PG_RETURN_VOID();
}

Datum
test_local(PG_FUNCTION_ARGS)
{
	int			s;
	const char *ab[] = {"a", "b"};
	ScChunk    *chunks[2];
	ScLocal    *local;
	text	   *first;
	text	   *second;
	Size		capacity;

	start(8, 4);
	sc_local_memory_limit = 1024;
	s = entry_named("s", true);
	chunks[0] = make("a", "1", 1000, 1);
	chunks[1] = make("b", "2", 10, 1);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);

	local = sc_local_get("s", true);
	sc_local_sync(local, false);
	CHECK(local->index == s && local->nsections == 2 && local->consistent);
	first = sc_local_document(local);
	CHECK(first == local->document && VARSIZE_ANY_EXHDR(first) == 1000 + 10 + 3);
	CHECK(VARDATA_ANY(first)[0] == '{' && VARDATA_ANY(first)[1001] == ',' && VARDATA_ANY(first)[1012] == '}');

	/* while its pointer may be held, a newer version is an ordinary copy */
	chunks[0] = NULL;
	chunks[1] = make("b", "3", 10, 2);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);
	sc_local_sync(local, false);
	second = sc_local_document(local);
	CHECK(second != first && VARDATA_ANY(second)[1002] == '3' && VARDATA_ANY(first)[1002] == '2');

	/*
	 * afterwards it is brought up to date in place: the section that has not
	 * changed is not even copied
	 */
	epoch++;
	VARDATA_ANY(first)[1] = '#';
	sc_local_sync(local, false);
	CHECK(sc_local_document(local) == first && VARDATA_ANY(first)[1002] == '3' && VARDATA_ANY(first)[1] == '#');

	/* a section of another length moves those behind it */
	epoch++;
	chunks[0] = make("a", "1", 1001, 3);
	chunks[1] = NULL;
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);
	sc_local_sync(local, false);
	second = sc_local_document(local);
	CHECK(VARSIZE_ANY_EXHDR(second) == 1001 + 10 + 3 && VARDATA_ANY(second)[1] == '1' && VARDATA_ANY(second)[1003] == '3');

	/* a much smaller document does not keep the room of a large one */
	epoch++;
	capacity = local->capacity;
	chunks[0] = make("a", "1", 100, 4);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);
	sc_local_sync(local, false);
	CHECK(sc_local_document(local) == local->document);
	CHECK(local->capacity < capacity / 2 && documents_size == local->capacity);

	/* beyond local_memory_limit none is kept */
	epoch++;
	sc_local_memory_limit = 0;
	chunks[0] = make("a", "1", 101, 5);
	CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_CHANGED);
	sc_local_sync(local, false);
	CHECK(VARSIZE_ANY_EXHDR(sc_local_document(local)) == 101 + 10 + 3);
	CHECK(local->document == NULL && documents_size == 0);

	/* an etag is that of the sections' bytes, whatever else has changed */
	sc_local_memory_limit = 1024;
	{
		char		etag[SC_ETAG_LEN + 1];

		strlcpy(etag, sc_local_etag(&local->etag), sizeof(etag));
		CHECK(strlen(etag) == SC_ETAG_LEN);
		chunks[0] = make("a", "1", 101, 6);
		CHECK(put(s, "s", 2, ab, chunks) == SC_PUT_SAME);
		sc_local_sync(local, false);
		CHECK(strcmp(etag, sc_local_etag(&local->etag)) == 0);
	}

	/* an entry that is another summary's by now */
	sc_store_forget("s");
	CHECK(entry_named("t", true) == s);
	sc_local_sync(local, false);
	CHECK(local->index < 0 && local->nsections == 0 && local->document == NULL);
	PG_RETURN_VOID();
}

/*-------------------------------------------------------------------------
 * The file of documents
 *-------------------------------------------------------------------------
 */

static const char *saved_names[] = {"s", "t"};

/* Fill the store: two summaries, the first of them read last. */
static void
fill(void)
{
	const char *ab[] = {"a", "b"};
	TimestampTz last = GetCurrentTimestamp();

	for (int i = 0; i < 2; i++)
	{
		int			index = entry_named(saved_names[i], true);
		ScChunk    *chunks[2] = {make("a", saved_names[i], 40, sc_clock_now()), make("b", "2", 21, sc_clock_now())};

		chunks[1]->built_at = GetCurrentTimestamp();
		CHECK(put(index, saved_names[i], 2, ab, chunks) == SC_PUT_CHANGED);
		entries[index].read_at = last - i;
	}
}

/* Write what there is, in one go; true if it was put in its place. */
static bool
save_all(void)
{
	bool		done = true;

	begin_writing();
	CHECK(writing.file != NULL);
	while (writing.file)
		done = write_some();
	return done;
}

static void
forget_all(void)
{
	sc_store_forget("s");
	sc_store_forget("t");
	CHECK(free_sections() == store->nsections);
}

/* Load the file as a server does that starts.  Which summaries are there: of each, what was saved. */
static int
load_all(void)
{
	dsa_area   *mine;
	int			found = 0;

	forget_all();
	mine = documents_area();
	load_documents();
	attached_area = mine;
	for (int i = 0; i < 2; i++)
	{
		int			index = entry_named(saved_names[i], false);
		ScView		view;

		if (index < 0)
			continue;
		found |= 1 << i;
		CHECK(sc_store_open(index, key_of(saved_names[i]), &view) && view.nchunks == 2);
		CHECK(strcmp(SC_CHUNK_SECTION(view.chunks[0]), "a") == 0 && strcmp(SC_CHUNK_SECTION(view.chunks[1]), "b") == 0);
		CHECK(sc_chunk_body_len(view.chunks[0]) == 40 && SC_CHUNK_BODY(view.chunks[0])[0] == saved_names[i][0]);
		CHECK(sc_chunk_body_len(view.chunks[1]) == 21 && SC_CHUNK_BODY(view.chunks[1])[0] == '2');
		for (int c = 0; c < 2; c++)
		{
			ScLabel		label = sc_chunk_label(view.chunks[c]);

			CHECK(sc_label_is_loaded(&label) && sc_label_prove(&label, NULL) == SC_MOVED);
			CHECK(label.read_at <= sc_clock_now());
		}
		sc_store_close(index);
	}
	return found;
}

/* The same when the file has another header, whose checksum is right. */
static int
load_with_header(int file, FileHeader header)
{
	FileHeader	right;
	int			found;

	CHECK(pread(file, &right, sizeof(right), 0) == sizeof(right));
	header.crc = checksum(&header, offsetof(FileHeader, crc));
	CHECK(pwrite(file, &header, sizeof(header), 0) == sizeof(header));
	found = load_all();
	CHECK(pwrite(file, &right, sizeof(right), 0) == sizeof(right));
	return found;
}

Datum
test_save(PG_FUNCTION_ARGS)
{
	const TimestampTz wall = INT64CONST(800000000) * USECS_PER_SEC;
	const int64 now = 5 * SC_NS_PER_S;
	int			file;
	struct stat status;
	FileHeader	header;
	FileHeader	other;
	ScStored	stored = {0};
	ScStored	copy;
	ScChunk		chunk = {0};

	start(8, 6);
	saving = palloc0(sizeof(Saving));
	LWLockInitialize(&saving->lock, TRANCHE);

	/* what is saved comes back; nothing is held by it, however often */
	fill();
	CHECK(save_all());
	for (int i = 0; i < 100; i++)
		CHECK(load_all() == 3);
	file = open(DOCUMENTS, O_RDWR | PG_BINARY);
	CHECK(file >= 0 && fstat(file, &status) == 0 && (status.st_mode & 077) == 0);
	CHECK(access(UNFINISHED, F_OK) < 0);
	CHECK(pread(file, &header, sizeof(header), 0) == sizeof(header));
	CHECK(header.size == (uint64) status.st_size && header.ndocuments == 2);

	/* two bits of each byte: a document is the right one, or is not there; the second one not beside a bad first */
	for (off_t offset = 0; offset < status.st_size; offset++)
		for (int bit = (int) (offset % 4); bit < 8; bit += 4)
		{
			char		byte;
			char		flipped;

			CHECK(pread(file, &byte, 1, offset) == 1);
			flipped = (char) (byte ^ (1 << bit));
			CHECK(pwrite(file, &flipped, 1, offset) == 1);
			CHECK(load_all() <= 1);
			CHECK(pwrite(file, &byte, 1, offset) == 1);
		}
	CHECK(load_all() == 3);

	/* of another size, system, version or layout */
	CHECK(ftruncate(file, status.st_size + 1) == 0 && load_all() == 0);
	CHECK(ftruncate(file, status.st_size) == 0 && load_all() == 3);
	other = header;
	other.system++;
	CHECK(load_with_header(file, other) == 0);
	other = header;
	other.version[0]++;
	CHECK(load_with_header(file, other) == 0);
	other = header;
	other.server++;
	CHECK(load_with_header(file, other) == 0);
	other = header;
	other.layout++;
	CHECK(load_with_header(file, other) == 0);
	other = header;
	other.magic[MAGIC_LEN - 1]++;
	CHECK(load_with_header(file, other) == 0);
	/* documents of another file */
	other = header;
	other.id++;
	CHECK(load_with_header(file, other) == 0);
	CHECK(load_with_header(file, header) == 3);

	/* shorter and shorter */
	for (off_t size = status.st_size - 1; size >= 0; size--)
	{
		CHECK(ftruncate(file, size) == 0);
		CHECK(load_all() == 0);
		/* as if the header did not know better */
		if (size >= (off_t) sizeof(header))
		{
			other = header;
			other.size = size;
			CHECK(load_with_header(file, other) <= 1);
		}
	}
	close(file);

	/*
	 * a document whose checksum is right, but whose layout is not: no load
	 * looks beyond its bytes.  What is no layout may be anything.
	 */
	fill();
	CHECK(sc_store_copy(entry_named("s", false), &stored));
	copy = stored;
	copy.bytes = palloc(stored.size);
	forget_all();
	for (Size i = 0; i < stored.size; i++)
		for (int value = -1; value <= 1; value++)
		{
			dsa_area   *mine = documents_area();

			memcpy(copy.bytes, stored.bytes, stored.size);
			memset(copy.bytes + i, value, Min(sizeof(uint32), stored.size - i));
			sc_store_load_begin();
			(void) sc_store_load(&copy);
			sc_store_load_end();
			attached_area = mine;
			forget_all();
		}

	/* without room for all: the one that was read last, and nothing of the other */
	fill();
	CHECK(save_all());
	start(8, 3);
	CHECK(load_all() == 1 && free_sections() == 1);

	/* an invalidation removes the file; if one is being written, it does not come to its place */
	start(8, 6);
	fill();
	CHECK(save_all() && access(DOCUMENTS, F_OK) == 0);
	sc_save_forget();
	CHECK(access(DOCUMENTS, F_OK) < 0 && load_all() == 0);
	fill();
	begin_writing();
	CHECK(write_document(writing.candidates[writing.next++].index));
	sc_store_clear(key_of("s"));
	sc_save_forget();
	CHECK(!write_some() && access(DOCUMENTS, F_OK) < 0 && access(UNFINISHED, F_OK) < 0);
	CHECK(save_all() && load_all() == 2);

	/* without documents there is no file */
	forget_all();
	CHECK(save_all() && access(DOCUMENTS, F_OK) < 0);

	/* the age: by the wall clock, unless that was set back; before the machine's clock began as well */
	chunk.labelled_at = 3 * SC_NS_PER_S;
	chunk.built_at = wall - 10 * USECS_PER_SEC;
	CHECK(labelled_at(&chunk, wall, now) == now - 10 * SC_NS_PER_S);
	chunk.built_at = wall - 2 * USECS_PER_SEC;
	CHECK(labelled_at(&chunk, wall, now) == now - 3 * SC_NS_PER_S);
	chunk.built_at = wall + USECS_PER_HOUR;
	CHECK(labelled_at(&chunk, wall, now) == now - 3 * SC_NS_PER_S);
	chunk.built_at = PG_INT64_MIN;
	CHECK(labelled_at(&chunk, wall, now) < now - INT64CONST(2000000000) * SC_NS_PER_S);
	PG_RETURN_VOID();
}
