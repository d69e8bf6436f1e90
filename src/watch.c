/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  A standby watches what it replays, and moves its own words.
 *
 * On a standby no trigger fires and nothing commits.  But all that becomes visible
 * there goes through the startup process, as records in the WAL.  So the startup
 * process does for each commit record what a committing backend does on a primary
 * (commit.c), and readers prove by words as they do there.
 *
 * What it hooks into is the table of the resource managers, whose redo functions
 * it wraps.  Of the primary it needs nothing; but one with the library spares it
 * temporary tables.
 *
 *	1.	A record that changes rows of a heap notes the file for its transaction, in
 *		memory of the startup process.
 *	2.	At a commit record, before the original redo: the counter of filemap.c is
 *		made odd; the words of the files that the transaction and its
 *		subtransactions have noted are looked up; the xid goes into the startup
 *		process's cell; each word gets one more pending.
 *	3.	The original redo makes the transaction visible, and sends its
 *		invalidations.
 *	4.	Revision + 1, pending - 1; the cell is emptied; the counter is made even.
 *
 * A prepared transaction counts at its COMMIT PREPARED.
 *
 * What is not known counts for everything, that is, for the catch-all of the
 * transaction's database, or of the cluster if that is not known either:
 *
 *	-	a transaction whose xid may have been assigned before the watching began:
 *		some of its records may have come before;
 *	-	one whose files there was no memory for, which is bounded;
 *	-	one that has sent invalidations, so has changed catalogs, and has changed
 *		any file that is neither a source's nor of a catalog that no answer depends
 *		on, as ANALYZE does.  What it has changed otherwise it has changed in place,
 *		which no query sees.  Files of its own database do not count if the primary
 *		has said that all this belongs to temporary relations (assure.c).
 *
 * When recovery ends, transactions that are still prepared become orphans as
 * after a restart, before anybody can finish them.  So documents that were built
 * on the standby stay proven.
 *
 * The startup process must not fail or wait because of us: nothing here raises an
 * error, waits for a lock or allocates, but for what sc_watch_begin() and
 * sc_watch_end() do when recovery begins and ends.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "access/transam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "storage/standbydefs.h"
#include "utils/memutils.h"

#include "assure.h"
#include "filemap.h"
#include "request.h"
#include "settings.h"
#include "watch.h"
#include "word_internal.h"

typedef void (*Redo) (XLogReaderState *record);

static Redo heap_redo_next;
static Redo heap2_redo_next;
static Redo xact_redo_next;
static Redo standby_redo_next;
static Redo message_redo_next;
static void (*startup_next) (void);
static void (*cleanup_next) (void);

/*
 * What a transaction or subtransaction has changed.  There is a fixed number of
 * notes; those that are not in use are in a list.
 */
#define FILES_IN_NOTE	4
#define MAX_NOTES		16384
#define MAX_BUCKETS		8192	/* a power of two */
#define MAX_NOTES_OF_ONE	16	/* who changes more files counts for
								 * everything */

typedef struct Note
{
	TransactionId xid;
	int			next;			/* in the bucket, or free */
	int			more;			/* the same transaction's next note, which is
								 * in no bucket */
	Oid			database;		/* InvalidOid: not known */
	Oid			assured;		/* the database in whose catalogs it has
								 * changed only what is temporary; InvalidOid:
								 * none */
	uint8		nfiles;
	bool		everything;		/* it counts for everything */
	bool		refused;		/* that was taken back */
	ScFile		files[FILES_IN_NOTE];
} Note;

static Note *notes = NULL;		/* NULL: nothing is watched */
static int	buckets[MAX_BUCKETS];	/* -1: none */
static int	free_note;			/* -1: none */

/* What was noted last: a record is often of the same transaction as the one before, and of the same file. */
static TransactionId last_xid = InvalidTransactionId;
static Note *last_note;			/* NULL: there was no memory for it */
static ScFile last_file;

/* A transaction with an xid before this counts for everything; invalid: none does. */
static TransactionId known_from = InvalidTransactionId;

/* The words of the commit that is being replayed. */
#define MAX_WORDS	128

typedef struct Commit
{
	int			nwords;
	int			slots[MAX_WORDS];
	bool		all;			/* too many, or of what is not known where:
								 * the cluster's word */
	Oid			assured;		/* see assured_database() */
} Commit;

