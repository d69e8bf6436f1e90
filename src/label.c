/*-------------------------------------------------------------------------
 *
 * label.c
 *	  Labels: what a document was built at, and whether it is current.
 *
 * On a primary a label is a list of words as they were seen; commit.c has the
 * protocol.
 *
 * On a hot standby no trigger fires and no transaction commits.  There the startup
 * process moves the words, as it replays commits (watch.c).  It knows what a
 * transaction has changed by the files in the WAL; so who labels a table enters its
 * file (filemap.c), before the snapshot of the build is taken.
 *
 * Where that cannot be, because the replay is not watched, because there is no room
 * in the map or because the table's access method is not the heap, a position in
 * the WAL stands for it.  All that a query on a standby can see has come by
 * replaying WAL: a document is what a query would give now, if nothing was replayed
 * since it was built.
 *
 * The position is the end of the last record that was replayed in full, read
 * before the snapshot of the build: what such records did is in the snapshot.
 * A reader compares it with the end of the record whose replay has begun last,
 * read after the reader's snapshot was taken: what is visible to that was done
 * by this record, or by those before it.  If the two are the same, all that the
 * reader sees is in the document.  The one position is moved after a record is
 * replayed and the other before, so neither can stand in for the other: with
 * the first on both sides, a reader would not notice the record that is just
 * being replayed, with the second a builder would claim it.
 *
 * Positions know nothing of single tables: any record makes all documents that
 * have one unproven.  Once the server is promoted no position proves anything.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_description.h"
#include "catalog/pg_shdepend.h"
#include "catalog/pg_shdescription.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_statistic_ext_data.h"
#include "catalog/pg_tablespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/relmapper.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "clock.h"
#include "extension.h"
#include "filemap.h"
#include "label.h"
#include "word_internal.h"

/*
 * The first use of a database in a server run: the transactions that were
 * prepared when the server started are in no cell, and nobody knows their
 * tables.  To be called before a label is read; may raise errors.
 */
static void
enter_prepared(int catch_all)
{
	uint64	   *xids = NULL;
	int			nxids = 0;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute("SELECT transaction, dbid FROM pg_catalog.pg_prepared_xact()",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the prepared transactions");
	if (SPI_processed > 0)
		xids = palloc(sizeof(uint64) * SPI_processed);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Datum		xid = SPI_getbinval(row, desc, 1, &isnull);
		Datum		dboid = SPI_getbinval(row, desc, 2, &isnull);

		if (sc_slot_may_cover(catch_all, DatumGetObjectId(dboid)))
			xids[nxids++] = sc_word_full_xid(DatumGetTransactionId(xid));
	}

	PopActiveSnapshot();
	sc_orphan_enter_found(catch_all, xids, nxids);
	SPI_finish();
}

/* Read the words of the catch-alls, which are always there: first the cluster's. */
static void
read_catch_alls(ScWordSeen *words, bool find_prepared)
{
	(void) sc_word_read(&words[0], SC_KEY_CLUSTER, SC_CLUSTER_SLOT);
	for (;;)
	{
		(void) sc_word_read(&words[1], SC_KEY_CATCH_ALL, SC_SLOT_NONE);
		(void) sc_word_read(&words[SC_NAMES_WORD], SC_KEY_NAMES, sc_slot_of_names());
		if (!find_prepared || sc_slot_at(words[1].slot)->prepared_known)
			return;
		enter_prepared(words[1].slot);
	}
}

/*-------------------------------------------------------------------------
 * Files
 *-------------------------------------------------------------------------
 */

/*
 * The file that a relation has now.  False if it has none: it is gone, it is a
 * partitioned table, or one whose rows are not in the WAL and cannot be read on a
 * standby.  Then nothing is to be noticed; by_heap says whether it would be.
 */
static bool
find_file(Oid relid, ScFile *file, Oid *toast, bool *by_heap)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class class;
	bool		has_file;

	*by_heap = true;
	*toast = InvalidOid;
	if (!HeapTupleIsValid(tuple))
		return false;
	class = (Form_pg_class) GETSTRUCT(tuple);
	*toast = class->reltoastrelid;
	has_file = class->relkind != RELKIND_PARTITIONED_TABLE &&
		class->relpersistence == RELPERSISTENCE_PERMANENT;
	*by_heap = !has_file || class->relam == HEAP_TABLE_AM_OID;
	file->number = OidIsValid(class->relfilenode) ? class->relfilenode :
		SC_MAPPED_FILE(relid, class->relisshared);
	file->database = class->relisshared ? InvalidOid : MyDatabaseId;
	file->tablespace = class->relisshared ? GLOBALTABLESPACE_OID :
		OidIsValid(class->reltablespace) ? class->reltablespace : MyDatabaseTableSpace;
	ReleaseSysCache(tuple);
	return has_file;
}

