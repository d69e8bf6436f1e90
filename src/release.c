/*-------------------------------------------------------------------------
 *
 * release.c
 *	  What the end of a transaction gives back.
 *
 * What is dropped gives its entry, its document and its slots back to all
 * databases when the drop commits, and not before: until then others read it,
 * and would only take new ones.  A definition that is rolled back leaves no slot
 * in use.  Subtransactions count: a definition may fail in an exception block.
 *
 * A builder that has read the definition before the drop was visible does not
 * publish afterwards: the entry that it began with is gone.  One that begins
 * later finds that its definition is unproven, since the drop is in commit, and
 * reads it anew.
 *
 * PREPARE forgets all this: who finishes the transaction knows nothing of it.
 * What was dropped is then the least recently read, and gives way when its room
 * is needed; its slots are found by the next definition of the database that
 * needs one.
 *
 * Locking: ScShared.lock and entries' locks, each for a moment, also while a
 * transaction commits; nothing is allocated then.
 *
 * Portions Copyright (c) 2026, summary_cache contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "release.h"
#include "shmem.h"
#include "store.h"
#include "word.h"

typedef enum NoteKind
{
	NOTE_SUMMARY,
	NOTE_DATABASE,
	NOTE_SLOT,
	NOTE_SLOT_ON_ABORT
} NoteKind;

typedef struct Note
{
	NoteKind	kind;
	SubTransactionId subid;		/* that has made it, or its nearest ancestor
								 * that is open */
	NameData	name;			/* NOTE_SUMMARY */
	Oid			oid;			/* others: the database, or the table */
} Note;

/* In the transaction's memory. */
static List *notes = NIL;

static void
note(NoteKind kind, const char *name, Oid oid)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Note	   *new = palloc0(sizeof(Note));

	new->kind = kind;
	new->subid = GetCurrentSubTransactionId();
	if (name)
		namestrcpy(&new->name, name);
	new->oid = oid;
	notes = lappend(notes, new);
	MemoryContextSwitchTo(old);
}

void
sc_release_summary(const char *name)
{
	if (sc_shared == NULL)
		return;
	/* maps the documents: at the commit it is too late to allocate */
	sc_store_attach();
	note(NOTE_SUMMARY, name, InvalidOid);
}

void
sc_release_database(Oid dboid)
{
	if (sc_shared == NULL)
		return;
	sc_store_attach();
	note(NOTE_DATABASE, NULL, dboid);
}

/* Also at once, since it is only a hint; until the commit, others may want it again. */
void
sc_release_slot(int slot, Oid relid)
{
	bool		wanted = sc_slot_want(slot, false);

	if (wanted || sc_slot_is_member(slot))
		note(NOTE_SLOT, NULL, relid);
}

bool
sc_release_keep_slot(Oid relid)
{
	bool		found = false;
	ListCell   *lc;

	foreach(lc, notes)
	{
		Note	   *this = lfirst(lc);

		if (this->kind != NOTE_SLOT || this->oid != relid)
			continue;
		notes = foreach_delete_current(notes, lc);
		found = true;
	}
	return found;
}

void
sc_release_slot_on_abort(Oid relid)
{
	note(NOTE_SLOT_ON_ABORT, NULL, relid);
}

void
sc_release_slots_of_dropped(void)
{
	Oid			relid;

	for (int slot = SC_CLUSTER_SLOT; (slot = sc_slot_next(slot, MyDatabaseId, &relid)) != SC_SLOT_NONE;)
		if (get_rel_name(relid) == NULL)
			sc_release_slot(slot, relid);
}

static void
release_slot(Oid relid)
{
	int			slot = sc_slot_find(SC_KEY_HERE(relid), false);

	if (slot == SC_SLOT_NONE)
		return;
	(void) sc_slot_want(slot, false);
	sc_member_forget(slot);
}

static void
release_at_commit(const Note *this)
{
	switch (this->kind)
	{
		case NOTE_SUMMARY:
			sc_store_forget(NameStr(this->name));
			break;
		case NOTE_DATABASE:
			sc_store_forget_database(this->oid);
			break;
		case NOTE_SLOT:
			release_slot(this->oid);
			break;
		case NOTE_SLOT_ON_ABORT:
			break;
	}
}

static void
release_on_abort(const Note *this)
{
	if (this->kind == NOTE_SLOT_ON_ABORT)
		release_slot(this->oid);
}

static void
transaction_callback(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach(lc, notes)
	{
		if (event == XACT_EVENT_COMMIT)
			release_at_commit(lfirst(lc));
		else if (event == XACT_EVENT_ABORT)
			release_on_abort(lfirst(lc));
	}
	notes = NIL;
}

static void
subtransaction_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	ListCell   *lc;

	foreach(lc, notes)
	{
		Note	   *this = lfirst(lc);

		if (this->subid != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			this->subid = parent;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
		{
			release_on_abort(this);
			notes = foreach_delete_current(notes, lc);
		}
	}
}

void
sc_release_init(void)
{
	RegisterXactCallback(transaction_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
}