/*-------------------------------------------------------------------------
 * Notes
 *-------------------------------------------------------------------------
 */

/* Xids come one after the other, so these are spread already. */
static inline uint32
bucket_of(TransactionId xid)
{
	return xid & (MAX_BUCKETS - 1);
}

static inline Note *
find_note(TransactionId xid)
{
	for (int i = buckets[bucket_of(xid)]; i >= 0; i = notes[i].next)
		if (notes[i].xid == xid)
			return &notes[i];
	return NULL;
}

/* A note with nothing in it; NULL if there is none left. */
static Note *
take_note(TransactionId xid)
{
	Note	   *note;

	if (free_note < 0)
		return NULL;
	note = &notes[free_note];
	free_note = note->next;
	note->xid = xid;
	note->next = note->more = -1;
	note->database = note->assured = InvalidOid;
	note->nfiles = 0;
	note->everything = note->refused = false;
	return note;
}

/* Whatever has an xid by now counts for everything. */
static void
forget_all_xids(void)
{
	known_from = XidFromFullTransactionId(SC_NEXT_FULL_XID);
}

/* The note of a transaction; NULL if there is no memory for one, so that it counts for everything. */
static Note *
need_note(TransactionId xid)
{
	Note	   *note = find_note(xid);
	uint32		bucket = bucket_of(xid);

	if (note)
		return note;
	note = take_note(xid);
	if (note)
	{
		note->next = buckets[bucket];
		buckets[bucket] = note - notes;
	}
	else
		forget_all_xids();
	return note;
}

/* A file may be in the first note more than once: most transactions change no more files than it has room for. */
static void
note_file_more(Note *note, const ScFile *file)
{
	Note	   *tail;
	int			n = 1;

	for (tail = note;; tail = &notes[tail->more], n++)
	{
		for (int i = 0; i < tail->nfiles; i++)
			if (tail->files[i].number == file->number && tail->files[i].database == file->database &&
				tail->files[i].tablespace == file->tablespace)
				return;
		if (tail->more < 0)
			break;
	}
	if (note->everything)
		return;
	if (tail->nfiles == FILES_IN_NOTE)
	{
		Note	   *more = n < MAX_NOTES_OF_ONE ? take_note(note->xid) : NULL;

		if (more == NULL)
		{
			note->everything = true;
			return;
		}
		tail->more = more - notes;
		tail = more;
	}
	tail->files[tail->nfiles++] = *file;
}

static inline void
note_file(Note *note, const ScFile *file)
{
	if (OidIsValid(file->database))
		note->database = file->database;
	if (note->nfiles < FILES_IN_NOTE)
		note->files[note->nfiles++] = *file;
	else
		note_file_more(note, file);
}

/* The transaction is over. */
static void
drop_note(TransactionId xid)
{
	int		   *link = &buckets[bucket_of(xid)];

	if (xid == last_xid)
	{
		last_xid = InvalidTransactionId;
		last_note = NULL;
	}
	while (*link >= 0 && notes[*link].xid != xid)
		link = &notes[*link].next;
	if (*link >= 0)
	{
		int			first = *link;

		*link = notes[first].next;
		for (int i = first, more; i >= 0; i = more)
		{
			more = notes[i].more;
			notes[i].next = free_note;
			free_note = i;
		}
	}
}

static void
drop_notes(TransactionId xid, int nsubxacts, TransactionId *subxacts)
{
	drop_note(xid);
	for (int i = 0; i < nsubxacts; i++)
		drop_note(subxacts[i]);
}

/* Of transactions that have ended without a record, with their server. */
static void
drop_notes_before(TransactionId oldest)
{
	for (int b = 0; b < MAX_BUCKETS; b++)
		for (int i = buckets[b], next; i >= 0; i = next)
		{
			next = notes[i].next;
			if (TransactionIdPrecedes(notes[i].xid, oldest))
				drop_note(notes[i].xid);
		}
	if (TransactionIdIsValid(known_from) && !TransactionIdPrecedes(oldest, known_from))
		known_from = InvalidTransactionId;
}

/*-------------------------------------------------------------------------
 * A commit
 *-------------------------------------------------------------------------
 */

