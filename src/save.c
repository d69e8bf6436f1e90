/*-------------------------------------------------------------------------
 *
 * save.c
 *	  The file of documents, which outlives the server.
 *
 * The launcher writes the documents of all databases to one file: when it is told
 * to end, and every save_interval if one has changed.  The file is written beside
 * and renamed, so it is whole or it is not there.  Nobody waits for that: an entry is
 * locked, shared, for as long as its document is copied, and the copy is written
 * without a lock.  In between the launcher looks at its requests.
 *
 * The postmaster loads the file when it makes the shared memory, as the server's
 * own statistics modules do: so at the first connection the documents are there,
 * on a standby as well, and after a crash too.  There is nobody yet to lock out or
 * to race with.  It reads one document after the other, of each the checksum first,
 * and stops at what is wrong or does not fit.  Nothing that is wrong with the file
 * raises an error: it is one line in the log, and the documents are built anew.
 *
 * What is loaded is never a hit.  Its label says nothing (sc_label_is_loaded()), so
 * it is stale, at its true age, until it is built again.  And whether it is served
 * at all is found out at each read, by sc_build_match(): the definition is the same,
 * of the same incarnation, in the same database.  So the file may be older than a
 * drop or a new definition.  Who may read it is looked up at each read in any case.
 *
 * Only an invalidation would be undone by an older file.  So it removes the file,
 * and what is being written is not put in its place: see sc_save_forget().
 *
 * The file is in pg_stat_tmp, which the server keeps for such files of extensions.  It
 * leaves it alone when it starts, and pg_basebackup and pg_rewind leave it out.
 *
 * Locking: Saving.lock is taken for a rename or a removal, by the launcher and by who
 * invalidates, and by nobody who reads or writes.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "debug.h"
#include "save.h"
#include "settings.h"
#include "shmem.h"
#include "store.h"

#define DIRECTORY	PG_STAT_TMP_DIR
#define DOCUMENTS	DIRECTORY "/" SC_NAME ".documents"
#define UNFINISHED	DOCUMENTS ".tmp"

/* The number is of this file's layout; what chunks look like is in FileHeader.layout. */
#define MAGIC		"SCDOCS03"
#define MAGIC_LEN	8
#define KIND_LEN	6

/* How often it is noted what has been read. */
#define NOTE_NS		(60 * SC_NS_PER_S)

/* After an invalidation, the file is written again when the last time is so long ago. */
#define AGAIN_NS	(10 * SC_NS_PER_S)

/* What was read within this time before the file was written is refreshed without a reader. */
#define WANTED_US	(10 * 60 * USECS_PER_SEC)

/* One of these at a time. */
#define REFRESH_NS	(100 * SC_NS_PER_MS)

/* What was loaded and has not been read for this time since is not kept any longer: its summary may be gone. */
#define UNREAD_US	USECS_PER_DAY

/* Bytes that are written between two looks at the launcher's requests. */
#define STEP_BYTES	(4 * 1024 * 1024)

/* At the end of the launcher: tries, if somebody invalidates meanwhile. */
#define LAST_TRIES	3

typedef struct FileHeader
{
	char		magic[MAGIC_LEN];
	char		version[24];	/* of the library that has written it */
	uint32		server;			/* major version */
	uint32		layout;			/* of what follows */
	uint64		system;			/* its identifier */
	uint64		id;				/* of this file, by chance */
	uint64		size;			/* of the whole, bytes */
	TimestampTz saved_at;
	uint32		ndocuments;
	pg_crc32c	crc;			/* of what is above */
} FileHeader;

/* Before each document. */
typedef struct DocumentHeader
{
	uint64		id;				/* the file's */
	uint64		size;			/* bytes that follow */
	TimestampTz read_at;
	Oid			dboid;
	int32		nchunks;
	ScDocKey	key;
	uint32		values_size;	/* at the beginning of those bytes */
	ScOptions	options;
	pg_crc32c	bytes_crc;		/* of those bytes */
	pg_crc32c	crc;			/* of what is above */
} DocumentHeader;