/* A word stands for the file of a table; false if that cannot be. */
static bool
enter_table(Oid relid, int slot, uint64 revision)
{
	ScFile		file;
	Oid			toast;
	bool		by_heap;

	return find_file(relid, &file, &toast, &by_heap) ?
		by_heap && sc_filemap_add(&file, slot, revision) : by_heap;
}

/* No answer depends on a catalog, nor on what is too long for its rows. */
static bool
enter_harmless(Oid catalog, uint64 revision)
{
	ScFile		file;
	Oid			toast;
	bool		by_heap;

	if (find_file(catalog, &file, &toast, &by_heap) && !sc_filemap_add_harmless(&file, revision))
		return false;
	return !OidIsValid(toast) || enter_harmless(toast, revision);
}

/*
 * On a standby: enter what every label needs, unless somebody has done so since the
 * catch-alls, which have just been read, have moved.  The tables of the definitions
 * have the catch-all's word, as on a primary.
 */
static bool
enter_database(const ScWordSeen *cluster, const ScWordSeen *catch_all)
{
	static const char *const own_tables[] = {SC_DEFINITION_TABLE, SC_OPTION_TABLE, SC_READER_TABLE};
	static const Oid harmless[] = {StatisticRelationId, StatisticExtDataRelationId, DescriptionRelationId};

	/*
	 * who owns or uses what: whatever is of concern is written elsewhere as
	 * well; settings of sessions that begin
	 */
	static const Oid harmless_shared[] = {SharedDependRelationId, SharedDescriptionRelationId, DbRoleSettingRelationId};
	Oid			schema;
	bool		all;

	if (sc_filemap_has_database(MyDatabaseId, catch_all->revision, cluster->revision))
		return true;

	/* of what the words have */
	AcceptInvalidationMessages();
	all = sc_filemap_add_database(MyDatabaseId, catch_all->slot);
	schema = sc_extension_tables_schema();
	for (int i = 0; all && OidIsValid(schema) && i < lengthof(own_tables); i++)
		all = enter_table(get_relname_relid(own_tables[i], schema), catch_all->slot, catch_all->revision);
	for (int i = 0; all && i < lengthof(harmless); i++)
		all = enter_harmless(harmless[i], catch_all->revision);
	for (int i = 0; all && i < lengthof(harmless_shared); i++)
		all = enter_harmless(harmless_shared[i], cluster->revision);

	if (!all || !sc_label_settle_files())
		return false;
	sc_filemap_note_database(MyDatabaseId, catch_all->slot, catch_all->revision, cluster->revision);
	return true;
}

bool
sc_label_needs_files(const ScLabel *label)
{
	return RecoveryInProgress() && !sc_label_has_position(label);
}

bool
sc_label_enter_file(const ScLabel *label, Oid relid, uint64 key)
{
	const ScWordSeen *catch_all = &label->words[1];
	int			slot = sc_slot_find(key, false);

	/* without a slot, it is the catch-all's */
	return enter_table(relid, slot == SC_SLOT_NONE ? (int) catch_all->slot : slot, catch_all->revision);
}

bool
sc_label_settle_files(void)
{
	return SC_WEAK(SC_PROTOCOL_WATCH_UNSETTLED) || SC_WEAK(SC_PROTOCOL_WATCH_BEFORE) || sc_filemap_settle();
}

void
sc_label_add_position(ScLabel *label)
{
	label->replayed = SC_WEAK(SC_PROTOCOL_BEGUN_ONLY) ? GetCurrentReplayRecPtr(NULL) :
		GetXLogReplayRecPtr(NULL);
}

/*-------------------------------------------------------------------------
 * Labels
 *-------------------------------------------------------------------------
 */

/*
 * To be called before the snapshot of the build is taken: first the time, then
 * the words and the position, then the snapshot.
 */