static void
add_word(Commit *commit, int slot)
{
	for (int i = 0; i < commit->nwords; i++)
		if (commit->slots[i] == slot)
			return;
	if (commit->nwords == MAX_WORDS)
	{
		commit->all = true;
		return;
	}
	commit->slots[commit->nwords++] = slot;
}

/* The slot of a database's catch-all; false if nobody has entered it: then no label is of the database. */
static bool
find_catch_all(Oid database, int *slot)
{
	ScFile		whole = {InvalidOid, database, InvalidOid};
	uint64		revision;

	return sc_filemap_find(&whole, slot, &revision) == SC_FILE_WORD;
}

/* Everything in a database, or in the cluster. */
static void
add_database(Commit *commit, Oid database)
{
	int			slot;

	if (!OidIsValid(database))
		commit->all = true;
	else if (find_catch_all(database, &slot))
		add_word(commit, slot);
}

/* What a file is, if that was entered since the catch-all has moved. */
static ScFileKind
kind_of(const ScFile *file, int *slot)
{
	int			catch_all = SC_CLUSTER_SLOT;
	uint64		revision;
	ScFileKind	kind = sc_filemap_find(file, slot, &revision);

	if (kind == SC_FILE_UNKNOWN ||
		(OidIsValid(file->database) && !find_catch_all(file->database, &catch_all)) ||
		sc_word_revision(catch_all) != revision)
		return SC_FILE_UNKNOWN;
	return kind;
}

/* The database in whose catalogs a transaction has changed nothing of concern, as it says itself (assure.c). */
static Oid
assured_database(TransactionId xid)
{
	const Note *note = find_note(xid);

	return note && !note->refused ? note->assured : InvalidOid;
}

static void
add_file(Commit *commit, const ScFile *file, bool changed_catalogs)
{
	int			slot;
	ScFileKind	kind = kind_of(file, &slot);

	if (kind == SC_FILE_WORD)
		add_word(commit, slot);
	else if (kind == SC_FILE_UNKNOWN && changed_catalogs &&
			 !(OidIsValid(file->database) && file->database == commit->assured))
		add_database(commit, file->database);
}

static void
add_transaction(Commit *commit, TransactionId xid, const xl_xact_parsed_commit *parsed)
{
	Note	   *note = xid == last_xid ? last_note : find_note(xid);
	bool		everything = note && note->everything;

	if (TransactionIdIsValid(known_from) && TransactionIdPrecedes(xid, known_from) &&
		!SC_WEAK(SC_PROTOCOL_WATCH_ALL_KNOWN))
		everything = true;
	if (everything)
		add_database(commit, note && OidIsValid(note->database) ? note->database : parsed->dbId);
	for (; note; note = note->more >= 0 ? &notes[note->more] : NULL)
		for (int i = 0; i < note->nfiles; i++)
			add_file(commit, &note->files[i], parsed->nmsgs > 0);
}

static void
place_words(const Commit *commit)
{
	for (int i = 0; i < commit->nwords; i++)
		sc_word_add_pending(commit->slots[i]);
	if (commit->all)
		sc_word_add_pending(SC_CLUSTER_SLOT);
}

static void
publish_word(int slot, TimestampTz time, bool *eager)
{
	sc_word_note_change(slot, sc_word_publish(slot), time);
	*eager = *eager || sc_slot_is_eager(slot);
}

static void
publish_words(const Commit *commit, TimestampTz time)
{
	bool		eager = false;

	for (int i = 0; i < commit->nwords; i++)
		publish_word(commit->slots[i], time, &eager);
	if (commit->all)
		publish_word(SC_CLUSTER_SLOT, time, &eager);
	if (eager)
		sc_request_wake_launcher();
}