/* In shared memory. */
typedef struct Saving
{
	LWLock		lock;			/* protects the rest, and the file's name */
	uint64		invalidations;	/* moved by each; the launcher compares it
								 * with what it saw before, without the lock
								 * as well: then it does something later */
	bool		exists;			/* the file may be there */
} Saving;

static Saving *saving = NULL;

/* An entry that is to be written. */
typedef struct Candidate
{
	int			index;
	TimestampTz read_at;
} Candidate;

/* What the launcher is writing; no file: nothing. */
typedef struct Writing
{
	FILE	   *file;
	MemoryContext context;		/* of all this */
	FileHeader	header;
	Candidate  *candidates;		/* the last read first */
	int			ncandidates;
	int			next;			/* of them */
	ScStored	stored;
	uint64		documents_size; /* written */
	uint64		flushed;		/* handed to the disk */
	uint64		invalidations;	/* when it began */
	uint64		signature;		/* of what there was then */
} Writing;

static Writing writing;

/* The launcher's; monotonic ns.  What it forgets by being started anew costs a write. */
static int64 save_due = 0;		/* 0: not known yet */
static int64 begun_at = 0;		/* of the last write */
static int64 note_due = 0;
static int64 refresh_due = 0;
static uint64 saved_signature = 0;	/* of what is in the file; 0: not known */
static uint64 known_invalidations = 0;
static bool is_failing = false;

/*-------------------------------------------------------------------------
 * The file
 *-------------------------------------------------------------------------
 */

static uint32
file_layout(void)
{
	uint32		sizes[] = {sizeof(FileHeader), sizeof(DocumentHeader), sizeof(ScChunk),
	offsetof(ScChunk, words), sizeof(ScWordSeen), MAXIMUM_ALIGNOF};

	return hash_bytes((unsigned char *) sizes, sizeof(sizes));
}

static pg_crc32c
checksum(const void *bytes, Size size)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, size);
	FIN_CRC32C(crc);
	return crc;
}

/* Remove a file that may not be there, for good.  False, with errno, if that cannot be done. */
static bool
remove_file(const char *path)
{
	int			fd;
	bool		durable;

	if (unlink(path) < 0)
		return errno == ENOENT;
	fd = OpenTransientFile(DIRECTORY, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return false;
	/* some file systems have no such thing for a directory */
	durable = pg_fsync(fd) == 0 || errno == EBADF || errno == EINVAL;
	CloseTransientFile(fd);
	return durable;
}

/*
 * An invalidated document must not come back after a crash.  It is gone from memory
 * before this is called.  What the launcher has copied before that is in a file that
 * is there by now, and is removed; or in one that is not, and then the launcher finds
 * that the number has moved, and does not rename it.
 */
void
sc_save_forget(void)
{
	int			failed = 0;

	if (saving == NULL)
	{
		/* not preloaded: nobody else is at it */
		if (!remove_file(DOCUMENTS))
			failed = errno;
	}
	else
	{
		LWLockAcquire(&saving->lock, LW_EXCLUSIVE);
		saving->invalidations++;
		if (saving->exists && !remove_file(DOCUMENTS))
			failed = errno;
		saving->exists = failed != 0;
		LWLockRelease(&saving->lock);
	}
	errno = failed;
	if (failed != 0)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", DOCUMENTS),
				 errdetail("Should the server crash before the file is written again, the invalidated document is served again as a stale one."),
				 errhint("Remove the file.")));
}

/*-------------------------------------------------------------------------
 * Loading
 *-------------------------------------------------------------------------
 */

/* What came of it. */
typedef struct Loading
{
	FILE	   *file;
	FileHeader	header;
	uint64		left;			/* bytes that are not read yet */
	int			loaded;
	bool		lacks_room;
	bool		lacks_memory;
	int			error;			/* errno of a read that failed */
	const char *reason;			/* why nothing more is loaded */
} Loading;

