/*
 * reader.pml: the reader's side of src/word.c, sc_label_prove() with a snapshot and cells_running_for().
 * The models of the primary's protocol include it.
 *
 * A document that was found before the snapshot was taken is no case of its own: what is built does not change.
 * The model says what else belongs to a snapshot, how many cells are scanned, and what must be so of a hit.
 */
proctype Reader()
{
	byte s_over, s_seen;		/* the snapshot */
	byte i, c;
	bool pending, moved, unproven;
#if ORPHANS > 0
	byte n, settled;
#endif
#ifdef WEAK_WORDS_BEFORE_SNAPSHOT
	built;
#else
	TAKE_SNAPSHOT();
	built;
#endif

	/* load the words */
	i = 0;
	do
	:: d_step { i < WORDS && !moved ->
			if
			:: label[i] != NOT_THERE && REVISION(word[i]) != label[i] -> moved = true
			:: label[i] != NOT_THERE && REVISION(word[i]) == label[i] -> pending = pending || PENDING(word[i]) > 0
			:: else
			fi;
			i++
		}
	:: else -> break
	od;

	i = 0;
#ifdef WEAK_WORDS_BEFORE_SNAPSHOT
	TAKE_SNAPSHOT();
#endif
	if
	:: !moved && pending ->
		/* each xid in a cell must still be running for the snapshot */
		SCAN_BEGINS();
		i = 0;
		do
		:: i < BACKENDS && !unproven ->
			d_step {
				c = cell[i];
				if
				:: SCANNED(i) && c != EMPTY && (s_over & BIT(c - 1)) != 0 -> unproven = true
				:: else
				fi;
				c = 0;
				i++
			}
#if ORPHANS > 0 && !defined WEAK_ORPHANS_NOT_SCANNED
		/* who has met a finished orphan looks at the others all the same */
		:: i >= BACKENDS && i < BACKENDS + ORPHANS ->
			c = cell[i];
			if
			:: c == EMPTY -> skip
#ifdef WEAK_SETTLING_PROVES
			:: c == SETTLING -> skip
#else
			:: c == SETTLING -> unproven = true
#endif
			:: c != EMPTY && c != SETTLING && (s_over & BIT(c - 1)) == 0 -> skip
			:: c != EMPTY && c != SETTLING && (s_over & BIT(c - 1)) != 0 ->
				unproven = true;
#ifdef REACH_SETTLED_BY_READER
				reached = cell[i] == c && MAY_SETTLE(c);
				assert(!reached);
#endif
				orphan_settle(i, c)
			fi;
			c = 0;
			i++
#endif
		:: else -> break
		od;

		/* load the words again */
		i = 0;
#ifndef WEAK_NO_SECOND_LOOK
		do
		:: d_step { i < WORDS && !moved && !unproven ->
				moved = label[i] != NOT_THERE && REVISION(word[i]) != label[i];
				i++
			}
		:: else -> break
		od
#endif
	:: else -> skip
	fi;

	if
	:: !moved && !unproven ->
		/* a hit */
		d_step {
#ifdef REACH_HIT
			reached = true;
#endif
#ifdef REACH_HIT_BESIDE_PENDING
			reached = pending;
#endif
			assert(!reached);
			CHECK_HIT();
			assert(!wrong_hit)
		}
	:: else -> skip
	fi
}