static void
replay_commit(XLogReaderState *record, TransactionId xid, xl_xact_parsed_commit *parsed)
{
	ScCell	   *cell = sc_cell_of_replay();
	Commit		commit;

	commit.nwords = 0;
	commit.all = false;
	/* what subtransactions say counts for nothing: it is said at the commit */
	commit.assured = parsed->nmsgs > 0 ? assured_database(xid) : InvalidOid;
	sc_filemap_begin_commit();
	add_transaction(&commit, xid, parsed);
	for (int i = 0; i < parsed->nsubxacts; i++)
		add_transaction(&commit, parsed->subxacts[i], parsed);

	pg_atomic_write_u64(&cell->xid, xid);
	pg_memory_barrier();
	if (SC_WEAK(SC_PROTOCOL_WATCH_BEFORE))
	{
		place_words(&commit);
		publish_words(&commit, parsed->xact_time);
	}
	else if (!SC_WEAK(SC_PROTOCOL_WATCH_AFTER))
		place_words(&commit);
	SC_POINT("replay-pending");

	xact_redo_next(record);

	SC_POINT("replay-visible");
	if (SC_WEAK(SC_PROTOCOL_WATCH_AFTER))
		place_words(&commit);
	if (!SC_WEAK(SC_PROTOCOL_WATCH_BEFORE))
		publish_words(&commit, parsed->xact_time);
	SC_POINT("replay-published");
	/* the adds are full barriers, and so is this */
	pg_atomic_write_u64(&cell->xid, SC_CELL_EMPTY);
	sc_filemap_end_commit();

	drop_notes(xid, parsed->nsubxacts, parsed->subxacts);
}

/*-------------------------------------------------------------------------
 * Redo functions
 *-------------------------------------------------------------------------
 */

/* A record that changes rows, of the relation whose file its first block is in. */
static inline void
note_record(XLogReaderState *record)
{
	TransactionId xid = XLogRecGetXid(record);
	const		SC_RECORD_FILE *file = SC_RECORD_GET_FILE(record);

	if (xid == last_xid && file->SC_FILE_NUMBER == last_file.number &&
		file->SC_FILE_DATABASE == last_file.database && file->SC_FILE_TABLESPACE == last_file.tablespace)
		return;
	if (xid != last_xid)
	{
		if (!TransactionIdIsValid(xid))
			return;
		last_xid = xid;
		last_note = need_note(xid);
	}
	last_file.tablespace = file->SC_FILE_TABLESPACE;
	last_file.database = file->SC_FILE_DATABASE;
	last_file.number = file->SC_FILE_NUMBER;
	if (last_note)
		note_file(last_note, &last_file);
}

static void
watched_heap_redo(XLogReaderState *record)
{
	switch (XLogRecGetInfo(record) & XLOG_HEAP_OPMASK)
	{
		case XLOG_HEAP_INSERT:
		case XLOG_HEAP_DELETE:
		case XLOG_HEAP_UPDATE:
		case XLOG_HEAP_HOT_UPDATE:
			note_record(record);
			break;
		default:
			/* locks, changes in place, the end of a speculative insertion */
			break;
	}
	heap_redo_next(record);
}

static void
watched_heap2_redo(XLogReaderState *record)
{
	if ((XLogRecGetInfo(record) & XLOG_HEAP_OPMASK) == XLOG_HEAP2_MULTI_INSERT)
		note_record(record);
	heap2_redo_next(record);
}

static void
watched_xact_redo(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record);
	uint8		what = info & XLOG_XACT_OPMASK;

	if (what == XLOG_XACT_COMMIT || what == XLOG_XACT_COMMIT_PREPARED)
	{
		static xl_xact_parsed_commit plain;
		xl_xact_parsed_commit parsed;

		/* most have only a time */
		if (what == XLOG_XACT_COMMIT && (info & XLOG_XACT_HAS_INFO) == 0)
		{
			plain.xact_time = ((xl_xact_commit *) XLogRecGetData(record))->xact_time;
			replay_commit(record, XLogRecGetXid(record), &plain);
			return;
		}
		ParseCommitRecord(info, (xl_xact_commit *) XLogRecGetData(record), &parsed);
		replay_commit(record, what == XLOG_XACT_COMMIT ? XLogRecGetXid(record) : parsed.twophase_xid,
					  &parsed);
		return;
	}
	xact_redo_next(record);
	if (what == XLOG_XACT_ABORT || what == XLOG_XACT_ABORT_PREPARED)
	{
		xl_xact_parsed_abort parsed;

		ParseAbortRecord(info, (xl_xact_abort *) XLogRecGetData(record), &parsed);
		drop_notes(what == XLOG_XACT_ABORT ? XLogRecGetXid(record) : parsed.twophase_xid,
				   parsed.nsubxacts, parsed.subxacts);
	}
}