void
sc_label_begin(ScLabel *label, ScWordSeen *room, bool find_prepared)
{
	bool		in_recovery = RecoveryInProgress();

	label->words = room;
	label->nwords = SC_CATCH_ALLS;
	label->definition = 0;
	label->read_at = sc_clock_now();
	label->replayed = InvalidXLogRecPtr;

	/* what is prepared on a standby is in nobody's way until it is promoted */
	read_catch_alls(room, find_prepared && !in_recovery);
	if (in_recovery && (!sc_filemap_is_watched() || !enter_database(&room[0], &room[1])))
		sc_label_add_position(label);
}

bool
sc_label_add(ScLabel *label, const ScSlotRef *ref)
{
	/* without a slot, writers use the catch-all, which is in the label */
	if (!sc_word_read(&label->words[label->nwords], ref->key, ref->slot))
		return false;
	label->nwords++;
	return true;
}

void
sc_label_add_key(ScLabel *label, int slot)
{
	Assert(sc_slot_is_key(slot));
	label->words[label->nwords].slot = (uint32) slot;
	label->words[label->nwords++].revision = sc_word_revision(slot);
}

/* Something that it was built from might change unnoticed. */
void
sc_label_add_never(ScLabel *label)
{
	label->words[label->nwords].slot = SC_CLUSTER_SLOT;
	label->words[label->nwords++].revision = SC_NEVER_CURRENT;
}

bool
sc_label_is_never_current(const ScLabel *label)
{
	for (int i = 0; i < label->nwords; i++)
		if (label->words[i].revision == SC_NEVER_CURRENT)
			return true;
	return false;
}

ScProof
sc_label_prove(const ScLabel *label, Snapshot snapshot)
{
	if (sc_label_has_position(label) &&
		(!RecoveryInProgress() || GetCurrentReplayRecPtr(NULL) != label->replayed) &&
		!(SC_WEAK(SC_PROTOCOL_REPLAYED_ONLY) && RecoveryInProgress() &&
		  GetXLogReplayRecPtr(NULL) == label->replayed))
		return SC_MOVED;
	return sc_word_prove(label->words, label->nwords, snapshot);
}

/*
 * What is replayed on a standby says nothing of names, so there the catch-all word
 * moves with all DDL.
 */
bool
sc_label_holds_but_for_names(const ScLabel *label, Snapshot snapshot)
{
	return label->nwords >= SC_CATCH_ALLS && !sc_label_has_position(label) &&
		sc_word_prove(label->words, SC_NAMES_WORD, snapshot) == SC_CURRENT &&
		sc_word_prove(label->words + SC_NAMES_WORD + 1, label->nwords - SC_NAMES_WORD - 1, snapshot) == SC_CURRENT;
}

/* When a word has first changed since it was seen: see sc_label_changed_at(). */
static TimestampTz
word_changed_at(const ScWordSeen *seen)
{
	uint64		word = pg_atomic_read_u64(sc_word_at((int) seen->slot));
	ScSlot	   *slot;

	if (SC_REVISION(word) == seen->revision)
		return SC_PENDING(word) > 0 ? GetCurrentTimestamp() : DT_NOEND;
	if (sc_slot_is_key((int) seen->slot))
		return DT_NOBEGIN;
	slot = sc_slot_at((int) seen->slot);
	for (int i = 0; i < SC_SLOT_CHANGES; i++)
	{
		uint64		change = pg_atomic_read_u64(&slot->changes[i]);

		if (SC_CHANGE_IS_OF(change, seen->revision + 1))
			return SC_CHANGE_AT(change);
	}
	return DT_NOBEGIN;
}

TimestampTz
sc_label_changed_at(const ScLabel *label)
{
	TimestampTz at = DT_NOEND;

	if (sc_label_has_position(label) || sc_label_is_never_current(label))
		return DT_NOBEGIN;
	for (int i = 0; i < label->nwords; i++)
		at = Min(at, word_changed_at(&label->words[i]));
	return at;
}

/*
 * Is what was built at a position waiting for a record whose replay has begun,
 * and for nothing else?  What is built meanwhile gets the same label: not
 * before the record is replayed can it be proven.  That may take as long as a
 * conflict with queries (max_standby_streaming_delay).
 */
bool
sc_label_is_amid_replay(XLogRecPtr replayed)
{
	return !XLogRecPtrIsInvalid(replayed) && RecoveryInProgress() &&
		GetXLogReplayRecPtr(NULL) == replayed && GetCurrentReplayRecPtr(NULL) != replayed;
}
