/*
 * ddl.pml: DDL and a builder that plans by its caches (src/commit.c, the end of step 3: late_commit();
 * src/build.c, sc_build(); src/definition.c, sc_definition_get(); src/hooks.c, mark_ddl()).
 *
 * Two transactions change, each, an object that the document's query uses (a function, a view), the definition of
 * the section, and rows of its table.  The object comes out of a cache of the builder's that is good until it has
 * accepted the invalidation that the transaction sends after it is visible; the definition out of one that is good
 * as long as the catch-all word has not moved; the rows out of the build's snapshot.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees, in all three.
 *
 * Beside what common.pml says, this abstracts: the words of the cluster and of the database are one; the builder
 * accepts invalidations when sc_build() does, and when it plans it may or may not; what it finds in its cache no
 * longer it reads from the catalog as it is then.  Either transaction may begin before the extension is created,
 * which then commits before the builder comes.
 *
 * REACH_HIT                        a hit
 * REACH_HIT_BESIDE_PENDING         a hit beside DDL in commit, by the cells
 * REACH_HIT_AFTER_DDL              a hit on a document that has DDL in it
 * WITH_PREPARED                    there is one transaction, which is prepared and then finished by another backend
 * WEAK_CATCH_ALL_EARLY             the catch-all's revision moves before the invalidations are sent
 * WEAK_CELL_EARLY                  the cell is emptied before the catch-all's revision moves
 * WEAK_NO_CATCH_ALL                DDL marks the tables only
 * WEAK_ACCEPTED_BEFORE_LABEL       the builder accepts invalidations before it reads the label, and not after
 * WEAK_DEFINITION_SNAPSHOT_FIRST   a definition is read by a snapshot that is older than its label
 * WEAK_SETTLE_BEFORE_INVALIDATIONS an orphan is settled when its transaction is visible (with PREPARE)
 * WEAK_NOT_CONCERNED               DDL that began before the extension was there marks nothing; so is today's code
 *                                  (database_concerned() in src/hooks.c)
 *
 * No weak variant: a cached definition is good although a transaction is pending on the catch-all (the document's
 * label has that word as well).
 */

#define WORDS			2
#define TABLE			0
#define CATCH_ALL		1
#define BACKENDS		2

#ifdef WEAK_SETTLE_BEFORE_INVALIDATIONS
#define WITH_PREPARED
#endif
#ifdef WITH_PREPARED
#define ORPHANS			1
#endif

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		check_hit()

/* The document: the transactions in the rows, in the objects that the plan has, and in the definition. */
byte data, plan, definition;

bool created;					/* the extension is there */
byte sent;						/* transactions whose invalidations are sent */

inline check_hit()
{
	wrong_hit = (s_seen & ~(data & plan & definition)) != 0
#ifdef REACH_HIT_AFTER_DDL
	;
	reached = (data & plan & definition) != 0;
	assert(!reached)
#endif
}

#include "reader.pml"

inline mark_ddl()
{
#ifdef WEAK_NOT_CONCERNED
	if
	:: created -> marks = BIT(TABLE) | BIT(CATCH_ALL)
	:: else -> marks = 0
	fi
#elif defined WEAK_NO_CATCH_ALL
	marks = BIT(TABLE)
#else
	marks = BIT(TABLE) | BIT(CATCH_ALL)
#endif
}

proctype Ddl(byte t)
{
	byte marks, n;

	/* step 0 */
	mark_ddl();
	/* step 1 */
	if
	:: marks != 0 -> cell[t] = t + 1
	:: else
	fi;
	each_word(marks, word_count);
	/* step 2 */
	commit(t);
	/* step 3: marks_publish(false) */
#ifdef WEAK_CATCH_ALL_EARLY
	each_word(marks, word_publish);
	marks = 0;
#else
	each_word(marks & BIT(TABLE), word_publish);
#endif
#ifdef WEAK_CELL_EARLY
	cell[t] = EMPTY;
#endif
	/* AtEOXact_Inval() */
	sent = sent | BIT(t);
	/* late_commit() */
	each_word(marks & BIT(CATCH_ALL), word_publish);
	cell[t] = EMPTY
}

#ifdef WITH_PREPARED
/* Whoever prepares it has no part in what follows: one process stands for both backends. */
proctype PreparedDdl(byte t)
{
	byte marks, settled, i, n, c;

	mark_ddl();
	cell[t] = t + 1;
	each_word(marks, word_count);
	orphan_enter(t + 1, marks);
	cell[t] = EMPTY;
	/* FinishPreparedTransaction() */
	commit(t);
	sent = sent | BIT(t);
	unlocked = unlocked | BIT(t);
	settle_finished()
}
#endif

#ifdef WITH_PREPARED
/* Another reader, say. */
proctype Settler()
{
	byte settled, i, n, c;
	settle_finished()
}
#endif

inline accept_invalidations()
{
	d_step {
		if
		:: sent != accepted -> is_cached = false; accepted = sent
		:: else
		fi
	}
}

inline definition_get()
{
	if
	:: word[CATCH_ALL] == definition_label * ONE -> skip
	:: else ->
#ifdef WEAK_DEFINITION_SNAPSHOT_FIRST
		definition = seen;
		definition_label = REVISION(word[CATCH_ALL])
#else
		definition_label = REVISION(word[CATCH_ALL]);
		definition = seen
#endif
	fi
}

proctype Builder()
{
	/* what this backend has cached before */
	bool is_cached = true;
	byte cached, accepted;
	byte definition_label;

	created = true;
	definition_get();

#ifdef WEAK_ACCEPTED_BEFORE_LABEL
	accept_invalidations();
#endif
	/* sc_label_read_catch_alls() */
	label[CATCH_ALL] = REVISION(word[CATCH_ALL]);
#ifndef WEAK_ACCEPTED_BEFORE_LABEL
	accept_invalidations();
#endif
	definition_get();
	/* read_labels() */
	label[TABLE] = REVISION(word[TABLE]);
	data = seen;

	/* the query is planned */
	if
	:: accept_invalidations()
	:: skip
	fi;
	if
	:: is_cached -> plan = cached
	:: else -> plan = seen
	fi;
	built = true
}

init
{
	byte i;
	atomic {
		words_init();
#ifdef WITH_PREPARED
		run PreparedDdl(0); run Settler();
#else
		run Ddl(0); run Ddl(1);
#endif
		run Builder(); run Reader()
	}
}
