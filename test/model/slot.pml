/*
 * slot.pml: a slot is given away to another table while a mark is held (src/commit.c, mark_place(); src/label.c;
 * src/word.c, slot_take(), slot_tell_others() and sc_slot_find()).
 *
 * There is one slot for tables beside the catch-all's, or there are two (WITH_TWO_SLOTS), and three tables that want
 * one.  Two backends write table A, of which the document is built: one knows its slot from before, one does not.
 * A third says of slots that nobody wants them any more, and takes them for B, three times in any order.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees, and no word loses a count that it does
 * not have.
 *
 * Beside what common.pml says, this abstracts: the catch-all keeps its slot, and stands for the cluster's as well;
 * the hash of the slots is a table, read under the lock; a definition that uses a slot says so when it is read.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_WITHOUT_SLOT       a hit on a document that was built while A had no slot
 * REACH_HIT_MOVED              a hit on a document that was built after A had lost its slot and got one again
 * WITH_TWO_SLOTS               there are two slots for tables; the second is that of table C at first
 * WEAK_KEY_NOT_AGAIN           a writer that has added to a word does not look at the key
 * WEAK_KEY_BEFORE_ADD          a writer looks at the key before it adds to the word
 * WEAK_TAKEN_PENDING           a slot is taken whose word a writer has just added to
 * WEAK_NO_TAKING               the key is changed after the word, and not before
 * WEAK_SAME_REVISION           a slot that is taken keeps its revision
 * WEAK_LABEL_KEY_NOT_AGAIN     the key is not looked at after the word of a label was read
 * WEAK_NO_SLOT_NO_MARK         a table without a slot marks nothing
 * WEAK_TELL_NOBODY             a table that gets a slot does not move the catch-all
 * WEAK_TELL_AFTER              it moves the catch-all after writers can find the slot
 * WEAK_KEY_BEFORE_TOLD         it moves the catch-all after the slot has its key: a writer that knows the slot from
 *                              before can count on it in between
 */

#if defined WEAK_SAME_REVISION || defined WEAK_NO_TAKING || defined WEAK_LABEL_KEY_NOT_AGAIN
#define WITH_TWO_SLOTS
#endif
#ifdef WITH_TWO_SLOTS
#define WORDS			3
#else
#define WORDS			2
#endif
#define BACKENDS		2

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		check_hit()

#define CATCH_ALL		0		/* its slot */

/* Keys. */
#define TAKING			0
#define A				1
#define B				2
#define C				3
#define KEY_CATCH_ALL	4

/* No slot; the catch-all's is never looked for. */
#define NONE			0

byte data;						/* the document: the transactions in it */
bool moved_away;				/* A's slot was given away once */

byte key[WORDS];
bool wanted[WORDS];
byte slot_hash[4];				/* the slot of a key */
bool locked;					/* ScShared.lock, exclusive */
byte next_revision = 1;
bool slot_refused;

inline check_hit()
{
	wrong_hit = (s_seen & ~data) != 0
#ifdef REACH_HIT_WITHOUT_SLOT
	;
	reached = label[1] == NOT_THERE && label[WORDS - 1] == NOT_THERE && data != 0;
	assert(!reached)
#endif
#ifdef REACH_HIT_MOVED
	;
	reached = moved_away && (label[1] != NOT_THERE || label[WORDS - 1] != NOT_THERE);
	assert(!reached)
#endif
}

#include "reader.pml"

/* slot_tell_others(), if somebody was refused */
inline slot_tell_others()
{
	if
	:: slot_refused -> word[CATCH_ALL] = word[CATCH_ALL] + ONE
	:: else
	fi
}

/*
 * slot_take(), under the lock: first a free slot (there is none here), then one that nobody wants.
 */
inline slot_take(k, slot)
{
	slot = NONE;
	take = 1;
	do
	:: take < WORDS && slot == NONE ->
		if
		:: wanted[take] -> skip
		:: else ->
			taken = word[take];
			if
			:: PENDING(taken) != 0 -> skip
			:: else ->
				old_key = key[take];
#ifndef WEAK_NO_TAKING
				key[take] = TAKING;
#endif
				/* the compare-and-swap */
				atomic {
					if
#ifndef WEAK_TAKEN_PENDING
					:: word[take] != taken -> skip
#endif
					:: else ->
#ifndef WEAK_SAME_REVISION
						if
						:: REVISION(taken) > next_revision -> next_revision = REVISION(taken)
						:: else
						fi;
						next_revision++;
						word[take] = next_revision * ONE;
#endif
						slot = take
					fi
				};
				if
				:: slot == NONE -> key[take] = old_key
				:: else ->
#if !defined WEAK_TELL_NOBODY && !defined WEAK_TELL_AFTER && !defined WEAK_KEY_BEFORE_TOLD
					slot_tell_others();
#endif
					key[take] = k;
					d_step {
						slot_hash[old_key] = NONE;
						wanted[take] = true;
						moved_away = moved_away || old_key == A
					}
				fi;
				old_key = 0
			fi;
			taken = 0
		fi;
		take++
	:: else -> break
	od;
	take = 0
}

