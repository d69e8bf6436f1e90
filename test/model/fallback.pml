/*
 * fallback.pml: the catch-all of a database that finds no slot is its fallback (src/word.c, slot_lookup(), slot_refuse()
 * and sc_slot_find(); src/commit.c, mark_place(); src/label.c, read_catch_alls()).
 *
 * There is one slot, which another database's table has at first, and the fallback of a database D.  Two backends
 * write a table of D that has no slot, and so move D's catch-all.  A third process says that nobody wants the slot
 * any more, and takes it for the other table, three times in any order.  Whoever looks for D's catch-all takes the
 * slot if it is to be had, and else the fallback.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees, and no word loses a count that it does
 * not have.
 *
 * Beside what common.pml says, this abstracts as slot.pml does; and D is the only database that has the fallback.
 *
 * REACH_HIT_FALLBACK           a hit on a document that was built with the fallback in its label
 * REACH_HIT_SLOT               a hit on a document that was built with the slot in its label
 * REACH_LOST_SLOT              a hit with the fallback, after D had the slot and lost it
 * WEAK_SLOT_LATER              a database that has used its fallback gets a slot when there is one
 * WEAK_TELL_FALLBACK           the same, and the slot's taker moves the fallback before, as for a table's slot: a writer
 *                              may have found the fallback, and not have added to it yet
 */

#define WORDS			2
#define BACKENDS		2

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		check_hit()

#define FALLBACK		0
#define SLOT			1
#define NONE			9

/* Keys. */
#define TAKING			0
#define D				1
#define OTHER			2

byte data;						/* the document: the transactions in it */
bool lost;						/* D had the slot, and it was given away */

byte key = OTHER;				/* of the slot */
bool wanted = true;
byte slot_hash[3] = NONE;		/* the slot of a key */
bool used;						/* the fallback */
bool locked;					/* ScShared.lock, exclusive */
byte next_revision = 1;

inline check_hit()
{
	wrong_hit = (s_seen & ~data) != 0
#ifdef REACH_HIT_FALLBACK
	;
	reached = label[FALLBACK] != NOT_THERE && data != 0;
	assert(!reached)
#endif
#ifdef REACH_HIT_SLOT
	;
	reached = label[SLOT] != NOT_THERE && data != 0;
	assert(!reached)
#endif
#ifdef REACH_LOST_SLOT
	;
	reached = label[FALLBACK] != NOT_THERE && lost;
	assert(!reached)
#endif
}

#include "reader.pml"

inline slot_lookup(k, slot)
{
	slot = slot_hash[k];
#if !defined WEAK_SLOT_LATER && !defined WEAK_TELL_FALLBACK
	if
	:: slot == NONE && k == D && used -> slot = FALLBACK
	:: else
	fi
#endif
}

/* slot_take(), under the lock */
inline slot_take(k, slot)
{
	slot = NONE;
	taken = word[SLOT];
	if
	:: wanted || PENDING(taken) != 0 -> skip
	:: else ->
		old_key = key;
		key = TAKING;
		/* the compare-and-swap */
		atomic {
			if
			:: word[SLOT] != taken -> skip
			:: else ->
				if
				:: REVISION(taken) > next_revision -> next_revision = REVISION(taken)
				:: else
				fi;
				next_revision++;
				word[SLOT] = next_revision * ONE;
				slot = SLOT
			fi
		};
		if
		:: slot == NONE -> key = old_key
		:: else ->
#ifdef WEAK_TELL_FALLBACK
			if
			:: k == D && used -> word[FALLBACK] = word[FALLBACK] + ONE
			:: else
			fi;
#endif
			key = k;
			d_step {
				slot_hash[old_key] = NONE;
				slot_hash[k] = SLOT;
				wanted = true;
				lost = lost || old_key == D
			}
		fi;
		old_key = 0
	fi;
	taken = 0
}

/* sc_slot_find() with create */
inline slot_find(k, slot)
{
	atomic { !locked -> slot_lookup(k, slot) };
	if
	:: slot != NONE -> skip
	:: else ->
		atomic { !locked -> locked = true; slot_lookup(k, slot) };
		if
		:: slot != NONE -> skip
		:: else ->
			slot_take(k, slot);
			if
			:: slot == NONE && k == D -> used = true; slot = FALLBACK
			:: else
			fi
		fi;
		locked = false
	fi
}

proctype Writer(byte t)
{
	byte slot = NONE;
	byte taken, old_key;

	/* step 1: mark_place() */
	cell[t] = t + 1;
	do
	:: slot == NONE -> slot_find(D, slot)
	:: else ->
		word_count(slot);
		if
		:: slot == FALLBACK -> break
		:: slot == SLOT && key == D -> break
		:: else -> word_withdraw(slot); slot = NONE
		fi
	od;
	/* step 2 */
	commit(t);
	/* step 3 */
	word_publish(slot);
	cell[t] = EMPTY
}

/* Definitions come and go. */
proctype Others()
{
	byte slot, i, taken, old_key;

	do
	:: i < 3 ->
		if
		:: slot_find(OTHER, slot)
		:: atomic { !locked -> wanted = false }
		fi;
		slot = 0;
		i++
	:: else -> break
	od
}

proctype Builder()
{
	byte slot = NONE;
	byte revision, taken, old_key;

	/* sc_word_read() */
	do
	:: slot == NONE -> slot_find(D, slot)
	:: else ->
		revision = REVISION(word[slot]);
		if
		:: slot == FALLBACK -> break
		:: slot == SLOT && key == D -> break
		:: else -> slot = NONE
		fi
	od;
	label[slot] = revision;
	if
	:: slot == SLOT -> atomic { !locked -> wanted = true }
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
		slot_hash[OTHER] = SLOT;
		run Writer(0); run Writer(1); run Others(); run Builder(); run Reader()
	}
}