static bool
read_bytes(Loading *loading, void *to, Size size)
{
	errno = 0;
	if (size > loading->left || fread(to, 1, size, loading->file) != size)
	{
		loading->error = ferror(loading->file) ? errno : 0;
		loading->reason = "it is damaged";
		return false;
	}
	loading->left -= size;
	return true;
}

static bool
read_header(Loading *loading)
{
	FileHeader *header = &loading->header;
	struct stat status;

	if (fstat(fileno(loading->file), &status) < 0)
	{
		loading->error = errno;
		return false;
	}
	loading->left = status.st_size;
	if (!S_ISREG(status.st_mode))
		loading->reason = "it is no ordinary file";
	else if (!read_bytes(loading, header, sizeof(*header)))
		return false;
	else if (memcmp(header->magic, MAGIC, KIND_LEN) != 0)
		loading->reason = "it is damaged, or no file of documents";
	else if (memcmp(header->magic, MAGIC, MAGIC_LEN) != 0)
		loading->reason = "it is of another version";
	else if (header->crc != checksum(header, offsetof(FileHeader, crc)))
		loading->reason = "it is damaged";
	else if (strncmp(header->version, SC_VERSION, sizeof(header->version)) != 0 ||
			 header->server != PG_VERSION_NUM / 100 || header->layout != file_layout())
		loading->reason = "it is of another version";
	else if (header->system != GetSystemIdentifier())
		loading->reason = "it is of another database system";
	else if (header->size != (uint64) status.st_size)
		loading->reason = "it is damaged";
	return loading->reason == NULL;
}

/* The next document; false if there is to be no other. */
static bool
load_document(Loading *loading)
{
	DocumentHeader header;
	ScStored	stored = {0};

	if (!read_bytes(loading, &header, sizeof(header)))
		return false;
	if (header.crc != checksum(&header, offsetof(DocumentHeader, crc)) ||
		header.id != loading->header.id || header.size > loading->left)
	{
		loading->reason = "it is damaged";
		return false;
	}
	/* those that follow were not read for longer */
	if (header.size > (uint64) sc_memory_limit * 1024)
	{
		loading->lacks_room = true;
		return false;
	}
	stored.bytes = MemoryContextAllocExtended(CurrentMemoryContext, header.size,
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (stored.bytes == NULL)
	{
		loading->lacks_memory = true;
		return false;
	}
	stored.dboid = header.dboid;
	stored.key = header.key;
	stored.values_size = header.values_size;
	stored.options = header.options;
	stored.read_at = header.read_at;
	stored.is_wanted = header.read_at > loading->header.saved_at - WANTED_US;
	stored.nchunks = header.nchunks;
	stored.size = header.size;
	if (read_bytes(loading, stored.bytes, stored.size))
	{
		if (header.bytes_crc != checksum(stored.bytes, stored.size))
			loading->reason = "it is damaged";
		else
			switch (sc_store_load(&stored))
			{
				case SC_LOAD_DONE:
					loading->loaded++;
					break;
				case SC_LOAD_NO_ROOM:
					loading->lacks_room = true;
					break;
				case SC_LOAD_UNSOUND:
					loading->reason = "it is damaged";
					break;
			}
	}
	pfree(stored.bytes);
	return loading->reason == NULL && loading->error == 0 && !loading->lacks_room;
}

/* One line, whatever it was. */
static void
report_loading(const Loading *loading)
{
	uint32		all = loading->header.ndocuments;

	if (loading->error != 0)
	{
		errno = loading->error;
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", DOCUMENTS),
				 errdetail("Summaries whose documents were not loaded are built when they are read.")));
	}
	else if (loading->reason)
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is not loaded: %s", DOCUMENTS, loading->reason),
				 errdetail_plural("%d document was loaded. Other summaries are built when they are read.",
								  "%d documents were loaded. Other summaries are built when they are read.",
								  loading->loaded, loading->loaded)));
	else if (loading->lacks_room || loading->lacks_memory)
		ereport(LOG,
				(errcode(loading->lacks_room ? ERRCODE_CONFIGURATION_LIMIT_EXCEEDED : ERRCODE_OUT_OF_MEMORY),
				 errmsg("%d of %u documents were loaded from file \"%s\": there is no room for the others",
						loading->loaded, all, DOCUMENTS),
				 loading->lacks_room ?
				 errhint("Consider increasing summary_cache.memory_limit or summary_cache.max_sections.") : 0));
	else
		ereport(DEBUG1,
				(errmsg_internal("%d documents were loaded from file \"%s\"", loading->loaded, DOCUMENTS)));
}