/* sc_slot_find() with create */
inline slot_find(k, slot)
{
	atomic { !locked -> slot = slot_hash[k] };
	if
	:: slot != NONE -> skip
	:: else ->
		atomic { !locked -> locked = true; slot = slot_hash[k] };
		if
		:: slot != NONE -> skip
		:: else ->
			slot_take(k, slot);
			if
			:: slot == NONE -> slot_refused = true
			:: slot != NONE ->
#ifdef WEAK_KEY_BEFORE_TOLD
				slot_tell_others();
#endif
				slot_hash[k] = slot
			fi
		fi;
		locked = false
#ifdef WEAK_TELL_AFTER
		;
		if
		:: slot != NONE -> slot_tell_others()
		:: else
		fi
#endif
	fi
}

/* mark_place() */
inline mark_place()
{
	do
	:: mark_key == KEY_CATCH_ALL ->
		word_count(CATCH_ALL);
		mark_slot = CATCH_ALL;
		break
	:: mark_key == A && mark_slot != NONE ->
#ifdef WEAK_KEY_BEFORE_ADD
		if
		:: key[mark_slot] == A -> word_count(mark_slot); break
		:: else
		fi;
#else
		word_count(mark_slot);
#ifdef WEAK_KEY_NOT_AGAIN
		break;
#endif
		if
		:: key[mark_slot] == A -> break
		:: else -> word_withdraw(mark_slot)
		fi;
#endif
		mark_slot = NONE
	:: mark_key == A && mark_slot == NONE ->
		slot_find(A, mark_slot);
		if
		:: mark_slot == NONE -> mark_key = KEY_CATCH_ALL
		:: else
		fi
	od
}

proctype Writer(byte t; byte mark_slot)
{
	byte mark_key = A;
	byte take, taken, old_key;

	/* step 1 */
	cell[t] = t + 1;
#ifdef WEAK_NO_SLOT_NO_MARK
	if
	:: mark_slot == NONE -> slot_find(A, mark_slot)
	:: else
	fi;
	if
	:: mark_slot != NONE -> mark_place()
	:: else -> mark_key = NONE
	fi;
#else
	mark_place();
#endif
	/* step 2 */
	commit(t);
	/* step 3 */
	if
	:: mark_key != NONE -> word_publish(mark_slot)
	:: else
	fi;
	cell[t] = EMPTY
}

/* Definitions come and go. */
proctype Others()
{
	byte slot, i, take, taken, old_key;

	i = 0;
	do
	:: i < 3 ->
		if
		:: slot_find(B, slot)
		:: atomic { !locked -> wanted[1] = false }
#ifdef WITH_TWO_SLOTS
		:: atomic { !locked -> wanted[2] = false }
#endif
		fi;
		slot = 0;
		i++
	:: else -> break
	od
}

proctype Builder()
{
	byte slot, revision;
	byte take, taken, old_key;

	/* sc_label_read_catch_alls() */
	label[CATCH_ALL] = REVISION(word[CATCH_ALL]);

	/* sc_label_read(): where the slot is thought to be, then where it is */
	slot = 1;
	do
	:: slot == NONE -> break
	:: else ->
		revision = REVISION(word[slot]);
#ifdef WEAK_LABEL_KEY_NOT_AGAIN
		break;
#endif
		if
		:: key[slot] == A -> break
		:: else -> slot_find(A, slot)
		fi
	od;
	if
	:: slot != NONE -> label[slot] = revision; atomic { !locked -> wanted[slot] = true }
	:: else
	fi;

	data = seen;
	built = true
}

init
{
	byte i;
	atomic {
		words_init();
		key[CATCH_ALL] = KEY_CATCH_ALL;
		key[1] = A;
		slot_hash[A] = 1;
		wanted[1] = true;
#ifdef WITH_TWO_SLOTS
		key[2] = C;
		slot_hash[C] = 2;
		wanted[2] = true;
#endif
		run Writer(0, 1); run Writer(1, NONE); run Others(); run Builder(); run Reader()
	}
}
