/*-------------------------------------------------------------------------
 *
 * filemap.h
 *	  On a standby: which word stands for a relation's file.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SC_FILEMAP_H
#define SC_FILEMAP_H

#include "word.h"

/* The file of a relation, as WAL records name it. */
typedef struct ScFile
{
	Oid			tablespace;
	Oid			database;		/* InvalidOid: of a shared catalog */
	Oid			number;			/* InvalidOid: stands for the whole database */
} ScFile;

/* What a file is to those who read. */
typedef enum ScFileKind
{
	SC_FILE_UNKNOWN,			/* of no source; perhaps a catalog's */
	SC_FILE_WORD,				/* a word stands for it */
	SC_FILE_HARMLESS			/* of a catalog that no answer depends on */
} ScFileKind;

extern void sc_filemap_init(void);	/* from _PG_init */

/*
 * For who builds, in a transaction, before the snapshot is taken: with the revision
 * of the catch-all, as the label has it.  Each takes the map's lock for a moment.
 * False: there is no room in the map.
 */
extern bool sc_filemap_add(const ScFile *file, int slot, uint64 revision);
extern bool sc_filemap_add_harmless(const ScFile *file, uint64 revision);

/* A database, and which word is its catch-all. */
extern bool sc_filemap_add_database(Oid dboid, int catch_all);

/* Is all entered that every label in a database needs, as of these revisions of the catch-alls? */
extern bool sc_filemap_has_database(Oid dboid, uint64 revision, uint64 cluster_revision);
extern void sc_filemap_note_database(Oid dboid, int catch_all, uint64 revision, uint64 cluster_revision);

/*
 * Wait until no commit is being replayed that may have been looked up before the
 * last addition; false if that takes too long.  Sleeps, can be cancelled.
 */
extern bool sc_filemap_settle(void);

/* Is the replay watched?  Not before the startup process has begun to. */
extern bool sc_filemap_is_watched(void);

/* For the startup process, and for nobody else: no lock, no error. */
extern void sc_filemap_begin_watching(void);
extern ScFileKind sc_filemap_find(const ScFile *file, int *slot, uint64 *revision);
extern void sc_filemap_begin_commit(void);	/* full barriers */
extern void sc_filemap_end_commit(void);

#endif							/* SC_FILEMAP_H */