/* Called where the shared memory is made: raises nothing. */
static void
load_documents(void)
{
	Loading		loading = {0};

	loading.file = AllocateFile(DOCUMENTS, PG_BINARY_R);
	if (loading.file == NULL)
	{
		if (errno == ENOENT)
			return;
		saving->exists = true;
		loading.error = errno;
		report_loading(&loading);
		return;
	}
	saving->exists = true;
	if (read_header(&loading))
	{
		sc_store_load_begin();
		for (uint32 i = 0; i < loading.header.ndocuments && load_document(&loading); i++)
			;
		sc_store_load_end();
	}
	(void) FreeFile(loading.file);
	report_loading(&loading);
}

/*-------------------------------------------------------------------------
 * Writing
 *-------------------------------------------------------------------------
 */

/* One line a streak.  errno is set. */
static void
note_failure(const char *path)
{
	if (!is_failing)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", path),
				 errdetail("Documents are not kept over a restart until it can be written.")));
	is_failing = true;
}

/* Nothing is being written any more; what was is removed. */
static void
give_up(void)
{
	if (writing.file)
	{
		(void) FreeFile(writing.file);
		(void) unlink(UNFINISHED);
	}
	if (writing.context)
		MemoryContextDelete(writing.context);
	memset(&writing, 0, sizeof(writing));
}

static void
fail_writing(void)
{
	note_failure(UNFINISHED);
	give_up();
}

static bool
write_bytes(const void *bytes, Size size)
{
	errno = 0;
	/* to a debug build that is to fail, the disk is full */
	if (!SC_FAILS("save") && fwrite(bytes, 1, size, writing.file) == size)
		return true;
	if (errno == 0)
		errno = ENOSPC;
	return false;
}

static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *x = a;
	const Candidate *y = b;

	return x->read_at > y->read_at ? -1 : x->read_at < y->read_at ? 1 : x->index - y->index;
}

/* A number that stands for the documents that there are. */
static uint64
documents_signature(void)
{
	uint64		sum = 1;
	Oid			dboid;

	for (int i = -1; (i = sc_store_next_used(i, &dboid)) >= 0;)
		sum = hash_combine64(sum, sc_store_version_now(i));
	return Max(sum, 1);
}

static uint64
count_invalidations(void)
{
	uint64		count;

	LWLockAcquire(&saving->lock, LW_SHARED);
	count = saving->invalidations;
	LWLockRelease(&saving->lock);
	return count;
}

