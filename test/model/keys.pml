/*
 * keys.pml: keyed labels (src/commit.c, "Keys"; src/track.c, sc_key() and sc_track_attach_keys(); src/hooks.c,
 * executor_finish()), for a document of the rows of a table that have one key.
 *
 * The label has the coarse word and that of the key, if the table has the key trigger when it is read, else the
 * table's word.  One transaction moves a row from this key to another one; it may end before its row trigger has
 * fired, or say no keys, as TRUNCATE.  One writes a row of the other key, or moves it to this one.  Somebody puts the
 * key trigger on the table, which waits until nobody writes it; who begins to write it later says the keys.
 *
 * Checked: a hit shows every transaction that the reader's snapshot sees and that has written a row of this key; the
 * transaction that moves the row has no hit itself.
 *
 * Beside what common.pml says, this abstracts: the list of keys is as long as need be (a key that does not fit is one
 * that is not said); what makes somebody put the trigger there moves a catch-all word, of which no use is made here.
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside a transaction in commit, by the cells
 * REACH_HIT_OTHER_KEY          a hit although the other key and the table have changed
 * WITH_SHARED_WORD             both keys have the same word
 * WEAK_NEW_KEYS_ONLY           the trigger says the keys that rows have, not those that they had
 * WEAK_OLD_KEYS_ONLY           the other way round
 * WEAK_NO_COARSE               what does not say its keys moves no other word instead
 * WEAK_COARSE_EARLY            a plan has ended before its row triggers have fired
 * WEAK_NO_COARSE_IN_LABEL      a keyed label has the word of its key only
 * WEAK_OWN_KEYS                a transaction reads privately what it has said the key of, not all of the table
 * WEAK_ATTACH_UNLOCKED         the key trigger is put there while the table is written
 */

#define WORDS			4
#define TABLE			0
#define COARSE			1
#define KEY				2
#ifdef WITH_SHARED_WORD
#define OTHER_KEY		KEY
#else
#define OTHER_KEY		3
#endif

#define MOVER			0
#define OTHER			1
#define BACKENDS		2

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		check_hit()

bool trigger;					/* the table has the key trigger */
byte writers;					/* those who have locked the table */
byte wrote;						/* the transactions that have written a row of the key */
byte data;						/* the transactions in the document's snapshot */

inline check_hit()
{
	wrong_hit = (s_seen & ~data & wrote) != 0
#ifdef REACH_HIT_OTHER_KEY
	;
	reached = label[KEY] != NOT_THERE && (s_seen & ~data & BIT(OTHER)) != 0;
	assert(!reached)
#endif
}

#include "reader.pml"

#define begin_write()	atomic { writers++; says = trigger }

/* Steps 1 to 4 for the words that are marked. */
inline end_transaction(t)
{
	cell[t] = t + 1;
	each_word(marks, word_count);
	if
	:: commit(t);
		each_word(marks, word_publish)
	:: rollback(t);
		each_word(marks, word_withdraw)
	fi;
	cell[t] = EMPTY;
	writers--
}

#ifdef WEAK_NO_COARSE
#define mark_coarse()	skip
#else
#define mark_coarse()	if :: says -> marks = marks | BIT(COARSE) :: else fi
#endif

/* sc_commit_wrote() */
#ifdef WEAK_OWN_KEYS
#define IS_PRIVATE		((label[KEY] != NOT_THERE && (marks & BIT(KEY)) != 0) || label[TABLE] != NOT_THERE)
#else
#define IS_PRIVATE		((label[KEY] != NOT_THERE && says) || label[TABLE] != NOT_THERE)
#endif

/* The transaction reads, when it has written a row of the key. */
inline read_own()
{
	d_step {
		i = 0;
		hit = built && !IS_PRIVATE;
		do
		:: i < WORDS ->
			hit = hit && (label[i] == NOT_THERE || REVISION(word[i]) == label[i]);
			i++
		:: else -> break
		od;
		i = 0;
		wrong_hit = hit;
		assert(!wrong_hit);
		hit = false
	}
}

proctype Mover()
{
	byte marks, n, i;
	bool says, open, hit;

	begin_write();
	/* sc_track_plan() */
	marks = BIT(TABLE);
	open = true;
	wrote = wrote | BIT(MOVER);
	read_own();
#ifdef WEAK_COARSE_EARLY
	open = false;
#endif
	if
	:: skip
	:: says ->
		/* the row trigger */
#ifndef WEAK_NEW_KEYS_ONLY
		marks = marks | BIT(KEY);
#endif
#ifndef WEAK_OLD_KEYS_ONLY
		marks = marks | BIT(OTHER_KEY);
#endif
		open = false
	fi;
	if
	:: open -> mark_coarse()
	:: else
	fi;
	end_transaction(MOVER)
}

/* A row of the other key comes to this one, and its keys are said. */
proctype Other()
{
	byte marks, n;
	bool says, comes;

	begin_write();
	marks = BIT(TABLE);
	if
	:: comes = true;
		wrote = wrote | BIT(OTHER)
	:: skip
	fi;
	if
	:: says ->
#ifndef WEAK_NEW_KEYS_ONLY
		marks = marks | BIT(OTHER_KEY);
#endif
#ifndef WEAK_OLD_KEYS_ONLY
		if :: comes -> marks = marks | BIT(KEY) :: else fi
#else
		skip
#endif
	:: else
	fi;
	end_transaction(OTHER)
}

proctype Definer()
{
	atomic {
#ifndef WEAK_ATTACH_UNLOCKED
		writers == 0;
#endif
		trigger = true
	}
}

proctype Builder()
{
	if
	:: trigger ->
#ifndef WEAK_NO_COARSE_IN_LABEL
		label[COARSE] = REVISION(word[COARSE]);
#endif
		label[KEY] = REVISION(word[KEY])
	:: label[TABLE] = REVISION(word[TABLE])
	fi;
	data = seen;
	built = true
}

init
{
	byte i;
	atomic {
		words_init();
		run Mover(); run Other(); run Definer(); run Builder(); run Reader()
	}
}