static void
watched_standby_redo(XLogReaderState *record)
{
	standby_redo_next(record);
	if ((XLogRecGetInfo(record) & ~XLR_INFO_MASK) == XLOG_RUNNING_XACTS)
		drop_notes_before(((xl_running_xacts *) XLogRecGetData(record))->oldestRunningXid);
}

static void
watched_message_redo(XLogReaderState *record)
{
	TransactionId xid = XLogRecGetXid(record);
	Oid			database;
	ScAssurance assurance = sc_assure_read(record, &database);

	if (assurance != SC_ASSURANCE_NONE && TransactionIdIsValid(xid))
	{
		Note	   *note = need_note(xid);

		if (note && assurance == SC_ASSURANCE_GIVEN)
			note->assured = database;
		else if (note)
			note->refused = true;
	}
	message_redo_next(record);
}

/*-------------------------------------------------------------------------
 * Recovery begins and ends
 *-------------------------------------------------------------------------
 */

static void
unwrap(void)
{
	RmgrTable[RM_HEAP_ID].rm_redo = heap_redo_next;
	RmgrTable[RM_HEAP2_ID].rm_redo = heap2_redo_next;
	RmgrTable[RM_XACT_ID].rm_redo = xact_redo_next;
	RmgrTable[RM_STANDBY_ID].rm_redo = standby_redo_next;
	RmgrTable[RM_LOGICALMSG_ID].rm_redo = message_redo_next;
}

/* Before the first record is replayed. */
static void
watch_begin(void)
{
	if (startup_next)
		startup_next();

	/* nobody reads while a server recovers from a crash */
	if (sc_watch_replay && ArchiveRecoveryRequested && EnableHotStandby)
		notes = MemoryContextAllocExtended(TopMemoryContext, sizeof(Note) * MAX_NOTES,
										   MCXT_ALLOC_NO_OOM);
	if (notes == NULL)
	{
		unwrap();
		return;
	}
	for (int i = 0; i < MAX_NOTES; i++)
		notes[i].next = i + 1 < MAX_NOTES ? i + 1 : -1;
	free_note = 0;
	memset(buckets, -1, sizeof(buckets));
	forget_all_xids();
	sc_filemap_begin_watching();
}

/*
 * After the last record was replayed, and before the server writes.  What is
 * prepared can be finished soon: nobody else knows what it has changed.
 */
static void
watch_end(void)
{
	TransactionId *xids;
	int			nxids;

	if (cleanup_next)
		cleanup_next();
	if (notes == NULL)
		return;

	(void) PrescanPreparedTransactions(&xids, &nxids);
	for (int i = 0; i < nxids; i++)
	{
		Note	   *note = find_note(xids[i]);
		Commit		commit = {0};
		uint32		slot = SC_CLUSTER_SLOT;

		/* labels may yet be begun in a database in which there are none */
		if (note)
			add_database(&commit, note->database);
		if (commit.nwords > 0)
			slot = commit.slots[0];
		sc_word_add_pending(slot);
		sc_orphan_enter(sc_word_full_xid(xids[i]), &slot, 1, true);
	}
}

void
sc_watch_init(void)
{
	if (!sc_watch_replay)
		return;
	heap_redo_next = RmgrTable[RM_HEAP_ID].rm_redo;
	heap2_redo_next = RmgrTable[RM_HEAP2_ID].rm_redo;
	xact_redo_next = RmgrTable[RM_XACT_ID].rm_redo;
	standby_redo_next = RmgrTable[RM_STANDBY_ID].rm_redo;
	message_redo_next = RmgrTable[RM_LOGICALMSG_ID].rm_redo;
	startup_next = RmgrTable[RM_XACT_ID].rm_startup;
	cleanup_next = RmgrTable[RM_XACT_ID].rm_cleanup;
	RmgrTable[RM_HEAP_ID].rm_redo = watched_heap_redo;
	RmgrTable[RM_HEAP2_ID].rm_redo = watched_heap2_redo;
	RmgrTable[RM_XACT_ID].rm_redo = watched_xact_redo;
	RmgrTable[RM_STANDBY_ID].rm_redo = watched_standby_redo;
	RmgrTable[RM_LOGICALMSG_ID].rm_redo = watched_message_redo;
	RmgrTable[RM_XACT_ID].rm_startup = watch_begin;
	RmgrTable[RM_XACT_ID].rm_cleanup = watch_end;
}
