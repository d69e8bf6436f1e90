/*
 * member.pml: a member of a tree of partitions gets a word beside its root's, and loses it (src/word.c,
 * sc_member_want(), sc_member_read(), member_settle(), member_unlink(), sc_member_visit(); src/commit.c,
 * members_place(); src/build.c, read_members() and choose_members()).
 *
 * A writer of the member adds to the root's word, looks whether the member has a word, and if so adds to that as
 * well.  Builders make the word, if it is not there.  One labels the document with it alone if it is settled,
 * otherwise with the root's.  Another transaction writes another member, so it is pending on the root's word only.
 * Somebody takes the word away, since its slot is needed or the member comes below another root.  What is done under
 * ScShared.lock is under a lock here, too; adding to the root's word is not.
 *
 * Checked: a hit shows what the reader's snapshot sees of the member.
 *
 * Beside what common.pml says, this abstracts: the word that is made again is the one that was taken away; the
 * root's slot stays (slot.pml is about slots that change hands).
 *
 * REACH_HIT                    a hit
 * REACH_HIT_BESIDE_PENDING     a hit beside a transaction in commit, by the cells
 * REACH_HIT_MEMBER             a hit by the member's word although the root's has moved
 * REACH_HIT_UNSETTLED          a hit by the root's word although the member has one
 * WEAK_UNSETTLED               labels have the member's word as soon as it is there
 * WEAK_SETTLED_BEFORE_MADE     the root's word is looked at before the member's can be found
 * WEAK_LOOK_BEFORE_ROOT        a writer looks for the member's word before it has added to the root's
 * WEAK_ROOT_ONLY               a writer adds to the root's word only
 * WEAK_TAKEN_STAYS             what is no longer found does not move first
 * WEAK_TAKEN_STAYS_SETTLED     what was taken away and is made again is settled
 *
 * No weak variant: the builder reads the member's word before it looks at the root's, or after.
 */

#define WORDS			2
#define ROOT			0
#define MEMBER			1

#define WRITER			0
#define OTHER			1
#define BACKENDS		2

#include "common.pml"

#define TAKE_SNAPSHOT()	d_step { s_over = over; s_seen = seen }
#define SCAN_BEGINS()	skip
#define SCANNED(i)		true
#define CHECK_HIT()		check_hit()

bool locked;					/* ScShared.lock */
bool there;						/* writers find the member's word by its root */
bool settled_word;

byte data;						/* the transactions in the document's snapshot */

#define lock()			atomic { !locked -> locked = true }
#define unlock()		locked = false

inline check_hit()
{
	wrong_hit = (s_seen & ~data & BIT(WRITER)) != 0
#ifdef REACH_HIT_MEMBER
	;
	reached = label[ROOT] == NOT_THERE && (s_seen & ~data & BIT(OTHER)) != 0;
	assert(!reached)
#endif
#ifdef REACH_HIT_UNSETTLED
	;
	reached = label[ROOT] != NOT_THERE && there;
	assert(!reached)
#endif
}

#include "reader.pml"

/* members_place() reads without the lock whether there is any; sc_member_visit() */
inline look()
{
#ifndef WEAK_ROOT_ONLY
	if
	:: there ->
		lock();
		if
		:: there -> found = true; word_count(MEMBER)
		:: else
		fi;
		unlock()
	:: else
	fi
#else
	skip
#endif
}

proctype Writer()
{
	bool found;

	cell[WRITER] = WRITER + 1;
#ifdef WEAK_LOOK_BEFORE_ROOT
	look();
	word_count(ROOT);
#else
	word_count(ROOT);
	look();
#endif
	if
	:: commit(WRITER);
		word_publish(ROOT);
		if
		:: found -> word_publish(MEMBER)
		:: else
		fi
	:: rollback(WRITER);
		word_withdraw(ROOT);
		if
		:: found -> word_withdraw(MEMBER)
		:: else
		fi
	fi;
	cell[WRITER] = EMPTY
}

proctype Other()
{
	cell[OTHER] = OTHER + 1;
	word_count(ROOT);
	commit(OTHER);
	word_publish(ROOT);
	cell[OTHER] = EMPTY
}

/* member_unlink() */
proctype Taker()
{
	lock();
	if
	:: there ->
#ifndef WEAK_TAKEN_STAYS
		word[MEMBER] = word[MEMBER] + ONE;
#endif
		there = false;
#ifndef WEAK_TAKEN_STAYS_SETTLED
		settled_word = false
#endif
	:: else
	fi;
	unlock()
}

/* sc_member_want() */
inline want()
{
	lock();
#ifdef WEAK_SETTLED_BEFORE_MADE
	settled_word = settled_word || PENDING(word[ROOT]) == 0;
#endif
	there = true;
	unlock()
}

/* member_settle() */
inline settle()
{
	if
	:: there && !settled_word ->
#ifdef WEAK_UNSETTLED
		settled_word = true
#elif !defined WEAK_SETTLED_BEFORE_MADE
		settled_word = PENDING(word[ROOT]) == 0
#else
		skip
#endif
	:: else
	fi
}

/* One whose document is another. */
proctype Earlier()
{
	want();
	lock();
	settle();
	unlock()
}

proctype Builder()
{
	byte root_seen;

	root_seen = REVISION(word[ROOT]);
	want();
	/* sc_member_read() */
	lock();
	settle();
	if
	:: there && settled_word -> label[MEMBER] = REVISION(word[MEMBER])
	:: else -> label[ROOT] = root_seen
	fi;
	unlock();

	data = seen;
	built = true
}

init
{
	byte i;
	atomic {
		words_init();
		run Writer(); run Other(); run Taker(); run Earlier(); run Builder(); run Reader()
	}
}
