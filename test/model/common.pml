/*
 * common.pml: what the models of the primary's protocol share.  They include it; it is no model by itself.
 *
 * The words, the cells, and the reader's side of src/word.c.  A model says first how many words (WORDS),
 * cells of backends (BACKENDS) and orphan cells (ORPHANS) there are.
 *
 * What all models abstract:
 *
 * - Memory is sequentially consistent: a step is one load, one store or one atomic operation on what is shared,
 *   and all processes see the steps in one order.  Barriers are not checked.
 * - The xid of a transaction is its number.  A snapshot is the set of transactions that have ended when it is
 *   taken; taking it is one step, as ProcArrayLock makes it.
 * - There is one document, which is built once, at any time; and one reader, which reads once, at any time after
 *   that, with a snapshot as old as can be.  More of them would show nothing new: neither changes what another
 *   one finds, but for an orphan that is settled or a slot that is taken, and these have processes of their own.
 * - Nobody crashes.  A crash empties all shared memory; restart.pml begins there.
 *
 * A model's WEAK_ variants take one rule away each, and must be caught.  Its WITH_ variants are further
 * configurations that must hold.  Its REACH_ variants show that the model comes to a state at all.
 * test/model.sh reads their names and descriptions at the head of the model.
 */

#ifndef ORPHANS
#define ORPHANS			0
#endif

/* A word: the revision in the high four bits, the transactions in commit in the low four. */
#define ONE				16
#define REVISION(w)		((w) / ONE)
#define PENDING(w)		((w) % ONE)
#define BIT(t)			(1 << (t))

/* What a cell holds: nothing, a transaction's number + 1, or SETTLING. */
#define EMPTY			0
#define SETTLING		255

/* In a label: not in it; SC_NEVER_CURRENT. */
#define NOT_THERE		0
#define NEVER_CURRENT	255

byte word[WORDS];
byte cell[BACKENDS + ORPHANS];

byte over;						/* the transactions that have ended, a bit for each */
byte seen;						/* those of them that have committed */

byte label[WORDS];				/* the document's, which is complete once it is built */
bool built;

/* What is asserted never to be; the checker says which one it was. */
bool wrong_hit;					/* a hit does not show what it must */
bool wrong_count;				/* a word's count would become less than nothing */
bool reached;					/* a REACH_ variant has come to its state */

#define words_init() \
	d_step { i = 0; do :: i < WORDS -> word[i] = ONE; i++ :: else -> break od; i = 0 }

/* The transaction is over, and visible to the snapshots that are taken from here on, or never. */
#define commit(t)			atomic { over = over | BIT(t); seen = seen | BIT(t) }
#define rollback(t)			over = over | BIT(t)

/* mark_place(): one more transaction is pending */
#define word_count(s)		word[s]++

/* word_publish() and word_withdraw() */
#define word_publish(s)		atomic { wrong_count = PENDING(word[s]) == 0; assert(!wrong_count); word[s] = word[s] + ONE - 1 }
#define word_withdraw(s)	atomic { wrong_count = PENDING(word[s]) == 0; assert(!wrong_count); word[s] = word[s] - 1 }

/* One of these for each word of a set, one after the other. */
#define each_word(set, step) \
	n = 0; \
	do \
	:: atomic { n < WORDS && ((set) & BIT(n)) != 0 -> step(n); n++ } \
	:: atomic { n < WORDS && ((set) & BIT(n)) == 0 -> n++ } \
	:: n >= WORDS -> break \
	od; \
	n = 0

#if ORPHANS > 0

byte orphan_words[BACKENDS + ORPHANS];	/* ScCell.slots, as a set */
byte unlocked;					/* the transactions whose lock on their xid is gone */

/* What lets an orphan be settled: its transaction's lock on its xid is gone. */
#if defined WEAK_SETTLE_RUNNING
#define MAY_SETTLE(x)		true
#elif defined WEAK_SETTLE_BEFORE_INVALIDATIONS
#define MAY_SETTLE(x)		((over & BIT((x) - 1)) != 0)
#else
#define MAY_SETTLE(x)		((unlocked & BIT((x) - 1)) != 0)
#endif

#if defined WEAK_SETTLE_TWICE
#define UNSETTLED(o, x)		true
#else
#define UNSETTLED(o, x)		cell[o] == x
#endif

/* orphan_settle(): x was found in the orphan cell o */
inline orphan_settle(o, x)
{
	if
	:: !MAY_SETTLE(x) -> skip
	:: else ->
		settled = orphan_words[o];
		/* the compare-and-swap */
		if
		:: atomic { UNSETTLED(o, x) -> cell[o] = SETTLING };
#ifdef WEAK_ORPHAN_EMPTIED_FIRST
			cell[o] = EMPTY;
#endif
#ifdef WEAK_SETTLE_MOVES_NOTHING
			each_word(settled, word_withdraw);
#else
			each_word(settled, word_publish);
#endif
			cell[o] = EMPTY
		:: else -> skip
		fi;
		settled = 0
	fi
}

/* sc_settle_finished() */
inline settle_finished()
{
	i = BACKENDS;
	do
	:: i < BACKENDS + ORPHANS ->
		c = cell[i];
		if
		:: c != EMPTY && c != SETTLING -> orphan_settle(i, c)
		:: else -> skip
		fi;
		c = 0;
		i++
	:: else -> break
	od;
	i = 0
}

/* marks_to_orphan() and orphan_enter() store the words first, then the xid.  A claim excludes other claims. */
inline orphan_enter(x, set)
{
	atomic {
		i = BACKENDS;
		do
		:: i < BACKENDS + ORPHANS && cell[i] != EMPTY -> i++
		:: else -> break
		od;
		assert(i < BACKENDS + ORPHANS);
		orphan_words[i] = set
	};
	cell[i] = x;
	i = 0
}
#endif
