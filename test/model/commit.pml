/*
 * commit.pml: the commit protocol (src/commit.c, steps 0 to 4 at its head), for a document over two tables.
 *
 * Two backends write: the first carries out two transactions, one after the other, in the same cell.  Each writes
 * one of the tables or both, and commits, or fails when its words are pending.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees.  One in REPEATABLE READ, which asks for
 * more (the document is built from a snapshot whose xmax is at or below the reader's xmin), shows no other either.
 *
 * Beside what common.pml says, this abstracts: which table has which word (slot.pml, tree.pml), DDL (ddl.pml),
 * PREPARE (prepare.pml).  A transaction that has no xid when it commits does nothing here.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside a transaction in commit, by the cells
 * REACH_HIT_REPEATABLE_READ    a hit in REPEATABLE READ on a document with a transaction in it
 * WEAK_AT_WRITE                the revision moves before the transaction is visible, nothing is pending
 * WEAK_AFTER_COMMIT            the revision moves after it is visible, nothing was pending before
 * WEAK_TWO_STEPS               pending is taken away before the revision moves, not in one operation
 * WEAK_CELL_EMPTIED_FIRST      the cell is emptied before the revision moves
 * WEAK_NO_CELL                 the xid is not stored in the cell
 * WEAK_CELLS_USED              readers are told too late that a cell is in use
 * WEAK_LATE_MARK               a mark that is made during the commit is not placed
 * WEAK_NO_SECOND_LOOK          the reader does not load the words again
 * WEAK_WORDS_BEFORE_SNAPSHOT   the reader loads the words before its snapshot is taken
 * WEAK_LABEL_AFTER_SNAPSHOT    the label is read after the build's snapshot
 * WEAK_REPEATABLE_READ         REPEATABLE READ takes any document that is proven
 *
 * No weak variants: pending is added before the xid is stored (both come before the transaction is visible); a
 * failed transaction stays pending, or in its cell (that costs hits).
 */

#define WORDS			2
#define BACKENDS		2
#define TRANSACTIONS	3

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen; oldest_running(s_xmin) }
#define SCAN_BEGINS()	used = cells_used
#define SCANNED(i)		((i) < used)
#define CHECK_HIT()		check_hit()

/* The reader's further variables. */
byte s_xmin, used;

/* The document: the transactions in it; and nothing from this xid on is. */
byte data;
byte data_xmax;

byte xid[TRANSACTIONS];			/* 0: none yet */
byte next_xid = 1;
byte cells_used;				/* ScShared.ncells_used */

inline oldest_running(x)
{
	x = next_xid;
	i = 0;
	do
	:: i < TRANSACTIONS ->
		if
		:: xid[i] != 0 && (over & BIT(i)) == 0 && xid[i] < x -> x = xid[i]
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

inline check_hit()
{
	if
	:: (s_seen & ~data) != 0 -> wrong_hit = true
#ifdef WEAK_REPEATABLE_READ
	:: (s_seen & ~data) == 0 && (data & ~s_seen) != 0 -> wrong_hit = true
#else
	:: (s_seen & ~data) == 0 && data_xmax <= s_xmin && (data & ~s_seen) != 0 -> wrong_hit = true
#endif
	:: else
	fi
#ifdef REACH_HIT_REPEATABLE_READ
	;
	reached = data_xmax <= s_xmin && data != 0;
	assert(!reached)
#endif
}

#include "reader.pml"

#define word_move(s)			word[s] = word[s] + ONE

inline transaction(me, t)
{
	/* step 0: the write; the marks are the backend's own */
	atomic {
		xid[t] = next_xid;
		next_xid++;
		if
		:: t == 1 -> marks = 1
		:: t == 2 -> marks = 2
		:: t == 0 -> marks = 3
		fi
	};

#if defined WEAK_AT_WRITE
	each_word(marks, word_move);
	commit(t);
#elif defined WEAK_AFTER_COMMIT
	commit(t);
	each_word(marks, word_move);
#else
	/* step 1: marks_place() */
#ifndef WEAK_CELLS_USED
	atomic { if :: cells_used <= me -> cells_used = me + 1 :: else fi };
#endif
#ifndef WEAK_NO_CELL
	cell[me] = t + 1;
#endif
#ifdef WEAK_LATE_MARK
	marks = marks & 1;
#endif
	each_word(marks, word_count);

	if
	::	/* step 2 */
		commit(t);
		/* step 3: marks_publish() and commit_done() */
#ifdef WEAK_CELLS_USED
		atomic { if :: cells_used <= me -> cells_used = me + 1 :: else fi };
#endif
#ifdef WEAK_CELL_EMPTIED_FIRST
		cell[me] = EMPTY;
#endif
#ifdef WEAK_TWO_STEPS
		each_word(marks, word_withdraw);
		each_word(marks, word_move);
#else
		each_word(marks, word_publish);
#endif
		cell[me] = EMPTY
	::	/* step 4 */
		rollback(t);
		each_word(marks, word_withdraw);
		cell[me] = EMPTY
	fi;
#endif
	marks = 0
}

proctype First()
{
	byte marks, n;
	transaction(0, 0);
	transaction(0, 1)
}

proctype Second()
{
	byte marks, n;
	transaction(1, 2)
}

/* sc_build(): the words, then the snapshot, then the query */
proctype Builder()
{
#ifdef WEAK_LABEL_AFTER_SNAPSHOT
	data = seen;
	label[0] = REVISION(word[0]);
	label[1] = REVISION(word[1]);
#else
	label[0] = REVISION(word[0]);
	label[1] = REVISION(word[1]);
	data = seen;
#endif
	data_xmax = next_xid;
	built = true
}

init
{
	byte i;
	atomic {
		words_init();
		run First(); run Second(); run Builder(); run Reader()
	}
}