/* First the number of invalidations, then the documents. */
static void
begin_writing(void)
{
	MemoryContext old;
	Oid			dboid;
	int			room = 64;

	known_invalidations = writing.invalidations = count_invalidations();
	writing.signature = documents_signature();
	writing.context = AllocSetContextCreate(TopMemoryContext, "summary_cache save", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(writing.context);
	writing.candidates = palloc(sizeof(Candidate) * room);
	for (int i = -1; (i = sc_store_next_used(i, &dboid)) >= 0;)
	{
		if (writing.ncandidates == room)
			writing.candidates = repalloc(writing.candidates, sizeof(Candidate) * (room *= 2));
		writing.candidates[writing.ncandidates].index = i;
		writing.candidates[writing.ncandidates++].read_at = sc_store_read_at(i);
	}
	MemoryContextSwitchTo(old);
	qsort(writing.candidates, writing.ncandidates, sizeof(Candidate), compare_candidates);

	memcpy(writing.header.magic, MAGIC, MAGIC_LEN);
	strlcpy(writing.header.version, SC_VERSION, sizeof(writing.header.version));
	writing.header.server = PG_VERSION_NUM / 100;
	writing.header.layout = file_layout();
	writing.header.system = GetSystemIdentifier();
	writing.header.size = sizeof(FileHeader);
	writing.header.saved_at = GetCurrentTimestamp();
	if (!pg_strong_random(&writing.header.id, sizeof(writing.header.id)))
		writing.header.id = (uint64) writing.header.saved_at;

	/* one that is left would keep its rights */
	(void) unlink(UNFINISHED);
	writing.file = AllocateFile(UNFINISHED, PG_BINARY_W);
	/* its header comes last */
	if (writing.file == NULL || !write_bytes(&writing.header, sizeof(writing.header)))
		fail_writing();
}

/* Write an entry's document, if it has one that is worth it; false, with errno, if that fails. */
static bool
write_document(int index)
{
	DocumentHeader header;
	ScStored   *stored = &writing.stored;
	MemoryContext old = MemoryContextSwitchTo(writing.context);
	bool		copied = sc_store_copy(index, stored);

	MemoryContextSwitchTo(old);
	/* they may have become more than there is room for, while they are copied */
	if (!copied ||
		(stored->is_old && stored->read_at < writing.header.saved_at - UNREAD_US) ||
		writing.documents_size + stored->size > (uint64) sc_memory_limit * 1024)
		return true;

	memset(&header, 0, sizeof(header));
	header.id = writing.header.id;
	header.size = stored->size;
	header.read_at = stored->read_at;
	header.dboid = stored->dboid;
	header.nchunks = stored->nchunks;
	header.key = stored->key;
	header.values_size = stored->values_size;
	header.options = stored->options;
	header.bytes_crc = checksum(stored->bytes, stored->size);
	header.crc = checksum(&header, offsetof(DocumentHeader, crc));
	if (!write_bytes(&header, sizeof(header)) || !write_bytes(stored->bytes, stored->size))
		return false;
	writing.documents_size += stored->size;
	writing.header.size += sizeof(header) + stored->size;
	writing.header.ndocuments++;
	return true;
}

/* All is written: put it in its place.  False if an invalidation came in between. */
static bool
finish_writing(void)
{
	uint64		mine = writing.invalidations;
	uint64		found = writing.signature;
	bool		is_empty = writing.header.ndocuments == 0;
	int			closed;
	bool		stale;

	writing.header.crc = checksum(&writing.header, offsetof(FileHeader, crc));
	if (fseeko(writing.file, 0, SEEK_SET) != 0 ||
		!write_bytes(&writing.header, sizeof(writing.header)) || fflush(writing.file) != 0)
	{
		fail_writing();
		return true;
	}
	closed = FreeFile(writing.file);
	writing.file = NULL;
	if (closed != 0)
	{
		fail_writing();
		(void) unlink(UNFINISHED);
		return true;
	}
	give_up();

	SC_POINT("save-written");
	LWLockAcquire(&saving->lock, LW_EXCLUSIVE);
	stale = saving->invalidations != mine;
	if (stale)
		(void) unlink(UNFINISHED);
	else if (is_empty)
	{
		(void) unlink(UNFINISHED);
		if (saving->exists && !remove_file(DOCUMENTS))
			note_failure(DOCUMENTS);
		else
			saving->exists = false;
	}
	else
	{
		/*
		 * it is there, and not the old one, even if it is not known to be
		 * durable
		 */
		saving->exists = true;
		if (durable_rename(UNFINISHED, DOCUMENTS, is_failing ? DEBUG1 : LOG) == 0)
		{
			is_failing = false;
			saved_signature = found;
		}
		else
			is_failing = true;
	}
	LWLockRelease(&saving->lock);
	return !stale;
}

/* Write for a while; false if there is more, or it is to be done once more. */
static bool
write_some(void)
{
	uint64		until = writing.documents_size + STEP_BYTES;

	while (writing.next < writing.ncandidates && writing.documents_size < until)
		if (!write_document(writing.candidates[writing.next++].index))
		{
			fail_writing();
			return true;
		}
	if (writing.next == writing.ncandidates)
		return finish_writing();

	/*
	 * the disk begins now, so that the launcher does not wait for all of it
	 * later
	 */
	if (fflush(writing.file) != 0)
	{
		fail_writing();
		return true;
	}
	pg_flush_data(fileno(writing.file), (off_t) writing.flushed,
				  (off_t) (writing.header.size - writing.flushed));
	writing.flushed = writing.header.size;
	return false;
}

static int64
next_save(int64 from)
{
	return sc_save_interval == 0 ? PG_INT64_MAX : from + sc_save_interval * SC_NS_PER_S;
}

int64
sc_save_work(int64 now)
{
	int64		wake_at;

	/* what the postmaster has loaded comes first */
	if (now >= refresh_due)
		refresh_due = sc_store_request_wanted() ? now + REFRESH_NS : PG_INT64_MAX;
	if (!sc_save)
		return refresh_due;

	if (now >= note_due)
	{
		sc_store_note_reads(GetCurrentTimestamp());
		note_due = now + NOTE_NS;
	}
	/* a new setting counts from the last write on */
	if (begun_at == 0)
		begun_at = now;
	save_due = next_save(begun_at);
	if (sc_save_interval > 0 && known_invalidations != saving->invalidations)
		save_due = Min(save_due, begun_at + AGAIN_NS);
	if (writing.file == NULL && now >= save_due)
	{
		begun_at = now;
		known_invalidations = saving->invalidations;
		sc_store_note_reads(GetCurrentTimestamp());
		if (is_failing || !saving->exists || saved_signature != documents_signature())
			begin_writing();
		save_due = next_save(begun_at);
	}
	if (writing.file)
	{
		(void) write_some();
		if (writing.file)
			return now;
	}
	wake_at = Min(note_due, save_due);
	return Min(wake_at, refresh_due);
}

/*
 * Documents that are published from here on are not in the file: it is written while
 * the server's other processes end.
 */
void
sc_save_finish(void)
{
	if (!sc_save)
		return;
	sc_store_note_reads(GetCurrentTimestamp());
	for (int i = 0; i < LAST_TRIES; i++)
	{
		bool		done = true;

		give_up();
		begin_writing();
		while (writing.file)
			done = write_some();
		if (done)
			break;
	}
}

/*-------------------------------------------------------------------------
 * Shared memory
 *-------------------------------------------------------------------------
 */

static Size
save_size(void)
{
	return CACHELINEALIGN(sizeof(Saving));
}

static void
save_attach(void)
{
	bool		found;

	saving = ShmemInitStruct(SC_NAME " save", sizeof(Saving), &found);
}

/* The server starts, or starts again after a crash. */
static void
save_start(int tranche)
{
	memset(saving, 0, sizeof(*saving));
	LWLockInitialize(&saving->lock, tranche);
	if (IsBinaryUpgrade)
		return;
	(void) unlink(UNFINISHED);
	if (sc_save)
		load_documents();
	else if (!remove_file(DOCUMENTS))
	{
		/* what is switched off leaves nothing behind that may come back */
		saving->exists = true;
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", DOCUMENTS)));
	}
}

void
sc_save_init(void)
{
	static const ScPart part = {save_size, save_attach, save_start};

	sc_shmem_add(&part);
}
