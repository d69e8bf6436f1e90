/*
 * prepare.pml: prepared transactions (src/commit.c and src/word.c, step 5: marks_to_orphan(), orphan_enter(), orphan_settle(),
 * sc_settle_finished()).
 *
 * One backend prepares two transactions, one after the other.  Both write the table that the document is built
 * from, and the first writes another as well: it has either room for both words in its orphan cell, or not, and then
 * one catch-all stands for them.
 * Each is committed or rolled back by a backend of its own, as soon as it is prepared.  So an orphan is settled by
 * who finished it, by who prepares the next transaction, or by the reader, and several may try at once.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees, and no word loses a count that it does
 * not have.
 *
 * Beside what common.pml says, this abstracts: the lock on an xid is a bit that goes when its holder is done; who
 * waits for ScShared.lock is not seen (an orphan is claimed in one step); what stands for DDL is in ddl.pml, and
 * what was prepared before the server started in restart.pml.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside a prepared transaction, by its orphan cell
 * REACH_SETTLED_BY_READER      the reader settles an orphan
 * WEAK_NO_ORPHAN               PREPARE takes back what is pending and leaves no orphan
 * WEAK_TOO_MANY_WORDS          of more words than a cell holds some are dropped
 * WEAK_SETTLE_RUNNING          an orphan is settled without asking whether its transaction is over
 * WEAK_SETTLE_TWICE            two who settle an orphan at once both do
 * WEAK_SETTLE_MOVES_NOTHING    settling takes pending away, and moves no revision
 * WEAK_SETTLING_PROVES         readers take an orphan that is being settled for an empty cell
 * WEAK_ORPHAN_EMPTIED_FIRST    the orphan is emptied before the revisions have moved
 * WEAK_ORPHANS_NOT_SCANNED     readers look at the backends' cells only
 *
 * No weak variants: the own cell is emptied before the orphan is there (nobody can finish the transaction before
 * PREPARE is through with both); a rolled back transaction moves its words (that costs a rebuild).
 */

#define WORDS			3
#define BACKENDS		1
#define ORPHANS			2
#define CATCH_ALL		2

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		wrong_hit = (s_seen & ~data) != 0

byte data;						/* the document: the transactions in it */
byte prepared;					/* those that can be finished */

#include "reader.pml"

inline prepare(t)
{
	/* PRE_PREPARE makes room for an orphan */
	settle_finished();
	/* step 1: marks_place() */
	cell[0] = t + 1;
	each_word(words, word_count);

	/* step 5: marks_to_orphan() */
#ifdef WEAK_NO_ORPHAN
	each_word(words, word_withdraw);
#else
	if
	:: skip
	:: t == 0 ->
#ifdef WEAK_TOO_MANY_WORDS
		word_withdraw(0);
		words = BIT(1)
#else
		word_count(CATCH_ALL);
		each_word(words, word_withdraw);
		words = BIT(CATCH_ALL)
#endif
	fi;
	orphan_enter(t + 1, words);
#endif
	cell[0] = EMPTY;
	words = 0;
	prepared = prepared | BIT(t)
}

proctype Preparer()
{
	byte words, settled, i, n, c;
	words = BIT(0) | BIT(1);
	prepare(0);
	words = BIT(0);
	prepare(1)
}

/* COMMIT PREPARED or ROLLBACK PREPARED, and then sc_note_unknown_commit() */
proctype Finisher(byte t)
{
	byte settled, i, n, c;
	(prepared & BIT(t)) != 0;
	if
	:: commit(t)
	:: rollback(t)
	fi;
	unlocked = unlocked | BIT(t);
	settle_finished()
}

/* sc_build(): the words, then the snapshot, then the query */
proctype Builder()
{
	label[CATCH_ALL] = REVISION(word[CATCH_ALL]);
	label[0] = REVISION(word[0]);
	data = seen;
	built = true
}

init
{
	byte i;
	atomic {
		words_init();
		run Preparer(); run Finisher(0); run Finisher(1); run Builder(); run Reader()
	}
}
